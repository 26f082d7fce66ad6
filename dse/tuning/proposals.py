"""The DNN that fits a design better: edits of its graph, ranked by what the model says they save.

Capacity is parameters and MACs, over all and by stage (the layers of equal output size).  Edits that keep it come
first; those that shrink follow only as far as the budget allows.  Whether accuracy holds is measured by
`dse.study`, not predicted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import pandas as pd
from onnx import ModelProto

from dse.costs.evaluation import Evaluation, evaluate
from dse.costs.kernel_rows import CostOptions
from dse.costs.parallel import in_processes
from dse.hardware.accelerator import Accelerator
from dse.networks.layers import Network
from dse.networks.onnx_file.graph import attribute, node_title
from dse.runs.files import write_whole
from dse.tuning.channels import channels_of, checked, stripped
from dse.tuning.edits import KINDS, Edit
from dse.tuning.graphs import network_of

LEAST_GAIN = 5e-4
"""Edits that save less of the network's cycles are not made [1]."""

WIDEST = 4
"""Channels are rounded up to at most this many times what they are [1]."""


@dataclass(frozen=True)
class Budget:
    """What a tuned network may lose and gain, against the original.

    Parameters
    ----------
    parameters : least share of the parameters [1].
    macs_per_stage : least share of the MACs and of the weights of each stage [1].
    most_parameters : most parameters, as a share of the original's [1].
    trade : what one edit adds to a stage another may take away; False: where nothing may be lost, no single edit takes.
    """

    parameters: float = 1.0
    macs_per_stage: float = 1.0
    most_parameters: float = 2.0
    trade: bool = False

    def __post_init__(self) -> None:
        for name in ("parameters", "macs_per_stage"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"budget: {name} is a share from 0 to 1 of the original, got {getattr(self, name)!r}")
        if not self.most_parameters >= 1:
            raise ValueError(f"budget: most_parameters must be at least 1, got {self.most_parameters!r}")

    def allows(self, capacity: Capacity, original: Capacity) -> bool:
        """Whether a network of that capacity is within the budget."""
        lowest = self.parameters * original.parameters
        if not lowest <= capacity.parameters <= self.most_parameters * original.parameters:
            return False
        return capacity.holds(original, self.macs_per_stage)

    def accepts(self, capacity: Capacity, now: Capacity, original: Capacity) -> bool:
        """Whether an edit may lead from `now` to `capacity`."""
        free = self.trade or min(self.parameters, self.macs_per_stage) < 1
        one = free or (capacity.parameters >= now.parameters and capacity.holds(now))
        return one and self.allows(capacity, original)


@dataclass(frozen=True)
class Capacity:
    """What a network can hold; a stage is all MAC layers of one output size.

    Attributes
    ----------
    parameters, macs : of the whole network [elements], [MACs].
    stages : output pixels (``OY * OX``) of a stage -> its weights [elements] and MACs [MACs].
    """

    parameters: int
    macs: int
    stages: Mapping[int, tuple[int, int]]

    def holds(self, other: Capacity, share: float = 1.0) -> bool:
        """Whether every stage of `other` has at least that share of its weights and MACs here."""
        return all(
            self.stages.get(stage, (0, 0))[i] >= share * least
            for stage, amounts in other.stages.items()
            for i, least in enumerate(amounts)
        )


@dataclass(frozen=True)
class Proposal:
    """An edit and what it changes, by the model: cycles saved, parameters and MACs added.

    `keeps_capacity`: no fewer parameters, and no fewer weights or MACs in any stage.  `free`: rounds channels up at no
    cost in cycles (within `LEAST_GAIN`).  `capacity`: of the network with the edit made.
    """

    edit: Edit
    saved_cycles: float
    parameters: int
    macs: int
    keeps_capacity: bool
    free: bool
    capacity: Capacity

    @property
    def row(self) -> dict[str, object]:
        """As a row of a table."""
        return {
            "edit": self.edit.text,
            "kind": self.edit.kind,
            "node": self.edit.node,
            "value": self.edit.value,
            "saved_cycles": self.saved_cycles,
            "parameters_added": self.parameters,
            "macs_added": self.macs,
            "keeps_capacity": self.keeps_capacity,
            "free": self.free,
        }


@dataclass(frozen=True)
class Tuned:
    """A network before and after: graphs, evaluations, capacities, every proposal and the edits made, in order."""

    original: ModelProto
    model: ModelProto
    before: Evaluation
    after: Evaluation
    capacity_before: Capacity
    capacity_after: Capacity
    proposals: tuple[Proposal, ...]
    edits: tuple[Edit, ...]

    @property
    def gain(self) -> float:
        """Latency saved / latency of the original [1]."""
        return 1 - self.after.cycles / self.before.cycles

    def table(self) -> pd.DataFrame:
        """Every proposal, best first, and whether it was made."""
        made = set(self.edits)
        rows = [proposal.row | {"made": proposal.edit in made} for proposal in self.proposals]
        return (
            pd.DataFrame(rows).sort_values("saved_cycles", ascending=False, kind="stable") if rows else pd.DataFrame()
        )


