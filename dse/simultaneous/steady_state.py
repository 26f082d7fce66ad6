"""Streams of requests in their steady state: load, stability, percentiles that do not depend on the length of a mix.

Stream i sends r_i requests a second, each of which takes S_i seconds of its sub-array (alone, with all the bandwidth of
its link) and B_i bytes of the DRAM.

- **Load** of a sub-array: the sum of r_i S_i over its streams; of the DRAM: the sum of r_i B_i / bandwidth.  Above 1
  (for arrivals that are not periodic: from 1 on) the queue is unstable, which is a proof.  Below 1 it may still be
  where layers contend, or where streams of other priorities wait for one another (Lu and Kumar, IEEE Transactions on
  Automatic Control 36, 1991).  So the backlog is measured, and, where layers can ask for more than the bandwidth, the
  saturated system: with all requests there from the beginning, what it serves in a second is the most that arrivals may
  bring (Baccelli and Foss, Journal of Applied Probability 32, 1995).  That rule holds where more work never ends
  sooner, which priorities and deadlines do not grant; so it counts only where the backlog does grow.
- **Window.**  Periodic streams run until the state at a multiple of the hyperperiod equals the state one hyperperiod
  before; the requests of that hyperperiod are reported, each run to its end.  Poisson arrivals and traces: without the
  first `WARM_UP` of the time, with intervals of 95 % from the means of `BATCHES` batches.
- **Percentiles** by nearest rank.

Two laws are checked in every run: Little's, the integral of the number of requests in the system is the sum of their
times in it; and the utilisation law, a sub-array is busy for the sum of the service times of its requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dse.simultaneous.event_loop import ROUNDING
from dse.simultaneous.mixes import MOST_REQUESTS, Mix, Requests
from dse.simultaneous.schedules import Jobs, OfLayers, Schedule, Work, disturbance, miss_share, missed, run_checked

PERCENTILES = (50, 95, 99)
MOST_PERIODS = 64
"""Hyperperiods after which a mix that has not settled is said not to settle."""

WARM_UP = 0.1
"""Share of the window that is left out before Poisson arrivals and traces are measured [1]."""

BATCHES = 20
STUDENT_T = 2.093
"""Quantile 0.975 of Student's t with `BATCHES` - 1 degrees of freedom [1]."""

SATURATED_REQUESTS = 400
"""At least so many requests measure the saturated system."""

SERVED = 1 - 1e-3
"""Share of the offered requests below which the saturated system is said to serve too few [1]."""

GROWTH = 3.0
"""Standard deviations of a number of Poisson arrivals by which a backlog must grow while they arrive [1]."""

SAME = 1e-11
"""Of a hyperperiod: by how much the work left in two states may differ [1]."""


@dataclass(frozen=True)
class Load:
    """How much of each resource streams need, at given places.

    Attributes
    ----------
    sub_arrays : (n_sub_arrays,) [1].
    dram : [1].
    periodic : whether all arrivals are periodic: then a load of 1 can be served.
    """

    sub_arrays: np.ndarray
    dram: float
    periodic: bool

    @property
    def largest(self) -> float:
        """The largest of all [1]."""
        return max(float(self.sub_arrays.max()), self.dram)

    @property
    def is_too_much(self) -> bool:
        """Whether it proves that the queue is unstable."""
        return self.largest > 1 + 1e-9 or (not self.periodic and self.largest >= 1 - 1e-9)

    def __str__(self) -> str:
        """Why the queue is unstable."""
        a = int(self.sub_arrays.argmax())
        name = f"sub-array {a + 1}" if self.sub_arrays[a] >= self.dram else "the DRAM"
        behind = self.largest - 1
        if behind <= 1e-9:
            return f"{name} has a load of 1: only periodic arrivals can be served at that"
        share = f"at most {100 / self.largest:.0f} % of these rates can be served"
        return f"{name} falls {behind:.2g} s behind every second; {share}"


def load_at_places(
    rates: np.ndarray, works: Sequence[OfLayers], where: Sequence[int], arrays: int, dram_gbps: float, periodic: bool
) -> Load:
    """Load of streams that run at `where`; `works` (n_streams,) there."""
    time = rates * np.array([work.total_s for work in works])
    moved = rates * np.array([work.total_bytes for work in works])
    return Load(np.bincount(where, time, arrays), float(moved.sum() / (dram_gbps * 1e9)), periodic)


