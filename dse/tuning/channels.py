"""Which channels of an ONNX graph must change together, and changing them.

Every tensor's channels are a list of segments, each a variable: a convolution makes a new variable, element-wise
work passes it on, a residual addition makes two variables one (union-find), a concatenation puts segments behind
each other, a flattening repeats each channel.  What the rules do not know keeps its channels fixed, so that an
edit can be refused but never break the graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from dse.networks.onnx_file.graph import attribute, captured_names, constant_tensor, node_title

PASS = frozenset(
    "Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus Mish Gelu Clip Dropout Identity Cast "
    "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool LRN Exp Sqrt Abs Neg Erf Swish".split()
)
"""Operators that leave the channels of their first input as they are."""

NORMALISE = frozenset("BatchNormalization InstanceNormalization PRelu".split())
JOIN = frozenset("Add Sub Mul Div Max Min Sum Mean".split())
KEEP_VALUES = 4096
"""Initialisers of up to this many elements keep their values [elements]: shapes and scalars."""

Segment = tuple[int, int]
"""A variable and how many features each of its channels makes."""


@dataclass
class Use:
    """An axis of an initialiser whose length is the sum of segments, over `groups`."""

    tensor: str
    axis: int
    segments: tuple[Segment, ...]
    groups: int = 1


@dataclass
class Channels:
    """The channel variables of a graph.

    Attributes
    ----------
    size : channels of each variable [1].
    fixed : why a variable cannot change, by variable.
    multiple : a variable's size must be a multiple of this [1].
    uses : the axes of initialisers that follow.
    makers, readers : names of the convolutions and products that write or read a variable.
    grouped : names of depthwise convolutions by variable: their ``group`` follows the size.
    parent : union-find: a variable that each variable is tied to, itself where it stands for all of them (`root`).
    """

    size: dict[int, int] = field(default_factory=dict)
    fixed: dict[int, str] = field(default_factory=dict)
    multiple: dict[int, int] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    makers: dict[int, list[str]] = field(default_factory=dict)
    readers: dict[int, list[str]] = field(default_factory=dict)
    grouped: dict[int, list[str]] = field(default_factory=dict)
    parent: dict[int, int] = field(default_factory=dict)

    def new(self, size: int) -> tuple[Segment, ...]:
        """A new variable as the segments of a tensor."""
        number = len(self.parent)
        self.parent[number] = number
        self.size[number] = size
        return ((number, 1),)

    def root(self, number: int) -> int:
        """The variable that stands for all it is tied to."""
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def fix(self, segments: tuple[Segment, ...], why: str) -> None:
        """Forbid changes of these variables."""
        for number, _ in segments:
            self.fixed.setdefault(self.root(number), why)

    def tie(self, a: tuple[Segment, ...], b: tuple[Segment, ...], why: str) -> None:
        """Make two tensors' channels equal; where their segments differ, fix both."""
        same = len(a) == len(b) and all(
            self.size[self.root(x)] == self.size[self.root(y)] and m == n for (x, m), (y, n) in zip(a, b, strict=True)
        )
        if not same:
            self.fix((*a, *b), f"{why} joins channels of different structure")
            return
        for (x, _), (y, _) in zip(a, b, strict=True):
            self._union(self.root(x), self.root(y))

    def _union(self, x: int, y: int) -> None:
        if x == y:
            return
        self.parent[y] = x
        if y in self.fixed:
            self.fixed.setdefault(x, self.fixed[y])
        self.multiple[x] = math.lcm(self.multiple.get(x, 1), self.multiple.get(y, 1))
        for table in (self.makers, self.readers, self.grouped):
            table.setdefault(x, []).extend(table.pop(y, []))

    def note(self, table: dict[int, list[str]], segments: tuple[Segment, ...], name: str) -> None:
        """Add a node to `makers`, `readers` or `grouped` of every variable in `segments`."""
        for number, _ in segments:
            table.setdefault(self.root(number), []).append(name)

    def free(self) -> list[int]:
        """Variables that can change and that something makes."""
        roots = dict.fromkeys(self.root(number) for number in self.parent)
        return [x for x in roots if x not in self.fixed and self.makers.get(x)]

    def length(self, segments: tuple[Segment, ...], sizes: dict[int, int]) -> int:
        """Features of these segments when some variables have other `sizes` [1]."""
        return sum(sizes.get(self.root(x), self.size[self.root(x)]) * n for x, n in segments)


def set_attribute(node: NodeProto, name: str, value: int | float | str | Sequence[int]) -> None:
    """Set an attribute in place."""
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)
    node.attribute.append(helper.make_attribute(name, value))


def stripped(model: ModelProto) -> ModelProto:
    """A copy without the values of large initialisers and without noted shapes, fit for editing."""
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for tensor in copy.graph.initializer:
        if math.prod(tensor.dims) > KEEP_VALUES or tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(absent(tensor.name, tensor.dims, tensor.data_type))
    return copy


