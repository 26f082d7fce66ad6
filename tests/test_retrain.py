"""`dse.training.retrain`: a graph as a torch module computes what the ONNX reference does or refuses it, and learns."""

import importlib.util
import math
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from test_tune import Edit, apply_edits, residual, stripped, with_random_weights

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed (pip install '.[retrain]')")


def test_without_torch_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # hides one that is installed
    monkeypatch.delitem(sys.modules, "dse.training.retrain", raising=False)
    with pytest.raises(ValueError, match=r"torch is not installed; pip install 'accelerator-dse\[retrain\]'"):
        importlib.import_module("dse.training.retrain")


@needs_torch
@pytest.mark.parametrize("edits", [[], [Edit("stem", "stem"), Edit("fuse_depthwise", "depthwise")]])
def test_a_graph_as_a_module_computes_the_same(edits):
    model = with_random_weights(apply_edits(residual(), edits))
    assert_computes_the_same(model, stripped(model), (2, 3, 16, 16))


def reference(model, x):
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def runtime(model, x):
    """By onnxruntime: onnx's reference evaluator is wrong for uneven pads and for old normalisations."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is the oracle for attributes")
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def assert_computes_the_same(model, read, shape, oracle=reference):
    """`read` as a module, given the weights of `model`, against the oracle."""
    import torch

    from dse.training.retrain import GraphModule

    module = GraphModule(read).eval()
    with torch.no_grad():
        for tensor in model.graph.initializer:
            if tensor.name in module.names:
                module.value(tensor.name).copy_(torch.from_numpy(numpy_helper.to_array(tensor).copy()))
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        mine = module(torch.from_numpy(x)).numpy()
    expected = oracle(model, x)
    assert mine.shape == expected.shape and np.allclose(mine, expected, atol=1e-4)


class Random:
    """Graphs of random operators with random attributes, from x (2, 4, 12, 12) to y (2, 5)."""

    def __init__(self, seed):
        self.rng, self.nodes, self.tensors = np.random.default_rng(seed), [], []
        self.older = seed % 3 == 0  # operator set 10: Clip has attributes
        self.channels = 4

    def weight(self, *dims, positive=False):
        values = 0.5 * self.rng.standard_normal(dims).astype(np.float32)
        self.tensors.append(numpy_helper.from_array(np.abs(values) if positive else values, f"w{len(self.tensors)}"))
        return self.tensors[-1].name

    def node(self, kind, *inputs, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [f"t{len(self.nodes)}"], f"n{len(self.nodes)}", **attributes))
        return self.nodes[-1].output[0]

    def some(self, low, high, n=None):
        return self.rng.integers(low, high + 1, n).tolist()

    def real(self):
        return float(self.rng.uniform(0.1, 0.9))

    def conv(self, x):
        groups, out = self.some(1, 2), 2 * self.some(1, 3)
        kernel, pads = self.some(1, 3, 2), self.some(1, 3, 4)
        weight, self.channels = self.weight(out, self.channels // groups, *kernel), out
        return self.node("Conv", x, weight, self.weight(out), kernel_shape=kernel, pads=pads, group=groups,
                         dilations=self.some(1, 2, 2), strides=self.some(1, 2, 2))  # fmt: skip

    def norm(self, x):
        c = self.channels
        parts = [self.weight(c), self.weight(c), self.weight(c), self.weight(c, positive=True)]
        return self.node("BatchNormalization", x, *parts, epsilon=self.real(), momentum=self.real())

    def clip(self, x):
        if self.older:
            return self.node("Clip", x, min=-self.real(), max=self.real())
        self.tensors += [numpy_helper.from_array(np.float32(v), f"{x}_{n}") for n, v in (("low", -0.5), ("high", 0.7))]
        return self.node("Clip", x, *[["", f"{x}_high"], [f"{x}_low", ""], [f"{x}_low", f"{x}_high"]][self.some(0, 2)])

    def pool(self, x):
        dilations = {} if self.older else {"dilations": self.some(1, 2, 2)}
        return self.node(
            "MaxPool", x, kernel_shape=[2, 2], pads=self.some(0, 1, 4), strides=self.some(1, 2, 2), **dilations
        )

    def concat(self, x):
        other, self.channels = self.node("Sigmoid", x), 2 * self.channels
        return self.node("Concat", x, other, axis=(1, -3)[self.some(0, 1)])

    def scale(self, x):
        kind = ("Mul", "Add")[self.some(0, 1)]
        return self.node(kind, x, self.weight(self.channels, 1, 1))

    def hard(self, x):
        given = {"alpha": self.real(), "beta": self.real()}
        return self.node("HardSigmoid", x, **{name: given[name] for name in given if self.some(0, 1)})

    def model(self):
        x = "x"
        for kind in self.rng.permutation(["conv", "norm", "clip", "pool", "concat", "scale", "hard", "conv"]):
            x = getattr(self, kind)(x)
        x = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        if self.some(0, 1):
            x = self.node("Gemm", x, self.weight(5, self.channels), self.weight(5), transB=1, alpha=self.real())
        else:
            x = self.node("Gemm", x, self.weight(self.channels, 5), self.weight(5), alpha=self.real(), beta=self.real())
        return small_model(self.nodes, [2, 4, 12, 12], [2, 5], self.tensors, 10 if self.older else 17)


def small_model(nodes, shape, out, tensors, opset=17):
    x, y = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in (("x", shape), (nodes[-1].output[0], out))
    )
    graph = helper.make_graph(nodes, "small", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@needs_torch
@pytest.mark.parametrize("seed", range(30))
def test_random_attributes_are_honoured(seed):
    model = Random(seed).model()
    assert_computes_the_same(model, model, (2, 4, 12, 12), runtime)


@needs_torch
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_a_flattening_at_any_axis_makes_a_matrix(axis):
    made = np.empty((2, 4, 3, 3)).reshape(math.prod((2, 4, 3, 3)[:axis]), -1).shape
    model = small_model([helper.make_node("Flatten", ["x"], ["y"], axis=axis)], [2, 4, 3, 3], made, [])
    assert_computes_the_same(model, model, (2, 4, 3, 3))


@needs_torch
@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("Gemm", {"transA": 1}), ("Conv", {"auto_pad": "SAME_UPPER"}), ("MaxPool", {"ceil_mode": 1}),
     ("MaxPool", {"auto_pad": "VALID"}), ("BatchNormalization", {"training_mode": 1}), ("Add", {"broadcast": 1})],
)  # fmt: skip
def test_attributes_that_are_not_honoured_are_named(kind, attributes):
    from dse.training.retrain import GraphModule

    nodes = [helper.make_node(kind, ["x"], ["y"], "odd", **attributes)]
    ((name, value),) = attributes.items()
    with pytest.raises(ValueError, match=rf"cannot train node 'odd' \({kind}\): {name}={value!r} is not honoured"):
        GraphModule(small_model(nodes, [2, 4], [2, 4], []))


@needs_torch
def test_weights_start_by_fan_in_and_factors_at_one():
    import torch

    from dse.training.retrain import GraphModule

    dims = {"plain": (4096, 16), "turned": (16, 16), "factor": (16,), "wide_factor": (1, 16), "shift": (1, 16)}
    gemms = helper.make_node("Gemm", ["x", "plain"], ["a"]), helper.make_node("Gemm", ["a", "turned"], ["b"], transB=1)
    factors = helper.make_node("Mul", ["b", "factor"], ["c"]), helper.make_node("Mul", ["c", "wide_factor"], ["d"])
    nodes = [*gemms, *factors, helper.make_node("Add", ["d", "shift"], ["y"])]
    tensors = [numpy_helper.from_array(np.full(shape, 7, np.float32), name) for name, shape in dims.items()]
    torch.manual_seed(0)
    module = GraphModule(small_model(nodes, [2, 4096], [2, 16], tensors))
    assert module.value("plain").std().item() == pytest.approx(math.sqrt(2 / 4096), rel=0.02)
    assert module.value("turned").std().item() == pytest.approx(math.sqrt(2 / 16), rel=0.2)
    for name, start in (("factor", 1), ("wide_factor", 1), ("shift", 0)):
        assert (module.value(name) == start).all()


@needs_torch
def test_the_identity_of_a_training_tells_data_sets_apart():
    from dse.training.retrain import ImageTraining

    def data(last):
        images = np.zeros((4, 1, 2, 2), np.float32)
        images[-1, 0, 1, 1] = last
        return {"train": (images, np.arange(4)), "test": (images[:2], np.arange(2))}

    assert ImageTraining(data(1)).identity == ImageTraining(data(1)).identity != ImageTraining(data(2)).identity
    assert ImageTraining(data(1)).identity != ImageTraining(data(1), epochs=4).identity


@needs_torch
def test_training_learns_and_repeats_to_the_bit():
    from dse.training.retrain import GraphModule, ImageTraining

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 1536)
    images = rng.normal(0, 0.3, (1536, 3, 16, 16)).astype(np.float32)
    images[np.arange(1536), labels % 3] += (labels // 3)[:, None, None] - 1.5
    data = {"train": (images[:1280], labels[:1280]), "test": (images[1280:], labels[1280:])}
    training = ImageTraining(data, epochs=4, batch=32, peak_rate=0.05)
    first = training(GraphModule(residual()), 3)
    assert first > 0.5 and len(training.history) == 4
    assert training(GraphModule(residual()), 3) == first


@needs_torch
def test_a_module_becomes_a_graph_and_back():
    import torch
    from torch import nn

    from dse.training.retrain import GraphModule, graph_of

    body = [nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)]
    module = nn.Sequential(*body, nn.Flatten(), nn.Linear(4, 10))
    again = GraphModule(graph_of(module, (1, 1, 28, 28)))
    assert again(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    trainable = sum(p.numel() for p in module.parameters())
    assert sum(p.numel() for p in again.weights.values()) == trainable
