"""Shape inference and constant folding in turn, until every shape that can be known is known.

`onnx.shape_inference` alone stops at shapes that the graph computes (``Shape -> Gather -> Concat ->
Reshape``), at ``If``, and at constants behind a few operators.  So between its runs: ``Shape`` and ``Size``
of known tensors and small all-constant nodes are replaced by their values (computed by `onnx`'s reference
evaluator), the taken branch of an ``If`` with a constant condition takes its place, and so do the steps of a loop
of known length.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper, shape_inference

from dse.networks.errors import NetworkError
from dse.networks.onnx_file.batch import check_reshapes, widen_reshapes
from dse.networks.onnx_file.graph import (
    FLOAT_TYPES,
    FOLD_LIMIT,
    STANDARD_DOMAINS,
    Constant,
    OnnxGraph,
    attribute,
    drop_values,
    first_line,
    is_known,
    is_standard,
    lift_constants,
    node_title,
    read_names,
    subgraphs,
    tensor_values,
)
from dse.networks.onnx_file.loops_and_branches import MAX_UNROLLED, taken_branch, unrolled_loop, unrolled_scan
from dse.networks.onnx_file.vendor_operators import SAME_SHAPE

VIEWS = frozenset(
    "Reshape Transpose Identity Flatten Dropout Cast CastLike Squeeze Unsqueeze "
    "QuantizeLinear DequantizeLinear DepthToSpace SpaceToDepth".split()
)
"""Operators whose first output is a view of their first input: the same numbers in another shape or type."""

RANDOM = frozenset("RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli".split())
MAX_ROUNDS = 100


class _State:
    """What folding knows between rounds of shape inference."""

    def __init__(self, model: ModelProto, stored: dict[str, int]) -> None:
        self.model = model
        self.stored = stored
        self.roots = {name: name for name in stored}
        self.origins = {name: frozenset([name]) for name in stored}
        self.values: dict[str, np.ndarray | None] = {}
        self.types: dict[str, int] = {}
        self.shapes: dict[str, tuple[int | None, ...]] = {}
        self.failed: set[str] = set()
        self.unrolled = 0
        self.vendor_shapes = {entry.name: entry for entry in model.graph.value_info}
        self.opsets = [helper.make_opsetid(entry.domain, entry.version) for entry in model.opset_import]
        self.opset = next((entry.version for entry in self.opsets if entry.domain in STANDARD_DOMAINS), 1)
        for tensor in model.graph.initializer:
            self.add(tensor)

    def add(self, tensor: TensorProto) -> None:
        """Take note of a new initialiser."""
        self.values[tensor.name] = tensor_values(tensor)
        self.types[tensor.name] = tensor.data_type
        self.shapes[tensor.name] = tuple(tensor.dims)
        if tensor.name not in self.roots:
            self.roots[tensor.name] = tensor.name
            self.origins[tensor.name] = frozenset([tensor.name])
            self.stored[tensor.name] = math.prod(tensor.dims)

    def derive(self, node: NodeProto, output: str) -> None:
        """Record which stored constants `output` of an all-constant node comes from."""
        sources = [name for name in node.input if name in self.roots]
        if not sources:
            self.roots[output], self.origins[output] = output, frozenset([output])
            return
        is_view = node.op_type in VIEWS
        self.roots[output] = self.roots[sources[0]] if is_view else output
        numbers = [name for name in sources if self.types.get(name) in FLOAT_TYPES] or sources  # not shapes or indices
        data = sources[:1] if is_view else numbers
        self.origins[output] = frozenset().union(*(self.origins[name] for name in data))


def resolve(model: ModelProto, stored: dict[str, int], rewritten_batch: int | None, name: str) -> OnnxGraph:
    """Infer and fold until nothing changes, then check and return the graph.

    `rewritten_batch` is None unless a size fixed in the file was changed: then shapes that the file
    hard-wires are followed where that is safe (a ``Reshape`` to a leading 1), and refused elsewhere.
    """
    state = _State(model, stored)
    for _ in range(MAX_ROUNDS):
        _infer(state)
        changed = _fold(state)
        if rewritten_batch is not None:
            changed |= widen_reshapes(state, rewritten_batch)
        if not changed:
            break
    if rewritten_batch is not None:
        check_reshapes(state)
        _check_shapes(state)
    return _graph(state, name)


def _check_shapes(state: _State) -> None:
    """Refuse a graph whose shapes do not fit the size that was rewritten."""
    try:
        _infer(state, strict=True)
    except NetworkError as error:
        raise NetworkError(f"the file cannot be run at another batch than its own: {error}") from None


def _infer(state: _State, strict: bool = False) -> None:
    """Run shape inference and read the shapes and types it found; only vendor operators' shapes are given."""
    del state.model.graph.value_info[:]
    state.model.graph.value_info.extend(state.vendor_shapes.values())
    try:
        inferred = shape_inference.infer_shapes(state.model, data_prop=True, strict_mode=strict)
    except Exception as error:  # the C++ side raises several types
        raise NetworkError(f"the shapes of the file contradict each other: {first_line(error)}") from None
    graph = inferred.graph
    for entry in (*graph.input, *graph.value_info, *graph.output):
        tensor_type = entry.type.tensor_type
        state.types[entry.name] = tensor_type.elem_type
        if tensor_type.HasField("shape"):
            state.shapes[entry.name] = _dims(tensor_type)


