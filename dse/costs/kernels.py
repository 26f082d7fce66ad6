"""The compiled cost model: one layer on one design under one mapping, and the exact search over mappings.

`dse.costs.formulas` says the same in plain Python and is the text to read first; the tests hold the two and a brute-force
loop-nest walker equal.  This file then reads from top to bottom:

1. columns: what the numbers of each row mean, and the tuples that bundle what travels together;
2. geometry: input positions that tiles and array pieces read, halos and padding included;
3. sizes: spatial factors, bytes of a tile, what overflows;
4. cost of one mapping: trips of the loops, traffic, energy, latency; `evaluate_mapping` is the way in;
5. mapper: the search for the best mapping, its candidates and lower bounds; `map_layer` is the way in;
6. network: what stays on chip, vector operations, frozen mappings; `evaluate_designs` is the way in;
7. bounds of designs without a search; `bound_designs` is the way in;
8. closer bounds by the layers' mappers; `least_designs` is the way in.

In parts 4 and 5 a function stands before those that it calls.

This is the only module of the cost model with numba, and it imports nothing of the project: numba's cache does not
notice an edit of a constant or a callee in another module.  Everything arrives as float64 arrays whose columns are
named here.

Loops are grouped by what they leave unchanged: ``P`` = B OY OX (irrelevant to weights), ``K`` (irrelevant
to inputs), ``R`` = C FY FX (irrelevant to outputs).  ``G`` is relevant to all operands and always outermost.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np
from numba import njit

# Only what Python calls is cached on disk: it contains everything it calls.  Nothing here allocates: without numba's
# runtime a view of an array costs no atomic reference count, which took two thirds of the time.
_inner = njit(  # type: ignore[call-overload]  # numba's types lack these options
    nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
)
_inline = njit(  # type: ignore[call-overload]  # numba's types lack these options
    nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
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
 STATIC_WEIGHTS, TOUCHED_Y, TOUCHED_X, MEET_O_Y, MEET_O_X, MEET_F_Y, MEET_F_X, RAGGED_Y, RAGGED_X, ZERO_SHARE, FORM) = range(8, 29)  # fmt: skip
N_LAYER = 29
# Columns of a vector-layer row.
V_OPERATIONS, V_INPUT, V_OUTPUT, V_WEIGHT = range(4)
N_VECTOR = 4
# Columns of a design row.  Where networks have several forms of weights, a design has such a row for each, one behind the
# other, as the layers of that form see it (`_seen`); the first says all that is not of a layer.  BANKS: accesses that a port of a buffer makes in a cycle; 0: it counts bytes.
# OWN_LANES: multipliers of a PE, whatever the form.
(ROWS, COLS, LANES, REG_W, REG_I, REG_O, BUFFER_W, BUFFER_I, BUFFER_O, CAPACITY_0, CAPACITY_1, CAPACITY_2,
 WIDTH_0, WIDTH_1, WIDTH_2, DOUBLE_W, DOUBLE_I, DOUBLE_O, DRAM_BYTES_PER_CYCLE, WEIGHT_BYTES, ACTIVATION_BYTES,
 ACCUMULATOR_BYTES, VECTOR_LANES, SYSTOLIC, OVERLAP, BYPASS, STORE_BYTES, RESIDENT_WEIGHTS, OPTION_FIRST,
 OPTION_COUNT, PJ_MAC, PJ_REG_READ_W, PJ_REG_READ_I, PJ_REG_READ_O, PJ_REG_WRITE_W, PJ_REG_WRITE_I, PJ_REG_WRITE_O, PJ_READ_W, PJ_READ_I, PJ_READ_O, PJ_WRITE_W, PJ_WRITE_I,
 PJ_WRITE_O, PJ_DRAM, PJ_FEED_W, PJ_FEED_I, PJ_FEED_O, PJ_ON_W, PJ_ON_I, PJ_ON_O, PJ_VECTOR, PJ_LEAK_CYCLE, PJ_IO_CYCLE, PJ_CLOCK_CYCLE, PJ_CLOCK_MAC, PJ_MAC_DYNAMIC, OVERLAP_LOAD, LINK_W, LINK_I, LINK_O,
 PADDED_W, PADDED_I, PADDED_O, COMPRESSION, TWICE_W, TWICE_I, TWICE_O, RELOAD, BANKS_0, BANKS_1, BANKS_2,
 WRITES_APART_0, WRITES_APART_1, WRITES_APART_2, PJ_DRAM_CYCLE, OWN_LANES) = range(76)  # fmt: skip
N_DESIGN = 76
# Columns of a spatial-option row: up to four loops an axis (-1 = none), allowed stationary operands, flags; the largest
# factor of each loop of each axis (infinite = none) and whether it is a sub-axis of its own; the mapping family: buffer
# tiles of whole rows, allowed orders of the DRAM loops (bits by row of ORDERS), operands that cross the DRAM link once
# (bits), the set of bypasses (-1 = any that the design allows), whether least DRAM traffic comes first.
OPT_ROWS, OPT_COLS, OPT_W, OPT_I, OPT_O, OPT_FLATTEN, OPT_FORWARDS = 0, 4, 8, 9, 10, 11, 12
OPT_CAP, OPT_FIXED, OPT_WHOLE_ROWS, OPT_ORDERS, OPT_ONCE, OPT_BYPASS, OPT_LEAST_DRAM = 13, 21, 29, 30, 31, 32, 33
N_OPTION = 34
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
# Columns of a result row.  LINES: bytes of buffer traffic as ports move them, padded to whole accesses.  READ_PORT: cycles
# of the port that reads, or of the only one; WRITE_PORT: of the one that only writes; PORT: of the busier.
(CYCLES, ENERGY_PJ, IDEAL, SPATIAL_LOSS, VECTOR_STALL, BUFFER_STALL, DRAM_STALL, FILL_DRAIN, BOUND, OVERFLOW,
 DRAM_W, DRAM_I, DRAM_O_READ, DRAM_O_WRITE, DRAM_FUSED,
 BUFFER_W_READ, BUFFER_W_WRITE, BUFFER_I_READ, BUFFER_I_WRITE, BUFFER_O_READ, BUFFER_O_WRITE,
 ARRAY_W, ARRAY_I, ARRAY_O_READ, ARRAY_O_WRITE, REGISTER_W, REGISTER_I, REGISTER_O,
 PJ_TOTAL_MAC, PJ_TOTAL_REGISTER, PJ_TOTAL_INTERCONNECT, PJ_TOTAL_BUFFER, PJ_TOTAL_DRAM, PJ_TOTAL_VECTOR,
 PJ_TOTAL_CLOCK, PJ_TOTAL_IO, PJ_TOTAL_LEAKAGE, FOLDS, ARRAY_CYCLES, PORT_0, PORT_1, PORT_2, DRAM_CYCLES, VECTOR_CYCLES, MACS, SKEW,
 BOUND_CYCLES, BOUND_PJ, LOAD, DRAM_BYTES, SERIAL_BYTES,
 LINES_W_READ, LINES_W_WRITE, LINES_I_READ, LINES_I_WRITE, LINES_O_READ, LINES_O_WRITE,
 READ_PORT_0, READ_PORT_1, READ_PORT_2, WRITE_PORT_0, WRITE_PORT_1, WRITE_PORT_2, LEAST) = range(64)  # fmt: skip
N_RESULT = 64
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
EVERY_ORDER = 2**N_ORDERS - 1


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
    if mapping[MAP_ARRAY_GIVEN] > 0:  # columns are passed along a sweep in x: no other loop of several trips inside it
        forwards = forwards and _innermost(case, mapping) == (OX if stationary == W else FX)
    outputs = Cut(layer[o], mapping[MAP_T + o], mapping[MAP_S + o] * mapping[MAP_R + o])
    taps = Cut(layer[f], mapping[MAP_T + f], mapping[MAP_S + f] * mapping[MAP_R + f])
    return wire_positions(case, stationary, forwards, axis, outputs, taps)


@_inner
def _innermost(case, mapping):
    """The innermost of the array loops in a given order that have several trips; -1: none has."""
    found = -1
    for i in range(8):
        d = int(mapping[MAP_ARRAY_LOOPS + i])
        size = _loop_size(case.layer, case.option, d, _tile(case.layer, mapping, d))
        if size > mapping[MAP_S + d] * mapping[MAP_R + d]:
            found = d
    return found


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
def _seen(layer):
    """Columns of a design's row in which it stands as a layer with weights of its form sees it."""
    first = int(layer[FORM]) * N_DESIGN
    return first, first + N_DESIGN


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
    """Fill the spatial factors of `mapping`: in-PE lanes over C, then each axis in its listed order, up to the caps.

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
        left = _shared_places(design, option, axis)
        for i in range(4):
            d = int(option[OPT_ROWS + 4 * axis + i])
            if d < 0:
                break
            extent, cap = reduction if d == C else layer[d], option[OPT_CAP + 4 * axis + i]
            fixed = option[OPT_FIXED + 4 * axis + i] > 0
            factor = min(cap if fixed else min(left, cap), _ceil_div(extent, mapping[MAP_S + d]))
            mapping[MAP_S + d] *= factor
            left = left if fixed else _floor(left / factor)


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


@_inline
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


@_inline
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
    """All that is linear in the traffic of a mapping: bytes over every link, cycles of the ports, energy but that of time.

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
    _lines(case, mapping, outputs, out)
    _ports(design, out)
    _energy(case, mapping, out)


@_inner
def _buffer_traffic(case, bypass, outputs, out):
    """Buffer reads and writes [bytes] from the array and DRAM traffic; bypassed operands go straight through."""
    layer, design, variant = case.layer, case.design, case.variant
    skips_w, skips_i = _skips_buffers(variant, bypass, W), _skips_buffers(variant, bypass, I)
    if variant & WEIGHTS_RESIDENT:
        out[DRAM_W] = 0.0
    elif skips_w:
        out[DRAM_W] = out[ARRAY_W]
    out[BUFFER_W_READ] = 0.0 if skips_w else out[ARRAY_W]
    out[BUFFER_W_WRITE] = 0.0 if skips_w else out[DRAM_W]
    if variant & IN_RESIDENT:
        out[DRAM_I] = 0.0
    elif skips_i:
        out[DRAM_I] = out[ARRAY_I]
    out[BUFFER_I_READ] = 0.0 if skips_i else out[ARRAY_I]
    out[BUFFER_I_WRITE] = 0.0 if skips_i else out[DRAM_I]
    if _skips_buffers(variant, bypass, O):
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
def _skips_buffers(variant, bypass, operand):
    """Whether W, I or O goes straight between DRAM and the array; W and I do not where they are resident."""
    if operand == W:
        return bypass & BYPASS_W and not variant & WEIGHTS_RESIDENT
    if operand == I:
        return bypass & BYPASS_I and not variant & IN_RESIDENT
    return bypass & BYPASS_O


@_inner
def _lines(case, mapping, outputs, out):
    """Buffer traffic as the ports move it [bytes]: what the array takes and gives in accesses, all else in lines.

    `outputs`: bytes of the finished outputs.
    """
    design = case.design
    for column in range(6):
        out[LINES_W_READ + column] = out[BUFFER_W_READ + column]
    if design[BANKS_0] == 0:
        return
    sums = _access_padding(case, mapping, O, design[ACCUMULATOR_BYTES]) - 1.0
    finished = _access_padding(case, mapping, O, design[ACTIVATION_BYTES]) - 1.0
    w = _access_padding(case, mapping, W, _weight_word_bytes(case.layer, design)) - 1.0
    out[LINES_W_READ] += w * out[ARRAY_W]
    out[LINES_I_READ] += (_access_padding(case, mapping, I, design[ACTIVATION_BYTES]) - 1.0) * out[ARRAY_I]
    out[LINES_O_READ] += sums * out[ARRAY_O_READ]
    out[LINES_O_WRITE] += sums * out[ARRAY_O_READ] + finished * outputs  # a sum that is read was written before


@_inner
def _access_padding(case, mapping, operand, word):
    """Bytes of the accesses that bring the words of an array step / bytes of these words, `word` bytes each.

    1 where the port counts bytes, and for an operand that skips the buffers.
    """
    design = case.design
    b = int(design[BUFFER_W + operand])
    if design[BANKS_0 + b] == 0 or _skips_buffers(case.variant, int(mapping[MAP_BYPASS]), operand):
        return 1.0
    banks_moved = _step_words(case, mapping, operand) * word * design[BANKS_0 + b]
    return _ceil_div(banks_moved, design[WIDTH_0 + b]) * design[WIDTH_0 + b] / banks_moved


@_inner
def _step_words(case, mapping, operand):
    """Words of W or I that the array takes in a step of all its PEs in use, or of O that it gives."""
    layer, option = case.layer, case.option
    windows = operand == I and option[OPT_FLATTEN] == 0
    words = 1.0
    for d in range(8):
        in_window = d == OY or d == OX or d == FY or d == FX
        if not (_unchanged(operand, d) or (windows and in_window)):
            words *= _step(layer, option, mapping, d)
    if windows:
        for axis in range(2):
            outputs, taps = _step(layer, option, mapping, OY + axis), _step(layer, option, mapping, FY + axis)
            words *= _span(layer, axis, outputs, taps)
    return words


@_inner
def _step(layer, option, mapping, d):
    """Elements of loop `d` that an array step covers at most."""
    return 1.0 if _flattened(option, d) else min(mapping[MAP_S + d], _loop_extent(layer, option, d))


@_inner
def _ports(design, out):
    """Cycles of the buffer ports; a buffer whose writes are not apart has one port for both."""
    for b in range(3):
        out[READ_PORT_0 + b], out[WRITE_PORT_0 + b] = 0.0, 0.0
    for x in range(3):
        b = int(design[BUFFER_W + x])
        read, write = out[LINES_W_READ + 2 * x], out[LINES_W_WRITE + 2 * x]
        if design[WRITES_APART_0 + b] > 0:
            out[READ_PORT_0 + b] += read / design[WIDTH_0 + b]
            out[WRITE_PORT_0 + b] += write / design[WIDTH_0 + b]
        else:
            out[READ_PORT_0 + b] += (read + write) / design[WIDTH_0 + b]
    for b in range(3):
        out[PORT_0 + b] = max(out[READ_PORT_0 + b], out[WRITE_PORT_0 + b])


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
    """Elements of loop `d` in whole blocks of the array: all of the axes that unroll it alone, else its spatial factor.

    Narrow and 2:4 weights let an array take several blocks a step; a block is as wide as without them.
    """
    design, option = case.design, case.option
    size, axes = 1.0, 0
    for axis in range(2):
        first = OPT_ROWS + 4 * axis
        listed = option[first] == d or option[first + 1] == d or option[first + 2] == d or option[first + 3] == d
        if listed and option[first + 1] >= 0:
            return mapping[MAP_S + d]
        if listed:
            size *= min(design[ROWS + axis], option[OPT_CAP + 4 * axis])
            axes += 1
    if axes == 0:
        return mapping[MAP_S + d]
    block = size * (design[OWN_LANES] if d == C else 1.0)
    return block * _ceil_div(mapping[MAP_S + d], block)


@_inner
def _energy(case, mapping, out):
    """Energy by level [pJ] from accesses [bytes]; `_latency` adds what every cycle takes."""
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
    done = macs * (1.0 - layer[ZERO_SHARE])  # the others are gated
    sums = done / mapping[MAP_LANES] * design[ACCUMULATOR_BYTES]
    read_w, read_i = done * _weight_word_bytes(layer, design), macs * design[ACTIVATION_BYTES]
    write_w, write_i = out[ARRAY_W] * pixels, out[ARRAY_I] * reach_i
    write_o = sums + out[ARRAY_O_READ]
    out[REGISTER_W], out[REGISTER_I], out[REGISTER_O] = read_w + write_w, read_i + write_i, sums + write_o
    out[PJ_TOTAL_MAC] = done * (design[PJ_MAC] if layer[STATIC_WEIGHTS] else design[PJ_MAC_DYNAMIC])
    out[PJ_TOTAL_REGISTER] = (read_w * design[PJ_REG_READ_W] + read_i * design[PJ_REG_READ_I] + sums * design[PJ_REG_READ_O]
                              + write_w * design[PJ_REG_WRITE_W] + write_i * design[PJ_REG_WRITE_I]
                              + write_o * design[PJ_REG_WRITE_O])  # fmt: skip
    out[PJ_TOTAL_INTERCONNECT] = (out[ARRAY_W] * (design[PJ_FEED_W] + (pixels - 1.0) * design[PJ_ON_W])
                                  + out[ARRAY_I] * (design[PJ_FEED_I] + (reach_i - 1.0) * design[PJ_ON_I])
                                  + partial * (design[PJ_FEED_O] + (reduction - 1.0) * design[PJ_ON_O]))  # fmt: skip
    buffer = 0.0
    for x in range(3):
        buffer += out[LINES_W_READ + 2 * x] * design[PJ_READ_W + x]
        buffer += out[LINES_W_WRITE + 2 * x] * design[PJ_WRITE_W + x]
    out[PJ_TOTAL_BUFFER] = buffer
    out[PJ_TOTAL_DRAM] = out[DRAM_BYTES] * design[PJ_DRAM]
    out[PJ_TOTAL_VECTOR] = layer[VECTOR_OPERATIONS] * design[PJ_VECTOR]
    out[PJ_TOTAL_CLOCK] = macs * design[PJ_CLOCK_MAC]
    energy = 0.0
    for column in range(PJ_TOTAL_MAC, PJ_TOTAL_IO):
        energy += out[column]
    out[ENERGY_PJ] = energy


# Time.


