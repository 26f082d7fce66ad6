"""NVDLA: the vendor's performance spreadsheet, seven configurations and the 54 layers of ResNet-50.  Not silicon.

The vendor's rule, read off the 54 layers, which `vendor_cycles` gives to the digit for 2048 MACs and 512 KiB:

- a layer takes max(MAC cycles, DRAM cycles), layers add up; nothing but the convolution buffer (CBUF) is on chip;
- the array takes 128 kernels x 16 channels a cycle: 256 -> 64 channels run at half speed.  The hardware manual says
  32 x 64, which would not;
- the image has 4 channels instead of 3, and its 4 x 49 taps are packed: 12.25 steps of 16;
- 3x3 layers of stride 1 are Winograd F(2x2, 3x3): MACs / 2.25, odd sizes not rounded up, weights stored as 4x4;
- filters of strided layers are stored with sides rounded up to the stride (1x1 of stride 2 as 2x2), and such layers
  fetch the rows and columns that they skip;
- pooling and additions are fused: pooled sizes leave the chip, an addition fetches its other operand;
- where neither inputs nor weights fit the CBUF, one of them is fetched once for every half CBUF of the other;
- DRAM sizes are KiB taken for 1000 bytes, 2.4 % too fast;
- fully connected layers do not round up to 128 kernels.

For a smaller CBUF the rule above is 5 to 9 % faster than the published rates: some of its re-fetching is unknown.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypedDict

import pandas as pd

from dse.costs.evaluation import Evaluation, evaluate
from dse.hardware.accelerator import Accelerator
from dse.networks.layers import MacLayer
from dse.validation.eyeriss import UNLIMITED_GBPS
from dse.validation.table import checked, read_data

KERNELS = 128
"""Kernels that the vendor's MAC cycles run side by side; fewer where the array has fewer MACs."""

SUMS_PER_KERNEL = 256
"""Partial sums the accumulator holds for a MAC cell, a second time for delivery (nvdla/hw cmod/cacc, NV_NVDLA_cacc.h:
DIRECT_CONV_ASSEMBLY_ENTRY_NUM and DIRECT_CONV_DELIVERY_ENTRY_NUM are 256)."""


class Configuration(TypedDict):
    """Arguments of `accelerator`."""

    macs: int
    cbuf_kib: float
    dram_gbps: float
    mac_cells: int


LAYERS: Configuration = {"macs": 2048, "cbuf_kib": 512, "dram_gbps": 10.0, "mac_cells": 32}
"""The configuration of the layer table."""


def rows() -> pd.DataFrame:
    """One row a layer and quantity (2048 MACs, 10 GB/s) and one a configuration; columns as in `dse.validation.table`.

    Predictions are of the best mapping of the layers as NVDLA stores them (`winograd`, `as_stored`); the roofline is of
    the plain layers.  "Frame rate, plain layers" leaves Winograd and the storage away: what they change.
    """
    table = read_data("nvdla_layers.csv")
    tables = [_layers(table), _configurations(table, read_data("nvdla_configurations.csv"))]
    return checked(pd.concat(tables).assign(reference="NVDLA", kind="vendor-model"))


def accelerator(macs: int, cbuf_kib: float, dram_gbps: float, mac_cells: int) -> Accelerator:
    """A configuration at 1 GHz: the array of the vendor's MAC cycles, its CBUF split in halves, its accumulators.

    Parameters
    ----------
    macs : multipliers, `KERNELS` dot products side by side [MACs/cycle].
    mac_cells : kernels of the hardware, which size the accumulators [1].
    """
    kernels = min(KERNELS, macs)
    channels = macs // kernels
    return Accelerator(
        rows=1,
        cols=kernels,
        macs_per_pe=channels,
        dataflow="nvdla",
        weight_register_bytes=2 * channels,
        input_register_bytes=channels,
        buffers="W+I/O",
        weight_buffer_kib=cbuf_kib / 2,
        input_buffer_kib=cbuf_kib / 2,
        output_buffer_kib=2 * SUMS_PER_KERNEL * mac_cells * 4 / 1024,
        weight_buffer_width_bytes=64,
        input_buffer_width_bytes=64,
        output_buffer_width_bytes=4 * kernels,
        port_model="accesses",
        separate_ports="WIO",
        dram_gbps=dram_gbps,
    )


