"""Layers and networks: the normal form of every deep neural network.

A MAC layer is a loop nest over ``B G K C OY OX FY FX`` (batch, groups, output channels per group,
input channels per group, output rows and columns, filter rows and columns).  A matrix product
``M x K_red x N`` is ``OX=M, C=K_red, K=N``.  Everything else is a vector operation that is known by
its operation count and the elements it reads and writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import TypedDict, Unpack

from dse.networks.ordering import Graph, least_alive_order, topological_order
from dse.networks.toml_file import check_known, toml_key, toml_value
from dse.text.html import html_table
from dse.text.quantities import number

LOOPS = ("B", "G", "K", "C", "OY", "OX", "FY", "FX")
"""Names of the eight loop bounds, in the order in which every array of loop bounds holds them."""

OPERANDS = ("W", "I", "O")
"""Weights, inputs, outputs (partial sums are ``O`` at accumulator width)."""

WEIGHT_SPARSITIES = ("", "2:4")
"""What a layer may state of zeros among its weights: nothing, or two of each four along C."""

SPARSE_GROUP = 4
"""Weights along C of which two are zero in a layer that is 2:4."""


def distinct_positions(outputs: int, taps: int, stride: int, dilation: int) -> int:
    """Distinct input positions that `outputs` neighbouring outputs read through `taps` filter taps.

    Counts the values of ``o * stride + f * dilation`` without repeats: ``t + f - 1`` for stride and
    dilation 1, ``outputs`` for a 1-tap filter of any stride.  With ``g = gcd(stride, dilation)`` two
    pairs meet exactly when they differ by a multiple of ``(dilation / g, -stride / g)``.
    """
    g = math.gcd(stride, dilation)
    return outputs * taps - max(0, outputs - dilation // g) * max(0, taps - stride // g)


def _check_whole(owner: str, name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{owner}: {name} must be a whole number >= {least}, got {value!r}")


class Sizes(TypedDict, total=False):
    """Loop bounds, strides and sizes of a `MacLayer`, by the names of its fields."""

    B: int
    G: int
    K: int
    C: int
    OY: int
    OX: int
    FY: int
    FX: int
    stride_y: int
    stride_x: int
    dilation_y: int
    dilation_x: int
    pad_y: int
    pad_x: int
    IY: int
    IX: int


@dataclass(frozen=True)
class MacLayer:
    """One multiply-accumulate loop nest.

    Parameters
    ----------
    name : unique within its network.
    operator : the operator of the source file (``Conv``, ``Gemm``, ``MatMul`` ...).
    B, G, K, C, OY, OX, FY, FX : loop bounds [1], each at least 1.
    stride_y, stride_x, dilation_y, dilation_x : of the filter [input elements].
    pad_y, pad_x : zero rows above, zero columns left of the input [elements]; padding is never fetched.
    IY, IX : input rows and columns that exist [elements]; 0 means "just enough for every tap".
    static_weights : the second operand is a constant of the network, not an activation.
    repeats : how often the nest runs one after the other (recurrent steps).
    vector_operations : element-wise operations fused into the output path [operations, per repeat].
    fused_input_elements : activations that the fused operations read besides the MAC results
        (the shortcut of a residual addition) [elements, per repeat].
    inputs : names of the activation tensors read; the first is operand ``I``.
    fused_input : name of the tensor that the fused operations read, or "".
    output : name of the tensor written.
    weight : name of the constant that is operand ``W`` (equal names share bytes), or "".
    zero_share : share of the inputs that are zero and whose work the PEs skip [1], 0 to 1: they spend no energy on the
        MAC, the weight's register and the sum, but as much time.  0 on hardware without zero gating.
    weight_bits : width that the constant weights need [bit]; 0: that of the accelerator.  Hardware makes use of it with
        `Accelerator.narrow_weight_bits`; other hardware holds them at its own width.
    weight_sparsity : ``"2:4"``: of each four weights along C two are zero (Mishra et al., arXiv 2104.08378); "": none.
        C is a multiple of 4 then.  Hardware makes use of it with `Accelerator.sparse_weights`.
    """

    name: str
    operator: str = "MatMul"
    B: int = 1
    G: int = 1
    K: int = 1
    C: int = 1
    OY: int = 1
    OX: int = 1
    FY: int = 1
    FX: int = 1
    stride_y: int = 1
    stride_x: int = 1
    dilation_y: int = 1
    dilation_x: int = 1
    pad_y: int = 0
    pad_x: int = 0
    IY: int = 0
    IX: int = 0
    static_weights: bool = True
    repeats: int = 1
    vector_operations: int = 0
    fused_input_elements: int = 0
    inputs: tuple[str, ...] = ()
    fused_input: str = ""
    output: str = ""
    weight: str = ""
    fused: tuple[str, ...] = ()
    zero_share: float = 0.0
    weight_bits: int = 0
    weight_sparsity: str = ""

    def __post_init__(self) -> None:
        owner = f"layer {self.name!r}"
        for name in (*LOOPS, "stride_y", "stride_x", "dilation_y", "dilation_x", "repeats"):
            _check_whole(owner, name, getattr(self, name), 1)
        for name in ("pad_y", "pad_x", "IY", "IX", "vector_operations", "fused_input_elements", "weight_bits"):
            _check_whole(owner, name, getattr(self, name), 0)
        self._check_weight_form(owner)
        share = self.zero_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"{owner}: zero_share must be a number from 0 to 1, got {share!r}")
        for axis in "yx":
            if not getattr(self, "I" + axis.upper()):
                least = self.input_span(axis)
                if least < 1:
                    raise ValueError(f"{owner}: pad_{axis} leaves no input to read; give I{axis.upper()}")
                object.__setattr__(self, "I" + axis.upper(), least)
        if self.input_elements < 1:
            raise ValueError(f"{owner}: every filter tap falls on padding; check pad_y, pad_x, IY and IX")

    def _check_weight_form(self, owner: str) -> None:
        if self.weight_sparsity not in WEIGHT_SPARSITIES:
            known = ", ".join(map(repr, WEIGHT_SPARSITIES))
            raise ValueError(f"{owner}: weight_sparsity must be one of {known}, got {self.weight_sparsity!r}")
        if (self.weight_bits or self.weight_sparsity) and not self.static_weights:
            name = "weight_bits" if self.weight_bits else "weight_sparsity"
            raise ValueError(f"{owner}: {name} is a property of constant weights, but both operands are activations")
        if self.weight_sparsity and self.C % SPARSE_GROUP:
            raise ValueError(
                f"{owner}: weights are 2:4 in groups of {SPARSE_GROUP} along C, and C={self.C} is no multiple of it; "
                "leave this layer dense"
            )

    def input_span(self, axis: str) -> int:
        """Input rows (``axis="y"``) or columns (``"x"``) up to the last tap, padding left out [elements]."""
        return self._span(axis) - getattr(self, "pad_" + axis)

    def _span(self, axis: str) -> int:
        """Input positions from the first to the last tap, gaps and padding included."""
        outputs, taps = (self.OY, self.FY) if axis == "y" else (self.OX, self.FX)
        stride, dilation = getattr(self, "stride_" + axis), getattr(self, "dilation_" + axis)
        return (outputs - 1) * stride + (taps - 1) * dilation + 1

    def touched(self, axis: str) -> int:
        """Input rows (``axis="y"``) or columns (``"x"``) that some output reads [elements].

        Pixels that a stride skips and padding do not count.
        """
        outputs, taps = (self.OY, self.FY) if axis == "y" else (self.OX, self.FX)
        stride, dilation = getattr(self, "stride_" + axis), getattr(self, "dilation_" + axis)
        pad, size = getattr(self, "pad_" + axis), getattr(self, "I" + axis.upper())
        if pad == 0 and size >= self._span(axis):
            return distinct_positions(outputs, taps, stride, dilation)
        seen = {o * stride + f * dilation - pad for o in range(outputs) for f in range(taps)}
        return sum(0 <= position < size for position in seen)

    @property
    def loop_bounds(self) -> tuple[int, ...]:
        """The eight loop bounds in the order of `LOOPS`."""
        return tuple(getattr(self, name) for name in LOOPS)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations, all repeats [MACs]."""
        return math.prod(self.loop_bounds) * self.repeats

    @property
    def weight_elements(self) -> int:
        """Volume of the second operand [elements]; see `static_weights`."""
        return self.G * self.K * self.C * self.FY * self.FX

    @property
    def input_elements(self) -> int:
        """Input elements that some output reads, one repeat [elements]."""
        return self.B * self.G * self.C * self.touched("y") * self.touched("x")

    @property
    def output_elements(self) -> int:
        """Output elements, one repeat [elements]."""
        return self.B * self.G * self.K * self.OY * self.OX

    def resized(self, **changes: Unpack[Sizes]) -> MacLayer:
        """The layer with other loop bounds, strides and sizes; the work fused into it follows the outputs."""
        made = replace(self, **changes)
        share = made.output_elements / self.output_elements
        return replace(
            made,
            fused_input_elements=round(self.fused_input_elements * share),
            vector_operations=round(self.vector_operations * share),
        )

    @property
    def shape_key(self) -> tuple:
        """What the cost model sees: two layers of equal key cost the same on every design."""
        skip = {"name", "operator", "inputs", "fused_input", "output", "weight", "fused", "repeats"}
        skip |= {"weight_bits", "weight_sparsity"}  # the order in which layers run hangs on the keys of those without
        form = (self.weight_bits, self.weight_sparsity)
        key = tuple(getattr(self, f.name) for f in fields(self) if f.name not in skip)
        return (*key, *form) if any(form) else key


