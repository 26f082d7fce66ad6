"""Area and leakage of designs, block by block.

PEs (MACs, three register files, control), interconnect, buffers, vector unit and fixed part are sums of
cells times one layout overhead (filler, clock network); the DRAM interface costs area by channel or in
proportion to its bandwidth (`dse.hardware.dram`).  Every block is non-decreasing in every size parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dse.hardware.accelerator import BUFFER_ARRANGEMENTS, INTERCONNECTS, OPERAND_NAMES, buffer_groups
from dse.hardware.dataflow import dataflow_named
from dse.hardware.dram import dram_of
from dse.hardware.technology import Technology, adder_tree_bits

AREA_BLOCKS = (
    "macs", "registers", "control", "interconnect", "weight_buffer", "input_buffer", "output_buffer",
    "vector_unit", "dram_interface", "fixed",
)  # fmt: skip
"""Blocks of a design, in the order in which they are reported."""

Columns = Mapping[str, np.ndarray]


def area_blocks_mm2(columns: Columns, technology: Technology) -> dict[str, np.ndarray]:
    """Area of each block [mm2].

    Parameters
    ----------
    columns : one array of shape (n,) for each `Accelerator` parameter.
    technology : constants.

    Returns
    -------
    dict of the `AREA_BLOCKS`, each of shape (n,) float64.  The area of a shared buffer is split over its
    operands in proportion to their share of its capacity.
    """
    t, number = technology, _numbers(columns)
    pes = number("rows") * number("cols")
    mac = _mac_um2(columns, t)
    files = {x: t.register_area_um2(number(f"{name}_register_bytes")) for x, name in OPERAND_NAMES.items()}
    registers = files["W"] + files["I"] + files["O"]
    control = t.control_area_share * (mac + registers)
    cells_um2 = {
        "macs": pes * mac,
        "registers": pes * registers,
        "control": pes * control,
        "interconnect": pes * _interconnect_um2(columns, t, mac + registers + control, files),
        **_buffers_um2(columns, t),
        "vector_unit": number("vector_lanes") * _vector_lane_um2(columns, t),
        "fixed": np.full(pes.shape, t.fixed_um2),
    }
    blocks = {name: cells * (t.layout_overhead_factor * 1e-6) for name, cells in cells_um2.items()}
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
    """Leakage power [W], (n,): per cell area of all `blocks`, each (n,) [mm2], but the DRAM interface."""
    return technology.leakage_w_per_mm2 / technology.layout_overhead_factor * core_area_mm2(blocks)


def sum_blocks(blocks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sum of the `AREA_BLOCKS`, always in the same order (equal bits for equal blocks)."""
    total = np.zeros_like(blocks[AREA_BLOCKS[0]])
    for name in AREA_BLOCKS:
        total = total + blocks[name]
    return total


def _numbers(columns: Columns) -> Callable[[str], np.ndarray]:
    """A reader of float64 columns that names a missing one."""

    def number(name: str) -> np.ndarray:
        if name not in columns:
            raise ValueError(f"columns lack {name!r}; give one array for each Accelerator parameter")
        return np.atleast_1d(np.asarray(columns[name], dtype=np.float64))

    return number


def _mac_um2(columns: Columns, t: Technology) -> np.ndarray:
    """All multipliers, the adder tree and the accumulating adder of one PE [um2]."""
    number = _numbers(columns)
    macs, weight_bits, activation_bits = number("macs_per_pe"), number("weight_bits"), number("activation_bits")
    accumulator_bits = number("accumulator_bits")
    tree = t.adder_area_um2(adder_tree_bits(weight_bits, activation_bits, accumulator_bits, macs))
    products = macs * t.multiplier_area_um2(weight_bits * activation_bits)
    return products + (macs - 1) * tree + t.adder_area_um2(accumulator_bits)


def _vector_lane_um2(columns: Columns, t: Technology) -> np.ndarray:
    """One lane [um2]: a multiplier of half accumulator width, a full adder, two full registers."""
    bits = _numbers(columns)("accumulator_bits")
    return t.multiplier_area_um2((bits / 2) ** 2) + t.adder_area_um2(bits) + 2 * bits * t.flip_flop_um2_per_bit