def layer_of(row: pd.Series) -> MacLayer:
    """A line of the vendor's table as a plain layer, the operand of its fused addition included."""
    pad = row.R // 2
    return MacLayer(
        row.layer.split(" ")[0],
        "Conv",
        K=int(row.K),
        C=int(row.C),
        OY=int(row.P),
        OX=int(row.Q),
        FY=int(row.R),
        FX=int(row.S),
        stride_y=int(row.stride),
        stride_x=int(row.stride),
        pad_y=int(pad),
        pad_x=int(pad),
        IY=int(row.H),
        IX=int(row.W),
        fused_input_elements=int(row.K * row.P * row.Q) if "elwise" in row.type else 0,
    )


def winograd(layer: MacLayer) -> MacLayer:
    """A 3x3 layer of stride 1 as Winograd F(2x2, 3x3) (Lavin and Gray, CVPR 2016); any other layer as it is.

    A 4x4 tile of inputs gives 2x2 outputs with 16 products for each pair of channels instead of 36.  That is the nest
    with 4x4 taps, stride 2 and a quarter of the outputs: its MACs, its weights (stored transformed, 4x4) and its
    inputs are those of Winograd.  The outputs that the nest lacks cross the DRAM link as fused elements.
    """
    if (layer.FY, layer.FX, layer.stride_y, layer.stride_x) != (3, 3, 1, 1):
        return layer
    oy, ox = math.ceil(layer.OY / 2), math.ceil(layer.OX / 2)
    lacking = layer.output_elements - layer.B * layer.G * layer.K * oy * ox
    more = layer.fused_input_elements + lacking
    return replace(layer, FY=4, FX=4, stride_y=2, stride_x=2, OY=oy, OX=ox, fused_input_elements=more)


def as_stored(layer: MacLayer) -> MacLayer:
    """A strided layer with the bytes that NVDLA's formats add on the DRAM link; any other layer as it is.

    The image's channels are rounded up to 4.  Filter sides rounded up to the stride and pixels that no output reads
    are fetched once, as fused elements: they take bandwidth, but neither MACs nor room in the CBUF.
    """
    if layer.stride_y == 1 or (layer.FY, layer.stride_y) == (4, 2):
        return layer
    layer = replace(layer, C=max(4, layer.C))
    side = _stored_side(layer.FY, layer.stride_y)
    filters = layer.K * layer.C * (side * side - layer.FY * layer.FX)
    skipped = layer.C * layer.IY * layer.IX - layer.input_elements
    return replace(layer, fused_input_elements=layer.fused_input_elements + filters + skipped)


def vendor_cycles(row: pd.Series, macs: int, cbuf_kib: float, dram_gbps: float) -> tuple[float, float]:
    """DRAM cycles and MAC cycles of a layer by the vendor's rule at 1 GHz (the module's text) [cycles]."""
    channels, side = max(4, row.C), _stored_side(row.R, row.stride)
    fast = row.R == 3 and row.stride == 1
    lanes = macs // min(KERNELS, macs)
    outputs = row.P * row.Q * row.K
    if row.type == "fc":
        return (channels + math.ceil(row.K / 16) * 16 + channels * row.K) / 1024 * 1000 / dram_gbps, row.macs / macs
    steps = channels * row.R * row.S / lanes if row.C < 4 else math.ceil(channels / lanes) * row.R * row.S
    mac_cycles = row.P * row.Q * steps * math.ceil(row.K / min(KERNELS, macs)) / (2.25 if fast else 1)
    weights = row.K * channels * (16 if fast else side * side) / 1024
    inputs = channels * row.H * row.W / 1024
    fetched = inputs + weights
    if inputs >= cbuf_kib and weights >= cbuf_kib:
        half = cbuf_kib / 2
        fetched = min(inputs * math.ceil(weights / half) + weights, weights * math.ceil(inputs / half) + inputs)
    written = outputs / 1024 / (4 if "Pooling" in row.layer else 1)
    if row.layer.startswith(
        "Res5c_branch2c"
    ):  # its average pooling is fused too, and the table's addition reads as much
        written = row.K / 1024
    return (fetched + written * (2 if "elwise" in row.type else 1)) * 1000 / dram_gbps, mac_cycles


def _stored_side(taps: int, stride: int) -> int:
    return math.ceil(taps / stride) * stride


def _stored(table: pd.DataFrame) -> list[MacLayer]:
    return [as_stored(winograd(layer_of(row))) for row in table.itertuples()]


def _plain(table: pd.DataFrame) -> list[MacLayer]:
    return [layer_of(row) for row in table.itertuples()]


