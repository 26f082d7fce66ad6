"""Logic of the units of a design: counts by hand, the dataflows that ship, and published units."""

import itertools

import numpy as np
import pytest

import dse
from dse.costs.kernel_rows import parameter_columns
from dse.hardware.accelerator import Accelerator
from dse.hardware.dataflow import DATAFLOWS, Dataflow, SpatialOption
from dse.hardware.logic import UNITS, logic, wiring
from dse.hardware.node_scaling import scale_factor
from dse.hardware.power import flip_flop_bits
from dse.hardware.presets import preset
from dse.hardware.space import default_space
from dse.hardware.technology import Technology

TECHNOLOGY = Technology()


def units_of(design):
    return {name: tuple(float(bits[0]) for bits in unit) for name, unit in units_of_all(design).items()}


def units_of_all(design):
    return logic(parameter_columns(design), TECHNOLOGY)


def test_counts_of_a_small_design_by_hand():
    design = Accelerator(rows=4, cols=2, macs_per_pe=2, dataflow="row_stationary", weight_bits=4)
    found = units_of(design)
    assert tuple(found) == UNITS
    assert found["pipeline"] == (2 * (4 + 8) * 4 * 2 * 2, 0, 0)
    assert found["passing"] == (0, 0, 0)
    assert found["routes"] == (0, 0, 0)
    assert found["tags"] == (3 * (2 + 1) * 8, 0, 3 * (2 + 1) * 8)
    assert found["ports"] == (2 * 3 * 256, 0, 0)
    assert found["addresses"] == (3 * (8 * (32 + 16) + 16), 0, 3 * (8 * 16 + 16))
    assert found["im2col"] == found["engines"] == (0, 0, 0)
    assert found["accumulators"] == (128, 0, 128)


def test_systolic_arrays_have_passing_registers_for_a_pipeline():
    small = {"dataflow": "row_stationary", "macs_per_pe": 4, "input_register_bytes": 1, "output_register_bytes": 2}
    bus, systolic = (units_of(Accelerator(interconnect=x, **small)) for x in ("broadcast", "systolic"))
    assert systolic["pipeline"] == systolic["tags"] == (0, 0, 0)
    assert systolic["passing"] == (256 * (3 * 8 + 16), 0, 0)
    assert bus["pipeline"][0] > 0 and bus["passing"] == (0, 0, 0)


def test_registers_that_words_pass_are_not_counted_twice():
    """A systolic PE with a word of each operand has no other flip-flops; a memory holds no word on its way."""
    words = {"weight_register_bytes": 1, "input_register_bytes": 1}
    systolic, bus, memory = (
        Accelerator(interconnect=x, output_register_bytes=n, **words)
        for x, n in (("systolic", 4), ("broadcast", 4), ("systolic", 512))
    )
    assert units_of(systolic)["passing"] == (0, 0, 0)
    assert units_of(memory)["passing"] == (256 * 32, 0, 0)
    (working, holding, _), (_, on_bus, _) = (flip_flop_bits(parameter_columns(x), TECHNOLOGY) for x in (systolic, bus))
    assert on_bus - holding == 256 * (8 + 32) and holding > 256 * 8 and working > 256 * (8 + 32)


def test_one_way_for_each_operand_needs_no_multiplexer():
    single = [
        name for name, flow in DATAFLOWS.items() if len(flow.options) == 1 and len(flow.options[0].stationary) == 1
    ]
    assert set(single) == {
        "weight_stationary", "weight_stationary_im2col", "output_stationary", "input_stationary", "row_stationary",
        "output_pixels",
    }  # fmt: skip
    assert all(wiring(DATAFLOWS[name]).routes == (1, 1, 1) for name in single)


def test_a_choice_of_stationary_operand_is_a_second_way_of_both():
    assert wiring(DATAFLOWS["channel_vector"]).routes == (2, 1, 2)
    design = Accelerator(dataflow="channel_vector", macs_per_pe=4)
    assert units_of(design)["routes"] == (0, 256 * (4 * 8 + 32), 0)


