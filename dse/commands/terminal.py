"""What a command writes to the terminal, and how it ends when something is wrong."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer

EXIT_ERROR, EXIT_INTERRUPTED = 1, 130


def console() -> Any:
    """Where tables are printed; a pipe is as wide as COLUMNS says, else 132 characters, without trailing blanks."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console()
    columns = os.environ.get("COLUMNS", "")
    return Console(file=_Piped(), width=int(columns) if columns.isdecimal() and int(columns) else 132)


class _Piped(io.StringIO):
    """Standard output, no terminal, without the blanks that end the lines of a table."""

    def write(self, text: str) -> int:
        sys.stdout.write(re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE))
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()


@dataclass(frozen=True)
class Loudness:
    """How much a command says beside its result: `quiet` nothing, `verbose` also times and tracebacks."""

    quiet: bool = False
    verbose: bool = False


_AS_USUAL = Loudness()
LOUDNESS: ContextVar[Loudness] = ContextVar("loudness", default=_AS_USUAL)
"""Of the command that runs."""


def wants_traceback() -> bool:
    """Whether an error shows where it was raised, and not only one line."""
    return LOUDNESS.get().verbose or bool(os.environ.get("DSE_TRACEBACK"))


def progress_screen() -> Any:
    """Where progress is shown, on stderr; nothing is shown where the command is to be quiet."""
    from rich.console import Console

    return Console(stderr=True, quiet=LOUDNESS.get().quiet)


def note(line: str) -> None:
    """One line on stdout that is not the result, unless the command is to be quiet."""
    if not LOUDNESS.get().quiet:
        say(line)


def say(line: str) -> None:
    """One line on stdout."""
    sys.stdout.write(f"{line}\n")


def is_stdout(path: Path | None) -> bool:
    """Whether a file to write is standard output: ``-``, or its device."""
    return path in (Path("-"), Path("/dev/stdout"))


def say_json(value: Any) -> None:
    """One JSON value on stdout: a data frame as a list of records, numbers as they are, NaN and infinity as null."""
    say(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def check_alone(json: bool, **others: object) -> None:
    """ValueError where ``--json`` stands beside an option that writes or prints something else."""
    if json and (beside := [name for name, value in others.items() if value]):
        raise ValueError(f"--json prints one value and nothing else: leave out --{beside[0]}, or --json")


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        value = value.to_dict("records")
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, in the words of the command line, and the exit code."""
    text = " ".join(str(message).split())
    text = (
        text.replace("overwrite=True", "--overwrite")
        .replace("warm_start=", "--warm-start ")
        .replace("mapping='best'", "--mapping best")
    )
    text = re.sub(r"give dims=\{[^}]*\} or ", "give ", text)
    sys.stdout.flush()
    sys.stderr.write(f"dse: {text}\n")
    raise typer.Exit(code)


def told(error: Exception) -> str:
    """An error in words, a file's name with it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    return str(error) or type(error).__name__
