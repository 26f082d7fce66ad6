"""The result of a search, and the small computations that turn logs into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dse.runs.design_log import RunLog
from dse.runs.files import RunDirectoryError, checked_path
from dse.runs.problem_protocol import Evaluated
from dse.runs.run_directory import RUN_FILES, TABLE_FILES, as_written, read_manifest, tables_of
from dse.runs.tables import Table, frame
from dse.search.pareto import Normalisation, RunningFront, non_dominated


@dataclass(frozen=True)
class Progress:
    """What `explore(progress=...)` is called with after each generation.

    Parameters
    ----------
    stage : "search", or "sweep", "remap" or "sensitivity" (then generation is 0 and the hypervolume NaN).
    generation : from 1.
    evaluations, budget : unique designs so far and at most [1].
    front_size : feasible non-dominated designs so far [1].
    hypervolume, random_hypervolume : of the search and of its random twin (NaN without one), on a scale fixed
        by the first generation with a feasible design.  A running value: the final one has another scale.
    elapsed_s : since the start of this call [s].
    replayed : designs read from the log of an interrupted run so far.
    """

    stage: str
    generation: int
    evaluations: int
    budget: int
    front_size: int
    hypervolume: float
    random_hypervolume: float
    elapsed_s: float
    replayed: int


@dataclass(frozen=True)
class Exploration:
    """What a search found.

    Parameters
    ----------
    objective_names : minimised.
    stopped_because : in words.
    finished : False when a time limit ended it; the same call into the same directory continues.
    evaluations, generations : unique designs evaluated by the search, generations [1].
    hypervolume : by source ("nsga2", "random", "exhaustive"): dominated share of the box in `normalisation`.
    normalisation : the box around the front of everything evaluated; common to all sources.
    directory : of the run, or None.
    manifest : what was written there.
    notes : what was unusual, in words.
    texts : gives the CSV text, by file name.

    The tables `designs`, `front`, `random_twin`, `exact_front` and `convergence` are data frames; their columns are
    in `dse.runs.tables.COLUMNS`.
    """

    objective_names: tuple[str, ...]
    stopped_because: str
    finished: bool
    evaluations: int
    generations: int
    hypervolume: dict[str, float]
    normalisation: Normalisation | None
    directory: Path | None
    manifest: dict[str, Any]
    notes: tuple[str, ...]
    texts: dict[str, Callable[[], bytes]] = field(repr=False)

    @cached_property
    def designs(self) -> Table:
        """Every design the search evaluated, in order."""
        return frame(self.texts["designs.csv"]())

    @cached_property
    def front(self) -> Table:
        """The feasible non-dominated designs of all evaluated, sorted by the first objective."""
        return frame(self.texts["front.csv"]())

    @cached_property
    def random_twin(self) -> Table | None:
        """Every design of the random search at equal budget, if it ran."""
        return frame(self.texts["random_twin.csv"]()) if "random_twin.csv" in self.texts else None

    @cached_property
    def exact_front(self) -> Table | None:
        """The front of the whole space, if it was swept."""
        return frame(self.texts["exact_front.csv"]()) if "exact_front.csv" in self.texts else None

    @cached_property
    def convergence(self) -> Table:
        """Front size and hypervolume of each source after each generation."""
        return frame(self.texts["convergence.csv"]())


def front_rows(log: RunLog) -> np.ndarray:
    """Rows of the log on the front of all feasible designs, sorted by the first objective, equal ones once."""
    if len(log) == 0:
        return np.empty(0, dtype=np.int64)
    rows = log.table()[2]
    feasible = np.flatnonzero(rows.feasible)
    front = feasible[non_dominated(rows.objectives[feasible])]
    return front[np.lexsort(rows.objectives[front].T[::-1])]


def common_scale(points: list[np.ndarray]) -> Normalisation | None:
    """The box around the front of all the points (each (n, m)); None without a point."""
    union = np.concatenate(points)
    return Normalisation.from_points(union[non_dominated(union)]) if len(union) else None


def constraint_notes(labels: tuple[str, ...], rows: Evaluated) -> list[str]:
    """What the constraints of all evaluated designs, at least one, tell of the run, in words."""
    notes = []
    for label, values in zip(labels[1:], rows.constraints.T[1:], strict=True):
        if set(np.unique(values)) == {0.0, 1.0}:
            notes.append(
                f"constraint {label!r} is 0 (feasible) or 1 (infeasible) and nothing between. If it is a comparison of "
                "what is allowed, it is the wrong way round; value / limit - 1 is at most 0 where feasible, and tells "
                "the search how far off a design is"
            )
    if not rows.feasible.any():
        notes.append("no feasible design was found: every one has a constraint above 0")
    return notes


def convergence_rows(log: RunLog, scale: Normalisation | None) -> list[tuple[str, int, int, int, float]]:
    """(source, generation, evaluations, front size, hypervolume) after each generation of a log."""
    n_objectives = len(log.problem.objective_names)
    front, evaluations, rows = RunningFront(n_objectives), 0, []
    hypervolume = 0.0
    for generation, batch in log.batches():
        before = front.points
        keep = np.flatnonzero(batch.feasible)
        front.update(batch.objectives[keep], evaluations + keep)
        evaluations += len(batch)
        if scale is not None and not np.array_equal(front.points, before):
            hypervolume = scale.hypervolume(front.points)
        rows.append((log.source, generation, evaluations, len(front.points), hypervolume))
    return rows


class Meter:
    """Running front size and hypervolumes, on a scale fixed by the first generation with a feasible design."""

    def __init__(self, n_objectives: int) -> None:
        self.fronts = (RunningFront(n_objectives), RunningFront(n_objectives))
        self.scale: Normalisation | None = None

    def update(self, *batches: Evaluated | None) -> tuple[int, float, float]:
        """Add a generation of the search and of its twin; front size, the two hypervolumes."""
        feasible = [None if rows is None else rows.objectives[rows.feasible] for rows in batches]
        found = [F for F in feasible if F is not None and len(F)]
        if self.scale is None and found:
            self.scale = Normalisation.from_points(np.concatenate(found))
        values = []
        for front, F in zip(self.fronts, feasible, strict=True):
            if F is None:
                values.append(float("nan"))
                continue
            front.update(F, np.zeros(len(F), dtype=np.int64))
            values.append(self.scale.hypervolume(front.points) if self.scale else 0.0)
        return len(self.fronts[0].points), values[0], values[1]


def readers(path: Path, manifest: Mapping[str, Any]) -> dict[str, Callable[[], bytes]]:
    """What gives the text of each table in a run's directory, tables of a problem of one's own too."""
    names = dict.fromkeys((*RUN_FILES, *TABLE_FILES, *tables_of(manifest)))
    return {name: (path / name).read_bytes for name in names if (path / name).is_file()}


def load(directory: str | os.PathLike) -> Exploration:
    """The result of a run from its directory, finished or stopped by a time limit."""
    path = checked_path(directory, "directory")
    content = read_manifest(path)
    if "evaluations" not in content or content.get("status") not in ("finished", "stopped"):
        raise RunDirectoryError(f"the run in {path} was interrupted; run the same command again to continue it")
    lacking = [name for name in ("normalisation", "stopped_because", "generations", "hypervolume", "notes")
               if name not in content]  # fmt: skip
    if lacking or not (path / "front.csv").is_file():
        what = f"manifest.json lacks {', '.join(lacking)}" if lacking else "front.csv is gone"
        raise RunDirectoryError(f"{path}: {what}; restore it or run again with overwrite=True")
    scale = content["normalisation"]
    with as_written(path):
        return Exploration(
            objective_names=tuple(content["identity"]["problem"]["objectives"]),
            stopped_because=content["stopped_because"],
            finished=content["status"] == "finished",
            evaluations=content["evaluations"],
            generations=content["generations"],
            hypervolume={str(source): float(share) for source, share in content["hypervolume"].items()},
            normalisation=None if scale is None else Normalisation(**{k: tuple(v) for k, v in scale.items()}),
            directory=path,
            manifest=content,
            notes=tuple(content["notes"]),
            texts=readers(path, content),
        )
