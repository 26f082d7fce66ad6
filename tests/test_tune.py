"""`dse.tune`: edits are carried through the graph, keep its semantics, and cost what they promise when read back."""

import io
import json
import math
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from rich.console import Console
from typer.testing import CliRunner

import dse
from dse.commands.main import app
from dse.costs.residency.memory import CaseMemory
from dse.networks import network_dims
from dse.output.explanation_tables import tuned_report
from dse.tuning.capacity import Budget, capacity_of
from dse.tuning.channels import channels_of, checked, stripped, with_channels, with_random_weights
from dse.tuning.costing import Costs, Setting
from dse.tuning.edits import Edit
from dse.tuning.front import tuned_front, write_front
from dse.tuning.graph_copy import GraphCopy
from dse.tuning.graphs import network_of, read_graph
from dse.tuning.proposals import candidates, propose
from dse.tuning.tuner import apply_edits, tune, write_tuned
from dse.tuning.widths import _targets

DESIGN = dse.Accelerator(rows=16, cols=16, dram_gbps=64, vector_lanes=64)
MIXER = Path(__file__).parents[1] / "results" / "tune_dnn" / "networks" / "mixer" / "original.onnx"


class Builder:
    """Writes small convolutional graphs."""

    def __init__(self, channels=3, size=16):
        self.nodes, self.tensors, self.count = [], [], 0
        self.input = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", channels, size, size])

    def weight(self, *dims):
        self.count += 1
        rng = np.random.default_rng(self.count)
        values = (rng.standard_normal(dims) / math.sqrt(math.prod(dims[1:]) or 1)).astype(np.float32)
        self.tensors.append(numpy_helper.from_array(values, f"w{self.count}"))
        return f"w{self.count}"

    def node(self, kind, *inputs, **attributes):
        self.count += 1
        name = attributes.pop("name", f"{kind.lower()}{self.count}")
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def conv(self, x, cin, cout, k=1, stride=1, groups=1, name=None):
        half = (k - 1) // 2
        named = {"name": name} if name else {}
        y = self.node("Conv", x, self.weight(cout, cin // groups, k, k), kernel_shape=[k, k], strides=[stride] * 2,
                      pads=[half] * 4, group=groups, **named)  # fmt: skip
        scale = [self.weight(cout) for _ in range(3)]
        self.tensors.append(numpy_helper.from_array(np.ones(cout, np.float32), f"var_{y}"))
        return self.node("BatchNormalization", y, *scale, f"var_{y}")

    def model(self, x, features, classes=10):
        return self.finish(self.node("Flatten", self.node("GlobalAveragePool", x), axis=1), features, classes)

    def finish(self, pooled, features, classes=10, opset=17):
        self.nodes.append(helper.make_node("Gemm", [pooled, self.weight(classes, features), self.weight(classes)],
                                           ["y"], "fc", transB=1))  # fmt: skip
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", classes])
        graph = helper.make_graph(self.nodes, "small", [self.input], [y], self.tensors)
        return checked(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def residual():
    """A stem, a residual block, a concatenation, a depthwise pair."""
    b = Builder()
    x = b.node("Relu", b.conv("x", 3, 12, 7, 2, name="stem"))
    y = b.node("Relu", b.conv(x, 12, 12, 3, name="inner"))
    x = b.node("Relu", b.node("Add", b.conv(y, 12, 12, 3, name="outer"), x, name="add"))
    left, right = b.conv(x, 12, 8, 1, name="left"), b.conv(x, 12, 20, 1, name="right")
    x = b.node("Concat", left, right, axis=1)
    x = b.node("Clip", b.conv(x, 28, 40, 1, name="expand"))
    x = b.node("Clip", b.conv(x, 40, 40, 3, 2, 40, name="depthwise"))
    return b.model(b.conv(x, 40, 24, 1, name="project"), 24)


def run(model, seed=0):
    """One forward pass of the reference evaluator, absent weights random."""
    x = np.random.default_rng(seed).standard_normal((2, 3, 16, 16)).astype(np.float32)
    return ReferenceEvaluator(with_random_weights(model)).run(None, {"x": x})[0]


def weights(model):
    return {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}


def dims_of(model, name):
    node = next(node for node in model.graph.node if node.name == name)
    return weights(model)[node.input[1]]


def test_a_residual_addition_ties_its_channels():
    model = residual()
    made = channels_of(model)
    tied = next(number for number in made.free() if "stem" in made.makers[number])
    assert set(made.makers[tied]) == {"stem", "outer"} and set(made.readers[tied]) == {"inner", "left", "right"}
    edited = checked(with_channels(model, made, {tied: 16}))
    assert dims_of(edited, "stem")[0] == dims_of(edited, "outer")[0] == 16
    assert dims_of(edited, "inner")[:2] == [12, 16] and dims_of(edited, "left")[1] == 16
    assert run(edited).shape == (2, 10)


def test_a_concatenation_shifts_what_reads_it():
    edited = apply_edits(residual(), [Edit("channels", "left", 16)])
    assert dims_of(edited, "expand")[1] == 36 and dims_of(edited, "right")[0] == 20
    assert run(edited).shape == (2, 10)


def test_a_depthwise_convolution_follows_with_its_groups():
    edited = apply_edits(residual(), [Edit("channels", "expand", 48)])
    node = next(node for node in edited.graph.node if node.name == "depthwise")
    assert dims_of(edited, "depthwise") == [48, 1, 3, 3] and dims_of(edited, "project")[1] == 48
    assert {a.name: helper.get_attribute_value(a) for a in node.attribute}["group"] == 48


def two_of_one_weight():
    """Two filters of one weight, behind a stem, as the head of Faster R-CNN has it for five levels."""
    b = Builder()
    x = b.conv("x", 3, 12, 3, name="stem")
    weight = b.weight(12, 12, 3, 3)
    for name in ("near", "far"):
        x = b.node("Conv", x, weight, kernel_shape=[3, 3], pads=[1] * 4, name=name)
    return b.model(x, 12)


def every_constant_is_read_and_has_its_name_alone(model):
    names = [tensor.name for tensor in model.graph.initializer]
    return len(set(names)) == len(names) and set(names) <= {name for node in model.graph.node for name in node.input}


def test_filters_that_share_weights_get_columns_of_their_own():
    """The columns had one name, so a width of one contradicted the other's, and the edit was lost."""
    edits = [Edit("factorise", "near"), Edit("factorise", "far"), Edit("channels", "near/column", 7),
             Edit("channels", "far/column", 9)]  # fmt: skip
    edited = apply_edits(two_of_one_weight(), edits)
    assert every_constant_is_read_and_has_its_name_alone(edited) and dims_of(edited, "near/column") == [7, 12, 3, 1]
    assert dims_of(edited, "far/column") == [9, 12, 3, 1] and dims_of(edited, "far") == [12, 9, 1, 3]
    assert checked(edited) and run(edited).shape == (2, 10)


def test_a_pair_of_filters_that_shares_its_weight_leaves_none_unread():
    edited = apply_edits(two_of_one_weight(), [Edit("column_row", "far")])
    assert every_constant_is_read_and_has_its_name_alone(edited) and run(edited).shape == (2, 10)
    assert dims_of(edited, "near") == [12, 12, 3, 1] and dims_of(edited, "far") == [12, 12, 1, 3]


def test_a_name_that_the_graph_has_already_is_not_given_again():
    model = two_of_one_weight()
    model.graph.initializer[-1].name, old = "near_out/near", model.graph.initializer[-1].name
    for node in model.graph.node:
        node.input[:] = ["near_out/near" if name == old else name for name in node.input]
    for name in ("near/column", "near_out/column"):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(12, np.float32), name))
    edited = Edit("factorise", "near").apply(model)
    names = [tensor.name for tensor in edited.graph.initializer]
    assert len(set(names)) == len(names) and checked(edited)


