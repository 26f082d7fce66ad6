"""MAC operators of ONNX as loop nests of the normal form: convolutions and matrix products.

A 3-D convolution is a 2-D one if along one axis no two outputs read the same input (a kernel of one tap, as in
(2+1)-D networks; a stride as long as the kernel, as in patches of video; a single output): outputs along that axis
are images of a batch, taps are channels, and MACs and traffic are exact.  Where windows overlap on every axis, the
depth is folded all the same: MACs and weights are exact, but an input slice counts once for every output slice that
reads it, so input traffic and its bound are too high by up to the kernel's depth / stride.
Biases cost one vector operation an output.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import NamedTuple, TypedDict

from onnx import NodeProto

from dse.networks.errors import NetworkError
from dse.networks.layers import Layer, MacLayer, VectorLayer, distinct_positions
from dse.networks.onnx_file.graph import attribute
from dse.networks.operators.reader import Reader, title


class _Axis(NamedTuple):
    """What a nest holds of one spatial axis; the defaults are an axis that is not there."""

    outputs: int = 1
    taps: int = 1
    size: int = 0
    stride: int = 1
    dilation: int = 1
    pad: int = 0


class _Weight(TypedDict):
    """The fields of `MacLayer` that say what the second operand is."""

    static_weights: bool
    weight: str
    weight_bits: int


def _filled(node: NodeProto, name: str, count: int) -> list[int]:
    return list(attribute(node, name) or [1] * count)


def _pads_before(node: NodeProto, sizes: tuple[int, ...], spans: list[int], strides: list[int]) -> list[int]:
    """Padding before each spatial axis [elements]; what comes after follows from the output's size."""
    mode = attribute(node, "auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = [max(0, (-(-s // t) - 1) * t + span - s) for s, t, span in zip(sizes, strides, spans, strict=True)]
        return [pad // 2 if mode == "SAME_UPPER" else pad - pad // 2 for pad in total]
    pads = None if mode == "VALID" else attribute(node, "pads")
    return list(pads[: len(sizes)]) if pads else [0] * len(sizes)


def _folded_axis(node: NodeProto, kernel: tuple[int, ...], exact: list[bool]) -> int | None:
    """The axis of a 3-D kernel that becomes images and channels: the first that is exact, else the depth."""
    if not 1 <= len(kernel) <= 3:
        raise NetworkError(f"{title(node)}: {len(kernel)}-D convolution is not supported; 1-D, 2-D and 3-D are")
    if len(kernel) < 3:
        return None
    return exact.index(True) if any(exact) else 0


def _weight(reader: Reader, name: str) -> _Weight:
    constant = reader.constant(name)
    root = "" if constant is None else constant.root
    return {"static_weights": constant is not None, "weight": root, "weight_bits": reader.weight_bits(name)}


def convolution(reader: Reader, node: NodeProto, weight: int = 1, bias: int = 2) -> list[Layer]:
    """``Conv`` and its quantised kin; `weight` and `bias` are positions among the node's inputs."""
    x, w = node.input[0], node.input[weight]
    x_dims, w_dims = reader.shape(node, x), reader.shape(node, w)
    y_dims = reader.shape(node, node.output[0])
    groups, kernel, sizes = attribute(node, "group", 1), w_dims[2:], x_dims[2:]
    strides, dilations = _filled(node, "strides", len(kernel)), _filled(node, "dilations", len(kernel))
    _check_channels(node, x_dims, w_dims[1] * groups, groups, w_dims)
    spans = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
    begin = _pads_before(node, sizes, spans, strides)
    before, after = reader.paddings.get(x, ((0,) * len(sizes), (0,) * len(sizes)))
    real = [size - front - back for size, front, back in zip(sizes, before, after, strict=True)]
    pads = [max(0, pad + front) for pad, front in zip(begin, before, strict=True)]
    outputs = y_dims[2:]
    exact = [
        pad == 0 and (o - 1) * stride + span <= size and distinct_positions(o, taps, stride, step) == o * taps
        for pad, o, stride, span, size, taps, step in zip(
            pads, outputs, strides, spans, real, kernel, dilations, strict=True
        )
    ]
    folded = _folded_axis(node, kernel, exact)
    images, taps = (1, 1) if folded is None else (outputs[folded], kernel[folded])
    has_bias = len(node.input) > bias and bool(node.input[bias])
    reader.count_parameters(w, *(node.input[bias : bias + 1] if has_bias else ()))
    axes = [
        _Axis(outputs[index], kernel[index], real[index], strides[index], dilations[index], pads[index])
        for index in range(len(kernel))
        if index != folded
    ]
    ox, oy = axes[-1], axes[-2] if len(axes) > 1 else _Axis()
    layer = MacLayer(
        name=reader.layer_name(node), operator=node.op_type, B=x_dims[0] * images, G=groups, K=w_dims[0] // groups,
        C=w_dims[1] * taps, OY=oy.outputs, OX=ox.outputs, FY=oy.taps, FX=ox.taps,
        stride_y=oy.stride, stride_x=ox.stride, dilation_y=oy.dilation, dilation_x=ox.dilation,
        pad_y=oy.pad, pad_x=ox.pad, IY=oy.size, IX=ox.size, **_weight(reader, w),
        vector_operations=_output_operations(node, math.prod(y_dims), has_bias),
        inputs=_operands(reader, x, w), output=reader.tensor(node.output[0]),
    )  # fmt: skip
    return [layer]


def _check_channels(
    node: NodeProto, x_dims: tuple[int, ...], channels: int, groups: int, w_dims: tuple[int, ...]
) -> None:
    """Refuse weights for other `channels` than the input has, or whose filters the groups do not divide."""
    if x_dims[1] != channels or w_dims[0] % groups:
        raise NetworkError(
            f"{title(node)}: {x_dims[1]} input channels and {groups} group(s) do not fit weights of shape {w_dims}"
        )


def _operands(reader: Reader, *names: str) -> tuple[str, ...]:
    return tuple(reader.tensor(name) for name in names if reader.constant(name) is None)


def _output_operations(node: NodeProto, elements: int, has_bias: bool) -> int:
    """Operations on the way out: the bias, and the rescaling of an operator that quantises its result."""
    return elements * (has_bias + node.op_type.startswith("QLinear"))


def transposed_convolution(reader: Reader, node: NodeProto) -> list[Layer]:
    """``ConvTranspose`` as ordinary convolutions over the input, one per kind of output phase.

    With stride s the outputs fall into s phases per axis, and each phase reads its own subset of the filter's
    taps: an ordinary stride-1 convolution.  Phases with equal numbers of taps run together as output channels,
    so a kernel that is a multiple of the stride is one layer of ``K = M/g s_y s_x``, ``F = k/s``, and no other
    kernel needs more than four.  Each phase has as many outputs as the input has pixels: the MACs are
    ``inputs x kernel x M/g`` exactly (zeros between the pixels are never multiplied).
    """
    x, w, y = node.input[0], node.input[1], node.output[0]
    x_dims, w_dims, y_dims = reader.shape(node, x), reader.shape(node, w), reader.shape(node, y)
    groups, kernel = attribute(node, "group", 1), w_dims[2:]
    _check_channels(node, x_dims, w_dims[0], groups, w_dims)
    has_bias = len(node.input) > 2 and bool(node.input[2])
    reader.count_parameters(w, *node.input[2:3])
    strides, dilations = _filled(node, "strides", len(kernel)), _filled(node, "dilations", len(kernel))
    kinds = [_phases(*axis) for axis in zip(kernel, strides, dilations, strict=True)]
    folded = _folded_axis(node, kernel, [max(kind) == 1 for kind in kinds])
    images, deep = (1, {1: 1}) if folded is None else (x_dims[2:][folded], kinds[folded])
    steps = [dilation // math.gcd(dilation, stride) for dilation, stride in zip(dilations, strides, strict=True)]
    kept = [index for index in range(len(kernel)) if index != folded]
    kinds = [{1: 1}, *(kinds[index] for index in kept)][-2:]
    step_y, step_x = [1, *(steps[index] for index in kept)][-2:]
    rows, columns = [1, *(x_dims[2:][index] for index in kept)][-2:]
    layers: list[Layer] = []
    several = len(deep) * len(kinds[0]) * len(kinds[1]) > 1
    for (taps_z, count_z), (taps_y, count_y), (taps_x, count_x) in product(*(kind.items() for kind in (deep, *kinds))):
        taps = f"{taps_y}x{taps_x}" if folded is None else f"{taps_z}x{taps_y}x{taps_x}"
        suffix = f"/{taps}" if several else ""
        part = f"{y}{suffix}"
        layer = MacLayer(
            name=reader.layer_name(node, suffix), operator=node.op_type, B=x_dims[0] * images, G=groups,
            K=w_dims[1] * count_z * count_y * count_x, C=x_dims[1] // groups * taps_z, OY=rows, OX=columns,
            FY=taps_y, FX=taps_x, dilation_y=step_y, dilation_x=step_x, IY=rows, IX=columns,
            pad_y=(taps_y - 1) * step_y // 2, pad_x=(taps_x - 1) * step_x // 2, **_weight(reader, w),
            inputs=_operands(reader, x, w), output=part if several else reader.tensor(y),
        )  # fmt: skip
        layers.append(replace(layer, vector_operations=_output_operations(node, layer.output_elements, has_bias)))
        reader.sizes.setdefault(layer.output, layer.output_elements if several else math.prod(y_dims))
    if several:
        parts = tuple(layer.output for layer in layers)
        layers.append(join(reader.layer_name(node, "/join"), parts, reader.tensor(y)))
    return layers


def deformable_convolution(reader: Reader, node: NodeProto) -> list[Layer]:
    """``DeformConv``: the vector unit samples the input where the offsets say, then a product of the samples.

    A sample takes four taps, each multiplied and added, and is scaled where there is a mask.
    """
    x, w, offset, bias, mask = [*node.input, "", ""][:5]
    x_dims, w_dims, y_dims = reader.shape(node, x), reader.shape(node, w), reader.shape(node, node.output[0])
    groups, taps, pixels = attribute(node, "group", 1), math.prod(w_dims[2:]), math.prod(y_dims[2:])
    _check_channels(node, x_dims, w_dims[1] * groups, groups, w_dims)
    per_tap = attribute(node, "offset_group", 1)
    for name, count in ((offset, (len(w_dims) - 2) * per_tap * taps), (mask, per_tap * taps)):
        wanted = (x_dims[0], count, *y_dims[2:])
        if name and reader.shape(node, name) != wanted:
            raise NetworkError(f"{title(node)}: {name!r} has shape {reader.shape(node, name)}, not {wanted}")
    samples, elements = f"{node.output[0]}/samples", x_dims[0] * x_dims[1] * taps * pixels
    reader.sizes[samples] = elements
    reader.count_parameters(w, bias)
    reads = [name for name in (x, offset, mask) if name and reader.constant(name) is None]
    sample = VectorLayer(
        reader.layer_name(node, "/samples"), node.op_type, operations=elements * (8 + bool(mask)),
        input_elements=sum(math.prod(reader.shape(node, name)) for name in reads), output_elements=elements,
        inputs=tuple(dict.fromkeys(map(reader.tensor, reads))), output=samples,
    )  # fmt: skip
    layer = MacLayer(
        name=reader.layer_name(node), operator=node.op_type, B=x_dims[0], G=groups, K=w_dims[0] // groups,
        C=w_dims[1] * taps, OX=pixels, **_weight(reader, w),
        vector_operations=_output_operations(node, math.prod(y_dims), bool(bias)),
        inputs=(samples, *_operands(reader, w)), output=reader.tensor(node.output[0]),
    )  # fmt: skip
    return [sample, layer]


def join(name: str, parts: tuple[str, ...], whole: str) -> VectorLayer:
    """Parts that their producers write side by side into one tensor: an edge that costs nothing."""
    return VectorLayer(name, "Concat", operations=0, input_elements=0, output_elements=0, inputs=parts, output=whole)


def _phases(taps: int, stride: int, dilation: int) -> dict[int, int]:
    """Taps per phase of a transposed convolution along one axis -> number of phases that have so many."""
    per_phase = Counter(tap * dilation % stride for tap in range(taps))
    return dict(Counter(per_phase.values()))


def gemm(reader: Reader, node: NodeProto) -> list[Layer]:
    """``Gemm``: ``A' B' + C`` with optional transposes."""
    a_dims, b_dims = reader.shape(node, node.input[0]), reader.shape(node, node.input[1])
    if attribute(node, "transA", 0):
        a_dims = a_dims[::-1]
    if attribute(node, "transB", 0):
        b_dims = b_dims[::-1]
    bias = node.input[2] if len(node.input) > 2 else ""
    reader.count_parameters(bias)
    return _matrix_product(reader, node, node.input[0], node.input[1], a_dims, b_dims, bool(bias))


def matmul(reader: Reader, node: NodeProto, second: int = 1) -> list[Layer]:
    """``MatMul`` with numpy's rules for vectors and batches, and its quantised kin."""
    a, b = node.input[0], node.input[second]
    a_dims, b_dims = reader.shape(node, a), reader.shape(node, b)
    a_dims = (1, *a_dims) if len(a_dims) == 1 else a_dims
    b_dims = (*b_dims, 1) if len(b_dims) == 1 else b_dims
    return _matrix_product(reader, node, a, b, a_dims, b_dims, has_bias=False)


def _matrix_product(
    reader: Reader, node: NodeProto, a: str, b: str, a_dims: tuple[int, ...], b_dims: tuple[int, ...], has_bias: bool
) -> list[Layer]:
    """``[.., M, C] x [.., C, N]``: leading axes that only operand I has are rows, the others are groups.

    Operand W is the constant one, else the second; where only the first is constant (or only the second
    has leading axes) the product is taken transposed: ``(A B)' = B' A'``.
    """
    rank = max(len(a_dims), len(b_dims))
    a_dims, b_dims = (1,) * (rank - len(a_dims)) + a_dims, (1,) * (rank - len(b_dims)) + b_dims
    pairs = list(zip(a_dims[:-2], b_dims[:-2], strict=True))
    if a_dims[-1] != b_dims[-2] or any(one != other and 1 not in (one, other) for one, other in pairs):
        raise NetworkError(f"{title(node)}: shapes {a_dims} and {b_dims} cannot be multiplied")
    rows, depth, columns = a_dims[-2], a_dims[-1], b_dims[-1]
    a_constant, b_constant = reader.constant(a) is not None, reader.constant(b) is not None
    b_only = math.prod(b_dims[:-2]) > 1 and math.prod(a_dims[:-2]) == 1
    if (a_constant and not b_constant) or (b_only and a_constant == b_constant):
        a, b, rows, columns = b, a, columns, rows
        pairs = [(one, other) for other, one in pairs]
    groups = math.prod(other for _, other in pairs)
    rows *= math.prod(one for one, other in pairs if other == 1)
    operations = _output_operations(node, groups * rows * columns, has_bias)
    return [product_layer(reader, node, (a, b), (groups, rows, depth, columns), operations)]


def product_layer(
    reader: Reader,
    node: NodeProto,
    operands: tuple[str, str],
    sizes: tuple[int, int, int, int],
    operations: int = 0,
    suffix: str = "",
    output: str = "",
) -> MacLayer:
    """A product of `operands` I and W with `sizes` (groups, rows, depth, columns); a constant W counts as parameter."""
    groups, rows, depth, columns = sizes
    reader.count_parameters(operands[1])
    return MacLayer(
        name=reader.layer_name(node, suffix), operator=node.op_type, G=groups, K=columns, C=depth, OX=rows,
        **_weight(reader, operands[1]), vector_operations=operations, inputs=_operands(reader, *operands),
        output=output or reader.tensor(node.output[0]),
    )  # fmt: skip


UNSUPPORTED = frozenset(
    "LinearAttention CausalConvWithState DFT STFT Det "
    "LinearClassifier LinearRegressor SVMClassifier SVMRegressor".split()
)
"""MAC operators of the standard that have no conversion (yet): an error, never a silent zero."""

MAC_WORDS = (
    *("conv", "gemm", "matmul", "attention", "lstm", "gru", "rnn", "linear", "einsum", "fft", "moe", "proj", "cdist"),
    *("inverse", "mamba", "deltanet", "hyperconnection", "engramgate", "gatedadd", "gatedrelativeposition"),
    *("epcontext", "snpe"),  # a compiled network as one operator
)
"""A vendor operator with one of these in its name does MACs."""

NO_MAC_WORDS = ("quantizelinear", "qlinear", "gemma")
"""Parts of the names of vendor operators that hold one of the words above by chance."""


def is_unsupported_mac(node: NodeProto, standard: bool) -> bool:
    """True for an operator that multiplies and accumulates but has no conversion here."""
    if standard:
        return node.op_type in UNSUPPORTED
    name = node.op_type.lower()
    for word in NO_MAC_WORDS:
        name = name.replace(word, "")
    return node.op_type in UNSUPPORTED or any(word in name for word in MAC_WORDS)
