"""Compound edits: blocks of another form whose widths keep the weights and MACs of every stage."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from test_tune import DESIGN, Builder, dims_of, run
from torch import nn

import dse
from dse.networks.onnx_file.graph import node_title
from dse.training.retrain import GraphModule, graph_of
from dse.tuning.capacity import Budget, capacity_of
from dse.tuning.channels import checked, with_random_weights
from dse.tuning.compounds import Blocks, Form, compound_edits, weights_kept
from dse.tuning.edits import Edit
from dse.tuning.graphs import network_of, read_graph
from dse.tuning.proposals import candidates
from dse.tuning.tuner import tune


def mobile():
    """A stem and two inverted residuals, the second with a stride."""
    b = Builder()
    x = b.node("Relu", b.conv("x", 3, 16, 3, 2, name="stem"))
    for i, (cin, cout, stride) in enumerate(((16, 16, 1), (16, 24, 2))):
        y = b.node("Relu", b.conv(x, cin, 3 * cin, 1, name=f"expand{i}"))
        y = b.node("Relu", b.conv(y, 3 * cin, 3 * cin, 3, stride, 3 * cin, name=f"depthwise{i}"))
        y = b.conv(y, 3 * cin, cout, 1, name=f"project{i}")
        x = b.node("Add", y, x) if cin == cout else y
    return b.model(x, 24)


def basic():
    """A stem and a residual block of two 3x3 filters."""
    b = Builder()
    x = b.node("Relu", b.conv("x", 3, 16, 3, 2, name="stem"))
    y = b.node("Relu", b.conv(x, 16, 16, 3, name="first"))
    return b.model(b.node("Relu", b.node("Add", b.conv(y, 16, 16, 3, name="second"), x)), 16)


@pytest.mark.parametrize("make", [mobile, basic])
def test_every_compound_edit_keeps_each_stage_and_runs(make):
    model = make()
    original, found = capacity_of(network_of(model)), compound_edits(model, Budget.within(0.03))
    assert len(found) > 3
    for each in found:
        edited = checked(each.apply(model))
        now = capacity_of(network_of(edited))
        assert now == each.capacity and Budget.within(0.03).allows(now, original), each.text
        assert run(edited).shape == (2, 10) and np.isfinite(run(edited)).all()
        assert 0 < each.weights_kept < 1
    kept = [each.weights_kept for each in found]
    assert kept == sorted(kept, reverse=True)


def test_groups_of_four_channels_have_four_inputs_each_and_a_narrower_block():
    model = mobile()
    forms = (Form("groups", "depthwise0", 4), Form("groups", "depthwise1", 4))
    found = next(each for each in compound_edits(model, Budget.within(0.05)) if each.forms == forms)
    edited = found.apply(model)
    for i in (0, 1):
        width = dims_of(edited, f"expand{i}")[0]
        assert dims_of(edited, f"depthwise{i}") == [width, 4, 3, 3] and width % 4 == 0 and width < 48
    assert [edit.kind for edit in found.edits][-2:] == ["groups", "groups"]


def test_widths_are_multiples_of_the_lanes_where_asked():
    found = Blocks(mobile(), network_of(mobile())).solved([Form("groups", "depthwise0", 4)], Budget.within(0.5), 16)
    assert dict((name, after) for name, _, after in found.widths)["expand0"] in (16, 32)


def test_two_filters_become_a_column_and_a_row_three_times_as_wide():
    model = basic()
    found = next(each for each in compound_edits(model) if each.forms == (Form("column_row", "second"),))
    edited = found.apply(model)
    assert dims_of(edited, "first") == [48, 16, 3, 1] and dims_of(edited, "second") == [16, 48, 1, 3]
    assert run(edited).shape == (2, 10)


def test_the_stem_keeps_its_width_and_another_layer_makes_up_for_it():
    model = basic()
    forms = (Form("stem", "stem"), Form("column_row", "second"))
    found = next(each for each in compound_edits(model) if each.forms == forms)
    edited = found.apply(model)
    assert dims_of(edited, "stem") == [16, 12, 2, 2] and dims_of(edited, "first")[0] == 44


def test_a_fused_block_behind_a_swish_loses_its_1x1():
    b = Builder()
    x = b.conv("x", 3, 24, 1, name="expand")
    x = b.node("Mul", x, b.node("Sigmoid", x))
    model = b.model(b.conv(b.conv(x, 24, 24, 3, 1, 24, name="depthwise"), 24, 16, 1, name="project"), 16)
    edited = checked(Edit("fuse_depthwise", "depthwise").apply(model))
    assert dims_of(edited, "depthwise") == [24, 3, 3, 3] and "Sigmoid" not in {n.op_type for n in edited.graph.node}
    assert run(edited).shape == (2, 10)


def test_no_edit_within_the_budget_names_the_nearest_and_by_how_much_it_misses():
    told = r"no compound edit keeps the budget; the nearest is .*: (weights|MACs).* % of the original's, at least 200 %"
    with pytest.raises(ValueError, match=told):
        compound_edits(basic(), Budget(stage_weights=(2, 2.0001)))


def test_forms_that_cannot_be_are_told():
    for given, told in ((("grups", "a"), "form 'grups' is unknown; choose among groups"),
                        (("groups", "a", 0), "whole number of channels, at least 2, got 0"),
                        (("stem", "a", 4), "value must be 0, got 4")):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            Form(*given)
    model = read_graph("mobilenet_v2")
    blocks = Blocks(model, network_of(model))
    names = [node_title(node) for node in model.graph.node if node.op_type == "Conv"]
    for node, told in (("nowhere", "no convolution 'nowhere'"), (names[0], "is no depthwise convolution")):
        with pytest.raises(ValueError, match=told):
            blocks.solved([Form("groups", node, 4)], Budget())


def test_a_graph_without_such_blocks_has_none():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    w = helper.make_tensor("w", TensorProto.FLOAT, [8, 4], np.ones(32))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "p", [x], [y], [w])
    assert compound_edits(helper.make_model(graph)) == []


def test_weights_kept_are_those_both_have_at_one_place():
    assert weights_kept({"a": [8, 4, 3, 3]}, {"a": [4, 8, 3, 3]}) == 0.5
    assert weights_kept({"a": [8, 4]}, {"b": [8, 4]}) == 0 and weights_kept({}, {}) == 1


@pytest.mark.parametrize("given", [(1.02, 0.98), (-0.1, 1), 0.9, (0.9,), ("a", 1)])
def test_bounds_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match=r"budget: weights (is least and most|needs 0 <= least <= most)"):
        Budget(weights=given)


class Mixer(nn.Module):
    """Two blocks of an MLP-mixer, or of a transformer with four heads, on patches of 28x28 images."""

    def __init__(self, attention, scaled="scores"):
        super().__init__()
        self.scaled = scaled
        self.attention, self.patches, self.head = attention, nn.Conv2d(1, 64, 4, 4), nn.Linear(64, 10)
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in range(4))
        sizes = [(64, 64, 64), (49, 64, 49)][not attention]
        self.first = nn.ModuleList(self.mlp(*sizes) for _ in range(2))
        self.second = nn.ModuleList(self.mlp(64, 128, 64) for _ in range(2))

    @staticmethod
    def mlp(a, b, c):
        return nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c))

    def part(self, i, y):
        if not self.attention:
            return self.first[i](y.transpose(1, 2)).transpose(1, 2)
        q = self.first[i](y)
        if self.scaled == "before":  # before it is reshaped into heads
            q = q * 0.5
        q = q.reshape(y.shape[0], 49, 4, 16).transpose(1, 2)
        if self.scaled == "both":
            q = q * 0.5
        shares = torch.softmax(q @ q.transpose(2, 3) / (4.0 if self.scaled == "scores" else 1.0), -1)
        return (shares @ q).transpose(1, 2).reshape(y.shape[0], 49, 64)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        for i in (0, 1):
            x = x + self.part(i, self.norms[2 * i](x))
            x = x + self.second[i](self.norms[2 * i + 1](x))
        return self.head(x.mean(1))


@pytest.mark.parametrize("attention", [False, True])
def test_parts_side_by_side_and_heads_keep_every_weight_and_mac(attention):
    graph = graph_of(Mixer(attention), (1, 1, 28, 28))
    capacity = capacity_of(network_of(graph))
    found = {edit for edit, _ in candidates(graph, dse.evaluate(DESIGN, network_of(graph)))}
    kinds = [edit for edit in found if edit.kind in ("side_by_side", "heads")]
    assert {edit.kind for edit in kinds} == ({"side_by_side", "heads"} if attention else {"side_by_side"})
    x = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32)
    for edit in kinds:
        edited = checked(edit.apply(graph))
        y = ReferenceEvaluator(with_random_weights(edited)).run(None, {"input": x})[0]
        assert y.shape == (2, 10) and np.isfinite(y).all() and capacity_of(network_of(edited)) == capacity, edit
    tuned = tune(graph, DESIGN, rounds=1)
    assert tuned.gain > 0.05 and any(edit.kind == "side_by_side" for edit in tuned.edits)
    with pytest.raises(ValueError, match="has no normalisation 'norm'"):
        Edit("side_by_side", "norm").apply(graph)


@pytest.mark.parametrize("scaled, scale", [("scores", 8.0), ("both", 64**-0.25), ("before", 64**-0.25)])
def test_other_heads_keep_the_scale_of_their_width_true(scaled, scale):
    """Scores of 16 wide heads are divided by 4, in one head of 64 by 8; or queries and keys each by its root."""
    graph = graph_of(Mixer(True, scaled), (1, 1, 28, 28))
    softmax = next(node.name for node in graph.graph.node if node.op_type == "Softmax")
    edited = Edit("heads", softmax, 1).apply(graph)
    scales = [float(numpy_helper.to_array(t)) for t in edited.graph.initializer if t.name.endswith("/scale")]
    assert scales == pytest.approx([scale])
    again = checked(Edit("heads", softmax, 4).apply(edited))  # new constants had the names of the first edit's
    assert capacity_of(network_of(again)) == capacity_of(network_of(graph))
    with pytest.raises(ValueError, match="3 heads do not divide"):
        Edit("heads", softmax, 3).apply(graph)


def test_every_compound_edit_of_the_study_s_networks_can_be_trained():
    from experiments.small_networks import small_networks

    for name, module in small_networks().items():
        if "mixer" in name:  # its only convolution has no other form
            continue
        graph = graph_of(module, (1, 1, 28, 28))
        found = compound_edits(graph)
        assert len(found) > 10, name
        for each in found[:: max(1, len(found) // 8)]:
            made = GraphModule(each.apply(graph))
            made(torch.randn(2, 1, 28, 28)).sum().backward()
            assert all(weight.grad is not None for weight in made.parameters()), each.text
