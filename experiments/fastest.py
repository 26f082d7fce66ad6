"""No design within an area is faster than the fastest known by more than a factor: `dse certify`'s proof, for latency.

`dse.certify` proves that nothing is better than a front in latency and area at once, and so spends its time on designs
that are small.  Here area is a limit alone: the same branch and bound, with what is known judged by its latency.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dse.proof.bounds_of_designs import DesignBounds
from dse.proof.branch_and_bound import Archive, Search, keeps_to
from dse.proof.certificate import certifiable_networks, look, read_boxes, trusted_boxes, write_boxes
from dse.runs.files import write_whole
from dse.runs.identity import source_sha256

PROOF, BOXES, DESIGNS = "proof.json", "proof_boxes.npz", "proof_designs.csv"


class Fastest(Archive):
    """Known designs, of which the fastest counts."""

    def factors(self, latency: np.ndarray, area: np.ndarray) -> np.ndarray:
        """Least known latency over lower bounds, (n,)."""
        return self.F[:, 0].min(initial=np.inf) / latency

    def enough(self, area: np.ndarray, factor: float) -> np.ndarray:
        """Latency from which on a box is done, (n,)."""
        return np.full(len(area), self.F[:, 0].min(initial=np.inf) / factor)


def prove(
    problem: Any, X: np.ndarray, area_mm2: float, within: float, minutes: float, out: Path
) -> tuple[float, float, str]:
    """Least latency known [s], the share by which no design of at most `area_mm2` is faster, and why it stopped.

    Starts from designs X (k, n_var), or from what lies in `out`, where a killed proof continues.  Writes `PROOF`,
    `BOXES` and `DESIGNS`, those that were known or met on the front.
    """
    start = time.perf_counter()
    networks, weights = certifiable_networks(problem)
    bounding = DesignBounds(problem.space, networks, weights, problem.technology, problem.n_jobs)
    boxes, distrusted = trusted_boxes(problem.space, bounding)
    found, caps = bounding.designs(X), (np.inf, area_mm2)
    inside = keeps_to(found, caps)
    search = Search(boxes, bounding, Fastest(found[inside], X[inside]), caps)
    of = {"source": source_sha256(), "limits": {"area_mm2": area_mm2}, "distrusted": list(distrusted)}
    kept = read_boxes(out / BOXES)
    if kept is not None and kept.untouched and kept.told == {"of": of}:
        search.open, search.done = kept.open, kept.done
        search.archive = Fastest(kept.archive_F, kept.archive_X)
    reason = look(search, 1 + within, start, 60 * minutes, lambda: write_boxes(out / BOXES, search, {"of": of}))
    least, share = float(search.archive.F[:, 0].min()), search.factor - 1
    told = {"proven": share, "latency_s": least, "stopped_because": reason, "designs_of_the_space": problem.space.size}
    write_whole(out / PROOF, (json.dumps(told | of, indent=1) + "\n").encode())
    columns = problem.space.columns(search.archive.X) | {"latency_s": search.archive.F[:, 0]}
    write_whole(out / DESIGNS, pd.DataFrame(columns).to_csv(index=False, lineterminator="\n").encode())
    return least, share, reason
