"""One accelerator for eight DNNs, after Yu et al., IEEE TC 2021: their own optima, the shared design, what it gains.

python experiments/eight_dnns.py search best|fixed [workers]   # nine searches; killed, the same command continues
python experiments/eight_dnns.py table                         # from the runs of both mappings; seconds
python experiments/eight_dnns.py draw                          # heat maps of matrix.csv; seconds

`search`: NSGA-II over the default space for (latency, area) of each DNN, and of the geometric mean of the eight with
a random twin.  A design counts only where all eight can run.  "best": the best mapping of every layer, 5,000 designs a
DNN and 10,000 for the mean; "fixed": loop order and tiles frozen in hardware for all layers, as in the paper, 20,000.
`table`: at each area budget [mm2] of `BUDGETS`, at 45 nm, over all designs of the nine searches and the twin:

designs.csv     a DNN's own optimum is the fastest for it within the budget; "shared" has the least geometric mean
matrix.csv      every optimum on every DNN: performance, 1 = that DNN's own optimum; geometric mean of the row
summary.csv     geometric means; how much the shared design's is above each single-DNN design's [%]; the paper, which
                selects the best of the eight single-DNN designs: 12.0 to 117.9 %
generality.csv  what the shared design loses on each DNN, and the design of least geometric mean over the other seven

into results/eight_dnns/; the runs, in results/eight_dnns/runs/, are not kept.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import dse
from dse.analysis.price_of_generality import price_table
from dse.networks import EIGHT
from dse.output.figure_style import TWO_COLUMNS_IN, add_footer, is_wide, save_widths, styled
from dse.runs.column_dictionary import PARAMETERS
from dse.runs.tables import read_table
from problems import GeomeanDNN

OUT = Path("results/eight_dnns")
BUDGETS = (10.0, 40.0, 160.0)
EVALUATIONS = {"best": 5_000, "fixed": 20_000}
MEAN = 10_000
"""Least evaluations of the search for the geometric mean."""
SHORT = {
    "inception_v3": "Inception-v3", "deeplabv3_resnet50": "DeepLabv3", "resnet50": "ResNet-50",
    "faster_rcnn_resnet50": "Faster R-CNN", "ptb_lstm_medium": "PTB LSTM", "wide_deep": "Wide & Deep",
    "nasnet_a_large": "NASNet-A", "vgg16": "VGG-16", "shared": "shared", "geomean": "geom. mean",
}  # fmt: skip
PAPER = (12.0, 117.9)


def search(mapping: str, workers: int = -1) -> None:
    """The nine searches."""
    for name in (*EIGHT, "mean"):
        latency = "latency_s" if name == "mean" else f"latency_s_{name}"
        problem = GeomeanDNN(EIGHT, objectives=(latency, "area_mm2"), mapping=mapping, n_jobs=workers)
        start, budget = time.perf_counter(), max(MEAN if name == "mean" else 0, EVALUATIONS[mapping])
        run = dse.explore(problem, evaluations=budget, random_twin=name == "mean", out=OUT / "runs" / mapping / name)
        print(f"{mapping} {name}: front of {len(run.front)}, {time.perf_counter() - start:.0f} s", flush=True)


def pool(mapping: str) -> pd.DataFrame:
    """Every design that the searches of a mapping evaluated and that runs all eight."""
    tables = []
    for name in (*EIGHT, "mean"):
        for file in ("designs.csv", "random_twin.csv"):
            path = OUT / "runs" / mapping / name / file
            if path.is_file():
                tables.append(read_table(path).assign(search=name))
    every = pd.concat(tables, ignore_index=True)
    return every[every["feasible"]].reset_index(drop=True)


def table() -> None:
    """Matrix, summary and price at each budget."""
    designs, matrix, summary, prices = [], [], [], []
    for mapping in EVALUATIONS:
        every = pool(mapping)
        latency_s = every[[f"latency_s_{name}" for name in EIGHT]].to_numpy(float)
        for budget in BUDGETS:
            within = np.flatnonzero(every["area_mm2"] <= budget)
            own = [within[np.argmin(latency_s[within, j])] for j in range(len(EIGHT))]
            shared = within[np.argmin(np.log(latency_s[within]).sum(axis=1))]
            chosen = [*own, shared]
            performance = latency_s[own, range(len(EIGHT))] / latency_s[chosen]
            mean = np.exp(np.log(performance).mean(axis=1))
            where = {"mapping": mapping, "budget_mm2": budget}
            for i, name in enumerate((*EIGHT, "shared")):
                row = every.iloc[chosen[i]]
                kept = {c: row[c] for c in every if c in PARAMETERS or c.startswith("fixed_")}
                designs.append(where | {"design": name, "area_mm2": row["area_mm2"]} | kept
                               | {f"latency_s_{n}": row[f"latency_s_{n}"] for n in EIGHT})  # fmt: skip
                matrix.append(
                    where | {"design": name} | dict(zip(EIGHT, performance[i], strict=True)) | {"geomean": mean[i]}
                )
                summary.append(where | {"design": name, "geomean": mean[i],
                                        "shared_gains_percent": 100 * (mean[-1] / mean[i] - 1)})  # fmt: skip
            fits = np.ones_like(latency_s, dtype=bool)
            # prices within the budget, not within the shared design's own area
            area = np.where(every["area_mm2"] <= budget, budget, np.inf)
            price = price_table(latency_s, fits, area, [shared], EIGHT)
            prices.append(price[["network", "loss", "left_out_loss"]].assign(**where))
    OUT.mkdir(parents=True, exist_ok=True)
    for file, rows in (("designs", designs), ("matrix", matrix), ("summary", summary)):
        pd.DataFrame(rows).to_csv(OUT / f"{file}.csv", index=False, float_format="%.6g")
    columns = ["mapping", "budget_mm2", "network", "loss", "left_out_loss"]
    pd.concat(prices)[columns].to_csv(OUT / "generality.csv", index=False, float_format="%.6g")
    tell(pd.DataFrame(summary), pd.DataFrame(designs), pd.concat(prices))


def tell(summary: pd.DataFrame, designs: pd.DataFrame, prices: pd.DataFrame) -> None:
    """The findings as lines."""
    for (mapping, budget), rows in summary.groupby(["mapping", "budget_mm2"], sort=False):
        single = rows[rows["design"] != "shared"]
        gains = single["shared_gains_percent"]
        print(f"{mapping:5s} {budget:g} mm2: shared design {gains.min():.1f} to {gains.max():.1f} % above the "
              f"single-DNN designs, median {gains.median():.1f} % (paper {PAPER[0]} to {PAPER[1]} %); it is "
              f"the optimum of {', '.join(single['design'][gains == 0]) or 'none of them'}")  # fmt: skip
        of = prices[(prices["mapping"] == mapping) & (prices["budget_mm2"] == budget)]
        print(f"      price of generality {100 * of['loss'].min():.1f} to {100 * of['loss'].max():.1f} %; left out "
              f"{100 * of['left_out_loss'].min():.1f} to {100 * of['left_out_loss'].max():.1f} %")  # fmt: skip
    latency = designs[designs["design"] == "shared"].set_index(["mapping", "budget_mm2"])
    times = np.exp(np.log(latency[[f"latency_s_{n}" for n in EIGHT]]).mean(axis=1)).unstack(0)
    print((times["fixed"] / times["best"]).rename("geometric mean latency, fixed / best mapping").round(3).to_string())


def draw() -> None:
    """A heat map of each budget, both mappings in one figure."""
    matrix = pd.read_csv(OUT / "matrix.csv")
    for budget in BUDGETS:
        parts = {m: matrix[(matrix["mapping"] == m) & (matrix["budget_mm2"] == budget)] for m in EVALUATIONS}
        name = f"matrix_{budget:g}mm2"
        save_widths(functools.partial(heat_map, parts, budget), OUT, name, name, png_width_in=TWO_COLUMNS_IN)


TITLES = {"best": "best mapping of every layer", "fixed": "loop order and tiles frozen in hardware"}


@styled
def heat_map(
    parts: dict[str, pd.DataFrame], budget: float, width_in: float = TWO_COLUMNS_IN, with_footer: bool = True
) -> Figure:
    """Performance of every design on every DNN, and the geometric mean, with the numbers."""
    wide = is_wide(width_in)
    figure = Figure(figsize=(width_in, 3.5 if wide else 5.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True) if wide else figure.subplots(2, 1, sharex=True)
    for axis, (mapping, rows) in zip(axes, parts.items(), strict=True):
        values = rows[[*EIGHT, "geomean"]].to_numpy(float)
        image = axis.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=5, color="w" if value < 0.6 else "k")
        axis.set_xticks(np.arange(9), [SHORT[n] for n in (*EIGHT, "geomean")], rotation=90)
        axis.set_yticks(np.arange(9), [SHORT[n] for n in rows["design"]])
        axis.axhline(7.5, color="w", lw=1.2)
        axis.axvline(7.5, color="w", lw=1.2)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.set_title(TITLES[mapping])
        if wide or axis is axes[-1]:
            axis.set_xlabel("DNN that runs")
        if not wide or axis is axes[0]:
            axis.set_ylabel("Design for")
    said = "Performance, 1 = the DNN's own optimum"
    figure.colorbar(image, ax=axes, label=said, shrink=0.9, location="right" if wide else "top", aspect=25)
    said = "1 / latency of each design on each DNN; designs of least latency (shared: least geometric mean of the eight"
    return add_footer(figure, f"{said}) within {budget:g} mm\u00b2 at 45 nm", with_footer)


if __name__ == "__main__":
    actions = {"search": search, "table": table, "draw": draw}
    if len(sys.argv) < 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]](*[int(x) if x.lstrip("-").isdecimal() else x for x in sys.argv[2:]])
