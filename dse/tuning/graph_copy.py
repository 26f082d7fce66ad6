"""A copy of an ONNX graph to edit: look-ups, weights of other shapes, nodes taken out."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

from onnx import ModelProto, NodeProto

from dse.networks.onnx_file.graph import attribute, captured_names, node_title, outer_names
from dse.tuning.channels import NORMALISE, PASS, absent


class GraphCopy:
    """A copy of a model with look-ups."""

    def __init__(self, model: ModelProto) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(model)
        constant = {tensor.name for tensor in model.graph.initializer}  # older exporters list these as inputs, too
        for entry in [each for each in self.model.graph.input if each.name in constant]:
            self.model.graph.input.remove(entry)
        self.look_up()

    def look_up(self) -> None:
        """Find out anew who makes and reads what, after an edit."""
        self.graph = self.model.graph
        self.makers = {output: node for node in self.graph.node for output in node.output if output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
            for name in captured_names(node):
                self.readers.setdefault(name, []).append(node)
        self.tensors = {tensor.name: tensor for tensor in self.graph.initializer}
        self.named = {node_title(node): node for node in self.graph.node}
        self.outputs = {entry.name for entry in self.graph.output}

    def conv(self, name: str) -> NodeProto:
        """The 2-D convolution of that name with constant weights; ValueError for any other name."""
        node = self.named.get(name)
        if node is None or node.op_type != "Conv" or node.input[1] not in self.tensors:
            known = [title for title, each in self.named.items() if each.op_type == "Conv"]
            raise ValueError(f"the graph has no convolution {name!r} with constant weights{meant(name, known)}")
        if len(self.dims(node)) != 4:
            raise ValueError(f"{name!r} is not a 2-D convolution")
        return node

    def dims(self, node: NodeProto) -> list[int]:
        """Shape of its weights [elements per axis]."""
        return list(self.tensors[node.input[1]].dims)

    def before(self, node: NodeProto) -> tuple[NodeProto, list[NodeProto]]:
        """The convolution before this one and what lies between, where nothing else reads any of it."""
        between: list[NodeProto] = []
        tensor = node.input[0]
        while True:
            maker = self.makers.get(tensor)
            if maker is None or len(self.readers[tensor]) != 1 or tensor in self.outputs:
                raise ValueError(f"what {node_title(node)!r} reads has other readers or no convolution before it")
            if maker.op_type == "Conv" and maker.input[1] in self.tensors:
                return maker, between
            gate = self._gate(maker)
            if gate is not None:
                between += [maker, gate]
                following, tensor = self.makers.get(gate.input[0]), gate.input[0]
                if following is None or tensor in self.outputs:
                    raise ValueError(f"no convolution is before {node_title(node)!r}")
                if following.op_type == "Conv" and following.input[1] in self.tensors:
                    return following, between
                maker = following
            if maker.op_type not in PASS | NORMALISE or maker.op_type.endswith("Pool"):
                raise ValueError(f"{maker.op_type} lies between {node_title(node)!r} and the convolution before it")
            between.append(maker)
            tensor = maker.input[0]

    def _gate(self, node: NodeProto) -> NodeProto | None:
        """The sigmoid of a swish ``x * sigmoid(x)``, of which `node` is the product; None for another node."""
        if node.op_type != "Mul" or len(node.input) != 2:
            return None
        for gate, x in ((node.input[1], node.input[0]), (node.input[0], node.input[1])):
            maker = self.makers.get(gate)
            if (
                maker is not None
                and maker.op_type in ("Sigmoid", "HardSigmoid")
                and maker.input[0] == x
                and len(self.readers[gate]) == 1
                and len(self.readers[x]) == 2
            ):
                return maker
        return None

    def reshape(self, node: NodeProto, dims: list[int]) -> None:
        """New weights of that shape, under a name of their own where others share the old ones."""
        old = self.tensors[node.input[1]]
        if len(self.readers[old.name]) == 1:
            self.add(old.name, dims, old.data_type, replace=True)
            return
        name = self.unused(f"{old.name}/{node_title(node)}")
        self.add(name, dims, old.data_type)
        self.readers[old.name] = [each for each in self.readers[old.name] if each is not node]
        self.readers[name] = [node]
        node.input[1] = name

    def add(self, name: str, dims: list[int], data_type: int, replace: bool = False) -> None:
        """Weights without values under that name."""
        new = absent(name, dims, data_type)
        if replace:
            self.tensors[name].CopyFrom(new)
        else:
            self.graph.initializer.append(new)
            self.tensors[name] = self.graph.initializer[-1]

    def unused(self, name: str) -> str:
        """The name, or with a number behind it where the graph has it already."""
        taken = {*self.makers, *self.readers, *(tensor.name for tensor in self.graph.initializer)}
        numbered = (f"{name}/{i}" for i in itertools.count(2))
        return next(each for each in itertools.chain([name], numbered) if each not in taken)

    def insert_before(self, node: NodeProto, new: NodeProto) -> None:
        """Put a new node in front of one that reads it."""
        self.graph.node.insert(list(self.graph.node).index(node), new)

    def remove(self, nodes: list[NodeProto]) -> None:
        """Take nodes out, and the weights that nothing reads then."""
        for node in nodes:
            self.graph.node.remove(node)
        read = set().union(*map(outer_names, self.graph.node))
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        dropped = set(self.tensors) - read
        held = [entry for entry in self.graph.input if entry.name not in dropped]
        del self.graph.initializer[:], self.graph.input[:]
        self.graph.initializer.extend(kept)
        self.graph.input.extend(held)


def meant(name: str, known: Iterable[str]) -> str:
    """What to add to an error about a name that does not exist: those that are like it, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(map(repr, close))}?" if close else ""


def strides_of(node: NodeProto) -> list[int]:
    """Rows and columns that a filter moves on [elements]."""
    return list(attribute(node, "strides") or [1, 1])


def pads_of(node: NodeProto) -> list[int]:
    """Explicit padding: top, left, bottom, right [elements]; ValueError where it is left to `auto_pad`."""
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", ""):
        raise ValueError(f"{node_title(node)!r} pads by auto_pad; export it with explicit pads")
    return list(attribute(node, "pads") or [0, 0, 0, 0])
