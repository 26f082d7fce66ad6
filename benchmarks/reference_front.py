"""Make the front against which others are measured: ResNet-50, default space, latency against area.

Usage: python benchmarks/reference_front.py [evaluations] [seeds]

Takes the designs of the stored front as they are under the model of today, and the fronts of some searches of so many
designs; then Pareto local search over the neighbours of the union, until `ROUND` designs improve the hypervolume by
less than `LEAST_GAIN`.  Writes benchmarks/data/reference_resnet50.csv: parameters and objectives of each design.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

import dse
from dse.runs.design_log import level_texts
from dse.runs.problem_protocol import Evaluated
from dse.runs.tables import genes_of, read_table
from dse.search.exploration import fixed_scale
from dse.search.genetic_operators import keys
from dse.search.guide import Guide
from dse.search.local_search import LocalSearch
from problems import SingleDNN

REFERENCE = Path(__file__).parent / "data" / "reference_resnet50.csv"
ROUND, LEAST_GAIN = 5_000, 1e-5
FIRST_SEED = 1000
"""Other seeds than those of the searches that are measured against it."""

BATCH = 200
"""Designs of a step of the local search."""


def start(problem: SingleDNN, evaluations: int, seeds: int) -> np.ndarray:
    """Genes of the stored front and of the fronts of some searches, (n, n_var)."""
    found = [genes_of(read_table(REFERENCE), problem.space)] if REFERENCE.is_file() else []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        run = dse.explore(problem, evaluations=evaluations, seed=seed, random_twin=False)
        found.append(genes_of(run.front, problem.space))
        print(f"  seed {seed}: {len(run.front)} designs, hypervolume {run.hypervolume['nsga2']:.4f}", flush=True)
    return np.unique(np.concatenate(found), axis=0)


def searched(guide: Guide, X: np.ndarray) -> int:
    """Local search from X (n, n_var) until a round brings little; how many designs it evaluated."""
    known = set(keys(X))
    guide.learn(X, guide.problem.evaluate_designs(X))
    local, evaluated, done = LocalSearch(guide, known, BATCH, seed=0), len(X), False
    while not done:
        before = guide.scale.hypervolume(guide.F)
        for _ in range(ROUND // BATCH):
            X = local.ask(BATCH)
            if done := len(X) == 0:
                break
            rows: Evaluated = guide.problem.evaluate_designs(X)
            known.update(keys(X))
            guide.learn(X, rows)
            evaluated += len(X)
        after = guide.scale.hypervolume(guide.F)
        print(f"  {evaluated} designs: front of {len(guide.F)}, hypervolume {after:.5f}", flush=True)
        done = done or after - before < LEAST_GAIN * after
    return evaluated


def text(guide: Guide) -> str:
    """The front as CSV, least latency first."""
    problem, levels = guide.problem, level_texts(guide.problem.space)
    lines = [",".join((*problem.space.names, *problem.objective_names))]
    for i in np.argsort(guide.F[:, 0], kind="stable"):
        cells = [level[k] for level, k in zip(levels, guide.X[i].tolist(), strict=True)]
        lines.append(",".join((*cells, *map(repr, guide.F[i].tolist()))))
    return "\n".join(lines) + "\n"


def main(evaluations: int = 10_000, seeds: int = 3) -> None:
    """Make the front and write it."""
    begun, problem = time.process_time(), SingleDNN("resnet50", n_jobs=-1)
    guide = Guide(problem, fixed_scale(problem))
    evaluated = seeds * evaluations + searched(guide, start(problem, evaluations, seeds))
    REFERENCE.write_text(text(guide))
    took = (time.process_time() - begun) / 60
    print(f"{len(guide.F)} designs from {evaluated} evaluated, {took:.1f} CPU minutes: {REFERENCE}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
