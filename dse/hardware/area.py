"""Area and leakage of designs, block by block.

PEs (MACs, three register files, control), interconnect, buffers and what feeds them, vector unit, engines and fixed
part are cells.  Standard cells take a layout overhead (filler, clock network), memories none; the DRAM interface costs
area by channel or in proportion to its bandwidth (`dse.hardware.dram`).  Every block is non-decreasing in every size
parameter.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dse.hardware.accelerator import BUFFER_ARRANGEMENTS, INTERCONNECTS, OPERAND_NAMES, buffer_groups
from dse.hardware.dram import dram_of
from dse.hardware.logic import Columns, column_reader, dataflows, distinct, logic, text_column
from dse.hardware.technology import Technology, adder_tree_bits

AREA_BLOCKS = (
    "macs", "registers", "control", "interconnect", "weight_buffer", "input_buffer", "output_buffer",
    "periphery", "vector_unit", "engines", "dram_interface", "fixed",
)  # fmt: skip
"""Blocks of a design, in the order in which they are reported.  ``periphery``: the logic at the buffers, that is port
registers, address generators, im2col unit and accumulators."""

MEMORIES = ("weight_buffer", "input_buffer", "output_buffer")
"""Blocks that are memories alone: without layout overhead."""


def area_blocks_mm2(columns: Columns, technology: Technology, layout: bool = True) -> dict[str, np.ndarray]:
    """Area of each block [mm2].

    Parameters
    ----------
    columns : one array of shape (n,) for each `Accelerator` parameter.
    technology : constants.
    layout : with filler and clock network; False: the cells alone, which is what synthesis reports.

    Returns
    -------
    dict of the `AREA_BLOCKS`, each of shape (n,) float64.  The area of a shared buffer is split over its
    operands in proportion to their share of its capacity.
    """
    t, number = technology, column_reader(columns)
    overhead = t.layout_overhead_factor if layout else 1.0
    pes = number("rows") * number("cols")
    units = {name: overhead * t.logic_area_um2(*unit) for name, unit in logic(columns, t).items()}
    mac = overhead * _mac_um2(columns, t) + (units["pipeline"] + units["forms"]) / pes
    files = {x: t.register_area_um2(number(f"{name}_register_bytes"), layout) for x, name in OPERAND_NAMES.items()}
    registers = files["W"] + files["I"] + files["O"]
    control = t.control_area_share * (mac + registers)
    wires = _wires_um2(columns, t, mac + registers + control, files)
    blocks_um2 = {
        "macs": pes * mac,
        "registers": pes * registers,
        "control": pes * control,
        "interconnect": pes * wires + units["passing"] + units["routes"] + units["tags"],
        **_buffers_um2(columns, t),
        "periphery": units["ports"] + units["addresses"] + units["im2col"] + units["accumulators"],
        "vector_unit": overhead * number("vector_lanes") * _vector_lane_um2(columns, t) + units["vector"],
        "engines": (1 + t.engine_logic_share) * units["engines"],
        "fixed": np.full(pes.shape, overhead * t.fixed_um2),
    }
    blocks = {name: area * 1e-6 for name, area in blocks_um2.items()}
    blocks["dram_interface"] = dram_of(columns, t).interface_mm2
    return {name: blocks[name] for name in AREA_BLOCKS}


def area_mm2(columns: Columns, technology: Technology) -> np.ndarray:
    """Area of each design [mm2], shape (n,): the sum of its blocks in the order of `AREA_BLOCKS`."""
    return sum_blocks(area_blocks_mm2(columns, technology))


def core_area_mm2(blocks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Area without the DRAM interface [mm2], (n,): the sum of the other `blocks`, each (n,) [mm2]."""
    return sum_blocks({**blocks, "dram_interface": np.zeros_like(blocks["fixed"])})


def leakage_w(columns: Columns, technology: Technology) -> np.ndarray:
    """Leakage power of each design [W], shape (n,); see `leakage_of_blocks_w`."""
    return leakage_of_blocks_w(area_blocks_mm2(columns, technology), technology)


def leakage_of_blocks_w(blocks: Mapping[str, np.ndarray], technology: Technology) -> np.ndarray:
    """Leakage power [W], (n,), of all `blocks`, each (n,) [mm2] as laid out, but the DRAM interface.

    Memories leak by their area, standard cells by theirs without filler.  Register files that are memories count as
    standard cells, since their block does not tell them apart.
    """
    t = technology
    logic_w_per_mm2 = t.leakage_logic_w_per_mm2 / t.layout_overhead_factor
    leaks = {
        name: area * (t.leakage_sram_w_per_mm2 if name in MEMORIES else logic_w_per_mm2)
        for name, area in blocks.items()
    }
    leaks["dram_interface"] = np.zeros_like(blocks["fixed"])
    return t.leakage_factor * sum_blocks(leaks)


