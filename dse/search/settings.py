"""The arguments of a search: checked, and as the identity by which a run's directory is recognised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm

from dse.runs.files import hash_of
from dse.runs.identity import of_model
from dse.runs.problem_protocol import SearchProblem
from dse.search.exhaustive_sweep import LARGEST_SPACE
from dse.search.genetic_operators import ALGORITHMS
from dse.search.guide import is_bounded
from dse.search.proposers import describe_algorithm

GUIDED = "guided"
"""Entry `search` of an identity where bounds, balanced designs and local search go with the algorithm."""

SMALLEST_POPULATION, LARGEST_POPULATION = 8, 100
"""Bounds of the default population, the square root of the budget in between: as many generations as individuals.

On `small_space` that was among the best of a range of populations at budgets from 500 to 6000, over 30 seeds each."""


@dataclass(frozen=True)
class Settings:
    """Arguments of `explore` that decide a run, checked; what they mean is told there.

    `whole_space` is set when the space is not larger than the budget, `guided` where balanced designs, bounds and local
    search go with the algorithm.
    """

    evaluations: int
    population: int
    seed: int
    algorithm: str | Algorithm
    random_twin: bool
    exhaustive: bool
    whole_space: bool
    guided: bool

    @classmethod
    def checked(
        cls,
        problem: SearchProblem,
        evaluations: int,
        population: int | None,
        seed: int,
        algorithm: str | Algorithm | None,
        time_limit_s: float | None,
        random_twin: bool,
        exhaustive: bool,
        plain: bool = False,
    ) -> Settings:
        """The settings that these arguments of `explore` tell; a ValueError says what is wrong with one."""
        size = int(problem.space.size)
        _whole("evaluations", evaluations, 1)
        _whole("seed", seed, 0)
        timed = isinstance(time_limit_s, int | float | np.number) and not isinstance(time_limit_s, bool)
        if time_limit_s is not None and not (timed and time_limit_s > 0):
            raise ValueError(f"time_limit_s must be a positive number of seconds, got {time_limit_s!r}")
        if exhaustive and size > LARGEST_SPACE[is_bounded(problem)]:
            raise ValueError(
                f"exhaustive: the space has {size:.3g} designs, at most {LARGEST_SPACE[is_bounded(problem)]:,} are "
                "swept; fix some variables, or see dse certify"
            )
        algorithm = "nsga2" if algorithm is None else algorithm
        if isinstance(algorithm, str) and algorithm not in ALGORITHMS:
            raise ValueError(f"unknown algorithm {algorithm!r}; the known ones are {', '.join(ALGORITHMS)}")
        if not isinstance(algorithm, str | Algorithm):
            raise ValueError(f"algorithm must be a name or a pymoo algorithm, got {type(algorithm).__name__}")
        if algorithm == "smsemoa" and len(problem.objective_names) < 2:
            raise ValueError("smsemoa compares hypervolumes of two objectives or more; for one give nsga2")
        if isinstance(algorithm, Algorithm):
            if population is not None:
                raise ValueError("population belongs to the algorithm object; leave it out")
            if algorithm.problem is not None:
                raise ValueError("the algorithm was set up already; pass a fresh one")
            population = getattr(algorithm, "pop_size", None)
        if population is None:
            population = min(max(math.isqrt(evaluations), SMALLEST_POPULATION), LARGEST_POPULATION)
            population = min(population, max(evaluations, 2))
        _whole("population", population, 2)
        if population > evaluations > 1:
            raise ValueError(f"population {population} is larger than the budget of {evaluations} evaluations")
        whole = size <= evaluations
        twin = bool(random_twin) and not whole and algorithm != "random"
        guided = not (plain or whole or algorithm == "random")
        return cls(evaluations, population, seed, algorithm, twin, bool(exhaustive) and not whole, whole, guided)

    @property
    def source(self) -> str:
        """Name of the search in the column `source`."""
        if self.whole_space:
            return "exhaustive"
        return self.algorithm if isinstance(self.algorithm, str) else type(self.algorithm).__name__.lower()


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def identity(problem: SearchProblem, settings: Settings, first: np.ndarray | None) -> dict[str, Any]:
    """What decides the designs and numbers of a run, as JSON values; `first` are the genes of a warm start."""
    model = of_model(problem)
    settled = {
        "algorithm": describe_algorithm(settings.algorithm),
        "evaluations": settings.evaluations,
        "population": settings.population,
        "seed": settings.seed,
        "random_twin": settings.random_twin,
        "exhaustive": settings.exhaustive,
        "warm_start_sha256": None if first is None else hash_of(first.tobytes()),
    }
    if settings.guided:  # runs before this was there are plain
        settled["search"] = GUIDED
    return {"problem": model["problem"], "space": model["space"], **settled, "probes": model["probes"]}
