"""Predicted against measured: a figure for each reference, a panel for each quantity.

The style is that of `dse.output.figure_style`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    SMALL,
    TWO_COLUMNS_IN,
    YELLOW,
    add_footer,
    capital,
    entries_of,
    grid,
    is_wide,
    legend_above,
    log_scale,
    save_widths,
    styled,
    wrapped,
)
from dse.validation.table import RANGE

BANDS = ((0.1, (0, (4, 2))), (0.2, (0, (1, 1.5))))
"""Relative errors drawn as lines, and their dashes."""


COUNTED, INFORMATION = "model, counted", "model, for information"
ORDER = ("predicted = reference", *(f"±{error:.0%}" for error, _ in BANDS), "roofline", COUNTED, INFORMATION)
"""Labels of all figures, as their legends have them; those of families come after."""

COLOURS = (BLUE, GREEN, RED, PURPLE, SKY, BLACK, GREY, "#7f4f24", YELLOW, "#8c8c4a")
FAMILIES = tuple(zip(COLOURS, "os^Dv<>pXP", strict=True))
"""Colour and marker of a family of rows, where a figure has few enough to name them all."""


@styled
def figure(rows: pd.DataFrame, width_in: float = TWO_COLUMNS_IN, with_footer: bool = True) -> Figure:
    """Log-log scatter of all rows, y = x and the bands of 10 and 20 %, a panel for each quantity.

    A quantity of several families, such as the sizes of one design, names them; else a row is a dot.  Filled marks
    count towards the target, empty ones do not.

    Parameters
    ----------
    rows : comparisons of one reference, columns as in `dse.validation.table.COLUMNS`.
    """
    groups = list(rows.groupby("quantity", sort=False))
    if not groups:
        raise ValueError("no rows to draw")
    columns = _columns(len(groups), width_in)
    lines = -(-len(groups) // columns)
    panel_in = min(width_in / columns, COLUMN_IN)
    drawn = Figure(figsize=(width_in, 0.8 + (panel_in + 0.15) * lines), layout="constrained")
    axes = drawn.subplots(lines, columns, squeeze=False).ravel()
    families = _families(rows)
    for axis, (quantity, group) in zip(axes, groups, strict=False):
        _panel(axis, group, families)
        axis.set_title(wrapped(quantity, panel_in - 0.6))
    for axis in axes[len(groups) :]:
        axis.remove()
    entries = entries_of(*axes[: len(groups)])
    legend_above(drawn, {name: entries[name] for name in sorted(entries, key=_place)})
    return add_footer(drawn, _about(rows), with_footer)


def _columns(panels: int, width_in: float) -> int:
    """Panels beside each other: as many as fit, and as leave fewest places empty."""
    if not is_wide(width_in):
        return min(panels, 2)
    if panels <= 4:
        return panels
    return min((4, 3), key=lambda n: -panels % n)


def _families(rows: pd.DataFrame) -> list[str]:
    """Families that have several rows of a quantity, with all the others of their figure; none where they are many."""
    names = list(dict.fromkeys(rows["family"]))
    several = rows.groupby(["quantity", "family"]).size().max() > 1
    return names if several and len(names) <= len(FAMILIES) else []


def _place(label: str) -> int:
    """Where a label stands in a legend: the same order in all figures."""
    return ORDER.index(label) if label in ORDER else len(ORDER)


class _Marks(TypedDict):
    """How points are drawn, whatever they show."""

    ls: str
    mew: float
    rasterized: bool


def _panel(axis: Axes, group: pd.DataFrame, families: list[str]) -> None:
    values = group[["measured", "predicted", "roofline", *RANGE]].to_numpy(float)
    low, high = np.nanmin(values[values > 0]) / 1.5, np.nanmax(values) * 1.5
    line = np.array([low, high])
    axis.plot(line, line, color=BLACK, lw=0.8, zorder=2, label="predicted = reference")
    for error, dashes in BANDS:
        for k, sign in enumerate((1, -1)):
            label = f"±{error:.0%}" if k == 0 else None
            axis.plot(line, line * (1 + sign * error), color=GREY, lw=0.7, ls=dashes, zorder=1, label=label)
    look: _Marks = {"ls": "", "mew": 0.6, "rasterized": len(group) > 300}
    if group["roofline"].notna().any():
        axis.plot(
            group["measured"], group["roofline"], marker="x", ms=2.6, color=ORANGE, zorder=3, label="roofline", **look
        )
    ranged = group[group["predicted_low"].notna() & (group["predicted_low"] > 0)]
    axis.vlines(ranged["measured"], ranged["predicted_low"], ranged["predicted_high"], color=BLUE, lw=0.8, zorder=3)
    for name, part in group.groupby("family" if families else "reference", sort=False):
        colour, marker = FAMILIES[families.index(name)] if families else FAMILIES[0]
        for gated, face, text in ((True, colour, COUNTED), (False, "none", INFORMATION)):
            some = part[part["gated"] == gated]
            if len(some):
                label = f"{name}" if families else text
                axis.plot(some["measured"], some["predicted"], marker=marker, ms=2.4 if len(some) > 40 else 3,
                          mec=colour, mfc=face, zorder=4, label=label, **look)  # fmt: skip
    log_scale(axis.xaxis)
    log_scale(axis.yaxis)
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    axis.set_aspect("equal")
    unit = {"mm2": "mm²", "us": "µs"}.get(group["unit"].iloc[0], group["unit"].iloc[0])
    axis.set_xlabel(f"Reference [{unit}]", fontsize=SMALL)
    axis.set_ylabel(f"Predicted [{unit}]", fontsize=SMALL)
    grid(axis)


def _about(rows: pd.DataFrame) -> str:
    names, kinds = (", ".join(dict.fromkeys(rows[name])) for name in ("reference", "kind"))
    some = "" if rows["gated"].all() else "; empty marks: for information"
    return f"{capital(names)} ({kinds}): {len(rows):,} comparisons{some}"


def write(rows: pd.DataFrame, directory: str | Path, stem: str, with_footer: bool = True) -> list[Path]:
    """`figure` as the files of `dse.output.figure_style.figure_names`."""

    def draw(*, width_in: float, with_footer: bool) -> Figure:
        return figure(rows, width_in, with_footer)

    panels = rows["quantity"].nunique()
    wide = COLUMN_IN if panels == 1 else TWO_COLUMNS_IN
    about = f"The model against {_about(rows)}"
    return save_widths(draw, directory, stem, about, with_footer=with_footer, png_width_in=wide)
