"""One design: a point of the hardware space.

It has registers in each PE, one to three on-chip buffers, and DRAM.  Every parameter is a scalar, so that a design
is one row of a table and each parameter can be a variable of a `DesignSpace`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any

import numpy as np

from dse.hardware.dataflow import DEFAULT_DATAFLOWS, Dataflow, check_fits, dataflow_named
from dse.hardware.dram_types import DRAM_TYPES, DramType, dram_type_named
from dse.networks.layers import OPERANDS

BUFFER_ARRANGEMENTS = ("W+I+O", "W+I/O", "W/I+O", "W+O/I", "W/I/O")
"""Which operands share a buffer: ``+`` joins, ``/`` separates."""

INTERCONNECTS = ("broadcast", "systolic")

SPARSE_WEIGHTS = ("none", "2:4")
"""Zeros among weights that the hardware makes use of."""

PORT_MODELS = ("bytes", "accesses")
"""What a buffer port counts: bytes over its width, or accesses of at most the width of a bank."""

NAMED = (Dataflow, DramType)
"""Kinds of values that files tell by a name."""

OPERAND_NAMES = {"W": "weight", "I": "input", "O": "output"}


def buffer_groups(arrangement: str) -> tuple[str, ...]:
    """The buffers of an arrangement, each as the operands it holds: ``"W+I/O"`` gives ``("WI", "O")``."""
    return tuple(part.replace("+", "") for part in arrangement.split("/"))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _parameter(default: Any, unit: str, meaning: str, kind: str, levels: Iterable[Any] = ()) -> Any:
    """A field of `Accelerator`: everything that the rest of the library says of it.

    Parameters
    ----------
    unit : of its values; ``1`` for counts and ratios, ``-`` for texts.
    meaning : in a line.
    kind : what it may be: ``count`` (whole, at least 1), ``whole`` (whole, at least 0), ``positive``, ``amount`` (at
        least 0), ``share`` (at least 0, below 1), ``flag``, ``operands`` (a subset of "WIO"), ``choice``, ``dataflow``,
        ``dram``.
    levels : in the default space; none where that fixes it.
    """
    return field(default=default, metadata={"unit": unit, "meaning": meaning, "kind": kind, "levels": tuple(levels)})


def _register(operand: str, default: float, levels: Iterable[float]) -> Any:
    levels = (*levels, 16, 32, 64, 128, 256, 512)
    return _parameter(default, "byte", f"{operand}s: registers in each PE", "positive", sorted(levels))


def _buffer(operand: str, what: str) -> Any:
    share = "share of it where operands share a buffer"
    if what == "kib":
        levels = [2**i for i in range(2, 14)]
        return _parameter(64, "KiB", f"{operand}s: capacity of the on-chip buffer ({share})", "positive", levels)
    if what == "width_bytes":
        meaning = f"{operand}s: width of each port of the on-chip buffer, over all its banks ({share})"
        return _parameter(32, "byte/cycle", meaning, "positive", (8, 16, 32, 64, 128, 256))
    return _parameter(1, "1", f"{operand}s: banks of the on-chip buffer ({share})", "count", (1, 4, 16))


def _operands(default: str, meaning: str) -> Any:
    return _parameter(default, "-", f'operands (a subset of "WIO") {meaning}', "operands")


@dataclass(frozen=True)
class Accelerator:
    """Parameters of one accelerator design.

    The shares of operands that live in one buffer add up: with ``buffers="W+I/O"`` the first buffer has
    ``weight_buffer_kib + input_buffer_kib`` KiB, and its widths and banks add up alike.  A buffer is
    `banks` memories side by side, each an equal part of its `width_bytes`.  They have one port, for reads and
    writes together, or with `separate_ports` one for reads and one for writes.  A port moves `width_bytes` bytes a
    cycle; counted in accesses, it makes one access a cycle and bank, each of words of one operand.

    Parameters
    ----------
    """

    rows: int = _parameter(16, "PE", "rows of the PE array", "count", (4, 8, 16, 32, 64, 128))
    cols: int = _parameter(16, "PE", "columns of the PE array", "count", (4, 8, 16, 32, 64, 128))
    macs_per_pe: int = _parameter(
        1, "MAC/cycle", "multipliers of a PE, a dot product over input channels", "count", (1, 2, 4, 8, 16)
    )
    dataflow: Dataflow | str = _parameter(  # noqa: RUF009
        "weight_stationary",
        "-",
        "which loops unroll over the array and which operand stays put: a name of `DATAFLOWS`, or a `Dataflow`",
        "dataflow",
        DEFAULT_DATAFLOWS,
    )
    interconnect: str = _parameter(
        "broadcast",
        "-",
        "broadcast (buses) or systolic (neighbour to neighbour, skewed fill and drain)",
        "choice",
        INTERCONNECTS,
    )
    overlap_skew: bool = _parameter(
        False,
        "-",
        "a systolic array hides fill and drain behind work: it holds the next stationary tile in a second register",
        "flag",
    )
    overlap_load: bool = _parameter(
        True,
        "-",
        "a broadcast array loads its registers while it works; False: between its folds",
        "flag",
    )
    weight_register_bytes: float = _register("weight", 1, (1, 4))
    input_register_bytes: float = _register("input", 1, (1, 4))
    output_register_bytes: float = _register("output", 4, (4, 8, 1024))
    buffers: str = _parameter(
        "W/I/O", "-", "which operands share an on-chip buffer: + joins, / separates", "choice", BUFFER_ARRANGEMENTS
    )
    dram_gbps: float = _parameter(
        16,
        "GB/s",
        "off-chip bandwidth, reads and writes together (1e9 bytes/s)",
        "positive",
        (2**i for i in range(9)),
    )
    dram_type: DramType | str = _parameter(  # noqa: RUF009
        "",
        "-",
        'type of DRAM, which with `dram_channels` sets `dram_gbps`: a name of `DRAM_TYPES`, or a `DramType`; "": none '
        "named",
        "dram",
    )
    dram_channels: float = _parameter(
        1.0, "1", "channels of the DRAM type, or a share of one; nothing where no type is named", "positive"
    )
    resident_activation_fraction: float = _parameter(
        0.0,
        "1",
        "share of the input buffer that may keep whole activations between layers, without a visit to DRAM; tiles have "
        "what they leave",
        "share",
        (0.0, 0.25, 0.5, 0.75),
    )
    vector_lanes: int = _parameter(
        16, "1/cycle", "scalar operations a cycle of the vector unit", "count", (4, 8, 16, 32, 64, 128, 256)
    )
    weight_buffer_kib: float = _buffer("weight", "kib")
    weight_buffer_width_bytes: float = _buffer("weight", "width_bytes")
    weight_buffer_banks: int = _buffer("weight", "banks")
    input_buffer_kib: float = _buffer("input", "kib")
    input_buffer_width_bytes: float = _buffer("input", "width_bytes")
    input_buffer_banks: int = _buffer("input", "banks")
    output_buffer_kib: float = _buffer("output", "kib")
    output_buffer_width_bytes: float = _buffer("output", "width_bytes")
    output_buffer_banks: int = _buffer("output", "banks")
    port_model: str = _parameter(
        "bytes",
        "-",
        "what a buffer port counts: bytes (bytes / width) or accesses (one a cycle and bank, of one operand, padded to "
        "the width of the bank)",
        "choice",
    )
    separate_ports: str = _operands(
        "", "whose buffer has a write port beside its read port, each of its whole width; one suffices where they share"
    )
    double_buffered: str = _operands("WIO", "whose tiles are held twice, so that loading overlaps computing")
    bypass: str = _operands("", "that the wires allow to skip the buffers, DRAM straight to the array")
    resident_weights: bool = _parameter(
        False,
        "-",
        "weights of a network that all fit in the buffer that holds W alone stay for the next inference",
        "flag",
    )
    buffets: str = _operands(
        "",
        "whose buffer is refilled word by word behind the work: loading overlaps computing with one tile held "
        "(Pellauer et al., ASPLOS 2019)",
    )
    reload_every_tile: bool = _parameter(
        False,
        "-",
        "tiles of W and I are loaded at every step of the DRAM loops, also where they do not change (Gemmini)",
        "flag",
    )
    padded_tiles: str = _operands("", "that lie in DRAM in whole array tiles, edges filled up")
    feature_map_compression: float = _parameter(
        1.0,
        "1",
        "bytes of feature maps on the DRAM link / their size; sums and weights are never compressed",
        "positive",
    )
    clock_ghz: float = _parameter(1.0, "GHz", "clock", "positive")
    weight_bits: int = _parameter(8, "bit", "width of a weight", "count")
    activation_bits: int = _parameter(8, "bit", "width of an activation", "count")
    accumulator_bits: int = _parameter(32, "bit", "width of a partial sum", "count")
    narrow_weight_bits: int = _parameter(
        0,
        "bit",
        "weights of at most so many bits are kept at this width, and a multiplier takes weight_bits / "
        "narrow_weight_bits of them a cycle, along C; 0: all are kept at weight_bits",
        "whole",
    )
    sparse_weights: str = _parameter(
        "none",
        "-",
        "2:4: of weights of which two of each four along C are zero only the others are kept and multiplied; none: all",
        "choice",
    )
    engine_flip_flop_bits: float = _parameter(
        0.0,
        "bit",
        "flip-flops of engines that the model does not time (pooling, normalisation, data movement, control), which "
        "take area with their gates",
        "amount",
    )

    def __post_init__(self) -> None:
        for name, told in PARAMETERS.items():
            object.__setattr__(self, name, _checked(name, told.kind, getattr(self, name)))
        try:
            check_fits(dataflow_named(self.dataflow), self.rows, self.cols, self.bypass)
        except ValueError as error:
            raise ValueError(f"Accelerator: {error}") from None
        if 2 * self.narrow_weight_bits > self.weight_bits:
            raise ValueError(
                f"Accelerator: narrow_weight_bits={self.narrow_weight_bits} must be at most half of "
                f"weight_bits={self.weight_bits}, so that a multiplier takes several such weights; 0 for none"
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
        if isinstance(self.dram_type, DramType):
            object.__setattr__(self, "dram_gbps", self.dram_channels * self.dram_type.of("channel_gbps"))

    @property
    def overlapped(self) -> str:
        """Operands whose loading overlaps computing: double-buffered, or refilled behind the work."""
        return "".join(x for x in OPERANDS if x in self.double_buffered + self.buffets)

    @property
    def macs_per_cycle(self) -> int:
        """Peak of the array [MACs/cycle]."""
        return self.rows * self.cols * self.macs_per_pe

    def with_parameters(self, values: Mapping[str, object]) -> Accelerator:
        """The design with other values of some parameters, by name; each is checked as any that a design is made of."""
        return replace(self, **values)  # type: ignore[arg-type]  # `_checked` refuses a value of a wrong type

    def with_bandwidth(self, gbps: float) -> Accelerator:
        """The design with another off-chip bandwidth [GB/s]: of another number of channels where it names a DRAM."""
        if isinstance(self.dram_type, DramType):
            return replace(self, dram_channels=gbps / self.dram_type.of("channel_gbps"))
        return replace(self, dram_gbps=gbps)

    def parameters(self) -> dict[str, object]:
        """Every parameter by name; the dataflow and the type of DRAM by their names."""
        return {f.name: _named(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter of `Accelerator`; see `_parameter`."""

    name: str
    unit: str
    meaning: str
    kind: str
    levels: tuple[Any, ...]
    default: Any


