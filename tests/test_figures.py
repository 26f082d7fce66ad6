"""Every figure at the width of a column and of two: no text is cut off, and none lies on another."""

import functools
import inspect
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_boxes import drawn_texts, faults
from matplotlib.figure import Figure
from standin import UnderPower
from test_plots import Full, OneObjective

import dse
from dse.analysis.operation_kinds import relate
from dse.analysis.staircases import staircase
from dse.output import explanation_figures, front_figures, run_figures, schedule_figures, sensitivity_figures
from dse.output.figure_style import COLUMN_IN, TWO_COLUMNS_IN
from dse.validation import plots
from dse.validation.table import checked
from experiments.eight_dnns import heat_map
from experiments.exact_fronts import progress_figure
from experiments.measured_codesign import by_network, codesign_figure, tables_of
from experiments.operation_kinds import kinds_figure
from experiments.sensitivity import survivors
from problems import GeomeanDNN, SingleDNN

ROOT = Path(__file__).parents[1]
LONG = "a_network_with_a_long_name_of_its_exporter_version_12"
SPACE = dse.DesignSpace({"rows": [4, 8, 16], "cols": [4, 8, 16], "dram_gbps": [1, 4, 16]})
CODESIGNS = by_network(tables_of(ROOT / "results" / "tune_dnn"))
assert CODESIGNS


def layers(channels):
    return (
        dse.MacLayer("/layer1/layer1.0/conv1/Conv", K=16, C=channels, OY=14, OX=14, FY=3, FX=3),
        dse.MacLayer("/layer1/layer1.0/conv2/Conv", K=32, C=16, OY=14, OX=14),
        dse.MacLayer("/classifier/Gemm", K=100, C=6272),
    )


@functools.cache
def network(name="tiny", channels=8):
    return dse.Network(name, layers(channels))


@functools.cache
def searched(kind):
    """A run of a kind of problem."""
    if kind == "mean of networks":
        networks = [network(LONG), network("another_network_with_a_long_name", 6), network("x", 4)]
        problem = GeomeanDNN(networks, space=SPACE, objectives=("edp_js", "area_mm2"), weights=(2, 1, 1))
        return dse.explore(problem, evaluations=27, seed=1)
    made = {"two objectives": Full, "one objective": OneObjective, "three objectives": UnderPower}
    return dse.explore(made[kind](), evaluations=200, seed=1)


def certified():
    """A run with a certificate."""
    run = searched("two objectives")
    told = {"proven_of_the_runs_own_front": 0.1}
    return replace(run, manifest={**run.manifest, "certificate": told})


@functools.cache
def overlaid(count, objectives=("latency_s", "area_mm2")):
    """Runs of one problem with several seeds."""
    problem = SingleDNN(network(), SPACE, objectives=objectives)
    return {
        f"results/{LONG}_{i}": dse.explore(problem, evaluations=16, seed=i, random_twin=False) for i in range(count)
    }


@functools.cache
def sensitive():
    run = overlaid(1)[f"results/{LONG}_0"]
    return run, dse.sensitivity(SingleDNN(network(), SPACE), run, draws=5)


def survival(_, **kw):
    run, found = sensitive()
    return sensitivity_figures.survival_figure(found, run, **kw)


@functools.cache
def explained(name):
    return dse.explain(dse.preset("tpu_v1"), network() if name == "tiny" else dse.load_network(name))


@functools.cache
def co_run(mix):
    networks = [network(f"net_{i}_of_the_mix", 4 + i) for i in range(5)]
    loaded = dse.Mix.of(networks, LONG) if mix == "batch" else dse.load_mix(mix)
    return dse.co_run(loaded, dse.Accelerator(), dse.Division.from_text("1,1"))


def csv(path):
    path = ROOT / "results" / path
    return pd.read_csv(path)


def validation(name):
    return checked(csv(f"validation/{name}.csv"))


def matrix(budget):
    table = csv("eight_dnns/matrix.csv")
    table = table[table["budget_mm2"] == budget]
    return {mapping: rows for mapping, rows in table.groupby("mapping", sort=False)}


def convergence_of_exact_fronts(width_in, with_footer):
    bands = csv("exact_fronts/convergence.csv")
    return progress_figure(bands, 30, 1296, 8, width_in=width_in, with_footer=with_footer)


def kinds_of_operations(width_in, with_footer):
    table = csv("operation_kinds/networks.csv")
    return kinds_figure(table, 40.0, width_in=width_in, with_footer=with_footer)


def steps(name, layer, design="tpu_v1", size="K"):
    graph = network() if name == "tiny" else dse.load_network(name)
    return staircase(dse.preset(design), graph, layer, size)


def relation(*names):
    graphs = [network() if name == "tiny" else dse.load_network(name) for name in names]
    return relate(dse.preset("nvdla_large"), graphs)


