"""The compiled cost model: one layer on one design under one mapping, and the exact search over mappings.

`dse.costs.formulas` says the same in plain Python and is the text to read first; the tests hold the two and a brute-force
loop-nest walker equal.  This file then reads from top to bottom:

1. columns: what the numbers of each row mean, and the tuples that bundle what travels together;
2. geometry: input positions that tiles and array pieces read, halos and padding included;
3. sizes: spatial factors, bytes of a tile, what overflows;
4. cost of one mapping: trips of the loops, traffic, energy, latency; `evaluate_mapping` is the way in;
5. mapper: the search for the best mapping, its candidates and lower bounds; `map_layer` is the way in;
6. network: what stays on chip, vector operations, frozen mappings; `evaluate_designs` is the way in.

In parts 4 and 5 a function stands before those that it calls.

This is the only module of the cost model with numba, and it imports nothing of the project: numba's cache does not
notice an edit of a constant or a callee in another module.  Everything arrives as float64 arrays whose columns are
named here.

Loops are grouped by what they leave unchanged: ``P`` = B OY OX (irrelevant to weights), ``K`` (irrelevant
to inputs), ``R`` = C FY FX (irrelevant to outputs).  ``G`` is relevant to all operands and always outermost.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from numba import njit

# Only what Python calls is cached on disk: it contains everything it calls.  Nothing here allocates: without numba's
# runtime a view of an array costs no atomic reference count, which took two thirds of the time.
_inner = njit(  # type: ignore[call-overload]  # numba's types lack these options
    nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
)
_entry = njit(  # type: ignore[call-overload]  # numba's types lack `_nrt`
    cache=True, nogil=True, error_model="numpy", _nrt=False
)


def _numbers(n):
    """The numbers 0 to n - 1, for constants that are handed to functions.

    A function is compiled once for a number of this type; for a plain literal it is compiled again for every value.
    """
    return (np.int64(i) for i in range(n))


# ---------------------------------------------------------------------------------------------------------------------
# 1. Columns and bundles.

# Loop dimensions, in the order of dse.networks.layers.LOOPS.
B, G, K, C, OY, OX, FY, FX = _numbers(8)
# Operands; axes.
W, I, O = _numbers(3)
Y, X = _numbers(2)
# Columns of a layer row after the eight loop bounds.
(STRIDE_Y, STRIDE_X, DILATION_Y, DILATION_X, PAD_Y, PAD_X, IY, IX, VECTOR_OPERATIONS, FUSED_INPUT,
 STATIC_WEIGHTS, TOUCHED_Y, TOUCHED_X, MEET_O_Y, MEET_O_X, MEET_F_Y, MEET_F_X) = range(8, 25)  # fmt: skip
N_LAYER = 25
# Columns of a vector-layer row.
V_OPERATIONS, V_INPUT, V_OUTPUT, V_WEIGHT = range(4)
N_VECTOR = 4
# Columns of a design row.
(ROWS, COLS, LANES, REG_W, REG_I, REG_O, BUFFER_W, BUFFER_I, BUFFER_O, CAPACITY_0, CAPACITY_1, CAPACITY_2,
 WIDTH_0, WIDTH_1, WIDTH_2, DOUBLE_W, DOUBLE_I, DOUBLE_O, DRAM_BYTES_PER_CYCLE, WEIGHT_BYTES, ACTIVATION_BYTES,
 ACCUMULATOR_BYTES, VECTOR_LANES, SYSTOLIC, OVERLAP, BYPASS, STORE_BYTES, RESIDENT_WEIGHTS, OPTION_FIRST,
 OPTION_COUNT, PJ_MAC, PJ_REG_W, PJ_REG_I, PJ_REG_O, PJ_READ_W, PJ_READ_I, PJ_READ_O, PJ_WRITE_W, PJ_WRITE_I,
 PJ_WRITE_O, PJ_DRAM, PJ_BUS, PJ_HOP, PJ_VECTOR, PJ_LEAK_CYCLE, PJ_MAC_DYNAMIC, OVERLAP_LOAD, LINK_W, LINK_I, LINK_O,
 PADDED_W, PADDED_I, PADDED_O, COMPRESSION, TWICE_W, TWICE_I, TWICE_O, RELOAD) = range(58)  # fmt: skip
N_DESIGN = 58
# Columns of a spatial-option row: up to four loops an axis (-1 = none), allowed stationary operands, flags.
OPT_ROWS, OPT_COLS, OPT_W, OPT_I, OPT_O, OPT_FLATTEN, OPT_FORWARDS = 0, 4, 8, 9, 10, 11, 12
N_OPTION = 13
# Columns of a mapping row: spatial factors, register tile, buffer tile of each loop; choices; loops in a given order
# (outer to inner, where the number of the order is -1; the search never does that).
MAP_S, MAP_R, MAP_T, MAP_LANES, MAP_DRAM_ORDER, MAP_STATIONARY, MAP_BYPASS, MAP_OPTION = 0, 8, 16, 24, 25, 26, 27, 28
MAP_ARRAY_GIVEN, MAP_DRAM_LOOPS, MAP_ARRAY_LOOPS = 29, 30, 38
N_MAP = 46
# Columns of a frozen mapping: tiles of the buffers [elements of the loop] and of the registers [spatial steps], the
# order of the DRAM loops (row of ORDERS), the stationary operand.
(FIXED_TILE_K, FIXED_TILE_C, FIXED_TILE_OY, FIXED_TILE_OX, FIXED_REGISTER_K, FIXED_REGISTER_C, FIXED_REGISTER_OY,
 FIXED_REGISTER_OX, FIXED_REGISTER_FX, FIXED_ORDER, FIXED_STATIONARY) = range(11)  # fmt: skip
N_FIXED = 11
# Columns of a result row.
(CYCLES, ENERGY_PJ, IDEAL, SPATIAL_LOSS, VECTOR_STALL, BUFFER_STALL, DRAM_STALL, FILL_DRAIN, BOUND, OVERFLOW,
 DRAM_W, DRAM_I, DRAM_O_READ, DRAM_O_WRITE, DRAM_FUSED,
 BUFFER_W_READ, BUFFER_W_WRITE, BUFFER_I_READ, BUFFER_I_WRITE, BUFFER_O_READ, BUFFER_O_WRITE,
 ARRAY_W, ARRAY_I, ARRAY_O_READ, ARRAY_O_WRITE, REGISTER_W, REGISTER_I, REGISTER_O,
 PJ_TOTAL_MAC, PJ_TOTAL_REGISTER, PJ_TOTAL_INTERCONNECT, PJ_TOTAL_BUFFER, PJ_TOTAL_DRAM, PJ_TOTAL_VECTOR,
 PJ_TOTAL_LEAKAGE, FOLDS, ARRAY_CYCLES, PORT_0, PORT_1, PORT_2, DRAM_CYCLES, VECTOR_CYCLES, MACS, SKEW,
 BOUND_CYCLES, BOUND_PJ, LOAD, DRAM_BYTES, SERIAL_BYTES) = range(49)  # fmt: skip
N_RESULT = 49
# Values of BOUND.
BOUND_COMPUTE, BOUND_BUFFER_0, BOUND_BUFFER_1, BOUND_BUFFER_2, BOUND_DRAM, BOUND_VECTOR, BOUND_FILL = range(7)
# Bits of a residency variant: operands that are on chip already / stay on chip afterwards.
NOTHING_RESIDENT = np.int64(0)
IN_RESIDENT, OUT_RESIDENT, FUSED_RESIDENT, WEIGHTS_RESIDENT = 1, 2, 4, 8
# Bits of a set of bypasses: operands that go from DRAM straight to the array.
BYPASS_W, BYPASS_I, BYPASS_O = 1, 2, 4
# What the mapper minimises: energy within a share of the least latency, energy, or their product.
LATENCY, ENERGY, EDP = 0, 1, 2

# Loop orders, outer to inner, of the groups P=0 K=1 R=2.  The first three are the ones that matter: only the
# innermost loop with more than one trip is reuse, so the order of the two outside it changes nothing.
ORDERS = np.array([[1, 2, 0], [0, 2, 1], [1, 0, 2], [2, 1, 0], [2, 0, 1], [0, 1, 2]], dtype=np.int64)
DEPTH = np.argsort(ORDERS, axis=1)[:, ::1].astype(np.int64)  # DEPTH[order, group]: 0 outermost .. 2 innermost
N_ORDERS = 3


class Case(NamedTuple):
    """What is costed: a layer on a design, its spatial option, and the bits of what stays on chip; three rows."""

    layer: np.ndarray
    design: np.ndarray
    option: np.ndarray
    variant: int | np.integer


class WIO(NamedTuple):
    """A number for each operand, such as bytes or times; for O mostly partial sums that return."""

    w: float
    i: float
    o: float


class Trips(NamedTuple):
    """Trips of the loops of each group."""

    p: float
    k: float
    r: float
    g: float


class Axis(NamedTuple):
    """Geometry of one axis; the last two are steps that lead to a position of another pair (see `_extent`)."""

    stride: float
    dilation: float
    pad: float
    size: float
    meet_o: float
    meet_f: float


class Cut(NamedTuple):
    """A loop cut into tiles, and each tile into pieces [elements of the loop]."""

    extent: float
    tile: float
    piece: float


# ---------------------------------------------------------------------------------------------------------------------
# 2. Geometry: which input positions a block of outputs and taps reads.


@_inner
def _ceil_div(a, b):
    """Least whole number that is not below a / b; exact for whole numbers below 2^53."""
    return np.ceil(a / b)


@_inner
def _floor(a):
    """Largest whole number that is not above `a`."""
    return np.floor(a)


@_inner
def _extent(outputs, taps, meet_o, meet_f):
    """Distinct input positions of `outputs` x `taps` (see dse.networks.layers.distinct_positions).

    `meet_o` = dilation / gcd, `meet_f` = stride / gcd: the smallest steps that lead to the same position.
    """
    return outputs * taps - max(0.0, outputs - meet_o) * max(0.0, taps - meet_f)


@_inner
def _span(layer, axis, outputs, taps):
    """As `_extent`, of a layer along an axis."""
    return _extent(outputs, taps, layer[MEET_O_Y + axis], layer[MEET_F_Y + axis])


@_inner
def axis_of(layer, axis):
    """The `Axis` Y or X of a layer."""
    return Axis(layer[STRIDE_Y + axis], layer[DILATION_Y + axis], layer[PAD_Y + axis], layer[IY + axis],
                layer[MEET_O_Y + axis], layer[MEET_F_Y + axis])  # fmt: skip


@_inner
def _outside(low, outputs, taps, axis):
    """Distinct positions below 0 of a block whose lowest position is `low`."""
    count = 0.0
    i = 0.0
    while i < outputs and low + i * axis.stride < 0:
        j = 0.0
        while j < taps and low + i * axis.stride + j * axis.dilation < 0:
            if i < axis.meet_o or j + axis.meet_f >= taps:  # the first of all pairs that meet at this position
                count += 1
            j += 1
        i += 1
    return count


@_inner
def _clipped(o0, o1, f0, f1, axis):
    """Input positions inside [0, size) that outputs [o0, o1) read through taps [f0, f1)."""
    outputs = o1 - o0
    taps = f1 - f0
    low = o0 * axis.stride + f0 * axis.dilation - axis.pad
    high = (o1 - 1) * axis.stride + (f1 - 1) * axis.dilation - axis.pad
    count = _extent(outputs, taps, axis.meet_o, axis.meet_f)
    if low < 0:
        count -= _outside(low, outputs, taps, axis)
    if high >= axis.size:  # mirror image: the same lattice seen from the other end
        count -= _outside(axis.size - 1 - high, outputs, taps, axis)
    return count


@_inner
def axis_sum(outputs, taps, axis):
    """Input positions fetched along one axis, summed over all pieces of all tiles [elements].

    `outputs`, `taps`: how each is cut; padding is not fetched.
    """
    if taps.extent == 1.0 and axis.pad == 0.0 and (outputs.extent - 1) * axis.stride < axis.size:
        return outputs.extent
    total = 0.0
    n_full = _ceil_div(outputs.extent, outputs.tile) - 1
    last = outputs.extent - n_full * outputs.tile
    f0 = 0.0
    while f0 < taps.extent:
        tap_end = min(taps.extent, (_floor(f0 / taps.tile) + 1) * taps.tile)
        f1 = min(f0 + taps.piece, tap_end)
        for which in range(2):
            length = outputs.tile if which == 0 else last
            times = n_full if which == 0 else 1.0
            whole = _floor(length / outputs.piece)
            rest = length - whole * outputs.piece
            total += times * whole * _extent(outputs.piece, f1 - f0, axis.meet_o, axis.meet_f)
            if rest > 0:
                total += times * _extent(rest, f1 - f0, axis.meet_o, axis.meet_f)
        total -= _border(outputs, f0, f1, axis)
        f0 = f1
    return total


@_inner
def _border(outputs, f0, f1, axis):
    """What the pieces at the two ends do not fetch through taps [f0, f1) because it is padding."""
    spare = 0.0
    o0 = 0.0
    while o0 < outputs.extent and o0 * axis.stride + f0 * axis.dilation - axis.pad < 0:
        o1 = min(o0 + outputs.piece, (_floor(o0 / outputs.tile) + 1) * outputs.tile, outputs.extent)
        spare += _extent(o1 - o0, f1 - f0, axis.meet_o, axis.meet_f)
        spare -= _clipped(o0, o1, f0, f1, axis)
        o0 = o1
    done = o0
    o1 = outputs.extent
    while o1 > done and (o1 - 1) * axis.stride + (f1 - 1) * axis.dilation - axis.pad >= axis.size:
        start = _floor((o1 - 1) / outputs.tile) * outputs.tile
        o0 = start + _floor((o1 - 1 - start) / outputs.piece) * outputs.piece
        spare += _extent(o1 - o0, f1 - f0, axis.meet_o, axis.meet_f)
        spare -= _clipped(o0, o1, f0, f1, axis)
        o1 = o0
    return spare


@_inner
def dram_axis_sum(layer, mapping, axis):
    """Input positions that DRAM tiles fetch along one axis, halos of tiles included."""
    tile, tap_tile = _tile(layer, mapping, OY + axis), _tile(layer, mapping, FY + axis)
    outputs = Cut(layer[OY + axis], tile, tile)
    return axis_sum(outputs, Cut(layer[FY + axis], tap_tile, tap_tile), axis_of(layer, axis))


@_inner
def array_axis_sum(case, mapping, axis):
    """Input positions that the array reads along one axis, all pieces [elements]."""
    layer, option = case.layer, case.option
    o, f = OY + axis, FY + axis
    stationary = int(mapping[MAP_STATIONARY])
    forwards = option[OPT_FORWARDS] > 0
    if mapping[MAP_ARRAY_GIVEN] > 0:  # columns are passed along a sweep in x: no other loop inside it
        forwards = forwards and mapping[MAP_ARRAY_LOOPS + 7] == (OX if stationary == W else FX)
    outputs = Cut(layer[o], mapping[MAP_T + o], mapping[MAP_S + o] * mapping[MAP_R + o])
    taps = Cut(layer[f], mapping[MAP_T + f], mapping[MAP_S + f] * mapping[MAP_R + f])
    return wire_positions(case, stationary, forwards, axis, outputs, taps)


@_inner
def wire_positions(case, stationary, forwards, axis, outputs, taps):
    """Input positions into the array along one axis, from buffer tiles and array pieces of `outputs` and `taps`.

    `forwards`: whether neighbours pass on what they have read in x, so that a sweep over the columns reads them once.
    """
    geometry = axis_of(case.layer, axis)
    if case.option[OPT_FLATTEN]:
        return axis_sum(Cut(outputs.extent, 1.0, 1.0), Cut(taps.extent, 1.0, 1.0), geometry)
    tile, tap_tile = min(outputs.tile, outputs.extent), min(taps.tile, taps.extent)
    piece, tap_piece = min(outputs.piece, tile), min(taps.piece, tap_tile)
    if forwards and axis == X:
        if stationary == W:
            piece = tile
        elif stationary == O:
            tap_piece = tap_tile
    return axis_sum(Cut(outputs.extent, tile, piece), Cut(taps.extent, tap_tile, tap_piece), geometry)


# ---------------------------------------------------------------------------------------------------------------------
# 3. Sizes: spatial factors, bytes of a tile, what overflows.


@_inner
def _weight_word_bytes(layer, design):
    """Bytes of a word of W, which is an activation where both operands are computed."""
    return design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else design[ACTIVATION_BYTES]


@_inner
def _macs(layer):
    """Multiplications of a layer."""
    return layer[B] * layer[G] * layer[K] * layer[C] * layer[OY] * layer[OX] * layer[FY] * layer[FX]


@_inner
def _words(layer):
    """Words of W, of I at one position of its planes, and of O."""
    return WIO(layer[G] * layer[K] * layer[C] * layer[FY] * layer[FX], layer[B] * layer[G] * layer[C],
               layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX])  # fmt: skip


@_inner
def _unchanged(operand, d):
    """Whether loop `d` leaves operand W, I or O unchanged."""
    if operand == W:
        return d == B or d == OY or d == OX
    return d == K if operand == I else (d == C or d == FY or d == FX)


@_inner
def _flattened(option, d):
    """Whether the wires unroll loop `d`, FY or FX, as part of C."""
    return option[OPT_FLATTEN] > 0 and (d == FY or d == FX)


@_inner
def _loop_size(layer, option, d, size):
    """A size along loop `d` as the array sees it: flattened, C stands for C, FY and FX."""
    if option[OPT_FLATTEN] > 0:
        if d == C:
            return size * (layer[FY] * layer[FX])
        if d == FY or d == FX:
            return 1.0
    return size


@_inner
def _loop_extent(layer, option, d):
    """The whole of loop `d` as the array sees it."""
    return _loop_size(layer, option, d, layer[d])


@_inner
def _tile(layer, mapping, d):
    """Buffer tile of loop `d`, cut to the loop."""
    return min(mapping[MAP_T + d], layer[d])


@_inner
def _last_tile(layer, mapping, d):
    """Size of the last buffer tile of loop `d`."""
    return layer[d] - (_ceil_div(layer[d], mapping[MAP_T + d]) - 1) * mapping[MAP_T + d]


@_inner
def spatial_factors(case, mapping):
    """Fill the spatial factors of `mapping`: in-PE lanes over C, then each axis in its listed order.

    A PE uses as many of its multipliers as its registers hold words for.
    """
    layer, design, option = case.layer, case.design, case.option
    for d in range(8):
        mapping[MAP_S + d] = 1.0
    reduction = _loop_extent(layer, option, C)
    word = _weight_word_bytes(layer, design)
    fed = min(_floor(design[REG_W] / word), _floor(design[REG_I] / design[ACTIVATION_BYTES]))
    lanes = max(1.0, min(min(reduction, design[LANES]), fed))
    mapping[MAP_LANES] = lanes
    mapping[MAP_S + C] = lanes
    for axis in range(2):
        left = design[ROWS] if axis == 0 else design[COLS]
        for i in range(4):
            d = int(option[OPT_ROWS + 4 * axis + i])
            if d < 0:
                break
            extent = reduction if d == C else layer[d]
            factor = min(left, _ceil_div(extent, mapping[MAP_S + d]))
            mapping[MAP_S + d] *= factor
            left = _floor(left / factor)


@_inner
def tile_bytes(case, mapping):
    """Bytes of one tile of W, I and O, and what each occupies in its buffer, double buffering included."""
    layer, design, bypass = case.layer, case.design, int(mapping[MAP_BYPASS])
    b, g, k, c = _tile(layer, mapping, B), _tile(layer, mapping, G), _tile(layer, mapping, K), _tile(layer, mapping, C)
    oy, ox, fy, fx = (_tile(layer, mapping, OY), _tile(layer, mapping, OX), _tile(layer, mapping, FY),
                      _tile(layer, mapping, FX))  # fmt: skip
    rows = min(_span(layer, Y, oy, fy), layer[TOUCHED_Y])
    columns = min(_span(layer, X, ox, fx), layer[TOUCHED_X])
    w = g * k * c * fy * fx * _weight_word_bytes(layer, design)
    i = b * g * c * rows * columns * design[ACTIVATION_BYTES]
    o = b * g * k * oy * ox * design[ACCUMULATOR_BYTES]
    # A tile that is the whole operand is loaded once: it needs no second copy.
    reduction = g == layer[G] and c == layer[C] and fy == layer[FY] and fx == layer[FX]
    pixels = b == layer[B] and oy == layer[OY] and ox == layer[OX]
    w_held = w if reduction and k == layer[K] else w * (1.0 + design[TWICE_W])
    i_held = i if reduction and pixels else i * (1.0 + design[TWICE_I])
    o_held = o if g == layer[G] and pixels and k == layer[K] else o * (1.0 + design[TWICE_O])
    if case.variant & WEIGHTS_RESIDENT or bypass & BYPASS_W:
        w_held = 0.0
    if case.variant & IN_RESIDENT or bypass & BYPASS_I:
        i_held = 0.0
    if bypass & BYPASS_O:
        o_held = 0.0
    return WIO(w, i, o), WIO(w_held, i_held, o_held)


@_inner
def tile_capacity(design, b):
    """Bytes of buffer `b` that tiles may use: its capacity less the store of resident activations."""
    return design[CAPACITY_0 + b] - (design[STORE_BYTES] if design[BUFFER_I] == b else 0.0)


@_inner
def buffer_overflow(design, held):
    """Worst bytes over / capacity of the buffers for what the tiles occupy (`tile_bytes`); <= 0 fits."""
    worst = -1.0
    for b in range(3):
        if design[CAPACITY_0 + b] <= 0:
            continue
        need = held.w if design[BUFFER_W] == b else 0.0
        need += held.i if design[BUFFER_I] == b else 0.0
        need += held.o if design[BUFFER_O] == b else 0.0
        capacity = tile_capacity(design, b)
        worst = max(worst, (need - capacity) / capacity)
    return worst


@_inner
def _register_pixels(case, stationary, oy, ox, fy, fx):
    """Input words of one channel that the registers of a PE hold for a tile of outputs and taps."""
    layer, option = case.layer, case.option
    if option[OPT_FLATTEN]:
        return oy * ox
    if option[OPT_FORWARDS] and stationary == W:
        ox = 1.0  # only the window is held while the columns stream past
    return _span(layer, Y, oy, fy) * _span(layer, X, ox, fx)


@_entry
def register_overflow(layer, design, option, mapping):
    """Worst bytes over / capacity of a PE's registers for the register tile; <= 0 fits."""
    lanes = max(mapping[MAP_LANES], 1.0)
    b, g, k, c = mapping[MAP_R + B], mapping[MAP_R + G], mapping[MAP_R + K], mapping[MAP_R + C]
    oy, ox, fy, fx = mapping[MAP_R + OY], mapping[MAP_R + OX], mapping[MAP_R + FY], mapping[MAP_R + FX]
    case = Case(layer, design, option, NOTHING_RESIDENT)
    pixels = _register_pixels(case, int(mapping[MAP_STATIONARY]), oy, ox, fy, fx)
    need_w = g * k * c * fy * fx * lanes * _weight_word_bytes(layer, design)
    need_i = b * g * c * lanes * pixels * design[ACTIVATION_BYTES]
    need_o = b * g * k * oy * ox * design[ACCUMULATOR_BYTES]
    worst = (need_w - design[REG_W]) / design[REG_W]
    worst = max(worst, (need_i - design[REG_I]) / design[REG_I])
    return max(worst, (need_o - design[REG_O]) / design[REG_O])


