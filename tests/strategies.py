"""Random small layers, designs and mappings, and the bridge from named quantities to columns of the kernel."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from dse.costs import kernels as k
from dse.costs.formulas import BOUNDS, RESIDENT
from dse.costs.kernel_rows import EFFORTS, design_rows, layer_row, mapper_mode, option_rows, parameter_columns
from dse.costs.mapping import DRAM_ORDERS, GROUPS, Mapping
from dse.costs.traffic import overflow
from dse.hardware.accelerator import (
    BUFFER_ARRANGEMENTS,
    OPERAND_NAMES,
    PORT_MODELS,
    SPARSE_WEIGHTS,
    Accelerator,
    buffer_groups,
)
from dse.hardware.dataflow import DATAFLOWS, Dataflow, SpatialOption, places_taken
from dse.hardware.dram_types import DramType
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import AS_THE_DESIGN, weight_form
from dse.networks.layers import LOOPS, MacLayer

TECHNOLOGY = replace(Technology(), clock_gating_share=0.3, io_idle_w=0.02, vdd_v=0.9)
"""Where every term of the energy counts."""

OWN_DRAM = DramType("made up", channel_gbps=4, pj_per_bit=3, background_w_per_channel=2)

RESULT_COLUMNS = {
    "cycles": k.CYCLES, "energy_pj": k.ENERGY_PJ, "ideal_cycles": k.IDEAL, "spatial_loss_cycles": k.SPATIAL_LOSS,
    "vector_stall_cycles": k.VECTOR_STALL, "buffer_stall_cycles": k.BUFFER_STALL, "dram_stall_cycles": k.DRAM_STALL,
    "fill_drain_cycles": k.FILL_DRAIN, "overflow": k.OVERFLOW, "dram_w": k.DRAM_W, "dram_i": k.DRAM_I,
    "dram_o_read": k.DRAM_O_READ, "dram_o_write": k.DRAM_O_WRITE, "dram_fused": k.DRAM_FUSED,
    "buffer_w_read": k.BUFFER_W_READ, "buffer_w_write": k.BUFFER_W_WRITE, "buffer_i_read": k.BUFFER_I_READ,
    "buffer_i_write": k.BUFFER_I_WRITE, "buffer_o_read": k.BUFFER_O_READ, "buffer_o_write": k.BUFFER_O_WRITE,
    "line_w_read": k.LINES_W_READ, "line_w_write": k.LINES_W_WRITE, "line_i_read": k.LINES_I_READ,
    "line_i_write": k.LINES_I_WRITE, "line_o_read": k.LINES_O_READ, "line_o_write": k.LINES_O_WRITE,
    "array_w": k.ARRAY_W, "array_i": k.ARRAY_I, "array_o_read": k.ARRAY_O_READ, "array_o_write": k.ARRAY_O_WRITE,
    "register_w": k.REGISTER_W, "register_i": k.REGISTER_I, "register_o": k.REGISTER_O, "mac_pj": k.PJ_TOTAL_MAC,
    "register_pj": k.PJ_TOTAL_REGISTER, "interconnect_pj": k.PJ_TOTAL_INTERCONNECT, "buffer_pj": k.PJ_TOTAL_BUFFER,
    "dram_pj": k.PJ_TOTAL_DRAM, "vector_pj": k.PJ_TOTAL_VECTOR,
    "clock_pj": k.PJ_TOTAL_CLOCK, "io_pj": k.PJ_TOTAL_IO, "leakage_pj": k.PJ_TOTAL_LEAKAGE, "folds": k.FOLDS,
    "array_cycles": k.ARRAY_CYCLES, "port_0": k.PORT_0, "port_1": k.PORT_1, "port_2": k.PORT_2,
    "dram_cycles": k.DRAM_CYCLES, "vector_cycles": k.VECTOR_CYCLES, "macs": k.MACS, "skew_cycles": k.SKEW,
    "load_cycles": k.LOAD,
    "bound_cycles": k.BOUND_CYCLES, "bound_pj": k.BOUND_PJ,
}  # fmt: skip
"""Kernel column of each quantity of `dse.costs.formulas`; the one missing is ``bound``, a name."""

WATERFALL = (k.IDEAL, k.SPATIAL_LOSS, k.VECTOR_STALL, k.BUFFER_STALL, k.DRAM_STALL, k.FILL_DRAIN)


def variant_of(resident: frozenset[str]) -> int:
    """Residency bits of the kernel."""
    bits = {
        "inputs": k.IN_RESIDENT, "outputs": k.OUT_RESIDENT,
        "fused_input": k.FUSED_RESIDENT, "weights": k.WEIGHTS_RESIDENT,
    }  # fmt: skip
    return sum(bits[name] for name in resident)


def kernel_rows(layer: MacLayer, design: Accelerator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Layer row, design row as the layer sees it, and option rows."""
    rows, options = design_rows(parameter_columns(design), TECHNOLOGY, forms=(AS_THE_DESIGN, weight_form(layer)))
    return layer_row(layer), rows[0, k.N_DESIGN :], options


