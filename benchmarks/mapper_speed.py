"""CPU time of one design: the exact best mapping of every layer of a network.

Usage: python benchmarks/mapper_speed.py [network] [designs]

Target: ResNet-50 at most 0.5 ms a design on one core.  Prints `Accelerator()` under each dataflow, then the spread over
random designs of both spaces.  Timed is what grows with the number of designs in a batch: the compiled kernel, each
design by itself, best of three.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np

import dse
from dse.costs.batches import network_totals
from dse.costs.kernel_rows import EFFORTS, design_rows, mapper_mode, network_tables, parameter_columns
from dse.hardware.dataflow import DATAFLOWS

TARGET_MS = 0.5
TECHNOLOGY = dse.Technology.at(45)


def cpu_ms(network: dse.Network, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Least CPU time of three evaluations of each design [ms], (n,)."""
    rows, options = design_rows(columns, TECHNOLOGY)
    task = (options, network_tables(network), *mapper_mode("latency", 0.0), EFFORTS["default"])
    best = np.full(len(rows), np.inf)
    for _ in range(3):
        for i in range(len(rows)):
            start = time.thread_time_ns()
            network_totals(rows[i : i + 1], *task)
            best[i] = min(best[i], (time.thread_time_ns() - start) / 1e6)
    return best


def show(name: str, times_ms: np.ndarray) -> None:
    """One line of the table."""
    p10, median, p90 = np.percentile(times_ms, (10, 50, 90))
    reached = "reached" if median <= TARGET_MS else f"{median / TARGET_MS:.1f} x the target"
    line = f"median {median:6.3f}   p10 {p10:6.3f}   p90 {p90:6.3f}   mean {times_ms.mean():6.3f}"
    print(f"  {name:40s} {line}   {reached}", flush=True)


def main(network_name: str = "resnet50", designs: str = "200") -> None:
    """Print the table."""
    network = dse.load_network(network_name)
    default = dse.Accelerator()
    cpu_ms(network, parameter_columns(default))  # compiles
    print(f"{network_name}: CPU time a design [ms], target {TARGET_MS}")
    for name in DATAFLOWS:
        show(f"Accelerator(), {name}", cpu_ms(network, parameter_columns(replace(default, dataflow=name))))
    for space in (dse.small_space(), dse.default_space()):
        X = space.sample(int(designs), np.random.default_rng(0))
        show(f"{designs} random designs, {space.name} space", cpu_ms(network, space.columns(X)))


if __name__ == "__main__":
    main(*sys.argv[1:])