@_inner
def _latency(case, cycles, ends, stop, out):
    """Cycles, their waterfall, the bound and the energy of clock, interfaces, leakage and waiting DRAM meanwhile.

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
    out[PJ_TOTAL_IO] = out[CYCLES] * design[PJ_IO_CYCLE]
    out[PJ_TOTAL_CLOCK] += out[CYCLES] * design[PJ_CLOCK_CYCLE]
    out[PJ_TOTAL_DRAM] += out[CYCLES] * design[PJ_DRAM_CYCLE]
    out[ENERGY_PJ] += out[CYCLES] * pj_per_cycle(design)
    _bounds(case, ideal, out)


@_entry
def pj_per_cycle(design):
    """Energy of every cycle, whatever is done in it [pJ]."""
    return design[PJ_LEAK_CYCLE] + design[PJ_IO_CYCLE] + design[PJ_CLOCK_CYCLE] + design[PJ_DRAM_CYCLE]


@_inner
def _busiest_port(out):
    """Number of the buffer whose port takes the most cycles."""
    busiest = 0
    for b in range(1, 3):
        if out[PORT_0 + b] > out[PORT_0 + busiest]:
            busiest = b
    return busiest


@_inner
def _compulsory_bytes(case):
    """Bytes that cross the DRAM link under any mapping: each operand that is not resident once."""
    layer, design = case.layer, case.design
    words, word = _words(layer), design[ACTIVATION_BYTES]
    moved = 0.0 if case.variant & FUSED_RESIDENT else layer[FUSED_INPUT] * word * design[COMPRESSION]
    if not case.variant & WEIGHTS_RESIDENT:
        moved += words.w * _weight_word_bytes(layer, design)
    if not case.variant & IN_RESIDENT:
        moved += words.i * layer[TOUCHED_Y] * layer[TOUCHED_X] * word * design[COMPRESSION]
    if not case.variant & OUT_RESIDENT:
        moved += words.o * word * design[COMPRESSION]
    return moved


@_inner
def _least_pj(layer, design, macs, moved, cycles):
    """Energy of the MACs, of the bytes that cross the DRAM link, and of what runs with time, at least [pJ]."""
    mac_pj = design[PJ_MAC] if layer[STATIC_WEIGHTS] else design[PJ_MAC_DYNAMIC]
    mac_pj *= 1.0 - layer[ZERO_SHARE]
    return macs * (mac_pj + design[PJ_CLOCK_MAC]) + moved * design[PJ_DRAM] + cycles * pj_per_cycle(design)


@_inner
def _bounds(case, ideal, out):
    """Lower bounds of any mapping: peak arithmetic, compulsory DRAM traffic, and what runs with the time of both."""
    layer, design, moved = case.layer, case.design, _compulsory_bytes(case)
    out[BOUND_CYCLES] = max(ideal, moved / design[DRAM_BYTES_PER_CYCLE])
    out[LEAST] = out[BOUND_CYCLES]
    out[BOUND_PJ] = _least_pj(layer, design, out[MACS], moved, out[BOUND_CYCLES])


@_inline
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
    w_word, word, sum_word = _weight_word_bytes(layer, design), design[ACTIVATION_BYTES], design[ACCUMULATOR_BYTES]
    w = g * k * c * fy * fx * w_word * _access_padding(case, mapping, W, w_word)
    i = b * g * c * pixels * word * _access_padding(case, mapping, I, word)
    o = b * g * k * oy * ox * sum_word * _access_padding(case, mapping, O, sum_word)
    return w / design[LINK_W] + i / design[LINK_I] + o / design[LINK_O]


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
# 5. The mapper: the best mapping of one layer on one design.
#
# A *configuration* is a spatial option, spatial factors with the lanes of a PE, a set of bypasses, the stationary
# operand and its register tile; a *tile* is a buffer tile and an order of the DRAM loops.  Four facts keep the search
# small; `docs/model.md` has the arguments:
#
# - Larger spatial factors never cost array cycles, pieces or positions at the same tiles, because a tile may be smaller
#   than a step: PEs then idle.  So only factors matter of which none can grow (`_spatial_choices`); of lanes every
#   number, for they share the registers with the register tile.  (An array that stops at its folds, padded tiles and
#   energy may want smaller factors: `_spatial_choices` adds those cut to the same trips.  Where several outputs meet
#   padding, it matters which ones the array takes together: `_tries_ragged`.)
# - Register tiles that can grow are not needed either: pieces merge.
# - Between two trip counts, costs are linear in the size of a tile but for steps of the array; so of long loops the ends
#   of each trip count and the multiples of a step are enough (`_critical_sizes`).
# - Everything but the time of the array is linear in six traffic numbers (`_account`), so the search reads the
#   coefficients off the model (`_coefficients`); and lower bounds of the traffic bound cycles and energy.
#
# The quick search looks at the configurations with the least lower bounds and at a thinned list of tiles; the complete
# search at all whose bounds leave hope.  What a search chooses is then evaluated in full.

MAX_SPATIAL = 8192
MAX_CONFIGURATIONS = 8192
MAX_TILES = 2048
MAX_PIXEL_TILES = 16384
MAX_NODES = 16384
MAX_SIZES = 256
MAX_FILTERS = 1024
EVERY_SIZE = 64.0  # longest loop of which a complete search looks at tiles of every size
UNIT_BYTES = 2.0**40  # so much traffic that the constant part does not blur a coefficient
ROOM = 1.0 - 1e-12  # bounds are sums in another order than costs: leave room for rounding

# Rows of `TABLES.costs`: what no traffic costs, then a byte of W, I, O over the array's wires and over the DRAM link.
NO_TRAFFIC, ARRAY_BYTE_W, ARRAY_BYTE_I, ARRAY_BYTE_O, DRAM_BYTE_W, DRAM_BYTE_I, DRAM_BYTE_O = range(7)
N_COST_ROWS = 7
# Its columns: bytes over the DRAM link, those of them that nothing overlaps; cycles of each port; energy.  A buffer whose
# reads and writes share a port has READ for both, and 0 in WRITE.
(COST_DRAM, COST_SERIAL, COST_READ_0, COST_READ_1, COST_READ_2, COST_WRITE_0, COST_WRITE_1, COST_WRITE_2,
 COST_PJ) = _numbers(9)  # fmt: skip
N_COSTS = 9
COST_WRITES = 9  # in row NO_TRAFFIC: 1 where a buffer has a port of its own for writes
# What a phase of the search looks for: the least DRAM traffic, cycles, energy within the limits, or energy x delay.
LEANEST, FASTEST, FRUGAL, PRODUCT = _numbers(4)
RELAXED = 3  # stationary operand of a search in which traffic over the array's wires costs nothing
# Which list of sizes: those of the layer and a few of the configuration, or all that matter.
QUICK, COMPLETE = _numbers(2)
# Register tiles of a search for the fastest: of each spatial factors the one of least port cycles, or all.
PICKED, ALL = _numbers(2)


def _record_type(*fields):
    """The type of a record; fields are a name, a shape (() for a number), and a type where they are no floats.

    Compiled functions pass a record on as one pointer.  A tuple of many arrays they copy at every call: the search then
    takes twice as long.
    """
    return np.dtype([(name, *(kind or [np.float64]), shape) for name, shape, *kind in fields], align=True)


# A buffer tile of pixels that fits a layer without regard to a design (`layer_lists`).
PIXELS = _record_type(
    ("b", ()),  # sizes [elements of the loop]
    ("y", ()),
    ("x", ()),
    ("trips", ()),  # DRAM trips
    ("positions", ()),  # input positions of a tile, for one channel
    ("pixels", ()),  # outputs of a tile, for one channel
    ("last", ()),  # and of the last one
    ("fetched", ()),  # input positions of a plane that all tiles fetch
)
# Candidate tiles of a layer that no design changes, thinned: sizes of K and C, largest first; of pixels, smallest first.
LISTS = _record_type(
    ("n_k", (), np.int64),
    ("k", (MAX_SIZES,)),
    ("n_c", (), np.int64),
    ("c", (MAX_SIZES,)),
    ("n_pixels", (), np.int64),
    ("pixels", (MAX_SIZES,), PIXELS),
)
# What all candidates of one case, spatial option, spatial factors and set of bypasses share (`_facts`).  Fields of three
# numbers are by operand, but `room` is by buffer.
FACTS = _record_type(
    ("whole", (3,)),  # bytes of W, of I at one position of its planes, of partial sums
    ("positions", ()),  # input positions of a plane that are read at all
    ("word", (3,)),  # bytes of a word in a tile
    ("lead_w", ()),  # bytes that nothing overlaps, for each byte of a tile of W
    ("lead_i", ()),  # the same, for each byte of a tile of I
    ("tail", ()),  # the same, for each output of the last tile
    ("copies", (3,)),  # copies of a tile that its buffer holds; 0: it holds none
    ("buffer", (3,), np.int64),  # number of the operand's buffer
    ("room", (3,)),  # bytes of a buffer that tiles may use
    ("load", (3,)),  # cycles at the array's edge to load the operand once as the stationary one
    ("vector", ()),  # cycles of the vector unit
    ("per_bandwidth", ()),  # cycles of the DRAM link for a byte
    ("idle", ()),  # energy of every cycle [pJ]
    ("reload", ()),  # 1: W and I are loaded again at every DRAM trip
    ("thin", ()),  # input positions of a tile at least, for each of its pixels
    ("cycles", ()),  # array cycles without idle edges of tiles
    ("skew", ()),  # skew at least [cycles]
)
# One place of an axis: a loop that is unrolled there (`_spatial_choices`).
PLACE = _record_type(
    ("loop", (), np.int64),
    ("axis", (), np.int64),
    ("cap", ()),  # largest factor
    ("fixed", ()),  # 1: a sub-axis of `cap` places
    ("every", ()),  # 1: all its factors are looked at
    ("rest", ()),  # largest product of the shared factors after it on its axis
    ("left", ()),  # places of the axis that are left for it
    ("outer", ()),  # factor of its loop before it
    ("factor", ()),
)
# Spatial factors, lanes included, of one option; array cycles of the layer; lower bound of cycles (infinite: done), and
# of the cycles of the ports (-1: not known yet); fewest lanes that are not looked at in favour of these.
SPATIAL = _record_type(("s", (8,)), ("lanes", ()), ("option", (), np.int64), ("cycles", ()), ("floor", ()),
                       ("ports", ()), ("fewest", ()))  # fmt: skip
# A configuration; lower bounds: cycles that array, vector unit and ports are busy, cycles, energy, bytes over the DRAM link, bytes over the wires of the array; what is
# looked for (infinite: done).
CONFIGURATION = _record_type(
    ("spatial", (), np.int64),
    ("bypass", (), np.int64),
    ("stationary", (), np.int64),
    ("register", (8,)),
    ("busy", ()),
    ("cycles", ()),
    ("pj", ()),
    ("moved", ()),
    ("wires", (3,)),
    ("rank", ()),
)
# A buffer tile of one loop: size, DRAM trips, size of the last one [elements]; steps of the array in all of them, array
# pieces in all and in one; of OY and OX: input positions of a tile, and those that all tiles fetch.
TILE = _record_type(
    ("size", ()), ("trips", ()), ("last", ()), ("steps", ()), ("total", ()), ("inside", ()), ("span", ()),
    ("fetched", ()),
)  # fmt: skip
# A buffer tile of pixels: `PIXELS`, and as `TILE`; input positions into the array (-1: not known yet).
PIXEL_TILE = _record_type(
    ("b", ()), ("y", ()), ("x", ()), ("trips", ()), ("positions", ()), ("pixels", ()), ("last", ()), ("fetched", ()),
    ("steps", ()), ("total", ()), ("inside", ()), ("wires", ()),
)  # fmt: skip
# A buffer tile of the filter: sizes, taps, DRAM trips; as `TILE`.
FILTER = _record_type(
    ("y", ()), ("x", ()), ("taps", ()), ("trips", ()), ("steps", ()), ("total", ()), ("inside", ()),
)  # fmt: skip
# Tiles of C and K, bytes of the tile of W, and what it occupies; lower bounds.
NODE = _record_type(
    ("c", (), np.int64), ("k", (), np.int64), ("tile_w", ()), ("held_w", ()), ("cycles", ()), ("pj", ()),
    ("moved", ()), ("rank", ()),
)  # fmt: skip
# Cost of the best mapping so far, and what a mapping may take at most; share of the best that is not worth a search.
BEST = _record_type(
    ("cycles", ()), ("pj", ()), ("moved", ()), ("most_cycles", ()), ("most_moved", ()), ("near", ()),
)  # fmt: skip
# The candidates of a search, and what is known of them.
TABLES = _record_type(
    ("n_spatial", (), np.int64),
    ("spatial", (MAX_SPATIAL,), SPATIAL),
    ("heap", (MAX_SPATIAL,), np.int64),  # their numbers, the least lower bound first (`_sink`)
    ("n_places", (), np.int64),
    ("places", (8,), PLACE),
    ("n_configurations", (), np.int64),
    ("configurations", (MAX_CONFIGURATIONS,), CONFIGURATION),
    ("sizes", (8, MAX_TILES)),  # sizes of register tiles by loop, or of buffer tiles
    ("n_sizes", (8,), np.int64),
    ("n_k", (), np.int64),
    ("k", (MAX_TILES,), TILE),
    ("n_c", (), np.int64),
    ("c", (MAX_TILES,), TILE),
    ("n_g", (), np.int64),
    ("g", (MAX_TILES,), TILE),
    ("n_axis", (3,), np.int64),
    ("axis", (3, MAX_TILES), TILE),  # B, OY, OX
    ("n_filters", (), np.int64),
    ("filters", (MAX_FILTERS,), FILTER),
    ("n_pixels", (), np.int64),
    ("pixels", (MAX_PIXEL_TILES,), PIXEL_TILE),
    ("n_nodes", (), np.int64),
    ("nodes", (MAX_NODES,), NODE),
    ("facts", (), FACTS),
    ("costs", (N_COST_ROWS, N_COSTS + 1)),  # what traffic costs (`_coefficients`)
    ("costs_of", (), np.int64),  # set of bypasses whose costs in time they are; -1: none
    ("best", (), BEST),
    ("least_positions", ()),  # least of all pixel tiles: input positions, outputs of the last tile
    ("least_last", ()),
    ("compulsory", ()),  # cycles that peak arithmetic and compulsory DRAM traffic take
    ("proven", ()),  # no mapping takes fewer cycles, or less of what is looked for
    ("truncated", ()),  # lower bound of what a full table left out
    ("work_left", ()),  # what the search may still look at; below 0: it ends
)


class Scratch(NamedTuple):
    """Arrays that a search writes over; one set for each thread.

    mapping, trial : (N_MAP,) what the candidates of a configuration share; one candidate.
    design : (N_DESIGN,) a design.
    out : (N_RESULT,) a result.
    tables : (1,) of `TABLES`.
    """

    mapping: np.ndarray
    trial: np.ndarray
    design: np.ndarray
    out: np.ndarray
    tables: np.ndarray


def make_scratch() -> Scratch:
    """Scratch for `map_layer` and `evaluate_designs`; one for each thread."""
    return Scratch(
        mapping=np.concatenate([np.ones(MAP_ARRAY_GIVEN), np.zeros(N_MAP - MAP_ARRAY_GIVEN)]),
        trial=np.zeros(N_MAP),
        design=np.zeros(N_DESIGN),
        out=np.zeros(N_RESULT),
        tables=_records(np.empty(1, TABLES)),  # all of it is filled before it is read
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

    def __len__(self) -> int:
        return len(self._data)

    __getattr__, __setattr__ = __getitem__, __setitem__


def _records(array: np.ndarray) -> Any:
    return _Interpreted(array) if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" else array


class Effort(NamedTuple):
    """How much a search looks at.

    near : share of the least cost that is not worth a search.
    configurations : how many are searched at least, if bounds leave hope.
    most : how many at most, while the gap to the lower bound is more than `gap`.
    gap : see `most`.
    sizes : QUICK or COMPLETE lists of sizes, register tiles and lanes.
    work : candidates and bounds of them that it looks at, at most, in each phase; then it stops with the best so far.
    registers : PICKED or ALL register tiles.
    """

    near: float
    configurations: float
    most: float
    gap: float
    sizes: int | np.integer
    work: float
    registers: int | np.integer


DEFAULT_EFFORT = Effort(near=0.005, configurations=2.0, most=6.0, gap=0.1, sizes=QUICK, work=np.inf, registers=PICKED)
"""What the mapper looks at by default, chosen by loss and speed: `benchmarks/mapping_table.py` measures both."""
FURTHER_EFFORT = DEFAULT_EFFORT._replace(registers=ALL)
FAR_ABOVE = 0.25  # share above the lower bound from which the default looks further: a picked register tile may suit no tile


class Search(NamedTuple):
    """A search over the mappings of one layer.

    case : what is mapped; its option is that of the configuration.
    mapping : what all candidates of a configuration share: spatial factors, option, bypasses, register tile.
    tables : a record of `TABLES`.
    best_map : mapping of the best so far.
    trial : scratch for a mapping.
    """

    case: Case
    mapping: np.ndarray
    tables: np.void
    best_map: np.ndarray
    trial: np.ndarray


class Work(NamedTuple):
    """Cycles that the array is busy, skew included, and bytes of W, I and returning O over its wires."""

    busy: float
    wires: WIO


class Cost(NamedTuple):
    """Cycles, energy and bytes over the DRAM link of a candidate, or lower bounds of them."""

    cycles: float
    pj: float
    moved: float


# Lists of a layer that no design changes.


def lists_of(layers: np.ndarray) -> Any:
    """The `LISTS` of layer rows, (n_layers,)."""
    lists = _records(np.zeros(len(layers), LISTS))
    layer_lists(np.ascontiguousarray(layers).reshape(-1, N_LAYER), lists)
    return lists


@_entry
def layer_lists(layers, lists):
    """Fill the `LISTS` of layer rows."""
    for i in range(layers.shape[0]):
        layer, found = layers[i], lists[i]
        found.n_k = _thinned_sizes(layer[K], 1.03, found.k)
        found.n_c = _thinned_sizes(layer[C], 1.12, found.c)
        found.n_pixels = 0
        ratio = 1.0
        while not _pixel_list(layer, ratio, found):
            ratio = 1.02 if ratio == 1.0 else 1.0 + 2 * (ratio - 1.0)


@_inner
def _thinned_sizes(extent, ratio, sizes):
    """The smallest size of each trip count, largest first, at least `ratio` apart; returns how many."""
    count, trips = 0, 1.0
    while True:
        size = _ceil_div(extent, trips)
        if count == 0 or sizes[count - 1] > size * ratio or size == 1.0:
            if count == MAX_SIZES:
                sizes[count - 1] = 1.0
                return count
            sizes[count] = size
            count += 1
        if size == 1.0:
            return count
        trips = _ceil_div(extent, size - 1.0)


@_inner
def _pixel_list(layer, ratio, found):
    """Fill the pixel tiles that no other betters in trips, positions and traffic; whether they find room."""
    found.n_pixels = 0
    b = layer[B]
    while b >= 1.0:
        y = layer[OY]
        while y >= 1.0:
            x = layer[OX]
            while x >= 1.0:
                if not _add_pixels(layer, b, y, x, found):
                    return False
                x = _next_size(layer[OX], x, ratio)
            y = _next_size(layer[OY], y, ratio)
        b = _next_size(layer[B], b, ratio)
    return True


@_inner
def _next_size(extent, size, ratio):
    """The next smaller size that is the smallest of its trip count, `ratio` apart; 0 after 1."""
    if size <= 1.0:
        return 0.0
    below = max(1.0, min(size - 1.0, _floor(size / ratio)))
    return _ceil_div(extent, _ceil_div(extent, below))


@_inner
def _add_pixels(layer, b, y, x, found):
    """Insert a pixel tile if no other is as good in all; whether there is room."""
    trips_b, trips_y, trips_x = _ceil_div(layer[B], b), _ceil_div(layer[OY], y), _ceil_div(layer[OX], x)
    rows = min(_span(layer, Y, y, layer[FY]), layer[TOUCHED_Y])
    columns = min(_span(layer, X, x, layer[FX]), layer[TOUCHED_X])
    fetched = axis_sum(Cut(layer[OY], y, y), Cut(layer[FY], layer[FY], layer[FY]), axis_of(layer, Y))
    fetched *= axis_sum(Cut(layer[OX], x, x), Cut(layer[FX], layer[FX], layer[FX]), axis_of(layer, X))
    trips, positions, pixels = trips_b * trips_y * trips_x, b * rows * columns, b * y * x
    n, kept = found.n_pixels, 0
    for q in range(n):
        p = found.pixels[q]
        if p.trips <= trips and p.positions <= positions and p.pixels <= pixels and p.fetched <= fetched:
            return True
    for q in range(n):
        p = found.pixels[q]
        if not (trips <= p.trips and positions <= p.positions and pixels <= p.pixels and fetched <= p.fetched):
            if kept < q:
                _move_pixels(p, found.pixels[kept])
            kept += 1
    found.n_pixels = kept
    if kept == MAX_SIZES:
        return False
    q = kept
    while q > 0 and found.pixels[q - 1].pixels > pixels:
        _move_pixels(found.pixels[q - 1], found.pixels[q])
        q -= 1
    p = found.pixels[q]
    p.b, p.y, p.x, p.trips, p.positions, p.pixels, p.fetched = b, y, x, trips, positions, pixels, fetched
    p.last = (layer[B] - (trips_b - 1) * b) * (layer[OY] - (trips_y - 1) * y) * (layer[OX] - (trips_x - 1) * x)
    found.n_pixels = kept + 1
    return True


@_inner
def _move_pixels(source, target):
    target.b, target.y, target.x, target.trips = source.b, source.y, source.x, source.trips
    target.positions, target.pixels = source.positions, source.pixels
    target.last, target.fetched = source.last, source.fetched


# The search, from the outside in.


@_entry
def map_layer(layer, design, options, lists, effort, mode, slack, variant, best_map, out, scratch):
    """Best mapping of one layer into `best_map` (N_MAP,) and its cost into `out` (N_RESULT,).

    `lists`: the record of `LISTS` of the layer.  `mode`: LATENCY (least energy at most `slack` above the least latency;
    below 0: least latency alone; above 0 the energy is never searched completely), ENERGY or EDP.  `out[LEAST]` is a
    lower bound of the cycles over all mappings.  Where nothing fits, the least mapping is costed and `out[OVERFLOW]` > 0;
    1 where it fits, but no mapping keeps to what the options say.
    `scratch`: from `make_scratch`.
    """
    tables = scratch.tables[0]
    best = tables.best
    first, count = int(design[OPTION_FIRST]), int(design[OPTION_COUNT])
    search = Search(Case(layer, design, options[first], variant), scratch.mapping, tables, best_map, scratch.trial)
    over = _smallest_mapping(search, options)
    option = options[first + int(best_map[MAP_OPTION])]
    evaluate_mapping(layer, design, option, best_map, variant, out)
    if over > 0:
        return
    best.most_cycles, best.most_moved = np.inf, np.inf
    tables.compulsory, tables.truncated = out[BOUND_CYCLES], np.inf
    _use_choices(search, options, effort, mode)
    lean, once = False, False
    for o in range(first, first + count):
        lean = lean or options[o, OPT_LEAST_DRAM] > 0
        once = once or options[o, OPT_ONCE] > 0
    _start(best, out)
    if once:  # the smallest tiles may cross the DRAM link more often than an option allows
        best.cycles, best.pj, best.moved = np.inf, np.inf, np.inf
    if lean:
        _search_configurations(search, options, lists, LEANEST, effort, scratch.out)
        best.most_moved = best.moved / ROOM
        evaluate_mapping(layer, design, options[first + int(best_map[MAP_OPTION])], best_map, variant, out)
        if best.moved < np.inf:
            _start(best, out)
    aim = FASTEST if mode == LATENCY else (FRUGAL if mode == ENERGY else PRODUCT)
    if effort.sizes == COMPLETE:  # a good mapping first: it lets more bounds end a search
        _use_choices(search, options, DEFAULT_EFFORT, mode)
        _search_configurations(search, options, lists, aim, DEFAULT_EFFORT, scratch.out)
        _use_choices(search, options, effort, mode)
    _search_configurations(search, options, lists, aim, effort, scratch.out)
    if best.cycles == np.inf:
        out[OVERFLOW] = 1.0  # there is room, but not to keep to the options
        return
    proven = tables.proven
    if effort.sizes == COMPLETE:
        proven = max(tables.compulsory, proven * _least_share(layer))
    elif mode == LATENCY:
        proven = _least_left_out(search, options, proven, scratch.design, scratch.out)
        if best.cycles > proven * (1.0 + FAR_ABOVE):
            _use_choices(search, options, effort, mode)
            _search_configurations(search, options, lists, aim, FURTHER_EFFORT, scratch.out)
    if mode == LATENCY and slack >= 0:
        evaluate_mapping(layer, design, options[first + int(best_map[MAP_OPTION])], best_map, variant, out)
        best.pj, best.moved = out[ENERGY_PJ], out[DRAM_BYTES]
        best.most_cycles = best.cycles * (1.0 + slack) / ROOM  # equal but for rounding is equal
        again = effort
        if slack > 0 and effort.sizes == COMPLETE:  # as the default does: a complete one takes minutes
            again = DEFAULT_EFFORT
        _use_choices(search, options, again, ENERGY)
        _search_configurations(search, options, lists, FRUGAL, again, scratch.out)
    evaluate_mapping(layer, design, options[first + int(best_map[MAP_OPTION])], best_map, variant, out)
    if mode == LATENCY:  # the others leave out mappings without a bound of their cycles: `out` has the roofline
        out[LEAST] = min(proven, out[CYCLES])


@_inner
def _use_choices(search, options, effort, mode):
    """Take the spatial factors of every option of the design into the tables, in place of what they held."""
    design, tables = search.case.design, search.tables
    first, tables.n_spatial = int(design[OPTION_FIRST]), 0
    for o in range(first, first + int(design[OPTION_COUNT])):
        case = Case(search.case.layer, design, options[o], search.case.variant)
        _spatial_choices(case, o, effort, mode, tables)


@_inner
def _start(best, out):
    """Begin with the mapping that `out` is the cost of."""
    best.cycles, best.pj, best.moved = out[CYCLES], out[ENERGY_PJ], out[DRAM_BYTES]


@_inner
def _smallest_mapping(search, options):
    """The mapping of least overflow, of the smallest tiles, into `best_map`; returns its overflow, <= 0 if it fits."""
    layer, design, mapping = search.case.layer, search.case.design, search.mapping
    first, least = int(design[OPTION_FIRST]), np.inf
    for o in range(first, first + int(design[OPTION_COUNT])):
        option = options[o]
        for d in range(8):
            mapping[MAP_S + d], mapping[MAP_R + d], mapping[MAP_T + d] = 1.0, 1.0, 1.0
        if option[OPT_FLATTEN] > 0:
            mapping[MAP_T + FY], mapping[MAP_T + FX] = layer[FY], layer[FX]
        if option[OPT_WHOLE_ROWS] > 0:
            mapping[MAP_T + OX] = layer[OX]
        mapping[MAP_LANES], mapping[MAP_OPTION], mapping[MAP_ARRAY_GIVEN] = 1.0, o - first, 0.0
        for order in range(N_ORDERS - 1, -1, -1):
            if int(option[OPT_ORDERS]) >> order & 1:
                mapping[MAP_DRAM_ORDER] = order
        for a in range(3):
            if option[OPT_W + a] > 0:
                mapping[MAP_STATIONARY] = a
        for whole in range(2):
            if whole > 0:  # overlapping windows held twice may take more than all inputs held once
                for d in (B, G, C, OY, OX, FY, FX):
                    mapping[MAP_T + d] = layer[d]
            for bypass in range(8):
                if not _bypass_allowed(design, option, bypass):
                    continue
                mapping[MAP_BYPASS] = bypass
                case = Case(layer, design, option, search.case.variant)
                _, held = tile_bytes(case, mapping)
                over = max(buffer_overflow(design, held), register_overflow(layer, design, option, mapping))
                if over < least:
                    least = over
                    _copy(mapping, search.best_map, N_MAP)
    return least


@_inner
def _bypass_allowed(design, option, bypass):
    """Whether a mapping of an option may have this set of bypasses."""
    if option[OPT_BYPASS] >= 0:
        return bypass == int(option[OPT_BYPASS])
    return bypass & ~int(design[BYPASS]) == 0


@_inner
def _search_configurations(search, options, lists, aim, effort, out):
    """Search the configurations, the most promising first, until lower bounds or the effort end it.

    Leaves in `tables.proven` what no mapping falls below, in cycles; only the search for the fastest knows it.
    """
    tables, best = search.tables, search.tables.best
    tables.n_configurations, tables.work_left, best.near, tables.costs_of = 0, effort.work, effort.near, -1
    floor = tables.truncated  # of all that is not searched completely
    for j in range(tables.n_spatial):
        tables.spatial[j].floor, tables.spatial[j].ports, tables.heap[j] = _spatial_floor(search, j), -1.0, j
    for at in range(tables.n_spatial // 2 - 1, -1, -1):
        _sink(tables, at)
    searched, expanded, wide = 0.0, 0.0, effort.most
    # Where latency says little of what is looked for, the quick search looks at more spatial factors.
    limited = best.most_cycles < np.inf
    most_expanded, most_searched = (2.0, 3.0) if limited else (32.0, effort.most)
    while True:
        j, q = _least_spatial(tables), _least_configuration(tables)
        least_s = tables.spatial[j].floor if j >= 0 else np.inf
        least_c = tables.configurations[q].rank if q >= 0 else np.inf
        if aim == FASTEST:
            least = min(least_s, least_c)
            if _hopeless(aim, best, least, 0.0, 0.0):
                floor = min(floor, least)
                break
            enough = searched >= effort.configurations and best.cycles <= min(floor, least) * (1.0 + effort.gap)
            if enough or _ended(tables, searched >= wide):
                floor = min(floor, least)
                break
            expand = least_s < least_c
        else:
            expand = j >= 0 and (effort.sizes == COMPLETE or expanded < most_expanded or best.cycles == np.inf)
            expand = expand and least_s <= best.most_cycles
            if not expand and (q < 0 or _hopeless_configuration(aim, best, tables.configurations[q])):
                break
            enough = searched >= (min(wide, most_searched) if effort.sizes == QUICK else wide)
            if _ended(tables, not expand and enough):
                break
        if expand and aim == FASTEST and tables.spatial[j].ports < 0:
            tables.spatial[j].ports = _port_floor(search, options, j, out) * ROOM
            _raise_floor(tables, max(least_s, tables.spatial[j].ports))
            continue
        if expand:
            expanded += 1.0
            if aim == FASTEST and effort.sizes == COMPLETE and search.case.design[BYPASS] == 0:
                relaxed = _search_relaxed(search, options, lists, j, effort, out)
                if relaxed >= best.cycles and tables.work_left >= 0:
                    _raise_floor(tables, np.inf)
                    continue
            _raise_floor(tables, np.inf)
            ideal = _expand(search, options, j, aim, effort, out)
            if effort.sizes == QUICK:
                floor = min(floor, ideal)
            elif tables.work_left < 0:
                floor = min(floor, least_s)
        else:
            configuration = tables.configurations[q]
            configuration.rank = np.inf
            searched += 1.0
            if not _hopeless_configuration(aim, best, configuration):
                _search_configuration(search, options, lists, q, aim, effort, out)
            if effort.sizes == QUICK or tables.work_left < 0:
                floor = min(floor, configuration.cycles)
    tables.proven = min(best.cycles, min(floor, tables.truncated))  # tables may have got full on the way


@_inner
def _ended(tables, enough):
    """Whether a search ends that has a mapping, and has looked at enough or at all that its limit of work allows."""
    return (enough or tables.work_left < 0) and tables.best.cycles < np.inf


@_inner
def _note_full(tables, cycles):
    """Note that a full table left out what takes at least these cycles."""
    tables.truncated = min(tables.truncated, cycles)


@_inner
def _hopeless_configuration(aim, best, configuration):
    """Whether lower bounds of a configuration leave no hope."""
    return _hopeless(aim, best, configuration.cycles, configuration.pj, configuration.moved)


@_inner
def _least_spatial(tables):
    """Number of the spatial factors of the least lower bound that are not done; -1: none."""
    j = tables.heap[0]
    return j if tables.n_spatial > 0 and tables.spatial[j].floor < np.inf else -1


@_inner
def _raise_floor(tables, floor):
    """Set the lower bound of the spatial factors of the least one, which is no more than this."""
    tables.spatial[tables.heap[0]].floor = floor
    _sink(tables, 0)


@_inner
def _sink(tables, at):
    """Put the spatial factors at a place of the heap behind those of smaller lower bounds; of equal ones, the first."""
    heap, spatial, n = tables.heap, tables.spatial, tables.n_spatial
    j = heap[at]
    floor = spatial[j].floor
    while 2 * at + 1 < n:
        below = 2 * at + 1
        least, other = spatial[heap[below]].floor, spatial[heap[min(below + 1, n - 1)]].floor
        if other < least or (other == least and heap[min(below + 1, n - 1)] < heap[below]):
            below, least = below + 1, other
        if floor < least or (floor == least and j < heap[below]):
            break
        heap[at] = heap[below]
        at = below
    heap[at] = j


@_inner
def _least_configuration(tables):
    """Number of the configuration of the least rank that is not done; -1: none."""
    least, found = np.inf, -1
    for q in range(tables.n_configurations):
        if tables.configurations[q].rank < least:
            least, found = tables.configurations[q].rank, q
    return found


@_inline
def _hopeless(aim, best, cycles, pj, moved):
    """No mapping with these lower bounds can become the best."""
    if moved > best.most_moved:
        return True
    near = 1.0 - best.near
    if aim == FASTEST:
        return cycles >= best.cycles * near
    if aim == LEANEST:
        return moved > best.moved or (moved == best.moved and cycles >= best.cycles)
    if cycles > best.most_cycles:
        return True
    if aim == FRUGAL:
        return pj > best.pj * near or (pj == best.pj and cycles >= best.cycles)
    return cycles * pj >= best.cycles * best.pj * near


@_inline
def _better(aim, best, cost):
    """Whether a mapping of this cost is better than the best so far."""
    if cost.moved > best.most_moved:
        return False
    if aim == FASTEST:
        return cost.cycles < best.cycles
    if aim == LEANEST:
        return cost.moved < best.moved or (cost.moved == best.moved and cost.cycles < best.cycles)
    if cost.cycles > best.most_cycles:
        return False
    if aim == FRUGAL:
        return cost.pj < best.pj or (cost.pj == best.pj and cost.cycles < best.cycles)
    return cost.cycles * cost.pj < best.cycles * best.pj


@_inner
def _rank(aim, cycles, pj, moved):
    """What a phase of the search minimises."""
    if aim == FASTEST:
        return cycles
    if aim == LEANEST:
        return moved
    return pj if aim == FRUGAL else pj * cycles


# Spatial factors.


@_inner
def _spatial_choices(case, number, effort, mode, tables):
    """Append the spatial factors of option `number` that cannot grow, for each number of lanes.

    Where larger factors may cost something, also those cut to the smallest of the same trips; COMPLETE, all.
    """
    layer, design, option = case.layer, case.design, case.option
    reduction = _loop_extent(layer, option, C)
    word, activation = _weight_word_bytes(layer, design), design[ACTIVATION_BYTES]
    fed = min(_floor(design[REG_W] / word), _floor(design[REG_I] / activation))
    lanes = min(min(reduction, design[LANES]), fed)
    cut = _costly_width(design) or _stops(design) or mode == ENERGY or mode == EDP
    every = cut and effort.sizes == COMPLETE
    _places(case, every, effort, tables)
    room_w, room_i, first = -1.0, -1.0, tables.n_spatial
    while lanes >= 1.0:
        now_w, now_i = _floor(design[REG_W] / (lanes * word)), _floor(design[REG_I] / (lanes * activation))
        if now_w != room_w or now_i != room_i or every:  # fewer lanes with as much room are worse
            _leave_out(tables, first, lanes + 1.0)
            first = tables.n_spatial
            _unroll(case, number, lanes, cut and not every, tables)
            room_w, room_i = now_w, now_i
        lanes = lanes - 1.0 if effort.sizes == COMPLETE else _floor(lanes / 2)
    _leave_out(tables, first, 1.0)


@_inner
def _leave_out(tables, first, fewest):
    """Note the fewest lanes that are not looked at, in favour of those of the spatial factors from `first` on."""
    for j in range(first, tables.n_spatial):
        tables.spatial[j].fewest = fewest


@_inner
def _places(case, every, effort, tables):
    """Fill the places of the two axes: which loop, and what stands before and after it.

    Sub-axes have places of their own; the other loops share what these leave.  Where outputs meet padding unevenly,
    COMPLETE looks at all factors of outputs and taps.
    """
    layer, design, option = case.layer, case.design, case.option
    n = 0
    for axis in range(2):
        first, left = n, _shared_places(design, option, axis)
        for i in range(4):
            at = 4 * axis + i
            d = int(option[OPT_ROWS + at])
            if d < 0:
                break
            place = tables.places[n]
            place.loop, place.axis = d, axis
            place.cap, place.fixed, place.left = option[OPT_CAP + at], option[OPT_FIXED + at], left
            ragged_y = (d == OY or d == FY) and _tries_ragged(layer, Y)
            ragged_x = (d == OX or d == FX) and _tries_ragged(layer, X)
            place.every = 1.0 if every or (effort.sizes == COMPLETE and (ragged_y or ragged_x)) else 0.0
            n += 1
        rest = 1.0
        for p in range(n - 1, first - 1, -1):
            place = tables.places[p]
            place.rest = rest
            if place.fixed == 0:
                rest *= min(place.cap, _loop_extent(layer, option, place.loop))
    tables.n_places = n


@_inner
def _shared_places(design, option, axis):
    """Places of an axis that its sub-axes leave to the other loops."""
    taken = 1.0
    for i in range(4 * axis, 4 * axis + 4):
        if option[OPT_ROWS + i] >= 0 and option[OPT_FIXED + i] > 0:
            taken *= option[OPT_CAP + i]
    return _floor(design[ROWS + axis] / taken)


@_inner
def _unroll(case, number, lanes, cut, tables):
    """Append the spatial factors of which none can grow, for given lanes; of some loops every one (`_places`)."""
    layer, option, places, n = case.layer, case.option, tables.places, tables.n_places
    at = tables.n_spatial
    if at == MAX_SPATIAL:
        return
    s = tables.spatial[at].s
    for d in range(8):
        s[d] = 1.0
    s[C] = lanes
    if n == 0:
        _append_spatial(case, number, lanes, tables)
        return
    p, fresh = 0, True
    while p >= 0:
        place = places[p]
        d = place.loop
        s = tables.spatial[tables.n_spatial].s
        if fresh:
            if p > 0 and places[p - 1].axis == place.axis:
                before = places[p - 1]
                place.left = before.left if before.fixed > 0 else _floor(before.left / before.factor)
            place.outer = s[d]
            extent = _ceil_div(_loop_extent(layer, option, d), place.outer)
            most = place.cap if place.fixed > 0 else min(place.left, place.cap)
            place.factor = max(1.0, min(extent, most))
        else:
            after = _floor(place.left / place.factor)
            smaller = _floor(place.left / (after + 1.0))
            if place.every > 0:
                smaller = place.factor - 1.0
            elif place.fixed > 0 or after >= place.rest:
                smaller = 0.0
            if smaller < 1.0:
                s[d] = place.outer
                p -= 1
                continue
            place.factor = smaller
        s[d] = place.outer * place.factor
        if p + 1 < n:
            p, fresh = p + 1, True
            continue
        fresh = False
        if tables.n_spatial + 2 >= MAX_SPATIAL:
            _note_full(tables, tables.compulsory)
            return
        _append_spatial(case, number, lanes, tables)
        if cut:
            _append_cut(case, number, lanes, tables)


@_inner
def _append_spatial(case, number, lanes, tables):
    """Keep the spatial factors in the next record; the record after it begins with them."""
    layer, option = case.layer, case.option
    spatial = tables.spatial[tables.n_spatial]
    spatial.lanes, spatial.option, spatial.cycles = lanes, number, 1.0
    for d in range(8):
        extent = _loop_extent(layer, option, d)
        spatial.cycles *= extent if spatial.s[d] == 1 else _ceil_div(extent, spatial.s[d])
    tables.n_spatial += 1
    if tables.n_spatial < MAX_SPATIAL:
        _copy(spatial.s, tables.spatial[tables.n_spatial].s, 8)


@_inner
def _append_cut(case, number, lanes, tables):
    """Append the last spatial factors cut to the smallest of the same trips, if that changes any."""
    layer, option = case.layer, case.option
    now = tables.spatial[tables.n_spatial]  # equal to the last
    for d in range(8):
        now.s[d] = 1.0
    now.s[C] = lanes
    for p in range(tables.n_places):
        place = tables.places[p]
        extent = _ceil_div(_loop_extent(layer, option, place.loop), now.s[place.loop])
        now.s[place.loop] *= _ceil_div(extent, _ceil_div(extent, place.factor))
    last, changed = tables.spatial[tables.n_spatial - 1], False
    for d in range(8):
        changed = changed or now.s[d] != last.s[d]
    if changed:
        uncut = tables.n_spatial - 1
        _append_spatial(case, number, lanes, tables)
        _copy(tables.spatial[uncut].s, tables.spatial[tables.n_spatial].s, 8)
    else:
        _copy(last.s, now.s, 8)


@_inner
def _spatial_floor(search, j):
    """Lower bound of the cycles with spatial factors `j`: array, vector unit, compulsory DRAM traffic."""
    return max(_array_floor(search, j), search.tables.compulsory * ROOM)


@_inner
def _array_floor(search, j):
    """Cycles that array or vector unit are busy at least with spatial factors `j`."""
    layer, design = search.case.layer, search.case.design
    spatial = search.tables.spatial[j]
    cycles = spatial.cycles
    if design[SYSTOLIC] > 0:
        cycles += 2 * design[ROWS] + design[COLS] - 2
    return max(cycles, layer[VECTOR_OPERATIONS] / design[VECTOR_LANES])


@_inner
def _port_floor(search, options, j, out):
    """Lower bound of the port cycles with spatial factors `j`."""
    tables, mapping = search.tables, search.mapping
    case = _use_spatial(search, options, j)
    inside = Search(case, mapping, tables, search.best_map, search.trial)
    least = np.inf
    for bypass in range(8):
        if not _bypass_allowed(case.design, case.option, bypass):
            continue
        mapping[MAP_BYPASS] = bypass
        _facts(case, mapping, tables.facts)
        _coefficients(case, mapping, FASTEST, out, tables)
        for stationary in range(3):
            if case.option[OPT_W + stationary] > 0:
                least = min(least, _least_port_cycles(inside, stationary))
    return least


@_inner
def _least_left_out(search, options, least, bare, out):
    """Lower `least` to a bound of the cycles with lanes and spatial factors that QUICK does not look at.

    Each has no more of any loop side by side than spatial factors that it looked at; registers have at most the room
    that the fewest lanes leave.  Narrower steps may fill accesses and padded tiles better: at best, without waste.
    `bare`: scratch for a design.
    """
    case, tables = search.case, search.tables
    wasteful = _costly_width(case.design)
    _copy(case.design, bare, N_DESIGN)
    for column in (PADDED_W, PADDED_I, PADDED_O, BANKS_0, BANKS_1, BANKS_2):
        bare[column] = 0.0
    tables.costs_of = -1
    wasteless = Search(Case(case.layer, bare, case.option, case.variant), search.mapping, tables, search.best_map,
                       search.trial)  # fmt: skip
    for j in range(tables.n_spatial):
        spatial = tables.spatial[j]
        floor = max(_array_floor(search, j), tables.compulsory * ROOM)
        if floor >= least or (spatial.fewest >= spatial.lanes and not wasteful):
            continue
        spatial.lanes = min(spatial.fewest, spatial.lanes)
        least = min(least, max(floor, _port_floor(wasteless, options, j, out) * ROOM))
    return least


@_inner
def _costly_width(design):
    """Whether a wider array step may move more: padded tiles, accesses that it fills less well."""
    padded = design[PADDED_W] + design[PADDED_I] + design[PADDED_O] > 0
    return padded or design[BANKS_0] + design[BANKS_1] + design[BANKS_2] > 0


@_inner
def _least_port_cycles(search, stationary):
    """Lower bound of the port cycles with the spatial factors in the mapping and a stationary operand.

    One tile holds the layer.  The two groups that loop over the words of the stationary operand share its registers: the
    first takes each of its trip counts, the second what is then left, unrounded.
    """
    tables = search.tables
    facts, costs, room = tables.facts, tables.costs, _register_room(search)
    if room.w < 1 or room.i < 1 or room.o < 1:
        return np.inf
    n_k, n_c = _register_steps(search, K), _register_steps(search, C)
    taps = _register_steps(search, FY) * _register_steps(search, FX)
    n_p = _register_steps(search, B) * _register_steps(search, OY) * _register_steps(search, OX)
    whole_w, whole_i, whole_o = facts.whole[W], facts.whole[I] * facts.positions, facts.whole[O]
    link = WIO(whole_w, whole_i, 0.0)
    steps, most = n_k, min(room.w, room.o)
    if stationary == I:
        steps, most = n_p, min(room.i, room.o)
    first, least = _cut_steps(steps, most), np.inf
    while True:
        trips = _ceil_div(steps, first)
        if stationary == W:
            second = max(1.0, n_c * taps / min(room.w / first, room.i))
            wires = WIO(whole_w, whole_i * trips, whole_o * (second - 1))
        elif stationary == O:
            second = max(1.0, n_p / min(room.o / first, room.i))
            wires = WIO(whole_w * second, whole_i * trips, 0.0)
        else:
            second = max(1.0, n_c * taps / min(room.w, room.i * taps / first))
            wires = WIO(whole_w * trips, whole_i, whole_o * (second - 1))
        least = min(least, _port_cycles(costs, wires, link))
        if first <= 1.0:
            return least
        first = _cut_steps(steps, first - 1.0)


# Configurations.


@_inner
def _use_spatial(search, options, j):
    """Take spatial factors `j` into the mapping; returns the case with their option."""
    tables, mapping, design = search.tables, search.mapping, search.case.design
    spatial = tables.spatial[j]
    for d in range(8):
        mapping[MAP_S + d], mapping[MAP_R + d], mapping[MAP_T + d] = spatial.s[d], 1.0, search.case.layer[d]
    mapping[MAP_LANES], mapping[MAP_OPTION] = spatial.lanes, spatial.option - design[OPTION_FIRST]
    mapping[MAP_DRAM_ORDER], mapping[MAP_ARRAY_GIVEN] = 2.0, 0.0
    return Case(search.case.layer, design, options[spatial.option], search.case.variant)


@_inner
def _expand(search, options, j, aim, effort, out):
    """Append the configurations of spatial factors `j`; returns the least cycles of those that are left out."""
    tables, mapping = search.tables, search.mapping
    case = _use_spatial(search, options, j)
    inside = Search(case, mapping, tables, search.best_map, search.trial)
    floor, left_out = _spatial_floor(search, j), np.inf
    for bypass in range(8):
        if not _bypass_allowed(case.design, case.option, bypass):
            continue
        mapping[MAP_BYPASS] = bypass
        _facts(case, mapping, tables.facts)
        _coefficients(case, mapping, aim, out, tables)
        for stationary in range(3):
            if case.option[OPT_W + stationary] == 0:
                continue
            mapping[MAP_STATIONARY] = stationary
            if effort.registers == PICKED and aim == FASTEST and not _once_only(case) & bypass:
                if not _pick_registers(inside, stationary):
                    continue
                ideal = max(floor, _least_port_cycles(inside, stationary) * ROOM)
                left_out = min(left_out, ideal)
                picked = _append_configuration(inside, j, aim, np.inf)
                if picked > ideal * (1.0 + 0.5 * effort.near):
                    _register_tiles(inside, j, stationary, aim, QUICK, picked)
            else:
                _register_tiles(inside, j, stationary, aim, effort.sizes, np.inf)
    return left_out


@_inner
def _append_configuration(search, j, aim, limit):
    """Append the configuration in the mapping with its lower bounds, if they leave hope; returns the least cycles.

    With a finite `limit` only if it takes fewer cycles, and then in place of the last one, if that is the one of `limit`.
    """
    tables, mapping, costs, facts = search.tables, search.mapping, search.tables.costs, search.tables.facts
    best = tables.best
    tables.work_left -= 1.0
    work = _whole_work(search)
    link = WIO(facts.whole[W], facts.whole[I] * facts.positions, 0.0)
    cost = _cost(aim, tables, work, link, 0.0)
    cycles, pj, moved = cost.cycles * ROOM, cost.pj * ROOM, cost.moved * ROOM
    if cycles >= limit or _hopeless(aim, best, cycles, pj, moved):
        return min(cycles, limit)
    n = tables.n_configurations
    if limit < np.inf and n > 0:
        last = tables.configurations[n - 1]
        same = last.spatial == j and last.bypass == mapping[MAP_BYPASS]
        if same and last.stationary == mapping[MAP_STATIONARY] and last.cycles == limit:
            n -= 1
    if n == MAX_CONFIGURATIONS:
        n = _drop_done(tables)
        if n == MAX_CONFIGURATIONS:
            _note_full(tables, cycles)
            return cycles
    configuration = tables.configurations[n]
    configuration.spatial, configuration.bypass = j, int(mapping[MAP_BYPASS])
    configuration.stationary = int(mapping[MAP_STATIONARY])
    for d in range(8):
        configuration.register[d] = mapping[MAP_R + d]
    configuration.busy = max(max(work.busy, facts.vector), _port_cycles(costs, work.wires, link))
    configuration.cycles, configuration.pj, configuration.moved = cycles, pj, moved
    configuration.wires[W], configuration.wires[I], configuration.wires[O] = work.wires.w, work.wires.i, work.wires.o
    configuration.rank = _rank(aim, cycles, pj, moved)
    tables.n_configurations = n + 1
    return cycles


@_inner
def _drop_done(tables):
    """Remove the configurations that are done; returns how many are left."""
    kept = 0
    for q in range(tables.n_configurations):
        source = tables.configurations[q]
        if source.rank == np.inf:
            continue
        if kept < q:
            target = tables.configurations[kept]
            target.spatial, target.bypass, target.stationary = source.spatial, source.bypass, source.stationary
            _copy(source.register, target.register, 8)
            _copy(source.wires, target.wires, 3)
            target.busy, target.cycles, target.pj = source.busy, source.cycles, source.pj
            target.moved, target.rank = source.moved, source.rank
        kept += 1
    tables.n_configurations = kept
    return kept


@_inner
def _whole_work(search):
    """`Work` of the configuration in the mapping if one tile holds the whole layer: the least of any tile."""
    case, mapping, tables = search.case, search.mapping, search.tables
    layer, option, facts = case.layer, case.option, tables.facts
    _, inside, total, cycles = _trips(layer, option, mapping)
    positions = _least_axis_sum(case, mapping, Y) * _least_axis_sum(case, mapping, X)
    once = WIO(1.0, 1.0, 1.0)
    return _work(case.design, facts, int(mapping[MAP_STATIONARY]), inside, total, Trips(1.0, 1.0, 1.0, 1.0), once,
                 positions, cycles, 0.0)  # fmt: skip


@_inner
def _least_axis_sum(case, mapping, axis):
    """Input positions that the array reads at least along one axis, whatever the buffer tiles; these are whole.

    Smaller tiles cut the outputs elsewhere, so that other pieces may meet less padding than the pieces of a whole row.
    """
    found = array_axis_sum(case, mapping, axis)
    if case.option[OPT_FLATTEN] > 0:
        return found
    return max(min(found, case.layer[TOUCHED_Y + axis]), found - case.layer[RAGGED_Y + axis])


@_inline
def _work(design, facts, stationary, inside, total, outside, once, positions, cycles, stop):
    """`Work` of a mapping from its trips.

    `inside`, `total`: over array tiles, in one DRAM tile at most and in all; `outside`, `once`: over DRAM tiles, and
    times over the DRAM link; `positions`: input positions into the array; `stop`: from `_stop_cycles`.
    """
    times = _array_times(stationary, inside, total, outside, once)
    if stationary == W:
        folds, load = total.k * total.r * times.w, facts.load[W] * times.w
    elif stationary == I:
        folds, load = total.p * total.r * times.i, facts.load[I] * positions * times.i
    else:
        folds, load = total.p * total.k * times.o, facts.load[O] * times.o
    cycles += _skew(design, cycles, folds * total.g, load, stop)
    return Work(cycles, WIO(facts.whole[W] * times.w, facts.whole[I] * positions * times.i,
                            facts.whole[O] * (times.o - 1)))  # fmt: skip


@_inline
def _array_times(stationary, inside, total, outside, once):
    """How often each word of W and I enters the array, and each sum leaves it; arguments as of `_work`."""
    times = _stationary_times(stationary, inside, outside, once)
    if stationary == W:
        return WIO(times, total.k, total.r)
    if stationary == I:
        return WIO(total.p, times, total.r)
    return WIO(total.p, total.k, times)


# Register tiles.


@_inner
def _cut_steps(steps, most):
    """The smallest register tile that needs no more trips than `most` steps."""
    return _ceil_div(steps, _ceil_div(steps, max(1.0, min(steps, most))))


@_inner
def _register_room(search):
    """Words that the registers of a PE hold of W and I, for one lane, and of O."""
    layer, design, lanes = search.case.layer, search.case.design, search.mapping[MAP_LANES]
    return WIO(_floor(design[REG_W] / (lanes * _weight_word_bytes(layer, design))),
               _floor(design[REG_I] / (lanes * design[ACTIVATION_BYTES])),
               _floor(design[REG_O] / design[ACCUMULATOR_BYTES]))  # fmt: skip


@_inner
def _register_steps(search, d):
    """Spatial steps of a loop: its largest register tile."""
    layer, option = search.case.layer, search.case.option
    return _ceil_div(_loop_extent(layer, option, d), search.mapping[MAP_S + d])


@_inner
def _pick_registers(search, stationary):
    """Take the register tile of least port cycles, halos aside, from a scan over one factor; whether any fits."""
    case, mapping, tables = search.case, search.mapping, search.tables
    facts, costs = tables.facts, tables.costs
    room = _register_room(search)
    if room.w < 1 or room.i < 1 or room.o < 1:
        return False
    n_k, n_c = _register_steps(search, K), _register_steps(search, C)
    n_b, n_y, n_x = _register_steps(search, B), _register_steps(search, OY), _register_steps(search, OX)
    n_fy, n_fx = _register_steps(search, FY), _register_steps(search, FX)
    whole_w, whole_i, whole_o = facts.whole[W], facts.whole[I] * facts.positions, facts.whole[O]
    link = WIO(whole_w, whole_i, 0.0)
    least = np.inf
    first = min(n_k, room.w if stationary == W else min(room.w, room.o))
    if stationary == I:
        first = min(n_b * n_y * n_x, min(room.o, room.i))
    elif stationary == W:
        first = min(first, room.o)
    for d in range(8):
        mapping[MAP_R + d] = 1.0
    while True:
        for wide in range(1 if stationary == W else 2):
            k, c, b, y, x, fy, fx = 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0
            if stationary != I:
                k = _cut_steps(n_k, first)
            if stationary != W:
                most = first if stationary == I else min(_floor(room.o / k), room.i)
                b, y, x = _cut_pixels(n_b, n_y, n_x, most, wide)
                trips_p = _ceil_div(n_b, b) * _ceil_div(n_y, y) * _ceil_div(n_x, x)
            if stationary == O:
                wires = WIO(whole_w * trips_p, whole_i * _ceil_div(n_k, k), 0.0)
            else:  # as many taps as fit, since sums return for each that stays outside
                held = b * y * x
                for more_y, more_x in ((1.0, n_fx), (n_fy, n_fx)):
                    pixels = b * _register_pixels(case, stationary, y, x, more_y, more_x)
                    if k * more_y * more_x <= room.w and pixels <= room.i:
                        fy, fx, held = more_y, more_x, pixels
                c = _cut_steps(n_c, min(_floor(room.w / (k * fy * fx)), _floor(room.i / held)))
                sums = whole_o * (_ceil_div(n_c, c) * _ceil_div(n_fy, fy) * _ceil_div(n_fx, fx) - 1)
                wires = WIO(whole_w, whole_i * _ceil_div(n_k, k), sums)
                if stationary == I:
                    wires = WIO(whole_w * trips_p, whole_i, sums)
            ports = _port_cycles(costs, wires, link)
            if ports < least:
                least = ports
                mapping[MAP_R + K], mapping[MAP_R + C], mapping[MAP_R + B] = k, c, b
                mapping[MAP_R + OY], mapping[MAP_R + OX], mapping[MAP_R + FY], mapping[MAP_R + FX] = y, x, fy, fx
        if first <= 1.0:
            return True
        first = _floor(first / 2)


@_inner
def _cut_pixels(n_b, n_y, n_x, most, wide):
    """A register tile of at most so many pixels, as square as can be or as `wide`; the sizes of B, OY, OX."""
    x = _cut_steps(n_x, most if wide else _floor(np.sqrt(most)))
    y = _cut_steps(n_y, _floor(most / x))
    return _cut_steps(n_b, _floor(most / (y * x))), y, x


@_inner
def _register_tiles(search, j, stationary, aim, sizes, limit):
    """Append a configuration for each register tile that fits and of which no loop can grow.

    Its sizes are the smallest of their trips, QUICK: nearest below the powers of two.  Loops whose register tile changes
    nothing with this stationary operand stay at one step; so do groups, unless all of them are two steps: a tile of all
    may take less room than one step held twice.  Where folds stop the array, or outputs meet padding unevenly, smaller
    tiles may be better.
    With a finite `limit` only the one of least cycles below it is kept.
    """
    case, mapping, tables = search.case, search.mapping, search.tables
    layer, option = case.layer, case.option
    filtered = layer[FY] * layer[FX] > 1 and option[OPT_FLATTEN] == 0
    every = sizes == COMPLETE and _stops(case.design)
    every_x = every or (sizes == COMPLETE and _tries_ragged(layer, X))
    every_y = every or (sizes == COMPLETE and _tries_ragged(layer, Y))
    n, size = tables.n_sizes, tables.sizes
    for d in range(8):
        used = d == G and (case.design[SYSTOLIC] > 0 or (sizes == COMPLETE and _register_steps(search, G) == 2.0))
        if d == K:
            used = stationary != I
        elif d == C:
            used = stationary != O
        elif d == FY or d == FX:
            used = filtered
        elif d == OY or d == OX:
            used = stationary != W or filtered
        elif d == B:
            used = stationary != W
        steps = _register_steps(search, d) if used else 1.0
        short = 16.0 if sizes == COMPLETE or d == FY or d == FX else 0.0
        if sizes == COMPLETE and (d == OY or d == OX):
            dilated = layer[MEET_O_Y + d - OY] > 1  # uneven pieces then share more inputs
            short = MAX_TILES if dilated else (EVERY_SIZE if _tries_ragged(layer, d - OY) else short)
        n[d] = _cut_sizes(tables, steps, short, size[d])
    for a in range(n[G]):
        mapping[MAP_R + G] = size[G, a]
        for f in range(n[FY]):
            mapping[MAP_R + FY] = size[FY, f]
            for e in range(n[FX]):
                mapping[MAP_R + FX] = size[FX, e]
                for c in range(n[C]):
                    if tables.work_left < 0:
                        return
                    mapping[MAP_R + C] = size[C, c]
                    for i in range(n[K]):
                        mapping[MAP_R + K] = size[K, i]
                        mapping[MAP_R + B], mapping[MAP_R + OY], mapping[MAP_R + OX] = 1.0, 1.0, 1.0
                        if not _registers_fit(search):
                            break
                        for b in range(n[B]):
                            mapping[MAP_R + B] = size[B, b]
                            for y in range(n[OY]):
                                mapping[MAP_R + OY] = size[OY, y]
                                x = n[OX] - 1
                                while x >= 0:
                                    mapping[MAP_R + OX] = size[OX, x]
                                    if _registers_fit(search):
                                        if every or not _can_grow(search, every_y, every_x, a, f, e, c, i, b, y):
                                            least = _append_configuration(search, j, aim, limit)
                                            limit = least if limit < np.inf else limit
                                        if not every_x:
                                            break
                                    x -= 1
                                if x < 0 and not every_x:
                                    break


@_inner
def _tries_ragged(layer, axis):
    """Whether COMPLETE looks at all tiles along an axis because outputs meet padding unevenly; a long one it bounds."""
    return layer[RAGGED_Y + axis] > 0 and layer[OY + axis] <= EVERY_SIZE


@_inner
def _least_share(layer):
    """Share of the best cycles that no mapping falls below along long axes of uneven padding.

    There a mapping with other pieces of the same trips reads at most `RAGGED` positions less, of all that are touched.
    """
    share = 1.0
    for axis in range(2):
        if layer[RAGGED_Y + axis] > 0 and not _tries_ragged(layer, axis):
            share *= max(0.0, 1.0 - layer[RAGGED_Y + axis] / layer[TOUCHED_Y + axis])
    return share


@_inner
def _cut_sizes(tables, steps, short, sizes):
    """Sizes of a register tile, smallest first, each the smallest of its trips; returns how many.

    All of at most `short` steps; 0: nearest below the powers of two.
    """
    count, size, fine = 0, 1.0, short > 0
    while True:
        now = _ceil_div(steps, _ceil_div(steps, size))
        if count == 0 or now > sizes[count - 1]:
            if count == MAX_TILES:
                _note_full(tables, tables.compulsory)
                return count
            sizes[count] = now
            count += 1
        if now >= steps:
            return count
        if steps <= short:
            size = now + 1.0
            while size <= steps:
                sizes[count] = size
                count += 1
                size += 1.0
            return count
        if fine:
            size = _ceil_div(steps, _ceil_div(steps, now) - 1.0)  # the smallest of one trip less
        else:
            size = min(steps, 2 * size)


@_inner
def _registers_fit(search):
    """Whether the register tile in the mapping fits."""
    case = search.case
    return register_overflow(case.layer, case.design, case.option, search.mapping) <= 0


@_inner
def _can_grow(search, every_y, every_x, a, f, e, c, i, b, y):
    """Whether one loop of the register tile in the mapping, given by the numbers of its sizes, can be larger.

    `every_y`, `every_x`: along this axis a larger tile is not always as good.
    """
    return (_fits_larger(search, G, a) or (not every_y and _fits_larger(search, FY, f))
            or (not every_x and _fits_larger(search, FX, e)) or _fits_larger(search, C, c) or _fits_larger(search, K, i)
            or _fits_larger(search, B, b) or (not every_y and _fits_larger(search, OY, y)))  # fmt: skip


@_inner
def _fits_larger(search, d, number):
    """Whether the register tile in the mapping fits with the next larger size of loop `d`."""
    tables, mapping = search.tables, search.mapping
    if number + 1 >= tables.n_sizes[d]:
        return False
    mapping[MAP_R + d] = tables.sizes[d, number + 1]
    fits = _registers_fit(search)
    mapping[MAP_R + d] = tables.sizes[d, number]
    return fits


# Buffer tiles.


@_inner
def _search_configuration(search, options, lists, q, aim, effort, out):
    """Search the buffer tiles and DRAM orders of configuration `q`."""
    tables, mapping = search.tables, search.mapping
    configuration = tables.configurations[q]
    case = _use_spatial(search, options, configuration.spatial)
    mapping[MAP_BYPASS], mapping[MAP_STATIONARY] = configuration.bypass, configuration.stationary
    for d in range(8):
        mapping[MAP_R + d] = configuration.register[d]
    _facts(case, mapping, tables.facts)
    _coefficients(case, mapping, aim, out, tables)
    inside = Search(case, mapping, tables, search.best_map, search.trial)
    floor = Work(configuration.busy, WIO(configuration.wires[W], configuration.wires[I], configuration.wires[O]))
    _search_tiles(inside, lists, floor, aim, effort.sizes)


@_inner
def _search_relaxed(search, options, lists, j, effort, out):
    """Least cycles of spatial factors `j` if the array's wires carried everything at no cost; the best if no better.

    A lower bound of the cycles of every configuration of these spatial factors without bypasses.
    """
    tables, mapping, best = search.tables, search.mapping, search.tables.best
    case = _use_spatial(search, options, j)
    kept = best.cycles
    mapping[MAP_BYPASS], mapping[MAP_STATIONARY] = 0.0, RELAXED
    _facts(case, mapping, tables.facts)
    _coefficients(case, mapping, FASTEST, out, tables)
    floor = Work(max(_array_floor(search, j), tables.spatial[j].ports), WIO(0.0, 0.0, 0.0))
    _search_tiles(Search(case, mapping, tables, search.trial, search.trial), lists, floor, FASTEST, effort.sizes)
    found, best.cycles = best.cycles, kept
    return found


@_inner
def _search_tiles(search, lists, floor, aim, sizes):
    """Search the buffer tiles of the configuration in the mapping; `floor`: its work if one tile holds the layer."""
    case, tables = search.case, search.tables
    layer, option, best = case.layer, case.option, tables.best
    flat = option[OPT_FLATTEN] > 0
    taps = layer[FY] * layer[FX] if flat else 1.0
    _group_tiles(search, sizes)
    _filter_tiles(search, sizes)
    tables.n_k = _loop_tiles(search, K, 1.0, lists.k, lists.n_k, sizes, tables.k)
    tables.n_c = _loop_tiles(search, C, taps, lists.c, lists.n_c, sizes, tables.c)
    for f in range(tables.n_filters):
        if sizes == QUICK and f > 0 and aim == FASTEST and best.cycles <= floor.busy * 1.1:
            break  # a smaller tile of the filter would hardly help
        _pixel_tiles(search, f, lists, sizes)
        for g in range(tables.n_g):
            first = tables.n_c - 1 if sizes == QUICK else tables.n_c
            _search_nodes(search, g, f, 0, 1, floor, aim)
            _search_nodes(search, g, f, first, tables.n_c, floor, aim)
            _search_nodes(search, g, f, 1, first, floor, aim)


@_inner
def _search_nodes(search, g, f, c_first, c_last, floor, aim):
    """Search the tiles of C number `c_first` to `c_last` - 1 with all tiles of K, the most promising first."""
    tables, best = search.tables, search.tables.best
    c = c_first
    while c < c_last:
        tables.n_nodes = 0
        while c < c_last and tables.n_nodes + tables.n_k <= MAX_NODES:
            _add_nodes(search, g, f, c, floor, aim)
            tables.work_left -= tables.n_k
            c += 1
        while tables.n_nodes > 0:
            nodes, least = tables.nodes, 0
            for i in range(1, tables.n_nodes):
                if nodes[i].rank < nodes[least].rank:
                    least = i
            node = nodes[least]
            if tables.work_left < 0:
                return
            if _hopeless(aim, best, node.cycles, node.pj, node.moved):
                if aim == FASTEST:
                    break
            else:
                _search_pixels(search, g, f, node, floor, aim)
            tables.n_nodes -= 1
            if least < tables.n_nodes:
                last = nodes[tables.n_nodes]
                node.c, node.k, node.tile_w, node.held_w = last.c, last.k, last.tile_w, last.held_w
                node.cycles, node.pj, node.moved, node.rank = last.cycles, last.pj, last.moved, last.rank


@_inner
def _add_nodes(search, g, f, c, floor, aim):
    """Append the nodes of a tile of C whose lower bounds leave hope."""
    tables, facts, costs, best = search.tables, search.tables.facts, search.tables.costs, search.tables.best
    layer = search.case.layer
    group, taps, channels = tables.g[g], tables.filters[f], tables.c[c]
    steps = group.steps * taps.steps * channels.steps * facts.cycles
    n_r = channels.trips * taps.trips
    word_i = group.size * channels.size * facts.word[I]
    ends_i = facts.lead_i * word_i * tables.least_positions
    busy = max(max(steps + facts.skew, facts.vector), floor.busy)
    if aim == FASTEST and busy + ends_i * facts.per_bandwidth >= best.cycles * (1.0 - best.near):
        return
    whole_r = n_r == 1.0 and group.trips == 1.0
    all_pixels = layer[B] * layer[OY] * layer[OX]
    total_r, inside_r = channels.total * taps.total, channels.inside * taps.inside
    room_w = facts.room[facts.buffer[W]]
    positions = facts.whole[I] * facts.positions
    stationary = int(search.mapping[MAP_STATIONARY])
    # Bytes over the DRAM link if each operand crosses it once, and for each time more.
    again_w, again_i = costs[DRAM_BYTE_W, COST_DRAM] * facts.whole[W], costs[DRAM_BYTE_I, COST_DRAM] * positions
    again_o = costs[DRAM_BYTE_O, COST_DRAM] * facts.whole[O]
    moved_once = _priced(costs, COST_DRAM, floor.wires, WIO(facts.whole[W], positions, 0.0))
    enough = best.cycles * (1.0 - best.near) if aim == FASTEST else np.inf
    # Sums that stay need so many tiles of pixels x K; W crosses once for each of the one, I of the other.
    all_sums = all_pixels * layer[K] * group.size * facts.word[O]
    tiles, room_o = 1.0, facts.room[facts.buffer[O]]
    if all_sums * _copies(facts, O, True) > room_o:  # all of them at once need no second copy
        tiles = max(1.0, all_sums * facts.copies[O] / max(1e-9, room_o))
    if n_r > 1.0 and aim == FASTEST:
        stay = max(0.0, 2 * np.sqrt(again_w * again_i * tiles) - again_w - again_i)
        if (moved_once + min(stay, again_o * (n_r - 1))) * facts.per_bandwidth * ROOM >= enough:
            return
    pj_w, pj_i = costs[DRAM_BYTE_W, COST_PJ] * facts.whole[W], costs[DRAM_BYTE_I, COST_PJ] * positions
    pj_o = costs[DRAM_BYTE_O, COST_PJ] * facts.whole[O]
    linked = moved_once * facts.per_bandwidth
    pj_once = _priced(costs, COST_PJ, floor.wires, WIO(facts.whole[W], positions, 0.0))
    if aim != FASTEST:
        pj = pj_once + max(busy, linked) * facts.idle
        if n_r > 1.0:
            stay = max(0.0, 2 * np.sqrt(pj_w * pj_i * tiles) - pj_w - pj_i)
            pj += min(stay, pj_o * (n_r - 1))
        if _hopeless(aim, best, busy * ROOM, pj * ROOM, moved_once * ROOM):
            return
    ported = _port_cycles(costs, floor.wires, WIO(facts.whole[W], positions, 0.0)) > 0.4 * floor.busy
    for k in range(tables.n_k):
        kernels = tables.k[k]
        busy = max(max(steps * kernels.steps + facts.skew, facts.vector), floor.busy)
        if (busy + ends_i * facts.per_bandwidth) * ROOM >= enough:
            continue
        n_k = kernels.trips
        tile_w = group.size * kernels.size * channels.size * taps.taps * facts.word[W]
        held_w = tile_w * _copies(facts, W, whole_r and n_k == 1.0)
        if held_w > room_w:
            continue
        # Trips of the pixels, at least.
        a_pixel_o = group.size * kernels.size * facts.word[O]
        a_pixel_i = word_i * facts.thin
        held_o = a_pixel_o * _copies(facts, O, n_k == 1.0 and group.trips == 1.0)
        held_i = a_pixel_i * _copies(facts, I, whole_r)
        n_p = _pixel_trips(facts, all_pixels, held_w, held_i, held_o, a_pixel_i * facts.copies[I],
                           a_pixel_o * facts.copies[O])  # fmt: skip
        if n_p > all_pixels:
            continue
        last_o = facts.tail * group.last * kernels.last * tables.least_last
        ends = facts.lead_w * tile_w + ends_i + last_o
        trips = Trips(n_p, n_k, n_r, group.trips)
        orders = _unequal_orders(trips)
        cycles, pj, moved = np.inf, np.inf, np.inf
        if aim == FASTEST:
            for order in range(orders):
                once = _dram_times(order, facts.reload, trips)
                moved = min(moved, again_w * (once.w - 1) + again_i * (once.i - 1) + again_o * (once.o - 1))
            moved += moved_once
            cycles = max(busy + ends * facts.per_bandwidth, moved * facts.per_bandwidth)
            if cycles * ROOM >= enough:
                continue
            if ported:
                cycles = np.inf
        else:
            for order in range(orders):
                once = _dram_times(order, facts.reload, trips)
                pj = min(pj, pj_w * (once.w - 1) + pj_i * (once.i - 1) + pj_o * (once.o - 1))
            cycles = max(busy + ends * facts.per_bandwidth, linked)
            if _hopeless(aim, best, cycles * ROOM, (pj_once + pj + cycles * facts.idle) * ROOM, moved_once * ROOM):
                continue
            cycles, pj = np.inf, np.inf
        for order in range(orders):
            if cycles < np.inf and aim == FASTEST and not ported:
                break
            once = _dram_times(order, facts.reload, trips)
            link = WIO(facts.whole[W] * once.w, positions * once.i, facts.whole[O] * (once.o - 1))
            wires = floor.wires
            if stationary == W:
                again = kernels.inside > 1 or inside_r > 1 or group.inside > 1
                wires = WIO(max(wires.w, facts.whole[W] * (n_p if again else once.w)),
                            max(wires.i, positions * kernels.total), facts.whole[O] * (total_r - 1))  # fmt: skip
            elif stationary == O:
                wires = WIO(wires.w, max(wires.i, positions * kernels.total),
                            facts.whole[O] * ((n_r if kernels.inside > 1 or group.inside > 1 else once.o) - 1))  # fmt: skip
            elif stationary == I:
                wires = WIO(wires.w, max(wires.i, positions * (n_k if inside_r > 1 or group.inside > 1 else once.i)),
                            facts.whole[O] * (total_r - 1))  # fmt: skip
            cost = _cost(aim, tables, Work(busy, wires), link, ends)
            cycles, pj, moved = min(cycles, cost.cycles), min(pj, cost.pj), min(moved, cost.moved)
        cycles, pj, moved = cycles * ROOM, pj * ROOM, moved * ROOM
        if _hopeless(aim, best, cycles, pj, moved):
            continue
        node = tables.nodes[tables.n_nodes]
        node.c, node.k, node.tile_w, node.held_w = c, k, tile_w, held_w
        node.cycles, node.pj, node.moved, node.rank = cycles, pj, moved, _rank(aim, cycles, pj, moved)
        tables.n_nodes += 1


@_inline
def _pixel_trips(facts, pixels, held_w, held_i, held_o, twice_i, twice_o):
    """DRAM trips over the pixels at least; bytes that W, and one pixel of I and O occupy, if whole and if not."""
    in_w, in_i, in_o = facts.buffer[W], facts.buffer[I], facts.buffer[O]
    room_i = facts.room[in_i] - (held_w if in_w == in_i else 0.0)
    room_o = facts.room[in_o] - (held_w if in_w == in_o else 0.0)
    if in_i == in_o:
        if pixels * (held_i + held_o) <= room_i:
            return 1.0
        more = pixels * (twice_i + twice_o)
        return max(2.0, more / room_i) if room_i > 0 else np.inf
    if pixels * held_i <= room_i and pixels * held_o <= room_o:
        return 1.0
    trips = 2.0
    if twice_i > 0:
        trips = max(trips, pixels * twice_i / room_i) if room_i > 0 else np.inf
    if twice_o > 0:
        trips = max(trips, pixels * twice_o / room_o) if room_o > 0 else np.inf
    return trips


@_inner
def _search_pixels(search, g, f, node, floor, aim):
    """Search the pixel tiles and DRAM orders of a node."""
    case, mapping, tables = search.case, search.mapping, search.tables
    design, option = case.design, case.option
    facts, costs, best = tables.facts, tables.costs, tables.best
    group, taps, channels, kernels = tables.g[g], tables.filters[f], tables.c[node.c], tables.k[node.k]
    n_r, n_k = channels.trips * taps.trips, kernels.trips
    whole_r, whole_k = n_r == 1.0 and group.trips == 1.0, n_k == 1.0 and group.trips == 1.0
    steps = group.steps * taps.steps * channels.steps * kernels.steps * facts.cycles
    total_r, inside_r = channels.total * taps.total, channels.inside * taps.inside
    word_i, word_o = group.size * channels.size * facts.word[I], group.size * kernels.size * facts.word[O]
    in_w, in_i, in_o = facts.buffer[W], facts.buffer[I], facts.buffer[O]
    room_i = facts.room[in_i] - (node.held_w if in_w == in_i else 0.0)
    room_o = facts.room[in_o] - (node.held_w if in_w == in_o else 0.0)
    first_w, tail = facts.lead_w * node.tile_w, facts.tail * group.last * kernels.last
    stationary, stops = int(mapping[MAP_STATIONARY]), _stops(design)
    orders, once_only = int(option[OPT_ORDERS]), _once_only(case)
    bypass = int(mapping[MAP_BYPASS])
    tables.work_left -= tables.n_pixels
    for q in range(tables.n_pixels):
        p = tables.pixels[q]
        tile_i, tile_o = word_i * p.positions, word_o * p.pixels
        held_i = tile_i * _copies(facts, I, whole_r and p.trips == 1.0)
        held_o = tile_o * _copies(facts, O, whole_k and p.trips == 1.0)
        if in_i == in_o:
            if held_i + held_o > room_i:
                continue
        elif held_i > room_i or held_o > room_o:
            continue
        ends = first_w + facts.lead_i * tile_i + tail * p.last
        cycles = steps * p.steps
        low = max(max(cycles + facts.skew, facts.vector), floor.busy) + ends * facts.per_bandwidth
        if _too_slow(aim, best, low * ROOM):
            continue
        trips = Trips(p.trips, n_k, n_r, group.trips)
        allowed = _allowed_orders(orders, trips)
        for order in range(_unequal_orders(trips) if allowed == EVERY_ORDER else N_ORDERS):
            if not allowed >> order & 1:
                continue
            once = _dram_times(order, facts.reload, trips)
            if _again(once_only & ~bypass, once):
                continue
            link = WIO(facts.whole[W] * once.w, facts.whole[I] * p.fetched * once.i, facts.whole[O] * (once.o - 1))
            if aim == FASTEST:
                moved = _priced(costs, COST_DRAM, floor.wires, link) * ROOM
                if moved * facts.per_bandwidth >= best.cycles * (1.0 - best.near) or moved > best.most_moved:
                    continue
            else:
                least = _cost(aim, tables, Work(floor.busy, floor.wires), link, ends)
                if _hopeless(aim, best, least.cycles * ROOM, least.pj * ROOM, least.moved * ROOM):
                    continue
            if stationary == RELAXED:
                work = Work(cycles + facts.skew, WIO(0.0, 0.0, 0.0))
            else:
                if p.wires < 0:
                    _fill_pixels(search, f, p)
                stop = 0.0
                if stops:
                    _write_mapping(search, group, taps, channels, kernels, p, order, search.trial)
                    stop = _stop_cycles(case, search.trial)
                inside = Trips(p.inside, kernels.inside, inside_r, group.inside)
                total = Trips(p.total, kernels.total, total_r, group.total)
                if _again(once_only & bypass, _array_times(stationary, inside, total, trips, once)):
                    continue
                work = _work(design, facts, stationary, inside, total, trips, once, p.wires, cycles, stop)
            cost = _cost(aim, tables, work, link, ends)
            if _better(aim, best, cost):
                best.cycles, best.pj, best.moved = cost.cycles, cost.pj, cost.moved
                _write_mapping(search, group, taps, channels, kernels, p, order, search.best_map)


@_inline
def _too_slow(aim, best, cycles):
    """Whether a lower bound of the cycles alone leaves no hope."""
    return cycles >= best.cycles * (1.0 - best.near) if aim == FASTEST else cycles > best.most_cycles


@_inner
def _allowed_orders(orders, trips):
    """Bits of the DRAM orders that an option allows; any where one of its innermost groups has a single trip.

    That group then is inside all loops of several trips, whatever the order.
    """
    free = (orders & 1 and trips.p == 1.0) or (orders & 2 and trips.k == 1.0) or (orders & 4 and trips.r == 1.0)
    return EVERY_ORDER if free else orders


@_inline
def _unequal_orders(trips):
    """How many DRAM orders, from the first on, are unlike those before them: that of loops of one trip is no matter."""
    looping = (1 if trips.p > 1 else 0) + (1 if trips.k > 1 else 0) + (1 if trips.r > 1 else 0)
    return max(1, looping)


@_inner
def _once_only(case):
    """Bits of the operands that may cross the DRAM link only once, but for those that are on chip already."""
    operands = int(case.option[OPT_ONCE])
    if case.variant & WEIGHTS_RESIDENT:
        operands &= ~BYPASS_W
    if case.variant & IN_RESIDENT:
        operands &= ~BYPASS_I
    return operands


@_inner
def _again(operands, times):
    """Whether one of the operands (bits) moves more than once."""
    return ((operands & BYPASS_W and times.w > 1) or (operands & BYPASS_I and times.i > 1)
            or (operands & BYPASS_O and times.o > 1))  # fmt: skip


@_inner
def _fill_pixels(search, f, p):
    """Fill the array trips of a pixel tile and the input positions into the array."""
    case, mapping, tables = search.case, search.mapping, search.tables
    layer, option = case.layer, case.option
    taps = tables.filters[f]
    p.total, p.inside, p.wires = 1.0, 1.0, 1.0
    for d in (B, OY, OX):
        size = p.b if d == B else (p.y if d == OY else p.x)
        piece = mapping[MAP_S + d] * mapping[MAP_R + d]
        trips, inside = _ceil_div(layer[d], size), _ceil_div(size, piece)
        p.total *= (trips - 1) * inside + _ceil_div(layer[d] - (trips - 1) * size, piece)
        p.inside *= inside
        if d != B:
            axis = d - OY
            tap = FY + axis
            outputs = Cut(layer[d], size, piece)
            cut_taps = Cut(layer[tap], taps.y if axis == Y else taps.x, mapping[MAP_S + tap] * mapping[MAP_R + tap])
            stationary = int(mapping[MAP_STATIONARY])
            p.wires *= wire_positions(case, stationary, option[OPT_FORWARDS] > 0, axis, outputs, cut_taps)


@_inner
def _write_mapping(search, group, taps, channels, kernels, p, order, into):
    """Write a candidate as a mapping row, its register tile cut to the buffer tile."""
    layer, option = search.case.layer, search.case.option
    _copy(search.mapping, into, N_MAP)
    into[MAP_T + G], into[MAP_T + C], into[MAP_T + K] = group.size, channels.size, kernels.size
    into[MAP_T + B], into[MAP_T + OY], into[MAP_T + OX] = p.b, p.y, p.x
    into[MAP_T + FY], into[MAP_T + FX] = taps.y, taps.x
    into[MAP_DRAM_ORDER] = order
    for d in range(8):
        size = _loop_size(layer, option, d, into[MAP_T + d])
        into[MAP_R + d] = min(into[MAP_R + d], _ceil_div(size, into[MAP_S + d]))


@_inner
def _copy(source, target, n):
    """Copy the first `n` numbers (an assignment of slices takes seconds to compile)."""
    for i in range(n):
        target[i] = source[i]


@_inline
def _copies(facts, operand, whole):
    """Copies of a tile that its buffer holds; a tile that is the `whole` operand needs no second one."""
    return min(facts.copies[operand], 1.0) if whole else facts.copies[operand]


# Sizes of buffer tiles.


@_inner
def _tile_record(search, d, size, taps, into):
    """Fill a buffer tile of loop `d`; `taps`: of the filter that a flattened C stands for."""
    layer, mapping = search.case.layer, search.mapping
    extent, step = layer[d], mapping[MAP_S + d]
    piece = step * mapping[MAP_R + d]
    trips = _ceil_div(extent, size)
    last = extent - (trips - 1) * size
    into.size, into.trips, into.last = size, trips, last
    steps = (trips - 1) * _ceil_div(size * taps, step) + _ceil_div(last * taps, step)
    into.steps = steps / _ceil_div(extent * taps, step)
    into.inside = _ceil_div(size * taps, piece)
    into.total = (trips - 1) * into.inside + _ceil_div(last * taps, piece)


@_inner
def _loop_tiles(search, d, taps, sizes_of_layer, n_of_layer, sizes, table):
    """Fill the buffer tiles of loop `d`, C or K; returns how many.  The first is all of it, the last a small one."""
    layer, mapping, found = search.case.layer, search.mapping, search.tables.sizes[d]
    extent, step = layer[d], mapping[MAP_S + d]
    piece = step * mapping[MAP_R + d]
    if sizes == COMPLETE:
        n = _critical_sizes(search.tables, extent, step / taps, piece / taps, found)
        for i in range(n):
            _tile_record(search, d, found[i], taps, table[i])
        return n
    n = 0
    for i in range(n_of_layer):
        _tile_record(search, d, sizes_of_layer[i], taps, table[n])
        n += 1
    if d == K:
        steps, trips = _ceil_div(extent, step), 2.0
        while step > 1 and trips <= 9 and trips < steps:
            size = _ceil_div(steps, trips) * step
            if size < extent and _ceil_div(extent, _ceil_div(extent, size)) != size:
                _tile_record(search, d, size, taps, table[n])
                n += 1
            trips += 1.0
        return n
    for times in (4.0, 2.0, 1.0):
        size = max(1.0, _floor(times * piece / taps))
        if size < extent:
            _tile_record(search, d, size, taps, table[n])
            n += 1
    return n


@_inner
def _critical_sizes(tables, extent, step, piece, sizes):
    """Sizes of a tile that matter, largest first: of every trip count the ends, and the multiples of a step and a piece
    at its ends; of short loops and trip counts, all.  Returns how many."""
    sizes[0] = extent
    n = 1
    while sizes[n - 1] > 1.0:
        if n >= MAX_TILES - 8:
            _note_full(tables, tables.compulsory)
            break
        high = sizes[n - 1] - 1.0
        if extent > EVERY_SIZE:  # jump to the end of the trip count of the last size
            trips = _ceil_div(extent, sizes[n - 1])
            high = _ceil_div(extent, trips) - 1.0
        if high < 1.0:
            break
        low = _ceil_div(extent, _ceil_div(extent, high))
        if extent <= EVERY_SIZE or high - low <= 2.0:
            size = high
            while size >= low:
                sizes[n] = size
                n += 1
                size -= 1.0
            continue
        sizes[n] = high
        n += 1
        start = n
        n = _add_size(_floor(_floor(high / step) * step), low, high, start, n, sizes)
        n = _add_size(_floor(_ceil_div(low, step) * step), low, high, start, n, sizes)
        n = _add_size(_floor(_floor(high / piece) * piece), low, high, start, n, sizes)
        n = _add_size(_floor(_ceil_div(low, piece) * piece), low, high, start, n, sizes)
        sizes[n] = low
        n += 1
    return n


@_inner
def _add_size(size, low, high, start, n, sizes):
    """Insert a size between `low` and `high` in falling order, once; returns how many there are."""
    if size <= low or size >= high:
        return n
    for i in range(start, n):
        if sizes[i] == size:
            return n
    i = n
    while i > start and sizes[i - 1] < size:
        sizes[i] = sizes[i - 1]
        i -= 1
    sizes[i] = size
    return n + 1


@_inner
def _group_tiles(search, sizes):
    """Fill the buffer tiles of G."""
    tables, layer, mapping = search.tables, search.case.layer, search.mapping
    extent, found = layer[G], tables.sizes[G]
    step = mapping[MAP_S + G]
    piece = step * mapping[MAP_R + G]
    if sizes == COMPLETE:
        n = _critical_sizes(tables, extent, step, piece, found)
    else:
        n = 0
        size = min(extent, piece)
        while True:
            found[n] = size
            n += 1
            if size == 1.0:
                break
            size = min(extent, step) if size > min(extent, step) else _ceil_div(size, 2.0)
    for i in range(n):
        _tile_record(search, G, found[i], 1.0, tables.g[i])
    tables.n_g = n


@_inner
def _filter_tiles(search, sizes):
    """Fill the buffer tiles of the filter: whole; one spatial step of rows; one step of both; one tap; or all sizes."""
    tables, layer, mapping = search.tables, search.case.layer, search.mapping
    tables.n_filters = 0
    fy, fx = layer[FY], layer[FX]
    _add_filter(search, fy, fx)
    if search.case.option[OPT_FLATTEN] > 0:
        return
    if sizes == COMPLETE:
        y = fy
        while y >= 1.0:
            x = fx
            while x >= 1.0:
                _add_filter(search, y, x)
                x -= 1.0
            y -= 1.0
        return
    _add_filter(search, min(fy, mapping[MAP_S + FY]), fx)
    _add_filter(search, min(fy, mapping[MAP_S + FY]), min(fx, mapping[MAP_S + FX]))
    _add_filter(search, 1.0, 1.0)


@_inner
def _add_filter(search, y, x):
    """Append a buffer tile of the filter that is not there yet."""
    tables, option = search.tables, search.case.option
    n = tables.n_filters
    for f in range(n):
        if tables.filters[f].y == y and tables.filters[f].x == x:
            return
    if n == MAX_FILTERS:
        _note_full(tables, tables.compulsory)
        return
    taps, scratch = tables.filters[n], tables.axis[0, 0]
    taps.y, taps.x, taps.taps = y, x, y * x
    taps.trips, taps.steps, taps.total, taps.inside = 1.0, 1.0, 1.0, 1.0
    if option[OPT_FLATTEN] == 0:
        _tile_record(search, FY, y, 1.0, scratch)
        taps.trips, taps.steps, taps.total, taps.inside = scratch.trips, scratch.steps, scratch.total, scratch.inside
        _tile_record(search, FX, x, 1.0, scratch)
        taps.trips *= scratch.trips
        taps.steps *= scratch.steps
        taps.total *= scratch.total
        taps.inside *= scratch.inside
    tables.n_filters = n + 1


@_inner
def _pixel_tiles(search, f, lists, sizes):
    """Fill the pixel tiles for tile `f` of the filter, and the least of what they need."""
    case, mapping, tables = search.case, search.mapping, search.tables
    layer, option, taps = case.layer, case.option, tables.filters[f]
    whole_rows = option[OPT_WHOLE_ROWS] > 0
    tables.n_pixels = 0
    tables.least_positions, tables.least_last = np.inf, np.inf
    unrolled = mapping[MAP_S + B] * mapping[MAP_S + OY] * mapping[MAP_S + OX] > 1
    if sizes == QUICK and not unrolled and not whole_rows:
        halo = f > 0 and (layer[FY] > 1 or layer[FX] > 1)
        for i in range(lists.n_pixels):
            source, p = lists.pixels[i], tables.pixels[i]
            p.b, p.y, p.x, p.trips = source.b, source.y, source.x, source.trips
            p.pixels, p.last, p.steps, p.wires = source.pixels, source.last, 1.0, -1.0
            p.positions, p.fetched = source.positions, source.fetched
            if halo:
                p.positions = p.b * min(_span(layer, Y, p.y, taps.y), layer[TOUCHED_Y])
                p.positions *= min(_span(layer, X, p.x, taps.x), layer[TOUCHED_X])
                p.fetched = axis_sum(Cut(layer[OY], p.y, p.y), Cut(layer[FY], taps.y, taps.y), axis_of(layer, Y))
                p.fetched *= axis_sum(Cut(layer[OX], p.x, p.x), Cut(layer[FX], taps.x, taps.x), axis_of(layer, X))
            tables.least_positions = min(tables.least_positions, p.positions)
            tables.least_last = min(tables.least_last, p.last)
        tables.n_pixels = lists.n_pixels
        return
    for a in range(3):
        _axis_tiles(search, a, taps, sizes)
    if whole_rows:
        tables.n_axis[2] = 1
    n_b, n_y, n_x = tables.n_axis[0], tables.n_axis[1], tables.n_axis[2]
    for x in range(n_x - 1, -1, -1):
        for y in range(n_y - 1, -1, -1):
            for b in range(n_b - 1, -1, -1):
                if tables.n_pixels == MAX_PIXEL_TILES:
                    _note_full(tables, tables.compulsory)
                    return
                tile_b, tile_y, tile_x = tables.axis[0, b], tables.axis[1, y], tables.axis[2, x]
                p = tables.pixels[tables.n_pixels]
                p.b, p.y, p.x = tile_b.size, tile_y.size, tile_x.size
                p.trips = tile_b.trips * tile_y.trips * tile_x.trips
                p.positions = tile_b.size * tile_y.span * tile_x.span
                p.pixels = tile_b.size * tile_y.size * tile_x.size
                p.last = tile_b.last * tile_y.last * tile_x.last
                p.fetched = tile_y.fetched * tile_x.fetched
                p.steps = tile_b.steps * tile_y.steps * tile_x.steps
                p.wires = -1.0
                tables.n_pixels += 1
                tables.least_positions = min(tables.least_positions, p.positions)
                tables.least_last = min(tables.least_last, p.last)


@_inner
def _axis_tiles(search, a, taps, sizes):
    """Fill the buffer tiles of B, OY or OX, largest first."""
    tables, layer, mapping = search.tables, search.case.layer, search.mapping
    d = B if a == 0 else (OY if a == 1 else OX)
    extent, step = layer[d], mapping[MAP_S + d]
    piece, found = step * mapping[MAP_R + d], tables.sizes[d]
    if sizes == COMPLETE:
        n = _critical_sizes(tables, extent, step, piece, found)
    else:
        n = _step_sizes(extent, step, piece, found)
    tables.n_axis[a] = n
    for i in range(n):
        tile = tables.axis[a, i]
        _tile_record(search, d, found[i], 1.0, tile)
        if a > 0:
            axis = a - 1
            tap = taps.y if axis == Y else taps.x
            tile.span = min(_span(layer, axis, found[i], tap), layer[TOUCHED_Y + axis])
            cut = Cut(layer[FY + axis], tap, tap)
            tile.fetched = axis_sum(Cut(extent, found[i], found[i]), cut, axis_of(layer, axis))


@_inner
def _step_sizes(extent, step, piece, sizes):
    """Multiples of a piece, then of a step, by trip count, then halves of a step, largest first; returns how many."""
    most = MAX_TILES - 64  # leaves room for the halves
    n, steps = 0, _ceil_div(extent, piece)
    j = steps
    while True:
        sizes[n] = min(j * piece, extent)
        n += 1
        if j <= 1.0 or n == most:
            break
        j = _ceil_div(steps, _ceil_div(steps, j - 1.0))
    steps = _ceil_div(extent, step)
    j = min(_ceil_div(piece, step), steps)
    while j > 1.0 and n < most:
        j = _ceil_div(steps, _ceil_div(steps, j - 1.0))
        if j * step < sizes[n - 1]:
            sizes[n] = j * step
            n += 1
    size = sizes[n - 1]
    while size > 1.0:
        size = _ceil_div(size, 2.0)
        sizes[n] = size
        n += 1
    return n


# Facts that the candidates of a configuration share, and what traffic costs.


@_inner
def _facts(case, mapping, facts):
    """Fill the facts of a configuration."""
    layer, design, variant, bypass = case.layer, case.design, case.variant, int(mapping[MAP_BYPASS])
    words, word, dense = _words(layer), design[ACTIVATION_BYTES], design[COMPRESSION]
    w_word, sum_word = _weight_word_bytes(layer, design), design[ACCUMULATOR_BYTES]
    keep_w = bypass & BYPASS_W == 0 and variant & WEIGHTS_RESIDENT == 0
    keep_i = bypass & BYPASS_I == 0 and variant & IN_RESIDENT == 0
    keep_o = bypass & BYPASS_O == 0
    facts.whole[W], facts.whole[I], facts.whole[O] = words.w * w_word, words.i * word, words.o * sum_word
    facts.load[W], facts.load[I] = words.w / _edge(design, W), words.i / _edge(design, I)
    facts.load[O] = words.o / _edge(design, O)
    facts.positions = layer[TOUCHED_Y] * layer[TOUCHED_X]
    facts.word[W], facts.word[I], facts.word[O] = w_word, word, sum_word
    facts.lead_w = _padding(case, mapping, W) if keep_w and design[DOUBLE_W] > 0 else 0.0
    facts.lead_i = dense * _padding(case, mapping, I) if keep_i and design[DOUBLE_I] > 0 else 0.0
    facts.tail = 0.0
    if keep_o and design[DOUBLE_O] > 0 and variant & OUT_RESIDENT == 0:
        facts.tail = word * dense * _padding(case, mapping, O)
    facts.reload = design[RELOAD]
    for x in range(3):
        held = keep_w if x == W else (keep_i if x == I else keep_o)
        facts.copies[x] = (1.0 + design[TWICE_W + x]) if held else 0.0
        facts.buffer[x] = int(design[BUFFER_W + x])
        facts.room[x] = tile_capacity(design, x)
    facts.vector = layer[VECTOR_OPERATIONS] / design[VECTOR_LANES]
    facts.per_bandwidth, facts.idle = 1.0 / design[DRAM_BYTES_PER_CYCLE], pj_per_cycle(design)
    facts.thin = min(1.0, layer[TOUCHED_Y] / layer[OY]) * min(1.0, layer[TOUCHED_X] / layer[OX])
    facts.skew = 2 * design[ROWS] + design[COLS] - 2 if design[SYSTOLIC] > 0 else 0.0
    facts.cycles = 1.0
    for d in range(8):
        facts.cycles *= _ceil_div(_loop_extent(layer, case.option, d), mapping[MAP_S + d])


@_inner
def _coefficients(case, mapping, aim, out, tables):
    """Read the costs of the six traffic numbers off the model; for FASTEST those of time.

    These depend on the set of bypasses alone, unless wider steps may cost more.
    """
    design, costs, bypass = case.design, tables.costs, int(mapping[MAP_BYPASS])
    if aim == FASTEST and tables.costs_of == bypass:
        return
    tables.costs_of = bypass if aim == FASTEST and not _costly_width(design) else -1
    costs[NO_TRAFFIC, COST_WRITES] = design[WRITES_APART_0] + design[WRITES_APART_1] + design[WRITES_APART_2]
    for row in range(N_COST_ROWS):
        u = UNIT_BYTES
        array = WIO(u if row == ARRAY_BYTE_W else 0.0, u if row == ARRAY_BYTE_I else 0.0,
                    u if row == ARRAY_BYTE_O else 0.0)  # fmt: skip
        dram = WIO(u if row == DRAM_BYTE_W else 0.0, u if row == DRAM_BYTE_I else 0.0,
                   u if row == DRAM_BYTE_O else 0.0)  # fmt: skip
        _account(case, mapping, array, dram, out)
        for column in range(N_COSTS):
            source = READ_PORT_0 + column - COST_READ_0
            if column == COST_DRAM:
                source = DRAM_BYTES
            elif column == COST_SERIAL:
                source = SERIAL_BYTES
            elif column == COST_PJ:
                source = ENERGY_PJ
            costs[row, column] = out[source] if row == NO_TRAFFIC else (out[source] - costs[NO_TRAFFIC, column]) / u


@_inline
def _priced(costs, column, wires, link):
    """What bytes over the wires of the array and over the DRAM link cost in one column."""
    return (costs[NO_TRAFFIC, column]
            + (costs[ARRAY_BYTE_W, column] * wires.w + costs[ARRAY_BYTE_I, column] * wires.i
               + costs[ARRAY_BYTE_O, column] * wires.o)
            + (costs[DRAM_BYTE_W, column] * link.w + costs[DRAM_BYTE_I, column] * link.i
               + costs[DRAM_BYTE_O, column] * link.o))  # fmt: skip


@_inline
def _port_cycles(costs, wires, link):
    """Cycles of the busiest port."""
    read = max(_priced(costs, COST_READ_0, wires, link),
               max(_priced(costs, COST_READ_1, wires, link), _priced(costs, COST_READ_2, wires, link)))  # fmt: skip
    if costs[NO_TRAFFIC, COST_WRITES] == 0:
        return read
    return max(read, max(_priced(costs, COST_WRITE_0, wires, link),
                         max(_priced(costs, COST_WRITE_1, wires, link), _priced(costs, COST_WRITE_2, wires, link))))  # fmt: skip


@_inline
def _cost(aim, tables, work, link, ends):
    """Cost of a mapping (as `_latency`), or lower bounds of it from lower bounds of everything; FASTEST without energy.

    `work`: of the array and its wires; `link`, `ends`: bytes over the DRAM link, and those that cannot overlap.
    """
    costs, facts = tables.costs, tables.facts
    moved, serial = _priced(costs, COST_DRAM, work.wires, link), _priced(costs, COST_SERIAL, work.wires, link)
    steady = max(max(work.busy, facts.vector), _port_cycles(costs, work.wires, link))
    cycles = max(steady + (ends + serial) * facts.per_bandwidth, moved * facts.per_bandwidth)
    if aim == FASTEST:
        return Cost(cycles, 0.0, moved)
    return Cost(cycles, _priced(costs, COST_PJ, work.wires, link) + cycles * facts.idle, moved)


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
    weight_elements : (n_networks, n_forms) weights of each network by their form.
    lists : (n_layers,) `LISTS` of the distinct MAC layers.
    """

    layers: np.ndarray
    vectors: np.ndarray
    steps: np.ndarray
    inputs: np.ndarray
    tensors: np.ndarray
    weight_elements: np.ndarray
    lists: np.ndarray


