"""One chip divided into sub-arrays, and a mix of networks that runs on them.

A design is divided by its columns of PEs, with vector lanes and control; its buffers, with their ports and banks; and
its DRAM bandwidth: statically, or shared by the layers that run at the moment.  Each sub-array is an `Accelerator` of
its own and may have a dataflow of its own; the cost model tells what each layer takes on it, and
`dse.simultaneous.schedules` what happens when all run at once.  Activations that stay on chip between layers are taken
to stay also where another network's layer runs between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dse.costs import kernels as k
from dse.costs.evaluation import DRAM_TRAFFIC, ENERGY_PARTS, step_results
from dse.costs.kernel_rows import DEFAULT_SLACK, design_rows, mapper_mode, network_tables, parameter_columns
from dse.costs.probes import probe_designs, probe_network
from dse.hardware.accelerator import OPERAND_NAMES, Accelerator
from dse.hardware.area import AREA_BLOCKS, area_blocks_mm2, leakage_of_blocks_w, sum_blocks
from dse.hardware.dataflow import Dataflow
from dse.hardware.technology import Technology, technology_or_default
from dse.simultaneous.mixes import Mix, Stream
from dse.simultaneous.schedules import ORDERS, Job, Schedule, alone_turnaround_s, certain_misses, schedule

METRICS = (
    "makespan_s", "makespan_bound_s", "throughput_per_s", "energy_j", "power_w", "area_mm2", "stp", "antt",
    "worst_slow_down", "fairness", "deadline_miss_share", "dram_bytes", "used_sub_arrays", "overflow",
    *(f"energy_{name}_j" for name in ENERGY_PARTS), *(f"area_{name}_mm2" for name in AREA_BLOCKS),
)  # fmt: skip
"""What `CoRun.metrics` holds; `problems.simultaneous` says what each is."""


POLICIES = ("time_shared", "partition", "shared_bandwidth")
"""Whole array, layer by layer; sub-arrays with a part of the bandwidth each; sub-arrays that share the bandwidth."""


@dataclass(frozen=True)
class Division:
    """How a design is divided into sub-arrays.

    Parameters
    ----------
    columns : share of the PE columns of each sub-array, (n,), any positive numbers: (1, 3) is a quarter and the rest.
    buffers, bandwidth : shares of the buffers and of the DRAM bandwidth; default: as the columns.
    dataflows : dataflow of each, None = the design's; default: all the design's.
    shared_bandwidth : the layers that run share the whole bandwidth; otherwise each sub-array keeps its part.
    """

    columns: tuple[float, ...] = (1,)
    buffers: tuple[float, ...] | None = None
    bandwidth: tuple[float, ...] | None = None
    dataflows: tuple[Dataflow | str | None, ...] | None = None
    shared_bandwidth: bool = True

    def __post_init__(self) -> None:
        if not len(self.columns):
            raise ValueError("division: columns is empty; give at least one share, such as (1,)")
        for name in ("columns", "buffers", "bandwidth"):
            values = getattr(self, name)
            if values is None:
                object.__setattr__(self, name, self.columns)
            elif len(values) != self.sub_arrays or not (all(v > 0 for v in values) and np.isfinite(sum(values))):
                raise ValueError(
                    f"division: {name} must be {self.sub_arrays} positive shares, one a sub-array, got {values!r}"
                )
        if self.dataflows is None:
            object.__setattr__(self, "dataflows", (None,) * self.sub_arrays)
        if len(self.dataflows) != self.sub_arrays:
            raise ValueError(
                f"division: {len(self.dataflows)} dataflows for {self.sub_arrays} sub-arrays; give one or None each"
            )

    @property
    def sub_arrays(self) -> int:
        """Number of sub-arrays."""
        return len(self.columns)

    def kind(self, design: Accelerator) -> str:
        """Of this division of a design: ``time-shared``, ``homogeneous`` (one dataflow), or ``heterogeneous``."""
        if self.sub_arrays == 1:
            return "time-shared"
        return "homogeneous" if len({part.dataflow for part in self.of(design)}) == 1 else "heterogeneous"

    def of(self, design: Accelerator) -> tuple[Accelerator, ...]:
        """The sub-arrays of a design; columns, vector lanes and banks are whole, the largest remainders rounded up.

        Each has at least one: of fewer lanes or banks than sub-arrays a division has more than the design.  With shared
        bandwidth each has the whole of it: what its layers can take when they run alone.
        """
        n = self.sub_arrays
        if n > design.cols:
            raise ValueError(f"{n} sub-arrays on {design.cols} columns: each needs at least one; divide into fewer")
        if n == 1 and self.dataflows[0] is None:
            return (design,)
        columns, lanes = _whole_shares(design.cols, self.columns), _whole_shares(design.vector_lanes, self.columns)
        banks = {x: _whole_shares(getattr(design, f"{x}_buffer_banks"), self.buffers) for x in OPERAND_NAMES.values()}
        parts = []
        buffers = np.array(self.buffers) / sum(self.buffers)
        bandwidth = np.array(self.bandwidth) / sum(self.bandwidth)
        for a in range(n):
            changes = {
                "cols": int(columns[a]),
                "vector_lanes": int(lanes[a]),
                "dram_gbps": design.dram_gbps * (1.0 if self.shared_bandwidth else float(bandwidth[a])),
            }
            for x in OPERAND_NAMES.values():
                for size in ("kib", "width_bytes"):
                    changes[f"{x}_buffer_{size}"] = getattr(design, f"{x}_buffer_{size}") * float(buffers[a])
                changes[f"{x}_buffer_banks"] = int(banks[x][a])
            if self.dataflows[a] is not None:
                changes["dataflow"] = self.dataflows[a]
            parts.append(replace(design, **changes))
        return tuple(parts)

    def area_blocks_mm2(self, design: Accelerator, technology: Technology) -> dict[str, float]:
        """Area by block: the sub-arrays' added up, one DRAM interface, the fixed part once [mm2].

        A divided buffer is no smaller than the whole one, which could be built of the same parts (the memory model's
        exponents would make it up to 4 % smaller).
        """
        parts = [replace(part, dram_gbps=design.dram_gbps / self.sub_arrays) for part in self.of(design)]
        blocks = area_blocks_mm2(_stacked(parts), technology)
        found = {name: float(values.sum()) for name, values in blocks.items()}
        whole = area_blocks_mm2(parameter_columns(design), technology)
        buffers = {name: max(found[name], float(whole[name][0])) for name in found if name.endswith("_buffer")}
        return found | buffers | {"fixed": found["fixed"] / self.sub_arrays}


def division_of(values: Mapping[str, Any], design: Accelerator) -> tuple[Division, float]:
    """The division that variables tell, and by which share of its columns the design has too few for it.

    `values`: ``policy`` (one of `POLICIES`) or ``policies``; ``sub_arrays`` or ``most_sub_arrays``; for each sub-array
    ``columns_share_1``, ``buffers_share_1``, ``bandwidth_share_1`` (1 where absent); from the second on ``dataflow_2``
    (where absent, the only one of ``dataflows``, or "same").
    """
    policy = values.get("policy") or values["policies"][0]
    if policy == "time_shared":
        return Division(), 0.0
    wanted = int(values.get("sub_arrays") or values["most_sub_arrays"])
    n = min(wanted, design.cols)

    def share(what: str) -> tuple[float, ...]:
        return tuple(float(values.get(f"{what}_share_{a + 1}", 1.0)) for a in range(n))

    only = values["dataflows"][0] if len(values.get("dataflows", ())) == 1 else "same"
    flows = ["same", *(values.get(f"dataflow_{a + 1}", only) for a in range(1, n))][:n]
    division = Division(
        columns=share("columns"),
        buffers=share("buffers"),
        bandwidth=share("bandwidth"),
        dataflows=tuple(None if isinstance(flow, str) and flow == "same" else flow for flow in flows),
        shared_bandwidth=policy == "shared_bandwidth",
    )
    return division, (wanted - n) / design.cols


def places_of(values: Mapping[str, Any], division: Division, streams: Sequence[str]) -> list[int]:
    """Sub-array of each stream, from 0, by the variables ``place_of_<stream>``, modulo their number.

    Raises ValueError where there are several sub-arrays and a stream has no place.
    """
    if division.sub_arrays == 1:
        return [0] * len(streams)
    placed = [name.removeprefix("place_of_") for name in values if name.startswith("place_of_")]
    for stream in streams:
        if stream not in placed:
            raise ValueError(
                f"no place is given for the stream {stream!r}, only for {', '.join(placed) or 'none'}: give the mix "
                "that the design was searched for, or say where each stream runs"
            )
    return [(int(values[f"place_of_{stream}"]) - 1) % division.sub_arrays for stream in streams]


def _whole_shares(whole: int, weights: Sequence[float]) -> np.ndarray:
    """`whole` things in proportion to `weights`, at least one each, largest remainders first, (n,) int."""
    if whole < len(weights):
        return np.ones(len(weights), dtype=int)
    exact = whole * np.array(weights, float) / sum(weights)
    found = np.maximum(1, np.floor(exact).astype(int))
    while found.sum() > whole:
        found[np.argmax(np.where(found > 1, found - exact, -np.inf))] -= 1
    while found.sum() < whole:
        found[np.argmax(exact - found)] += 1
    return found


def _stacked(designs: Sequence[Accelerator]) -> dict[str, np.ndarray]:
    """Parameter columns of several designs, each (n,)."""
    each = [parameter_columns(design) for design in designs]
    return {name: np.concatenate([columns[name] for columns in each]) for name in each[0]}


@dataclass(frozen=True)
class LayerCosts:
    """What the layers of a network cost on one design: time [s] and DRAM bytes of each, all repeats, and in all the
    energy by level without leakage [J] and the overflow."""

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
    technology, objective, slack : as in `dse.evaluate`.
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
    ) -> None:
        self.mix, self.order = mix, order
        self.technology = technology_or_default(technology)
        self.networks = mix.networks()
        self.requests = mix.requests()
        self._mode, self._slack = mapper_mode(objective, slack)
        plain = [network.renamed("") for network in self.networks]  # streams of one network share its costs
        distinct = list(dict.fromkeys(plain))
        self._tables = [network_tables(network) for network in distinct]
        self._of_stream = [distinct.index(network) for network in plain]
        self._layer_names = [tuple(layer.name for layer in network.layers) for network in self.networks]

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
        rows, options = design_rows(_stacked(list(number)), self.technology)
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
        steps, _ = step_results(row, options, tables, self._mode, self._slack)
        steps = steps * tables.steps[:, k.STEP_REPEATS, None]
        levels = {name: column for name, column in ENERGY_PARTS.items() if name != "leakage"}
        dynamic = {name: float(steps[:, column].sum()) * 1e-12 for name, column in levels.items()}
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
        area = float(sum_blocks(columns)[0])
        spent = {name: sum(costs[r.stream].dynamic_j.get(name, 0.0) for r in self.requests) for name in ENERGY_PARTS}
        spent["leakage"] = float(leakage_of_blocks_w(columns, self.technology)[0]) * done.makespan_s
        energy = sum(spent.values())
        metrics = {
            "makespan_s": done.makespan_s,
            "makespan_bound_s": done.bound_s,
            "throughput_per_s": len(jobs) / done.makespan_s,
            "energy_j": energy,
            "power_w": energy / done.makespan_s,
            "area_mm2": area,
            **done.metrics(alone_s),
            "dram_bytes": float(sum(np.sum(job.dram_bytes) for job in jobs)),
            "used_sub_arrays": float(len(parts)),
            "overflow": float(sum(cost.overflow for cost in costs)),
            **{f"energy_{name}_j": value for name, value in spent.items()},
            **{f"area_{name}_mm2": blocks[name] for name in AREA_BLOCKS},
        }
        overflows = tuple(cost.overflow for cost in costs)
        return CoRun(done, metrics, alone_s, overflows, division, design)


def probe_values(technology: Technology) -> dict[str, np.ndarray]:
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
    return {f"mix_{name}": np.array([metrics[name] for metrics in found]) for name in found[0]}


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
    jobs, out = found.schedule.jobs, {}
    for i, earliest in certain_misses(jobs).items():
        out.setdefault(jobs[i].network, (jobs[i].deadline_s - jobs[i].arrival_s, earliest - jobs[i].arrival_s))
    return out
