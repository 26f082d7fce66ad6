"""Figures of a run, for a column of a paper (3.5 in), for two (7.0 in), and for the screen.

Every function returns a `matplotlib.figure.Figure`; nothing global is touched and no display is needed.
`write_figures` writes pdf and png with networks, objectives, seed, budget and commit in the footer and in the file.
Each figure's numbers are beside it as CSV: `front.csv`, `designs.csv`, `random_twin.csv`, `convergence.csv`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, TypedDict

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

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
    SMALL,
    TINY,
    WATERFALL_LOOKS,
    YELLOW,
    add_footer,
    capital,
    entries_of,
    fit_scale,
    grid,
    is_wide,
    legend_above,
    linear_scale,
    plain,
    save_widths,
    styled,
    wrapped,
)
from dse.output.units import number, quantity, scaled, unit_of, words
from dse.runs.column_dictionary import DERIVED
from dse.runs.run_directory import written_by
from dse.runs.tables import Table, frame
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

MEAN = "weighted geometric mean"
"""How `columns.csv` begins to tell of a column that is one over several networks."""


@styled
def front(run: Exploration, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """Every design grey, the front stepped, the random twin's front, the lower bound of each front design, the knee.

    With three or more objectives one panel for each pair, with the same designs in all, and neither steps nor bounds.
    """
    names = run.objective_names
    if len(names) == 1:
        return _one_objective(run, width_in, with_footer)
    pairs = list(combinations(names, 2))
    figure, axes = pair_panels(width_in, len(pairs))
    for axis, (first, second) in zip(axes, pairs, strict=True):
        _front_panel(axis, run, first, second, stepped=len(names) == 2)
    legend_above(figure, entries_of(*axes), handlelength=1.2, markerscale=1.3)
    return add_footer(figure, caption(run), with_footer)


def pair_panels(width_in: float, count: int) -> tuple[Figure, list[Axes]]:
    """A new figure and its axes, one for each pair of objectives, beside each other where it is wide."""
    columns = min(count, 3) if is_wide(width_in) else 1
    lines = -(-count // columns)
    figure = Figure(figsize=(width_in, 0.6 + (2.2 if columns > 1 else 2.1) * lines), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


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
    small = 1.6 if len(designs) > 1000 else 2.6
    axis.plot(designs[first] * fx, designs[second] * fy, ".", color="#c4c4c4", ms=small, mew=0, rasterized=True,
              zorder=1, label=f"feasible designs ({n})")  # fmt: skip
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
    if stepped:
        _bound(axis, best, first, second, fx, fy)
        _certified(axis, run, first, second, fx, fy)
    if len(best):
        which = knee(run.front_on_own_scale())
        axis.plot(best[first].iloc[which] * fx, best[second].iloc[which] * fy, ls="", marker="*", ms=8, mew=0.5,
                  mfc=YELLOW, mec=BLACK, zorder=5, label="knee")  # fmt: skip
    name_axes(axis, label(run, first, ux), label(run, second, uy))
    for scale, name, factor in ((axis.xaxis, first, fx), (axis.yaxis, second, fy)):
        fit_scale(scale, designs[name].to_numpy(float) * factor)
    grid(axis)


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
              zorder=3.5, markevery=1, ls="", label="lower bounds")  # fmt: skip


def _certified(axis: Axes, run: Exploration, first: str, second: str, fx: float, fy: float) -> None:
    """The band in which a better design could lie: between the front and what its certificate excludes."""
    certificate = run.manifest.get("certificate")
    certificate = certificate if isinstance(certificate, dict) else {}
    share = certificate.get("proven_of_the_runs_own_front")
    if share is None:
        return
    front = run.front
    for name, limit in certificate.get("limits", {}).items():
        front = front[front[name] <= limit]
    if not len(front):
        return
    x, y = front[first].to_numpy(float) * fx, front[second].to_numpy(float) * fy
    x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]  # in steps
    edge = np.concatenate([x, x[::-1] / (1 + share)]), np.concatenate([y, y[::-1] / (1 + share)])
    axis.fill(*edge, color=BLUE, alpha=0.25, lw=0, zorder=2, label=f"proven within {100 * share:.2g} %")


def _twin_front(run: Exploration) -> Table | None:
    if run.random_twin is None:
        return None
    good = run.random_twin[run.random_twin["feasible"]]
    keep = non_dominated(good[list(run.objective_names)].to_numpy(float))
    return good.iloc[keep].sort_values(run.objective_names[0])


def _one_objective(run: Exploration, width_in: float, with_footer: bool) -> Figure:
    """Value of every design in order of evaluation, and the best so far."""
    figure = Figure(figsize=(width_in, 2.6), layout="constrained")
    axis, name = figure.subplots(), run.objective_names[0]
    designs = run.designs[run.designs["feasible"]]
    factor, unit = scaled(unit_of(name), designs[name])
    axis.plot(designs["index"] + 1, designs[name] * factor, ".", color="#c4c4c4", ms=1.6, mew=0, rasterized=True,
              label="evaluated designs that run")  # fmt: skip
    axis.plot(designs["index"] + 1, designs[name].cummin() * factor, color=BLUE, lw=1.2, label="best so far")
    name_axes(axis, "Unique designs evaluated", label(run, name, unit))
    linear_scale(axis.xaxis)
    fit_scale(axis.yaxis, designs[name].to_numpy(float) * factor)
    legend_above(figure, entries_of(axis))
    return add_footer(figure, caption(run), with_footer)


@styled
def parallel(run: Exploration, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """The front in parallel coordinates: an axis for each objective, a line for each design.

    An axis goes from the least value on the front, below, to the greatest, on a log scale where these are more than a
    decade apart.  Lines have the colour of the first objective.
    """
    names, best = run.objective_names, run.front
    figure = Figure(figsize=(width_in, 2.7), layout="constrained")
    axis = figure.subplots()
    heights = np.column_stack([_heights(best[name].to_numpy(float)) for name in names])
    at = np.arange(len(names))
    colours = matplotlib.colormaps["cividis"](Normalize(0, 1)(heights[:, 0]))
    lines = np.stack([np.broadcast_to(at, heights.shape), heights], axis=2)
    axis.add_collection(LineCollection(list(lines), colors=colours, lw=0.8, alpha=0.9))
    room_in = 0.9 * width_in / len(names) - 0.15
    labels = []
    for x, name in enumerate(names):
        factor, unit = scaled(unit_of(name), best[name])
        low, high = (number(float(f"{factor * value:.3g}")) for value in (best[name].min(), best[name].max()))
        axis.plot([x, x], [0, 1], color=BLACK, lw=0.6, zorder=3)
        for y, text, side in ((-0.03, low, "top"), (1.03, high, "bottom")):
            axis.text(x, y, text, ha="center", va=side, fontsize=SMALL)
        labels.append(wrapped(label(run, name, unit), room_in))
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.set_ylim(-0.12, 1.12)
    axis.set_xticks(at, labels, fontsize="medium")
    axis.tick_params(axis="x", length=0, pad=3)
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    what = f"{len(best):,} designs of the front; colour: {words(names[0])}, dark least; below: least of the front"
    return add_footer(figure, f"{what} \u00b7 {caption(run)}", with_footer)


def _heights(values: np.ndarray) -> np.ndarray:
    """Values from 0, the least, to 1, the greatest; on a log scale where they span more than a decade."""
    if values.min() > 0 and values.max() > 10 * values.min():
        values = np.log(values)
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.full(len(values), 0.5)


@styled
def convergence(run: Exploration, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """Hypervolume against unique evaluations: the search and its random twin."""
    figure = Figure(figsize=(width_in, 2.5), layout="constrained")
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
    return add_footer(figure, caption(run), with_footer)


@styled
def band(found: SeveralSeeds, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """Hypervolume against unique evaluations over the seeds of a search: median, and the band of 10 to 90 %."""
    figure = Figure(figsize=(width_in, 2.5), layout="constrained")
    axis = figure.subplots()
    for source, table in found.bands().items():
        is_twin = source == "random" and source != found.source
        colour, label = (ORANGE, "random search") if is_twin else (BLUE, _NAMES.get(source, source))
        at, low, middle, high = table.T
        axis.fill_between(at, low, high, step="post", color=colour, alpha=0.25, lw=0)
        axis.step(at, middle, where="post", color=colour, lw=1.2, label=label)
    _convergence_axes(axis, max(run.evaluations for run in found.runs))
    seeds = f"median and 10 to 90 % of seeds {found.seeds[0]} to {found.seeds[-1]}"
    return add_footer(figure, caption(found.runs[0]).replace(f"seed {found.seeds[0]}", seeds), with_footer)


def write_band(found: SeveralSeeds) -> list[Path]:
    """`convergence` over the seeds of a search, in its directory."""
    if found.directory is None:
        return []
    return save_widths(functools.partial(band, found), found.directory, "convergence", "Convergence over seeds")


def _convergence_axes(axis: Axes, most: float) -> None:
    axis.set_xlabel("Unique designs evaluated")
    axis.set_ylabel("Hypervolume [share of the box]")
    axis.set_xlim(0, most)
    linear_scale(axis.xaxis)
    linear_scale(axis.yaxis)
    grid(axis)
    axis.legend(loc="lower right")


@styled
def breakdown(run: Exploration, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """Designs spread along the front: what their area, latency and energy consist of, as far as `parts_of` tells."""
    best, groups = run.front, parts_of(run)
    which = spread(run.front_on_own_scale(), BARS) if len(best) else np.arange(0)
    chosen = best.iloc[which]
    figure = Figure(figsize=(width_in, 0.7 + 1.65 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (total, parts) in zip(axes, groups, strict=True):
        _stack(axis, chosen, total, parts)
    axes[-1].set_xticks(np.arange(len(chosen)), [f"{i:,}" for i in chosen["index"]], rotation=90, fontsize=SMALL)
    first = plain(words(run.objective_names[0]))
    said = f"Design along the front, least {first} left (its index in front.csv)"
    axes[-1].set_xlabel(wrapped(said, 0.55 * width_in))
    return add_footer(figure, caption(run), with_footer)


def parts_of(run: Exploration) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """Totals of a run's designs of which its tables hold the parts, and what these look like."""
    groups = [
        ("area_mm2", {f"area_{name}_mm2": AREA_LOOKS[name] for name in AREA_BLOCKS}),
        ("latency_s", WATERFALL_LOOKS),
        ("energy_j", {f"energy_{name}_j": ENERGY_LOOKS[name] for name in ENERGY_PARTS}),
    ]
    return [(total, parts) for total, parts in groups if {total, *parts} <= set(run.front)]


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
        axis.text(x, 1.03, number(float(f"{value:.3g}")), rotation=90, ha="center", va="bottom", fontsize=TINY)
    axis.text(1.01, 1.06, f"total [{unit}]", transform=axis.transAxes, ha="left", va="bottom", fontsize=SMALL)
    axis.set_ylim(0, 1)
    axis.set_xlim(-0.6, len(chosen) - 0.4)
    axis.tick_params(axis="x", length=0)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axis.set_ylabel(f"{capital(words(total))} share [%]")
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.04), handlelength=0.9,
                labelspacing=0.25, borderaxespad=0.2, handletextpad=0.5)  # fmt: skip


