"""Evaluate every design of `small_space` for ResNet-50 and keep the exact front as a reference result.

    python -m experiments reference_sweep         # minutes on two cores; killed, the same command continues

Into results/reference/resnet50_small_space/:

exact_front.csv   the front, columns as in every run
objectives.npz    latency_s, area_mm2, overflow of every design, each (663552,), in the order of `space.all_designs()`;
                  read by the experiment sensitivity and by benchmarks/search_quality.py; git does not keep it
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import dse
from dse.runs.files import write_whole
from dse.runs.problem_protocol import Evaluated
from dse.search.exhaustive_sweep import sweep
from experiments.study import RESULTS, Finding, Jobs, Out, Overwrite, Quick, Stages, Steps, Study, read_table
from problems import SingleDNN

PLACE = RESULTS / "reference" / "resnet50_small_space"
COLUMNS = ("latency_s", "area_mm2", "overflow")


def main(
    stages: Stages = None, quick: Quick = False, out: Out = None, jobs: Jobs = -1, overwrite: Overwrite = False
) -> None:
    """Sweep, and write the files."""
    study = Study.at("reference_sweep", out or (None if quick else PLACE), quick, jobs, overwrite)
    space = dse.small_space()
    if quick:
        space = dse.DesignSpace({v.name: v.levels for v in space.variables[:5]}, space.base, "few")
    problem = SingleDNN("wide_deep" if quick else "resnet50", space=space, n_jobs=jobs)
    study.run(stages, {"sweep": lambda: swept(study, problem)}, lambda: study.begin([problem]))


def swept(study: Study, problem: SingleDNN) -> None:
    """The one stage."""
    study.runs.mkdir(parents=True, exist_ok=True)
    path, shape = study.runs / "objectives.npy", (len(COLUMNS), problem.space.size)
    table = np.lib.format.open_memmap(path, "r+" if path.exists() else "w+", np.float64, shape)

    def keep(first: int, rows: Evaluated) -> None:
        for row, name in zip(table, COLUMNS, strict=True):
            row[first : first + len(rows)] = rows.metrics[name]
        table.flush()

    with Steps(problem.space.size, "designs") as steps:
        found = sweep(problem, checkpoint=study.runs / "sweep.json", each=keep,
                      progress=lambda done, size, front: steps.step(done - steps.done))  # fmt: skip
    write_whole(study.out / "exact_front.csv", found.text(problem))
    np.savez_compressed(study.out / "objectives.npz", **dict(zip(COLUMNS, table, strict=True)))
    print(f"{found.evaluated} designs, {found.feasible} feasible, front of {len(found.X)}")


def findings(results: Path) -> Iterator[Finding]:
    """Size of space and front."""
    front = read_table(results / "reference" / "resnet50_small_space" / "exact_front.csv", ["latency_s", "area_mm2"])
    yield Finding(f"The exact front of the {dse.small_space().size:,} designs has {len(front)}.")
