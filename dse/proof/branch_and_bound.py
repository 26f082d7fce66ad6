"""Branch and bound over the boxes of a space: how much better than a set of designs any design can be at most.

A box is a category with an interval of levels on every axis (`dse.proof.boxes`).  Its latency is at least a bound at
the best corner, all axes at their highest level, and its area that of the smallest corner.  The *factor* of a box is
the least by which all of latency and area of one known design must shrink to reach these two numbers: no design in
the box is better than the known ones by more than that.  Boxes of the largest factors are split, or bounded more
closely, until all are at most the factor that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dse.proof.bounds_of_designs import CLOSER, COMPLETE, DEFAULT, FAR, DesignBounds
from dse.proof.boxes import BoxSpace
from dse.search.pareto import non_dominated

GRADES = (CLOSER, FAR, COMPLETE)
"""Searches over all mappings that bound a corner closer: the bound without a search is grade 0."""

EVALUATED = len(GRADES) + 1
"""Grade of a box of one design that the complete mapper evaluated, so that it is among the known ones."""

WORTH, NEAR = (1.1, 1.05, 1.0), 1.04
"""A box of few designs is searched with the next grade where its bound misses what is asked for by so much at most, one
of a single design in any case, and one whose splits bring little where it is near."""

FEW, STALLED = 16, 4
"""Few designs in the axes that are split; splits one after the other that brought little.  A search takes as long as
some thousand bounds."""

LITTLE = 0.995
"""A split brings little where a part keeps so much of the factor."""

REACHED = 0.98
"""A search closes what the mappings found by the default effort clear by so much; else it goes on for long in vain."""

FAR_OFF = 1e9
"""Factors beyond this count alike where an axis is chosen; without a known design all are infinite."""

EQUAL = 1e-9
"""Factors that differ by less are equal."""

AT_LIMIT = 1 + 1e-8
"""A number is beyond a limit where it is beyond this multiple: two ways to the same number differ by their rounding."""

CUT = 6
"""An end of an axis that is cut off is one of so many parts of its interval, and a level at least."""

AT_ONCE = 2048
"""Boxes that are looked at in a round."""


@dataclass
class Archive:
    """Known designs that do not dominate each other, by latency.

    Parameters
    ----------
    F : (n, 2) latency [s] and area [mm2].
    X : (n, n_var) genes.
    """

    F: np.ndarray
    X: np.ndarray

    def add(self, F: np.ndarray, X: np.ndarray) -> int:
        """Add designs; returns how many of them are kept."""
        finite = np.isfinite(F).all(axis=1)
        new = np.concatenate([np.zeros(len(self.F), bool), np.ones(int(finite.sum()), bool)])
        F, X = np.concatenate([self.F, F[finite]]), np.concatenate([self.X, X[finite]])
        if len(F) == 0:
            return 0
        keep = non_dominated(F)
        keep = keep[np.lexsort(F[keep].T[::-1])]  # by latency
        self.F, self.X = F[keep], X[keep]
        return int(new[keep].sum())

    def factors(self, latency: np.ndarray, area: np.ndarray) -> np.ndarray:
        """Factor of each pair of a lower bound of the latency and an area, (n,)."""
        if len(self.F) == 0:
            return np.full(len(latency), np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.searchsorted(self.F[:, 0] / self.F[:, 1], latency / area)
        best = np.full(len(latency), np.inf)
        for shift in (-1, 0):
            one = self.F[np.clip(at + shift, 0, len(self.F) - 1)]
            best = np.minimum(best, np.maximum(one[:, 0] / latency, one[:, 1] / area))
        return best

    def enough(self, area: np.ndarray, factor: float) -> np.ndarray:
        """Latency from which on a box of such an area is done, (n,); infinite where no known design is as small."""
        smaller = self.F[:, 1][None] <= area[:, None] * factor
        least = np.where(smaller, self.F[:, 0][None], np.inf).min(axis=1, initial=np.inf)
        return least / factor


@dataclass
class Boxes:
    """Boxes, one a row.

    Parameters
    ----------
    kind, category : of the category.
    low, high : (n, most axes of a kind) first and last level of each axis; 0 beyond the axes of the kind.
    latency, area : lower bounds.
    grade : of the last search at the corner.
    stalled : splits up to this box that brought little.
    factor : as of when the box was last looked at; 0 where limits leave out all of it.
    """

    kind: np.ndarray
    category: np.ndarray
    low: np.ndarray
    high: np.ndarray
    latency: np.ndarray
    area: np.ndarray
    grade: np.ndarray
    stalled: np.ndarray
    factor: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def rows(self, which: np.ndarray) -> Boxes:
        """The chosen boxes."""
        return Boxes(**{name: values[which] for name, values in vars(self).items()})

    @staticmethod
    def join(parts: Sequence[Boxes]) -> Boxes:
        """All of them."""
        return Boxes(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in vars(parts[0])})


def keeps_to(points: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Which pairs of latency and area (n, 2) keep to the limits, (n,) bool."""
    return np.all(points <= np.array(limits) * AT_LIMIT, axis=1)


