"""What an option of a dataflow says of mappings beyond the wires: whole rows, loop orders, what crosses the link once.

The mapper keeps to it by itself; here a mapping that is given is held to it.  `SpatialOption` says what each means.
"""

from __future__ import annotations

from collections.abc import Iterator

from dse.costs.mapping import Mapping, group_of
from dse.costs.traffic import all_times_moved
from dse.hardware.accelerator import Accelerator
from dse.hardware.dataflow import Dataflow, SpatialOption, dataflow_named
from dse.networks.layers import MacLayer


def check_restrictions(
    layer: MacLayer, design: Accelerator, mapping: Mapping, resident: frozenset[str] = frozenset()
) -> None:
    """Raise a ValueError, one line that names the level, for a mapping that its option does not allow.

    `resident`: what is on chip and does not cross the DRAM link (see `dse.costs.formulas`).
    """
    option = mapping.spatial_option(design)
    for level, wanted in _broken(layer, design, mapping, option, resident):
        raise ValueError(
            f"mapping of {layer.name!r} breaks option {mapping.option} of dataflow {str(design.dataflow)!r}: {level}: "
            f"{wanted}"
        )


def nothing_keeps(design: Accelerator) -> str:
    """What no mapping keeps to, where one would fit: the level, and what each option asks there."""
    options = enumerate(dataflow_named(design.dataflow).options)
    asks = [f"option {i} asks that {' and '.join(o.once)} cross it once" for i, o in options if o.once]
    return f"DRAM link, {'; '.join(asks)}, and no mapping that fits the buffers does"


def _broken(
    layer: MacLayer, design: Accelerator, mapping: Mapping, option: SpatialOption, resident: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """Level and what is wrong there, of every restriction that does not hold."""
    if option.whole_rows and mapping.t("OX") < layer.OX:
        yield "buffers", f"whole rows of outputs, OX={layer.OX}, but the tile has OX={mapping.t('OX')}"
    if mapping.stationary not in option.stationary:
        wanted = " or ".join(option.stationary)
        yield "array", f"its wires keep {wanted} stationary, but here {mapping.stationary} is"
    on_chip = {x for x, name in (("W", "weights"), ("I", "inputs")) if name in resident}
    past = [x for x in mapping.bypass if x not in design.bypass and x not in on_chip]
    if past:
        yield "buffers", f"the design lets {design.bypass or 'nothing'} bypass them, but here {''.join(past)} does"
    if option.bypass is not None and (set(option.bypass) ^ set(mapping.bypass)) - on_chip:
        yield "buffers", f"{option.bypass or 'nothing'} bypasses them, but here {mapping.bypass or 'nothing'} does"
    if option.dram_orders and not any(_innermost(order[-1], layer, mapping) for order in option.dram_orders):
        inner = " or ".join(order[-1] for order in option.dram_orders)
        loops = mapping.dram_loops(layer)
        order = " ".join(d for d in mapping.dram_loop_order() if loops[d][0] > 1)
        yield "DRAM loops", f"those of {inner} (P: B OY OX, R: C FY FX) are innermost, but here they are {order}"
    array, tiles = all_times_moved(layer, design, mapping)
    for x in option.once:
        times = 1 if x in on_chip else (array if x in mapping.bypass else tiles)[x]
        if times > 1:
            yield "DRAM link", f"{x} crosses it once, but here {times} times"


def _innermost(group: str, layer: MacLayer, mapping: Mapping) -> bool:
    """Whether the DRAM loops of a group are inside all others, of those with several trips."""
    loops = mapping.dram_loops(layer)
    inside = [group_of(d) == group for d in mapping.dram_loop_order() if loops[d][0] > 1]
    return inside == sorted(inside)


def check_frozen(dataflow: Dataflow | str) -> None:
    """Raise a ValueError where mappings frozen in hardware cannot keep to what the first option asks for.

    Frozen tiles are cut to each layer and nothing bypasses the buffers, whatever the option says.
    """
    flow = dataflow_named(dataflow)
    option = flow.options[0]
    names = [name for name in ("whole_rows", "dram_orders", "once", "bypass") if getattr(option, name)]
    if names:
        raise ValueError(
            f"option 0 of dataflow {flow.name!r} restricts mappings ({', '.join(names)}), and frozen ones do not "
            "keep to it; leave that out, or let the mapper choose"
        )
