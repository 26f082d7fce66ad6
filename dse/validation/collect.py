"""Run references, score them, and leave tables and figures."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from dse.runs.files import write_whole
from dse.validation import REFERENCES
from dse.validation.plots import write
from dse.validation.score import score
from dse.validation.table import RANGE, checked, read_data


def reference_rows(name: str) -> pd.DataFrame:
    """All comparisons of one reference, columns as in `dse.validation.table`."""
    if name not in REFERENCES:
        raise ValueError(f"unknown reference {name!r}; the known ones are {', '.join(REFERENCES)}")
    return checked(importlib.import_module(REFERENCES[name]).rows())


def validate(
    directory: str | Path, names: Iterable[str] = (), with_footer: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score of the references (all when none is named), and all their rows; writes both into `directory`.

    For each reference ``NAME.csv`` (every comparison; a range only where there is one), and a figure as the files of
    `dse.output.figure_style.figure_names`; ``score.csv`` of all.
    """
    tables = {name: reference_rows(name) for name in dict.fromkeys(names or REFERENCES)}
    comparisons = pd.concat(tables.values(), ignore_index=True)
    result = score(comparisons, read_data("targets.csv"))
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        _write_csv(directory / f"{name}.csv", rows.drop(columns=[x for x in RANGE if rows[x].isna().all()]))
        write(rows, directory, name, with_footer)
    _write_csv(directory / "score.csv", result)
    return result, comparisons


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    write_whole(path, table.to_csv(index=False, lineterminator="\n").encode())
