"""What a proof asks of designs, given by their genes: bounds of the latency, area, and the designs themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dse.costs import kernels as k
from dse.costs.bounds import BoundEvaluator
from dse.costs.kernel_rows import EFFORTS, design_rows
from dse.costs.parallel import checked_jobs, in_threads
from dse.costs.residency.keeper import Keeper
from dse.costs.several_networks import SeveralEvaluator, joined_tables
from dse.hardware.area import MEMORIES, area_blocks_mm2, area_mm2, sum_blocks
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks.layers import Network

SHARED_OUT = 64
"""Fewer designs than this for each worker are not worth sharing out, when they are bounded without a search."""


class DesignBounds:
    """Bounds of the designs of a space on networks, each design alone: the bits do not depend on the workers.

    Parameters
    ----------
    space : the genes' meaning.
    networks : one, or several whose geometric mean of latencies counts.
    weights : of the networks, any scale.
    technology : constants.
    n_jobs : workers.
    """

    def __init__(
        self,
        space: DesignSpace,
        networks: Sequence[Network],
        weights: Sequence[float],
        technology: Technology,
        n_jobs: int = 1,
    ) -> None:
        self.space, self.technology = space, technology
        self.n_jobs = checked_jobs(n_jobs)
        self._tables = joined_tables(networks)
        first = BoundEvaluator(self._tables, technology, energy=False, weights=weights)
        self._evaluators = [first, *(first.apart() for _ in range(self.n_jobs - 1))]
        self._mapper = SeveralEvaluator(networks, technology, slack=None, n_jobs=n_jobs)

    def latency_s(self, X: np.ndarray) -> np.ndarray:
        """Lower bounds of the latency [s] without a search, (n,)."""
        return self._shared(lambda of, part: of.mean(of(self.space.columns(part))["latency_bound_s"]), SHARED_OUT, X)

    def area_mm2(self, X: np.ndarray) -> np.ndarray:
        """Areas [mm2], (n,)."""
        return area_mm2(self.space.columns(X), self.technology)

    def least_area_mm2(self, X: np.ndarray, parts: dict[int, np.ndarray]) -> np.ndarray:
        """Least areas [mm2], (n,), over all choices of equal sums: `parts` are the values with the least logic.

        By number of the gene, each (n,) (`dse.proof.boxes.Kind.least_parts`), NaN where the gene itself counts.
        Memories take what their sums take.
        """
        columns = self.space.columns(X)
        blocks = area_blocks_mm2(columns, self.technology)
        if parts:
            named = {self.space.names[i]: values for i, values in parts.items()}
            least = columns | {x: np.where(np.isnan(values), columns[x], values) for x, values in named.items()}
            memories = {name: blocks[name] for name in MEMORIES}
            blocks = area_blocks_mm2(least, self.technology) | memories
        return sum_blocks(blocks)

    def searched_s(self, X: np.ndarray, effort: k.Effort, enough_s: np.ndarray) -> np.ndarray:
        """Lower bounds of the latency by searches of mappings, and what the mappings found reach, (n, 2) [s].

        They end where `enough_s` is shown, or no effort ever can.
        """

        def bound(of: BoundEvaluator, part: np.ndarray, enough: np.ndarray) -> np.ndarray:
            columns = self.space.columns(part)
            clock_hz = np.asarray(columns["clock_ghz"], dtype=float) * 1e9
            return of.searched_cycles(columns, enough * clock_hz, effort) / clock_hz[:, None]

        return self._shared(bound, 1, X, enough_s)

    def closer_s(self, X: np.ndarray) -> np.ndarray:
        """Lower bounds of the latency [s] by searches of the default effort, (n,)."""
        return self.searched_s(X, DEFAULT, np.full(len(X), np.inf))[:, 0]

    def designs(self, X: np.ndarray, effort: str = "default") -> np.ndarray:
        """Latency [s] by the mapper of this effort, with what the model keeps on chip, and area [mm2], (n, 2).

        Infinite latency where a network does not fit.
        """
        columns = self.space.columns(X)
        clock_hz = np.asarray(columns["clock_ghz"], dtype=float) * 1e9
        mapper = self._mapper if effort == "default" else self._mapper.with_effort(effort)
        totals = mapper.totals(columns)
        latency_s = self._evaluators[0].mean(totals[:, :, k.CYCLES]) / clock_hz
        latency_s[(totals[:, :, k.OVERFLOW] > 0).any(axis=1)] = np.inf
        return np.column_stack([latency_s, area_mm2(columns, self.technology)])

    def exact_s(self, X: np.ndarray) -> np.ndarray:
        """Least latency [s] of single designs over all mappings and all sets of activations on chip, (n,).

        By the complete mapper and the proven choice of the set; 0 where one of the two came to no end.
        """
        columns = self.space.columns(X)
        rows, options = design_rows(columns, self.technology, energy=False, forms=self._tables.forms)
        keeper, found = Keeper(self._tables, options, k.LATENCY, 0.0, COMPLETE, sure=True), np.zeros(len(X))
        for i, row in enumerate(rows):
            kept = keeper.cost(row, np.empty(0))
            cases = kept.cases.results[: kept.cases.found[0]]
            if all(kept.exact) and (cases[:, k.LEAST] >= cases[:, k.CYCLES] * (1 - 1e-9)).all():
                found[i] = self._evaluators[0].mean(kept.totals[None, :, k.CYCLES])[0] * k.ROOM
        return found / (np.asarray(columns["clock_ghz"], dtype=float) * 1e9)

    def _shared(self, function: Callable[..., np.ndarray], least: int, X: np.ndarray, *more: np.ndarray) -> np.ndarray:
        """`function` of an evaluator and some of the designs, shared out over the workers, (n, ...)."""
        workers = min(self.n_jobs, max(1, len(X) // least))
        if workers == 1:
            return function(self._evaluators[0], X, *more)
        # parts that alternate: neighbours in a batch take about as long
        tasks: list[tuple[Any, ...]] = [
            (self._evaluators[i], X[i::workers], *(values[i::workers] for values in more)) for i in range(workers)
        ]
        done = in_threads(function, [(self._evaluators[0], X[:0], *(values[:0] for values in more)), *tasks], workers)
        found = np.empty((len(X), *done[0].shape[1:]))
        for i, values in enumerate(done[1:]):
            found[i::workers] = values
        return found


DEFAULT, COMPLETE = EFFORTS["default"], EFFORTS["complete"]
CLOSER, FAR = COMPLETE._replace(work=1e6), COMPLETE._replace(work=1e7)
"""Complete searches of mappings that end after some 10 and 100 ms a layer: their bounds are lower, and hold too."""
