"""Training on the CPU with torch: ONNX graphs as modules, and a recipe for small images.

The only module that imports torch: ``pip install 'accelerator-dse[retrain]'``.
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
import time
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from dse.networks.onnx_file.graph import attribute, constant_tensor, node_title

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
            module, (torch.zeros(input_shape),),
            file,  # type: ignore[arg-type]  # without dynamo, torch writes to an open file too
            dynamo=False, opset_version=17, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


class GraphModule(nn.Module):
    """An ONNX graph of a convolutional network as a module that can be trained, its weights drawn anew.

    Weights are He-normal by fan-in, factors and normalisations one, all other constants zero: equal rules for every
    graph, so that an original and its tuned form are trained from like starts.  Running statistics move by a tenth a
    batch and dropouts pass everything, whatever the graph says; all else computes what the graph does.

    Raises ValueError that names the operator, or the node and its attribute, that it lacks.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        self.nodes = [*model.graph.node]
        self.input_name, self.output_name = _one_input(model), model.graph.output[0].name
        self.weights = nn.ParameterDict()
        self.fixed: dict[str, torch.Tensor] = {}
        self.names: dict[str, str] = {}
        self.running: dict[str, str] = {}
        self.fan_in: dict[str, tuple[int, ...]] = {}
        self.ones: set[str] = set()
        for node in self.nodes:
            _check(node)
            if node.op_type == "BatchNormalization":
                self.running |= {node.input[3]: "mean", node.input[4]: "var"}
                self.ones.add(node.input[1])
            elif node.op_type in ("Conv", "Gemm"):
                inner = node.op_type == "Conv" or attribute(node, "transB", 0)
                self.fan_in[node.input[1]] = (1, 2, 3) if inner else (0,)
            elif node.op_type == "Mul":
                self.ones.update(node.input)
        for tensor in model.graph.initializer:
            self._add(tensor)
        for node in self.nodes:
            if node.op_type == "Constant" and (constant := constant_tensor(node)) is not None:
                self.fixed[node.output[0]] = torch.from_numpy(numpy_helper.to_array(constant).copy())
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
                elif name in self.fan_in:
                    fan_in = math.prod(n for axis, n in enumerate(self.weights[key].shape) if axis in self.fan_in[name])
                    self.weights[key].normal_(0, math.sqrt(2 / fan_in))
                else:
                    self.weights[key].fill_(name in self.ones)

    def value(self, name: str) -> torch.Tensor:
        """A constant of the graph by its name: a trained weight, a running statistic, or what stays as the file has it.

        Its shape is the initialiser's.
        """
        if name in self.fixed:
            return self.fixed[name]
        key = self.names[name]
        return getattr(self, key) if name in self.running else self.weights[key]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The graph's output, for image networks (n, classes), from its input, (n, channels, rows, columns) float32."""
        values = {self.input_name: x}
        for node in self.nodes:
            if node.op_type == "Constant":
                continue
            given = {name: values[name] if name in values else self.value(name) for name in node.input if name}
            if node.op_type == "BatchNormalization":
                x, scale, shift, mean, var = (given[name] for name in node.input[:5])
                epsilon = _number(node, "epsilon", 1e-5)
                result = F.batch_norm(x, mean, var, scale, shift, self.training, 0.1, epsilon)
            else:
                result = OPERATORS[node.op_type](node, *map(given.get, node.input))
            values[node.output[0]] = result
        return values[self.output_name]


def _one_input(model: ModelProto) -> str:
    stored = {tensor.name for tensor in model.graph.initializer}
    names = [entry.name for entry in model.graph.input if entry.name not in stored]
    if len(names) != 1 or len(model.graph.output) != 1:
        raise ValueError(f"expected one input and one output, got {len(names)} and {len(model.graph.output)}")
    return names[0]


def _check(node: NodeProto) -> None:
    """ValueError for an operator, or an attribute other than its neutral value, that is not honoured here."""
    if node.op_type not in HONOURED:
        raise ValueError(f"cannot train a graph with operator {node.op_type}; known are {', '.join(OPERATORS)}")
    for item in node.attribute:
        value = attribute(node, item.name)
        if item.name not in HONOURED[node.op_type] and not (item.name in NEUTRAL and value in NEUTRAL[item.name]):
            raise ValueError(
                f"cannot train node {node_title(node)!r} ({node.op_type}): {item.name}={value!r} is not honoured"
            )


def _number(node: NodeProto, name: str, default: float) -> float:
    """A float attribute as the decimal it was written as: 1e-5, and not the float32 next to it."""
    return float(str(np.float32(attribute(node, name, default))))


def _padded(node: NodeProto, x: torch.Tensor, fill: float = 0.0) -> torch.Tensor:
    top, left, bottom, right = attribute(node, "pads") or [0, 0, 0, 0]
    return F.pad(x, (left, right, top, bottom), value=fill) if any((top, left, bottom, right)) else x


