"""A run's directory: its manifest, who may write into it, and writes that are whole or absent.

`manifest.json` is written first and updated at the end.  Its part `identity` holds everything that decides the
designs and their numbers; a run continues only in a directory with an equal identity.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

MANIFEST = "manifest.json"
RUN_FILES = (
    MANIFEST, "designs.csv", "random_twin.csv", "front.csv", "exact_front.csv", "convergence.csv", "columns.csv",
    "space.toml", "sweep.json", "price_of_generality.csv",
)  # fmt: skip
FIGURE_FILES = ("front.pdf", "front.png", "convergence.png", "breakdown.png")
"""Files that a run and its figures own; `overwrite=True` removes these and no other."""

VERSIONED = ("numpy", "numba", "pymoo", "moocore")


class RunDirectoryError(ValueError):
    """A run's directory cannot be used; the message says why and what to do."""


def versions() -> dict[str, str]:
    """Versions of what can change the numbers or the path of a search."""
    found = {"dse": getattr(sys.modules["dse"], "__version__", "unknown")}
    found |= {"python": ".".join(map(str, sys.version_info[:2])), "machine": platform.machine()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def hash_of_modules(names: tuple[str, ...]) -> str:
    """SHA-256 over the source of the named modules and all they import from their own packages, directly or not.

    A module that does not exist counts as absent.
    """
    sources: dict[str, bytes] = {}
    queue = list(names)
    while queue:
        name = queue.pop()
        if name in sources:
            continue
        path = _source_file(name)
        sources[name] = b"absent" if path is None else path.read_bytes()
        queue += [other for other in _imports(sources[name], name.partition(".")[0]) if _source_file(other) is not None]
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + sources[name] + b"\0")
    return digest.hexdigest()


def _source_file(module: str) -> Path | None:
    """The file of a module, found without importing it."""
    package, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    stem = origin.parent.joinpath(*parts)
    candidates = [stem.with_suffix(".py"), stem / "__init__.py"] if parts else [origin]
    return next((path for path in candidates if path.is_file()), None)


def _imports(source: bytes, package: str) -> set[str]:
    """Names of a package's modules that this source may import; the package itself is left out."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith(f"{package}.")}


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


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """What differs between two JSON values, one line each: ``seed: 1 there, 2 here``."""
    if isinstance(there, dict) and isinstance(here, dict):
        lines = []
        for key in [*there, *(k for k in here if k not in there)]:
            lines += differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
        return lines
    return [] if there == here else [f"{name}: {_short(there)} there, {_short(here)} now"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


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


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a run; an error when there is none or it is not one."""
    path = Path(directory) / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunDirectoryError(f"{directory} holds no {MANIFEST}: it is not the directory of a run") from None
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"cannot read {path}: {error}; restore it or start with overwrite=True") from error
    if not isinstance(content, dict) or not isinstance(content.get("identity"), dict):
        raise RunDirectoryError(f"{path} is not the manifest of a run; choose another directory")
    return content


@contextlib.contextmanager
def as_written(directory: str | os.PathLike) -> Iterator[None]:
    """Inside, whatever the manifest of a run lacks or has in another form is one error that names the file."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is not as it was written ({error})"
        raise RunDirectoryError(
            f"{Path(directory) / MANIFEST} {what}; restore it or start again with overwrite=True"
        ) from error


class RunDirectory:
    """The directory of one run, claimed for one identity.

    Parameters
    ----------
    path : made when missing.
    identity : what decides the run, JSON values.
    overwrite : throw away another run found there.

    After construction `manifest` is what was found there (empty for a new run).  Use it as a context: inside,
    a lock keeps a second process out.
    """

    def __init__(self, path: str | os.PathLike, identity: dict[str, Any], overwrite: bool = False) -> None:
        self.path = Path(path)
        self.identity = identity
        self.manifest: dict[str, Any] = {}
        self._lock: int | None = None
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            found = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
        self._overwrite = overwrite
        if overwrite:
            return
        if MANIFEST in found:
            self.manifest = read_manifest(self.path)
            self._check_identity()
        elif found:
            raise RunDirectoryError(
                f"{self.path} holds files but no run ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''}); "
                "choose an empty directory, or overwrite=True to write beside them"
            )

    def _check_identity(self) -> None:
        lines = differences(self.manifest["identity"], self.identity)
        if lines:
            more = f"; and {len(lines) - 4} more" if len(lines) > 4 else ""
            raise RunDirectoryError(
                f"{self.path} holds another run: {'; '.join(lines[:4])}{more}. Choose another directory, or throw that "
                f"run away with overwrite=True; its designs can start a run elsewhere by warm_start={str(self.path)!r}"
            )

    def _remove_run(self) -> None:
        with writing(self.path):
            # the manifest last: what is left of a killed overwrite is a run
            for name in (*FIGURE_FILES, *RUN_FILES[1:], MANIFEST):
                (self.path / name).unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        """Whether a whole run with this identity is there."""
        if self.manifest.get("status") != "finished":
            return False
        return all((self.path / name).is_file() for name in self.manifest.get("files", {}))

    def check_files(self) -> None:
        """Refuse a finished run whose files were changed afterwards."""
        for name, recorded in self.manifest.get("files", {}).items():
            if hash_of((self.path / name).read_bytes()) != recorded:
                raise RunDirectoryError(
                    f"{self.path / name} was changed after the run had finished; restore it, delete it to have it "
                    "made again, or start anew with overwrite=True"
                )

    def write(self, **entries: Any) -> None:
        """Update the manifest."""
        self.manifest = self.manifest | entries | {"identity": self.identity}
        write_whole(self.path / MANIFEST, (json.dumps(self.manifest, indent=1) + "\n").encode())

    def __enter__(self) -> RunDirectory:
        if fcntl is not None:
            with writing(self.path):
                self._lock = os.open(self.path, os.O_RDONLY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._lock)
                raise RunDirectoryError(f"another process is running in {self.path}; wait for it or end it") from None
        if self._overwrite:  # only now: the run may be another process's, at work
            self._remove_run()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
