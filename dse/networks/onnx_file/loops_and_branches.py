"""Graphs inside nodes: the taken branch of an ``If`` put in its place, loops unrolled.

A ``Loop`` or ``Scan`` whose trip count is known is written out step by step: what the body stores is shared by all
steps, and shapes that change from step to step, or branches that depend on its number, need no rule of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from dse.networks.onnx_file.graph import attribute, constant_tensor, is_standard, node_title, subgraphs

MAX_UNROLLED = 5000
"""Loops that would become more nodes than this are not unrolled [nodes]."""


def taken_branch(node: NodeProto, condition: bool) -> list[NodeProto]:
    """Nodes of the taken branch of an ``If``, its own tensors renamed so that they stay unique."""
    branch = attribute(node, "then_branch" if condition else "else_branch")
    prefix = f"{node_title(node)}/{'then' if condition else 'else'}/"
    shared, constants = _constants(branch, prefix)
    nodes, renames = _step(branch, prefix, shared)
    nodes = constants + nodes
    for inner, outer in zip(branch.output, node.output, strict=True):
        if outer:
            nodes.append(_identity(renames.get(inner.name, inner.name), outer))
    return nodes


def _identity(source: str, target: str) -> NodeProto:
    return helper.make_node("Identity", [source], [target])


def _constants(graph: GraphProto, prefix: str) -> tuple[dict[str, str], list[NodeProto]]:
    """New names of what `graph` stores, and nodes for these and for what the graphs inside it store.

    The graphs inside it are changed to read the new names, so that all their copies share what they store.
    """
    nodes = [helper.make_node("Constant", [], [prefix + tensor.name], value=tensor) for tensor in graph.initializer]
    renames = {tensor.name: prefix + tensor.name for tensor in graph.initializer}
    for inner in graph.node:
        if _is_constant(inner):
            copy = NodeProto()
            copy.CopyFrom(inner)
            copy.output[:] = [prefix + name for name in inner.output]
            renames |= {name: prefix + name for name in inner.output}
            nodes.append(copy)
        for number, deeper in enumerate(subgraphs(inner)):
            nodes += _lifted(deeper, f"{prefix}{next(filter(None, inner.output), '')}/{number}/")
    return renames, nodes


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and is_standard(node)


def _lifted(graph: GraphProto, prefix: str) -> list[NodeProto]:
    """Take the constants out of a nested graph; vectors of whole numbers stay, since shape inference needs them."""
    renames, nodes = _constants(graph, prefix)
    small = {node.output[0] for node in nodes if _is_index(node)}
    nodes = [node for node in nodes if node.output[0] not in small]
    renames = {old: new for old, new in renames.items() if new not in small}
    stored = [tensor for tensor in graph.initializer if tensor.name not in renames]
    body = [inner for inner in graph.node if not (_is_constant(inner) and inner.output[0] in renames)]
    for inner in body:
        _rename(inner, renames)
    for entry in graph.output:
        entry.name = renames.get(entry.name, entry.name)
    for field, kept in ((graph.initializer, stored), (graph.node, body)):
        kept = [type(item).FromString(item.SerializeToString()) for item in kept]
        del field[:]
        field.extend(kept)
    return nodes


def _is_index(constant: NodeProto) -> bool:
    tensor = constant_tensor(constant)
    return tensor is not None and tensor.data_type == TensorProto.INT64 and len(tensor.dims) < 2


def _step(graph: GraphProto, prefix: str, bound: Mapping[str, str]) -> tuple[list[NodeProto], dict[str, str]]:
    """The nodes of `graph` but its constants once more, with `bound` names replaced and its own ones prefixed."""
    renames = dict(bound)
    body = [inner for inner in graph.node if not _is_constant(inner)]
    renames |= {name: prefix + name for inner in body for name in inner.output if name}
    nodes = []
    for inner in body:
        copy = NodeProto()
        copy.CopyFrom(inner)
        copy.name = prefix + inner.name if inner.name else ""
        _rename(copy, renames)
        copy.output[:] = [renames.get(name, name) for name in inner.output]
        nodes.append(copy)
    return nodes, renames


def unrolled_loop(
    node: NodeProto, value: Callable[[str], np.ndarray | None], opset: int, room: int
) -> list[NodeProto] | None:
    """Nodes that a ``Loop`` of constant trip count stands for, or None: unknown count, or more than `room` nodes.

    `value` gives the values of a constant.
    """
    body, carried = attribute(node, "body"), list(node.input[2:])
    trips = _trips(node, body, value)
    if trips is None or trips * max(1, len(body.node)) > room:
        return None
    if trips == 0:
        states = [_identity(state, name) for state, name in zip(carried, node.output, strict=False) if name]
        stacks = zip(body.output[1 + len(carried) :], node.output[len(carried) :], strict=False)
        return states + [_nothing(entry, name) for entry, name in stacks if name]
    title = node_title(node)
    shared, nodes = _constants(body, f"{title}/")
    number, condition, *states = [entry.name for entry in body.input]
    collected: list[list[str]] = [[] for _ in node.output[len(carried) :]]
    for step in range(trips):
        prefix = f"{title}/{step}/"
        nodes += [_constant(prefix + "#number", np.int64(step)), _constant(prefix + "#go", np.bool_(True))]
        bound = (
            shared | {number: prefix + "#number", condition: prefix + "#go"} | dict(zip(states, carried, strict=True))
        )
        made, renames = _step(body, prefix, bound)
        results = [renames.get(entry.name, entry.name) for entry in body.output]
        nodes, carried = nodes + made, results[1 : 1 + len(states)]
        for parts, result in zip(collected, results[1 + len(states) :], strict=True):
            parts.append(result)
    return nodes + _results(node, carried, collected, [0] * len(collected), opset)


def unrolled_scan(
    node: NodeProto, shape: Callable[[str], tuple[int | None, ...] | None], opset: int, room: int
) -> list[NodeProto] | None:
    """Nodes that a ``Scan`` (opset 9 on) over an axis of known size stands for, or None."""
    body, scanned = attribute(node, "body"), attribute(node, "num_scan_inputs", 0)
    states, sequences = list(node.input[: len(node.input) - scanned]), list(node.input[len(node.input) - scanned :])
    outputs = len(node.output) - len(states)
    axes = attribute(node, "scan_input_axes") or [0] * scanned
    out_axes = attribute(node, "scan_output_axes") or [0] * outputs
    backward = attribute(node, "scan_input_directions") or [0] * scanned
    out_backward = attribute(node, "scan_output_directions") or [0] * outputs
    dims = shape(sequences[0]) if sequences else None
    trips = None if opset < 9 or dims is None else dims[axes[0]]
    if not trips or trips * (len(body.node) + scanned) > room:
        return None
    title = node_title(node)
    shared, nodes = _constants(body, f"{title}/")
    names = [entry.name for entry in body.input]
    collected: list[list[str]] = [[] for _ in range(outputs)]
    for step in range(trips):
        prefix = f"{title}/{step}/"
        pieces = [f"{prefix}#input {i}" for i in range(scanned)]
        for sequence, axis, back, piece in zip(sequences, axes, backward, pieces, strict=True):
            nodes.append(_constant(piece + " number", np.int64(trips - 1 - step if back else step)))
            nodes.append(helper.make_node("Gather", [sequence, piece + " number"], [piece], axis=axis))
        made, renames = _step(body, prefix, shared | dict(zip(names, states + pieces, strict=True)))
        results = [renames.get(entry.name, entry.name) for entry in body.output]
        nodes, states = nodes + made, results[: len(states)]
        for parts, result in zip(collected, results[len(states) :], strict=True):
            parts.append(result)
    ordered = [parts[::-1] if back else parts for parts, back in zip(collected, out_backward, strict=True)]
    return nodes + _results(node, states, ordered, list(out_axes), opset)


def _trips(node: NodeProto, body: GraphProto, value: Callable[[str], np.ndarray | None]) -> int | None:
    """How often a ``Loop`` runs, or None: decided while running.  An absent count or condition never ends it."""
    counted, asked = [*node.input, "", ""][:2]
    count, first = [value(name) if name else None for name in (counted, asked)]
    if first is not None and not first.reshape(-1)[0]:
        return 0
    goes_on = _goes_on(body, value)
    if (asked and first is None) or (counted and count is None) or goes_on is None:
        return None
    most = None if count is None else max(0, int(count.reshape(-1)[0]))
    if goes_on:
        return most
    return 1 if most is None else min(1, most)


def _goes_on(body: GraphProto, value: Callable[[str], np.ndarray | None]) -> bool | None:
    """The condition that a loop's body hands out: true if it is the one it got; None if it is not constant."""
    makers = {name: inner for inner in body.node for name in inner.output}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in body.initializer if tensor.data_type == 9}
    name = body.output[0].name
    while name in makers and makers[name].op_type == "Identity":
        name = makers.pop(name).input[0]  # each once, even on a cycle
    if name == body.input[1].name:
        return True
    known = stored.get(name)
    if known is None and name in makers and makers[name].op_type == "Constant":
        known = attribute(makers[name], "value")
        known = None if known is None else numpy_helper.to_array(known)
    if known is None and name not in makers:
        known = value(name)
    return None if known is None else bool(known.reshape(-1)[0])


