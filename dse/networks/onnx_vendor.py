"""Operators outside the ONNX standard that runtimes write when they optimise a file.

Convolutions and products with their activation inside are taken apart again, so that everything after
this sees the standard's operators; fusing is `dse.networks.fusion`'s business.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from dse.networks.onnx_graph import attribute, is_standard, node_title

SAME_SHAPE = frozenset(
    "Gelu FastGelu QuickGelu BiasGelu QLinearSigmoid QLinearLeakyRelu QLinearSoftmax "
    "SkipLayerNormalization SimplifiedLayerNormalization SkipSimplifiedLayerNormalization".split()
)
"""Vendor operators that shape inference does not know and whose first output is shaped like their first input."""

FUSED = {"FusedConv": "Conv", "FusedGemm": "Gemm"}
"""Vendor operator -> the standard one inside it."""


def take_apart(model: ModelProto) -> None:
    """Replace every fused vendor operator of `model` by the standard operators it stands for."""
    graph = model.graph
    if not any(node.op_type in FUSED and not is_standard(node) for node in graph.node):
        return
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes += _parts(node) if node.op_type in FUSED and not is_standard(node) else [node]
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _parts(node: NodeProto) -> list[NodeProto]:
    """The operator, the addition of a shortcut (the fourth input of ``FusedConv``) and the activation."""
    title, result = node_title(node), node.output[0]
    activation = attribute(node, "activation", "")
    shortcut = node.input[3] if len(node.input) > 3 else ""
    tensors = [f"{result}/{part}" for part, there in (("product", True), ("sum", shortcut)) if there]
    if not activation:
        tensors[-1] = result
    inner = NodeProto(op_type=FUSED[node.op_type], name=title)
    inner.input.extend(node.input[:3])
    inner.output.append(tensors[0])
    inner.attribute.extend(item for item in node.attribute if not item.name.startswith("activation"))
    parts = [inner]
    if shortcut:
        parts.append(helper.make_node("Add", [tensors[0], shortcut], [tensors[1]], name=f"{title}/Add"))
    if activation:
        parts.append(helper.make_node(activation, [tensors[-1]], [result], name=f"{title}/{activation}"))
    return parts
