"""Operators of ONNX as layers: small models built here, numbers worked out by hand."""

from __future__ import annotations

import functools
import logging
import math
import warnings
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.case.node import collect_testcases

from dse.networks import NetworkError, load_network
from dse.networks.layers import MacLayer, VectorLayer
from dse.networks.operators.fusion import fuse

NUMPY_TYPES = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL, "u": TensorProto.UINT8}


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


class Builder:
    """A small ONNX model under construction; `load` writes and imports it."""

    def __init__(self, tmp_path, opset=17):
        self.path, self.opset = tmp_path / "model.onnx", opset
        self.nodes, self.inputs, self.constants = [], [], {}

    def input(self, name, shape, kind="f"):
        self.inputs.append(helper.make_tensor_value_info(name, NUMPY_TYPES[kind], shape))
        return self

    def constant(self, **arrays):
        self.constants |= arrays
        return self

    def node(self, operator, inputs, outputs, **attributes):
        self.nodes.append(helper.make_node(operator, inputs.split(","), outputs.split(","), **attributes))
        return self

    def model(self, *outputs):
        graph = helper.make_graph(
            self.nodes,
            "test",
            self.inputs,
            [helper.make_empty_tensor_value_info(name) for name in outputs or ("y",)],
            [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])

    def load(self, *outputs, batch=None, dims=None):
        onnx.save(self.model(*outputs), self.path)
        return load_network(self.path, batch=batch, dims=dims)


@pytest.fixture
def build(tmp_path):
    return Builder(tmp_path)


# ---- convolutions --------------------------------------------------------------------------------------------


def test_convolution_with_everything(build):
    build.input("x", [2, 6, 20, 17]).constant(w=floats(8, 3, 3, 5), b=floats(8))
    build.node("Conv", "x,w,b", "y", name="c", group=2, strides=[2, 1], dilations=[1, 2], pads=[1, 4, 0, 3])
    network = build.load()
    (layer,) = network.layers
    assert (layer.name, layer.operator) == ("c", "Conv")
    assert layer.loop_bounds == (2, 2, 4, 3, 10, 16, 3, 5)
    assert (layer.stride_y, layer.stride_x, layer.dilation_y, layer.dilation_x) == (2, 1, 1, 2)
    assert (layer.pad_y, layer.pad_x, layer.IY, layer.IX) == (1, 4, 20, 17)
    assert layer.vector_operations == layer.output_elements == 2 * 8 * 10 * 16  # the bias
    assert network.parameters == 8 * 3 * 3 * 5 + 8
    assert (layer.inputs, layer.output, layer.weight) == (("x",), "y", "w")
    assert network.tensor_elements == {"x": 2 * 6 * 20 * 17, "y": 2 * 8 * 10 * 16}


def test_depthwise_convolution(build):
    build.input("x", [1, 32, 14, 14]).constant(w=floats(32, 1, 3, 3)).node("Conv", "x,w", "y", group=32, pads=[1] * 4)
    (layer,) = build.load().layers
    assert layer.loop_bounds == (1, 32, 1, 1, 14, 14, 3, 3)
    assert layer.macs == 32 * 14 * 14 * 9


@pytest.mark.parametrize(("mode", "pad"), [("SAME_UPPER", 0), ("SAME_LOWER", 1), ("VALID", 0)])
def test_automatic_padding(build, mode, pad):
    build.input("x", [1, 3, 224, 224]).constant(w=floats(32, 3, 3, 3))
    build.node("Conv", "x,w", "y", strides=[2, 2], auto_pad=mode)
    (layer,) = build.load().layers
    assert (layer.OY, layer.pad_y, layer.pad_x) == (111 if mode == "VALID" else 112, pad, pad)


def test_explicit_padding_becomes_the_convolution_s_own(build):
    build.input("x", [1, 3, 10, 10]).constant(w=floats(4, 3, 3, 3), p=np.array([0, 0, 2, 1, 0, 0, 1, 1]))
    build.node("Pad", "x,p", "padded").node("Conv", "padded,w", "y")
    (layer,) = build.load().layers
    assert (layer.OY, layer.OX, layer.pad_y, layer.pad_x, layer.IY, layer.IX) == (11, 10, 2, 1, 10, 10)
    assert layer.inputs == ("x",)
    assert layer.input_elements == 3 * 10 * 10


def test_one_dimensional_convolution_uses_the_x_axis(build):
    build.input("x", [2, 4, 100]).constant(w=floats(8, 4, 5)).node("Conv", "x,w", "y", strides=[2], pads=[2, 2])
    (layer,) = build.load().layers
    assert layer.loop_bounds == (2, 1, 8, 4, 1, 50, 1, 5)
    assert (layer.stride_x, layer.pad_x, layer.IX, layer.IY) == (2, 2, 100, 1)


def test_three_dimensional_convolution_of_depth_one_is_a_batch_of_slices(build):
    build.input("x", [2, 4, 6, 8, 8]).constant(w=floats(5, 4, 1, 3, 3)).node("Conv", "x,w", "y")
    (layer,) = build.load().layers
    assert layer.loop_bounds == (12, 1, 5, 4, 6, 6, 3, 3)
    assert layer.input_elements == 2 * 4 * 6 * 8 * 8


@pytest.mark.parametrize(
    ("kernel", "strides", "nest"),
    [
        ((2, 3, 3), (2, 1, 1), (2 * 3, 1, 5, 4 * 2, 8, 8, 3, 3)),  # frames of a tubelet are channels
        ((3, 1, 1), (1, 1, 1), (2 * 10, 1, 5, 4, 4, 10, 3, 1)),  # the convolution in time of (2+1)-D networks
        ((6, 3, 3), (1, 1, 1), (2, 1, 5, 4 * 6, 8, 8, 3, 3)),  # all frames at once
        ((3, 1, 3), (1, 2, 1), (2 * 5, 1, 5, 4, 4, 8, 3, 3)),  # rows that the stride skips are never read
    ],
)
def test_three_dimensional_convolution_folds_an_axis_without_overlap(build, kernel, strides, nest):
    build.input("x", [2, 4, 6, 10, 10]).constant(w=floats(5, 4, *kernel)).node("Conv", "x,w", "y", strides=strides)
    network = build.load()
    (layer,) = network.layers
    assert layer.loop_bounds == nest
    outputs = [(size - taps) // stride + 1 for size, taps, stride in zip((6, 10, 10), kernel, strides, strict=True)]
    assert layer.macs == 2 * 5 * math.prod(outputs) * 4 * math.prod(kernel)
    assert network.weight_elements == 5 * 4 * math.prod(kernel)
    read = [
        size if taps >= stride else out
        for size, taps, stride, out in zip((6, 10, 10), kernel, strides, outputs, strict=True)
    ]
    assert layer.input_elements == 2 * 4 * math.prod(read)


def test_three_dimensional_convolution_that_overlaps_everywhere_has_exact_macs_and_weights(build):
    build.input("x", [2, 4, 9, 8, 8]).constant(w=floats(5, 4, 3, 3, 3)).node("Conv", "x,w", "y", strides=[2, 1, 1])
    network = build.load()
    (layer,) = network.layers
    assert layer.loop_bounds == (2 * 4, 1, 5, 4 * 3, 6, 6, 3, 3)
    assert layer.macs == 2 * 5 * 4 * 6 * 6 * 4 * 27
    assert layer.weight_elements == network.parameters == 5 * 4 * 27


def test_three_dimensional_transposed_convolution_folds_an_axis_without_overlap(build):
    build.input("x", [1, 6, 3, 7, 9]).constant(w=floats(6, 5, 2, 4, 4))
    network = build.node("ConvTranspose", "x,w", "y", strides=[2, 2, 2]).load()
    (layer,) = network.layers
    assert layer.loop_bounds == (3, 1, 5 * 2 * 4, 6, 7, 9, 2, 2)
    assert network.macs == 6 * 3 * 7 * 9 * 5 * 2 * 4 * 4
    assert network.weight_elements == 6 * 5 * 2 * 4 * 4


def test_three_dimensional_transposed_convolution_that_overlaps_everywhere_has_exact_macs_and_weights(build):
    build.input("x", [1, 6, 3, 7, 9]).constant(w=floats(6, 5, 3, 4, 4))
    network = build.node("ConvTranspose", "x,w", "y", strides=[2, 2, 2]).load()
    assert network.macs == 6 * 3 * 7 * 9 * 5 * 3 * 4 * 4
    assert sum(layer.weight_elements for layer in network.mac_layers) == network.parameters == 6 * 5 * 3 * 4 * 4


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "nests"),
    [
        (2, 2, 0, [(4 * 5, 1, 1)]),
        (4, 2, 1, [(4 * 5, 2, 2)]),
        (3, 1, 1, [(5, 3, 3)]),
        (3, 2, 1, [(5, 2, 2), (5, 2, 1), (5, 1, 2), (5, 1, 1)]),
        (1, 2, 0, [(5, 1, 1)]),
    ],
)
def test_transposed_convolution(build, kernel, stride, pads, nests):
    build.input("x", [1, 6, 7, 9]).constant(w=floats(6, 5, kernel, kernel))
    build.node("ConvTranspose", "x,w", "y", strides=[stride, stride], pads=[pads] * 4, name="t")
    network = build.load()
    assert [(layer.K, layer.FY, layer.FX) for layer in network.mac_layers] == nests
    assert network.macs == 6 * 7 * 9 * 5 * kernel * kernel  # every input pixel meets every tap once
    assert network.weight_elements in (6 * 5 * kernel**2, max(math.prod(n) for n in nests) * 6)
    assert all(layer.input_elements == 6 * 7 * 9 for layer in network.mac_layers)
    assert network.layers[-1].output == "y"


