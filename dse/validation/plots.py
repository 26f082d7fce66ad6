"""Predicted against measured, one panel a reference and quantity, in the style of `dse.plots`."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dse.manifest import write_whole
from dse.plots import BLACK, BLUE, COLUMN_IN, GREY, ORANGE, STYLE, plain_log

BANDS = ((0.1, (0, (4, 2))), (0.2, (0, (1, 1.5))))
"""Relative errors drawn as lines, and their dashes."""


def figure(rows: pd.DataFrame, path: str | Path) -> Figure:
    """Log-log scatter of all rows, y = x and the bands of 10 and 20 %; written to `path` (.png or .pdf).

    Parameters
    ----------
    rows : comparisons, columns as in `dse.validation.table.COLUMNS`.
    """
    groups = list(rows.groupby(["reference", "quantity"], sort=False))
    if not groups:
        raise ValueError("no rows to draw")
    columns = min(3, len(groups))
    lines = -(-len(groups) // columns)
    size = (COLUMN_IN if columns == 1 else 2.4 * columns, 0.45 + 2.35 * lines)
    with matplotlib.rc_context(), matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=size, layout="constrained")
        axes = drawn.subplots(lines, columns, squeeze=False).ravel()
        for axis, ((reference, quantity), group) in zip(axes, groups, strict=False):
            _panel(axis, group)
            axis.set_title(f"{reference}: {quantity}")
        for axis in axes[len(groups) :]:
            axis.set_axis_off()
        _legend(drawn, axes[: len(groups)])
        _write(drawn, Path(path), rows)
    return drawn


def _panel(axis: Axes, group: pd.DataFrame) -> None:
    values = group[["measured", "predicted", "roofline"]].to_numpy(float)
    low, high = np.nanmin(values[values > 0]) / 1.5, np.nanmax(values) * 1.5
    line = np.array([low, high])
    axis.plot(line, line, color=BLACK, lw=0.8, zorder=2, label="predicted = measured")
    for error, dashes in BANDS:
        for k, sign in enumerate((1, -1)):
            label = f"±{error:.0%}" if k == 0 else None
            axis.plot(line, line * (1 + sign * error), color=GREY, lw=0.7, ls=dashes, zorder=1, label=label)
    look = {"ls": "", "mew": 0.6, "rasterized": len(group) > 300}
    axis.plot(
        group["measured"], group["roofline"], marker="x", ms=2.6, color=ORANGE, zorder=3, label="roofline", **look
    )
    for gated, face, name in ((True, BLUE, "counts towards the target"), (False, "none", "for information")):
        part = group[group["gated"] == gated]
        if len(part):
            axis.plot(part["measured"], part["predicted"], marker="o", ms=3, mec=BLUE, mfc=face, zorder=4,
                      label=f"model, {name}", **look)  # fmt: skip
    for which in "xy":
        getattr(axis, f"set_{which}scale")("log")
        getattr(axis, f"set_{which}lim")(low, high)
        plain_log(getattr(axis, f"{which}axis"))
    unit = group["unit"].iloc[0]
    axis.set_xlabel(f"Reference [{unit}]")
    axis.set_ylabel(f"Predicted [{unit}]")
    axis.grid(True)
    axis.set_axisbelow(True)


def _legend(drawn: Figure, axes: np.ndarray) -> None:
    """One legend for all panels, each entry once."""
    entries = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = 2 if drawn.get_figwidth() <= COLUMN_IN else min(6, len(entries))
    drawn.legend(entries.values(), entries, loc="outside upper center", ncols=columns, columnspacing=1.2)


def _write(drawn: Figure, path: Path, rows: pd.DataFrame) -> None:
    file, names = io.BytesIO(), ", ".join(dict.fromkeys(rows["reference"]))
    about = f"The model against {names}: {len(rows)} comparisons"
    metadata = {"Title": about, "Creator": "dse", "CreationDate": None} if path.suffix == ".pdf" else {"Title": about}
    drawn.savefig(file, format=path.suffix[1:], metadata=metadata)
    write_whole(path, file.getvalue())
