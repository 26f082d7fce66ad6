"""`dse.explain`: parts sum exactly, and every advice is true when it is applied."""

import io
import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

import dse
import dse.commands.design_by_text
from dse.analysis.changes import advisable, changes, neighbours
from dse.analysis.explanation import closed, explain, network_advice, with_layer
from dse.analysis.operation_kinds import relate
from dse.costs.batches import layer_cycles
from dse.costs.results import ENERGY_PARTS, WATERFALL
from dse.networks.layers import MacLayer, Network, VectorLayer
from dse.output.explanation_figures import relation_figure, write_explanation
from dse.output.explanation_tables import explanation_report
from dse.output.figure_style import figure_names

DESIGNS = ("nvdla_large", "systolic", "tpu_v1", "eyeriss_v1")


@pytest.fixture(scope="module")
def resnet50():
    return dse.load_network("resnet50")


@pytest.fixture(scope="module")
def explained(resnet50):
    """Each design with its explanation, made once; of Eyeriss, which has many mappings, on the first layers alone."""
    made = {}

    def of(name):
        if name not in made:
            network = replace(resnet50, layers=resnet50.layers[:12]) if name == "eyeriss_v1" else resnet50
            made[name] = explain(dse.preset(name), network)
        return made[name]

    return of


@pytest.mark.parametrize("name", DESIGNS)
def test_parts_sum_to_the_total_exactly(explained, name):
    found = explained(name)
    assert len(found.layers) == len(found.evaluation.network.layers)
    for _, row in found.layers.iterrows():
        assert math.fsum(row[f"{part}_cycles"] for part in WATERFALL) == row["cycles"]
        assert math.fsum(row[f"{part}_pj"] for part in ENERGY_PARTS) == row["energy_pj"]
    total = 0.0
    for cycles in found.layers["cycles"]:
        total += cycles
    assert total == found.evaluation.cycles
    assert found.layers["share"].sum() == pytest.approx(1, rel=1e-12)


def test_rounding_goes_into_the_largest_part():
    parts = closed({"a": 0.1, "b": 0.2, "c": 1e9}, 1e9 + 0.3 + 1e-7)
    assert parts["a"] == 0.1 and parts["b"] == 0.2 and math.fsum(parts.values()) == 1e9 + 0.3 + 1e-7


@pytest.mark.parametrize("name", DESIGNS)
def test_every_advice_saves_what_it_promises(explained, name):
    found = explained(name)
    base, seen = found.evaluation, {}
    assert found.advice
    position = {layer.name: i for i, layer in enumerate(base.network.layers)}
    for advice in found.advice:
        assert advice.sentence and advice.saved_cycles > 0 and bool(advice.parameters) != bool(advice.loop_bounds)
        design, network = advice.apply(base.design, base.network)
        assert (design, network) != (base.design, base.network)
        key = (tuple(advice.parameters.items()), advice.layer if advice.loop_bounds else "")
        if key not in seen:
            seen[key] = dse.evaluate(design, network)
        after = seen[key]
        assert after.feasible
        if advice.layer:
            row = after.layers.iloc[position[advice.layer]]
            before = found.layers["cycles"].iloc[position[advice.layer]]
            saved = before - row["cycles"] * row["repeats"]
        else:
            saved = base.cycles - after.cycles
        assert saved >= 0.9 * advice.saved_cycles, advice.sentence
        assert after.area_mm2 - base.area_mm2 == pytest.approx(advice.area_mm2, abs=1e-9)


def test_layer_cycles_are_those_of_evaluate(resnet50):
    designs = [
        dse.Accelerator(rows=rows, dataflow=flow) for rows in (8, 16) for flow in ("row_stationary", "channel_vector")
    ]
    cycles, _ = layer_cycles(designs, resnet50, n_jobs=2)
    for design, row in zip(designs, cycles, strict=True):
        layers = dse.evaluate(design, resnet50).layers
        assert np.array_equal(row, layers["cycles"] * layers["repeats"])


