"""Figures of simultaneous networks: schedule with bandwidth and deadlines, slow-downs, the front by kind of division.

The style is that of `dse.output.figure_style`.  Every function returns a `matplotlib.figure.Figure` of a width [in].
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

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
    TWO_COLUMNS_IN,
    YELLOW,
    Entries,
    add_footer,
    entries_of,
    grid,
    legend_above,
    linear_scale,
    log_scale,
    styled,
    text_width_in,
)
from dse.output.units import scaled
from dse.simultaneous.co_runs import CoRun
from dse.simultaneous.schedules import Schedule

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, GREY)
HATCHES = ("", "////", "....", "xxxx")
KINDS = {"time-shared": (BLUE, "o"), "homogeneous": (ORANGE, "s"), "heterogeneous": (GREEN, "^")}
"""Kinds of division, see `dse.simultaneous.division.Division.kind`."""

MANY_MARKS = 40
"""Arrivals, deadlines or misses beyond which their lines are thinner, so that layers are still seen."""


class _Fill(TypedDict):
    """How the layers of a network are filled."""

    facecolor: str
    hatch: str


@styled
def gantt_figure(
    run: CoRun,
    begin_s: float = 0.0,
    end_s: float | None = None,
    width_in: float = TWO_COLUMNS_IN,
    with_footer: bool = True,
) -> Figure:
    """Layers on sub-arrays over time, marks for arrivals and deadlines, the DRAM bandwidth underneath.

    A triangle marks an arrival, a dashed line a deadline, a red one a deadline that is missed; layers of a network have
    one colour, the width of a bar is its time.  The dotted line below is the bandwidth of the link.

    Parameters
    ----------
    begin_s, end_s : the window that is shown, default all of the schedule, of streams with rates until the last of its
        requests arrives [s].

    Raises ValueError where the window is empty or begins after the schedule ends.
    """
    done = run.schedule if end_s is None else run.schedule_until(end_s)
    ends = done.makespan_s if run.steady is None else float(done.table.arrival_s.max())
    end = ends if end_s is None else end_s
    if not 0 <= begin_s < end:
        raise ValueError(f"the window from {begin_s:g} s to {end:g} s is empty; the schedule ends at {ends:g} s")
    table, jobs = done.layers(), done.table
    table = table[(table["finish_s"] > begin_s) & (table["start_s"] < end)]
    in_window = set(table["network"])
    networks = list(dict.fromkeys(jobs.networks))
    look: dict[str, _Fill] = {
        name: {"facecolor": COLOURS[i % len(COLOURS)], "hatch": HATCHES[i // len(COLOURS) % len(HATCHES)]}
        for i, name in enumerate(networks)
    }
    arrays = len(done.links_gbps)
    factor, unit = scaled("s", [end])
    figure = Figure(figsize=(width_in, 1.9 + 0.32 * arrays), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(0.32 * arrays, 0.7))
    visible = (end - begin_s) * factor / (72 * width_in)  # a point: edges of narrower bars would hide them
    for (network, array), rows in table.groupby(["network", "sub_array"], sort=False):
        spans = np.column_stack([rows["start_s"], rows["finish_s"] - rows["start_s"]]) * factor
        for some, edge in ((spans[spans[:, 1] >= visible], 0.12), (spans[spans[:, 1] < visible], 0.0)):
            top.broken_barh(some, (array - 0.38, 0.76), **look[network], edgecolor="white", linewidth=edge)
    marks = _marks(top, done, begin_s, end, factor)
    kind = "undivided array" if arrays == 1 else "sub-array"
    top.set_yticks(range(arrays), [kind] if arrays == 1 else [f"{kind} {a + 1}" for a in range(arrays)])
    top.set_ylim(arrays - 0.5, -0.5)
    flow = np.append(done.gbps, 0)
    below.step(done.events_s * factor, flow, where="post", color=BLACK, lw=0.6)
    below.fill_between(done.events_s * factor, flow, 0, step="post", color=GREY, alpha=0.5, lw=0)
    link = below.axhline(done.dram_gbps, color=BLACK, lw=0.8, ls=":")
    below.set_ylim(0, done.dram_gbps * 1.12)
    linear_scale(below.yaxis, 3)
    below.set_ylabel("DRAM\n[GB/s]")
    below.set_xlabel(f"Time [{unit}]")
    room = 0.02 * (end - begin_s) if end_s is None else 0.0
    below.set_xlim(begin_s * factor, (end + room) * factor)
    linear_scale(below.xaxis)
    entries: Entries = {name: Patch(**look[name], edgecolor="white") for name in networks if name in in_window}
    entries |= {str(mark.get_label()): mark for mark in marks}
    if entries:
        legend_above(figure, entries | {"bandwidth of the link": link})
    return add_footer(figure, _caption(run), with_footer)


def _caption(run: CoRun) -> str:
    design = run.design
    divided = "undivided" if run.division.sub_arrays == 1 else f"{run.division.sub_arrays} sub-arrays"
    return (
        f"{run.mix.name} \u00b7 {design.rows} x {design.cols} x {design.macs_per_pe} {design.dataflow}, {divided}, "
        f"{design.dram_gbps:g} GB/s"
    )


def _marks(axis: Axes, done: Schedule, begin_s: float, end_s: float, factor: float) -> list[Line2D]:
    """Draw arrivals and deadlines; what the legend says of them."""
    jobs, late = done.table, done.missed
    legend: list[Line2D] = []
    for name, times, which, colour, style in (
        ("arrival", jobs.arrival_s, jobs.arrival_s > 0, BLACK, ""),
        ("deadline", jobs.deadline_s, ~late, BLACK, "--"),
        ("deadline missed", jobs.deadline_s, late, RED, "-"),
    ):
        marker = "" if style else "^"
        shown = np.flatnonzero(
            which & (times >= begin_s) & (times <= end_s * (1.02 if end_s == done.makespan_s else 1))
        )
        width = 1.2 * min(1.0, MANY_MARKS / max(1, len(shown)))
        for j in shown.tolist():
            a, x = jobs.sub_array[j], times[j] * factor
            low, high = (a - 0.46, a + 0.46) if style else (a + 0.42, a + 0.42)
            axis.plot([x, x], [low, high], color=colour, ls=style, lw=width, marker=marker, ms=3, mew=0)
        if len(shown):
            legend += axis.plot([], [], color=colour, ls=style, lw=1.2, marker=marker, ms=3, mew=0, label=name)
    return legend


@styled
def slow_down_figure(runs: dict[str, CoRun], width_in: float | None = None, with_footer: bool = True) -> Figure:
    """Bars of the slow-down of every network, the largest of its requests; one group a network, one bar a run.

    `width_in`: as wide as the bars need unless given, a column or two [in].
    """
    networks = list(dict.fromkeys(stream.name for run in runs.values() for stream in run.mix.streams))
    if width_in is None:
        width_in = COLUMN_IN if len(networks) * (len(runs) + 1) <= 16 else TWO_COLUMNS_IN
    labels = [name.replace("_", "\n") for name in networks]
    room_in = 0.9 * (width_in - 0.7) / len(networks)
    flat = all(text_width_in(line, "small") < room_in for label in labels for line in label.split("\n"))
    figure = Figure(figsize=(width_in, 2.3 if flat else 3.0), layout="constrained")
    axis, width, tallest = figure.subplots(), min(0.8 / len(runs), 0.3), []
    for i, (label, run) in enumerate(runs.items()):
        worst = pd.Series(run.worst_slow_downs())
        places = np.arange(len(networks)) + (i - (len(runs) - 1) / 2) * width
        tallest.append(worst.max())
        axis.bar(places, worst.reindex(networks), width * 0.92, color=COLOURS[i % len(COLOURS)], label=label)
    axis.axhline(1, color=BLACK, lw=0.6)
    if len(tallest) and max(tallest) > 20:
        log_scale(axis.yaxis)
    else:
        linear_scale(axis.yaxis)
    axis.set_xticks(range(len(networks)), labels if flat else networks, rotation=0 if flat else 90)
    axis.set_ylabel("Turnaround /\ntime alone")
    grid(axis, which="y")
    if len(runs) > 1:
        legend_above(figure, entries_of(axis))
    told = dict.fromkeys(_caption(run) if len(runs) == 1 else run.mix.name for run in runs.values())
    return add_footer(figure, "; ".join(told), with_footer)


@styled
def kinds_figure(
    front: pd.DataFrame,
    about: str = "",
    x: str = "makespan_s",
    y: str = "area_mm2",
    x_said: str = "Makespan",
    width_in: float = COLUMN_IN,
    with_footer: bool = True,
) -> Figure:
    """Designs of a front, time-shared, homogeneous and heterogeneous told apart; `front` has a column ``kind``.

    `about`: of what mix and of which searches, for the footer; `x_said`: the time in words.
    """
    figure = Figure(figsize=(width_in, 2.6), layout="constrained")
    axis = figure.subplots()
    factor, unit = scaled("s", front[x])
    for kind, (colour, marker) in KINDS.items():
        rows = front[front["kind"] == kind]
        if len(rows):
            axis.plot(rows[x] * factor, rows[y], marker, color=colour, ms=3.5, mew=0, label=f"{kind} ({len(rows)})")
    ordered = front.sort_values(x)
    axis.step(ordered[x] * factor, ordered[y], where="post", color=GREY, lw=0.7, zorder=0)
    log_scale(axis.xaxis)
    log_scale(axis.yaxis)
    axis.set_xlabel(f"{x_said} [{unit}]")
    axis.set_ylabel("Area [mm\u00b2]")
    grid(axis)
    legend_above(figure, entries_of(axis))
    return add_footer(figure, f"{about} \u00b7 least {x_said.lower()} and area".strip(" \u00b7"), with_footer)
