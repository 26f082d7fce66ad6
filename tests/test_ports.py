"""Buffer ports: bytes or accesses, banks, and reads and writes apart."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import accelerators, best_cost, kernel_cost, layers, mappings

import dse
from dse.commands.design_by_text import choose
from dse.costs import kernels as k
from dse.costs.mapping import Mapping
from dse.hardware.technology import TWO_PORTS_AREA_FACTOR, TWO_PORTS_ENERGY_FACTOR

NAMES = ("weight", "input", "output")
ROUNDING = 1 + 1e-9
STEPS = 64 * 64 * 64 / (16 * 16)
SUMS = 64 * 64 * 4  # bytes of all partial sums


def product(port_model="accesses", **changes):
    """A 64 x 64 x 64 product on 16 x 16 PEs, weights stationary: four passes over the sums.

    A step takes 16 inputs and gives 16 sums of 4 bytes; in three quarters of the steps it takes sums first.
    """
    design = dse.Accelerator(rows=16, cols=16, dram_gbps=1e6, port_model=port_model, **changes)
    layer = dse.MacLayer("product", K=64, C=64, OX=64)
    mapping = Mapping({"C": 16, "K": 16}, {}, {"K": 64, "C": 64, "OX": 64}, stationary="W", dram_order=("K", "R", "P"))
    return kernel_cost(layer, design, mapping)


def test_a_step_costs_a_whole_access_however_few_its_words():
    """16 inputs of a byte take the port of 64 bytes for a cycle, not for a quarter of one."""
    filled = 64 * 64 / 64  # whole lines from DRAM
    wide = product(input_buffer_width_bytes=64)
    assert wide["port_1"] == STEPS + filled
    assert wide["buffer_i_read"] == STEPS * 16 and wide["line_i_read"] == STEPS * 64
    assert product("bytes", input_buffer_width_bytes=64)["port_1"] == STEPS / 4 + filled


def test_words_beyond_the_width_need_another_access():
    narrow = product(input_buffer_width_bytes=15)
    assert narrow["port_1"] == pytest.approx(2 * STEPS + 64 * 64 / 15)
    assert product("bytes", input_buffer_width_bytes=15)["port_1"] == pytest.approx(STEPS * 16 / 15 + 64 * 64 / 15)


def test_one_port_reads_and_writes_sums_in_turn():
    """The last of the four writes of a sum is one byte, and costs an access all the same."""
    finished = 64 * 64  # bytes; they leave for DRAM in whole lines
    assert product(output_buffer_width_bytes=64)["port_2"] == 3 / 4 * STEPS + STEPS + finished / 64
    assert product("bytes", output_buffer_width_bytes=64)["port_2"] == (3 * 2 * SUMS + 2 * finished) / 64


def test_banks_serve_several_accesses_in_a_cycle():
    """Two banks of 32 bytes read an operand for two steps in a cycle, where one of 64 bytes reads it for one."""
    one, two, four = (product(input_buffer_width_bytes=64, input_buffer_banks=n)["port_1"] for n in (1, 2, 4))
    filled = 64 * 64 / 64
    assert (one - filled, two - filled, four - filled) == (STEPS, STEPS / 2, STEPS / 4)
    assert four == product("bytes", input_buffer_width_bytes=64)["port_1"]


def test_a_shared_buffer_serves_an_access_for_each_bank():
    """Three banks of 64 bytes: inputs, sums read and sums written share three accesses a cycle."""
    shared = {f"{x}_buffer_width_bytes": 64 for x in NAMES} | {"buffers": "W+I+O"}
    lines = 3 * 64 * 64 / 64  # weights and inputs in, outputs out
    weights = STEPS / 64 * 256 / 64  # the array takes 256 of them at once
    assert product(**shared)["port_0"] == pytest.approx((STEPS + 3 / 4 * STEPS + STEPS + weights + lines) / 3)


def test_a_write_port_takes_the_writes_off_the_read_port():
    """Sums are read and written in the same cycle; the busier port counts."""
    for port_model in ("bytes", "accesses"):
        one = product(port_model, output_buffer_width_bytes=64)
        two = product(port_model, output_buffer_width_bytes=64, separate_ports="O")
        reads, writes = (two[f"line_o_{way}"] / 64 for way in ("read", "write"))
        assert two["port_2"] == max(reads, writes) < one["port_2"] == reads + writes


def test_one_operand_with_a_write_port_gives_it_to_the_whole_shared_buffer():
    shared = {"buffers": "W+I+O", "weight_buffer_kib": 256}
    o, all_three = (product(separate_ports=x, **shared) for x in ("O", "WIO"))
    assert o == all_three != product(**shared)


def test_a_second_port_costs_area_energy_and_leakage_of_its_buffer_alone():
    layer = dse.MacLayer("layer", K=64, C=64, OX=64)
    one = dse.evaluate(dse.Accelerator(), layer)
    two = dse.evaluate(dse.Accelerator(separate_ports="O"), layer)
    t = one.technology
    cells = t.sram_area_um2(65536, 32, 1) - t.sram_macro_um2
    more = (TWO_PORTS_AREA_FACTOR - 1) * cells * 1e-6
    assert two.area["output_buffer"] - one.area["output_buffer"] == pytest.approx(more)
    assert two.area["input_buffer"] == one.area["input_buffer"]
    for per_byte in (t.sram_read_pj_per_byte, t.sram_write_pj_per_byte):
        assert per_byte(65536, 32, 1, True) == pytest.approx(TWO_PORTS_ENERGY_FACTOR * per_byte(65536, 32, 1))
    assert two.area_mm2 > one.area_mm2


def test_padding_of_accesses_costs_energy():
    wide, plain = (product(model, input_buffer_width_bytes=64) for model in ("accesses", "bytes"))
    assert wide["buffer_pj"] > plain["buffer_pj"] and wide["dram_pj"] == plain["dram_pj"]


def test_the_longer_of_reads_and_writes_bounds_a_vector_layer():
    layer = dse.VectorLayer("pool", "MaxPool", operations=1, input_elements=4000, output_elements=1000)
    more = {
        "dram_gbps": 0.1,
        "input_buffer_width_bytes": 8,
        "resident_activation_fraction": 0.5,
        "input_buffer_kib": 64,
    }
    before = dse.MacLayer("before", K=1000, OX=4, output="a")
    after = dse.MacLayer("after", K=1, C=1000, inputs=("b",))
    network = dse.Network("three", (before, replace(layer, inputs=("a",), output="b"), after))
    found = [dse.evaluate(dse.Accelerator(separate_ports=x, **more), network) for x in ("", "I")]
    assert all([tensor.name for tensor in one.on_chip.kept] == ["a", "b"] for one in found), "else DRAM bounds it"
    assert [one.layers["cycles"][1] for one in found] == [5000 / 8, 4000 / 8]


@st.composite
def mapped(draw):
    layer, design = draw(layers()), draw(accelerators())
    return layer, design, draw(mappings(layer, design))


@settings(max_examples=100)
@given(mapped())
def test_accesses_are_never_faster_nor_cheaper_than_bytes(case):
    layer, design, mapping = case
    by_bytes, by_accesses = (
        kernel_cost(layer, replace(design, port_model=model), mapping) for model in ("bytes", "accesses")
    )
    for name in ("port_0", "port_1", "port_2", "cycles", "buffer_pj", "energy_pj"):
        assert by_accesses[name] * ROUNDING >= by_bytes[name], name
    for name in ("bound_cycles", "bound_pj", "array_cycles", "dram_w", "dram_i", "buffer_w_read"):
        assert by_accesses[name] == by_bytes[name], name


@settings(max_examples=60)
@given(layers(most_macs=20_000, most=40), accelerators(least_bytes=100, most_bytes=20_000))
def test_twice_the_banks_or_a_write_port_never_costs_time(layer, design):
    design = replace(design, port_model="accesses", separate_ports="")
    once = best_cost(layer, design, effort="complete")
    twice = {f"{x}_buffer_banks": 2 * getattr(design, f"{x}_buffer_banks") for x in NAMES}
    for change in (twice, {"separate_ports": "WIO"}):
        more = best_cost(layer, replace(design, **change), effort="complete")
        if once[k.OVERFLOW] == 0:
            assert more[k.CYCLES] <= once[k.CYCLES] * ROUNDING, change


# ---------------------------------------------------------------------------------------------------------------------
# The parameters everywhere that parameters go.


def test_ports_are_variables_and_fixed_values_of_a_space(tmp_path):
    varied = dse.DesignSpace({"port_model": ["bytes", "accesses"], "separate_ports": ["", "O", "WIO"]}, name="ports")
    fixed = dse.DesignSpace({"rows": [8, 16]}, dse.Accelerator(port_model="accesses", separate_ports="O"))
    for space in (varied, fixed):
        space.to_toml(tmp_path / "space.toml")
        assert dse.DesignSpace.from_toml(tmp_path / "space.toml").content() == space.content()
    problem = dse.problems.SingleDNN(dse.load_network("mobilenet_v2"), varied)
    latency = problem.evaluate(varied.all_designs(), return_as_dictionary=True)["F"][:, 0].reshape(2, 3)
    assert (latency[0] <= latency[1] * ROUNDING).all()
    assert (np.diff(latency, axis=1) <= latency[:, 1:] * 1e-9).all() and latency[1, 1] < latency[1, 0]


def test_a_batch_is_its_single_designs():
    space = dse.DesignSpace({"port_model": ["bytes", "accesses"], "separate_ports": ["", "O", "WIO"]})
    network, X = dse.load_network("mobilenet_v2"), space.all_designs()
    batch = dse.costs.batches.BatchEvaluator(network)(space.columns(X))
    for i, x in enumerate(X):
        single = dse.evaluate(space.design(x), network)
        assert (batch["cycles"][i], batch["area_mm2"][i]) == (single.cycles, single.area_mm2)
        assert batch["energy_j"][i] == pytest.approx(single.energy_j, rel=1e-12)


def test_ports_are_set_on_the_command_line():
    design = choose("tpu_v1", ["port_model=accesses", "separate_ports=O"]).design
    assert (design.port_model, design.separate_ports) == ("accesses", "O")
    with pytest.raises(ValueError, match="port_model must be one of bytes, accesses, got 'words'"):
        dse.Accelerator(port_model="words")
    with pytest.raises(ValueError, match="separate_ports is a subset of 'WIO', got 'X'"):
        dse.Accelerator(separate_ports="X")


def test_the_default_space_leaves_ports_alone():
    """Runs of before the two parameters came stay what they are."""
    content = dse.default_space().content()
    assert not {"port_model", "separate_ports"} & (set(content["variables"]) | set(content["base"]))
