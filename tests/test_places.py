"""Orders and places of small batches against all of them, and bounds that hold for any."""

import itertools

import numpy as np
import pytest

import dse
from dse.networks.layers import MacLayer, Network
from dse.simultaneous.bounds import least_load, makespan_bound_s
from dse.simultaneous.co_runs import WITH_TIME, co_run
from dse.simultaneous.division import Division
from dse.simultaneous.mixes import Mix, Stream
from dse.simultaneous.places import MOST_SCHEDULES, best_places, least_loaded_places
from dse.simultaneous.schedules import Job, schedule

DESIGN = dse.Accelerator(rows=8, cols=16, macs_per_pe=2, weight_register_bytes=8, input_register_bytes=8, dram_gbps=8)
GBPS = 10.0


class Batch:
    """A seeded batch of jobs of a few layers that may contend for the DRAM, on equal or different sub-arrays."""

    def __init__(self, seed, most_jobs=4, most_arrays=3):
        rng = np.random.default_rng(seed)
        self.n, self.arrays = int(rng.integers(2, most_jobs + 1)), int(rng.integers(2, most_arrays + 1))
        speed = np.ones((self.n, self.arrays)) if seed % 2 else rng.uniform(0.6, 1.7, (self.n, self.arrays))
        self.busy, self.moved = [], []
        for i in range(self.n):
            layers = int(rng.integers(1, 5))
            base, share = rng.uniform(0.1, 1, layers), rng.random(layers) * rng.choice([0.2, 0.6])
            self.busy.append([base * speed[i, a] for a in range(self.arrays)])
            self.moved.append([np.minimum(base * share, base * speed[i, a]) * GBPS * 1e9 for a in range(self.arrays)])
        self.time_s = np.array([[busy.sum() for busy in row] for row in self.busy])
        self.dram_s = np.array([[moved.sum() for moved in row] for row in self.moved]) / (GBPS * 1e9)

    def makespan(self, where, order):
        rank = {j: i for i, j in enumerate(order)}
        jobs = [
            Job(str(j), self.busy[j][a], self.moved[j][a], a, priority=float(self.n - rank[j]))
            for j, a in enumerate(where)
        ]
        return schedule(jobs, GBPS, [GBPS] * self.arrays, "first", keep_layers=False).makespan_s

    def search(self):
        return best_places(self.time_s, np.ones(self.time_s.shape, bool), lambda w, o: (self.makespan(w, o),))

    def bound(self):
        zeros = np.zeros(self.n)
        return makespan_bound_s(np.ones(self.n), zeros, zeros, self.time_s, self.dram_s)


def test_small_batches_reach_the_best_of_all_orders_and_places():
    """Greedy in the given order found 44 to 66 %.  The benchmark runs 100 cases of up to four jobs."""
    for seed in range(24):
        batch = Batch(seed, most_jobs=3)
        best = min(
            batch.makespan(where, order)
            for where in itertools.product(range(batch.arrays), repeat=batch.n)
            for order in itertools.permutations(range(batch.n))
        )
        found = batch.search()
        assert found.value[0] <= best * (1 + 1e-9), seed
        assert batch.makespan(found.where, found.order) == found.value[0]
        assert batch.bound() <= best


def test_the_bound_is_never_above_the_best_schedule_and_mostly_near_it():
    gaps = []
    for seed in range(60):
        batch = Batch(1000 + seed, most_jobs=8, most_arrays=4)
        bound, found = batch.bound(), batch.search().value[0]
        assert bound <= found
        gaps.append(found / bound - 1)
    assert np.median(gaps) <= 0.08


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_is_at_least_what_each_part_of_it_says(seed):
    batch = Batch(seed)
    ones, bound = np.ones(batch.n), batch.bound()
    assert bound >= least_load(ones, batch.time_s, batch.dram_s) * (1 - 1e-6)
    assert bound >= batch.time_s.min(axis=1).max() * (1 - 1e-12)
    assert bound >= batch.dram_s.min(axis=1).sum() * (1 - 1e-6)


def test_a_job_that_no_slower_sub_array_can_finish_in_time_counts_whole():
    """Fractions of it on both would end after 2 s; but on the slow one it takes 9 s, and on the fast one 3 s."""
    time = np.array([[3.0, 9.0], [3.0, 9.0]])
    zeros = np.zeros(2)
    assert makespan_bound_s(np.ones(2), zeros, zeros, time, 0 * time) == pytest.approx(6.0, rel=1e-6)
    assert least_load(np.ones(2), time, 0 * time) == pytest.approx(4.5, rel=1e-6)


def test_a_place_that_is_not_allowed_is_not_taken():
    allowed = np.array([[True, False], [True, True]])
    found = best_places(np.array([[5.0, 1.0], [5.0, 5.0]]), allowed, lambda where, order: (sum(where),))
    assert found.where[0] == 0
    found = least_loaded_places(np.array([[0.5, 0.1], [0.5, 0.5]]), np.zeros((2, 2)), allowed)
    assert found.where == (0, 1)


def gemm(name, *shape):
    m, c, k = shape
    return Network.from_layers([MacLayer(f"{name}{i}", OX=m, C=c, K=k) for i in range(3)]).renamed(name)


MIX = Mix.of([gemm("a", 64, 64, 256), gemm("b", 16, 512, 64), gemm("c", 128, 64, 64), gemm("d", 8, 256, 256)])