@dataclass(frozen=True)
class SteadyState:
    """Streams on a divided design, settled.

    Attributes
    ----------
    load : at these places.
    stable : whether all requests are served; else `verdict` says why not, and nothing below is known (NaN).
    settled : whether the state repeats (periodic) or was measured after a warm-up (else).
    verdict : in words, how the numbers were made.
    offered_per_s, served_per_s : requests a second, (n_streams,): equal where stable, else the share of them that the
        proof or the measurement leaves [1/s].
    window_s : begin and end of the arrivals that are reported, of random ones and traces from the first arrival [s].
    requests : of each stream in the window, (n_streams,).
    utilisation, dram_utilisation : busy share of each sub-array, (n_sub_arrays,), and of the DRAM [1].
    latency_s : percentiles `PERCENTILES` of each stream, (n_streams, 3) [s].
    mean_latency_s : (n_streams,) [s].
    interval_s : half widths of the 95 % intervals of mean and percentiles, (n_streams, 4) [s]; 0 where the state
        repeats, NaN where there are fewer than two requests a batch.  Too narrow where a batch is no longer than a busy
        time, or has few requests beyond a percentile.
    slow_down : mean and worst of each stream's latency / latency alone, (n_streams, 2) [1].
    worst_slow_down, fairness, deadline_miss_share : as in `dse.simultaneous.schedules.Schedule.metrics`, of the window.
    """

    load: Load
    stable: bool
    settled: bool
    verdict: str
    offered_per_s: np.ndarray
    served_per_s: np.ndarray
    window_s: tuple[float, float]
    requests: np.ndarray
    utilisation: np.ndarray
    dram_utilisation: float
    latency_s: np.ndarray = field(repr=False)
    mean_latency_s: np.ndarray = field(repr=False)
    interval_s: np.ndarray = field(repr=False)
    slow_down: np.ndarray = field(repr=False)
    worst_slow_down: float
    fairness: float
    deadline_miss_share: float

    @property
    def overload(self) -> float:
        """Offered over served requests, less 1: 0 where stable [1]."""
        return 0.0 if self.stable else float(self.offered_per_s.sum() / self.served_per_s.sum() - 1)


@dataclass(frozen=True)
class Served:
    """What streams run on: `works` (n_streams,) at `where`, links [GB/s], order, and time alone (n_streams,) [s]."""

    mix: Mix
    works: tuple[Work, ...]
    where: tuple[int, ...]
    dram_gbps: float
    links_gbps: np.ndarray
    order: str
    alone_s: np.ndarray

    def jobs(self, requests: Requests) -> Jobs:
        """Jobs of requests."""
        waits = requests.after >= 0
        priority = np.array([stream.priority for stream in self.mix.streams], float)
        return Jobs(
            self.works,
            requests.stream,
            np.asarray(self.where, dtype=np.int64)[requests.stream],
            requests.arrival_s,
            requests.deadline_s,
            priority[requests.stream],
            np.concatenate([[0], np.cumsum(waits)]),
            requests.after[waits],
        )

    def run(
        self, requests: Requests, marks_s: np.ndarray | None = None, keep_layers: bool = False
    ) -> tuple[Schedule, tuple[np.ndarray, ...]]:
        """The schedule of requests, and the states at marks, see `run_checked`."""
        return run_checked(self.jobs(requests), self.dram_gbps, self.links_gbps, self.order, keep_layers, marks_s)

    def alone_turnaround_s(self, requests: Requests) -> np.ndarray:
        """Latency of each request on the undivided chip that only those it waits for delay, (n,) [s]."""
        finish = requests.arrival_s + self.alone_s[requests.stream]
        names = [stream.name for stream in self.mix.streams]
        depth = np.zeros(len(names), dtype=int)
        for s, stream in enumerate(self.mix.streams):
            behind = stream.after
            while behind is not None:
                depth[s] += 1
                behind = self.mix.streams[names.index(behind)].after
        for s in np.argsort(depth, kind="stable")[(depth == 0).sum() :]:
            mine = np.flatnonzero((requests.stream == s) & (requests.after >= 0))
            finish[mine] = np.maximum(requests.arrival_s[mine], finish[requests.after[mine]]) + self.alone_s[s]
        return finish - requests.arrival_s

    @property
    def may_contend(self) -> bool:
        """Whether layers that run at once can ask for more than the bandwidth."""
        need = np.zeros(len(self.links_gbps))
        for work, a in zip(self.works, self.where, strict=True):
            busy = np.maximum(work.busy_s, np.finfo(float).tiny)
            need[a] = max(need[a], float((work.dram_bytes / busy).max()))
        return float(np.minimum(need, self.links_gbps * 1e9).sum()) > self.dram_gbps * 1e9 * (1 + 1e-12)


