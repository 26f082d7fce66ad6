"""Streams of requests in their steady state, against closed forms and recursions that know no event loop."""

import heapq
import itertools
from dataclasses import replace

import numpy as np
import pytest

import dse
from dse.networks.layers import MacLayer, Network
from dse.simultaneous import steady_state as module
from dse.simultaneous.bounds import least_load, unmet_by_demand
from dse.simultaneous.co_runs import WITH_TIME, co_run, unmet_demand
from dse.simultaneous.division import Division
from dse.simultaneous.mixes import Mix, Stream
from dse.simultaneous.schedules import Job, Jobs, Work, run_checked, schedule
from dse.simultaneous.steady_state import PERCENTILES, STUDENT_T, Served, saturated_share, steady_state

GB = 1e9
TINY = Network.from_layers([MacLayer("gemm", OX=64, C=256, K=256)])
DESIGN = dse.Accelerator(rows=8, cols=16, macs_per_pe=2, weight_register_bytes=8, input_register_bytes=8, dram_gbps=8)


def streams(*given, **options):
    """A mix of streams that are given by their fps and more."""
    return Mix("m", tuple(Stream(chr(97 + i), TINY, **one) for i, one in enumerate(given)), **options)


def served(mix, works, where=None, arrays=1, dram_gbps=10.0, order="first"):
    """Streams on sub-arrays, from pairs of time [s] and GB for each layer of each."""
    made = tuple(
        Work(stream.name, np.array([t for t, _ in layers], float), np.array([gb * GB for _, gb in layers]))
        for stream, layers in zip(mix.streams, works, strict=True)
    )
    where = [0] * len(works) if where is None else where
    alone = np.array([work.total_s for work in made])
    return Served(mix, made, tuple(where), dram_gbps, np.full(arrays, dram_gbps), order, alone)


# ---- recursions on the same arrivals ---------------------------------------------------------------------------


def lindley(arrival, service):
    """Finish of every customer of one server, first come first served (Lindley 1952)."""
    finish, last = np.empty(len(arrival)), 0.0
    for i, (a, s) in enumerate(zip(arrival, service, strict=True)):
        last = finish[i] = max(a, last) + s
    return finish


@pytest.mark.parametrize("arrays", [1, 4])
@pytest.mark.parametrize("load", [0.5, 0.95])
def test_fixed_places_follow_lindley(arrays, load):
    """Several layers a job and layers of other jobs in between would not, so: first come first served."""
    rng = np.random.default_rng(arrays)
    n = 20_000
    arrival = np.cumsum(rng.exponential(1 / arrays, n))
    where = rng.integers(0, arrays, n)
    kinds = [[(0.2, 0.0), (0.5, 0.0)], [(0.1, 0.0)] * 5, [(load * 3 - 1.2, 0.0)]]
    jobs = [([t for t, _ in kind], [0.0] * len(kind)) for kind in kinds]
    which = rng.integers(0, 3, n)
    service = np.array([sum(times) for times, _ in jobs])[which]
    made = [Job(str(k), *jobs[k], int(a), float(t)) for k, a, t in zip(which, where, arrival, strict=True)]
    done = schedule(made, 10, [10] * arrays, "first")
    for a in range(arrays):
        mine = where == a
        assert done.job_finish_s[mine] == pytest.approx(lindley(arrival[mine], service[mine]), rel=1e-12)


def test_mean_latency_of_poisson_arrivals_is_that_of_the_closed_form():
    """M/D/1: waiting rho S / 2 (1 - rho).  The benchmark counts 100 seeds of 100,000 requests."""
    for load in (0.5, 0.8):
        inside = 0
        for seed in range(20):
            mix = streams({"fps": 100.0, "arrivals": "poisson"}, duration_s=200.0, seed=seed)
            found = steady_state(served(mix, [[(load / 100, 0.0)]]))
            expected = load / 100 * (1 + load / (2 * (1 - load)))
            inside += abs(found.mean_latency_s[0] - expected) <= found.interval_s[0, 0]
        assert inside >= 16  # of 20; 15 or fewer of a true 95 % has a chance of 0.3 %


