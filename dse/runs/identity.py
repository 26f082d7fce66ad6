"""The identity of a run: what it computes, as JSON values, and its differences from another in words.

Settings, space, technology and networks are compared by their content.  The model is known by its numbers: what it
computes on the probe set (`dse.costs.probes`) stands in the manifest.  On the machine that wrote them the bits must be
equal; elsewhere a relative difference of `ELSEWHERE` is the same run.

A field that a later version adds makes no old run foreign: where a manifest lacks it, it has its default.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dse.hardware.dataflow import SpatialOption
from dse.hardware.node_scaling import NODES_NM
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks.layers import Network
from dse.runs.files import hash_of
from dse.runs.problem_protocol import SearchProblem

ELSEWHERE = 1e-12
"""Relative difference of numbers that another processor or library may make [1]."""

LIBRARIES = ("numpy", "numba", "llvmlite", "pymoo", "moocore")

PLAIN = "plain"
"""A search by its algorithm alone, as every run was before there were others: its identity has no entry `search`."""

FIRST = {
    "Network": "name layers parameters tensor_elements source",
    "MacLayer": "name operator B G K C OY OX FY FX stride_y stride_x dilation_y dilation_x pad_y pad_x IY IX "
    "static_weights repeats vector_operations fused_input_elements inputs fused_input output weight fused",
    "VectorLayer": "name operator operations input_elements output_elements weight_elements repeats inputs output",
    "Request": "stream arrival_s deadline_s after",
}
"""Fields that the first runs told of layers, networks and requests; `told` tells others where they are not default."""

_WORDS = {
    "random_twin": "random twin",
    "warm_start_sha256": "designs of the warm start",
    "evaluations": "evaluations",
}


def versions() -> dict[str, str]:
    """Versions of what can change the numbers or the path of a search: a note in the manifest."""
    found = {}
    for name in ("accelerator-dse", *LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def environment() -> dict[str, str]:
    """Processor and libraries whose arithmetic makes the bits of a number; equal ones make equal bits."""
    told = {"python": platform.python_version(), "machine": platform.machine(), "processor": _processor()}
    return told | {name: version for name, version in versions().items() if name in ("numpy", "numba", "llvmlite")}


def _processor() -> str:
    """Name of the processor, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def source_sha256(*files: str | None) -> str:
    """SHA-256 of the library's source and of other files: a note in the manifest that no check reads."""
    root = Path(__file__).parents[1]
    texts = [path.read_bytes() for path in sorted(root.rglob("*.py"))]
    texts += [Path(file).read_bytes() for file in sorted(set(filter(None, files))) if Path(file).is_file()]
    return hash_of(b"\0".join(texts))


def told(value: object) -> str:
    """What distinguishes layers, networks and requests: `repr`, without fields beyond `FIRST` that have their default.

    So a new field does not change the hash of what does not use it.
    """
    if isinstance(value, tuple):
        return f"({', '.join(map(told, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(told, value))}]"
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    name = type(value).__qualname__
    first = FIRST.get(name, " ".join(f.name for f in fields(value))).split()
    values = {f.name: getattr(value, f.name) for f in fields(value)
              if f.name in first or getattr(value, f.name) != _default(f)}  # fmt: skip
    return f"{name}({', '.join(f'{key}={told(x)}' for key, x in values.items())})"


def _default(of: Field) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def of_network(network: Network) -> dict[str, Any]:
    """What distinguishes a network: its name, counts for people, and a hash of its layers."""
    return {
        "name": network.name,
        "layers": len(network.layers),
        "macs": network.macs,
        "weight_elements": network.weight_elements,
        "sha256": hash_of(told(network).encode()),
    }


def of_technology(technology: Technology) -> dict[str, Any]:
    """Every constant by its name, notes on sources aside."""
    return {f.name: getattr(technology, f.name) for f in fields(technology) if f.name != "notes"}


