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
from functools import cached_property

import numpy as np
import pandas as pd

from dse.simultaneous.event_loop import run

ORDERS = ("deadline", "round_robin", "first")
"""What a sub-array runs next, among jobs of equal priority: the earliest deadline and, of equal or no deadlines, the
job with the least time left to run; the job served longest ago; or the first to arrive."""


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


class OfLayers:
    """What has times and DRAM bytes by layer, and so a time and bytes in all."""

    busy_s: np.ndarray
    dram_bytes: np.ndarray

    @property
    def total_s(self) -> float:
        """Time alone with all the bandwidth of its link [s]."""
        return float(self.busy_s.sum())

    @property
    def total_bytes(self) -> float:
        """Bytes of all layers."""
        return float(self.dram_bytes.sum())


@dataclass(frozen=True, eq=False)
class Work(OfLayers):
    """The layers of a network on a sub-array, which all its jobs there share; see `Job` for the fields."""

    network: str
    busy_s: np.ndarray
    dram_bytes: np.ndarray
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Jobs:
    """Jobs as arrays, for many of them: `works` holds each network once a sub-array; see `Job` for the rest.

    Attributes
    ----------
    works : distinct networks.
    work, sub_array, arrival_s, deadline_s, priority : of every job, (n_jobs,); `work` is a number in `works`.
    parents, parent : first of the jobs that each waits for, (n_jobs + 1,), in the list of them.
    """

    works: tuple[Work, ...]
    work: np.ndarray
    sub_array: np.ndarray
    arrival_s: np.ndarray
    deadline_s: np.ndarray
    priority: np.ndarray
    parents: np.ndarray
    parent: np.ndarray

    def __len__(self) -> int:
        return len(self.work)

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Jobs:
        """Jobs one by one; those that share the very arrays of their layers share a network."""
        numbers: dict[tuple[str, int, int, int], int] = {}
        works: list[Work] = []
        work: list[int] = []
        for job in jobs:
            key = (job.network, id(job.busy_s), id(job.dram_bytes), id(job.layers))
            if key not in numbers:
                numbers[key] = len(works)
                busy, moved = np.asarray(job.busy_s, float), np.asarray(job.dram_bytes, float)
                works.append(Work(job.network, busy, moved, job.layers))
            work.append(numbers[key])
        return cls(
            tuple(works),
            np.array(work, dtype=np.int64),
            np.array([job.sub_array for job in jobs], dtype=np.int64),
            np.array([job.arrival_s for job in jobs], float),
            np.array([job.deadline_s for job in jobs], float),
            np.array([job.priority for job in jobs], float),
            np.cumsum([0, *(len(job.after) for job in jobs)]),
            np.array([p for job in jobs for p in job.after], dtype=np.int64),
        )

    def one_by_one(self) -> tuple[Job, ...]:
        """The jobs one by one."""
        found = []
        for j, w in enumerate(self.work.tolist()):
            work = self.works[w]
            after = tuple(self.parent[self.parents[j] : self.parents[j + 1]].tolist())
            found.append(
                Job(work.network, work.busy_s, work.dram_bytes, int(self.sub_array[j]), float(self.arrival_s[j]),
                    float(self.deadline_s[j]), float(self.priority[j]), after, work.layers)
            )  # fmt: skip
        return tuple(found)

    @cached_property
    def own_s(self) -> np.ndarray:
        """Time of each alone, (n_jobs,) [s]."""
        return np.array([work.total_s for work in self.works])[self.work]

    @cached_property
    def own_bytes(self) -> np.ndarray:
        """Bytes of each, (n_jobs,)."""
        return np.array([work.total_bytes for work in self.works])[self.work]

    @cached_property
    def networks(self) -> list[str]:
        """Name of the network of each, (n_jobs,)."""
        return [self.works[w].network for w in self.work.tolist()]

    def owner(self, j: int) -> str:
        """A job in words."""
        return f"job {j} ({self.works[self.work[j]].network})"

    def earliest_finish_s(self, own_s: np.ndarray) -> np.ndarray:
        """Finish of jobs that take `own_s` and run as soon as they have arrived and those they wait for are done,
        (n_jobs,) [s]."""
        finish = self.arrival_s + own_s
        if len(self.parent):
            for j in _in_order(self):
                if self.parents[j + 1] > self.parents[j]:
                    before = finish[self.parent[self.parents[j] : self.parents[j + 1]]].max()
                    finish[j] = max(self.arrival_s[j], before) + own_s[j]
        return finish


