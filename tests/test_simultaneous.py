"""Divided designs and `SimultaneousDNNs`."""

import itertools
import re
from dataclasses import replace

import contract
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import dse
from dse.costs.kernel_rows import parameter_columns
from dse.hardware.accelerator import Accelerator
from dse.hardware.area import AREA_BLOCKS, area_blocks_mm2, leakage_of_blocks_w
from dse.hardware.dataflow import Dataflow, SpatialOption
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks.layers import MacLayer, Network
from dse.output.figure_style import RED
from dse.output.schedule_figures import gantt_figure, kinds_figure, slow_down_figure
from dse.output.tables import along_front, front_table
from dse.output.units import words
from dse.runs.tables import genes_of
from dse.simultaneous.co_runs import METRICS, STEADY_METRICS, MixEvaluator, co_run, unmet_deadlines
from dse.simultaneous.division import Division, does_nothing
from dse.simultaneous.mixes import Mix, Stream
from problems import ProblemError, SimultaneousDNNs
from problems.simultaneous import REFUSED

DESIGN = Accelerator(rows=8, cols=16, macs_per_pe=2, weight_register_bytes=8, input_register_bytes=8, dram_gbps=8)


def network(name, *shapes):
    """Matrix products one after the other."""
    layers = [MacLayer(f"{name}{i}", OX=m, C=c, K=n) for i, (m, c, n) in enumerate(shapes)]
    return Network.from_layers(layers).renamed(name)


WIDE, DEEP = network("wide", (64, 64, 256), (64, 256, 64)), network("deep", (16, 512, 32), (16, 32, 512), (16, 512, 8))
PAIR = Mix.of([WIDE, DEEP])


# ---- division ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "columns"), [((1, 1), (8, 8)), ((1, 3), (4, 12)), ((1, 1, 1), (6, 5, 5)), ((1, 99), (1, 15))]
)
def test_columns_are_shared_whole(weights, columns):
    parts = Division(weights).of(DESIGN)
    assert sorted(part.cols for part in parts) == sorted(columns)
    assert sum(part.vector_lanes for part in parts) == DESIGN.vector_lanes


def test_buffers_and_bandwidth_are_shared_as_told():
    parts = Division((1, 1), buffers=(1, 3), bandwidth=(3, 1), shared_bandwidth=False).of(DESIGN)
    assert [part.weight_buffer_kib for part in parts] == [16, 48]
    assert [part.dram_gbps for part in parts] == [6, 2]
    assert [part.dram_gbps for part in Division((1, 1)).of(DESIGN)] == [8, 8]


def test_lanes_and_banks_are_divided_not_multiplied():
    """Every part was rounded by itself: 16 lanes in thirds were 15, 4 banks 3."""
    parts = Division((1, 1, 1)).of(replace(DESIGN, vector_lanes=16, weight_buffer_banks=4, input_buffer_banks=2))
    assert sorted(part.vector_lanes for part in parts) == [5, 5, 6]
    assert sorted(part.weight_buffer_banks for part in parts) == [1, 1, 2]
    assert [part.input_buffer_banks for part in parts] == [1, 1, 1]  # none has less than one


def test_undivided_is_the_design_itself():
    technology = Technology.at(45)
    assert Division().of(DESIGN) == (DESIGN,)
    blocks = area_blocks_mm2(parameter_columns(DESIGN), technology)
    assert Division().area_blocks_mm2(DESIGN, technology) == {name: value[0] for name, value in blocks.items()}


def test_area_of_the_parts_is_that_of_the_whole_but_for_more_memories():
    technology = Technology.at(45)
    whole = Division().area_blocks_mm2(DESIGN, technology)
    halves = Division((1, 1)).area_blocks_mm2(DESIGN, technology)
    for name in ("macs", "registers", "control", "interconnect", "dram_interface", "fixed"):
        assert halves[name] == pytest.approx(whole[name], rel=1e-12), name
    for x in ("weight", "input", "output"):
        assert whole[f"{x}_buffer"] <= halves[f"{x}_buffer"] < 2 * whole[f"{x}_buffer"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Division((1,) * 17).of(DESIGN), "17 sub-arrays on 16 columns"),
        (lambda: Division(()), "columns is empty"),
        (lambda: Division((1, 0)), "columns must be 2 positive shares"),
        (lambda: Division((1, 1), buffers=(1, 1, 1)), "buffers must be 2 positive shares"),
        (lambda: Division((1, 1), dataflows=("row_stationary",)), "1 dataflows for 2 sub-arrays"),
        (lambda: co_run(PAIR, DESIGN, Division((1, 1)), [0, 2]), r"from 0 to 1 for each of 2 streams \(wide, deep\)"),
    ],
)
def test_bad_division_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- a mix on a design ---------------------------------------------------------------------------------------