def test_transposed_convolution_groups_and_one_dimension(build):
    build.input("x", [1, 8, 30]).constant(w=floats(8, 3, 4), b=floats(6))
    build.node("ConvTranspose", "x,w,b", "y", strides=[2], pads=[1, 1], group=2)
    (layer,) = build.load().layers
    assert layer.loop_bounds == (1, 2, 6, 4, 1, 30, 1, 2)
    assert layer.macs == 8 * 30 * 3 * 4
    assert layer.output_elements == 6 * 60 == layer.vector_operations


def test_deformable_convolution_samples_and_multiplies(build):
    build.opset = 19
    build.input("x", [2, 6, 9, 9]).input("o", [2, 18, 7, 7]).input("m", [2, 9, 7, 7]).constant(w=floats(4, 3, 3, 3))
    network = build.constant(b=floats(4)).node("DeformConv", "x,w,o,b,m", "y", group=2, name="d").load()
    samples, layer = network.layers
    assert samples.operations == 9 * samples.output_elements == 9 * 2 * 6 * 9 * 49
    assert samples.input_elements == 2 * (6 * 81 + 18 * 49 + 9 * 49) and samples.inputs == ("x", "o", "m")
    assert (layer.B, layer.G, layer.K, layer.C, layer.OX) == (2, 2, 2, 27, 49) and layer.inputs == (samples.output,)
    assert (
        network.macs == 2 * 4 * 49 * 27 and network.parameters == 4 * 27 + 4 and layer.vector_operations == 2 * 4 * 49
    )


@pytest.mark.parametrize(
    ("x", "o", "m"),
    [
        ([2, 4, 9, 9], [2, 18, 7, 7], [2, 9, 7, 7]),
        ([2, 6, 9, 9], [2, 10, 7, 7], [2, 9, 7, 7]),
        ([2, 6, 9, 9], [2, 18, 5, 7], [2, 9, 7, 7]),
        ([2, 6, 9, 9], [2, 18, 7, 7], [2, 8, 7, 7]),
    ],
)
def test_deformable_convolution_that_does_not_fit_is_one_clear_line(build, x, o, m):
    """Channels, offsets and masks of any number were read."""
    build.opset = 19
    build.input("x", x).input("o", o).input("m", m).constant(w=floats(4, 3, 3, 3), b=floats(4))
    with pytest.raises(NetworkError, match="'d' .DeformConv.: .* (do not fit|not) "):
        build.node("DeformConv", "x,w,o,b,m", "y", group=2, name="d").load()


def test_transposed_convolution_that_does_not_fit_is_one_clear_line(build):
    """Five input channels were read with weights for three."""
    build.input("x", [1, 5, 8, 8]).constant(w=floats(3, 4, 3, 3)).node("ConvTranspose", "x,w", "y", name="up")
    with pytest.raises(NetworkError, match="'up' .* 5 input channels"):
        build.load()


def test_quantised_convolution_and_product(build):
    scale, zero = np.float32(0.1), np.uint8(0)
    build.input("x", [1, 3, 8, 8], "u").constant(s=scale, z=zero, w=np.ones((4, 3, 3, 3), np.uint8))
    build.constant(b=np.ones(4, np.int32), v=np.ones((36, 10), np.uint8))
    build.node("QLinearConv", "x,s,z,w,s,z,s,z,b", "h").node("Reshape", "h,shape", "r").constant(
        shape=np.array([4, 36])
    )
    build.node("QLinearMatMul", "r,s,z,v,s,z,s,z", "y")
    network = build.load()
    assert [layer.loop_bounds for layer in network.layers] == [(1, 1, 4, 3, 6, 6, 3, 3), (1, 1, 10, 36, 1, 4, 1, 1)]
    assert network.layers[1].inputs == ("h",)
    assert network.parameters == 108 + 4 + 360


def test_integer_convolution(build):
    build.input("x", [1, 3, 8, 8], "u").constant(w=np.ones((4, 3, 3, 3), np.uint8), z=np.uint8(1))
    (layer,) = build.node("ConvInteger", "x,w,z", "y").load().layers
    assert layer.macs == 4 * 3 * 36 * 9
    assert layer.vector_operations == 0


# ---- matrix products -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("transpose_a", [0, 1])
@pytest.mark.parametrize("transpose_b", [0, 1])
def test_gemm(build, transpose_a, transpose_b):
    build.input("x", [64, 8] if transpose_a else [8, 64]).constant(c=floats(32))
    build.constant(w=floats(32, 64) if transpose_b else floats(64, 32))
    (layer,) = build.node("Gemm", "x,w,c", "y", transA=transpose_a, transB=transpose_b).load().layers
    assert (layer.OX, layer.C, layer.K, layer.G, layer.B) == (8, 64, 32, 1, 1)
    assert layer.static_weights and layer.vector_operations == 8 * 32


def test_constant_first_operand_is_the_weight(build):
    (layer,) = build.input("x", [64, 8]).constant(w=floats(32, 64)).node("MatMul", "w,x", "y").load().layers
    assert (layer.OX, layer.C, layer.K, layer.weight, layer.inputs) == (8, 64, 32, "w", ("x",))


@pytest.mark.parametrize(
    ("a", "b", "nest"),
    [
        ((2, 5, 7, 64), (64, 32), (1, 2 * 5 * 7, 64, 32)),
        ((2, 5, 7, 64), (1, 1, 64, 32), (1, 70, 64, 32)),
        ((2, 5, 7, 64), (5, 64, 32), (5, 14, 64, 32)),
        ((64,), (64, 32), (1, 1, 64, 32)),
        ((3, 64), (64,), (1, 3, 64, 1)),
    ],
)
def test_matmul_folds_leading_axes_only_if_the_weights_are_shared(build, a, b, nest):
    (layer,) = build.input("x", list(a)).constant(w=floats(*b)).node("MatMul", "x,w", "y").load().layers
    assert (layer.G, layer.OX, layer.C, layer.K) == tuple(nest)
    assert layer.static_weights
    assert layer.input_elements == math.prod(a)
    assert layer.weight_elements == math.prod(b)


