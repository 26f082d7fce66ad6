"""Why a design takes the time it takes for a network, and which change buys how much.

Nothing here is a rule of thumb: every number that an `Advice` promises is the difference of two evaluations of
the model, the second with the change made.  `Advice.apply` makes the change, so that anyone can check it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dse.analysis.changes import (
    LEAST_REASON,
    LEAST_SHARE,
    MOST_FOR_THE_NETWORK,
    Change,
    advisable,
    changes,
    most_saving,
    sensitivity,
    what,
)
from dse.costs import kernels as k
from dse.costs.batches import layer_cycles
from dse.costs.evaluation import Evaluation, evaluate
from dse.costs.kernel_rows import DEFAULT_SLACK, CostOptions
from dse.costs.results import ENERGY_PARTS, WATERFALL
from dse.costs.traffic import port_width_and_banks, word_bytes
from dse.hardware.accelerator import Accelerator, buffer_groups
from dse.hardware.technology import Technology, technology_or_default
from dse.hardware.weight_forms import told_weights, weight_form, weights_on
from dse.networks.layers import MacLayer, Network, VectorLayer
from dse.text.html import html_table
from dse.text.quantities import percent, quantity


@dataclass(frozen=True)
class Advice:
    """One sentence about one layer (or, with ``layer == ""``, the network), and the change it speaks of.

    Attributes
    ----------
    sentence : cause, change and promise in words.
    parameters : new values of `Accelerator` parameters; empty for an edit of the layer.
    loop_bounds : new loop bounds of the layer; empty for a change of the hardware.
    saved_cycles : what the change saves in that layer, all repeats (or in the network), by the model [cycles].
    area_mm2, core_area_mm2 : what the change adds to the area, and to that without the DRAM interface [mm2].
    energy_j : what a change of the hardware adds to the energy of the whole network [J].
    """

    layer: str
    sentence: str
    parameters: Mapping[str, object]
    loop_bounds: Mapping[str, int]
    saved_cycles: float
    area_mm2: float = 0.0
    core_area_mm2: float = 0.0
    energy_j: float = 0.0

    def apply(self, design: Accelerator, network: Network) -> tuple[Accelerator, Network]:
        """Design and network with the change made."""
        if not self.loop_bounds:
            return design.with_parameters(self.parameters), network
        return design, with_layer(network, self.layer, self.loop_bounds)


@dataclass(frozen=True, repr=False)
class Explanation:
    """What `explain` found.

    Attributes
    ----------
    evaluation : the design on the network.
    layers : one row a layer, all repeats together: cycles and their parts (which sum to them exactly), share of the
        time, utilisation, bound, MACs per DRAM byte, energy by level [pJ], narrow or 2:4 weights, idle
        hardware and re-reads in words.
    sensitivity : one row for every changed parameter: ``parameter, direction`` (``up``, ``down``, ``more``,
        ``choice`` or ``step``), ``value``, ``cycles``, ``saved_cycles``, ``area_mm2`` (added), ``core_area_mm2``
        (added, without the DRAM interface), ``energy_j`` (added), ``elasticity`` (relative change of the latency [s] /
        relative change of the parameter; NaN for choices), ``feasible``.
    layer_saved : cycles saved in each layer by each row of `sensitivity`, (n_changes, n_layers); NaN where infeasible.
    reasons : layers with the same reason together, most cycles first: ``reason`` (a part of the cycles, ``ideal`` where
        none else matters), ``port`` (operands of the buffer where that is what they wait for), ``layers`` (names, most
        time first), ``cycles`` of these layers, ``share`` of the network's, ``lost_cycles`` to the reason, ``notes``.
    advice : by layer in order of time, most saved first; then the network's, at most five, most saved first.
    """

    evaluation: Evaluation
    layers: pd.DataFrame
    sensitivity: pd.DataFrame
    layer_saved: np.ndarray
    reasons: pd.DataFrame
    advice: tuple[Advice, ...]

    @property
    def network(self) -> pd.DataFrame:
        """The changes that save most of the whole network's time, each made and the network evaluated again.

        A row a change: ``change`` in words, ``saved_s`` [s], ``saved_share`` of the latency, ``energy_j`` added [J],
        ``energy_share`` of the energy, ``area_mm2`` and ``core_area_mm2`` added [mm2].
        """
        base, mine = self.evaluation, [a for a in self.advice if not a.layer]
        rows = {
            "change": [what(a.parameters, base.design) for a in mine],
            "saved_s": [a.saved_cycles / (base.design.clock_ghz * 1e9) for a in mine],
            "saved_share": [a.saved_cycles / base.cycles for a in mine],
            "energy_j": [a.energy_j for a in mine],
            "energy_share": [a.energy_j / base.energy_j for a in mine],
            "area_mm2": [a.area_mm2 for a in mine],
            "core_area_mm2": [a.core_area_mm2 for a in mine],
        }
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        base = self.evaluation
        first = next((a.sentence for a in self.advice if not a.layer), "no single change saves much")
        return f"<Explanation of {base.network.name}, {quantity(base.latency_s, 's')}: {first}>"

    def _repr_html_(self) -> str:
        changes = [
            (row["change"], f"{-100 * row['saved_share']:+.1f} %", f"{100 * row['energy_share']:+.1f} %",
             f"{row['area_mm2']:+.3g}")
            for row in self.network.to_dict("records")
        ]  # fmt: skip
        reasons = [
            (row["reason"].replace("_", " "), len(row["layers"]), percent(row["share"]), ", ".join(row["layers"][:3]))
            for row in self.reasons.to_dict("records")
        ]
        heads = ("change of the design", "latency", "energy", "area, mm\u00b2")
        title = f"What buys most for all of {self.evaluation.network.name}"
        return html_table(title, heads, changes) + html_table(
            "What costs the layers most", ("reason", "layers", "time", "first of them"), reasons
        )

    def remedies(self, layers: Sequence[str], most: int = 2) -> list[Advice]:
        """The changes that save most of the cycles of some layers together, one level each, evaluated; most first.

        `Advice.layer` holds the layers' names, and `saved_cycles` is of these layers alone.
        """
        base, tried = self.evaluation, changes(self.evaluation.design)
        which = self.layers["layer"].isin(layers).to_numpy()
        whole = float(self.layers["cycles"][which].sum())
        saved = np.where(advisable(tried), self.layer_saved[:, which].sum(axis=1), np.nan)
        best = most_saving(tried, saved, self.sensitivity["area_mm2"].to_numpy(), LEAST_SHARE * whole)[:most]
        where = "the layer" if len(layers) == 1 else "these layers"
        return [
            _advice(", ".join(layers), "", where, tried[j], saved[j], whole, self.sensitivity.loc[j], base)
            for j in best
        ]


def explain(
    design: Accelerator,
    network: Network,
    *,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float = DEFAULT_SLACK,
    keep: str = "best",
) -> Explanation:
    """Explain the time of a network on a design.

    Parameters
    ----------
    technology, objective, slack, keep : as in `dse.evaluate`.

    Raises ValueError where the network cannot run on the design.
    """
    technology = technology_or_default(technology)
    options: CostOptions = {"technology": technology, "objective": objective, "slack": slack, "keep": keep}
    base = evaluate(design, network, **options)
    if not base.feasible:
        raise ValueError(
            f"the design cannot run {network.name}: bytes over / capacity is {base.overflow:.3g} summed over layers; "
            "explain a design that fits, or raise its registers and buffers"
        )
    tried = changes(design)
    saved, found = _tried(base, tried, options)
    table = layer_table(base)
    advice = _layer_advice(base, table, tried, found, saved)
    advice += _edit_advice(base, table, options)
    order = {name: i for i, name in enumerate(table.sort_values("cycles", ascending=False, kind="stable")["layer"])}
    advice.sort(key=lambda a: (order[a.layer], -a.saved_cycles))
    advice += _network_advice(base, tried, found)
    return Explanation(base, table, found, saved, _reasons(base, table), tuple(advice))


def network_advice(
    base: Evaluation, *, objective: str = "latency", slack: float = DEFAULT_SLACK, keep: str = "best"
) -> tuple[Advice, ...]:
    """The changes that save most of a network's time on a design, at most five: what `explain` begins with, alone.

    `objective`, `slack`, `keep` : those of the evaluation, which fits its design.
    """
    options: CostOptions = {"technology": base.technology, "objective": objective, "slack": slack, "keep": keep}
    tried = changes(base.design)
    tried = [change for change, take in zip(tried, advisable(tried), strict=True) if take]
    return tuple(_network_advice(base, tried, _tried(base, tried, options)[1]))


def _tried(base: Evaluation, tried: Sequence[Change], options: CostOptions) -> tuple[np.ndarray, pd.DataFrame]:
    """Cycles of each layer that each change saves, (n_changes, n_layers), NaN where infeasible; and `sensitivity`."""
    designs = [base.design, *(base.design.with_parameters(change.parameters) for change in tried)]
    cycles, totals = layer_cycles(designs, base.network, **options)
    saved = cycles[0] - cycles[1:]
    saved[totals[1:, k.OVERFLOW] > 0] = np.nan
    return saved, sensitivity(base, tried, totals[1:])


# ---------------------------------------------------------------------------------------------------------------------
# Parts.


def closed(parts: dict[str, float], total: float) -> dict[str, float]:
    """The parts with rounding taken out of the largest, so that ``math.fsum(parts.values()) == total`` exactly."""
    closed = dict(parts)
    largest = max(closed, key=lambda name: abs(closed[name]))
    for _ in range(8):
        rest = math.fsum([total, *(-value for value in closed.values())])
        if math.fsum(closed.values()) == total:
            break
        closed[largest] += rest
    return closed


def layer_table(base: Evaluation) -> pd.DataFrame:
    """The table `Explanation.layers`."""
    rows = []
    for layer, (_, row) in zip(base.network.layers, base.layers.iterrows(), strict=True):
        n = layer.repeats
        cycles = row["cycles"] * n
        parts = closed({f"{part}_cycles": row[f"{part}_cycles"] * n for part in WATERFALL}, cycles)
        levels = closed({f"{part}_pj": row[f"{part}_pj"] * n for part in ENERGY_PARTS}, row["energy_pj"] * n)
        dram = row["dram_bytes"] * n
        rows.append(
            {
                "layer": layer.name,
                "operator": layer.operator,
                "cycles": cycles,
                "share": cycles / base.cycles,
                **parts,
                "utilisation": row["utilisation"],
                "bound": row["bound"],
                "macs": float(layer.macs),
                "dram_bytes": dram,
                "macs_per_dram_byte": layer.macs / dram if dram else math.inf,
                "energy_pj": row["energy_pj"] * n,
                **levels,
                "weights": told_weights(layer, base.design) if isinstance(layer, MacLayer) else "",
                "idle": _idle(layer, base) if isinstance(layer, MacLayer) else "",
                "rereads": _rereads(layer, row, base.design) if isinstance(layer, MacLayer) else "",
            }
        )
    return pd.DataFrame(rows)


def _idle(layer: MacLayer, base: Evaluation) -> str:
    """Which hardware the mapping leaves without work, in words; "" for none."""
    mapping, design = base.mappings[layer.name], base.design
    words = []
    option = mapping.spatial_option(design)
    wires = {"rows": option.on_rows, "columns": option.on_cols}
    for (axis, unrolled), used in zip(wires.items(), mapping.on_axes(design), strict=True):
        have = design.rows if axis == "rows" else design.cols
        taken = math.prod(used.values())
        if taken < have:
            limits = {u.loop: f" on {u}" for u in unrolled if not math.isinf(u.most)}
            why = " ".join(f"{d}={getattr(layer, d)}{limits.get(d, '')}" for d in used)
            words.append(f"{why} leaves {have - taken} of {have} {axis} idle")
    lanes = int(weights_on(weight_form(layer), design).lanes)
    if mapping.lanes < lanes:
        words.append(f"C={layer.C} leaves {lanes - mapping.lanes} of {lanes} multipliers of a PE idle")
    for d, spatial in zip("KC", (mapping.s("K"), mapping.s("C")), strict=True):
        bound = getattr(layer, d)
        flattened = mapping.spatial_option(design).flatten_reduction
        if d == "C" and flattened:
            bound *= layer.FY * layer.FX
        if spatial > 1 and bound % spatial:
            words.append(f"the last of {math.ceil(bound / spatial)} steps of {d} fills {bound % spatial} of {spatial}")
    return "; ".join(words)


def _rereads(layer: MacLayer, row: pd.Series, design: Accelerator) -> str:
    """Operands that cross the DRAM link more than once, in words."""
    word = word_bytes(layer, design)
    once = {"W": layer.weight_elements * word["W"], "I": layer.input_elements * word["I"]}
    words = []
    for x, name in (("W", "weight"), ("I", "input")):
        times = row[f"dram_{name}_bytes"] / once[x]
        if times > 1.05:
            words.append(f"{name}s are read {times:.1f} times from DRAM")
    if row["dram_output_read_bytes"]:
        words.append("unfinished sums go to DRAM and back")
    return "; ".join(words)


# ---------------------------------------------------------------------------------------------------------------------
# Advice.

_SHAPE = ("dataflow", "array shape", "wider PEs", "rows", "cols", "macs_per_pe", "weight_register_bytes",
          "input_register_bytes", "output_register_bytes")  # fmt: skip
_REMEDIES = {
    "spatial_loss": _SHAPE,
    "vector_stall": ("vector_lanes",),
    "buffer_stall": ("weight_buffer_width_bytes", "input_buffer_width_bytes", "output_buffer_width_bytes",
                     "buffer port", "weight_buffer_banks", "input_buffer_banks", "output_buffer_banks",
                     "separate_ports",
                     "weight_register_bytes", "input_register_bytes", "output_register_bytes", "dataflow"),
    "dram_stall": ("dram_gbps", "dram_channels", "weight_buffer_kib", "input_buffer_kib", "output_buffer_kib",
                   "double_buffered", "resident_activation_fraction", "resident_weights", "buffers"),
    "fill_drain": ("overlap_skew", "overlap_load", "interconnect", "dram_gbps", "dram_channels", "array shape"),
}  # fmt: skip
"""Cause -> parameters that can remove it."""


def _cause(part: str, row: pd.Series, base: Evaluation) -> str:
    """Why a layer loses the cycles of one part, in words."""
    share = f"{100 * row[f'{part}_cycles'] / row['cycles']:.0f} % of the time"
    if part == "spatial_loss":
        return f"idle PEs cost {share}" + (f" ({row['idle']})" if row["idle"] else "")
    if part == "dram_stall":
        again = row["rereads"] or "every word crosses once"
        return f"waiting for DRAM costs {share} ({again})"
    if part == "buffer_stall":
        held = buffer_groups(base.design.buffers)
        worst = row["bound"].removeprefix("buffer_")
        port = f" ({_port_words(base.design, worst)} buffer {worst})" if worst in held else ""
        return f"waiting for a buffer port costs {share}{port}"
    if part == "vector_stall":
        return f"waiting for the {base.design.vector_lanes} vector lanes costs {share}"
    return f"fill, drain and skew cost {share}"


def _port_words(design: Accelerator, operands: str) -> str:
    """What the port of a buffer does in a cycle."""
    width, banks = port_width_and_banks(design, operands)
    if design.port_model == "bytes":
        return f"{width:g} bytes a cycle into"
    return f"{banks} access{'es' if banks > 1 else ''} of {width / banks:g} bytes a cycle to"


def _sentence(cause: str, what: str, saved: float, whole: float, area: Sequence[float], where: str) -> str:
    """`area` [mm2]: what is added, with the DRAM interface and without."""
    added, core = area
    size = f"{added:+.3g} mm2" if added else "same area"
    size += "" if math.isclose(core, added, abs_tol=1e-9) else f", {core:+.3g} without the DRAM interface"
    cause = f"{cause}: " if cause else ""
    return f"{cause}{what} saves {saved:,.0f} cycles, {100 * saved / whole:.0f} % of {where} ({size})."


def _advice(
    layer: str, cause: str, where: str, change: Change, saved: float, whole: float, row: pd.Series, base: Evaluation
) -> Advice:
    """A change of the hardware that saves `saved` of `whole` cycles of `where`; `row` of `Explanation.sensitivity`."""
    area = float(row["area_mm2"]), float(row["core_area_mm2"])
    text = _sentence(cause, what(change.parameters, base.design), saved, whole, area, where)
    return Advice(layer, text, change.parameters, {}, float(saved), *area, float(row["energy_j"]))


def _layer_advice(
    base: Evaluation, table: pd.DataFrame, tried: Sequence[Change], found: pd.DataFrame, saved: np.ndarray
) -> list[Advice]:
    """For every cause of a layer's losses the least change of each remedy that saves nearly all that it can."""
    advice = []
    areas, usable = found["area_mm2"].to_numpy(), (found["direction"] != "step").to_numpy()
    for i, (_, row) in enumerate(table.iterrows()):
        if row["cycles"] == 0:  # parts that are written side by side cost nothing
            continue
        seen: set[str] = set()
        for part in sorted(_REMEDIES, key=lambda part: -row[f"{part}_cycles"]):
            if row[f"{part}_cycles"] < LEAST_SHARE * row["cycles"]:
                break
            remedies = [c.parameter in _REMEDIES[part] and c.parameter not in seen for c in tried]
            mine = np.where(usable & remedies, saved[:, i], np.nan)
            for j in most_saving(tried, mine, areas, LEAST_SHARE * row["cycles"])[:2]:
                seen.add(tried[j].parameter)
                cause = _cause(part, row, base)
                advice.append(
                    _advice(row["layer"], cause, "the layer", tried[j], mine[j], row["cycles"], found.loc[j], base)
                )
    return advice


