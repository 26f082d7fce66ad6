"""Why a design takes the time it takes for a network, and which change buys how much.

Nothing here is a rule of thumb: every number that an `Advice` promises is the difference of two evaluations of
the model, the second with the change made.  `Advice.apply` makes the change, so that anyone can check it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import pandas as pd

from dse.costs import kernels as k
from dse.costs.batches import layer_cycles
from dse.costs.evaluation import Evaluation, evaluate
from dse.costs.kernel_rows import DEFAULT_SLACK, CostOptions, parameter_columns
from dse.costs.results import ENERGY_PARTS, WATERFALL
from dse.costs.traffic import port_width_and_banks
from dse.hardware.accelerator import BUFFER_ARRANGEMENTS, PARAMETERS, Accelerator, buffer_groups
from dse.hardware.area import area_blocks_mm2, core_area_mm2, sum_blocks
from dse.hardware.technology import Technology, technology_or_default
from dse.networks.layers import OPERANDS, MacLayer, Network, VectorLayer

FIXED = ("feature_map_compression", "weight_bits", "activation_bits", "accumulator_bits")
"""Numbers that are varied for the sensitivities but never advised: they change the data, not the machine."""

LEAST_SHARE = 0.02
"""Least share of a layer's (or the network's) cycles that an advice must save [1]: above the mapper's slack."""