def test_product_of_activations_is_batched_and_not_static(build):
    build.input("q", [2, 12, 50, 64]).input("k", [2, 12, 64, 50]).node("MatMul", "q,k", "y")
    network = build.load()
    (layer,) = network.layers
    assert (layer.G, layer.OX, layer.C, layer.K) == (24, 50, 64, 50)
    assert not layer.static_weights and layer.weight == "" and layer.inputs == ("q", "k")
    assert network.weight_elements == 0


def test_shared_weights_count_once_in_bytes_and_each_time_in_macs(build):
    build.input("x", [4, 16]).constant(w=floats(16, 16))
    build.node("MatMul", "x,w", "h").node("Identity", "w", "w2").node("Transpose", "w2", "w3", perm=[1, 0])
    network = build.node("MatMul", "h,w3", "y").load()
    assert {layer.weight for layer in network.layers} == {"w"}
    assert network.macs == 2 * 4 * 16 * 16
    assert network.weight_elements == network.parameters == 256


@pytest.mark.parametrize(
    ("equation", "shapes", "nest"),
    [
        ("ij,jk->ik", [(4, 5), (5, 6)], (1, 4, 5, 6)),
        ("ij,kj", [(4, 5), (6, 5)], (1, 4, 5, 6)),
        ("bhqd,bhkd->bhqk", [(2, 3, 7, 8), (2, 3, 9, 8)], (6, 7, 8, 9)),
        ("bqhd,bkhd->bhqk", [(2, 7, 3, 8), (2, 9, 3, 8)], (6, 7, 8, 9)),
        ("...ij,jk->...ik", [(2, 3, 4, 5), (5, 6)], (1, 24, 5, 6)),
        ("...ij,...jk->...ik", [(2, 1, 4, 5), (3, 5, 6)], (1, 8, 5, 18)),
        ("i,j->ij", [(4,), (6,)], (1, 4, 1, 6)),
        ("i,i", [(5,), (5,)], (1, 1, 5, 1)),
        ("abcd,cde->abe", [(2, 3, 4, 5), (4, 5, 6)], (1, 6, 20, 6)),
    ],
)
def test_einsum_of_two(build, equation, shapes, nest):
    build.input("a", shapes[0]).input("b", shapes[1])
    network = build.node("Einsum", "a,b", "y", equation=equation).load()
    (layer,) = network.layers
    assert (layer.G, layer.OX, layer.C, layer.K) == nest
    assert network.tensor_elements["y"] == layer.output_elements == np.einsum(equation, *map(floats_of, shapes)).size
    assert not layer.static_weights and layer.inputs == ("a", "b")


def floats_of(shape) -> np.ndarray:
    return floats(*shape)


def test_einsum_with_constant_first_operand(build):
    build.input("x", [2, 7, 16]).constant(w=floats(3, 16, 5))
    (layer,) = build.node("Einsum", "w,x", "y", equation="hcd,blc->bhld").load().layers
    assert layer.static_weights and layer.weight == "w" and layer.inputs == ("x",)
    assert (layer.G, layer.OX, layer.C, layer.K) == (1, 14, 16, 15)


def test_einsum_of_three_and_sums_and_scales(build):
    build.input("a", [4, 5]).input("b", [5, 6]).input("c", [6, 7]).input("s", [4])
    build.node("Einsum", "a,b,c", "p", equation="ij,jk,kl->il", name="three")
    build.node("Einsum", "p,s", "q", equation="ij,i->ij", name="scale")
    build.node("Einsum", "q,b", "y", equation="ij,kl->ik", name="sums")
    network = build.load()
    assert [(layer.name, layer.macs) for layer in network.layers] == [
        ("three/1", 4 * 5 * 6), ("three/2", 4 * 6 * 7), ("scale", 0), ("sums/sum_a", 0), ("sums/sum_b", 0),
        ("sums", 4 * 5),
    ]  # fmt: skip
    assert network.layers[2].operations == 28
    assert network.layers[3].operations == 28 and network.layers[4].operations == 30


@pytest.mark.parametrize("equation", ["bi,i->bi", "bi,ij->b", "bi,ij->bj"])
def test_constants_of_an_einsum_are_parameters(build, equation):
    """They were not where no product came of them."""
    weight = floats(16, 32) if "ij" in equation else floats(16)
    build.input("x", [4, 8]).constant(w0=floats(8, 16), w=weight).node("MatMul", "x,w0", "h")
    network = build.node("Einsum", "h,w", "y", equation=equation).load()
    assert network.parameters == 8 * 16 + weight.size


@pytest.mark.parametrize("equation", ["ij,jk->iz", "ij,jk->iik", "ij,jk->ik->a", "i1,1k->ik", "ij,jk->i,k"])
def test_einsum_that_is_no_equation_is_one_clear_line(build, equation):
    """All were read."""
    build.input("a", [4, 5]).constant(w=floats(5, 7)).node("MatMul", "a,w", "m")
    build.node("Einsum", "a,w", "y", equation=equation, name="mix")
    with pytest.raises(NetworkError, match="mix|contradict"):
        build.load("y", "m")


@pytest.mark.parametrize("equation", ["ij,jk,kl->il", "ijk,jk->i", "ij,jk->ik"])
def test_einsum_that_does_not_fit_is_one_clear_line(build, equation):
    build.input("a", [4, 5]).input("b", [6, 7]).constant(w=floats(7, 7)).node("MatMul", "b,w", "m")
    build.node("Einsum", "a,b", "y", equation=equation, name="mix")
    with pytest.raises(NetworkError, match="mix|contradict"):
        build.load("y", "m")


def test_attention_with_grouped_queries_past_and_mask(build):
    build.opset = 23
    build.input("q", [2, 7, 6 * 8]).input("k", [2, 4, 2 * 8]).input("v", [2, 4, 2 * 10]).input("m", [7, 9])
    build.input("pk", [2, 2, 5, 8]).input("pv", [2, 2, 5, 10])
    build.node("Attention", "q,k,v,m,pk,pv", "y,nk,nv", q_num_heads=6, kv_num_heads=2, name="a", softcap=2.0)
    network = build.load("y", "nk", "nv")
    keys, values, scores, softmax, product = network.layers
    assert [layer.name for layer in network.layers] == ["a/keys", "a/values", "a/scores", "a/softmax", "a/values#2"]
    assert (keys.inputs, keys.output, values.inputs, values.output) == (("pk", "k"), "nk", ("pv", "v"), "nv")
    assert (scores.G, scores.OX, scores.C, scores.K) == (4, 21, 8, 9)  # three query heads share a head of keys
    assert (product.G, product.OX, product.C, product.K) == (4, 21, 9, 10)
    assert scores.inputs == ("q", "nk") and scores.fused_input == "m" and scores.fused_input_elements == 63
    assert scores.vector_operations == (1 + 1 + 3) * 2 * 6 * 7 * 9 and softmax.operations == 5 * 2 * 6 * 7 * 9
    assert product.inputs == (softmax.output, "nv") and product.output == "y"
    assert network.tensor_elements["nk"] == 2 * 2 * 9 * 8 and network.tensor_elements["y"] == 2 * 7 * 60
    assert not scores.static_weights and network.parameters == 0


def test_attention_whole_and_in_primitives_has_the_same_products(tmp_path):
    whole = Builder(tmp_path, opset=23).input("q", [2, 3, 7, 8]).input("k", [2, 3, 9, 8]).input("v", [2, 3, 9, 8])
    parts = Builder(tmp_path, opset=23).input("q", [2, 3, 7, 8]).input("k", [2, 3, 9, 8]).input("v", [2, 3, 9, 8])
    one = whole.node("Attention", "q,k,v", "y").load()
    parts.constant(scale=np.float32(0.35)).node("Transpose", "k", "t", perm=[0, 1, 3, 2]).node("MatMul", "q,t", "s")
    two = parts.node("Mul", "s,scale", "u").node("Softmax", "u", "p").node("MatMul", "p,v", "y").load()
    assert [layer.loop_bounds for layer in one.mac_layers] == [layer.loop_bounds for layer in two.mac_layers]
    assert [layer.vector_operations for layer in one.mac_layers] == [
        layer.vector_operations for layer in two.mac_layers
    ]
    assert one.layers[1].operations == two.layers[1].operations


