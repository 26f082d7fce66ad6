"""ONNX graphs as torch modules that can be trained: ``pip install 'accelerator-dse[retrain]'``."""

from __future__ import annotations

import copy
import io
import math
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from dse.networks.onnx_file.graph import attribute, constant_tensor, node_title
from dse.runs.files import write_whole

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
            dynamo=False, opset_version=20, do_constant_folding=True,  # products' weights are not transposed each time
            training=torch.onnx.TrainingMode.PRESERVE, input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


class GraphModule(nn.Module):
    """An ONNX graph of an image network as a module that can be trained, its weights drawn anew.

    Weights are He-normal by fan-in, factors and normalisations one, all other constants zero: equal rules for every
    graph, so that an original and its tuned form are trained from like starts.  Running statistics move by a tenth a
    batch and dropouts pass everything, whatever the graph says; all else computes what the graph does.

    Raises ValueError that names the operator, or the node and its attribute, that it lacks.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        self.nodes = [*model.graph.node]
        self.input_name, self.output_name = _one_input(model), model.graph.output[0].name
        self.input_shape = _input_shape(model)
        opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        self.weights = nn.ParameterDict()
        self.fixed: dict[str, torch.Tensor] = {}
        self.names: dict[str, str] = {}
        self.running: dict[str, str] = {}
        self.fan_in: dict[str, tuple[int, ...]] = {}
        self.ones: set[str] = set()
        for node in self.nodes:
            _check(node, opset)
            if node.op_type == "BatchNormalization":
                self.running |= {node.input[3]: "mean", node.input[4]: "var"}
                self.ones.add(node.input[1])
            elif node.op_type in ("Conv", "Gemm"):
                inner = node.op_type == "Conv" or attribute(node, "transB", 0)
                self.fan_in[node.input[1]] = (1, 2, 3) if inner else (0,)
            elif node.op_type == "MatMul":
                self.fan_in |= {node.input[0]: (-1,), node.input[1]: (-2,)}
            elif node.op_type == "LayerNormalization":
                self.ones.add(node.input[1])
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
                    shape, axes = self.weights[key].shape, self.fan_in[name]
                    fan_in = math.prod(shape[axis] for axis in axes if axis < len(shape))
                    self.weights[key].normal_(0, math.sqrt(2 / fan_in))
                else:
                    self.weights[key].fill_(name in self.ones)

    def _own(self) -> dict[str, torch.Tensor]:
        """Weights and running statistics."""
        held = set(self.names.values())
        return {name: tensor for name, tensor in self.state_dict().items() if name.split(".")[-1] in held}

    def save(self, path: Path) -> None:
        """Write weights and running statistics, for `load`; the file is there whole or not at all."""
        content = io.BytesIO()
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in self._own().items()}
        np.savez(content, **arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.getvalue())

    def load(self, path: Path) -> None:
        """Take weights and statistics that `save` wrote; ValueError where there are none, or another network's."""
        try:
            with np.load(io.BytesIO(path.read_bytes())) as stored:
                found = {name: torch.from_numpy(stored[name].copy()) for name in stored}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} cannot be read ({error}); train the network first") from None
        if {name: tensor.shape for name, tensor in found.items()} != {n: t.shape for n, t in self._own().items()}:
            raise ValueError(f"{path} holds the weights of another network; train it anew")
        self.load_state_dict(found, strict=False)

    def operands(self, node: NodeProto, inputs: list[Any]) -> list[Any]:
        """What a convolution or product takes for its inputs (tensors or None): those; others round or mask them."""
        return inputs

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
            given: list[Any] = [
                (values[name] if name in values else self.value(name)) if name else None for name in node.input
            ]
            if node.op_type == "BatchNormalization":
                epsilon = _number(node, "epsilon", 1e-5)
                x, scale, shift, mean, var = given[:5]
                result = F.batch_norm(x, mean, var, scale, shift, self.training, 0.1, epsilon)
            else:
                given = self.operands(node, given) if node.op_type in PRODUCTS else given
                result = OPERATORS[node.op_type](node, *given)
            values[node.output[0]] = result
        return values[self.output_name]


def _one_input(model: ModelProto) -> str:
    stored = {tensor.name for tensor in model.graph.initializer}
    names = [entry.name for entry in model.graph.input if entry.name not in stored]
    if len(names) != 1 or len(model.graph.output) != 1:
        raise ValueError(f"expected one input and one output, got {len(names)} and {len(model.graph.output)}")
    return names[0]


def _input_shape(model: ModelProto) -> tuple[int | None, ...]:
    """Of the one input; None where a dimension is symbolic."""
    name = _one_input(model)
    (entry,) = (entry for entry in model.graph.input if entry.name == name)
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in entry.type.tensor_type.shape.dim)


