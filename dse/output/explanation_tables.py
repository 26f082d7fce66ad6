"""What `dse explain` prints: where the time is, why, what to change, what each variable buys."""

from __future__ import annotations

from math import isclose
from typing import Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from dse.analysis.explanation import Explanation
from dse.analysis.operation_kinds import ASPECTS
from dse.networks.layers import MacLayer
from dse.output.on_chip_tables import on_chip_report
from dse.output.tables import assumed, energy_table, evaluation_summary, waterfall_table
from dse.output.units import number, percent, quantity
from dse.runs.tables import Table as DataFrame
from dse.tuning.proposals import Tuned

HOLDS = 0.8
"""Share of the time that the layers shown in detail hold together [1]."""


def _table(title: str) -> Table:
    return Table(title=title, min_width=len(title), title_justify="left", title_style="bold", box=None, pad_edge=False)


def _add_columns(table: Table, *columns: tuple[str, JustifyMethod], no_wrap: bool = False) -> None:
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=no_wrap)


def explanation_report(explanation: Explanation, layer: str | None = None) -> RenderableType:
    """Everything in order of what matters; `layer`: only that one, with its loop nest."""
    if layer is not None:
        return Group(*_layer_lines(explanation, layer, True))
    base = explanation.evaluation
    notes = map(Text, assumed([base.design.dram_type], base.technology))
    parts: list[RenderableType] = [evaluation_summary(base), "", *notes, ""]
    parts += [waterfall_table(base), "", energy_table(base), ""]
    ranked = explanation.layers.sort_values("cycles", ascending=False, kind="stable")
    shown, held = [], 0.0
    seen: dict[tuple, list[str]] = {}
    by_name = {item.name: item for item in base.network.layers}
    for name, share in zip(ranked["layer"], ranked["share"], strict=True):
        held += share
        item = by_name[name]
        key = (item.shape_key if isinstance(item, MacLayer) else name, round(share, 9))
        if key in seen:
            seen[key].append(name)
        else:
            seen[key] = [name]
            shown.append(key)
        if held >= HOLDS:
            break
    count = sum(len(seen[key]) for key in shown)
    parts.append(Text(f"{count} of {len(ranked)} layers hold {percent(held)} of the time", style="bold"))
    for key in shown:
        parts += _layer_lines(explanation, seen[key][0], False, len(seen[key]))
    stays = on_chip_report(base)
    if stays is not None:
        parts += ["", stays]
    parts += ["", Text("What would help the network", style="bold")]
    parts += [Text(f"  {a.sentence}") for a in explanation.advice if not a.layer]
    return Group(*parts, "", sensitivity_table(explanation))


def _layer_lines(explanation: Explanation, name: str, nest: bool, equal: int = 1) -> list[RenderableType]:
    """One layer: its time and parts, its advice, its mapping."""
    row = explanation.layers[explanation.layers["layer"] == name].iloc[0]
    parts = [p for p in explanation.layers.columns if p.endswith("_cycles") and row[p] >= 0.005 * row["cycles"] > 0]
    causes = ", ".join(
        f"{p.removesuffix('_cycles').replace('_', ' ')} {percent(row[p] / row['cycles'])}" for p in parts
    )
    more = f" (and {equal - 1} like it)" if equal > 1 else ""
    lines: list[RenderableType] = [
        Text(
            f"{name}{more}: {number(round(row['cycles']))} cycles, {percent(row['share'])} of the time, "
            f"bound by {row['bound']}, utilisation {percent(row['utilisation'])}"
        ),
        Text(f"  {causes or 'takes no time'}"),
    ]
    notes = "; ".join(note for note in (row["idle"], row["rereads"]) if note)
    lines += [Text(f"  {notes}")] if notes else []
    lines += [Text(f"  -> {a.sentence}") for a in explanation.advice if a.layer == name]
    base = explanation.evaluation
    if nest:
        levels = [p for p in explanation.layers.columns if p.endswith("_pj") and p != "energy_pj" and row[p] > 0]
        energy = ", ".join(f"{p.removesuffix('_pj')} {percent(row[p] / row['energy_pj'])}" for p in levels)
        lines.append(Text(f"  energy {number(row['energy_pj'] * 1e-6)} uJ: {energy}"))
        item = next(item for item in base.network.layers if item.name == name)
        if isinstance(item, MacLayer):
            lines += ["", Text(base.mappings[name].loop_nest(item, base.design))]
    return lines


