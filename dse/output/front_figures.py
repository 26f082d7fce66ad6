"""Fronts of several runs: one figure over another, and the table of who is better where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

from matplotlib.figure import Figure
from pandas import DataFrame
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from dse.analysis.front_comparison import COLUMNS, MEASURES
from dse.output.figure_style import (
    BLACK,
    BLUE,
    COLUMN_IN,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    add_footer,
    entries_of,
    fit_scale,
    grid,
    legend_above,
    plain,
    styled,
)
from dse.output.run_figures import label, listed, name_axes, networks_of, pair_panels
from dse.output.units import percent, quantity, scaled, unit_of, words
from dse.search.exploration import Exploration

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK, GREY)
MARKERS, DASHES = "os^Dvpd*", ("-", "--", "-.", ":")


@styled
def fronts(runs: Mapping[str, Exploration], width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """The fronts of runs of the same objectives, by label: stepped where these are two, else a panel for each pair."""
    first = next(iter(runs.values()))
    pairs = list(combinations(first.objective_names, 2))
    figure, axes = pair_panels(width_in, len(pairs))
    for axis, (x, y) in zip(axes, pairs, strict=True):
        values = {name: [run.front[name].to_numpy(float) for run in runs.values()] for name in (x, y)}
        (fx, ux), (fy, uy) = (scaled(unit_of(name), [v for each in values[name] for v in each]) for name in (x, y))
        for i, (name, run) in enumerate(runs.items()):
            best = run.front.sort_values([x, y])
            joined = DASHES[i // len(COLOURS) % len(DASHES)] if len(pairs) == 1 else ""
            axis.plot(best[x] * fx, best[y] * fy, color=COLOURS[i % len(COLOURS)], ls=joined, lw=1.0, ms=2.4, mew=0,
                      marker=MARKERS[i % len(MARKERS)], drawstyle="steps-post",
                      label=plain(f"{name} ({len(best):,} designs)"))  # fmt: skip
        name_axes(axis, label(first, x, ux), label(first, y, uy))
        fit_scale(axis.xaxis, *(each * fx for each in values[x]))
        fit_scale(axis.yaxis, *(each * fy for each in values[y]))
        grid(axis)
    legend = legend_above(figure, entries_of(*axes))
    if legend is not None:
        figure.set_figheight(figure.get_figheight() + legend.get_window_extent().height / figure.dpi - 0.3)
    said = [", ".join(networks_of(first)), f"least {listed([words(name) for name in first.objective_names])}"]
    counts = [f"{run.evaluations:,}" for run in runs.values()]
    same = len(set(counts)) == 1
    said.append(f"{counts[0] if same else ', '.join(counts)} unique designs{' each' if same else ''}")
    return add_footer(figure, " \u00b7 ".join(filter(None, said)), with_footer)


def fronts_report(compared: DataFrame) -> RenderableType:
    """The table of `compare_fronts` for people: least values at equal cost, then whole fronts."""
    names = [name for name in compared if name not in COLUMNS]
    parts = compared[compared["shared"] != ""]
    tables: list[RenderableType] = []
    for (shared, measure), rows in parts.groupby(["shared", "measure"], sort=False):
        table = Table(title=f"Least {words(measure)}, {words(shared)} at most", title_justify="left",
                      title_style="bold", box=None, pad_edge=False)  # fmt: skip
        table.add_column(words(shared), justify="right", no_wrap=True)
        _fill(table, names, rows, [quantity(x, unit_of(shared)) for x in rows["at_most"]], unit_of(measure))
        tables += [table, ""]
    whole = compared[compared["shared"] == ""]
    table = Table(title="Whole fronts, on one scale", title_justify="left", title_style="bold", box=None,
                  pad_edge=False)  # fmt: skip
    table.add_column("", overflow="fold")
    _fill(table, names, whole, [MEASURES[name][0] for name in whole["measure"]], "1")
    return Group(*tables, table)


def _fill(table: Table, names: list[str], rows: DataFrame, heads: list[str], unit: str) -> None:
    """A column a run, the best one, and how far the next is from it."""
    for name in names:
        table.add_column(escape(name), justify="right", overflow="fold")
    table.add_column("best", overflow="fold")
    table.add_column("next", justify="right", no_wrap=True)
    for head, row in zip(heads, rows.to_dict("records"), strict=True):
        values = ["-" if math.isnan(row[name]) else quantity(row[name], unit) for name in names]
        lead = "" if math.isnan(row["lead"]) or not row["best"] else percent(row["lead"])
        table.add_row(head, *values, escape(row["best"]) or "equal", lead)
