"""Batches of designs on a network: parameter columns in, metric columns out, in parallel.

The bits are the same whatever the batch split or the number of workers.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Sequence
from typing import Self

import joblib
import numpy as np

from dse.costs import kernels as k
from dse.costs.bounds import BoundEvaluator, raise_bounds
from dse.costs.kernel_rows import (
    DEFAULT_SLACK,
    EFFORTS,
    NetworkTables,
    design_rows,
    effort_named,
    mapper_mode,
    network_tables,
    parameter_columns,
)
from dse.costs.parallel import checked_jobs, in_threads, worker_count
from dse.costs.residency.keeper import Keeper, check_keep
from dse.costs.results import OF_ENERGY, metric_columns
from dse.hardware.accelerator import Accelerator
from dse.hardware.area import Columns
from dse.hardware.dram import dram_of
from dse.hardware.technology import Technology, technology_or_default
from dse.networks.layers import Layer, Network, as_network

_SECONDS_A_TASK = 0.03  # joblib polls every 10 ms: below this a batch is faster without it


def network_totals(
    rows: np.ndarray,
    options: np.ndarray,
    tables: NetworkTables,
    mode: int,
    slack: float,
    effort: k.Effort = EFFORTS["default"],
) -> np.ndarray:
    """Kernel totals of a chunk of designs on each of the networks that the tables hold: (n, n_networks, N_RESULT).

    A row (`design_rows`) may go on with a frozen mapping (N_FIXED,); every layer then gets that one.
    """
    width = k.N_DESIGN * len(tables.forms)
    designs, fixed = np.ascontiguousarray(rows[:, :width]), np.ascontiguousarray(rows[:, width:])
    totals = np.empty((len(rows), len(tables.weight_elements), k.N_RESULT))
    stores = designs[:, k.STORE_BYTES] > 0
    if not stores.all():
        networks, alone = k.Networks(*tables.arguments), ~stores
        found = np.empty((int(alone.sum()), *totals.shape[1:]))
        cases, scratch = k.make_cases(networks, np.zeros(1)), k.make_scratch()
        k.evaluate_designs(designs[alone], fixed[alone], options, networks, effort, mode, slack, cases, scratch, found)
        totals[alone] = found
    if stores.any():
        keeper = Keeper(tables, options, mode, slack, effort)
        for i in np.flatnonzero(stores):
            totals[i] = keeper.cost(designs[i], fixed[i]).totals
    return totals


def layer_cycles(
    designs: Sequence[Accelerator],
    network_or_layers: Network | Layer | Iterable[Layer],
    *,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float | None = DEFAULT_SLACK,
    effort: str = "default",
    keep: str = "best",
    n_jobs: int = -1,
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of every layer on several designs, all repeats together, and the kernel's totals.

    Returns `(cycles, totals)`, (n_designs, n_layers) [cycles] and (n_designs, N_RESULT).  Each row is what `evaluate`
    tells of that design, to the bit.
    """
    technology = technology_or_default(technology)
    mode, limit = mapper_mode(objective, slack)
    looks = effort_named(effort)
    tables = network_tables(as_network(network_or_layers))
    task = (tables, mode, limit, looks, check_keep(keep))
    each = (design_rows(parameter_columns(design), technology, forms=tables.forms) for design in designs)
    work = [(*rows, *task) for rows in each]
    done = in_threads(_cycles_of, work, n_jobs)
    n = len(designs)
    cycles = np.array([row for row, _ in done]).reshape(n, len(tables.steps))
    return cycles, np.array([row for _, row in done]).reshape(n, k.N_RESULT)


