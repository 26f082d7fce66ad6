"""Figures that data sheets quote: samples per second, TOPS, TOPS/W and their like, of a design on a network."""

from __future__ import annotations

from dse.costs.evaluation import Evaluation

OPERATIONS_OF_A_MAC = 2
"""A multiplication and an addition: what vendors count [operations]."""

RATES = ("inferences_per_s", "energy_per_inference_j", "tops", "tops_per_w", "tops_per_mm2", "w_per_mm2")
"""What `rates` tells."""


def rates(evaluation: Evaluation, batch: int = 1) -> dict[str, float]:
    """Figures that data sheets quote, of a design on a network of `batch` samples.

    Returns
    -------
    dict of `RATES`: ``inferences_per_s`` [samples/s], ``energy_per_inference_j`` of one sample [J], ``tops`` operations
    done / time [1e12/s], ``tops_per_w`` [1e12/J], ``tops_per_mm2`` [1e12/(s mm2)] and ``w_per_mm2`` [W/mm2] of the
    whole area.
    """
    tops = 1e-12 * OPERATIONS_OF_A_MAC * evaluation.network.macs / evaluation.latency_s
    return {
        "inferences_per_s": batch / evaluation.latency_s,
        "energy_per_inference_j": evaluation.energy_j / batch,
        "tops": tops,
        "tops_per_w": tops / evaluation.power_w,
        "tops_per_mm2": tops / evaluation.area_mm2,
        "w_per_mm2": evaluation.power_w / evaluation.area_mm2,
    }
