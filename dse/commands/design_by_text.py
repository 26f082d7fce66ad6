"""Choosing one design by text: from a TOML file, from a run's directory, and with single parameters changed.

[design]                 # every parameter that differs from Accelerator()
rows = 32
cols = 32
dataflow = "row_stationary"

A dataflow of one's own is a table [dataflows.NAME] of the same file, see `dse.hardware.dataflow_file`; a DRAM type a
table [dram_types.NAME], see `dse.hardware.dram_types`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.hardware.accelerator import PARAMETERS, Accelerator, check_one_bandwidth
from dse.hardware.dataflow import own_dataflows
from dse.hardware.dataflow_file import dataflow_of_plain, toml_lines
from dse.hardware.dram_types import DramType, own_dram_types
from dse.hardware.dram_types import toml_lines as dram_lines
from dse.hardware.node_scaling import NODES_NM
from dse.hardware.presets import PRESETS, preset, preset_chip, preset_technology
from dse.hardware.space import Own, own_of, with_own
from dse.hardware.technology import Technology
from dse.hardware.variables import check_kind
from dse.networks.toml_file import check_known, read_toml, toml_value
from dse.runs.files import RunDirectoryError
from dse.runs.identity import technology_of
from dse.runs.run_directory import as_written, read_manifest
from dse.runs.tables import Table, read_table
from dse.search.exploration import load
from dse.search.pareto import knee


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


def choose(text: str | None, settings: Iterable[str] = ()) -> Chosen:
    """The design that `text` names, with parameters changed by `settings`.

    Parameters
    ----------
    text : a name of `PRESETS`; a TOML file with a table ``[design]``; or ``DIRECTORY:WHICH`` with the directory of
        a run and the ``index`` of a design in its `designs.csv`, or ``knee`` for the knee of its front;
        None = `Accelerator()`.
    settings : such as ``rows=32`` or ``dataflow=row_stationary``; dataflows and DRAM types of the file or the run are
        known too.
    """
    if text is None:
        chosen = Chosen(Accelerator(), "the default design")
    elif text in PRESETS:
        chosen = Chosen(preset(text), f"preset {text}", preset_technology(text), preset=text)
    elif Path(text).is_file() or text.endswith(".toml"):
        design, own = _read(text)
        chosen = Chosen(design, text, own=own)
    elif ":" in text:
        chosen = _from_run(*text.rsplit(":", 1))
    else:
        raise ValueError(
            f"design {text!r}: expected a .toml file, or a run's directory and a design in it, such as {text}:knee"
            f" or {text}:17, or a preset: {', '.join(PRESETS)}"
        )
    changes = dict(_setting(setting) for setting in settings)
    if not changes:
        return chosen
    origin = f"{chosen.origin}, with {', '.join(f'{name}={value}' for name, value in changes.items())}"
    design = chosen.design.with_parameters(with_own(changes, chosen.own))
    check_one_bandwidth(changes, design)
    if "dram_channels" in changes and not design.dram_type:
        raise ValueError("dram_channels does nothing without a dram_type; name one (dram_type=HBM2), or set dram_gbps")
    return replace(chosen, design=design, origin=origin)


def from_toml(path: str | Path) -> Accelerator:
    """The design of a file's table ``[design]``.

    Raises ValueError, one line that names the file, the table and the key.
    """
    return _read(path)[0]


def _read(path: str | Path) -> tuple[Accelerator, Own]:
    """The design of a file, and the file's own dataflows and DRAM types."""
    tables = read_toml(path, ("design", "dataflows", "dram_types"))
    try:
        own = own_of(tables)
        for name, value in tables["design"].items():
            check_known(name, PARAMETERS, "[design] parameter")
            check_kind(name, (value,))
        design = Accelerator().with_parameters(with_own(tables["design"], own))
        check_one_bandwidth(tables["design"], design)
        return design, own
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def toml_text(design: Accelerator) -> str:
    """What `from_toml` reads back equal; a dataflow that is not built in as a table ``[dataflows.NAME]``, a DRAM type
    likewise.

    Raises ValueError for a dataflow with the name of a built-in one and other options, and for such a DRAM type.
    """
    lines = [f"{name} = {toml_value(value)}" for name, value in design.parameters().items()]
    own = [*toml_lines(own_dataflows([design.dataflow]).values())]
    own += dram_lines(own_dram_types([design.dram_type]).values())
    return "\n".join(["[design]", *lines, *own, ""])


