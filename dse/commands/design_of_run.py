"""A design of a run, with what the run evaluated it with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dse.commands.chosen import Chosen
from dse.hardware.accelerator import PARAMETERS, Accelerator
from dse.hardware.dataflow import own_dataflows
from dse.hardware.dataflow_file import dataflow_of_plain
from dse.hardware.dram_types import DramType
from dse.hardware.space import Own, with_own
from dse.runs.files import RunDirectoryError
from dse.runs.identity import technology_of
from dse.runs.run_directory import as_written, read_manifest
from dse.runs.tables import Table, read_table
from dse.search.exploration import load
from dse.search.pareto import knee


def design_of_run(directory: str, which: str) -> Chosen:
    """A design of a run, as `dse.commands.design_by_text.choose` takes it: its index, or ``knee``."""
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
