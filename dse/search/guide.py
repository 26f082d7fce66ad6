"""What a search knows without mapping a design: its front so far, and bounds that show designs dominated by that."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from dse.runs.problem_protocol import Evaluated, SearchProblem
from dse.search.pareto import Normalisation, RunningFront

PART = 4096
"""Designs that are compared with the front at once where there are three objectives or more."""


@runtime_checkable
class Bounded(Protocol):
    """A problem that may know lower bounds of its objectives and constraints."""

    def lower_bounds(self, X: np.ndarray) -> Evaluated | None:
        """Objectives and constraints that no mapping of the designs X (n, n_var) makes better; None where unknown."""

    def no_worse(self, X: np.ndarray) -> np.ndarray:
        """Genes (n, n_var) of designs that are no worse than X: what only costs is left out."""


def is_bounded(problem: SearchProblem) -> bool:
    """Whether a problem knows bounds of its objectives."""
    first = np.zeros((1, problem.n_var), dtype=np.int64)
    return isinstance(problem, Bounded) and problem.lower_bounds(first) is not None


class Guide:
    """The front of all designs that a search evaluated, of any size, and which designs it shows dominated.

    Parameters
    ----------
    problem : whether it knows bounds is found out here: `is_bounded`.
    scale : on which gains are measured.

    `X`, `F` are genes (k, n_var) and objectives (k, m) of the feasible designs that no other dominates, `above` their
    objectives over their bounds (k, m), 1 where no bound above 0 is known; `left_out` counts the designs that were
    proposed, and not evaluated since they are shown dominated.
    """

    def __init__(self, problem: SearchProblem, scale: Normalisation) -> None:
        self.problem, self.scale = problem, scale
        self.is_bounded = is_bounded(problem)
        self.X = np.empty((0, problem.n_var), dtype=np.int64)
        self._front = RunningFront(len(problem.objective_names))
        self.above = np.empty((0, len(problem.objective_names)))
        self._skyline = np.empty((0, len(problem.objective_names)))
        self.left_out = 0

    @property
    def F(self) -> np.ndarray:
        """Objectives of the front, (k, m)."""
        return self._front.points

    def _bounds(self, X: np.ndarray) -> Evaluated | None:
        return self.problem.lower_bounds(X) if isinstance(self.problem, Bounded) else None

    def settled(self, X: np.ndarray) -> np.ndarray:
        """One choice of genes for each design (`DesignSpace.canonical`), without what only costs; (n, n_var)."""
        X = self.problem.space.canonical(X)
        return self.problem.no_worse(X) if self.is_bounded and isinstance(self.problem, Bounded) and len(X) else X

    def bounds(self, X: np.ndarray) -> Evaluated:
        """Bounds of designs, -inf where the problem knows none."""
        found = self._bounds(X) if self.is_bounded and len(X) else None
        if found is not None:
            return found
        n, m, c = len(X), len(self.problem.objective_names), len(self.problem.constraint_labels)
        return Evaluated(np.full((n, m), -np.inf), np.zeros((n, c)), {})

    def learn(self, X: np.ndarray, rows: Evaluated) -> None:
        """Take evaluated designs into the front."""
        good, before = rows.feasible, len(self.X)
        keep = self._front.update(rows.objectives[good], np.zeros(int(good.sum()), dtype=np.int64))
        self.X = np.concatenate([self.X, X[good]])[keep]
        new = np.flatnonzero(keep >= before)  # few of many: only these are bounded
        bounds = self.bounds(self.X[new]).objectives
        known = np.isfinite(bounds) & (bounds > 0)
        of_new = np.where(known, self.F[new] / np.where(known, bounds, 1.0), 1.0)
        self.above = np.concatenate([self.above[keep[keep < before]], of_new])
        self._skyline = self.F[np.argsort(self.F[:, 0], kind="stable")]

    def dominated(self, bounds: Evaluated) -> np.ndarray:
        """Which designs are shown to add nothing to the front, (n,) bool: infeasible, or no better than one of it."""
        infeasible = (bounds.constraints > 0).any(axis=1) & (len(self.F) > 0)
        return self.covers(bounds.objectives) | infeasible

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Whether a design of the front is no worse than each of `points` (n, m) in every objective, (n,) bool."""
        return covers(self._skyline, points)

    def gain(self, points: np.ndarray) -> np.ndarray:
        """How far points lie before the front on the scale, (n,): the least step back that puts each behind it; below 0
        where it is behind."""
        if len(self.F) == 0:
            return np.zeros(len(points))
        front, points = self.scale(self.F), self.scale(points)
        if points.shape[1] != 2:
            parts = [points[i : i + PART] for i in range(0, len(points), PART)]
            return np.concatenate([(front[None] - part[:, None]).max(axis=2).min(axis=1) for part in parts])
        front = front[np.argsort(front[:, 0], kind="stable")]
        return _gain_of_two(front, points)


def covers(front: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether a point of a front (k, m) is no worse than each of `points` (n, m) in every objective, (n,) bool.

    The front is sorted by the first objective.
    """
    if len(front) == 0:
        return np.zeros(len(points), dtype=bool)
    if points.shape[1] != 2:
        parts = [points[i : i + PART] for i in range(0, len(points), PART)]
        found = [np.any(np.all(front[None] <= part[:, None], axis=2), axis=1) for part in parts]
        return np.concatenate(found) if found else np.zeros(0, dtype=bool)
    last = np.searchsorted(front[:, 0], points[:, 0], side="right") - 1
    return (last >= 0) & (front[np.maximum(last, 0), 1] <= points[:, 1])


def _gain_of_two(front: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`Guide.gain` of two objectives, (n,), from a front (k, 2) sorted by the first."""
    first, second = front[:, 0], front[:, 1]
    # the least over the front of the larger of (first - x, second - y): first - x rises along it, second - y falls
    x, y = points[:, 0], points[:, 1]
    low, high = np.zeros(len(points), dtype=np.int64), np.full(len(points), len(front), dtype=np.int64)
    while (low < high).any():  # the first point where first - x >= second - y
        middle = np.minimum((low + high) // 2, len(front) - 1)
        beyond = (first[middle] - x >= second[middle] - y) | (low >= high)
        high = np.where(beyond & (low < high), middle, high)
        low = np.where(beyond, low, middle + 1)
    right = np.minimum(low, len(front) - 1)
    left = np.maximum(low - 1, 0)
    at_right = np.maximum(first[right] - x, second[right] - y)
    at_left = np.maximum(first[left] - x, second[left] - y)
    return np.minimum(at_right, at_left)
