"""Several designs beside each other: what each does on each of several networks, in the figures that people quote."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from numbers import Real

import numpy as np
import pandas as pd

from dse.analysis.explanation import network_advice
from dse.costs.evaluation import evaluate
from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.costs.results import RATES
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology
from dse.networks.layers import Network
from dse.networks.toml_file import check_known

NUMBERS = (
    "latency_s", "power_w", "area_mm2", "core_area_mm2", *RATES, "utilisation", "latency_bound_s",
)  # fmt: skip
"""Columns of `compare` that hold numbers, on which limits can be set."""


def compare(
    networks: Iterable[Network],
    designs: Mapping[str, Accelerator],
    *,
    technologies: Mapping[str, Technology] | Technology | None = None,
    batch: int = 1,
    deadline_s: float | None = None,
    limits: Mapping[str, float] | None = None,
    objective: str = "latency",
    slack: float = DEFAULT_SLACK,
    advice: bool = True,
) -> pd.DataFrame:
    """Designs on networks: one row a network and design, in the order given.

    Parameters
    ----------
    networks : each with `batch` samples.
    designs : by the label that the table gives them.
    technologies : of all designs, or by their label; the default is 45 nm.
    batch : samples of each network, for inferences per second and the energy of one.
    deadline_s : latency that each should keep [s]; adds the column ``meets_deadline``.
    limits : caps on columns of the table with numbers, such as ``{"power_w": 2}``; adds the column ``within_limits``.
    objective, slack : what the mapper minimises, as in `dse.evaluate`.
    advice : add the change that saves most of the whole network's time (`dse.explain`).

    Returns
    -------
    DataFrame with ``network, design, fits``, `NUMBERS`, ``bound`` (what takes most of the time), and what was asked for
    more: ``meets_deadline``, ``within_limits``, ``first_advice``.  Where a network does not fit a design, ``fits`` is
    False, all numbers but the areas are NaN, it keeps neither, and ``bound`` says which store overflows.

    Raises ValueError without networks or designs, for a label without technology, for a batch or deadline that is not
    positive, and for a limit on what is no column or no finite number.
    """
    graphs, limits = list(networks), dict(limits or {})
    if not graphs or not designs:
        raise ValueError("give at least one network and one design")
    twice = [name for name, count in Counter(graph.name for graph in graphs).items() if count > 1]
    if twice:
        raise ValueError(f"two networks are called {twice[0]!r}: the table tells them by name; rename a file")
    for name, value in (("batch", batch), ("deadline_s", deadline_s)):
        if value is not None and not (isinstance(value, Real) and 0 < value < math.inf):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
    for name, value in limits.items():
        check_known(name, NUMBERS, "limit on")
        if not (isinstance(value, Real) and math.isfinite(value)):
            raise ValueError(f"limit on {name}: expected a finite number, got {value!r}")
    if isinstance(technologies, Mapping) and (lacking := [label for label in designs if label not in technologies]):
        raise ValueError(f"technologies lacks design {lacking[0]!r}; give that of each design, or one of all")
    rows = []
    for graph in graphs:
        for label, design in designs.items():
            technology = technologies[label] if isinstance(technologies, Mapping) else technologies
            found = evaluate(design, graph, technology=technology, objective=objective, slack=slack)
            row: dict[str, object] = {"network": graph.name, "design": label, "fits": found.feasible}
            rows.append(row)
            if not found.feasible:
                layer, why = next(iter(found.misfits.items()))
                row |= {"area_mm2": found.area_mm2, "core_area_mm2": found.core_area_mm2}
                row |= {"bound": f"does not fit: layer {layer}: {why}", "first_advice": ""}
                continue
            row |= {
                "latency_s": found.latency_s,
                "power_w": found.power_w,
                "area_mm2": found.area_mm2,
                "core_area_mm2": found.core_area_mm2,
                **found.rates(batch),
                "utilisation": found.utilisation,
                "latency_bound_s": found.latency_bound_s,
                "bound": found.bound,
            }
            if advice:
                first = network_advice(found, objective=objective, slack=slack)[:1]
                row["first_advice"] = "".join(advice.sentence for advice in first)
    more = [name for name, wanted in (("meets_deadline", deadline_s is not None), ("within_limits", limits)) if wanted]
    table = pd.DataFrame(rows).reindex(
        columns=["network", "design", "fits", *NUMBERS, "bound", *more, *["first_advice"] * advice]
    )
    if deadline_s is not None:
        table["meets_deadline"] = table["latency_s"] <= deadline_s
    if limits:
        table["within_limits"] = np.logical_and.reduce([table[name] <= cap for name, cap in limits.items()])
    return table