def test_attention_heads_that_do_not_fit(build):
    build.opset = 23
    build.input("q", [1, 4, 24]).input("k", [1, 6, 24]).input("v", [1, 6, 24])
    build.node("Attention", "q,k,v", "y", q_num_heads=3, kv_num_heads=2, name="a")
    with pytest.raises(NetworkError, match="'a' \\(Attention\\)|contradict"):
        build.load()


@pytest.mark.parametrize(
    ("k", "v"), [([3, 2, 6, 8], [3, 2, 6, 8]), ([1, 2, 6, 4], [1, 2, 6, 8]), ([1, 2, 6, 8], [1, 2, 5, 8])]
)
def test_attention_whose_operands_do_not_fit(build, k, v):
    """Keys of another batch or width, and values of another number, were read."""
    build.opset = 23
    build.input("q", [1, 4, 4, 8]).input("k", k).input("v", v).node("Attention", "q,k,v", "y", name="a")
    with pytest.raises(NetworkError, match="'a' .Attention.: keys .* do not fit"):
        build.load()


@pytest.mark.parametrize("past", [0, 3])
def test_attention_with_a_past_of_no_tokens(build, past):
    """A past of 0 tokens was refused, and keys handed out without a past were a tensor that nothing made."""
    build.opset = 23
    build.input("q", [4, 8, 5, 16]).input("k", [4, 2, 5, 16]).input("v", [4, 2, 5, 16])
    build.input("pk", [4, 2, "past", 16]).input("pv", [4, 2, "past", 16])
    build.node("Attention", "q,k,v,,pk,pv", "y,keys,values").node("Relu", "keys", "z")
    network = build.load("y", "z", "values", dims={"past": past})
    assert network.macs == 2 * 4 * 8 * 5 * (5 + past) * 16
    assert network.layers[-1].inputs == (("keys",) if past else ("k",))


def test_concatenation_with_a_past_of_no_tokens(build):
    """It was refused."""
    build.input("x", [1, 4, 8]).input("past", [1, "past", 8]).constant(w=floats(8, 8))
    build.node("Concat", "past,x", "all", axis=1).node("MatMul", "all,w", "y")
    assert build.load(dims={"past": 0}).macs == 4 * 64 and build.load(dims={"past": 2}).macs == 6 * 64
    assert build.load(dims={"past": 0}).layers[0].inputs == ("x",)
    with pytest.raises(NetworkError, match="every size must be >= 0"):
        build.load(dims={"past": -1})


# ---- recurrent cells -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("layout", [0, 1])
def test_recurrent_cell(build, operator, gates, layout):
    build.input("x", [3, 10, 20] if layout else [10, 3, 20])
    build.constant(w=floats(1, gates * 32, 20), r=floats(1, gates * 32, 32), b=floats(1, 2 * gates * 32))
    build.node(operator, "x,w,r,b", "y", hidden_size=32, layout=layout, name="cell")
    network = build.load()
    of_inputs, of_state = network.layers
    assert (of_inputs.OX, of_inputs.C, of_inputs.K, of_inputs.repeats) == (30, 20, gates * 32, 1)
    assert (of_state.OX, of_state.C, of_state.K, of_state.repeats) == (3, 32, gates * 32, 10)
    assert network.macs == 10 * 3 * gates * 32 * (20 + 32)
    assert network.parameters == gates * 32 * (20 + 32 + 2)
    assert network.weight_elements == gates * 32 * (20 + 32)
    assert of_state.fused_input == of_inputs.output and of_state.output == "y"
    assert network.tensor_elements["y"] == 10 * 3 * 32


def test_bidirectional_lstm_feeds_the_next_layer(build):
    build.input("x", [10, 3, 20]).constant(w=floats(2, 128, 20), r=floats(2, 128, 32), v=floats(64, 5))
    build.node("LSTM", "x,w,r", "h,last", hidden_size=32, direction="bidirectional", name="cell")
    build.node("Transpose", "h", "t", perm=[0, 2, 1, 3]).node("Reshape", "t,s", "f").constant(s=np.array([10, 3, 64]))
    network = build.node("MatMul", "f,v", "y").load()
    assert [layer.name for layer in network.layers] == [
        "cell/forward/input",
        "cell/forward/state",
        "cell/backward/input",
        "cell/backward/state",
        "cell/join",
        network.layers[-1].name,
    ]
    assert network.layers[-1].inputs == ("h",)
    assert network.macs == 2 * 10 * 3 * 128 * 52 + 30 * 64 * 5
    assert network.weight_elements == 2 * 128 * 52 + 64 * 5
    assert network.layers[4].operations == 0


# ---- where weights and shapes hide ---------------------------------------------------------------------------


def test_weights_as_constant_nodes_and_constant_of_shape_and_behind_identity(build):
    weight = onnx.numpy_helper.from_array(floats(8, 3, 3, 3), "value")
    build.input("x", [1, 3, 16, 16]).constant(shape=np.array([8, 8, 3, 3]))
    build.node("Constant", "", "w1", value=weight).node("ConstantOfShape", "shape", "w2").node("Identity", "w2", "w3")
    build.nodes[0].input.pop()
    network = build.node("Conv", "x,w1", "h").node("Conv", "h,w3", "y").load()
    assert [(layer.static_weights, layer.weight) for layer in network.layers] == [(True, "w1"), (True, "w2")]
    assert network.parameters == network.weight_elements == 8 * 3 * 9 + 8 * 8 * 9


def test_quantised_weights_behind_dequantisation_are_static(build):
    build.input("x", [1, 64, 9, 9]).constant(w=np.ones((96, 64, 3, 3), np.int8), s=np.float32(0.5), z=np.int8(0))
    build.node("QuantizeLinear", "x,s,z", "q").node("DequantizeLinear", "q,s,z", "d")
    network = build.node("DequantizeLinear", "w,s,z", "v").node("Conv", "d,v", "y").load()
    (layer,) = network.layers
    assert layer.static_weights and layer.weight == "w" and layer.inputs == ("x",)
    assert network.parameters == 96 * 64 * 9


def test_external_weights_may_be_absent(tmp_path):
    build = Builder(tmp_path).input("x", ["batch", 64, 9, 9]).constant(w=floats(96, 64, 3, 3), s=np.array([0, -1]))
    build.constant(v=floats(96 * 49, 10))
    build.node("Conv", "x,w", "h").node("Reshape", "h,s", "r").node("MatMul", "r,v", "y")
    onnx.save(build.model(), build.path, save_as_external_data=True, location="model.data", size_threshold=0)
    complete = load_network(build.path)
    assert complete.macs == 96 * 64 * 9 * 49 + 96 * 49 * 10
    onnx.save(build.model(), build.path, save_as_external_data=True, location="model.data", size_threshold=100)
    (tmp_path / "model.data").unlink()
    assert load_network(build.path) == complete


def test_shapes_that_the_graph_computes_are_folded(build):
    build.input("x", ["batch", 8, "height", "width"]).constant(i=np.array(0), minus=np.array([-1]), w=floats(288, 5))
    build.constant(k=floats(8, 8, 3, 3))
    build.node("Conv", "x,k", "h").node("Shape", "h", "s").node("Gather", "s,i", "n", axis=0)
    build.node("Unsqueeze", "n,zero", "m").constant(zero=np.array([0])).node("Concat", "m,minus", "t", axis=0)
    build.node("Reshape", "h,t", "r").node("MatMul", "r,w", "y")
    network = build.load(batch=3, dims={"height": 8, "width": 8})
    assert network.layers[1].OX == 3
    assert len(network.layers) == 2