def test_sensitivity_has_both_neighbours_of_every_number(explained):
    found = explained("nvdla_large")
    rows = found.sensitivity
    for parameter in ("rows", "cols", "dram_gbps", "weight_buffer_kib", "vector_lanes", "output_register_bytes"):
        directions = set(rows[rows["parameter"] == parameter]["direction"])
        assert "up" in directions and (directions >= {"up", "down"} or getattr(found.evaluation.design, parameter) == 1)
    row = rows[(rows["parameter"] == "vector_lanes") & (rows["direction"] == "up")].iloc[0]
    wide = dse.evaluate(
        dse.commands.design_by_text.choose("nvdla_large", [f"vector_lanes={row['value']}"]).design,
        found.evaluation.network,
    )
    assert row["saved_cycles"] == found.evaluation.cycles - wide.cycles > 0
    assert row["area_mm2"] == pytest.approx(wide.area_mm2 - found.evaluation.area_mm2, rel=1e-9)
    clock = rows[(rows["parameter"] == "clock_ghz") & (rows["direction"] == "step")].iloc[0]
    assert -1 < clock["elasticity"] < 0  # a faster clock helps, but DRAM does not follow


def test_three_channels_on_32_rows_are_told():
    design = dse.Accelerator(rows=32, cols=8, dram_gbps=64)
    found = explain(design, Network.from_layers([MacLayer("stem", "Conv", K=8, C=3, OY=16, OX=16, FY=3, FX=3)]))
    assert "C=3 leaves 29 of 32 rows idle" in found.layers["idle"].iloc[0]
    assert any("C=3 leaves 29 of 32 rows idle" in advice.sentence for advice in found.advice)


def test_a_design_that_cannot_run_is_refused(resnet50):
    with pytest.raises(ValueError, match="cannot run resnet50"):
        explain(dse.Accelerator(output_register_bytes=1), resnet50)


def test_figures_and_tables_are_written(explained, tmp_path):
    written = write_explanation(explained("nvdla_large"), tmp_path)
    assert {path.name for path in written} == {
        *(name for stem in ("roofline", "layers_strip", "layers_breakdown", "sensitivity")
          for name in figure_names(stem)), "layers.csv", "sensitivity.csv",
    }  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in written)


def test_an_edited_layer_leaves_the_others(resnet50):
    edited = with_layer(resnet50, "/conv1/Conv", {"K": 32})
    changed = [a.name for a, b in zip(resnet50.layers, edited.layers, strict=True) if a != b]
    assert changed == ["/conv1/Conv"]


FAST = {f"{x}_buffer_width_bytes": 2048 for x in ("weight", "input", "output")}
REGISTERS = {f"{x}_register_bytes": 32 for x in ("weight", "input", "output")}


def cut(design, layers):
    """Layers and loops that `explain` advises to cut."""
    found = explain(design, Network("net", tuple(layers)))
    return {(advice.layer, d) for advice in found.advice for d in advice.loop_bounds}


@pytest.mark.parametrize("normalised", [False, True])
def test_inputs_of_the_network_are_not_advised_away(normalised):
    design = dse.Accelerator(
        rows=8, cols=8, macs_per_pe=2, dram_gbps=256, dataflow="output_pixels", **FAST, **REGISTERS
    )
    first = MacLayer("first", "Conv", K=64, C=3, OY=64, OX=64, FY=3, FX=3, inputs=("x",), output="a")
    inner = MacLayer("inner", "Conv", K=64, C=3, OY=64, OX=64, FY=3, FX=3, inputs=("a",), output="b")
    end = MacLayer("end", "Conv", K=64, C=64, OY=64, OX=64, inputs=("b",), output="y")
    n = 3 * 66 * 66
    scale = VectorLayer(
        "scale", "Sub", operations=n, input_elements=n, output_elements=n, inputs=("image",), output="x"
    )
    assert cut(design, [*[scale] * normalised, first, inner, end]) == {("inner", "C")}


