"""Figures: they are drawn for every kind of run, say what made them, and leave no half-written file."""

import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from standin import StandIn, StandInEvaluator, UnderPower, space

import dse
from dse.costs.results import ENERGY_PARTS
from dse.hardware.area import AREA_BLOCKS
from dse.output import figure_style
from dse.output import run_figures as plots
from dse.runs.files import RunDirectoryError
from dse.runs.run_directory import written_by
from dse.search.exploration import load
from dse.search.pareto import knee, spread
from dse.search.search_loop import explore
from problems import GeomeanDNN
from problems.base import AcceleratorProblem


class FullEvaluator(StandInEvaluator):
    """The stand-in with every part of area, latency and energy that the real evaluator gives."""

    def __call__(self, columns):
        m = super().__call__(columns)
        share = {f"area_{name}_mm2": m["area_mm2"] / len(AREA_BLOCKS) for name in AREA_BLOCKS}
        share |= {f"energy_{name}_j": m["energy_j"] / len(ENERGY_PARTS) for name in ENERGY_PARTS}
        share |= {name: m["cycles"] / len(figure_style.WATERFALL_LOOKS) for name in figure_style.WATERFALL_LOOKS}
        return m | share


class Full(AcceleratorProblem):
    """Latency [s] and area [mm2] of the stand-in with its parts."""

    objective_names = ("latency_s", "area_mm2")

    def __init__(self):
        super().__init__(FullEvaluator(), space(small=True))


class OneObjective(StandIn):
    """Latency [s]."""

    objective_names = ("latency_s",)