# ---------------------------------------------------------------------------------------------------------------------
# 4. Cost of one mapping: `mapping_cost` says it, what it calls follows.


@_entry
def evaluate_mapping(layer, design, option, mapping, variant, out):
    """Cost of one given mapping, legality included: `out[OVERFLOW]` > 0 when a buffer or register overflows."""
    case = Case(layer, design, option, variant)
    tile, held = tile_bytes(case, mapping)
    mapping_cost(case, mapping, tile, out)
    over = max(buffer_overflow(design, held), register_overflow(layer, design, option, mapping))
    out[OVERFLOW] = max(0.0, over)


@_inner
def mapping_cost(case, mapping, tile, out):
    """Cost of one mapping into `out` (N_RESULT,); legality is not checked.  See dse.costs.formulas for each line.

    `tile`: from `tile_bytes`.
    """
    layer, design = case.layer, case.design
    stationary = int(mapping[MAP_STATIONARY])
    outside, inside, total, cycles = _trips(layer, case.option, mapping)
    once = _mapped_dram_times(case, mapping, outside)
    times = _mapped_stationary_times(case, mapping, inside, outside, once)
    words = _words(layer)
    w_word, word, sum_word = _weight_word_bytes(layer, design), design[ACTIVATION_BYTES], design[ACCUMULATOR_BYTES]
    times_w, times_i, visits = total.p, total.k, total.r
    positions = array_axis_sum(case, mapping, Y) * array_axis_sum(case, mapping, X)
    if stationary == W:
        times_w = times
        others, held = total.k * total.r, words.w * times
    elif stationary == I:
        times_i = times
        others, held = total.p * total.r, words.i * positions * times
    else:
        visits = times
        others, held = total.p * total.k, words.o * times
    array = WIO(words.w * w_word * times_w, words.i * word * positions * times_i, words.o * (visits - 1) * sum_word)
    fetched = dram_axis_sum(layer, mapping, Y) * dram_axis_sum(layer, mapping, X)
    dram = WIO(words.w * w_word * once.w, words.i * word * fetched * once.i, words.o * (once.o - 1) * sum_word)
    _account(case, mapping, array, dram, out)
    out[FOLDS] = others * total.g * times
    out[LOAD] = held / _edge(design, stationary)
    stop = _stop_cycles(case, mapping) if _stops(design) else 0.0
    _latency(case, cycles, _ends(case, mapping, tile), stop, out)


# How often each word moves, from the trips of the loops.


@_inner
def _trips(layer, option, mapping):
    """`Trips` over DRAM tiles, over array tiles in one of them at most, over all array tiles; and the array cycles."""
    n_p, n_k, n_r, n_g = 1.0, 1.0, 1.0, 1.0
    y_p, y_k, y_r, y_g = 1.0, 1.0, 1.0, 1.0
    all_p, all_k, all_r, all_g = 1.0, 1.0, 1.0, 1.0
    cycles = 1.0
    for d in range(8):
        flattened = _flattened(option, d)
        count = _ceil_div(layer[d], mapping[MAP_T + d])
        first = _loop_size(layer, option, d, _tile(layer, mapping, d))
        last = _loop_size(layer, option, d, _last_tile(layer, mapping, d))
        step = 1.0 if flattened else mapping[MAP_S + d]
        piece = 1.0 if flattened else step * mapping[MAP_R + d]
        inside = _ceil_div(first, piece)
        total = 1.0
        if not flattened:
            total = (count - 1) * inside + _ceil_div(last, piece)
            cycles *= (count - 1) * _ceil_div(first, step) + _ceil_div(last, step)
        if d == K:
            n_k, y_k, all_k = count, inside, total
        elif d == G:
            n_g, y_g, all_g = count, inside, total
        elif d == C or d == FY or d == FX:
            n_r, y_r, all_r = n_r * count, y_r * inside, all_r * total
        else:
            n_p, y_p, all_p = n_p * count, y_p * inside, all_p * total
    return Trips(n_p, n_k, n_r, n_g), Trips(y_p, y_k, y_r, y_g), Trips(all_p, all_k, all_r, all_g), cycles


