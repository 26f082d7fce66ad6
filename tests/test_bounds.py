"""`bound_many` is never above what any mapping costs, whatever stays on chip."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from residency_routes import in_run_order, random_network, sets_that_fit, tensor_names
from strategies import TECHNOLOGY, accelerators, best_cost, fitted, kernel_cost, layers, mappings, residencies

import dse
from dse.costs import kernels as k
from dse.costs.bounds import BoundEvaluator
from dse.costs.kernel_rows import EFFORTS, design_rows, network_tables, parameter_columns
from dse.costs.residency.keeper import Keeper
from dse.costs.traffic import overflow
from dse.networks.layers import as_network

ROOM = 1 + 1e-9


def layer_bounds(layer, design, all_stays=False):
    """Bounds of cycles and energy [pJ] of a layer alone; `all_stays`: any of its activations could stay on chip."""
    bounds = BoundEvaluator(network_tables(as_network(layer)), TECHNOLOGY)
    if all_stays:
        bounds._steps[:, [k.EQUAL_IN, k.EQUAL_OUT, k.EQUAL_FUSED, k.EQUAL_SECOND]] = 0.0
        design = replace(design, resident_activation_fraction=0.5)
    found = bounds(parameter_columns(design))
    return found["latency_bound_s"][0, 0] * design.clock_ghz * 1e9, found["energy_bound_j"][0, 0] * 1e12


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_mapping_beats_the_bounds(data):
    layer, design = data.draw(layers()), data.draw(accelerators())
    design = replace(design, resident_activation_fraction=0.0)
    resident = data.draw(residencies(layer))
    mapping = data.draw(mappings(layer, design, resident))
    mapping = fitted(mapping, layer, design, resident)
    assume(overflow(layer, design, mapping, resident) == 0)
    cost = kernel_cost(layer, design, mapping, resident)
    assume(not (layer.static_weights and "weights" in resident))  # constant weights stay by another rule
    cycles, pj = layer_bounds(layer, design, all_stays=bool(resident))
    assert cycles <= cost["cycles"] * ROOM
    assert pj <= cost["energy_pj"] * ROOM


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_complete_mapper_never_beats_the_bounds(data):
    layer, design = data.draw(layers(most_macs=200, most=6)), data.draw(accelerators())
    fast = best_cost(layer, design, slack=None, effort="complete")
    assume(fast[k.OVERFLOW] == 0)
    cycles, pj = layer_bounds(layer, design)
    assert cycles <= fast[k.CYCLES] * ROOM
    frugal = best_cost(layer, design, objective="energy", effort="complete")
    assert pj <= frugal[k.ENERGY_PJ] * ROOM


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "bert_base", "nasnet_a_large"])
def test_mapper_never_beats_the_bounds_on_networks(name):
    space, network = dse.default_space(), dse.load_network(name)
    columns = space.columns(space.sample(24, np.random.default_rng(5)))
    bounds = dse.bound_many(columns, network)
    for objective, cost, bound in (
        ("latency", "latency_s", "latency_bound_s"),
        ("energy", "energy_j", "energy_bound_j"),
    ):
        slack = None if objective == "latency" else 0.0
        found = dse.BatchEvaluator(network, objective=objective, slack=slack)(columns)
        fits = found["overflow"] == 0
        assert (bounds[bound] <= found[cost] * ROOM)[fits].all()
    assert np.array_equal(bounds["area_mm2"], found["area_mm2"])


@pytest.mark.parametrize("effort, seeds", [("default", 80), ("complete", 16)])
def test_no_set_of_activations_beats_the_bounds_on_random_graphs(effort, seeds):
    """Neither the compiled bounds nor the closer ones by searches, in time and energy, whichever set stays."""
    for seed in range(seeds):
        rng = random.Random(seed)
        network = random_network(rng, 10 if effort == "default" else 6)
        design = dse.Accelerator(
            rows=4, cols=4, macs_per_pe=2, weight_register_bytes=8, input_register_bytes=8, output_register_bytes=16,
            weight_buffer_kib=0.25, input_buffer_kib=rng.choice((0.5, 1)), output_buffer_kib=0.25, dram_gbps=1,
            resident_activation_fraction=rng.choice((0.25, 0.5, 0.75)), feature_map_compression=rng.choice((1.0, 0.5)),
            buffers=rng.choice(("W/I/O", "W+I+O", "W/I+O")), activation_bits=rng.choice((8, 16)),
        )  # fmt: skip
        columns, tables = parameter_columns(design), network_tables(network)
        bounds = BoundEvaluator(tables, TECHNOLOGY)
        cycles = bounds(columns)["latency_bound_s"][0, 0] * design.clock_ghz * 1e9
        quick, reached = bounds.searched_cycles(columns, np.array([np.inf]), EFFORTS[effort])[0]
        closer, _ = bounds.searched_cycles(columns, np.array([reached]), EFFORTS[effort])[0]
        assert cycles <= quick * ROOM and quick <= closer <= reached
        pj = bounds(columns)["energy_bound_j"][0, 0] * 1e12
        rows, options = design_rows(columns, TECHNOLOGY)
        layers, store = in_run_order(network), rows[0, k.STORE_BYTES] / rows[0, k.ACTIVATION_BYTES]
        sets = [kept for kept, _ in sets_that_fit(layers, network.tensor_elements, store)[:60]]
        for mode in (k.LATENCY, k.ENERGY):
            keeper = Keeper(tables, options, mode, 0.0, EFFORTS[effort])
            found = keeper.cost(rows[0], np.empty(0))
            for kept in sets:
                flags = np.array([name in kept for name in tensor_names(network)])
                total = keeper.given(rows[0], found, flags).totals[0]
                if total[k.OVERFLOW] == 0:
                    assert closer <= total[k.CYCLES] * ROOM and pj <= total[k.ENERGY_PJ] * ROOM, (seed, kept)


def test_bounds_are_tighter_than_the_roofline():
    space, network = dse.default_space(), dse.load_network("resnet50")
    X = space.sample(40, np.random.default_rng(3))
    bounds, gaps = dse.bound_many(space.columns(X), network)["latency_bound_s"], []
    for x, bound in zip(X, bounds, strict=True):
        done = dse.evaluate(space.design(x), network, slack=0.0, keep="quick")
        roofline_s = (done.layers["bound_cycles"] * done.layers["repeats"]).sum() / (done.design.clock_ghz * 1e9)
        assert done.latency_bound_s == max(bound, roofline_s)
        gaps.append((done.latency_s / bound, done.latency_s / roofline_s))
    assert np.median(gaps, axis=0)[0] < 1.1 < np.median(gaps, axis=0)[1]


def test_bounds_of_a_design_do_not_depend_on_its_company():
    space, network = dse.default_space(), dse.load_network("resnet50")
    X = space.sample(50, np.random.default_rng(1))
    together = dse.bound_many(space.columns(X), network)
    evaluator = BoundEvaluator(network_tables(network))
    for i in (0, 7, 49):
        alone = dse.bound_many(space.design(X[i]), network)
        again = evaluator(space.columns(X[i : i + 1]))
        for name, values in together.items():
            assert values[i] == alone[name][0] == again[name].ravel()[0]


def test_bounds_without_energy_are_the_same_bounds():
    space, network = dse.default_space(), dse.load_network("resnet50")
    columns = space.columns(space.sample(20, np.random.default_rng(2)))
    full, fast = (BoundEvaluator(network_tables(network), energy=energy)(columns) for energy in (True, False))
    assert np.array_equal(full["latency_bound_s"], fast["latency_bound_s"])
    assert "energy_bound_j" not in fast
