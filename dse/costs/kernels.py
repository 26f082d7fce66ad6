"""The compiled cost model: one layer on one design under one mapping, and the exact search over mappings.

This is the only module with numba, and it imports nothing of the project: numba's cache does not notice an
edit of a constant or a callee in another module.  Everything arrives as float64 arrays whose columns are
named here.  `dse.costs.formulas` says the same in plain Python and is the text to read first; the tests hold the
two and a brute-force loop-nest walker equal.

Loops are grouped by what they leave unchanged: ``P`` = B OY OX (irrelevant to weights), ``K`` (irrelevant
to inputs), ``R`` = C FY FX (irrelevant to outputs).  ``G`` is relevant to all operands and always outermost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# Only what Python calls is cached on disk: it contains everything it calls.  Nothing here allocates: without numba's
# runtime a view of an array costs no atomic reference count, which took two thirds of the time.
_inner = njit(nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
_entry = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)

_INT = np.int64  # a variable of a function compiled once; a literal compiles it again for every value

# Loop dimensions, in the order of dse.networks.layers.LOOPS.
B, G, K, C, OY, OX, FY, FX = range(8)
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
IN_RESIDENT, OUT_RESIDENT, FUSED_RESIDENT, WEIGHTS_RESIDENT = 1, 2, 4, 8
# What the mapper minimises: energy within a share of the least latency, energy, or their product.
LATENCY, ENERGY, EDP = 0, 1, 2

# Loop orders, outer to inner, of the groups P=0 K=1 R=2.  The first three are the ones that matter: only the
# innermost loop with more than one trip is reuse, so the order of the two outside it changes nothing.
ORDERS = np.array([[1, 2, 0], [0, 2, 1], [1, 0, 2], [2, 1, 0], [2, 0, 1], [0, 1, 2]], dtype=np.int64)
DEPTH = np.argsort(ORDERS, axis=1)[:, ::1].astype(np.int64)  # DEPTH[order, group]: 0 outermost .. 2 innermost

MAX_LEVELS = 32
MAX_SCHEDULES = 288


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
def _outside(low, outputs, taps, axis):
    """Distinct positions below 0 of a block whose lowest position is `low`."""
    stride, dilation, _, _, meet_o, meet_f = axis
    count = 0.0
    i = 0.0
    while i < outputs and low + i * stride < 0:
        j = 0.0
        while j < taps and low + i * stride + j * dilation < 0:
            if i < meet_o or j + meet_f >= taps:  # the first of all pairs that meet at this position
                count += 1
            j += 1
        i += 1
    return count


@_inner
def _clipped(o0, o1, f0, f1, axis):
    """Input positions inside [0, size) that outputs [o0, o1) read through taps [f0, f1)."""
    stride, dilation, pad, size, meet_o, meet_f = axis
    outputs = o1 - o0
    taps = f1 - f0
    low = o0 * stride + f0 * dilation - pad
    high = (o1 - 1) * stride + (f1 - 1) * dilation - pad
    count = _extent(outputs, taps, meet_o, meet_f)
    if low < 0:
        count -= _outside(low, outputs, taps, axis)
    if high >= size:  # mirror image: the same lattice seen from the other end
        count -= _outside(size - 1 - high, outputs, taps, axis)
    return count


@_inner
def axis_sum(outputs, tile, piece, taps, tap_tile, tap_piece, axis):
    """Input positions fetched along one axis, summed over all pieces of all tiles [elements].

    Outputs are cut into tiles and each tile into pieces, taps likewise; padding is not fetched.  `axis`:
    stride, dilation, pad, size, and the meeting steps (see `axis_of`).
    """
    meet_o, meet_f = axis[4], axis[5]
    if taps == 1.0 and axis[2] == 0.0 and (outputs - 1) * axis[0] < axis[3]:
        return outputs
    total = 0.0
    n_full = _ceil_div(outputs, tile) - 1
    last = outputs - n_full * tile
    f0 = 0.0
    while f0 < taps:
        tap_end = min(taps, (_floor(f0 / tap_tile) + 1) * tap_tile)
        f1 = min(f0 + tap_piece, tap_end)
        for which in range(2):
            length = tile if which == 0 else last
            times = n_full if which == 0 else 1.0
            whole = _floor(length / piece)
            rest = length - whole * piece
            total += times * whole * _extent(piece, f1 - f0, meet_o, meet_f)
            if rest > 0:
                total += times * _extent(rest, f1 - f0, meet_o, meet_f)
        total -= _border(outputs, tile, piece, f0, f1, axis)
        f0 = f1
    return total


@_inner
def _border(outputs, tile, piece, f0, f1, axis):
    """What the pieces at the two ends do not fetch because it is padding."""
    stride, dilation, pad, size, meet_o, meet_f = axis
    spare = 0.0
    o0 = 0.0
    while o0 < outputs and o0 * stride + f0 * dilation - pad < 0:
        o1 = min(o0 + piece, (_floor(o0 / tile) + 1) * tile, outputs)
        spare += _extent(o1 - o0, f1 - f0, meet_o, meet_f)
        spare -= _clipped(o0, o1, f0, f1, axis)
        o0 = o1
    done = o0
    o1 = outputs
    while o1 > done and (o1 - 1) * stride + (f1 - 1) * dilation - pad >= size:
        start = _floor((o1 - 1) / tile) * tile
        o0 = start + _floor((o1 - 1 - start) / piece) * piece
        spare += _extent(o1 - o0, f1 - f0, meet_o, meet_f)
        spare -= _clipped(o0, o1, f0, f1, axis)
        o1 = o0
    return spare


@_inner
def spatial_factors(layer, design, option, mapping):
    """Fill the spatial factors of `mapping`: in-PE lanes over C, then each axis in its listed order.

    A PE uses as many of its multipliers as its registers hold words for.
    """
    for d in range(8):
        mapping[MAP_S + d] = 1.0
    reduction = layer[C]
    if option[OPT_FLATTEN]:
        reduction = layer[C] * layer[FY] * layer[FX]
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else design[ACTIVATION_BYTES]
    fed = min(_floor(design[REG_W] / w_word), _floor(design[REG_I] / design[ACTIVATION_BYTES]))
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
def _dram_times(order, reload, n_p, n_k, n_r):
    """How often each word of W, I and O crosses the DRAM link, from the trips of the groups over DRAM tiles.

    An operand is loaded again for each trip of the group that leaves it unchanged, unless no other group loops
    inside that one; W and I even then with `reload`.
    """
    p, k, r = DEPTH[order, 0], DEPTH[order, 1], DEPTH[order, 2]
    w = n_p if (n_k > 1 and k > p) or (n_r > 1 and r > p) or reload > 0 else 1.0
    i = n_k if (n_p > 1 and p > k) or (n_r > 1 and r > k) or reload > 0 else 1.0
    o = n_r if (n_p > 1 and p > r) or (n_k > 1 and k > r) else 1.0
    return w, i, o


@_inner
def _stationary_times(stationary, y_p, y_k, y_r, y_g, n_p, n_k, n_r, once_w, once_i, once_o):
    """How often each word of the stationary operand enters the array.

    `y`: trips over array tiles inside one DRAM tile at most; `n`: over DRAM tiles; `once`: from `_dram_times`.  Only
    this operand stays in the registers while others stream past; its group is innermost in the array, so it returns
    once a DRAM trip, or stays for good.  The others enter at every array step.
    """
    if stationary == 0:
        return n_p if y_k > 1 or y_r > 1 or y_g > 1 else once_w
    if stationary == 1:
        return n_k if y_p > 1 or y_r > 1 or y_g > 1 else once_i
    return n_r if y_p > 1 or y_k > 1 or y_g > 1 else once_o


@_inner
def _trips(layer, option, mapping):
    """Trips of the groups P, K, R, G: over DRAM tiles, over array tiles of one DRAM tile at most, over all array tiles.

    Returns these three tuples and the array cycles.
    """
    n_p, n_k, n_r, n_g = 1.0, 1.0, 1.0, 1.0
    y_p, y_k, y_r, y_g = 1.0, 1.0, 1.0, 1.0
    all_p, all_k, all_r, all_g = 1.0, 1.0, 1.0, 1.0
    cycles = 1.0
    flatten = option[OPT_FLATTEN] > 0
    for d in range(8):
        extent = layer[d]
        tile = mapping[MAP_T + d]
        count = _ceil_div(extent, tile)
        first = min(tile, extent)
        last = extent - (count - 1) * tile
        s = mapping[MAP_S + d]
        piece = s * mapping[MAP_R + d]
        if flatten and d == C:
            first *= layer[FY] * layer[FX]
            last *= layer[FY] * layer[FX]
        elif flatten and (d == FY or d == FX):
            first, last, piece, s = 1.0, 1.0, 1.0, 1.0
        inside = _ceil_div(first, piece)
        total = (count - 1) * inside + _ceil_div(last, piece)
        if flatten and (d == FY or d == FX):
            total = 1.0
        else:
            cycles *= (count - 1) * _ceil_div(first, s) + _ceil_div(last, s)
        if d == K:
            n_k, y_k, all_k = count, inside, total
        elif d == G:
            n_g, y_g, all_g = count, inside, total
        elif d == C or d == FY or d == FX:
            n_r, y_r, all_r = n_r * count, y_r * inside, all_r * total
        else:
            n_p, y_p, all_p = n_p * count, y_p * inside, all_p * total
    return (n_p, n_k, n_r, n_g), (y_p, y_k, y_r, y_g), (all_p, all_k, all_r, all_g), cycles


@_inner
def _unchanged(operand, d):
    """Whether loop `d` leaves operand W, I or O unchanged."""
    if operand == 0:
        return d == B or d == OY or d == OX
    return d == K if operand == 1 else (d == C or d == FY or d == FX)


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
def _given_stationary_times(layer, option, mapping, n, once):
    """As `_stationary_times`, with array loops in a given order; `once`: times of the operand over the DRAM link.

    An array loop outside all that change the operand repeats it for each of its pieces, one inside for each DRAM tile.
    """
    stationary = int(mapping[MAP_STATIONARY])
    times, outside = once, n[stationary]
    for i in range(8):
        d = int(mapping[MAP_ARRAY_LOOPS + i])
        if option[OPT_FLATTEN] and (d == FY or d == FX):
            continue
        taps = layer[FY] * layer[FX] if option[OPT_FLATTEN] and d == C else 1.0
        tile, piece = min(mapping[MAP_T + d], layer[d]), mapping[MAP_S + d] * mapping[MAP_R + d]
        tiles, inside = _ceil_div(layer[d], tile), _ceil_div(tile * taps, piece)
        if _unchanged(stationary, d):
            pieces = (tiles - 1) * inside + _ceil_div((layer[d] - (tiles - 1) * tile) * taps, piece)
            outside = outside / tiles * pieces
        elif inside > 1:
            times = outside
    return times


@_inner
def _padding(layer, design, option, mapping, operand):
    """Bytes of W, I or O as they lie in DRAM / their size."""
    if design[PADDED_W + operand] == 0:
        return 1.0
    padded, true = 1.0, 1.0
    for d in range(8):
        if _unchanged(operand, d):
            continue
        extent = layer[d]
        if option[OPT_FLATTEN]:
            if d == C:
                extent *= layer[FY] * layer[FX]
            elif d == FY or d == FX:
                continue
        padded *= _ceil_div(extent, mapping[MAP_S + d]) * _whole_step(design, option, mapping, d)
        true *= extent
    return padded / true


@_inner
def _whole_step(design, option, mapping, d):
    """Elements of loop `d` that a whole array takes: all of the axes that unroll it alone, else its spatial factor."""
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
def axis_of(layer, axis):
    """Geometry of one axis (0 = y, 1 = x): stride, dilation, pad, size, meeting steps."""
    return (layer[STRIDE_Y + axis], layer[DILATION_Y + axis], layer[PAD_Y + axis], layer[IY + axis],
            layer[MEET_O_Y + axis], layer[MEET_F_Y + axis])  # fmt: skip


@_inner
def array_axis_sum(layer, option, mapping, axis):
    """Input positions that the array reads along one axis (0 = y, 1 = x), all pieces [elements]."""
    o, f = OY + axis, FY + axis
    stationary = int(mapping[MAP_STATIONARY])
    forwards = option[OPT_FORWARDS] > 0
    if mapping[MAP_ARRAY_GIVEN] > 0:  # columns are passed along a sweep in x: no other loop inside it
        forwards = forwards and mapping[MAP_ARRAY_LOOPS + 7] == (OX if stationary == 0 else FX)
    return wire_positions(layer, option, stationary, forwards, axis, mapping[MAP_T + o], mapping[MAP_S + o] * mapping[MAP_R + o],
                          mapping[MAP_T + f], mapping[MAP_S + f] * mapping[MAP_R + f])  # fmt: skip


@_inner
def wire_positions(layer, option, stationary, forwards, axis, tile, piece, tap_tile, tap_piece):
    """Input positions into the array along one axis, from the buffer tiles and array pieces of outputs and taps."""
    o, f = OY + axis, FY + axis
    if option[OPT_FLATTEN]:
        return axis_sum(layer[o], 1.0, 1.0, layer[f], 1.0, 1.0, axis_of(layer, axis))
    tile, tap_tile = min(tile, layer[o]), min(tap_tile, layer[f])
    piece, tap_piece = min(piece, tile), min(tap_piece, tap_tile)
    if forwards and axis == 1:
        if stationary == 0:
            piece = tile
        elif stationary == 2:
            tap_piece = tap_tile
    return axis_sum(layer[o], tile, piece, layer[f], tap_tile, tap_piece, axis_of(layer, axis))


@_inner
def dram_axis_sum(layer, mapping, axis):
    """Input positions that DRAM tiles fetch along one axis (0 = y, 1 = x), halos of tiles included."""
    o = OY + axis
    f = FY + axis
    tile = min(mapping[MAP_T + o], layer[o])
    tap_tile = min(mapping[MAP_T + f], layer[f])
    return axis_sum(layer[o], tile, tile, layer[f], tap_tile, tap_tile, axis_of(layer, axis))


@_inner
def _held(layer, design, variant, bypass, g, k, c, b, oy, ox, fy, fx, rows, columns):
    """Bytes of one tile of W, I, O, and what each occupies in its buffer, double buffering included."""
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else design[ACTIVATION_BYTES]
    w = g * k * c * fy * fx * w_word
    i = b * g * c * rows * columns * design[ACTIVATION_BYTES]
    o = b * g * k * oy * ox * design[ACCUMULATOR_BYTES]
    # A tile that is the whole operand is loaded once: it needs no second copy.
    reduction = g == layer[G] and c == layer[C] and fy == layer[FY] and fx == layer[FX]
    pixels = b == layer[B] and oy == layer[OY] and ox == layer[OX]
    w_held = w if reduction and k == layer[K] else w * (1.0 + design[TWICE_W])
    i_held = i if reduction and pixels else i * (1.0 + design[TWICE_I])
    o_held = o if g == layer[G] and pixels and k == layer[K] else o * (1.0 + design[TWICE_O])
    if variant & WEIGHTS_RESIDENT or bypass & 1:
        w_held = 0.0
    if variant & IN_RESIDENT or bypass & 2:
        i_held = 0.0
    if bypass & 4:
        o_held = 0.0
    return w, i, o, w_held, i_held, o_held


@_inner
def tile_bytes(layer, design, mapping, variant):
    """Bytes of one tile of W, I and O, and what each occupies in its buffer."""
    oy = min(mapping[MAP_T + OY], layer[OY])
    ox = min(mapping[MAP_T + OX], layer[OX])
    fy = min(mapping[MAP_T + FY], layer[FY])
    fx = min(mapping[MAP_T + FX], layer[FX])
    return _held(layer, design, variant, int(mapping[MAP_BYPASS]), min(mapping[MAP_T + G], layer[G]),
                 min(mapping[MAP_T + K], layer[K]), min(mapping[MAP_T + C], layer[C]),
                 min(mapping[MAP_T + B], layer[B]), oy, ox, fy, fx,
                 min(_extent(oy, fy, layer[MEET_O_Y], layer[MEET_F_Y]), layer[TOUCHED_Y]),
                 min(_extent(ox, fx, layer[MEET_O_X], layer[MEET_F_X]), layer[TOUCHED_X]))  # fmt: skip


@_inner
def tile_capacity(design, b):
    """Bytes of buffer `b` that tiles may use: its capacity less the store of resident activations."""
    return design[CAPACITY_0 + b] - (design[STORE_BYTES] if design[BUFFER_I] == b else 0.0)


@_inner
def buffer_overflow(design, held):
    """Worst bytes over / capacity of the buffers for the tiles `held` (from `tile_bytes`); <= 0 fits."""
    worst = -1.0
    for b in range(3):
        if design[CAPACITY_0 + b] <= 0:
            continue
        need = held[3] if design[BUFFER_W] == b else 0.0
        need += held[4] if design[BUFFER_I] == b else 0.0
        need += held[5] if design[BUFFER_O] == b else 0.0
        capacity = tile_capacity(design, b)
        worst = max(worst, (need - capacity) / capacity)
    return worst


@_inner
def _ends(layer, design, option, mapping, variant, held):
    """Bytes that cannot overlap: the first tiles in and the last tile out."""
    bypass = int(mapping[MAP_BYPASS])
    ends = 0.0
    if design[DOUBLE_W] > 0 and not bypass & 1 and not variant & WEIGHTS_RESIDENT:
        ends += held[0] * _padding(layer, design, option, mapping, _INT(0))
    if design[DOUBLE_I] > 0 and not bypass & 2 and not variant & IN_RESIDENT:
        ends += held[1] * (design[COMPRESSION] * _padding(layer, design, option, mapping, _INT(1)))
    if design[DOUBLE_O] > 0 and not bypass & 4 and not variant & OUT_RESIDENT:
        drain = design[ACTIVATION_BYTES]
        for d in (B, G, K, OY, OX):
            drain *= layer[d] - (_ceil_div(layer[d], mapping[MAP_T + d]) - 1) * mapping[MAP_T + d]
        ends += drain * design[COMPRESSION] * _padding(layer, design, option, mapping, _INT(2))
    return ends


@_inner
def mapping_cost(layer, design, option, mapping, variant, held, out):
    """Cost of one mapping into `out` (N_RESULT,); legality is not checked.  See dse.costs.formulas for each line.

    `held`: from `tile_bytes`.
    """
    stationary, bypass = int(mapping[MAP_STATIONARY]), int(mapping[MAP_BYPASS])
    word = design[ACTIVATION_BYTES]
    n, y, total, cycles = _trips(layer, option, mapping)
    if mapping[MAP_DRAM_ORDER] < 0:
        once_w = n[0] if design[RELOAD] else _given_dram_times(layer, mapping, _INT(0))
        once_i = n[1] if design[RELOAD] else _given_dram_times(layer, mapping, _INT(1))
        once_o = _given_dram_times(layer, mapping, _INT(2))
    else:
        once_w, once_i, once_o = _dram_times(int(mapping[MAP_DRAM_ORDER]), design[RELOAD], n[0], n[1], n[2])
    if mapping[MAP_ARRAY_GIVEN] > 0:
        once = once_w if stationary == 0 else (once_i if stationary == 1 else once_o)
        times = _given_stationary_times(layer, option, mapping, n, once)
    else:
        times = _stationary_times(stationary, y[0], y[1], y[2], y[3], n[0], n[1], n[2], once_w, once_i, once_o)
    times_w = times if stationary == 0 else total[0]
    times_i = times if stationary == 1 else total[1]
    visits = times if stationary == 2 else total[2]
    planes = layer[B] * layer[G] * layer[C]
    outputs = layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX]
    weights = layer[G] * layer[K] * layer[C] * layer[FY] * layer[FX]
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else word
    positions = array_axis_sum(layer, option, mapping, _INT(0)) * array_axis_sum(layer, option, mapping, _INT(1))
    _account(layer, design, option, mapping, variant, bypass, weights * w_word * times_w, planes * word * positions * times_i,
             outputs * (visits - 1) * design[ACCUMULATOR_BYTES], weights * w_word * once_w,
             planes * word * (dram_axis_sum(layer, mapping, _INT(0)) * dram_axis_sum(layer, mapping, _INT(1))) * once_i,
             outputs * (once_o - 1) * design[ACCUMULATOR_BYTES], out)  # fmt: skip
    others = (
        total[1] * total[2] if stationary == 0 else (total[0] * total[2] if stationary == 1 else total[0] * total[1])
    )
    out[FOLDS] = others * total[3] * times
    words = (
        weights * times_w
        if stationary == 0
        else (planes * positions * times_i if stationary == 1 else outputs * visits)
    )
    out[LOAD] = words / _edge(design, stationary)
    stop = _stop_of_mapping(layer, design, option, mapping) if _stops(design) else 0.0
    _latency(layer, design, cycles, variant, _ends(layer, design, option, mapping, variant, held), stop, out)


@_inner
def _stops(design):
    """Whether a broadcast array stops at its folds to load registers."""
    return design[SYSTOLIC] == 0 and design[OVERLAP_LOAD] == 0


@_inner
def _stop_cycles(layer, design, option, b, g, k, c, oy, ox, fy, fx):
    """Cycles to bring the first words of W and I of a fold and take its last sums, from the sizes of `_fold_size`."""
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else design[ACTIVATION_BYTES]
    pixels = oy * ox
    if option[OPT_FLATTEN] == 0:
        pixels = _extent(oy, fy, layer[MEET_O_Y], layer[MEET_F_Y]) * _extent(ox, fx, layer[MEET_O_X], layer[MEET_F_X])
    w = g * k * c * fy * fx * w_word
    i = b * g * c * pixels * design[ACTIVATION_BYTES]
    return w / design[LINK_W] + i / design[LINK_I] + b * g * k * oy * ox * design[ACCUMULATOR_BYTES] / design[LINK_O]


@_inner
def _fold_size(layer, option, d, stationary, tile, step, register):
    """Size along loop `d` of what a fold begins with: an array piece, or one step of a loop that leaves it unchanged.

    Flattened, C stands for C, FY and FX.
    """
    tile = min(tile, layer[d])
    if option[OPT_FLATTEN]:
        if d == FY or d == FX:
            return 1.0
        if d == C:
            tile *= layer[FY] * layer[FX]
    return min(step if _unchanged(stationary, d) else step * register, tile)


@_inner
def _stop_of_mapping(layer, design, option, mapping):
    """`_stop_cycles` of a mapping row."""
    a = int(mapping[MAP_STATIONARY])
    s, r, t = MAP_S, MAP_R, MAP_T
    b = _fold_size(layer, option, _INT(B), a, mapping[t + B], mapping[s + B], mapping[r + B])
    g = _fold_size(layer, option, _INT(G), a, mapping[t + G], mapping[s + G], mapping[r + G])
    k = _fold_size(layer, option, _INT(K), a, mapping[t + K], mapping[s + K], mapping[r + K])
    c = _fold_size(layer, option, _INT(C), a, mapping[t + C], mapping[s + C], mapping[r + C])
    oy = _fold_size(layer, option, _INT(OY), a, mapping[t + OY], mapping[s + OY], mapping[r + OY])
    ox = _fold_size(layer, option, _INT(OX), a, mapping[t + OX], mapping[s + OX], mapping[r + OX])
    fy = _fold_size(layer, option, _INT(FY), a, mapping[t + FY], mapping[s + FY], mapping[r + FY])
    fx = _fold_size(layer, option, _INT(FX), a, mapping[t + FX], mapping[s + FX], mapping[r + FX])
    return _stop_cycles(layer, design, option, b, g, k, c, oy, ox, fy, fx)


@_inner
def _edge(design, stationary):
    """Stationary words that cross the edge of a systolic array in a cycle: into the multipliers, or sums out."""
    return design[COLS] * (1.0 if stationary == 2 else design[LANES])


@_inner
def _account(layer, design, option, mapping, variant, bypass, array_w, array_i, array_o, dram_w, dram_i, dram_o, out):
    """All that is linear in the traffic of a mapping: bytes over every link, cycles of the ports, energy but leakage.

    `array_w`, `array_i`: bytes of W and I into the array; `array_o`: of partial sums back into it, each of which it
    writes first; `dram_*`: the same over the DRAM link, if nothing is resident and nothing bypasses.
    """
    outputs = layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX] * design[ACTIVATION_BYTES]
    out[ARRAY_W], out[ARRAY_I] = array_w, array_i
    out[ARRAY_O_READ], out[ARRAY_O_WRITE] = array_o, array_o + outputs
    out[DRAM_W], out[DRAM_I] = dram_w, dram_i
    out[DRAM_O_READ], out[DRAM_O_WRITE] = dram_o, dram_o + outputs
    out[DRAM_FUSED] = 0.0 if variant & FUSED_RESIDENT else layer[FUSED_INPUT] * design[ACTIVATION_BYTES]
    _buffer_traffic(layer, design, variant, bypass, outputs, out)
    out[DRAM_W] *= _padding(layer, design, option, mapping, _INT(0))
    out[DRAM_I] *= design[COMPRESSION] * _padding(layer, design, option, mapping, _INT(1))
    filled = _padding(layer, design, option, mapping, _INT(2))
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
    _energy(layer, design, mapping, option, out)


@_inner
def _buffer_traffic(layer, design, variant, bypass, outputs, out):
    """Buffer reads and writes [bytes] from the array and DRAM traffic; bypassed operands go straight through."""
    if variant & WEIGHTS_RESIDENT:
        out[DRAM_W] = 0.0
    elif bypass & 1:
        out[DRAM_W] = out[ARRAY_W]
    skips_w = bypass & 1 and not variant & WEIGHTS_RESIDENT
    out[BUFFER_W_READ] = 0.0 if skips_w else out[ARRAY_W]
    out[BUFFER_W_WRITE] = 0.0 if skips_w else out[DRAM_W]
    if variant & IN_RESIDENT:
        out[DRAM_I] = 0.0
    elif bypass & 2:
        out[DRAM_I] = out[ARRAY_I]
    skips_i = bypass & 2 and not variant & IN_RESIDENT
    out[BUFFER_I_READ] = 0.0 if skips_i else out[ARRAY_I]
    out[BUFFER_I_WRITE] = 0.0 if skips_i else out[DRAM_I]
    if bypass & 4:
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
def _skew(design, cycles, folds, load, stop):
    """Cycles that an array spends at its folds: on skewed fill and drain, or on `stop` (from `_stop_cycles`).

    `load`: cycles that the stationary words need at the edge of a systolic array at least; a fold takes `rows` at least.
    """
    if design[SYSTOLIC] == 0:
        return folds * stop
    load = max(load, folds * design[ROWS])
    wave = design[ROWS] + design[COLS] - 2
    if design[OVERLAP]:
        return max(cycles, load) - cycles + design[ROWS] + wave
    return load + folds * wave


@_inner
def _latency(layer, design, cycles, variant, ends, stop, out):
    """Cycles, their waterfall, the bound and the energy that leaks meanwhile, from array cycles and `_account`."""
    bandwidth = design[DRAM_BYTES_PER_CYCLE]
    macs = layer[B] * layer[G] * layer[K] * layer[C] * layer[OY] * layer[OX] * layer[FY] * layer[FX]
    out[MACS] = macs
    out[ARRAY_CYCLES] = cycles
    ideal = macs / (design[ROWS] * design[COLS] * design[LANES])
    skew = _skew(design, cycles, out[FOLDS], out[LOAD], stop)
    out[SKEW] = skew
    port = max(out[PORT_0], out[PORT_1], out[PORT_2])
    vector = layer[VECTOR_OPERATIONS] / design[VECTOR_LANES]
    out[VECTOR_CYCLES] = vector
    serial = out[SERIAL_BYTES] / bandwidth
    out[DRAM_CYCLES] = out[DRAM_BYTES] / bandwidth
    ends /= bandwidth
    streaming = (out[DRAM_BYTES] - out[SERIAL_BYTES]) / bandwidth - ends
    compute = cycles + skew
    with_vector = max(compute, vector)
    with_buffers = max(with_vector, port)
    steady = max(with_buffers, streaming)
    out[CYCLES] = steady + ends + serial
    out[IDEAL] = ideal
    out[SPATIAL_LOSS] = cycles - ideal
    out[VECTOR_STALL] = with_vector - compute
    out[BUFFER_STALL] = with_buffers - with_vector
    out[DRAM_STALL] = steady - with_buffers + serial
    out[FILL_DRAIN] = skew + ends
    bound = BOUND_COMPUTE
    if ends + skew > max(cycles, vector, port, streaming, serial):
        bound = BOUND_FILL
    elif streaming > with_buffers or serial > steady:
        bound = BOUND_DRAM
    elif port > with_vector:
        bound = BOUND_BUFFER_0
        for b in range(1, 3):
            if out[PORT_0 + b] > out[PORT_0 + bound - BOUND_BUFFER_0]:
                bound = BOUND_BUFFER_0 + b
    elif vector > compute:
        bound = BOUND_VECTOR
    out[BOUND] = bound
    out[PJ_TOTAL_LEAKAGE] = out[CYCLES] * design[PJ_LEAK_CYCLE]
    out[ENERGY_PJ] += out[PJ_TOTAL_LEAKAGE]
    _bounds(layer, design, variant, ideal, out)


@_inner
def _bounds(layer, design, variant, ideal, out):
    """Lower bounds of any mapping: peak arithmetic, compulsory DRAM traffic."""
    word = design[ACTIVATION_BYTES]
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else word
    moved = out[DRAM_FUSED]
    if not variant & WEIGHTS_RESIDENT:
        moved += layer[G] * layer[K] * layer[C] * layer[FY] * layer[FX] * w_word
    if not variant & IN_RESIDENT:
        moved += layer[B] * layer[G] * layer[C] * layer[TOUCHED_Y] * layer[TOUCHED_X] * word * design[COMPRESSION]
    if not variant & OUT_RESIDENT:
        moved += layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX] * word * design[COMPRESSION]
    out[BOUND_CYCLES] = max(ideal, moved / design[DRAM_BYTES_PER_CYCLE])
    mac_pj = design[PJ_MAC] if layer[STATIC_WEIGHTS] else design[PJ_MAC_DYNAMIC]
    out[BOUND_PJ] = out[MACS] * mac_pj + moved * design[PJ_DRAM]


@_inner
def _energy(layer, design, mapping, option, out):
    """Energy by level [pJ] from accesses [bytes]; `_latency` adds leakage."""
    s = MAP_S
    macs = layer[B] * layer[G] * layer[K] * layer[C] * layer[OY] * layer[OX] * layer[FY] * layer[FX]
    pixels = mapping[s + B] * mapping[s + OY] * mapping[s + OX]
    reduction = mapping[s + C] * mapping[s + FY] * mapping[s + FX] / mapping[MAP_LANES]
    shared = 1.0  # PEs that share one input word besides those along K
    if option[OPT_FLATTEN] == 0:
        for axis in range(2):
            o, f = mapping[s + OY + axis], mapping[s + FY + axis]
            shared *= o * f / _extent(o, f, layer[MEET_O_Y + axis], layer[MEET_F_Y + axis])
    reach_i = mapping[s + K] * shared
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else design[ACTIVATION_BYTES]
    partial = out[ARRAY_O_READ] + out[ARRAY_O_WRITE]
    out[REGISTER_W] = macs * w_word + out[ARRAY_W] * pixels
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


@_entry
def evaluate_mapping(layer, design, option, mapping, variant, out):
    """Cost of one given mapping, legality included: `out[OVERFLOW]` > 0 when a buffer or register overflows."""
    held = tile_bytes(layer, design, mapping, variant)
    mapping_cost(layer, design, option, mapping, variant, held, out)
    over = max(buffer_overflow(design, held), register_overflow(layer, design, option, mapping))
    out[OVERFLOW] = max(0.0, over)


@_entry
def register_overflow(layer, design, option, mapping):
    """Worst bytes over / capacity of a PE's registers for the register tile; <= 0 fits."""
    r = MAP_R
    lanes = max(mapping[MAP_LANES], 1.0)
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else design[ACTIVATION_BYTES]
    need_w = mapping[r + G] * mapping[r + K] * mapping[r + C] * mapping[r + FY] * mapping[r + FX] * lanes * w_word
    pixels = mapping[r + OY] * mapping[r + OX]
    if not option[OPT_FLATTEN]:
        ox = mapping[r + OX]
        if option[OPT_FORWARDS] and mapping[MAP_STATIONARY] == 0:
            ox = 1.0  # only the window is held while the columns stream past
        pixels = _extent(mapping[r + OY], mapping[r + FY], layer[MEET_O_Y], layer[MEET_F_Y])
        pixels *= _extent(ox, mapping[r + FX], layer[MEET_O_X], layer[MEET_F_X])
    need_i = mapping[r + B] * mapping[r + G] * mapping[r + C] * lanes * pixels * design[ACTIVATION_BYTES]
    need_o = (mapping[r + B] * mapping[r + G] * mapping[r + K] * mapping[r + OY] * mapping[r + OX]
              * design[ACCUMULATOR_BYTES])  # fmt: skip
    worst = (need_w - design[REG_W]) / design[REG_W]
    worst = max(worst, (need_i - design[REG_I]) / design[REG_I])
    return max(worst, (need_o - design[REG_O]) / design[REG_O])


