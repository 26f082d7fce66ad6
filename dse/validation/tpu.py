"""TPU v1: throughput of six production networks, by the hardware counters of the chip.

The shapes are secret.  What is published are weights, layers, batch and operations per byte of weights, so each network
is built from those alone: fully connected layers and recurrent cells as equal square matrices, CNN0 as equal 3x3
convolutions of as many channels as the array is wide, on maps that give its operations per byte.  Activations stay on
chip, so the first and the last layer, whose activations come and go over PCIe, are left out.

LSTM1 and CNN1 are for information.  The paper says that the matrices of LSTM1 are 600x600, which takes 9 tiles of
256x256 (the model gives their time, 18 us each), but not how much of the published rate they account for.  Of CNN1, not
even the kind of convolution is known, and half of its array is idle for want of channels.
"""

from __future__ import annotations

import math

import pandas as pd

from dse.costs.evaluation import evaluate
from dse.costs.results import OPERATIONS_OF_A_MAC
from dse.hardware.accelerator import Accelerator
from dse.hardware.presets import preset
from dse.networks import Network
from dse.networks.layers import Layer, MacLayer
from dse.validation.table import checked, read_data

CNN0_TAPS = 3
LSTM1_SIDE = 600
"""Matrices of LSTM1 (Jouppi et al., ISCA 2017, Sec. 7)."""

LSTM1_MATRIX_US = 18.0
"""Time of one of them, by the same section [us]."""

_NOTES = {
    "LSTM1": "600x600 matrices only; the shapes of the rest and the 16-bit share are not published",
    "CNN1": "shapes not published; half of the array is idle for want of channels, by the counters",
}


def rows() -> pd.DataFrame:
    """One row a network [TOPS, a MAC is two operations]; and the time of a matrix of LSTM1 [us]."""
    table = read_data("tpu.csv")
    design, parts = preset("tpu_v1"), []
    for run in table.itertuples():
        layers = layers_of(run, design)
        done = evaluate(design, Network(run.app, tuple(layers))).layers.iloc[1:-1]
        operations = OPERATIONS_OF_A_MAC * done["macs"].sum()
        seconds, bound = (done[name].sum() / (design.clock_ghz * 1e9) for name in ("cycles", "bound_cycles"))
        parts.append(
            {
                "row": run.app,
                "quantity": "throughput",
                "unit": "TOPS",
                "measured": float(run.tops),
                "predicted": operations / seconds / 1e12,
                "roofline": operations / bound / 1e12,
                "gated": run.app not in _NOTES,
                "note": _NOTES.get(run.app, f"the designers' own model is {run.tpu_perf_model_cycle_error_pct} % off"),
            }
        )
        if run.app == "LSTM1":
            parts.append(
                {
                    "row": "LSTM1, 600x600",
                    "quantity": "time of a matrix",
                    "unit": "us",
                    "measured": LSTM1_MATRIX_US,
                    "predicted": done["cycles"].mean() / design.clock_ghz / 1e3,
                    "roofline": done["bound_cycles"].mean() / design.clock_ghz / 1e3,
                    "gated": False,
                    "note": "stated in the text, not counted",
                }
            )
    return checked(pd.DataFrame(parts).assign(reference="TPU v1", kind="silicon"))


def layers_of(run: pd.Series, design: Accelerator) -> list[Layer]:
    """The layers of a network, one more at either end (left out of the sums), as equal as its published sums allow."""
    convolutional = run.layers_conv > 0
    count = run.layers_conv if convolutional else run.layers_fc
    weights = run.weights_m * 1e6 / count
    if convolutional:
        side = round(math.sqrt(run.ops_per_weight_byte / run.batch))
        channels = design.cols if run.app == "CNN0" else round(math.sqrt(weights) / CNN0_TAPS)
        shape = {"B": run.batch, "C": channels, "K": channels, "OY": side, "OX": side, "IY": side, "IX": side}
        shape |= {"FY": CNN0_TAPS, "FX": CNN0_TAPS, "pad_y": 1, "pad_x": 1}
    else:
        side = LSTM1_SIDE if run.app == "LSTM1" else round(math.sqrt(weights))
        shape = {"OX": run.batch, "C": side, "K": side}
    return [
        MacLayer(f"layer {i}", "Conv" if convolutional else "Gemm", **shape, inputs=(f"t{i}",), output=f"t{i + 1}")
        for i in range(count + 2)
    ]
