"""Dataflows as data: which loops the wires unroll in space, and which operand stays put.

A dataflow is one or more `SpatialOption`; the mapper picks the best option for each layer, so a
"flexible" array is simply a dataflow with many options.  Add one by writing a `Dataflow` value and
passing it to `Accelerator(dataflow=...)` or listing it in a `DesignSpace`, or as a table of a TOML file
(`dse.hardware.dataflow_file`); the kernel needs no change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

from dse.networks.layers import LOOPS, OPERANDS
from dse.networks.toml_file import own_by_name

DRAM_ORDERS = ("KRP", "PRK", "KPR")
"""Orders of the groups of DRAM loops, outer to inner: one for each group that may be innermost.

Groups are ``P`` pixels, ``K`` output channels, ``R`` reduction."""


class Unrolled(NamedTuple):
    """A loop on one axis of the array: an entry of `SpatialOption.rows` or `SpatialOption.cols`.

    `most`: largest factor (infinite = what the axis has); `own`: the loop has a sub-axis of its own, of exactly `most`
    places, which the other loops of the axis cannot use.
    """

    loop: str
    most: float = math.inf
    own: bool = False

    def __str__(self) -> str:
        return self.loop + ("" if math.isinf(self.most) else f"{'' if self.own else '<='}{self.most}")


@dataclass(frozen=True)
class SpatialOption:
    """One way of laying a layer over the PE array, and which mappings its control runs there.

    What follows `forwards_inputs` narrows the mappings down to those that a chip or its compiler really uses; left at
    their defaults, the mapper takes the best of all.

    Parameters
    ----------
    rows, cols : loops unrolled along each axis of the array.  The first fills the axis, each next one
        is replicated into what is left.  Inside a PE, `macs_per_pe` multipliers always reduce over ``C``.
        An entry ``"K<=8"`` has a factor of at most 8.  An entry ``"K32"`` has a sub-axis of its own of 32 places: they
        are taken off the axis whatever the layer uses of them, as in published arrays of K32 x C2 x OX4 x OY4.
    stationary : operands that may stay in the PE registers while the others stream past
        (the mapper chooses among them): ``W``, ``I``, ``O``.
    flatten_reduction : ``C``, ``FY`` and ``FX`` are unrolled as one flattened loop, as im2col does:
        the array then reads each input word once for every filter tap it meets.
    forwards_inputs : neighbouring PEs pass input columns along, so that a sliding window fetches only
        the columns that are new.
    whole_rows : buffer tiles hold whole rows of outputs, ``t_OX >= OX``.  The published mappings of Eyeriss v1 do:
        strips of rows as wide as the layer, of 64 or 96 channels (Chen et al., JSSC 52(1), 2017, Table III).
    dram_orders : orders that the DRAM loops may have, such as ``"PKR"``, outer to inner: ``P`` pixels, ``K`` output
        channels, ``R`` reduction; none named: all.  They say which group may be innermost; the order of the two outside
        it is free, since it moves the same words unless the innermost has a single trip.  So ``"PKR"`` and ``"KPR"``
        are the same, held as ``"KPR"`` (see `DRAM_ORDERS`).  A chip whose loops are wired names one; Yu et al. (IEEE
        TC 70(1), 2021) make it a parameter of the hardware.
    once : operands (a subset of ``"WIO"``) of which no tile crosses the DRAM link twice; for ``O``: no partial sum
        goes out and returns.  The rows that neighbouring tiles of inputs share do not count.  Eyeriss v1 keeps sums in
        its global buffer until they are finished (Chen et al., JSSC 52(1), 2017): ``"O"``.
    bypass : exactly these operands go past the buffers (a subset of what `Accelerator.bypass` allows; ``""``: none);
        None: any that it allows.  TPU v1's weights always do, from DRAM through a FIFO to the array (Jouppi et al.,
        ISCA 2017): ``"W"``.
    least_dram : the least traffic over the DRAM link comes first, then what the mapper minimises: a compiler that
        saves DRAM accesses at any price in time and in traffic on the chip.
    """

    rows: tuple[str, ...]
    cols: tuple[str, ...]
    stationary: tuple[str, ...] = ("W",)
    flatten_reduction: bool = False
    forwards_inputs: bool = False
    whole_rows: bool = False
    dram_orders: tuple[str, ...] = ()
    once: str = ""
    bypass: str | None = None
    least_dram: bool = False

    def __post_init__(self) -> None:
        for axis in ("rows", "cols"):
            object.__setattr__(self, axis, tuple(map(str, _unrolled(axis, getattr(self, axis)))))
        if not self.stationary or any(x not in OPERANDS for x in self.stationary):
            raise ValueError(f"stationary={self.stationary!r}: give one or more of W, I, O")
        object.__setattr__(self, "stationary", tuple(self.stationary))
        if self.flatten_reduction and any(u.loop in ("FY", "FX") for u in (*self.on_rows, *self.on_cols)):
            raise ValueError("flatten_reduction unrolls C, FY and FX together: list only C, not FY or FX")
        object.__setattr__(self, "dram_orders", _orders(self.dram_orders))
        for name in ("once", "bypass"):
            operands = getattr(self, name)
            if name == "bypass" and operands is None:
                continue
            if not (isinstance(operands, str) and all(x in OPERANDS for x in operands)):
                raise ValueError(f"{name}={operands!r}: give a subset of 'WIO'")
            object.__setattr__(self, name, "".join(x for x in OPERANDS if x in operands))
        for name in ("whole_rows", "least_dram"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r}: give True or False")

    def __repr__(self) -> str:
        return f"SpatialOption({', '.join(f'{name}={value!r}' for name, value in self.told().items())})"

    @cached_property
    def on_rows(self) -> tuple[Unrolled, ...]:
        """The entries of `rows`, read."""
        return _unrolled("rows", self.rows)

    @cached_property
    def on_cols(self) -> tuple[Unrolled, ...]:
        """The entries of `cols`, read."""
        return _unrolled("cols", self.cols)

    def told(self) -> dict[str, Any]:
        """What tells the option by name: the first five fields, and of the others those without their default.

        So options that restrict no mapping are told as they were before restrictions existed: old runs know them.
        """
        kept = fields(self)[:5] + tuple(f for f in fields(self)[5:] if getattr(self, f.name) != f.default)
        return {f.name: getattr(self, f.name) for f in kept}


_ENTRY = re.compile(r"([A-Z]+)(?:(<=)?([0-9]{1,9}))?")


def _unrolled(axis: str, entries: Iterable[str]) -> tuple[Unrolled, ...]:
    """The entries of an axis, each read and checked."""
    if isinstance(entries, str):
        raise ValueError(f"{axis}={entries!r}: give a tuple of loops such as ({entries!r},)")
    entries, found = tuple(entries), []
    for entry in entries:
        read = _ENTRY.fullmatch(entry.replace(" ", "")) if isinstance(entry, str) else None
        if not read or read[1] not in LOOPS:
            what = f"unknown loop {read[1]!r}" if read else f"cannot read {entry!r}"
            raise ValueError(
                f"{axis}={entries!r}: {what}; write a loop, {' '.join(LOOPS)}, alone or as in 'K32' (a sub-axis of 32 "
                "places) or 'K<=8' (a factor of at most 8)"
            )
        loop = read[1]
        if read[3]:
            if int(read[3]) < 1:
                raise ValueError(
                    f"{axis}={entries!r}: {entry!r} leaves {loop} no place; give at least 1 or leave it out"
                )
            found.append(Unrolled(loop, int(read[3]), not read[2]))
        else:
            found.append(Unrolled(loop))
    if len({u.loop for u in found}) != len(found):
        raise ValueError(f"{axis}={entries!r}: a loop is listed twice on one axis")
    if len(found) > 4:
        raise ValueError(f"{axis}={entries!r}: at most four loops an axis")
    return tuple(found)


def _orders(orders: Iterable[str]) -> tuple[str, ...]:
    """Orders of DRAM loops, each as the one of `DRAM_ORDERS` with its innermost group; () where these are all."""
    if isinstance(orders, str):
        raise ValueError(f"dram_orders={orders!r}: give a tuple of orders such as ({orders!r},)")
    orders = tuple(orders)
    for order in orders:
        if not isinstance(order, str) or sorted(order) != ["K", "P", "R"]:
            raise ValueError(f"dram_orders={orders!r}: {order!r} is no order of P, K and R, such as 'PKR'")
    innermost = {order[-1] for order in orders}
    kept = tuple(order for order in DRAM_ORDERS if order[-1] in innermost)
    return () if kept == DRAM_ORDERS else kept


def fit_axis(loops: Iterable[Unrolled], factors: Mapping[str, int], places: int) -> bool:
    """Whether loops with these factors fit an axis of so many places: each its cap or sub-axis, the others the rest."""
    loops = tuple(loops)
    shared = math.prod(factors[u.loop] for u in loops if not u.own)
    return shared * places_taken(loops) <= places and all(factors[u.loop] <= u.most for u in loops)


def places_taken(loops: Iterable[Unrolled]) -> int:
    """Places of an axis that its sub-axes take together; 1 where there are none."""
    return math.prod(int(u.most) for u in loops if u.own)


@dataclass(frozen=True)
class Dataflow:
    """The family of mappings that the wires of a design allow: a name and its spatial options."""

    name: str
    options: tuple[SpatialOption, ...]

    def __post_init__(self) -> None:
        if not self.name or not self.options:
            raise ValueError("a Dataflow needs a name and at least one SpatialOption")
        object.__setattr__(self, "options", tuple(self.options))

    @property
    def least_array(self) -> tuple[int, int]:
        """Fewest rows and columns that hold the sub-axes of every option."""
        rows = max(places_taken(option.on_rows) for option in self.options)
        return rows, max(places_taken(option.on_cols) for option in self.options)

    def __str__(self) -> str:
        return self.name


_BASIC = (
    # TPU v1 (Jouppi et al., ISCA 2017), Gemmini: weights stay, inputs enter by row, sums leave by column.
    Dataflow("weight_stationary", (SpatialOption(("C",), ("K",), ("W",)),)),
    # The same array fed by an im2col unit (SCALE-Sim; Gemmini's convolution loops).
    Dataflow("weight_stationary_im2col", (SpatialOption(("C",), ("K",), ("W",), flatten_reduction=True),)),
    # SCALE-Sim "os": pixels on rows, output channels on columns, sums stay.
    Dataflow("output_stationary", (SpatialOption(("OX", "OY"), ("K",), ("O",)),)),
    # SCALE-Sim "is": inputs stay, weights stream.
    Dataflow("input_stationary", (SpatialOption(("C",), ("OX", "OY"), ("I",)),)),
    # Eyeriss (Chen et al., JSSC 2017): filter rows on rows, output rows on columns, sets replicated over C and K.
    Dataflow("row_stationary", (SpatialOption(("FY", "C", "K"), ("OY", "K"), ("W",), forwards_inputs=True),)),
    # NVDLA, DianNao: a dot product over C for each of several K; adder trees, sums kept beside the array.
    Dataflow("channel_vector", (SpatialOption(("C",), ("K", "G"), ("W", "O")),)),
    # ShiDianNao (Du et al., ISCA 2015): an output pixel a PE, inputs passed between neighbours.
    Dataflow("output_pixels", (SpatialOption(("OY", "G"), ("OX", "K"), ("O",), forwards_inputs=True),)),
)

_SETS = (("FY", "C", "K"), ("FY", "K", "C"), ("FY", "OY"))
"""What Eyeriss's published mappings have on the rows of the array."""