def sensitivity_table(explanation: Explanation) -> Table:
    """Every variable: the next level down and up, with cycles saved and area, and the elasticity of the latency."""
    table = _table(
        "What each variable buys: time saved (negative: lost) and area added, one level down and up\n"
        "(*: area of the DRAM interface)"
    )
    _add_columns(
        table,
        ("variable", "left"),
        ("now", "right"),
        ("down to", "right"),
        ("time", "right"),
        ("mm\u00b2", "right"),
        ("up to", "right"),
        ("time", "right"),
        ("mm\u00b2", "right"),
        ("elasticity", "right"),
        no_wrap=True,
    )
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
    for _, row in rows[rows["direction"] == "choice"].iterrows():
        table.add_row(Text(row["parameter"]), "", "", "", "", *_cells(row, base.latency_s), "")
    return table


def _cells(row, latency_s: float) -> list[str]:
    value = row["value"] if isinstance(row["value"], str | bool) else number(row["value"])
    if not row["feasible"]:
        return [str(value), "too big", ""]
    return [str(value)[:24], f"{100 - 100 * row['latency_s'] / latency_s:+.1f} %", _added_area(row)]


def _added_area(row: Any) -> str:
    """Area that a change adds [mm2]; with a star where the DRAM interface has it."""
    mark = "" if isclose(row["core_area_mm2"], row["area_mm2"], abs_tol=1e-9) else "*"
    return f"{row['area_mm2']:+.3g}{mark}"


def tuned_report(tuned: Tuned, most: int = 20) -> RenderableType:
    """Latency and capacity before and after, the edits made, and the proposals that save most."""
    before, after, a, b = tuned.before, tuned.after, tuned.capacity_before, tuned.capacity_after
    lines: list[RenderableType] = [
        Text(
            f"{before.network.name}: {quantity(before.latency_s, 's')} -> {quantity(after.latency_s, 's')}, "
            f"{percent(tuned.gain)} less; parameters {number(a.parameters / 1e6)} M -> {number(b.parameters / 1e6)} M; "
            f"GMACs {number(a.macs / 1e9)} -> {number(b.macs / 1e9)}",
            style="bold",
        ),
        *(Text(f"  {i}. {edit.text}") for i, edit in enumerate(tuned.edits, 1)),
        "",
    ]
    count = len(tuned.proposals)
    if not count:
        return Group(*lines, "No edit applies to it.")
    table = _table(f"Proposals, each alone; {min(most, count)} of {count} that save most")
    _add_columns(
        table,
        ("edit", "left"),
        ("saves", "right"),
        ("parameters", "right"),
        ("MACs", "right"),
        ("capacity", "left"),
        ("made", "left"),
    )
    for proposal in sorted(tuned.proposals, key=lambda p: (not p.keeps_capacity, -p.saved_cycles))[:most]:
        table.add_row(
            Text(proposal.edit.text),
            f"{100 * proposal.saved_cycles / before.cycles:+.1f} %",
            f"{100 * proposal.parameters / a.parameters:+.1f} %",
            f"{100 * proposal.macs / a.macs:+.1f} %",
            "kept" if proposal.keeps_capacity else "less",
            "yes" if proposal.edit in tuned.edits else "",
        )
    free = sorted((p for p in tuned.proposals if p.free), key=lambda p: -p.parameters)[: most // 2]
    gifts = [
        Text(
            f"  {p.edit.text}: {100 * p.parameters / a.parameters:+.1f} % parameters, "
            f"{100 * p.macs / a.macs:+.1f} % MACs" + (" (made)" if p.edit in tuned.edits else "")
        )
        for p in free
    ]
    head = [Text("Capacity at no cost in cycles, each alone (--grow makes them)", style="bold")] if gifts else []
    return Group(*lines, table, "", *head, *gifts, "")


def relation_table(relation: DataFrame) -> Table:
    """What each kind of operation wants, from `dse.analysis.operation_kinds.relate`: the best choice and what others
    cost."""
    table = _table("What each kind wants; in brackets the time it loses on this design, and with the worst choice")
    _add_columns(table, ("network", "left"), ("kind", "left"), ("time", "right"), *((a, "left") for a in ASPECTS))
    for (network, kind), rows in relation.groupby(["network", "kind"], sort=False):
        cells = []
        for aspect in ASPECTS:
            mine = rows[rows["aspect"] == aspect]
            best, now = mine[mine["is_best"]].iloc[0], mine[mine["is_now"]].iloc[0]
            cells.append(f"{best['choice']}\n({percent(now['loss'])}, {percent(mine['loss'].max())})")
        table.add_row(Text(network), kind, percent(rows["share"].iloc[0]), *cells)
    return table