def test_best_places_of_a_mix_are_those_of_all_by_hand():
    division = Division((1, 1), dataflows=(None, "output_stationary"))
    found = co_run(MIX, DESIGN, division, "best")
    every = [co_run(MIX, DESIGN, division, where, bounds=False, order=order).metrics["makespan_s"]
             for where in itertools.product(range(2), repeat=4) for order in ("deadline", "first")]  # fmt: skip
    assert found.bounds.makespan_s <= found.metrics["makespan_s"] <= min(every) * (1 + 1e-9)
    again = schedule(found.schedule.jobs, DESIGN.dram_gbps, found.schedule.links_gbps, "first")
    assert sorted(again.table.sub_array) == sorted(found.schedule.table.sub_array)
    assert found.metrics["stp"] <= len(MIX.streams) * (1 + 1e-12)
    assert found.placed.schedules > 24 and found.placed_seconds > 0 and found.bounds.seconds > 0


def test_requests_of_one_stream_may_run_on_different_sub_arrays():
    mix = Mix("m", (Stream("a", gemm("a", 64, 64, 256), count=4),))
    found = co_run(mix, DESIGN, Division((1, 1)), "best")
    assert sorted(found.schedule.table.sub_array.tolist()) == [0, 0, 1, 1]
    assert found.metrics["used_sub_arrays"] == 2
    one = co_run(mix, DESIGN, Division((1, 1)), [1]).metrics
    work = [m["energy_j"] - sum(m[f"energy_{name}_j"] for name in WITH_TIME) for m in (one, found.metrics)]
    assert work[0] == pytest.approx(work[1])


def test_a_search_keeps_priorities_and_meets_deadlines_first():
    time = dse.evaluate(DESIGN, gemm("a", 64, 64, 256)).latency_s
    late = Stream("late", gemm("a", 64, 64, 256))
    soon = Stream("soon", gemm("a", 64, 64, 256), deadline_s=1.5 * time)
    found = co_run(Mix("m", (late, soon)), DESIGN, Division(), "best")
    assert found.metrics["deadline_miss_share"] == 0
    first = Stream("late", gemm("a", 64, 64, 256), priority=2)
    found = co_run(Mix("m", (first, soon)), DESIGN, Division(), "best")
    assert found.schedule.job_finish_s[0] < found.schedule.job_finish_s[1]


def test_used_sub_arrays_are_those_that_run_something():
    """It counted the sub-arrays of the design."""
    assert co_run(MIX, DESIGN, Division((1, 1, 1)), [0, 0, 2, 2]).metrics["used_sub_arrays"] == 2


def test_system_throughput_is_per_program():
    """It added over requests: 15.1 for two networks."""
    mix = Mix("m", (Stream("a", gemm("a", 64, 64, 256), count=9), Stream("b", gemm("b", 16, 512, 64), count=9)))
    done = co_run(mix, DESIGN)
    own = np.array([job.busy_s.sum() for job in done.schedule.jobs])
    expected = sum(own[half].sum() / done.schedule.turnaround_s[half].sum() for half in (slice(0, 9), slice(9, 18)))
    assert done.metrics["stp"] == pytest.approx(expected) and expected < 2


@pytest.mark.parametrize("seed", range(12))
def test_small_batches_with_deadlines_miss_as_few_as_the_best_of_all(seed):
    """A search from greedy places stopped at one miss more, where jobs of equal deadlines could stay together."""
    rng = np.random.default_rng(seed)
    time = rng.uniform(1, 3, (4, 1)) * rng.choice([1.0, 1.7], (1, 2))
    due = np.repeat(rng.uniform(1.5, 6, 2), 2)

    def value(where, order):
        jobs = [
            Job(str(j), [time[j, a]], [0.0], a, 0.0, due[j], float(4 - order.index(j))) for j, a in enumerate(where)
        ]
        done = schedule(jobs, GBPS, [GBPS] * 2, "first", keep_layers=False)
        return float(done.missed.sum()), done.makespan_s

    every = itertools.product(itertools.product(range(2), repeat=4), itertools.permutations(range(4)))
    found = best_places(time, np.ones(time.shape, bool), value)
    assert found.value == min(value(*candidate) for candidate in every)


def test_a_search_of_many_jobs_ends():
    """Its limit was looked at once a round of moves, and a round of 1,000 jobs is a million of them."""
    rng = np.random.default_rng(0)
    time = rng.uniform(1, 2, (300, 3))
    found = best_places(time, np.ones(time.shape, bool), lambda where, order: (float(rng.random()),))
    assert found.schedules <= MOST_SCHEDULES + 2


@pytest.mark.parametrize(
    ("runs_on", "options", "message"),
    [
        ([0.5, 0, 0, 0], {}, "give a sub-array from 0 to 1 for each of 4 streams"),
        (["a", 0, 0, 0], {}, "give a sub-array from 0 to 1 for each of 4 streams"),
        (None, {"order": "none"}, "order must be one of deadline, round_robin, first"),
        (None, {"division": "ab"}, "columns must be shares"),
        (None, {"division": (1, "a")}, "columns must be shares"),
        (None, {"division": 5}, "columns must be shares"),
    ],
)
def test_bad_places_orders_and_divisions_are_named(runs_on, options, message):
    with pytest.raises(ValueError, match=message):
        co_run(MIX, DESIGN, Division(options.pop("division", (1, 1))), runs_on, **options)
