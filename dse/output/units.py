"""What a column of a table is called for people, and its unit; with how its numbers are written."""

from __future__ import annotations

from dse.runs.column_dictionary import COLUMNS, of_network, split_name
from dse.text.quantities import duration, duration_s, number, percent, quantity, scaled, value_in

__all__ = [
    "duration",
    "duration_s",
    "number",
    "percent",
    "quantity",
    "scaled",
    "unit_of",
    "value_in",
    "words",
]

_WORDS = {
    "edp_js": "energy-delay product",
    "ed2p_js2": "energy-delay\u00b2 product",
    "area_delay_mm2_s": "area-delay product",
    "core_area_mm2": "area without DRAM interface",
    "dram_bytes": "DRAM traffic",
    "utilisation": "MAC utilisation",
}


def words(name: str) -> str:
    """A column's name without its unit: ``latency_s`` gives "latency", ``dram_stall_cycles`` "DRAM stall"."""
    if name in _WORDS:
        return _WORDS[name]
    if own := of_network(name):
        return f"{words(own[0])} of {own[1]}"
    if name not in ("macs_per_pe",):
        name = split_name(name)[0]
    capital = {"dram": "DRAM", "io": "I/O", "macs": "MACs", "mac": "MAC", "pe": "PE"}
    return " ".join(capital.get(word, word) for word in name.split("_"))


def unit_of(name: str) -> str:
    """Unit of a column as in the column dictionary; for an unknown one what its name ends in; "" for a text."""
    if own := of_network(name):
        name = own[0]
    if name in COLUMNS:
        return COLUMNS[name].unit
    return split_name(name)[1]
