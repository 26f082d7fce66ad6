"""Batches of designs on several networks at once: a layer shape that networks share is mapped once for each design.

Each network's numbers are, to the bit, those of its own `BatchEvaluator`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dse.costs import kernels as k
from dse.costs.batches import TotalsEvaluator
from dse.costs.kernel_rows import DEFAULT_SLACK, NetworkTables, network_tables
from dse.hardware.area import Columns
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import AS_THE_DESIGN
from dse.networks.layers import Network


def distinct_networks(networks: Iterable[object]) -> tuple[Network, ...]:
    """The networks as a tuple; a ValueError where there is none, one is no `Network`, or two have one name."""
    if isinstance(networks, str | Network | set | frozenset | Mapping) or not isinstance(networks, Iterable):
        raise ValueError(f"expected a list of networks, got {networks!r}")
    found: list[Network] = []
    for network in networks:
        if not isinstance(network, Network):
            raise ValueError(f"expected a Network, got {network!r}; load it with load_network")
        found.append(network)
    if not found:
        raise ValueError("the list of networks is empty; give at least one")
    names = [network.name for network in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"two networks are called {twice[0]!r}; rename one: its file, or network.renamed('another')")
    return tuple(found)


def joined_tables(networks: Sequence[Network]) -> NetworkTables:
    """Kernel arrays of several networks; the steps and tensors of one follow those of the other."""
    parts = [network_tables(network) for network in networks]
    forms = {AS_THE_DESIGN: 0}
    for part in parts:
        for form in part.forms:
            forms.setdefault(form, len(forms))
    elements = np.zeros((len(parts), len(forms)))
    rows: dict[bytes, int] = {}
    layers: list[np.ndarray] = []
    steps, inputs, tensors = [], [], []
    vectors_before = inputs_before = tensors_before = steps_before = 0
    for number, part in enumerate(parts):
        places = np.array([forms[form] for form in part.forms])
        elements[number, places] = part.elements_of_forms[0]
        mine = part.layers.copy()
        mine[:, k.FORM] = places[mine[:, k.FORM].astype(int)]
        for row in mine:
            if row.tobytes() not in rows:
                rows[row.tobytes()] = len(layers)
                layers.append(row)
        index = np.array([rows[row.tobytes()] for row in mine])
        own = part.steps.copy()
        is_vector = own[:, k.STEP_IS_VECTOR] > 0
        own[is_vector, k.STEP_INDEX] += vectors_before
        own[~is_vector, k.STEP_INDEX] = index[own[~is_vector, k.STEP_INDEX].astype(int)]
        own[:, k.STEP_NETWORK] = number
        own[:, k.STEP_INPUT_FIRST] += inputs_before
        for column in (k.STEP_OUTPUT, k.STEP_FUSED, k.STEP_SECOND):
            own[own[:, column] >= 0, column] += tensors_before
        held = part.tensors.copy()
        for column in (k.TENSOR_FIRST, k.TENSOR_LAST):
            held[held[:, column] >= 0, column] += steps_before
        steps.append(own)
        inputs.append(np.where(part.inputs >= 0, part.inputs + tensors_before, part.inputs))
        tensors.append(held)
        vectors_before += len(part.vectors)
        inputs_before += len(part.inputs)
        tensors_before += len(part.tensors)
        steps_before += len(part.steps)
    return NetworkTables(
        np.array(layers),
        np.concatenate([part.vectors for part in parts]),
        np.concatenate(steps),
        np.concatenate(inputs),
        np.concatenate(tensors),
        np.concatenate([part.weight_elements for part in parts]),
        k.lists_of(np.array(layers).reshape(-1, k.N_LAYER)),
        np.concatenate([part.order for part in parts]),
        tuple(forms),
        elements,
    )


class SeveralEvaluator(TotalsEvaluator):
    """Evaluates batches of designs on several networks.

    Parameters
    ----------
    networks : `Network`s with different names.
    technology, objective, slack, n_jobs, effort : as in `BatchEvaluator`.

    Calling it with parameter columns of n designs returns, by network name, what `BatchEvaluator` of that network
    returns: named metrics, each (n,), bit for bit.
    """

    def __init__(
        self,
        networks: Iterable[Network],
        technology: Technology | None = None,
        *,
        objective: str = "latency",
        slack: float | None = DEFAULT_SLACK,
        n_jobs: int = 1,
        effort: str = "default",
    ) -> None:
        self.networks = distinct_networks(networks)
        super().__init__(joined_tables(self.networks), technology, objective, slack, n_jobs, effort)

    def __call__(self, columns: Columns) -> dict[str, dict[str, np.ndarray]]:
        """Metrics of the designs in `columns` by network name."""
        totals = self.totals(columns)
        return {network.name: self.metrics(columns, totals[:, i]) for i, network in enumerate(self.networks)}
