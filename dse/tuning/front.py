"""Latency against capacity: the front of a network's edited forms on one design, by NSGA-II (pymoo).

A network of the search is a form for each set of blocks (those of one stage and kind together) and a share of the
capacity: widths are solved so that every stage keeps that share, within the budget's width of bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from onnx import ModelProto
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.mutation.pm import PolynomialMutation
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology
from dse.runs.files import write_whole
from dse.tuning.capacity import Budget, Capacity, capacity_of
from dse.tuning.channels import stripped
from dse.tuning.compounds import Form, weights_kept, weights_of
from dse.tuning.costing import Costs, Setting
from dse.tuning.edits import Edit
from dse.tuning.proposals import Proposal, Proposals
from dse.tuning.tuner import apply_edits, edits_json

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of the original's capacity that a network of the search may have in every stage [1]."""

WIDTH = 0.02
"""How far a stage may be from its share [1]."""


@dataclass(frozen=True)
class Member:
    """One network of the front: its edits, cycles [cycles], latency [s] and capacity, and `share_of_capacity`, the
    geometric mean of weights and MACs, as a share of the original's [1]."""

    edits: tuple[Edit, ...]
    text: str
    cycles: float
    latency_s: float
    capacity: Capacity
    share_of_capacity: float
    weights_kept: float


@dataclass(frozen=True)
class TunedFront:
    """The front, least latency first; `evaluations` networks were costed."""

    original: ModelProto
    members: tuple[Member, ...]
    evaluations: int

    def table(self) -> pd.DataFrame:
        """One row a network."""
        rows = [
            {"network": i, "latency_s": m.latency_s, "cycles": m.cycles, "share_of_capacity": m.share_of_capacity,
             "weights": m.capacity.weights, "macs": m.capacity.macs, "weights_kept": m.weights_kept, "edit": m.text}
            for i, m in enumerate(self.members)
        ]  # fmt: skip
        return pd.DataFrame(rows)


def tuned_front(
    model: ModelProto,
    design: Accelerator,
    *,
    evaluations: int = 300,
    population: int = 24,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    also: Iterable[Sequence[Edit]] = (),
    batch: int | None = 1,
    dims: Mapping[str, int] | None = None,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float | None = DEFAULT_SLACK,
) -> TunedFront:
    """Search the edited forms of a network for the least latency at each capacity.

    Parameters
    ----------
    model, design, batch, dims, technology, objective, slack : as in `dse.tune`.
    evaluations : networks to cost, at most; `population`, `seed`: of NSGA-II.
    shares : capacities to look at, as shares of the original's [1].
    also : edits of further networks that may join the front, such as `Tuned.edits`; the original may, too.

    Raises ValueError where no block of the network has another form and `also` is empty, or for no evaluations or
    shares.
    """
    if evaluations < 1 or population < 2:
        raise ValueError(f"evaluations must be at least 1 and population 2, got {evaluations} and {population}")
    if not shares or not all(0 < share <= 4 for share in shares):
        raise ValueError(f"shares of the capacity are above 0 and at most 4, got {shares!r}")
    costs = Costs(design, Setting(batch, dims, technology, objective, slack))
    base = costs.exact(model)
    if not base.feasible:
        raise ValueError(f"the design cannot run {base.network.name}; tune for one that can")
    original = capacity_of(base.network)
    search = _Search(Proposals(model, base, costs, Budget(), original), shares)
    known = [tuple(edits) for edits in also]
    if not search.sets and not any(known):
        raise ValueError(f"no block of {base.network.name} has another form")
    if search.sets:
        _nsga2(search, min(population, evaluations), evaluations, seed)
    texts = {edits: "; ".join(edit.text for edit in edits) for edits in ((), *known)}
    members, weights = [], weights_of(model)
    for edits, text in (texts | {found.edits: found.text for found in search.front()}).items():
        edited = apply_edits(model, edits)
        after, kept = costs.exact(edited), weights_kept(weights, weights_of(edited))
        now = capacity_of(after.network)
        members.append(Member(edits, text, after.cycles, after.latency_s, now, share_of_capacity(now, original), kept))
    members = _non_dominated(members)
    return TunedFront(model, tuple(sorted(members, key=lambda m: m.cycles)), len(search.seen))


def share_of_capacity(now: Capacity, original: Capacity) -> float:
    """Geometric mean of weights and MACs as shares of the original's [1]."""
    return math.sqrt(now.weights / max(1, original.weights) * now.macs / original.macs)


