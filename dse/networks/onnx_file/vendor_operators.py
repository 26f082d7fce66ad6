"""Operators outside the ONNX standard that runtimes write when they optimise a file.

Convolutions and products with their activation inside, and products and cells that quantise their inputs
while running, are taken apart again, so that everything after this sees the standard's operators; fusing is
`dse.networks.operators.fusion`'s business.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto, helper

from dse.networks.onnx_file.graph import attribute, is_standard, node_title

SAME_SHAPE = frozenset(
    "Gelu FastGelu QuickGelu BiasGelu QLinearSigmoid QLinearLeakyRelu QLinearSoftmax "
    "SkipLayerNormalization SimplifiedLayerNormalization SkipSimplifiedLayerNormalization".split()
)
"""Vendor operators that shape inference does not know and whose first output is shaped like their first input."""

FUSED = {"FusedConv": "Conv", "FusedGemm": "Gemm"}
"""Vendor operator with an activation inside -> the standard one."""

DYNAMIC = {"DynamicQuantizeLSTM": "LSTM", "DynamicQuantizeMatMul": "MatMul"}
"""Vendor operator that quantises its input while running and has weights in bytes -> the standard one."""

SAME_AS_STANDARD = frozenset(["QuantizeLinear", "DequantizeLinear"])
"""Vendor operators that differ from the standard's of that name in the types they take only."""


def take_apart(model: ModelProto) -> None:
    """Replace every fused vendor operator of `model` by the standard operators it stands for."""
    graph = model.graph
    for node in graph.node:
        if node.op_type in SAME_AS_STANDARD and node.domain == "com.microsoft":
            node.domain = ""
    if not any(node.op_type in FUSED | DYNAMIC and not is_standard(node) for node in graph.node):
        return
    nodes: list[NodeProto] = []
    for node in graph.node:
        kind = "" if is_standard(node) else node.op_type
        nodes += _parts(node) if kind in FUSED else _dynamic(node) if kind in DYNAMIC else [node]
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _dynamic(node: NodeProto) -> list[NodeProto]:
    """The standard operator on weights of another type; those of a cell lie transposed, as (inputs, gates)."""
    title = node_title(node)
    weights, nodes = [1] if node.op_type == "DynamicQuantizeMatMul" else [1, 2], []
    inputs = list(node.input[:2] if node.op_type == "DynamicQuantizeMatMul" else node.input[:8])
    for position in weights:
        cast = f"{inputs[position]}/of {title}"
        nodes.append(helper.make_node("Cast", [inputs[position]], [cast], to=TensorProto.FLOAT))
        inputs[position] = cast
        if node.op_type == "DynamicQuantizeLSTM":
            inputs[position] = f"{cast}/transposed"
            nodes.append(helper.make_node("Transpose", [cast], [inputs[position]], perm=[0, 2, 1]))
    inner = NodeProto(op_type=DYNAMIC[node.op_type], name=title, input=inputs, output=node.output)
    inner.attribute.extend(node.attribute)
    bias = node.input[4] if node.op_type == "DynamicQuantizeMatMul" and len(node.input) > 4 else ""
    if bias:
        inner.output[:] = [f"{node.output[0]}/product"]
        nodes += [inner, helper.make_node("Add", [inner.output[0], bias], node.output, name=f"{title}/Add")]
        return nodes
    return [*nodes, inner]


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
