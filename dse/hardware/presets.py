"""Published accelerators as designs: every parameter that is set, its source, and the node of the chip.

A preset is a file of ``dse/data/presets``: a table ``[chip]`` (title, node, what the model does not
express), ``[accelerator]`` (parameters that differ from `Accelerator()`) and ``[sources]`` by parameter.
A table ``[technology]``, with ``[technology_sources]``, has what the chip's own technology differs in from the one of
its node: constants of `Technology`, or ``leakage_class`` (`LEAKAGE_CLASSES`).  A source that starts with ``assumed`` is
a choice, not a published figure; a table ``[technology_ranges]`` has the least and the largest value it may well have.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from dse.hardware import node_scaling as scaling
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import LEAKAGE_CLASSES, Technology
from dse.networks.toml_file import check_known, read_toml

_DIRECTORY = files("dse") / "data" / "presets"

PRESETS: tuple[str, ...] = tuple(
    sorted(entry.name.removesuffix(".toml") for entry in _DIRECTORY.iterdir() if entry.name.endswith(".toml"))
)
"""The names that `preset` takes."""


def preset(name: str) -> Accelerator:
    """The design of that name; an unknown name or a bad file is a ValueError that names the fix."""
    tables = _tables(name)
    try:
        return Accelerator(**tables["accelerator"])
    except ValueError as error:
        raise ValueError(f"preset {name}: {error}") from None


def preset_sources(name: str) -> dict[str, str]:
    """Where each parameter that the preset sets is from; all others are the defaults of `Accelerator`."""
    return dict(_tables(name)["sources"])


def preset_chip(name: str) -> dict[str, Any]:
    """``title``, ``technology_nm`` [nm] and ``not_expressed``, what the chip has and the model lacks."""
    return dict(_tables(name)["chip"])


def preset_technology(name: str, node_nm: float | None = None) -> Technology:
    """The built-in technology nearest in ratio to the chip's node, 14 nm gives 16 nm, with what the chip chose itself.

    `node_nm`: another of the nodes of `Technology.at`; the chip keeps its choices there, but not its supply.
    `Technology.sources` names the preset for each.
    """
    tables = _tables(name)
    chip_nm = tables["chip"]["technology_nm"]
    own_nm = min(scaling.NODES_NM, key=lambda known: abs(math.log(known / chip_nm)))
    node_nm = own_nm if node_nm is None else node_nm
    chosen, sources = dict(tables["technology"]), dict(tables["technology_sources"])
    if node_nm != own_nm:
        chosen.pop("vdd_v", None), sources.pop("vdd_v", None)
    if "leakage_class" in chosen:
        leakage, source = chosen.pop("leakage_class"), sources.pop("leakage_class")
        check_known(leakage, LEAKAGE_CLASSES, f"preset {name}: leakage_class")
        for constant, (value, told, _) in LEAKAGE_CLASSES[leakage].items():
            chosen[constant], sources[constant] = value, f"{source}; class {leakage}: {told}"
    base = Technology.at(node_nm)
    notes = dict(base.notes) | {key: f"preset {name}: {text}" for key, text in sources.items()}
    return replace(base, **chosen, notes=tuple(notes.items()))


def preset_ranges(name: str, technology: Technology) -> dict[str, tuple[float, float]]:
    """`Technology.ranges` of a preset's `technology`, with the ranges of what the chip chose itself."""
    own = _tables(name)["technology_ranges"]
    chosen = {key: (low / (x := getattr(technology, key)), high / x) for key, (low, high) in own.items()}
    return technology.ranges() | chosen


@cache
def _tables(name: str) -> dict[str, dict[str, Any]]:
    check_known(name, PRESETS, "preset")
    with as_file(_DIRECTORY / f"{name}.toml") as path:
        names = ("chip", "accelerator", "sources", "technology", "technology_sources", "technology_ranges")
        tables = read_toml(path, names)
    parameters = list(Accelerator().parameters())
    for parameter in (*tables["accelerator"], *tables["sources"]):
        check_known(parameter, parameters, f"preset {name}: parameter")
    unsourced = sorted(tables["accelerator"].keys() ^ tables["sources"].keys())
    if unsourced:
        raise ValueError(f"preset {name}: [accelerator] and [sources] must list the same; differ in {unsourced[0]}")
    constants = ["leakage_class", *(f.name for f in fields(Technology))]
    for constant in (*tables["technology"], *tables["technology_sources"]):
        check_known(constant, constants, f"preset {name}: constant")
    if tables["technology"].keys() != tables["technology_sources"].keys():
        raise ValueError(f"preset {name}: [technology] and [technology_sources] must list the same")
    for constant in tables["technology_ranges"]:
        check_known(constant, tables["technology"], f"preset {name}: range of constant")
    return tables
