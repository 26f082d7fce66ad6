"""From designs and networks to the arrays that the kernel works on, and back to named numbers.

Here alone a parameter of a design becomes a column of the kernel, and the energy of an access is looked up.  A single
`Accelerator` and a whole batch go the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, TypedDict

import numpy as np

from dse.costs import kernels as k
from dse.hardware.accelerator import NAMED, OPERAND_NAMES, Accelerator, buffer_groups
from dse.hardware.area import Columns, area_blocks_mm2, leakage_of_blocks_w
from dse.hardware.dataflow import DRAM_ORDERS, Dataflow, check_fits, dataflow_named
from dse.hardware.dram import Dram, dram_of
from dse.hardware.logic import distinct
from dse.hardware.power import clock_pj_per_cycle, flip_flop_bits, transfer_pj_per_byte
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import AS_THE_DESIGN, WeightForm, mac_pj, weight_form, weights_of
from dse.networks.layers import LOOPS, OPERANDS, MacLayer, Network, VectorLayer

EFFORTS = {
    "default": k.DEFAULT_EFFORT,
    "complete": k.Effort(
        near=0.0, configurations=np.inf, most=np.inf, gap=0.0, sizes=k.COMPLETE, work=1e9, registers=k.ALL
    ),
}
"""How much the mapper looks at: by default a few promising configurations and thinned tiles, or all that matter."""

DEFAULT_SLACK = 0.01
"""Latency a mapping may give up for energy, by default [1].

