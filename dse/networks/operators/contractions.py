"""``Einsum`` and ``Attention`` as matrix products with vector work around them.

An Einsum of several operands is taken pair by pair, from left to right.  An index that both operands of
a pair have is a group if the result keeps it, and the depth of the product if not.  An index that only one operand has,
and that nothing needs afterwards, is summed first.  A pair without depth that only scales is element-wise work, not
a product.

Attention is two products, ``Q K'`` and ``softmax(..) V``, per head of keys and values: query heads that share one are
rows of the same product (grouped-query attention).  Causal masks, windows and padding save no MACs here, as in exports
that write the same out in primitives.
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass, replace

from onnx import NodeProto

from dse.networks.errors import NetworkError
from dse.networks.layers import Layer, VectorLayer
from dse.networks.onnx_file.graph import attribute
from dse.networks.operators.mac_operators import join, product_layer
from dse.networks.operators.reader import Reader, title


@dataclass(frozen=True)
class _Term:
    """An operand of an Einsum: a tensor and the sizes of its indices, those of size 1 left out [elements]."""

    tensor: str
    sizes: dict[str, int]

    @property
    def elements(self) -> int:
        return math.prod(self.sizes.values())


def einsum_indices(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """Indices of every operand and of the result, one letter an axis; those behind ``...`` are capitals or digits.

    Raises ValueError on an equation that does not fit the ranks.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    result = right.replace("...", "")
    if not set(left.replace("...", "") + result) <= {*string.ascii_letters, ","} or "," in result:
        raise ValueError(f"equation {equation!r} holds more than letters, commas and one arrow")
    if len(set(result)) < len(result) or not set(result) <= set(left):
        raise ValueError(f"equation {equation!r}: each index of the result must be one of an operand, and come once")
    if len(terms) != len(ranks):
        raise ValueError(f"equation {equation!r} has {len(terms)} operand(s), the node {len(ranks)}")
    free = [letter for letter in string.ascii_letters + string.digits if letter not in equation]
    hidden = max([rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)])
    named = free[: max(0, hidden)]
    written = []
    for term, rank in zip(terms, ranks, strict=True):
        more = rank - len(term.replace("...", ""))
        if more < 0 or (more and "..." not in term):
            raise ValueError(f"equation {equation!r}: operand {term!r} does not fit a tensor of {rank} dimension(s)")
        written.append(term.replace("...", "".join(named[len(named) - more :])))
    if arrow:
        return written, right.replace("...", "".join(named))
    letters = "".join(terms).replace("...", "")
    once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
    return written, "".join([*(named if "..." in left else ()), *once])


def einsum(reader: Reader, node: NodeProto) -> list[Layer]:
    """Products, sums and element-wise work of an ``Einsum``; see the module's text for the rules."""
    shapes = [reader.shape(node, name) for name in node.input]
    try:
        indices, result = einsum_indices(attribute(node, "equation", ""), [len(shape) for shape in shapes])
        terms = [_term(name, letters, shape) for name, letters, shape in zip(node.input, indices, shapes, strict=True)]
        _check_extents(terms)
    except ValueError as error:
        raise NetworkError(f"{title(node)}: {error}") from None
    layers: list[Layer] = []
    first, *others = terms
    for step, second in enumerate(others, 1):
        kept = set(result).union(*(term.sizes for term in others[step:]))
        last = step == len(others)
        output = reader.tensor(node.output[0]) if last else f"{node.output[0]}/step {step}"
        suffix = "" if len(others) == 1 else f"/{step}"
        made, first = _pair(reader, node, first, second, kept, output, suffix)
        layers += made
    if not others:
        layers.append(_single(reader, node, first, set(result)))
    return layers


