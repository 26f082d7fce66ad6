"""DRAM as types: data, what a design takes from them, files, assumptions said, areas without the interface."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dse
import dse.commands.design_by_text
from dse.analysis.changes import changes
from dse.analysis.operation_kinds import choices
from dse.costs.kernel_rows import parameter_columns
from dse.hardware.accelerator import Accelerator
from dse.hardware.area import area_blocks_mm2
from dse.hardware.dram import assumptions, dram_of
from dse.hardware.dram_types import DRAM_TYPES, NEEDED, NUMBERS, DramType, own_dram_types, types_of
from dse.hardware.presets import PRESETS, preset, preset_chip, preset_technology
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks.layers import MacLayer, Network
from dse.output.tables import assumed_of_run
from dse.simultaneous.co_runs import co_run
from dse.simultaneous.division import Division
from dse.simultaneous.mixes import Mix, Stream
from problems import GeomeanDNN, SimultaneousDNNs, SingleDNN

TECHNOLOGY = Technology()
LAYER = MacLayer("product", K=64, C=64, OX=32)
OWN = DramType("mine", channel_gbps=10, pj_per_bit=5, phy_mm2_per_channel=0.4, background_w_per_channel=0.25)
USABLE = [name for name, each in DRAM_TYPES.items() if all(getattr(each, x) is not None for x in NEEDED)]


def network(*layers):
    return Network("small", layers or (LAYER,))


# ---------------------------------------------------------------------------------------------------------------------
# The types that ship.


def test_every_number_and_every_blank_has_a_source():
    assert {"DDR4", "LPDDR4", "LPDDR5", "GDDR6", "HBM2", "HBM2E"} <= set(DRAM_TYPES)
    for each in DRAM_TYPES.values():
        assert set(dict(each.sources)) == set(NUMBERS), each.name
        assert all(len(text) > 15 for _, text in each.sources)


def test_rates_and_interfaces_are_within_the_published_ranges():
    assert {name: DRAM_TYPES[name].channel_gbps for name in ("DDR4", "LPDDR4", "LPDDR5", "GDDR6", "HBM2")} == {
        "DDR4": 64 / 8 * 3.2, "LPDDR4": 16 / 8 * 3.2, "LPDDR5": 16 / 8 * 6.4, "GDDR6": 16 / 8 * 14, "HBM2": 128 / 8 * 2,
    }  # fmt: skip
    assert DRAM_TYPES["HBM2E"].channel_gbps == pytest.approx(128 / 8 * 3.6)
    for each in DRAM_TYPES.values():
        if each.phy_mm2_per_channel is not None:
            assert 0.02 < each.phy_mm2_per_channel / each.channel_gbps < 0.30
    nodes = [Technology.at(node).dram_interface_mm2_per_gbps for node in (65, 45, 28, 22, 16, 7)]
    assert all(0.02 <= price <= 0.30 for price in nodes)


def test_what_is_not_published_is_blank():
    assert DRAM_TYPES["LPDDR5"].pj_per_bit is None and DRAM_TYPES["HBM2E"].pj_per_bit is None
    for name in ("LPDDR4", "LPDDR5", "GDDR6"):  # public files hold copies of other types' currents
        assert DRAM_TYPES[name].background_w_per_channel is None
    for name in ("DDR4", "LPDDR5", "GDDR6"):
        assert DRAM_TYPES[name].phy_mm2_per_channel is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "LPDDR5",
            r"'LPDDR5' lacks pj_per_bit, .*from 4 to 8.*\[dram_types.mine\] with base = \"LPDDR5\" and",
        ),
        (DramType("half", pj_per_bit=3), "'half' lacks channel_gbps, the rate of a channel"),
        ("HBM2F", "DRAM type 'HBM2F' is unknown; did you mean 'HBM2"),
        (3, "dram_type must be one of DDR4, LPDDR4, .*, got 3"),
    ],
)
def test_a_type_that_cannot_be_used_is_refused_by_name(value, message):
    with pytest.raises(ValueError, match=message):
        Accelerator(dram_type=value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pj_per_bit": -1}, "pj_per_bit must be positive, got -1"),
        ({"channel_gbps": 0}, "channel_gbps must be positive, got 0"),
        ({"phy_mm2_per_channel": -0.1}, "phy_mm2_per_channel must be at least 0"),
        ({"background_w_per_channel": float("nan")}, "must be a finite number"),
        ({"channel_gbps": "fast"}, "must be a finite number, got 'fast'"),
        ({"name": ""}, "the name must be a text"),
    ],
)
def test_bad_numbers_of_a_type_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(OWN, **changes)


# ---------------------------------------------------------------------------------------------------------------------
# What a design takes from its type.


def test_type_and_channels_set_the_bandwidth():
    design = Accelerator(dram_type="HBM2", dram_channels=4)
    assert design.dram_gbps == 128 and str(design.dram_type) == "HBM2"
    assert design.with_bandwidth(32) == replace(design, dram_channels=1)
    assert design.with_parameters({"dram_type": ""}).dram_gbps == 128
    assert Accelerator(dram_gbps=5).with_bandwidth(7) == Accelerator(dram_gbps=7)


@pytest.mark.parametrize("channels", [0, -1, float("inf")])
def test_channels_are_positive(channels):
    with pytest.raises(ValueError, match="dram_channels must be a positive number"):
        Accelerator(dram_type="DDR4", dram_channels=channels)


def test_interface_energy_and_background_are_those_of_the_channels():
    """By hand: 3 channels of 0.4 mm2, 5 pJ a bit, 0.75 W while the layer runs."""
    done = dse.evaluate(Accelerator(dram_type=OWN, dram_channels=3), network())
    plain = dse.evaluate(Accelerator(dram_gbps=30), network())
    assert done.cycles == plain.cycles and done.core_area_mm2 == plain.core_area_mm2
    assert done.area["dram_interface"] == pytest.approx(3 * 0.4)
    moved = float(plain.layers["dram_bytes"].sum())
    assert done.energy()["dram"] == pytest.approx(moved * 8 * 5e-12 + 0.75 * done.latency_s)
    assert plain.energy()["dram"] == pytest.approx(moved * 8 * 8e-12)
    assert plain.area["dram_interface"] == pytest.approx(30 * 0.30)


@pytest.mark.parametrize("name", USABLE)
def test_a_blank_takes_the_stated_price_and_is_said(name):
    each, design = DRAM_TYPES[name], Accelerator(dram_type=name, dram_channels=2)
    dram = dram_of(parameter_columns(design), TECHNOLOGY)
    said = " ".join(assumptions(design.dram_type, TECHNOLOGY))
    if each.phy_mm2_per_channel is None:
        assert dram.interface_mm2[0] == pytest.approx(0.30 * 2 * each.channel_gbps)
        assert "0.3 mm2 per GB/s, the price at 45 nm" in said
    else:
        assert dram.interface_mm2[0] == 2 * each.phy_mm2_per_channel and "mm2" not in said
    left_out = each.background_w_per_channel is None
    assert dram.background_w[0] == (0 if left_out else 2 * each.background_w_per_channel)
    assert ("background power is left out" in said) == left_out
    assert dram.pj_per_byte[0] == 8 * each.pj_per_bit


def test_more_channels_never_cost_less_area_nor_time():
    done = [dse.evaluate(Accelerator(dram_type="LPDDR4", dram_channels=n), network()) for n in (1, 2, 4)]
    assert done[0].area_mm2 < done[1].area_mm2 < done[2].area_mm2
    assert done[0].cycles >= done[1].cycles >= done[2].cycles
    assert len({each.core_area_mm2 for each in done}) == 1


def test_the_mapper_counts_what_the_dram_takes_with_time():
    """With a DRAM that takes much power all the time, the mapping of least energy is the fastest."""
    hungry = Accelerator(dram_type=replace(OWN, name="hungry", background_w_per_channel=1e6))
    layer = MacLayer("conv", K=96, C=40, OY=9, OX=9, FY=3, FX=3, pad_y=1, pad_x=1, IY=9, IX=9)
    by = {x: dse.evaluate(hungry, network(layer), objective=x, slack=0.0) for x in ("latency", "energy")}
    assert by["energy"].cycles == pytest.approx(by["latency"].cycles, rel=1e-6)
    assert by["energy"].energy_j <= by["latency"].energy_j


def test_a_changed_design_keeps_its_type():
    design = Accelerator(dram_type="HBM2", dram_channels=2)
    tried = {change.parameter for change in changes(design)}
    assert "dram_channels" in tried and "dram_gbps" not in tried
    assert "dram_gbps" in {change.parameter for change in changes(Accelerator())}
    assert "dram_channels" not in {change.parameter for change in changes(Accelerator())}
    links = [other.dram_gbps for aspect, _, other in choices(design) if aspect == "bandwidth"]
    assert links == [16, 32, 64, 128, 256, 512]


# ---------------------------------------------------------------------------------------------------------------------
# Divided designs.


@pytest.mark.parametrize("shared", [True, False])
def test_a_divided_design_has_its_interface_and_background_once(shared):
    design = Accelerator(cols=32, dram_type=OWN, dram_channels=4)
    division = Division((1, 3), shared_bandwidth=shared)
    assert [part.dram_gbps for part in division.of(design)] == ([40, 40] if shared else [10, 30])
    blocks = division.area_blocks_mm2(design, TECHNOLOGY)
    assert blocks["dram_interface"] == pytest.approx(4 * 0.4)
    mix = Mix("pair", (Stream("a", network()), Stream("b", network())))
    found = co_run(mix, design, division).metrics
    idle = replace(OWN, background_w_per_channel=None)
    without = co_run(mix, replace(design, dram_type=idle), division).metrics
    assert found["energy_dram_j"] - without["energy_dram_j"] == pytest.approx(4 * 0.25 * found["makespan_s"])
    assert found["core_area_mm2"] == pytest.approx(found["area_mm2"] - 4 * 0.4)


# ---------------------------------------------------------------------------------------------------------------------
# Files and spaces.

FILE = """
[design]
rows = 8
dram_type = "mine"
dram_channels = 2

