"""What is said in one place: parameters, units by their ending, parts of area and energy, a changed layer."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import dse
from dse.analysis.explanation import with_layer
from dse.analysis.staircases import varied
from dse.costs.results import ENERGY_PARTS, WATERFALL
from dse.hardware.accelerator import PARAMETERS, Accelerator
from dse.hardware.area import AREA_BLOCKS
from dse.output.figure_style import AREA_LOOKS, ENERGY_LOOKS, WATERFALL_LOOKS
from dse.output.units import unit_of, words
from dse.runs.column_dictionary import COLUMNS, METRICS, SUFFIXES, split_name

ROOT = Path(dse.__file__).parent


def test_every_parameter_has_a_unit_a_meaning_and_a_kind_the_docstring_tells():
    for name, told in PARAMETERS.items():
        assert told.unit and told.meaning, name
        assert f"\n    {name} : {told.meaning}" in Accelerator.__doc__
        assert told.default == (getattr(Accelerator(), name) if name != "dataflow" else "weight_stationary")
    assert {v.name for v in dse.default_space().variables} == {n for n, told in PARAMETERS.items() if told.levels}


@pytest.mark.parametrize(
    ("name", "unit", "text"),
    [
        ("link_gbps", "GB/s", "link"),
        ("power_density_w_per_mm2", "W/mm2", "power density"),
        ("energy_j_per_frame", "J/frame", "energy"),
        ("requests_per_s", "1/s", "requests"),
        ("wait_ms", "ms", "wait"),
        ("edp_js", "J s", "energy-delay product"),
        ("weight_buffer_kib", "KiB", "weight buffer"),
        ("weight_buffer_width_bytes", "byte/cycle", "weight buffer width"),
        ("macs_per_pe", "MAC/cycle", "MACs per PE"),
        ("score", "1", "score"),
        ("s", "1", "s"),
    ],
)
def test_a_name_has_one_unit_in_tables_and_figures(name, unit, text):
    """A user's `link_gbps` was GB/s in columns.csv and had no unit in figures."""
    assert unit_of(name) == unit and words(name) == text
    assert name in COLUMNS or split_name(name)[1] == unit


def test_endings_are_listed_nowhere_else():
    """No second table from an ending to a unit."""
    for path in ROOT.rglob("*.py"):
        if path.name == "column_dictionary.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                assert len(set(keys) & set(SUFFIXES)) < 2, f"{path}: a second table of units"


def test_parts_have_one_list():
    assert set(AREA_LOOKS) == set(AREA_BLOCKS) and set(ENERGY_LOOKS) == set(ENERGY_PARTS)
    assert set(WATERFALL_LOOKS) == {f"{part}_cycles" for part in WATERFALL}
    assert {f"area_{b}_mm2" for b in AREA_BLOCKS} | {f"energy_{p}_j" for p in ENERGY_PARTS} <= set(METRICS)


def test_a_layer_with_another_bound_is_the_same_for_explain_and_staircase():
    """`staircase` scaled fused work, `explain` did not: 815,360 against 802,816 vector operations of one layer."""
    network = dse.load_network("resnet50")
    layer = next(each for each in network.mac_layers if each.name == "/layer2/layer2.0/conv1/Conv")
    edited = with_layer(network, layer.name, {"K": 130})
    changed = next(each for each in edited.layers if each.name == layer.name)
    assert changed == varied(layer, "K", 130) != replace(layer, K=130)
    assert changed.vector_operations == layer.vector_operations * 130 // 128
