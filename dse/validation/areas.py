"""Predicted area against published chips and synthesis results, whole and by block.

The DRAM interface is left out: none of the published areas has one.  No constant of the model is fitted to a total.
Four come from blocks of this table: `sram_area_over_cacti_factor` and `sram_macro_um2` from the memories of Eyeriss v1
(all other memories test them), `fixed_um2` and `layout_overhead_factor` from DianNao's control processor, fillers and
clock network.

Where the model is off: DianNao's two small buffers take seven times what their memory does (they hold queues and DMA);
NVDLA's gap grows with its MACs, which are more than 8-bit multipliers, and it has engines that the model lacks; the
matrix unit of the TPU is nearly twice the sum of its multipliers, adders and registers; memories from a compiler
(Gemmini, ShiDianNao) come out a quarter to a half too large.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from dse.hardware.area import AREA_BLOCKS, area_blocks_mm2
from dse.hardware.presets import preset
from dse.hardware.technology import Technology
from dse.validation.table import checked, read_data


def rows() -> pd.DataFrame:
    """One row a published total, gated, and one a published block [mm2]; columns as in `dse.validation.table`.

    The predictions are of presets, whose sources name what is assumed, and of constants scaled between nodes by
    `Technology.at`.
    """
    whole = read_data("areas.csv").assign(quantity="area", blocks=" ".join(AREA_BLOCKS))
    parts = read_data("area_blocks.csv").assign(quantity="area of a block", gated=False)
    table = pd.concat([whole, parts])
    wanted = zip(table["preset"], table["node_nm"], table["blocks"], strict=True)
    table["predicted"] = [_area_mm2(name, int(node), blocks.split()) for name, node, blocks in wanted]
    table["row"] = table["reference"] + ", " + table["row"]
    table = table.rename(columns={"area_mm2": "measured", "source": "note"})
    return checked(table.assign(reference="Published areas", unit="mm2", roofline=math.nan))


def _area_mm2(name: str, node_nm: int, blocks: list[str]) -> float:
    columns = {x: np.array([value], dtype=object) for x, value in preset(name).parameters().items()}
    areas = area_blocks_mm2(columns, Technology.at(node_nm))
    return sum(float(areas[block][0]) for block in blocks if block != "dram_interface")