def label(run: Exploration, name: str, unit: str) -> str:
    """An objective of a run as an axis names it; a mean over several networks is called one."""
    text = words(name)
    if "columns.csv" in run.texts:
        table = frame(run.texts["columns.csv"]())
        meanings = dict(zip(table["name"], table["meaning"].astype(str), strict=True))
        told = meanings.get("latency_s" if name in DERIVED else name, "")  # of products of means
        if told.startswith(MEAN):
            weights = run.manifest.get("identity", {}).get("problem", {}).get("attributes", {}).get("weights") or [1]
            text = f"{MEAN if len(set(weights)) > 1 else MEAN.partition(' ')[2]} of {text}"
    return capital(text) + (f" [{unit}]" if unit else "")


def name_axes(axis: Axes, x: str, y: str) -> None:
    """Labels of both axes, in lines that their sides have room for."""
    box = axis.get_window_extent()
    width_in, height_in = box.width / axis.figure.dpi, box.height / axis.figure.dpi
    axis.set_xlabel(plain(wrapped(x, width_in)))
    axis.set_ylabel(plain(wrapped(y, 0.85 * height_in)))


_NAMES = {"nsga2": "NSGA-II", "nsga3": "NSGA-III", "smsemoa": "SMS-EMOA", "agemoea": "AGE-MOEA", "spea2": "SPEA2"}


