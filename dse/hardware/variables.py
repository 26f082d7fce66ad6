"""The variables of a hardware space: an `Accelerator` parameter and its levels, checked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from dse.hardware.accelerator import NAMED, PARAMETERS, Accelerator, buffer_groups
from dse.hardware.dataflow import Dataflow, check_fits, dataflow_named
from dse.hardware.dram_types import DramType
from dse.networks.toml_file import check_known

Level = float | str | bool | Dataflow | DramType


@dataclass(frozen=True, init=False)
class Ordered:
    """Levels in rising order, such as ``Ordered(4, 8, 16)``: neighbours are similar designs."""

    levels: tuple[Level, ...]

    def __init__(self, *levels: Level) -> None:
        object.__setattr__(self, "levels", levels)


@dataclass(frozen=True, init=False)
class Category:
    """Choices without an order, such as ``Category("broadcast", "systolic")``."""

    levels: tuple[Level, ...]

    def __init__(self, *levels: Level) -> None:
        object.__setattr__(self, "levels", levels)


@dataclass(frozen=True)
class Variable:
    """One variable of a space: the `Accelerator` parameter it sets, its levels, and whether they have an order."""

    name: str
    levels: tuple[Level, ...]
    is_category: bool

    @property
    def unit(self) -> str:
        """Unit of the levels; "" where they have none."""
        unit = PARAMETERS[self.name].unit if self.name in PARAMETERS else ""
        return "" if unit in ("1", "-") else unit


def make_variable(name: str, levels: object, base: Accelerator) -> Variable:
    """A variable from what the user wrote; its levels may still be refused by `Accelerator`."""
    check_known(name, PARAMETERS, "variable")
    if isinstance(levels, str | bytes) or not isinstance(levels, Ordered | Category | Iterable):
        raise ValueError(f"variable {name!r}: give a list of levels, got {levels!r}")
    given = tuple(levels.levels) if isinstance(levels, Ordered | Category) else tuple(levels)
    values = tuple(x.item() if isinstance(x, np.generic) else x for x in given)
    if len(values) < 2:
        fix = f"set it in the base instead: Accelerator({name}={values[0]!r})" if values else "give at least two"
        raise ValueError(f"variable {name!r} has {('no level', 'one level')[len(values)]}; {fix}")
    check_kind(name, values)
    numbers = [x for x in values if isinstance(x, int | float) and not isinstance(x, bool)]
    numeric = len(numbers) == len(values)
    if isinstance(levels, Ordered) and not numeric:
        raise ValueError(f"variable {name!r}: {values[0]!r} has no order; write Category(...) or a plain list")
    duplicates = [x for i, x in enumerate(values) if x in values[:i]]
    if duplicates:
        twice = str(duplicates[0]) if isinstance(duplicates[0], NAMED) else duplicates[0]
        raise ValueError(f"variable {name!r} lists level {twice!r} twice")
    is_category = isinstance(levels, Category) or not numeric
    if not is_category and numbers != sorted(numbers):
        raise ValueError(f"variable {name!r}: ordered levels must rise, got {levels_text(values)}; sort them")
    return Variable(name, values, is_category)


_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "flag": ("true or false", (bool,)),
    "choice": ("a text", (str,)),
    "operands": ("a text", (str,)),
    "dataflow": ("a dataflow or its name", (str, Dataflow)),
    "dram": ("a DRAM type or its name", (str, DramType)),
}


def check_kind(name: str, values: tuple[object, ...]) -> None:
    """Numbers for number parameters, texts for texts, bools for bools."""
    kind, types = _KINDS.get(PARAMETERS[name].kind, ("a number", (int, float)))
    for x in values:
        if not isinstance(x, types) or (isinstance(x, bool) and bool not in types):
            raise ValueError(f"{name} takes {kind}, got {x!r}")


def checked_levels(variable: Variable, variables: tuple[Variable, ...], base: Accelerator) -> Variable:
    """The variable with every level as `Accelerator` holds it, each built once with the first levels of the others."""
    others = {v.name: v.levels[0] for v in variables}
    levels = []
    for level in variable.levels:
        try:
            levels.append(getattr(base.with_parameters(others | {variable.name: level}), variable.name))
        except ValueError as error:
            told = str(level) if isinstance(level, NAMED) else level
            raise ValueError(f"variable {variable.name!r}, level {told!r}: {error}") from None
    return replace(variable, levels=tuple(levels))


def check_corners(variables: tuple[Variable, ...], base: Accelerator) -> None:
    """Build the worst combinations: what `Accelerator` refuses only gets worse as these levels go to their ends.

    A buffer must hold a word of its port (least capacity, widest port), a port must feed its banks (narrowest port,
    most banks), and the array must have the sub-axes of a dataflow (fewest rows and columns).
    """
    levels = {v.name: v.levels for v in variables}
    typed = any(levels.get("dram_type", (base.dram_type,)))
    if "dram_gbps" in levels and typed:
        raise ValueError("variable 'dram_gbps': the dram_type of a design sets it; leave it out and vary dram_channels")
    if "dram_channels" in levels and not typed:
        raise ValueError("variable 'dram_channels': it does nothing without a dram_type; name one, or vary dram_gbps")
    check_dataflows(levels.get("dataflow", (base.dataflow,)), levels, base)
    arrangements = levels.get("buffers", (base.buffers,))
    for arrangement, widest in itertools.product(arrangements, (True, False)):
        corner: dict[str, Level] = {"buffers": arrangement}
        for name, ends in (("kib", min), ("width_bytes", max if widest else min), ("banks", max)):
            for operand in ("weight", "input", "output"):
                parameter = f"{operand}_buffer_{name}"
                corner[parameter] = ends(levels.get(parameter, (getattr(base, parameter),)))
        try:
            base.with_parameters(corner)
        except ValueError as error:
            shared = " and ".join("+".join(group) for group in buffer_groups(str(arrangement)))
            raise ValueError(f"some levels do not go together (buffers {shared}): {error}") from None


def check_dataflows(
    flows: Iterable[object], levels: Mapping[str, tuple[Level, ...]], base: Accelerator, parts: bool = False
) -> None:
    """Raise a ValueError where a design of these `levels` over a base cannot have one of the dataflows.

    `parts`: they are those of sub-arrays, which are as wide as the division makes them: the widest design decides.
    """
    rows, cols, bypass = (levels.get(name, (getattr(base, name),)) for name in ("rows", "cols", "bypass"))
    width = max(cols) if parts else min(cols)
    for flow, allowed in itertools.product(flows, bypass):
        try:
            if isinstance(flow, str | Dataflow):
                check_fits(dataflow_named(flow), int(min(rows)), int(width), str(allowed))
        except ValueError as error:
            raise ValueError(f"some levels do not go together (rows, cols, bypass and dataflow): {error}") from None


def levels_text(levels: Iterable[Level]) -> str:
    return ", ".join(f"{x:g}" if isinstance(x, int | float) and not isinstance(x, bool) else str(x) for x in levels)
