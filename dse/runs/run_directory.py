"""A run's directory: its manifest, and who may write into it.

`manifest.json` is written first and updated at the end.  Its part `identity` holds everything that decides the
designs and their numbers (see `dse.runs.identity`); a run continues only in a directory of an equal identity.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dse.runs.files import RunDirectoryError, checked_path, hash_of, write_whole, writing
from dse.runs.identity import differences, same_environment, versions

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]  # how a module that may be absent is told

MANIFEST = "manifest.json"
RUN_FILES = (
    MANIFEST, "designs.csv", "random_twin.csv", "front.csv", "exact_front.csv", "convergence.csv", "columns.csv",
    "space.toml", "sweep.json", "front_energy.csv",
)  # fmt: skip
FIGURE_ENDINGS = (".png", ".pdf", "_wide.pdf")
RUN_FIGURES = tuple(
    f"{stem}{ending}" for stem in ("front", "convergence", "breakdown", "parallel") for ending in FIGURE_ENDINGS
)
FIGURE_FILES = (*RUN_FIGURES, *(f"sensitivity{ending}" for ending in FIGURE_ENDINGS))
FRONT_COMPLETE = "front_complete.csv"
"""The front evaluated again with the complete mapper (`dse.search.remapping`): a file that a run may lack."""
CERTIFICATE, CERTIFIED_BOXES, CERTIFIED_FRONT = "certificate.json", "certificate_boxes.npz", "certified_front.csv"
"""What a proof about the front writes (`dse.proof.certificate`): files that a run may lack."""
SENSITIVITY = "sensitivity.csv"
"""Which designs of the front survive wrong constants (`dse.analysis.front_sensitivity`): likewise."""
TABLE_FILES = (
    "price_of_generality.csv", FRONT_COMPLETE, SENSITIVITY, CERTIFICATE, CERTIFIED_BOXES, CERTIFIED_FRONT,
)  # fmt: skip
"""Files that a run, its figures and the problems that ship own; `overwrite=True` removes these and `tables_of`, and no
other."""


def is_plain_name(name: object) -> bool:
    """Whether a text is the name of a file that is not hidden, and no path."""
    return isinstance(name, str) and re.fullmatch(r"[^./\\\0][^/\\\0]*", name) is not None


def tables_of(content: Mapping[str, Any]) -> list[str]:
    """Names of the tables that a manifest lists, those of the `tables` of a problem of one's own among them.

    Plain names only: a manifest names no file of another directory.
    """
    return [name for name in content.get("files", {}) if is_plain_name(name)]


def checked_tables(owner: str, tables: Any) -> dict[str, bytes]:
    """What `tables` of a problem of the class `owner` gave: texts by names of files that no run has itself.

    Raises ValueError that says what to write instead.
    """
    if not isinstance(tables, Mapping):
        raise ValueError(
            f"{owner}.tables() returned {type(tables).__name__}, expected texts as bytes by name of a file"
        )
    for name, text in tables.items():
        if not is_plain_name(name):
            raise ValueError(f"{owner}.tables(): {name!r} is no plain name of a file; write it as 'mine.csv'")
        if name in (*RUN_FILES, *FIGURE_FILES):
            raise ValueError(f"{owner}.tables(): {name} is a file that every run has; choose another name")
        if not isinstance(text, bytes):
            raise ValueError(f"{owner}.tables(): {name} is {type(text).__name__}, expected bytes: a text's .encode()")
    return dict(tables)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a run; an error when there is none or it is not one."""
    path = checked_path(directory, "directory") / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunDirectoryError(f"{directory} holds no {MANIFEST}: it is not the directory of a run") from None
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"cannot read {path}: {error}; restore it or start with overwrite=True") from error
    if not isinstance(content, dict) or not isinstance(content.get("identity"), dict):
        raise RunDirectoryError(f"{path} is not the manifest of a run; choose another directory")
    for name, kinds in _FORMS.items():
        if name in content and not isinstance(content[name], kinds):
            raise RunDirectoryError(
                f"{path}: {name} is not as it was written; restore it or start again with overwrite=True"
            )
    return content


_FORMS: dict[str, type | tuple[type, ...]] = {
    "files": dict,
    "fixed_parameters": dict,
    "space": dict,
    "versions": dict,
    "wall_time_s": (int, float),
    "ended": str,
    "status": str,
}
"""Entries of a manifest that are read without a look at their form, and what they are."""


def is_at_work(directory: Path) -> bool:
    """Whether a process writes into a run's directory now; False where the system has no locks."""
    if fcntl is None:
        return False
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def written_here() -> str:
    """Version of this library."""
    return versions()["accelerator-dse"]


