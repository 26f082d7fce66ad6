"""Technology constants: published anchors, monotone laws, node scaling, files."""

import copy
import itertools
import math
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

import dse
from dse.costs.formulas import mapping_cost
from dse.hardware import node_scaling as scaling
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology, adder_tree_bits
from dse.networks.layers import MacLayer

TECHNOLOGY = Technology()
NUMBERS = [f.name for f in fields(Technology) if f.name not in ("name", "dram_type", "notes")]


def test_every_constant_has_a_source_and_a_unit():
    sources = TECHNOLOGY.sources()
    assert set(sources) == {"name", "dram_type", *NUMBERS}
    assert all(text.strip() for text in sources.values())
    endings = ("_pj", "_pj_per_byte", "_pj_per_bit", "_um2", "_um2_per_bit", "_mm2_per_gbps", "_w_per_mm2", "_v", "_nm")
    endings += ("_bytes", "_exponent", "_share", "_factor", "_ff", "_ff_per_mm", "_w")
    assert all(name.endswith(endings) for name in NUMBERS)


def test_published_operations_are_exact():
    assert TECHNOLOGY.multiplier_energy_pj(np.array([8 * 8, 32 * 32])).tolist() == pytest.approx([0.2, 3.1], rel=1e-12)
    assert TECHNOLOGY.adder_energy_pj(np.array([8, 32])).tolist() == pytest.approx([0.03, 0.1], rel=1e-12)
    assert TECHNOLOGY.multiplier_area_um2(np.array([64, 1024])).tolist() == pytest.approx([282, 3495], rel=1e-12)
    assert TECHNOLOGY.adder_area_um2(np.array([8, 32])).tolist() == pytest.approx([36, 137], rel=1e-12)
    assert TECHNOLOGY.mac_energy_pj(8, 8, 32) == pytest.approx(0.3, rel=1e-12)


def test_published_16_bit_adder_lies_near_the_line():
    # Not fitted: 0.05 pJ and 67 um2 (Horowitz's table).
    assert TECHNOLOGY.adder_energy_pj(16) == pytest.approx(0.05, rel=0.08)
    assert TECHNOLOGY.adder_area_um2(16) == pytest.approx(67, rel=0.05)


@pytest.mark.parametrize(("kib", "published_pj"), [(8, 10), (32, 20), (1024, 100)])
def test_sram_read_is_within_a_factor_two_of_horowitz(kib, published_pj):
    """A large memory in one piece: macros as large, and no wires to them."""
    whole = replace(TECHNOLOGY, sram_macro_bytes=2**20)
    read_pj = 8 * whole.sram_read_pj_per_byte(kib * 1024, 8, 1)
    assert published_pj / 2 < read_pj < published_pj * 2


def test_register_file_matches_the_eyeriss_ratio():
    # Eyeriss (ISCA 2016, Table IV): a 16-bit access to a 0.5 to 1 KiB file costs about one 16-bit MAC.
    access_pj = 2 * TECHNOLOGY.register_write_pj_per_byte(np.array([512, 1024]), 2)
    assert np.all(np.abs(np.log2(access_pj / TECHNOLOGY.mac_energy_pj(16, 16, 32))) < 0.6)


def test_a_single_word_is_read_for_nothing_and_flips_half_of_its_bits():
    read, write = (
        law(np.array([4.0, 4.1]), 4)
        for law in (TECHNOLOGY.register_read_pj_per_byte, TECHNOLOGY.register_write_pj_per_byte)
    )
    assert read[0] == 0 < read[1]
    assert write[0] == pytest.approx(4 * TECHNOLOGY.flip_flop_write_pj_per_bit)
    assert write[1] == pytest.approx(np.hypot(write[0], read[1]))


