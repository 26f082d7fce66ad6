"""Mappings frozen in hardware: one loop order, one set of tiles for all layers, as design variables.

The setting of Yu et al. (IEEE TC 2021), where loop order and tile sizes are parameters of the accelerator; elsewhere in
this library every layer gets its best mapping.  Per layer the wires (first spatial option of the dataflow) decide
what works side by side, and the frozen numbers are cut to the layer: a buffer tile to the loop's bound, a register
tile to the steps inside the tile.  Filters are whole in a tile, groups and batch go one spatial step at a time,
nothing bypasses the buffers.  A tile that does not fit a buffer or the registers is no working design for that network.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import NoReturn

import numpy as np

from dse.costs import kernels as k
from dse.costs.kernel_rows import design_rows, layer_row, parameter_columns
from dse.costs.mapping import DRAM_ORDERS, Mapping
from dse.costs.restrictions import check_frozen
from dse.costs.several_networks import SeveralEvaluator
from dse.hardware.accelerator import Accelerator
from dse.hardware.area import Columns
from dse.hardware.space import DesignSpace, ExtendedSpace
from dse.hardware.technology import Technology
from dse.hardware.variables import Variable
from dse.hardware.weight_forms import AS_THE_DESIGN, weight_form
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


class FixedMappingSpace(ExtendedSpace):
    """A hardware space with the variables of `FIXED` added."""

    def __init__(self, hardware: DesignSpace) -> None:
        for flow in hardware.dataflows:
            check_frozen(flow)
        frozen = [Variable(name, levels, isinstance(levels[0], str)) for name, levels in FIXED.items()]
        super().__init__(hardware, frozen, f"{hardware.name}, mapping fixed")


def fixed_rows(columns: Columns) -> np.ndarray:
    """The variables of `FIXED` as kernel rows, (n, N_FIXED): texts by their number."""
    numbers = {"fixed_order": _ORDERS, "fixed_stationary": {x: i for i, x in enumerate(OPERANDS)}}
    rows = np.empty((len(columns["fixed_order"]), k.N_FIXED))
    for name in FIXED:
        values = columns[name]
        column = getattr(k, name.upper())
        rows[:, column] = [numbers[name][value] for value in values] if name in numbers else values
    return rows


def fixed_mapping(layer: MacLayer, design: Accelerator, frozen: MappingType[str, float | str]) -> Mapping:
    """The mapping that a layer gets on a design whose frozen variables, all of `FIXED`, are `frozen`."""
    forms = (AS_THE_DESIGN, weight_form(layer))
    rows, options = design_rows(parameter_columns(design), Technology.at(), forms=forms)
    fixed = fixed_rows({name: np.array([frozen[name]], dtype=object) for name in FIXED})
    row = np.zeros(k.N_MAP)
    k.fixed_mapping(layer_row(layer), rows[0, k.N_DESIGN :], options[int(rows[0, k.OPTION_FIRST])], fixed[0], row)
    return Mapping.from_row(row)


class FixedMappingEvaluator(SeveralEvaluator):
    """As `SeveralEvaluator`, for columns of a `FixedMappingSpace`: every layer under the design's frozen mapping."""

    def with_effort(self, effort: str) -> NoReturn:
        """No mapping is looked for: a ValueError."""
        raise ValueError(
            "the mapping of every design is frozen in hardware, so there is none to look for again: explore with "
            "mapping='best'"
        )

    def kernel_rows(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Kernel rows with those of `fixed_rows` after them, (n, n_forms * N_DESIGN + N_FIXED), and the options."""
        rows, options = super().kernel_rows(columns)
        return np.column_stack([rows, fixed_rows(columns)]), options
