"""Predicted area against published chips and synthesis results: whole, by block, and MACs against SRAM.

The DRAM interface is left out: none of the published areas has one.  What synthesis reports are cells; it is compared
with cells, all else with the laid-out area.  No constant of the model is fitted to a total.  From blocks of this table
come `sram_area_over_cacti_factor` (median over eight families), `sram_macro_um2` (Eyeriss v1's memories), `fixed_um2`
and `layout_overhead_factor` (DianNao's control processor, fillers and clock network).

Where the model is off, and what it lacks: `docs/validation.md`.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from dse.hardware.area import AREA_BLOCKS, area_blocks_mm2
from dse.hardware.presets import preset
from dse.hardware.technology import Technology
from dse.validation.table import checked, read_data

RATIO = "SRAM for the area of a MAC"


def rows() -> pd.DataFrame:
    """One row a published total, gated, one a published block [mm2], and one a chip for `RATIO` [byte].

    Columns as in `dse.validation.table`; the rows of a chip are a family, so that NVDLA's fourteen sizes and nodes
    count as one.  The predictions are of presets, whose sources name what is assumed, and of constants scaled between
    nodes by `Technology.at`; memories of chips without a preset are of their own sizes.
    """
    whole = read_data("areas.csv").assign(quantity="area", blocks=" ".join(AREA_BLOCKS))
    parts = read_data("area_blocks.csv").assign(quantity="area of a block", gated=False)
    table = pd.concat([whole, parts])
    wanted = zip(table["preset"], table["node_nm"], table["blocks"], table["cells"], strict=True)
    table["predicted"] = [_area_mm2(name, int(node), text.split(), not cells) for name, node, text, cells in wanted]
    table = pd.concat([table, _memories(), _ratios(table[table["quantity"] == "area of a block"])])
    table = table.assign(family=table["reference"], row=table["reference"] + ", " + table["row"])
    table = table.rename(columns={"area_mm2": "measured", "source": "note"})
    table["unit"] = table["quantity"].map({RATIO: "byte"}).fillna("mm2")
    return checked(table.assign(reference="Published areas", roofline=math.nan))


def _area_mm2(name: str, node_nm: int, blocks: list[str], layout: bool) -> float:
    columns = {x: np.array([value], dtype=object) for x, value in preset(name).parameters().items()}
    areas = area_blocks_mm2(columns, Technology.at(node_nm), layout)
    return sum(float(areas[block][0]) for block in blocks if block != "dram_interface")


def _memories() -> pd.DataFrame:
    table = read_data("area_memories.csv").assign(quantity="area of a block", gated=False)
    table["predicted"] = [
        float(Technology.at(m.node_nm).sram_area_um2(m.kib * 1024, m.width_bytes, m.banks, m.two_ports)) * 1e-6
        for m in table.itertuples()
    ]
    return table


def _ratios(blocks: pd.DataFrame) -> pd.DataFrame:
    """Bytes of a chip's largest memory that take the area of one MAC of its array, registers and wires included."""
    lines, why = [], read_data("area_ratios.csv").set_index("reference")["why"]
    for (reference, kind, name), chip in blocks.groupby(["reference", "kind", "preset"], sort=False):
        array, memory = (chip[chip["part"] == part][["area_mm2", "predicted"]].sum() for part in ("array", "memory"))
        buffers = " ".join(chip[chip["part"] == "memory"]["blocks"]).split()
        design = preset(name)
        kib = sum(getattr(design, f"{buffer}_kib") for buffer in buffers)
        measured, predicted = array / design.macs_per_cycle / (memory / (kib * 1024))
        lines.append({
            "reference": reference, "kind": kind, "row": "MAC", "quantity": RATIO, "area_mm2": measured,
            "predicted": predicted, "gated": False,
            "source": f"{design.macs_per_cycle:,} MACs of {design.weight_bits} bits, {kib:g} KiB: {why[reference]}",
        })  # fmt: skip
    return pd.DataFrame(lines)
