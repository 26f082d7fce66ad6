"""The page of `operation_kinds`: how the operations of each network relate to the configuration that they want."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pandas as pd

from experiments.study import SHORT

SMALL_LOSS = 0.05
"""Aspects in which a kind loses less than this are left out [1]."""

NO_TIME = 0.005
"""Kinds that take less of their network's time are left out [1]."""

ALL_EDITS = "all"


def page(
    budget: float,
    networks: pd.DataFrame,
    kinds: pd.DataFrame,
    wants: pd.DataFrame,
    losses: pd.DataFrame,
    edits: pd.DataFrame,
) -> str:
    """Markdown, from the tables of the experiment."""
    parts = [
        "# Operations and the configurations that they want",
        f"Made by `python -m experiments operation_kinds`: least latency within {budget:g} mm² at 45 nm, best mapping "
        "of every layer. *Own* is the fastest design known for a network, *shared* that of the least geometric mean of "
        "eight, *others'* the own designs of the other networks.",
        "## Kinds of operations",
        "The shared design varied in one aspect at a time: the choice in which all layers of the kind in all networks "
        "take least time, and how much longer they take with the shared design as it is.",
        "\n".join(_table(["operation", "dataflow", "array", "buffers", "bandwidth"], kind_rows(kinds))),
        "## Networks",
        "\n".join(_table(["network", "own design", "buffers", "bandwidth", "on the shared design"],
                         _networks(networks, losses))),
    ]  # fmt: skip
    for name in networks["network"]:
        of = (table[table["network"] == name] for table in (wants, losses, edits))
        parts += _network(name, *of)
    return "\n\n".join(parts) + "\n"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    heads = list(heads)
    for cells in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(cells)} |"


def _percent(share: float) -> str:
    """A loss: in percent, above tenfold as a multiple."""
    if pd.isna(share):
        return "does not fit"
    return f"{1 + share:.0f} times" if share >= 9 else f"{100 * share:+z.0f} %"


def _short(edit: str) -> str:
    """An edit in words, layers counted instead of named, widths left out."""
    parts = []
    for part in edit.split("; "):
        if part.startswith("widths: "):
            continue
        what, _, listed = part.partition(" (")
        names = listed.rstrip(")").split(", ")
        more = re.search(r" and (\d+) more$", names[-1])
        count = len(names) + (int(more[1]) if more else " and " in names[-1])
        parts.append(f"{what} ({count} layers)" if count > 1 else re.sub(r"/\S*/([\w.]+/\w+)", r"\1", part))
    return "; ".join(parts)


def kind_rows(kinds: pd.DataFrame) -> Iterator[list[str]]:
    """What each kind wants, and loses: cells of a table."""
    for kind, rows in kinds.groupby("kind", sort=False):
        of = rows.set_index("aspect")
        yield [str(kind), *(f"{of.at[aspect, 'best_choice']} ({_percent(of.at[aspect, 'loss_now'])})"
                            for aspect in ("dataflow", "array", "buffers", "bandwidth"))]  # fmt: skip


def _networks(networks: pd.DataFrame, losses: pd.DataFrame) -> Iterator[list[str]]:
    for row in networks.to_dict("records"):
        whole = whole_loss(losses[losses["network"] == row["network"]])
        yield [
            SHORT.get(row["network"], row["network"]),
            f"{row['rows']:g} x {row['cols']:g} x {row['macs_per_pe']:g} {row['dataflow']}",
            f"{row['buffer_kib']:,.0f} KiB", f"{row['dram_gbps']:g} GB/s", _percent(whole),
        ]  # fmt: skip


def whole_loss(losses: pd.DataFrame) -> float:
    """What a network loses on the shared design, of its rows of `losses.csv`."""
    return float((losses["time"] * losses["shared"]).sum())


def _network(name: str, wants: pd.DataFrame, losses: pd.DataFrame, edits: pd.DataFrame) -> Iterator[str]:
    """A title, a table of the kinds, and what edits do."""
    called = SHORT.get(name, name)
    yield f"### {called}"
    found = edits.set_index("kind")
    rows = []
    for row in losses[losses["time"] >= NO_TIME].sort_values("time", ascending=False).to_dict("records"):
        kind = row["kind"]
        wanted = wants[(wants["kind"] == kind) & (wants["loss_now"] > SMALL_LOSS)]
        pairs = zip(wanted["best_choice"], wanted["loss_now"], strict=True)
        told = ", ".join(f"{choice} ({_percent(loss)})" for choice, loss in pairs)
        edit = "none"
        if kind in found.index:
            edit = f"{_short(found.at[kind, 'edit'])}: {-100 * found.at[kind, 'saved']:.1f} %"
        worst = SHORT.get(row["worst_design"], row["worst_design"])
        others = f"{_percent(row['others_median'])}, at most {_percent(row['others_worst'])} ({worst})"
        rows.append([kind, f"{100 * row['macs']:.0f} %", f"{100 * row['time']:.0f} %", told or "what it has",
                     _percent(row["shared"]), others, edit])  # fmt: skip
    heads = ["operation", "MACs", "time", "wants", "on the shared design", "on others' designs: median, most",
             "edit that saves most of the network's time there"]  # fmt: skip
    yield "\n".join(_table(heads, rows))
    if ALL_EDITS not in found.index:
        return
    whole, saved = whole_loss(losses), float(found.at[ALL_EDITS, "saved"])
    if saved <= 0:
        yield "No edit that keeps the weights and MACs of every stage within 2 % saves time on the shared design."
        return
    after = (1 + whole) * (1 - saved) - 1
    yield (
        f"All edits together save {100 * saved:.0f} % of the time on the shared design, weights and MACs of every "
        f"stage kept within 2 %: what it takes beyond the network as it is on its own design goes from "
        f"{_percent(whole)} to {_percent(after)}."
    )
