"""Clock, wires and registers: what there is, what it costs, and what gating of clock and zeros saves."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import accelerators, layers, mappings
from walker import Walker

import dse
from dse.costs.evaluation import evaluate
from dse.costs.formulas import copies, idle_w, pj_per_cycle, register_energy_pj_per_byte
from dse.costs.kernel_rows import parameter_columns
from dse.hardware.accelerator import OPERAND_NAMES, Accelerator
from dse.hardware.area import area_blocks_mm2, area_mm2, leakage_w
from dse.hardware.dataflow import DATAFLOWS
from dse.hardware.logic import wiring
from dse.hardware.power import flip_flop_bits, logic_pj_per_byte, transfer_pj_per_byte, wire_pj_per_byte
from dse.hardware.presets import PRESETS, preset_technology
from dse.hardware.technology import LEAKAGE_CLASSES, Technology
from dse.networks import load_network
from dse.networks.layers import MacLayer, Network, VectorLayer
from dse.simultaneous.co_runs import co_run
from dse.simultaneous.division import Division
from dse.simultaneous.mixes import Mix, Stream

TECHNOLOGY = Technology()
SMALL = Accelerator(
    rows=2, cols=3, weight_register_bytes=4, input_register_bytes=1, output_register_bytes=448, vector_lanes=5
)
WAITS = MacLayer("waits", K=64, C=64)
"""A layer whose weights take longer over a slow DRAM link than in the array."""


def test_flip_flops_by_hand():
    """6 PEs.  Working: 2 (8 + 8) bits each; ports 2 x 8 x 3 x 32; lanes 5 x 2 x 32; accumulators of half the port of
    the sums.  Holding: 5 bytes a PE, 448 bytes are a memory; counters, bounds, strides and addresses; engines."""
    design = replace(SMALL, engine_flip_flop_bits=1000.0)
    working, holding, standing = flip_flop_bits(parameter_columns(design), TECHNOLOGY)
    addresses = [math.ceil(math.log2(1024 * getattr(design, f"{name}_buffer_kib"))) for name in OPERAND_NAMES.values()]
    assert working == 6 * 32 + 1536 + 320 + 128
    assert holding == 6 * 40 + sum(8 * (32 + bits) + bits for bits in addresses)
    assert standing == 1000
    twice, once = (
        flip_flop_bits(parameter_columns(replace(design, interconnect="systolic", overlap_skew=x)), TECHNOLOGY)[1]
        for x in (True, False)
    )
    assert twice - once == 6 * 32  # weights stay: 4 bytes more


@pytest.mark.parametrize("name", DATAFLOWS)
def test_area_and_clock_count_the_same_flip_flops(name):
    """A larger cell of a flip-flop grows the area by all that the clock reaches, and by no other."""
    design = parameter_columns(replace(SMALL, dataflow=name, engine_flip_flop_bits=500.0))
    t = replace(
        TECHNOLOGY, layout_overhead_factor=1.0, control_area_share=0.0, bus_area_share=0.0, engine_logic_share=0.0
    )
    larger = replace(t, flip_flop_um2_per_bit=t.flip_flop_um2_per_bit + 1e-3)
    grown_um2 = (area_mm2(design, larger) - area_mm2(design, t)) * 1e6
    assert grown_um2 == pytest.approx(1e-3 * sum(flip_flop_bits(design, t)), rel=1e-6)


def test_clock_by_hand():
    area_um2 = (
        sum(v[0] for k, v in area_blocks_mm2(parameter_columns(SMALL), TECHNOLOGY).items() if k != "dram_interface")
        * 1e6
    )
    working, holding, _ = (bits[0] for bits in flip_flop_bits(parameter_columns(SMALL), TECHNOLOGY))
    number = working + holding
    tree_fj = number * (0.95 + 0.2 * 0.75 * math.sqrt(area_um2 / number)) * 1.0**2 * 1.5
    leaves_fj = (working + 0.5 * holding) * 6.94 * (1.018 - 0.3107 + 0.1539) / (1.018 * 1.21 - 0.3107 * 1.1 + 0.1539)
    found = pj_per_cycle(SMALL, TECHNOLOGY)
    assert found["clock"] == pytest.approx((tree_fj + leaves_fj) * 1e-3, rel=1e-12)
    assert found["clock_work"] == 0


def test_engines_are_clocked_unless_gated():
    """They have no work of the model's: gating always stops its share of them."""
    with_engines = replace(SMALL, engine_flip_flop_bits=50_000.0)
    for share in (0.0, 0.4, 1.0):
        technology = replace(TECHNOLOGY, clock_gating_share=share)
        before, after = (pj_per_cycle(design, technology) for design in (SMALL, with_engines))
        assert after["clock"] >= before["clock"] + (1 - share) * 50_000 * 0.5 * TECHNOLOGY.flip_flop_clock_pj_per_bit
    assert after["clock"] == 0 and after["clock_work"] == before["clock_work"]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_gating_stops_the_clock_of_what_does_nothing(share):
    """The clock of a design that always works is not gated; that of waiting cycles is, by its share."""
    technology = replace(TECHNOLOGY, clock_gating_share=share)
    design = replace(Accelerator(rows=4, cols=4), dram_gbps=0.1)
    whole = pj_per_cycle(design, TECHNOLOGY)["clock"]
    result = evaluate(design, [WAITS, VectorLayer("pool", "MaxPool", 90, 10, 10)], technology=technology)
    for _, row in result.layers.iterrows():
        ideal = row["macs"] / design.macs_per_cycle
        assert row["cycles"] > 10 * ideal
        assert row["clock_pj"] == pytest.approx(whole * (ideal + (1 - share) * (row["cycles"] - ideal)), rel=1e-12)


