"""A mapping: how one layer runs on one design, as plain data that prints as a loop nest.

The nest has four levels, outer to inner: DRAM loops over buffer tiles, array loops over the pieces of a
buffer tile, loops unrolled in space over rows, columns and the multipliers of a PE, and loops inside a PE
over its registers.  `dse.costs.formulas` says what a mapping costs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from dse.costs import kernels as k
from dse.hardware.accelerator import Accelerator
from dse.hardware.dataflow import SpatialOption, dataflow_named, fit_axis
from dse.networks.layers import LOOPS, OPERANDS, MacLayer, distinct_positions

GROUPS = {"G": ("G",), "P": ("B", "OY", "OX"), "K": ("K",), "R": ("C", "FY", "FX")}
"""Loops by the operand they leave unchanged: pixels ``P`` (W), channels ``K`` (I), reduction ``R`` (O), ``G`` none."""

IRRELEVANT = {"W": "P", "I": "K", "O": "R"}
"""The group of loops that leaves an operand unchanged; all others are relevant to it."""

DRAM_ORDERS = tuple(tuple("PKR"[group] for group in order) for order in k.ORDERS)
"""Orders of the groups of DRAM loops, outer to inner, inside the loop over ``G``.  The first three do: only the
innermost loop with more than one trip is reuse, so the order of the two outside it changes nothing."""

Factors = MappingType[str, int] | Iterable[int]
Loops = dict[str, tuple[int, int, int]]
"""By loop: trips, size of a tile, size of the last tile."""


@dataclass(frozen=True, init=False)
class Mapping:
    """How one layer runs on one design.

    Parameters
    ----------
    spatial : lanes of each loop that work side by side, in-PE multipliers included [elements of the loop].
    register : steps of each loop inside a PE, from its registers [spatial steps].
    buffer : tile of each loop that the buffers hold [elements of the loop]; a tile larger than the loop is the loop.
    lanes : multipliers of a PE that reduce over ``C`` side by side (a factor of the spatial factor of ``C``).
    dram_order : DRAM loops, outer to inner: groups ``P``, ``K``, ``R`` (``G`` outside all), or loop by loop (a loop
        not named is inside all).
    array_order : array loops, outer to inner, loop by loop; by default those that leave the stationary operand
        unchanged are innermost, so that it stays.
    stationary : operand that stays in the registers while the others stream: ``W``, ``I`` or ``O``.
    bypass : operands that go from DRAM straight to the array (subset of ``"WIO"``).
    option : which `SpatialOption` of the dataflow.

    `spatial`, `register` and `buffer` are given as a dict of loops (a missing loop is 1) or in the order of
    `LOOPS`, and held as tuples in that order.
    """

    spatial: tuple[int, ...]
    register: tuple[int, ...]
    buffer: tuple[int, ...]
    lanes: int
    dram_order: tuple[str, ...]
    stationary: str
    bypass: str
    option: int
    array_order: tuple[str, ...]

    def __init__(
        self,
        spatial: Factors,
        register: Factors,
        buffer: Factors,
        lanes: int = 1,
        dram_order: Iterable[str] = DRAM_ORDERS[0],
        stationary: str = "W",
        bypass: str = "",
        option: int = 0,
        array_order: Iterable[str] = (),
    ) -> None:
        for name, factors in (("spatial", spatial), ("register", register), ("buffer", buffer)):
            object.__setattr__(self, name, _factors(name, factors))
        outer, inner = tuple(dram_order), tuple(array_order)
        object.__setattr__(self, "dram_order", outer if outer in DRAM_ORDERS else _loop_order("dram_order", outer))
        object.__setattr__(self, "array_order", _loop_order("array_order", inner) if inner else ())
        if stationary not in OPERANDS:
            raise ValueError(f"Mapping: stationary must be one of W, I, O; got {stationary!r}")
        object.__setattr__(self, "stationary", stationary)
        if any(x not in OPERANDS for x in bypass) or len(set(bypass)) < len(bypass):
            raise ValueError(f"Mapping: bypass must be a subset of 'WIO', got {bypass!r}")
        object.__setattr__(self, "bypass", "".join(x for x in OPERANDS if x in bypass))
        for name, value, least in (("lanes", lanes, 1), ("option", option, 0)):
            if int(value) != value or value < least:
                raise ValueError(f"Mapping: {name} must be a whole number >= {least}, got {value!r}")
            object.__setattr__(self, name, int(value))
        if self.s("C") % self.lanes:
            raise ValueError(f"Mapping: {self.lanes} lanes do not divide the spatial factor {self.s('C')} of C")

    def s(self, loop: str) -> int:
        """Spatial factor of a loop [elements of the loop]."""
        return self.spatial[LOOPS.index(loop)]

    def r(self, loop: str) -> int:
        """Register tile of a loop [spatial steps]."""
        return self.register[LOOPS.index(loop)]

    def t(self, loop: str) -> int:
        """Buffer tile of a loop [elements of the loop]; may exceed the loop."""
        return self.buffer[LOOPS.index(loop)]

    @classmethod
    def from_row(cls, row: np.ndarray) -> Mapping:
        """From a row of the kernel, (N_MAP,).

        Loops are numbers of `LOOPS`; their orders hold where the number of the DRAM order is -1, and where the array
        order is given.
        """
        numbers = [int(value) for value in row]
        if len(numbers) != k.N_MAP:
            raise ValueError(f"a mapping row has {k.N_MAP} numbers, got {len(numbers)}")

        def eight(first: int) -> list[int]:
            return numbers[first : first + len(LOOPS)]

        order = numbers[k.MAP_DRAM_ORDER]
        return cls(
            spatial=eight(k.MAP_S),
            register=eight(k.MAP_R),
            buffer=eight(k.MAP_T),
            lanes=numbers[k.MAP_LANES],
            dram_order=DRAM_ORDERS[order] if order >= 0 else tuple(LOOPS[i] for i in eight(k.MAP_DRAM_LOOPS)),
            stationary=OPERANDS[numbers[k.MAP_STATIONARY]],
            bypass="".join(x for i, x in enumerate(OPERANDS) if numbers[k.MAP_BYPASS] >> i & 1),
            option=numbers[k.MAP_OPTION],
            array_order=tuple(LOOPS[i] for i in eight(k.MAP_ARRAY_LOOPS)) if numbers[k.MAP_ARRAY_GIVEN] else (),
        )

    def to_row(self) -> np.ndarray:
        """The mapping row of the kernel, (N_MAP,) float64; see `from_row`."""
        row = np.zeros(k.N_MAP)
        for first, factors in ((k.MAP_S, self.spatial), (k.MAP_R, self.register), (k.MAP_T, self.buffer)):
            row[first : first + len(LOOPS)] = factors
        row[k.MAP_LANES], row[k.MAP_OPTION] = self.lanes, self.option
        row[k.MAP_STATIONARY] = OPERANDS.index(self.stationary)
        row[k.MAP_BYPASS] = sum(1 << i for i, x in enumerate(OPERANDS) if x in self.bypass)
        if self.dram_order in DRAM_ORDERS:
            row[k.MAP_DRAM_ORDER] = DRAM_ORDERS.index(self.dram_order)
        else:
            row[k.MAP_DRAM_ORDER] = -1
            row[k.MAP_DRAM_LOOPS : k.MAP_DRAM_LOOPS + len(LOOPS)] = [LOOPS.index(d) for d in self.dram_order]
        if self.array_order:
            row[k.MAP_ARRAY_GIVEN] = 1
            row[k.MAP_ARRAY_LOOPS : k.MAP_ARRAY_LOOPS + len(LOOPS)] = [LOOPS.index(d) for d in self.array_order]
        return row

    def spatial_option(self, design: Accelerator) -> SpatialOption:
        """The spatial option of the design's dataflow that this mapping uses."""
        options = dataflow_named(design.dataflow).options
        if self.option >= len(options):
            raise ValueError(f"Mapping: option {self.option} of dataflow {design.dataflow}, which has {len(options)}")
        return options[self.option]

    def on_axes(self, design: Accelerator) -> tuple[dict[str, int], dict[str, int]]:
        """Spatial factor of each loop on the rows and on the columns of the array, in-PE lanes left out.

        Raises ValueError where the factors do not fit the array (its sub-axes and caps too) or the wires do not unroll
        a loop.
        """
        option = self.spatial_option(design)
        left = {d: self.s(d) // (self.lanes if d == "C" else 1) for d in LOOPS}
        on_rows, on_cols = ([u.loop for u in axis] for axis in (option.on_rows, option.on_cols))
        for d in LOOPS:
            if left[d] > 1 and d not in (*on_rows, *on_cols):
                raise ValueError(f"Mapping: the dataflow does not unroll {d}, but its spatial factor is {self.s(d)}")
        both = [d for d in on_rows if d in on_cols]
        for split in product(*([f for f in range(left[d], 0, -1) if left[d] % f == 0] for d in both)):
            rows = {d: split[both.index(d)] if d in both else left[d] for d in on_rows}
            cols = {d: left[d] // rows.get(d, 1) for d in on_cols}
            if fit_axis(option.on_rows, rows, design.rows) and fit_axis(option.on_cols, cols, design.cols):
                return rows, cols
        raise ValueError(
            f"Mapping: spatial factors {_named(left.items())} do not fit {design.rows} rows of {' '.join(option.rows)} "
            f"and {design.cols} columns of {' '.join(option.cols)}"
        )

    @classmethod
    def from_text(cls, text: str) -> Mapping:
        """Read the text that `loop_nest` prints; what follows ``<-`` is a comment.

        Raises ValueError that names the line where the text is not such a nest.
        """
        return _read_nest(text)

    def loop_nest(self, layer: MacLayer, design: Accelerator) -> str:
        """The mapping as a loop nest, outer to inner; ``<- W`` marks where a tile of W is loaded, with its words.

        A tile is loaded just inside the innermost loop that is relevant to it and has more than one trip (or at every
        step, `Accelerator.reload_every_tile`).  Operands that stream enter the array at every array step.
        """
        rows, cols = self.on_axes(design)
        option = self.spatial_option(design)
        inner = _nest(self.array_loop_order(), self.array_loops(layer, option))
        outer = _nest(self.dram_loop_order(), self.dram_loops(layer))
        every_step = "WI" if design.reload_every_tile else ""
        held = {x: None if x in every_step else outer for x in OPERANDS if x not in self.bypass}
        head = f"{layer.name}: {_named(zip(LOOPS, layer.loop_bounds, strict=True))}; {self.stationary} stationary"
        lines = [head + (f"; option {self.option}" if self.option else "")]
        lines += ["DRAM to buffers", *_loop_lines(outer, held, _words(layer, self.tile_of(layer)))]
        lines += [f"  {x} bypasses the buffers" for x in self.bypass]
        where = {x: outer + inner if x == self.stationary else None for x in OPERANDS}
        floor = 0 if self.stationary in every_step else -len(outer)
        piece = _words(layer, self.piece_of(layer, option))
        lines += ["buffers to array", *_loop_lines(inner, where, piece, len(outer), floor)]
        lines.append(
            f"side by side: rows {_named(rows.items())}; columns {_named(cols.items())}; each PE C={self.lanes}"
        )
        steps = [(d, n) for d, n in zip(LOOPS, self.register, strict=True) if n > 1]
        lines.append("inside a PE")
        lines += [f"  for {d} in {n} steps of {self.s(d)}" for d, n in steps] or ["  one step"]
        return "\n".join(lines)

    def tile_of(self, layer: MacLayer) -> dict[str, int]:
        """Full buffer tile of each loop, cut at the loop bound [elements of the loop]."""
        return {d: min(t, bound) for d, t, bound in zip(LOOPS, self.buffer, layer.loop_bounds, strict=True)}

    def piece_of(self, layer: MacLayer, option: SpatialOption) -> dict[str, int]:
        """Full array piece of each loop, cut at the buffer tile; flattened, ``C`` stands for C, FY and FX."""
        tile = flattened(self.tile_of(layer), layer, option)
        return {d: min(self.s(d) * self.r(d), tile[d]) for d in LOOPS}

    def dram_loops(self, layer: MacLayer) -> Loops:
        """Trips, tile and last tile of each DRAM loop."""
        tile = self.tile_of(layer)
        return {d: _cut(bound, tile[d]) for d, bound in zip(LOOPS, layer.loop_bounds, strict=True)}

    def array_loops(self, layer: MacLayer, option: SpatialOption) -> Loops:
        """Trips, piece and last piece of each array loop inside a full buffer tile."""
        tile, piece = flattened(self.tile_of(layer), layer, option), self.piece_of(layer, option)
        return {d: _cut(tile[d], piece[d]) for d in LOOPS}

    def dram_loop_order(self) -> tuple[str, ...]:
        """DRAM loops, outer to inner."""
        if self.dram_order in DRAM_ORDERS:
            return _loops_of(("G", *self.dram_order))
        return self.dram_order

    def array_loop_order(self) -> tuple[str, ...]:
        """Array loops, outer to inner; by default those that leave the stationary operand unchanged are innermost."""
        reuse = IRRELEVANT[self.stationary]
        return self.array_order or _loops_of((*(group for group in GROUPS if group != reuse), reuse))


def load_position(loops: list[tuple[str, int]], operand: str) -> int:
    """How many of the `loops` (group and static trips, outer to inner) are outside the load of a tile of `operand`.

    The load sits just inside the innermost relevant loop with more than one trip.
    """
    inside = [i for i, (group, trips) in enumerate(loops) if group != IRRELEVANT[operand] and trips > 1]
    return inside[-1] + 1 if inside else 0


def group_of(loop: str) -> str:
    """The group of a loop: ``G``, ``P``, ``K`` or ``R``."""
    return next(group for group, loops in GROUPS.items() if loop in loops)


def _loops_of(groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(d for group in groups for d in GROUPS[group])


def _loop_order(name: str, loops: tuple[str, ...]) -> tuple[str, ...]:
    """All eight loops, those not named innermost."""
    if not loops or len(set(loops)) < len(loops) or any(d not in LOOPS for d in loops):
        groups = "a permutation of P, K, R, or " if name == "dram_order" else ""
        raise ValueError(f"Mapping: {name} must be {groups}different loops of {' '.join(LOOPS)}; got {loops!r}")
    return (*loops, *(d for d in LOOPS if d not in loops))


def _factors(name: str, given: Factors) -> tuple[int, ...]:
    if isinstance(given, MappingType):
        wrong = [d for d in given if d not in LOOPS]
        if wrong:
            raise ValueError(f"Mapping: {name} has an unknown loop {wrong[0]!r}; the loops are {' '.join(LOOPS)}")
        given = [given.get(d, 1) for d in LOOPS]
    values = tuple(given)
    if len(values) != len(LOOPS):
        raise ValueError(f"Mapping: {name} needs {len(LOOPS)} factors, one a loop of {' '.join(LOOPS)}; got {values!r}")
    for d, value in zip(LOOPS, values, strict=True):
        if int(value) != value or value < 1:
            raise ValueError(f"Mapping: {name} of {d} must be a whole number >= 1, got {value!r}")
    return tuple(int(value) for value in values)


def flattened(tile: dict[str, int], layer: MacLayer, option: SpatialOption) -> dict[str, int]:
    """Sizes as the array sees them: where the wires unroll C, FY and FX as one loop, ``C`` stands for all three."""
    if not option.flatten_reduction:
        return tile
    return tile | {"C": tile["C"] * layer.FY * layer.FX, "FY": 1, "FX": 1}


def _cut(extent: int, tile: int) -> tuple[int, int, int]:
    trips = math.ceil(extent / tile)
    return trips, tile, extent - (trips - 1) * tile


def _named(items: Iterable[tuple[str, int]]) -> str:
    return " ".join(f"{d}={n}" for d, n in items if n > 1) or "1"


def _nest(order: Iterable[str], loops: Loops) -> list[tuple[str, str, tuple[int, int, int]]]:
    return [(group_of(d), d, loops[d]) for d in order if loops[d][0] > 1]


def _words(layer: MacLayer, tile: dict[str, int]) -> dict[str, int]:
    """Words of a full tile of each operand, inputs with their halo and no padding cut off."""
    rows = distinct_positions(tile["OY"], tile["FY"], layer.stride_y, layer.dilation_y)
    columns = distinct_positions(tile["OX"], tile["FX"], layer.stride_x, layer.dilation_x)
    return {
        "W": tile["G"] * tile["K"] * tile["C"] * tile["FY"] * tile["FX"],
        "I": tile["B"] * tile["G"] * tile["C"] * rows * columns,
        "O": tile["B"] * tile["G"] * tile["K"] * tile["OY"] * tile["OX"],
    }


def _loop_lines(
    nest: list, where: dict[str, list | None], words: dict[str, int], outside: int = 0, floor: int = 0
) -> list[str]:
    """Lines of one level; `where`: the loops that decide when an operand's tile is loaded (None: at every step).

    `outside`: how many of those loops belong to the level above; `floor`: least depth of a load, against this level.
    """
    marks: dict[int, list[str]] = {}
    for x, loops in where.items():
        depth = len(nest) if loops is None else load_position([(g, n[0]) for g, _, n in loops], x) - outside
        depth = max(depth, floor)
        kept = f", kept over the {-depth} innermost DRAM loops" if depth < 0 else ""
        marks.setdefault(max(depth, 0), []).append(f"{x} ({words[x]} words{kept})")
    lines = []
    for depth in range(len(nest) + 1):
        if depth in marks:
            lines.append("  " * (depth + 1) + "<- " + ", ".join(marks[depth]))
        if depth < len(nest):
            _, d, (trips, tile, last) = nest[depth]
            edge = "" if last == tile else f", the last {last}"
            lines.append("  " * (depth + 1) + f"for {d} in {trips} tiles of {tile}{edge}")
    return lines


_HEAD = re.compile(
    r"(?P<name>.*): (?P<bounds>1|(\w+=\d+ ?)+); (?P<stationary>[WIO]) stationary(; option (?P<option>\d+))?"
)
_LOOP = re.compile(
    r"for (?P<loop>\w+) in (?P<trips>\d+) (?P<what>tiles|steps) of (?P<size>\d+)(, the last (?P<last>\d+))?"
)
_SPACE = re.compile(r"side by side: rows (?P<rows>.+); columns (?P<cols>.+); each PE C=(?P<lanes>\d+)")
_BYPASS = re.compile(r"(?P<operand>[WIO]) bypasses the buffers")
_SECTIONS = {"DRAM to buffers": "dram", "buffers to array": "array", "inside a PE": "registers"}


def _read_nest(text: str) -> Mapping:
    """The mapping of a printed loop nest; checks that its numbers belong together."""
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    head = _HEAD.fullmatch(lines[0][1]) if lines else None
    if head is None:
        raise ValueError("mapping text, line 1: expected 'NAME: K=6 C=4 ...; W stationary' (see Mapping.loop_nest)")
    bounds = dict.fromkeys(LOOPS, 1) | _read_factors(head["bounds"], 1)
    loops: dict[str, dict[str, tuple[int, int]]] = {"dram": {}, "array": {}, "registers": {}}
    section, space, bypass = "", None, ""
    for number, line in lines[1:]:
        where = f"mapping text, line {number}"
        if line in _SECTIONS:
            section = _SECTIONS[line]
        elif line.startswith("<-") or line == "one step":
            continue
        elif found := _SPACE.fullmatch(line):
            space = found, number
        elif found := _BYPASS.fullmatch(line):
            bypass += found["operand"]
        elif (found := _LOOP.fullmatch(line)) and section:
            loop = found["loop"]
            if loop not in LOOPS or loop in loops[section]:
                raise ValueError(
                    f"{where}: loop {loop!r} is {'there twice' if loop in LOOPS else 'unknown'} in {line!r}"
                )
            loops[section][loop] = int(found["trips"]), int(found["size"])
        else:
            raise ValueError(f"{where}: expected a loop such as 'for K in 2 tiles of 4', got {line!r}")
    if space is None:
        raise ValueError("mapping text: the line 'side by side: rows C=4; columns K=2; each PE C=1' is missing")
    parts = [_read_factors(space[0][axis], space[1]) for axis in ("rows", "cols")]
    spatial = {d: parts[0].get(d, 1) * parts[1].get(d, 1) for d in LOOPS}
    lanes = int(space[0]["lanes"])
    spatial["C"] *= lanes
    for d, (trips, size) in loops["dram"].items():
        if math.ceil(bounds[d] / size) != trips:
            raise ValueError(f"mapping text: {trips} tiles of {size} are not the {bounds[d]} of loop {d}")
    for d, (_, step) in loops["registers"].items():
        if step != spatial[d]:
            raise ValueError(
                f"mapping text: steps of {d} inside a PE are {step}, but {spatial[d]} lanes are side by side"
            )
    mapping = Mapping(
        spatial,
        {d: trips for d, (trips, _) in loops["registers"].items()},
        bounds | {d: size for d, (_, size) in loops["dram"].items()},
        lanes,
        _simplest_order(tuple(loops["dram"]), DRAM_ORDERS),
        head["stationary"],
        bypass,
        int(head["option"] or 0),
    )
    default = [d for d in mapping.array_loop_order() if d in loops["array"]]
    return mapping if list(loops["array"]) == default else replace(mapping, array_order=tuple(loops["array"]))


def _read_factors(text: str, line: int) -> dict[str, int]:
    """Loops and numbers of ``"K=6 C=4"``; ``"1"`` is none."""
    factors = {}
    for item in text.split() if text != "1" else []:
        loop, _, number = item.partition("=")
        if loop not in LOOPS or not number.isdigit():
            raise ValueError(
                f"mapping text, line {line}: expected loops of {' '.join(LOOPS)} as in 'K=6', got {item!r}"
            )
        factors[loop] = int(number)
    return factors


def _simplest_order(loops: tuple[str, ...], orders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The first order of groups that has these loops in this order, else the loops themselves."""
    for order in orders:
        if tuple(d for d in _loops_of(("G", *order)) if d in loops) == loops:
            return order
    return loops