def _edit_advice(base: Evaluation, table: pd.DataFrame, options: CostOptions) -> list[Advice]:
    """Layers whose channels end just above a step of the array: the next step down, evaluated."""
    advice = []
    known: dict[tuple, float] = {}
    first, last = _given_tensors(base.network)
    for layer, (_, row) in zip(base.network.layers, table.iterrows(), strict=True):
        if not isinstance(layer, MacLayer) or row["share"] < 0.002:
            continue
        mapping = base.mappings[layer.name]
        ours = ("K" if layer.output not in last else "", "C" if first.isdisjoint(layer.inputs) else "")
        for d in "".join(ours):
            step, bound = mapping.s(d), getattr(layer, d)
            if step < 2 or bound % step == 0 or bound < step or mapping.spatial_option(base.design).flatten_reduction:
                continue
            down = bound - bound % step
            key = (layer.shape_key, d, row["cycles"])
            if key not in known:
                edited = with_layer(base.network, layer.name, {d: down})
                cycles, _ = layer_cycles([base.design], edited, **options)
                at = [other.name for other in base.network.layers].index(layer.name)
                known[key] = row["cycles"] - cycles[0, at]
            if known[key] >= LEAST_SHARE * row["cycles"]:
                cause = (
                    f"{d}={bound} ends {bound % step} above a step of {step} (dse tune carries it through the graph)"
                )
                text = _sentence(
                    cause, f"{d} {down} instead of {bound}", known[key], row["cycles"], (0, 0), "the layer"
                )
                advice.append(Advice(layer.name, text, {}, {d: down}, float(known[key])))
    return advice