class Infeasible(StandIn):
    """Nothing is allowed."""

    constraint_names = ("never",)

    def constraints(self, m):
        """Always 1."""
        return (np.ones_like(m.latency_s),)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with random twin and exact front."""
    return explore(Full(), evaluations=120, seed=2, out=tmp_path_factory.mktemp("run") / "full", exhaustive=True)


def texts_of(figure):
    """Every text in a figure."""
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_front_shows_designs_twin_bound_exact_front_and_knee(run):
    figure = plots.front(run)
    shown = texts_of(figure)
    labels = ("feasible designs", "random search, equal budget", "front (", "exact front", "lower bound", "knee")
    for label in labels:
        assert any(text.startswith(label) for text in shown), label
    assert {"Latency [ms]", "Area [mm²]"} <= set(shown)
    axis = figure.axes[0]
    stepped = next(line for line in axis.lines if line.get_label().startswith("front ("))
    assert stepped.get_drawstyle() == "steps-post" and len(stepped.get_xdata()) == len(run.front)
    assert np.allclose(stepped.get_ydata(), run.front["area_mm2"])
    star = next(line for line in axis.lines if line.get_label() == "knee")
    at = knee(run.front_on_own_scale())
    assert star.get_ydata()[0] == run.front["area_mm2"].iloc[at]


def test_axes_are_log_only_when_they_span_a_decade(run):
    axis = plots.front(run).axes[0]
    for name, scale in (("latency_s", axis.get_xscale()), ("area_mm2", axis.get_yscale())):
        values = run.designs[name][run.designs["feasible"]]
        assert scale == ("log" if values.max() > 10 * values.min() else "linear")


def test_figures_are_a_column_wide_and_name_the_run(run):
    for draw in (plots.front, plots.convergence, plots.breakdown):
        figure = draw(run)
        assert isinstance(figure, Figure) and figure.get_size_inches()[0] == figure_style.COLUMN_IN
        footer = figure.get_supxlabel()
        footer = " ".join(footer.split())
        assert "120 unique designs" in footer and "seed 2" in footer and "population 10" in footer
        assert "least latency and area" in footer


def test_convergence_ends_at_the_final_hypervolume(run):
    lines = {line.get_label(): line for line in plots.convergence(run).axes[0].lines}
    assert lines["NSGA-II"].get_ydata()[-1] == run.hypervolume["nsga2"]
    assert lines["random search"].get_ydata()[-1] == run.hypervolume["random"]
    assert lines["exact front of the space"].get_ydata()[0] == run.hypervolume["exhaustive"]


def test_breakdown_stacks_to_one_for_each_total(run):
    figure = plots.breakdown(run)
    assert [axis.get_ylabel() for axis in figure.axes] == ["Area share [%]", "Latency share [%]", "Energy share [%]"]
    for axis in figure.axes:
        tops = {}
        for bar in axis.patches:
            tops[bar.get_x()] = tops.get(bar.get_x(), 0.0) + bar.get_height()
        assert len(tops) == min(plots.BARS, len(run.front)) and np.allclose(list(tops.values()), 1.0)


def test_files_carry_what_made_them(run):
    written = plots.write_figures(load(run.directory))
    names = ("front", "convergence", "breakdown")
    assert [path.name for path in written] == [name for stem in names for name in figure_style.figure_names(stem)]
    for path in written:
        if path.suffix == ".pdf":  # as wide as a column of a paper, or as two
            width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", path.read_bytes())[1]) / 72
            assert width == (7.0 if path.stem.endswith("_wide") else 3.5)
    assert b"seed 2" in (run.directory / "front.png").read_bytes()
    before = (run.directory / "front.pdf").read_bytes()
    plots.write_figures(run)
    assert (run.directory / "front.pdf").read_bytes() == before and not list(run.directory.glob(".*"))


@pytest.mark.parametrize("problem", [UnderPower, OneObjective])
def test_one_and_three_objectives(problem, tmp_path):
    run = explore(problem(), evaluations=60, random_twin=False)
    pairs = {1: 1, 3: 3}[len(run.objective_names)]
    for width_in in (3.5, 7.0):
        assert len(plots.front(run, width_in).axes) == pairs
    stems = {path.stem.removesuffix("_wide") for path in plots.write_figures(run, tmp_path)}
    assert stems == {"front", "convergence"} | ({"parallel"} if len(run.objective_names) > 2 else set())


def test_three_objectives_show_every_pair_and_no_lines_across(tmp_path):
    run = explore(UnderPower(), evaluations=60, random_twin=False)
    axes = plots.front(run).axes
    labels = [(axis.get_xlabel().partition(" [")[0], axis.get_ylabel().partition(" [")[0]) for axis in axes]
    assert labels == [("Energy-delay product", "Area"), ("Energy-delay product", "Energy"), ("Area", "Energy")]
    assert not [artist for axis in axes for artist in axis.collections]
    (lines,) = plots.parallel(run).axes[0].collections
    paths = np.array([path.vertices for path in lines.get_paths()])
    assert paths.shape == (len(run.front), 3, 2)
    for j, name in enumerate(run.objective_names):  # least below, greatest above, in order
        assert paths[:, j, 1].min() == 0 and paths[:, j, 1].max() == 1
        assert (np.argsort(paths[:, j, 1], kind="stable") == np.argsort(run.front[name], kind="stable")).all()


def test_a_mean_over_networks_is_called_one():
    layers = (dse.MacLayer("a", K=16, C=8, OY=6, OX=6, FY=3, FX=3),)
    networks = [dse.Network("one", layers), dse.Network("two", layers * 1)]
    small = dse.DesignSpace({"rows": [4, 8], "cols": [4, 8], "dram_gbps": [1, 4]})
    for weights, name in ((None, "Geometric mean of"), ((2, 1), "Weighted geometric mean of")):
        problem = GeomeanDNN(networks, space=small, objectives=("latency_s", "edp_js", "area_mm2"), weights=weights)
        run = explore(problem, evaluations=8, random_twin=False)
        found = [" ".join(axis.get_ylabel().split()) for axis in plots.front(run).axes]
        assert found[0].startswith(f"{name} energy-delay product [") and found[1] == "Area [mm²]"
        assert " ".join(plots.front(run).axes[0].get_xlabel().split()).startswith(f"{name} latency [")
        assert "one, two" in plots.caption(run)


def test_a_run_without_a_feasible_design_has_no_figures(tmp_path):
    assert plots.write_figures(explore(Infeasible(), evaluations=20), tmp_path) == []


def test_a_run_in_memory_asks_for_a_directory():
    with pytest.raises(ValueError, match=r"write_figures\(run, 'results/mine'\)"):
        plots.write_figures(explore(StandIn(), evaluations=20))


def test_a_directory_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunDirectoryError, match=r"cannot write .*front\.png"):
        plots.write_figures(run, tmp_path / "file")


def test_a_users_settings_go_before_the_style_and_stay_as_they_are(run):
    plain = plots.front(run).axes[0].xaxis.label
    assert plain.get_fontsize() == 8 and plain.get_fontfamily() == ["sans-serif"]
    with matplotlib.rc_context({"font.family": "serif", "font.size": 9, "axes.spines.right": True}):
        before = dict(matplotlib.rcParams)  # right spines are matplotlib's own setting, so the style's holds
        axis = plots.front(run).axes[0]
        assert axis.xaxis.label.get_fontfamily() == ["serif"] and axis.xaxis.label.get_fontsize() == 9
        assert not axis.spines["right"].get_visible()
        assert dict(matplotlib.rcParams) == before


def test_every_setting_of_the_style_is_one_of_matplotlib():
    found = matplotlib.rc_params_from_file(figure_style.STYLE_FILE, use_default_template=False, fail_on_error=True)
    lines = figure_style.STYLE_FILE.read_text(encoding="utf-8").splitlines()
    assert len(found) == len([line for line in lines if line and not line.startswith("#")]) > 15


def test_the_footer_can_be_left_out_and_what_it_says_is_in_the_file(run, tmp_path):
    assert plots.front(run).get_supxlabel() and not plots.front(run, with_footer=False).get_supxlabel()
    plots.write_figures(run, tmp_path, with_footer=False)
    assert b"seed 2" in (tmp_path / "front.png").read_bytes()


def test_a_figure_of_an_installed_release_names_it(run):
    manifest = {**run.manifest, "git_commit": None}
    assert plots.caption(replace(run, manifest=manifest)).endswith(f"dse {written_by(manifest)}")
    assert "commit 1234567+" in plots.caption(replace(run, manifest={**manifest, "git_commit": "12345678-dirty"}))


def test_log_axes_have_labels_enough_and_room_between_them():
    for low, high in ((1, 1e4), (3, 9), (11, 19), (0.02, 300), (1e-9, 1e9), (14.2, 16.1), (40, 41)):
        ticks = np.array(figure_style.LogTicks().tick_values(low, high))
        assert 2 <= len(ticks) <= figure_style.LogTicks.most
        assert (ticks >= low).all() and (ticks <= high).all() and (np.diff(ticks) > 0).all()
    labels = figure_style.LogLabels().format_ticks
    assert labels([0.001, 0.5, 20, 10_000, 100_000]) == ["0.001", "0.5", "20", "10,000", "100,000"]
    assert labels([1e5, 1e6, 2e6]) == ["$10^{5}$", "$10^{6}$", "$2\\cdot10^{6}$"]


def test_lines_are_no_wider_than_asked_and_lose_no_letter():
    with figure_style.house_style():
        for text in ("a bb ccc " * 9, "x" * 120, "resnet50, " + "y" * 60 + " and more"):
            lines = figure_style.wrapped(text, 1.0, "small").split("\n")
            assert max(figure_style.text_width_in(line, "small") for line in lines) <= 1.0
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_spread_holds_ends_and_knee_and_covers_the_front():
    x = np.linspace(0, 1, 50)
    points = np.column_stack([x, (1 - x) ** 3])
    chosen = spread(points, 6)
    assert len(set(chosen.tolist())) == 6 and {0, 49, knee(points)} <= set(chosen.tolist())
    assert knee(points) == np.argmin(points.sum(axis=1))
    assert spread(points[:4], 6).tolist() == [0, 1, 2, 3]
    assert np.diff(points[chosen], axis=0).max() < 0.5
