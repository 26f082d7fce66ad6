"""Mappings: rows of the kernel and back, the printed loop nest, what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import accelerators, kernel_cost, layers, mappings

from dse.costs import kernels as k
from dse.costs.evaluation import evaluate
from dse.costs.mapping import DRAM_ORDERS, Mapping, load_position
from dse.hardware.accelerator import Accelerator
from dse.networks.layers import LOOPS, MacLayer

CONVOLUTION = MacLayer("conv", K=6, C=4, OY=5, OX=8, FY=3, FX=3, pad_y=1, pad_x=1, IY=5, IX=8)
WEIGHTS_STAY = Mapping(
    spatial={"C": 4, "K": 2},
    register={"OX": 2, "FX": 3},
    buffer={"K": 4, "C": 4, "OY": 2, "OX": 8, "FY": 3, "FX": 3},
)
SUMS_STAY = Mapping(
    spatial={"C": 4, "K": 2},
    register={"K": 2, "OX": 3},
    buffer={"K": 4, "C": 2, "OX": 6, "FX": 3},
    lanes=2,
    dram_order=("P", "R", "K"),
    stationary="O",
    bypass="I",
)


@st.composite
def cases(draw):
    layer, design = draw(layers()), draw(accelerators())
    return layer, design, draw(mappings(layer, design))


@settings(max_examples=200)
@given(cases())
def test_round_trip_through_the_row_of_the_kernel(case):
    _, _, mapping = case
    row = mapping.to_row()
    assert row.shape == (k.N_MAP,) and row.dtype == np.float64
    assert Mapping.from_row(row) == mapping
    assert Mapping.from_row(row).to_row().tobytes() == row.tobytes()
    again = Mapping(*(dict(zip(LOOPS, f, strict=True)) for f in (mapping.spatial, mapping.register, mapping.buffer)),
                    mapping.lanes, mapping.dram_order, mapping.stationary, mapping.bypass, mapping.option,
                    mapping.array_order)  # fmt: skip
    assert again == mapping and hash(again) == hash(mapping)


def test_orders_and_columns_are_those_of_the_kernel():
    assert ["".join(order) for order in DRAM_ORDERS] == ["KRP", "PRK", "KPR", "RKP", "RPK", "PKR"]
    row = SUMS_STAY.to_row()
    assert row[k.MAP_S : k.MAP_S + 8].tolist() == [1, 1, 2, 4, 1, 1, 1, 1]
    assert row[k.MAP_R : k.MAP_R + 8].tolist() == [1, 1, 2, 1, 1, 3, 1, 1]
    assert row[k.MAP_T : k.MAP_T + 8].tolist() == [1, 1, 4, 2, 1, 6, 1, 3]
    assert row[[k.MAP_LANES, k.MAP_DRAM_ORDER, k.MAP_STATIONARY, k.MAP_BYPASS, k.MAP_OPTION]].tolist() == [
        2,
        1,
        2,
        2,
        0,
    ]


def test_loop_nest_with_stationary_weights():
    """Tiles: W 4x4x3x3 = 144; I 4 channels x (2+2) rows x (8+2) columns = 160; O 4x2x8 = 64 words."""
    assert WEIGHTS_STAY.loop_nest(CONVOLUTION, Accelerator(rows=4, cols=2)) == (
        "conv: K=6 C=4 OY=5 OX=8 FY=3 FX=3; W stationary\n"
        "DRAM to buffers\n"
        "  for K in 2 tiles of 4, the last 2\n"
        "    <- W (144 words)\n"
        "    for OY in 3 tiles of 2, the last 1\n"
        "      <- I (160 words), O (64 words)\n"
        "buffers to array\n"
        "  for K in 2 tiles of 2\n"
        "    for FY in 3 tiles of 1\n"
        "      <- W (24 words)\n"
        "      for OY in 2 tiles of 1\n"
        "        for OX in 4 tiles of 2\n"
        "          <- I (16 words), O (4 words)\n"
        "side by side: rows C=4; columns K=2; each PE C=1\n"
        "inside a PE\n"
        "  for OX in 2 steps of 1\n"
        "  for FX in 3 steps of 1"
    )


def test_loop_nest_with_stationary_sums_and_a_bypass():
    design = Accelerator(rows=2, cols=2, macs_per_pe=2, dataflow="channel_vector", bypass="I")
    assert SUMS_STAY.loop_nest(CONVOLUTION, design) == (
        "conv: K=6 C=4 OY=5 OX=8 FY=3 FX=3; O stationary\n"
        "DRAM to buffers\n"
        "  for OY in 5 tiles of 1\n"
        "    for OX in 2 tiles of 6, the last 2\n"
        "      for C in 2 tiles of 2\n"
        "        for FY in 3 tiles of 1\n"
        "          for K in 2 tiles of 4, the last 2\n"
        "            <- W (24 words), O (24 words)\n"
        "  I bypasses the buffers\n"
        "buffers to array\n"
        "  for OX in 2 tiles of 3\n"
        "    <- O (12 words)\n"
        "    for FX in 3 tiles of 1\n"
        "      <- W (8 words), I (6 words)\n"
        "side by side: rows C=2; columns K=2; each PE C=2\n"
        "inside a PE\n"
        "  for K in 2 steps of 2\n"
        "  for OX in 3 steps of 1"
    )


def test_loop_nest_of_one_step():
    layer = MacLayer("one", K=2, C=4)
    nest = Mapping({"C": 4, "K": 2}, {}, {"C": 4, "K": 2}).loop_nest(layer, Accelerator(rows=4, cols=2))
    assert nest.splitlines()[2] == "  <- W (8 words), I (4 words), O (2 words)"
    assert nest.splitlines()[-2:] == ["inside a PE", "  one step"]


@settings(max_examples=100)
@given(cases())
def test_every_mapping_prints_its_trips(case):
    """The trips of the DRAM loops of the text multiply to the number of buffer tiles."""
    layer, design, mapping = case
    text = mapping.loop_nest(layer, design)
    outer = text[: text.index("buffers to array")]
    trips = np.prod([int(n) for n in re.findall(r"in (\d+) tiles", outer)] or [1])
    tiles = np.prod([-(-bound // min(t, bound)) for bound, t in zip(layer.loop_bounds, mapping.buffer, strict=True)])
    assert trips == tiles
    rows, cols = mapping.on_axes(design)
    assert np.prod(list(rows.values())) <= design.rows and np.prod(list(cols.values())) <= design.cols


def test_mappings_of_an_evaluation_are_legal_and_print():
    design = Accelerator(rows=8, cols=8, dataflow="flexible")
    for layer in (CONVOLUTION, MacLayer("product", K=100, C=64, OX=9), MacLayer("deep", G=12, OX=9, FX=3)):
        mapping = evaluate(design, layer).mappings[layer.name]
        assert mapping.loop_nest(layer, design).startswith(f"{layer.name}: ")


def test_load_position():
    nest = [("K", 2), ("R", 3), ("P", 4)]
    assert [load_position(nest, x) for x in "WIO"] == [2, 3, 3]
    assert load_position([("K", 2), ("R", 1), ("P", 1)], "I") == 0
    assert load_position([], "W") == 0


ONE = Mapping({}, {}, {})
BAD = {
    "dram_order must be a permutation of P, K, R, or different loops of B G K C OY OX FY FX; got ('P', 'K', 'K')": {
        "dram_order": ("P", "K", "K")
    },
    "array_order must be different loops of B G K C OY OX FY FX; got ('K', 'K')": {"array_order": ("K", "K")},
    "stationary must be one of W, I, O; got 'X'": {"stationary": "X"},
    "bypass must be a subset of 'WIO', got 'WX'": {"bypass": "WX"},
    "bypass must be a subset of 'WIO', got 'WW'": {"bypass": "WW"},
    "lanes must be a whole number >= 1, got 0": {"lanes": 0},
    "option must be a whole number >= 0, got -1": {"option": -1},
    "3 lanes do not divide the spatial factor 1 of C": {"lanes": 3},
    "register of K must be a whole number >= 1, got 0": {"register": {"K": 0}},
    "buffer of OX must be a whole number >= 1, got 1.5": {"buffer": {"OX": 1.5}},
    "spatial has an unknown loop 'M'": {"spatial": {"M": 2}},
    "buffer needs 8 factors": {"buffer": [1, 2]},
}


@pytest.mark.parametrize("message", BAD)
def test_refused(message):
    with pytest.raises(ValueError, match=f"Mapping: {re.escape(message)}"):
        replace(ONE, **BAD[message])


def test_bypass_is_held_in_one_order():
    assert replace(ONE, bypass="OW") == replace(ONE, bypass="WO")


def test_refused_on_a_design():
    design = Accelerator(rows=4, cols=2)
    with pytest.raises(ValueError, match="option 1 of dataflow weight_stationary, which has 1"):
        replace(WEIGHTS_STAY, option=1).loop_nest(CONVOLUTION, design)
    with pytest.raises(ValueError, match="the dataflow does not unroll OX, but its spatial factor is 2"):
        replace(WEIGHTS_STAY, spatial={"OX": 2}).loop_nest(CONVOLUTION, design)
    with pytest.raises(ValueError, match="C=8 do not fit 4 rows of C and 2 columns of K"):
        replace(WEIGHTS_STAY, spatial={"C": 8}).on_axes(design)
    with pytest.raises(ValueError, match="46 numbers, got 3"):
        Mapping.from_row(np.ones(3))


@settings(max_examples=200)
@given(cases())
def test_text_is_read_back(case):
    """The text gives a mapping that prints the same and costs the same, to the bit."""
    layer, design, mapping = case
    text = mapping.loop_nest(layer, design)
    again = Mapping.from_text(text)
    assert again.loop_nest(layer, design) == text
    assert kernel_cost(layer, design, again) == kernel_cost(layer, design, mapping)


def test_a_loop_of_one_trip_inside_a_sweep_changes_nothing():
    """Columns were passed along only where the sweep was listed last, and a text does not list single trips."""
    layer = MacLayer("l", K=4, OX=8, FX=3)
    design = Accelerator(rows=2, cols=2, dataflow="row_stationary", weight_register_bytes=16)
    order = ("B", "G", "K", "C", "FY", "FX", "OY", "OX")
    mapping = Mapping({"K": 2}, {"FX": 3, "K": 2}, {d: getattr(layer, d) for d in LOOPS}, array_order=order)
    turned = replace(mapping, array_order=("B", "G", "K", "OX", "C", "FY", "FX", "OY"))
    again = Mapping.from_text(turned.loop_nest(layer, design))
    cost = kernel_cost(layer, design, mapping)
    assert kernel_cost(layer, design, turned) == kernel_cost(layer, design, again) == cost


GOOD_TEXT = WEIGHTS_STAY.loop_nest(CONVOLUTION, Accelerator(rows=4, cols=2))
BAD_TEXT = {
    "line 1: expected 'NAME: K=6": ("conv: ", "conv "),
    "line 3: expected a loop such as": ("for K in 2 tiles of 4, the last 2", "for K in two tiles"),
    "line 3: loop 'M' is unknown": ("for K in 2 tiles of 4", "for M in 2 tiles of 4"),
    "2 tiles of 5 are not the 6 of loop K|tiles of 3 are not the 6": ("for K in 2 tiles of 4", "for K in 3 tiles of 3"),
    "line 'side by side": ("side by side: rows C=4; columns K=2; each PE C=1\n", ""),
    "line 14: expected loops of B G K": ("rows C=4", "rows M=4"),
    "steps of OX inside a PE are 3": ("for OX in 2 steps of 1", "for OX in 2 steps of 3"),
}


@pytest.mark.parametrize("message", BAD_TEXT)
def test_text_that_is_no_loop_nest(message):
    text = GOOD_TEXT.replace(*BAD_TEXT[message])
    assert text != GOOD_TEXT
    with pytest.raises(ValueError, match="mapping text.*" + message):
        Mapping.from_text(text)
