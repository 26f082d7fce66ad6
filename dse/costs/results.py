"""What the kernel's result columns are called: cycles and energy by cause, traffic by link, metrics of a design."""

from __future__ import annotations

import numpy as np

from dse.costs import kernels as k
from dse.hardware.area import AREA_BLOCKS, Columns, area_blocks_mm2, core_area_mm2, sum_blocks
from dse.hardware.technology import Technology

OPERATIONS_OF_A_MAC = 2
"""A multiplication and an addition: what vendors count [operations]."""

RATES = ("inferences_per_s", "energy_per_inference_j", "tops", "tops_per_w", "tops_per_mm2", "w_per_mm2")
"""Figures that data sheets quote: what `Evaluation.rates` tells."""

WATERFALL = {
    "ideal": k.IDEAL,
    "spatial_loss": k.SPATIAL_LOSS,
    "vector_stall": k.VECTOR_STALL,
    "buffer_stall": k.BUFFER_STALL,
    "dram_stall": k.DRAM_STALL,
    "fill_drain": k.FILL_DRAIN,
}
"""Parts of the cycles, in order; they sum to the total."""

ENERGY_PARTS = {
    "mac": k.PJ_TOTAL_MAC,
    "register": k.PJ_TOTAL_REGISTER,
    "interconnect": k.PJ_TOTAL_INTERCONNECT,
    "buffer": k.PJ_TOTAL_BUFFER,
    "dram": k.PJ_TOTAL_DRAM,
    "vector": k.PJ_TOTAL_VECTOR,
    "clock": k.PJ_TOTAL_CLOCK,
    "io": k.PJ_TOTAL_IO,
    "leakage": k.PJ_TOTAL_LEAKAGE,
}
"""Parts of the energy by level; they sum to the total."""

LAYER_BYTES = {
    "dram_weight_bytes": k.DRAM_W,
    "dram_input_bytes": k.DRAM_I,
    "dram_output_read_bytes": k.DRAM_O_READ,
    "dram_output_write_bytes": k.DRAM_O_WRITE,
    "dram_fused_bytes": k.DRAM_FUSED,
    "buffer_weight_read_bytes": k.BUFFER_W_READ,
    "buffer_weight_write_bytes": k.BUFFER_W_WRITE,
    "buffer_input_read_bytes": k.BUFFER_I_READ,
    "buffer_input_write_bytes": k.BUFFER_I_WRITE,
    "buffer_output_read_bytes": k.BUFFER_O_READ,
    "buffer_output_write_bytes": k.BUFFER_O_WRITE,
    "array_weight_bytes": k.ARRAY_W,
    "array_input_bytes": k.ARRAY_I,
    "array_output_read_bytes": k.ARRAY_O_READ,
    "array_output_write_bytes": k.ARRAY_O_WRITE,
    "register_weight_bytes": k.REGISTER_W,
    "register_input_bytes": k.REGISTER_I,
    "register_output_bytes": k.REGISTER_O,
}
"""Bytes moved per operand and level, one repeat of a layer."""

DRAM_TRAFFIC = (k.DRAM_W, k.DRAM_I, k.DRAM_O_READ, k.DRAM_O_WRITE, k.DRAM_FUSED)
"""Columns of the kernel's results that are off-chip traffic [byte]."""


OF_ENERGY = ("energy_j", "power_w", "dram_bytes", *(f"energy_{part}_j" for part in ENERGY_PARTS))
"""Metrics that tell nothing of a design where the mapper looks for the least latency alone: of the first such mapping
found."""


def _worked(totals: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """MACs by the share of a multiplier's cycle that they take, (n,): less than one for narrow and 2:4 weights."""
    macs, worked = totals[:, k.MACS], totals[:, k.IDEAL] * peak
    return np.where(np.isclose(worked, macs, rtol=1e-9), macs, worked)  # the same but for rounding: MACs


def metric_columns(columns: Columns, totals: np.ndarray, technology: Technology) -> dict[str, np.ndarray]:
    """Named metrics of a batch from kernel totals, each (n,); `dse.runs.column_dictionary.METRICS` says what each
    means."""
    clock_hz = np.asarray(columns["clock_ghz"], dtype=float) * 1e9
    blocks = area_blocks_mm2(columns, technology)
    latency_s = totals[:, k.CYCLES] / clock_hz
    energy_j = totals[:, k.ENERGY_PJ] * 1e-12
    peak = columns["rows"] * columns["cols"] * columns["macs_per_pe"]
    metrics = {
        "latency_s": latency_s,
        "cycles": totals[:, k.CYCLES],
        "energy_j": energy_j,
        "area_mm2": sum_blocks(blocks),
        "core_area_mm2": core_area_mm2(blocks),
        "power_w": energy_j / latency_s,
        "macs": totals[:, k.MACS],
        "utilisation": _worked(totals, peak) / (totals[:, k.CYCLES] * peak),
        "dram_bytes": totals[:, DRAM_TRAFFIC].sum(axis=1),
        "overflow": totals[:, k.OVERFLOW],
        "latency_bound_s": totals[:, k.BOUND_CYCLES] / clock_hz,
        "energy_bound_j": totals[:, k.BOUND_PJ] * 1e-12,
        **{f"{part}_cycles": totals[:, column] for part, column in WATERFALL.items()},
        **{f"energy_{part}_j": totals[:, column] * 1e-12 for part, column in ENERGY_PARTS.items()},
        **{f"area_{name}_mm2": blocks[name] for name in AREA_BLOCKS},
    }
    return {name: np.ascontiguousarray(value, dtype=float) for name, value in metrics.items()}
