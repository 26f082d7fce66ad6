"""Compound edits: a block of another form, with widths solved so that every stage keeps its weights and MACs.

A single edit changes what a stage can hold: groups of four channels in place of a depthwise convolution have four times
its weights.  A compound edit is the edit and the widths that make up for it, all of them plain edits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

from onnx import ModelProto, NodeProto

from dse.networks.layers import Network
from dse.networks.onnx_file.graph import attribute, node_title
from dse.tuning.capacity import Budget, Capacity, capacity_of
from dse.tuning.channels import channels_of, stripped
from dse.tuning.edits import Edit, apply_all
from dse.tuning.graph_copy import GraphCopy, strides_of
from dse.tuning.graphs import network_of
from dse.tuning.widths import Solution, WidthModel, places_of, rest_of, solve

GROUP_WIDTHS = (4, 8, 16)
"""Channels of a group in place of a depthwise convolution [1]."""

FORMS = {
    "groups": "groups of {} channels for depthwise",
    "fuse_depthwise": "1x1 + depthwise as one full convolution",
    "column_row": "two filters as a column and a row",
    "factorise": "a filter as a column and a row",
    "stem": "stem on 2x2 blocks of pixels",
    "stem_factorise": "stem on 2x2 blocks of pixels, as a column and a row",
}
"""Forms of blocks, in words."""

EDITS_OF = {"groups": (), "stem_factorise": ("stem", "factorise")}
"""Edits of forms that are not one edit of the same name; groups are cut at the end, at the widths found."""

COLUMNS = ("factorise", "stem_factorise")
"""Forms that make a column filter of a width of its own."""

MOST_ALONE = 8
"""Blocks of one form up to which each is also changed alone [1]; of more, only those of a stage together, and all."""


@dataclass(frozen=True)
class Form:
    """Another form of one block.

    Attributes
    ----------
    kind : ``groups`` of `value` channels for a depthwise convolution; or ``fuse_depthwise``, ``column_row``,
        ``factorise``, ``stem`` of `dse.tuning.edits`, or the last two together (``stem_factorise``).
    node : the convolution.
    value : channels of a group, at least 2; else 0.

    Raises ValueError for an unknown kind, or another value.
    """

    kind: str
    node: str
    value: int = 0

    def __post_init__(self) -> None:
        if self.kind not in FORMS:
            raise ValueError(f"form {self.kind!r} is unknown; choose among {', '.join(FORMS)}")
        whole = isinstance(self.value, Integral) and not isinstance(self.value, bool)
        if not whole or (self.value < 2 if self.kind == "groups" else self.value != 0):
            wanted = "a whole number of channels, at least 2" if self.kind == "groups" else "0"
            raise ValueError(f"form {self.kind!r} of {self.node!r}: value must be {wanted}, got {self.value!r}")


@dataclass(frozen=True)
class CompoundEdit:
    """Forms of blocks and the widths solved for them, as plain edits in order.

    Attributes
    ----------
    forms : what changes.
    edits : all edits, those of widths among them.
    widths : width before and after of what was solved, by the convolution that makes it.
    capacity : of the network with them made; `excess`: how far it misses the budget, summed over its bounds [1].
    weights_kept : share of the original's weights that stay at their place [1]: 1 is the mildest.
    """

    forms: tuple[Form, ...]
    edits: tuple[Edit, ...]
    widths: tuple[tuple[str, int, int], ...]
    capacity: Capacity
    excess: float
    weights_kept: float

    def apply(self, model: ModelProto) -> ModelProto:
        """A copy of the graph with all edits made; ValueError where one does not apply."""
        return apply_all(model, self.edits)

    @property
    def kind(self) -> str:
        """Kinds of its forms."""
        return " + ".join(dict.fromkeys(_words(form) for form in self.forms))

    @property
    def text(self) -> str:
        """In words."""
        parts = []
        for words in dict.fromkeys(_words(form) for form in self.forms):
            nodes = [form.node for form in self.forms if _words(form) == words]
            parts.append(f"{words} ({_some(nodes)})")
        solved = [f"{name} {before} -> {after}" for name, before, after in self.widths]
        return " + ".join(parts) + (f"; widths: {_some(solved)}" if solved else "")


def _words(form: Form) -> str:
    return FORMS[form.kind].format(form.value)


def _is_depthwise(graph: GraphCopy, node: NodeProto) -> bool:
    dims = graph.dims(node)
    return dims[1] == 1 and attribute(node, "group", 1) == dims[0] > 1


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class Blocks:
    """The blocks of a graph that can take other forms, and the widths for them.

    `network` is the graph read as a network; `model` need not have weights.  `original`: what budgets are shares of, by
    default the network's own capacity.
    """

    def __init__(self, model: ModelProto, network: Network, original: Capacity | None = None) -> None:
        self.model, self.network = stripped(model), network
        self.original, self.places = original or capacity_of(network), places_of(network)
        self.rest = rest_of(network, self.model)
        self._weights, self._channels = weights_of(self.model), channels_of(self.model)

    def forms(self, group_widths: Iterable[int] = GROUP_WIDTHS) -> list[Form]:
        """Every form of every block, alone."""
        graph, found = GraphCopy(self.model), []
        for node in graph.graph.node:
            name = node_title(node)
            if node.op_type != "Conv" or name not in self.places or len(graph.tensors[node.input[1]].dims) != 4:
                continue
            dims = graph.dims(node)
            if _is_depthwise(graph, node):
                found += [Form("groups", name, n) for n in group_widths if 1 < n < dims[0]]
                tried = ["fuse_depthwise"]
            else:
                tried = ["column_row", "factorise", "stem"]
                if max(strides_of(node)) > 1:  # a filter that moves on one axis alone would make a stage of its own
                    tried.remove("factorise")
            found += [Form(kind, name) for kind in tried if Edit(kind, name).applies(graph)]
            if found and found[-1] == Form("stem", name) and dims[2] >= 5:  # on blocks it is still a filter of 3x3
                found.append(Form("stem_factorise", name))
        return found

    def sets(self, forms: Iterable[Form]) -> Iterator[tuple[Form, ...]]:
        """Forms that are tried together: one alone, those of a stage, all of a kind; each also with a stem's."""
        kinds: dict[tuple[str, int], list[Form]] = {}
        for form in forms:
            kinds.setdefault((form.kind, form.value), []).append(form)
        stems = kinds.pop(("stem", 0), [])
        seen: set[tuple[Form, ...]] = set()
        for form in (*stems, *kinds.pop(("stem_factorise", 0), [])):
            yield (form,)
        for mine in kinds.values():
            stages: dict[int, list[Form]] = {}
            for form in mine:
                stages.setdefault(self.places[form.node].stage, []).append(form)
            alone = [[form] for form in mine] if len(mine) <= MOST_ALONE else []
            for chosen in (*alone, *stages.values(), mine):
                kept = self.compatible(chosen)
                for each in (kept, *((stem, *kept) for stem in stems)):
                    if each not in seen:
                        seen.add(each)
                        yield each

    def compatible(self, forms: Sequence[Form]) -> tuple[Form, ...]:
        """Forms of one kind that can be made together: a filter is in one pair of filters only."""
        if forms[0].kind != "column_row":
            return tuple(forms)
        graph, kept = GraphCopy(self.model), []
        taken: set[str] = set()
        for form in forms:
            pair = {form.node, node_title(graph.before(graph.conv(form.node))[0])}
            if not pair & taken:
                taken |= pair
                kept.append(form)
        return tuple(kept)

    def solved(self, forms: Sequence[Form], budget: Budget, step: int = 1) -> CompoundEdit:
        """The forms with widths for a budget, multiples of `step`; ValueError where a form does not apply."""
        graph = GraphCopy(self.model)
        for form in forms:
            node = graph.conv(form.node)
            if form.kind == "groups" and not _is_depthwise(graph, node):
                raise ValueError(f"{form.node!r} is no depthwise convolution, so it has no groups of {form.value}")
        edits = [Edit(kind, form.node) for form in forms for kind in EDITS_OF.get(form.kind, (form.kind,))]
        widths = self._widths(tuple(forms), tuple(edits))
        _check_groups(forms, widths)
        found = solve(widths, self._tiers(forms, widths), budget, self.original, self.rest, step)
        makers = widths.channels.makers
        told = tuple((makers[v][0], widths.sizes[v], size) for v, size in found.sizes.items())
        edits += [Edit("channels", name, size) for name, _, size in told]
        edits += self._cut(forms, widths, found)
        made = CompoundEdit(tuple(forms), tuple(edits), told, found.capacity, found.excess, 1.0)
        kept = weights_kept(self._weights, weights_of(made.apply(self.model)))
        return CompoundEdit(made.forms, made.edits, told, found.capacity, found.excess, kept)

    @functools.lru_cache(maxsize=2)  # noqa: B019  # the same forms are solved for several steps, one after the other
    def _widths(self, forms: tuple[Form, ...], edits: tuple[Edit, ...]) -> WidthModel:
        """Widths of the graph with the blocks in their forms; depthwise ones will be cut in groups at the end."""
        places = dict(self.places)
        for form in forms:
            if form.kind in COLUMNS:
                places[f"{form.node}/column"] = places[form.node]
        times = {form.node: form.value for form in forms if form.kind == "groups"}
        if not edits:
            return WidthModel(self.model, places, times, times, self._channels)
        return WidthModel(apply_all(self.model, edits), places, times, times)

    def _tiers(self, forms: Sequence[Form], widths: WidthModel) -> list[set[int]]:
        """Widths inside the blocks, then those that one layer makes, then all but those to keep."""
        inner: set[int | None] = set()
        kept = {widths.named(form.node) for form in forms if form.kind == "stem"}
        graph = GraphCopy(self.model)
        for form in forms:
            if form.kind in COLUMNS:
                inner.add(widths.named(f"{form.node}/column"))
            elif form.kind == "column_row":
                inner.add(widths.named(node_title(graph.before(graph.conv(form.node))[0])))
            elif form.kind != "stem":
                inner.add(widths.named(form.node))
        free = set(widths.variables) - kept
        alone = {v for v in free if len(widths.channels.makers[v]) == 1 or widths.channels.grouped.get(v)}
        return [{v for v in free if v in inner}, alone, free]

    def _cut(self, forms: Sequence[Form], widths: WidthModel, found: Solution) -> Iterator[Edit]:
        """Groups of so many channels, at the widths found."""
        for form in forms:
            if form.kind == "groups":
                root = widths.named(form.node)
                width = found.sizes.get(root, widths.sizes[root]) if root is not None else 0
                if not width or width % form.value:
                    raise ValueError(f"{form.node!r}: {width} channels are no groups of {form.value}")
                yield Edit("groups", form.node, width // form.value)


def _check_groups(forms: Iterable[Form], widths: WidthModel) -> None:
    """ValueError where a width cannot become a multiple of the channels of a group."""
    for form in forms:
        root = widths.named(form.node) if form.kind == "groups" else None
        if root is not None and root not in widths.multiple and widths.sizes[root] % form.value:
            raise ValueError(f"{form.node!r}: {widths.sizes[root]} channels, which cannot change, are no groups of "
                             f"{form.value}")  # fmt: skip


def weights_of(model: ModelProto) -> dict[str, list[int]]:
    """Shapes of the weights of convolutions and products, by node."""
    dims = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    kinds = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    nodes = [node for node in model.graph.node if node.op_type in kinds and node.input[1] in dims]
    return {node_title(node): dims[node.input[1]] for node in nodes}


def weights_kept(before: Mapping[str, list[int]], after: Mapping[str, list[int]]) -> float:
    """Share of the weights of two graphs, by node, that both have at the same place [1]; of the larger graph's."""
    both = sum(math.prod(map(min, shape, after[name])) for name, shape in before.items()
               if name in after and len(after[name]) == len(shape))  # fmt: skip
    whole = max(sum(map(math.prod, shapes.values())) for shapes in (before, after))
    return both / whole if whole else 1.0


def compound_edits(
    model: ModelProto,
    budget: Budget | None = None,
    *,
    batch: int | None = 1,
    dims: Mapping[str, int] | None = None,
    step: int = 1,
    group_widths: Iterable[int] = GROUP_WIDTHS,
) -> list[CompoundEdit]:
    """Every compound edit of a network that keeps a budget, the mildest first.

    Parameters
    ----------
    model : a graph, from `read_graph` or `dse.training.graph_modules.graph_of`.
    budget : default: weights and MACs of the whole and of each stage within 2 %.
    batch, dims : as in `load_network`.
    step : widths inside the blocks become multiples of this, such as the lanes of an array.
    group_widths : channels of a group in place of a depthwise convolution.

    Raises ValueError where some block has another form but none keeps the budget: it names the nearest, and by how
    much it misses.  The list is empty where no block has another form.
    """
    budget = budget or Budget()
    blocks = Blocks(model, network_of(model, batch, dims))
    found = []
    for forms in blocks.sets(blocks.forms(group_widths)):
        try:
            found.append(blocks.solved(forms, budget, step))
        except ValueError:  # forms of these blocks exclude each other
            continue
    kept = [each for each in found if not each.excess]
    if found and not kept:
        nearest = min(found, key=lambda each: each.excess)
        raise ValueError(f"no compound edit keeps the budget; the nearest is {nearest.text}: "
                         f"{budget.misses(nearest.capacity, blocks.original)[0].text}")  # fmt: skip
    return sorted(kept, key=lambda each: -each.weights_kept)
