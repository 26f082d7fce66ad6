"""Places of jobs on sub-arrays, and the order in which they run, searched.

A batch: the longest first, then all orders up to some hundred (each job in turn goes where it ends first, by its time
alone, or all go to one sub-array), then moves of one job, exchanges of two places, and exchanges of two in the order,
while any helps.  Where all places in all orders are no more than some hundred, all are tried.  Every candidate is run
by the event loop, so contention for the DRAM counts.  Streams with rates: the least largest load.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dse.simultaneous.mixes import Mix

MOST_ORDERS = 720
"""All orders of up to six jobs are tried, and all places in all orders where those are no more."""

MOST_SCHEDULES = 4_000
"""Schedules that the search of a batch runs at most."""

SMALL = 12
"""Requests of a batch whose orders and places are searched where nothing else is said."""

STARTS = 8
"""Best candidates from which moves start."""

Value = tuple[float, ...]
Candidate = tuple[tuple[int, ...], tuple[int, ...]]
"""Sub-array of each job, and the jobs in their order."""


@dataclass(frozen=True)
class Placed:
    """What a search found.

    Attributes
    ----------
    where : sub-array of each job or stream, (n,).
    order : the jobs in their order, (n,).
    value : of the best, as `evaluate` gave it.
    schedules : candidates that were evaluated.
    """

    where: tuple[int, ...]
    order: tuple[int, ...]
    value: Value
    schedules: int


def best_places(
    time_s: np.ndarray, allowed: np.ndarray, evaluate: Callable[[Sequence[int], Sequence[int]], Value]
) -> Placed:
    """Places and order of a batch.

    Parameters
    ----------
    time_s : of each job alone on each sub-array, (n, n_sub_arrays) [s].
    allowed : where each fits, (n, n_sub_arrays) bool, at least one each.
    evaluate : value of places and order, least is best.
    """
    time = np.where(allowed, time_s, np.inf)
    n, seen = len(time), {}

    def value(candidate: Candidate) -> Value:
        if candidate not in seen:
            seen[candidate] = evaluate(*candidate)
        return seen[candidate]

    longest, given = tuple(np.argsort(-time.min(axis=1), kind="stable").tolist()), tuple(range(n))
    orders = list(itertools.permutations(range(n))) if math.factorial(n) <= MOST_ORDERS else []
    together = [(a,) * n for a in np.flatnonzero(allowed.all(axis=0)).tolist()]
    for candidate in itertools.product(together, (longest, given)):
        value(candidate)
    for order in [longest, given, *orders]:
        value((_greedy(time, order), order))
    choices = [np.flatnonzero(row).tolist() for row in allowed]
    if math.prod(map(len, choices)) * math.factorial(n) <= MOST_ORDERS:
        for candidate in itertools.product(itertools.product(*choices), orders):
            value(candidate)
    best, least = min(seen.items(), key=lambda item: item[1])
    for start in sorted(seen, key=lambda candidate: seen[candidate])[:STARTS]:
        here, of_here = start, value(start)
        improved = True
        while improved and len(seen) < MOST_SCHEDULES:
            improved = False
            for other in itertools.islice(_neighbours(here, allowed), MOST_SCHEDULES - len(seen)):
                if (found := value(other)) < of_here:
                    here, of_here, improved = other, found, True
                    break
        if of_here < least:
            best, least = here, of_here
    return Placed(*best, least, len(seen))


def is_small(mix: Mix) -> bool:
    """Whether its places are searched without being asked for: a batch of at most `SMALL` requests, or streams with
    rates, whose load is quickly computed."""
    return mix.is_steady or len(mix.table()) <= SMALL


def _greedy(time: np.ndarray, order: Sequence[int]) -> tuple[int, ...]:
    """Each job in turn to the sub-array where it ends first, by its time alone."""
    ends, where = np.zeros(time.shape[1]), [0] * len(time)
    for j in order:
        where[j] = int(np.argmin(ends + time[j]))
        ends[where[j]] += time[j, where[j]]
    return tuple(where)


def _neighbours(candidate: Candidate, allowed: np.ndarray) -> Iterator[Candidate]:
    """One job elsewhere, two that change places, two that change their order."""
    where, order = candidate
    for j, a in itertools.product(range(len(where)), range(allowed.shape[1])):
        if a != where[j] and allowed[j, a]:
            yield (*where[:j], a, *where[j + 1 :]), order
    for i, j in itertools.combinations(range(len(where)), 2):
        if where[i] != where[j] and allowed[i, where[j]] and allowed[j, where[i]]:
            changed = list(where)
            changed[i], changed[j] = where[j], where[i]
            yield tuple(changed), order
    for i, j in itertools.combinations(range(len(order)), 2):
        if where[order[i]] == where[order[j]]:
            swapped = list(order)
            swapped[i], swapped[j] = order[j], order[i]
            yield where, tuple(swapped)


def least_loaded_places(load: np.ndarray, dram: np.ndarray, allowed: np.ndarray) -> Placed:
    """Places of streams with the least largest load, then the least sum of their squares.

    Parameters
    ----------
    load, dram : of each stream on each sub-array, of that and of the DRAM, (n, n_sub_arrays) [1].
    allowed : where each fits, (n, n_sub_arrays) bool.
    """
    rows, arrays = np.arange(len(load)), load.shape[1]

    def value(where: Sequence[int], order: Sequence[int]) -> Value:
        each = np.bincount(where, load[rows, list(where)], arrays)
        return max(float(each.max()), float(dram[rows, list(where)].sum())), float((each**2).sum())

    if arrays ** len(load) <= MOST_SCHEDULES:
        choices = [np.flatnonzero(row).tolist() for row in allowed]
        every = {where: value(where, ()) for where in itertools.product(*choices)}
        where = min(every, key=lambda w: every[w])
        return Placed(where, tuple(rows.tolist()), every[where], len(every))
    return best_places(load, allowed, value)
