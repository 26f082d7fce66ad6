"""How much of ResNet-50's Pareto fronts survives if the constants of the technology are wrong?

python experiments/sensitivity.py [draws] [workers]

A search of 4,000 designs over the default space for each set of objectives, then `dse.sensitivity` of its front: draws
(200) of the constants, of the area and of the price of the DRAM interface.  A killed run continues with its searches.
Writes into results/sensitivity/: for each set of objectives OBJECTIVES.csv (a row a design of the front),
OBJECTIVES_draws.csv (a row a draw and scenario), OBJECTIVES_constants.csv (how survival goes with each constant) and a
figure; the searches, in results/sensitivity/runs/, are not kept.  An hour on two cores.
"""

from __future__ import annotations

import functools
from pathlib import Path

import dse
from dse.output.figure_style import save_widths
from dse.output.sensitivity_figures import sensitivity_report, survival_figure
from dse.runs.files import write_whole
from problems import SingleDNN

OUT = Path("results/sensitivity")
SEARCH = 4000
OBJECTIVES = (("latency_s", "area_mm2"), ("latency_s", "energy_j"), ("latency_s", "energy_j", "area_mm2"))


def main(draws: int = 200, workers: int = -1) -> None:
    """Run the study."""
    for objectives in OBJECTIVES:
        name = "_".join(objective.rpartition("_")[0] for objective in objectives)
        problem = SingleDNN("resnet50", objectives=objectives, n_jobs=workers)
        run = dse.explore(problem, evaluations=SEARCH, random_twin=False, out=OUT / "runs" / name)
        found = dse.sensitivity(problem, run, draws=draws)
        for ending, table in (("", found.designs), ("_draws", found.draws), ("_constants", found.constants)):
            write_whole(OUT / f"{name}{ending}.csv", table.to_csv(index=False, lineterminator="\n").encode())
        save_widths(functools.partial(survival_figure, found, run), OUT, name, f"sensitivity, {name}")
        print(", ".join(objectives), *sensitivity_report(found), sep="\n  ", flush=True)


if __name__ == "__main__":
    from command_line import run as run_command

    run_command(__doc__, main)
