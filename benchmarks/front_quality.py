"""How good the fronts of a search are, against the stored reference of benchmarks/reference_front.py.

Usage: python benchmarks/front_quality.py [evaluations] [seeds] [algorithm] [first seed]

ResNet-50, default space.  For `explore` as it comes and for `plain`: hypervolume over that of the best known front (the
reference and the run), on the box around it; the distance to each design of that front (the least factor by
which both objectives must shrink to reach it, less 1); the latency above it at equal area, median in each fifth of its
areas; CPU time.  The reference grew from other seeds.  Some of its designs are evaluated first: of another model it is
of no use.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from reference_front import REFERENCE

import dse
from dse.runs.tables import genes_of, read_table
from dse.search.exploration import Exploration
from dse.search.pareto import Normalisation, distances, non_dominated
from problems import SingleDNN

CHECKED = 20
"""Designs of the reference that are evaluated to see that it is of this model."""


def reference_of(problem: SingleDNN) -> np.ndarray:
    """Objectives of the reference front, (k, 2); ends where the model gives others."""
    if not REFERENCE.is_file():
        sys.exit(f"{REFERENCE} is missing; run benchmarks/reference_front.py first")
    table = read_table(REFERENCE).iloc[:: max(1, len(read_table(REFERENCE)) // CHECKED)]
    stored = table[list(problem.objective_names)].to_numpy(float)
    found = problem.evaluate_designs(genes_of(table, problem.space)).objectives
    if not np.allclose(found, stored, rtol=1e-9, atol=0):
        sys.exit(f"{REFERENCE} is of another model; run benchmarks/reference_front.py first")
    return read_table(REFERENCE)[list(problem.objective_names)].to_numpy(float)


def excess(F: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Median latency of a front F (n, 2) over that of the best (k, 2) at equal area, less 1, in fifths of its areas;
    NaN where F has no design as small."""
    F, best = F[np.argsort(F[:, 1])], best[np.argsort(best[:, 1])]
    last = np.searchsorted(F[:, 1], best[:, 1], side="right") - 1
    least = np.minimum.accumulate(F[:, 0])
    above = np.where(last >= 0, least[np.maximum(last, 0)], np.nan) / best[:, 0] - 1
    return np.array([np.nanmedian(part) if np.isfinite(part).any() else np.nan for part in np.array_split(above, 5)])


def main(evaluations: str = "10000", seeds: str = "3", algorithm: str = "nsga2", first: str = "10") -> None:
    """Run the searches and print the table."""
    problem = SingleDNN("resnet50", n_jobs=-1)
    reference = reference_of(problem)
    print(f"reference: {len(reference)} designs; {evaluations} evaluations, {algorithm}")
    print("search  seed  designs  HV/best  distance median  worst   excess in fifths, small to large   CPU")
    for plain in (False, True):
        for seed in range(int(first), int(first) + int(seeds)):
            begun = time.process_time()
            run: Exploration = dse.explore(
                problem, evaluations=int(evaluations), seed=seed, algorithm=algorithm, random_twin=False, plain=plain
            )
            took_s, F = time.process_time() - begun, run.front[list(problem.objective_names)].to_numpy(float)
            best = np.concatenate([reference, F])
            best = best[non_dominated(best)]
            scale, away = Normalisation.from_points(best), distances(F, best)
            share = scale.hypervolume(F) / scale.hypervolume(best)
            fifths = " ".join(f"{100 * x:5.1f}" for x in excess(F, best))
            print(f"{'plain' if plain else 'guided':6}  {seed:4}  {len(F):7}  {share:7.4f}  {np.median(away):15.1%}  "
                  f"{away.max():5.1%}   {fifths} %   {took_s:6.1f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
