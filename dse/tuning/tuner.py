"""The network that fits a design better, at a capacity within a budget: greedy, then pairs of edits.

Edits are drawn from the graph as it then is, costed without files in between, and made one after the other.  Two edits
that miss the budget alone may keep it together: what one adds to a stage the other takes away.  `dse.tuning.front` goes
on with a genetic search.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import pandas as pd
from onnx import ModelProto

from dse.costs.evaluation import Evaluation
from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology
from dse.runs.files import write_whole
from dse.tuning.capacity import Budget, Capacity, capacity_of, capacity_of_stages
from dse.tuning.channels import checked, stripped
from dse.tuning.costing import Costs, Setting
from dse.tuning.edits import Edit, apply_all
from dse.tuning.proposals import LEAST_GAIN, Proposal, Proposals

MOST_PAIRED = 24
"""Edits, those that save most, of which pairs are tried [1]."""

MOST_PAIRS = 96
"""Pairs that are costed at most, those that promise most first [1]."""


@dataclass(frozen=True)
class Tuned:
    """A network before and after: graphs, evaluations, capacities, every proposal and the edits made, in order.

    `made` are the proposals whose edits were made; `nearest` says, where none was, which edit that saves time comes
    nearest to the budget, and by how much it misses.  `goal`: share of the latency that was asked for, None: all that
    helps; `same_function_gain`: the part of `gain` of edits after which the network computes what it did [1].
    """

    original: ModelProto
    model: ModelProto
    before: Evaluation
    after: Evaluation
    capacity_before: Capacity
    capacity_after: Capacity
    budget: Budget
    proposals: tuple[Proposal, ...]
    made: tuple[Proposal, ...]
    nearest: str = ""
    goal: float | None = None
    same_function_gain: float = 0.0

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All plain edits made, in order."""
        return tuple(edit for proposal in self.made for edit in proposal.edits)

    @property
    def gain(self) -> float:
        """Latency saved / latency of the original [1]."""
        return 1 - self.after.cycles / self.before.cycles

    def table(self) -> pd.DataFrame:
        """Every proposal, best first, and whether it was made."""
        made = {proposal.edits for proposal in self.made}
        rows = [proposal.row | {"made": proposal.edits in made} for proposal in self.proposals]
        return (
            pd.DataFrame(rows).sort_values("saved_cycles", ascending=False, kind="stable") if rows else pd.DataFrame()
        )


def tune(
    model: ModelProto,
    design: Accelerator,
    *,
    budget: Budget | None = None,
    gain: float | None = None,
    rounds: int = 3,
    batch: int | None = 1,
    dims: Mapping[str, int] | None = None,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float | None = DEFAULT_SLACK,
) -> Tuned:
    """Edit a network for a design, within a budget of capacity.

    Parameters
    ----------
    model : a graph, from `read_graph`.
    design : the accelerator that it shall run faster on; ValueError where it cannot run on it.
    budget : default: weights and MACs of the whole network and of each stage within 2 % of the original's.
    gain : share of the latency that is enough to save [1]: the mildest edit that saves so much is made, one of the same
        function before all others; where none does alone, those that save most, until it is reached.  None: the edit
        that saves most, then the next, as long as something helps.
    rounds : how often the edits are drawn anew from what has become of the network.
    batch, dims : as in `load_network`; `dse.networks.network_dims` has the sizes of those that ship.
    technology, objective, slack : as in `dse.evaluate`.

    The result has passed `onnx.checker` and strict shape inference, and its evaluation is that of its file.
    """
    if gain is not None and not (isinstance(gain, Real) and 0 < gain < 1):
        raise ValueError(f"gain is a share of the latency between 0 and 1, got {gain!r}")
    if not isinstance(budget, Budget | None):
        raise ValueError(f"budget is a dse.Budget, such as dse.Budget.within(0.02), got {budget!r}")
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"rounds must be a whole number, at least 1, got {rounds!r}")
    costs = Costs(design, Setting(batch, dims, technology, objective, slack))
    before = costs.exact(model)
    if not before.feasible:
        raise ValueError(f"the design cannot run {before.network.name}; tune for one that can")
    work = _Tuning(model, before, costs, budget or Budget(), gain)
    for _ in range(rounds):
        if not work.round():
            break
    after = work.costs.exact(work.model)
    capacity = capacity_of(after.network)
    nearest = "" if work.made else nearest_miss(work.proposals, work.budget, work.original)
    return Tuned(model, work.model, before, after, work.original, capacity, work.budget, tuple(work.proposals),
                 tuple(work.made), nearest, gain, work.same_function_cycles / before.cycles)  # fmt: skip


