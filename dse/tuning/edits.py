"""Edits of a DNN as operations on its ONNX graph: each is plain data, applied to a copy.

A convolution is named by its node.  Edits drop the weights they reshape, since a tuned network is trained anew.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral

from onnx import ModelProto, NodeProto, helper

from dse.networks.onnx_file.graph import attribute, node_title
from dse.tuning.attention_edits import heads, side_by_side
from dse.tuning.channels import channels_of, check_size, set_attribute, shapes_of, with_channels
from dse.tuning.graph_copy import GraphCopy, meant, pads_of, strides_of


@dataclass(frozen=True)
class Edit:
    """One edit.

    Attributes
    ----------
    kind : a name of `KINDS`.
    node : the convolution (or product) it is about; for ``channels`` the first that makes them, for
        ``side_by_side`` the second norm, for ``heads`` the softmax.
    value : new channels (``channels``), groups (``groups``) or heads (``heads``); else 0.

    Raises ValueError for an unknown kind, or a value that is no number of channels or groups.
    """

    kind: str
    node: str
    value: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"edit {self.kind!r} is unknown; choose among {', '.join(KINDS)}")
        least = 1 if self.kind in ("channels", "groups", "heads") else 0
        if not isinstance(self.value, Integral) or self.value < least:
            raise ValueError(f"edit {self.kind!r} of {self.node!r}: value must be a whole number, at least {least}, "
                             f"got {self.value!r}")  # fmt: skip

    def apply(self, model: ModelProto) -> ModelProto:
        """A copy of the graph with the edit made; ValueError where it does not apply."""
        graph = GraphCopy(model)
        KINDS[self.kind](graph, self.node, self.value)()
        return graph.model

    def applies(self, graph: GraphCopy) -> bool:
        """Whether the edit can be made; the graph stays as it is."""
        try:
            KINDS[self.kind](graph, self.node, self.value)
        except ValueError:
            return False
        return True

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
            "side_by_side": "what {node} begins beside the part before it, with that part's norm",
            "heads": "heads of {node}: {value}",
            "patches": "patches of {node} as channels of a 1x1 (the same function)",
            "stem": "{node} on 2x2 blocks of pixels as channels (space to depth)",
        }
        return words[self.kind].format(node=self.node, value=self.value)


Change = Callable[[], None]
"""Makes an edit whose conditions hold."""


def _is_plain_1x1(graph: GraphCopy, node: NodeProto) -> bool:
    return graph.dims(node)[2:] == [1, 1] and attribute(node, "group", 1) == 1 and not any(pads_of(node))


def _is_full(graph: GraphCopy, node: NodeProto) -> bool:
    """Whether it is a filter of 3x3 or more without groups or gaps."""
    plain = attribute(node, "group", 1) == 1 and max(attribute(node, "dilations") or [1]) == 1
    return plain and min(graph.dims(node)[2:]) >= 3


def _same_padded(graph: GraphCopy, node: NodeProto) -> bool:
    """Whether the output is the input / stride, rounded up, for every input size."""
    kernel, pads = graph.dims(node)[2:], pads_of(node)
    dilations = attribute(node, "dilations") or [1, 1]
    return all(p + q == (k - 1) * d for k, d, p, q in zip(kernel, dilations, pads[:2], pads[2:], strict=True))


def _channels(graph: GraphCopy, name: str, value: int) -> Change:
    made = channels_of(graph.model)
    number = next((number for number, makers in made.makers.items() if name in makers), None)
    if number is None:
        known = [maker for makers in made.makers.values() for maker in makers]
        raise ValueError(f"nothing called {name!r} makes channels{meant(name, known)}")
    edited = with_channels(graph.model, made, {number: value})
    return lambda: graph.model.CopyFrom(edited)


def _groups(graph: GraphCopy, name: str, value: int) -> Change:
    node = graph.conv(name)
    dims, groups = graph.dims(node), attribute(node, "group", 1)
    inputs = dims[1] * groups
    if value == groups or inputs % value or dims[0] % value:
        raise ValueError(f"{name!r}: {value} groups do not divide {inputs} inputs and {dims[0]} outputs, or are those")

    def make() -> None:
        graph.reshape(node, [dims[0], inputs // value, *dims[2:]])
        set_attribute(node, "group", value)

    return make


def _fuse_depthwise(graph: GraphCopy, name: str, _: int) -> Change:
    node = graph.conv(name)
    dims = graph.dims(node)
    if dims[1] != 1 or attribute(node, "group", 1) != dims[0]:
        raise ValueError(f"{name!r} is not a depthwise convolution")
    first, between = graph.before(node)
    if not _is_plain_1x1(graph, first) or strides_of(first) != [1, 1]:
        raise ValueError(f"the convolution before {name!r} is not a 1x1")

    def make() -> None:
        graph.reshape(node, [dims[0], graph.dims(first)[1], *dims[2:]])
        set_attribute(node, "group", 1)
        node.input[0] = first.input[0]
        graph.remove([first, *between])

    return make


def _merge(graph: GraphCopy, name: str, _: int) -> Change:
    node = graph.conv(name)
    first, between = graph.before(node)
    if not (_is_plain_1x1(graph, first) and _is_plain_1x1(graph, node)):
        raise ValueError(f"{name!r} and the convolution before it are not a pair of 1x1")

    def make() -> None:
        graph.reshape(node, [graph.dims(node)[0], graph.dims(first)[1], 1, 1])
        set_attribute(node, "strides", [a * b for a, b in zip(strides_of(first), strides_of(node), strict=True)])
        node.input[0] = first.input[0]
        graph.remove([first, *between])

    return make


def _move_stride(graph: GraphCopy, name: str, earlier: bool) -> Change:
    node = graph.conv(name)
    first, _ = graph.before(node)
    source, target = (node, first) if earlier else (first, node)
    if max(strides_of(source)) == 1 or max(strides_of(target)) > 1:
        raise ValueError(f"there is no stride to move between {name!r} and the convolution before it")
    if not (_same_padded(graph, node) and _same_padded(graph, first)):
        raise ValueError(f"{name!r} or the convolution before it is not padded to keep its size")

    def make() -> None:
        set_attribute(target, "strides", strides_of(source))
        set_attribute(source, "strides", [1, 1])

    return make


def _factorise(graph: GraphCopy, name: str, _: int) -> Change:
    node = graph.conv(name)
    dims, pads, strides = graph.dims(node), pads_of(node), strides_of(node)
    if not _is_full(graph, node):
        raise ValueError(f"{name!r} is not an undilated full convolution of 3x3 or more")

    def make() -> None:
        kind = graph.tensors[node.input[1]].data_type
        graph.reshape(node, [dims[0], dims[0], 1, dims[3]])  # first: what others share gets a name of its own
        weight, middle = graph.unused(f"{node.input[1]}/column"), graph.unused(f"{node.output[0]}/column")
        graph.add(weight, [dims[0], dims[1], dims[2], 1], kind)
        column = helper.make_node(
            "Conv", [node.input[0], weight], [middle], f"{name}/column", kernel_shape=[dims[2], 1],
            strides=[strides[0], 1], pads=[pads[0], 0, pads[2], 0],
        )  # fmt: skip
        set_attribute(node, "kernel_shape", [1, dims[3]])
        set_attribute(node, "strides", [1, strides[1]])
        set_attribute(node, "pads", [0, pads[1], 0, pads[3]])
        node.input[0] = middle
        graph.insert_before(node, column)

    return make


def _column_row(graph: GraphCopy, name: str, _: int) -> Change:
    """Two filters that keep their size, one behind the other, as a column and a row: both keep what lies between."""
    node = graph.conv(name)
    first, _between = graph.before(node)
    for each in (first, node):
        if not _is_full(graph, each):
            raise ValueError(f"{name!r} and the convolution before it are not undilated full filters of 3x3 or more")
        if max(strides_of(each)) > 1 or not _same_padded(graph, each):
            raise ValueError(f"{name!r} or the convolution before it does not keep its size")

    def make() -> None:
        for each, axis in ((first, 0), (node, 1)):
            dims, pads = graph.dims(each), pads_of(each)
            kernel = [n if i == axis else 1 for i, n in enumerate(dims[2:])]
            graph.reshape(each, [*dims[:2], *kernel])
            set_attribute(each, "kernel_shape", kernel)
            set_attribute(each, "pads", [n if i % 2 == axis else 0 for i, n in enumerate(pads)])

    return make


def _on_blocks(graph: GraphCopy, node: NodeProto, size: int) -> None:
    """Let a convolution read blocks of ``size`` x ``size`` pixels as channels."""
    name = node_title(node)
    blocks = f"{name}/blocks"
    block = helper.make_node("SpaceToDepth", [node.input[0]], [blocks], f"{name}/SpaceToDepth", blocksize=size)
    node.input[0] = blocks
    graph.insert_before(node, block)


def _check_blocks(graph: GraphCopy, node: NodeProto, size: int) -> None:
    found = (shapes_of(graph.model).get(node.input[0]) or [None] * 4)[2:]
    if any(n is None or n % size for n in found):
        fit = "even" if size == 2 else f"multiples of {size}"
        raise ValueError(
            f"{node_title(node)!r} reads {found} pixels, which are not known to be {fit}: they do not divide into "
            "blocks"
        )


def _stem(graph: GraphCopy, name: str, _: int) -> Change:
    """A k x k filter of stride 2 as one of (k + 1) / 2 over 2 x 2 blocks: the same function space and more.

    The blocks are another layout of the same words, which the model gets for nothing: whoever writes them can put
    them so.
    """
    node = graph.conv(name)
    dims = graph.dims(node)
    k, half = dims[2], (dims[2] - 1) // 2
    if dims[2] != dims[3] or k < 3 or k % 2 == 0 or strides_of(node) != [2, 2] or pads_of(node) != [half] * 4:
        raise ValueError(f"{name!r} is not an odd, centred filter of stride 2")
    if not _is_full(graph, node):
        raise ValueError(f"{name!r} has groups or dilation")
    _check_blocks(graph, node, 2)

    def make() -> None:
        wide = (k + 1) // 2
        left = (half + 1) // 2
        graph.reshape(node, [dims[0], 4 * dims[1], wide, wide])
        set_attribute(node, "kernel_shape", [wide, wide])
        set_attribute(node, "strides", [1, 1])
        set_attribute(node, "pads", [left, left, wide - 1 - left, wide - 1 - left])
        _on_blocks(graph, node, 2)

    return make


def _patches(graph: GraphCopy, name: str, _: int) -> Change:
    """A filter as large as its stride, so that no two patches overlap, as a 1x1 on patches: the same function."""
    node = graph.conv(name)
    dims = graph.dims(node)
    k = dims[2]
    if dims[2] != dims[3] or k < 2 or strides_of(node) != [k, k] or any(pads_of(node)):
        raise ValueError(f"{name!r} is not a filter as large as its stride")
    if attribute(node, "group", 1) != 1 or max(attribute(node, "dilations") or [1]) > 1:
        raise ValueError(f"{name!r} has groups or dilation")
    _check_blocks(graph, node, k)

    def make() -> None:
        graph.reshape(node, [dims[0], dims[1] * k * k, 1, 1])
        set_attribute(node, "kernel_shape", [1, 1])
        set_attribute(node, "strides", [1, 1])
        _on_blocks(graph, node, k)

    return make


KINDS: dict[str, Callable[[GraphCopy, str, int], Change]] = {
    "stem": _stem,
    "patches": _patches,
    "fuse_depthwise": _fuse_depthwise,
    "groups": _groups,
    "channels": _channels,
    "stride_later": lambda graph, name, _: _move_stride(graph, name, earlier=False),
    "stride_earlier": lambda graph, name, _: _move_stride(graph, name, earlier=True),
    "merge_1x1": _merge,
    "factorise": _factorise,
    "column_row": _column_row,
    "side_by_side": side_by_side,
    "heads": heads,
}
"""Kinds of edits: each checks its conditions, with a ValueError where they do not hold, and returns what makes it."""

SAME_FUNCTION = ("patches",)
"""Kinds that compute what was computed before, weights laid out anew."""


def apply_all(model: ModelProto, edits: Iterable[Edit]) -> ModelProto:
    """A copy of the graph with edits made in order; ValueError names the first that does not apply.

    Neighbouring edits of channels are made together.
    """
    graph, waiting = GraphCopy(model), list(edits)
    while waiting:
        run = [edit for edit, _ in zip(waiting, itertools.takewhile(_is_of_channels, waiting), strict=False)]
        edit = waiting[0]
        if len(run) > 1:
            graph = GraphCopy(_resized(graph.model, run))
        else:
            with _named(edit):
                KINDS[edit.kind](graph, edit.node, edit.value)()
            graph.look_up()
        del waiting[: max(1, len(run))]
    return graph.model


def _is_of_channels(edit: Edit) -> bool:
    return edit.kind == "channels"


@contextlib.contextmanager
def _named(edit: Edit) -> Iterator[None]:
    """Errors say which edit they are of."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"edit ({edit.text}): {error}") from None


def _resized(model: ModelProto, edits: Iterable[Edit]) -> ModelProto:
    """Several edits of channels at once."""
    made, sizes = channels_of(model), {}
    numbers = {name: number for number, makers in made.makers.items() for name in makers}
    for edit in edits:
        with _named(edit):
            if edit.node not in numbers:
                raise ValueError(f"nothing called {edit.node!r} makes channels{meant(edit.node, numbers)}")
            sizes[numbers[edit.node]] = edit.value
            check_size(made, made.root(numbers[edit.node]), edit.value)
    return with_channels(model, made, sizes)
