"""Several networks on one chip: which layer runs when on which sub-array, and how they share the DRAM.

A chip has sub-arrays.  A job is one inference: a chain of layers on one sub-array.  A layer has the time it takes with
all the bandwidth of its sub-array's link, and the bytes it moves, spread evenly over that time: it needs
``bytes / time``.  Running layers share the chip's bandwidth max-min fairly (each gets what it needs, or an equal share
of what the less needy leave: Bertsekas and Gallager, Data Networks, 6.5.2).  A layer that gets less than it needs runs
slower in proportion.  A sub-array runs one layer at a time and chooses anew after each one.  Nothing else is shared.

Times and bytes are conserved: the events are exact but for rounding, and there are no time steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numba import njit

ORDERS = ("deadline", "round_robin", "first")
"""What a sub-array runs next, among jobs of equal priority: the earliest deadline and, of equal or no deadlines, the
job with the least time left to run; the job served longest ago; or the first to arrive."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True)
class Job:
    """One inference of a network on a sub-array.

    Parameters
    ----------
    network : its name.
    busy_s : time of each layer with all the bandwidth of its sub-array's link, (n_layers,) [s].
    dram_bytes : bytes of each layer over the DRAM link, (n_layers,) [bytes].
    sub_array : where it runs, from 0.
    arrival_s : not before [s].
    deadline_s : finished by [s], from time 0; inf = none.
    priority : jobs of higher priority go first at the next layer; a positive number [1].
    after : numbers of the jobs that must have finished before.
    layers : names of the layers; default: their numbers.
    """

    network: str
    busy_s: Sequence[float] | np.ndarray
    dram_bytes: Sequence[float] | np.ndarray
    sub_array: int = 0
    arrival_s: float = 0.0
    deadline_s: float = np.inf
    priority: float = 1.0
    after: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """What `schedule` found.

    Attributes
    ----------
    jobs : as given.
    start_s, finish_s : of every layer, jobs one after the other, (n_layers,) [s].
    job_finish_s : (n_jobs,) [s].
    events_s : times between which nothing changes, (n_events + 1,) [s].
    gbps : bandwidth that each sub-array gets between them, (n_events, n_sub_arrays) [GB/s].
    bound_s : no schedule with these sub-arrays finishes all jobs before [s]; see `makespan_bounds`.
    """

    jobs: tuple[Job, ...]
    dram_gbps: float
    start_s: np.ndarray = field(repr=False)
    finish_s: np.ndarray = field(repr=False)
    job_finish_s: np.ndarray = field(repr=False)
    events_s: np.ndarray = field(repr=False)
    gbps: np.ndarray = field(repr=False)
    bound_s: float

    @property
    def makespan_s(self) -> float:
        """Time at which the last job finishes [s]."""
        return float(self.job_finish_s.max())

    @property
    def turnaround_s(self) -> np.ndarray:
        """Time of every job from its arrival, (n_jobs,) [s]."""
        return self.job_finish_s - np.array([job.arrival_s for job in self.jobs])

    @property
    def missed(self) -> np.ndarray:
        """Jobs that finish after their deadline, (n_jobs,) bool; a rounding error is no miss."""
        deadlines = np.array([job.deadline_s for job in self.jobs])
        return self.job_finish_s > deadlines * (1 + 1e-9)

    def layers(self) -> pd.DataFrame:
        """One row a layer: job, network, layer, sub-array, start and finish [s], bytes."""
        sizes = [len(job.busy_s) for job in self.jobs]
        names = [job.layers or tuple(map(str, range(n))) for job, n in zip(self.jobs, sizes, strict=True)]
        return pd.DataFrame(
            {
                "job": np.repeat(np.arange(len(sizes)), sizes),
                "network": np.repeat([job.network for job in self.jobs], sizes),
                "layer": [name for group in names for name in group],
                "sub_array": np.repeat([job.sub_array for job in self.jobs], sizes),
                "start_s": self.start_s,
                "finish_s": self.finish_s,
                "dram_bytes": np.concatenate([np.asarray(job.dram_bytes, float) for job in self.jobs]),
            }
        )

    def metrics(self, alone_s: Sequence[float]) -> dict[str, float]:
        """How much the jobs disturb one another.

        Parameters
        ----------
        alone_s : turnaround of every job with nothing else on the same hardware, (n_jobs,) [s]; of a job that waits
            for others, with those: see `alone_turnaround_s`.

        Returns
        -------
        dict with ``stp``, system throughput: sum of alone / turnaround; ``antt``, average normalised turnaround time,
        and ``worst_slow_down``: mean and maximum of turnaround / alone (Eyerman and Eeckhout, IEEE Micro 28(3), 2008);
        ``fairness``: least over greatest progress, alone / turnaround over the share of the priorities (Kim et al.,
        MoCA, HPCA 2023); ``deadline_miss_share``: of the jobs that have a deadline, 0 where none has.
        """
        alone = np.asarray(alone_s, float)
        if alone.shape != (len(self.jobs),) or not (np.isfinite(alone) & (alone > 0)).all():
            raise ValueError(f"alone_s must be one positive time for each of {len(self.jobs)} jobs, got {alone_s!r}")
        progress = alone / self.turnaround_s
        by_priority = progress / np.array([job.priority for job in self.jobs])
        due = np.array([np.isfinite(job.deadline_s) for job in self.jobs])
        return {
            "stp": float(progress.sum()),
            "antt": float((1 / progress).mean()),
            "worst_slow_down": float((1 / progress).max()),
            "fairness": float(by_priority.min() / by_priority.max()),
            "deadline_miss_share": float(self.missed[due].mean()) if due.any() else 0.0,
        }