# ---------------------------------------------------------------------------------------------------------------------
# The mapper: the best mapping of one layer on one design, exact over the stated candidates.
#
# A candidate is a buffer tile (a level of each of C K B OY OX and a tile of the filter), an order of the DRAM loops, a
# schedule (stationary operand and register tile), a spatial option and a set of bypasses.  Everything but the time of
# the array is linear in six traffic numbers (`_account`), so the search reads the coefficients off the model once and
# costs a candidate with a few dozen multiplications; what it chooses is then evaluated in full.


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
def _register_pixels(layer, design, option, stationary, oy, ox, fy, fx):
    """Input words of one channel that the registers of a PE hold for a tile of outputs and taps."""
    if option[OPT_FLATTEN]:
        return oy * ox
    if option[OPT_FORWARDS] and stationary == 0:
        ox = 1.0  # only the window is held while the columns stream past
    rows = _extent(oy, fy, layer[MEET_O_Y], layer[MEET_F_Y])
    return rows * _extent(ox, fx, layer[MEET_O_X], layer[MEET_F_X])


@_inner
def _register_tiles(layer, design, option, mapping, stationary, schedules, count, levels, most):
    """Append the register tiles that fit and that no fitting one exceeds in one loop; returns the new `count`.

    A larger register tile never moves more over the array's wires (pieces merge), so only these matter.  Filters: one
    tap, a row of taps, or all; pixels in row order: part of a row, or whole rows; C and K: doublings.  `schedules`
    (n, 10): the tile and the stationary operand; `mapping` gives the spatial factors; scratch: `levels` of K, C and
    pixels (3, 2 * MAX_LEVELS), and the `most` pixels (4, MAX_LEVELS) whose inputs fit by filter and C, whose sums by K.
    """
    s = MAP_S
    reduction = layer[C]
    all_fy, all_fx = _ceil_div(layer[FY], mapping[s + FY]), _ceil_div(layer[FX], mapping[s + FX])
    if option[OPT_FLATTEN]:
        reduction *= layer[FY] * layer[FX]
        all_fy, all_fx = 1.0, 1.0
    lanes = max(mapping[MAP_LANES], 1.0)
    word = design[ACTIVATION_BYTES]
    columns = _ceil_div(layer[OX], mapping[s + OX])
    n_k = _doubling(_ceil_div(layer[K], mapping[s + K]), levels[0])
    n_c = _doubling(_ceil_div(reduction, mapping[s + C]), levels[1])
    n_x = _doubling(columns, levels[2])
    n_p = n_x + _doubling(_ceil_div(layer[OY], mapping[s + OY]), levels[2, n_x:])  # 1 whole row twice: harmless
    for f in range(3):
        fy, fx = all_fy if f == 2 else 1.0, all_fx if f >= 1 else 1.0
        best = n_p - 1
        for i_c in range(n_c):
            while best >= 0:
                oy, ox = (1.0, levels[2, best]) if best < n_x else (levels[2, best], columns)
                pixels = _register_pixels(layer, design, option, stationary, oy, ox, fy, fx)
                if levels[1, i_c] * lanes * pixels * word <= design[REG_I]:
                    break
                best -= 1
            most[f, i_c] = best
    best = n_p - 1
    for i_k in range(n_k):
        while best >= 0:
            pixels = levels[2, best] * (1.0 if best < n_x else columns)
            if levels[0, i_k] * pixels * design[ACCUMULATOR_BYTES] <= design[REG_O]:
                break
            best -= 1
        most[3, i_k] = best
    room = design[REG_W] / (lanes * (design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else word))
    for f in range(3):
        if (f == 1 and all_fx == 1.0) or (f == 2 and all_fy == 1.0):
            continue
        fy, fx = all_fy if f == 2 else 1.0, all_fx if f >= 1 else 1.0
        g = 3 if f == 2 else (1 if f == 0 and all_fx > 1 else (2 if all_fy > 1 else 3))  # the next larger filter
        next_taps = all_fx if g == 1 else all_fy * all_fx
        for i_c in range(n_c):
            for i_k in range(n_k):
                w = levels[0, i_k] * levels[1, i_c]
                i_p = min(most[f, i_c], most[3, i_k])
                if w * (fy * fx) > room or i_p < 0:
                    break
                if (
                    i_k + 1 < n_k
                    and levels[0, i_k + 1] * levels[1, i_c] * (fy * fx) <= room
                    and i_p <= most[3, i_k + 1]
                ):
                    continue
                if (
                    i_c + 1 < n_c
                    and levels[0, i_k] * levels[1, i_c + 1] * (fy * fx) <= room
                    and i_p <= most[f, i_c + 1]
                ):
                    continue
                if g < 3 and w * next_taps <= room and i_p <= most[g, i_c]:
                    continue
                if count < MAX_SCHEDULES:
                    row = schedules[count]
                    for d in range(8):
                        row[d] = 1.0
                    row[K], row[C], row[FY], row[FX] = levels[0, i_k], levels[1, i_c], fy, fx
                    row[OX] = levels[2, i_p] if i_p < n_x else columns
                    row[OY] = 1.0 if i_p < n_x else levels[2, i_p]
                    row[8] = stationary
                    count += 1
    return count


