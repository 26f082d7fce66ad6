"""Edits of mixers and transformers that keep every weight: parts side by side, and other numbers of heads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from onnx import NodeProto, numpy_helper

from dse.networks.onnx_file.graph import constant_tensor, node_title
from dse.tuning.channels import shapes_of
from dse.tuning.graph_copy import GraphCopy, meant

NORMS = ("LayerNormalization", "BatchNormalization", "InstanceNormalization")
"""Operators that begin a part of a residual network."""

MOVES = frozenset("Transpose Gather Split Slice Squeeze Mul Div Identity Cast Dropout Add Where".split())
"""Operators between the reshaping into heads and the products of attention."""


def side_by_side(graph: GraphCopy, name: str, _: int) -> Callable[[], None]:
    """``y = x + f(n(x)), z = y + g(m(y))`` as ``z = x + f(n(x)) + g(n(x))``: one norm, the parts beside each other.

    `name` is the second norm.  So are the parts of GPT-J and PaLM (Chowdhery et al., arXiv 2204.02311, section 2).
    """
    second = graph.named.get(name)
    if second is None or second.op_type not in NORMS:
        known = [title for title, node in graph.named.items() if node.op_type in NORMS]
        raise ValueError(f"the graph has no normalisation {name!r}{meant(name, known)}")
    after = second.input[0]
    add = graph.makers.get(after)
    readers = graph.readers.get(after, [])
    if add is None or add.op_type != "Add" or len(readers) != 2 or after in graph.outputs:
        raise ValueError(f"{name!r} does not follow a residual addition that one other addition reads")
    if not any(node.op_type == "Add" for node in readers if node is not second):
        raise ValueError(f"what {name!r} begins does not end in a residual addition")
    first = _norm_before(graph, add, second)
    if first is None:
        raise ValueError(f"no {second.op_type} begins the part before {name!r}")

    following = graph.readers.get(second.output[0], [])
    if any(second.output[0] not in reader.input for reader in following):
        raise ValueError(f"a branch reads what {name!r} makes")

    def make() -> None:
        for reader in following:
            for i, tensor in enumerate(reader.input):
                if tensor == second.output[0]:
                    reader.input[i] = first.output[0]
        graph.remove([second])

    return make


def _norm_before(graph: GraphCopy, add: NodeProto, second: NodeProto) -> NodeProto | None:
    """The norm that reads what the addition passes by: one of its inputs."""
    for tensor in add.input:
        for node in graph.readers.get(tensor, []):
            if node.op_type == second.op_type and node is not second:
                return node
    return None


def heads(graph: GraphCopy, name: str, value: int) -> Callable[[], None]:
    """Attention with another number of heads, as wide together as before; `name` is its softmax."""
    softmax = graph.named.get(name)
    if softmax is None or softmax.op_type != "Softmax":
        known = [title for title, node in graph.named.items() if node.op_type == "Softmax"]
        raise ValueError(f"the graph has no softmax {name!r}{meant(name, known)}")
    shape = shapes_of(graph.model).get(softmax.output[0]) or []
    if len(shape) != 4 or not shape[1]:
        raise ValueError(f"{name!r} is not a softmax over (batch, heads, queries, keys) of known heads")
    now = shape[1]
    scores = list(_makers(graph, softmax.input[0], "MatMul"))
    products = [*scores, *(node for node in _after(graph, softmax.output[0]) if node.op_type == "MatMul")]
    found: dict[str, tuple[NodeProto, int, int]] = {}
    for product in products:
        for tensor in product.input:
            for node in _makers(graph, tensor, "Reshape"):
                place = _place(graph, node, now)
                if place is not None:
                    found[node_title(node)] = node, *place
    if not found:
        raise ValueError(f"{name!r}: what it reads is not reshaped into heads by constants")
    widths = {now * width for _, _, width in found.values()}
    if value == now or any(width % value for width in widths):
        raise ValueError(f"{name!r}: {value} heads do not divide {sorted(widths)} channels, or are those")

    def make() -> None:
        for node, at, width in found.values():
            _rewrite(graph, node, at, (value, now * width // value))
        width = next(width for _, _, width in found.values())
        scaled = (softmax.input[0], *(tensor for product in scores for tensor in product.input))
        nodes = [node for tensor in scaled for node in _before(graph, tensor)]
        for node in {id(node): node for node in nodes}.values():  # queries and keys may be scaled by one node
            _rescale(graph, node, width, value / now)

    return make


def _makers(graph: GraphCopy, tensor: str, kind: str) -> Iterator[NodeProto]:
    """Nodes of a kind that make a tensor, seen through what only moves or scales it."""
    node = graph.makers.get(tensor)
    if node is None:
        return
    if node.op_type == kind:
        yield node
    elif node.op_type in MOVES:
        for name in node.input:
            yield from _makers(graph, name, kind)


def _after(graph: GraphCopy, tensor: str) -> Iterator[NodeProto]:
    for node in graph.readers.get(tensor, []):
        if node.op_type in ("Dropout", "Cast", "Identity"):
            yield from _after(graph, node.output[0])
        else:
            yield node


def _before(graph: GraphCopy, tensor: str) -> Iterator[NodeProto]:
    """What moves or scales a tensor, back to the products that it comes from."""
    node = graph.makers.get(tensor)
    if node is not None and (node.op_type in MOVES or node.op_type == "Reshape"):
        yield node
        for name in node.input:
            yield from _before(graph, name)


def _values(graph: GraphCopy, name: str) -> np.ndarray | None:
    """A small constant of the graph."""
    if name in graph.tensors and math.prod(graph.tensors[name].dims) <= 16:
        return numpy_helper.to_array(graph.tensors[name])
    node = graph.makers.get(name)
    tensor = constant_tensor(node) if node is not None and node.op_type == "Constant" else None
    return None if tensor is None else numpy_helper.to_array(tensor)


def _parts(graph: GraphCopy, node: NodeProto) -> list[int | None] | None:
    """Sizes that a `Reshape` asks for, None for one that is computed; None where nothing is known."""
    whole = _values(graph, node.input[1])
    if whole is not None:
        return [int(n) for n in whole.reshape(-1)]
    maker = graph.makers.get(node.input[1])
    if maker is None or maker.op_type != "Concat":
        return None
    found: list[int | None] = []
    for name in maker.input:
        source = graph.makers.get(name)
        inner = source.input[0] if source is not None and source.op_type == "Unsqueeze" else name
        value = _values(graph, inner)
        if value is not None and value.size != 1:
            return None
        found.append(None if value is None else int(value.reshape(-1)[0]))
    return found


def _place(graph: GraphCopy, node: NodeProto, now: int) -> tuple[int, int] | None:
    """Where a `Reshape` says heads and their width, one behind the other: the place, and the width."""
    parts = _parts(graph, node) or []
    for at, (number, width) in reversed(list(enumerate(itertools.pairwise(parts)))):  # q, k and v may stand before
        if number == now and width is not None and width > 0:
            return at, width
    return None


def _rewrite(graph: GraphCopy, node: NodeProto, at: int, sizes: tuple[int, int]) -> None:
    """Give a `Reshape` other heads of another width."""
    whole = _values(graph, node.input[1])
    name = graph.unused(f"{node_title(node)}/heads")
    if whole is not None:
        new = whole.reshape(-1).copy()
        new[at : at + 2] = sizes
        graph.graph.initializer.append(numpy_helper.from_array(new, name))
        node.input[1] = name
        return
    concat = graph.makers[node.input[1]]
    copy = NodeProto()
    copy.CopyFrom(concat)
    copy.name, copy.output[0] = name, name
    for i, size in enumerate(sizes):
        part = graph.unused(f"{name}/of {i}")
        graph.graph.initializer.append(numpy_helper.from_array(np.array([size], np.int64), part))
        copy.input[at + i] = part
    node.input[1] = copy.output[0]
    graph.insert_before(node, copy)


def _rescale(graph: GraphCopy, node: NodeProto, width: int, factor: float) -> None:
    """Keep a constant scale true for heads `factor` times as many: of scores, or its root, of queries and keys each."""
    for i, name in enumerate(node.input):
        value = _values(graph, name)
        if value is None or value.size != 1 or node.op_type not in ("Mul", "Div"):
            continue
        for power in (0.5, -0.5, 0.25, -0.25):
            if math.isclose(float(value.reshape(-1)[0]), width**power, rel_tol=1e-3):
                new = (value * factor**-power).astype(value.dtype)
                scale = graph.unused(f"{node_title(node)}/scale")
                graph.graph.initializer.append(numpy_helper.from_array(new, scale))
                node.input[i] = scale
                return
