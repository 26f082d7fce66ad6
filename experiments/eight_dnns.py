"""One accelerator for eight DNNs, after Yu et al., IEEE TC 2021: their own optima, the shared design, what it gains.

    python -m experiments eight_dnns            # all stages; killed, the same command continues
    python -m experiments eight_dnns table draw
    python -m experiments eight_dnns certify --minutes 10 --budget 40

At each area budget [mm2 at 45 nm], over the default space, with the best mapping of every layer:

search     the fastest design of each DNN within the budget, and of the geometric mean of the eight
reference  the front of each DNN and of the mean without a budget, certified within 5 %, --minutes each at most
certify    no design within a budget is faster than the fastest known by more than a factor: proven by the method of
           dse certify, for latency alone and all budgets at once, from the boxes of the reference's certificate on, in
           --minutes for each DNN and budget at most; better designs that the proof meets count
ties       designs within 0.5 % of a DNN's least latency, searched for the geometric mean of all
frozen     loop order and tiles frozen in hardware for all layers, as in the paper: the nine searches under ten seeds
table      designs.csv, least_area.csv, matrix.csv, summary.csv, generality.csv, references.csv
draw       a heat map of each budget

A DNN's own optimum is, of all known designs within 0.5 % of its least latency, the one with the least geometric mean
of the eight latencies.  The least-area one of them stands beside it, and the gains over all of them are a range.

designs.csv     the optima and the shared design: parameters, latencies, proven factor or spread over the seeds
least_area.csv  the same of the least area among the ties
matrix.csv      every optimum on every DNN: performance, 1 = that DNN's own optimum; geometric mean of the row
summary.csv     how much the shared design's geometric mean is above each single-DNN design's [%], over all ties, and
                whether that is more than what is not proven
generality.csv  what the shared design loses on each DNN, and the design of least geometric mean over the other seven

The paper selects the best of the eight single-DNN designs, and finds it 12.0 to 117.9 % above them.  It differs in:
frozen mapping alone, another cost model and space, other variants of the DNNs, and no lower bound.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure

import dse
from dse.analysis.price_of_generality import price_table
from dse.networks import EIGHT
from dse.output.figure_style import TWO_COLUMNS_IN, add_footer, is_wide, styled
from dse.runs.column_dictionary import PARAMETERS
from dse.runs.run_directory import CERTIFICATE, CERTIFIED_BOXES, CERTIFIED_FRONT
from dse.runs.tables import genes_of
from dse.runs.tables import read_table as read_run
from experiments.fastest import DESIGNS, PROOF, prove
from experiments.study import (
    SHORT,
    Fault,
    Finding,
    Jobs,
    Out,
    Overwrite,
    Quick,
    Stages,
    Study,
    read_table,
    searching,
    span,
    start_of,
)
from problems import GeomeanDNN, SingleDNN
from problems.resumption import rebuild

BUDGETS = (10.0, 40.0, 160.0)
TIE = 0.005
"""Designs within this share of the least latency are as good as the fastest."""

WITHIN, REFERENCE_WITHIN = 0.02, 0.05
"""What the proofs aim at, of optima and of reference fronts."""

NEAR, LATER, LEAST_GAIN = 1.3, 0.4, 0.001
"""Of the rounds after the first: latencies that they look at, as a multiple of the least so far; their designs, as a
share of the first's; gain of a round below which there is no other."""

MEAN = "mean"
PAPER = (12.0, 117.9)
"""Gain of the selected design over the others [%]: Yu et al., IEEE TC 70(1), 2021, abstract."""

MAPPINGS = ("best", "fixed")


@dataclass(frozen=True)
class Plan:
    """Sizes of a study.

    Parameters
    ----------
    networks : that share a design.
    budgets : area [mm2].
    own, mean : designs evaluated by the first round of the search for a DNN's, and for the mean's, optimum.
    rounds : most of them after the first; see `Work.search`.
    tie, frozen, reference : designs evaluated by a search of each kind.
    seeds : of the frozen mapping.
    minutes : a proof at most.
    """

    networks: tuple[str, ...] = EIGHT
    budgets: tuple[float, ...] = BUDGETS
    own: int = 1_200
    mean: int = 500
    rounds: int = 4
    tie: int = 250
    frozen: int = 1_000
    seeds: int = 10
    reference: int = 5_000
    minutes: float = 5.0