class Cases(NamedTuple):
    """What is found of one design: each distinct layer once under each residency variant and room for its tiles.

    rooms : (n_rooms,) bytes of the input buffer that tiles may use, falling; the first is the whole buffer.
    slots : (n_layers, N_VARIANTS, n_rooms) number of the case in what follows; -1 = not looked at.
    results, maps : (n_cases, ...) result and mapping row.
    found : (1,) how many.
    given : (n_layers, N_MAP) mappings to take instead of the best; no lanes = none.
    """

    rooms: np.ndarray
    slots: np.ndarray
    results: np.ndarray
    maps: np.ndarray
    found: np.ndarray
    given: np.ndarray


class Plan(NamedTuple):
    """What stays on chip of one design.

    kept : (n_tensors,) which activations stay on chip from their writer to their last reader.
    variants, rooms : (n_steps,) case of each MAC step: residency variant, number of the room.
    fill : (n_steps,) bytes of activations that stay on chip during each step.
    """

    kept: np.ndarray
    variants: np.ndarray
    rooms: np.ndarray
    fill: np.ndarray


def make_cases(networks: Networks, rooms: np.ndarray) -> Cases:
    """Arrays for `map_cases` to fill."""
    slots = np.full((len(networks.layers), N_VARIANTS, len(rooms)), -1, dtype=np.int64)
    most, given = slots.size, np.zeros((len(networks.layers), N_MAP))
    return Cases(rooms, slots, np.empty((most, N_RESULT)), np.empty((most, N_MAP)), np.zeros(1, dtype=np.int64), given)


