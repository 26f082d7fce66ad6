"""The networks that ship, the public ones inside the onnx package, and every kind of bad input."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dse.costs.evaluation import evaluate
from dse.hardware.accelerator import Accelerator
from dse.networks import EIGHT, NETWORKS, NetworkError, load_network, network_names
from dse.networks.layers import MacLayer, Network

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
LIGHT_MMACS = {
    "bvlc_alexnet": 655,
    "densenet121": 2834,
    "inception_v1": 1432,
    "inception_v2": 2019,
    "resnet50": 4089,
    "shufflenet": 125,
    "squeezenet": 349,
    "vgg19": 19632,
    "zfnet512": 1482,
}
SCRIPT = [sys.executable, "-m", "experiments", "make_networks"]
ROOT = Path(__file__).parents[1]


def save(path: Path, nodes, inputs, outputs=("y",), initialisers=(), opset=17) -> Path:
    """Write a small model; inputs are (name, shape) pairs, initialisers arrays by name."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in dict(initialisers).items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
    return path


def small_conv(path: Path, shape) -> Path:
    weights = {"w": np.ones((8, 3, 3, 3), np.float32)}
    return save(path, [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")], [("x", shape)], initialisers=weights)


def check_edges(network: Network) -> None:
    """Every tensor is written before it is read, once, and no layer reads what fusion removed."""
    makers = {layer.output for layer in network.layers}
    written: set[str] = set()
    for layer in network.layers:
        for name in (*layer.inputs, getattr(layer, "fused_input", "")):
            assert name not in makers or name in written, (layer.name, name)
            assert name == "" or name in network.tensor_elements
        assert layer.output not in written
        written.add(layer.output)


# ---- ResNet-50 -----------------------------------------------------------------------------------------------


def test_resnet50_macs_and_parameters_are_the_published_ones():
    network = load_network("resnet50")
    assert network.macs == 4_089_184_256
    assert round(network.macs / 1e9, 2) == 4.09
    assert network.parameters == 25_557_032 == NETWORKS["resnet50"].published_parameters
    assert network.weight_elements == 25_502_912  # parameters less batch normalisation (53,120) and the 1,000 biases
    assert len(network.mac_layers) == 54
    assert network.name == "resnet50"
    assert abs(network.macs / NETWORKS["resnet50"].published_macs - 1) < 1e-4


def test_resnet50_is_small_and_holds_no_weights():
    path = NETWORKS["resnet50"].path
    assert path.stat().st_size < 200_000
    model = onnx.load(path, load_external_data=False)
    assert all(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer)
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == 53


def test_resnet50_residual_additions_are_fused_into_one_producer():
    network = load_network("resnet50")
    residual = [layer for layer in network.mac_layers if layer.fused_input]
    assert len(residual) == 16
    first = next(layer for layer in residual if "downsample" in layer.name)
    assert first.name == "/layer1/layer1.0/downsample/downsample.0/Conv"
    assert first.fused_input == "/layer1/layer1.0/bn3/BatchNormalization_output_0"
    assert first.fused_input_elements == 256 * 56 * 56
    assert first.vector_operations == 3 * 256 * 56 * 56  # shift, addition, activation
    assert [layer.operator for layer in network.layers if not isinstance(layer, MacLayer)] == [
        "MaxPool",
        "GlobalAveragePool",
    ]
    check_edges(network)


def test_resnet50_at_batch_four():
    one, four = load_network("resnet50"), load_network("resnet50", batch=4)
    assert four.macs == 4 * one.macs
    assert four.parameters == one.parameters and four.weight_elements == one.weight_elements
    assert four.layers[0].B == 4
    assert four.mac_layers[-1].OX == 4
    assert all(size == 4 * one.tensor_elements[name] for name, size in four.tensor_elements.items())


def test_resnet50_loads_the_same_each_time():
    assert load_network("resnet50") == load_network("resnet50")


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("torchvision") is None,
    reason="making the shipped files needs torch and torchvision",
)
def test_script_makes_the_shipped_bytes_again(tmp_path):
    names = ["resnet50", "efficientnet_b0", "ptb_lstm_medium", "wide_deep"]  # the quick ones
    subprocess.run([*SCRIPT, str(tmp_path), *names], cwd=ROOT, check=True, capture_output=True)
    for name in names:
        assert (tmp_path / f"{name}.onnx").read_bytes() == NETWORKS[name].path.read_bytes(), name


def test_script_without_torch_says_what_to_install(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")  # hides one that is installed
    done = subprocess.run(
        [*SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "pip install torch torchvision onnx" in done.stderr and "Traceback" not in done.stderr


# ---- all that ship --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_network_has_the_published_figures(name, caplog):
    entry = NETWORKS[name]
    with caplog.at_level(logging.WARNING, logger="dse"):
        network = load_network(name)
    assert abs((network.macs + entry.beyond_macs) / entry.published_macs - 1) < 2e-3
    assert abs((network.parameters + entry.beyond_parameters) / entry.published_parameters - 1) < 2e-3
    assert entry.why or (entry.beyond_macs, entry.beyond_parameters) == (0, 0)
    assert not caplog.records
    assert network.name == name
    check_edges(network)


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_network_runs_on_the_default_design(name):
    network = load_network(name)
    result = evaluate(Accelerator(), network)
    assert result.feasible
    assert result.layers["macs"].mul(result.layers["repeats"]).sum() == network.macs
    assert result.cycles >= network.macs / Accelerator().macs_per_cycle


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_file_is_small_and_holds_no_weights(name):
    path = NETWORKS[name].path
    assert path.stat().st_size < 1_000_000
    model = onnx.load(path, load_external_data=False)
    assert all(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer)


def test_eight_networks_of_the_paper_ship():
    assert len(EIGHT) == 8 and set(EIGHT) <= set(NETWORKS)


@pytest.mark.parametrize(("name", "dims", "macs"), [
    ("bert_base", {"seq": 384}, 12 * (12 * 768**2 * 384 + 2 * 768 * 384**2) + 768**2),
    ("gpt2_prefill", {"seq": 64}, 12 * (12 * 768**2 * 64 + 2 * 768 * 64**2) + 50257 * 768),
    ("faster_rcnn_resnet50", {"width": 1088}, 177_581_734_144),  # counted in the whole export of torchvision
    ("gpt2_decode", {"past": 99}, 12 * (12 * 768**2 + 2 * 768 * 100) + 50257 * 768),
])  # fmt: skip
def test_size_of_a_sequence_or_image_can_be_given(name, dims, macs):
    assert load_network(name, dims=dims).macs == macs


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"faster_rcnn_resnet50"}))
def test_shipped_network_at_batch_two(name):
    one, two = load_network(name), load_network(name, batch=2)
    assert two.macs == 2 * one.macs
    assert two.parameters == one.parameters and two.weight_elements == one.weight_elements


# ---- networks inside the onnx package ------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIGHT_MMACS)
def test_public_network_has_the_published_macs(name, caplog):
    with caplog.at_level(logging.WARNING, logger="dse"):
        network = load_network(LIGHT / f"light_{name}.onnx")
    assert round(network.macs / 1e6) == LIGHT_MMACS[name]
    assert not caplog.records  # every operator has a cost of its own
    assert all(layer.static_weights and layer.weight for layer in network.mac_layers)
    check_edges(network)


@pytest.mark.parametrize("name", ["shufflenet", "densenet121", "inception_v2"])
def test_a_batch_fixed_at_one_is_rewritten_through_hard_wired_reshapes(name):
    path = LIGHT / f"light_{name}.onnx"
    assert load_network(path, batch=4).macs == 4 * load_network(path).macs


def test_two_exports_of_resnet50_agree_layer_by_layer():
    ours, theirs = load_network("resnet50"), load_network(LIGHT / "light_resnet50.onnx")
    assert theirs.parameters == ours.parameters
    assert sorted(layer.loop_bounds for layer in theirs.mac_layers) == sorted(
        layer.loop_bounds for layer in ours.mac_layers
    )


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1"])
def test_shapes_are_those_that_onnxruntime_computes(name):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is the oracle for shapes")
    network = load_network(LIGHT / f"light_{name}.onnx")
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    known = {entry.name for entry in model.graph.output}
    wanted = [layer.output for layer in network.layers]
    model.graph.output.extend(helper.make_empty_tensor_value_info(item) for item in wanted if item not in known)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    stored = {tensor.name for tensor in model.graph.initializer}
    feeds = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name not in stored}
    executed = dict(zip(wanted, session.run(wanted, feeds), strict=True))
    for layer in network.layers:
        assert executed[layer.output].size == network.tensor_elements[layer.output], layer.name
        if isinstance(layer, MacLayer):
            assert executed[layer.output].size == layer.output_elements, layer.name