SMALL = Plan(
    ("wide_deep", "ptb_lstm_medium"), (40.0,), own=60, mean=60, rounds=1, tie=40, frozen=60, seeds=2, reference=60,
    minutes=0.02,
)  # fmt: skip


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    jobs: Jobs = -1,
    overwrite: Overwrite = False,
    budget: Annotated[
        list[float] | None, typer.Option(min=0, metavar="MM2", help="Area budget; may be repeated. Default 10 40 160.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Of each proof, at most; default 5.")] = None,
) -> None:
    """Run the study."""
    size = SMALL if quick else Plan()
    plan = Plan(**{**vars(size), "budgets": tuple(budget or size.budgets), "minutes": minutes or size.minutes})
    work = Work(Study.at("eight_dnns", out, quick, jobs, overwrite), plan)
    sizes = {name: value for name, value in vars(plan).items() if name not in ("budgets", "minutes")}
    steps = {"search": work.search, "reference": work.reference, "certify": work.certify, "ties": work.ties,
                    "frozen": work.frozen, "table": work.table, "draw": work.draw}  # fmt: skip
    work.study.run(stages, steps, lambda: work.study.begin([work.problem(MEAN)], **sizes, tie_share=TIE))


class Work:
    """The stages on one study."""

    def __init__(self, study: Study, plan: Plan) -> None:
        self.study, self.plan = study, plan

    def problem(self, name: str, mapping: str = "best") -> Any:
        """Latency alone, so that optima are the least."""
        if mapping == "fixed":
            latency = "latency_s" if name == MEAN else f"latency_s_{name}"
            objectives = (latency, "area_mm2")
            return GeomeanDNN(self.plan.networks, objectives=objectives, mapping=mapping, n_jobs=self.study.jobs)
        if name == MEAN:
            return GeomeanDNN(self.plan.networks, n_jobs=self.study.jobs, mapping_slack="none")
        return SingleDNN(name, n_jobs=self.study.jobs, mapping_slack="none")

    def each(self) -> Iterator[tuple[float, str]]:
        """Every budget with every DNN, and with the mean."""
        return ((budget, name) for budget in self.plan.budgets for name in (*self.plan.networks, MEAN))

    def directory(self, kind: str, budget: float, name: str) -> Path:
        """Of one run."""
        return self.study.runs / kind / f"{budget:g}mm2" / name

    def explore(self, problem: Any, evaluations: int, out: Path, **settings: Any) -> Any:
        """One search; `Fault` where no design runs within its limits."""
        with searching() as progress:
            run = dse.explore(
                problem, evaluations=evaluations, random_twin=False, out=out, progress=progress, **settings
            )
        if len(run.front) == 0:
            what = ", ".join(f"{name} at most {limit:g}" for name, limit in settings.get("limits", {}).items())
            raise Fault(f"no design with {what} was found for {out.name}: {'; '.join(run.notes)}")
        return run

    def search(self) -> None:
        """The optima of every budget.

        The first round searches all areas below the budget.  Each further one starts from the one before and keeps to
        designs near its least latency, `NEAR`: an optimum at the end of a front is found by few of a front's designs.
        It ends with a round that brings less than `LEAST_GAIN`.
        """
        for budget, name in self.each():
            self.fastest(budget, name)

    def fastest(self, budget: float, name: str) -> None:
        """The rounds of one search."""
        first = self.plan.mean if name == MEAN else self.plan.own
        limits, before, least = {"area_mm2": budget}, None, np.inf
        for number in range(self.plan.rounds + 1):
            out = self.directory("best", budget, name) / f"round_{number}"
            problem, start = self.problem(name), {"warm_start": before, "seed": number}
            evaluations = first if number == 0 else max(1, round(LATER * first))
            run = self.explore(problem, evaluations, out, limits=limits, **start)
            gain, least = least / run.front["latency_s"].min() - 1, run.front["latency_s"].min()
            print(f"{budget:g} mm2, {name}, round {number}: {1e3 * least:.5g} ms", flush=True)
            if gain < LEAST_GAIN:
                break
            before, limits = out, {"area_mm2": budget, "latency_s": NEAR * least}

    def best_run(self, budget: float, name: str) -> Path:
        """Directory of the last round."""
        rounds = sorted(self.directory("best", budget, name).glob("round_*"))
        if not rounds:
            raise Fault(f"{self.directory('best', budget, name)} has no run; run the stage search")
        return rounds[-1]

    def certify(self) -> None:
        """A factor for each optimum, proven for the latency alone."""
        budgets = self.plan.budgets
        for name in (*self.plan.networks, MEAN):
            problem = rebuild(self.best_run(budgets[0], name), self.study.jobs)
            fronts = [read_run(self.best_run(budget, name) / "front.csv") for budget in budgets]
            X = np.concatenate([genes_of(front, problem.space) for front in fronts])
            out, before = self.proof(name), self.reference_run(name) / CERTIFIED_BOXES
            proof = prove(problem, X, budgets, WITHIN, len(budgets) * self.plan.minutes, out, before)
            for budget in budgets:
                print(f"{budget:g} mm2, {name}: {1e3 * proof.latency_s[budget]:.5g} ms, none faster by more than "
                      f"{100 * proof.share[budget]:.2g} % ({proof.reason})", flush=True)  # fmt: skip

    def proof(self, name: str) -> Path:
        """Directory of the proof of a DNN's optima."""
        return self.study.runs / "proof" / name

    def reference_run(self, name: str) -> Path:
        """Directory of a front without a budget."""
        return self.study.runs / "reference" / name

    def ties(self) -> None:
        """Near each DNN's least latency, the best for the mean."""
        for budget, name in self.each():
            if name == MEAN:
                continue
            start = self.nearest(budget, name)
            limits = {"area_mm2": budget, f"latency_s_{name}": (1 + TIE) * self.least(budget, name)}
            out = self.directory("ties", budget, name)
            run = self.explore(self.problem(MEAN), self.plan.tie, out, limits=limits, warm_start=start)
            print(f"{budget:g} mm2, {name}: {int(run.designs['feasible'].sum())} ties", flush=True)

    def least(self, budget: float, name: str) -> float:
        """Latency of the fastest design of a search, or of its proof [s]."""
        tables = [read_run(file) for file in self.files(budget, name)]
        return min(table.loc[table["area_mm2"] <= budget, "latency_s"].min() for table in tables)

    def nearest(self, budget: float, name: str) -> Path:
        """The fastest designs within a budget of a search and its proof, as a run that another one starts from."""
        run = self.best_run(budget, name)
        tables = [read_run(file) for file in self.files(budget, name)]
        columns = [c for c in tables[0] if all(c in table for table in tables)]
        every = pd.concat([table[columns] for table in tables])
        every = every[every["area_mm2"] <= budget].sort_values("latency_s", kind="stable")
        return start_of(run, every, run.with_name("fastest"))

    def files(self, budget: float, name: str) -> list[Path]:
        """Tables of the designs that a search and a proof found."""
        found = [self.best_run(budget, name) / "front.csv", self.proof(name) / DESIGNS]
        return [file for file in found if file.is_file()]

    def frozen(self) -> None:
        """The nine searches under several seeds."""
        for budget, name in self.each():
            with searching() as progress:
                runs = dse.explore_seeds(
                    self.problem(name, "fixed"), self.plan.seeds, evaluations=self.plan.frozen, random_twin=False,
                    limits={"area_mm2": budget}, out=self.directory("fixed", budget, name), progress=progress,
                )  # fmt: skip
            if all(len(run.front) == 0 for run in runs.runs):
                raise Fault(f"frozen mapping: no design of at most {budget:g} mm2 was found that runs every network")
            print(f"{budget:g} mm2, {name}, frozen: done", flush=True)

    def reference(self) -> None:
        """The nine fronts without a budget."""
        for name in (*self.plan.networks, MEAN):
            out = self.reference_run(name)
            self.explore(self.problem(name), self.plan.reference, out)
            found = dse.certify(self.problem(name), out, within=REFERENCE_WITHIN, minutes=self.plan.minutes)
            print(f"{name}: front of {len(found.front)}, {100 * found.proven:.3g} % proven", flush=True)

    # -----------------------------------------------------------------------------------------------------------------

    def pool(self, mapping: str, budget: float) -> pd.DataFrame:
        """Designs within the budget that run all, with the latency of each DNN."""
        tables, networks = [], self.plan.networks
        if mapping == "fixed":
            for name in (*networks, MEAN):
                for seed in range(self.plan.seeds):
                    path = self.directory("fixed", budget, name) / f"seed_{seed}" / "designs.csv"
                    tables.append(read_run(path).assign(search=name, seed=seed))
        else:
            problem, met = self.problem(MEAN), []
            for name in (*networks, MEAN):
                tables_of = (read_run(file) for file in self.files(budget, name))
                met += [genes_of(of[of["area_mm2"] <= budget], problem.space) for of in tables_of]
            X = np.unique(np.concatenate(met), axis=0)
            found = problem.evaluate_designs(X)
            columns = problem.space.columns(X)
            varied = {name: columns[name] for name in problem.space.names}
            tables.append(pd.DataFrame({**varied, **found.metrics}).assign(feasible=found.feasible))
            tables += [read_run(self.directory("ties", budget, name) / "designs.csv") for name in networks]
            tables.append(read_run(self.best_run(budget, MEAN) / "designs.csv"))
        every = pd.concat([table[table["overflow"] == 0] for table in tables], ignore_index=True)
        every = every[every["area_mm2"] <= budget].reset_index(drop=True)
        if len(every) == 0:
            raise Fault(f"{mapping} mapping: no design of at most {budget:g} mm2 runs every network")
        return every

    def uncertain(self, mapping: str, budget: float) -> dict[str, float]:
        """By design: the share by which a better one is not ruled out; unknown of a frozen mapping."""
        names = (*self.plan.networks, MEAN)
        if mapping == "fixed":
            return dict.fromkeys(names, np.nan)
        found = {}
        for name in names:
            path = self.proof(name) / PROOF
            if not path.is_file():
                raise Fault(f"{path} is missing; run the stage certify, --minutes 0.1 at least")
            found[name] = share_proven(path, f"{budget:g}")
        return found

    def table(self) -> None:
        """All tables."""
        rows: dict[str, list[Any]] = {"designs": [], "least_area": [], "matrix": [], "summary": [], "generality": []}
        for mapping in MAPPINGS:
            for budget in self.plan.budgets:
                every = self.pool(mapping, budget)
                choice = Choice(self.plan.networks, every)
                where = {"mapping": mapping, "budget_mm2": budget}
                for file, lines in choice.rows(budget, self.uncertain(mapping, budget)).items():
                    rows[file] += [where | line for line in lines]
        for file, lines in rows.items():
            self.study.write(f"{file}.csv", pd.DataFrame(lines), digits=6)
        self.references()
        tell(*(pd.DataFrame(rows[name]) for name in ("summary", "designs", "generality")))

    def references(self) -> None:
        """The certified fronts, one table."""
        fronts = []
        for name in (*self.plan.networks, MEAN):
            out = self.reference_run(name)
            if not (out / CERTIFIED_FRONT).is_file():
                return
            fronts.append(read_run(out / CERTIFIED_FRONT).assign(network=name, proven=share_proven(out / CERTIFICATE)))
        self.study.write("references.csv", pd.concat(fronts), digits=6)

    def draw(self) -> None:
        """A heat map of each budget, both mappings in one figure."""
        networks = self.plan.networks
        matrix = self.study.read("matrix.csv", ["mapping", "budget_mm2", "design", *networks, "geomean"])
        for budget, of in matrix.groupby("budget_mm2"):
            parts = {m: of[of["mapping"] == m] for m in MAPPINGS}
            figure = functools.partial(heat_map, parts, budget, networks)
            self.study.save(figure, f"matrix_{budget:g}mm2", f"optima on each DNN, {budget:g} mm2", TWO_COLUMNS_IN)


