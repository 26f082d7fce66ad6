"""Predicted area against published chips and synthesis results, without the DRAM interface (none of them has one)."""

from __future__ import annotations

import math
from importlib.resources import files

import numpy as np
import pandas as pd

from dse.area import area_blocks_mm2, sum_blocks
from dse.presets import preset
from dse.technology import Technology


def rows() -> pd.DataFrame:
    """One row a published area [mm2]; `gated` rows count towards the target of 25 %.

    The predictions are of presets, whose sources name what is assumed, and of constants scaled between nodes by
    `Technology.at`.  Two constants are from references of this table: `sram_macro_um2` from Eyeriss v1, and
    `fixed_um2` and `layout_overhead_factor` from DianNao.
    """
    path = files("dse") / "data" / "validation" / "areas.csv"
    with path.open(encoding="utf-8") as text:
        published = pd.read_csv(text)
    predicted = [
        _area_mm2(name, int(node)) for name, node in zip(published["preset"], published["node_nm"], strict=True)
    ]
    return pd.DataFrame(
        {
            "reference": published["reference"],
            "kind": published["kind"],
            "row": published["row"],
            "quantity": "area",
            "unit": "mm2",
            "measured": published["area_mm2"],
            "predicted": predicted,
            "roofline": math.nan,
            "gated": published["gated"],
            "note": published["source"],
        }
    )


def _area_mm2(name: str, node_nm: int) -> float:
    columns = {x: np.array([value], dtype=object) for x, value in preset(name).parameters().items()}
    blocks = area_blocks_mm2(columns, Technology.at(node_nm))
    blocks["dram_interface"] = np.zeros(1)
    return float(sum_blocks(blocks)[0])