def test_an_interval_of_95_percent_is_that_of_batch_means():
    mix = streams({"fps": 100.0, "arrivals": "poisson"}, duration_s=50.0)
    case = served(mix, [[(0.008, 0.0)]])
    found = steady_state(case)
    requests = mix.table(50.0)
    late = requests.arrival_s >= requests.arrival_s[0] + 0.1 * (50.0 - requests.arrival_s[0])
    latency = (lindley(requests.arrival_s, np.full(len(requests), 0.008)) - requests.arrival_s)[late]
    means = [part.mean() for part in np.array_split(latency, 20)]
    assert found.interval_s[0, 0] == pytest.approx(STUDENT_T * np.std(means, ddof=1) / np.sqrt(20), rel=1e-9)
    assert found.mean_latency_s[0] == pytest.approx(latency.mean(), rel=1e-12)
    ranks = [sorted(latency)[int(np.ceil(p / 100 * len(latency))) - 1] for p in PERCENTILES]
    assert found.latency_s[0] == pytest.approx(ranks, rel=1e-12)


# ---- the length of a mix changes nothing -----------------------------------------------------------------------


def test_metrics_do_not_depend_on_the_length_of_a_mix():
    """Requests over makespan read 43, 3.8 and 2.2 requests/s where the truth is 2, and power 379, 58 and 45 mW."""
    found = [
        co_run(streams({"fps": 10.0}, {"fps": 15.0, "phase_s": 0.01}, duration_s=d), DESIGN, bounds=False).metrics
        for d in (None, 1.0, 3.0, 10.0, 100.0)
    ]
    assert all(metrics == found[0] for metrics in found)
    assert found[0]["throughput_per_s"] == 25


@pytest.mark.parametrize("length_s", [0.1, 1, 10, 100])
def test_a_mix_at_load_0_957_reads_the_same_at_any_length(length_s):
    """Frames drift against one another over a hyperperiod of 100 s, which is run whole."""
    case, works = [{"fps": 30.0}, {"fps": 44.99, "phase_s": 0.003}], [[(0.01, 0.0)], [(0.0146, 0.0)]]
    whole, part = (steady_state(served(streams(*case, duration_s=d), works)) for d in (None, length_s))
    assert whole.settled and whole.requests.sum() == 7499
    assert part.latency_s.tobytes() == whole.latency_s.tobytes()


def test_a_window_of_a_hyperperiod_of_very_many_requests_is_said_to_be_one():
    """Throughput is exact in it; percentiles of drifting frames are those of the window."""
    case = [{"fps": 30.0}, {"fps": 44.9999}]
    found = steady_state(served(streams(*case, duration_s=50.0), [[(0.01, 0.0)], [(0.0146, 0.0)]]))
    assert not found.settled and "not settled: a window of 50 s" in found.verdict and found.requests.sum() == 3750
    assert found.served_per_s.tolist() == [30, 44.9999]


def test_percentiles_are_those_of_one_hyperperiod_by_hand():
    """3 requests of 0.2 s at 0, 1/3, 2/3 s and 2 of 0.1 s at 0, 0.5 s: the last ends at 0.8667 s."""
    found = steady_state(served(streams({"fps": 3.0}, {"fps": 2.0}), [[(0.2, 0.0)], [(0.1, 0.0)]]))
    # a: 0 to 0.2, 0.3333 to 0.5333, 0.6667 to 0.8667; b: 0.2 to 0.3, 0.5333 to 0.6333
    assert found.latency_s[0] == pytest.approx([0.2, 0.2, 0.2])
    assert found.latency_s[1] == pytest.approx([0.4 / 3, 0.3, 0.3])
    assert found.utilisation[0] == pytest.approx(0.8) and found.load.largest == pytest.approx(0.8)
    assert found.window_s[1] - found.window_s[0] == pytest.approx(1.0)


