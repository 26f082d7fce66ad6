"""One accelerator for several DNNs: by default the geometric mean of their latencies against area."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dse.analysis.price_of_generality import PRICES, price_of_run
from dse.costs.fixed_mapping import MEANINGS, FixedMappingEvaluator, FixedMappingSpace
from dse.costs.kernel_rows import DEFAULT_SLACK, slack_named
from dse.costs.probes import probe_values as model_probes
from dse.costs.probes import weight_probes
from dse.costs.several_networks import SeveralEvaluator, distinct_networks
from dse.hardware.space import DesignSpace, default_space
from dse.hardware.technology import Technology
from dse.networks import load_network
from dse.networks.layers import Network
from dse.runs.column_dictionary import COLUMNS, DERIVED, PER_NETWORK, Column, name_fault
from dse.runs.identity import of_network, of_technology
from dse.runs.problem_protocol import Evaluated

from .base import AcceleratorProblem, Columns, ProblemError
from .checks import check_mapping_arguments, checked_space, checked_technology, in_order
from .derived import named_columns
from .single import chosen_objectives, findable

AVERAGED = (
    "latency_s", "cycles", "energy_j", "power_w", "macs", "utilisation", "dram_bytes", "latency_bound_s",
    "energy_bound_j",
)  # fmt: skip
"""Metrics that are a weighted geometric mean over the networks."""


def checked_weights(
    networks: Sequence[Network], weights: Mapping[str, float] | Iterable[float] | None
) -> tuple[float, ...]:
    """Weight of each network; all 1 where `weights` is None.

    Raises ProblemError unless there is one positive finite weight a network.
    """
    names = [network.name for network in networks]
    if weights is None:
        weights = [1.0] * len(names)
    if isinstance(weights, Mapping):
        strange = [name for name in weights if name not in names]
        missing = [name for name in names if name not in weights]
        if strange or missing:
            what = f"{strange[0]!r} is none of the networks" if strange else f"{missing[0]!r} has none"
            raise ProblemError(f"weights: {what}; give one for each of {', '.join(names)}")
        weights = [weights[name] for name in names]
    if isinstance(weights, str | set | frozenset) or not isinstance(weights, Iterable):
        raise ProblemError(f"weights: expected one number a network, got {weights!r}")
    given = list(weights)
    if len(given) != len(names):
        raise ProblemError(f"weights: got {len(given)} for {len(names)} networks ({', '.join(names)})")
    for name, weight in zip(names, given, strict=True):
        number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not number or not (math.isfinite(weight) and weight > 0):
            raise ProblemError(f"the weight of {name} is {weight!r}; give a positive number, or leave the network out")
    if not math.isfinite(sum(given)):
        raise ProblemError(f"the weights {given!r} are too large to be added; only their ratios count")
    return tuple(map(float, given))


def geometric_mean(values: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted geometric mean of arrays (n,), element by element; 0 where one of the values is 0."""
    mean, total = np.zeros(len(values[0])), math.fsum(weights)
    with np.errstate(divide="ignore"):
        for value, weight in zip(values, weights, strict=True):
            mean += weight / total * np.log(np.ascontiguousarray(value))
    return np.exp(mean)


