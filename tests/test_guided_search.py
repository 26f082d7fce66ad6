"""What goes with the algorithm: bounds that leave designs out, balanced first designs, local search, limits, seeds."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import wilcoxon
from standin import StandIn, UnderPower, space

import dse
from dse.networks.layers import MacLayer, Network, VectorLayer
from dse.runs.files import RunDirectoryError
from dse.search.balanced_designs import anchors, balanced_designs
from dse.search.exploration import fixed_scale
from dse.search.genetic_operators import keys
from dse.search.guide import Guide, _gain_of_two
from dse.search.local_search import LocalSearch
from dse.search.pareto import Normalisation, distances, non_dominated
from dse.search.proposers import GuidedProposer, PymooProposer
from dse.search.several_seeds import explore_seeds, signed_rank_p
from problems import Codesign, GeomeanDNN, ProblemError, SingleDNN, resume

TINY = Network("tiny", (MacLayer("a", K=32, C=16, OY=14, OX=14, FY=3, FX=3, IY=16, IX=16),
                        VectorLayer("b", "Add", operations=6272, input_elements=6272, output_elements=6272),
                        MacLayer("c", K=64, C=32)))  # fmt: skip
OTHER = Network("other", (MacLayer("d", K=128, C=256, B=4),))
ARGUMENTS = {"evaluations": 240, "population": 20}
TABLES = ("designs.csv", "front.csv", "random_twin.csv", "convergence.csv")


def single(**settings):
    return SingleDNN(TINY, space=settings.pop("space", dse.small_space()), **settings)


def texts(run):
    return {name: run.texts[name]() for name in TABLES}


class Declared(SingleDNN):
    """EDP [J s] and area, declared to rise with every metric that is read."""

    objective_names = ("mine_js", "area_mm2")
    constraint_names = ("energy",)
    bounds_hold = True

    def objectives(self, m):
        return m.energy_j * m.latency_s, m.area_mm2

    def constraints(self, m):
        return (m.energy_j / 1e-4 - 1,)


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    """A run with bounds, in a directory."""
    return dse.explore(single(), out=tmp_path_factory.mktemp("guided") / "run", **ARGUMENTS)


@pytest.mark.parametrize(
    "problem",
    [
        single(),
        single(objectives=("energy_j", "edp_js", "area_delay_mm2_s", "cycles", "core_area_mm2"), space=None),
        single(mapping_slack="none"),
        GeomeanDNN([TINY, OTHER], objectives=("latency_s", "latency_s_other", "ed2p_js2", "area_mm2")),
        GeomeanDNN([TINY, OTHER], mapping="fixed"),
        Declared(TINY),
    ],
)
def test_lower_bounds_are_never_above_what_is_evaluated(problem):
    X = problem.space.sample(300, np.random.default_rng(1))
    rows, bounds = problem.evaluate_designs(X), problem.lower_bounds(X)
    fits = rows.constraints[:, 0] <= 0
    assert problem.unbounded_since == "" and fits.sum() > 50
    assert (bounds.objectives <= rows.objectives * (1 + 1e-9))[fits].all() and (bounds.objectives > 0).all()
    assert (bounds.constraints <= rows.constraints + 1e-9).all()


def test_what_is_left_out_is_no_better_than_the_front(monkeypatch):
    left: list[np.ndarray] = []
    is_dominated = LocalSearch._add, Guide.dominated
    found = {}

    def watched(self, bounds):
        out = is_dominated[1](self, bounds)
        found[id(bounds)] = out
        return out

    bounded = Guide.bounds

    def bounds(self, X):
        rows = bounded(self, X)
        left.append((X, rows))
        return rows

    monkeypatch.setattr(Guide, "dominated", watched)
    monkeypatch.setattr(Guide, "bounds", bounds)
    problem = single()
    run = dse.explore(problem, random_twin=False, **ARGUMENTS)
    X = np.concatenate([genes[found[id(rows)]] for genes, rows in left if id(rows) in found])
    assert len(X) > 100
    F = problem.evaluate_designs(np.unique(X, axis=0)).objectives
    front = run.front[list(run.objective_names)].to_numpy()
    assert (front[None] <= F[:, None] * (1 + 1e-9)).all(axis=2).any(axis=1).all()


def test_designs_shown_dominated_cost_no_budget_and_are_counted(guided):
    manifest = guided.manifest
    assert guided.evaluations == len(guided.designs) == 240 and manifest["shown_dominated"] > 240
    assert manifest["bounds"] == "latency, energy, area" and manifest["identity"]["search"] == "guided"
    assert manifest["random_twin_drawn"] == 240 > manifest["random_twin_mapped"] == len(guided.random_twin)
    twin = guided.convergence[guided.convergence.source == "random"]
    assert twin.evaluations.iloc[-1] == 240 and twin.hypervolume.iloc[-1] == guided.hypervolume["random"]


def test_the_front_of_the_twin_is_that_of_all_its_draws(guided):
    plain = dse.explore(single(), plain=True, **ARGUMENTS)
    assert len(plain.random_twin) == 240
    assert guided.hypervolume["random"] == pytest.approx(plain.hypervolume["random"], rel=1e-12)


def test_guided_search_is_better_than_plain():
    shares = []
    for seed in range(3):
        runs = [dse.explore(single(), seed=seed, plain=plain, random_twin=False, **ARGUMENTS) for plain in (0, 1)]
        shares.append(runs[0].hypervolume["nsga2"] - runs[1].hypervolume["nsga2"])
        assert len(runs[0].front) > 20  # its population
    assert min(shares) > 0


@pytest.mark.parametrize("algorithm", ["nsga2", "smsemoa", "ctaea"])
def test_same_bits_for_any_number_of_workers(algorithm):
    runs = [dse.explore(single(n_jobs=n), algorithm=algorithm, seed=3, **ARGUMENTS) for n in (1, 2)]
    assert texts(runs[0]) == texts(runs[1]) and runs[0].evaluations == 240


def test_a_stopped_guided_run_continues_to_the_same_bytes(tmp_path, guided):
    for _ in range(60):
        run = dse.explore(single(), out=tmp_path / "run", time_limit_s=1e-9, **ARGUMENTS)
        if run.finished:
            break
    assert run.finished and texts(run) == texts(guided)
    assert run.manifest["shown_dominated"] == guided.manifest["shown_dominated"]


def test_a_guided_run_whose_log_was_cut_continues_to_the_same_bytes(tmp_path, guided):
    for name in ("designs.csv", "random_twin.csv", "manifest.json", "space.toml"):
        data = (guided.directory / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2] if name.endswith(".csv") else data)
    content = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(content | {"status": "running"}))
    assert texts(dse.explore(single(), out=tmp_path, **ARGUMENTS)) == texts(guided)


def test_a_run_from_before_continues_as_a_plain_one_and_is_refused_in_a_line_otherwise(tmp_path):
    problem = SingleDNN("wide_deep", space=dse.small_space())
    whole = dse.explore(problem, evaluations=60, plain=True, out=tmp_path / "whole")
    dse.explore(problem, evaluations=60, plain=True, out=tmp_path / "run", time_limit_s=1e-9)
    assert "search" not in json.loads((tmp_path / "run" / "manifest.json").read_text())["identity"]
    with pytest.raises(RunDirectoryError, match=r"search plain there, guided now \(plain=True, --plain\)") as caught:
        dse.explore(problem, evaluations=60, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert texts(resume(tmp_path / "run")) == texts(whole)


def test_objectives_of_ones_own_run_without_bounds_and_the_manifest_says_why(tmp_path):
    own = type("Own", (SingleDNN,), {"objective_names": ("mine_s", "area_mm2"), "__doc__": "Mine.",
                                     "objectives": lambda self, m: (1 / m.latency_s, m.area_mm2)})  # fmt: skip
    run = dse.explore(own(TINY, dse.small_space()), evaluations=60, out=tmp_path / "own")
    assert run.manifest["bounds"].startswith("none: Own does not declare by bounds_hold = True")
    assert run.manifest["shown_dominated"] == 0 and len(run.random_twin) == 60
    run = dse.explore(Declared(TINY, dse.small_space()), evaluations=60, out=tmp_path / "declared")
    assert run.manifest["bounds"] == "latency, energy, area" and run.manifest["shown_dominated"] > 0
    reads = type("Reads", (SingleDNN,), {"objectives": lambda self, m: (m.latency_s + m.macs, m.area_mm2),
                                         "bounds_hold": True, "objective_names": ("a", "b")})(TINY)  # fmt: skip
    assert reads.lower_bounds(np.zeros((2, reads.n_var), int)) is None
    assert "Reads reads what has no bound (no column 'macs'" in reads.unbounded_since
    assert single(objectives=("power_w", "area_mm2")).lower_bounds(np.zeros((1, 12), int)) is None
    codesign = Codesign("mobilenet_v2")
    assert codesign.lower_bounds(np.zeros((1, codesign.n_var), int)) is None


def test_a_pymoo_object_gets_the_bounds_too(tmp_path):
    from pymoo.algorithms.moo.nsga2 import NSGA2

    run = dse.explore(single(), evaluations=100, algorithm=NSGA2(pop_size=20), out=tmp_path / "run")
    assert run.evaluations == 100 and run.manifest["shown_dominated"] > 0


# ---------------------------------------------------------------------------------------------------------------------
# The parts.


@pytest.mark.parametrize("made", [dse.default_space(), dse.small_space(), space(), space(small=True)])
def test_balanced_designs_are_of_the_space_and_different(made):
    X = balanced_designs(made, 40)
    assert len(made.validate(X)) == min(40, len(X)) > 10 and len(set(keys(X))) == len(X)
    assert np.array_equal(X[:7], balanced_designs(made, 7))
    assert len(anchors(made)) <= 32


def test_balanced_designs_are_better_than_random_ones():
    problem = SingleDNN("wide_deep")
    scale = fixed_scale(problem)
    rng = np.random.default_rng(0)
    X = [balanced_designs(problem.space, 50), problem.space.sample(50, rng)]
    F = [rows.objectives[rows.feasible] for rows in map(problem.evaluate_designs, X)]
    assert scale.hypervolume(F[0]) > scale.hypervolume(F[1])


def test_the_scale_is_that_of_space_and_network_alone(guided):
    others = [
        dse.explore(single(), evaluations=40, seed=5, plain=True),
        dse.explore(single(), evaluations=30, algorithm="random", limits={"area_mm2": 5}),
    ]
    assert all(run.normalisation == guided.normalisation == fixed_scale(single()) for run in others)


def test_distance_is_the_factor_by_which_all_objectives_must_shrink():
    reference = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0]])
    assert distances(reference, reference).tolist() == [0, 0, 0]
    assert distances(np.array([[2.0, 2.0]]), reference).tolist() == [1.0, 0.0, 1.0]
    assert distances(np.array([[1.1, 4.0], [0.5, 9.0]]), reference[:1]) == pytest.approx([0.1])
    rng = np.random.default_rng(2)
    P, R = rng.random((9, 3)) + 0.1, rng.random((5, 3)) + 0.1
    slow = [max(0.0, min(max(p[j] / r[j] for j in range(3)) for p in P) - 1) for r in R]
    assert distances(P, R) == pytest.approx(slow)
    for wrong in (np.zeros((1, 2)), np.ones((1, 3)), np.empty((0, 2))):
        with pytest.raises(ValueError, match="distances"):
            distances(wrong, reference)


def test_gain_of_two_objectives_is_that_of_any_number():
    rng = np.random.default_rng(3)
    for n in (1, 2, 7, 60):
        front = rng.random((n, 2))
        front = front[non_dominated(front)]
        front = front[np.argsort(front[:, 0])]
        points = rng.random((200, 2)) * 1.4 - 0.2
        slow = (front[None] - points[:, None]).max(axis=2).min(axis=1)
        assert np.array_equal(_gain_of_two(front, points), slow)


@pytest.mark.parametrize("objectives", [("latency_s", "area_mm2"), ("latency_s", "energy_j", "area_mm2")])
def test_dominated_is_what_a_design_of_the_front_is_as_good_as(objectives):
    problem = single(objectives=objectives)
    guide = Guide(problem, fixed_scale(problem))
    X = problem.space.sample(200, np.random.default_rng(0))
    assert not guide.dominated(guide.bounds(X)).any()
    guide.learn(X[:50], problem.evaluate_designs(X[:50]))
    guide.learn(X[50:90], problem.evaluate_designs(X[50:90]))
    every = problem.evaluate_designs(X[:90])
    assert sorted(map(tuple, guide.F)) == sorted(map(tuple, every.objectives[non_dominated(every.objectives)]))
    assert np.array_equal(problem.evaluate_designs(guide.X).objectives, guide.F)
    assert guide.above == pytest.approx(guide.F / problem.lower_bounds(guide.X).objectives)
    bounds = problem.lower_bounds(X)
    slow = [any((f <= b).all() for f in guide.F) for b in bounds.objectives]
    assert guide.dominated(bounds).tolist() == slow and 0 < sum(slow) < 200


def test_local_search_proposes_each_neighbour_once_and_then_two_moves():
    problem = StandIn(small=True)
    guide = Guide(problem, fixed_scale(problem))
    x = np.array([[1, 1, 0, 2, 2, 0]])
    guide.learn(x, problem.evaluate_designs(x))
    known = set(keys(x))
    local = LocalSearch(guide, known, 4, 0)
    seen = np.concatenate([local.ask(100) for _ in range(3)])[:10]
    expected = {tuple(row) for row in local._neighbours(x[0])}
    assert len(expected) == 10 and {tuple(row) for row in seen} == expected
    further = local.ask(100)
    assert len(further) and ((further != x).sum(axis=1) <= 2).all()


def test_banks_that_only_cost_are_never_drawn():
    for slack in ("none", 0.01):
        problem = SingleDNN(TINY, mapping_slack=slack)
        X = problem.space.sample(200, np.random.default_rng(0))
        Y = problem.no_worse(X)
        assert (X != Y).any(axis=0).sum() == 3
        ratio = problem.evaluate_designs(Y).objectives / problem.evaluate_designs(X).objectives
        assert (ratio[:, 1] <= 1).all() and (ratio[:, 0] <= (1 if slack == "none" else 1.01)).all()
    run = dse.explore(SingleDNN(TINY), evaluations=120, random_twin=False)
    assert (run.designs[[f"{x}_buffer_banks" for x in ("weight", "input", "output")]] == 1).all(axis=None)
    accesses = dse.DesignSpace({"rows": [4, 8], "weight_buffer_banks": [1, 4]}, dse.Accelerator(port_model="accesses"))
    for keeps in (
        SingleDNN(TINY, accesses), SingleDNN(TINY, objectives=("energy_j", "area_mm2")), Declared(TINY),
        SingleDNN(TINY).with_limits({"energy_j": 1}), SingleDNN(TINY, mapping_objective="energy"),
    ):  # fmt: skip
        X = keeps.space.sample(4, np.random.default_rng(0))
        assert np.array_equal(keeps.no_worse(X), X)


def test_random_designs_that_become_one_are_evaluated_once():
    levels = {"rows": [4, 8, 16], "cols": [4, 8, 16], "weight_buffer_banks": [1, 2, 4, 8]}
    problem = SingleDNN(TINY, dse.DesignSpace(levels, dse.Accelerator()))
    guide = Guide(problem, fixed_scale(problem))
    X = GuidedProposer(PymooProposer("nsga2", problem, 20, 0, 100, guide=guide), guide, 100, 20, 0)._others(20)
    assert len(X) == len(np.unique(X, axis=0)) == 9


# ---------------------------------------------------------------------------------------------------------------------
# Limits.


def test_limits_are_constraints_and_resume_keeps_them(tmp_path):
    problem = SingleDNN("wide_deep", dse.small_space())
    caps = {"area_mm2": 20.0, "energy_j": 1.0, "edp_js": 1.0}
    dse.explore(problem, evaluations=80, limits=caps, out=tmp_path / "run", time_limit_s=1e-9)
    run = resume(tmp_path / "run")
    good = run.designs[run.designs.feasible]
    assert run.finished and 0 < len(good) and (good.area_mm2 <= 20).all()
    assert np.allclose(run.designs.constraint_area_mm2_limit, run.designs.area_mm2 / 20 - 1, rtol=1e-12)
    assert run.manifest["identity"]["problem"]["limits"] == caps
    assert resume(tmp_path / "run", limits=caps).finished
    with pytest.raises(RunDirectoryError, match=r"limits area_mm2 20.0.* there, area_mm2 19.0"):
        resume(tmp_path / "run", limits={"area_mm2": 19})
    with pytest.raises(RunDirectoryError, match="holds another run: constraints"):
        dse.explore(problem, evaluations=80, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"latency": 1}, "unknown metric 'latency'; the nearest is 'latency_s'"),
        ({"aera_mm2": 1}, "unknown metric 'aera_mm2'; the nearest is 'area_mm2'"),
        ({"area_mm2": 0}, "the limit of area_mm2 must be above 0, got 0"),
        ({"area_mm2": "5"}, "the limit of area_mm2 must be a number, got '5'"),
        (["area_mm2"], "limits: give numbers by name of a metric"),
    ],
)
def test_bad_limits_are_refused_in_a_line(limits, message):
    with pytest.raises(ProblemError, match=re.escape(message)):
        dse.explore(single(), evaluations=20, limits=limits)


def test_limits_nobody_keeps_to_name_the_cap_and_the_nearest_design():
    run = dse.explore(single(), evaluations=60, limits={"area_mm2": 1e-3, "latency_s": 1.0})
    at = int(run.designs.area_mm2.argmin())
    above = 100 * (run.designs.area_mm2[at] / 1e-3 - 1)
    assert run.notes == (
        f"no feasible design was found: the nearest, design {at} of designs.csv, exceeds area_mm2 by {above:.3g} % of "
        "its limit",
    )


def test_limits_go_with_objectives_and_constraints_of_ones_own():
    problem = UnderPower().with_limits({"edp_js": 0.01}).with_limits({"area_mm2": 50})
    assert (
        problem.constraint_labels == ("fits", "power", "edp_js_limit", "area_mm2_limit") and problem.n_ieq_constr == 4
    )
    X = problem.space.sample(20, np.random.default_rng(0))
    rows = problem.evaluate_designs(X)
    assert np.allclose(rows.constraints[:, 2], rows.objectives[:, 0] / 0.01 - 1)
    assert np.array_equal(rows.constraints[:, :2], UnderPower().evaluate_designs(X).constraints)
    assert UnderPower().limits == {} == UnderPower.with_limits(UnderPower(), {}).limits


# ---------------------------------------------------------------------------------------------------------------------
# Several seeds.


@pytest.mark.parametrize("differences", [[1.0, 2, 3, 4], [1.0, -2, 3, 4, 5, -0.5], [-3.0, -1, -2], [5.0, 0.0, -1]])
def test_signed_rank_test_is_that_of_scipy(differences):
    kept = [d for d in differences if d]
    expected = wilcoxon(kept, method="exact").pvalue
    assert signed_rank_p(np.array(differences)) == pytest.approx(expected)


def test_signed_rank_test_with_ties_counts_every_sign():
    values = np.array([1.0, 1.0, -1.0, 2.0])
    ranks = np.array([2.0, 2.0, 2.0, 4.0])
    sums = [ranks[[bool(k >> i & 1) for i in range(4)]].sum() for k in range(16)]
    least = min(ranks[values > 0].sum(), ranks[values < 0].sum())
    assert signed_rank_p(values) == pytest.approx(2 * np.mean([s <= least for s in sums]))
    assert signed_rank_p(np.zeros(3)) == 1.0


def test_several_seeds_leave_a_run_each_and_a_band(tmp_path):
    found = explore_seeds(StandIn(), 3, seed=4, evaluations=80, out=tmp_path / "s")
    assert found.seeds == (4, 5, 6) and [run.directory.name for run in found.runs] == ["seed_4", "seed_5", "seed_6"]
    alone = dse.explore(StandIn(), seed=5, evaluations=80)
    assert found.runs[1].texts["designs.csv"]() == alone.texts["designs.csv"]()
    band = found.bands()["nsga2"]
    assert band[-1].tolist() == [80, *np.percentile(found.hypervolumes(), (10, 50, 90)).tolist()]
    assert (np.diff(band[:, 1:], axis=0) >= 0).all() and 0 < found.p_value() <= 1
    table = (tmp_path / "s" / "seeds.csv").read_text().split("\n")
    assert table[0] == "seed,evaluations,hypervolume_nsga2,hypervolume_random" and len(table) == 5
    again = {path.name: path.read_bytes() for path in (tmp_path / "s").glob("*.csv")}
    problem = StandIn()
    explore_seeds(problem, 3, seed=4, evaluations=80, out=tmp_path / "s")
    assert problem.evaluator.designs < 80
    assert again == {path.name: path.read_bytes() for path in (tmp_path / "s").glob("*.csv")}
    with pytest.raises(ValueError, match="seeds must be a whole number >= 2, got 1"):
        explore_seeds(StandIn(), 1)


def test_a_normalisation_of_another_run_scales_points_outside():
    scale = replace(Normalisation.from_points(np.array([[1.0, 2.0], [2.0, 1.0]])), log=(False, False))
    assert scale.hypervolume(np.array([[0.5, 0.5]])) > 1