def _cycles_of(
    row: np.ndarray, options: np.ndarray, tables: NetworkTables, mode: int, slack: float, effort: k.Effort, keep: str
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of each layer of one design (n_layers,), and its totals (N_RESULT,)."""
    steps, totals = step_results(row, options, tables, mode, slack, effort, keep)
    return steps[:, k.CYCLES] * tables.steps[tables.layer_order, k.STEP_REPEATS], totals


def step_results(
    row: np.ndarray,
    options: np.ndarray,
    tables: NetworkTables,
    mode: int,
    slack: float,
    effort: k.Effort = EFFORTS["default"],
    keep: str = "quick",
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel results of every layer of a network on one design, `row` (1, n_forms * N_DESIGN): one repeat each,
    (n_layers, N_RESULT), in the order of `Network.layers`, and the totals (N_RESULT,)."""
    found = Keeper(tables, options, mode, slack, effort, keep == "best").cost(row[0], np.empty(0), keep)
    return found.results[tables.layer_order], found.totals[0]


class TotalsEvaluator:
    """Computes kernel totals of batches of designs on networks, in parallel: what every evaluator of batches shares.

    Parameters
    ----------
    tables : the networks as kernel arrays.
    technology, objective, slack, n_jobs, effort : as in `BatchEvaluator`.
    """

    def __init__(
        self,
        tables: NetworkTables,
        technology: Technology | None,
        objective: str,
        slack: float | None,
        n_jobs: int,
        effort: str = "default",
    ) -> None:
        self.technology = technology_or_default(technology)
        self.objective, self.slack = objective, slack
        self.n_jobs = checked_jobs(n_jobs)
        self._mode, self._slack = mapper_mode(objective, slack)
        self._effort = effort_named(effort)
        self._tables = tables
        self._seconds_a_design = 0.0
        self._compiled = False
        self._bounders: dict[bool, BoundEvaluator] = {}

    def with_effort(self, effort: str) -> Self:
        """The same evaluator with another effort of the mapper, see `dse.evaluate`."""
        other = copy.copy(self)
        other._effort = effort_named(effort)
        other._seconds_a_design = math.inf  # not known: the first batch is shared out
        return other

    def with_slack(self, slack: float | None) -> Self:
        """The same evaluator with another slack of the mapper."""
        other = copy.copy(self)
        other.slack = slack
        other._mode, other._slack = mapper_mode(self.objective, slack)
        return other

    def with_technology(self, technology: Technology) -> Self:
        """The same evaluator with other constants."""
        other = copy.copy(self)
        other.technology, other._bounders = technology, {}
        return other

    def metrics(self, columns: Columns, totals: np.ndarray) -> dict[str, np.ndarray]:
        """Named metrics of kernel totals (n, N_RESULT), without `OF_ENERGY` where no energy is looked for."""
        found = metric_columns(columns, totals, self.technology)
        alone = self.objective == "latency" and self.slack is None
        return {name: values for name, values in found.items() if not (alone and name in OF_ENERGY)}

    def bounds(self, columns: Columns, energy: bool) -> dict[str, np.ndarray]:
        """Lower bounds of metrics that hold for every mapping, without a search: ``latency_s``, ``cycles`` and, with
        `energy`, ``energy_j``, each (n, n_networks); ``area_mm2`` and ``core_area_mm2``, exact, (n,)."""
        found = self._bounder(energy)(columns)
        latency_s, area = found["latency_bound_s"], found["area_mm2"]
        bounds = {"latency_s": latency_s, "cycles": latency_s * np.asarray(columns["clock_ghz"], float)[:, None] * 1e9}
        if energy:
            bounds["energy_j"] = found["energy_bound_j"]
        return bounds | {"area_mm2": area, "core_area_mm2": area - dram_of(columns, self.technology).interface_mm2}

    def _bounder(self, energy: bool) -> BoundEvaluator:
        if energy not in self._bounders:
            self._bounders[energy] = BoundEvaluator(self._tables, self.technology, energy=energy)
        return self._bounders[energy]

    def kernel_rows(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """What `network_totals` takes: a row a design, and the spatial options of them all."""
        return design_rows(columns, self.technology, forms=self._tables.forms)

    def totals(self, columns: Columns) -> np.ndarray:
        """Kernel totals of the designs in `columns`, (n, n_networks, N_RESULT)."""
        rows, options = self.kernel_rows(columns)
        totals = self._found(rows, options)
        raise_bounds(totals, self._bounder(energy=True), rows, options)
        return totals

    def _found(self, rows: np.ndarray, options: np.ndarray) -> np.ndarray:
        """What the mapper finds, shared out over the workers."""
        task = (options, self._tables, self._mode, self._slack, self._effort)
        if not self._compiled:
            # Compile once here, with and without a store: workers racing for a cold cache can crash.
            kinds = np.unique(rows[:, k.STORE_BYTES] > 0, return_index=True)[1]
            network_totals(rows[kinds], *task)
            self._compiled = True
        workers, n_jobs = worker_count(self.n_jobs)
        small = len(rows) * self._seconds_a_design < _SECONDS_A_TASK * workers
        if workers == 1 or len(rows) < 2 or (n_jobs is not None and small):
            start = time.perf_counter()
            totals = network_totals(rows, *task)
            self._seconds_a_design = (time.perf_counter() - start) / max(1, len(rows))
            return totals
        chunks = np.array_split(rows, min(len(rows), 4 * workers))
        parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads")
        return np.concatenate(parallel(joblib.delayed(network_totals)(chunk, *task) for chunk in chunks))


class BatchEvaluator(TotalsEvaluator):
    """Evaluates batches of designs on one network.

    Parameters
    ----------
    network : a `Network` (or layers).
    technology : constants; 45 nm when omitted.
    objective, slack, effort : see `evaluate`; ``slack=None`` looks for no energy: the
        metrics `dse.costs.results.OF_ENERGY` are left out.
    n_jobs : workers; -1 = all cores.  Threads by default (the kernel releases the GIL); inside
        ``joblib.parallel_config(backend="loky" | "dask" | "ray", n_jobs=...)`` that backend is used instead.

    Calling it with parameter columns (see `DesignSpace.columns`) of n designs returns named metrics, each (n,).
    Every design is computed alone, so the bits depend on neither the batch split nor the workers.
    """

    def __init__(
        self,
        network: Network | Layer | Iterable[Layer],
        technology: Technology | None = None,
        *,
        objective: str = "latency",
        slack: float | None = DEFAULT_SLACK,
        n_jobs: int = 1,
        effort: str = "default",
    ) -> None:
        self.network = as_network(network)
        super().__init__(network_tables(self.network), technology, objective, slack, n_jobs, effort)

    def __call__(self, columns: Columns) -> dict[str, np.ndarray]:
        """Metrics of the designs in `columns`."""
        return self.metrics(columns, self.totals(columns)[:, 0])

    def bounds(self, columns: Columns, energy: bool) -> dict[str, np.ndarray]:
        """As `TotalsEvaluator.bounds`, each (n,)."""
        return {name: values.reshape(len(values)) for name, values in super().bounds(columns, energy).items()}