@pytest.mark.parametrize("order", ["deadline", "round_robin", "first"])
def test_settled_hyperperiods_repeat_for_ever(order):
    """Under contention and with backlogs at the cut: the next 20 hyperperiods read the same."""
    rng = np.random.default_rng(5)
    settled = 0
    for _ in range(40):
        works = [[(t, t * 9 * rng.random()) for t in rng.uniform(0.02, 0.09, 3)] for _ in range(3)]
        mix = streams({"fps": 2.0}, {"fps": 3.0, "phase_s": 0.07}, {"fps": 4.0, "phase_s": 0.2})
        case = served(mix, works, [0, 1, 0], arrays=2, order=order)
        found = steady_state(case)
        if not (found.stable and found.settled):
            continue
        settled += 1
        requests = mix.by_arrival(found.window_s[0] + 25)
        done, _ = case.run(requests)
        for k in range(20):
            begin = found.window_s[0] + k
            inside = (requests.arrival_s >= begin) & (requests.arrival_s < begin + 1)
            for s in range(3):
                latency = np.sort(done.turnaround_s[inside & (requests.stream == s)])
                assert latency[-1] == pytest.approx(found.latency_s[s, 2], rel=1e-6)
                assert latency.mean() == pytest.approx(found.mean_latency_s[s], rel=1e-6)
    assert settled >= 10


@pytest.mark.parametrize("order", ["deadline", "round_robin", "first"])
@pytest.mark.parametrize("rates", [(30.0, 30.0, 60.0), (30.0, 45.0, 30.0), (29.97, 45.0, 15.0), (59.94, 15.0)])
def test_rounding_of_times_does_not_decide_what_goes_first(order, rates):
    """Deadlines 1/60 + 1/60 and 1/30 were told apart by noise, which moved means by 13 % between hyperperiods."""
    works = [[(0.9 * share / sum(rates) / 2, 0.0)] * 2 for share in (0.8, 1.0, 1.3)[: len(rates)]]
    mix = streams(*({"fps": rate} for rate in rates))
    case = served(mix, works, order=order)
    found, seconds = steady_state(case), float(mix.hyperperiod_s)
    begin = found.window_s[0]
    requests = mix.by_arrival(begin + 43 * seconds)
    done, _ = case.run(requests)
    for k in range(40):
        inside = (requests.arrival_s >= begin + k * seconds) & (requests.arrival_s < begin + (k + 1) * seconds)
        means = [done.turnaround_s[inside & (requests.stream == s)].mean() for s in range(len(rates))]
        assert means == pytest.approx(found.mean_latency_s, rel=1e-9)


def test_a_backlog_that_repeats_is_settled_and_one_that_grows_is_not():
    tight = steady_state(served(streams({"fps": 1.0}, {"fps": 1.0, "phase_s": 0.9}), [[(0.5, 0)], [(0.5, 0)]]))
    assert tight.load.largest == 1 and tight.settled and tight.utilisation[0] == pytest.approx(1.0)
    over = steady_state(served(streams({"fps": 1.0}, {"fps": 1.0}), [[(0.5, 0)], [(0.501, 0)]]))
    assert not over.stable and np.isnan(over.latency_s).all()


# ---- laws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_littles_law_and_the_utilisation_law_from_empty_to_empty(seed):
    """Numbers in the system are counted here from arrivals and ends alone."""
    rng = np.random.default_rng(seed)
    jobs = []
    for i in range(60):
        times = rng.uniform(0.1, 1, 3)
        jobs.append(Job(str(i), times, times * 6 * GB * rng.random(3), int(rng.integers(3)), float(rng.uniform(0, 40))))
    done = schedule(jobs, 10, [10] * 3)
    times = np.concatenate([[job.arrival_s for job in jobs], done.job_finish_s])
    steps = np.concatenate([np.ones(60), -np.ones(60)])[np.argsort(times, kind="stable")]
    integral = float((np.cumsum(steps)[:-1] * np.diff(np.sort(times))).sum())
    assert done.in_system_s == pytest.approx(integral, rel=1e-9)
    assert integral == pytest.approx(done.turnaround_s.sum(), rel=1e-9)
    table = done.layers()
    for a in range(3):
        mine = table[table["sub_array"] == a]
        assert done.busy_s[a] == pytest.approx((mine["finish_s"] - mine["start_s"]).sum(), rel=1e-9)


