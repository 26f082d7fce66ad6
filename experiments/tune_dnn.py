"""Tune networks for three designs: predicted gains, and the accuracy of two small networks trained anew, measured.

    python -m experiments tune_dnn predict
    python -m experiments tune_dnn measure --data DIRECTORY    # IDX files of Fashion-MNIST; needs [retrain]
    python -m experiments tune_dnn draw

All continue after an interruption.  NASNet-A takes half an hour a design, the others minutes: its graph is read again
for each of 800 edits.  The margin, 0.5 points, was set before the first run.

predicted.csv   latency saved by edits that keep the capacity, by network and design
measured.csv    paired change of the accuracy, with its 95 % interval, and a directory a network
gains, accuracy_latency   figures of both
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

import dse
from dse.output.explanation_figures import gains, moves
from dse.runs.identity import of_network
from dse.tuning.accuracy_study import compare, load_images, study
from dse.tuning.graphs import read_graph
from dse.tuning.tuner import tune, write_tuned
from experiments.study import Fault, Finding, Out, Overwrite, Quick, Rows, Stages, Steps, Study, read_table
from problems import GeomeanDNN

WIDE = {
    f"{x}_buffer_{what}": n for x in ("weight", "input", "output") for what, n in (("kib", 512), ("width_bytes", 512))
}
DESIGNS = {
    "nvdla_large": dse.preset("nvdla_large"),
    "systolic 128x128": replace(
        dse.preset("systolic"), rows=128, cols=128, dataflow="weight_stationary", overlap_skew=True, dram_gbps=64,
        vector_lanes=128, **WIDE,
    ),
    "eyeriss_v1": dse.preset("eyeriss_v1"),
}  # fmt: skip
PREDICTED = ("resnet50", "inception_v3", "nasnet_a_large")
MEASURED = {"mobilenet-style": "systolic 128x128", "resnet-style": "systolic 128x128"}


NO_STAGE_SMALLER = dse.Budget(weights=(1, 2), macs=(1, math.inf), stage_weights=(1, math.inf), stage_macs=(1, math.inf))
"""At most twice the weights, and no stage with less of them or of MACs."""

MARGIN_POINTS = 0.5
"""Loss of accuracy up to which a tuned network counts as equal [points]."""


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    overwrite: Overwrite = False,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Fashion-MNIST's four IDX files.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of training.")] = 2,
) -> None:
    """Run the study; measure is left out without --data."""
    work = Study.at("tune_dnn", out, quick, overwrite=overwrite)
    networks = ("mobilenet_v2",) if quick else PREDICTED
    if "measure" in (stages or []) and data is None:
        raise Fault("measure trains on Fashion-MNIST: name the directory of its IDX files with --data")
    chosen = stages or (["predict", "draw"] if data is None else None)
    designs = {name: str(design) for name, design in DESIGNS.items()}
    steps = {"predict": lambda: predict(work, networks), "measure": lambda: measure(work, data, epochs),
             "draw": lambda: draw(work)}  # fmt: skip
    work.run(chosen, steps, lambda: work.begin([GeomeanDNN(networks)], designs=designs))


def predict(work: Study, networks: tuple[str, ...]) -> None:
    """Capacity-keeping gains of the networks on the designs."""
    rows = Rows(work.runs / "predicted.csv", ("network", "design"))
    pairs = [(name, label) for name in networks for label in (["nvdla_large"] if work.quick else DESIGNS)]
    with Steps(len(pairs), "networks on designs") as steps:
        for name, label in pairs:
            if (name, label) not in rows:
                tuned = tune(read_graph(name), DESIGNS[label], budget=NO_STAGE_SMALLER, rounds=1 if work.quick else 2)
                a, b = tuned.capacity_before, tuned.capacity_after
                rows.add(
                    {"network": name, "design": label, "cycles": tuned.before.cycles,
                     "tuned_cycles": tuned.after.cycles, "gain": tuned.gain, "parameters": a.weights,
                     "tuned_parameters": b.weights, "macs": a.macs, "tuned_macs": b.macs,
                     "edits": "; ".join(edit.text for edit in tuned.edits)}
                )  # fmt: skip
                print(f"{name} on {label}: {100 * tuned.gain:.1f} % less latency, {len(tuned.edits)} edits", flush=True)
            steps.step()
    work.write("predicted.csv", rows.table())


def measure(work: Study, directory: Path, epochs: int) -> None:
    """Five seeds of original and tuned, paired."""
    from dse.tuning.retrain import GraphModule, ImageTraining, graph_of
    from experiments.small_networks import small_networks

    training, rows = ImageTraining(load_images(directory), epochs), []
    for name in MEASURED:
        graph = graph_of(small_networks()[name], (1, 1, 28, 28))
        tuned = tune(graph, DESIGNS[MEASURED[name]], budget=NO_STAGE_SMALLER)
        folder = work.out / name
        write_tuned(tuned, folder)
        network = of_network(tuned.before.network)
        identity = f"{network['sha256']} {tuned.edits} {training.identity}"
        modules = {"original": lambda m=tuned.original: GraphModule(m), "tuned": lambda m=tuned.model: GraphModule(m)}
        runs = study(modules, training, folder, identity=identity, progress=lambda line: print(line, flush=True))
        found = compare(runs)
        rows.append(
            {"network": name, "design": MEASURED[name], "latency_s": tuned.before.latency_s,
             "tuned_latency_s": tuned.after.latency_s, "gain": tuned.gain, "accuracy": found.original,
             "tuned_accuracy": found.tuned, "change_points": found.change_points, "low_points": found.low_points,
             "high_points": found.high_points, "p_value": found.p_value, "seeds": found.seeds,
             "parameters": tuned.capacity_before.weights, "tuned_parameters": tuned.capacity_after.weights,
             "macs": tuned.capacity_before.macs, "tuned_macs": tuned.capacity_after.macs}
        )  # fmt: skip
        print(f"{name} on {MEASURED[name]}: {100 * tuned.gain:.1f} % less latency; {found.text()}", flush=True)
        work.write("measured.csv", pd.DataFrame(rows))


def draw(work: Study) -> None:
    """The figures, from the tables that are there."""
    found = work.read("predicted.csv", ["network", "design", "gain"])
    work.save(functools.partial(gains, found), "gains", "latency saved by edits")
    if (work.out / "measured.csv").is_file():
        table = work.read("measured.csv", ["network", "gain", "change_points", "low_points", "high_points"])
        work.save(functools.partial(moves, table), "accuracy_latency", "accuracy and latency")


def findings(results: Path) -> Iterator[Finding]:
    """Predicted gains, and what they rest on."""
    table = read_table(results / "tune_dnn" / "predicted.csv", ["network", "design", "gain", "parameters", "macs"])
    of = table.set_index(["network", "design"])
    gain, systolic = 100 * of["gain"], "systolic 128x128"
    edits = of["edits"].fillna("").str.split("; ")
    yield Finding(
        f"ResNet-50 saves {gain['resnet50', 'nvdla_large']:.0f} % on the NVDLA and {gain['resnet50', systolic]:.0f} % "
        "on the systolic array, by its first layer alone: pixels in blocks become channels, then the layer is split "
        "into a column and a row filter.",
        all(
            [edit.split(" ")[0] for edit in edits["resnet50", design]] == ["/conv1/Conv"] * 2
            for design in ("nvdla_large", systolic)
        ),
    )
    nasnet = of.loc[("nasnet_a_large", systolic)]
    whole = sum("full convolution" in edit or "groups of" in edit for edit in edits["nasnet_a_large", systolic])
    yield Finding(
        f"NASNet-A saves {100 * nasnet['gain']:.0f} % on the systolic array, where depthwise convolutions use one row "
        f"of 128. Full convolutions replace {whole} of them, at the budget's limit of twice the parameters, and at "
        f"{nasnet['tuned_macs'] / nasnet['macs']:.1f} times the MACs.",
        whole == len(edits["nasnet_a_large", systolic])
        and 1.99 < nasnet["tuned_parameters"] / nasnet["parameters"] <= 2,
    )
    yield Finding(
        f"Inception-v3 saves {gain['inception_v3', 'nvdla_large']:.0f} % on the NVDLA and "
        f"{gain['inception_v3', systolic]:.0f} % on the systolic array."
    )
    chips = gain.xs("eyeriss_v1", level="design")
    yield Finding("On Eyeriss v1 nothing helps: the networks fill its rows.", bool((chips == 0).all()))
    for name, text in (("resnet50", "ResNet-50"), ("inception_v3", "Inception-v3"), ("nasnet_a_large", "NASNet-A")):
        cells = [gain[name, design] for design in ("nvdla_large", systolic, "eyeriss_v1")]
        shown = " | ".join("0" if cell == 0 else f"{cell:.0f} %" if cell > 0.5 else f"{cell:.1g} %" for cell in cells)
        yield Finding(f"| {text} | {shown} |", where=("docs/why-slow.md",))
    yield from measured(results)


def measured(results: Path) -> Iterator[Finding]:
    """Accuracies."""
    columns = ["network", "gain", "change_points", "low_points", "high_points", "seeds"]
    table = read_table(results / "tune_dnn" / "measured.csv", columns).set_index("network")
    for name, text in (("mobilenet-style", "MobileNet-style"), ("resnet-style", "ResNet-style")):
        row = table.loc[name]
        more = [row[f"tuned_{what}"] / row[what] for what in ("parameters", "macs")]
        times = " | ".join(f"x {x:.1f}" if x > 1.5 else f"x {x:.2f}" for x in more)
        yield Finding(
            f"| {text} | -{100 * row['gain']:.0f} % | {times} | {row['change_points']:+.2f} | "
            f"{row['low_points']:.2f} to {row['high_points']:+.2f} |",
            where=("docs/why-slow.md", "results/README.md"),
        )
    yield Finding(
        "The second is not shown to be neutral at the margin of 0.5 points.",
        table.loc["resnet-style", "low_points"] < -MARGIN_POINTS <= table.loc["mobilenet-style", "low_points"],
        ("docs/why-slow.md", "results/README.md"),
    )