def test_more_options_never_need_less():
    rng = np.random.default_rng(3)
    options = DATAFLOWS["flexible"].options + DATAFLOWS["weight_stationary_im2col"].options
    for _ in range(50):
        chosen = rng.permutation(len(options))
        flows = [Dataflow("mine", tuple(options[i] for i in chosen[: n + 1])) for n in range(len(options))]
        needs = [wiring(flow) for flow in flows]
        for less, more in itertools.pairwise(needs):
            assert all(a <= b for a, b in zip(less.routes, more.routes, strict=True))
            assert less.tagged <= more.tagged and less.sums_leave <= more.sums_leave
            assert set(less.flattened or ()) <= set(more.flattened or ())


def test_a_flexible_dataflow_costs_area():
    area = {
        name: dse.evaluate(Accelerator(dataflow=name), dse.MacLayer("layer", K=16, C=16)).area
        for name in ("weight_stationary", "flexible")
    }
    assert area["flexible"]["interconnect"] > 2 * area["weight_stationary"]["interconnect"]
    assert area["flexible"]["macs"] == area["weight_stationary"]["macs"]


def test_im2col_lanes_lie_along_the_flattened_axis():
    on_cols = Dataflow("mine", (SpatialOption(("K",), ("C",), flatten_reduction=True),))
    inside = Dataflow("mine", (SpatialOption(("K",), (), flatten_reduction=True),))
    lanes = {flow: units_of(Accelerator(rows=8, cols=4, macs_per_pe=2, dataflow=flow))["im2col"][2] / 16
             for flow in (DATAFLOWS["weight_stationary_im2col"], on_cols, inside)}  # fmt: skip
    assert list(lanes.values()) == [16, 8, 2]


def test_accumulators_write_the_whole_width_only_with_a_port_of_their_own():
    half = units_of(Accelerator())["accumulators"][0]
    assert units_of(Accelerator(separate_ports="O"))["accumulators"][0] == 2 * half == 256
    assert units_of(Accelerator(buffers="W+O/I", separate_ports="W"))["accumulators"][0] == 256
    assert units_of(Accelerator(dataflow="output_stationary"))["accumulators"] == (0, 0, 0)


def test_no_count_is_negative_and_designs_do_not_mix():
    space = default_space()
    columns = space.columns(space.sample(200, np.random.default_rng(5)))
    together = logic(columns, TECHNOLOGY)
    for i in range(0, 200, 17):
        alone = logic({name: values[i : i + 1] for name, values in columns.items()}, TECHNOLOGY)
        for name in UNITS:
            for whole, one in zip(together[name], alone[name], strict=True):
                assert whole[i] == one[0] >= 0


def test_published_im2col_unit_is_about_twice_ours():
    """AccelBench (jha-lab/codebench, defines.py), 14 nm: 14,307 um2 for each lane of 16 multipliers, words of 20 bits
    out of blocks of 64; that the unit picks any word of a block is assumed."""
    design = Accelerator(rows=16, dataflow="weight_stationary_im2col", activation_bits=20, input_buffer_width_bytes=160)
    um2 = float(TECHNOLOGY.logic_area_um2(*units_of(design)["im2col"])) * scale_factor("area", 14)
    assert um2 / 14_307 == pytest.approx(0.54, abs=0.03)


def test_flip_flops_of_diannao_near_its_layout():
    """ASPLOS 2014, Table 6, by type: registers 375,882 um2.  Nothing is fitted to it."""
    design, t = preset("diannao"), Technology.at(65)
    bits = sum(float(unit.flip_flop_bits[0]) for unit in logic(parameter_columns(design), t).values())
    for name in ("weight", "input", "output"):
        bits += 16 * float(t.flip_flop_bits(getattr(design, f"{name}_register_bytes")))
    bits += design.vector_lanes * 2 * design.accumulator_bits
    assert bits * t.flip_flop_um2_per_bit / 375_882 == pytest.approx(1.29, abs=0.05)


def test_published_flip_flops_of_a_multiplier():
    """Half of NVDLA's array (NV_NVDLA_partition_m): 67,243, for 512 multipliers of 16 bits; three words are stored."""
    pipeline = 67_243 / 512 - 3 * 16
    assert 1 < pipeline / (16 + 16) < 3 and TECHNOLOGY.pipeline_registers_factor == 2