The very fastest mapping buys the last 0.2 % of latency (mean over random designs, ResNet-50) with 1.5 to 1.8
times the energy: it shrinks the first tile, whose load nothing hides, until weights are fetched again and again.
"""

MAPPING_OBJECTIVES = {"latency": k.LATENCY, "energy": k.ENERGY, "edp": k.EDP}


def effort_named(name: str) -> k.Effort:
    """The entry of `EFFORTS`; a ValueError for an unknown name, with the known ones."""
    if not isinstance(name, str) or name not in EFFORTS:
        raise ValueError(f"mapper effort {name!r}: choose one of {', '.join(EFFORTS)}")
    return EFFORTS[name]


def mapper_mode(objective: str, slack: float | None, called: str = "slack") -> tuple[int, float]:
    """The kernel's (mode, slack) for a mapping objective; `called` is what an error calls the slack.

    ``"latency"``: least energy among the mappings within `slack` (0 = ties only) of the least latency;
    with no slack (None) the least latency alone, at the energy of the first such mapping found;
    ``"energy"``: least energy, ties by latency; ``"edp"``: least energy x delay.
    """
    if not isinstance(objective, str) or objective not in MAPPING_OBJECTIVES:
        raise ValueError(f"mapping objective {objective!r}: choose one of {', '.join(MAPPING_OBJECTIVES)}")
    if slack is None:
        return MAPPING_OBJECTIVES[objective], -1.0 if objective == "latency" else 0.0
    number = isinstance(slack, Real) and not isinstance(slack, bool)
    if not (number and 0 <= slack < np.inf):
        wanted = "finite and" if number else "a number,"
        raise ValueError(f"{called} must be {wanted} at least 0, got {slack!r}")
    return MAPPING_OBJECTIVES[objective], float(slack) if objective == "latency" else 0.0


def slack_named(mapping_slack: float | str) -> float | None:
    """`slack` of `dse.evaluate` for the `mapping_slack` of a problem, which is checked: None for ``"none"``."""
    return None if isinstance(mapping_slack, str) else mapping_slack


class CostOptions(TypedDict, total=False):
    """Arguments that go with every evaluation; `dse.evaluate` says what they mean."""

    technology: Technology | None
    objective: str
    slack: float | None
    effort: str
    keep: str


def parameter_columns(design: Accelerator) -> dict[str, np.ndarray]:
    """A single design as parameter columns of length 1 (see `DesignSpace.columns`)."""
    columns = {}
    for name in (field.name for field in fields(design)):
        value = getattr(design, name)
        column = np.empty(1, dtype=object if isinstance(value, (str, *NAMED)) else float)
        column[0] = value
        columns[name] = column
    return columns


def columns_of(designs: Sequence[Accelerator]) -> dict[str, np.ndarray]:
    """Parameter columns of several designs, each (n,)."""
    each = [parameter_columns(design) for design in designs]
    return {name: np.concatenate([columns[name] for columns in each]) for name in each[0]}


def option_rows(dataflow: Dataflow) -> np.ndarray:
    """Kernel rows of the spatial options of a dataflow, (n_options, N_OPTION)."""
    rows = np.full((len(dataflow.options), k.N_OPTION), -1.0)
    for row, option in zip(rows, dataflow.options, strict=True):
        row[k.OPT_CAP : k.OPT_CAP + 8], row[k.OPT_FIXED : k.OPT_FIXED + 8] = np.inf, 0.0
        for axis, loops in enumerate((option.on_rows, option.on_cols)):
            for i, unrolled in enumerate(loops, 4 * axis):
                row[k.OPT_ROWS + i] = LOOPS.index(unrolled.loop)
                row[k.OPT_CAP + i], row[k.OPT_FIXED + i] = unrolled.most, unrolled.own
        row[k.OPT_W : k.OPT_W + 3] = [x in option.stationary for x in OPERANDS]
        row[k.OPT_FLATTEN] = option.flatten_reduction
        row[k.OPT_FORWARDS] = option.forwards_inputs
        row[k.OPT_WHOLE_ROWS], row[k.OPT_LEAST_DRAM] = option.whole_rows, option.least_dram
        row[k.OPT_ORDERS] = sum(1 << DRAM_ORDERS.index(order) for order in option.dram_orders or DRAM_ORDERS)
        row[k.OPT_ONCE] = _bits(option.once)
        row[k.OPT_BYPASS] = -1.0 if option.bypass is None else _bits(option.bypass)
    return rows


def _bits(operands: str) -> int:
    """A set of operands as the kernel holds it: W 1, I 2, O 4."""
    return sum(1 << i for i, x in enumerate(OPERANDS) if x in operands)


def _categories(column: np.ndarray, width: int, rows_of: Callable[[Any], Iterable[float]]) -> np.ndarray:
    """Rows (n, width) of an object column of few distinct values: `rows_of(value)` once for each of them."""
    values, codes = distinct(column)
    return np.array([rows_of(value) for value in values], dtype=float).reshape(-1, width)[codes]


def _buffer_layout(arrangement: str) -> list[float]:
    """Buffer index of W, I and O in an arrangement."""
    groups = buffer_groups(arrangement)
    return [float(next(i for i, held in enumerate(groups) if x in held)) for x in OPERANDS]


def design_rows(
    columns: Columns, technology: Technology, energy: bool = True, forms: Sequence[WeightForm] = (AS_THE_DESIGN,)
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel rows of a batch of designs: `(designs, options)`, (n, N_DESIGN) and (n_options, N_OPTION).

    With several `forms` of weights (`NetworkTables.forms`) designs are (n, n_forms * N_DESIGN): of each form a row as
    the layers of that form see the design, one behind the other.

    Without `energy` nothing costs any: its columns are 0, and the rows take a fourth of the time.  Raises ValueError
    where a design cannot have its dataflow (`dse.hardware.dataflow.check_fits`).
    """
    n = len(columns["rows"])
    rows = np.zeros((n, k.N_DESIGN))
    clock_hz = columns["clock_ghz"] * 1e9
    rows[:, k.ROWS], rows[:, k.COLS], rows[:, k.LANES] = columns["rows"], columns["cols"], columns["macs_per_pe"]
    rows[:, k.OWN_LANES] = rows[:, k.LANES]
    dram = dram_of(columns, technology)
    rows[:, k.DRAM_BYTES_PER_CYCLE] = dram.gbps * 1e9 / clock_hz
    rows[:, k.WEIGHT_BYTES] = columns["weight_bits"] / 8
    rows[:, k.ACTIVATION_BYTES] = columns["activation_bits"] / 8
    rows[:, k.ACCUMULATOR_BYTES] = columns["accumulator_bits"] / 8
    rows[:, k.VECTOR_LANES] = columns["vector_lanes"]
    rows[:, k.SYSTOLIC] = columns["interconnect"] == "systolic"
    rows[:, k.OVERLAP] = columns["overlap_skew"]
    rows[:, k.OVERLAP_LOAD] = columns["overlap_load"]
    rows[:, k.RELOAD] = columns["reload_every_tile"]
    rows[:, k.COMPRESSION] = columns["feature_map_compression"]
    rows[:, k.RESIDENT_WEIGHTS] = columns["resident_weights"]
    bypass_bits = _categories(columns["bypass"], 1, lambda s: [_bits(s)])
    rows[:, k.BYPASS] = bypass_bits[:, 0]
    double, buffets, padded = (
        _categories(columns[name], 3, lambda s: [x in s for x in OPERANDS])
        for name in ("double_buffered", "buffets", "padded_tiles")
    )
    rows[:, k.DOUBLE_W : k.DOUBLE_W + 3] = np.maximum(double, buffets)
    rows[:, k.TWICE_W : k.TWICE_W + 3] = double * (1 - buffets)
    rows[:, k.PADDED_W : k.PADDED_W + 3] = padded
    buffers = _buffer_columns(columns, rows)
    if energy:
        _energy_columns(columns, technology, dram, buffers, rows)
    known: dict[Dataflow, tuple[int, int]] = {}
    options: list[np.ndarray] = []

    def place(value: str | Dataflow) -> tuple[int, int]:
        dataflow = dataflow_named(value)
        if dataflow not in known:
            known[dataflow] = (sum(map(len, options)), len(dataflow.options))
            options.append(option_rows(dataflow))
        return known[dataflow]

    rows[:, k.OPTION_FIRST : k.OPTION_COUNT + 1] = _categories(columns["dataflow"], 2, place)
    for dataflow, (first, _) in known.items():
        if dataflow.least_array != (1, 1) or any(option.bypass for option in dataflow.options):
            which = rows[:, k.OPTION_FIRST] == first
            least_rows, least_cols = (int(columns[name][which].min()) for name in ("rows", "cols"))
            for bypass in set(columns["bypass"][which]):
                check_fits(dataflow, least_rows, least_cols, bypass)
    seen = [_seen_rows(columns, technology, rows, form, energy) for form in forms[1:]]
    return np.concatenate([rows, *seen], axis=1) if seen else rows, np.concatenate(
        [np.empty((0, k.N_OPTION)), *options]
    )


