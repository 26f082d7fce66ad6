"""Hardware and network move together: channel multipliers of the network's stages are genes beside the hardware's.

The front answers "what if the network may move too": what latency and area cost in capacity.  Capacity stands in for
accuracy, which is not modelled; `dse.study` measures it for the networks of the front that matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from dse.costs.batches import BatchEvaluator
from dse.costs.kernel_rows import DEFAULT_SLACK, slack_named
from dse.costs.probes import probe_values as model_probes
from dse.costs.probes import weight_probes
from dse.hardware.space import DesignSpace, ExtendedSpace, small_space
from dse.hardware.technology import Technology
from dse.hardware.variables import Variable
from dse.networks import network_dims
from dse.networks.layers import Network
from dse.runs.identity import of_network, of_technology
from dse.tuning.channels import channels_of, with_channels
from dse.tuning.graphs import network_of, read_graph

from .base import AcceleratorProblem, Columns, ProblemError
from .checks import check_mapping_arguments, check_number, checked_space, checked_technology, short
from .single import findable

WIDTHS = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Channel multipliers of a stage [1]."""


def multipliers(widths: Iterable[float]) -> tuple[float, ...]:
    """Channel multipliers as floats [1]; ProblemError where one is not positive and finite."""
    try:
        found = tuple(map(float, widths))
    except (TypeError, ValueError):
        found = ()
    if not found or not all(0.01 <= width <= 100 for width in found):
        raise ProblemError(f"widths={short(widths)}: multipliers are positive, finite numbers from 0.01 to 100")
    return found


class CodesignSpace(ExtendedSpace):
    """A hardware space with one more variable a stage of the network, ``width_1`` ...: its channel multiplier.

    Parameters
    ----------
    hardware : the `DesignSpace` of the accelerator.
    stages : stages of the network [1].
    widths : levels of every multiplier, rising [1].
    """

    def __init__(self, hardware: DesignSpace, stages: int, widths: tuple[float, ...] = WIDTHS) -> None:
        widths = multipliers(widths)
        if len(widths) < 2 or list(widths) != sorted(set(widths)):
            raise ProblemError(f"widths={widths!r}: give at least two positive multipliers, rising")
        moving = tuple(Variable(f"width_{i + 1}", widths, False) for i in range(stages))
        super().__init__(hardware, moving, f"{hardware.name} and {stages} stages")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral)


class ScaledNetwork:
    """A graph whose stages' channels are multiplied and rounded to steps.

    A stage is all channels that are free to change and first made at one output size; a residual addition ties, a
    concatenation shifts (`dse.tuning.channels`).  ``stages``: output pixels of each, from the input on.

    Parameters
    ----------
    network : name or path of an ONNX file.
    step : scaled channels are rounded to multiples of this, and of the groups that read or write them [1].
    batch, dims : as in `load_network`.

    Raises ProblemError where no channels are free, or the graph cannot be read once they have changed.
    """

    def __init__(self, network: str | Path, step: int, batch: int | None, dims: Mapping[str, int] | None) -> None:
        if not isinstance(network, str | Path):
            what = type(network).__name__
            raise ProblemError(f"network must be a name or the path of an ONNX file, to change its graph; got a {what}")
        if not _is_whole(step) or not 1 <= step <= 65_536:
            raise ProblemError(f"step must be a whole number of channels >= 1, at most 65536, got {step!r:.40}")
        self.graph = read_graph(network)
        self.step, self.batch, self.dims = step, batch, network_dims(str(network), dims)
        self.channels = channels_of(self.graph)
        self.original = network_of(self.graph, batch, self.dims)
        pixels = {layer.name: layer.OY * layer.OX for layer in self.original.mac_layers}
        self.by_stage: dict[int, list[int]] = {}
        for number in self.channels.free():
            made = [pixels[name] for name in self.channels.makers[number] if name in pixels]
            if made:
                self.by_stage.setdefault(max(made), []).append(number)
        if not self.by_stage:
            roots = {self.channels.root(n) for n in self.channels.parent}
            fixed = {why for number, why in self.channels.fixed.items() if number in roots}
            why = "; ".join(sorted(fixed)[:3]) or "no convolution or product of matrices makes any"
            raise ProblemError(
                f"no channels of {network} are free to change ({why}): there is nothing to design in the network"
            )
        self.stages = sorted(self.by_stage, reverse=True)
        free = [number for numbers in self.by_stage.values() for number in numbers]
        try:
            doubled = with_channels(self.graph, self.channels, {n: 2 * self.channels.size[n] for n in free})
            network_of(doubled, batch, self.dims)
        except ValueError as error:
            raise ProblemError(f"{network} cannot be read with all its channels doubled: {error}") from None
        self._made: dict[tuple[float, ...], Network] = {(1.0,) * len(self.stages): self.original}

    def __call__(self, widths: tuple[float, ...]) -> Network:
        """The `Network` at these multipliers, one a stage; 1 leaves a stage as it is."""
        if widths not in self._made:
            sizes = {}
            for stage, width in zip(self.stages, widths, strict=True):
                for number in self.by_stage[stage] if width != 1 else ():
                    step = int(np.lcm(self.step, self.channels.multiple.get(number, 1)))
                    sizes[number] = max(1, round(self.channels.size[number] * width / step)) * step
            model = with_channels(self.graph, self.channels, sizes)
            self._made[widths] = network_of(model, self.batch, self.dims)
        return self._made[widths]


