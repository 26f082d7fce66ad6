"""What wrong constants leave of a front: the figure, `sensitivity.csv`, and what a command prints."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dse.analysis.front_sensitivity import SCENARIOS, Sensitivity
from dse.output.figure_style import (
    BLACK,
    BLUE,
    COLUMN_IN,
    GREEN,
    ORANGE,
    SMALL,
    add_footer,
    entries_of,
    fit_scale,
    grid,
    is_wide,
    legend_above,
    linear_scale,
    save_widths,
    styled,
)
from dse.output.run_figures import caption, label, name_axes
from dse.output.units import percent, scaled, unit_of
from dse.runs.files import write_whole
from dse.runs.run_directory import SENSITIVITY
from dse.search.exploration import Exploration

LOOKS = {"constants": (BLUE, "-"), "area": (ORANGE, "--"), "dram_interface": (GREEN, ":"), "all": (BLACK, "-")}
SURVIVES = 0.9
"""A design that stays on the front in this share of the draws is said to survive [1]."""


@styled
def survival_figure(
    found: Sensitivity, run: Exploration, width_in: float = COLUMN_IN, with_footer: bool = True
) -> Figure:
    """The designs of the front in the colour of the share of draws that they survive; how much of it does, over draws.

    The first panel shows the first and the last objective, the second the draws in order.
    """
    names, wide = found.objective_names, is_wide(width_in)
    figure = Figure(figsize=(width_in, 2.9 if wide else 5.0), layout="constrained")
    above, below = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
    table = found.designs
    x, y = names[0], names[-1]
    (fx, ux), (fy, uy) = (scaled(unit_of(name), table[name]) for name in (x, y))
    last = found.scenarios[-1]
    shown = above.scatter(table[x] * fx, table[y] * fy, s=9, lw=0.3, edgecolors=BLACK, zorder=3,
                          c=100 * table[f"survives_{last}"], cmap="cividis", vmin=0, vmax=100)  # fmt: skip
    name_axes(above, label(run, x, ux), label(run, y, uy))
    fit_scale(above.xaxis, table[x].to_numpy(float) * fx)
    fit_scale(above.yaxis, table[y].to_numpy(float) * fy)
    bar = figure.colorbar(shown, ax=above, location="top", pad=0.02, aspect=30)
    bar.set_label(f"Draws survived, {SCENARIOS[last]} [%]", fontsize=SMALL)
    for name in found.scenarios:
        values = np.sort(100 * found.draws.loc[found.draws["scenario"] == name, "surviving_share"].to_numpy(float))
        colour, dashes = LOOKS[name]
        below.step([*values, 100], [*np.arange(1, len(values) + 1) / len(values) * 100, 100], where="post",
                   color=colour, ls=dashes, label=SCENARIOS[name])  # fmt: skip
    below.set_xlim(0, 100)
    below.set_ylim(0, 100)
    linear_scale(below.xaxis)
    linear_scale(below.yaxis)
    below.set_xlabel("Front that survives, at most [%]")
    below.set_ylabel("Draws [%]")
    grid(above, below)
    legend_above(figure, entries_of(below), handlelength=2.2)
    count = found.draws["draw"].nunique()
    told = f"{count:,} draws; {len(table):,} designs of the front, {found.candidates:,} candidates"
    return add_footer(figure, f"{told} \u00b7 {caption(run)}", with_footer)


def sensitivity_text(found: Sensitivity) -> str:
    """The table of designs as CSV."""
    return found.designs.to_csv(index=False, lineterminator="\n")


def sensitivity_report(found: Sensitivity) -> list[str]:
    """Sentences: what survives in each scenario, which designs survive, and the constants that matter."""
    n, count = len(found.designs), found.draws["draw"].nunique()
    lines = [f"{n:,} designs of the front against {found.candidates - n:,} near it, {count:,} draws"]
    for name in found.scenarios:
        shares = found.draws.loc[found.draws["scenario"] == name, "surviving_share"]
        low, middle, high = np.quantile(shares, [0.1, 0.5, 0.9])
        lines.append(f"{SCENARIOS[name]}: {percent(middle)} of the front survives ({percent(low)} to {percent(high)} "
                     "in 80 % of the draws)")  # fmt: skip
    survive = int((found.designs[f"survives_{found.scenarios[-1]}"] >= SURVIVES).sum())
    what = SCENARIOS[found.scenarios[-1]].replace("all together", "all wrong together")
    lines.append(f"{survive} of {n} designs survive at least {percent(SURVIVES)} of the draws with {what}")
    loss = np.quantile(found.designs["regret_95"], 0.95)
    lines.append(f"95 % of the front: another design is better by at most {percent(loss)} in every objective, in 95 % "
                 "of the draws")  # fmt: skip
    strong = found.constants[found.constants["rank_correlation"].abs() > 2 / np.sqrt(count)].head(3)
    if len(strong):
        told = ", ".join(f"{name} ({r:+.2f})" for name, r in strong.itertuples(index=False))
        lines.append(f"what survives goes with the error of: {told} (rank correlation)")
    return lines


def write_sensitivity(
    found: Sensitivity, run: Exploration, directory: str | Path, with_footer: bool = True
) -> list[Path]:
    """`sensitivity.csv` and the figure as the files of `dse.output.figure_style.figure_names`."""
    path = Path(directory) / SENSITIVITY
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, sensitivity_text(found).encode())
    draw = functools.partial(survival_figure, found, run)
    about = f"{caption(run)}. What wrong constants leave of the front"
    return [
        path,
        *save_widths(draw, path.parent, path.stem, "Sensitivity of the front", about, with_footer=with_footer),
    ]
