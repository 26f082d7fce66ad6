"""Networks at the same time: speed of the event loop, and its numbers against closed forms, recursions, enumeration.

python benchmarks/steady_state.py [seeds] [requests]     # 100 seeds of 100,000 requests; about five minutes

1. 12,000 jobs of 50 layers, 4 and 64 sub-arrays, DRAM asked for half and 1.5 times its bandwidth: the loop and the
   whole call; targets 0.1 s, 0.5 s and 1 s.  CPU time of this process, the best of three.
2. One schedule of three networks in a search, with all metrics but those of the design; target 0.2 ms.
3. Lindley's recursion on the same arrivals, one and four sub-arrays; target 1e-12.
4. M/D/1 at loads of 0.5 and 0.8: seeds whose 95 % interval holds the closed form; target 88 of 100.
5. Little's law and the utilisation law over random mixes under contention; target 1e-9.
6. Periodic mixes of 1 to 100 s: throughput, power and percentiles; target equal.
7. Batches of up to four jobs on up to three sub-arrays: the search against all orders and places; target 99 of 100.
8. The bound over places of 300 random mixes: above the best schedule (target 0), and the gap (target median 8 %).
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable

import numpy as np

from dse.hardware.accelerator import Accelerator
from dse.networks.layers import MacLayer, Network
from dse.simultaneous.bounds import makespan_bound_s
from dse.simultaneous.co_runs import MixEvaluator, co_run
from dse.simultaneous.division import Division
from dse.simultaneous.mixes import Mix, Stream
from dse.simultaneous.places import best_places
from dse.simultaneous.schedules import Job, Jobs, Work, alone_turnaround_s, run_checked, schedule
from dse.simultaneous.steady_state import Served, steady_state

DESIGN = Accelerator(rows=16, cols=32, macs_per_pe=4, input_register_bytes=4, weight_register_bytes=4, dram_gbps=32)
TINY = Network.from_layers([MacLayer("gemm", OX=8, C=8, K=8)])
GBPS = 10.0


def best_of(times: int, run: Callable[[], object]) -> float:
    """Least CPU time of a call [s]."""
    found = []
    for _ in range(times):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return min(found)


def speed() -> None:
    """Figure 1."""
    rng = np.random.default_rng(0)
    for arrays, asked in itertools.product((4, 64), (0.5, 1.5)):
        kinds = []
        for _ in range(100):
            busy = rng.uniform(1e-5, 1e-3, 50)
            kinds.append((busy, busy * np.minimum(2 * asked * rng.random(50) / arrays, 1) * 40e9))
        jobs = [Job(f"n{i % 100}", *kinds[i % 100], sub_array=i % arrays) for i in range(12_000)]
        table, links = Jobs.of(jobs), np.full(arrays, 40.0)
        run_checked(table, 40.0, links, "deadline", True)
        loop = best_of(3, lambda t=table, x=links: run_checked(t, 40.0, x, "deadline", True))
        whole = best_of(3, lambda j=jobs, x=links: schedule(j, 40.0, x).metrics(Jobs.of(j).own_s))
        events = len(schedule(jobs, 40.0, links).gbps)
        print(
            f"12,000 jobs x 50 layers, {arrays} sub-arrays, DRAM asked {asked} times: {events:,} events, "
            f"loop {loop:.3f} s, whole call with metrics {whole:.3f} s (targets {0.1 if arrays == 4 else 0.5}, 1)"
        )


def one_schedule() -> None:
    """Figure 2."""
    evaluator = MixEvaluator(Mix.of(["resnet50", "mobilenet_v2", "ptb_lstm_medium"]))
    costs = [row[s] for s, row in enumerate(evaluator.everywhere(DESIGN, Division((1, 1, 1))))]
    works = tuple(Work(f"n{s}", cost.busy_s, cost.dram_bytes) for s, cost in enumerate(costs))
    links, zeros, count = np.full(3, 32.0), np.zeros(3), np.arange(3)

    def run() -> None:
        jobs = Jobs(works, count, count, zeros, zeros + np.inf, zeros + 1, np.zeros(4, int), np.zeros(0, int))
        done, _ = run_checked(jobs, 32.0, links, "deadline", True)
        assert done.bound_s <= done.makespan_s * (1 + 1e-9) and done.metrics(alone_turnaround_s(jobs, jobs.own_s))

    run()
    each = best_of(5, lambda: [run() for _ in range(200)]) / 200
    print(f"three networks, {sum(len(work.busy_s) for work in works)} layers: {each * 1e3:.3f} ms (target 0.2)")


def served(mix: Mix, seconds: list[float]) -> Served:
    """Streams of one layer without bytes on one sub-array."""
    works = tuple(Work(s.name, np.array([t]), np.zeros(1)) for s, t in zip(mix.streams, seconds, strict=True))
    return Served(mix, works, (0,) * len(works), GBPS, np.array([GBPS]), "first", np.array(seconds))


def lindley() -> None:
    """Figure 3."""
    worst = 0.0
    for arrays, load in itertools.product((1, 4), (0.5, 0.8, 0.95)):
        rng = np.random.default_rng(arrays)
        n = 100_000
        arrival, where = np.cumsum(rng.exponential(1 / arrays, n)), rng.integers(0, arrays, n)
        service = rng.uniform(0.5, 1.5, 7) * load
        which = rng.integers(0, 7, n)
        jobs = Jobs(
            tuple(Work(str(i), np.array([t / 3, t / 2, t / 6]), np.zeros(3)) for i, t in enumerate(service)), which,
            where, arrival, np.full(n, np.inf), np.ones(n), np.zeros(n + 1, int), np.zeros(0, int),
        )  # fmt: skip
        done, _ = run_checked(jobs, GBPS, np.full(arrays, GBPS), "first")
        last = np.zeros(arrays)
        for j, (a, t, w) in enumerate(zip(where.tolist(), arrival.tolist(), which.tolist(), strict=True)):
            last[a] = max(t, last[a]) + service[w]
            worst = max(worst, abs(done.job_finish_s[j] / last[a] - 1))
    print(f"Lindley's recursion, 1 and 4 sub-arrays, 100,000 jobs each: {worst:.1e} apart (target 1e-12)")


def closed_form(seeds: int, requests: int) -> None:
    """Figure 4."""
    for load in (0.5, 0.8):
        inside = 0
        expected = load / 100 * (1 + load / (2 * (1 - load)))
        for seed in range(seeds):
            stream = Stream("a", TINY, fps=100.0, arrivals="poisson")
            found = steady_state(served(Mix("m", (stream,), requests / 100, seed=seed), [load / 100]))
            inside += abs(found.mean_latency_s[0] - expected) <= found.interval_s[0, 0]
        print(f"M/D/1 at load {load}, {requests:,} requests: closed form in the interval in {inside} of {seeds} seeds "
              "(target 88 of 100)")  # fmt: skip


def laws() -> None:
    """Figure 5."""
    worst = 0.0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        jobs = []
        for i in range(40):
            busy = rng.uniform(0.1, 1, int(rng.integers(1, 6)))
            moved = busy * rng.random(len(busy)) * GBPS * 1e9
            jobs.append(Job(str(i), busy, moved, int(rng.integers(4)), float(rng.uniform(0, 30))))
        done = schedule(jobs, GBPS, [GBPS] * 4)
        rows = done.layers()
        times = np.concatenate([done.table.arrival_s, done.job_finish_s])
        order = np.argsort(times, kind="stable")
        inside = np.cumsum(np.where(order < len(jobs), 1, -1))[:-1]
        little = float((inside * np.diff(times[order])).sum())
        worst = max(worst, abs(little / done.turnaround_s.sum() - 1), abs(done.in_system_s / little - 1))
        ran = (rows["finish_s"] - rows["start_s"]).groupby(rows["sub_array"]).sum()
        worst = max(worst, float(np.abs(done.busy_s[ran.index] / ran - 1).max()))
    print(f"Little's law and the utilisation law, 300 mixes from empty to empty: {worst:.1e} (target 1e-9)")


def lengths() -> None:
    """Figure 6."""
    streams = (Stream("mobilenet", "mobilenet_v2", fps=1.0), Stream("resnet", "resnet50", fps=1.0))
    for length in (1.0, 2.0, 10.0, 100.0):
        m = co_run(Mix("m", streams, duration_s=length), DESIGN, bounds=False).metrics
        print(f"  two networks at 1 frame/s for {length:g} s: {m['throughput_per_s']:g} requests/s, "
              f"{m['power_w'] * 1e3:.4f} mW, 95 % within {m['latency_p95_s'] * 1e3:.4f} ms")  # fmt: skip
    drifting = (Stream("a", TINY, fps=30.0), Stream("b", TINY, fps=45.0, phase_s=0.003))
    found = [
        steady_state(served(Mix("m", drifting, duration_s=length), [0.01, 0.0146])).latency_s.ravel()
        for length in (0.1, 1.0, 10.0, 100.0)
    ]
    print(f"  load 0.957 for 0.1 to 100 s: percentiles {max(np.abs(x / found[0] - 1).max() for x in found):.1e} apart "
          "(target 0)")  # fmt: skip


class Batch:
    """A seeded batch of jobs on equal (odd seeds) or different sub-arrays, of which some contend for the DRAM."""

    def __init__(self, seed: int, most_jobs: int, most_arrays: int) -> None:
        rng = np.random.default_rng(seed)
        self.n, self.arrays = int(rng.integers(2, most_jobs + 1)), int(rng.integers(2, most_arrays + 1))
        speed = np.ones((self.n, self.arrays)) if seed % 2 else rng.uniform(0.6, 1.7, (self.n, self.arrays))
        works = []
        for i in range(self.n):
            base = rng.uniform(0.1, 1, int(rng.integers(1, 5)))
            moved = base * rng.random(len(base)) * rng.choice([0.2, 0.6])
            for a in range(self.arrays):
                busy = base * speed[i, a]
                works.append(Work(str(i), busy, np.minimum(moved, busy) * GBPS * 1e9))
        self.works, shape = tuple(works), (self.n, self.arrays)
        self.time_s = np.array([work.total_s for work in works]).reshape(shape)
        self.dram_s = np.array([work.total_bytes for work in works]).reshape(shape) / (GBPS * 1e9)

    def value(self, where: tuple[int, ...], order: tuple[int, ...]) -> tuple[float]:
        """Makespan [s]."""
        priority, zeros, at = np.empty(self.n), np.zeros(self.n), np.array(where)
        priority[list(order)] = np.arange(self.n, 0, -1)
        jobs = Jobs(self.works, np.arange(self.n) * self.arrays + at, at, zeros, zeros + np.inf, priority,
                    np.zeros(self.n + 1, int), np.zeros(0, int))  # fmt: skip
        return (run_checked(jobs, GBPS, np.full(self.arrays, GBPS), "first")[0].makespan_s,)

    def search(self):
        """The best that the search finds."""
        return best_places(self.time_s, np.ones(self.time_s.shape, bool), self.value)

    def bound_s(self) -> float:
        """Bound over all places."""
        zeros = np.zeros(self.n)
        return makespan_bound_s(np.ones(self.n), zeros, zeros, self.time_s, self.dram_s)


def orders_and_places() -> None:
    """Figure 7."""
    hits, greedy, took, worst = 0, 0, 0.0, 0.0
    for seed in range(100):
        batch = Batch(seed, 4, 3)
        best = min(
            batch.value(where, order)[0]
            for where in itertools.product(range(batch.arrays), repeat=batch.n)
            for order in itertools.permutations(range(batch.n))
        )
        began = time.process_time()
        found = batch.search().value[0]
        took += time.process_time() - began
        hits += found <= best * (1 + 1e-9)
        worst = max(worst, found / best - 1)
        ends, where = np.zeros(batch.arrays), []
        for times in batch.time_s:  # in the given order, each where it ends first
            where.append(int(np.argmin(ends + times)))
            ends[where[-1]] += times[where[-1]]
        greedy += batch.value(tuple(where), tuple(range(batch.n)))[0] <= best * (1 + 1e-9)
    print(f"batches of up to 4 jobs on 3 sub-arrays: best of all orders and places in {hits} of 100 (target 99), worst "
          f"{worst:.2%} above; {took * 10:.1f} ms each; the given order {greedy}")  # fmt: skip


def bounds() -> None:
    """Figure 8."""
    gaps = []
    for seed in range(300):
        batch = Batch(1000 + seed, 8, 4)
        gaps.append(batch.search().value[0] / batch.bound_s() - 1)
    above = sum(gap < 0 for gap in gaps)
    print(f"bound over places, 300 mixes of up to 8 jobs on 4 sub-arrays: above the best {above} times (target 0)")
    print(f"  gap median {np.median(gaps):.2%} (target 8 %), 90th percentile {np.quantile(gaps, 0.9):.1%}")


def main(seeds: int = 100, requests: int = 100_000) -> None:
    """All figures."""
    speed()
    one_schedule()
    lindley()
    closed_form(seeds, requests)
    laws()
    lengths()
    orders_and_places()
    bounds()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
