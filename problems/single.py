"""One DNN on one accelerator: by default latency against area."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dse.costs.batches import BatchEvaluator
from dse.costs.kernel_rows import DEFAULT_SLACK, slack_named
from dse.costs.probes import probe_values as model_probes
from dse.costs.probes import weight_probes
from dse.costs.results import OF_ENERGY
from dse.hardware.space import DesignSpace, default_space
from dse.hardware.technology import Technology
from dse.networks import load_network, network_names
from dse.networks.layers import Network, as_network
from dse.runs.column_dictionary import DERIVED, METRICS
from dse.runs.column_dictionary import of_network as of_column
from dse.runs.identity import of_network, of_technology

from .base import AcceleratorProblem, Columns, ProblemError
from .checks import check_mapping_arguments, checked_space, checked_technology, in_order
from .derived import named_columns


def known_objectives() -> tuple[str, ...]:
    """Every name that `SingleDNN(objectives=...)` takes."""
    return (*METRICS, *DERIVED)


def chosen_objectives(
    problem: AcceleratorProblem,
    home: type[AcceleratorProblem],
    objectives: tuple[str, ...] | None,
    known: tuple[str, ...],
) -> tuple[str, ...]:
    """Names of the objectives of a problem whose class `home` takes names; checked, unless a subclass has its own.

    Raises ProblemError for a name that is not `known`, and for `objectives` given to a class that defines its own.
    """
    own, names = type(problem).objectives is not home.objectives, problem.objective_names
    if objectives is not None:
        if own:
            raise ProblemError(f"{type(problem).__name__} defines its objectives itself; leave out objectives=")
        names = (objectives,) if isinstance(objectives, str) else in_order(objectives, "objectives")
    unknown = [name for name in names if name not in known]
    if unknown and not own:
        raise ProblemError(
            f"unknown objective {unknown[0]!r}; the known ones are {', '.join(known)}. "
            "For another one override objectives() in a subclass"
        )
    needy = [name for name in names if _needs_energy(name)] if getattr(problem, "mapping_slack", 0) == "none" else []
    if needy and not own:
        raise ProblemError(
            f"objective {needy[0]!r} needs energy or traffic, and mapping_slack='none' looks for neither; give a "
            "share, such as 0.01"
        )
    return names


def _needs_energy(name: str) -> bool:
    """Whether an objective is known only where the mapper looks for the least energy."""
    metric, _ = of_column(name) or (name, "")
    return metric in (*OF_ENERGY, "edp_js", "ed2p_js2", "energy_gap")


def findable(network: str) -> str:
    """The name of a network that ships, or the whole path of a file, so that another directory finds it too."""
    return network if network in network_names() else str(Path(network).resolve())


class SingleDNN(AcceleratorProblem):
    """The best accelerators for one network.

    Parameters
    ----------
    network : name, path of an ONNX file, a `Network`, or layers.
    batch, dims : as in `load_network`; only for a network given by name or path.
    space : `DesignSpace`; default: the default space.
    technology : `Technology`; default 45 nm.
    objectives : names of metric columns or of `dse.runs.column_dictionary.DERIVED`, minimised; default ``latency_s,
        area_mm2``.
    n_jobs : workers of the evaluator; does not change a bit of the result.
    mapping_objective, mapping_slack : `objective` and `slack` of `dse.evaluate`: what the mapper minimises in each
        layer (``"latency"``, ``"energy"``, ``"edp"``), and the share of latency it may give up for energy;
        ``"none"`` looks for no energy, in about half of the time: see `AcceleratorProblem.with_energy`.

    A subclass that overrides `objectives` sets `objective_names` itself.
    """

    kind = "single"
    objective_names: tuple[str, ...] = ("latency_s", "area_mm2")
    unidentified = (*AcceleratorProblem.unidentified, "network_name", "batch", "dims")  # the network's content decides

    def __init__(
        self,
        network: Any,
        space: DesignSpace | None = None,
        technology: Technology | None = None,
        objectives: tuple[str, ...] | None = None,
        n_jobs: int = 1,
        mapping_objective: str = "latency",
        batch: int | None = 1,
        dims: Mapping[str, int] | None = None,
        mapping_slack: float | str = DEFAULT_SLACK,
    ) -> None:
        check_mapping_arguments(n_jobs, mapping_objective, mapping_slack)
        space, technology = checked_space(space, default_space), checked_technology(technology)
        self.mapping_objective, self.mapping_slack = mapping_objective, mapping_slack
        self.objective_names = chosen_objectives(self, SingleDNN, objectives, known_objectives())
        named = isinstance(network, str | Path)
        if not named and (batch != 1 or dims):
            raise ProblemError("batch and dims belong to the loading of a network; pass them to load_network")
        if isinstance(network, list | tuple) and any(isinstance(each, str | Path | Network) for each in network):
            raise ProblemError("network: give one, by name, path or as a Network; GeomeanDNN takes a list of several")
        self.network = load_network(network, batch, dims) if named else as_network(network)
        self.network_name = str(network) if named else None
        self.batch, self.dims = batch, dict(dims or {})
        self.technology = technology
        self.n_jobs = n_jobs
        evaluator = BatchEvaluator(
            self.network, self.technology, objective=mapping_objective, slack=slack_named(mapping_slack), n_jobs=n_jobs
        )
        super().__init__(evaluator, space)

    def objectives(self, m: Columns) -> tuple[np.ndarray, ...]:
        """The columns named by `objective_names`."""
        return named_columns(self.objective_names, m)

    def probe_values(self) -> dict[str, np.ndarray]:
        """What the model computes on the probe set with this technology."""
        return model_probes(self.technology) | weight_probes(self.technology, [self.network])

    def describe(self) -> dict[str, Any]:
        """As the base class, with the content of the network and of the technology."""
        return super().describe() | {
            "network": getattr(self.network, "name", None) or self.network_name,
            "networks": [of_network(self.network)],
            "technology": of_technology(self.technology),
        }

    def own_arguments(self) -> dict[str, Any] | None:
        """The network's name or path; None where it has neither."""
        return None if self.network_name is None else {"network": findable(self.network_name)}
