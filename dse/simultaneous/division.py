"""One chip divided into sub-arrays, and a mix of networks that runs on them.

A design is divided by its columns of PEs, with vector lanes and control; its buffers, with their ports and banks; and
its DRAM bandwidth: statically, or shared by the layers that run at the moment.  Each sub-array is an `Accelerator` of
its own and may have a dataflow of its own; the cost model says what each layer takes on it, and
`dse.simultaneous.schedules` what happens when all run at once.  Activations that stay on chip between layers are taken
to stay also where another network's layer runs between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from dse.costs.kernel_rows import columns_of, parameter_columns
from dse.hardware.accelerator import OPERAND_NAMES, Accelerator
from dse.hardware.area import area_blocks_mm2
from dse.hardware.dataflow import Dataflow, dataflow_named
from dse.hardware.technology import Technology

POLICIES = ("time_shared", "partition", "shared_bandwidth")
"""Whole array, layer by layer; sub-arrays with a part of the bandwidth each; sub-arrays that share the bandwidth."""


@dataclass(frozen=True)
class Division:
    """How a design is divided into sub-arrays.

    Parameters
    ----------
    columns : share of the PE columns of each sub-array, (n,), any positive numbers: (1, 3) is a quarter and the rest.
    buffers, bandwidth : shares of the buffers and of the DRAM bandwidth; default: as the columns.
    dataflows : dataflow of each, a name of a built-in one or of the design's, None = the design's; default: all the
        design's.
    shared_bandwidth : the layers that run share the whole bandwidth; otherwise each sub-array keeps its part.
    """

    columns: tuple[float, ...] = (1,)
    buffers: tuple[float, ...] | None = None
    bandwidth: tuple[float, ...] | None = None
    dataflows: tuple[Dataflow | str | None, ...] | None = None
    shared_bandwidth: bool = True

    def __post_init__(self) -> None:
        for name in ("columns", "buffers", "bandwidth"):
            values = getattr(self, name)
            if values is None and name != "columns":
                object.__setattr__(self, name, self.columns)
                continue
            if not isinstance(values, Sequence | np.ndarray) or not all(isinstance(v, Real) for v in values):
                raise ValueError(f"division: {name} must be shares, such as (1, 3), got {values!r}")
            if not len(self.columns):
                raise ValueError("division: columns is empty; give at least one share, such as (1,)")
            if len(values) != self.sub_arrays or not (all(v > 0 for v in values) and np.isfinite(sum(values))):
                raise ValueError(
                    f"division: {name} must be {self.sub_arrays} positive shares, one a sub-array, got {values!r}"
                )
        if self.dataflows is None:
            object.__setattr__(self, "dataflows", (None,) * self.sub_arrays)
        elif len(self.dataflows) != self.sub_arrays:
            raise ValueError(
                f"division: {len(self.dataflows)} dataflows for {self.sub_arrays} sub-arrays; give one or None each"
            )

    @classmethod
    def from_text(cls, columns: str) -> Division:
        """A division by columns as people write it: ``1,1,2``.  ValueError says what is expected."""
        return cls(columns=_shares(columns, "division"))

    def with_text(self, buffers: str | None, bandwidth: str | None, dataflows: str | None) -> Division:
        """With parts as people write them, None = as it is: buffers ``2,1``, bandwidth ``shared`` or ``2,1``, dataflows
        ``row_stationary,output_stationary``."""
        changes: dict[str, Any] = {}
        if buffers is not None:
            changes["buffers"] = _shares(buffers, "buffers")
        if bandwidth is not None:
            parts = None if bandwidth == "shared" else _shares(bandwidth, "bandwidth")
            changes |= {"bandwidth": parts, "shared_bandwidth": parts is None}
        if dataflows is not None:
            changes["dataflows"] = tuple(name.strip() for name in dataflows.split(","))
        return replace(self, **changes)

    @property
    def sub_arrays(self) -> int:
        """Number of sub-arrays."""
        return len(self.columns)

    def kind(self, design: Accelerator) -> str:
        """Of this division of a design: ``time-shared``, ``homogeneous`` (one dataflow), or ``heterogeneous``."""
        if self.sub_arrays == 1:
            return "time-shared"
        return "homogeneous" if len({part.dataflow for part in self.of(design)}) == 1 else "heterogeneous"

    def dataflow_of(self, a: int, design: Accelerator) -> Dataflow:
        """Dataflow of the sub-array `a`, from 0, of a design."""
        own = dataflow_named(design.dataflow)
        flow = None if self.dataflows is None else self.dataflows[a]
        return own if flow is None else dataflow_named(flow, {own.name: own})

    def of(self, design: Accelerator) -> tuple[Accelerator, ...]:
        """The sub-arrays of a design; columns, vector lanes and banks are whole, the largest remainders rounded up.

        Each has at least one: of fewer lanes or banks than sub-arrays a division has more than the design.  With shared
        bandwidth each has the whole of it: what its layers can take when they run alone.
        """
        n = self.sub_arrays
        if n > design.cols:
            raise ValueError(f"{n} sub-arrays on {design.cols} columns: each needs at least one; divide into fewer")
        if n == 1 and (self.dataflows is None or self.dataflows[0] is None):
            return (design,)
        columns, lanes = _whole_shares(design.cols, self.columns), _whole_shares(design.vector_lanes, self.columns)
        of_buffers = self.columns if self.buffers is None else self.buffers
        of_bandwidth = self.columns if self.bandwidth is None else self.bandwidth
        banks = {x: _whole_shares(getattr(design, f"{x}_buffer_banks"), of_buffers) for x in OPERAND_NAMES.values()}
        parts = []
        buffers = np.array(of_buffers) / sum(of_buffers)
        bandwidth = np.array(of_bandwidth) / sum(of_bandwidth)
        for a in range(n):
            changes: dict[str, object] = {
                "dataflow": self.dataflow_of(a, design),
                "cols": int(columns[a]),
                "vector_lanes": int(lanes[a]),
            }
            share = 1.0 if self.shared_bandwidth else float(bandwidth[a])
            for x in OPERAND_NAMES.values():
                for size in ("kib", "width_bytes"):
                    changes[f"{x}_buffer_{size}"] = getattr(design, f"{x}_buffer_{size}") * float(buffers[a])
                changes[f"{x}_buffer_banks"] = int(banks[x][a])
            try:
                parts.append(design.with_parameters(changes).with_bandwidth(design.dram_gbps * share))
            except ValueError as error:
                raise ValueError(f"sub-array {a}: {error}") from None
        return tuple(parts)

    def area_blocks_mm2(self, design: Accelerator, technology: Technology) -> dict[str, float]:
        """Area by block: the sub-arrays' added up, one DRAM interface, engines and the fixed part once [mm2].

        A divided buffer is no smaller than the whole one, which could be built of the same parts (the memory model's
        exponents would make it up to 4 % smaller).
        """
        parts = [part.with_bandwidth(design.dram_gbps / self.sub_arrays) for part in self.of(design)]
        blocks = area_blocks_mm2(columns_of(parts), technology)
        found = {name: float(values.sum()) for name, values in blocks.items()}
        whole = area_blocks_mm2(parameter_columns(design), technology)
        buffers = {name: max(found[name], float(whole[name][0])) for name in found if name.endswith("_buffer")}
        return found | buffers | {name: found[name] / self.sub_arrays for name in ("engines", "fixed")}


def _shares(text: str, what: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError:
        raise ValueError(f"--{what} {text!r}: expected numbers separated by commas, such as 2,1") from None


def division_of(values: Mapping[str, Any], design: Accelerator) -> tuple[Division, float]:
    """The division that variables tell, and by which share of its columns the design has too few for it.

    Too few for so many sub-arrays, which then are fewer, or for the sub-axes of their dataflows: then it is undivided.

    `values`: ``policy`` (one of `POLICIES`) or ``policies``; ``sub_arrays`` or ``most_sub_arrays``; for each sub-array
    ``columns_share_1``, ``buffers_share_1``, ``bandwidth_share_1`` (1 where absent); from the second on ``dataflow_2``
    (where absent, the only one of ``dataflows``, or "same").
    """
    policy = values.get("policy") or values["policies"][0]
    if policy == "time_shared":
        return Division(), 0.0
    wanted = int(values.get("sub_arrays") or values["most_sub_arrays"])
    n = min(wanted, design.cols)

    def share(what: str) -> tuple[float, ...]:
        return tuple(float(values.get(f"{what}_share_{a + 1}", 1.0)) for a in range(n))

    only = values["dataflows"][0] if len(values.get("dataflows", ())) == 1 else "same"
    flows = ["same", *(values.get(f"dataflow_{a + 1}", only) for a in range(1, n))][:n]
    division = Division(
        columns=share("columns"),
        buffers=share("buffers"),
        bandwidth=share("bandwidth"),
        dataflows=tuple(None if isinstance(flow, str) and flow == "same" else flow for flow in flows),
        shared_bandwidth=policy == "shared_bandwidth",
    )
    missing = _columns_missing(division, design)
    return Division() if missing else division, (wanted - n + missing) / design.cols


def _columns_missing(division: Division, design: Accelerator) -> int:
    """Columns that the sub-arrays lack for the sub-axes of their dataflows."""
    missing = 0
    for a, columns in enumerate(_whole_shares(design.cols, division.columns)):
        missing += max(0, division.dataflow_of(a, design).least_array[1] - int(columns))
    return missing


def places_of(values: Mapping[str, Any], division: Division, streams: Sequence[str]) -> list[int]:
    """Sub-array of each stream, from 0, by the variables ``place_of_<stream>``, modulo their number.

    Raises ValueError where there are several sub-arrays and a stream has no place.
    """
    if division.sub_arrays == 1:
        return [0] * len(streams)
    placed = [name.removeprefix("place_of_") for name in values if name.startswith("place_of_")]
    for stream in streams:
        if stream not in placed:
            raise ValueError(
                f"no place is given for the stream {stream!r}, only for {', '.join(placed) or 'none'}: give the mix "
                "that the design was searched for, or say where each stream runs"
            )
    return [(int(values[f"place_of_{stream}"]) - 1) % division.sub_arrays for stream in streams]


def does_nothing(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a variable of a divided design has no effect, by the others: of a division of an undivided design, of a
    sub-array that there is not, or a share of bandwidth that is shared."""
    what, _, number = name.rpartition("_")
    of_array = number.isdecimal() and what in ("columns_share", "buffers_share", "bandwidth_share", "dataflow")
    if values.get("policy") == "time_shared":
        return of_array or name == "sub_arrays" or name.startswith("place_of_")
    if not of_array:
        return False
    shared = what == "bandwidth_share" and values.get("policy") == "shared_bandwidth"
    return shared or int(number) > values.get("sub_arrays", int(number))


def _whole_shares(whole: int, weights: Sequence[float]) -> np.ndarray:
    """`whole` things in proportion to `weights`, at least one each, largest remainders first, (n,) int."""
    if whole < len(weights):
        return np.ones(len(weights), dtype=int)
    exact = whole * np.array(weights, float) / sum(weights)
    found = np.maximum(1, np.floor(exact).astype(int))
    while found.sum() > whole:
        found[np.argmax(np.where(found > 1, found - exact, -np.inf))] -= 1
    while found.sum() < whole:
        found[np.argmax(exact - found)] += 1
    return found
