"""A design space as boxes: categories, and in each the axes along which latency never rises and area never falls.

What a variable does is declared here (`is_monotone`) and rests on the mapper: PEs, lanes, registers and buffers may
stay idle, so more of them only adds mappings.  `broken_axes` tests it on random designs of the space.  Buffers that
operands share have one axis for the sum of their capacities and one for that of their widths: designs of equal sums are
equal in latency, and in the area of their memories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np

from dse.hardware.accelerator import OPERAND_NAMES, buffer_groups
from dse.hardware.dram_types import DramType
from dse.hardware.space import DesignSpace

MOST_CATEGORIES = 200_000
"""A space of more cannot be certified: too many of its variables are enumerated."""

SEARCHED = 2
"""Pairs of each axis and kind whose bounds by searches are tested, too; they take some milliseconds."""

_ALWAYS = (
    "vector_lanes", "dram_gbps", "dram_channels", "clock_ghz", "resident_activation_fraction",
    *(f"{x}_register_bytes" for x in OPERAND_NAMES.values()),
)  # fmt: skip
_SIZES = tuple(f"{x}_buffer_kib" for x in OPERAND_NAMES.values())
_WIDTHS = tuple(f"{x}_buffer_width_bytes" for x in OPERAND_NAMES.values())
_BANKS = tuple(f"{x}_buffer_banks" for x in OPERAND_NAMES.values())


def is_monotone(name: str, values: Mapping[str, Any]) -> bool:
    """Whether raising a parameter never raises the least latency and never lowers the area, all else equal.

    ``values``: the other parameters that decide it, those of the base or of a category: a systolic array pays for its
    size in skew, padded tiles for whole arrays, and of more banks each is narrower, which a port that counts accesses
    feels; weights that stay on chip as soon as they fit go through their port.
    """
    bus = values["interconnect"] == "broadcast"
    stops = bus and not values["overlap_load"]
    if name in ("rows", "cols"):
        return bus and not values["padded_tiles"]
    if name == "macs_per_pe":
        return not values["padded_tiles"]
    if name in _SIZES:
        return not values["resident_weights"]
    if name in _WIDTHS:
        return not stops
    if name in _BANKS:
        return values["port_model"] == "bytes"
    return name in _ALWAYS


@dataclass(frozen=True, eq=False)
class Axis:
    """Levels of one variable, or of several of which only the sum counts, from the slowest and smallest on.

    Parameters
    ----------
    name : to print.
    variables : numbers of the genes.
    genes : (n_levels, n_variables) genes of one choice of each level.
    counts : choices of each level.
    least : (n_levels, n_variables) values of the parameters with which the logic at the buffers takes least area, over
        all choices of a level and of higher ones; they need be no levels.
    frees : ``"latency"`` or ``"area"`` where it does not depend on the axis, else empty.
    """

    name: str
    variables: tuple[int, ...]
    genes: np.ndarray
    counts: tuple[int, ...]
    least: np.ndarray
    frees: str = ""


@dataclass(frozen=True, eq=False)
class Kind:
    """Categories with the same axes.

    Parameters
    ----------
    axes : of all of them.
    fixed : numbers of the genes that are enumerated.
    categories : (n, n_fixed) genes.
    """

    axes: tuple[Axis, ...]
    fixed: tuple[int, ...]
    categories: np.ndarray

    def genes(self, category: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Genes (n, n_var) of levels (n, n_axes) in categories (n,)."""
        n_var = len(self.fixed) + sum(len(axis.variables) for axis in self.axes)
        X = np.empty((len(levels), n_var), dtype=np.int64)
        X[:, list(self.fixed)] = self.categories[category]
        for axis, at in zip(self.axes, levels.T, strict=False):
            X[:, list(axis.variables)] = axis.genes[at]
        return X

    def least_parts(self, levels: np.ndarray) -> dict[int, np.ndarray]:
        """`Axis.least` of levels (n, n_axes), for the axes of several variables: values (n,) by number of the gene."""
        return {
            variable: axis.least[levels[:, at], i]
            for at, axis in enumerate(self.axes)
            if len(axis.variables) > 1
            for i, variable in enumerate(axis.variables)
        }

    @property
    def tops(self) -> np.ndarray:
        """Number of the last level of each axis, (n_axes,)."""
        return np.array([len(axis.counts) - 1 for axis in self.axes], dtype=np.int64)

    def size(self, low: Iterable[int], high: Iterable[int]) -> int:
        """Designs in a box of one category."""
        total = 1
        for axis, a, b in zip(self.axes, low, high, strict=False):
            total *= sum(axis.counts[int(a) : int(b) + 1])
        return total


