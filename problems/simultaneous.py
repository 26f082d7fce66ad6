"""Several networks on one chip at the same time: hardware, its division, and which network runs where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.costs.parallel import checked_jobs, in_threads, worker_count
from dse.costs.probes import probe_values as model_probes
from dse.costs.probes import weight_probes
from dse.costs.results import ENERGY_PARTS
from dse.hardware.accelerator import Accelerator
from dse.hardware.dataflow import Dataflow, dataflow_named, is_built_in, plain_dataflow
from dse.hardware.dataflow_file import dataflow_of_plain
from dse.hardware.space import DesignSpace, ExtendedSpace, default_space
from dse.hardware.technology import Technology
from dse.hardware.variables import Variable, check_dataflows
from dse.runs.column_dictionary import Column
from dse.runs.files import hash_of
from dse.runs.identity import of_technology, told
from dse.runs.tables import Table, genes_of
from dse.simultaneous.co_runs import CoRun, MixEvaluator
from dse.simultaneous.co_runs import probe_values as mix_probes
from dse.simultaneous.division import POLICIES, division_of, places_of
from dse.simultaneous.mixes import Mix, load_mix
from dse.simultaneous.schedules import ORDERS
from dse.simultaneous.steady_state import PERCENTILES

from .base import AcceleratorProblem, Columns, ProblemError
from .checks import (
    check_mapping_arguments,
    check_number,
    checked_space,
    checked_technology,
    in_order,
)
from .single import chosen_objectives

OBJECTIVES = {
    "makespan_s": Column("s", "time until the last request is done"),
    "inverse_throughput_s": Column("s", "makespan / requests"),
    "energy_j": Column("J", "energy until the last request is done, clock and leakage of the whole chip included"),
    "power_w": Column("W", "mean power: energy / makespan"),
    "area_mm2": Column("mm2", "area of the sub-arrays together, one DRAM interface"),
    "core_area_mm2": Column("mm2", "the same without the DRAM interface"),
    "edp_js": Column("J s", "energy x makespan"),
    "inverse_stp": Column("1", "1 / system throughput"),
    "antt": Column("1", "average normalised turnaround time: mean over requests of turnaround / time alone"),
    "worst_slow_down": Column("1", "largest turnaround / time alone, on the undivided chip or its sub-array"),
    "unfairness": Column("1", "1 - fairness, as MoCA defines that"),
    "deadline_miss_share": Column("1", "share of the requests with a deadline that miss it"),
}
"""Objectives that `SimultaneousDNNs` knows of a batch, minimised; metrics are in
`dse.simultaneous.schedules.Schedule.metrics`."""

REFUSED = 1e9
"""Latencies, slow-downs and utilisation of an unstable queue, which has none: such designs are infeasible."""

_REFUSED = f"; {REFUSED:g} where the queue is unstable, which has none"

STEADY_OBJECTIVES = {
    "latency_p50_s": Column("s", f"median latency of the requests, of the slowest stream{_REFUSED}"),
    "latency_p95_s": Column("s", f"95th percentile of the latency, of the slowest stream{_REFUSED}"),
    "latency_p99_s": Column("s", f"99th percentile of the latency, of the slowest stream{_REFUSED}"),
    "power_w": Column("W", "power in the steady state: served requests x their energy, and leakage"),
    "energy_per_request_j": Column("J", "power / served requests a second"),
    "area_mm2": OBJECTIVES["area_mm2"],
    "load": Column("1", "largest load of a sub-array or of the DRAM: time needed each second; above 1 is unstable"),
    "mean_slow_down": Column("1", f"mean over streams of the mean of latency / time alone{_REFUSED}"),
    "worst_slow_down": Column("1", f"largest latency / time alone, on the undivided chip or its sub-array{_REFUSED}"),
    "unfairness": OBJECTIVES["unfairness"],
    "deadline_miss_share": Column("1", f"share of the requests with a deadline that miss it{_REFUSED}"),
}
"""Objectives of streams with rates, minimised, in the steady state; see `dse.simultaneous.steady_state`."""

_OVERFLOW = Column(
    "1", "bytes over / capacity summed over networks, columns too few, and overload; 0 where all can run"
)
_BOTH = {
    "fairness": Column("1", "least / greatest progress of a request, time alone / turnaround over its priority"),
    "used_sub_arrays": Column("1", "sub-arrays on which a network runs"),
    "overflow": _OVERFLOW,
    "policy": Column("-", "time_shared: the whole array, layer by layer; partition: sub-arrays with a part of the "
                     "bandwidth each; shared_bandwidth: sub-arrays that share it"),
}  # fmt: skip

MEANINGS = OBJECTIVES | _BOTH | {
    "makespan_bound_at_places_s": Column("s", "makespan that no order of these networks on these sub-arrays can beat"),
    "throughput_per_s": Column("1/s", "requests / makespan"),
    "stp": Column("1", "system throughput: sum over streams of time alone / turnaround, at most their number"),
    "dram_bytes": Column("byte", "off-chip traffic of all requests"),
}  # fmt: skip
"""Columns of a run of a batch that mean something else here than for one network, or exist only here."""

STEADY_MEANINGS = STEADY_OBJECTIVES | _BOTH | {
    "dram_load": Column("1", "bytes that the streams move each second / bandwidth"),
    "overload": Column("1", "offered / served requests - 1; 0 where stable"),
    "settled": Column("1", "1 where the state repeats or was measured after a warm-up, 0 where it does not settle"),
    "throughput_per_s": Column("1/s", "requests served a second: the sum of the rates, of an overload the part served"),
    "sub_array_utilisation": Column("1", f"busy share of the sub-arrays, mean{_REFUSED}"),
    "dram_utilisation": Column("1", f"busy share of the DRAM link{_REFUSED}"),
    **{f"power_{name}_w": Column("W", f"part of the power: {name}") for name in ENERGY_PARTS},
}  # fmt: skip
"""As `MEANINGS`, of streams with rates."""


FEW_DATAFLOWS = ("weight_stationary", "output_stationary", "row_stationary")
"""What sub-arrays may have besides the design's own dataflow where the space fixes that."""