# State of a search: cycles and energy of the best mapping so far, and the most cycles that a mapping may take.
S_CYCLES, S_PJ, S_LIMIT = range(3)
N_STATE = 3
# What a phase of the search looks for: the least cycles, or the least energy within the limit, or energy x delay.
FASTEST, FRUGAL, PRODUCT = range(3)


@_inner
def _hopeless(aim, state, cycles, energy):
    """No mapping with these lower bounds can become the best."""
    if aim == FASTEST:
        return cycles >= state[S_CYCLES]
    if aim == FRUGAL:
        return cycles > state[S_LIMIT] or energy > state[S_PJ] or (energy == state[S_PJ] and cycles >= state[S_CYCLES])
    return cycles * energy >= state[S_CYCLES] * state[S_PJ]


@_inner
def _copy(source, target, n):
    """Copy the first `n` numbers (an assignment of slices takes seconds to compile)."""
    for i in range(n):
        target[i] = source[i]


@_inner
def _array_cycles(layer, option, mapping):
    """Cycles of the array on all of the layer: a pass over every loop, idle edges included."""
    cycles = 1.0
    for d in range(8):
        extent = layer[d]
        if option[OPT_FLATTEN]:
            if d == C:
                extent *= layer[FY] * layer[FX]
            elif d == FY or d == FX:
                continue
        cycles *= _ceil_div(extent, mapping[MAP_S + d])
    return cycles


