"""The probe set: what the cost model computes on fixed designs and layers.  It shows whether the model has changed.

A run is known by the numbers of its model, not by the text of its source: `probe_values` reaches every line of the
kernel, of area and of leakage, and its values stand in the manifest of every run (see `dse.runs.identity`).  The
designs and layers are written here and depend on no space, so that only a change of the model changes the values.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Unpack

import numpy as np

from dse.costs import kernels as k
from dse.costs.batches import BatchEvaluator, step_results
from dse.costs.bounds import BoundEvaluator
from dse.costs.fixed_mapping import FIXED, FixedMappingEvaluator
from dse.costs.kernel_rows import (
    EFFORTS,
    NetworkTables,
    columns_of,
    design_rows,
    layer_row,
    mapper_mode,
    network_tables,
)  # fmt: skip
from dse.costs.mapping import Mapping
from dse.costs.residency.keeper import Keeper
from dse.costs.results import metric_columns
from dse.hardware.accelerator import BUFFER_ARRANGEMENTS, INTERCONNECTS, PORT_MODELS, SPARSE_WEIGHTS, Accelerator
from dse.hardware.area import area_mm2, leakage_w
from dse.hardware.dataflow import Dataflow, SpatialOption, dataflow_named
from dse.hardware.dram_types import DramType
from dse.hardware.technology import Technology
from dse.hardware.weight_forms import AS_THE_DESIGN, weight_form
from dse.networks.layers import LOOPS, MacLayer, Network, Sizes, VectorLayer

N_DESIGNS = 65
N_FROZEN = 16
N_ORDERED = 24
"""Designs of the probe set; those that also run frozen mappings; layers that also run in a given loop order."""

COMPLETE_DESIGNS = (1, 28, 41)
"""Numbers of the designs whose mappings of small layers are also searched completely."""

MODES = (("latency", 0.01), ("latency", 0.0), ("energy", 0.0), ("edp", 0.0))
"""What the mapper minimises, in turn over the designs: objective and slack."""

RESTRICTED = Dataflow("restricted", (
    SpatialOption(("C", "K<=2"), ("OX2", "OY"), ("W", "O"), whole_rows=True, least_dram=True, bypass=""),
    SpatialOption((), ("K",), ("O",), dram_orders=("PRK", "KPR"), once="O"),
))  # fmt: skip
PASSING = Dataflow("passing", (SpatialOption(("C",), ("K",), ("W", "O"), once="WIO"),))
"""Dataflows whose options leave few mappings: sub-axes, caps and every kind of restriction; past the buffers only once.
"""

_REGISTER_BYTES, _KIB, _WIDTHS = (1, 2, 4, 16, 64, 300), (1, 2, 6, 32, 256), (1, 8, 32, 100)
LEVELS: dict[str, tuple] = {
    "rows": (1, 3, 4, 8, 16, 32),
    "cols": (2, 4, 7, 8, 16, 64),
    "macs_per_pe": (1, 2, 4, 9, 16),
    "dataflow": (
        "weight_stationary", "weight_stationary_im2col", "output_stationary", "input_stationary", "row_stationary",
        "channel_vector", "output_pixels", "row_stationary_sets", "flexible", RESTRICTED,
    ),
    "interconnect": INTERCONNECTS,
    "overlap_skew": (True, False),
    "overlap_load": (True, False, True),
    "weight_register_bytes": _REGISTER_BYTES,
    "input_register_bytes": _REGISTER_BYTES,
    "output_register_bytes": (4, 8, 32, 256, 1024),
    "buffers": BUFFER_ARRANGEMENTS,
    "weight_buffer_kib": _KIB,
    "input_buffer_kib": _KIB,
    "output_buffer_kib": _KIB,
    "weight_buffer_width_bytes": _WIDTHS,
    "input_buffer_width_bytes": _WIDTHS,
    "output_buffer_width_bytes": _WIDTHS,
    "weight_buffer_banks": (1, 4, 2),
    "input_buffer_banks": (1, 4, 2),
    "output_buffer_banks": (1, 4, 2),
    "double_buffered": ("WIO", "WIO", "", "W", "IO"),
    "bypass": ("", "", "W", "O", "I", "WIO"),
    "resident_activation_fraction": (0.0, 0.3, 0.7),
    "resident_weights": (False, True),
    "buffets": ("", "", "", "W", "WIO"),
    "reload_every_tile": (False, False, True),
    "padded_tiles": ("", "", "", "WIO", "I"),
    "feature_map_compression": (1.0, 1.0, 0.6),
    "dram_gbps": (0.5, 2, 16, 100),
    "clock_ghz": (1.0, 0.6, 1.5),
    "weight_bits": (8, 4, 16),
    "activation_bits": (8, 16, 12),
    "accumulator_bits": (32, 24, 16),
    "vector_lanes": (1, 4, 32),
    "port_model": PORT_MODELS,
    "separate_ports": ("", "", "O", "WI", "WIO"),
    "engine_flip_flop_bits": (0.0, 0.0, 75_000.0),
    "dram_type": (DramType("known in part", 12.8, 6.0), "", "", "", "", "HBM2"),
    "dram_channels": (1.0, 2.0, 0.5),
}  # fmt: skip
"""Levels of every parameter in the probe set."""


def _spread(i: int, j: int, levels: tuple) -> object:
    """A level of variable `j` for probe `i`: the Weyl sequence of the root of a prime, equal on every machine."""
    prime = next(p for p in range(2 + 5 * j, 10_000) if all(p % d for d in range(2, math.isqrt(p) + 1)))
    return levels[int(((i + 1) * math.sqrt(prime)) % 1.0 * len(levels))]


@functools.cache
def probe_designs() -> tuple[Accelerator, ...]:
    """The designs of the probe set, `N_DESIGNS` of them: four as written here, the others spread over `LEVELS`."""
    roomy = dict.fromkeys(("weight_register_bytes", "input_register_bytes", "output_register_bytes"), 512)
    stopped = Accelerator(rows=32, cols=32, dataflow="weight_stationary_im2col", overlap_load=False, dram_gbps=400)
    written = (
        Accelerator(dataflow="flexible", rows=8, cols=8, dram_gbps=400).with_parameters(roomy),
        Accelerator(),
        stopped.with_parameters(
            {"vector_lanes": 1} | {f"{x}_buffer_width_bytes": 256 for x in ("weight", "input", "output")}
        ),
    )
    spread = tuple(
        Accelerator().with_parameters({name: _spread(i, j, levels) for j, (name, levels) in enumerate(LEVELS.items())})
        for i in range(1, N_DESIGNS - len(written))
    )
    small = {f"{x}_buffer_kib": 1 for x in ("weight", "input", "output")}
    return *written, *spread, Accelerator(dataflow=PASSING, rows=8, cols=8, bypass="WIO").with_parameters(small)


@functools.cache
def probe_network() -> Network:
    """Small layers of every kind, joined by tensors that may stay on chip."""

    def conv(
        name: str,
        reads: str,
        size: int,
        vector_operations: int = 0,
        fused_input: str = "",
        fused_input_elements: int = 0,
        **shape: Unpack[Sizes],
    ) -> MacLayer:
        shape = {"OY": size, "OX": size, **shape}
        return MacLayer(
            name, "Conv", inputs=(reads,), output=name, vector_operations=vector_operations, fused_input=fused_input,
            fused_input_elements=fused_input_elements, **shape,
        )  # fmt: skip

    layers = (
        conv("stem", "image", 16, K=24, C=3, FY=7, FX=7, pad_y=3, pad_x=3, IY=32, IX=32, stride_y=2, stride_x=2,
             vector_operations=6144),
        VectorLayer("pool", "MaxPool", 13824, 6144, 1536, inputs=("stem",), output="pool"),
        conv("conv", "pool", 8, K=32, C=24, FY=3, FX=3, pad_y=1, pad_x=1, IY=8, IX=8, vector_operations=2048),
        conv("expand", "conv", 8, K=96, C=32),
        conv("depthwise", "expand", 4, G=96, FY=3, FX=3, pad_y=1, pad_x=1, IY=8, IX=8, stride_y=2, stride_x=2),
        conv("project", "depthwise", 4, K=48, C=96),
        conv("dilated", "project", 4, G=2, K=24, C=24, FY=3, FX=3, dilation_y=2, dilation_x=2, pad_y=2, pad_x=2, IY=4,
             IX=4, fused_input="project", fused_input_elements=768, vector_operations=768),
        conv("strided", "dilated", 1, K=7, C=48, FY=2, FX=2, stride_y=3, stride_x=3, IY=4, IX=4),
        MacLayer("query", K=64, C=48, OX=16, inputs=("dilated",), output="query"),
        MacLayer("scores", "MatMul", B=4, K=16, C=16, OX=16, static_weights=False, inputs=("query", "query"),
                 output="scores"),
        VectorLayer("softmax", "Softmax", 5120, 1024, 1024, inputs=("scores",), output="softmax"),
        MacLayer("step", "LSTM", K=160, C=80, repeats=5, inputs=("softmax",), output="step"),
        VectorLayer("look up", "Gather", 0, 8, 512, weight_elements=512, output="look up"),
        VectorLayer("joined", "Concat", 0, 0, 0, inputs=("softmax", "look up"), output="joined"),
        MacLayer("joint", K=8, C=16, OX=96, inputs=("joined",), output="joint"),
        MacLayer("classes", "Gemm", B=2, K=100, C=333, inputs=("step",), output="classes", zero_share=0.3),
        MacLayer("one", K=1, C=1, OX=3),
    )  # fmt: skip
    sizes = {"image": 3072, "query": 1024}
    sizes |= {layer.output: layer.output_elements for layer in layers if layer.output} | {"joined": 1536}
    return Network("probe", layers, tensor_elements=sizes)


def _small_network() -> Network:
    """Layers that a complete search is quick with."""
    layers = (
        MacLayer("conv", "Conv", K=5, C=6, OY=3, OX=20, FY=2, FX=2, pad_x=1, IY=4, IX=19),
        MacLayer("depthwise", "Conv", G=6, OY=4, OX=3, FY=3, FX=1, stride_y=2, IY=9, IX=3),
        MacLayer("product", "MatMul", B=2, K=7, C=70, OX=3),
        MacLayer("causal", "Conv", K=2, OX=66, FX=3, pad_x=2, IX=66),
        VectorLayer("pool", "MaxPool", 100, 132, 50),
    )
    return Network("small", layers)


def _frozen_columns(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of the first designs with frozen mappings."""
    found = {name: values[:N_FROZEN] for name, values in columns.items()}
    for j, (name, levels) in enumerate(FIXED.items()):
        chosen = [_spread(i, j, levels[: 1 + len(levels) // 2]) for i in range(N_FROZEN)]
        found[name] = np.array(chosen, dtype=object if isinstance(levels[0], str) else float)
    return found


def _in_given_order(layer: MacLayer, row: np.ndarray, option: np.ndarray, mapping: Mapping, turn: int) -> np.ndarray:
    """Kernel results of a mapping whose loops run in another order, (N_RESULT,)."""
    turned = LOOPS[turn % 8 :] + LOOPS[: turn % 8]
    given = replace(mapping, dram_order=turned, array_order=turned[::-1] if turn % 3 else ())
    out = np.zeros(k.N_RESULT)
    k.evaluate_mapping(layer_row(layer), row, option, given.to_row(), turn % 16, out)
    return out


def read_only(values: dict[str, np.ndarray]) -> MappingProxyType[str, np.ndarray]:
    """The same values so that nobody changes what a cache gives to others."""
    for array in values.values():
        array.flags.writeable = False
    return MappingProxyType(values)


@functools.lru_cache(maxsize=8)
def probe_values(
    technology: Technology,
    chosen: tuple[int, ...] = tuple(range(N_DESIGNS)),
    complete: tuple[int, ...] = COMPLETE_DESIGNS,
) -> MappingProxyType[str, np.ndarray]:
    """What the model computes on the probe set with these constants, by name.

    Parameters
    ----------
    technology : the constants.
    chosen : numbers of the designs whose mappings are searched.
    complete : numbers of those whose mappings of small layers are searched completely.

    Returns
    -------
    Metrics by the names of `dse.runs.column_dictionary.METRICS`, each (n_designs,); ``leakage_w`` likewise; of every
    layer ``layer_cycles`` and ``layer_energy_pj``, (n_designs, n_layers); ``frozen_...`` of the first designs under
    frozen mappings; ``given_cycles`` of each step of the first under given ones; ``ordered_...`` of layers under given
    loop orders; ``complete_...`` of small layers; ``each_..._bound_...`` without a search, and of small layers
    ``searched_bound_cycles`` with one.  Some 5,000 numbers, 0.1 s; read-only, since they are kept.

    Raises
    ------
    RuntimeError : the model fails on a probe; the message names it.
    """
    network = probe_network()
    every = columns_of(probe_designs())
    columns = {name: values[list(chosen)] for name, values in every.items()}
    tables = network_tables(network)
    rows, options = design_rows(every, technology)
    totals, steps = np.empty((len(chosen), k.N_RESULT)), []
    for n, i in enumerate(chosen):
        objective, slack = MODES[i % len(MODES)]
        try:
            each, totals[n] = step_results(rows[i : i + 1], options, tables, *mapper_mode(objective, slack))
        except Exception as error:
            raise RuntimeError(f"the cost model fails on probe {i}, {probe_designs()[i]}: {error}") from error
        steps.append(each)
    values = metric_columns(columns, totals, technology)
    values = {"cycles": values["cycles"], **values, "area_mm2": area_mm2(columns, technology)}
    values["leakage_w"] = leakage_w(columns, technology)
    values["layer_cycles"] = np.array(steps)[:, :, k.CYCLES]
    values["layer_energy_pj"] = np.array(steps)[:, :, k.ENERGY_PJ]
    frozen = FixedMappingEvaluator([network], technology)(_frozen_columns(every))[network.name]
    values |= {f"frozen_{name}": frozen[name] for name in ("cycles", "energy_j", "dram_bytes", "overflow")}
    ordered = np.array(_ordered(rows, options, technology))
    for name, column in (("cycles", k.CYCLES), ("energy_pj", k.ENERGY_PJ), ("overflow", k.OVERFLOW)):
        values[f"ordered_{name}"] = ordered[:, column]
    found = BoundEvaluator(tables, technology)(every)
    values |= {f"each_{name}": found[name] for name in ("latency_bound_s", "energy_bound_j")}
    values["given_cycles"] = _given(rows[0], options, tables)
    small, best = network_tables(_small_network()), []
    for i in complete:
        mode = mapper_mode(*MODES[i % len(MODES)])
        best.append(step_results(rows[i : i + 1], options, small, *mode, EFFORTS["complete"])[0])
    for name, column in (("cycles", k.CYCLES), ("energy_pj", k.ENERGY_PJ)):
        values[f"complete_{name}"] = np.array(best).reshape(len(complete), len(small.steps), k.N_RESULT)[:, :, column]
    closer = BoundEvaluator(small, technology)
    chosen_columns = {name: every[name][list(complete)] for name in every}
    reached = np.full(len(complete), np.inf)
    for _ in range(2):  # what the default effort reaches, and then that of the complete
        searched = closer.searched_cycles(chosen_columns, reached, EFFORTS["complete"])
        reached = searched[:, 1]
    values["searched_bound_cycles"] = searched
    return read_only(values)


@functools.lru_cache(maxsize=8)
def _weight_values(technology: Technology) -> MappingProxyType[str, np.ndarray]:
    """`weight_probes` where there are any."""
    stated = ((0, ""), (4, ""), (0, "2:4"), (3, "2:4"))
    layers = tuple(
        MacLayer(f"stated {i}", K=24, C=40, OX=9, FX=1 + i % 2, weight_bits=bits, weight_sparsity=sparsity,
                 inputs=(f"t{i}",), output=f"t{i + 1}")
        for i, (bits, sparsity) in enumerate(stated)
    )  # fmt: skip
    designs = [
        replace(design, narrow_weight_bits=design.weight_bits // (2 + i % 2), sparse_weights=SPARSE_WEIGHTS[i // 2 % 2])
        for i, design in enumerate(probe_designs()[:N_FROZEN])
    ]
    columns = columns_of(designs)
    found = BatchEvaluator(Network("stated", layers), technology, objective="edp")(columns)
    return read_only({f"weights_{name}": values for name, values in found.items()})


def weight_probes(technology: Technology, networks: Iterable[Network]) -> dict[str, np.ndarray]:
    """What the model computes of narrow and 2:4 weights, by the names of the metrics; nothing where no layer has them.

    So they are no part of the identity of runs without such layers.
    """
    stated = any(weight_form(layer) != AS_THE_DESIGN for network in networks for layer in network.mac_layers)
    return dict(_weight_values(technology)) if stated else {}


def _given(row: np.ndarray, options: np.ndarray, tables: NetworkTables) -> np.ndarray:
    """Cycles of each step on one design under given mappings, those of the least energy, (n_steps,)."""
    best = Keeper(tables, options, k.ENERGY, 0.0, EFFORTS["default"]).cost(row, np.empty(0))
    given = np.zeros((len(tables.layers), k.N_MAP))
    is_mac = tables.steps[:, k.STEP_IS_VECTOR] == 0
    given[tables.steps[is_mac, k.STEP_INDEX].astype(int)] = best.maps[is_mac]
    keeper = Keeper(tables, options, k.LATENCY, 0.0, EFFORTS["default"])
    return keeper.cost(row, np.empty(0), given=given).results[:, k.CYCLES].copy()


def _ordered(rows: np.ndarray, options: np.ndarray, technology: Technology) -> list[np.ndarray]:
    """Kernel results of one layer on each of the first designs, its tiles one step each and its loops turned."""
    found, layers = [], probe_network().mac_layers
    for i in range(N_ORDERED):
        layer, design = layers[i % len(layers)], probe_designs()[i]
        spatial = dataflow_named(design.dataflow).options[0]
        flatten = spatial.flatten_reduction
        tiles = [layer.FY if d == "FY" else layer.FX if d == "FX" else min(2, getattr(layer, d)) for d in LOOPS]
        ones = [1] * len(LOOPS)
        mapping = Mapping(ones, ones, tiles if flatten else [min(3, getattr(layer, d)) for d in LOOPS], 1,
                          stationary=spatial.stationary[0], bypass=design.bypass)  # fmt: skip
        option = options[int(rows[i, k.OPTION_FIRST])]
        found.append(_in_given_order(layer, rows[i], option, mapping, i))
    return found
