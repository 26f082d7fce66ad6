"""Ethos-U55: 45 operators on four sizes, against Vela, the compiler of its vendor.  A model, not silicon.

Vela's NPU cycles are those of the array and its output unit; memory is apart, so the designs here have an unlimited
link.  An operator gives a requantised output for two operations of the vector unit: that is Vela's rate of output, 2,
1, 0.5 and 0.25 cycles an element with 1, 2, 4 and 8 element-wise units (npu_performance.py, architecture_features.py).

Where the model is off: the hardware takes its products in fours, of channels or of filter taps, so nine taps of a
depthwise filter take the time of twelve; blocks of pixels are whole.  No number is fitted.  The parameters are from the
same compiler, and one yes-or-no property was settled by these rows: weights are loaded while the array reads others.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from dse.costs.evaluation import evaluate
from dse.hardware.presets import preset
from dse.networks.layers import MacLayer
from dse.validation.eyeriss import UNLIMITED_GBPS
from dse.validation.table import checked, read_data

OPERATIONS_PER_OUTPUT = 2
"""Of the vector unit, for scaling and activation."""


def rows() -> pd.DataFrame:
    """One row an operator and size [cycle], columns as in `dse.validation.table`."""
    parts = []
    for macs, runs in read_data("ethos_u55.csv").groupby("macs_per_cycle"):
        design = replace(preset(f"ethos_u55_{macs}"), dram_gbps=UNLIMITED_GBPS)
        done = evaluate(design, [layer_of(run, f"{run.Index}") for run in runs.itertuples()], slack=0.0).layers
        names = [f"{_name(run)}, {macs} MACs" for run in runs.itertuples()]
        depthwise = runs["operator"] == "depthwise"
        parts.append(
            pd.DataFrame(
                {
                    "row": names,
                    "measured": runs["npu_cycles"].to_numpy(float),
                    "predicted": done["cycles"],
                    "roofline": done["ideal_cycles"],
                    "note": ["taps come in fours in the hardware" if x else "" for x in depthwise],
                }
            )
        )
    table = pd.concat(parts).assign(reference="Ethos-U55", kind="vendor-model", quantity="cycles of an operator")
    return checked(table.assign(unit="cycle", gated=True))


def layer_of(run: pd.Series, name: str) -> MacLayer:
    """The operator of a run, padded to as many outputs as inputs / stride."""
    side = math.ceil(run.H_in / run.stride)
    pad = max(0, (side - 1) * run.stride + run.kernel - run.H_in) // 2
    depthwise = run.operator == "depthwise"
    return MacLayer(
        name,
        "Conv",
        G=run.C_in if depthwise else 1,
        K=1 if depthwise else run.K_out,
        C=1 if depthwise else run.C_in,
        OY=side,
        OX=side,
        FY=run.kernel,
        FX=run.kernel,
        stride_y=run.stride,
        stride_x=run.stride,
        pad_y=pad,
        pad_x=pad,
        IY=run.H_in,
        IX=run.H_in,
        vector_operations=OPERATIONS_PER_OUTPUT * run.K_out * side * side,
    )


def _name(run: pd.Series) -> str:
    return f"{run.operator} {run.C_in}->{run.K_out} {run.H_in}x{run.H_in} {run.kernel}x{run.kernel}/{run.stride}"
