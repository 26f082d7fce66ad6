"""``Einsum`` and ``Attention`` of ONNX as the matrix products that they are."""

from __future__ import annotations

import math

from onnx import NodeProto

from dse.layers import Layer, MacLayer, VectorLayer
from dse.networks.errors import NetworkError
from dse.networks.mac_operators import matrix_product
from dse.networks.onnx_graph import attribute
from dse.networks.onnx_reader import Reader, title


def einsum(reader: Reader, node: NodeProto) -> list[Layer]:
    """``Einsum`` of one operand (a view or a sum) or two (a batch of matrix products).

    Of two operands: indices in both and in the output are groups, in both but not in the output the reduction, in one
    and in the output rows or columns; an index in one operand alone is summed before, one operation an element.
    """
    shapes = [reader.shape(node, name) for name in node.input]
    operands, result, sizes = _indices(node, shapes)
    reader.count_parameters(*node.input)
    outputs = math.prod(sizes[i] for i in result)
    if len(operands) == 1:
        read = math.prod(shapes[0])
        sums = read if set(operands[0]) - set(result) else 0
        (source,) = reader.activations(node) or ("",)
        inputs = (reader.tensor(source),) if source else ()
        name, output = reader.layer_name(node), reader.tensor(node.output[0])
        return [VectorLayer(name, "Einsum", sums, read, outputs, inputs=inputs, output=output)]
    if len(operands) > 2:
        raise NetworkError(
            f"{title(node)}: a product of {len(operands)} operands is not supported; write it as products of two"
        )
    if any(len(set(indices)) < len(indices) for indices in operands):
        raise NetworkError(f"{title(node)}: diagonals (an index twice in one operand) are not supported")
    a, b = (set(indices) for indices in operands)
    kept = set(result)

    def size(indices: set[str]) -> int:
        return math.prod(sizes[i] for i in indices)

    groups, depth = size(a & b & kept), size((a & b) - kept)
    rows, columns = size((a - b) & kept), size((b - a) & kept)
    layers = matrix_product(
        reader, node, node.input[0], node.input[1], (groups, rows, depth), (groups, depth, columns), has_bias=False
    )
    alone = [(node.input[0], a - b - kept), (node.input[1], b - a - kept)]
    sums = sum(math.prod(reader.shape(node, source)) for source, indices in alone if indices)
    if sums:
        name = reader.layer_name(node, "/sum")
        layers.insert(0, VectorLayer(name, "Einsum", sums, sums, 0, output=f"{node.output[0]}/sum"))
    return layers


def _indices(node: NodeProto, shapes: list[tuple[int, ...]]) -> tuple[list[list[str]], list[str], dict[str, int]]:
    """Indices of every operand and of the output, ellipses as indices of their own, and the size of each index."""
    text = attribute(node, "equation", b"")
    equation = (text.decode() if isinstance(text, bytes) else text).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise NetworkError(f"{title(node)}: equation {equation!r} has {len(terms)} operands, the node {len(shapes)}")
    ranks = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    spread = max((rank for term, rank in zip(terms, ranks, strict=True) if "..." in term), default=0)
    names = [f"...{i}" for i in range(spread)]

    def spelled(term: str, rank: int | None) -> list[str]:
        if "..." not in term:
            return list(term)
        head, tail = term.split("...")
        count = spread if rank is None else rank - len(head) - len(tail)
        return [*head, *names[len(names) - count :], *tail]

    operands = [spelled(term, len(shape)) for term, shape in zip(terms, shapes, strict=True)]
    sizes: dict[str, int] = {}
    for indices, shape in zip(operands, shapes, strict=True):
        if len(indices) != len(shape):
            raise NetworkError(f"{title(node)}: equation {equation!r} does not fit an operand of shape {shape}")
        for index, extent in zip(indices, shape, strict=True):
            if sizes.setdefault(index, extent) != extent and 1 not in (extent, sizes[index]):
                raise NetworkError(
                    f"{title(node)}: index {index!r} of {equation!r} is both {sizes[index]} and {extent}"
                )
            sizes[index] = max(sizes[index], extent)
    once = [i for i in sorted(sizes) if sum(indices.count(i) for indices in operands) == 1 and not i.startswith(".")]
    result = spelled(right, None) if arrow else [*names, *once]
    return operands, result, sizes


def attention(reader: Reader, node: NodeProto) -> list[Layer]:
    """``Attention`` (opset 23): scores, softmax, and the weighted sum of the values; masked scores count too.

    Query heads that share a head of keys and values (grouped queries) are rows of one product.  Keys and values seen
    before (``past_key``, ``past_value``) lengthen the sum.  Scale, mask and soft cap are an operation a score each.
    """
    q, k, v = node.input[:3]
    query, key, value = (reader.shape(node, name) for name in (q, k, v))
    if len(query) == 3:
        heads, shared = attribute(node, "q_num_heads", 0), attribute(node, "kv_num_heads", 0)
        if not heads or not shared:
            raise NetworkError(f"{title(node)}: operands of three dimensions need q_num_heads and kv_num_heads")
        query = (query[0], heads, query[1], query[2] // heads)
        key, value = ((x[0], shared, x[1], x[2] // shared) for x in (key, value))
    batch, heads, rows, width = query
    shared, seen = key[1], key[2]
    past = [name for name in node.input[4:6] if name]
    if past:
        seen += reader.shape(node, past[0])[2]
    if heads % shared:
        raise NetworkError(f"{title(node)}: {heads} query heads cannot share {shared} heads of keys and values")
    scores = batch * heads * rows * seen
    masked = bool(len(node.input) > 3 and node.input[3]) or bool(attribute(node, "is_causal", 0))
    capped = bool(attribute(node, "softcap", 0.0))
    y = node.output[0]
    softmax = f"{y}/softmax"
    product = {"G": batch * shared, "OX": heads // shared * rows, "static_weights": False}
    sources = [reader.tensor(name) for name in (q, k, v)]
    before = [reader.tensor(name) for name in past]
    name = reader.layer_name(node)
    products, weighted = (*sources[:2], *before[:1]), (softmax, sources[2], *before[1:])
    layers: list[Layer] = [
        MacLayer(
            f"{name}/scores", node.op_type, **product, K=seen, C=width, inputs=tuple(dict.fromkeys(products)),
            vector_operations=scores * (1 + masked + capped), output=f"{y}/scores",
        ),
        VectorLayer(
            f"{name}/softmax", "Softmax", 5 * scores, scores, scores, inputs=(f"{y}/scores",), output=softmax
        ),
        MacLayer(
            f"{name}/values", node.op_type, **product, K=value[3], C=seen, inputs=tuple(dict.fromkeys(weighted)),
            output=reader.tensor(y),
        ),
    ]  # fmt: skip
    reader.sizes[f"{y}/scores"] = reader.sizes[softmax] = scores
    for present, parts in zip(node.output[1:3], ((k, *past[:1]), (v, *past[1:])), strict=False):
        if present:
            reader.alias(present, parts[0])
    return layers