def test_what_a_branch_reads_stays():
    """A branch was no reader: the filter before lost what the branch reads, and constants that it alone reads went."""
    model = two_of_one_weight()
    out = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)
    branches = {f"{name}_branch": helper.make_graph([helper.make_node("Add", ["near_out", "alone"], ["chosen"])], name,
                                                    [], [out]) for name in ("then", "else")}  # fmt: skip
    model.graph.node.append(helper.make_node("If", ["condition"], ["also"], "if", **branches))
    model.graph.output.append(helper.make_tensor_value_info("also", TensorProto.FLOAT, None))
    model.graph.initializer.extend([numpy_helper.from_array(np.array(True), "condition"),
                                    numpy_helper.from_array(np.ones(1, np.float32), "alone")])  # fmt: skip
    with pytest.raises(ValueError, match="has other readers"):
        Edit("column_row", "far").apply(model)
    graph = GraphCopy(model)
    graph.remove([])
    assert "alone" in {tensor.name for tensor in graph.graph.initializer}


def test_constants_that_an_older_exporter_lists_as_inputs_can_be_reshaped():
    model = two_of_one_weight()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    edited = Edit("factorise", "stem").apply(model)
    assert [entry.name for entry in edited.graph.input] == ["x"] and run(edited).shape == (2, 10)


