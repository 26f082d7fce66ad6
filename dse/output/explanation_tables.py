"""What `dse explain` prints: what would help the network, where its time is and why, what each variable buys."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from typing import Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from dse.analysis.changes import MOST_FOR_THE_NETWORK
from dse.analysis.explanation import Explanation
from dse.analysis.operation_kinds import ASPECTS
from dse.costs.evaluation import Evaluation
from dse.networks.layers import MacLayer
from dse.output.evaluation_tables import (
    WATERFALL,
    assumed,
    energy_table,
    evaluation_summary,
    on_chip_report,
    waterfall_table,
    weight_lines,
)
from dse.output.units import number, percent, quantity
from dse.output.whole_tables import WholeTable
from dse.runs.tables import Table as DataFrame
from dse.tuning.front import TunedFront
from dse.tuning.proposals import Proposal
from dse.tuning.tuner import Tuned

HOLDS = 0.8
"""Share of the time of the layers with one reason that the layers named there hold together, where few do [1]."""

MOST_NAMED = 10
"""Layers with one reason that are named, at most."""

REASONS = WATERFALL | {"ideal": "at work nearly all the time"}
"""Reasons of `Explanation.reasons` in words."""


def _add_columns(table: WholeTable, *columns: tuple[str, JustifyMethod], no_wrap: bool = False) -> None:
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=no_wrap)


def explanation_report(explanation: Explanation, layer: str | None = None, width: int = 132) -> RenderableType:
    """Everything in order of what matters; `layer`: only that one, with its loop nest.  `width`: of the terminal."""
    if layer is not None:
        return Group(*_layer_lines(explanation, layer))
    base = explanation.evaluation
    parts: list[RenderableType] = [network_table(explanation), "", *reason_lines(explanation), ""]
    parts += [evaluation_summary(base), "", *map(Text, assumed([base.design.dram_type], base.technology)), ""]
    parts += [*map(Text, weight_lines(base)), waterfall_table(base), "", energy_table(base)]
    stays = on_chip_report(base, width)
    if stays is not None:
        parts += ["", stays]
    return Group(*parts, "", sensitivity_table(explanation))


def network_table(explanation: Explanation) -> RenderableType:
    """The changes that buy most for the whole network, at most five."""
    found = explanation.network
    if not len(found):
        return Text("No single change of the design by one level saves 2 % of the network's time", style="bold")
    table = WholeTable(
        f"What buys most for the whole network (at most {MOST_FOR_THE_NETWORK}), "
        "each change made and the network evaluated again",
        spare=("without\nDRAM I/F", "saves"),
    )
    table.add_column("change of the design")
    for name in ("saves", "latency", "energy", "area\nmm\u00b2", "without\nDRAM I/F"):
        table.add_column(name, justify="right")
    for row in found.to_dict("records"):
        table.add_row(
            Text(row["change"]),
            quantity(row["saved_s"], "s"),
            f"{-100 * row['saved_share']:+.1f} %",
            f"{100 * row['energy_share']:+.1f} %",
            f"{row['area_mm2']:+.3g}",
            f"{row['core_area_mm2']:+.3g}",
        )
    return table


def reason_lines(explanation: Explanation) -> list[RenderableType]:
    """Layers by their reason: how much it costs, which layers, and what would help them together."""
    lines: list[RenderableType] = [Text("Layers by what costs them most beside their arithmetic", style="bold")]
    total = explanation.evaluation.cycles
    shares = dict(zip(explanation.layers["layer"], explanation.layers["share"], strict=True))
    for row in explanation.reasons.to_dict("records"):
        port = f" (buffer {row['port']})" if row["port"] else ""
        count = f"{len(row['layers'])} layer{'s' if len(row['layers']) > 1 else ''}"
        lost = "" if row["reason"] == "ideal" else f"; lost so: {percent(row['lost_cycles'] / total)}"
        lines.append(
            Text(f"{REASONS[row['reason']]}{port}: {count}, {percent(row['share'])} of the network's time{lost}")
        )
        lines += _indented(_most_of(row["layers"], shares, row["share"]))
        lines += [line for note in row["notes"][:3] for line in _indented(note)]
        if len(row["notes"]) > 3:
            lines += _indented(f"and {len(row['notes']) - 3} more such notes: --layer NAME tells those of a layer")
        lines += [line for a in explanation.remedies(row["layers"]) for line in _indented(f"-> {a.sentence}")]
    return lines


def _most_of(layers: tuple[str, ...], shares: dict[str, float], whole: float) -> str:
    """The layers that hold most of the time of a reason, each with its share of the network, and how many more."""
    held, named = 0.0, list[str]()
    for name in layers:
        if held >= HOLDS * whole or len(named) == MOST_NAMED:
            break
        held += shares[name]
        named.append(f"{name} {percent(shares[name])}")
    more = len(layers) - len(named)
    return ", ".join(named) + (f", and {more} more with {percent(whole - held)} together" if more else "")


def _indented(text: str) -> list[RenderableType]:
    return [Padding(Text(text), (0, 0, 0, 2))]


def _layer_lines(explanation: Explanation, name: str) -> list[RenderableType]:
    """One layer: its time and parts, its advice, its energy and its mapping."""
    row = explanation.layers[explanation.layers["layer"] == name].iloc[0]
    parts = [p for p in explanation.layers.columns if p.endswith("_cycles") and row[p] >= 0.005 * row["cycles"] > 0]
    causes = ", ".join(
        f"{p.removesuffix('_cycles').replace('_', ' ')} {percent(row[p] / row['cycles'])}" for p in parts
    )
    lines: list[RenderableType] = [
        Text(
            f"{name}: {number(round(row['cycles']))} cycles, {percent(row['share'])} of the time, "
            f"bound by {row['bound']}, utilisation {percent(row['utilisation'])}"
        ),
        *_indented(causes or "takes no time"),
    ]
    notes = "; ".join(note for note in (row["weights"], row["idle"], row["rereads"]) if note)
    lines += _indented(notes) if notes else []
    lines += [line for a in explanation.advice if a.layer == name for line in _indented(f"-> {a.sentence}")]
    base = explanation.evaluation
    levels = [p for p in explanation.layers.columns if p.endswith("_pj") and p != "energy_pj" and row[p] > 0]
    energy = ", ".join(f"{p.removesuffix('_pj')} {percent(row[p] / row['energy_pj'])}" for p in levels)
    lines += _indented(f"energy {quantity(row['energy_pj'] * 1e-12, 'J')}: {energy}")
    item = next(item for item in base.network.layers if item.name == name)
    if isinstance(item, MacLayer):
        lines += ["", Text(base.loop_nest(name))]
    return lines


def sensitivity_table(explanation: Explanation) -> RenderableType:
    """Every variable: the next level down and up, with cycles saved and area, and the elasticity of the latency.

    Below it what each choice, and each joint change, buys.
    """
    table = WholeTable(
        "What each variable buys: time saved (negative: lost) and area added, one level down and up\n"
        "(*: area of the DRAM interface)",
        padding=(0, 1, 0, 0),
        spare=("elasticity", "now"),
    )
    heads = ("now", "down to", "time", "mm\u00b2", "up to", "time", "mm\u00b2", "elasticity")
    _add_columns(table, ("variable", "left"), *((head, "right") for head in heads), no_wrap=True)
    rows, base = explanation.sensitivity, explanation.evaluation
    ordered = rows[rows["direction"].isin(["up", "down"])]
    reach = ordered.groupby("parameter")["saved_cycles"].apply(lambda s: s.abs().max()).sort_values(ascending=False)
    for parameter in reach.index:
        cells = []
        for direction in ("down", "up"):
            mine = rows[(rows["parameter"] == parameter) & (rows["direction"] == direction)]
            cells += _cells(mine.iloc[0], base.latency_s) if len(mine) else ["", "", ""]
        step = rows[(rows["parameter"] == parameter) & (rows["direction"] == "step") & rows["feasible"]]
        elasticity = f"{step['elasticity'].iloc[0] + 0.0:.2f}" if len(step) else ""
        table.add_row(parameter, number(getattr(base.design, parameter)), *cells, elasticity)
    choices = WholeTable("What each choice, and each joint change, buys")
    _add_columns(choices, ("choice", "left"), ("", "left"), ("time", "right"), ("mm\u00b2", "right"))
    for _, row in rows[rows["direction"] == "choice"].iterrows():
        choices.add_row(Text(row["parameter"]), *_cells(row, base.latency_s))
    return Group(table, "", choices)


def _cells(row: Any, latency_s: float) -> list[str]:
    """New value, time saved and area added."""
    value = row["value"] if isinstance(row["value"], str | bool) else number(row["value"])
    if not row["feasible"]:
        return [str(value), "too big", ""]
    return [str(value), f"{100 - 100 * row['latency_s'] / latency_s:+.1f} %", _added_area(row)]


def _added_area(row: Any) -> str:
    """Area that a change adds [mm2]; with a star where the DRAM interface has it."""
    mark = "" if isclose(row["core_area_mm2"], row["area_mm2"], abs_tol=1e-9) else "*"
    return f"{row['area_mm2']:+.3g}{mark}"


def tuned_report(tuned: Tuned, most: int = 20) -> RenderableType:
    """Latency, utilisation and capacity before and after, the edits made, and the proposals that save most."""
    before, after, a, b = tuned.before, tuned.after, tuned.capacity_before, tuned.capacity_after
    lines: list[RenderableType] = [
        Text(
            f"{before.network.name}: {quantity(before.latency_s, 's')} -> {quantity(after.latency_s, 's')}, "
            f"{percent(tuned.gain)} less; MAC utilisation {percent(before.utilisation)} -> "
            f"{percent(after.utilisation)}; weights {number(a.weights / 1e6)} M -> {number(b.weights / 1e6)} M; "
            f"GMACs {number(a.macs / 1e9)} -> {number(b.macs / 1e9)}",
            style="bold",
        ),
        *(Text(f"  {i}. {proposal.text}") for i, proposal in enumerate(tuned.made, 1)),
    ]
    if tuned.same_function_gain:
        lines.append(f"  {percent(tuned.same_function_gain)} of it without a change of what the network computes")
    if tuned.goal is not None and tuned.gain < tuned.goal:
        lines.append(Text(f"This is less than the {percent(tuned.goal)} asked for: the budget allows no more.",
                          style="bold"))  # fmt: skip
    lines.append("")
    if not tuned.proposals:
        return Group(*lines, "No edit applies to it.")
    if not tuned.made and tuned.nearest:
        lines += [Text(f"No edit that saves time keeps the budget. The nearest is {tuned.nearest}."), ""]
    elif not tuned.made:
        lines += ["No edit saves time.", ""]
    kept = [p for p in tuned.proposals if not p.same_function]
    alike = [p for p in tuned.proposals if p.same_function]
    if kept:
        lines.append(_proposal_table(tuned, kept, most, "Proposals, each alone"))
    if alike:
        lines += ["", _proposal_table(tuned, alike, most, "Of the same function, weights laid out anew")]
    return Group(*lines, "")


def _proposal_table(tuned: Tuned, proposals: Sequence[Proposal], most: int, title: str) -> WholeTable:
    count, a, made = len(proposals), tuned.capacity_before, {proposal.edits for proposal in tuned.made}
    table = WholeTable(f"{title}; {min(most, count)} of {count} that save most")
    _add_columns(
        table,
        ("edit", "left"),
        ("saves", "right"),
        ("weights", "right"),
        ("MACs", "right"),
        ("weights in place", "right"),
        ("budget", "left"),
        ("made", "left"),
    )
    for proposal in sorted(proposals, key=lambda p: (p.excess > 0, -p.saved_cycles))[:most]:
        table.add_row(
            Text(proposal.text),
            f"{100 * proposal.saved_cycles / tuned.before.cycles:+.1f} %",
            f"{100 * (proposal.capacity.weights / max(1, a.weights) - 1):+.1f} %",
            f"{100 * (proposal.capacity.macs / a.macs - 1):+.1f} %",
            percent(proposal.weights_kept),
            "missed" if proposal.excess else "kept",
            "yes" if proposal.edits in made else "",
        )
    return table


def front_report(front: TunedFront, before: Evaluation, most: int = 20) -> RenderableType:
    """Latency against capacity: the networks of the front, least latency first."""
    members = front.members
    table = WholeTable(
        f"Latency against capacity; {min(most, len(members))} of {len(members)} networks, {front.evaluations} costed"
    )
    _add_columns(
        table, ("network", "right"), ("latency", "right"), ("saves", "right"), ("capacity", "right"), ("edit", "left")
    )
    for i, member in enumerate(members[:most]):
        table.add_row(
            str(i),
            quantity(member.latency_s, "s"),
            f"{100 * (1 - member.cycles / before.cycles):+.1f} %",
            percent(member.share_of_capacity),
            Text(member.text or "as it is"),
        )
    return table


def relation_table(relation: DataFrame) -> RenderableType:
    """What each kind of operation wants, from `dse.analysis.operation_kinds.relate`: the best choice and what others
    cost; a table a network."""
    parts: list[RenderableType] = [
        Text("What each kind wants; in brackets the time it loses on this design, and with the worst choice")
    ]
    for network, of_network in relation.groupby("network", sort=False):
        table = WholeTable(escape(str(network)))
        table.add_column("kind")
        _add_columns(table, ("time", "right"), *((a, "left") for a in ASPECTS), no_wrap=True)
        for kind, rows in of_network.groupby("kind", sort=False):
            cells = []
            for aspect in ASPECTS:
                mine = rows[rows["aspect"] == aspect]
                best, now = mine[mine["is_best"]].iloc[0], mine[mine["is_now"]].iloc[0]
                cells.append(f"{best['choice']}\n({percent(now['loss'])}, {percent(mine['loss'].max())})")
            table.add_row(kind, percent(rows["share"].iloc[0]), *map(Text, cells))
        parts += ["", table]
    return Group(*parts)
