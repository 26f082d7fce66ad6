"""Do the conclusions hold if the technology constants are wrong?  Other constants, and what is left of a front."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace

import numpy as np

from dse.hardware.technology import Technology
from dse.search.pareto import non_dominated

NOT_PERTURBED = (
    "node_nm", "vdd_v", "nominal_vdd_v", "clock_gating_share", "io_idle_w",
    "sram_widest_word_bytes", "sram_slice_bytes", "sram_macro_bytes",
)  # fmt: skip
"""Labels, choices of a chip, and limits of fits and of memories."""


def perturbed_constants() -> tuple[str, ...]:
    """Names of the constants of `Technology` that `perturbed` changes: all numbers but `NOT_PERTURBED`."""
    return tuple(f.name for f in fields(Technology) if "scales" in f.metadata and f.name not in NOT_PERTURBED)


def perturbed(technology: Technology, rng: np.random.Generator, share: float = 0.3) -> Technology:
    """`technology` with every constant times an independent uniform factor in ``[1 - share, 1 + share]``.

    Exponents and shares too.  A draw that `Technology` refuses, such as an adder of 32 bits more than four times one of
    8 bits, is drawn again.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, got {share!r}")
    names = perturbed_constants()
    return _accepted(technology, lambda: dict(zip(names, rng.uniform(1 - share, 1 + share, len(names)), strict=True)))


def drawn(
    technology: Technology, rng: np.random.Generator, ranges: Mapping[str, tuple[float, float]] | None = None
) -> Technology:
    """`technology` with every constant of which a range is published drawn from it, independently.

    Log-uniform, or uniform where the range starts at 0.  `ranges`: those of `Technology.ranges` where none are given.
    """
    ranges = technology.ranges() if ranges is None else ranges

    def factors() -> dict[str, float]:
        found = {}
        for name, (low, high) in ranges.items():
            found[name] = math.exp(rng.uniform(math.log(low), math.log(high))) if low else rng.uniform(low, high)
        return found

    return _accepted(technology, factors)


def _accepted(technology: Technology, factors: Callable[[], dict[str, float]]) -> Technology:
    """The constants times the first factors that `Technology` takes."""
    while True:
        values = {name: getattr(technology, name) * factor for name, factor in factors().items()}
        try:
            return replace(technology, **values)
        except ValueError:
            continue


def survival(
    nominal: np.ndarray, points: np.ndarray, chosen: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What is left of a front when the designs turn out to have other values.

    Parameters
    ----------
    nominal, points : objectives of the same n designs before and after, each (n, m), minimised and positive.
    chosen : the k designs of the front before, (k,) indices; default those that no design dominates before.

    Returns
    -------
    survives : (k,) bool for the k designs of the front before: no design dominates it after.
    regret : (k,) [0 or more]: 0.05 where some design is better by at least 5 % in every objective after.
    """
    if np.shape(nominal) != np.shape(points):
        raise ValueError(f"nominal and points must be the same designs, got shapes {nominal.shape} and {points.shape}")
    chosen, best = non_dominated(nominal) if chosen is None else chosen, non_dominated(points)
    ratios = points[chosen][:, None, :] / points[best][None, :, :]
    least, most = ratios.min(axis=2), ratios.max(axis=2)
    return ~((least >= 1) & (most > 1)).any(axis=1), np.maximum(least.max(axis=1) - 1, 0.0)
