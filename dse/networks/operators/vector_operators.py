"""Everything that is not multiply-accumulate: operation counts of the vector unit.

One operation is one scalar add, multiply, compare or table look-up in one lane (a function of one variable
is a look-up, whatever its formula, as in TPU v1's activation unit).  Operators that only move or re-address
data cost no operations; those that a compiler does by addressing alone (concatenation, slices, views) move
no elements either.
"""

from __future__ import annotations

import math

from onnx import NodeProto

from dse.networks.layers import Layer, VectorLayer
from dse.networks.onnx_file.graph import attribute, is_standard
from dse.networks.onnx_file.shapes import VIEWS
from dse.networks.operators.mac_operators import join
from dse.networks.operators.reader import Reader

LOOK_UPS = frozenset(
    "Relu LeakyRelu PRelu ThresholdedRelu Clip Sigmoid HardSigmoid HardSwish Swish Tanh Elu Selu Celu Gelu FastGelu "
    "QuickGelu Mish Softplus Softsign Shrink Erf Exp Log Sqrt Reciprocal Neg Abs Sign Floor Ceil Round Not IsNaN IsInf "
    "Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh BitwiseNot QLinearSigmoid QLinearLeakyRelu".split()
)
"""Functions of one variable: 1 operation per output element."""

BINARY = frozenset(
    "Add Sub Mul Div Mod Pow And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual Where BitShift BitwiseAnd "
    "BitwiseOr BitwiseXor BiasAdd BiasGelu QLinearAdd QLinearMul".split()
)
"""Functions of two variables (and a selection): 1 operation per output element."""

VARIADIC = frozenset("Sum Max Min Mean".split())
"""As many operations per output element as inputs, less one."""

OPERATIONS_PER_OUTPUT = {
    "BatchNormalization": 2,  # scale and shift; mean and variance are constants at inference
    "DynamicQuantizeLinear": 4,  # minimum, maximum, scale, round
    "LayerNormalization": 7,  # mean, subtract, square, sum, times 1/sigma, scale, shift
    "InstanceNormalization": 7,  # the same seven
    "GroupNormalization": 7,  # the same seven
    "SkipLayerNormalization": 8,  # an addition before
    "RMSNormalization": 4,  # square, sum, times 1/rms, scale
    "SimplifiedLayerNormalization": 4,  # the same under the vendor's name
    "SkipSimplifiedLayerNormalization": 5,  # an addition before
    "MeanVarianceNormalization": 5,  # mean, subtract, square, sum, times 1/sigma
    "LpNormalization": 3,  # power, sum, divide
    "Softmax": 5,  # maximum, subtract, exp, sum, divide
    "QLinearSoftmax": 5,  # the same five
    "LogSoftmax": 5,  # maximum, subtract, exp, sum, subtract log
    "Hardmax": 2,  # maximum, compare
    "GridSample": 8,  # four taps, each multiplied and added
    "AffineGrid": 6,  # a 2x3 matrix times (x, y, 1)
    "RotaryEmbedding": 3,  # two multiplications and an addition
    "CumSum": 1,
    "CumProd": 1,
    "SwiGLU": 2,  # a look-up and a multiplication
    "OneHot": 1,
    "NonMaxSuppression": 1,  # depends on the data; at least one comparison per selected index
}
"""Operations per element of the first output [operations]."""

REDUCTIONS = frozenset(
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ArgMax ArgMin GlobalAveragePool GlobalMaxPool TopK".split()
)
"""1 operation per input element."""

REDUCTIONS_WITH_FUNCTION = frozenset(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare GlobalLpPool".split()
)
"""A function of each element first: 2 operations per input element."""

POOLS = frozenset("MaxPool AveragePool LpPool QLinearAveragePool".split())
"""1 operation per tap of the window and output element."""

MOVES = frozenset(
    "Pad Expand Tile Gather GatherElements GatherND Scatter ScatterElements ScatterND TensorScatter Compress NonZero "
    "Unique ReverseSequence Trilu MaxUnpool Range ConstantOfShape EyeLike Shape Size RandomNormal RandomNormalLike "
    "BitCast RandomUniform RandomUniformLike Bernoulli Multinomial CenterCropPad Col2Im".split()
)
"""Data movement: no operations, but every element is read and written."""

INTERPOLATION = {"nearest": 0, "linear": 2, "cubic": 4}
"""Taps per resized axis; each tap of the product of axes is a multiplication and an addition."""

ELEMENTWISE = LOOK_UPS | BINARY | VARIADIC | {"BatchNormalization"}
"""Operators that can ride on the output path of the MAC layer before them."""

TRAINABLE_INPUTS = {
    "BatchNormalization": (1, 2),  # scale and bias; running mean and variance are statistics
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "SimplifiedLayerNormalization": (1,),
    "SkipLayerNormalization": (2, 3, 4),
    "SkipSimplifiedLayerNormalization": (2, 3),
    "PRelu": (1,),
    "Gather": (0,),  # an embedding table
}
"""Positions of inputs that are parameters if constant."""

CONSTANT_OPERANDS = frozenset("Add Sub Mul Div Sum Concat Max Min BiasAdd BiasGelu QLinearAdd QLinearMul".split())
"""Operators whose floating-point constants of more than one element are parameters (biases, tokens, scales)."""


