"""An ONNX file as a flat graph in which every shape that can be known is known.

Only the `onnx` package is used and weights are never needed: external data are not opened, and large
constants are reduced to their type and dimensions, which also keeps shape inference (it serialises the
model) fast.  Steps: read, inline local functions, lift constants, sort the nodes, bind the inputs, then alternate
shape inference and constant folding (`dse.networks.onnx_file.shapes`) until nothing changes.  Shapes written
in the file are not trusted, since binding the inputs may change them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from dse.networks.errors import NetworkError

FOLD_LIMIT = 4096
"""Constants of up to this many elements keep their values [elements]; larger ones only their dimensions."""

FLOAT_TYPES = frozenset(
    number for name, number in TensorProto.DataType.items() if name.startswith(("FLOAT", "DOUBLE", "BFLOAT"))
)
STANDARD_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Constant:
    """A tensor that does not depend on the inputs of the network.

    Parameters
    ----------
    dims : its shape [elements per axis].
    element_type : a `TensorProto` data type.
    values : its values if they are small and known, otherwise None.
    root : name of the stored constant it is a view of (two views of one root share bytes).
    origins : names of all stored constants it was computed from.
    """

    dims: tuple[int, ...]
    element_type: int
    values: np.ndarray | None
    root: str
    origins: frozenset[str]

    @property
    def elements(self) -> int:
        """Size [elements]."""
        return math.prod(self.dims)

    @property
    def is_float(self) -> bool:
        """True for every floating-point type."""
        return self.element_type in FLOAT_TYPES


@dataclass
class OnnxGraph:
    """What `dse.networks.onnx_import` reads: nodes in order, shapes and constants by tensor name.

    `shapes` holds a tuple for each tensor of known rank, None standing for an unknown size.
    `stored` is the size of every constant as the file stores it [elements].
    """

    name: str
    nodes: list[NodeProto]
    shapes: dict[str, tuple[int | None, ...]]
    constants: dict[str, Constant]
    stored: dict[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    uses: dict[str, int] = field(default_factory=dict)

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """Shape of `tensor` if every size is known and positive, otherwise None."""
        dims = self.shapes.get(tensor)
        return dims if is_known(dims) and all(size > 0 for size in dims) else None


def is_known(dims: tuple[int | None, ...] | None) -> TypeGuard[tuple[int, ...]]:
    """True for a shape of which rank and every size are known."""
    return dims is not None and None not in dims


def attribute(node: NodeProto, name: str, default: object = None) -> Any:
    """Value of attribute `name` of `node`, of the type that the file gives it, or `default`."""
    for item in node.attribute:
        if item.name == name:
            value = onnx.helper.get_attribute_value(item)
            return value.decode(errors="replace") if isinstance(value, bytes) else value
    return default


@cache
def _may_hold_graphs(domain: str, operator: str) -> bool:
    """Whether the standard lets an operator have graphs as attributes, or does not know it."""
    kinds = (onnx.defs.OpSchema.AttrType.GRAPH, onnx.defs.OpSchema.AttrType.GRAPHS)
    known = domain in STANDARD_DOMAINS and onnx.defs.has(operator)
    return not known or any(each.type in kinds for each in onnx.defs.get_schema(operator).attributes.values())


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Graphs held by the attributes of `node` (branches, loop bodies)."""
    if not _may_hold_graphs(node.domain, node.op_type):
        return
    for item in node.attribute:
        if item.type == AttributeProto.GRAPH:
            yield item.g
        yield from item.graphs


def read_names(node: NodeProto) -> set[str]:
    """Names of all tensors that a node reads, nested graphs included."""
    names = set(node.input)
    for graph in subgraphs(node):
        names |= {entry.name for entry in graph.output}.union(*map(read_names, graph.node))
    return names


def outer_names(node: NodeProto) -> set[str]:
    """Names of the tensors that a node reads from the graph it stands in: not those made in its nested graphs."""
    names = set(node.input)
    for graph in subgraphs(node):
        made = {entry.name for entry in (*graph.input, *graph.initializer)}
        made |= {name for inner in graph.node for name in inner.output}
        names |= {entry.name for entry in graph.output}.union(*map(outer_names, graph.node)) - made
    return names - {""}