# Rows of the table of a layer under one spatial option; columns are candidates of one loop, largest first.  Loops are
# in the order C K B OY OX, the one of the nest over tiles.
T_TILE, T_SIZE, T_TRIPS, T_LAST = 0, 5, 10, 15  # tile as mapped; cut to the loop; DRAM trips; size of the last
T_CYCLES = 20  # array cycles (of a flattened reduction they depend on the tile of C)
T_FETCH_Y, T_ROWS_Y, T_FETCH_X, T_ROWS_X = 21, 24, 27, 30  # by tile of the filter: positions fetched, in one tile
N_TABLE = 33
# Rows of the table of array trips for each schedule and tile of the filter, filled as they are needed.
W_TOTAL, W_INSIDE, W_Y, W_X = 0, 5, 10, 11  # array trips over all DRAM tiles, most in one; positions into the array
N_WIRE = 12
# Columns of the coefficients: what a byte of traffic costs.  Row 0 is what no traffic costs.
L_DRAM, L_SERIAL, L_PORT_0, L_PORT_1, L_PORT_2, L_PJ = range(6)
C_LINK = 7
UNIT_BYTES = 2.0**40  # so much traffic that the constant part does not blur a coefficient
ROOM = 1.0 - 1e-12  # bounds are sums in another order than costs: leave room for rounding