class DividedSpace(ExtendedSpace):
    """A hardware space with variables for the division of a design and the place of each stream.

    ``policy``; ``sub_arrays`` (2 and more; ``time_shared`` has one whatever it says); for each sub-array
    ``columns_share_1`` ..., ``buffers_share_1`` ..., ``bandwidth_share_1`` ..., and from the second on its dataflow;
    ``place_of_<stream>``: its sub-array, from 1, modulo their number.  A variable that a design does not use, such as
    the shares of an undivided one, makes no other design, see `canonical`.

    Parameters
    ----------
    hardware : the `DesignSpace` of the undivided design.
    streams : names of the streams.
    policies : some of `POLICIES`.
    most : most sub-arrays, at least 2.
    shares : levels of every share.
    dataflows : what a sub-array from the second on may have; "same" is the design's own.
    """

    def __init__(
        self,
        hardware: DesignSpace,
        streams: tuple[str, ...],
        policies: tuple[str, ...],
        most: int,
        shares: tuple[float, ...],
        dataflows: tuple[str | Dataflow, ...],
    ) -> None:
        extra: list[Variable] = []

        def vary(name: str, levels: tuple, is_category: bool) -> None:
            if len(levels) > 1:
                extra.append(Variable(name, levels, is_category))

        vary("policy", policies, True)
        if policies != ("time_shared",):
            numbers = tuple(range(1, most + 1))
            vary("sub_arrays", numbers[1:], False)
            for what in ("columns", "buffers", "bandwidth"):
                for a in numbers:
                    vary(f"{what}_share_{a}", shares, False)
            for a in numbers[1:]:
                vary(f"dataflow_{a}", dataflows, True)
            for stream in streams:
                vary(f"place_of_{stream}", numbers, True)
        super().__init__(hardware, extra, f"{hardware.name}, divided")
        object.__setattr__(self, "policies", policies)
        object.__setattr__(self, "most", most)
        object.__setattr__(self, "shares", shares)

    policies: tuple[str, ...]
    most: int
    shares: tuple[float, ...]

    def canonical(self, X: np.ndarray) -> np.ndarray:
        """Genes of the same designs, (n, n_var): what does nothing has its first level.

        Of an undivided design all that divides; of one with fewer sub-arrays what the others would have; shares of
        the bandwidth that is shared; shares of the same ratios (2 to 2 as 1 to 1); places modulo the sub-arrays; the
        design's own dataflow is "same".
        """
        X, names = self.validate(X).copy(), self.names
        at = {name: i for i, name in enumerate(names)}
        levels = {variable.name: variable.levels for variable in self.variables}
        columns = self.columns(X)
        policy = np.asarray(columns["policy"] if "policy" in at else np.full(len(X), self.policies[0]))
        divided = policy != "time_shared"
        count = np.where(divided, columns.get("sub_arrays", np.full(len(X), self.most)), 1).astype(int)
        own = [dataflow_named(flow).name for flow in columns["dataflow"]]
        for name in names:
            what, _, number = name.rpartition("_")
            if name == "sub_arrays":
                X[~divided, at[name]] = 0
            elif what == "dataflow" and number.isdecimal():
                if "same" in levels[name]:
                    given = [flow == "same" or dataflow_named(flow).name for flow in columns[name]]
                    as_own = np.array([flow == mine for flow, mine in zip(given, own, strict=True)])
                    X[as_own, at[name]] = levels[name].index("same")
                X[count < int(number), at[name]] = 0
            elif name.startswith("place_of_"):
                X[:, at[name]] %= count
        for what in ("columns", "buffers", "bandwidth"):
            genes = [at[f"{what}_share_{a}"] for a in range(1, self.most + 1) if f"{what}_share_{a}" in at]
            if not genes:
                continue
            for i, gene in enumerate(genes):
                X[count <= i, gene] = 0
            if what == "bandwidth":
                X[np.ix_(policy == "shared_bandwidth", genes)] = 0
            X[:, genes] = _least_of_same_ratio(X[:, genes], count, self.shares)
        return X


