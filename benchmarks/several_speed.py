"""CPU time of one design on the eight DNNs together, against one after the other.

Usage: python benchmarks/several_speed.py [designs]

Target: 10 ms a design on one core, in batches as a search evaluates them.  Equal layer shapes that networks share are
mapped once; the values are checked to have equal bits before anything is timed.  Each batch counts with the least of
five times.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import dse
from dse.costs.batches import BatchEvaluator
from dse.costs.kernel_rows import network_tables
from dse.costs.several_networks import SeveralEvaluator, joined_tables
from dse.networks import EIGHT

TARGET_MS = 10.0


BATCH = 20


def cpu_ms(evaluators: list, space: dse.DesignSpace, X: np.ndarray) -> np.ndarray:
    """CPU time of a design in each batch, the least of five evaluations [ms], (n_batches,)."""
    batches = [space.columns(X[start : start + BATCH]) for start in range(0, len(X), BATCH)]
    best = np.full(len(batches), np.inf)
    for _ in range(5):
        for i, columns in enumerate(batches):
            start = time.thread_time_ns()
            for evaluator in evaluators:
                evaluator(columns)
            best[i] = min(best[i], (time.thread_time_ns() - start) / 1e6 / len(columns["rows"]))
    return best


def main(designs: str = "100") -> None:
    """Print the table."""
    networks = [dse.load_network(name) for name in EIGHT]
    together, alone = SeveralEvaluator(networks), [BatchEvaluator(network) for network in networks]
    apart = sum(len(network_tables(network).layers) for network in networks)
    print(f"{len(networks)} networks: {apart} layer shapes, {len(joined_tables(networks).layers)} different ones")
    for space in (dse.small_space(), dse.default_space()):
        X = space.sample(int(designs), np.random.default_rng(0))
        columns = space.columns(X)
        for network, found in together(columns).items():
            own = alone[[n.name for n in networks].index(network)](columns)
            assert all(found[name].tobytes() == values.tobytes() for name, values in own.items()), network
        for label, evaluators in (("together", [together]), ("one by one", alone)):
            times_ms = cpu_ms(evaluators, space, X)
            reached = "" if label != "together" else "reached" if times_ms.mean() <= TARGET_MS else "not reached"
            print(f"  {space.name:8s} {label:10s} [ms a design]: mean {times_ms.mean():6.2f}   batches from "
                  f"{times_ms.min():6.2f} to {times_ms.max():6.2f}   {reached}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