def test_empty_constant_in_a_shape_computation(build):
    """torch appends no zeros to paddings that are complete: that empty tensor was taken for unknown."""
    build.input("x", [1, 12, 8]).constant(
        zero=np.array([0]), pads=np.array([0, 0, 0, 1, 0, 0]), pairs=np.array([-1, 2])
    )
    build.constant(flat=np.array([-1]), w=floats(8, 5))
    fill = onnx.numpy_helper.from_array(np.array([0]))
    build.node("ConstantOfShape", "zero", "none", value=fill).node("Concat", "pads,none", "all", axis=0)
    build.node("Reshape", "all,pairs", "table").node("Transpose", "table", "turned", perm=[1, 0])
    build.node("Reshape", "turned,flat", "p").node("Pad", "x,p", "longer").node("MatMul", "longer,w", "y")
    assert build.load().macs == 13 * 8 * 5


def test_two_thousand_nodes_whose_shapes_depend_on_each_other(build):
    """Each reshape waits for the one before: deep files needed one run of shape inference a level, and 100 at most."""
    build.input("y0", ["batch", 64]).constant(w=floats(64, 64), first=np.array([0]), rest=np.array([64]))
    build.constant(two=np.array([2.0], np.float32))
    for i in range(200):
        build.node("MatMul", f"y{i},w", f"m{i}").node("Shape", f"m{i}", f"s{i}")
        build.node("Gather", f"s{i},first", f"n{i}").node("Cast", f"n{i}", f"f{i}", to=1)
        build.node("Mul", f"f{i},two", f"d{i}").node("Div", f"d{i},two", f"h{i}").node("Floor", f"h{i}", f"l{i}")
        build.node("Cast", f"l{i}", f"k{i}", to=7).node("Concat", f"k{i},rest", f"t{i}", axis=0)
        build.node("Reshape", f"m{i},t{i}", f"y{i + 1}")
    network = build.load("y200", batch=3)
    assert len(build.nodes) == 2000
    assert network.macs == 200 * 3 * 64 * 64


def test_if_on_an_input_takes_the_branch_that_dims_names(build):
    def branch(name, width):
        nodes = [
            helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(floats(16, width))),
            helper.make_node("MatMul", ["x", "w"], ["h"], name="fc"),
            helper.make_node("ReduceSum", ["h"], ["out"], name="sum"),
        ]
        return helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info("out")])

    build.input("x", [1, 16]).input("rate", [], "i").constant(limit=np.int64(9000)).node("Greater", "rate,limit", "c")
    build.node("If", "c", "y", then_branch=branch("a", 100), else_branch=branch("b", 10), name="choice")
    assert build.load(batch=1, dims={"rate": 16000}).macs == 1600
    assert build.load(batch=1, dims={"rate": 8000}).macs == 160
    with pytest.raises(NetworkError, match=r"'choice' \(If\): holds MAC operator"):
        build.load(batch=1)


def loop_body(nodes, states, stored=(), condition="go"):
    """A body of a Loop with a step number `i`, a condition that goes on, and `states` (name, shape, result)."""
    inputs = [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", 9, [])]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape, _ in states]
    outputs = [helper.make_tensor_value_info("on", 9, [])]
    outputs += [helper.make_empty_tensor_value_info(result) for *_, result in states]
    nodes = [helper.make_node("Identity", [condition], ["on"]), *nodes]
    arrays = [onnx.numpy_helper.from_array(array, name) for name, array in dict(stored).items()]
    return helper.make_graph(nodes, "body", inputs, outputs, arrays)


def test_loop_of_constant_trip_count_is_unrolled(build):
    nodes = [helper.make_node("MatMul", ["s", "w"], ["m"], name="fc"), helper.make_node("Relu", ["m"], ["t"])]
    body = loop_body(nodes, [("s", [2, 8], "t")], {"w": floats(8, 8)})
    body.output.append(helper.make_empty_tensor_value_info("m"))  # what every step made, stacked
    build.input("x", [2, 8]).constant(n=np.int64(5), true=np.bool_(True), v=floats(8, 3))
    build.node("Loop", "n,true,x", "last,all", body=body, name="loop").node("MatMul", "last,v", "y")
    network = build.load("y", "all")
    assert [layer.name for layer in network.mac_layers[:5]] == [f"loop/{step}/fc" for step in range(5)]
    assert network.macs == 5 * 2 * 8 * 8 + 2 * 8 * 3
    assert network.parameters == network.weight_elements == 64 + 24  # all steps share the weights
    assert [layer.inputs for layer in network.mac_layers[:3]] == [("x",), ("loop/0/t",), ("loop/1/t",)]
    assert next(layer for layer in network.layers if layer.operator == "Concat").output == "all"


@pytest.mark.parametrize(
    ("counted", "asked", "body_says", "steps"),
    [
        (0, "", None, 0),
        (-1, "", None, 0),
        (None, False, None, 0),
        (7, False, None, 0),
        (None, "", False, 1),
        (7, "", False, 1),
        (0, True, False, 0),
        (7, True, True, 7),
    ],
)
def test_loop_that_constants_end(build, counted, asked, body_says, steps):
    """All were refused as decided while running but those without a stack and the last."""
    nodes = [helper.make_node("MatMul", ["s", "w"], ["t"])]
    stored = {} if body_says is None else {"told": np.bool_(body_says)}
    body = loop_body(nodes, [("s", [2, 8], "t")], stored, "go" if body_says is None else "told")
    body.output.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, [2, 8]))
    build.input("x", [2, 8]).constant(w=floats(8, 8), v=floats(8, 4))
    build.constant(**({} if counted is None else {"n": np.int64(counted)}))
    build.constant(**({} if asked == "" else {"ask": np.bool_(asked)}))
    inputs = f"{'' if counted is None else 'n'},{'' if asked == '' else 'ask'},x"
    build.node("Loop", inputs, "last,all", body=body, name="loop").node("MatMul", "last,v", "y")
    network = build.load("y", "all")
    assert network.macs == 2 * 8 * (8 * steps + 4)


def test_loop_without_a_first_output(build):
    body = loop_body([helper.make_node("MatMul", ["s", "w"], ["t"])], [("s", [2, 8], "t")])
    body.output.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, [2, 8]))
    build.input("x", [2, 8]).constant(w=floats(8, 8), n=np.int64(3))
    assert build.node("Loop", "n,,x", ",y", body=body).load().macs == 3 * 2 * 8 * 8


def test_loop_that_an_input_counts_says_how_to_count_it(build):
    body = loop_body([helper.make_node("MatMul", ["s", "w"], ["t"])], [("s", [2, 8], "t")])
    build.input("x", [2, 8]).input("n", [], "i").constant(w=floats(8, 8)).node("Loop", "n,,x", "y", body=body)
    with pytest.raises(NetworkError, match=r"give dims=\{'n': 1\} or --dim n=1, with the value that decides"):
        build.load()
    assert build.load(dims={"n": 5}).macs == 5 * 2 * 8 * 8


def test_loop_of_millions_of_empty_steps_is_not_unrolled(build, caplog):
    """No node a step was no limit, and took minutes."""
    body = loop_body([], [("r", [2, 8], "r")])
    del body.node[:]
    body.output[0].name = "go"
    build.input("x", [2, 8]).constant(w=floats(8, 8), n=np.int64(2_000_000))
    build.node("Loop", "n,,x", "s", body=body).node("MatMul", "x,w", "y")
    with caplog.at_level(logging.WARNING, logger="dse"):
        assert build.load("y", "s").macs == 2 * 8 * 8
    assert "Loop (1x)" in caplog.text


def test_graph_of_constants_only_says_so(build):
    build.input("x", [2, 8]).constant(a=floats(2, 2)).node("MatMul", "a,a", "y").node("Identity", "x", "z")
    with pytest.raises(NetworkError, match="computes constants or hands its inputs on"):
        build.load("y", "z")


def test_loop_without_a_body_is_one_clear_line(build):
    with pytest.raises(NetworkError, match="'l' .Loop. does not follow the definition of its operator"):
        build.input("x", [2, 8]).constant(n=np.int64(3)).node("Loop", "n,,x", "y", name="l").load()