def test_time_shared_makespan_and_energy_are_those_of_the_networks_alone():
    alone = [dse.evaluate(DESIGN, one) for one in (WIDE, DEEP)]
    done = co_run(PAIR, DESIGN)
    assert done.metrics["makespan_s"] == pytest.approx(sum(one.latency_s for one in alone), rel=1e-12)
    assert done.metrics["energy_j"] == pytest.approx(sum(one.energy_j for one in alone), rel=1e-9)
    assert done.metrics["area_mm2"] == alone[0].area_mm2
    assert done.alone_s == pytest.approx([one.latency_s for one in alone], rel=1e-12)
    assert done.metrics["makespan_bound_at_places_s"] == pytest.approx(done.metrics["makespan_s"])
    assert done.bounds.makespan_s == pytest.approx(done.metrics["makespan_s"], rel=1e-6)


def test_parts_of_energy_and_area_sum_to_their_totals():
    found = co_run(PAIR, DESIGN, Division((1, 3)), [0, 1]).metrics
    for total, start, end in (("energy_j", "energy_", "_j"), ("area_mm2", "area_", "_mm2")):
        parts = [v for name, v in found.items() if name.startswith(start) and name.endswith(end) and name != total]
        assert sum(parts) == pytest.approx(found[total], rel=1e-12)
    assert set(found) == set(METRICS)


def test_leakage_is_that_of_the_area_that_is_reported():
    """The fixed part leaked once for every sub-array."""
    for division in (Division(), Division((1, 1)), Division((1, 2, 1))):
        found = co_run(PAIR, DESIGN, division).metrics
        blocks = {name: np.array([found[f"area_{name}_mm2"]]) for name in AREA_BLOCKS}
        power_w = leakage_of_blocks_w(blocks, Technology.at(45))[0]
        assert found["energy_leakage_j"] == pytest.approx(power_w * found["makespan_s"], rel=1e-12)


def test_a_sub_array_alone_takes_what_evaluate_says_of_it():
    division = Division((1, 3), shared_bandwidth=False)
    done = co_run(PAIR, DESIGN, division, [0, 1])
    parts = division.of(DESIGN)
    expected = [dse.evaluate(part, one).latency_s for part, one in zip(parts, (WIDE, DEEP), strict=True)]
    assert done.schedule.job_finish_s == pytest.approx(expected, rel=1e-12)


def test_each_sub_array_may_have_its_own_dataflow():
    flows = (None, "output_stationary")
    done = co_run(PAIR, DESIGN, Division((1, 1), dataflows=flows, shared_bandwidth=False), [0, 1])
    half = replace(Division((1, 1), shared_bandwidth=False).of(DESIGN)[1], dataflow="output_stationary")
    assert done.schedule.job_finish_s[1] == pytest.approx(dse.evaluate(half, DEEP).latency_s)


def test_shared_bandwidth_is_between_all_and_a_part_of_it():
    def finish_s(dram_gbps, shared):
        design = replace(DESIGN, dram_gbps=dram_gbps)
        return co_run(PAIR, design, Division((1, 1), shared_bandwidth=shared), [0, 1]).schedule.job_finish_s

    shared, whole_each, half_each = finish_s(0.5, True), finish_s(1.0, False), finish_s(0.5, False)
    assert (shared >= whole_each * (1 - 1e-9)).all() and (shared > whole_each).any()
    assert shared.max() <= half_each.max() * 1.02  # mapped for the whole link, which is not the best of a half


def test_a_network_that_fits_no_sub_array_is_named():
    small = replace(DESIGN, output_register_bytes=0.5)
    with pytest.raises(ValueError, match="'wide' does not fit sub-array 0: .* it fits none"):
        co_run(PAIR, small, Division((1, 1)))


def test_a_deadline_that_no_order_can_meet_is_reported_with_the_earliest_finish():
    mix = Mix("m", (Stream("wide", WIDE, deadline_s=1e-9), Stream("deep", DEEP, deadline_s=1.0)))
    found = unmet_deadlines(co_run(mix, DESIGN))
    assert list(found) == ["wide"]
    deadline, earliest = found["wide"]
    assert deadline == pytest.approx(1e-9) and earliest == pytest.approx(dse.evaluate(DESIGN, WIDE).latency_s)


