"""Random networks with branches, and other routes to what stays on chip: formulas, a walker that moves elements, and
an integer programme for what stays."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from dse.costs import kernels as k
from dse.costs.formulas import mapping_cost, vector_cost
from dse.costs.mapping import Mapping
from dse.costs.residency.choice import Lifetimes, Store
from dse.costs.traffic import overflow
from dse.hardware.accelerator import Accelerator
from dse.networks.layers import Layer, MacLayer, Network, VectorLayer, layer_graph

PIXELS = 16


def random_network(rng: random.Random, most: int = 9) -> Network:
    """Convolutions, products of activations, pools, additions and concatenations over tensors that came before."""
    channels = {"x": rng.choice((1, 2, 4))}
    layers: list[Layer] = []
    for number in range(rng.randint(3, most)):
        name, read = f"t{number}", rng.choice(list(channels)[-4:])
        c, kind = channels[read], rng.choice(("conv", "conv", "fused", "product", "pool", "add", "concat", "concat"))
        same = [t for t, size in channels.items() if size == c and t != read]
        wide = rng.choice((1, 2, 3, 4, 6))
        if kind == "product" and len(channels) > 1:
            second = rng.choice([t for t in channels if t != read])
            layer: Layer = MacLayer(name, K=channels[second], C=c, OX=PIXELS, static_weights=False,
                                    inputs=(read, second), output=name)  # fmt: skip
            channels[name] = channels[second]
        elif kind == "fused" and same:
            layer = MacLayer(name, K=c, C=c, OX=PIXELS, inputs=(read,), fused_input=rng.choice(same),
                             fused_input_elements=c * PIXELS, output=name)  # fmt: skip
            channels[name] = c
        elif kind == "pool":
            layer = VectorLayer(name, "MaxPool", 9 * c * PIXELS, c * PIXELS, c * PIXELS, inputs=(read,), output=name)
            channels[name] = c
        elif kind == "add" and same:
            inputs = (read, rng.choice(same))
            size = c * PIXELS
            layer = VectorLayer(name, "Add", size, 2 * size, size, weight_elements=c, inputs=inputs, output=name)
            channels[name] = c
        elif kind == "concat" and len(channels) > 2:
            parts = tuple(rng.sample([t for t in channels if t != "x"], rng.randint(2, min(3, len(channels) - 1))))
            layer = VectorLayer(name, "Concat", 0, 0, 0, inputs=parts, output=name)
            channels[name] = sum(channels[part] for part in parts)
        else:
            layer = MacLayer(name, K=wide, C=c, OX=PIXELS, inputs=(read,), output=name)
            channels[name] = wide
        layers.append(layer)
    if not any(isinstance(layer, MacLayer) for layer in layers):
        layers.append(MacLayer("last", K=2, C=channels["x"], OX=PIXELS, inputs=("x",), output="last"))
        channels["last"] = 2
    return Network("random", tuple(layers), tensor_elements={name: c * PIXELS for name, c in channels.items()})


def random_order(count: int, reads: list[set[int]], rng: random.Random) -> list[int]:
    """A valid order of nodes of which each reads others."""
    order: list[int] = []
    done: set[int] = set()
    while len(order) < count:
        node = rng.choice([i for i in range(count) if i not in done and reads[i] <= done])
        order.append(node)
        done.add(node)
    return order


def shuffled(network: Network, rng: random.Random) -> Network:
    """The same graph with other names, its layers in another valid order."""
    n = len(network.layers)
    reads = [{s for _, s in read if s < n} for read in layer_graph(network.layers, network.tensor_elements).reads]
    names = {layer.output: f"r{i}" for i, layer in enumerate(rng.sample(network.layers, n))}

    def renamed(layer: Layer) -> Layer:
        inputs = tuple(names.get(name, name) for name in layer.inputs)
        found = replace(layer, name=f"n{names[layer.output]}", inputs=inputs, output=names[layer.output])
        if isinstance(found, MacLayer) and found.fused_input:
            found = replace(found, fused_input=names.get(found.fused_input, found.fused_input))
        return found

    order = random_order(n, reads, rng)
    sizes = {names.get(name, name): size for name, size in network.tensor_elements.items()}
    return replace(network, layers=tuple(renamed(network.layers[i]) for i in order), tensor_elements=sizes)


class Walk:
    """Runs a network step by step and moves elements one by one between DRAM and a store; knows no formula.

    found : of each step, names of the inputs (and ``"output"``) whose elements all lie in the store.
    crossed : of each vector step, elements read from and written to DRAM.
    fill : elements in the store during each step.
    """

    def __init__(self, layers: list[Layer], sizes: dict[str, int], kept: set[str]) -> None:
        last = {name: i for i, layer in enumerate(layers) for name in _reads(layer)}
        store: set[tuple[str, int]] = set()
        self.found, self.crossed, self.fill = [], [], []
        for i, layer in enumerate(layers):
            present = {n for n in _reads(layer) if all((n, e) in store for e in range(sizes[n]))}
            arrived = left = 0
            made = [(layer.output, e) for e in range(sizes[layer.output])]
            if layer.operator == "Concat":
                parts = [(n, e) for n in layer.inputs for e in range(sizes[n])]
                for part, element in zip(parts, made, strict=True):
                    if layer.output in kept:
                        arrived += part not in store
                        if last[part[0]] == i:
                            store.discard(part)  # it is now an element of the whole, where it lies
                        store.add(element)
                    else:
                        left += part in store
            elif isinstance(layer, VectorLayer):
                arrived = sum((n, e) not in store for n in layer.inputs for e in range(sizes[n]))
                left = 0 if layer.output in kept else len(made)
            if layer.output in kept:
                store.update(made)
                present.add("output")
            self.fill.append(len(store))
            self.found.append(present)
            self.crossed.append((arrived, left))
            store = {(n, e) for n, e in store if last.get(n, -1) > i}


def _reads(layer: Layer) -> list[str]:
    fused = [layer.fused_input] if isinstance(layer, MacLayer) and layer.fused_input else []
    return [*dict.fromkeys([*layer.inputs, *fused])]


def stays(layers: list[Layer]) -> list[str]:
    """Tensors that are written and then read."""
    read = {name for layer in layers for name in _reads(layer)}
    return [layer.output for layer in layers if layer.output in read]


def in_run_order(network: Network) -> list[Layer]:
    """Its layers in the order in which they run."""
    return [network.layers[i] for i in network.run_order]


def tensor_names(network: Network) -> list[str]:
    """Names of the tensors in the order of the kernel's tables."""
    names: dict[str, None] = {}
    for layer in in_run_order(network):
        fused = [layer.fused_input] if isinstance(layer, MacLayer) and layer.fused_input else []
        names.update(dict.fromkeys([*layer.inputs, *fused, layer.output]))
    return list(names)