class _Evaluator:
    """Metrics of designs whose networks differ: one batch a network."""

    def __init__(self, scaled: ScaledNetwork, make: Callable[[Network], BatchEvaluator], names: list[str]) -> None:
        self.scaled, self.make, self.names = scaled, make, names

    def with_effort(self, effort: str) -> _Evaluator:
        """The same evaluator with another effort of the mapper."""
        return _Evaluator(self.scaled, lambda network: self.make(network).with_effort(effort), self.names)

    def with_slack(self, slack: float | None) -> _Evaluator:
        """The same evaluator with another slack of the mapper."""
        return _Evaluator(self.scaled, lambda network: self.make(network).with_slack(slack), self.names)

    def with_technology(self, technology: Technology) -> _Evaluator:
        """The same evaluator with other constants."""
        return _Evaluator(self.scaled, lambda network: self.make(network).with_technology(technology), self.names)

    def __call__(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        widths = np.column_stack([columns[name] for name in self.names])
        hardware = {name: values for name, values in columns.items() if name not in self.names}
        original = self.scaled.original
        metrics: dict[str, np.ndarray] = {}
        for row in np.unique(widths, axis=0):
            here = np.flatnonzero((widths == row).all(axis=1))
            network = self.scaled(tuple(row.tolist()))
            found = self.make(network)({name: values[here] for name, values in hardware.items()})
            found["parameters"] = np.full(len(here), float(network.parameters))
            shares = network.parameters / original.parameters, network.macs / original.macs
            found["capacity"] = np.full(len(here), float(np.sqrt(shares[0] * shares[1])))
            for name, values in found.items():
                metrics.setdefault(name, np.empty(len(widths)))[here] = values
        return metrics


class Codesign(AcceleratorProblem):
    """Latency [s], area [mm2] and 1 / capacity [1] of accelerators and the network's widths together.

    Capacity is the geometric mean of parameters and MACs, each as a share of the original's.

    Parameters
    ----------
    network : name or path of an ONNX file.
    space : `DesignSpace` of the hardware; default: the small space.
    widths : channel multipliers that each stage may take [1].
    step : channels are rounded to multiples of this [1].
    least_capacity : least capacity that is feasible [1].
    technology, n_jobs, mapping_objective, mapping_slack, batch, dims : as in `SingleDNN`.
    """

    kind = "codesign"
    objective_names = ("latency_s", "area_mm2", "inverse_capacity")
    constraint_names = ("capacity",)
    probe_widths = (0.5, 1.5)
    unidentified = (
        *AcceleratorProblem.unidentified,
        "network_name",
        "batch",
        "dims",
        "widths",
    )  # their content decides

    def __init__(
        self,
        network: str | Path,
        space: DesignSpace | None = None,
        widths: tuple[float, ...] = WIDTHS,
        step: int = 8,
        least_capacity: float = 0.5,
        technology: Technology | None = None,
        n_jobs: int = 1,
        mapping_objective: str = "latency",
        mapping_slack: float | str = DEFAULT_SLACK,
        batch: int | None = 1,
        dims: Mapping[str, int] | None = None,
    ) -> None:
        check_mapping_arguments(n_jobs, mapping_objective, mapping_slack)
        space, technology = checked_space(space, small_space), checked_technology(technology)
        check_number("least_capacity", least_capacity)
        if not 0 < least_capacity <= 1:
            raise ProblemError(f"least_capacity is a share above 0 and up to 1, got {least_capacity!r}")
        self.scaled = ScaledNetwork(network, step, batch, dims)
        self.network_name, self.batch, self.dims = str(network), batch, dict(dims or {})
        self.widths = multipliers(widths)
        self.network, self.step, self.least_capacity = self.scaled.original, step, least_capacity
        self.technology = technology
        self.mapping_objective, self.mapping_slack, self.n_jobs = mapping_objective, mapping_slack, n_jobs

        def make(found: Network) -> BatchEvaluator:
            slack = slack_named(mapping_slack)
            return BatchEvaluator(found, technology, objective=mapping_objective, slack=slack, n_jobs=n_jobs)

        together = CodesignSpace(space, len(self.scaled.stages), widths)
        names = [v.name for v in together.variables[together.hardware.n_var :]]
        super().__init__(_Evaluator(self.scaled, make, names), together)

    def objectives(self, m: Columns) -> tuple[np.ndarray, ...]:
        """Latency, area, and the inverse of the capacity."""
        return m.latency_s, m.area_mm2, 1 / m.capacity

    def constraints(self, m: Columns) -> tuple[np.ndarray, ...]:
        """Capacity at least `least_capacity`."""
        return (1 - m.capacity / self.least_capacity,)

    def probe_values(self) -> dict[str, np.ndarray]:
        """What the model computes on the probe set with this technology, and the sizes of scaled networks."""
        scaled = [self.scaled((width,) * len(self.scaled.stages)) for width in self.probe_widths]
        sizes = {"scaled_parameters": [n.parameters for n in scaled], "scaled_macs": [n.macs for n in scaled]}
        model = model_probes(self.technology) | weight_probes(self.technology, scaled)
        return model | {name: np.array(values, float) for name, values in sizes.items()}

    def describe(self) -> dict[str, Any]:
        """As the base class, with the content of the network and of the technology."""
        return super().describe() | {
            "network": self.network.name,
            "networks": [of_network(self.network)],
            "technology": of_technology(self.technology),
        }

    def own_arguments(self) -> dict[str, Any]:
        """The network's name or path, and what may move in it."""
        moving = {"widths": list(self.widths), "step": self.step, "least_capacity": self.least_capacity}
        return {"network": findable(self.network_name), **moving}

    def network_at(self, widths: tuple[float, ...]) -> Network:
        """The `Network` at these multipliers, one a stage."""
        widths, stages = multipliers(widths), self.scaled.stages
        if len(widths) != len(stages):
            raise ProblemError(f"give {len(stages)} multipliers, one a stage, got {len(widths)}")
        return self.scaled(widths)
