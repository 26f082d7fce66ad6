"""Layers and networks: what is refused, derived sizes, and distinct positions against brute force."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from strategies import layers

from dse.networks.layers import LOOPS, MacLayer, Network, VectorLayer, distinct_positions


def test_distinct_positions_equal_brute_force():
    for outputs, taps, stride, dilation in product(range(1, 9), range(1, 7), range(1, 7), range(1, 7)):
        met = {o * stride + f * dilation for o in range(outputs) for f in range(taps)}
        assert distinct_positions(outputs, taps, stride, dilation) == len(met), (outputs, taps, stride, dilation)


def test_distinct_positions_of_known_windows():
    assert distinct_positions(112, 7, 2, 1) == 229  # (112 - 1) 2 + 7
    assert distinct_positions(56, 1, 2, 1) == 56  # a 1x1 stride-2 filter skips every other pixel
    assert distinct_positions(10, 3, 1, 1) == 12
    assert distinct_positions(2, 3, 5, 1) == 6  # windows that do not meet


@settings(max_examples=300)
@given(layers())
def test_touched_equals_brute_force(layer):
    plane = 1
    for axis, outputs, taps in (("y", layer.OY, layer.FY), ("x", layer.OX, layer.FX)):
        stride, dilation, pad = (getattr(layer, f"{what}_{axis}") for what in ("stride", "dilation", "pad"))
        size = getattr(layer, f"I{axis.upper()}")
        seen = [o * stride + f * dilation - pad for o, f in product(range(outputs), range(taps))]
        assert layer.touched(axis) == len({p for p in seen if 0 <= p < size})
        plane *= layer.touched(axis)
    assert layer.input_elements == layer.B * layer.G * layer.C * plane
    assert layer.macs == math.prod(layer.loop_bounds) * layer.repeats


def test_sizes_of_a_known_convolution():
    """The first layer of ResNet-50: 118.0 million MACs, 7x7x3x64 weights; every pixel of 224x224x3 is read."""
    layer = MacLayer(
        "stem", K=64, C=3, OY=112, OX=112, FY=7, FX=7, stride_y=2, stride_x=2, pad_y=3, pad_x=3, IY=224, IX=224
    )
    assert layer.macs == 118_013_952
    assert (layer.weight_elements, layer.input_elements, layer.output_elements) == (9_408, 150_528, 802_816)
    skipping = MacLayer("shortcut", K=512, C=256, OY=28, OX=28, stride_y=2, stride_x=2, IY=56, IX=56)
    assert skipping.input_elements == 256 * 28 * 28


def test_input_size_defaults_to_just_enough():
    layer = MacLayer("l", OY=4, OX=5, FY=3, FX=2, stride_y=2, dilation_x=3, pad_y=1)
    assert (layer.IY, layer.IX) == ((4 - 1) * 2 + 3 - 1, 5 + 3)
    assert MacLayer("matrix", OX=7, C=3, K=2).input_elements == 21


@pytest.mark.parametrize("name", [*LOOPS, "stride_y", "stride_x", "dilation_y", "dilation_x", "repeats"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None])
def test_a_loop_bound_is_a_whole_number_from_one(name, value):
    with pytest.raises(ValueError, match=rf"layer 'l': {name} must be a whole number >= 1, got {value!r}"):
        MacLayer("l", **{name: value})


@pytest.mark.parametrize("name", ["pad_y", "pad_x", "IY", "IX", "vector_operations", "fused_input_elements"])
@pytest.mark.parametrize("value", [-1, 0.5, "1", False])
def test_a_count_is_a_whole_number_from_zero(name, value):
    with pytest.raises(ValueError, match=rf"layer 'l': {name} must be a whole number >= 0, got {value!r}"):
        MacLayer("l", **{name: value})


def test_padding_only_is_refused():
    with pytest.raises(ValueError, match="pad_x leaves no input to read; give IX"):
        MacLayer("l", OX=3, pad_x=3)
    with pytest.raises(ValueError, match="every filter tap falls on padding"):
        MacLayer("l", OX=3, pad_x=3, IX=5)
    with pytest.raises(ValueError, match="every filter tap falls on padding"):
        MacLayer("l", OY=2, FY=2, dilation_y=9, pad_y=4, IY=3)


@pytest.mark.parametrize("name", ["operations", "input_elements", "output_elements", "weight_elements", "repeats"])
@pytest.mark.parametrize("value", [-1, 1.5, True])
def test_a_vector_layer_counts_whole_things(name, value):
    sizes = {"operations": 1, "input_elements": 1, "output_elements": 1, name: value}
    with pytest.raises(ValueError, match=rf"layer 'v': {name} must be a whole number >= \d, got {value!r}"):
        VectorLayer("v", "Relu", **sizes)


def test_networks_refuse_what_cannot_run():
    mac, vector = MacLayer("a", K=2), VectorLayer("v", "Relu", 4, 4, 4)
    with pytest.raises(ValueError, match="network 'n' has no layers"):
        Network("n", ())
    with pytest.raises(ValueError, match="network 'n': two layers are called 'a'"):
        Network("n", (mac, vector, MacLayer("a", K=3)))
    with pytest.raises(ValueError, match=r"network 'n' has no MAC layer \(Conv, Gemm, MatMul ...\): nothing to acc"):
        Network("n", (vector,))


def test_a_network_counts_shared_weights_once_and_activations_never():
    network = Network.from_layers(
        (
            MacLayer("a", K=2, C=3, weight="shared"),
            MacLayer("b", K=2, C=3, weight="shared", repeats=5),
            MacLayer("c", K=7, C=5),
            MacLayer("d", K=100, C=100, static_weights=False),
            VectorLayer("e", "LayerNormalization", 10, 5, 5, weight_elements=50),
        )
    )
    assert network.weight_elements == 6 + 35
    assert network.macs == 6 + 30 + 35 + 10_000
    assert [layer.name for layer in network.mac_layers] == ["a", "b", "c", "d"]
    assert network.renamed("other").name == "other" and network.renamed("other").layers == network.layers


def test_shape_key_is_what_the_cost_model_sees():
    layer = MacLayer("a", K=2, C=3)
    assert layer.shape_key == MacLayer("b", "Gemm", K=2, C=3, repeats=4, inputs=("x",), weight="w").shape_key
    for change in ({"K": 4}, {"static_weights": False}, {"vector_operations": 1}, {"fused_input_elements": 1}):
        assert MacLayer("a", **{"K": 2, "C": 3} | change).shape_key != layer.shape_key