def absent(name: str, dims: Iterable[int], data_type: int) -> TensorProto:
    """An initialiser of known shape whose values are declared to be in a file that does not exist."""
    tensor = TensorProto(name=name, dims=dims, data_type=data_type, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.absent")
    return tensor


def resize_initializer(tensor: TensorProto, dims: list[int]) -> None:
    """Give an initialiser another shape; its values are dropped, since a tuned network is trained anew."""
    if list(tensor.dims) != dims:
        tensor.CopyFrom(absent(tensor.name, dims, tensor.data_type))


def shapes_of(model: ModelProto) -> dict[str, list[int | None]]:
    """Shapes of all tensors that shape inference finds; None for an unknown size.

    ValueError where the graph contradicts itself.
    """
    try:
        return _noted(shape_inference.infer_shapes(model, strict_mode=False, data_prop=True))
    except shape_inference.InferenceError as error:
        raise ValueError(f"the shapes of the graph contradict each other: {error}") from None


def _noted(inferred: ModelProto) -> dict[str, list[int | None]]:
    found = {}
    for entry in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        dims = entry.type.tensor_type.shape.dim
        found[entry.name] = [d.dim_value if d.HasField("dim_value") else None for d in dims]
    return found | {tensor.name: list(tensor.dims) for tensor in inferred.graph.initializer}


def channels_of(model: ModelProto) -> Channels:
    """The channel variables of a graph of the operators that convolutional networks have."""
    shapes, made = shapes_of(model), Channels()
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    small = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_location != TensorProto.EXTERNAL}
    small |= {node.output[0]: tensor for node in model.graph.node
              if node.op_type == "Constant" and (tensor := constant_tensor(node)) is not None}  # fmt: skip
    tensors: dict[str, tuple[Segment, ...]] = {}
    held: dict[str, NodeProto] = {}  # what an operator without a rule reads
    for entry in model.graph.input:
        dims = shapes.get(entry.name) or []
        if entry.name not in constants and len(dims) > 1 and dims[1]:
            tensors[entry.name] = made.new(dims[1])
            made.fix(tensors[entry.name], "it is an input of the network")
    for node in model.graph.node:
        captured = captured_names(node)
        for name in captured:
            made.fix(tensors.get(name, ()), f"a branch of {node_title(node)!r} ({node.op_type}) reads it")
        result = _through(node, made, tensors, shapes, constants)
        result = _moved(node, tensors, shapes, small) if result is None else result
        if result is None:
            for name in node.input:
                made.fix(tensors.get(name, ()), f"{node_title(node)!r} ({node.op_type}) needs it as it is")
            held |= dict.fromkeys([*node.input, *captured], node)
            for name in node.output:
                dims = shapes.get(name) or []
                if len(dims) > 1 and dims[1]:
                    tensors[name] = made.new(dims[1])
                    made.fix(tensors[name], f"{node_title(node)!r} ({node.op_type}) makes it")
        else:
            tensors[node.output[0]] = result
    for entry in model.graph.output:
        made.fix(tensors.get(entry.name, ()), "it is an output of the network")
    stored = {tensor.name for tensor in model.graph.initializer}
    shared: dict[tuple[str, int], Use] = {}
    for use in made.uses:
        if use.tensor not in stored:
            made.fix(use.segments, f"{use.tensor!r} is computed in the graph; fold constants before tuning")
        elif use.tensor in held:
            reader = held[use.tensor]
            made.fix(use.segments, f"{node_title(reader)!r} ({reader.op_type}) needs {use.tensor!r} as it is")
        first = shared.setdefault((use.tensor, use.axis), use)
        made.tie(first.segments, use.segments, f"{use.tensor!r}, which several operators share,")
        if first.groups != use.groups:
            made.fix((*first.segments, *use.segments), f"{use.tensor!r} is shared by operators of different groups")
    return made


