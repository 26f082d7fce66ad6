"""Graphs inside nodes: the taken branch of an ``If`` put in its place, and what nested graphs read."""

from __future__ import annotations

from onnx import GraphProto, NodeProto, helper

from dse.networks.onnx_graph import attribute, subgraphs


def taken_branch(node: NodeProto, condition: bool) -> list[NodeProto]:
    """Nodes of the taken branch of an ``If``, its own tensors renamed so that they stay unique."""
    branch = attribute(node, "then_branch" if condition else "else_branch")
    prefix = f"{node.name or node.output[0]}/{'then' if condition else 'else'}/"
    own = {name for inner in branch.node for name in inner.output if name}
    own |= {tensor.name for tensor in branch.initializer}
    renames = {name: prefix + name for name in own}
    nodes = [helper.make_node("Constant", [], [renames[tensor.name]], value=tensor) for tensor in branch.initializer]
    for inner in branch.node:
        copy = NodeProto()
        copy.CopyFrom(inner)
        copy.name = prefix + inner.name if inner.name else ""
        _rename(copy, renames)
        copy.output[:] = [renames.get(name, name) for name in inner.output]
        nodes.append(copy)
    for inner, outer in zip(branch.output, node.output, strict=True):
        nodes.append(helper.make_node("Identity", [renames.get(inner.name, inner.name)], [outer]))
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


def read_names(node: NodeProto) -> set[str]:
    """Names of all tensors that a node reads, nested graphs included."""
    names = set(node.input)
    for graph in subgraphs(node):
        names |= _graph_reads(graph)
    return names


def _graph_reads(graph: GraphProto) -> set[str]:
    return {entry.name for entry in graph.output}.union(*(read_names(node) for node in graph.node))
