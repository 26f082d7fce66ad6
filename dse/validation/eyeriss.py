"""Eyeriss v1: AlexNet CONV1-5 on the chip, with the published row-stationary mapping and with the best one; VGG-16.

Processing latency excludes DRAM, which the chip does not overlap: the designs here have unlimited DRAM bandwidth.
Global-buffer traffic is every word that enters or leaves the array, filters included.  DRAM traffic is of run-length
coded feature maps: a word of 64 bits holds three values of 16 bits, each with the 5 bits of a run of zeros before it,
so a map with a share `z` of zeros takes ``(64 / 3) / 16 (1 - z)`` of its size (Chen et al., JSSC 52(1), 2017).  The
first input is not coded; the zeros of an output are taken to be those of the next layer's input, which hides the
pooling between.

"Best mapping" is of least energy among those that the preset's dataflow allows: whole rows of outputs, sums that stay
in the global buffer until they are finished.  That family is sourced; which of its mappings the chip's compiler takes
is not.

For the first seven layers of VGG-16 no mapping is published.  In this family the best one is three times as fast as the
chip: the chip moves four to eleven times as much through its buffer, since a pass takes one or two input channels,
where there is room in the registers for four.  `inferred_mapping` is what the published figures say of it: 156 active
PEs are 12 rows x 13 columns, and the traffic through the global buffer tells the channels.  So its latency is a test;
its buffer traffic only checks that the reading is consistent.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from dse.costs.evaluation import evaluate
from dse.costs.mapping import Mapping
from dse.hardware.accelerator import Accelerator
from dse.hardware.presets import preset
from dse.networks.layers import MacLayer
from dse.validation.table import checked, read_data

UNLIMITED_GBPS = 1e6
"""DRAM bandwidth of the designs: processing latency has no DRAM in it [GB/s]."""

CODED_BITS = 64 / 3
"""Bits of a value that is not zero in the run-length code."""


def rows() -> pd.DataFrame:
    """One row a layer and quantity, columns as in `dse.validation.table`.

    "best mapping" rows are of this framework's mapping of least energy on the same chip.  Its energy is below that of
    the published mapping; of buffer and DRAM traffic it may buy less of the one with more of the other.
    """
    table = read_data("eyeriss.csv")
    design = replace(preset("eyeriss_v1"), dram_gbps=UNLIMITED_GBPS, feature_map_compression=1.0)
    zeros = table["ifmap_zeros_pct"] / 100
    parts = []
    for i, run in enumerate(table.itertuples()):
        layer, mapping = layer_of(run), mapping_of(run)
        given = evaluate(design, layer, mapping=mapping).layers.iloc[0]
        best = evaluate(design, layer, objective="energy").layers.iloc[0]
        coded_in = CODED_BITS / 16 * (1 - zeros[i]) if i else 1.0
        coded_out = CODED_BITS / 16 * (1 - zeros[min(i + 1, len(zeros) - 1)])
        compulsory = layer.input_elements * coded_in + layer.weight_elements + layer.output_elements * coded_out
        roofline_ms = layer.macs / design.macs_per_cycle / design.clock_ghz * 1e-6
        active = 1
        for loop in ("C", "K", "OY", "FY"):
            active *= min(mapping.s(loop), getattr(layer, loop))
        does_not_close = run.layer == "CONV3"
        off_paper = "the published mapping gives 39 % more on paper too" if does_not_close else ""
        more_buffer = _buffer_mb(best) > _buffer_mb(given)
        traded = "more of the buffer for less of DRAM" if more_buffer else ""
        less_buffer = "more of DRAM for less of the buffer" if best["dram_bytes"] > given["dram_bytes"] else ""
        for quantity, unit, measured, predicted, roofline, gated, note in (
            ("active PEs", "PE", run.active_pes, active, design.rows * design.cols, True, ""),
            ("global-buffer traffic", "MB", run.glb_access_mb, _buffer_mb(given), math.nan, not does_not_close,
             off_paper),
            ("processing latency", "ms", run.processing_latency_ms, _ms(given, design), roofline_ms, True, ""),
            ("DRAM traffic", "MB", run.dram_access_mb, _dram_mb(given, coded_in, coded_out), compulsory * 2e-6, False,
             "outputs leave unpooled here"),
            ("global-buffer traffic, best mapping", "MB", run.glb_access_mb, _buffer_mb(best), math.nan, True, traded),
            ("processing latency, best mapping", "ms", run.processing_latency_ms, _ms(best, design), roofline_ms,
             False, ""),
            ("DRAM traffic, best mapping", "MB", run.dram_access_mb, _dram_mb(best, coded_in, coded_out),
             compulsory * 2e-6, True, "; ".join(filter(None, ("outputs leave unpooled here", less_buffer)))),
        ):  # fmt: skip
            parts.append(
                {"row": run.layer, "quantity": quantity, "unit": unit, "measured": float(measured)}
                | {"predicted": predicted, "roofline": roofline, "gated": gated, "note": note}
            )
    parts += _vgg16(design)
    result = pd.DataFrame(parts).assign(reference="Eyeriss v1", kind="silicon")
    return checked(result.sort_values("quantity", key=lambda q: q.map(list(dict.fromkeys(q)).index), kind="stable"))


def _vgg16(design: Accelerator) -> list[dict[str, object]]:
    """Comparisons of VGG-16's first seven layers, by the mapper within the chip's family and by `inferred_mapping`."""
    parts = []
    for run in read_data("eyeriss_vgg16.csv").itertuples():
        layer = layer_of(run)
        best = evaluate(design, layer, objective="energy").layers.iloc[0]
        inferred = evaluate(design, layer, mapping=inferred_mapping(run)).layers.iloc[0]
        roofline_ms = layer.macs / design.macs_per_cycle / design.clock_ghz * 1e-6
        ms, mb = run.processing_latency_ms, run.glb_access_mb
        for name, line, buffer_counts, note in (
            ("best mapping", best, True, "hold-out: nothing was chosen by these rows"),
            ("inferred", inferred, False, "tile and channels of a pass as PEs and buffer traffic suggest"),
        ):
            common = {"row": f"VGG-16 {run.layer}", "note": note}
            parts += [
                common
                | {"quantity": f"VGG-16 latency, {name}", "unit": "ms", "measured": ms}
                | {"predicted": _ms(line, design), "roofline": roofline_ms, "gated": True},
                common
                | {"quantity": f"VGG-16 buffer traffic, {name}", "unit": "MB", "measured": mb}
                | {"predicted": _buffer_mb(line), "roofline": math.nan, "gated": buffer_counts},
            ]
    return parts


def layer_of(run: pd.Series) -> MacLayer:
    """A layer of the published table."""
    return MacLayer(
        run.layer,
        "Conv",
        B=run.batch,
        G=run.groups,
        K=run.K // run.groups,
        C=run.C_per_group,
        OY=run.P,
        OX=run.P,
        FY=run.R,
        FX=run.R,
        stride_y=run.stride,
        stride_x=run.stride,
        pad_y=run.pad,
        pad_x=run.pad,
        IY=run.H_in,
        IX=run.H_in,
        zero_share=run.ifmap_zeros_pct / 100,
    )


def mapping_of(run: pd.Series) -> Mapping:
    """The published mapping: a PE works on one row of filters and of inputs, sets of PEs replicate over C and K.

    Parameters m, n, e, p, q, r, t of Chen et al., JSSC 52(1), 2017, Table III: m channels of outputs and n images in
    the global buffer, e rows of outputs on the columns, p and q channels of outputs and inputs in a PE, r and t sets
    over input and output channels.  Sets taller than the array's width are folded (CONV2: 27 rows as two groups of 14).
    """
    rows_of_outputs, option = run.map_e, 0
    if run.map_e > 14:
        rows_of_outputs, option = 2 * -(-run.map_e // 2), 2
    spatial = {"FY": run.R, "OY": rows_of_outputs, "C": run.map_r, "K": run.map_t}
    tile = {"B": run.map_n, "K": min(run.map_m, run.K // run.groups), "C": run.map_q * run.map_r}
    tile |= {"OY": run.map_e, "OX": run.P, "FY": run.R, "FX": run.R}
    register = {"K": run.map_p, "C": run.map_q, "FX": run.R}
    return Mapping(spatial, register, tile, dram_order=("P", "K", "R"), stationary="W", bypass="W", option=option)


def inferred_mapping(run: pd.Series) -> Mapping:
    """A mapping of VGG-16 that agrees with what is published of the layer (see the module's text).

    Strips of 13 whole rows of outputs, of as many channels, a power of two, as leave room for inputs in the 25 banks of
    4 KB: 16, 32, 64 where maps are 224, 112, 56 wide.  One input channel a pass, two where maps are 56 wide.  Four sets
    of PEs over output channels.
    """
    channels, passes = 64 * 56 // run.P, 2 if run.P == 56 else 1
    spatial = {"FY": run.R, "OY": 13, "K": 4}
    tile = {"K": channels, "C": passes, "OY": 13, "OX": run.P, "FY": run.R, "FX": run.R}
    register = {"K": channels // 4, "C": passes, "FX": run.R}
    return Mapping(spatial, register, tile, dram_order=("P", "K", "R"), stationary="W", bypass="W", option=1)


def _ms(line: pd.Series, design: Accelerator) -> float:
    return line["cycles"] / design.clock_ghz * 1e-6


def _buffer_mb(line: pd.Series) -> float:
    names = ("weight", "input", "output_read", "output_write")
    return sum(line[f"array_{name}_bytes"] for name in names) / 1e6


def _dram_mb(line: pd.Series, coded_in: float, coded_out: float) -> float:
    outputs = line["dram_output_read_bytes"] + line["dram_output_write_bytes"]
    return (line["dram_weight_bytes"] + line["dram_input_bytes"] * coded_in + outputs * coded_out) / 1e6