def test_flip_flops_meet_memories_between_eyeriss_spads():
    # Built as flip-flops: 24 and 48 bytes; as a memory: 448 bytes.
    per_byte = 8 * TECHNOLOGY.flip_flop_um2_per_bit
    assert TECHNOLOGY.flip_flop_bits(np.array([24, 48, 448])).tolist() == [192, 384, 0]
    laid_out = TECHNOLOGY.register_area_um2(np.array([24.0, 48.0, 448.0]))
    cells = TECHNOLOGY.register_area_um2(np.array([24.0, 48.0, 448.0]), layout=False)
    assert cells[:2] == pytest.approx([24 * per_byte, 48 * per_byte])
    assert laid_out[:2] == pytest.approx(cells[:2] * TECHNOLOGY.layout_overhead_factor) and laid_out[2] == cells[2]
    assert cells[2] < 0.5 * 448 * per_byte


def test_register_files_of_eyeriss_near_silicon():
    """JSSC 2017, 65 nm: 47.6 % of 12.25 mm2.  Their memories set `sram_macro_um2`, not the factor on CACTI."""
    spads_um2 = sum(Technology.at(65).register_area_um2(c) for c in (448, 24, 48))
    assert 168 * spads_um2 / 1e6 == pytest.approx(0.476 * 12.25, rel=0.05)


def test_eie_memories_have_the_area_of_cacti():
    """EIE (ISCA 2016, Table II, 45 nm): the lower end of the factor that chips need."""
    area = replace(TECHNOLOGY, sram_area_over_cacti_factor=1).sram_area_um2(np.array([32, 128]) * 1024, 8, 1)
    assert area == pytest.approx([121849, 469412], rel=0.2)


FAMILIES = {
    "Eyeriss v1": [(65, 100, 18, 25, False, 2.33 * 100 / 108)],
    "ShiDianNao": [(65, 128, 16, 1, False, 1.65), (65, 64, 32, 16, False, 1.12), (65, 32, 8, 1, False, 0.31)],
    "DianNao": [(65, 32, 512, 1, False, 1.1538)],
    "TPU v1": [(28, 24576, 256, 1, False, 96.0)],
    "Gemmini": [(22, 256, 32, 4, False, 0.544), (22, 64, 64, 1, True, 0.146)],
    "Simba": [(16, 32, 64, 1, False, 0.041), (16, 8, 8, 1, False, 0.011), (16, 3, 32, 1, True, 0.024),
              (16, 64, 64, 1, False, 0.064)],
    "EIE": [(45, 128, 8, 1, False, 0.469412), (45, 32, 4, 2, False, 0.121849)],
    "RPAccel": [(16, 32, 2, 1, False, 0.029142), (16, 4, 2, 1, False, 0.004684), (16, 256, 4, 1, False, 0.18329)],
}  # fmt: skip
"""Published memories: node [nm], KiB, width [byte], banks, two ports, area [mm2]; see `dse/data/validation`."""


def test_factor_on_cacti_is_the_median_over_families_of_chips():
    factors = []
    for memories in FAMILIES.values():
        family = []
        for node_nm, kib, width, banks, two_ports, area_mm2 in memories:
            t = replace(Technology.at(node_nm), sram_area_over_cacti_factor=1.0)
            periphery_um2 = max(banks, width / 64) * t.sram_macro_um2
            cells_um2 = t.sram_area_um2(kib * 1024, width, banks, two_ports) - periphery_um2
            family.append((area_mm2 * 1e6 - periphery_um2) / cells_um2)
        factors.append(np.median(family))
    assert np.median(factors) == pytest.approx(TECHNOLOGY.sram_area_over_cacti_factor, abs=0.02)
    assert 0.9 < min(factors) < 1.1 and 3.6 < max(factors) < 3.8


def test_layout_overhead_of_standard_cells():
    """DianNao by type (ASPLOS 2014, Table 6); EIE (ISCA 2016, Table II) checks it: memories have no filler."""
    cells, filler, clock = 608_842 + 375_882, 811_632, 68_721
    assert (cells + filler + clock) / cells == pytest.approx(TECHNOLOGY.layout_overhead_factor, rel=0.01)
    eie = (8946 + 9465 + 23961 + 866) / (8946 + 9465)
    assert TECHNOLOGY.layout_overhead_factor < eie < 1.3 * TECHNOLOGY.layout_overhead_factor