def share_proven(certificate: Path, budget: str = "") -> float:
    """The factor less 1 of a certificate, or of a proof for a budget; `Fault` names a damaged one."""
    try:
        told = json.loads(certificate.read_text(encoding="utf-8"))
        return float((told[budget] if budget else told)["proven"])
    except (ValueError, KeyError, TypeError):
        raise Fault(f"{certificate} is damaged; delete it, and run the stages certify or reference again") from None


class Choice:
    """The optima among known designs, by the tie rule."""

    def __init__(self, networks: tuple[str, ...], every: pd.DataFrame) -> None:
        self.networks, self.every = networks, every
        self.latency_s = every[[f"latency_s_{name}" for name in networks]].to_numpy(float)
        self.mean_s = np.exp(np.log(self.latency_s).mean(axis=1))
        self.ties = [np.flatnonzero(column <= (1 + TIE) * column.min()) for column in self.latency_s.T]
        self.shared = int(np.argmin(self.mean_s))
        self.own = [int(tie[np.argmin(self.mean_s[tie])]) for tie in self.ties]
        area = every["area_mm2"].to_numpy(float)
        self.least_area = [int(tie[np.argmin(area[tie])]) for tie in self.ties]

    def gain(self, design: Any) -> Any:
        """How much the shared design's geometric mean of performances is above others' [%]."""
        return 100 * (self.mean_s[design] / self.mean_s[self.shared] - 1)

    def spread(self, j: int | None) -> float:
        """Worst over best latency of the seeds, less 1; NaN of one search."""
        if "seed" not in self.every:
            return np.nan
        values = self.mean_s if j is None else self.latency_s[:, j]
        of = self.every["search"] == (MEAN if j is None else self.networks[j])
        best = pd.Series(values[of]).groupby(self.every.loc[of, "seed"].to_numpy()).min()
        return float(best.max() / best.min() - 1)

    def rows(self, budget: float, uncertain: dict[str, float]) -> dict[str, list[dict[str, Any]]]:
        """Lines of each table."""
        k = len(self.networks)
        best_s = self.latency_s.min(axis=0)
        found: dict[str, list[dict[str, Any]]] = {"designs": [], "least_area": [], "matrix": [], "summary": []}
        chosen = [*self.own, self.shared]
        for i, name in enumerate((*self.networks, "shared")):
            j = i if i < k else None
            known = {"proven": uncertain[MEAN if j is None else name], "spread_over_seeds": self.spread(j)}
            found["designs"].append({"design": name, **self.design(chosen[i]), **known})
            performance = best_s / self.latency_s[chosen[i]]
            mean = float(np.exp(np.log(performance).mean()))
            found["matrix"].append({"design": name, **dict(zip(self.networks, performance, strict=True)),
                                    "geomean": mean})  # fmt: skip
            line = {"design": name, "geomean": mean, "shared_gains_percent": self.gain(chosen[i])}
            if j is not None:
                found["least_area"].append({"design": name, **self.design(self.least_area[j])})
                gains = self.gain(self.ties[j])
                unproven = 100 * ((1 + uncertain[name]) * (1 + uncertain[MEAN]) - 1)
                line |= {"least_area_gains_percent": self.gain(self.least_area[j]), "ties": len(gains),
                         "ties_least_percent": gains.min(), "ties_most_percent": gains.max(),
                         "not_proven_percent": unproven}  # fmt: skip
            found["summary"].append(line)
        price = price_table(  # within the budget, not within the shared design's own area
            self.latency_s, np.ones_like(self.latency_s, dtype=bool), np.full(len(self.every), budget), [self.shared],
            self.networks,
        )  # fmt: skip
        return found | {"generality": price[["network", "loss", "left_out_loss"]].to_dict("records")}

    def design(self, row: int) -> dict[str, Any]:
        """Area, parameters and latencies."""
        of = self.every.iloc[row]
        kept = {c: of[c] for c in self.every if c in PARAMETERS or c.startswith("fixed_")}
        latencies = {f"latency_s_{name}": of[f"latency_s_{name}"] for name in self.networks}
        return {"area_mm2": of["area_mm2"]} | kept | latencies