@_inner
def _mapped_dram_times(case, mapping, outside):
    """As `_dram_times`, of a mapping row."""
    if mapping[MAP_DRAM_ORDER] >= 0:
        return _dram_times(int(mapping[MAP_DRAM_ORDER]), case.design[RELOAD], outside)
    w = outside.p if case.design[RELOAD] else _given_dram_times(case.layer, mapping, W)
    i = outside.k if case.design[RELOAD] else _given_dram_times(case.layer, mapping, I)
    return WIO(w, i, _given_dram_times(case.layer, mapping, O))


@_inner
def _dram_times(order, reload, outside):
    """How often each word of W, I and O crosses the DRAM link, from the trips over DRAM tiles.

    An operand is loaded again for each trip of the group that leaves it unchanged, unless no other group loops
    inside that one; W and I even then with `reload`.
    """
    p, k, r = DEPTH[order, 0], DEPTH[order, 1], DEPTH[order, 2]
    w = outside.p if (outside.k > 1 and k > p) or (outside.r > 1 and r > p) or reload > 0 else 1.0
    i = outside.k if (outside.p > 1 and p > k) or (outside.r > 1 and r > k) or reload > 0 else 1.0
    o = outside.r if (outside.p > 1 and p > r) or (outside.k > 1 and k > r) else 1.0
    return WIO(w, i, o)


@_inner
def _given_dram_times(layer, mapping, operand):
    """As `_dram_times` for one operand, with DRAM loops in a given order.

    Loops that leave it unchanged repeat the load, but for those inside all that change it.
    """
    times, outside = 1.0, 1.0
    for i in range(8):
        d = int(mapping[MAP_DRAM_LOOPS + i])
        trips = _ceil_div(layer[d], mapping[MAP_T + d])
        if _unchanged(operand, d):
            outside *= trips
        elif trips > 1:
            times = outside
    return times


@_inner
def _mapped_stationary_times(case, mapping, inside, outside, once):
    """As `_stationary_times`, of a mapping row."""
    stationary = int(mapping[MAP_STATIONARY])
    if mapping[MAP_ARRAY_GIVEN] <= 0:
        return _stationary_times(stationary, inside, outside, once)
    if stationary == W:
        return _given_stationary_times(case, mapping, outside.p, once.w)
    if stationary == I:
        return _given_stationary_times(case, mapping, outside.k, once.i)
    return _given_stationary_times(case, mapping, outside.r, once.o)


@_inner
def _stationary_times(stationary, inside, outside, once):
    """How often each word of the stationary operand enters the array.

    `inside`: trips over array tiles in one DRAM tile at most; `outside`: over DRAM tiles; `once`: from `_dram_times`.
    Only this operand stays in the registers while others stream past; its group is innermost in the array, so it
    returns once a DRAM trip, or stays for good.  The others enter at every array step.
    """
    if stationary == W:
        return outside.p if inside.k > 1 or inside.r > 1 or inside.g > 1 else once.w
    if stationary == I:
        return outside.k if inside.p > 1 or inside.r > 1 or inside.g > 1 else once.i
    return outside.r if inside.p > 1 or inside.k > 1 or inside.g > 1 else once.o


@_inner
def _given_stationary_times(case, mapping, outside, once):
    """As `_stationary_times`, with array loops in a given order.

    `outside`, `once`: of the stationary operand, trips of the DRAM loops that leave it unchanged, and its times over
    the DRAM link.  An array loop outside all that change it repeats it for each of its pieces, one inside for each
    DRAM tile.
    """
    layer, option = case.layer, case.option
    stationary = int(mapping[MAP_STATIONARY])
    times = once
    for i in range(8):
        d = int(mapping[MAP_ARRAY_LOOPS + i])
        if _flattened(option, d):
            continue
        piece = mapping[MAP_S + d] * mapping[MAP_R + d]
        tile = _tile(layer, mapping, d)
        tiles, inside = _ceil_div(layer[d], tile), _ceil_div(_loop_size(layer, option, d, tile), piece)
        if _unchanged(stationary, d):
            last = layer[d] - (tiles - 1) * tile
            pieces = (tiles - 1) * inside + _ceil_div(_loop_size(layer, option, d, last), piece)
            outside = outside / tiles * pieces
        elif inside > 1:
            times = outside
    return times


# Traffic and energy.


@_inner
def _account(case, mapping, array, dram, out):
    """All that is linear in the traffic of a mapping: bytes over every link, cycles of the ports, energy but leakage.

    `array`: bytes of W and I into the array and of partial sums back into it, each of which it writes first; `dram`:
    the same over the DRAM link, if nothing is resident and nothing bypasses.
    """
    layer, design = case.layer, case.design
    outputs = _words(layer).o * design[ACTIVATION_BYTES]
    out[ARRAY_W], out[ARRAY_I] = array.w, array.i
    out[ARRAY_O_READ], out[ARRAY_O_WRITE] = array.o, array.o + outputs
    out[DRAM_W], out[DRAM_I] = dram.w, dram.i
    out[DRAM_O_READ], out[DRAM_O_WRITE] = dram.o, dram.o + outputs
    out[DRAM_FUSED] = 0.0 if case.variant & FUSED_RESIDENT else layer[FUSED_INPUT] * design[ACTIVATION_BYTES]
    _buffer_traffic(case, int(mapping[MAP_BYPASS]), outputs, out)
    out[DRAM_W] *= _padding(case, mapping, W)
    out[DRAM_I] *= design[COMPRESSION] * _padding(case, mapping, I)
    filled = _padding(case, mapping, O)
    out[DRAM_O_READ] *= filled
    out[DRAM_O_WRITE] *= filled
    out[DRAM_FUSED] *= design[COMPRESSION]
    out[DRAM_BYTES] = out[DRAM_W] + out[DRAM_I] + out[DRAM_O_READ] + out[DRAM_O_WRITE] + out[DRAM_FUSED]
    # Transfers of operands that are not double-buffered do not overlap anything.
    serial = (0.0 if design[DOUBLE_W] > 0 else out[DRAM_W]) + (0.0 if design[DOUBLE_I] > 0 else out[DRAM_I])
    out[SERIAL_BYTES] = serial + (0.0 if design[DOUBLE_O] > 0 else out[DRAM_O_READ] + out[DRAM_O_WRITE])
    for b in range(3):
        out[PORT_0 + b] = 0.0
    for x in range(3):
        b = int(design[BUFFER_W + x])
        out[PORT_0 + b] += (out[BUFFER_W_READ + 2 * x] + out[BUFFER_W_WRITE + 2 * x]) / design[WIDTH_0 + b]
    _energy(case, mapping, out)


@_inner
def _buffer_traffic(case, bypass, outputs, out):
    """Buffer reads and writes [bytes] from the array and DRAM traffic; bypassed operands go straight through."""
    layer, design, variant = case.layer, case.design, case.variant
    if variant & WEIGHTS_RESIDENT:
        out[DRAM_W] = 0.0
    elif bypass & BYPASS_W:
        out[DRAM_W] = out[ARRAY_W]
    skips_w = bypass & BYPASS_W and not variant & WEIGHTS_RESIDENT
    out[BUFFER_W_READ] = 0.0 if skips_w else out[ARRAY_W]
    out[BUFFER_W_WRITE] = 0.0 if skips_w else out[DRAM_W]
    if variant & IN_RESIDENT:
        out[DRAM_I] = 0.0
    elif bypass & BYPASS_I:
        out[DRAM_I] = out[ARRAY_I]
    skips_i = bypass & BYPASS_I and not variant & IN_RESIDENT
    out[BUFFER_I_READ] = 0.0 if skips_i else out[ARRAY_I]
    out[BUFFER_I_WRITE] = 0.0 if skips_i else out[DRAM_I]
    if bypass & BYPASS_O:
        out[DRAM_O_READ] = out[ARRAY_O_READ]
        out[DRAM_O_WRITE] = out[ARRAY_O_WRITE]
        out[BUFFER_O_READ] = 0.0
        out[BUFFER_O_WRITE] = 0.0
    else:
        out[BUFFER_O_READ] = out[ARRAY_O_READ] + out[DRAM_O_WRITE]
        out[BUFFER_O_WRITE] = out[ARRAY_O_WRITE] + out[DRAM_O_READ]
    out[DRAM_O_WRITE] -= outputs
    if variant & OUT_RESIDENT:  # the finished outputs go to the store in the input buffer
        out[BUFFER_I_WRITE] += outputs
    else:
        out[DRAM_O_WRITE] += outputs * design[COMPRESSION]
    if variant & FUSED_RESIDENT:
        out[BUFFER_I_READ] += layer[FUSED_INPUT] * design[ACTIVATION_BYTES]


@_inner
def _padding(case, mapping, operand):
    """Bytes of W, I or O as they lie in DRAM / their size."""
    layer, option = case.layer, case.option
    if case.design[PADDED_W + operand] == 0:
        return 1.0
    padded, true = 1.0, 1.0
    for d in range(8):
        if _unchanged(operand, d) or _flattened(option, d):
            continue
        extent = _loop_extent(layer, option, d)
        padded *= _ceil_div(extent, mapping[MAP_S + d]) * _whole_step(case, mapping, d)
        true *= extent
    return padded / true


@_inner
def _whole_step(case, mapping, d):
    """Elements of loop `d` that a whole array takes: all of the axes that unroll it alone, else its spatial factor."""
    design, option = case.design, case.option
    size, axes = 1.0, 0
    for axis in range(2):
        first = OPT_ROWS + 4 * axis
        listed = option[first] == d or option[first + 1] == d or option[first + 2] == d or option[first + 3] == d
        if listed and option[first + 1] >= 0:
            return mapping[MAP_S + d]
        if listed:
            size *= design[ROWS + axis]
            axes += 1
    if axes == 0:
        return mapping[MAP_S + d]
    return size * (design[LANES] if d == C else 1.0)


@_inner
def _energy(case, mapping, out):
    """Energy by level [pJ] from accesses [bytes]; `_latency` adds leakage."""
    layer, design, s = case.layer, case.design, MAP_S
    macs = _macs(layer)
    pixels = mapping[s + B] * mapping[s + OY] * mapping[s + OX]
    reduction = mapping[s + C] * mapping[s + FY] * mapping[s + FX] / mapping[MAP_LANES]
    shared = 1.0  # PEs that share one input word besides those along K
    if case.option[OPT_FLATTEN] == 0:
        for axis in range(2):
            o, f = mapping[s + OY + axis], mapping[s + FY + axis]
            shared *= o * f / _span(layer, axis, o, f)
    reach_i = mapping[s + K] * shared
    partial = out[ARRAY_O_READ] + out[ARRAY_O_WRITE]
    out[REGISTER_W] = macs * _weight_word_bytes(layer, design) + out[ARRAY_W] * pixels
    out[REGISTER_I] = macs * design[ACTIVATION_BYTES] + out[ARRAY_I] * reach_i
    out[REGISTER_O] = 2 * macs / mapping[MAP_LANES] * design[ACCUMULATOR_BYTES] + out[ARRAY_O_READ]
    out[PJ_TOTAL_MAC] = macs * (design[PJ_MAC] if layer[STATIC_WEIGHTS] else design[PJ_MAC_DYNAMIC])
    out[PJ_TOTAL_REGISTER] = (out[REGISTER_W] * design[PJ_REG_W] + out[REGISTER_I] * design[PJ_REG_I]
                              + out[REGISTER_O] * design[PJ_REG_O])  # fmt: skip
    if design[SYSTOLIC]:
        hops = out[ARRAY_W] * pixels + out[ARRAY_I] * reach_i + partial * reduction
        out[PJ_TOTAL_INTERCONNECT] = hops * design[PJ_HOP]
    else:
        out[PJ_TOTAL_INTERCONNECT] = (out[ARRAY_W] + out[ARRAY_I] + partial) * design[PJ_BUS]
    buffer = 0.0
    for x in range(3):
        buffer += out[BUFFER_W_READ + 2 * x] * design[PJ_READ_W + x]
        buffer += out[BUFFER_W_WRITE + 2 * x] * design[PJ_WRITE_W + x]
    out[PJ_TOTAL_BUFFER] = buffer
    out[PJ_TOTAL_DRAM] = out[DRAM_BYTES] * design[PJ_DRAM]
    out[PJ_TOTAL_VECTOR] = layer[VECTOR_OPERATIONS] * design[PJ_VECTOR]
    energy = 0.0
    for column in range(PJ_TOTAL_MAC, PJ_TOTAL_LEAKAGE):
        energy += out[column]
    out[ENERGY_PJ] = energy


# Time.


@_inner
def _latency(case, cycles, ends, stop, out):
    """Cycles, their waterfall, the bound and the energy that leaks meanwhile.

    From array cycles, `_ends`, `_stop_cycles`, and what `_account` has put into `out`.
    """
    layer, design = case.layer, case.design
    bandwidth = design[DRAM_BYTES_PER_CYCLE]
    out[MACS] = _macs(layer)
    out[ARRAY_CYCLES] = cycles
    ideal = out[MACS] / (design[ROWS] * design[COLS] * design[LANES])
    skew = _skew(design, cycles, out[FOLDS], out[LOAD], stop)
    port = max(out[PORT_0], out[PORT_1], out[PORT_2])
    vector = layer[VECTOR_OPERATIONS] / design[VECTOR_LANES]
    serial = out[SERIAL_BYTES] / bandwidth
    ends /= bandwidth
    streaming = (out[DRAM_BYTES] - out[SERIAL_BYTES]) / bandwidth - ends
    compute = cycles + skew
    with_vector = max(compute, vector)
    with_buffers = max(with_vector, port)
    steady = max(with_buffers, streaming)
    out[SKEW], out[VECTOR_CYCLES], out[DRAM_CYCLES] = skew, vector, out[DRAM_BYTES] / bandwidth
    out[CYCLES] = steady + ends + serial
    out[IDEAL] = ideal
    out[SPATIAL_LOSS] = cycles - ideal
    out[VECTOR_STALL] = with_vector - compute
    out[BUFFER_STALL] = with_buffers - with_vector
    out[DRAM_STALL] = steady - with_buffers + serial
    out[FILL_DRAIN] = skew + ends
    out[BOUND] = BOUND_COMPUTE
    if ends + skew > max(cycles, vector, port, streaming, serial):
        out[BOUND] = BOUND_FILL
    elif streaming > with_buffers or serial > steady:
        out[BOUND] = BOUND_DRAM
    elif port > with_vector:
        out[BOUND] = BOUND_BUFFER_0 + _busiest_port(out)
    elif vector > compute:
        out[BOUND] = BOUND_VECTOR
    out[PJ_TOTAL_LEAKAGE] = out[CYCLES] * design[PJ_LEAK_CYCLE]
    out[ENERGY_PJ] += out[PJ_TOTAL_LEAKAGE]
    _bounds(case, ideal, out)