def test_the_laws_are_checked_in_every_run(monkeypatch):
    """A loop that loses a tenth of a request's time is caught."""
    real = module.run_checked

    def wrong(*arguments, **options):
        done, found = real(*arguments, **options)
        return replace(done, job_finish_s=done.job_finish_s * 1.001), found

    monkeypatch.setattr(module, "run_checked", wrong)
    with pytest.raises(RuntimeError, match="Little's law does not hold"):
        steady_state(served(streams({"fps": 100.0, "arrivals": "poisson"}, duration_s=5.0), [[(0.001, 0.0)]]))


# ---- overload --------------------------------------------------------------------------------------------------


def test_overload_is_proved_and_said():
    """Two networks at 30 frames/s of 23.8 ms passed as "missed 0" with a loose deadline."""
    mix = streams({"fps": 30.0, "deadline_s": 100.0}, {"fps": 30.0, "deadline_s": 100.0})
    found = steady_state(served(mix, [[(0.0238333, 0)], [(0.0238333, 0)]], [1, 1], arrays=2))
    assert not found.stable and found.load.largest == pytest.approx(1.43, rel=1e-4)
    assert "sub-array 2 falls 0.43 s behind every second; at most 70 % of these rates can be served" in found.verdict
    assert found.served_per_s.sum() == pytest.approx(60 / 1.43, rel=1e-4)
    backlog = schedule([Job("a", [0.0238333], [0.0], 0, i / 60) for i in range(6000)], 10).makespan_s - 100
    assert backlog == pytest.approx(0.43 * 100, rel=1e-2)  # it does fall behind by so much
    dram = steady_state(served(streams({"fps": 2.0}, {"fps": 2.0}), [[(0.3, 2.8)], [(0.3, 2.8)]], [0, 1], arrays=2))
    assert "the DRAM falls 0.12 s behind every second; at most 89 % of these rates" in dram.verdict


def test_a_batch_with_an_endless_stream_that_overloads_is_infeasible():
    time = dse.evaluate(DESIGN, TINY).latency_s
    mix = Mix("m", (Stream("a", TINY, fps=1.5 / time), Stream("b", TINY)), duration_s=10 * time)
    found = co_run(mix, DESIGN)
    assert found.metrics["overflow"] == pytest.approx(0.5) and "falls 0.5 s behind" in str(found.load)
    calm = replace(mix, streams=(replace(mix.streams[0], fps=0.5 / time), mix.streams[1]))
    assert co_run(calm, DESIGN).metrics["overflow"] == 0 and co_run(mix, DESIGN).steady is None


def test_a_load_of_one_is_stable_only_for_periodic_arrivals():
    assert steady_state(served(streams({"fps": 4.0}), [[(0.25, 0)]])).stable
    poisson = steady_state(served(streams({"fps": 4.0, "arrivals": "poisson"}), [[(0.25, 0)]]))
    assert not poisson.stable and "a load of 1" in poisson.verdict


def test_contention_that_no_load_shows_is_measured():
    """Each sub-array and the DRAM have a load below 1, but half of the time both ask for all of the bandwidth."""
    works = [[(0.5, 4.9), (0.49, 0.0)], [(0.5, 4.9), (0.49, 0.0)]]
    mix = streams({"fps": 1.0}, {"fps": 1.0})
    case = served(mix, works, [0, 1], arrays=2)
    assert case.may_contend
    found = steady_state(case)
    assert found.load.largest < 1 and "unstable (measured)" in found.verdict
    share = saturated_share(case)
    # all at once: the saturated chip does rounds of 0.98 s on the DRAM and 0.49 s without it, or better
    ends = [schedule([Job("a", [0.5, 0.49], [4.9 * GB, 0.0], a) for a in (0, 1) for _ in range(n)], 10, order="first")
            .makespan_s for n in (200, 400)]  # fmt: skip
    assert share == pytest.approx(200 / (ends[1] - ends[0]), rel=1e-2) and share < 1
    assert found.overload == pytest.approx(1 / share - 1, rel=0.15)  # of 64 hyperperiods of two requests


