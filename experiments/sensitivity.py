"""How much of ResNet-50's Pareto front survives if every technology constant is wrong by up to 30 %?

python experiments/sensitivity.py [draws] [workers]

Draws (200) of all constants of `Technology`, each times an independent uniform factor in [0.7, 1.3].
"latency, area": the exact front of `small_space` in results/reference; the areas of all its designs anew at every draw.
"latency, energy" and "latency, energy, area": the designs of a search of 4,000 over the default space.
Writes into results/sensitivity/: draws.csv (a row a draw and set of objectives), constants.csv (how survival goes with
each constant), sensitivity.png and .pdf.  15 minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import dse
from dse.analysis.technology_sensitivity import perturbed, perturbed_constants, survival
from dse.costs.batches import BatchEvaluator
from dse.hardware.area import area_mm2
from dse.output.figure_style import BLUE, COLUMN_IN, GREEN, ORANGE, house_style
from dse.runs.tables import genes_of
from problems import SingleDNN

REFERENCE = Path("results/reference/resnet50_small_space/objectives.npz")
OUT = Path("results/sensitivity")
SHARE = 0.3
SEARCH = 4000
OBJECTIVES = ("latency_s", "energy_j", "area_mm2")


def main(draws: int = 200, workers: int = -1) -> None:
    """Run the study."""
    network, base = dse.load_network("resnet50"), dse.Technology.at(45)
    space = dse.small_space()
    swept = np.load(REFERENCE)
    fits = swept["overflow"] == 0
    small = space.columns(space.all_designs()[fits])
    latency_s = swept["latency_s"][fits]
    exact = np.column_stack([latency_s, area_mm2(small, base)])
    problem = SingleDNN(network, objectives=OBJECTIVES, n_jobs=workers)
    run = dse.explore(problem, evaluations=SEARCH, random_twin=False)
    columns = problem.space.columns(genes_of(run.designs[run.designs["feasible"]], problem.space))
    nominal = metrics(network, base, columns, workers)
    rng, lines = np.random.default_rng(0), []
    for draw in range(draws):
        technology = perturbed(base, rng, SHARE)
        now = metrics(network, technology, columns, workers)
        moved = {f"x_{name}": getattr(technology, name) / getattr(base, name) for name in perturbed_constants()}
        for label, before, after in (
            ("latency, area", exact, np.column_stack([latency_s, area_mm2(small, technology)])),
            ("latency, energy", nominal[:, :2], now[:, :2]),
            ("latency, energy, area", nominal, now),
        ):
            survives, regret = survival(before, after)
            quantiles = np.quantile(regret, [0.5, 0.95])
            lines.append(
                {"draw": draw, "objectives": label, "front": len(survives), "surviving_share": survives.mean()}
                | {"median_regret": quantiles[0], "regret_95": quantiles[1], "worst_regret": regret.max()}
                | moved
            )
        print(f"draw {draw + 1} of {draws}", end="\r", file=sys.stderr)
    table = pd.DataFrame(lines)
    OUT.mkdir(parents=True, exist_ok=True)
    table.drop(columns=[c for c in table if c.startswith("x_")]).to_csv(OUT / "draws.csv", index=False)
    influences(table).to_csv(OUT / "constants.csv", index=False)
    draw_figure(table)
    summary = table.groupby("objectives", sort=False)[["front", "surviving_share", "regret_95", "worst_regret"]]
    print(summary.quantile([0.1, 0.5, 0.9]).round(3).to_string())


def metrics(network: dse.Network, technology: dse.Technology, columns: dict, workers: int) -> np.ndarray:
    """Objectives of all designs, (n, 3)."""
    found = BatchEvaluator(network, technology, n_jobs=workers)(columns)
    return np.column_stack([found[name] for name in OBJECTIVES])


def influences(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman correlation, over the draws, of each constant's distance from nominal with the share that survives.

    Noise over n draws is about 1 / sqrt(n): 0.07 at 200; the largest of 40 constants without influence reaches 0.2.
    """
    lines = []
    for label, group in table.groupby("objectives", sort=False):
        share = group["surviving_share"].rank()
        for name in perturbed_constants():
            away = np.log(group[f"x_{name}"]).abs().rank()
            lines.append({"objectives": label, "constant": name, "rank_correlation": share.corr(away)})
    return pd.DataFrame(lines)


def draw_figure(table: pd.DataFrame) -> None:
    """Share of the front that survives and what the rest loses, over the draws."""
    with house_style():
        figure = Figure(figsize=(1.5 * COLUMN_IN, 2.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        looks = ((BLUE, "-"), (ORANGE, "--"), (GREEN, ":"))
        for (label, group), (color, dashes) in zip(table.groupby("objectives", sort=False), looks, strict=True):
            for axis, column in ((left, "surviving_share"), (right, "regret_95")):
                values = np.sort(100 * group[column])
                ranks = np.arange(1, len(values) + 1) / len(values)
                axis.step(values, ranks, where="post", color=color, ls=dashes, label=label)
        left.set_xlabel("Front that survives [%]")
        right.set_xlabel("Loss of 95 % of the front, at most [%]")
        left.set_ylabel("Share of the draws")
        for axis in (left, right):
            axis.grid(True)
            axis.set_ylim(0, 1)
        left.set_xlim(0, 100)
        right.set_xlim(left=0)
        right.legend(loc="lower right", title="objectives", title_fontsize=6.5, handlelength=3)
        for ending in ("png", "pdf"):
            figure.savefig(OUT / f"sensitivity.{ending}", metadata={} if ending == "png" else {"CreationDate": None})


if __name__ == "__main__":
    from command_line import run as run_command

    run_command(__doc__, main)