def factors_within(archive: Archive, some: Boxes, limits: tuple[float, float]) -> np.ndarray:
    """Factors of boxes, (n,); 0 of those whose designs are all beyond the limits, or fit under no mapping."""
    factors = archive.factors(some.latency, some.area)
    keeps = keeps_to(np.column_stack([some.latency, some.area]), limits) & np.isfinite(some.latency)
    return np.where(keeps, factors, 0.0)


@dataclass
class Search:
    """A branch and bound that may end at any time.

    Parameters
    ----------
    boxes : the space.
    bounding : what is known of designs.
    archive : known designs; better ones that are met join it.
    limits : most latency [s] and area [mm2] of designs that count.
    open, done : boxes whose factor is to be made smaller, and others.
    bounds, searches, designs : bounds of boxes, searches of corners, and designs evaluated so far.
    history : (bounds, searches, designs, factor) after each round.
    """

    boxes: BoxSpace
    bounding: DesignBounds
    archive: Archive
    limits: tuple[float, float] = (np.inf, np.inf)
    open: Boxes = field(init=False)
    done: Boxes = field(init=False)
    bounds: int = 0
    searches: int = 0
    designs: int = 0
    history: list[tuple[int, int, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n, kinds = self.boxes.n_categories, self.boxes.kinds
        width = max(1, *(len(kind.axes) for kind in kinds))
        self._splits, self._frees_latency = np.zeros((2, len(kinds), width), bool)
        tops = np.zeros((len(kinds), width), np.int16)
        for number, one in enumerate(kinds):
            tops[number, : len(one.axes)] = one.tops
            for at, axis in enumerate(one.axes):
                self._splits[number, at], self._frees_latency[number, at] = not axis.frees, axis.frees == "latency"
        kind = np.repeat(np.arange(len(kinds)), [len(x.categories) for x in kinds]).astype(np.int16)
        category = np.concatenate([np.arange(len(x.categories)) for x in kinds]).astype(np.int32)
        high, ones = tops[kind], np.ones(n)
        self.open = Boxes(
            kind, category, np.zeros_like(high), high, ones, ones, np.zeros(n, np.int8), np.zeros(n, np.int8), ones
        )
        self.open.latency = self._latency(self.open)
        self.open.area = self._area(self.open)
        self.done = self.open.rows(np.zeros(n, bool))
        self._judge(self.open)

    def _genes(self, some: Boxes, levels: np.ndarray) -> np.ndarray:
        """Genes (n, n_var) of levels (n, most axes) in the categories of boxes."""
        X = np.empty((len(some), self.boxes.space.n_var), dtype=np.int64)
        for number in np.unique(some.kind):
            here, kind = some.kind == number, self.boxes.kinds[number]
            X[here] = kind.genes(some.category[here], levels[here, : len(kind.axes)])
        return X

    def _levels(self, some: Boxes) -> np.ndarray:
        """Levels on the axes that are split, 1 on others, (n, most axes)."""
        return np.where(self._splits[some.kind], some.high - some.low + 1, 1)

    def _corner(self, some: Boxes) -> np.ndarray:
        """Genes of the best corners; at the lowest level of what the latency does not depend on."""
        return self._genes(some, np.where(self._frees_latency[some.kind], some.low, some.high))

    def _latency(self, some: Boxes) -> np.ndarray:
        self.bounds += len(some)
        return self.bounding.latency_s(self._corner(some))

    def _area(self, some: Boxes) -> np.ndarray:
        parts: dict[int, np.ndarray] = {}
        for number in np.unique(some.kind):
            here, kind = some.kind == number, self.boxes.kinds[number]
            for variable, values in kind.least_parts(some.low[here, : len(kind.axes)]).items():
                parts.setdefault(variable, np.full(len(some), np.nan))[here] = values
        return self.bounding.least_area_mm2(self._genes(some, some.low), parts)

    def _judge(self, some: Boxes) -> None:
        """Fill in the factors as of now."""
        some.factor = factors_within(self.archive, some, self.limits)

    @property
    def factor(self) -> float:
        """No design is better than the known ones by more than this in both, as of the last round; at least 1."""
        worst = [float(x.factor.max()) for x in (self.open, self.done) if len(x)]
        return max(1.0, *worst)

    def aim_at(self, factor: float) -> None:
        """Go on towards this factor: boxes that were done with a larger one are open again."""
        self._judge(self.done)
        again = self.done.factor > factor * (1 + EQUAL)
        self.open = Boxes.join([self.open, self.done.rows(again)])
        self.done = self.done.rows(~again)
        self._settle(factor)

    def _settle(self, factor: float) -> None:
        """Judge the open boxes, and put aside those that are done."""
        self._judge(self.open)
        ready = self.open.factor <= factor * (1 + EQUAL)
        self.done = Boxes.join([self.done, self.open.rows(ready)])
        self.open = self.open.rows(~ready)

    def round(self, factor: float) -> bool:
        """Look at the boxes of the largest factors; returns whether any is left."""
        if len(self.open):
            left = np.where(self.open.grade == EVALUATED, 0.0, self.open.factor)
            first = np.argsort(-left, kind="stable")[:AT_ONCE]
            chosen = np.zeros(len(self.open), bool)
            chosen[first] = True
            some, self.open = self.open.rows(chosen), self.open.rows(~chosen)
            self.open = Boxes.join([self.open, *self._look(some, factor)])
            self._settle(factor)
        self.history.append((self.bounds, self.searches, self.designs, self.factor))
        return len(self.open) > 0

    def can_go_on(self) -> bool:
        """Whether anything can make the factor of an open box smaller: not where single designs are evaluated."""
        return bool((self.open.grade != EVALUATED).any())

    def proven(self, archive: Archive, every: Boxes) -> float:
        """No design in the boxes is better than an archive by more than this factor in both."""
        return max(1.0, float(factors_within(archive, every, self.limits).max()))

    def _enough(self, some: Boxes, factor: float) -> np.ndarray:
        """Latency from which on each box is done, (n,)."""
        return np.minimum(self.archive.enough(some.area, factor), self.limits[0] * AT_LIMIT) * (1 + EQUAL)

    def _look(self, some: Boxes, factor: float) -> list[Boxes]:
        """What becomes of boxes."""
        levels = self._levels(some)
        single, few = levels.max(axis=1) == 1, np.prod(levels, axis=1, dtype=float) <= FEW
        worth = np.append(WORTH, 0.0)[np.minimum(some.grade, len(GRADES))]
        missing = self._enough(some, factor) / some.latency
        hope = (few & (missing <= worth)) | ((some.stalled >= STALLED) & (missing <= NEAR))
        search = (some.grade < len(GRADES)) & (single | hope)
        last = single & ~search & (some.grade != EVALUATED)
        parts = [some.rows(some.grade == EVALUATED)]
        if search.any():
            parts.append(self._searched(some.rows(search), factor))
        if last.any():
            parts.append(self._evaluated(some.rows(last)))
        if (~search & ~single).any():
            parts += self._split(some.rows(~search & ~single), factor)
        return parts

    def _searched(self, some: Boxes, factor: float) -> Boxes:
        """The boxes with the next grade of bounds; corners that may be on the front are evaluated."""
        X, enough = self._corner(some), self._enough(some, factor)
        found, reached = self.bounding.searched_s(X, DEFAULT, np.full(len(X), np.inf)).T
        single = self._levels(some).max(axis=1) == 1
        go_on = (found < enough) & (enough <= np.where(single, 1.0, REACHED) * reached)
        for grade in np.unique(some.grade[go_on]):
            here = np.flatnonzero(go_on & (some.grade == grade))
            found[here], reached[here] = self.bounding.searched_s(X[here], GRADES[grade], enough[here]).T
        self.searches += len(some)
        some.latency = np.maximum(some.latency, found)
        some.grade = np.where(go_on | single, some.grade + 1, len(GRADES)).astype(np.int8)
        self._try(X, np.maximum(some.latency, reached))
        return some

    def _evaluated(self, some: Boxes) -> Boxes:
        """Boxes of one design each, which the complete mapper evaluates with the best set of activations on chip.

        Designs that differ in their share for activations alone are one box: a larger share is never slower.
        """
        X = self._corner(some)
        found = self.bounding.designs(X, "complete")
        self.designs += len(X)
        some.latency = np.maximum(some.latency, self.bounding.exact_s(X))
        self._learn(X, found)
        some.grade = np.full(len(some), EVALUATED, np.int8)
        return some

    def _try(self, X: np.ndarray, latency: np.ndarray) -> None:
        """Evaluate the designs that are not known to be dominated; those that matter join the archive."""
        area = self.bounding.area_mm2(X)
        hope = (self.archive.factors(latency, area) > 1 + EQUAL) & keeps_to(
            np.column_stack([latency, area]), self.limits
        )
        if hope.any():
            self.designs += int(hope.sum())
            self._learn(X[hope], self.bounding.designs(X[hope]))

    def _learn(self, X: np.ndarray, found: np.ndarray) -> None:
        good = keeps_to(found, self.limits)
        self.archive.add(found[good], X[good])

    def _split(self, some: Boxes, factor: float) -> list[Boxes]:
        """What is left of boxes without the ends of axes that are done, and these; where none is, each box in two."""
        share = np.maximum(1, (some.high - some.low + 1) // CUT)
        slow, large, factors = self._probe(some, some.low + share, some.high - share + 1)
        is_done = factors <= factor * (1 + EQUAL)
        cut = np.any(is_done, axis=0).any(axis=1)
        parts = []
        if cut.any():
            parts = self._cut(some.rows(cut), share[cut], slow[cut], large[cut], is_done[:, cut])
        if cut.all():
            return parts
        some = some.rows(~cut)
        upper_first = (some.low + some.high) // 2 + 1
        slow, large, factors = self._probe(some, upper_first, upper_first)
        left = np.log(np.clip(factors / factor, 1.0, FAR_OFF)).sum(axis=0)
        left[self._levels(some) == 1] = np.inf
        at = np.argmin(left, axis=1)
        rows = np.arange(len(some))
        lower, upper = some.rows(rows), some.rows(rows)
        lower.high[rows, at], upper.low[rows, at] = upper_first[rows, at] - 1, upper_first[rows, at]
        lower.latency, upper.area = slow[rows, at], large[rows, at]
        lower.grade = np.zeros(len(rows), np.int8)
        for side, part in enumerate((lower, upper)):
            little = factors[side, rows, at] >= LITTLE * some.factor
            part.stalled = np.where(little, np.minimum(some.stalled + 1, STALLED), 0).astype(np.int8)
        return [*parts, lower, upper]

    def _probe(
        self, some: Boxes, lower_end: np.ndarray, upper_first: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both ends of boxes along each axis: levels before `lower_end`, and from `upper_first` on.

        Returns latency of the lower ends and area of the upper ones, (n, axes), and factors of both, (2, n, axes);
        infinite where an axis has one level.
        """
        shape = some.low.shape
        slow, large, factors = np.zeros(shape), np.zeros(shape), np.full((2, *shape), np.inf)
        rows, axes = np.nonzero((some.low < some.high) & self._splits[some.kind])
        lower, upper, each = some.rows(rows), some.rows(rows), np.arange(len(rows))
        lower.high[each, axes] = lower_end[rows, axes] - 1
        upper.low[each, axes] = upper_first[rows, axes]
        lower.latency = np.maximum(lower.latency, self._latency(lower))
        upper.area = np.maximum(upper.area, self._area(upper))
        slow[rows, axes], large[rows, axes] = lower.latency, upper.area
        for side, part in enumerate((lower, upper)):
            self._judge(part)
            factors[side, rows, axes] = part.factor
        return slow, large, factors

    def _cut(
        self, some: Boxes, share: np.ndarray, slow: np.ndarray, large: np.ndarray, is_done: np.ndarray
    ) -> list[Boxes]:
        """The ends of boxes that are done, (2, n, axes) bool, `share` (n, axes) levels each, and what is left."""
        parts, left = [], some.rows(np.arange(len(some)))
        corner = np.zeros(len(some), bool)  # whether the best corner is another one
        for at in np.flatnonzero(is_done.any(axis=(0, 1))):
            for side in range(2):
                here = np.flatnonzero(is_done[side, :, at] & (left.low <= left.high).all(axis=1))
                part = left.rows(here)
                if side == 0:
                    left.low[here, at] += share[here, at]
                    part.high[:, at] = left.low[here, at] - 1
                    part.latency, part.grade = np.maximum(part.latency, slow[here, at]), np.zeros(len(here), np.int8)
                else:
                    left.high[here, at] -= share[here, at]
                    part.low[:, at] = left.high[here, at] + 1
                    part.area = np.maximum(part.area, large[here, at])
                    part.grade[corner[here]] = 0
                    corner[here] = True
                parts.append(part)
        keep = (left.low <= left.high).all(axis=1)
        left, corner = left.rows(np.flatnonzero(keep)), corner[keep]
        left.grade[corner] = 0
        left.latency = np.maximum(left.latency, self._latency(left))
        left.area = np.maximum(left.area, self._area(left))
        return [*parts, left]