def test_channels_pass_padding_cropping_and_blocks_of_pixels():
    b = Builder()
    values = {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "from": [1, 1], "to": [9999, 9999], "axes": [2, 3]}
    b.tensors += [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in values.items()]
    x = b.node("Pad", b.conv("x", 3, 8, 3, name="first"), "pads")
    x = b.node("Slice", x, "from", "to", "axes")
    model = b.model(b.conv(b.node("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1]), 8, 16, 3, 2, name="second"), 16)
    blocks = apply_edits(model, [Edit("stem", "second"), Edit("channels", "first", 12)])
    assert dims_of(blocks, "second")[1] == 48 and run(blocks).shape == (2, 10)
    b.tensors += [numpy_helper.from_array(np.array([1], np.int64), n) for n in ("one", "channel")]
    b.tensors.append(numpy_helper.from_array(np.array([5], np.int64), "five"))
    b.nodes.clear()
    cut = b.node("Slice", b.conv("x", 3, 8, 3, name="cut"), "one", "five", "channel")
    with pytest.raises(ValueError, match="channels of cut cannot change: .*Slice"):
        apply_edits(b.model(b.conv(cut, 4, 8, 1, name="last"), 8), [Edit("channels", "cut", 12)])


def concatenated(axis, size=16):
    """Two convolutions behind each other along an axis, and one that reads both."""
    b = Builder(size=size)
    left, right = b.conv("x", 3, 8, 3, name="left"), b.conv("x", 3, 8, 3, name="right")
    x = b.node("Concat", left, right, axis=axis)
    return b.model(b.conv(x, 16 if axis in (1, -3) else 8, 24, 1, name="reader"), 24)


@pytest.mark.parametrize("axis", [-3, 1, -2, 3])
def test_a_concatenation_along_a_negative_axis_is_the_same_as_along_the_positive(axis):
    edited = apply_edits(concatenated(axis), [Edit("channels", "left", 16)])
    right, reader = dims_of(edited, "right")[0], dims_of(edited, "reader")[1]
    assert (right, reader) == ((8, 24) if axis in (-3, 1) else (16, 16))
    assert run(edited).shape == (2, 10)


def resized(**given):
    """A convolution, a Resize whose sizes or scales are constant, a convolution."""
    b = Builder()
    inputs = {"roi": "", "scales": "", "sizes": ""}
    for name, values in given.items():
        kind = np.int64 if name == "sizes" else np.float32
        b.tensors.append(numpy_helper.from_array(np.array(values, kind), name))
        inputs[name] = name
    x = b.node("Resize", b.conv("x", 3, 8, 3, name="first"), *inputs.values(), mode="nearest")
    channels = 8 * int(given.get("scales", [1, 1])[1])
    return b.model(b.conv(x, channels, 16, 1, name="second"), 16)


def test_a_resize_to_constant_sizes_fixes_the_channels():
    for given in ({"sizes": [2, 8, 32, 32]}, {"scales": [1, 2, 2, 2]}):
        model = resized(**given)
        with pytest.raises(ValueError, match="channels of first cannot change: .*Resize"):
            apply_edits(model, [Edit("channels", "first", 16)])
        assert dims_of(apply_edits(model, [Edit("channels", "second", 32)]), "second")[0] == 32
    edited = apply_edits(resized(scales=[1, 1, 2, 2]), [Edit("channels", "first", 16)])
    assert dims_of(edited, "second")[1] == 16 and run(edited).shape == (2, 10)


def test_an_average_over_the_last_axis_of_a_matrix_does_not_pass_channels():
    b = Builder()
    x = b.node("Flatten", b.node("GlobalAveragePool", b.conv("x", 3, 8, 3, name="first")), axis=1)
    model = b.finish(b.node("ReduceMean", x, axes=[-1]), 1)
    with pytest.raises(ValueError, match="channels of first cannot change: .*ReduceMean"):
        apply_edits(model, [Edit("channels", "first", 16)])


@pytest.mark.parametrize("dims", [(), (1,), (2, 1), (8,), (1, 8)])
def test_a_bias_of_one_value_for_all_channels_has_no_axis_that_follows(dims):
    b = Builder()
    pooled = b.node("Flatten", b.node("GlobalAveragePool", b.conv("x", 3, 12, 3, name="first")), axis=1)
    b.tensors.append(numpy_helper.from_array(np.ones(dims, np.float32), "bias"))
    x = b.node("Relu", b.node("Gemm", pooled, b.weight(8, 12), "bias", name="dense", transB=1))
    edited = apply_edits(b.finish(x, 8), [Edit("channels", "dense", 16)])
    assert weights(edited)["bias"] == [16 if size == 8 else size for size in dims]
    assert run(edited).shape == (2, 10)


def test_a_bias_that_is_computed_keeps_its_channels():
    b = Builder()
    pooled = b.node("Flatten", b.node("GlobalAveragePool", "x"), axis=1)
    bias = b.node("Gemm", pooled, b.weight(1, 3), name="offset", transB=1)
    model = b.finish(b.node("Gemm", pooled, b.weight(8, 3), bias, name="dense", transB=1), 8)
    with pytest.raises(ValueError, match="channels of offset cannot change: 'dense' .Gemm. needs it as it is"):
        apply_edits(model, [Edit("channels", "offset", 4)])


def shared():
    """Two convolutions of one weight, the second at another size, and one that reads what they make."""
    b = Builder()
    x = b.conv("x", 3, 8, 3, name="stem")
    weight = b.weight(8, 8, 3, 3)
    for name in ("one", "two"):
        x = b.node("Conv", x, weight, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, name=name)
    return b.model(b.conv(x, 8, 16, 1, name="reader"), 16)


def test_operators_that_share_a_weight_share_its_channels():
    model = shared()
    edited = apply_edits(model, [Edit("channels", "one", 12)])
    assert dims_of(edited, "two") == [12, 12, 3, 3] and dims_of(edited, "stem")[0] == dims_of(edited, "reader")[1] == 12
    assert run(edited).shape == (2, 10)
    b = Builder()
    weight = b.weight(8, 3, 1, 1)
    x = b.node("Conv", "x", weight, name="conv")
    b.node("Relu", b.node("Exp", b.node("Neg", b.node("Transpose", weight, perm=[1, 0, 2, 3]))))
    with pytest.raises(ValueError, match="channels of conv cannot change: .*Transpose. needs 'w1' as it is"):
        apply_edits(b.model(x, 8), [Edit("channels", "conv", 16)])


def test_what_a_branch_reads_keeps_its_channels():
    b = Builder()
    x = b.conv("x", 3, 8, 3, name="first")
    out = helper.make_tensor_value_info("branch_out", TensorProto.FLOAT, ["batch", 8, 16, 16])
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node(kind, [x], ["branch_out"])], name, [], [out])
        for name, kind in (("then", "Relu"), ("else", "Neg"))
    }
    b.tensors.append(numpy_helper.from_array(np.array(True), "condition"))
    y = b.conv(b.node("If", "condition", name="if", **branches), 8, 12, 1, name="second")
    model = b.model(y, 12)
    with pytest.raises(ValueError, match="channels of first cannot change: a branch of 'if' .If. reads it"):
        apply_edits(model, [Edit("channels", "first", 16)])
    assert run(apply_edits(model, [Edit("channels", "second", 16)])).shape == (2, 10)