def test_a_saturated_chip_that_serves_too_few_proves_nothing_where_the_backlog_does_not_grow():
    """All at once, round robin lets layers of other streams meet than those that meet when requests arrive."""
    given = {"fps": 1.0, "arrivals": "poisson"}
    mix = streams({**given, "priority": 2.0}, given, given, duration_s=6000.0)
    works = [[(0.4, 4.0)], [(0.4, 0.0)], [(0.3, 3.0), (0.3, 0.0)]]
    case = served(mix, works, [0, 0, 1], arrays=2, order="round_robin")
    assert saturated_share(case) < 0.95
    found = steady_state(case)
    done, _ = case.run(mix.by_arrival(60_000.0))  # ten times as long
    assert found.stable and done.makespan_s < 60_000 + 100
    assert found.mean_latency_s == pytest.approx([done.turnaround_s[done.table.work == s].mean() for s in range(3)],
                                                 rel=0.3)  # fmt: skip


@pytest.mark.parametrize("arrivals", ["periodic", "poisson"])
def test_priorities_that_make_an_unstable_network_of_queues_are_measured(arrivals):
    """Lu and Kumar 1991: no resource has a load above 0.67, but the first priorities exclude one another, so that both
    together are 1.2 s of work a second.  Latencies were told that grew with the window."""
    chain = [("a", None, 1.0), ("b", "a", 3.0), ("c", "b", 1.0), ("d", "c", 3.0)]
    given = [Stream(name, TINY, fps=1.0, after=after, priority=p, deadline_s=1e3) for name, after, p in chain]
    mix = Mix("m", (*given, Stream("e", TINY, fps=0.001, arrivals=arrivals)), duration_s=20_000.0)
    works = [[(t, 0.0)] for t in (0.05, 0.6, 0.05, 0.6, 20.0)]  # the last begins the backlog
    found = steady_state(served(mix, works, [0, 1, 1, 0, 0], arrays=2))
    assert found.load.largest == pytest.approx(0.67) and not found.stable
    assert "unstable (measured)" in found.verdict and "the backlog grows" in found.verdict


def test_little_work_after_a_long_time_passes_the_laws():
    """Times from 0 lose 2e-12 s at 10,000 s, which is more than 1e-9 of 20 us."""
    assert co_run(streams({"fps": 10.0, "phase_s": 1e4}, {"fps": 30.0}), DESIGN).steady.settled
    assert co_run(streams({"trace": tuple(float(t) for t in range(1000, 2000))}, {"fps": 30.0}), DESIGN).steady.stable


def test_least_load_is_that_of_the_best_fractions():
    """Two equal sub-arrays share any work evenly; a faster one takes the more."""
    rates, alike = np.array([3.0, 1.0]), np.array([[0.2, 0.2], [0.4, 0.4]])
    assert least_load(rates, alike, 0 * alike) == pytest.approx(0.5, rel=1e-6)
    uneven = np.array([[0.2, 0.4], [0.2, 0.4]])  # all on both: x on the fast, 1 - x on the slow: x = 2/3
    assert least_load(np.ones(2), uneven, 0 * uneven) == pytest.approx(0.8 / 3, rel=1e-6)
    assert least_load(np.ones(2), uneven, np.full((2, 2), 0.9)) == pytest.approx(1.8, rel=1e-6)