def make_plan(networks: Networks) -> Plan:
    """A plan under which nothing stays on chip."""
    n_steps = len(networks.steps)
    kept = np.zeros(len(networks.tensors), dtype=bool)
    return Plan(kept, np.zeros(n_steps, np.int64), np.zeros(n_steps, np.int64), np.zeros(n_steps))


@_inner
def vector_cost(layer, design, read, written, bytes_in, bytes_out, out):
    """Cost of a vector operation that reads and writes so many elements, its constants aside.

    `bytes_in` (constants included) and `bytes_out` cross the DRAM link (before compression), the rest stays.

    What stays moves over the port of the input buffer in whole lines.
    """
    for column in range(N_RESULT):
        out[column] = 0.0
    word = design[ACTIVATION_BYTES]
    constants = layer[V_WEIGHT] * design[WEIGHT_BYTES]
    out[BUFFER_I_READ] = read * word + constants - bytes_in
    out[BUFFER_I_WRITE] = written * word - bytes_out
    bytes_in = constants + (bytes_in - constants) * design[COMPRESSION]
    bytes_out *= design[COMPRESSION]
    moved = bytes_in + bytes_out
    vector = layer[V_OPERATIONS] / design[VECTOR_LANES]
    dram = moved / design[DRAM_BYTES_PER_CYCLE]
    out[DRAM_I] = bytes_in
    out[DRAM_O_WRITE] = bytes_out
    out[LINES_I_READ], out[LINES_I_WRITE] = out[BUFFER_I_READ], out[BUFFER_I_WRITE]
    _ports(design, out)
    port = out[PORT_0 + int(design[BUFFER_I])]
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
    out[PJ_TOTAL_DRAM] = moved * design[PJ_DRAM] + out[CYCLES] * design[PJ_DRAM_CYCLE]
    out[PJ_TOTAL_VECTOR] = layer[V_OPERATIONS] * design[PJ_VECTOR]
    out[PJ_TOTAL_LEAKAGE] = out[CYCLES] * design[PJ_LEAK_CYCLE]
    out[PJ_TOTAL_IO] = out[CYCLES] * design[PJ_IO_CYCLE]
    out[PJ_TOTAL_CLOCK] = out[CYCLES] * design[PJ_CLOCK_CYCLE]
    out[ENERGY_PJ] = out[PJ_TOTAL_BUFFER] + moved * design[PJ_DRAM] + out[PJ_TOTAL_VECTOR] + out[CYCLES] * pj_per_cycle(design)
    out[BOUND_CYCLES] = max(vector, dram)
    out[LEAST] = out[BOUND_CYCLES]
    out[BOUND_PJ] = moved * design[PJ_DRAM] + out[BOUND_CYCLES] * pj_per_cycle(design)


