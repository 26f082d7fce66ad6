"""Perturbed constants, and what is left of a front under them: of points, of a run, by the command."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pandas as pd
import pytest
from standin import StandIn
from test_tune import residual
from typer.testing import CliRunner

import dse
import dse.analysis.front_sensitivity as front_sensitivity
from dse.analysis.front_sensitivity import AREA_BIAS, ARRAY, MEMORY, SCENARIOS, biased, sensitivity
from dse.analysis.technology_sensitivity import NOT_PERTURBED, drawn, perturbed, perturbed_constants, survival
from dse.commands.main import app
from dse.hardware.area import AREA_BLOCKS
from dse.hardware.node_scaling import NODES_NM, PUBLISHED_DRAM_PHY_MM2_PER_GBPS, dram_phy_mm2_per_gbps
from dse.hardware.presets import preset_ranges, preset_technology
from dse.hardware.technology import Technology
from dse.output.sensitivity_figures import sensitivity_report, survival_figure
from dse.runs.files import RunDirectoryError
from dse.search.exploration import load
from dse.search.search_loop import explore
from dse.validation import areas
from dse.validation.table import read_data
from problems import Codesign, GeomeanDNN, ProblemError, SimultaneousDNNs, SingleDNN

BASE = Technology.at(45)


def test_every_constant_moves_within_the_share():
    rng = np.random.default_rng(0)
    names = perturbed_constants()
    factors = np.array([[getattr(perturbed(BASE, rng), x) / getattr(BASE, x) for x in names] for _ in range(60)])
    assert (np.abs(factors - 1) <= 0.3 + 1e-12).all()
    assert (factors.min(axis=0) < 0.85).all() and (factors.max(axis=0) > 1.15).all()
    assert len(names) > 30 and not set(NOT_PERTURBED) & set(names)


def test_no_share_no_change():
    assert perturbed(BASE, np.random.default_rng(0), 0.0) == BASE
    with pytest.raises(ValueError, match="share must be at least 0 and below 1"):
        perturbed(BASE, np.random.default_rng(0), 1.0)


@pytest.mark.parametrize("base", [BASE, Technology.at(16), preset_technology("tpu_v1")], ids=["45", "16", "TPU v1"])
def test_draws_fill_the_published_ranges_and_leave_the_rest(base):
    rng, ranges = np.random.default_rng(0), base.ranges()
    draws = [drawn(base, rng) for _ in range(100)]
    for name in perturbed_constants():
        values = np.array([getattr(draw, name) for draw in draws])
        low, high = (x * getattr(base, name) for x in ranges.get(name, (1, 1)))
        assert (values >= low - 1e-12 * abs(low)).all() and (values <= high + 1e-12 * abs(high)).all()
        assert np.ptp(values) >= 0.6 * (high - low), name
    assert len(ranges) >= 20 and all(low <= 1 <= high for low, high in ranges.values())


def test_leakage_is_drawn_within_its_class():
    assert preset_technology("tpu_v1").ranges()["leakage_sram_w_per_mm2"] == pytest.approx((0.03 / 0.054, 0.21 / 0.054))
    assert "leakage_sram_w_per_mm2" not in replace(BASE, leakage_sram_w_per_mm2=0.01).ranges()


def test_what_a_chip_chose_is_drawn_too():
    ranges = preset_ranges("tpu_v1", preset_technology("tpu_v1"))
    assert ranges["io_idle_w"] == (0.5, 2) and "clock_gating_share" not in ranges
    drawn_w = [drawn(preset_technology("tpu_v1"), np.random.default_rng(i), ranges).io_idle_w for i in range(30)]
    assert 1.5 <= min(drawn_w) < 2 and 5 < max(drawn_w) <= 6


def test_survival_by_hand():
    nominal = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0]])  # the last is dominated
    after = np.array([[1.0, 4.0], [2.2, 2.2], [4.0, 1.0], [2.0, 2.0]])
    survives, regret = survival(nominal, after)
    assert survives.tolist() == [True, False, True]
    assert regret == pytest.approx([0, 0.1, 0])


def test_equal_twin_does_not_end_survival():
    nominal = np.array([[2.0, 2.0], [1.0, 3.0], [2.1, 2.1]])
    survives, regret = survival(nominal, np.array([[2.0, 2.0], [1.0, 3.0], [2.0, 2.0]]))
    assert survives.all() and (regret == 0).all()


def test_scaling_an_objective_changes_nothing():
    points = np.random.default_rng(1).uniform(1, 2, (300, 3))
    survives, regret = survival(points, points * [3.0, 0.5, 7.0])
    assert survives.all() and regret == pytest.approx(0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="the same designs"):
        survival(np.ones((2, 2)), np.ones((3, 2)))


# ---------------------------------------------------------------------------------------------------------------------
# The front of a run.

SPACE = dse.DesignSpace(
    {"rows": [4, 8, 16], "cols": [4, 8, 16], "macs_per_pe": [1, 4], "dram_gbps": [1, 4, 16],
     "weight_buffer_kib": [2, 16], "weight_register_bytes": [1, 64],
     "dataflow": ["weight_stationary", "output_stationary"]}
)  # fmt: skip
LAYERS = (dse.MacLayer("a", K=16, C=8, OY=6, OX=6, FY=3, FX=3), dse.MacLayer("b", K=10, C=24))
NETWORK, SECOND = dse.Network("tiny", LAYERS), dse.Network("second", LAYERS[:1])


class Limited(SingleDNN):
    """Latency [s] and area [mm2] of designs below a limit."""

    constraint_names = ("area",)
    area_limit_mm2 = 4.0

    def constraints(self, m):
        """Area / limit - 1."""
        return (m.area_mm2 / self.area_limit_mm2 - 1,)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of the whole space in a directory that can be rebuilt, and its problem."""
    path = tmp_path_factory.mktemp("runs")
    (path / "net.toml").write_text(NETWORK.toml_text())
    problem = SingleDNN(path / "net.toml", SPACE)
    return explore(problem, evaluations=SPACE.size, random_twin=False, out=path / "run"), problem


