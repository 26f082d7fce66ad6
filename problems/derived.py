"""Columns that are computed from metrics: `dse.runs.column_dictionary.DERIVED`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dse.runs.column_dictionary import DERIVED


def named_column(name: str, m: Any) -> np.ndarray:
    """The column of this name of `Columns`, one of `DERIVED` computed; AttributeError where there is none."""
    if name not in DERIVED:
        return m[name]
    if name == "edp_js":
        return m.energy_j * m.latency_s
    if name == "ed2p_js2":
        return m.energy_j * m.latency_s * m.latency_s
    if name == "area_delay_mm2_s":
        return m.area_mm2 * m.latency_s
    if name == "latency_gap":
        return m.latency_s / m.latency_bound_s
    return m.energy_j / m.energy_bound_j


def named_columns(names: tuple[str, ...], m: Any) -> tuple[np.ndarray, ...]:
    """The columns of these names."""
    return tuple(named_column(name, m) for name in names)
