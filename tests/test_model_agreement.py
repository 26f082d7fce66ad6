"""Three independent routes to every number agree: compiled kernel, plain formulas, brute-force walker."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    RESULT_COLUMNS,
    TECHNOLOGY,
    accelerators,
    kernel_cost,
    lanes_of,
    layers,
    mappings,
    residencies,
    subsets,
    with_weight_forms,
    words_of,
)
from walker import Buffer, Walker, bytes_moved, whole_accesses

from dse.costs.evaluation import evaluate
from dse.costs.formulas import (
    mac_energy_pj,
    mapping_cost,
    pj_per_cycle,
    register_energy_pj_per_byte,
    way_pj_per_byte,
)
from dse.costs.mapping import DRAM_ORDERS, Mapping
from dse.costs.traffic import padding, tile_bytes
from dse.hardware.accelerator import OPERAND_NAMES, Accelerator, buffer_groups
from dse.hardware.space import default_space
from dse.hardware.technology import TWO_PORTS_ENERGY_FACTOR
from dse.hardware.weight_forms import weight_form
from dse.networks import load_network
from dse.networks.layers import MacLayer, Network

EXACT = ("array_cycles", "folds", "macs")
CLOSE = 1e-12


@st.composite
def cases(draw, count=4):
    layer, design = draw(with_weight_forms(draw(layers()), draw(accelerators())))
    chosen = [draw(residencies(layer)) for _ in range(count)]
    return layer, design, [(draw(mappings(layer, design, resident)), resident) for resident in chosen]


def disagreement(name, got, expected, cycles, energy) -> str | None:
    """What differs, or None: bytes, array cycles and folds exactly, sums to rounding of what they are part of."""
    if isinstance(expected, str):
        return None if got == expected else f"{name}: kernel {got}, formulas {expected}"
    whole = energy if name.endswith("_pj") else cycles if "cycles" in name or name.startswith("port") else expected
    exact = name in EXACT or name.startswith(("dram_w", "dram_i", "dram_o", "dram_f", "buffer_w", "buffer_i", "array"))
    exact = exact or (name.startswith(("buffer_o", "register_w", "register_o")) and not name.endswith("_pj"))
    if got == expected or (not exact and abs(got - expected) <= CLOSE * max(abs(whole), abs(expected))):
        return None
    return f"{name}: kernel {got!r}, formulas {expected!r}"


def assert_formulas_agree(layer, design, mapping, resident=frozenset()):
    got = kernel_cost(layer, design, mapping, resident)
    expected = mapping_cost(layer, design, TECHNOLOGY, mapping, resident)
    assert set(expected) == set(RESULT_COLUMNS) | {"bound"}
    wrong = [disagreement(name, got[name], expected[name], got["cycles"], got["energy_pj"]) for name in expected]
    assert not any(wrong), (list(filter(None, wrong)), layer, design, mapping, resident)


@settings(max_examples=250)
@given(cases())
def test_kernel_equals_formulas(case):
    layer, design, chosen = case
    for mapping, resident in chosen:
        assert_formulas_agree(layer, design, mapping, resident)


def buffers_of(design: Accelerator) -> list[Buffer]:
    """The buffers of a design for the walker."""
    buffers = []
    for operands in buffer_groups(design.buffers):
        shares = [OPERAND_NAMES[x] for x in operands]
        width = sum(Fraction(getattr(design, f"{x}_buffer_width_bytes")) for x in shares)
        banks = sum(getattr(design, f"{x}_buffer_banks") for x in shares)
        apart = any(x in design.separate_ports for x in operands)
        buffers.append(Buffer(operands, width, banks, design.port_model == "accesses", apart))
    return buffers


def access_pj(design, operand: str, access: str) -> float:
    """An access of the whole port of a buffer [pJ]: every slice of it wakes one macro."""
    t, held = TECHNOLOGY, next(group for group in buffer_groups(design.buffers) if operand in group)
    port, kib, banks = (
        sum(getattr(design, f"{OPERAND_NAMES[x]}_buffer_{what}") for x in held)
        for what in ("width_bytes", "kib", "banks")
    )
    slices = max(1.0, port / t.sram_slice_bytes)
    word, macro = port / slices, min(kib * 1024 / slices, t.sram_macro_bytes)
    base, by_size, by_word, by_banks = (
        getattr(t, f"sram_{access}_{what}")
        for what in ("1kib_64bit_pj", "capacity_exponent", "word_exponent", "bank_exponent")
    )
    ports = TWO_PORTS_ENERGY_FACTOR if any(x in design.separate_ports for x in held) else 1.0
    at_nominal = slices * base * (macro / 1024) ** by_size * (word / 8) ** by_word * banks**by_banks * ports
    return at_nominal * (t.vdd_v / t.nominal_vdd_v) ** 2


def walked_energy_pj(layer, design, option, mapping, moved, got) -> dict[str, float]:
    """Energy of what the walker counts [pJ]: each MAC that is not skipped, each word on its way to each of its takers,
    each access of a buffer; of time by the cycles of the kernel."""
    t, words, takers = TECHNOLOGY, words_of(layer, design), Walker(layer, option, mapping).takers()
    done = moved["macs"] * (1 - layer.zero_share)
    crossed = {"W": moved["array_w"], "I": moved["array_i"], "O": moved["array_o_read"] + moved["array_o_write"]}
    sums = done / mapping.lanes * words["sum"]
    reads = {"W": done * words["W"], "I": moved["macs"] * words["I"], "O": sums}
    writes = {"W": crossed["W"] * takers["W"], "I": crossed["I"] * takers["I"], "O": sums + moved["array_o_read"]}
    register = way = buffer = 0.0
    for x in OPERAND_NAMES:
        read_pj, write_pj = register_energy_pj_per_byte(design, t, x, weight_form(layer))
        register += reads[x] * read_pj + writes[x] * write_pj
        first_pj, next_pj = way_pj_per_byte(design, t, x)
        way += crossed[x] * first_pj + crossed[x] * (takers[x] - 1) * next_pj
        held = next(group for group in buffer_groups(design.buffers) if x in group)
        port = sum(getattr(design, f"{OPERAND_NAMES[y]}_buffer_width_bytes") for y in held)
        for access in ("read", "write"):
            buffer += got[f"line_{x.lower()}_{access}"] / port * access_pj(design, x, access)
    timed, peak = pj_per_cycle(design, t), design.rows * design.cols * lanes_of(layer, design)
    return {
        "mac_pj": done * mac_energy_pj(layer, design, t),
        "register_pj": register,
        "interconnect_pj": way,
        "buffer_pj": buffer,
        "clock_pj": got["cycles"] * timed["clock"] + moved["macs"] / peak * timed["clock_work"],
        "io_pj": got["cycles"] / (design.clock_ghz * 1e9) * t.io_idle_w * 1e12,
        "leakage_pj": got["cycles"] * timed["leakage"],
    }


def dram_prices(design: Accelerator) -> tuple[float, float]:
    """Energy of a bit [pJ] and what the DRAM takes in any case [W]."""
    if not design.dram_type:
        return TECHNOLOGY.dram_pj_per_bit, 0.0
    return design.dram_type.pj_per_bit, (design.dram_type.background_w_per_channel or 0.0) * design.dram_channels


@settings(max_examples=250)
@given(cases())
def test_kernel_equals_walker(case):
    layer, design, chosen = case
    for mapping, resident in chosen:
        option = mapping.spatial_option(design)
        words = words_of(layer, design)
        expected, walk = bytes_moved(
            layer, option, mapping, words, resident, padding(layer, design, mapping), design.feature_map_compression,
            design.reload_every_tile, buffers_of(design),
        )  # fmt: skip
        expected |= {"array_cycles": walk.array_cycles, "folds": walk.folds, "macs": walk.macs}
        got = kernel_cost(layer, design, mapping, resident)
        energy = walked_energy_pj(layer, design, option, mapping, expected, got)
        for name, value in energy.items():
            assert abs(got[name] - value) <= 1e-9 * got["energy_pj"], (name, got[name], value, layer, design, mapping)
        wrong = {
            name: (got[name], value)
            for name, value in expected.items()
            if got[name] != (pytest.approx(value, rel=CLOSE) if name.startswith("port") else value)
        }
        assert not wrong, (wrong, layer, design, mapping, resident)
        moved = sum(value for name, value in expected.items() if name.startswith("dram_"))
        price_pj, idle_w = dram_prices(design)
        idle_pj = idle_w * 1e12 * got["cycles"] / (design.clock_ghz * 1e9)
        assert got["dram_pj"] == pytest.approx(8 * price_pj * moved + idle_pj, rel=1e-9)
        tile = tile_bytes(layer, design, mapping)
        assert tile["W"] == walk.tile_words["W"] * words["W"]
        assert tile["O"] == walk.tile_words["O"] * words["sum"]
        assert tile["I"] == walk.tile_words_padded * words["I"] >= walk.tile_words["I"] * words["I"]


@st.composite
def even_cases(draw):
    """A layer without windows, whose buffer tiles, array pieces and array steps all divide the level above."""
    design = replace(draw(accelerators()), port_model="accesses")
    loops, spatial, register, buffer, left = {}, {}, {}, {}, 300
    for d in draw(st.permutations(("B", "G", "K", "C", "OY", "OX"))):
        sizes = []
        for most in (5, 2, 2, 2):
            sizes.append(draw(st.integers(1, max(1, min(most, left)))))
            left //= sizes[-1]
        spatial[d], register[d], buffer[d] = sizes[0], sizes[1], math.prod(sizes[:3])
        loops[d] = math.prod(sizes)
    layer = MacLayer("even", **loops, stride_y=draw(st.integers(1, 3)), stride_x=draw(st.integers(1, 3)),
                     static_weights=draw(st.booleans()))  # fmt: skip
    option = draw(st.integers(0, len(design.dataflow.options) - 1))
    stationary = draw(st.sampled_from(design.dataflow.options[option].stationary))
    mapping = Mapping(spatial, register, buffer, dram_order=draw(st.sampled_from(DRAM_ORDERS)), stationary=stationary,
                      bypass=draw(subsets(design.bypass)), option=option)  # fmt: skip
    return layer, design, mapping, draw(residencies(layer))


@settings(max_examples=150)
@given(even_cases())
def test_accesses_are_the_whole_accesses_of_each_array_step(case):
    """Without edge steps the accesses of the model are counted, not shared out."""
    layer, design, mapping, resident = case
    words = words_of(layer, design)
    option = mapping.spatial_option(design)
    moved, walk = bytes_moved(layer, option, mapping, words, resident, reload=design.reload_every_tile)
    got = kernel_cost(layer, design, mapping, resident)
    for buffer in buffers_of(design):
        for x in buffer.operands:
            for way, ends in (("read", ("buffer", "array")), ("write", ("array", "buffer"))):
                lines = moved[f"buffer_{x.lower()}_{way}"]
                for kind in ("O", "sum") if x == "O" else (x,):
                    lines -= walk.words[(*ends, kind)] * words[kind]
                    accesses = whole_accesses(walk, (*ends, kind), words[kind], buffer)
                    lines += accesses * float(buffer.width / buffer.banks)
                assert got[f"line_{x.lower()}_{way}"] == pytest.approx(lines, rel=1e-9), (x, way, case)


OTHERS = (
    MacLayer("depthwise", G=96, OY=28, OX=28, FY=3, FX=3, stride_y=2, stride_x=2, pad_y=1, pad_x=1, IY=56, IX=56),
    MacLayer(
        "dilated", K=21, C=64, OY=33, OX=33, FY=3, FX=3, dilation_y=6, dilation_x=6, pad_y=6, pad_x=6, IY=33, IX=33
    ),
    MacLayer("attention", B=12, K=197, C=64, OX=197, static_weights=False),
    MacLayer("one sample", K=1000, C=2048),
)
"""Kinds of layers that ResNet-50 lacks."""


def test_formulas_of_the_best_mappings_of_a_whole_network():
    """Real sizes, and the mappings that matter: those the mapper chooses on designs of the default space."""
    space = default_space()
    network = Network("all kinds", (*load_network("resnet50").layers, *OTHERS))
    shapes = {layer.shape_key: layer for layer in network.mac_layers}
    for x in space.sample(4, np.random.default_rng(3)):
        design = space.design(x)
        mappings_of = evaluate(design, network, technology=TECHNOLOGY).mappings
        for layer in shapes.values():
            assert_formulas_agree(layer, design, mappings_of[layer.name])