CAPACITIES = np.geomspace(1, 32 * 2**20, 400)


@pytest.mark.parametrize("node_nm", scaling.NODES_NM)
def test_laws_do_not_fall_with_capacity(node_nm):
    t = Technology.at(node_nm)
    for law in (
        t.register_read_pj_per_byte(CAPACITIES, 0.5),
        t.register_write_pj_per_byte(CAPACITIES, 0.5),
        t.register_area_um2(CAPACITIES),
        t.sram_read_pj_per_byte(CAPACITIES, 32, 4),
        t.sram_write_pj_per_byte(CAPACITIES, 32, 4),
        t.sram_area_um2(CAPACITIES, 32, 4),
    ):
        assert law.shape == CAPACITIES.shape
        assert np.all(np.diff(law) >= 0)
        assert np.all(law > 0)
        assert np.max(law[1:] / law[:-1]) < 1.1  # no jumps


def test_wider_words_cost_energy_per_access_but_not_per_byte():
    widths = np.geomspace(1, 1024, 200)
    for per_byte in (TECHNOLOGY.sram_read_pj_per_byte, TECHNOLOGY.sram_write_pj_per_byte):
        energy = per_byte(65536, widths, 1)
        assert np.all(np.diff(energy) <= 1e-12)
        assert np.all(np.diff(energy * widths) > 0)


def test_a_wide_port_is_slices_side_by_side_and_a_large_memory_is_macros():
    for per_byte in (TECHNOLOGY.sram_read_pj_per_byte, TECHNOLOGY.sram_write_pj_per_byte):
        assert per_byte(65536, 128, 1) == pytest.approx(per_byte(8192, 16, 1))  # 8 slices of 8 KiB
        assert per_byte(2**20, 16, 1) == per_byte(65536, 16, 1)
        assert per_byte(2**22, 128, 1) == per_byte(65536, 16, 1)
        assert per_byte(2**18, 128, 1) < per_byte(2**20, 128, 1)


def test_area_does_not_fall_with_banks_or_width():
    banks = np.arange(1, 65)
    for width in (8, 64, 512):
        assert np.all(np.diff(TECHNOLOGY.sram_area_um2(65536, width, banks)) > 0)
    assert np.all(np.diff(TECHNOLOGY.sram_area_um2(65536, np.arange(1, 1025), 4)) > 0)


def test_banks_change_energy_by_less_than_a_third():
    for per_byte in (TECHNOLOGY.sram_read_pj_per_byte, TECHNOLOGY.sram_write_pj_per_byte):
        ratio = per_byte(65536, 8, 32) / per_byte(65536, 8, 1)
        assert 0.75 < ratio < 1.33


def test_widths_of_arithmetic_matter():
    bits = np.array([4, 8, 16, 32])
    for energy in (
        TECHNOLOGY.mac_energy_pj(bits, 8, 32),
        TECHNOLOGY.mac_energy_pj(8, bits, 32),
        TECHNOLOGY.mac_energy_pj(8, 8, bits),
        TECHNOLOGY.vector_operation_pj(bits),
    ):
        assert np.all(np.diff(energy) > 0)


def test_adder_tree_saves_energy_per_mac_but_costs_per_pe():
    lanes = 2.0 ** np.arange(7)
    energy = TECHNOLOGY.mac_energy_pj(8, 8, 32, lanes)
    assert energy[0] == TECHNOLOGY.mac_energy_pj(8, 8, 32)
    assert np.all(np.diff(energy) < 0)
    assert np.all(np.diff(energy * lanes) > 0)
    assert np.all(energy > TECHNOLOGY.multiplier_energy_pj(64))


