"""Costs of edited graphs on one design, with work only for the layers that an edit touches.

`Costs.exact` reads the edited graph as any network is read.  `Costs.quick` takes the layers of the graph before the
edit, replaces those that the edit touches and keeps the order in which they run; what stays on chip is chosen anew.  It
differs from the exact cost where the edit changes that order, or which layer an element-wise operation rides on.
Whatever is made in the end is costed exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from onnx import ModelProto, NodeProto

from dse.costs.evaluation import Evaluation, evaluate
from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.costs.residency.memory import CaseMemory
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology
from dse.networks.layers import Layer, MacLayer, Network, VectorLayer
from dse.networks.onnx_file.graph import attribute, node_title
from dse.tuning.channels import shapes_of
from dse.tuning.graph_copy import pads_of, strides_of
from dse.tuning.graphs import network_of

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Setting:
    """How graphs are read and costed; `dse.evaluate` and `load_network` say what each means."""

    batch: int | None = 1
    dims: Mapping[str, int] | None = None
    technology: Technology | None = None
    objective: str = "latency"
    slack: float | None = DEFAULT_SLACK


class Costs:
    """Costs of graphs on one design; layers that were mapped before are not mapped again."""

    def __init__(self, design: Accelerator, setting: Setting) -> None:
        self.design, self.setting, self.memory = design, setting, CaseMemory()
        self._base: _Base | None = None

    def exact(self, model: ModelProto) -> Evaluation:
        """What `dse.evaluate` says of the graph, read back from a file."""
        return self._evaluate(network_of(model, self.setting.batch, self.setting.dims))

    def start(self, model: ModelProto, network: Network) -> None:
        """Edits are of this graph from now on; `network` is what it is read as."""
        self._base = _Base(model, network)

    def quick(self, model: ModelProto) -> Evaluation:
        """The cost of an edited form of the graph of `start`; exact where the layers cannot be told from its nodes."""
        if self._base is None:
            raise ValueError("start with the graph before its edits")
        network = self._base.edited(model)
        return self.exact(model) if network is None else self._evaluate(network)

    def _evaluate(self, network: Network) -> Evaluation:
        own = self.setting
        return evaluate(
            self.design, network, technology=own.technology, objective=own.objective, slack=own.slack,
            memory=self.memory,
        )  # fmt: skip


@dataclass(frozen=True)
class _Facts:
    """What of a graph says the sizes of the MAC layer of a node."""

    weights: Shape
    source: str
    read: Shape
    written: Shape
    group: int
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    transposed: int


class _Base:
    """A graph and its network, whose layers serve again where an edit does not touch them."""

    def __init__(self, model: ModelProto, network: Network) -> None:
        self.network, self.shapes = network, _shapes(model)
        self.kinds = {node_title(node): node.op_type for node in model.graph.node}
        self.facts = _facts(model, self.shapes)
        self.tensors = {self.facts[layer.name].source: layer.inputs[0] for layer in network.mac_layers
                        if layer.name in self.facts and layer.inputs}  # fmt: skip

    def edited(self, model: ModelProto) -> Network | None:
        """The network of an edited graph; None where its layers are not told by its nodes."""
        shapes = _shapes(model)
        nodes = {node_title(node): node for node in model.graph.node}
        new = [name for name in nodes if name not in self.kinds]
        if any(nodes[name].op_type not in ("Conv", "SpaceToDepth", "Constant") for name in new):
            return None
        try:
            return _Edited(self, nodes, new, shapes, _facts(model, shapes)).network()
        except LookupError:
            return None


class _Edited:
    """Makes the network of an edited graph; LookupError where that needs more than its nodes."""

    def __init__(
        self, base: _Base, nodes: Mapping[str, NodeProto], new: list[str], shapes: Mapping[str, Shape],
        facts: Mapping[str, _Facts],
    ) -> None:  # fmt: skip
        self.base, self.nodes, self.new, self.shapes, self.facts = base, nodes, new, shapes, facts
        self.blocks = {nodes[name].output[0]: nodes[name].input[0] for name in new
                       if nodes[name].op_type == "SpaceToDepth"}  # fmt: skip
        self.made = {nodes[name].output[0] for name in new if nodes[name].op_type == "Conv"}

    def network(self) -> Network:
        """The layers in the base's order, new ones before those that read them."""
        base, layers = self.base.network, list[Layer]()
        for number in base.run_order:
            layer = base.layers[number]
            if layer.name in self.base.kinds and layer.name not in self.nodes:
                continue
            mine = self._mac(layer) if isinstance(layer, MacLayer) else self._vector(layer)
            for source in mine.inputs[:1]:
                for name in self.new:
                    if source in self.nodes[name].output and self.nodes[name].op_type == "Conv":
                        layers.append(self._new(name, layer))
            layers.append(mine)
        sizes = {name: self._elements(name, size) for name, size in base.tensor_elements.items()
                 if name in self.shapes or name not in self.base.shapes}  # fmt: skip
        for name in self.made:
            sizes[name] = _known(self.shapes[name])
        made = Network(base.name, tuple(layers), base.parameters, sizes, base.source)
        made.__dict__["run_order"] = tuple(range(len(layers)))
        return made

    def _elements(self, name: str, elements: int) -> int:
        """Elements of a tensor, from what they were."""
        before, after = self.base.shapes.get(name), self.shapes.get(name)
        if before == after:
            return elements
        if before is None or after is None:
            raise LookupError(name)
        return elements * _known(after) // _known(before)

    def _mac(self, layer: MacLayer) -> MacLayer:
        before, after = self.base.facts.get(layer.name), self.facts.get(layer.name)
        if before is None or after is None:
            named = [name for name in (*layer.inputs, layer.fused_input, layer.output) if name]
            if any(self.base.shapes.get(name) != self.shapes.get(name) for name in named):
                raise LookupError(layer.name)
            return layer
        if before == after:
            return layer
        inputs = layer.inputs if before.source == after.source else (self._tensor(after.source), *layer.inputs[1:])
        return replace(_resized(layer, before, after), inputs=inputs)

    def _tensor(self, name: str) -> str:
        """The tensor that a layer reads under a name of the graph."""
        if name in self.blocks:
            return self._tensor(self.blocks[name])
        return name if name in self.made else self.base.tensors[name]

    def _new(self, name: str, like: Layer) -> MacLayer:
        """A convolution that the edit made, before the layer that reads it."""
        node, facts = self.nodes[name], self.facts[name]
        batch = like.B if isinstance(like, MacLayer) else 1
        plain = MacLayer(name, "Conv", B=batch, inputs=(self._tensor(facts.source),), output=node.output[0],
                         weight=node.input[1])  # fmt: skip
        return _resized(plain, None, facts)

    def _vector(self, layer: VectorLayer) -> VectorLayer:
        named = [*layer.inputs, layer.output]
        if all(self.base.shapes.get(name) == self.shapes.get(name) for name in named):
            return layer
        sizes = self.base.network.tensor_elements
        read = {name: sizes[name] for name in layer.inputs}
        grown = sum(self._elements(name, size) - size for name, size in read.items())
        after = self._elements(layer.output, layer.output_elements)
        before = max(1, layer.output_elements)
        return replace(
            layer,
            operations=layer.operations * after // before,
            input_elements=layer.input_elements and layer.input_elements + grown,
            output_elements=after,
            weight_elements=layer.weight_elements * after // before,
        )