@_inner
def _busiest_port(out):
    """Number of the buffer whose port takes the most cycles."""
    busiest = 0
    for b in range(1, 3):
        if out[PORT_0 + b] > out[PORT_0 + busiest]:
            busiest = b
    return busiest


@_inner
def _bounds(case, ideal, out):
    """Lower bounds of any mapping: peak arithmetic, compulsory DRAM traffic."""
    layer, design = case.layer, case.design
    words, word = _words(layer), design[ACTIVATION_BYTES]
    moved = out[DRAM_FUSED]
    if not case.variant & WEIGHTS_RESIDENT:
        moved += words.w * _weight_word_bytes(layer, design)
    if not case.variant & IN_RESIDENT:
        moved += words.i * layer[TOUCHED_Y] * layer[TOUCHED_X] * word * design[COMPRESSION]
    if not case.variant & OUT_RESIDENT:
        moved += words.o * word * design[COMPRESSION]
    out[BOUND_CYCLES] = max(ideal, moved / design[DRAM_BYTES_PER_CYCLE])
    mac_pj = design[PJ_MAC] if layer[STATIC_WEIGHTS] else design[PJ_MAC_DYNAMIC]
    out[BOUND_PJ] = out[MACS] * mac_pj + moved * design[PJ_DRAM]


@_inner
def _skew(design, cycles, folds, load, stop):
    """Cycles that an array spends at its folds: on skewed fill and drain, or on `stop` (from `_stop_cycles`).

    `load`: cycles that the stationary words need at the edge of a systolic array; a fold takes `rows` at least.
    """
    if design[SYSTOLIC] == 0:
        return folds * stop
    load = max(load, folds * design[ROWS])
    wave = design[ROWS] + design[COLS] - 2
    if design[OVERLAP]:
        return max(cycles, load) - cycles + design[ROWS] + wave
    return load + folds * wave


@_inner
def _edge(design, stationary):
    """Stationary words that cross the edge of a systolic array in a cycle: into the multipliers, or sums out."""
    return design[COLS] * (1.0 if stationary == O else design[LANES])


@_inner
def _ends(case, mapping, tile):
    """Bytes that cannot overlap: the first tiles in and the last tile out; `tile`: from `tile_bytes`."""
    layer, design = case.layer, case.design
    bypass = int(mapping[MAP_BYPASS])
    ends = 0.0
    if design[DOUBLE_W] > 0 and not bypass & BYPASS_W and not case.variant & WEIGHTS_RESIDENT:
        ends += tile.w * _padding(case, mapping, W)
    if design[DOUBLE_I] > 0 and not bypass & BYPASS_I and not case.variant & IN_RESIDENT:
        ends += tile.i * (design[COMPRESSION] * _padding(case, mapping, I))
    if design[DOUBLE_O] > 0 and not bypass & BYPASS_O and not case.variant & OUT_RESIDENT:
        drain = design[ACTIVATION_BYTES]
        for d in (B, G, K, OY, OX):
            drain *= _last_tile(layer, mapping, d)
        ends += drain * design[COMPRESSION] * _padding(case, mapping, O)
    return ends


@_inner
def _stops(design):
    """Whether a broadcast array stops at its folds to load registers."""
    return design[SYSTOLIC] == 0 and design[OVERLAP_LOAD] == 0


@_inner
def _stop_cycles(case, mapping):
    """Cycles to bring the first words of W and I of a fold and take its last sums."""
    layer, design = case.layer, case.design
    b, g = _fold_size(case, mapping, B), _fold_size(case, mapping, G)
    k, c = _fold_size(case, mapping, K), _fold_size(case, mapping, C)
    oy, ox = _fold_size(case, mapping, OY), _fold_size(case, mapping, OX)
    fy, fx = _fold_size(case, mapping, FY), _fold_size(case, mapping, FX)
    pixels = oy * ox
    if case.option[OPT_FLATTEN] == 0:
        pixels = _span(layer, Y, oy, fy) * _span(layer, X, ox, fx)
    w = g * k * c * fy * fx * _weight_word_bytes(layer, design)
    i = b * g * c * pixels * design[ACTIVATION_BYTES]
    return w / design[LINK_W] + i / design[LINK_I] + b * g * k * oy * ox * design[ACCUMULATOR_BYTES] / design[LINK_O]


@_inner
def _fold_size(case, mapping, d):
    """Size along loop `d` of what a fold begins with: an array piece, or one step of a loop that leaves it unchanged.

    Flattened, C stands for C, FY and FX.
    """
    layer, option = case.layer, case.option
    if _flattened(option, d):
        return 1.0
    step = mapping[MAP_S + d]
    if not _unchanged(int(mapping[MAP_STATIONARY]), d):
        step *= mapping[MAP_R + d]
    return min(step, _loop_size(layer, option, d, _tile(layer, mapping, d)))


# ---------------------------------------------------------------------------------------------------------------------
# 5. The mapper: the best mapping of one layer on one design, exact over the stated candidates.
#
# A candidate is a buffer tile (a level of each of C K B OY OX and a tile of the filter), an order of the DRAM loops, a
# schedule (stationary operand and register tile), a spatial option and a set of bypasses.  Everything but the time of
# the array is linear in six traffic numbers (`_account`), so the search reads the coefficients off the model once and
# costs a candidate with a few dozen multiplications; what it chooses is then evaluated in full.
#
# The search comes first, from the outside in: `map_layer`, `search_option`, `_search_node` (a tile of the filter, C and
# K), `_search_rows` (of B, OX and OY), `_search_orders`, `_search_schedules`.  Then what it uses: candidates, facts and
# costs, work of the array, lower bounds.

MAX_LEVELS = 32
MAX_FILTERS = 3
MAX_SCHEDULES = 288
UNIT_BYTES = 2.0**40  # so much traffic that the constant part does not blur a coefficient
ROOM = 1.0 - 1e-12  # bounds are sums in another order than costs: leave room for rounding

# Slots of a buffer tile: the loops in the order of the nest over tiles.
SLOT_C, SLOT_K, SLOT_B, SLOT_Y, SLOT_X = _numbers(5)
N_SLOTS = 5
(WHOLE,) = _numbers(1)  # the first level of a slot, and the first tile of the filter: all of it
# Rows of `TABLES.costs`: what no traffic costs, then a byte of W, I, O over the array's wires and over the DRAM link.
NO_TRAFFIC, ARRAY_BYTE_W, ARRAY_BYTE_I, ARRAY_BYTE_O, DRAM_BYTE_W, DRAM_BYTE_I, DRAM_BYTE_O = range(7)
N_COST_ROWS = 7
# Its columns: bytes over the DRAM link, those of them that nothing overlaps; cycles of each port; energy.
COST_DRAM, COST_SERIAL, COST_PORT_0, COST_PORT_1, COST_PORT_2, COST_PJ = _numbers(6)
N_COSTS = 6
# What a phase of the search looks for: the least cycles, or the least energy within the limit, or energy x delay.
FASTEST, FRUGAL, PRODUCT = _numbers(3)


def _record_type(*fields):
    """The type of a record; fields are a name, a shape (() for a number), and a type where they are no floats.

    Compiled functions pass a record on as one pointer.  A tuple of many arrays they copy at every call: the search then
    takes twice as long.
    """
    return np.dtype([(name, *(kind or [np.float64]), shape) for name, shape, *kind in fields], align=True)


# What all candidates of one case, spatial option and set of bypasses share (`_facts`, the last three
# `_schedule_floors`).  Fields of three numbers are by operand, but `room` is by buffer.
FACTS = _record_type(
    ("whole", (3,)),  # bytes of W, of I at one position of its planes, of partial sums
    ("positions", ()),  # input positions of a plane that are read at all
    ("word", (3,)),  # bytes of a word in a tile, times the groups in the tile
    ("lead_w", ()),  # bytes that nothing overlaps, for each byte of a tile of W
    ("lead_i", ()),  # the same, for each byte of a tile of I
    ("tail", ()),  # the same, for each output of the last tile (groups are counted)
    ("copies", (3,)),  # copies of a tile that its buffer holds; 0: it holds none
    ("buffer", (3,)),  # number of the operand's buffer
    ("room", (3,)),  # bytes of a buffer that tiles may use
    ("out_pixels", ()),  # output pixels of the layer
    ("tile_pixels", ()),  # output pixels x K of a tile that fit the buffer of O
    ("whole_g", ()),  # 1: a tile holds all groups
    ("steps_g", ()),  # array trips of G
    ("vector", ()),  # cycles of the vector unit
    ("per_bandwidth", ()),  # cycles of the DRAM link for a byte
    ("leak", ()),  # leakage of a cycle [pJ]
    ("load", (3,)),  # cycles at the array's edge to load the operand once as the stationary one
    ("reload", ()),  # 1: W and I are loaded again at every DRAM trip
    ("least_busy", ()),  # least busy cycles of any schedule
    ("least", (3,)),  # least bytes over the wires of any schedule
    ("streams", (3,)),  # 1: stationary in no schedule, so it enters once a DRAM trip at least
)
# Sizes of register tiles [spatial steps], smallest first (`_register_sizes`), and which fit (`_most_pixels`).
REGISTERS = _record_type(
    ("n_k", (), np.int64),  # sizes of K
    ("k", (MAX_LEVELS,)),
    ("n_c", (), np.int64),  # sizes of C
    ("c", (MAX_LEVELS,)),
    ("n_pixels", (), np.int64),  # sizes in row order: columns of one row, then whole rows
    ("n_columns", (), np.int64),  # how many of these are columns
    ("pixels", (2 * MAX_LEVELS,)),
    ("columns", ()),  # all columns of a row
    ("fy", ()),  # all of the filter
    ("fx", ()),
    ("lanes", ()),  # multipliers of a PE in use
    ("most_inputs", (MAX_FILTERS, MAX_LEVELS), np.int64),  # which pixels are the most whose inputs fit, by filter and C
    ("most_sums", (MAX_LEVELS,), np.int64),  # the most whose sums fit, by K; -1: none
)
# A tile of the filter (`_filter_tiles`): along FY and FX; taps in it; DRAM trips over the whole filter.
FILTER = _record_type(("size", (2,)), ("taps", ()), ("trips", ()))
# A schedule (`_register_tiles`): register tile of each loop [spatial steps], stationary operand; in the node that is
# searched, its least busy cycles and the least energy of its traffic over the wires.
SCHEDULE = _record_type(("register", (8,)), ("stationary", (), np.int64), ("busy", ()), ("wire_pj", ()))
# Array trips of a schedule, by level of each slot (`_fill_array_trips`): over all DRAM tiles (-1: not filled yet); in
# one at most; of OY and OX the input positions into the array.
ARRAY_TRIPS = _record_type(
    ("total", (N_SLOTS, MAX_LEVELS)),
    ("inside", (N_SLOTS, MAX_LEVELS)),
    ("positions", (2, MAX_LEVELS)),
)
# A node of the search: a tile of the filter, C and K, and what the tiles of B, OY and OX cannot change (`_nodes`).
NODE = _record_type(
    ("f", (), np.int64),  # levels
    ("c", (), np.int64),
    ("k", (), np.int64),
    ("size_c", ()),  # tiles [elements of the loop]
    ("size_k", ()),
    ("trips_k", ()),  # DRAM trips of K
    ("trips_r", ()),  # DRAM trips of C and the filter
    ("whole_filter", ()),  # 1: a tile holds the filter and all groups
    ("tile_w", ()),  # bytes of a tile of W
    ("held_w", ()),  # bytes that tiles of W occupy in their buffer
    ("cycles", ()),  # lower bounds
    ("pj", ()),
    ("rank", ()),  # lower bound of what is looked for; infinite: searched, or no hope
)
# Cost of the best mapping so far, and the most cycles that a mapping may take.
BEST = _record_type(("cycles", ()), ("pj", ()), ("limit", ()))
# The candidates of a search, and what is known of them.
TABLES = _record_type(
    ("n_levels", (N_SLOTS,), np.int64),  # buffer tiles of each slot, largest first (`_tile_table`):
    ("tile", (N_SLOTS, MAX_LEVELS)),  # as mapped
    ("size", (N_SLOTS, MAX_LEVELS)),  # cut to the loop
    ("trips", (N_SLOTS, MAX_LEVELS)),  # DRAM trips
    ("last", (N_SLOTS, MAX_LEVELS)),  # size of the last one
    ("cycles", (MAX_LEVELS,)),  # array cycles by level of C; those of a flattened reduction depend on it
    ("fetched", (2, MAX_FILTERS, MAX_LEVELS)),  # input positions along Y and X that all tiles fetch
    ("span", (2, MAX_FILTERS, MAX_LEVELS)),  # and those of one tile
    ("n_filters", (), np.int64),
    ("filters", (MAX_FILTERS,), FILTER),
    ("registers", (), REGISTERS),
    ("n_schedules", (), np.int64),
    ("schedules", (MAX_SCHEDULES,), SCHEDULE),
    ("array_trips", (MAX_FILTERS, MAX_SCHEDULES), ARRAY_TRIPS),
    ("facts", (), FACTS),
    ("costs", (N_COST_ROWS, N_COSTS)),  # what traffic costs (`_coefficients`)
    ("n_nodes", (), np.int64),
    ("nodes", (MAX_FILTERS * MAX_LEVELS * MAX_LEVELS,), NODE),
    ("best", (), BEST),
)


