"""The compiled cost model: one layer on one design under one mapping, and the exact search over mappings.

This is the only module with numba, and it imports nothing of the project: numba's cache does not notice an
edit of a constant or a callee in another module.  Everything arrives as float64 arrays whose columns are
named here.  `dse.formulas` says the same in plain Python and is the text to read first; the tests hold the
two and a brute-force loop-nest walker equal.

Loops are grouped by what they leave unchanged: ``P`` = B OY OX (irrelevant to weights), ``K`` (irrelevant
to inputs), ``R`` = C FY FX (irrelevant to outputs).  ``G`` is relevant to all operands and always outermost.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Only what Python calls is cached on disk: it contains everything it calls.
_inner = njit(nogil=True, error_model="numpy")
_entry = njit(cache=True, nogil=True, error_model="numpy")

# Loop dimensions, in the order of dse.layers.LOOPS.
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
 PJ_WRITE_O, PJ_DRAM, PJ_BUS, PJ_HOP, PJ_VECTOR, PJ_LEAK_CYCLE, PJ_MAC_DYNAMIC) = range(46)  # fmt: skip
N_DESIGN = 46
# Columns of a spatial-option row: up to four loops an axis (-1 = none), allowed stationary operands, flags.
OPT_ROWS, OPT_COLS, OPT_W, OPT_I, OPT_O, OPT_FLATTEN, OPT_FORWARDS = 0, 4, 8, 9, 10, 11, 12
N_OPTION = 13
# Columns of a mapping row: spatial factors, register tile, buffer tile of each loop; orders; choices.
MAP_S, MAP_R, MAP_T, MAP_LANES, MAP_DRAM_ORDER, MAP_STATIONARY, MAP_BYPASS, MAP_OPTION = 0, 8, 16, 24, 25, 26, 27, 28
N_MAP = 29
# Columns of a result row.
(CYCLES, ENERGY_PJ, IDEAL, SPATIAL_LOSS, VECTOR_STALL, BUFFER_STALL, DRAM_STALL, FILL_DRAIN, BOUND, OVERFLOW,
 DRAM_W, DRAM_I, DRAM_O_READ, DRAM_O_WRITE, DRAM_FUSED,
 BUFFER_W_READ, BUFFER_W_WRITE, BUFFER_I_READ, BUFFER_I_WRITE, BUFFER_O_READ, BUFFER_O_WRITE,
 ARRAY_W, ARRAY_I, ARRAY_O_READ, ARRAY_O_WRITE, REGISTER_W, REGISTER_I, REGISTER_O,
 PJ_TOTAL_MAC, PJ_TOTAL_REGISTER, PJ_TOTAL_INTERCONNECT, PJ_TOTAL_BUFFER, PJ_TOTAL_DRAM, PJ_TOTAL_VECTOR,
 PJ_TOTAL_LEAKAGE, FOLDS, ARRAY_CYCLES, PORT_0, PORT_1, PORT_2, DRAM_CYCLES, VECTOR_CYCLES, MACS, SKEW,
 BOUND_CYCLES, BOUND_PJ, LOAD) = range(47)  # fmt: skip
N_RESULT = 47
# Values of BOUND.
BOUND_COMPUTE, BOUND_BUFFER_0, BOUND_BUFFER_1, BOUND_BUFFER_2, BOUND_DRAM, BOUND_VECTOR, BOUND_FILL = range(7)
# Bits of a residency variant: operands that are on chip already / stay on chip afterwards.
IN_RESIDENT, OUT_RESIDENT, FUSED_RESIDENT, WEIGHTS_RESIDENT = 1, 2, 4, 8
# What the mapper minimises.
LATENCY_FIRST, ENERGY_WITHIN, EDP, LATENCY_ONLY = 0, 1, 2, 3

# Loop orders, outer to inner, of the groups P=0 K=1 R=2.  The first three are the ones that matter: only the
# innermost loop with more than one trip is reuse, so the order of the two outside it changes nothing.
ORDERS = np.array([[1, 2, 0], [0, 2, 1], [1, 0, 2], [2, 1, 0], [2, 0, 1], [0, 1, 2]], dtype=np.int64)
DEPTH = np.argsort(ORDERS, axis=1)[:, ::1].astype(np.int64)  # DEPTH[order, group]: 0 outermost .. 2 innermost

MAX_LEVELS = 32
MAX_REGISTER_TILES = 96


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
    """Distinct input positions of `outputs` x `taps` (see dse.layers.distinct_positions).

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
def _array_multiplicity(group, stationary, dram_order, n, y, total):
    """How often each word of the operand that `group` leaves unchanged crosses into the array.

    `n`, `y`: trips of each group over DRAM tiles and, at most, over array tiles of one DRAM tile; `total`:
    trips over array tiles of all DRAM tiles.  Only the stationary operand stays in the registers while others
    stream past; its group is innermost in the array, so it returns once a DRAM trip, or stays for good.
    """
    if group != stationary:
        return total[group]
    for h in range(4):  # G is relevant to all
        if h != group and y[h] > 1:
            return n[group]
    return _dram_multiplicity(group, dram_order, n)


@_inner
def _dram_multiplicity(group, order, n):
    """How often each word of the operand that `group` leaves unchanged crosses the DRAM link."""
    for h in range(3):
        if h != group and n[h] > 1 and DEPTH[order, h] > DEPTH[order, group]:
            return n[group]
    return 1.0


@_inner
def _trips(layer, option, mapping, n, y, total):
    """Trip counts of the groups P, K, R (and G at index 3); returns the array cycles."""
    for g in range(4):
        n[g] = 1.0
        y[g] = 1.0
        total[g] = 1.0
    cycles = 1.0
    flatten = option[OPT_FLATTEN] > 0
    for d in range(8):
        extent = layer[d]
        tile = mapping[MAP_T + d]
        count = _ceil_div(extent, tile)
        first = min(tile, extent)
        last = extent - (count - 1) * tile
        g = 0
        if d == K:
            g = 1
        elif d == C or d == FY or d == FX:
            g = 2
        elif d == G:
            g = 3
        n[g] *= count
        if flatten and d == C:
            first *= layer[FY] * layer[FX]
            last *= layer[FY] * layer[FX]
        elif flatten and (d == FY or d == FX):
            continue
        piece = mapping[MAP_S + d] * mapping[MAP_R + d]
        inner = _ceil_div(first, piece)
        y[g] *= inner
        total[g] *= (count - 1) * inner + _ceil_div(last, piece)
        s = mapping[MAP_S + d]
        cycles *= (count - 1) * _ceil_div(first, s) + _ceil_div(last, s)
    return cycles


@_inner
def axis_of(layer, axis):
    """Geometry of one axis (0 = y, 1 = x): stride, dilation, pad, size, meeting steps."""
    return (layer[STRIDE_Y + axis], layer[DILATION_Y + axis], layer[PAD_Y + axis], layer[IY + axis],
            layer[MEET_O_Y + axis], layer[MEET_F_Y + axis])  # fmt: skip


@_inner
def array_axis_sum(layer, option, mapping, axis):
    """Input positions that the array reads along one axis (0 = y, 1 = x), all pieces [elements]."""
    o = OY + axis
    f = FY + axis
    if option[OPT_FLATTEN]:
        return axis_sum(layer[o], 1.0, 1.0, layer[f], 1.0, 1.0, axis_of(layer, axis))
    tile = min(mapping[MAP_T + o], layer[o])
    tap_tile = min(mapping[MAP_T + f], layer[f])
    piece = min(mapping[MAP_S + o] * mapping[MAP_R + o], tile)
    tap_piece = min(mapping[MAP_S + f] * mapping[MAP_R + f], tap_tile)
    if option[OPT_FORWARDS] and axis == 1:
        if mapping[MAP_STATIONARY] == 0:
            piece = tile
        elif mapping[MAP_STATIONARY] == 2:
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
    w_held = w if reduction and k == layer[K] else w * (1.0 + design[DOUBLE_W])
    i_held = i if reduction and pixels else i * (1.0 + design[DOUBLE_I])
    o_held = o if g == layer[G] and pixels and k == layer[K] else o * (1.0 + design[DOUBLE_O])
    if variant & WEIGHTS_RESIDENT or bypass & 1:
        w_held = 0.0
    if variant & IN_RESIDENT or bypass & 2:
        i_held = 0.0
    if bypass & 4:
        o_held = 0.0
    return w, i, o, w_held, i_held, o_held