@pytest.mark.parametrize("seed", range(30))
def test_no_places_have_less_load_than_the_bound(seed):
    rng = np.random.default_rng(seed)
    n, arrays = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    rates, time, dram = rng.uniform(1, 9, n), rng.uniform(0.01, 0.2, (n, arrays)), rng.uniform(0, 0.03, (n, arrays))
    best = np.inf
    for code in range(arrays**n):
        where = [(code // arrays**i) % arrays for i in range(n)]
        each = np.bincount(where, rates * time[range(n), where], arrays)
        best = min(best, max(each.max(), (rates * dram[range(n), where]).sum()))
    assert least_load(rates, time, dram) <= best * (1 + 1e-12)


# ---- on a design -----------------------------------------------------------------------------------------------


def test_power_is_rates_times_energies_and_what_flows_with_time():
    mix = streams({"fps": 100.0}, {"fps": 50.0})
    found = co_run(mix, DESIGN)
    alone = dse.evaluate(DESIGN, TINY)
    batch = co_run(Mix("b", (Stream("a", TINY, count=2),)), DESIGN).metrics
    timed_j = sum(batch[f"energy_{name}_j"] for name in WITH_TIME)
    per_request, standing_w = (batch["energy_j"] - timed_j) / 2, timed_j / batch["makespan_s"]
    assert batch["energy_j"] == pytest.approx(2 * alone.energy_j)
    assert found.metrics["power_w"] == pytest.approx(150 * per_request + standing_w, rel=1e-9)
    parts = [value for name, value in found.metrics.items() if name.startswith("power_") and name != "power_w"]
    assert sum(parts) == pytest.approx(found.metrics["power_w"], rel=1e-12)
    assert found.metrics["load"] == pytest.approx(150 * alone.latency_s)
    assert found.bounds.load == pytest.approx(150 * alone.latency_s, rel=1e-6)


def test_best_places_of_streams_have_the_least_load():
    mix = streams(*({"fps": float(f)} for f in (400, 300, 200, 100)))
    division = Division((1, 1))
    found = co_run(mix, DESIGN, division, "best")
    loads = [
        co_run(mix, DESIGN, division, [int(x) for x in f"{code:04b}"], bounds=False).metrics["load"]
        for code in range(16)
    ]
    assert found.metrics["load"] == pytest.approx(min(loads)) and found.placed.schedules == 16
    assert found.bounds.load <= found.metrics["load"] * (1 + 1e-12)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (({"trace": (0.0, 1.0, 2.0)}, {"trace": (5.0, 6.0, 7.0)}), "b"),
        (({"fps": 30.0}, {"fps": 1e-9, "arrivals": "poisson"}), "b"),
        (({"fps": 30.0, "arrivals": "poisson", "phase_s": 1e6}, {"fps": 30.0}), "a"),
    ],
)
def test_a_stream_that_sends_nothing_in_the_window_is_named(given, name):
    """Its percentiles read nan."""
    with pytest.raises(ValueError, match=f"stream '{name}' sends no request in the window that is measured"):
        co_run(streams(*given), DESIGN)


def test_a_schedule_of_streams_that_begin_late_can_be_shown():
    """30 requests a second for 10,000 s are more than a chart shows; then it shows the first ones."""
    found = co_run(streams({"fps": 10.0, "phase_s": 1e4}, {"fps": 30.0}), DESIGN)
    assert 10_000 < len(found.schedule.table) <= 20_000


def test_trace_files_of_a_million_requests(tmp_path):
    path = tmp_path / "trace.txt"
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(0.01, 1_000_000))
    path.write_text("\n".join(map(repr, times.tolist())))
    mix = streams({"trace": str(path)})
    found = steady_state(served(mix, [[(0.006, 0.0)]]))
    assert found.stable and found.requests[0] > 890_000
    assert found.load.largest == pytest.approx(0.6, rel=0.01)
    expected = 0.006 * (1 + found.load.largest / (2 * (1 - found.load.largest)))
    assert found.mean_latency_s[0] == pytest.approx(expected, rel=0.01)


def test_a_burst_at_the_end_of_a_trace_is_said_and_its_latencies_are_told():
    """Whether it is a burst or too much, a trace does not tell; all its requests are served."""
    times = np.concatenate([np.arange(1000) * 1.0, 1000 + np.arange(500) * 1e-3])
    found = steady_state(served(streams({"trace": tuple(times.tolist())}), [[(0.5, 0.0)]]))
    assert found.load.largest < 1 and found.stable and not found.settled
    assert "not settled: in the second half of the window" in found.verdict
    assert found.latency_s[0, 2] == pytest.approx(500 * 0.5, rel=0.1)


def test_a_trace_may_begin_late():
    """Its warm-up and utilisation count from its first arrival, and a chart shows its first requests."""
    times = np.cumsum(np.random.default_rng(0).exponential(0.01, 5000))
    early, late = (streams({"trace": tuple((times + shift).tolist())}) for shift in (0.0, 1e6))
    a, b = (steady_state(served(mix, [[(0.006, 0.0)]])) for mix in (early, late))
    assert b.utilisation == pytest.approx(a.utilisation, rel=1e-2)
    assert b.mean_latency_s == pytest.approx(a.mean_latency_s, rel=1e-2)
    assert len(co_run(late, DESIGN).schedule.table) == 200


