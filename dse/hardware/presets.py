"""Published accelerators as designs: every parameter that is set, its source, and the node of the chip.

A preset is a file of ``dse/data/presets``: a table ``[chip]`` (title, node, what the model does not
express), ``[accelerator]`` (parameters that differ from `Accelerator()`) and ``[sources]`` by parameter.
A source that starts with ``assumed`` is a choice, not a published figure.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from dse.hardware import node_scaling as scaling
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology
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


def preset_technology(name: str) -> Technology:
    """The built-in technology nearest in ratio to the chip's node: 14 nm gives 16 nm."""
    node_nm = _tables(name)["chip"]["technology_nm"]
    return Technology.at(min(scaling.NODES_NM, key=lambda known: abs(math.log(known / node_nm))))


@cache
def _tables(name: str) -> dict[str, dict[str, Any]]:
    check_known(name, PRESETS, "preset")
    with as_file(_DIRECTORY / f"{name}.toml") as path:
        tables = read_toml(path, ("chip", "accelerator", "sources"))
    parameters = list(Accelerator().parameters())
    for parameter in (*tables["accelerator"], *tables["sources"]):
        check_known(parameter, parameters, f"preset {name}: parameter")
    unsourced = sorted(tables["accelerator"].keys() ^ tables["sources"].keys())
    if unsourced:
        raise ValueError(f"preset {name}: [accelerator] and [sources] must list the same; differ in {unsourced[0]}")
    return tables