@dataclass(frozen=True, eq=False)
class BoxSpace:
    """A design space in categories.

    Parameters
    ----------
    space : the `DesignSpace`.
    kinds : of categories; a category is known by its kind and its number there.
    enumerated : names of ordered variables that are taken as categories, in at least one kind.
    """

    space: DesignSpace
    kinds: tuple[Kind, ...]
    enumerated: tuple[str, ...]

    @property
    def n_categories(self) -> int:
        """Categories of all kinds."""
        return sum(len(kind.categories) for kind in self.kinds)


def box_space(space: DesignSpace, distrusted: Iterable[str] = ()) -> BoxSpace:
    """The space in categories; `distrusted` variables are enumerated whatever is declared.

    Raises ValueError where there are too many categories.
    """
    distrusted = set(distrusted)
    ordered = [
        v.name for v in space.variables if not v.is_category and len(v.levels) > 1 and v.name not in distrusted
        and isinstance(v.levels[0], int | float) and not isinstance(v.levels[0], bool | DramType)
    ]  # fmt: skip
    deciding = [v for v in space.variables if v.name not in ordered]
    number = int(np.prod([float(len(v.levels)) for v in deciding])) if deciding else 1
    _check_number(number, [v.name for v in deciding])
    groups: dict[tuple, list[list[int]]] = {}
    enumerated: dict[str, None] = {}
    names = list(space.names)
    for chosen in product(*(range(len(v.levels)) for v in deciding)):
        values = {p: getattr(space.base, p) for p in space.base.parameters()}
        values |= {v.name: v.levels[i] for v, i in zip(deciding, chosen, strict=True)}
        axes = tuple(name for name in ordered if is_monotone(name, values))
        others = [name for name in ordered if name not in axes]
        enumerated |= dict.fromkeys(others)
        fixed = tuple(names.index(v.name) for v in deciding) + tuple(names.index(name) for name in others)
        stops = values["interconnect"] == "broadcast" and not values["overlap_load"]
        shared = values["buffers"] if not stops and values["port_model"] == "bytes" else "W/I/O"
        levels = [range(len(space.variables[names.index(name)].levels)) for name in others]
        found = groups.setdefault((axes, fixed, shared), [])
        found.extend([*chosen, *rest] for rest in product(*levels))
        _check_number(sum(map(len, groups.values())), [*(v.name for v in deciding), *enumerated])
    kinds = tuple(
        Kind(_axes(space, axes, shared), fixed, np.array(rows, dtype=np.int64).reshape(len(rows), len(fixed)))
        for (axes, fixed, shared), rows in groups.items()
    )
    told = [*enumerated, *(v.name for v in space.variables if v.name in distrusted)]
    return BoxSpace(space, kinds, tuple(dict.fromkeys(told)))


def _check_number(number: int, names: list[str]) -> None:
    if number > MOST_CATEGORIES:
        raise ValueError(
            f"{number:,} combinations of {', '.join(names)} are to be enumerated, more than {MOST_CATEGORIES:,}: "
            "latency and area are not monotone in them; fix some of them in the space"
        )


def _axes(space: DesignSpace, names: tuple[str, ...], arrangement: str) -> tuple[Axis, ...]:
    """The axes of the variables `names`, sums of what operands share as one."""
    left, axes = list(names), []
    for what in ("kib", "width_bytes", "banks"):
        for group in buffer_groups(arrangement):
            together = [f"{OPERAND_NAMES[x]}_buffer_{what}" for x in group]
            if len(together) > 1 and all(name in left for name in together):
                axes.append(_sum_axis(space, together, f"{what} of {group}"))
                left = [name for name in left if name not in together]
    for name in left:
        at = space.names.index(name)
        levels = np.arange(len(space.variables[at].levels))[:, None]
        frees = "latency" if name in _BANKS else ("area" if name == "resident_activation_fraction" else "")
        axes.append(Axis(name, (at,), levels, (1,) * len(levels), levels, frees))
    return tuple(axes)


def _numbers(space: DesignSpace, at: int) -> list[float]:
    """Levels of an ordered variable."""
    return [float(x) for x in space.variables[at].levels if isinstance(x, int | float)]


def _sum_axis(space: DesignSpace, names: list[str], called: str) -> Axis:
    """The sums of several variables; of each the choice with the least outputs, then inputs, stands for all.

    Logic at the ports of inputs and outputs grows with their widths; that of weights only with the sum of all widths.
    """
    places = [space.names.index(name) for name in names]
    values = [_numbers(space, at) for at in places]
    first: dict[float, tuple[int, ...]] = {}
    counts: dict[float, int] = {}
    for backwards in product(*(range(len(v)) for v in reversed(values))):
        genes = backwards[::-1]
        total = sum(v[i] for v, i in zip(values, genes, strict=True))
        first.setdefault(total, genes)
        counts[total] = counts.get(total, 0) + 1
    totals = sorted(first)
    least = np.tile([min(v) for v in values], (len(totals), 1))
    if names[0] == _WIDTHS[0]:
        least[:, 0] = np.array(totals) - least[:, 1:].sum(axis=1)
    frees = "latency" if names[0] in _BANKS else ""
    genes_of = np.array([first[t] for t in totals])
    return Axis(called, tuple(places), genes_of, tuple(counts[t] for t in totals), least, frees)


