"""What one design does on one network, and several beside each other, as tables and sentences for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from dse.costs.evaluation import Evaluation
from dse.hardware.dram import assumptions
from dse.hardware.dram_types import DramType
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import told_weights
from dse.networks.layers import Network
from dse.output.units import number, percent, quantity, scaled, words
from dse.output.whole_tables import WholeTable
from dse.runs.column_dictionary import COLUMNS

if TYPE_CHECKING:
    from dse.runs.tables import Table as DataFrame

TWO_HALVES = 110
"""Width from which the parameters of a design stand in two halves beside each other [characters]."""


MOST_ROWS = 12
"""Activations listed: those that save most."""

BARS = " ▁▂▃▄▅▆▇█"
"""An empty store, and eighths of it."""


WATERFALL = {
    "ideal": "ideal: MACs / peak",
    "spatial_loss": "PEs idle at the edges of layers",
    "vector_stall": "waiting for the vector unit",
    "buffer_stall": "waiting for buffer ports",
    "dram_stall": "waiting for DRAM",
    "fill_drain": "fill, drain and array skew",
}
"""Parts of the cycles in words."""


def assumed(dram_types: Iterable[DramType | str], technology: Technology) -> list[str]:
    """Sentences on what stands in for figures of the DRAM that are not published or not given."""
    return [f"Assumed: {text}." for each in dict.fromkeys(dram_types) for text in assumptions(each, technology)]


def network_line(network: Network) -> str:
    """Name, MACs, weights, layers."""
    return (
        f"{network.name}: {number(network.macs / 1e9)} GMACs, {number(network.weight_elements / 1e6)} M weights, "
        f"{len(network.mac_layers)} MAC and {len(network.layers) - len(network.mac_layers)} vector layers"
    )


def weight_lines(evaluation: Evaluation) -> list[str]:
    """What layers state of their weights and what the design makes of it, a line each with the number of layers."""
    told = Counter(told_weights(layer, evaluation.design) for layer in evaluation.network.mac_layers)
    every = len(evaluation.network.mac_layers)
    return [f"{count} of {every} MAC layers: {text}" for text, count in told.items() if text]


def evaluation_summary(evaluation: Evaluation, batch: int = 1) -> WholeTable:
    """The main numbers of one design on one network of `batch` samples."""
    table = WholeTable("Summary", show_header=False)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("")
    for row in evaluation.summary(batch):
        table.add_row(*map(escape, row))
    return table


def evaluation_record(evaluation: Evaluation, batch: int = 1) -> dict[str, object]:
    """What one design does on one network of `batch` samples as plain values, for machines; units end the names."""
    e = evaluation
    names = ["latency_s", "cycles", "energy_j", "area_mm2", "core_area_mm2", "power_w", "latency_bound_s"]
    names += ["energy_bound_j", "overflow", "utilisation", "bound", "misfits", "feasible"]
    return {
        "network": e.network.name,
        "batch": batch,
        "technology": e.technology.name,
        **{name: getattr(e, name) for name in names},
        **e.rates(batch),
        "cycles_by_cause": e.waterfall(),
        "energy_by_level_j": e.energy(),
        "area_by_block_mm2": e.area,
        "design": e.design.parameters(),
        "on_chip": {
            "keep": e.on_chip.keep,
            "proven": e.on_chip.proven,
            "store_bytes": e.on_chip.store_bytes,
            "kept": [vars(tensor) for tensor in e.on_chip.kept],
        },
        "layers": e.layers,
    }


def _shares(title: str, unit: str, parts: Mapping[str, float]) -> WholeTable:
    """Parts of a total: value, share, bar."""
    total = sum(parts.values())
    factor, text = scaled(unit, [total])
    table = WholeTable(title)
    table.add_column("", no_wrap=True)
    table.add_column(text, justify="right")
    table.add_column("share", justify="right")
    table.add_column("", no_wrap=True)
    for name, value in parts.items():
        share = value / total if total else 0.0
        table.add_row(name, number(value * factor), percent(share), Text("\u2588" * round(24 * share), style="blue"))
    table.add_row("total", number(total * factor), "", "", style="bold")
    return table


def waterfall_table(evaluation: Evaluation) -> WholeTable:
    """Where the cycles go."""
    parts = {WATERFALL[name]: cycles for name, cycles in evaluation.waterfall().items()}
    return _shares("Cycles by cause", "cycle", parts)


def area_table(evaluation: Evaluation) -> WholeTable:
    """Area by block."""
    return _shares("Area by block", "mm2", {words(name): value for name, value in evaluation.area.items()})


def energy_table(evaluation: Evaluation) -> WholeTable:
    """Energy by level."""
    return _shares("Energy by level", "J", {words(name): value for name, value in evaluation.energy().items()})


_SHARE_HEADS = ("time", "ideal", "idle", "vector", "buffer", "DRAM", "fill")


def layer_table(evaluation: Evaluation) -> WholeTable:
    """One row a layer: work, time, where its cycles go, what bounds it, traffic and energy; all repeats together."""
    causes = [f"{head}\n%" for head in _SHARE_HEADS]
    table = WholeTable(
        "Layers, all repeats together; time in % of the network, causes in % of the layer's cycles",
        padding=(0, 1, 0, 0),
        spare=("operator", "energy\n\u00b5J", "MMACs", "DRAM\nkB", *causes[:0:-1]),
    )
    for name in ("layer", "operator"):
        table.add_column(name, no_wrap=True)
    for name in ("MMACs", "kcycles", *causes):
        table.add_column(name, justify="right")
    table.add_column("bound", no_wrap=True)
    for name in ("DRAM\nkB", "energy\n\u00b5J"):
        table.add_column(name, justify="right")
    columns = evaluation.columns
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        cycles, n = row["cycles"], row["repeats"]
        shares = [100 * row[f"{part}_cycles"] / cycles if cycles else 0.0 for part in WATERFALL]
        table.add_row(
            Text(row["layer"]),
            Text(row["operator"]),
            number(float(f"{row['macs'] * n / 1e6:.3g}")),
            number(float(f"{cycles * n / 1e3:.4g}")),
            f"{100 * cycles * n / evaluation.cycles:.1f}",
            *(f"{share:.0f}" if share >= 0.5 else "\u00b7" for share in shares),
            row["bound"],
            number(round(row["dram_bytes"] * n / 1e3)),
            number(float(f"{row['energy_pj'] * n / 1e6:.3g}")),
        )
    return table


def evaluation_report(evaluation: Evaluation, width: int = 132, batch: int = 1) -> RenderableType:
    """Everything about one design on one network of `batch` samples, for a terminal of that width [characters]."""
    e = evaluation
    parts: list[RenderableType] = [
        evaluation_summary(e, batch),
        "",
        *map(Text, assumed([e.design.dram_type], e.technology)),
        *map(Text, weight_lines(e)),
        "",
        waterfall_table(e),
        "",
        energy_table(e),
        "",
        area_table(e),
    ]
    if not e.feasible:
        over = f"This design cannot run {e.network.name}: bytes over / capacity, all layers, is {number(e.overflow)}."
        first = [f"{name}: {what}." for name, what in list(e.misfits.items())[:3]]
        over = " ".join([over, *first])
        parts = [Text(f"{over} The numbers below are not those of a working design.", style="bold red"), "", *parts]
    stays = on_chip_report(e, width)
    if stays is not None:
        parts += ["", stays]
    return Group(*parts, "", layer_table(e))


def distance_to_bound(evaluation: Evaluation, layer: str) -> str:
    """What limits the mapping of a MAC layer, and how far it is from the lower bound of its cycles over all mappings.

    The bound is peak arithmetic, compulsory DRAM traffic, or what array and ports need at least.
    """
    row = evaluation.layers.set_index("layer").loc[layer]
    gap = row["cycles"] / row["least_cycles"] - 1
    kind, _, operands = row["bound"].partition("_")
    limit = {
        "compute": "the array", "buffer": f"the port of buffer {operands}", "dram": "the DRAM link",
        "vector": "the vector unit", "fill": "fill and drain",
    }[kind]  # fmt: skip
    here = f"{number(row['cycles'])} cycles, limited by {limit}"
    if gap < 1e-9:
        return f"{here}: no mapping takes fewer"
    if row["least_cycles"] <= row["ideal_cycles"] * (1 + 1e-9):
        bound = "peak arithmetic"
    elif row["least_cycles"] <= row["bound_cycles"] * (1 + 1e-9):
        bound = "compulsory DRAM traffic"
    else:
        bound = "array, ports and buffer sizes"
    return (
        f"{here}; any mapping takes at least {number(row['least_cycles'])} ({bound}), this one {100 * gap:.2g} % more"
    )


def design_table(design_parameters: Mapping[str, object], width: int = 132) -> WholeTable:
    """Every parameter of a design with its unit; in two halves where a terminal of `width` [characters] has room."""
    table = WholeTable("Design", show_header=False)
    cells = [(name, escape(str(value)) or "none", unit_words(name)) for name, value in design_parameters.items()]
    lines = len(cells) if width < TWO_HALVES else (len(cells) + 1) // 2
    for _ in range(3 if lines == len(cells) else 6):
        table.add_column("", no_wrap=True)
    for i in range(lines):
        right = cells[i + lines] if i + lines < len(cells) else ("", "", "")
        table.add_row(*cells[i], *(right if lines < len(cells) else ()))
    return table


def unit_words(name: str) -> str:
    """Unit of a parameter, with room behind it; "" for texts and counts."""
    unit = COLUMNS[name].unit
    return "" if unit in ("-", "1") else f"{unit}   "


COMPARED = {
    "latency_s": ("latency", "s"), "inferences_per_s": ("samples\nper second", ""),
    "energy_per_inference_j": ("energy each", "J"), "power_w": ("power", "W"), "area_mm2": ("area", "mm2"),
    "tops": ("TOPS", ""), "tops_per_w": ("TOPS/W", ""), "tops_per_mm2": ("TOPS/mm\u00b2", ""),
    "w_per_mm2": ("W/mm\u00b2", ""),
}  # fmt: skip
"""Columns of `dse.compare` that `comparison_report` shows, their heads and units."""


SPARE_COMPARED = ("w_per_mm2", "tops_per_mm2", "tops_per_w", "tops", "area_mm2", "inferences_per_s")
"""Of these the ones that a narrow terminal leaves out, in this order."""


def comparison_report(compared: DataFrame) -> RenderableType:
    """A row a network and design; below, what bounds each and the change that helps its network most."""
    table = WholeTable(spare=[COMPARED[name][0] for name in SPARE_COMPARED])
    for name in ("network", "design"):
        table.add_column(name, no_wrap=True)
    for name in COMPARED:
        table.add_column(COMPARED[name][0], justify="right")
    kept = {"meets_deadline": "in time", "within_limits": "in limits"}
    kept = {name: head for name, head in kept.items() if name in compared}
    for head in kept.values():
        table.add_column(head, justify="right")
    lines = []
    for row in compared.to_dict("records"):
        values = [quantity(row[name], COMPARED[name][1]) if np.isfinite(row[name]) else "-" for name in COMPARED]
        answers = ["yes" if row[name] else "no" for name in kept]
        table.add_row(escape(row["network"]), escape(row["design"]), *values, *answers)
        bound = f"bound by {row['bound']}" if row["fits"] else row["bound"]
        advice = row.get("first_advice") or ""
        lines.append(escape(f"{row['network']} on {row['design']}: {bound}{'; ' * bool(advice)}{advice}"))
    return Group(table, "", *lines)


def on_chip_report(evaluation: Evaluation, width: int = 132) -> RenderableType | None:
    """Activations that stay on chip and what each saves, the fill of the store over the steps, the next to stay.

    None where the design has no store or no layer reads what another writes.  `width`: of the terminal [characters].
    """
    found = evaluation.on_chip
    count = len(found.kept) + len(found.left) + len(found.too_large)
    if not found.store_bytes or not count:
        return None
    best = {"none": "keep is none", "quick": "the quick choice of a search"}.get(
        found.keep, "no other set of them is better" if found.proven else "the best set found"
    )
    head = f"On chip between layers: {len(found.kept)} of {count} activations ({best})"
    lines: list[RenderableType] = [Text(head, style="bold")]
    if found.kept:
        lines += [_savings_table(evaluation), *fill_chart(found.fill_bytes, found.store_bytes, width)]
    if found.keep == "none":
        return Group(*lines)
    following = found.next_store()
    if following is not None:
        tensor, need = following
        lines.append(
            Text(
                f"Next to stay beside these: {tensor.name} ({kib(tensor.size_bytes)}, from {tensor.writer} to "
                f"{tensor.last_reader}), with a store of {kib(need)}"
            )
        )
    if found.too_large:
        names = ", ".join(tensor.name for tensor in found.too_large[:3])
        more = f" and {len(found.too_large) - 3} more" if len(found.too_large) > 3 else ""
        lines.append(Text(f"Larger than the store of {kib(found.store_bytes)}, so not kept: {names}{more}"))
    return Group(*lines)


def kib(size_bytes: float) -> str:
    """Bytes in KiB, as buffers are given."""
    return f"{number(size_bytes / 1024)} KiB"


def _savings_table(evaluation: Evaluation) -> WholeTable:
    saved, found = evaluation.on_chip.savings(), evaluation.on_chip
    clock_hz = evaluation.design.clock_ghz * 1e9
    order = sorted(found.kept, key=lambda t: (-saved[t.name].cycles, -saved[t.name].dram_bytes, t.first_step))
    table = WholeTable(spare=("steps", "share"))
    for name in ("written by", "last read by"):
        table.add_column(name, no_wrap=True)
    for name in ("steps", "size", "saves DRAM", "time", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for tensor in order[:MOST_ROWS]:
        saving = saved[tensor.name]
        table.add_row(
            Text(tensor.writer),
            Text(tensor.last_reader),
            f"{tensor.first_step + 1} to {tensor.last_step + 1}",
            kib(tensor.size_bytes),
            kib(saving.dram_bytes),
            quantity(saving.cycles / clock_hz, "s"),
            percent(saving.cycles / evaluation.cycles),
        )
    if len(order) > MOST_ROWS:
        rest = [saved[tensor.name] for tensor in order[MOST_ROWS:]]
        table.add_row(
            f"and {len(rest)} more, each alone", "", "", "", kib(sum(s.dram_bytes for s in rest)),
            quantity(sum(s.cycles for s in rest) / clock_hz, "s"), "",
        )  # fmt: skip
    return table


def fill_chart(fill_bytes: np.ndarray, store_bytes: float, width: int) -> list[Text]:
    """Two lines: how full the store is in the steps of the network, a column the most of a few steps; and a legend."""
    columns = np.array_split(fill_bytes, min(len(fill_bytes), max(8, width - 8)))
    shares = [float(part.max()) / store_bytes for part in columns]
    bars = "".join(BARS[min(8, int(np.ceil(8 * share)))] for share in shares)
    most = float(fill_bytes.max())
    legend = f"fill of the store over {len(fill_bytes)} steps, most {kib(most)} of {kib(store_bytes)}"
    return [Text(f"|{bars}|", style="blue", no_wrap=True), Text(legend)]