TITLE = f"{LONG} /layer4/layer4.0/conv2/Conv \u00b7 preset tpu_v1, with dram_gbps=19.2, rows=128, cols=128"
FIGURES = {
    **{
        f"{name} of {kind}": (draw, functools.partial(searched, kind))
        for kind in ("two objectives", "one objective", "three objectives", "mean of networks")
        for name, draw in (
            ("front", run_figures.front),
            ("convergence", run_figures.convergence),
            ("breakdown", run_figures.breakdown),
        )
        if draw is not run_figures.breakdown or kind in ("two objectives", "mean of networks")
    },
    "parallel": (run_figures.parallel, lambda: searched("three objectives")),
    "band over seeds": (run_figures.band, lambda: dse.explore_seeds(Full(), 3, evaluations=40)),
    "front that is certified": (run_figures.front, lambda: certified()),
    **{
        f"{draw.__name__} of {name}": (draw, functools.partial(explained, name))
        for name in ("tiny", "mobilenet_v2")
        for draw in (
            explanation_figures.roofline,
            explanation_figures.strip,
            explanation_figures.breakdowns,
            explanation_figures.sensitivities,
        )
    },
    "fronts of two runs": (front_figures.fronts, lambda: overlaid(2)),
    "fronts of nine runs": (front_figures.fronts, lambda: overlaid(9)),
    "fronts of three objectives": (
        front_figures.fronts, lambda: overlaid(2, ("latency_s", "energy_j", "area_mm2")),
    ),
    "survival": (survival, lambda: None),
    "stairs": (explanation_figures.stairs, lambda: steps("tiny", "/classifier/Gemm"), TITLE),
    "relation of one": (explanation_figures.relation_figure, lambda: relation("tiny"), TITLE),
    "relation of three": (
        explanation_figures.relation_figure, lambda: relation("mobilenet_v2", "ptb_lstm_medium", "tiny"), TITLE,
    ),
    "tuned pairs": (lambda pairs, **kw: explanation_figures.tuned_pairs(pairs, csv("tune_dnn/latencies.csv"), **kw),
                    lambda: csv("tune_dnn/pairs.csv")),
    **{
        f"codesign of {name}, {data}": (codesign_figure, functools.partial(CODESIGNS.__getitem__, (data, name)))
        for data, name in CODESIGNS
    },
    "gains": (explanation_figures.gains, lambda: csv("tune_dnn/predicted.csv").query("aim == 'most'")),
    "schedule of a batch": (schedule_figures.gantt_figure, lambda: co_run("batch")),
    "schedule of streams": (schedule_figures.gantt_figure, lambda: co_run("vr_gaming"), 0.0, 0.05),
    "slow-downs": (schedule_figures.slow_down_figure, lambda: {"a run": co_run("batch")}),
    "slow-downs of several": (
        schedule_figures.slow_down_figure,
        lambda: {name: co_run("batch") for name in ("time-shared", "homogeneous", "geometric-mean design")},
    ),
    **{
        f"kinds of {mix}": (schedule_figures.kinds_figure, functools.partial(
            lambda mix: csv("simultaneous/front.csv").query("mix == @mix"), mix), TITLE)
        for mix in ("driving", "moca_mixed", "datacentre")
    },
    **{
        f"validation of {name}": (plots.figure, functools.partial(validation, name))
        for name in ("areas", "ethos", "eyeriss", "gemmini", "nvdla", "power", "scalesim", "tpu")
    },
    "matrix": (lambda parts, **kw: heat_map(parts, 40.0, **kw), lambda: matrix(40.0)),
    "survivors of wrong constants": (survivors, lambda: csv("sensitivity/draws.csv")),
    "convergence of exact fronts": (lambda _, **kw: convergence_of_exact_fronts(**kw), lambda: None),
    "kinds of operations": (lambda _, **kw: kinds_of_operations(**kw), lambda: None),
}  # fmt: skip
"""Name -> what draws it, what makes its data, further arguments."""


def drawn(name, width_in, with_footer=True):
    draw, data, *more = FIGURES[name]
    return draw(data(), *more, width_in=width_in, with_footer=with_footer)


