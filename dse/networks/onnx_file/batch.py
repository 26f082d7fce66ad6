"""Give a batch of 1 that the file fixes another size: what is hard-wired downstream follows, or is refused."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from dse.networks.errors import NetworkError
from dse.networks.onnx_file.graph import is_known, is_standard


class Folding(Protocol):
    """What the functions here need of `dse.networks.onnx_file.shapes`."""

    model: ModelProto
    shapes: dict[str, tuple[int | None, ...]]
    values: dict[str, np.ndarray | None]

    def add(self, tensor: TensorProto) -> None:
        """Take note of a new initialiser."""


def widen_reshapes(state: Folding, batch: int) -> bool:
    """After a batch of 1 was rewritten: every ``Reshape`` to a hard-wired leading 1 gets the new batch."""
    changed = False
    for node in state.model.graph.node if batch > 1 else ():
        if node.op_type != "Reshape" or not is_standard(node):
            continue
        given, target = state.shapes.get(node.input[0]), state.values.get(node.input[1])
        if not given or not is_known(given) or given[0] != batch:
            continue
        if target is None or target.ndim != 1 or target.size == 0:
            continue
        if target[0] != 1:
            continue
        sizes = [given[axis] if size == 0 and axis < len(given) else int(size) for axis, size in enumerate(target)]
        one_batch = math.prod(size for size in sizes if size != -1)
        elements = math.prod(given)
        if elements % (batch * one_batch) if -1 in sizes else elements != batch * one_batch:
            continue
        name = f"{node.output[0]}/shape of batch {batch}"
        tensor = numpy_helper.from_array(np.array([batch, *sizes[1:]], np.int64), name)
        state.model.graph.initializer.append(tensor)
        state.add(tensor)
        node.input[1] = name
        changed = True
    return changed


def check_reshapes(state: Folding) -> None:
    """Refuse a ``Reshape`` that hard-wires the size which was rewritten."""
    for node in state.model.graph.node:
        if node.op_type != "Reshape" or not is_standard(node):
            continue
        given, made = state.shapes.get(node.input[0]), state.shapes.get(node.output[0])
        if given and made and is_known(given) and is_known(made) and math.prod(given) != math.prod(made):
            raise NetworkError(
                f"node {node.name or node.output[0]!r} (Reshape) fixes the batch of the file: "
                f"{given} -> {made}; keep the file's own sizes (batch=1) or export it with a dynamic batch"
            )
