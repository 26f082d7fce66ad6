"""A cheap analytic evaluator that behaves like the real one, and problems on it, for tests of the search.

The numbers are a crude roofline: time is the larger of computing and DRAM traffic, area grows with PEs and buffers.
"""

from __future__ import annotations

import time

import numpy as np

from dse.hardware.accelerator import Accelerator
from dse.hardware.space import DesignSpace
from problems.base import AcceleratorProblem

MACS, NEEDED_KIB = 4.09e9, 24.0


class StandInEvaluator:
    """Metric columns from parameter columns; counts its calls and the designs it saw."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s, self.calls, self.designs = delay_s, 0, 0

    def __call__(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.calls += 1
        self.designs += len(columns["rows"])
        time.sleep(self.delay_s)
        rows, cols, macs_per_pe = (np.asarray(columns[k], float) for k in ("rows", "cols", "macs_per_pe"))
        buffer_kib = sum(np.asarray(columns[f"{x}_buffer_kib"], float) for x in ("weight", "input", "output"))
        fits = np.array([0.8 if str(d) == "row_stationary" else 0.6 for d in columns["dataflow"]])
        ideal = MACS / (rows * cols * macs_per_pe)
        loss = ideal * (np.abs(np.log2(rows / cols)) * 0.1 + (1 - fits) * macs_per_pe**0.3)
        traffic = 6e7 * (1 + 500 / buffer_kib)
        stall = np.maximum(traffic / np.asarray(columns["dram_gbps"], float) - (ideal + loss), 0)
        cycles = ideal + loss + stall
        latency_s = cycles * 1e-9 / np.asarray(columns["clock_ghz"], float)
        area_mm2 = 1 + 0.002 * rows * cols * macs_per_pe**0.9 + 0.01 * buffer_kib + 0.1 * columns["dram_gbps"]
        energy_j = MACS * 1e-12 + traffic * 1e-10 + latency_s * area_mm2 * 0.01
        return {
            "latency_s": latency_s,
            "cycles": cycles,
            "energy_j": energy_j,
            "area_mm2": area_mm2,
            "power_w": energy_j / latency_s,
            "dram_bytes": traffic,
            "overflow": np.maximum(NEEDED_KIB / buffer_kib - 1, 0),
            "latency_bound_s": ideal * 1e-9,
            "energy_bound_j": np.full(len(rows), MACS * 1e-12),
        }


def space(small: bool = False) -> DesignSpace:
    """663,552 or 1,296 designs."""
    kib = [4, 16, 64, 256, 1024, 4096]
    if small:
        return DesignSpace(
            {"rows": [4, 8, 16], "cols": [4, 8, 16], "dataflow": ["weight_stationary", "row_stationary"],
             "weight_buffer_kib": kib, "input_buffer_kib": kib, "dram_gbps": [1, 4]},
            Accelerator(output_buffer_kib=4), "small stand-in",
        )  # fmt: skip
    return DesignSpace(
        {"rows": [4, 8, 16, 32, 64, 128], "cols": [4, 8, 16, 32, 64, 128], "macs_per_pe": [1, 2, 4, 8],
         "dataflow": ["weight_stationary", "output_stationary", "row_stationary", "flexible"],
         "weight_buffer_kib": kib, "input_buffer_kib": kib, "output_buffer_kib": kib, "dram_gbps": [1, 4.5, 16, 64],
         "clock_ghz": [0.5, 1.0]},
        name="stand-in",
    )  # fmt: skip


class StandIn(AcceleratorProblem):
    """Latency [s] and area [mm2] of the stand-in."""

    objective_names = ("latency_s", "area_mm2")

    def __init__(self, small: bool = False, delay_s: float = 0.0) -> None:
        super().__init__(StandInEvaluator(delay_s), space(small))


class UnderPower(StandIn):
    """EDP [J s], area [mm2] and energy [J], mean power under a cap [W]."""

    objective_names = ("edp_js", "area_mm2", "energy_j")
    constraint_names = ("power",)
    power_limit_w = 1.0

    def objectives(self, m):
        """EDP, area, energy."""
        return m.energy_j * m.latency_s, m.area_mm2, m.energy_j

    def constraints(self, m):
        """Power / limit - 1."""
        return (m.energy_j / m.latency_s / self.power_limit_w - 1.0,)