def _given_tensors(network: Network) -> tuple[set[str], set[str]]:
    """Tensors whose channels come with the network's inputs, and with its outputs, through vector layers or none."""
    made = {layer.output for layer in network.layers}
    read = {name for layer in network.layers for name in (*layer.inputs, getattr(layer, "fused_input", ""))}
    first, last = read - made - {""}, made - read - {""}
    for layer in network.layers:
        if not isinstance(layer, VectorLayer) or first.isdisjoint(layer.inputs):
            continue
        if layer.output_elements <= layer.input_elements:  # else it looks up a table by the input: rows of our own size
            first.add(layer.output)
    for layer in reversed(network.layers):
        if layer.output in last:
            last.update(layer.inputs if isinstance(layer, VectorLayer) else {layer.fused_input} - {""})
    return first, last


def _network_advice(base: Evaluation, tried: Sequence[Change], found: pd.DataFrame) -> list[Advice]:
    """The changes of one level that save most of the network's cycles, one of each parameter; most saved first."""
    saved = np.where(advisable(tried) & found["feasible"], found["saved_cycles"], np.nan)
    best = most_saving(tried, saved, found["area_mm2"].to_numpy(), LEAST_SHARE * base.cycles)
    return [
        _advice("", "", "the network", tried[j], saved[j], base.cycles, found.loc[j], base)
        for j in best[:MOST_FOR_THE_NETWORK]
    ]


