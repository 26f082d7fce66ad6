"""Element-wise operations that ride on the output path of the layer before them.

An accelerator applies bias, batch normalisation, activation and the addition of a shortcut while results
leave the array.  Starting from each MAC layer's output, element-wise layers of the same size are absorbed
as long as everything they compute ends in one tensor again (``x * sigmoid(x)`` is absorbed whole), with at
most one tensor read from elsewhere, which must exist by then: so a residual addition is fused into the
*later* of its two producers and reads the other's result.  What is left is chained in the same way behind
vector layers: the vector unit makes one pass over the data, not one per operator.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dse.networks.layers import Layer, MacLayer, VectorLayer

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
    """Absorb element-wise layers into the MAC and vector layers before them; the order of the rest stays.

    `elementwise` holds operator names, `sizes` the elements of each tensor, `outputs` the tensors that the
    network hands out and that therefore must exist.
    """
    consumers: dict[str, list[int]] = {}
    written: dict[str, int] = {}
    for index, layer in enumerate(layers):
        written[layer.output] = index
        for name in _reads(layer):
            consumers.setdefault(name, []).append(index)
    result: list[Layer | None] = list(layers)
    for index in range(len(layers)):
        head = result[index]
        if head is None or head.repeats > 1 or not 0 < head.output_elements == sizes.get(head.output):
            continue
        chain = _chain(index, head, result, elementwise, consumers, written, outputs)
        if chain is None:
            continue
        parts = [part for item in chain.absorbed if isinstance(part := layers[item], VectorLayer)]
        result[index] = _with_chain(head, chain, parts)
        written[chain.output] = index
        if chain.external:
            consumers[chain.external].append(index)
        for item in chain.absorbed:
            result[item] = None
    return tuple(layer for layer in result if layer is not None)


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


def _chain(
    start: int,
    head: Layer,
    layers: Sequence[Layer | None],
    elementwise: Collection[str],
    consumers: Mapping[str, list[int]],
    written: Mapping[str, int],
    outputs: Collection[str],
) -> _Chain | None:
    """The longest run of element-wise layers behind `head`, which is layer `start`, that ends in a single tensor."""
    inside = [head.output]
    absorbed: list[int] = []
    external, external_elements = "", 0
    if isinstance(head, MacLayer):
        external, external_elements = head.fused_input, head.fused_input_elements
    best = None
    waiting = list(consumers.get(head.output, ()))
    heapq.heapify(waiting)
    while waiting and len(absorbed) < MAX_ABSORBED:
        index = heapq.heappop(waiting)
        layer = layers[index]
        if index in absorbed or not isinstance(layer, VectorLayer) or layer.operator not in elementwise:
            continue
        if layer.output_elements != head.output_elements:
            continue
        others = [name for name in layer.inputs if name not in inside]
        if len(others) > 1 or (others and external not in ("", others[0])):
            continue
        if others and written.get(others[0], -1) >= start:
            continue
        if others and not external:
            own = len(layer.inputs) - len(others)
            external, external_elements = others[0], max(0, layer.input_elements - own * head.output_elements)
        absorbed.append(index)
        inside.append(layer.output)
        for consumer in consumers.get(layer.output, ()):
            heapq.heappush(waiting, consumer)
        alive = [name for name in inside if name in outputs or any(c not in absorbed for c in consumers.get(name, ()))]
        if len(alive) == 1 or (not alive and index == absorbed[-1]):
            best = _Chain(tuple(absorbed), alive[0] if alive else layer.output, external, external_elements)
    return best