@pytest.mark.parametrize("opset", [17, 18])
def test_an_average_passes_channels_with_its_axes_as_attribute_or_as_input(opset):
    b = Builder()
    b.tensors.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    x = b.conv("x", 3, 8, 3, name="first")
    x = b.node("ReduceMean", x, axes=[2, 3]) if opset == 17 else b.node("ReduceMean", x, "axes")
    edited = apply_edits(b.finish(b.node("Flatten", x), 8, opset=opset), [Edit("channels", "first", 16)])
    assert dims_of(edited, "fc") == [10, 16] and run(edited).shape == (2, 10)


def test_weights_that_are_computed_in_the_graph_fix_the_channels():
    model = concatenated(1)
    values = numpy_helper.from_array(np.ones((24, 16, 1, 1), np.float32))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], "constant", value=values))
    reader = next(node for node in model.graph.node if node.name == "reader")
    reader.input[1] = "w"
    with pytest.raises(ValueError, match="channels of left cannot change: 'w' is computed in the graph"):
        apply_edits(model, [Edit("channels", "left", 16)])


def test_a_convolution_that_gets_other_channels_than_its_weights_have_is_not_valid():
    model = concatenated(1)
    for tensor in model.graph.initializer:
        if tensor.name == next(node for node in model.graph.node if node.name == "reader").input[1]:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((24, 8, 1, 1), np.float32), tensor.name))
    with pytest.raises(ValueError, match="'reader' has weights for 8 channels and gets 16"):
        checked(model)


