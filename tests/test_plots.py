"""Figures: they are drawn for every kind of run, say what made them, and leave no half-written file."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from standin import StandIn, StandInEvaluator, UnderPower, space

from dse.costs.results import ENERGY_PARTS
from dse.hardware.area import AREA_BLOCKS
from dse.output import figure_style
from dse.output import run_figures as plots
from dse.runs.files import RunDirectoryError
from dse.search.exploration import load
from dse.search.pareto import knee, spread
from dse.search.search_loop import explore
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
        assert "120 unique designs" in footer and "seed 2" in footer and "population 10" in footer


def test_nothing_lies_outside_its_figure(run):
    for draw in (plots.front, plots.convergence, plots.breakdown):
        figure = draw(run)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        box, (width_in, height_in) = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
        assert box.x0 >= -0.01 and box.y0 >= -0.01, draw.__name__
        assert box.x1 <= width_in + 0.01 and box.y1 <= height_in + 0.01, draw.__name__


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
    assert [path.name for path in written] == ["front.pdf", "front.png", "convergence.png", "breakdown.png"]
    assert b"seed 2" in (run.directory / "front.png").read_bytes()
    before = (run.directory / "front.pdf").read_bytes()
    plots.write_figures(run)
    assert (run.directory / "front.pdf").read_bytes() == before and not list(run.directory.glob(".*"))


@pytest.mark.parametrize("problem", [UnderPower, OneObjective])
def test_one_and_three_objectives(problem, tmp_path):
    run = explore(problem(), evaluations=60, random_twin=False)
    assert len(plots.front(run).axes) == max(1, len(run.objective_names) - 1)
    assert len(plots.write_figures(run, tmp_path)) == 4


def test_a_run_without_a_feasible_design_has_no_figures(tmp_path):
    assert plots.write_figures(explore(Infeasible(), evaluations=20), tmp_path) == []


def test_a_run_in_memory_asks_for_a_directory():
    with pytest.raises(ValueError, match=r"write_figures\(run, 'results/mine'\)"):
        plots.write_figures(explore(StandIn(), evaluations=20))


def test_a_directory_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunDirectoryError, match=r"cannot write .*front\.pdf"):
        plots.write_figures(run, tmp_path / "file")


def test_users_settings_are_neither_used_nor_changed(run):
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.front(run)
    assert dict(matplotlib.rcParams) == before


def test_spread_holds_ends_and_knee_and_covers_the_front():
    x = np.linspace(0, 1, 50)
    points = np.column_stack([x, (1 - x) ** 3])
    chosen = spread(points, 6)
    assert len(set(chosen.tolist())) == 6 and {0, 49, knee(points)} <= set(chosen.tolist())
    assert knee(points) == np.argmin(points.sum(axis=1))
    assert spread(points[:4], 6).tolist() == [0, 1, 2, 3]
    assert np.diff(points[chosen], axis=0).max() < 0.5
