"""A mix of networks that runs on a divided design: the cost of every layer, the schedule, and its metrics."""

from __future__ import annotations

import copy
import functools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from types import MappingProxyType

import numpy as np

from dse.costs import kernels as k
from dse.costs.batches import step_results
from dse.costs.kernel_rows import DEFAULT_SLACK, columns_of, design_rows, effort_named, mapper_mode, network_tables
from dse.costs.probes import probe_designs, probe_network, read_only
from dse.costs.results import DRAM_TRAFFIC, ENERGY_PARTS
from dse.hardware.accelerator import Accelerator
from dse.hardware.area import AREA_BLOCKS, core_area_mm2, leakage_of_blocks_w, sum_blocks
from dse.hardware.dram import dram_background_w
from dse.hardware.power import clock_pj_per_cycle, flip_flop_bits
from dse.hardware.technology import Technology, technology_or_default
from dse.hardware.weight_forms import WeightForm, full_macs
from dse.simultaneous.bounds import ROUNDED, Demand, least_load, makespan_bound_s, unmet_by_demand
from dse.simultaneous.division import Division
from dse.simultaneous.mixes import Mix, Stream
from dse.simultaneous.places import Placed, best_places, least_loaded_places
from dse.simultaneous.schedules import (
    ORDERS,
    Jobs,
    OfLayers,
    Schedule,
    Work,
    alone_turnaround_s,
    certain_misses,
    run_checked,
)
from dse.simultaneous.steady_state import PERCENTILES, Load, Served, SteadyState, load_at_places, steady_state

_OF_DESIGN = ("area_mm2", "core_area_mm2", "used_sub_arrays", "overflow", *(f"area_{name}_mm2" for name in AREA_BLOCKS))
METRICS = (
    "makespan_s", "makespan_bound_at_places_s", "throughput_per_s", "energy_j", "power_w", "stp", "antt",
    "worst_slow_down", "fairness", "deadline_miss_share", "dram_bytes", *(f"energy_{name}_j" for name in ENERGY_PARTS),
    *_OF_DESIGN,
)  # fmt: skip
"""What `CoRun.metrics` holds of a batch; `problems.simultaneous` says what each is."""

STEADY_METRICS = (
    "load", "dram_load", "overload", "settled", "throughput_per_s", "power_w", "energy_per_request_j",
    "sub_array_utilisation", "dram_utilisation", *(f"latency_p{p}_s" for p in PERCENTILES), "mean_slow_down",
    "worst_slow_down", "fairness", "deadline_miss_share", *(f"power_{name}_w" for name in ENERGY_PARTS), *_OF_DESIGN,
)  # fmt: skip
"""What `CoRun.metrics` holds of streams with rates, and ``latency_p95_of_NAME_s`` ... of each stream."""

SHOWN_REQUESTS = 200
"""Requests of streams with rates that a schedule shows, where it is not said up to when."""

MOST_SHOWN = 20_000

WITH_TIME = ("clock", "io", "leakage")
"""Levels of the energy that the whole chip takes as long as it is on."""


@dataclass(frozen=True)
class LayerCosts(OfLayers):
    """What the layers of a network cost on one design: time [s] and DRAM bytes of each, all repeats, and in all the
    energy by level without what runs with time, that of the DRAM too [J], and the overflow."""

    busy_s: np.ndarray
    dram_bytes: np.ndarray
    dynamic_j: dict[str, float]
    overflow: float


@dataclass(frozen=True)
class Bounds:
    """What no order and no places can beat, see `dse.simultaneous.bounds`.

    Attributes
    ----------
    makespan_s : of a batch [s]; NaN of streams with rates.
    load : largest load of streams with rates, above 1 where no places serve them [1]; NaN of a batch.
    least_s : time of a request of each stream on its fastest sub-array, (n_streams,) [s].
    seconds : that the linear programmes took [s].
    """

    makespan_s: float
    load: float
    least_s: np.ndarray
    seconds: float


