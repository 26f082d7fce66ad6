"""Figures of an explanation: roofline, strip of layers, breakdown, sensitivities; of a staircase; of tuned networks.

The style is that of `dse.output.figure_style`.  Every function returns a `matplotlib.figure.Figure`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from dse.analysis.changes import FIXED
from dse.analysis.explanation import Explanation
from dse.costs.results import WATERFALL
from dse.output.figure_style import (
    BLACK,
    BLUE,
    COLUMN_IN,
    ENERGY_LOOKS,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    WATERFALL_LOOKS,
    footer,
    save_figure,
    styled,
)
from dse.output.units import percent
from dse.runs.files import write_whole

BOUND_COLOURS = {"compute": BLUE, "dram": RED, "vector": PURPLE, "fill": GREY, "buffer": ORANGE}
SHOWN_LAYERS = 24
"""Most layers, by time, in a figure that names them."""
LABEL_PERCENT = 9
"""Height of a label in the strip of layers [% of utilisation]."""


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
def roofline(explanation: Explanation) -> Figure:
    """Performance against MACs per DRAM byte: the roof, and every MAC layer with an area of its share of the time."""
    e = explanation.evaluation
    table = explanation.layers[explanation.layers["macs"] > 0]
    bandwidth = e.design.dram_gbps / e.design.clock_ghz
    figure = Figure(figsize=(COLUMN_IN, 2.7), layout="constrained")
    axis = figure.subplots()
    x, y = table["macs_per_dram_byte"].to_numpy(), (table["macs"] / table["cycles"]).to_numpy()
    finite = np.isfinite(x)
    x = np.where(finite, x, 2 * x[finite].max(initial=1.0))
    ridge = e.design.macs_per_cycle / bandwidth
    ends = np.array([min(x.min(), ridge) / 2, ridge, max(x.max(), ridge) * 2])
    axis.plot(ends, np.minimum(ends * bandwidth, e.design.macs_per_cycle), color=BLACK, lw=1.0, zorder=2)
    axis.annotate(f"peak {e.design.macs_per_cycle:,} MACs/cycle", (ends[2], e.design.macs_per_cycle), (0, 3),
                  textcoords="offset points", ha="right", va="bottom", fontsize=6)  # fmt: skip
    colours = [_colour(bound) for bound in table["bound"]]
    axis.scatter(x, y, s=4 + 1500 * table["share"], c=colours, alpha=0.65, lw=0.4, edgecolors=BLACK, zorder=3)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("MACs per DRAM byte")
    axis.set_ylabel("MACs per cycle")
    present = dict.fromkeys(bound.partition("_")[0] for bound in table["bound"])
    marks = [Patch(color=BOUND_COLOURS[bound], label=bound) for bound in present]
    figure.legend(handles=marks, loc="outside upper center", ncols=5, title="bound by; area = share of the time",
                  title_fontsize=6.5, handlelength=0.9)  # fmt: skip
    axis.grid(True, zorder=0)
    return footer(figure, _caption(explanation))


@styled
def strip(explanation: Explanation) -> Figure:
    """The layers in order, each as wide as its time: utilisation as height, what bounds it as colour."""
    table = explanation.layers
    figure = Figure(figsize=(2 * COLUMN_IN, 1.7), layout="constrained")
    axis = figure.subplots()
    table = table.assign(cycles=table["cycles"] * 1e-3)
    ends = table["cycles"].cumsum()
    colours = [_colour(bound) for bound in table["bound"]]
    axis.bar(ends - table["cycles"], table["utilisation"] * 100, table["cycles"], align="edge", color=colours, lw=0.3,
             edgecolor="white")  # fmt: skip
    axis.bar(ends - table["cycles"], 2.5, table["cycles"], -5, align="edge", color=colours, lw=0.3, edgecolor="white")
    axis.set_xlim(0, ends.iloc[-1])
    axis.set_ylabel("MAC utilisation [%]")
    axis.set_xlabel("Time, layer after layer [kcycles]")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    placed: list[tuple[float, float, float]] = []
    for (_, row), end in zip(table.iterrows(), ends, strict=True):
        if row["share"] > 0.06:
            text = f"{short(row['layer'])} {percent(row['share'])}"
            x, half = end - row["cycles"] / 2, 0.0035 * len(text) * ends.iloc[-1]
            below = (ends > x - half) & (ends - table["cycles"] < x + half)
            y = table.loc[below, "utilisation"].max() * 100 + 2
            while any(abs(x - at) < half + wide and abs(y - up) < LABEL_PERCENT for at, wide, up in placed):
                y += LABEL_PERCENT  # above the label beside it
            placed.append((x, half, y))
            axis.text(x, y, text, fontsize=5.5, ha="center", va="bottom")
    axis.set_ylim(-5.5, max([100, *(y + LABEL_PERCENT for _, _, y in placed)]))
    present = dict.fromkeys(bound.partition("_")[0] for bound in table["bound"])
    figure.legend(handles=[Patch(color=BOUND_COLOURS[b], label=f"bound by {b}") for b in present],
                  loc="outside upper center", ncols=6, handlelength=0.9)  # fmt: skip
    return footer(figure, _caption(explanation))


def _longest(table: pd.DataFrame) -> pd.Index:
    """Rows of the layers that take most time and any at all, in the order of the network."""
    return table.loc[table["cycles"] > 0, "cycles"].nlargest(SHOWN_LAYERS).index.sort_values()


@styled
def breakdowns(explanation: Explanation) -> Figure:
    """Cycles by cause and energy by level of the layers that take most time, stacked, in the order of the network."""
    table = explanation.layers
    keep = _longest(table)
    chosen = table.loc[keep]
    figure = Figure(figsize=(2 * COLUMN_IN, 1.2 + 0.15 * len(chosen)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    energy = {f"{name}_pj": look for name, look in ENERGY_LOOKS.items()}
    waterfall = {f"{name}_cycles": WATERFALL_LOOKS[f"{name}_cycles"] for name in WATERFALL}
    at = np.arange(len(chosen))
    for axis, parts, factor, label in ((axes[0], waterfall, 1e-3, "Time [kcycles]"),
                                       (axes[1], energy, 1e-6, "Energy [\u00b5J]")):  # fmt: skip
        left = np.zeros(len(chosen))
        for name, (text, colour) in parts.items():
            values = chosen[name].to_numpy(float) * factor
            shown = values.sum() > 0.005 * chosen[list(parts)].to_numpy().sum() * factor
            axis.barh(at, values, 0.8, left, color=colour, label=text if shown else None, lw=0)
            left += values
        axis.set_xlabel(label)
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handlelength=0.9, columnspacing=1.0)
    names = [short(name) for name in chosen["layer"]]
    axes[0].set_yticks(at, names, fontsize=5.5)
    axes[0].invert_yaxis()
    return footer(figure, _caption(explanation))


@styled
def sensitivities(explanation: Explanation) -> Figure:
    """Heat map: time that the next level of each variable takes from (blue) or adds to (red) each of the top layers."""
    table, rows = explanation.layers, explanation.sensitivity
    keep = _longest(table)
    cells = explanation.layer_saved[:, keep] / table["cycles"].to_numpy()[keep] * 100
    wanted = rows["direction"].isin(["up", "down"]) & ~rows["parameter"].isin([*FIXED, "clock_ghz"])
    wanted &= np.nan_to_num(np.abs(cells)).max(axis=1) > 1.5
    which = np.flatnonzero(wanted)
    figure = Figure(figsize=(2 * COLUMN_IN, 2.3 + 0.13 * len(which)), layout="constrained")
    axis = figure.subplots()
    shown = np.ma.masked_invalid(-cells[which])
    cmap = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#bbbbbb")
    image = axis.imshow(shown, cmap=cmap, norm=TwoSlopeNorm(0, -60, 60), aspect="auto")
    labels = []
    for i in which:
        value = rows["value"].iloc[i]
        arrow = {"up": "\u2191", "down": "\u2193"}[rows["direction"].iloc[i]]
        labels.append(f"{rows['parameter'].iloc[i]} {arrow} {value:g}  ({rows['area_mm2'].iloc[i]:+.2g} mm\u00b2)")
    axis.set_yticks(np.arange(len(which)), labels, fontsize=5.5)
    names = [short(name) for name in table["layer"].iloc[keep]]
    axis.set_xticks(np.arange(len(keep)), names, rotation=90, fontsize=5.5)
    for side in axis.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axis, pad=0.01, extend="both")
    bar.set_label("Change of the layer's time [%]\n(grey: does not fit)", fontsize=6.5)
    return footer(figure, _caption(explanation))


@styled
def stairs(table: pd.DataFrame, title: str) -> Figure:
    """Latency against one size of a layer: the hardware's steps dotted, the last value before each rise marked."""
    figure = Figure(figsize=(COLUMN_IN, 2.6), layout="constrained")
    axis = figure.subplots()
    what, step = table["size"].iloc[0], int(table["step"].iloc[0])
    names = {"K": "Output channels K", "C": "Input channels C", "kernel": "Filter rows and columns", "stride": "Stride",
             "groups": "Groups", "resolution": "Output rows and columns"}  # fmt: skip
    dense = len(table) > 16
    axis.plot(table["value"], table["cycles"] * 1e-3, color=BLUE, lw=1.1, marker="" if dense else "o", ms=3,
              label="latency")  # fmt: skip
    last = table["value"].max()
    if step > 1 and last / step <= 40:
        for i, x in enumerate(range(step, int(last) + 1, step)):
            axis.axvline(x, color=GREY, lw=0.5, ls=(0, (1, 2)), zorder=0,
                         label=f"array step, {step} channels" if i == 0 else None)  # fmt: skip
    edges = table[table["is_step"]]
    if len(edges) and len(edges) < 0.3 * len(table):
        axis.plot(edges["value"], edges["cycles"] * 1e-3, ls="", marker="v", ms=3.5, mew=0, color=ORANGE,
                  label="last size before a rise")  # fmt: skip
    now = table[table["is_now"]]
    axis.plot(now["value"], now["cycles"] * 1e-3, ls="", marker="*", ms=9, mew=0.5, mec=BLACK, mfc="#F0E442",
              label="the layer as it is", zorder=4)  # fmt: skip
    axis.set_xlabel(names[what])
    axis.set_ylabel("Latency of the layer [kcycles]")
    axis.set_ylim(0)
    axis.grid(True, axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return footer(figure, title)


@styled
def moves(table: pd.DataFrame) -> Figure:
    """Accuracy against latency: an arrow from each original to its tuned form, the paired 95 % interval at its head."""
    figure = Figure(figsize=(COLUMN_IN, 2.6), layout="constrained")
    axis = figure.subplots()
    for (_, row), colour in zip(table.iterrows(), (BLUE, RED, GREY, ORANGE, PURPLE), strict=False):
        x, y = row["latency_s"] * 1e6, 100 * row["accuracy"]
        to_x, to_y = row["tuned_latency_s"] * 1e6, 100 * row["tuned_accuracy"]
        axis.annotate("", (to_x, to_y), (x, y), arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2})
        axis.plot([x], [y], "o", color=colour, ms=4, label=f"{row['network']} on {row['design']}, {row['seeds']} seeds")
        low, high = row["change_points"] - row["low_points"], row["high_points"] - row["change_points"]
        axis.errorbar([to_x], [to_y], [[low], [high]], color=colour, capsize=2, lw=0.9, marker="s", ms=3.5)
    everything = table[["latency_s", "tuned_latency_s"]].to_numpy() * 1e6
    if everything.max() > 5 * everything.min():
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(everything.min() / 1.5, everything.max() * 1.5)
    else:
        axis.set_xlim(0)
    axis.set_xlabel("Latency by the model [\u00b5s]")
    axis.set_ylabel("Accuracy on the test images [%]")
    axis.grid(True)
    figure.legend(loc="outside upper center", ncols=1)
    return footer(figure, "circle: original; square: tuned, with the 95 % interval of the paired change")


