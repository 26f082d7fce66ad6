"""Bytes: what a mapping keeps in the buffers and registers, and what it moves over every link.

This is a part of the model in plain Python (`dse.costs.formulas` is the whole): tiles and what fits, then traffic.
Terms: the buffers hold a *tile* of each operand, and several tiles cover the layer; the array takes a tile in *pieces*,
one piece in each array step.  ``W`` weights, ``I`` inputs, ``O`` outputs.
"""

from __future__ import annotations

import math

from dse.costs.mapping import GROUPS, IRRELEVANT, Mapping, flattened, group_of, load_position
from dse.hardware.accelerator import OPERAND_NAMES, Accelerator, buffer_groups
from dse.hardware.dataflow import SpatialOption
from dse.hardware.weight_forms import weight_form, weights_on
from dse.networks.layers import LOOPS, OPERANDS, MacLayer, distinct_positions

Costs = dict[str, float]


def word_bytes(layer: MacLayer, design: Accelerator) -> dict[str, float]:
    """Bytes of a word of W, I, a finished O, and a partial sum; a second operand that is an activation is no weight.

    Of weights that the design keeps narrow or without zeros, a word is what one takes, zeros counted among them.
    """
    activation = design.activation_bits / 8
    weight = weights_on(weight_form(layer), design).bits / 8 if layer.static_weights else activation
    return {"W": weight, "I": activation, "O": activation, "sum": design.accumulator_bits / 8}


# ---------------------------------------------------------------------------------------------------------------------
# Tiles and what fits.


def tile_bytes(layer: MacLayer, design: Accelerator, mapping: Mapping) -> dict[str, float]:
    """Bytes of a full tile of each operand in the buffers, outputs at accumulator width.

    Inputs count the halo, ``(t-1) stride + (f-1) dilation + 1`` positions less those that a stride skips, but
    never more rows or columns than the layer touches.
    """
    tile, words = mapping.tile_of(layer), word_bytes(layer, design)
    rows = distinct_positions(tile["OY"], tile["FY"], layer.stride_y, layer.dilation_y)
    columns = distinct_positions(tile["OX"], tile["FX"], layer.stride_x, layer.dilation_x)
    plane = min(rows, layer.touched("y")) * min(columns, layer.touched("x"))
    return {
        "W": tile["G"] * tile["K"] * tile["C"] * tile["FY"] * tile["FX"] * words["W"],
        "I": tile["B"] * tile["G"] * tile["C"] * plane * words["I"],
        "O": tile["B"] * tile["G"] * tile["K"] * tile["OY"] * tile["OX"] * words["sum"],
    }


def overflow(
    layer: MacLayer,
    design: Accelerator,
    mapping: Mapping,
    resident: frozenset[str] = frozenset(),
    held: float | None = None,
) -> float:
    """Worst (bytes needed - capacity) / capacity over buffers and registers; 0 where everything fits.

    `held`: see `bytes_needed`.
    """
    needs = bytes_needed(layer, design, mapping, resident, held).values()
    return max(0.0, *((need - capacity) / capacity for need, capacity in needs))


