"""No design within an area is faster than the fastest known by more than a factor: `dse certify`'s proof, for latency.

`dse.certify` proves that nothing is better than a front in latency and area at once.  Here area is a limit alone, and
several limits share one proof: the same branch and bound, with each box judged by the fastest design within the
smallest limit that its area keeps to.  What a box is bounded by does not depend on that, so a proof goes on from the
boxes of any other of the same network and space, such as a certificate's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dse.proof.bounds_of_designs import DesignBounds
from dse.proof.boxes import box_space
from dse.proof.branch_and_bound import AT_LIMIT, Archive, Boxes, Search, keeps_to
from dse.proof.certificate import KeptBoxes, certifiable_networks, look, read_boxes, trusted_boxes, write_boxes
from dse.runs.files import write_whole
from dse.runs.identity import source_sha256
from experiments.study import write_table

PROOF, BOXES, DESIGNS = "proof.json", "proof_boxes.npz", "proof_designs.csv"


@dataclass
class Fastest(Archive):
    """Known designs, of which the fastest within each limit of the area counts.

    Parameters
    ----------
    areas : (n_limits,) the limits [mm2], rising.
    """

    areas: np.ndarray

    def least(self) -> np.ndarray:
        """Least known latency within each limit [s], (n_limits,); infinite where none is known."""
        inside = self.F[:, 1][None] <= self.areas[:, None] * AT_LIMIT
        return np.where(inside, self.F[:, 0][None], np.inf).min(axis=1, initial=np.inf)

    def _least_for(self, area: np.ndarray) -> np.ndarray:
        """Of the smallest limit that an area keeps to, (n,); 0 beyond all."""
        return np.append(self.least(), 0.0)[np.searchsorted(self.areas * AT_LIMIT, area)]

    def factors(self, latency: np.ndarray, area: np.ndarray) -> np.ndarray:
        """Least known latency over lower bounds, (n,)."""
        return self._least_for(area) / latency

    def enough(self, area: np.ndarray, factor: float) -> np.ndarray:
        """Latency from which on a box is done, (n,)."""
        return self._least_for(area) / factor


@dataclass(frozen=True)
class Proof:
    """What is proven.

    Parameters
    ----------
    latency_s : by limit of the area [mm2]: least latency known.
    share : by limit: no design within it is faster by more than this share.
    reason : why the proof stopped.
    """

    latency_s: dict[float, float]
    share: dict[float, float]
    reason: str


def prove(
    problem: Any,
    X: np.ndarray,
    areas_mm2: Sequence[float],
    within: float,
    minutes: float,
    out: Path,
    before: Path | None = None,
) -> Proof:
    """How much faster than the fastest known a design within each of some areas can be.

    Starts from designs X (k, n_var), and from the boxes in `out`, where a proof ended or was killed, or else in the
    file `before`, if they are of this space and code.  Writes `PROOF`, `BOXES` and `DESIGNS`, the known designs.
    """
    start = time.perf_counter()
    networks, weights = certifiable_networks(problem)
    bounding = DesignBounds(problem.space, networks, weights, problem.technology, problem.n_jobs)
    areas = np.sort(np.asarray(areas_mm2, dtype=float))
    caps = (np.inf, float(areas[-1]))
    told = {"source": source_sha256(), "space": problem.space.hash}
    kept = next((x for x in (_kept(file, told) for file in (out / BOXES, before)) if x is not None), None)
    if kept is None:
        boxes, distrusted = trusted_boxes(problem.space, bounding)
    else:
        distrusted = tuple(kept.told["distrusted"])
        boxes = box_space(problem.space, distrusted)
    known = Fastest(np.empty((0, 2)), X[:0], areas)
    search = Search(boxes, bounding, known, caps)
    if kept is not None:
        search.open, search.done = kept.open, kept.done
        known.add(*_inside(kept.archive_F, kept.archive_X, caps))
    known.add(*_inside(bounding.designs(X), X, caps))
    of = {"of": told | {"limits": {}}, "distrusted": list(distrusted)}
    out.mkdir(parents=True, exist_ok=True)
    reason = look(search, 1 + within, start, 60 * minutes, lambda: write_boxes(out / BOXES, search, of))
    least = dict(zip(areas.tolist(), known.least().tolist(), strict=True))
    every = Boxes.join([search.open, search.done])
    proof = Proof(least, {area: _share(every, area, least[area]) for area in least}, reason)
    _write(out, proof, problem.space, known)
    return proof


def _kept(file: Path | None, told: dict[str, Any]) -> KeptBoxes | None:
    """Boxes of a file, where they are as a proof of this space and code wrote them, whatever it judged them by."""
    kept = None if file is None else read_boxes(file)
    if kept is None or not kept.untouched or any(kept.told["of"].get(name) != value for name, value in told.items()):
        return None
    return None if kept.told["of"]["limits"] else kept


def _inside(F: np.ndarray, X: np.ndarray, caps: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The designs that keep to the limits."""
    inside = keeps_to(F, caps)
    return F[inside], X[inside]


def _share(every: Boxes, area_mm2: float, least_s: float) -> float:
    """By how much a design of the boxes within an area may be faster than the least latency."""
    possible = keeps_to(np.column_stack([every.latency, every.area]), (np.inf, area_mm2)) & np.isfinite(every.latency)
    return max(0.0, float((least_s / every.latency[possible]).max(initial=1.0)) - 1)


def _write(out: Path, proof: Proof, space: Any, archive: Archive) -> None:
    told = {
        f"{area:g}": {"proven": proof.share[area], "latency_s": proof.latency_s[area]} for area in proof.latency_s
    } | {"stopped_because": proof.reason, "designs_of_the_space": space.size}
    write_whole(out / PROOF, (json.dumps(told, indent=1) + "\n").encode())
    columns = space.columns(archive.X) | {"latency_s": archive.F[:, 0], "area_mm2": archive.F[:, 1]}
    write_table(out / DESIGNS, pd.DataFrame(columns))
