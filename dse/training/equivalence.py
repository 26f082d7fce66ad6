"""Whether a tuned network is as accurate as its original: change, interval over seeds and test images, equivalence.

Seeds and images are both samples: other seeds and other images would give another change.  With right and wrong kept
by image, the differences d[seed, image] follow a two-way random model, and the variance of their mean is estimated
from its mean squares (Dorfman, Berbaum and Metz, Investigative Radiology 27, 1992, with seeds for readers and images
for cases), with the degrees of freedom of Hillis (Statistics in Medicine 26, 2007, eq. 11).  Without, the interval is
that of a paired t test over seeds.  The margin is stated before, not after.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from dse.training.accuracy_study import unpacked

MARGIN = 0.5
"""Margin within which accuracy counts as unchanged [percentage points]."""

LEAST_SEEDS = 5
"""Fewest seeds of a study [1]."""

ONE_SIDE = 0.025
"""Level of each one-sided test: that of a 95 % interval [1]."""


@dataclass(frozen=True)
class Comparison:
    """Tuned against original.

    Attributes
    ----------
    seeds : that ended with an accuracy for both [1].
    images : test images that the interval is over; 0: it is over seeds alone [1].
    original, tuned : mean accuracies over these seeds [0 .. 1].
    change_points : mean difference within a seed [percentage points].
    error_points : its standard error [percentage points].
    degrees : its degrees of freedom [1].
    seed_deviation_points : standard deviation of the change over seeds [percentage points].
    failed : what went wrong, by network and seed: kept out.
    tuned_failed : seeds at which the tuned network alone failed [1]: where there are any, no loss is not claimed.
    """

    seeds: int
    images: int
    original: float
    tuned: float
    change_points: float
    error_points: float
    degrees: float
    seed_deviation_points: float
    failed: tuple[str, ...] = ()
    tuned_failed: int = 0

    def half_points(self, one_side: float = ONE_SIDE) -> float:
        """Half the width of the interval that leaves out `one_side` on each side [percentage points]."""
        if not self.error_points > 0:  # zero or NaN
            return self.error_points
        return float(stats.t.ppf(1 - one_side, self.degrees)) * self.error_points

    @property
    def low_points(self) -> float:
        """Lower end of the 95 % interval [percentage points]."""
        return self.change_points - self.half_points()

    @property
    def high_points(self) -> float:
        """Upper end of the 95 % interval [percentage points]."""
        return self.change_points + self.half_points()

    def _above(self, points: float) -> float:
        """One-sided p value that the change is no more than `points`."""
        if not self.error_points > 0:
            return math.nan if math.isnan(self.error_points) else float(self.change_points <= points)
        return float(stats.t.sf((self.change_points - points) / self.error_points, self.degrees))

    @property
    def p_value(self) -> float:
        """Two-sided p value that there is no difference."""
        above = self._above(0.0)
        if self.error_points == 0:
            return float(self.change_points == 0)
        return 2 * min(above, 1 - above)

    def p_loss(self, margin_points: float = MARGIN) -> float:
        """One-sided p value that the loss is the margin or more; NaN where a verdict is not possible."""
        if self.seeds < LEAST_SEEDS or self.tuned_failed:
            return math.nan
        return self._above(-margin_points)

    def p_tost(self, margin_points: float = MARGIN) -> float:
        """P value of the two one-sided tests (TOST) that the change is the margin or more, either way."""
        below = 1 - self._above(margin_points) if self.error_points else float(self.change_points >= margin_points)
        return max(self.p_loss(margin_points), below)

    def neutral(self, margin_points: float = MARGIN) -> bool:
        """Whether both one-sided tests say so: the 95 % interval lies within the margin, with enough seeds."""
        return self.p_tost(margin_points) < ONE_SIDE

    def no_loss(self, margin_points: float = MARGIN) -> bool:
        """Whether the 95 % interval excludes a loss of the margin, with enough seeds to say so."""
        return self.p_loss(margin_points) < ONE_SIDE

    def text(self, margin_points: float = MARGIN) -> str:
        """The finding as a sentence."""
        lines = [f"failed: {failure}" for failure in self.failed]
        if self.seeds < 2:
            return "\n".join([f"{self.seeds} seeds with both accuracies: no interval", *lines])
        found = "accuracy-neutral" if self.neutral(margin_points) else "not shown to be neutral"
        if found != "accuracy-neutral" and self.no_loss(margin_points):
            found = f"no loss of {margin_points:g} points"
        over = f"{self.seeds} seeds" + (f" and {self.images:,} images" if self.images else "")
        first = (
            f"{100 * self.original:.2f} % -> {100 * self.tuned:.2f} %, change {self.change_points:+.2f} points, 95 % "
            f"interval {self.low_points:+.2f} to {self.high_points:+.2f} ({over}, paired, p = "
            f"{self.p_value:.2g}): {found} at a margin of {margin_points:g} points"
        )
        return "\n".join([first, *lines])


def compare(runs: pd.DataFrame, original: str = "original", tuned: str = "tuned") -> Comparison:
    """The paired comparison of two networks of a study; seeds that lack one of the two are left out and named."""
    known = list(dict.fromkeys(runs["network"]))
    if lacking := [name for name in (original, tuned) if name not in known]:
        raise ValueError(f"the table has no training of {lacking[0]!r}, but of {', '.join(map(repr, known))}")
    runs = runs[runs["network"].isin([original, tuned])]
    is_bad = runs["error"].fillna("") != ""
    good = runs[~is_bad].set_index(["network", "seed"])
    seeds = [
        seed for seed in dict.fromkeys(runs["seed"]) if all((name, seed) in good.index for name in (original, tuned))
    ]
    failed = tuple(f"{row['network']}, seed {row['seed']}: {row['error']}" for _, row in runs[is_bad].iterrows())
    alone = sum(name == tuned and (original, seed) in good.index for name, seed in
                runs.loc[is_bad, ["network", "seed"]].itertuples(index=False))  # fmt: skip
    of = {name: np.array([good.loc[(name, seed), "accuracy"] for seed in seeds]) for name in (original, tuned)}
    right = {name: [unpacked(good.loc[(name, seed)].get("correct", "") or "") for seed in seeds] for name in of}
    kept = [row for rows in right.values() for row in rows]
    points = 100 * (of[tuned] - of[original])
    if kept and all(row is not None for row in kept):
        if len({len(row) for row in kept if row is not None}) > 1:
            raise ValueError(f"{original} and {tuned} were tested on different numbers of images")
        change, error, degrees = mean_of_two_way(
            100.0 * (np.array(right[tuned], float) - np.array(right[original], float))
        )
        images = len(kept[0]) if kept[0] is not None else 0
    else:
        images, degrees = 0, float(len(points) - 1)
        change = float(points.mean()) if len(points) else math.nan
        error = float(stats.sem(points)) if len(points) > 1 else math.nan
    before, after = (float(of[name].mean()) if len(points) else math.nan for name in (original, tuned))
    spread = float(points.std(ddof=1)) if len(points) > 1 else math.nan
    return Comparison(len(points), images, before, after, change, error, degrees, spread, failed, alone)


def mean_of_two_way(d: np.ndarray) -> tuple[float, float, float]:
    """Mean of values d (seeds, images), its standard error in their unit, and its degrees of freedom [1].

    Both rows and columns are samples: variance = (MS_seeds + max(0, MS_images - MS_rest)) / (seeds images).  MS_rest
    stands for an MS_seeds below it, which few seeds give by chance: seeds that agree are no evidence that others would.
    """
    n, m = d.shape
    mean = float(d.mean())
    if min(n, m) < 2:
        return mean, math.nan, math.nan
    rows, columns = d.mean(axis=1), d.mean(axis=0)
    seeds = m * rows.var(ddof=1)
    images = n * columns.var(ddof=1)
    rest = ((d - rows[:, None] - columns + mean) ** 2).sum() / ((n - 1) * (m - 1))
    seeds = max(seeds, rest)
    whole = seeds + max(0.0, images - rest)
    degrees = whole**2 / (seeds**2 / (n - 1)) if seeds > 0 else math.inf
    return mean, math.sqrt(whole / (n * m)), float(degrees)


def holm(p_values: Sequence[float], level: float = ONE_SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Holm's step-down over a family of tests (Scandinavian Journal of Statistics 6, 1979): p values, and divisors.

    The p values come back adjusted (n,): compare them with the level.  The divisors (n,) are by how much the level
    was divided for each, for intervals; behind the first test that is not below it, all keep its divisor.  A test that
    has not been made is NaN: it counts in the family, last.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")  # NaN last
    divisors = np.empty(len(p))
    divisors[order] = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate((p * divisors)[order]))
    stop = divisors[~(adjusted < level)].max(initial=1)
    return adjusted, np.maximum(divisors, stop)