class _Cost:
    """Evaluates graphs on one design, read as any ONNX file is."""

    def __init__(
        self, design: Accelerator, batch: int | None, dims: Mapping[str, int] | None, options: CostOptions
    ) -> None:
        self.design, self.batch, self.dims, self.options = design, batch, dims, options

    def __call__(self, model: ModelProto) -> Evaluation:
        return evaluate(self.design, network_of(model, self.batch, self.dims), **self.options)


def capacity_of(network: Network) -> Capacity:
    """Capacity of a network: constant operands count as weights, every repeat of a layer counts as MACs."""
    stages: dict[int, tuple[int, int]] = {}
    for layer in network.mac_layers:
        key = layer.OY * layer.OX
        weights, macs = stages.get(key, (0, 0))
        stages[key] = (weights + layer.weight_elements * layer.static_weights, macs + layer.macs)
    return Capacity(network.parameters, network.macs, stages)


def candidates(model: ModelProto, found: Evaluation) -> list[Edit]:
    """Every edit that might help on this design: what the array's widths suggest.  Some may not apply."""
    made, edits = channels_of(model), []
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for number in made.free():
        size, makers = made.size[number], made.makers[number]
        steps = _steps(found, makers, "K") | _steps(found, made.readers.get(number, []), "C")
        multiple = made.multiple.get(number, 1)
        values = set()
        for step in steps:
            up, down = -(-size // step) * step, (size - 1) // step * step
            values |= {value for value in (up, down) if value != size and 0 < value <= WIDEST * size}
        edits += [Edit("channels", makers[0], value) for value in sorted(values) if value % multiple == 0]
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        name, groups = node_title(node), attribute(node, "group", 1)
        for kind in KINDS:
            if kind not in ("channels", "groups"):
                edits.append(Edit(kind, name))
        if groups > 1:
            inputs = weights.get(node.input[1], [0, 0])[1] * groups
            widths = {1, *(max(1, inputs // step) for step in _steps(found, [name], "C"))}
            edits += [Edit("groups", name, value) for value in sorted(widths) if value < groups]
    return edits


def _steps(found: Evaluation, names: Iterable[str], loop: str) -> set[int]:
    """Lanes of a loop in the mappings of these layers, and what the array has for it."""
    steps = set()
    for name in names:
        mapping = found.mappings.get(name)
        if mapping is None:
            continue
        option, design = mapping.spatial_option(found.design), found.design
        wide = design.macs_per_pe if loop == "C" else 1
        for loops, places in ((option.on_rows, design.rows), (option.on_cols, design.cols)):
            wide *= next((int(min(places, u.most)) for u in loops if u.loop == loop), 1)
        steps |= {mapping.s(loop), wide}
    return {step for step in steps if step > 1}


def propose(
    model: ModelProto,
    design: Accelerator,
    *,
    batch: int | None = 1,
    dims: Mapping[str, int] | None = None,
    n_jobs: int = 1,
    **options: Unpack[CostOptions],
) -> list[Proposal]:
    """Every candidate edit alone, evaluated; most cycles saved first.  `n_jobs`, `options` as in `tune`."""
    cost = _Cost(design, batch, dims, options)
    return _proposals(model, cost, cost(model), n_jobs)


def _proposals(model: ModelProto, cost: _Cost, base: Evaluation, n_jobs: int) -> list[Proposal]:
    found, now = [], capacity_of(base.network)
    edits = candidates(model, base)
    for edit, tried in zip(edits, in_processes(_tried, [(edit, model, cost) for edit in edits], n_jobs), strict=True):
        if tried is None:
            continue
        cycles, capacity = tried
        keeps = capacity.parameters >= now.parameters and capacity.holds(now)
        free = edit.kind == "channels" and keeps and cycles <= base.cycles * (1 + LEAST_GAIN)
        more = capacity.parameters - now.parameters, capacity.macs - now.macs
        found.append(Proposal(edit, base.cycles - cycles, *more, keeps, free, capacity))
    return sorted(found, key=lambda p: -p.saved_cycles)


def _tried(edit: Edit, model: ModelProto, cost: _Cost) -> tuple[float, Capacity] | None:
    """Cycles and capacity with an edit made; None where it does not apply, breaks the graph or cannot run."""
    try:
        after = cost(edit.apply(model))
    except ValueError:
        return None
    return (after.cycles, capacity_of(after.network)) if after.feasible else None


def tune(
    model: ModelProto,
    design: Accelerator,
    *,
    budget: Budget | None = None,
    rounds: int = 3,
    grow: bool = False,
    batch: int | None = 1,
    dims: Mapping[str, int] | None = None,
    n_jobs: int = 1,
    **options: Unpack[CostOptions],
) -> Tuned:
    """Edit a network for a design, within a budget: greedily, most cycles saved first, each step evaluated.

    Parameters
    ----------
    model : a graph, from `read_graph`.
    design : the accelerator that it shall run faster on; ValueError where it cannot run on it.
    budget : default: no fewer parameters, no fewer weights or MACs in any stage, at most twice the parameters.
    rounds : how often the candidates are drawn anew from what has become of the network.
    grow : afterwards round channels up where that costs no cycles, as far as the budget's `most_parameters`.
    batch, dims : as in `load_network`; `dse.networks.network_dims` has the sizes of those that ship.
    n_jobs : processes that evaluate candidates at the same time, -1 for all cores; the result does not depend on it.
    options : ``technology, objective, slack`` of `dse.evaluate`.

    The result has passed `onnx.checker` and strict shape inference.
    """
    budget, cost = budget or Budget(), _Cost(design, batch, dims, options)
    before = cost(model)
    if not before.feasible:
        raise ValueError(f"the design cannot run {before.network.name}; tune for one that can")
    original = capacity_of(before.network)
    current, now = model, before
    drawn: ModelProto | None = None
    found: list[Proposal] = []
    proposals: list[Proposal] = []
    edits: list[Edit] = []
    for turn in range(rounds):
        found, drawn = _proposals(current, cost, now, n_jobs), current
        proposals += found if turn == 0 else [p for p in found if p.edit not in {q.edit for q in proposals}]
        start = now.cycles
        for proposal in sorted(found, key=lambda p: (not p.keeps_capacity, -p.saved_cycles)):
            if proposal.saved_cycles < LEAST_GAIN * before.cycles:
                continue
            if current is drawn and not budget.accepts(proposal.capacity, capacity_of(now.network), original):
                continue
            try:
                edited = checked(proposal.edit.apply(current))
                after = cost(edited)
            except ValueError:  # an edit made before it took its place
                continue
            good = after.feasible and now.cycles - after.cycles >= LEAST_GAIN * before.cycles
            if good and budget.accepts(capacity_of(after.network), capacity_of(now.network), original):
                current, now = edited, after
                edits.append(proposal.edit)
        if start - now.cycles < LEAST_GAIN * before.cycles:
            break
    if grow:
        found = found if current is drawn else _proposals(current, cost, now, n_jobs)
        current, now, made = _grown(current, found, cost, now, budget, original)
        edits += made
    return Tuned(model, current, before, now, original, capacity_of(now.network), tuple(proposals), tuple(edits))


def _grown(
    model: ModelProto, found: list[Proposal], cost: _Cost, base: Evaluation, budget: Budget, original: Capacity
) -> tuple[ModelProto, Evaluation, list[Edit]]:
    """The graph with channels rounded up where they cost nothing, most parameters first; its evaluation; the edits."""
    limit, now = base.cycles * (1 + LEAST_GAIN), base
    edits: list[Edit] = []
    for proposal in sorted(found, key=lambda p: -p.parameters):
        if not proposal.free or (
            not edits and not budget.accepts(proposal.capacity, capacity_of(now.network), original)
        ):
            continue
        try:
            edited = checked(proposal.edit.apply(model))
            after = cost(edited)
        except ValueError:
            continue
        capacity = capacity_of(after.network)
        if after.feasible and after.cycles <= limit and budget.accepts(capacity, capacity_of(now.network), original):
            model, now = edited, after
            edits.append(proposal.edit)
    return model, now, edits


def apply_edits(model: ModelProto, edits: Iterable[Edit]) -> ModelProto:
    """The graph with edits made in order, checked; ValueError names the edit that does not apply."""
    for edit in edits:
        try:
            model = edit.apply(model)
        except ValueError as error:
            raise ValueError(f"edit ({edit.text}): {error}") from None
    return checked(model)


def write_tuned(tuned: Tuned, directory: str | Path) -> list[Path]:
    """Write `tuned.onnx` (no weights), `edits.csv` (every proposal), `edits.json` (the edits made, in order)."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    made = [{"kind": edit.kind, "node": edit.node, "value": edit.value} for edit in tuned.edits]
    contents = {
        "tuned.onnx": stripped(checked(tuned.model)).SerializeToString(),
        "edits.csv": tuned.table().to_csv(index=False, lineterminator="\n").encode(),
        "edits.json": f"{json.dumps(made, indent=1)}\n".encode(),
    }
    for name, content in contents.items():
        write_whole(directory / name, content)
    return [directory / name for name in contents]