def optima(path: Path, budget: float) -> pd.DataFrame:
    """The shared design and the optima within a budget [mm2], best mapping, of a designs.csv of this study, by name."""
    found = read_table(path, ["mapping", "budget_mm2", "design", "area_mm2", "rows", "cols", "dataflow"])
    return found[(found["mapping"] == "best") & (found["budget_mm2"] == budget)].set_index("design")


def accelerator(row: pd.Series) -> dse.Accelerator:
    """The design of a row; empty texts were read as missing."""
    values = {name: row[name] for name in PARAMETERS if name in row}
    kept = {n: v.item() if isinstance(v, np.generic) else v for n, v in values.items() if not pd.isna(v)}
    return dse.Accelerator(**({"overlap_skew": True} | kept))


def tell(summary: pd.DataFrame, designs: pd.DataFrame, prices: pd.DataFrame) -> None:
    """The findings as lines."""
    for (mapping, budget), rows in summary.groupby(["mapping", "budget_mm2"], sort=False):
        single = rows[rows["design"] != "shared"]
        gains, unproven = single["shared_gains_percent"], single["not_proven_percent"]
        print(f"{mapping}, {budget:g} mm2: shared design {span(gains, '.1f')} above the single-DNN designs, median "
              f"{gains.median():.1f} %; over all ties {single['ties_least_percent'].min():.1f} to "
              f"{single['ties_most_percent'].max():.1f} % (paper {PAPER[0]} to {PAPER[1]} %)")  # fmt: skip
        below = single["design"][gains <= unproven]
        if len(below):
            print(f"   no improvement is shown over those of {', '.join(below)}: below what is not proven, at most "
                  f"{unproven.max():.2g} %")  # fmt: skip
        of = prices[(prices["mapping"] == mapping) & (prices["budget_mm2"] == budget)]
        print(
            f"   price of generality {span(100 * of['loss'], '.1f')}; left out {span(100 * of['left_out_loss'], '.1f')}"
        )
        known = designs[(designs["mapping"] == mapping) & (designs["budget_mm2"] == budget)]
        if mapping == "best":
            print(f"   better designs are ruled out beyond {span(100 * known['proven'], '.2g')}")
        else:
            print(f"   worst of the seeds above the best: {span(100 * known['spread_over_seeds'], '.1f')}")
            columns = [c for c in known if c.startswith("latency_s_")]
            best = designs[(designs["mapping"] == "best") & (designs["budget_mm2"] == budget)]
            ratio = np.diagonal(known[columns]) / np.diagonal(best[columns])
            print(f"   own optima above those of the best mapping, their only bound: {span(100 * (ratio - 1), '.0f')}")