def _term(tensor: str, letters: str, shape: tuple[int, ...]) -> _Term:
    sizes: dict[str, int] = {}
    for letter, size in zip(letters, shape, strict=True):
        if sizes.setdefault(letter, size) not in (size, 1) and size != 1:
            raise ValueError(f"index {letter!r} has sizes {sizes[letter]} and {size} in one operand")
        sizes[letter] = max(size, sizes[letter])
    return _Term(tensor, {letter: size for letter, size in sizes.items() if size > 1})


def _check_extents(terms: list[_Term]) -> None:
    seen: dict[str, int] = {}
    for term in terms:
        for letter, size in term.sizes.items():
            if seen.setdefault(letter, size) != size:
                raise ValueError(f"index {letter!r} has sizes {seen[letter]} and {size}")


def _single(reader: Reader, node: NodeProto, term: _Term, kept: set[str]) -> Layer:
    """One operand: a sum over what the result drops, or numbers put in another order."""
    left = math.prod(size for letter, size in term.sizes.items() if letter in kept)
    operations = term.elements if left < term.elements else 0
    return _vector(reader, node, "", operations, (term,), left, reader.tensor(node.output[0]))


def _vector(
    reader: Reader, node: NodeProto, suffix: str, operations: int, terms: tuple[_Term, ...], elements: int, output: str
) -> VectorLayer:
    reads = [term for term in terms if reader.constant(term.tensor) is None]
    reader.count_parameters(*(term.tensor for term in terms))
    reader.sizes.setdefault(output, elements)
    return VectorLayer(
        reader.layer_name(node, suffix), node.op_type, operations=operations,
        input_elements=sum(term.elements for term in reads), output_elements=elements,
        weight_elements=sum(term.elements for term in terms) - sum(term.elements for term in reads),
        inputs=tuple(dict.fromkeys(reader.tensor(term.tensor) for term in reads)), output=output,
    )  # fmt: skip


def _pair(
    reader: Reader, node: NodeProto, a: _Term, b: _Term, kept: set[str], output: str, suffix: str
) -> tuple[list[Layer], _Term]:
    """The layers of one pair and the term that stands for their result."""
    layers: list[Layer] = []
    pair = []
    for letter, term, other in (("a", a, b), ("b", b, a)):
        needed = {index: size for index, size in term.sizes.items() if index in kept or index in other.sizes}
        if len(needed) < len(term.sizes):
            less = _Term(f"{output}/sum of {letter}", needed)
            name = f"{suffix}/sum_{letter}"
            layers.append(_vector(reader, node, name, term.elements, (term,), less.elements, less.tensor))
            term = less
        pair.append(term)
    a, b = pair
    if reader.constant(a.tensor) is not None and reader.constant(b.tensor) is None:
        a, b = b, a  # operand W is the constant one
    sizes = a.sizes | b.sizes
    groups = math.prod(size for index, size in sizes.items() if index in a.sizes and index in b.sizes and index in kept)
    depth = math.prod(size for index, size in sizes.items() if index not in kept)
    rows = math.prod(size for index, size in a.sizes.items() if index not in b.sizes)
    columns = math.prod(size for index, size in b.sizes.items() if index not in a.sizes)
    result = _Term(output, {index: size for index, size in sizes.items() if index in kept})
    if depth == 1 and 1 in (rows, columns):
        layers.append(_vector(reader, node, suffix, result.elements, (a, b), result.elements, output))
    else:
        reader.sizes.setdefault(output, result.elements)
        reader.count_parameters(a.tensor)
        size = (groups, rows, depth, columns)
        layers.append(product_layer(reader, node, (a.tensor, b.tensor), size, suffix=suffix, output=output))
    return layers, result


SOFTMAX_OPERATIONS = 5  # maximum, subtract, exp, sum, divide
SOFTCAP_OPERATIONS = 3  # divide, tanh, multiply


