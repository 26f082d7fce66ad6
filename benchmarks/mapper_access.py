"""The mapper as its users reach it: the one place of these benchmarks that knows how a setting is asked for.

`EFFORTS` are the settings of the mapper; `has` says which of them this version knows.  Judge, table and tests go
through `best_mapping` (one layer) and `network_metrics` (a network on many designs) alone.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np

import dse
from dse.costs import kernels as k
from dse.costs.batches import BatchEvaluator
from dse.costs.kernel_rows import design_rows, effort_named, layer_row, mapper_mode, parameter_columns

EFFORTS = ("default", "complete")
LEAST_LATENCY = mapper_mode("latency", 0.0)


@dataclass(frozen=True)
class Found:
    """A mapping and its cost; where nothing fits `overflow` > 0, and the mapping is none.

    `least_cycles`: no mapping is faster, where the objective is latency.
    """

    cycles: float
    energy_pj: float
    overflow: float
    least_cycles: float
    mapping: dse.Mapping | None


def has(effort: str) -> bool:
    """Whether this version has that setting; before there were any, all there is counts as the default."""
    return effort == "default" or "effort" in inspect.signature(BatchEvaluator.__init__).parameters


def settings(effort: str) -> dict[str, str]:
    """Keyword arguments of the library that ask for a setting."""
    if not has(effort):
        raise ValueError(f"this version of the mapper has no setting {effort!r}")
    return {"effort": effort} if has("complete") else {}


def best_mapping(
    design: dse.Accelerator,
    layer: dse.MacLayer,
    effort: str = "default",
    objective: str = "latency",
    slack: float | None = 0.0,
    variant: int = 0,
) -> Found:
    """What the mapper finds for one layer; `variant`: residency bits of the kernel."""
    if not has(effort):
        raise ValueError(f"this version of the mapper has no setting {effort!r}")
    (rows, options), numbers = design_rows(parameter_columns(design), dse.Technology.at(45)), layer_row(layer)
    row, out, (mode, share) = np.zeros(k.N_MAP), np.zeros(k.N_RESULT), mapper_mode(objective, slack)
    lists, looks = k.lists_of(numbers[None])[0], effort_named(effort)
    k.map_layer(numbers, rows[0], options, lists, looks, mode, share, variant, row, out, k.make_scratch())
    mapping = dse.Mapping.from_row(row) if out[k.OVERFLOW] == 0 else None
    return Found(float(out[k.CYCLES]), float(out[k.ENERGY_PJ]), float(out[k.OVERFLOW]), float(out[k.LEAST]), mapping)


def network_metrics(
    network: dse.Network,
    columns: dict[str, np.ndarray],
    effort: str = "default",
    slack: float | None = 0.0,
    n_jobs: int = 1,
) -> dict[str, np.ndarray]:
    """Metrics of a network on each design of the columns, (n,) each: cycles, overflow, latency_s, energy_j ..."""
    return BatchEvaluator(network, slack=slack, n_jobs=n_jobs, **settings(effort))(columns)


def network_cycles(
    network: dse.Network,
    columns: dict[str, np.ndarray],
    effort: str = "default",
    slack: float | None = 0.0,
    n_jobs: int = 1,
) -> np.ndarray:
    """Cycles of a network on each design of the columns, (n,)."""
    return network_metrics(network, columns, effort, slack, n_jobs)["cycles"]


def layer_cycles(
    design: dse.Accelerator, layers: tuple[dse.MacLayer, ...], effort: str = "default"
) -> tuple[np.ndarray, np.ndarray]:
    """Least cycles of each layer alone, one repeat, and what overflows, (n,) each; nothing stays on chip."""
    if not has(effort):
        raise ValueError(f"this version of the mapper has no setting {effort!r}")
    rows, options = design_rows(parameter_columns(design), dse.Technology.at(45))
    row, out, scratch, (mode, slack) = np.zeros(k.N_MAP), np.zeros(k.N_RESULT), k.make_scratch(), LEAST_LATENCY
    found = np.zeros((2, len(layers)))
    for i, layer in enumerate(layers):
        numbers, looks = layer_row(layer), effort_named(effort)
        lists = k.lists_of(numbers[None])[0]
        k.map_layer(numbers, rows[0], options, lists, looks, mode, slack, 0, row, out, scratch)
        found[:, i] = out[k.CYCLES], out[k.OVERFLOW]
    return found[0], found[1]