def test_every_design_of_a_search_sees_the_same_arrivals():
    mix = streams({"fps": 50.0, "arrivals": "poisson"}, {"fps": 20.0}, duration_s=30.0)
    assert mix.table().arrival_s.tobytes() == replace(mix).table().arrival_s.tobytes()
    longer = mix.table(60.0).arrival_s
    assert np.isin(mix.table(30.0).arrival_s, longer).all()
    assert (replace(mix, seed=1).table().arrival_s[:5] != mix.table().arrival_s[:5]).all()


# ---- deadlines -------------------------------------------------------------------------------------------------


def test_deadlines_that_demand_breaks_are_proved():
    """Each request alone is in time, both together are not."""
    mix = Mix("m", tuple(Stream(name, TINY, deadline_s=1.5 * dse.evaluate(DESIGN, TINY).latency_s) for name in "ab"))
    found = co_run(mix, DESIGN)
    (demand, *_) = unmet_demand(found)
    assert demand.requests == 2 and demand.work_s > demand.capacity_s
    assert "sub-array 1: 2 requests (a, b)" in str(demand) and "at least one is late in any order" in str(demand)
    loose = Mix("m", tuple(replace(stream, deadline_s=1.0) for stream in mix.streams))
    assert unmet_demand(co_run(loose, DESIGN)) == []


@pytest.mark.parametrize("seed", range(40))
def test_what_demand_proves_late_is_late_in_every_order(seed):
    rng = np.random.default_rng(seed)
    jobs = []
    for i in range(5):
        time, arrival = rng.uniform(0.2, 1), rng.uniform(0, 2)
        jobs.append(Job(str(i), [time], [0.0], 0, arrival, arrival + time * rng.uniform(1.1, 3)))
    proofs = unmet_by_demand(Jobs.of(jobs), 10.0)
    orders = itertools.permutations(range(5))
    late = min(
        schedule([replace(job, priority=1.0 + p) for job, p in zip(jobs, order, strict=True)], 10).missed.sum()
        for order in orders
    )
    assert late >= 1 or not proofs


def test_multi_server_queues_are_bounded_by_their_single_queue():
    """Kiefer and Wolfowitz's recursion on the same arrivals, with jobs placed where it places them."""
    rng = np.random.default_rng(1)
    arrival, service = np.cumsum(rng.exponential(0.3, 4000)), rng.uniform(0.5, 1.5, 4000)
    free, jobs, finish = [(0.0, a) for a in range(4)], [], []
    for i, (t, s) in enumerate(zip(arrival.tolist(), service.tolist(), strict=True)):
        begin, a = heapq.heappop(free)
        finish.append(max(begin, t) + s)
        jobs.append(Job(str(i), [s], [0.0], a, t))
        heapq.heappush(free, (finish[-1], a))
    assert schedule(jobs, 10, [10] * 4, "first").job_finish_s == pytest.approx(finish, rel=1e-12)


# ---- times far from 0 ------------------------------------------------------------------------------------------


def test_microseconds_are_kept_beyond_a_day():
    """A relative tolerance on absolute times merged events that were 0.1 us apart at 1e5 s."""
    begin = 1e5
    jobs = [Job("a", [1e-6], [0.0], 0, begin), Job("b", [1.05e-6], [0.0], 1, begin), Job("c", [1e-6], [0.0], 0, begin)]
    done = schedule(jobs, 10)
    assert done.turnaround_s == pytest.approx([1e-6, 1.05e-6, 2e-6], abs=3e-11)


def test_states_are_told_at_marks():
    jobs = Jobs.of([Job("a", [2.0, 2.0], [0.0, 0.0]), Job("b", [3.0], [0.0], 0, 1.0)])
    _, (so_far, first, job, left, turn) = run_checked(
        jobs, 10.0, np.array([10.0]), "first", False, np.array([1.5, 5.0])
    )
    assert first.tolist() == [0, 2, 3]
    assert dict(zip(job[:2].tolist(), left[:2].tolist(), strict=True)) == pytest.approx({0: 2.5, 1: 3.0})
    assert job[2] == 1 and left[2] == pytest.approx(2.0)
    assert so_far[:, 0].tolist() == [1.5, 5.0, 7.0] and so_far[-1, -1] == pytest.approx(4 + 6)
    assert turn.tolist()[1] == -1 or turn.tolist()[0] == -1
