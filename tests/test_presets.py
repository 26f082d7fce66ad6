"""Published accelerators as designs: complete, sourced, and able to run a network."""

import pytest

import dse
from dse.chosen import choose
from dse.presets import preset_chip

PEAK_MACS = {
    "eyeriss_v1": 168, "tpu_v1": 65536, "gemmini_16x16": 256, "diannao": 256, "shidiannao": 64, "simba_pe": 1024,
    "nvdla_small": 64, "nvdla_large": 2048, "systolic": 256,
    **{f"nvdla_{n}": n for n in (32, 64, 128, 256, 512, 1024, 2048)},
}  # fmt: skip


def test_every_preset_has_its_published_peak():
    assert {name: dse.preset(name).macs_per_cycle for name in dse.PRESETS} == PEAK_MACS


@pytest.mark.parametrize("name", dse.PRESETS)
def test_every_parameter_that_is_set_has_a_source(name):
    design = dse.preset(name).parameters()
    sources = dse.preset_sources(name)
    changed = {x for x, value in dse.Accelerator().parameters().items() if design[x] != value}
    assert changed <= set(sources) and all(len(text) >= 6 for text in sources.values())
    assert set(preset_chip(name)) == {"title", "technology_nm", "not_expressed"}


@pytest.mark.parametrize("name", dse.PRESETS)
def test_every_preset_runs_a_layer(name):
    layer = dse.MacLayer("conv", K=32, C=16, OY=14, OX=14, FY=3, FX=3)
    assert dse.evaluate(dse.preset(name), layer, technology=dse.preset_technology(name)).latency_s > 0


def test_technology_is_that_of_the_chip_or_the_nearest():
    assert dse.preset_technology("eyeriss_v1").node_nm == 65
    assert dse.preset_technology("gemmini_16x16").node_nm == 28  # 22 nm


def test_unknown_preset_suggests_the_nearest():
    with pytest.raises(ValueError, match="preset 'eyeris_v1' is unknown; did you mean 'eyeriss_v1'"):
        dse.preset("eyeris_v1")


def test_a_preset_is_a_design_by_name():
    assert choose("tpu_v1").design == dse.preset("tpu_v1")
    assert choose("tpu_v1", ["rows=128"]).design.rows == 128


def test_buffers_of_the_published_chips():
    total = {
        name: sum(dse.preset(name).parameters()[f"{x}_buffer_kib"] for x in ("weight", "input", "output"))
        for name in dse.PRESETS
    }
    assert (total["eyeriss_v1"], total["gemmini_16x16"], total["diannao"], total["shidiannao"]) == (108, 320, 36, 256)
    assert total["tpu_v1"] == 28 * 1024 + 256
