"""Cases of layers that were mapped before on one design, so that networks which share layers map them once."""

from __future__ import annotations

import numpy as np

from dse.costs import kernels as k


class CaseMemory:
    """What was found of layers on one design, by their row.

    A case depends on the design, the layer, what of its operands stays on chip and the room for its tiles, and on
    nothing else of the network: taken from here it has the bits that mapping it again would give.  A memory is of one
    design and one setting of the mapper; `Keeper.cost` refuses another.
    """

    def __init__(self) -> None:
        self._setting: tuple[bytes, ...] | None = None
        self._known: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        """How many layers are known."""
        return len(self._known)

    def check(self, setting: tuple[bytes, ...]) -> None:
        """ValueError unless this is the design and the setting that the memory began with."""
        if self._setting is None:
            self._setting = setting
        if setting != self._setting:
            raise ValueError("a CaseMemory is of one design, technology and mapper; make another for this one")

    def recall(self, layers: np.ndarray, design: np.ndarray, cases: k.Cases) -> None:
        """Put what is known of the layer rows (n_layers, N_LAYER) on a design's row into `cases`, which is empty."""
        at = 0
        for i, row in enumerate(layers):
            known = self._known.get(_key(row, design))
            if known is None:
                continue
            slots, results, maps = known
            cases.slots[i] = np.where(slots >= 0, slots + at, -1)
            cases.results[at : at + len(results)] = results
            cases.maps[at : at + len(maps)] = maps
            at += len(results)
        cases.found[0] = at

    def keep(self, layers: np.ndarray, design: np.ndarray, cases: k.Cases) -> None:
        """Note what `cases` holds of the layer rows (n_layers, N_LAYER)."""
        for i, row in enumerate(layers):
            used, inverse = np.unique(cases.slots[i], return_inverse=True)
            chosen = used[used >= 0]
            slots = inverse.reshape(cases.slots[i].shape) - (len(used) - len(chosen))
            self._known[_key(row, design)] = slots, cases.results[chosen], cases.maps[chosen]


def _key(layer: np.ndarray, design: np.ndarray) -> bytes:
    """A layer and the design as it sees it; the number of its form of weights is the network's own."""
    first, shape = int(layer[k.FORM]) * k.N_DESIGN, layer.copy()
    shape[k.FORM] = 0.0
    return shape.tobytes() + design[first : first + k.N_DESIGN].tobytes()