@_inner
def _is_view(vector):
    """Whether a vector layer moves nothing by itself, as a concatenation: its inputs are parts of its output."""
    return vector[V_OPERATIONS] + vector[V_INPUT] + vector[V_OUTPUT] + vector[V_WEIGHT] == 0


@_inner
def _vector_kept(design, vector, size, kept_in, kept_out, out):
    """Cost of a vector step that finds `kept_in` elements on chip; `kept_out`: its output, of `size` elements, stays.

    Of a view whose output stays, the other parts come from DRAM; where it does not stay, the kept parts go to DRAM.
    """
    word = design[ACTIVATION_BYTES]
    if _is_view(vector):
        arrives = max(0.0, size - kept_in) if kept_out else 0.0
        leaves = 0.0 if kept_out else kept_in
        vector_cost(vector, design, arrives + leaves, arrives + leaves, arrives * word, leaves * word, out)
        return
    bytes_in = max(0.0, vector[V_INPUT] - kept_in) * word + vector[V_WEIGHT] * design[WEIGHT_BYTES]
    bytes_out = 0.0 if kept_out else vector[V_OUTPUT] * word
    vector_cost(vector, design, vector[V_INPUT], vector[V_OUTPUT], bytes_in, bytes_out, out)


@_entry
def vector_step(design, vector, step, inputs, tensors, kept, out):
    """Cost of a vector step into `out` (N_RESULT,); inputs and outputs that stay on chip cause no DRAM traffic."""
    kept_in = 0.0
    for j in range(int(step[STEP_INPUT_FIRST]), int(step[STEP_INPUT_FIRST] + step[STEP_INPUT_COUNT])):
        if kept[inputs[j]]:
            kept_in += tensors[inputs[j], TENSOR_ELEMENTS]
    output = int(step[STEP_OUTPUT])
    kept_out = output >= 0 and kept[output]
    size = tensors[output, TENSOR_ELEMENTS] if output >= 0 else 0.0
    _vector_kept(design, vector, size, kept_in, kept_out, out)