def captured_names(node: NodeProto) -> list[str]:
    """Names of the tensors that only the nested graphs of a node read from the graph it stands in, sorted."""
    if not _may_hold_graphs(node.domain, node.op_type):  # nearly all: editing a graph asks every node
        return []
    return sorted(outer_names(node) - set(node.input))


def sort_nodes(graph: GraphProto) -> None:
    """Put nodes behind those that they read from, nested graphs too; a graph in order stays as it is.

    Of the nodes that could be next, the first in the file is; what waits for a cycle comes last.
    """
    for node in graph.node:
        for inner in subgraphs(node):
            sort_nodes(inner)
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    waits = [{makers[name] for name in outer_names(node) if name in makers} for node in graph.node]
    if all(maker < number for number, makers_of in enumerate(waits) for maker in makers_of):
        return
    readers: dict[int, list[int]] = {}
    for number, makers_of in enumerate(waits):
        for maker in makers_of:
            readers.setdefault(maker, []).append(number)
    ready, order = [number for number, makers_of in enumerate(waits) if not makers_of], []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers.get(order[-1], ()):
            waits[reader].remove(order[-1])
            if not waits[reader]:
                heapq.heappush(ready, reader)
    order += sorted(set(range(len(graph.node))) - set(order))
    nodes = [NodeProto.FromString(graph.node[number].SerializeToString()) for number in order]
    del graph.node[:]
    graph.node.extend(nodes)


def is_standard(node: NodeProto) -> bool:
    """True for operators of the ONNX standard itself, False for those of a vendor's domain."""
    return node.domain in STANDARD_DOMAINS


def node_title(node: NodeProto) -> str:
    """Name of the node, or of its first output where exporters leave the name empty."""
    return node.name or next((name for name in node.output if name), node.op_type)


