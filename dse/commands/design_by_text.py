"""Choosing one design by text: from a TOML file, from a run's directory, and with single parameters changed.

[design]                 # every parameter that differs from Accelerator()
rows = 32
cols = 32
dataflow = "row_stationary"

A dataflow of one's own is a table [dataflows.NAME] of the same file, see `dse.hardware.dataflow_file`; a DRAM type a
table [dram_types.NAME], see `dse.hardware.dram_types`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dse import __version__
from dse.commands.chosen import Chosen
from dse.commands.texts import named_once
from dse.hardware.accelerator import PARAMETERS, Accelerator, check_one_bandwidth
from dse.hardware.dataflow import own_dataflows
from dse.hardware.dataflow_file import toml_lines
from dse.hardware.dram_types import own_dram_types
from dse.hardware.dram_types import toml_lines as dram_lines
from dse.hardware.presets import PRESETS, preset, preset_technology
from dse.hardware.space import Own, own_of, with_own
from dse.hardware.variables import check_kind
from dse.networks.toml_file import check_known, read_toml, toml_value


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
        from dse.commands.design_of_run import design_of_run  # here: a preset need not wait for what reads runs

        chosen = design_of_run(*text.rsplit(":", 1))
    else:
        raise ValueError(
            f"design {text!r}: expected a .toml file, or a run's directory and a design in it, such as {text}:knee"
            f" or {text}:17, or a preset: {', '.join(PRESETS)}"
        )
    given = named_once("--set", settings, "parameter=value, such as rows=32")
    changes = {name: _value(name, text) for name, text in given.items()}
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
            _check_parameter(name)
            check_kind(name, (value,))
        design = Accelerator().with_parameters(with_own(tables["design"], own))
        check_one_bandwidth(tables["design"], design)
        return design, own
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_parameter(name: str) -> None:
    """ValueError for a parameter that this version does not have."""
    try:
        check_known(name, PARAMETERS, "[design] parameter")
    except ValueError as error:
        raise ValueError(f"{error} (this is dse {__version__}; a file of another version may have it)") from None


def toml_text(design: Accelerator) -> str:
    """What `from_toml` reads back equal; a dataflow that is not built in as a table ``[dataflows.NAME]``, a DRAM type
    likewise.

    Raises ValueError for a dataflow with the name of a built-in one and other options, and for such a DRAM type.
    """
    lines = [f"{name} = {toml_value(value)}" for name, value in design.parameters().items()]
    own = [*toml_lines(own_dataflows([design.dataflow]).values())]
    own += dram_lines(own_dram_types([design.dram_type]).values())
    return "\n".join(["[design]", *lines, *own, ""])


def _value(name: str, value: str) -> Any:
    """The value of a parameter from its text, of the parameter's kind."""
    check_known(name, PARAMETERS, "parameter")
    kind = type(getattr(Accelerator(), name))
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {value!r}")
        return value.lower() == "true"
    if kind in (int, float):
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"{name} must be a number, got {value!r}") from None
        return int(number) if number.is_integer() else number
    return value