DATAFLOWS: dict[str, Dataflow] = {
    dataflow.name: dataflow
    for dataflow in (
        *_BASIC,
        # Eyeriss's published mappings (JSSC 2017, Table III): sets over K before C (AlexNet CONV3), and strips of
        # output rows on a second group of rows (CONV2), besides "row_stationary".
        Dataflow(
            "row_stationary_sets",
            tuple(SpatialOption(rows, ("OY", "K"), ("W",), forwards_inputs=True) for rows in _SETS),
        ),
        # The mappings of Eyeriss v1's compiler, as far as published: the same wires; tiles hold whole rows of outputs
        # (JSSC 2017, Table III), and sums stay in the global buffer until they are finished (Sec. III).
        Dataflow(
            "eyeriss_v1",
            tuple(
                SpatialOption(rows, ("OY", "K"), ("W",), forwards_inputs=True, whole_rows=True, once="O")
                for rows in _SETS
            ),
        ),
        # NVDLA (nvdla/doc hw/v2/scalability.rst): dot products over C for each of several kernels; the image layer
        # packs its taps with its channels.  Sums lie in the accumulator, so none cross the DRAM link.
        Dataflow(
            "nvdla",
            tuple(SpatialOption(("C",), ("K", "G"), ("W", "O"), packed, once="O") for packed in (False, True)),
        ),
        # Ethos-U55 (ethos-u-vela, architecture_features.py: ofm_ublock): a dot product over C a PE; pixels on the rows,
        # next to each other or below each other, output channels on the columns; weights stay for a block of pixels.
        Dataflow(
            "ethos_u55",
            tuple(SpatialOption(pixels, ("K", "G"), ("W",)) for pixels in (("OX", "OY"), ("OY", "OX"))),
        ),
        # Every basic option with any operand stationary: Eyeriss v2, MAERI (an upper bound on flexibility).
        Dataflow(
            "flexible",
            tuple(
                SpatialOption(o.rows, o.cols, OPERANDS, o.flatten_reduction, o.forwards_inputs)
                for dataflow in _BASIC
                for o in dataflow.options
                if not o.flatten_reduction
            ),
        ),
    )
}
"""The dataflows known by name."""

