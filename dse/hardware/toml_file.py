"""Reading and writing the framework's TOML files, with errors that name the file, the key and the fix."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read_toml(path: str | Path, tables: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The file's tables by name; a table that is not there is empty, one that is not in `tables` is an error."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    tables = tuple(tables)
    for name, value in content.items():
        check_known(name, tables, f"{path}: table")
        if not isinstance(value, dict):
            raise ValueError(f"{path}: expected a table [{name}], got {name} = {value!r}")
    return {name: content.get(name, {}) for name in tables}


def check_known(name: str, known: Iterable[str], where: str) -> None:
    """Raise a ValueError that suggests the nearest known name if `name` is not one of them."""
    known = list(known)
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise ValueError(f"{where} {name!r} is unknown; {hint}")


def toml_value(value: object) -> str:
    """A bool, number, string or list of them as TOML text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(x) for x in value)}]"
    raise ValueError(f"cannot write {value!r} to TOML")
