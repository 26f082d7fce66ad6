"""The table every reference fills, and the published data it is filled from."""

from __future__ import annotations

import math
from importlib.resources import files

import pandas as pd

COLUMNS = {
    "reference": "name of the reference, as in tables",
    "kind": "silicon, post-layout, synthesis, rtl, vendor-model or simulator: only silicon is ground truth",
    "row": "what was compared, unique within reference and quantity",
    "family": "rows that count as one in the median, such as the sizes of one design; by default each row is its own",
    "quantity": "what the numbers are",
    "unit": "of measured, predicted and roofline",
    "measured": "the reference's number",
    "predicted": "this model's number",
    "predicted_low": "5 % of this model's numbers over draws of its constants; NaN where none are drawn",
    "predicted_high": "95 % of them",
    "roofline": "max(MACs / peak, compulsory bytes / bandwidth) in the same quantity; NaN where that means nothing",
    "gated": "whether the row counts towards the target",
    "note": "what a reader must know to judge the row",
}
"""Column -> meaning."""

RANGE = ("predicted_low", "predicted_high")
"""Columns that a table may lack."""

KINDS = ("silicon", "post-layout", "synthesis", "rtl", "vendor-model", "simulator")


def read_data(name: str) -> pd.DataFrame:
    """A file of ``dse/data/validation``; its column ``source`` says where each row is from."""
    with (files("dse") / "data" / "validation" / name).open(encoding="utf-8") as text:
        return pd.read_csv(text)


def checked(rows: pd.DataFrame) -> pd.DataFrame:
    """The same table, its columns in order, each row its own `family` and `RANGE` NaN where it lacks them.

    ValueError names the column or row that breaks `COLUMNS`.
    """
    rows = rows.assign(**{name: math.nan for name in RANGE if name not in rows})
    if "family" not in rows and "row" in rows:
        rows = rows.assign(family=rows["row"])
    missing = [name for name in COLUMNS if name not in rows]
    if missing:
        raise ValueError(f"validation table: column {missing[0]!r} is missing; the columns are {', '.join(COLUMNS)}")
    wrong = sorted(set(rows["kind"]) - set(KINDS))
    if wrong:
        raise ValueError(f"validation table: kind {wrong[0]!r} is unknown; give one of {', '.join(KINDS)}")
    twice = rows[rows.duplicated(["reference", "quantity", "row"])]
    if len(twice):
        raise ValueError(f"validation table: {twice['quantity'].iloc[0]} of {twice['row'].iloc[0]!r} is there twice")
    if not (rows["measured"] > 0).all():
        raise ValueError(
            f"validation table: measured must be positive in {rows['row'][~(rows['measured'] > 0)].iloc[0]!r}"
        )
    return rows[list(COLUMNS)].reset_index(drop=True)