def _through(
    node: NodeProto,
    made: Channels,
    tensors: dict[str, tuple[Segment, ...]],
    shapes: dict[str, list],
    constants: set[str],
) -> tuple[Segment, ...] | None:
    """Segments of a node's output; None where no rule knows."""
    kind, inputs = node.op_type, [name for name in node.input if name]
    first = tensors.get(inputs[0]) if inputs else None
    if kind in ("Conv", "ConvTranspose") and first is not None and inputs[1] in constants:
        return _convolution(node, made, first, shapes)
    if kind in ("Gemm", "MatMul") and first is not None and constants.issuperset(inputs[1:]):
        return _product(node, made, first, shapes)
    if kind in JOIN:
        return _join(node, made, tensors, shapes, constants)
    if first is None:
        return None
    if kind in PASS:
        return first
    if kind in NORMALISE:
        for name in inputs[1:]:
            if shapes.get(name) and shapes[name][0] == made.length(first, {}):
                made.uses.append(Use(name, 0, first))
        return first
    if kind == "Concat" and all(name in tensors for name in inputs):
        rank = len(shapes.get(inputs[0]) or ())
        if not rank:
            return None
        if attribute(node, "axis") % rank == 1:
            return tuple(segment for name in inputs for segment in tensors[name])
        for name in inputs[1:]:
            made.tie(first, tensors[name], f"concatenation {node_title(node)!r}")
        return first
    if kind == "SpaceToDepth":
        return first * attribute(node, "blocksize") ** 2
    if kind == "Flatten" and attribute(node, "axis", 1) == 1:
        space = (shapes.get(inputs[0]) or [None] * 3)[2:]
        if None in space:
            return None
        return tuple((number, n * math.prod(space)) for number, n in first)
    return None


def _moved(
    node: NodeProto, tensors: dict[str, tuple[Segment, ...]], shapes: dict[str, list], small: dict[str, TensorProto]
) -> tuple[Segment, ...] | None:
    """Segments behind a `Pad`, `Slice`, `ReduceMean` or `Resize` that leaves the channels alone; None for others."""
    first = tensors.get(node.input[0]) if node.input else None
    rank = len(shapes.get(node.input[0]) or ()) if node.input else 0
    if first is None or not rank:
        return None

    def values(which: int) -> list | None:
        given = node.input[which] if which < len(node.input) else ""
        return numpy_helper.to_array(small[given]).reshape(-1).tolist() if given in small else None

    if node.op_type == "Pad":
        pads = values(1)
        alone = pads is not None and len(node.input) < 4 and len(pads) == 2 * rank and pads[1] == pads[1 + rank] == 0
    elif node.op_type == "Slice":
        axes = values(3)
        alone = axes is not None and 1 not in {axis % rank for axis in axes}
    elif node.op_type == "ReduceMean":
        axes = attribute(node, "axes") or values(1) or []
        alone = bool(axes) and not {0, 1} & {axis % rank for axis in axes}
    elif node.op_type in ("Resize", "Upsample"):
        axes = [axis % rank for axis in attribute(node, "axes") or range(rank)]
        scales = attribute(node, "scales") or values(1 if len(node.input) < 3 else 2)
        named = values(3) or (scales and dict(zip(axes, scales, strict=True)).get(1, 1) != 1)
        alone = 1 not in axes or not named
    else:
        alone = False
    return first if alone else None


def _convolution(
    node: NodeProto, made: Channels, first: tuple[Segment, ...], shapes: dict[str, list]
) -> tuple[Segment, ...]:
    weight, groups, name = node.input[1], attribute(node, "group", 1), node_title(node)
    dims, transposed = shapes[weight], node.op_type == "ConvTranspose"
    outputs = dims[1] * groups if transposed else dims[0]
    inputs = made.length(first, {})
    if groups > 1 and groups == inputs == outputs:  # depthwise
        made.uses.append(Use(weight, 0, first))
        result = first
        made.note(made.grouped, first, name)
    else:
        result = made.new(outputs)
        if groups > 1:
            for segments in (first, result):
                for number, _ in segments:
                    root = made.root(number)
                    made.multiple[root] = math.lcm(made.multiple.get(root, 1), groups)
        into, out = (0, 1) if transposed else (1, 0)
        made.uses.append(Use(weight, into, first, 1 if transposed else groups))
        made.uses.append(Use(weight, out, result, groups if transposed else 1))
        made.note(made.readers, first, name)
        made.note(made.makers, result, name)
    if len(node.input) > 2 and node.input[2]:
        made.uses.append(Use(node.input[2], 0, result))
    return result


def _product(
    node: NodeProto, made: Channels, first: tuple[Segment, ...], shapes: dict[str, list]
) -> tuple[Segment, ...] | None:
    dims = shapes[node.input[1]]
    if len(dims) != 2 or attribute(node, "transA", 0) or len(shapes.get(node.input[0]) or [0, 0]) != 2:
        return None
    bias = node.input[2] if len(node.input) > 2 else ""
    transposed = attribute(node, "transB", 0)
    result = made.new(dims[0] if transposed else dims[1])
    made.uses.append(Use(node.input[1], 1 if transposed else 0, first))
    made.uses.append(Use(node.input[1], 0 if transposed else 1, result))
    made.note(made.readers, first, node_title(node))
    made.note(made.makers, result, node_title(node))
    axis = len(shapes.get(bias, ())) - 1
    if axis >= 0 and shapes[bias][axis] != 1:  # else one value serves all channels
        made.uses.append(Use(bias, axis, result))
    return result