def sets_that_fit(layers: list[Layer], sizes: dict[str, int], store: float) -> list[tuple[set[str], Walk]]:
    """Every set of tensors that fits the store at every step, with its walk."""
    names, found = stays(layers), []
    for count in range(len(names) + 1):
        for chosen in itertools.combinations(names, count):
            walk = Walk(layers, sizes, set(chosen))
            if max(walk.fill) <= store:
                found.append((set(chosen), walk))
    return found


def resident_of(layer: MacLayer, present: set[str]) -> frozenset[str]:
    """What is on chip of a MAC layer, in the words of the formulas."""
    found = set()
    if layer.inputs and layer.inputs[0] in present:
        found.add("inputs")
    if "output" in present:
        found.add("outputs")
    if layer.fused_input and layer.fused_input in present:
        found.add("fused_input")
    if not layer.static_weights and layer.inputs[1] in present:
        found.add("weights")
    return frozenset(found)


def formula_costs(
    layers: list[Layer], design: Accelerator, technology, walk: Walk, maps: np.ndarray
) -> dict[str, float]:
    """Cycles, energy and DRAM bytes of the network by plain formulas, under given mappings, from what a walk found."""
    word, total = design.activation_bits / 8, {"cycles": 0.0, "energy_pj": 0.0, "dram": 0.0, "overflow": 0.0}
    for i, layer in enumerate(layers):
        if isinstance(layer, MacLayer):
            resident, mapping = resident_of(layer, walk.found[i]), Mapping.from_row(maps[i])
            cost = mapping_cost(layer, design, technology, mapping, resident)
            total["overflow"] += overflow(layer, design, mapping, resident, walk.fill[i] * word)
            moved = ("dram_w", "dram_i", "dram_o_read", "dram_o_write", "dram_fused")
        else:
            constants = layer.weight_elements * design.weight_bits / 8
            arrived, left = (elements * word for elements in walk.crossed[i])
            cost, moved = vector_cost(layer, design, technology, arrived + constants, left), ("dram_i", "dram_o_write")
        total["cycles"] += cost["cycles"] * layer.repeats
        total["energy_pj"] += cost["energy_pj"] * layer.repeats
        total["dram"] += sum(cost[name] for name in moved) * layer.repeats
    return total