def bytes_needed(
    layer: MacLayer,
    design: Accelerator,
    mapping: Mapping,
    resident: frozenset[str] = frozenset(),
    held: float | None = None,
) -> dict[str, tuple[float, float]]:
    """Bytes needed and capacity of every buffer and of the registers of a PE, by a name to print.

    `held`: bytes of the buffer of ``I`` that activations which stay on chip take from the tiles; None = the store.

    A double-buffered operand needs two tiles, unless its tile is the whole operand or it is refilled behind the work
    (`Accelerator.buffets`).  Operands that bypass the buffers need none; nor do resident inputs (they live in the
    store, set aside in the buffer that holds ``I``) and resident weights.
    """
    tile, need = mapping.tile_of(layer), tile_bytes(layer, design, mapping)
    for x in OPERANDS:
        relevant = [d for group in GROUPS if group != IRRELEVANT[x] for d in GROUPS[group]]
        whole = all(tile[d] == getattr(layer, d) for d in relevant)
        need[x] *= 2 if x in design.double_buffered and x not in design.buffets and not whole else 1
        if x in mapping.bypass or {"W": "weights", "I": "inputs"}.get(x) in resident:
            need[x] = 0.0
    result = {}
    for operands in buffer_groups(design.buffers):
        capacity = buffer_capacity_bytes(design, operands)
        if "I" in operands:
            capacity -= design.resident_activation_fraction * capacity if held is None else held
        result[f"buffer of {' '.join(operands)}"] = sum(need[x] for x in operands), capacity
    weights = weights_on(weight_form(layer), design)
    registers = {
        "W": weights.weight_register_bytes,
        "I": weights.input_register_bytes,
        "O": design.output_register_bytes,
    }
    for x, needed in register_bytes(layer, design, mapping).items():
        result[f"{OPERAND_NAMES[x]} registers of a PE"] = needed, registers[x]
    return result


def buffer_capacity_bytes(design: Accelerator, operands: str) -> float:
    """Capacity of the buffer that holds `operands` [bytes]: the shares of its operands together."""
    return sum(getattr(design, f"{OPERAND_NAMES[x]}_buffer_kib") for x in operands) * 1024


def register_bytes(layer: MacLayer, design: Accelerator, mapping: Mapping) -> dict[str, float]:
    """Bytes of one PE's registers that the register tile needs, by operand.

    A PE holds `lanes` words side by side for every step over ``C``.  Inputs count the window of neighbouring
    outputs once; flattened arrays keep each (pixel, tap) pair; where columns are passed along under stationary
    weights, one window of columns is enough.
    """
    option, words = mapping.spatial_option(design), word_bytes(layer, design)
    g, k, b, oy, ox = (mapping.r(d) for d in ("G", "K", "B", "OY", "OX"))
    c = mapping.r("C") * mapping.lanes
    pixels = oy * ox
    if not option.flatten_reduction:
        columns = 1 if option.forwards_inputs and mapping.stationary == "W" else ox
        pixels = distinct_positions(oy, mapping.r("FY"), layer.stride_y, layer.dilation_y)
        pixels *= distinct_positions(columns, mapping.r("FX"), layer.stride_x, layer.dilation_x)
    return {
        "W": g * k * c * mapping.r("FY") * mapping.r("FX") * words["W"],
        "I": b * g * c * pixels * words["I"],
        "O": b * g * k * oy * ox * words["sum"],
    }


def fold_bytes(layer: MacLayer, design: Accelerator, mapping: Mapping) -> dict[str, float]:
    """Bytes that the array takes before a fold can begin (W, I) and gives when it has ended (O, at accumulator width).

    The stationary operand's piece, and of the others what goes with its first step: of loops that leave it unchanged,
    one spatial step.  One copy of every word, padding included.
    """
    option, words = mapping.spatial_option(design), word_bytes(layer, design)
    piece = mapping.piece_of(layer, option)
    for d in GROUPS[IRRELEVANT[mapping.stationary]]:
        piece[d] = min(piece[d], mapping.s(d))
    pixels = piece["OY"] * piece["OX"]
    if not option.flatten_reduction:
        pixels = distinct_positions(piece["OY"], piece["FY"], layer.stride_y, layer.dilation_y)
        pixels *= distinct_positions(piece["OX"], piece["FX"], layer.stride_x, layer.dilation_x)
    return {
        "W": piece["G"] * piece["K"] * piece["C"] * piece["FY"] * piece["FX"] * words["W"],
        "I": piece["B"] * piece["G"] * piece["C"] * pixels * words["I"],
        "O": piece["B"] * piece["G"] * piece["K"] * piece["OY"] * piece["OX"] * words["sum"],
    }


