"""Latency of one layer against one of its sizes, with the steps of the hardware marked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from dse.costs.batches import layer_cycles
from dse.costs.evaluation import evaluate
from dse.costs.kernel_rows import DEFAULT_SLACK, CostOptions
from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology
from dse.networks.layers import MacLayer, Network

SIZES = ("K", "C", "kernel", "stride", "groups", "resolution")
"""What can be varied: output and input channels per group, filter size, stride, groups, output rows and columns."""


def known_layer(network: Network, name: str) -> MacLayer:
    """The MAC layer of that name; a ValueError offers the closest where there is none."""
    names = [layer.name for layer in network.mac_layers]
    for layer in network.mac_layers:
        if layer.name == name:
            return layer
    lower = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.3)
    inside = [other for other in names if name.lower().strip("/") in other.lower()]
    close = list(dict.fromkeys([*inside[:3], *(lower[text] for text in near)]))[:3] or names[:3]
    raise ValueError(f"network {network.name!r} has no MAC layer {name!r}; did you mean {', '.join(map(repr, close))}?")


def varied(layer: MacLayer, what: str, value: int) -> MacLayer:
    """The layer with one size changed, its work otherwise that of the same network.

    ``kernel`` keeps output size and "same" padding; ``stride`` divides the output over the same input; ``groups``
    keeps all channels; ``resolution`` sets output rows and columns (the input follows).
    """
    if what in ("K", "C"):
        return layer.resized(**{what: value})
    if what == "kernel":
        half = (value - 1) // 2
        return layer.resized(FY=value, FX=value, pad_y=half * layer.dilation_y, pad_x=half * layer.dilation_x)
    if what == "groups":
        k, c = layer.K * layer.G, layer.C * layer.G
        if k % value or c % value:
            raise ValueError(f"groups={value} divides neither all of {k} output nor all of {c} input channels")
        return layer.resized(G=value, K=k // value, C=c // value)
    if what == "stride":
        oy, ox = -(-layer.OY * layer.stride_y // value), -(-layer.OX * layer.stride_x // value)
        sizes = {"stride_y": value, "stride_x": value, "OY": oy, "OX": ox}
    elif what == "resolution":
        sizes = {"OY": value, "OX": value, "IY": value * layer.stride_y, "IX": value * layer.stride_x}
    else:
        raise ValueError(f"size {what!r} is unknown; choose among {', '.join(SIZES)}")
    return layer.resized(**sizes)


def default_values(layer: MacLayer, what: str, step: int) -> list[int]:
    """Sizes worth a look around the layer's own."""
    if what in ("K", "C"):
        now = getattr(layer, what)
        top = max(2 * now, 2 * step)
        return sorted({*range(1, top + 1, max(1, top // 256)), now})
    if what == "kernel":
        return list(range(1, 2 * max(layer.FY, layer.FX, 3) + 2, 2))
    if what == "groups":
        k, c = layer.K * layer.G, layer.C * layer.G
        return [g for g in range(1, min(k, c) + 1) if k % g == 0 and c % g == 0]
    if what == "stride":
        return list(range(1, 5))
    return list(range(1, 2 * max(layer.OY, layer.OX) + 1))


def staircase(
    design: Accelerator,
    network: Network,
    name: str,
    what: str = "K",
    values: Iterable[int] | None = None,
    *,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float = DEFAULT_SLACK,
) -> pd.DataFrame:
    """Cycles of one layer alone, all repeats, at each size.

    Returns columns ``size, value, cycles, macs, utilisation, bound, step`` and ``is_step``: the largest value before
    the cycles rise by more than 2 %.  ``step``: the most of that loop side by side in any of the mappings (1 where it
    is not unrolled) [elements]; for other sizes than channels 0.
    """
    if what not in SIZES:
        raise ValueError(f"size {what!r} is unknown; choose among {', '.join(SIZES)}")
    layer = known_layer(network, name)
    options: CostOptions = {"technology": technology, "objective": objective, "slack": slack}
    now = evaluate(design, layer, **options)
    if not now.feasible:
        raise ValueError(f"layer {name!r} does not fit this design; raise its registers or buffers")
    lanes = now.mappings[name].s(what) if what in ("K", "C") else 0
    chosen = sorted(set(default_values(layer, what, max(lanes, 1)) if values is None else values))
    if not chosen or min(chosen) < 1:
        raise ValueError(f"sizes of {what} must be whole numbers >= 1, got {chosen}")
    alone = replace(layer, inputs=(), fused_input="", output="")  # variants are no network: they share no tensor
    layers = [replace(varied(alone, what, value), name=f"{what}={value}") for value in chosen]
    cycles, _ = layer_cycles([design], Network.from_layers(layers), **options)
    done = evaluate(design, Network.from_layers(layers), **options)
    table = done.layers
    if lanes > 0:
        lanes = max(mapping.s(what) for mapping in done.mappings.values())
    rises = np.append(cycles[0][1:] > 1.02 * cycles[0][:-1], False)
    if what == "groups" or what == "stride":
        rises[:] = False  # fewer cycles with every value: no stairs to mark
    return pd.DataFrame(
        {
            "size": what,
            "value": chosen,
            "cycles": cycles[0],
            "macs": [layer.macs for layer in layers],
            "utilisation": table["utilisation"],
            "bound": table["bound"],
            "step": lanes,
            "is_step": rises,
            "is_now": [varied(layer, what, value) == layer for value in chosen],
        }
    )