@dataclass(frozen=True)
class Schedule:
    """What `schedule` found.

    Attributes
    ----------
    table : the jobs as arrays.
    links_gbps : most that each sub-array can take, (n_sub_arrays,) [GB/s].
    start_s, finish_s : of every layer, jobs one after the other, (n_layers,) [s]; empty where layers are not kept.
    job_finish_s, served_s : of every job, its end, and how long its layers ran, (n_jobs,) [s].
    events_s : times between which nothing changes, (n_events + 1,) [s].
    gbps : bandwidth that all sub-arrays together get between them, (n_events,) [GB/s].
    busy_s : how long each sub-array ran, (n_sub_arrays,) [s].
    in_system_s : integral of the number of jobs in the system over time [s].
    """

    table: Jobs
    dram_gbps: float
    links_gbps: np.ndarray = field(repr=False)
    start_s: np.ndarray = field(repr=False)
    finish_s: np.ndarray = field(repr=False)
    job_finish_s: np.ndarray = field(repr=False)
    served_s: np.ndarray = field(repr=False)
    events_s: np.ndarray = field(repr=False)
    gbps: np.ndarray = field(repr=False)
    busy_s: np.ndarray = field(repr=False)
    in_system_s: float

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs one by one."""
        return self.table.one_by_one()

    @cached_property
    def bound_s(self) -> float:
        """No order of these jobs on these sub-arrays finishes before [s]; see `makespan_bounds`."""
        return max(bounds_at_places(self.table, self.dram_gbps).values())

    @property
    def makespan_s(self) -> float:
        """Time at which the last job finishes [s]."""
        return float(self.job_finish_s.max())

    @property
    def turnaround_s(self) -> np.ndarray:
        """Time of every job from its arrival, (n_jobs,) [s]."""
        return self.job_finish_s - self.table.arrival_s

    @property
    def missed(self) -> np.ndarray:
        """Jobs that finish after their deadline, (n_jobs,) bool; a rounding error is no miss."""
        return missed(self.table.arrival_s, self.job_finish_s, self.table.deadline_s)

    def layers(self) -> pd.DataFrame:
        """One row a layer: job, network, layer, sub-array, start and finish [s], bytes."""
        table = self.table
        names = [work.layers or tuple(map(str, range(len(work.busy_s)))) for work in table.works]
        sizes = np.array([len(work.busy_s) for work in table.works])[table.work]
        return pd.DataFrame(
            {
                "job": np.repeat(np.arange(len(sizes)), sizes),
                "network": np.repeat(table.networks, sizes),
                "layer": [name for w in table.work.tolist() for name in names[w]],
                "sub_array": np.repeat(table.sub_array, sizes),
                "start_s": self.start_s,
                "finish_s": self.finish_s,
                "dram_bytes": np.concatenate([table.works[w].dram_bytes for w in table.work.tolist()]),
            }
        )

    def metrics(self, alone_s: Sequence[float] | np.ndarray) -> dict[str, float]:
        """How much the jobs disturb one another.

        Parameters
        ----------
        alone_s : turnaround of every job with nothing else on the same hardware, (n_jobs,) [s]; of a job that waits
            for others, with those: see `alone_turnaround_s`.

        Returns
        -------
        dict with ``stp``, system throughput: the sum over programs of time alone / turnaround, at most their number on
        one hardware, where a program is all jobs of a network and its times are their sums; ``antt``, average
        normalised turnaround time, and ``worst_slow_down``: mean and maximum over jobs of turnaround / alone (Eyerman
        and Eeckhout, IEEE Micro 28(3), 2008); ``fairness``: least over greatest progress, alone / turnaround over the
        share of the priorities (Kim et al., MoCA, HPCA 2023); ``deadline_miss_share``: of the jobs that have a
        deadline, 0 where none has.
        """
        alone = np.asarray(alone_s, float)
        if alone.shape != (len(self.table),) or not (np.isfinite(alone) & (alone > 0)).all():
            raise ValueError(f"alone_s must be one positive time for each of {len(self.table)} jobs, got {alone_s!r}")
        turnaround = self.turnaround_s
        numbers: dict[str, int] = {}
        program = np.array([numbers.setdefault(work.network, len(numbers)) for work in self.table.works])
        own, taken = (np.bincount(program[self.table.work], times) for times in (alone, turnaround))
        return {
            "stp": float((own[taken > 0] / taken[taken > 0]).sum()),
            "antt": float((turnaround / alone).mean()),
            **disturbance(turnaround, alone, self.table.priority),
            "deadline_miss_share": miss_share(self.missed, self.table.deadline_s),
        }


def missed(arrival_s: np.ndarray, finish_s: np.ndarray, deadline_s: np.ndarray) -> np.ndarray:
    """Jobs that finish after their deadline, (n,) bool: their times from arrival are compared, but for rounding."""
    within = deadline_s - arrival_s
    return finish_s - arrival_s > within + 1e-9 * np.where(np.isfinite(within), within, 0) + 1e-15 * finish_s


def miss_share(late: np.ndarray, deadline_s: np.ndarray) -> float:
    """Share of the jobs with a deadline that miss it, 0 where none has one."""
    due = np.isfinite(deadline_s)
    return float(late[due].mean()) if due.any() else 0.0


def disturbance(turnaround_s: np.ndarray, alone_s: np.ndarray, priority: np.ndarray) -> dict[str, float]:
    """``worst_slow_down`` and ``fairness`` of jobs, see `Schedule.metrics`."""
    progress = alone_s / turnaround_s
    shares = progress / priority
    return {"worst_slow_down": float(1 / progress.min()), "fairness": float(shares.min() / shares.max())}


def schedule(
    jobs: Sequence[Job] | Jobs,
    dram_gbps: float,
    links_gbps: Sequence[float] | np.ndarray | None = None,
    order: str = "deadline",
    *,
    keep_layers: bool = True,
) -> Schedule:
    """Run jobs on sub-arrays.

    Parameters
    ----------
    jobs : at least one.
    dram_gbps : bandwidth of the chip [GB/s].
    links_gbps : most that each sub-array can take, (n_sub_arrays,) [GB/s]; default: all of it, and as many sub-arrays
        as the jobs name.  Links that sum to `dram_gbps` are a static partition.
    order : one of `ORDERS`.
    keep_layers : keep the times of all layers, and the bandwidth over time.

    Raises
    ------
    ValueError : a job whose numbers make no sense, a layer that moves more than its link can in its time, or jobs that
        wait for one another in a circle; the message names it.
    """
    table = jobs if isinstance(jobs, Jobs) else Jobs.of(jobs)
    count = 1 + int(table.sub_array.max(initial=0))
    links = np.full(count, float(dram_gbps)) if links_gbps is None else np.asarray(links_gbps, float)
    check(table, dram_gbps, links, order)
    return run_checked(table, dram_gbps, links, order, keep_layers)[0]


def run_checked(
    table: Jobs,
    dram_gbps: float,
    links_gbps: np.ndarray,
    order: str,
    keep_layers: bool = False,
    marks_s: np.ndarray | None = None,
) -> tuple[Schedule, tuple[np.ndarray, ...]]:
    """As `schedule`, of jobs that `check` has passed: the schedule, and what `event_loop.run` tells of each mark:
    ``so_far``, and ``state_first``, ``state_job``, ``state_left``, ``state_turn``."""
    sizes = [len(work.busy_s) for work in table.works]
    found = run(
        np.cumsum([0, *sizes]),
        np.concatenate([work.busy_s for work in table.works]),
        np.concatenate([work.dram_bytes for work in table.works]),
        table.work,
        table.sub_array,
        table.arrival_s,
        table.deadline_s,
        table.priority,
        np.argsort(table.arrival_s, kind="stable"),
        table.parents,
        table.parent,
        links_gbps * 1e9,
        dram_gbps * 1e9,
        ORDERS.index(order),
        keep_layers,
        np.zeros(0) if marks_s is None else marks_s,
    )
    start, finish, job_finish, served, events, rates, so_far = found[:7]
    done = Schedule(
        table=table,
        dram_gbps=float(dram_gbps),
        links_gbps=links_gbps,
        start_s=start,
        finish_s=finish,
        job_finish_s=job_finish,
        served_s=served,
        events_s=events,
        gbps=rates * 1e-9,
        busy_s=so_far[-1, :-2],
        in_system_s=float(so_far[-1, -1]),
    )
    return done, found[6:]


def makespan_bounds(jobs: Sequence[Job], dram_gbps: float) -> dict[str, float]:
    """Times before which no order of the jobs on their sub-arrays can finish, by what forbids it [s].

    ``sub_array_0`` ...: its work after its first arrival; ``dram``: all bytes over the bandwidth, after the first
    arrival; ``chain``: the longest chain of jobs that wait for one another, each alone.  For any places of the jobs
    see `dse.simultaneous.bounds`.
    """
    return bounds_at_places(Jobs.of(jobs), dram_gbps)


def bounds_at_places(table: Jobs, dram_gbps: float) -> dict[str, float]:
    """As `makespan_bounds`, of jobs as arrays."""
    count = int(table.sub_array.max()) + 1
    starts = np.full(count, np.inf)
    np.minimum.at(starts, table.sub_array, table.arrival_s)
    ends = starts + np.bincount(table.sub_array, table.own_s)
    bounds = {f"sub_array_{a}": float(ends[a]) for a in range(count) if np.isfinite(starts[a])}
    bounds["dram"] = float(starts.min() + table.own_bytes.sum() / (dram_gbps * 1e9))
    bounds["chain"] = float(table.earliest_finish_s(table.own_s).max())
    return bounds


def certain_misses(jobs: Sequence[Job] | Jobs) -> dict[int, float]:
    """Jobs that no schedule can finish in time: number -> the earliest possible finish [s].

    The proof: even alone, a job ends no sooner than its arrival or the end of what it waits for, plus its own time.
    """
    table = jobs if isinstance(jobs, Jobs) else Jobs.of(jobs)
    earliest = table.earliest_finish_s(table.own_s)
    late = missed(table.arrival_s, earliest, table.deadline_s)
    return {int(i): float(earliest[i]) for i in np.flatnonzero(late)}


def alone_turnaround_s(jobs: Sequence[Job] | Jobs, own_s: Sequence[float] | np.ndarray) -> np.ndarray:
    """Turnaround of every job that only those it waits for delay, each of which takes `own_s`, (n_jobs,) [s]."""
    table = jobs if isinstance(jobs, Jobs) else Jobs.of(jobs)
    own = np.asarray(own_s, float)
    return table.earliest_finish_s(own) - table.arrival_s if len(table.parent) else own


def _in_order(table: Jobs) -> list[int]:
    """Numbers of the jobs, each after those it waits for; raises where they wait in a circle."""
    waits = np.diff(table.parents)
    behind: dict[int, list[int]] = {}
    for j in np.flatnonzero(waits).tolist():
        for p in table.parent[table.parents[j] : table.parents[j + 1]].tolist():
            behind.setdefault(p, []).append(j)
    order = np.flatnonzero(waits == 0).tolist()
    left = waits.tolist()
    for j in order:  # which grows
        for other in behind.get(j, ()):
            left[other] -= 1
            if left[other] == 0:
                order.append(other)
    if len(order) < len(table):
        circle = ", ".join(f"{i} ({table.networks[i]})" for i in range(len(table)) if left[i] > 0)
        raise ValueError(f"jobs {circle} wait for one another in a circle; remove one of their dependencies")
    return order


def check(table: Jobs, dram_gbps: float, links: np.ndarray, order: str) -> None:
    """ValueError that names what makes no sense; every network is looked at once, not once a job."""
    if not len(table):
        raise ValueError("no jobs: give at least one")
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    if not (np.isfinite(dram_gbps) and dram_gbps > 0):
        raise ValueError(f"dram_gbps must be positive and finite, got {dram_gbps!r}")
    if links.ndim != 1 or not (links > 0).all():
        raise ValueError(f"links_gbps must be one positive bandwidth for each sub-array, got {links!r}")
    _check_jobs(table, len(links))
    pairs = np.unique(table.work * len(links) + table.sub_array, return_index=True)[1]
    for j in pairs.tolist():
        _check_work(table, j, min(links[table.sub_array[j]], dram_gbps))
    if len(table.parent):
        wrong = np.flatnonzero((table.parent < 0) | (table.parent >= len(table)))
        if len(wrong):
            j = int(np.searchsorted(table.parents, wrong[0], side="right")) - 1
            raise ValueError(
                f"{table.owner(j)} waits for job {table.parent[wrong[0]]}, but there are {len(table)} jobs; "
                "they count from 0"
            )
        _in_order(table)


def _check_jobs(table: Jobs, sub_arrays: int) -> None:
    """What each job has of its own."""

    def first(wrong: np.ndarray) -> int | None:
        return int(np.argmax(wrong)) if wrong.any() else None

    if (j := first((table.sub_array < 0) | (table.sub_array >= sub_arrays))) is not None:
        raise ValueError(f"{table.owner(j)}: sub_array {table.sub_array[j]} of {sub_arrays}; they count from 0")
    arrival = table.arrival_s
    if (j := first(~(np.isfinite(arrival) & (arrival >= 0) & (table.priority > 0)))) is not None:
        raise ValueError(f"{table.owner(j)}: arrival_s must be finite and not negative, priority positive")
    if (j := first(~(table.deadline_s > arrival))) is not None:
        raise ValueError(
            f"{table.owner(j)}: its deadline, {table.deadline_s[j]:g} s, is not after its arrival, {arrival[j]:g} s"
        )


def _check_work(table: Jobs, j: int, link_gbps: float) -> None:
    """The layers of a job, on its sub-array."""
    work, owner = table.works[table.work[j]], table.owner(j)
    busy, moved = work.busy_s, work.dram_bytes
    if busy.ndim != 1 or not len(busy) or busy.shape != moved.shape:
        raise ValueError(f"{owner}: busy_s and dram_bytes must be of the same length, at least 1")
    if not (np.isfinite(busy) & np.isfinite(moved) & (busy >= 0) & (moved >= 0)).all():
        raise ValueError(f"{owner}: times and bytes must be finite and not negative")
    over = moved > busy * (link_gbps * 1e9) * (1 + 1e-9)
    if over.any():
        which = int(np.flatnonzero(over)[0])
        raise ValueError(
            f"{owner}: layer {which} moves {moved[which]:g} bytes in {busy[which]:g} s, more than its link can: "
            f"busy_s is its time with all of {link_gbps:g} GB/s"
        )
