"""The cost model in plain Python: what one layer costs on one design under one mapping.

This is the text to read first.  `dse.costs.kernels` computes the same, compiled; the tests hold the two
and a brute-force loop-nest walker equal.  `mapping_cost` is the whole model in the order of its sections: tiles,
traffic, latency, energy, bounds.  All bytes, cycles and pJ are of one repeat of the layer.

Tiles and traffic are in `dse.costs.traffic`, the loop nest itself in `dse.costs.mapping`.
"""

from __future__ import annotations

import math

import numpy as np

from dse.costs.mapping import GROUPS, Mapping
from dse.costs.traffic import (
    Costs,
    access_padding,
    buffer_capacity_bytes,
    fold_bytes,
    overflow,
    padding,
    port_width_and_banks,
    tile_bytes,
    traffic,
    word_bytes,
)
from dse.hardware.accelerator import OPERAND_NAMES, Accelerator, buffer_groups
from dse.hardware.area import area_blocks_mm2, leakage_of_blocks_w
from dse.hardware.dataflow import SpatialOption
from dse.hardware.dram import dram_background_w, dram_pj_per_byte
from dse.hardware.power import clock_pj_per_cycle, flip_flop_bits, transfer_pj_per_byte
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import AS_THE_DESIGN, WeightForm, mac_pj, weight_form, weights_on
from dse.networks.layers import OPERANDS, MacLayer, VectorLayer, distinct_positions

RESIDENT = ("inputs", "outputs", "fused_input", "weights")
"""What may stay on chip between layers: the layer's inputs, outputs, shortcut, weights (or second operand)."""

BOUNDS = ("compute", "buffer_0", "buffer_1", "buffer_2", "dram", "vector", "fill")
"""What can limit a layer."""


def mapping_cost(
    layer: MacLayer,
    design: Accelerator,
    technology: Technology,
    mapping: Mapping,
    resident: frozenset[str] = frozenset(),
) -> dict[str, float | str]:
    """Everything about one repeat of `layer` on `design` under `mapping`.

    `resident`: subset of `RESIDENT`.  Returns, by name with unit: ``cycles`` and their waterfall (`latency`),
    ``energy_pj`` by level (`energy`), bytes by link and operand (`traffic`), ``overflow`` (`overflow`), bounds
    (`lower_bounds`).  An illegal mapping is costed all the same, with ``overflow`` > 0.
    """
    unknown = sorted(set(resident) - set(RESIDENT))
    if unknown:
        raise ValueError(f"resident={unknown[0]!r}: choose among {', '.join(RESIDENT)}")
    option = mapping.spatial_option(design)
    tile = tile_bytes(layer, design, mapping)
    cost: Costs = {"macs": float(math.prod(layer.loop_bounds))}
    cost["overflow"] = overflow(layer, design, mapping, resident)
    cost |= traffic(layer, design, mapping, resident)
    times, bound = latency(layer, design, mapping, resident, tile, cost)
    cost |= times
    cost |= energy(layer, design, technology, mapping, option, cost)
    return {**cost, **lower_bounds(layer, design, technology, resident), "bound": bound}


# ---------------------------------------------------------------------------------------------------------------------
# Latency.


def load_cycles(design: Accelerator, mapping: Mapping, moved: Costs, words: dict[str, float], lanes: float) -> float:
    """Cycles in which the stationary words cross the edge of the array at least [cycles].

    A column takes a word a cycle for each of the `lanes` of a PE; finished sums leave one a cycle.
    """
    if mapping.stationary == "O":
        finished = moved["array_o_write"] - moved["array_o_read"]
        return (moved["array_o_read"] / words["sum"] + finished / words["O"]) / design.cols
    return moved[f"array_{mapping.stationary.lower()}"] / words[mapping.stationary] / (design.cols * lanes)


def peak_macs(layer: MacLayer, design: Accelerator) -> float:
    """Multiply-accumulates that the array does of a layer in a cycle at most [MACs/cycle]: see `weights_on`."""
    return design.rows * design.cols * weights_on(weight_form(layer), design).lanes


def stop_cycles(design: Accelerator, fold: dict[str, float], pad: dict[str, float]) -> float:
    """Cycles in which an array that does not overlap them loads and drains a fold, operand by operand [cycles].

    ``fold``: from `fold_bytes`, ``pad``: from `access_padding`; each operand moves at its share of the buffer port.
    """
    padded = {x: fold[x] * pad["sum" if x == "O" else x] for x in OPERANDS}
    return sum(padded[x] / getattr(design, f"{OPERAND_NAMES[x]}_buffer_width_bytes") for x in OPERANDS)