@_inner
def tile_bytes(layer, design, mapping, variant, out):
    """Bytes of one tile of W, I, O (`out[0:3]`) and what each occupies in its buffer (`out[3:6]`)."""
    oy = min(mapping[MAP_T + OY], layer[OY])
    ox = min(mapping[MAP_T + OX], layer[OX])
    fy = min(mapping[MAP_T + FY], layer[FY])
    fx = min(mapping[MAP_T + FX], layer[FX])
    held = _held(layer, design, variant, int(mapping[MAP_BYPASS]), min(mapping[MAP_T + G], layer[G]),
                 min(mapping[MAP_T + K], layer[K]), min(mapping[MAP_T + C], layer[C]),
                 min(mapping[MAP_T + B], layer[B]), oy, ox, fy, fx,
                 min(_extent(oy, fy, layer[MEET_O_Y], layer[MEET_F_Y]), layer[TOUCHED_Y]),
                 min(_extent(ox, fx, layer[MEET_O_X], layer[MEET_F_X]), layer[TOUCHED_X]))  # fmt: skip
    for i in range(6):
        out[i] = held[i]


@_inner
def tile_capacity(design, b):
    """Bytes of buffer `b` that tiles may use: its capacity less the store of resident activations."""
    return design[CAPACITY_0 + b] - (design[STORE_BYTES] if design[BUFFER_I] == b else 0.0)


@_inner
def buffer_overflow(design, held):
    """Worst bytes over / capacity of the buffers for the tiles `held[3:6]`; <= 0 fits."""
    worst = -1.0
    for b in range(3):
        if design[CAPACITY_0 + b] <= 0:
            continue
        need = 0.0
        for x in range(3):
            if design[BUFFER_W + x] == b:
                need += held[3 + x]
        capacity = tile_capacity(design, b)
        worst = max(worst, (need - capacity) / capacity)
    return worst


@_inner
def _ends(layer, design, mapping, variant, held, with_drain):
    """Bytes that cannot overlap: the first tiles in and, with `with_drain`, the last tile out."""
    bypass = int(mapping[MAP_BYPASS])
    ends = 0.0
    if design[DOUBLE_W] > 0 and not bypass & 1 and not variant & WEIGHTS_RESIDENT:
        ends += held[0]
    if design[DOUBLE_I] > 0 and not bypass & 2 and not variant & IN_RESIDENT:
        ends += held[1]
    if with_drain and design[DOUBLE_O] > 0 and not bypass & 4 and not variant & OUT_RESIDENT:
        drain = design[ACTIVATION_BYTES]
        for d in (B, G, K, OY, OX):
            drain *= layer[d] - (_ceil_div(layer[d], mapping[MAP_T + d]) - 1) * mapping[MAP_T + d]
        ends += drain
    return ends


@_inner
def mapping_cost(layer, design, option, mapping, variant, dram_y, dram_x, array_y, array_x, held, work, out):
    """Cost of one mapping into `out` (N_RESULT,); legality is not checked.  See dse.formulas for each line.

    `dram_y, dram_x, array_y, array_x`: the axis sums; `held`: from `tile_bytes`; `work`: (4, 4) scratch.
    """
    n, y, total = work[0], work[1], work[2]
    cycles = _trips(layer, option, mapping, n, y, total)
    ends = _ends(layer, design, mapping, variant, held, True)
    _cost(layer, design, option, mapping, variant, cycles, dram_y * dram_x, array_y * array_x, ends, n, y, total, np.inf,
          out)  # fmt: skip


@_inner
def _cost(layer, design, option, mapping, variant, cycles, dram_pixels, array_pixels, ends, n, y, total, bar, out):
    """`mapping_cost` once the trip counts are known; `ends`: bytes that cannot overlap.

    Leaves the energy out when the cycles exceed `bar`.
    """
    dram_order, stationary = int(mapping[MAP_DRAM_ORDER]), int(mapping[MAP_STATIONARY])
    bypass = int(mapping[MAP_BYPASS])
    word, acc = design[ACTIVATION_BYTES], design[ACCUMULATOR_BYTES]
    weights = layer[G] * layer[K] * layer[C] * layer[FY] * layer[FX]
    weights *= design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else word
    planes = layer[B] * layer[G] * layer[C] * word
    outputs = layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX]
    times_w = _array_multiplicity(0, stationary, dram_order, n, y, total)
    times_i = _array_multiplicity(1, stationary, dram_order, n, y, total)
    visits = _array_multiplicity(2, stationary, dram_order, n, y, total)
    out[ARRAY_W] = weights * times_w
    out[ARRAY_I] = planes * array_pixels * times_i
    out[ARRAY_O_READ] = outputs * (visits - 1) * acc
    out[ARRAY_O_WRITE] = out[ARRAY_O_READ] + outputs * word
    out[DRAM_W] = weights * _dram_multiplicity(0, dram_order, n)
    out[DRAM_I] = planes * dram_pixels * _dram_multiplicity(1, dram_order, n)
    out[DRAM_O_READ] = outputs * (_dram_multiplicity(2, dram_order, n) - 1) * acc
    out[DRAM_O_WRITE] = out[DRAM_O_READ] + outputs * word
    out[DRAM_FUSED] = 0.0 if variant & FUSED_RESIDENT else layer[FUSED_INPUT] * word
    _buffer_traffic(layer, design, variant, bypass, out)
    times = times_w if stationary == 0 else (times_i if stationary == 1 else visits)
    out[FOLDS] = total[0] * total[1] * total[2] * total[3] / total[stationary] * times
    edge = design[COLS] * (1.0 if stationary == 2 else design[LANES])  # stationary words that enter in a cycle
    if stationary == 0:
        out[LOAD] = layer[G] * layer[K] * layer[C] * layer[FY] * layer[FX] * times_w / edge
    elif stationary == 1:
        out[LOAD] = layer[B] * layer[G] * layer[C] * array_pixels * times_i / edge
    else:
        out[LOAD] = outputs * visits / edge
    _latency(layer, design, cycles, variant, ends, out)
    if out[CYCLES] <= bar:
        _energy(layer, design, mapping, option, out)


@_inner
def _buffer_traffic(layer, design, variant, bypass, out):
    """Buffer reads and writes [bytes] from the array and DRAM traffic; bypassed operands go straight through."""
    word = design[ACTIVATION_BYTES]
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
    if variant & OUT_RESIDENT:  # the finished outputs go to the store in the input buffer
        final = layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX] * word
        out[DRAM_O_WRITE] -= final
        out[BUFFER_I_WRITE] += final
    if variant & FUSED_RESIDENT:
        out[BUFFER_I_READ] += layer[FUSED_INPUT] * word


@_inner
def _skew(design, cycles, folds, load):
    """Cycles that a systolic array spends on skewed fill and drain of its folds.

    `load`: cycles that the stationary words need at the edge of the array at least; a fold takes `rows` at least.
    """
    if design[SYSTOLIC] == 0:
        return 0.0
    load = max(load, folds * design[ROWS])
    wave = design[ROWS] + design[COLS] - 2
    if design[OVERLAP]:
        return max(cycles, load) - cycles + design[ROWS] + wave
    return load + folds * wave


