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
from dse.output.figure_style import BLUE, COLUMN_IN, GREEN, ORANGE, PURPLE, footer, house_style
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
        note = f"median, 10-90 % band; {seeds} seeds, {len(self.networks)} DNNs and mean; {self.space.size:,} designs; "
        with house_style():
            figure = convergence(bands, self.space.size)
            self.study.save(footer(figure, f"{note}population {POPULATION}"), "convergence", "searches on exact fronts")


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


def convergence(bands: pd.DataFrame, size: int) -> Figure:
    """The figure."""
    looks = {"nsga2": (BLUE, "-"), "smsemoa": (GREEN, "--"), "spea2": (PURPLE, "-."), "random": (ORANGE, ":")}
    figure = Figure(figsize=(COLUMN_IN, 2.5), layout="constrained")
    axis = figure.subplots()
    for algorithm, (color, dashes) in looks.items():
        rows = bands[bands["algorithm"] == algorithm]
        share = 100 * rows["evaluations"] / size
        axis.fill_between(share, 100 * rows["p10"], 100 * rows["p90"], color=color, alpha=0.2, lw=0)
        axis.plot(share, 100 * rows["p50"], color=color, ls=dashes, label=ALGORITHMS[algorithm])
    axis.set_xscale("log")
    ticks = (0.05, 0.1, 0.2, *(100 * share for share in SHARES))
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xlabel("Designs evaluated [% of the space]")
    axis.set_ylabel("Hypervolume\n[% of the exact front's]")
    axis.grid(True)
    axis.legend(loc="lower right")
    return figure


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
