"""The schedule engine: against time steps, closed forms, bounds, and what must be conserved."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.simultaneous import schedules
from dse.simultaneous.schedules import ORDERS, Job, alone_turnaround_s, certain_misses, makespan_bounds, schedule

GB = 1e9


def job(name="a", layers=((1.0, 0.0),), **options):
    """A job from pairs of time [s] and GB."""
    return Job(name, [t for t, _ in layers], [gb * GB for _, gb in layers], **options)


# ---- closed forms --------------------------------------------------------------------------------------------


def test_a_network_alone_takes_the_sum_of_its_layers():
    done = schedule([job(layers=[(1.0, 2.0), (0.5, 5.0), (2.0, 0.0)])], 10)
    assert done.makespan_s == done.bound_s == 3.5
    assert done.finish_s.tolist() == [1.0, 1.5, 3.5]


def test_two_equal_networks_on_two_halves_that_the_dram_bounds_take_twice_as_long():
    pair = [job(layers=[(1.0, 10.0)]), job("b", [(1.0, 10.0)], sub_array=1)]
    done = schedule(pair, 10)
    assert done.makespan_s == pytest.approx(2.0) == done.bound_s
    assert schedule(pair, 20).makespan_s == pytest.approx(1.0)


def test_two_equal_networks_on_one_array_take_turns():
    done = schedule([job(layers=[(1.0, 0), (1.0, 0)]), job("b", [(1.0, 0), (1.0, 0)])], 10, order="round_robin")
    assert done.start_s.tolist() == [0, 2, 1, 3]
    assert schedule([job(layers=[(1.0, 0)] * 2), job("b", [(1.0, 0)] * 2)], 10, order="first").start_s.tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_without_contention_sub_arrays_do_not_see_one_another():
    done = schedule([job(layers=[(3.0, 3.0)]), job("b", [(2.0, 8.0), (1.0, 1.0)], sub_array=1)], 10)
    assert done.finish_s.tolist() == [3.0, 2.0, 3.0]


def test_the_less_needy_gets_all_it_needs():
    """Needs of 2, 6 and 8 GB/s from 10 GB/s: shares of 2, 4 and 4."""
    jobs = [job(str(a), [(1.0, gb)], sub_array=a) for a, gb in enumerate((2.0, 6.0, 8.0))]
    done = schedule(jobs, 10)
    assert done.gbps[0] == 10
    # At 1 s the first is done; 5 GB/s each: the second has 2 GB left, the third 4, then all 10 GB/s but it needs 8.
    assert done.finish_s.tolist() == pytest.approx([1.0, 1.4, 1.4 + 2 / 8])


def test_a_static_partition_is_not_shared():
    jobs = [job(layers=[(1.0, 5.0)]), job("b", [(2.0, 10.0)], sub_array=1)]
    assert schedule(jobs, 10, links_gbps=[5, 5]).finish_s.tolist() == [1.0, 2.0]


def test_arrivals_priorities_and_dependencies():
    jobs = [
        job("low", [(1.0, 0)] * 3),
        job("high", [(1.0, 0)], arrival_s=0.5, priority=2),
        job("tracker", [(1.0, 0)], sub_array=1, after=(1,)),
    ]
    done = schedule(jobs, 10)
    assert done.start_s.tolist() == [0, 2, 3, 1, 2]
    assert done.job_finish_s.tolist() == [4, 2, 3]
    assert done.turnaround_s.tolist() == [4, 1.5, 3]


def test_the_earliest_deadline_goes_first():
    late = job("late", [(1.0, 0)] * 2, deadline_s=9.0)
    soon = job("soon", [(1.0, 0)] * 2, deadline_s=2.5)
    assert schedule([late, soon], 10).missed.tolist() == [False, False]
    assert schedule([late, soon], 10, order="first").missed.tolist() == [False, True]


@pytest.mark.parametrize("order", ["deadline", "round_robin"])
def test_slow_downs_do_not_depend_on_the_order_in_which_jobs_are_listed(order):
    """Without deadlines whatever was listed first ran first, and a short job behind a long one waited for all of it."""
    jobs = [job("long", [(4.0, 0)] * 5), job("short", [(1.0, 0)]), job("middle", [(2.0, 0)] * 2)]
    alone = [20.0, 1.0, 4.0]
    for listed in itertools.permutations(range(3)):
        done = schedule([jobs[i] for i in listed], 10, order=order)
        found = done.metrics([alone[i] for i in listed])
        if order == "deadline":
            assert found["antt"] == pytest.approx((25 / 20 + 1 + 5 / 4) / 3)
        else:  # whoever goes first at the beginning, nobody waits for more than one layer of each other
            assert found["worst_slow_down"] <= 7


def test_waiting_for_what_one_depends_on_is_no_disturbance():
    """A tracker behind its detector had a slow-down of 13 on an empty chip."""
    jobs = [job("detector", [(3.0, 0)]), job("tracker", [(1.0, 0)], after=(0,), arrival_s=1.0)]
    assert alone_turnaround_s(jobs, [3.0, 1.0]).tolist() == [3.0, 3.0]
    assert schedule(jobs, 10).metrics(alone_turnaround_s(jobs, [3.0, 1.0]))["worst_slow_down"] == 1.0


def test_metrics_of_the_literature():
    """Two jobs alone 1 s and 2 s that take 2 s and 2.5 s: STP 0.5 + 0.8, ANTT (2 + 1.25) / 2."""
    done = schedule(
        [job(layers=[(2.0, 0)], deadline_s=1.5), job("b", [(2.5, 0)], sub_array=1, priority=2, deadline_s=3)], 10
    )
    found = done.metrics([1.0, 2.0])
    assert found == pytest.approx(
        {"stp": 1.3, "antt": 1.625, "worst_slow_down": 2, "fairness": 0.4 / 0.5, "deadline_miss_share": 0.5}
    )


# ---- time steps ----------------------------------------------------------------------------------------------


def walk(jobs, dram_gbps, links, order, step):
    """Finish of every job by small steps of time: at every step each sub-array moves on by what it is granted."""
    n = len(jobs)
    layer, left = [0] * n, [jobs[i].busy_s[0] for i in range(n)]
    finish, on, served, turn, time = [None] * n, {}, [-1] * n, 0, 0.0
    while None in finish:
        for a in range(len(links)):
            if a in on:
                continue
            ready = [
                i for i in range(n)
                if jobs[i].sub_array == a and finish[i] is None and jobs[i].arrival_s <= time + step / 2
                and all(finish[p] is not None for p in jobs[i].after)
            ]  # fmt: skip
            if ready:
                keys = {
                    "deadline": lambda i: (jobs[i].deadline_s, sum(jobs[i].busy_s[layer[i] :])),
                    "round_robin": lambda i: (served[i],),
                    "first": lambda i: (),
                }
                best = min(ready, key=lambda i: (-jobs[i].priority, *keys[order](i), jobs[i].arrival_s, i))
                on[a], served[best], turn = best, turn, turn + 1
        need = {a: jobs[i].dram_bytes[layer[i]] / jobs[i].busy_s[layer[i]] for a, i in on.items()}
        rest, shares = dram_gbps * GB, {}
        for rank, a in enumerate(sorted(need, key=need.get)):
            shares[a] = min(need[a], rest / (len(need) - rank))
            rest -= shares[a]
        time += step
        for a, i in list(on.items()):
            left[i] -= step * (shares[a] / need[a] if need[a] else 1.0)
            if left[i] < step / 4:
                del on[a]
                layer[i] += 1
                if layer[i] == len(jobs[i].busy_s):
                    finish[i] = time
                else:
                    left[i] = jobs[i].busy_s[layer[i]]
    return finish


@st.composite
def mixes(draw, most_layers=4):
    """A few jobs of whole seconds on up to three sub-arrays."""
    arrays, dram = draw(st.integers(1, 3)), draw(st.sampled_from([4.0, 10.0, 100.0]))
    jobs = []
    for i in range(draw(st.integers(1, 4))):
        layers = []
        for _ in range(draw(st.integers(1, most_layers))):
            time = draw(st.integers(1, 4))
            layers.append((float(time), time * draw(st.floats(0, 1)) * dram))
        arrival = float(draw(st.integers(0, 5)))
        jobs.append(
            job(
                str(i), layers, sub_array=draw(st.integers(0, arrays - 1)), arrival_s=arrival,
                deadline_s=draw(st.sampled_from([np.inf, arrival + 3, arrival + 8])),
                priority=draw(st.sampled_from([1.0, 2.0])),
                after=(draw(st.integers(0, i - 1)),) if i and draw(st.booleans()) else (),
            )
        )  # fmt: skip
    return jobs, dram, arrays, draw(st.sampled_from(ORDERS))


@settings(max_examples=60, deadline=None)
@given(mixes(most_layers=2))
def test_events_agree_with_small_steps_where_the_dram_is_no_limit(mix):
    """Whole seconds and bandwidth to spare: the steps are exact, and so are all choices."""
    jobs, dram, arrays, order = mix
    done = schedule(jobs, dram * 100, [dram * 100] * arrays, order)
    assert done.job_finish_s.tolist() == pytest.approx(walk(jobs, dram * 100, [dram] * arrays, order, 0.25))


@pytest.mark.parametrize("seed", range(20))
def test_events_agree_with_small_steps_under_contention(seed):
    """One job a sub-array, so that a rounding error of a step changes no choice."""
    rng = np.random.default_rng(seed)
    jobs = [
        job(
            str(a),
            [(t, t * 10 * rng.random()) for t in rng.uniform(0.5, 2, 4)],
            sub_array=a,
            arrival_s=float(rng.integers(3)),
        )
        for a in range(3)
    ]
    done = schedule(jobs, 10)
    steps = walk(jobs, 10, [10] * 3, "first", 1e-3)
    assert done.job_finish_s.tolist() == pytest.approx(steps, abs=0.02)


# ---- what must hold for any mix ------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(mixes())
def test_invariants_of_any_mix(mix):
    jobs, dram, arrays, order = mix
    done = schedule(jobs, dram, [dram] * arrays, order)
    table = done.layers()
    # Bytes are conserved, and no more than the bandwidth flows.
    moved = (done.gbps * np.diff(done.events_s)).sum()
    assert moved == pytest.approx(table["dram_bytes"].sum() / GB, rel=1e-9, abs=1e-9)
    assert (done.gbps <= dram * (1 + 1e-9)).all()
    # One layer at a time on a sub-array; layers of a job in order, after arrival and what it waits for.
    for _, group in table.groupby("sub_array"):
        group = group.sort_values(["start_s", "finish_s"])
        assert (group["start_s"].to_numpy()[1:] >= group["finish_s"].to_numpy()[:-1] * (1 - 1e-9)).all()
    for i, one in enumerate(jobs):
        rows = table[table["job"] == i]
        assert (rows["start_s"].to_numpy()[1:] >= rows["finish_s"].to_numpy()[:-1]).all()
        assert rows["start_s"].iloc[0] >= max([one.arrival_s, *(done.job_finish_s[p] for p in one.after)])
        assert ((rows["finish_s"] - rows["start_s"]).to_numpy() >= np.array(one.busy_s) * (1 - 1e-9)).all()
    assert done.makespan_s >= done.bound_s * (1 - 1e-9)
    for i in certain_misses(jobs):
        assert done.missed[i]
    # More bandwidth never hurts a job that is alone on its sub-array and waits for nothing.
    if len({one.sub_array for one in jobs}) == len(jobs) and not any(one.after for one in jobs):
        assert schedule(jobs, 2 * dram, [2 * dram] * arrays, order).makespan_s <= done.makespan_s * (1 + 1e-9)


def test_a_network_is_checked_once_not_once_a_job(monkeypatch):
    """12,000 jobs took 2.3 s of Python around the loop."""
    seen = []
    real = schedules._check_work
    monkeypatch.setattr(schedules, "_check_work", lambda *given: (seen.append(given[1]), real(*given)))
    busy, moved = [1.0, 2.0], [0.0, GB]
    done = schedule([Job("a", busy, moved, i % 4) for i in range(200)], 10)
    assert seen == [0, 1, 2, 3] and len(done.table.works) == 1
    assert done.makespan_s == 150


def test_bounds_name_what_forbids():
    jobs = [job(layers=[(1.0, 8.0)] * 2), job("b", [(3.0, 1.0)], sub_array=1, after=(0,))]
    assert makespan_bounds(jobs, 10) == {"sub_array_0": 2, "sub_array_1": 3, "dram": 1.7, "chain": 5}


# ---- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jobs", "options", "message"),
    [
        ([], {}, "no jobs"),
        ([job(after=(1,)), job("b", after=(0,))], {}, r"jobs 0 \(a\), 1 \(b\) wait for one another in a circle"),
        ([job(after=(0,))], {}, "in a circle"),
        ([job(after=(3,))], {}, "waits for job 3, but there are 1 jobs"),
        ([job(layers=[(1.0, 11.0)])], {}, "layer 0 moves 1.1e.10 bytes in 1 s, more than its link can"),
        ([job(sub_array=2)], {"links_gbps": [5, 5]}, "sub_array 2 of 2"),
        ([job(deadline_s=0.0)], {}, "is not after its arrival"),
        ([job(layers=[(-1.0, 0.0)])], {}, "not negative"),
        ([job(layers=[])], {}, "at least 1"),
        ([job()], {"order": "fastest"}, "order must be one of deadline, round_robin, first"),
        ([job()], {"links_gbps": [0]}, "positive bandwidth"),
    ],
)
def test_bad_input_is_named(jobs, options, message):
    with pytest.raises(ValueError, match=message):
        schedule(jobs, 10, **options)


def test_a_deadline_that_cannot_be_met_is_proved():
    assert certain_misses(
        [job(layers=[(2.0, 0)], deadline_s=1.0), job("b", [(1.0, 0)], after=(0,), deadline_s=3.5)]
    ) == {0: 2.0}