class _Tuning:
    """The graph as it becomes."""

    def __init__(
        self, model: ModelProto, before: Evaluation, costs: Costs, budget: Budget, gain: float | None
    ) -> None:  # fmt: skip
        self.model, self.now, self.costs, self.budget = model, before, costs, budget
        self.before, self.original = before, capacity_of(before.network)
        self.least = LEAST_GAIN * before.cycles
        self.goal = 0.0 if gain is None else (1 - gain) * before.cycles
        self.proposals: list[Proposal] = []
        self.made: list[Proposal] = []
        self.same_function_cycles = 0.0

    def round(self) -> bool:
        """Draw proposals and make what helps; whether something did and more may."""
        begun, start = self.now, self.now.cycles
        drawn = Proposals(self.model, begun, self.costs, self.budget, self.original)
        found = drawn.all()
        known = {proposal.edits for proposal in self.proposals}
        self.proposals += [proposal for proposal in found if proposal.edits not in known]
        self._greedy(found)
        if self.now.cycles > self.goal:
            if self.now.cycles < start:
                drawn = Proposals(self.model, self.now, self.costs, self.budget, self.original)
            tried = self._pairs(drawn, begun, found)
            pairs = [pair for pair in tried if pair.saved_cycles >= self.least and not pair.excess]
            known |= {proposal.edits for proposal in self.proposals}
            self.proposals += [pair for pair in pairs if pair.edits not in known]
            pairs.sort(key=lambda p: -p.saved_cycles)
            self._greedy(pairs if self.goal else pairs[:3])
        return self.now.cycles > self.goal and start - self.now.cycles >= self.least

    def _greedy(self, found: Sequence[Proposal]) -> None:
        """Make proposals in turn: the mildest that reaches the goal alone, else those that save most first."""
        useful = [p for p in found if not p.excess and p.saved_cycles >= self.least]
        if self.goal:
            enough = [p for p in useful if self.now.cycles - p.saved_cycles <= self.goal]
            useful = sorted(enough, key=lambda p: (not p.same_function, -p.weights_kept)) or useful
        for proposal in useful:
            if self.now.cycles <= self.goal:
                return
            self._make(proposal)

    def _make(self, proposal: Proposal) -> None:
        """Make a proposal if it helps the graph as it is now, within the budget."""
        try:
            edited = apply_all(self.model, proposal.edits)
            quick = self.costs.quick(edited)
            if not self._helps(quick):
                return
            after = self.costs.exact(checked(edited))
        except ValueError:  # an edit made before it took its place
            return
        if self._helps(after):
            self.same_function_cycles += (self.now.cycles - after.cycles) * proposal.same_function
            self.model, self.now = edited, after
            self.made.append(proposal)

    def _helps(self, after: Evaluation) -> bool:
        saves = after.feasible and self.now.cycles - after.cycles >= self.least
        return saves and self.budget.allows(capacity_of(after.network), self.original)

    def _pairs(self, drawn: Proposals, start: Evaluation, found: Sequence[Proposal]) -> Iterator[Proposal]:
        """Two edits that the budget may allow: forms with their widths solved anew, else one, then the other.

        Of the edits `found` for the network at the `start` of the round.
        """
        best = [p for p in found if p.saved_cycles > 0 and not p.same_function][:MOST_PAIRED]
        giving = sorted((p for p in found if len(p.edits) == 1), key=lambda p: -p.saved_cycles)[: 4 * MOST_PAIRED]
        pairs = {(a.edits, b.edits): (a, b) for a, b in itertools.product(best, giving) if a is not b}
        pairs |= {(a.edits, b.edits): (a, b) for a, b in itertools.combinations(best, 2)}
        then, now = capacity_of(start.network), capacity_of(drawn.base.network)
        likely = [(a, b) for a, b in pairs.values() if a.saved_cycles + b.saved_cycles >= self.least
                  and ((a.forms and b.forms) or self.budget.allows(_both(a, b, then, now), self.original))]  # fmt: skip
        likely.sort(key=lambda pair: -(pair[0].saved_cycles + pair[1].saved_cycles))
        for a, b in likely[:MOST_PAIRS]:
            if a.forms and b.forms:
                made = drawn.compound(dict.fromkeys((*a.forms, *b.forms)))
            else:
                made = drawn.several((*a.edits, *b.edits), f"{a.text}; {b.text}")
            if made is not None:
                yield made


def _both(a: Proposal, b: Proposal, then: Capacity, now: Capacity) -> Capacity:
    """Capacity with two edits of the network `then` made in that of `now`, as if they did not touch each other."""
    changed = ((1, a.capacity), (1, b.capacity), (1, now), (-2, then))
    stages = {
        stage: (
            sum(sign * of.stages.get(stage, (0, 0))[0] for sign, of in changed),
            sum(sign * of.stages.get(stage, (0, 0))[1] for sign, of in changed),
        )
        for stage in {stage for _, of in changed for stage in of.stages}
    }
    return capacity_of_stages(stages)


def nearest_miss(proposals: Iterable[Proposal], budget: Budget, original: Capacity) -> str:
    """The edit that saves time and comes nearest to the budget, and by how much it misses, in words; or nothing."""
    missed = [p for p in proposals if p.excess and p.saved_cycles > 0]
    if not missed:
        return ""
    nearest = min(missed, key=lambda p: (p.excess, -p.saved_cycles))
    return f"{nearest.text}: {budget.misses(nearest.capacity, original)[0].text}"


def apply_edits(model: ModelProto, edits: Iterable[Edit]) -> ModelProto:
    """The graph with edits made in order, checked; ValueError names the edit that does not apply."""
    return checked(apply_all(model, edits))


def write_tuned(tuned: Tuned, directory: str | Path) -> list[Path]:
    """Write `tuned.onnx` (no weights), `edits.csv` (every proposal), `edits.json` (the edits made, in order)."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
        "tuned.onnx": stripped(checked(tuned.model)).SerializeToString(),
        "edits.csv": tuned.table().to_csv(index=False, lineterminator="\n").encode(),
        "edits.json": edits_json(tuned.edits),
    }
    for name, content in contents.items():
        write_whole(directory / name, content)
    return [directory / name for name in contents]


def edits_json(edits: Iterable[Edit]) -> bytes:
    """Edits as JSON, in order: kind, node and value of each."""
    rows = [{"kind": edit.kind, "node": edit.node, "value": edit.value} for edit in edits]
    return f"{json.dumps(rows, indent=1)}\n".encode()
