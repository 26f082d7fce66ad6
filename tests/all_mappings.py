"""Every integer mapping of a tiny layer, costed one by one: what no search may beat, and a complete one must reach.

Usage: python tests/all_mappings.py [pairs] [seed] [effort]     # 2,000 pairs of a design and a layer: about a minute

Enumerated are spatial factors of every loop on each axis (idle PEs too), lanes, register tiles of all loops, buffer
tiles of all loops, DRAM orders, stationary operands, spatial options and sets of bypasses; array loops in the default
order.  It shares nothing with the mapper: `kernels.evaluate_mapping` costs each mapping, and says whether it fits.
Prints pairs where the mapper (`effort` default or complete, see `benchmarks/mapper_access.py`) is better than that, or
the complete search worse.

The compiled loop is not cached on disk: numba would not notice an edit of the kernel.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from dse.costs import kernels as k
from dse.costs.kernel_rows import design_rows, layer_row, parameter_columns
from dse.costs.mapping import Mapping
from dse.hardware.accelerator import BUFFER_ARRANGEMENTS, OPERAND_NAMES, Accelerator, buffer_groups
from dse.hardware.dataflow import DATAFLOWS, DEFAULT_DATAFLOWS, Dataflow, SpatialOption
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import AS_THE_DESIGN, weight_form
from dse.networks.layers import MacLayer

OBJECTIVES = ("latency", "energy", "edp")
TECHNOLOGY = Technology()


@dataclass(frozen=True)
class Best:
    """The least of one objective over all mappings that fit."""

    cycles: float
    energy_pj: float
    mapping: Mapping


# ---------------------------------------------------------------------------------------------------------------------
# The enumeration.


@njit(nogil=True, error_model="numpy")
def _extent(layer, option, d):
    """Loop `d` as the array sees it: flattened, C stands for C, FY and FX."""
    if option[k.OPT_FLATTEN] > 0:
        if d == k.C:
            return layer[k.C] * layer[k.FY] * layer[k.FX]
        if d == k.FY or d == k.FX:
            return 1.0
    return layer[d]


@njit(nogil=True, error_model="numpy")
def _taps(layer, option, d):
    """Array elements for one element of a buffer tile of loop `d`."""
    return layer[k.FY] * layer[k.FX] if option[k.OPT_FLATTEN] > 0 and d == k.C else 1.0


@njit(nogil=True, error_model="numpy")
def _spatial(layer, design, option, factors, lanes, row):
    """Write spatial factors into `row`; False if they do not fit an axis or one of them does nothing."""
    for d in range(8):
        row[k.MAP_S + d] = 1.0
    row[k.MAP_S + k.C] = row[k.MAP_LANES] = lanes
    for axis in range(2):
        taken = 1.0
        for i in range(4):
            d = int(option[k.OPT_ROWS + 4 * axis + i])
            if d >= 0:
                taken *= factors[4 * axis + i]
                row[k.MAP_S + d] *= factors[4 * axis + i]
        if taken > design[k.ROWS + axis]:
            return False
    for slot in range(8):
        d = int(option[k.OPT_ROWS + slot])
        if d >= 0 and factors[slot] > np.ceil(_extent(layer, option, d) / (row[k.MAP_S + d] / factors[slot])):
            return False
    return True


@njit(nogil=True, error_model="numpy")
def _next(numbers, least, most):
    """Advance an odometer; False after its last state."""
    for i in range(numbers.shape[0]):
        if numbers[i] < most[i]:
            numbers[i] += 1
            return True
        numbers[i] = least[i]
    return False


@njit(nogil=True, error_model="numpy")
def _tiles(layer, option, row, least, most):
    """Bounds of buffer tiles that hold the register tile; returns how many tiles there are."""
    count = 1.0
    for d in range(8):
        most[d] = layer[d]
        piece = (row[k.MAP_R + d] - 1) * row[k.MAP_S + d]  # of more than this many elements
        least[d] = np.floor(piece / _taps(layer, option, d)) + 1
        if option[k.OPT_FLATTEN] > 0 and (d == k.FY or d == k.FX):
            least[d] = layer[d]  # flattened, the filter is whole
        count *= most[d] - least[d] + 1
    return count


@njit(nogil=True, error_model="numpy")
def _keep(row, out, limit, best, costs):
    """Keep the mapping for each objective that it is the best of; equal ones by cycles, then by energy."""
    cycles, energy = out[k.CYCLES], out[k.ENERGY_PJ]
    for objective in range(3):
        value = cycles if objective == 0 else (energy if objective == 1 else cycles * energy)
        second = energy if objective == 0 else cycles
        if objective == 1 and cycles > limit:
            continue
        if value < costs[objective, 0] or (value == costs[objective, 0] and second < costs[objective, 1]):
            costs[objective, 0], costs[objective, 1] = value, second
            costs[objective, 2], costs[objective, 3] = cycles, energy
            for i in range(k.N_MAP):
                best[objective, i] = row[i]


@njit(nogil=True, error_model="numpy")
def _inside(layer, design, options, o, variant, orders, limit, count_only, row, best, costs):
    """All buffer tiles, orders and bypasses of one register tile; returns how many mappings these are, and fit."""
    option = options[o]
    least, most, out = np.ones(8), np.ones(8), np.zeros(k.N_RESULT)
    allowed = int(design[k.BYPASS])
    sets = 0
    for bypass in range(8):
        sets += bypass & ~allowed == 0
    count, fit = _tiles(layer, option, row, least, most) * orders * sets, 0.0
    if count_only:
        return count, fit
    tile = least.copy()
    while True:
        for d in range(8):
            row[k.MAP_T + d] = tile[d]
        for bypass in range(8):
            if bypass & ~allowed:
                continue
            row[k.MAP_BYPASS] = bypass
            for order in range(orders):
                row[k.MAP_DRAM_ORDER] = order
                k.evaluate_mapping(layer, design, option, row, variant, out)
                if out[k.OVERFLOW] == 0:
                    fit += 1
                    _keep(row, out, limit, best, costs)
        if not _next(tile, least, most):
            break
    return count, fit


@njit(nogil=True, error_model="numpy")
def _enumerate(layer, design, options, variant, orders, limit, count_only, best, costs):
    """Walk over all mappings; returns how many there are (registers fit), and how many of them fit the buffers."""
    row, ones, most = np.zeros(k.N_MAP), np.ones(8), np.ones(8)
    count, fit = 0.0, 0.0
    first = int(design[k.OPTION_FIRST])
    for o in range(first, first + int(design[k.OPTION_COUNT])):
        option = options[o]
        row[k.MAP_OPTION] = o - first
        for lanes in range(1, int(min(design[k.LANES], _extent(layer, option, k.C))) + 1):
            factors, widest = np.ones(8), np.ones(8)
            for slot in range(8):
                d = int(option[k.OPT_ROWS + slot])
                if d >= 0:
                    widest[slot] = min(_extent(layer, option, d), design[k.ROWS + slot // 4])
            while True:
                if _spatial(layer, design, option, factors, lanes, row):
                    for d in range(8):
                        most[d] = np.ceil(_extent(layer, option, d) / row[k.MAP_S + d])
                    for stationary in range(3):
                        if option[k.OPT_W + stationary] == 0:
                            continue
                        row[k.MAP_STATIONARY] = stationary
                        register = np.ones(8)
                        while True:
                            for d in range(8):
                                row[k.MAP_R + d] = register[d]
                            if k.register_overflow(layer, design, option, row) <= 0:
                                n, n_fit = _inside(
                                    layer, design, options, o, variant, orders, limit, count_only, row, best, costs
                                )
                                count, fit = count + n, fit + n_fit
                            if not _next(register, ones, most):
                                break
                if not _next(factors, ones, widest):
                    break
    return count, fit


def numbers_of(
    layer: MacLayer, design: Accelerator, technology: Technology = TECHNOLOGY
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Layer row, design row and option rows of the kernel."""
    rows, options = design_rows(parameter_columns(design), technology, forms=(AS_THE_DESIGN, weight_form(layer)))
    return layer_row(layer), rows[0, k.N_DESIGN :], options