def test_the_clock_of_a_waiting_design_costs_energy():
    slow, fast = (evaluate(Accelerator(dram_gbps=gbps), WAITS).energy()["clock"] for gbps in (0.1, 100))
    assert slow > 20 * fast


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_two_requests_on_a_whole_chip_take_twice_every_level_of_energy(share):
    technology = replace(TECHNOLOGY, clock_gating_share=share, io_idle_w=0.1)
    design = Accelerator(rows=4, cols=4, dram_type="HBM2", dram_channels=0.01, engine_flip_flop_bits=500.0)
    network = Network.from_layers([WAITS, MacLayer("works", K=8, C=8, OX=40)])
    alone = evaluate(design, network, technology=technology).energy()
    found = co_run(Mix("two", (Stream("a", network), Stream("b", network))), design, technology=technology).metrics
    assert all(found[f"energy_{name}_j"] == pytest.approx(2 * energy, rel=1e-9) for name, energy in alone.items())


def test_a_divided_chip_clocks_the_flip_flops_of_its_sub_arrays_and_its_engines_once():
    """Other dataflows than the design's need other ones.  Without the tree, whose length is no sum."""
    t = replace(TECHNOLOGY, clock_pin_ff=0.0, clock_wire_ff_per_mm=0.0)
    design = Accelerator(cols=32, dataflow="output_stationary", engine_flip_flop_bits=1000.0)
    division = Division((1, 3), dataflows=("row_stationary", "weight_stationary_im2col"))
    parts = [replace(part, engine_flip_flop_bits=0.0) for part in division.of(design)]
    engines_pj = t.clock_held_share * 1000 * t.flip_flop_clock_pj_per_bit
    pj_a_cycle = sum(pj_per_cycle(part, t)["clock"] for part in parts) + engines_pj
    network = Network.from_layers([WAITS])
    found = co_run(Mix("pair", (Stream("a", network), Stream("b", network))), design, division, technology=t).metrics
    assert found["energy_clock_j"] == pytest.approx(pj_a_cycle * 1e-3 * design.clock_ghz * found["makespan_s"])


def test_clock_of_published_chips():
    """Eyeriss v1 has 107 mW of clock network and 12.25 mm2 at 65 nm and 200 MHz: 44 pJ/mm2 a cycle (JSSC 2017, Fig. 16;
    not fitted).  The leaves of the tree are counted with registers there."""
    t = Technology.at(65)
    t = replace(t, flip_flop_clock_pj_per_bit=0)
    design = dse.preset("eyeriss_v1")
    area = sum(v[0] for k, v in area_blocks_mm2(parameter_columns(design), t).items() if k != "dram_interface")
    assert 44 / 2 < pj_per_cycle(design, t)["clock"] / area < 44 * 2


def test_clock_grows_with_what_is_clocked():
    before = pj_per_cycle(SMALL, TECHNOLOGY)["clock"]
    for changes in (
        {"rows": 4}, {"macs_per_pe": 2}, {"weight_bits": 16}, {"input_register_bytes": 8}, {"vector_lanes": 64},
        {"output_buffer_width_bytes": 128}, {"input_buffer_kib": 4096},
    ):  # fmt: skip
        assert pj_per_cycle(SMALL.with_parameters(changes), TECHNOLOGY)["clock"] > before, changes