RESIDENT_COLUMNS = {"inputs": k.DRAM_I, "fused_input": k.DRAM_FUSED, "weights": k.DRAM_W}
"""DRAM traffic that is absent where the operand stays."""


def programme_optimum(
    lifetimes: Lifetimes, store: Store, first: np.ndarray, lines: np.ndarray, seconds: float = np.inf
) -> float | None:
    """The least sum of first costs by an integer programme: a case, a room and a set of found inputs for each step.

    None where `seconds` are not enough to prove it.
    """
    n, tensors = len(lifetimes.writes), np.flatnonzero(lifetimes.places >= 0)
    column = {int(t): i for i, t in enumerate(tensors)}
    costs, equal, limits = [0.0] * len(tensors), [], []
    last = {int(t): i for i in range(n) for t in lifetimes.ends[lifetimes.ends_first[i] : lifetimes.ends_first[i + 1]]}
    written = {int(t): i for i, t in enumerate(lifetimes.writes) if t >= 0}
    for i in range(n):
        local = sorted({int(t) for t in lifetimes.reads[lifetimes.reads_first[i] : lifetimes.reads_first[i + 1]]}
                       | ({int(lifetimes.writes[i])} - {-1}))  # fmt: skip
        ways = []
        for chosen in itertools.product((0, 1), repeat=len(local)):
            on = {t for t, bit in zip(local, chosen, strict=True) if bit}
            keep = int(lifetimes.writes[i]) in on
            if lifetimes.cases[i] < 0:
                line = lines[i, int(keep)]
                kept = min(line[0], sum(lifetimes.sizes[t] for t in on - {int(lifetimes.writes[i])}))
                cost = max(line[9], line[1] + kept * line[5], line[2] + kept * line[6])
                ways.append((on, 0, cost))
                continue
            case = lifetimes.base[i] + (lifetimes.output_bit if keep else 0)
            case |= sum({int(b) for b, t in zip(lifetimes.bits, lifetimes.operands[i], strict=True) if int(t) in on})
            ways += [(on, room, first[lifetimes.cases[i], case, room]) for room in range(len(store.rooms))]
        at = len(costs)
        costs += [cost * lifetimes.repeats[i] for *_, cost in ways]
        equal.append(({at + j: 1.0 for j in range(len(ways))}, 1.0))
        for t in local:
            equal.append(({at + j: 1.0 for j, (on, *_) in enumerate(ways) if t in on} | {column[t]: -1.0}, 0.0))
        held = {column[t]: lifetimes.sizes[t] * store.word for t in column if written[t] <= i <= last[t]}
        if lifetimes.in_place[i] and lifetimes.writes[i] in column:
            ending = {int(t) for t in lifetimes.ends[lifetimes.ends_first[i] : lifetimes.ends_first[i + 1]]}
            for j, (on, *_) in enumerate(ways):
                if int(lifetimes.writes[i]) in on:
                    held[at + j] = -sum(lifetimes.sizes[t] * store.word for t in on & ending)
        limits.append((held, store.store))
        if lifetimes.cases[i] >= 0:
            limits.append((held | {at + j: -(store.rooms[0] - store.rooms[room])
                                   for j, (_, room, _) in enumerate(ways)}, 0.0))  # fmt: skip
    a = np.zeros((len(equal) + len(limits), len(costs)))
    low, high = np.full(len(a), -np.inf), np.empty(len(a))
    for row, (terms, value) in enumerate([*equal, *limits]):
        for j, factor in terms.items():
            a[row, j] += factor
        high[row] = value
        if row < len(equal):
            low[row] = value
    done = milp(np.array(costs), constraints=LinearConstraint(a, low, high), integrality=np.ones(len(costs)),
                bounds=Bounds(0, 1), options={"mip_rel_gap": 0.0, "time_limit": seconds})  # fmt: skip
    return float(done.fun) if done.success else None