def test_loop_that_a_shape_counts_and_whose_state_grows(build):
    nodes = [
        helper.make_node("MatMul", ["s", "w"], ["m"], name="fc"),
        helper.make_node("ReduceMean", ["m"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Concat", ["s", "x"], ["longer"], axis=0),
    ]
    body = loop_body(nodes, [("s", None, "longer"), ("old", [1, 4], "mean")])
    build.input("x", ["batch", 8]).constant(w=floats(8, 4), axis=np.int64(0), start=floats(1, 4))
    build.node("Shape", "x", "dims").node("Gather", "dims,axis", "n")
    build.node("Loop", "n,,x,start", "long,y", body=body, name="loop").node("ReduceMax", "long", "top")
    last = build.load("y", "top", batch=3)
    # only the last step's product reaches an output; it sees the batch and two more
    assert [(layer.name, layer.OX) for layer in last.mac_layers] == [("loop/2/fc", 9)]


def test_nested_loops_and_a_branch_on_the_step(build):
    branch = [
        helper.make_graph([helper.make_node(*node)], name, [], [helper.make_empty_tensor_value_info("b")])
        for name, node in (("then", ("MatMul", ["s", "w"], ["b"], "first")), ("else", ("Relu", ["s"], ["b"])))
    ]
    inner_nodes = [
        helper.make_node("Equal", ["i", "zero"], ["first"]),
        helper.make_node("If", ["first"], ["t"], then_branch=branch[0], else_branch=branch[1], name="choice"),
    ]
    inner = loop_body(inner_nodes, [("s", [2, 8], "t")])
    outer_nodes = [helper.make_node("Loop", ["n", "", "r"], ["u"], body=inner, name="inner")]
    outer = loop_body(outer_nodes, [("r", [2, 8], "u")])
    outer.input[0].name, outer.input[1].name, outer.node[0].input[0] = "j", "on_j", "on_j"
    build.input("x", [2, 8]).constant(n=np.int64(3), zero=np.int64(0), w=floats(8, 8))
    network = build.node("Loop", "n,,x", "y", body=outer, name="outer").load()
    assert network.macs == 3 * 2 * 8 * 8  # the first of three inner steps, three times
    assert network.parameters == 64


def test_constants_of_nested_graphs_are_stored_once_however_often_they_run(build):
    """What an inner loop or a branch inside a loop stores counted once for every step of the outer loop."""
    inner = loop_body([helper.make_node("MatMul", ["s", "w"], ["t"])], [("s", [2, 8], "t")], {"w": floats(8, 8)})
    branches = [
        helper.make_graph(
            [
                helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(floats(8, 8))),
                helper.make_node("Constant", [], ["shape"], value_ints=[2, 8]),
                helper.make_node("MatMul", ["u", "w"], ["m"]),
                helper.make_node("Reshape", ["m", "shape"], ["b"]),
            ],
            "branch", [], [helper.make_empty_tensor_value_info("b")],
        )
        for _ in range(2)
    ]  # fmt: skip
    nodes = [
        helper.make_node("Loop", ["n", "", "r"], ["u"], body=inner, name="inner"),
        helper.make_node("Mod", ["i", "two"], ["odd"]),
        helper.make_node("Cast", ["odd"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["v"], then_branch=branches[0], else_branch=branches[1], name="choice"),
    ]
    build.input("x", [2, 8]).constant(n=np.int64(3), two=np.int64(2))
    build.node("Loop", "n,,x", "y", body=loop_body(nodes, [("r", [2, 8], "v")]), name="outer")
    network = build.load()
    assert network.macs == 3 * (3 + 1) * 2 * 8 * 8
    assert network.parameters == network.weight_elements == 3 * 8 * 8  # the inner loop's, and one of each branch


def test_scan_is_unrolled_along_its_axis(build):
    nodes = [
        helper.make_node("MatMul", ["piece", "w"], ["a"], name="in"),
        helper.make_node("MatMul", ["s", "r"], ["b"], name="state"),
        helper.make_node("Add", ["a", "b"], ["t"]),
        helper.make_node("Identity", ["t"], ["out"]),
    ]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes, "body", [value("s", 1, [2, 8]), value("piece", 1, [2, 6])],
        [helper.make_empty_tensor_value_info("t"), helper.make_empty_tensor_value_info("out")],
    )  # fmt: skip
    build.input("h", [2, 8]).input("x", [2, 9, 6]).constant(w=floats(6, 8), r=floats(8, 8), v=floats(8, 4))
    build.node("Scan", "h,x", "last,all", body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1])
    network = build.node("MatMul", "all,v", "y").load()
    assert network.macs == 9 * 2 * 8 * (6 + 8) + 2 * 9 * 8 * 4
    assert network.parameters == 48 + 64 + 32
    assert network.mac_layers[-1].OX == 18


def test_refused_branch_names_the_input_that_decides(build):
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["b"])], "branch", [], [helper.make_empty_tensor_value_info("b")]
    )
    build.input("x", [1, 16]).input("rate", [], "i").constant(w=floats(16, 4), limit=np.int64(9))
    build.node("Less", "rate,limit", "c").node("Not", "c", "d")
    build.node("If", "d", "y", then_branch=branch, else_branch=branch, name="choice")
    with pytest.raises(NetworkError, match=r"give dims=\{'rate': 1\} or --dim rate=1"):
        build.load(batch=1)