def _fold(state: _State) -> bool:
    """One pass over the nodes in order; True if anything was replaced."""
    kept: list[NodeProto] = []
    changed = False
    for node in state.model.graph.node:
        replacement = _replace(state, node)
        changed |= replacement is not None
        if replacement is None:
            _infer_one(state, node)
        kept.extend([node] if replacement is None else replacement)
    if changed:
        kept = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del state.model.graph.node[:]
        state.model.graph.node.extend(kept)
        lift_constants(state.model)
        for tensor in state.model.graph.initializer:
            if tensor.name not in state.values:
                state.add(tensor)
    return changed


def _infer_one(state: _State, node: NodeProto) -> None:
    """Shapes of a node's outputs where those of its inputs became known in this pass: chains need one pass then."""
    if not is_standard(node) or any(True for _ in subgraphs(node)):
        return
    outputs = [state.shapes.get(name) for name in node.output if name]
    inputs = {name: state.shapes.get(name) for name in node.input if name}
    if all(is_known(dims) for dims in outputs):
        return
    if any(not is_known(dims) or not state.types.get(name) for name, dims in inputs.items()):
        return
    types = {name: helper.make_tensor_type_proto(state.types[name], dims) for name, dims in inputs.items()}
    known = {name: value for name in inputs if (value := state.values.get(name)) is not None}
    try:
        schema = onnx.defs.get_schema(node.op_type, state.opset, "")
        values = {name: numpy_helper.from_array(value, name) for name, value in known.items()}
        made = shape_inference.infer_node_outputs(schema, node, types, values, opset_imports=state.opsets)
    except Exception:  # the run over the whole graph says what is wrong, if anything is
        return
    for name, entry in made.items():
        if entry.tensor_type.HasField("shape"):
            state.types[name] = entry.tensor_type.elem_type
            state.shapes[name] = _dims(entry.tensor_type)


def _dims(tensor_type: TypeProto.Tensor) -> tuple[int | None, ...]:
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor_type.shape.dim)


def _replace(state: _State, node: NodeProto) -> list[NodeProto] | None:
    """What takes the place of `node`: nothing (folded), the nodes of a branch, or None for "keep, no news"."""
    if is_standard(node) and node.op_type in ("If", "Loop", "Scan"):
        try:
            return _unroll(state, node)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise NetworkError(
                f"node {node_title(node)!r} ({node.op_type}) does not follow the definition of its operator; "
                "check the file with onnx.checker"
            ) from error
    if not node.output or not node.output[0]:
        return None
    if not is_standard(node):
        return [node] if _vendor_shape(state, node) else None
    if node.op_type in ("Shape", "Size"):
        dims = state.shapes.get(node.input[0])
        if not is_known(dims):
            return None
        start, end = attribute(node, "start", 0), attribute(node, "end")
        value = math.prod(dims) if node.op_type == "Size" else dims[slice(start, end)]
        return _store(state, node, [np.asarray(value, np.int64)])
    if any(name and name not in state.roots for name in node.input) or node.op_type in RANDOM:
        return None
    if node.op_type == "ConstantOfShape":
        return _constant_of_shape(state, node)
    if any(True for _ in subgraphs(node)):
        return None
    return _evaluate(state, node)


def _unroll(state: _State, node: NodeProto) -> list[NodeProto] | None:
    """The taken branch of an ``If``, the steps of a ``Loop`` or ``Scan`` one by one where these are known and few."""
    if node.op_type == "If":
        condition = state.values.get(node.input[0])
        return None if condition is None else taken_branch(node, bool(condition.reshape(-1)[0]))
    room = MAX_UNROLLED - state.unrolled
    if node.op_type == "Loop":
        nodes = unrolled_loop(node, state.values.get, state.opset, room)
    else:
        nodes = unrolled_scan(node, state.shapes.get, state.opset, room)
    state.unrolled += len(nodes or ())
    return nodes


