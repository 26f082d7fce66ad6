"""The tables of a run: reading its CSV files as data frames, and the small tables written beside them."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from dse.hardware.accelerator import NAMED, Accelerator
from dse.hardware.space import DesignSpace
from dse.runs.column_dictionary import COLUMNS, dictionary
from dse.runs.files import RunDirectoryError, checked_path
from dse.runs.problem_protocol import SearchProblem
from dse.runs.run_directory import read_manifest

__all__ = [
    "COLUMNS",
    "Table",
    "columns_text",
    "convergence_text",
    "csv_text",
    "frame",
    "genes_of",
    "read_table",
    "warm_start_genes",
]

Table = pd.DataFrame


def frame(text: bytes) -> pd.DataFrame:
    """A data frame of CSV text, every float with the bits that were written.

    Parsed here, since pandas' own reader rounds the last digit in some versions and takes texts such as "NA" for
    missing numbers.
    """
    rows = list(csv.reader(io.StringIO(text.decode())))
    if not rows:
        return pd.DataFrame()
    wrong = [i for i, row in enumerate(rows) if len(row) != len(rows[0])]
    if wrong:
        raise ValueError(f"line {wrong[0] + 1} has {len(rows[wrong[0]])} values, expected {len(rows[0])}")
    columns = list(zip(*rows[1:], strict=True)) or [()] * len(rows[0])
    if twice := [name for i, name in enumerate(rows[0]) if name in rows[0][:i]]:
        raise ValueError(f"two columns are called {twice[0]!r}")
    return pd.DataFrame({name: _typed(name, values) for name, values in zip(rows[0], columns, strict=True)})


TEXTS = {"source"} | {f.name for f in fields(Accelerator) if isinstance(getattr(Accelerator(), f.name), (str, *NAMED))}
"""Columns that hold texts, whatever these look like: a dataflow may be called "1", and no operand is ""."""


def _typed(name: str, values: tuple[str, ...]) -> list:
    """Texts as whole numbers, floats or bools where all of them are; an empty cell among or instead of numbers is NaN.

    Columns of `TEXTS` stay as they are.
    """
    if name in TEXTS:
        return list(values)
    kinds = (float,) if "" in values else (int, float)
    for kind in kinds:
        try:
            return [kind(value or "nan") for value in values]
        except ValueError:
            continue
    if set(values) <= {"True", "False"}:
        return [value == "True" for value in values]
    return list(values)


def read_table(path: str | Path) -> pd.DataFrame:
    """One CSV file of a run.  A torn last line, left by a killed run, is dropped."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunDirectoryError(f"cannot read {path}: {error.strerror or error}") from error
    return table_of(path, data[: data.rfind(b"\n") + 1])


def table_of(path: Path, text: bytes) -> pd.DataFrame:
    """The table of a text that was read from a file of a run; RunDirectoryError that names the file for none."""
    try:
        return frame(text)
    except (ValueError, csv.Error) as error:
        raise RunDirectoryError(f"{path} is not a table of a run: {error}") from error


def columns_text(names: tuple[str, ...], problem: SearchProblem) -> bytes:
    """`columns.csv`: name, unit and meaning of every column."""
    rows = [("name", "unit", "meaning")]
    rows += [(name, column.unit, column.meaning) for name, column in dictionary(names, problem).items()]
    return csv_text(rows)


CONVERGENCE = ("source", "generation", "evaluations", "front_size", "hypervolume")


def convergence_text(rows: list[tuple[str, int, int, int, float]]) -> bytes:
    """`convergence.csv`: one row for each search and generation."""
    return csv_text([CONVERGENCE, *((*row[:4], repr(row[4])) for row in rows)])


def csv_text(rows: list[tuple]) -> bytes:
    """Rows of cells as CSV."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


def genes_of(table: pd.DataFrame, space: DesignSpace) -> np.ndarray:
    """Genes in `space` of designs given by their parameter values, (k, n_var) int64.

    Rows with a value that is no level of the space are left out; so are repeated designs.
    """
    missing = [name for name in space.names if name not in table.columns]
    if missing:
        raise RunDirectoryError(f"warm start: the other run does not tell the value of {', '.join(missing)}")
    genes = np.full((len(table), space.n_var), -1, dtype=np.int64)
    for j, (name, n) in enumerate(zip(space.names, np.asarray(space.n_levels).tolist(), strict=True)):
        X = np.zeros((n, space.n_var), dtype=np.int64)
        X[:, j] = np.arange(n)
        level = {_comparable(value): k for k, value in enumerate(np.asarray(space.columns(X)[name]).tolist())}
        genes[:, j] = [level.get(_comparable(value), -1) for value in table[name].tolist()]
    genes = genes[(genes >= 0).all(axis=1)]
    _, first = np.unique(genes, axis=0, return_index=True)
    return genes[np.sort(first)]


def warm_start_genes(directory: str | os.PathLike, space: DesignSpace) -> np.ndarray:
    """Designs of another run as genes in `space`: its front first, then its other designs, (k, n_var).

    A parameter that the other run did not vary has the value that its manifest records; one that came after that run
    has its default.
    """
    directory = checked_path(directory, "warm_start")
    fixed = read_manifest(directory).get("fixed_parameters", {})
    fixed = Accelerator().parameters() | fixed if fixed else {}
    tables = [read_table(directory / name) for name in ("front.csv", "designs.csv") if (directory / name).is_file()]
    if not tables or not sum(len(table) for table in tables):
        raise RunDirectoryError(f"warm start: {directory} holds no designs")
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(**{name: value for name, value in fixed.items() if name not in table.columns})
    genes = genes_of(table, space)
    if len(genes) == 0:
        raise RunDirectoryError(f"warm start: no design of {directory} is in this space; see `space` for its levels")
    return genes


def _comparable(value: object) -> float | str:
    return float(value) if isinstance(value, bool | int | float) else str(value)