STEP = 0.01
"""Relative step of the finite differences of parameters that need not be whole [1]."""


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
    """

    layer: str
    sentence: str
    parameters: Mapping[str, object]
    loop_bounds: Mapping[str, int]
    saved_cycles: float
    area_mm2: float = 0.0
    core_area_mm2: float = 0.0

    def apply(self, design: Accelerator, network: Network) -> tuple[Accelerator, Network]:
        """Design and network with the change made."""
        if not self.loop_bounds:
            return design.with_parameters(self.parameters), network
        return design, with_layer(network, self.layer, self.loop_bounds)


@dataclass(frozen=True)
class Explanation:
    """What `explain` found.

    Attributes
    ----------
    evaluation : the design on the network.
    layers : one row a layer, all repeats together: cycles and their parts (which sum to them exactly), share of the
        time, utilisation, bound, MACs per DRAM byte, energy by level [pJ], idle hardware and re-reads in words.
    sensitivity : one row for every changed parameter: ``parameter, direction`` (``up``, ``down``, ``more``,
        ``choice`` or ``step``), ``value``, ``cycles``, ``saved_cycles``, ``area_mm2`` (added), ``core_area_mm2``
        (added, without the DRAM interface), ``energy_j`` (added), ``elasticity`` (relative change of the latency [s] /
        relative change of the parameter; NaN for choices), ``feasible``.
    layer_saved : cycles saved in each layer by each row of `sensitivity`, (n_changes, n_layers); NaN where infeasible.
    advice : by layer in order of time, most saved first; then the network's.
    """

    evaluation: Evaluation
    layers: pd.DataFrame
    sensitivity: pd.DataFrame
    layer_saved: np.ndarray
    advice: tuple[Advice, ...]


@dataclass(frozen=True)
class Change:
    """Parameters changed together; `direction` as in `Explanation.sensitivity`."""

    parameter: str
    direction: str
    parameters: Mapping[str, object]

    @property
    def value(self) -> object:
        """The new value; of several parameters the one that names the change, or all as text."""
        return self.parameters.get(self.parameter, ", ".join(f"{n}={v}" for n, v in self.parameters.items()))


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
    designs = [design.with_parameters(change.parameters) for change in tried]
    cycles, totals = layer_cycles([design, *designs], base.network, **options)
    saved = cycles[0] - cycles[1:]
    saved[totals[1:, k.OVERFLOW] > 0] = np.nan
    sensitivity = _sensitivity(base, tried, designs, totals[1:])
    table = layer_table(base)
    advice = _layer_advice(base, table, tried, sensitivity, saved)
    advice += _edit_advice(base, table, options)
    order = {name: i for i, name in enumerate(table.sort_values("cycles", ascending=False, kind="stable")["layer"])}
    advice.sort(key=lambda a: (order[a.layer], -a.saved_cycles))
    advice += _network_advice(base, tried, sensitivity)
    return Explanation(base, table, sensitivity, saved, tuple(advice))


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
    if mapping.lanes < design.macs_per_pe:
        words.append(
            f"C={layer.C} leaves {design.macs_per_pe - mapping.lanes} of {design.macs_per_pe} multipliers of a PE idle"
        )
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
    word = {"W": design.weight_bits if layer.static_weights else design.activation_bits, "I": design.activation_bits}
    once = {"W": layer.weight_elements * word["W"] / 8, "I": layer.input_elements * word["I"] / 8}
    words = []
    for x, name in (("W", "weight"), ("I", "input")):
        times = row[f"dram_{name}_bytes"] / once[x]
        if times > 1.05:
            words.append(f"{name}s are read {times:.1f} times from DRAM")
    if row["dram_output_read_bytes"]:
        words.append("unfinished sums go to DRAM and back")
    return "; ".join(words)


# ---------------------------------------------------------------------------------------------------------------------
# Changes of the hardware.


def changes(design: Accelerator) -> list[Change]:
    """Every change that `explain` tries: a level up and down of each number, each choice, steps, and larger steps."""
    found: list[Change] = []
    numbers = [p.name for kind in ("count", "positive", "share") for p in PARAMETERS.values() if p.kind == kind]
    numbers.remove("dram_gbps" if design.dram_type else "dram_channels")  # of both the one that sets the bandwidth
    for name in numbers:
        up, down = neighbours(design, name)
        found += [Change(name, "up", {name: up}), Change(name, "down", {name: down})]
        value = getattr(design, name)
        step = value + 1 if PARAMETERS[name].kind == "count" else value * (1 + STEP)
        found.append(Change(name, "step", {name: step}))
        if name.endswith(("_buffer_kib", "_width_bytes")) or name in ("dram_gbps", "dram_channels", "vector_lanes"):
            found += [Change(name, "more", {name: value * factor}) for factor in (4, 16)]
    reshaped = {"rows": design.rows * 2, "cols": design.cols // 2}, {"rows": design.rows // 2, "cols": design.cols * 2}
    found += [Change("array shape", "choice", shape) for shape in reshaped if 0 not in shape.values()]
    wide = {"macs_per_pe": design.macs_per_pe * 2}
    wide |= {f"{x}_register_bytes": getattr(design, f"{x}_register_bytes") * 2 for x in ("weight", "input")}
    found.append(Change("wider PEs", "choice", wide))
    dataflows = [name for name in PARAMETERS["dataflow"].levels if name != str(design.dataflow)]
    found += [Change("dataflow", "choice", {"dataflow": name}) for name in dataflows]
    arrangements = [name for name in BUFFER_ARRANGEMENTS if name != design.buffers]
    found += [Change("buffers", "choice", {"buffers": name}) for name in arrangements]
    found.append(Change("resident_weights", "choice", {"resident_weights": not design.resident_weights}))
    other = {"broadcast": "systolic", "systolic": "broadcast"}[design.interconnect]
    found.append(Change("interconnect", "choice", {"interconnect": other}))
    hides = "overlap_skew" if design.interconnect == "systolic" else "overlap_load"
    found.append(Change(hides, "choice", {hides: not getattr(design, hides)}))
    if set(design.separate_ports) != set(OPERANDS):
        found.append(Change("separate_ports", "choice", {"separate_ports": "WIO"}))
    if set(design.double_buffered) != set(OPERANDS):
        found.append(Change("double_buffered", "choice", {"double_buffered": "WIO"}))
    return [change for change in _distinct(found) if _legal(design, change)]


def neighbours(design: Accelerator, name: str) -> tuple[float, float]:
    """Next level of a number up and down: of the default space, beyond it (or where it has none) twice and half.

    Half of a whole number is rounded down, but not below 1.
    """
    value = getattr(design, name)
    levels = PARAMETERS[name].levels
    up = min((x for x in levels if x > value), default=value * 2)
    down = max(
        (x for x in levels if x < value), default=max(value // 2, 1) if PARAMETERS[name].kind == "count" else value / 2
    )
    return up, down


def _distinct(found: Iterable[Change]) -> list[Change]:
    seen, kept = set(), []
    for change in found:
        key = tuple(change.parameters.items()), change.direction == "step"
        if key not in seen:
            seen.add(key)
            kept.append(change)
    return kept


def _legal(design: Accelerator, change: Change) -> bool:
    try:
        return design.with_parameters(change.parameters) != design
    except ValueError:
        return False


def _sensitivity(
    base: Evaluation, tried: Sequence[Change], designs: Sequence[Accelerator], totals: np.ndarray
) -> pd.DataFrame:
    """The table `Explanation.sensitivity`."""
    rows = []
    for change, design, total in zip(tried, designs, totals, strict=True):
        latency_s = total[k.CYCLES] / (design.clock_ghz * 1e9)
        old, new = getattr(base.design, change.parameter, None), change.parameters.get(change.parameter)
        elasticity = math.nan
        if change.direction != "choice" and isinstance(old, Real) and isinstance(new, Real) and old:
            elasticity = (latency_s / base.latency_s - 1) / (float(new) / float(old) - 1)
        blocks = area_blocks_mm2(parameter_columns(design), base.technology)
        added = float(sum_blocks(blocks)[0]) - base.area_mm2
        rows.append(
            {
                "parameter": change.parameter,
                "direction": change.direction,
                "value": change.value,
                "cycles": total[k.CYCLES],
                "saved_cycles": base.cycles - total[k.CYCLES],
                "latency_s": latency_s,
                "area_mm2": added,
                "core_area_mm2": float(core_area_mm2(blocks)[0]) - base.core_area_mm2,
                "energy_j": total[k.ENERGY_PJ] * 1e-12 - base.energy_j,
                "elasticity": elasticity,
                "feasible": bool(total[k.OVERFLOW] == 0),
            }
        )
    return pd.DataFrame(rows)


# ---------------------------------------------------------------------------------------------------------------------
# Advice.

_SHAPE = ("dataflow", "array shape", "wider PEs", "rows", "cols", "macs_per_pe", "weight_register_bytes",
          "input_register_bytes", "output_register_bytes")  # fmt: skip
_REMEDIES = {
    "spatial_loss": _SHAPE,
    "vector_stall": ("vector_lanes",),
    "buffer_stall": ("weight_buffer_width_bytes", "input_buffer_width_bytes", "output_buffer_width_bytes",
                     "weight_buffer_banks", "input_buffer_banks", "output_buffer_banks", "separate_ports",
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


def _what(change: Change, design: Accelerator) -> str:
    """The change in words: ``weight_buffer_kib 128 instead of 64``."""
    return " and ".join(f"{n} {v:g} instead of {getattr(design, n):g}" if isinstance(v, int | float)
                        and not isinstance(v, bool) else f"{n} {v} instead of {getattr(design, n) or 'none'}"
                        for n, v in change.parameters.items())  # fmt: skip


def _sentence(cause: str, what: str, saved: float, whole: float, area: Sequence[float], where: str) -> str:
    """`area` [mm2]: what is added, with the DRAM interface and without."""
    added, core = area
    size = f"{added:+.3g} mm2" if added else "same area"
    size += "" if math.isclose(core, added, abs_tol=1e-9) else f", {core:+.3g} without the DRAM interface"
    return f"{cause}: {what} saves {saved:,.0f} cycles, {100 * saved / whole:.0f} % of {where} ({size})."


def _layer_advice(
    base: Evaluation, table: pd.DataFrame, tried: Sequence[Change], sensitivity: pd.DataFrame, saved: np.ndarray
) -> list[Advice]:
    """For every cause of a layer's losses the least change of each remedy that saves nearly all that it can."""
    advice = []
    areas, both = sensitivity["area_mm2"].to_numpy(), sensitivity[["area_mm2", "core_area_mm2"]].to_numpy(float)
    usable = (sensitivity["direction"] != "step").to_numpy()
    for i, (_, row) in enumerate(table.iterrows()):
        if row["cycles"] == 0:  # parts that are written side by side cost nothing
            continue
        seen: set[str] = set()
        for part in sorted(_REMEDIES, key=lambda part: -row[f"{part}_cycles"]):
            if row[f"{part}_cycles"] < LEAST_SHARE * row["cycles"]:
                break
            best = []
            for parameter in _REMEDIES[part]:
                mine = [
                    j
                    for j, change in enumerate(tried)
                    if change.parameter == parameter and usable[j] and saved[j, i] >= LEAST_SHARE * row["cycles"]
                ]
                if mine and parameter not in seen:
                    most = max(saved[j, i] for j in mine)
                    best.append(min((j for j in mine if saved[j, i] >= 0.9 * most), key=lambda j: areas[j]))
            for j in sorted(best, key=lambda j: -saved[j, i])[:2]:
                seen.add(tried[j].parameter)
                words = (_cause(part, row, base), _what(tried[j], base.design))
                text = _sentence(*words, saved[j, i], row["cycles"], both[j], "the layer")
                gain = float(saved[j, i]), *both[j].tolist()
                advice.append(Advice(row["layer"], text, tried[j].parameters, {}, *gain))
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


