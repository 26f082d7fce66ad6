"""What a run is told to have reached, in words, also where there is nothing to divide by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from standin import StandIn, StandInEvaluator, space

import dse
from dse.output.run_figures import write_figures
from dse.output.tables import front_table, verdict
from dse.search.pareto import Normalisation
from problems.base import AcceleratorProblem


@pytest.fixture(scope="module")
def run():
    return dse.explore(StandIn(small=True), evaluations=30)


@pytest.mark.parametrize(
    ("search", "random", "words"),
    [
        (0.5, 0.4, "0.4000, 20 % less."),
        (0.4, 0.5, "0.5000, 25 % more."),
        (0.5, 0.5, "0.5000, the same."),
        (0.0, 0.2, "0.2000; the search found no feasible design near the best of both."),
        (0.5, 0.0, "0.0000, 100 % less."),
        (0.0, 0.0, "0.0000, the same."),
    ],
)
def test_a_twin_that_dominated_the_search_ended_in_a_division_by_zero(run, search, random, words):
    told = verdict(replace(run, hypervolume={"nsga2": search, "random": random}))
    assert any(line.endswith(f"random search at equal budget: {words}") for line in told)
    assert any(
        "exact front" not in line for line in verdict(replace(run, hypervolume={"nsga2": 0.0, "exhaustive": 0.0}))
    )


class Fewer(StandIn):
    """Latency [s] and area [mm2], feasible where told."""

    constraint_names = ("told",)

    def __init__(self, feasible):
        super().__init__(small=True)
        self._feasible = feasible

    def constraints(self, m):
        """Infeasible but where told."""
        return (np.where(self._feasible(m), -0.5, 0.5),)


@pytest.mark.parametrize(
    "feasible",
    [lambda m: m.rows < 0, lambda m: (m.rows == 16) & (m.dram_gbps == 4), lambda m: m.area_mm2 == m.area_mm2],
)
@pytest.mark.parametrize("evaluations", [1, 2, 16])
def test_few_designs_or_none_feasible(tmp_path, feasible, evaluations):
    run = dse.explore(Fewer(feasible), evaluations=evaluations, out=tmp_path / "run")
    for each in (run, dse.load(tmp_path / "run")):
        assert verdict(each)
        assert bool(write_figures(each)) == bool(len(each.front))
        assert not len(each.front) or front_table(each)


@pytest.mark.parametrize(
    "objective",
    [
        lambda m: np.ones_like(m.latency_s),
        lambda m: np.where(m.rows > 8, 1.7e308, -1.7e308),
        lambda m: np.where(m.rows > 8, 1.7e308, 1 + m.latency_s * 1e-13),
        lambda m: m.latency_s * 1e-310,
        lambda m: -m.latency_s,
        lambda m: np.zeros_like(m.latency_s),
    ],
)
def test_objectives_of_any_size_have_a_hypervolume(objective):
    mine = type("Mine", (AcceleratorProblem,), {
        "objective_names": ("mine", "area_mm2"), "objectives": lambda self, m: (objective(m), m.area_mm2),
    })  # fmt: skip
    run = dse.explore(mine(StandInEvaluator(), space(small=True)), evaluations=40)
    assert all(0 <= value < 2 for value in run.hypervolume.values()) and len(run.front)
    assert verdict(run) and front_table(run)


def test_a_point_far_outside_a_narrow_box_overflowed():
    narrow = Normalisation.from_points(np.array([[1.0, 2.0], [np.nextafter(1.0, 2.0), 1.0]]))
    assert narrow.hypervolume(np.array([[1e300, 1e300]])) == 0.0
    wide = Normalisation.from_points(np.array([[-1.7e308, 1.0], [1.7e308, 0.0]]))
    assert wide(np.array([[0.0, 0.5]])).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3", "unsga3", "agemoea", "spea2", "ctaea"])
@pytest.mark.parametrize("names", [("latency_s",), ("latency_s", "area_mm2", "energy_j", "dram_bytes")])
def test_every_algorithm_takes_one_objective_and_four_and_tiny_budgets(algorithm, names):
    for evaluations in (1, 2, 5, 16):
        problem = type("Mine", (StandIn,), {"objective_names": names, "__doc__": "A test."})(small=True)
        assert verdict(dse.explore(problem, evaluations=evaluations, algorithm=algorithm))


def test_smsemoa_with_one_objective_ended_in_the_words_of_another_library():
    problem = type("Mine", (StandIn,), {"objective_names": ("latency_s",), "__doc__": "A test."})(small=True)
    with pytest.raises(ValueError, match="smsemoa compares hypervolumes of two objectives or more; for one give nsga2"):
        dse.explore(problem, evaluations=16, algorithm="smsemoa")
