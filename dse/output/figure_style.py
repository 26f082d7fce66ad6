"""The house style of all figures: sizes, colours, what parts of cycles, area and energy look like, how one is saved."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import matplotlib
from matplotlib.figure import Figure

from dse.runs.files import write_whole

if TYPE_CHECKING:  # older releases of matplotlib lack it
    from matplotlib.typing import RcKeyType

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#F0E442", "#000000", "#999999"
"""Okabe and Ito's colours, told apart by colour-blind readers (jfly.uni-koeln.de/color, 2008)."""

COLUMN_IN = 3.5
"""Width of a column of a two-column paper [in]."""

STYLE: dict[RcKeyType, object] = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}

WATERFALL_LOOKS = {
    "ideal_cycles": ("ideal", BLUE),
    "spatial_loss_cycles": ("idle PEs", SKY),
    "vector_stall_cycles": ("vector unit", PURPLE),
    "buffer_stall_cycles": ("buffer stall", ORANGE),
    "dram_stall_cycles": ("DRAM stall", RED),
    "fill_drain_cycles": ("fill, drain", GREY),
}
AREA_LOOKS = {
    "macs": ("MACs", BLUE),
    "registers": ("registers", SKY),
    "control": ("control", BLACK),
    "interconnect": ("interconnect", YELLOW),
    "weight_buffer": ("weight buffer", GREEN),
    "input_buffer": ("input buffer", ORANGE),
    "output_buffer": ("output buffer", PURPLE),
    "periphery": ("buffer periphery", "#8c8c4a"),
    "vector_unit": ("vector unit", "#7f4f24"),
    "engines": ("engines", "#b9a7c9"),
    "dram_interface": ("DRAM interface", RED),
    "fixed": ("fixed", GREY),
}
ENERGY_LOOKS = {
    "mac": ("MACs", BLUE),
    "register": ("registers", SKY),
    "interconnect": ("interconnect", YELLOW),
    "buffer": ("buffers", GREEN),
    "dram": ("DRAM", RED),
    "vector": ("vector unit", "#7f4f24"),
    "clock": ("clock", PURPLE),
    "io": ("I/O", ORANGE),
    "leakage": ("leakage", GREY),
}
"""Label and colour of each part of the cycles, of the area and of the energy."""

P = ParamSpec("P")


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Inside, figures are drawn in the house style, whatever the user's settings."""
    with matplotlib.rc_context(), matplotlib.rc_context(STYLE):
        yield


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws, in the house style."""

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with house_style():
            return draw(*args, **kwargs)

    return inner


def footer(figure: Figure, text: str) -> Figure:
    """The figure with a small line below: what it is of."""
    figure.supxlabel(text, fontsize=5, color="#666666", x=0.99, ha="right")
    return figure


def save_figure(figure: Figure, path: str | Path, title: str, about: str = "") -> Path:
    """Write a figure as png or pdf, by the ending of the path; the file is whole or as it was.

    `title` and `about` are kept in the file's metadata.  The bytes do not depend on the time of day.
    """
    path, file = Path(path), io.BytesIO()
    if path.suffix == ".pdf":
        metadata = {"Title": title, "Creator": "dse", "Subject": about, "CreationDate": None}
    else:
        metadata = {"Title": title, "Description": about, "Software": "dse"}
    with house_style():
        figure.savefig(file, format=path.suffix[1:], metadata=metadata)
    write_whole(path, file.getvalue())
    return path
