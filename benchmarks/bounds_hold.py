"""`dse.bound_many` against the mapper on random designs: never above it; how near, and how long a design takes.

    python benchmarks/bounds_hold.py [DESIGNS] [NETWORK] [SEED]

100,000 designs of the default space on ResNet-50 by default, which takes some minutes.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import dse
from dse.costs.bounds import BoundEvaluator
from dse.costs.kernel_rows import network_tables

PART = 1000


def main(designs: int = 100_000, name: str = "resnet50", seed: int = 0) -> None:
    """Compare, and print the medians."""
    space, network, rng = dse.default_space(), dse.load_network(name), np.random.default_rng(seed)
    mapper, bounds = dse.BatchEvaluator(network, slack=None, n_jobs=-1), BoundEvaluator(network_tables(network))
    ratios, took_s = [], 0.0
    bounds(space.columns(space.sample(PART, rng)))  # compiles, and knows the arrays
    for _ in range(0, designs, PART):
        columns = space.columns(space.sample(PART, rng))
        start = time.process_time()
        bound = bounds(columns)["latency_bound_s"][:, 0]
        took_s += time.process_time() - start
        found = mapper(columns)
        ratio = (found["latency_s"] / bound)[found["overflow"] == 0]
        assert (ratio >= 1 - 1e-9).all(), "a bound is above what a mapping takes"
        ratios.append(ratio)
    every = np.concatenate(ratios)
    print(f"{len(every):,} designs that fit, {name}: no bound is above the mapper's latency")
    print(
        f"latency / bound: median {np.median(every):.3f}, 95 % {np.quantile(every, 0.95):.3f}, most {every.max():.3f}"
    )
    print(f"{took_s / max(1, designs) * 1e6:.1f} us a design, energy and area included")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*(cast(text) for cast, text in zip((int, str, int), given, strict=False)))
