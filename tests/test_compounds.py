"""Compound edits: blocks of another form whose widths keep the weights and MACs of every stage."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from test_tune import Builder, dims_of, run

from dse.tuning.capacity import Budget, capacity_of
from dse.tuning.channels import checked
from dse.tuning.compounds import Blocks, Form, compound_edits, weights_kept
from dse.tuning.edits import Edit
from dse.tuning.graphs import network_of


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


def test_a_graph_without_such_blocks_has_none():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    w = helper.make_tensor("w", TensorProto.FLOAT, [8, 4], np.ones(32))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "p", [x], [y], [w])
    assert compound_edits(helper.make_model(graph)) == []


def test_weights_kept_are_those_both_have_at_one_place():
    assert weights_kept({"a": [8, 4, 3, 3]}, {"a": [4, 8, 3, 3]}) == 0.5
    assert weights_kept({"a": [8, 4]}, {"b": [8, 4]}) == 0


@pytest.mark.parametrize("given", [(1.02, 0.98), (-0.1, 1), 0.9, (0.9,), ("a", 1)])
def test_bounds_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match=r"budget: weights (is least and most|needs 0 <= least <= most)"):
        Budget(weights=given)