@pytest.mark.parametrize("name", ["clock_gating_share", "clock_held_share"])
def test_a_share_above_one_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be from 0 to 1, got 1.5"):
        replace(TECHNOLOGY, **{name: 1.5})


def test_pins_follow_two_cell_libraries():
    assert Technology.at(7).clock_pin_ff == pytest.approx(0.475)
    assert np.all(np.diff([Technology.at(n).clock_pin_ff for n in (7, 16, 22, 28, 45, 65)]) > 0)


ZEROS = MacLayer("zeros", K=8, C=8, OX=20, zero_share=0.25)


def test_zeros_save_energy_but_no_time():
    """A quarter of the inputs zero: a quarter of MACs, weight reads and sums; inputs are read all the same."""
    design = Accelerator(rows=4, cols=4, weight_register_bytes=4, input_register_bytes=4, output_register_bytes=16)
    mapping = evaluate(design, ZEROS, technology=TECHNOLOGY).mappings["zeros"]
    dense, sparse = (
        evaluate(design, layer, technology=TECHNOLOGY, mapping=mapping).layers.iloc[0]
        for layer in (replace(ZEROS, zero_share=0.0), ZEROS)
    )
    assert sparse["cycles"] == dense["cycles"]
    assert sparse["mac_pj"] == pytest.approx(0.75 * dense["mac_pj"])
    for part in ("interconnect", "buffer", "dram", "clock", "leakage"):
        assert sparse[f"{part}_pj"] == dense[f"{part}_pj"]
    macs = ZEROS.macs
    saved_bytes = {"weight": 0.25 * macs, "input": 0.0, "output": 0.25 * 2 * macs * 4}
    for operand, saved in saved_bytes.items():
        assert dense[f"register_{operand}_bytes"] - sparse[f"register_{operand}_bytes"] == pytest.approx(saved)
    read_w, _ = register_energy_pj_per_byte(design, TECHNOLOGY, "W")
    read_o, write_o = register_energy_pj_per_byte(design, TECHNOLOGY, "O")
    saved_pj = 0.25 * macs * (read_w + 4 * (read_o + write_o))
    assert dense["register_pj"] - sparse["register_pj"] == pytest.approx(saved_pj)


def test_zeros_of_a_network_are_told_by_layer_and_kept_by_its_file(tmp_path):
    """Layers of one shape but other zeros are costed apart."""
    network = Network.from_layers([MacLayer(name, K=8, C=8, OX=20) for name in ("a", "b")])
    sparse = network.with_zero_shares({"b": 0.5})
    assert [layer.zero_share for layer in sparse.layers] == [0.0, 0.5]
    (tmp_path / "sparse.toml").write_text(sparse.toml_text())
    assert load_network(tmp_path / "sparse.toml").layers == sparse.layers
    a, b = evaluate(Accelerator(), sparse).layers["mac_pj"]
    assert b == pytest.approx(a / 2)
    with pytest.raises(ValueError, match="MAC layer 'c' is unknown"):
        network.with_zero_shares({"c": 0.5})
    with pytest.raises(ValueError, match="zero_share must be a number from 0 to 1, got 1.5"):
        network.with_zero_shares({"a": 1.5})
    with pytest.raises(ValueError, match="shares=0.5: give a dictionary of shares by layer"):
        network.with_zero_shares(0.5)


@pytest.mark.parametrize("share", [-0.1, 1.1, True, "a"])
def test_a_share_of_zeros_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="zero_share must be a number from 0 to 1, got"):
        MacLayer("wrong", zero_share=share)


def wires_pj_per_byte(design, technology):
    columns = parameter_columns(design)
    feed, pitch = wire_pj_per_byte(columns, technology, area_blocks_mm2(columns, technology))
    return dict(zip("WIO", feed[0], strict=True)) | {"pitch": pitch[0]}