def test_edits_that_would_break_the_graph_are_refused_with_the_reason():
    b = Builder()
    x = b.node("Add", b.conv("x", 3, 3, 3, name="only"), "x", name="add")
    model = b.model(b.conv(x, 3, 8, 1, name="next"), 8)
    with pytest.raises(ValueError, match="edit .channels made by only: 16.: channels of only cannot change: it is an "
                                         "input of the network"):  # fmt: skip
        apply_edits(model, [Edit("channels", "only", 16)])
    with pytest.raises(ValueError, match="it is an output of the network"):
        apply_edits(model, [Edit("channels", "fc", 16)])
    with pytest.raises(
        ValueError, match="'next' and the convolution before it are not a pair of 1x1|other readers|Add"
    ):
        apply_edits(model, [Edit("merge_1x1", "next")])
    with pytest.raises(ValueError, match="edit 'wider' is unknown; choose among stem"):
        Edit("wider", "next")


@pytest.mark.parametrize(("kind", "value"), [("groups", 0), ("groups", -2), ("channels", 0), ("channels", 2.5),
                                             ("channels", None), ("channels", "16"), ("stem", None)])  # fmt: skip
def test_an_edit_to_no_number_of_channels_is_refused(kind, value):
    with pytest.raises(ValueError, match=f"edit '{kind}' of 'c1': value must be a whole number, at least [01], got"):
        Edit(kind, "c1", value)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_stem_on_blocks_of_pixels_can_compute_the_same(kernel):
    b = Builder()
    model = b.model(b.conv("x", 3, 8, kernel, 2, name="stem"), 8)
    edited = apply_edits(model, [Edit("stem", "stem")])
    node = next(node for node in edited.graph.node if node.name == "stem")
    old = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == node.input[1]))
    pads = next(helper.get_attribute_value(a) for a in node.attribute if a.name == "pads")
    wide, shift = (kernel + 1) // 2, 2 * pads[0] - (kernel - 1) // 2
    new = np.zeros((8, 12, wide, wide), np.float32)
    for i in range(kernel):
        for j in range(kernel):
            (y, by), (x, bx) = divmod(i + shift, 2), divmod(j + shift, 2)
            new[:, (2 * by + bx) * 3 : (2 * by + bx + 1) * 3, y, x] = old[:, :, i, j]
    for tensor in edited.graph.initializer:
        if tensor.name == node.input[1]:
            assert list(tensor.dims) == list(new.shape)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    assert np.allclose(run(edited), run(model), atol=1e-5)


def test_a_stem_on_an_odd_number_of_pixels_is_refused():
    b = Builder(size=15)
    model = b.model(b.conv("x", 3, 8, 3, 2, name="stem"), 8)
    with pytest.raises(ValueError, match=r"'stem' reads \[15, 15\] pixels"):
        apply_edits(model, [Edit("stem", "stem")])


@pytest.mark.parametrize(
    "edit",
    [Edit("stem", "stem"), Edit("fuse_depthwise", "depthwise"), Edit("groups", "depthwise", 4),
     Edit("stride_earlier", "depthwise"), Edit("factorise", "inner"), Edit("merge_1x1", "second")],
)  # fmt: skip
def test_every_kind_of_edit_runs_and_costs_the_same_read_back(edit, tmp_path):
    if edit.kind == "merge_1x1":
        b = Builder()
        x = b.node("Relu", b.conv("x", 3, 24, 1, name="first"))
        model = b.model(b.conv(x, 24, 32, 1, name="second"), 32)
    else:
        model = residual()
    edited = apply_edits(model, [edit])
    out = run(edited)
    assert out.shape == (2, 10) and np.isfinite(out).all()
    proposal = next((p for p in propose(model, DESIGN) if p.edits == (edit,)), None)
    onnx.save(edited, tmp_path / "edited.onnx")
    after = dse.evaluate(DESIGN, dse.load_network(tmp_path / "edited.onnx"))
    onnx.save(model, tmp_path / "model.onnx")
    before = dse.evaluate(DESIGN, dse.load_network(tmp_path / "model.onnx"))
    if proposal:
        assert before.cycles - after.cycles == proposal.saved_cycles
        assert after.network.macs == proposal.capacity.macs
    assert proposal or edit.kind == "groups"
    assert after.network.parameters != before.network.parameters or edit.kind == "stride_earlier"


def test_stride_moves_there_and_back():
    model = residual()
    there = apply_edits(model, [Edit("stride_earlier", "depthwise")])
    back = apply_edits(there, [Edit("stride_later", "depthwise")])
    assert np.array_equal(run(back), run(model))
    assert run(there).shape == run(model).shape and not np.array_equal(run(there), run(model))