[dram_types.mine]
base = "LPDDR5"
pj_per_bit = 6

[dram_types.mine.sources]
pj_per_bit = "measured on our board"
"""


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_type_in_the_file_of_a_design(tmp_path):
    design = dse.commands.design_by_text.from_toml(written(tmp_path / "chip.toml", FILE))
    assert (design.dram_gbps, design.dram_type.pj_per_bit, design.dram_type.name) == (25.6, 6, "mine")
    sources = dict(design.dram_type.sources)
    assert sources["pj_per_bit"] == "measured on our board" and "6400 MT/s" in sources["channel_gbps"]
    again = written(tmp_path / "again.toml", dse.commands.design_by_text.toml_text(design))
    assert dse.commands.design_by_text.from_toml(again) == design
    assert dict(dse.commands.design_by_text.from_toml(again).dram_type.sources) == sources
    chosen = dse.commands.design_by_text.choose(str(tmp_path / "chip.toml"), ["dram_channels=4"])
    assert chosen.design.dram_gbps == 51.2
    with pytest.raises(ValueError, match=r"dram_gbps=100 and 2 x dram_type mine, which is 25.6 GB/s: leave out"):
        dse.commands.design_by_text.choose(str(tmp_path / "chip.toml"), ["dram_gbps=100"])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("[dram_types.mine]", "[dram_types.DDR4]"), "DDR4 is a type that ships; rename it"),
        (('base = "LPDDR5"', 'base = "LPDDR6"'), "'LPDDR6' is unknown; did you mean 'LPDDR"),
        (("pj_per_bit = 6", "pj_per_byte = 6"), "'pj_per_byte' is unknown; did you mean 'pj_per_bit'"),
        (("pj_per_bit = 6", "pj_per_bit = -6"), r"\[dram_types.mine\]: DRAM type 'mine': pj_per_bit must be positive"),
        (
            ("pj_per_bit = 6", ""),
            r"'mine' lacks pj_per_bit, .*; give pj_per_bit = ... in its table \[dram_types.mine\]",
        ),
        (
            ('base = "LPDDR5"', ""),
            r"'mine' lacks channel_gbps, .*table \[dram_types.mine\], or base = ..., a type that",
        ),
        (("dram_channels = 2", "dram_channels = 2\ndram_gbps = 99"), "leave out dram_gbps"),
        (('dram_type = "mine"', 'dram_type = "mime"'), "'mime' is unknown; did you mean 'mine'"),
        (('pj_per_bit = "measured on our board"', "pj_per_bit = 3"), "sources must be a table of texts"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_fix(tmp_path, edit, message):
    path = written(tmp_path / "chip.toml", FILE.replace(*edit))
    with pytest.raises(ValueError, match=message) as error:
        dse.commands.design_by_text.from_toml(path)
    assert "chip.toml" in str(error.value) and "\n" not in str(error.value)


SPACE = DesignSpace({"rows": [4, 8, 16], "dram_type": ["HBM2", OWN, ""], "dram_channels": [0.5, 1, 2]}, name="typed")


def test_columns_of_a_space_hold_the_bandwidth_of_the_type():
    X = SPACE.all_designs()
    columns = SPACE.columns(X)
    designs = [SPACE.design(x) for x in X]
    assert columns["dram_gbps"].tolist() == [design.dram_gbps for design in designs]
    for x, design in zip(X, designs, strict=True):
        assert SPACE.design(SPACE.encode(design)) == design, x
    expected = [area_blocks_mm2(parameter_columns(design), TECHNOLOGY)["dram_interface"][0] for design in designs]
    assert dram_of(columns, TECHNOLOGY).interface_mm2.tolist() == expected


def test_a_space_with_types_of_ones_own_is_read_back_equal(tmp_path):
    SPACE.to_toml(tmp_path / "space.toml")
    again = DesignSpace.from_toml(tmp_path / "space.toml")
    assert again == SPACE and again.hash == SPACE.hash and again.content() == SPACE.content()


@pytest.mark.parametrize(
    ("variables", "base", "message"),
    [
        ({"dram_type": ["HBM2", ""], "dram_gbps": [4, 8]}, "", "sets it; leave it out and vary dram_channels"),
        ({"dram_gbps": [4, 8]}, "HBM2", "sets it; leave it out and vary dram_channels"),
        ({"dram_channels": [1, 2]}, "", "does nothing without a dram_type; name one, or vary dram_gbps"),
        ({"dram_type": ["HBM2", "LPDDR5"]}, "", "level 'LPDDR5': DRAM type 'LPDDR5' lacks pj_per_bit"),
    ],
)
def test_a_space_that_cannot_be_is_refused(variables, base, message):
    with pytest.raises(ValueError, match=message):
        DesignSpace(variables, Accelerator(dram_type=base))


def test_types_of_one_name_and_other_numbers_are_refused():
    with pytest.raises(ValueError, match="two DRAM types are called 'mine'"):
        own_dram_types([OWN, replace(OWN, pj_per_bit=6)])
    with pytest.raises(ValueError, match="'DDR4' is not the type of this name that ships"):
        own_dram_types([replace(OWN, name="DDR4")])
    with pytest.raises(ValueError, match=r"\[dram_types.mine\]: expected a table with channel_gbps"):
        types_of({"mine": 3}, DRAM_TYPES)


def test_a_run_over_types_is_read_evaluated_and_resumed(tmp_path):
    run = dse.explore(SingleDNN(network(), SPACE), evaluations=24, population=8, out=tmp_path / "run", plain=True)
    assert {"HBM2", "mine", ""} == set(run.designs["dram_type"])
    for index in range(24):
        chosen = dse.commands.design_by_text.choose(f"{tmp_path / 'run'}:{index}")
        done = dse.evaluate(chosen.design, network(), **chosen.options())
        row = run.designs.iloc[index]
        assert (done.area_mm2, done.core_area_mm2, done.energy_j) == (
            row["area_mm2"], row["core_area_mm2"], row["energy_j"]
        )  # fmt: skip
    loaded = dse.load(tmp_path / "run")
    assert loaded.front.equals(run.front)
    said = " ".join(assumed_of_run(loaded))
    assert "of no named type, takes 8 pJ/bit" in said and "HBM2" not in said and "mine" not in said


# ---------------------------------------------------------------------------------------------------------------------
# Areas with and without the interface.


def test_both_areas_are_metrics_and_objectives():
    problem = SingleDNN(network(), SPACE, objectives=("latency_s", "area_mm2", "core_area_mm2"))
    rows = problem.evaluate_designs(SPACE.all_designs())
    interface = rows.metrics["area_dram_interface_mm2"]
    assert rows.objectives[:, 1] - rows.objectives[:, 2] == pytest.approx(interface)
    assert (interface > 0).all()
    mean = GeomeanDNN([network()], space=SPACE, objectives=("latency_s", "core_area_mm2"))
    assert np.array_equal(mean.evaluate_designs(SPACE.all_designs()).objectives[:, 1], rows.objectives[:, 2])
    pair = SimultaneousDNNs([network(), Network("other", (LAYER,))], space=SPACE,
                            objectives=("makespan_s", "core_area_mm2"))  # fmt: skip
    X = np.zeros((1, pair.space.n_var), dtype=np.int64)
    found = pair.evaluate_designs(X)
    assert found.metrics["core_area_mm2"] < found.metrics["area_mm2"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_costed_at_its_own_node_by_default(name):
    chosen = dse.commands.design_by_text.choose(name)
    assert chosen.design == preset(name) and chosen.options()["technology"] == preset_technology(name)
    assert "the chip's own node" in chosen.node()
    other = chosen.at(Technology.at(7))
    assert other.options()["technology"] == preset_technology(name, 7)
    assert other.node() == f"7 nm; the chip's own node is {preset_chip(name)['technology_nm']:g} nm"
    mine = replace(Technology.at(7), io_idle_w=1.0)
    assert chosen.at(mine).options()["technology"] == mine