# Columns of the facts about one layer, design, option and set of bypasses.
(X_AGAIN_W, X_AGAIN_I, X_AGAIN_O, X_TOUCHED, X_WORD_W, X_WORD_I, X_WORD_O, X_LEAD_W, X_LEAD_I, X_TAIL, X_TWICE_W,
 X_TWICE_I, X_TWICE_O, X_IN_W, X_IN_I, X_IN_O, X_ROOM_0, X_ROOM_1, X_ROOM_2, X_PIXELS, X_OUT_PIXELS, X_WHOLE_G, X_STEPS_G,
 X_VECTOR, X_PER_BANDWIDTH, X_LEAK, X_BUSY, X_LEAST_W, X_LEAST_I, X_LEAST_O, X_FLOW_W, X_FLOW_I, X_FLOW_O, X_LOAD_W,
 X_LOAD_I, X_LOAD_O, X_RELOAD) = range(37)  # fmt: skip
N_FACTS = 37


@_inner
def _loop_of(slot):
    """The loop of a slot of the table: C K B OY OX."""
    return C if slot == 0 else (K if slot == 1 else (B if slot == 2 else slot + 1))


@_inner
def _tile_table(layer, option, mapping, sizes, t, counts, taps):
    """Fill the table `t` of candidate tiles, their number `counts` (5,), and tiles `taps` (3, 2) of the filter.

    Returns how many tiles of the filter: whole; one spatial step of rows; one step of both.
    """
    flatten = option[OPT_FLATTEN] > 0
    n_taps = 1
    taps[0, 0], taps[0, 1] = layer[FY], layer[FX]
    if not flatten:
        if mapping[MAP_S + FY] < layer[FY]:
            taps[n_taps, 0], taps[n_taps, 1] = mapping[MAP_S + FY], layer[FX]
            n_taps += 1
        if mapping[MAP_S + FX] < layer[FX]:
            taps[n_taps, 0], taps[n_taps, 1] = min(mapping[MAP_S + FY], layer[FY]), mapping[MAP_S + FX]
            n_taps += 1
    for slot in range(5):
        d = _loop_of(slot)
        step = 1.0 if flatten and d == C else mapping[MAP_S + d]
        counts[slot] = _levels(_ceil_div(layer[d], step), sizes, t[T_TILE + slot])
        for i in range(counts[slot]):
            t[T_TILE + slot, i] *= step
            tile = min(t[T_TILE + slot, i], layer[d])
            trips = _ceil_div(layer[d], tile)
            t[T_SIZE + slot, i], t[T_TRIPS + slot, i], t[T_LAST + slot, i] = tile, trips, layer[d] - (trips - 1) * tile
    for axis in range(2):
        o, geometry = OY + axis, axis_of(layer, axis)
        fetch, rows = (T_FETCH_Y, T_ROWS_Y) if axis == 0 else (T_FETCH_X, T_ROWS_X)
        for f in range(n_taps):
            tap_tile = min(taps[f, axis], layer[FY + axis])
            for i in range(counts[3 + axis]):
                tile = t[T_SIZE + 3 + axis, i]
                t[fetch + f, i] = axis_sum(layer[o], tile, tile, layer[FY + axis], tap_tile, tap_tile, geometry)
                t[rows + f, i] = min(_extent(tile, tap_tile, geometry[4], geometry[5]), layer[TOUCHED_Y + axis])
    cycles = _array_cycles(layer, option, mapping)
    taps_of_all, s = layer[FY] * layer[FX], mapping[MAP_S + C]
    for i in range(counts[0]):
        t[T_CYCLES, i] = cycles
        if flatten:  # a step of the flattened reduction does not cross a tile
            steps = (t[T_TRIPS, i] - 1) * _ceil_div(t[T_SIZE, i] * taps_of_all, s) + _ceil_div(
                t[T_LAST, i] * taps_of_all, s
            )
            t[T_CYCLES, i] = cycles * steps / _ceil_div(layer[C] * taps_of_all, s)
    return n_taps


@_inner
def _coefficients(layer, design, option, mapping, variant, bypass, out, c):
    """Read the coefficients `c` (7, 6) of the six traffic numbers off the model."""
    for row in range(7):
        u = UNIT_BYTES
        _account(layer, design, option, mapping, variant, bypass, u if row == 1 else 0.0, u if row == 2 else 0.0,
                 u if row == 3 else 0.0, u if row == 4 else 0.0, u if row == 5 else 0.0, u if row == 6 else 0.0,
                 out)  # fmt: skip
        for column in range(6):
            source = PORT_0 + column - L_PORT_0
            if column == L_DRAM:
                source = DRAM_BYTES
            elif column == L_SERIAL:
                source = SERIAL_BYTES
            elif column == L_PJ:
                source = ENERGY_PJ
            c[row, column] = out[source] if row == 0 else (out[source] - c[0, column]) / u


@_inner
def _over_link(c, column, dram_w, dram_i, dram_o):
    """What traffic over the DRAM link costs in one column."""
    return c[4, column] * dram_w + c[5, column] * dram_i + c[6, column] * dram_o


@_inner
def _over_wires(c, column, array_w, array_i, array_o):
    """What traffic over the wires of the array costs in one column, what no traffic costs included."""
    return c[0, column] + (c[1, column] * array_w + c[2, column] * array_i + c[3, column] * array_o)


@_inner
def _linear(c, column, array_w, array_i, array_o, dram_w, dram_i, dram_o):
    """What traffic costs: the sum over coefficients."""
    return _over_wires(c, column, array_w, array_i, array_o) + _over_link(c, column, dram_w, dram_i, dram_o)


@_inner
def _ports(c, array_w, array_i, array_o, dram_w, dram_i, dram_o):
    """Cycles of the busiest port."""
    port_0 = _linear(c, L_PORT_0, array_w, array_i, array_o, dram_w, dram_i, dram_o)
    port_1 = _linear(c, L_PORT_1, array_w, array_i, array_o, dram_w, dram_i, dram_o)
    port_2 = _linear(c, L_PORT_2, array_w, array_i, array_o, dram_w, dram_i, dram_o)
    return max(port_0, max(port_1, port_2))


@_inner
def _finished(x, c, busy, ends, array_w, array_i, array_o):
    """Cycles and energy of a mapping (as `_latency`), or lower bounds of them from lower bounds of everything.

    `busy`: cycles of the array and its skew, and of the vector unit; `ends`: bytes that cannot overlap.  What traffic
    over the DRAM link costs is in the row C_LINK of the coefficients.
    """
    moved = _over_wires(c, L_DRAM, array_w, array_i, array_o) + c[C_LINK, L_DRAM]
    serial = _over_wires(c, L_SERIAL, array_w, array_i, array_o) + c[C_LINK, L_SERIAL]
    port_0 = _over_wires(c, L_PORT_0, array_w, array_i, array_o) + c[C_LINK, L_PORT_0]
    port_1 = _over_wires(c, L_PORT_1, array_w, array_i, array_o) + c[C_LINK, L_PORT_1]
    port_2 = _over_wires(c, L_PORT_2, array_w, array_i, array_o) + c[C_LINK, L_PORT_2]
    steady = max(busy, max(port_0, max(port_1, port_2)))
    cycles = max(steady + (ends + serial) * x[X_PER_BANDWIDTH], moved * x[X_PER_BANDWIDTH])
    return cycles, _over_wires(c, L_PJ, array_w, array_i, array_o) + c[C_LINK, L_PJ] + cycles * x[X_LEAK]


@_inner
def _facts(layer, design, option, mapping, variant, bypass, x):
    """Fill the facts `x` that do not depend on the schedules."""
    word, acc = design[ACTIVATION_BYTES], design[ACCUMULATOR_BYTES]
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else word
    keep_w = bypass & 1 == 0 and variant & WEIGHTS_RESIDENT == 0
    keep_i = bypass & 2 == 0 and variant & IN_RESIDENT == 0
    keep_o = bypass & 4 == 0
    g = min(mapping[MAP_S + G], layer[G])
    weights = layer[G] * layer[K] * layer[C] * layer[FY] * layer[FX]
    planes = layer[B] * layer[G] * layer[C]
    outputs = layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX]
    x[X_AGAIN_W], x[X_AGAIN_I], x[X_AGAIN_O] = weights * w_word, planes * word, outputs * acc
    x[X_LOAD_W], x[X_LOAD_I] = weights / _edge(design, _INT(0)), planes / _edge(design, _INT(1))
    x[X_LOAD_O] = outputs / _edge(design, _INT(2))
    x[X_TOUCHED] = layer[TOUCHED_Y] * layer[TOUCHED_X]
    x[X_WORD_W], x[X_WORD_I], x[X_WORD_O] = g * w_word, g * word, g * acc
    dense = design[COMPRESSION]
    x[X_LEAD_W] = _padding(layer, design, option, mapping, _INT(0)) if keep_w and design[DOUBLE_W] > 0 else 0.0
    x[X_LEAD_I] = dense * _padding(layer, design, option, mapping, _INT(1)) if keep_i and design[DOUBLE_I] > 0 else 0.0
    x[X_TAIL] = 0.0
    if keep_o and design[DOUBLE_O] > 0 and variant & OUT_RESIDENT == 0:
        x[X_TAIL] = word * dense * _padding(layer, design, option, mapping, _INT(2))
    x[X_RELOAD] = design[RELOAD]
    x[X_STEPS_G] = _ceil_div(layer[G], mapping[MAP_S + G])
    x[X_TAIL] *= layer[G] - (x[X_STEPS_G] - 1) * mapping[MAP_S + G]
    x[X_WHOLE_G] = 1.0 if g == layer[G] else 0.0
    for i in range(3):
        held = keep_w if i == 0 else (keep_i if i == 1 else keep_o)
        x[X_TWICE_W + i] = (1.0 + design[TWICE_W + i]) if held else 0.0
        x[X_IN_W + i] = design[BUFFER_W + i]
        x[X_ROOM_0 + i] = tile_capacity(design, i)
    x[X_OUT_PIXELS] = layer[B] * layer[OY] * layer[OX]
    x[X_PIXELS] = x[X_ROOM_0 + int(design[BUFFER_O])] / x[X_WORD_O] if keep_o else np.inf
    x[X_VECTOR] = layer[VECTOR_OPERATIONS] / design[VECTOR_LANES]
    x[X_PER_BANDWIDTH], x[X_LEAK] = 1.0 / design[DRAM_BYTES_PER_CYCLE], design[PJ_LEAK_CYCLE]


