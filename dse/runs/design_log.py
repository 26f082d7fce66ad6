"""The append-only log of evaluated designs, and the memo that a resumed run replays.

One text line a design, in the order of evaluation, comma-separated with a header: `designs.csv` is the log.
Floats are written with as many digits as it takes to read back the same bits.  A killed run leaves at most
one torn line, which is dropped.  A resumed run asks for the same designs in the same order and gets the
logged numbers, each line compared byte for byte with what the run would have written.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import os
from pathlib import Path
from typing import NoReturn

import numpy as np

from dse.hardware.dataflow import own_dataflows
from dse.hardware.dram_types import own_dram_types
from dse.hardware.space import DesignSpace
from dse.runs.files import RunDirectoryError, writing
from dse.runs.identity import ELSEWHERE
from dse.runs.problem_protocol import Evaluated, SearchProblem

LEAD = ("index", "generation", "source")
VERIFIED = 4
"""Designs at the head of a replayed log that are evaluated again, to notice a model that gives other numbers."""


class RowFormat:
    """How a design becomes a line: index, generation, source, parameters, metrics, objectives, constraints, feasible.

    An objective that has the name of a metric is that metric and is written once.

    Parameters
    ----------
    problem : gives the space, names and order.
    """

    def __init__(self, problem: SearchProblem) -> None:
        self.parameters = tuple(problem.space.names)
        self.objectives = tuple(problem.objective_names)
        self.constraints = tuple(f"constraint_{label}" for label in problem.constraint_labels)
        self.levels = level_texts(problem.space)

    def columns(self, metrics: tuple[str, ...]) -> tuple[str, ...]:
        """Every column of the file, in order."""
        return (*LEAD, *self.parameters, *self.numbers(metrics), "feasible")

    def numbers(self, metrics: tuple[str, ...]) -> tuple[str, ...]:
        """The columns that hold floats."""
        return (*metrics, *(name for name in self.objectives if name not in metrics), *self.constraints)

    def lines(
        self, index: np.ndarray, generation: np.ndarray, source: str, X: np.ndarray, rows: Evaluated
    ) -> list[str]:
        """Lines without their ends: index (n,), generation (n,), genes (n, n_var), their numbers."""
        if len(X) == 0:
            return []
        own = [j for j, name in enumerate(self.objectives) if name not in rows.metrics]
        numbers = np.column_stack([*rows.metrics.values(), rows.objectives[:, own], rows.constraints])
        cells = repr(numbers.tolist())[2:-2].replace(", ", ",").split("],[")  # one C call for all floats
        levels = self.levels
        lead = zip(index.tolist(), generation.tolist(), X.tolist(), cells, rows.feasible.tolist(), strict=True)
        return [
            f"{i},{g},{source},{','.join([level[k] for level, k in zip(levels, x, strict=True)])},{cell},{ok}"
            for i, g, x, cell, ok in lead
        ]


def level_texts(space: DesignSpace) -> list[list[str]]:
    """The text of every level of every variable, as the CSV files show it; ValueError where a text tells no level."""
    fixed = space.columns(np.zeros((1, space.n_var), dtype=np.int64)).items()
    texts, values = [], [column[0] for name, column in fixed if name not in space.names]
    for j, (name, n) in enumerate(zip(space.names, np.asarray(space.n_levels).tolist(), strict=True)):
        X = np.zeros((n, space.n_var), dtype=np.int64)
        X[:, j] = np.arange(n)
        levels = np.asarray(space.columns(X)[name]).tolist()
        texts.append([_cell(name, value) for value in levels])
        twice = [text for i, text in enumerate(texts[-1]) if text in texts[-1][:i]]
        if twice:
            raise ValueError(
                f"two levels of {name} are both called {twice[0]}; rename one: CSV files tell them by name"
            )
        values += levels
    own_dataflows(values)
    own_dram_types(values)
    return texts


def _cell(name: str, value: object) -> str:
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    text = str(value)
    if any(c in text for c in '"\r\n'):
        raise ValueError(f"level {text!r} of {name} holds a quote or a line break; rename it: it goes into a CSV file")
    return f'"{text}"' if "," in text else text


class RunLog:
    """All designs that one search evaluated, in memory and, given a path, in a file.

    Parameters
    ----------
    problem, source : what is evaluated, and the search's name in the column `source`.
    path : the CSV file; what is there already is replayed.
    exact : its numbers have the bits of this machine; otherwise they may differ by `dse.runs.identity.ELSEWHERE`.

    `notes` says in words what was unusual about the file.
    """

    def __init__(self, problem: SearchProblem, source: str, path: Path | None = None, exact: bool = True) -> None:
        self.problem, self.source, self.path, self.exact = problem, source, path, exact
        self.format = RowFormat(problem)
        self.notes: list[str] = []
        self.replayed = 0
        self.generations: list[int] = []
        self.drawn: list[int] = []
        self._X: list[np.ndarray] = []
        self._rows: list[Evaluated] = []
        self._logged: list[str] = []
        self._head = ""
        self._metrics: tuple[str, ...] | None = None
        self._whole_bytes = 0
        self._file: int | None = None
        self._n = 0
        if path is not None:
            self._read(path)

    def __len__(self) -> int:
        return self._n

    @property
    def replaying(self) -> bool:
        """Whether the file holds designs that were not asked for yet."""
        return self._n < len(self._logged)

    def evaluate(self, X: np.ndarray, generation: int, drawn: int | None = None) -> Evaluated:
        """Numbers of the designs X (n, n_var), from the file as far as it goes, else evaluated and appended.

        `drawn` is how many designs were drawn to choose X; X may be empty once a design was evaluated.
        """
        known = min(len(X), max(len(self._logged) - self._n, 0))
        parts = []
        if known > 0:
            parts.append(self._replay(X[:known], generation))
        if known < len(X):
            new = self.problem.evaluate_designs(X[known:])
            self._append(X[known:], generation, new)
            parts.append(new)
        rows = Evaluated.join(parts) if parts else self._rows[0].rows(slice(0, 0))
        self.drawn.append(len(X) if drawn is None else drawn)
        self._X.append(np.array(X, dtype=np.int64))
        self._rows.append(rows)
        self.generations.append(generation)
        return rows

    def table(self) -> tuple[np.ndarray, np.ndarray, Evaluated]:
        """Everything so far: genes (n, n_var), generation (n,), numbers; at least one design is needed."""
        generation = np.repeat(self.generations, [len(X) for X in self._X])
        return np.concatenate(self._X), generation, Evaluated.join(self._rows)

    def batches(self) -> list[tuple[int, Evaluated]]:
        """(generation, numbers) of each call of `evaluate`."""
        return list(zip(self.generations, self._rows, strict=True))

    def text(self, which: np.ndarray | None = None) -> bytes:
        """The CSV text of all designs, or of the chosen rows in that order."""
        if self._n == 0:
            return b""
        X, generation, rows = self.table()
        which = np.arange(self._n) if which is None else which
        lines = self.format.lines(which, generation[which], self.source, X[which], rows.rows(which))
        return "".join(f"{line}\n" for line in [self._header(tuple(rows.metrics)), *lines]).encode()

    def sync(self) -> None:
        """Wait until the file is on the disk."""
        if self._file is not None and self.path is not None:
            with writing(self.path):
                os.fsync(self._file)

    def close(self) -> None:
        """Close the file; the log stays readable in memory."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def check_again(self) -> None:
        """Check a whole log against the problem: its first designs are evaluated, and all of them are judged again.

        Raises RunDirectoryError that names the first line with another number.
        """
        levels = [{text.strip('"'): i for i, text in enumerate(texts)} for texts in self.format.levels]
        rows = list(csv.reader(self._logged))
        try:
            X = [[level[cell] for level, cell in zip(levels, row[len(LEAD) :], strict=False)] for row in rows]
            generations = [int(row[1]) for row in rows]
        except (KeyError, IndexError, ValueError) as error:
            raise RunDirectoryError(f"{self.path} is not the log of this run: {error} is not a design of it") from None
        for generation, numbers in itertools.groupby(range(len(rows)), generations.__getitem__):
            self._replay(np.array([X[i] for i in numbers], dtype=np.int64), generation)

    def check_all_used(self) -> None:
        """At the end of a run: every logged design must have been asked for."""
        if self.replaying:
            self._refuse(self._n + 2, "the search ends before this design")

    def _header(self, metrics: tuple[str, ...]) -> str:
        return ",".join(self.format.columns(metrics))

    def _read(self, path: Path) -> None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunDirectoryError(f"cannot read {path}: {error.strerror}") from error
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self.notes.append(f"{path.name}: dropped a torn last line of {len(data) - whole} bytes")
        self._whole_bytes = whole
        try:
            lines = data[:whole].decode().split("\n")[:-1]
        except UnicodeDecodeError as error:
            self._refuse(data[: error.start].count(b"\n") + 1, "it is not text")
        self._head, self._logged = (lines[0], lines[1:]) if lines else ("", [])

    def _replay(self, X: np.ndarray, generation: int) -> Evaluated:
        lines = self._logged[self._n : self._n + len(X)]
        metrics = self._verified_head(X[:VERIFIED], generation, lines) if self._metrics is None else self._metrics
        first = len(LEAD) + len(self.format.parameters)
        width = len(self.format.columns(metrics))
        cells = []
        for i, row in enumerate(csv.reader(lines)):
            try:
                if len(row) != width:
                    raise ValueError(f"it has {len(row)} values, expected {width}")
                cells.append([float(v) for v in row[first : first + len(metrics)]])
            except ValueError as error:
                self._refuse(self._n + i + 2, str(error))
        values = np.array(cells, dtype=np.float64).reshape(len(X), len(metrics))
        try:
            rows = self.problem.judge(X, {name: values[:, j].copy() for j, name in enumerate(metrics)})
        except ValueError as error:
            self._refuse(self._n + 2, str(error))
        self._compare(X, generation, rows, lines)
        self._n += len(X)
        self.replayed += len(X)
        return rows

    def _verified_head(self, X: np.ndarray, generation: int, lines: list[str]) -> tuple[str, ...]:
        """Metrics of the file; the first designs, evaluated again, must give its columns and bits."""
        again = self.problem.evaluate_designs(X)
        self._metrics = tuple(again.metrics)
        if self._header(self._metrics) != self._head:
            ours = set(self.format.columns(self._metrics))
            odd = sorted(ours.symmetric_difference(self._head.split(",")))
            self._refuse(1, f"its columns are not those of this run ({', '.join(odd[:4]) or 'their order differs'})")
        self._compare(X, generation, again, lines[: len(X)])
        return self._metrics

    def _compare(self, X: np.ndarray, generation: int, rows: Evaluated, lines: list[str]) -> None:
        index = np.arange(self._n, self._n + len(X))
        expected = self.format.lines(index, np.full(len(X), generation), self.source, X, rows)
        if expected == lines or (not self.exact and self._nearly(expected, lines)):
            return
        columns = self.format.columns(tuple(rows.metrics))
        for i, (ours, theirs) in enumerate(zip(expected, lines, strict=True)):
            for name, a, b in zip(columns, *csv.reader([ours, theirs]), strict=False):
                if a != b:
                    self._refuse(self._n + i + 2, f"{name} is {b} there, {a} in this run")
        self._refuse(self._n + 2, "it differs from what this run writes")

    def _nearly(self, ours: list[str], theirs: list[str]) -> bool:
        """Whether two tables differ by no more than another machine may make of them."""
        first = len(LEAD) + len(self.format.parameters)
        for a, b in zip(csv.reader(ours), csv.reader(theirs), strict=True):
            numbers = np.array([a[first:-1], b[first:-1]], dtype=float) if len(a) == len(b) else np.empty((2, 0))
            if a[:first] + a[-1:] != b[:first] + b[-1:] or not np.allclose(
                numbers[0], numbers[1], rtol=ELSEWHERE, atol=0
            ):
                return False
        return True

    def _refuse(self, line: int, reason: str) -> NoReturn:
        raise RunDirectoryError(
            f"{self.path} line {line} is not of this run: {reason}. The log was changed, or written by other code or "
            "on another machine. Start anew with overwrite=True, or elsewhere with "
            f"warm_start={str(self.path and self.path.parent)!r}"
        )

    def _append(self, X: np.ndarray, generation: int, rows: Evaluated) -> None:
        metrics = tuple(rows.metrics)
        if self._metrics is None:
            self._metrics = metrics
        elif self._metrics != metrics:
            odd = set(metrics).symmetric_difference(self._metrics)
            raise ValueError(
                f"the evaluator changed its metrics during the run: {', '.join(sorted(odd)) or 'their order'}"
            )
        if self.path is not None:
            index = np.arange(self._n, self._n + len(X))
            lines = self.format.lines(index, np.full(len(X), generation), self.source, X, rows)
            if self._whole_bytes == 0:
                lines.insert(0, self._header(metrics))
            self._write(("\n".join(lines) + "\n").encode())
        self._n += len(X)

    def _write(self, data: bytes) -> None:
        if self.path is None:
            return
        with writing(self.path):
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
                os.ftruncate(self._file, self._whole_bytes)
                os.lseek(self._file, 0, os.SEEK_END)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._file, rest) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._whole_bytes)  # no half line stays behind
                raise
            self._whole_bytes += len(data)
