"""Pareto fronts and the hypervolume they dominate.  Every objective is minimised.

A design dominates another when it is at least as good in every objective and better in one.  The filters
call moocore's compiled routines (O(n log n) for two and three objectives); slow plain-Python twins of
`non_dominated` and `hypervolume` are in the tests and must agree with these.
"""

from __future__ import annotations

from dataclasses import dataclass

import moocore
import numpy as np

REFERENCE = 1.1
"""Coordinate of the reference point in every normalised objective (0 = ideal, 1 = nadir), so that the ends of
a front count too (Ishibuchi et al., Evolutionary Computation 26(3), 2018, discuss the choice)."""

LOG_SPAN = 10.0
"""An objective that spans more than this factor is compared on a log10 scale."""


def non_dominated(points: np.ndarray) -> np.ndarray:
    """Indices of the points that no other point dominates.

    Parameters
    ----------
    points : (n, m) finite objectives, minimised.

    Returns
    -------
    (k,) int64, increasing.  Of points that are equal in every objective only the first is kept.
    """
    points = _checked(points)
    if len(points) == 0:
        return np.empty(0, dtype=np.int64)
    if points.shape[1] == 1:
        return np.array([np.argmin(points[:, 0])], dtype=np.int64)
    keep = np.flatnonzero(moocore.is_nondominated(points, keep_weakly=True))
    _, first = np.unique(points[keep], axis=0, return_index=True)  # the first of equal points
    return np.sort(keep[first]).astype(np.int64)


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Volume that the points dominate up to the reference point.

    Parameters
    ----------
    points : (n, m) objectives, minimised; those not better than the reference everywhere add nothing.
    reference : (m,) the worst corner, in the same units.

    Source: Zitzler and Thiele, PPSN 1998; computed by moocore (Fonseca et al., CEC 2006).
    """
    points = _checked(points)
    reference = np.asarray(reference, dtype=np.float64)
    if reference.shape != (points.shape[1],):
        raise ValueError(f"hypervolume: got a reference of shape {reference.shape}, expected ({points.shape[1]},)")
    points = points[(points < reference).all(axis=1)]
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(reference[0] - points[:, 0].min())
    return float(moocore.hypervolume(points, ref=reference))


@dataclass(frozen=True)
class Normalisation:
    """A fixed scale on which fronts of one problem are compared.

    Parameters
    ----------
    ideal, nadir : per objective, in its unit: the values that become 0 and 1.
    log : per objective, whether it is compared by its log10.
    """

    ideal: tuple[float, ...]
    nadir: tuple[float, ...]
    log: tuple[bool, ...]

    @classmethod
    def from_points(cls, points: np.ndarray) -> Normalisation:
        """The box around the points: ideal = least, nadir = greatest value of each objective.

        An objective is put on a log scale when all its values are positive and they span more than
        `LOG_SPAN`.  An objective with one value only gets a box of width 1 (a factor e on a log scale).
        """
        points = _checked(points)
        if len(points) == 0:
            raise ValueError("Normalisation: got no point; at least one feasible design is needed")
        ideal, nadir = points.min(axis=0), points.max(axis=0)
        with np.errstate(over="ignore"):
            log = (ideal > 0) & (nadir > LOG_SPAN * ideal)
        return cls(tuple(ideal.tolist()), tuple(nadir.tolist()), tuple(log.tolist()))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points on the scale: (n, m), 0 at the ideal and 1 at the nadir."""
        points = np.array(points, dtype=np.float64)
        low, high = np.array(self.ideal), np.array(self.nadir)
        for j, log in enumerate(self.log):
            if log:
                points[:, j] = np.log10(points[:, j], where=points[:, j] > 0, out=np.full(len(points), -np.inf))
                low[j], high[j] = np.log10(low[j]), np.log10(high[j])
        half = np.where(np.isfinite(_width(low, high)), 1.0, 0.5)  # of a box wider than a float can tell
        with np.errstate(over="ignore"):
            return (points * half - low * half) / np.where(high > low, _width(low * half, high * half), 1.0)

    def hypervolume(self, points: np.ndarray) -> float:
        """Dominated share of the box up to `REFERENCE`: 0 for no point, 1 for a point at the ideal.

        Points better than the ideal (possible when the scale was fixed before they were found) push it above 1.
        """
        points = np.asarray(points, dtype=np.float64)
        m = len(self.ideal)
        if len(points) == 0:
            return 0.0
        scaled = np.clip(self(points), -1e6, 1e6)
        return hypervolume(scaled, np.full(m, REFERENCE)) / REFERENCE**m


