"""Clock, wires and the logic on the way of words: what depends on how large a design is, not on what it computes.

Every byte between a buffer and the array crosses wires as long as both are wide, and from PE to PE.

A flip-flop is clocked in each cycle, also while the design waits for DRAM, unless clock gating stops it.  How many
there are follows from the registers of the PEs and from the units of `dse.hardware.logic`, which area counts too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dse.hardware.accelerator import OPERAND_NAMES
from dse.hardware.area import shared_buffers, stationary_registers, sum_blocks
from dse.hardware.logic import (
    LOOP_COUNTER_BITS,
    Columns,
    address_bits,
    column_reader,
    logic,
    needs,
    passing_bits,
    text_column,
)
from dse.hardware.technology import Technology

HOLDING_UNITS = ("tags", "addresses")
"""Units of `logic` whose flip-flops keep their words for many cycles: settings, bounds and outer loop counters."""


def flip_flop_bits(columns: Columns, technology: Technology) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flip-flops of each design [bit]: those that work in each cycle, those that hold words, those of engines.

    Parameters
    ----------
    columns : one array of shape (n,) for each `Accelerator` parameter.

    Returns
    -------
    working : (n,) those of the units of `dse.hardware.logic` but `HOLDING_UNITS` and engines, and registers of a
        systolic array that words pass (`passing_bits`).
    holding : (n,) those of `HOLDING_UNITS`, and other registers of the PEs that are built of flip-flops
        (`Technology.flip_flop_bits`), those of the stationary operand twice where a systolic array loads the next tile
        behind the work.
    standing : (n,) those of engines, which do nothing while the array works.
    """
    number = column_reader(columns)
    pes = number("rows") * number("cols")
    units = {name: unit.flip_flop_bits for name, unit in logic(columns, technology).items()}
    files = {x: technology.flip_flop_bits(number(f"{name}_register_bytes")) for x, name in OPERAND_NAMES.items()}
    twice = (text_column(columns, "interconnect") == "systolic") & (number("overlap_skew") > 0)
    second = np.where(twice, stationary_registers(columns, files), 0.0)
    standing, settled = units.pop("engines"), sum(units.pop(name) for name in HOLDING_UNITS)
    _, passed = passing_bits(columns, technology)
    holding = settled + pes * (files["W"] + files["I"] + files["O"] + second) - passed
    working = sum(units.values(), np.zeros_like(pes)) + passed  # in this order for one design as for many: equal bits
    return working, holding, standing


