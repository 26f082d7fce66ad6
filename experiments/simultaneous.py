"""Several networks at the same time: one array in turns, equal sub-arrays, different sub-arrays, or the shared design.

python experiments/simultaneous.py search [evaluations] [workers]    # 6,000 designs a stage; killed, it continues
python experiments/simultaneous.py table                             # from the runs; figures too

For each mix of `MIXES` as a batch (of streams with rates one frame each), over the default space with the DRAM
bandwidth fixed at 32 GB/s and designs of at most 40 mm2 at 45 nm, NSGA-II for makespan and area for each kind:
"time-shared" (the whole array, layer by layer), "homogeneous" (up to three sub-arrays of one dataflow, bandwidth in
parts or shared) and "heterogeneous" (different dataflows).

A divided design has twice the genes of an undivided one, and equal budgets would compare searches, not hardware.  So
each stage starts from the designs of the one before: homogeneous from the time-shared ones cut in two equal halves,
heterogeneous from the homogeneous ones.  The time-shared search has three times the budget of a stage.

Then the geometric-mean design: NSGA-II for the geometric mean of the mix's networks under the same limits, three times
the budget of a stage, used unchanged, undivided.

summary.csv      the design of least makespan of each kind: metrics, bound, division
front.csv        designs of all kinds that no other dominates in (makespan, area)
<mix>_front, <mix>_schedule (of the fastest divided design), <mix>_slow_downs: figures

into results/simultaneous/; the runs, in results/simultaneous/runs/, are not kept.
"""

from __future__ import annotations

import functools
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import dse
from dse.hardware.space import DesignSpace
from dse.output.figure_style import COLUMN_IN, TWO_COLUMNS_IN, save_widths
from dse.output.schedule_figures import gantt_figure, kinds_figure, slow_down_figure
from dse.runs.tables import genes_of, read_table
from dse.search.pareto import non_dominated
from dse.simultaneous.co_runs import CoRun, co_run
from dse.simultaneous.mixes import Mix, load_mix
from problems import GeomeanDNN, SimultaneousDNNs
from problems.simultaneous import DividedSpace

OUT = Path("results/simultaneous")
MIXES = ("moca_mixed", "driving", "datacentre")
AREA_MM2, DRAM_GBPS = 40.0, 32
OBJECTIVES = ("makespan_s", "area_mm2")
KINDS = {
    "time-shared": {"policies": ("time_shared",)},
    "homogeneous": {"policies": ("partition", "shared_bandwidth"), "dataflows": ("same",)},
    "heterogeneous": {"policies": ("partition", "shared_bandwidth")},
}


class WithinArea(SimultaneousDNNs):
    """Makespan [s] and area [mm2] of a mix, area under a limit."""

    constraint_names = ("area",)
    area_limit_mm2 = AREA_MM2

    def constraints(self, m):
        """Area at most the limit."""
        return (m.area_mm2 / self.area_limit_mm2 - 1,)


class Heterogeneous(WithinArea):
    """As `WithinArea`, with different dataflows on the sub-arrays."""

    constraint_names = ("area", "dataflows")

    def constraints(self, m):
        """Area at most the limit; not all sub-arrays alike."""
        alike = np.ones(len(m.sub_arrays), dtype=bool)
        for a in range(2, self.most_sub_arrays + 1):
            flow, own = m[f"dataflow_{a}"].astype(str), m.dataflow.astype(str)
            alike &= (flow == "same") | (flow == own) | (m.sub_arrays < a)
        return (*super().constraints(m), alike.astype(float))


class MeanWithinArea(GeomeanDNN):
    """Geometric mean of the latencies [s] and area [mm2], area under a limit."""

    constraint_names = ("area",)
    area_limit_mm2 = AREA_MM2

    def constraints(self, m):
        """Area at most the limit."""
        return (m.area_mm2 / self.area_limit_mm2 - 1,)


def hardware() -> DesignSpace:
    """The default space at one bandwidth."""
    space = dse.default_space()
    levels = {v.name: v.levels for v in space.variables if v.name != "dram_gbps"}
    return DesignSpace(levels, replace(space.base, dram_gbps=DRAM_GBPS), f"default, {DRAM_GBPS} GB/s")


def batch(name: str) -> Mix:
    """A mix that ships; of streams with rates one frame each, which has a makespan."""
    mix = load_mix(name)
    return replace(mix, streams=tuple(replace(stream, count=stream.count or 1) for stream in mix.streams))


def problem_of(mix: str, kind: str, workers: int = 1) -> WithinArea:
    """The search problem of one kind of division."""
    make = Heterogeneous if kind == "heterogeneous" else WithinArea
    return make(batch(mix), space=hardware(), objectives=OBJECTIVES, n_jobs=workers, **KINDS[kind])


def search(evaluations: int = 6_000, workers: int = -1) -> None:
    """All searches."""
    for mix in MIXES:
        before = None
        for kind in KINDS:
            problem, out = problem_of(mix, kind, workers), OUT / "runs" / f"{mix}_{kind}"
            run = dse.explore(
                problem, evaluations=evaluations * (3 if before is None else 1), seed=0, random_twin=False, out=out,
                warm_start=None if before is None else lent(before, problem.space),
            )  # fmt: skip
            before = out
            print(f"{mix}, {kind}: makespan {run.front['makespan_s'].min() * 1e3:.2f} ms, front of {len(run.front)}")
        networks = {network.renamed("").layers: network for network in batch(mix).networks()}
        mean = MeanWithinArea(list(networks.values()), space=hardware(), n_jobs=workers)
        dse.explore(mean, evaluations=3 * evaluations, seed=0, random_twin=False, out=OUT / "runs" / f"{mix}_mean")


