"""The enumeration of all mappings of tiny layers: complete, accepted by the product, and beaten by no search."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest
from all_mappings import (
    OBJECTIVES,
    count_mappings,
    every_mapping,
    random_design,
    random_layer,
    random_pair,
    value_of,
)

import dse
from dse.costs import kernels as k
from dse.costs.kernel_rows import design_rows, layer_row, parameter_columns
from dse.costs.restrictions import check_restrictions
from dse.hardware.dataflow import places_taken
from dse.networks.layers import LOOPS

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from mapper_access import best_mapping

SEEDS = range(60)


def mappings_by_definition(layer, design):
    """Every mapping whose register tile fits, by a second, plain text: loops of Python over the definition."""
    for index, option in enumerate(design.dataflow.options):
        flat = option.flatten_reduction
        extent = {d: getattr(layer, d) for d in LOOPS}
        if flat:
            extent |= {"C": layer.C * layer.FY * layer.FX, "FY": 1, "FX": 1}
        slots = [(u, axis) for axis, loops in enumerate((option.on_rows, option.on_cols)) for u in loops]
        taken = [places_taken(option.on_rows), places_taken(option.on_cols)]
        for lanes in range(1, min(design.macs_per_pe, extent["C"]) + 1):
            for factors in product(*(range(1, max(design.rows, design.cols) + 1) for _ in slots)):
                axes, s = taken.copy(), dict.fromkeys(LOOPS, 1) | {"C": lanes}
                for (u, axis), f in zip(slots, factors, strict=True):
                    axes[axis] *= 1 if u.own else f
                    s[u.loop] *= f
                idle = [f > math.ceil(extent[u.loop] * f / s[u.loop]) for (u, _), f in zip(slots, factors, strict=True)]
                wide = any(f > u.most for (u, _), f in zip(slots, factors, strict=True))
                if axes[0] > design.rows or axes[1] > design.cols or any(idle) or wide:
                    continue
                for stationary in option.stationary:
                    for r in product(*(range(1, math.ceil(extent[d] / s[d]) + 1) for d in LOOPS)):
                        register = dict(zip(LOOPS, r, strict=True))
                        sizes = [
                            [
                                t for t in range(1, getattr(layer, d) + 1)
                                if (register[d] - 1) * s[d] < t * (layer.FY * layer.FX if flat and d == "C" else 1)
                            ]
                            if not (flat and d in ("FY", "FX")) else [getattr(layer, d)]
                            for d in LOOPS
                        ]  # fmt: skip
                        one = dse.Mapping(s, register, [1] * 8, lanes, stationary=stationary, option=index)
                        if not fits_registers(layer, design, one):
                            continue
                        for t in product(*sizes):
                            yield replace(one, buffer=t)


def fits_registers(layer, design, mapping):
    """Whether the register tile fits, by the formulas in Python."""
    from dse.costs.traffic import register_bytes

    need = register_bytes(layer, design, mapping)
    held = (design.weight_register_bytes, design.input_register_bytes, design.output_register_bytes)
    return all(n <= h for n, h in zip(need.values(), held, strict=True))


def test_none_is_left_out():
    """Counted again by a plain text; the best of them costed one by one is the best of the enumeration."""
    rng, checked = np.random.default_rng(5), 0
    for _ in range(12):
        layer, design, _, count = random_pair(rng, most=3000)
        again = list(mappings_by_definition(layer, design))
        orders, bypasses = dse.costs.mapping.DRAM_ORDERS[:3], subsets(design.bypass)
        assert count == count_mappings(layer, design) == len(again) * len(orders) * len(bypasses)
        if len(again) > 80 or design.resident_weights:
            continue
        costs = []
        for mapping, order, bypass in product(again, orders, bypasses):
            try:
                one = dse.evaluate(design, layer, mapping=replace(mapping, dram_order=order, bypass=bypass))
            except ValueError:
                continue
            costs.append((one.cycles, one.energy_j * 1e12))
        every = every_mapping(layer, design)
        assert bool(every) == bool(costs)
        for objective in OBJECTIVES if costs else ():
            least = min(value_of(objective, *cost) for cost in costs)
            found = value_of(objective, every[objective].cycles, every[objective].energy_pj)
            assert found == pytest.approx(least, rel=1e-12)
            checked += 1
    assert checked > 8


def subsets(operands):
    """All subsets of some letters."""
    return ["".join(x for i, x in enumerate(operands) if bits >> i & 1) for bits in range(2 ** len(operands))]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_search_beats_all_mappings(seed):
    """The default setting is never better than the best of all, and overflows exactly where none fits.

    What is best of all is accepted by `dse.evaluate` at the same cost.
    """
    layer, design, variant, _ = random_pair(np.random.default_rng(seed), most=1e5)
    every = every_mapping(layer, design, variant)
    for objective in OBJECTIVES:
        found = best_mapping(design, layer, "default", objective, variant=variant)
        assert (found.overflow > 0) == (not every)
        if every:
            best = every[objective]
            least = value_of(objective, best.cycles, best.energy_pj)
            assert value_of(objective, found.cycles, found.energy_pj) >= least * (1 - 1e-12)
            assert objective != "latency" or found.least_cycles <= best.cycles * (1 + 1e-12)
            if variant == 0 and not design.resident_weights:
                assert dse.evaluate(design, layer, mapping=best.mapping).cycles == best.cycles


@pytest.mark.parametrize("seed", SEEDS)
def test_the_complete_search_equals_all_mappings(seed):
    layer, design, variant, _ = random_pair(np.random.default_rng(seed), most=1e5)
    every = every_mapping(layer, design, variant)
    for objective in OBJECTIVES if every else ():
        found = best_mapping(design, layer, "complete", objective, variant=variant)
        best = every[objective]
        least = value_of(objective, best.cycles, best.energy_pj)
        assert value_of(objective, found.cycles, found.energy_pj) == pytest.approx(least, rel=1e-12)


def restricted_pair(rng):
    """A layer and a design whose options restrict mappings, sub-axes after shared loops included; their mappings."""
    while True:
        layer, design = random_layer(rng), random_design(rng)
        options, bypass = [], subsets("WIO")[rng.integers(8)]
        for _ in range(rng.integers(1, 3)):
            loops = rng.permutation(["K", "C", "OX", "G", "FX", "B", "OY"])
            entries = [d + str(rng.choice(["", "", "2", "<=2", "<=3"])) for d in loops[:3]]
            orders = rng.permutation(["PKR", "KRP", "RPK"])[: rng.integers(4)]
            options.append(
                dse.SpatialOption(
                    tuple(entries[: rng.integers(1, 3)]), tuple(entries[2:]), tuple(rng.permutation(list("WIO"))[:2]),
                    dram_orders=tuple(map(str, orders)), once=str(rng.choice(["", "O", "W", "I", "WO", "WIO"])),
                    whole_rows=bool(rng.random() < 0.3), least_dram=bool(rng.random() < 0.2),
                    bypass=None if rng.random() < 0.7 else subsets(bypass)[rng.integers(2 ** len(bypass))],
                )
            )  # fmt: skip
        flow = dse.Dataflow("mine", tuple(options))
        rows, cols = flow.least_array
        design = replace(design, rows=max(rows, min(design.rows, 3)), cols=max(cols, min(design.cols, 2)),
                         macs_per_pe=min(design.macs_per_pe, 2), dataflow=flow, bypass=bypass)  # fmt: skip
        again = list(islice(mappings_by_definition(layer, design), 401))
        if len(again) <= 400:
            return layer, design, again


@pytest.mark.parametrize("seed", SEEDS)
def test_the_complete_search_equals_all_mappings_that_the_options_allow(seed):
    """By plain loops and `check_restrictions`: `once`, orders, bypass, whole rows, sub-axes and caps."""
    layer, design, again = restricted_pair(np.random.default_rng(seed))
    (rows, options), numbers = design_rows(parameter_columns(design), dse.Technology.at(45)), layer_row(layer)
    out, costs = np.zeros(k.N_RESULT), []
    for mapping, order, bypass in product(again, dse.costs.mapping.DRAM_ORDERS[:3], subsets(design.bypass)):
        one = replace(mapping, dram_order=order, bypass=bypass)
        k.evaluate_mapping(numbers, rows[0], options[one.option], one.to_row(), 0, out)
        if out[k.OVERFLOW] == 0 and allowed(layer, design, one):
            costs.append((out[k.CYCLES], out[k.ENERGY_PJ], out[k.DRAM_BYTES]))
    lean = any(option.least_dram for option in design.dataflow.options)
    least_bytes = min((cost[2] for cost in costs), default=0.0)
    for effort, objective in product(("default", "complete"), OBJECTIVES):
        found = best_mapping(design, layer, effort, objective)
        assert (found.overflow > 0) == (not costs)
        if not costs:
            continue
        assert allowed(layer, design, found.mapping)
        among = [c for c in costs if not lean or c[2] <= least_bytes * (1 + 1e-12)]
        least = min(value_of(objective, *c[:2]) for c in among)
        value = value_of(objective, found.cycles, found.energy_pj)
        if effort == "complete":
            assert value == pytest.approx(least, rel=1e-12)
        elif not lean:
            assert value >= least * (1 - 1e-12)
            assert objective != "latency" or found.least_cycles <= least * (1 + 1e-12)


def allowed(layer, design, mapping):
    """Whether the option of a mapping allows it."""
    try:
        check_restrictions(layer, design, mapping)
    except ValueError:
        return False
    return True