def caption(run: Exploration) -> str:
    """What a figure must say to be made again: networks, objectives, limits, algorithm, budget, seed, commit."""
    identity = run.manifest.get("identity", {})
    problem = identity.get("problem", {})
    algorithm = identity.get("algorithm", "")
    if isinstance(algorithm, dict):
        algorithm = algorithm.get("class", "")
    constants, commit = problem.get("technology"), run.manifest.get("git_commit")
    limits = problem.get("limits") or {}
    made = f"commit {commit[:7]}{'+' if commit.endswith('-dirty') else ''}" if commit else ""
    parts = [
        ", ".join(networks_of(run)),
        f"least {listed([words(name) for name in run.objective_names])}",
        *(f"{words(name)} at most {quantity(limit, unit_of(name))}" for name, limit in limits.items()),
        str(constants.get("name") or "") if isinstance(constants, dict) else "",
        _NAMES.get(algorithm, algorithm),
        f"{run.evaluations:,} unique designs",
        f"population {identity['population']}" if "population" in identity else "",
        f"seed {identity['seed']}" if "seed" in identity else "",
        made or (f"dse {written_by(run.manifest)}" if run.manifest else ""),
    ]
    return " \u00b7 ".join(part for part in parts if part)


def networks_of(run: Exploration) -> list[str]:
    """Names of the networks that a run is for, or of its mix."""
    problem = run.manifest.get("identity", {}).get("problem", {})
    several = [str(each["name"]) for each in problem.get("networks") or () if isinstance(each, dict) and "name" in each]
    return several or [str(name) for name in (problem.get("network"),) if name]