def padding(layer: MacLayer, design: Accelerator, mapping: Mapping) -> dict[str, float]:
    """Bytes of W, I and O as they lie in DRAM / their size: 1, or whole array tiles / true size.

    Where an axis of the array unrolls one loop alone, a tile is the whole axis along it, or what its cap allows.  Steps
    that narrow or 2:4 weights widen take several such tiles.
    """
    option = mapping.spatial_option(design)
    extents = flattened({d: getattr(layer, d) for d in LOOPS}, layer, option)
    step: dict[str, float] = {d: mapping.s(d) for d in LOOPS}
    on_axes = [
        ([u.loop for u in axis], min([n, *(u.most for u in axis)]))
        for axis, n in ((option.on_rows, design.rows), (option.on_cols, design.cols))
    ]
    for d in LOOPS:
        axes = [(loops, size) for loops, size in on_axes if d in loops]
        if axes and all(loops == [d] for loops, _ in axes):
            tile = math.prod(size for _, size in axes) * (design.macs_per_pe if d == "C" else 1)
            step[d] = tile * math.ceil(mapping.s(d) / tile)
    result = {}
    for x in OPERANDS:
        relevant = [d for group in GROUPS if group != IRRELEVANT[x] for d in GROUPS[group]]
        whole = math.prod(math.ceil(extents[d] / mapping.s(d)) * step[d] for d in relevant)
        result[x] = whole / math.prod(extents[d] for d in relevant) if x in design.padded_tiles else 1.0
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Traffic.


def cut(extent: int, tile: int, piece: int) -> list[range]:
    """A loop of `extent` cut into tiles, and each tile into pieces; the last of each is what is left."""
    tiles = [range(i, min(i + tile, extent)) for i in range(0, extent, tile)]
    return [range(i, min(i + piece, t.stop)) for t in tiles for i in range(t.start, t.stop, piece)]


def positions_fetched(layer: MacLayer, axis: str, outputs: list[range], taps: list[range]) -> int:
    """Input rows (``"y"``) or columns (``"x"``), summed over all pairs of a piece of outputs and one of taps.

    A piece fetches each position once; padding and what a stride skips is never fetched.
    """
    stride, dilation = getattr(layer, f"stride_{axis}"), getattr(layer, f"dilation_{axis}")
    pad, size = getattr(layer, f"pad_{axis}"), getattr(layer, f"I{axis.upper()}")
    total = 0
    for piece in outputs:
        for tap in taps:
            met = {o * stride + f * dilation - pad for o in piece for f in tap}
            total += sum(0 <= position < size for position in met)
    return total


def times_moved(loops: list[tuple[str, int]], operand: str) -> int:
    """How often each word of `operand` is loaded under `loops` (group and static trips, outer to inner).

    The load sits just inside the innermost relevant loop with more than one trip; every irrelevant loop
    outside that one repeats it, every irrelevant loop inside is reuse.
    """
    outside = loops[: load_position(loops, operand)]
    return math.prod(trips for group, trips in outside if group == IRRELEVANT[operand])