# ---- figures -------------------------------------------------------------------------------------------------


def test_schedule_figure_draws_every_layer_on_its_sub_array_and_every_deadline():
    mix = Mix("m", (Stream("wide", WIDE, deadline_s=1e-9), Stream("deep", DEEP)))
    done = co_run(mix, DESIGN, Division((1, 1)), [0, 1])
    top, below = gantt_figure(done).axes
    bars = [path for collection in top.collections for path in collection.get_paths()]
    assert len(bars) == len(WIDE.layers) + len(DEEP.layers)
    assert sorted({round(path.vertices[:, 1].mean()) for path in bars}) == [0, 1]
    deadlines = [line for line in top.lines if len(line.get_xdata())]
    assert len(deadlines) == 1 and deadlines[0].get_color() == RED
    assert max(below.lines[0].get_ydata()) <= DESIGN.dram_gbps * (1 + 1e-9)


def test_schedule_figure_shows_a_window_with_its_arrivals():
    mix = Mix("m", (Stream("wide", WIDE, fps=2000.0), Stream("deep", DEEP, fps=3000.0, deadline_s=1e-6)))
    done = co_run(mix, DESIGN, Division((1, 1)), [0, 1])
    top, below = gantt_figure(done, 0.0009, 0.0021).axes
    assert below.get_xlim() == pytest.approx((0.9, 2.1))
    lines = [line for line in top.lines if len(line.get_xdata())]
    arrivals = sorted(line.get_xdata()[0] for line in lines if line.get_marker() == "^")
    assert arrivals == pytest.approx([1.0, 1.0, 4 / 3, 1.5, 5 / 3, 2.0, 2.0])
    missed = [line for line in lines if line.get_color() == RED]
    assert sorted(line.get_xdata()[0] for line in missed) == pytest.approx([1.001, 4 / 3 + 0.001, 5 / 3 + 0.001, 2.001])
    texts = [text.get_text() for text in top.figure.legends[0].get_texts()]
    assert texts == ["wide", "deep", "arrival", "deadline", "deadline missed", "bandwidth of the link"]
    (link,) = (line for line in below.lines if line.get_linestyle() == ":")
    assert link.get_color() != RED and set(link.get_ydata()) == {DESIGN.dram_gbps}  # unlike a deadline that is missed
    with pytest.raises(ValueError, match="the window from 3 s to 0.002 s is empty"):
        gantt_figure(done, 3, 0.002)
    with pytest.raises(ValueError, match="more than 20,000 to show; choose an earlier end"):
        done.schedule_until(100.0)


def test_schedule_figure_of_an_overloaded_chip_ends_with_the_arrivals_and_shows_its_layers():
    """It went on to the end of the backlog, and marks of misses covered all layers."""
    mix = Mix("m", (Stream("wide", WIDE, fps=1e6), Stream("deep", DEEP, fps=1e6)))
    done = co_run(mix, DESIGN)
    top, below = gantt_figure(done).axes
    last = float(done.schedule.table.arrival_s.max())
    assert below.get_xlim()[1] == pytest.approx(1.02 * last * 1e6) and done.schedule.makespan_s > 2 * last
    misses = [line for line in top.lines if line.get_color() == RED and len(line.get_xdata())]
    assert len(misses) > 40 and misses[0].get_linewidth() < 0.5


def test_legend_of_a_window_names_what_runs_in_it():
    mix = Mix("m", (Stream("wide", WIDE), Stream("deep", DEEP, phase_s=1.0)))
    done = co_run(mix, DESIGN)
    for window, name in (((0.0, 1e-6), "wide"), ((1.0, 1.000001), "deep")):
        texts = [text.get_text() for text in gantt_figure(done, *window).legends[0].get_texts()]
        assert name in texts and len({"wide", "deep"} & set(texts)) == 1
    assert not gantt_figure(done, 0.4, 0.5).legends


def test_slow_down_figure_has_a_bar_a_network_and_run():
    runs = {"whole": co_run(PAIR, DESIGN), "halves": co_run(PAIR, DESIGN, Division((1, 1)))}
    (axis,) = slow_down_figure(runs).axes
    heights = [bar.get_height() for bar in axis.patches]
    expected = [t / a for run in runs.values() for t, a in zip(run.schedule.turnaround_s, run.alone_s, strict=True)]
    assert heights == pytest.approx(expected)


