"""Dataflows as tables of a TOML file, of a space or beside a design, and back from plain values.

[dataflows.rows_of_pixels]
options = [
    {rows = ["C", "FY"], cols = ["OX4", "K<=8"], stationary = ["W", "O"], dram_orders = ["PKR"]},
]

Other keys have their default where they are left out; see `SpatialOption`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from dse.hardware.dataflow import Dataflow, SpatialOption, own_dataflows, plain_options
from dse.networks.toml_file import check_known, toml_key, toml_value

KEYS = tuple(f.name for f in fields(SpatialOption))
NEEDED = KEYS[:3]
LISTS = (*NEEDED, "dram_orders")
TEXTS = ("once", "bypass")
"""Keys of an option; those that every option has; those that are a list of texts, and a text; others are true or false.
"""


def dataflows_of(tables: Mapping[str, object]) -> dict[str, Dataflow]:
    """The dataflows of a file's table ``[dataflows]``, by name.

    Raises ValueError that names table, option and key, and for the name of a built-in dataflow with other options.
    """
    found = {}
    for name, entries in tables.items():
        where = f"[dataflows.{toml_key(name)}]"
        if not isinstance(entries, dict):
            raise ValueError(f"{where}: expected a table with options, got {entries!r}")
        for key in entries:
            check_known(key, ("options",), f"{where}: key")
        options = entries.get("options")
        if not isinstance(options, list) or not options:
            got = "none" if options is None else repr(options)
            raise ValueError(
                f'{where}: options must be a list of at least one {{rows = ["C"], cols = ["K"], stationary = ["W"]}}, '
                f"got {got}"
            )
        try:
            found[name] = Dataflow(name, tuple(_option(option, f"option {i}") for i, option in enumerate(options)))
            own_dataflows([found[name]])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return found


def _option(entries: object, where: str) -> SpatialOption:
    if not isinstance(entries, dict):
        raise ValueError(f'{where}: expected {{rows = ["C"], cols = ["K"], stationary = ["W"]}}, got {entries!r}')
    for key, value in entries.items():
        check_known(key, KEYS, f"{where}: key")
        if key in LISTS and not (isinstance(value, list) and all(isinstance(x, str) for x in value)):
            raise ValueError(f'{where}: {key} must be a list of texts such as ["C"], got {value!r}')
        if key in TEXTS and not isinstance(value, str):
            raise ValueError(f'{where}: {key} must be a text such as "W", got {value!r}')
        if key not in (*LISTS, *TEXTS) and not isinstance(value, bool):
            raise ValueError(f"{where}: {key} must be true or false, got {value!r}")
    missing = [key for key in NEEDED if key not in entries]
    if missing:
        raise ValueError(f"{where}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    values: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in entries.items()}
    try:
        return SpatialOption(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def dataflow_of_plain(value: object) -> Dataflow | str:
    """What `dse.hardware.dataflow.plain_dataflow` made plain; a name stays a name.

    Raises ValueError for what is neither a name nor ``{"name": ..., "options": [...]}``.
    """
    if isinstance(value, str):
        return value
    if not (isinstance(value, Mapping) and set(value) == {"name", "options"} and isinstance(value["name"], str)):
        raise ValueError(f"expected a dataflow as a name or as name and options, got {value!r}")
    return dataflows_of({value["name"]: {"options": value["options"]}})[value["name"]]


def toml_lines(dataflows: Iterable[Dataflow]) -> list[str]:
    """Tables ``[dataflows.NAME]`` that `dataflows_of` reads back equal, each with an empty line before it."""
    lines = []
    for flow in dataflows:
        options = [_written(option) for option in plain_options(flow)]
        lines += ["", f"[dataflows.{toml_key(flow.name)}]", "options = ["]
        lines += [*(f"    {toml_value(option)}," for option in options), "]"]
    return lines


def _written(option: Mapping[str, object]) -> dict[str, object]:
    """The keys of an option, flags only where they are set."""
    return {key: value for key, value in option.items() if value is not False}
