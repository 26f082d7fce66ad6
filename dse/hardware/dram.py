"""What the off-chip memory of a design gives and takes: bandwidth, area of its interface, energy, background power.

A design names a type and a number of channels (`dram_type`, `dram_channels`), or a bandwidth alone (`dram_gbps`).  Then
the technology has the energy of a bit and a price of the interface per GB/s, and no background power is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dse.hardware.accelerator import Accelerator
from dse.hardware.dram_types import DramType, dram_type_named
from dse.hardware.logic import distinct
from dse.hardware.technology import Technology


class Dram(NamedTuple):
    """Off-chip memory of n designs, each (n,): bandwidth [GB/s], area of the interface [mm2], energy of an access
    [pJ/byte], power that its devices take all the time [W]."""

    gbps: np.ndarray
    interface_mm2: np.ndarray
    pj_per_byte: np.ndarray
    background_w: np.ndarray


def dram_of(columns: Mapping[str, np.ndarray], technology: Technology) -> Dram:
    """The off-chip memory of designs, from their parameter columns, each (n,).

    Raises ValueError for an unknown type or one that lacks what it needs.
    """
    gbps, channels, (_, phy, energy, background) = _read(columns)
    return Dram(
        gbps,
        np.where(np.isnan(phy), gbps * technology.dram_interface_mm2_per_gbps, channels * phy),
        np.where(np.isnan(energy), technology.dram_pj_per_byte, energy),
        np.where(np.isnan(background), 0.0, channels * background),
    )


def bandwidth_gbps(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Off-chip bandwidth of designs, (n,) [GB/s]: `dram_gbps`, or what the DRAM type and its channels make it."""
    return _read(columns)[0]


def _read(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bandwidth and channels of designs, each (n,), and what `_of_channel` tells of their types, (4, n)."""
    for name in ("dram_type", "dram_channels", "dram_gbps"):
        if name not in columns:
            raise ValueError(f"columns lack {name!r}; give one array for each Accelerator parameter")
    channels, alone = (np.atleast_1d(np.asarray(columns[x], dtype=float)) for x in ("dram_channels", "dram_gbps"))
    types, codes = distinct(columns["dram_type"])
    of_types = np.array([_of_channel(x) for x in types], dtype=float).reshape(-1, 4)[codes].T
    return np.where(np.isnan(of_types[0]), alone, channels * of_types[0]), channels, of_types


def _of_channel(value: object) -> tuple[float, float, float, float]:
    """Rate, PHY, energy of a byte and background power of a channel; NaN where the type tells none, or is ""."""
    if not isinstance(value, str | DramType) or value == "":
        return (np.nan,) * 4
    found = dram_type_named(value)
    blank = [np.nan if x is None else x for x in (found.phy_mm2_per_channel, found.background_w_per_channel)]
    return found.of("channel_gbps"), blank[0], 8 * found.of("pj_per_bit"), blank[1]


def dram_pj_per_byte(design: Accelerator, technology: Technology) -> float:
    """Energy of an off-chip access of a design [pJ/byte]."""
    if isinstance(design.dram_type, DramType):
        return 8 * design.dram_type.of("pj_per_bit")
    return technology.dram_pj_per_byte


def dram_background_w(design: Accelerator) -> float:
    """Power that the DRAM of a design takes all the time [W]; 0 where none is known."""
    known = design.dram_type.background_w_per_channel if isinstance(design.dram_type, DramType) else None
    return 0.0 if known is None else design.dram_channels * known


def assumptions(dram_type: DramType | str, technology: Technology) -> list[str]:
    """What is assumed of a DRAM for want of published figures, in words; ``""``: of a design that names no type."""
    price = f"its PHY takes {technology.dram_interface_mm2_per_gbps:.3g} mm2 per GB/s, the price at {technology.name}"
    if not isinstance(dram_type, DramType):
        of = f"the DRAM, of no named type, takes {technology.dram_pj_per_bit:g} pJ/bit"
        return [f"{of}; {price}; its background power is left out"]
    lacking = [price] if dram_type.phy_mm2_per_channel is None else []
    lacking += ["its background power is left out"] if dram_type.background_w_per_channel is None else []
    return [f"{dram_type}: {' and '.join(lacking)}, for want of figures"] if lacking else []
