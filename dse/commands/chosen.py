"""A design that was chosen by text, and what goes with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.hardware.accelerator import Accelerator
from dse.hardware.node_scaling import NODES_NM
from dse.hardware.presets import preset_chip, preset_technology
from dse.hardware.space import Own
from dse.hardware.technology import Technology


@dataclass(frozen=True)
class Chosen:
    """A design, where it is from, and what its run evaluated it with (None where it is from no run).

    `technology`: of its run, or of the chip of a `preset`.  `values`: its row in
    `designs.csv` and what the manifest tells of the problem, by name, its own dataflows as `Dataflow`; empty where from
    no run.  `own`: dataflows and DRAM types of the file or the run that are not built in.
    """

    design: Accelerator
    origin: str
    technology: Technology | None = None
    mapping_objective: str | None = None
    mapping_slack: float | str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    own: Own = field(default_factory=Own)
    preset: str | None = None

    def at(self, technology: Technology | None) -> Chosen:
        """The same at another technology; as it is where that is None.

        At a built-in node the chip of a preset keeps its choices (`preset_technology`); a file stands as it is.
        """
        if technology is None:
            return self
        built_in = technology.node_nm in NODES_NM and technology == Technology.at(technology.node_nm)
        if self.preset is not None and built_in:
            technology = preset_technology(self.preset, technology.node_nm)
        return replace(self, technology=technology)

    def node(self) -> str:
        """The technology in words, and for a preset whether it is the chip's."""
        name = (self.technology or Technology.at()).name
        if self.preset is None:
            return name
        chip = f"{preset_chip(self.preset)['technology_nm']:g} nm"
        return f"{name}, the chip's own node" if name == chip else f"{name}; the chip's own node is {chip}"

    def options(self) -> dict[str, Any]:
        """``technology, objective, slack`` of `dse.evaluate` as the design's run had them, or the defaults.

        The technology of a preset is that of its chip.
        """
        return {
            "technology": self.technology or Technology.at(),
            "objective": self.mapping_objective or "latency",
            "slack": DEFAULT_SLACK if self.mapping_slack in (None, "none") else self.mapping_slack,
        }