def operation_count(node: NodeProto, reader: Reader, outputs: int, inputs: int) -> int | None:
    """Operations of `node` given its output and input elements; None for an operator without an entry."""
    kind = node.op_type
    if kind in LOOK_UPS or kind in BINARY:
        return outputs
    if kind in VARIADIC:
        return outputs * max(1, len(node.input) - 1)
    if kind in OPERATIONS_PER_OUTPUT:
        return outputs * OPERATIONS_PER_OUTPUT[kind]
    if kind in REDUCTIONS:
        return inputs
    if kind in REDUCTIONS_WITH_FUNCTION:
        return 2 * inputs
    if kind in POOLS:
        return outputs * math.prod(attribute(node, "kernel_shape") or [1])
    if kind in MOVES:
        return 0
    if kind == "LRN":  # square, `size` additions, power, multiply
        return outputs * (attribute(node, "size", 5) + 3)
    if kind in ("Resize", "Upsample"):
        return outputs * _interpolation(node, reader)
    if kind == "RoiAlign":  # four taps, each multiplied and added, per sampling point (2 x 2 where adaptive)
        return outputs * 8 * (attribute(node, "sampling_ratio", 0) or 2) ** 2
    return None


def _interpolation(node: NodeProto, reader: Reader) -> int:
    """Operations per output element of a resize: two per tap over the axes whose size changes."""
    taps = INTERPOLATION.get(attribute(node, "mode", "nearest"), 2)
    before, after = reader.graph.shape(node.input[0]), reader.graph.shape(node.output[0])
    axes = 2 if before is None or after is None else sum(a != b for a, b in zip(before, after, strict=False))
    return 2 * taps**axes if taps else 0


def alias_of(reader: Reader, node: NodeProto) -> str | None:
    """The activation that all outputs of `node` are views or slices of, or None if it makes something new."""
    if not is_standard(node) or not node.input or reader.constant(node.input[0]) is not None:
        return None
    kind = node.op_type
    if kind in VIEWS or kind in ("Split", "Slice"):
        return node.input[0]
    shape = reader.graph.shape(node.input[0])
    if kind in ("Pad", "Expand", "Tile") and shape is not None and shape == reader.graph.shape(node.output[0]):
        return node.input[0]  # pads, expands or repeats nothing
    if kind == "Gather":
        index = reader.constant(node.input[1])
        return node.input[0] if index is not None and index.elements == 1 else None
    return node.input[0] if kind == "Pad" and _pads_convolutions_only(reader, node) else None


def _pads_convolutions_only(reader: Reader, node: NodeProto) -> bool:
    """True (and noted) if a ``Pad`` adds zeros to spatial axes of convolutions only: their own padding then."""
    dims = reader.graph.shape(node.input[0])
    given = reader.constant(node.input[1]) if len(node.input) > 1 else None
    pads = attribute(node, "pads") if given is None else given.values
    fill = reader.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    axes = len(node.input) > 3 and node.input[3]
    users = [user for user in reader.graph.nodes if node.output[0] in user.input]
    if dims is None or pads is None or axes or attribute(node, "mode", "constant") != "constant":
        return False
    if (fill is not None and (fill.values is None or fill.values.any())) or attribute(node, "value", 0.0):
        return False
    pads = [int(pad) for pad in pads]
    before, after = pads[: len(dims)], pads[len(dims) :]
    if min(pads) < 0 or any(before[:2]) or any(after[:2]) or node.output[0] in reader.graph.outputs or not users:
        return False
    if any(user.op_type != "Conv" or user.input[0] != node.output[0] for user in users):
        return False
    if node.input[0] in reader.paddings:
        return False
    reader.paddings[node.output[0]] = (tuple(before[2:]), tuple(after[2:]))
    return True


def vector_layers(reader: Reader, node: NodeProto, unknown: dict[str, int]) -> list[Layer]:
    """The vector layer of `node`; an operator without an entry is counted in `unknown`."""
    written = [name for name in node.output if name]
    if not written:
        return []
    activations = reader.activations(node)
    inputs = tuple(dict.fromkeys(reader.tensor(name) for name in activations))
    for name in written[1:]:
        reader.alias(name, written[0])
    _count_parameters(reader, node)
    name = reader.layer_name(node)
    if node.op_type in ("Concat", "QLinearConcat"):
        full = tuple(dict.fromkeys(reader.tensor(item) for item in activations if not reader.is_empty(item)))
        return [join(name, full, written[0])]
    sizes = {reader.tensor(item): reader.elements(item) for item in activations}
    input_elements = sum(size or 0 for size in sizes.values())
    output_elements = reader.elements(written[0])
    constants = [reader.constant(item) for item in node.input if item]
    weight_elements = sum(constant.elements for constant in constants if constant is not None)
    operations = operation_count(node, reader, output_elements or 0, input_elements)
    if operations is None or output_elements is None or None in sizes.values():
        unknown[node.op_type] = unknown.get(node.op_type, 0) + 1
        operations = (output_elements or input_elements) if operations is None else operations
    if node.op_type in MOVES or node.op_type in ("Resize", "Upsample"):
        input_elements = min(input_elements, output_elements or input_elements)  # only what arrives is read
        weight_elements = min(weight_elements, output_elements or 0)  # the rows looked up, not the table
    layer = VectorLayer(
        name, node.op_type, operations=operations, input_elements=input_elements, output_elements=output_elements or 0,
        weight_elements=weight_elements, inputs=inputs, output=written[0],
    )  # fmt: skip
    return [layer]


def _count_parameters(reader: Reader, node: NodeProto) -> None:
    for position in TRAINABLE_INPUTS.get(node.op_type, ()):
        for name in node.input[position : position + 1]:
            constant = reader.constant(name)
            if constant is not None and constant.is_float:
                reader.count_parameters(name)
    if node.op_type in CONSTANT_OPERANDS:
        for name in node.input:
            constant = reader.constant(name)
            if constant is not None and constant.is_float and constant.elements > 1:
                reader.count_parameters(name)