def written_by(content: dict[str, Any]) -> str:
    """Version of the library that wrote a manifest."""
    versions = content.get("versions") or content.get("identity", {}).get("versions") or {}
    return str(versions.get("accelerator-dse") or versions.get("dse") or "0.1.0")


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


def _plain(value: Any) -> Any:
    """A number of numpy as JSON can hold it."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} is no JSON value")


class RunDirectory:
    """The directory of one run, claimed for one identity.

    Parameters
    ----------
    path : made when missing.
    identity : what decides the run, JSON values.
    overwrite : throw away another run found there.

    After construction `manifest` is what was found there (empty for a new run).  Use it as a context: inside,
    a lock keeps a second process out, and what is there is read and checked again.
    """

    def __init__(self, path: str | os.PathLike, identity: dict[str, Any], overwrite: bool = False) -> None:
        self.path = checked_path(path, "out")
        self.identity = self._wanted = identity
        self.manifest: dict[str, Any] = {}
        self._lock: int | None = None
        self._overwrite = overwrite
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if not overwrite:
            self._look()

    def _look(self) -> None:
        """Take over the run that is there; refuse another one, and files that are no run's."""
        self.identity, self.manifest = self._wanted, {}
        with writing(self.path):
            found = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
        if MANIFEST in found:
            self.manifest = read_manifest(self.path)
            self._check_identity()
        elif found:
            raise RunDirectoryError(
                f"{self.path} holds files but no run ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''}); "
                "choose an empty directory, or overwrite=True to write beside them"
            )

    def _check_identity(self) -> None:
        found = self.manifest["identity"]
        if "probes" not in found and written_by(self.manifest) == written_here():
            raise RunDirectoryError(
                f"{self.path / MANIFEST} lacks the identity of its run; restore it or start again with overwrite=True"
            )
        if "probes" not in found:
            raise RunDirectoryError(
                f"{self.path} holds a run of version {written_by(self.manifest)}, which this version cannot continue. "
                f"Choose another directory; its designs can start a run there by warm_start={str(self.path)!r}"
            )
        with as_written(self.path):
            lines = differences(found, self.identity)
        if lines:
            more = f"; and {len(lines) - 4} more" if len(lines) > 4 else ""
            raise RunDirectoryError(
                f"{self.path} holds another run: {'; '.join(lines[:4])}{more}. Choose another directory, or throw that "
                f"run away with overwrite=True; its designs can start a run elsewhere by warm_start={str(self.path)!r}"
            )
        self.identity = found  # numbers that another machine wrote keep its bits

    @property
    def exact(self) -> bool:
        """Whether what is there was computed with the same processor and libraries, so that bits must be equal."""
        return same_environment(self.identity)

    def _remove_run(self) -> None:
        try:
            tables = tables_of(read_manifest(self.path))
        except RunDirectoryError:  # none, or none that can be read
            tables = []
        with writing(self.path):
            # the manifest last: what is left of a killed overwrite is a run
            for name in (*FIGURE_FILES, *TABLE_FILES, *tables, *RUN_FILES[1:], MANIFEST):
                (self.path / name).unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        """Whether a whole run with this identity is there."""
        if self.manifest.get("status") != "finished":
            return False
        return all((self.path / name).is_file() for name in tables_of(self.manifest) if name != FRONT_COMPLETE)

    def check_files(self) -> None:
        """Refuse a finished run whose files were changed afterwards."""
        for name in tables_of(self.manifest):
            if name == FRONT_COMPLETE and not (self.path / name).is_file():
                continue
            if hash_of((self.path / name).read_bytes()) != self.manifest["files"][name]:
                raise RunDirectoryError(
                    f"{self.path / name} was changed after the run had finished; restore it, delete it to have it "
                    "made again, or start anew with overwrite=True"
                )

    def write(self, **entries: Any) -> None:
        """Update the manifest."""
        self.manifest = self.manifest | entries | {"identity": self.identity}
        write_whole(self.path / MANIFEST, (json.dumps(self.manifest, indent=1, default=_plain) + "\n").encode())

    def __enter__(self) -> RunDirectory:
        if fcntl is not None:
            with writing(self.path):
                self._lock = os.open(self.path, os.O_RDONLY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._lock)
                raise RunDirectoryError(f"another process is running in {self.path}; wait for it or end it") from None
        try:  # only now: what was there before the lock may be another process's, at work
            if self._overwrite:
                self._remove_run()
            else:
                self._look()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