def test_the_errors_of_areas_are_those_of_the_validation():
    """Published / predicted of arrays and memories, least and largest, to the last digit that is told."""
    blocks, memories = read_data("area_blocks.csv"), read_data("area_memories.csv")
    rows = areas.rows().set_index("row")
    ratio = rows["measured"] / rows["predicted"]
    names = {part: [f"{r.reference}, {r.row}" for r in blocks[blocks["part"] == part].itertuples()]
             for part in ("array", "memory")}  # fmt: skip
    names["memory"] += [f"{r.reference}, {r.row}" for r in memories.itertuples()]
    for blocks_of, part in ((ARRAY, "array"), (MEMORY, "memory")):
        found = ratio[names[part]]
        assert (round(found.min(), 2), round(found.max(), 2)) == AREA_BIAS[blocks_of]


def test_the_price_of_the_interface_is_within_its_published_range():
    low, high = PUBLISHED_DRAM_PHY_MM2_PER_GBPS
    assert all(low <= dram_phy_mm2_per_gbps(node) <= high for node in NODES_NM)


def test_nothing_wrong_leaves_the_front_whole(finished, monkeypatch):
    run, problem = finished
    monkeypatch.setattr(front_sensitivity, "AREA_BIAS", dict.fromkeys(AREA_BIAS, (1.0, 1.0)))
    price = problem.technology.dram_interface_mm2_per_gbps
    monkeypatch.setattr(front_sensitivity, "PUBLISHED_DRAM_PHY_MM2_PER_GBPS", (price, price))
    found = sensitivity(problem, run, draws=2, share=0.0)
    assert found.scenarios == tuple(SCENARIOS) and len(found.designs) == len(run.front)
    for name in SCENARIOS:
        assert (found.designs[f"survives_{name}"] == 1).all()
    assert found.designs["regret_95"].to_numpy() == pytest.approx(0, abs=1e-12) and found.constants.empty


def test_one_factor_for_the_whole_area_changes_nothing(finished):
    run, problem = finished
    X = problem.space.all_designs()
    nominal = problem.evaluate_designs(X)
    metrics = biased(nominal.metrics, problem.space.columns(X), dict.fromkeys(AREA_BLOCKS, 1.7))
    assert metrics["area_mm2"] == pytest.approx(1.7 * nominal.metrics["area_mm2"])
    assert metrics["core_area_mm2"] == pytest.approx(1.7 * nominal.metrics["core_area_mm2"])
    survives, _ = survival(nominal.objectives, problem.judge(X, metrics).objectives)
    assert survives.all() and len(survives) == len(run.front)


