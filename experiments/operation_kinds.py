"""What each kind of operation wants: the operations of eight DNNs against the designs that are best for them.

    python -m experiments operation_kinds         # after the tables of eight_dnns; a minute

Takes the shared design and each DNN's own optimum at an area budget (40 mm2) from results/eight_dnns/designs.csv, best
mapping of every layer.

networks.csv   a row a DNN: share of its MACs by kind of operation [1], and of its own optimum: rows, columns, PEs,
               multipliers, share of weights, inputs and outputs in the buffers [1], bandwidth [GB/s], MACs a byte
kinds.csv      a row a kind and aspect, the shared design varied in one aspect at a time: the choice in which all layers
               of the kind in all DNNs take least time, and the time above that of the design as it is [1]
kinds.png      and .pdf
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure

import dse
from dse.analysis.operation_kinds import kind_of, relate
from dse.hardware.accelerator import PARAMETERS
from dse.networks import EIGHT
from dse.networks.layers import Network
from dse.output.figure_style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    SMALL,
    TINY,
    TWO_COLUMNS_IN,
    YELLOW,
    add_footer,
    is_wide,
    styled,
)
from experiments.study import RESULTS, SHORT, Fault, Finding, Out, Quick, Stages, Study, read_table
from problems import GeomeanDNN

GROUPS = {
    "1x1 or matrix product": ("1x1, matrix product", BLUE), "3x3": ("3x3", ORANGE), "other": ("other filters", SKY),
    "stem": ("first layer (3 channels)", YELLOW), "depthwise": ("depthwise", GREEN),
    "fully connected": ("fully connected", RED), "product of activations": ("product of activations", PURPLE),
    "vector": ("vector", GREY),
}  # fmt: skip


def group_of(kind: str) -> str:
    """The kind, filters that are rare together."""
    return kind if kind in GROUPS else "stem" if kind.startswith("stem") else "other"


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    budget: Annotated[float, typer.Option(min=0, metavar="MM2", help="Area budget of the designs.")] = 40.0,
    designs: Annotated[Path | None, typer.Option(metavar="CSV", help="Default results/eight_dnns/designs.csv.")] = None,
) -> None:
    """Run the study."""
    study = Study.at("operation_kinds", out, quick, overwrite=True)
    chosen = ("wide_deep", "ptb_lstm_medium") if quick else EIGHT
    path = designs or RESULTS / "eight_dnns" / "designs.csv"
    study.run(stages, {"table": lambda: table(study, path, budget, chosen), "draw": lambda: figure(study, budget)})


def table(study: Study, path: Path, budget: float, chosen: tuple[str, ...]) -> None:
    """Both tables."""
    designs = read_table(path, ["mapping", "budget_mm2", "design", "area_mm2", "rows", "cols", "dataflow"])
    designs = designs[(designs["mapping"] == "best") & (designs["budget_mm2"] == budget)].set_index("design")
    if lacking := [name for name in (*chosen, "shared") if name not in designs.index]:
        raise Fault(
            f"{path} has no design of {lacking[0]} at {budget:g} mm2; budgets are those of its column budget_mm2"
        )
    networks = [dse.load_network(name) for name in chosen]
    study.begin([GeomeanDNN(chosen)], budget_mm2=budget, designs=designs.reset_index().astype(str).to_dict("records"))
    study.write("networks.csv", pd.DataFrame([wants(each, designs.loc[each.name]) for each in networks]), digits=4)
    study.write("kinds.csv", by_kind(relate(accelerator(designs.loc["shared"]), networks)), digits=4)


def figure(study: Study, budget: float) -> None:
    """The figure."""
    columns = ("network", "dram_gbps", "buffer_kib", *(f"{x}_buffer_share" for x in ("weight", "input", "output")))
    figure = functools.partial(kinds_figure, study.read("networks.csv", columns), budget)
    study.save(figure, "kinds", "operations and own optima", TWO_COLUMNS_IN)


def accelerator(row: pd.Series) -> dse.Accelerator:
    """The design of a row; empty texts were read as missing."""
    values = {name: row[name] for name in PARAMETERS if name in row}
    default = dse.Accelerator(overlap_skew=True)
    kept = {n: v.item() if isinstance(v, np.generic) else v for n, v in values.items() if not pd.isna(v)}
    return dse.Accelerator(**({"overlap_skew": default.overlap_skew} | kept))


def wants(network: Network, row: pd.Series) -> dict:
    """Operations of a network, and its own optimum."""
    macs = dict.fromkeys(GROUPS, 0)
    for layer in network.mac_layers:
        macs[group_of(kind_of(layer))] += layer.macs
    kib = {x: row[f"{x}_buffer_kib"] for x in ("weight", "input", "output")}
    pes = row["rows"] * row["cols"]
    return (
        {"network": network.name}
        | {f"macs_{name}": value / network.macs for name, value in macs.items() if name != "vector"}
        | {"dataflow": row["dataflow"], "rows": row["rows"], "cols": row["cols"], "macs_per_pe": row["macs_per_pe"]}
        | {"multipliers": pes * row["macs_per_pe"], "buffer_kib": sum(kib.values())}
        | {f"{x}_buffer_share": value / sum(kib.values()) for x, value in kib.items()}
        | {"dram_gbps": row["dram_gbps"], "macs_per_byte": network.macs / compulsory(network)}
    )


def compulsory(network: Network) -> float:
    """Weights, and inputs and outputs of every MAC layer, once each at 8 bits [byte]."""
    moved = sum((layer.input_elements + layer.output_elements) * layer.repeats for layer in network.mac_layers)
    return network.weight_elements + moved


def by_kind(relation: pd.DataFrame) -> pd.DataFrame:
    """The best choice of each kind over all networks, and what the design as it is loses."""
    relation = relation.assign(kind=relation["kind"].map(group_of))
    rows = []
    for (kind, aspect), group in relation.groupby(["kind", "aspect"], sort=False):
        cycles = group.groupby("choice", sort=False)["cycles"].sum(min_count=1)
        whole = group.groupby("choice", sort=False)["cycles"].apply(lambda c: c.notna().all())
        cycles = cycles[whole]
        now = cycles[group.loc[group["is_now"], "choice"].iloc[0]]
        least = cycles.min()
        best = cycles.index[int(np.argmax(cycles <= 1.05 * least))] if aspect == "bandwidth" else cycles.idxmin()
        rows.append({"kind": kind, "aspect": aspect, "best_choice": best, "loss_now": now / least - 1,
                     "loss_of_worst": cycles.max() / least - 1})  # fmt: skip
    return pd.DataFrame(rows)


@styled
def kinds_figure(
    table: pd.DataFrame, budget: float, width_in: float = TWO_COLUMNS_IN, with_footer: bool = True
) -> Figure:
    """MACs by kind beside the buffers of each DNN's own optimum; its size, array and bandwidth in words."""
    wide = is_wide(width_in)
    figure = Figure(figsize=(width_in, 3.0 if wide else 5.2), layout="constrained")
    kinds, buffers = figure.subplots(1, 2, sharey=True) if wide else figure.subplots(2, 1)
    at = np.arange(len(table))[::-1]
    parts = [(f"macs_{name}", *look) for name, look in GROUPS.items() if name != "vector"]
    stack(kinds, at, table, parts, 100)
    kinds.set_xlabel("Share of MACs [%]")
    stack(buffers, at, table, [(f"{x}_buffer_share", f"{x}s", colour) for x, colour in
                               (("weight", GREEN), ("input", ORANGE), ("output", PURPLE))], 100)  # fmt: skip
    for y, row in zip(at, table.to_dict("records"), strict=True):
        told = f"{row['rows']:g} x {row['cols']:g} x {row['macs_per_pe']:g} {row['dataflow'].replace('_', ' ')}"
        buffers.text(104, y, f"{told}\n{row['buffer_kib']:,.0f} KiB, {row['dram_gbps']:g} GB/s", va="center",
                     fontsize=TINY, color=BLACK)  # fmt: skip
    buffers.set_xlabel("Share of the buffers [%]")
    for axis in (kinds, buffers):
        axis.set_yticks(at, [SHORT[name] for name in table["network"]], fontsize=SMALL)
        axis.set_xlim(0, 100 if axis is kinds else 230)
        axis.set_xticks([0, 50, 100])
        axis.spines["bottom"].set_bounds(0, 100)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2 if axis is kinds else 3, columnspacing=0.8,
                    handlelength=0.9, borderaxespad=0.2)  # fmt: skip
    said = f"least latency of each DNN within {budget:g} mm\u00b2 at 45 nm: rows x columns x MACs a PE, dataflow"
    return add_footer(figure, said, with_footer)


