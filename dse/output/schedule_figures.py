"""Figures of simultaneous networks: schedule with bandwidth and deadlines, slow-downs, the front by kind of division.

The style is that of `dse.output.figure_style`.  Every function returns a `matplotlib.figure.Figure`.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dse.output.figure_style import BLACK, BLUE, COLUMN_IN, GREEN, GREY, ORANGE, PURPLE, RED, SKY, YELLOW, styled
from dse.output.units import scaled
from dse.simultaneous.co_runs import CoRun

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, GREY)
HATCHES = ("", "////", "....", "xxxx")
KINDS = {"time-shared": (BLUE, "o"), "homogeneous": (ORANGE, "s"), "heterogeneous": (GREEN, "^")}
"""Kinds of division, see `dse.simultaneous.division.Division.kind`."""


class _Fill(TypedDict):
    """How the layers of a network are filled."""

    facecolor: str
    hatch: str


@styled
def gantt_figure(run: CoRun) -> Figure:
    """Layers on sub-arrays over time, the DRAM bandwidth underneath, and a mark where a request is due.

    A deadline that is missed is red; layers of a network have one colour, the width of a bar is its time.
    """
    done = run.schedule
    table, jobs = done.layers(), done.jobs
    networks = list(dict.fromkeys(job.network for job in jobs))
    look: dict[str, _Fill] = {
        name: {"facecolor": COLOURS[i % len(COLOURS)], "hatch": HATCHES[i // len(COLOURS) % len(HATCHES)]}
        for i, name in enumerate(networks)
    }
    arrays = done.gbps.shape[1]
    factor, unit = scaled("s", [done.makespan_s])
    figure = Figure(figsize=(2 * COLUMN_IN, 1.5 + 0.32 * arrays), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(0.32 * arrays, 0.7))
    for (network, array), rows in table.groupby(["network", "sub_array"], sort=False):
        spans = np.column_stack([rows["start_s"], rows["finish_s"] - rows["start_s"]]) * factor
        top.broken_barh(spans, (array - 0.38, 0.76), **look[network], edgecolor="white", linewidth=0.12)
    end = done.makespan_s
    for job, missed in zip(jobs, done.missed, strict=True):
        if job.deadline_s <= end * 1.02:
            top.plot(
                [job.deadline_s * factor] * 2, [job.sub_array - 0.46, job.sub_array + 0.46],
                color=RED if missed else BLACK, lw=1.2, ls="-" if missed else "--",
            )  # fmt: skip
    kind = "undivided array" if arrays == 1 else "sub-array"
    top.set_yticks(range(arrays), [kind] if arrays == 1 else [f"{kind} {a + 1}" for a in range(arrays)])
    top.set_ylim(arrays - 0.5, -0.5)
    below.step(done.events_s * factor, np.append(done.gbps.sum(axis=1), 0), where="post", color=BLACK, lw=0.6)
    below.fill_between(
        done.events_s * factor, np.append(done.gbps.sum(axis=1), 0), step="post", color=GREY, alpha=0.5, lw=0
    )
    below.axhline(done.dram_gbps, color=RED, lw=0.8, ls=":")
    below.set_ylim(0, done.dram_gbps * 1.12)
    below.set_ylabel("DRAM [GB/s]")
    below.set_xlabel(f"Time [{unit}]")
    below.set_xlim(0, end * factor * 1.02)
    handles = [Patch(**look[name], edgecolor="white", label=name) for name in networks]
    marks = [top.plot([], [], color=BLACK, ls="--", lw=1.2, label="deadline")[0]]
    marks += [top.plot([], [], color=RED, lw=1.2, label="deadline missed")[0]]
    marks = [] if all(np.isinf(job.deadline_s) for job in jobs) else marks
    figure.legend(handles=[*handles, *marks], loc="outside upper center", ncols=min(5, len(handles) + len(marks)))
    return figure


@styled
def slow_down_figure(runs: dict[str, CoRun]) -> Figure:
    """Bars of the slow-down of every network, the largest of its requests; one group a network, one bar a run."""
    networks = list(dict.fromkeys(job.network for run in runs.values() for job in run.schedule.jobs))
    figure = Figure(figsize=(2 * COLUMN_IN, 2.2), layout="constrained")
    axis, width, tallest = figure.subplots(), min(0.8 / len(runs), 0.3), []
    for i, (label, run) in enumerate(runs.items()):
        slow = pd.Series(run.schedule.turnaround_s / np.array(run.alone_s))
        worst = slow.groupby([job.network for job in run.schedule.jobs]).max()
        places = np.arange(len(networks)) + (i - (len(runs) - 1) / 2) * width
        tallest.append(worst.max())
        axis.bar(places, worst.reindex(networks), width * 0.92, color=COLOURS[i % len(COLOURS)], label=label)
    axis.axhline(1, color=BLACK, lw=0.6)
    if len(tallest) and max(tallest) > 20:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xticks(range(len(networks)), [name.replace("_", "\n") for name in networks])
    axis.set_ylabel("Turnaround / time alone")
    axis.grid(True, axis="y")
    axis.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(runs))
    return figure


@styled
def kinds_figure(front: pd.DataFrame, x: str = "makespan_s", y: str = "area_mm2") -> Figure:
    """Designs of a front, time-shared, homogeneous and heterogeneous told apart; `front` has a column ``kind``."""
    figure = Figure(figsize=(COLUMN_IN, 2.4), layout="constrained")
    axis = figure.subplots()
    factor, unit = scaled("s", front[x])
    for kind, (colour, marker) in KINDS.items():
        rows = front[front["kind"] == kind]
        axis.plot(rows[x] * factor, rows[y], marker, color=colour, ms=3.5, mew=0, label=f"{kind} ({len(rows)})")
    ordered = front.sort_values(x)
    axis.step(ordered[x] * factor, ordered[y], where="post", color=GREY, lw=0.7, zorder=0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        scale.set_minor_formatter(NullFormatter())
    axis.set_xlabel(f"Makespan [{unit}]")
    axis.set_ylabel("Area [mm²]")
    axis.grid(True)
    axis.legend()
    return figure
