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
_ALADDIN = "Aladdin 40 nm library (ISCA 2014), as scaled to 45 nm by hwcomponents"


def _constant(
    value: float,
    source: str,
    scales: str | None = None,
    signed: bool = False,
    published: tuple[float, float] | None = None,
) -> Any:
    """A field with its source; `scales` names the law that brings it to another node.

    `published`: least and largest published value, in the unit and at the node of `value`; see `Technology.ranges`.
    """
    return field(default=value, metadata={"source": source, "scales": scales, "signed": signed, "published": published})


TWO_PORTS_AREA_FACTOR = 1.3
"""Cells of a memory with a read port and a write port / with one port for both [1].

The cell of 8 transistors, with a read port of its own, is 30 % larger than that of 6 (Chang et al., VLSI Technology
2005, recalled).  CACTI 7, which adds word and bit lines to the cell of 6, gives 2.10: mean of 45 pairs, 22 to 65 nm,
4 KiB to 1 MiB, set up as for the fits of `Technology`, 1.65 to 2.80.  The two disagree.  NVDLA's convolution buffer has
two ports, and the published areas of its small cores leave no room for more than 1.6.  Range: 1.3 to 2.1.
"""

TWO_PORTS_ENERGY_FACTOR = 1.36
"""Energy of a read or a write, likewise [1]: the same runs of CACTI, reads 1.23 to 1.50, writes 1.25 to 1.58."""


