"""LSTM, GRU and RNN as gate products, after the equations of the ONNX operator definitions.

Per direction: one product of all steps' inputs with ``W`` at once, and one product of the hidden state with
``R`` that repeats step after step because each waits for the one before.  The gates' element-wise work rides
on the repeated product.
"""

from __future__ import annotations

from onnx import NodeProto

from dse.networks.errors import NetworkError
from dse.networks.layers import Layer, MacLayer
from dse.networks.onnx_file.graph import attribute
from dse.networks.operators.mac_operators import join
from dse.networks.operators.reader import Reader, title

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CELL_OPERATIONS = {
    "LSTM": 5,  # i*g, f*c, their sum, tanh(c), o*tanh(c)
    "GRU": 5,  # r*h, 1-z, (1-z)*n, z*h, their sum
    "RNN": 0,
}
"""Element-wise operations per hidden unit and step besides the gates' own [operations]."""
GATE_OPERATIONS = 3
"""Per gate, hidden unit and step: add the two products, add the bias, activate [operations]."""


def recurrent(reader: Reader, node: NodeProto) -> list[Layer]:
    """Two MAC layers per direction, and a join of the directions."""
    x, w, r = node.input[:3]
    x_dims, r_dims = reader.shape(node, x), reader.shape(node, r)
    steps, batch = (x_dims[1], x_dims[0]) if attribute(node, "layout", 0) else (x_dims[0], x_dims[1])
    gates = GATES[node.op_type]
    directions, hidden = r_dims[0], r_dims[2]
    if r_dims[1] != gates * hidden:
        raise NetworkError(f"{title(node)}: recurrence weights of shape {r_dims} do not hold {gates} gate(s)")
    reader.count_parameters(w, r, *node.input[3:4], *node.input[7:8])
    written = [name for name in node.output if name]
    if not written:
        return []
    primary = written[0]
    for name in written[1:]:
        reader.alias(name, primary)
    reader.sizes[primary] = max(reader.elements(name) or 0 for name in written)
    layers: list[Layer] = []
    parts = []
    for direction in range(directions):
        suffix = f"/{('forward', 'backward')[direction]}" if directions > 1 else ""
        part = f"{primary}{suffix}"
        reader.sizes.setdefault(part, steps * batch * hidden)
        layers += _direction(reader, node, suffix, part, (steps, batch, x_dims[2], hidden))
        parts.append(part)
    if directions > 1:
        layers.append(join(reader.layer_name(node, "/join"), tuple(parts), primary))
    return layers


def _direction(
    reader: Reader, node: NodeProto, suffix: str, output: str, sizes: tuple[int, int, int, int]
) -> list[Layer]:
    """The product of the inputs and the repeated product of the state, of one direction."""
    steps, batch, features, hidden = sizes
    x, w, r = node.input[:3]
    gates = GATES[node.op_type]
    gate_tensor, state = f"{output}/gates", f"{output}/state"
    reader.sizes[gate_tensor] = steps * batch * gates * hidden
    reader.sizes[state] = batch * hidden
    of_inputs = MacLayer(
        name=reader.layer_name(node, suffix + "/input"), operator=node.op_type,
        K=gates * hidden, C=features, OX=steps * batch, static_weights=reader.constant(w) is not None,
        inputs=(reader.tensor(x),), output=gate_tensor, weight=_root(reader, w) + suffix,
        weight_bits=reader.weight_bits(w),
    )  # fmt: skip
    of_state = MacLayer(
        name=reader.layer_name(node, suffix + "/state"), operator=node.op_type,
        K=gates * hidden, C=hidden, OX=batch, repeats=steps, static_weights=reader.constant(r) is not None,
        vector_operations=batch * hidden * (GATE_OPERATIONS * gates + CELL_OPERATIONS[node.op_type]),
        inputs=(state,), fused_input=gate_tensor, fused_input_elements=batch * gates * hidden,
        output=output, weight=_root(reader, r) + suffix, weight_bits=reader.weight_bits(r),
    )  # fmt: skip
    return [of_inputs, of_state]


def _root(reader: Reader, name: str) -> str:
    constant = reader.constant(name)
    return name if constant is None else constant.root
