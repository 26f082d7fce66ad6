"""Figures of an explanation: roofline, strip of layers, breakdown, sensitivities; of a staircase; of tuned networks.

The style is that of `dse.output.figure_style`.  Every function returns a `matplotlib.figure.Figure` of a width [in].
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from dse.analysis.changes import FIXED
from dse.analysis.explanation import Explanation
from dse.costs.formulas import peak_macs
from dse.costs.results import WATERFALL
from dse.output.figure_style import (
    BLACK,
    BLUE,
    COLUMN_IN,
    ENERGY_LOOKS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SMALL,
    TINY,
    TWO_COLUMNS_IN,
    WATERFALL_LOOKS,
    YELLOW,
    Entries,
    LogLabels,
    add_footer,
    entries_of,
    grid,
    is_wide,
    legend_above,
    linear_scale,
    log_scale,
    plain,
    save_widths,
    styled,
    text_width_in,
    wrapped,
)
from dse.output.units import number, percent, scaled
from dse.runs.files import write_whole

BOUND_COLOURS = {"compute": BLUE, "dram": RED, "vector": PURPLE, "fill": GREY, "buffer": ORANGE}
SHOWN_LAYERS = 24
"""Most layers, by time, in a wide figure that names them; half of them in a column."""
NAMED_LAYERS = 6
"""Likewise in the strip of layers."""


def _colour(bound: str) -> str:
    return BOUND_COLOURS[bound.partition("_")[0]]


def short(name: str) -> str:
    """A layer's name without what an exporter repeats: ``/layer1/layer1.0/conv2/Conv`` gives "layer1.0 conv2"."""
    parts = name.strip("/").split("/")
    parts = parts[:-1] if len(parts) > 1 and parts[-1][:1].isupper() else parts
    kept = [a for a, b in zip(parts, [*parts[1:], ""], strict=True) if not b.startswith(f"{a}.")]
    return " ".join(kept)[-26:]


def _caption(explanation: Explanation) -> str:
    e = explanation.evaluation
    design = f"{e.design.rows} x {e.design.cols} x {e.design.macs_per_pe} {e.design.dataflow}"
    return f"{e.network.name} \u00b7 {design} \u00b7 {e.technology.name}"