def test_local_functions_are_inlined(build):
    build.input("x", [1, 16]).constant(w=floats(16, 4)).node("Twice", "x,w", "y", domain="local")
    model = build.model()
    body = [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node("Relu", ["m"], ["c"])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model.functions.append(helper.make_function("local", "Twice", ["a", "b"], ["c"], body, opsets[:1]))
    model.opset_import.append(opsets[1])
    onnx.save(model, build.path)
    (layer,) = load_network(build.path).layers
    assert layer.macs == 64 and len(layer.fused) == 1


def test_fused_convolution_of_a_runtime(build):
    build.input("x", [1, 4, 8, 8]).input("z", [1, 4, 8, 8]).constant(w=floats(4, 4, 1, 1), b=floats(4))
    build.node("FusedConv", "x,w,b,z", "y", domain="com.microsoft", activation="Relu", name="f")
    (layer,) = build.load().layers
    assert layer.operator == "Conv" and layer.fused == ("f/Add", "f/Relu") and layer.fused_input == "z"
    assert layer.vector_operations == 3 * 256 and layer.output == "y"


def test_a_runtime_s_own_quantisation_is_the_standard_s(build):
    """The vendor's DequantizeLinear was refused: its name holds the word linear."""
    build.input("x", [1, 6]).constant(q=np.ones((6, 4), np.uint8), s=np.float32(0.1), z=np.uint8(0))
    build.node("QuantizeLinear", "x,s,z", "xq", domain="com.microsoft")
    build.node("DequantizeLinear", "xq,s,z", "xd", domain="com.microsoft")
    build.node("DequantizeLinear", "q,s,z", "w", domain="com.microsoft").node("MatMul", "xd,w", "y")
    (layer,) = build.load().mac_layers
    assert (layer.macs, layer.static_weights, layer.inputs) == (24, True, ("x",))


def test_cells_and_products_that_a_runtime_quantises_while_running(build):
    build.input("x", [10, 3, 20]).constant(w=np.ones((2, 20, 128), np.int8), r=np.ones((2, 32, 128), np.int8))
    build.constant(s=floats(2), z=np.zeros(2, np.int8), v=np.ones((64, 5), np.int8), one=np.float32(1), b=floats(5))
    build.node("DynamicQuantizeLSTM", "x,w,r,,,,,,s,z,s,z", "h", domain="com.microsoft", hidden_size=32, name="cell",
               direction="bidirectional")  # fmt: skip
    build.node("Transpose", "h", "t", perm=[0, 2, 1, 3]).node("Reshape", "t,shape", "f")
    build.constant(shape=np.array([10, 3, 64]))
    build.node("DynamicQuantizeMatMul", "f,v,one,,b", "y", domain="com.microsoft", name="fc")
    network = build.load()
    assert network.macs == 2 * 10 * 3 * 128 * (20 + 32) + 30 * 64 * 5
    assert network.weight_elements == 2 * 128 * 52 + 320 and network.parameters == 2 * 128 * 52 + 320 + 5
    assert {layer.weight for layer in network.mac_layers} >= {"w/forward", "r/backward", "v"}
    assert network.mac_layers[-1].fused == ("fc/Add",) and network.mac_layers[-1].inputs == ("h",)


def test_batch_rewriting_is_refused_where_the_file_hard_wires_it(build):
    build.input("x", [1, 8]).constant(w=floats(4, 6), s=np.array([2, 4]))
    build.node("Reshape", "x,s", "r").node("MatMul", "r,w", "y")
    assert build.load(batch=1).macs == 48
    with pytest.raises(NetworkError, match="fixes the batch of the file"):
        build.load(batch=3)


# ---- fusion --------------------------------------------------------------------------------------------------


def test_chain_behind_a_convolution_is_fused(build):
    """The scale of the batch normalisation folds into the weights: its shift and the activation are left."""
    build.input("x", [1, 3, 8, 8]).constant(w=floats(4, 3, 1, 1), s=floats(4), m=floats(4))
    build.node("Conv", "x,w", "c").node("BatchNormalization", "c,s,s,m,m", "n", name="bn").node("Relu", "n", "y")
    network = build.load()
    (layer,) = network.layers
    assert layer.vector_operations == 2 * 256 and layer.output == "y" and layer.fused[0] == "bn"
    assert network.parameters == 12 + 4  # scale and bias are one constant here; mean and variance do not count


@pytest.mark.parametrize("first", ["one", "two"])
def test_residual_addition_goes_to_the_producer_with_most_macs_for_each_element(build, first):
    """Whichever comes first in the file: convolution "one" has 3x3 taps, "two" has 1x1."""
    build.input("x", [1, 4, 8, 8]).constant(w=floats(4, 4, 3, 3), v=floats(4, 4, 1, 1))
    for name in ("one", "two") if first == "one" else ("two", "one"):
        if name == "one":
            build.node("Conv", "x,w", "a", name="one", pads=[1, 1, 1, 1])
        else:
            build.node("Conv", "x,v", "b", name="two")
    build.node("Add", "a,b", "s", name="add").node("Relu", "s", "y", name="relu")
    two, one = build.load().layers
    assert two.name == "two" and two.fused == () and two.output == "b"
    assert one.fused == ("add", "relu") and one.fused_input == "b" and one.fused_input_elements == 256


def test_swish_is_fused_whole_and_a_tensor_with_other_readers_stays(build):
    build.input("x", [1, 4, 8, 8]).constant(w=floats(4, 4, 1, 1))
    build.node("Conv", "x,w", "a").node("Sigmoid", "a", "g").node("Mul", "a,g", "h")
    build.node("Conv", "h,w", "b", name="second").node("Relu", "b", "r", name="relu").node("Conv", "r,w", "y")
    network = build.load("y", "b")
    first, second, relu, _ = network.layers
    assert first.vector_operations == 2 * 256 and first.fused_input == "" and first.output == "h"
    assert second.fused == () and isinstance(relu, VectorLayer) and relu.inputs == ("b",)


def test_gate_that_comes_later_is_not_fused(build):
    build.input("x", [1, 4, 8, 8]).constant(w=floats(4, 4, 1, 1))
    build.node("Conv", "x,w", "a").node("GlobalAveragePool", "a", "p").node("Conv", "p,w", "q").node(
        "Sigmoid", "q", "g"
    )
    network = build.node("Mul", "a,g", "y", name="scale").load()
    assert [layer.operator for layer in network.layers] == ["Conv", "GlobalAveragePool", "Conv", "Mul"]
    assert network.layers[-1].inputs == ("a", "g") and network.layers[-1].input_elements == 256 + 4
    assert network.layers[2].fused != () and network.layers[2].output == "g"


def test_element_wise_layers_chain_behind_vector_layers(build):
    build.input("x", [1, 4, 8, 8]).constant(w=floats(4, 8, 1, 1), s=floats(8))
    build.node("Concat", "x,x2", "c", axis=1).input("x2", [1, 4, 8, 8])
    build.node("BatchNormalization", "c,s,s,s,s", "n").node("Relu", "n", "r").node("Conv", "r,w", "y")
    join, vector, conv = build.load().layers
    assert (join.operator, join.operations, join.inputs) == ("Concat", 0, ("x", "x2"))
    assert (vector.operator, vector.operations, vector.output) == ("BatchNormalization+Relu", 3 * 512, "r")
    assert conv.inputs == ("r",)


def test_views_and_slices_are_other_names_of_one_tensor(build):
    build.input("x", [1, 4, 8, 8]).constant(w=floats(4, 4, 1, 1), v=floats(32, 7), s=np.array([8, 32]))
    build.node("Conv", "x,w", "a").node("Transpose", "a", "t", perm=[0, 2, 1, 3]).node("Reshape", "t,s", "r")
    build.node("Split", "r", "top,rest", axis=0).node("Cast", "rest", "k", to=1).node("MatMul", "k,v", "y")
    network = build.load()
    assert [layer.inputs for layer in network.layers] == [("x",), ("a",)]
    assert network.layers[1].OX == 4


def test_fuse_leaves_unrelated_layers_alone():
    layers = [
        MacLayer("m", OX=4, K=2, output="a"),
        VectorLayer("v", "Softmax", 8, 8, 8, inputs=("a",), output="b"),
        VectorLayer("w", "Relu", 8, 8, 8, inputs=("z",), output="c"),
    ]
    assert fuse(layers, {"Relu"}, {"a": 8, "b": 8, "c": 8}, {"b", "c"}) == tuple(layers)


def test_parameters_do_not_include_shapes_and_indices(build):
    build.input("x", ["batch", 6, 8]).constant(
        token=floats(1, 1, 8), one=np.array([1]), size=np.array([1, 8]), w=floats(8, 2)
    )
    build.node("Shape", "x", "s", start=0, end=1).node("Concat", "s,size", "shape", axis=0)
    build.node("Expand", "token,shape", "tokens").node("Concat", "tokens,x", "c", axis=1).node("MatMul", "c,w", "y")
    network = build.load(batch=3)
    assert network.parameters == 8 + 16
    assert network.mac_layers[0].OX == 3 * 7


# ---- vector operators ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "attributes", "operations", "outputs"),
    [
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2]}, 9 * 4 * 9, 4 * 9),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 4 * 4 * 16, 4 * 16),
        ("GlobalAveragePool", {}, 4 * 64, 4),
        ("Softmax", {"axis": 1}, 5 * 256, 256),
        ("LRN", {"size": 5}, 8 * 256, 256),
        ("ReduceMean", {"axes": [1]}, 256, 64),
        ("Clip", {}, 256, 256),
    ],
)
def test_operation_counts(build, caplog, operator, attributes, operations, outputs):
    build.input("x", [1, 4, 8, 8]).input("z", [1, 3]).constant(w=floats(3, 2)).node("MatMul", "z,w", "fc")
    with caplog.at_level(logging.WARNING, logger="dse"):
        network = build.node(operator, "x", "y", **attributes).load("y", "fc")
    layer = next(layer for layer in network.layers if isinstance(layer, VectorLayer))
    assert (layer.operations, layer.input_elements, layer.output_elements) == (operations, 256, outputs)
    assert not caplog.records