def skew_cycles(design: Accelerator, cycles: float, folds: float, load: float, stop: float) -> float:
    """Cycles an array waits at its folds [cycles]: for skewed operands where it is systolic, else for its registers.

    Buses: `stop` (from `stop_cycles`) a fold, nothing where it overlaps.  Systolic: ``2 rows + cols - 2`` a
    fold (load the stationary tile, then the diagonal wave in and out; SCALE-Sim's fold is these and the streamed
    words).  With the next stationary tile loaded behind the current one (TPU v1) it is paid
    once, and the folds cost at least their loads: `rows` cycles each, and `load` (from `load_cycles`) in all.
    """
    if design.interconnect != "systolic":
        return 0.0 if design.overlap_load else folds * stop
    load = max(load, folds * design.rows)
    wave = design.rows + design.cols - 2
    if design.overlap_skew:
        return max(cycles, load) - cycles + design.rows + wave
    return load + folds * wave


def port_cycles(design: Accelerator, moved: Costs) -> dict[str, float]:
    """Cycles of each buffer's ports: reads and writes of its operands / its width [cycles].

    One port takes reads and writes one after the other; with a port for each, the longer of the two counts.  ``moved``:
    ``line_*``, padded to whole accesses, so that bytes / width are accesses / banks: one a cycle and bank.
    """
    ports = {f"port_{b}": 0.0 for b in range(3)}
    for b, operands in enumerate(buffer_groups(design.buffers)):
        width, _ = port_width_and_banks(design, operands)
        lines = [(moved.get(f"line_{x}_read", 0.0), moved.get(f"line_{x}_write", 0.0)) for x in operands.lower()]
        if set(operands) & set(design.separate_ports):
            ports[f"port_{b}"] = max(sum(read / width for read, _ in lines), sum(write / width for _, write in lines))
        else:
            ports[f"port_{b}"] = sum((read + write) / width for read, write in lines)
    return ports


def dram_bytes_per_cycle(design: Accelerator) -> float:
    """Off-chip bandwidth, reads and writes together [bytes/cycle]."""
    return design.dram_gbps * 1e9 / (design.clock_ghz * 1e9)


def ends_bytes(
    layer: MacLayer, design: Accelerator, mapping: Mapping, resident: frozenset[str], tile: Costs
) -> tuple[float, float]:
    """Fill and drain [bytes]: the first tiles of W and I in, the last (edge) tile of O out.

    Only of operands that go through a buffer that overlaps: the rest of their traffic overlaps with work.
    """
    on_chip = {"W": "weights" in resident, "I": "inputs" in resident, "O": "outputs" in resident}
    counts = {x: x in design.overlapped and x not in mapping.bypass and not on_chip[x] for x in OPERANDS}
    filled = padding(layer, design, mapping)
    dense = {"W": filled["W"], "I": filled["I"] * design.feature_map_compression}
    fill = sum(tile[x] * dense[x] for x in "WI" if counts[x])
    last = math.prod(mapping.dram_loops(layer)[d][2] for d in ("B", "G", "K", "OY", "OX"))
    drain = last * word_bytes(layer, design)["O"] * design.feature_map_compression * filled["O"]
    return fill, drain if counts["O"] else 0.0


def latency(
    layer: MacLayer, design: Accelerator, mapping: Mapping, resident: frozenset[str], tile: Costs, moved: Costs
) -> tuple[Costs, str]:
    """Cycles of a layer and the waterfall that sums to them; and what bounds it.

    ``steady = max(array + skew, vector unit, slowest port, DRAM stream)`` plus fill and drain, plus all DRAM
    traffic of operands that are not double-buffered (`serial`).  The DRAM stream is what fill, drain and serial
    transfers leave.  ``tile``: from `tile_bytes`; ``moved``: from `traffic`.
    """
    bandwidth = dram_bytes_per_cycle(design)
    by_operand = {"W": moved["dram_w"], "I": moved["dram_i"], "O": moved["dram_o_read"] + moved["dram_o_write"]}
    waits = sum(by_operand[x] for x in OPERANDS if x not in design.overlapped)
    total = sum(by_operand.values()) + moved["dram_fused"]
    ends, serial = sum(ends_bytes(layer, design, mapping, resident, tile)) / bandwidth, waits / bandwidth
    stream = (total - waits) / bandwidth - ends
    ports = port_cycles(design, moved)
    ideal, lanes = math.prod(layer.loop_bounds) / peak_macs(layer, design), weights_on(weight_form(layer), design).lanes
    array, load = moved["array_cycles"], load_cycles(design, mapping, moved, word_bytes(layer, design), lanes)
    pad = access_padding(layer, design, mapping, resident)
    stop = stop_cycles(design, fold_bytes(layer, design, mapping), pad)
    skew = skew_cycles(design, array, moved["folds"], load, stop)
    vector = layer.vector_operations / design.vector_lanes
    with_vector = max(array + skew, vector)
    with_buffers = max(with_vector, *ports.values())
    steady = max(with_buffers, stream)
    bound = "compute"
    if ends + skew > max(array, vector, *ports.values(), stream, serial):
        bound = "fill"
    elif stream > with_buffers or serial > steady:
        bound = "dram"
    elif with_buffers > with_vector:
        bound = max(ports, key=ports.__getitem__).replace("port", "buffer")
    elif vector > array + skew:
        bound = "vector"
    times = {
        "cycles": steady + ends + serial,
        "ideal_cycles": ideal,
        "spatial_loss_cycles": array - ideal,
        "vector_stall_cycles": with_vector - (array + skew),
        "buffer_stall_cycles": with_buffers - with_vector,
        "dram_stall_cycles": steady - with_buffers + serial,
        "fill_drain_cycles": skew + ends,
        "skew_cycles": skew,
        "load_cycles": load,
        "vector_cycles": vector,
        "dram_cycles": total / bandwidth,
        **ports,
    }
    return times, bound