def sum_blocks(blocks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sum of the `AREA_BLOCKS`, always in the same order (equal bits for equal blocks)."""
    total = np.zeros_like(blocks[AREA_BLOCKS[0]])
    for name in AREA_BLOCKS:
        total = total + blocks[name]
    return total


def _mac_um2(columns: Columns, t: Technology) -> np.ndarray:
    """All multipliers, the adder tree and the accumulating adder of one PE, without registers [um2]."""
    number = column_reader(columns)
    macs, weight_bits, activation_bits = number("macs_per_pe"), number("weight_bits"), number("activation_bits")
    accumulator_bits = number("accumulator_bits")
    tree = t.adder_area_um2(adder_tree_bits(weight_bits, activation_bits, accumulator_bits, macs))
    products = macs * t.multiplier_area_um2(weight_bits * activation_bits)
    return products + (macs - 1) * tree + t.adder_area_um2(accumulator_bits)


def _vector_lane_um2(columns: Columns, t: Technology) -> np.ndarray:
    """One lane without its registers [um2]: a multiplier of half accumulator width and a full adder."""
    bits = column_reader(columns)("accumulator_bits")
    return t.multiplier_area_um2((bits / 2) ** 2) + t.adder_area_um2(bits)


def _wires_um2(columns: Columns, t: Technology, pe_um2: np.ndarray, files: dict[str, np.ndarray]) -> np.ndarray:
    """What an array adds to each PE beside the logic of its interconnect [um2].

    Broadcast: buses and drivers as a share of the PE.  Systolic: a second copy of the stationary registers where the
    skew is overlapped.
    """
    second = np.where(column_reader(columns)("overlap_skew") > 0, stationary_registers(columns, files), 0.0)
    kind = text_column(columns, "interconnect")
    is_systolic, is_bus = (np.equal(kind, name).astype(bool) for name in ("systolic", "broadcast"))
    if not (is_systolic | is_bus).all():
        unknown = kind[~(is_systolic | is_bus)][0]
        raise ValueError(f"unknown interconnect {unknown!r}; one of {', '.join(INTERCONNECTS)}")
    return np.where(is_systolic, second, t.bus_area_share * pe_um2)


def stationary_registers(columns: Columns, files: dict[str, np.ndarray]) -> np.ndarray:
    """Area or bits of the registers of the operand that stays put, from those of each; the largest of several."""
    flows, codes = dataflows(columns)
    found = np.empty(len(codes))
    for code, flow in enumerate(flows):
        stays = {x for option in flow.options for x in option.stationary}
        here = codes == code
        found[here] = np.max([files[x][here] for x in sorted(stays)], axis=0)
    return found


def _named(column: np.ndarray) -> np.ndarray:
    """Which of W, I and O the texts of a column name, (n, 3) bool."""
    texts, codes = distinct(column)
    return np.array([[x in text for x in "WIO"] for text in texts], dtype=bool).reshape(-1, 3)[codes]


_SHARES = {
    arrangement: np.array([[any(x in g and y in g for g in buffer_groups(arrangement)) for y in "WIO"] for x in "WIO"])
    for arrangement in BUFFER_ARRANGEMENTS
}
"""By arrangement: does operand x (row) live in one buffer with operand y (column)?  Order W, I, O."""


def shared_buffers(columns: Columns) -> np.ndarray:
    """Whether operand x shares a buffer with operand y, (n, 3, 3) bool, both in the order W, I, O."""
    arrangements, codes = distinct(columns["buffers"])
    for name in arrangements:
        if name not in _SHARES:
            raise ValueError(f"unknown buffers {name!r}; one of {', '.join(BUFFER_ARRANGEMENTS)}")
    return np.array([_SHARES[name] for name in arrangements], dtype=bool).reshape(-1, 3, 3)[codes]


def _buffers_um2(columns: Columns, t: Technology) -> dict[str, np.ndarray]:
    """Area of each operand's part of its buffer [um2]."""
    number = column_reader(columns)
    parts = {
        what: np.stack([number(f"{OPERAND_NAMES[x]}_buffer_{what}") for x in "WIO"], axis=1)
        for what in ("kib", "width_bytes", "banks")
    }
    together = shared_buffers(columns)
    total = {what: sum(together[:, :, y] * values[:, y, None] for y in range(3)) for what, values in parts.items()}
    two_ports = (together & _named(columns["separate_ports"])[:, None, :]).any(axis=2)
    area = t.sram_area_um2(total["kib"] * 1024, total["width_bytes"], total["banks"], two_ports)
    area = area * parts["kib"] / total["kib"]
    return {f"{OPERAND_NAMES[x]}_buffer": area[:, i] for i, x in enumerate("WIO")}