DEFAULT_DATAFLOWS = (
    "weight_stationary",
    "weight_stationary_im2col",
    "output_stationary",
    "input_stationary",
    "row_stationary",
    "channel_vector",
    "output_pixels",
)
"""Names of the dataflows of the default space, in its order; `relate` and `explain` try the same.

They stand here one by one, so that a new entry of `DATAFLOWS` changes no space.  Left out are "flexible", of whose
multiplexers no chip checks the price (`dse.hardware.logic`), "row_stationary_sets", which is for Eyeriss's published
mappings, and those of single chips."""


def dataflow_named(dataflow: str | Dataflow, own: Mapping[str, Dataflow] | None = None) -> Dataflow:
    """The dataflow of that name, among `own` or built in, or the value itself.

    Raises ValueError for an unknown name, with the known ones.
    """
    if isinstance(dataflow, Dataflow):
        return dataflow
    known = DATAFLOWS if own is None else {**DATAFLOWS, **own}
    if dataflow not in known:
        raise ValueError(f"unknown dataflow {dataflow!r}; the known ones are {', '.join(known)}")
    return known[dataflow]


def is_built_in(dataflow: Dataflow) -> bool:
    """Whether its name alone tells the dataflow."""
    return DATAFLOWS.get(dataflow.name) == dataflow


