"""What the operator converters share: shapes, constants, aliases and parameter counts of one graph."""

from __future__ import annotations

import math

from onnx import NodeProto, TensorProto

from dse.networks.errors import NetworkError
from dse.networks.onnx_file.graph import Constant, OnnxGraph, is_standard, node_title

NARROW_TYPES = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
"""Types of ONNX narrower than a byte, and their bits; older releases of `onnx` lack some."""


class Reader:
    """Reads nodes of one `OnnxGraph`; remembers what aliases what and which constants are parameters.

    An *alias* is a tensor that holds the numbers of another one (reshaped, transposed, cast, a slice of it):
    layers name the tensor behind all aliases, so that producers and consumers meet.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.aliases: dict[str, str] = {}
        self.paddings: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.sizes: dict[str, int] = {}
        self.parameter_roots: set[str] = set()
        self._names: set[str] = set()

    def layer_name(self, node: NodeProto, suffix: str = "") -> str:
        """A name for a layer of `node` that no other layer has."""
        wanted = node_title(node) + suffix
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}#{count}"
        self._names.add(name)
        return name

    def constant(self, tensor: str) -> Constant | None:
        """The constant called `tensor`, or None if it is an activation."""
        return self.graph.constants.get(tensor)

    def weight_bits(self, tensor: str) -> int:
        """Bits of the stored constant behind `tensor`, where its type is narrower than a byte; else 0.

        Such a constant comes through ``DequantizeLinear``, and is the same numbers behind it.
        """
        constant = self.constant(tensor)
        stored = None if constant is None else self.constant(constant.root)
        return 0 if stored is None else NARROW_TYPES.get(TensorProto.DataType.Name(stored.element_type), 0)

    def tensor(self, name: str) -> str:
        """The tensor behind all aliases of activation `name`."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def alias(self, name: str, of: str) -> None:
        """Make `name` another name of the activation `of`."""
        if name and name != of:
            self.aliases[name] = of

    def activations(self, node: NodeProto) -> tuple[str, ...]:
        """Names of the non-constant inputs of `node`, as the file calls them, without repeats."""
        return tuple(dict.fromkeys(name for name in node.input if name and self.constant(name) is None))

    def shape(self, node: NodeProto, tensor: str) -> tuple[int, ...]:
        """Shape of `tensor`, which `node` cannot do without."""
        dims = self.graph.shape(tensor)
        if dims is not None:
            return dims
        known = self.graph.shapes.get(tensor)
        if known is not None and any(size is not None and size <= 0 for size in known):
            raise NetworkError(
                f"{title(node)}: tensor {tensor!r} has shape {known}; every size must be >= 1 (is an input too small?)"
            )
        seen = "unknown" if known is None else str(tuple("?" if size is None else size for size in known))
        raise NetworkError(
            f"{title(node)}: the shape of tensor {tensor!r} is {seen} although every input has a size; "
            f"{self._why_unknown(tensor)}"
        )

    def elements(self, tensor: str) -> int | None:
        """Size of `tensor` if known [elements]."""
        if tensor in self.sizes:
            return self.sizes[tensor]
        dims = self.graph.shape(tensor)
        return None if dims is None else math.prod(dims)

    def is_empty(self, tensor: str) -> bool:
        """True if `tensor` is known to have no elements."""
        return 0 in (self.graph.shapes.get(tensor) or ())

    def count_parameters(self, *tensors: str) -> None:
        """Count the stored constants that `tensors` come from as trainable parameters."""
        for name in tensors:
            constant = self.constant(name)
            if constant is not None:
                self.parameter_roots |= constant.origins

    @property
    def parameters(self) -> int:
        """Trainable parameters met so far, shared ones once [elements]."""
        return sum(self.graph.stored.get(root, 0) for root in self.parameter_roots)

    def choices_behind(self, tensor: str) -> list[str]:
        """Inputs of the network of one element that `tensor` depends on."""
        makers = {output: node for node in self.graph.nodes for output in node.output}
        waiting, seen, found = [tensor], {tensor}, []
        while waiting:
            name = waiting.pop()
            if name in self.graph.inputs and self.elements(name) == 1:
                found.append(name)
            for read in makers[name].input if name in makers else ():
                if read not in seen:
                    seen.add(read)
                    waiting.append(read)
        return sorted(found)

    def _why_unknown(self, tensor: str) -> str:
        """Name the operator at which shapes get lost on the way to `tensor`."""
        makers = {output: node for node in self.graph.nodes for output in node.output}
        node, seen = makers.get(tensor), set()
        while node is not None:
            if id(node) in seen:
                return f"{title(node)} lies on a cycle of the graph, which no network has"
            seen.add(id(node))
            lost = [name for name in node.input if name in makers and self.graph.shape(name) is None]
            if not lost:
                kind = "data-dependent" if is_standard(node) else f"vendor ({node.domain})"
                return f"it gets lost at {title(node)}, a {kind} operator: simplify the file or cut it there"
            node = makers[lost[0]]
        return "export the model with fixed shapes"


def title(node: NodeProto) -> str:
    """How errors name a node: its name and its operator."""
    return f"node {node_title(node)!r} ({node.op_type})"
