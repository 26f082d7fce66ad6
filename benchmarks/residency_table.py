"""What stays on chip, in figures: order of the file, loss of the quick choice, capacity, first come, speed.

Usage: python benchmarks/residency_table.py [part] [count] [seed]

Without a part, all of them.

- **order**: cycles, energy and bound of every network that ships in so many random orders of its layers, and of 1,000
  random graphs; they have to be equal to the bit.
- **loss**: latency with the choice that searches use, over the proven choice, on random design-network pairs.
- **programme**: the dynamic programme against `scipy.optimize.milp` on cost tables of random design-network pairs.
- **capacity**: buffers doubled or the residency share raised, one at a time, on random designs and small random graphs,
  with the complete mapper and no slack: how many steps got slower.
- **steps**: the same steps with the default mapper, on random designs and on those of a front, for the choice of
  searches, for the best set and with nothing kept.
- **first come**: the best set against first come, first served in the order in which layers run, same model.
  With it the CPU time of a design with a store, and of the same keeping nothing.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import dse
from dse.costs import kernels as k
from dse.costs.kernel_rows import EFFORTS, design_rows, network_tables, parameter_columns
from dse.costs.residency.choice import MOST_STATES, Store, choose
from dse.costs.residency.keeper import Keeper, with_weights
from dse.networks import NETWORKS
from problems import SingleDNN

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from residency_routes import programme_optimum, random_network, shuffled

TECHNOLOGY = dse.Technology()
LEVELS = {
    "rows": (16, 32, 64),
    "cols": (16, 32, 64),
    "dataflow": ("weight_stationary", "output_stationary"),
    "weight_buffer_kib": (32, 128, 512, 2048),
    "input_buffer_kib": (32, 64, 128, 256, 512, 1024, 2048),
    "resident_activation_fraction": (0.5, 0.75),
    "dram_gbps": (2, 8, 32),
}
"""Designs, 4 lanes each: what may stay is 16 to 1,536 KiB."""
MILP_SECONDS = 10.0
STORED = dse.Accelerator(input_buffer_kib=512, resident_activation_fraction=0.5, dram_gbps=4)
SMALL = dse.Accelerator(
    rows=4, cols=4, macs_per_pe=2, weight_register_bytes=8, input_register_bytes=8, output_register_bytes=16,
    weight_buffer_kib=0.25, input_buffer_kib=0.5, output_buffer_kib=0.25, dram_gbps=1,
    resident_activation_fraction=0.5,
)  # fmt: skip


def random_design(rng: random.Random) -> dse.Accelerator:
    """A design of `LEVELS`."""
    return dse.Accelerator(macs_per_pe=4).with_parameters({name: rng.choice(levels) for name, levels in LEVELS.items()})


def keeper_of(
    design: dse.Accelerator, tables, effort: str = "default", sure: bool = False
) -> tuple[Keeper, np.ndarray]:
    """A keeper for one design, and its row."""
    rows, options = design_rows(parameter_columns(design), TECHNOLOGY)
    return Keeper(tables, options, k.LATENCY, 0.0, EFFORTS[effort], sure), rows[0]


def cycles_of(design: dse.Accelerator, tables, effort: str = "default", sure: bool = False) -> float:
    """Cycles with what a choice keeps."""
    keeper, row = keeper_of(design, tables, effort, sure)
    return float(keeper.cost(row, np.empty(0)).totals[0, k.CYCLES])


def order(count: int, seed: int) -> None:
    """Print the spread over random orders."""
    for name in NETWORKS:
        network, rng = dse.load_network(name), random.Random(seed)
        found = {told(STORED, graph) for graph in [network, *(shuffled(network, rng) for _ in range(count))]}
        print(f"  order: {name:24s} {count} orders, {len(found)} result", flush=True)
    several = 0
    for own in range(1000 * seed, 1000 * seed + 1000):
        network = random_network(random.Random(own), 14)
        several += told(SMALL, network) != told(SMALL, shuffled(network, random.Random(own)))
    print(f"  order: 1,000 random graphs, {several} with more than one result", flush=True)


def told(design: dse.Accelerator, network: dse.Network) -> tuple[float, ...]:
    """Cycles, energy and bounds."""
    done = dse.evaluate(design, network, technology=TECHNOLOGY)
    return done.cycles, done.energy_j, done.latency_bound_s, done.energy_bound_j


def loss(pairs: int, seed: int) -> None:
    """Print what the choice of searches loses."""
    rng, tables = random.Random(seed), {name: network_tables(dse.load_network(name)) for name in NETWORKS}
    over = []
    for i in range(pairs):
        design, own = random_design(rng), tables[list(tables)[i % len(tables)]]
        over.append(100 * (cycles_of(design, own) / cycles_of(design, own, sure=True) - 1))
    worst = list(tables)[int(np.argmax(over)) % len(tables)]
    print(f"  loss [%]: {pairs} pairs, mean {np.mean(over):.3f}, worst {np.max(over):.2f} ({worst})", flush=True)


def programme(pairs: int, seed: int) -> None:
    """Print whether an integer programme finds anything better on the same cost tables."""
    rng, tables = random.Random(seed), {name: network_tables(dse.load_network(name)) for name in NETWORKS}
    names, solved, better = list(tables), 0, 0
    for i in range(pairs):
        keeper, row = keeper_of(random_design(rng), tables[names[i % len(names)]], sure=True)
        found, span, n = keeper.cost(row, np.empty(0)), keeper.spans[0], len(keeper.networks.steps)
        bits, first, second = np.zeros(n, dtype=np.int64), *np.zeros((2, *found.cases.slots.shape))
        k.weights_bits(row, keeper.networks, 0, n, bits)
        lifetimes, lines = span.lifetimes._replace(base=bits), np.zeros((n, 2, 10))
        k.vector_lines(row, keeper.networks, 0, n, lines, keeper.scratch.kernel.out)
        wanted = with_weights(span.wanted, lifetimes)
        k.expected_costs(row, keeper.networks, wanted, True, k.LATENCY, found.cases, first, second)
        first = np.maximum.accumulate(first, axis=2)  # the programme may take less room than there is
        store = Store(row[k.STORE_BYTES], row[k.ACTIVATION_BYTES], found.cases.rooms, 0.0, k.LATENCY)
        best, _, exact = choose(
            lifetimes, store, first, second, lines, keeper.scratch.states, MOST_STATES, np.inf, np.inf,
            found.plan.kept, found.plan.variants, found.plan.rooms, found.plan.fill,
        )  # fmt: skip
        optimum = programme_optimum(lifetimes, store, first, lines, MILP_SECONDS)
        solved += optimum is not None
        better += optimum is not None and best > optimum * (1 + 1e-6)
        if optimum is None or best > optimum * (1 + 1e-6):
            print(f"    {names[i % len(names)]}: {best:.6g}, programme {optimum}, exact {exact}", flush=True)
    print(f"  programme: {pairs} pairs, {solved} solved in {MILP_SECONDS} s each, {better} of them better", flush=True)


def capacity(steps: int, seed: int) -> None:
    """Print how many steps to more capacity or a larger share got slower."""
    rng, slower, worst, done = random.Random(seed), 0, 0.0, 0
    while done < steps:
        network = network_tables(random_network(rng, 8))
        design = SMALL.with_parameters({"dram_gbps": rng.choice((0.5, 1, 4)), "rows": rng.choice((2, 4))})
        before = cycles_of(design, network, "complete")
        for name in ("input_buffer_kib", "weight_buffer_kib", "output_buffer_kib", "resident_activation_fraction"):
            share = name == "resident_activation_fraction"
            more = replace(design, **{name: 0.75 if share else 2 * getattr(design, name)})
            rise = cycles_of(more, network, "complete") / before - 1
            slower, worst, done = slower + (rise > 1e-12), max(worst, rise), done + 1
    print(f"  capacity: {done} steps, {slower} slower, by at most {100 * worst:.2f} %", flush=True)


def larger(design: dse.Accelerator) -> list[dse.Accelerator]:
    """The design with one buffer twice as large, or with the larger share that may stay."""
    buffers = ("input_buffer_kib", "weight_buffer_kib", "output_buffer_kib")
    more = [replace(design, **{name: 2 * getattr(design, name)}) for name in buffers]
    if design.resident_activation_fraction < 0.75:
        more.append(replace(design, resident_activation_fraction=0.75))
    return more


def front(network: dse.Network, seed: int) -> list[dse.Accelerator]:
    """Designs of a front for latency and area in the space of `LEVELS`."""
    space = dse.DesignSpace({name: list(levels) for name, levels in LEVELS.items()}, dse.Accelerator(macs_per_pe=4))
    run = dse.explore(SingleDNN(network, space=space), evaluations=600, seed=seed, random_twin=False)
    return [space.base.with_parameters({name: row[name] for name in LEVELS}) for _, row in run.front.iterrows()]


def steps(designs: int, seed: int) -> None:
    """Print how many steps to more capacity or a larger share got slower with the default mapper, and by how much."""
    for name in ("resnet50", "inception_v3", "nasnet_a_large", "mobilenet_v2", "efficientnet_b0"):
        network, rng = dse.load_network(name), random.Random(seed)
        tables = network_tables(network)
        looked_at = {"random": [random_design(rng) for _ in range(designs)], "front": front(network, seed)}
        for kind, own in looked_at.items():
            for what, count in {"none": len(own), "quick": len(own), "best": len(own) // 6}.items():
                rises = np.array([rise for design in own[:count] for rise in rises_of(design, tables, what)])
                slow = rises[rises > 1e-7]
                told = f"{len(rises)} steps, {100 * len(slow) / max(1, len(rises)):.2f} % slower"
                print(f"  steps: {name:16s} {kind:6s} {what:5s} {told}, worst {max([0, *slow]):.3f} %", flush=True)


def rises_of(design: dse.Accelerator, tables, what: str) -> list[float]:
    """How much longer a network takes on each of the `larger` designs [%]."""
    cycles = []
    for one in (design, *larger(design)):
        keeper, row = keeper_of(one, tables, sure=what == "best")
        cycles.append(float(keeper.cost(row, np.empty(0), what).totals[0, k.CYCLES]))
    return [100 * (after / cycles[0] - 1) for after in cycles[1:]]


def first_come(keeper: Keeper, row: np.ndarray, tables) -> np.ndarray:
    """Activations that stay where each that fits does, in the order in which they are written."""
    fill, kept = np.zeros(len(tables.steps)), np.zeros(len(tables.tensors), dtype=bool)
    for tensor in np.argsort(tables.tensors[:, k.TENSOR_FIRST], kind="stable"):
        elements, first, last = tables.tensors[tensor]
        size, steps = elements * row[k.ACTIVATION_BYTES], slice(int(first), int(last) + 1)
        if 0 <= first < last and (fill[steps] + size <= row[k.STORE_BYTES]).all():
            kept[tensor], fill[steps] = True, fill[steps] + size
    return kept


def against_first_come(designs: int, seed: int) -> None:
    """Print what the best set saves, and the time it takes."""
    for name in ("inception_v3", "nasnet_a_large", "resnet50"):
        rng, tables = random.Random(seed), network_tables(dse.load_network(name))
        saved, times = [], {"best": [], "none": []}
        for _ in range(designs):
            keeper, row = keeper_of(random_design(rng), tables)
            found = keeper.cost(row, np.empty(0))
            served = keeper.given(row, found, first_come(keeper, row, tables)).totals[0, k.CYCLES]
            saved.append(100 * (found.totals[0, k.CYCLES] / served - 1))
            for keep, own in times.items():
                start = time.thread_time()
                keeper.cost(row, np.empty(0), keep)
                own.append(1e3 * (time.thread_time() - start))
        best, median, worst = min(saved), np.median(saved), max(saved)
        print(f"  first come [%]: {name:16s} best {best:.1f}, median {median:.2f}, worst {worst:.2f}", flush=True)
        print(f"  CPU [ms]: {np.mean(times['best']):.2f}, keeping nothing {np.mean(times['none']):.2f}", flush=True)


PARTS = {
    "order": (order, 20),
    "loss": (loss, 200),
    "programme": (programme, 200),
    "capacity": (capacity, 2000),
    "steps": (steps, 200),
    "first_come": (against_first_come, 200),
}
"""Each part of the table, and how many of what it looks at."""


def main(part: str = "", count: str = "", seed: str = "1") -> None:
    """Print the figures."""
    for name, (own, default) in PARTS.items():
        if part in ("", name):
            own(int(count or default), int(seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
