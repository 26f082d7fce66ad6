"""A whole search for ResNet-50 against the same run with an objective that costs nothing.

Usage: python benchmarks/search_overhead.py [evaluations] [repeats]

Target: at most 6 x at population 100.  Both runs in one process, in memory, without the random twin, one worker,
default space, in turn; CPU time, the ratio of each pair, and their median, of `explore` as it comes and of `plain`.
The free objective has no bounds, so that its search evaluates what it proposes.
"""

from __future__ import annotations

import statistics
import sys
import time

from search_floor import Free

from dse.runs.problem_protocol import SearchProblem
from dse.search.search_loop import explore
from problems import SingleDNN

TARGET = 6.0


def cpu_s(problem: SearchProblem, evaluations: int, seed: int, plain: bool) -> float:
    """CPU time of one run [s]."""
    start = time.process_time()
    explore(problem, evaluations=evaluations, population=100, seed=seed, random_twin=False, plain=plain)
    return time.process_time() - start


def main(evaluations: int = 10_000, repeats: int = 3) -> None:
    """Time pairs of runs."""
    real, free = SingleDNN("resnet50"), Free()
    for problem in (real, free):
        cpu_s(problem, 200, 0, plain=False)  # compiles, imports
    print(f"NSGA-II, population 100, {evaluations} designs; CPU time a design, target ratio {TARGET}")
    for plain in (False, True):
        ratios = []
        for seed in range(repeats):
            times = cpu_s(real, evaluations, seed, plain), cpu_s(free, evaluations, seed, plain)
            ratios.append(times[0] / times[1])
            ms = [1e3 * t / evaluations for t in times]
            print(f"  seed {seed}: ResNet-50 {ms[0]:.3f} ms, free {ms[1]:.3f} ms, ratio {ratios[-1]:.1f}", flush=True)
        ratio = statistics.median(ratios)
        name = "plain" if plain else "guided"
        print(f"  {name}: median ratio {ratio:.1f}: {'reached' if ratio <= TARGET else 'not reached'}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
