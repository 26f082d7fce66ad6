"""The house style of all figures: sizes, colours, axes, legends, footers, and how a figure is saved.

The settings are in `dse/data/figures.mplstyle`.  What a user sets otherwise than matplotlib (a matplotlibrc, a style,
`matplotlib.rcParams`) goes before them.  Every figure can be drawn at any width: a column of a paper is 3.5 in wide,
two are 7.0 in.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.textpath import text_to_path
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from dse.runs.files import write_whole

if TYPE_CHECKING:  # older releases of matplotlib lack it
    from matplotlib.typing import RcKeyType

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#F0E442", "#000000", "#999999"
"""Okabe and Ito's colours, told apart by colour-blind readers (jfly.uni-koeln.de/color, 2008)."""

COLUMN_IN, TWO_COLUMNS_IN = 3.5, 7.0
"""Width of a column of a two-column paper, and of both [in]."""

STYLE_FILE = Path(__file__).parents[1] / "data" / "figures.mplstyle"

SMALL, TINY = "small", "x-small"
"""Sizes of texts inside an axes, relative to the user's ``font.size``."""

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
Entries = dict[str, Artist]
"""What a legend shows, by its text."""


class Draw(Protocol):
    """What draws a figure at a width, with or without its footer."""

    def __call__(self, *, width_in: float, with_footer: bool) -> Figure:
        """The figure."""


def settings() -> dict[RcKeyType, Any]:
    """The settings of `STYLE_FILE`, but those that the user has set otherwise than matplotlib does."""
    style = matplotlib.rc_params_from_file(STYLE_FILE, use_default_template=False)
    own, shipped = matplotlib.rcParams, matplotlib.rcParamsDefault
    return {name: value for name, value in style.items() if own[name] == shipped[name]}


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Inside, figures are drawn in the house style and the user's own settings."""
    with matplotlib.rc_context(settings()):
        yield


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws, in the house style."""

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with house_style():
            return draw(*args, **kwargs)

    return inner


def is_wide(width_in: float) -> bool:
    """Whether panels find room beside each other: from one and a half columns."""
    return width_in >= 1.5 * COLUMN_IN


# ---------------------------------------------------------------------------------------------------------------------
# Texts.


def plain(text: str) -> str:
    """The text as it stands: matplotlib reads what is between two dollars as a formula."""
    return text.replace("$", r"\$")


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def text_width_in(text: str, size: float | str = "medium") -> float:
    """Width of a line in the style's font [in]; a formula stands between two dollars."""
    formula = text.startswith("$") and text.endswith("$") and len(text) > 2
    try:
        return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), formula)[0]) / 72
    except ValueError:  # a name between dollars that is none
        return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0]) / 72


def wrapped(text: str, width_in: float, size: float | str = "medium") -> str:
    """The text in lines of at most a width [in], broken at blanks, and inside a word that alone is too wide."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width_in(longer, size) <= width_in:
            lines[-1] = longer
            continue
        lines += [word] if lines[-1] else []
        lines[-1] = lines[-1] or word
        while text_width_in(lines[-1], size) > width_in and len(lines[-1]) > 1:
            keep = _most_that_fits(lines[-1], width_in, size)
            lines[-1:] = [lines[-1][:keep], lines[-1][keep:]]
    return "\n".join(lines)


def _most_that_fits(line: str, width_in: float, size: float | str) -> int:
    """Characters of the beginning of a line, of two at least, that are no wider than this [1]; one in any case."""
    return max(1, bisect_right(range(1, len(line)), width_in, key=lambda n: text_width_in(line[:n], size)))


def add_footer(figure: Figure, text: str, wanted: bool = True) -> Figure:
    """The figure with small lines below, as many as its width needs, and higher by these: what it is of."""
    if wanted:
        told = wrapped(text, 0.93 * figure.get_figwidth(), TINY)
        line_in = 1.3 * FontProperties(size=TINY).get_size_in_points() / 72
        figure.set_figheight(figure.get_figheight() + line_in * (told.count("\n") + 1))
        figure.supxlabel(plain(told), fontsize=TINY, color="#666666", x=0.01, ha="left")
    return figure


def legend_above(figure: Figure, entries: Entries, title: str | None = None, **looks: Any) -> Legend | None:
    """A legend above the axes, in as many columns as the figure's width has room for; None without an entry."""
    if not entries:
        return None
    room_in = 0.93 * figure.get_figwidth() - 0.4  # beside what an entry shows
    labels = [wrapped(text, room_in, "small") for text in entries]
    for columns in range(len(entries), 0, -1):
        legend = figure.legend(list(entries.values()), labels, loc="outside upper center", ncols=columns,
                               title=title, **looks)  # fmt: skip
        if columns == 1 or legend.get_window_extent().width <= 0.98 * figure.bbox.width:
            break
        legend.remove()
    return legend


