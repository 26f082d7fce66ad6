"""Energy and area constants of one technology node, each with unit and source.

The base is 45 nm: published operations (Horowitz, ISSCC 2014), CACTI 7 memories fitted by smooth power
laws (CACTI's own surface has dips that an optimiser would exploit), Aladdin flip-flops, and shares of
published layouts.  `Technology.at` scales it to other nodes.  Component energies are good to a factor of
about 2, areas of whole chips likewise: the sources per field give the range.

All methods take numbers or arrays that broadcast and return float64 arrays (or scalars for scalars).
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from dse.hardware import node_scaling as scaling
from dse.networks.toml_file import check_known, read_toml, toml_value

Array = Any  # a number or a float64 array of any broadcastable shape

_HOROWITZ = "Horowitz, ISSCC 2014 (45 nm, 0.9 V)"
_HOROWITZ_AREA = "area table shown with Horowitz's energies (TSMC 45 nm synthesis)"
_CACTI = "CACTI 7 at 45 nm, log-log fit over 1 KiB to 4 MiB and 32 to 512 bits"
_NANGATE = "NanGate45 open cell library, DFF_X1 at 25 C, typical"
_ALADDIN = "Aladdin 40 nm library (ISCA 2014), as scaled to 45 nm by hwcomponents"


def _constant(
    value: float,
    source: str,
    scales: str | None = None,
    signed: bool = False,
    at_vdd_v: float | None = None,
    published: tuple[float, float] | None = None,
) -> Any:
    """A field with its source; `scales` names the law that brings it to another node.

    `at_vdd_v`: supply at which an energy was published at 45 nm, if it is not the nominal one that the field is for.
    `published`: least and largest published value, in the unit, at the node and supply of `value`; see
    `Technology.ranges`.
    """
    span = None if published is None else (published[0] / value, published[1] / value)
    if at_vdd_v is not None:
        factor = scaling.switching_energy_fj(45, scaling.NOMINAL_VDD_V[45]) / scaling.switching_energy_fj(45, at_vdd_v)
        value, source = value * factor, f"{source}; {value:g} at {at_vdd_v:g} V, x {factor:.4g} to 1 V"
    return field(default=value, metadata={"source": source, "scales": scales, "signed": signed, "range": span})


LEAKAGE_CLASSES = {
    "low-power": {
        "leakage_sram_w_per_mm2": (
            3.05e-4,
            "geometric mean of CACTI 7 at 65 nm, 300 K, 1 MiB all of low-standby-power transistors, 3.0e-5, and all of "
            "low-operating-power ones, 3.1e-3.  Range: 3e-5 to 0.007 (350 K)",
            (3e-5, 0.007),
        ),
        "leakage_logic_w_per_mm2": (
            3.05e-4,
            "assumed: logic of the transistors of the memory, whose cells and periphery CACTI 7 leaks alike.  Range: "
            "3e-5 to 0.007",
            (3e-5, 0.007),
        ),
    },
    "nominal": {
        "leakage_sram_w_per_mm2": (
            0.0026,
            "geometric mean of CACTI 7 at 22 nm, 300 K, 1 MiB all of low-standby-power transistors, 2.3e-4, and with a "
            "fast periphery, 0.030.  Range: 2.3e-4 to 0.030",
            (2.3e-4, 0.030),
        ),
        "leakage_logic_w_per_mm2": (
            0.0036,
            "geometric mean of flip-flops at 25 C: ASAP7 DFFHQNx1, 7 nm, regular threshold, 7.4e-4, and NanGate45 "
            "DFF_X1, 0.0175.  Range: 7.4e-4 to 0.027 (NanGate45 INV_X1); Aladdin 40 nm adder 0.0086",
            (7.4e-4, 0.027),
        ),
    },
    "hot": {
        "leakage_sram_w_per_mm2": (
            0.054,
            "CACTI 7 at 22 nm (32 nm: 0.055), 350 K, low-standby-power cells in a fast periphery.  Range: 0.03 (300 K) "
            "to 0.21 (all fast)",
            (0.03, 0.21),
        ),
        "leakage_logic_w_per_mm2": (
            0.039,
            "geometric mean of NanGate45 DFF_X1, 0.0175, and INV_X1, 0.027, at 25 C, x 1.8 to 350 K, as the memory.  "
            "Range: 0.0175 to 0.05",
            (0.0175, 0.05),
        ),
    },
}
"""By class of transistors and heat: leakage of area of memories and of standard cells [W/mm2], its source, its range.

A published chip rarely tells its own: the class is a choice, and its range is wide.  Nothing is power-gated.
"""


def _leakage(name: str) -> Any:
    """A field of `LEAKAGE_CLASSES`, that of class nominal."""
    value, source, published = LEAKAGE_CLASSES["nominal"][name]
    return _constant(value, f"class nominal: {source}; not scaled over nodes", published=published)


def _given(what: str) -> Any:
    """An energy that may be given outright; None: it follows from the other constants."""
    return field(default=None, metadata={"source": f"{what}, given outright; not given: from the other constants"})


TWO_PORTS_AREA_FACTOR = 1.3
"""Cells of a memory with a read port and a write port / with one port for both [1].

