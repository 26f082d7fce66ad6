"""What the search itself costs: `explore` with a nearly free objective against bare pymoo with the same operators.

Usage: python benchmarks/search_floor.py [evaluations] [population]

Prints microseconds of CPU time for each unique design: pymoo alone (NSGA-II with its usual operators for whole
numbers, and with ours), then `explore` in memory and into a directory, without and with the random twin.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from dse.hardware.space import default_space
from dse.runs.problem_protocol import Evaluated
from dse.search.genetic_operators import make_algorithm
from dse.search.search_loop import explore
from problems.base import AcceleratorProblem

METRICS = 55


class Free(AcceleratorProblem):
    """Two objectives that cost nothing, beside as many metric columns as the real evaluator gives."""

    objective_names = ("first", "second")

    def __init__(self) -> None:
        super().__init__(lambda columns: {}, default_space())
        self._weights = np.random.default_rng(0).random((2, self.n_var))

    def evaluate_designs(self, X: np.ndarray) -> Evaluated:
        """Two random weighted distances."""
        share = X / self.xu
        F = np.stack([share @ self._weights[0], ((1 - share) ** 2) @ self._weights[1]], axis=1)
        metrics = {f"metric_{k}": F[:, 0] * (k + 1) / 3 for k in range(METRICS)}
        return Evaluated(F, np.zeros((len(X), 1)), metrics)

    def _evaluate(self, X, out, *args, **kwargs):
        rows = self.evaluate_designs(X)
        out["F"], out["G"] = rows.objectives, rows.constraints


def bare(algorithm: NSGA2, evaluations: int, population: int) -> None:
    """The loop of pymoo and nothing else."""
    algorithm.setup(Free(), termination=("n_gen", evaluations // population), seed=1)
    while algorithm.has_next():
        algorithm.next()


def stock(population: int) -> NSGA2:
    """pymoo's usual recipe for whole numbers."""
    return NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
    )


def best_of(run: Callable[[], object], n: int = 3) -> float:
    """Least CPU time of n runs [s]."""
    times = []
    for _ in range(n):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def main(evaluations: int, population: int) -> None:
    """Time every variant and print a table."""
    arguments = {"evaluations": evaluations, "population": population, "seed": 1}
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "run"
        variants = {
            "pymoo, stock operators": lambda: bare(stock(population), evaluations, population),
            "pymoo, our operators": lambda: bare(make_algorithm("nsga2", population, 2), evaluations, population),
            "explore, in memory, no twin": lambda: explore(Free(), random_twin=False, **arguments),
            "explore, in memory": lambda: explore(Free(), **arguments),
            "explore, directory, no twin": lambda: explore(
                Free(), random_twin=False, out=out, overwrite=True, progress=lambda p: None, **arguments
            ),
            "explore, directory": lambda: explore(
                Free(), out=out, overwrite=True, progress=lambda p: None, **arguments
            ),
        }
        floor = None
        print(f"{evaluations} designs, population {population}; CPU time for each design")
        for name, run in variants.items():
            cost_us = best_of(run) / evaluations * 1e6
            floor = cost_us if floor is None else floor
            print(f"  {name:30s} {cost_us:7.1f} us   {cost_us / floor:5.2f} x")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]) if len(sys.argv) == 3 else (10_000, 100))
