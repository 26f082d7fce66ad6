"""One search under several seeds: median and band of its convergence, and a paired test against the random twins."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dse.runs.files import checked_path, write_whole
from dse.runs.problem_protocol import SearchProblem
from dse.runs.tables import csv_text
from dse.search.exploration import Exploration, Progress
from dse.search.search_loop import explore

BAND_PERCENT = (10.0, 50.0, 90.0)
"""Percentiles over the seeds: the ends of the band and the median."""


@dataclass(frozen=True)
class SeveralSeeds:
    """Runs that differ in their seed alone.

    Parameters
    ----------
    seeds : of the runs.
    runs : one a seed.
    directory : holds `seeds.csv`, `convergence.csv` and a directory a seed; None in memory.
    """

    seeds: tuple[int, ...]
    runs: tuple[Exploration, ...]
    directory: Path | None

    @property
    def source(self) -> str:
        """Name of the search in the tables."""
        return next(name for name in self.runs[0].hypervolume if name != "random" or len(self.runs[0].hypervolume) == 1)

    def hypervolumes(self, source: str | None = None) -> np.ndarray:
        """Final hypervolume of each run, (n_seeds,), of the search or of another `source`; they share a scale."""
        return np.array([run.hypervolume[source or self.source] for run in self.runs])

    def p_value(self) -> float | None:
        """Chance of differences from the random twins as large as these, were there none; None without twins."""
        if any("random" not in run.hypervolume for run in self.runs) or self.source == "random":
            return None
        return signed_rank_p(self.hypervolumes() - self.hypervolumes("random"))

    def bands(self) -> dict[str, np.ndarray]:
        """By source (k, 4): evaluations, and the `BAND_PERCENT` of the hypervolume over the seeds."""
        found = {}
        for source in dict.fromkeys(self.runs[0].convergence["source"]):
            tables = [run.convergence[run.convergence["source"] == source] for run in self.runs]
            at = np.unique(np.concatenate([table["evaluations"].to_numpy(float) for table in tables]))
            values = [_steps(table["evaluations"], table["hypervolume"], at) for table in tables]
            found[source] = np.column_stack([at, *np.percentile(values, BAND_PERCENT, axis=0)])
        return found

    def texts(self) -> dict[str, bytes]:
        """`seeds.csv` and `convergence.csv`."""
        sources = list(self.runs[0].hypervolume)
        rows: list[tuple] = [("seed", "evaluations", *(f"hypervolume_{source}" for source in sources))]
        rows += [(seed, run.evaluations, *(repr(run.hypervolume[source]) for source in sources))
                 for seed, run in zip(self.seeds, self.runs, strict=True)]  # fmt: skip
        names = [f"hypervolume_p{percent:g}" for percent in BAND_PERCENT]
        steps: list[tuple] = [("source", "evaluations", *names)]
        for source, table in self.bands().items():
            steps += [(source, int(at), *map(repr, values)) for at, *values in table.tolist()]
        return {"seeds.csv": csv_text(rows), "convergence.csv": csv_text(steps)}


def explore_seeds(
    problem: SearchProblem,
    seeds: int = 10,
    *,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> SeveralSeeds:
    """`explore` under several seeds, one after the other.

    Parameters
    ----------
    problem, progress : as in `explore`.
    seeds : how many, at least 2: `seed`, `seed` + 1 ...
    out : directory that gets one of each run, ``seed_0`` ..., and `seeds.csv` and `convergence.csv` over all; the same
        call continues.
    settings : other arguments of `explore`, but ``warm_start``.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int | np.integer) or seeds < 2:
        raise ValueError(f"seeds must be a whole number >= 2, got {seeds!r}; for one seed use explore")
    if settings.get("exhaustive"):
        raise ValueError("exhaustive does not depend on the seed: sweep the space in a run of one seed")
    directory = None if out is None else checked_path(out, "out")
    runs = []
    numbers = tuple(range(seed, seed + int(seeds)))
    for number in numbers:
        place = None if directory is None else directory / f"seed_{number}"
        runs.append(explore(problem, seed=number, out=place, progress=progress, **settings))
    found = SeveralSeeds(numbers, tuple(runs), directory)
    if directory is not None:
        for name, text in found.texts().items():
            write_whole(directory / name, text)
    return found


def signed_rank_p(differences: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test, exact; differences of 0 are left out, ties share their ranks.

    Source: Wilcoxon, Biometrics Bulletin 1(6), 1945.
    """
    kept = np.asarray(differences, dtype=float)
    kept = kept[kept != 0]
    if len(kept) == 0:
        return 1.0
    size = np.abs(kept)
    ranks = np.array([(size < s).sum() * 2 + (size == s).sum() + 1 for s in size])  # twice the mean rank: whole
    ways = np.zeros(int(ranks.sum()) + 1)  # how often each sum of the positive ranks comes, as a share
    ways[0] = 1.0
    for rank in ranks.tolist():
        shifted = np.zeros_like(ways)
        shifted[rank:] = ways[: len(ways) - rank]
        ways = (ways + shifted) / 2
    least = min(int(ranks[kept > 0].sum()), int(ranks[kept < 0].sum()))
    return float(min(1.0, 2 * ways[: least + 1].sum()))


def _steps(evaluations: Any, values: Any, at: np.ndarray) -> np.ndarray:
    """Values of a step function at `at`, (k,); 0 before its first step."""
    last = np.searchsorted(np.asarray(evaluations, float), at, side="right") - 1
    return np.where(last >= 0, np.asarray(values, float)[np.maximum(last, 0)], 0.0)
