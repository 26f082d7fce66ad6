"""Bounds that no schedule can beat, whatever the order and the places: load, makespan, and deadlines by demand.

A request may be divided among sub-arrays at will: this is the linear relaxation of scheduling unrelated machines, and a
linear programme finds its best (Lenstra, Shmoys and Tardos, Mathematical Programming 46, 1990).  No schedule of whole
requests is better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from dse.simultaneous.schedules import Jobs

MOST_PROVED = 2_000
"""Requests that `unmet_by_demand` looks at, the first ones: a proof for some of them is a proof."""

SAFETY = 1e-7
"""Of a bound of a linear programme: what the solver's tolerances may have put too much, taken off [1]."""

ROUNDED = 1e-12
"""Of a time: what sums in another order may differ by, taken off [1]."""


def least_load(rates: np.ndarray, time_s: np.ndarray, dram_s: np.ndarray, allowed: np.ndarray | None = None) -> float:
    """Least largest load over all ways to divide streams among sub-arrays [1].

    The smallest z with ``sum_i r_i x_ia S_ia <= z`` for every sub-array a, ``sum_a x_ia = 1`` for every stream i, and
    ``sum_ia r_i x_ia D_ia <= z`` for the DRAM.  Above 1 no places and no order serve these rates.

    Parameters
    ----------
    rates : of the streams, (n,) [1/s]; or 1 for jobs that run once: then it is a time [s].
    time_s, dram_s : time that one request takes of a sub-array and of the DRAM, (n, n_sub_arrays) [s].
    allowed : places that each may have, (n, n_sub_arrays) bool, at least one each; default: all.
    """
    n, arrays = time_s.shape
    may = np.ones(time_s.shape, bool) if allowed is None else allowed
    work = (rates[:, None] * np.where(may, time_s, 0.0)).ravel()
    moved = (rates[:, None] * np.where(may, dram_s, 0.0)).ravel()
    scale = max(float(work.max()), float(moved.max()))
    if scale == 0:
        return 0.0
    cells = np.arange(n * arrays)
    rows = np.concatenate([cells % arrays, np.full(n * arrays, arrays), np.arange(arrays + 1)])
    columns = np.concatenate([cells, cells, np.full(arrays + 1, n * arrays)])
    values = np.concatenate([work / scale, moved / scale, np.full(arrays + 1, -1.0)])
    below = coo_array((values, (rows, columns)), shape=(arrays + 1, n * arrays + 1)).tocsr()
    whole = coo_array((np.ones(n * arrays), (cells // arrays, cells)), shape=(n, n * arrays + 1)).tocsr()
    upper = np.append(may.ravel().astype(float), np.inf)
    found = linprog(
        np.append(np.zeros(n * arrays), 1.0), A_ub=below, b_ub=np.zeros(arrays + 1), A_eq=whole, b_eq=np.ones(n),
        bounds=np.column_stack([np.zeros(n * arrays + 1), upper]), method="highs",
    )  # fmt: skip
    if found.status != 0:
        raise RuntimeError(f"the linear programme of {n} streams on {arrays} sub-arrays failed: {found.message}")
    return float(found.fun) * scale * (1 - SAFETY)


def makespan_bound_s(
    counts: np.ndarray, first_s: np.ndarray, last_s: np.ndarray, time_s: np.ndarray, dram_s: np.ndarray
) -> float:
    """Makespan that no places and no order of a batch can beat [s].

    The largest of: the last end of a request on its fastest sub-array; and, after the first arrival, the linear
    programme of `least_load`, where no request may use a sub-array that alone takes it beyond the bound.  The smallest
    T that allows itself is found by bisection over the ends of requests alone.

    Parameters
    ----------
    counts : requests of each stream, (n,).
    first_s, last_s : first and last arrival of each, (n,) [s].
    time_s, dram_s : time that a request takes of a sub-array and of the DRAM, (n, n_sub_arrays) [s]; inf where it
        cannot run.
    """
    begin = float(first_s.min())
    ends = first_s[:, None] + time_s
    low = float((last_s + time_s.min(axis=1)).max())
    levels = np.unique(np.append(ends[(ends >= low) & np.isfinite(ends)], low))

    def relaxed(level: float) -> float:
        return begin + least_load(counts, time_s, dram_s, ends <= level)

    a, b = 0, len(levels) - 1  # T grows and the programme's value falls with the level
    while a < b:
        middle = (a + b) // 2
        if relaxed(levels[middle]) <= levels[middle]:
            b = middle
        else:
            a = middle + 1
    best = max(levels[a], relaxed(levels[a]))
    if a > 0:  # between two levels only the places up to the lower one are allowed
        best = min(best, relaxed(levels[a - 1]))
    return float(best) * (1 - ROUNDED)


@dataclass(frozen=True)
class Demand:
    """Work that cannot be done in time: of requests that arrive from `after_s` on and are due by `due_s`.

    Attributes
    ----------
    where : ``sub-array 2`` ..., ``all sub-arrays`` or ``DRAM``.
    after_s, due_s : [s].
    work_s : their work [s], more than `capacity_s`, the time between, times the sub-arrays.
    requests : how many they are; at least one is late.
    networks : whose requests they are.
    """

    where: str
    after_s: float
    due_s: float
    work_s: float
    capacity_s: float
    requests: int
    networks: tuple[str, ...]

    def __str__(self) -> str:
        if self.requests == 1:
            which = f"1 request ({self.networks[0]}) that arrives from {self.after_s:.6g} s on and is due"
        else:
            names = ", ".join(self.networks)
            which = f"{self.requests} requests ({names}) that arrive from {self.after_s:.6g} s on and are due"
        late = "it is late" if self.requests == 1 else "at least one is late"
        return (
            f"{self.where}: {which} by {self.due_s:.6g} s: {self.work_s:.4g} s of work for {self.capacity_s:.4g} s; "
            f"{late} in any order"
        )


def unmet_by_demand(table: Jobs, dram_gbps: float, least_s: np.ndarray | None = None, arrays: int = 1) -> list[Demand]:
    """Proofs that deadlines cannot be met in any order of the jobs on their sub-arrays, the worst for each resource.

    The work of requests that arrive at or after s and are due by t exceeds t - s (demand bound: Baruah, Rosier and
    Howell, Real-Time Systems 2, 1990).

    Parameters
    ----------
    table : the jobs; the first `MOST_PROVED` with a deadline are looked at.
    dram_gbps : bandwidth of the chip [GB/s].
    least_s : time of each job on its fastest sub-array, (n_jobs,) [s]: proves for any places on `arrays` sub-arrays.
    """
    due = np.flatnonzero(np.isfinite(table.deadline_s))
    due = due[np.argsort(table.arrival_s[due], kind="stable")][:MOST_PROVED]
    resources = [(f"sub-array {a + 1}", due[table.sub_array[due] == a], table.own_s, 1) for a in
                 np.unique(table.sub_array[due]).tolist()]  # fmt: skip
    resources.append(("DRAM", due, table.own_bytes / (dram_gbps * 1e9), 1))
    if least_s is not None and arrays > 1:
        resources.append(("all sub-arrays", due, least_s, arrays))
    found = [_worst(table, where, jobs, work, count) for where, jobs, work, count in resources if len(jobs)]
    return [demand for demand in found if demand is not None]


def _worst(table: Jobs, where: str, jobs: np.ndarray, work_s: np.ndarray, servers: int) -> Demand | None:
    """The interval whose demand is the most above what `servers` can do in it; None where none is above."""
    jobs = jobs[np.argsort(table.deadline_s[jobs], kind="stable")]
    arrival, deadline, work = table.arrival_s[jobs], table.deadline_s[jobs], work_s[jobs]
    worst, most = None, 1.0 + 1e-9
    for s in np.unique(arrival):
        inside = np.flatnonzero(arrival >= s)
        demand, capacity = np.cumsum(work[inside]), servers * (deadline[inside] - s)
        ratio = demand / np.maximum(capacity, np.finfo(float).tiny)
        i = int(np.argmax(ratio))
        if ratio[i] > most:
            last = inside[: i + 1][deadline[inside[: i + 1]] <= deadline[inside[i]]]
            names = tuple(dict.fromkeys(table.networks[j] for j in jobs[last]))
            most = float(ratio[i])
            worst = Demand(where, float(s), float(deadline[inside[i]]), float(demand[i]), float(capacity[i]),
                           len(last), names)  # fmt: skip
    return worst
