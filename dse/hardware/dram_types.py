"""Types of DRAM as data: rate, energy, PHY and background power of a channel, each with its source.

Those that ship are in ``dse/data/dram_types.toml``.  What is not published is blank there and not guessed: a type
without rate or energy per bit cannot be used as it is.  A type of one's own is a `DramType`, or a table of the file of
a space or beside a design; it may begin with another type::

    [dram_types.mine]
    base = "LPDDR5"
    pj_per_bit = 6
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.resources import as_file, files
from typing import Any

from dse.networks.toml_file import check_known, own_by_name, read_toml, toml_key, toml_value


@dataclass(frozen=True)
class DramType:
    """One channel of a type of DRAM; None where nothing is published.

    Parameters
    ----------
    name : label; files tell a type by it.
    channel_gbps : peak of a channel, reads and writes together [GB/s].
    pj_per_bit : energy of an access, device and interface [pJ/bit].
    phy_mm2_per_channel : area of the PHY on the chip, without the controller [mm2]; None: the stated price per GB/s
        of the technology stands for it.
    background_w_per_channel : power of the devices while nothing moves [W]; None: left out.
    sources : pairs of field and text, also for what is None.
    """

    name: str
    channel_gbps: float | None = None
    pj_per_bit: float | None = None
    phy_mm2_per_channel: float | None = None
    background_w_per_channel: float | None = None
    sources: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.strip()):
            raise ValueError(f"DRAM type: the name must be a text that is not empty, got {self.name!r}")
        for name in NUMBERS:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"DRAM type {self.name!r}: {name} must be a finite number, got {value!r}")
            if value < 0 or (name in NEEDED and value == 0):
                least = "positive" if name in NEEDED else "at least 0"
                raise ValueError(f"DRAM type {self.name!r}: {name} must be {least}, got {value!r}")
            object.__setattr__(self, name, float(value))

    def __str__(self) -> str:
        return self.name

    def of(self, name: str) -> float:
        """One of `NEEDED`; a ValueError that says what is known and how to give it where it is blank."""
        value = getattr(self, name)
        if value is not None:
            return value
        known = dict(self.sources).get(name)
        fix = f"{name} = ... in its table [dram_types.{toml_key(self.name)}], or base = ..., a type that has it"
        if self.name in DRAM_TYPES:
            fix = (
                "a type of your own in the file of the design or space: [dram_types.mine] with base = "
                f"{toml_value(self.name)} and {name} = ..."
            )
        raise ValueError(
            f"DRAM type {self.name!r} lacks {name}, {NEEDED[name]}{f' ({known})' if known else ''}; give {fix}"
        )

    def plain(self) -> dict[str, object]:
        """What decides its numbers, as JSON values; `DramType(**plain)` is the way back."""
        return {name: getattr(self, name) for name in ("name", *NUMBERS)}


NUMBERS = tuple(f.name for f in fields(DramType) if f.name not in ("name", "sources"))
NEEDED = {"channel_gbps": "the rate of a channel [GB/s]", "pj_per_bit": "the energy of an access [pJ/bit]"}
"""Fields that hold numbers; those without which a type cannot be used, in words."""


def types_of(tables: Mapping[str, object], known: Mapping[str, DramType]) -> dict[str, DramType]:
    """The types of a file's table ``[dram_types]``, by name; `known` may be the base of one.

    Raises ValueError that names table and key, and for the name of a known type.
    """
    found: dict[str, DramType] = {}
    for name, entries in tables.items():
        where = f"[dram_types.{toml_key(name)}]"
        if not isinstance(entries, dict):
            raise ValueError(f"{where}: expected a table with {', '.join(NUMBERS)}, got {entries!r}")
        if name in known:
            raise ValueError(
                f"{where}: {name} is a type that ships; rename it: files tell it by name.  base = "
                f"{toml_value(name)} begins with its numbers"
            )
        for key in entries:
            check_known(key, ("base", "sources", *NUMBERS), f"{where}: key")
        sources = entries.get("sources", {})
        if not isinstance(sources, dict) or not all(isinstance(text, str) for text in sources.values()):
            raise ValueError(f"{where}: sources must be a table of texts, got {sources!r}")
        for key in sources:
            check_known(key, NUMBERS, f"{where}: source of")
        values: dict[str, Any] = {key: value for key, value in entries.items() if key in NUMBERS}
        base = DramType(name)
        if "base" in entries:
            check_known(str(entries["base"]), known, f"{where}: base")
            base = replace(known[str(entries["base"])], name=name)
        told = {key: text for key, text in base.sources if key not in values} | sources
        try:
            found[name] = replace(base, **values, sources=tuple(told.items()))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return found


def _shipped() -> dict[str, DramType]:
    with as_file(files("dse") / "data" / "dram_types.toml") as path:
        return types_of(read_toml(path, ("dram_types",))["dram_types"], {})


DRAM_TYPES: dict[str, DramType] = _shipped()
"""Types that are known by name."""


def dram_type_named(dram_type: str | DramType, own: Mapping[str, DramType] | None = None) -> DramType:
    """The type of that name, among `own` or those that ship, or the value itself; complete enough to be used.

    Raises ValueError for an unknown name, with the nearest one, and for a type that lacks one of `NEEDED`.
    """
    if isinstance(dram_type, str):
        known = DRAM_TYPES if own is None else {**DRAM_TYPES, **own}
        check_known(dram_type, known, "DRAM type")
        dram_type = known[dram_type]
    for name in NEEDED:
        dram_type.of(name)
    return dram_type


def own_dram_types(values: Iterable[object]) -> dict[str, DramType]:
    """The types among `values` that do not ship, by name.

    Raises ValueError for two of one name and different numbers, those that ship included: files tell a type by its
    name.
    """
    return own_by_name((each for each in values if isinstance(each, DramType)), DRAM_TYPES, "DRAM type", "numbers")


def toml_lines(dram_types: Iterable[DramType]) -> list[str]:
    """Tables ``[dram_types.NAME]`` that `types_of` reads back equal, each with an empty line before it."""
    lines = []
    for each in dram_types:
        table = f"dram_types.{toml_key(each.name)}"
        numbers = [(name, getattr(each, name)) for name in NUMBERS]
        lines += ["", f"[{table}]", *(f"{name} = {toml_value(value)}" for name, value in numbers if value is not None)]
        if each.sources:
            lines += ["", f"[{table}.sources]", *(f"{name} = {toml_value(text)}" for name, text in each.sources)]
    return lines
