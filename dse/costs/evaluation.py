"""Evaluation: one design with every detail, or batches of designs in parallel.

`evaluate` answers "how does this design run this network, and why"; `BatchEvaluator` turns parameter
columns of many designs into metric columns, the same bits whatever the batch split or number of workers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from numbers import Integral

import joblib
import numpy as np
import pandas as pd
from joblib.parallel import get_active_backend

from dse.costs import kernels as k
from dse.costs.kernel_rows import (
    DEFAULT_SLACK,
    TILE_SIZES,
    NetworkTables,
    design_rows,
    layer_row,
    mapper_mode,
    network_tables,
    parameter_columns,
)
from dse.costs.mapping import Mapping
from dse.costs.traffic import bytes_needed
from dse.hardware.accelerator import Accelerator, buffer_groups
from dse.hardware.area import AREA_BLOCKS, area_blocks_mm2, sum_blocks
from dse.hardware.technology import Technology, technology_or_default
from dse.networks.layers import LOOPS, Layer, MacLayer, Network

WATERFALL = {
    "ideal": k.IDEAL,
    "spatial_loss": k.SPATIAL_LOSS,
    "vector_stall": k.VECTOR_STALL,
    "buffer_stall": k.BUFFER_STALL,
    "dram_stall": k.DRAM_STALL,
    "fill_drain": k.FILL_DRAIN,
}
"""Parts of the cycles, in order; they sum to the total."""

ENERGY_PARTS = {
    "mac": k.PJ_TOTAL_MAC,
    "register": k.PJ_TOTAL_REGISTER,
    "interconnect": k.PJ_TOTAL_INTERCONNECT,
    "buffer": k.PJ_TOTAL_BUFFER,
    "dram": k.PJ_TOTAL_DRAM,
    "vector": k.PJ_TOTAL_VECTOR,
    "leakage": k.PJ_TOTAL_LEAKAGE,
}
"""Parts of the energy by level; they sum to the total."""

LAYER_BYTES = {
    "dram_weight_bytes": k.DRAM_W,
    "dram_input_bytes": k.DRAM_I,
    "dram_output_read_bytes": k.DRAM_O_READ,
    "dram_output_write_bytes": k.DRAM_O_WRITE,
    "dram_fused_bytes": k.DRAM_FUSED,
    "buffer_weight_read_bytes": k.BUFFER_W_READ,
    "buffer_weight_write_bytes": k.BUFFER_W_WRITE,
    "buffer_input_read_bytes": k.BUFFER_I_READ,
    "buffer_input_write_bytes": k.BUFFER_I_WRITE,
    "buffer_output_read_bytes": k.BUFFER_O_READ,
    "buffer_output_write_bytes": k.BUFFER_O_WRITE,
    "array_weight_bytes": k.ARRAY_W,
    "array_input_bytes": k.ARRAY_I,
    "array_output_read_bytes": k.ARRAY_O_READ,
    "array_output_write_bytes": k.ARRAY_O_WRITE,
    "register_weight_bytes": k.REGISTER_W,
    "register_input_bytes": k.REGISTER_I,
    "register_output_bytes": k.REGISTER_O,
}
"""Bytes moved per operand and level, one repeat of a layer."""

_RESIDENT_BITS = {
    k.IN_RESIDENT: "inputs",
    k.OUT_RESIDENT: "outputs",
    k.FUSED_RESIDENT: "fused_input",
    k.WEIGHTS_RESIDENT: "weights",
}
DRAM_TRAFFIC = (k.DRAM_W, k.DRAM_I, k.DRAM_O_READ, k.DRAM_O_WRITE, k.DRAM_FUSED)
"""Columns of the kernel's results that are off-chip traffic [byte]."""
_SUMMARY = ("latency_s", "cycles", "energy_j", "area_mm2", "power_w", "latency_bound_s", "energy_bound_j", "overflow")
_SECONDS_A_TASK = 0.03  # joblib polls every 10 ms: below this a batch is faster without it