TITLES = {"best": "best mapping of every layer", "fixed": "loop order and tiles frozen in hardware"}


@styled
def heat_map(
    parts: dict[str, pd.DataFrame],
    budget: float,
    networks: tuple[str, ...] = EIGHT,
    width_in: float = TWO_COLUMNS_IN,
    with_footer: bool = True,
) -> Figure:
    """Performance of every design on every DNN, and the geometric mean, with the numbers."""
    wide = is_wide(width_in)
    figure = Figure(figsize=(width_in, 3.5 if wide else 5.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True) if wide else figure.subplots(2, 1, sharex=True)
    for axis, (mapping, rows) in zip(axes, parts.items(), strict=True):
        values = rows[[*networks, "geomean"]].to_numpy(float)
        image = axis.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=5, color="w" if value < 0.6 else "k")
        axis.set_xticks(np.arange(len(networks) + 1), [SHORT[n] for n in (*networks, "geomean")], rotation=90)
        axis.set_yticks(np.arange(len(rows)), [SHORT[n] for n in rows["design"]])
        axis.axhline(len(networks) - 0.5, color="w", lw=1.2)
        axis.axvline(len(networks) - 0.5, color="w", lw=1.2)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.set_title(TITLES[mapping])
        if wide or axis is axes[-1]:
            axis.set_xlabel("DNN that runs")
        if not wide or axis is axes[0]:
            axis.set_ylabel("Design for")
    said = "Performance, 1 = the DNN's own optimum"
    figure.colorbar(image, ax=axes, label=said, shrink=0.9, location="right" if wide else "top", aspect=25)
    said = "1 / latency of each design on each DNN; designs of least latency (shared: least geometric mean of all"
    return add_footer(figure, f"{said}) within {budget:g} mm\u00b2 at 45 nm", with_footer)