def kernel_cost(layer: MacLayer, design: Accelerator, mapping: Mapping, resident=frozenset()) -> dict[str, float | str]:
    """`evaluate_mapping` under the names of `dse.costs.formulas`."""
    layer_numbers, design_numbers, _ = kernel_rows(layer, design)
    out = np.full(k.N_RESULT, np.nan)
    option = option_rows(design.dataflow)[mapping.option]
    k.evaluate_mapping(layer_numbers, design_numbers, option, mapping.to_row(), variant_of(resident), out)
    return {name: float(out[column]) for name, column in RESULT_COLUMNS.items()} | {"bound": BOUNDS[int(out[k.BOUND])]}


def best_row(
    layer: MacLayer, design: Accelerator, objective="latency", slack: float | None = 0.0, variant=0, effort="default"
) -> tuple[np.ndarray, np.ndarray]:
    """The mapper's choice: mapping row and kernel result row."""
    layer_numbers, design_numbers, options = kernel_rows(layer, design)
    row, out = np.zeros(k.N_MAP), np.full(k.N_RESULT, np.nan)
    mode, slack = mapper_mode(objective, slack)
    lists = k.lists_of(layer_numbers[None])[0]
    k.map_layer(
        layer_numbers, design_numbers, options, lists, EFFORTS[effort], mode, slack, variant, row, out,
        k.make_scratch(),
    )  # fmt: skip
    return row, out


def best_cost(
    layer: MacLayer, design: Accelerator, objective="latency", slack=0.0, resident=frozenset(), effort="default"
) -> np.ndarray:
    """The mapper's choice: kernel result row."""
    return best_row(layer, design, objective, slack, variant_of(resident), effort)[1]


@st.composite
def layers(draw, most_macs: int = 600, most: int = 9, depth: int = 8) -> MacLayer:
    """A small MAC layer of any kind: strides, dilations, padding, groups, depthwise, batch, matrix product."""
    kind = draw(st.sampled_from(("conv", "conv", "conv", "grouped", "depthwise", "matrix", "line")))
    left = most_macs

    def size(limit: int) -> int:
        nonlocal left
        value = draw(st.integers(1, max(1, min(limit, left))))
        left //= value
        return value

    loops = dict.fromkeys(LOOPS, 1)
    order = {
        "conv": ("OX", "FX", "OY", "FY", "K", "C", "B"), "grouped": ("G", "OX", "FX", "K", "C", "OY", "FY"),
        "depthwise": ("G", "OX", "FX", "OY", "FY", "B"), "matrix": ("C", "K", "OX", "B"),
        "line": ("OX", "FX", "C", "K"),
    }[kind]  # fmt: skip
    for d in order[:depth]:
        loops[d] = size(4 if d in ("FY", "FX", "B", "G") else most)
    geometry = {}
    for axis in "yx":
        o, f = loops[f"O{axis.upper()}"], loops[f"F{axis.upper()}"]
        stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        span = (o - 1) * stride + (f - 1) * dilation + 1
        pad = draw(st.integers(0, min(3, span - 1)))
        spare = draw(st.integers(-3, 2))  # below 0: padding at the far end
        geometry |= {f"stride_{axis}": stride, f"dilation_{axis}": dilation, f"pad_{axis}": pad}
        geometry[f"I{axis.upper()}"] = max(1, span - pad + spare)
        met = {i * stride + j * dilation - pad for i in range(o) for j in range(f)}
        if not any(0 <= p < geometry[f"I{axis.upper()}"] for p in met):
            geometry |= {f"pad_{axis}": 0, f"I{axis.upper()}": span}
    return MacLayer(
        "small", **loops, **geometry,
        static_weights=draw(st.booleans()), vector_operations=draw(st.sampled_from((0, 0, 7, 400, 9000))),
        fused_input_elements=draw(st.sampled_from((0, 0, 40))), zero_share=draw(st.sampled_from((0.0, 0.0, 0.4, 1.0))),
    )  # fmt: skip


