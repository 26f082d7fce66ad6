"""Element-wise operations that ride on the output path of the layer before them.

An accelerator applies bias, batch normalisation, activation and the addition of a shortcut while results
leave the array.  Starting from each MAC layer's output, element-wise layers of the same size are absorbed
as long as everything they compute ends in one tensor again (``x * sigmoid(x)`` is absorbed whole), with at
most one tensor read from elsewhere, which must not depend on the MAC layer.  A residual addition could be
fused into either of its producers and read the other's result; the bytes saved are the same, so it is fused
where its reading hides best: behind the producer with the most MACs for each element that it moves.  What is
left is chained in the same way behind vector layers: the vector unit makes one pass over the data, not one
per operator.  What is fused follows the graph and not the order of the layers.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dse.networks.layers import Layer, MacLayer, VectorLayer, layer_graph
from dse.networks.ordering import canonical_ranks, topological_order

MAX_ABSORBED = 64
"""Element-wise layers looked at behind one layer; real chains are far shorter."""


@dataclass(frozen=True)
class _Chain:
    """Element-wise layers to absorb, the tensor they end in and the one they read besides."""

    absorbed: tuple[int, ...]
    output: str
    external: str
    external_elements: int


def fuse(
    layers: Sequence[Layer], elementwise: Collection[str], sizes: Mapping[str, int], outputs: Collection[str]
) -> tuple[Layer, ...]:
    """Absorb element-wise layers into the MAC and vector layers before them.

    `elementwise` holds operator names, `sizes` the elements of each tensor, `outputs` the tensors that the
    network hands out and that therefore must exist.  The rest keeps its order, but that a layer which now reads what
    a later one writes moves behind it.
    """
    work = _Work(layers, elementwise, sizes, outputs)
    for index in sorted(range(len(layers)), key=work.turn):
        work.absorb(index)
    left = [layer for layer in work.result if layer is not None]
    return tuple(left[i] for i in topological_order(layer_graph(left, dict(sizes))))


class _Work:
    """Layers of which some were absorbed, and who reads and writes what."""

    def __init__(
        self,
        layers: Sequence[Layer],
        elementwise: Collection[str],
        sizes: Mapping[str, int],
        outputs: Collection[str],
    ) -> None:
        self.layers, self.elementwise, self.sizes, self.outputs = layers, elementwise, sizes, outputs
        self.result: list[Layer | None] = list(layers)
        self.consumers: dict[str, list[int]] = {}
        self.written: dict[str, int] = {}
        for index, layer in enumerate(layers):
            self.written[layer.output] = index
            for name in _reads(layer):
                self.consumers.setdefault(name, []).append(index)
        self.places = _places(layers, sizes, outputs)

    def turn(self, index: int) -> tuple[float, int]:
        """When a layer absorbs: most MACs for each element moved first, vector layers last, ties by place."""
        layer = self.layers[index]
        moved = layer.input_elements + layer.output_elements + layer.weight_elements
        return -layer.macs / max(1, moved), self.places[index]

    def absorb(self, index: int) -> None:
        """Let a layer take over the element-wise layers behind it."""
        head = self.result[index]
        if head is None or head.repeats > 1 or not 0 < head.output_elements == self.sizes.get(head.output):
            return
        chain = self._chain(index, head)
        if chain is None:
            return
        parts = [part for item in chain.absorbed if isinstance(part := self.layers[item], VectorLayer)]
        self.result[index] = _with_chain(head, chain, parts)
        self.written[chain.output] = index
        if chain.external:
            self.consumers[chain.external].append(index)
        for item in chain.absorbed:
            self.result[item] = None

    def _depends(self, name: str, index: int) -> bool:
        """Whether tensor `name` needs what layer `index` computes."""
        waiting, seen = [name], {name}
        while waiting:
            writer = self.written.get(waiting.pop())
            layer = None if writer is None else self.result[writer]
            if writer == index:
                return True
            for read in () if layer is None else _reads(layer):
                if read not in seen:
                    seen.add(read)
                    waiting.append(read)
        return False

    def _chain(self, start: int, head: Layer) -> _Chain | None:
        """The longest run of element-wise layers behind `head`, which is layer `start`, that ends in one tensor."""
        inside = [head.output]
        absorbed: list[int] = []
        external, external_elements = "", 0
        if isinstance(head, MacLayer):
            external, external_elements = head.fused_input, head.fused_input_elements
        best = None
        waiting = [(self.places[i], i) for i in self.consumers.get(head.output, ())]
        heapq.heapify(waiting)
        while waiting and len(absorbed) < MAX_ABSORBED:
            index = heapq.heappop(waiting)[1]
            layer = self.result[index]
            if index in absorbed or not isinstance(layer, VectorLayer) or layer.operator not in self.elementwise:
                continue
            if layer.output_elements != head.output_elements:
                continue
            others = [name for name in layer.inputs if name not in inside]
            if len(others) > 1 or (others and external not in ("", others[0])):
                continue
            if others and self._depends(others[0], start):
                continue
            if others and not external:
                own = len(layer.inputs) - len(others)
                external, external_elements = others[0], max(0, layer.input_elements - own * head.output_elements)
            absorbed.append(index)
            inside.append(layer.output)
            for consumer in self.consumers.get(layer.output, ()):
                heapq.heappush(waiting, (self.places[consumer], consumer))
            alive = [name for name in inside if self._is_alive(name, absorbed)]
            if len(alive) == 1 or (not alive and index == absorbed[-1]):
                end = alive[0] if alive else layer.output
                best = _Chain(tuple(absorbed), end, external, external_elements)
        return best

    def _is_alive(self, name: str, absorbed: list[int]) -> bool:
        return name in self.outputs or any(c not in absorbed for c in self.consumers.get(name, ()))


def _places(layers: Sequence[Layer], sizes: Mapping[str, int], outputs: Collection[str]) -> list[int]:
    """Places of the layers in an order that follows the graph: by the longest way to an input, then by rank."""
    graph = layer_graph(layers, dict(sizes))
    told = zip(graph.labels, layers, strict=True)
    labels = tuple(f"{label} {layer.operator} {layer.output in outputs}" for label, layer in told)
    ranks, depth = canonical_ranks(replace(graph, labels=labels)), [0] * len(layers)
    for i in topological_order(graph):
        depth[i] = max((1 + depth[s] for _, s in graph.reads[i] if s < len(layers)), default=0)
    order = sorted(range(len(layers)), key=lambda i: (depth[i], ranks[i]))
    places = [0] * len(layers)
    for place, i in enumerate(order):
        places[i] = place
    return places


def _with_chain(head: Layer, chain: _Chain, parts: list[VectorLayer]) -> Layer:
    """`head` doing the work of the layers of `chain` as well."""
    operations = sum(part.operations for part in parts)
    if isinstance(head, MacLayer):
        if parts[0].operator == "BatchNormalization" and parts[0].inputs == (head.output,):
            # The scale folds into the weights, and the shift into a bias that is there already.
            operations -= parts[0].operations - (0 if head.vector_operations else head.output_elements)
        return replace(
            head,
            vector_operations=head.vector_operations + operations,
            fused_input=chain.external,
            fused_input_elements=chain.external_elements,
            output=chain.output,
            fused=head.fused + tuple(part.name for part in parts),
        )
    return replace(
        head,
        operator="+".join([head.operator, *(part.operator for part in parts)]),
        operations=head.operations + operations,
        input_elements=head.input_elements + chain.external_elements,
        weight_elements=head.weight_elements + sum(part.weight_elements for part in parts),
        inputs=tuple(dict.fromkeys((*head.inputs, *filter(None, [chain.external])))),
        output=chain.output,
    )


def _reads(layer: Layer) -> tuple[str, ...]:
    extra = (layer.fused_input,) if isinstance(layer, MacLayer) and layer.fused_input else ()
    return (*layer.inputs, *extra)
