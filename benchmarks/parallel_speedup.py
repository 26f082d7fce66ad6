"""Two workers against one: a slice of an exhaustive sweep for ResNet-50.

Usage: python benchmarks/parallel_speedup.py [designs] [repeats]

Target: at least 1.8 x on a machine with two free cores.  The slice is the middle of `small_space`, evaluated as a
sweep does it, the front included, with one worker and with two in turn: wall time, the ratio of each pair, the median.
Beside it: CPU time over wall time with two workers, which stays under 2 when the machine has other work.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

import dse
from dse.search.pareto import RunningFront
from problems import SingleDNN

TARGET = 1.8


def times_s(problem: SingleDNN, designs: int) -> tuple[float, float, np.ndarray]:
    """Wall time and CPU time of the slice [s], and its front."""
    first = (problem.space.size - designs) // 2
    wall, cpu = time.perf_counter(), time.process_time()
    front = RunningFront(2)
    for start in range(first, first + designs, 1000):
        rows = problem.evaluate_designs(problem.space.all_designs(start, min(start + 1000, first + designs)))
        keep = np.flatnonzero(rows.feasible)
        front.update(rows.objectives[keep], start + keep)
    return time.perf_counter() - wall, time.process_time() - cpu, front.points


def main(designs: int = 4_000, repeats: int = 5) -> None:
    """Time pairs of slices."""
    one, two = (SingleDNN("resnet50", space=dse.small_space(), n_jobs=n) for n in (1, 2))
    for problem in (one, two):
        times_s(problem, 100)  # compiles
    print(f"{designs} designs of small_space, ResNet-50, target {TARGET} x")
    ratios = []
    for _ in range(repeats):
        (wall_1, _, front_1), (wall_2, cpu_2, front_2) = times_s(one, designs), times_s(two, designs)
        assert np.array_equal(front_1, front_2)
        ratios.append(wall_1 / wall_2)
        line = f"one worker {wall_1:.2f} s, two {wall_2:.2f} s, speed-up {ratios[-1]:.2f}"
        print(f"  {line}, cores in use {cpu_2 / wall_2:.2f}", flush=True)
    ratio = statistics.median(ratios)
    print(f"  median speed-up {ratio:.2f}: {'reached' if ratio >= TARGET else 'not reached'}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