@st.composite
def spatial_options(draw, limits: bool = True) -> SpatialOption:
    """Any spatial option: up to three loops an axis, flattened or not, columns passed along or not.

    With `limits` a third of the loops has a cap or a sub-axis; the sub-axes of an axis take at most 2 x 2 x 2 places.
    """
    flatten = draw(st.integers(0, 3)) == 0
    allowed = tuple(d for d in LOOPS if not (flatten and d in ("FY", "FX")))
    limit = st.sampled_from((*[""] * 6, "2", "<=2", "<=3"))
    axes = [draw(st.lists(st.sampled_from(allowed), unique=True, max_size=3)) for _ in range(2)]
    rows, cols = (tuple(d + draw(limit) if limits else d for d in axis) for axis in axes)
    stationary = draw(st.sampled_from(("W", "I", "O", "WO", "WI", "IO", "WIO")))
    return SpatialOption(rows, cols, tuple(stationary), flatten, draw(st.booleans()))


def dataflows(limits: bool = True) -> st.SearchStrategy[Dataflow]:
    """The named dataflows, and random ones of one or two options, see `spatial_options`."""
    made = st.lists(spatial_options(limits), min_size=1, max_size=2).map(
        lambda options: Dataflow("made up", tuple(options))
    )
    return st.one_of(st.sampled_from(tuple(DATAFLOWS.values())), made)


def subsets(of: str) -> st.SearchStrategy[str]:
    """Any subset of some letters, in their order."""
    return st.integers(0, 2 ** len(of) - 1).map(lambda bits: "".join(x for i, x in enumerate(of) if bits >> i & 1))