def clock_pj_per_cycle(
    flip_flops: tuple[np.ndarray, np.ndarray, np.ndarray], technology: Technology, blocks_mm2: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Energy of the clock in a cycle [pJ], each (n,): what no gating stops, and what stops where nothing works.

    The tree over N flip-flops in an area A has a length of ``k sqrt(N A)`` and drives their pins; its buffers add a
    share b: ``N (pin + wire k sqrt(A / N)) V^2 (1 + b)``.  The flip-flops themselves take `flip_flop_clock_pj_per_bit`:
    all that work, and `clock_held_share` of those that hold or stand still.  `clock_gating_share` of all this stops in
    the cycles and the multipliers that do nothing, and always in engines, which nothing here gives work.

    Parameters
    ----------
    flip_flops : from `flip_flop_bits`, each (n,) [bit].
    blocks_mm2 : area of each of `AREA_BLOCKS`, each (n,) [mm2]; engines have a tree of their own, and that of the rest
        spans all but the DRAM interface.
    """
    t, (working, holding, standing) = technology, flip_flops
    leaf_pj = t.flip_flop_clock_pj_per_bit * t.supply_factor
    spanned_mm2 = sum_blocks({**blocks_mm2, **dict.fromkeys(("dram_interface", "engines"), np.zeros_like(working))})
    array = _tree_pj(working + holding, spanned_mm2, t) + (working + t.clock_held_share * holding) * leaf_pj
    engines = _tree_pj(standing, blocks_mm2["engines"], t) + t.clock_held_share * standing * leaf_pj
    return (1 - t.clock_gating_share) * (array + engines), t.clock_gating_share * array


def _tree_pj(flip_flops: np.ndarray, area_mm2: np.ndarray, t: Technology) -> np.ndarray:
    """Energy of a clock tree in a cycle [pJ]: its wires, of ``k sqrt(N A)``, the pins of N flip-flops, its buffers."""
    wires_ff = t.clock_wire_ff_per_mm * t.clock_tree_length_factor * np.sqrt(flip_flops * area_mm2)
    return (flip_flops * t.clock_pin_ff + wires_ff) * t.vdd_v**2 * (1 + t.clock_buffer_share) * 1e-3


def wire_pj_per_byte(
    columns: Columns, technology: Technology, blocks_mm2: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Energy of the wires of buffers and PEs [pJ/byte]: to the first PE, (n, 3) for W, I, O, and to each next, (n,).

    A bit that changes takes C V^2 / 2 a length, C `wire_ff_per_mm`.  A word leaves its buffer from the middle and
    enters the array there: half the side of each.  Each PE more that takes it, or that adds to a sum on its way, is a
    side of a PE further, by a bus or from neighbour to neighbour.  A word that bypasses the buffers goes as far.

    Parameters
    ----------
    blocks_mm2 : area of each of `AREA_BLOCKS`, each (n,) [mm2]; the array is MACs, registers, control, interconnect.
    """
    number = column_reader(columns)
    array_mm2 = sum(blocks_mm2[name] for name in ("macs", "registers", "control", "interconnect"))
    parts_mm2 = np.stack([blocks_mm2[f"{name}_buffer"] for name in OPERAND_NAMES.values()], axis=1)
    buffers_mm2 = np.einsum("nxy,ny->nx", shared_buffers(columns), parts_mm2)
    toggles = 8 * technology.switching_activity_share / 2
    pj_per_byte_mm = toggles * technology.wire_ff_per_mm * technology.vdd_v**2 * 1e-3
    feed_mm = (np.sqrt(buffers_mm2) + np.sqrt(array_mm2)[:, None]) / 2
    return pj_per_byte_mm * feed_mm, pj_per_byte_mm * np.sqrt(array_mm2 / (number("rows") * number("cols")))


def logic_pj_per_byte(columns: Columns, technology: Technology) -> tuple[np.ndarray, np.ndarray]:
    """Energy of the logic between buffers and PEs [pJ/byte], each (n, 3) for W, I, O: once for a word, in each PE.

    The units of `dse.hardware.logic`, by the same cells; no chip checks them.  Each word has an address counted for its
    share of a port, is told from others where axes hold several loops (tags of all rows, then of the columns of one),
    and passes the multiplexers of its routes in every PE.  Where a reduction is flattened, each word of the inputs is
    picked from a port by an address of its own.  Unfinished sums that leave the array meet an adder at the buffer on
    one of their two ways.
    """
    t, number, need = technology, column_reader(columns), needs(columns)
    bits = {"W": number("weight_bits"), "I": number("activation_bits"), "O": number("accumulator_bits")}
    rows, cols = number("rows"), number("cols")
    bus = text_column(columns, "interconnect") != "systolic"
    tags = need["tagged"] * bus * (rows * np.ceil(np.log2(rows)) + cols * np.ceil(np.log2(cols)))
    once, each = [], []
    for x, name in OPERAND_NAMES.items():
        port_bytes = number(f"{name}_buffer_width_bytes")
        counted = t.logic_energy_pj(0, 0, LOOP_COUNTER_BITS + address_bits(columns, x)) / port_bytes
        once.append(counted + 8 / bits[x] * t.logic_energy_pj(0, 0, tags))
        each.append(8 * t.logic_energy_pj(0, need[x], 0))
    address, word = address_bits(columns, "I"), bits["I"]
    choices = np.maximum(8 * number("input_buffer_width_bytes") - word, 0.0)
    once[1] = once[1] + need["flat"] * 8 / word * t.logic_energy_pj(address + word, choices, address)
    once[2] = once[2] + need["sums_leave"] * 8 / 2 * t.logic_energy_pj(1, 0, 1)
    return np.stack(once, axis=1), np.stack(each, axis=1)


def transfer_pj_per_byte(
    columns: Columns, technology: Technology, blocks_mm2: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Energy of a word's way [pJ/byte], each (n, 3) for W, I, O: to the first PE that takes it, and to each next.

    Wires and logic; of sums, from the PEs that add to them.
    """
    feed, pitch = wire_pj_per_byte(columns, technology, blocks_mm2)
    once, each = logic_pj_per_byte(columns, technology)
    return feed + once + each, pitch[:, None] + each