@_inner
def _latency(layer, design, cycles, variant, ends, out):
    """Cycles, their waterfall and the bound, from traffic and array cycles."""
    bandwidth = design[DRAM_BYTES_PER_CYCLE]
    macs = 1.0
    for d in range(8):
        macs *= layer[d]
    out[MACS] = macs
    out[ARRAY_CYCLES] = cycles
    ideal = macs / (design[ROWS] * design[COLS] * design[LANES])
    skew = _skew(design, cycles, out[FOLDS], out[LOAD])
    out[SKEW] = skew
    for b in range(3):
        out[PORT_0 + b] = 0.0
    for x in range(3):
        moved = out[BUFFER_W_READ + 2 * x] + out[BUFFER_W_WRITE + 2 * x]
        b = int(design[BUFFER_W + x])
        out[PORT_0 + b] += moved / design[WIDTH_0 + b]
    port = max(out[PORT_0], out[PORT_1], out[PORT_2])
    vector = layer[VECTOR_OPERATIONS] / design[VECTOR_LANES]
    out[VECTOR_CYCLES] = vector
    # Transfers of operands that are not double-buffered do not overlap anything.
    serial = (0.0 if design[DOUBLE_W] > 0 else out[DRAM_W]) + (0.0 if design[DOUBLE_I] > 0 else out[DRAM_I])
    serial += 0.0 if design[DOUBLE_O] > 0 else out[DRAM_O_READ] + out[DRAM_O_WRITE]
    moved = out[DRAM_W] + out[DRAM_I] + out[DRAM_O_READ] + out[DRAM_O_WRITE] + out[DRAM_FUSED]
    out[DRAM_CYCLES] = moved / bandwidth
    ends /= bandwidth
    streaming = (moved - serial) / bandwidth - ends
    compute = cycles + skew
    with_vector = max(compute, vector)
    with_buffers = max(with_vector, port)
    steady = max(with_buffers, streaming)
    out[CYCLES] = steady + ends + serial / bandwidth
    out[IDEAL] = ideal
    out[SPATIAL_LOSS] = cycles - ideal
    out[VECTOR_STALL] = with_vector - compute
    out[BUFFER_STALL] = with_buffers - with_vector
    out[DRAM_STALL] = steady - with_buffers + serial / bandwidth
    out[FILL_DRAIN] = skew + ends
    bound = BOUND_COMPUTE
    if ends + skew > max(cycles, vector, port, streaming, serial / bandwidth):
        bound = BOUND_FILL
    elif streaming > with_buffers or serial / bandwidth > steady:
        bound = BOUND_DRAM
    elif port > with_vector:
        bound = BOUND_BUFFER_0
        for b in range(1, 3):
            if out[PORT_0 + b] > out[PORT_0 + bound - BOUND_BUFFER_0]:
                bound = BOUND_BUFFER_0 + b
    elif vector > compute:
        bound = BOUND_VECTOR
    out[BOUND] = bound
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
        moved += layer[B] * layer[G] * layer[C] * layer[TOUCHED_Y] * layer[TOUCHED_X] * word
    if not variant & OUT_RESIDENT:
        moved += layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX] * word
    out[BOUND_CYCLES] = max(ideal, moved / design[DRAM_BYTES_PER_CYCLE])
    mac_pj = design[PJ_MAC] if layer[STATIC_WEIGHTS] else design[PJ_MAC_DYNAMIC]
    out[BOUND_PJ] = out[MACS] * mac_pj + moved * design[PJ_DRAM]


@_inner
def _energy(layer, design, mapping, option, out):
    """Energy by level [pJ] from accesses [bytes]."""
    s = MAP_S
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
    out[REGISTER_W] = out[MACS] * w_word + out[ARRAY_W] * pixels
    out[REGISTER_I] = out[MACS] * design[ACTIVATION_BYTES] + out[ARRAY_I] * reach_i
    out[REGISTER_O] = 2 * out[MACS] / mapping[MAP_LANES] * design[ACCUMULATOR_BYTES] + out[ARRAY_O_READ]
    out[PJ_TOTAL_MAC] = out[MACS] * (design[PJ_MAC] if layer[STATIC_WEIGHTS] else design[PJ_MAC_DYNAMIC])
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
    moved = out[DRAM_W] + out[DRAM_I] + out[DRAM_O_READ] + out[DRAM_O_WRITE] + out[DRAM_FUSED]
    out[PJ_TOTAL_DRAM] = moved * design[PJ_DRAM]
    out[PJ_TOTAL_VECTOR] = layer[VECTOR_OPERATIONS] * design[PJ_VECTOR]
    out[PJ_TOTAL_LEAKAGE] = out[CYCLES] * design[PJ_LEAK_CYCLE]
    energy = 0.0
    for column in range(PJ_TOTAL_MAC, PJ_TOTAL_LEAKAGE + 1):
        energy += out[column]
    out[ENERGY_PJ] = energy


@_entry
def evaluate_mapping(layer, design, option, mapping, variant, out):
    """Cost of one given mapping, legality included: `out[OVERFLOW]` > 0 when a buffer or register overflows."""
    held = np.empty(6)
    work = np.empty((4, 4))
    tile_bytes(layer, design, mapping, variant, held)
    mapping_cost(layer, design, option, mapping, variant, dram_axis_sum(layer, mapping, 0),
                 dram_axis_sum(layer, mapping, 1), array_axis_sum(layer, option, mapping, 0),
                 array_axis_sum(layer, option, mapping, 1), held, work, out)  # fmt: skip
    over = max(buffer_overflow(design, held), register_overflow(layer, design, option, mapping))
    out[OVERFLOW] = max(0.0, over)


@_inner
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
def register_tiles(layer, design, option, mapping, tiles):
    """All register tiles that fit and that no fitting one exceeds in one loop; returns how many.

    A larger register tile never moves more over the array's wires (pieces merge), so only these matter.
    `tiles` (MAX_REGISTER_TILES, >= 8); `mapping` gives the spatial factors and the array order.
    """
    k_levels = np.empty(MAX_LEVELS)
    c_levels = np.empty(MAX_LEVELS)
    p_levels = np.empty(2 * MAX_LEVELS)
    s = MAP_S
    flatten = option[OPT_FLATTEN] > 0
    reduction = layer[C] * layer[FY] * layer[FX] if flatten else layer[C]
    n_k = _doubling(_ceil_div(layer[K], mapping[s + K]), k_levels)
    n_c = _doubling(_ceil_div(reduction, mapping[s + C]), c_levels)
    columns = _ceil_div(layer[OX], mapping[s + OX])
    n_x = _doubling(columns, p_levels)
    n_y = _doubling(_ceil_div(layer[OY], mapping[s + OY]), p_levels[n_x:])  # its first level, 1, repeats the last of x
    all_fx = 1.0 if flatten else _ceil_div(layer[FX], mapping[s + FX])
    all_fy = 1.0 if flatten else _ceil_div(layer[FY], mapping[s + FY])
    for d in range(8):
        mapping[MAP_R + d] = 1.0
    count = 0
    for f in range(3):
        fy = all_fy if f == 2 else 1.0
        fx = all_fx if f >= 1 else 1.0
        if (f == 1 and all_fx == 1.0) or (f == 2 and all_fy == 1.0):
            continue
        for i_c in range(n_c):
            for i_k in range(n_k):
                best = -1
                for i_p in range(n_x + n_y):
                    _set_register_tile(mapping, k_levels[i_k], c_levels[i_c], fy, fx, i_p, n_x, p_levels, columns)
                    if register_overflow(layer, design, option, mapping) > 0:
                        break
                    best = i_p
                if best < 0:
                    break
                if count < MAX_REGISTER_TILES and _is_largest(layer, design, option, mapping, k_levels, c_levels, i_k,
                        i_c, n_k, n_c, f, all_fy, all_fx, best, n_x, p_levels, columns):  # fmt: skip
                    _set_register_tile(mapping, k_levels[i_k], c_levels[i_c], fy, fx, best, n_x, p_levels, columns)
                    tiles[count, :8] = mapping[MAP_R : MAP_R + 8]
                    count += 1
    if count == 0:  # nothing fits: one word of each, reported as overflow
        tiles[0, :8] = 1.0
        count = 1
    return count


