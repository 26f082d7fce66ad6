"""Edits of a network that might make it faster on a design, each with what it saves and what it does to capacity.

Whether accuracy holds is measured by `dse.study`, not predicted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from onnx import ModelProto

from dse.costs.evaluation import Evaluation
from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import weight_form, weights_on
from dse.networks.onnx_file.graph import attribute, node_title
from dse.tuning.attention_edits import NORMS
from dse.tuning.capacity import Budget, Capacity, capacity_of
from dse.tuning.channels import Channels, channels_of, shapes_of, with_channels
from dse.tuning.compounds import Blocks, Form, weights_kept, weights_of
from dse.tuning.costing import Costs, Setting
from dse.tuning.edits import KINDS, SAME_FUNCTION, Edit, apply_all
from dse.tuning.graph_copy import GraphCopy

LEAST_GAIN = 5e-4
"""Edits that save less of the network's cycles are not made [1]."""

WIDEST = 4
"""Channels are rounded up to at most this many times what they are [1]."""

VALUED = ("channels", "groups", "heads")
"""Kinds of edits that take a value."""

MOST_STEPS = 2
"""Lanes of the array that widths of compound edits are made multiples of, beside 1: the most frequent [1]."""


@dataclass(frozen=True)
class Proposal:
    """One edit, or several that belong together, and what they change.

    Attributes
    ----------
    edits : plain edits, in order; `forms`: of a compound edit, what they are for.
    text : in words.
    saved_cycles : cycles that they save by the model [cycles]; layers of the same shape and in the same state on chip
        share what was found for the first of them.
    capacity : of the network with them made; `excess`: how far it misses the budget, summed over its bounds [1].
    weights_kept : share of the weights that stay at their place [1]: 1 is the mildest.
    """

    edits: tuple[Edit, ...]
    text: str
    saved_cycles: float
    capacity: Capacity
    excess: float
    weights_kept: float
    forms: tuple[Form, ...] = ()

    @property
    def same_function(self) -> bool:
        """Whether the network computes what it did, weights laid out anew."""
        return all(edit.kind in SAME_FUNCTION for edit in self.edits)

    @property
    def row(self) -> dict[str, object]:
        """As a row of a table."""
        return {
            "edit": self.text,
            "edits": len(self.edits),
            "saved_cycles": self.saved_cycles,
            "weights": self.capacity.weights,
            "macs": self.capacity.macs,
            "within_budget": self.excess == 0,
            "excess": self.excess,
            "weights_kept": self.weights_kept,
            "same_function": self.same_function,
        }


def steps_of(found: Evaluation, names: Iterable[str], loop: str) -> set[int]:
    """Lanes of a loop in the mappings of these layers, and what the array has for it."""
    steps, layers = set(), {layer.name: layer for layer in found.network.mac_layers}
    for name in names:
        mapping = found.mappings.get(name)
        if mapping is None:
            continue
        option, design = mapping.spatial_option(found.design), found.design
        wide = int(weights_on(weight_form(layers[name]), design).lanes) if loop == "C" else 1
        for loops, places in ((option.on_rows, design.rows), (option.on_cols, design.cols)):
            wide *= next((int(min(places, u.most)) for u in loops if u.loop == loop), 1)
        steps |= {mapping.s(loop), wide}
    return {step for step in steps if step > 1}


