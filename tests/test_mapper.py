"""The mapper finds the optimum: the complete search equals an enumeration of all mappings; no bound is above it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from all_mappings import count_mappings, every_mapping, value_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import TECHNOLOGY, accelerators, best_row, kernel_rows, layers, mappings, residencies, variant_of

import dse
from dse.costs import kernels as k
from dse.costs.kernel_rows import EFFORTS
from dse.costs.mapping import DRAM_ORDERS, Mapping
from dse.hardware.accelerator import Accelerator
from dse.hardware.dataflow import Dataflow, SpatialOption
from dse.hardware.space import default_space
from dse.networks.layers import LOOPS, MacLayer

OBJECTIVES = (("latency", 0.0), ("latency", 0.05), ("energy", 0.0), ("edp", 0.0))
MOST_MAPPINGS = 300_000
ROUNDING = 1 + 1e-12


def all_optima(layer, design, variant=0, orders=3) -> list[tuple[float, float]]:
    """(cycles, energy) of the best of all mappings for each of `OBJECTIVES`; empty where none fits."""
    every = every_mapping(layer, design, variant, orders, technology=TECHNOLOGY)
    if not every:
        return []
    limit = every["latency"].cycles * 1.05 * ROUNDING  # equal but for rounding is equal
    near = every_mapping(layer, design, variant, orders, limit, technology=TECHNOLOGY)["energy"]
    found = (every["latency"], near, every["energy"], every["edp"])
    return [(best.cycles, best.energy_pj) for best in found]


def assert_optimal(layer, design, variant=0):
    """The complete search finds the best of all mappings; the default none better; each costs what its mapping does."""
    _, _, options = kernel_rows(layer, design)
    optima = all_optima(layer, design, variant)
    again = np.full(k.N_RESULT, np.nan)
    for (objective, slack), (cycles, energy) in zip(OBJECTIVES, optima, strict=True):
        for effort in EFFORTS:
            row, out = best_row(layer, design, objective, slack, variant, effort)
            where = (effort, objective, slack, layer, design, variant, Mapping.from_row(row))
            assert out[k.OVERFLOW] == 0, where
            k.evaluate_mapping(*kernel_rows(layer, design)[:2], options[int(row[k.MAP_OPTION])], row, variant, again)
            same = np.arange(k.N_RESULT) != k.LEAST  # of the search, not of the mapping
            assert np.array_equal(out[same], again[same]), where
            assert out[k.LEAST] <= optima[0][0] * ROUNDING or objective != "latency", where
            value, least = value_of(objective, out[k.CYCLES], out[k.ENERGY_PJ]), value_of(objective, cycles, energy)
            if slack == 0:  # the default may be slow, and then within its slack of frugal mappings that are slow
                assert value >= least / ROUNDING, where
            if slack > 0:  # no effort searches the energy within the slack completely
                assert out[k.CYCLES] <= optima[0][0] * (1 + slack) * ROUNDING or effort == "default", where
                assert out[k.ENERGY_PJ] >= energy / ROUNDING or effort == "default", where
            elif effort == "complete" and objective == "edp":
                assert value == pytest.approx(least, rel=1e-12), where
            elif effort == "complete":
                assert out[k.CYCLES] == pytest.approx(cycles, rel=1e-12), where
                assert out[k.ENERGY_PJ] <= energy * ROUNDING, where  # less where cycles are equal but for rounding


small_layers = layers(most_macs=60, most=6, depth=5)
few_options = st.sampled_from((
    Dataflow("one", (SpatialOption(("C",), ("K",), ("W", "O")),)),
    Dataflow("pixels", (SpatialOption(("OX", "OY"), ("K",), ("O", "I"), forwards_inputs=True),)),
    Dataflow("rows", (SpatialOption(("FY", "C"), ("OY", "K"), ("W",), forwards_inputs=True),)),
    Dataflow("im2col", (SpatialOption(("C",), ("K",), ("W",), flatten_reduction=True),)),
    Dataflow("two", (SpatialOption(("C",), ("K", "G"), ("W",)), SpatialOption(("OX",), ("K",), ("I",)))),
))  # fmt: skip


@settings(max_examples=200)
@given(small_layers, accelerators(few_options, least_bytes=48), st.data())
def test_complete_search_equals_full_enumeration(layer, design, data):
    variant = variant_of(data.draw(residencies(layer)))
    assume(count_mappings(layer, design) <= MOST_MAPPINGS)
    if every_mapping(layer, design, variant):
        assert_optimal(layer, design, variant)
        return
    for (objective, slack), effort in product(OBJECTIVES, EFFORTS):  # nothing fits: a graded overflow, a finite cost
        _, out = best_row(layer, design, objective, slack, variant, effort)
        assert out[k.OVERFLOW] > 0
        assert np.isfinite(out).all()


@settings(max_examples=40)
@given(small_layers, accelerators(few_options, least_bytes=48))
def test_three_dram_orders_are_enough(layer, design):
    assume(count_mappings(layer, design) <= MOST_MAPPINGS)
    three = all_optima(layer, design)
    assume(three)
    assert all_optima(layer, design, orders=6) == three


LARGE_LAYERS = (
    MacLayer("stem", K=64, C=3, OY=112, OX=112, FY=7, FX=7, stride_y=2, stride_x=2, pad_y=3, pad_x=3, IY=224, IX=224),
    MacLayer("middle", B=2, K=128, C=128, OY=28, OX=28, FY=3, FX=3, pad_y=1, pad_x=1, IY=28, IX=28),
    MacLayer("depthwise", G=96, OY=28, OX=28, FY=3, FX=3, stride_y=2, stride_x=2, pad_y=1, pad_x=1, IY=56, IX=56),
    MacLayer("product", K=3072, C=768, OX=197, vector_operations=605_184),
    MacLayer("attention", B=12, K=197, C=64, OX=197, static_weights=False),
)


def changed(layer: MacLayer, design: Accelerator, best: Mapping, rng: np.random.Generator) -> Mapping:
    """A mapping near `best`: up to three of its register and buffer tiles of any other size, another order."""
    register, buffer = list(best.register), list(best.buffer)
    bounds = [getattr(layer, d) for d in LOOPS]
    flat = best.spatial_option(design).flatten_reduction
    for at in rng.permutation(6 if flat else 8)[: int(rng.integers(1, 4))]:
        if rng.random() < 0.7:
            near = buffer[at] + int(rng.integers(-3, 4)) if rng.random() < 0.5 else int(rng.integers(1, bounds[at] + 1))
            buffer[at] = int(np.clip(near, 1, bounds[at]))
        else:
            register[at] = max(1, register[at] + int(rng.integers(-2, 3)))
    order = DRAM_ORDERS[int(rng.integers(len(DRAM_ORDERS)))]
    return replace(best, register=register, buffer=buffer, dram_order=order)


@pytest.mark.parametrize("layer", LARGE_LAYERS, ids=lambda layer: layer.name)
def test_no_mapping_of_a_large_layer_is_below_the_lower_bound(layer):
    """Layers too large to enumerate, designs of the default space: hundreds of mappings near the best found."""
    space, rng, out = default_space(), np.random.default_rng(11), np.full(k.N_RESULT, np.nan)
    fitting = 0
    for x in space.sample(4, rng):
        design = replace(space.design(x), bypass="WIO" if rng.random() < 0.5 else "")
        numbers, design_numbers, options = kernel_rows(layer, design)
        row, best = best_row(layer, design, "latency", 0.0)
        if best[k.OVERFLOW] > 0:
            continue
        assert best[k.BOUND_CYCLES] <= best[k.LEAST] * ROUNDING and best[k.LEAST] <= best[k.CYCLES]
        for _ in range(600):
            trial = changed(layer, design, Mapping.from_row(row), rng)
            if k.register_overflow(numbers, design_numbers, options[trial.option], trial.to_row()) > 0:
                continue
            k.evaluate_mapping(numbers, design_numbers, options[trial.option], trial.to_row(), 0, out)
            if out[k.OVERFLOW] == 0:
                fitting += 1
                assert out[k.CYCLES] >= best[k.LEAST] / ROUNDING, (layer, design, trial)
    assert fitting > 300


@settings(max_examples=150)
@given(layers(most_macs=4000, most=24), accelerators(few_options, least_bytes=100, most_bytes=20_000), st.data())
def test_no_mapping_beats_the_complete_search(layer, design, data):
    """Mappings of a text of its own, of any size and order, on layers too large to enumerate."""
    resident = data.draw(residencies(layer))
    numbers, design_numbers, options = kernel_rows(layer, design)
    out, found = np.full(k.N_RESULT, np.nan), None
    for _ in range(5):
        trial = data.draw(mappings(layer, design, resident)).to_row()
        option = options[int(trial[k.MAP_OPTION])]
        k.evaluate_mapping(numbers, design_numbers, option, trial, variant_of(resident), out)
        if out[k.OVERFLOW] > 0:
            continue
        if found is None:
            aims = ("latency", "energy")
            found = [best_row(layer, design, aim, 0.0, variant_of(resident), "complete")[1] for aim in aims]
        assert found[0][k.OVERFLOW] == found[1][k.OVERFLOW] == 0
        where = (layer, design, Mapping.from_row(trial), resident)
        assert found[0][k.CYCLES] <= out[k.CYCLES] * ROUNDING, where
        assert found[1][k.ENERGY_PJ] <= out[k.ENERGY_PJ] * ROUNDING, where


def test_stationary_operand_of_a_grouped_layer_is_priced_once():
    """A buffer tile holds one step of ``G``, so a stationary operand stays in the array from one tile to the next."""
    for stride, pad in product((1, 2), (0, 1)):
        layer = MacLayer("d", G=2, OY=3, OX=3, FY=2, FX=2, stride_y=stride, stride_x=stride, pad_y=pad, pad_x=pad)
        design = Accelerator(
            rows=4,
            cols=4,
            dataflow="output_stationary",
            weight_register_bytes=16,
            input_register_bytes=64,
            output_register_bytes=8,
            dram_gbps=256,
        )
        assert_optimal(layer, design)


def test_whole_operand_that_fits_once_is_found():
    """A double-buffered operand may fit whole (one copy) where its smallest tile, held twice, does not."""
    layer = MacLayer("edge", K=5, OX=3)
    design = Accelerator(
        rows=1,
        cols=4,
        dataflow=Dataflow("one", (SpatialOption(("C",), ("K",), ("W", "O")),)),
        weight_buffer_kib=6 / 1024,  # K=5 once is 5 bytes; one spatial step, 4, held twice is 8
        weight_buffer_width_bytes=1,
        weight_register_bytes=8,
        input_register_bytes=8,
        output_register_bytes=40,
    )
    assert_optimal(layer, design)


def test_least_cycles_of_frugal_searches_was_no_bound():
    """Searches for energy or EDP leave out mappings without a bound of their cycles: theirs is the roofline."""
    layer, design = MacLayer("conv", K=64, C=48, OY=14, OX=14, FY=3, FX=3), Accelerator(rows=8, cols=8)
    for objective, effort in product(("energy", "edp"), EFFORTS):
        _, out = best_row(layer, design, objective, 0.0, 0, effort)
        assert out[k.LEAST] == out[k.BOUND_CYCLES] <= best_row(layer, design, effort="complete")[1][k.CYCLES]


def test_a_layer_of_millions_of_columns_stays_inside_the_tables():
    flow = Dataflow("columns", (SpatialOption(("C",), ("OX", "K")),))
    design = Accelerator(rows=16, cols=2, dataflow=flow)
    found = dse.evaluate(design, MacLayer("long", "Gemm", OX=3_000_000, K=4, C=4))
    assert found.feasible and found.cycles >= 3_000_000 * 4 * 4 / design.macs_per_cycle


def test_complete_looks_at_all_tiles_of_a_large_filter():
    """Patches of 14 x 14 pixels have 196 tiles of the filter; 128 had room, and 76,551.5 cycles were called proven."""
    layer = MacLayer("patches", "Conv", K=8, C=1, OY=14, OX=14, FY=14, FX=14, stride_y=14, stride_x=14)
    design = Accelerator(
        rows=1, cols=8, dataflow="channel_vector", weight_buffer_kib=168 / 1024, weight_buffer_width_bytes=8,
        input_buffer_kib=0.5, output_buffer_kib=8, output_register_bytes=1024, dram_gbps=2,
    )  # fmt: skip
    best = dse.evaluate(design, layer, slack=None, effort="complete")
    assert best.cycles <= 39_306
    assert best.layers["least_cycles"][0] <= best.cycles


def test_a_table_that_gets_full_on_the_way_leaves_the_roofline_as_the_bound():
    """A filter of 40 x 40 has 1,600 tiles, more than have room; what is left out may be faster."""
    layer = MacLayer("patches", "Conv", OY=2, OX=2, FY=40, FX=40, stride_y=40, stride_x=40)
    design = Accelerator(rows=1, cols=8, dataflow="channel_vector", weight_buffer_kib=0.25, weight_buffer_width_bytes=8)
    found = dse.evaluate(design, layer, slack=None, effort="complete").layers.iloc[0]
    assert found["least_cycles"] == found["bound_cycles"] < found["cycles"]


def test_latency_alone_is_near_the_best_where_the_picked_register_tile_suits_no_buffer_tile():
    """2.6 times the best, found by attack: six output columns in the registers, and buffer tiles of four or seven."""
    dataflow = Dataflow("channels", (SpatialOption(("C",), ("K", "G"), ("W", "O")),))
    design = Accelerator(
        rows=8, cols=128, dataflow=dataflow, interconnect="systolic", overlap_skew=True, overlap_load=True,
        weight_register_bytes=256, input_register_bytes=32, output_register_bytes=512, buffers="W+I/O", dram_gbps=8,
        vector_lanes=64, weight_buffer_kib=4096, weight_buffer_width_bytes=64, weight_buffer_banks=16,
        input_buffer_kib=128, input_buffer_width_bytes=16, input_buffer_banks=4, output_buffer_kib=16,
        output_buffer_width_bytes=8,
    )  # fmt: skip
    layer = MacLayer("3x3", "Conv", K=128, C=128, OY=28, OX=28, FY=3, FX=3, stride_y=2, stride_x=2, pad_y=1, pad_x=1,
                     IY=56, IX=56, vector_operations=200704)  # fmt: skip
    alone, best = (
        dse.evaluate(design, layer, slack=slack, effort=effort).cycles
        for slack, effort in ((None, "default"), (0.0, "complete"))
    )
    assert best <= alone <= 1.02 * best