@dataclass(frozen=True)
class Evaluation:
    """What one design does on one network.

    Attributes
    ----------
    latency_s, cycles, energy_j, area_mm2, power_w : [s], [cycles], [J], [mm2], [W].
    bound : what bounds most of the time: ``compute``, ``buffer_<operands>``, ``dram``, ``vector`` or ``fill``.
    latency_bound_s, energy_bound_j : no mapping can do better [s], [J].
    overflow : 0 when every layer fits, else bytes over / capacity summed over layers.
    layers : one row a layer (per repeat): operator, MACs, cycles and their waterfall, utilisation, bytes per
        operand and level, energy per level, bound and mapping.
    mappings : the best mapping of each MAC layer, by layer name.
    area : area by block [mm2].
    """

    design: Accelerator
    network: Network
    technology: Technology
    latency_s: float
    cycles: float
    energy_j: float
    area_mm2: float
    power_w: float
    bound: str
    latency_bound_s: float
    energy_bound_j: float
    overflow: float
    layers: pd.DataFrame
    mappings: dict[str, Mapping]
    area: dict[str, float]

    @property
    def feasible(self) -> bool:
        """Whether every layer fits the registers and buffers."""
        return self.overflow == 0

    @property
    def utilisation(self) -> float:
        """MACs done / MACs possible in the time [1]."""
        return self.network.macs / (self.cycles * self.design.macs_per_cycle)

    def waterfall(self) -> dict[str, float]:
        """Cycles by cause, summed over layers and repeats; the values sum to `cycles`."""
        return {part: float((self.layers[f"{part}_cycles"] * self.layers["repeats"]).sum()) for part in WATERFALL}

    def energy(self) -> dict[str, float]:
        """Energy by level, summed over layers and repeats [J]; the values sum to `energy_j`."""
        return {
            part: float((self.layers[f"{part}_pj"] * self.layers["repeats"]).sum()) * 1e-12 for part in ENERGY_PARTS
        }


def as_network(network_or_layers: Network | Layer | Iterable[Layer]) -> Network:
    """A network of what was given: a network, one layer, or several independent layers."""
    if isinstance(network_or_layers, Network):
        return network_or_layers
    if isinstance(network_or_layers, Layer):
        network_or_layers = [network_or_layers]
    if isinstance(network_or_layers, str) or not isinstance(network_or_layers, Iterable):
        raise ValueError(
            f"expected a Network or layers, got {network_or_layers!r}; load a network by name or path with load_network"
        )
    return Network.from_layers(network_or_layers)


def bound_names(design: Accelerator) -> list[str]:
    """Names of the kernel's bounds on this design, in its order."""
    buffers = [f"buffer_{group}" for group in buffer_groups(design.buffers)]
    return ["compute", *(buffers + [""] * 3)[:3], "dram", "vector", "fill"]