def schedule(
    jobs: Sequence[Job],
    dram_gbps: float,
    links_gbps: Sequence[float] | None = None,
    order: str = "deadline",
) -> Schedule:
    """Run jobs on sub-arrays.

    Parameters
    ----------
    jobs : at least one.
    dram_gbps : bandwidth of the chip [GB/s].
    links_gbps : most that each sub-array can take, (n_sub_arrays,) [GB/s]; default: all of it, and as many sub-arrays
        as the jobs name.  Links that sum to `dram_gbps` are a static partition.
    order : one of `ORDERS`.

    Raises
    ------
    ValueError : a job whose numbers make no sense, a layer that moves more than its link can in its time, or jobs that
        wait for one another in a circle; the message names it.
    """
    jobs = tuple(jobs)
    count = 1 + max((job.sub_array for job in jobs), default=0)
    links = np.full(count, float(dram_gbps)) if links_gbps is None else np.asarray(links_gbps, float)
    _check(jobs, dram_gbps, links, order)
    sizes = np.array([len(job.busy_s) for job in jobs])
    first = np.concatenate([[0], np.cumsum(sizes)])
    busy = np.concatenate([np.asarray(job.busy_s, float) for job in jobs])
    moved = np.concatenate([np.asarray(job.dram_bytes, float) for job in jobs])
    parents = np.concatenate([[0], np.cumsum([len(job.after) for job in jobs])])
    found = run(
        first,
        busy,
        moved,
        np.array([job.sub_array for job in jobs]),
        np.array([job.arrival_s for job in jobs], float),
        np.array([job.deadline_s for job in jobs], float),
        np.array([job.priority for job in jobs], float),
        parents,
        np.array([p for job in jobs for p in job.after], dtype=np.int64),
        links * 1e9,
        dram_gbps * 1e9,
        ORDERS.index(order),
    )
    start, finish, events, rates, n_events = found
    return Schedule(
        jobs=jobs,
        dram_gbps=float(dram_gbps),
        start_s=start,
        finish_s=finish,
        job_finish_s=finish[first[1:] - 1],
        events_s=events[: n_events + 1],
        gbps=rates[:n_events] * 1e-9,
        bound_s=max(makespan_bounds(jobs, dram_gbps).values()),
    )


def makespan_bounds(jobs: Sequence[Job], dram_gbps: float) -> dict[str, float]:
    """Times before which no order of the jobs on their sub-arrays can finish, by what forbids it [s].

    ``sub_array_0`` ...: its work after its first arrival; ``dram``: all bytes over the bandwidth, after the first
    arrival; ``chain``: the longest chain of jobs that wait for one another, each alone.
    """
    starts: dict[int, float] = {}
    work: dict[int, float] = {}
    for job in jobs:
        starts[job.sub_array] = min(starts.get(job.sub_array, np.inf), job.arrival_s)
        work[job.sub_array] = work.get(job.sub_array, 0.0) + float(np.sum(job.busy_s))
    moved = sum(float(np.sum(job.dram_bytes)) for job in jobs)
    bounds = {f"sub_array_{a}": starts[a] + work[a] for a in sorted(work)}
    bounds["dram"] = min(starts.values()) + moved / (dram_gbps * 1e9)
    bounds["chain"] = float(_earliest_finish_s(jobs, [float(np.sum(job.busy_s)) for job in jobs]).max())
    return bounds