def _join(
    node: NodeProto,
    made: Channels,
    tensors: dict[str, tuple[Segment, ...]],
    shapes: dict[str, list],
    constants: set[str],
) -> tuple[Segment, ...] | None:
    live = [name for name in node.input if name in tensors]
    if not live or len(live) + sum(name in constants for name in node.input) < len(node.input):
        return None
    rank = len(shapes.get(live[0]) or [])
    for name in node.input:
        dims = shapes.get(name) or []
        if name in live:
            if len(dims) != rank:
                return None
            made.tie(tensors[live[0]], tensors[name], f"{node.op_type} {node_title(node)!r}")
        elif math.prod(dims or [1]) != 1:  # a constant along the channels
            axis = len(dims) - rank + 1
            if axis < 0 or dims[axis] != made.length(tensors[live[0]], {}) or math.prod(dims) != dims[axis]:
                return None
            made.uses.append(Use(name, axis, tensors[live[0]]))
    return tensors[live[0]]


def check_size(made: Channels, number: int, size: int) -> None:
    """ValueError where a variable, its root, cannot have that size."""
    makers, multiple = ", ".join(made.makers.get(number, ["?"])[:3]), made.multiple.get(number, 1)
    if number in made.fixed:
        raise ValueError(f"channels of {makers} cannot change: {made.fixed[number]}")
    if size < 1 or size % multiple:
        raise ValueError(f"channels of {makers} must be a positive multiple of {multiple} (groups), got {size}")


def with_channels(model: ModelProto, made: Channels, sizes: dict[int, int]) -> ModelProto:
    """A copy of the graph in which variables have other sizes, carried through every initialiser that follows.

    Raises ValueError where a variable is fixed (such as one that a residual addition ties to an input) or a grouped
    convolution does not divide the new size.
    """
    wanted = {made.root(number): size for number, size in sizes.items()}
    for number, size in wanted.items():
        check_size(made, number, size)
    copy = ModelProto()
    copy.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in copy.graph.initializer}
    for use in made.uses:
        if use.tensor not in tensors:
            continue
        dims = list(tensors[use.tensor].dims)
        dims[use.axis] = made.length(use.segments, wanted) // use.groups
        resize_initializer(tensors[use.tensor], dims)
    depthwise = {
        name: made.length(((number, 1),), wanted) for number in wanted for name in made.grouped.get(number, [])
    }
    if depthwise:
        tensors_now = {tensor.name: list(tensor.dims) for tensor in copy.graph.initializer}
        for node in copy.graph.node:
            if node_title(node) in depthwise:
                set_attribute(node, "group", tensors_now[node.input[1]][0])
    return copy


def checked(model: ModelProto) -> ModelProto:
    """The model, after `onnx.checker` and strict shape inference have passed it; ValueError with their words if not.

    The input channels of every convolution are compared with its weights' too.
    """
    try:
        filled = shape_inference.infer_shapes(with_random_weights(model, only_small=True))  # outputs may lack a shape
        onnx.checker.check_model(filled)
        _check_inputs(shape_inference.infer_shapes(filled, check_type=True, strict_mode=True, data_prop=True))
    except Exception as error:  # the checker and inference raise their own kinds
        raise ValueError(f"the edited graph is not valid ONNX: {' '.join(str(error).split())[:300]}") from None
    return model


def _check_inputs(inferred: ModelProto) -> None:
    """ValueError where a convolution gets other channels than its weights have, which shape inference lets pass."""
    shapes = _noted(inferred)
    for node in inferred.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        x, weight = (shapes.get(name) or [] for name in node.input[:2])
        if len(x) < 3 or len(weight) < 3 or not x[1]:
            continue
        expected = weight[0] if node.op_type == "ConvTranspose" else weight[1] * attribute(node, "group", 1)
        if x[1] != expected:
            raise ValueError(f"{node_title(node)!r} has weights for {expected} channels and gets {x[1]}")


def with_random_weights(model: ModelProto, seed: int = 0, only_small: bool = False) -> ModelProto:
    """A copy whose absent initialisers have random values, scaled by fan-in, so that the network can run.

    `only_small`: large ones become weights without values (inputs of the graph), enough for checking.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    copy = ModelProto()
    copy.CopyFrom(model)
    kept = []
    positive = {node.input[4] for node in copy.graph.node if node.op_type == "BatchNormalization"}
    for tensor in copy.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            kept.append(tensor)
            continue
        dims = list(tensor.dims)
        if only_small and math.prod(dims) > KEEP_VALUES:
            copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, dims))
            continue
        fan_in = math.prod(dims[1:]) if len(dims) > 1 else 1
        values = rng.standard_normal(dims) / math.sqrt(fan_in)
        values = np.abs(values) + 0.5 if tensor.name in positive else values
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        kept.append(numpy_helper.from_array(values.astype(kind), tensor.name))
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    return copy