def _setting(text: str) -> tuple[str, Any]:
    """``rows=32`` as name and value of the parameter's kind."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise ValueError(f"--set {text!r}: expected parameter=value, such as rows=32")
    check_known(name, PARAMETERS, "parameter")
    kind = type(getattr(Accelerator(), name))
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {value!r}")
        return name, value.lower() == "true"
    if kind in (int, float):
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"{name} must be a number, got {value!r}") from None
        return name, int(number) if number.is_integer() else number
    return name, value


def _from_run(directory: str, which: str) -> Chosen:
    path = Path(directory)
    content = read_manifest(path)
    row = _knee(path) if which == "knee" else _numbered(path, which)
    with as_written(path):
        return _told(path, which, row, content)


def _told(path: Path, which: str, row: dict[str, Any], content: dict[str, Any]) -> Chosen:
    """A design of a run from its row and the manifest."""
    own = _own_of_run(content)
    rebuild = content.get("rebuild") or {}
    told = dict(content["identity"].get("problem", {}).get("attributes", {}))
    if "dataflows" in rebuild:
        told.setdefault("dataflows", rebuild["dataflows"])
    values = {**content.get("fixed_parameters", {}), **row}
    known = {name: _as_parameter(name, values[name]) for name in PARAMETERS if name in values}
    missing = [name for name in PARAMETERS if name not in values]
    if missing and not content.get("fixed_parameters"):  # else they came after the run, which had their defaults
        raise RunDirectoryError(
            f"{path} does not tell the value of {', '.join(missing)}: it was not written by explore"
        )
    constants = rebuild.get("technology") or content["identity"].get("problem", {}).get("technology")
    technology = technology_of(constants) if constants else None
    label = "the knee" if which == "knee" else f"design {which}"
    if "fixed" in (rebuild.get("mapping"), told.get("mapping")):
        label = f"the hardware of {label}"  # its frozen mapping is left out: every layer gets its best
    mapped = told.get("mapping_objective"), told.get("mapping_slack")
    values = {name: _with_own(name, value, own) for name, value in ({**told, **row}).items()}
    design = Accelerator().with_parameters(with_own(known, own))
    return Chosen(design, f"{label} of {path}", technology, *mapped, values=values, own=own)


def _own_of_run(content: dict[str, Any]) -> Own:
    """The dataflows that are not built in, and the DRAM types with the numbers of the run, that its manifest holds."""
    space = content["identity"].get("space") or {}
    places = [*space.get("base", {}).values()]
    for levels in (
        *space.get("variables", {}).values(),
        content["identity"].get("problem", {}).get("attributes", {}).get("dataflows"),
        (content.get("rebuild") or {}).get("dataflows"),
    ):
        places += levels if isinstance(levels, list) else ()
    plain = [value for value in places if isinstance(value, dict)]
    flows = own_dataflows(dataflow_of_plain(value) for value in plain if "options" in value)
    drams = [DramType(**value) for value in plain if "channel_gbps" in value]
    return Own(flows, {each.name: each for each in drams})


def _with_own(name: str, value: Any, own: Own) -> Any:
    """A value of a run's tables or manifest; where it tells dataflows, those of `own` as themselves."""
    flows = own.dataflows
    if name == "dataflows" and isinstance(value, list):
        return [flows[x["name"]] if isinstance(x, dict) else flows.get(x, x) for x in value]
    if re.fullmatch(r"dataflow(_\d+)?", name) and isinstance(value, str):
        return flows.get(value, value)
    return value


def _as_parameter(name: str, value: Any) -> Any:
    return bool(value) if isinstance(getattr(Accelerator(), name), bool) else value


def _knee(path: Path) -> dict[str, Any]:
    run = load(path)
    if len(run.front) == 0:
        raise RunDirectoryError(f"{path} has no front: no design of it can run the network")
    return _row(run.front, knee(run.front_on_own_scale()))


def _numbered(path: Path, which: str) -> dict[str, Any]:
    designs = read_table(path / "designs.csv")
    if not which.isdecimal() or int(which) >= len(designs):
        raise ValueError(
            f"design {path}:{which}: expected knee, or an index of designs.csv from 0 to {len(designs) - 1}"
        )
    return _row(designs, int(which))


def _row(table: Table, at: int) -> dict[str, Any]:
    values = {name: table[name].iloc[at] for name in table.columns}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