@_inner
def _set_register_tile(mapping, k, c, fy, fx, i_p, n_x, p_levels, columns):
    """Register tile with pixels in row order: part of a row, or whole rows."""
    r = MAP_R
    mapping[r + K] = k
    mapping[r + C] = c
    mapping[r + FY] = fy
    mapping[r + FX] = fx
    mapping[r + OX] = p_levels[i_p] if i_p < n_x else columns
    mapping[r + OY] = 1.0 if i_p < n_x else p_levels[i_p]


@_inner
def _is_largest(layer, design, option, mapping, k_levels, c_levels, i_k, i_c, n_k, n_c, f, all_fy, all_fx, i_p, n_x,
                p_levels, columns):  # fmt: skip
    """No single loop of the register tile can grow by a level."""
    fy = all_fy if f == 2 else 1.0
    fx = all_fx if f >= 1 else 1.0
    if i_k + 1 < n_k:
        _set_register_tile(mapping, k_levels[i_k + 1], c_levels[i_c], fy, fx, i_p, n_x, p_levels, columns)
        if register_overflow(layer, design, option, mapping) <= 0:
            return False
    if i_c + 1 < n_c:
        _set_register_tile(mapping, k_levels[i_k], c_levels[i_c + 1], fy, fx, i_p, n_x, p_levels, columns)
        if register_overflow(layer, design, option, mapping) <= 0:
            return False
    if fx < all_fx or fy < all_fy:
        if fx < all_fx:
            fx = all_fx
        else:
            fy = all_fy
        _set_register_tile(mapping, k_levels[i_k], c_levels[i_c], fy, fx, i_p, n_x, p_levels, columns)
        if register_overflow(layer, design, option, mapping) <= 0:
            return False
    return True


@_inner
def _better(mode, limit, cycles, energy, best_cycles, best_energy):
    """Whether (cycles, energy) beats the best so far under the mapper's objective."""
    if mode == LATENCY_ONLY:
        return cycles < best_cycles
    if mode == LATENCY_FIRST:
        return cycles < best_cycles or (cycles == best_cycles and energy < best_energy)
    if mode == ENERGY_WITHIN:
        if cycles > limit:
            return False
        return energy < best_energy or (energy == best_energy and cycles < best_cycles)
    return energy * cycles < best_energy * best_cycles


@_inner
def _hopeless(mode, limit, best, cycles_bound, energy_bound):
    """No mapping with these lower bounds can become the best."""
    if mode == LATENCY_ONLY:
        return cycles_bound >= best[0]
    if mode == LATENCY_FIRST:
        return cycles_bound > best[0] or (cycles_bound == best[0] and energy_bound > best[1])
    if mode == ENERGY_WITHIN:
        return cycles_bound > limit or energy_bound > best[1]
    return cycles_bound * energy_bound > best[0] * best[1]


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


@_inner
def _slower(a, b):
    """Whether schedule bounds `a` are worse than `b`: cycles, then energy."""
    cycles_a = max(max(a[0], a[2]), max(a[3], a[4]))
    cycles_b = max(max(b[0], b[2]), max(b[3], b[4]))
    return cycles_a > cycles_b or (cycles_a == cycles_b and a[1] > b[1])


@_inner
def _schedule_bounds(layer, design, option, mapping, variant, bypass, tiles, floors, held, work, trial):
    """Lower bounds of every (stationary operand, register tile) over all buffer tiles; returns how many.

    One buffer tile that holds the whole layer moves the least over every wire and port, so its cost without
    DRAM bounds all others.  `tiles` (n, 9): the register tile and the stationary operand; `floors` (n, 11): cycles
    of array and vector unit; energy without DRAM and leakage [pJ]; cycles of the three ports; folds; array cycles;
    bytes of W, I and partial O over the array's wires; cycles of loading the stationary operand.
    """
    for d in range(8):
        mapping[MAP_T + d] = _ceil_div(layer[d], mapping[MAP_S + d]) * mapping[MAP_S + d]
    mapping[MAP_DRAM_ORDER] = 0
    mapping[MAP_BYPASS] = bypass
    tile_bytes(layer, design, mapping, variant, held)
    count = 0
    for a in range(3):
        if not option[OPT_W + a]:
            continue
        mapping[MAP_STATIONARY] = a
        found = register_tiles(layer, design, option, mapping, tiles[count:])
        for i in range(count, count + found):
            tiles[i, 8] = a
            mapping[MAP_R : MAP_R + 8] = tiles[i, :8]
            mapping_cost(layer, design, option, mapping, variant, layer[TOUCHED_Y], layer[TOUCHED_X],
                         array_axis_sum(layer, option, mapping, 0), array_axis_sum(layer, option, mapping, 1),
                         held, work, trial)  # fmt: skip
            floors[i, 0] = max(trial[ARRAY_CYCLES] + trial[SKEW], trial[VECTOR_CYCLES]) * (1.0 - 1e-12)
            floors[i, 5] = trial[FOLDS]
            floors[i, 6] = trial[ARRAY_CYCLES]
            floors[i, 10] = trial[LOAD] * (1.0 - 1e-12)
            floors[i, 7] = trial[ARRAY_W]
            floors[i, 8] = trial[ARRAY_I]
            floors[i, 9] = 2 * trial[ARRAY_O_READ]
            for b in range(3):
                floors[i, 2 + b] = trial[PORT_0 + b] * (1.0 - 1e-12)
            energy = trial[ENERGY_PJ] - trial[PJ_TOTAL_DRAM] - trial[PJ_TOTAL_LEAKAGE]
            floors[i, 1] = energy * (1.0 - 1e-9)
        count += found
    for i in range(1, count):  # the fastest first
        j = i
        while j > 0 and _slower(floors[j - 1], floors[j]):
            for column in range(11):
                floors[j, column], floors[j - 1, column] = floors[j - 1, column], floors[j, column]
            for column in range(9):
                tiles[j, column], tiles[j - 1, column] = tiles[j - 1, column], tiles[j, column]
            j -= 1
    return count


@_inner
def search_option(layer, design, option, sizes, mode, limit, slack, variant, mapping, best_map, best):
    """Search one spatial option: all buffer tiles x DRAM orders x stationary operands x register tiles x bypasses.

    Skips only what a lower bound proves no better than the best so far.  `best` = (cycles, energy) so far.  With
    `slack` >= 0 it first finds the least cycles, then the least energy within that share above them.
    """
    work = np.empty((4, 4))
    trial = np.empty(N_RESULT)
    held = np.empty(6)
    levels = np.empty((8, MAX_LEVELS))
    counts = np.empty(8, dtype=np.int64)
    counts[:] = 1
    taps = np.empty((3, 2))
    tiles = np.empty((3 * MAX_REGISTER_TILES, 9))
    floors = np.empty((3 * MAX_REGISTER_TILES, 11))
    facts = np.empty(45)
    n_taps = _tile_levels(layer, option, sizes, mapping, levels, counts, taps)
    axes = np.empty((n_taps, 4, MAX_LEVELS))
    for f in range(n_taps):
        mapping[MAP_T + FY], mapping[MAP_T + FX] = taps[f, 0], taps[f, 1]
        for axis in range(2):
            for i in range(counts[OY + axis]):
                mapping[MAP_T + OY + axis] = levels[OY + axis, i] * mapping[MAP_S + OY + axis]
                axes[f, 2 * axis, i] = dram_axis_sum(layer, mapping, axis)
                tile = min(mapping[MAP_T + OY + axis], layer[OY + axis])
                rows = _extent(tile, min(taps[f, axis], layer[FY + axis]), layer[MEET_O_Y + axis], layer[MEET_F_Y + axis])
                axes[f, 2 * axis + 1, i] = min(rows, layer[TOUCHED_Y + axis])
    allowed = int(design[BYPASS])
    for bypass in range(8):
        if bypass & ~allowed:
            continue
        count = _schedule_bounds(layer, design, option, mapping, variant, bypass, tiles, floors, held, work, trial)
        most = 1
        for d in range(8):
            most = max(most, counts[d])
        tables = np.empty((count, n_taps, 7, most, 2))
        tables[:] = -1.0
        mapping[MAP_T + G] = mapping[MAP_S + G]
        _facts(layer, design, mapping, variant, tiles[:count], floors[:count], facts)
        for phase in range(0 if slack >= 0 else 1, 2):
            aim = mode if phase else LATENCY_ONLY
            if slack >= 0 and phase:
                limit = best[0] * (1.0 + slack)
            least = np.inf
            for thorough in range(1 if limit < np.inf else 0, 2):  # a limit comes with a best to start from
                for f in range(n_taps if thorough else 1):
                    least = _search_tiles(layer, design, option, aim, limit, variant, thorough, least, mapping, levels,
                                          counts, taps[f], axes[f], tables[:, f], tiles[:count], floors[:count], facts,
                                          work, trial, best_map, best)  # fmt: skip


