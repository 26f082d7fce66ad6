"""The mapper finds the optimum: equal to a full enumeration of its stated candidates, written again here."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import accelerators, kernel_rows, layers, residencies, variant_of

from dse.costs import kernels as k
from dse.costs.kernel_rows import TILE_SIZES, mapper_mode
from dse.costs.mapping import Mapping
from dse.hardware.accelerator import Accelerator
from dse.hardware.dataflow import Dataflow, SpatialOption
from dse.hardware.space import default_space
from dse.networks.layers import LOOPS, MacLayer

OBJECTIVES = (("latency", 0.0), ("latency", 0.05), ("energy", 0.0), ("edp", 0.0))
MOST_CANDIDATES = 60_000


def best_mapping(layer_numbers, design_numbers, options, objective, slack, variant):
    """The kernel's choice: mapping row and result row."""
    row, out = np.zeros(k.N_MAP), np.full(k.N_RESULT, np.nan)
    mode, slack = mapper_mode(objective, slack)
    k.map_layer(layer_numbers, design_numbers, options, TILE_SIZES, mode, slack, variant, row, out, k.make_scratch())
    return row, out


def spatial_rule(layer: MacLayer, design: Accelerator, option: SpatialOption) -> tuple[dict[str, int], int]:
    """In-PE lanes over C, then each axis: the first loop fills it, the next ones what is left."""
    extent = {d: getattr(layer, d) for d in LOOPS}
    if option.flatten_reduction:
        extent["C"] *= layer.FY * layer.FX
    weight_bits = design.weight_bits if layer.static_weights else design.activation_bits
    held = (design.weight_register_bytes * 8 // weight_bits, design.input_register_bytes * 8 // design.activation_bits)
    lanes = int(max(1, min(extent["C"], design.macs_per_pe, *held)))
    factors = dict.fromkeys(LOOPS, 1) | {"C": lanes}
    for loops, left in ((option.rows, design.rows), (option.cols, design.cols)):
        for d in loops:
            taken = min(left, math.ceil(extent[d] / factors[d]))
            factors[d] *= taken
            left //= taken
    return factors, lanes


def sizes_up_to(steps: int) -> list[int]:
    """Buffer tiles in spatial steps: the stated sizes, and all."""
    return sorted({int(size) for size in TILE_SIZES if size < steps} | {steps})


def doublings(steps: int) -> list[int]:
    """Register tiles in spatial steps: powers of two, and all."""
    return [2**i for i in range(20) if 2**i < steps] + [steps]


def buffer_tiles(layer: MacLayer, option: SpatialOption, s: dict[str, int]) -> list[dict[str, int]]:
    """Stated sizes of B K C OY OX; the filter whole, one step of rows x whole width, or one step; one step of G.

    Without a halo (a 1x1 filter) pixels are cut as a raster: part of a row, or whole rows.
    """
    taps = [(layer.FY, layer.FX)]
    if not option.flatten_reduction:
        taps += [(s["FY"], layer.FX), (s["FY"], s["FX"])]
    sizes = {}
    for d in ("B", "K", "C", "OY", "OX"):
        step = 1 if option.flatten_reduction and d == "C" else s[d]
        sizes[d] = [step * n for n in sizes_up_to(math.ceil(getattr(layer, d) / step))]
    tiles = [dict(zip(sizes, chosen, strict=True)) for chosen in product(*sizes.values())]
    if layer.FY == layer.FX == 1:
        tiles = [t for t in tiles if t["OX"] == sizes["OX"][-1] or t["OY"] == sizes["OY"][0]]
    return [{"G": s["G"], **tile, "FY": fy, "FX": fx} for tile in tiles for fy, fx in sorted(set(taps))]


def register_tiles(layer: MacLayer, option: SpatialOption, s: dict[str, int]) -> list[dict[str, int]]:
    """Powers of two, or all, of K and C; of pixels in row order; no taps, a row of taps, or all taps."""
    steps = {d: math.ceil(getattr(layer, d) / s[d]) for d in LOOPS}
    taps = {(1, 1), (1, steps["FX"]), (steps["FY"], steps["FX"])}
    if option.flatten_reduction:
        steps["C"] = math.ceil(layer.C * layer.FY * layer.FX / s["C"])
        taps = {(1, 1)}
    pixels = {(1, ox) for ox in doublings(steps["OX"])} | {(oy, steps["OX"]) for oy in doublings(steps["OY"])}
    return [
        {"B": 1, "G": 1, "K": of_k, "C": of_c, "OY": oy, "OX": ox, "FY": fy, "FX": fx}
        for of_k, of_c, (oy, ox), (fy, fx) in product(
            doublings(steps["K"]), doublings(steps["C"]), sorted(pixels), sorted(taps)
        )
    ]


def inside(register: int, tile: int, steps: int) -> int:
    """A register tile inside a buffer tile [spatial steps]: a power of two that divides it, or any within all steps."""
    if tile >= steps:
        return min(register, steps)
    return max(2**i for i in range(20) if 2**i <= register and tile % 2**i == 0)


def maximal(tiles: list[dict[str, int]]) -> list[dict[str, int]]:
    """Register tiles that no other exceeds in one loop alone: of K, of C, of pixels in row order, or of taps.

    Where an array stops to load, a smaller tile may cost less; the mapper takes the largest all the same.
    """
    loops = {"K": ("K",), "C": ("C",), "pixels": ("OY", "OX"), "taps": ("FY", "FX")}

    def exceeds(a, b):
        larger = [all(a[d] >= b[d] for d in of) and a != b for of in loops.values() if any(a[d] != b[d] for d in of)]
        return larger == [True]

    return [tile for tile in tiles if not any(exceeds(other, tile) for other in tiles)]


def candidates(layer, design, orders=(0, 1, 2)):
    """Every candidate as (option index, mapping row).  A register tile must fit before it is cut to the buffer tile."""
    numbers, design_numbers, options = kernel_rows(layer, design)
    bypasses = [b for b in range(8) if not b & ~int(design_numbers[k.BYPASS])]
    for index, option in enumerate(design.dataflow.options):
        s, lanes = spatial_rule(layer, design, option)
        tiles = buffer_tiles(layer, option, s)
        for stationary in option.stationary:
            seen = set()
            fitting = [
                r for r in register_tiles(layer, option, s)
                if k.register_overflow(
                    numbers, design_numbers, options[index],
                    Mapping(s, r, s, lanes, stationary=stationary, option=index).to_row(),
                ) <= 0
            ]  # fmt: skip
            if design.interconnect == "broadcast" and not design.overlap_load:
                fitting = maximal(fitting)
            for r in fitting:
                for t in tiles:
                    cut = dict(r)
                    for d in LOOPS:
                        flat = layer.FY * layer.FX if option.flatten_reduction and d == "C" else 1
                        if option.flatten_reduction and d in ("FY", "FX"):
                            continue
                        steps = math.ceil(getattr(layer, d) * flat / s[d])
                        cut[d] = inside(r[d], math.ceil(t[d] * flat / s[d]), steps)
                    key = (*cut.values(), *t.values())
                    if key not in seen:
                        seen.add(key)
                        row = Mapping(s, cut, t, lanes, stationary=stationary, option=index).to_row()
                        for order, bypass in product(orders, bypasses):
                            row[k.MAP_DRAM_ORDER], row[k.MAP_BYPASS] = order, bypass
                            yield index, row


def enumerate_costs(layer, design, variant, orders=(0, 1, 2)) -> np.ndarray:
    """(cycles, energy) of every candidate that fits, (n, 2)."""
    numbers, design_numbers, options = kernel_rows(layer, design)
    out, costs = np.full(k.N_RESULT, np.nan), []
    for count, (index, row) in enumerate(candidates(layer, design, orders)):
        if count >= MOST_CANDIDATES:
            assume(False)
        k.evaluate_mapping(numbers, design_numbers, options[index], row, variant, out)
        if out[k.OVERFLOW] <= 0:
            costs.append((out[k.CYCLES], out[k.ENERGY_PJ]))
    return np.array(costs).reshape(-1, 2)


def optimum(costs: np.ndarray, objective: str, slack: float) -> tuple[float, float]:
    """(cycles, energy) of the best of all candidates, by the definition of the objective."""
    cycles, energy = costs.T
    if objective == "edp":
        return tuple(costs[np.argmin(cycles * energy)])
    if objective == "latency":
        near = cycles <= cycles.min() * (1 + slack) * (1 + 1e-12)  # equal but for rounding is equal
        cycles, energy = cycles[near], energy[near]
    return cycles[energy == energy.min()].min(), energy.min()


def assert_optimal(layer, design, variant, costs):
    """The kernel's choice equals the optimum for every objective, and its cost is that of the mapping it returns."""
    numbers, design_numbers, options = kernel_rows(layer, design)
    again = np.full(k.N_RESULT, np.nan)
    for objective, slack in OBJECTIVES:
        row, out = best_mapping(numbers, design_numbers, options, objective, slack, variant)
        cycles, energy = optimum(costs, objective, slack)
        where = (objective, slack, layer, design, variant, row)
        assert out[k.OVERFLOW] == 0, where
        if objective == "edp":
            assert out[k.CYCLES] * out[k.ENERGY_PJ] == pytest.approx(cycles * energy, rel=1e-12), where
        else:
            assert out[k.CYCLES] == pytest.approx(cycles, rel=1e-12), where
            assert out[k.ENERGY_PJ] == pytest.approx(energy, rel=1e-12), where
        k.evaluate_mapping(numbers, design_numbers, options[int(row[k.MAP_OPTION])], row, variant, again)
        assert np.array_equal(out, again), where


small_layers = layers(most_macs=300, most=7, depth=5)
few_options = st.sampled_from((
    Dataflow("one", (SpatialOption(("C",), ("K",), ("W", "O")),)),
    Dataflow("pixels", (SpatialOption(("OX", "OY"), ("K",), ("O", "I"), forwards_inputs=True),)),
    Dataflow("rows", (SpatialOption(("FY", "C"), ("OY", "K"), ("W",), forwards_inputs=True),)),
    Dataflow("im2col", (SpatialOption(("C",), ("K",), ("W",), flatten_reduction=True),)),
    Dataflow("two", (SpatialOption(("C",), ("K", "G"), ("W",)), SpatialOption(("OX",), ("K",), ("I",)))),
))  # fmt: skip


@settings(max_examples=500)
@given(small_layers, accelerators(few_options, least_bytes=48), st.data())
def test_mapper_equals_full_enumeration(layer, design, data):
    variant = variant_of(data.draw(residencies(layer)))
    costs = enumerate_costs(layer, design, variant)
    if len(costs):
        assert_optimal(layer, design, variant, costs)
        return
    numbers, design_numbers, options = kernel_rows(layer, design)
    for objective, slack in OBJECTIVES:  # nothing fits: a graded overflow and a finite cost
        _, out = best_mapping(numbers, design_numbers, options, objective, slack, variant)
        assert out[k.OVERFLOW] > 0
        assert np.isfinite(out).all()


@settings(max_examples=40)
@given(small_layers, accelerators(few_options, least_bytes=48))
def test_three_dram_orders_are_enough(layer, design):
    three = enumerate_costs(layer, design, 0)
    every = enumerate_costs(layer, design, 0, range(6))
    assume(len(three))
    for objective, slack in OBJECTIVES:
        assert optimum(every, objective, slack) == optimum(three, objective, slack)


LARGE_LAYERS = (
    MacLayer("stem", K=64, C=3, OY=112, OX=112, FY=7, FX=7, stride_y=2, stride_x=2, pad_y=3, pad_x=3, IY=224, IX=224),
    MacLayer("middle", B=2, K=128, C=128, OY=28, OX=28, FY=3, FX=3, pad_y=1, pad_x=1, IY=28, IX=28),
    MacLayer("depthwise", G=96, OY=28, OX=28, FY=3, FX=3, stride_y=2, stride_x=2, pad_y=1, pad_x=1, IY=56, IX=56),
    MacLayer("product", K=3072, C=768, OX=197, vector_operations=605_184),
    MacLayer("attention", B=12, K=197, C=64, OX=197, static_weights=False),
)


def tile_choices(layer, option, s) -> dict[str, list]:
    """Every candidate size of each loop of the buffer tile; ``F`` the filter's."""
    choices = {}
    for d in ("B", "K", "C", "OY", "OX"):
        step = 1 if option.flatten_reduction and d == "C" else s[d]
        choices[d] = [step * n for n in sizes_up_to(math.ceil(getattr(layer, d) / step))]
    taps = {(layer.FY, layer.FX)}
    if not option.flatten_reduction:
        taps |= {(s["FY"], layer.FX), (s["FY"], s["FX"])}
    return choices | {"F": sorted(taps)}


def some_candidates(layer, design, row, rng, n):
    """`n` candidates as (option index, mapping row): half anywhere, half near `row` (up to three changes of it)."""
    numbers, design_numbers, options = kernel_rows(layer, design)
    choices = []
    for index, option in enumerate(design.dataflow.options):
        s, lanes = spatial_rule(layer, design, option)
        tiles = []
        for stationary, r in product(option.stationary, register_tiles(layer, option, s)):
            base = Mapping(s, r, s, lanes, stationary=stationary, option=index)
            if k.register_overflow(numbers, design_numbers, options[index], base.to_row()) <= 0:
                tiles.append((stationary, r))
        choices.append((option, s, lanes, tiles, tile_choices(layer, option, s)))
    best = Mapping.from_row(row)
    for i in range(n):
        near = i % 2
        index = best.option if near else int(rng.integers(len(choices)))
        option, s, lanes, tiles, sizes = choices[index]
        if not tiles:
            continue
        stationary, r = tiles[rng.integers(len(tiles))]
        t = {d: of[rng.integers(len(of))] for d, of in sizes.items()}
        if near:
            if rng.random() < 0.5:
                stationary, r = best.stationary, dict(zip(LOOPS, best.register, strict=True))
            kept = rng.permutation(list(sizes))[int(rng.integers(3)) :]
            t |= {d: best.t(d) if d != "F" else (best.t("FY"), best.t("FX")) for d in kept}
        t["FY"], t["FX"] = t.pop("F")
        if layer.FY == layer.FX == 1 and t["OX"] < layer.OX:
            t["OY"] = s["OY"]
        t["G"] = s["G"]
        cut = dict(r)
        for d in LOOPS:
            flat = layer.FY * layer.FX if option.flatten_reduction and d == "C" else 1
            if not (option.flatten_reduction and d in ("FY", "FX")):
                steps = math.ceil(getattr(layer, d) * flat / s[d])
                cut[d] = inside(r[d], math.ceil(min(t[d], getattr(layer, d)) * flat / s[d]), steps)
        allowed = [b for b in range(8) if not b & ~int(design_numbers[k.BYPASS])]
        chosen = Mapping(s, cut, t, lanes, stationary=stationary, option=index).to_row()
        chosen[k.MAP_DRAM_ORDER], chosen[k.MAP_BYPASS] = rng.integers(6), allowed[rng.integers(len(allowed))]
        yield index, chosen


@pytest.mark.parametrize("layer", LARGE_LAYERS, ids=lambda layer: layer.name)
def test_no_candidate_of_a_large_layer_beats_the_mapper(layer):
    """Layers too large to enumerate, designs of the default space: thousands of candidates, many near the best."""
    space, rng, out = default_space(), np.random.default_rng(11), np.full(k.N_RESULT, np.nan)
    fitting = 0
    for x in space.sample(4, rng):
        design = replace(space.design(x), bypass="WIO" if rng.random() < 0.5 else "")
        numbers, design_numbers, options = kernel_rows(layer, design)
        for objective, slack in OBJECTIVES:
            row, best = best_mapping(numbers, design_numbers, options, objective, slack, 0)
            if best[k.OVERFLOW] > 0:
                continue
            for index, trial in some_candidates(layer, design, row, rng, 300):
                k.evaluate_mapping(numbers, design_numbers, options[index], trial, 0, out)
                fitting += out[k.OVERFLOW] == 0
                if out[k.OVERFLOW] == 0:
                    assert not beats(out, best, objective, slack), (objective, layer, design, trial, row)
    assert fitting > 300


def beats(out, best, objective, slack) -> bool:
    """Whether cost `out` is better than `best` by more than rounding (within slack: of what `best` itself took)."""
    cycles, energy = (out[c] / best[c] for c in (k.CYCLES, k.ENERGY_PJ))
    if objective == "edp":
        return cycles * energy < 1 - 1e-12
    if objective == "energy" or slack:
        return energy < 1 - 1e-12 and (objective == "energy" or cycles <= 1)
    return cycles < 1 - 1e-12 or (cycles <= 1 and energy < 1 - 1e-12)


def test_stationary_operand_of_a_grouped_layer_is_priced_once():
    """A buffer tile holds one step of ``G``, so a stationary operand stays in the array from one tile to the next."""
    for stride, pad in product((1, 2), (0, 1)):
        layer = MacLayer("d", G=2, OY=4, OX=4, FY=3, FX=3, stride_y=stride, stride_x=stride, pad_y=pad, pad_x=pad)
        design = Accelerator(
            rows=32,
            cols=32,
            dataflow="output_stationary",
            weight_register_bytes=16,
            input_register_bytes=64,
            output_register_bytes=8,
            dram_gbps=256,
        )
        assert_optimal(layer, design, 0, enumerate_costs(layer, design, 0))


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
    assert_optimal(layer, design, 0, enumerate_costs(layer, design, 0))
