"""Peak memory of an exhaustive sweep of a million designs.

Usage: python benchmarks/sweep_memory.py

Target: flat and under 1 GiB.  The network is one convolution (3 x 3, 64 to 64 channels, 56 x 56), so that a million
designs take minutes; memory depends on the designs, not on the network's cost.  Printed is the peak of the whole
process, interpreter and compiled code included (`resource.getrusage`), after each share of the designs.
"""

from __future__ import annotations

import resource
import sys
import time

import dse
from dse.search.exhaustive_sweep import sweep
from problems import SingleDNN

TARGET_GIB = 1.0
MARKS = (0.05, 0.25, 0.5, 1.0)


def peak_gib() -> float:
    """Most memory that this process ever held [GiB]."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def a_million_designs() -> dse.DesignSpace:
    """`small_space` with five DRAM bandwidths instead of three: 1,105,920 designs."""
    small = dse.small_space()
    variables = {v.name: v.levels for v in small.variables}
    variables |= {"dram_gbps": (2, 4, 8, 16, 32)}
    return dse.DesignSpace(variables, small.base, "million")


def main() -> None:
    """Sweep and print the peak now and then."""
    layer = dse.MacLayer("conv", "conv2d", K=64, C=64, OY=56, OX=56, FY=3, FX=3, pad_y=1, pad_x=1)
    problem = SingleDNN(dse.Network.from_layers([layer]), space=a_million_designs(), n_jobs=-1)
    marks, start = list(MARKS), time.perf_counter()
    print(f"sweep of {problem.space.size} designs; peak memory, target {TARGET_GIB} GiB")

    def progress(done: int, size: int, front: int) -> None:
        while marks and done >= marks[0] * size:
            marks.pop(0)
            elapsed_s = time.perf_counter() - start
            print(f"  {done:8d} designs   {peak_gib():.3f} GiB   front of {front:3d}   {elapsed_s:5.0f} s", flush=True)

    sweep(problem, progress=progress)
    print(f"  {'reached' if peak_gib() < TARGET_GIB else 'not reached'}")


if __name__ == "__main__":
    main()