def test_kinds_are_told_apart():
    kinds = ["time-shared", "homogeneous", "heterogeneous"]
    front = pd.DataFrame({"kind": kinds, "makespan_s": [1.0, 2, 3], "area_mm2": [3.0, 2, 1]})
    (axis,) = kinds_figure(front).axes
    assert [text.get_text() for text in axis.figure.legends[0].get_texts()] == [f"{kind} (1)" for kind in kinds]
    (one,) = kinds_figure(front[:1]).legends  # kinds without a design are not in it
    assert [text.get_text() for text in one.get_texts()] == ["time-shared (1)"]
    flows = (None, "row_stationary")
    found = [d.kind(DESIGN) for d in (Division(), Division((1, 1)), Division((1, 1), dataflows=flows))]
    assert found == kinds


# ---- the problem ---------------------------------------------------------------------------------------------

SPACE = DesignSpace({"rows": [4, 8], "cols": [4, 8, 16], "dram_gbps": [2, 8]}, base=DESIGN, name="tiny")


def problem(**options):
    return SimultaneousDNNs([WIDE, DEEP], space=SPACE, **options)


def test_metrics_are_those_of_the_same_division_by_hand():
    simultaneous = problem()
    X = simultaneous.space.sample(20, np.random.default_rng(3))
    rows = simultaneous.evaluate_designs(X)
    for i, x in enumerate(X):
        done = simultaneous.co_run(x)
        for name, value in done.metrics.items():
            if name != "overflow":
                assert rows.metrics[name][i] == value, name
        where = [job.sub_array for job in done.schedule.jobs]
        again = co_run(simultaneous.mix, simultaneous.space.design(x), done.division, where)
        assert again.metrics == done.metrics


def test_a_mix_is_given_by_its_name():
    """It was taken for networks called by its letters."""
    assert SimultaneousDNNs("datacentre").mix.name == "datacentre"


def test_a_single_dataflow_of_the_sub_arrays_is_kept():
    """With one level it was no variable, and they had the design's own."""
    lone, same = problem(dataflows=("row_stationary",)), problem(dataflows=("same",))
    assert lone.describe() != same.describe()
    for x in lone.space.sample(10, np.random.default_rng(0)):
        found = lone.co_run(x)
        parts = found.division.of(found.design)
        assert [str(part.dataflow) for part in parts[1:]] == ["row_stationary"] * (len(parts) - 1)


def test_dataflows_of_ones_own_in_the_space_are_dataflows_of_the_sub_arrays():
    """They were left out without a word."""
    mine = Dataflow("mine", (SpatialOption(rows=("C",), cols=("OX",), stationary=("O",)),))
    space = DesignSpace({"cols": [8, 16], "dataflow": [mine, "weight_stationary"]}, base=DESIGN)
    simultaneous = SimultaneousDNNs([WIDE, DEEP], space=space)
    assert simultaneous.dataflows == ("same", mine, "weight_stationary")
    X = simultaneous.space.sample(40, np.random.default_rng(0))
    used = {part.dataflow for x in X for run in [simultaneous.co_run(x)] for part in run.division.of(run.design)[1:]}
    assert mine in used and simultaneous.evaluate_designs(X).feasible.any()


def test_too_many_sub_arrays_are_infeasible():
    simultaneous = SimultaneousDNNs(
        [WIDE, DEEP],
        space=DesignSpace({"cols": [2, 16], "rows": [4, 8]}, base=DESIGN),
        policies=("partition",),
        most_sub_arrays=3,
    )
    X = simultaneous.space.sample(100, np.random.default_rng(0))
    rows, columns = simultaneous.evaluate_designs(X), simultaneous.space.columns(X)
    assert (rows.feasible == ((columns["cols"] >= 3) | (columns["sub_arrays"] == 2))).all()


