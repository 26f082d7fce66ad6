"""Exact fronts of the eight DNNs and of their geometric mean over one sub-space, and how close searches come.

    python -m experiments exact_fronts            # 25 minutes on one core, then minutes; killed, it continues
    python -m experiments exact_fronts draw

sweep   evaluates every design of `SPACE` (110,592) on all eight at once: one pass gives nine exact fronts
search  30 seeds of each algorithm, on the table that sweep left
draw    convergence.png, .pdf

exact_front.csv   the nine fronts: network, number of the design, latency [s], area [mm2]
quality.csv       a row a network, algorithm and seed: share of the exact hypervolume after 0.5, 1 and 2 % of designs
convergence.csv   quantiles of that share over all seeds and networks along the search
runs/table.npy    latency_s and overflow of every design and network, in the order of `SPACE.all_designs()`; not kept
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
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
    styled,
)
from dse.runs.problem_protocol import Evaluated
from dse.search.exhaustive_sweep import sweep as sweep_all
from dse.search.pareto import Normalisation, non_dominated
from experiments.study import Fault, Finding, Jobs, Out, Overwrite, Quick, Rows, Stages, Steps, Study, read_table
from problems import GeomeanDNN
from problems.base import AcceleratorProblem
from problems.geomean import geometric_mean

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
FEW = ("interconnect", "weight_register_bytes", "output_register_bytes", "output_buffer_kib", "dram_gbps",
       "input_buffer_width_bytes")  # fmt: skip
"""Variables that the quick study keeps at their last level."""

MEAN = "geometric mean"
SHARES = (0.005, 0.01, 0.02)
ALGORITHMS = {"nsga2": "NSGA-II", "smsemoa": "SMS-EMOA", "spea2": "SPEA2", "random": "random search"}
POPULATION = 32


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    jobs: Jobs = -1,
    overwrite: Overwrite = False,
    seeds: Annotated[int, typer.Option(min=1, help="Of each algorithm.")] = 30,
) -> None:
    """Run the study."""
    study = Study.at("exact_fronts", out, quick, jobs, overwrite)
    work = Exact(study, ("wide_deep", "ptb_lstm_medium"), smaller(), 2) if quick else Exact(study, EIGHT, SPACE, seeds)
    problem = GeomeanDNN(work.networks, space=work.space)
    steps = {"sweep": work.sweep, "search": work.search, "draw": work.draw}
    study.run(stages, steps, lambda: study.begin([problem], seeds=work.seeds))


def smaller() -> dse.DesignSpace:
    """A space of 1,152 designs."""
    levels = {v.name: v.levels[-1:] if v.name in FEW else v.levels for v in SPACE.variables}
    fixed = {name: values[0] for name, values in levels.items() if len(values) == 1}
    return dse.DesignSpace({n: v for n, v in levels.items() if n not in fixed}, replace(SPACE.base, **fixed), "few")


class Exact:
    """The stages, on networks and a space."""

    def __init__(self, study: Study, networks: tuple[str, ...], space: dse.DesignSpace, seeds: int) -> None:
        self.study, self.networks, self.space, self.seeds = study, networks, space, seeds

    def sweep(self) -> None:
        """Evaluate the space."""
        self.study.runs.mkdir(parents=True, exist_ok=True)
        problem = GeomeanDNN(self.networks, space=self.space, n_jobs=self.study.jobs)
        path, shape = self.study.runs / "table.npy", (2, self.space.size, len(self.networks))
        table = np.lib.format.open_memmap(path, "r+" if path.exists() else "w+", np.float32, shape)

        def keep(first: int, rows: Evaluated) -> None:
            for part, metric in zip(table, ("latency_s", "overflow"), strict=True):
                columns = [rows.metrics[f"{metric}_{name}"] for name in self.networks]
                part[first : first + len(rows)] = np.column_stack(columns)
            table.flush()

        with Steps(self.space.size, "designs") as steps:
            done = sweep_all(
                problem, checkpoint=self.study.runs / "sweep.json", each=keep,
                progress=lambda done, size, front: steps.step(done - steps.done),
            )  # fmt: skip
        print(f"{done.evaluated} designs, {done.feasible} feasible on all networks")

    def table(self) -> dict[str, np.ndarray]:
        """What `sweep` left, and the area of every design."""
        path, shape = self.study.runs / "table.npy", (2, self.space.size, len(self.networks))
        try:
            latency_s, overflow = table = np.load(path)
            whole = table.shape == shape and (latency_s[(overflow == 0).all(axis=1)] > 0).all()
        except FileNotFoundError:
            raise Fault(f"{path} is missing; run the stage sweep") from None
        except (OSError, ValueError, EOFError):
            whole = False
        if not whole:
            raise Fault(f"{path} is damaged, or of another space; run the stage sweep with --overwrite")
        area = area_mm2(self.space.columns(self.space.all_designs()), dse.Technology.at())
        return {"latency_s": latency_s, "overflow": overflow, "area_mm2": area}

    def search(self) -> None:
        """Searches at 2 % of the designs; rows are kept, so that a killed study continues."""
        table, size = self.table(), self.space.size
        at = [max(POPULATION, round(share * size)) for share in SHARES]
        marks = np.unique([*np.geomspace(POPULATION, at[-1], 40).astype(int).tolist(), *at])
        names, fronts = (*self.networks, MEAN), []
        rows = Rows(self.study.runs / "paths.csv", ("network", "seed"))
        with Steps(len(names) * self.seeds, "searches of each algorithm") as steps:
            for name in names:
                problem = Tabulated(self.space, self.networks, table, name)
                number, F = problem.exact()
                front = {"network": name, "number": number, "latency_s": F[:, 0], "area_mm2": F[:, 1]}
                fronts.append(pd.DataFrame(front))
                for seed in range(self.seeds):
                    if (name, seed) not in rows:
                        rows.add(*searched(problem, name, seed, at[-1], marks, F))
                    steps.step()
        self.study.write("exact_front.csv", pd.concat(fronts))
        every = rows.table()
        self.study.write("quality.csv", quality(every, dict(zip(at, SHARES, strict=True))))
        bands = every.groupby(["algorithm", "evaluations"])["hypervolume"].quantile([0.1, 0.5, 0.9]).unstack()
        self.study.write("convergence.csv", bands.round(6).rename(columns=lambda q: f"p{round(100 * q)}").reset_index())

    def draw(self) -> None:
        """Median and 10-90 % band of each algorithm over seeds and networks."""
        bands = self.study.read("convergence.csv", ["algorithm", "evaluations", "p10", "p50", "p90"])
        seeds = self.study.read("quality.csv", ["network", "algorithm", "seed"])["seed"].nunique()
        figure = functools.partial(progress_figure, bands, seeds, self.space.size, len(self.networks))
        self.study.save(figure, "convergence", "searches on exact fronts")


class Tabulated(AcceleratorProblem):
    """Latency [s], one network's or the geometric mean, and area [mm2] of the designs of a space, looked up."""

    objective_names = ("latency_s", "area_mm2")

    def __init__(
        self, space: dse.DesignSpace, networks: tuple[str, ...], table: dict[str, np.ndarray], name: str
    ) -> None:
        super().__init__(lambda columns: {}, space)
        latency_s, overflow = table["latency_s"].astype(float), table["overflow"].astype(float)
        if name == MEAN:
            latency_s, overflow = geometric_mean(list(latency_s.T), [1.0] * len(networks)), overflow.sum(axis=1)
        else:
            latency_s, overflow = latency_s[:, networks.index(name)], overflow[:, networks.index(name)]
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