@_inner
def _tile_levels(layer, option, sizes, mapping, levels, counts, taps):
    """Candidate buffer tiles: `levels[d]` in steps for B K C OY OX, `taps` (rows, columns) of the filter."""
    flatten = option[OPT_FLATTEN] > 0
    for d in (B, K, C, OY, OX):
        s = 1.0 if flatten and d == C else mapping[MAP_S + d]
        counts[d] = _levels(_ceil_div(layer[d], s), sizes, levels[d])
    n_taps = 1
    taps[0, 0], taps[0, 1] = layer[FY], layer[FX]
    if not flatten:
        if mapping[MAP_S + FY] < layer[FY]:
            taps[n_taps, 0], taps[n_taps, 1] = mapping[MAP_S + FY], layer[FX]
            n_taps += 1
        if mapping[MAP_S + FX] < layer[FX]:
            taps[n_taps, 0], taps[n_taps, 1] = min(mapping[MAP_S + FY], layer[FY]), mapping[MAP_S + FX]
            n_taps += 1
    return n_taps


@_inner
def _dram_multiplicities(order, p, k, r):
    """`_dram_multiplicity` of W, I, O for the three orders that matter and trips `p`, `k`, `r`."""
    if order == 0:  # K R P
        return 1.0, k if r > 1 or p > 1 else 1.0, r if p > 1 else 1.0
    if order == 1:  # P R K
        return p if r > 1 or k > 1 else 1.0, 1.0, r if k > 1 else 1.0
    return p if r > 1 else 1.0, k if p > 1 or r > 1 else 1.0, 1.0  # K P R


# Columns of the facts about one layer, design, option and bypass that the nest over tiles needs again and again.
(X_FIXED, X_WEIGHTS, X_PLANES, X_SPILL, X_INPUTS, X_LEAD_W, X_LEAD_I, X_TAIL, X_OUT_PIXELS, X_WORD_W, X_WORD_I, X_WORD_O,
 X_TWICE_W, X_TWICE_I, X_TWICE_O, X_ROOM_0, X_ROOM_1, X_ROOM_2, X_PER_W, X_PER_I, X_PER_O, X_IN_W, X_IN_I, X_IN_O,
 X_ENERGY, X_FLOOR_0, X_FLOOR_1, X_FLOOR_2, X_PJ_W, X_PJ_I, X_PJ_O, X_AGAIN_W, X_AGAIN_I, X_AGAIN_O,
 X_BANDWIDTH, X_PJ_DRAM, X_LEAK, X_PIXELS, X_G, X_STEADY, X_FLOW_W, X_FLOW_I, X_FLOW_O, X_PJ_READ_W,
 X_PJ_READ_I) = range(45)  # fmt: skip
ROOM = 1.0 - 1e-12  # bounds are sums in another order than costs: leave room for rounding


@_inner
def _facts(layer, design, mapping, variant, tiles, floors, x):
    """Fill the facts `x` (45,) for one bypass; `floors` (n, 10) from `_schedule_bounds`."""
    bypass = int(mapping[MAP_BYPASS])
    word, acc = design[ACTIVATION_BYTES], design[ACCUMULATOR_BYTES]
    w_word = design[WEIGHT_BYTES] if layer[STATIC_WEIGHTS] else word
    keep_w = bypass & 1 == 0 and variant & WEIGHTS_RESIDENT == 0
    keep_i = bypass & 2 == 0 and variant & IN_RESIDENT == 0
    keep_o = bypass & 4 == 0
    g = min(mapping[MAP_T + G], layer[G])
    outputs = layer[B] * layer[G] * layer[K] * layer[OY] * layer[OX]
    weights = layer[G] * layer[K] * layer[C] * layer[FY] * layer[FX] * w_word
    planes = layer[B] * layer[G] * layer[C] * word
    touched = layer[TOUCHED_Y] * layer[TOUCHED_X]
    x[X_FIXED] = 0.0 if variant & FUSED_RESIDENT else layer[FUSED_INPUT] * word
    x[X_FIXED] += 0.0 if variant & OUT_RESIDENT else outputs * word
    x[X_FIXED] += weights if bypass & 1 and not variant & WEIGHTS_RESIDENT else 0.0
    x[X_FIXED] += planes * touched if bypass & 2 and not variant & IN_RESIDENT else 0.0
    x[X_WEIGHTS] = weights if keep_w else 0.0
    x[X_PLANES] = planes if keep_i else 0.0
    x[X_INPUTS] = x[X_PLANES] * touched
    x[X_SPILL] = 2 * outputs * acc if keep_o else 0.0
    x[X_AGAIN_W], x[X_AGAIN_I], x[X_AGAIN_O] = weights, planes, 2 * outputs * acc
    x[X_WORD_W], x[X_WORD_I], x[X_WORD_O] = g * w_word, g * word, g * acc
    x[X_LEAD_W] = 1.0 if keep_w and design[DOUBLE_W] > 0 else 0.0
    x[X_LEAD_I] = 1.0 if keep_i and design[DOUBLE_I] > 0 else 0.0
    x[X_TAIL] = word if keep_o and design[DOUBLE_O] > 0 and variant & OUT_RESIDENT == 0 else 0.0
    x[X_TAIL] *= layer[G] - (_ceil_div(layer[G], mapping[MAP_T + G]) - 1) * mapping[MAP_T + G]
    x[X_G] = 1.0 if g == layer[G] else 0.0
    for i in range(3):
        b = int(design[BUFFER_W + i])
        held = keep_w if i == 0 else (keep_i if i == 1 else keep_o)
        x[X_TWICE_W + i] = (1.0 + design[DOUBLE_W + i]) if held else 0.0
        x[X_IN_W + i] = b
        skips = bypass & (1 << i) and not (i == 0 and variant & WEIGHTS_RESIDENT) and not (i == 1 and variant & IN_RESIDENT)
        x[X_PER_W + i] = 0.0 if skips else 1.0 / design[WIDTH_0 + b]
        x[X_ROOM_0 + i] = tile_capacity(design, i)
        x[X_FLOOR_0 + i] = np.inf
    x[X_ENERGY] = np.inf
    x[X_STEADY] = np.inf
    for j in range(floors.shape[0]):
        x[X_ENERGY] = min(x[X_ENERGY], floors[j, 1])
        for b in range(3):
            x[X_FLOOR_0 + b] = min(x[X_FLOOR_0 + b], floors[j, 2 + b])
        x[X_STEADY] = min(x[X_STEADY], max(max(floors[j, 0], floors[j, 2]), max(floors[j, 3], floors[j, 4])))
    x[X_FLOW_W], x[X_FLOW_I], x[X_FLOW_O] = weights, planes * touched, 2 * outputs * acc
    for j in range(tiles.shape[0]):  # an operand that no schedule keeps streams once a DRAM trip at least
        x[X_FLOW_W + int(tiles[j, 8])] = 0.0
    x[X_PJ_READ_W], x[X_PJ_READ_I] = design[PJ_READ_W], design[PJ_READ_I]
    x[X_PJ_W], x[X_PJ_I] = design[PJ_WRITE_W], design[PJ_WRITE_I]
    x[X_PJ_O] = (design[PJ_READ_O] + design[PJ_WRITE_O]) / 2
    x[X_BANDWIDTH], x[X_PJ_DRAM], x[X_LEAK] = design[DRAM_BYTES_PER_CYCLE], design[PJ_DRAM], design[PJ_LEAK_CYCLE]
    x[X_OUT_PIXELS] = layer[B] * layer[OY] * layer[OX]
    x[X_PIXELS] = x[X_ROOM_0 + int(design[BUFFER_O])] / x[X_WORD_O] if keep_o else np.inf