@pytest.mark.parametrize("width_in", [COLUMN_IN, TWO_COLUMNS_IN])
@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_lies_on_another(name, width_in):
    figure = drawn(name, width_in)
    assert isinstance(figure, Figure) and figure.get_figwidth() == width_in
    assert faults(figure) == []
    for axes in figure.axes:
        for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
            low, high = sorted(axis.get_view_interval())
            labels = [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            assert scale != "log" or len([label for label in labels if label]) >= 2, axis.get_label_text()
            assert not [label for label in labels if re.match(r"\d{4}", label)], "thousands are separated"


@pytest.mark.parametrize("name", FIGURES)
def test_the_footer_is_there_and_can_be_left_out(name):
    figure = drawn(name, COLUMN_IN)
    footer = figure.get_supxlabel()
    assert footer and footer in [text for text, _ in drawn_texts(figure)]
    assert not drawn(name, COLUMN_IN, with_footer=False).get_supxlabel()


def test_what_the_test_of_boxes_would_see():
    figure = Figure(figsize=(2, 1))
    for x, y, text in ((0.5, 0.5, "one"), (0.52, 0.5, "two"), (-0.1, 0.1, "left"), (0.2, 0.9, "  ")):
        figure.text(x, y, text)
    assert faults(figure) == ["'left' is cut off", "'one' lies on 'two'"]


def public_figures(module):
    """Functions of a module that give a figure of a width."""
    return {
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and "width_in" in inspect.signature(function).parameters
        and not name.startswith("_") and inspect.signature(function).return_annotation == "Figure"
    }  # fmt: skip


def test_every_figure_function_is_here():
    modules = (run_figures, explanation_figures, front_figures, schedule_figures, sensitivity_figures, plots)
    listed = {(draw.__module__, draw.__name__) for draw, *_ in FIGURES.values()}
    listed.add((sensitivity_figures.__name__, "survival_figure"))  # by `survival`
    listed.add((explanation_figures.__name__, "tuned_pairs"))  # of two tables
    known = {(module.__name__, name) for module in modules for name in public_figures(module)}
    assert known and known <= listed


# ---------------------------------------------------------------------------------------------------------------------
# What single figures show.


def texts(figure):
    return {text for text, _ in drawn_texts(figure)}


def test_no_step_is_marked_where_nothing_steps():
    """A flat line was glued to the upper edge, with steps of the array where the latency has none."""
    flat = steps("tiny", "/classifier/Gemm")
    assert not flat["is_step"].any()
    figure = explanation_figures.stairs(flat, "flat")
    assert not [text for text in texts(figure) if text.startswith("array step")]
    assert figure.axes[0].get_ylim()[1] > 1.1 * flat["cycles"].max() * 1e-3
    table = steps("tiny", "/layer1/layer1.0/conv2/Conv", "systolic")
    assert table["is_step"].any()
    assert [text for text in texts(explanation_figures.stairs(table, "steps")) if text.startswith("array step")]


def test_the_strip_shows_low_utilisations():
    """Heights went to 100 % whatever the layers reached, so that a slow network was an empty panel."""
    for name in ("tiny", "mobilenet_v2"):
        table = explained(name).layers
        bars = [bar.get_height() for bar in explanation_figures.strip(explained(name)).axes[0].patches]
        heights = np.array(bars[: len(table)])
        assert heights.max() == pytest.approx(1) and (heights[table["share"] > 0.05] > 0.05).all()
        order = np.argsort(table["utilisation"].to_numpy(), kind="stable")
        assert (np.diff(heights[order]) >= -1e-12).all()


def test_the_roofline_tells_its_slope_and_the_layer_of_most_time():
    found = explained("mobilenet_v2")
    longest = found.layers.loc[found.layers["share"].idxmax(), "layer"]
    shown = texts(explanation_figures.roofline(found))
    assert f"{found.evaluation.design.dram_gbps:g} GB/s" in shown
    assert [text for text in shown if text.startswith(explanation_figures.short(longest))]


@pytest.mark.parametrize("width_in", [COLUMN_IN, TWO_COLUMNS_IN])
def test_the_relation_names_its_aspects_and_networks(width_in):
    table = relation("tiny")
    shown = {text.rstrip(":") for text in texts(explanation_figures.relation_figure(table, TITLE, width_in))}
    assert set(table["aspect"]) <= shown
    figure = explanation_figures.relation_figure(table, "design", width_in)
    assert figure.get_supxlabel() == "tiny \u00b7 design"


def test_layers_too_short_to_see_have_no_edges():
    """White edges of bars below a pixel made them pale."""
    run = co_run("vr_gaming")
    top = schedule_figures.gantt_figure(run, 0.0, 0.05).axes[0]
    widths = {}
    for bars in top.collections:
        for path in bars.get_paths():
            wide = np.ptp(path.vertices[:, 0]) >= 50 / (72 * TWO_COLUMNS_IN)  # a point of the window of 50 ms
            widths.setdefault(wide, set()).add(float(bars.get_linewidth()[0]))
    assert widths[False] == {0.0} and widths[True] == {0.12}


def test_one_run_has_no_legend_of_slow_downs():
    assert not schedule_figures.slow_down_figure({"a run": co_run("batch")}).legends
    assert schedule_figures.slow_down_figure({"a run": co_run("batch")}).get_figwidth() == COLUMN_IN


def test_legends_of_validations_have_one_order_and_name_families():
    for name in ("eyeriss", "nvdla", "power"):
        shown = [text.get_text() for text in plots.figure(validation(name)).legends[0].get_texts()]
        assert shown == [label for label in plots.ORDER if label in shown]
    shown = [text.get_text() for text in plots.figure(validation("areas")).legends[0].get_texts()]
    assert set(validation("areas")["family"]) <= set(shown)


# ---------------------------------------------------------------------------------------------------------------------
# How they are made.


def test_every_figure_is_written_whole():
    """A study that was killed left half of a tracked pdf: only `save_figure` calls matplotlib's `savefig`."""
    sources = [path for folder in ("dse", "problems", "experiments") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in sources if ".savefig(" in path.read_text(encoding="utf-8")] == ["figure_style.py"]