def entries_of(*axes: Axes) -> Entries:
    """The labelled artists of axes, each label once."""
    found: Entries = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Axes.


class LogTicks(LogLocator):
    """Ticks of a log axis: as many labelled ones as have room, and more than one wherever that can be."""

    steps = ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
    most = 7

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Labelled ticks between two values, which come in any order."""
        low, high = sorted((vmin, vmax))
        if not (0 < low < high < math.inf):
            return [value for value in (low, high) if 0 < value < math.inf]
        decades = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        sets = [np.outer(10.0**decades, steps).ravel() for steps in self.steps]
        sets += [10.0 ** decades[first::n] for n in range(2, len(decades)) for first in range(n)]
        sets.append(np.array(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)))
        shown = [ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))] for ticks in sets]
        for ticks in shown:
            if 2 <= len(ticks) <= self.most and self._has_room(ticks, low, high):
                return ticks.tolist()
        return min((ticks for ticks in shown if len(ticks)), key=len)[:1].tolist() if any(map(len, shown)) else [low]

    def _has_room(self, ticks: np.ndarray, low: float, high: float) -> bool:
        axis = self.axis
        if not isinstance(axis, Axis):
            return True
        box, size = axis.axes.get_window_extent(), float(axis.majorTicks[0].label1.get_fontsize())
        across = axis is axis.axes.xaxis
        length_in = (box.width if across else box.height) / axis.axes.figure.dpi
        at = np.log(ticks / low) / math.log(high / low) * length_in
        labels = LogLabels().format_ticks(ticks)
        sizes = np.array([text_width_in(text, size) if across else 1.1 * size / 72 for text in labels])
        return bool((np.diff(at) > (sizes[1:] + sizes[:-1]) / 2 + 0.5 * size / 72).all())


class LogLabels(Formatter):
    """Labels of a log axis: 0.001 to 100,000 in full, an axis with other values in powers of ten."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        """One label."""
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float] | np.ndarray) -> list[str]:
        """The labels of an axis, all in the same form."""
        shown = np.asarray([value for value in values if value > 0])
        if len(shown) == 0 or (shown.min() >= 0.00099 and shown.max() <= 100_001):
            return [f"{value:,.6g}" for value in values]
        texts = []
        for value in values:
            power = math.floor(math.log10(value) + 1e-9)
            factor = f"{value / 10.0**power:.3g}"
            texts.append(f"$10^{{{power}}}$" if factor == "1" else f"${factor}\\cdot10^{{{power}}}$")
        return texts


def log_scale(axis: Axis) -> None:
    """A log scale with labels that can be read."""
    if axis is axis.axes.xaxis:
        axis.axes.set_xscale("log")
    else:
        axis.axes.set_yscale("log")
    axis.set_major_locator(LogTicks())
    axis.set_major_formatter(LogLabels())
    axis.set_minor_locator(LogLocator(subs="auto", numticks=20))
    axis.set_minor_formatter(NullFormatter())


def linear_scale(axis: Axis, most: int = 5) -> None:
    """A linear scale with at most so many steps, thousands separated."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def fit_scale(axis: Axis, *values: np.ndarray) -> None:
    """A log scale where the values span more than a decade, else a linear one."""
    every = np.concatenate([np.ravel(each) for each in values]) if values else np.empty(0)
    if len(every) and every.min() > 0 and every.max() > 10 * every.min():
        log_scale(axis)
    else:
        linear_scale(axis)


def grid(*axes: Axes, which: Literal["x", "y", "both"] = "both") -> None:
    """Grids below what is drawn."""
    for axis in axes:
        axis.grid(True, axis=which, zorder=0)
        axis.set_axisbelow(True)


# ---------------------------------------------------------------------------------------------------------------------
# Files.


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


def figure_names(stem: str) -> tuple[str, str, str]:
    """The files of one figure: for the screen, for a column of a paper, for both columns."""
    return f"{stem}.png", f"{stem}.pdf", f"{stem}_wide.pdf"


def save_widths(
    draw: Draw,
    directory: str | Path,
    stem: str,
    title: str,
    about: str = "",
    *,
    with_footer: bool = True,
    png_width_in: float = COLUMN_IN,
) -> list[Path]:
    """Write a figure as the three files of `figure_names`: png, pdf 3.5 in wide, pdf 7.0 in wide.

    `about` says what it is of; without the footer it is in the files' metadata alone.
    """
    widths = (png_width_in, COLUMN_IN, TWO_COLUMNS_IN)
    return [
        save_figure(draw(width_in=width, with_footer=with_footer), Path(directory) / name, title, about)
        for name, width in zip(figure_names(stem), widths, strict=True)
    ]