@_inner
def _ports(x, f0, f1, f2, w, i, o):
    """Cycles of the busiest port, at least, with `w`, `i`, `o` bytes above what the floors hold."""
    w *= x[X_PER_W]
    i *= x[X_PER_I]
    o *= x[X_PER_O]
    p0 = f0 + (w if x[X_IN_W] == 0 else 0.0) + (i if x[X_IN_I] == 0 else 0.0) + (o if x[X_IN_O] == 0 else 0.0)
    p1 = f1 + (w if x[X_IN_W] == 1 else 0.0) + (i if x[X_IN_I] == 1 else 0.0) + (o if x[X_IN_O] == 1 else 0.0)
    p2 = f2 + (w if x[X_IN_W] == 2 else 0.0) + (i if x[X_IN_I] == 2 else 0.0) + (o if x[X_IN_O] == 2 else 0.0)
    return max(p0, max(p1, p2))


@_inner
def _flows(x, n_p, n_k, n_r):
    """Cycles of the busiest port, at least, with what only streams: once for every DRAM trip it does not depend on."""
    w = x[X_FLOW_W] * n_p * x[X_PER_W]
    i = x[X_FLOW_I] * n_k * x[X_PER_I]
    o = x[X_FLOW_O] * (n_r - 1) * x[X_PER_O]
    return max(w, max(i, o))


@_inner
def _rank(mode, cycles, energy):
    """What the mapper minimises first."""
    if mode == LATENCY_FIRST or mode == LATENCY_ONLY:
        return cycles
    return energy if mode == ENERGY_WITHIN else energy * cycles


@_inner
def _beyond(mode, limit, best, cap, x, pixels, n_p, n_k, n_r, ends):
    """No tiling with at least these trips, pixels fetched a plane and end bytes can become the best."""
    moved = np.inf
    for order in range(3):
        m_w, m_i, m_o = _dram_multiplicities(order, n_p, n_k, n_r)
        moved = min(moved, x[X_FIXED] + x[X_WEIGHTS] * m_w + x[X_PLANES] * pixels * m_i + x[X_SPILL] * (m_o - 1))
    steady = max(x[X_STEADY], _flows(x, n_p, n_k, n_r))
    cycles = max(steady + ends / x[X_BANDWIDTH], moved / x[X_BANDWIDTH]) * ROOM
    energy = x[X_ENERGY] + (moved * x[X_PJ_DRAM] + cycles * x[X_LEAK]) * ROOM
    return _hopeless(mode, limit, best, cycles, energy) or _rank(mode, cycles, energy) > cap


