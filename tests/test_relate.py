"""`dse.relate`: kinds, and what they want, on layers whose answer is known."""

import numpy as np
import pytest

import dse
from dse.analysis.operation_kinds import ASPECTS, choices, kind_of, relate
from dse.networks.layers import MacLayer, Network, VectorLayer
from dse.output.explanation_figures import relation_figure

DEPTHWISE = MacLayer("dw", "Conv", G=64, OY=16, OX=16, FY=3, FX=3)
FULL = MacLayer("full", "Conv", K=64, C=64, OY=16, OX=16, FY=3, FX=3)
STEM = MacLayer("stem", "Conv", K=32, C=3, OY=16, OX=16, FY=7, FX=7)
DENSE = MacLayer("fc", "Gemm", K=1000, C=512)
NETWORK = Network.from_layers([STEM, FULL, DEPTHWISE, DENSE, VectorLayer("pool", "MaxPool", 90, 100, 25)])


def test_kinds():
    kinds = ["stem 7x7", "3x3", "depthwise", "fully connected", "vector"]
    assert [kind_of(layer) for layer in NETWORK.layers] == kinds
    assert kind_of(MacLayer("a", OX=128, C=64, K=64)) == "1x1 or matrix product"
    assert kind_of(MacLayer("a", OX=128, C=64, K=64, static_weights=False)) == "product of activations"


def test_each_kind_wants_what_is_known_of_it():
    widths = {f"{x}_buffer_width_bytes": 1024 for x in ("weight", "input", "output")}
    design = dse.Accelerator(rows=16, cols=16, dram_gbps=32, **widths)
    table = relate(design, [NETWORK])
    best = table[table["is_best"]].set_index(["kind", "aspect"])["choice"]
    assert best["stem 7x7", "dataflow"] != "weight_stationary"  # 3 of 16 rows
    assert best["depthwise", "dataflow"] in ("output_pixels", "channel_vector", "row_stationary")
    assert best["fully connected", "bandwidth"] == "256 GB/s"  # weights that are used once
    assert (table["loss"].dropna() >= 0).all()
    assert (table.groupby(["kind", "aspect"])["is_best"].sum() == 1).all()
    assert (table.groupby(["kind", "aspect"])["is_now"].sum() >= 1).all()
    now = table[table["is_now"]].drop_duplicates("kind")
    assert now["cycles"].sum() == pytest.approx(dse.evaluate(design, NETWORK).cycles, rel=1e-12)
    assert relation_figure(table, "test") is not None


def test_choices_differ_in_one_aspect_only():
    design = dse.preset("nvdla_large")
    parameters = {"dataflow": {"dataflow"}, "array": {"rows", "cols"}, "bandwidth": {"dram_gbps"},
                  "buffers": {f"{x}_buffer_kib" for x in ("weight", "input", "output")}}  # fmt: skip
    for aspect, _, other in choices(design):
        assert {n for n in design.parameters() if getattr(design, n) != getattr(other, n)} <= parameters[aspect]
        assert np.isclose(other.rows * other.cols, design.rows * design.cols)
    assert {aspect for aspect, _, _ in choices(design)} == set(ASPECTS)