def test_resize_and_embedding(build):
    build.input("ids", [7], "i").constant(table=floats(1000, 16), w=floats(16, 2)).node("Gather", "table,ids", "e")
    build.input("x", [1, 4, 8, 8]).constant(scales=np.array([1, 1, 2, 2], np.float32))
    build.node("Resize", "x,,scales", "big", mode="linear").node("MatMul", "e,w", "y")
    network = build.load("y", "big")
    gather, resize = (layer for layer in network.layers if isinstance(layer, VectorLayer))
    assert (gather.operations, gather.output_elements, gather.weight_elements) == (0, 112, 112)
    assert resize.operations == 8 * 4 * 16 * 16
    assert network.parameters == 16000 + 32


# ---- the single-operator cases of the ONNX standard ----------------------------------------------------------

STANDARD = frozenset(
    "Conv ConvTranspose DeformConv Gemm MatMul Einsum Attention LSTM GRU RNN QLinearConv QLinearMatMul ConvInteger "
    "MatMulInteger".split()
)


@functools.cache
def _all_cases():
    """Models of the ONNX package for single operators of the standard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making the cases of other operators overflows on purpose
        cases = collect_testcases(None)
    return [case for case in cases if case.model is not None]


def _cases():
    """Those whose operator does MACs."""
    models = [case for case in _all_cases() if len(case.model.graph.node) == 1]
    return [case for case in models if case.model.graph.node[0].op_type in STANDARD]


def test_standard_cases_give_the_macs_of_their_shapes_or_one_clear_line(tmp_path):
    checked = Counter()
    for case in _cases():
        path = tmp_path / f"{case.name}.onnx"
        onnx.save(case.model, path)
        node = case.model.graph.node[0]
        shapes = {
            entry.name: [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
            for entry in (*case.model.graph.input, *case.model.graph.output)
        }
        macs = _expected_macs(node, shapes)
        if macs == 0:
            with pytest.raises(NetworkError, match="no MAC layer"):
                load_network(path, batch=None)
        else:
            assert load_network(path, batch=None).macs == macs, case.name
        checked[node.op_type] += 1
    assert set(checked) == STANDARD and checked.total() > 150


def test_attention_agrees_with_the_standard_s_own_decomposition(tmp_path):
    """The standard defines Attention by a function of primitives, and hands out every case in both forms."""
    cases = {case.name: case for case in _all_cases()}
    names = [name for name in cases if name.startswith("test_attention") and f"{name}_expanded" in cases][::6]
    for name in names:
        whole, parts = tmp_path / f"{name}.onnx", tmp_path / f"{name}_expanded.onnx"
        onnx.save(cases[name].model, whole)
        onnx.save(cases[f"{name}_expanded"].model, parts)
        assert load_network(whole, batch=None).macs == load_network(parts, batch=None).macs, name
    assert len(names) > 10


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "Einsum", "Attention", "Loop", "Scan", "LSTM"])
def test_sizes_are_those_that_onnxruntime_executes(build, operator):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is the oracle for shapes")
    build.input("x", [2, 4, 6, 9, 10])
    if operator == "Conv":
        build.constant(w=floats(6, 2, 2, 3, 3)).node("Conv", "x,w", "y", strides=[2, 1, 2], group=2, auto_pad="VALID")
    elif operator == "ConvTranspose":
        build.constant(w=floats(4, 5, 2, 4, 3))
        build.node("ConvTranspose", "x,w", "y", strides=[2, 2, 1], pads=[0, 1, 1, 0, 1, 1])
    elif operator == "Einsum":
        build.constant(w=floats(10, 7), v=floats(4, 7)).node("Einsum", "x,w,v", "y", equation="...cdhw,wk,ck->...kdh")
    elif operator == "Attention":
        build.opset = 23
        build.constant(q=np.array([2, 4, 54, 10]), k=np.array([2, 2, 108, 10]))
        build.node("Reshape", "x,q", "a").node("Reshape", "x,k", "b").node("Attention", "a,b,b", "y")
    elif operator == "Loop":
        body = loop_body([helper.make_node("MatMul", ["s", "w"], ["t"])], [("s", None, "t")])
        body.output.append(helper.make_empty_tensor_value_info("t"))
        build.constant(w=floats(10, 10), n=np.int64(3), yes=np.bool_(True)).node("Loop", "n,yes,x", "last,y", body=body)
    elif operator == "Scan":
        value, empty = helper.make_tensor_value_info, helper.make_empty_tensor_value_info
        nodes = [helper.make_node("MatMul", ["piece", "w"], ["t"]), helper.make_node("Identity", ["s"], ["u"])]
        body = helper.make_graph(
            nodes, "body", [value("s", 1, [1]), value("piece", 1, [2, 4, 9, 10])], [empty("u"), empty("t")]
        )
        build.constant(w=floats(10, 5), start=floats(1))
        build.node("Scan", "start,x", "end,y", body=body, num_scan_inputs=1, scan_input_axes=[2], scan_output_axes=[1])
    else:
        build.constant(shape=np.array([8, 54, 10]), w=floats(2, 28, 10), r=floats(2, 28, 7)).node(
            "Reshape", "x,shape", "a"
        )
        build.node("LSTM", "a,w,r", "y", hidden_size=7, direction="bidirectional")
    network = build.load()
    model = onnx.load(build.path)
    model.ir_version = 10  # what older runtimes read
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (executed,) = session.run(["y"], {"x": np.zeros([2, 4, 6, 9, 10], np.float32)})
    last = network.layers[-1]
    assert executed.size == network.tensor_elements[last.output]
    assert isinstance(last, VectorLayer) or executed.size == last.output_elements * last.repeats


def _expected_macs(node, shapes) -> int:
    """MACs from the shapes of inputs and outputs alone, by other formulas than the importer's."""
    x, y = shapes[node.input[0]], shapes[next(name for name in node.output if name)]
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "Einsum":
        return _expected_einsum(attributes["equation"].decode(), [shapes[name] for name in node.input])
    w = shapes[node.input[3 if node.op_type in ("QLinearConv", "QLinearMatMul") else 1]]
    if node.op_type in ("Conv", "QLinearConv", "ConvInteger", "DeformConv"):
        return math.prod(y) * math.prod(w[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(x) * math.prod(w[1:])
    if node.op_type in ("LSTM", "GRU", "RNN"):
        steps_times_batch = x[0] * x[1]
        return steps_times_batch * (math.prod(w) + math.prod(shapes[node.input[2]]))
    if node.op_type == "Gemm":
        return math.prod(y) * x[0 if attributes.get("transA") else 1]
    if node.op_type == "Attention":  # every query meets every key, and every weight every number of its value
        past = [*node.input, "", ""][4]
        return (math.prod(x) + math.prod(y)) * (w[-2] + (shapes[past][-2] if past else 0))
    return math.prod(y) * x[-1]


def _expected_einsum(equation: str, shapes) -> int:
    """Half of numpy's count, which takes a product with a sum as two operations; 0 for a single operand."""
    if len(shapes) < 2:
        return 0
    report = np.einsum_path(equation, *map(floats_of, shapes), optimize=False)[1]
    return round(float(report.split("Naive FLOP count:")[1].split()[0])) // 2


def test_a_cycle_in_the_graph_is_named(build):
    build.input("x", [1, 4, 8, 8]).constant(w=floats(4, 4, 1, 1))
    build.node("Conv", "y,w", "y", name="loop")
    with pytest.raises(NetworkError, match="cycle|loop"):
        build.load()


def test_nodes_in_any_order_are_all_counted(build):
    """Only the nodes that stand before the last reader were, where the file was not sorted; a loop's body likewise."""
    nodes = [helper.make_node("MatMul", ["a", "w"], ["t"]), helper.make_node("MatMul", ["s", "w"], ["a"])]
    build.input("x", [1, 8]).constant(w=floats(8, 8), n=np.int64(3)).node("MatMul", "b,w", "y", name="second")
    build.node("Loop", "n,,r", "b", body=loop_body(nodes, [("s", [1, 8], "t")]), name="loop")
    network = build.node("MatMul", "x,w", "r", name="first").load()
    assert network.macs == (2 + 3 * 2) * 8 * 8
    assert (network.layers[0].name, network.layers[-1].name) == ("first", "second")