def count_mappings(layer: MacLayer, design: Accelerator) -> float:
    """How many mappings `every_mapping` would cost [1]."""
    best, costs = np.zeros((3, k.N_MAP)), np.full((3, 4), np.inf)
    return _enumerate(*numbers_of(layer, design), 0, 3, np.inf, True, best, costs)[0]


def every_mapping(
    layer: MacLayer,
    design: Accelerator,
    variant: int = 0,
    orders: int = 3,
    limit_cycles: float = np.inf,
    technology: Technology = TECHNOLOGY,
) -> dict[str, Best]:
    """The best of all mappings by objective; empty where none fits.

    `variant`: residency bits of the kernel; `orders`: the first 3 or all 6; `limit_cycles`: the best by energy takes
    at most so many.
    """
    best, costs = np.zeros((3, k.N_MAP)), np.full((3, 4), np.inf)
    _, fit = _enumerate(*numbers_of(layer, design, technology), variant, orders, limit_cycles, False, best, costs)
    if not fit:
        return {}
    found = zip(OBJECTIVES, costs, best, strict=True)
    return {name: Best(cost[2], cost[3], Mapping.from_row(row)) for name, cost, row in found if np.isfinite(cost[0])}


# ---------------------------------------------------------------------------------------------------------------------
# Random pairs.

