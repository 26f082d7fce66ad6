"""Exact fronts of the eight DNNs and of their geometric mean over one sub-space, and how close searches come.

python experiments/exact_fronts.py sweep [workers]     # 25 minutes on one core; killed, the same command continues
python experiments/exact_fronts.py search [seeds]      # 30 seeds, on the table that sweep left; minutes
python experiments/exact_fronts.py draw                # from convergence.csv; seconds

`sweep` evaluates every design of `SPACE` (110,592) on all eight at once, so one pass gives nine exact fronts.  Writes
into results/exact_fronts/:

table.npz         latency_s and overflow of every design and network, (110592, 8) float32, in the order of
                  `SPACE.all_designs()`; fronts and searches below work on these numbers
exact_front.csv   the nine fronts: network, number of the design, latency [s], area [mm2]
manifest.json     what decides the numbers (networks, space, technology, probes of the model), counts, time
quality.csv       a row a network, algorithm and seed: share of the exact hypervolume after 0.5, 1 and 2 % of designs
convergence.csv   quantiles of that share over all seeds and networks along the search, and its figure
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import dse
from dse.hardware.area import area_mm2
from dse.networks import EIGHT
from dse.output.figure_style import (
    BLUE,
    COLUMN_IN,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    add_footer,
    grid,
    is_wide,
    linear_scale,
    log_scale,
    save_widths,
    styled,
)
from dse.runs.files import git_commit, now, write_whole
from dse.runs.identity import of_model, versions
from dse.runs.problem_protocol import Evaluated
from dse.search.exhaustive_sweep import sweep as sweep_all
from dse.search.pareto import Normalisation, non_dominated
from problems import GeomeanDNN
from problems.base import AcceleratorProblem
from problems.geomean import geometric_mean

OUT = Path("results/exact_fronts")
SPACE = dse.DesignSpace(
    {
        "rows": (8, 16, 32, 64),
        "cols": (8, 16, 32, 64),
        "macs_per_pe": (1, 4),
        "dataflow": ("weight_stationary", "output_stationary", "row_stationary", "channel_vector"),
        "interconnect": ("broadcast", "systolic"),
        "weight_register_bytes": (16, 256),
        "output_register_bytes": (4, 64),
        "weight_buffer_kib": (32, 128, 512),
        "input_buffer_kib": (32, 128, 512),
        "output_buffer_kib": (32, 128),
        "input_buffer_width_bytes": (16, 64),
        "dram_gbps": (4, 16, 64),
    },
    dse.Accelerator(overlap_skew=True, input_register_bytes=16),
    "exact fronts",
)
MEAN = "geometric mean"
SHARES = (0.005, 0.01, 0.02)
ALGORITHMS = {"nsga2": "NSGA-II", "smsemoa": "SMS-EMOA", "spea2": "SPEA2", "random": "random search"}
POPULATION = 32


def sweep(workers: int = 1) -> None:
    """Evaluate the space, printing a line now and then."""
    OUT.mkdir(parents=True, exist_ok=True)
    problem = GeomeanDNN(EIGHT, space=SPACE, n_jobs=workers)
    raw, shape = OUT / "table.npy", (2, SPACE.size, len(EIGHT))
    table = np.lib.format.open_memmap(raw, "r+" if raw.exists() else "w+", np.float32, shape)
    start, lines, count = time.perf_counter(), [0], [0]
    identity = of_model(problem)

    def keep(first: int, rows: Evaluated) -> None:
        for part, metric in zip(table, ("latency_s", "overflow"), strict=True):
            part[first : first + len(rows)] = np.column_stack([rows.metrics[f"{metric}_{name}"] for name in EIGHT])
        table.flush()
        count[0] += len(rows)

    def progress(done: int, size: int, front: int) -> None:
        if time.perf_counter() - start > 30 * lines[0]:
            lines[0] += 1
            print(f"{time.perf_counter() - start:6.0f} s: {done} of {size} designs, front of {front}", flush=True)

    done = sweep_all(problem, checkpoint=OUT / "sweep.json", progress=progress, each=keep)
    took = time.perf_counter() - start
    np.savez_compressed(OUT / "table.npz", latency_s=table[0], overflow=table[1])
    about = {"identity": identity, "versions": versions(), "designs": done.evaluated, "feasible": done.feasible,
             "last_call": {"designs": count[0], "wall_time_s": round(took, 1), "workers": workers},
             "ended": now(), "git_commit": git_commit()}  # fmt: skip
    write_whole(OUT / "manifest.json", (json.dumps(about, indent=1) + "\n").encode())
    (OUT / "sweep.json").unlink(missing_ok=True)
    raw.unlink()
    print(f"{done.evaluated} designs, {done.feasible} feasible on all eight; {took:.0f} s for {count[0]} of them")


class Tabulated(AcceleratorProblem):
    """Latency [s], one network's or the geometric mean, and area [mm2] of the designs of `SPACE`, looked up."""

    objective_names = ("latency_s", "area_mm2")

    def __init__(self, table: dict[str, np.ndarray], name: str) -> None:
        super().__init__(lambda columns: {}, SPACE)
        latency_s, overflow = table["latency_s"].astype(float), table["overflow"].astype(float)
        if name == MEAN:
            latency_s, overflow = geometric_mean(latency_s.T, [1.0] * len(EIGHT)), overflow.sum(axis=1)
        else:
            latency_s, overflow = latency_s[:, EIGHT.index(name)], overflow[:, EIGHT.index(name)]
        self._table = {"latency_s": latency_s, "area_mm2": table["area_mm2"], "overflow": overflow}

    def evaluate_designs(self, X: np.ndarray) -> Evaluated:
        """The rows of the table."""
        number = np.ravel_multi_index(tuple(np.asarray(X).T), tuple(self.space.n_levels))
        return self.judge(X, {name: values[number] for name, values in self._table.items()})

    def exact(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and objectives of the front of all designs."""
        table = self._table
        fits = np.flatnonzero(table["overflow"] == 0)
        F = np.column_stack([table["latency_s"], table["area_mm2"]])[fits]
        front = non_dominated(F)
        front = front[np.argsort(F[front, 0])]
        return fits[front], F[front]


def read_table() -> dict[str, np.ndarray]:
    """What `sweep` left, and the area of every design."""
    if not (OUT / "table.npz").is_file():
        sys.exit(f"{OUT}/table.npz is missing; run: python experiments/exact_fronts.py sweep")
    return dict(np.load(OUT / "table.npz")) | {
        "area_mm2": area_mm2(SPACE.columns(SPACE.all_designs()), dse.Technology.at())
    }


def search(seeds: int = 30) -> None:
    """Searches at 2 % of the designs; a file a network, so that a killed study continues."""
    table, budget = read_table(), round(SHARES[-1] * SPACE.size)
    marks = np.unique(
        np.geomspace(POPULATION, budget, 40).astype(int).tolist() + [round(s * SPACE.size) for s in SHARES]
    )
    fronts, paths, names = [], [], (*EIGHT, MEAN)
    for name in names:
        problem, path = Tabulated(table, name), OUT / "paths" / f"{name.replace(' ', '_')}.csv"
        number, F = problem.exact()
        fronts.append(pd.DataFrame({"network": name, "number": number, "latency_s": F[:, 0], "area_mm2": F[:, 1]}))
        if not path.is_file():
            scale = Normalisation.from_points(F)
            lines = []
            for seed in range(seeds):
                for algorithm in [a for a in ALGORITHMS if a != "random"]:
                    run = dse.explore(problem, evaluations=budget, seed=seed, algorithm=algorithm,
                                      population=POPULATION, random_twin=algorithm == "nsga2")  # fmt: skip
                    lines += along(run.designs, algorithm, seed, marks, scale, F)
                    if run.random_twin is not None:
                        lines += along(run.random_twin, "random", seed, marks, scale, F)
            path.parent.mkdir(exist_ok=True)
            write_whole(path, pd.DataFrame(lines).assign(network=name).to_csv(index=False).encode())
        paths.append(pd.read_csv(path))
        print(f"{name}: exact front of {len(F)}", flush=True)
    pd.concat(fronts).to_csv(OUT / "exact_front.csv", index=False)
    every = pd.concat(paths)
    at = every[every["evaluations"].isin([round(s * SPACE.size) for s in SHARES])].copy()
    at["share_of_designs"] = (at["evaluations"] / SPACE.size).round(3)
    at = at.pivot(index=["network", "algorithm", "seed"], columns="share_of_designs", values="hypervolume")
    at.round(6).to_csv(OUT / "quality.csv")
    bands = every.groupby(["algorithm", "evaluations"])["hypervolume"].quantile([0.1, 0.5, 0.9]).unstack()
    bands.round(6).rename(columns=lambda q: f"p{round(100 * q)}").to_csv(OUT / "convergence.csv")
    print(at.groupby("algorithm").quantile([0, 0.1, 0.5]).round(4).to_string())


def along(designs, algorithm: str, seed: int, marks: np.ndarray, scale: Normalisation, exact: np.ndarray) -> list[dict]:
    """Share of the exact hypervolume after each number of evaluations of `marks`."""
    F, good = designs[["latency_s", "area_mm2"]].to_numpy(float), designs["feasible"].to_numpy(bool)
    whole = scale.hypervolume(exact)
    return [{"algorithm": algorithm, "seed": seed, "evaluations": int(n),
             "hypervolume": scale.hypervolume(F[:n][good[:n]]) / whole} for n in marks]  # fmt: skip


def draw() -> None:
    """The figure, from the tables."""
    bands, seeds = pd.read_csv(OUT / "convergence.csv"), pd.read_csv(OUT / "quality.csv")["seed"].nunique()
    save_widths(functools.partial(progress_figure, bands, seeds), OUT, "convergence", "convergence")


@styled
def progress_figure(bands: pd.DataFrame, seeds: int, width_in: float = COLUMN_IN, with_footer: bool = True) -> Figure:
    """A panel an algorithm: median and 10-90 % band over seeds and networks, the first algorithm's median grey."""
    colours = {"nsga2": BLUE, "smsemoa": GREEN, "spea2": PURPLE, "random": ORANGE}
    lines, columns = (1, 4) if is_wide(width_in) else (2, 2)
    figure = Figure(figsize=(width_in, 0.6 + 1.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True)
    first = bands[bands["algorithm"] == next(iter(colours))]
    for axis, (algorithm, colour) in zip(axes.ravel(), colours.items(), strict=True):
        rows = bands[bands["algorithm"] == algorithm]
        share = 100 * rows["evaluations"] / SPACE.size
        axis.plot(100 * first["evaluations"] / SPACE.size, 100 * first["p50"], color=GREY, lw=0.8)
        axis.fill_between(share, 100 * rows["p10"], 100 * rows["p90"], color=colour, alpha=0.3, lw=0)
        axis.plot(share, 100 * rows["p50"], color=colour)
        axis.set_title(ALGORITHMS[algorithm])
        log_scale(axis.xaxis)
        linear_scale(axis.yaxis)
        grid(axis)
    for axis in axes[:, 0] if lines > 1 else axes[:1]:
        axis.set_ylabel("Hypervolume\n[% of exact]")
    for axis in axes[-1] if lines > 1 else axes:
        axis.set_xlabel("Designs evaluated\n[% of the space]")
    note = (
        f"median, 10-90 % band; grey: median of {ALGORITHMS['nsga2']}; {seeds} seeds, 8 DNNs and their geometric mean; "
    )
    note += f"least latency and area; {SPACE.size:,} designs; population {POPULATION}"
    return add_footer(figure, note, with_footer)


if __name__ == "__main__":
    actions = {"sweep": sweep, "search": search, "draw": draw}
    if len(sys.argv) < 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]](*map(int, sys.argv[2:]))