PARAMETERS: dict[str, Parameter] = {
    f.name: Parameter(f.name, **f.metadata, default=f.default) for f in fields(Accelerator)
}
"""Every parameter of a design by name, in their order."""

_CHOICES = {
    "interconnect": INTERCONNECTS,
    "buffers": BUFFER_ARRANGEMENTS,
    "port_model": PORT_MODELS,
    "sparse_weights": SPARSE_WEIGHTS,
}

Accelerator.__doc__ = (Accelerator.__doc__ or "").rstrip() + "".join(
    f"\n    {p.name} : {p.meaning}{'' if p.unit == '-' else f' [{p.unit}]'}." for p in PARAMETERS.values()
)


def _named(value: object) -> object:
    return str(value) if isinstance(value, NAMED) else value


def check_one_bandwidth(values: Mapping[str, object], design: Accelerator) -> None:
    """Raise a ValueError where `values`, from which a design was made, give another bandwidth than its DRAM type does.

    The type sets the bandwidth: what is given besides would be dropped without a word.
    """
    given = values.get("dram_gbps", design.dram_gbps)
    if design.dram_type and given != design.dram_gbps:
        raise ValueError(
            f"dram_gbps={given} and {design.dram_channels:g} x dram_type {design.dram_type}, which is "
            f"{design.dram_gbps:g} GB/s: leave out dram_gbps, and set dram_channels for another bandwidth"
        )