def traffic(layer: MacLayer, design: Accelerator, mapping: Mapping, resident: frozenset[str] = frozenset()) -> Costs:
    """Bytes over every link: ``array_*`` (into and out of the PE array), ``buffer_*``, ``dram_*``; array ``folds``.

    - DRAM: volume of all tiles x `times_moved` under the DRAM loops (or, of W and I, at every step of them).
    - Array, stationary operand: the same under DRAM loops and array loops, as a rule its own irrelevant group
      innermost.  One load of it is a fold.
    - Array, streaming operands: moved at every array step.  One read serves every PE that needs the word.
    - Outputs: a visit that is not the first reads the partial sum, one that is not the last writes it, at
      accumulator width; the last visit writes at activation width.
    - DRAM holds weights padded to array tiles, and feature maps compressed, where the design says so.
    - ``line_*``: what the buffer ports move for the ``buffer_*`` bytes, padding of accesses included (`line_bytes`).
    """
    option, words = mapping.spatial_option(design), word_bytes(layer, design)
    times, dram_times = all_times_moved(layer, design, mapping)
    steps = array_steps(layer, option, mapping)
    planes = layer.B * layer.G * layer.C
    sums, finished = layer.output_elements * words["sum"], layer.output_elements * words["O"]
    relevant_steps = [n for group, n in steps.items() if group != IRRELEVANT[mapping.stationary]]
    moved = {
        "folds": math.prod(relevant_steps) * times[mapping.stationary],
        "array_cycles": array_cycles(layer, option, mapping),
        "array_w": layer.weight_elements * words["W"] * times["W"],
        "array_i": planes * array_positions(layer, option, mapping) * words["I"] * times["I"],
        "array_o_read": sums * (times["O"] - 1),
        "array_o_write": sums * (times["O"] - 1) + finished,
        "dram_w": layer.weight_elements * words["W"] * dram_times["W"],
        "dram_i": planes * dram_positions(layer, mapping) * words["I"] * dram_times["I"],
        "dram_o_read": sums * (dram_times["O"] - 1),
        "dram_o_write": sums * (dram_times["O"] - 1) + finished,
        "dram_fused": layer.fused_input_elements * words["I"],
    }
    moved |= _through_buffers(layer, design, moved, mapping, resident, finished)
    moved |= line_bytes(layer, design, moved, mapping, resident, finished)
    return {name: float(value) for name, value in moved.items()}


def all_times_moved(layer: MacLayer, design: Accelerator, mapping: Mapping) -> tuple[dict[str, int], dict[str, int]]:
    """How often each word of W, I and O enters the array, and how often a buffer tile of it is loaded from DRAM."""
    option, outer = mapping.spatial_option(design), mapping.dram_loops(layer)
    dram = [(group_of(d), outer[d][0]) for d in mapping.dram_loop_order()]
    steps = array_steps(layer, option, mapping)
    times = {x: steps[IRRELEVANT[x]] for x in OPERANDS}
    dram_times = {x: times_moved(dram, x) for x in OPERANDS}
    if design.reload_every_tile:
        dram_times |= {x: math.prod(outer[d][0] for d in GROUPS[IRRELEVANT[x]]) for x in "WI"}
    times[mapping.stationary] = _stationary_times(layer, option, mapping, dram, dram_times[mapping.stationary])
    return times, dram_times


def _stationary_times(
    layer: MacLayer, option: SpatialOption, mapping: Mapping, dram: list[tuple[str, int]], dram_times: int
) -> int:
    """How often each word of the stationary operand enters the array.

    As `times_moved` under DRAM and array loops together; an array loop makes fewer trips in the last tile.
    """
    inner, order = mapping.array_loops(layer, option), mapping.array_loop_order()
    array = [(group_of(d), inner[d][0]) for d in order]
    depth = load_position(dram + array, mapping.stationary) - len(dram)
    if depth <= 0:
        return dram_times
    times = 1
    for d in GROUPS[IRRELEVANT[mapping.stationary]]:
        extent, tile, piece = _bounds_of(layer, option, mapping, d)
        times *= len(cut(extent, tile, piece if order.index(d) < depth else tile))
    return times


def array_steps(layer: MacLayer, option: SpatialOption, mapping: Mapping) -> dict[str, int]:
    """Pieces of all tiles, by group of loops: the trips of the array loops over the whole layer."""
    counts = {d: len(cut(*_bounds_of(layer, option, mapping, d))) for d in LOOPS}
    return {group: math.prod(counts[d] for d in loops) for group, loops in GROUPS.items()}


def array_cycles(layer: MacLayer, option: SpatialOption, mapping: Mapping) -> int:
    """Cycles of the array: for every loop its spatial steps, the last of a tile with idle PEs, and their product."""
    cycles = 1
    for d in LOOPS:
        extent, tile, _ = _bounds_of(layer, option, mapping, d)
        cycles *= len(cut(extent, tile, mapping.s(d)))
    return cycles