OWN_DATAFLOWS = (
    Dataflow("wide", (SpatialOption(("C", "OY"), ("K", "OX", "B"), ("W", "I", "O")),)),
    Dataflow("taps", (SpatialOption(("FY", "FX"), ("OX", "K"), ("W", "O"), forwards_inputs=True),)),
    Dataflow("im2col", (SpatialOption(("C",), ("K", "OX"), ("O", "I"), flatten_reduction=True),)),
    Dataflow("groups", (SpatialOption(("G", "C"), ("G", "K"), ("W", "O")),)),
    Dataflow("two", (SpatialOption(("C",), ("K", "G"), ("W",)), SpatialOption(("OX",), ("K",), ("I",)))),
)
KINDS = {
    "conv": ("OX", "FX", "K", "C", "OY", "FY"),
    "line": ("OX", "FX", "C", "K", "B"),
    "product": ("OX", "C", "K", "B"),
    "depthwise": ("G", "OX", "FX", "OY", "FY"),
    "grouped": ("G", "K", "C", "OX", "FX"),
}


def random_layer(rng: np.random.Generator) -> MacLayer:
    """A layer of loop bounds 1 to 6, any stride, dilation and padding."""
    kind = str(rng.choice(list(KINDS)))
    loops = {}
    for d in KINDS[kind]:
        most = {"FX": 4, "FY": 3, "B": 3, "G": 4, "OY": 4}.get(d, 6)
        loops[d] = int(rng.integers(1, most + 1)) if rng.random() < 0.8 else 1
    geometry = {}
    for axis in "yx":
        o, f = loops.get(f"O{axis.upper()}", 1), loops.get(f"F{axis.upper()}", 1)
        stride, dilation = int(rng.choice((1, 1, 2, 3))), int(rng.choice((1, 1, 2)))
        span = (o - 1) * stride + (f - 1) * dilation + 1
        most = min(int(rng.choice((1, 2, 8))), span - 1)  # causal layers pad by all taps but one
        pad = int(rng.integers(0, most + 1)) if rng.random() < 0.5 else 0
        geometry |= {f"stride_{axis}": stride, f"dilation_{axis}": dilation, f"pad_{axis}": pad}
        size = max(1, span - pad - int(rng.choice((0, 1, pad))) * (f > 1))
        met = {i * stride + j * dilation - pad for i in range(o) for j in range(f)}
        if not any(0 <= p < size for p in met):
            geometry[f"pad_{axis}"], size = 0, span
        geometry[f"I{axis.upper()}"] = size
    return MacLayer(
        "tiny", **loops, **geometry, static_weights=bool(rng.random() < 0.8),
        vector_operations=int(rng.choice((0, 0, 0, 9, 200))), fused_input_elements=int(rng.choice((0, 0, 0, 11))),
    )  # fmt: skip


