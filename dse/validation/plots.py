"""Predicted against measured: a figure for each reference, a panel for each quantity.

The style is that of `dse.output.figure_style`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, NullFormatter

from dse.output.figure_style import BLACK, BLUE, COLUMN_IN, GREY, ORANGE, house_style
from dse.runs.files import write_whole
from dse.validation.table import RANGE

BANDS = ((0.1, (0, (4, 2))), (0.2, (0, (1, 1.5))))
"""Relative errors drawn as lines, and their dashes."""


def figure(rows: pd.DataFrame, path: str | Path) -> Figure:
    """Log-log scatter of all rows, y = x and the bands of 10 and 20 %; written to `path` (.png or .pdf).

    Parameters
    ----------
    rows : comparisons of one reference, columns as in `dse.validation.table.COLUMNS`.
    """
    groups = list(rows.groupby("quantity", sort=False))
    if not groups:
        raise ValueError("no rows to draw")
    columns = {1: 1, 2: 2, 4: 2}.get(len(groups), 3)
    lines = -(-len(groups) // columns)
    size = (COLUMN_IN if columns < 3 else 2 * COLUMN_IN, 0.55 + {1: 3.3, 2: 1.75, 3: 2.1}[columns] * lines)
    with house_style():
        drawn = Figure(figsize=size, layout="constrained")
        axes = drawn.subplots(lines, columns, squeeze=False).ravel()
        for axis, (quantity, group) in zip(axes, groups, strict=False):
            _panel(axis, group)
            axis.set_title(quantity.replace(", ", "\n"))
        for axis in axes[len(groups) :]:
            axis.set_axis_off()
        _legend(drawn, axes[: len(groups)], columns)
        _write(drawn, Path(path), rows)
    return drawn


class _Marks(TypedDict):
    """How points are drawn, whatever they show."""

    ls: str
    mew: float
    rasterized: bool


def _panel(axis: Axes, group: pd.DataFrame) -> None:
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
    for gated, face, name in ((True, BLUE, "counted"), (False, "none", "for information")):
        part = group[group["gated"] == gated]
        if len(part):
            ranged = part[part["predicted_low"].notna() & (part["predicted_low"] > 0)]
            axis.vlines(
                ranged["measured"], ranged["predicted_low"], ranged["predicted_high"], color=BLUE, lw=0.8, zorder=3
            )
            axis.plot(part["measured"], part["predicted"], marker="o", ms=2.4 if len(part) > 40 else 3, mec=BLUE,
                      mfc=face, zorder=4, label=f"model, {name}", **look)  # fmt: skip
    for which in "xy":
        getattr(axis, f"set_{which}scale")("log")
        getattr(axis, f"set_{which}lim")(low, high)
        _ticks(getattr(axis, f"{which}axis"), low, high)
    axis.set_aspect("equal")
    unit = {"mm2": "mm²", "us": "µs"}.get(group["unit"].iloc[0], group["unit"].iloc[0])
    axis.set_xlabel(f"Reference [{unit}]")
    axis.set_ylabel(f"Predicted [{unit}]")
    axis.grid(True)
    axis.set_axisbelow(True)


def _ticks(axis: Any, low: float, high: float) -> None:
    """Powers of ten; over fewer decades steps between them, so that at least two are labelled."""
    decades = np.log10(high / low)
    steps = (1, 1.5, 2, 3, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 1.8 else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=6))
    axis.set_minor_formatter(NullFormatter())
    if high >= 1e5:
        axis.set_major_formatter(LogFormatterMathtext())
    else:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _legend(drawn: Figure, axes: np.ndarray, columns: int) -> None:
    """One legend for all panels, each entry once."""
    entries: dict[str, Artist] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    wide = columns == 3
    drawn.legend(entries.values(), entries, loc="outside upper center", ncols=6 if wide else 2, columnspacing=1.2)


def _write(drawn: Figure, path: Path, rows: pd.DataFrame) -> None:
    file, names = io.BytesIO(), ", ".join(dict.fromkeys(rows["reference"]))
    about = f"The model against {names}: {len(rows)} comparisons"
    metadata = {"Title": about, "Creator": "dse", "CreationDate": None} if path.suffix == ".pdf" else {"Title": about}
    drawn.savefig(file, format=path.suffix[1:], metadata=metadata)
    write_whole(path, file.getvalue())