@dataclass(frozen=True)
class VectorLayer:
    """An operation of the vector unit: pooling, softmax, normalisation, element-wise work, look-up ...

    Parameters
    ----------
    operations : scalar operations, one repeat [operations].
    input_elements, output_elements : activations read and written, one repeat [elements].
    weight_elements : constants read (scales, look-up rows), one repeat [elements].
    """

    name: str
    operator: str
    operations: int
    input_elements: int
    output_elements: int
    weight_elements: int = 0
    repeats: int = 1
    inputs: tuple[str, ...] = ()
    output: str = ""

    macs = 0

    def __post_init__(self) -> None:
        owner = f"layer {self.name!r}"
        for name in ("operations", "input_elements", "output_elements", "weight_elements"):
            _check_whole(owner, name, getattr(self, name), 0)
        _check_whole(owner, "repeats", self.repeats, 1)


Layer = MacLayer | VectorLayer


@dataclass(frozen=True, repr=False)
class Network:
    """A DNN: layers in execution order with producer/consumer edges through tensor names.

    Parameters
    ----------
    name : for tables and result directories.
    layers : in an order in which every tensor is written before it is read.
    parameters : trainable parameters of the source [elements]; 0 = unknown.
    tensor_elements : size of each activation tensor [elements].
    source : where the definition comes from.
    """

    name: str
    layers: tuple[Layer, ...]
    parameters: int = 0
    tensor_elements: dict[str, int] = field(default_factory=dict, compare=False)
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError(f"network {self.name!r} has no layers")
        seen: set[str] = set()
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise ValueError(
                    f"network {self.name!r}: expected layers, got {layer!r}; load a network by name or path with "
                    "load_network"
                )
            if layer.name in seen:
                raise ValueError(f"network {self.name!r}: two layers are called {layer.name!r}")
            seen.add(layer.name)
        if not self.macs:
            raise ValueError(f"network {self.name!r} has no MAC layer (Conv, Gemm, MatMul ...): nothing to accelerate")
        _check_order(self)

    @cached_property
    def run_order(self) -> tuple[int, ...]:
        """Numbers of the layers in the order in which they run, which does not depend on the order of `layers`.

        It keeps the fewest elements alive; see `dse.networks.ordering.least_alive_order`.
        """
        return tuple(least_alive_order(layer_graph(self.layers, self.tensor_elements)))

    @classmethod
    def from_layers(cls, layers: Iterable[Layer], name: str = "layers") -> Network:
        """A network of independent layers (no edges)."""
        return cls(name=name, layers=tuple(layers))

    def __repr__(self) -> str:
        return f"<Network {self.name}: {number(self.macs / 1e9)} GMACs, {len(self.layers)} layers>"

    def _repr_html_(self) -> str:
        kinds: dict[str, list[Layer]] = {}
        for layer in self.layers:
            kinds.setdefault(layer.operator, []).append(layer)
        rows = [
            (kind, sum(layer.repeats for layer in mine), number(sum(layer.macs for layer in mine) / 1e6))
            for kind, mine in kinds.items()
        ]
        title = f"{self.name}: {number(self.macs / 1e9)} GMACs, {number(self.weight_elements / 1e6)} M weights"
        return html_table(title, ("operator", "layers", "MMACs"), rows)

    @property
    def mac_layers(self) -> tuple[MacLayer, ...]:
        """The MAC layers in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, MacLayer))

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one inference [MACs]."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_elements(self) -> int:
        """Constants that are operand ``W`` of some MAC layer, shared ones once [elements]."""
        shared: dict[str, int] = {}
        total = 0
        for layer in self.mac_layers:
            if not layer.static_weights:
                continue
            if layer.weight:
                shared[layer.weight] = max(shared.get(layer.weight, 0), layer.weight_elements)
            else:
                total += layer.weight_elements
        return total + sum(shared.values())

    def renamed(self, name: str) -> Network:
        """The same network under another name."""
        return replace(self, name=name)

    def with_zero_shares(self, shares: Mapping[str, float]) -> Network:
        """The same network with the `MacLayer.zero_share` of layers, by name; the others keep theirs.

        ValueError for a name that no MAC layer has, a share outside 0 to 1, or what is no dictionary.
        """
        if not isinstance(shares, Mapping):
            raise ValueError(f"shares={shares!r}: give a dictionary of shares by layer, such as {{'conv1': 0.4}}")
        for name in shares:
            check_known(name, [layer.name for layer in self.mac_layers], f"network {self.name!r}: MAC layer")
        layers: list[Layer] = list(self.layers)
        for i, layer in enumerate(self.layers):
            if isinstance(layer, MacLayer) and layer.name in shares:
                layers[i] = replace(layer, zero_share=shares[layer.name])
        return replace(self, layers=tuple(layers))

    def with_weights(
        self, layers: Iterable[str] | None = None, *, bits: int | None = None, sparsity: str | None = None
    ) -> Network:
        """The same network with other `MacLayer.weight_bits` and `MacLayer.weight_sparsity`; None keeps what they are.

        Parameters
        ----------
        layers : names of MAC layers; None: all that can have such weights.  2:4 leaves out those whose C is no multiple
            of 4 (depthwise convolutions, most first layers), and both those without constant weights.
        bits : width that the weights need [bit]; 0: that of the accelerator.
        sparsity : ``"2:4"``, or ``""`` for dense weights.

        ValueError for a name that no MAC layer has, or a named layer that cannot have such weights.
        """
        if isinstance(layers, str):
            layers = [layers]
        chosen = {layer.name for layer in self.mac_layers} if layers is None else set(layers)
        for name in sorted(chosen):
            check_known(name, [layer.name for layer in self.mac_layers], f"network {self.name!r}: MAC layer")
        changed: list[Layer] = list(self.layers)
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, MacLayer) or layer.name not in chosen:
                continue
            if layers is None and not layer.static_weights:
                continue
            if bits is not None:
                layer = replace(layer, weight_bits=bits)
            if sparsity is not None and not (layers is None and sparsity and layer.C % SPARSE_GROUP):
                layer = replace(layer, weight_sparsity=sparsity)
            changed[i] = layer
        return replace(self, layers=tuple(changed))

    def toml_text(self) -> str:
        """A TOML file that `load_network` reads back equal, sizes of the tensors too; see `dse.networks.layer_file`."""
        lines = ["[network]", f"name = {toml_value(self.name)}"]
        lines += [f"{key} = {toml_value(getattr(self, key))}" for key in ("source", "parameters") if getattr(self, key)]
        if self.tensor_elements:
            lines += ["", "[network.tensor_elements]"]
            lines += [f"{toml_key(name)} = {toml_value(size)}" for name, size in self.tensor_elements.items()]
        for layer in self.layers:
            lines += ["", "[[layer]]", *(f"{key} = {toml_value(value)}" for key, value in _told(layer).items())]
        return "\n".join([*lines, ""])


def reads_of(layer: Layer) -> tuple[tuple[str, str], ...]:
    """Pairs of the role and the name of each activation that a layer reads, each name once for a role."""
    if isinstance(layer, VectorLayer):
        return tuple(("vector", name) for name in dict.fromkeys(layer.inputs) if name)
    found = [(f"operand {i}", name) for i, name in enumerate(layer.inputs) if name]
    return (*found, *([("fused", layer.fused_input)] if layer.fused_input else ()))


def layer_graph(layers: Iterable[Layer], tensor_elements: dict[str, int]) -> Graph:
    """Who reads what of whom, as `dse.networks.ordering` takes it."""
    layers = tuple(layers)
    written = {layer.output: i for i, layer in enumerate(layers) if layer.output}
    reads = [reads_of(layer) for layer in layers]
    read = {name for found in reads for _, name in found}
    outside: dict[str, int] = {}

    def source(name: str) -> int:
        return written[name] if name in written else outside.setdefault(name, len(layers) + len(outside))

    sizes = [tensor_elements.get(layer.output, layer.output_elements) if layer.output else 0 for layer in layers]
    labels = []
    for layer, size in zip(layers, sizes, strict=True):
        told: tuple = (
            (layer.operations, layer.input_elements, layer.output_elements, layer.weight_elements)
            if isinstance(layer, VectorLayer)
            else layer.shape_key
        )
        labels.append(repr((type(layer).__name__, *told, layer.repeats, size)))
    return Graph(
        tuple(labels),
        tuple(tuple((role, source(name)) for role, name in found) for found in reads),
        tuple(size if layer.output in read else 0 for layer, size in zip(layers, sizes, strict=True)),
    )


def _check_order(network: Network) -> None:
    """Raise a ValueError where a tensor has two writers, is read before it is written, or depends on itself."""
    layers, owner = network.layers, f"network {network.name!r}"
    written: dict[str, int] = {}
    for i, layer in enumerate(layers):
        if layer.output and layer.output in written:
            raise ValueError(
                f"{owner}: layers {layers[written[layer.output]].name!r} and {layer.name!r} both write "
                f"{layer.output!r}; give each tensor one name"
            )
        written[layer.output] = i
    early = [(i, name) for i, layer in enumerate(layers) for _, name in reads_of(layer) if written.get(name, -1) >= i]
    if not early:
        return
    graph = layer_graph(layers, network.tensor_elements)
    sound = set(topological_order(graph))
    if len(sound) < len(layers):
        chain = [min(set(range(len(layers))) - sound)]
        while chain[-1] not in chain[:-1]:
            chain.append(next(s for _, s in graph.reads[chain[-1]] if s < len(layers) and s not in sound))
        loop = " <- ".join(repr(layers[i].name) for i in chain[chain.index(chain[-1]) :])
        raise ValueError(f"{owner}: the layers {loop} read each other in a cycle; no order of them can run: break it")
    i, name = early[0]
    raise ValueError(
        f"{owner}: layer {layers[i].name!r} reads {name!r} before layer {layers[written[name]].name!r} writes it; "
        "list every layer after those whose outputs it reads"
    )


def _told(layer: Layer) -> dict[str, object]:
    """The fields of a layer that it takes to make it again."""
    told = {f.name: getattr(layer, f.name) for f in fields(layer) if f.name == "name" or f.default is MISSING}
    told |= {f.name: value for f in fields(layer) if (value := getattr(layer, f.name)) != f.default}
    if isinstance(layer, MacLayer):
        for axis in "yx":
            if getattr(layer, f"I{axis.upper()}") == layer.input_span(axis):
                del told[f"I{axis.upper()}"]
        if not any(name in told for name in LOOPS):
            told["K"] = layer.K  # what tells a MAC layer from a vector layer
    return {f.name: told[f.name] for f in fields(layer) if f.name in told}


def as_network(network_or_layers: Network | Layer | Iterable[Layer]) -> Network:
    """A network of what was given: a network, one layer, or several independent layers."""
    if isinstance(network_or_layers, Network):
        return network_or_layers
    if isinstance(network_or_layers, Layer):
        network_or_layers = [network_or_layers]
    if isinstance(network_or_layers, str) or not isinstance(network_or_layers, Iterable):
        raise ValueError(
            f"expected a Network or layers, got {network_or_layers!r}; load a network by name or path with load_network"
        )
    return Network.from_layers(network_or_layers)