@styled
def gains(table: pd.DataFrame) -> Figure:
    """Latency that capacity-keeping edits save, by network and design."""
    figure = Figure(figsize=(COLUMN_IN, 2.2), layout="constrained")
    axis = figure.subplots()
    networks, designs = list(dict.fromkeys(table["network"])), list(dict.fromkeys(table["design"]))
    width = 0.8 / len(designs)
    for j, (design, colour) in enumerate(zip(designs, (BLUE, ORANGE, PURPLE, GREY), strict=False)):
        mine = table[table["design"] == design].set_index("network")["gain"].reindex(networks) * 100
        at = np.arange(len(networks)) + (j - (len(designs) - 1) / 2) * width
        for bar, value in zip(axis.bar(at, mine, width * 0.92, color=colour, label=design), mine, strict=True):
            axis.text(bar.get_x() + bar.get_width() / 2, value + 0.4, f"{value:.1f}", ha="center", fontsize=6)
    axis.set_xticks(np.arange(len(networks)), networks)
    axis.set_ylabel("Latency saved, capacity kept [%]")
    figure.legend(loc="outside upper center", ncols=len(designs))
    return figure


@styled
def relation_figure(relation: pd.DataFrame, title: str) -> Figure:
    """Heat map: time that each kind of operation loses with each choice, against the best of the same aspect."""
    columns = relation.drop_duplicates(["aspect", "choice"])[["aspect", "choice"]].to_records(index=False).tolist()
    rows = list(dict.fromkeys(zip(relation["network"], relation["kind"], strict=True)))
    loss = relation.set_index(["network", "kind", "aspect", "choice"])["loss"]
    cells = np.array([[loss.get((*row, *column), np.nan) for column in columns] for row in rows]) * 100
    figure = Figure(figsize=(2 * COLUMN_IN, 1.9 + 0.19 * len(rows)), layout="constrained")
    axis = figure.subplots()
    cmap = matplotlib.colormaps["cividis_r"].with_extremes(bad="#bbbbbb")
    image = axis.imshow(np.ma.masked_invalid(cells), cmap=cmap, vmin=0, vmax=100, aspect="auto")
    for i, j in np.ndindex(cells.shape):
        if np.isfinite(cells[i, j]):
            text = f"{cells[i, j]:.0f}" if cells[i, j] < 999 else f"{1 + cells[i, j] / 100:.0f}\u00d7"
            axis.text(j, i, text, ha="center", va="center", fontsize=4.5, color="white" if cells[i, j] > 50 else BLACK)
    for j in range(1, len(columns)):
        if columns[j][0] != columns[j - 1][0]:
            axis.axvline(j - 0.5, color="white", lw=2.5)
    one = len({network for network, _ in rows}) == 1
    axis.set_yticks(np.arange(len(rows)), [kind if one else f"{network}: {kind}" for network, kind in rows], fontsize=6)
    axis.set_xticks(np.arange(len(columns)), [choice for _, choice in columns], rotation=90, fontsize=5.5)
    for side in axis.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axis, pad=0.01, extend="max")
    bar.set_label("Time above the best choice [%];\n10\u00d7: times the best (grey: does not fit)", fontsize=6.5)
    return footer(figure, title)


def write_explanation(explanation: Explanation, directory: str | Path) -> list[Path]:
    """Figures and CSV files of an explanation: layers, sensitivities, advice."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    about = _caption(explanation)
    drawn = {"roofline": roofline, "layers_strip": strip, "layers_breakdown": breakdowns, "sensitivity": sensitivities}
    written = [save_figure(draw(explanation), directory / f"{name}.png", name, about) for name, draw in drawn.items()]
    tables = {"layers.csv": explanation.layers, "sensitivity.csv": explanation.sensitivity}
    for name, table in tables.items():
        write_whole(directory / name, table.to_csv(index=False, lineterminator="\n").encode())
        written.append(directory / name)
    return written