def evaluate(
    design: Accelerator,
    network_or_layers: Network | Layer | Iterable[Layer],
    *,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float = DEFAULT_SLACK,
    mapping: Mapping | str | MappingType[str, Mapping | str] | None = None,
) -> Evaluation:
    """Run every layer of a network on a design under its best mapping, or under a given one.

    Parameters
    ----------
    objective : what the mapper minimises for each layer: ``"latency"``, ``"energy"`` or ``"edp"``.
    slack : with ``"latency"``, take the least energy among the mappings at most this fraction above the
        least latency [1]; 0 = ties only.  See `dse.costs.kernel_rows.DEFAULT_SLACK`.
    mapping : a `Mapping`, or its text (see `Mapping.loop_nest`), for a single MAC layer; or several by layer name:
        the other layers take their best.  One that does not fit raises a ValueError that says which level overflows
        by how many bytes.
    """
    if not isinstance(design, Accelerator):
        raise ValueError(f"expected an Accelerator, got {design!r}; make one with Accelerator(rows=..., ...)")
    network = as_network(network_or_layers)
    technology = technology_or_default(technology)
    mode, limit = mapper_mode(objective, slack)
    columns = parameter_columns(design)
    rows, options = design_rows(columns, technology)
    tables = network_tables(network)
    totals, found = kernel_totals(rows, options, tables.arguments, mode, limit)
    _, results, maps, variants, resident = found
    steps = _step_results(rows[0], tables, results, variants, resident)
    mappings = {
        layer.name: Mapping.from_row(maps[int(tables.steps[i, k.STEP_INDEX]), variants[i]])
        for i, layer in enumerate(network.layers)
        if isinstance(layer, MacLayer)
    }
    if mapping is not None:
        given = _given_mappings(network, mapping)
        for i, layer in enumerate(network.layers):
            if layer.name in given:
                _cost_given(layer, design, rows[0], options, given[layer.name], int(variants[i]), steps[i])
        mappings |= given
        totals = (steps * tables.steps[:, k.STEP_REPEATS, None]).sum(axis=0, keepdims=True)
    layers = _layer_table(design, network, steps, mappings)
    time_cycles = steps[:, k.CYCLES] * tables.steps[:, k.STEP_REPEATS]
    by_bound = np.bincount(steps[:, k.BOUND].astype(int), weights=time_cycles, minlength=7)
    metrics = metric_columns(columns, totals, technology)
    return Evaluation(
        design=design,
        network=network,
        technology=technology,
        bound=bound_names(design)[int(by_bound.argmax())],
        layers=layers,
        mappings=mappings,
        area={name: float(metrics[f"area_{name}_mm2"][0]) for name in AREA_BLOCKS},
        **{name: float(metrics[name][0]) for name in _SUMMARY},
    )


def _step_results(
    design_row: np.ndarray, tables: NetworkTables, results: np.ndarray, variants: np.ndarray, resident: np.ndarray
) -> np.ndarray:
    """Kernel result of every layer, one repeat each, (n_steps, N_RESULT)."""
    steps = np.zeros((len(tables.steps), k.N_RESULT))
    for i, step in enumerate(tables.steps):
        index = int(step[k.STEP_INDEX])
        if step[k.STEP_IS_VECTOR]:
            k.vector_step(design_row, tables.vectors[index], step, tables.inputs, tables.tensors, resident, steps[i])
        else:
            steps[i] = results[index, variants[i]]
    return steps


def _given_mappings(network: Network, mapping: Mapping | str | MappingType[str, Mapping | str]) -> dict[str, Mapping]:
    """The given mappings by layer name, texts read."""
    names = [layer.name for layer in network.layers if isinstance(layer, MacLayer)]
    if isinstance(mapping, Mapping | str):
        if len(names) != 1:
            raise ValueError(f"one mapping for {len(names)} MAC layers; give a dict of mappings by layer name")
        mapping = {names[0]: mapping}
    if not isinstance(mapping, MappingType):
        raise ValueError(f"expected a Mapping, its text, or a dict of them by layer name; got {mapping!r}")
    for name, value in mapping.items():
        if name not in names:
            raise ValueError(
                f"mapping of {name!r}: the network has no such MAC layer; it has {', '.join(names[:8])} ..."
            )
        if not isinstance(value, Mapping | str):
            raise ValueError(f"mapping of {name!r}: expected a Mapping or its text, got {value!r}")
    return {name: Mapping.from_text(value) if isinstance(value, str) else value for name, value in mapping.items()}


def _cost_given(
    layer: MacLayer,
    design: Accelerator,
    design_row: np.ndarray,
    options: np.ndarray,
    mapping: Mapping,
    variant: int,
    out: np.ndarray,
) -> None:
    """Cost of one layer under a given mapping into `out` (N_RESULT,); refuses one that does not fit."""
    mapping.on_axes(design)
    resident = frozenset(name for bit, name in _RESIDENT_BITS.items() if variant & bit)
    for level, (need, capacity) in bytes_needed(layer, design, mapping, resident).items():
        if need > capacity:
            raise ValueError(
                f"mapping of {layer.name!r} does not fit: {level}, {need - capacity:g} bytes over "
                f"(needs {need:g} of {capacity:g})"
            )
    option = options[int(design_row[k.OPTION_FIRST]) + mapping.option]
    k.evaluate_mapping(layer_row(layer), design_row, option, mapping.to_row(), variant, out)


