"""Lower bounds of latency and energy of many designs, without a search over mappings, and their exact area.

Some microseconds a design, after some milliseconds for each layer.  The bounds hold for every mapping of every effort
and objective, and for every set of activations that stays on chip: a design that is dominated by its bounds is
dominated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np

from dse.costs import kernels as k
from dse.costs.kernel_rows import NetworkTables, columns_of, design_rows, network_tables
from dse.hardware.accelerator import Accelerator
from dse.hardware.area import Columns, area_mm2
from dse.hardware.technology import Technology, technology_or_default
from dse.networks.layers import Layer, Network, as_network


def bound_many(
    designs: Columns | Accelerator | Iterable[Accelerator],
    network_or_layers: Network | Layer | Iterable[Layer],
    *,
    technology: Technology | None = None,
) -> dict[str, np.ndarray]:
    """What no mapping of any effort makes better, for many designs at once.

    Parameters
    ----------
    designs : parameter columns, each (n,), as `DesignSpace.columns` gives them; or designs.
    network_or_layers : what they run.
    technology : constants; 45 nm when omitted.

    Returns
    -------
    ``latency_bound_s`` [s] and ``energy_bound_j`` [J], which hold for all mappings, objectives and efforts, whatever
    stays on chip, and ``area_mm2`` [mm2], which is exact; each (n,).  A design that no mapping fits has bounds too.

    The latency of a layer is at least that of its array (exact for each spatial option), of the vector unit, of the
    busiest port and of the DRAM link.  Several calls for one network are faster with one `BoundEvaluator`.
    """
    if isinstance(designs, Accelerator):
        designs = [designs]
    columns = designs if isinstance(designs, Mapping) else columns_of(list(designs))
    technology = technology_or_default(technology)
    bounds = BoundEvaluator(network_tables(as_network(network_or_layers)), technology)(columns)
    return {name: values[:, 0] if values.ndim == 2 else values for name, values in bounds.items()}


class BoundEvaluator:
    """Bounds of batches of designs on one or several networks; what arrays do of layers is found once.

    Parameters
    ----------
    tables : the networks as kernel arrays, n_networks of them.
    technology : constants; 45 nm when omitted.
    energy : whether to bound the energy too, about a third of the time.
    weights : of the networks in geometric means; default all equal.

    Calling it with parameter columns of n designs returns ``latency_bound_s`` and, with `energy`, ``energy_bound_j``,
    each (n, n_networks), and ``area_mm2`` (n,).
    """

    def __init__(
        self,
        tables: NetworkTables,
        technology: Technology | None = None,
        *,
        energy: bool = True,
        weights: Iterable[float] | None = None,
    ) -> None:
        self.technology = technology_or_default(technology)
        self.energy = energy
        self._tables = tables
        self._networks = k.Networks(*tables.arguments)
        self._steps, self._arrivals = _equal_steps(tables)
        self._each = np.full((len(self._steps), k.N_VARIANTS, 2), np.inf)
        given = np.ones(len(tables.weight_elements)) if weights is None else np.array(list(weights), dtype=float)
        self.weights = given / given.sum()
        self._scratch = k.make_scratch()
        self._options = np.empty((0, k.N_OPTION))
        self._option_first: dict[bytes, int] = {}
        self._arrays: dict[bytes, int] = {}
        self._reach = np.empty((0, len(tables.layers), 1, k.N_REACH))
        self._words: dict[bytes, int] = {}
        self._traffic = np.empty((0, len(tables.layers), 4, k.N_ROOMS))

    def __call__(self, columns: Columns) -> dict[str, np.ndarray]:
        """Bounds of the designs in `columns`."""
        totals = self.totals(*design_rows(columns, self.technology, self.energy, self._tables.forms))
        clock_hz = np.asarray(columns["clock_ghz"], dtype=float)[:, None] * 1e9
        bounds = {"latency_bound_s": totals[:, :, 0] / clock_hz}
        if self.energy:
            bounds["energy_bound_j"] = totals[:, :, 1] * 1e-12
        return bounds | {"area_mm2": area_mm2(columns, self.technology)}

    def totals(self, rows: np.ndarray, options: np.ndarray) -> np.ndarray:
        """Bounds of cycles and energy [pJ] of kernel rows with their options, (n, n_networks, 2).

        `rows` (n, n_forms * N_DESIGN), from `design_rows` with the forms of the tables.
        """
        rows = self._with_own_options(rows, options)
        totals = np.empty((len(rows), len(self._networks.weight_elements), 2))
        which = self._known(rows)
        networks, steps, arrivals = self._networks, self._steps, self._arrivals
        k.bound_designs(
            rows, which, self._reach, self._traffic, self._options, networks, steps, arrivals, self._each, totals
        )
        return totals

    @property
    def row_width(self) -> int:
        """Columns of a design's kernel row."""
        return k.N_DESIGN * len(self._tables.forms)

    def apart(self) -> BoundEvaluator:
        """Such an evaluator for another thread."""
        weights = self.weights.tolist()
        return BoundEvaluator(self._tables, self.technology, energy=self.energy, weights=weights)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Weighted geometric means over the networks, (n,), of values (n, n_networks)."""
        with np.errstate(divide="ignore"):
            return np.exp(np.log(values) @ self.weights)

    def searched_cycles(self, columns: Columns, enough: np.ndarray, effort: k.Effort) -> np.ndarray:
        """Closer bounds of the mean of the networks' cycles, from searches over the mappings of the layers, (n, 2).

        The first holds as the others do, and is infinite where a layer fits under no mapping; no effort raises it
        beyond the second.

        Parameters
        ----------
        columns : parameter columns of n designs.
        enough : (n,) cycles; nothing more is searched where a bound reaches them, or no effort ever can.
        effort : of the mapper, for the layers where the default leaves a gap.
        """
        rows, options = design_rows(columns, self.technology, energy=False, forms=self._tables.forms)
        rows = self._with_own_options(rows, options)
        which, networks, n = self._known(rows), self._networks, len(self._networks.layers)
        quick, closer = (k.Least(*np.empty((3, n, k.N_VARIANTS))) for _ in range(2))
        totals = np.empty((len(rows), len(self.weights), 2))
        k.least_designs(
            rows, which, self._reach, self._traffic, self._options, networks, self._steps, self._arrivals, effort,
            np.asarray(enough, dtype=float), self.weights, quick, closer, k.make_scratch(), np.empty(k.N_MAP),
            np.empty_like(self._each), np.empty((len(self._steps), 2)), totals,
        )  # fmt: skip
        return np.column_stack([self.mean(totals[:, :, 0]), self.mean(totals[:, :, 1])])

    def _with_own_options(self, rows: np.ndarray, options: np.ndarray) -> np.ndarray:
        """The rows with their options among those of this evaluator, which keep their numbers."""
        first = rows[:, k.OPTION_FIRST].copy()
        rows = rows.copy()
        for number in np.unique(first):
            here = first == number
            own = options[int(number) : int(number + rows[np.argmax(here), k.OPTION_COUNT])]
            key, at = own.tobytes(), len(self._options)
            if key in self._option_first:
                at = self._option_first[key]
            else:
                self._options = np.concatenate([self._options, own])
                self._option_first[key] = at
            for form in range(0, rows.shape[1], k.N_DESIGN):
                rows[here, form + k.OPTION_FIRST] = at
        return rows

    def _known(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of the rows' arrays, and of their words, (n, 2); what new ones do of the layers is added."""
        return np.column_stack([self._known_arrays(rows), self._known_words(rows)])

    def _known_words(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of what decides the least traffic of the rows, but for their room, (n,)."""
        forms = range(0, rows.shape[1], k.N_DESIGN)
        words = rows[:, [*_TRAFFIC_COLUMNS, *(form + k.WEIGHT_BYTES for form in forms)]]
        numbers, new = _numbered(words, self._words)
        if new:
            n, layers = len(_TRAFFIC_COLUMNS), self._tables.layers
            bare = layers.copy()
            bare[:, _NO_TRAFFIC] = 0.0
            second = [n + int(layer[k.FORM]) if layer[k.STATIC_WEIGHTS] else 0 for layer in layers]
            found = [
                _traffic_of(layer.tobytes(), one[at], *one[:n])
                for one in _rows(new)
                for layer, at in zip(bare, second, strict=True)
            ]
            self._traffic = np.concatenate([self._traffic, np.reshape(found, (len(new), *self._traffic.shape[1:]))])
            self._words |= new
        return numbers

    def _known_arrays(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of the rows' arrays, (n,); what new ones do of the layers is added."""
        n_forms = rows.shape[1] // k.N_DESIGN
        arrays = np.empty((len(rows), k.N_ARRAY + n_forms))
        columns = (k.ROWS, k.COLS, k.OPTION_FIRST, k.OPTION_COUNT)
        for at, column in enumerate(columns):
            arrays[:, at] = rows[:, column]
        arrays[:, k.ARRAY_LANES_DYNAMIC] = _fed_lanes(rows, k.ACTIVATION_BYTES)
        for form in range(n_forms):
            arrays[:, k.N_ARRAY + form] = _fed_lanes(rows[:, form * k.N_DESIGN :], k.WEIGHT_BYTES)
        numbers, new = _numbered(arrays, self._arrays)
        if new:
            self._add_arrays(_rows(new), len(self._arrays))
            self._arrays |= new
        return numbers

    def _add_arrays(self, arrays: np.ndarray, before: int) -> None:
        """Find what the arrays, of numbers from `before` on, do of the layers."""
        most, (room, n_layers, width, _) = int(arrays[:, k.ARRAY_COUNT].max()), self._reach.shape
        needed = before + len(arrays)
        if needed > room or most > width:
            grown = np.zeros((max(needed, 2 * room), n_layers, max(most, width), k.N_REACH))
            grown[:before, :, :width] = self._reach[:before]
            self._reach = grown
        reach = self._reach[before:needed]
        k.array_reach(arrays, self._options, self._networks.layers, k.DEFAULT_EFFORT, self._scratch, reach)


_TRAFFIC_COLUMNS = (
    k.ACTIVATION_BYTES, k.ACCUMULATOR_BYTES, k.COMPRESSION, k.TWICE_W, k.TWICE_I, k.TWICE_O,
)  # fmt: skip
"""Columns of a design row that decide the least traffic of a layer, beside the bytes of its weights."""

_NO_TRAFFIC = [k.VECTOR_OPERATIONS, k.FUSED_INPUT, k.ZERO_SHARE, k.FORM, k.STATIC_WEIGHTS]
"""Columns of a layer that do not: layers that differ in them share what is found."""


def _numbered(rows: np.ndarray, known: dict[bytes, int]) -> tuple[np.ndarray, dict[bytes, int]]:
    """Numbers of rows (n, m), those `known` or the next ones, (n,), and the new ones with theirs, in order.

    They become known when the caller adds them, after what it keeps of them is whole: an interruption leaves no number
    of nothing.
    """
    if len(rows) == 0:
        return np.empty(0, np.int64), {}
    if (rows == rows[:1]).all():
        keys, which = [rows[:1].tobytes()], np.zeros(len(rows), np.int64)
    else:
        keys = np.ascontiguousarray(rows).view(f"V{rows.itemsize * rows.shape[1]}").ravel().tolist()
        which = np.arange(len(rows))
    new: dict[bytes, int] = {}
    numbers = [known[key] if key in known else new.setdefault(key, len(known) + len(new)) for key in keys]
    return np.array(numbers, np.int64)[which], new


def _rows(keys: Iterable[bytes]) -> np.ndarray:
    """The rows that `_numbered` told as keys, (n, m)."""
    return np.array([np.frombuffer(key) for key in keys])


@lru_cache(maxsize=2048)
def _traffic_of(layer: bytes, word_w: float, *words: float) -> np.ndarray:
    """Least traffic of a layer, given by its kernel row, (4, N_ROOMS): `kernels.least_traffic`, which takes a moment.

    `word_w`: bytes of a word of W; `words`: the design's `_TRAFFIC_COLUMNS`.
    """
    traffic, cuts, pixels = np.empty((4, k.N_ROOMS)), np.empty((2, k.MAX_CUTS, 4)), np.empty((k.MAX_CUTS**2, 4))
    k.least_traffic(np.array(np.frombuffer(layer)), word_w, *words, cuts, pixels, traffic)
    return traffic


def raise_bounds(totals: np.ndarray, bounds: BoundEvaluator, rows: np.ndarray, options: np.ndarray) -> None:
    """Raise the rooflines in kernel totals (n, n_networks, N_RESULT) of designs to the closer bounds.

    `rows` (n, n_forms * N_DESIGN or more), `options`: of the designs, from `design_rows`.
    """
    closer = bounds.totals(np.ascontiguousarray(rows[:, : bounds.row_width]), options)
    for at, column in enumerate((k.BOUND_CYCLES, k.BOUND_PJ)):
        np.maximum(totals[:, :, column], closer[:, :, at], out=totals[:, :, column])


def _fed_lanes(rows: np.ndarray, word: int) -> np.ndarray:
    """Lanes of a PE that its registers hold words for, (n,); `word`: column of the bytes of a word of W."""
    fed = np.minimum(
        np.floor(rows[:, k.REG_W] / rows[:, word]), np.floor(rows[:, k.REG_I] / rows[:, k.ACTIVATION_BYTES])
    )
    return np.maximum(1.0, np.minimum(rows[:, k.LANES], fed))


def _equal_steps(tables: NetworkTables) -> tuple[np.ndarray, np.ndarray]:
    """Steps as `bound_designs` takes them, MAC steps of equal bounds once, and the elements that vector steps read."""
    tensors = tables.tensors
    alive = (tensors[:, k.TENSOR_FIRST] >= 0) & (tensors[:, k.TENSOR_LAST] > tensors[:, k.TENSOR_FIRST])
    elements = np.append(np.where(alive, tensors[:, k.TENSOR_ELEMENTS], np.inf), np.inf)  # -1: no tensor
    arrivals: list[float] = []
    found: dict[tuple, float] = {}
    for step in tables.steps:
        row = np.zeros(k.N_EQUAL)
        first = int(step[k.STEP_INPUT_FIRST])
        read = tables.inputs[first : first + int(step[k.STEP_INPUT_COUNT])]
        for at, column in (
            (k.EQUAL_IS_VECTOR, k.STEP_IS_VECTOR), (k.EQUAL_INDEX, k.STEP_INDEX), (k.EQUAL_NETWORK, k.STEP_NETWORK)
        ):  # fmt: skip
            row[at] = step[column]
        row[k.EQUAL_OUT] = elements[int(step[k.STEP_OUTPUT])]
        if step[k.STEP_IS_VECTOR]:
            row[k.EQUAL_FIRST], row[k.EQUAL_COUNT] = len(arrivals), len(read)
            arrivals.extend(elements[read])
        else:
            main, fused, second = (int(x) for x in (read[0] if len(read) else -1, *step[[k.STEP_FUSED, k.STEP_SECOND]]))
            row[k.EQUAL_IN], row[k.EQUAL_FUSED], row[k.EQUAL_SECOND] = elements[[main, fused, second]]
            row[k.EQUAL_FUSED_IN], row[k.EQUAL_SECOND_IN] = main == fused >= 0, main == second >= 0
        key = tuple(row)
        found[key] = found.get(key, 0.0) + step[k.STEP_REPEATS]
    steps = np.array(list(found)).reshape(-1, k.N_EQUAL)
    steps[:, k.EQUAL_TIMES] = list(found.values())
    return steps, np.array(arrivals)