def lent(run: Path, space: DividedSpace) -> Path:
    """A run's fastest feasible designs as a start for a search in `space`, in a directory of their own.

    What the run did not vary: two equal halves that share the bandwidth, networks on them in turn, one dataflow; or,
    for different ones, the next of the space's dataflows from design to design.
    """
    levels = {variable.name: variable.levels for variable in space.variables}
    found = read_table(run / "designs.csv")
    found = found[found["feasible"]].sort_values("makespan_s", kind="stable").head(200).reset_index(drop=True)
    new = {name: 1 for name in levels if "_share_" in name}
    new |= {name: 1 + i % 2 for i, name in enumerate(name for name in levels if name.startswith("place_of_"))}
    new |= {"policy": "shared_bandwidth", "sub_arrays": 2}
    for name in (name for name in levels if name.startswith("dataflow_")):
        new[name] = [levels[name][1 + i % (len(levels[name]) - 1)] for i in found.index]
    out = run.with_name(f"{run.name}_lent")
    out.mkdir(exist_ok=True)
    found.assign(**{n: v for n, v in new.items() if n not in found}).to_csv(out / "designs.csv", index=False)
    shutil.copy(run / "manifest.json", out / "manifest.json")
    return out


def table() -> None:
    """Summary, fronts and figures from the runs."""
    summary, fronts = [], []
    for mix in MIXES:
        best: dict[str, CoRun] = {}
        designs = []
        for kind in KINDS:
            problem = problem_of(mix, kind)
            found = read_table(OUT / "runs" / f"{mix}_{kind}" / "designs.csv")
            found = found[found["feasible"]].reset_index(drop=True)
            genes = genes_of(found, problem.space)
            best[kind] = problem.co_run(genes[found["makespan_s"].argmin()])
            kinds = [problem.co_run(genes[i]) for i in non_dominated(found[["makespan_s", "area_mm2"]].to_numpy())]
            designs += [
                {"mix": mix, "kind": run.division.kind(run.design), **{n: run.metrics[n] for n in OBJECTIVES}}
                for run in kinds
            ]
        shared = read_table(OUT / "runs" / f"{mix}_mean" / "designs.csv")
        shared = shared[shared["feasible"]].reset_index(drop=True)
        space = hardware()
        design = space.design(genes_of(shared, space)[shared["latency_s"].argmin()])
        best["geometric-mean design"] = co_run(batch(mix), design)
        for kind, run in best.items():
            parts = run.division.of(run.design)
            summary.append(
                {
                    "mix": mix, "kind": kind, **{n: run.metrics[n] for n in run.metrics if n != "overflow"},
                    "columns": " + ".join(str(part.cols) for part in parts), "rows": run.design.rows,
                    "macs_per_pe": run.design.macs_per_pe,
                    "dataflows": " + ".join(str(part.dataflow) for part in parts),
                    "bandwidth": "shared" if run.division.shared_bandwidth else "parts",
                    "places": " ".join(f"{s}:{a + 1}" for s, a in _places(run).items()),
                }
            )  # fmt: skip
        front = pd.DataFrame(designs)
        front = front.iloc[non_dominated(front[["makespan_s", "area_mm2"]].to_numpy())]
        fronts.append(front)
        drawn = min(list(KINDS)[1:], key=lambda kind: best[kind].metrics["makespan_s"])
        about = f"{mix}, one batch, designs of at most {AREA_MM2:g} mm\u00b2 and {DRAM_GBPS} GB/s at 45 nm"
        for what, draw, width_in in (
            ("front", functools.partial(kinds_figure, front, about), COLUMN_IN),
            ("schedule", functools.partial(gantt_figure, best[drawn]), TWO_COLUMNS_IN),
            ("slow_downs", functools.partial(slow_down_figure, best), TWO_COLUMNS_IN),
        ):
            save_widths(draw, OUT, f"{mix}_{what}", f"{what} of {mix}", png_width_in=width_in)
    shown = pd.DataFrame(summary)
    shown.to_csv(OUT / "summary.csv", index=False, lineterminator="\n")
    pd.concat(fronts).to_csv(OUT / "front.csv", index=False, lineterminator="\n")
    with pd.option_context("display.width", 250, "display.max_columns", 20):
        names = ["mix", "kind", "makespan_s", "makespan_bound_at_places_s", "antt", "worst_slow_down", "energy_j"]
        names += ["deadline_miss_share", "area_mm2", "columns", "dataflows"]
        print(shown[names].to_string(index=False))


def _places(run: CoRun) -> dict[str, int]:
    return {stream.name: a for stream, a in zip(run.mix.streams, run.where, strict=True)}


if __name__ == "__main__":
    actions = {"search": search, "table": table}
    if len(sys.argv) < 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]](*map(int, sys.argv[2:]))
