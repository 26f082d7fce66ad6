"""Figures of a run, for a column of a paper (3.5 in) and for the screen.

Every function returns a `matplotlib.figure.Figure`; nothing global is touched and no display is needed.
`write_figures` writes pdf and png with the run's seed, budget, network and commit in the footer and in the file.
Each figure's numbers are beside it as CSV: `front.csv`, `designs.csv`, `random_twin.csv`, `convergence.csv`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from dse.costs.results import ENERGY_PARTS
from dse.hardware.area import AREA_BLOCKS
from dse.output.figure_style import (
    AREA_LOOKS,
    BLACK,
    BLUE,
    COLUMN_IN,
    ENERGY_LOOKS,
    GREEN,
    ORANGE,
    WATERFALL_LOOKS,
    YELLOW,
    footer,
    save_figure,
    styled,
)
from dse.output.units import number, scaled, unit_of, words
from dse.runs.tables import Table
from dse.search.exploration import Exploration
from dse.search.pareto import knee, non_dominated, spread
from dse.search.several_seeds import SeveralSeeds

BARS = 12
"""Most designs in a breakdown."""

BOUND_OF = {
    "latency_s": "latency_bound_s",
    "makespan_s": "makespan_bound_at_places_s",
    "energy_j": "energy_bound_j",
    "area_mm2": "area_mm2",
    "core_area_mm2": "core_area_mm2",
}
"""Column with the lower bound of an objective."""


@styled
def front(run: Exploration) -> Figure:
    """Every design grey, the front stepped, the random twin's front, the lower bound of each front design, the knee.

    With three or more objectives one panel for each pair with the first.
    """
    names = run.objective_names
    if len(names) == 1:
        return _one_objective(run)
    panels = len(names) - 1
    figure = Figure(figsize=(COLUMN_IN, 0.35 + 2.35 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
    for axis, second in zip(axes, names[1:], strict=True):
        _front_panel(axis, run, names[0], second, stepped=len(names) == 2)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2, columnspacing=0.9, handlelength=1.2, markerscale=1.3
    )
    return footer(figure, _plain(caption(run)))


class _Line(TypedDict, total=False):
    """How the points of a front are joined and marked."""

    drawstyle: Literal["steps-post"]
    ls: str
    marker: str


def _front_panel(axis: Axes, run: Exploration, first: str, second: str, stepped: bool) -> None:
    designs, best = run.designs, run.front
    designs = designs[designs["feasible"]] if len(designs) else designs
    (fx, ux), (fy, uy) = (scaled(unit_of(name), best[name]) for name in (first, second))
    n = f"{len(designs):,} of {run.evaluations:,}"
    axis.plot(designs[first] * fx, designs[second] * fy, ".", color="#c4c4c4", ms=1.6, mew=0, rasterized=True, zorder=1,
              label=f"feasible designs ({n})")  # fmt: skip
    style: _Line = {"drawstyle": "steps-post"} if stepped else {"ls": ""}
    exact: _Line = style if stepped else {"marker": ".", **style}
    if run.exact_front is not None and len(run.exact_front):
        axis.plot(run.exact_front[first] * fx, run.exact_front[second] * fy, color=BLACK, lw=0.8, zorder=2.5,
                  label="exact front of the space", **exact)  # fmt: skip
    twin = _twin_front(run)
    if twin is not None and len(twin):
        axis.plot(twin[first] * fx, twin[second] * fy, color=ORANGE, lw=1.0, marker="s", ms=1.8, mew=0, zorder=3,
                  label="random search, equal budget", **style)  # fmt: skip
    size = 2.4 if len(best) < 60 else 1.6
    axis.plot(best[first] * fx, best[second] * fy, color=BLUE, lw=1.2, marker="o", ms=size, mew=0, zorder=4,
              label=f"front ({len(best)} designs)", **style)  # fmt: skip
    _bound(axis, best, first, second, fx, fy)
    _certified(axis, run, first, second, fx, fy)
    if len(best):
        which = knee(run.front_on_own_scale())
        axis.plot(best[first].iloc[which] * fx, best[second].iloc[which] * fy, ls="", marker="*", ms=8, mew=0.5,
                  mfc=YELLOW, mec=BLACK, zorder=5, label="knee")  # fmt: skip
    axis.set_xlabel(_label(first, ux))
    axis.set_ylabel(_label(second, uy))
    everything = [designs[name].to_numpy(float) for name in (first, second)]
    _scales(axis, *everything)
    axis.grid(True, zorder=0)
    axis.set_axisbelow(True)


def _bound(axis: Axes, best: Table, first: str, second: str, fx: float, fy: float) -> None:
    """Where each design of the front would be if its mappings were perfect."""
    columns = [BOUND_OF.get(first), BOUND_OF.get(second)]
    if None in columns or not {"latency_bound_s", "energy_bound_j"} & set(columns) or not set(columns) <= set(best):
        return
    ends = [
        (best[name] * factor).to_numpy(float)
        for name, factor in zip((first, second, *columns), (fx, fy) * 2, strict=True)
    ]
    segments = np.stack([np.column_stack(ends[:2]), np.column_stack(ends[2:])], axis=1)
    axis.add_collection(LineCollection(list(segments), color=GREEN, lw=0.6, zorder=3.5))
    axis.plot(ends[2], ends[3], color=GREEN, lw=0.6, marker="|" if columns[1] == second else "x", ms=3, mew=0.8,
              zorder=3.5, markevery=1, ls="", label="lower bound of a front design")  # fmt: skip


def _certified(axis: Axes, run: Exploration, first: str, second: str, fx: float, fy: float) -> None:
    """The band in which a better design could lie: between the front and what its certificate excludes."""
    certificate = run.manifest.get("certificate")
    if not certificate or not len(run.front):
        return
    share = certificate["proven_of_the_runs_own_front"]
    x, y = run.front[first].to_numpy(float) * fx, run.front[second].to_numpy(float) * fy
    x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]  # in steps
    edge = np.concatenate([x, x[::-1] / (1 + share)]), np.concatenate([y, y[::-1] / (1 + share)])
    axis.fill(*edge, color=BLUE, alpha=0.25, lw=0, zorder=2, label=f"better by {100 * share:.2g} % at most (proven)")


def _twin_front(run: Exploration) -> Table | None:
    if run.random_twin is None:
        return None
    good = run.random_twin[run.random_twin["feasible"]]
    keep = non_dominated(good[list(run.objective_names)].to_numpy(float))
    return good.iloc[keep].sort_values(run.objective_names[0])


def _one_objective(run: Exploration) -> Figure:
    """Value of every design in order of evaluation, and the best so far."""
    figure = Figure(figsize=(COLUMN_IN, 2.6), layout="constrained")
    axis, name = figure.subplots(), run.objective_names[0]
    designs = run.designs[run.designs["feasible"]]
    factor, unit = scaled(unit_of(name), designs[name])
    axis.plot(designs["index"] + 1, designs[name] * factor, ".", color="#c4c4c4", ms=1.6, mew=0, rasterized=True,
              label="evaluated designs that run")  # fmt: skip
    axis.plot(designs["index"] + 1, designs[name].cummin() * factor, color=BLUE, lw=1.2, label="best so far")
    axis.set_xlabel("Unique designs evaluated")
    axis.set_ylabel(_label(name, unit))
    if len(designs) and designs[name].min() > 0 and designs[name].max() > 10 * designs[name].min():
        axis.set_yscale("log")
        _plain_log(axis.yaxis)
    figure.legend(loc="outside upper center", ncols=2)
    return footer(figure, _plain(caption(run)))


@styled
def convergence(run: Exploration) -> Figure:
    """Hypervolume against unique evaluations: the search and its random twin."""
    figure = Figure(figsize=(COLUMN_IN, 2.5), layout="constrained")
    axis, table = figure.subplots(), run.convergence
    looks = {"random": (ORANGE, "random search")}
    for source in dict.fromkeys(table["source"]):
        rows = table[table["source"] == source]
        colour, label = looks.get(source, (BLUE, _NAMES.get(source, source)))
        axis.step(rows["evaluations"], rows["hypervolume"], where="post", color=colour, lw=1.2,
                  marker="o" if len(rows) < 3 else "", ms=3, label=label)  # fmt: skip
    exact = run.hypervolume.get("exhaustive")
    if exact is not None and "exhaustive" not in set(table["source"]):
        axis.axhline(exact, color=BLACK, lw=0.8, ls=(0, (3, 1.5)), label="exact front of the space")
    _convergence_axes(axis, max(table["evaluations"], default=1))
    return footer(figure, _plain(caption(run)))


@styled
def band(found: SeveralSeeds) -> Figure:
    """Hypervolume against unique evaluations over the seeds of a search: median, and the band of 10 to 90 %."""
    figure = Figure(figsize=(COLUMN_IN, 2.5), layout="constrained")
    axis = figure.subplots()
    for source, table in found.bands().items():
        is_twin = source == "random" and source != found.source
        colour, label = (ORANGE, "random search") if is_twin else (BLUE, _NAMES.get(source, source))
        at, low, middle, high = table.T
        axis.fill_between(at, low, high, step="post", color=colour, alpha=0.25, lw=0)
        axis.step(at, middle, where="post", color=colour, lw=1.2, label=label)
    _convergence_axes(axis, max(run.evaluations for run in found.runs))
    seeds = f"median and 10 to 90 % of seeds {found.seeds[0]} to {found.seeds[-1]}"
    text = _plain(caption(found.runs[0])).replace(f"seed {found.seeds[0]}", seeds)
    return footer(figure, text)


def write_band(found: SeveralSeeds) -> Path | None:
    """`convergence.png` over the seeds of a search, in its directory."""
    if found.directory is None:
        return None
    return save_figure(band(found), found.directory / "convergence.png", "Convergence over seeds", "")


def _convergence_axes(axis: Axes, most: float) -> None:
    axis.set_xlabel("Unique designs evaluated")
    axis.set_ylabel("Hypervolume [share of the box]")
    axis.set_xlim(0, most)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axis.grid(True)
    axis.set_axisbelow(True)
    axis.legend(loc="lower right")


@styled
def breakdown(run: Exploration) -> Figure:
    """Designs spread along the front: what their area, latency and energy consist of."""
    best = run.front
    which = spread(run.front_on_own_scale(), BARS) if len(best) else np.arange(0)
    chosen = best.iloc[which]
    groups = [
        ("area_mm2", {f"area_{name}_mm2": AREA_LOOKS[name] for name in AREA_BLOCKS}),
        ("latency_s", WATERFALL_LOOKS),
        ("energy_j", {f"energy_{name}_j": ENERGY_LOOKS[name] for name in ENERGY_PARTS}),
    ]
    groups = [(total, parts) for total, parts in groups if {total, *parts} <= set(best)]
    figure = Figure(figsize=(COLUMN_IN, 0.7 + 1.55 * max(1, len(groups))), layout="constrained")
    axes = figure.subplots(max(1, len(groups)), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (total, parts) in zip(axes, groups, strict=False):
        _stack(axis, chosen, total, parts)
    axes[-1].set_xticks(np.arange(len(chosen)), [f"{i:,}" for i in chosen["index"]], rotation=90, fontsize=6)
    first = _plain(words(run.objective_names[0]))
    axes[-1].set_xlabel(f"Design along the front, least {first} left\n(its index in front.csv)")
    return footer(figure, _plain(caption(run)))


def _stack(axis: Axes, chosen: Table, total: str, parts: dict[str, tuple[str, str]]) -> None:
    """Shares of one total as stacked bars, the total above each."""
    values = chosen[list(parts)].to_numpy(float)
    sums = values.sum(axis=1, keepdims=True)
    shares = np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)
    at, bottom = np.arange(len(chosen)), np.zeros(len(chosen))
    for (label, colour), share in zip(parts.values(), shares.T, strict=True):
        axis.bar(at, share, 0.82, bottom, color=colour, label=label if share.max(initial=0) >= 0.005 else None, lw=0)
        bottom += share
    factor, unit = scaled(unit_of(total), chosen[total])
    for x, value in zip(at.tolist(), chosen[total] * factor, strict=True):
        axis.text(x, 1.03, number(float(f"{value:.3g}")), rotation=90, ha="center", va="bottom", fontsize=6)
    axis.text(1.01, 1.06, f"total [{unit}]", transform=axis.transAxes, ha="left", va="bottom", fontsize=6.5)
    axis.set_ylim(0, 1)
    axis.set_xlim(-0.6, len(chosen) - 0.4)
    axis.tick_params(axis="x", length=0)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axis.set_ylabel(f"{_capital(words(total))} share [%]")
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.04), handlelength=0.9,
                labelspacing=0.25, borderaxespad=0.2, handletextpad=0.5)  # fmt: skip


def _label(name: str, unit: str) -> str:
    return _capital(_plain(words(name))) + (f" [{unit}]" if unit else "")


def _plain(text: str) -> str:
    """The text as it stands: matplotlib reads what is between two dollars as a formula."""
    return text.replace("$", r"\$")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _scales(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """A log axis where the values span more than a decade."""
    for values, which in ((x, "x"), (y, "y")):
        if len(values) and values.min() > 0 and values.max() > 10 * values.min():
            getattr(axis, f"set_{which}scale")("log")
            _plain_log(getattr(axis, f"{which}axis"))


def _plain_log(axis: Any) -> None:
    """Powers of ten written out as 0.1, 1, 10 ... up to 10,000; unlabelled ticks between."""
    axis.set_major_locator(LogLocator(numticks=8))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.10g}" if 1e-3 <= value < 1e5 else f"{value:.0e}")
    )


_NAMES = {"nsga2": "NSGA-II", "nsga3": "NSGA-III", "smsemoa": "SMS-EMOA", "agemoea": "AGE-MOEA", "spea2": "SPEA2"}


def caption(run: Exploration) -> str:
    """What a figure must say to be made again: network, algorithm, budget, population, seed, commit."""
    identity = run.manifest.get("identity", {})
    algorithm = identity.get("algorithm", "")
    if isinstance(algorithm, dict):
        algorithm = algorithm.get("class", "")
    commit = run.manifest.get("git_commit")
    parts = [
        str(identity.get("problem", {}).get("network") or ""),
        _NAMES.get(algorithm, algorithm),
        f"{run.evaluations:,} unique designs",
        f"population {identity['population']}" if "population" in identity else "",
        f"seed {identity['seed']}" if "seed" in identity else "",
        f"commit {commit[:7]}{'+' if commit.endswith('-dirty') else ''}" if commit else "",
    ]
    return " \u00b7 ".join(part for part in parts if part)


def write_figures(run: Exploration, directory: str | Path | None = None) -> list[Path]:
    """`front.pdf`, `front.png`, `convergence.png`, `breakdown.png` of a run; none without a feasible design.

    Parameters
    ----------
    directory : default the run's own.
    """
    directory = run.directory if directory is None else Path(directory)
    if directory is None:
        raise ValueError("the run has no directory; give one: write_figures(run, 'results/mine')")
    if len(run.front) == 0:
        return []
    about = f"{caption(run)}. {run.stopped_because}"
    network = run.manifest.get("identity", {}).get("problem", {}).get("network") or "designs"
    drawn = {"front.pdf": front, "front.png": front, "convergence.png": convergence, "breakdown.png": breakdown}
    titles = {front: "Pareto front", convergence: "Convergence", breakdown: "Breakdown along the front"}
    return [
        save_figure(draw(run), directory / name, f"{titles[draw]}, {network}", about) for name, draw in drawn.items()
    ]