class Scratch(NamedTuple):
    """Arrays that a search writes over; one set for each thread.

    mapping, trial : (N_MAP,) what the candidates of an option share; one candidate.
    out : (N_RESULT,) a result.
    tables : (1,) of `TABLES`.
    """

    mapping: np.ndarray
    trial: np.ndarray
    out: np.ndarray
    tables: np.ndarray


def make_scratch() -> Scratch:
    """Scratch for `map_layer` and `evaluate_designs`; one for each thread."""
    return Scratch(
        mapping=np.concatenate([np.ones(MAP_ARRAY_GIVEN), np.zeros(N_MAP - MAP_ARRAY_GIVEN)]),
        trial=np.zeros(N_MAP),
        out=np.zeros(N_RESULT),
        tables=_records(np.empty(1, TABLES)),  # 3 MB; all of it is filled before it is read
    )


class _Interpreted:
    """Records whose fields are attributes, as they are in compiled code: for runs with compilation off."""

    _data: Any

    def __init__(self, data: Any) -> None:
        object.__setattr__(self, "_data", data)

    def __getitem__(self, at: Any) -> Any:
        found = self._data[at]
        return _Interpreted(found) if getattr(found, "dtype", None) is not None and found.dtype.names else found

    def __setitem__(self, at: Any, value: Any) -> None:
        self._data[at] = value

    __getattr__, __setattr__ = __getitem__, __setitem__


def _records(array: np.ndarray) -> Any:
    return _Interpreted(array) if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" else array


class Search(NamedTuple):
    """A search over one spatial option.

    case : what is mapped.
    mapping : what all candidates share: spatial factors, option, bypasses.
    tables : a record of `TABLES`: candidates and the cost of the best so far.
    best_map : mapping of the best so far.
    trial : scratch for a mapping.
    """

    case: Case
    mapping: np.ndarray
    tables: np.void
    best_map: np.ndarray
    trial: np.ndarray


class Levels(NamedTuple):
    """A buffer tile: its tile of the filter and its level of each slot."""

    f: int
    c: int
    k: int
    b: int
    y: int
    x: int


class Tiling(NamedTuple):
    """What a buffer tile does at the DRAM link: trips, input positions fetched a plane, bytes that cannot overlap."""

    trips: Trips
    pixels: float
    ends: float


class Work(NamedTuple):
    """Cycles that array, vector unit (and ports) are busy, and bytes of W, I and returning O over the wires."""

    busy: float
    wires: WIO


class Cost(NamedTuple):
    """Cycles and energy of a candidate, or lower bounds of them."""

    cycles: float
    pj: float


class LinkCosts(NamedTuple):
    """What traffic over the DRAM link costs: a number for each column of `TABLES.costs`."""

    dram: float
    serial: float
    port_0: float
    port_1: float
    port_2: float
    pj: float


class Placed(NamedTuple):
    """A buffer tile under one order of the DRAM loops: all of a candidate but its schedule.

    once : how often each word crosses the DRAM link.
    link : what that costs.
    """

    levels: Levels
    order: int
    tiling: Tiling
    once: WIO
    link: LinkCosts


# The search, from the outside in.


@_entry
def map_layer(layer, design, options, sizes, mode, slack, variant, best_map, out, scratch):
    """Best mapping of one layer into `best_map` (N_MAP,) and its cost into `out` (N_RESULT,).

    `mode`: LATENCY (least energy at most `slack` above the least latency), ENERGY or EDP.  Where nothing fits, the
    least mapping is costed and `out[OVERFLOW]` > 0.  `scratch`: from `make_scratch`.
    """
    mapping, best = scratch.mapping, scratch.tables[0].best
    best.cycles, best.pj, best.limit = np.inf, np.inf, np.inf
    first = int(design[OPTION_FIRST])
    last = first + int(design[OPTION_COUNT])
    least = np.inf
    for o in range(first, last):
        over = _smallest_tile(Case(layer, design, options[o], variant), mapping)
        if over < least:
            least = over
            mapping[MAP_OPTION] = o - first
            _copy(mapping, best_map, N_MAP)
    # One option without bypasses: both phases on the same tables.
    alone = mode == LATENCY and last - first == 1 and design[BYPASS] == 0
    for phase in range(2 if mode == LATENCY and not alone else 1):
        aim = FASTEST if mode == LATENCY else (FRUGAL if mode == ENERGY else PRODUCT)
        if phase:
            aim = FRUGAL
            _limit_cycles(best, slack)
        for o in range(first, last):
            case = Case(layer, design, options[o], variant)
            _smallest_tile(case, mapping)
            if register_overflow(layer, design, options[o], mapping) > 0:
                continue
            if _hopeless(aim, best, _array_cycles(layer, options[o], mapping), 0.0):
                continue
            mapping[MAP_OPTION] = o - first
            search_option(case, sizes, aim, slack if alone else -1.0, scratch, best_map)
    evaluate_mapping(layer, design, options[first + int(best_map[MAP_OPTION])], best_map, variant, out)


@_inner
def _smallest_tile(case, mapping):
    """The mapping of the smallest tiles; returns its overflow, <= 0 if it fits."""
    layer, design, option = case.layer, case.design, case.option
    spatial_factors(case, mapping)
    for d in range(8):
        mapping[MAP_R + d] = 1.0
        mapping[MAP_T + d] = mapping[MAP_S + d]
    if option[OPT_FLATTEN]:
        mapping[MAP_T + C] = 1.0
        mapping[MAP_T + FY] = layer[FY]
        mapping[MAP_T + FX] = layer[FX]
    mapping[MAP_DRAM_ORDER] = 2
    for a in range(3):
        if option[OPT_W + a]:
            mapping[MAP_STATIONARY] = a
    mapping[MAP_BYPASS] = int(design[BYPASS])
    _, held = tile_bytes(case, mapping)
    return max(buffer_overflow(design, held), register_overflow(layer, design, option, mapping))


@_inner
def search_option(case, sizes, aim, slack, scratch, best_map):
    """Search one spatial option: all buffer tiles x DRAM orders x schedules x bypasses.

    The best is in `best_map`, its cost in the tables.  With `aim` FASTEST and `slack` >= 0 the least energy within that
    share follows.
    """
    mapping, tables = scratch.mapping, scratch.tables[0]
    _candidates(case, mapping, sizes, tables)
    search = Search(case, mapping, tables, best_map, scratch.trial)
    for bypass in range(8):
        if bypass & ~int(case.design[BYPASS]):
            continue
        mapping[MAP_BYPASS] = bypass
        _facts(case, mapping, tables.facts)
        _coefficients(case, mapping, scratch.out, tables.costs)
        _schedule_floors(search)
        _nodes(tables)
        _search_nodes(search, aim)
        if slack >= 0:
            _limit_cycles(tables.best, slack)
            _search_nodes(search, FRUGAL)


@_inner
def _limit_cycles(best, slack):
    """Allow mappings `slack` above the least latency."""
    best.limit = best.cycles * (1.0 + slack) / ROOM  # equal but for rounding is equal


@_inner
def _search_nodes(search, aim):
    """Search the nodes, the most promising first, until lower bounds prove the rest no better than the best so far."""
    nodes, best, n_nodes = search.tables.nodes, search.tables.best, search.tables.n_nodes
    for i in range(n_nodes):
        node = nodes[i]
        hopeless = _hopeless(aim, best, node.cycles, node.pj)
        node.rank = np.inf if hopeless else _rank(aim, node.cycles, node.pj)
    while n_nodes > 0:
        first = 0
        for i in range(1, n_nodes):
            if nodes[i].rank < nodes[first].rank:
                first = i
        node = nodes[first]
        if node.rank == np.inf or _hopeless(aim, best, node.cycles, node.pj):
            break
        node.rank = np.inf  # done
        _search_node(search, aim, node)


@_inner
def _search_node(search, aim, node):
    """Search the tiles of B, OX and OY for given tiles of the filter, C and K."""
    tables = search.tables
    levels = Levels(node.f, node.c, node.k, WHOLE, WHOLE, WHOLE)
    busy, wire_w, wire_i, wire_o = np.inf, np.inf, np.inf, np.inf
    for j in range(tables.n_schedules):
        schedule = tables.schedules[j]
        work = _least_work(search, j, levels, node.trips_k, node.trips_r)
        schedule.busy, schedule.wire_pj = work.busy, _wire_bytes_cost(tables.costs, COST_PJ, work.wires)
        busy, wire_w = min(busy, work.busy), min(wire_w, work.wires.w)
        wire_i, wire_o = min(wire_i, work.wires.i), min(wire_o, work.wires.o)
    least = Work(busy, WIO(wire_w, wire_i, wire_o))
    for b in range(tables.n_levels[SLOT_B]):
        for x in range(tables.n_levels[SLOT_X]):
            _search_rows(search, aim, node, least, b, x)


@_inner
def _search_rows(search, aim, node, least, b, x):
    """Search the tiles of OY for given tiles of the filter, C, K, B and OX; `least`: work at least."""
    layer, tables = search.case.layer, search.tables
    best, facts, f, last_y = tables.best, tables.facts, node.f, tables.n_levels[SLOT_Y] - 1
    size_b, size_x = tables.size[SLOT_B, b], tables.size[SLOT_X, x]
    trips_bx = tables.trips[SLOT_B, b] * tables.trips[SLOT_X, x]
    row_i = facts.word[I] * size_b * node.size_c * tables.span[X, f, x]
    first_w = facts.lead_w * node.tile_w
    # Without a halo only the number of pixels counts: part of a row or whole rows.
    several = last_y > 0 and not (layer[FY] == 1 and layer[FX] == 1 and x > 0)
    if several:
        trips_p = trips_bx * max(1.0, layer[OY] * size_b * size_x * node.size_k / facts.tile_pixels)
        pixels = tables.fetched[Y, f, 0] * tables.fetched[X, f, x]
        ends = first_w + facts.lead_i * row_i * tables.span[Y, f, last_y]
        bound = _least_cost(tables, Tiling(Trips(trips_p, node.trips_k, node.trips_r, 1.0), pixels, ends), least)
        if _hopeless(aim, best, bound.cycles, bound.pj):
            return
    tail = facts.tail * tables.last[SLOT_K, node.k] * tables.last[SLOT_B, b] * tables.last[SLOT_X, x]
    for y in range(WHOLE if several else last_y, last_y + 1):
        trips_p = trips_bx * tables.trips[SLOT_Y, y]
        tile_i = row_i * tables.span[Y, f, y]
        tile_o = facts.word[O] * size_b * node.size_k * tables.size[SLOT_Y, y] * size_x
        held_i = tile_i * _copies(facts, I, node.trips_r * trips_p == 1 and node.whole_filter > 0)
        held_o = tile_o * _copies(facts, O, node.trips_k * trips_p == 1 and facts.whole_g > 0)
        if not _fit(facts, WIO(node.held_w, held_i, held_o)):
            continue
        ends = first_w + facts.lead_i * tile_i + tail * tables.last[SLOT_Y, y]
        if _hopeless(aim, best, (least.busy + ends * facts.per_bandwidth) * ROOM, 0.0):
            continue
        pixels = tables.fetched[Y, f, y] * tables.fetched[X, f, x]
        tiling = Tiling(Trips(trips_p, node.trips_k, node.trips_r, 1.0), pixels, ends)
        if not _search_orders(search, aim, Levels(f, node.c, node.k, b, y, x), tiling, least):
            break  # fewer rows at a time move even more


@_inner
def _fit(facts, held):
    """Whether what the tiles occupy fits the buffers."""
    for b in range(3):
        need = held.w if facts.buffer[W] == b else 0.0
        need += held.i if facts.buffer[I] == b else 0.0
        need += held.o if facts.buffer[O] == b else 0.0
        if need > facts.room[b]:
            return False
    return True


@_inner
def _copies(facts, operand, whole):
    """Copies of a tile that its buffer holds; a tile that is the `whole` operand needs no second one."""
    return min(facts.copies[operand], 1.0) if whole else facts.copies[operand]


@_inner
def _search_orders(search, aim, levels, tiling, least):
    """Search the orders of the DRAM loops over one buffer tile; returns whether its traffic leaves any hope.

    `least`: work at least.
    """
    tables = search.tables
    best, facts, costs = tables.best, tables.facts, tables.costs
    wire_w = max(least.wires.w, facts.streams[W] * facts.whole[W] * tiling.trips.p)
    wires = WIO(wire_w, least.wires.i, least.wires.o)
    wires_moved, wires_pj = _over_wires(costs, COST_DRAM, wires), _over_wires(costs, COST_PJ, wires)
    hope = False
    for order in range(N_ORDERS):
        once = _dram_times(order, facts.reload, tiling.trips)
        link = _link_bytes(facts, tiling.pixels, once)
        stream = (wires_moved + _over_link(costs, COST_DRAM, link)) * facts.per_bandwidth
        energy = wires_pj + _over_link(costs, COST_PJ, link) + stream * facts.leak
        if _hopeless(aim, best, stream * ROOM, energy * ROOM):
            continue
        hope = True
        placed = Placed(levels, order, tiling, once, _link_costs(costs, link))
        bound = _candidate_cost(tables, Work(least.busy, wires), placed.link, tiling.ends)
        if not _hopeless(aim, best, bound.cycles * ROOM, bound.pj * ROOM):
            _search_schedules(search, aim, placed, bound, _wire_bytes_cost(costs, COST_PJ, wires))
    return hope