# ---------------------------------------------------------------------------------------------------------------------
# Energy and bounds.


def idle_w(design: Accelerator, technology: Technology) -> Costs:
    """Power of a design that does nothing [W]: ``clock`` that no gating stops, ``io``, ``leakage``."""
    timed = pj_per_cycle(design, technology)
    return {name: timed[name] * 1e-12 * design.clock_ghz * 1e9 for name in ("clock", "io", "leakage")}


def mac_energy_pj(layer: MacLayer, design: Accelerator, technology: Technology) -> float:
    """Energy of one multiply-accumulate at the layer's word widths [pJ]; a PE's products meet in an adder tree."""
    form, columns = weight_form(layer), _columns(design)
    return float(mac_pj(columns, technology, form, of_activations=not layer.static_weights)[0])


def register_energy_pj_per_byte(
    design: Accelerator, technology: Technology, operand: str, form: WeightForm = AS_THE_DESIGN
) -> tuple[float, float]:
    """Read and write energy of the registers of `operand` in a PE [pJ/byte]; a step takes a word of each lane.

    `form`: of the layer's weights.
    """
    weights, name = weights_on(form, design), OPERAND_NAMES[operand]
    file = {
        "W": (weights.weight_register_bytes, weights.bits * weights.lanes / 8),
        "I": (weights.input_register_bytes, design.activation_bits * weights.lanes / 8),
        "O": (design.output_register_bytes, design.accumulator_bits / 8),
    }[operand]
    read, write = (technology.register_pj_per_byte(name, x, *file) for x in ("read", "write"))
    return float(read), float(write)


def buffer_energy_pj_per_byte(design: Accelerator, technology: Technology, operand: str) -> tuple[float, float]:
    """Read and write energy of the buffer that holds `operand` [pJ/byte]."""
    operands = next(held for held in buffer_groups(design.buffers) if operand in held)
    two_ports = bool(set(operands) & set(design.separate_ports))
    buffer = (buffer_capacity_bytes(design, operands), *port_width_and_banks(design, operands), two_ports)
    read, write = (technology.buffer_pj_per_byte(OPERAND_NAMES[operand], x, *buffer) for x in ("read", "write"))
    return float(read), float(write)


def _columns(design: Accelerator) -> dict[str, np.ndarray]:
    """A design as columns of length 1."""
    return {name: np.array([getattr(design, name)], dtype=object) for name in design.parameters()}


def way_pj_per_byte(design: Accelerator, technology: Technology, operand: str) -> tuple[float, float]:
    """Energy of wires and logic between the buffer of `operand` and the array [pJ/byte]: with the first PE, and of each
    PE after it."""
    columns, i = _columns(design), OPERANDS.index(operand)
    feed, on = transfer_pj_per_byte(columns, technology, area_blocks_mm2(columns, technology))
    return float(feed[0, i]), float(on[0, i])


def pj_per_cycle(design: Accelerator, technology: Technology) -> Costs:
    """Energy that runs with time [pJ/cycle]: ``leakage``, ``io`` and ``clock`` in every cycle; ``clock_work`` in one in
    which every multiplier works, on top."""
    columns = _columns(design)
    blocks = area_blocks_mm2(columns, technology)
    per_w = 1e12 / (design.clock_ghz * 1e9)
    leakage, io = float(leakage_of_blocks_w(blocks, technology)[0]) * per_w, technology.io_idle_w * per_w
    always, work = clock_pj_per_cycle(flip_flop_bits(columns, technology), technology, blocks)
    return {"leakage": leakage, "io": io, "clock": float(always[0]), "clock_work": float(work[0])}