def _least_of_same_ratio(genes: np.ndarray, count: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Levels of shares with the same ratios whose first is the least, (n, most)."""
    found = genes.copy()
    for i, row in enumerate(genes):
        used = np.array(shares)[row[: count[i]]]
        for first in sorted(shares):
            scaled = used * (first / used[0])
            near = np.abs(np.array(shares)[None] - scaled[:, None])
            if (near.min(axis=1) <= 1e-9 * scaled).all():
                found[i, : count[i]] = near.argmin(axis=1)
                break
    return found


def _levels(values: Any, what: str) -> tuple:
    """Levels of a variable: at least one, none twice."""
    levels = in_order(values, what)
    if not levels or any(level in levels[:i] for i, level in enumerate(levels)):
        raise ProblemError(f"{what}={levels!r}: give at least one, and none twice")
    return levels


def _dataflows(hardware: DesignSpace) -> tuple[str | Dataflow, ...]:
    """What sub-arrays may have: the design's own, and every one that the space has for the design."""
    flows = hardware.dataflows if "dataflow" in hardware.names else ()
    return ("same", *([flow.name if is_built_in(flow) else flow for flow in flows] or FEW_DATAFLOWS))


def most_by_default(streams: int) -> int:
    """Most sub-arrays for as many streams, where none are given."""
    return min(3, max(2, streams))


class _Evaluator:
    """Metrics of divided designs from parameter columns; importable, so that any joblib backend can send it."""

    def __init__(self, mix_evaluator: MixEvaluator, fixed: Mapping[str, Any], n_jobs: int) -> None:
        self.mix_evaluator, self.fixed, self.n_jobs = mix_evaluator, dict(fixed), checked_jobs(n_jobs)

    def __call__(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        n = len(columns["rows"])
        workers, _ = worker_count(self.n_jobs)
        chunks = np.array_split(np.arange(n), min(n, 4 * workers)) if workers > 1 else [np.arange(n)]
        pieces = [({name: values[chunk] for name, values in columns.items()},) for chunk in chunks]
        done = in_threads(self.chunk, pieces, self.n_jobs)
        return {name: np.concatenate([piece[name] for piece in done]) for name in done[0]}

    def with_effort(self, effort: str) -> _Evaluator:
        """The same evaluator with another effort of the mapper."""
        return _Evaluator(self.mix_evaluator.with_effort(effort), self.fixed, self.n_jobs)

    def with_technology(self, technology: Technology) -> _Evaluator:
        """The same evaluator with other constants."""
        return _Evaluator(self.mix_evaluator.with_technology(technology), self.fixed, self.n_jobs)

    def chunk(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Metrics of a chunk, each (n,)."""
        found, too_many = self.co_runs(columns)
        metrics = {name: np.array([run.metrics[name] for run in found]) for name in found[0].metrics}
        metrics = {name: np.where(np.isnan(values), REFUSED, values) for name, values in metrics.items()}
        metrics["overflow"] = metrics["overflow"] + too_many
        return metrics

    def co_runs(self, columns: Mapping[str, np.ndarray]) -> tuple[list[CoRun], np.ndarray]:
        """What each design does, and by how much it is divided into too many sub-arrays, (n,)."""
        designs, divisions, places, too_many = [], [], [], []
        parameters = list(Accelerator().parameters())
        for i in range(len(columns["rows"])):
            row = {name: values[i] for name, values in columns.items()}
            design = Accelerator().with_parameters({name: row[name] for name in parameters})
            told = self.fixed | row
            division, over = division_of(told, design)
            places.append(places_of(told, division, [stream.name for stream in self.mix_evaluator.mix.streams]))
            designs.append(design)
            divisions.append(division)
            too_many.append(over)
        return self.mix_evaluator(designs, divisions, places), np.array(too_many, float)


class SimultaneousDNNs(AcceleratorProblem):
    """Accelerators, their division into sub-arrays, and the place of each network of a mix that runs at once.

    Parameters
    ----------
    mix : a `Mix`, the name or path of one, or names, paths or `Network`s of two and more networks that start at once.
        Streams with rates are measured in their steady state; where they overload a design it is infeasible, the
        more the larger the overload.
    space : `DesignSpace` of the undivided hardware; default: the default space.
    technology, n_jobs, mapping_objective, mapping_slack : as in `SingleDNN`.
    objectives : at least two names of `OBJECTIVES`, or of `STEADY_OBJECTIVES` for streams with rates, minimised;
        default ``makespan_s, area_mm2``, or ``latency_p95_s, area_mm2``.
    policies : some of `POLICIES`.
    most_sub_arrays : at least 2, at most the columns of the space's largest design; default: as networks, at most 3.
    shares : what each sub-array's share of columns, buffers and bandwidth may be.
    dataflows : of the sub-arrays from the second on; "same": the design's own.  ``("same",)``: all equal.  Default:
        "same" and what the space has for the design itself, or `FEW_DATAFLOWS` where that is fixed.
    order : what a sub-array runs next, one of `dse.simultaneous.schedules.ORDERS`.
    """

    evaluator: _Evaluator
    kind = "simultaneous"
    objective_names: tuple[str, ...] = ("makespan_s", "area_mm2")
    unidentified = (*AcceleratorProblem.unidentified, "shares")  # the space tells them

    def __init__(
        self,
        mix: Mix | Iterable[Any],
        space: DesignSpace | None = None,
        technology: Technology | None = None,
        objectives: tuple[str, ...] | None = None,
        n_jobs: int = 1,
        mapping_objective: str = "latency",
        mapping_slack: float = DEFAULT_SLACK,
        policies: tuple[str, ...] = POLICIES,
        most_sub_arrays: int | None = None,
        shares: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0),
        dataflows: tuple[str | Dataflow, ...] | None = None,
        order: str = "deadline",
    ) -> None:
        shared = "traffic decides how networks share the bandwidth, so it has to be the least"
        check_mapping_arguments(n_jobs, mapping_objective, mapping_slack, shared)
        hardware, technology = checked_space(space, default_space), checked_technology(technology)
        self.mix = mix if isinstance(mix, Mix) else load_mix(mix) if isinstance(mix, str | Path) else Mix.of(mix)
        self.networks = self.mix.networks()
        known = STEADY_OBJECTIVES if self.mix.is_steady else OBJECTIVES
        if objectives is None and self.mix.is_steady and self.objective_names == SimultaneousDNNs.objective_names:
            objectives = ("latency_p95_s", "area_mm2")
        for name in objectives or ():
            other = OBJECTIVES if self.mix.is_steady else STEADY_OBJECTIVES
            if name in other and name not in known:
                kind = "streams with rates, which never end" if self.mix.is_steady else "a batch, which has no rates"
                raise ProblemError(
                    f"objective {name!r} says nothing of {kind}; those of such a mix are {', '.join(known)}"
                )
        self.objective_names = chosen_objectives(self, SimultaneousDNNs, objectives, tuple(known))
        if order not in ORDERS:
            raise ProblemError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
        policies = in_order(policies, "policies")
        if not policies or len(set(map(repr, policies))) < len(policies) or any(p not in POLICIES for p in policies):
            raise ProblemError(f"policies={policies!r}: give some of {', '.join(POLICIES)}, each once")
        shares = _levels(shares, "shares")
        for share in shares:
            check_number("a share of a sub-array", share)
        if not all(0 < share for share in shares):
            raise ProblemError(f"shares={shares!r}: give positive numbers; only their ratios count")
        flows = _dataflows(hardware) if dataflows is None else _levels(dataflows, "dataflows")
        own_flows = [dataflow_named(flow) for flow in flows if not (isinstance(flow, str) and flow == "same")]
        levels_of = {v.name: v.levels for v in hardware.variables}
        check_dataflows(own_flows, levels_of, hardware.base, parts=True)
        names = tuple(stream.name for stream in self.mix.streams)
        most = most_by_default(len(names)) if most_sub_arrays is None else most_sub_arrays
        widths = levels_of.get("cols", (hardware.base.cols,))
        columns = max(width for width in widths if isinstance(width, int))
        if not (isinstance(most, int) and 2 <= most):
            raise ProblemError(
                f"most_sub_arrays must be a whole number >= 2, got {most!r}; one is the policy time_shared"
            )
        if most > columns:
            raise ProblemError(
                f"{most} sub-arrays, but the space has at most {columns} columns; each needs at least one"
            )
        self.technology = technology
        self.policies, self.order, self.n_jobs = tuple(policies), order, n_jobs
        self.most_sub_arrays, self.shares, self.dataflows = most, tuple(map(float, shares)), flows
        self.mapping_objective, self.mapping_slack = mapping_objective, mapping_slack
        evaluator = MixEvaluator(
            self.mix, self.technology, objective=mapping_objective, slack=mapping_slack, order=order
        )
        together = DividedSpace(hardware, names, self.policies, most, self.shares, self.dataflows)
        fixed = {"policies": self.policies, "most_sub_arrays": most, "dataflows": flows}
        super().__init__(_Evaluator(evaluator, fixed, n_jobs), together)

    def objectives(self, m: Columns) -> tuple[np.ndarray, ...]:
        """The columns named by `objective_names`."""
        derived = {
            "inverse_throughput_s": lambda: 1 / m.throughput_per_s,
            "inverse_stp": lambda: 1 / m.stp,
            "unfairness": lambda: 1 - m.fairness,
            "edp_js": lambda: m.energy_j * m.makespan_s,
        }
        return tuple(derived[n]() if n in derived else getattr(m, n) for n in self.objective_names)

    def column_meanings(self) -> dict[str, Column]:
        """Columns that mean something else here than for one network, the division's variables too."""
        found = dict(MEANINGS)
        if self.mix.is_steady:
            found = dict(STEADY_MEANINGS)
            for stream in self.mix.streams:
                for p in PERCENTILES:
                    meaning = f"{p}th percentile of the latency of stream {stream.name}{_REFUSED}"
                    found[f"latency_p{p}_of_{stream.name}_s"] = Column("s", meaning)
        for a in range(1, self.most_sub_arrays + 1):
            for what in ("columns", "buffers", "bandwidth"):
                found[f"{what}_share_{a}"] = Column("1", f"share of the {what} of sub-array {a}, in proportion")
            found[f"dataflow_{a}"] = Column("-", f"dataflow of sub-array {a}; same: the design's own")
        found["sub_arrays"] = Column("1", "sub-arrays; time_shared has one whatever this says")
        places = {f"place_of_{s.name}": f"sub-array of stream {s.name}, modulo their number" for s in self.mix.streams}
        return found | {name: Column("1", meaning) for name, meaning in places.items()}

    def co_run(self, x: np.ndarray, *, bounds: bool = False) -> CoRun:
        """Schedule and metrics of one row of genes, (n_var,); `bounds`: with those over all places."""
        (found,), _ = self.evaluator.co_runs(self.space.columns(np.asarray(x)[None]))
        evaluator = self.evaluator.mix_evaluator
        return replace(found, bounds=evaluator.bounds(found.design, found.division)) if bounds else found

    def kept(self, designs: Table) -> list[tuple[CoRun, CoRun]]:
        """What a search leaves out, for designs of its tables: each as searched, and at the best places that
        `dse.simultaneous.places` finds, both with bounds over all places."""
        kept = []
        for x in genes_of(designs, self.space):
            run = self.co_run(x, bounds=True)
            best = self.evaluator.mix_evaluator.best(run.design, run.division)
            kept.append((run, replace(best, bounds=run.bounds)))
        return kept

    def probe_values(self) -> dict[str, np.ndarray]:
        """What the model computes on the probe set, and of a small mix, with this technology."""
        model = model_probes(self.technology) | weight_probes(self.technology, self.networks)
        return model | mix_probes(self.technology)

    def describe(self) -> dict[str, Any]:
        """As the base class, with the content of the mix and of the technology."""
        networks = [(told(network), self.mix.streams[i].priority) for i, network in enumerate(self.networks)]
        plain = super().describe()
        plain["attributes"]["dataflows"] = [plain_dataflow(flow) for flow in self.dataflows]
        arrivals = self.mix.arrival_law() if self.mix.is_steady else self.mix.requests()
        return plain | {
            "network": self.mix.name,
            "mix_sha256": hash_of(told((networks, arrivals)).encode()),
            "technology": of_technology(self.technology),
        }

    def own_arguments(self) -> dict[str, Any] | None:
        """The mix and how designs are divided; None where a network has neither name nor path."""
        mix = self.mix.plain()
        if mix is None:
            return None
        lists = {"policies": list(self.policies), "shares": list(self.shares)}
        lists["dataflows"] = [plain_dataflow(flow) for flow in self.dataflows]
        return {"mix": mix, **lists, "most_sub_arrays": self.most_sub_arrays, "order": self.order}

    @classmethod
    def arguments_of(cls, plain: dict[str, Any]) -> dict[str, Any]:
        """As the base class; the mix and tuples from JSON values."""
        found = super().arguments_of(plain)
        found |= {name: tuple(found[name]) for name in ("policies", "shares") if name in found}
        if "dataflows" in found:
            found["dataflows"] = tuple(dataflow_of_plain(flow) for flow in found["dataflows"])
        return found | ({"mix": Mix.from_plain(found["mix"])} if "mix" in found else {})
