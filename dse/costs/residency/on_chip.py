"""Which activations stay on chip in one evaluation: from where to where, how full the store is, what each saves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dse.costs import kernels as k
from dse.costs.kernel_rows import NetworkTables
from dse.costs.residency.keeper import Keeper, Kept
from dse.costs.results import DRAM_TRAFFIC
from dse.networks.layers import Network


@dataclass(frozen=True)
class Activation:
    """An activation that a layer writes and a later one reads.

    Parameters
    ----------
    name : of the tensor.
    writer, last_reader : names of layers.
    first_step, last_step : their places in the order in which layers run, from 0.
    size_bytes : [bytes].
    """

    name: str
    writer: str
    last_reader: str
    first_step: int
    last_step: int
    size_bytes: float


@dataclass(frozen=True)
class Saving:
    """What one activation saves by staying, all others as they are: DRAM traffic [bytes], time [cycles], energy [J]."""

    dram_bytes: float
    cycles: float
    energy_j: float


@dataclass(frozen=True, eq=False)
class OnChip:
    """What stays on chip between the layers of a network on one design.

    Attributes
    ----------
    store_bytes : what may stay at most; 0 = nothing [bytes].
    steps : names of the layers in the order in which they run.
    fill_bytes : what stays during each step, (n_steps,) [bytes].
    kept, left : activations that stay, and those that could but leave, in the order in which they are written.
    too_large : those that are larger than the store.
    keep : what was asked for, one of `dse.costs.residency.keeper.KEEP`.
    proven : no other set of whole activations costs less under the mappings that the mapper finds.
    """

    store_bytes: float
    steps: tuple[str, ...]
    fill_bytes: np.ndarray
    kept: tuple[Activation, ...]
    left: tuple[Activation, ...]
    too_large: tuple[Activation, ...]
    keep: str
    proven: bool
    _evaluated: tuple[Keeper, np.ndarray, Kept, dict[str, int]] = field(repr=False)

    def savings(self) -> dict[str, Saving]:
        """What each of `kept` saves, by its name: the network without it, less the network with it."""
        keeper, row, found, numbers = self._evaluated
        saved = {}
        for tensor in self.kept:
            others = found.plan.kept.copy()
            others[numbers[tensor.name]] = False
            more = keeper.given(row, found, others).totals[0] - found.totals[0]
            moved = float(more[list(DRAM_TRAFFIC)].sum())
            saved[tensor.name] = Saving(moved, float(more[k.CYCLES]), float(more[k.ENERGY_PJ]) * 1e-12)
        return saved

    def next_store(self) -> tuple[Activation, float] | None:
        """The activation that is next to stay beside all of `kept`, and the least store that it takes [bytes].

        Of those that the store has no room for; what fits and leaves all the same would save nothing by staying.
        """
        needs = [
            (float(self.fill_bytes[t.first_step : t.last_step + 1].max()) + t.size_bytes, t.first_step, t)
            for t in (*self.left, *self.too_large)
        ]
        needs = [item for item in needs if item[0] > self.store_bytes]
        if not needs:
            return None
        need, _, tensor = min(needs, key=lambda item: item[:2])
        return tensor, need


def on_chip(network: Network, tables: NetworkTables, row: np.ndarray, keeper: Keeper, found: Kept, keep: str) -> OnChip:
    """What stays on chip of `network` on a design, `row` (n_forms * N_DESIGN,), whose costs are `found` with `keep`."""
    layers = [network.layers[i] for i in tables.order]
    word, store = float(row[k.ACTIVATION_BYTES]), float(row[k.STORE_BYTES])
    numbers: dict[str, int] = {}
    kept: list[Activation] = []
    left: list[Activation] = []
    too_large: list[Activation] = []
    for step, layer in zip(tables.steps, layers, strict=True):
        number = int(step[k.STEP_OUTPUT])
        first, last = (int(at) for at in tables.tensors[number, 1:]) if number >= 0 else (0, 0)
        if last <= first:
            continue
        size = float(tables.tensors[number, k.TENSOR_ELEMENTS]) * word
        tensor = Activation(layer.output, layer.name, layers[last].name, first, last, size)
        numbers[layer.output] = number
        (kept if found.plan.kept[number] else too_large if size > store else left).append(tensor)
    return OnChip(
        store,
        tuple(layer.name for layer in layers),
        found.plan.fill,
        tuple(kept),
        tuple(left),
        tuple(too_large),
        keep,
        found.exact[0],
        (keeper, row, found, numbers),
    )
