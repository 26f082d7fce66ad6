"""Changes of a design, one at a time: what is tried, what each does to the whole network, and which buy most of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd

from dse.costs import kernels as k
from dse.costs.evaluation import Evaluation
from dse.costs.kernel_rows import parameter_columns
from dse.hardware.accelerator import BUFFER_ARRANGEMENTS, OPERAND_NAMES, PARAMETERS, Accelerator, buffer_groups
from dse.hardware.area import area_blocks_mm2, core_area_mm2, sum_blocks
from dse.networks.layers import OPERANDS

FIXED = ("feature_map_compression", "weight_bits", "activation_bits", "accumulator_bits")
"""Numbers that are varied for the sensitivities but never advised: they change the data, not the machine."""

LEAST_SHARE = 0.02
"""Least share of a layer's (or the network's) cycles that an advice must save [1]: above the mapper's slack."""

LEAST_REASON = 0.1
"""Least share of a layer's cycles that is lost to one cause, for the cause to be the layer's reason [1]."""

MOST_FOR_THE_NETWORK = 5
"""Changes of the design that are advised for the whole network."""

ONE_LEVEL = ("up", "down", "choice")
"""Directions of the changes that are advised for the network or for layers with one reason: steps a designer makes."""

STEP = 0.01
"""Relative step of the finite differences of parameters that need not be whole [1]."""


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
    for operands in buffer_groups(design.buffers):
        if len(operands) > 1:  # else a level up of its width
            widths = [f"{OPERAND_NAMES[x]}_buffer_width_bytes" for x in operands]
            found.append(Change("buffer port", "choice", {name: getattr(design, name) * 2 for name in widths}))
    feed = "dram_channels" if design.dram_type else "dram_gbps"
    fed = {"cols": neighbours(design, "cols")[0], feed: neighbours(design, feed)[0]}
    found.append(Change("array and DRAM", "choice", fed))
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


def sensitivity(base: Evaluation, tried: Sequence[Change], totals: np.ndarray) -> pd.DataFrame:
    """The table `Explanation.sensitivity` of the changes, from their kernel totals (n_changes, N_RESULT)."""
    rows = []
    for change, total in zip(tried, totals, strict=True):
        design = base.design.with_parameters(change.parameters)
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


def what(parameters: Mapping[str, object], design: Accelerator) -> str:
    """A change in words: ``weight_buffer_kib 128 instead of 64``."""
    return " and ".join(f"{n} {v:g} instead of {getattr(design, n):g}" if isinstance(v, int | float)
                        and not isinstance(v, bool) else f"{n} {v} instead of {getattr(design, n) or 'none'}"
                        for n, v in parameters.items())  # fmt: skip


def advisable(tried: Sequence[Change]) -> np.ndarray:
    """Which changes may be advised for a whole network, (n_changes,): one level of the machine, not of its data."""
    return np.array([c.direction in ONE_LEVEL and c.parameter not in (*FIXED, "clock_ghz") for c in tried], dtype=bool)


def most_saving(tried: Sequence[Change], saved: np.ndarray, area_mm2: np.ndarray, least: float) -> list[int]:
    """Of each parameter the smallest change that saves nearly all that one of it can; most saved first.

    A joint change that saves no more than a part of it does is left out.

    Parameters
    ----------
    saved : cycles that each change saves, (n_changes,), NaN where it is not to be taken.
    area_mm2 : what each adds [mm2].
    least : cycles that a change has to save.
    """
    best = []
    for parameter in dict.fromkeys(change.parameter for change in tried):
        mine = [j for j, c in enumerate(tried) if c.parameter == parameter and saved[j] >= least]
        if mine:
            most = max(saved[j] for j in mine)
            best.append(min((j for j in mine if saved[j] >= 0.9 * most), key=lambda j: area_mm2[j]))
    parts = [{(name, str(value)) for name, value in change.parameters.items()} for change in tried]
    vain = {j for j in best for i in range(len(tried)) if parts[i] < parts[j] and saved[i] >= saved[j]}
    return sorted(set(best) - vain, key=lambda j: -saved[j])