The cell of 8 transistors, with a read port of its own, is 30 % larger than that of 6 (Chang et al., VLSI Technology
2005, recalled).  CACTI 7, which adds word and bit lines to the cell of 6, gives 2.10: mean of 45 pairs, 22 to 65 nm,
4 KiB to 1 MiB, set up as for the fits of `Technology`, 1.65 to 2.80.  The two disagree.  NVDLA's convolution buffer has
two ports, and its small cores come out too large as it is.  Range: 1.3 to 2.1.
"""

TWO_PORTS_ENERGY_FACTOR = 1.36
"""Energy of a read or a write, likewise [1]: the same runs of CACTI, reads 1.23 to 1.50, writes 1.25 to 1.58."""


@dataclass(frozen=True)
class Technology:
    """Constants of one technology node; the defaults are 45 nm.  ``sources()`` tells where each is from.

    Fields end in their unit: ``_pj`` [pJ per operation or access], ``_pj_per_byte``, ``_pj_per_bit``,
    ``_um2``, ``_um2_per_bit``, ``_mm2_per_gbps`` [mm2 per GB/s], ``_w_per_mm2``, ``_v``, ``_nm``, ``_bytes``, ``_ff``,
    ``_ff_per_mm``, ``_w``;
    ``_exponent``, ``_share`` and ``_factor`` have none.
    """

    name: str = field(default="45 nm", metadata={"source": "label"})
    node_nm: float = _constant(45, "node; the published tables that this is built on are of 45 nm")
    vdd_v: float = _constant(
        1.0,
        "nominal of the node for high-performance transistors (PTM, between nodes a line).  Another supply scales "
        "every energy on chip by its square: Eyeriss v1 at 0.82 and 1.0 V, 122.8 and 83.1 GMACS/W, 0.677, squares "
        "0.672 (JSSC 2017, Sec. VI).  The clock does not follow",
    )
    nominal_vdd_v: float = _constant(
        1.0, "supply that the energies of cells and memories below, and leakage, stand for"
    )
    dram_type: str = field(
        default="LPDDR4",
        metadata={
            "source": "label of the memory that dram_pj_per_bit is of, the usual one of edge accelerators; a design "
            "with a dram_type of its own takes the energy of that"
        },
    )

    # Arithmetic: published operations; between them a line in width (add), a power of the product of widths (multiply).
    adder_8bit_pj: float = _constant(0.03, _HOROWITZ, "energy")
    adder_32bit_pj: float = _constant(0.1, _HOROWITZ, "energy")
    multiplier_8x8bit_pj: float = _constant(0.2, _HOROWITZ, "energy")
    multiplier_32x32bit_pj: float = _constant(3.1, _HOROWITZ, "energy")
    adder_8bit_um2: float = _constant(36, _HOROWITZ_AREA, "area")
    adder_32bit_um2: float = _constant(137, _HOROWITZ_AREA, "area")
    multiplier_8x8bit_um2: float = _constant(282, _HOROWITZ_AREA + "; 283 in MAESTRO's cost database", "area")
    multiplier_32x32bit_um2: float = _constant(3495, _HOROWITZ_AREA, "area")

    # Registers in a PE.
    flip_flop_write_pj_per_bit: float = _constant(
        0.008,
        f"{_NANGATE}: internal energy of pins D and Q for a bit that changes.  Range: 0.005 to 0.011 (Aladdin 40 nm: "
        "0.009 an access, clock included).  A single word is read for nothing",
        "energy",
        at_vdd_v=1.1,
        published=(0.005, 0.011),
    )
    multiplexer_pj_per_bit: float = _constant(
        0.00305,
        "NanGate45 open cell library, MUX2_X1 at 25 C, typical: data input to output, a bit that changes, mean of "
        "0.0023 and 0.0038.  Range: these",
        "energy",
        at_vdd_v=1.1,
        published=(0.0023, 0.0038),
    )
    switching_activity_share: float = _constant(
        0.5,
        "random bits: share of the bits that change from word to word.  Range: 0.25 to 0.5",
        published=(0.25, 0.5),
    )
    flip_flop_um2_per_bit: float = _constant(8.74, _ALADDIN + " (5.98 um2 at 40 nm)", "area")
    multiplexer_um2_per_bit: float = _constant(
        1.862, "NanGate45 open cell library, MUX2_X1: two inputs; its flip-flop DFF_X1 has 4.522 um2", "area"
    )
    pipeline_registers_factor: float = _constant(
        2.0,
        "assumed: flip-flops of the pipeline, for each multiplier this times the bits of both operands.  Check: half "
        "of NVDLA's array of int16 and fp16, synthesised, has 67,243 flip-flops for 512 multipliers "
        "(NV_NVDLA_partition_m in combipatal/NVDLA_FRONT_END_FLOW): without two copies of the weight and one of the "
        "input 2.6.  Range: 1 to 3",
        published=(1, 3),
    )
    engine_logic_share: float = _constant(
        1.07,
        "gates over flip-flops of control and engines, by area: 273,675 over 255,828 um2 (NVDLA nv_small partition_o, "
        "pooling, normalisation and control, 32 nm, Moamen2211/NVIDIA-Deep-Learning-Accelerator-NVDLA-).  Check: 0.95 "
        "(EIE PE, ISCA 2016, Table II)",
        published=(0.95, 1.07),
    )
    register_memory_512byte_pj_per_byte: float = _constant(
        0.376,
        "geometric mean of 0.3135, CACTI 7 at 45 nm, 32-bit words, mean of read and write, fit over 256 B to 4 KiB "
        "(smaller rows are not simulated), and 0.45, Eyeriss (ISCA 2016, Table IV): a file of 0.5 to 1 KiB takes as "
        "much as a 16-bit MAC.  Range: 0.31 to 0.45",
        "energy",
        published=(0.31, 0.45),
    )
    register_memory_capacity_exponent: float = _constant(
        0.469,
        "CACTI's fit of register_memory_512byte_pj_per_byte.  Range: 0 (any size like Eyeriss's) to 0.469",
        published=(0, 0.469),
    )

    # On-chip memories.
    sram_read_1kib_64bit_pj: float = _constant(2.14083, _CACTI + " (mean error 16 %, worst 70 %)", "energy")
    sram_read_capacity_exponent: float = _constant(0.5480, _CACTI)
    sram_read_word_exponent: float = _constant(0.6563, _CACTI)
    sram_read_bank_exponent: float = _constant(
        -0.060, "CACTI 7, 1 to 32 banks, 64 KiB to 1 MiB, 22 to 65 nm", None, True
    )
    sram_write_1kib_64bit_pj: float = _constant(3.05233, _CACTI + " (mean error 9 %, worst 30 %)", "energy")
    sram_write_capacity_exponent: float = _constant(0.4768, _CACTI)
    sram_write_word_exponent: float = _constant(0.8104, _CACTI)
    sram_write_bank_exponent: float = _constant(
        0.031, "CACTI 7, 1 to 32 banks, 64 KiB to 1 MiB, 22 to 65 nm", None, True
    )
    sram_slice_bytes: float = _constant(
        16,
        "assumed: a wider port is so many memories side by side, each of a part of the rows.  Range: 8 to 64",
        published=(8, 64),
    )
    sram_macro_bytes: float = _constant(
        65536,
        "assumed: a larger memory is macros of this size, of which an access wakes one.  Range: 16 to 256 KiB",
        published=(16384, 262144),
    )
    sram_widest_word_bytes: float = _constant(64, "widest word simulated; a wider port is several words side by side")
    sram_1kib_64bit_um2: float = _constant(4172.2, _CACTI + " (mean error 13 %, worst 47 %)", "area")
    sram_area_capacity_exponent: float = _constant(0.9527, _CACTI)
    sram_area_word_exponent: float = _constant(0.1208, _CACTI)
    sram_area_bank_exponent: float = _constant(0.022, "CACTI 7, 1 to 32 banks, 64 KiB to 1 MiB, 22 to 65 nm")
    sram_area_over_cacti_factor: float = _constant(
        2.0,
        "published memories, less sram_macro_um2, over CACTI: 2.00 is the median over eight families of the median of "
        "each (Eyeriss v1, ShiDianNao, DianNao, TPU v1, Gemmini, Simba, EIE, RPAccel; 12 to 65 nm, `dse validate "
        "areas`).  Range: 1.0 (EIE) to 3.7 (DianNao, wide and shallow)",
        published=(1.0, 3.7),
    )
    sram_macro_um2: float = _constant(
        9700,
        "fixed periphery of a memory: Eyeriss v1 (JSSC 2017, Sec. VI, 65 nm), whose memories of 448 bytes in each PE "
        "and banks of 4 KiB tell it from the cells.  Check: 10,900 from RPAccel's compiled memories of 4 and 256 KiB "
        "at 12 nm, scaled from 14 nm",
        "area",
    )

    # Wires, vector unit, control.
    wire_ff_per_mm: float = _constant(
        300,
        "global wire without repeaters (Gebhart et al., ISCA 2011, Table 3, 40 nm; Kogge et al., DARPA Exascale study "
        "2008, p. 220), about equal at all nodes.  Range: 200 (bare, 16 nm; Dally et al., VLSI Symposium 2018) to 600 "
        "(with repeaters of least delay; Kogge 2008).  Measured, router apart: 414 to 450 (Piton, HPCA 2018, 32 nm)",
        published=(200, 600),
    )
    bus_area_share: float = _constant(
        0.0267, "of the PE array: Eyeriss v2 (JETCAS 2019) network is 2.6 % of the area, 0.026 / (1 - 0.026)"
    )
    control_area_share: float = _constant(
        0.067,
        "of MACs and registers: TPU v1 (ISCA 2017, Fig. 2) control 2 % over compute 30 % of the die.  Range: up to 0.3 "
        "(Eyeriss v2 PE: 72 % spads, 5 % MACs, the rest control)",
        published=(0.067, 0.3),
    )
    fixed_um2: float = _constant(
        56000,
        "DianNao (ASPLOS 2014, Table 6) control processor, AXI multiplexer and other, 160,802 um2 at 65 nm with their "
        "filler: x 0.66 / layout_overhead_factor",
        "area",
    )
    layout_overhead_factor: float = _constant(
        1.89,
        "laid-out area over area of standard cells; memories have no filler.  DianNao (ASPLOS 2014, Table 6): filler "
        "811,632 and clock network 68,721 um2 beside 984,724 um2 of gates and flip-flops.  Check: 2.35 (EIE PE, ISCA "
        "2016, Table II: 24,827 beside 18,411 um2)",
        published=(1.89, 2.35),
    )

    # Clock.
    flip_flop_clock_pj_per_bit: float = _constant(
        0.00694,
        f"{_NANGATE}: internal energy of the clock pin, rise and fall, data quiet, a cycle.  Range: 0.0052 to 0.009.  "
        "Check at 7 nm, 0.7 V: ASAP7 DFFHQNx1 0.00060, this scaled 0.00032",
        "energy",
        at_vdd_v=1.1,
        published=(0.0052, 0.009),
    )
    clock_pin_ff: float = _constant(
        0.95, f"{_NANGATE}: capacitance of the clock pin; ASAP7 DFFHQNx1 0.475 fF at 7 nm", "pin"
    )
    clock_wire_ff_per_mm: float = _constant(
        200,
        "bare wire at any node (Dally et al., VLSI Symposium 2018, p. 2).  Range: 200 to 300 (Gebhart, ISCA 2011)",
        published=(200, 300),
    )
    clock_tree_length_factor: float = _constant(
        0.75,
        "k of a tree of k sqrt(N A) over N flip-flops in an area A: computed.  Range: 0.65 (minimum spanning tree of "
        "random points) to 1.5 (H-tree, sum over its levels)",
        published=(0.65, 1.5),
    )
    clock_buffer_share: float = _constant(
        0.5,
        "assumed: buffers of the clock tree, on top of wires and pins.  Range: 0.3 to 1",
        published=(0.3, 1),
    )
    clock_held_share: float = _constant(
        0.5,
        "assumed, with powers of chips in view: share of the flip-flops holding words that the clock reaches in each "
        "cycle.  Range: 0 to 1",
        published=(0, 1),
    )
    clock_gating_share: float = _constant(
        0.0,
        "choice of a chip: share of the clock that stops in multipliers and cycles that do nothing; 0: no gating.  "
        "Range: 0 to 1",
    )

    # Off chip.
    dram_pj_per_bit: float = _constant(
        8, "LPDDR4, hwcomponents-cacti 1.0.40 table.  Others: HBM2 3.9 to 6.25, GDDR6 6.5, DDR3/4 20, DDR3 70 pJ/bit"
    )
    dram_interface_mm2_per_gbps: float = _constant(
        scaling.dram_phy_mm2_per_gbps(45),
        "PHY of a design that names no dram_type: DDR3-2133, 16 bit, 1.3 mm2 for 4.27 GB/s at 40 nm (Synopsys, as "
        "quoted in McPAT's memoryctrl.cc), DDR5-4800, 32 bit, 1.45 mm2 for 19.2 GB/s at 6 nm (die photographs, "
        "LLMCompass), between them a power law of the node, above 40 nm the same.  Range of published PHYs: 0.02 "
        "(HBM2E, 7 nm) to 0.30; LPDDR4 at 10 nm 0.065 (0.11 by the law).  Controllers, 0.01 to 0.04, and other I/O "
        "(0.69 with all of TPU v1's) are not in it",
    )

    # Energies of accesses to an operand's registers in a PE and to its buffer, where they are known.
    weight_register_read_pj_per_byte: float | None = _given("reads of weights from the registers of a PE")
    weight_register_write_pj_per_byte: float | None = _given("writes of weights to the registers of a PE")
    input_register_read_pj_per_byte: float | None = _given("reads of inputs from the registers of a PE")
    input_register_write_pj_per_byte: float | None = _given("writes of inputs to the registers of a PE")
    output_register_read_pj_per_byte: float | None = _given("reads of sums from the registers of a PE")
    output_register_write_pj_per_byte: float | None = _given("writes of sums to the registers of a PE")
    weight_buffer_read_pj_per_byte: float | None = _given("reads of weights from their buffer")
    weight_buffer_write_pj_per_byte: float | None = _given("writes of weights to their buffer")
    input_buffer_read_pj_per_byte: float | None = _given("reads of inputs from their buffer")
    input_buffer_write_pj_per_byte: float | None = _given("writes of inputs to their buffer")
    output_buffer_read_pj_per_byte: float | None = _given("reads of sums from their buffer")
    output_buffer_write_pj_per_byte: float | None = _given("writes of sums to their buffer")

    # Leakage, and interfaces that wait: on as long as the design is.
    leakage_sram_w_per_mm2: float = _leakage("leakage_sram_w_per_mm2")
    leakage_logic_w_per_mm2: float = _leakage("leakage_logic_w_per_mm2")
    leakage_supply_exponent: float = _constant(
        1.0,
        "leakage ~ (vdd_v / nominal_vdd_v)^this: power is supply times current (Butts and Sohi, MICRO 2000).  "
        "Range: 1 to 3, assumed: the current itself grows with the supply",
        published=(1, 3),
    )
    io_idle_w: float = _constant(
        0.0, "choice of a chip: power of its interfaces, also while nothing crosses them; 0: none counted"
    )

    notes: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    """Sources that replace the built-in ones, as pairs of field and text (set by `at` and `from_toml`)."""

    def __post_init__(self) -> None:
        for name in ("name", "dram_type"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"Technology: {name} must be text, got {getattr(self, name)!r}")
        for f in (*_numbers(), *(f for f in fields(self) if f.name in OPTIONAL and getattr(self, f.name) is not None)):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"Technology: {f.name} must be a finite number, got {value!r}")
            if value < 0 and not f.metadata.get("signed"):
                raise ValueError(f"Technology: {f.name} must not be negative, got {value!r}")
            object.__setattr__(self, f.name, float(value))
        for name in ("switching_activity_share", "clock_held_share", "clock_gating_share"):
            if getattr(self, name) > 1:
                raise ValueError(f"Technology: {name} must be from 0 to 1, got {getattr(self, name)!r}")
        for name in (
            "node_nm",
            "vdd_v",
            "nominal_vdd_v",
            "sram_slice_bytes",
            "sram_macro_bytes",
            "sram_widest_word_bytes",
            "layout_overhead_factor",
        ):
            if getattr(self, name) == 0:
                raise ValueError(f"Technology: {name} must be positive, got 0")
        for narrow, wide, limit in _PUBLISHED_PAIRS:
            low, high = getattr(self, narrow), getattr(self, wide)
            if not 0 < low <= high <= limit * low:
                raise ValueError(
                    f"Technology: {wide} must lie between {narrow} and {limit} times it, "
                    f"got {high!r} with {narrow}={low!r}"
                )

    # Energy.

    @property
    def supply_factor(self) -> float:
        """Of energies at `vdd_v` over those at `nominal_vdd_v` [1]: the square of the supply."""
        return (self.vdd_v / self.nominal_vdd_v) ** 2

    @property
    def leakage_factor(self) -> float:
        """Of leakage at `vdd_v` over that at `nominal_vdd_v` [1]."""
        return (self.vdd_v / self.nominal_vdd_v) ** self.leakage_supply_exponent

    def mac_energy_pj(
        self, weight_bits: Array, activation_bits: Array, accumulator_bits: Array, macs_per_pe: Array = 1
    ) -> Array:
        """Energy of one multiply-accumulate [pJ], registers not included.

        With `macs_per_pe` above 1 the products of a PE meet in an adder tree, and one adder of
        accumulator width serves the whole PE.
        """
        tree = self.adder_energy_pj(adder_tree_bits(weight_bits, activation_bits, accumulator_bits, macs_per_pe))
        last = self.adder_energy_pj(accumulator_bits)
        product = self.multiplier_energy_pj(np.multiply(weight_bits, activation_bits, dtype=np.float64))
        return product + tree + (last - tree) / macs_per_pe

    def multiplier_energy_pj(self, product_of_widths: Array) -> Array:
        """Integer multiply [pJ] by the product of its two widths [bits^2]: a power law through 8x8 and 32x32."""
        at_nominal = _power_through(64, self.multiplier_8x8bit_pj, 1024, self.multiplier_32x32bit_pj, product_of_widths)
        return self.supply_factor * at_nominal

    def adder_energy_pj(self, bits: Array) -> Array:
        """Integer add [pJ] of a width [bits]: a line through 8 and 32 bits."""
        return self.supply_factor * _line_through(8, self.adder_8bit_pj, 32, self.adder_32bit_pj, bits)

    def register_read_pj_per_byte(self, capacity_bytes: Array, word_bytes: Array) -> Array:
        """Read from a register file of a PE [pJ/byte]; `word_bytes`: what a step takes of it.

        A single word is there for nothing.  Reaching one among several costs a power of the capacity, fitted to
        memories of 256 B and up.
        """
        reach = np.divide(capacity_bytes, 512.0) ** self.register_memory_capacity_exponent
        several = np.greater(capacity_bytes, word_bytes)
        return np.where(several, self.supply_factor * self.register_memory_512byte_pj_per_byte * reach, 0.0)

    def register_write_pj_per_byte(self, capacity_bytes: Array, word_bytes: Array) -> Array:
        """Write to a register file of a PE [pJ/byte].

        Bits that change flip at any size; the root of the sum of squares joins that and the reach smoothly.
        """
        flips = 8 * self.logic_energy_pj(1, 0, 0)
        return np.hypot(flips, self.register_read_pj_per_byte(capacity_bytes, word_bytes))

    def logic_energy_pj(self, flip_flop_bits: Array, multiplexer_bits: Array, adder_bits: Array) -> Array:
        """Energy of a new word in so many flip-flops, multiplexers of two inputs and adders, each [bit], in pJ.

        `switching_activity_share` of flip-flops and multiplexers change; adders are as published.  The clock is apart.
        """
        toggles = np.multiply(flip_flop_bits, self.flip_flop_write_pj_per_bit)
        toggles = toggles + np.multiply(multiplexer_bits, self.multiplexer_pj_per_bit)
        adds = np.multiply(adder_bits, self.adder_32bit_pj / 32)
        return self.supply_factor * (self.switching_activity_share * toggles + adds)

    def sram_read_pj_per_byte(
        self, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array = False
    ) -> Array:
        """Read from a buffer [pJ/byte]: `capacity_bytes` and port width `width_bytes` over all its `banks`.

        `two_ports`: its memories have a read and a write port (`TWO_PORTS_ENERGY_FACTOR`).

        A port is slices of `sram_slice_bytes` side by side, and each slice is macros of at most `sram_macro_bytes`, of
        which one is woken; the way from there to the array is a wire (`dse.hardware.power`).  Banking is credited with
        what CACTI finds (a few per cent), not with the energy of a bank alone.
        """
        return self._sram_pj_per_byte("read", capacity_bytes, width_bytes, banks, two_ports)

    def sram_write_pj_per_byte(
        self, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array = False
    ) -> Array:
        """Write to a buffer [pJ/byte]; see `sram_read_pj_per_byte`."""
        return self._sram_pj_per_byte("write", capacity_bytes, width_bytes, banks, two_ports)

    def buffer_pj_per_byte(
        self, operand: str, access: str, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array
    ) -> Array:
        """A ``"read"`` or ``"write"`` of the buffer of ``"weight"``, ``"input"`` or ``"output"`` [pJ/byte].

        What is given outright for it, else `sram_read_pj_per_byte` or `sram_write_pj_per_byte`.
        """
        fitted = self.sram_read_pj_per_byte if access == "read" else self.sram_write_pj_per_byte
        fit = fitted(capacity_bytes, width_bytes, banks, two_ports)
        return self._unless_given(f"{operand}_buffer_{access}_pj_per_byte", fit)

    def register_pj_per_byte(self, operand: str, access: str, capacity_bytes: Array, word_bytes: Array) -> Array:
        """A ``"read"`` or ``"write"`` of the registers of ``"weight"``, ``"input"`` or ``"output"`` in a PE [pJ/byte].

        What is given outright for it, else `register_read_pj_per_byte` or `register_write_pj_per_byte`.
        """
        fitted = self.register_read_pj_per_byte if access == "read" else self.register_write_pj_per_byte
        return self._unless_given(f"{operand}_register_{access}_pj_per_byte", fitted(capacity_bytes, word_bytes))

    def _unless_given(self, name: str, fit: Array) -> Array:
        """An energy that is given outright, alike for all of `fit`, or `fit`."""
        given = getattr(self, name)
        return fit if given is None else np.full_like(fit, given, dtype=np.float64)

    def _sram_pj_per_byte(
        self, access: str, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array
    ) -> Array:
        energy, capacity_exponent, word_exponent, bank_exponent = (
            getattr(self, f"sram_{access}_{x}")
            for x in ("1kib_64bit_pj", "capacity_exponent", "word_exponent", "bank_exponent")
        )
        word_bytes = np.minimum(width_bytes, self.sram_slice_bytes)
        macro_bytes = np.minimum(np.multiply(capacity_bytes, word_bytes) / width_bytes, self.sram_macro_bytes)
        return (
            self.supply_factor * energy / 8
            * (macro_bytes / 1024.0) ** capacity_exponent
            * (word_bytes / 8) ** (word_exponent - 1)
            * np.asarray(banks, dtype=np.float64) ** bank_exponent
            * np.where(two_ports, TWO_PORTS_ENERGY_FACTOR, 1.0)
        )  # fmt: skip

    @property
    def dram_pj_per_byte(self) -> float:
        """Off-chip access, device and interface [pJ/byte]."""
        return 8 * self.dram_pj_per_bit

    def vector_operation_pj(self, accumulator_bits: Array) -> Array:
        """One scalar operation of the vector unit [pJ]: a multiply of half-width operands and a full-width add."""
        half = np.divide(accumulator_bits, 2.0)
        return self.multiplier_energy_pj(half * half) + self.adder_energy_pj(accumulator_bits)

    # Area of cells, without layout overhead.

    def logic_area_um2(self, flip_flop_bits: Array, multiplexer_bits: Array, adder_bits: Array) -> Array:
        """Logic of so many flip-flops, multiplexers of two inputs and adders, each [bit], in um2."""
        return (
            np.multiply(flip_flop_bits, self.flip_flop_um2_per_bit)
            + np.multiply(multiplexer_bits, self.multiplexer_um2_per_bit)
            + np.multiply(adder_bits, self.adder_32bit_um2 / 32)
        )

    def multiplier_area_um2(self, product_of_widths: Array) -> Array:
        """Integer multiplier [um2] by the product of its two widths [bits^2]: a power law through 8x8 and 32x32."""
        return _power_through(64, self.multiplier_8x8bit_um2, 1024, self.multiplier_32x32bit_um2, product_of_widths)

    def adder_area_um2(self, bits: Array) -> Array:
        """Integer adder [um2] of a width [bits]: a line through 8 and 32 bits."""
        return _line_through(8, self.adder_8bit_um2, 32, self.adder_32bit_um2, bits)

    def flip_flop_bits(self, capacity_bytes: Array) -> Array:
        """Flip-flops of one register file of a PE [bit]: all its bits, or 0 where a memory is smaller when laid out.

        The two meet near 85 bytes.  Eyeriss v1 brackets that: its designers built 24 and 48 bytes of flip-flops and a
        memory for 448.
        """
        bits = 8 * np.asarray(capacity_bytes, dtype=np.float64)
        cells = bits * self.flip_flop_um2_per_bit
        return np.where(cells * self.layout_overhead_factor <= self.sram_area_um2(capacity_bytes, 4, 1), bits, 0.0)

    def register_area_um2(self, capacity_bytes: Array, layout: bool = True) -> Array:
        """One register file of a PE [um2]: flip-flops, or a memory with its fixed periphery.

        `layout`: flip-flops with their share of filler and clock network; False: their cells alone.
        """
        flip_flops = self.flip_flop_bits(capacity_bytes) * self.flip_flop_um2_per_bit
        memory = self.sram_area_um2(capacity_bytes, 4, 1)
        return np.where(flip_flops > 0, flip_flops * (self.layout_overhead_factor if layout else 1.0), memory)

    def sram_area_um2(self, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array = False) -> Array:
        """A buffer of `banks` memories with a common port of `width_bytes` [um2]; it has no layout overhead.

        The power law holds for capacity and port together; each macro (a bank, or a `sram_widest_word_bytes`
        slice of a wider one) adds its fixed periphery, so that area never falls with banks or width.  `two_ports`: its
        memories have a read and a write port, which takes `TWO_PORTS_AREA_FACTOR` of the cells; periphery stays.
        """
        banks = np.asarray(banks, dtype=np.float64)
        cells = (
            self.sram_1kib_64bit_um2
            * self.sram_area_over_cacti_factor
            * np.divide(capacity_bytes, 1024.0) ** self.sram_area_capacity_exponent
            * np.divide(width_bytes, 8.0) ** self.sram_area_word_exponent
            * banks**self.sram_area_bank_exponent
            * np.where(two_ports, TWO_PORTS_AREA_FACTOR, 1.0)
        )
        macros = np.maximum(banks, np.divide(width_bytes, self.sram_widest_word_bytes))
        return cells + macros * self.sram_macro_um2

    # Other nodes, files, identity.

    @classmethod
    def at(cls, node_nm: float = 45) -> Technology:
        """The built-in constants at 65, 45, 28, 22, 16 or 7 nm.

        Energies and areas scale by `dse.hardware.node_scaling` (Stillmaker and Baas 2017, high-performance transistors,
        nominal voltages); the price of a DRAM PHY by `node_scaling.dram_phy_mm2_per_gbps`.  DRAM, leakage per mm2 and
        every exponent and share stay.  Other nodes are refused: 28 and 22 nm are interpolated already.  From 28 to 16
        nm area shrinks by 0.52; NVDLA's vendor estimates 0.60 for all its sizes, which is one factor, not a
        measurement, so the matrix stays.  At 7 nm this is optimistic: the published 7 nm column of Jouppi et al. (ISCA
        2021, Table 2) lies above it, 4 to 9 times for arithmetic and 3 to 20 times for SRAM.
        """
        if node_nm not in scaling.NODES_NM:
            known = ", ".join(str(n) for n in scaling.NODES_NM)
            given = f"{node_nm:g}" if isinstance(node_nm, float) else repr(node_nm)
            raise ValueError(
                f"no technology at {given} nm; the nodes are {known}, and none is interpolated between them: take "
                "the nearest, or a file with base_nm and constants of your own"
            )
        base = cls()
        if node_nm == base.node_nm:
            return base
        changes: dict[str, float] = {}
        notes: dict[str, str] = {}
        for f in _numbers():
            law = f.metadata["scales"]
            if law:
                factor = scaling.scale_factor(law, node_nm, int(base.node_nm))
                changes[f.name] = getattr(base, f.name) * factor
                notes[f.name] = f"{f.metadata['source']}; x {factor:.4g} to {node_nm:g} nm ({scaling.SOURCE})"
        changes["dram_interface_mm2_per_gbps"] = scaling.dram_phy_mm2_per_gbps(node_nm)
        vdd_v = scaling.nominal_vdd_v(node_nm)
        base = replace(base, **changes)  # type: ignore[arg-type]  # what scales is a number, never the name or notes
        return replace(
            base, name=f"{node_nm:g} nm", node_nm=node_nm, vdd_v=vdd_v, nominal_vdd_v=vdd_v, notes=tuple(notes.items())
        )

    def sources(self) -> dict[str, str]:
        """Where each constant is from, by field."""
        return {f.name: f.metadata["source"] for f in fields(self) if f.name != "notes"} | dict(self.notes)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Least and largest published value of a constant, over the one here [1]; those of which a range is known.

        A range is at 45 nm; that of another node has the same ratios.  Leakage has the range of its class, or none
        where it is of no class.
        """
        found = {f.name: f.metadata["range"] for f in _numbers() if f.metadata["range"]}
        for name in LEAKAGE_CLASSES["nominal"]:
            del found[name]
            for value, _, (low, high) in (constants[name] for constants in LEAKAGE_CLASSES.values()):
                if getattr(self, name) == value:
                    found[name] = low / value, high / value
        return found

    @property
    def hash(self) -> str:
        """SHA-256 over every constant."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "notes"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_toml(cls, path: str | Path) -> Technology:
        """Load constants from a TOML file: a table ``[technology]``, and ``[sources]`` by field.

        With ``base_nm = 28`` among them the other constants are as they ship at 28 nm; without it every constant must
        be there, but for those of `OPTIONAL`.  ``Technology.at(28).to_toml(path)`` writes a complete file.

        Raises ValueError, one line that names the file: a constant that is unknown, missing or out of range.
        """
        known = [f.name for f in fields(cls) if f.name != "notes"]
        tables = read_toml(path, ("technology", "sources"))
        values, sources = tables["technology"], tables["sources"]
        for name in values:
            check_known(name, ("base_nm", *known), f"{path}: [technology]")
        for name in sources:
            check_known(name, known, f"{path}: [sources]")
        base_nm, stem = values.pop("base_nm", None), Path(path).name
        missing = [name for name in known if name not in values and name not in OPTIONAL]
        if missing and base_nm is None:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise ValueError(
                f"{path}: [technology] lacks {', '.join(missing[:5])}{more}; give every constant, or base_nm = 45 (or "
                "65, 28, 22, 16, 7) to have the others as they ship at that node"
            )
        notes = {name: str(sources.get(name, f"loaded from {stem}")) for name in known if name in {**values, **sources}}
        try:
            if base_nm is None:
                return cls(**values, notes=tuple(notes.items()))
            base = cls.at(base_nm)
            values.setdefault("name", f"{base.name}, changed by {stem}")
            return replace(base, **values, notes=tuple((dict(base.notes) | notes).items()))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_toml(self, path: str | Path) -> None:
        """Write every constant and its source to a TOML file that `from_toml` reads back equal."""
        sources = self.sources()
        values = {name: getattr(self, name) for name in sources}
        given = [f"{name} = {toml_value(value)}" for name, value in values.items() if value is not None]
        lines = ["[technology]", *given]
        lines += ["", "[sources]", *(f"{name} = {toml_value(text)}" for name, text in sources.items())]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


OPTIONAL = tuple(f.name for f in fields(Technology) if f.default is None)
"""Constants that may be left out: energies given outright."""

_PUBLISHED_PAIRS = (
    ("adder_8bit_pj", "adder_32bit_pj", 4),
    ("adder_8bit_um2", "adder_32bit_um2", 4),
    ("multiplier_8x8bit_pj", "multiplier_32x32bit_pj", 64),
    ("multiplier_8x8bit_um2", "multiplier_32x32bit_um2", 64),
)
"""Narrow, wide, and the largest ratio that keeps the law between them positive for every width."""


def technology_or_default(technology: Technology | None) -> Technology:
    """The technology, 45 nm where it is None; ValueError where it is something else."""
    if technology is None:
        return Technology.at(45)
    if not isinstance(technology, Technology):
        raise ValueError(f"technology={technology!r}: give a Technology, such as dse.Technology.at(16)")
    return technology


def _numbers() -> list[Any]:
    return [f for f in fields(Technology) if "scales" in f.metadata]


def _power_through(x0: float, y0: float, x1: float, y1: float, x: Array) -> Array:
    """The power law through two points."""
    return y0 * np.divide(x, x0) ** (math.log(y1 / y0) / math.log(x1 / x0))


def _line_through(x0: float, y0: float, x1: float, y1: float, x: Array) -> Array:
    """The line through two points."""
    return y0 + (y1 - y0) / (x1 - x0) * np.subtract(x, x0, dtype=np.float64)


def adder_tree_bits(weight_bits: Array, activation_bits: Array, accumulator_bits: Array, macs_per_pe: Array) -> Array:
    """Mean width of the ``macs_per_pe - 1`` adders that sum the products of a PE [bits].

    Level i of the tree has ``m / 2^i`` adders of the product's width plus ``i - 1`` bits; their mean is the
    product's width plus ``1 - log2(m) / (m - 1)``.  Never above the accumulator.
    """
    growth = 1 - np.log2(macs_per_pe) / np.maximum(np.subtract(macs_per_pe, 1.0), 1.0)
    return np.minimum(accumulator_bits, np.add(weight_bits, activation_bits) + growth)