def random_design(rng: np.random.Generator, plain: bool = False) -> Accelerator:
    """A design of up to 4 x 4 x 4 multipliers, registers of a few words, buffers of some dozen bytes.

    `plain`: of the kind that the default space holds (double-buffered, skew overlapped, 8 bits, no bypass).
    """

    def one(*values):
        return values[int(rng.integers(len(values)))]

    def subset():
        return "".join(x for x in "WIO" if rng.random() < 0.5)

    flows = [DATAFLOWS[name] for name in DEFAULT_DATAFLOWS]
    values: dict = {"rows": one(1, 2, 3, 4), "cols": one(1, 2, 3, 4), "macs_per_pe": one(1, 1, 2, 3, 4)}
    values["dataflow"] = one(*flows, *flows, *OWN_DATAFLOWS)
    values["interconnect"] = one("broadcast", "broadcast", "systolic")
    values["buffers"] = one(*BUFFER_ARRANGEMENTS)
    for x in OPERAND_NAMES.values():
        values[f"{x}_register_bytes"] = one(1, 2, 3, 4, 6) * (4 if x == "output" else 1)
        values[f"{x}_buffer_kib"] = float(rng.integers(3, one(24, 60, 200))) / 1024
        values[f"{x}_buffer_width_bytes"] = one(1, 2, 3, 8)
        values[f"{x}_buffer_banks"] = 1
    for operands in buffer_groups(values["buffers"]):  # at least one word of the port
        shares = [OPERAND_NAMES[x] for x in operands]
        least = sum(values[f"{x}_buffer_width_bytes"] for x in shares) / 1024
        values[f"{shares[0]}_buffer_kib"] = max(values[f"{shares[0]}_buffer_kib"], least)
    values |= {"dram_gbps": one(0.3, 1, 2, 5, 30), "vector_lanes": one(1, 4, 16)}
    if not plain and rng.random() < 0.6:
        values |= {
            "overlap_skew": one(True, False), "overlap_load": one(True, False), "double_buffered": one("WIO", subset()),
            "bypass": one("", subset()), "buffets": one("", subset()), "padded_tiles": one("", "", subset()),
            "reload_every_tile": one(False, False, True), "feature_map_compression": one(1.0, 0.4),
            "weight_bits": one(4, 8, 16), "activation_bits": one(8, 16), "accumulator_bits": one(16, 32),
            "resident_activation_fraction": one(0.0, 0.25), "clock_ghz": one(1.0, 0.7),
        }  # fmt: skip
    return Accelerator(**values)


def random_pair(
    rng: np.random.Generator, most: float = 1e6, plain: bool = False
) -> tuple[MacLayer, Accelerator, int, float]:
    """A layer, a design, residency bits, and how many mappings there are: at most `most`, of all magnitudes from 20."""
    least = 10 ** rng.uniform(np.log10(20), np.log10(most / 10))
    while True:
        layer, design = random_layer(rng), random_design(rng, plain)
        count = count_mappings(layer, design)
        if least <= count <= most:
            return layer, design, int(rng.integers(16)) if rng.random() < 0.3 else 0, count


# ---------------------------------------------------------------------------------------------------------------------
# Against the mapper.


def value_of(objective: str, cycles: float, energy_pj: float) -> float:
    """What an objective minimises."""
    return {"latency": cycles, "energy": energy_pj, "edp": cycles * energy_pj}[objective]


def main(pairs: str = "2000", seed: str = "0", effort: str = "default") -> None:
    """Compare the mapper with all mappings; print where it differs and a summary by objective."""
    sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
    from mapper_access import best_mapping

    rng, start, mappings, nothing = np.random.default_rng(int(seed)), time.perf_counter(), 0.0, 0
    ratios: dict[str, list[float]] = {name: [] for name in OBJECTIVES}
    for pair in range(int(pairs)):
        layer, design, variant, count = random_pair(rng)
        mappings += count
        every = every_mapping(layer, design, variant)
        if not every:
            nothing += 1
        for objective in OBJECTIVES:
            found = best_mapping(design, layer, effort, objective, variant=variant)
            if not every or found.overflow > 0:
                if every or found.overflow == 0:
                    print(f"pair {pair} {objective}: overflow {found.overflow}, but all mappings: {len(every)}")
                    ratios[objective].append(np.inf)
                continue
            least = every[objective]
            ratio = value_of(objective, found.cycles, found.energy_pj) / value_of(
                objective, least.cycles, least.energy_pj
            )
            ratios[objective].append(ratio)
            if ratio < 1 - 1e-12 or (ratio > 1 + 1e-12 and effort == "complete"):
                print(f"pair {pair} {objective} {ratio:.6f}\n  {layer}\n  {design}\n  variant {variant}\n"
                      f"  found {found.mapping}\n  least {least.mapping}")  # fmt: skip
    print(f"{pairs} pairs, seed {seed}, {effort}: {mappings:.3g} mappings, {time.perf_counter() - start:.0f} s, "
          f"{nothing} pairs where nothing fits")  # fmt: skip
    for objective, of in ratios.items():
        r = np.array(of)
        finite = r[np.isfinite(r)]
        print(f"  {objective:8s} worse by > 1e-12: {(r > 1 + 1e-12).mean():7.2%}, > 0.1 %: {(r > 1.001).mean():7.2%}, "
              f"> 1 %: {(r > 1.01).mean():7.2%}; mean {finite.mean() - 1:.3%}, worst {finite.max():.3f} x; "
              f"falsely infeasible {np.isinf(r).sum()}; better than all: {(r < 1 - 1e-12).sum()}")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
