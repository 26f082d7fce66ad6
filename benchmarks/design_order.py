"""Does another model order designs otherwise?  Designs and their ranks, before and after energy had a clock.

    python benchmarks/design_order.py gather before=DIRECTORY today=DIRECTORY ...   # by the model of before, once
    python benchmarks/design_order.py                                               # by today's model, a minute
    python benchmarks/design_order.py save                                          # and keep what it says

Each DIRECTORY is a finished `dse explore NETWORK -n 3000 --no-random-twin` with `--objectives latency_s,area_mm2` or
`latency_s,energy_j`, by the model of before (commit fda0850) or of today.  `gather`, run by the model of before,
writes up to 60 designs of each front, evenly spread, with what that model says of them to
`benchmarks/data/design_order.csv`, and its ranks of dataflows and buffers to `design_order_ranks.csv`.  Without
arguments the script costs the same designs by the model it runs with, and prints both side by side; `save` puts that
model's ranks beside the others, and the rank correlations into `design_order_correlations.csv`: what results/README.md
says is held against these.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import dse
from dse.costs.batches import BatchEvaluator
from dse.runs.tables import genes_of, read_table

DATA = Path(__file__).parent / "data"
DESIGNS, RANKS = DATA / "design_order.csv", DATA / "design_order_ranks.csv"
CORRELATIONS = DATA / "design_order_correlations.csv"
METRICS = ("latency_s", "energy_j", "area_mm2")
COMPARED = {**{m: (m,) for m in METRICS}, "energy x latency": METRICS[:2], "area x latency": METRICS[::2]}
SWAPPED = ("dataflow", "buffers")
MOST, BASES = 60, 15
"""Designs of a front that are kept, and those of them in which every dataflow, and every arrangement of the buffers,
takes the place of their own."""

SPACE = dse.default_space()


def some(n: int, most: int) -> np.ndarray:
    """At most `most` of `n` places, evenly spread."""
    return np.unique(np.linspace(0, n - 1, most).round().astype(int))


def costs(network: str, genes: np.ndarray) -> pd.DataFrame:
    """`METRICS` of a network on designs, one row each; infinite where it does not fit."""
    found = BatchEvaluator(dse.load_network(network))(SPACE.columns(genes))
    return pd.DataFrame({m: np.where(found["overflow"] == 0, found[m], np.inf) for m in METRICS})


def compared(of: pd.DataFrame, name: str) -> pd.Series:
    """A metric, or a product of metrics, of each row."""
    return of[list(COMPARED[name])].prod(axis=1)


def fronts(runs: list[str]) -> pd.DataFrame:
    """Designs of the fronts of runs ``LABEL=DIRECTORY``, by parameter."""
    tables = []
    for label, directory in (run.split("=", 1) for run in runs):
        manifest = json.loads((Path(directory) / "manifest.json").read_text(encoding="utf-8"))
        genes = genes_of(read_table(Path(directory) / "front.csv"), SPACE)
        table = pd.DataFrame(SPACE.columns(genes[some(len(genes), MOST)]))
        asked = manifest["identity"]["problem"]
        tables.append(table.assign(found_by=label, network=asked["network"], second=asked["objectives"][1]))
    return pd.concat(tables, ignore_index=True)


def ranks(designs: pd.DataFrame) -> pd.Series:
    """Mean rank of each dataflow and arrangement on equal hardware, 1 is the best, by network, product and value."""
    rows = {}
    for network, all_of in designs.groupby("network"):
        bases = pd.concat([front.iloc[some(len(front), BASES)] for _, front in all_of.groupby(["found_by", "second"])])
        genes = genes_of(bases, SPACE)
        for swapped in SWAPPED:
            (place,) = (i for i, v in enumerate(SPACE.variables) if v.name == swapped)
            levels = SPACE.variables[place].levels
            each = np.repeat(genes[None], len(levels), axis=0)
            each[:, :, place] = np.arange(len(levels))[:, None]
            found = costs(network, each.reshape(-1, genes.shape[1]))
            for product in ("energy x latency", "area x latency"):
                of = compared(found, product).to_numpy().reshape(len(levels), -1)
                of = pd.DataFrame(of[:, np.isfinite(of).all(axis=0)])
                for level, rank in zip(levels, of.rank(method="min").mean(axis=1), strict=True):
                    rows[network, swapped, product, getattr(level, "name", level)] = round(rank, 2)
    return pd.Series(rows).rename_axis(["network", "swapped", "product", "value"])


def shares(designs: pd.DataFrame) -> pd.DataFrame:
    """What the designs of fronts are made of, by who found them [% of them]."""
    rows = {}
    for who, of in designs.groupby("found_by"):
        widths = [of[f"{x}_buffer_banks"] > 1 for x in ("weight", "input", "output")]
        rows[who] = {
            "banks": 100 * np.mean(np.any(widths, axis=0)),
            "several buffers": 100 * (of["buffers"].astype(str) != "W+I+O").mean(),
            "systolic wires": 100 * (of["interconnect"] == "systolic").mean(),
        } | {flow: 100 * share for flow, share in of["dataflow"].astype(str).value_counts(normalize=True).items()}
    return pd.DataFrame(rows).fillna(0).round().astype(int)


def gather(runs: list[str]) -> None:
    """Write designs, their costs and ranks by the model at hand: that of before."""
    designs = fronts(runs)
    for network, of in designs.groupby("network"):
        designs.loc[of.index, list(METRICS)] = costs(network, genes_of(of, SPACE)).to_numpy()
    designs.to_csv(DESIGNS, index=False)
    ranks(designs).rename("before").to_csv(RANKS)


def correlations(designs: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of the designs before and today, a row a network, a column a metric or product [1]."""
    rows = {}
    for network, of in designs.groupby("network"):
        now = costs(network, genes_of(of, SPACE)).set_index(of.index)
        fits = np.isfinite(now["latency_s"]) & np.isfinite(of["latency_s"])
        rows[network] = {n: compared(of[fits], n).corr(compared(now[fits], n), method="spearman") for n in COMPARED}
    return pd.DataFrame(rows).T.rename_axis("network")


def show(keep: bool = False) -> None:
    """Print before and today side by side."""
    designs = read_table(DESIGNS)
    of_designs = correlations(designs)
    print("Rank correlation of the designs of all fronts, before against today [1]")
    print(of_designs.round(3).to_string())
    before = pd.read_csv(RANKS, index_col=[0, 1, 2, 3])["before"]
    table = pd.DataFrame({"before": before, "today": ranks(designs)})
    if keep:
        of_designs.round(6).to_csv(CORRELATIONS)
        table.to_csv(RANKS)
    for (swapped, product), of in table.groupby(["swapped", "product"], sort=False):
        print(f"\nMean rank of each of the {swapped}, by {product}: before -> today [1]")
        text = of["before"].map("{:.1f}".format) + " -> " + of["today"].map("{:.1f}".format)
        print(text.unstack("network").droplevel([0, 1]).to_string())
    for second, of in designs.groupby("second"):
        print(f"\nDesigns of the fronts of latency and {second}, by the model that found them [%]")
        print(shares(of).to_string())


if __name__ == "__main__":
    gather(sys.argv[2:]) if sys.argv[1:2] == ["gather"] else show(keep=sys.argv[1:2] == ["save"])