def certain_misses(jobs: Sequence[Job]) -> dict[int, float]:
    """Jobs that no schedule can finish in time: number -> the earliest possible finish [s].

    The proof: even alone, a job ends no sooner than its arrival or the end of what it waits for, plus its own time.
    """
    earliest = _earliest_finish_s(jobs, [float(np.sum(job.busy_s)) for job in jobs])
    return {i: float(time) for i, time in enumerate(earliest) if time > jobs[i].deadline_s * (1 + 1e-9)}


def alone_turnaround_s(jobs: Sequence[Job], own_s: Sequence[float]) -> np.ndarray:
    """Turnaround of every job that only those it waits for delay, each of which takes `own_s`, (n_jobs,) [s]."""
    return _earliest_finish_s(jobs, own_s) - np.array([job.arrival_s for job in jobs])


def _earliest_finish_s(jobs: Sequence[Job], own_s: Sequence[float]) -> np.ndarray:
    """Finish of every job that runs as soon as it has arrived and those it waits for are done, (n_jobs,) [s]."""
    finish = np.zeros(len(jobs))
    for i in _in_order(jobs):
        finish[i] = max([jobs[i].arrival_s, *(finish[p] for p in jobs[i].after)]) + own_s[i]
    return finish


def _in_order(jobs: Sequence[Job]) -> list[int]:
    """Numbers of the jobs, each after those it waits for; raises where they wait in a circle."""
    waiting = {i: set(job.after) for i, job in enumerate(jobs)}
    order: list[int] = []
    while waiting:
        ready = [i for i, after in waiting.items() if not after]
        if not ready:
            circle = ", ".join(f"{i} ({jobs[i].network})" for i in sorted(waiting))
            raise ValueError(f"jobs {circle} wait for one another in a circle; remove one of their dependencies")
        order += ready
        waiting = {i: after - set(ready) for i, after in waiting.items() if i not in set(ready)}
    return order


def _check(jobs: tuple[Job, ...], dram_gbps: float, links: np.ndarray, order: str) -> None:
    if not jobs:
        raise ValueError("no jobs: give at least one")
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    if not (np.isfinite(dram_gbps) and dram_gbps > 0):
        raise ValueError(f"dram_gbps must be positive and finite, got {dram_gbps!r}")
    if links.ndim != 1 or not (links > 0).all():
        raise ValueError(f"links_gbps must be one positive bandwidth for each sub-array, got {links!r}")
    for i, job in enumerate(jobs):
        owner = f"job {i} ({job.network})"
        busy, moved = np.asarray(job.busy_s, float), np.asarray(job.dram_bytes, float)
        if busy.ndim != 1 or not len(busy) or busy.shape != moved.shape:
            raise ValueError(f"{owner}: busy_s and dram_bytes must be of the same length, at least 1")
        if not (np.isfinite(busy) & np.isfinite(moved) & (busy >= 0) & (moved >= 0)).all():
            raise ValueError(f"{owner}: times and bytes must be finite and not negative")
        if not 0 <= job.sub_array < len(links):
            raise ValueError(f"{owner}: sub_array {job.sub_array} of {len(links)}; they count from 0")
        if not (np.isfinite(job.arrival_s) and job.arrival_s >= 0 and job.priority > 0):
            raise ValueError(f"{owner}: arrival_s must be finite and not negative, priority positive")
        if np.isnan(job.deadline_s) or job.deadline_s <= job.arrival_s:
            raise ValueError(
                f"{owner}: its deadline, {job.deadline_s:g} s, is not after its arrival, {job.arrival_s:g} s"
            )
        for parent in job.after:
            if not 0 <= parent < len(jobs):
                raise ValueError(f"{owner} waits for job {parent}, but there are {len(jobs)} jobs; they count from 0")
        over = moved > busy * (min(links[job.sub_array], dram_gbps) * 1e9) * (1 + 1e-9)
        if over.any():
            which = int(np.flatnonzero(over)[0])
            raise ValueError(
                f"{owner}: layer {which} moves {moved[which]:g} bytes in {busy[which]:g} s, more than its link can: "
                f"busy_s is its time with all of {min(links[job.sub_array], dram_gbps):g} GB/s"
            )
    _in_order(jobs)