def dram_background_pj_per_cycle(design: Accelerator) -> float:
    """What the DRAM of a design takes in every cycle, whatever moves [pJ/cycle]."""
    return dram_background_w(design) * 1e12 / (design.clock_ghz * 1e9)


def copies(layer: MacLayer, option: SpatialOption, mapping: Mapping) -> dict[str, float]:
    """PEs that take each word of W and of I, and that give to each word of O, in one array step [1].

    Weights go to every pixel lane; inputs to every K lane and, unless flattened, to every (output, tap) pair that
    meets in the word; a sum is collected from the reduction lanes, those inside a PE excepted.
    """
    inputs = float(mapping.s("K"))
    if not option.flatten_reduction:
        for o, f, axis in (("OY", "FY", "y"), ("OX", "FX", "x")):
            stride, dilation = getattr(layer, f"stride_{axis}"), getattr(layer, f"dilation_{axis}")
            lanes = mapping.s(o) * mapping.s(f)
            inputs *= lanes / distinct_positions(mapping.s(o), mapping.s(f), stride, dilation)
    return {
        "W": float(math.prod(mapping.s(d) for d in GROUPS["P"])),
        "I": inputs,
        "O": math.prod(mapping.s(d) for d in GROUPS["R"]) / mapping.lanes,
    }


def energy(
    layer: MacLayer, design: Accelerator, technology: Technology, mapping: Mapping, option: SpatialOption, moved: Costs
) -> Costs:
    """Energy by level [pJ] and register bytes: accesses x energy per access, MACs x energy per MAC; clock, leakage and
    DRAM background x time.

    A MAC reads a weight and an input register; each PE reads and writes a partial sum for `lanes` MACs.  Where the
    input is zero that read is all that is done.  Every word that arrives is written to the registers of each PE that
    takes it.  A buffer costs per byte that its ports move, padding of accesses included; the way per byte and length,
    to the array and on to each PE of `copies`.  The clock runs in every cycle, but for its gated share, which a
    multiplier takes only where it works.  `moved`: from `traffic` and `latency`.
    """
    words, reach, macs = word_bytes(layer, design), copies(layer, option, mapping), moved["macs"]
    sums, done = moved["array_o_read"] + moved["array_o_write"], macs * (1 - layer.zero_share)
    added = done / mapping.lanes * words["sum"]
    reads = {"W": done * words["W"], "I": macs * words["I"], "O": added}
    writes = {
        "W": moved["array_w"] * reach["W"],
        "I": moved["array_i"] * reach["I"],
        "O": added + moved["array_o_read"],
    }
    register_pj = 0.0
    for x in OPERANDS:
        read_pj, write_pj = register_energy_pj_per_byte(design, technology, x, weight_form(layer))
        register_pj += reads[x] * read_pj + writes[x] * write_pj
    buffer_pj = 0.0
    for x in OPERANDS:
        read_pj, write_pj = buffer_energy_pj_per_byte(design, technology, x)
        buffer_pj += moved[f"line_{x.lower()}_read"] * read_pj + moved[f"line_{x.lower()}_write"] * write_pj
    interconnect_pj = 0.0
    for x, crossed in (("W", moved["array_w"]), ("I", moved["array_i"]), ("O", sums)):
        first_pj, next_pj = way_pj_per_byte(design, technology, x)
        interconnect_pj += crossed * (first_pj + (reach[x] - 1) * next_pj)
    timed = pj_per_cycle(design, technology)
    dram = sum(moved[name] for name in ("dram_w", "dram_i", "dram_o_read", "dram_o_write", "dram_fused"))
    levels = {
        "mac_pj": done * mac_energy_pj(layer, design, technology),
        "register_pj": register_pj,
        "interconnect_pj": interconnect_pj,
        "buffer_pj": buffer_pj,
        "dram_pj": dram * dram_pj_per_byte(design, technology) + moved["cycles"] * dram_background_pj_per_cycle(design),
        "vector_pj": layer.vector_operations * float(technology.vector_operation_pj(design.accumulator_bits)),
        "clock_pj": moved["cycles"] * timed["clock"] + moved["ideal_cycles"] * timed["clock_work"],
        "io_pj": moved["cycles"] * timed["io"],
        "leakage_pj": moved["cycles"] * timed["leakage"],
    }
    registers = {f"register_{x.lower()}": reads[x] + writes[x] for x in OPERANDS}
    return registers | levels | {"energy_pj": sum(levels.values())}


