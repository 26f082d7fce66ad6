"""Pareto local search: the neighbours of the designs on the front, the most promising first.

A neighbour differs in one variable: a level up or down, or another choice.  How good it will be is guessed from its
lower bound and from how far its parent came out above its own.  (Paquete, Chiarandini and Stuetzle, "Pareto local
optimum sets in the biobjective traveling salesman problem", 2004, is the search without bounds.)
"""

from __future__ import annotations

import numpy as np

from dse.search.genetic_operators import keys
from dse.search.guide import Guide

POOL = 20_000
"""Neighbours that are kept in mind at most: the most promising."""

OF_ONE_PARENT = 4
"""Neighbours of one design in a batch at most, so that a batch is spread along the front."""

STALL_ROUNDS = 20
"""Rounds in a row of two random moves without a new design after which the search is exhausted."""


class LocalSearch:
    """Proposes neighbours of the front that were not evaluated and are not shown dominated.

    Parameters
    ----------
    guide : the front and the bounds.
    known : keys of designs that are evaluated or shown dominated.
    batch : designs a round at most.
    seed : of the two random moves that follow where the front has no new neighbour.
    """

    def __init__(self, guide: Guide, known: dict[bytes, int] | set[bytes], batch: int, seed: int) -> None:
        self.guide, self.known, self.batch = guide, known, batch
        self.exhausted = "no neighbour of the front is new"
        self._rng = np.random.default_rng([seed, 0x10CA1])
        self._n_levels = np.asarray(guide.problem.space.n_levels)
        self._category = np.asarray(guide.problem.space.is_category, dtype=bool)
        self._visited: set[bytes] = set()
        self._queued: set[bytes] = set()
        n_var, m = guide.problem.n_var, len(guide.problem.objective_names)
        self._X = np.empty((0, n_var), dtype=np.int64)
        self._bound, self._guess = np.empty((0, m)), np.empty((0, m))
        self._parent = np.empty(0, dtype=np.int64)
        self._parents = 0

    def ask(self, limit: int) -> np.ndarray:
        """The next designs, at most `limit` and a batch; none where the search is exhausted."""
        for _ in range(STALL_ROUNDS):
            self._visit()
            self._forget_dominated()
            if len(self._X) == 0:
                self._two_moves()
            if len(self._X):
                return self._take(min(limit, self.batch))
        return self._X

    def _visit(self) -> None:
        """Put the neighbours of designs that are new on the front into the pool."""
        new = [i for i, key in enumerate(keys(self.guide.X)) if key not in self._visited]
        if not new:
            return
        self._visited.update(keys(self.guide.X[new]))
        made = [self._neighbours(x) for x in self.guide.X[new]]
        self._add(np.concatenate(made), np.repeat(new, [len(part) for part in made]))

    def _neighbours(self, x: np.ndarray) -> np.ndarray:
        """Designs that differ from x (n_var,) in one variable, (k, n_var)."""
        made = []
        for at, (n, category) in enumerate(zip(self._n_levels.tolist(), self._category.tolist(), strict=True)):
            others = (
                [k for k in range(n) if k != x[at]] if category else [k for k in (x[at] - 1, x[at] + 1) if 0 <= k < n]
            )
            made += [(at, k) for k in others]
        X = np.repeat(x[None], len(made), axis=0)
        for row, (at, k) in enumerate(made):
            X[row, at] = k
        return X

    def _two_moves(self) -> None:
        """Put random designs two moves from the front into the pool."""
        n, n_var = self.batch * 10, self._X.shape[1]
        if len(self.guide.X) == 0:
            self._add(self._rng.integers(0, self._n_levels, size=(n, n_var)), np.zeros(n, dtype=np.int64))
            return
        parent = self._rng.integers(0, len(self.guide.X), size=n)
        X = self.guide.X[parent].copy()
        for _ in range(2):
            at = self._rng.integers(0, n_var, size=n)
            levels, rows = self._n_levels[at], np.arange(n)
            step = X[rows, at] + self._rng.choice((-1, 1), size=n)
            anew = self._rng.integers(0, levels)
            X[rows, at] = np.where(self._category[at], anew, np.clip(step, 0, levels - 1))
        self._add(X, parent)

    def _add(self, X: np.ndarray, parent: np.ndarray) -> None:
        """Put the new ones of X (n, n_var), neighbours of the front's designs `parent` (n,), into the pool."""
        X = self.guide.settled(X)
        fresh = []
        for i, key in enumerate(keys(X)):
            if key not in self.known and key not in self._queued:
                self._queued.add(key)
                fresh.append(i)
        X, parent = X[fresh], parent[fresh]
        if len(X) == 0:
            return
        guide = self.guide
        bounds = guide.bounds(X)
        out = guide.dominated(bounds)
        guide.left_out += int(out.sum())
        X, parent, bound = X[~out], parent[~out], bounds.objectives[~out]
        guess = bound
        if guide.is_bounded and len(guide.X):
            guess = bound * guide.above[parent]
        elif len(guide.X):
            guess = guide.F[parent]
        self._X, self._bound = np.concatenate([self._X, X]), np.concatenate([self._bound, bound])
        self._guess = np.concatenate([self._guess, guess])
        self._parent = np.concatenate([self._parent, self._parents + parent])
        self._parents += max(len(guide.X), 1)

    def _forget_dominated(self) -> None:
        """Leave out what the front now shows dominated."""
        if len(self._X) == 0 or not self.guide.is_bounded:
            return
        out = self.guide.covers(self._bound)
        self.guide.left_out += int(out.sum())
        self._keep(np.flatnonzero(~out))

    def _keep(self, which: np.ndarray) -> None:
        self._X, self._bound, self._guess = self._X[which], self._bound[which], self._guess[which]
        self._parent = self._parent[which]

    def _take(self, count: int) -> np.ndarray:
        """The most promising designs of the pool, at most `OF_ONE_PARENT` of each parent; they leave it."""
        gain = self.guide.gain(self._guess)
        order = np.argsort(-gain, kind="stable")
        if len(order) > POOL:
            order = order[:POOL]
        taken: dict[int, int] = {}
        chosen: list[int] = []
        later: list[int] = []
        for i in order.tolist():
            parent = int(self._parent[i])
            if len(chosen) < count and taken.get(parent, 0) < OF_ONE_PARENT:
                taken[parent] = taken.get(parent, 0) + 1
                chosen.append(i)
            else:
                later.append(i)
        X = self._X[chosen]
        self._keep(np.array(sorted(later), dtype=np.int64))
        return X
