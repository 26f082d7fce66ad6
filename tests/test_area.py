"""Area of designs: blocks, sums, monotonicity, published blocks."""

from dataclasses import replace

import numpy as np
import pytest

from dse.hardware.accelerator import BUFFER_ARRANGEMENTS, Accelerator
from dse.hardware.area import AREA_BLOCKS, area_blocks_mm2, area_mm2, leakage_w
from dse.hardware.dataflow import DATAFLOWS, Dataflow, SpatialOption
from dse.hardware.space import default_space
from dse.hardware.technology import Technology

TECHNOLOGY = Technology()


def columns_of(*designs):
    names = list(designs[0].parameters())
    columns = {}
    for name in names:
        values = [getattr(d, name) for d in designs]
        column = np.empty(len(values), dtype=object if isinstance(values[0], str | Dataflow) else float)
        column[:] = values
        columns[name] = column
    return columns


def blocks_of(design, technology=TECHNOLOGY):
    return {name: values[0] for name, values in area_blocks_mm2(columns_of(design), technology).items()}


@pytest.fixture(scope="module")
def random_columns():
    space = default_space()
    return space.columns(space.sample(500, np.random.default_rng(7)))


def test_blocks_sum_to_the_area(random_columns):
    blocks = area_blocks_mm2(random_columns, TECHNOLOGY)
    assert tuple(blocks) == AREA_BLOCKS
    assert all(b.shape == (500,) and b.dtype == np.float64 and np.all(b >= 0) for b in blocks.values())
    assert all(np.all(b > 0) for name, b in blocks.items() if name != "engines")
    assert area_mm2(random_columns, TECHNOLOGY) == pytest.approx(sum(blocks.values()), rel=1e-12)


@pytest.mark.parametrize("cuts", [[], [1], [7, 8, 250], list(range(1, 500))])
def test_any_split_gives_equal_bits(random_columns, cuts):
    def split(values):
        return zip(*(np.split(v, cuts) for v in values.values()), strict=True)

    whole = area_mm2(random_columns, TECHNOLOGY), leakage_w(random_columns, TECHNOLOGY)
    parts = [dict(zip(random_columns, part, strict=True)) for part in split(random_columns)]
    assert np.concatenate([area_mm2(p, TECHNOLOGY) for p in parts]).tobytes() == whole[0].tobytes()
    assert np.concatenate([leakage_w(p, TECHNOLOGY) for p in parts]).tobytes() == whole[1].tobytes()


def test_input_is_not_changed(random_columns):
    before = {name: values.copy() for name, values in random_columns.items()}
    area_mm2(random_columns, TECHNOLOGY)
    assert all(np.array_equal(before[name], values) for name, values in random_columns.items())


SIZES = (
    ["rows", "cols", "macs_per_pe", "vector_lanes", "dram_gbps", "weight_bits", "activation_bits", "accumulator_bits"]
    + [f"{x}_register_bytes" for x in ("weight", "input", "output")]
    + [f"{x}_buffer_{y}" for x in ("weight", "input", "output") for y in ("kib", "width_bytes", "banks")]
)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("factor", [1.3, 2, 16])
def test_area_rises_with_every_size(random_columns, name, factor):
    larger = random_columns | {name: random_columns[name] * factor}
    small, large = area_mm2(random_columns, TECHNOLOGY), area_mm2(larger, TECHNOLOGY)
    assert np.all(large > small)
    assert np.all(leakage_w(larger, TECHNOLOGY) >= leakage_w(random_columns, TECHNOLOGY))


# Without capacities: a larger share of a shared buffer takes area from the other operands.
@pytest.mark.parametrize("name", [name for name in SIZES if not name.endswith("_kib")])
def test_no_block_falls_when_a_size_grows(random_columns, name):
    larger = random_columns | {name: random_columns[name] * 2}
    small, large = area_blocks_mm2(random_columns, TECHNOLOGY), area_blocks_mm2(larger, TECHNOLOGY)
    for blocks in (small, large):  # registers of a systolic array take the place of flip-flops between its PEs
        blocks["registers"] = blocks["registers"] + blocks["interconnect"]
    rising = set(AREA_BLOCKS) - {"interconnect"}
    assert all(np.all(large[block] >= small[block] * (1 - 1e-12)) for block in rising)


def test_shared_buffer_is_split_by_capacity():
    design = Accelerator(buffers="W+I/O", weight_buffer_kib=96, input_buffer_kib=32, weight_buffer_banks=2)
    blocks = blocks_of(design)
    assert blocks["weight_buffer"] == pytest.approx(3 * blocks["input_buffer"])
    whole_um2 = TECHNOLOGY.sram_area_um2(128 * 1024, 64, 3)
    assert blocks["weight_buffer"] + blocks["input_buffer"] == pytest.approx(whole_um2 / 1e6)
    own = blocks_of(replace(design, buffers="W/I/O"))
    assert blocks["output_buffer"] == own["output_buffer"]


