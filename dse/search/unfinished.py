"""A run that is at work or was interrupted, as far as it is on disk: its front so far, without a write to it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np

from dse.runs.files import RunDirectoryError, checked_path
from dse.runs.run_directory import as_written, is_at_work, read_manifest
from dse.runs.tables import table_of
from dse.search.exploration import Exploration
from dse.search.pareto import non_dominated


def is_unfinished(directory: str | os.PathLike) -> bool:
    """Whether a run's directory holds no result yet: the run is at work, or was interrupted."""
    return read_manifest(checked_path(directory, "directory")).get("status") not in ("finished", "stopped")


def front_so_far(directory: str | os.PathLike) -> Exploration:
    """The designs that an unfinished run has evaluated so far, and their front; `stopped_because` says how far it is.

    A line that is being written is left out.  Raises RunDirectoryError where no design is there yet.
    """
    path = checked_path(directory, "directory")
    content = read_manifest(path)
    texts = {name: _whole_lines(path / name) for name in ("designs.csv", "random_twin.csv")}
    texts = {name: text for name, text in texts.items() if text.count(b"\n") > 1}
    if "designs.csv" not in texts:
        raise RunDirectoryError(f"{path}: no design is evaluated yet; look again in a moment")
    with as_written(path):
        names = tuple(content["identity"]["problem"]["objectives"])
        budget = int(content["identity"]["evaluations"])
    table = table_of(path / "designs.csv", texts["designs.csv"])
    lacking = [column for column in ("generation", *names, "feasible") if column not in table]
    if lacking:
        raise RunDirectoryError(
            f"{path}: designs.csv lacks the columns {', '.join(lacking)}: it is not the log of a run"
        )
    objectives, feasible = table[list(names)].to_numpy(float), np.flatnonzero(table["feasible"])
    front = feasible[non_dominated(objectives[feasible])]
    front = front[np.lexsort(objectives[front].T[::-1])]
    lines = texts["designs.csv"].splitlines(keepends=True)
    texts["front.csv"] = b"".join([lines[0], *(lines[i + 1] for i in front)])
    state = "it is at work" if is_at_work(path) else "it was interrupted"
    done = len(objectives)
    return Exploration(
        objective_names=names,
        stopped_because=f"{state}; {done:,} of {budget:,} designs so far",
        finished=False,
        evaluations=done,
        generations=int(table["generation"].max()),
        hypervolume={},
        normalisation=None,
        directory=path,
        manifest=content,
        notes=(),
        texts={name: partial(bytes, text) for name, text in texts.items()},
    )


def _whole_lines(path: Path) -> bytes:
    """The text of a file as far as its last whole line; empty where there is none."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return b""
    return text[: text.rfind(b"\n") + 1]