@_inner
def _search_schedules(search, aim, placed, bound, wire_pj):
    """Cost every schedule inside one buffer tile and order, and keep the best.

    `bound`: cost at least; `wire_pj`: what of it traffic over the array's wires takes.
    """
    design, tables = search.case.design, search.tables
    best, schedules, facts = tables.best, tables.schedules, tables.facts
    levels, tiling = placed.levels, placed.tiling
    stops = _stops(design)
    for j in range(tables.n_schedules):
        slow = max(bound.cycles, schedules[j].busy + tiling.ends * facts.per_bandwidth)
        more_pj = max(0.0, schedules[j].wire_pj - wire_pj) + (slow - bound.cycles) * facts.leak
        if _hopeless(aim, best, slow * ROOM, (bound.pj + more_pj) * ROOM):
            continue
        _fill_missing(search, j, levels)
        stop = 0.0
        if stops:
            _write_candidate(search, j, levels, placed.order, search.trial)
            stop = _stop_cycles(search.case, search.trial)
        work = _array_work(design, tables, j, levels, tiling.trips, placed.once, stop)
        cost = _candidate_cost(tables, work, placed.link, tiling.ends)
        if not _hopeless(aim, best, cost.cycles, cost.pj):
            best.cycles, best.pj = cost.cycles, cost.pj
            _write_candidate(search, j, levels, placed.order, search.best_map)


@_inner
def _write_candidate(search, j, levels, order, into):
    """Write a candidate as a mapping row; its register tile is cut to what divides the buffer tile."""
    case, mapping, tables = search.case, search.mapping, search.tables
    layer, option, schedule = case.layer, case.option, tables.schedules[j]
    register = schedule.register
    _copy(mapping, into, N_MAP)
    into[MAP_T + G] = mapping[MAP_S + G]
    into[MAP_T + C], into[MAP_T + K] = tables.tile[SLOT_C, levels.c], tables.tile[SLOT_K, levels.k]
    into[MAP_T + B] = tables.tile[SLOT_B, levels.b]
    into[MAP_T + OY], into[MAP_T + OX] = tables.tile[SLOT_Y, levels.y], tables.tile[SLOT_X, levels.x]
    into[MAP_T + FY], into[MAP_T + FX] = tables.filters[levels.f].size[Y], tables.filters[levels.f].size[X]
    into[MAP_DRAM_ORDER] = order
    into[MAP_STATIONARY] = schedule.stationary
    for d in range(8):
        step, inside, extent = mapping[MAP_S + d], _tile(layer, into, d), layer[d]
        if option[OPT_FLATTEN] and d == C:
            inside *= layer[FY] * layer[FX]
            extent *= layer[FY] * layer[FX]
        into[MAP_R + d] = register_steps(_ceil_div(inside, step), _ceil_div(extent, step), register[d])


@_inner
def _copy(source, target, n):
    """Copy the first `n` numbers (an assignment of slices takes seconds to compile)."""
    for i in range(n):
        target[i] = source[i]


@_inner
def _hopeless(aim, best, cycles, energy):
    """No mapping with these lower bounds can become the best."""
    if aim == FASTEST:
        return cycles >= best.cycles
    if aim == FRUGAL:
        tied = energy == best.pj and cycles >= best.cycles
        return cycles > best.limit or energy > best.pj or tied
    return cycles * energy >= best.cycles * best.pj


@_inner
def _rank(aim, cycles, energy):
    """What the search minimises."""
    return cycles if aim == FASTEST else (energy if aim == FRUGAL else energy * cycles)


# Candidates of buffer tiles.


@_inner
def _candidates(case, mapping, sizes, tables):
    """Fill the tables of candidates: buffer tiles, register tiles and stationary operands."""
    _tile_table(case, mapping, sizes, tables)
    _register_sizes(case, mapping, tables.registers)
    tables.n_schedules = 0
    for stationary in range(3):
        if case.option[OPT_W + stationary]:
            _register_tiles(case, stationary, tables)
    _clear_array_trips(tables)


@_inner
def _tile_table(case, mapping, sizes, tables):
    """Fill the candidate tiles of each slot and of the filter."""
    layer, option = case.layer, case.option
    _filter_tiles(case, mapping, tables)
    for slot in range(N_SLOTS):
        d = _loop_of(slot)
        step = 1.0 if option[OPT_FLATTEN] > 0 and d == C else mapping[MAP_S + d]
        tables.n_levels[slot] = _levels(_ceil_div(layer[d], step), sizes, tables.tile[slot])
        for i in range(tables.n_levels[slot]):
            tables.tile[slot, i] *= step
            size = min(tables.tile[slot, i], layer[d])
            trips = _ceil_div(layer[d], size)
            tables.size[slot, i] = size
            tables.trips[slot, i] = trips
            tables.last[slot, i] = layer[d] - (trips - 1) * size
    for axis in range(2):
        geometry = axis_of(layer, axis)
        for f in range(tables.n_filters):
            tap_tile = min(tables.filters[f].size[axis], layer[FY + axis])
            taps = Cut(layer[FY + axis], tap_tile, tap_tile)
            for i in range(tables.n_levels[SLOT_Y + axis]):
                size = tables.size[SLOT_Y + axis, i]
                tables.fetched[axis, f, i] = axis_sum(Cut(layer[OY + axis], size, size), taps, geometry)
                tables.span[axis, f, i] = min(_span(layer, axis, size, tap_tile), layer[TOUCHED_Y + axis])
    _cycles_by_tile_of_c(case, mapping, tables)


@_inner
def _levels(steps, sizes, levels):
    """Tile sizes in steps, largest first: all steps, then the stated sizes below that; returns how many."""
    levels[0] = steps
    count = 1
    for i in range(sizes.shape[0]):
        size = sizes[sizes.shape[0] - 1 - i]
        if size < steps and count < MAX_LEVELS:
            levels[count] = size
            count += 1
    return count


@_inner
def _loop_of(slot):
    """The loop of a slot: C K B OY OX."""
    return C if slot == SLOT_C else (K if slot == SLOT_K else (B if slot == SLOT_B else slot + 1))


@_inner
def _filter_tiles(case, mapping, tables):
    """Fill the tiles of the filter: whole; one spatial step of rows; one step of both."""
    layer, filters = case.layer, tables.filters
    step_y, step_x = mapping[MAP_S + FY], mapping[MAP_S + FX]
    count = 1
    filters[0].size[Y], filters[0].size[X] = layer[FY], layer[FX]
    if not case.option[OPT_FLATTEN] > 0:
        if step_y < layer[FY]:
            filters[count].size[Y], filters[count].size[X] = step_y, layer[FX]
            count += 1
        if step_x < layer[FX]:
            filters[count].size[Y], filters[count].size[X] = min(step_y, layer[FY]), step_x
            count += 1
    tables.n_filters = count
    for f in range(count):
        fy, fx = filters[f].size[Y], filters[f].size[X]
        filters[f].taps = min(fy, layer[FY]) * min(fx, layer[FX])
        filters[f].trips = _ceil_div(layer[FY], fy) * _ceil_div(layer[FX], fx)


@_inner
def _array_cycles(layer, option, mapping):
    """Cycles of the array on all of the layer: a pass over every loop, idle edges included."""
    cycles = 1.0
    for d in range(8):
        cycles *= _ceil_div(_loop_extent(layer, option, d), mapping[MAP_S + d])
    return cycles


@_inner
def _cycles_by_tile_of_c(case, mapping, tables):
    """Fill the array cycles for each tile of C: a step of a flattened reduction does not cross a tile."""
    layer, option = case.layer, case.option
    cycles = _array_cycles(layer, option, mapping)
    taps, step = layer[FY] * layer[FX], mapping[MAP_S + C]
    for c in range(tables.n_levels[SLOT_C]):
        tables.cycles[c] = cycles
        if option[OPT_FLATTEN] > 0:
            full = _ceil_div(tables.size[SLOT_C, c] * taps, step)
            last = _ceil_div(tables.last[SLOT_C, c] * taps, step)
            steps = (tables.trips[SLOT_C, c] - 1) * full + last
            tables.cycles[c] = cycles * steps / _ceil_div(layer[C] * taps, step)


# Candidates of schedules: stationary operands and register tiles.


@_inner
def _register_tiles(case, stationary, tables):
    """Append the register tiles that fit and that no fitting one exceeds in one loop to the schedules.

    A larger register tile never moves more over the array's wires (pieces merge), so only these matter.  Filters: one
    tap, a row of taps, or all; pixels in row order: part of a row, or whole rows; C and K: doublings.
    """
    registers = tables.registers
    _most_pixels(case, stationary, registers)
    room = case.design[REG_W] / (registers.lanes * _weight_word_bytes(case.layer, case.design))
    for f in range(MAX_FILTERS):
        if (f == 1 and registers.fx == 1.0) or (f == 2 and registers.fy == 1.0):
            continue
        fy, fx = _register_filter(registers, f)
        for c in range(registers.n_c):
            for k in range(registers.n_k):
                pixels = min(registers.most_inputs[f, c], registers.most_sums[k])
                if registers.k[k] * registers.c[c] * (fy * fx) > room or pixels < 0:
                    break
                if tables.n_schedules == MAX_SCHEDULES or _exceeded(registers, room, f, c, k, pixels):
                    continue
                schedule = tables.schedules[tables.n_schedules]
                schedule.stationary = stationary
                tile = schedule.register
                tile[B], tile[G], tile[K], tile[C] = 1.0, 1.0, registers.k[k], registers.c[c]
                tile[OY], tile[OX] = _register_rows(registers, pixels)
                tile[FY], tile[FX] = fy, fx
                tables.n_schedules += 1


@_inner
def _register_sizes(case, mapping, registers):
    """Fill the sizes of register tiles."""
    layer, s = case.layer, MAP_S
    registers.fy, registers.fx = _ceil_div(layer[FY], mapping[s + FY]), _ceil_div(layer[FX], mapping[s + FX])
    if case.option[OPT_FLATTEN]:
        registers.fy, registers.fx = 1.0, 1.0
    registers.columns = _ceil_div(layer[OX], mapping[s + OX])
    registers.lanes = max(mapping[MAP_LANES], 1.0)
    registers.n_k = _doubling(_ceil_div(layer[K], mapping[s + K]), registers.k)
    registers.n_c = _doubling(_ceil_div(_loop_extent(layer, case.option, C), mapping[s + C]), registers.c)
    n = _doubling(registers.columns, registers.pixels)
    registers.n_columns = n
    rows = _ceil_div(layer[OY], mapping[s + OY])
    registers.n_pixels = n + _doubling(rows, registers.pixels[n:])  # 1 whole row twice: harmless


@_inner
def _doubling(steps, levels):
    """Register tile sizes: 1, 2, 4 ... and all steps; each divides into pieces of the one before."""
    count = 0
    value = 1.0
    while value < steps and count < MAX_LEVELS - 1:
        levels[count] = value
        count += 1
        value *= 2
    levels[count] = steps
    return count + 1


@_inner
def _register_filter(registers, f):
    """Register tile of the filter: one tap, a row of taps, all taps."""
    return registers.fy if f == 2 else 1.0, registers.fx if f >= 1 else 1.0


@_inner
def _register_rows(registers, p):
    """Rows and columns of the pixels number `p`: part of a row, or whole rows."""
    if p < registers.n_columns:
        return 1.0, registers.pixels[p]
    return registers.pixels[p], registers.columns


@_inner
def _most_pixels(case, stationary, registers):
    """Fill the most pixels whose inputs and whose sums the registers hold."""
    design = case.design
    for f in range(MAX_FILTERS):
        fy, fx = _register_filter(registers, f)
        best = registers.n_pixels - 1
        for c in range(registers.n_c):
            while best >= 0:
                oy, ox = _register_rows(registers, best)
                pixels = _register_pixels(case, stationary, oy, ox, fy, fx)
                if registers.c[c] * registers.lanes * pixels * design[ACTIVATION_BYTES] <= design[REG_I]:
                    break
                best -= 1
            registers.most_inputs[f, c] = best
    best = registers.n_pixels - 1
    for k in range(registers.n_k):
        while best >= 0:
            oy, ox = _register_rows(registers, best)
            if registers.k[k] * (oy * ox) * design[ACCUMULATOR_BYTES] <= design[REG_O]:
                break
            best -= 1
        registers.most_sums[k] = best


@_inner
def _exceeded(registers, room, f, c, k, pixels):
    """Whether a register tile that fits exceeds this one in one loop and has as many pixels.

    `room`: words of W that fit, for one lane.
    """
    fy, fx = _register_filter(registers, f)
    if k + 1 < registers.n_k and registers.k[k + 1] * registers.c[c] * (fy * fx) <= room:
        if pixels <= registers.most_sums[k + 1]:
            return True
    if c + 1 < registers.n_c and registers.k[k] * registers.c[c + 1] * (fy * fx) <= room:
        if pixels <= registers.most_inputs[f, c + 1]:
            return True
    larger = _larger_filter(registers, f)
    if larger == MAX_FILTERS:
        return False
    fy, fx = _register_filter(registers, larger)
    return registers.k[k] * registers.c[c] * (fy * fx) <= room and pixels <= registers.most_inputs[larger, c]


@_inner
def _larger_filter(registers, f):
    """The next larger register tile of the filter that differs from `f`; 3 = none."""
    if f == 0 and registers.fx > 1:
        return 1
    return 2 if f < 2 and registers.fy > 1 else 3


@_inner
def register_steps(tile, steps, register):
    """Steps of a register tile inside a buffer tile of `tile` steps: the largest power of two that divides it.

    So buffer tiles are whole multiples of register tiles; a tile of all steps takes any register tile.
    """
    if tile >= steps:
        return min(register, steps)
    size = 1.0
    while size * 2 <= register and _floor(tile / (size * 2)) * (size * 2) == tile:
        size *= 2
    return size


# Facts that all candidates share, and what traffic costs.


