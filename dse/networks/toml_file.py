"""Reading and writing the framework's TOML files, with errors that name the file, the key and the fix."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

DEEPEST = 50
"""Levels of tables and lists that a file may have."""


def read_toml(path: str | Path, tables: Iterable[str], lists: Iterable[str] = ()) -> dict[str, Any]:
    """What a file holds, by name: each of `tables` a dict, each of `lists` a list of dicts, empty where not there.

    Raises ValueError, one line with the name of the file: it cannot be read, is no TOML, is nested more than `DEEPEST`
    levels deep, holds a number beyond 64 bits, or a table of another name or kind.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        _check_sizes(content)
    except RecursionError:
        raise ValueError(f"{path}: not a TOML file: nested more than {DEEPEST} levels deep") from None
    except ValueError as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    tables, lists = tuple(tables), tuple(lists)
    for name, value in content.items():
        check_known(name, (*tables, *lists), f"{path}: table")
        if name in lists:
            if not (isinstance(value, list) and all(isinstance(entry, dict) for entry in value)):
                raise ValueError(f"{path}: expected tables [[{name}]], in double brackets, got {name} = {value!r:.60}")
        elif not isinstance(value, dict):
            raise ValueError(f"{path}: expected a table [{name}], got {name} = {value!r:.60}")
    return {name: content.get(name, {}) for name in tables} | {name: content.get(name, []) for name in lists}


def _check_sizes(content: object) -> None:
    """Raise a ValueError for what is nested too deeply and for whole numbers that TOML does not have."""
    values, level = [content], 0
    while values:
        if level > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} levels deep")
        level += 1
        inner: list[object] = []
        for value in values:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError("a whole number beyond 64 bits")
        values = inner


def own_by_name(values: Iterable[Any], shipped: Mapping[str, Any], kind: str, parts: str) -> dict[str, Any]:
    """Those of `values` that do not ship, by their ``name``; `kind`, `parts`: what they are and consist of, in words.

    Raises ValueError for two of one name that differ, those that ship included: files tell them by name.
    """
    own: dict[str, Any] = {}
    for value in values:
        if shipped.get(value.name) == value:
            continue
        if value.name in shipped:
            raise ValueError(
                f"{kind} {value.name!r} is not the {kind.split()[-1]} of this name that ships; rename it: files "
                "tell it by name"
            )
        if own.setdefault(value.name, value) != value:
            raise ValueError(
                f"two {kind}s are called {value.name!r} and have different {parts}; rename one: files tell it by name"
            )
    return own


def check_known(name: str, known: Iterable[str], where: str) -> None:
    """Raise a ValueError that suggests the nearest known name if `name` is not one of them."""
    known = list(known)
    if name in known:
        return
    plain = {str(other).lower(): other for other in known}
    near = difflib.get_close_matches(str(name).lower(), plain, n=1, cutoff=0.5)
    hint = f"did you mean {plain[near[0]]!r}?" if near else f"known are {', '.join(known)}"
    raise ValueError(f"{where} {name!r} is unknown; {hint}")


def toml_value(value: object) -> str:
    """A bool, number, string, or list or dict of them, as TOML text in one line; scalars of numpy as their value."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(x) for x in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{toml_key(key)} = {toml_value(x)}' for key, x in value.items())}}}"
    raise ValueError(f"cannot write {value!r} to TOML")


def toml_key(name: str) -> str:
    """A key as TOML text, in quotes where it needs them."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)