def attention(reader: Reader, node: NodeProto) -> list[Layer]:
    """``Attention`` (opset 23 on): scores, softmax, values; ``past_key`` and ``past_value`` lengthen K and V."""
    q, k, v, mask, past_k, past_v = [*node.input, "", "", ""][:6]
    if past_k and reader.is_empty(past_k):
        past_k = past_v = ""
    batch, heads, rows, width = _by_head(reader, node, q, "q_num_heads")
    k_dims, v_dims = _by_head(reader, node, k, "kv_num_heads"), _by_head(reader, node, v, "kv_num_heads")
    (_, kv_heads, new_tokens, _), value_width = k_dims, v_dims[3]
    if k_dims != (batch, kv_heads, new_tokens, width) or v_dims[:3] != k_dims[:3]:
        raise NetworkError(
            f"{title(node)}: keys {k_dims} and values {v_dims} (batch, heads, tokens, width) do not fit "
            f"queries {batch, heads, rows, width}"
        )
    if heads % kv_heads:
        raise NetworkError(f"{title(node)}: {heads} query heads do not share {kv_heads} heads of keys evenly")
    tokens = new_tokens + (reader.shape(node, past_k)[2] if past_k else 0)
    y, groups, queries = reader.tensor(node.output[0]), batch * kv_heads, rows * heads // kv_heads
    layers: list[Layer] = []
    if past_k:
        k = _with_past(reader, node, "key", (past_k, k), 1, groups * tokens * width, layers)
        v = _with_past(reader, node, "value", (past_v, v), 2, groups * tokens * value_width, layers)
    else:
        for new, present in zip((k, v), node.output[1:3], strict=False):
            if reader.constant(new) is None:
                reader.alias(present, new)
    elements = batch * heads * rows * tokens
    scores, shares = f"{y}/scores", f"{y}/shares"
    if len(node.output) > 3 and node.output[3]:
        scores = node.output[3]
    reader.sizes |= {scores: elements, shares: elements, y: batch * heads * rows * value_width}
    masked = bool(mask) + bool(attribute(node, "is_causal", 0))
    operations = elements * (1 + masked + SOFTCAP_OPERATIONS * bool(attribute(node, "softcap", 0.0)))
    of_scores = product_layer(
        reader, node, (q, k), (groups, queries, width, tokens), operations, suffix="/scores", output=scores
    )
    if mask and reader.constant(mask) is None:
        of_scores = replace(
            of_scores, fused_input=reader.tensor(mask), fused_input_elements=math.prod(reader.shape(node, mask))
        )
    softmax = VectorLayer(
        reader.layer_name(node, "/softmax"), "Softmax", operations=SOFTMAX_OPERATIONS * elements,
        input_elements=elements, output_elements=elements, inputs=(scores,), output=shares,
    )  # fmt: skip
    of_values = product_layer(
        reader, node, (shares, v), (groups, queries, tokens, value_width), suffix="/values", output=y
    )
    return [*layers, of_scores, softmax, of_values]


def _by_head(reader: Reader, node: NodeProto, tensor: str, heads: str) -> tuple[int, int, int, int]:
    """(batch, heads, tokens, width) of a tensor that has them so, or as (batch, tokens, heads x width)."""
    dims = reader.shape(node, tensor)
    if len(dims) == 4:
        return dims
    count = attribute(node, heads, 0)
    if len(dims) != 3 or count < 1 or dims[2] % count:
        raise NetworkError(f"{title(node)}: {heads}={count} does not fit tensor {tensor!r} of shape {dims}")
    return dims[0], count, dims[1], dims[2] // count


def _with_past(
    reader: Reader,
    node: NodeProto,
    what: str,
    parts: tuple[str, str],
    position: int,
    elements: int,
    layers: list[Layer],
) -> str:
    """Join old and new keys or values, under the name of the output that hands them out if there is one."""
    given = node.output[position] if len(node.output) > position else ""
    whole = given or f"{node.output[0]}/{what}s"
    reader.sizes[whole] = elements
    activations = tuple(reader.tensor(part) for part in parts if reader.constant(part) is None)
    layers.append(join(reader.layer_name(node, f"/{what}s"), activations, whole))
    return whole
