"""`problems.Codesign`: widths reach the network, metrics are those of the scaled network, the contract holds."""

import contract
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from test_tune import concatenated, residual, resized, shared

import dse
from dse.runs.column_dictionary import METRICS
from problems import Codesign, ProblemError

SPACE = dse.DesignSpace({"rows": [8, 16], "cols": [8, 16, 32], "dataflow": ["weight_stationary", "channel_vector"]})


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("net") / "small.onnx"
    onnx.save(residual(), file)
    return file


@pytest.fixture
def problem(path):
    return Codesign(path, space=SPACE, widths=(0.5, 1.0, 2.0), step=4)


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(problem, check):
    check(problem)


def test_stages_are_output_sizes_and_widths_are_carried_through(problem):
    assert problem.scaled.stages == [64, 16]
    wide = problem.network_at((2.0, 1.0))
    layers = {layer.name: layer for layer in wide.mac_layers}
    assert (layers["stem"].K, layers["outer"].K, layers["inner"].C) == (24, 24, 24)
    assert (layers["expand"].C, layers["expand"].K, layers["depthwise"].G, layers["project"].K) == (56, 80, 80, 24)
    assert problem.network_at((1.0, 1.0)) is problem.network


def test_metrics_are_those_of_the_scaled_network_on_the_design(problem):
    X = problem.space.sample(12, np.random.default_rng(3))
    rows = problem.evaluate_designs(X)
    columns = problem.space.columns(X)
    for i, x in enumerate(X):
        network = problem.network_at((columns["width_1"][i], columns["width_2"][i]))
        found = dse.evaluate(problem.space.design(x), network)
        assert rows.metrics["latency_s"][i] == found.latency_s and rows.metrics["area_mm2"][i] == found.area_mm2
        assert rows.metrics["parameters"][i] == network.parameters
        shares = network.parameters / problem.network.parameters, network.macs / problem.network.macs
        assert rows.objectives[i, 2] == pytest.approx(1 / np.sqrt(shares[0] * shares[1]))
        assert (rows.constraints[i, 1] <= 0) == (rows.metrics["capacity"][i] >= 0.5)
    assert set(METRICS) <= set(rows.metrics)


def test_bad_input_is_told(path):
    with pytest.raises(ProblemError, match="least_capacity is a share"):
        Codesign(path, least_capacity=0)
    with pytest.raises(ProblemError, match="give at least two positive multipliers, rising"):
        Codesign(path, widths=(1.0, 0.5))
    for widths in ((0.5, np.inf), (0.5, np.nan), (0.0, 1.0), (), (0.5, "wide"), 0.5):
        with pytest.raises(ProblemError, match="multipliers are positive, finite numbers"):
            Codesign(path, widths=widths)
    for step in (0, 1.5, "8"):
        with pytest.raises(ProblemError, match="step must be a whole number"):
            Codesign(path, step=step)
    with pytest.raises(ProblemError, match="network must be a name or the path of an ONNX file.*got a Network"):
        Codesign(dse.load_network(path))


def test_multipliers_are_one_a_stage(problem):
    with pytest.raises(ProblemError, match="give 2 multipliers, one a stage, got 3"):
        problem.network_at((1.0, 1.0, 1.0))
    with pytest.raises(ProblemError, match="multipliers are positive, finite numbers"):
        problem.network_at((1.0, np.nan))


@pytest.mark.parametrize(
    "model",
    [concatenated(-3), resized(scales=[1, 1, 2, 2]), shared()],
    ids=["concatenation", "resize", "shared weight"],
)
def test_a_search_over_a_negative_axis_a_resize_or_a_shared_weight_does_not_stop_midway(model, tmp_path):
    onnx.save(model, tmp_path / "net.onnx")
    problem = Codesign(tmp_path / "net.onnx", space=SPACE, widths=(0.5, 1.0, 2.0), step=4)
    widths = [(w,) * len(problem.scaled.stages) for w in (0.5, 1.0, 2.0)]
    macs = [problem.network_at(w).macs for w in widths]
    assert macs == sorted(macs) and macs[0] < macs[2]


def test_a_graph_whose_channels_cannot_change_is_refused_before_the_search(tmp_path):
    model = resized(sizes=[1, 8, 32, 32])
    for name, values in (("front", [1, 8]), ("back", [32, 32])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    model.graph.node.insert(0, helper.make_node("Concat", ["front", "back"], ["computed"], axis=0))
    next(node for node in model.graph.node if node.op_type == "Resize").input[3] = "computed"
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ProblemError, match="cannot be read with all its channels doubled: .*second"):
        Codesign(tmp_path / "net.onnx", space=SPACE)


def test_a_network_without_free_channels_is_told_why():
    with pytest.raises(ProblemError, match="no channels of vit_b_16 are free to change .*Reshape.* needs it as it is"):
        Codesign("vit_b_16", space=SPACE)


def test_a_network_that_ships_has_sizes_of_its_own():
    problem = Codesign("faster_rcnn_resnet50", space=SPACE)
    assert problem.network.name == "faster_rcnn_resnet50" == problem.network_at((0.5,) * 6).name
    assert problem.network.macs == dse.load_network("faster_rcnn_resnet50").macs