@pytest.mark.parametrize("behind", [[], ["Softmax"], ["Relu", "Softmax"]])
def test_outputs_of_the_network_are_not_advised_away(behind):
    design = dse.Accelerator(rows=8, cols=1000, dram_gbps=2000, dataflow="weight_stationary", vector_lanes=50000,
                             **(FAST | {"output_buffer_width_bytes": 8192}), **REGISTERS)  # fmt: skip
    n = 64 * 1001
    layers = [MacLayer("inner", "Gemm", K=1001, C=64, OX=64, inputs=("x",), output="t"),
              MacLayer("classes", "Gemm", K=1001, C=1001, OX=64, inputs=("t",), output="y0")]  # fmt: skip
    for i, kind in enumerate(behind):
        layers.append(VectorLayer(kind, kind, operations=n, input_elements=n, output_elements=n, inputs=(f"y{i}",),
                                  output=f"y{i + 1}"))  # fmt: skip
    found = cut(design, layers)
    assert ("inner", "K") in found and ("classes", "K") not in found


def test_a_level_down_of_an_odd_whole_number_is_tried():
    design = dse.Accelerator(rows=3, cols=1, vector_lanes=3, weight_bits=5)
    down = {change.parameter: change.value for change in changes(design) if change.direction == "down"}
    assert (down["rows"], down["vector_lanes"], down["weight_bits"]) == (1, 1, 2) and "cols" not in down
    assert neighbours(design, "dram_gbps")[1] < design.dram_gbps


def with_a_concatenation():
    """Two convolutions side by side, concatenated, and one that reads both."""
    left, right = (MacLayer(name, "Conv", K=8, C=3, OY=16, OX=16, inputs=("x",), output=name) for name in "ab")
    joined = VectorLayer("join", "Concat", 0, 0, 0, inputs=("a", "b"), output="both")
    return Network("net", (left, right, joined, MacLayer("end", C=16, K=8, OX=256, inputs=("both",), output="y")))


