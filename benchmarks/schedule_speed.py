"""Schedules: time of one, how often the search finds the best one of small cases, and a search over a mix.

python benchmarks/schedule_speed.py [cases]

1. Three networks of 70 layers on four sub-arrays: engine, and the Python face around it; target 1 ms.
2. 100 seeded cases of 2 to 4 networks on up to three sub-arrays of one design: NSGA-II over places, dataflows and
   number of sub-arrays with at most 800 of up to 5,184 designs, against all of them enumerated; target 95 % found.
3. NSGA-II for a mix of three networks: time a design, and what 10,000 take; target 5 minutes on two cores.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import replace

import numpy as np

import dse
from dse.hardware.accelerator import Accelerator
from dse.hardware.space import DesignSpace
from dse.networks.layers import MacLayer, Network
from dse.simultaneous.co_runs import MixEvaluator
from dse.simultaneous.division import Division
from dse.simultaneous.schedules import Job, schedule
from problems import SimultaneousDNNs

DESIGN = Accelerator(rows=8, cols=16, macs_per_pe=2, weight_register_bytes=8, input_register_bytes=8, dram_gbps=8)
FLOWS = ("same", "weight_stationary", "output_stationary", "row_stationary")


def one_schedule() -> None:
    """Time of one schedule."""
    rng = np.random.default_rng(0)
    jobs = []
    for i in range(3):
        busy = rng.uniform(1e-5, 1e-3, 70)
        jobs.append(Job(str(i), busy, busy * rng.random(70) * 40e9, sub_array=i))
    done = schedule(jobs, 40, [40] * 4)
    start = time.perf_counter()
    for _ in range(300):
        schedule(jobs, 40, [40] * 4)
    each = (time.perf_counter() - start) / 300
    print(f"3 networks, 210 layers, 4 sub-arrays: {each * 1e3:.3f} ms a schedule (target 1 ms)")
    print(f"  {len(done.gbps)} events; makespan {done.makespan_s / done.bound_s - 1:.1%} above its bound")


def small_case(seed: int) -> tuple[float, float, int]:
    """Least makespan found, least of all, and number of designs, of one seeded case."""
    rng = np.random.default_rng(seed)
    networks = []
    for i in range(int(rng.integers(2, 5))):
        shapes = [tuple(int(v) for v in rng.choice([8, 32, 64, 128], 3)) for _ in range(rng.integers(1, 4))]
        layers = [MacLayer(f"n{i}_{j}", OX=m, C=c, K=n) for j, (m, c, n) in enumerate(shapes)]
        networks.append(Network.from_layers(layers).renamed(f"n{i}"))
    space = DesignSpace({"dram_gbps": [1, 8]}, base=DESIGN)
    problem = SimultaneousDNNs(
        networks, space=space, policies=("shared_bandwidth",), shares=(1.0,), most_sub_arrays=3, dataflows=FLOWS
    )
    budget = min(800, problem.space.size)
    run = dse.explore(problem, evaluations=budget, population=40, seed=seed, random_twin=False)
    evaluator, best = MixEvaluator(problem.mix), np.inf
    for sub_arrays in (2, 3):
        for flows in itertools.product((None, *FLOWS[1:]), repeat=sub_arrays - 1):
            division = Division((1.0,) * sub_arrays, dataflows=(None, *flows))
            places = list(itertools.product(range(sub_arrays), repeat=len(networks)))
            designs = [replace(DESIGN, dram_gbps=8)] * len(places)
            found = evaluator(designs, [division] * len(places), places)
            best = min(best, *(done.metrics["makespan_s"] for done in found))
    return run.front["makespan_s"].min(), best, problem.space.size


def mix_search(designs: int = 400) -> None:
    """Time of a search over a mix of three networks."""
    problem = SimultaneousDNNs(["resnet50", "mobilenet_v2", "ptb_lstm_medium"], n_jobs=-1)
    problem.evaluate_designs(problem.space.sample(4, np.random.default_rng(1)))
    start = time.perf_counter()
    dse.explore(problem, evaluations=designs, population=100, random_twin=False)
    each = (time.perf_counter() - start) / designs
    print(f"mix of 3 networks: {each * 1e3:.1f} ms a design, {each * 1e4:.0f} s for 10,000 (target 300 s)")


def main(cases: int = 100) -> None:
    """Run all three."""
    one_schedule()
    found = [small_case(seed) for seed in range(cases)]
    hits = sum(got <= best * (1 + 1e-9) for got, best, _ in found)
    worst = max(got / best for got, best, _ in found) - 1
    print(f"best schedule found in {hits} of {cases} small cases (target 95 %); worst {worst:.2%} above it")
    mix_search()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
