"""Files that are whole or absent, hashes, the time and the commit: what every writer of results needs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class RunDirectoryError(ValueError):
    """A run's directory cannot be used; the message says why and what to do."""


def checked_path(path: Any, what: str) -> Path:
    """The path; RunDirectoryError where it is none."""
    if not isinstance(path, str | os.PathLike):
        raise RunDirectoryError(f"{what}={path!r}: give the path of a directory, such as 'results/mine'")
    return Path(path)


def hash_of(value: Any) -> str:
    """SHA-256 of a value's JSON text, or of bytes."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def git_commit(directory: Path | None = None) -> str | None:
    """Commit of the repository that holds this package, "-dirty" with uncommitted changes; None outside one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=directory or Path(__file__).parent, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def now() -> str:
    """Time of day, UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError` into a `RunDirectoryError` that names the file and the fix."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"cannot write {path}: {error.strerror or error}; make room or choose another out directory. "
            "What is written is whole: the same command continues there"
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or as it was: a temporary file, fsync, rename."""
    if path.exists() and not path.is_file():  # a rename would replace a device or a folder
        raise RunDirectoryError(f"{path} is not a regular file; name another one")
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