@_inner
def _weights_stay(design, weight_elements):
    """Whether the weights of a network stay on chip: they fit the buffer of W, which holds nothing else.

    `weight_elements` (n_forms,): by their form.
    """
    holder = design[BUFFER_W]
    alone = holder != design[BUFFER_I] and holder != design[BUFFER_O]
    size = 0.0
    for form in range(weight_elements.shape[0]):
        size += weight_elements[form] * design[form * N_DESIGN + WEIGHT_BYTES]
    fit = size <= design[CAPACITY_0 + int(holder)]
    return design[RESIDENT_WEIGHTS] > 0 and alone and fit


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
def evaluate_designs(designs, fixed, options, networks, effort, mode, slack, cases, scratch, totals):
    """Cost of each network on each design: the sum over its steps into `totals` (n_designs, n_networks, N_RESULT).

    No activation stays on chip between layers; where a design has a store for them, see `dse.costs.residency.keeper`.
    `fixed` (n_designs, N_FIXED): frozen mappings; without columns every layer gets its best mapping (`map_layer`, to
    which `effort`, `mode` and `slack` belong).  `cases` (`make_cases`, one room) is written over.
    """
    layers, steps = networks.layers, networks.steps
    for row in range(designs.shape[0]):
        design = designs[row]
        cases.found[0] = 0
        for index in range(layers.shape[0]):
            for variant in range(N_VARIANTS):
                cases.slots[index, variant, 0] = -1
        for network in range(totals.shape[1]):
            for column in range(N_RESULT):
                totals[row, network, column] = 0.0
        for i in range(steps.shape[0]):
            step = steps[i]
            index, network = int(step[STEP_INDEX]), int(step[STEP_NETWORK])
            result = scratch.out
            if step[STEP_IS_VECTOR]:
                _vector_kept(design, networks.vectors[index], 0.0, 0.0, False, result)
            else:
                stay = layers[index, STATIC_WEIGHTS] > 0 and _weights_stay(design, networks.weight_elements[network])
                variant = WEIGHTS_RESIDENT if stay else 0
                if cases.slots[index, variant, 0] < 0:
                    _new_case(design, fixed[row], options, networks, effort, mode, slack, index, variant, cases, 0, scratch)
                result = cases.results[cases.slots[index, variant, 0]]
            for column in range(N_RESULT):
                totals[row, network, column] += step[STEP_REPEATS] * result[column]


@_inner
def _new_case(design, fixed, options, networks, effort, mode, slack, index, variant, cases, room, scratch):
    """Map one layer and append what is found to the cases."""
    slot = cases.found[0]
    cases.found[0] = slot + 1
    cases.slots[index, variant, room] = slot
    layer, best_map, result = networks.layers[index], cases.maps[slot], cases.results[slot]
    first, end = _seen(layer)
    design = design[first:end]
    if cases.given[index, MAP_LANES] > 0:
        for column in range(N_MAP):
            best_map[column] = cases.given[index, column]
        option = options[int(design[OPTION_FIRST] + best_map[MAP_OPTION])]
        evaluate_mapping(layer, design, option, best_map, variant, result)
    elif fixed.shape[0] > 0:
        option = options[int(design[OPTION_FIRST])]
        fixed_mapping(layer, design, option, fixed, best_map)
        evaluate_mapping(layer, design, option, best_map, variant, result)
    else:
        map_layer(layer, design, options, networks.lists[index], effort, mode, slack, variant, best_map, result, scratch)


# Residency: the same, where some activations stay on chip.


@_entry
def map_cases(design, fixed, options, networks, effort, mode, slack, todo, cases, own, scratch):
    """Look at the cases `todo` (n, 3): number of the layer, residency variant, number of the room; those that are new.

    The best mapping in the whole buffer serves every room that it fits.  `own`, as long as `design`, is written over.
    Returns how many cases were new.
    """
    holder = int(design[BUFFER_I])
    for column in range(design.shape[0]):
        own[column] = design[column]
    new = 0
    for i in range(todo.shape[0]):
        index, variant, room = todo[i, 0], todo[i, 1], todo[i, 2]
        if cases.slots[index, variant, room] >= 0:
            continue
        new += 1
        first, end = _seen(networks.layers[index])
        seen = own[first:end]
        seen[STORE_BYTES] = 0.0
        if cases.slots[index, variant, 0] < 0:
            _new_case(own, fixed, options, networks, effort, mode, slack, index, variant, cases, 0, scratch)
        if room == 0:
            continue
        slot = cases.slots[index, variant, 0]
        seen[STORE_BYTES] = design[CAPACITY_0 + holder] - cases.rooms[room]
        option = options[int(design[OPTION_FIRST] + cases.maps[slot, MAP_OPTION])]
        held = tile_bytes(Case(networks.layers[index], seen, option, variant), cases.maps[slot])[1]
        if buffer_overflow(seen, held) <= 0:
            cases.slots[index, variant, room] = slot
        else:
            _new_case(own, fixed, options, networks, effort, mode, slack, index, variant, cases, room, scratch)
    return new


TOO_MUCH = 1e18  # cost of a mapping that does not fit: above any that does


@_inner
def _aims(result, mode):
    """What a case costs, the smaller the better: what the mapper minimises, then DRAM bytes (LATENCY) or cycles."""
    over = TOO_MUCH * (1.0 + result[OVERFLOW]) if result[OVERFLOW] > 0 else 0.0
    if mode == LATENCY:
        return over + result[CYCLES], result[DRAM_BYTES]
    if mode == ENERGY:
        return over + result[ENERGY_PJ], result[CYCLES]
    return over + result[ENERGY_PJ] * result[CYCLES], result[CYCLES]


@_entry
def expected_costs(design, networks, wanted, sure, mode, cases, first, second):
    """Fill `first`, `second` (n_layers, N_VARIANTS, n_rooms) with `_aims` of the `wanted` (n_layers, N_VARIANTS) cases.

    A case that was not looked at costs at least what peak arithmetic and compulsory traffic take, and what one costs
    that keeps more or has more room (`_more_kept`); not `sure`: and what `_less_kept` expects, up to what one costs
    that keeps less.
    """
    every = design
    for index in range(networks.layers.shape[0]):
        layer = networks.layers[index]
        begin, end = _seen(layer)
        design = every[begin:end]
        peak = design[ROWS] * design[COLS] * design[LANES]
        macs = 1.0
        for d in range(8):
            macs *= layer[d]
        for variant in range(N_VARIANTS):
            if not wanted[index, variant]:
                continue
            moved = _compulsory_bytes(Case(layer, design, design, variant))
            cycles = max(macs / peak, moved / design[DRAM_BYTES_PER_CYCLE])
            pj = _least_pj(layer, design, macs, moved, cycles)
            fewest, expected_cycles, expected_pj, most_cycles, most_pj = moved, 0.0, 0.0, np.inf, np.inf
            for other in range(N_VARIANTS):
                known = cases.slots[index, other, 0]
                if known < 0 or cases.results[known, OVERFLOW] > 0:
                    continue
                result = cases.results[known]
                if other & variant == variant:
                    bound_cycles, bound_pj = _more_kept(design, layer, result, variant, other, sure)
                    cycles, pj = max(cycles, bound_cycles), max(pj, bound_pj)
                    if not sure:
                        fewest = max(fewest, result[DRAM_BYTES] + moved - _compulsory_bytes(Case(layer, design, design, other)))
                elif not sure and not _port_is_tight(design, result):
                    bound_cycles, bound_pj = _less_kept(design, result, variant & ~other)
                    expected_cycles, expected_pj = max(expected_cycles, bound_cycles), max(expected_pj, bound_pj)
                    if other & variant == other:
                        most_cycles, most_pj = min(most_cycles, result[CYCLES]), min(most_pj, result[ENERGY_PJ])
            cycles, pj = max(cycles, min(expected_cycles, most_cycles)), max(pj, min(expected_pj, most_pj))
            least = cycles if mode == LATENCY else (pj if mode == ENERGY else cycles * pj)
            for room in range(cases.slots.shape[2]):
                slot = cases.slots[index, variant, room]
                if slot >= 0:
                    first[index, variant, room], second[index, variant, room] = _aims(cases.results[slot], mode)
                else:
                    first[index, variant, room] = least
                    second[index, variant, room] = fewest if mode == LATENCY else cycles