def test_shared_and_split_buffers_of_equal_bytes_are_close():
    for arrangement in BUFFER_ARRANGEMENTS:
        blocks = blocks_of(Accelerator(buffers=arrangement))
        total = sum(blocks[f"{x}_buffer"] for x in ("weight", "input", "output"))
        assert total == pytest.approx(3 * blocks_of(Accelerator())["weight_buffer"], rel=0.15)


def test_systolic_registers_and_second_stationary_tile():
    bus = Accelerator(weight_register_bytes=2, output_register_bytes=8, macs_per_pe=2)
    systolic = replace(bus, interconnect="systolic")
    overlapped = replace(systolic, overlap_skew=True)
    pe = TECHNOLOGY.layout_overhead_factor * 256 * 1e-6
    bits = 2 * 8 - 8  # a word for each multiplier, of which the register holds one; the sum's register holds it
    assert blocks_of(systolic)["interconnect"] == pytest.approx(bits * TECHNOLOGY.flip_flop_um2_per_bit * pe)
    second = TECHNOLOGY.register_area_um2(2) * 256e-6
    assert blocks_of(overlapped)["interconnect"] == pytest.approx(blocks_of(systolic)["interconnect"] + second)
    outputs_stay = replace(overlapped, dataflow="output_stationary")
    second = TECHNOLOGY.register_area_um2(8) * 256e-6
    assert blocks_of(outputs_stay)["interconnect"] == pytest.approx(blocks_of(systolic)["interconnect"] + second)
    array = sum(blocks_of(bus)[x] for x in ("macs", "registers", "control"))
    assert blocks_of(bus)["interconnect"] == pytest.approx(TECHNOLOGY.bus_area_share * array)
    assert blocks_of(replace(bus, overlap_skew=True)) == blocks_of(bus)


def test_dataflow_may_be_a_name_or_a_value():
    mine = Dataflow("mine", (SpatialOption(("K",), ("C",), ("I",)),))
    designs = [Accelerator(interconnect="systolic", overlap_skew=True, dataflow=d) for d in (*DATAFLOWS, mine)]
    columns = columns_of(*designs)
    names = columns | {"dataflow": np.array([*DATAFLOWS, mine], dtype=object)}
    assert area_mm2(columns, TECHNOLOGY).tobytes() == area_mm2(names, TECHNOLOGY).tobytes()


def test_bandwidth_is_never_free():
    slow, fast = (blocks_of(Accelerator(dram_gbps=x)) for x in (16, 32))
    assert fast["dram_interface"] == 2 * slow["dram_interface"] == pytest.approx(32 * 0.30)
    at_7_nm = blocks_of(Accelerator(dram_gbps=16), Technology.at(7))
    assert 16 * 0.076 < at_7_nm["dram_interface"] < 16 * 0.1


def test_leakage_is_per_cell_area():
    columns = columns_of(Accelerator(), Accelerator(dram_gbps=1000))
    leak = leakage_w(columns, TECHNOLOGY)
    assert leak[0] == pytest.approx(leak[1])
    cells = area_blocks_mm2(columns, TECHNOLOGY, layout=False)
    memories = sum(cells.pop(f"{x}_buffer") for x in ("weight", "input", "output"))
    logic = sum(area for name, area in cells.items() if name != "dram_interface")
    assert leak == pytest.approx(0.0026 * memories + 0.0036 * logic)


def test_memories_have_no_layout_overhead():
    laid_out, cells = blocks_of(Accelerator()), columns_of(Accelerator())
    cells = {name: area[0] for name, area in area_blocks_mm2(cells, TECHNOLOGY, layout=False).items()}
    for name in AREA_BLOCKS:
        overhead = 1 if name.endswith("_buffer") or name == "dram_interface" else TECHNOLOGY.layout_overhead_factor
        assert laid_out[name] == pytest.approx(overhead * cells[name]), name


def test_engines_take_flip_flops_and_their_gates():
    design = Accelerator(engine_flip_flop_bits=1000)
    um2 = 1000 * TECHNOLOGY.flip_flop_um2_per_bit * (1 + 1.07) * TECHNOLOGY.layout_overhead_factor
    assert blocks_of(design) == blocks_of(Accelerator()) | {"engines": pytest.approx(um2 * 1e-6)}
    with pytest.raises(ValueError, match="engine_flip_flop_bits must be a number >= 0, got -1"):
        Accelerator(engine_flip_flop_bits=-1)


def test_missing_and_unknown_columns_are_named():
    columns = columns_of(Accelerator())
    without = {name: values for name, values in columns.items() if name != "cols"}
    with pytest.raises(ValueError, match="lack 'cols'"):
        area_mm2(without, TECHNOLOGY)
    with pytest.raises(ValueError, match="unknown buffers 'W/I'"):
        area_mm2(columns | {"buffers": np.array(["W/I"], dtype=object)}, TECHNOLOGY)
    with pytest.raises(ValueError, match="unknown dataflow 'none'"):
        area_mm2(columns | {"dataflow": np.array(["none"], dtype=object)}, TECHNOLOGY)
    with pytest.raises(ValueError, match="unknown interconnect 'mesh'"):
        area_mm2(columns | {"interconnect": np.array(["mesh"], dtype=object)}, TECHNOLOGY)