def _check(node: NodeProto, opset: int) -> None:
    """ValueError for an operator, or an attribute other than its neutral value, that is not honoured here."""
    if node.op_type not in HONOURED:
        raise ValueError(f"cannot train a graph with operator {node.op_type}; known are {', '.join(OPERATORS)}")
    if node.op_type == "Softmax" and opset < 13:
        raise ValueError(
            f"cannot train node {node_title(node)!r}: Softmax is honoured from operator set 13, got {opset}"
        )
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
    least = attribute(node, "min", -math.inf) if low is None else low.item()  # attributes up to operator set 10
    most = attribute(node, "max", math.inf) if high is None else high.item()
    return F.hardtanh(x, least, most)  # three times as fast as torch.clamp between tensors


def _hard_sigmoid(node: NodeProto, x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(_number(node, "alpha", 0.2) * x + _number(node, "beta", 0.5), 0, 1)


def _max_pool(node: NodeProto, x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(_padded(node, x, -math.inf), attribute(node, "kernel_shape"), attribute(node, "strides") or 1,
                        0, attribute(node, "dilations") or 1)  # fmt: skip


def _flatten(node: NodeProto, x: torch.Tensor) -> torch.Tensor:
    return x.reshape(math.prod(x.shape[: attribute(node, "axis", 1)]), -1)


def _reshape(node: NodeProto, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


def _mean(node: NodeProto, x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
    over = attribute(node, "axes") if axes is None else axes.tolist()  # an attribute up to operator set 17
    return x.mean(over or list(range(x.dim())), keepdim=bool(attribute(node, "keepdims", 1)))


def _layer_norm(
    node: NodeProto, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor | None = None
) -> torch.Tensor:
    shape = x.shape[attribute(node, "axis", -1) :]
    scale, shift = scale.expand(shape), None if shift is None else shift.expand(shape)
    return F.layer_norm(x, shape, scale, shift, _number(node, "epsilon", 1e-5))


OPERATORS: Mapping[str, Callable[..., torch.Tensor]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": lambda node, x: F.relu(x),
    "Clip": _clip,
    "Sigmoid": lambda node, x: torch.sigmoid(x),
    "HardSwish": lambda node, x: F.hardswish(x),
    "HardSigmoid": _hard_sigmoid,
    "Add": lambda node, a, b: a + b,
    "Sub": lambda node, a, b: a - b,
    "Mul": lambda node, a, b: a * b,
    "Div": lambda node, a, b: a / b,
    "Pow": lambda node, a, b: a**b,
    "Sqrt": lambda node, x: torch.sqrt(x),
    "Erf": lambda node, x: torch.erf(x),
    "Tanh": lambda node, x: torch.tanh(x),
    "Gelu": lambda node, x: F.gelu(x, approximate=attribute(node, "approximate", "none")),
    "MatMul": lambda node, a, b: a @ b,
    "Softmax": lambda node, x: torch.softmax(x, attribute(node, "axis", -1)),
    "LayerNormalization": _layer_norm,
    "ReduceMean": _mean,
    "Transpose": lambda node, x: x.permute(attribute(node, "perm") or list(range(x.dim()))[::-1]),
    "Reshape": _reshape,
    "Concat": lambda node, *xs: torch.cat(xs, attribute(node, "axis")),
    "MaxPool": _max_pool,
    "GlobalAveragePool": lambda node, x: x.mean((2, 3), keepdim=True),
    "Flatten": _flatten,
    "SpaceToDepth": _blocks,
    "Identity": lambda node, x: x,
    "Dropout": lambda node, x, *_: x,
}
"""Operators that `GraphModule` runs."""

PRODUCTS = frozenset(("Conv", "Gemm", "MatMul"))
"""Operators that multiply and accumulate."""

HONOURED = dict.fromkeys(OPERATORS, frozenset[str]()) | {
    "Constant": frozenset(("value", "value_float", "value_floats", "value_int", "value_ints")),
    "BatchNormalization": frozenset(("epsilon", "momentum")),
    "Conv": frozenset(("dilations", "group", "kernel_shape", "pads", "strides")),
    "Gemm": frozenset(("alpha", "beta", "transB")),
    "Clip": frozenset(("min", "max")),
    "HardSigmoid": frozenset(("alpha", "beta")),
    "Concat": frozenset(("axis",)),
    "Gelu": frozenset(("approximate",)),
    "Softmax": frozenset(("axis",)),
    "LayerNormalization": frozenset(("axis", "epsilon")),
    "ReduceMean": frozenset(("axes", "keepdims")),
    "Transpose": frozenset(("perm",)),
    "MaxPool": frozenset(("dilations", "kernel_shape", "pads", "strides")),
    "Flatten": frozenset(("axis",)),
    "SpaceToDepth": frozenset(("blocksize",)),
    "Dropout": frozenset(("ratio", "seed")),
}
"""Attributes that are honoured, by operator."""

NEUTRAL = {
    "allowzero": (0,), "auto_pad": ("NOTSET", ""), "ceil_mode": (0,), "noop_with_empty_axes": (0,), "stash_type": (1,),
    "storage_order": (0,), "training_mode": (0,), "transA": (0,),
}  # fmt: skip
"""Values of other attributes that change nothing."""