@_inner
def _array_trips(extent, tile, step, register):
    """Array trips of one loop over all its DRAM tiles, and at most in one; and the register tile [steps]."""
    tile = min(tile, extent)
    count = _ceil_div(extent, tile)
    steps = register_steps(_ceil_div(tile, step), _ceil_div(extent, step), register)
    inside = _ceil_div(tile, step * steps)
    return (count - 1) * inside + _ceil_div(extent - (count - 1) * tile, step * steps), inside, steps


@_inner
def _fill(layer, option, mapping, schedule, t, taps, f, wires, row, slot, i):
    """Fill level `i` of loop `slot` for one schedule: array trips; of OY and OX also the positions into the array."""
    d = _loop_of(slot)
    step = mapping[MAP_S + d]
    extent, tile = layer[d], t[T_SIZE + slot, i]
    if d == C and option[OPT_FLATTEN]:
        extent *= layer[FY] * layer[FX]
        tile *= layer[FY] * layer[FX]
    total, inside, steps = _array_trips(extent, tile, step, schedule[d])
    if d == C and not option[OPT_FLATTEN]:
        for axis in range(2):
            tap = FY + axis
            more, most, _ = _array_trips(layer[tap], taps[f, axis], mapping[MAP_S + tap], schedule[tap])
            total *= more
            inside *= most
    wires[row + W_TOTAL + slot, i], wires[row + W_INSIDE + slot, i] = total, inside
    if slot >= 3:
        axis, tap = slot - 3, FY + slot - 3
        _, _, tap_steps = _array_trips(layer[tap], taps[f, axis], mapping[MAP_S + tap], schedule[tap])
        wires[row + W_Y + axis, i] = wire_positions(layer, option, int(schedule[8]), option[OPT_FORWARDS] > 0, axis, tile, step * steps,
                                                    taps[f, axis], mapping[MAP_S + tap] * tap_steps)  # fmt: skip


@_inner
def _fill_all(layer, option, mapping, schedule, t, taps, f, wires, row, i_c, i_k, i_b, i_y, i_x):
    """Fill what is missing of one buffer tile for one schedule."""
    if wires[row, i_c] < 0:
        _fill(layer, option, mapping, schedule, t, taps, f, wires, row, _INT(0), i_c)
    if wires[row + 1, i_k] < 0:
        _fill(layer, option, mapping, schedule, t, taps, f, wires, row, _INT(1), i_k)
    if wires[row + 2, i_b] < 0:
        _fill(layer, option, mapping, schedule, t, taps, f, wires, row, _INT(2), i_b)
    if wires[row + 3, i_y] < 0:
        _fill(layer, option, mapping, schedule, t, taps, f, wires, row, _INT(3), i_y)
    if wires[row + 4, i_x] < 0:
        _fill(layer, option, mapping, schedule, t, taps, f, wires, row, _INT(4), i_x)


@_inner
def _schedule_floors(layer, design, option, mapping, schedules, count, t, taps, n_taps, wires, x, c):
    """Least busy time (of array, vector unit and ports) and array traffic of all schedules over all buffer tiles, into the facts.

    One buffer tile that holds the whole layer moves the least over every wire, and has the least skew.
    """
    for i in range(4):
        x[X_BUSY + i] = np.inf
    x[X_FLOW_W], x[X_FLOW_I], x[X_FLOW_O] = 1.0, 1.0, 1.0
    whole = _INT(0)
    for j in range(count):
        row = j * n_taps * N_WIRE
        _fill_all(layer, option, mapping, schedules[j], t, taps, whole, wires, row, whole, whole, whole, whole, whole)
        busy, w, i, o = _array_work(design, x, t, wires, row, int(schedules[j, 8]), whole, whole, whole, whole, whole, 1.0, 1.0, 1.0,
                                    1.0, 1.0, 1.0, 0.0)  # fmt: skip
        busy = max(busy, _ports(c, w, i, o, x[X_AGAIN_W], x[X_AGAIN_I] * x[X_TOUCHED], 0.0))
        x[X_BUSY] = min(x[X_BUSY], busy)
        x[X_LEAST_W] = min(x[X_LEAST_W], w)
        x[X_LEAST_I] = min(x[X_LEAST_I], i)
        x[X_LEAST_O] = min(x[X_LEAST_O], o)
        x[X_FLOW_W + int(schedules[j, 8])] = 0.0  # others stream: once a DRAM trip at least


@_inner
def _array_work(
    design, x, t, wires, row, stationary, i_c, i_k, i_b, i_y, i_x, n_p, n_k, n_r, once_w, once_i, once_o, stop
):
    """Busy cycles of the array and bytes of W, I and returning O over its wires, for one schedule in one buffer tile.

    `stop`: from `_stop_cycles`, 0 for a lower bound.
    """
    total_p = wires[row + 2, i_b] * wires[row + 3, i_y] * wires[row + 4, i_x]
    inside_p = wires[row + 7, i_b] * wires[row + 8, i_y] * wires[row + 9, i_x]
    total_k, inside_k = wires[row + 1, i_k], wires[row + 6, i_k]
    total_r, inside_r = wires[row, i_c], wires[row + 5, i_c]
    positions = wires[row + W_Y, i_y] * wires[row + W_X, i_x]
    times = _stationary_times(stationary, inside_p, inside_k, inside_r, 1.0, n_p, n_k, n_r, once_w, once_i, once_o)
    times_w, times_i, visits = total_p, total_k, total_r
    if stationary == 0:
        times_w = times
        folds, load = total_k * total_r, x[X_LOAD_W]
    elif stationary == 1:
        times_i = times
        folds, load = total_p * total_r, x[X_LOAD_I] * positions
    else:
        visits = times
        folds, load = total_p * total_k, x[X_LOAD_O]
    cycles = t[T_CYCLES, i_c]
    busy = max(cycles + _skew(design, cycles, folds * x[X_STEPS_G] * times, load * times, stop), x[X_VECTOR])
    return busy, x[X_AGAIN_W] * times_w, x[X_AGAIN_I] * positions * times_i, x[X_AGAIN_O] * (visits - 1)


class Scratch(NamedTuple):
    """Arrays that a search writes over; see where each is filled."""

    mapping: np.ndarray
    trial: np.ndarray
    out: np.ndarray
    state: np.ndarray
    t: np.ndarray
    counts: np.ndarray
    taps: np.ndarray
    schedules: np.ndarray
    levels: np.ndarray
    most: np.ndarray
    x: np.ndarray
    c: np.ndarray
    wires: np.ndarray
    nodes: np.ndarray


def make_scratch() -> Scratch:
    """Scratch for `map_layer` and `evaluate_designs`; one for each thread."""
    return Scratch(
        mapping=np.concatenate([np.ones(MAP_ARRAY_GIVEN), np.zeros(N_MAP - MAP_ARRAY_GIVEN)]),
        trial=np.zeros(N_MAP),
        out=np.zeros(N_RESULT),
        state=np.zeros(N_STATE),
        t=np.zeros((N_TABLE, MAX_LEVELS)),
        counts=np.zeros(5, dtype=np.int64),
        taps=np.zeros((3, 2)),
        schedules=np.zeros((MAX_SCHEDULES, 11)),
        levels=np.zeros((3, 2 * MAX_LEVELS)),
        most=np.zeros((4, MAX_LEVELS), dtype=np.int64),
        x=np.zeros(N_FACTS),
        c=np.zeros((8, 6)),
        wires=np.empty((MAX_SCHEDULES * 3 * N_WIRE, MAX_LEVELS)),
        nodes=np.empty((3 * MAX_LEVELS * MAX_LEVELS, N_NODE)),
    )


@_inner
def search_option(layer, design, option, number, sizes, aim, slack, variant, scratch, best_map):
    """Search one spatial option: all buffer tiles x DRAM orders x schedules x bypasses, into `scratch.state`.

    Tiles of the filter, C and K with the most promising bounds come first; skipped is only what a lower bound proves no
    better than the best so far.  With `aim` FASTEST and `slack` >= 0 the least energy within that share follows.
    """
    mapping, state, t, counts, taps = scratch.mapping, scratch.state, scratch.t, scratch.counts, scratch.taps
    schedules, x, c, wires, nodes = scratch.schedules, scratch.x, scratch.c, scratch.wires, scratch.nodes
    spatial_factors(layer, design, option, mapping)
    mapping[MAP_OPTION] = number
    n_taps = _tile_table(layer, option, mapping, sizes, t, counts, taps)
    count = _INT(0)
    for a in range(3):
        if option[OPT_W + a]:
            count = _register_tiles(layer, design, option, mapping, a, schedules, count, scratch.levels, scratch.most)
    for row in range(0, count * n_taps * N_WIRE, N_WIRE):
        for slot in range(5):
            for i in range(counts[slot]):
                wires[row + slot, i] = -1.0  # not filled yet
    for bypass in range(8):
        if bypass & ~int(design[BYPASS]):
            continue
        _facts(layer, design, option, mapping, variant, bypass, x)
        _coefficients(layer, design, option, mapping, variant, bypass, scratch.out, c)
        _schedule_floors(layer, design, option, mapping, schedules, count, t, taps, n_taps, wires, x, c)
        mapping[MAP_BYPASS] = bypass
        found = _INT(0)
        for f in range(n_taps):
            found = _nodes(layer, f, x, c, t, counts, taps, nodes, found)
        for phase in range(2 if slack >= 0 else 1):
            goal = aim
            if phase:
                goal = FRUGAL
                state[S_LIMIT] = state[S_CYCLES] * (1.0 + slack) / ROOM  # equal but for rounding is equal
            for i in range(found):
                hopeless = _hopeless(goal, state, nodes[i, N_CYCLES], nodes[i, N_PJ])
                nodes[i, N_RANK] = np.inf if hopeless else _rank(goal, nodes[i, N_CYCLES], nodes[i, N_PJ])
            while True:
                best = 0
                for i in range(1, found):
                    if nodes[i, N_RANK] < nodes[best, N_RANK]:
                        best = i
                if found == 0 or nodes[best, N_RANK] == np.inf:
                    break
                nodes[best, N_RANK] = np.inf  # done
                if _hopeless(goal, state, nodes[best, N_CYCLES], nodes[best, N_PJ]):
                    break
                _search_node(layer, design, option, mapping, scratch.trial, goal, int(nodes[best, N_F]), int(nodes[best, N_C]),
                             int(nodes[best, N_K]), n_taps, x, c, t, counts, taps, count, schedules, wires, state,
                             best_map)  # fmt: skip


