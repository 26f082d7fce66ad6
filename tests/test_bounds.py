"""`bound_many` is never above what any mapping costs, whatever stays on chip."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from residency_routes import in_run_order, random_network, sets_that_fit, tensor_names
from strategies import TECHNOLOGY, accelerators, best_cost, fitted, kernel_cost, layers, mappings, residencies

import dse
from dse.costs import kernels as k
from dse.costs.bounds import BoundEvaluator
from dse.costs.kernel_rows import EFFORTS, design_rows, layer_row, network_tables, parameter_columns
from dse.costs.residency.keeper import Keeper
from dse.costs.traffic import bytes_needed, overflow, traffic, word_bytes
from dse.hardware.dataflow import DRAM_ORDERS
from dse.networks.layers import LOOPS, as_network

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


TILED = {
    "stride": dict(K=4, C=3, OY=4, OX=3, FY=2, FX=2, stride_y=2, pad_y=1, pad_x=1),
    "dilated": dict(K=5, C=4, OY=5, OX=1, FY=3, FX=1, dilation_y=2, pad_y=2, B=2),
    "groups": dict(G=3, K=2, C=2, OY=3, OX=3, FY=2, FX=1),
}


@pytest.mark.parametrize("twice", ["WIO", "W", ""])
@pytest.mark.parametrize("name", TILED)
def test_least_traffic_is_the_least_of_all_tiles_and_orders(name, twice):
    """`kernels.least_traffic` against every integer tile and order of its loops, counted by the formulas of traffic."""
    layer = dse.MacLayer("layer", **TILED[name])
    design = dse.Accelerator(double_buffered=twice, feature_map_compression=0.5, activation_bits=16)
    sizes = [range(1, getattr(layer, d) + 1) for d in LOOPS]
    least = {stays: np.full(k.N_ROOMS, np.inf) for stays in range(4)}
    for tile in product(*sizes):
        for order in DRAM_ORDERS:
            mapping = dse.Mapping((1,) * 8, (1,) * 8, tile, dram_order=order)
            moved = traffic(layer, design, mapping)
            again = {x: moved[f"dram_{x}"] for x in ("w", "i")} | {"o": moved["dram_o_read"] + moved["dram_o_write"]}
            for x, once in once_bytes(layer, design).items():
                again[x] -= once
            for stays, resident in enumerate(((), ("inputs",), ("weights",), ("inputs", "weights"))):
                needs = bytes_needed(layer, design, mapping, frozenset(resident))
                held = sum(need for where, (need, _) in needs.items() if where.startswith("buffer"))
                extra = again["o"] + (0 if "weights" in resident else again["w"])
                extra += 0 if "inputs" in resident else again["i"]
                at = bin_of_room(held)
                least[stays][at] = min(least[stays][at], extra)
    scratch, found = (np.empty((2, k.MAX_CUTS, 4)), np.empty((k.MAX_CUTS**2, 4))), np.empty((4, k.N_ROOMS))
    twice_of = (float(x in twice) for x in "WIO")
    k.least_traffic(layer_row(layer), 1.0, 2.0, design.accumulator_bits / 8, 0.5, *twice_of, *scratch, found)
    for stays, reached in least.items():
        expected = np.minimum.accumulate(reached)
        expected[np.isinf(expected)] = expected[np.isfinite(expected)][0]  # no tile fits less
        assert (found[stays] <= expected * (1 + 1e-12) + 1e-9).all()
        # tiles of dilated outputs share most of their inputs at sizes that are not the smallest of their trips
        assert name == "dilated" or (found[stays] >= expected * (1 - 1e-12) - 1e-9).all()


def bin_of_room(size):
    """As the kernel has it: `ROOMS_OF_OCTAVE` bins from each power of two to the next."""
    share, octave = math.frexp(max(1.0, size))
    return (octave - 1) * k.ROOMS_OF_OCTAVE + int((2 * share - 1) * k.ROOMS_OF_OCTAVE)


def once_bytes(layer, design):
    """Bytes over the DRAM link of W, I and O if each crosses it once."""
    words = word_bytes(layer, design)
    read = layer.B * layer.G * layer.C * layer.touched("y") * layer.touched("x")
    return {
        "w": layer.weight_elements * words["W"],
        "i": read * words["I"] * design.feature_map_compression,
        "o": layer.output_elements * words["O"] * design.feature_map_compression,
    }


@pytest.mark.parametrize("bits", [(16, 8), (16, 4), (4, 16)])
def test_bounds_of_a_product_of_activations_have_its_words_not_those_of_weights(bits):
    """They were 1.5 times what the complete mapper takes: its second operand is of activations."""
    layer = dse.MacLayer("qk", K=64, C=64, OX=64, static_weights=False)
    design = dse.Accelerator(
        rows=8, cols=8, weight_bits=bits[0], activation_bits=bits[1], dram_gbps=0.05, buffers="W+I+O",
        weight_buffer_kib=1, input_buffer_kib=0.5, output_buffer_kib=1
    )  # fmt: skip
    found = dse.evaluate(design, layer, slack=0.0, effort="complete")
    bound = dse.bound_many(design, layer)
    assert 0 < bound["latency_bound_s"][0] <= found.latency_s * ROOM
    assert bound["energy_bound_j"][0] <= dse.evaluate(design, layer, objective="energy").energy_j * ROOM


def test_a_design_that_fits_nothing_has_finite_bounds():
    """They were infinite, and problems refused the whole batch."""
    of = ("weight", "input", "output")
    least = {f"{x}_buffer_kib": 0.0019 for x in of} | {f"{x}_buffer_width_bytes": 1 for x in of}
    layer = dse.MacLayer("layer", K=8, C=8, OX=8)
    found = dse.bound_many([dse.Accelerator(**least), dse.Accelerator()], layer)
    assert all(np.isfinite(values).all() and (values > 0).all() for values in found.values())


def test_bounds_after_an_interruption_are_those_of_a_new_evaluator(monkeypatch):
    """A number of words was known before what it stands for was found: the next call read beyond an array."""
    tables = network_tables(as_network([dse.MacLayer("a", K=8, C=8, OX=8), dse.MacLayer("b", K=4, C=16, OX=32)]))
    columns = parameter_columns(dse.Accelerator())

    def stops(*given):
        raise KeyboardInterrupt

    for name in ("_traffic_of", "k.array_reach"):
        bounds = BoundEvaluator(tables)
        with monkeypatch.context() as patch:
            patch.setattr(f"dse.costs.bounds.{name}", stops)
            with pytest.raises(KeyboardInterrupt):
                bounds(columns)
        after, new = bounds(columns), BoundEvaluator(tables)(columns)
        assert all((after[column] == new[column]).all() for column in new)


def test_bounds_know_the_traffic_of_tiles_that_fit():
    """Of a layer that no buffer holds, whole tiles must fit together: the bound is close to what the mapper finds."""
    layer = dse.MacLayer("layer", K=96, C=96, OY=28, OX=28, FY=3, FX=3, pad_y=1, pad_x=1)
    design = dse.Accelerator(
        rows=32, cols=32, dram_gbps=0.5, buffers="W+I+O", weight_buffer_kib=8, input_buffer_kib=8, output_buffer_kib=8
    )
    bound = dse.bound_many(design, layer)["latency_bound_s"][0]
    found = dse.evaluate(design, layer, slack=0.0)
    assert 0.93 < bound / found.latency_s <= 1.0