def _layers(table: pd.DataFrame) -> pd.DataFrame:
    design = accelerator(**LAYERS)
    done = evaluate(design, _stored(table), slack=0.0).layers
    plain = evaluate(design, _plain(table), slack=0.0).layers
    once = [
        layer.weight_elements + layer.input_elements + layer.output_elements + layer.fused_input_elements
        for layer in _plain(table)
    ]
    # a slow DRAM link hides idle multipliers, and then the mapper leaves them idle
    busy = evaluate(replace(design, dram_gbps=UNLIMITED_GBPS), _stored(table), slack=0.0).layers
    array = busy["ideal_cycles"] + busy["spatial_loss_cycles"]
    kib = done["dram_bytes"] / 1024
    notes = [_time_note(*pair) for pair in zip(table.itertuples(), done["cycles"], kib, strict=True)]
    traffic_notes = [_traffic_note(*pair) for pair in zip(table.itertuples(), kib, strict=True)]
    quantities = (
        ("layer cycles", "cycle", table["max_cycles"], done["cycles"], plain["bound_cycles"], notes),
        ("layer MAC cycles", "cycle", table["mac_cycles"], array, plain["ideal_cycles"], ""),
        ("layer DRAM traffic", "KiB", table["dram_traffic_kb"], kib, pd.Series(once) / 1024, traffic_notes),
    )
    return pd.concat(
        pd.DataFrame(
            {
                "row": plain["layer"],
                "quantity": quantity,
                "unit": unit,
                "measured": measured.astype(float),
                "predicted": predicted,
                "roofline": roofline,
                "gated": False,
                "note": note,
            }
        )
        for quantity, unit, measured, predicted, roofline, note in quantities
    )


def _time_note(row: pd.Series, cycles: float, dram_kib: float) -> str:
    """Why a layer differs from the vendor's cycles by more than the 2.4 % of KiB taken for 1000 bytes."""
    if abs(cycles / row.max_cycles - 1) < 0.025:
        return "the vendor takes a KiB for 1000 bytes" if row.dram_cycles > row.mac_cycles else ""
    if row.C < 4:
        return "196 packed taps take 13 whole steps here, 12.25 in the vendor's table"
    reason = _traffic_note(row, dram_kib)
    return (
        f"DRAM traffic {dram_kib / row.dram_traffic_kb - 1:+.0%}: {reason}" if reason else "first tiles not overlapped"
    )


def _traffic_note(row: pd.Series, dram_kib: float) -> str:
    """Why a layer's DRAM traffic differs from the vendor's by more than 0.5 %."""
    if abs(dram_kib / row.dram_traffic_kb - 1) < 0.005:
        return ""
    if "Pooling" in row.layer or row.layer.startswith("Res5c_branch2c"):
        return "pooling is not fused here: the whole output leaves the chip"
    if row.stride > 1 and dram_kib < row.dram_traffic_kb:
        return "the vendor fetches the inputs twice because the rounded-up filters do not fit half the CBUF"
    return "tiles that fit accumulators and CBUF fetch operands or their halos again"


def _configurations(table: pd.DataFrame, chips: pd.DataFrame) -> pd.DataFrame:
    out = []
    for chip in chips.itertuples():
        design = accelerator(int(chip.macs), chip.cbuf_kib, chip.dram_gbps, int(chip.mac_cells))
        stored, plain = (evaluate(design, layers(table), slack=0.0) for layers in (_stored, _plain))
        rule = 1e9 / sum(max(vendor_cycles(r, chip.macs, chip.cbuf_kib, chip.dram_gbps)) for r in table.itertuples())
        of_table = chip.source.endswith(".xlsx")
        note = f"the vendor's model, not silicon; its rule as far as known gives {rule:.4g}"
        if of_table:
            note += "; the layer table's sum, not a configuration of the primer"
        elif chip.cbuf_kib < 256:
            note += "; it re-fetches strided layers' inputs or weights whole, which the best mapping does not"
        common = {
            "row": f"{chip.macs} MACs, {chip.cbuf_kib} KiB, {chip.dram_gbps:g} GB/s",
            "unit": "frame/s",
            "measured": float(chip.frames_per_s),
            "roofline": _rate(plain, roofline=True),
        }
        gates = {"quantity": "frame rate", "predicted": _rate(stored), "gated": not of_table, "note": note}
        other = "the same without Winograd and NVDLA's storage"
        bare = {"quantity": "frame rate, plain layers", "predicted": _rate(plain), "gated": False, "note": other}
        out += [common | gates, common | bare]
    return pd.DataFrame(out)


def _rate(done: Evaluation, roofline: bool = False) -> float:
    """Frames a second [1/s]; of the roofline: those of the layers one after the other."""
    if not roofline:
        return 1 / done.latency_s
    cycles = (done.layers["bound_cycles"] * done.layers["repeats"]).sum()
    return 1 / (cycles / (done.design.clock_ghz * 1e9))
