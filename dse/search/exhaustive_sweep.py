"""Exhaustive sweep: every design of a space, and with it the exact front.

Memory stays flat: designs are evaluated in chunks and only the running front is kept.  Designs that a lower bound shows
dominated, or infeasible, are not mapped.  With a checkpoint file a killed sweep continues where it was; the result does
not depend on the chunks.
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
from dse.search.guide import Bounded, covers
from dse.search.pareto import RunningFront, non_dominated

CHUNK = 16_384
"""Designs evaluated at once at most; a few tens of MB."""

FIRST_CHUNK = 256
CHUNK_S = 1.0
"""The first chunk [1]; from there chunks grow or shrink towards this time [s], for progress and checkpoints."""

SAVE_EVERY_S = 2.0
"""Time between checkpoints [s]."""

CHECKED = 4
"""Designs of a checkpoint's front that are evaluated again when a sweep continues."""

LARGEST_SPACE = {False: 20_000_000, True: 200_000_000}
"""Designs of the largest space that `explore(exhaustive=True)` accepts, without bounds and with them."""

CLEARLY = 1e-9
"""A design is left out where a known one is better than its bounds by this share in every objective."""


@dataclass(frozen=True)
class Sweep:
    """Result of `sweep`.

    Parameters
    ----------
    X : (k, n_var) genes of the exact front, sorted by the first objective.
    numbers : (k,) their numbers in the space's enumeration.
    rows : their numbers: objectives, constraints, metrics.
    evaluated, feasible, left_out : designs looked at so far, those of them that are feasible, and those that were not
        mapped since their bounds show them dominated or infeasible.
    complete : False when the time limit ended it.
    """

    X: np.ndarray
    numbers: np.ndarray
    rows: Evaluated | None
    evaluated: int
    feasible: int
    left_out: int
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
    known: np.ndarray | None = None,
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
        before the state is saved: what a sweep that continues does not evaluate again was handed over.  Every design is
        mapped then.
    known : (k, n_var) genes of good designs, which help to leave out others from the start.
    """
    size = int(problem.space.size)
    front = RunningFront(len(problem.objective_names))
    of = {} if checkpoint is None else of_model(problem)
    start, feasible, left_out = _restore(problem, front, checkpoint, of)
    hopeless = _Hopeless(problem, known) if each is None else None
    saved = begun = time.perf_counter()
    saved_at, state = start, _state(of, start, feasible, left_out, front)
    n = min(FIRST_CHUNK, chunk)
    try:
        while start < size:
            stop = min(start + n, size)
            X = _designs(problem, start, stop)
            which = np.arange(len(X)) if hopeless is None else np.flatnonzero(~hopeless(X, front.points))
            left_out += len(X) - len(which)
            if len(which):
                rows = problem.evaluate_designs(X[which])
                if each is not None:
                    each(start, rows)
                keep = np.flatnonzero(rows.feasible)
                front.update(rows.objectives[keep], start + which[keep])
                feasible += len(keep)
            start = stop
            state = _state(of, start, feasible, left_out, front)
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
    return _result(problem, front, (start, feasible, left_out), start == size)


def _next_chunk(n: int, took_s: float, largest: int) -> int:
    """Designs of the next chunk, after one of `n` that took `took_s`: at most twice as many."""
    return max(1, min(largest, 2 * n, int(n * CHUNK_S / max(took_s, 1e-9))))


def _designs(problem: SearchProblem, start: int, stop: int) -> np.ndarray:
    return np.asarray(problem.space.all_designs(start, stop), dtype=np.int64)


def _designs_of(problem: SearchProblem, numbers: np.ndarray) -> np.ndarray:
    """Genes of the designs of these numbers, (k, n_var)."""
    return np.concatenate([_designs(problem, n, n + 1) for n in numbers.tolist()])


class _Hopeless:
    """Which designs their bounds show dominated by known ones, or infeasible; none where the problem has no bounds."""

    def __init__(self, problem: SearchProblem, known: np.ndarray | None) -> None:
        self._problem = problem
        self._known = np.empty((0, len(problem.objective_names)))
        if known is not None and len(known) and isinstance(problem, Bounded):
            rows = problem.evaluate_designs(known)
            self._known = rows.objectives[rows.feasible]

    def __call__(self, X: np.ndarray, front: np.ndarray) -> np.ndarray:
        """(n,) bool, of designs X (n, n_var) and the objectives of the front so far (k, m)."""
        bounds = self._problem.lower_bounds(X) if isinstance(self._problem, Bounded) else None
        if bounds is None:
            return np.zeros(len(X), dtype=bool)
        points = np.concatenate([front, self._known])
        points = points[non_dominated(points)]
        clearly = bounds.objectives - CLEARLY * np.abs(bounds.objectives)
        by_first = points[np.argsort(points[:, 0], kind="stable")]
        return covers(by_first, clearly) | (bounds.constraints > 0).any(axis=1)


def _result(problem: SearchProblem, front: RunningFront, counts: tuple[int, int, int], complete: bool) -> Sweep:
    order = np.argsort(front.points[:, 0], kind="stable")
    numbers = front.numbers[order]
    if len(numbers) == 0:
        return Sweep(np.empty((0, problem.space.n_var), dtype=np.int64), numbers, None, *counts, complete)
    X = _designs_of(problem, numbers)
    return Sweep(X, numbers, problem.evaluate_designs(X), *counts, complete)


def _state(of: dict[str, Any], start: int, feasible: int, left_out: int, front: RunningFront) -> dict[str, Any]:
    """What a sweep that continues needs; the arrays of the front, which are never changed in place."""
    counts = {"next": start, "feasible": feasible, "left_out": left_out}
    return {"of": of, **counts, "numbers": front.numbers, "points": front.points}


def _text(state: dict[str, Any]) -> bytes:
    return json.dumps(state | {name: state[name].tolist() for name in ("numbers", "points")}).encode()


def _restore(
    problem: SearchProblem, front: RunningFront, checkpoint: Path | None, of: dict[str, Any]
) -> tuple[int, int, int]:
    if checkpoint is None or not checkpoint.exists():
        return 0, 0, 0
    try:
        state = json.loads(checkpoint.read_bytes())
        if changed := differences(state["of"], of):
            raise ValueError(f"it is of another sweep: {'; '.join(changed[:4])}")
        points = np.array(state["points"], dtype=np.float64).reshape(-1, front.points.shape[1])
        numbers = np.array(state["numbers"], dtype=np.int64)
        start, feasible, left_out = (int(state[name]) for name in ("next", "feasible", "left_out"))
        counts_agree = 0 <= feasible and 0 <= left_out and feasible + left_out <= start <= int(problem.space.size)
        if len(points) != len(numbers) or not counts_agree:
            raise ValueError("its counts do not agree")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{checkpoint} is not the state of a sweep ({error}); delete it to start over"
        ) from error
    again = problem.evaluate_designs(_designs_of(problem, numbers[:CHECKED])).objectives if len(numbers) else points
    if not np.allclose(again, points[:CHECKED], rtol=ELSEWHERE, atol=0):
        raise RunDirectoryError(f"{checkpoint} is of a model with other numbers; delete it to start over")
    front.update(points, numbers)
    return start, feasible, left_out
