"""The search: exact budgets, equal bits, its twin, the whole space, limits, and continuing after every bad end."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from standin import StandIn, StandInEvaluator, UnderPower, space

import dse
from dse.hardware.space import DesignSpace
from dse.runs.design_log import VERIFIED
from dse.runs.files import RunDirectoryError
from dse.search.balanced_designs import anchors
from dse.search.exhaustive_sweep import sweep
from dse.search.genetic_operators import ALGORITHMS, keys
from dse.search.pareto import non_dominated
from dse.search.search_loop import explore, load
from problems.base import AcceleratorProblem
from problems.single import SingleDNN

TABLES = ("designs.csv", "front.csv", "random_twin.csv", "exact_front.csv", "convergence.csv", "columns.csv")


def texts(run):
    return {name: read() for name, read in run.texts.items() if name in TABLES}


def genes(table, names):
    return [tuple(row) for row in table[list(names)].itertuples(index=False)]


@pytest.fixture(scope="module")
def exact():
    """The exact front of the small space."""
    return sweep(StandIn(small=True))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("problem", [StandIn, UnderPower])
def test_every_algorithm_uses_its_budget_exactly_and_repeats_nothing(algorithm, problem):
    problem = problem()
    run = explore(problem, evaluations=333, population=30, algorithm=algorithm, seed=1)
    mapped = problem.evaluator.designs - len(anchors(problem.space))
    assert run.evaluations == len(run.designs) == mapped // (1 + (algorithm != "random")) == 333
    assert len(set(genes(run.designs, problem.space.names))) == 333
    assert run.finished and run.stopped_because == "the budget of 333 unique evaluations is used up"
    assert (run.random_twin is None) == (algorithm == "random")
    assert run.designs["index"].tolist() == list(range(333))


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3", "smsemoa", "agemoea", "spea2", "random"])
def test_same_seed_same_bits_other_seed_others(algorithm):
    arguments = {"evaluations": 200, "population": 20, "algorithm": algorithm}
    first, again = (explore(UnderPower(), seed=5, **arguments) for _ in range(2))
    assert texts(first) == texts(again)
    assert texts(explore(UnderPower(), seed=6, **arguments)) != texts(first)


def test_split_into_batches_does_not_change_a_bit():
    class TwoWorkers(StandInEvaluator):
        def __call__(self, columns):
            halves = [super(TwoWorkers, self).__call__({k: v[i::2] for k, v in columns.items()}) for i in (0, 1)]
            out = {name: np.empty(len(columns["rows"])) for name in halves[0]}
            for i in (0, 1):
                for name in out:
                    out[name][i::2] = halves[i][name]
            return out

    one, two = StandIn(), StandIn()
    two.evaluator = TwoWorkers()
    arguments = {"evaluations": 300, "population": 30}
    assert texts(explore(one, **arguments)) == texts(explore(two, **arguments))


def test_front_is_over_everything_evaluated():
    run = explore(UnderPower(), evaluations=600, population=40)
    good = run.designs[run.designs.feasible]
    expected = good.iloc[non_dominated(good[list(run.objective_names)].to_numpy(float))]
    assert sorted(run.front["index"]) == sorted(expected["index"])
    assert run.front[run.objective_names[0]].is_monotonic_increasing
    assert 0 < len(good) < 600 and len(run.front) < len(good)


def test_nsga2_beats_its_random_twin_and_nears_the_exact_front(exact):
    ratios, margins = [], []
    for seed in range(5):
        run = explore(StandIn(small=True), evaluations=260, seed=seed, exhaustive=True)  # 20 % of the space
        assert run.evaluations == len(run.random_twin) == 260
        assert run.exact_front["index"].tolist() == exact.numbers.tolist()
        ratios.append(run.hypervolume["nsga2"] / run.hypervolume["exhaustive"])
        margins.append(run.hypervolume["nsga2"] - run.hypervolume["random"])
    assert np.median(ratios) > 0.98 and min(ratios) > 0.95 and max(ratios) <= 1 + 1e-12
    assert np.median(margins) > 0


def test_twin_is_uniform_without_repeats_and_independent_of_the_algorithm():
    a = explore(StandIn(), evaluations=300, population=20, seed=2)
    b = explore(StandIn(), evaluations=300, population=50, seed=2, algorithm="spea2")
    names = list(space().names)
    assert genes(a.random_twin, names) == genes(b.random_twin, names)
    assert len(set(genes(a.random_twin, names))) == 300


def test_convergence_is_comparable_and_ends_at_the_final_value():
    run = explore(StandIn(), evaluations=400, population=40)
    for source, rows in run.convergence.groupby("source"):
        assert rows.hypervolume.is_monotonic_increasing and rows.evaluations.iloc[-1] == 400
        assert rows.hypervolume.iloc[-1] == run.hypervolume[source]
        assert rows.generation.tolist() == list(range(1, len(rows) + 1))
    assert run.convergence[run.convergence.source == "nsga2"].front_size.iloc[-1] == len(run.front)


def test_a_budget_larger_than_the_space_ends_early_and_says_so(exact):
    run = explore(StandIn(small=True), evaluations=10_000)
    assert run.evaluations == 1296 == len(run.designs) and run.finished
    assert run.stopped_because == "every one of the 1296 designs of the space was evaluated; the budget was 10000"
    assert sorted(run.front["index"]) == sorted(exact.numbers.tolist())


def test_a_budget_close_to_the_space_is_reached():
    run = explore(StandIn(small=True), evaluations=1290, random_twin=True)
    assert run.evaluations == 1290 or "no new design" in run.stopped_because
    assert run.evaluations > 1200 and len(run.random_twin) == run.evaluations


def test_sweep_equals_brute_force_and_does_not_depend_on_chunks(exact):
    problem = StandIn(small=True)
    everything = problem.evaluate_designs(problem.space.all_designs())
    keep = np.flatnonzero(everything.feasible)
    expected = keep[non_dominated(everything.objectives[keep])]
    assert sorted(exact.numbers.tolist()) == expected.tolist()
    assert exact.evaluated == 1296 and exact.feasible == len(keep) < 1296 and exact.complete
    assert sweep(problem, chunk=100).text(problem) == exact.text(problem)


@pytest.mark.parametrize("objectives", [("latency_s", "area_mm2"), ("latency_s", "energy_j", "area_mm2")])
def test_a_sweep_with_bounds_leaves_out_most_and_finds_the_same_front(objectives):
    levels = {"rows": (4, 8, 16), "cols": (4, 8, 16), "weight_buffer_kib": (4, 16, 64), "dram_gbps": (1, 4, 16)}
    network = [dse.MacLayer("a", K=64, C=32, OY=14, OX=14, FY=3, FX=3)]
    problem = SingleDNN(network, dse.DesignSpace(levels, dse.Accelerator()), objectives=objectives)
    problem = problem.with_limits({"area_mm2": 5.0})
    every = sweep(problem, each=lambda first, rows: None)
    known = problem.space.sample(10, np.random.default_rng(0))
    for found in (sweep(problem), sweep(problem, chunk=7), sweep(problem, known=known)):
        assert found.text(problem) == every.text(problem)
        assert found.evaluated == every.evaluated == 81 and found.left_out > 20 and every.left_out == 0
    assert every.feasible < 81


def test_sweep_continues_from_its_checkpoint(tmp_path, exact, monkeypatch):
    monkeypatch.setattr("dse.search.exhaustive_sweep.SAVE_EVERY_S", 0.0)
    problem, state = StandIn(small=True), tmp_path / "sweep.json"

    def stop(done, size, front):
        if done >= 700:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        sweep(problem, chunk=100, checkpoint=state, progress=stop)
    again = StandIn(small=True)
    assert sweep(again, chunk=64, checkpoint=state).text(again) == exact.text(problem)
    assert again.evaluator.designs < 800
    with pytest.raises(RunDirectoryError, match="it is of another sweep: problem StandIn there, UnderPower now"):
        sweep(UnderPower(small=True), checkpoint=state)
    state.write_text("{")
    with pytest.raises(RunDirectoryError, match=r"sweep.json is not the state of a sweep .* delete it"):
        sweep(problem, checkpoint=state)


def test_a_sweep_under_a_short_limit_comes_to_an_end(tmp_path, exact):
    """The state was written every two seconds: with less time a call began where the one before had."""
    problem, state, before = StandIn(small=True), tmp_path / "sweep.json", 0
    for _calls in range(100):
        found = sweep(problem, chunk=100, checkpoint=state, deadline=0.0)
        assert found.evaluated == min(before + 100, 1296)
        before = found.evaluated
        if found.complete:
            break
    assert found.text(problem) == exact.text(problem) and problem.evaluator.designs < 1296 + 14 * 2 * len(found.X)


def test_an_interrupted_sweep_keeps_what_it_evaluated(tmp_path, exact):
    """Ctrl-C lost up to two seconds."""
    problem, state = StandIn(small=True), tmp_path / "sweep.json"
    given = []

    def interrupt(first, rows):
        if len(given) == 5:
            raise KeyboardInterrupt
        given.append(first)

    with pytest.raises(KeyboardInterrupt):
        sweep(problem, chunk=100, checkpoint=state, each=interrupt)
    assert json.loads(state.read_bytes())["next"] == 500
    assert sweep(problem, checkpoint=state, each=lambda first, rows: given.append(first)).text(problem) == exact.text(
        problem
    )
    assert given[:6] == [0, 100, 200, 300, 400, 500]  # a part that was not handed over comes again


@pytest.mark.parametrize("changes", [{"exhaustive": True}, {"random_twin": False}])
def test_a_run_under_a_short_limit_comes_to_an_end(tmp_path, changes):
    """Replaying the log took longer than the limit: no generation was added, and no part of the sweep."""
    arguments = {"evaluations": 60, "population": 10, "seed": 1, **changes}
    runs = []
    while len(runs) < 30 and not (runs and runs[-1].finished):
        runs.append(explore(StandIn(small=True), out=tmp_path / "short", time_limit_s=1e-9, **arguments))
    run = runs[-1]
    whole = explore(StandIn(small=True), out=tmp_path / "whole", **arguments)
    assert len(runs) > 4 and run.finished
    for path in whole.directory.glob("*.csv"):
        assert (run.directory / path.name).read_bytes() == path.read_bytes(), path.name


def test_pymoo_objects_are_accepted_and_not_used_up():
    algorithm = NSGA2(pop_size=20)  # real-valued operators: rounded to levels
    runs = [explore(StandIn(), evaluations=150, algorithm=algorithm) for _ in range(2)]
    assert texts(runs[0]) == texts(runs[1]) and runs[0].evaluations == 150
    assert set(runs[0].designs.source) == {"nsga2"}
    with pytest.raises(ValueError, match="population belongs to the algorithm object"):
        explore(StandIn(), evaluations=150, population=10, algorithm=algorithm)
    used = NSGA2(pop_size=20).setup(StandIn(), seed=1)
    with pytest.raises(ValueError, match="set up already"):
        explore(StandIn(), evaluations=150, algorithm=used)


def test_problem_works_with_plain_pymoo_too():
    result = minimize(UnderPower(), NSGA2(pop_size=20), ("n_gen", 5), seed=1)
    assert isinstance(UnderPower(), Problem) and result.F.shape[1] == 3
    assert result.pop.get("latency_s").shape == (20,)  # metrics travel with the population


def test_no_feasible_design_is_said_in_words():
    class Impossible(StandIn):
        constraint_names = ("never",)

        def constraints(self, m):
            return (1.0 + m.area_mm2 / 1000,)

    run = explore(Impossible(), evaluations=100)
    assert len(run.front) == 0 and run.hypervolume == {"nsga2": 0.0, "random": 0.0}
    at = int(run.designs.constraint_never.where(run.designs.overflow == 0, np.inf).argmin())
    above = 100 * run.designs.constraint_never[at]
    assert run.notes == (
        f"no feasible design was found: the nearest, design {at} of designs.csv, exceeds never by {above:.3g} % of its "
        "limit",
    )


def test_one_objective_and_two_evaluations():
    class Fastest(StandIn):
        objective_names = ("latency_s",)

    run = explore(Fastest(), evaluations=200)
    assert len(run.front) == 1 and run.front.latency_s[0] == run.designs[run.designs.feasible].latency_s.min()
    assert explore(StandIn(), evaluations=2).evaluations == 2
    assert explore(StandIn(), evaluations=1).evaluations == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"evaluations": 0}, "evaluations must be a whole number >= 1, got 0"),
        ({"evaluations": 1.5}, "evaluations must be a whole number"),
        ({"population": 1}, "population must be a whole number >= 2"),
        ({"evaluations": 10, "population": 20}, "population 20 is larger than the budget of 10"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
        ({"time_limit_s": 0}, "time_limit_s must be a positive"),
        ({"algorithm": "moead"}, "unknown algorithm 'moead'; the known ones are nsga2, "),
        ({"algorithm": NSGA2}, "a name or a pymoo algorithm, got type"),
    ],
)
def test_bad_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        explore(StandIn(), **wrong)


def test_exhaustive_refuses_a_huge_space():
    huge = DesignSpace({f"{x}_buffer_kib": [float(64 + i) for i in range(400)] for x in ("weight", "input", "output")})
    problem = StandIn()
    problem.space = huge
    with pytest.raises(ValueError, match=r"6.4e\+07 designs, at most 20,000,000 are swept"):
        explore(problem, exhaustive=True)


def test_progress_reports_each_generation():
    seen = []
    run = explore(StandIn(), evaluations=250, population=50, progress=seen.append)
    assert [p.generation for p in seen] == [1, 2, 3, 4, 5] and [p.evaluations for p in seen] == [50, 100, 150, 200, 250]
    assert seen[-1].front_size == len(run.front) and seen[-1].budget == 250 and seen[-1].stage == "search"
    assert all(a.hypervolume <= b.hypervolume for a, b in pairwise(seen))
    assert seen[-1].random_hypervolume > 0 and seen[-1].elapsed_s > 0


def test_finished_run_is_returned_without_work(tmp_path):
    first = explore(StandIn(), evaluations=200, out=tmp_path / "run")
    again = StandIn()
    run = explore(again, evaluations=200, out=tmp_path / "run")
    assert again.evaluator.designs == VERIFIED and texts(run) == texts(first)  # the log's first ones, as a check
    assert run.stopped_because == first.stopped_because and run.hypervolume == first.hypervolume
    assert run.normalisation == first.normalisation and load(tmp_path / "run").evaluations == 200
    assert texts(explore(StandIn(), evaluations=200)) == texts(first)  # in memory: the same bits


def test_time_limit_stops_and_the_same_call_continues(tmp_path):
    whole = explore(StandIn(), evaluations=400, population=20, out=tmp_path / "whole")
    problem = StandIn(delay_s=0.02)
    run = explore(problem, evaluations=400, population=20, out=tmp_path / "run", time_limit_s=0.2)
    assert not run.finished and 20 <= run.evaluations < 400 and len(run.random_twin) == run.evaluations
    assert run.stopped_because == f"the time limit was reached after {run.evaluations} of 400 evaluations"
    assert len(run.front) > 0 and (tmp_path / "run" / "front.csv").is_file()
    run = explore(StandIn(), evaluations=400, population=20, out=tmp_path / "run")
    assert run.finished and texts(run) == texts(whole)


def test_every_bad_end_continues_to_the_same_bytes(tmp_path):
    script = Path(__file__).with_name("interrupted_runs.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    ends = {
        line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if not line.startswith("interrupted")
    }
    assert len(ends) == 16 and all(codes[-1] == "0" for codes in ends.values()), done.stdout + done.stderr
    assert sum(code == "-9" for codes in ends.values() for code in codes) >= 15, done.stdout  # really killed
    assert "3" in ends["interrupt"] and "same command continues" in done.stdout
    for name in TABLES:
        contents = {case: (tmp_path / case / name).read_bytes() for case in ends}
        assert len(set(contents.values())) == 1, name
    here = explore(StandIn(small=True), evaluations=300, population=20, seed=3, exhaustive=True)
    assert texts(here) == {name: (tmp_path / "whole" / name).read_bytes() for name in TABLES}


def test_warm_start_takes_designs_by_their_values(tmp_path):
    explore(StandIn(), evaluations=300, population=30, out=tmp_path / "old", seed=1)
    old = load(tmp_path / "old")
    levels = {v.name: [x for x in v.levels if x != 4] if v.name == "rows" else v.levels for v in space().variables}
    del levels["clock_ghz"]  # fixed at 1.0 in the new space

    class Other(AcceleratorProblem):
        objective_names = ("latency_s", "energy_j")

    problem = Other(StandInEvaluator(), DesignSpace(levels, name="other"))
    run = explore(problem, evaluations=300, population=30, out=tmp_path / "new", warm_start=tmp_path / "old")
    names = list(problem.space.names)
    known = {g for g in genes(old.designs, names) if g[0] != 4}
    first = genes(run.designs[run.designs.generation == 1], names)
    assert len(first) == 30 and set(first) <= known
    front = [g for g in dict.fromkeys(genes(old.front, names)) if g[0] != 4]
    assert first[: min(len(front), 30)] == front[:30]
    with pytest.raises(ValueError, match="write the new run to another directory"):
        explore(StandIn(), out=tmp_path / "old", warm_start=tmp_path / "old")
    with pytest.raises(RunDirectoryError, match="holds no manifest.json"):
        explore(StandIn(), warm_start=tmp_path / "nowhere")


def test_warm_start_fills_what_the_other_run_fixed(tmp_path):
    explore(StandIn(small=True), evaluations=100, population=30, out=tmp_path / "old")
    run = explore(StandIn(), evaluations=100, population=30, warm_start=tmp_path / "old", random_twin=False)
    first = run.designs[run.designs.generation == 1]
    assert (first.macs_per_pe == 1).sum() >= 20 and len(set(keys(np.array(genes(first, ["rows", "cols"]))))) > 1


@pytest.mark.parametrize("problem", ("resnet50", None, 3))
def test_what_is_no_problem_is_one_line(problem):
    with pytest.raises(ValueError, match="expected a problem such as"):
        explore(problem)