@_inner
def _facts(case, mapping, facts):
    """Fill the facts that do not depend on the schedules."""
    layer, design, variant, bypass = case.layer, case.design, case.variant, int(mapping[MAP_BYPASS])
    words, word, dense = _words(layer), design[ACTIVATION_BYTES], design[COMPRESSION]
    w_word, sum_word = _weight_word_bytes(layer, design), design[ACCUMULATOR_BYTES]
    keep_w = bypass & BYPASS_W == 0 and variant & WEIGHTS_RESIDENT == 0
    keep_i = bypass & BYPASS_I == 0 and variant & IN_RESIDENT == 0
    keep_o = bypass & BYPASS_O == 0
    step_g = mapping[MAP_S + G]
    g = min(step_g, layer[G])
    facts.whole[W], facts.whole[I], facts.whole[O] = words.w * w_word, words.i * word, words.o * sum_word
    facts.load[W], facts.load[I] = words.w / _edge(design, W), words.i / _edge(design, I)
    facts.load[O] = words.o / _edge(design, O)
    facts.positions = layer[TOUCHED_Y] * layer[TOUCHED_X]
    facts.word[W], facts.word[I], facts.word[O] = g * w_word, g * word, g * sum_word
    facts.lead_w = _padding(case, mapping, W) if keep_w and design[DOUBLE_W] > 0 else 0.0
    facts.lead_i = dense * _padding(case, mapping, I) if keep_i and design[DOUBLE_I] > 0 else 0.0
    facts.steps_g = _ceil_div(layer[G], step_g)
    facts.tail = 0.0
    if keep_o and design[DOUBLE_O] > 0 and variant & OUT_RESIDENT == 0:
        last_g = layer[G] - (facts.steps_g - 1) * step_g
        facts.tail = word * dense * _padding(case, mapping, O) * last_g
    facts.reload = design[RELOAD]
    facts.whole_g = 1.0 if g == layer[G] else 0.0
    for x in range(3):
        held = keep_w if x == W else (keep_i if x == I else keep_o)
        facts.copies[x] = (1.0 + design[TWICE_W + x]) if held else 0.0
        facts.buffer[x] = design[BUFFER_W + x]
        facts.room[x] = tile_capacity(design, x)
    facts.out_pixels = layer[B] * layer[OY] * layer[OX]
    facts.tile_pixels = facts.room[int(design[BUFFER_O])] / facts.word[O] if keep_o else np.inf
    facts.vector = layer[VECTOR_OPERATIONS] / design[VECTOR_LANES]
    facts.per_bandwidth, facts.leak = 1.0 / design[DRAM_BYTES_PER_CYCLE], design[PJ_LEAK_CYCLE]


@_inner
def _coefficients(case, mapping, out, costs):
    """Read the costs of the six traffic numbers off the model."""
    for row in range(N_COST_ROWS):
        u = UNIT_BYTES
        array = WIO(u if row == ARRAY_BYTE_W else 0.0, u if row == ARRAY_BYTE_I else 0.0,
                    u if row == ARRAY_BYTE_O else 0.0)  # fmt: skip
        dram = WIO(u if row == DRAM_BYTE_W else 0.0, u if row == DRAM_BYTE_I else 0.0,
                   u if row == DRAM_BYTE_O else 0.0)  # fmt: skip
        _account(case, mapping, array, dram, out)
        for column in range(N_COSTS):
            source = PORT_0 + column - COST_PORT_0
            if column == COST_DRAM:
                source = DRAM_BYTES
            elif column == COST_SERIAL:
                source = SERIAL_BYTES
            elif column == COST_PJ:
                source = ENERGY_PJ
            costs[row, column] = out[source] if row == NO_TRAFFIC else (out[source] - costs[NO_TRAFFIC, column]) / u


@_inner
def _link_bytes(facts, pixels, times):
    """Bytes of W, I and returning O over the DRAM link."""
    return WIO(facts.whole[W] * times.w, facts.whole[I] * pixels * times.i, facts.whole[O] * (times.o - 1))


@_inner
def _over_link(costs, column, link):
    """What `link` bytes over the DRAM link cost in one column."""
    return (costs[DRAM_BYTE_W, column] * link.w + costs[DRAM_BYTE_I, column] * link.i
            + costs[DRAM_BYTE_O, column] * link.o)  # fmt: skip


@_inner
def _link_costs(costs, link):
    """What `link` bytes over the DRAM link cost in each column."""
    return LinkCosts(_over_link(costs, COST_DRAM, link), _over_link(costs, COST_SERIAL, link),
                     _over_link(costs, COST_PORT_0, link), _over_link(costs, COST_PORT_1, link),
                     _over_link(costs, COST_PORT_2, link), _over_link(costs, COST_PJ, link))  # fmt: skip


@_inner
def _wire_bytes_cost(costs, column, wires):
    """What `wires`, bytes over the wires of the array, cost in one column."""
    return (costs[ARRAY_BYTE_W, column] * wires.w + costs[ARRAY_BYTE_I, column] * wires.i
            + costs[ARRAY_BYTE_O, column] * wires.o)  # fmt: skip


@_inner
def _over_wires(costs, column, wires):
    """As `_wire_bytes_cost`, what no traffic costs included."""
    return costs[NO_TRAFFIC, column] + _wire_bytes_cost(costs, column, wires)


@_inner
def _port_cycles(costs, wires, link):
    """Cycles of the busiest port; `link`: from `_link_costs`."""
    port_0 = _over_wires(costs, COST_PORT_0, wires) + link.port_0
    port_1 = _over_wires(costs, COST_PORT_1, wires) + link.port_1
    port_2 = _over_wires(costs, COST_PORT_2, wires) + link.port_2
    return max(port_0, max(port_1, port_2))


@_inner
def _candidate_cost(tables, work, link, ends):
    """Cost of a mapping (as `_latency`), or lower bounds of it from lower bounds of everything.

    `work`: of array, its skew and the vector unit; `link`: from `_link_costs`; `ends`: bytes that cannot overlap.
    """
    costs, facts = tables.costs, tables.facts
    moved = _over_wires(costs, COST_DRAM, work.wires) + link.dram
    serial = _over_wires(costs, COST_SERIAL, work.wires) + link.serial
    steady = max(work.busy, _port_cycles(costs, work.wires, link))
    cycles = max(steady + (ends + serial) * facts.per_bandwidth, moved * facts.per_bandwidth)
    return Cost(cycles, _over_wires(costs, COST_PJ, work.wires) + link.pj + cycles * facts.leak)


# Work of the array: trips of each schedule, filled as they are needed, and what follows from them.


@_inner
def _clear_array_trips(tables):
    """Mark the array trips of all schedules as not filled yet."""
    for f in range(tables.n_filters):
        for j in range(tables.n_schedules):
            total = tables.array_trips[f, j].total
            for slot in range(N_SLOTS):
                for i in range(tables.n_levels[slot]):
                    total[slot, i] = -1.0


@_inner
def _fill_missing(search, j, levels):
    """Fill the array trips that are missing of one buffer tile for schedule `j`."""
    total = search.tables.array_trips[levels.f, j].total
    if total[SLOT_C, levels.c] < 0:
        _fill_array_trips(search, j, levels.f, SLOT_C, levels.c)
    if total[SLOT_K, levels.k] < 0:
        _fill_array_trips(search, j, levels.f, SLOT_K, levels.k)
    if total[SLOT_B, levels.b] < 0:
        _fill_array_trips(search, j, levels.f, SLOT_B, levels.b)
    if total[SLOT_Y, levels.y] < 0:
        _fill_array_trips(search, j, levels.f, SLOT_Y, levels.y)
    if total[SLOT_X, levels.x] < 0:
        _fill_array_trips(search, j, levels.f, SLOT_X, levels.x)


@_inner
def _fill_array_trips(search, j, f, slot, i):
    """Fill level `i` of a slot for schedule `j`: array trips; of OY and OX also the positions into the array."""
    case, mapping, tables = search.case, search.mapping, search.tables
    layer, option = case.layer, case.option
    register, taps, trips = tables.schedules[j].register, tables.filters[f].size, tables.array_trips[f, j]
    d = _loop_of(slot)
    step = mapping[MAP_S + d]
    extent = _loop_extent(layer, option, d)
    tile = _loop_size(layer, option, d, tables.size[slot, i])
    total, inside, steps = _array_trips(extent, tile, step, register[d])
    if d == C and not option[OPT_FLATTEN]:
        for axis in range(2):
            tap = FY + axis
            more, most, _ = _array_trips(layer[tap], taps[axis], mapping[MAP_S + tap], register[tap])
            total *= more
            inside *= most
    trips.total[slot, i], trips.inside[slot, i] = total, inside
    if slot >= SLOT_Y:
        axis, tap = slot - SLOT_Y, FY + slot - SLOT_Y
        _, _, tap_steps = _array_trips(layer[tap], taps[axis], mapping[MAP_S + tap], register[tap])
        cut_taps = Cut(layer[tap], taps[axis], mapping[MAP_S + tap] * tap_steps)
        stationary, forwards = tables.schedules[j].stationary, option[OPT_FORWARDS] > 0
        outputs = Cut(extent, tile, step * steps)
        trips.positions[axis, i] = wire_positions(case, stationary, forwards, axis, outputs, cut_taps)


@_inner
def _array_trips(extent, tile, step, register):
    """Array trips of one loop over all its DRAM tiles, and at most in one; and the register tile [steps]."""
    tile = min(tile, extent)
    count = _ceil_div(extent, tile)
    steps = register_steps(_ceil_div(tile, step), _ceil_div(extent, step), register)
    inside = _ceil_div(tile, step * steps)
    return (count - 1) * inside + _ceil_div(extent - (count - 1) * tile, step * steps), inside, steps


@_inner
def _by_group(trips, levels):
    """`Trips` of a buffer tile from those by slot and level; G is taken to have one."""
    pixels = trips[SLOT_B, levels.b] * trips[SLOT_Y, levels.y] * trips[SLOT_X, levels.x]
    return Trips(pixels, trips[SLOT_K, levels.k], trips[SLOT_C, levels.c], 1.0)


@_inner
def _array_work(design, tables, j, levels, outside, once, stop):
    """`Work` of schedule `j` in one buffer tile.

    `outside`, `once`: trips over DRAM tiles and times over the DRAM link; `stop`: from `_stop_cycles`, 0 for a lower
    bound.
    """
    facts, trips, stationary = tables.facts, tables.array_trips[levels.f, j], tables.schedules[j].stationary
    total, inside = _by_group(trips.total, levels), _by_group(trips.inside, levels)
    positions = trips.positions[Y, levels.y] * trips.positions[X, levels.x]
    times = _stationary_times(stationary, inside, outside, once)
    times_w, times_i, visits = total.p, total.k, total.r
    if stationary == W:
        times_w = times
        folds, load = total.k * total.r, facts.load[W]
    elif stationary == I:
        times_i = times
        folds, load = total.p * total.r, facts.load[I] * positions
    else:
        visits = times
        folds, load = total.p * total.k, facts.load[O]
    cycles = tables.cycles[levels.c]
    cycles += _skew(design, cycles, folds * facts.steps_g * times, load * times, stop)
    traffic = WIO(facts.whole[W] * times_w, facts.whole[I] * positions * times_i, facts.whole[O] * (visits - 1))
    return Work(max(cycles, facts.vector), traffic)


# Lower bounds.


@_inner
def _schedule_floors(search):
    """Fill the facts about schedules: least work of all over all buffer tiles, operands that always stream.

    One buffer tile that holds the whole layer moves the least over every wire, and has the least skew.
    """
    tables = search.tables
    facts = tables.facts
    facts.least_busy, facts.least[W], facts.least[I], facts.least[O] = np.inf, np.inf, np.inf, np.inf
    facts.streams[W], facts.streams[I], facts.streams[O] = 1.0, 1.0, 1.0
    whole = Levels(WHOLE, WHOLE, WHOLE, WHOLE, WHOLE, WHOLE)
    for j in range(tables.n_schedules):
        work = _least_work(search, j, whole, 1.0, 1.0)
        facts.least_busy = min(facts.least_busy, work.busy)
        facts.least[W] = min(facts.least[W], work.wires.w)
        facts.least[I] = min(facts.least[I], work.wires.i)
        facts.least[O] = min(facts.least[O], work.wires.o)
        facts.streams[tables.schedules[j].stationary] = 0.0


@_inner
def _least_work(search, j, levels, trips_k, trips_r):
    """Least work of schedule `j` in buffer tiles of at least these trips; the busiest port is busy, too.

    `levels`: the largest such tile.
    """
    tables = search.tables
    facts = tables.facts
    _fill_missing(search, j, levels)
    inside = _by_group(tables.array_trips[levels.f, j].inside, levels)
    once = WIO(1.0, trips_k if inside.r > 1 else 1.0, trips_r if inside.k > 1 else 1.0)
    work = _array_work(search.case.design, tables, j, levels, Trips(1.0, once.i, once.o, 1.0), once, 0.0)
    link = _link_costs(tables.costs, WIO(facts.whole[W], facts.whole[I] * facts.positions, 0.0))
    return Work(max(work.busy, _port_cycles(tables.costs, work.wires, link)), work.wires)


@_inner
def _nodes(tables):
    """Fill the nodes whose weights fit, with lower bounds of what is inside."""
    facts = tables.facts
    tables.n_nodes = 0
    for f in range(tables.n_filters):
        least_plane = tables.span[Y, f, tables.n_levels[SLOT_Y] - 1] * tables.span[X, f, tables.n_levels[SLOT_X] - 1]
        pixels = tables.fetched[Y, f, WHOLE] * tables.fetched[X, f, WHOLE]
        for c in range(tables.n_levels[SLOT_C]):
            for k in range(tables.n_levels[SLOT_K]):
                node = tables.nodes[tables.n_nodes]
                _node(tables, f, c, k, node)
                if node.held_w > facts.room[int(facts.buffer[W])]:
                    continue
                trips_p = max(1.0, facts.out_pixels * node.size_k / facts.tile_pixels)
                least_i = facts.lead_i * facts.word[I] * node.size_c * least_plane
                wire_i = max(facts.least[I], facts.streams[I] * facts.whole[I] * facts.positions * node.trips_k)
                wire_o = max(facts.least[O], facts.streams[O] * facts.whole[O] * (node.trips_r - 1))
                work = Work(facts.least_busy, WIO(facts.least[W], wire_i, wire_o))
                trips = Trips(trips_p, node.trips_k, node.trips_r, 1.0)
                least = _least_cost(tables, Tiling(trips, pixels, facts.lead_w * node.tile_w + least_i), work)
                node.cycles, node.pj = least.cycles, least.pj
                tables.n_nodes += 1