def test_wires_by_hand():
    """A random byte changes 4 bits; each takes C V^2 / 2 = 150 fJ/mm at 1 V."""
    design = replace(SMALL, buffers="W+I/O")
    area = {name: v[0] for name, v in area_blocks_mm2(parameter_columns(design), TECHNOLOGY).items()}
    array = area["macs"] + area["registers"] + area["control"] + area["interconnect"]
    shared = area["weight_buffer"] + area["input_buffer"]
    found = wires_pj_per_byte(design, TECHNOLOGY)
    assert found["W"] == found["I"] == pytest.approx(0.6 * (math.sqrt(shared) + math.sqrt(array)) / 2, rel=1e-12)
    assert found["O"] == pytest.approx(0.6 * (math.sqrt(area["output_buffer"]) + math.sqrt(array)) / 2, rel=1e-12)
    assert found["pitch"] == pytest.approx(0.6 * math.sqrt(array / 6), rel=1e-12)


def test_a_wire_is_within_the_range_of_published_ones():
    """A random bit: 0.059 pJ/mm at 40 nm, 0.9 V (Gebhart, bare wire) to 0.121 (Keckler, with repeaters)."""
    t = replace(Technology.at(45), vdd_v=0.9)
    area = area_blocks_mm2(parameter_columns(SMALL), t)
    pitch_mm = math.sqrt(sum(area[name][0] for name in ("macs", "registers", "control", "interconnect")) / 6)
    per_bit_mm = wires_pj_per_byte(SMALL, t)["pitch"] / 8 / pitch_mm
    assert 0.059 <= per_bit_mm <= 0.121


def test_larger_arrays_and_buffers_have_longer_wires():
    before = wires_pj_per_byte(SMALL, TECHNOLOGY)
    wide = wires_pj_per_byte(replace(SMALL, cols=64), TECHNOLOGY)
    assert all(wide[x] > before[x] for x in "WIO") and wide["pitch"] == pytest.approx(before["pitch"])
    deep = wires_pj_per_byte(replace(SMALL, input_buffer_kib=4096), TECHNOLOGY)
    assert deep["I"] > before["I"] and deep["W"] == before["W"]


@settings(max_examples=200)
@given(st.data())
def test_takers_of_a_word_are_the_pes_that_hold_it(data):
    """A word goes to, or a sum comes from, the PEs that the walker finds; all places of the array in use."""
    layer = data.draw(layers())
    design = data.draw(accelerators())
    mapping = data.draw(mappings(layer, design))
    option = mapping.spatial_option(design)
    found = copies(layer, option, mapping)
    walked = Walker(layer, option, mapping).takers()
    for x in "WIO":
        assert found[x] == pytest.approx(walked[x], rel=1e-12), (x, layer, mapping)


def logic_of(design):
    return tuple(price[0] for price in logic_pj_per_byte(parameter_columns(design), TECHNOLOGY))


MULTIPLEXER_PJ = TECHNOLOGY.multiplexer_pj_per_bit / 2
ADDER_PJ = 0.1 / 32
FLIP_PJ = TECHNOLOGY.flip_flop_write_pj_per_bit / 2


def test_logic_on_the_way_of_words_by_hand():
    """Ports of 32 bytes, 2 x 3 PEs; addresses of 16 bits for 64 KiB; half of the bits change."""
    plain = replace(SMALL, dataflow="output_stationary", **{f"{x}_buffer_kib": 64 for x in OPERAND_NAMES.values()})
    address_pj = (16 + 16) * ADDER_PJ / 32
    once, each = logic_of(replace(plain, interconnect="systolic"))  # without tags
    assert once == pytest.approx(address_pj, rel=1e-12) and np.all(each == 0)
    tagged, _ = logic_of(replace(plain, dataflow="row_stationary"))
    compared = 2 * 1 + 3 * 2  # of both rows, then of the three columns of one
    assert tagged[:2] == pytest.approx(address_pj + compared * ADDER_PJ, rel=1e-12)
    returned = 8 / 2 * (FLIP_PJ + ADDER_PJ)
    assert tagged[2] == pytest.approx(address_pj + compared * ADDER_PJ / 4 + returned, rel=1e-12)
    flat, _ = logic_of(replace(plain, dataflow="weight_stationary_im2col"))
    picked = (16 + 8) * FLIP_PJ + (256 - 8) * MULTIPLEXER_PJ + 16 * ADDER_PJ
    assert flat == pytest.approx([address_pj, address_pj + picked, address_pj + returned], rel=1e-12)
    _, each = logic_of(replace(plain, dataflow="flexible"))
    routes = wiring(DATAFLOWS["flexible"]).routes
    assert each == pytest.approx([8 * (n - 1) * MULTIPLEXER_PJ for n in routes], rel=1e-12)