def lower_bounds(layer: MacLayer, design: Accelerator, technology: Technology, resident: frozenset[str]) -> Costs:
    """What no mapping can beat: ``bound_cycles = max(MACs / peak, compulsory bytes / bandwidth)`` and ``bound_pj``.

    Compulsory: every operand that is not resident crosses the DRAM link once.  MACs, these bytes, and what runs with
    time in `bound_cycles` bound the energy.
    """
    words, macs = word_bytes(layer, design), math.prod(layer.loop_bounds)
    dense = design.feature_map_compression
    once = {
        "fused_input": layer.fused_input_elements * words["I"] * dense,
        "weights": layer.weight_elements * words["W"],
        "inputs": layer.input_elements * words["I"] * dense,
        "outputs": layer.output_elements * words["O"] * dense,
    }
    moved = sum(size for name, size in once.items() if name not in resident)
    ideal = macs / peak_macs(layer, design)
    cycles = max(ideal, moved / dram_bytes_per_cycle(design))
    timed = pj_per_cycle(design, technology)
    mac_pj = mac_energy_pj(layer, design, technology) * (1 - layer.zero_share)
    always_pj = timed["clock"] + timed["io"] + timed["leakage"] + dram_background_pj_per_cycle(design)
    energy_pj = macs * mac_pj + moved * dram_pj_per_byte(design, technology)
    energy_pj += ideal * timed["clock_work"] + cycles * always_pj
    return {"bound_cycles": cycles, "bound_pj": energy_pj}


def vector_cost(
    layer: VectorLayer, design: Accelerator, technology: Technology, bytes_in: float, bytes_out: float
) -> dict[str, float | str]:
    """One repeat of a vector operation: ``max(operations / lanes, port, DRAM)`` cycles, all overlapped.

    `bytes_in` (constants and inputs), `bytes_out` cross the DRAM link, feature maps before compression [bytes]; what
    is left of inputs, constants and outputs moves over the ports of the input buffer in whole lines.  A layer that
    moves nothing by itself (a concatenation) reads from the buffer what leaves the chip and writes what comes.
    """
    words = design.activation_bits / 8
    read = layer.input_elements * words + layer.weight_elements * design.weight_bits / 8 - bytes_in
    write = layer.output_elements * words - bytes_out
    if not (layer.operations or layer.input_elements or layer.output_elements or layer.weight_elements):
        read, write = bytes_out, bytes_in
    index = next(b for b, held in enumerate(buffer_groups(design.buffers)) if "I" in held)
    stays = {"line_i_read": read, "line_i_write": write}
    port = port_cycles(design, stays)[f"port_{index}"]
    vector = layer.operations / design.vector_lanes
    constants = layer.weight_elements * design.weight_bits / 8
    bytes_in = constants + (bytes_in - constants) * design.feature_map_compression
    bytes_out *= design.feature_map_compression
    dram = (bytes_in + bytes_out) / dram_bytes_per_cycle(design)
    cycles = max(vector, port, dram)
    read_pj, write_pj = buffer_energy_pj_per_byte(design, technology, "I")
    timed, background_pj = pj_per_cycle(design, technology), dram_background_pj_per_cycle(design)
    always_pj = timed["clock"] + timed["io"] + timed["leakage"] + background_pj
    moved_pj = (bytes_in + bytes_out) * dram_pj_per_byte(design, technology)
    levels = {
        "buffer_pj": read * read_pj + write * write_pj,
        "dram_pj": moved_pj + cycles * background_pj,
        "vector_pj": layer.operations * float(technology.vector_operation_pj(design.accumulator_bits)),
        "clock_pj": cycles * timed["clock"],
        "io_pj": cycles * timed["io"],
        "leakage_pj": cycles * timed["leakage"],
    }
    bound = "vector" if vector >= max(port, dram) else (f"buffer_{index}" if port >= dram else "dram")
    return levels | {
        "cycles": cycles,
        "energy_pj": sum(levels.values()),
        "bound": bound,
        "vector_stall_cycles": vector,
        "buffer_stall_cycles": max(vector, port) - vector,
        "dram_stall_cycles": cycles - max(vector, port),
        "vector_cycles": vector,
        f"port_{index}": port,
        "dram_cycles": dram,
        "dram_i": bytes_in,
        "dram_o_write": bytes_out,
        "buffer_i_read": read,
        "buffer_i_write": write,
        **stays,
        "bound_cycles": max(vector, dram),
        "bound_pj": moved_pj + max(vector, dram) * always_pj,
    }