def steady_state(served: Served) -> SteadyState:
    """Streams with rates on a divided design; every stream of the mix is endless."""
    mix, rates = served.mix, served.mix.rates
    arrays = len(served.links_gbps)
    load = load_at_places(rates, served.works, served.where, arrays, served.dram_gbps, mix.is_periodic)
    if load.is_too_much:
        return _unstable(load, rates, f"unstable (proved): {load}", 1 / load.largest)
    window = mix.window_s
    if window is None:
        return _periodic(served, load, rates)
    requests = mix.by_arrival(window)
    if not len(requests):
        raise ValueError(f"mix {mix.name!r}: nothing arrives in {window:g} s; make duration_s longer")
    hyperperiod = mix.hyperperiod_s
    first = 0.0 if hyperperiod is not None else float(requests.arrival_s[0])
    if first:  # a trace that begins late: small times are exact
        requests = replace(requests, arrival_s=requests.arrival_s - first, deadline_s=requests.deadline_s - first)
    seconds = window - first
    done, _ = served.run(requests)
    _check_laws(done.table, done, slice(None), done.in_system_s, done.busy_s)
    share = _served_share(served, done, seconds / 2, seconds)
    has_trace = any(stream.trace is not None for stream in mix.streams)
    if share < 1 and not has_trace:
        return _unstable(load, rates, _measured(share), share)
    if hyperperiod is None:
        begin = WARM_UP * seconds
        words = (
            f"random arrivals or a trace: {seconds:.4g} s, the first {100 * WARM_UP:.0f} % left out, {BATCHES} batches"
        )
        if share < 1:  # its burst, or more than can be served: the trace tells no more
            words = f"not settled: in the second half of the window {100 * share:.1f} % are served; {words}"
        which = requests.arrival_s >= begin
        return _reported(served, load, done, which, (begin, seconds), words, share == 1, BATCHES)
    words = (
        f"not settled: a window of {window:.4g} s from an empty chip; the streams repeat after "
        f"{float(hyperperiod):.4g} s"
    )
    return _reported(served, load, done, np.ones(len(requests), bool), (0.0, window), words, False)


def saturated_share(served: Served) -> float:
    """Requests that the saturated system serves over those that its streams offer, at most 1 [1].

    All requests are there at time 0, in the proportions of the rates and in the order of their arrival; the rate is
    that of the second half of them.
    """
    if not served.may_contend:
        return 1.0
    mix, rates = served.mix, served.mix.rates
    even = tuple(
        replace(stream, arrivals="periodic", trace=None, fps=float(rate), phase_s=0.0)
        for stream, rate in zip(mix.streams, rates, strict=True)
    )
    hyperperiod = mix.hyperperiod_s
    window = SATURATED_REQUESTS / rates.sum()
    if hyperperiod is not None and float(hyperperiod) < 10 * window:
        window = float(hyperperiod) * np.ceil(window / float(hyperperiod))
    ends = []
    surrogate = Mix(mix.name, even, duration_s=2 * window)
    for part in (window, 2 * window):
        requests = surrogate.table(part).by_arrival()
        at_once = replace(requests, arrival_s=np.zeros(len(requests)))
        ends.append(served.run(at_once)[0].makespan_s)
    return float(min(1.0, window / (ends[1] - ends[0])))


def _served_share(served: Served, done: Schedule, middle_s: float, end_s: float) -> float:
    """Share of the requests that arrive from a time to the end of arrivals that the chip keeps up with, 1 where their
    backlog does not grow by more than chance [1].

    That is `GROWTH` deviations; where the saturated system serves too few as well, one, or none of periodic arrivals.
    """
    arrival, finish = done.table.arrival_s, done.job_finish_s
    before, after = (int(((arrival < t) & (finish > t)).sum()) for t in (middle_s, end_s))
    count, growth = int((arrival >= middle_s).sum()), after - before
    if growth <= 0:
        return 1.0
    is_saturated = saturated_share(served) < SERVED
    deviations = GROWTH if not is_saturated else 0.0 if served.mix.is_periodic else 1.0
    return max(1 - growth / count, 1 / count) if growth > deviations * np.sqrt(count) else 1.0