def _layer_table(
    design: Accelerator, network: Network, steps: np.ndarray, mappings: MappingType[str, Mapping]
) -> pd.DataFrame:
    """The per-layer table of `Evaluation`."""
    names = bound_names(design)
    macs, cycles = steps[:, k.MACS], steps[:, k.CYCLES]
    table = {
        "layer": [layer.name for layer in network.layers],
        "operator": [layer.operator for layer in network.layers],
        "repeats": [layer.repeats for layer in network.layers],
        **{d: [getattr(layer, d, 0) for layer in network.layers] for d in LOOPS},
        "macs": macs,
        "cycles": cycles,
        **{f"{part}_cycles": steps[:, column] for part, column in WATERFALL.items()},
        "utilisation": np.divide(macs, cycles * design.macs_per_cycle, out=np.zeros_like(macs), where=cycles > 0),
        "bound": [names[int(b)] for b in steps[:, k.BOUND]],
        "bound_cycles": steps[:, k.BOUND_CYCLES],
        "dram_bytes": steps[:, DRAM_TRAFFIC].sum(axis=1),
        **{name: steps[:, column] for name, column in LAYER_BYTES.items()},
        "energy_pj": steps[:, k.ENERGY_PJ],
        **{f"{part}_pj": steps[:, column] for part, column in ENERGY_PARTS.items()},
        "overflow": steps[:, k.OVERFLOW],
        "mapping": [str(mappings.get(layer.name, "")) for layer in network.layers],
    }
    return pd.DataFrame(table)


def metric_columns(
    columns: MappingType[str, np.ndarray], totals: np.ndarray, technology: Technology
) -> dict[str, np.ndarray]:
    """Named metrics of a batch from kernel totals, each (n,); `dse.runs.column_dictionary.METRICS` says what each
    means."""
    clock_hz = np.asarray(columns["clock_ghz"], dtype=float) * 1e9
    blocks = area_blocks_mm2(columns, technology)
    latency_s = totals[:, k.CYCLES] / clock_hz
    energy_j = totals[:, k.ENERGY_PJ] * 1e-12
    peak = columns["rows"] * columns["cols"] * columns["macs_per_pe"]
    metrics = {
        "latency_s": latency_s,
        "cycles": totals[:, k.CYCLES],
        "energy_j": energy_j,
        "area_mm2": sum_blocks(blocks),
        "power_w": energy_j / latency_s,
        "macs": totals[:, k.MACS],
        "utilisation": totals[:, k.MACS] / (totals[:, k.CYCLES] * peak),
        "dram_bytes": totals[:, DRAM_TRAFFIC].sum(axis=1),
        "overflow": totals[:, k.OVERFLOW],
        "latency_bound_s": totals[:, k.BOUND_CYCLES] / clock_hz,
        "energy_bound_j": totals[:, k.BOUND_PJ] * 1e-12,
        **{f"{part}_cycles": totals[:, column] for part, column in WATERFALL.items()},
        **{f"energy_{part}_j": totals[:, column] * 1e-12 for part, column in ENERGY_PARTS.items()},
        **{f"area_{name}_mm2": blocks[name] for name in AREA_BLOCKS},
    }
    return {name: np.ascontiguousarray(value, dtype=float) for name, value in metrics.items()}


