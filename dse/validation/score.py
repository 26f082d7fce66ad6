"""How far the model is from its references: one line for each reference and quantity."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

STATISTICS: dict[str, Callable[[pd.Series], float]] = {"median": np.median, "mean": np.mean, "worst": np.max}
"""Of the absolute relative error; the median is that over families of the median of each.  A target may also be set on
``rank``, Spearman's correlation, on ``excess``, the largest of predicted / measured - 1, sign and all, and on
``shortfall``, the largest of 1 - predicted / measured."""

ONE_SIDED = ("excess", "shortfall")


def score(rows: pd.DataFrame, targets: pd.DataFrame | None = None) -> pd.DataFrame:
    """One line a reference and quantity, of its gated rows where it has some, else of all.

    Parameters
    ----------
    rows : comparisons, columns as in `dse.validation.table.COLUMNS`.
    targets : columns reference, quantity, statistic, limit.  ``median``, ``mean``, ``worst`` of the absolute relative
        error, ``excess`` and ``shortfall`` may be at most `limit`; ``rank`` at least.  A line with several targets must
        reach all.

    Returns columns reference, kind, quantity, unit, rows, gated, `ONE_SIDED`, ``{median,mean,worst}_error`` [1],
    ``rank_correlation`` [1], the same with ``roofline_`` in front, target (text) and reached (True, False or None).
    """
    lines = []
    for (reference, quantity), group in rows.groupby(["reference", "quantity"], sort=False):
        counted = group[group["gated"]] if group["gated"].any() else group
        line = {
            "reference": reference,
            "kind": ", ".join(dict.fromkeys(group["kind"])),
            "quantity": quantity,
            "unit": group["unit"].iloc[0],
            "rows": len(counted),
            "gated": bool(group["gated"].any()),
        }
        line |= _errors(counted, "predicted", "") | _errors(counted, "roofline", "roofline_")
        lines.append(line | _verdict(line, targets))
    return pd.DataFrame(lines)


def spearman(a: pd.Series, b: pd.Series) -> float:
    """Spearman's rank correlation, ties averaged [1]; NaN for fewer than two values or where all are equal."""
    ranks = [x.rank().to_numpy() for x in (a, b)]
    if len(ranks[0]) < 2 or any(np.ptp(x) == 0 for x in ranks):
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])


def _errors(rows: pd.DataFrame, column: str, prefix: str) -> dict[str, float]:
    known = rows[rows[column].notna()]
    error = (known[column] / known["measured"] - 1).abs()
    signed = known[column] / known["measured"] - 1
    one_sided = {} if prefix else {"excess": float(signed.max()), "shortfall": float(-signed.min())}
    families = error.groupby(known["family"]).median()
    result = one_sided | {
        f"{prefix}{name}_error": float(of(families if name == "median" else error)) if len(error) else math.nan
        for name, of in STATISTICS.items()
    }
    return result | {f"{prefix}rank_correlation": spearman(known[column], known["measured"])}


def _verdict(line: dict[str, Any], targets: pd.DataFrame | None) -> dict[str, object]:
    if targets is None:
        return {"target": "", "reached": None}
    mine = targets[(targets["reference"] == line["reference"]) & (targets["quantity"] == line["quantity"])]
    texts, reached = [], []
    for statistic, limit in zip(mine["statistic"], mine["limit"], strict=True):
        if statistic not in (*STATISTICS, *ONE_SIDED, "rank"):
            raise ValueError(f"target on {statistic!r}: choose among {', '.join((*STATISTICS, *ONE_SIDED))}, rank")
        sign, holds = (">=", operator.ge) if statistic == "rank" else ("<=", operator.le)
        columns = {"rank": "rank_correlation"} | {name: name for name in ONE_SIDED}
        value = line[columns.get(statistic, f"{statistic}_error")]
        texts.append(
            f"{statistic} {sign} {limit:g}"
            if statistic == "rank" or 0 < limit < 1e-3
            else f"{statistic} {sign} {limit:.0%}"
        )
        reached.append(bool(holds(value, limit)))
    limits = dict(zip(mine["statistic"], mine["limit"], strict=True))
    if set(ONE_SIDED) <= set(limits):
        both = f"ratio {1 - limits['shortfall']:g}-{1 + limits['excess']:g}"
        texts = [text for text in texts if not text.startswith(ONE_SIDED)] + [both]
    return {"target": ", ".join(texts), "reached": all(reached) if reached else None}
