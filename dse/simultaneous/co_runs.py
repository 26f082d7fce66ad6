"""A mix of networks that runs on a divided design: the cost of every layer, the schedule, and its metrics."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from dse.hardware.power import clock_pj_per_cycle
from dse.hardware.technology import Technology, technology_or_default
from dse.simultaneous.division import Division
from dse.simultaneous.mixes import Mix, Stream
from dse.simultaneous.schedules import ORDERS, Job, Schedule, alone_turnaround_s, certain_misses, schedule

METRICS = (
    "makespan_s", "makespan_bound_s", "throughput_per_s", "energy_j", "power_w", "area_mm2", "core_area_mm2", "stp",
    "antt", "worst_slow_down", "fairness", "deadline_miss_share", "dram_bytes", "used_sub_arrays", "overflow",
    *(f"energy_{name}_j" for name in ENERGY_PARTS), *(f"area_{name}_mm2" for name in AREA_BLOCKS),
)  # fmt: skip
"""What `CoRun.metrics` holds; `problems.simultaneous` says what each is."""

WITH_TIME = ("clock", "io", "leakage")
"""Levels of the energy that the whole chip takes as long as it is on."""


@dataclass(frozen=True)
class LayerCosts:
    """What the layers of a network cost on one design: time [s] and DRAM bytes of each, all repeats, and in all the
    energy by level without what runs with time, that of the DRAM too [J], and the overflow."""

    busy_s: np.ndarray
    dram_bytes: np.ndarray
    dynamic_j: dict[str, float]
    overflow: float

    @property
    def total_s(self) -> float:
        """Time of the network alone [s]."""
        return float(self.busy_s.sum())


@dataclass(frozen=True)
class CoRun:
    """A mix on a divided design.

    Attributes
    ----------
    schedule : of all requests.
    metrics : by name, see `METRICS`.
    alone_s : turnaround of each request on the same design, undivided, with nothing else running but what it waits
        for, (n_requests,) [s].
    overflows : of each stream, 0 where it fits its sub-array, else bytes over / capacity, (n_streams,) [1].
    division, design : how the design is divided, and the undivided design.
    """

    schedule: Schedule
    metrics: dict[str, float]
    alone_s: tuple[float, ...]
    overflows: tuple[float, ...]
    division: Division
    design: Accelerator


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
        self.mix, self.order = mix, order
        self.technology = technology_or_default(technology)
        self.networks = mix.networks()
        self.requests = mix.requests()
        self._mode, self._slack = mapper_mode(objective, slack)
        self._effort = effort_named(effort)
        plain = [network.renamed("") for network in self.networks]  # streams of one network share its costs
        distinct = list(dict.fromkeys(plain))
        self._tables = [network_tables(network) for network in distinct]
        self._of_stream = [distinct.index(network) for network in plain]
        self._layer_names = [tuple(layer.name for layer in network.layers) for network in self.networks]

    def with_effort(self, effort: str) -> MixEvaluator:
        """The same evaluator with another effort of the mapper."""
        other = copy.copy(self)
        other._effort = effort_named(effort)
        return other

    def __call__(
        self, designs: Sequence[Accelerator], divisions: Sequence[Division], runs_on: Sequence[Sequence[int]]
    ) -> list[CoRun]:
        """Run the mix on each design: `divisions` of it, and the sub-array of each stream, `runs_on` (n_streams,).

        The overflow of a network that does not fit is in the metrics, not an error.
        """
        parts = [division.of(design) for design, division in zip(designs, divisions, strict=True)]
        number: dict[Accelerator, int] = {}
        for design in [*designs, *(part for group in parts for part in group)]:
            number.setdefault(design, len(number))
        rows, options = design_rows(columns_of(list(number)), self.technology)
        costs: dict[tuple[int, int], LayerCosts] = {}

        def cost(design: Accelerator, stream: int) -> LayerCosts:
            key = number[design], self._of_stream[stream]
            if key not in costs:
                costs[key] = self._layer_costs(rows[key[0] : key[0] + 1], options, key[1], design.clock_ghz)
            return costs[key]

        found = []
        for design, division, group, where in zip(designs, divisions, parts, runs_on, strict=True):
            each = [cost(group[where[s]], s) for s in range(len(self.networks))]
            alone = [cost(design, s).total_s for s in range(len(self.networks))]
            found.append(self._co_run(design, division, group, where, each, alone))
        return found

    def _layer_costs(self, row: np.ndarray, options: np.ndarray, which: int, clock_ghz: float) -> LayerCosts:
        tables = self._tables[which]
        steps, _ = step_results(row, options, tables, self._mode, self._slack, self._effort)
        steps = steps * tables.steps[:, k.STEP_REPEATS, None]
        levels = {name: column for name, column in ENERGY_PARTS.items() if name not in WITH_TIME}
        dynamic = {name: float(steps[:, column].sum()) * 1e-12 for name, column in levels.items()}
        dynamic["dram"] -= float(steps[:, k.CYCLES].sum() * row[0, k.PJ_DRAM_CYCLE]) * 1e-12
        moved = steps[:, DRAM_TRAFFIC].sum(axis=1)
        busy = steps[:, k.CYCLES] / (clock_ghz * 1e9)
        return LayerCosts(busy, moved, dynamic, float(steps[:, k.OVERFLOW].sum()))

    def _co_run(
        self,
        design: Accelerator,
        division: Division,
        parts: tuple[Accelerator, ...],
        where: Sequence[int],
        costs: list[LayerCosts],
        alone: list[float],
    ) -> CoRun:
        jobs = tuple(
            Job(
                network=self.mix.streams[r.stream].name,
                busy_s=costs[r.stream].busy_s,
                dram_bytes=costs[r.stream].dram_bytes,
                sub_array=int(where[r.stream]),
                arrival_s=r.arrival_s,
                deadline_s=r.deadline_s,
                priority=self.mix.streams[r.stream].priority,
                after=r.after,
                layers=self._layer_names[r.stream],
            )
            for r in self.requests
        )
        done = schedule(jobs, design.dram_gbps, [part.dram_gbps for part in parts], self.order)
        alone_s = tuple(alone_turnaround_s(jobs, [alone[r.stream] for r in self.requests]).tolist())
        blocks = division.area_blocks_mm2(design, self.technology)
        columns = {name: np.array([blocks[name]]) for name in AREA_BLOCKS}
        spent = {name: sum(costs[r.stream].dynamic_j.get(name, 0.0) for r in self.requests) for name in ENERGY_PARTS}
        spent |= self._with_time_j(design, columns, done.makespan_s)
        spent["dram"] += dram_background_w(design) * done.makespan_s
        energy = sum(spent.values())
        metrics = {
            "makespan_s": done.makespan_s,
            "makespan_bound_s": done.bound_s,
            "throughput_per_s": len(jobs) / done.makespan_s,
            "energy_j": energy,
            "power_w": energy / done.makespan_s,
            "area_mm2": float(sum_blocks(columns)[0]),
            "core_area_mm2": float(core_area_mm2(columns)[0]),
            **done.metrics(alone_s),
            "dram_bytes": float(sum(np.sum(job.dram_bytes) for job in jobs)),
            "used_sub_arrays": float(len(parts)),
            "overflow": float(sum(cost.overflow for cost in costs)),
            **{f"energy_{name}_j": value for name, value in spent.items()},
            **{f"area_{name}_mm2": blocks[name] for name in AREA_BLOCKS},
        }
        overflows = tuple(cost.overflow for cost in costs)
        return CoRun(done, metrics, alone_s, overflows, division, design)

    def _with_time_j(self, design: Accelerator, blocks: dict[str, np.ndarray], makespan_s: float) -> dict[str, float]:
        """Energy of the whole chip by the levels of `WITH_TIME` [J]; `blocks`: its area, each (1,) [mm2].

        What clock gating stops, a multiplier takes for the MACs of all requests.
        """
        always, work = clock_pj_per_cycle(columns_of([design]), self.technology, blocks)
        macs = sum(self.networks[r.stream].macs for r in self.requests)
        cycles = makespan_s * design.clock_ghz * 1e9
        return {
            "clock": float(always[0] * cycles + work[0] * macs / design.macs_per_cycle) * 1e-12,
            "io": self.technology.io_idle_w * makespan_s,
            "leakage": float(leakage_of_blocks_w(blocks, self.technology)[0]) * makespan_s,
        }


@functools.lru_cache(maxsize=8)
def probe_values(technology: Technology) -> MappingProxyType[str, np.ndarray]:
    """What the model computes of a small mix on divided designs with these constants: metrics by name, each (12,).

    They stand in the manifest of runs of several networks beside those of `dse.costs.probes`.
    """
    other = replace(probe_network(), layers=probe_network().layers[2:6], name="other")
    streams = (Stream("probe", probe_network(), fps=40.0, priority=2), Stream("other", other, count=3),
               Stream("after", other, fps=40.0, after="probe"))  # fmt: skip
    mix = Mix("probes", streams, duration_s=0.05)
    shares, found = ((1, 1), (3, 1), (1, 2, 1)), []
    for i, design in enumerate(design for design in probe_designs() if design.cols >= 4):
        if i == 12:
            break
        parts = shares[i % 3]
        division = Division() if i % 4 == 0 else Division(columns=parts, buffers=parts[::-1], bandwidth=parts,
                                                          shared_bandwidth=i % 2 > 0)  # fmt: skip
        runs_on = [s % division.sub_arrays for s in range(len(streams))]
        evaluator = MixEvaluator(mix, technology, order=ORDERS[i % len(ORDERS)])
        found.append(evaluator([design], [division], [runs_on])[0].metrics)
    return read_only({f"mix_{name}": np.array([metrics[name] for metrics in found]) for name in found[0]})


def co_run(
    mix: Mix,
    design: Accelerator,
    division: Division | None = None,
    runs_on: Sequence[int] | None = None,
    *,
    technology: Technology | None = None,
    order: str = "deadline",
    objective: str = "latency",
    slack: float = DEFAULT_SLACK,
) -> CoRun:
    """A mix on one design.

    Parameters
    ----------
    division : default: undivided, all networks share the whole array layer by layer.
    runs_on : sub-array of each stream, from 0, (n_streams,); default: in turn.

    Raises
    ------
    ValueError : a network that does not fit its sub-array (and which it fits), or more sub-arrays than columns.
    """
    division = division or Division()
    streams = [stream.name for stream in mix.streams]
    runs_on = [s % division.sub_arrays for s in range(len(streams))] if runs_on is None else list(runs_on)
    if len(runs_on) != len(streams) or not all(0 <= a < division.sub_arrays for a in runs_on):
        raise ValueError(
            f"runs_on: give a sub-array from 0 to {division.sub_arrays - 1} for each of {len(streams)} streams "
            f"({', '.join(streams)}), got {runs_on!r}"
        )
    evaluator = MixEvaluator(mix, technology, objective=objective, slack=slack, order=order)
    (found,) = evaluator([design], [division], [runs_on])
    for s, over in enumerate(found.overflows):
        if over > 0:
            fits = []
            for a in range(division.sub_arrays):
                (trial,) = evaluator([design], [division], [[*runs_on[:s], a, *runs_on[s + 1 :]]])
                fits += [str(a)] if trial.overflows[s] == 0 else []
            hint = f"it fits sub-array {', '.join(fits)}" if fits else "it fits none: give larger registers and buffers"
            raise ValueError(
                f"{streams[s]!r} does not fit sub-array {runs_on[s]}: {over:.2g} of its capacity too much; {hint}"
            )
    return found


def unmet_deadlines(found: CoRun) -> dict[str, tuple[float, float]]:
    """Streams with a request that no order of these layers can finish in time: deadline and earliest finish, both from
    its arrival [s].  The proof is `dse.simultaneous.schedules.certain_misses`."""
    jobs = found.schedule.jobs
    out: dict[str, tuple[float, float]] = {}
    for i, earliest in certain_misses(jobs).items():
        out.setdefault(jobs[i].network, (jobs[i].deadline_s - jobs[i].arrival_s, earliest - jobs[i].arrival_s))
    return out