@st.composite
def accelerators(draw, dataflow=None, least_bytes: int = 16, most_bytes: int = 4096) -> Accelerator:
    """A small design of any kind; buffers of some hundred bytes, so that layers need several tiles."""
    dataflow = draw(dataflows() if dataflow is None else dataflow)
    arrangement = draw(st.sampled_from(BUFFER_ARRANGEMENTS))
    values = {}
    for name in OPERAND_NAMES.values():
        values[f"{name}_buffer_kib"] = draw(st.integers(least_bytes, most_bytes)) / 1024
        values[f"{name}_buffer_width_bytes"] = draw(st.sampled_from((1, 2, 3, 5, 7.5, 16)))
        values[f"{name}_buffer_banks"] = draw(st.integers(1, 4))
        values[f"{name}_register_bytes"] = draw(st.sampled_from((0.5, 2, 4, 8, 12, 16, 24, 40, 64, 200, 600)))
    for operands in buffer_groups(arrangement):  # at least one word of the port
        least = sum(values[f"{OPERAND_NAMES[x]}_buffer_width_bytes"] for x in operands) / 1024
        first = f"{OPERAND_NAMES[operands[0]]}_buffer_kib"
        values[first] = max(values[first], least)
    rows, cols = (draw(st.integers(places, max(5, places))) for places in dataflow.least_array)
    return Accelerator(
        rows=rows, cols=cols, macs_per_pe=draw(st.integers(1, 4)),
        dataflow=dataflow, interconnect=draw(st.sampled_from(("broadcast", "systolic"))),
        overlap_skew=draw(st.booleans()), overlap_load=draw(st.booleans()), buffers=arrangement, **values,
        padded_tiles=draw(st.one_of(st.just(""), subsets("WIO"))), reload_every_tile=draw(st.booleans()),
        buffets=draw(st.one_of(st.just(""), subsets("WIO"))),
        feature_map_compression=draw(st.sampled_from((1.0, 1.0, 0.37))),
        port_model=draw(st.sampled_from(PORT_MODELS)), separate_ports=draw(st.one_of(st.just(""), subsets("WIO"))),
        double_buffered=draw(subsets("WIO")), bypass=draw(subsets("WIO")),
        resident_activation_fraction=draw(st.sampled_from((0.0, 0.0, 0.25))),
        dram_gbps=draw(st.sampled_from((0.3, 1, 3, 16, 700))),
        dram_type=draw(st.sampled_from(("", "", "HBM2", "LPDDR4", OWN_DRAM))),
        dram_channels=draw(st.sampled_from((0.0625, 0.5, 3))), clock_ghz=draw(st.sampled_from((0.5, 1.0, 1.3))),
        weight_bits=draw(st.sampled_from((4, 8, 16))), activation_bits=draw(st.sampled_from((4, 8, 16))),
        accumulator_bits=draw(st.sampled_from((16, 20, 32))), vector_lanes=draw(st.integers(1, 16)),
        engine_flip_flop_bits=draw(st.sampled_from((0.0, 0.0, 5000.0))),
    )  # fmt: skip


