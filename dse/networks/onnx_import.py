"""From an ONNX file to a `Network`: operators become MAC and vector layers with producer/consumer edges."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from onnx import ModelProto, NodeProto

from dse.networks.errors import NetworkError
from dse.networks.layers import Layer, Network
from dse.networks.onnx_file.graph import flatten, is_standard, node_title, read_model, subgraphs
from dse.networks.onnx_file.input_sizes import bind_inputs
from dse.networks.onnx_file.loops_and_branches import MAX_UNROLLED
from dse.networks.onnx_file.shapes import resolve
from dse.networks.onnx_file.vendor_operators import take_apart
from dse.networks.operators import mac_operators as mac
from dse.networks.operators.contractions import attention, einsum
from dse.networks.operators.fusion import fuse
from dse.networks.operators.reader import Reader, title
from dse.networks.operators.recurrent import recurrent
from dse.networks.operators.vector_operators import ELEMENTWISE, alias_of, vector_layers

logger = logging.getLogger("dse")

Converter = Callable[[Reader, NodeProto], list[Layer]]

CONVERTERS: dict[str, Converter] = {
    "Conv": mac.convolution,
    "ConvInteger": lambda reader, node: mac.convolution(reader, node, bias=len(node.input)),
    "QLinearConv": lambda reader, node: mac.convolution(reader, node, weight=3, bias=8),
    "ConvTranspose": mac.transposed_convolution,
    "DeformConv": mac.deformable_convolution,
    "Gemm": mac.gemm,
    "MatMul": mac.matmul,
    "MatMulInteger": mac.matmul,
    "QLinearMatMul": lambda reader, node: mac.matmul(reader, node, second=3),
    "Einsum": einsum,
    "Attention": attention,
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": recurrent,
}
"""Operators of the ONNX standard that do MACs, and what converts them."""


WEIGHT_PROPERTIES = ("weight_bits", "weight_sparsity")
"""Metadata properties of an ONNX model that tell of the weights of every layer that can have such (``weight_sparsity``
is ``2:4``), or with a colon of one (``weight_bits:conv1`` is ``4``): see `Network.with_weights`."""


def import_onnx(
    path: Path, batch: int | None = 1, dims: Mapping[str, int] | None = None, name: str = "", source: str = ""
) -> Network:
    """Read an ONNX file, with or without its weights, as a `Network`.

    Weights that are stored in 4 or 2 bits give their layers `MacLayer.weight_bits`.  Metadata properties of the model
    tell what types do not: `WEIGHT_PROPERTIES`.

    Parameters
    ----------
    path : the file; external weight files may be absent.
    batch : size of the batch dimension of every input [1]; None keeps what the file fixes.
    dims : sizes of other dynamic dimensions by symbol (``{"seq": 128}``) or by input and axis (``{"x.2": 640}``).
    name, source : of the network; by default the file's stem and its name.

    Raises
    ------
    NetworkError : one line that says what is wrong with the file or the sizes, and the fix.
    """
    return import_model(read_model(path), path, batch, dims, name, source)


def import_model(
    model: ModelProto,
    path: Path,
    batch: int | None = 1,
    dims: Mapping[str, int] | None = None,
    name: str = "",
    source: str = "",
) -> Network:
    """A graph in memory as the `Network` that its file at `path` would be; the graph is written over.

    The file need not exist: its name is that of the network, and its folder is where external constants are.
    """
    told = {entry.key: entry.value for entry in model.metadata_props}
    try:
        model, stored = flatten(model, path.parent)
        take_apart(model)
        rewritten = bind_inputs(model, batch, dims or {})
        graph = resolve(model, stored, (batch or 1) if rewritten else None, name or path.stem)
        reader = Reader(graph)
        layers = _layers(reader)
        if not layers:
            raise NetworkError("the graph computes constants or hands its inputs on: no layer is left to accelerate")
        sizes = _tensor_sizes(reader, layers)
        outputs = {reader.tensor(output) for output in graph.outputs}
        layers = fuse(layers, ELEMENTWISE, sizes, outputs)
        network = Network(
            name=name or path.stem,
            layers=layers,
            parameters=reader.parameters,
            tensor_elements=_tensor_sizes(reader, layers),
            source=source or path.name,
        )
        return _with_told_weights(network, told)
    except ValueError as error:  # ours, or a layer or network that refuses its numbers
        one_line = " ".join(str(error).split())
        raise NetworkError(f"{path.name}: {one_line}") from error


def _with_told_weights(network: Network, told: Mapping[str, str]) -> Network:
    """The network with what the metadata properties of its file tell of weights."""
    for key, value in told.items():
        name, _, layer = key.partition(":")
        if name not in WEIGHT_PROPERTIES:
            continue
        layers = [layer] if layer else None
        if name == "weight_sparsity":
            network = network.with_weights(layers, sparsity=value)
        elif value.isdigit():
            network = network.with_weights(layers, bits=int(value))
        else:
            raise NetworkError(f"metadata property {key}: expected a whole number of bits, such as 4, got {value!r}")
    return network


def _layers(reader: Reader) -> tuple[Layer, ...]:
    """Layers of all nodes in order, nothing fused yet; warns once about operators without a cost of their own."""
    layers: list[Layer] = []
    unknown: dict[str, int] = {}
    for node in reader.graph.nodes:
        _refuse_unsupported(reader, node)
        try:
            layers += _convert(reader, node, unknown)
        except (TypeError, IndexError, KeyError, AttributeError, ZeroDivisionError) as error:
            raise NetworkError(
                f"{title(node)} does not follow the definition of its operator; check the file with onnx.checker"
            ) from error
    if unknown:
        listed = ", ".join(f"{kind} ({count}x)" for kind, count in sorted(unknown.items()))
        logger.warning(
            "%s: no exact cost known for %s; taken as 1 operation per output element (per input element where the "
            "output's size depends on the data)", reader.graph.name, listed,
        )  # fmt: skip
    return tuple(layers)


def _convert(reader: Reader, node: NodeProto, unknown: dict[str, int]) -> list[Layer]:
    """The layers of one node: none if it is only another name for a tensor."""
    behind = alias_of(reader, node)
    if behind is not None:
        for output in node.output:
            reader.alias(output, behind)
        return []
    if is_standard(node) and node.op_type in CONVERTERS:
        return CONVERTERS[node.op_type](reader, node)
    return vector_layers(reader, node, unknown)


def _refuse_unsupported(reader: Reader, node: NodeProto) -> None:
    """Raise on a node whose MACs cannot be counted."""
    if mac.is_unsupported_mac(node, is_standard(node)):
        raise NetworkError(f"{title(node)}: this MAC operator is not supported; supported are {', '.join(CONVERTERS)}")
    inner = _first_mac_inside(node)
    if inner is None:
        return
    fix = f"only a {node.op_type} with a constant trip count and at most {MAX_UNROLLED} nodes when unrolled is read"
    decides = {"If": node.input[:1], "Loop": node.input[:2]}.get(node.op_type, ())
    inputs = sorted({name for tensor in decides if tensor for name in reader.choices_behind(tensor)})
    if inputs:
        given, flags = ", ".join(f"{name!r}: 1" for name in inputs), " ".join(f"--dim {name}=1" for name in inputs)
        fix = f"give dims={{{given}}} or {flags}, with the value that decides"
    elif node.op_type == "If":
        fix = "export one branch only"
    raise NetworkError(
        f"{title(node)}: holds MAC operator {node_title(inner)!r} ({inner.op_type}), and how often it runs is decided "
        f"while running; {fix}"
    )


def _first_mac_inside(node: NodeProto) -> NodeProto | None:
    """The first MAC operator in the graphs that `node` holds, however deep."""
    for graph in subgraphs(node):
        for inner in graph.node:
            if (is_standard(inner) and inner.op_type in CONVERTERS) or mac.is_unsupported_mac(
                inner, is_standard(inner)
            ):
                return inner
            deeper = _first_mac_inside(inner)
            if deeper is not None:
                return deeper
    return None


def _tensor_sizes(reader: Reader, layers: tuple[Layer, ...]) -> dict[str, int]:
    """Elements of every tensor that a layer names and whose size is known."""
    sizes: dict[str, int] = {}
    for layer in layers:
        for name in (*layer.inputs, getattr(layer, "fused_input", ""), layer.output):
            elements = reader.elements(name) if name else None
            if elements is not None:
                sizes[name] = elements
    return sizes
