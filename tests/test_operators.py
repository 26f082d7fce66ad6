"""The operators keep to the levels, repeat nothing, and search at least as well as chance."""

from types import SimpleNamespace

import numpy as np
import pytest
from pymoo.core.population import Population
from standin import StandIn, space

from dse.search.genetic_operators import (
    SeenElimination,
    StepMutation,
    UniformCrossover,
    UniformSampler,
    UniqueSampling,
    binary_tournament,
    keys,
    make_algorithm,
    reference_directions,
)


def levels_problem(n_levels, is_category):
    levels = np.array(n_levels)
    return SimpleNamespace(
        n_var=len(levels),
        xl=np.zeros(len(levels)),
        xu=levels - 1.0,
        space=SimpleNamespace(is_category=np.array(is_category), n_levels=levels, canonical=lambda X: X),
    )


def test_keys_are_the_bytes_of_the_rows():
    X = np.arange(12).reshape(4, 3)
    assert keys(X) == [row.tobytes() for row in X]
    assert keys(X[:, ::-1]) == [row.tobytes() for row in np.ascontiguousarray(X[:, ::-1])]


@pytest.mark.parametrize("n_levels", [[3, 4, 2], [10**4, 10**4, 10**4]])
def test_sampler_repeats_nothing(n_levels):
    sampler = UniformSampler(np.array(n_levels), np.random.default_rng(0))
    X = np.concatenate([sampler.draw(10), sampler.draw(10), sampler.draw(10)])
    assert len(set(keys(X))) == len(X) == min(30, np.prod(n_levels))
    assert X.dtype == np.int64 and X.min() >= 0 and np.all(X < n_levels)


def test_sampler_gives_each_design_of_a_small_space_once():
    sampler = UniformSampler(np.array([3, 5]), np.random.default_rng(1))
    X = np.concatenate([sampler.draw(4) for _ in range(5)])
    assert sorted(map(tuple, X.tolist())) == [(i, j) for i in range(3) for j in range(5)]


def test_sampler_is_uniform():
    sampler = UniformSampler(np.array([4] * 20), np.random.default_rng(2))
    counts = np.array([np.bincount(column, minlength=4) for column in sampler.draw(4000).T])
    assert (np.abs(counts - 1000) < 150).all()


def test_sampling_starts_with_the_given_designs():
    problem = levels_problem([5, 5, 5], [False] * 3)
    first = np.array([[1, 2, 3], [4, 4, 4]])
    X = UniqueSampling(first)._do(problem, 100, random_state=np.random.default_rng(0))
    assert X[:2].tolist() == first.tolist() and len(set(keys(X))) == 100


def test_crossover_swaps_genes_and_invents_none():
    problem = levels_problem([100] * 8, [False] * 8)
    rng = np.random.default_rng(0)
    X = rng.integers(0, 100, (2, 50, 8))
    Y = UniformCrossover()._do(problem, X, random_state=rng)
    assert (np.sort(X, axis=0) == np.sort(Y, axis=0)).all() and Y.dtype == np.int64
    assert 0.4 < (Y[0] == X[0]).mean() < 0.6


def test_mutation_stays_in_the_levels_and_always_changes_a_design():
    problem = levels_problem([2, 3, 7, 64, 5], [False, True, False, False, True])
    rng = np.random.default_rng(0)
    X = rng.integers(0, [2, 3, 7, 64, 5], (5000, 5))
    Y = StepMutation()._do(problem, X.copy(), random_state=rng)
    assert Y.dtype == np.int64 and (Y >= 0).all() and (Y < [2, 3, 7, 64, 5]).all()
    assert (X != Y).any(axis=1).all()
    assert 1.0 <= (X != Y).sum(axis=1).mean() < 1.6


def test_mutation_steps_are_short_on_ordinals_and_uniform_on_categories():
    problem = levels_problem([101, 5], [False, True])
    rng = np.random.default_rng(0)
    X = np.tile([50, 2], (20_000, 1))
    Y = StepMutation(prob_var=1.0)._do(problem, X, random_state=rng)
    steps = np.abs(Y[:, 0] - 50)
    assert steps.min() == 1 and (steps == 1).mean() == pytest.approx(0.8, abs=0.02)
    assert (Y[:, 0] > 50).mean() == pytest.approx(0.5, abs=0.02)
    assert (np.bincount(Y[:, 1], minlength=5)[[0, 1, 3, 4]] / 20_000) == pytest.approx([0.25] * 4, abs=0.02)
    assert (Y[:, 1] != 2).all()


def test_elimination_against_itself_the_population_and_the_past():
    def pop(*rows):
        return Population.new("X", np.array(rows, dtype=np.int64))

    seen = {np.array([9, 9]).tobytes()}
    offspring = pop([1, 1], [1, 1], [2, 2], [9, 9], [3, 3])
    kept, unique, repeated = SeenElimination(seen).do(offspring, pop([2, 2]), pop(), return_indices=True)
    assert kept.get("X").tolist() == [[1, 1], [3, 3]]
    assert unique == [0, 4] and repeated == [1, 2, 3]


def test_tournament_prefers_feasible_then_dominating_then_lonely():
    pop = Population.new("X", np.zeros((5, 1)), "F", np.array([[1, 1], [2, 2], [0, 3], [0.0, 0], [0, 0]]))
    for individual, violation, crowding in zip(pop, [0, 0, 0, 1, 2], [0.1, 0.2, 0.5, 9, 9], strict=True):
        individual.CV = np.array([float(violation)])
        individual.set("crowding", crowding)
    P = np.array([[0, 1], [1, 0], [0, 2], [2, 0], [1, 3], [3, 1], [3, 4], [4, 3]])
    winners = binary_tournament(pop, P, random_state=np.random.default_rng(0))
    assert winners[:, 0].tolist() == [0, 0, 2, 2, 1, 1, 3, 3]
    ties = binary_tournament(pop, np.tile([3, 3], (10, 1)), random_state=np.random.default_rng(0))
    assert (ties == 3).all()


@pytest.mark.parametrize(
    "n_objectives,at_most,count", [(2, 100, 100), (3, 100, 91), (4, 100, 84), (3, 2, 3), (1, 9, 1)]
)
def test_reference_directions_fill_the_population(n_objectives, at_most, count):
    assert len(reference_directions(n_objectives, at_most)) == count


def test_operators_are_not_shared_between_algorithms():
    a, b = make_algorithm("nsga2", 10, 2), make_algorithm("nsga2", 10, 2)
    assert a.mating.mutation is not b.mating.mutation and a.eliminate_duplicates is not b.eliminate_duplicates


def test_initial_population_of_the_real_space_repeats_nothing():
    problem = StandIn()
    X = UniqueSampling()._do(problem, 300, random_state=np.random.default_rng(0))
    assert len(set(keys(X))) == 300
    space().validate(X)
