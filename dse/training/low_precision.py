"""Networks trained for narrow words or for 2:4 sparse weights: rounding or a mask in the forward pass.

Gradients pass the rounding as if it were not there (the straight-through estimator; Jacob et al., CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto

from dse.networks.onnx_file.graph import attribute, node_title
from dse.training.graph_modules import PRODUCTS, GraphModule

import torch  # isort: skip  # after graph_modules, which says what to install where it is missing

MOMENTUM = 0.1
"""Share of a batch in the running range of an activation [1]."""


class QuantisedModule(GraphModule):
    """A graph whose convolutions and products take rounded weights and activations.

    Parameters
    ----------
    model : the graph.
    weight_bits : of all weights [bit], or by node, with the others in full precision.  Symmetric, a scale an output
        channel: as batch normalisation folded into the weights leaves them.
    activation_bits : of all operands that are no weights [bit].  A scale and a zero point a tensor, from the running
        range of its values, which always holds zero.

    ValueError for bits outside 2 to 16, or a node that has no constant weights.
    """

    lowest: torch.Tensor
    highest: torch.Tensor
    seen: torch.Tensor

    def __init__(self, model: ModelProto, weight_bits: int | Mapping[str, int] = 8, activation_bits: int = 8) -> None:
        super().__init__(model)
        products = [node for node in self.nodes if node.op_type in PRODUCTS]
        weighted = [node_title(node) for node in products if _weight_place(self, node) is not None]
        by_node = weight_bits if isinstance(weight_bits, Mapping) else dict.fromkeys(weighted, weight_bits)
        self.weight_bits = dict(by_node)
        if unknown := [name for name in self.weight_bits if name not in weighted]:
            raise ValueError(f"the graph has no convolution or product {unknown[0]!r} with constant weights")
        for bits in (*self.weight_bits.values(), activation_bits):
            if not isinstance(bits, Integral) or not 2 <= bits <= 16:
                raise ValueError(f"expected a whole number of bits from 2 to 16, got {bits!r}")
        self.activation_bits = activation_bits
        tensors = {name for node in products for name in node.input[:2] if name and name not in self.names}
        self.places = {name: place for place, name in enumerate(sorted(tensors))}
        self.register_buffer("lowest", torch.zeros(len(self.places)))
        self.register_buffer("highest", torch.zeros(len(self.places)))
        self.register_buffer("seen", torch.zeros(len(self.places), dtype=torch.bool))

    def operands(self, node: NodeProto, inputs: list[Any]) -> list[Any]:
        """The inputs of a convolution or product, rounded; a bias stays as it is."""
        title, place, rounded = node_title(node), _weight_place(self, node), list(inputs)
        for i, name in enumerate(node.input[:2]):
            if name in self.places:
                rounded[i] = self._activation(self.places[name], inputs[i])
            elif i == place and title in self.weight_bits:
                rounded[i] = round_weight(inputs[i], self.weight_bits[title], _output_axis(node, i))
        return rounded

    def _activation(self, place: int, x: torch.Tensor) -> torch.Tensor:
        lowest, highest = self.lowest[place], self.highest[place]
        low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
        if self.training:
            share = MOMENTUM if self.seen[place] else 1.0
            self.lowest[place] += share * (low - self.lowest[place])
            self.highest[place] += share * (high - self.highest[place])
            self.seen[place] = True
        elif not self.seen[place]:  # no range is known: that of the batch
            lowest, highest = low, high
        steps = 2**self.activation_bits - 1
        scale = ((highest - lowest) / steps).clamp(min=1e-12)
        zero = torch.round(-lowest / scale)
        whole = torch.clamp(torch.round(x.detach() / scale) + zero, 0, steps)
        inside = x.clamp(lowest.item(), highest.item())  # no gradient beyond the range
        return inside + ((whole - zero) * scale - inside).detach()


def round_weight(weight: torch.Tensor, bits: int, axis: int) -> torch.Tensor:
    """A weight rounded to whole numbers of `bits`, symmetric, with one scale for each place along `axis`."""
    others = [i for i in range(weight.dim()) if i != axis % weight.dim()]
    most = 2 ** (bits - 1) - 1
    scale = (weight.detach().abs().amax(others, keepdim=True) / most).clamp(min=1e-12)
    return weight + (torch.round(weight.detach() / scale) * scale - weight).detach()


class SparseModule(GraphModule):
    """A graph of which at most two of four weights are not zero (Mishra et al., arXiv 2104.08378).

    The four are neighbours along the input channels.  `prune` keeps the two of largest magnitude; what is zero stays
    zero.  Weights whose input channels do not divide into fours stay dense, as those of depthwise convolutions.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__(model)
        self.masks: dict[str, torch.Tensor] = {}

    def reset(self) -> None:
        """Draw all weights anew, and prune them."""
        super().reset()
        self.masks = {}
        self.prune()

    def load(self, path: Path) -> None:
        """Take weights that `save` wrote, and prune them."""
        super().load(path)
        self.prune()

    def save(self, path: Path) -> None:
        """Write the weights as they count: those that are masked are zero."""
        with torch.no_grad():
            for name, mask in self.masks.items():
                self.value(name).mul_(mask)
        super().save(path)

    def prune(self) -> None:
        """Choose anew which weights stay, by magnitude."""
        with torch.no_grad():
            for node in self.nodes:
                place = _weight_place(self, node) if node.op_type in PRODUCTS else None
                if place is not None:
                    weight = self.value(node.input[place])
                    axis = _input_axis(node, place)
                    if weight.shape[axis] % 4 == 0:
                        self.masks[node.input[place]] = two_of_four(weight, axis)

    def operands(self, node: NodeProto, inputs: list[Any]) -> list[Any]:
        """The inputs of a convolution or product, its weight masked."""
        return [x * self.masks[name] if name in self.masks else x for name, x in zip(node.input, inputs, strict=True)]


def two_of_four(weight: torch.Tensor, axis: int) -> torch.Tensor:
    """1 where a weight is one of the two largest of its four along `axis`, else 0; of the weight's shape."""
    moved = weight.abs().movedim(axis, -1)
    fours = moved.reshape(*moved.shape[:-1], -1, 4)
    kept = torch.zeros_like(fours).scatter_(-1, fours.topk(2, dim=-1).indices, 1.0)
    return kept.reshape(moved.shape).movedim(-1, axis).contiguous()


def _weight_place(module: GraphModule, node: NodeProto) -> int | None:
    """Which input of a convolution or product is its weight; None where both are computed."""
    return next((i for i in (1, 0) if i < len(node.input) and node.input[i] in module.names), None)


def _output_axis(node: NodeProto, place: int) -> int:
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        return 0
    return -1 if place == 1 else -2


def _input_axis(node: NodeProto, place: int) -> int:
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        return 1
    return -2 if place == 1 else -1
