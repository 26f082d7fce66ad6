"""Edits of a DNN as operations on its ONNX graph: each is plain data, applied to a copy.

A convolution is named by its node.  Edits drop the weights they reshape, since a tuned network is trained anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

from onnx import ModelProto, NodeProto, helper

from dse.networks.onnx_file.graph import attribute
from dse.tuning.channels import channels_of, set_attribute, shapes_of, with_channels
from dse.tuning.graph_copy import GraphCopy, pads_of, strides_of


@dataclass(frozen=True)
class Edit:
    """One edit.

    Attributes
    ----------
    kind : a name of `KINDS`.
    node : the convolution (or product) it is about; for ``channels`` the first that makes them.
    value : new channels (``channels``) or groups (``groups``); else 0.

    Raises ValueError for an unknown kind, or a value that is no number of channels or groups.
    """

    kind: str
    node: str
    value: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"edit {self.kind!r} is unknown; choose among {', '.join(KINDS)}")
        least = 1 if self.kind in ("channels", "groups") else 0
        if not isinstance(self.value, Integral) or self.value < least:
            raise ValueError(f"edit {self.kind!r} of {self.node!r}: value must be a whole number, at least {least}, "
                             f"got {self.value!r}")  # fmt: skip

    def apply(self, model: ModelProto) -> ModelProto:
        """A copy of the graph with the edit made; ValueError where it does not apply."""
        return KINDS[self.kind](model, self.node, self.value)

    @property
    def text(self) -> str:
        """The edit in words."""
        words = {
            "channels": "channels made by {node}: {value}",
            "groups": "groups of {node}: {value}",
            "fuse_depthwise": "1x1 before {node} and {node} as one full convolution",
            "merge_1x1": "1x1 before {node} and {node} as one 1x1",
            "stride_earlier": "stride of {node} to the convolution before it",
            "stride_later": "stride of the convolution before {node} to {node}",
            "factorise": "{node} as a column and a row filter",
            "column_row": "the convolution before {node} as a column filter and {node} as a row filter",
            "stem": "{node} on 2x2 blocks of pixels as channels (space to depth)",
        }
        return words[self.kind].format(node=self.node, value=self.value)


def _is_plain_1x1(graph: GraphCopy, node: NodeProto) -> bool:
    return graph.dims(node)[2:] == [1, 1] and attribute(node, "group", 1) == 1 and not any(pads_of(node))


def _channels(model: ModelProto, name: str, value: int) -> ModelProto:
    made = channels_of(model)
    for number, makers in made.makers.items():
        if name in makers:
            return with_channels(model, made, {number: value})
    raise ValueError(f"nothing called {name!r} makes channels")


def _groups(model: ModelProto, name: str, value: int) -> ModelProto:
    graph = GraphCopy(model)
    node = graph.conv(name)
    dims, groups = graph.dims(node), attribute(node, "group", 1)
    inputs = dims[1] * groups
    if value == groups or inputs % value or dims[0] % value:
        raise ValueError(f"{name!r}: {value} groups do not divide {inputs} inputs and {dims[0]} outputs, or are those")
    graph.reshape(node, [dims[0], inputs // value, *dims[2:]])
    set_attribute(node, "group", value)
    return graph.model


def _fuse_depthwise(model: ModelProto, name: str, _: int) -> ModelProto:
    graph = GraphCopy(model)
    node = graph.conv(name)
    first, between = graph.before(node)
    dims = graph.dims(node)
    if dims[1] != 1 or attribute(node, "group", 1) != dims[0]:
        raise ValueError(f"{name!r} is not a depthwise convolution")
    if not _is_plain_1x1(graph, first) or strides_of(first) != [1, 1]:
        raise ValueError(f"the convolution before {name!r} is not a 1x1")
    graph.reshape(node, [dims[0], graph.dims(first)[1], *dims[2:]])
    set_attribute(node, "group", 1)
    node.input[0] = first.input[0]
    graph.remove([first, *between])
    return graph.model


def _merge(model: ModelProto, name: str, _: int) -> ModelProto:
    graph = GraphCopy(model)
    node = graph.conv(name)
    first, between = graph.before(node)
    if not (_is_plain_1x1(graph, first) and _is_plain_1x1(graph, node)):
        raise ValueError(f"{name!r} and the convolution before it are not a pair of 1x1")
    graph.reshape(node, [graph.dims(node)[0], graph.dims(first)[1], 1, 1])
    set_attribute(node, "strides", [a * b for a, b in zip(strides_of(first), strides_of(node), strict=True)])
    node.input[0] = first.input[0]
    graph.remove([first, *between])
    return graph.model


def _same_padded(graph: GraphCopy, node: NodeProto) -> bool:
    """Whether the output is the input / stride, rounded up, for every input size."""
    kernel, pads = graph.dims(node)[2:], pads_of(node)
    dilations = attribute(node, "dilations") or [1, 1]
    return all(p + q == (k - 1) * d for k, d, p, q in zip(kernel, dilations, pads[:2], pads[2:], strict=True))


def _move_stride(model: ModelProto, name: str, earlier: bool) -> ModelProto:
    graph = GraphCopy(model)
    node = graph.conv(name)
    first, _ = graph.before(node)
    source, target = (node, first) if earlier else (first, node)
    if max(strides_of(source)) == 1 or max(strides_of(target)) > 1:
        raise ValueError(f"there is no stride to move between {name!r} and the convolution before it")
    if not (_same_padded(graph, node) and _same_padded(graph, first)):
        raise ValueError(f"{name!r} or the convolution before it is not padded to keep its size")
    set_attribute(target, "strides", strides_of(source))
    set_attribute(source, "strides", [1, 1])
    return graph.model


def _factorise(model: ModelProto, name: str, _: int) -> ModelProto:
    graph = GraphCopy(model)
    node = graph.conv(name)
    dims, pads, strides = graph.dims(node), pads_of(node), strides_of(node)
    if min(dims[2:]) < 3 or attribute(node, "group", 1) != 1 or max(attribute(node, "dilations") or [1]) > 1:
        raise ValueError(f"{name!r} is not an undilated full convolution of 3x3 or more")
    kind = graph.tensors[node.input[1]].data_type
    weight, middle = f"{node.input[1]}/column", f"{node.output[0]}/column"
    graph.add(weight, [dims[0], dims[1], dims[2], 1], kind)
    column = helper.make_node(
        "Conv", [node.input[0], weight], [middle], f"{name}/column", kernel_shape=[dims[2], 1], strides=[strides[0], 1],
        pads=[pads[0], 0, pads[2], 0],
    )  # fmt: skip
    graph.reshape(node, [dims[0], dims[0], 1, dims[3]])
    for key, value in (
        ("kernel_shape", [1, dims[3]]),
        ("strides", [1, strides[1]]),
        ("pads", [0, pads[1], 0, pads[3]]),
    ):
        set_attribute(node, key, value)
    node.input[0] = middle
    graph.graph.node.insert(list(graph.graph.node).index(node), column)
    return graph.model


def _column_row(model: ModelProto, name: str, _: int) -> ModelProto:
    """Two filters that keep their size, one behind the other, as a column and a row: both keep what lies between."""
    graph = GraphCopy(model)
    node = graph.conv(name)
    first, _between = graph.before(node)
    for each in (first, node):
        dims = graph.dims(each)
        if min(dims[2:]) < 3 or attribute(each, "group", 1) != 1 or max(attribute(each, "dilations") or [1]) > 1:
            raise ValueError(f"{name!r} and the convolution before it are not undilated full filters of 3x3 or more")
        if max(strides_of(each)) > 1 or not _same_padded(graph, each):
            raise ValueError(f"{name!r} or the convolution before it does not keep its size")
    for each, axis in ((first, 0), (node, 1)):
        dims, pads = graph.dims(each), pads_of(each)
        graph.reshape(each, [*dims[:2], *(n if i == axis else 1 for i, n in enumerate(dims[2:]))])
        set_attribute(each, "kernel_shape", [n if i == axis else 1 for i, n in enumerate(dims[2:])])
        set_attribute(each, "pads", [n if i % 2 == axis else 0 for i, n in enumerate(pads)])
    return graph.model


def _stem(model: ModelProto, name: str, _: int) -> ModelProto:
    """A k x k filter of stride 2 as one of (k + 1) / 2 over 2 x 2 blocks: the same function space and more.

    The blocks are another layout of the same words, which the model gets for nothing: whoever writes them can put
    them so.
    """
    graph = GraphCopy(model)
    node = graph.conv(name)
    dims = graph.dims(node)
    k, half = dims[2], (dims[2] - 1) // 2
    if dims[2] != dims[3] or k < 3 or k % 2 == 0 or strides_of(node) != [2, 2] or pads_of(node) != [half] * 4:
        raise ValueError(f"{name!r} is not an odd, centred filter of stride 2")
    if attribute(node, "group", 1) != 1 or max(attribute(node, "dilations") or [1]) > 1:
        raise ValueError(f"{name!r} has groups or dilation")
    size = (shapes_of(model).get(node.input[0]) or [None] * 4)[2:]
    if any(n is None or n % 2 for n in size):
        raise ValueError(
            f"{name!r} reads {size} pixels, which are not known to be even: they do not divide into blocks"
        )
    blocks = f"{name}/blocks"
    block = helper.make_node("SpaceToDepth", [node.input[0]], [blocks], f"{name}/SpaceToDepth", blocksize=2)
    wide = (k + 1) // 2
    left = (half + 1) // 2
    graph.reshape(node, [dims[0], 4 * dims[1], wide, wide])
    set_attribute(node, "kernel_shape", [wide, wide])
    set_attribute(node, "strides", [1, 1])
    set_attribute(node, "pads", [left, left, wide - 1 - left, wide - 1 - left])
    node.input[0] = blocks
    graph.graph.node.insert(list(graph.graph.node).index(node), block)
    return graph.model


KINDS: dict[str, Callable[[ModelProto, str, int], ModelProto]] = {
    "stem": _stem,
    "fuse_depthwise": _fuse_depthwise,
    "groups": _groups,
    "channels": _channels,
    "stride_later": lambda model, name, _: _move_stride(model, name, earlier=False),
    "stride_earlier": lambda model, name, _: _move_stride(model, name, earlier=True),
    "merge_1x1": _merge,
    "factorise": _factorise,
    "column_row": _column_row,
}
"""Kinds of edits, and what makes them."""