@_compiled
def run(
    first, busy, moved, sub_array, arrival, deadline, priority, parents, parent, links, bandwidth, order
):  # fmt: skip
    """The event loop on arrays; see `Job` for the meaning and `Schedule` for what comes back.

    `first` (n_jobs + 1,): first layer of every job; `parents` (n_jobs + 1,): first of its dependencies in `parent`;
    `links` (n_sub_arrays,) and `bandwidth` [bytes/s]; `order`: number in `ORDERS`.  Returns start and finish of every
    layer, times of the events, rates between them [bytes/s], number of events.
    """
    n_jobs, n_layers, n_arrays = len(arrival), len(busy), len(links)
    start, finish = np.zeros(n_layers), np.zeros(n_layers)
    events, rates = np.zeros(n_layers + n_jobs + 2), np.zeros((n_layers + n_jobs + 2, n_arrays))
    following = first[:-1].copy()
    waits = parents[1:] - parents[:-1]
    served = np.full(n_jobs, -1)
    rest = np.zeros(n_jobs)  # time of the layers that have not started
    for j in range(n_jobs):
        for layer in range(first[j], first[j + 1]):
            rest[j] += busy[layer]
    current = np.full(n_arrays, -1)  # job on each sub-array
    left = np.zeros(n_arrays)  # time of its layer that is left, with all the bandwidth of the link
    need, grant = np.zeros(n_arrays), np.zeros(n_arrays)
    jobs_left, n_events, time, turn = n_jobs, 0, 0.0, 0
    while jobs_left > 0:
        for a in range(n_arrays):
            if current[a] >= 0:
                continue
            best = -1
            for j in range(n_jobs):
                if sub_array[j] != a or following[j] == first[j + 1] or waits[j] > 0 or arrival[j] > time:
                    continue
                if best < 0 or _sooner(j, best, priority, deadline, rest, served, arrival, order):
                    best = j
            if best >= 0:
                layer = following[best]
                current[a], left[a], start[layer], served[best] = best, busy[layer], time, turn
                rest[best] -= busy[layer]
                turn += 1
        ends = np.inf
        for a in range(n_arrays):
            need[a] = 0.0
            if current[a] >= 0:
                layer = following[current[a]]
                need[a] = moved[layer] / busy[layer] if busy[layer] > 0 else 0.0
        _share(need, links, bandwidth, grant)
        for a in range(n_arrays):
            if current[a] >= 0:
                slow = need[a] / grant[a] if need[a] > 0 else 1.0
                ends = min(ends, time + left[a] * slow)
        upcoming = np.inf
        for j in range(n_jobs):
            if arrival[j] > time and following[j] == first[j]:
                upcoming = min(upcoming, arrival[j])
        until = min(ends, upcoming)
        for a in range(n_arrays):
            rates[n_events, a] = grant[a]
        for a in range(n_arrays):
            if current[a] < 0:
                continue
            slow = need[a] / grant[a] if need[a] > 0 else 1.0
            end = time + left[a] * slow
            if end <= until + 1e-12 * until:
                job = current[a]
                finish[following[job]] = until
                following[job] += 1
                current[a] = -1
                if following[job] == first[job + 1]:
                    jobs_left -= 1
                    for other in range(n_jobs):
                        for p in range(parents[other], parents[other + 1]):
                            if parent[p] == job:
                                waits[other] -= 1
            else:
                left[a] -= (until - time) / slow
        if until > time or n_events == 0:
            events[n_events + 1] = until
            n_events += 1
        time = until
    return start, finish, events, rates, n_events


@_compiled
def _sooner(j, best, priority, deadline, rest, served, arrival, order):
    """Whether job `j` goes before `best` on the sub-array of both."""
    if priority[j] != priority[best]:
        return priority[j] > priority[best]
    if order == 0 and deadline[j] != deadline[best]:
        return deadline[j] < deadline[best]
    if order == 0 and rest[j] != rest[best]:
        return rest[j] < rest[best]
    if order == 1 and served[j] != served[best]:
        return served[j] < served[best]
    return arrival[j] < arrival[best]


@_compiled
def _share(need, links, bandwidth, grant):
    """Max-min fair shares of `bandwidth` into `grant`: the least needy first."""
    n = len(need)
    total = 0.0
    for a in range(n):
        grant[a] = min(need[a], links[a])
        total += grant[a]
    if total <= bandwidth:
        return
    rest, count = bandwidth, 0
    for a in range(n):
        if grant[a] > 0:
            count += 1
    done = np.zeros(n, dtype=np.bool_)
    while count > 0:
        least = -1
        for a in range(n):
            if grant[a] > 0 and not done[a] and (least < 0 or grant[a] < grant[least]):
                least = a
        share = rest / count
        if grant[least] > share:
            grant[least] = share
        rest -= grant[least]
        done[least] = True
        count -= 1
