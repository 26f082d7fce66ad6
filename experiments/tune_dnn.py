"""Tune networks for three designs: predicted gains, and the accuracy of two small networks trained anew, measured.

    python experiments/tune_dnn.py predict                       # results/tune_dnn/predicted.csv
    python experiments/tune_dnn.py measure DIRECTORY [EPOCHS]    # IDX files of Fashion-MNIST; needs [retrain]
    python experiments/tune_dnn.py draw                          # figures of both

Both can be interrupted; the same command continues.  NASNet-A takes half an hour a design, the others minutes: its
graph is read again for each of 800 edits.  The margin, 0.5 points, was set before the first run.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

import dse
from dse.output.explanation_figures import gains, moves
from dse.output.figure_style import save_widths
from dse.runs.files import write_whole
from dse.runs.identity import of_network
from dse.tuning.accuracy_study import compare, load_images, study
from dse.tuning.proposals import read_graph, tune, write_tuned

OUT = Path(__file__).parents[1] / "results" / "tune_dnn"
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


def predict() -> None:
    """Capacity-keeping gains of three networks on three designs; rows in the table are kept: delete it to redo."""
    table = OUT / "predicted.csv"
    OUT.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(table, keep_default_na=False).to_dict("records") if table.exists() else []
    done = {(row["network"], row["design"]) for row in rows}
    for name in PREDICTED:
        for label, design in DESIGNS.items():
            if (name, label) in done:
                continue
            tuned = tune(read_graph(name), design, rounds=2)
            a, b = tuned.capacity_before, tuned.capacity_after
            rows.append(
                {"network": name, "design": label, "cycles": tuned.before.cycles, "tuned_cycles": tuned.after.cycles,
                 "gain": tuned.gain, "parameters": a.parameters, "tuned_parameters": b.parameters, "macs": a.macs,
                 "tuned_macs": b.macs, "edits": "; ".join(edit.text for edit in tuned.edits)}
            )  # fmt: skip
            write_whole(table, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode())
            print(f"{name} on {label}: {100 * tuned.gain:.1f} % less latency with {len(tuned.edits)} edits", flush=True)


def measure(directory: str, epochs: int = 2) -> None:
    """Five seeds of original and tuned, paired."""
    from small_networks import small_networks

    from dse.tuning.retrain import GraphModule, ImageTraining, graph_of

    training, rows = ImageTraining(load_images(directory), epochs), []
    for name in MEASURED:
        graph = graph_of(small_networks()[name], (1, 1, 28, 28))
        tuned = tune(graph, DESIGNS[MEASURED[name]])
        folder = OUT / name
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
             "parameters": tuned.capacity_before.parameters, "tuned_parameters": tuned.capacity_after.parameters,
             "macs": tuned.capacity_before.macs, "tuned_macs": tuned.capacity_after.macs}
        )  # fmt: skip
        print(f"{name} on {MEASURED[name]}: {100 * tuned.gain:.1f} % less latency; {found.text()}", flush=True)
        write_whole(OUT / "measured.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode())


def draw() -> None:
    """The figures, from the tables."""
    for table, figure, name in (("predicted", gains, "gains"), ("measured", moves, "accuracy_latency")):
        if (OUT / f"{table}.csv").exists():
            print(*save_widths(functools.partial(figure, pd.read_csv(OUT / f"{table}.csv")), OUT, name, name))


if __name__ == "__main__":
    actions = {"predict": predict, "measure": measure, "draw": draw}
    if len(sys.argv) < 2 or sys.argv[1] not in actions or (sys.argv[1] == "measure" and len(sys.argv) < 3):
        sys.exit(__doc__)
    actions[sys.argv[1]](*[int(x) if x.isdecimal() else x for x in sys.argv[2:]])