@dataclass(frozen=True)
class CoRun:
    """A mix on a divided design.

    Attributes
    ----------
    mix : what runs.
    metrics : by name, see `METRICS` (a batch) and `STEADY_METRICS` (streams with rates).
    steady : of streams with rates; None of a batch.
    alone_s : turnaround of each request of a batch, (n_requests,), or time of each stream with rates, (n_streams,),
        with nothing else running but what it waits for [s]: on the same design undivided, or on its sub-array, which
        may be faster where that has another dataflow.
    where : sub-array of each stream, from 0, (n_streams,); of a batch whose places were searched, of its first request.
    overflows : of each stream, 0 where it fits its sub-array, else bytes over / capacity, (n_streams,) [1].
    division, design : how the design is divided, and the undivided design.
    load : of a batch that has streams with rates without end: of those; else None.
    bounds : over all places, where they were asked for.
    placed, placed_seconds : what the search of places found, where it was asked for, and its time [s].
    """

    mix: Mix
    metrics: dict[str, float]
    steady: SteadyState | None
    alone_s: np.ndarray
    where: tuple[int, ...]
    overflows: tuple[float, ...]
    division: Division
    design: Accelerator
    served: Served | None = field(repr=False)
    batch: Schedule | None = field(repr=False)
    load: Load | None = None
    bounds: Bounds | None = None
    placed: Placed | None = None
    placed_seconds: float = 0.0

    @functools.cached_property
    def schedule(self) -> Schedule:
        """Of all requests of a batch; of streams with rates, until the end of the window that is reported, or of the
        first `SHOWN_REQUESTS`."""
        if self.batch is not None:
            return self.batch
        window = self.mix.window_s
        if window is not None:  # random arrivals, traces, and long hyperperiods
            arrivals = self.mix.by_arrival(window).arrival_s
            return self.schedule_until(float(np.nextafter(arrivals[:SHOWN_REQUESTS][-1], np.inf)))
        rate = float(self.mix.rates.sum())
        phases = [stream.phase_s for stream in self.mix.streams]
        ends = SHOWN_REQUESTS / rate + max(phases)
        if self.steady is not None and self.steady.stable:
            ends = max(ends, self.steady.window_s[1])
        return self.schedule_until(min(ends, (min(phases) + MOST_SHOWN / rate) * (1 - 1e-9)))

    def schedule_until(self, end_s: float) -> Schedule:
        """Of the requests that arrive before a time, from an empty chip; of a batch the whole [s]."""
        if self.served is None:
            return self.schedule
        if (count := self.mix.expected(end_s)) > MOST_SHOWN:
            raise ValueError(f"until {end_s:g} s about {count:,.0f} requests arrive, more than {MOST_SHOWN:,} to show; "
                             "choose an earlier end")  # fmt: skip
        requests = self.mix.table(end_s).by_arrival()
        if not len(requests):
            raise ValueError(f"nothing arrives before {end_s:g} s; choose a later end")
        return self.served.run(requests, keep_layers=True)[0]

    def worst_slow_downs(self) -> dict[str, float]:
        """Largest turnaround / time alone of the requests of each stream, NaN where unstable."""
        names = [stream.name for stream in self.mix.streams]
        if self.steady is not None:
            return dict(zip(names, self.steady.slow_down[:, 1].tolist(), strict=True))
        found = dict.fromkeys(names, 0.0)
        for name, ratio in zip(self.schedule.table.networks, self.schedule.turnaround_s / self.alone_s, strict=True):
            found[name] = max(found[name], float(ratio))
        return found