class _Search:
    """What genes stand for: a form of each set of blocks, 0 = as it is, and last the share of the capacity."""

    def __init__(self, proposals: Proposals, shares: Sequence[float]) -> None:
        self.proposals, self.shares = proposals, shares
        sets: dict[tuple[int, bool, str], dict[tuple[str, int], list[Form]]] = {}
        for form in proposals.blocks.forms():
            stage = proposals.blocks.places[form.node].stage
            alone = form.node if form.kind == "stem" else ""
            key = stage, form.kind in ("groups", "fuse_depthwise"), alone
            sets.setdefault(key, {}).setdefault((form.kind, form.value), []).append(form)
        self.sets = [[proposals.blocks.compatible(forms) for forms in kinds.values()] for kinds in sets.values()]
        self.seen: dict[tuple[int, ...], Proposal | None] = {}

    @property
    def most(self) -> np.ndarray:
        """The largest value of each gene."""
        return np.array([*(len(kinds) for kinds in self.sets), len(self.shares) - 1])

    def proposal(self, genes: Sequence[int]) -> Proposal | None:
        """The network of these genes; None where its forms exclude each other or its share cannot be met."""
        key = tuple(int(gene) for gene in genes)
        if key not in self.seen:
            forms = [form for gene, kinds in zip(key[:-1], self.sets, strict=True) if gene for form in kinds[gene - 1]]
            share = self.shares[key[-1]]
            bounds = (max(0.0, share - WIDTH), share + WIDTH)
            found = self.proposals.compound(forms, budget=Budget(bounds, bounds, bounds, bounds))
            self.seen[key] = found if found is not None and not found.excess else None
        return self.seen[key]

    def front(self) -> list[Proposal]:
        """Networks that no other beats in both cycles and capacity."""
        found = list({p.edits: p for p in self.seen.values() if p is not None}.values())
        values = np.array([self.values(p) for p in found])
        return [found[i] for i in NonDominatedSorting().do(values, only_non_dominated_front=True)] if found else []

    def values(self, proposal: Proposal) -> tuple[float, float]:
        """Cycles, and 1 / capacity: both are minimised."""
        own = self.proposals
        return own.base.cycles - proposal.saved_cycles, 1 / share_of_capacity(proposal.capacity, own.original)


def _non_dominated(members: list[Member]) -> list[Member]:
    values = np.array([(m.cycles, 1 / m.share_of_capacity) for m in members]).reshape(-1, 2)
    kept = NonDominatedSorting().do(values, only_non_dominated_front=True) if members else []
    return [members[i] for i in kept]


def _nsga2(search: _Search, population: int, evaluations: int, seed: int) -> None:
    problem = Problem(n_var=len(search.most), n_obj=2, n_ieq_constr=1, xl=np.zeros(len(search.most)), xu=search.most,
                      vtype=int)  # fmt: skip
    algorithm = NSGA2(
        pop_size=population, sampling=IntegerRandomSampling(), crossover=UniformCrossover(repair=RoundingRepair()),
        mutation=PolynomialMutation(eta=3.0, repair=RoundingRepair(), vtype=float),
    )  # fmt: skip
    algorithm.setup(problem, seed=seed, termination=("n_gen", 10**6), verbose=False)
    idle = 0
    while len(search.seen) < evaluations and idle < 20:
        before, asked = len(search.seen), algorithm.ask()
        if asked is None:  # no genes are new
            return
        results = [search.proposal(genes) for genes in asked.get("X")[: max(1, evaluations - before)]]
        results += [None] * (len(asked) - len(results))
        asked.set("F", np.array([search.values(p) if p else (1e30, 1e30) for p in results]))
        asked.set("G", np.array([[0.0 if p else 1.0] for p in results]))
        algorithm.tell(infills=asked)
        idle = 0 if len(search.seen) > before else idle + 1


def write_front(front: TunedFront, directory: str | Path, graphs: bool = False) -> list[Path]:
    """Write `front.csv`; with `graphs` also an ONNX file, without weights, and the edits of each network."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    contents = {"front.csv": front.table().to_csv(index=False, lineterminator="\n").encode()}
    for i, member in enumerate(front.members if graphs else ()):
        model = apply_edits(front.original, member.edits)
        contents[f"front_{i}.onnx"] = stripped(model).SerializeToString()
        contents[f"front_{i}.json"] = edits_json(member.edits)
    for name, content in contents.items():
        write_whole(directory / name, content)
    return [directory / name for name in contents]