def _interconnect_um2(columns: Columns, t: Technology, pe_um2: np.ndarray, files: dict[str, np.ndarray]) -> np.ndarray:
    """Wires and pipeline registers of one PE [um2].

    Broadcast: buses and drivers as a share of the PE.  Systolic: a flip-flop for each activation and
    accumulator bit that passes through; a second copy of the stationary registers where the skew is overlapped.
    """
    number = _numbers(columns)
    passing_bits = number("activation_bits") * number("macs_per_pe") + number("accumulator_bits")
    second = np.where(number("overlap_skew") > 0, _stationary_um2(columns, files), 0.0)
    systolic = passing_bits * t.flip_flop_um2_per_bit + second
    kind = _objects(columns["interconnect"])
    is_systolic, is_bus = (np.equal(kind, name).astype(bool) for name in ("systolic", "broadcast"))
    if not (is_systolic | is_bus).all():
        unknown = kind[~(is_systolic | is_bus)][0]
        raise ValueError(f"unknown interconnect {unknown!r}; one of {', '.join(INTERCONNECTS)}")
    return np.where(is_systolic, systolic, t.bus_area_share * pe_um2)


def _stationary_um2(columns: Columns, files: dict[str, np.ndarray]) -> np.ndarray:
    """Register area of the operand that stays put; the largest where the dataflow has several to choose from."""
    names = _objects(columns["dataflow"]).tolist()
    ids, first, codes = np.unique(
        np.fromiter(map(id, names), np.int64, len(names)), return_index=True, return_inverse=True
    )
    area = np.empty(len(names))
    for code in range(ids.size):
        stays = {x for option in dataflow_named(names[first[code]]).options for x in option.stationary}
        here = codes == code
        area[here] = np.max([files[x][here] for x in sorted(stays)], axis=0)
    return area


def _objects(column: np.ndarray) -> np.ndarray:
    return np.atleast_1d(np.asarray(column, dtype=object))


def _named(column: np.ndarray) -> np.ndarray:
    """Which of W, I and O the texts of a column name, (n, 3) bool."""
    texts = _objects(column)
    named = np.zeros((texts.size, 3), dtype=bool)
    for text in set(texts.tolist()) - {""}:
        named[np.equal(texts, text).astype(bool)] = [x in text for x in "WIO"]
    return named


_SHARES = {
    arrangement: np.array([[any(x in g and y in g for g in buffer_groups(arrangement)) for y in "WIO"] for x in "WIO"])
    for arrangement in BUFFER_ARRANGEMENTS
}
"""By arrangement: does operand x (row) live in one buffer with operand y (column)?  Order W, I, O."""


def _buffers_um2(columns: Columns, t: Technology) -> dict[str, np.ndarray]:
    """Cell area of each operand's part of its buffer [um2]."""
    number = _numbers(columns)
    parts = {
        what: np.stack([number(f"{OPERAND_NAMES[x]}_buffer_{what}") for x in "WIO"], axis=1)
        for what in ("kib", "width_bytes", "banks")
    }
    arrangement = _objects(columns["buffers"])
    together = np.zeros((arrangement.size, 3, 3), dtype=bool)
    known = np.zeros(arrangement.size, dtype=bool)
    for name, shares in _SHARES.items():
        here = np.equal(arrangement, name).astype(bool)
        together[here] = shares
        known |= here
    if not known.all():
        raise ValueError(f"unknown buffers {arrangement[~known][0]!r}; one of {', '.join(BUFFER_ARRANGEMENTS)}")
    total = {what: np.einsum("nxy,ny->nx", together, values) for what, values in parts.items()}
    two_ports = (together & _named(columns["separate_ports"])[:, None, :]).any(axis=2)
    area = t.sram_area_um2(total["kib"] * 1024, total["width_bytes"], total["banks"], two_ports)
    area = area * parts["kib"] / total["kib"]
    return {f"{OPERAND_NAMES[x]}_buffer": area[:, i] for i, x in enumerate("WIO")}