def own_dataflows(values: Iterable[object]) -> dict[str, Dataflow]:
    """The dataflows among `values` that are not built in, by name.

    Raises ValueError for two of one name and different options, built-in ones included: files tell a dataflow by its
    name.
    """
    return own_by_name((flow for flow in values if isinstance(flow, Dataflow)), DATAFLOWS, "dataflow", "options")


def plain_dataflow(dataflow: Dataflow | str) -> str | dict[str, object]:
    """A dataflow as JSON values: its name where it is built in, else ``{"name": ..., "options": [...]}``.

    A text stays as it is.  `dse.hardware.dataflow_file.dataflow_of_plain` is the way back.
    """
    if isinstance(dataflow, str):
        return dataflow
    if is_built_in(dataflow):
        return dataflow.name
    return {"name": dataflow.name, "options": plain_options(dataflow)}


def plain_options(dataflow: Dataflow) -> list[dict[str, object]]:
    """The options of a dataflow as JSON values."""
    return [{key: list(x) if isinstance(x, tuple) else x for key, x in o.told().items()} for o in dataflow.options]


def check_fits(dataflow: Dataflow, rows: int, cols: int, bypass: str) -> None:
    """Raise a ValueError where a design of so many rows and columns cannot have the dataflow.

    Its sub-axes must fit their axis, and what an option lets bypass the buffers must be among `bypass`.
    """
    for i, option in enumerate(dataflow.options):
        which = f"option {i} of dataflow {dataflow.name!r}"
        for axis, loops, places in (("rows", option.on_rows, rows), ("cols", option.on_cols, cols)):
            needed = places_taken(loops)
            if needed > places:
                sizes = " x ".join(str(u) for u in loops if u.own)
                raise ValueError(
                    f"{which} has sub-axes of {sizes} = {needed} places on {axis}, but the design has {axis}={places}; "
                    f"raise {axis} or choose another dataflow"
                )
        missing = [x for x in option.bypass or "" if x not in bypass]
        if missing:
            raise ValueError(
                f"{which} lets {' and '.join(missing)} bypass the buffers, but the design has bypass={bypass!r}; "
                f"set bypass={''.join(x for x in OPERANDS if x in bypass or x in missing)!r}"
            )
