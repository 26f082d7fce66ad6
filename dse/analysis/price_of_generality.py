"""The price of generality: what a design shared by several networks loses against each network's own best.

Everything is read off designs that were evaluated anyway, such as those of a search for the geometric mean.  A
search for one network alone finds a better own best, so these prices are lower bounds of what such a search would tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dse.runs.problem_protocol import Evaluated
from dse.runs.tables import frame
from dse.search.exploration import Exploration

PRICES = "price_of_generality.csv"
"""File of a run's directory that holds the table."""

COLUMNS = (
    "shared", "area_mm2", "network", "latency_s", "own_best", "own_best_latency_s", "loss", "left_out",
    "left_out_latency_s", "left_out_loss",
)  # fmt: skip
"""Columns of `price_table`."""


def _log_means_of_others(latency_s: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sum of the log latencies of all networks but each one, (n, k); it ranks designs as their mean does."""
    logs = np.log(latency_s) * weights
    return np.column_stack([np.delete(logs, j, axis=1).sum(axis=1) for j in range(logs.shape[1])])


def price_table(
    latency_s: np.ndarray,
    fits: np.ndarray,
    area_mm2: np.ndarray,
    shared: Sequence[int] | np.ndarray,
    networks: Sequence[str],
    weights: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Losses of shared designs, one row a shared design and network.

    Parameters
    ----------
    latency_s, fits : of n designs on k networks, (n, k) [s]; whether the network can run.
    area_mm2 : (n,) [mm2].
    shared : numbers of the designs that all networks share.
    networks : k names.
    weights : of the geometric mean, k positive numbers; default all equal.

    Columns
    -------
    ``shared, area_mm2, network, latency_s`` of the shared design; ``own_best`` (number of the fastest design for this
    network among those of at most the same area that can run it), ``own_best_latency_s``; ``loss`` = latency / that of
    the own best - 1 [1]; ``left_out`` (number of the design of at most the same area with the least geometric mean over
    the other networks), ``left_out_latency_s`` and ``left_out_loss``: the same for that design, chosen without knowing
    this network; infinite where it cannot run it, NaN where there is no other network.
    """
    latency_s, fits, area_mm2 = np.asarray(latency_s, float), np.asarray(fits, bool), np.asarray(area_mm2, float)
    share = np.ones(len(networks)) if weights is None else np.asarray(weights, float)
    share = share / share.sum()
    without = _log_means_of_others(latency_s, share)
    own = np.where(fits, latency_s, np.inf)
    others_fit = fits.sum(axis=1, keepdims=True) - fits == len(networks) - 1
    without = np.where(others_fit, without, np.inf)
    rows = []
    for number in shared:
        within = np.flatnonzero(area_mm2 <= area_mm2[number])
        for j, network in enumerate(networks):
            best = within[np.argmin(own[within, j])]
            row = {
                "shared": int(number),
                "area_mm2": area_mm2[number],
                "network": network,
                "latency_s": latency_s[number, j],
                "own_best": int(best),
                "own_best_latency_s": latency_s[best, j],
                "loss": latency_s[number, j] / latency_s[best, j] - 1,
                "left_out": -1,
                "left_out_latency_s": np.nan,
                "left_out_loss": np.nan,
            }
            if len(networks) > 1:
                left = within[np.argmin(without[within, j])]
                row |= {"left_out": int(left), "left_out_latency_s": own[left, j]}
                row["left_out_loss"] = own[left, j] / latency_s[best, j] - 1
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def price_of_run(
    networks: Sequence[str],
    weights: Sequence[float],
    front: Sequence[int] | np.ndarray,
    search: Evaluated,
    twin: Evaluated | None,
) -> pd.DataFrame:
    """`price_table` of each design on the front of a search, over all that the search and its random twin evaluated.

    The columns ``own_best_source`` and ``left_out_source`` say whether the number is an index of `designs.csv`
    ("search") or of `random_twin.csv` ("random").
    """
    every = Evaluated.join([search] if twin is None else [search, twin]).metrics
    latency_s = np.column_stack([every[f"latency_s_{name}"] for name in networks])
    fits = np.column_stack([every[f"overflow_{name}"] for name in networks]) == 0
    table = price_table(latency_s, fits, every["area_mm2"], front, networks, weights)
    for column in ("own_best", "left_out"):
        at = table[column].to_numpy()
        source = np.where(at < 0, "none", np.where(at >= len(search), "random", "search"))
        table[column] = np.where(at >= len(search), at - len(search), at)
        table.insert(table.columns.get_loc(column), f"{column}_source", source)
    return table


def price_of_generality(run: Exploration) -> pd.DataFrame:
    """What each design on the front of a run over several networks costs each of them; columns as in `price_table`.

    The designs compared are all that the run evaluated, its random twin's too; ``shared`` is the ``index`` in
    `front.csv`.  Raises ValueError for a run of one network.
    """
    if not isinstance(run, Exploration):
        raise ValueError(f"expected the result of explore, or of dse.load(directory), got {run!r}")
    if PRICES not in run.texts:
        raise ValueError(f"the run has no {PRICES}: it is not one of several networks, such as problems.GeomeanDNN")
    return frame(run.texts[PRICES]())
