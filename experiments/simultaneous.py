"""Several networks at the same time: one array in turns, equal sub-arrays, different sub-arrays, or the shared design.

    python -m experiments simultaneous            # 6,000 designs a stage; killed, the same command continues
    python -m experiments simultaneous draw

For each mix of `MIXES`, over the default space with the DRAM bandwidth fixed at 32 GB/s and designs of at most 40 mm2
at 45 nm, a search for area and time (makespan of a batch, 95th percentile of the latency of streams with rates, in
their steady state) for each kind: "time-shared" (the whole array, layer by layer), "homogeneous" (up to three
sub-arrays of one dataflow, bandwidth in parts or shared) and "heterogeneous" (different dataflows).

A divided design has twice the genes of an undivided one, and equal budgets would compare searches, not hardware.  So
each stage starts from the designs of the one before: homogeneous from the time-shared ones cut in two equal halves,
heterogeneous from the homogeneous ones.  The time-shared search has three times the budget of a stage.

Then the geometric-mean design: a search for the geometric mean of the mix's networks under the same limits, three times
the budget of a stage, used unchanged, undivided.

designs.csv   the fastest design of each kind, every variable
summary.csv   its metrics, bound, division
front.csv     designs of all kinds that no other dominates in (time, area)
figures of each mix: _front, _schedule (of the fastest divided design), _slow_downs
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

import dse
from dse.hardware.space import DesignSpace
from dse.output.figure_style import TWO_COLUMNS_IN
from dse.output.schedule_figures import gantt_figure, kinds_figure, slow_down_figure
from dse.runs.tables import genes_of
from dse.runs.tables import read_table as read_run
from dse.search.pareto import non_dominated
from dse.simultaneous.co_runs import CoRun, co_run
from experiments.study import (
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
from problems import GeomeanDNN, SimultaneousDNNs
from problems.simultaneous import DividedSpace

MIXES = ("moca_mixed", "driving", "datacentre")
LIMITS = {"area_mm2": 40.0}
DRAM_GBPS = 32
KINDS: dict[str, dict[str, Any]] = {
    "time-shared": {"policies": ("time_shared",)},
    "homogeneous": {"policies": ("partition", "shared_bandwidth"), "dataflows": ("same",)},
    "heterogeneous": {"policies": ("partition", "shared_bandwidth")},
}
MEAN = "geometric-mean design"
LABELS = {"makespan_s": "Makespan", "latency_p95_s": "95th percentile of the latency"}


class Heterogeneous(SimultaneousDNNs):
    """A mix on sub-arrays that do not all have one dataflow."""

    constraint_names = ("dataflows",)

    def constraints(self, m):
        """Not all sub-arrays alike."""
        alike = np.ones(len(m.sub_arrays), dtype=bool)
        for a in range(2, self.most_sub_arrays + 1):
            flow, own = m[f"dataflow_{a}"].astype(str), m.dataflow.astype(str)
            alike &= (flow == "same") | (flow == own) | (m.sub_arrays < a)
        return (alike.astype(float),)


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    jobs: Jobs = -1,
    overwrite: Overwrite = False,
    evaluations: Annotated[int, typer.Option(min=8, help="Designs of a stage.")] = 6_000,
) -> None:
    """Run the study."""
    study = Study.at("simultaneous", out, quick, jobs, overwrite)
    mixes = (
        [dse.Mix.of(["wide_deep", "ptb_lstm_medium", "mobilenet_v2"])]
        if quick
        else [dse.load_mix(name) for name in MIXES]
    )
    work = Mixes(study, mixes, 40 if quick else evaluations)
    problems = [work.problem(mix, "homogeneous") for mix in mixes]
    steps = {"search": work.search, "table": work.table, "draw": work.draw}
    study.run(stages, steps, lambda: study.begin(problems, evaluations=work.evaluations))


def hardware() -> DesignSpace:
    """The default space at one bandwidth."""
    space = dse.default_space()
    levels = {v.name: v.levels for v in space.variables if v.name != "dram_gbps"}
    return DesignSpace(levels, replace(space.base, dram_gbps=DRAM_GBPS), f"default, {DRAM_GBPS} GB/s")


def time_of(mix: dse.Mix) -> str:
    """What is minimised beside the area."""
    return "latency_p95_s" if mix.is_steady else "makespan_s"


class Mixes:
    """The stages, on mixes."""

    def __init__(self, study: Study, mixes: list[dse.Mix], evaluations: int) -> None:
        self.study, self.mixes, self.evaluations = study, mixes, evaluations

    def problem(self, mix: dse.Mix, kind: str) -> SimultaneousDNNs:
        """The search problem of one kind of division."""
        make = Heterogeneous if kind == "heterogeneous" else SimultaneousDNNs
        objectives = (time_of(mix), "area_mm2")
        return make(mix, space=hardware(), objectives=objectives, n_jobs=self.study.jobs, **KINDS[kind])

    def mean(self, mix: dse.Mix) -> GeomeanDNN:
        """The search problem of the shared design."""
        networks = {network.renamed("").layers: network for network in mix.networks()}
        return GeomeanDNN(list(networks.values()), space=hardware(), n_jobs=self.study.jobs)

    def search(self) -> None:
        """All searches."""
        for mix in self.mixes:
            before = None
            for kind in (*KINDS, MEAN):
                problem = self.mean(mix) if kind == MEAN else self.problem(mix, kind)
                alone = kind in ("time-shared", MEAN)
                with searching() as progress:
                    run = dse.explore(
                        problem, evaluations=self.evaluations * (3 if alone else 1), random_twin=False,
                        out=self.place(mix, kind), limits=LIMITS, progress=progress,
                        warm_start=None if alone else lent(self.place(mix, before), problem.space, time_of(mix)),
                    )  # fmt: skip
                before = kind
                if len(run.front) == 0:
                    raise Fault(f"{mix.name}, {kind}: no design within {LIMITS} was found: {'; '.join(run.notes)}")
                print(f"{mix.name}, {kind}: front of {len(run.front)}", flush=True)

    def place(self, mix: dse.Mix, kind: str) -> Path:
        """Of a run."""
        return self.study.runs / f"{mix.name}_{kind.replace(' ', '_')}"

    def co_run(self, mix: dse.Mix, kind: str, row: pd.DataFrame) -> CoRun:
        """What a design of a table does."""
        if kind == MEAN:
            space = hardware()
            return co_run(mix, space.design(genes_of(row, space)[0]))
        problem = self.problem(mix, kind)
        return problem.co_run(genes_of(row, problem.space)[0])

    def table(self) -> None:
        """Fastest designs, summary and fronts from the runs."""
        designs, summary, fronts = [], [], []
        for mix in self.mixes:
            time, met = time_of(mix), []
            for kind in (*KINDS, MEAN):
                found = read_run(self.place(mix, kind) / "designs.csv")
                found = found[found["feasible"]].reset_index(drop=True)
                best = found.iloc[[found["latency_s" if kind == MEAN else time].argmin()]]
                names = self.mean(mix).space.names if kind == MEAN else self.problem(mix, kind).space.names
                designs.append(best[list(names)].assign(mix=mix.name, kind=kind))
                summary.append(told(self.co_run(mix, kind, best), mix.name, kind))
                if kind == MEAN:
                    continue
                for i in non_dominated(found[[time, "area_mm2"]].to_numpy()):
                    run = self.co_run(mix, kind, found.iloc[[i]])
                    met.append({"mix": mix.name, "kind": run.division.kind(run.design), "time": time,
                                "time_s": run.metrics[time], "area_mm2": run.metrics["area_mm2"]})  # fmt: skip
            front = pd.DataFrame(met)
            fronts.append(front.iloc[non_dominated(front[["time_s", "area_mm2"]].to_numpy())])
        self.study.write("designs.csv", pd.concat(designs))
        self.study.write("summary.csv", shown := pd.DataFrame(summary))
        self.study.write("front.csv", pd.concat(fronts))
        print(shown.dropna(axis=1).iloc[:, :12].to_string(index=False))

    def draw(self) -> None:
        """Front, schedule of the fastest divided design, and slow-downs of each mix."""
        designs = self.study.read("designs.csv", ["mix", "kind", "rows", "cols", "dataflow"])
        fronts = self.study.read("front.csv", ["mix", "kind", "time", "time_s", "area_mm2"])
        for mix in self.mixes:
            of = designs[designs["mix"] == mix.name]
            best = {kind: self.co_run(mix, kind, of[of["kind"] == kind]) for kind in (*KINDS, MEAN)}
            drawn = min(list(KINDS)[1:], key=lambda kind: best[kind].metrics[time_of(mix)])
            front, said = fronts[fronts["mix"] == mix.name], LABELS[time_of(mix)]
            figure = functools.partial(kinds_figure, front, f"{mix.name} at 45 nm", x="time_s", x_said=said)
            self.study.save(figure, f"{mix.name}_front", f"fronts of {mix.name}")
            schedule = functools.partial(gantt_figure, best[drawn])
            self.study.save(schedule, f"{mix.name}_schedule", f"{mix.name}, {drawn}", TWO_COLUMNS_IN)
            slow_downs = functools.partial(slow_down_figure, best)
            self.study.save(slow_downs, f"{mix.name}_slow_downs", f"slow-downs of {mix.name}", TWO_COLUMNS_IN)


def told(run: CoRun, mix: str, kind: str) -> dict[str, Any]:
    """A row of `summary.csv`."""
    parts = run.division.of(run.design)
    places = (f"{stream.name}:{a + 1}" for stream, a in zip(run.mix.streams, run.where, strict=True))
    return {
        "mix": mix, "kind": kind, **{n: run.metrics[n] for n in run.metrics if n != "overflow"},
        "columns": " + ".join(str(part.cols) for part in parts), "rows": run.design.rows,
        "macs_per_pe": run.design.macs_per_pe, "dataflows": " + ".join(str(part.dataflow) for part in parts),
        "bandwidth": "shared" if run.division.shared_bandwidth else "parts", "places": " ".join(places),
    }  # fmt: skip


def lent(run: Path, space: DividedSpace, time: str) -> Path:
    """A run's fastest feasible designs as a start for a search in `space`, in a directory of their own.

    What the run did not vary: two equal halves that share the bandwidth, networks on them in turn, one dataflow; or,
    for different ones, the next of the space's dataflows from design to design.
    """
    levels = {variable.name: variable.levels for variable in space.variables}
    found = read_run(run / "designs.csv")
    found = found[found["feasible"]].sort_values(time, kind="stable").reset_index(drop=True)
    new: dict[str, Any] = {name: 1 for name in levels if "_share_" in name}
    new |= {name: 1 + i % 2 for i, name in enumerate(name for name in levels if name.startswith("place_of_"))}
    new |= {"policy": "shared_bandwidth", "sub_arrays": 2}
    for name in (name for name in levels if name.startswith("dataflow_")):
        new[name] = [levels[name][1 + i % (len(levels[name]) - 1)] for i in found.index]
    found = found.assign(**{n: v for n, v in new.items() if n not in found})
    return start_of(run, found, run.with_name(f"{run.name}_lent"))


def findings(results: Path) -> Iterator[Finding]:
    """Who is fastest, and who waits."""
    columns = ["mix", "kind", "makespan_s", "antt", "worst_slow_down", "dram_bytes"]
    summary = read_table(results / "simultaneous" / "summary.csv", columns).set_index(["mix", "kind"]).sort_index()
    front = read_table(results / "simultaneous" / "front.csv", ["mix", "kind", "makespan_s", "area_mm2"])
    ms, divided = 1e3 * summary["makespan_s"], ["homogeneous", "heterogeneous"]
    mb, busy = summary["dram_bytes"] / 1e6, summary["dram_bytes"] / (DRAM_GBPS * 1e6) / ms
    mean, worst = summary["antt"], summary["worst_slow_down"]
    area = front[front["kind"] != "time-shared"].groupby("mix")["area_mm2"].agg(["min", "max"])
    whole = "time-shared"

    of, page = "moca_mixed", ("docs/at-the-same-time.md",)
    yield Finding(
        f"**{of}**: the whole array shared in time is fastest ({ms[of, whole]:.1f} ms; sub-arrays "
        f"{ms[of][divided].min():.1f}, geometric-mean design {ms[of, MEAN]:.1f}). Divided buffers move "
        f"{100 * (mb[of][divided].min() / mb[of, whole] - 1):.0f} % more ({mb[of][divided].min():.0f} MB instead of "
        f"{mb[of, whole]:.0f}) over a DRAM link that is busy for {span(100 * busy[of][[whole, *divided]])} of the time "
        "either way.",
        ms[of].idxmin() == whole,
    )
    yield Finding(
        f"Sub-arrays of different dataflows lower the worst slow-down from {worst[of, whole]:.1f} to "
        f"{worst[of, 'heterogeneous']:.1f}, and leave the mean where it is ({mean[of, whole]:.1f} and "
        f"{mean[of, 'heterogeneous']:.1f}). From {area['min'][of]:.0f} to {area['max'][of]:.0f} mm² divided designs "
        "are on the front."
    )
    of = "driving"
    macs = {stream.name: network.macs for stream, network in zip(dse.load_mix(of).streams, dse.load_mix(of).networks(),
                                                                  strict=True)}  # fmt: skip
    held = 100 * (macs["detection"] + macs["segmentation"]) / sum(macs.values())
    yield Finding(
        f"**{of}**: the whole array takes {ms[of, whole]:.1f} ms, the geometric-mean design {ms[of, MEAN]:.1f}, "
        f"sub-arrays {ms[of][divided].min():.1f}. Detection and segmentation hold {held:.1f} % of the MACs. Nothing "
        f"divided is on the front at any area, and the mean slow-down is {mean[of][divided].min():.1f} instead of "
        f"{mean[of, whole]:.1f}.",
        of not in area.index,
    )
    of = "datacentre"
    apart = 100 * (ms[of].max() / ms[of].min() - 1)
    yield Finding(
        f"**{of}**: all four are within {apart:.1f} % ({ms[of].min():.1f} to {ms[of].max():.1f} ms): the DRAM link is "
        f"busy for {span(100 * busy[of])} of the time whatever the division."
    )
    slow = mean[of, "heterogeneous"], mean[of, whole]
    yield Finding(
        f"Different dataflows give that makespan with a mean slow-down of {slow[0]:.1f} instead of {slow[1]:.1f} "
        f"(equal ones {mean[of, 'homogeneous']:.1f})."
    )
    later = [100 * (ms[mix][divided].min() / ms[mix, whole] - 1) for mix in MIXES]
    more = [100 * (mb[mix, kind] / mb[mix, whole] - 1) for mix in MIXES for kind in divided]
    yield Finding(
        f"At equal area (40 mm²) and bandwidth ({DRAM_GBPS} GB/s), the undivided array finished three mixes first, "
        f"{span(later)} before the best division. Divided buffers move {span(more)} more over the DRAM link.",
        where=page,
    )
    yield Finding(
        f"In a data-centre mix the mean slow-down is {slow[0]:.1f} instead of {slow[1]:.1f}, at "
        f"{100 * (ms[of, 'heterogeneous'] / ms[of, whole] - 1):.0f} % more makespan. On chips of "
        f"{area['min'].min():.0f} to {area['max'].max():.0f} mm², sub-arrays are on the front of two mixes.",
        len(area) == 2,
        page,
    )