def test_tuning_keeps_capacity_and_reads_back_with_identical_cost(tmp_path):
    tuned = tune(stripped(residual()), DESIGN, budget=Budget.within(0.05))
    assert tuned.edits and 0.03 < tuned.gain < 1
    before, after = tuned.capacity_before, tuned.capacity_after
    assert set(before.stages) == set(after.stages)
    for stage, amounts in before.stages.items():
        assert all(0.95 <= now / then <= 1.05 for now, then in zip(after.stages[stage], amounts, strict=True))
    write_tuned(tuned, tmp_path)
    read = dse.evaluate(DESIGN, dse.load_network(tmp_path / "tuned.onnx"))
    assert (read.cycles, read.energy_j) == (tuned.after.cycles, tuned.after.energy_j)
    assert capacity_of(read.network) == after
    assert np.isfinite(run(onnx.load(tmp_path / "tuned.onnx", load_external_data=False))).all()
    edits = [Edit(**row) for row in json.loads((tmp_path / "edits.json").read_text())]
    assert tuple(edits) == tuned.edits
    assert apply_edits(tuned.original, edits).SerializeToString() == tuned.model.SerializeToString()
    assert len(tuned.table()) == len(tuned.proposals)


def test_a_graph_in_memory_is_read_as_its_file_is(tmp_path):
    for model in (residual(), concatenated(1)):
        model.graph.name = "small"
        onnx.save(model, tmp_path / "small.onnx")
        assert network_of(model) == dse.load_network(tmp_path / "small.onnx")


def test_only_touched_layers_are_costed_again_and_the_cost_is_that_of_the_whole():
    for model in (residual(), concatenated(1)):
        costs = Costs(DESIGN, Setting())
        base = costs.exact(model)
        costs.start(model, base.network)
        edits = [edit for edit, _ in candidates(model, base)]
        assert len({edit.kind for edit in edits}) >= 2
        for edit in edits:
            edited = edit.apply(model)
            quick, known = costs.quick(edited), len(costs.memory)
            exact = dse.evaluate(DESIGN, network_of(edited))
            assert (quick.cycles, quick.energy_j) == (exact.cycles, exact.energy_j), edit
            assert capacity_of(quick.network) == capacity_of(exact.network), edit
            assert costs.exact(edited).cycles == exact.cycles and len(costs.memory) == known, edit


def test_layers_mapped_before_cost_the_same_bits_and_a_memory_is_of_one_design():
    memory = CaseMemory()
    for name in ("mobilenet_v2", "resnet50", "mobilenet_v2"):
        network = dse.load_network(name)
        alone, shared = dse.evaluate(DESIGN, network), dse.evaluate(DESIGN, network, memory=memory)
        assert (alone.cycles, alone.energy_j, alone.mappings) == (shared.cycles, shared.energy_j, shared.mappings)
    with pytest.raises(ValueError, match="a CaseMemory is of one design"):
        dse.evaluate(dse.Accelerator(rows=8, cols=8), network, memory=memory)
    with pytest.raises(ValueError, match="a memory of cases is of best mappings"):
        layer = dse.MacLayer("a", K=4, C=4, OX=4)
        dse.evaluate(DESIGN, layer, mapping=dse.evaluate(DESIGN, layer).mappings["a"], memory=CaseMemory())


def test_the_mildest_edit_that_reaches_the_gain_is_made_alone():
    model = stripped(residual())
    budget = Budget.within(0.05)
    best, mild = tune(model, DESIGN, budget=budget), tune(model, DESIGN, budget=budget, gain=0.03)
    assert len(mild.made) == 1 and 0.03 <= mild.gain <= best.gain
    enough = [p for p in mild.proposals if not p.excess and p.saved_cycles >= 0.03 * mild.before.cycles]
    assert mild.made[0].weights_kept == max(p.weights_kept for p in enough)
    with pytest.raises(ValueError, match="gain is a share of the latency between 0 and 1, got 15"):
        tune(model, DESIGN, gain=15)


def test_pairs_keep_what_single_edits_cannot():
    """Channels of one layer up, of another down: neither keeps the capacity alone."""
    b = Builder()
    x = b.node("Relu", b.conv("x", 3, 16, 1, name="stem"))
    for name, width in (("wide", 40), ("narrow", 24)):
        x = b.node("Relu", b.conv(x, 16, width, 1, name=name))
        x = b.node("Relu", b.conv(x, width, 16, 1, name=f"{name}_back"))
    tuned = tune(b.model(x, 16), DESIGN, budget=Budget.within(0.1), rounds=1)
    pairs = [p for p in tuned.made if len(p.edits) == 2 and not p.forms]
    alone = {p.edits[0]: p.excess for p in tuned.proposals if len(p.edits) == 1}
    assert pairs and any(alone[edit] > 0 for edit in pairs[0].edits)