def _width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return high - low


def distances(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How far points are from each point of a reference front: the least factor by which all objectives of one of the
    points must shrink to be no worse than it, less 1; (k,), 0 where one is as good.

    Parameters
    ----------
    points : (n, m) objectives, minimised, n >= 1.
    reference : (k, m) in the same units.  All numbers must be positive.

    Their largest is the multiplicative epsilon indicator, less 1 (Zitzler et al., IEEE Trans. Evol. Comp. 7(2), 2003).
    """
    points, reference = _checked(points), _checked(reference)
    if points.shape[1] != reference.shape[1] or len(points) == 0:
        raise ValueError(
            f"distances: got points {points.shape}, reference {reference.shape}: as many objectives, n >= 1"
        )
    if (points <= 0).any() or (reference <= 0).any():
        raise ValueError("distances: a factor needs positive objectives")
    found = [(points / each).max(axis=1).min() - 1 for each in reference]
    return np.maximum(np.array(found, dtype=np.float64), 0.0)


class RunningFront:
    """The front of a stream of points, in memory that depends only on the size of the front.

    `update` takes the next points; `points` (k, m) and `numbers` (k,) are the front so far and the
    running number of each of its points in the stream.
    """

    def __init__(self, n_objectives: int) -> None:
        self.points = np.empty((0, n_objectives))
        self.numbers = np.empty(0, dtype=np.int64)

    def update(self, points: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Add points (n, m) numbered `numbers` (n,); returns what is left of the old front followed by the new
        points, as indices into their concatenation (k,)."""
        if len(points) == 0:
            return np.arange(len(self.points))
        union = np.concatenate([self.points, points])
        keep = non_dominated(union)
        self.points = union[keep]
        self.numbers = np.concatenate([self.numbers, numbers])[keep]
        return keep


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.ascontiguousarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] == 0:
        raise ValueError(f"got points of shape {points.shape}, expected (points, objectives)")
    if not np.isfinite(points).all():
        raise ValueError("got a point that is not finite; filter such designs first")
    return points


def knee(scaled: np.ndarray) -> int:
    """Index of the front's knee: the point furthest below the plane through the ends of the front.

    Parameters
    ----------
    scaled : (k, m) points of a front on a `Normalisation`, k >= 1; the plane is where they sum to 1.

    Source: Das, Structural Optimization 18, 1999, "On characterizing the knee of the Pareto curve".
    """
    return int(np.argmin(np.asarray(scaled, dtype=np.float64).sum(axis=1)))


def spread(scaled: np.ndarray, count: int) -> np.ndarray:
    """Indices (increasing) of `count` points spread over a front: its ends and its knee, then ever the point
    furthest from those chosen.

    Parameters
    ----------
    scaled : (k, m) points of a front on a `Normalisation`; all are chosen when k <= count.
    """
    scaled = np.asarray(scaled, dtype=np.float64)
    if len(scaled) <= count:
        return np.arange(len(scaled))
    chosen = list(dict.fromkeys([*np.argmin(scaled, axis=0).tolist(), knee(scaled)]))[:count]
    distance = np.min([np.linalg.norm(scaled - scaled[i], axis=1) for i in chosen], axis=0)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return np.sort(np.array(chosen, dtype=np.int64))