@_inner
def _node(tables, f, c, k, node):
    """Fill the record of a node but for its bounds."""
    facts, taps = tables.facts, tables.filters[f]
    node.f, node.c, node.k = f, c, k
    node.size_c, node.size_k = tables.size[SLOT_C, c], tables.size[SLOT_K, k]
    node.trips_k, node.trips_r = tables.trips[SLOT_K, k], tables.trips[SLOT_C, c] * taps.trips
    node.whole_filter = 1.0 if taps.trips == 1.0 and facts.whole_g > 0 else 0.0
    node.tile_w = facts.word[W] * node.size_k * node.size_c * taps.taps
    node.held_w = node.tile_w * _copies(facts, W, node.trips_r * node.trips_k == 1 and node.whole_filter > 0)


@_inner
def _least_cost(tables, tiling, work):
    """Least cost of a tiling with at least these trips, pixels and end bytes, and at least this work."""
    facts, costs = tables.facts, tables.costs
    wire_w = max(work.wires.w, facts.streams[W] * facts.whole[W] * tiling.trips.p)
    wires = WIO(wire_w, work.wires.i, work.wires.o)
    moved = np.inf
    energy = np.inf
    for order in range(N_ORDERS):
        link = _link_bytes(facts, tiling.pixels, _dram_times(order, facts.reload, tiling.trips))
        moved = min(moved, _over_wires(costs, COST_DRAM, wires) + _over_link(costs, COST_DRAM, link))
        energy = min(energy, _over_wires(costs, COST_PJ, wires) + _over_link(costs, COST_PJ, link))
    cycles = max(work.busy + tiling.ends * facts.per_bandwidth, moved * facts.per_bandwidth)
    return Cost(cycles * ROOM, (energy + cycles * facts.leak) * ROOM)


# ---------------------------------------------------------------------------------------------------------------------
# 6. Networks: layers in order, equal shapes once, activations and weights that stay on chip.

# Columns of a step row (a layer of the network in execution order) and of a tensor row.
(STEP_IS_VECTOR, STEP_INDEX, STEP_REPEATS, STEP_OUTPUT, STEP_FUSED, STEP_SECOND, STEP_INPUT_FIRST, STEP_INPUT_COUNT,
 STEP_NETWORK) = range(9)  # fmt: skip
N_STEP = 9
TENSOR_ELEMENTS, TENSOR_FIRST, TENSOR_LAST = range(3)
N_VARIANTS = 16


class Networks(NamedTuple):
    """Networks as arrays; steps and tensors of several follow one another, layers may be shared.

    layers, vectors : rows of the distinct MAC layers and of the vector layers.
    steps : (n_steps, N_STEP) layers in execution order.
    inputs : tensors that the steps read; -1 = none.
    tensors : (n_tensors, 3) elements, first and last step.
    weight_elements : (n_networks,) weights of each network.
    """

    layers: np.ndarray
    vectors: np.ndarray
    steps: np.ndarray
    inputs: np.ndarray
    tensors: np.ndarray
    weight_elements: np.ndarray


class Found(NamedTuple):
    """What is found of one design: each distinct layer once under each residency variant.

    done : (n_layers, N_VARIANTS) which of the following hold.
    results, maps : (n_layers, N_VARIANTS, ...) result and mapping row.
    variants : (n_steps,) the variant of each step.
    resident : (n_tensors,) which activations stay on chip.
    usage : (n_steps,) bytes of the store of activations in use.
    """

    done: np.ndarray
    results: np.ndarray
    maps: np.ndarray
    variants: np.ndarray
    resident: np.ndarray
    usage: np.ndarray


def make_found(networks: Networks) -> Found:
    """Arrays for `evaluate_designs` to fill."""
    n_layers = len(networks.layers)
    return Found(
        np.zeros((n_layers, N_VARIANTS), dtype=bool),
        np.zeros((n_layers, N_VARIANTS, N_RESULT)),
        np.zeros((n_layers, N_VARIANTS, N_MAP)),
        np.zeros(len(networks.steps), dtype=np.int64),
        np.zeros(len(networks.tensors), dtype=bool),
        np.zeros(len(networks.steps)),
    )


@_inner
def vector_cost(layer, design, bytes_in, bytes_out, out):
    """Cost of a vector operation; `bytes_in`, `bytes_out` cross the DRAM link (before compression), the rest stays."""
    for column in range(N_RESULT):
        out[column] = 0.0
    word = design[ACTIVATION_BYTES]
    constants = layer[V_WEIGHT] * design[WEIGHT_BYTES]
    out[BUFFER_I_READ] = layer[V_INPUT] * word + constants - bytes_in
    out[BUFFER_I_WRITE] = layer[V_OUTPUT] * word - bytes_out
    bytes_in = constants + (bytes_in - constants) * design[COMPRESSION]
    bytes_out *= design[COMPRESSION]
    moved = bytes_in + bytes_out
    vector = layer[V_OPERATIONS] / design[VECTOR_LANES]
    dram = moved / design[DRAM_BYTES_PER_CYCLE]
    out[DRAM_I] = bytes_in
    out[DRAM_O_WRITE] = bytes_out
    port = (out[BUFFER_I_READ] + out[BUFFER_I_WRITE]) / design[WIDTH_0 + int(design[BUFFER_I])]
    out[PORT_0 + int(design[BUFFER_I])] = port
    out[VECTOR_CYCLES] = vector
    out[DRAM_CYCLES] = dram
    out[CYCLES] = max(vector, port, dram)
    out[VECTOR_STALL] = vector
    out[BUFFER_STALL] = max(vector, port) - vector
    out[DRAM_STALL] = out[CYCLES] - max(vector, port)
    out[BOUND] = BOUND_VECTOR
    if dram > max(vector, port):
        out[BOUND] = BOUND_DRAM
    elif port > vector:
        out[BOUND] = BOUND_BUFFER_0 + design[BUFFER_I]
    out[PJ_TOTAL_BUFFER] = out[BUFFER_I_READ] * design[PJ_READ_I] + out[BUFFER_I_WRITE] * design[PJ_WRITE_I]
    out[PJ_TOTAL_DRAM] = moved * design[PJ_DRAM]
    out[PJ_TOTAL_VECTOR] = layer[V_OPERATIONS] * design[PJ_VECTOR]
    out[PJ_TOTAL_LEAKAGE] = out[CYCLES] * design[PJ_LEAK_CYCLE]
    out[ENERGY_PJ] = out[PJ_TOTAL_BUFFER] + out[PJ_TOTAL_DRAM] + out[PJ_TOTAL_VECTOR] + out[PJ_TOTAL_LEAKAGE]
    out[BOUND_CYCLES] = max(vector, dram)
    out[BOUND_PJ] = out[PJ_TOTAL_DRAM]


@_entry
def vector_step(design, vector, step, inputs, tensors, resident, out):
    """Cost of a vector step, resident inputs and outputs free of DRAM traffic."""
    word = design[ACTIVATION_BYTES]
    bytes_in = vector[V_INPUT]
    for j in range(int(step[STEP_INPUT_FIRST]), int(step[STEP_INPUT_FIRST] + step[STEP_INPUT_COUNT])):
        if inputs[j] >= 0 and resident[inputs[j]]:
            bytes_in -= tensors[inputs[j], TENSOR_ELEMENTS]
    bytes_out = vector[V_OUTPUT]
    if step[STEP_OUTPUT] >= 0 and resident[int(step[STEP_OUTPUT])]:
        bytes_out = 0.0
    constants = vector[V_WEIGHT] * design[WEIGHT_BYTES]
    vector_cost(vector, design, max(0.0, bytes_in) * word + constants, bytes_out * word, out)


@_inner
def resident_tensors(design, tensors, usage, resident):
    """Mark the activations that stay on chip from producer to last consumer: first come, first served."""
    for step in range(usage.shape[0]):
        usage[step] = 0.0
    for i in range(tensors.shape[0]):
        resident[i] = False
        first, last = int(tensors[i, TENSOR_FIRST]), int(tensors[i, TENSOR_LAST])
        if design[STORE_BYTES] <= 0 or first < 0 or last <= first:
            continue
        size = tensors[i, TENSOR_ELEMENTS] * design[ACTIVATION_BYTES]
        free = True
        for step in range(first, last + 1):
            free = free and usage[step] + size <= design[STORE_BYTES]
        if free:
            resident[i] = True
            for step in range(first, last + 1):
                usage[step] += size


@_inner
def _weights_stay(design, weight_elements):
    """Whether the weights of a network stay on chip: they fit the buffer of W, which holds nothing else."""
    holder = design[BUFFER_W]
    alone = holder != design[BUFFER_I] and holder != design[BUFFER_O]
    fit = weight_elements * design[WEIGHT_BYTES] <= design[CAPACITY_0 + int(holder)]
    return design[RESIDENT_WEIGHTS] > 0 and alone and fit


@_inner
def _variant(step, inputs, resident, static_weights, weights_stay):
    """Residency bits of one MAC step."""
    variant = 0
    if step[STEP_INPUT_COUNT] > 0 and inputs[int(step[STEP_INPUT_FIRST])] >= 0:
        if resident[inputs[int(step[STEP_INPUT_FIRST])]]:
            variant |= IN_RESIDENT
    if step[STEP_OUTPUT] >= 0 and resident[int(step[STEP_OUTPUT])]:
        variant |= OUT_RESIDENT
    if step[STEP_FUSED] >= 0 and resident[int(step[STEP_FUSED])]:
        variant |= FUSED_RESIDENT
    if static_weights:
        if weights_stay:
            variant |= WEIGHTS_RESIDENT
    elif step[STEP_SECOND] >= 0 and resident[int(step[STEP_SECOND])]:
        variant |= WEIGHTS_RESIDENT
    return variant


@_entry
def fixed_mapping(layer, design, option, fixed, mapping):
    """Fill the `mapping` (N_MAP,) of a layer from a frozen one, (N_FIXED,), cut to the layer.

    Filters are whole in a tile, groups and batch go one spatial step at a time, nothing bypasses the buffers.
    """
    spatial_factors(Case(layer, design, option, NOTHING_RESIDENT), mapping)
    for d in range(8):
        mapping[MAP_T + d] = mapping[MAP_S + d]
        mapping[MAP_R + d] = 1.0
    for i, d in enumerate((K, C, OY, OX)):
        mapping[MAP_T + d] = min(fixed[FIXED_TILE_K + i], layer[d])
    mapping[MAP_T + FY], mapping[MAP_T + FX] = layer[FY], layer[FX]
    for i, d in enumerate((K, C, OY, OX, FX)):
        inside = _loop_size(layer, option, d, _tile(layer, mapping, d))
        mapping[MAP_R + d] = min(fixed[FIXED_REGISTER_K + i], _ceil_div(inside, mapping[MAP_S + d]))
    stationary = int(fixed[FIXED_STATIONARY])
    if option[OPT_W + stationary] == 0:  # the first that the wires allow
        for a in range(2, -1, -1):
            if option[OPT_W + a] > 0:
                stationary = a
    mapping[MAP_STATIONARY] = stationary
    mapping[MAP_DRAM_ORDER] = fixed[FIXED_ORDER]
    mapping[MAP_BYPASS], mapping[MAP_OPTION], mapping[MAP_ARRAY_GIVEN] = 0.0, 0.0, 0.0


@_entry
def evaluate_designs(designs, fixed, options, networks, sizes, mode, slack, found, scratch, totals):
    """Cost of each network on each design: the sum over its steps into `totals` (n_designs, n_networks, N_RESULT).

    `fixed` (n_designs, N_FIXED): frozen mappings; without columns every layer gets its best mapping (`map_layer`, to
    which `sizes`, `mode` and `slack` belong).  `found` (`make_found`) holds the last design afterwards.
    """
    layers, steps = networks.layers, networks.steps
    for row in range(designs.shape[0]):
        design = designs[row]
        for network in range(totals.shape[1]):
            for column in range(N_RESULT):
                totals[row, network, column] = 0.0
        for index in range(layers.shape[0]):
            for variant in range(N_VARIANTS):
                found.done[index, variant] = False
        resident_tensors(design, networks.tensors, found.usage, found.resident)
        for i in range(steps.shape[0]):
            step = steps[i]
            index, network = int(step[STEP_INDEX]), int(step[STEP_NETWORK])
            variant = 0
            result = scratch.out
            if step[STEP_IS_VECTOR]:
                vector, tensors = networks.vectors[index], networks.tensors
                vector_step(design, vector, step, networks.inputs, tensors, found.resident, result)
            else:
                stay = _weights_stay(design, networks.weight_elements[network])
                variant = _variant(step, networks.inputs, found.resident, layers[index, STATIC_WEIGHTS] > 0, stay)
                result, best_map = found.results[index, variant], found.maps[index, variant]
                if not found.done[index, variant]:
                    if fixed.shape[1] > 0:
                        option = options[int(design[OPTION_FIRST])]
                        fixed_mapping(layers[index], design, option, fixed[row], best_map)
                        evaluate_mapping(layers[index], design, option, best_map, variant, result)
                    else:
                        map_layer(layers[index], design, options, sizes, mode, slack, variant, best_map, result, scratch)
                found.done[index, variant] = True
            found.variants[i] = variant
            for column in range(N_RESULT):
                totals[row, network, column] += step[STEP_REPEATS] * result[column]
