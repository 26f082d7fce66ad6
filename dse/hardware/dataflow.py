"""Dataflows as data: which loops the wires unroll in space, and which operand stays put.

A dataflow is one or more `SpatialOption`; the mapper picks the best option for each layer, so a
"flexible" array is simply a dataflow with many options.  Add one by writing a `Dataflow` value and
passing it to `Accelerator(dataflow=...)` or listing it in a `DesignSpace`, or as a table of a TOML file
(`dse.hardware.dataflow_file`); the kernel needs no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from dse.networks.layers import LOOPS, OPERANDS


@dataclass(frozen=True)
class SpatialOption:
    """One way of laying a layer over the PE array.

    Parameters
    ----------
    rows, cols : loops unrolled along each axis of the array.  The first fills the axis, each next one
        is replicated into what is left.  Inside a PE, `macs_per_pe` multipliers always reduce over ``C``.
    stationary : operands that may stay in the PE registers while the others stream past
        (the mapper chooses among them): ``W``, ``I``, ``O``.
    flatten_reduction : ``C``, ``FY`` and ``FX`` are unrolled as one flattened loop, as im2col does:
        the array then reads each input word once for every filter tap it meets.
    forwards_inputs : neighbouring PEs pass input columns along, so that a sliding window fetches only
        the columns that are new.
    """

    rows: tuple[str, ...]
    cols: tuple[str, ...]
    stationary: tuple[str, ...] = ("W",)
    flatten_reduction: bool = False
    forwards_inputs: bool = False

    def __post_init__(self) -> None:
        for axis, loops in (("rows", self.rows), ("cols", self.cols)):
            if isinstance(loops, str):
                raise ValueError(f"{axis}={loops!r}: give a tuple of loops such as ({loops!r},)")
            wrong = [d for d in loops if d not in LOOPS]
            if wrong:
                raise ValueError(f"{axis}={loops!r}: unknown loop {wrong[0]!r}; the loops are {' '.join(LOOPS)}")
            if len(set(loops)) != len(loops):
                raise ValueError(f"{axis}={loops!r}: a loop is listed twice on one axis")
        if not self.stationary or any(x not in OPERANDS for x in self.stationary):
            raise ValueError(f"stationary={self.stationary!r}: give one or more of W, I, O")
        for name in ("rows", "cols", "stationary"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.flatten_reduction and any(d in ("FY", "FX") for d in (*self.rows, *self.cols)):
            raise ValueError("flatten_reduction unrolls C, FY and FX together: list only C, not FY or FX")


@dataclass(frozen=True)
class Dataflow:
    """The family of mappings that the wires of a design allow: a name and its spatial options."""

    name: str
    options: tuple[SpatialOption, ...]

    def __post_init__(self) -> None:
        if not self.name or not self.options:
            raise ValueError("a Dataflow needs a name and at least one SpatialOption")
        object.__setattr__(self, "options", tuple(self.options))

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

DATAFLOWS: dict[str, Dataflow] = {
    dataflow.name: dataflow
    for dataflow in (
        *_BASIC,
        # Eyeriss's published mappings (JSSC 2017, Table III): sets over K before C (AlexNet CONV3), and strips of
        # output rows on a second group of rows (CONV2), besides "row_stationary".
        Dataflow(
            "row_stationary_sets",
            tuple(
                SpatialOption(rows, ("OY", "K"), ("W",), forwards_inputs=True)
                for rows in (("FY", "C", "K"), ("FY", "K", "C"), ("FY", "OY"))
            ),
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

They stand here one by one, so that a new entry of `DATAFLOWS` changes no space.  Left out are "flexible", whose wires
have no price in the model, and "row_stationary_sets", which is for Eyeriss's published mappings."""


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
    own: dict[str, Dataflow] = {}
    for flow in values:
        if not isinstance(flow, Dataflow) or is_built_in(flow):
            continue
        if flow.name in DATAFLOWS:
            raise ValueError(
                f"dataflow {flow.name!r} is not the dataflow of this name that ships; rename it: files tell it by name"
            )
        if own.setdefault(flow.name, flow) != flow:
            raise ValueError(
                f"two dataflows are called {flow.name!r} and have different options; rename one: files tell it by name"
            )
    return own


def plain_dataflow(dataflow: Dataflow | str) -> str | dict[str, object]:
    """A dataflow as JSON values: its name where it is built in, else ``{"name": ..., "options": [...]}``.

    A text stays as it is.  `dse.hardware.dataflow_file.dataflow_of_plain` is the way back.
    """
    if isinstance(dataflow, str):
        return dataflow
    if is_built_in(dataflow):
        return dataflow.name
    options = [{key: list(x) if isinstance(x, tuple) else x for key, x in asdict(o).items()} for o in dataflow.options]
    return {"name": dataflow.name, "options": options}
