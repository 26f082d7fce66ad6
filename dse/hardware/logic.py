"""Logic beside multipliers and memories: flip-flops, multiplexers and adders of each unit of a design, counted in bits.

Area prices these counts by the cells of a technology (`dse.hardware.area`), and clock and words on their way by the
same cells (`dse.hardware.power`).  All take them from here, so that no flip-flop is counted twice or in two ways.

The counts follow from what the unit must do, not from a chip; no chip checks them one by one.  The one published unit,
the im2col unit of AccelBench, is about twice this (`tests/test_logic.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from dse.hardware.accelerator import OPERAND_NAMES, buffer_groups
from dse.hardware.dataflow import Dataflow, SpatialOption, dataflow_named
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import metadata_bits, most_lanes, multiplier_logic
from dse.networks.layers import LOOPS, OPERANDS

Columns = Mapping[str, np.ndarray]

LOOP_COUNTER_BITS = 16
"""Bits of a loop counter and of its bound in an address generator, assumed: loops of up to 65,535 trips."""

REACHES = {"W": ("G", "K", "C", "FY", "FX"), "I": ("B", "G", "C", "OY", "OX", "FY", "FX"), "O": ("C", "FY", "FX")}
"""Loops that give PEs along an axis words of their own (W, I), or sums to add up (O)."""


class Logic(NamedTuple):
    """What a unit is built of, each (n,) [bit]: flip-flops, multiplexers of two inputs, adders."""

    flip_flop_bits: np.ndarray
    multiplexer_bits: np.ndarray
    adder_bits: np.ndarray


UNITS = (
    "pipeline", "forms", "passing", "routes", "tags", "ports", "addresses", "im2col", "accumulators", "vector",
    "engines",
)  # fmt: skip
"""Units of `logic`, in its order."""


class Wiring(NamedTuple):
    """What the options of a dataflow ask of the hardware together.

    Parameters
    ----------
    routes : ways in which each operand reaches the PEs, or leaves them: ``W``, ``I``, ``O``.
    tagged : an axis holds several loops, whose shares of it change from layer to layer.
    flattened : axes, ``"rows"`` and ``"cols"``, along which a flattened reduction lies; None where no option has one.
    sums_leave : unfinished sums may leave the array.
    """

    routes: tuple[int, int, int]
    tagged: bool
    flattened: tuple[str, ...] | None
    sums_leave: bool


@lru_cache(maxsize=256)
def wiring(dataflow: Dataflow) -> Wiring:
    """What a dataflow asks of the hardware, over all its options."""
    options = dataflow.options
    routes = tuple(len({route for option in options for route in _routes(option, x)}) for x in OPERANDS)
    flat = [option for option in options if option.flatten_reduction]
    axes = {name for o in flat for name, loops in (("rows", o.on_rows), ("cols", o.on_cols)) if "C" in _loops(loops)}
    return Wiring(
        routes=(routes[0], routes[1], routes[2]),
        tagged=any(sum(not u.own for u in axis) > 1 for option in options for axis in (option.on_rows, option.on_cols)),
        flattened=tuple(sorted(axes)) if flat else None,
        sums_leave=any(x != "O" for option in options for x in option.stationary),
    )


def logic(columns: Columns, technology: Technology) -> dict[str, Logic]:
    """The logic of each design by unit, each count (n,) [bit].

    Parameters
    ----------
    columns : one array of shape (n,) for each `Accelerator` parameter.

    Returns
    -------
    dict of the `UNITS`:

    ``pipeline``      `pipeline_registers_factor` times both operands of each multiplier of an array with buses.
    ``forms``         for narrow and 2:4 weights (`dse.hardware.weight_forms`): multiplexers and adders of each
                      multiplier, the bits that tell the places of kept weights, and on an array with buses the
                      registers of the further inputs that a PE takes in a cycle.
    ``passing``       of a systolic array: a flip-flop for each bit that passes through a PE and that none of its
                      registers holds, see `passing_bits`.  They are its pipeline.
    ``routes``        in each PE, a multiplexer bit for each bit of an operand and each further way in which a dataflow
                      brings it: along rows, columns, both or neither, forwarded or not, held or streamed.
    ``tags``          of an array with buses whose axes hold several loops: in each PE, the row and the column of which
                      it takes words of each operand, and their comparators (Eyeriss's multicast controllers).
    ``ports``         of each buffer: a word in and a word out.
    ``addresses``     of each operand: a counter, its bound and a stride for each loop, the address, and an adder of an
                      address for each bank.
    ``im2col``        of a flattened reduction: for each multiplier along it an address of its own, and a word picked
                      from the whole width of the port of the inputs.
    ``accumulators``  where unfinished sums leave the array: an adder and a register for each bit that the port of the
                      sums writes in a cycle (half of its width where it has no write port of its own).
    ``vector``        of each lane of the vector unit: two registers of accumulator width.
    ``engines``       `Accelerator.engine_flip_flop_bits`; their gates are `Technology.engine_logic_share` of these.

    No count falls when a size grows, but two: multiplexers of the im2col unit with wider activations, since each
    multiplier picks among fewer words and holds a wider one; and passing flip-flops with larger registers, which take
    their place.
    """
    number = column_reader(columns)
    pes, zero = number("rows") * number("cols"), np.zeros_like(number("rows"))
    bits = {"W": number("weight_bits"), "I": number("activation_bits"), "O": number("accumulator_bits")}
    macs, inputs = number("macs_per_pe"), most_lanes(columns)
    ports = {x: 8 * number(f"{name}_buffer_width_bytes") for x, name in OPERAND_NAMES.items()}
    addresses = {x: address_bits(columns, x) for x in OPERANDS}
    systolic = text_column(columns, "interconnect") == "systolic"
    need = needs(columns)

    pipeline = np.where(systolic, 0.0, technology.pipeline_registers_factor * (bits["W"] + bits["I"]) * pes * macs)
    further = technology.pipeline_registers_factor * bits["I"] * pes * (inputs - macs)
    latches = np.maximum(inputs * bits["I"] - 8 * number("input_register_bytes"), 0.0)
    beside = np.where(systolic, 0.0, further + pes * np.where(inputs > macs, latches, 0.0))
    multiplexers, adders_of_mac = multiplier_logic(columns)
    passing, _ = passing_bits(columns, technology)
    routed = need["W"] * bits["W"] * macs + need["I"] * bits["I"] * inputs + need["O"] * bits["O"]
    tag = np.ceil(np.log2(number("rows"))) + np.ceil(np.log2(number("cols")))
    tags = np.where(systolic, 0.0, need["tagged"] * len(OPERANDS) * tag * pes)
    counters = sum(len(LOOPS) * (2 * LOOP_COUNTER_BITS + bits_) + bits_ for bits_ in addresses.values())
    adders = sum(
        len(LOOPS) * LOOP_COUNTER_BITS + number(f"{name}_buffer_banks") * addresses[x]
        for x, name in OPERAND_NAMES.items()
    )
    lanes = need["flat"] * inputs
    for axis in ("rows", "cols"):
        lanes = lanes * np.where(need[f"flat_{axis}"] > 0, number(axis), 1.0)
    (buffers, of_buffers), (apart, of_apart) = (distinct(columns[name]) for name in ("buffers", "separate_ports"))
    pairs = [_sums_have_a_write_port(*pair) for pair in product(buffers, apart)]
    own_port = np.array(pairs, dtype=bool).reshape(len(buffers), len(apart))[of_buffers, of_apart]
    sums = need["sums_leave"] * ports["O"] * np.where(own_port, 1.0, 0.5)
    return {
        "pipeline": Logic(pipeline, zero, zero),
        "forms": Logic(beside + pes * metadata_bits(columns), pes * macs * multiplexers, pes * macs * adders_of_mac),
        "passing": Logic(passing, zero, zero),
        "routes": Logic(zero, pes * routed, zero),
        "tags": Logic(tags, zero, tags),
        "ports": Logic(2 * (ports["W"] + ports["I"] + ports["O"]), zero, zero),
        "addresses": Logic(counters, zero, adders),
        "im2col": Logic(
            lanes * (addresses["I"] + bits["I"]),
            lanes * np.maximum(ports["I"] - bits["I"], 0.0),
            lanes * addresses["I"],
        ),
        "accumulators": Logic(sums, zero, sums),
        "vector": Logic(2 * bits["O"] * number("vector_lanes"), zero, zero),
        "engines": Logic(number("engine_flip_flop_bits"), zero, zero),
    }


def passing_bits(columns: Columns, technology: Technology) -> tuple[np.ndarray, np.ndarray]:
    """Flip-flops that words pass on their way from PE to PE [bit], each (n,): beside the registers, and those of them.

    In each cycle a PE of a systolic array hands on a word of the inputs for each of its `most_lanes`, and a sum.  The
    registers of these operands are what they pass (Jouppi et al., ISCA 2017; Ross et al., US 2016/0342891, Fig. 4,
    recalled: a cell has a weight, an activation and a sum register), as far as they are flip-flops and large enough.
    """
    number = column_reader(columns)
    needed = {"I": number("activation_bits") * most_lanes(columns), "O": number("accumulator_bits")}
    files = {x: technology.flip_flop_bits(number(f"{OPERAND_NAMES[x]}_register_bytes")) for x in needed}
    held = np.minimum(needed["I"], files["I"]) + np.minimum(needed["O"], files["O"])
    pes = np.where(text_column(columns, "interconnect") == "systolic", number("rows") * number("cols"), 0.0)
    return pes * (needed["I"] + needed["O"] - held), pes * held


def address_bits(columns: Columns, operand: str) -> np.ndarray:
    """Bits of the address of a byte in the part of its buffer that an operand has, (n,)."""
    kib = column_reader(columns)(f"{OPERAND_NAMES[operand]}_buffer_kib")
    return np.ceil(np.log2(1024 * kib)).clip(1)


@lru_cache(maxsize=64)
def _sums_have_a_write_port(buffers: str, separate_ports: str) -> bool:
    """Whether the buffer of the sums has a write port beside its read port: one operand that lives in it suffices."""
    return any("O" in held and not set(held).isdisjoint(separate_ports) for held in buffer_groups(buffers))


def column_reader(columns: Columns) -> Callable[[str], np.ndarray]:
    """A reader of float64 columns that names a missing one."""

    def number(name: str) -> np.ndarray:
        if name not in columns:
            raise ValueError(f"columns lack {name!r}; give one array for each Accelerator parameter")
        return np.atleast_1d(np.asarray(columns[name], dtype=np.float64))

    return number


def text_column(columns: Columns, name: str) -> np.ndarray:
    """A column of texts or dataflows, (n,) object."""
    return np.atleast_1d(np.asarray(columns[name], dtype=object))


def distinct(column: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """The different values of a column of objects, by first appearance, and for each row, (n,), which of them it has.

    Rows that hold the same object are compared at once: hashes of dataflows take long.
    """
    column = np.atleast_1d(np.asarray(column, dtype=object))
    values = (column[:1] if column.strides == (0,) else column).tolist()  # no stride: one value seen n times
    objects = np.fromiter(map(id, values), np.int64, len(values))
    _, first, codes = np.unique(objects, return_index=True, return_inverse=True)
    number: dict[Any, int] = {}
    equal = np.empty(len(first), np.int64)
    for at in np.argsort(first):
        equal[at] = number.setdefault(values[first[at]], len(number))
    return list(number), np.broadcast_to(equal[codes], len(column))


def dataflows(columns: Columns) -> tuple[list[Dataflow], np.ndarray]:
    """The different dataflows of a batch, and for each design, (n,), which of them it has."""
    values, codes = distinct(text_column(columns, "dataflow"))
    return [dataflow_named(value) for value in values], codes


def needs(columns: Columns) -> dict[str, np.ndarray]:
    """The `Wiring` of each design as numbers, each (n,): further routes of each operand, and the flags."""
    flows, codes = dataflows(columns)
    asked = [wiring(flow) for flow in flows]
    table = {x: [asks.routes[i] - 1 for asks in asked] for i, x in enumerate(OPERANDS)}
    table |= {"tagged": [asks.tagged for asks in asked], "sums_leave": [asks.sums_leave for asks in asked]}
    table |= {"flat": [asks.flattened is not None for asks in asked]}
    table |= {f"flat_{axis}": [axis in (asks.flattened or ()) for asks in asked] for axis in ("rows", "cols")}
    return {name: np.asarray(values, dtype=np.float64)[codes] for name, values in table.items()}


def _loops(unrolled: tuple) -> set[str]:
    return {u.loop for u in unrolled}


def _routes(option: SpatialOption, operand: str) -> set[tuple[bool, bool, bool, bool]]:
    """Ways of an operand in one option: told apart along rows, along columns; forwarded; held (both, where it may)."""
    on_rows, on_cols = (not _loops(axis).isdisjoint(REACHES[operand]) for axis in (option.on_rows, option.on_cols))
    forwarded = option.forwards_inputs and operand == "I"
    return {(on_rows, on_cols, forwarded, operand == held) for held in option.stationary}