@_inner
def _search_tiles(layer, design, option, mode, limit, variant, thorough, least, mapping, levels, counts, taps, axes,
                  tables, tiles, floors, x, work, trial, best_map, best):  # fmt: skip
    """The nest over buffer tiles (C, K, B, OX, OY) and DRAM orders for one filter tile.

    A first pass (`thorough` = 0) over every other size costs only the tiles whose bound is the least so far, to
    have a good best; the second costs all that its bound leaves hope for.  Returns the least bound.
    """
    t = MAP_T
    fy, fx = min(taps[0], layer[FY]), min(taps[1], layer[FX])
    mapping[t + FY], mapping[t + FX] = taps[0], taps[1]
    filters = _ceil_div(layer[FY], taps[0]) * _ceil_div(layer[FX], taps[1])
    whole_f = filters == 1.0 and x[X_G] > 0
    c_step = 1.0 if option[OPT_FLATTEN] else mapping[MAP_S + C]
    quick = mode == LATENCY_FIRST or mode == LATENCY_ONLY
    no_halo = layer[FY] == 1 and layer[FX] == 1
    stride = 1 if thorough else 2
    for i_c in range(0, counts[C], stride):
        mapping[t + C] = levels[C, i_c] * c_step
        c = min(mapping[t + C], layer[C])
        n_r = _ceil_div(layer[C], mapping[t + C]) * filters
        for i_k in range(0, counts[K], stride):
            mapping[t + K] = levels[K, i_k] * mapping[MAP_S + K]
            k = min(mapping[t + K], layer[K])
            n_k = _ceil_div(layer[K], mapping[t + K])
            last_k = x[X_TAIL] * (layer[K] - (n_k - 1) * mapping[t + K])
            w = x[X_WORD_W] * k * c * fy * fx
            w_held = w * (x[X_TWICE_W] if n_r * n_k > 1 or not whole_f else min(x[X_TWICE_W], 1.0))
            first_w = x[X_LEAD_W] * w
            if w_held > x[X_ROOM_0 + int(x[X_IN_W])]:
                continue
            n_p = max(1.0, x[X_OUT_PIXELS] * k / x[X_PIXELS])
            cap = np.inf if thorough else least
            i = x[X_LEAD_I] * x[X_WORD_I] * c * axes[1, counts[OY] - 1] * axes[3, counts[OX] - 1]
            if _beyond(mode, limit, best, cap, x, axes[0, 0] * axes[2, 0], n_p, n_k, n_r, first_w + i):
                continue
            for i_b in range(counts[B]):
                mapping[t + B] = levels[B, i_b] * mapping[MAP_S + B]
                b = min(mapping[t + B], layer[B])
                n_b = _ceil_div(layer[B], mapping[t + B])
                last_b = last_k * (layer[B] - (n_b - 1) * mapping[t + B])
                for i_x in range(0, counts[OX], stride):
                    mapping[t + OX] = levels[OX, i_x] * mapping[MAP_S + OX]
                    ox = min(mapping[t + OX], layer[OX])
                    n_x = _ceil_div(layer[OX], mapping[t + OX])
                    last_x = last_b * (layer[OX] - (n_x - 1) * mapping[t + OX])
                    n_p = n_b * n_x * max(1.0, layer[OY] * b * ox * k / x[X_PIXELS])
                    cap = np.inf if thorough else least
                    i = x[X_LEAD_I] * x[X_WORD_I] * b * c * axes[1, counts[OY] - 1] * axes[3, i_x]
                    several = counts[OY] > 1 and not (no_halo and i_x > 0)
                    if several and _beyond(mode, limit, best, cap, x, axes[0, 0] * axes[2, i_x], n_p, n_k, n_r, first_w + i):
                        continue
                    # Without a halo only the number of pixels counts: part of a row or whole rows.
                    for i_y in range(0 if several else counts[OY] - 1, counts[OY], stride):
                        tile_y = levels[OY, i_y] * mapping[MAP_S + OY]
                        oy = min(tile_y, layer[OY])
                        n_y = _ceil_div(layer[OY], tile_y)
                        n_p = n_b * n_x * n_y
                        i = x[X_WORD_I] * b * c * axes[1, i_y] * axes[3, i_x]
                        o = x[X_WORD_O] * b * k * oy * ox
                        i_held = i * (x[X_TWICE_I] if n_r * n_p > 1 or not whole_f else min(x[X_TWICE_I], 1.0))
                        o_held = o * (x[X_TWICE_O] if n_k * n_p > 1 or x[X_G] == 0 else min(x[X_TWICE_O], 1.0))
                        if not _fit(x, w_held, i_held, o_held):
                            continue
                        pixels = axes[0, i_y] * axes[2, i_x]
                        ends = first_w + x[X_LEAD_I] * i + last_x * (layer[OY] - (n_y - 1) * tile_y)
                        steady = max(x[X_STEADY], _flows(x, n_p, n_k, n_r))
                        bound = (steady + ends / x[X_BANDWIDTH]) * ROOM
                        if _hopeless(mode, limit, best, bound, x[X_ENERGY]) or (not thorough and quick and bound >= least):
                            continue
                        hope = False
                        for order in range(3):
                            m_w, m_i, m_o = _dram_multiplicities(order, n_p, n_k, n_r)
                            more_w = x[X_WEIGHTS] * (m_w - 1)
                            more_i = x[X_PLANES] * pixels * m_i - x[X_INPUTS]
                            more_o = x[X_SPILL] * (m_o - 1)
                            moved = (x[X_FIXED] + x[X_WEIGHTS] + x[X_INPUTS] + more_w + more_i + more_o) * ROOM
                            stream = moved / x[X_BANDWIDTH]
                            energy = x[X_ENERGY] + moved * x[X_PJ_DRAM]
                            hope = hope or not _hopeless(mode, limit, best, stream, energy)
                            port = _ports(x, x[X_FLOOR_0], x[X_FLOOR_1], x[X_FLOOR_2], more_w, more_i, more_o)
                            bound = max(max(steady, port) + ends / x[X_BANDWIDTH], stream) * ROOM
                            energy += (more_w * x[X_PJ_W] + more_i * x[X_PJ_I] + more_o * x[X_PJ_O] + bound * x[X_LEAK]) * ROOM
                            if _hopeless(mode, limit, best, bound, energy):
                                continue
                            if not thorough and _rank(mode, bound, energy) >= least:
                                continue
                            mapping[t + OY] = tile_y
                            mapping[MAP_DRAM_ORDER] = order
                            work[3, 0], work[3, 1], work[3, 2] = n_p, n_k, n_r
                            least = _search_schedules(layer, design, option, mode, limit, variant, thorough, least, mapping,
                                                      tables, tiles, floors, i_c, i_k, i_b, i_y, i_x, pixels, ends, more_w,
                                                      more_i, more_o, moved, x, work, trial, best_map, best)  # fmt: skip
                        if not hope:  # fewer rows at a time move even more
                            break
    return least


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
def _search_schedules(layer, design, option, mode, limit, variant, thorough, least, mapping, tables, tiles, floors, i_c, i_k,
                      i_b, i_y, i_x, pixels, ends, more_w, more_i, more_o, moved, x, work, trial, best_map, best):  # fmt: skip
    """Bound each stationary operand and register tile inside one buffer tile and order; cost what is left."""
    n, y, total = work[3], work[1], work[2]
    m_w, m_i, m_o = _dram_multiplicities(int(mapping[MAP_DRAM_ORDER]), n[0], n[1], n[2])
    stream = moved / x[X_BANDWIDTH]
    fixed_energy = more_w * x[X_PJ_W] + more_i * x[X_PJ_I] + more_o * x[X_PJ_O] + moved * x[X_PJ_DRAM]
    for j in range(tiles.shape[0]):
        bound = max(max(floors[j, 0], max(floors[j, 2], max(floors[j, 3], floors[j, 4]))) + ends / x[X_BANDWIDTH], stream)
        if _hopeless(mode, limit, best, bound * ROOM, floors[j, 1] + (fixed_energy + bound * x[X_LEAK]) * ROOM):
            continue
        _fill_table(layer, option, mapping, tiles[j], tables[j], i_c, i_k, i_b, i_y, i_x, y, total)
        stationary = tiles[j, 8]
        times_w, times_i, visits = total[0], total[1], total[2]
        if stationary == 0:
            times = n[0] if y[1] > 1 or y[2] > 1 else m_w
            times_w = times
        elif stationary == 1:
            times = n[1] if y[0] > 1 or y[2] > 1 else m_i
            times_i = times
        else:
            times = n[2] if y[0] > 1 or y[1] > 1 else m_o
            visits = times
        w = x[X_AGAIN_W] * times_w - floors[j, 7]  # bytes over the wires above those of the floor
        i = x[X_AGAIN_I] * tables[j, 5, i_y, 0] * tables[j, 6, i_x, 0] * times_i - floors[j, 8]
        o = x[X_AGAIN_O] * (visits - 1) - floors[j, 9]
        busy = max(floors[j, 0], floors[j, 6] + _skew(design, floors[j, 6], floors[j, 5] * times, floors[j, 10] * times))
        port = _ports(x, floors[j, 2], floors[j, 3], floors[j, 4], more_w + w, more_i + i, more_o + o)
        bound = max(max(busy, port) + ends / x[X_BANDWIDTH], stream) * ROOM
        energy = fixed_energy + w * x[X_PJ_READ_W] + i * x[X_PJ_READ_I] + o * x[X_PJ_O] + bound * x[X_LEAK]
        energy = floors[j, 1] + energy * ROOM
        if _hopeless(mode, limit, best, bound, energy):
            continue
        if not thorough and _rank(mode, bound, energy) >= least:
            continue
        least = min(least, _rank(mode, bound, energy))
        _cost_schedule(layer, design, option, mode, limit, variant, mapping, tiles[j], pixels,
                       tables[j, 5, i_y, 0] * tables[j, 6, i_x, 0], ends, work, trial, best_map, best)  # fmt: skip
    return least


@_inner
def _trips_of(layer, option, mapping, d, entry, register):
    """Array trips of one loop over all its DRAM tiles, and at most in one, into `entry` (2,)."""
    extent = layer[d]
    inside = min(mapping[MAP_T + d], extent)
    count = _ceil_div(extent, mapping[MAP_T + d])
    last = extent - (count - 1) * mapping[MAP_T + d]
    if option[OPT_FLATTEN] and d == C:
        inside *= layer[FY] * layer[FX]
        last *= layer[FY] * layer[FX]
        extent *= layer[FY] * layer[FX]
    step = mapping[MAP_S + d]
    piece = step * register_steps(_ceil_div(inside, step), _ceil_div(extent, step), register)
    entry[1] = _ceil_div(inside, piece)
    entry[0] = (count - 1) * entry[1] + _ceil_div(last, piece)


@_inner
def _fill_table(layer, option, mapping, tile, table, i_c, i_k, i_b, i_y, i_x, y, total):
    """Array trips of P, K, R, G (`total`) and at most in one buffer tile (`y`) under one register tile.

    `table` (7, levels, 2) remembers them by level: rows B, K, C with its filter, OY, OX; then the axis sums y, x.
    """
    if table[0, i_b, 0] < 0:
        _trips_of(layer, option, mapping, B, table[0, i_b], tile[B])
    if table[1, i_k, 0] < 0:
        _trips_of(layer, option, mapping, K, table[1, i_k], tile[K])
    if table[2, i_c, 0] < 0:
        _trips_of(layer, option, mapping, C, table[2, i_c], tile[C])
        if not option[OPT_FLATTEN]:
            all_of, inside = table[2, i_c, 0], table[2, i_c, 1]
            for d in (FY, FX):
                _trips_of(layer, option, mapping, d, table[2, i_c], tile[d])
                all_of *= table[2, i_c, 0]
                inside *= table[2, i_c, 1]
            table[2, i_c, 0], table[2, i_c, 1] = all_of, inside
    if table[3, i_y, 0] < 0 or table[4, i_x, 0] < 0:
        mapping[MAP_STATIONARY] = tile[8]
        _set_register(layer, option, mapping, tile)
        _trips_of(layer, option, mapping, OY, table[3, i_y], tile[OY])
        _trips_of(layer, option, mapping, OX, table[4, i_x], tile[OX])
        table[5, i_y, 0] = array_axis_sum(layer, option, mapping, 0)
        table[6, i_x, 0] = array_axis_sum(layer, option, mapping, 1)
    total[0] = table[0, i_b, 0] * table[3, i_y, 0] * table[4, i_x, 0]
    y[0] = table[0, i_b, 1] * table[3, i_y, 1] * table[4, i_x, 1]
    total[1], y[1] = table[1, i_k, 0], table[1, i_k, 1]
    total[2], y[2] = table[2, i_c, 0], table[2, i_c, 1]
    total[3], y[3] = _ceil_div(layer[G], mapping[MAP_S + G]), 1.0  # a buffer tile holds one step of G