def test_equal_bits_for_any_number_of_workers():
    X = problem().space.sample(30, np.random.default_rng(1))
    one, two = problem().evaluate_designs(X), problem(n_jobs=2).evaluate_designs(X)
    assert one.objectives.tobytes() == two.objectives.tobytes()
    assert one.metrics["energy_j"].tobytes() == two.metrics["energy_j"].tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_search_finds_the_best_assignment_of_small_cases(seed):
    """Up to four networks on three sub-arrays: all places are enumerated.  The benchmark runs 100 cases."""
    rng = np.random.default_rng(seed)
    networks = [
        network(f"n{i}", *[tuple(int(v) for v in rng.choice([8, 32, 64, 128], 3)) for _ in range(rng.integers(1, 4))])
        for i in range(int(rng.integers(2, 5)))
    ]
    simultaneous = SimultaneousDNNs(
        networks,
        space=DesignSpace({"dram_gbps": [1, 8]}, base=DESIGN),
        policies=("shared_bandwidth",),
        shares=(1.0,),
        most_sub_arrays=3,
    )
    run = dse.explore(
        simultaneous, evaluations=min(800, simultaneous.space.size), population=40, seed=seed, random_twin=False
    )
    columns, mix = run.front.iloc[0], simultaneous.mix
    evaluator = MixEvaluator(mix)
    best = np.inf
    for sub_arrays in (2, 3):
        for flows in itertools.product(
            (None, "weight_stationary", "output_stationary", "row_stationary"), repeat=sub_arrays - 1
        ):
            division = Division((1.0,) * sub_arrays, dataflows=(None, *flows))
            design = replace(DESIGN, dram_gbps=8)
            places = list(itertools.product(range(sub_arrays), repeat=len(networks)))
            found = evaluator([design] * len(places), [division] * len(places), places)
            best = min(best, *(done.metrics["makespan_s"] for done in found))
    assert columns["makespan_s"] <= best * (1 + 1e-9)


def test_genes_that_do_nothing_make_no_new_design():
    """An undivided design was as many designs as its unused shares had levels."""
    simultaneous = problem(most_sub_arrays=3)
    space = simultaneous.space
    X = space.sample(300, np.random.default_rng(0))
    same = space.canonical(X)
    assert (space.canonical(same) == same).all()
    before, after = simultaneous.evaluate_designs(X), simultaneous.evaluate_designs(same)
    for name in before.metrics:
        assert after.metrics[name].tobytes() == before.metrics[name].tobytes(), name
    columns = space.columns(same)
    whole = columns["policy"] == "time_shared"
    hardware = same[:, : space.hardware.n_var]
    assert len(np.unique(same[whole], axis=0)) == len(np.unique(hardware[whole], axis=0))
    two = (columns["sub_arrays"] == 2) & ~whole
    assert two.any() and (columns["columns_share_3"][two] == 1).all() and (columns["dataflow_3"][two] == "same").all()
    shared = columns["policy"] == "shared_bandwidth"
    assert (columns["bandwidth_share_1"][shared] == 1).all() and (columns["place_of_wide"][whole] == 1).all()
    for algorithm in ("nsga2", "random"):
        run = dse.explore(simultaneous, evaluations=300, population=30, algorithm=algorithm, random_twin=False)
        genes = genes_of(run.designs, space)
        assert len(genes) == 300 and (space.canonical(genes) == genes).all()


def test_what_does_nothing_is_told_apart():
    values = {"policy": "shared_bandwidth", "sub_arrays": 2}
    names = ("columns_share_2", "columns_share_3", "bandwidth_share_1", "dataflow_3", "place_of_wide", "rows")
    assert [does_nothing(name, values) for name in names] == [False, True, True, True, False, False]
    whole = values | {"policy": "time_shared"}
    assert [does_nothing(name, whole) for name in (*names, "sub_arrays")] == [True] * 5 + [False, True]


def test_the_front_of_a_run_shows_only_what_each_design_uses(tmp_path):
    """Time-shared designs were shown with sub-arrays, shares and places, and a stream at a sub-array that is not."""
    three = SimultaneousDNNs([WIDE, DEEP], space=SPACE, most_sub_arrays=3)
    run = dse.explore(three, evaluations=300, random_twin=False, out=tmp_path)
    screen = Console(width=1000)
    with screen.capture() as text:
        screen.print(front_table(run, 1000))
    lines = text.get().split("\n")
    shown = run.front.iloc[along_front(run, 1000)].to_dict("records")
    looked_at = 0
    for name in set(run.manifest["space"]["variables"]) - set(SPACE.names):
        idle = [does_nothing(name, design) for design in shown]
        label = re.compile(rf"({name}|{words(name)})( |$)")
        mine = [label.sub("", line, count=1).split() for line in lines if label.match(line)]
        assert len(mine) == (not all(idle)), name
        if mine and len(mine[0]) == len(shown):
            assert [cell == "-" for cell in mine[0]] == idle, name
            looked_at += any(idle)
        if name.startswith("place_of_"):
            assert all(nothing or d[name] <= d["sub_arrays"] for d, nothing in zip(shown, idle, strict=True))
    assert looked_at > 0


