"""What stays on chip between layers, for people: which activations, how full the store is, what each saves."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from dse.costs.evaluation import Evaluation
from dse.output.units import number, percent, quantity
from dse.output.whole_tables import WholeTable

MOST_ROWS = 12
"""Activations listed: those that save most."""

BARS = " ▁▂▃▄▅▆▇█"
"""An empty store, and eighths of it."""


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