def test_only_the_wrong_blocks_move_and_a_type_of_dram_keeps_its_price():
    space = dse.DesignSpace({"rows": [4, 8], "dram_type": ["", "HBM2"]})
    problem, X = SingleDNN(NETWORK, space), space.all_designs()
    before, columns = problem.evaluate_designs(X).metrics, space.columns(X)
    after = biased(before, columns, {"macs": 2.0, "dram_interface": 0.5})
    own = np.asarray(columns["dram_type"], dtype=object) == ""
    saved = 0.5 * before["area_dram_interface_mm2"] * own
    assert after["area_mm2"] == pytest.approx(before["area_mm2"] + before["area_macs_mm2"] - saved)
    assert (after["area_dram_interface_mm2"][~own] == before["area_dram_interface_mm2"][~own]).all() and own.any()
    assert (after["area_registers_mm2"] == before["area_registers_mm2"]).all()


def test_a_draw_by_hand(finished):
    """What `sensitivity` tells of its first draw, from the same constants evaluated here over the whole space."""
    run, problem = finished
    found = sensitivity(problem, run, draws=1, seed=7, designs=SPACE.size)
    rng = np.random.default_rng([7, 0])
    technology = drawn(problem.technology, rng)
    X = SPACE.all_designs()
    now = SingleDNN(NETWORK, SPACE, technology).evaluate_designs(X).objectives
    survives, _ = survival(problem.evaluate_designs(X).objectives, now)
    assert found.candidates == SPACE.size
    assert found.designs["survives_constants"].mean() == pytest.approx(survives.mean())
    assert found.draws["scenario"].tolist() == list(SCENARIOS)


def test_draws_depend_on_the_seed_and_not_on_their_number(finished):
    run, problem = finished
    few, more, other = (sensitivity(problem, run, draws=n, seed=s).draws for n, s in ((2, 1), (4, 1), (2, 2)))
    pd.testing.assert_frame_equal(few, more[more["draw"] < 2].reset_index(drop=True))
    assert not few.equals(other)


def test_candidates_are_the_front_and_those_nearest_to_it(finished):
    run, problem = finished
    few = sensitivity(problem, run, draws=1, designs=len(run.front) + 3)
    assert few.candidates == len(run.front) + 3
    assert sensitivity(problem, run, draws=1, designs=1).candidates == len(run.front)
    assert few.designs["index"].tolist() == run.front["index"].tolist()


def test_a_design_that_breaks_a_constraint_does_not_survive():
    whole = explore(SingleDNN(NETWORK, SPACE), evaluations=SPACE.size, random_twin=False).front
    problem = Limited(NETWORK, SPACE)
    problem.area_limit_mm2 = 1.001 * float(whole["area_mm2"].max())
    run = explore(problem, evaluations=SPACE.size, random_twin=False)
    assert run.front["area_mm2"].tolist() == whole["area_mm2"].tolist()
    free, tight = (sensitivity(each, run, draws=30).designs["survives_area"] for each in (
        SingleDNN(NETWORK, SPACE), problem))  # fmt: skip
    largest = run.front["area_mm2"].argmax()
    assert tight[largest] < free[largest] - 0.2