def test_adder_tree_width_by_counting():
    for levels in range(1, 7):
        lanes = 2**levels
        widths = [16 + i for i in range(levels) for _ in range(lanes // 2 ** (i + 1))]
        assert len(widths) == lanes - 1
        assert adder_tree_bits(8, 8, 32, lanes) == pytest.approx(np.mean(widths))
    assert adder_tree_bits(8, 8, 16, 64) == 16


def test_scaling_reproduces_cells_of_the_published_tables():
    # Stillmaker and Baas 2017: row "45" of the area matrix, and energies worked out by hand from the polynomials.
    cells = {n: scaling.scale_factor("area", n) for n in (65, 32, 20, 16, 7)}
    assert cells == {65: 1.5, 32: 0.46, 20: 0.21, 16: 0.19, 7: 0.059}
    assert scaling.scale_factor("area", 16, 65) == 0.13
    high_performance_45 = 1.018 - 0.3107 + 0.1539
    assert scaling.switching_energy_fj(45, 1.0) == pytest.approx(high_performance_45)
    node_65 = 3.755 * 1.21 - 4.398 * 1.1 + 1.975
    node_16 = 0.2958 * 0.85**2 - 0.1241 * 0.85 + 0.03024
    assert scaling.scale_factor("energy", 65) == pytest.approx(node_65 / high_performance_45)
    assert scaling.scale_factor("energy", 16) == pytest.approx(node_16 / high_performance_45)


def test_28_nm_is_interpolated_between_its_neighbours():
    for quantity in ("area", "energy"):
        low, mid, high = (scaling.scale_factor(quantity, n) for n in (20, 28, 32))
        assert low < mid < high
        share = math.log(32 / 28) / math.log(32 / 20)
        assert mid == pytest.approx(high ** (1 - share) * low**share)
    assert 0.33 < scaling.scale_factor("area", 28) < 0.42  # (28 / 45)^2 = 0.387
    assert scaling.scale_factor("area", 40) == pytest.approx(0.46 ** (math.log(45 / 40) / math.log(45 / 32)))


def test_nodes_scale_logic_but_not_dram():
    nodes = [Technology.at(n) for n in scaling.NODES_NM]
    assert [t.node_nm for t in nodes] == list(scaling.NODES_NM)
    for before, after in itertools.pairwise(nodes):
        assert after.multiplier_8x8bit_pj < before.multiplier_8x8bit_pj
        assert after.sram_1kib_64bit_um2 < before.sram_1kib_64bit_um2
    assert len({t.dram_pj_per_byte for t in nodes}) == 1
    phys = [t.dram_interface_mm2_per_gbps for t in nodes]
    assert phys == sorted(phys, reverse=True) and phys[0] == phys[1] == 0.30 and 0.02 < phys[-1] < 0.1
    assert len({(t.leakage_sram_w_per_mm2, t.leakage_logic_w_per_mm2) for t in nodes}) == 1
    assert all(t.nominal_vdd_v == t.vdd_v == scaling.nominal_vdd_v(t.node_nm) for t in nodes)
    assert Technology.at() == Technology.at(45) == TECHNOLOGY
    assert "Stillmaker" in nodes[0].sources()["flip_flop_write_pj_per_bit"]
    assert "Stillmaker" not in nodes[0].sources()["dram_pj_per_bit"]
    assert len({t.hash for t in nodes}) == len(nodes)


def test_cacti_at_other_nodes_agrees_with_the_scaling():
    # CACTI 7 run at 65 nm, 1 KiB, 64 bits (log-log fits): 3.734 pJ read, 5.968 pJ write, 8631 um2.
    t = Technology.at(65)
    assert t.sram_read_1kib_64bit_pj == pytest.approx(3.734, rel=0.15)
    assert t.sram_write_1kib_64bit_pj == pytest.approx(5.968, rel=0.15)
    assert t.sram_1kib_64bit_um2 == pytest.approx(8631, rel=0.4)


@pytest.mark.parametrize("node_nm", [44, 5, "28", None])
def test_unknown_node_lists_the_known(node_nm):
    with pytest.raises(ValueError, match="65, 45, 28, 22, 16, 7"):
        Technology.at(node_nm)


@pytest.mark.parametrize("node_nm", [100, 5])
def test_scaling_refuses_nodes_outside_the_tables(node_nm):
    with pytest.raises(ValueError, match="7 to 65 nm"):
        scaling.scale_factor("area", node_nm)


def test_toml_round_trip(tmp_path):
    path = tmp_path / "mine.toml"
    before = replace(Technology.at(16), name="mine", dram_type="HBM2", dram_pj_per_bit=3.9)
    before.to_toml(path)
    after = Technology.from_toml(path)
    assert after == before
    assert after.hash == before.hash
    assert after.sources() == before.sources()


def _edited(tmp_path, edit):
    path = tmp_path / "edited.toml"
    TECHNOLOGY.to_toml(path)
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.replace("adder_8bit_pj = 0.03", "adder_8bit_pjs = 0.03", 1), "did you mean 'adder_8bit_pj'"),
        (lambda s: s.replace("adder_8bit_pj = 0.03\n", "", 1), "lacks adder_8bit_pj"),
        (lambda s: s.replace("adder_8bit_pj = 0.03", "adder_8bit_pj = -1", 1), "adder_8bit_pj must not be negative"),
        (lambda s: s.replace("adder_8bit_pj = 0.03", "adder_8bit_pj = 9.0", 1), "adder_32bit_pj must lie between"),
        (lambda s: s.replace("adder_8bit_pj = 0.03", "adder_8bit_pj = nan", 1), "must be a finite number"),
        (lambda s: s.replace("adder_8bit_pj = 0.03", "adder_8bit_pj = '3'", 1), "must be a finite number"),
        (lambda s: s.replace('name = "45 nm"', "name = 45", 1), "name must be text"),
        (lambda s: s.replace("node_nm = 45.0", "node_nm = 0", 1), "node_nm must be positive"),
        (lambda s: s.replace("[sources]", "[origins]"), "table 'origins' is unknown; known are technology, sources"),
        (lambda s: s.replace("[technology]", "[technology"), "not a TOML file"),
        (lambda s: "technology = 3\n", "expected a table"),
        (lambda s: "", "lacks name, node_nm, vdd_v, nominal_vdd_v, dram_type and "),
    ],
)
def test_bad_file_is_one_clear_line(tmp_path, edit, message):
    path = _edited(tmp_path, edit)
    with pytest.raises(ValueError, match="edited.toml") as error:
        Technology.from_toml(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="none.toml: cannot be read"):
        Technology.from_toml(tmp_path / "none.toml")