def technology_of(constants: Mapping[str, Any]) -> Technology:
    """The technology of what `of_technology` gave; a constant that came later is as it ships at that node."""
    return replace(_as_shipped(constants), **constants)


def _as_shipped(constants: Mapping[str, Any]) -> Technology:
    """The technology that ships at the node of these constants; at 45 nm where none does."""
    node_nm = constants.get("node_nm")
    shipped = Technology.at(node_nm) if node_nm in NODES_NM else Technology()
    return replace(shipped, notes=())


def of_space(space: DesignSpace) -> dict[str, Any]:
    """The name, and what decides the designs: levels of every variable, and the value of every other parameter."""
    return {"name": space.name, **space.content()}


def of_probes(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Probe values as texts that read back to the bit, and the environment that made them."""
    texts = {name: " ".join(map(repr, np.ravel(array).tolist())) for name, array in values.items()}
    return {"environment": environment(), "values": texts}


def of_model(problem: SearchProblem) -> dict[str, Any]:
    """What decides the numbers of every design of a problem's space, as JSON values."""
    found = {
        "problem": problem.describe(),
        "space": of_space(problem.space),
        "probes": of_probes(problem.probe_values()),
    }
    return json.loads(json.dumps(found))


def same_environment(identity: Mapping[str, Any]) -> bool:
    """Whether the numbers of an identity were made here, so that bits can be compared."""
    return identity["probes"].get("environment") == environment()


# ---------------------------------------------------------------------------------------------------------------------
# Differences in words.


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What distinguishes two identities, a few words each: ``seed 1 there, 2 now``; empty for the same run."""
    special = {"problem": _problem, "space": _space, "probes": _probes}
    lines = []
    there, here = ({key: x if key == "probes" else _whole(x) for key, x in each.items()} for each in (there, here))
    for key in [*there, *(k for k in here if k not in there)]:
        if key == "search":
            if there.get(key) != here.get(key):
                lines.append(f"search {there.get(key, PLAIN)} there, {here.get(key, PLAIN)} now (plain=True, --plain)")
        elif key in special and key in there and key in here:
            lines += special[key](there[key], here[key])
        elif there.get(key) != here.get(key):
            lines.append(_both(_WORDS.get(key, key), there.get(key), here.get(key)))
    return lines


def _whole(value: Any) -> Any:
    """The value with the fields of dataflows' options that it lacks, as their defaults."""
    if isinstance(value, list):
        return [_whole(x) for x in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"name", "options"} and isinstance(value["options"], list):
        return value | {"options": [_OPTION | x if isinstance(x, dict) else x for x in value["options"]]}
    return {key: _whole(x) for key, x in value.items()}


_OPTION = json.loads(json.dumps({f.name: f.default for f in fields(SpatialOption) if f.default is not MISSING}))
"""Defaults of an option of a dataflow, as JSON values."""


def _both(what: str, there: Any, here: Any) -> str:
    if what == _WORDS["warm_start_sha256"]:
        return f"the {what} are others" if there and here else f"{what}: {_yes(there)} there, {_yes(here)} now"
    return f"{what} {_short(there)} there, {_short(here)} now"


def _yes(value: Any) -> str:
    return "some" if value else "none"


def _short(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, dict):
        value = ", ".join(f"{key} {_short(x)}" for key, x in value.items() if key != "sha256")
    elif isinstance(value, list):
        value = ", ".join(map(_short, value)) or "none"
    elif isinstance(value, bool):
        value = "on" if value else "off"
    text = "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _problem(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    if there.get("class") != here.get("class"):
        return [_both("problem", there.get("class"), here.get("class"))]
    lines = []
    for key in [*there, *(k for k in here if k not in there)]:
        a, b = there.get(key), here.get(key)
        if a == b or (key == "network" and there.get("networks") and here.get("networks")):
            continue
        if key == "attributes" and isinstance(a, dict) and isinstance(b, dict):
            lines += [_both(name, a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)]
        elif key == "technology" and isinstance(a, dict) and isinstance(b, dict):
            lines += _technology(a, b)
        elif key == "networks":
            lines += _networks(a or [], b or [])
        elif key.endswith("_sha256"):
            lines.append(f"{key.removesuffix('_sha256').replace('_', ' ')} of another content")
        else:
            lines.append(_both(key, a, b))
    return lines


def _technology(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    if there.get("name") != here.get("name"):
        return [_both("technology", there.get("name"), here.get("name"))]
    there, here = (of_technology(_as_shipped(each)) | {**each} for each in (there, here))
    changed = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    more = [f"{len(changed) - 2} more constants of the technology"] if len(changed) > 2 else []
    return [_both(f"{name} of the technology", there.get(name), here.get(name)) for name in changed[:2]] + more


def _networks(there: list[dict[str, Any]], here: list[dict[str, Any]]) -> list[str]:
    names = [[each.get("name") for each in networks] for networks in (there, here)]
    if names[0] != names[1]:
        return [_both("network" if max(map(len, names)) == 1 else "networks", *names)]
    lines = []
    for a, b in zip(there, here, strict=True):
        if a == b:
            continue
        counts = [_both(key, a.get(key), b.get(key)) for key in ("layers", "macs", "weight_elements")
                  if a.get(key) != b.get(key)]  # fmt: skip
        lines.append(f"network {a['name']} has other layers ({'; '.join(counts) or 'as many, of other shapes'})")
    return lines


def _space(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The name is not part of what is compared, but the first that is told."""
    if {**there, "name": ""} == {**here, "name": ""}:
        return []
    if there.get("name") != here.get("name"):
        return [_both("space", there.get("name"), here.get("name"))]
    lines = []
    for part, word in (("variables", "levels of"), ("base", "fixed")):
        a, b = there.get(part, {}), here.get(part, {})
        lines += [
            _both(f"{word} {name}", a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)
        ]
    where = f"in the space {here.get('name')} "
    if not lines:
        return [f"{where}the variables come in another order"]
    return [where + line for line in lines[:2]] + ([f"{len(lines) - 2} more of the space"] if len(lines) > 2 else [])


def _probes(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The first number of the model that changed, and how many did."""
    room = 0.0 if there.get("environment") == here["environment"] else ELSEWHERE
    first, changed, total, worst = "", 0, 0, 0.0
    before = there.get("values", {})
    for name in [*here["values"], *(name for name in before if name not in here["values"])]:
        now = np.array(here["values"].get(name, "").split(), dtype=float)
        try:
            was = np.array(before.get(name, "").split(), dtype=float)
        except ValueError:
            return [f"the model's {name} are no numbers there"]
        if was.shape != now.shape:
            return [f"the model's {name} was of {was.size} probes, is of {now.size}"]
        if not np.isfinite(was).all():
            return [f"the model's {name} are not all finite there"]
        off = np.abs(now - was) / np.maximum(np.maximum(np.abs(now), np.abs(was)), np.finfo(float).tiny)
        wrong = np.flatnonzero(~(off <= room))
        changed, total = changed + len(wrong), total + now.size
        if len(wrong):
            worst = max(worst, float(off[wrong].max()))
            first = first or f"{name} of probe {wrong[0]} was {_digits(was, now, wrong[0])}"
    if not first:
        return []
    how = f"{changed:,} of {total:,} values differ, by {100 * worst:.2g} % at most"
    return [f"the model computes other numbers: {first} ({how})"]


def _digits(was: np.ndarray, now: np.ndarray, at: int) -> str:
    """``1,204, is 1,188``: as few digits as tell the two apart."""
    a, b = float(was[at]), float(now[at])
    for form in (",.0f",) * (min(abs(a), abs(b)) >= 1000) + (".5g", ".8g", ".12g"):
        texts = f"{a:{form}}", f"{b:{form}}"
        if texts[0] != texts[1]:
            return f"{texts[0]}, is {texts[1]}"
    return f"{a!r}, is {b!r}"