def _bounds_of(layer: MacLayer, option: SpatialOption, mapping: Mapping, loop: str) -> tuple[int, int, int]:
    """Bound, tile and piece of a loop as the array sees it; flattened, ``C`` stands for C, FY and FX together."""
    extent, tile = getattr(layer, loop), mapping.tile_of(layer)[loop]
    if option.flatten_reduction and loop in GROUPS["R"]:
        taps = layer.FY * layer.FX
        extent, tile = (extent * taps, tile * taps) if loop == "C" else (1, 1)
    return extent, tile, mapping.s(loop) * mapping.r(loop)


def dram_positions(layer: MacLayer, mapping: Mapping) -> int:
    """Input positions of one channel that tiles fetch from DRAM, halos included."""
    tile = mapping.tile_of(layer)
    return _positions(layer, tile, tile)


def array_positions(layer: MacLayer, option: SpatialOption, mapping: Mapping) -> int:
    """Input positions of one channel that array pieces fetch from the buffer.

    Flattened, every (pixel, tap) pair is fetched for itself.  Where neighbours pass columns along, a sweep along
    x fetches only new columns: over the outputs of a tile under stationary ``W``, over its taps under ``O``; the sweep
    must be the innermost array loop of several trips.
    """
    tile, piece = mapping.tile_of(layer), mapping.piece_of(layer, option)
    loops = mapping.array_loops(layer, option)
    inside = [d for d in mapping.array_loop_order() if loops[d][0] > 1]
    sweep = {"W": "OX", "O": "FX"}.get(mapping.stationary)
    if option.flatten_reduction:
        tile = piece = dict.fromkeys(LOOPS, 1)
    elif option.forwards_inputs and inside and sweep == inside[-1]:
        piece = piece | {sweep: tile[sweep]}
    return _positions(layer, tile, piece)


def _positions(layer: MacLayer, tile: dict[str, int], piece: dict[str, int]) -> int:
    """Positions of one channel fetched by all pieces of all tiles: rows x columns."""
    total = 1
    for axis, o, f in (("y", "OY", "FY"), ("x", "OX", "FX")):
        outputs = cut(getattr(layer, o), tile[o], piece[o])
        total *= positions_fetched(layer, axis, outputs, cut(getattr(layer, f), tile[f], piece[f]))
    return total


def _through_buffers(
    layer: MacLayer, design: Accelerator, moved: Costs, mapping: Mapping, resident: frozenset[str], final: float
) -> Costs:
    """Buffer reads and writes; DRAM traffic of operands that bypass the buffers or are resident [bytes].

    The array reads what it takes from the buffer and DRAM fills it; outputs drained to DRAM are buffer reads and
    partial sums fetched back are writes.  `final`: bytes of the finished outputs.
    """
    result: Costs = {}
    for x, name in (("w", "weights"), ("i", "inputs")):
        past = skips_buffers(mapping, resident, x.upper())
        from_dram = 0.0 if name in resident else moved[f"array_{x}" if past else f"dram_{x}"]
        result[f"dram_{x}"] = from_dram
        result[f"buffer_{x}_read"] = 0.0 if past else moved[f"array_{x}"]
        result[f"buffer_{x}_write"] = 0.0 if past else from_dram
    past = skips_buffers(mapping, resident, "O")
    read, write = (moved[f"{'array' if past else 'dram'}_o_{way}"] for way in ("read", "write"))
    result["buffer_o_read"] = 0.0 if past else moved["array_o_read"] + write
    result["buffer_o_write"] = 0.0 if past else moved["array_o_write"] + read
    stays = final if "outputs" in resident else 0.0  # the finished outputs go to the store in the input buffer
    result["dram_o_read"] = read
    result["buffer_i_write"] += stays
    if "fused_input" in resident:
        result["buffer_i_read"] += moved["dram_fused"]
        result["dram_fused"] = 0.0
    else:
        result["dram_fused"] = moved["dram_fused"] * design.feature_map_compression
    filled = padding(layer, design, mapping)
    crosses = 0.0 if "outputs" in resident else final * design.feature_map_compression
    result["dram_w"] *= filled["W"]
    result["dram_i"] *= design.feature_map_compression * filled["I"]
    result["dram_o_read"] *= filled["O"]
    result["dram_o_write"] = (write - final + crosses) * filled["O"]
    return result


