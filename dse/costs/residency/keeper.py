"""What stays on chip between the layers of a network on one design: whole activations, for the mapping objective.

A share of the input buffer may hold activations from the step that writes them to the last that reads them
(`Accelerator.resident_activation_fraction`); they then do not cross the DRAM link, and tiles have what is left.  The
choice (`dse.costs.residency.choice`) minimises the sum of the costs of the layers, each mapped for the case that it is
in: what of its inputs and outputs stays, and how much room tiles have.  Cases are mapped when a choice asks for them;
until then a lower bound stands for them.  A choice whose cases are all mapped is the best of all: nothing that looked
cheaper is left.  Mappings of the default effort bound nothing: with it the best choice maps every case that can arise,
and is the best for the mappings that this effort finds.

A search asks for the quick choice, in which four things differ:

- the choice follows few states (`WIDTHS`);
- where the port of the input buffer is no bottleneck, a case is taken to cost no less than one that keeps more;
- a case that keeps more is taken to save no more than the DRAM traffic of what it keeps;
- a choice whose cases are not all mapped has to promise a share `LEAST_GAIN` to be looked at.

`benchmarks/residency_table.py` measures what that loses.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from dse.costs import kernels as k
from dse.costs.kernel_rows import NetworkTables
from dse.costs.residency.choice import (
    BITS,
    MOST_STATES,
    Lifetimes,
    States,
    Store,
    choose,
    follow,
    make_states,
    room_sizes,
)
from dse.costs.residency.memory import CaseMemory
from dse.costs.results import DRAM_TRAFFIC

WIDTHS = (32, 192)
"""States that the choice follows, few until their cases are mapped; the quick choice stops at the last of these."""

LEAST_GAIN = 0.001
"""Share of the cost that another round of mapping cases has to promise, with the quick choice [1]."""

KEEP = ("best", "quick", "none")
"""What stays on chip: the best set of activations, the quick choice of a search, or nothing; with the complete mapper
the quick choice is the best."""


def check_keep(keep: str) -> str:
    """`keep`; a ValueError for an unknown one."""
    if keep not in KEEP:
        raise ValueError(f"keep {keep!r}: choose one of {', '.join(KEEP)}")
    return keep


@dataclass(frozen=True)
class NetworkSpan:
    """One network of `NetworkTables`: the range of its steps and of its tensors, who reads what, which cases can arise.

    `wanted` (n_layers, N_VARIANTS): residency variants of the MAC layers, those of constant weights apart.
    """

    begin: int
    end: int
    first_tensor: int
    last_tensor: int
    lifetimes: Lifetimes
    wanted: np.ndarray


@dataclass(frozen=True)
class Kept:
    """Costs of networks on one design, and what stays on chip.

    Attributes
    ----------
    results, maps : (n_steps, N_RESULT) and (n_steps, N_MAP) of each step, one repeat.
    totals : (n_networks, N_RESULT) sums over the steps and their repeats.
    plan : what stays, the case of each step, and bytes that stay during each.
    exact : (n_networks,) whether no other set of whole activations costs less under the mappings that the mapper finds.
    cases : every case that was mapped.
    """

    results: np.ndarray
    maps: np.ndarray
    totals: np.ndarray
    plan: k.Plan
    exact: tuple[bool, ...]
    cases: k.Cases


@functools.lru_cache(maxsize=64)
def spans_of(tables: NetworkTables) -> tuple[NetworkSpan, ...]:
    """The networks of `tables`, one after the other."""
    found = []
    owner = tables.steps[:, k.STEP_NETWORK]
    tensor = 0
    for number in range(len(tables.weight_elements)):
        begin, end = np.searchsorted(owner, [number, number + 1])
        steps = tables.steps[begin:end]
        named = [steps[:, k.STEP_OUTPUT], steps[:, k.STEP_FUSED]]
        read = tables.inputs[int(steps[0, k.STEP_INPUT_FIRST]) :][: int(steps[:, k.STEP_INPUT_COUNT].sum())]
        last = int(max([tensor - 1, *(values.max() for values in (*named, read) if len(values))])) + 1
        lifetimes = _lifetimes(tables, steps, int(begin), slice(tensor, last))
        found.append(NetworkSpan(int(begin), int(end), tensor, last, lifetimes, _wanted(tables, lifetimes)))
        tensor = last
    return tuple(found)


def _lifetimes(tables: NetworkTables, steps: np.ndarray, begin: int, span: slice) -> Lifetimes:
    tensors, n = tables.tensors[span], len(steps)
    writer, last = tensors[:, k.TENSOR_FIRST] - begin, tensors[:, k.TENSOR_LAST] - begin
    stays = (tensors[:, k.TENSOR_FIRST] >= 0) & (last > writer)
    places = np.full(len(tensors), -1, dtype=np.int64)
    ends: list[list[int]] = [[] for _ in range(n)]
    free = list(range(BITS))
    by_writer = {int(writer[t]): int(t) for t in np.flatnonzero(stays)}
    for step in range(n):
        t = by_writer.get(step)
        if t is not None and free:
            places[t] = free.pop(0)
            ends[int(last[t])].append(t)
        free += [int(places[t]) for t in ends[step]]

    def known(column: int) -> np.ndarray:
        found = steps[:, column].astype(np.int64)
        found[found >= 0] -= span.start
        found[found >= 0] = np.where(places[found[found >= 0]] >= 0, found[found >= 0], -1)
        return found

    vector = steps[:, k.STEP_IS_VECTOR] > 0
    writes, fused, second = known(k.STEP_OUTPUT), known(k.STEP_FUSED), known(k.STEP_SECOND)
    reads: list[list[int]] = []
    arrives = np.full(n, -1, dtype=np.int64)
    for i, step in enumerate(steps):
        at = int(step[k.STEP_INPUT_FIRST])
        own = tables.inputs[at : at + int(step[k.STEP_INPUT_COUNT])] - span.start
        if not vector[i] and len(own) and places[own[0]] >= 0:
            arrives[i] = own[0]
        told = own if vector[i] else (arrives[i], fused[i], second[i])
        reads.append([int(t) for t in dict.fromkeys(told) if t >= 0 and places[t] >= 0])
    index = steps[:, k.STEP_INDEX].astype(np.int64)
    views = np.zeros(n, dtype=bool)
    views[vector] = ~tables.vectors[index[vector]].any(axis=1)
    operands = np.stack([arrives, fused, second], axis=1)
    bit = np.append(np.left_shift(1, np.maximum(places, 0)) * (places >= 0), 0)
    ending = [sum(int(bit[t]) for t in end) for end in ends]
    return Lifetimes(
        writes=writes,
        operands=operands,
        bits=np.array([k.IN_RESIDENT, k.FUSED_RESIDENT, k.WEIGHTS_RESIDENT], dtype=np.int64),
        output_bit=k.OUT_RESIDENT,
        cases=np.where(vector, -1, index),
        base=np.zeros(n, dtype=np.int64),
        reads_first=np.cumsum([0, *map(len, reads)]),
        reads=np.array([t for read in reads for t in read], dtype=np.int64),
        ends_first=np.cumsum([0, *map(len, ends)]),
        ends=np.array([t for end in ends for t in end], dtype=np.int64),
        masks=np.column_stack([bit[operands], bit[writes], ending]).astype(np.int64),
        in_place=views,
        places=places,
        sizes=np.ascontiguousarray(tensors[:, k.TENSOR_ELEMENTS]),
        repeats=np.ascontiguousarray(steps[:, k.STEP_REPEATS]),
    )


def _wanted(tables: NetworkTables, lifetimes: Lifetimes) -> np.ndarray:
    wanted = np.zeros((len(tables.layers), k.N_VARIANTS), dtype=bool)
    for i in np.flatnonzero(lifetimes.cases >= 0):
        tensors = [*lifetimes.operands[i], lifetimes.writes[i]]
        bits = [*map(int, lifetimes.bits), lifetimes.output_bit]
        distinct = sorted({int(t) for t in tensors if t >= 0})
        for chosen in range(2 ** len(distinct)):
            stays = {t for j, t in enumerate(distinct) if chosen >> j & 1}
            wanted[lifetimes.cases[i], sum(bit for bit, t in zip(bits, tensors, strict=True) if t in stays)] = True
    return wanted


def with_weights(wanted: np.ndarray, lifetimes: Lifetimes) -> np.ndarray:
    """`wanted` with the variants of layers whose constant weights stay."""
    layers = np.unique(lifetimes.cases[lifetimes.base > 0])
    if not len(layers):
        return wanted
    wanted = wanted.copy()
    wanted[layers, k.WEIGHTS_RESIDENT :] |= wanted[layers, : k.WEIGHTS_RESIDENT]
    return wanted


def _every_case(wanted: np.ndarray, n_rooms: int) -> np.ndarray:
    """Every room of the cases `wanted` (n_layers, N_VARIANTS): (n, 3) layer, variant, room."""
    layers, variants = np.nonzero(wanted)
    rooms = np.tile(np.arange(n_rooms), len(layers))
    return np.stack([layers.repeat(n_rooms), variants.repeat(n_rooms), rooms], axis=1)


@dataclass(frozen=True)
class _Scratch:
    """Arrays that a `Keeper` writes over: those of the kernel, a design row, states and lines of the choice."""

    kernel: k.Scratch
    design: np.ndarray
    states: States
    lines: np.ndarray


class Keeper:
    """Costs networks on designs of which activations stay on chip.

    Parameters
    ----------
    tables : the networks.
    sure : the best choice, not the quick one; always so with the complete mapper.
    options, mode, slack, effort : as in `dse.costs.batches.network_totals`.
    """

    def __init__(
        self,
        tables: NetworkTables,
        options: np.ndarray,
        mode: int,
        slack: float,
        effort: k.Effort,
        sure: bool = False,
    ) -> None:
        self.networks, self.spans = k.Networks(*tables.arguments), spans_of(tables)
        self.options, self.mode, self.slack, self.effort = options, mode, slack, effort
        n_steps = len(self.networks.steps)
        self._bits = np.zeros(n_steps, dtype=np.int64)
        self.sure = sure or self._maps_completely
        self.widths = (*WIDTHS, MOST_STATES) if self.sure else WIDTHS

    @property
    def is_exact(self) -> bool:
        """Whether no mapping costs less than what the mapper finds: then costs of cases bound those of others."""
        return self._maps_completely and (self.mode != k.LATENCY or self.slack == 0)

    @property
    def _maps_completely(self) -> bool:
        return self.effort.sizes == k.COMPLETE

    @functools.cached_property
    def scratch(self) -> _Scratch:
        """Arrays that are written over."""
        each = [(span.end - span.begin, len(span.lifetimes.reads), len(span.lifetimes.places)) for span in self.spans]
        n_steps, n_reads, n_tensors = map(max, zip(*each, strict=True))
        states = make_states(n_steps, n_reads, n_tensors, self.widths[-1])
        lines = np.zeros((len(self.networks.steps), 2, 10))
        n_forms = self.networks.weight_elements.shape[1]
        return _Scratch(k.make_scratch(), np.empty(n_forms * k.N_DESIGN), states, lines)

    def __getstate__(self) -> dict[str, Any]:
        """All but the scratch, which is large."""
        return {name: value for name, value in self.__dict__.items() if name != "scratch"}

    def release(self) -> None:
        """Let go of the scratch; it is made again when needed."""
        self.__dict__.pop("scratch", None)

    def cost(
        self, design: np.ndarray, fixed: np.ndarray, keep: str = "best", given: np.ndarray | None = None,
        memory: CaseMemory | None = None,
    ) -> Kept:  # fmt: skip
        """Costs on one design with a frozen mapping `fixed` (N_FIXED,), or (0,) for the best.

        `design` (n_forms * N_DESIGN,): its row (`dse.costs.kernel_rows.design_rows`).
        `given` (n_layers, N_MAP): mappings to take for the distinct MAC layers; no lanes = the best.  `memory` has the
        cases of layers mapped before, and learns those of this network.
        """
        networks = self.networks
        buffer = design[k.CAPACITY_0 + int(design[k.BUFFER_I])]
        rooms = room_sizes(buffer, design[k.STORE_BYTES])
        cases, plan, n = k.make_cases(networks, rooms), k.make_plan(networks), len(networks.steps)
        if given is not None:
            cases.given[:] = given
        if memory is not None:
            if len(fixed) or (given is not None and given.any()):
                raise ValueError("a memory of cases is of best mappings; give no mappings with it")
            own = design[: k.N_DESIGN].tobytes()
            memory.check((own, self.options.tobytes(), repr((self.mode, self.slack, self.effort)).encode()))
            memory.recall(networks.layers, design, cases)
        results, maps = np.empty((n, k.N_RESULT)), np.zeros((n, k.N_MAP))
        totals = np.empty((len(self.spans), k.N_RESULT))
        store = Store(
            0.0 if keep == "none" else design[k.STORE_BYTES], design[k.ACTIVATION_BYTES], rooms,
            k.pj_per_cycle(design), self.mode,
        )  # fmt: skip
        k.weights_bits(design, networks, 0, n, self._bits)
        costs_little = len(fixed) > 0 or (given is not None and given.any())
        sure = bool(self.sure or costs_little)
        work = _Work(self, design, fixed, store, cases, plan, results, maps, sure)
        exact = tuple(work.network(i, totals[i]) for i in range(len(self.spans)))
        if memory is not None:
            memory.keep(networks.layers, design, cases)
        return Kept(results, maps, totals, plan, exact, cases)

    def given(self, design: np.ndarray, found: Kept, kept: np.ndarray) -> Kept:
        """Costs where `kept` (n_tensors,) stays; `found`: costs of the design, whose cases serve again.

        Raises ValueError where that does not fit the store.
        """
        store = Store(design[k.STORE_BYTES], design[k.ACTIVATION_BYTES], found.cases.rooms, 0.0, self.mode)
        plan = k.make_plan(self.networks)
        plan.kept[:] = kept
        done = Kept(np.empty_like(found.results), np.zeros_like(found.maps), np.empty_like(found.totals), plan,
                    (False,) * len(self.spans), found.cases)  # fmt: skip
        k.weights_bits(design, self.networks, 0, len(self.networks.steps), self._bits)
        work = _Work(self, design, np.empty(0), store, found.cases, plan, done.results, done.maps)
        for i in range(len(self.spans)):
            work.given(i, done.totals[i])
        return done


@dataclass(frozen=True)
class _Work:
    """What the choice for one design works on."""

    keeper: Keeper
    design: np.ndarray
    fixed: np.ndarray
    store: Store
    cases: k.Cases
    plan: k.Plan
    results: np.ndarray
    maps: np.ndarray
    sure: bool = True

    def _map(self, todo: np.ndarray) -> int:
        own = self.keeper
        return k.map_cases(
            self.design, self.fixed, own.options, own.networks, own.effort, own.mode, own.slack, todo, self.cases,
            own.scratch.design, own.scratch.kernel,
        )  # fmt: skip

    def _sum(self, span: NetworkSpan, plan: k.Plan, totals: np.ndarray) -> None:
        networks = self.keeper.networks
        k.step_costs(self.design, networks, span.begin, span.end, plan, self.cases, self.results, self.maps)
        k.sum_steps(networks, span.begin, span.end, self.results, totals)

    def _wanted_by(self, span: NetworkSpan, plan: k.Plan) -> np.ndarray:
        """Cases (n, 3) of the MAC steps."""
        steps = slice(span.begin, span.end)
        mac = span.lifetimes.cases >= 0
        return np.stack([span.lifetimes.cases, plan.variants[steps], plan.rooms[steps]], axis=1)[mac]

    def given(self, number: int, totals: np.ndarray) -> None:
        """Cost the plan as it is."""
        span, lifetimes, part = self._part(number, self.plan)
        if not follow(lifetimes, self.store, *part):
            raise ValueError(f"these activations do not fit the store of {self.store.store:g} bytes at every step")
        self._map(self._wanted_by(span, self.plan))
        self._sum(span, self.plan, totals)

    def _part(self, number: int, plan: k.Plan) -> tuple[NetworkSpan, Lifetimes, tuple[np.ndarray, ...]]:
        """A network with its constant weights where they stay, and its part of the plan."""
        span = self.keeper.spans[number]
        steps, tensors = slice(span.begin, span.end), slice(span.first_tensor, span.last_tensor)
        lifetimes = span.lifetimes._replace(base=self.keeper._bits[steps])
        return span, lifetimes, (plan.kept[tensors], plan.variants[steps], plan.rooms[steps], plan.fill[steps])

    def network(self, number: int, totals: np.ndarray) -> bool:
        """Choose what stays of one network and cost it; returns whether nothing else costs less."""
        span, lifetimes, part = self._part(number, self.plan)
        if self.store.store <= 0:
            self.given(number, totals)
            return False
        own = self.keeper
        networks, lines = own.networks, own.scratch.lines
        k.vector_lines(self.design, networks, span.begin, span.end, lines, own.scratch.kernel.out)
        wanted = with_weights(span.wanted, lifetimes)
        first, second = np.zeros(self.cases.slots.shape), np.zeros(self.cases.slots.shape)
        known = self.cases._replace(slots=np.full_like(self.cases.slots, -1))  # what this network asked for
        maps_all = own.sure and not own._maps_completely
        if maps_all:
            self._ask(_every_case(wanted, len(self.store.rooms)), known)
        trial = k.make_plan(networks)
        _, _, trial_part = self._part(number, trial)
        best, widths, exact = (np.inf, np.inf), list(own.widths), False
        while widths:
            k.expected_costs(self.design, networks, wanted, self.sure, own.mode, known, first, second)
            tables = first, second, lines[span.begin : span.end]
            limit = best[0] if self.sure else best[0] * (1 - LEAST_GAIN)
            reached, _, exact = choose(
                lifetimes, self.store, *tables, own.scratch.states, widths[0], limit, best[1], *trial_part
            )
            if reached == np.inf:  # nothing promises to be better than the best so far
                if exact:
                    break
                del widths[0]
                continue
            asked = self._wanted_by(span, trial)
            new = (known.slots[tuple(asked.T)] < 0).any()
            if new:
                self._ask(asked, known)
            self._sum(span, trial, totals)
            value = self._value(span)
            if value < best:
                best = value
                for mine, its in zip(part, trial_part, strict=True):
                    mine[:] = its
            if new:
                continue
            del widths[0]
            if exact:
                break
        self._sum(span, self.plan, totals)
        return exact and (maps_all or own.is_exact)

    def _ask(self, asked: np.ndarray, known: k.Cases) -> None:
        """Map cases, and note them and what they are in the whole buffer as known."""
        self._map(asked)
        for rooms in (asked[:, 2], 0):
            at = asked[:, 0], asked[:, 1], rooms
            known.slots[at] = self.cases.slots[at]

    def _value(self, span: NetworkSpan) -> tuple[float, float]:
        """What was summed last, as the choice sums it: the mapping objective, then DRAM bytes or cycles."""
        repeats, results = span.lifetimes.repeats, self.results[span.begin : span.end]
        cycles, pj = results[:, k.CYCLES], results[:, k.ENERGY_PJ]
        if self.store.mode == k.LATENCY:
            first, second = cycles, results[:, list(DRAM_TRAFFIC)].sum(axis=1)
        else:
            first, second = (pj if self.store.mode == k.ENERGY else pj * cycles), cycles
        over = k.TOO_MUCH * results[:, k.OVERFLOW]
        return float(((first + over) * repeats).sum()), float((second * repeats).sum())
