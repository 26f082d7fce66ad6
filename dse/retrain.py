"""Training on the CPU with torch: ONNX graphs as modules, and a recipe for small images.

The only module that imports torch: ``pip install 'accelerator-dse[retrain]'``.
"""

from __future__ import annotations

import copy
import io
import math
import time
import warnings

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from dse.networks.onnx_graph import attribute

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    raise ValueError("torch is not installed; pip install 'accelerator-dse[retrain]'") from None


def graph_of(module: nn.Module, input_shape: tuple[int, ...]) -> ModelProto:
    """The ONNX graph of a module, batch normalisation kept apart and the batch symbolic, for `dse.tune`.

    `input_shape` : of one batch, such as (1, 1, 28, 28).
    """
    file, module = io.BytesIO(), copy.deepcopy(module).eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():  # the exporter merges equal tensors: make all different
            nn.init.uniform_(tensor, generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(input_shape),), file, dynamo=False, opset_version=17, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


class GraphModule(nn.Module):
    """An ONNX graph of a convolutional network as a module that can be trained, its weights drawn anew.

    Weights are He-normal by fan-in, biases zero, normalisations one and zero: equal rules for every graph, so that
    an original and its tuned form are trained from like starts.  Raises ValueError that names an operator it lacks.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        self.nodes = [*model.graph.node]
        self.input_name, self.output_name = _one_input(model), model.graph.output[0].name
        self.weights, self.fixed = nn.ParameterDict(), {}
        self.names: dict[str, str] = {}
        self.running: dict[str, str] = {}
        missing = sorted({node.op_type for node in self.nodes} - set(OPERATORS) - {"BatchNormalization", "Constant"})
        if missing:
            raise ValueError(f"cannot train a graph with operator {missing[0]}; known are {', '.join(OPERATORS)}")
        for node in self.nodes:
            if node.op_type == "BatchNormalization":
                self.running |= {node.input[3]: "mean", node.input[4]: "var"}
        for tensor in model.graph.initializer:
            self._add(tensor)
        for node in self.nodes:
            if node.op_type == "Constant":
                self.fixed[node.output[0]] = torch.from_numpy(numpy_helper.to_array(attribute(node, "value")).copy())
        self.ones = {node.input[1] for node in self.nodes if node.op_type == "BatchNormalization"}
        self.reset()

    def _add(self, tensor: TensorProto) -> None:
        key = f"t{len(self.names)}"
        if tensor.data_type != TensorProto.FLOAT or (len(tensor.dims) == 0):
            self.fixed[tensor.name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        elif tensor.name in self.running:
            self.names[tensor.name] = key
            self.register_buffer(key, torch.zeros(list(tensor.dims)))
        else:
            self.names[tensor.name] = key
            self.weights[key] = nn.Parameter(torch.zeros(list(tensor.dims)))

    def reset(self) -> None:
        """Draw all weights anew from torch's generator."""
        with torch.no_grad():
            for name, key in self.names.items():
                if name in self.running:
                    getattr(self, key).fill_(self.running[name] == "var")
                elif self.weights[key].dim() > 1:
                    fan_in = math.prod(self.weights[key].shape[1:])
                    self.weights[key].normal_(0, math.sqrt(2 / fan_in))
                else:
                    self.weights[key].fill_(name in self.ones)

    def value(self, name: str) -> torch.Tensor:
        """A constant of the graph."""
        if name in self.fixed:
            return self.fixed[name]
        key = self.names[name]
        return getattr(self, key) if name in self.running else self.weights[key]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One pass."""
        values = {self.input_name: x}
        for node in self.nodes:
            if node.op_type == "Constant":
                continue
            given = [None if not name else values[name] if name in values else self.value(name) for name in node.input]
            if node.op_type == "BatchNormalization":
                scale, shift, mean, var = given[1:5]
                result = F.batch_norm(given[0], mean, var, scale, shift, self.training, 0.1, 1e-5)
            else:
                result = OPERATORS[node.op_type](node, *given)
            values[node.output[0]] = result
        return values[self.output_name]


def _one_input(model: ModelProto) -> str:
    stored = {tensor.name for tensor in model.graph.initializer}
    names = [entry.name for entry in model.graph.input if entry.name not in stored]
    if len(names) != 1 or len(model.graph.output) != 1:
        raise ValueError(f"expected one input and one output, got {len(names)} and {len(model.graph.output)}")
    return names[0]


def _padded(node: NodeProto, x: torch.Tensor, fill: float = 0.0) -> torch.Tensor:
    top, left, bottom, right = attribute(node, "pads") or [0, 0, 0, 0]
    return F.pad(x, (left, right, top, bottom), value=fill) if any((top, left, bottom, right)) else x


def _conv(node: NodeProto, x, weight, bias=None):
    pads = attribute(node, "pads") or [0, 0, 0, 0]
    symmetric = pads[:2] == pads[2:]
    x = x if symmetric else _padded(node, x)
    return F.conv2d(x, weight, bias, attribute(node, "strides") or 1, pads[:2] if symmetric else 0,
                    attribute(node, "dilations") or 1, attribute(node, "group", 1))  # fmt: skip


def _gemm(node: NodeProto, a, b, c=None):
    b = b.T if attribute(node, "transB", 0) else b
    return a @ b if c is None else a @ b + c


def _blocks(node: NodeProto, x):
    size = attribute(node, "blocksize")
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * size * size, h // size, w // size)


def _clip(node: NodeProto, x, low=None, high=None):
    return x if low is None and high is None else torch.clamp(x, low, high)


OPERATORS = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": lambda node, x: F.relu(x),
    "Clip": _clip,
    "Sigmoid": lambda node, x: torch.sigmoid(x),
    "HardSwish": lambda node, x: F.hardswish(x),
    "HardSigmoid": lambda node, x: F.hardsigmoid(x),
    "Add": lambda node, a, b: a + b,
    "Mul": lambda node, a, b: a * b,
    "Concat": lambda node, *xs: torch.cat(xs, attribute(node, "axis")),
    "MaxPool": lambda node, x: F.max_pool2d(
        _padded(node, x, -math.inf), attribute(node, "kernel_shape"), attribute(node, "strides") or 1
    ),
    "GlobalAveragePool": lambda node, x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda node, x: torch.flatten(x, attribute(node, "axis", 1)),
    "SpaceToDepth": _blocks,
    "Identity": lambda node, x: x,
    "Dropout": lambda node, x, *_: x,
}
"""Operators that `GraphModule` runs."""


class ImageTraining:
    """``train_and_evaluate(module, seed) -> accuracy`` on small images: SGD with momentum, shifts and mirrors.

    Parameters
    ----------
    data : from `dse.study.load_images`.
    epochs, batch, peak_rate, decay : of the recipe; the same for every network and seed.
    images : train on the first so many only; None = all.

    One thread, all randomness from the seed: equal seeds give equal batches and shifts to every network.
    """

    def __init__(
        self, data: dict, epochs: int = 3, batch: int = 128, peak_rate: float = 0.1, decay: float = 5e-4,
        images: int | None = None,
    ) -> None:  # fmt: skip
        self.data, self.epochs, self.batch, self.peak_rate, self.decay = data, epochs, batch, peak_rate, decay
        self.images = len(data["train"][0]) if images is None else images
        self.history: list[tuple[int, float, float]] = []

    @property
    def identity(self) -> str:
        """The recipe as text."""
        return f"sgd {self.epochs} {self.batch} {self.peak_rate} {self.decay} {self.images}"

    def __call__(self, module: nn.Module, seed: int) -> float:
        """Train from new weights of that seed; accuracy on the test images after the last epoch [0 .. 1]."""
        self.history = []
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        module.reset()
        module.to(memory_format=torch.channels_last)  # half the time on a CPU
        order, start = np.random.default_rng(seed), time.perf_counter()
        x, y = (torch.from_numpy(part[: self.images]) for part in self.data["train"])
        x = x.to(memory_format=torch.channels_last)
        steps = self.epochs * (len(x) // self.batch)
        optimiser = torch.optim.SGD(module.parameters(), self.peak_rate, 0.9, nesterov=True, weight_decay=self.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.peak_rate, steps, pct_start=0.2)
        accuracy = math.nan
        for epoch in range(1, self.epochs + 1):
            module.train()
            shuffled = order.permutation(len(x))
            for at in range(0, len(x) - self.batch + 1, self.batch):
                index = torch.from_numpy(shuffled[at : at + self.batch])
                dy, dx, mirror = *order.integers(-1, 2, 2).tolist(), int(order.integers(2))
                images = torch.roll(x[index], (dy, dx), (2, 3))
                images = images.flip(3) if mirror else images
                loss = F.cross_entropy(module(images), y[index])
                if not torch.isfinite(loss):
                    raise ArithmeticError(f"the loss is {loss.item()} in epoch {epoch}")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            accuracy = self._accuracy(module)
            self.history.append((epoch, accuracy, time.perf_counter() - start))
        return accuracy

    def _accuracy(self, module: nn.Module) -> float:
        module.eval()
        x, y = (torch.from_numpy(part) for part in self.data["test"])
        with torch.no_grad():
            right = sum(int((module(x[i : i + 500]).argmax(1) == y[i : i + 500]).sum()) for i in range(0, len(x), 500))
        return right / len(x)