# ---- bad input: one clear line each --------------------------------------------------------------------------


def refusal(*args, **keywords) -> str:
    with pytest.raises(NetworkError) as caught:
        load_network(*args, **keywords)
    text = str(caught.value)
    assert "\n" not in text and len(text) > 20
    return text


def test_unknown_name_suggests_close_ones():
    text = refusal("ResNet-5O")
    assert "unknown network 'ResNet-5O'" in text and "did you mean 'resnet50'" in text
    assert "resnet50" in refusal("zebra")
    assert network_names() == tuple(sorted(NETWORKS))


def test_missing_file_and_directory(tmp_path):
    assert "does not exist" in refusal(tmp_path / "model.onnx")
    assert "is a directory" in refusal(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(1000)])
def test_not_an_onnx_file(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert "not an ONNX file" in refusal(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_truncated_file(tmp_path, share):
    content = NETWORKS["resnet50"].path.read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("seed", range(30))
def test_damaged_file_is_refused_in_one_line_or_read(tmp_path, seed):
    content = bytearray(NETWORKS["resnet50"].path.read_bytes())
    generator = np.random.default_rng(seed)
    for position in generator.integers(len(content), size=3):
        content[position] = generator.integers(256)
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    try:
        assert load_network(path).macs > 0
    except NetworkError as error:
        assert "\n" not in str(error)


def test_node_without_its_inputs_is_named(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Conv", ["x"], ["y"], name="bare")], [("x", [1, 3, 8, 8])])
    assert "'bare' (Conv) does not follow the definition" in refusal(path)


def test_unreadable_file(tmp_path, monkeypatch):
    path = small_conv(tmp_path / "m.onnx", [1, 3, 8, 8])

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(onnx, "load", denied)
    assert "cannot be read: Permission denied" in refusal(path)


def test_dynamic_shape_without_a_value_shows_what_to_give(tmp_path):
    path = small_conv(tmp_path / "m.onnx", ["batch", 3, "height", None])
    text = refusal(path)
    assert "'height' of input 'x'" in text and "--dim height=128" in text
    assert "dims={'height': 128, 'x.3': 128}" in text
    network = load_network(path, batch=2, dims={"height": 10, "x.3": 12})
    assert network.macs == 2 * 8 * 3 * 9 * 8 * 10


def test_dims_that_no_input_has(tmp_path):
    path = small_conv(tmp_path / "m.onnx", ["batch", 3, 8, 8])
    assert "dims names ['seq']" in refusal(path, dims={"seq": 4})


@pytest.mark.parametrize("batch", [0, -1, 1.5, True, "4"])
def test_batch_must_be_a_positive_whole_number(batch):
    assert "batch must be a whole number >= 1" in refusal("resnet50", batch=batch)


@pytest.mark.parametrize("size", [0, -3])
def test_zero_and_negative_sizes(tmp_path, size):
    path = small_conv(tmp_path / "m.onnx", ["batch", 3, "height", 8])
    assert "every size must be >= 1" in refusal(path, dims={"height": size})
    assert "must be a whole number" in refusal(path, dims={"height": 2.5})


def test_size_zero_in_the_file(tmp_path):
    assert "every size must be >= 1" in refusal(small_conv(tmp_path / "m.onnx", [1, 3, 0, 8]))


def test_input_smaller_than_the_filter(tmp_path):
    text = refusal(small_conv(tmp_path / "m.onnx", [1, 3, 2, 8]))
    assert "every size must be >= 1" in text or "contradict" in text


def test_batch_fixed_to_another_number(tmp_path):
    path = small_conv(tmp_path / "m.onnx", [4, 3, 8, 8])
    text = refusal(path)
    assert "fixed at 4" in text and "batch=4" in text and "batch=None" in text
    assert load_network(path, batch=4) == load_network(path, batch=None)


def test_state_of_several_layers_is_no_batch(tmp_path):
    """A leading size of 2 beside inputs that show the batch is kept; it was taken for a batch of 2 once."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "state"], ["y"])]
    for first, batch in ((1, 1), ("batch", 1), ("batch", 3)):
        inputs = [("x", [first, 8]), ("state", [2, first, 5])]
        path = save(tmp_path / "m.onnx", nodes, inputs, initialisers={"w": np.ones((8, 5), np.float32)})
        assert load_network(path, batch=batch).macs == batch * 40
    two = small_conv(tmp_path / "two.onnx", [4, 3, 8, 8])
    model = onnx.load(two)
    model.graph.input.append(helper.make_tensor_value_info("info", TensorProto.FLOAT, [1, 3]))
    onnx.save(model, two)
    assert "fixed at 4" in refusal(two)  # four images are a batch whatever else there is


def test_state_of_several_layers_is_no_batch_in_any_order_of_the_inputs(tmp_path):
    """Where it came after the input that shows the batch it was refused."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "state"], ["y"])]
    inputs = [("x", ["batch", 8]), ("state", [2, 1, 5])]
    for order in (inputs, inputs[::-1]):
        path = save(tmp_path / "m.onnx", nodes, order, initialisers={"w": np.ones((8, 5), np.float32)})
        assert load_network(path, batch=4).macs == 4 * 40


@pytest.mark.parametrize(("leads", "batch"), [((1, 1), 8), ((1, 4), 8), (("batch", 4), 8), ((1, 4), 1), ((8, 1), 8)])
def test_weights_that_are_an_input_have_no_batch(tmp_path, leads, batch):
    """Those of a convolution were made 8 filters for a batch of 8, or took 4 filters for a batch of 4."""
    inputs = [("x", [leads[0], 3, 8, 8]), ("w", [leads[1], 3, 3, 3])]
    path = save(tmp_path / "m.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], inputs)
    assert load_network(path, batch=batch).macs == batch * leads[1] * 3 * 9 * 36


@pytest.mark.parametrize("steps", [10, "seq"])
def test_cell_whose_inputs_lead_with_steps_and_layers(tmp_path, steps):
    """Ten steps were taken for a batch of 10, two directions for a batch of 2, one direction for a batch to widen."""
    cell = helper.make_node("GRU", ["x", "w", "r", "", "", "h"], ["y"], hidden_size=8, direction="bidirectional")
    weights = {"w": np.ones((2, 24, 16), np.float32), "r": np.ones((2, 24, 8), np.float32)}
    path = save(tmp_path / "m.onnx", [cell], [("x", [steps, 1, 16]), ("h", [2, 1, 8])], initialisers=weights)
    dims = {"seq": 10} if steps == "seq" else {}
    one = load_network(path, dims=dims)
    assert one == load_network(path, batch=None, dims=dims) and one.macs == 2 * 10 * 24 * (16 + 8)
    text = refusal(path, batch=4, dims=dims)  # was the same as a batch of 1 where the steps were dynamic
    assert "no dimension of the inputs shows that it is the batch" in text and "--dim x.1=4" in text
    assert load_network(path, batch=4, dims={**dims, "x.1": 4, "h.1": 4}).macs == 4 * one.macs


def test_batch_that_no_input_can_take_is_refused(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "x"], ["y"])], [("x", [16])])
    assert load_network(path).macs == 16
    assert "export the file with a dynamic batch" in refusal(path, batch=4)


def test_inputs_that_disagree_about_the_batch_are_told_what_works(tmp_path):
    """Each batch that was suggested led to the suggestion of the other."""
    nodes = [helper.make_node("MatMul", [name, "w"], [f"{name}/y"]) for name in "ab"]
    inputs, weights = [("a", [2, 8]), ("b", [3, 8])], {"w": np.ones((8, 5), np.float32)}
    path = save(tmp_path / "m.onnx", nodes, inputs, outputs=["a/y", "b/y"], initialisers=weights)
    text = refusal(path)
    assert "batch=None (--batch file)" in text and "give batch=None" in text
    assert load_network(path, batch=None).macs == 5 * 40


def test_unsupported_mac_operator_names_node_and_operator(tmp_path):
    node = helper.make_node("DFT", ["x"], ["y"], name="spectrum")
    text = refusal(save(tmp_path / "m.onnx", [node], [("x", [1, 64, 1])]))
    assert "'spectrum' (DFT)" in text and "not supported" in text


@pytest.mark.parametrize(
    "kind",
    "QAttention MoE QMoE CDist GatedRelativePositionBias Inverse MatMulNBits GroupQueryAttention MultiHeadAttention "
    "DecoderMaskedMultiHeadAttention SparseAttention PackedAttention FusedMatMul ConvTransposeWithDynamicPads QGemm "
    "NhwcConv GemmFastGelu QOrderedMatMul Rfft AttnLSTM WordConvEmbedding RouterGateUpProj EPContext".split(),
)
def test_vendor_mac_operator_is_refused(tmp_path, kind):
    """Mixtures of experts and distances were vector work."""
    node = helper.make_node(kind, ["x"], ["y"], name="cell", domain="com.microsoft")
    assert f"'cell' ({kind})" in refusal(save(tmp_path / "m.onnx", [node], [("x", [1, 5])]))


def test_no_mac_layer(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [("x", [1, 8])])
    assert "no MAC layer" in refusal(path)


def test_graph_without_operators(tmp_path):
    path = save(tmp_path / "m.onnx", [], [("x", [1, 8])], outputs=["x"])
    assert "without operators" in refusal(path)


@pytest.mark.parametrize(
    ("inputs", "initialisers", "trips"),
    [
        ([("x", [4, 4]), ("w", [4, 4])], {"n": np.int64(9000), "go": np.bool_(True)}, "at most 5000 nodes"),
        ([("x", [4, 4]), ("w", [4, 4]), ("n", [])], {"go": np.bool_(True)}, "--dim n=1"),
    ],
)
def test_loop_around_mac_operators_is_refused_if_long_or_of_unknown_length(tmp_path, inputs, initialisers, trips):
    body = helper.make_graph(
        [helper.make_node("MatMul", ["s", "w"], ["t"], name="inner"), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in [("i", 7, []), ("c", 9, []), ("s", 1, [4, 4])]],
        [helper.make_tensor_value_info("d", 9, []), helper.make_tensor_value_info("t", 1, [4, 4])],
    )
    node = helper.make_node("Loop", ["n", "go", "x"], ["y"], name="loop", body=body)
    path = save(tmp_path / "m.onnx", [node], inputs, initialisers=initialisers)
    text = refusal(path, batch=None)
    assert "'loop' (Loop)" in text and "'inner' (MatMul)" in text and trips in text


def test_unknown_vector_operator_is_costed_and_listed_once(tmp_path, caplog):
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], name="fc"),
        helper.make_node("Sparkle", ["h"], ["y"], name="s", domain="my.domain"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [("x", [2, 3])], initialisers={"w": np.ones((3, 5), np.float32)})
    with caplog.at_level(logging.WARNING, logger="dse"):
        network = load_network(path, batch=2)
    assert [record.name for record in caplog.records] == ["dse"]
    assert "Sparkle (1x)" in caplog.text
    assert network.layers[-1].operations == 10