def searched(
    problem: Tabulated, name: str, seed: int, budget: int, marks: np.ndarray, exact: np.ndarray
) -> Iterator[dict]:
    """Share of the exact hypervolume after each number of evaluations of `marks`, of every algorithm."""
    scale = Normalisation.from_points(exact)
    whole = scale.hypervolume(exact)
    for algorithm in [a for a in ALGORITHMS if a != "random"]:
        run = dse.explore(problem, evaluations=budget, seed=seed, algorithm=algorithm, population=POPULATION,
                          random_twin=algorithm == "nsga2", plain=True)  # fmt: skip
        for label, designs in ((algorithm, run.designs), ("random", run.random_twin)):
            if designs is None:
                continue
            F, good = designs[["latency_s", "area_mm2"]].to_numpy(float), designs["feasible"].to_numpy(bool)
            for n in marks:
                share = scale.hypervolume(F[:n][good[:n]]) / whole
                yield {"network": name, "algorithm": label, "seed": seed, "evaluations": int(n), "hypervolume": share}


def quality(every: pd.DataFrame, shares: dict[int, float]) -> pd.DataFrame:
    """The rows at the shares of designs, a column a share."""
    at = every[every["evaluations"].isin(shares)]
    at = at.assign(share=at["evaluations"].map(shares))
    table = at.pivot_table(index=["network", "algorithm", "seed"], columns="share", values="hypervolume")
    return table.round(6).rename(columns=str).reset_index()


@styled
def progress_figure(
    bands: pd.DataFrame, seeds: int, size: int, count: int, width_in: float = COLUMN_IN, with_footer: bool = True
) -> Figure:
    """A panel an algorithm: median and 10-90 % band over seeds and networks, the first algorithm's median grey."""
    colours = {"nsga2": BLUE, "smsemoa": GREEN, "spea2": PURPLE, "random": ORANGE}
    lines, columns = (1, 4) if is_wide(width_in) else (2, 2)
    figure = Figure(figsize=(width_in, 0.6 + 1.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True)
    first = bands[bands["algorithm"] == next(iter(colours))]
    for axis, (algorithm, colour) in zip(axes.ravel(), colours.items(), strict=True):
        rows = bands[bands["algorithm"] == algorithm]
        share = 100 * rows["evaluations"] / size
        axis.plot(100 * first["evaluations"] / size, 100 * first["p50"], color=GREY, lw=0.8)
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
    note = f"median, 10-90 % band; grey: median of {ALGORITHMS['nsga2']}; {seeds} seeds, "
    note += f"{count} DNNs and their geometric mean; "
    note += f"least latency and area; {size:,} designs; population {POPULATION}"
    return add_footer(figure, note, with_footer)


def findings(results: Path) -> Iterator[Finding]:
    """What the searches reach."""
    shares = [str(share) for share in SHARES]
    table = read_table(results / "exact_fronts" / "quality.csv", ["network", "algorithm", "seed", *shares])
    median = 100 * table.groupby("algorithm")[shares].median()
    for share, text in zip(shares, ("0.5 %", "1 %", "2 %"), strict=True):
        nsga2, random = median.loc["nsga2", share], median.loc["random", share]
        digits = 2 if nsga2 > 99.9 else 1
        yield Finding(f"| {text} | {nsga2:.{digits}f} % | {random:.1f} % |")
    near = (median.loc[["smsemoa", "spea2"]] - median.loc["nsga2"]).abs().to_numpy().max()
    yield Finding(f"The medians of SMS-EMOA and SPEA2 are within {near:.1f} points of NSGA-II's.")