@st.composite
def with_weight_forms(draw, layer: MacLayer, design: Accelerator) -> tuple[MacLayer, Accelerator]:
    """The same layer with narrow or 2:4 weights or neither, and the same design that makes use of them or does not."""
    if layer.static_weights:
        sparsity = draw(st.sampled_from(("", "2:4"))) if layer.C % 4 == 0 else ""
        layer = replace(layer, weight_bits=draw(st.sampled_from((0, 2, 4))), weight_sparsity=sparsity)
    narrow = draw(st.sampled_from((0, *range(2, min(4, design.weight_bits // 2) + 1))))
    return layer, replace(design, narrow_weight_bits=narrow, sparse_weights=draw(st.sampled_from(SPARSE_WEIGHTS)))


def is_narrow(layer: MacLayer, design: Accelerator) -> bool:
    """Whether a design keeps the weights of a layer narrower than its own."""
    return 0 < layer.weight_bits <= design.narrow_weight_bits


def is_pruned(layer: MacLayer, design: Accelerator) -> bool:
    """Whether a design leaves out the zeros among the weights of a layer."""
    return layer.weight_sparsity == design.sparse_weights == "2:4"


def lanes_of(layer: MacLayer, design: Accelerator) -> int:
    """Channels that a PE takes in a cycle, by a text of its own: no function of `dse.hardware.weight_forms`."""
    lanes = design.macs_per_pe
    if is_narrow(layer, design):
        lanes *= design.weight_bits // design.narrow_weight_bits
    return 2 * lanes if is_pruned(layer, design) else lanes


def words_of(layer: MacLayer, design: Accelerator) -> dict[str, float]:
    """Bytes of a word of W, I, O and a sum, by a text of its own.

    Four weights with two zeros take two, and 2 bits for each.
    """
    activation, weight = design.activation_bits, design.activation_bits
    if layer.static_weights:
        weight = design.narrow_weight_bits if is_narrow(layer, design) else design.weight_bits
    four = 2 * (weight + 2) if is_pruned(layer, design) else 4 * weight
    return {"W": four / 32, "I": activation / 8, "O": activation / 8, "sum": design.accumulator_bits / 8}


@st.composite
def spatial_factors(draw, layer: MacLayer, design: Accelerator, option: SpatialOption) -> tuple[dict[str, int], int]:
    """Spatial factors that fit the array, and lanes: as many as the rule of the kernel takes, or fewer."""
    reduction = layer.C * (layer.FY * layer.FX if option.flatten_reduction else 1)
    full = draw(st.booleans())

    def factor(limit: int) -> int:
        return limit if full else draw(st.integers(1, limit))

    lanes = factor(min(reduction, lanes_of(layer, design)))
    factors = dict.fromkeys(LOOPS, 1) | {"C": lanes}
    for loops, places in ((option.on_rows, design.rows), (option.on_cols, design.cols)):
        left = places // places_taken(loops)
        for unrolled in loops:
            d = unrolled.loop
            extent = reduction if d == "C" else getattr(layer, d)
            room = unrolled.most if unrolled.own else min(left, unrolled.most)
            taken = factor(int(min(room, math.ceil(extent / factors[d]))))
            factors[d] *= taken
            left //= 1 if unrolled.own else taken
    return factors, lanes


def fitted(mapping: Mapping, layer: MacLayer, design: Accelerator, resident: frozenset[str]) -> Mapping:
    """The mapping with its largest tiles halved again and again until it fits, if it can.

    It halves register tiles first, then the buffer tiles (those of a flattened filter stay whole).
    """
    whole = ("FY", "FX") if mapping.spatial_option(design).flatten_reduction else ()
    for level, kept in (("register", ()), ("buffer", whole)):
        tile = dict(zip(LOOPS, getattr(mapping, level), strict=True))
        while True:
            trial = replace(mapping, **{level: tile})
            alone = trial if level == "buffer" else replace(trial, buffer=[1] * len(LOOPS))
            largest = max((d for d in LOOPS if d not in kept), key=tile.__getitem__)
            if overflow(layer, design, alone, resident) == 0 or tile[largest] == 1:
                break
            tile[largest] //= 2
        mapping = trial
    return mapping


def relevant_loops(operand: str) -> tuple[str, ...]:
    """Loops that change the operand."""
    skip = {"W": "P", "I": "K", "O": "R"}[operand]
    return tuple(d for group, loops in GROUPS.items() if group != skip for d in loops)


@st.composite
def mappings(draw, layer: MacLayer, design: Accelerator, resident: frozenset[str] = frozenset()) -> Mapping:
    """Any mapping the wires allow: tiles of any size (beyond the loop too), any order; most fit the memories.

    Often a tile is a whole operand, which needs no second copy.
    """
    index = draw(st.integers(0, len(design.dataflow.options) - 1))
    option = design.dataflow.options[index]
    factors, lanes = draw(spatial_factors(layer, design, option))
    register, buffer = {}, {}
    whole = {d for x in draw(st.sampled_from(("", "", "", "W", "I", "O", "WIO"))) for d in relevant_loops(x)}
    for d in LOOPS:
        bound = getattr(layer, d)
        buffer[d] = bound if d in whole else draw(st.integers(1, max(2, bound + 1)))
        if option.flatten_reduction and d in ("FY", "FX"):
            buffer[d] = bound
            continue
        extent = buffer[d] * (layer.FY * layer.FX if option.flatten_reduction and d == "C" else 1)
        register[d] = draw(st.integers(1, min(4, math.ceil(extent / factors[d]) + 1)))
    mapping = Mapping(
        factors, register, buffer, lanes, draw(st.one_of(st.sampled_from(DRAM_ORDERS), st.permutations(LOOPS))),
        draw(st.sampled_from(option.stationary)), draw(subsets(design.bypass)), index,
        draw(st.one_of(st.just(()), st.permutations(LOOPS))),
    )  # fmt: skip
    return fitted(mapping, layer, design, resident) if draw(st.integers(0, 4)) else mapping


def residencies(layer: MacLayer) -> st.SearchStrategy[frozenset[str]]:
    """Any subset of what may be resident; half of the time nothing."""
    return st.one_of(st.just(frozenset()), st.frozensets(st.sampled_from(RESIDENT)))
