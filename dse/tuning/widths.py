"""Widths of a graph for which its stages keep their weights and MACs: the least change that does it.

The weights of a layer are a product of widths (`dse.tuning.channels`), and its MACs are so many times its weights.
With every width a factor ``exp(u)`` of what it is, the smallest change that gives each stage the weights that it should
have solves ``min |u|^2`` under ``amounts(u) = target``: Gauss-Newton steps, each a least-norm solution of the linear
problem.  Then widths become whole numbers, and single and paired steps remove what that missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from dse.networks.layers import Network
from dse.networks.onnx_file.graph import node_title
from dse.tuning.capacity import MOST_EXCESS, TOLERANCE, Budget, Capacity, capacity_of, capacity_of_stages
from dse.tuning.channels import Channels, Segment, channels_of

STIFFNESS = 1e6
"""How much a stage that misses its target weighs against a change of widths [1]."""

WIDEST = 8.0
"""Most by which a width grows or shrinks [1]."""

MOST_PAIRED = 128
"""Steps up to which pairs of them are tried [1]."""

MOST_TURNS = 200
"""Steps towards the budget at most [1]."""

Stages = dict[int, tuple[int, int]]
"""Output pixels of a stage -> weights [elements], MACs [MACs]."""


@dataclass(frozen=True)
class Place:
    """Where a layer's weights count: output pixels of its stage, and MACs per weight [MACs]."""

    stage: int
    macs_per_weight: int