def _resized(layer: MacLayer, before: _Facts | None, after: _Facts) -> MacLayer:
    """The layer with the sizes that the node has now; pixels that the graph does not tell stay as they are."""
    if len(after.weights) == 4:
        outputs, inputs, rows, columns = after.weights
        sizes = {"G": after.group, "K": _whole(outputs) // after.group, "C": inputs, "FY": rows, "FX": columns,
                 "stride_y": after.strides[0], "stride_x": after.strides[1], "pad_y": after.pads[0],
                 "pad_x": after.pads[1]}  # fmt: skip
        if before is None or (before.read[2:], before.written[2:]) != (after.read[2:], after.written[2:]):
            (y, x), (height, width) = after.written[2:], after.read[2:]
            sizes |= {"OY": y, "OX": x, "IY": height, "IX": width}
        elif None in (*after.read[2:], *after.written[2:]) and before.strides != after.strides:
            raise LookupError("a size is not known")
        elif before.pads == after.pads:  # padding of a node before it is the layer's, too
            del sizes["pad_y"], sizes["pad_x"]
    else:
        a, b = after.weights if len(after.weights) == 2 else (None, None)
        sizes = {"C": b, "K": a} if after.transposed else {"C": a, "K": b}
    return layer.resized(**{name: _whole(size) for name, size in sizes.items()})


def _whole(size: int | None) -> int:
    if size is None:
        raise LookupError("a size is not known")
    return size


def _known(shape: Shape) -> int:
    """Elements of a shape, unknown sizes taken as one [1]."""
    return math.prod(size for size in shape if size)


def _shapes(model: ModelProto) -> dict[str, Shape]:
    return {name: tuple(shape) for name, shape in shapes_of(model).items()}


def _facts(model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, _Facts]:
    """Facts of the 2-D convolutions and products with stored weights, by name."""
    stored = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in stored:
            continue
        weights, is_convolution = stored[node.input[1]], node.op_type == "Conv"
        read, written = shapes.get(node.input[0]), shapes.get(node.output[0])
        if read is None or written is None or (is_convolution and (len(weights) != 4 or len(read) != 4)):
            continue
        if is_convolution and attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", ""):
            continue
        found[node_title(node)] = _Facts(
            weights, node.input[0], read, written, attribute(node, "group", 1),
            tuple(strides_of(node)) if is_convolution else (), tuple(pads_of(node)) if is_convolution else (),
            attribute(node, "transB", 0),
        )  # fmt: skip
    return found
