"""NSGA-II against the exact front: share of the exact hypervolume found with 0.5 % of the designs, over seeds.

Usage: python benchmarks/search_quality.py [seeds] [algorithm] [share in percent]

Target: median at least 0.995 and worst at least 0.98 over 30 seeds; the random twin at equal budget beside it.  The
space is `small_space` for ResNet-50.  Its numbers come from the table of `python -m experiments reference_sweep`, which
has the bits of an evaluation (a sample is checked first), so that a run takes a second.  One normalisation for all: the
box around the exact front.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import dse
from dse.runs.problem_protocol import Evaluated
from dse.search.pareto import Normalisation, non_dominated
from problems import SingleDNN

TABLE = Path("results/reference/resnet50_small_space/objectives.npz")
TARGET_MEDIAN, TARGET_WORST = 0.995, 0.98


class Tabulated(SingleDNN):
    """ResNet-50 on the small space, looked up."""

    def __init__(self, table: dict[str, np.ndarray]) -> None:
        super().__init__("resnet50", space=dse.small_space())
        self._table = table

    def evaluate_designs(self, X: np.ndarray) -> Evaluated:
        """The rows of the table."""
        number = np.ravel_multi_index(tuple(X.T), tuple(self.space.n_levels))
        return self.judge(X, {name: values[number] for name, values in self._table.items()})


def check(problem: Tabulated, designs: int = 30) -> None:
    """Stop unless the model still gives the numbers of the table."""
    X = problem.space.sample(designs, np.random.default_rng(0))
    ours, theirs = SingleDNN("resnet50", space=problem.space).evaluate_designs(X), problem.evaluate_designs(X)
    if not (
        np.array_equal(ours.objectives, theirs.objectives) and np.array_equal(ours.constraints, theirs.constraints)
    ):
        sys.exit(f"{TABLE} is of another model; run: python -m experiments reference_sweep")


def main(seeds: str = "30", algorithm: str = "nsga2", percent: str = "0.5") -> None:
    """Run the seeds and print the table."""
    if not TABLE.is_file():
        sys.exit(f"{TABLE} is missing; run: python -m experiments reference_sweep")
    problem = Tabulated(dict(np.load(TABLE)))
    check(problem)
    every = problem.judge(problem.space.all_designs(), problem._table)
    exact = every.objectives[every.feasible]
    exact = exact[non_dominated(exact)]
    scale = Normalisation.from_points(exact)
    budget = int(problem.space.size * float(percent) / 100)
    print(f"{problem.space.size} designs, exact front of {len(exact)}; {budget} evaluations, {seeds} seeds")
    shares: dict[str, list[float]] = {}
    for seed in range(int(seeds)):
        run = dse.explore(problem, evaluations=budget, seed=seed, algorithm=algorithm)
        for source, table in ((algorithm, run.front), ("random", run.random_twin)):
            F = table.loc[table["feasible"], list(problem.objective_names)].to_numpy()
            shares.setdefault(source, []).append(scale.hypervolume(F) / scale.hypervolume(exact))
    for source, values in shares.items():
        worst, p10, median, best = np.percentile(values, (0, 10, 50, 100))
        print(f"  {source:8s} median {median:.4f}   worst {worst:.4f}   p10 {p10:.4f}   best {best:.4f}")
    reached = np.median(shares[algorithm]) >= TARGET_MEDIAN and min(shares[algorithm]) >= TARGET_WORST
    print(f"  targets: median {TARGET_MEDIAN}, worst {TARGET_WORST}: {'reached' if reached else 'not reached'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