SIMULTANEOUS = dse.DesignSpace({"rows": [4, 8], "cols": [4, 8], "dram_gbps": [1, 4]})
MADE = {
    "single": lambda technology: SingleDNN(NETWORK, SPACE, technology),
    "no energy": lambda technology: SingleDNN(NETWORK, SPACE, technology, mapping_slack="none"),
    "geomean": lambda technology: GeomeanDNN([NETWORK, SECOND], space=SPACE, technology=technology),
    "fixed": lambda technology: GeomeanDNN([NETWORK, SECOND], space=SPACE, technology=technology, mapping="fixed"),
    "simultaneous": lambda technology: SimultaneousDNNs([NETWORK, SECOND], SIMULTANEOUS, technology),
    "codesign": lambda technology: Codesign("small.onnx", SIMULTANEOUS, (0.5, 1.0), 4, technology=technology),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_problem_with_other_constants_is_as_one_made_with_them(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(residual(), "small.onnx")
    other = perturbed(BASE, np.random.default_rng(3), 0.3)
    changed, made = MADE[kind](BASE).with_technology(other), MADE[kind](other)
    X = np.random.default_rng(0).integers(0, made.xu.astype(int) + 1, (12, made.n_var))
    a, b = (problem.evaluate_designs(X) for problem in (changed, made))
    assert set(a.metrics) == set(b.metrics) and changed.technology == other
    for name in b.metrics:
        assert np.array_equal(a.metrics[name], b.metrics[name]), name
    assert not np.array_equal(a.metrics["area_mm2"], MADE[kind](BASE).evaluate_designs(X).metrics["area_mm2"])


@pytest.mark.parametrize("kind", ["geomean", "simultaneous"])
def test_other_kinds_of_problems(kind):
    problem = MADE[kind](BASE)
    run = explore(problem, evaluations=30, random_twin=False)
    found = sensitivity(problem, run, draws=2)
    assert found.scenarios == tuple(SCENARIOS) and len(sensitivity_report(found)) >= 6
    assert survival_figure(found, run).get_figwidth() == 3.5


def test_bad_input_is_one_clear_line(finished):
    run, problem = finished
    for name in ("draws", "designs"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got 0"):
            sensitivity(problem, run, **{name: 0})
    with pytest.raises(ValueError, match="share must be at least 0 and below 1"):
        sensitivity(problem, run, share=1.0)
    with pytest.raises(RunDirectoryError, match="is a run of another problem"):
        sensitivity(SingleDNN(SECOND, SPACE), run)
    plain = explore(StandIn(), evaluations=40)
    with pytest.raises(ValueError, match="StandIn has no technology whose constants could be wrong"):
        sensitivity(StandIn(), plain)
    with pytest.raises(ProblemError, match="the evaluator of StandIn knows no technology: give it a method"):
        StandIn().with_technology(BASE)
    none = replace(run, texts={"front.csv": lambda: run.texts["front.csv"]().split(b"\n")[0] + b"\n"})
    with pytest.raises(ValueError, match="the run has no front"):
        sensitivity(problem, none)


def test_the_command_leaves_the_runs_own_files_as_they_are(finished):
    run, _ = finished
    own = {path.name: path.read_bytes() for path in run.directory.iterdir()}
    line = ["sensitivity", str(run.directory), "--draws", "3", "--jobs", "1"]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert done.exit_code == 0 and "all together: " in done.output and "of the front survives" in done.output
    after = {path.name: path.read_bytes() for path in run.directory.iterdir()}
    new = {"sensitivity.csv", "sensitivity.png", "sensitivity.pdf", "sensitivity_wide.pdf"}
    assert set(after) - set(own) == new and {name: after[name] for name in own} == own
    piped = CliRunner().invoke(app, [*line, "--csv", "-"], catch_exceptions=False)
    assert piped.stdout.encode() == after["sensitivity.csv"]
    told = json.loads(CliRunner().invoke(app, [*line, "--json"], catch_exceptions=False).stdout)
    assert set(told) == {"designs", "draws", "constants"} and len(told["draws"]) == 3 * len(SCENARIOS)
    table = pd.read_csv(run.directory / "sensitivity.csv")
    assert table["index"].tolist() == run.front["index"].tolist()
    assert len(load(run.directory).front) == len(run.front)  # a finished run that can still be read


def test_overwriting_a_run_takes_its_sensitivity_away(tmp_path):
    (tmp_path / "net.toml").write_text(NETWORK.toml_text())
    problem = SingleDNN(tmp_path / "net.toml", SPACE)
    explore(problem, evaluations=16, random_twin=False, out=tmp_path / "run")
    CliRunner().invoke(app, ["sensitivity", str(tmp_path / "run"), "--draws", "1"], catch_exceptions=False)
    assert (tmp_path / "run" / "sensitivity.csv").is_file()
    explore(problem, evaluations=16, seed=1, random_twin=False, out=tmp_path / "run", overwrite=True)
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith("sensitivity")]
