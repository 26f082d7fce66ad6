"""Give every dynamic dimension of a graph's inputs a size.

A dimension is addressed by its symbol (``seq``) or, named or not, by input and axis (``tokens.1``).  The
batch dimension of an input is the one whose symbol says so (``batch``, ``batch_size``, ``N`` ...), else a
dynamic leading dimension, else a leading dimension that the file fixes at 1.  A leading dimension fixed at
another size (the layers of a recurrent state, say) is no batch where the batch of another input is dynamic.
The leading dimension of an input that is read only as a weight is no batch either, nor is that of an input that only a
recurrent cell reads, which has its batch second.
A batch that no input takes is refused.  A size of 0 (no past) is only for what is joined with other tensors.
An integer or boolean input of one element can be given as a value (``sampling_rate=16000``), which decides
the branch of an ``If``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from dse.networks.errors import NetworkError
from dse.networks.onnx_file.graph import attribute, is_standard, read_names

NUMBERS_FOR_CHOICES = frozenset({TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL})
OTHER_DIMENSIONS = ("seq", "len", "time", "step", "frame", "height", "width", "past")
"""A leading dimension with one of these in its symbol is not taken for the batch."""

WEIGHTS = {
    "Conv": (1,), "ConvInteger": (1,), "QLinearConv": (3,), "ConvTranspose": (1,), "DeformConv": (1, 3),
    "Gemm": (1,), "MatMul": (1,), "MatMulInteger": (1,), "QLinearMatMul": (3,),
    "LSTM": (1, 2, 3, 7), "GRU": (1, 2, 3), "RNN": (1, 2, 3),
}  # fmt: skip
"""Positions of the inputs of an operator that do not lead with a batch; of a product, where they have two axes."""

STEPS_FIRST = {"LSTM": (0, 5, 6), "GRU": (0, 5), "RNN": (0, 5)}
"""Positions of the inputs of a cell that have the batch on their second axis, unless its layout says otherwise."""


def bind_inputs(model: ModelProto, batch: int | None, dims: Mapping[str, int]) -> bool:
    """Bind the inputs of `model` in place; True if a size that the file fixes was rewritten.

    Every dynamic dimension that stays without a size is named in one `NetworkError`.
    """
    if batch is not None and (not _is_whole(batch) or batch < 1):
        raise NetworkError(f"batch must be a whole number >= 1, got {batch!r}")
    for name, size in dims.items():
        if not (_is_whole(size) or isinstance(size, bool)):
            raise NetworkError(f"dims[{name!r}] must be a whole number >= 1, got {size!r}")
    unused = set(dims)
    _bind_values(model, dims, unused)
    inputs = [entry for entry in model.graph.input if entry.type.HasField("tensor_type")]
    sizes = _symbol_sizes(inputs, batch, dims)
    readers = _readers(model.graph, inputs)
    led = _led_by_a_batch(readers, inputs, batch)
    pasts = {name for name, nodes in readers.items() if nodes and all(_may_be_empty(node, name) for node in nodes)}
    _check_batch(inputs, led, batch, dims)
    rewritten = False
    for entry in inputs:
        for axis in range(len(entry.type.tensor_type.shape.dim)):
            asked = batch if entry.name in led else None
            rewritten |= _bind_axis(entry, axis, asked, dims, sizes, least=0 if entry.name in pasts else 1)
            unused -= {f"{entry.name}.{axis}", *sizes}
    _check_bound(inputs, unused, dims)
    _forget_shapes(model, sizes, trust_vendors=not rewritten)
    return rewritten


def _is_whole(number: object) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def _symbol(entry: ValueInfoProto, axis: int) -> str | None:
    """Name of a dynamic dimension (``input.axis`` where the file gives none), None for a fixed size."""
    dim = entry.type.tensor_type.shape.dim[axis]
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return None
    name = dim.dim_param.strip()
    return name if name.strip("?-_*") and not name.lstrip("-").isdigit() else f"{entry.name}.{axis}"


def _says_batch(symbol: str | None) -> bool:
    return symbol is not None and ("batch" in symbol.lower() or symbol in ("N", "n", "bs", "B", "b"))


def _says_other(symbol: str) -> bool:
    return any(word in symbol.lower() for word in OTHER_DIMENSIONS)


def _bind_values(model: ModelProto, dims: Mapping[str, int], unused: set[str]) -> None:
    """Turn inputs of one whole number that `dims` names into constants."""
    graph = model.graph
    for entry in list(graph.input):
        tensor_type = entry.type.tensor_type
        single = all(dim.dim_value == 1 for dim in tensor_type.shape.dim)
        if entry.name in dims and tensor_type.elem_type in NUMBERS_FOR_CHOICES and single:
            unused.discard(entry.name)
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor_type.elem_type)
            value = np.full([1] * len(tensor_type.shape.dim), dims[entry.name], kind)
            graph.initializer.append(numpy_helper.from_array(value, entry.name))
            graph.input.remove(entry)


def _symbol_sizes(inputs: list[ValueInfoProto], batch: int | None, dims: Mapping[str, int]) -> dict[str, int]:
    """Size of every dynamic dimension that `dims` or the batch settles, by symbol; one symbol has one size."""
    sizes: dict[str, int] = {}
    for entry in inputs:
        symbols = [_symbol(entry, axis) for axis in range(len(entry.type.tensor_type.shape.dim))]
        batches = [symbol for symbol in symbols if _says_batch(symbol)]
        if not batches and symbols and symbols[0] is not None and not _says_other(symbols[0]):
            batches = symbols[:1]
        for symbol in symbols:
            if symbol is None:
                continue
            if symbol in dims:
                sizes[symbol] = dims[symbol]
            elif symbol in batches and batch is not None:
                sizes[symbol] = batch
    return sizes


def _readers(graph: GraphProto, inputs: list[ValueInfoProto]) -> dict[str, list[NodeProto]]:
    """The nodes that read each of `inputs`."""
    readers: dict[str, list[NodeProto]] = {entry.name: [] for entry in inputs}
    for node in graph.node:
        for name in read_names(node) & readers.keys():
            readers[name].append(node)
    return readers


def _may_be_empty(node: NodeProto, name: str) -> bool:
    """True if `node` takes `name` without elements: it joins it with others, or it is a past of no tokens."""
    attends = node.op_type == "Attention" and name not in node.input[:4]
    return is_standard(node) and (node.op_type == "Concat" or attends)


def _led_by_a_batch(
    readers: Mapping[str, list[NodeProto]], inputs: list[ValueInfoProto], batch: int | None
) -> set[str]:
    """Inputs whose leading size, fixed by the file, is the batch: no weights, no states, nothing beside a batch."""
    ranks = {entry.name: len(entry.type.tensor_type.shape.dim) for entry in inputs}
    others = [e for e in inputs if not readers[e.name] or not all(_no_batch(n, e.name, ranks) for n in readers[e.name])]
    return {
        entry.name
        for entry in others
        if ranks[entry.name] > 1 and _symbol(entry, 0) is None and not _is_state(entry, others, batch)
    }


def _no_batch(node: NodeProto, name: str, ranks: Mapping[str, int]) -> bool:
    """True if `node` reads `name` only where nothing leads with a batch."""
    if not is_standard(node) or (node.op_type.endswith(("MatMul", "MatMulInteger")) and ranks[name] > 2):
        return False
    positions = WEIGHTS.get(node.op_type, ())
    if not attribute(node, "layout", 0):
        positions += STEPS_FIRST.get(node.op_type, ())
    return bool(positions) and all(i in positions for i, other in enumerate(node.input) if other == name)


def _is_state(entry: ValueInfoProto, inputs: list[ValueInfoProto], batch: int | None) -> bool:
    """True if a fixed leading size of 2 or more is no batch: that is dynamic elsewhere, or has its place behind.

    A recurrent state (layers, batch, hidden) has its batch of 1 on the second axis, and another input leads with 1.
    """
    dims = entry.type.tensor_type.shape.dim
    others = [other for other in inputs if other is not entry and other.type.tensor_type.shape.dim]
    if any(_says_batch(_symbol(entry, axis)) for axis in range(1, len(dims))):
        return True
    if dims[0].dim_value < 2:
        return False
    if any(_has_dynamic_batch(other) for other in others):
        return True
    is_state = batch == 1 and len(dims) == 3 and _symbol(entry, 1) is None and dims[1].dim_value == 1
    return is_state and any(other.type.tensor_type.shape.dim[0].dim_value == 1 for other in others)


def _check_batch(inputs: list[ValueInfoProto], led: set[str], batch: int | None, dims: Mapping[str, int]) -> None:
    """Refuse a batch that no input takes, or that the sizes fixed by the file contradict."""
    fixed = {entry.name: entry.type.tensor_type.shape.dim[0].dim_value for entry in inputs if entry.name in led}
    fixed = {name: size for name, size in fixed.items() if f"{name}.0" not in dims}
    wrong = {name: size for name, size in fixed.items() if size not in (0, 1, batch)}
    if batch is not None and wrong:
        name, size = next(iter(wrong.items()))
        agree = len({size for size in fixed.values() if size > 1}) == 1
        raise NetworkError(
            f"input {name!r} has its leading dimension fixed at {size}, but batch={batch} was asked: "
            f"give {f'batch={size}, or ' if agree else ''}batch=None (--batch file) to keep the sizes of the file"
        )
    if batch in (None, 1) or fixed or any(map(_has_dynamic_batch, inputs)):
        return
    axes = [f"{entry.name}.{axis}" for entry in inputs for axis in range(len(entry.type.tensor_type.shape.dim))]
    if not any(dims.get(axis) == batch for axis in axes):
        second = next((axis for axis in axes if axis.endswith(".1")), "")
        given = f"give its size by input and axis, like dims={{{second!r}: {batch}}} or --dim {second}={batch}, or "
        raise NetworkError(
            f"batch={batch} was asked, but no dimension of the inputs shows that it is the batch: "
            f"{given if second else ''}export the file with a dynamic batch"
        )


def _has_dynamic_batch(entry: ValueInfoProto) -> bool:
    symbols = [_symbol(entry, axis) for axis in range(len(entry.type.tensor_type.shape.dim))]
    return any(map(_says_batch, symbols)) or bool(symbols and symbols[0] is not None and not _says_other(symbols[0]))


def _bind_axis(
    entry: ValueInfoProto,
    axis: int,
    batch: int | None,
    dims: Mapping[str, int],
    sizes: Mapping[str, int],
    least: int,
) -> bool:
    """Give one axis of one input its size, if it has one by now; True if that changes what the file fixes."""
    dim = entry.type.tensor_type.shape.dim[axis]
    symbol = _symbol(entry, axis)
    if f"{entry.name}.{axis}" in dims:
        size = dims[f"{entry.name}.{axis}"]
    elif symbol is None:
        size = batch if axis == 0 and batch is not None and dim.dim_value == 1 else dim.dim_value
    elif symbol in sizes:
        size = sizes[symbol]
    else:
        return False
    if isinstance(size, bool) or size < least:
        raise NetworkError(f"input {entry.name!r}: dimension {axis} has size {size}; every size must be >= {least}")
    rewritten = symbol is None and size != dim.dim_value
    dim.ClearField("dim_param")
    dim.dim_value = size
    return rewritten


def _check_bound(inputs: list[ValueInfoProto], unused: set[str], dims: Mapping[str, int]) -> None:
    """One error for all dimensions without a size, one for names in `dims` that are no dimension."""
    missing: dict[str, str] = {}
    for entry in inputs:
        if not entry.type.tensor_type.HasField("shape"):
            raise NetworkError(f"input {entry.name!r} has no shape at all; export the model with an input shape")
        for axis in range(len(entry.type.tensor_type.shape.dim)):
            symbol = _symbol(entry, axis)
            if symbol is not None:
                missing.setdefault(symbol, entry.name)
    unknown = f"dims names {sorted(unused)}, which is no dimension of any input" if unused else ""
    if missing:
        where = ", ".join(f"{symbol!r} of input {name!r}" for symbol, name in missing.items())
        given = ", ".join(f"{symbol!r}: 128" for symbol in missing)
        flags = " ".join(f"--dim {symbol}=128" for symbol in missing)
        also = f" ({unknown})" if unknown else ""
        raise NetworkError(f"dynamic dimensions without a size: {where}; give dims={{{given}}} or {flags}{also}")
    if unknown:
        names = ", ".join(entry.name for entry in inputs)
        raise NetworkError(f"{unknown}; a fixed one is addressed by input and axis, like 'x.2' (inputs: {names})")


def _forget_shapes(model: ModelProto, sizes: Mapping[str, int], trust_vendors: bool) -> None:
    """Drop every shape written in the file, except of vendor operators, which shape inference cannot know."""
    graph = model.graph
    vendor = {name for node in graph.node if not is_standard(node) for name in node.output if trust_vendors}
    kept = [entry for entry in graph.value_info if entry.name in vendor]
    for entry in kept:
        for dim in entry.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    for entry in graph.output:
        if entry.type.HasField("tensor_type") and entry.name not in vendor:
            entry.type.tensor_type.ClearField("shape")