def read_model(path: Path) -> ModelProto:
    """Read an ONNX file without its external data; anything wrong is one `NetworkError`."""
    if path.is_dir():
        raise NetworkError(f"{path} is a directory; give the .onnx file inside it")
    if not path.exists():
        raise NetworkError(f"{path} does not exist; give the path of an .onnx file")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except OSError as error:
        raise NetworkError(f"{path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception:  # protobuf's DecodeError, and whatever else a parser says about foreign bytes
        raise NetworkError(f"{path} is not an ONNX file, or is truncated; export or copy it again") from None
    if not model.opset_import or not (model.graph.node or model.graph.input):
        raise NetworkError(f"{path} is not an ONNX file, or is truncated (no graph or no operator set in it)")
    if not model.graph.node:
        raise NetworkError(f"{path} holds a graph without operators: nothing to accelerate")
    try:
        damaged = not all(isinstance(text, str) for text in (*_texts(model.graph), *_texts_of_domains(model)))
    except UnicodeDecodeError:
        damaged = True
    if damaged:
        raise NetworkError(f"{path} is damaged: it holds names that are not text; export or copy it again")
    return model


def _texts_of_domains(model: ModelProto) -> Iterator[str]:
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
        for node in function.node:
            yield from _texts_of_node(node)
    for entry in model.opset_import:
        yield entry.domain


def _texts(graph: GraphProto) -> Iterator[str]:
    """Every name in a graph; the parser checks only on reading that they are text."""
    for entry in (*graph.input, *graph.output, *graph.value_info):
        yield entry.name
        for dim in entry.type.tensor_type.shape.dim:
            yield dim.dim_param
    for tensor in graph.initializer:
        yield tensor.name
        for item in tensor.external_data:
            yield from (item.key, item.value)
    for node in graph.node:
        yield from _texts_of_node(node)


def _texts_of_node(node: NodeProto) -> Iterator[str]:
    yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    for item in node.attribute:
        yield item.name
    for graph in subgraphs(node):
        yield from _texts(graph)


def flatten(model: ModelProto, directory: Path) -> tuple[ModelProto, dict[str, int]]:
    """Inline local functions, turn `Constant` nodes into initialisers, drop the bytes of large ones, sort the nodes.

    `directory` is where small external constants (shapes, mostly) are looked for; they may be absent.
    Returns the model and the size of every stored constant [elements].
    """
    if model.functions:
        import onnx.inliner

        try:
            model = onnx.inliner.inline_local_functions(model)
        except Exception as error:
            raise NetworkError(f"the local functions of the file cannot be inlined: {first_line(error)}") from None
    graph = model.graph
    imported = {entry.domain for entry in model.opset_import}
    for domain in sorted({node.domain for node in graph.node} - imported - set(STANDARD_DOMAINS)):
        model.opset_import.add(domain=domain, version=1)  # some writers forget to declare a vendor's domain
    model.ir_version = max(model.ir_version, 4)  # from 4 on initialisers need not be inputs
    stored = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    inputs = [entry for entry in graph.input if entry.name not in stored]
    del graph.input[:]
    graph.input.extend(inputs)
    for sparse in graph.sparse_initializer:
        graph.initializer.add(name=sparse.values.name, dims=sparse.dims, data_type=sparse.values.data_type)
    del graph.sparse_initializer[:]
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL and math.prod(tensor.dims) <= FOLD_LIMIT:
            _read_external(tensor, directory)
    lift_constants(model)
    sort_nodes(graph)
    return model, {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}


def lift_constants(model: ModelProto) -> bool:
    """Turn `Constant` nodes into initialisers and drop the bytes of large initialisers; True if any node went."""
    graph = model.graph
    kept = []
    for node in graph.node:
        if node.op_type != "Constant" or not is_standard(node):
            kept.append(node)
        elif (tensor := constant_tensor(node)) is not None:
            graph.initializer.append(tensor)
    changed = len(kept) < len(graph.node)
    if changed:
        kept = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(kept)
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > FOLD_LIMIT:
            drop_values(tensor)
    return changed


def _read_external(tensor: TensorProto, directory: Path) -> None:
    """Load the bytes of one external tensor where they exist; leave it as it is where they do not."""
    location = next((item.value for item in tensor.external_data if item.key == "location"), "")
    if not (directory / location).is_file():
        return
    try:
        load_external_data_for_tensor(tensor, str(directory))
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError):
        return
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def drop_values(tensor: TensorProto) -> None:
    """Keep name, type and dimensions of `tensor` only, in a form that shape inference accepts."""
    empty = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    empty.data_location = TensorProto.EXTERNAL
    empty.external_data.add(key="location", value="absent")
    tensor.CopyFrom(empty)


def constant_tensor(node: NodeProto) -> TensorProto | None:
    """The value of a `Constant` node as a named tensor; None for a string, which carries no numbers."""
    for item in node.attribute:
        if item.name == "value":
            tensor = TensorProto()
            tensor.CopyFrom(item.t)
        elif item.name == "sparse_value":
            tensor = TensorProto(dims=item.sparse_tensor.dims, data_type=item.sparse_tensor.values.data_type)
            drop_values(tensor)
        elif item.name in ("value_float", "value_floats"):
            tensor = numpy_helper.from_array(np.asarray(onnx.helper.get_attribute_value(item), np.float32))
        elif item.name in ("value_int", "value_ints"):
            tensor = numpy_helper.from_array(np.asarray(onnx.helper.get_attribute_value(item), np.int64))
        else:
            continue
        tensor.name = node.output[0]
        return tensor
    return None


def tensor_values(tensor: TensorProto) -> np.ndarray | None:
    """Values of a small stored tensor, or None where the bytes are absent or large."""
    if math.prod(tensor.dims) > FOLD_LIMIT or tensor.data_location == TensorProto.EXTERNAL:
        return None
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError):  # bytes do not fill the dimensions, unknown type: as if absent
        return None


def first_line(error: BaseException) -> str:
    """The first non-empty line of an exception's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