def test_travels_between_processes():
    t = Technology.at(7)
    assert pickle.loads(pickle.dumps(t)) == t
    assert copy.deepcopy(t).sources() == t.sources()
    assert hash(t) == hash(Technology.at(7))


def test_a_file_may_be_a_node_and_a_few_changes(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[technology]\nbase_nm = 16\ndram_pj_per_bit = 4\n\n[sources]\ndram_pj_per_bit = 'our board'\n")
    found = Technology.from_toml(path)
    assert found == replace(Technology.at(16), name="16 nm, changed by mine.toml", dram_pj_per_bit=4)
    assert found.sources()["dram_pj_per_bit"] == "our board"
    assert found.sources()["adder_8bit_pj"] == Technology.at(16).sources()["adder_8bit_pj"]
    found.to_toml(tmp_path / "whole.toml")
    assert Technology.from_toml(tmp_path / "whole.toml") == found
    path.write_text("[technology]\nbase_nm = 45\nvdd_v = 0.9\n")
    assert Technology.from_toml(path).sources()["vdd_v"] == "loaded from mine.toml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base_nm = 14", "no technology at 14 nm; the nodes are 65, 45, 28, 22, 16, 7, and none is interpolated"),
        ("base_nm = 16\nclock_gating_share = 1.5", "clock_gating_share must be from 0 to 1, got 1.5"),
        ("base_nm = 16\nclock_gating_share = -0.5", "clock_gating_share must not be negative, got -0.5"),
        ("base_nm = 16\nclock_gating_share = 'half'", "clock_gating_share must be a finite number, got 'half'"),
        ("base_nm = 16\ndram_pj_per_bit = -4", "dram_pj_per_bit must not be negative, got -4"),
        ("base_nm = 16\ndram_pj_per_bits = 4", "did you mean 'dram_pj_per_bit'"),
        ("base_nm = 16\ninput_buffer_read_pj_per_byte = -1", "input_buffer_read_pj_per_byte must not be negative"),
        ("base_nm = 16\ninput_buffer_read_pj_per_byte = 'low'", "must be a finite number, got 'low'"),
        ("dram_pj_per_bit = 4", "give every constant, or base_nm = 45"),
    ],
)
def test_bad_changes_of_a_node_are_one_clear_line(tmp_path, text, message):
    path = tmp_path / "edited.toml"
    path.write_text(f"[technology]\n{text}\n")
    with pytest.raises(ValueError, match="edited.toml") as error:
        Technology.from_toml(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


LEVELS = [(level, operand, access) for level in ("register", "buffer") for operand in ("weight", "input", "output")
          for access in ("read", "write")]  # fmt: skip


@pytest.mark.parametrize(("level", "operand", "access"), LEVELS)
def test_an_energy_given_outright_is_what_an_access_takes(level, operand, access):
    """A pJ more a byte adds as many pJ as the layer moves bytes; the same mapping, kernel and formulas alike."""
    layer = MacLayer("conv", K=24, C=12, OY=6, OX=10, FY=3, FX=3, IY=8, IX=12)
    design = Accelerator(rows=4, cols=4, port_model="accesses")
    found = dse.evaluate(design, layer, technology=TECHNOLOGY)
    mapping = found.mappings["conv"]
    name = f"{operand}_{level}_{access}_pj_per_byte"
    energies = []
    for price in (0.0, 1.0):
        given = replace(TECHNOLOGY, **{name: price})
        done = dse.evaluate(design, layer, mapping=mapping, technology=given)
        assert done.cycles == found.cycles
        assert mapping_cost(layer, design, given, mapping)["energy_pj"] == pytest.approx(done.energy_j * 1e12, rel=1e-9)
        energies.append(done.energy()[level] * 1e12)
    costs, x = mapping_cost(layer, design, TECHNOLOGY, mapping), {"weight": "w", "input": "i", "output": "o"}[operand]
    if level == "buffer":
        moved = costs[f"line_{x}_{access}"]
    else:
        word = {"w": 1, "i": 1, "o": 4}[x]
        read = layer.macs / (mapping.lanes if x == "o" else 1) * word
        moved = read if access == "read" else costs[f"register_{x}"] - read
    assert energies[1] - energies[0] == pytest.approx(moved) and moved > 0


def test_what_is_given_outright_is_written_and_the_rest_left_out(tmp_path):
    path = tmp_path / "mine.toml"
    before = replace(TECHNOLOGY, weight_buffer_read_pj_per_byte=0.5)
    before.to_toml(path)
    assert "weight_buffer_read_pj_per_byte = 0.5" in path.read_text()
    assert "weight_buffer_write_pj_per_byte =" not in path.read_text().split("[sources]")[0]
    assert Technology.from_toml(path) == before


def test_the_price_of_a_phy_is_a_power_law_through_two_published_ones():
    assert scaling.dram_phy_mm2_per_gbps(40) == pytest.approx(1.3 / 4.27, rel=0.02)
    assert scaling.dram_phy_mm2_per_gbps(6) == pytest.approx(1.45 / 19.2, rel=0.01)
    assert scaling.dram_phy_mm2_per_gbps(65) == scaling.dram_phy_mm2_per_gbps(45) == 0.30
    assert 0.57 / 8.8 < scaling.dram_phy_mm2_per_gbps(10) < 2 * 0.57 / 8.8  # LPDDR4's, which is not in the law