def listed(names: Sequence[str]) -> str:
    """Names in words: "a, b and c"."""
    return " and ".join(", ".join(names).rsplit(", ", 1))


def write_figures(run: Exploration, directory: str | Path | None = None, with_footer: bool = True) -> list[Path]:
    """Front and convergence of a run, a breakdown where its tables hold one, and with three or more objectives parallel
    coordinates, each as the files of `dse.output.figure_style.figure_names`; none without a feasible design.

    Parameters
    ----------
    directory : default the run's own.
    with_footer : small lines below that say what made the figure; the files' metadata say it in any case.
    """
    directory = run.directory if directory is None else Path(directory)
    if directory is None:
        raise ValueError("the run has no directory; give one: write_figures(run, 'results/mine')")
    if len(run.front) == 0:
        return []
    about = f"{caption(run)}. {run.stopped_because}"
    networks = ", ".join(networks_of(run)) or "designs"
    drawn = {"front": (front, "Pareto front"), "convergence": (convergence, "Convergence")}
    if parts_of(run):
        drawn["breakdown"] = (breakdown, "Breakdown along the front")
    if len(run.objective_names) > 2:
        drawn["parallel"] = (parallel, "Front in parallel coordinates")
    return [
        path
        for stem, (draw, title) in drawn.items()
        for path in save_widths(
            functools.partial(draw, run), directory, stem, f"{title}, {networks}", about, with_footer=with_footer
        )
    ]