def skips_buffers(mapping: Mapping, resident: frozenset[str], operand: str) -> bool:
    """Whether an operand goes straight between DRAM and the array; W and I do not where they are resident."""
    return operand in mapping.bypass and {"W": "weights", "I": "inputs"}.get(operand) not in resident


# ---------------------------------------------------------------------------------------------------------------------
# Accesses: what the buffer ports move.


def step_words(layer: MacLayer, option: SpatialOption, mapping: Mapping) -> dict[str, int]:
    """Words of W and I that the array takes in one step of all its PEs in use, and of O that it gives, each once."""
    extents = flattened({d: getattr(layer, d) for d in LOOPS}, layer, option)
    step = {d: min(mapping.s(d), extents[d]) for d in LOOPS}
    pixels = step["OY"] * step["OX"]
    if not option.flatten_reduction:
        pixels = distinct_positions(step["OY"], step["FY"], layer.stride_y, layer.dilation_y)
        pixels *= distinct_positions(step["OX"], step["FX"], layer.stride_x, layer.dilation_x)
    return {
        "W": step["G"] * step["K"] * step["C"] * step["FY"] * step["FX"],
        "I": step["B"] * step["G"] * step["C"] * pixels,
        "O": step["B"] * step["G"] * step["K"] * step["OY"] * step["OX"],
    }


def access_padding(
    layer: MacLayer, design: Accelerator, mapping: Mapping, resident: frozenset[str] = frozenset()
) -> dict[str, float]:
    """Bytes of the accesses that bring the words of an array step / bytes of these words; W, I, O and sum.

    An access is of one bank, which is as wide as its part of the port, and moves all of that width.  A step needs
    ``ceil(bytes / width of a bank)`` of them; one of fewer words, at an edge, is taken to need its share.  1 where the
    port counts bytes, and for operands that skip the buffers.
    """
    words, counts = word_bytes(layer, design), step_words(layer, mapping.spatial_option(design), mapping)
    result = dict.fromkeys(words, 1.0)
    if design.port_model == "bytes":
        return result
    for x in result:
        operand = "O" if x == "sum" else x
        if skips_buffers(mapping, resident, operand):
            continue
        width, banks = port_width_and_banks(design, next(g for g in buffer_groups(design.buffers) if operand in g))
        taken = counts[operand] * words[x]
        result[x] = math.ceil(taken * banks / width) * (width / banks) / taken
    return result


def port_width_and_banks(design: Accelerator, operands: str) -> tuple[float, int]:
    """Width of each port of the buffer that holds `operands` [bytes] and its banks [1]: their shares together."""
    shares = [OPERAND_NAMES[x] for x in operands]
    width = sum(getattr(design, f"{x}_buffer_width_bytes") for x in shares)
    return width, sum(getattr(design, f"{x}_buffer_banks") for x in shares)


def line_bytes(
    layer: MacLayer, design: Accelerator, moved: Costs, mapping: Mapping, resident: frozenset[str], final: float
) -> Costs:
    """Buffer reads and writes as the ports move them [bytes], by the names of ``buffer_*``.

    What the array takes and gives comes in accesses, each padded to the width of a bank.  Tiles to and from DRAM, and
    activations in the store, lie in lines of the buffer and fill each access.  `final`: bytes of the finished outputs.
    """
    pad = access_padding(layer, design, mapping, resident)
    lines = {name.replace("buffer", "line"): value for name, value in moved.items() if name.startswith("buffer")}
    lines["line_w_read"] += (pad["W"] - 1) * moved["array_w"]
    lines["line_i_read"] += (pad["I"] - 1) * moved["array_i"]
    lines["line_o_read"] += (pad["sum"] - 1) * moved["array_o_read"]
    lines["line_o_write"] += (pad["sum"] - 1) * (moved["array_o_write"] - final) + (pad["O"] - 1) * final
    return lines
