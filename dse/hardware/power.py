"""Clock and wires: what depends on how large a design is, not on what it computes.

Every byte between a buffer and the array crosses wires as long as both are wide, and from PE to PE.

A flip-flop is clocked in each cycle, also while the design waits for DRAM, unless clock gating stops it.  How many
there are follows from the registers of the PEs and from the units of `dse.hardware.logic`, which area counts too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dse.hardware.accelerator import OPERAND_NAMES
from dse.hardware.area import AREA_BLOCKS, shared_buffers, stationary_registers
from dse.hardware.logic import Columns, column_reader, logic, text_column
from dse.hardware.technology import Technology

HOLDING_UNITS = ("tags", "addresses", "engines")
"""Units of `logic` whose flip-flops keep their words for many cycles: settings, bounds and outer loop counters, and
engines that stand still while the array works."""


def flip_flop_bits(columns: Columns, technology: Technology) -> tuple[np.ndarray, np.ndarray]:
    """Flip-flops of each design by how they are clocked: those that work in each cycle, those that hold words [bit].

    Parameters
    ----------
    columns : one array of shape (n,) for each `Accelerator` parameter.

    Returns
    -------
    working : (n,) those of the units of `dse.hardware.logic` but `HOLDING_UNITS`.
    holding : (n,) those of `HOLDING_UNITS`, and registers of the PEs that are built of flip-flops
        (`Technology.flip_flop_bits`), those of the stationary operand twice where a systolic array loads the next tile
        behind the work.
    """
    number = column_reader(columns)
    pes = number("rows") * number("cols")
    units = {name: unit.flip_flop_bits for name, unit in logic(columns, technology).items()}
    files = {x: technology.flip_flop_bits(number(f"{name}_register_bytes")) for x, name in OPERAND_NAMES.items()}
    twice = (text_column(columns, "interconnect") == "systolic") & (number("overlap_skew") > 0)
    second = np.where(twice, stationary_registers(columns, files), 0.0)
    held = pes * (files["W"] + files["I"] + files["O"] + second) + sum(units[name] for name in HOLDING_UNITS)
    return sum(bits for name, bits in units.items() if name not in HOLDING_UNITS), held


def clock_pj_per_cycle(
    columns: Columns, technology: Technology, blocks_mm2: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Energy of the clock in a cycle [pJ], each (n,): what no gating stops, and what stops where nothing works.

    The tree over N flip-flops in an area A has a length of ``k sqrt(N A)`` and drives their pins; its buffers add a
    share b: ``N (pin + wire k sqrt(A / N)) V^2 (1 + b)``.  The flip-flops themselves take `flip_flop_clock_pj_per_bit`:
    all that work, and the ungated share of those that hold.  `clock_gating_share` of both stops in the cycles and the
    multipliers that do nothing.

    Parameters
    ----------
    blocks_mm2 : area of each of `AREA_BLOCKS`, each (n,) [mm2]; the tree spans all but the DRAM interface.
    """
    t = technology
    working, holding = flip_flop_bits(columns, t)
    area_mm2 = sum(blocks_mm2[name] for name in AREA_BLOCKS if name != "dram_interface")
    number = working + holding
    wire_ff = t.clock_wire_ff_per_mm * t.clock_tree_length_factor * np.sqrt(area_mm2 / number)
    tree_pj = number * (t.clock_pin_ff + wire_ff) * t.vdd_v**2 * (1 + t.clock_buffer_share) * 1e-3
    leaves_pj = (working + t.clock_held_share * holding) * t.flip_flop_clock_pj_per_bit
    whole = tree_pj + leaves_pj
    return (1 - t.clock_gating_share) * whole, t.clock_gating_share * whole


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