def places_of(network: Network) -> dict[str, Place]:
    """Places of the MAC layers with constant weights, by name."""
    layers = [layer for layer in network.mac_layers if layer.static_weights]
    return {each.name: Place(each.OY * each.OX, each.macs // each.weight_elements) for each in layers}


@dataclass(frozen=True)
class _Weights:
    """Weights of one layer: ``factor`` times, for each of its axes that follow widths, their sum over ``groups``."""

    place: Place
    factor: int
    axes: tuple[tuple[tuple[Segment, ...], int], ...]

    def count(self, sizes: Mapping[int, int]) -> int:
        """Weights at whole sizes [elements]."""
        return self.factor * math.prod(sum(sizes[x] * n for x, n in each) // groups for each, groups in self.axes)


class WidthModel:
    """Weights and MACs of the stages of a graph as a function of its widths.

    Parameters
    ----------
    model : a graph.
    places : where the weights of its nodes count; others are not in the model.
    times : factors of the weights of some nodes, such as those that will be cut in groups of so many channels.
    channels : of the graph, where they are known.
    multiple : what widths of the graph's `Channels` must be multiples of, by the name of a maker or grouped node.
    """

    def __init__(
        self, model: ModelProto, places: Mapping[str, Place], times: Mapping[str, int] | None = None,
        multiple: Mapping[str, int] | None = None, channels: Channels | None = None,
    ) -> None:  # fmt: skip
        self.channels: Channels = channels or channels_of(model)
        self._names = {name: number for table in (self.channels.grouped, self.channels.makers)
                       for number, names in table.items() for name in names}  # fmt: skip
        self.variables = self.channels.free()
        self.sizes = {root: self.channels.size[root] for root in map(self.channels.root, self.channels.parent)}
        self.multiple = {v: self.channels.multiple.get(v, 1) for v in self.variables}
        for name, step in (multiple or {}).items():
            root = self.named(name)
            if root in self.multiple:
                self.multiple[root] = math.lcm(self.multiple[root], step)
        self.weights = _weights(model, self.channels, places, times or {})
        self.touched: dict[int, list[_Weights]] = {v: [] for v in self.variables}
        for each in self.weights:
            for v in dict.fromkeys(x for segments, _ in each.axes for x, _ in segments):
                if v in self.touched:
                    self.touched[v].append(each)

    def named(self, name: str) -> int | None:
        """The variable that a convolution or product makes, or that a depthwise convolution has."""
        number = self._names.get(name)
        return None if number is None else self.channels.root(number)

    def stages(self, sizes: Mapping[int, int] | None = None, only: Iterable[_Weights] | None = None) -> Stages:
        """Weights and MACs of each stage at these sizes, by default as they are."""
        sizes = self.sizes | dict(sizes or {})
        found: Stages = {}
        for each in self.weights if only is None else only:
            count, stage = each.count(sizes), each.place.stage
            weights, macs = found.get(stage, (0, 0))
            found[stage] = weights + count, macs + count * each.place.macs_per_weight
        return found

    def shares(self, variables: Sequence[int], factors: np.ndarray, stages: Sequence[int]) -> tuple:
        """Weights of stages (n,) at real widths ``size * factor``, and how they change with the logarithm of each
        factor (n, n_variables)."""
        sizes = self.sizes | {v: self.sizes[v] * x for v, x in zip(variables, factors, strict=True)}
        row, column = {s: i for i, s in enumerate(stages)}, {v: i for i, v in enumerate(variables)}
        amounts, slopes = np.zeros(len(stages)), np.zeros((len(stages), len(variables)))
        for each in self.weights:
            if each.place.stage not in row:
                continue
            lengths = [sum(sizes[x] * n for x, n in segments) / groups for segments, groups in each.axes]
            count, at = each.factor * math.prod(lengths), row[each.place.stage]
            amounts[at] += count
            for (segments, groups), length in zip(each.axes, lengths, strict=True):
                for x, n in segments:
                    if x in column:
                        slopes[at, column[x]] += count * sizes[x] * n / groups / length
        return amounts, slopes


def _weights(
    model: ModelProto, made: Channels, places: Mapping[str, Place], times: Mapping[str, int]
) -> list[_Weights]:
    dims = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    axes: dict[str, dict[int, tuple[tuple[Segment, ...], int]]] = {}
    for use in made.uses:
        segments = tuple((made.root(x), n) for x, n in use.segments)
        axes.setdefault(use.tensor, {}).setdefault(use.axis, (segments, use.groups))
    found = []
    for node in model.graph.node:
        name = node_title(node)
        if name not in places or len(node.input) < 2 or node.input[1] not in dims:
            continue
        mine, shape = axes.get(node.input[1], {}), dims[node.input[1]]
        factor = math.prod(n for axis, n in enumerate(shape) if axis not in mine) * times.get(name, 1)
        found.append(_Weights(places[name], factor, tuple(mine.values())))
    return found


def rest_of(network: Network, model: ModelProto) -> Stages:
    """What the stages of a network have beside what a `WidthModel` of its graph counts."""
    whole, counted = capacity_of(network).stages, WidthModel(model, places_of(network)).stages()
    return {s: (whole[s][0] - counted.get(s, (0, 0))[0], whole[s][1] - counted.get(s, (0, 0))[1]) for s in whole}


@dataclass(frozen=True)
class Solution:
    """New sizes of some variables, the capacity with them, and how far it misses the budget, summed [1]."""

    sizes: dict[int, int]
    capacity: Capacity
    excess: float


def solve(
    widths: WidthModel, tiers: Sequence[Iterable[int]], budget: Budget, original: Capacity, rest: Stages, step: int = 1
) -> Solution:
    """The least change of widths that brings a graph within a budget, or as near as whole widths come.

    Parameters
    ----------
    tiers : variables that may change, first those that should; a later tier joins where the earlier do not suffice.
    original, rest : capacity of the original network, and what of it `widths` does not count.
    step : variables of the first tier become multiples of this.
    """
    best: Solution | None = None
    first = set(tiers[0])
    for n in range(1, len(tiers) + 1):
        variables = [v for v in widths.variables if any(v in tier for tier in tiers[:n])]
        penalty = [next(10.0**i for i, tier in enumerate(tiers) if v in tier) for v in variables]
        if not variables:
            continue
        factors = _continuous(widths, variables, np.array(penalty), _targets(budget, original), original, rest)
        steps = {v: math.lcm(widths.multiple[v], step if v in first else 1) for v in variables}
        found = _Rounding(widths, budget, original, rest, variables, steps, factors).run(first)
        if best is None or found.excess < best.excess:
            best = found
        if best.excess == 0:
            break
    if best is None:
        capacity = capacity_of_stages(_sum(widths.stages(), rest))
        best = Solution({}, capacity, budget.excess(capacity, original))
    return best


def _targets(budget: Budget, original: Capacity) -> dict[int, float]:
    """Share of its weights that each stage should have [1]: all, or the nearest that the budget lets it."""
    low = max(budget.stage_weights[0], budget.stage_macs[0])
    high = min(budget.stage_weights[1], budget.stage_macs[1])
    least, most = max(budget.weights[0], budget.macs[0]), min(budget.weights[1], budget.macs[1])
    want = min(max(1.0, least), most)
    margin = min(0.005, 0.25 * max(0.0, high - low))
    share = min(max(want, low + margin), high - margin)
    return {stage: share for stage, (weights, _) in original.stages.items() if weights}


def _continuous(
    widths: WidthModel, variables: list[int], penalty: np.ndarray, targets: Mapping[int, float], original: Capacity,
    rest: Stages,
) -> np.ndarray:  # fmt: skip
    """Factors of the variables (n,) [1]: real numbers."""
    stages = list(targets)
    whole = np.array([original.stages[s][0] for s in stages], dtype=float)
    fixed = np.array([rest.get(s, (0, 0))[0] for s in stages], dtype=float)
    goal = np.array([targets[s] for s in stages])
    u, root = np.zeros(len(variables)), np.sqrt(penalty)
    for _ in range(15):
        amounts, slopes = widths.shares(variables, np.exp(u), stages)
        gap, jacobian = (amounts + fixed) / whole - goal, slopes / whole[:, None]
        scaled = jacobian / root
        wanted = jacobian @ u - gap
        step = scaled.T @ np.linalg.solve(scaled @ scaled.T + np.eye(len(stages)) / STIFFNESS, wanted) / root
        step = np.clip(step, -math.log(WIDEST), math.log(WIDEST))
        if np.abs(step - u).max() < 1e-6:
            break
        u = step
    return np.exp(u)


class _Excess:
    """`Budget.excess` of many networks at once, whose weights and MACs by stage are rows (n, 2 n_stages)."""

    def __init__(self, budget: Budget, original: Capacity, stages: Sequence[int]) -> None:
        then = [original.stages.get(stage, (0, 0)) for stage in stages]
        self.n, self.then = len(stages), np.array([w for w, _ in then] + [m for _, m in then], dtype=float)
        self.whole = np.array([original.weights, original.macs], dtype=float)
        bounds = [budget.stage_weights] * self.n + [budget.stage_macs] * self.n + [budget.weights, budget.macs]
        self.low, self.high = np.array(bounds, dtype=float).T

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Excess of each row (n,) [1]."""
        wholes = np.stack([rows[:, : self.n].sum(axis=1), rows[:, self.n :].sum(axis=1)], axis=1)
        now, then = np.hstack([rows, wholes]), np.append(self.then, self.whole)
        shares = np.where(then > 0, now / np.maximum(then, 1), np.where(now > 0, MOST_EXCESS + 1e6, 1.0))
        by = np.maximum(self.low - shares, np.where(np.isfinite(self.high), shares - self.high, 0.0))
        return np.where(by > TOLERANCE, np.minimum(by, MOST_EXCESS), 0.0).sum(axis=1)


class _Rounding:
    """Whole widths near real ones, then single and paired steps towards the budget."""

    def __init__(
        self, widths: WidthModel, budget: Budget, original: Capacity, rest: Stages, variables: list[int],
        steps: Mapping[int, int], factors: np.ndarray,
    ) -> None:  # fmt: skip
        self.widths, self.variables, self.steps = widths, variables, steps
        self.wanted = {v: widths.sizes[v] * x for v, x in zip(variables, factors, strict=True)}
        self.sizes = {v: max(steps[v], steps[v] * round(x / steps[v])) for v, x in self.wanted.items()}
        for v in variables:  # what hardly moves stays, whatever it is a multiple of
            if abs(self.wanted[v] / widths.sizes[v] - 1) < 0.5 / widths.sizes[v]:
                self.sizes[v] = widths.sizes[v] if widths.sizes[v] % widths.multiple[v] == 0 else self.sizes[v]
        found = _sum(widths.stages(self.sizes), rest)
        self.at = {stage: i for i, stage in enumerate(dict.fromkeys([*original.stages, *found]))}
        self.excess_of = _Excess(budget, original, list(self.at))
        self.now = self._row(found)
        self.changes: dict[tuple[int, int], np.ndarray] = {}  # by variable and step, while what it touches stays

    def run(self, first: set[int]) -> Solution:
        """Step until the budget holds or nothing helps; then take back what is not needed beside the first tier."""
        excess = self._excess(self.now)
        for _ in range(MOST_TURNS):
            move = self._best(excess) if excess > 0 else None
            if move is None:
                break
            excess = self._take(move)
        for v in sorted(self.variables, key=lambda v: abs(math.log(self.wanted[v] / self.widths.sizes[v]))):
            back = self.widths.sizes[v] - self.sizes[v]
            if excess or v in first or not back or self.widths.sizes[v] % self.widths.multiple[v]:
                continue
            if self._excess(self.now + self._change(v, back)) == 0:
                self._take([(v, back)])
        changed = {v: size for v, size in self.sizes.items() if size != self.widths.sizes[v]}
        stages = {s: (round(self.now[i]), round(self.now[len(self.at) + i])) for s, i in self.at.items()}
        return Solution(changed, capacity_of_stages({s: x for s, x in stages.items() if any(x)}), excess)

    def _best(self, excess: float) -> list[tuple[int, int]] | None:
        """The step, or the two, with the least excess; among those that leave none, the nearest to the real widths."""
        moves = [(v, by) for v in self.variables for by in (-self.steps[v], self.steps[v])
                 if self.sizes[v] + by >= self.steps[v]]  # fmt: skip
        if not moves:
            return None
        changes = np.array([self._change(v, by) for v, by in moves])
        far = np.array([abs(math.log((self.sizes[v] + by) / self.wanted[v])) for v, by in moves])
        left = self.excess_of(self.now + changes)
        if 1 < len(moves) <= MOST_PAIRED and left.min() > 0:
            i, j = np.triu_indices(len(moves), 1)
            both = self.excess_of(self.now + changes[i] + changes[j])
            k = int(np.lexsort((far[i] + far[j], both))[0])
            pair = [moves[i[k]], moves[j[k]]]
            if both[k] < left.min() and pair[0][0] != pair[1][0]:
                after = self._trial(pair)
                if self._excess(after) < min(excess, float(left.min())):
                    return pair
        best = int(np.lexsort((far, left))[0])
        return [moves[best]] if left[best] < excess else None

    def _take(self, move: list[tuple[int, int]]) -> float:
        self.now = self._trial(move)
        for v, by in move:
            self.sizes[v] += by
            near = {x for each in self.widths.touched[v] for segments, _ in each.axes for x, _ in segments}
            self.changes = {key: row for key, row in self.changes.items() if key[0] not in near}
        return self._excess(self.now)

    def _trial(self, move: list[tuple[int, int]]) -> np.ndarray:
        """Weights and MACs with the steps made, exactly."""
        touched = list({id(w): w for v, _ in move for w in self.widths.touched[v]}.values())
        after = self.sizes | {v: self.sizes[v] + by for v, by in move}
        return (
            self.now
            + self._row(self.widths.stages(after, touched))
            - self._row(self.widths.stages(self.sizes, touched))
        )

    def _change(self, v: int, by: int) -> np.ndarray:
        if (v, by) not in self.changes:
            self.changes[v, by] = self._trial([(v, by)]) - self.now
        return self.changes[v, by]

    def _row(self, stages: Stages) -> np.ndarray:
        row = np.zeros(2 * len(self.at))
        for stage, (weights, macs) in stages.items():
            row[self.at[stage]], row[len(self.at) + self.at[stage]] = weights, macs
        return row

    def _excess(self, row: np.ndarray) -> float:
        return float(self.excess_of(row[None])[0])


def _sum(a: Stages, b: Stages) -> Stages:
    found = dict(a)
    for stage, (weights, macs) in b.items():
        found[stage] = found.get(stage, (0, 0))[0] + weights, found.get(stage, (0, 0))[1] + macs
    return found