def candidates(
    model: ModelProto, found: Evaluation, made: Channels | None = None
) -> list[tuple[Edit, tuple[str, ...]]]:
    """Every single edit that applies and might help on this design, and the layers that it touches."""
    graph = GraphCopy(model)
    edits: list[tuple[Edit, tuple[str, ...]]] = list(_of_channels(made or channels_of(model), found))
    for node in graph.graph.node:
        if node.op_type != "Conv" or node.input[1] not in graph.tensors:
            continue
        name, groups = node_title(node), attribute(node, "group", 1)
        tried = [Edit(kind, name) for kind in KINDS if kind not in VALUED and kind != "side_by_side"]
        if groups > 1:
            inputs = graph.tensors[node.input[1]].dims[1] * groups
            widths = {1, *(max(1, inputs // step) for step in steps_of(found, [name], "C"))}
            tried += [Edit("groups", name, value) for value in sorted(widths) if value < groups]
        touched = _neighbours(graph, name)
        edits += [(edit, touched) for edit in tried if edit.applies(graph)]
    return [*edits, *_of_attention(graph)]


def _of_attention(graph: GraphCopy) -> Iterator[tuple[Edit, tuple[str, ...]]]:
    """Parts side by side, and half and twice the heads."""
    shapes = None
    for name, node in graph.named.items():
        tried = [Edit("side_by_side", name)] if node.op_type in NORMS else []
        if node.op_type == "Softmax":
            shapes = shapes_of(graph.model) if shapes is None else shapes
            now = (shapes.get(node.output[0]) or [0, 0])[1] or 0
            tried = [Edit("heads", name, value) for value in (now // 2, 2 * now) if value]
        yield from ((edit, (name,)) for edit in tried if edit.applies(graph))


def _of_channels(made: Channels, found: Evaluation) -> Iterator[tuple[Edit, tuple[str, ...]]]:
    for number in made.free():
        size, makers, readers = made.size[number], made.makers[number], made.readers.get(number, [])
        multiple, values = made.multiple.get(number, 1), set()
        for step in steps_of(found, makers, "K") | steps_of(found, readers, "C"):
            up, down = -(-size // step) * step, (size - 1) // step * step
            values |= {value for value in (up, down) if value != size and 0 < value <= WIDEST * size}
        touched = (*makers, *made.grouped.get(number, ()), *readers)
        for value in sorted(values):
            if value % multiple == 0:
                yield Edit("channels", makers[0], value), touched


def _neighbours(graph: GraphCopy, name: str) -> tuple[str, ...]:
    """The convolution and the one before it, where there is one."""
    try:
        return node_title(graph.before(graph.conv(name))[0]), name
    except ValueError:
        return (name,)


def propose(
    model: ModelProto,
    design: Accelerator,
    *,
    budget: Budget | None = None,
    batch: int | None = 1,
    dims: Mapping[str, int] | None = None,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float | None = DEFAULT_SLACK,
) -> list[Proposal]:
    """Every edit alone, single and compound; most cycles saved first.  Parameters as in `dse.tune`."""
    costs = Costs(design, Setting(batch, dims, technology, objective, slack))
    base = costs.exact(model)
    return Proposals(model, base, costs, budget or Budget(), capacity_of(base.network)).all()


class Proposals:
    """What can be edited in a graph.

    Parameters
    ----------
    model : the graph; `base`: what it costs.
    costs : of edited graphs on the design.
    budget : of the tuned network, as shares of `original`.
    """

    def __init__(
        self, model: ModelProto, base: Evaluation, costs: Costs, budget: Budget, original: Capacity
    ) -> None:  # fmt: skip
        self.model, self.base, self.costs, self.budget, self.original = model, base, costs, budget, original
        self.channels = channels_of(model)
        self.makers = {name: number for number, names in self.channels.makers.items() for name in names}
        self.blocks = Blocks(model, base.network, original)
        self.weights = weights_of(model)
        self._seen: dict[tuple, tuple[float, Capacity, float] | None] = {}
        costs.start(model, base.network)
        cycles, traffic = base.columns["cycles"], base.columns["dram_bytes"]
        self._state = {layer.name: (getattr(layer, "shape_key", ()), layer.repeats, cycles[i], traffic[i])
                       for i, layer in enumerate(base.network.layers)}  # fmt: skip

    def all(self) -> list[Proposal]:
        """Single and compound edits, most cycles saved first."""
        found = [*self.singles(), *self.compounds()]
        return sorted(found, key=lambda p: (-p.saved_cycles, -p.weights_kept, p.text))

    def singles(self) -> Iterator[Proposal]:
        """Plain edits, each alone."""
        for edit, touched in candidates(self.model, self.base, self.channels):
            like = edit.kind, edit.value, tuple(self._state.get(name, name) for name in touched)
            if like not in self._seen:
                self._seen[like] = self._tried((edit,))
            tried = self._seen[like]
            if tried is not None:
                cycles, capacity, kept = tried
                excess = self.budget.excess(capacity, self.original)
                yield Proposal((edit,), edit.text, self.base.cycles - cycles, capacity, excess, kept)

    def compounds(self) -> Iterator[Proposal]:
        """Blocks of another form with their widths solved, once in whole channels and once in lanes of the array."""
        seen: set[tuple[Edit, ...]] = set()
        for forms in self.blocks.sets(self.blocks.forms()):
            for step in (1, *self.lanes()):
                found = self.compound(forms, step)
                if found is not None and found.edits not in seen:
                    seen.add(found.edits)
                    yield found

    def compound(self, forms: Iterable[Form], step: int = 1, budget: Budget | None = None) -> Proposal | None:
        """Forms with their widths solved; None where they exclude each other or the design cannot run them."""
        budget = budget or self.budget
        try:
            solved = self.blocks.solved(tuple(forms), budget, step)
        except ValueError:
            return None
        tried = self._tried(solved.edits)
        if tried is None:
            return None
        cycles, capacity, kept = tried
        excess = budget.excess(capacity, self.original)
        return Proposal(solved.edits, solved.text, self.base.cycles - cycles, capacity, excess, kept, solved.forms)

    def several(self, edits: tuple[Edit, ...], text: str) -> Proposal | None:
        """Edits made one after the other, as one proposal."""
        tried = self._tried(edits)
        if tried is None:
            return None
        cycles, capacity, kept = tried
        excess = self.budget.excess(capacity, self.original)
        return Proposal(edits, text, self.base.cycles - cycles, capacity, excess, kept)

    def lanes(self) -> list[int]:
        """The lanes of the array that most layers use, most frequent first [1]."""
        counts: Counter[int] = Counter()
        for layer in self.base.network.mac_layers:
            counts.update(steps_of(self.base, [layer.name], "K") | steps_of(self.base, [layer.name], "C"))
        common = sorted(counts, key=lambda step: (-counts[step], step))
        return [step for step in common if step > 1][:MOST_STEPS]

    def _edited(self, edits: tuple[Edit, ...]) -> ModelProto:
        """The graph with edits made; the channels of the graph, which take long to find, are found once."""
        numbers = self.makers if all(edit.kind == "channels" for edit in edits) else {}
        if not numbers or any(edit.node not in numbers for edit in edits):
            return apply_all(self.model, edits)
        return with_channels(self.model, self.channels, {numbers[edit.node]: edit.value for edit in edits})

    def _tried(self, edits: tuple[Edit, ...]) -> tuple[float, Capacity, float] | None:
        """Cycles, capacity and weights kept with edits made; None where they break the graph or cannot run."""
        try:
            edited = self._edited(edits)
            after = self.costs.quick(edited)
        except ValueError:
            return None
        kept = weights_kept(self.weights, weights_of(edited))
        return (after.cycles, capacity_of(after.network), kept) if after.feasible else None
