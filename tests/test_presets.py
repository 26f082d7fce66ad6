"""Published accelerators as designs: complete, sourced, and able to run a network."""

from dataclasses import replace

import pytest

import dse
from dse.commands.design_by_text import choose
from dse.hardware.presets import preset_chip

PEAK_MACS = {
    "eyeriss_v1": 168, "tpu_v1": 65536, "gemmini_16x16": 256, "diannao": 256, "shidiannao": 64, "simba_pe": 1024,
    "nvdla_small": 64, "nvdla_large": 2048, "systolic": 256,
    **{f"nvdla_{n}": n for n in (32, 64, 128, 256, 512, 1024, 2048)},
    **{f"ethos_u55_{n}": n for n in (32, 64, 128, 256)},
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
    assert dse.preset_technology("gemmini_16x16").node_nm == 22


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


# ---------------------------------------------------------------------------------------------------------------------
# What must hold for every published accelerator on a real network.


@pytest.fixture(scope="module", params=dse.PRESETS)
def on_resnet50(request):
    design = dse.preset(request.param)
    return design, dse.evaluate(design, dse.load_network("resnet50"), slack=0.0)


def test_presets_keep_bounds_and_sums(on_resnet50):
    design, done = on_resnet50
    table = done.layers
    assert (table["overflow"] == 0).all()
    assert done.cycles >= done.network.macs / design.macs_per_cycle
    assert (table["cycles"] * (1 + 1e-12) >= table["bound_cycles"]).all()
    assert sum(done.waterfall().values()) == pytest.approx(done.cycles, rel=1e-12)
    assert sum(done.energy().values()) == pytest.approx(done.energy_j, rel=1e-12)


def test_presets_conserve_bytes(on_resnet50):
    """What enters a buffer from DRAM is what left DRAM, and what the array takes is what left the buffer."""
    design, done = on_resnet50
    resident = design.resident_activation_fraction > 0
    for line in done.layers[done.layers["macs"] > 0].to_dict("records"):
        bypass = done.mappings[line["layer"]].bypass
        for letter, name in (("W", "weight"), ("I", "input")):
            if letter in bypass:
                assert line[f"buffer_{name}_read_bytes"] == line[f"buffer_{name}_write_bytes"] == 0
                continue
            if letter == "I" and resident:  # the store lies in this buffer: it also gives fused inputs
                assert line["buffer_input_read_bytes"] >= line["array_input_bytes"]
                continue
            assert line[f"buffer_{name}_read_bytes"] == pytest.approx(line[f"array_{name}_bytes"])
        if "W" not in bypass and "W" not in design.padded_tiles:
            assert line["buffer_weight_write_bytes"] == pytest.approx(line["dram_weight_bytes"])
        if not resident and "I" not in bypass + design.padded_tiles:
            stored = line["buffer_input_write_bytes"] * design.feature_map_compression
            assert stored == pytest.approx(line["dram_input_bytes"])
        if "O" not in bypass and not design.padded_tiles and design.feature_map_compression == 1 and not resident:
            into = line["array_output_write_bytes"] + line["dram_output_read_bytes"]
            out = line["array_output_read_bytes"] + line["dram_output_write_bytes"]
            assert line["buffer_output_write_bytes"] == pytest.approx(into)
            assert line["buffer_output_read_bytes"] == pytest.approx(out)


@pytest.mark.parametrize("name", dse.PRESETS)
@pytest.mark.parametrize("parameter", ["dram_gbps", "weight_buffer_kib", "input_buffer_kib", "output_buffer_kib"])
def test_presets_are_never_slower_with_more(name, parameter):
    """By no more than the gap that the mapper prints, and on the whole network by no more than 1 %."""
    design, network = dse.preset(name), dse.load_network("resnet50")
    more = replace(design, **{parameter: 2 * getattr(design, parameter)})
    before, after = (dse.evaluate(x, network, slack=0.0) for x in (design, more))
    assert (after.layers["least_cycles"] <= before.layers["cycles"] * (1 + 1e-9)).all()
    assert after.cycles <= before.cycles * 1.01


@pytest.mark.parametrize("name", ["diannao", "shidiannao", "systolic"])
def test_presets_are_never_slower_with_more_in_the_complete_search(name):
    design, network = dse.preset(name), dse.load_network("resnet50")
    more = replace(
        design, **{f"{x}_buffer_kib": 2 * getattr(design, f"{x}_buffer_kib") for x in ("weight", "input", "output")}
    )
    before, after = (dse.evaluate(x, network, slack=None, effort="complete").layers["cycles"] for x in (design, more))
    assert (after <= before * (1 + 1e-12)).all()