def _conv(node: NodeProto, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    pads = attribute(node, "pads") or [0, 0, 0, 0]
    symmetric = pads[:2] == pads[2:]
    x = x if symmetric else _padded(node, x)
    return F.conv2d(x, weight, bias, attribute(node, "strides") or 1, pads[:2] if symmetric else 0,
                    attribute(node, "dilations") or 1, attribute(node, "group", 1))  # fmt: skip


def _gemm(node: NodeProto, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
    b = b.T if attribute(node, "transB", 0) else b
    product = _number(node, "alpha", 1.0) * (a @ b)
    return product if c is None else product + _number(node, "beta", 1.0) * c


def _blocks(node: NodeProto, x: torch.Tensor) -> torch.Tensor:
    size = attribute(node, "blocksize")
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * size * size, h // size, w // size)


def _clip(
    node: NodeProto, x: torch.Tensor, low: torch.Tensor | None = None, high: torch.Tensor | None = None
) -> torch.Tensor:
    low = attribute(node, "min") if low is None else low  # attributes up to operator set 10
    high = attribute(node, "max") if high is None else high
    return x if low is None and high is None else torch.clamp(x, low, high)


def _hard_sigmoid(node: NodeProto, x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(_number(node, "alpha", 0.2) * x + _number(node, "beta", 0.5), 0, 1)


def _max_pool(node: NodeProto, x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(_padded(node, x, -math.inf), attribute(node, "kernel_shape"), attribute(node, "strides") or 1,
                        0, attribute(node, "dilations") or 1)  # fmt: skip


def _flatten(node: NodeProto, x: torch.Tensor) -> torch.Tensor:
    return x.reshape(math.prod(x.shape[: attribute(node, "axis", 1)]), -1)


OPERATORS: Mapping[str, Callable[..., torch.Tensor]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": lambda node, x: F.relu(x),
    "Clip": _clip,
    "Sigmoid": lambda node, x: torch.sigmoid(x),
    "HardSwish": lambda node, x: F.hardswish(x),
    "HardSigmoid": _hard_sigmoid,
    "Add": lambda node, a, b: a + b,
    "Mul": lambda node, a, b: a * b,
    "Concat": lambda node, *xs: torch.cat(xs, attribute(node, "axis")),
    "MaxPool": _max_pool,
    "GlobalAveragePool": lambda node, x: x.mean((2, 3), keepdim=True),
    "Flatten": _flatten,
    "SpaceToDepth": _blocks,
    "Identity": lambda node, x: x,
    "Dropout": lambda node, x, *_: x,
}
"""Operators that `GraphModule` runs."""

HONOURED = dict.fromkeys(OPERATORS, frozenset[str]()) | {
    "Constant": frozenset(("value", "value_float", "value_floats", "value_int", "value_ints")),
    "BatchNormalization": frozenset(("epsilon", "momentum")),
    "Conv": frozenset(("dilations", "group", "kernel_shape", "pads", "strides")),
    "Gemm": frozenset(("alpha", "beta", "transB")),
    "Clip": frozenset(("min", "max")),
    "HardSigmoid": frozenset(("alpha", "beta")),
    "Concat": frozenset(("axis",)),
    "MaxPool": frozenset(("dilations", "kernel_shape", "pads", "strides")),
    "Flatten": frozenset(("axis",)),
    "SpaceToDepth": frozenset(("blocksize",)),
    "Dropout": frozenset(("ratio", "seed")),
}
"""Attributes that are honoured, by operator."""

NEUTRAL = {"auto_pad": ("NOTSET", ""), "ceil_mode": (0,), "storage_order": (0,), "training_mode": (0,), "transA": (0,)}
"""Values of other attributes that change nothing."""


class ImageTraining:
    """``train_and_evaluate(module, seed) -> accuracy`` on small images: SGD with momentum, shifts and mirrors.

    Parameters
    ----------
    data : from `dse.tuning.accuracy_study.load_images`.
    epochs, batch, peak_rate, decay : of the recipe; the same for every network and seed.
    images : train on the first so many only; None = all.

    One thread, all randomness from the seed: equal seeds give equal batches and shifts to every network.
    """

    def __init__(
        self, data: Mapping[str, tuple[np.ndarray, np.ndarray]], epochs: int = 3, batch: int = 128,
        peak_rate: float = 0.1, decay: float = 5e-4, images: int | None = None,
    ) -> None:  # fmt: skip
        self.data, self.epochs, self.batch, self.peak_rate, self.decay = data, epochs, batch, peak_rate, decay
        self.images = len(data["train"][0]) if images is None else images
        self.history: list[tuple[int, float, float]] = []

    @property
    def identity(self) -> str:
        """The recipe as text, with a hash of the images and labels."""
        return f"sgd {self.epochs} {self.batch} {self.peak_rate} {self.decay} {self.images} {self._data_hash}"

    @cached_property
    def _data_hash(self) -> str:
        digest = hashlib.sha256()
        for part in ("train", "test"):
            for array in self.data[part]:
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def __call__(self, module: GraphModule, seed: int) -> float:
        """Train from new weights of that seed; accuracy on the test images after the last epoch [0 .. 1]."""
        self.history = []
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        module.reset()
        # Half the time on a CPU.
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads lack this one
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
                dy, dx = order.integers(-1, 2, 2).tolist()
                mirror = int(order.integers(2))
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