def _reasons(base: Evaluation, table: pd.DataFrame) -> pd.DataFrame:
    """The table `Explanation.reasons`: layers by the part that costs each most beside its ideal cycles."""
    groups: dict[tuple[str, str], list[pd.Series]] = {}
    for _, row in table.sort_values("cycles", ascending=False, kind="stable").iterrows():
        if row["cycles"] == 0:
            continue
        worst = max(_REMEDIES, key=lambda part: row[f"{part}_cycles"])
        reason = worst if row[f"{worst}_cycles"] >= LEAST_REASON * row["cycles"] else "ideal"
        port = row["bound"].removeprefix("buffer_") if reason == "buffer_stall" else ""
        groups.setdefault((reason, port if port in buffer_groups(base.design.buffers) else ""), []).append(row)
    rows = []
    for (reason, port), layers in groups.items():
        cycles = sum(row["cycles"] for row in layers)
        detail = {"spatial_loss": "idle", "dram_stall": "rereads"}.get(reason)
        rows.append(
            {
                "reason": reason,
                "port": port,
                "layers": tuple(row["layer"] for row in layers),
                "cycles": cycles,
                "share": cycles / base.cycles,
                "lost_cycles": sum(row[f"{reason}_cycles"] for row in layers) if reason != "ideal" else 0.0,
                "notes": tuple(dict.fromkeys(row[detail] for row in layers if row[detail])) if detail else (),
            }
        )
    return pd.DataFrame(rows).sort_values("cycles", ascending=False, kind="stable", ignore_index=True)


def with_layer(network: Network, name: str, loop_bounds: Mapping[str, int]) -> Network:
    """The network with the loop bounds of one MAC layer changed, that layer alone, and its fused work in proportion."""
    changed = {layer.name: layer.resized(**loop_bounds) for layer in network.mac_layers if layer.name == name}
    return replace(network, layers=tuple(changed.get(layer.name, layer) for layer in network.layers))
