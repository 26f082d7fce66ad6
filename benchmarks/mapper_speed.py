"""CPU time of one design: the exact best mapping of every layer of a network.

Usage: python benchmarks/mapper_speed.py [network] [designs]

Target: ResNet-50 at most 0.5 ms a design on one core.  Prints `Accelerator()` under each dataflow, then the median and
the spread over random designs of both spaces; the compiled kernel alone, each design timed by itself, best of three.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np

import dse
from dse.dataflow import DATAFLOWS
from dse.evaluate import BatchEvaluator
from dse.model import parameter_columns
from dse.space import DesignSpace

TARGET_MS = 0.5


def cpu_ms(evaluator: BatchEvaluator, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Least CPU time of three evaluations of each design alone [ms], (n,): the part of a batch that grows with it."""
    n = len(columns["rows"])
    best = np.full(n, np.inf)
    for _ in range(3):
        for i in range(n):
            rows = evaluator.prepare({name: values[i : i + 1] for name, values in columns.items()})
            start = time.thread_time_ns()
            evaluator.totals(*rows)
            best[i] = min(best[i], (time.thread_time_ns() - start) / 1e6)
    return best


def spread(name: str, times_ms: np.ndarray) -> None:
    """One line of the table."""
    p10, median, p90 = np.percentile(times_ms, (10, 50, 90))
    reached = "reached" if median <= TARGET_MS else f"{median / TARGET_MS:.1f} x too slow"
    print(
        f"  {name:34s} median {median:6.3f}   p10 {p10:6.3f}   p90 {p90:6.3f}   mean {times_ms.mean():6.3f}   {reached}"
    )


def main(network: str = "resnet50", designs: str = "200") -> None:
    """Print the table."""
    evaluator = BatchEvaluator(dse.load_network(network))
    default = dse.Accelerator()
    evaluator(parameter_columns(default))  # compiles
    print(f"{network}: CPU time a design [ms], target {TARGET_MS}")
    for name in DATAFLOWS:
        time_ms = cpu_ms(evaluator, parameter_columns(replace(default, dataflow=name)))[0]
        print(f"  {'Accelerator(), ' + name:34s} {time_ms:6.3f}")
    spaces: tuple[DesignSpace, ...] = (dse.small_space(), dse.default_space())
    for space in spaces:
        X = space.sample(int(designs), np.random.default_rng(0))
        spread(f"{designs} random designs, {space.name} space", cpu_ms(evaluator, space.columns(X)))


if __name__ == "__main__":
    main(*sys.argv[1:])
