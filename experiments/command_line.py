"""The command line of the experiments: an action and its values, or the first lines of the script as its usage."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

KINDS = {"int": int, "float": float, "str": str}
"""How the text of an argument is read, by the annotation of the parameter that takes it."""


def run(usage: str | None, *actions: Callable[..., object]) -> None:
    """Call the action that the command line names, the only one without a name, with its values.

    ``-h`` prints `usage` and ends with 0; what names no action, or not its values, prints it on stderr and ends with 2.
    """
    text, words = (usage or "").strip(), sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(text)
        return
    by_name = {action.__name__: action for action in actions}
    name, values = (actions[0].__name__, words) if len(actions) == 1 else (words[0] if words else "", words[1:])
    try:
        bound = _read(by_name[name], values)
    except (KeyError, TypeError, ValueError) as error:
        what = f"unknown action {name!r}\n" if name and name not in by_name else f"{error}\n" if name else ""
        sys.exit(_told(f"{what}{text}"))
    by_name[name](*bound.args, **bound.kwargs)


def _told(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def _read(action: Callable[..., object], values: list[str]) -> inspect.BoundArguments:
    """The values as the parameters of an action take them; TypeError or ValueError where they do not fit."""
    signature = inspect.signature(action)
    bound = signature.bind(*values)
    for name, given in bound.arguments.items():
        kind = KINDS[str(signature.parameters[name].annotation)]
        bound.arguments[name] = tuple(map(kind, given)) if isinstance(given, tuple) else kind(given)
    return bound