class GeomeanEvaluator:
    """Metrics of designs on several networks: `AVERAGED` ones, area, and `PER_NETWORK` ones with the network's name.

    ``overflow`` is the sum over the networks: 0 where all of them can run.
    """

    def __init__(self, several: SeveralEvaluator, weights: tuple[float, ...]) -> None:
        self.several, self.weights = several, weights

    def with_effort(self, effort: str) -> GeomeanEvaluator:
        """The same evaluator with another effort of the mapper."""
        return GeomeanEvaluator(self.several.with_effort(effort), self.weights)

    def with_slack(self, slack: float | None) -> GeomeanEvaluator:
        """The same evaluator with another slack of the mapper."""
        return GeomeanEvaluator(self.several.with_slack(slack), self.weights)

    def bounds(self, columns: Mapping[str, np.ndarray], energy: bool) -> dict[str, np.ndarray]:
        """Lower bounds, as `TotalsEvaluator.bounds` tells them: of the means, and of each network."""
        found = self.several.bounds(columns, energy)
        per_network = [name for name, values in found.items() if values.ndim == 2]
        means = {name: geometric_mean(list(found[name].T), self.weights) for name in per_network}
        each = {
            f"{name}_{network.name}": found[name][:, i]
            for name in per_network
            if name in PER_NETWORK
            for i, network in enumerate(self.several.networks)
        }
        return found | means | each

    def with_technology(self, technology: Technology) -> GeomeanEvaluator:
        """The same evaluator with other constants."""
        return GeomeanEvaluator(self.several.with_technology(technology), self.weights)

    def __call__(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = self.several(columns)
        each = list(found.values())
        metrics = {
            name: geometric_mean([own[name] for own in each], self.weights) for name in AVERAGED if name in each[0]
        }
        metrics["overflow"] = sum((own["overflow"] for own in each), start=np.zeros_like(each[0]["overflow"]))
        metrics |= {name: values for name, values in each[0].items() if name.startswith(("area_", "core_area_"))}
        return metrics | {
            f"{metric}_{network}": own[metric]
            for network, own in found.items()
            for metric in PER_NETWORK
            if metric in own
        }


class GeomeanDNN(AcceleratorProblem):
    """Geometric means over several networks that run one at a time: by default of the latency [s], and area [mm2].

    The performance of a network is 1 / latency [1/s]; the least geometric mean of latencies is the greatest of
    performances, whatever unit or reference each network is measured in.  Every metric column is the weighted
    geometric mean over the networks, so products of them are too (``edp_js``); area is the chip's; ``latency_s_NAME``,
    ``energy_j_NAME`` ... are those of one network.

    Parameters
    ----------
    networks : names, paths of ONNX files, or `Network`s; no two of one name.
    weights : one positive number a network, in their order or by name; default all equal.
    batch, dims : as in `load_network`; for networks given by name or path.
    objectives : names among the columns described above or of `dse.runs.column_dictionary.DERIVED`, minimised.
    space, technology, n_jobs, mapping_objective, mapping_slack : as in `SingleDNN`.
    mapping : "best" for every layer, or "fixed": loop order and tiles are frozen in hardware, more variables of the
        space (see `dse.costs.fixed_mapping`); then nothing is left for the mapper to minimise.

    A subclass that overrides `objectives` sets `objective_names` itself.
    """

    kind = "geomean"
    objective_names: tuple[str, ...] = ("latency_s", "area_mm2")
    unidentified = (*AcceleratorProblem.unidentified, "network_sources", "batch", "dims")

    def __init__(
        self,
        networks: str | Path | Iterable[str | Path | Network],
        weights: Mapping[str, float] | Iterable[float] | None = None,
        space: DesignSpace | None = None,
        technology: Technology | None = None,
        objectives: tuple[str, ...] | None = None,
        n_jobs: int = 1,
        mapping_objective: str = "latency",
        batch: int | None = 1,
        dims: Mapping[str, int] | None = None,
        mapping_slack: float | str = DEFAULT_SLACK,
        mapping: str = "best",
    ) -> None:
        frozen = "the mapping is frozen, nothing is looked for" if mapping == "fixed" else ""
        check_mapping_arguments(n_jobs, mapping_objective, mapping_slack, frozen)
        space, technology = checked_space(space, default_space), checked_technology(technology)
        if mapping not in ("best", "fixed"):
            raise ProblemError(f"mapping {mapping!r}: give best (of every layer) or fixed (frozen in hardware)")
        given: Iterable[str | Path | Network] = [networks] if isinstance(networks, str | Path) else networks
        if isinstance(given, Iterable) and not isinstance(given, Network):
            each = in_order(given, "networks")
            named = [isinstance(network, str | Path) for network in each]
            if named and not any(named) and (batch != 1 or dims):
                raise ProblemError("batch and dims belong to the loading of a network; pass them to load_network")
            self.network_sources = [str(network) for network in each] if all(named) else None
            given = [load_network(n, batch, dims) if isinstance(n, str | Path) else n for n in each]
        self.networks = distinct_networks(given)
        for network in self.networks:
            if fault := name_fault(network.name):
                raise ProblemError(
                    f"network {network.name!r}: its name becomes a column of CSV files, but {fault}; rename it"
                )
        self.weights = checked_weights(self.networks, weights)
        self.batch, self.dims = batch, dict(dims or {})
        self.technology = technology
        self.mapping_objective, self.mapping_slack, self.n_jobs = mapping_objective, mapping_slack, n_jobs
        self.objective_names = chosen_objectives(self, GeomeanDNN, objectives, self.known_objectives())
        self.mapping = mapping
        make = SeveralEvaluator
        if mapping == "fixed":
            make, space = FixedMappingEvaluator, FixedMappingSpace(space)
        several = make(
            self.networks, self.technology, objective=mapping_objective, slack=slack_named(mapping_slack), n_jobs=n_jobs
        )
        super().__init__(GeomeanEvaluator(several, self.weights), space)

    def known_objectives(self) -> tuple[str, ...]:
        """Every name that `objectives` takes."""
        each = (f"{metric}_{network.name}" for metric in PER_NETWORK for network in self.networks)
        return (*AVERAGED, "area_mm2", "core_area_mm2", *DERIVED, *each)

    def objectives(self, m: Columns) -> tuple[np.ndarray, ...]:
        """The columns named by `objective_names`."""
        return named_columns(self.objective_names, m)

    def column_meanings(self) -> dict[str, Column]:
        """Columns that mean something else here than for one network."""
        found = {name: ("weighted geometric mean over the networks", name) for name in AVERAGED}
        found["overflow"] = ("sum over the networks", "overflow")
        for network in self.networks:
            found |= {f"{metric}_{network.name}": (network.name, metric) for metric in PER_NETWORK}
        frozen = {name: Column(unit, f"mapping frozen in hardware: {what}") for name, (unit, what) in MEANINGS.items()}
        return frozen | {
            name: Column(COLUMNS[metric].unit, f"{of}: {COLUMNS[metric].meaning}")
            for name, (of, metric) in found.items()
        }

    def tables(self, front: np.ndarray, search: Evaluated, twin: Evaluated | None) -> dict[str, bytes]:
        """Files that a run over this problem also leaves: the price of generality of each design on its front."""
        names = [network.name for network in self.networks]
        table = price_of_run(names, self.weights, front, search, twin)
        return {PRICES: table.to_csv(index=False, lineterminator="\n").encode()}

    def probe_values(self) -> dict[str, np.ndarray]:
        """What the model computes on the probe set with this technology."""
        return model_probes(self.technology) | weight_probes(self.technology, self.networks)

    def describe(self) -> dict[str, Any]:
        """As the base class, with the content of the networks and of the technology."""
        names = [network.name for network in self.networks]
        return super().describe() | {
            "network": names[0] if len(names) == 1 else f"{len(names)} networks",
            "networks": [of_network(network) for network in self.networks],
            "technology": of_technology(self.technology),
        }

    def own_arguments(self) -> dict[str, Any] | None:
        """The networks' names or paths, weights and mapping; None where a network has neither name nor path."""
        if self.network_sources is None:
            return None
        networks = [findable(name) for name in self.network_sources]
        return {"networks": networks, "weights": list(self.weights), "mapping": self.mapping}