def _network_advice(base: Evaluation, tried: Sequence[Change], sensitivity: pd.DataFrame) -> list[Advice]:
    """Of each parameter the change that saves most of the network's cycles for its area; most saved first."""
    advice = []
    ok = sensitivity["feasible"] & sensitivity["direction"].isin(["up", "choice", "more", "down"])
    ok &= ~sensitivity["parameter"].isin([*FIXED, "clock_ghz"])
    for _, group in sensitivity[ok & (sensitivity["saved_cycles"] >= LEAST_SHARE * base.cycles)].groupby("parameter"):
        most = group["saved_cycles"].max()
        j = group[group["saved_cycles"] >= 0.9 * most]["area_mm2"].idxmin()
        saved, *area = (float(sensitivity.loc[j, name]) for name in ("saved_cycles", "area_mm2", "core_area_mm2"))
        text = _sentence("network", _what(tried[j], base.design), saved, base.cycles, area, "the network")
        advice.append(Advice("", text, tried[j].parameters, {}, saved, *area))
    return sorted(advice, key=lambda a: -a.saved_cycles)


def with_layer(network: Network, name: str, loop_bounds: Mapping[str, int]) -> Network:
    """The network with the loop bounds of one MAC layer changed, that layer alone, and its fused work in proportion."""
    changed = {layer.name: layer.resized(**loop_bounds) for layer in network.mac_layers if layer.name == name}
    return replace(network, layers=tuple(changed.get(layer.name, layer) for layer in network.layers))
