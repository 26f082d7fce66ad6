"""The column dictionary: unit and meaning of every column in the files of a run."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from dse.costs.results import ENERGY_PARTS
from dse.hardware import accelerator as parameters
from dse.hardware.area import AREA_BLOCKS
from dse.runs.problem_protocol import SearchProblem


@dataclass(frozen=True)
class Column:
    """Unit (``1`` for counts and ratios, ``-`` for text) and meaning of one column."""

    unit: str
    meaning: str


RECORD = {
    "index": Column(
        "1", "running number of the design in its search, from 0; in exact_front.csv its number in the space"
    ),
    "generation": Column("1", "generation that proposed the design, from 1; 0 in an exhaustive sweep"),
    "source": Column("-", "search that proposed the design: the algorithm, random, or exhaustive"),
    "feasible": Column("-", "True where every constraint is at most 0"),
    "constraint_fits": Column("1", "the network cannot run on the design: bytes over / capacity; 0 where it can"),
    "evaluations": Column("1", "unique designs evaluated so far"),
    "front_size": Column("1", "feasible non-dominated designs so far, equal objectives counted once"),
    "hypervolume": Column("1", "dominated share of the box in the manifest's normalisation; 1 is its ideal corner"),
}

PARAMETERS = {p.name: Column(p.unit, p.meaning) for p in parameters.PARAMETERS.values()}
"""Parameters of `Accelerator`; a space's columns are those that vary."""

METRICS = {
    "latency_s": Column("s", "time of one inference of the batch"),
    "cycles": Column("cycle", "the same in clock cycles"),
    "energy_j": Column("J", "energy of one inference of the batch, clock and leakage included"),
    "area_mm2": Column("mm2", "area of the chip, its DRAM interface included"),
    "core_area_mm2": Column("mm2", "the same without the DRAM interface"),
    "power_w": Column("W", "mean power: energy / latency"),
    "macs": Column("1", "multiply-accumulates of the network"),
    "utilisation": Column("1", "macs / (cycles x peak MACs per cycle)"),
    "dram_bytes": Column("byte", "off-chip traffic, reads and writes"),
    "overflow": Column("1", "bytes over / capacity summed over layers; 0 where the network can run"),
    "latency_bound_s": Column("s", "latency that no mapping on this design can beat"),
    "energy_bound_j": Column("J", "energy that no mapping on this design can beat"),
    "ideal_cycles": Column("cycle", "waterfall: macs / peak"),
    "spatial_loss_cycles": Column("cycle", "waterfall: PEs idle at the edges of layers"),
    "vector_stall_cycles": Column("cycle", "waterfall: vector operations"),
    "buffer_stall_cycles": Column("cycle", "waterfall: waiting for buffer ports"),
    "dram_stall_cycles": Column("cycle", "waterfall: waiting for DRAM"),
    "fill_drain_cycles": Column("cycle", "waterfall: first tiles in, last tiles out, array skew"),
    **{f"area_{b}_mm2": Column("mm2", f"area: {b.replace('_', ' ')}") for b in AREA_BLOCKS},
    **{f"energy_{p}_j": Column("J", f"energy: {p}") for p in ENERGY_PARTS},
}
"""Metric columns of the batch evaluator."""

DERIVED = {
    "edp_js": Column("J s", "energy x delay"),
    "ed2p_js2": Column("J s2", "energy x delay squared"),
    "area_delay_mm2_s": Column("mm2 s", "area x delay"),
    "latency_gap": Column("1", "latency / its bound"),
    "energy_gap": Column("1", "energy / its bound"),
}
"""Objectives that are computed from metrics."""

PER_NETWORK = ("latency_s", "energy_j", "dram_bytes", "latency_bound_s", "overflow")
"""Metrics that a problem of several networks also has of each: ``latency_s_NAME`` ..."""

COLUMNS = {**RECORD, **PARAMETERS, **METRICS, **DERIVED}
"""Every column known beforehand; a problem's own objectives and constraints join through `dictionary`."""

SUFFIXES = {
    "_cycles": "cycle", "_bytes": "byte", "_mm2": "mm2", "_gbps": "GB/s", "_ghz": "GHz", "_kib": "KiB", "_bits": "bit",
    "_js2": "J s2", "_js": "J s", "_pj": "pJ", "_mj": "mJ", "_uj": "uJ", "_ms": "ms", "_us": "us", "_ns": "ns",
    "_mw": "mW", "_nm": "nm", "_um2": "um2", "_hz": "Hz", "_s": "s", "_j": "J", "_w": "W", "_v": "V",
}  # fmt: skip
"""Unit of a name by its ending, the longest where two fit."""


def split_name(name: str) -> tuple[str, str]:
    """A name without its unit, and the unit: ``("link", "GB/s")`` of ``link_gbps``; unit "1" where it ends in none.

    ``_per_`` divides: ``power_density_w_per_mm2`` is in W/mm2, ``energy_j_per_frame`` in J/frame, ``requests_per_s``
    in 1/s.
    """
    before, per, after = name.rpartition("_per_")
    if per:
        stem, unit = split_name(before)
        below = SUFFIXES.get(f"_{after}")
        if unit != "1" or below:
            return stem, f"{unit}/{below or after.replace('_', ' ')}"
    ending = max((end for end in SUFFIXES if name.endswith(end) and len(name) > len(end)), key=len, default="")
    return (name[: -len(ending)], SUFFIXES[ending]) if ending else (name, "1")


LONGEST_NAME = 300
"""Characters of the longest name of a column."""


def name_fault(name: object) -> str:
    """Why something cannot be the name of a column of CSV files, in a few words; "" where it can."""
    if not isinstance(name, str):
        return f"it is of type {type(name).__name__}, not a text"
    if not name:
        return "it is empty"
    if name != name.strip():
        return "it begins or ends with a blank"
    if "," in name or '"' in name:
        return "it holds a comma or a quote"
    if not name.isprintable():
        return "it holds a line break or another character that cannot be printed"
    if len(name) > LONGEST_NAME:
        return f"it has {len(name):,} characters, more than {LONGEST_NAME}"
    return ""


def of_network(name: str) -> tuple[str, str] | None:
    """Metric and network of a column of one network: ``latency_s_vgg16`` gives ("latency_s", "vgg16")."""
    if name in COLUMNS or "_per_" in name:
        return None
    found = next((metric for metric in PER_NETWORK if name.startswith(f"{metric}_")), None)
    return None if found is None else (found, name[len(found) + 1 :])


def dictionary(names: tuple[str, ...], problem: SearchProblem) -> dict[str, Column]:
    """Unit and meaning of each named column.

    What the problem's `column_meanings` tells, if it has that, goes first.  An objective, constraint or metric that
    `COLUMNS` does not know is described by the unit its name carries and by the first line of the problem's docstring.
    """
    own: dict[str, Column] = getattr(problem, "column_meanings", dict)()
    about = (inspect.getdoc(type(problem)) or type(problem).__name__).split("\n")[0]
    found: dict[str, Column] = {}
    for name in names:
        if name in own or name in COLUMNS:
            found[name] = own.get(name) or COLUMNS[name]
        elif name.startswith("constraint_"):
            found[name] = Column("1", f"at most 0 where feasible, scaled by its limit; {about}")
        else:
            unit = split_name(name)[1]
            kind = "objective" if name in problem.objective_names else "column"
            found[name] = Column(unit, f"{kind} of {type(problem).__name__}: {about}")
    return found