@_inner
def _more_kept(design, layer, result, variant, other, sure):
    """Lower bounds of cycles and energy of a case from the `result` of one that keeps more, `other`.

    The best mapping of the case costs no more where more is kept, but for what then moves over the port of the input
    buffer: outputs and fused inputs, and operands that would bypass the buffers.  Not `sure`: where that port is no
    bottleneck, this counts for nothing.
    """
    more, word = other & ~variant, design[ACTIVATION_BYTES]
    bypass = int(design[BYPASS])
    if not sure and not _port_is_tight(design, result):
        return result[CYCLES], result[ENERGY_PJ]
    if (more & IN_RESIDENT and bypass & BYPASS_I) or (more & WEIGHTS_RESIDENT and bypass & BYPASS_W):
        return 0.0, 0.0
    written = _words(layer).o * word if more & OUT_RESIDENT else 0.0
    read = layer[FUSED_INPUT] * word if more & FUSED_RESIDENT else 0.0
    cycles = (written + read) / design[WIDTH_0 + int(design[BUFFER_I])]
    pj = written * design[PJ_WRITE_I] + read * design[PJ_READ_I] + cycles * pj_per_cycle(design)
    return (result[CYCLES] - cycles) * ROOM, (result[ENERGY_PJ] - pj) * ROOM


@_inner
def _port_is_tight(design, result):
    """Whether what moves over the port of the input buffer may decide the time of a case."""
    return result[PORT_0 + int(design[BUFFER_I])] >= 0.75 * result[CYCLES]


@_inner
def _less_kept(design, result, more):
    """Cycles and energy to expect of a case that keeps `more` than one with this `result`, if it is mapped the same.

    Its own best mapping may take less still.  What it does not keep of what that one keeps is taken to save nothing.
    """
    saved = result[DRAM_I] if more & IN_RESIDENT else 0.0
    saved += result[DRAM_W] if more & WEIGHTS_RESIDENT else 0.0
    saved += result[DRAM_FUSED] if more & FUSED_RESIDENT else 0.0
    saved += result[DRAM_O_READ] + result[DRAM_O_WRITE] if more & OUT_RESIDENT else 0.0
    cycles = saved / design[DRAM_BYTES_PER_CYCLE]
    return result[CYCLES] - cycles, result[ENERGY_PJ] - saved * design[PJ_DRAM] - cycles * pj_per_cycle(design)


@_entry
def vector_lines(design, networks, begin, end, lines, out):
    """Cost of the vector steps `begin` to `end` as straight lines over the elements of their inputs that stay.

    `lines` (n_steps, 2, 10): where the output leaves and where it stays; elements from which on nothing changes; cycles
    of the port, of the DRAM link, energy without what runs with time, DRAM bytes with nothing kept, and the slopes of these; cycles
    of the vector unit.  `out`: scratch.
    """
    for i in range(begin, end):
        step = networks.steps[i]
        if step[STEP_IS_VECTOR] == 0:
            continue
        vector, output = networks.vectors[int(step[STEP_INDEX])], int(step[STEP_OUTPUT])
        size = networks.tensors[output, TENSOR_ELEMENTS] if output >= 0 else 0.0
        most = size if _is_view(vector) else vector[V_INPUT]
        for stays in range(2):
            line = lines[i, stays]
            line[0], line[9] = most, vector[V_OPERATIONS] / design[VECTOR_LANES]
            for end_of_line in range(2):
                _vector_kept(design, vector, size, end_of_line * most, stays > 0, out)
                at = 1 + 4 * end_of_line
                line[at], line[at + 1] = out[PORT_0 + int(design[BUFFER_I])], out[DRAM_CYCLES]
                line[at + 3] = out[DRAM_I] + out[DRAM_O_WRITE]
                line[at + 2] = out[PJ_TOTAL_BUFFER] + line[at + 3] * design[PJ_DRAM] + out[PJ_TOTAL_VECTOR]
            for column in range(1, 5):
                line[4 + column] = (line[4 + column] - line[column]) / most if most > 0 else 0.0


@_entry
def step_costs(design, networks, begin, end, plan, cases, results, maps):
    """Result and mapping of each step from `begin` to `end` into `results`, `maps` (n_steps, ...), one repeat each.

    The bounds are those of `_bounds_of_any_plan`.
    """
    for i in range(begin, end):
        step = networks.steps[i]
        index, result = int(step[STEP_INDEX]), results[i]
        if step[STEP_IS_VECTOR]:
            vector_step(design, networks.vectors[index], step, networks.inputs, networks.tensors, plan.kept, result)
        else:
            slot = cases.slots[index, plan.variants[i], plan.rooms[i]]
            for column in range(N_RESULT):
                result[column] = cases.results[slot, column]
            for column in range(N_MAP):
                maps[i, column] = cases.maps[slot, column]
        if design[STORE_BYTES] > 0:
            _bounds_of_any_plan(design, networks, step, plan.variants[i], result)


@_inner
def _could_stay(design, tensors, tensor):
    """Bytes of an activation that the store could keep, or infinite."""
    if tensor < 0 or tensors[tensor, TENSOR_FIRST] < 0 or tensors[tensor, TENSOR_LAST] <= tensors[tensor, TENSOR_FIRST]:
        return np.inf
    size = tensors[tensor, TENSOR_ELEMENTS] * design[ACTIVATION_BYTES]
    return size if size <= design[STORE_BYTES] else np.inf


@_inner
def _bounds_of_any_plan(design, networks, step, variant, result):
    """Lower bounds of a step whatever else stays on chip, and in whatever order the steps run.

    What a step reads and writes can stay only if it fits the store together.
    """
    tensors, index, output = networks.tensors, int(step[STEP_INDEX]), int(step[STEP_OUTPUT])
    begin = int(step[STEP_INPUT_FIRST])
    if step[STEP_IS_VECTOR]:
        vector, word = networks.vectors[index], design[ACTIVATION_BYTES]
        kept = _could_stay(design, tensors, output)
        kept = min(kept, vector[V_OUTPUT] * word) if kept < np.inf else 0.0
        arrives = 0.0
        for j in range(begin, begin + int(step[STEP_INPUT_COUNT])):
            size = _could_stay(design, tensors, networks.inputs[j])
            arrives += size if size < np.inf else 0.0
        kept = min(kept + min(arrives, vector[V_INPUT] * word), design[STORE_BYTES])
        moved = ((vector[V_INPUT] + vector[V_OUTPUT]) * word - kept) * design[COMPRESSION]
        moved += vector[V_WEIGHT] * design[WEIGHT_BYTES]
        result[BOUND_CYCLES] = max(result[VECTOR_CYCLES], moved / design[DRAM_BYTES_PER_CYCLE])
        result[BOUND_PJ] = moved * design[PJ_DRAM] + result[BOUND_CYCLES] * pj_per_cycle(design)
        return
    layer = networks.layers[index]
    first, end = _seen(layer)
    design = design[first:end]
    arrives = networks.inputs[begin] if step[STEP_INPUT_COUNT] > 0 else -1
    fused, second = int(step[STEP_FUSED]), int(step[STEP_SECOND])
    weights = variant & WEIGHTS_RESIDENT if layer[STATIC_WEIGHTS] else 0
    least = np.inf
    for other in range(N_VARIANTS):
        if layer[STATIC_WEIGHTS] and other & WEIGHTS_RESIDENT:
            continue
        size = _could_stay(design, tensors, arrives) if other & IN_RESIDENT else 0.0
        if other & OUT_RESIDENT:
            size += _could_stay(design, tensors, output)
        if other & FUSED_RESIDENT:
            own = _could_stay(design, tensors, fused)
            size += 0.0 if fused == arrives and other & IN_RESIDENT and own < np.inf else own
        if other & WEIGHTS_RESIDENT:
            own = _could_stay(design, tensors, second)
            size += 0.0 if second == arrives and other & IN_RESIDENT and own < np.inf else own
        if size <= design[STORE_BYTES]:
            least = min(least, _compulsory_bytes(Case(layer, design, design, other | weights)))
    ideal = result[MACS] / (design[ROWS] * design[COLS] * design[LANES])
    result[BOUND_CYCLES] = max(ideal, least / design[DRAM_BYTES_PER_CYCLE])
    result[BOUND_PJ] = _least_pj(layer, design, result[MACS], least, result[BOUND_CYCLES])


@_entry
def sum_steps(networks, begin, end, results, totals):
    """Sum over the repeats of the steps `begin` to `end` into `totals` (N_RESULT,)."""
    for column in range(N_RESULT):
        totals[column] = 0.0
    for i in range(begin, end):
        for column in range(N_RESULT):
            totals[column] += networks.steps[i, STEP_REPEATS] * results[i, column]


@_entry
def weights_bits(design, networks, begin, end, bits):
    """Fill `bits` (n_steps,): WEIGHTS_RESIDENT for the MAC steps `begin` to `end` whose constant weights stay, else 0."""
    for i in range(begin, end):
        step = networks.steps[i]
        static = step[STEP_IS_VECTOR] == 0 and networks.layers[int(step[STEP_INDEX]), STATIC_WEIGHTS] > 0
        stay = static and _weights_stay(design, networks.weight_elements[int(step[STEP_NETWORK])])
        bits[i] = WEIGHTS_RESIDENT if stay else 0


# ---------------------------------------------------------------------------------------------------------------------
# 7. Bounds: what no mapping and nothing that stays on chip can beat, without a search (`bound_designs`).
#
# Array cycles are exact for each spatial option; ports move each operand as often as the largest array pieces make it;
# the DRAM link moves what the best tiles that fit move, whatever the array does (`least_traffic`), or what the product of
# tiles asks where each buffer has its own.  These are least one by one, so their largest bounds every mapping.

# Columns of a row of steps of equal bounds: the layer, how often they run, elements that could stay on chip (infinite:
# never), whether the fused input or the second operand is the input itself; of vector layers the range in `arrivals`.
(EQUAL_IS_VECTOR, EQUAL_INDEX, EQUAL_TIMES, EQUAL_NETWORK, EQUAL_IN, EQUAL_OUT, EQUAL_FUSED, EQUAL_SECOND,
 EQUAL_FUSED_IN, EQUAL_SECOND_IN, EQUAL_FIRST, EQUAL_COUNT) = range(12)  # fmt: skip
N_EQUAL = 12
# Columns of an array: what of a design the spatial factors depend on; lanes that registers feed, of activations in the
# place of weights, and after these columns of constant weights, by their form.
ARRAY_ROWS, ARRAY_COLS, ARRAY_FIRST, ARRAY_COUNT, ARRAY_LANES_DYNAMIC = range(5)
N_ARRAY = 5
# Columns of what an array does of a layer with one option: least cycles, and the largest spatial factors of pixels, of
# K, of the reduction without lanes, of G, of all that change W, of OY and OX, FY and FX; pairs of an output and a tap
# that meet no padding along each axis.
(FEWEST_CYCLES, MOST_P, MOST_K, MOST_R, MOST_G, MOST_W, MOST_OY, MOST_OX, MOST_FY, MOST_FX, PAIRS_Y, PAIRS_X) = range(12)
N_REACH = 12


@_entry
def array_reach(arrays, options, layers, effort, scratch, reach):
    """Fill what arrays do of layers, (n_arrays, n_layers, n_options at most, N_REACH); `effort`: any."""
    tables, design = scratch.tables[0], scratch.design
    for a in range(arrays.shape[0]):
        array = arrays[a]
        design[ROWS], design[COLS] = array[ARRAY_ROWS], array[ARRAY_COLS]
        for i in range(layers.shape[0]):
            layer = layers[i]
            for o in range(int(array[ARRAY_COUNT])):
                number = int(array[ARRAY_FIRST]) + o
                case = Case(layer, design, options[number], NOTHING_RESIDENT)
                most = array[N_ARRAY + int(layer[FORM])] if layer[STATIC_WEIGHTS] else array[ARRAY_LANES_DYNAMIC]
                lanes = max(1.0, min(most, _loop_extent(layer, options[number], C)))
                _places(case, False, effort, tables)
                tables.n_spatial = 0
                _unroll(case, number, 1.0, False, tables)  # lanes aside, these reach furthest
                alone = tables.n_spatial
                if lanes > 1.0:
                    _unroll(case, number, lanes, False, tables)
                _most_reach(case, lanes, alone, tables, reach[a, i, o])


@_inner
def _most_reach(case, lanes, alone, tables, reach):
    """Fill one row of `array_reach` from the spatial factors in the tables, the first `alone` of one lane."""
    layer, design = case.layer, case.design
    places, full = design[ROWS] * design[COLS], tables.n_spatial + 2 >= MAX_SPATIAL  # full: some are missing
    reach[MOST_P:PAIRS_Y] = places if full else 1.0
    reach[FEWEST_CYCLES] = _macs(layer) / (places * lanes) if full else np.inf
    for axis in range(2):
        one, tap = Cut(layer[OY + axis], 1.0, 1.0), Cut(layer[FY + axis], 1.0, 1.0)
        reach[PAIRS_Y + axis] = axis_sum(one, tap, axis_of(layer, axis))
    for j in range(0 if full else tables.n_spatial):
        spatial = tables.spatial[j]
        s = spatial.s
        reach[FEWEST_CYCLES] = min(reach[FEWEST_CYCLES], spatial.cycles)
        if j >= alone:
            continue
        for axis in range(2):
            reach[MOST_OY + axis] = max(reach[MOST_OY + axis], s[OY + axis])
            reach[MOST_FY + axis] = max(reach[MOST_FY + axis], s[FY + axis])
        p, r = s[B] * s[OY] * s[OX], s[C] * s[FY] * s[FX]
        reach[MOST_P], reach[MOST_K] = max(reach[MOST_P], p), max(reach[MOST_K], s[K])
        reach[MOST_R], reach[MOST_G] = max(reach[MOST_R], r), max(reach[MOST_G], s[G])
        reach[MOST_W] = max(reach[MOST_W], r * s[K] * s[G])


# Bins of rooms [bytes]: `ROOMS_OF_OCTAVE` from each power of two to the next.
ROOMS_OF_OCTAVE = 16
N_ROOMS = 40 * ROOMS_OF_OCTAVE
MAX_CUTS = 64
MOST_CUTS = 2e7  # tiles of a layer that `least_traffic` looks at: some tenths of a second


@_inner
def _bin_of_room(size):
    """Number of the bin of so many bytes; a larger number never has a lower bin."""
    share, octave = math.frexp(max(1.0, size))
    return min(N_ROOMS - 1, (octave - 1) * ROOMS_OF_OCTAVE + int((2.0 * share - 1.0) * ROOMS_OF_OCTAVE))


@_entry
def least_traffic(layer, word_w, word, word_o, compression, twice_w, twice_i, twice_o, cuts, pixels, traffic):
    """Bytes over the DRAM link at least besides each operand once, by room for the tiles, into `traffic` (4, N_ROOMS).

    First of all operands, then where the inputs stay on chip (1), where W does (2), and where both do.  One buffer holds
    the tiles of all operands; several of the same sum hold no larger ones.  Over all tiles that a mapping can have, and
    all orders of the groups of loops; none where these are too many.  `word_*`: bytes of a word; `twice_*`: 1 where a
    tile is held twice; `cuts` (2, MAX_CUTS, 4) and `pixels` (MAX_CUTS * MAX_CUTS, 4) are scratch.
    """
    if _number_of_cuts(layer) > MOST_CUTS or max(layer[OY], layer[OX]) > (MAX_CUTS / 2.0) ** 2:
        traffic[:] = 0.0
        return
    traffic[:] = np.inf
    words, taps_y, taps_x = _words(layer), 0.0, 0.0
    whole = WIO(words.w * word_w, words.i * word, words.o * word_o)
    while taps_y < layer[FY]:
        taps_y = _next_cut(layer[FY], taps_y)
        n_y, taps_x = _cuts_of_axis(layer, Y, taps_y, cuts[Y]), 0.0
        while taps_x < layer[FX]:
            taps_x = _next_cut(layer[FX], taps_x)
            n_pixels = _cuts_of_plane(cuts, n_y, _cuts_of_axis(layer, X, taps_x, cuts[X]), pixels)
            c = 0.0
            while c < layer[C]:
                c = _next_cut(layer[C], c)
                n_r = _ceil_div(layer[FY], taps_y) * _ceil_div(layer[FX], taps_x) * _ceil_div(layer[C], c)
                b = 0.0
                while b < layer[B]:
                    b = _next_cut(layer[B], b)
                    for at in range(n_pixels):
                        p = pixels[at]
                        n_p = _ceil_div(layer[B], b) * p[1]
                        tile_w, tile_i, tile_o = c * taps_y * taps_x * word_w, b * c * p[2] * word, b * p[0] * word_o
                        read = whole.i * layer[TOUCHED_Y] * layer[TOUCHED_X] * compression
                        fetched = whole.i * p[3] * compression
                        k = 0.0
                        while k < layer[K]:
                            k = _next_cut(layer[K], k)
                            trips = Trips(n_p, _ceil_div(layer[K], k), n_r, layer[G])
                            tile = WIO(tile_w * k, tile_i, tile_o * k)
                            _note_traffic(trips, tile, whole, read, fetched, twice_w, twice_i, twice_o, traffic)
                            if layer[G] > 1:  # all groups at once: an operand that is there whole is held once
                                trips = Trips(n_p, trips.k, n_r, 1.0)
                                tile = WIO(tile.w * layer[G], tile.i * layer[G], tile.o * layer[G])
                                _note_traffic(trips, tile, whole, read, fetched, twice_w, twice_i, twice_o, traffic)
    for row in range(4):
        for at in range(1, N_ROOMS):
            traffic[row, at] = min(traffic[row, at], traffic[row, at - 1])
        for at in range(N_ROOMS - 2, -1, -1):  # no tile fits less
            traffic[row, at] = traffic[row, at + 1] if traffic[row, at] == np.inf else traffic[row, at]


@_inner
def _note_traffic(trips, tile, whole, read, fetched, twice_w, twice_i, twice_o, traffic):
    """Note in `traffic` what `least_traffic` counts of tiles of so many bytes.

    `read`, `fetched`: bytes of the inputs that cross the link at least, and for all tiles once.
    """
    all_r, all_k, all_p = trips.r == 1.0 and trips.g == 1.0, trips.k == 1.0, trips.p == 1.0
    held_w = tile.w * (1.0 if all_r and all_k else 1.0 + twice_w)
    held_i = tile.i * (1.0 if all_r and all_p else 1.0 + twice_i)
    held_o = tile.o * (1.0 if all_k and all_p and trips.g == 1.0 else 1.0 + twice_o)
    every, no_i, no_w, no_both = (_bin_of_room(held_w + held_i + held_o), _bin_of_room(held_w + held_o),
                                  _bin_of_room(held_i + held_o), _bin_of_room(held_o))  # fmt: skip
    for order in range(_unequal_orders(trips)):
        once = _dram_times(order, 0.0, trips)
        w, o = whole.w * (once.w - 1.0), 2.0 * whole.o * (once.o - 1.0)
        i = fetched * once.i - read
        traffic[0, every] = min(traffic[0, every], w + i + o)
        traffic[1, no_i] = min(traffic[1, no_i], w + o)
        traffic[2, no_w] = min(traffic[2, no_w], i + o)
        traffic[3, no_both] = min(traffic[3, no_both], o)


@_inner
def _cuts_of_plane(cuts, n_y, n_x, pixels):
    """Tiles of both axes, each as `_cuts_of_axis` has it, but for those that are nowhere better than another."""
    n = 0
    for y in range(n_y):
        for x in range(n_x):
            for i in range(4):
                pixels[n, i] = cuts[Y, y, i] * cuts[X, x, i]
            n += 1
    kept = 0
    for a in range(n):  # those before `kept` are kept, those from `a` on not yet looked at
        better = False
        for b in range(n):
            if (b < kept or b > a) and _no_worse(pixels[b], pixels[a]) and (b < kept or not _no_worse(pixels[a], pixels[b])):
                better = True
                break
        if not better:
            _copy(pixels[a], pixels[kept], 4)
            kept += 1
    return kept


@_inner
def _no_worse(one, other):
    """Whether each of four numbers is at most that of the other."""
    return one[0] <= other[0] and one[1] <= other[1] and one[2] <= other[2] and one[3] <= other[3]


@_inner
def _number_of_cuts(layer):
    """About how many tiles `least_traffic` looks at: a loop has at most two of them for each whole number to its root."""
    number = 1.0
    for d in range(8):
        if d != G:
            number *= min(layer[d], 2.0 * np.sqrt(layer[d]))
    return number


@_inner
def _next_cut(extent, size):
    """The smallest tile of fewer trips than one of `size`; 0: the smallest of all."""
    return 1.0 if size == 0 else _ceil_div(extent, _ceil_div(extent, size) - 1.0)