@dataclass(frozen=True)
class Technology:
    """Constants of one technology node; the defaults are 45 nm.  ``sources()`` tells where each is from.

    Fields end in their unit: ``_pj`` [pJ per operation or access], ``_pj_per_byte``, ``_pj_per_bit``,
    ``_um2``, ``_um2_per_bit``, ``_mm2_per_gbps`` [mm2 per GB/s], ``_w_per_mm2``, ``_v``, ``_nm``, ``_bytes``;
    ``_exponent``, ``_share`` and ``_factor`` have none.
    """

    name: str = field(default="45 nm", metadata={"source": "label"})
    node_nm: float = _constant(45, "node of the published tables this is built on")
    vdd_v: float = _constant(1.0, "nominal for high-performance 45 nm transistors (PTM); information only")
    dram_type: str = field(default="LPDDR4", metadata={"source": "choice: the usual memory of edge accelerators"})

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
    flip_flop_pj_per_bit: float = _constant(0.010357, _ALADDIN + " (0.009 pJ at 40 nm)", "energy")
    flip_flop_um2_per_bit: float = _constant(8.74, _ALADDIN + " (5.98 um2 at 40 nm)", "area")
    register_memory_512byte_pj_per_byte: float = _constant(
        0.3135,
        "CACTI 7 at 45 nm, 32-bit words, mean of read and write, fit over 256 B to 4 KiB (smaller rows are not "
        "simulated); Eyeriss (ISCA 2016, Table IV) has a 0.5 to 1 KiB register file at 1x a 16-bit MAC, 0.45 pJ/byte",
        "energy",
        published=(0.3135, 0.45),
    )
    register_memory_capacity_exponent: float = _constant(0.469, "same fit as register_memory_512byte_pj_per_byte")

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
    sram_widest_word_bytes: float = _constant(64, "widest word simulated; a wider port is several words side by side")
    sram_1kib_64bit_um2: float = _constant(4172.2, _CACTI + " (mean error 13 %, worst 47 %)", "area")
    sram_area_capacity_exponent: float = _constant(0.9527, _CACTI)
    sram_area_word_exponent: float = _constant(0.1208, _CACTI)
    sram_area_bank_exponent: float = _constant(0.022, "CACTI 7, 1 to 32 banks, 64 KiB to 1 MiB, 22 to 65 nm")
    sram_area_over_cacti_factor: float = _constant(
        2.09,
        "Eyeriss v1 (JSSC 2017, Sec. VI, 65 nm): the global buffer, 108 KiB in 27 banks, is 19 % of the 12.25 mm2 "
        "core, the spads, 168 PEs of 448 B SRAM and 72 B flip-flops, 47.6 %; this factor on CACTI and sram_macro_um2 "
        "give both, at 45 nm and without layout overhead.  Check, TPU v1 (ISCA 2017, Fig. 2): 24 MiB are 96 mm2 at "
        "28 nm, 105 by these constants.  Range, 16 to 65 nm: 1.3 (Simba, 64 KiB) to 2.6 (DianNao, wide and shallow)",
        published=(1.3, 2.6),
    )
    sram_macro_um2: float = _constant(
        7735, "fixed periphery of a memory: Eyeriss v1, with sram_area_over_cacti_factor", "area"
    )

    # Wires, vector unit, control.
    bus_pj_per_bit: float = _constant(0.61, "on-chip bus in Planaria's configuration (MICRO 2020), 45 nm", "energy")
    hop_pj_per_byte: float = _constant(
        0.1,
        "one pipeline flip-flop per bit (0.083) and 0.05 mm of wire at 0.04 pJ/bit/mm (Park et al., DATE 2013, 45 nm "
        "SOI).  Range: up to 0.9 (Eyeriss, ISCA 2016: inter-PE network 2x a MAC)",
        "energy",
        published=(0.1, 0.9),
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
        106000,
        "DianNao (ASPLOS 2014, Table 6) control processor, AXI multiplexer and other, 160,802 um2 at 65 nm x 0.66",
        "area",
    )
    layout_overhead_factor: float = _constant(
        1.41,
        "DianNao (ASPLOS 2014, Table 6): filler 26.85 % and clock network 2.27 % of the area, 1 / (1 - 0.2912).  "
        "Range: 1.04 (EIE, 93 % memory) to 1.41",
        published=(1.04, 1.41),
    )

    # Off chip.
    dram_pj_per_bit: float = _constant(
        8, "LPDDR4, hwcomponents-cacti 1.0.40 table.  Others: HBM2 3.9 to 6.25, GDDR6 6.5, DDR3/4 20, DDR3 70 pJ/bit"
    )
    dram_interface_mm2_per_gbps: float = _constant(
        0.31,
        "Synopsys 16-bit DDR3-2133 PHY with I/O, 1.3 mm2 at 40 nm for 4.27 GB/s, and Cadence controller, 0.15 mm2 at "
        "65 nm for 12.8 GB/s (both as quoted in McPAT's memoryctrl.cc).  Range: 0.03 (HBM2E PHY at 7 nm, ARK, MICRO "
        "2022: 29.6 mm2 for 1 TB/s) to 0.69 (TPU v1, 28 nm: I/O 10 % of <= 331 mm2 for 34 + 14 GB/s).  Analogue and "
        "pads: the same at every node",
        published=(0.03, 0.69),
    )

    # Leakage.
    leakage_w_per_mm2: float = _constant(
        0.0086,
        "Aladdin 40 nm library, 32-bit adder: 2.4 uW in 278 um2, on the cell area of everything but the DRAM "
        "interface.  Range: 0.0037 (fit to Eyeriss v1, 65 nm: 30 mW in 8.2 mm2 of memory) to 0.0126 (Aladdin "
        "multiplier); low-power SRAM cells 1000x less.  Not scaled over nodes",
        published=(0.0037, 0.0126),
    )

    notes: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    """Sources that replace the built-in ones, as pairs of field and text (set by `at` and `from_toml`)."""

    def __post_init__(self) -> None:
        for name in ("name", "dram_type"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"Technology: {name} must be text, got {getattr(self, name)!r}")
        for f in _numbers():
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"Technology: {f.name} must be a finite number, got {value!r}")
            if value < 0 and not f.metadata["signed"]:
                raise ValueError(f"Technology: {f.name} must not be negative, got {value!r}")
            object.__setattr__(self, f.name, float(value))
        for name in ("node_nm", "sram_widest_word_bytes", "layout_overhead_factor"):
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
        return _power_through(64, self.multiplier_8x8bit_pj, 1024, self.multiplier_32x32bit_pj, product_of_widths)

    def adder_energy_pj(self, bits: Array) -> Array:
        """Integer add [pJ] of a width [bits]: a line through 8 and 32 bits."""
        return _line_through(8, self.adder_8bit_pj, 32, self.adder_32bit_pj, bits)

    def register_energy_pj_per_byte(self, capacity_bytes: Array) -> Array:
        """One access to a register file in a PE, mean of read and write [pJ/byte].

        A byte of flip-flops toggles at any size; reaching it among others costs a power of the capacity
        fitted to memories of 256 B and up.  The root of the sum of squares joins the two smoothly.
        """
        reach = np.divide(capacity_bytes, 512.0) ** self.register_memory_capacity_exponent
        return np.hypot(8 * self.flip_flop_pj_per_bit, self.register_memory_512byte_pj_per_byte * reach)

    def sram_read_pj_per_byte(
        self, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array = False
    ) -> Array:
        """Read from a buffer [pJ/byte]: `capacity_bytes` and port width `width_bytes` over all its `banks`.

        `two_ports`: its memories have a read and a write port (`TWO_PORTS_ENERGY_FACTOR`).

        Banking is credited with what CACTI finds (a few per cent), not with the energy of a bank alone: the
        word still crosses the whole buffer.
        """
        return self._sram_pj_per_byte("read", capacity_bytes, width_bytes, banks, two_ports)

    def sram_write_pj_per_byte(
        self, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array = False
    ) -> Array:
        """Write to a buffer [pJ/byte]; see `sram_read_pj_per_byte`."""
        return self._sram_pj_per_byte("write", capacity_bytes, width_bytes, banks, two_ports)

    def _sram_pj_per_byte(
        self, access: str, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array
    ) -> Array:
        energy, capacity_exponent, word_exponent, bank_exponent = (
            getattr(self, f"sram_{access}_{x}")
            for x in ("1kib_64bit_pj", "capacity_exponent", "word_exponent", "bank_exponent")
        )
        word_bytes = np.minimum(width_bytes, self.sram_widest_word_bytes)
        return (
            energy / 8
            * np.divide(capacity_bytes, 1024.0) ** capacity_exponent
            * (word_bytes / 8) ** (word_exponent - 1)
            * np.asarray(banks, dtype=np.float64) ** bank_exponent
            * np.where(two_ports, TWO_PORTS_ENERGY_FACTOR, 1.0)
        )  # fmt: skip

    @property
    def dram_pj_per_byte(self) -> float:
        """Off-chip access, device and interface [pJ/byte]."""
        return 8 * self.dram_pj_per_bit

    @property
    def bus_pj_per_byte(self) -> float:
        """Broadcast over a bus of the array, per byte sent once [pJ/byte]."""
        return 8 * self.bus_pj_per_bit

    def vector_operation_pj(self, accumulator_bits: Array) -> Array:
        """One scalar operation of the vector unit [pJ]: a multiply of half-width operands and a full-width add."""
        half = np.divide(accumulator_bits, 2.0)
        return self.multiplier_energy_pj(half * half) + self.adder_energy_pj(accumulator_bits)

    # Area of cells, without layout overhead.

    def multiplier_area_um2(self, product_of_widths: Array) -> Array:
        """Integer multiplier [um2] by the product of its two widths [bits^2]: a power law through 8x8 and 32x32."""
        return _power_through(64, self.multiplier_8x8bit_um2, 1024, self.multiplier_32x32bit_um2, product_of_widths)

    def adder_area_um2(self, bits: Array) -> Array:
        """Integer adder [um2] of a width [bits]: a line through 8 and 32 bits."""
        return _line_through(8, self.adder_8bit_um2, 32, self.adder_32bit_um2, bits)

    def register_area_um2(self, capacity_bytes: Array) -> Array:
        """One register file of a PE [um2]: the smaller of flip-flops and a memory with its fixed periphery.

        The two meet near 130 bytes.  Eyeriss v1 brackets that: its designers built 24 and 48 bytes of
        flip-flops and a memory for 448.
        """
        flip_flops = self.flip_flop_um2_per_bit * 8 * np.asarray(capacity_bytes, dtype=np.float64)
        return np.minimum(flip_flops, self.sram_area_um2(capacity_bytes, 4, 1))

    def sram_area_um2(self, capacity_bytes: Array, width_bytes: Array, banks: Array, two_ports: Array = False) -> Array:
        """A buffer of `banks` memories with a common port of `width_bytes` [um2].

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
        nominal voltages).  DRAM, its interface, leakage per mm2 and every exponent and share stay.  At 7 nm this is
        optimistic: the published 7 nm column of Jouppi et al. (ISCA 2021, Table 2) lies above it, 4 to 9 times for
        arithmetic and 3 to 20 times for SRAM.
        """
        if node_nm not in scaling.NODES_NM:
            known = ", ".join(str(n) for n in scaling.NODES_NM)
            raise ValueError(f"no technology at {node_nm!r} nm; the nodes are {known}")
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
        vdd_v = scaling.nominal_vdd_v(node_nm)
        base = replace(base, **changes)  # type: ignore[arg-type]  # what scales is a number, never the name or notes
        return replace(base, name=f"{node_nm:g} nm", node_nm=node_nm, vdd_v=vdd_v, notes=tuple(notes.items()))

    def sources(self) -> dict[str, str]:
        """Where each constant is from, by field."""
        return {f.name: f.metadata["source"] for f in fields(self) if f.name != "notes"} | dict(self.notes)

    @staticmethod
    def ranges() -> dict[str, tuple[float, float]]:
        """Least and largest published value of a constant, each over its default [1]; those of which a range is known.

        A range is at 45 nm.  That of another node has the same ratios.
        """
        known = {f.name: (f.default, f.metadata["published"]) for f in _numbers() if f.metadata["published"]}
        return {name: (low / default, high / default) for name, (default, (low, high)) in known.items()}

    @property
    def hash(self) -> str:
        """SHA-256 over every constant."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "notes"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_toml(cls, path: str | Path) -> Technology:
        """Load all constants from a TOML file: a table ``[technology]`` with every field, and ``[sources]`` by field.

        ``Technology.at(28).to_toml(path)`` writes a complete file to start from.
        """
        known = [f.name for f in fields(cls) if f.name != "notes"]
        tables = read_toml(path, ("technology", "sources"))
        values, sources = tables["technology"], tables["sources"]
        for table, names in tables.items():
            for name in names:
                check_known(name, known, f"{path}: [{table}]")
        missing = [name for name in known if name not in values]
        if missing:
            raise ValueError(f"{path}: [technology] lacks {', '.join(missing)}")
        notes = tuple((name, str(sources.get(name, f"loaded from {Path(path).name}"))) for name in known)
        try:
            return cls(**values, notes=notes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_toml(self, path: str | Path) -> None:
        """Write every constant and its source to a TOML file that `from_toml` reads back equal."""
        sources = self.sources()
        lines = ["[technology]", *(f"{name} = {toml_value(getattr(self, name))}" for name in sources)]
        lines += ["", "[sources]", *(f"{name} = {toml_value(text)}" for name, text in sources.items())]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


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