@pytest.fixture(scope="module")
def two_directions(tmp_path_factory):
    """A bidirectional LSTM of 4 steps, read from its file."""
    path, names = tmp_path_factory.mktemp("net") / "lstm.onnx", ("x", "w", "r")
    shapes = dict(zip(names, ([4, 1, 6], [2, 32, 6], [2, 32, 8]), strict=True))
    weights = [numpy_helper.from_array(np.zeros(shapes[name], np.float32), name) for name in names[1:]]
    node = helper.make_node("LSTM", names, ["y"], "lstm", hidden_size=8, direction="bidirectional")
    x, y = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shapes["x"]), ("y", [4, 2, 1, 8]))
    )
    graph = helper.make_graph([node], "net", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return dse.load_network(path, batch=None)


@pytest.mark.parametrize("which", ["concatenation", "two directions"])
def test_layers_that_take_no_time_are_explained_and_related(which, two_directions, tmp_path):
    network = with_a_concatenation() if which == "concatenation" else two_directions
    found = explain(dse.preset("nvdla_small"), network)
    assert 0 in found.layers["cycles"].to_list()
    free = set(found.layers[found.layers["cycles"] == 0]["layer"])
    assert not free & {advice.layer for advice in found.advice}
    assert all(path.stat().st_size > 100 for path in write_explanation(found, tmp_path))
    for layer in (None, *free):
        text = io.StringIO()
        Console(file=text, width=200).print(explanation_report(found, layer))
        assert "nan" not in text.getvalue() and (layer or "net") in text.getvalue()
    table = relate(dse.preset("nvdla_small"), [network])
    assert (table["share"] > 0).all() and table["loss"].dropna().ge(0).all()
    assert relation_figure(table, "test") is not None


@pytest.mark.parametrize("name", DESIGNS)
def test_the_changes_for_the_network_are_made_and_the_network_evaluated_again(explained, name):
    found = explained(name)
    base, table = found.evaluation, found.network
    mine = [advice for advice in found.advice if not advice.layer]
    assert 0 < len(mine) == len(table) <= 5
    assert (np.diff(table["saved_s"]) <= 0).all() and (table["saved_share"] >= 0.02).all()
    for advice, row in zip(mine, table.to_dict("records"), strict=True):
        after = dse.evaluate(advice.apply(base.design, base.network)[0], base.network)
        assert after.feasible and row["change"] in advice.sentence
        assert row["saved_s"] == pytest.approx(base.latency_s - after.latency_s, rel=1e-9)
        assert row["energy_j"] == pytest.approx(after.energy_j - base.energy_j, rel=1e-9, abs=1e-15)
        assert row["area_mm2"] == pytest.approx(after.area_mm2 - base.area_mm2, abs=1e-9)
        assert row["core_area_mm2"] == pytest.approx(after.core_area_mm2 - base.core_area_mm2, abs=1e-9)
    assert network_advice(base) == tuple(mine)


def test_no_single_change_of_one_level_saves_more_than_the_first_one(explained):
    found = explained("nvdla_large")
    rows = found.sensitivity[advisable(changes(found.evaluation.design)) & found.sensitivity["feasible"]]
    first = found.network["saved_s"].iloc[0] * found.evaluation.design.clock_ghz * 1e9
    assert first >= 0.9 * rows["saved_cycles"].max()


def test_a_joint_change_that_saves_no_more_than_a_part_of_it_is_not_advised(explained):
    found = explained("tpu_v1")
    told = [set(advice.parameters) for advice in found.advice if not advice.layer]
    assert {"dram_gbps"} in told and {"cols", "dram_gbps"} not in told
    together = found.sensitivity.set_index("parameter").loc["array and DRAM", "saved_cycles"]
    assert 0 < together < found.network["saved_s"][1] * found.evaluation.design.clock_ghz * 1e9


def test_a_port_that_operands_share_is_widened_for_all_of_them():
    design = dse.Accelerator(buffers="W+I/O")
    ports = [change.parameters for change in changes(design) if change.parameter == "buffer port"]
    assert ports == [{"weight_buffer_width_bytes": 2 * design.weight_buffer_width_bytes,
                      "input_buffer_width_bytes": 2 * design.input_buffer_width_bytes}]  # fmt: skip
    assert not [change for change in changes(dse.Accelerator(buffers="W/I/O")) if change.parameter == "buffer port"]


@pytest.mark.parametrize("name", DESIGNS)
def test_each_layer_has_one_reason_and_the_help_for_a_reason_is_measured(explained, name):
    found = explained(name)
    named = [layer for layers in found.reasons["layers"] for layer in layers]
    assert sorted(named) == sorted(found.layers[found.layers["cycles"] > 0]["layer"])
    assert found.reasons["share"].sum() == pytest.approx(1, rel=1e-9)
    assert not found.reasons.duplicated(["reason", "port"]).any()
    for layers in found.reasons["layers"]:
        for advice in found.remedies(layers):
            after = dse.evaluate(advice.apply(found.evaluation.design, found.evaluation.network)[0],
                                 found.evaluation.network).layers.set_index("layer")  # fmt: skip
            cycles = sum(after.loc[layer, "cycles"] * after.loc[layer, "repeats"] for layer in layers)
            before = found.layers.set_index("layer").loc[list(layers), "cycles"].sum()
            assert advice.saved_cycles == pytest.approx(before - cycles, rel=1e-9)


def test_a_report_begins_with_the_network_and_says_a_reason_once(explained):
    text = io.StringIO()
    Console(file=text, width=200).print(explanation_report(explained("nvdla_large")))
    lines = text.getvalue().split("\n")
    assert lines[0].startswith("What buys most for the whole network")
    reasons = [line for line in lines if "of the network's time" in line]
    assert 1 < len(reasons) == len({line.partition(":")[0] for line in reasons}) <= 6
    advised = [line.strip() for line in lines if line.strip().startswith("->")]
    assert len(advised) == len(set(advised))


def test_the_first_advice_of_a_comparison_is_the_first_change_for_the_network(explained, resnet50):
    names = [name for name in DESIGNS if name != "eyeriss_v1"]
    table = dse.compare([resnet50], {name: dse.preset(name) for name in names})
    assert table["first_advice"].tolist() == [
        next(advice.sentence for advice in explained(name).advice if not advice.layer) for name in names
    ]


def test_few_layers_of_a_reason_are_named_and_the_others_counted():
    layers = [MacLayer(f"same_{i}", K=16, C=3, OX=64) for i in range(40)]
    found = explain(dse.Accelerator(rows=32, cols=32), Network.from_layers(layers))
    text = io.StringIO()
    Console(file=text, width=200).print(explanation_report(found))
    line = next(line for line in text.getvalue().split("\n") if line.startswith("  same_0"))
    assert len(found.reasons["layers"][0]) == 40 and line.count("same_") == 10 and "and 30 more with 75 %" in line