@_inner
def _cuts_of_axis(layer, axis, taps, cuts):
    """Tiles of the outputs along an axis, the smallest of each trip count; returns how many.

    Of each the size, the trips, positions of the inputs for so many `taps`, and those that all tiles fetch: the fewest
    of all sizes of outputs and taps of these trips.
    """
    extent, all_taps, n, size = layer[OY + axis], layer[FY + axis], -1, 1.0
    while size <= extent:
        trips, fetched, cut = _ceil_div(extent, size), np.inf, taps
        while cut <= all_taps and _ceil_div(all_taps, cut) == _ceil_div(all_taps, taps):
            fetched = min(fetched, axis_sum(Cut(extent, size, size), Cut(all_taps, cut, cut), axis_of(layer, axis)))
            cut += 1.0
        if n < 0 or trips != cuts[n, 1]:
            n += 1
            cuts[n, 0], cuts[n, 1], cuts[n, 3] = size, trips, fetched
            cuts[n, 2] = min(_span(layer, axis, size, taps), layer[TOUCHED_Y + axis])
        cuts[n, 3] = min(cuts[n, 3], fetched)
        size += 1.0
    return n + 1


@_entry
def bound_designs(designs, which, reach, traffic, options, networks, steps, arrivals, each, totals):
    """Lower bounds of cycles and energy [pJ] of each network on each design, (n_designs, n_networks, 2).

    `which` (n_designs, 2): the rows of `reach` (`array_reach`) and of `traffic` (n, n_layers, 4, N_ROOMS; `least_traffic`)
    that are of a design.  `steps` (n, N_EQUAL), `arrivals`: see there.  They hold for all mappings, every effort and objective, and whatever stays on chip.  Leaves in `each`
    (n, N_VARIANTS, 2), of the last design: cycles of each step by what of it stays (of vector steps the first), and the
    bytes that this takes; infinite where it cannot stay.
    """
    for row in range(designs.shape[0]):
        design = designs[row]
        for network in range(totals.shape[1]):
            totals[row, network, 0], totals[row, network, 1] = 0.0, 0.0
        for i in range(steps.shape[0]):
            step = steps[i]
            index, network = int(step[EQUAL_INDEX]), int(step[EQUAL_NETWORK])
            if step[EQUAL_IS_VECTOR]:
                cycles, pj = _vector_bounds(design, networks.vectors[index], step, arrivals)
                each[i, 0, 0] = cycles * ROOM
            else:
                stay = _weights_stay(design, networks.weight_elements[network])
                first, end = _seen(networks.layers[index])
                seen = design[first:end]
                case = Case(networks.layers[index], seen, seen, WEIGHTS_RESIDENT if stay else 0)
                cycles, pj = _layer_bounds(case, options, reach[which[row, 0], index], traffic[which[row, 1], index],
                                           step, each[i])  # fmt: skip
            totals[row, network, 0] += step[EQUAL_TIMES] * cycles * ROOM
            totals[row, network, 1] += step[EQUAL_TIMES] * pj * ROOM


@_inner
def _stays(design, elements):
    """Bytes of an activation that the store could keep, or infinite."""
    size = elements * design[ACTIVATION_BYTES]
    return size if size <= design[STORE_BYTES] else np.inf


@_inner
def _vector_bounds(design, vector, step, arrivals):
    """Lower bounds of cycles and energy of a vector layer, whatever stays on chip."""
    word, kept = design[ACTIVATION_BYTES], 0.0
    if design[STORE_BYTES] > 0:
        out, arrives = _stays(design, step[EQUAL_OUT]), 0.0
        for j in range(int(step[EQUAL_FIRST]), int(step[EQUAL_FIRST] + step[EQUAL_COUNT])):
            size = _stays(design, arrivals[j])
            arrives += size if size < np.inf else 0.0
        kept = min(out, vector[V_OUTPUT] * word) if out < np.inf else 0.0
        kept = min(kept + min(arrives, vector[V_INPUT] * word), design[STORE_BYTES])
    moved = ((vector[V_INPUT] + vector[V_OUTPUT]) * word - kept) * design[COMPRESSION]
    moved += vector[V_WEIGHT] * design[WEIGHT_BYTES]
    cycles = max(vector[V_OPERATIONS] / design[VECTOR_LANES], moved / design[DRAM_BYTES_PER_CYCLE])
    return cycles, moved * design[PJ_DRAM] + vector[V_OPERATIONS] * design[PJ_VECTOR] + cycles * pj_per_cycle(design)


@_inner
def _layer_bounds(case, options, reach, traffic, step, each):
    """Lower bounds of cycles and energy of a MAC layer; `case` has WEIGHTS_RESIDENT where constant weights stay.

    `each` (N_VARIANTS, 2): see `bound_designs`.
    """
    layer, design = case.layer, case.design
    static = layer[STATIC_WEIGHTS] > 0
    words, bandwidth = _words(layer), design[DRAM_BYTES_PER_CYCLE]
    word = design[ACTIVATION_BYTES]
    whole = WIO(words.w * _weight_word_bytes(layer, design), words.i * layer[TOUCHED_Y] * layer[TOUCHED_X] * word,
                words.o * word)  # fmt: skip
    skips, first = np.int64(0), int(design[OPTION_FIRST])
    for number in range(int(design[OPTION_COUNT])):
        given = int(options[first + number, OPT_BYPASS])
        skips |= given if given >= 0 else int(design[BYPASS])
    weights = case.variant if static else 0
    # What could stay: sizes; the least port traffic leaves out the writes of what could.
    size_in, size_out = _stays(design, step[EQUAL_IN]), _stays(design, step[EQUAL_OUT])
    size_fused, size_second = _stays(design, step[EQUAL_FUSED]), _stays(design, step[EQUAL_SECOND])
    filled_w = 0.0 if weights or size_second < np.inf else whole.w
    filled_i = 0.0 if size_in < np.inf else whole.i
    steady = _least_steady(case, options, reach, whole, skips, filled_w, filled_i)
    room = (design[CAPACITY_0] + design[CAPACITY_1] + design[CAPACITY_2]) / ROOM
    cycles, moved = np.inf, np.inf
    for variant in range(N_VARIANTS):
        each[variant, 0] = np.inf
    for variant in range(N_VARIANTS):
        if variant and design[STORE_BYTES] <= 0:
            break
        if static and variant & WEIGHTS_RESIDENT:
            break
        size = size_in if variant & IN_RESIDENT else 0.0
        size += size_out if variant & OUT_RESIDENT else 0.0
        if variant & FUSED_RESIDENT and not (step[EQUAL_FUSED_IN] and variant & IN_RESIDENT):
            size += size_fused
        if variant & WEIGHTS_RESIDENT and not (step[EQUAL_SECOND_IN] and variant & IN_RESIDENT):
            size += size_second
        if size > design[STORE_BYTES]:
            continue
        held = variant | weights
        w = 0.0 if held & WEIGHTS_RESIDENT else whole.w
        i = 0.0 if held & IN_RESIDENT else whole.i * design[COMPRESSION]
        o = 0.0 if held & OUT_RESIDENT else whole.o * design[COMPRESSION]
        bytes_ = w + i + o
        if not skips:
            stays = (1 if held & IN_RESIDENT else 0) + (2 if held & WEIGHTS_RESIDENT else 0)
            again = traffic[stays, _bin_of_room(room - size)]
            bytes_ += again if stays else max(again, _least_again(design, layer, whole, words.o, size))
        bytes_ += 0.0 if held & FUSED_RESIDENT else layer[FUSED_INPUT] * word * design[COMPRESSION]
        serial = (0.0 if design[DOUBLE_W] > 0 else w) + (0.0 if design[DOUBLE_I] > 0 else i)
        serial += 0.0 if design[DOUBLE_O] > 0 else o
        each[held, 0], each[held, 1] = max(steady + serial / bandwidth, bytes_ / bandwidth) * ROOM, size
        cycles = min(cycles, max(steady + serial / bandwidth, bytes_ / bandwidth))
        moved = min(moved, bytes_)
    if design[PJ_MAC] + design[PJ_DRAM] == 0:  # a row without energy
        return cycles, 0.0
    kept = WIO(0.0 if skips & BYPASS_W else filled_w, 0.0 if skips & BYPASS_I else filled_i, 0.0)
    return cycles, _bound_pj(case, whole, kept, skips, moved) + cycles * pj_per_cycle(design)


@_inner
def _least_steady(case, options, reach, whole, skips, filled_w, filled_i):
    """Cycles that array, vector unit and ports take at least, over the spatial options and stationary operands.

    `whole`: bytes of each operand; `filled_w`, `filled_i`: bytes that fill the buffers; `skips`: who may bypass them.
    """
    layer, design = case.layer, case.design
    room_w = max(1.0, _floor(design[REG_W] / _weight_word_bytes(layer, design)))
    room_i = max(1.0, _floor(design[REG_I] / design[ACTIVATION_BYTES]))
    room_o = max(1.0, _floor(design[REG_O] / design[ACCUMULATOR_BYTES]))
    pixels, taps = layer[B] * layer[OY] * layer[OX], layer[C] * layer[FY] * layer[FX]
    sums = _words(layer).o * design[ACCUMULATOR_BYTES]
    vector = layer[VECTOR_OPERATIONS] / design[VECTOR_LANES]
    systolic, first, least = design[SYSTOLIC] > 0, int(design[OPTION_FIRST]), np.inf
    positions_i = _words(layer).i * design[ACTIVATION_BYTES]
    for o in range(int(design[OPTION_COUNT])):
        option, most = options[first + o], reach[o]
        if max(most[FEWEST_CYCLES], vector) >= least:
            continue
        # Pieces of the array at least, along each group: spatial factors and register tile are the largest there are.
        p = _ceil_div(pixels, most[MOST_P] * min(room_i, room_o))
        k = _ceil_div(layer[K], most[MOST_K] * min(room_w, room_o))
        r = _ceil_div(taps, most[MOST_R] * min(room_w, room_i))
        for stationary in range(3):
            if option[OPT_W + stationary] == 0:
                continue
            w, i, visits = p, k, r
            if stationary == W:
                w = 1.0
            elif stationary == I:
                i = 1.0
            else:
                visits = 1.0
            returned = (visits - 1.0) * sums
            wires_i = i * positions_i
            for axis in range(2):
                wires_i *= _least_positions(layer, option, most, stationary, axis, room_w, room_i, room_o)
            ports = _bound_ports(design, whole, skips, whole.w * w, wires_i, filled_w, filled_i, returned)
            compute = most[FEWEST_CYCLES]
            if systolic:
                compute += _bound_skew(case, most, stationary, p, k, r, room_w)
            least = min(least, max(max(compute, vector), ports))
    return least


@_inner
def _least_positions(layer, option, most, stationary, axis, room_w, room_i, room_o):
    """Input positions that the array reads at least along one axis, each time that it reads the inputs.

    A piece of the largest size has the most pairs of an output and a tap for each position that it reads.
    """
    pairs = most[PAIRS_Y + axis]
    if option[OPT_FLATTEN] > 0:
        return pairs
    outputs, taps = most[MOST_OY + axis] * min(room_i, room_o), most[MOST_FY + axis] * min(room_w, room_i)
    if option[OPT_FORWARDS] and axis == X:
        if stationary == W:
            outputs = layer[OX]
        elif stationary == O:
            taps = layer[FX]
    outputs, taps = min(outputs, layer[OY + axis]), min(taps, layer[FY + axis])
    shared = 1.0 - _span(layer, axis, outputs, taps) / (outputs * taps)
    return max(layer[TOUCHED_Y + axis], pairs - layer[OY + axis] * layer[FY + axis] * shared)


@_inner
def _bound_ports(design, whole, skips, wires_w, wires_i, filled_w, filled_i, returned):
    """Cycles of the busiest port at least, from bytes into the array, into the buffers, and of sums that return."""
    busiest = 0.0
    for b in range(3):
        read, write = 0.0, 0.0
        if design[BUFFER_W] == b and not skips & BYPASS_W:
            read, write = read + wires_w, write + filled_w
        if design[BUFFER_I] == b and not skips & BYPASS_I:
            read, write = read + wires_i, write + filled_i
        if design[BUFFER_O] == b and not skips & BYPASS_O:
            read, write = read + whole.o + returned, write + whole.o + returned
        moved = max(read, write) if design[WRITES_APART_0 + b] > 0 else read + write
        busiest = max(busiest, moved / design[WIDTH_0 + b])
    return busiest


@_inner
def _bound_skew(case, most, stationary, p, k, r, room_w):
    """Skew at least; `p`, `k`, `r`: pieces of the array along each group."""
    layer, design = case.layer, case.design
    words = _words(layer)
    if stationary == W:
        folds = max(k * r, words.w / (most[MOST_W] * room_w))
        load = words.w / _edge(design, W)
    elif stationary == I:
        folds, load = p * r, words.i * layer[TOUCHED_Y] * layer[TOUCHED_X] / _edge(design, I)
    else:
        folds, load = p * k, words.o / _edge(design, O)
    return _skew(design, most[FEWEST_CYCLES], folds, load, 0.0)


@_inner
def _least_again(design, layer, whole, outputs, resident):
    """Bytes that cross the DRAM link at least besides each operand once; groups go one after the other.

    A tile of one operand stays while the others pass: of sums, then W crosses for each of its tiles of pixels and I for
    each of its tiles of kernels; of W, then I crosses for each tile of kernels and sums return for each tile of the
    reduction; of I likewise.  The product of both numbers is at least what the operand has over its room.  `resident`:
    bytes of the buffer of I that activations take from the tiles.
    """
    sums = outputs * design[ACCUMULATOR_BYTES]
    w, i = whole.w, whole.i * design[COMPRESSION]
    tiles_w = _least_tiles(design, W, whole.w / layer[G], resident)
    tiles_i = _least_tiles(design, I, whole.i / layer[G], resident)
    tiles_o = _least_tiles(design, O, sums / layer[G], resident)
    return min(min(_least_sum(w, i, tiles_o), _least_sum(i, 2.0 * sums, tiles_w)), _least_sum(w, 2.0 * sums, tiles_i))


@_inner
def _least_tiles(design, operand, size, resident):
    """Tiles of an operand of so many bytes that its buffer needs at least; one where it fits, which needs no copy."""
    b = design[BUFFER_W + operand]
    room = design[CAPACITY_0 + int(b)] - (resident if b == design[BUFFER_I] else 0.0)
    if size <= room:
        return 1.0
    return max(2.0, size * (1.0 + design[TWICE_W + operand]) / room) if room > 0 else np.inf


@_inner
def _least_sum(a, b, product):
    """The least a (x - 1) + b (y - 1) of x, y >= 1 whose product is at least `product`."""
    if product == np.inf:
        return np.inf if a > 0 and b > 0 else 0.0
    if a * product <= b:  # y = 1
        return a * (product - 1.0)
    if b * product <= a:
        return b * (product - 1.0)
    return 2.0 * np.sqrt(a * b * product) - a - b


@_inner
def _bound_pj(case, whole, filled, skips, moved):
    """Energy at least, without that of time [pJ]: each word enters array, registers and its buffer once.

    `filled`: bytes that fill the buffers of W and I; `moved`: bytes over the DRAM link.
    """
    layer, design = case.layer, case.design
    macs = _macs(layer)
    done = macs * (1.0 - layer[ZERO_SHARE])
    w_word, word = _weight_word_bytes(layer, design), design[ACTIVATION_BYTES]
    fed = min(_floor(design[REG_W] / w_word), _floor(design[REG_I] / word))
    lanes = max(1.0, min(min(layer[C] * layer[FY] * layer[FX], design[LANES]), fed))
    sums = done / lanes * design[ACCUMULATOR_BYTES]
    pj = done * (design[PJ_MAC] if layer[STATIC_WEIGHTS] else design[PJ_MAC_DYNAMIC]) + macs * design[PJ_CLOCK_MAC]
    pj += done * w_word * design[PJ_REG_READ_W] + macs * word * design[PJ_REG_READ_I]
    pj += sums * (design[PJ_REG_READ_O] + design[PJ_REG_WRITE_O])
    pj += whole.w * (design[PJ_REG_WRITE_W] + design[PJ_FEED_W]) + whole.i * (design[PJ_REG_WRITE_I] + design[PJ_FEED_I])
    pj += whole.o * design[PJ_FEED_O] + moved * design[PJ_DRAM] + layer[VECTOR_OPERATIONS] * design[PJ_VECTOR]
    pj += filled.w * design[PJ_WRITE_W] + filled.i * design[PJ_WRITE_I]
    pj += 0.0 if skips & BYPASS_W else whole.w * design[PJ_READ_W]
    pj += 0.0 if skips & BYPASS_I else whole.i * design[PJ_READ_I]
    return pj + (0.0 if skips & BYPASS_O else whole.o * (design[PJ_READ_O] + design[PJ_WRITE_O]))


# ---------------------------------------------------------------------------------------------------------------------
# 8. Bounds by the layers' mappers, where those of part 7 do not tell enough (`least_designs`).


class Least(NamedTuple):
    """What searches of one effort found of the layers of one design.

    size : (n_layers, N_VARIANTS) bytes that stay on chip in the step; below 0: not searched.
    least, cycles : (n_layers, N_VARIANTS) lower bound over all mappings, and the best mapping found; infinite: none fits.
    """

    size: np.ndarray
    least: np.ndarray
    cycles: np.ndarray


@_entry
def least_designs(designs, which, reach, traffic, options, networks, steps, arrivals, effort, enough, weights, quick, closer,
                  scratch, best_map, each, known, totals):  # fmt: skip
    """Lower bounds of the cycles of each network on each design, over all mappings and whatever stays on chip.

    `totals` (n_designs, n_networks, 2): first the sums over the steps of the larger of `bound_designs` and `out[LEAST]` of
    `map_layer`, infinite where no mapping fits; second the sums of what the mappers found: no effort raises the first
    beyond the second.  In each step that stays on chip which serves it best, tiles have all other room.  The default effort
    first; then `effort` for the steps that gain most, as long as the weighted geometric mean over the networks of the first
    is below `enough` (n_designs,) cycles, and that of the second is not; `weights` (n_networks,) add up to 1.

    `which`, `reach`, `traffic`, `steps`, `arrivals`, `each`: as in `bound_designs`; `quick`, `closer` (`Least`), `best_map` (N_MAP,),
    `known` (n_steps, 2): filled.  The designs' STORE_BYTES is changed meanwhile.
    """
    for row in range(designs.shape[0]):
        design, total = designs[row], totals[row]
        bound_designs(designs[row : row + 1], which[row : row + 1], reach, traffic, options, networks, steps, arrivals, each,
                      totals[row : row + 1])
        for network in range(total.shape[0]):
            total[network, 0], total[network, 1] = 0.0, 0.0
        for index in range(networks.layers.shape[0]):
            for variant in range(N_VARIANTS):
                quick.size[index, variant], closer.size[index, variant] = -1.0, -1.0
        for i in range(steps.shape[0]):
            network = int(steps[i, EQUAL_NETWORK])
            if steps[i, EQUAL_IS_VECTOR]:
                known[i, 0], known[i, 1] = each[i, 0, 0], each[i, 0, 0]
            else:
                index = int(steps[i, EQUAL_INDEX])
                known[i, 0], known[i, 1] = _least_of_step(design, options, networks, index, DEFAULT_EFFORT, each[i], quick,
                                                          scratch, best_map)  # fmt: skip
            total[network, 0] += steps[i, EQUAL_TIMES] * known[i, 0]
            total[network, 1] += steps[i, EQUAL_TIMES] * known[i, 1]
        i = _widest_step(steps, known, total, weights)
        while i >= 0 and _mean_cycles(total, weights, 0) < enough[row] <= _mean_cycles(total, weights, 1):
            network, index = int(steps[i, EQUAL_NETWORK]), int(steps[i, EQUAL_INDEX])
            least, _ = _least_of_step(design, options, networks, index, effort, each[i], closer, scratch, best_map)
            least = max(known[i, 0], least)
            total[network, 0] += steps[i, EQUAL_TIMES] * (least - known[i, 0])
            total[network, 1] += steps[i, EQUAL_TIMES] * (least - known[i, 1])
            known[i, 0], known[i, 1] = least, least  # nothing more is to be known here
            i = _widest_step(steps, known, total, weights)


@_inner
def _mean_cycles(total, weights, column):
    """Weighted geometric mean of the networks' cycles, from a column of `totals`."""
    logs = 0.0
    for network in range(weights.shape[0]):
        logs += weights[network] * np.log(total[network, column])
    return np.exp(logs)


@_inner
def _widest_step(steps, known, total, weights):
    """The step whose bound can still raise the mean most; -1: none."""
    widest, gain = -1, 0.0
    for i in range(steps.shape[0]):
        network = int(steps[i, EQUAL_NETWORK])
        gap = weights[network] * steps[i, EQUAL_TIMES] * (known[i, 1] - known[i, 0]) / total[network, 0]
        if gap > gain:
            widest, gain = i, gap
    return widest


@_inner
def _least_of_step(design, options, networks, index, effort, each, searched, scratch, best_map):
    """Least bound and least cycles of a layer over all that may stay on chip in a step; `each`: its row of `each`."""
    first, end = _seen(networks.layers[index])
    design = design[first:end]
    least, cycles, store = np.inf, np.inf, design[STORE_BYTES]
    for variant in range(N_VARIANTS):
        if each[variant, 0] >= least:
            continue
        if searched.size[index, variant] != each[variant, 1]:
            design[STORE_BYTES] = each[variant, 1]
            map_layer(networks.layers[index], design, options, networks.lists[index], effort, LATENCY, -1.0, variant, best_map,
                      scratch.out, scratch)  # fmt: skip
            fits, never = scratch.out[OVERFLOW] == 0, scratch.out[OVERFLOW] != 1.0  # 1: the search may have missed one
            searched.size[index, variant] = each[variant, 1]
            searched.least[index, variant] = scratch.out[LEAST] * ROOM if fits else (np.inf if never else 0.0)
            searched.cycles[index, variant] = scratch.out[CYCLES] if fits else np.inf
        least = min(least, max(each[variant, 0], searched.least[index, variant]))
        cycles = min(cycles, max(each[variant, 0], searched.cycles[index, variant]))
    design[STORE_BYTES] = store
    return least, max(least, cycles)
