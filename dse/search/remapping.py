"""The front of a run evaluated again with the complete mapper: how far the default search of mappings is from it.

A run maps with `effort="default"`.  Its few best designs can be afforded the complete search of mappings, which looks
at all that matters.  The result is a file of its own, beside those of the run: neither its identity nor its tables
change.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dse.costs.parallel import each_in_threads
from dse.runs.design_log import RowFormat
from dse.runs.files import RunDirectoryError, hash_of, now, write_whole
from dse.runs.identity import ELSEWHERE, differences, of_model, source_sha256
from dse.runs.problem_protocol import Evaluated, SearchProblem
from dse.runs.run_directory import FRONT_COMPLETE, RunDirectory
from dse.runs.tables import Table, frame
from dse.search.exploration import Exploration, Progress
from dse.search.pareto import non_dominated

MOVED_PERCENT = 0.1
"""A design has moved where an objective changed by more than this [%]."""


class RemapInterrupted(KeyboardInterrupt):
    """Ctrl-C ended the evaluation of a front; the run is as it was, and the message says what was done."""


class Remappable(SearchProblem, Protocol):
    """A problem whose mapper can be asked for more."""

    def with_effort(self, effort: str) -> SearchProblem:
        """The same problem with another effort of the mapper; a ValueError where there is none."""


@dataclass(frozen=True)
class Remapped:
    """The front of a run under the complete mapper.

    Parameters
    ----------
    objective_names : of the run.
    text : of `front_complete.csv`: the columns of `front.csv`, then ``NAME_before`` and ``NAME_change_percent`` of each
        objective.
    changes_percent : change of each objective of each design, (k, m) [%]; NaN where it was 0 and is not.
    still_on_front : (k,) bool, whether no other of them dominates the design now, and it is feasible.
    elapsed_s : time it took [s].
    is_new : False where it lay in the run's directory already.
    """

    objective_names: tuple[str, ...]
    text: bytes
    changes_percent: np.ndarray
    still_on_front: np.ndarray
    elapsed_s: float
    is_new: bool

    @property
    def table(self) -> Table:
        """`front_complete.csv` as a data frame."""
        return frame(self.text)

    @property
    def moved(self) -> np.ndarray:
        """(k,) bool: an objective changed by more than `MOVED_PERCENT`, or from 0."""
        return np.any(~(np.abs(self.changes_percent) <= MOVED_PERCENT), axis=1)


def remap_front(
    problem: Remappable,
    run: Exploration,
    *,
    n_jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Remapped:
    """Evaluate the designs of a run's front again with the complete mapper.

    Parameters
    ----------
    problem : of the run.
    run : what `explore` or `load` gave.  Where it has a directory, `front_complete.csv` is written there, and the
        manifest names it; what lies there already of the same front and code is read instead.
    n_jobs : workers; default those of the problem.
    progress : called with a `Progress` after each design.

    A design and network take from 0.1 s to minutes.  Raises ValueError where the problem has no mapper to ask.
    """
    start = time.perf_counter()
    complete = problem.with_effort("complete")
    text = run.texts["front.csv"]()
    if run.directory is None:
        return _evaluated(problem, complete, text, n_jobs, progress, start)
    identity = run.manifest["identity"]
    model = of_model(problem)
    if lines := differences({name: identity[name] for name in model}, model):
        raise RunDirectoryError(f"{run.directory} is a run of another problem: {'; '.join(lines[:4])}")
    with RunDirectory(run.directory, identity) as directory:
        path, source = directory.path / FRONT_COMPLETE, source_sha256()
        there = directory.manifest.get("remap") or {}
        of = {"front_sha256": hash_of(text), "source_sha256": source}
        if path.is_file() and all(there.get(name) == value for name, value in of.items()):
            data = path.read_bytes()
            if hash_of(data) == directory.manifest.get("files", {}).get(FRONT_COMPLETE):
                return _read(problem, data, float(there["wall_time_s"]))
        try:
            found = _evaluated(problem, complete, text, n_jobs, progress, start)
        except RemapInterrupted as error:
            raise RemapInterrupted(f"{error}; the files of {directory.path} are as before") from None
        write_whole(path, found.text)
        files = directory.manifest.get("files", {}) | {FRONT_COMPLETE: hash_of(found.text)}
        directory.write(files=files, remap=of | {"ended": now(), "wall_time_s": round(found.elapsed_s, 3)})
    return found


def _evaluated(
    problem: SearchProblem,
    complete: SearchProblem,
    text: bytes,
    n_jobs: int | None,
    progress: Callable[[Progress], None] | None,
    start: float,
) -> Remapped:
    """The designs of `front.csv`, evaluated by `complete`."""
    header, *rows = list(csv.reader(io.StringIO(text.decode()))) or [[]]
    form, names = RowFormat(problem), tuple(problem.objective_names)
    X = _genes(form, rows)
    if not len(X):
        empty = np.empty((0, len(names)))
        return Remapped(names, _with_changes(header, [], [], empty, names), empty, np.empty(0, bool), 0.0, True)
    before = np.array([[float(row[header.index(name)]) for name in names] for row in rows])
    first = problem.evaluate_designs(X[:1])  # compiles, too
    if list(form.columns(tuple(first.metrics))) != header or not np.allclose(
        first.objectives, before[:1], rtol=ELSEWHERE, atol=0
    ):
        raise RunDirectoryError("the numbers in front.csv are not those of this problem; run explore again")
    jobs = getattr(problem, "n_jobs", 1) if n_jobs is None else n_jobs
    parts: list[Evaluated] = []
    try:
        for part in each_in_threads(complete.evaluate_designs, [(x[None],) for x in X], jobs):
            parts.append(part)
            if progress is not None:
                none, elapsed_s = float("nan"), time.perf_counter() - start
                progress(Progress("remap", 0, len(parts), len(X), len(X), none, none, elapsed_s, 0))
    except KeyboardInterrupt:
        raise RemapInterrupted(
            f"interrupted after {len(parts)} of {len(X)} designs of the front were mapped again"
        ) from None
    found = Evaluated.join(parts)
    lead = np.array([[int(row[0]), int(row[1])] for row in rows])
    lines = [form.lines(lead[i : i + 1, 0], lead[i : i + 1, 1], row[2], X[i : i + 1], part)[0]
             for i, (row, part) in enumerate(zip(rows, parts, strict=True))]  # fmt: skip
    changes = _changes_percent(before, found.objectives)
    on_front = _on_front(found.objectives, found.feasible)
    made = _with_changes(header, lines, before.tolist(), changes, names)
    return Remapped(names, made, changes, on_front, time.perf_counter() - start, True)


def _read(problem: SearchProblem, text: bytes, elapsed_s: float) -> Remapped:
    """What `remap_front` wrote before."""
    table, names = frame(text), tuple(problem.objective_names)
    objectives = table[list(names)].to_numpy(float)
    before = table[[f"{name}_before" for name in names]].to_numpy(float)
    feasible = table["feasible"].to_numpy(bool)
    return Remapped(
        names, text, _changes_percent(before, objectives), _on_front(objectives, feasible), elapsed_s, False
    )


def _genes(form: RowFormat, rows: Sequence[Sequence[str]]) -> np.ndarray:
    """Genes of the lines of a table of the run, (k, n_var)."""
    levels = [{text.strip('"'): i for i, text in enumerate(texts)} for texts in form.levels]
    try:
        found = [[level[cell] for level, cell in zip(levels, row[3:], strict=False)] for row in rows]
    except KeyError as error:
        raise RunDirectoryError(f"front.csv is not of this problem: {error} is no level of its space") from None
    return np.array(found, dtype=np.int64).reshape(len(rows), len(levels))


def _changes_percent(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Change of every number [%], below 0 where it fell; NaN where it was 0 and is not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = 100 * (after - before) / np.abs(before)
    return np.where(after == before, 0.0, np.where(before == 0, np.nan, change))


def _on_front(objectives: np.ndarray, feasible: np.ndarray) -> np.ndarray:
    """(k,) bool: feasible, and none of the others dominates it; equal designs are all on it."""
    good = np.flatnonzero(feasible)
    best = objectives[good[non_dominated(objectives[good])]]
    return feasible & (objectives[:, None] == best[None]).all(axis=2).any(axis=1)


def _with_changes(
    header: list[str], lines: list[str], before: list[list[float]], changes: np.ndarray, names: tuple[str, ...]
) -> bytes:
    """The text of `front_complete.csv`."""
    more = [column for name in names for column in (f"{name}_before", f"{name}_change_percent")]
    if taken := sorted(set(more) & set(header)):
        raise ValueError(f"the run has a column {taken[0]!r}, which {FRONT_COMPLETE} needs; rename it")
    told = [",".join([*header, *more])]
    for line, was, change in zip(lines, before, changes.tolist(), strict=True):
        cells = [text for a, b in zip(was, change, strict=True) for text in (repr(a), "" if b != b else repr(b))]
        told.append(",".join([line, *cells]))
    return "".join(f"{line}\n" for line in told).encode()