# Columns of a node, a tile of the filter, C and K: their levels, lower bounds, and what is looked for there.
N_F, N_C, N_K, N_CYCLES, N_PJ, N_RANK = range(6)
N_NODE = 6


@_inner
def _rank(aim, cycles, energy):
    """What the search minimises."""
    return cycles if aim == FASTEST else (energy if aim == FRUGAL else energy * cycles)


@_inner
def _least(x, c, pixels, n_p, n_k, n_r, ends, busy, array_w, array_i, array_o):
    """Least cycles and energy of a tiling with at least these trips, pixels fetched a plane, end bytes and array work."""
    array_w = max(array_w, x[X_FLOW_W] * x[X_AGAIN_W] * n_p)
    moved = np.inf
    energy = np.inf
    for order in range(3):
        once_w, once_i, once_o = _dram_times(order, x[X_RELOAD], n_p, n_k, n_r)
        w, i, o = x[X_AGAIN_W] * once_w, x[X_AGAIN_I] * pixels * once_i, x[X_AGAIN_O] * (once_o - 1)
        moved = min(moved, _linear(c, L_DRAM, array_w, array_i, array_o, w, i, o))
        energy = min(energy, _linear(c, L_PJ, array_w, array_i, array_o, w, i, o))
    cycles = max(busy + ends * x[X_PER_BANDWIDTH], moved * x[X_PER_BANDWIDTH])
    return cycles * ROOM, (energy + cycles * x[X_LEAK]) * ROOM


@_inner
def _nodes(layer, f, x, c, t, counts, taps, nodes, found):
    """Append the nodes of one tile of the filter whose weights fit; returns their number."""
    fy, fx = min(taps[f, 0], layer[FY]), min(taps[f, 1], layer[FX])
    filters = _ceil_div(layer[FY], taps[f, 0]) * _ceil_div(layer[FX], taps[f, 1])
    whole_f = filters == 1.0 and x[X_WHOLE_G] > 0
    plane = t[T_ROWS_Y + f, counts[3] - 1] * t[T_ROWS_X + f, counts[4] - 1]
    pixels = t[T_FETCH_Y + f, 0] * t[T_FETCH_X + f, 0]
    for i_c in range(counts[0]):
        n_r = t[T_TRIPS, i_c] * filters
        least_i = x[X_LEAD_I] * x[X_WORD_I] * t[T_SIZE, i_c] * plane
        for i_k in range(counts[1]):
            n_k = t[T_TRIPS + 1, i_k]
            w = x[X_WORD_W] * t[T_SIZE + 1, i_k] * t[T_SIZE, i_c] * fy * fx
            if (
                w * (x[X_TWICE_W] if n_r * n_k > 1 or not whole_f else min(x[X_TWICE_W], 1.0))
                > x[X_ROOM_0 + int(x[X_IN_W])]
            ):
                continue
            n_p = max(1.0, x[X_OUT_PIXELS] * t[T_SIZE + 1, i_k] / x[X_PIXELS])
            node = nodes[found]
            node[N_F], node[N_C], node[N_K] = f, i_c, i_k
            array_i = max(x[X_LEAST_I], x[X_FLOW_I] * x[X_AGAIN_I] * x[X_TOUCHED] * n_k)
            array_o = max(x[X_LEAST_O], x[X_FLOW_O] * x[X_AGAIN_O] * (n_r - 1))
            node[N_CYCLES], node[N_PJ] = _least(x, c, pixels, n_p, n_k, n_r, x[X_LEAD_W] * w + least_i, x[X_BUSY], x[X_LEAST_W],
                                                array_i, array_o)  # fmt: skip
            found += 1
    return found


@_inner
def _search_node(layer, design, option, mapping, trial, aim, f, i_c, i_k, n_taps, x, c, t, counts, taps, count, schedules, wires,
                 state, best_map):  # fmt: skip
    """The nest over tiles of B, OX and OY and over DRAM orders, for given tiles of the filter, C and K."""
    fy, fx = min(taps[f, 0], layer[FY]), min(taps[f, 1], layer[FX])
    filters = _ceil_div(layer[FY], taps[f, 0]) * _ceil_div(layer[FX], taps[f, 1])
    whole_f = filters == 1.0 and x[X_WHOLE_G] > 0
    no_halo = layer[FY] == 1 and layer[FX] == 1
    last_y, whole = counts[3] - 1, _INT(0)
    size_c, n_r = t[T_SIZE, i_c], t[T_TRIPS, i_c] * filters
    size_k, n_k = t[T_SIZE + 1, i_k], t[T_TRIPS + 1, i_k]
    w = x[X_WORD_W] * size_k * size_c * fy * fx
    w_held = w * (x[X_TWICE_W] if n_r * n_k > 1 or not whole_f else min(x[X_TWICE_W], 1.0))
    first_w = x[X_LEAD_W] * w
    busy, least_w, array_i, array_o = np.inf, np.inf, np.inf, np.inf
    for j in range(count):
        schedule = schedules[j]
        row = (j * n_taps + f) * N_WIRE
        _fill_all(layer, option, mapping, schedule, t, taps, f, wires, row, i_c, i_k, whole, whole, whole)
        once_i = n_k if wires[row + W_INSIDE, i_c] > 1 else 1.0
        once_o = n_r if wires[row + W_INSIDE + 1, i_k] > 1 else 1.0
        least, w, i, o = _array_work(design, x, t, wires, row, int(schedule[8]), i_c, i_k, whole, whole, whole, 1.0, once_i, once_o, 1.0, once_i,
                                     once_o, 0.0)  # fmt: skip
        least = max(least, _ports(c, w, i, o, x[X_AGAIN_W], x[X_AGAIN_I] * x[X_TOUCHED], 0.0))
        schedule[9], schedule[10] = least, c[1, L_PJ] * w + c[2, L_PJ] * i + c[3, L_PJ] * o
        busy, least_w, array_i, array_o = min(busy, least), min(least_w, w), min(array_i, i), min(array_o, o)
    for i_b in range(counts[2]):
        size_b, n_b = t[T_SIZE + 2, i_b], t[T_TRIPS + 2, i_b]
        for i_x in range(counts[4]):
            size_x, n_bx = t[T_SIZE + 4, i_x], n_b * t[T_TRIPS + 4, i_x]
            tile_i = x[X_WORD_I] * size_b * size_c * t[T_ROWS_X + f, i_x]
            several = counts[3] > 1 and not (no_halo and i_x > 0)
            if several:
                n_p = n_bx * max(1.0, layer[OY] * size_b * size_x * size_k / x[X_PIXELS])
                pixels = t[T_FETCH_Y + f, 0] * t[T_FETCH_X + f, i_x]
                cycles, energy = _least(x, c, pixels, n_p, n_k, n_r, first_w + x[X_LEAD_I] * tile_i * t[T_ROWS_Y + f, last_y],
                                        busy, least_w, array_i, array_o)  # fmt: skip
                if _hopeless(aim, state, cycles, energy):
                    continue
            tail = x[X_TAIL] * t[T_LAST + 1, i_k] * t[T_LAST + 2, i_b] * t[T_LAST + 4, i_x]
            # Without a halo only the number of pixels counts: part of a row or whole rows.
            for i_y in range(0 if several else last_y, counts[3]):
                n_p = n_bx * t[T_TRIPS + 3, i_y]
                i = tile_i * t[T_ROWS_Y + f, i_y]
                o = x[X_WORD_O] * size_b * size_k * t[T_SIZE + 3, i_y] * size_x
                i_held = i * (x[X_TWICE_I] if n_r * n_p > 1 or not whole_f else min(x[X_TWICE_I], 1.0))
                o_held = o * (x[X_TWICE_O] if n_k * n_p > 1 or x[X_WHOLE_G] == 0 else min(x[X_TWICE_O], 1.0))
                if not _fit(x, w_held, i_held, o_held):
                    continue
                ends = first_w + x[X_LEAD_I] * i + tail * t[T_LAST + 3, i_y]
                if _hopeless(aim, state, (busy + ends * x[X_PER_BANDWIDTH]) * ROOM, 0.0):
                    continue
                pixels = t[T_FETCH_Y + f, i_y] * t[T_FETCH_X + f, i_x]
                array_w = max(least_w, x[X_FLOW_W] * x[X_AGAIN_W] * n_p)
                wires_moved = _over_wires(c, L_DRAM, array_w, array_i, array_o)
                wires_pj = _over_wires(c, L_PJ, array_w, array_i, array_o)
                hope = False
                for order in range(3):
                    once_w, once_i, once_o = _dram_times(order, x[X_RELOAD], n_p, n_k, n_r)
                    dram_w, dram_i, dram_o = (
                        x[X_AGAIN_W] * once_w,
                        x[X_AGAIN_I] * pixels * once_i,
                        x[X_AGAIN_O] * (once_o - 1),
                    )
                    moved = _over_link(c, L_DRAM, dram_w, dram_i, dram_o)
                    pj = _over_link(c, L_PJ, dram_w, dram_i, dram_o)
                    stream = (wires_moved + moved) * x[X_PER_BANDWIDTH]
                    if _hopeless(aim, state, stream * ROOM, (wires_pj + pj + stream * x[X_LEAK]) * ROOM):
                        continue
                    hope = True
                    c[C_LINK, L_DRAM], c[C_LINK, L_PJ] = moved, pj
                    c[C_LINK, L_SERIAL] = _over_link(c, L_SERIAL, dram_w, dram_i, dram_o)
                    c[C_LINK, L_PORT_0] = _over_link(c, L_PORT_0, dram_w, dram_i, dram_o)
                    c[C_LINK, L_PORT_1] = _over_link(c, L_PORT_1, dram_w, dram_i, dram_o)
                    c[C_LINK, L_PORT_2] = _over_link(c, L_PORT_2, dram_w, dram_i, dram_o)
                    cycles, energy = _finished(x, c, busy, ends, array_w, array_i, array_o)
                    if not _hopeless(aim, state, cycles * ROOM, energy * ROOM):
                        _search_schedules(layer, design, option, mapping, trial, aim, f, n_taps, x, c, t, taps, count, schedules,
                                          wires, state, best_map, i_c, i_k, i_b, i_y, i_x, order, n_p, n_k, n_r, once_w, once_i, once_o,
                                          ends, cycles, energy,
                                          c[1, L_PJ] * array_w + c[2, L_PJ] * array_i + c[3, L_PJ] * array_o)  # fmt: skip
                if not hope:  # fewer rows at a time move even more
                    break