LABEL = {"best": "best mapping of every layer", "fixed": "frozen in hardware"}


def findings(results: Path) -> Iterator[Finding]:
    """What the shared design gains and costs."""
    place = results / "eight_dnns"
    columns = ["mapping", "budget_mm2", "design", "shared_gains_percent", "not_proven_percent"]
    summary = read_table(place / "summary.csv", columns)
    single = summary[summary["design"] != "shared"].set_index(["mapping", "budget_mm2", "design"]).sort_index()
    gains = single["shared_gains_percent"]
    cases = gains.groupby(level=["mapping", "budget_mm2"])
    for budget in BUDGETS:
        of = gains["best"][budget]
        yield Finding(f"| {budget:g} mm² | {span(of)} | {of.median():.0f} % |")
    for mapping in MAPPINGS:
        of = gains[mapping][40.0]
        yield Finding(
            f"| {LABEL[mapping]} | {of.max():.0f} % | {of.median():.0f} % |", where=("docs/several-networks.md",)
        )
    for name in EIGHT:
        of = single.loc["best"].xs(name, level="design")
        cells = [f"{of.at[b, 'shared_gains_percent']:.0f} % ({of.at[b, 'not_proven_percent']:.0f} %)" for b in BUDGETS]
        yield Finding(f"| {SHORT[name]} | {' | '.join(cells)} |")
    shared = int((cases.min() == 0).sum())
    yield Finding(f"In {shared} of {cases.ngroups} cases the shared design is the optimum of one of the DNNs.")
    frozen, medians = gains["fixed"], cases.median()
    yield Finding(
        "With loop order and tiles frozen in hardware, as in the paper, the range is "
        f"{span(frozen)}, with medians of {span(medians['fixed'])}."
    )
    columns = [f"latency_s_{name}" for name in EIGHT]
    designs = read_table(place / "designs.csv", ["mapping", "budget_mm2", "design", *columns])
    means = np.log(
        designs[designs["design"] == "shared"].set_index(["mapping", "budget_mm2"]).sort_index()[columns]
    ).mean(axis=1)
    worse = 100 * (np.exp(means["fixed"] - means["best"]) - 1)
    yield Finding(f"The geometric mean itself is {span(worse)} worse with a frozen mapping, at equal area.")
    prices = read_table(place / "generality.csv", ["mapping", "budget_mm2", "network", "loss"])
    losses = 100 * prices.set_index(["mapping", "budget_mm2", "network"]).sort_index()["loss"]["best"][40.0]
    dear, rest = losses.idxmax(), losses.drop(losses.idxmax())
    yield Finding(
        f"What the shared design costs at 40 mm²: {SHORT[str(dear)]} loses {losses.max():.0f} %, the others at most "
        f"{rest.max():.0f} %."
    )
    yield unconverged(designs, frozen)
    yield from proven(designs, single)
    if not (place / "references.csv").is_file():  # the stage takes an hour
        return
    fronts = read_table(place / "references.csv", ["network", "latency_s", "area_mm2", "proven"])
    for name in (*EIGHT, MEAN):
        of = fronts[fronts["network"] == name]
        called = "geometric mean" if name == MEAN else SHORT[name]
        yield Finding(f"| {called} | {len(of)} | {100 * of['proven'].iloc[0]:.0f} % |")