def stack(axis, at: np.ndarray, table: pd.DataFrame, parts: list[tuple[str, str, str]], scale: float) -> None:
    """Horizontal stacked bars."""
    left = np.zeros(len(table))
    for column, label, colour in parts:
        values = scale * table[column].to_numpy(float)
        axis.barh(at, values, 0.7, left, color=colour, lw=0, label=label if values.max() > 0 else None)
        left += values


def findings(results: Path) -> Iterator[Finding]:
    """What the kinds want."""
    kinds = read_table(results / "operation_kinds" / "kinds.csv", ["kind", "aspect", "best_choice", "loss_now"])
    of = kinds.set_index(["kind", "aspect"])
    (flow,) = {of.loc[(kind, "dataflow"), "best_choice"] for kind in ("3x3", "1x1 or matrix product")} or {""}
    (array,) = {of.loc[(kind, "array"), "best_choice"] for kind in ("3x3", "1x1 or matrix product")} or {""}
    yield Finding(f"Convolutions of 3x3 and 1x1 agree on `{flow}` and a {array} array.")
    slow = of.loc[("depthwise", "dataflow")]
    yield Finding(
        f"Depthwise layers take {1 + slow['loss_now']:.1f} times as long there as with `{slow['best_choice']}`; "
        "another array saves nothing.",
        of.loc[("depthwise", "array"), "loss_now"] == 0,
    )
    wide = of.loc[("fully connected", "bandwidth")]
    yield Finding(
        f"Fully connected layers want bandwidth alone: they are {1 + wide['loss_now']:.1f} times as fast at "
        f"{wide['best_choice']}.",
        bool((of.loc["fully connected"].drop("bandwidth")["loss_now"] < 1e-3).all()),
    )
    buffers = kinds[kinds["aspect"] == "buffers"]
    yield Finding("No kind gains from another split of the buffers.", bool((buffers["loss_now"] == 0).all()))