def test_a_way_is_wires_and_logic_to_each_pe():
    columns = parameter_columns(replace(SMALL, dataflow="flexible"))
    blocks = area_blocks_mm2(columns, TECHNOLOGY)
    (feed, pitch), (once, each) = wire_pj_per_byte(columns, TECHNOLOGY, blocks), logic_pj_per_byte(columns, TECHNOLOGY)
    first, following = transfer_pj_per_byte(columns, TECHNOLOGY, blocks)
    assert first == pytest.approx(feed + once + each) and following == pytest.approx(pitch[:, None] + each)


@pytest.mark.parametrize("name", ["eyeriss_v1", "tpu_v1", "nvdla_256"])
def test_the_supply_scales_every_energy_on_chip_by_its_square_and_leakage_by_its_exponent(name):
    """Eyeriss v1: 122.8 and 83.1 GMACS/W at 0.82 and 1.0 V (JSSC 2017, Sec. VI), which squares give within 1 %."""
    design, nominal = dse.preset(name), replace(TECHNOLOGY, io_idle_w=0.1)
    low = replace(nominal, vdd_v=0.82 * nominal.vdd_v)
    mapping = evaluate(design, WAITS, technology=nominal).mappings["waits"]
    before, after = (evaluate(design, WAITS, technology=t, mapping=mapping).energy() for t in (nominal, low))
    kept = {"dram": 1.0, "io": 1.0, "leakage": 0.82}
    for part, energy in before.items():
        assert after[part] == pytest.approx(kept.get(part, 0.82**2) * energy, rel=1e-12), part
    steep = replace(low, leakage_supply_exponent=3.0)
    assert evaluate(design, WAITS, technology=steep, mapping=mapping).energy()["leakage"] == pytest.approx(
        0.82**3 * before["leakage"], rel=1e-12
    )
    assert low.supply_factor == pytest.approx(83.1 / 122.8, rel=0.01)


def test_memories_and_logic_leak_by_their_own_class():
    columns = parameter_columns(SMALL)
    sram, logic = (
        leakage_w(columns, replace(TECHNOLOGY, **{f"leakage_{x}_w_per_mm2": 0.0}))[0] for x in ("logic", "sram")
    )
    assert sram + logic == pytest.approx(leakage_w(columns, TECHNOLOGY)[0], rel=1e-12)
    larger = parameter_columns(replace(SMALL, weight_buffer_kib=4096))
    assert leakage_w(larger, replace(TECHNOLOGY, leakage_sram_w_per_mm2=0.0))[0] == pytest.approx(logic, rel=0.01)
    for constants in LEAKAGE_CLASSES.values():
        assert all("Range: " in source for _, source, _ in constants.values())
    low, nominal, hot = (
        leakage_w(columns, replace(TECHNOLOGY, **{k: v for k, (v, _, _) in LEAKAGE_CLASSES[name].items()}))[0]
        for name in ("low-power", "nominal", "hot")
    )
    assert low < nominal == leakage_w(columns, TECHNOLOGY)[0] < hot


def test_idle_power_is_clock_interfaces_and_leakage():
    """A design that waits for DRAM takes it all the time; interfaces take what the technology says, at any clock."""
    technology = replace(TECHNOLOGY, io_idle_w=3.0)
    result = evaluate(replace(SMALL, dram_gbps=0.1), WAITS, technology=technology)
    idle = idle_w(result.design, technology)
    assert idle["io"] == pytest.approx(3.0)
    for part, power in idle.items():
        assert result.energy()[part] / result.latency_s == pytest.approx(power, rel=1e-9), part


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_chip_chose_has_its_source(name):
    chosen, plain = preset_technology(name), Technology.at(preset_technology(name).node_nm)
    for constant in (f.name for f in fields(Technology) if f.name != "notes"):
        if getattr(chosen, constant) != getattr(plain, constant):
            assert chosen.sources()[constant].startswith(f"preset {name}: "), constant


def test_a_chip_keeps_its_choices_at_another_node_but_not_its_supply():
    there = preset_technology("eyeriss_v1", 28)
    assert there.vdd_v == there.nominal_vdd_v == Technology.at(28).vdd_v
    assert there.leakage_sram_w_per_mm2 == preset_technology("eyeriss_v1").leakage_sram_w_per_mm2