def kernel_totals(
    rows: np.ndarray,
    options: np.ndarray,
    arguments: tuple,
    mode: int,
    slack: float,
    sizes: np.ndarray = TILE_SIZES,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Kernel totals of a chunk of designs, (n, N_RESULT), and what it found for the last design.

    The second part: whether, result and mapping row of every (layer, variant); the variant of every step; whether
    each tensor stays on chip.
    """
    totals, found = network_totals(rows, options, arguments, mode, slack, sizes)
    return totals[:, 0], found


def network_totals(
    rows: np.ndarray,
    options: np.ndarray,
    arguments: tuple,
    mode: int,
    slack: float,
    sizes: np.ndarray = TILE_SIZES,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """As `kernel_totals`, of each of the networks that the tables hold: (n, n_networks, N_RESULT)."""
    layers, _, steps, _, tensors, weight_elements = arguments
    found = (
        np.zeros((len(layers), 16), dtype=bool),
        np.zeros((len(layers), 16, k.N_RESULT)),
        np.zeros((len(layers), 16, k.N_MAP)),
        np.zeros(len(steps), dtype=np.int64),
        np.zeros(len(tensors), dtype=bool),
    )
    totals = np.empty((len(rows), len(weight_elements), k.N_RESULT))
    usage = np.empty(len(steps))
    k.evaluate_designs(rows, options, *arguments, sizes, mode, slack, *found, usage, k.make_scratch(), totals)
    return totals, found


def layer_cycles(
    designs: Sequence[Accelerator],
    network_or_layers: Network | Layer | Iterable[Layer],
    *,
    technology: Technology | None = None,
    objective: str = "latency",
    slack: float = DEFAULT_SLACK,
    n_jobs: int = -1,
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of every layer on several designs, all repeats together, and the kernel's totals.

    Returns `(cycles, totals)`, (n_designs, n_layers) [cycles] and (n_designs, N_RESULT).  Each row is what `evaluate`
    tells of that design, to the bit.
    """
    technology = technology_or_default(technology)
    mode, limit = mapper_mode(objective, slack)
    tables = network_tables(as_network(network_or_layers))
    work = [(*design_rows(parameter_columns(design), technology), tables, mode, limit) for design in designs]
    done = in_threads(_cycles_of, work, n_jobs)
    n = len(designs)
    cycles = np.array([row for row, _ in done]).reshape(n, len(tables.steps))
    return cycles, np.array([row for _, row in done]).reshape(n, k.N_RESULT)


def _cycles_of(
    row: np.ndarray, options: np.ndarray, tables: NetworkTables, mode: int, slack: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of each layer of one design (n_layers,), and its totals (N_RESULT,)."""
    steps, totals = step_results(row, options, tables, mode, slack)
    return steps[:, k.CYCLES] * tables.steps[:, k.STEP_REPEATS], totals


def step_results(
    row: np.ndarray, options: np.ndarray, tables: NetworkTables, mode: int, slack: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel results of every layer on one design, `row` (1, N_DESIGN): one repeat each, (n_steps, N_RESULT), and the
    totals (N_RESULT,)."""
    totals, (_, results, _, variants, resident) = kernel_totals(row, options, tables.arguments, mode, slack)
    return _step_results(row[0], tables, results, variants, resident), totals[0]


def _chunk_totals(rows: np.ndarray, options: np.ndarray, arguments: tuple, mode: int, slack: float) -> np.ndarray:
    """Kernel totals of a chunk, (n, n_networks, N_RESULT); importable, so that any joblib backend can send it."""
    return network_totals(rows, options, arguments, mode, slack)[0]


class BatchEvaluator:
    """Evaluates batches of designs on one network.

    Parameters
    ----------
    network : a `Network` (or layers).
    technology : constants; 45 nm when omitted.
    objective, slack : see `evaluate`.
    n_jobs : workers; -1 = all cores.  Threads by default (the kernel releases the GIL); inside
        ``joblib.parallel_config(backend="loky" | "dask" | "ray", n_jobs=...)`` that backend is used instead.

    Calling it with parameter columns (see `DesignSpace.columns`) of n designs returns named metrics, each (n,).
    Every design is computed alone, so the bits depend on neither the batch split nor the workers.
    """

    def __init__(
        self,
        network: Network | Layer | Iterable[Layer],
        technology: Technology | None = None,
        *,
        objective: str = "latency",
        slack: float = DEFAULT_SLACK,
        n_jobs: int = 1,
    ) -> None:
        self.network = as_network(network)
        self.technology = technology_or_default(technology)
        self.objective, self.slack = objective, slack
        self.n_jobs = checked_jobs(n_jobs)
        self._mode, self._slack = mapper_mode(objective, slack)
        self._arguments = network_tables(self.network).arguments
        self._seconds_a_design = 0.0
        self._compiled = False

    def __call__(self, columns: MappingType[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Metrics of the designs in `columns`."""
        return metric_columns(columns, self._totals(*self.kernel_rows(columns))[:, 0], self.technology)

    chunk_totals = staticmethod(_chunk_totals)
    """What computes the kernel totals of a chunk."""

    def kernel_rows(self, columns: MappingType[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What `chunk_totals` takes: a row a design, and the spatial options of them all."""
        return design_rows(columns, self.technology)

    def _totals(self, rows: np.ndarray, options: np.ndarray) -> np.ndarray:
        task = (options, self._arguments, self._mode, self._slack)
        if not self._compiled:
            self.chunk_totals(rows[:0], *task)  # compile once here: workers racing for a cold cache can crash
            self._compiled = True
        workers, n_jobs = worker_count(self.n_jobs)
        small = len(rows) * self._seconds_a_design < _SECONDS_A_TASK * workers
        if workers == 1 or len(rows) < 2 or (n_jobs is not None and small):
            start = time.perf_counter()
            totals = self.chunk_totals(rows, *task)
            self._seconds_a_design = (time.perf_counter() - start) / max(1, len(rows))
            return totals
        chunks = np.array_split(rows, min(len(rows), 4 * workers))
        parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads")
        return np.concatenate(parallel(joblib.delayed(self.chunk_totals)(chunk, *task) for chunk in chunks))


def checked_jobs(n_jobs: int) -> int:
    """Workers, all cores where it is -1; ValueError for anything else that is no whole number >= 1."""
    whole = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
    if not whole or n_jobs == 0 or n_jobs < -1:
        raise ValueError(f"n_jobs must be a number of workers >= 1, or -1 for all cores; got {n_jobs!r}")
    return (os.cpu_count() or 1) if n_jobs == -1 else int(n_jobs)


def in_threads(function: Callable, tasks: Sequence[tuple], n_jobs: int, prefer: str = "threads") -> list:
    """What `function` gives for each task, a tuple of arguments; by joblib, in threads unless another backend is set.

    The first task runs alone: it compiles, where that is to do, and workers racing for a cold cache can crash.
    """
    workers, jobs = worker_count(checked_jobs(n_jobs))
    done = [function(*task) for task in tasks[:1]]
    if workers == 1 or len(tasks) < 4:
        return done + [function(*task) for task in tasks[1:]]
    return done + joblib.Parallel(n_jobs=jobs, prefer=prefer)(joblib.delayed(function)(*t) for t in tasks[1:])


def in_processes(function: Callable, tasks: Sequence[tuple], n_jobs: int) -> list:
    """As `in_threads`, in processes: for work that holds Python's lock.  Function and tasks are sent as pickles."""
    return in_threads(function, tasks, n_jobs, "processes")


def worker_count(n_jobs: int) -> tuple[int, int | None]:
    """Workers to use and the `n_jobs` to ask joblib for: None where an active `parallel_config` decides."""
    backend, context_jobs = get_active_backend()
    chosen = context_jobs is not None or backend.__class__.__name__ not in ("LokyBackend", "ThreadingBackend")
    if not chosen or backend.nesting_level:
        return n_jobs, n_jobs
    return backend.effective_n_jobs(context_jobs if context_jobs is not None else -1), None