def _measured(share: float) -> str:
    return (
        "unstable (measured): no resource is overloaded alone, but layers contend or wait for one another, and the "
        f"backlog grows: {100 * share:.1f} % of these rates are served"
    )


def _unstable(load: Load, rates: np.ndarray, verdict: str, share: float) -> SteadyState:
    def unknown(*shape: int) -> np.ndarray:
        return np.full(shape, np.nan)

    n, arrays = len(rates), len(load.sub_arrays)
    return SteadyState(
        load, False, False, verdict, rates, rates * share, (0.0, 0.0), np.zeros(n, int), unknown(arrays), np.nan,
        unknown(n, 3), unknown(n), unknown(n, 4), unknown(n, 2), np.nan, np.nan, np.nan,
    )  # fmt: skip


def _periodic(served: Served, load: Load, rates: np.ndarray) -> SteadyState:
    """Run ever more hyperperiods until the state repeats."""
    mix = served.mix
    exact = mix.hyperperiod_s
    assert exact is not None
    hyperperiod = float(exact)
    each = np.rint(rates * hyperperiod).astype(np.int64)
    most = max(3, min(MOST_PERIODS, MOST_REQUESTS // int(each.sum())))
    begin = _quiet_begin_s(mix, hyperperiod)
    periods = min(2, most)
    while True:
        marks = begin + np.arange(periods + 1) * hyperperiod
        requests = mix.by_arrival(float(marks[-1]))
        done, found = served.run(requests, marks)
        m = _settled(done, found, marks, each, hyperperiod, served.order == "round_robin")
        if m is not None or periods == most:
            break
        periods = min(2 * periods, most)
    if m is not None:
        inside = (requests.arrival_s >= marks[m - 1]) & (requests.arrival_s < marks[m])
        so_far = found[0][m] - found[0][m - 1]
        _check_laws(done.table, done, inside, so_far[-1], so_far[:-2])
        words = f"settled: the state repeats every {hyperperiod:.4g} s from {marks[m - 1]:.4g} s on"
        return _reported(served, load, done, inside, (marks[m - 1], marks[m]), words, True)
    _check_laws(done.table, done, slice(None), done.in_system_s, done.busy_s)
    half = marks[periods // 2]
    share = _served_share(served, done, float(half), float(marks[-1]))
    if share < 1:
        return _unstable(load, rates, _measured(share), share)
    words = f"not settled after {periods} hyperperiods of {hyperperiod:.4g} s: of the second half of them"
    return _reported(served, load, done, requests.arrival_s >= half, (half, marks[-1]), words, False)


def _quiet_begin_s(mix: Mix, hyperperiod: float) -> float:
    """Where hyperperiods are cut: in the middle of the longest time without arrivals, after the last phase [s].

    There no arrival is put on another side of the cut by a rounding error.
    """
    times = np.concatenate(
        [s.phase_s + np.arange(round(s.fps * hyperperiod)) / s.fps for s in mix.streams if s.fps is not None]
    )
    folded = np.sort(times % hyperperiod)
    gaps = np.diff(np.append(folded, folded[0] + hyperperiod))
    i = int(gaps.argmax())
    cut = (folded[i] + gaps[i] / 2) % hyperperiod
    last = max(stream.phase_s for stream in mix.streams)
    return float(cut + hyperperiod * max(0, np.ceil((last - cut) / hyperperiod)))


def _settled(
    done: Schedule, found: tuple[np.ndarray, ...], marks: np.ndarray, each: np.ndarray, hyperperiod: float, turns: bool
) -> int | None:
    """First mark whose state equals that of the mark before, and the requests between end before arrivals do."""
    _, first, job, left, turn = found
    stream = done.table.work
    order = np.argsort(stream, kind="stable")
    begins = np.concatenate([[0], np.cumsum(np.bincount(stream, minlength=len(each)))])
    number = np.empty(len(stream), dtype=np.int64)
    number[order] = np.arange(len(stream)) - np.repeat(begins[:-1], np.diff(begins))
    before: tuple[np.ndarray, ...] | None = None
    for m in range(len(marks) - 1):
        here = slice(first[m], first[m + 1])
        kept = left[here] > SAME * hyperperiod
        jobs, work, when = job[here][kept], left[here][kept], turn[here][kept]
        index = number[jobs] - m * each[stream[jobs]]
        by_name = np.lexsort((index, stream[jobs]))
        rank = np.argsort(np.argsort(when[by_name], kind="stable"), kind="stable") if turns else np.zeros(len(jobs))
        state = (stream[jobs][by_name], index[by_name], work[by_name], rank)
        if before is not None and len(before[0]) == len(jobs):
            same = all(np.array_equal(state[i], before[i]) for i in (0, 1, 3))
            if same and np.all(np.abs(state[2] - before[2]) <= SAME * hyperperiod):
                inside = (done.table.arrival_s >= marks[m - 1]) & (done.table.arrival_s < marks[m])
                if done.job_finish_s[inside].max(initial=0.0) <= marks[-1]:
                    return m
        before = state
    return None


def _check_laws(table: Jobs, done: Schedule, which: np.ndarray | slice, in_system_s: float, busy_s: np.ndarray) -> None:
    """Little's law and the utilisation law, to 1e-9 and the rounding of times: the event loop adds both sides up on
    its own."""
    rounding = ROUNDING * done.makespan_s * len(done.job_finish_s[which])
    spent = float(done.turnaround_s[which].sum())
    served = np.bincount(table.sub_array[which], done.served_s[which], len(busy_s))
    for law, one, other in (("Little's law", in_system_s, spent), ("the utilisation law", busy_s, served)):
        if np.abs(one - other).max() > 1e-9 * spent + rounding:
            raise RuntimeError(f"{law} does not hold in this schedule: {one} is not {other}; please report the mix")


def _nearest_rank(values: np.ndarray) -> np.ndarray:
    """Percentiles by nearest rank, (3,)."""
    ranks = np.ceil(np.array(PERCENTILES) / 100 * len(values)).astype(int) - 1
    return np.sort(values)[np.maximum(ranks, 0)]


def _reported(
    served: Served,
    load: Load,
    done: Schedule,
    which: np.ndarray,
    window: tuple[float, float],
    verdict: str,
    settled: bool,
    batches: int = 0,
) -> SteadyState:
    """Numbers of the requests `which` of a run; `batches` = 0: there is nothing random."""
    table, n = done.table, len(served.works)
    requests = Requests(table.work, table.arrival_s, table.deadline_s, _after(table))
    latency, alone = done.turnaround_s[which], served.alone_turnaround_s(requests)[which]
    stream, deadline = table.work[which], table.deadline_s[which]
    percentiles, interval = np.full((n, 3), np.nan), np.full((n, 4), np.nan)
    mean, slow = np.full(n, np.nan), np.full((n, 2), np.nan)
    for s in range(n):
        mine = latency[stream == s]
        if not len(mine):
            raise ValueError(
                f"mix {served.mix.name!r}: stream {served.mix.streams[s].name!r} sends no request in the window that "
                f"is measured, {window[0]:g} to {window[1]:g} s after the first arrival of the mix; give it a shorter "
                "phase_s or trace, or the mix a longer duration_s"
            )
        percentiles[s], mean[s] = _nearest_rank(mine), mine.mean()
        ratio = mine / alone[stream == s]
        slow[s] = ratio.mean(), ratio.max()
        if not batches:
            interval[s] = 0.0
        elif len(mine) >= 2 * batches:
            parts = np.array([[part.mean(), *_nearest_rank(part)] for part in np.array_split(mine, batches)])
            interval[s] = STUDENT_T * parts.std(axis=0, ddof=1) / np.sqrt(batches)
    late = missed(table.arrival_s, done.job_finish_s, table.deadline_s)[which]
    seconds = window[1] - window[0]
    busy = np.bincount(table.sub_array[which], done.served_s[which], len(served.links_gbps)) / seconds
    rates = served.mix.rates
    return SteadyState(
        load=load,
        stable=True,
        settled=settled,
        verdict=verdict,
        offered_per_s=rates,
        served_per_s=rates,
        window_s=(float(window[0]), float(window[1])),
        requests=np.bincount(stream, minlength=n),
        utilisation=np.minimum(busy, 1.0),
        dram_utilisation=float(table.own_bytes[which].sum() / (served.dram_gbps * 1e9) / seconds),
        latency_s=percentiles,
        mean_latency_s=mean,
        interval_s=interval,
        slow_down=slow,
        **disturbance(latency, alone, table.priority[which]),
        deadline_miss_share=miss_share(late, deadline),
    )


def _after(table: Jobs) -> np.ndarray:
    """The one job that each waits for, -1 = none, (n_jobs,)."""
    after = np.full(len(table), -1)
    after[np.diff(table.parents) > 0] = table.parent
    return after
