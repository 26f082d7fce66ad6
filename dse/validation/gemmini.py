"""Gemmini 16x16: 222 layers with their mappings, cycle-exact RTL.

Each row names a layer, the sizes of scratchpad and accumulator, a mapping and the cycles of the RTL under it.  The
mapping is costed as given.  No number was fitted, but three yes-or-no properties of the preset ``gemmini_16x16`` were
settled by these rows: tiles of weights and inputs are moved in at every step of the outer loops while the array works
on what is there; moves are of whole 16x16 blocks; an accumulator tile is written out before the next begins.

The largest errors are rows that take longer than array, moves in and moves out one after the other: products with K of
1 or 2, and tiles of many weights (up to 5 times the cycles of the array), whose moves the RTL seems to issue one block
at a time behind one another.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from dse.costs.evaluation import evaluate
from dse.costs.mapping import Mapping
from dse.hardware.accelerator import Accelerator
from dse.hardware.presets import preset
from dse.networks.layers import LOOPS, MacLayer
from dse.validation.table import checked, read_data

LOOP_OF = {"N": "B", "K": "K", "C": "C", "P": "OY", "Q": "OX", "R": "FY", "S": "FX"}
"""The reference's loops by this framework's names."""


def rows() -> pd.DataFrame:
    """One row a layer with its mapping [cycle], and the same layer under this framework's best mapping.

    The best mapping is set beside the RTL under Gemmini's own tiling: not a test, what a better mapping is worth.
    """
    runs = read_data("gemmini.csv")
    base, parts = preset("gemmini_16x16"), []
    for run in runs.itertuples():
        design, layer = accelerator(base, run), layer_of(run)
        given = evaluate(design, layer, mapping=mapping_of(run.mapping, layer)).layers.iloc[0]
        best = evaluate(design, layer, slack=0.0).layers.iloc[0]
        bound = {"row": _name(run, layer), "roofline": given["bound_cycles"]}
        parts.append(
            bound
            | {
                "quantity": "cycles, given mapping",
                "measured": float(run.rtl_cycles_with_mapping),
                "predicted": given["cycles"],
                "gated": True,
                "note": f"bound by {given['bound']}; DOSA's analytical model: {run.dosa_analytical_cycles}",
            }
        )
        parts.append(
            bound
            | {
                "quantity": "cycles, best mapping",
                "measured": float(run.rtl_cycles_gemmini_heuristic_tiling),
                "predicted": best["cycles"],
                "gated": False,
                "note": "the RTL is under Gemmini's own tiling",
            }
        )
    return checked(pd.DataFrame(parts).assign(reference="Gemmini 16x16", kind="rtl", unit="cycle"))


def accelerator(base: Accelerator, run: pd.Series) -> Accelerator:
    """The preset with the scratchpad and the accumulator of a run; scratchpad ports are shared half and half."""
    half = run.scratchpad_kib / 2
    return replace(base, weight_buffer_kib=half, input_buffer_kib=half, output_buffer_kib=run.acc_kib)


def layer_of(run: pd.Series) -> MacLayer:
    """The layer of a run; its inputs are exactly those that the outputs touch."""
    return MacLayer(
        f"{run.C}->{run.K} {run.P}x{run.Q} {run.R}x{run.S}/{run.stride}",
        "Conv",
        B=run.N,
        K=run.K,
        C=run.C,
        OY=run.P,
        OX=run.Q,
        FY=run.R,
        FX=run.S,
        stride_y=run.stride,
        stride_x=run.stride,
        IY=(run.P - 1) * run.stride + run.R,
        IX=(run.Q - 1) * run.stride + run.S,
    )


def mapping_of(text: str, layer: MacLayer) -> Mapping:
    """Read the reference's notation: levels from DRAM (L3) to registers (L0), loops outer to inner, ``X`` spatial.

    Loops of L2 to L0 are the scratchpad's tile; an accumulator tile is all its outputs.
    """
    inside, spatial, outer = dict.fromkeys(LOOPS, 1), {}, []
    for level in text.split(" - "):
        head, *loops = level.split()
        for text_of_loop in loops:
            found = re.fullmatch(r"([A-Z]+)(\d+)(X?)", text_of_loop)
            if found is None:
                raise ValueError(f"{text_of_loop!r} is no loop of the reference's notation, such as K16X")
            name, trips, across = found.groups()
            loop = LOOP_OF[name]
            if head.startswith("L3"):
                outer.append(loop)
                continue
            inside[loop] *= int(trips)
            if across:
                spatial[loop] = int(trips)
    order = (*(d for d in LOOPS if d not in outer), *outer)
    tile = {d: min(n, bound) for d, n, bound in zip(LOOPS, inside.values(), layer.loop_bounds, strict=True)}
    return Mapping(spatial, {}, tile, dram_order=order, stationary="W")


def _name(run: pd.Series, layer: MacLayer) -> str:
    return f"{layer.name}, {run.scratchpad_kib:g}+{run.acc_kib:g} KiB, {run.mapping}"
