"""Area and energy from one technology node to another: Stillmaker and Baas, Integration 58 (2017).

Area is a published matrix.  Energy is a published polynomial in the supply voltage for each node and
transistor type; a ratio of two polynomials, each at its node's nominal voltage, scales an energy.
Nodes between two published ones are interpolated log-log in the node's name.  The capacitance of a pin
follows two open cell libraries.  DRAM and leakage do not follow these laws and are not scaled with them;
the PHY of the DRAM has a law of its own.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

NOMINAL_VDD_V = {65: 1.1, 45: 1.0, 32: 0.9, 20: 0.9, 16: 0.85, 14: 0.8, 10: 0.75, 7: 0.7}
"""Supply at which each node's energy polynomial is read [V]: the nominal voltages of the high-performance
predictive models (PTM, PTM-MG) that Stillmaker and Baas simulated."""

NODES_NM = (65, 45, 28, 22, 16, 7)
"""Nodes offered by name; 28 and 22 nm are interpolated between 32 and 20 nm."""

SOURCE = "Stillmaker and Baas, Integration 58 (2017)"

PIN_EXPONENT = math.log(0.95 / 0.475) / math.log(45 / 7)
"""Capacitance of a clock pin ~ node^0.37: 0.95 fF at 45 nm (NanGate45, DFF_X1), 0.475 fF at 7 nm (ASAP7, DFFHQNx1)."""


def _rows(file: str) -> list[dict[str, str]]:
    text = (files("dse") / "data" / file).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def area_matrix() -> dict[int, dict[int, float]]:
    """``area_matrix()[from_nm][to_nm]``: the factor on an area [1], 180 to 7 nm, as published."""
    return {
        int(row["from_nm"]): {int(k.removeprefix("to_")): float(v) for k, v in row.items() if k.startswith("to_")}
        for row in _rows("node_scaling_area.csv")
    }


@cache
def energy_polynomials() -> dict[str, tuple[float, float, float]]:
    """Coefficients (b2, b1, b0) of ``energy(V) = b2 V^2 + b1 V + b0`` [fJ] by node name, such as ``HP45`` or ``65``."""
    return {
        row["node"]: (float(row["energy_b2"]), float(row["energy_b1"]), float(row["energy_b0"]))
        for row in _rows("node_scaling_polynomials.csv")
    }


def switching_energy_fj(node_nm: int, vdd_v: float) -> float:
    """Energy of the reference circuit at a published node and voltage [fJ], high-performance transistors."""
    table = energy_polynomials()
    b2, b1, b0 = table[f"HP{node_nm}"] if f"HP{node_nm}" in table else table[str(node_nm)]
    return b2 * vdd_v**2 + b1 * vdd_v + b0


def _published(node_nm: int, base_nm: int, quantity: str) -> float:
    if quantity == "area":
        return area_matrix()[base_nm][node_nm]
    energy = {n: switching_energy_fj(n, NOMINAL_VDD_V[n]) for n in (node_nm, base_nm)}
    return energy[node_nm] / energy[base_nm]


def scale_factor(quantity: str, node_nm: float, base_nm: int = 45) -> float:
    """Factor [1] that brings an ``"area"``, an ``"energy"`` or a ``"pin"`` capacitance from `base_nm` to `node_nm`.

    A published node is its cell of the table; a node between two published ones is interpolated
    log-log between its neighbours (power law in the node's name through both).
    """
    if base_nm not in NOMINAL_VDD_V:
        raise ValueError(f"no scaling from {base_nm} nm; the published nodes are {_listed(NOMINAL_VDD_V)}")
    if node_nm == base_nm:
        return 1.0
    if quantity == "pin":
        return (node_nm / base_nm) ** PIN_EXPONENT
    if node_nm in NOMINAL_VDD_V:
        return _published(int(node_nm), base_nm, quantity)
    above = [n for n in NOMINAL_VDD_V if n > node_nm]
    below = [n for n in NOMINAL_VDD_V if n < node_nm]
    if not (above and below):
        raise ValueError(f"node_nm={node_nm!r} is outside the published range of 7 to 65 nm")
    high, low = min(above), max(below)
    share = math.log(high / node_nm) / math.log(high / low)
    ends = [1.0 if n == base_nm else _published(n, base_nm, quantity) for n in (high, low)]
    return ends[0] * (ends[1] / ends[0]) ** share


DRAM_PHY_MM2_PER_GBPS = {40: 0.30, 6: 0.076}
"""Published PHYs of two generations of DRAM, by node of the chip [mm2 per GB/s], without controllers.

DDR3-2133, 16 bit, 1.3 mm2 for 4.27 GB/s (Synopsys, as quoted in McPAT's memoryctrl.cc); DDR5-4800, 32 bit, 1.45 mm2 for
19.2 GB/s (die photographs; PrincetonUniversity/LLMCompass, cost_model.py)."""

PUBLISHED_DRAM_PHY_MM2_PER_GBPS = (0.02, 0.30)
"""Least and largest published price of a PHY [mm2 per GB/s]: HBM2E at 7 nm, and the DDR3 of the table above at 40 nm;
LPDDR4 at 10 nm takes 0.065.  The generation of the memory decides more than the node of the chip."""


def dram_phy_mm2_per_gbps(node_nm: float) -> float:
    """Price of a DRAM PHY on a chip of a node [mm2 per GB/s]: a power law through `DRAM_PHY_MM2_PER_GBPS`.

    A PHY hardly shrinks; but a chip has the memory of its time, which moves more a pin and mm2.  Above 40 nm the price
    stays, since no larger one is published.
    """
    (old_nm, old), (new_nm, new) = DRAM_PHY_MM2_PER_GBPS.items()
    return min(old, old * (node_nm / old_nm) ** (math.log(old / new) / math.log(old_nm / new_nm)))


def nominal_vdd_v(node_nm: float) -> float:
    """Supply voltage that goes with `scale_factor` [V]; linear between published nodes."""
    if node_nm in NOMINAL_VDD_V:
        return NOMINAL_VDD_V[int(node_nm)]
    high = min(n for n in NOMINAL_VDD_V if n > node_nm)
    low = max(n for n in NOMINAL_VDD_V if n < node_nm)
    share = (high - node_nm) / (high - low)
    return NOMINAL_VDD_V[high] * (1 - share) + NOMINAL_VDD_V[low] * share


def _listed(nodes: Iterable[int]) -> str:
    return ", ".join(str(n) for n in nodes)
