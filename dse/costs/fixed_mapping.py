"""Mappings frozen in hardware: one loop order, one set of tiles for all layers, as design variables.

The setting of Yu et al. (IEEE TC 2021), where loop order and tile sizes are parameters of the accelerator; elsewhere in
this library every layer gets its best mapping.  Per layer the wires (first spatial option of the dataflow) decide
what works side by side, and the frozen numbers are cut to the layer: a buffer tile to the loop's bound, a register
tile to the steps inside the tile.  Filters are whole in a tile, groups and batch go one spatial step at a time,
nothing bypasses the buffers.  A tile that does not fit a buffer or the registers is no working design for that network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping as MappingType
from pathlib import Path

import numpy as np
from numba import njit

from dse.costs import kernels as k
from dse.costs.kernel_rows import design_rows, layer_row, parameter_columns
from dse.costs.mapping import DRAM_ORDERS, Mapping
from dse.costs.several_networks import SeveralEvaluator
from dse.hardware.accelerator import Accelerator
from dse.hardware.space import DesignSpace, ExtendedSpace
from dse.hardware.technology import Technology
from dse.hardware.variables import Variable
from dse.networks.layers import OPERANDS, MacLayer

_POWERS = tuple(2**i for i in range(13))
_ORDERS = {"".join(order): i for i, order in enumerate(DRAM_ORDERS[:3])}

FIXED: dict[str, tuple] = {
    "fixed_tile_k": _POWERS,
    "fixed_tile_c": _POWERS,
    "fixed_tile_oy": _POWERS[:10],
    "fixed_tile_ox": _POWERS[:10],
    "fixed_register_k": _POWERS[:7],
    "fixed_register_c": _POWERS[:7],
    "fixed_register_oy": _POWERS[:5],
    "fixed_register_ox": _POWERS[:7],
    "fixed_register_fx": _POWERS[:4],
    "fixed_order": tuple(_ORDERS),
    "fixed_stationary": OPERANDS,
}
"""Variables of a frozen mapping and their levels: tiles of the buffers [elements of the loop]; tiles of the registers
[spatial steps]; the order of the DRAM loops, outer to inner (groups as in `dse.costs.mapping`; the others change
nothing); the operand that stays in the registers, or the first that the wires allow."""

MEANINGS = {
    **{f"fixed_tile_{d}": ("1", f"buffer tile of {d.upper()}, elements of the loop") for d in ("k", "c", "oy", "ox")},
    **{
        f"fixed_register_{d}": ("1", f"register tile of {d.upper()}, spatial steps")
        for d in ("k", "c", "oy", "ox", "fx")
    },
    "fixed_order": ("-", "order of the DRAM loops, outer to inner"),
    "fixed_stationary": ("-", "operand that stays in the registers, where the wires allow it"),
}
"""Unit and meaning of each variable."""

N_FIXED = len(FIXED)
_TILE_K, _REGISTER_K, _ORDER, _STATIONARY = 0, 4, 9, 10


class FixedMappingSpace(ExtendedSpace):
    """A hardware space with the variables of `FIXED` added."""

    def __init__(self, hardware: DesignSpace) -> None:
        frozen = [Variable(name, levels, isinstance(levels[0], str)) for name, levels in FIXED.items()]
        super().__init__(hardware, frozen, f"{hardware.name}, mapping fixed")


def fixed_rows(columns: MappingType[str, np.ndarray]) -> np.ndarray:
    """The variables of `FIXED` as kernel rows, (n, N_FIXED): texts by their number."""
    numbers = {"fixed_order": _ORDERS, "fixed_stationary": {x: i for i, x in enumerate(OPERANDS)}}
    rows = np.empty((len(columns["fixed_order"]), N_FIXED))
    for j, name in enumerate(FIXED):
        values = columns[name]
        rows[:, j] = [numbers[name][value] for value in values] if name in numbers else values
    return rows


def _compiled(stamp: int):
    """The compiled functions.

    numba keeps them on disk and notices a change in this file, but not one in `dse.costs.kernels`, whose functions they
    contain; it does compare the values that a function closes over, so `stamp` is a hash of that module's source.
    """

    @njit(nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    def fill(layer, design, option, fixed, mapping):
        k.spatial_factors(layer, design, option, mapping)
        for d in range(8):
            mapping[k.MAP_T + d] = mapping[k.MAP_S + d]
            mapping[k.MAP_R + d] = 1.0
        for i, d in enumerate((k.K, k.C, k.OY, k.OX)):
            mapping[k.MAP_T + d] = min(fixed[_TILE_K + i], layer[d])
        mapping[k.MAP_T + k.FY], mapping[k.MAP_T + k.FX] = layer[k.FY], layer[k.FX]
        for i, d in enumerate((k.K, k.C, k.OY, k.OX, k.FX)):
            inside = min(mapping[k.MAP_T + d], layer[d])
            if option[k.OPT_FLATTEN]:
                if d == k.FX:
                    continue
                if d == k.C:
                    inside *= layer[k.FY] * layer[k.FX]
            mapping[k.MAP_R + d] = min(fixed[_REGISTER_K + i], np.ceil(inside / mapping[k.MAP_S + d]))
        mapping[k.MAP_DRAM_ORDER] = fixed[_ORDER]
        stays = int(fixed[_STATIONARY])
        if option[k.OPT_W + stays] == 0:
            for a in range(2, -1, -1):
                if option[k.OPT_W + a] > 0:
                    stays = a
        mapping[k.MAP_STATIONARY] = stays

    @njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
    def fixed_row(layer, design, option, fixed, mapping):
        if stamp >= 0:
            fill(layer, design, option, fixed, mapping)

    @njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
    def evaluate_fixed(designs, fixed, options, layers, vectors, steps, inputs, tensors, weight_elements,
                       done, results, resident, usage, mapping, out, totals):  # fmt: skip
        for row in range(designs.shape[0] if stamp >= 0 else 0):
            design = designs[row]
            option = options[int(design[k.OPTION_FIRST])]
            totals[row] = 0.0
            done[:] = False
            k.resident_tensors(design, tensors, usage, resident)
            holder = design[k.BUFFER_W]
            alone = holder != design[k.BUFFER_I] and holder != design[k.BUFFER_O]
            capacity = design[k.CAPACITY_0 + int(holder)]
            for i in range(steps.shape[0]):
                step = steps[i]
                index, network = int(step[k.STEP_INDEX]), int(step[k.STEP_NETWORK])
                if step[k.STEP_IS_VECTOR]:
                    k.vector_step(design, vectors[index], step, inputs, tensors, resident, out)
                    for column in range(k.N_RESULT):
                        totals[row, network, column] += step[k.STEP_REPEATS] * out[column]
                    continue
                weights_fit = weight_elements[network] * design[k.WEIGHT_BYTES] <= capacity
                weights_stay = design[k.RESIDENT_WEIGHTS] > 0 and alone and weights_fit
                static = layers[index, k.STATIC_WEIGHTS] > 0
                variant = k._variant(design, step, inputs, resident, static, weights_stay)
                if not done[index, variant]:
                    fill(layers[index], design, option, fixed[row], mapping)
                    k.evaluate_mapping(layers[index], design, option, mapping, variant, results[index, variant])
                    done[index, variant] = True
                for column in range(k.N_RESULT):
                    totals[row, network, column] += step[k.STEP_REPEATS] * results[index, variant, column]

    return fixed_row, evaluate_fixed


_fixed_row, _evaluate_fixed = _compiled(int(hashlib.sha256(Path(k.__file__).read_bytes()).hexdigest()[:12], 16))


def fixed_mapping(layer: MacLayer, design: Accelerator, frozen: MappingType[str, float | str]) -> Mapping:
    """The mapping that a layer gets on a design whose frozen variables, all of `FIXED`, are `frozen`."""
    rows, options = design_rows(parameter_columns(design), Technology.at())
    fixed = fixed_rows({name: [frozen[name]] for name in FIXED})
    row = np.zeros(k.N_MAP)
    _fixed_row(layer_row(layer), rows[0], options[int(rows[0, k.OPTION_FIRST])], fixed[0], row)
    return Mapping.from_row(row)


def _fixed_totals(rows: np.ndarray, options: np.ndarray, arguments: tuple, mode: int, slack: float) -> np.ndarray:
    """Kernel totals of designs whose rows go on with `fixed_rows`, (n, n_networks, N_RESULT)."""
    layers, _, steps, _, tensors, weight_elements = arguments
    totals = np.empty((len(rows), len(weight_elements), k.N_RESULT))
    designs, fixed = np.ascontiguousarray(rows[:, : k.N_DESIGN]), np.ascontiguousarray(rows[:, k.N_DESIGN :])
    _evaluate_fixed(
        designs, fixed, options, *arguments, np.zeros((len(layers), 16), dtype=bool),
        np.zeros((len(layers), 16, k.N_RESULT)), np.zeros(len(tensors), dtype=bool), np.empty(len(steps)),
        np.zeros(k.N_MAP), np.zeros(k.N_RESULT), totals,
    )  # fmt: skip
    return totals


class FixedMappingEvaluator(SeveralEvaluator):
    """As `SeveralEvaluator`, for columns of a `FixedMappingSpace`: every layer under the design's frozen mapping."""

    chunk_totals = staticmethod(_fixed_totals)

    def kernel_rows(self, columns: MappingType[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Kernel rows with those of `fixed_rows` after them, (n, N_DESIGN + N_FIXED), and the options."""
        rows, options = design_rows(columns, self.technology)
        return np.column_stack([rows, fixed_rows(columns)]), options