class MixEvaluator:
    """Evaluates a mix on divided designs.

    Parameters
    ----------
    mix : what runs.
    technology, objective, slack, effort : as in `dse.evaluate`.
    order : what a sub-array runs next, see `dse.simultaneous.schedules.ORDERS`.
    """

    def __init__(
        self,
        mix: Mix,
        technology: Technology | None = None,
        *,
        objective: str = "latency",
        slack: float = DEFAULT_SLACK,
        order: str = "deadline",
        effort: str = "default",
    ) -> None:
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
        self.mix, self.order = mix, order
        self.technology = technology_or_default(technology)
        self.networks = mix.networks()
        self.requests = None if mix.is_steady else mix.table()
        self._mode, self._slack = mapper_mode(objective, slack)
        self._effort = effort_named(effort)
        plain = [network.renamed("") for network in self.networks]  # streams of one network share its costs
        distinct = list(dict.fromkeys(plain))
        self._tables = [network_tables(network) for network in distinct]
        self._of_stream = [distinct.index(network) for network in plain]
        self._layer_names = [tuple(network.layers[i].name for i in network.run_order) for network in self.networks]
        self._known: dict[Accelerator, dict[int, LayerCosts]] = {}  # costs of the designs of the last call

    def with_effort(self, effort: str) -> MixEvaluator:
        """The same evaluator with another effort of the mapper."""
        other = copy.copy(self)
        other._effort, other._known = effort_named(effort), {}
        return other

    def with_technology(self, technology: Technology) -> MixEvaluator:
        """The same evaluator with other constants."""
        other = copy.copy(self)
        other.technology, other._known = technology, {}
        return other

    def __call__(
        self, designs: Sequence[Accelerator], divisions: Sequence[Division], runs_on: Sequence[Sequence[int]]
    ) -> list[CoRun]:
        """Run the mix on each design: `divisions` of it, and the sub-array of each stream, `runs_on` (n_streams,).

        The overflow of a network that does not fit is in the metrics, not an error.
        """
        parts = [division.of(design) for design, division in zip(designs, divisions, strict=True)]
        cost = self._costs([*designs, *(part for group in parts for part in group)])
        found = []
        for design, division, group, where in zip(designs, divisions, parts, runs_on, strict=True):
            each = [cost(group[where[s]], s) for s in range(len(self.networks))]
            alone = np.array([cost(design, s).total_s for s in range(len(self.networks))])
            chip = _Chip(design, division, group, self.technology)
            found.append(self._co_run(chip, tuple(map(int, where)), each, alone))
        return found

    def everywhere(self, design: Accelerator, division: Division) -> list[list[LayerCosts]]:
        """Costs of every stream on every sub-array, (n_streams, n_sub_arrays)."""
        parts = division.of(design)
        cost = self._costs([design, *parts])
        return [[cost(part, s) for part in parts] for s in range(len(self.networks))]

    def bounds(self, design: Accelerator, division: Division) -> Bounds:
        """What no order and no places on a division of a design can beat."""
        costs = self.everywhere(design, division)
        began = time.perf_counter()
        fits, time_s, moved_s = _by_place(costs, design)
        time_s = np.where(fits, time_s, np.inf)
        least = time_s.min(axis=1)
        load = makespan = np.nan
        if not np.isfinite(least).all():
            pass  # a stream that fits nowhere: nothing to bound
        elif self.requests is None:
            load = least_load(self.mix.rates, time_s, moved_s, fits)
        else:
            table = self._jobs(np.zeros(len(self.requests), dtype=np.int64), [row[0] for row in costs])
            stream, arrival = self.requests.stream, self.requests.arrival_s
            counts = np.bincount(stream).astype(float)
            first, last = np.full(len(counts), np.inf), np.zeros(len(counts))
            np.minimum.at(first, stream, arrival)
            np.maximum.at(last, stream, arrival)
            chain = float(table.earliest_finish_s(least[stream]).max())
            makespan = max(makespan_bound_s(counts, first, last, time_s, moved_s), chain * (1 - ROUNDED))
        return Bounds(makespan, load, least, time.perf_counter() - began)

    def best(self, design: Accelerator, division: Division) -> CoRun:
        """The mix at the best places that a search finds: of a batch in the best order too, see `places`.

        Best is, of a batch, the fewest missed deadlines, then the least makespan; of streams with rates the least
        largest load.
        """
        costs = self.everywhere(design, division)
        began = time.perf_counter()
        fits, time_s, moved_s = _by_place(costs, design)
        fits[~fits.any(axis=1)] = True  # fits nowhere: its overflow is told of any place
        chip = _Chip(design, division, division.of(design), self.technology)
        whole = self._costs([design, *chip.parts])
        alone = np.array([whole(design, s).total_s for s in range(len(costs))])
        if self.requests is None:
            rates = self.mix.rates[:, None]
            placed = least_loaded_places(rates * time_s, rates * moved_s, fits)
            seconds = time.perf_counter() - began
            found = self._co_run(chip, placed.where, [costs[s][a] for s, a in enumerate(placed.where)], alone)
            return replace(found, placed=placed, placed_seconds=seconds)
        stream, arrays = self.requests.stream, len(chip.parts)
        flat = [cost for row in costs for cost in row]

        def ordered(where: Sequence[int], order: Sequence[int]) -> tuple[Jobs, np.ndarray]:
            """Jobs at `where`, and priorities that make them run in this order."""
            jobs = self._jobs(np.asarray(where, dtype=np.int64), flat, stream * arrays + np.asarray(where))
            ranked = sorted(order, key=lambda j: -jobs.priority[j])  # stable: by priority, then as ordered
            priority = np.empty(len(order))
            priority[ranked] = np.arange(len(order), 0, -1)
            return jobs, priority

        def value(where: Sequence[int], order: Sequence[int]) -> tuple[float, ...]:
            jobs, priority = ordered(where, order)
            done, _ = run_checked(replace(jobs, priority=priority), design.dram_gbps, chip.links_gbps, "first")
            return float(done.missed.sum()), done.makespan_s

        placed = best_places(time_s[stream], fits[stream], value)
        seconds = time.perf_counter() - began
        jobs, priority = ordered(placed.where, placed.order)
        found = self._batch(chip, jobs, [flat[w] for w in jobs.work.tolist()], alone, priority, "first")
        return replace(found, placed=placed, placed_seconds=seconds)

    def _costs(self, designs: Sequence[Accelerator]) -> Callable[[Accelerator, int], LayerCosts]:
        """A function that gives what a stream costs on one of the designs, each computed once."""
        number: dict[Accelerator, int] = {}
        for design in designs:
            number.setdefault(design, len(number))
        columns = columns_of(list(number))
        known: dict[tuple[WeightForm, ...], tuple[np.ndarray, np.ndarray]] = {}
        costs = self._known = {design: self._known.get(design, {}) for design in number}

        def cost(design: Accelerator, stream: int) -> LayerCosts:
            i, which = number[design], self._of_stream[stream]
            if which not in costs[design]:
                forms = self._tables[which].forms
                if forms not in known:
                    known[forms] = design_rows(columns, self.technology, forms=forms)
                rows, options = known[forms]
                costs[design][which] = self._layer_costs(rows[i : i + 1], options, which, design.clock_ghz)
            return costs[design][which]

        return cost

    def _layer_costs(self, row: np.ndarray, options: np.ndarray, which: int, clock_ghz: float) -> LayerCosts:
        tables = self._tables[which]
        steps, _ = step_results(row, options, tables, self._mode, self._slack, self._effort)
        steps = steps[tables.order] * tables.steps[:, k.STEP_REPEATS, None]
        levels = {name: column for name, column in ENERGY_PARTS.items() if name not in WITH_TIME}
        dynamic = {name: float(steps[:, column].sum()) * 1e-12 for name, column in levels.items()}
        dynamic["dram"] -= float(steps[:, k.CYCLES].sum() * row[0, k.PJ_DRAM_CYCLE]) * 1e-12
        moved = steps[:, DRAM_TRAFFIC].sum(axis=1)
        busy = steps[:, k.CYCLES] / (clock_ghz * 1e9)
        return LayerCosts(busy, moved, dynamic, float(steps[:, k.OVERFLOW].sum()))

    def _jobs(self, sub_array: np.ndarray, costs: Sequence[LayerCosts], work: np.ndarray | None = None) -> Jobs:
        """Jobs of a batch; `costs` are the works, of which each job has number `work`, default that of its stream."""
        requests = self.requests
        assert requests is not None
        per = len(costs) // len(self.networks)
        waits = requests.after >= 0
        priority = np.array([stream.priority for stream in self.mix.streams], float)
        return Jobs(
            tuple(
                Work(self.mix.streams[w // per].name, cost.busy_s, cost.dram_bytes, self._layer_names[w // per])
                for w, cost in enumerate(costs)
            ),
            requests.stream if work is None else work,
            sub_array,
            requests.arrival_s,
            requests.deadline_s,
            priority[requests.stream],
            np.concatenate([[0], np.cumsum(waits)]),
            requests.after[waits],
        )

    def _co_run(self, chip: _Chip, where: tuple[int, ...], costs: list[LayerCosts], alone: np.ndarray) -> CoRun:
        """Streams at `where`, each with its costs there and its time alone on the undivided design, (n_streams,)."""
        if self.requests is not None:
            jobs = self._jobs(np.array(where)[self.requests.stream], costs)
            of_request = [costs[s] for s in self.requests.stream.tolist()]
            return self._batch(chip, jobs, of_request, alone, jobs.priority, self.order)
        works = tuple(
            Work(stream.name, cost.busy_s, cost.dram_bytes, layers)
            for stream, cost, layers in zip(self.mix.streams, costs, self._layer_names, strict=True)
        )
        alone = np.minimum(alone, [cost.total_s for cost in costs])
        served = Served(self.mix, works, where, chip.design.dram_gbps, chip.links_gbps, self.order, alone)
        steady = steady_state(served)
        power = {
            name: sum(r * c.dynamic_j.get(name, 0.0) for r, c in zip(steady.served_per_s.tolist(), costs, strict=True))
            for name in ENERGY_PARTS
        }
        macs = [
            rate * full_macs(network, chip.design)
            for rate, network in zip(steady.served_per_s.tolist(), self.networks, strict=True)
        ]
        power["clock"] += chip.clock_j_per_mac * sum(macs)
        for name, watts in chip.standing_w.items():
            power[name] += watts
        total, rate = sum(power.values()), float(steady.served_per_s.sum())
        overflow = float(sum(cost.overflow for cost in costs))
        largest = dict(zip(PERCENTILES, steady.latency_s.max(axis=0).tolist(), strict=True))
        metrics = {
            "load": steady.load.largest,
            "dram_load": steady.load.dram,
            "overload": steady.overload,
            "settled": float(steady.settled),
            "throughput_per_s": rate,
            "power_w": total,
            "energy_per_request_j": total / rate,
            "sub_array_utilisation": float(steady.utilisation.mean()),
            "dram_utilisation": steady.dram_utilisation,
            **{f"latency_p{p}_s": value for p, value in largest.items()},
            "mean_slow_down": float(steady.slow_down[:, 0].mean()),
            "worst_slow_down": steady.worst_slow_down,
            "fairness": steady.fairness,
            "deadline_miss_share": steady.deadline_miss_share,
            **{f"power_{name}_w": value for name, value in power.items()},
            **chip.metrics(where),
            "overflow": overflow + steady.overload,
            **{
                f"latency_p{p}_of_{stream.name}_s": float(steady.latency_s[s, i])
                for s, stream in enumerate(self.mix.streams)
                for i, p in enumerate(PERCENTILES)
            },
        }
        overflows = tuple(cost.overflow for cost in costs)
        return CoRun(self.mix, metrics, steady, alone, where, overflows, chip.division, chip.design, served, None)

    def _batch(
        self,
        chip: _Chip,
        jobs: Jobs,
        of_request: Sequence[LayerCosts],
        alone: np.ndarray,
        priority: np.ndarray,
        order: str,
    ) -> CoRun:
        """Requests as `jobs` with their costs, (n_requests,); what runs next goes by `priority` and `order`."""
        requests = self.requests
        assert requests is not None
        n, streams, where = len(requests), len(self.networks), jobs.sub_array
        asked = replace(jobs, priority=priority)
        done, _ = run_checked(asked, chip.design.dram_gbps, chip.links_gbps, order, keep_layers=True)
        done = replace(done, table=jobs)
        alone_s = alone_turnaround_s(jobs, np.minimum(alone[requests.stream], jobs.own_s))
        times = Counter(map(id, of_request))
        counted = [(cost.dynamic_j, times[i]) for i, cost in {id(cost): cost for cost in of_request}.items()]
        spent = {name: sum(n * parts.get(name, 0.0) for parts, n in counted) for name in ENERGY_PARTS}
        worked = [full_macs(network, chip.design) for network in self.networks]
        spent["clock"] += chip.clock_j_per_mac * sum(worked[s] for s in requests.stream.tolist())
        for name, watts in chip.standing_w.items():
            spent[name] += watts * done.makespan_s
        energy = sum(spent.values())
        first = {s: i for i, s in reversed(list(enumerate(requests.stream.tolist())))}
        places = tuple(int(where[first[s]]) for s in range(streams))
        rates, load = self.mix.rates, None
        if rates.any():
            own = [of_request[first[s]] for s in range(streams)]
            load = load_at_places(rates, own, places, len(chip.parts), chip.design.dram_gbps, True)
        overload = max(0.0, load.largest - 1) if load is not None and load.is_too_much else 0.0
        metrics = {
            "makespan_s": done.makespan_s,
            "makespan_bound_at_places_s": done.bound_s,
            "throughput_per_s": n / done.makespan_s,
            "energy_j": energy,
            "power_w": energy / done.makespan_s,
            **done.metrics(alone_s),
            "dram_bytes": float(jobs.own_bytes.sum()),
            **{f"energy_{name}_j": value for name, value in spent.items()},
            **chip.metrics(where.tolist()),
            "overflow": float(sum(of_request[first[s]].overflow for s in range(streams))) + overload,
        }
        overflows = tuple(of_request[first[s]].overflow for s in range(streams))
        return CoRun(self.mix, metrics, None, alone_s, places, overflows, chip.division, chip.design, None, done, load)


def _by_place(costs: Sequence[Sequence[LayerCosts]], design: Accelerator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every stream on every sub-array, (n_streams, n_sub_arrays): whether it fits, its time there and on the DRAM
    link of the chip [s]."""
    fits, time_s, moved = (
        np.array([[value(cost) for cost in row] for row in costs])
        for value in (lambda c: c.overflow == 0, lambda c: c.total_s, lambda c: c.total_bytes)
    )
    return fits, time_s, moved / (design.dram_gbps * 1e9)


@dataclass(frozen=True)
class _Chip:
    """A divided design and what follows from that alone."""

    design: Accelerator
    division: Division
    parts: tuple[Accelerator, ...]
    technology: Technology

    @functools.cached_property
    def links_gbps(self) -> np.ndarray:
        """Bandwidth of each sub-array's link, (n_sub_arrays,)."""
        return np.array([part.dram_gbps for part in self.parts])

    @functools.cached_property
    def blocks_mm2(self) -> dict[str, float]:
        """Area by block."""
        return self.division.area_blocks_mm2(self.design, self.technology)

    @functools.cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        return {name: np.array([self.blocks_mm2[name]]) for name in AREA_BLOCKS}

    @functools.cached_property
    def _clock_pj(self) -> tuple[float, float]:
        """Energy of the clock in every cycle, and in one in which every multiplier works on top [pJ/cycle].

        One tree over the flip-flops of all sub-arrays, and over the engines, which the chip has once.
        """
        working, holding, standing = flip_flop_bits(columns_of(list(self.parts)), self.technology)
        flip_flops = (working.sum(keepdims=True), holding.sum(keepdims=True), standing[:1])
        always, work = clock_pj_per_cycle(flip_flops, self.technology, self._columns)
        return float(always[0]), float(work[0])

    @functools.cached_property
    def standing_w(self) -> dict[str, float]:
        """Power of the whole chip and its DRAM that flows whatever runs, by level [W]."""
        return {
            "clock": self._clock_pj[0] * self.design.clock_ghz * 1e-3,
            "io": self.technology.io_idle_w,
            "leakage": float(leakage_of_blocks_w(self._columns, self.technology)[0]),
            "dram": dram_background_w(self.design),
        }

    @property
    def clock_j_per_mac(self) -> float:
        """Energy of the clock that gating stops where a multiplier does nothing [J/MAC]."""
        return self._clock_pj[1] / self.design.macs_per_cycle * 1e-12

    def metrics(self, where: Sequence[int]) -> dict[str, float]:
        """Areas, and how many sub-arrays run anything."""
        areas = {f"area_{name}_mm2": self.blocks_mm2[name] for name in AREA_BLOCKS}
        whole, core = float(sum_blocks(self._columns)[0]), float(core_area_mm2(self._columns)[0])
        return {"area_mm2": whole, "core_area_mm2": core, "used_sub_arrays": float(len(set(where))), **areas}


@functools.lru_cache(maxsize=8)
def probe_values(technology: Technology) -> MappingProxyType[str, np.ndarray]:
    """What the model computes of a small mix on divided designs with these constants: metrics by name, each (12,).

    They stand in the manifest of runs of several networks beside those of `dse.costs.probes`.
    """
    other = replace(probe_network(), layers=probe_network().layers[2:6], name="other")
    streams = (Stream("probe", probe_network(), fps=40.0, priority=2), Stream("other", other, count=3),
               Stream("after", other, fps=40.0, after="probe"))  # fmt: skip
    mixes = {
        "mix": Mix("probes", streams, duration_s=0.05),
        "steady": Mix("probes", tuple(replace(stream, count=None, fps=40.0) for stream in streams)),
        "random": Mix(
            "probes", (Stream("one", other, fps=9.0, arrivals="poisson"), Stream("two", other, fps=9.0)), 9.0
        ),
    }
    shares, found = ((1, 1), (3, 1), (1, 2, 1)), []
    for i, design in enumerate(design for design in probe_designs() if design.cols >= 4):
        if i == 12:
            break
        parts = shares[i % 3]
        division = Division() if i % 4 == 0 else Division(columns=parts, buffers=parts[::-1], bandwidth=parts,
                                                          shared_bandwidth=i % 2 > 0)  # fmt: skip
        values: dict[str, float] = {}
        for kind, mix in mixes.items():
            runs_on = [s % division.sub_arrays for s in range(len(mix.streams))]
            evaluator = MixEvaluator(mix, technology, order=ORDERS[i % len(ORDERS)])
            metrics = evaluator([design], [division], [runs_on])[0].metrics
            values |= {f"{kind}_{name}": value for name, value in metrics.items()}
        found.append(values)
    return read_only({name: np.array([values[name] for values in found]) for name in found[0]})


def co_run(
    mix: Mix,
    design: Accelerator,
    division: Division | None = None,
    runs_on: Sequence[int] | str | None = None,
    *,
    technology: Technology | None = None,
    order: str = "deadline",
    objective: str = "latency",
    slack: float = DEFAULT_SLACK,
    bounds: bool = True,
) -> CoRun:
    """A mix on one design.

    Parameters
    ----------
    division : default: undivided, all networks share the whole array layer by layer.
    runs_on : sub-array of each stream, from 0, (n_streams,); "best": searched, and the order of a batch too; default:
        in turn.
    bounds : compute bounds over all places as well.

    Raises
    ------
    ValueError : a network that does not fit its sub-array (and which it fits), or more sub-arrays than columns.
    """
    division = division or Division()
    streams = [stream.name for stream in mix.streams]
    evaluator = MixEvaluator(mix, technology, objective=objective, slack=slack, order=order)
    if isinstance(runs_on, str):
        if runs_on != "best":
            raise ValueError(f"runs_on: give a sub-array for each stream, or 'best', got {runs_on!r}")
        found = evaluator.best(design, division)
    else:
        where = [s % division.sub_arrays for s in range(len(streams))] if runs_on is None else list(runs_on)
        numbers = all(isinstance(a, Integral) for a in where)
        if len(where) != len(streams) or not numbers or not all(0 <= a < division.sub_arrays for a in where):
            raise ValueError(
                f"runs_on: give a sub-array from 0 to {division.sub_arrays - 1} for each of {len(streams)} streams "
                f"({', '.join(streams)}), got {where!r}"
            )
        (found,) = evaluator([design], [division], [where])
    for s, over in enumerate(found.overflows):
        if over > 0:
            costs = evaluator.everywhere(design, division)[s]
            fits = [str(a) for a, cost in enumerate(costs) if cost.overflow == 0]
            hint = f"it fits sub-array {', '.join(fits)}" if fits else "it fits none: give larger registers and buffers"
            raise ValueError(
                f"{streams[s]!r} does not fit sub-array {found.where[s]}: {over:.2g} of its capacity too much; {hint}"
            )
    return replace(found, bounds=evaluator.bounds(design, division)) if bounds else found


def unmet_deadlines(found: CoRun) -> dict[str, tuple[float, float]]:
    """Streams with a request that no order of these layers can finish in time: deadline and earliest finish, both from
    its arrival [s].  The proof is `dse.simultaneous.schedules.certain_misses`."""
    table = found.schedule.table
    out: dict[str, tuple[float, float]] = {}
    for i, earliest in certain_misses(table).items():
        arrival = float(table.arrival_s[i])
        out.setdefault(table.networks[i], (float(table.deadline_s[i]) - arrival, earliest - arrival))
    return out


def unmet_demand(found: CoRun) -> list[Demand]:
    """Proofs by demand that some requests are late in any order on these sub-arrays, and, with `CoRun.bounds`, on any;
    see `dse.simultaneous.bounds.unmet_by_demand`."""
    table = found.schedule.table
    least = None
    if found.bounds is not None:
        numbers = {stream.name: s for s, stream in enumerate(found.mix.streams)}
        least = found.bounds.least_s[[numbers[name] for name in table.networks]]
    return unmet_by_demand(table, found.design.dram_gbps, least, found.division.sub_arrays)