@_inner
def _fit(x, w_held, i_held, o_held):
    """Whether the tiles fit the buffers."""
    for b in range(3):
        need = w_held if x[X_IN_W] == b else 0.0
        need += i_held if x[X_IN_I] == b else 0.0
        need += o_held if x[X_IN_O] == b else 0.0
        if need > x[X_ROOM_0 + b]:
            return False
    return True


@_inner
def _search_schedules(layer, design, option, mapping, trial, aim, f, n_taps, x, c, t, taps, count, schedules, wires, state, best_map,
                      i_c, i_k, i_b, i_y, i_x, order, n_p, n_k, n_r, once_w, once_i, once_o, ends, bound, bound_pj,
                      array_pj):  # fmt: skip
    """Cost every schedule inside one buffer tile and order, and keep the best.

    `bound`, `bound_pj`: cycles and energy at least; `array_pj`: what of it traffic over the array's wires takes.
    """
    stops = _stops(design)
    for j in range(count):
        slow = max(bound, schedules[j, 9] + ends * x[X_PER_BANDWIDTH])
        more_pj = max(0.0, schedules[j, 10] - array_pj) + (slow - bound) * x[X_LEAK]
        if _hopeless(aim, state, slow * ROOM, (bound_pj + more_pj) * ROOM):
            continue
        row = (j * n_taps + f) * N_WIRE
        _fill_all(layer, option, mapping, schedules[j], t, taps, f, wires, row, i_c, i_k, i_b, i_y, i_x)
        stop = 0.0
        if stops:
            _record(layer, option, mapping, schedules[j], t, taps, f, i_c, i_k, i_b, i_y, i_x, order, trial)
            stop = _stop_of_mapping(layer, design, option, trial)
        busy, w, i, o = _array_work(design, x, t, wires, row, int(schedules[j, 8]), i_c, i_k, i_b, i_y, i_x, n_p, n_k, n_r, once_w,
                                    once_i, once_o, stop)  # fmt: skip
        cycles, energy = _finished(x, c, busy, ends, w, i, o)
        if not _hopeless(aim, state, cycles, energy):
            state[S_CYCLES], state[S_PJ] = cycles, energy
            _record(layer, option, mapping, schedules[j], t, taps, f, i_c, i_k, i_b, i_y, i_x, order, best_map)


@_inner
def _record(layer, option, mapping, schedule, t, taps, f, i_c, i_k, i_b, i_y, i_x, order, into):
    """Write a candidate as a mapping row; its register tile is cut to what divides the buffer tile."""
    _copy(mapping, into, N_MAP)
    tile = MAP_T
    into[tile + G] = mapping[MAP_S + G]
    into[tile + C], into[tile + K], into[tile + B] = t[T_TILE, i_c], t[T_TILE + 1, i_k], t[T_TILE + 2, i_b]
    into[tile + OY], into[tile + OX] = t[T_TILE + 3, i_y], t[T_TILE + 4, i_x]
    into[tile + FY], into[tile + FX] = taps[f, 0], taps[f, 1]
    into[MAP_DRAM_ORDER] = order
    into[MAP_STATIONARY] = schedule[8]
    for d in range(8):
        step = mapping[MAP_S + d]
        inside, extent = min(into[tile + d], layer[d]), layer[d]
        if option[OPT_FLATTEN] and d == C:
            inside *= layer[FY] * layer[FX]
            extent *= layer[FY] * layer[FX]
        into[MAP_R + d] = register_steps(_ceil_div(inside, step), _ceil_div(extent, step), schedule[d])


@_inner
def _smallest_tile(layer, design, option, variant, mapping):
    """The mapping of the smallest tiles; returns its overflow, <= 0 if it fits."""
    spatial_factors(layer, design, option, mapping)
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
    return max(
        buffer_overflow(design, tile_bytes(layer, design, mapping, variant)),
        register_overflow(layer, design, option, mapping),
    )


@_entry
def map_layer(layer, design, options, sizes, mode, slack, variant, best_map, out, scratch):
    """Best mapping of one layer into `best_map` (N_MAP,) and its cost into `out` (N_RESULT,).

    `mode`: LATENCY (least energy at most `slack` above the least latency), ENERGY or EDP.  Where nothing fits, the
    least mapping is costed and `out[OVERFLOW]` > 0.  `scratch`: from `make_scratch`.
    """
    mapping, state = scratch.mapping, scratch.state
    state[S_CYCLES], state[S_PJ], state[S_LIMIT] = np.inf, np.inf, np.inf
    first = int(design[OPTION_FIRST])
    last = first + int(design[OPTION_COUNT])
    least = np.inf
    alone = last - first == 1 and design[BYPASS] == 0
    for o in range(first, last):
        over = _smallest_tile(layer, design, options[o], variant, mapping)
        if over < least:
            least = over
            mapping[MAP_OPTION] = o - first
            _copy(mapping, best_map, N_MAP)
    for phase in range(2 if mode == LATENCY and not alone else 1):
        aim = FASTEST if mode == LATENCY else (FRUGAL if mode == ENERGY else PRODUCT)
        if phase:
            aim = FRUGAL
            state[S_LIMIT] = state[S_CYCLES] * (1.0 + slack) / ROOM  # equal but for rounding is equal
        for o in range(first, last):
            _smallest_tile(layer, design, options[o], variant, mapping)
            if register_overflow(layer, design, options[o], mapping) > 0:
                continue
            if _hopeless(aim, state, _array_cycles(layer, options[o], mapping), 0.0):
                continue
            search_option(layer, design, options[o], o - first, sizes, aim, slack if mode == LATENCY and alone else -1.0,
                          variant, scratch, best_map)  # fmt: skip
    evaluate_mapping(layer, design, options[first + int(best_map[MAP_OPTION])], best_map, variant, out)


@_inner
def vector_cost(layer, design, bytes_in, bytes_out, out):
    """Cost of a vector operation; `bytes_in`, `bytes_out` over the DRAM link before compression, the rest is resident."""
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


# ---------------------------------------------------------------------------------------------------------------------
# Networks: layers in order, equal shapes once, activations and weights that stay on chip.

# Columns of a step row (a layer of the network in execution order) and of a tensor row.
(STEP_IS_VECTOR, STEP_INDEX, STEP_REPEATS, STEP_OUTPUT, STEP_FUSED, STEP_SECOND, STEP_INPUT_FIRST, STEP_INPUT_COUNT,
 STEP_NETWORK) = range(9)  # fmt: skip
N_STEP = 9
TENSOR_ELEMENTS, TENSOR_FIRST, TENSOR_LAST = range(3)


@_entry
def resident_tensors(design, tensors, usage, resident):
    """Mark the activations that stay on chip from producer to last consumer: first come, first served.

    `usage` (n_steps,): scratch, bytes of the store in use at each step.
    """
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
def _variant(design, step, inputs, resident, static_weights, weights_stay):
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


@_entry
def evaluate_designs(designs, options, layers, vectors, steps, inputs, tensors, weight_elements, sizes, mode, slack,
                     done, results, maps, variants, resident, usage, scratch, totals):  # fmt: skip
    """Cost of each network on each design: the sum over its steps into `totals` (n_designs, n_networks, N_RESULT).

    `weight_elements` (n_networks,); steps and tensors of several networks follow one another, layers may be shared.
    `results` (n_layers, 16, N_RESULT) and `maps` (n_layers, 16, N_MAP) keep each distinct layer under each
    residency variant once; `done` (n_layers, 16) says which hold; `variants` (n_steps,) which a step used; `resident`
    (n_tensors,) and `usage` (n_steps,) see `resident_tensors`: scratch that holds the last design afterwards.
    """
    out = scratch.out
    for row in range(designs.shape[0]):
        design = designs[row]
        for network in range(totals.shape[1]):
            for column in range(N_RESULT):
                totals[row, network, column] = 0.0
        for index in range(layers.shape[0]):
            for variant in range(16):
                done[index, variant] = False
        resident_tensors(design, tensors, usage, resident)
        holder = design[BUFFER_W]
        alone = holder != design[BUFFER_I] and holder != design[BUFFER_O]
        capacity = design[CAPACITY_0 + int(holder)]
        for i in range(steps.shape[0]):
            step = steps[i]
            index, network = int(step[STEP_INDEX]), int(step[STEP_NETWORK])
            if step[STEP_IS_VECTOR]:
                vector_step(design, vectors[index], step, inputs, tensors, resident, out)
                variants[i] = 0
                for column in range(N_RESULT):
                    totals[row, network, column] += step[STEP_REPEATS] * out[column]
                continue
            weights_fit = weight_elements[network] * design[WEIGHT_BYTES] <= capacity
            weights_stay = design[RESIDENT_WEIGHTS] > 0 and alone and weights_fit
            variant = _variant(design, step, inputs, resident, layers[index, STATIC_WEIGHTS] > 0, weights_stay)
            variants[i] = variant
            if not done[index, variant]:
                map_layer(layers[index], design, options, sizes, mode, slack, variant, maps[index, variant],
                          results[index, variant], scratch)  # fmt: skip
                done[index, variant] = True
            for column in range(N_RESULT):
                totals[row, network, column] += step[STEP_REPEATS] * results[index, variant, column]