def test_unknown_options_are_refused_by_name():
    for function in (tune, propose, tuned_front):
        with pytest.raises(TypeError, match="unexpected keyword argument 'mutation'"):
            function(residual(), DESIGN, mutation=0.1)


def test_a_budget_that_no_edit_meets_names_the_nearest_and_by_how_much_it_misses():
    budget = Budget(stage_weights=(1.5, 1.6), stage_macs=(0.5, 0.6))  # MACs of a convolution follow its weights
    tuned = tune(stripped(residual()), DESIGN, budget=budget, rounds=1)
    assert not tuned.edits and tuned.gain == 0
    assert "% of the original's, at" in tuned.nearest and tuned.nearest in " ".join(report_of(tuned).split())


def test_an_edit_of_a_layer_that_does_not_exist_names_those_like_it():
    model = residual()
    for kind, value in (("groups", 2), ("stem", 0), ("channels", 16)):
        with pytest.raises(ValueError, match=r"'depthwize'.*; did you mean 'depthwise'|'steem'.*did you mean 'stem'"):
            apply_edits(model, [Edit(kind, "depthwize" if kind == "groups" else "steem", value)])
    with pytest.raises(ValueError, match="edit .channels made by steem: 16.: nothing called 'steem'"):
        apply_edits(model, [Edit("channels", "left", 16), Edit("channels", "steem", 16)])


def test_patches_as_channels_compute_the_same_and_are_listed_apart():
    b = Builder()
    x = b.node("Conv", "x", b.weight(8, 3, 4, 4), kernel_shape=[4, 4], strides=[4, 4], name="patches")
    model = b.model(b.node("Relu", x), 8)
    edited = apply_edits(model, [Edit("patches", "patches")])
    (old, new) = (next(node for node in each.graph.node if node.name == "patches").input[1] for each in (model, edited))
    values = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == old))
    for tensor in edited.graph.initializer:
        if tensor.name == new:
            moved = values.transpose(0, 2, 3, 1).reshape(8, 48, 1, 1)  # blocks come first, then channels
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(moved), new))
    assert np.allclose(run(edited), run(model), atol=1e-5)
    tuned = tune(model, DESIGN, rounds=1)
    assert [p.edits[0].kind for p in tuned.proposals if p.same_function] == ["patches"]
    assert "Of the same function, weights laid out anew; 1 of 1" in report_of(tuned)


def test_the_front_trades_latency_for_capacity_and_is_written(tmp_path):
    model = stripped(residual())
    front = tuned_front(model, DESIGN, evaluations=30, population=8, shares=(1.0, 0.7))
    again = tuned_front(model, DESIGN, evaluations=30, population=8, shares=(1.0, 0.7))
    assert front.members == again.members and 0 < front.evaluations <= 30 and len(front.members) >= 2
    cycles, capacity = ([getattr(m, name) for m in front.members] for name in ("cycles", "share_of_capacity"))
    assert cycles == sorted(cycles) and capacity == sorted(capacity)
    paths = write_front(front, tmp_path, graphs=True)
    table = pd.read_csv(tmp_path / "front.csv")
    assert len(paths) == 1 + 2 * len(table) and list(table["cycles"]) == cycles
    for i, member in enumerate(front.members):
        assert dse.evaluate(DESIGN, dse.load_network(tmp_path / f"front_{i}.onnx")).cycles == member.cycles
    with pytest.raises(ValueError, match="no block of .* has another form"):
        tuned_front(read_graph("gpt2_decode"), DESIGN, dims={"past": 63}, evaluations=4, population=2)


def test_the_front_has_what_tune_found_and_the_original_where_nothing_beats_them():
    """Its genes are forms of blocks alone: a network that was tuned by channels too was faster than all of it."""
    model = stripped(residual())
    tuned = tune(model, DESIGN, rounds=1)
    front = tuned_front(model, DESIGN, evaluations=12, population=4, also=[tuned.edits])
    mine = [m for m in front.members if m.edits == tuned.edits]
    assert mine and mine[0].cycles == tuned.after.cycles
    best, share = min(m.cycles for m in front.members), tuned.capacity_after.weights / tuned.capacity_before.weights
    assert best <= tuned.after.cycles and abs(mine[0].share_of_capacity - share) < 0.02


def test_an_edit_of_the_same_function_comes_before_all_others_and_is_told_apart():
    """Patches as channels save enough; an edit that changes the network was made, since it kept more weights."""
    tuned = tune(read_graph(MIXER), dse.preset("gemmini_16x16"), gain=0.025, rounds=1)
    assert [p.same_function for p in tuned.made] == [True] and tuned.same_function_gain == pytest.approx(tuned.gain)
    assert "of it without a change of what the network computes" in report_of(tuned)