@_inner
def _cost_schedule(layer, design, option, mode, limit, variant, mapping, tile, dram_pixels, array_pixels, ends, work, trial,
                   best_map, best):  # fmt: skip
    """Cost one register tile and stationary operand inside one buffer tile; keep it if it is the best.

    `work` rows 1 to 3: `y` and `total` from `_fill_table`, DRAM trips.
    """
    mapping[MAP_STATIONARY] = tile[8]
    cycles = _array_cycles(layer, option, mapping)
    if option[OPT_FLATTEN]:
        cycles *= _flat_steps(layer, mapping) / _ceil_div(layer[C] * layer[FY] * layer[FX], mapping[MAP_S + C])
    bar = best[0] if mode == LATENCY_FIRST or mode == LATENCY_ONLY else limit
    _cost(layer, design, option, mapping, variant, cycles, dram_pixels, array_pixels, ends, work[3], work[1], work[2], bar,
          trial)  # fmt: skip
    if trial[CYCLES] <= bar and _better(mode, limit, trial[CYCLES], trial[ENERGY_PJ], best[0], best[1]):
        best[0] = trial[CYCLES]
        best[1] = trial[ENERGY_PJ]
        _set_register(layer, option, mapping, tile)
        best_map[:] = mapping


@_inner
def _flat_steps(layer, mapping):
    """Steps of the flattened reduction over all DRAM tiles: a step does not cross a tile."""
    taps = layer[FY] * layer[FX]
    count = _ceil_div(layer[C], mapping[MAP_T + C])
    last = layer[C] - (count - 1) * mapping[MAP_T + C]
    inside = min(mapping[MAP_T + C], layer[C]) * taps
    return (count - 1) * _ceil_div(inside, mapping[MAP_S + C]) + _ceil_div(last * taps, mapping[MAP_S + C])


@_inner
def _set_register(layer, option, mapping, tile):
    """Register tile of `mapping`: the candidate `tile` cut to what divides the buffer tile."""
    for d in range(8):
        step = mapping[MAP_S + d]
        inside = min(mapping[MAP_T + d], layer[d])
        extent = layer[d]
        if option[OPT_FLATTEN] and d == C:
            inside *= layer[FY] * layer[FX]
            extent *= layer[FY] * layer[FX]
        mapping[MAP_R + d] = register_steps(_ceil_div(inside, step), _ceil_div(extent, step), tile[d])


@_inner
def _smallest_tile(layer, design, option, variant, mapping):
    """The mapping of the smallest tiles; returns its overflow, <= 0 if it fits."""
    held = np.empty(6)
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
    tile_bytes(layer, design, mapping, variant, held)
    return max(buffer_overflow(design, held), register_overflow(layer, design, option, mapping))


@_entry
def map_layer(layer, design, options, sizes, mode, slack, variant, best_map, out):
    """Best mapping of one layer into `best_map` (N_MAP,) and its cost into `out` (N_RESULT,).

    `mode`: LATENCY_FIRST, ENERGY_WITHIN (least energy at most `slack` above the least latency; infinite slack =
    least energy) or EDP.  Where nothing fits, the least mapping is costed and `out[OVERFLOW]` > 0.
    """
    mapping = np.empty(N_MAP)
    mapping[:] = 1.0
    best = np.empty(2)
    best[:] = np.inf
    first = int(design[OPTION_FIRST])
    last = first + int(design[OPTION_COUNT])
    limit = np.inf
    passes = 1
    at_once = -1.0
    if mode == ENERGY_WITHIN and slack < np.inf:
        if last - first == 1 and design[BYPASS] == 0:
            at_once = slack
        else:
            passes = 2
    least = np.inf
    for o in range(first, last):
        over = _smallest_tile(layer, design, options[o], variant, mapping)
        if over < least:
            least = over
            mapping[MAP_OPTION] = o - first
            best_map[:] = mapping
    for i in range(passes):
        aim = LATENCY_ONLY if passes == 2 and i == 0 else mode
        if i == 1:  # the fastest is the first candidate for the least energy
            limit = best[0] * (1.0 + slack)
        for o in range(first, last):
            _smallest_tile(layer, design, options[o], variant, mapping)
            if register_overflow(layer, design, options[o], mapping) > 0:
                continue
            if _hopeless(aim, limit, best, _array_cycles(layer, options[o], mapping), 0.0):
                continue
            mapping[MAP_OPTION] = o - first
            search_option(layer, design, options[o], sizes, aim, limit, at_once, variant, mapping, best_map, best)
    evaluate_mapping(layer, design, options[first + int(best_map[MAP_OPTION])], best_map, variant, out)


@_inner
def vector_cost(layer, design, bytes_in, bytes_out, out):
    """Cost of a vector operation; `bytes_in`, `bytes_out` over the DRAM link, the rest is resident."""
    out[:] = 0.0
    word = design[ACTIVATION_BYTES]
    moved = bytes_in + bytes_out
    vector = layer[V_OPERATIONS] / design[VECTOR_LANES]
    dram = moved / design[DRAM_BYTES_PER_CYCLE]
    out[DRAM_I] = bytes_in
    out[DRAM_O_WRITE] = bytes_out
    constants = layer[V_WEIGHT] * design[WEIGHT_BYTES]
    out[BUFFER_I_READ] = layer[V_INPUT] * word + constants - bytes_in
    out[BUFFER_I_WRITE] = layer[V_OUTPUT] * word - bytes_out
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
STEP_IS_VECTOR, STEP_INDEX, STEP_REPEATS, STEP_OUTPUT, STEP_FUSED, STEP_SECOND, STEP_INPUT_FIRST, STEP_INPUT_COUNT = range(8)
N_STEP = 8
TENSOR_ELEMENTS, TENSOR_FIRST, TENSOR_LAST = range(3)


@_entry
def resident_tensors(design, tensors, n_steps, resident):
    """Mark the activations that stay on chip from producer to last consumer: first come, first served."""
    usage = np.empty(n_steps)
    usage[:] = 0.0
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
                     done, results, maps, variants, totals):  # fmt: skip
    """Cost of a network on each design: the sum over its steps into `totals` (n_designs, N_RESULT).

    `results` (n_layers, 16, N_RESULT) and `maps` (n_layers, 16, N_MAP) keep each distinct layer under each
    residency variant once; `done` (n_layers, 16) says which hold; `variants` (n_steps,) which a step used: scratch
    that holds the last design afterwards.
    """
    resident = np.empty(tensors.shape[0], dtype=np.bool_)
    out = np.empty(N_RESULT)
    for row in range(designs.shape[0]):
        design = designs[row]
        totals[row] = 0.0
        done[:] = False
        resident_tensors(design, tensors, steps.shape[0], resident)
        holder = design[BUFFER_W]
        alone = holder != design[BUFFER_I] and holder != design[BUFFER_O]
        capacity = design[CAPACITY_0 + int(holder)]
        weights_stay = design[RESIDENT_WEIGHTS] > 0 and alone and weight_elements * design[WEIGHT_BYTES] <= capacity
        for i in range(steps.shape[0]):
            step = steps[i]
            index = int(step[STEP_INDEX])
            if step[STEP_IS_VECTOR]:
                vector_step(design, vectors[index], step, inputs, tensors, resident, out)
                variants[i] = 0
                for column in range(N_RESULT):
                    totals[row, column] += step[STEP_REPEATS] * out[column]
                continue
            variant = _variant(design, step, inputs, resident, layers[index, STATIC_WEIGHTS] > 0, weights_stay)
            variants[i] = variant
            if not done[index, variant]:
                map_layer(layers[index], design, options, sizes, mode, slack, variant, maps[index, variant],
                          results[index, variant])  # fmt: skip
                done[index, variant] = True
            for column in range(N_RESULT):
                totals[row, column] += step[STEP_REPEATS] * results[index, variant, column]