def test_shares_of_the_same_ratio_are_the_same_design():
    space = SimultaneousDNNs([WIDE, DEEP], space=SPACE, policies=("partition",), dataflows=("same",)).space
    at = {name: i for i, name in enumerate(space.names)}
    x = np.zeros((3, space.n_var), dtype=np.int64)
    shares = [at["columns_share_1"], at["columns_share_2"]]
    x[0, shares], x[1, shares], x[2, shares] = (1, 3), (0, 1), (1, 2)  # 2 to 4, 1 to 2, 2 to 3
    same = space.canonical(x)
    assert (same[0] == same[1]).all() and (same[2] == x[2]).all()


RATES = Mix("rates", (Stream("wide", WIDE, fps=2000.0), Stream("deep", DEEP, fps=3000.0, phase_s=1e-5)))


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract_of_streams_with_rates(check):
    check(SimultaneousDNNs(RATES, space=SPACE, objectives=("latency_p95_s", "area_mm2", "power_w")))


def test_overloaded_designs_are_infeasible_by_degrees():
    """They were ranked by a slow-down that the length of the mix decided."""
    busy = replace(RATES, streams=tuple(replace(stream, fps=stream.fps * 20) for stream in RATES.streams))
    rows = SimultaneousDNNs(busy, space=SPACE).evaluate_designs(problem().space.sample(60, np.random.default_rng(0)))
    m = rows.metrics
    assert ((m["overload"] > 0) == (m["load"] > 1)).all() and (m["overload"] > 0).any()
    over = m["load"] > 1
    assert m["overload"][over] == pytest.approx(m["load"][over] - 1)
    assert (rows.feasible == ~over).all() and (m["latency_p95_s"][over] == REFUSED).all()
    assert len(np.unique(rows.constraints[over, 0])) > 10


def test_metrics_of_streams_with_rates_have_meanings_and_their_streams():
    found = co_run(RATES, DESIGN, Division((1, 1)))
    names = {f"latency_p{p}_of_{stream}_s" for p in (50, 95, 99) for stream in ("wide", "deep")}
    assert set(found.metrics) == set(STEADY_METRICS) | names
    for i, p in enumerate((50, 95, 99)):
        each = [found.metrics[f"latency_p{p}_of_{stream}_s"] for stream in ("wide", "deep")]
        assert each == found.steady.latency_s[:, i].tolist() and found.metrics[f"latency_p{p}_s"] == max(each)


def test_kept_designs_have_bounds_and_best_places():
    for mix, name in ((PAIR, "makespan_s"), (RATES, "load")):
        simultaneous = SimultaneousDNNs(mix, space=SPACE, objectives=(name, "area_mm2"))
        run = dse.explore(simultaneous, evaluations=40, population=10, random_twin=False)
        for plain, best in simultaneous.kept(run.front.head(3)):
            bound = plain.bounds.makespan_s if mix is PAIR else plain.bounds.load
            assert bound <= min(plain.metrics[name], best.metrics[name])


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(check):
    check(problem(objectives=("makespan_s", "area_mm2", "worst_slow_down")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectives": ("speed",)}, "unknown objective 'speed'; the known ones are makespan_s"),
        ({"objectives": ("latency_p95_s", "area_mm2")}, "'latency_p95_s' says nothing of a batch, which has no rates"),
        ({"policies": ("fair",)}, "give some of time_shared, partition, shared_bandwidth"),
        ({"most_sub_arrays": 17}, "17 sub-arrays, but the space has at most 16 columns"),
        ({"most_sub_arrays": 1}, "most_sub_arrays must be a whole number >= 2"),
        ({"order": "x"}, "order must be one of"),
    ],
)
def test_bad_problem_is_named(options, message):
    with pytest.raises(ProblemError, match=message):
        problem(**options)


def test_an_own_dataflow_of_the_sub_arrays_distinguishes_runs():
    """A lone own dataflow stood nowhere in the identity: two runs of different dataflows were the same run."""
    mine = [Dataflow("mine", (SpatialOption((d,), ("K",), ("W",)),)) for d in "CB"]
    given = ["ptb_lstm_medium", "wide_deep"]
    problems = [SimultaneousDNNs(given, policies=("partition",), dataflows=(flow,)) for flow in mine]
    assert problems[0].describe() != problems[1].describe()
    assert problems[0].arguments_of(problems[0].rebuild())["dataflows"] == (mine[0],)
