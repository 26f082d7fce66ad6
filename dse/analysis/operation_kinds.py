"""What each kind of operation wants of the hardware, and what it loses when it does not get it.

One design is varied in one aspect at a time (dataflow, shape of the array at equal PEs, split of the buffers at equal
capacity, bandwidth); the time of all layers of a kind is compared with the best choice in that aspect.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from dse.costs import kernels as k
from dse.costs.batches import layer_cycles
from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.hardware.accelerator import PARAMETERS, Accelerator
from dse.hardware.technology import Technology
from dse.networks.layers import Layer, MacLayer, Network

ASPECTS = ("dataflow", "array", "buffers", "bandwidth")

SPLITS = {"W 1/2": (2, 1, 1), "I 1/2": (1, 2, 1), "O 1/2": (1, 1, 2), "equal": (4 / 3, 4 / 3, 4 / 3)}
"""Shares of weights, inputs and outputs in the capacity of all buffers [quarters]."""


def kind_of(layer: Layer) -> str:
    """The kind of an operation: its shape as an architect would name it."""
    if not isinstance(layer, MacLayer):
        return "vector"
    if not layer.static_weights:
        return "product of activations"
    if layer.G > 1:
        return "depthwise" if layer.C == 1 else "grouped"
    taps = layer.FY * layer.FX
    if taps == 1:
        return "fully connected" if layer.OY * layer.OX * layer.B <= 16 else "1x1 or matrix product"
    if layer.C <= 4:
        return f"stem {layer.FY}x{layer.FX}"
    return f"{layer.FY}x{layer.FX}"


def choices(design: Accelerator) -> list[tuple[str, str, Accelerator]]:
    """Designs that differ in one aspect: `(aspect, choice, design)`; the design itself is among each aspect's.

    Left out are designs that cannot be: a buffer smaller than a word of its port, an axis shorter than a sub-axis.
    """
    found = [("dataflow", str(design.dataflow), design)]

    def try_out(aspect: str, choice: str, changes: dict[str, object]) -> None:
        with contextlib.suppress(ValueError):
            found.append((aspect, choice, design.with_parameters(changes)))

    for name in PARAMETERS["dataflow"].levels:
        if name != str(design.dataflow):
            try_out("dataflow", name, {"dataflow": name})
    pes, shapes = design.rows * design.cols, {(design.rows, design.cols)}
    shapes |= {(2**i, pes // 2**i) for i in range(12) if pes % 2**i == 0 and 2**i <= pes}
    near = sorted(shapes, key=lambda s: abs(np.log2(s[0] * design.cols / (s[1] * design.rows))))[:7]
    for r, c in sorted(near):
        try_out("array", f"{r} x {c}", {"rows": r, "cols": c})
    total = design.weight_buffer_kib + design.input_buffer_kib + design.output_buffer_kib
    found.append(("buffers", "as it is", design))
    for name, shares in SPLITS.items():
        sizes = dict(zip(("weight", "input", "output"), shares, strict=True))
        try_out("buffers", name, {f"{x}_buffer_kib": total * share / 4 for x, share in sizes.items()})
    links = [design.dram_gbps * f for f in (0.25, 0.5, 1, 2, 4, 8)]
    return found + [("bandwidth", f"{gbps:g} GB/s", design.with_bandwidth(gbps)) for gbps in links]


def relate(
    design: Accelerator,
    networks: Iterable[Network],
    *,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float = DEFAULT_SLACK,
) -> pd.DataFrame:
    """One row for every network, kind that takes time, aspect and choice.

    Columns ``network, kind, share`` (of the network's time on `design`), ``aspect, choice, cycles`` (of the kind; NaN
    where the network does not fit), ``loss`` (time / least of the aspect - 1), ``is_best, is_now``.  Of bandwidths
    the best is the least within 5 % of the fastest.
    """
    tried, networks = choices(design), list(networks)
    names = [network.name for network in networks]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"two networks are called {twice[0]!r}; rename one: its file, or network.renamed('another')")
    rows = []
    for network in networks:
        cycles, totals = layer_cycles(
            [chosen for _, _, chosen in tried], network, technology=technology, objective=objective, slack=slack
        )
        cycles[totals[:, k.OVERFLOW] > 0] = np.nan
        kinds = [kind_of(layer) for layer in network.layers]
        for kind in dict.fromkeys(kinds):
            of_kind = cycles[:, [i for i, other in enumerate(kinds) if other == kind]].sum(axis=1)
            if np.isnan(of_kind[0]):
                raise ValueError(f"the design cannot run {network.name}; relate one that can")
            if of_kind[0] == 0:  # such as a concatenation: nothing to want
                continue
            for aspect in ASPECTS:
                which = [i for i, (other, _, _) in enumerate(tried) if other == aspect]
                least = np.nanmin(of_kind[which])
                good = [i for i in which if of_kind[i] <= 1.05 * least]
                best = good[0] if aspect == "bandwidth" else which[int(np.nanargmin(of_kind[which]))]
                rows += [
                    {
                        "network": network.name,
                        "kind": kind,
                        "share": of_kind[0] / np.nansum(cycles[0]),
                        "aspect": aspect,
                        "choice": tried[i][1],
                        "cycles": of_kind[i],
                        "loss": of_kind[i] / least - 1,
                        "is_best": i == best,
                        "is_now": tried[i][2] == design,
                    }
                    for i in which
                ]
    return pd.DataFrame(rows)
