"""The result of a search, and the small computations that turn logs into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dse.runs.design_log import RunLog
from dse.runs.files import RunDirectoryError, checked_path
from dse.runs.problem_protocol import Evaluated, SearchProblem
from dse.runs.run_directory import RUN_FILES, TABLE_FILES, as_written, read_manifest, tables_of
from dse.runs.tables import Table, frame
from dse.search.balanced_designs import anchors
from dse.search.pareto import Normalisation, RunningFront, distances, non_dominated, spread
from dse.text.html import html_table
from dse.text.quantities import number

MOST_SHOWN = 10
"""Designs along a front that a notebook shows."""


@dataclass(frozen=True)
class Progress:
    """What `explore(progress=...)` is called with after each generation.

    Parameters
    ----------
    stage : "search", or "sweep", "remap" or "sensitivity" (then generation is 0 and the hypervolume NaN).
    generation : from 1.
    evaluations, budget : unique designs so far and at most [1].
    front_size : feasible non-dominated designs so far [1].
    hypervolume, random_hypervolume : of the search and of its random twin (NaN without one), on `fixed_scale`.
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


@dataclass(frozen=True, repr=False)
class Exploration:
    """What a search found.

    Parameters
    ----------
    objective_names : minimised.
    stopped_because : in words.
    finished : False when a time limit ended it; the same call into the same directory continues.
    evaluations, generations : unique designs evaluated by the search, generations [1].
    hypervolume : by source ("nsga2", "random", "exhaustive"): dominated share of the box in `normalisation`.
    normalisation : the box of `fixed_scale`, common to all sources and to every run of this space and network.
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
    texts: dict[str, Callable[[], bytes]]

    def __repr__(self) -> str:
        state = "" if self.finished else "unfinished "
        where = "in memory" if self.directory is None else f"in {self.directory}"
        what = f"{len(self.front):,} of {self.evaluations:,} designs on the front of {', '.join(self.objective_names)}"
        return f"<{state}Exploration: {what}; {where}>"

    def _repr_html_(self) -> str:
        front, names = self.front, list(self.objective_names)
        if not len(front):
            return html_table(repr(self), (), [])
        which = spread(self.front_on_own_scale(), MOST_SHOWN)
        metrics = [name for name in ("latency_bound_s", "energy_j", "power_w", "area_mm2") if name in front]
        shown = ["index", *dict.fromkeys([*names, *metrics])]
        rows = [[number(row[name]) for name in shown] for row in front.iloc[which].to_dict("records")]
        volumes = "; ".join(f"hypervolume of {source} {value:.4f}" for source, value in self.hypervolume.items())
        title = f"{len(which)} of {len(front):,} designs along the front of {self.evaluations:,} evaluated; {volumes}"
        return html_table(title, shown, rows)

    @cached_property
    def designs(self) -> Table:
        """Every design the search evaluated, in order."""
        return frame(self.texts["designs.csv"]())

    @cached_property
    def front(self) -> Table:
        """The feasible non-dominated designs of all evaluated, sorted by the first objective."""
        return frame(self.texts["front.csv"]())

    def front_on_own_scale(self) -> np.ndarray:
        """The front on the box around itself, for its knee and ends, (k, m); a ValueError where it is empty."""
        points = self.front[list(self.objective_names)].to_numpy(float) if len(self.front) else np.empty((0, 1))
        if len(points) == 0:
            raise ValueError("no design of the run is feasible: there is no front to show")
        return Normalisation.from_points(points)(points)

    def distances(self, reference: Table) -> np.ndarray:
        """How far the front is from each design of a reference front, (k,), see `dse.search.pareto.distances`.

        Parameters
        ----------
        reference : a table with the columns of the objectives, such as the `front` of another run.
        """
        names = list(self.objective_names)
        if missing := [name for name in names if name not in reference]:
            raise ValueError(f"the reference front has no column {missing[0]}, an objective of the run")
        if len(self.front) == 0:
            raise ValueError("the front is empty: it has no distance to a reference")
        return distances(self.front[names].to_numpy(float), reference[names].to_numpy(float))

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


def fixed_scale(problem: SearchProblem) -> Normalisation:
    """The scale of a problem: the same for every run of one space, network and choice of objectives.

    The box around the front of `dse.search.balanced_designs.anchors`, least and largest designs among them, whatever
    the constraints of one's own.  Designs of a run may lie outside.
    """
    rows = problem.evaluate_designs(anchors(problem.space))
    fits = rows.constraints[:, 0] <= 0
    F = rows.objectives[fits] if fits.any() else rows.objectives
    front = F[non_dominated(F)]
    alone = (front.max(axis=0) == front.min(axis=0)) & (F.max(axis=0) > front.max(axis=0))
    ends = np.where(alone, F.max(axis=0), front.max(axis=0))  # such as of one objective: the worst of all
    return Normalisation.from_points(np.stack([front.min(axis=0), ends]))


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
        notes.append(f"no feasible design was found: {_nearest(labels, rows)}")
    return notes


def _nearest(labels: tuple[str, ...], rows: Evaluated) -> str:
    """Which design comes nearest to being feasible, and what it exceeds, in words."""
    above = np.maximum(rows.constraints, 0.0)
    if (above[:, 0] > 0).all():
        return "the network fits none; the least overflow is " + f"{above[:, 0].min():.3g} (bytes over / capacity)"
    fits = np.flatnonzero(above[:, 0] == 0)
    best = int(fits[np.argmin(above[fits].max(axis=1))])
    exceeded = [f"{label.removesuffix('_limit')} by {100 * value:.3g} % of its limit"
                for label, value in zip(labels, above[best], strict=True) if value > 0]  # fmt: skip
    return f"the nearest, design {best} of designs.csv, exceeds {', '.join(exceeded)}"


def convergence_rows(log: RunLog, scale: Normalisation) -> list[tuple[str, int, int, int, float]]:
    """(source, generation, evaluations, front size, hypervolume) after each generation of a log."""
    n_objectives = len(log.problem.objective_names)
    front, evaluations, rows = RunningFront(n_objectives), 0, []
    hypervolume = 0.0
    for (generation, batch), drawn in zip(log.batches(), log.drawn, strict=True):
        before = front.points
        keep = np.flatnonzero(batch.feasible)
        front.update(batch.objectives[keep], evaluations + keep)
        evaluations += drawn
        if not np.array_equal(front.points, before):
            hypervolume = scale.hypervolume(front.points)
        rows.append((log.source, generation, evaluations, len(front.points), hypervolume))
    return rows


class Meter:
    """Running front size and hypervolumes on a scale."""

    def __init__(self, scale: Normalisation) -> None:
        n_objectives = len(scale.ideal)
        self.fronts = (RunningFront(n_objectives), RunningFront(n_objectives))
        self.scale = scale

    def update(self, *batches: Evaluated | None) -> tuple[int, float, float]:
        """Add a generation of the search and of its twin; front size, the two hypervolumes."""
        feasible = [None if rows is None else rows.objectives[rows.feasible] for rows in batches]
        values = []
        for front, F in zip(self.fronts, feasible, strict=True):
            if F is None:
                values.append(float("nan"))
                continue
            front.update(F, np.zeros(len(F), dtype=np.int64))
            values.append(self.scale.hypervolume(front.points))
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
        raise RunDirectoryError(
            f"the run in {path} is at work or was interrupted; dse front shows it so far, the same command continues it"
        )
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