class Measures(Protocol):
    """What `broken_axes` asks of designs and boxes, given by genes X (n, n_var)."""

    def latency_s(self, X: np.ndarray) -> np.ndarray:
        """Lower bounds of the latency, (n,)."""

    def area_mm2(self, X: np.ndarray) -> np.ndarray:
        """Areas, (n,)."""

    def least_area_mm2(self, X: np.ndarray, parts: dict[int, np.ndarray]) -> np.ndarray:
        """Least area of boxes whose lowest corner has genes X and `Kind.least_parts`, (n,)."""

    def closer_s(self, X: np.ndarray) -> np.ndarray:
        """Closer lower bounds of the latency, by searches, (n,)."""

    def designs(self, X: np.ndarray) -> np.ndarray:
        """Latency, infinite where a network does not fit, and area of the designs themselves, (n, 2)."""


def broken_axes(boxes: BoxSpace, measures: Measures, seed: int, n: int) -> tuple[str, ...]:
    """Variables that are not what their axis declares, on `n` random pairs of designs for each axis of each kind.

    Raised, a variable may not put the bound above the latency that the mapper found for the design, nor lower the area;
    a choice of equal sums must have the bound of the one that stands for it, and no less than the least area.
    Bounds by searches are looked at on the first `SEARCHED` pairs.
    """
    rng = np.random.default_rng(seed)
    broken: dict[str, None] = {}
    for kind in boxes.kinds:
        category = rng.integers(0, len(kind.categories), n)
        levels = np.floor(rng.random((n, len(kind.axes))) * (kind.tops + 1)).astype(np.int64)
        X = kind.genes(category, levels)
        latency, area = measures.designs(X)[:, 0], measures.area_mm2(X)
        least = measures.least_area_mm2(X, kind.least_parts(levels))
        for at, axis in enumerate(kind.axes):
            raised = levels.copy()
            raised[:, at] = rng.integers(levels[:, at], kind.tops[at] + 1)
            Y = kind.genes(category, raised)
            bound, larger = measures.latency_s(Y), measures.area_mm2(Y) / area
            wrong = bound > latency * (1 + 1e-9)
            wrong[:SEARCHED] |= measures.closer_s(Y[:SEARCHED]) > latency[:SEARCHED] * (1 + 1e-9)
            if axis.frees == "latency":
                wrong |= ~np.isclose(bound, measures.latency_s(X), rtol=1e-9, atol=0)
            if len(axis.variables) > 1:
                wrong |= _sums_differ(boxes.space, kind, at, category, levels, measures, rng)
                larger = measures.least_area_mm2(Y, kind.least_parts(raised)) / least
            wrong |= (larger < 1 - 1e-9) | ((larger > 1 + 1e-9) & (axis.frees == "area"))
            if wrong.any():
                broken |= dict.fromkeys(boxes.space.names[v] for v in axis.variables)
    return tuple(broken)


def _sums_differ(
    space: DesignSpace,
    kind: Kind,
    at: int,
    category: np.ndarray,
    levels: np.ndarray,
    measures: Measures,
    rng: np.random.Generator,
) -> np.ndarray:
    """Whether random choices of the variables of an axis are other than those that stand for their sums, (n,)."""
    Z, of = _same_sums(space, kind.axes[at], kind.genes(category, levels), rng)
    stands = levels.copy()
    stands[:, at] = of
    W = kind.genes(category, stands)
    unequal = ~np.isclose(measures.latency_s(Z), measures.latency_s(W), rtol=1e-9, atol=0)
    return unequal | (measures.least_area_mm2(W, kind.least_parts(stands)) > measures.area_mm2(Z) * (1 + 1e-9))


def _same_sums(
    space: DesignSpace, axis: Axis, X: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Designs with random choices of the variables of an axis, and the levels of their sums."""
    Z, places = X.copy(), list(axis.variables)
    sizes = [np.array(_numbers(space, v)) for v in places]
    for place, size in zip(places, sizes, strict=True):
        Z[:, place] = rng.integers(0, len(size), len(Z))
    sums = sum(size[Z[:, place]] for place, size in zip(places, sizes, strict=True))
    known = sum(size[axis.genes[:, i]] for i, size in enumerate(sizes))
    return Z, np.searchsorted(known, sums)
