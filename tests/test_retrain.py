"""`dse.training`: a graph as a torch module computes what the ONNX reference does or refuses it, learns, is rounded."""

import gzip
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
    for name in ("graph_modules", "retrain", "low_precision"):
        monkeypatch.delitem(sys.modules, f"dse.training.{name}", raising=False)
    for name in ("graph_modules", "retrain", "low_precision"):
        with pytest.raises(ValueError, match=r"torch is not installed; pip install 'accelerator-dse\[retrain\]'"):
            importlib.import_module(f"dse.training.{name}")


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


def attention(primitive):
    """Layer normalisation, in one node or as its parts, attention between four tokens, GELU, mean; x (2, 4, 6)."""
    nodes, tensors = [], []

    def constant(value, kind=np.float32):
        tensors.append(numpy_helper.from_array(np.array(value, kind), f"c{len(tensors)}"))
        return tensors[-1].name

    def weight(*dims):
        tensors.append(
            numpy_helper.from_array(
                np.random.default_rng(len(tensors)).standard_normal(dims).astype(np.float32), f"c{len(tensors)}"
            )
        )
        return tensors[-1].name

    def node(kind, *inputs, **attributes):
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], f"n{len(nodes)}", **attributes))
        return nodes[-1].output[0]

    def norm(x, scale, shift):
        if not primitive:
            return node("LayerNormalization", x, scale, shift, axis=-1, epsilon=0.125)
        centred = node("Sub", x, node("ReduceMean", x, axes=[-1]))
        square = node("ReduceMean", node("Pow", centred, constant(2.0)), axes=[-1])
        root = node("Sqrt", node("Add", square, constant(0.125)))
        return node("Add", node("Mul", node("Div", centred, root), scale), shift)

    x = norm("x", weight(6), weight(6))
    q, k, v = (node("Add", node("MatMul", x, weight(6, 6)), weight(6)) for _ in range(3))
    shares = node("Softmax", node("MatMul", q, node("Transpose", k, perm=[0, 2, 1])), axis=-1)
    x = node("MatMul", weight(3, 4), node("MatMul", shares, v))  # weights on the left: three tokens of four
    half = node("Mul", node("Mul", x, node("Add", node("Erf", node("Div", x, constant(math.sqrt(2)))), constant(1.0))),
                constant(0.5))  # fmt: skip
    x = node("Reshape", node("Tanh", half), constant([0, -1, 2], np.int64))
    node("ReduceMean", x, axes=[1], keepdims=0)
    return small_model(nodes, [2, 4, 6], [2, 2], tensors)


@needs_torch
@pytest.mark.parametrize("primitive", [False, True])
def test_normalisation_attention_and_products_compute_the_same(primitive):
    model = attention(primitive)
    assert_computes_the_same(model, model, (2, 4, 6), runtime)


@needs_torch
def test_softmax_of_old_graphs_is_refused():
    from dse.training.graph_modules import GraphModule

    with pytest.raises(ValueError, match="'odd': Softmax is honoured from operator set 13, got 10"):
        GraphModule(small_model([helper.make_node("Softmax", ["x"], ["y"], "odd")], [2, 4], [2, 4], [], 10))


@needs_torch
@pytest.mark.parametrize("name", ["original", "side by side"])
def test_the_mixer_becomes_a_graph_that_computes_the_same(name):
    """And every weight of a product is drawn by its fan-in, every factor of a normalisation is one."""
    import torch

    from dse.training.graph_modules import GraphModule, graph_of
    from experiments.small_networks import small_networks

    module = small_networks()["mixer", name]
    graph = graph_of(module, (1, 1, 28, 28))
    again = GraphModule(graph)
    with torch.no_grad():
        assert again(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
        torch.manual_seed(0)
        again.reset()
        products = [again.value(n.input[1]) for n in again.nodes if n.op_type == "MatMul"]
        assert len(products) == 16
        for weight in products:
            assert weight.std().item() == pytest.approx(math.sqrt(2 / weight.shape[0]), rel=0.1)
        norms = [again.value(n.input[1]) for n in again.nodes if n.op_type == "LayerNormalization"]
        assert len(norms) == (9 if name == "original" else 5) and all((scale == 1).all() for scale in norms)
    assert sum(p.numel() for p in again.weights.values()) == sum(p.numel() for p in module.parameters())
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim:
            again.value(tensor.name).data.copy_(torch.from_numpy(values.copy()))
    x = np.random.default_rng(1).standard_normal((2, 1, 28, 28)).astype(np.float32)
    expected = runtime_of(graph, {"input": x})
    assert again(torch.from_numpy(x)).detach().numpy() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def runtime_of(model, feed):
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is the oracle for exported graphs")
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)[0]


