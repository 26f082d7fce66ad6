"""Evaluate every design of `small_space` for ResNet-50 and keep the exact front as a reference result.

Usage: python experiments/reference_sweep.py [workers]

Minutes on two cores; killed, the same command continues.  Writes into results/reference/resnet50_small_space/:

exact_front.csv   the front, columns as in every run
objectives.npz    latency_s, area_mm2, overflow of every design, each (663552,), in the order of `space.all_designs()`
manifest.json     what decides the numbers (network, space, technology, probes of the model), counts, time
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

import dse
from dse.runs.files import git_commit, now, write_whole
from dse.runs.identity import of_model, versions
from dse.runs.problem_protocol import Evaluated
from dse.search.exhaustive_sweep import sweep
from problems import SingleDNN

REFERENCE = Path("results/reference/resnet50_small_space")
SCRATCH = Path("results/reference_sweep")
COLUMNS = ("latency_s", "area_mm2", "overflow")


def main(workers: int = -1) -> None:
    """Sweep, printing a line now and then, and write the files."""
    problem = SingleDNN("resnet50", space=dse.small_space(), n_jobs=workers)
    for directory in (REFERENCE, SCRATCH):
        directory.mkdir(parents=True, exist_ok=True)
    raw, shape = SCRATCH / "objectives.npy", (len(COLUMNS), problem.space.size)
    table = np.lib.format.open_memmap(raw, "r+" if raw.exists() else "w+", np.float64, shape)
    start, counts = time.perf_counter(), {"designs": 0, "lines": 0}
    identified = of_model(problem)  # now: the source may change while the sweep runs

    def keep(first: int, rows: Evaluated) -> None:
        for row, name in zip(table, COLUMNS, strict=True):
            row[first : first + len(rows)] = rows.metrics[name]
        table.flush()
        counts["designs"] += len(rows)

    def progress(done: int, size: int, front: int) -> None:
        if time.perf_counter() - start > 15 * counts["lines"]:
            counts["lines"] += 1
            print(f"{time.perf_counter() - start:6.0f} s: {done} of {size} designs, front of {front}", flush=True)

    swept = sweep(problem, checkpoint=SCRATCH / "sweep.json", progress=progress, each=keep)
    wall_time_s = time.perf_counter() - start
    write_whole(REFERENCE / "exact_front.csv", swept.text(problem))
    np.savez_compressed(REFERENCE / "objectives.npz", **dict(zip(COLUMNS, table, strict=True)))
    about = {
        "identity": identified,
        "versions": versions(),
        "designs": swept.evaluated,
        "feasible": swept.feasible,
        "front": len(swept.X),
        "last_call": {"designs": counts["designs"], "wall_time_s": round(wall_time_s, 1), "workers": workers},
        "ended": now(),
        "git_commit": git_commit(),
    }
    write_whole(REFERENCE / "manifest.json", (json.dumps(about, indent=1) + "\n").encode())
    print(f"{swept.evaluated} designs, {swept.feasible} feasible, front of {len(swept.X)}; wrote {REFERENCE}")


if __name__ == "__main__":
    from command_line import run as run_command

    run_command(__doc__, main)