def _checked(name: str, kind: str, value: Any) -> Any:
    """The value of a parameter as a design holds it, so that TOML can hold it; a ValueError says what it must be."""
    wrong = None
    if isinstance(value, np.generic):
        value = value.item()
    if kind == "dataflow":
        return dataflow_named(value)
    if kind == "dram":
        if value is None or value == "":
            return ""
        if not isinstance(value, str | DramType):
            raise ValueError(f"Accelerator: dram_type must be one of {', '.join(DRAM_TYPES)}, got {value!r}")
        return dram_type_named(value)
    if kind == "count":
        if _is_number(value) and value >= 1 and int(value) == value:
            return int(value)
        wrong = "must be a whole number >= 1"
    elif kind == "whole":
        if _is_number(value) and value >= 0 and int(value) == value:
            return int(value)
        wrong = "must be a whole number >= 0"
    elif kind == "positive" and not (_is_number(value) and value > 0):
        wrong = "must be a positive number"
    elif kind == "amount" and not (_is_number(value) and value >= 0):
        wrong = "must be a number >= 0"
    elif kind == "share" and not (_is_number(value) and 0 <= value < 1):
        wrong = "must be at least 0 and below 1"
    elif kind == "flag":
        if isinstance(value, Real) and value in (True, False):  # 1.0 and 0.0 of a batch's columns too
            return bool(value)
        wrong = "must be True or False"
    elif kind == "choice" and value not in _CHOICES[name]:
        wrong = f"must be one of {', '.join(_CHOICES[name])}"
    elif kind == "operands" and not (isinstance(value, str) and all(x in OPERANDS for x in value)):
        wrong = "is a subset of 'WIO'"
    if wrong:
        raise ValueError(f"Accelerator: {name} {wrong}, got {value!r}")
    return float(value) if isinstance(value, Real) and not isinstance(value, int | float) else value
