"""Exhaustive sweep: every design of a space, and with it the exact front.

Memory stays flat: designs are evaluated in chunks and only the running front is kept.  With a checkpoint file
a killed sweep continues where it was; the result does not depend on the chunks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dse.runs.design_log import RowFormat
from dse.runs.files import RunDirectoryError, write_whole
from dse.runs.identity import ELSEWHERE, differences, of_model
from dse.runs.problem_protocol import Evaluated, SearchProblem
from dse.search.pareto import RunningFront

CHUNK = 16_384
"""Designs evaluated at once at most; a few tens of MB."""

FIRST_CHUNK = 256
CHUNK_S = 1.0
"""The first chunk [1]; from there chunks grow or shrink towards this time [s], for progress and checkpoints."""

SAVE_EVERY_S = 2.0
"""Time between checkpoints [s]."""

CHECKED = 4
"""Designs of a checkpoint's front that are evaluated again when a sweep continues."""

LARGEST_SPACE = 20_000_000
"""Designs of the largest space that `explore(exhaustive=True)` accepts."""


@dataclass(frozen=True)
class Sweep:
    """Result of `sweep`.

    Parameters
    ----------
    X : (k, n_var) genes of the exact front, sorted by the first objective.
    numbers : (k,) their numbers in the space's enumeration.
    rows : their numbers: objectives, constraints, metrics.
    evaluated, feasible : designs counted so far.
    complete : False when the time limit ended it.
    """

    X: np.ndarray
    numbers: np.ndarray
    rows: Evaluated | None
    evaluated: int
    feasible: int
    complete: bool

    def text(self, problem: SearchProblem) -> bytes:
        """`exact_front.csv`."""
        if self.rows is None:
            return b""
        rows = RowFormat(problem)
        lines = rows.lines(self.numbers, np.zeros(len(self.X), dtype=np.int64), "exhaustive", self.X, self.rows)
        return "".join(f"{line}\n" for line in [",".join(rows.columns(tuple(self.rows.metrics))), *lines]).encode()


def sweep(
    problem: SearchProblem,
    *,
    chunk: int = CHUNK,
    checkpoint: Path | None = None,
    deadline: float | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    each: Callable[[int, Evaluated], None] | None = None,
) -> Sweep:
    """Evaluate every design of the problem's space and keep the front of the feasible ones.

    Parameters
    ----------
    problem : a `SearchProblem`.
    chunk : designs evaluated at once at most.
    checkpoint : file in which the state is kept while the sweep runs; read when it exists.
    deadline : `time.perf_counter()` value at which to stop after a chunk; one is evaluated in any case.
    progress : called with (evaluated, size, front size) after each chunk.
    each : called with the numbers of each chunk and the number of its first design in the space's enumeration,
        before the state is saved: what a sweep that continues does not evaluate again was handed over.
    """
    size = int(problem.space.size)
    front = RunningFront(len(problem.objective_names))
    of = {} if checkpoint is None else of_model(problem)
    start, feasible = _restore(problem, front, checkpoint, of)
    saved = begun = time.perf_counter()
    saved_at, state = start, _state(of, start, feasible, front)
    n = min(FIRST_CHUNK, chunk)
    try:
        while start < size:
            stop = min(start + n, size)
            rows = problem.evaluate_designs(_designs(problem, start, stop))
            if each is not None:
                each(start, rows)
            keep = np.flatnonzero(rows.feasible)
            front.update(rows.objectives[keep], start + keep)
            feasible += len(keep)
            start = stop
            state = _state(of, start, feasible, front)
            if checkpoint is not None and time.perf_counter() - saved > SAVE_EVERY_S:
                write_whole(checkpoint, _text(state))
                saved, saved_at = time.perf_counter(), start
            if progress is not None:
                progress(start, size, len(front.points))
            begun, before = time.perf_counter(), begun
            n = _next_chunk(n, begun - before, chunk)
            if deadline is not None and begun >= deadline:
                break
    finally:  # also after Ctrl-C: what is evaluated stays so
        if checkpoint is not None and state["next"] > saved_at:
            write_whole(checkpoint, _text(state))
    return _result(problem, front, start, feasible, start == size)


def _next_chunk(n: int, took_s: float, largest: int) -> int:
    """Designs of the next chunk, after one of `n` that took `took_s`: at most twice as many."""
    return max(1, min(largest, 2 * n, int(n * CHUNK_S / max(took_s, 1e-9))))


def _designs(problem: SearchProblem, start: int, stop: int) -> np.ndarray:
    return np.asarray(problem.space.all_designs(start, stop), dtype=np.int64)


def _designs_of(problem: SearchProblem, numbers: np.ndarray) -> np.ndarray:
    """Genes of the designs of these numbers, (k, n_var)."""
    return np.concatenate([_designs(problem, n, n + 1) for n in numbers.tolist()])


def _result(problem: SearchProblem, front: RunningFront, evaluated: int, feasible: int, complete: bool) -> Sweep:
    order = np.argsort(front.points[:, 0], kind="stable")
    numbers = front.numbers[order]
    if len(numbers) == 0:
        return Sweep(np.empty((0, problem.space.n_var), dtype=np.int64), numbers, None, evaluated, feasible, complete)
    X = _designs_of(problem, numbers)
    return Sweep(X, numbers, problem.evaluate_designs(X), evaluated, feasible, complete)


def _state(of: dict[str, Any], start: int, feasible: int, front: RunningFront) -> dict[str, Any]:
    """What a sweep that continues needs; the arrays of the front, which are never changed in place."""
    return {"of": of, "next": start, "feasible": feasible, "numbers": front.numbers, "points": front.points}


def _text(state: dict[str, Any]) -> bytes:
    return json.dumps(state | {name: state[name].tolist() for name in ("numbers", "points")}).encode()


def _restore(
    problem: SearchProblem, front: RunningFront, checkpoint: Path | None, of: dict[str, Any]
) -> tuple[int, int]:
    if checkpoint is None or not checkpoint.exists():
        return 0, 0
    try:
        state = json.loads(checkpoint.read_bytes())
        if changed := differences(state["of"], of):
            raise ValueError(f"it is of another sweep: {'; '.join(changed[:4])}")
        points = np.array(state["points"], dtype=np.float64).reshape(-1, front.points.shape[1])
        numbers = np.array(state["numbers"], dtype=np.int64)
        start, feasible = int(state["next"]), int(state["feasible"])
        if len(points) != len(numbers) or not 0 <= feasible <= start <= int(problem.space.size):
            raise ValueError("its counts do not agree")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{checkpoint} is not the state of a sweep ({error}); delete it to start over"
        ) from error
    again = problem.evaluate_designs(_designs_of(problem, numbers[:CHECKED])).objectives if len(numbers) else points
    if not np.allclose(again, points[:CHECKED], rtol=ELSEWHERE, atol=0):
        raise RunDirectoryError(f"{checkpoint} is of a model with other numbers; delete it to start over")
    front.update(points, numbers)
    return start, feasible
