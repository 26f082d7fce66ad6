"""One design: a point of the hardware space.

Registers in each PE, one to three on-chip buffers, DRAM.  Every parameter is a scalar, so that a design
is one row of a table and each parameter can be a variable of a `DesignSpace`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real

from dse.hardware.dataflow import Dataflow, dataflow_named
from dse.networks.layers import OPERANDS

BUFFER_ARRANGEMENTS = ("W+I+O", "W+I/O", "W/I+O", "W+O/I", "W/I/O")
"""Which operands share a buffer: ``+`` joins, ``/`` separates."""

INTERCONNECTS = ("broadcast", "systolic")

OPERAND_NAMES = {"W": "weight", "I": "input", "O": "output"}


def buffer_groups(arrangement: str) -> tuple[str, ...]:
    """The buffers of an arrangement, each as the operands it holds: ``"W+I/O"`` gives ``("WI", "O")``."""
    return tuple(part.replace("+", "") for part in arrangement.split("/"))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Accelerator:
    """Parameters of one accelerator design.

    The shares of operands that live in one buffer add up: with ``buffers="W+I/O"`` the first buffer has
    ``weight_buffer_kib + input_buffer_kib`` KiB, and its widths and banks add up alike.  A buffer is
    `banks` single-port memories side by side; its port moves `width_bytes` bytes a cycle, reads and
    writes together.

    Parameters
    ----------
    rows, cols : PE array [PEs].
    macs_per_pe : multipliers of a PE, a dot product over ``C`` [MACs/cycle].
    dataflow : name in `DATAFLOWS`, or a `Dataflow`.
    interconnect : ``"broadcast"`` (buses) or ``"systolic"`` (neighbour to neighbour, skewed fill and drain).
    overlap_skew : a systolic array hides fill and drain behind work by holding the next stationary tile
        in a second register (TPU v1).
    overlap_load : a broadcast array takes its next stationary tile and first inputs, and gives its last sums, while
        it works; False: it stops for them at every fold (Eyeriss v1).
    weight_register_bytes, input_register_bytes, output_register_bytes : in each PE [bytes].
    buffers : arrangement, one of `BUFFER_ARRANGEMENTS`.
    weight_buffer_kib, input_buffer_kib, output_buffer_kib : capacity [KiB].
    weight_buffer_width_bytes, input_..., output_... : port width [bytes/cycle].
    weight_buffer_banks, input_..., output_... : banks [1].
    double_buffered : operands whose tiles are held twice, so that loading overlaps computing (subset of "WIO").
    bypass : operands that the wires allow to skip the buffers, DRAM straight to the array (subset of "WIO").
    resident_activation_fraction : share of the input buffer's capacity set aside to keep whole
        activations between layers, without a visit to DRAM [0 .. <1].
    resident_weights : weights of a network that all fit in the buffer that holds ``W`` alone stay for the
        next inference.
    buffets : operands whose buffer is refilled word by word behind the work, so that loading overlaps computing with
        one tile held (subset of "WIO"; Pellauer et al., ASPLOS 2019).
    reload_every_tile : the tiles of W and I are loaded again at every step of the DRAM loops, also where they do not
        change (Gemmini's generated loops).
    padded_tiles : operands that lie in DRAM in whole array tiles, edges filled up (subset of "WIO").
    feature_map_compression : bytes of feature maps on the DRAM link / their size [0 < 1 or more]; partial sums and
        weights are never compressed.
    dram_gbps : off-chip bandwidth, reads and writes together [GB/s = 1e9 bytes/s].
    clock_ghz : [GHz].
    weight_bits, activation_bits, accumulator_bits : word widths [bits].
    vector_lanes : scalar operations a cycle of the vector unit [1/cycle].
    """

    rows: int = 16
    cols: int = 16
    macs_per_pe: int = 1
    dataflow: Dataflow | str = "weight_stationary"
    interconnect: str = "broadcast"
    overlap_skew: bool = False
    overlap_load: bool = True
    weight_register_bytes: float = 1
    input_register_bytes: float = 1
    output_register_bytes: float = 4
    buffers: str = "W/I/O"
    weight_buffer_kib: float = 64
    input_buffer_kib: float = 64
    output_buffer_kib: float = 64
    weight_buffer_width_bytes: float = 32
    input_buffer_width_bytes: float = 32
    output_buffer_width_bytes: float = 32
    weight_buffer_banks: int = 1
    input_buffer_banks: int = 1
    output_buffer_banks: int = 1
    double_buffered: str = "WIO"
    bypass: str = ""
    resident_activation_fraction: float = 0.0
    resident_weights: bool = False
    buffets: str = ""
    reload_every_tile: bool = False
    padded_tiles: str = ""
    feature_map_compression: float = 1.0
    dram_gbps: float = 16
    clock_ghz: float = 1.0
    weight_bits: int = 8
    activation_bits: int = 8
    accumulator_bits: int = 32
    vector_lanes: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataflow", dataflow_named(self.dataflow))
        for name in WHOLE:
            value = getattr(self, name)
            if not (_is_number(value) and value >= 1 and int(value) == value):
                raise ValueError(f"Accelerator: {name} must be a whole number >= 1, got {value!r}")
            object.__setattr__(self, name, int(value))
        for name in POSITIVE:
            value = getattr(self, name)
            if not (_is_number(value) and value > 0):
                raise ValueError(f"Accelerator: {name} must be a positive number, got {value!r}")
        for name, allowed in (("interconnect", INTERCONNECTS), ("buffers", BUFFER_ARRANGEMENTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"Accelerator: {name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}"
                )
        for name in ("overlap_skew", "overlap_load", "resident_weights", "reload_every_tile"):
            if getattr(self, name) not in (True, False):  # 1.0 and 0.0 of a batch's columns too
                raise ValueError(f"Accelerator: {name} must be True or False, got {getattr(self, name)!r}")
        for name in ("double_buffered", "bypass", "buffets", "padded_tiles"):
            if not isinstance(getattr(self, name), str) or any(x not in OPERANDS for x in getattr(self, name)):
                raise ValueError(f"Accelerator: {name} is a subset of 'WIO', got {getattr(self, name)!r}")
        if not (_is_number(self.resident_activation_fraction) and 0 <= self.resident_activation_fraction < 1):
            raise ValueError(
                "Accelerator: resident_activation_fraction must be at least 0 and below 1, "
                f"got {self.resident_activation_fraction!r}"
            )
        for operands in buffer_groups(self.buffers):
            shares = [OPERAND_NAMES[x] for x in operands]
            capacity = sum(getattr(self, f"{x}_buffer_kib") for x in shares) * 1024
            width = sum(getattr(self, f"{x}_buffer_width_bytes") for x in shares)
            banks = sum(getattr(self, f"{x}_buffer_banks") for x in shares)
            if capacity < width:
                raise ValueError(
                    f"Accelerator: buffer {operands} holds {capacity:g} bytes, less than one word of its "
                    f"{width:g}-byte port; raise *_buffer_kib or lower *_buffer_width_bytes"
                )
            if width < banks * 0.125:
                raise ValueError(f"Accelerator: buffer {operands} has {banks} banks for a port of {width:g} bytes")

    @property
    def overlapped(self) -> str:
        """Operands whose loading overlaps computing: double-buffered, or refilled behind the work."""
        return "".join(x for x in OPERANDS if x in self.double_buffered + self.buffets)

    @property
    def macs_per_cycle(self) -> int:
        """Peak of the array [MACs/cycle]."""
        return self.rows * self.cols * self.macs_per_pe

    def parameters(self) -> dict[str, object]:
        """Every parameter by name; the dataflow by its name."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"dataflow": str(self.dataflow)}


WHOLE = (
    "rows", "cols", "macs_per_pe", "weight_buffer_banks", "input_buffer_banks", "output_buffer_banks",
    "weight_bits", "activation_bits", "accumulator_bits", "vector_lanes",
)  # fmt: skip
POSITIVE = (
    "weight_register_bytes", "input_register_bytes", "output_register_bytes",
    "weight_buffer_kib", "input_buffer_kib", "output_buffer_kib",
    "weight_buffer_width_bytes", "input_buffer_width_bytes", "output_buffer_width_bytes",
    "feature_map_compression", "dram_gbps", "clock_ghz",
)  # fmt: skip