@styled
def roofline(explanation: Explanation, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """Performance against MACs per DRAM byte: the roof, and every MAC layer with an area of its share of the time.

    The roof is that of the layers' weights that the array multiplies fastest.
    """
    e = explanation.evaluation
    table = explanation.layers[explanation.layers["macs"] > 0]
    peak = max(peak_macs(layer, e.design) for layer in e.network.mac_layers)
    bandwidth = e.design.dram_gbps / e.design.clock_ghz
    figure = Figure(figsize=(width_in, 2.8), layout="constrained")
    axis = figure.subplots()
    x, y = table["macs_per_dram_byte"].to_numpy(), (table["macs"] / table["cycles"]).to_numpy()
    finite = np.isfinite(x)
    x = np.where(finite, x, 2 * x[finite].max(initial=1.0))
    ridge = peak / bandwidth
    ends = np.array([min(x.min() / 2, ridge / 20), ridge, max(x.max(), ridge) * 10])
    axis.plot(ends, np.minimum(ends * bandwidth, peak), color=BLACK, lw=1.0, zorder=2)
    axis.annotate(f"peak {peak:,.0f} MACs/cycle", (ends[2], peak), (0, 3),
                  textcoords="offset points", ha="right", va="bottom", fontsize=SMALL)  # fmt: skip
    axis.annotate(f"{number(e.design.dram_gbps)} GB/s", (0.3 * ridge, 0.3 * peak), (-4, 1),
                  textcoords="offset points", ha="right", va="bottom", fontsize=SMALL)  # fmt: skip
    colours = [_colour(bound) for bound in table["bound"]]
    axis.scatter(x, y, s=4 + 1500 * table["share"], c=colours, alpha=0.65, lw=0.4, edgecolors=BLACK, zorder=3)
    axis.set_ylim(min(y.min() / 8, peak / 20), 2.5 * peak)
    axis.set_xlim(ends[0] / 1.5, ends[2] * 1.2)
    longest = int(table["share"].argmax())
    name = f"{short(table['layer'].iloc[longest])}, {percent(table['share'].iloc[longest])}"
    on_left = bool(x[longest] < np.sqrt(ends[0] * ends[2]))
    axis.annotate(name, (x[longest], y[longest]), (0, -3), textcoords="offset points",
                  ha="left" if on_left else "right", va="top", fontsize=SMALL, zorder=5)  # fmt: skip
    log_scale(axis.xaxis)
    log_scale(axis.yaxis)
    axis.set_xlabel("MACs per DRAM byte")
    axis.set_ylabel("MACs per cycle")
    legend_above(figure, _bounds(table), title="bound by; area = share of the time", handlelength=0.9)
    grid(axis)
    return add_footer(figure, _caption(explanation), with_footer)


def _bounds(table: pd.DataFrame) -> Entries:
    """What bounds the layers, for a legend."""
    present = dict.fromkeys(bound.partition("_")[0] for bound in table["bound"])
    return {bound: Patch(color=BOUND_COLOURS[bound]) for bound in present}


@styled
def strip(explanation: Explanation, width_in: float = TWO_COLUMNS_IN, with_footer: bool = True) -> Figure:
    """The layers in order, each as wide as its time: utilisation as height, what bounds it as colour.

    Heights are logarithmic where most of the time has less than a twentieth of the largest utilisation.
    """
    table = explanation.layers
    table = table.assign(cycles=table["cycles"] * 1e-3, percent=table["utilisation"] * 100)
    ends = table["cycles"].cumsum()
    starts, total = ends - table["cycles"], float(ends.iloc[-1])
    heights, ticks = _utilisation_heights(table["percent"].to_numpy(float), table["share"].to_numpy(float))
    figure = Figure(figsize=(width_in, 1.9), layout="constrained")
    axis = figure.subplots()
    colours = [_colour(bound) for bound in table["bound"]]
    axis.bar(starts, heights, table["cycles"], align="edge", color=colours, lw=0.3, edgecolor="white")
    axis.bar(starts, -0.05, table["cycles"], align="edge", color=colours, lw=0.3, edgecolor="white")
    inner_in, step = width_in - 0.75, 0.16  # height of a label
    placed: list[tuple[float, float, float]] = []
    most = NAMED_LAYERS if is_wide(width_in) else NAMED_LAYERS // 2
    for i in sorted(table["share"][table["share"] > 0.06].nlargest(most).index):
        text = f"{short(table['layer'].iloc[i])} {percent(table['share'].iloc[i])}"
        half = 0.52 * text_width_in(text, TINY) / inner_in * total
        x = float(np.clip((starts.iloc[i] + ends.iloc[i]) / 2, half, max(half, total - half)))
        y = float(heights[(ends > x - half) & (starts < x + half)].max()) + 0.03
        while any(abs(x - at) < half + wide and abs(y - up) < step for at, wide, up in placed):
            y += step  # above the label beside it
        placed.append((x, half, y))
        axis.text(x, y, plain(text), fontsize=TINY, ha="center", va="bottom")
    above = max([0.0, *(y + step - 1.05 for *_, y in placed)])
    figure.set_figheight(figure.get_figheight() + 0.8 * above)
    axis.set_xlim(0, total)
    axis.set_ylim(-0.06, 1.05 + above)
    axis.set_ylabel("MAC\nutilisation [%]")
    axis.set_xlabel("Time, layer after layer [kcycles]")
    linear_scale(axis.xaxis)
    axis.set_yticks(list(ticks), list(ticks.values()))
    legend_above(figure, {f"bound by {name}": mark for name, mark in _bounds(table).items()}, handlelength=0.9)
    return add_footer(figure, _caption(explanation), with_footer)


def _utilisation_heights(percents: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, dict[float, str]]:
    """Heights of bars, 1 the largest, of utilisations [%] and shares of the time; labels by height."""
    top, low = max(percents.max(), 1e-9), percents[percents > 0].min(initial=np.inf)
    if not (low < top and shares[percents < top / 20].sum() > 0.5):
        step = 10.0 ** np.floor(np.log10(top / 2))
        step *= next(n for n in (1, 2, 2.5, 5, 10) if top / (n * step) <= 4)
        at = step * np.arange(int(top / step) + 1)
        return percents / top, {float(x / top): f"{x:.6g}" for x in at}
    first, last = np.floor(np.log10(low)), np.log10(top)
    decades = np.arange(first, np.floor(last) + 1)
    decades = decades[:: -(-len(decades) // 5)]
    heights = np.where(percents > 0, (np.log10(np.maximum(percents, low)) - first) / (last - first), 0.0)
    at = ((decades - first) / (last - first)).tolist()
    return heights, dict(zip(at, LogLabels().format_ticks(10.0**decades), strict=True))


def _longest(table: pd.DataFrame, width_in: float) -> pd.Index:
    """Rows of the layers that take most time and any at all, in the order of the network."""
    most = SHOWN_LAYERS if is_wide(width_in) else SHOWN_LAYERS // 2
    return table.loc[table["cycles"] > 0, "cycles"].nlargest(most).index.sort_values()


@styled
def breakdowns(explanation: Explanation, width_in: float = TWO_COLUMNS_IN, with_footer: bool = True) -> Figure:
    """Cycles by cause and energy by level of the layers that take most time, stacked, in the order of the network."""
    table, wide = explanation.layers, is_wide(width_in)
    chosen = table.loc[_longest(table, width_in)]
    height_in = 0.9 + 0.15 * len(chosen)
    figure = Figure(figsize=(width_in, 0.2 + height_in * (1 if wide else 2)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True) if wide else figure.subplots(2, 1)
    factor, unit = scaled("J", chosen["energy_pj"] * 1e-12)
    energy = {f"{name}_pj": look for name, look in ENERGY_LOOKS.items()}
    waterfall = {f"{name}_cycles": WATERFALL_LOOKS[f"{name}_cycles"] for name in WATERFALL}
    at = np.arange(len(chosen))
    for axis, parts, size, label in ((axes[0], waterfall, 1e-3, "Time [kcycles]"),
                                       (axes[1], energy, factor * 1e-12, f"Energy [{unit}]")):  # fmt: skip
        left = np.zeros(len(chosen))
        for name, (text, colour) in parts.items():
            values = chosen[name].to_numpy(float) * size
            shown = values.sum() > 0.005 * chosen[list(parts)].to_numpy().sum() * size
            axis.barh(at, values, 0.8, left, color=colour, label=text if shown else None, lw=0)
            left += values
        axis.set_xlabel(label)
        linear_scale(axis.xaxis, 4)
        axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, handlelength=0.9, borderaxespad=0.2)
    names = [plain(short(name)) for name in chosen["layer"]]
    for axis in axes[:1] if wide else axes:
        axis.set_yticks(at, names, fontsize=TINY)
        axis.invert_yaxis()
    return add_footer(figure, _caption(explanation), with_footer)


@styled
def sensitivities(explanation: Explanation, width_in: float = TWO_COLUMNS_IN, with_footer: bool = True) -> Figure:
    """Heat map: time that the next level of each variable takes from (blue) or adds to (red) each of the top layers."""
    table, rows = explanation.layers, explanation.sensitivity
    keep = _longest(table, width_in)
    cells = explanation.layer_saved[:, keep] / table["cycles"].to_numpy()[keep] * 100
    wanted = rows["direction"].isin(["up", "down"]) & ~rows["parameter"].isin([*FIXED, "clock_ghz"])
    wanted &= np.nan_to_num(np.abs(cells)).max(axis=1) > 1.5
    which = np.flatnonzero(wanted)
    figure = Figure(figsize=(width_in, 2.3 + 0.13 * len(which)), layout="constrained")
    axis = figure.subplots()
    shown = np.ma.masked_invalid(-cells[which])
    cmap = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#bbbbbb")
    image = axis.imshow(shown, cmap=cmap, norm=TwoSlopeNorm(0, -60, 60), aspect="auto")
    labels = []
    for i in which:
        value, area = rows["value"].iloc[i], f"{_signed(rows['area_mm2'].iloc[i])} mm\u00b2"
        arrow = {"up": "\u2191", "down": "\u2193"}[rows["direction"].iloc[i]]
        labels.append(f"{rows['parameter'].iloc[i]} {arrow} {value:g}" + (f"  ({area})" if is_wide(width_in) else ""))
    axis.set_yticks(np.arange(len(which)), labels, fontsize=TINY)
    names = [plain(short(name)) for name in table["layer"].iloc[keep]]
    axis.set_xticks(np.arange(len(keep)), names, rotation=90, fontsize=TINY)
    axis.spines[:].set_visible(False)
    _colour_bar(figure, image, [axis], "Change of the layer's time [%]; grey: does not fit", "both")
    return add_footer(figure, _caption(explanation), with_footer)


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '-'}{number(float(f'{abs(value):.2g}'))}"


def _colour_bar(figure: Figure, image: AxesImage, axes: list[Axes], text: str, extend: str) -> None:
    """The scale of a heat map, above it."""
    bar = figure.colorbar(image, ax=axes, extend=extend, location="top", pad=0.2 / figure.get_figheight(),
                          aspect=10 * figure.get_figwidth())  # fmt: skip
    bar.set_label(wrapped(text, 0.5 * figure.get_figwidth(), SMALL), fontsize=SMALL)


@styled
def stairs(table: pd.DataFrame, title: str, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """Latency against one size of a layer: the hardware's steps dotted, the last value before each rise marked."""
    figure = Figure(figsize=(width_in, 2.6), layout="constrained")
    axis = figure.subplots()
    what, step = table["size"].iloc[0], int(table["step"].iloc[0])
    names = {"K": "Output channels K", "C": "Input channels C", "kernel": "Filter rows and columns", "stride": "Stride",
             "groups": "Groups", "resolution": "Output rows and columns"}  # fmt: skip
    dense = len(table) > 16
    axis.plot(table["value"], table["cycles"] * 1e-3, color=BLUE, lw=1.1, marker="" if dense else "o", ms=3,
              label="latency")  # fmt: skip
    last, edges = table["value"].max(), table[table["is_step"]]
    if len(edges) and step > 1 and last / step <= 40:
        for i, x in enumerate(range(step, int(last) + 1, step)):
            axis.axvline(x, color=GREY, lw=0.5, ls=(0, (1, 2)), zorder=0,
                         label=f"array step, {step} channels" if i == 0 else None)  # fmt: skip
    if len(edges) and len(edges) < 0.3 * len(table):
        axis.plot(edges["value"], edges["cycles"] * 1e-3, ls="", marker="v", ms=3.5, mew=0, color=ORANGE,
                  label="last size before a rise")  # fmt: skip
    now = table[table["is_now"]]
    axis.plot(now["value"], now["cycles"] * 1e-3, ls="", marker="*", ms=9, mew=0.5, mec=BLACK, mfc=YELLOW,
              label="the layer as it is", zorder=4)  # fmt: skip
    axis.set_xlabel(names[what])
    axis.set_ylabel("Latency of the layer [kcycles]")
    axis.set_ylim(0, 1.12 * max(1e-9, table["cycles"].max() * 1e-3))
    linear_scale(axis.xaxis)
    linear_scale(axis.yaxis)
    grid(axis, which="y")
    legend_above(figure, entries_of(axis))
    return add_footer(figure, title, with_footer)


@styled
def tuned_pairs(
    pairs: pd.DataFrame, saved: pd.DataFrame, width_in: float = COLUMN_IN, with_footer: bool = True
) -> Figure:
    """Latency saved by design beside the measured change of the accuracy, a row a tuned network.

    `pairs` : a row a pair, with ``change_points, low_points, high_points`` where all its seeds were trained; its
    ``form`` is what `saved` calls ``tuned``.
    `saved` : ``gain`` by network, form and design.
    """
    rows = pairs[pairs["capacity"] != "epochs"].reset_index(drop=True)
    figure = Figure(figsize=(width_in, 1.1 + 0.27 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    looks = itertools.cycle(zip((BLUE, ORANGE, PURPLE, RED, GREEN), "osD^v", strict=True))
    for (design, mine), (colour, marker) in zip(saved.groupby("design", sort=False), looks, strict=False):
        gain = mine.set_index(["network", "tuned"])["gain"]
        found = [100 * gain.get((row["network"], row["form"]), np.nan) for _, row in rows.iterrows()]
        left.plot(found, rows.index, ls="", marker=marker, ms=3.5, mew=0, color=colour, label=str(design))
    done = rows["seeds_done"] == rows["seeds_planned"]
    for at, row in rows.iterrows():
        low = -row["margin_points"]
        right.plot([low, low], [at - 0.4, at + 0.4], color=RED, lw=1.0, label="margin" if at == 0 else None)
        if not done[at]:
            text = f"{row['seeds_done']:.0f} of {row['seeds_planned']:.0f} seeds"
            right.text(0.02, at, text, fontsize=TINY, va="center", color=GREY)
            continue
        ends = [[row["change_points"] - row["low_points"]], [row["high_points"] - row["change_points"]]]
        right.errorbar([row["change_points"]], [at], xerr=ends, color=BLACK, capsize=2, lw=0.9, marker="o", ms=3)
    names = [f"{row['network']}, {row['data']}\n{row['tuned']}" for _, row in rows.iterrows()]
    left.set_yticks(rows.index, [plain(name) for name in names], fontsize=TINY)
    left.set_ylim(len(rows) - 0.5, -0.5)
    low, high = right.get_xlim()
    right.set_xlim(min(low, -0.6), max(high, 0.6))
    for axis, label in ((left, "Latency\nsaved [%]"), (right, "Change of\naccuracy [points]")):
        axis.axvline(0, color=GREY, lw=0.6, zorder=0)
        axis.set_xlabel(label)
        linear_scale(axis.xaxis, 4)
        grid(axis, which="x")
    legend_above(figure, entries_of(left, right))
    said = "right: mean over seeds, 95 % interval over seeds and test images; W4A8 and 2:4 on hardware for them"
    return add_footer(figure, said, with_footer)


@styled
def gains(table: pd.DataFrame, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """Latency that capacity-keeping edits save, by network and design."""
    figure = Figure(figsize=(width_in, 2.3), layout="constrained")
    axis = figure.subplots()
    networks, designs = list(dict.fromkeys(table["network"])), list(dict.fromkeys(table["design"]))
    width = 0.8 / len(designs)
    for j, (design, colour) in enumerate(zip(designs, (BLUE, ORANGE, PURPLE, GREY), strict=False)):
        mine = table[table["design"] == design].set_index("network")["gain"].reindex(networks) * 100
        at = np.arange(len(networks)) + (j - (len(designs) - 1) / 2) * width
        for bar, value in zip(axis.bar(at, mine, width * 0.92, color=colour, label=design), mine, strict=True):
            axis.text(bar.get_x() + bar.get_width() / 2, value + 0.4, f"{value:.1f}", ha="center", fontsize=TINY)
    axis.set_xticks(np.arange(len(networks)), networks)
    axis.set_ylabel("Latency saved,\ncapacity kept [%]")
    legend_above(figure, entries_of(axis))
    return add_footer(figure, f"{', '.join(networks)} \u00b7 latency by the model before and after edits", with_footer)


BLOCK = 14
"""Most kinds of operations beside each other in a column."""


@styled
def relation_figure(
    relation: pd.DataFrame, title: str, width_in: float = TWO_COLUMNS_IN, with_footer: bool = True
) -> Figure:
    """Heat map: time that each kind of operation loses with each choice, against the best of the same aspect.

    Choices are beside each other where the figure is wide, else below each other.
    """
    columns = relation.drop_duplicates(["aspect", "choice"])[["aspect", "choice"]].to_records(index=False).tolist()
    rows = list(dict.fromkeys(zip(relation["network"], relation["kind"], strict=True)))
    loss = relation.set_index(["network", "kind", "aspect", "choice"])["loss"]
    cells = np.array([[loss.get((*row, *column), np.nan) for column in columns] for row in rows]) * 100
    one = len({network for network, _ in rows}) == 1
    kinds = [kind if one else f"{network}: {kind}" for network, kind in rows]
    if is_wide(width_in):
        figure = Figure(figsize=(width_in, 2.1 + 0.19 * len(rows)), layout="constrained")
        axes = [figure.subplots()]
        image = _relation_panel(axes[0], cells, kinds, columns)
    else:
        blocks = np.array_split(np.arange(len(rows)), -(-len(rows) // BLOCK))
        figure = Figure(figsize=(width_in, 0.8 + (1.5 + 0.14 * len(columns)) * len(blocks)), layout="constrained")
        axes = list(figure.subplots(len(blocks), 1, squeeze=False)[:, 0])
        for axis, block in zip(axes, blocks, strict=True):
            image = _relation_column(axis, cells[block], [kinds[i] for i in block], columns)
    said = "Time above the best choice [%]; 10\u00d7: times the best; grey: does not fit"
    _colour_bar(figure, image, axes, said, "max")
    networks = ", ".join(dict.fromkeys(network for network, _ in rows))
    return add_footer(figure, f"{networks} \u00b7 {title}", with_footer)


def _loss_cells(axis: Axes, cells: np.ndarray) -> AxesImage:
    """The cells and their numbers."""
    cmap = matplotlib.colormaps["cividis_r"].with_extremes(bad="#bbbbbb")
    image = axis.imshow(np.ma.masked_invalid(cells), cmap=cmap, vmin=0, vmax=100, aspect="auto")
    for i, j in np.ndindex(cells.shape):
        if np.isfinite(cells[i, j]):
            text = f"{cells[i, j]:.0f}" if cells[i, j] < 999 else f"{1 + cells[i, j] / 100:.0f}\u00d7"
            axis.text(j, i, text, ha="center", va="center", fontsize=4.5, color="white" if cells[i, j] > 50 else BLACK)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return image


def _relation_panel(axis: Axes, cells: np.ndarray, kinds: list[str], columns: list[tuple[str, str]]) -> AxesImage:
    """A row a kind, choices beside each other, the aspects above them."""
    image = _loss_cells(axis, cells)
    aspects = [aspect for aspect, _ in columns]
    for aspect in dict.fromkeys(aspects):
        first, count = aspects.index(aspect), aspects.count(aspect)
        axis.text(first + (count - 1) / 2, -0.7, aspect, ha="center", va="bottom", fontsize=SMALL)
        if first:
            axis.axvline(first - 0.5, color="white", lw=2.5)
    axis.set_yticks(np.arange(len(kinds)), kinds, fontsize=TINY)
    axis.set_xticks(np.arange(len(columns)), [choice for _, choice in columns], rotation=90, fontsize=TINY)
    return image


def _relation_column(axis: Axes, cells: np.ndarray, kinds: list[str], columns: list[tuple[str, str]]) -> AxesImage:
    """A column a kind, choices below each other, each aspect in an empty row above its choices."""
    rows: list[np.ndarray] = []
    names: list[str] = []
    empty: list[int] = []
    for j, (aspect, choice) in enumerate(columns):
        if j == 0 or columns[j - 1][0] != aspect:
            empty.append(len(rows))
            rows.append(np.full(len(kinds), np.nan))
            names.append(f"{aspect}:")
        rows.append(cells[:, j])
        names.append(choice)
    image = _loss_cells(axis, np.array(rows))
    for i in empty:
        axis.axhspan(i - 0.5, i + 0.5, color="white", zorder=2)
    axis.set_yticks(np.arange(len(rows)), names, fontsize=TINY)
    axis.set_xticks(np.arange(len(kinds)), kinds, rotation=90, fontsize=TINY)
    return image


def write_explanation(explanation: Explanation, directory: str | Path, with_footer: bool = True) -> list[Path]:
    """Figures, each as the files of `dse.output.figure_style.figure_names`, and CSV files of an explanation."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {
        "roofline": (roofline, COLUMN_IN),
        "layers_strip": (strip, TWO_COLUMNS_IN),
        "layers_breakdown": (breakdowns, TWO_COLUMNS_IN),
        "sensitivity": (sensitivities, TWO_COLUMNS_IN),
    }
    written = [
        path
        for name, (draw, png_width_in) in drawn.items()
        for path in save_widths(
            functools.partial(draw, explanation),
            directory,
            name,
            name,
            _caption(explanation),
            with_footer=with_footer,
            png_width_in=png_width_in,
        )
    ]
    tables = {"layers.csv": explanation.layers, "sensitivity.csv": explanation.sensitivity}
    for name, table in tables.items():
        write_whole(directory / name, table.to_csv(index=False, lineterminator="\n").encode())
        written.append(directory / name)
    return written