def _seen_rows(
    columns: Columns, technology: Technology, rows: np.ndarray, form: WeightForm, energy: bool
) -> np.ndarray:
    """The designs' `rows` (n, N_DESIGN) as layers with weights in a form see them."""
    seen, found = rows.copy(), weights_of(columns, form)
    seen[:, k.LANES], seen[:, k.WEIGHT_BYTES] = found.lanes, found.bits / 8
    seen[:, k.REG_W], seen[:, k.REG_I] = found.weight_register_bytes, found.input_register_bytes
    if energy:
        seen[:, k.PJ_MAC] = mac_pj(columns, technology, form)
        words = {"weight": seen[:, k.WEIGHT_BYTES] * found.lanes, "input": rows[:, k.ACTIVATION_BYTES] * found.lanes}
        _register_columns(technology, words, seen)
        seen[:, k.PJ_CLOCK_MAC] = rows[:, k.PJ_CLOCK_MAC] * (rows[:, k.LANES] / found.lanes)
    return seen


def _register_columns(technology: Technology, words: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """Fill what registers cost; `words`: by operand, what a step takes of those of a PE [byte]."""
    for i, (name, word) in enumerate(words.items()):
        registers = rows[:, k.REG_W + i]
        rows[:, k.PJ_REG_READ_W + i] = technology.register_pj_per_byte(name, "read", registers, word)
        rows[:, k.PJ_REG_WRITE_W + i] = technology.register_pj_per_byte(name, "write", registers, word)


def _buffer_columns(columns: Columns, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Fill registers and buffers; returns capacity, width, banks and whether writes are apart, (n, 3) by buffer."""
    layout = _categories(columns["buffers"], 3, _buffer_layout).astype(int)
    rows[:, k.BUFFER_W : k.BUFFER_W + 3] = layout
    every = np.arange(len(rows))
    capacity, width, banks = (np.zeros((len(rows), 3)) for _ in range(3))
    apart = np.zeros((len(rows), 3), dtype=bool)
    ports = _categories(columns["separate_ports"], 3, lambda s: [x in s for x in OPERANDS])
    for i, name in enumerate(OPERAND_NAMES.values()):
        rows[:, k.REG_W + i] = columns[f"{name}_register_bytes"]
        rows[:, k.LINK_W + i] = columns[f"{name}_buffer_width_bytes"]
        capacity[every, layout[:, i]] += columns[f"{name}_buffer_kib"] * 1024
        width[every, layout[:, i]] += columns[f"{name}_buffer_width_bytes"]
        banks[every, layout[:, i]] += columns[f"{name}_buffer_banks"]
        apart[every, layout[:, i]] |= ports[:, i] > 0
    rows[:, k.CAPACITY_0 : k.CAPACITY_0 + 3] = capacity
    rows[:, k.WIDTH_0 : k.WIDTH_0 + 3] = np.where(width > 0, width, 1.0)
    accesses = np.equal(columns["port_model"], "accesses").astype(bool)
    rows[:, k.BANKS_0 : k.BANKS_0 + 3] = np.where(accesses[:, None], np.maximum(banks, 1.0), 0.0)
    rows[:, k.WRITES_APART_0 : k.WRITES_APART_0 + 3] = apart
    rows[:, k.STORE_BYTES] = columns["resident_activation_fraction"] * capacity[every, layout[:, 1]]
    return capacity, width, banks, apart


def _energy_columns(
    columns: Columns, technology: Technology, dram: Dram, buffers: tuple[np.ndarray, ...], rows: np.ndarray
) -> None:
    """Fill what everything costs; `buffers`: from `_buffer_columns`."""
    clock_hz, lanes = columns["clock_ghz"] * 1e9, columns["macs_per_pe"]
    weight, activation, accumulator = (columns[f"{x}_bits"] for x in ("weight", "activation", "accumulator"))
    words = {"weight": weight / 8 * lanes, "input": activation / 8 * lanes, "output": accumulator / 8}
    layout = rows[:, k.BUFFER_W : k.BUFFER_W + 3].astype(int)
    _register_columns(technology, words, rows)
    for i, name in enumerate(words):
        of = tuple(values[np.arange(len(rows)), layout[:, i]] for values in buffers)
        rows[:, k.PJ_READ_W + i] = technology.buffer_pj_per_byte(name, "read", *of)
        rows[:, k.PJ_WRITE_W + i] = technology.buffer_pj_per_byte(name, "write", *of)
    rows[:, k.PJ_MAC] = mac_pj(columns, technology)
    rows[:, k.PJ_MAC_DYNAMIC] = mac_pj(columns, technology, of_activations=True)
    rows[:, k.PJ_DRAM], rows[:, k.PJ_DRAM_CYCLE] = dram.pj_per_byte, dram.background_w * 1e12 / clock_hz
    rows[:, k.PJ_VECTOR] = technology.vector_operation_pj(accumulator)
    blocks = area_blocks_mm2(columns, technology)
    rows[:, k.PJ_LEAK_CYCLE] = leakage_of_blocks_w(blocks, technology) * 1e12 / clock_hz
    rows[:, k.PJ_IO_CYCLE] = technology.io_idle_w * 1e12 / clock_hz
    feed, on = transfer_pj_per_byte(columns, technology, blocks)
    rows[:, k.PJ_FEED_W : k.PJ_FEED_W + 3], rows[:, k.PJ_ON_W : k.PJ_ON_W + 3] = feed, on
    rows[:, k.PJ_CLOCK_CYCLE], clock_work = clock_pj_per_cycle(flip_flop_bits(columns, technology), technology, blocks)
    rows[:, k.PJ_CLOCK_MAC] = clock_work / (columns["rows"] * columns["cols"] * lanes)


def layer_row(layer: MacLayer, form: int = 0) -> np.ndarray:
    """Kernel row of a MAC layer, (N_LAYER,); `form`: which row of a design it sees, see `design_rows`."""
    row = np.zeros(k.N_LAYER)
    row[:8] = layer.loop_bounds
    gcd = [math.gcd(layer.stride_y, layer.dilation_y), math.gcd(layer.stride_x, layer.dilation_x)]
    row[8:] = [
        layer.stride_y, layer.stride_x, layer.dilation_y, layer.dilation_x, layer.pad_y, layer.pad_x, layer.IY,
        layer.IX, layer.vector_operations, layer.fused_input_elements, layer.static_weights, layer.touched("y"),
        layer.touched("x"), layer.dilation_y // gcd[0], layer.dilation_x // gcd[1], layer.stride_y // gcd[0],
        layer.stride_x // gcd[1], _ragged_padding(layer, "y"), _ragged_padding(layer, "x"), layer.zero_share, form,
    ]  # fmt: skip
    return row


def _ragged_padding(layer: MacLayer, axis: str) -> int:
    """Pairs of an output and a tap along an axis that meet padding, less the positions of padding that they meet.

    So many positions more or less the array reads, depending on which outputs it takes together.
    """
    outputs, taps = (layer.OY, layer.FY) if axis == "y" else (layer.OX, layer.FX)
    stride, dilation = getattr(layer, f"stride_{axis}"), getattr(layer, f"dilation_{axis}")
    pad, size = getattr(layer, f"pad_{axis}"), getattr(layer, f"I{axis.upper()}")
    if pad == 0 and size > (outputs - 1) * stride + (taps - 1) * dilation:
        return 0
    positions = np.arange(outputs)[:, None] * stride + np.arange(taps) * dilation - pad
    outside = positions[(positions < 0) | (positions >= size)]
    return len(outside) - len(np.unique(outside))


@dataclass(frozen=True, eq=False)
class NetworkTables:
    """Networks as kernel arrays; equal layer shapes share one row of `layers`, `weight_elements` is (n_networks,).

    `forms` are those of the layers' weights, that of the design first; `elements_of_forms` (n_networks, n_forms) tells
    how many weights are in each.

    The steps of a network are its layers in the order in which they run; `order` (n_steps,) has their numbers in
    `Network.layers`.
    """

    layers: np.ndarray
    vectors: np.ndarray
    steps: np.ndarray
    inputs: np.ndarray
    tensors: np.ndarray
    weight_elements: np.ndarray
    lists: np.ndarray
    order: np.ndarray
    forms: tuple[WeightForm, ...]
    elements_of_forms: np.ndarray

    @property
    def layer_order(self) -> np.ndarray:
        """Numbers of the steps in the order of `Network.layers`, (n_steps,); of one network."""
        return np.argsort(self.order)

    @property
    def arguments(self) -> tuple:
        """In the order of the kernel's parameters."""
        return self.layers, self.vectors, self.steps, self.inputs, self.tensors, self.elements_of_forms, self.lists


def network_tables(network: Network, apart: Collection[str] = ()) -> NetworkTables:
    """Kernel arrays of a network; MAC layers named in `apart` share no row with others."""
    shapes: dict[tuple, int] = {}
    forms = {AS_THE_DESIGN: 0}
    layers: list[np.ndarray] = []
    vectors: list[list[float]] = []
    steps = np.full((len(network.layers), k.N_STEP), -1.0)
    tensor_index: dict[str, int] = {}
    tensors: list[list[float]] = []
    inputs: list[int] = []

    def tensor(name: str, elements: int) -> int:  # in this order a tensor is met first where it is written
        if name not in tensor_index:
            tensor_index[name] = len(tensors)
            tensors.append([float(network.tensor_elements.get(name, elements)), -1.0, -1.0])
        return tensor_index[name]

    for i, number in enumerate(network.run_order):
        layer, step = network.layers[number], steps[i]
        step[k.STEP_REPEATS], step[k.STEP_NETWORK] = layer.repeats, 0
        step[k.STEP_INPUT_FIRST] = len(inputs)
        named = [tensor(name, layer.input_elements) for name in layer.inputs if name]
        inputs.extend(named)
        step[k.STEP_INPUT_COUNT] = len(named)
        step[k.STEP_IS_VECTOR] = isinstance(layer, VectorLayer)
        if isinstance(layer, VectorLayer):
            step[k.STEP_INDEX] = len(vectors)
            vectors.append([layer.operations, layer.input_elements, layer.output_elements, layer.weight_elements])
        else:
            key = (layer.shape_key, layer.name if layer.name in apart else "")
            if key not in shapes:
                shapes[key] = len(layers)
                layers.append(layer_row(layer, forms.setdefault(weight_form(layer), len(forms))))
            step[k.STEP_INDEX] = shapes[key]
            if layer.fused_input:
                step[k.STEP_FUSED] = tensor(layer.fused_input, layer.fused_input_elements)
                named.append(int(step[k.STEP_FUSED]))
            if not layer.static_weights and len(layer.inputs) > 1:
                step[k.STEP_SECOND] = named[1]
        for index in named:
            tensors[index][k.TENSOR_LAST] = i
        if layer.output:
            parts = sum(tensors[index][k.TENSOR_ELEMENTS] for index in named)  # those of a view
            step[k.STEP_OUTPUT] = tensor(layer.output, layer.output_elements or int(parts))
            tensors[int(step[k.STEP_OUTPUT])][k.TENSOR_FIRST] = i
    return NetworkTables(
        np.array(layers),
        np.array(vectors, dtype=float).reshape(-1, k.N_VECTOR),
        steps,
        np.array(inputs, dtype=np.int64),
        np.array(tensors, dtype=float).reshape(-1, 3),
        np.array([network.weight_elements], dtype=float),
        k.lists_of(np.array(layers).reshape(-1, k.N_LAYER)),
        np.array(network.run_order, dtype=np.int64),
        tuple(forms),
        np.array([[_elements_in(network, form) for form in forms]], dtype=float),
    )


def _elements_in(network: Network, form: WeightForm) -> int:
    """Constant weights in a form, shared ones once [elements]; those in several forms once for each."""
    own = tuple(layer for layer in network.mac_layers if weight_form(layer) == form)
    if len(own) == len(network.mac_layers):
        return network.weight_elements
    return Network.from_layers(own).weight_elements if own else 0