def unconverged(designs: pd.DataFrame, frozen: pd.Series) -> Finding:
    """Whether the seeds of the frozen mapping differ by more than what they are to show."""
    spread = 100 * designs.loc[designs["mapping"] == "fixed", "spread_over_seeds"].max()
    return Finding(
        "The searches of frozen mappings have not converged: their seeds differ by more than any gain.",
        bool(spread > frozen.max()),
    )


def proven(designs: pd.DataFrame, single: pd.DataFrame) -> Iterator[Finding]:
    """How sure the numbers are."""
    of = designs[designs["mapping"] == "best"].groupby("budget_mm2")["proven"].max()
    spread = designs[designs["mapping"] == "fixed"].groupby("budget_mm2")["spread_over_seeds"].max()
    best = single.loc["best"].groupby(level="budget_mm2")
    none = (
        (single["shared_gains_percent"] <= single["not_proven_percent"]).loc["best"].groupby(level="budget_mm2").sum()
    )
    for budget in of.index:
        ties = best.get_group(budget)
        yield Finding(
            f"| {budget:g} mm² | {ties['ties_least_percent'].min():.0f} to {ties['ties_most_percent'].max():.0f} % | "
            f"{100 * of[budget]:.1f} % | {none[budget]} of {len(ties)} | {100 * spread[budget]:.0f} % |"
        )
