"""No design within an area is faster than the fastest known by more than a factor: `dse certify`'s proof, for latency.

`dse.certify` proves that nothing is better than a front in latency and area at once, and so spends its time on designs
that are small.  Here area is a limit alone: the same branch and bound, with what is known judged by its latency.
"""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dse.proof.bounds_of_designs import DesignBounds
from dse.proof.branch_and_bound import Archive, Search
from dse.proof.certificate import certifiable_networks, read_boxes, trusted_boxes
from dse.runs.files import write_whole
from dse.runs.identity import source_sha256

PROOF, BOXES, DESIGNS = "proof.json", "proof_boxes.npz", "proof_designs.csv"
SAVE_EVERY_S = 30.0


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
    start = saved = time.perf_counter()
    networks, weights = certifiable_networks(problem)
    bounding = DesignBounds(problem.space, networks, weights, problem.technology, problem.n_jobs)
    boxes, distrusted = trusted_boxes(problem.space, bounding)
    found = bounding.designs(X)[:, :2]
    inside = found[:, 1] <= area_mm2
    search = Search(boxes, bounding, Fastest(found[inside], X[inside]), (np.inf, area_mm2))
    of = {"source": source_sha256(), "limits": {"area_mm2": area_mm2}, "distrusted": list(distrusted)}
    kept = read_boxes(out / BOXES)
    if kept is not None and kept.told == {"of": of}:
        search.open, search.done = kept.open, kept.done
        search.archive = Fastest(kept.archive_F, kept.archive_X)
    search.aim_at(1 + within)
    reason, more = "every box is done", len(search.open) > 0
    while more:
        more = search.round(1 + within)
        if more and not search.can_go_on():
            reason, more = "the best mappings of single designs are not known closer", False
        elif more and time.perf_counter() - start > 60 * minutes:
            reason, more = "the time was over", False
        if not more or time.perf_counter() - saved > SAVE_EVERY_S:
            save(search, of, out)
            saved = time.perf_counter()
    least, share = float(search.archive.F[:, 0].min()), search.factor - 1
    told = {"proven": share, "latency_s": least, "stopped_because": reason, "designs_of_the_space": problem.space.size}
    write_whole(out / PROOF, (json.dumps(told | of, indent=1) + "\n").encode())
    columns = problem.space.columns(search.archive.X) | {"latency_s": search.archive.F[:, 0]}
    write_whole(out / DESIGNS, pd.DataFrame(columns).to_csv(index=False, lineterminator="\n").encode())
    return least, share, reason


def save(search: Search, of: dict[str, Any], out: Path) -> None:
    """Write `BOXES`."""
    arrays: dict[str, np.ndarray] = {"archive_F": search.archive.F, "archive_X": search.archive.X}
    for name, some in (("open", search.open), ("done", search.done)):
        arrays |= {f"{name}_{key}": values for key, values in vars(some).items()}
    file = io.BytesIO()
    told = np.array(json.dumps({"of": of}))
    np.savez_compressed(file, told=told, history=np.array(search.history).reshape(-1, 4), **arrays)
    write_whole(out / BOXES, file.getvalue())