@needs_torch
def test_the_identity_of_a_training_tells_data_sets_apart():
    from dse.training.retrain import ImageTraining

    def data(last):
        images = np.zeros((4, 1, 2, 2), np.float32)
        images[-1, 0, 1, 1] = last
        return {"train": (images, np.arange(4))} | dict.fromkeys(("held_out", "test"), (images[:2], np.arange(2)))

    def identity(last, **recipe):
        return ImageTraining(data(last), batch=2, **recipe).identity

    assert identity(1) == identity(1) != identity(2)
    others = ({"epochs": 4}, {"optimiser": "adamw"}, {"peak_rate": 0.2}, {"start": lambda seed: None})
    assert len({identity(1), *(identity(1, **recipe) for recipe in others)}) == 5


def striped(channels=3, size=16):
    """Images of ten classes: what is added to each channel."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 1536)
    images = rng.normal(0, 4, (1536, channels, size, size)).astype(np.float32)
    images[np.arange(1536), labels % channels] += (labels // channels)[:, None, None] - 1.5
    cuts = {"train": slice(1024), "held_out": slice(1024, 1280), "test": slice(1280, None)}
    return {part: (images[cut], labels[cut]) for part, cut in cuts.items()}


@needs_torch
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_training_learns_and_repeats_to_the_bit(optimiser):
    from dse.training.retrain import GraphModule, ImageTraining

    training = ImageTraining(striped(), epochs=4, batch=32, peak_rate=0.05 if optimiser == "sgd" else 0.003,
                             optimiser=optimiser)  # fmt: skip
    first = training(GraphModule(residual()), 3)
    assert first.accuracy > 0.4 and first.held_out_accuracy > 0.4
    assert first.correct.shape == (256,) and first.correct.mean() == first.accuracy
    again = training(GraphModule(residual()), 3)
    assert again.accuracy == first.accuracy and (again.correct == first.correct).all()
    assert (training(GraphModule(residual()), 4).correct != first.correct).any()


@needs_torch
def test_test_images_are_read_once_and_do_not_change_the_training():
    """They were read after every epoch."""
    from dse.training.retrain import GraphModule, ImageTraining

    class Counted(dict):
        asked = 0

        def __getitem__(self, part):
            self.asked += part == "test"
            return super().__getitem__(part)

    data = Counted(striped())
    kept = []
    training = ImageTraining(data, epochs=2, batch=32, finish=lambda module, seed: kept.append((seed, data.asked)))
    training(GraphModule(residual()), 3)
    assert kept == [(3, 0)] and data.asked == 1


@needs_torch
def test_data_of_another_shape_and_labels_without_a_class_are_told_before_training():
    from dse.training.retrain import GraphModule, ImageTraining

    with pytest.raises(ValueError, match="takes images 3 x 16 x 16, the data set has 1 x 16 x 16"):
        ImageTraining(striped(1), batch=32)(GraphModule(residual()), 0)
    data = striped()
    data["test"] = data["test"][0], data["test"][1] + 7
    with pytest.raises(ValueError, match=r"makes 2 x \d+ from 2 images, the labels need 2 x 17"):
        ImageTraining(data, batch=32)(GraphModule(residual()), 0)
    with pytest.raises(ValueError, match="batch of 1 to 1024 images, whole numbers, got 1 epochs and batches of 2000"):
        ImageTraining(data, epochs=1, batch=2000)
    with pytest.raises(ValueError, match="optimiser 'adam' is unknown"):
        ImageTraining(data, optimiser="adam")


@needs_torch
def test_a_training_that_diverges_says_where():
    from dse.training.retrain import GraphModule, ImageTraining

    with pytest.raises(ArithmeticError, match=r"the loss is (nan|inf) in epoch 1"):
        ImageTraining(striped(), epochs=1, batch=32, peak_rate=1e30)(GraphModule(residual()), 0)


@needs_torch
def test_trained_weights_are_kept_and_tuned_further(tmp_path):
    from dse.training.retrain import GraphModule, ImageTraining

    keep = {"batch": 32, "epochs": 2, "peak_rate": 0.05}
    first = ImageTraining(striped(), **keep, finish=lambda module, seed: module.save(tmp_path / f"{seed}.npz"))
    begun = first(GraphModule(residual()), 5)
    loaded = GraphModule(residual())
    loaded.load(tmp_path / "5.npz")
    assert (ImageTraining(striped(), **keep)._correct(loaded, "test") == begun.correct).all()
    on = ImageTraining(striped(), **keep, start=lambda seed: tmp_path / f"{seed}.npz")
    assert on(GraphModule(residual()), 5).accuracy > begun.accuracy - 0.1
    with pytest.raises(ValueError, match=r"6\.npz cannot be read .* train the network first"):
        on(GraphModule(residual()), 6)
    (tmp_path / "7.npz").write_bytes((tmp_path / "5.npz").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"7\.npz cannot be read"):
        on(GraphModule(residual()), 7)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"])]
    other = GraphModule(small_model(nodes, [2, 4], [2, 3], [numpy_helper.from_array(np.ones((4, 3), np.float32), "w")]))
    with pytest.raises(ValueError, match="holds the weights of another network"):
        other.load(tmp_path / "5.npz")


# ---------------------------------------------------------------------------------------------------------------------
# Narrow words and sparse weights.


@needs_torch
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rounded_weights_are_whole_multiples_of_a_scale_an_output_channel(bits):
    import torch

    from dse.training.low_precision import round_weight

    weight = torch.randn(5, 7, 3, 3, requires_grad=True)
    rounded = round_weight(weight, bits, 0)
    most = 2 ** (bits - 1) - 1
    scale = weight.detach().abs().amax((1, 2, 3), keepdim=True) / most
    whole = (rounded / scale).detach()
    assert torch.allclose(whole, whole.round(), atol=1e-4) and whole.abs().max().round() == most
    assert ((rounded - weight).abs() <= scale / 2 + 1e-6).all()
    rounded.sum().backward()
    assert (weight.grad == 1).all()  # straight through


def passing_on(activation_bits):
    """A product with the unit matrix, whose operands are rounded."""
    import torch

    from dse.training.low_precision import QuantisedModule

    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "product")]
    model = small_model(nodes, [2, 4], [2, 4], [numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")])
    module = QuantisedModule(model, 8, activation_bits)
    module.value("w").data.copy_(torch.eye(4))
    return module


@needs_torch
def test_rounded_activations_keep_zero_and_their_range():
    import torch

    module = passing_on(4)
    x = torch.tensor([[0.0, 0.31, -1.0, 2.0], [0.5, 1.0, 1.49, -0.2]], requires_grad=True)
    made = module.train()(x)
    assert made[0, 0] == 0 and torch.allclose(made * 5, (made * 5).round(), atol=1e-4)  # 15 steps from -1 to 2
    assert ((made - x).abs() <= 0.1 + 1e-6).all() and len(set(made.flatten().tolist())) > 5
    made.sum().backward()
    assert torch.allclose(x.grad, torch.ones_like(x))
    beyond = torch.full((1, 4), 9.0, requires_grad=True)
    out = module.eval()(beyond)
    assert out.flatten().tolist() == pytest.approx([2.0] * 4)
    out.sum().backward()
    assert (beyond.grad == 0).all()  # what is cut off does not learn


@needs_torch
def test_precision_is_set_by_layer_and_wrong_ones_are_told():
    import torch

    from dse.training.low_precision import QuantisedModule

    model = stripped(residual())
    names = list(QuantisedModule(model).weight_bits)
    mixed = QuantisedModule(model, {names[0]: 2, names[1]: 16})
    torch.manual_seed(0)
    mixed.reset()
    by_name = {node.name: node for node in mixed.nodes}
    levels = [len(mixed.operands(by_name[name], [torch.zeros(1), mixed.value(by_name[name].input[1])])[1][0].unique())
              for name in names[:3]]  # fmt: skip
    assert levels[0] <= 3 < levels[1]
    with pytest.raises(ValueError, match="no convolution or product 'nothing' with constant weights"):
        QuantisedModule(model, {"nothing": 4})
    for bits in (1, 4.5, "4"):
        with pytest.raises(ValueError, match=f"expected a whole number of bits from 2 to 16, got {bits!r}"):
            QuantisedModule(model, bits)


@needs_torch
def test_a_rounded_network_learns_and_a_sparse_one_stays_sparse(tmp_path):
    from dse.training.low_precision import QuantisedModule, SparseModule
    from dse.training.retrain import GraphModule, ImageTraining

    keep = {"batch": 32, "peak_rate": 0.05}
    path = tmp_path / "3.npz"
    begun = ImageTraining(striped(), epochs=4, **keep, finish=lambda module, seed: module.save(path))(
        GraphModule(residual()), 3
    )
    on = ImageTraining(striped(), epochs=2, **keep, start=lambda seed: path)
    rounded = on(QuantisedModule(residual(), 4, 8), 3)
    assert rounded.accuracy > begun.accuracy - 0.15
    assert on(QuantisedModule(residual(), 4, 8), 3).accuracy == rounded.accuracy
    sparse = SparseModule(residual())
    assert on(sparse, 3).accuracy > begun.accuracy - 0.25
    assert sparse.masks
    for node in sparse.nodes:
        if node.op_type in ("Conv", "Gemm"):
            name = node.input[1]
            weight = sparse.operands(node, [sparse.value(n) if n in sparse.names else None for n in node.input][:2]
                                     if len(node.input) == 2 else [None, sparse.value(name), None])[1]  # fmt: skip
            if name in sparse.masks:
                fours = weight.movedim(1, -1).reshape(-1, 4)
                assert ((fours != 0).sum(1) <= 2).all() and (fours != 0).any()
            else:
                assert weight.shape[1] % 4


@needs_torch
def test_two_of_four_keeps_the_largest():
    import torch

    from dse.training.low_precision import two_of_four

    weight = torch.tensor([[1.0, -3.0, 2.0, 0.5, 0.0, 0.1, 0.2, -0.3]])
    assert two_of_four(weight, 1).tolist() == [[0, 1, 1, 0, 0, 0, 1, 1]]
    assert two_of_four(weight.T, 0).T.tolist() == [[0, 1, 1, 0, 0, 0, 1, 1]]
    assert (two_of_four(torch.randn(3, 8, 3, 3), 1).reshape(3, 2, 4, 9).sum(2) == 2).all()


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


@needs_torch
def test_a_sparse_network_is_sparse_from_new_weights_too_and_is_saved_so(tmp_path):
    import torch

    from dse.training.low_precision import SparseModule

    module = SparseModule(residual())
    torch.manual_seed(0)
    module.reset()
    assert module.masks
    module.save(tmp_path / "weights.npz")
    for name, mask in module.masks.items():
        assert (module.value(name)[mask == 0] == 0).all()


@needs_torch
def test_a_rounded_network_without_ranges_takes_those_of_the_batch():
    """Weights that were saved have none; it gave zeros."""
    import torch

    module = passing_on(8)
    x = torch.tensor([[0.0, 0.3, -1.0, 2.0], [0.5, 1.0, 1.5, -0.2]])
    assert ((module.eval()(x) - x).abs() <= 0.01).all()


def test_a_damaged_gzip_file_of_images_is_named(tmp_path):
    from dse.training.images import read_idx

    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = gzip.compress(bytes(3000))
    path.write_bytes(whole[:15] + b"\xff\xff" + whole[17:])
    with pytest.raises(ValueError, match="train-images-idx3-ubyte.gz cannot be read"):
        read_idx(path)


@needs_torch
@pytest.mark.parametrize(
    ("part", "change", "told"),
    [("test", lambda x, y: (x[:, :, :14], y), "images of different shapes"), ("held_out", None, "no part 'held_out'"),
     ("test", lambda x, y: (x, y[:1]), "test: expected images"), ("test", lambda x, y: (x[:0], y[:0]), "has no images"),
     ("train", lambda x, y: (x, y.astype(np.int32)), "int32"), ("train", lambda x, y: (x.astype(float), y), "float64"),
     ("train", lambda x, y: (x, y - 100), "labels count from")],
)  # fmt: skip
def test_images_and_labels_that_do_not_go_together_gave_an_accuracy(part, change, told):
    from dse.training.retrain import ImageTraining

    data = striped()
    if change is None:
        del data[part]
    else:
        data[part] = change(*data[part])
    with pytest.raises(ValueError, match=told):
        ImageTraining(data, batch=32)
    with pytest.raises(ValueError, match="a rate above 0"):
        ImageTraining(striped(), batch=32, peak_rate=0)