def _nothing(entry: ValueInfoProto, name: str) -> NodeProto:
    """The stack of the results of no step at all: no elements, of the shape that the body declares if it does."""
    declared = entry.type.tensor_type
    kind = helper.tensor_dtype_to_np_dtype(declared.elem_type or TensorProto.FLOAT)
    sizes = [max(0, dim.dim_value) for dim in declared.shape.dim]
    empty = numpy_helper.from_array(np.zeros((0, *sizes), kind))
    return helper.make_node("Constant", [], [name], value=empty)


def _constant(name: str, number: np.generic | np.ndarray) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(number)))


def _results(
    node: NodeProto, states: list[str], collected: list[list[str]], axes: list[int], opset: int
) -> list[NodeProto]:
    """Hand out the last states, and what every step made, stacked along a new axis."""
    nodes = [_identity(state, name) for state, name in zip(states, node.output, strict=False) if name]
    for name, parts, axis in zip(node.output[len(states) :], collected, axes, strict=True):
        if not name:
            continue
        stacked = [f"{name}/{step}" for step in range(len(parts))]
        if opset >= 13:
            nodes.append(_constant(f"{name}/axis", np.array([axis], np.int64)))
        for part, whole in zip(parts, stacked, strict=True):
            if opset >= 13:
                nodes.append(helper.make_node("Unsqueeze", [part, f"{name}/axis"], [whole]))
            else:
                nodes.append(helper.make_node("Unsqueeze", [part], [whole], axes=[axis]))
        nodes.append(helper.make_node("Concat", stacked, [name], axis=axis))
    return nodes


def _rename(node: NodeProto, renames: dict[str, str]) -> None:
    """Rename the tensors that `node` reads, also those that its nested graphs read from outside."""
    node.input[:] = [renames.get(name, name) for name in node.input]
    for graph in subgraphs(node):
        hidden = {entry.name for entry in graph.input} | {tensor.name for tensor in graph.initializer}
        hidden |= {name for inner in graph.node for name in inner.output}
        visible = {old: new for old, new in renames.items() if old not in hidden}
        for inner in graph.node:
            _rename(inner, visible)
        for entry in graph.output:
            entry.name = visible.get(entry.name, entry.name)