def _vendor_shape(state: _State, node: NodeProto) -> bool:
    """Note the shape of a vendor operator's output where it is that of its first input; True if it is news."""
    dims = state.shapes.get(node.input[0]) if node.input else None
    if node.op_type not in SAME_SHAPE or not is_known(dims) or node.output[0] in state.vendor_shapes:
        return False
    entry = helper.make_tensor_value_info(node.output[0], state.types.get(node.input[0], TensorProto.FLOAT), dims)
    state.vendor_shapes[node.output[0]] = entry
    return True


def _store(state: _State, node: NodeProto, results: list[np.ndarray]) -> list[NodeProto]:
    """Put the results of a folded node among the initialisers."""
    for name, result in zip(node.output, results, strict=False):
        if name:
            state.derive(node, name)
            tensor = numpy_helper.from_array(np.asarray(result), name)
            state.model.graph.initializer.append(tensor)
            state.add(tensor)
    return []


def _constant_of_shape(state: _State, node: NodeProto) -> list[NodeProto] | None:
    """``ConstantOfShape`` of a known shape is a stored constant, whatever its size."""
    shape = state.values.get(node.input[0])
    if shape is None:
        return None
    fill = attribute(node, "value")
    data_type = TensorProto.FLOAT if fill is None else fill.data_type
    dims = [int(size) for size in shape.reshape(-1)]
    tensor = TensorProto(name=node.output[0], dims=dims, data_type=data_type)
    if math.prod(dims) <= FOLD_LIMIT and all(size >= 0 for size in dims):
        value = 0.0 if fill is None else numpy_helper.to_array(fill).reshape(-1)[0]
        kind = helper.tensor_dtype_to_np_dtype(data_type)
        tensor = numpy_helper.from_array(np.full(dims, value, kind), node.output[0])
    else:
        drop_values(tensor)
    state.model.graph.initializer.append(tensor)
    state.add(tensor)
    return []


def _evaluate(state: _State, node: NodeProto) -> list[NodeProto] | None:
    """Compute a node of small, known inputs and outputs with the reference evaluator."""
    title = node.output[0]
    dims = [state.shapes.get(name) for name in node.output if name]
    known = all(is_known(shape) and math.prod(shape) <= FOLD_LIMIT for shape in dims)
    reads = {name for name in node.input if name}
    feeds = {name: value for name in node.input if name and (value := state.values.get(name)) is not None}
    if title in state.failed or reads - feeds.keys():
        return None
    if not known and not (node.op_type == "Range" and _range_is_small(list(feeds.values()))):
        return None
    try:
        results = _run(state, node, feeds)
    except Exception:  # the evaluator lacks the operator or the type: the node stays
        state.failed.add(title)
        return None
    if any(not isinstance(result, np.ndarray | np.generic) or result.dtype.kind in "OSU" for result in results):
        state.failed.add(title)
        return None
    return _store(state, node, results)


def _range_is_small(bounds: list[np.ndarray]) -> bool:
    start, limit, delta = (float(np.asarray(bound).reshape(-1)[0]) for bound in bounds)
    return delta != 0 and (limit - start) / delta <= FOLD_LIMIT


def _run(state: _State, node: NodeProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    inputs = [helper.make_tensor_value_info(name, state.types[name], value.shape) for name, value in feeds.items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "node", inputs, outputs)
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=state.opsets))
    with np.errstate(all="ignore"):
        return list(evaluator.run(None, feeds))


def _graph(state: _State, name: str) -> OnnxGraph:
    """Mark what is constant, drop what no output needs, and count the uses of each tensor."""
    graph = state.model.graph
    live = {entry.name for entry in graph.output}
    nodes: list[NodeProto] = []
    for node in reversed(graph.node):
        if live.intersection(node.output):
            live |= read_names(node)
            nodes.append(node)
    nodes.reverse()
    kept = []
    for node in nodes:
        reads = [item for item in read_names(node) if item]
        if reads and node.op_type not in RANDOM and all(item in state.roots for item in reads):
            for output in filter(None, node.output):
                state.derive(node, output)
        else:
            kept.append(node)
    constants = {
        item: Constant(
            tuple(size or 0 for size in state.shapes.get(item, ())), state.types.get(item, 0),
            state.values.get(item), root, state.origins[item],
        )
        for item, root in state.roots.items()
    }  # fmt: skip
    uses: dict[str, int] = {}
    for node in kept:
        for item in node.input:
            uses[item] = uses.get(item, 0) + 1
    return OnnxGraph(
        name=name,
        nodes=kept,
        shapes=state.shapes,
        constants=constants,
        stored=state.stored,
        inputs=tuple(entry.name for entry in graph.input),
        outputs=tuple(entry.name for entry in graph.output),
        uses=uses,
    )