def test_a_gain_that_is_not_reached_is_told():
    tuned = tune(stripped(residual()), DESIGN, gain=0.9, rounds=1)
    assert tuned.gain < 0.9 and "This is less than the 90 % asked for" in report_of(tuned)


@pytest.mark.parametrize("function", [tune, propose, tuned_front])
def test_a_name_in_place_of_a_graph_is_refused(function):
    with pytest.raises(ValueError, match="give a graph, from dse.read_graph"):
        function("mobilenet_v2", DESIGN)


def test_a_gain_or_budget_of_another_kind_is_refused():
    for wrong, told in (({"gain": "15%"}, "gain is a share"), ({"budget": 0.02}, "budget is a dse.Budget")):
        with pytest.raises(ValueError, match=told):
            tune(residual(), DESIGN, **wrong)


def test_a_file_of_symbolic_batch_is_read_and_a_wrong_name_told(tmp_path):
    onnx.save(residual(), tmp_path / "small.onnx")
    assert channels_of(read_graph(tmp_path / "small.onnx")).free()
    with pytest.raises(ValueError, match="unknown network 'resnet5': did you mean 'resnet50'"):
        read_graph("resnet5")


def test_resnet50_gains_on_an_nvdla_without_losing_capacity():
    """One that does not pack the taps of the image layer, as the preset does."""
    design = dse.preset("nvdla_large").with_parameters({"dataflow": "channel_vector"})
    tuned = tune(read_graph("resnet50"), design, rounds=1)
    assert tuned.gain >= 0.15 and tuned.budget.allows(tuned.capacity_after, tuned.capacity_before)


def report_of(tuned):
    """What `dse tune` prints."""
    text = io.StringIO()
    Console(file=text, width=200).print(tuned_report(tuned))
    return text.getvalue()


def test_a_network_that_ships_is_tuned_at_its_own_sizes_and_called_by_its_name():
    graph, dims = read_graph("gpt2_decode"), network_dims("gpt2_decode", {"past": 63})
    tuned = tune(graph, DESIGN, dims=dims, rounds=1)
    assert dims == {"past": 63} and network_dims("gpt2_decode") == {"past": 1023} and network_dims("net.onnx") == {}
    assert tuned.before.network.name == "gpt2_decode"
    assert tuned.before.network.macs == dse.load_network("gpt2_decode", dims=dims).macs
    assert report_of(tuned).startswith("gpt2_decode: ") and "No edit saves time." in report_of(tuned)


def test_a_network_without_edits_is_told_so():
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", k]) for n, k in (("x", 8), ("y", 4)))
    w = helper.make_tensor("w", TensorProto.FLOAT, [8, 4], np.ones(32))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "p", [x], [y], [w])
    assert "No edit applies to it." in report_of(tune(helper.make_model(graph), DESIGN))


def test_an_error_names_the_file_and_not_a_temporary_one(tmp_path):
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "main", *(
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8])] for name in "xy"))  # fmt: skip
    onnx.save(helper.make_model(graph), tmp_path / "only relu.onnx")
    with pytest.raises(ValueError, match="^only relu.onnx: network 'only relu' has no MAC layer"):
        tune(read_graph(tmp_path / "only relu.onnx"), DESIGN)


def test_the_report_counts_the_proposals_it_shows():
    tuned = tune(stripped(concatenated(1)), DESIGN, rounds=1)
    count = len(tuned.proposals)
    assert 0 < count < 20 and f"{count} of {count} that save most" in report_of(tuned)


def test_the_front_of_a_graph_with_few_edits_ends_when_all_are_tried():
    build = Builder(size=32)
    model = build.model(build.conv("x", 3, 16, 3, stride=2), 16)
    front = tuned_front(model, DESIGN, evaluations=200)
    assert 0 < front.evaluations < 200 and front.members


def test_a_bound_without_an_end_leaves_widths_to_solve():
    open_ended = dse.Budget(weights=(1.1, math.inf), macs=(0, math.inf), stage_weights=(0, math.inf),
                            stage_macs=(0, math.inf))  # fmt: skip
    shares = _targets(open_ended, capacity_of(network_of(stripped(residual()))))
    assert shares and set(shares.values()) == {1.1}


def test_an_output_directory_that_cannot_be_was_told_after_the_search(tmp_path):
    (tmp_path / "file").touch()
    out = str(tmp_path / "file" / "x")
    told = CliRunner().invoke(app, ["tune", "resnet50", "--design", "nvdla_large", "--out", out], standalone_mode=False)
    assert told.return_value is None and told.stdout == "" and "is no directory that takes files" in str(told.exception)
