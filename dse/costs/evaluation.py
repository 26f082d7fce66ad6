"""Evaluation of one design with every detail: how it runs a network, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.costs import kernels as k
from dse.costs.bounds import BoundEvaluator, raise_bounds
from dse.costs.kernel_rows import (
    DEFAULT_SLACK,
    design_rows,
    effort_named,
    mapper_mode,
    network_tables,
    parameter_columns,
)
from dse.costs.mapping import Mapping
from dse.costs.residency.keeper import Keeper, Kept, check_keep
from dse.costs.residency.memory import CaseMemory
from dse.costs.residency.on_chip import OnChip, on_chip
from dse.costs.restrictions import check_restrictions, nothing_keeps
from dse.costs.results import (
    DRAM_TRAFFIC,
    ENERGY_PARTS,
    LAYER_BYTES,
    OPERATIONS_OF_A_MAC,
    RATES,
    WATERFALL,
    metric_columns,
)
from dse.costs.traffic import bytes_needed
from dse.hardware.accelerator import Accelerator, buffer_groups
from dse.hardware.area import AREA_BLOCKS
from dse.hardware.technology import Technology, technology_or_default
from dse.hardware.weight_forms import AS_THE_DESIGN, full_macs, weight_form, weights_on
from dse.networks.layers import LOOPS, Layer, MacLayer, Network, as_network
from dse.networks.toml_file import check_known
from dse.text.html import html_table
from dse.text.quantities import number, percent, quantity

if TYPE_CHECKING:
    import pandas as pd

_RESIDENT_BITS = {
    k.IN_RESIDENT: "inputs",
    k.OUT_RESIDENT: "outputs",
    k.FUSED_RESIDENT: "fused_input",
    k.WEIGHTS_RESIDENT: "weights",
}

_SUMMARY = (
    "latency_s", "cycles", "energy_j", "area_mm2", "core_area_mm2", "power_w", "latency_bound_s",
    "energy_bound_j", "overflow",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What one design does on one network.

    Attributes
    ----------
    latency_s, cycles, energy_j, area_mm2, power_w : [s], [cycles], [J], [mm2], [W].
    core_area_mm2 : area without the DRAM interface [mm2].
    bound : what bounds most of the time: ``compute``, ``buffer_<operands>``, ``dram``, ``vector`` or ``fill``.
    latency_bound_s, energy_bound_j : no mapping can do better [s], [J].
    overflow : 0 when every layer has a mapping that fits, else bytes over / capacity summed over layers.
    misfits : by layer that no mapping fits: the store that overflows with the least mapping, and by how many bytes; or
        what the options of the dataflow ask of the DRAM link, where no mapping keeps to it (overflow 1).
    columns : what `layers` holds, by name, each (n_layers,).
    mappings : the best mapping of each MAC layer, by layer name.
    area : area by block [mm2].
    on_chip : which activations stay on chip between layers.
    found : what the kernel found, for `energies_under`.
    """

    design: Accelerator
    network: Network
    technology: Technology
    latency_s: float
    cycles: float
    energy_j: float
    area_mm2: float
    core_area_mm2: float
    power_w: float
    bound: str
    latency_bound_s: float
    energy_bound_j: float
    overflow: float
    misfits: dict[str, str]
    columns: dict[str, Any]
    mappings: dict[str, Mapping]
    area: dict[str, float]
    on_chip: OnChip
    found: Kept

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row a layer (per repeat): operator, MACs, cycles and their waterfall, utilisation, bytes per operand and
        level, energy per level, bound and mapping."""
        from pandas import DataFrame  # here, for commands that show no more than an evaluation to begin at once

        return DataFrame(self.columns)

    @property
    def feasible(self) -> bool:
        """Whether every layer fits the registers and buffers."""
        return self.overflow == 0

    @property
    def utilisation(self) -> float:
        """MACs done / MACs possible in the time [1]; narrow and 2:4 weights by what their layers make possible."""
        return full_macs(self.network, self.design) / (self.cycles * self.design.macs_per_cycle)

    def rates(self, batch: int = 1) -> dict[str, float]:
        """Figures that data sheets quote, where the network is `batch` samples.

        Returns
        -------
        dict of `RATES`: ``inferences_per_s`` [samples/s], ``energy_per_inference_j`` of one sample [J], ``tops``
        operations done / time [1e12/s], ``tops_per_w`` [1e12/J], ``tops_per_mm2`` [1e12/(s mm2)] and ``w_per_mm2``
        [W/mm2] of the whole area.
        """
        tops = 1e-12 * OPERATIONS_OF_A_MAC * self.network.macs / self.latency_s
        values = (batch / self.latency_s, self.energy_j / batch, tops, tops / self.power_w, tops / self.area_mm2,
                  self.power_w / self.area_mm2)  # fmt: skip
        return dict(zip(RATES, values, strict=True))

    def summary(self, batch: int = 1) -> list[tuple[str, str, str]]:
        """The main numbers for people, where the network is `batch` samples: name, value with its unit, note."""
        of, above = self.rates(batch), self.latency_s / self.latency_bound_s - 1
        time_each = "" if batch == 1 else f" in batches of {batch}, {quantity(self.latency_s / batch, 's')} each"
        each = "" if batch == 1 else f"{quantity(of['energy_per_inference_j'], 'J')} a sample, "
        core = f"{number(self.core_area_mm2)} mm\u00b2 without the DRAM interface"
        speed = f"{number(of['tops_per_w'])} TOPS/W, {number(of['tops_per_mm2'])} TOPS/mm\u00b2"
        return [
            ("latency", quantity(self.latency_s, "s"), f"{number(self.cycles)} cycles"),
            ("lower bound", quantity(self.latency_bound_s, "s"), f"the latency is {percent(above)} above it"),
            ("bound by", self.bound, "in most of the time"),
            ("throughput", f"{number(of['inferences_per_s'])} 1/s", f"samples{time_each}"),
            ("energy", quantity(self.energy_j, "J"), f"{each}lower bound {quantity(self.energy_bound_j, 'J')}"),
            ("power", quantity(self.power_w, "W"), f"mean; {number(of['w_per_mm2'])} W/mm\u00b2"),
            ("area", f"{number(self.area_mm2)} mm\u00b2", f"at {self.technology.name}; {core}"),
            ("speed", f"{number(of['tops'])} TOPS", f"{speed}; a MAC is {OPERATIONS_OF_A_MAC} operations"),
            ("MAC utilisation", percent(self.utilisation), f"of {self.design.macs_per_cycle:,} MACs per cycle"),
        ]

    def __repr__(self) -> str:
        numbers = f"{quantity(self.latency_s, 's')}, {quantity(self.energy_j, 'J')}, {number(self.area_mm2)} mm2"
        return f"<Evaluation of {self.network.name}: {numbers}, bound by {self.bound}>"

    def _repr_html_(self) -> str:
        fits = "" if self.feasible else f"; it does not fit: {next(iter(self.misfits.items()))}"
        parts = [(name, f"{cycles:,.0f}", percent(cycles / self.cycles)) for name, cycles in self.waterfall().items()]
        return html_table(f"{self.network.name} on a design{fits}", (), self.summary()) + html_table(
            "", ("cycles by cause", "cycles", "share"), parts
        )

    def loop_nest(self, layer: str) -> str:
        """The best mapping of a MAC layer as a loop nest (`Mapping.loop_nest`); ValueError for another name."""
        known = {each.name: each for each in self.network.mac_layers}
        check_known(layer, known, f"MAC layer of {self.network.name}")
        return self.mappings[layer].loop_nest(known[layer], self.design)

    def waterfall(self) -> dict[str, float]:
        """Cycles by cause, summed over layers and repeats; the values sum to `cycles`."""
        return {part: math.fsum(self.columns[f"{part}_cycles"] * self.columns["repeats"]) for part in WATERFALL}

    def energy(self) -> dict[str, float]:
        """Energy by level, summed over layers and repeats [J]; the values sum to `energy_j`."""
        return {part: math.fsum(self.columns[f"{part}_pj"] * self.columns["repeats"]) * 1e-12 for part in ENERGY_PARTS}

    def energies_under(self, technologies: Iterable[Technology]) -> dict[str, np.ndarray]:
        """Energy by level, as `energy` tells it, of the same mappings with other constants: each (n,) [J]."""
        tables, columns = network_tables(self.network), parameter_columns(self.design)
        layers, plan = [self.network.layers[i] for i in tables.order], self.found.plan
        rows = {
            layer.name: tables.layers[int(step[k.STEP_INDEX])]
            for step, layer in zip(tables.steps, layers, strict=True)
            if isinstance(layer, MacLayer)
        }
        totals = []
        for technology in technologies:
            designs, options = design_rows(columns, technology, forms=tables.forms)
            steps = np.empty((len(layers), k.N_RESULT))
            for i, (step, layer) in enumerate(zip(tables.steps, layers, strict=True)):
                if layer.name in rows:
                    mapping, variant = self.mappings[layer.name], int(plan.variants[i])
                    _cost_mapping(rows[layer.name], designs[0], options, mapping, variant, steps[i])
                else:
                    vector, operands = tables.vectors[int(step[k.STEP_INDEX])], (tables.inputs, tables.tensors)
                    k.vector_step(designs[0], vector, step, *operands, plan.kept, steps[i])
            totals.append((steps * tables.steps[:, k.STEP_REPEATS, None]).sum(axis=0))
        table = np.array(totals).reshape(len(totals), k.N_RESULT) * 1e-12
        return {part: table[:, column] for part, column in ENERGY_PARTS.items()}


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
    slack: float | None = DEFAULT_SLACK,
    effort: str = "default",
    mapping: Mapping | str | MappingType[str, Mapping | str] | None = None,
    keep: str = "best",
    memory: CaseMemory | None = None,
) -> Evaluation:
    """Run every layer of a network on a design under its best mapping, or under a given one.

    Parameters
    ----------
    objective : what the mapper minimises for each layer: ``"latency"``, ``"energy"`` or ``"edp"``.
    slack : with ``"latency"``, take the least energy among the mappings at most this fraction above the
        least latency [1]; 0 = ties only, None = the least latency alone, no search for energy.  See
        `dse.costs.kernel_rows.DEFAULT_SLACK`.
    effort : ``"default"``, or ``"complete"``: all mappings whose bounds leave hope, some hundred times slower,
        about half a minute a layer at most.
    mapping : a `Mapping`, or its text (see `Mapping.loop_nest`), for a single MAC layer; or several by layer name:
        the other layers take their best.  One that does not fit raises a ValueError that says which level overflows
        by how many bytes; so does one that the option of its dataflow does not allow (see `SpatialOption`).
    keep : what stays on chip between layers: ``"best"``, the set of activations with the least cost
        (`dse.costs.residency.keeper`), ``"quick"``, the choice that searches make, or ``"none"``.
    memory : cases of layers that were mapped before on this design (`dse.costs.residency.memory`); the result has the
        same bits as without.
    """
    if not isinstance(design, Accelerator):
        raise ValueError(f"expected an Accelerator, got {design!r}; make one with Accelerator(rows=..., ...)")
    network = as_network(network_or_layers)
    technology = technology_or_default(technology)
    mode, limit = mapper_mode(objective, slack)
    columns = parameter_columns(design)
    given = {} if mapping is None else _given_mappings(network, mapping)
    tables = network_tables(network, given)
    rows, options = design_rows(columns, technology, forms=tables.forms)
    rows_given = np.zeros((len(tables.layers), k.N_MAP))
    for step, at in zip(tables.steps, tables.order, strict=True):
        layer = network.layers[at]
        if isinstance(layer, MacLayer) and layer.name in given:
            _check_axes(layer, design, given[layer.name])
            rows_given[int(step[k.STEP_INDEX])] = given[layer.name].to_row()
    keeper = Keeper(tables, options, mode, limit, effort_named(effort), check_keep(keep) == "best")
    found = keeper.cost(rows[0], np.empty(0), keep, rows_given, memory)
    order, totals, plan = tables.layer_order, found.totals, found.plan
    steps, variants = found.results[order], plan.variants[order]
    held = rows[0, k.CAPACITY_0 + int(rows[0, k.BUFFER_I])] - found.cases.rooms[plan.rooms[order]]
    mappings = {
        layer.name: given.get(layer.name) or Mapping.from_row(found.maps[order[i]])
        for i, layer in enumerate(network.layers)
        if isinstance(layer, MacLayer)
    }
    for i, layer in enumerate(network.layers):
        if isinstance(layer, MacLayer) and layer.name in given:
            _check_given(layer, design, given[layer.name], int(variants[i]), float(held[i]))
    keeper.release()
    layers = _layer_table(design, network, steps, mappings)
    time_cycles = steps[:, k.CYCLES] * tables.steps[order, k.STEP_REPEATS]
    by_bound = [math.fsum(time_cycles[steps[:, k.BOUND] == bound]) for bound in range(7)]
    raise_bounds(totals[None], BoundEvaluator(tables, technology), rows, options)
    metrics = metric_columns(columns, totals, technology)
    return Evaluation(
        design=design,
        network=network,
        technology=technology,
        bound=bound_names(design)[int(np.argmax(by_bound))],
        misfits={
            layer.name: _misfit(layer, design, mappings[layer.name], int(variants[i]), float(held[i]))
            or nothing_keeps(design)
            for i, layer in enumerate(network.layers)
            if isinstance(layer, MacLayer) and steps[i, k.OVERFLOW] > 0
        },
        columns=layers,
        mappings=mappings,
        area={name: float(metrics[f"area_{name}_mm2"][0]) for name in AREA_BLOCKS},
        on_chip=on_chip(network, tables, rows[0], keeper, found, keep),
        found=found,
        **{name: float(metrics[name][0]) for name in _SUMMARY},
    )


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


def _misfit(layer: MacLayer, design: Accelerator, mapping: Mapping, variant: int, held: float) -> str:
    """The store that a mapping overflows most, relative to its size, and by how much; empty if all fits.

    `held`: bytes of the input buffer that tiles may not use.
    """
    resident = frozenset(name for bit, name in _RESIDENT_BITS.items() if variant & bit)
    levels = bytes_needed(layer, design, mapping, resident, held)
    over = {level: need - capacity for level, (need, capacity) in levels.items() if need > capacity}
    if not over:
        return ""
    worst = max(over, key=lambda level: over[level] / max(levels[level][1], 1e-9))
    need, capacity = levels[worst]
    return f"{worst}, {over[worst]:g} bytes over (needs {need:g} of {capacity:g})"


def _check_axes(layer: MacLayer, design: Accelerator, mapping: Mapping) -> None:
    """Refuse a given mapping that the array cannot unroll."""
    mapping.on_axes(design)
    lanes = weights_on(weight_form(layer), design).lanes
    if mapping.lanes > lanes:
        raise ValueError(f"mapping of {layer.name!r}: {mapping.lanes} lanes, but a PE has {lanes:g} multipliers")
    option = mapping.spatial_option(design)
    tile = mapping.tile_of(layer)
    if option.flatten_reduction and (tile["FY"] < layer.FY or tile["FX"] < layer.FX):
        raise ValueError(
            f"mapping of {layer.name!r}: the dataflow unrolls C, FY and FX as one loop, so a buffer tile holds the "
            f"whole filter, FY={layer.FY} and FX={layer.FX}; got FY={tile['FY']}, FX={tile['FX']}"
        )


def _check_given(layer: MacLayer, design: Accelerator, mapping: Mapping, variant: int, held: float) -> None:
    """Refuse a given mapping that its option does not allow, or that does not fit beside `held` bytes that stay."""
    resident = frozenset(name for bit, name in _RESIDENT_BITS.items() if variant & bit)
    check_restrictions(layer, design, mapping, resident)
    misfit = _misfit(layer, design, mapping, variant, held)
    if misfit:
        raise ValueError(f"mapping of {layer.name!r} does not fit: {misfit}")


def _cost_mapping(
    row: np.ndarray,
    design_row: np.ndarray,
    options: np.ndarray,
    mapping: Mapping,
    variant: int,
    out: np.ndarray,
) -> None:
    """Cost of one layer, `row` (N_LAYER,), under a mapping that is known to fit, into `out` (N_RESULT,).

    `design_row` (n_forms * N_DESIGN,): of the design.
    """
    option_row = options[int(design_row[k.OPTION_FIRST]) + mapping.option]
    first = int(row[k.FORM]) * k.N_DESIGN
    k.evaluate_mapping(row, design_row[first : first + k.N_DESIGN], option_row, mapping.to_row(), variant, out)


def _layer_table(
    design: Accelerator, network: Network, steps: np.ndarray, mappings: MappingType[str, Mapping]
) -> dict[str, Any]:
    """`Evaluation.columns`."""
    names = bound_names(design)
    macs, cycles = steps[:, k.MACS], steps[:, k.CYCLES]
    forms = [weight_form(layer) if isinstance(layer, MacLayer) else AS_THE_DESIGN for layer in network.layers]
    peak = design.rows * design.cols * np.array([weights_on(form, design).lanes for form in forms])
    return {
        "layer": [layer.name for layer in network.layers],
        "operator": [layer.operator for layer in network.layers],
        "repeats": np.array([layer.repeats for layer in network.layers]),
        **{d: [getattr(layer, d, 0) for layer in network.layers] for d in LOOPS},
        "macs": macs,
        "cycles": cycles,
        **{f"{part}_cycles": steps[:, column] for part, column in WATERFALL.items()},
        "utilisation": np.divide(macs, cycles * peak, out=np.zeros_like(macs), where=cycles > 0),
        "bound": [names[int(b)] for b in steps[:, k.BOUND]],
        "bound_cycles": steps[:, k.BOUND_CYCLES],
        "least_cycles": steps[:, k.LEAST],
        "dram_bytes": steps[:, DRAM_TRAFFIC].sum(axis=1),
        **{name: steps[:, column] for name, column in LAYER_BYTES.items()},
        "energy_pj": steps[:, k.ENERGY_PJ],
        **{f"{part}_pj": steps[:, column] for part, column in ENERGY_PARTS.items()},
        "overflow": steps[:, k.OVERFLOW],
        "mapping": [str(mappings.get(layer.name, "")) for layer in network.layers],
    }
