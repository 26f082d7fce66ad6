"""`dse.evaluate` and `BatchEvaluator`: a case worked out by hand, sums, units, equal bits, messages."""

from __future__ import annotations

import re

import numpy as np
import pytest
from strategies import TECHNOLOGY, kernel_cost

import dse
from dse.costs.batches import BatchEvaluator
from dse.costs.evaluation import evaluate
from dse.costs.formulas import mapping_cost, pj_per_cycle, vector_cost, way_pj_per_byte
from dse.costs.kernel_rows import parameter_columns
from dse.costs.mapping import Mapping
from dse.costs.results import ENERGY_PARTS, LAYER_BYTES, WATERFALL
from dse.hardware.accelerator import Accelerator
from dse.hardware.space import default_space
from dse.networks import load_network
from dse.networks.layers import LOOPS, MacLayer, Network, VectorLayer
from dse.output.evaluation_tables import distance_to_bound, evaluation_record
from dse.runs.column_dictionary import METRICS

SMALL_BUFFERS = {
    f"{x}_buffer_{what}": value
    for x in ("weight", "input", "output")
    for what, value in (("kib", 1), ("width_bytes", 8))
}
PRODUCT = MacLayer("product", "Gemm", OX=6, C=6, K=3)
BY_HAND = Accelerator(rows=4, cols=2, double_buffered="", dram_gbps=2, clock_ghz=1, **SMALL_BUFFERS)
# A 6 x 6 by 6 x 3 matrix product, C on 4 rows and K on 2 columns, weights stationary, one word in each PE.
#
# Array: ceil(6/4) x ceil(3/2) = 4 folds of the weights, 6 pixels each: 24 cycles.  108 MACs / 8 PEs = 13.5 ideal.
# DRAM (8-bit words): 6 x 3 = 18 bytes of W, 6 x 6 = 36 of I, 6 x 3 = 18 of O; all of it fits the buffers, so once
#   each: 72 bytes at 2 bytes a cycle = 36 cycles, and nothing is double-buffered, so they come on top: 24 + 36 = 60.
# Into the array: every weight once, 18; inputs once for each of the 2 folds along K, 72; sums: C takes 2 folds, so
#   each of 18 sums is read back once, 18 x 4 = 72, and written once more than that, at the end as 8 bits: 72 + 18 = 90.
# Buffers: the array reads of W and I, and what DRAM fills in; outputs: 72 read back + 18 drained to DRAM, 90 written.
# Ports of 8 bytes: W 36 / 8 = 4.5, I 108 / 8 = 13.5, O 180 / 8 = 22.5 cycles, all below the array's 24.
# Registers: W 108 MACs + 18 loads; I 108 MACs + 72 words to each of 2 columns; sums 2 x 108 x 4 + 72 read back.
HAND_BYTES = {
    "dram_weight_bytes": 18, "dram_input_bytes": 36, "dram_output_read_bytes": 0, "dram_output_write_bytes": 18,
    "dram_fused_bytes": 0, "buffer_weight_read_bytes": 18, "buffer_weight_write_bytes": 18,
    "buffer_input_read_bytes": 72, "buffer_input_write_bytes": 36, "buffer_output_read_bytes": 90,
    "buffer_output_write_bytes": 90, "array_weight_bytes": 18, "array_input_bytes": 72, "array_output_read_bytes": 72,
    "array_output_write_bytes": 90, "register_weight_bytes": 126, "register_input_bytes": 252,
    "register_output_bytes": 936,
}  # fmt: skip


def test_by_hand():
    mapping = Mapping({"C": 4, "K": 2}, {}, {"C": 6, "K": 3, "OX": 6})
    result = evaluate(BY_HAND, PRODUCT, technology=TECHNOLOGY, mapping=mapping)
    assert result.cycles == 60 == evaluate(BY_HAND, PRODUCT, technology=TECHNOLOGY).cycles
    assert result.latency_s == 60e-9 and result.bound == "dram"
    assert result.waterfall() == {
        "ideal": 13.5, "spatial_loss": 10.5, "vector_stall": 0, "buffer_stall": 0, "dram_stall": 36, "fill_drain": 0,
    }  # fmt: skip
    row = result.layers.iloc[0]
    assert {name: row[name] for name in LAYER_BYTES} == HAND_BYTES and row["dram_bytes"] == 72
    assert result.utilisation == row["utilisation"] == pytest.approx(108 / (60 * 8), rel=1e-15)
    assert result.latency_bound_s == pytest.approx(60e-9, rel=1e-9) and row["bound_cycles"] == 36
    energy = result.energy()
    assert energy["mac"] == pytest.approx(108 * TECHNOLOGY.mac_energy_pj(8, 8, 32, 1) * 1e-12, rel=1e-12)
    assert energy["dram"] == pytest.approx(72 * TECHNOLOGY.dram_pj_per_byte * 1e-12, rel=1e-12)
    # Inputs go to 2 columns, sums come from 4 rows.
    (w, _), (i, next_i), (o, next_o) = (way_pj_per_byte(BY_HAND, TECHNOLOGY, x) for x in "WIO")
    crossed = 18 * w + 72 * (i + next_i) + (72 + 90) * (o + 3 * next_o)
    assert energy["interconnect"] == pytest.approx(crossed * 1e-12, rel=1e-12)
    # What runs with time, in the 60 cycles of the bound; the gated share of the clock in the 13.5 ideal ones anyway.
    timed = pj_per_cycle(BY_HAND, TECHNOLOGY)
    always = timed["clock"] + timed["io"] + timed["leakage"]
    with_time = (60 * always + 13.5 * timed["clock_work"]) * 1e-12
    assert energy["clock"] == pytest.approx((60 * timed["clock"] + 13.5 * timed["clock_work"]) * 1e-12, rel=1e-12)
    least = energy["mac"] + energy["dram"] + with_time  # and ports and registers at least once
    assert least < result.energy_bound_j <= result.energy_j
    assert result.feasible and result.overflow == 0


@pytest.mark.parametrize(
    ("changes", "cycles", "bound"),
    [
        # Systolic: each of 4 folds pays 2 x 4 + 2 - 2 = 8 cycles: 24 + 32 + 36.
        ({"interconnect": "systolic"}, 92, "compute"),
        # Skew hidden: paid once, 8; a fold takes at least the 4 cycles of its load, which 6 pixels cover: 24 + 8 + 36.
        ({"interconnect": "systolic", "overlap_skew": True}, 68, "dram"),
        # Narrow port of the outputs: 180 bytes / 4 = 45 cycles instead of 24: 45 + 36.
        ({"output_buffer_width_bytes": 4}, 81, "buffer_O"),
        # Two lanes a PE: C takes one fold, 2 x 6 = 12 cycles; the port of I, 72 + 36 bytes / 8 = 13.5, is slower: + 36.
        ({"macs_per_pe": 2, "weight_register_bytes": 2, "input_register_bytes": 2}, 49.5, "dram"),
        # 8 GB/s: 72 bytes in 9 cycles: 24 + 9.
        ({"dram_gbps": 8}, 33, "compute"),
        # Half the clock: 2 GB/s are 4 bytes a cycle: 24 + 18.
        ({"clock_ghz": 0.5}, 42, "compute"),
        # 16-bit words: 144 bytes of DRAM, 72 cycles; the port of O: 72 + 36 + 72 + 36 = 216 bytes, 27 cycles: 27 + 72.
        ({"weight_bits": 16, "activation_bits": 16, "weight_register_bytes": 2, "input_register_bytes": 2}, 99, "dram"),
    ],
)  # fmt: skip
def test_variations_by_hand(changes, cycles, bound):
    result = evaluate(Accelerator(**BY_HAND.parameters() | changes), PRODUCT, technology=TECHNOLOGY)
    assert (result.cycles, result.bound) == (cycles, bound)
    assert result.latency_s == pytest.approx(cycles / (result.design.clock_ghz * 1e9), rel=1e-15)


def test_double_buffered_by_hand():
    """One tile of all: 18 + 36 bytes first, 18 last, at 2 bytes a cycle; the array works its 24 cycles between."""
    design = Accelerator(**BY_HAND.parameters() | {"double_buffered": "WIO"})
    cost = kernel_cost(PRODUCT, design, Mapping({"C": 4, "K": 2}, {}, {"C": 6, "K": 3, "OX": 6}))
    assert cost["cycles"] == (18 + 36) / 2 + 24 + 18 / 2
    assert cost["fill_drain_cycles"] == 36 and cost["bound"] == "fill"
    # Two tiles of C (4 and 2): of W 12 and of I 24 bytes come first, then the rest, 6 + 12, under the work; 18 last.
    # K folds and pixels as before, 2 x 6 cycles a tile.  The sums stay in their buffer.
    cost = kernel_cost(PRODUCT, design, Mapping({"C": 4, "K": 2}, {}, {"C": 4, "K": 3, "OX": 6}))
    assert (cost["dram_w"], cost["dram_i"], cost["dram_o_read"], cost["dram_o_write"]) == (18, 36, 0, 18)
    assert cost["cycles"] == (12 + 24) / 2 + 24 + 18 / 2
    fastest = evaluate(design, PRODUCT, technology=TECHNOLOGY, slack=0)
    assert 36 < fastest.cycles <= cost["cycles"]


def test_vector_layers_by_hand():
    """A pool of 900 operations on 16 lanes: 56.25 cycles; 100 + 25 bytes at 2 bytes a cycle: 62.5."""
    pool = VectorLayer("pool", "MaxPool", 900, 100, 25)
    result = evaluate(BY_HAND, [PRODUCT, pool], technology=TECHNOLOGY)
    assert result.cycles == 60 + 62.5
    row = result.layers.iloc[1]
    assert (row["cycles"], row["bound"], row["vector_stall_cycles"], row["dram_stall_cycles"]) == (
        62.5,
        "dram",
        56.25,
        6.25,
    )
    assert row["macs"] == 0 and row["utilisation"] == 0 and row["mapping"] == ""
    assert list(result.mappings) == ["product"]


@pytest.mark.parametrize("arrangement", ["W+I+O", "W/I+O", "W/I/O"])
def test_vector_layers_equal_formulas(arrangement):
    parameters = BY_HAND.parameters() | {"buffers": arrangement, "clock_ghz": 0.7, "activation_bits": 16}
    for lanes, gbps in ((1, 100), (4, 2), (256, 16)):
        design = Accelerator(**parameters | {"vector_lanes": lanes, "dram_gbps": gbps})
        layer = VectorLayer("norm", "LayerNormalization", 7_000, 1_000, 900, weight_elements=200)
        row = evaluate(design, [PRODUCT, layer], technology=TECHNOLOGY).layers.iloc[1]
        expected = vector_cost(layer, design, TECHNOLOGY, bytes_in=2 * 1_000 + 200, bytes_out=2 * 900)
        for name in ("cycles", "energy_pj", "vector_stall_cycles", "buffer_stall_cycles", "dram_stall_cycles",
                     "bound_cycles", "buffer_pj", "dram_pj", "vector_pj", "clock_pj", "io_pj",
                     "leakage_pj"):  # fmt: skip
            assert row[name] == pytest.approx(expected[name], rel=1e-12), name
        assert row["dram_bytes"] == expected["dram_i"] + expected["dram_o_write"]
        assert row["bound"].split("_")[0] == expected["bound"].split("_")[0]


def test_resident_vector_layers_use_the_port_of_the_input_buffer():
    """A tensor that stays on chip: 100 bytes in and 25 out over the 8-byte port, nothing over the DRAM link."""
    layers = (
        MacLayer("first", K=100, C=4, output="a"),
        VectorLayer("pool", "MaxPool", 16, 100, 25, inputs=("a",), output="b"),
        MacLayer("last", K=4, C=25, inputs=("b",)),
    )
    design = Accelerator(**BY_HAND.parameters() | {"resident_activation_fraction": 0.5})
    table = evaluate(design, Network("chain", layers), technology=TECHNOLOGY).layers.set_index("layer")
    assert table.loc["pool", "dram_bytes"] == 0 and table.loc["pool", "cycles"] == (100 + 25) / 8
    assert table.loc["pool", "bound"] == "buffer_I"
    assert table.loc["first", "dram_output_write_bytes"] == 0 and table.loc["last", "dram_input_bytes"] == 0
    expected = vector_cost(layers[1], design, TECHNOLOGY, 0, 0)
    assert table.loc["pool", "energy_pj"] == pytest.approx(expected["energy_pj"], rel=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Whole networks.


SUMMARY = ("latency_s", "cycles", "energy_j", "area_mm2", "power_w", "latency_bound_s", "energy_bound_j", "overflow")


@pytest.fixture(scope="module")
def network():
    return load_network("resnet50")


@pytest.fixture(scope="module")
def result(network):
    return evaluate(Accelerator(rows=32, cols=32, vector_lanes=32), network, technology=TECHNOLOGY)


def test_columns_of_the_layer_table(result, network):
    table = result.layers
    assert list(table.columns) == [
        "layer", "operator", "repeats", *LOOPS, "macs", "cycles", *(f"{part}_cycles" for part in WATERFALL),
        "utilisation", "bound", "bound_cycles", "least_cycles", "dram_bytes", *LAYER_BYTES, "energy_pj",
        *(f"{part}_pj" for part in ENERGY_PARTS), "overflow", "mapping",
    ]  # fmt: skip
    assert list(table["layer"]) == [layer.name for layer in network.layers]
    assert (table["macs"] * table["repeats"]).sum() == network.macs == 4_089_184_256
    assert not table.isna().any(axis=None)
    assert set(table["bound"]) <= {"compute", "buffer_W", "buffer_I", "buffer_O", "dram", "vector", "fill"}
    assert table["utilisation"].between(0, 1).all()


def test_units(result):
    """Seconds from cycles at 1 GHz, joules from picojoules, watts from both; ResNet-50 has a known order of size."""
    assert result.latency_s == pytest.approx(result.cycles * 1e-9, rel=1e-15)
    assert result.energy_j == pytest.approx(result.layers["energy_pj"].sum() * 1e-12, rel=1e-12)
    assert result.power_w == pytest.approx(result.energy_j / result.latency_s, rel=1e-12)
    assert 4.09e9 / 1024 < result.cycles < 10 * 4.09e9 / 1024
    assert 1e-3 < result.energy_j < 0.1 and 0.5 < result.area_mm2 < 100
    assert 0 < result.latency_bound_s <= result.latency_s and 0 < result.energy_bound_j <= result.energy_j


def test_bound_is_what_takes_most_of_the_time(result):
    time = result.layers.assign(time=result.layers["cycles"] * result.layers["repeats"]).groupby("bound")["time"].sum()
    assert result.bound == time.idxmax()


def test_layers_of_the_table_stand_for_themselves(result, network):
    """A layer of the table costs what the plain formulas and the layer alone cost."""
    for layer in network.mac_layers[::9]:
        row = result.layers.set_index("layer").loc[layer.name]
        cost = kernel_cost(layer, result.design, result.mappings[layer.name])
        assert (row["cycles"], row["energy_pj"]) == (cost["cycles"], cost["energy_pj"])
        alone = evaluate(result.design, layer, technology=TECHNOLOGY)
        assert (
            alone.layers.loc[0, "cycles"] == row["cycles"] and alone.mappings[layer.name] == result.mappings[layer.name]
        )


@pytest.mark.parametrize(("objective", "slack"), [("latency", 0.0), ("latency", 0.02), ("energy", 0.0), ("edp", 0.0)])
def test_evaluate_equals_batches_bit_for_bit(network, objective, slack):
    space = default_space()
    X = space.sample(6, np.random.default_rng(5))
    metrics = BatchEvaluator(network, TECHNOLOGY, objective=objective, slack=slack)(space.columns(X))
    for i, x in enumerate(X):
        design = space.design(x)
        one = evaluate(design, network, technology=TECHNOLOGY, objective=objective, slack=slack, keep="quick")
        for name in (
            "latency_s",
            "cycles",
            "energy_j",
            "area_mm2",
            "power_w",
            "latency_bound_s",
            "energy_bound_j",
            "overflow",
        ):
            assert getattr(one, name) == metrics[name][i], name
        assert metrics["dram_bytes"][i] == pytest.approx(
            (one.layers["dram_bytes"] * one.layers["repeats"]).sum(), rel=1e-12
        )
        for part, cycles in one.waterfall().items():
            assert metrics[f"{part}_cycles"][i] == pytest.approx(cycles, rel=1e-12, abs=1e-6 * one.cycles)
        assert metrics["utilisation"][i] == pytest.approx(one.utilisation, rel=1e-12)


def test_metrics_of_a_batch():
    space = default_space()
    columns = space.columns(space.sample(9, np.random.default_rng(6)))
    metrics = BatchEvaluator(PRODUCT)(columns)
    for name, values in metrics.items():
        assert values.shape == (9,) and values.dtype == np.float64 and np.isfinite(values).all(), name
    areas = [name for name in metrics if name.startswith("area_") and name != "area_mm2"]
    assert np.allclose(sum(metrics[name] for name in areas), metrics["area_mm2"], rtol=1e-12)
    assert np.allclose(sum(metrics[f"{part}_cycles"] for part in WATERFALL), metrics["cycles"], rtol=1e-12)
    assert np.allclose(sum(metrics[f"energy_{part}_j"] for part in ENERGY_PARTS), metrics["energy_j"], rtol=1e-12)
    assert (metrics["macs"] == 108).all()


def test_an_empty_batch():
    columns = {name: values[:0] for name, values in parameter_columns(BY_HAND).items()}
    with_one = BatchEvaluator(PRODUCT)(parameter_columns(BY_HAND))
    metrics = BatchEvaluator(PRODUCT)(columns)
    assert list(metrics) == list(with_one) and all(values.shape == (0,) for values in metrics.values())


def test_the_same_thing_in_three_forms():
    forms = (PRODUCT, [PRODUCT], Network("n", (PRODUCT,)))
    assert {dse.evaluate(BY_HAND, form).cycles for form in forms} == {60.0}
    assert {BatchEvaluator(form)(parameter_columns(BY_HAND))["cycles"][0] for form in forms} == {60.0}


def test_a_design_that_does_not_fit_says_so():
    design = Accelerator(**BY_HAND.parameters() | {"output_register_bytes": 1})
    result = evaluate(design, PRODUCT)
    assert not result.feasible and result.overflow == 3  # a sum of 4 bytes in 1 byte: 3 over
    assert np.isfinite(result.latency_s) and np.isfinite(result.energy_j)


# ---------------------------------------------------------------------------------------------------------------------
# Messages.

BAD = {
    "mapping objective 'speed': choose one of latency, energy, edp": {"objective": "speed"},
    "slack must be finite and at least 0, got -0.1": {"slack": -0.1},
    "slack must be finite and at least 0, got inf": {"slack": float("inf")},
    "slack must be finite and at least 0, got nan": {"slack": float("nan")},
}


@pytest.mark.parametrize("message", BAD)
def test_refused(message):
    for call in (lambda: evaluate(BY_HAND, PRODUCT, **BAD[message]), lambda: BatchEvaluator(PRODUCT, **BAD[message])):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.parametrize("n_jobs", [0, -2])
def test_refused_workers(n_jobs):
    with pytest.raises(ValueError, match=f"n_jobs must be a number of workers >= 1, or -1 for all cores; got {n_jobs}"):
        BatchEvaluator(PRODUCT, n_jobs=n_jobs)


def test_refused_networks():
    with pytest.raises(ValueError, match="has no layers"):
        evaluate(BY_HAND, [])
    with pytest.raises(ValueError, match="has no MAC layer"):
        evaluate(BY_HAND, VectorLayer("v", "Relu", 1, 1, 1))


@pytest.mark.parametrize("register_bytes", (1, 16, 256))
def test_stationary_words_enter_a_systolic_array_at_its_edge(register_bytes):
    """A deeper register file does not load faster: every weight crosses one of the 64 column wires."""
    layer = MacLayer("fc", K=1024, C=1024)
    design = Accelerator(
        rows=64, cols=64, interconnect="systolic", overlap_skew=True, weight_register_bytes=register_bytes,
        weight_buffer_width_bytes=1024, input_buffer_width_bytes=1024, output_buffer_width_bytes=4096, dram_gbps=1024,
        output_register_bytes=64, input_register_bytes=64,
    )  # fmt: skip
    assert evaluate(design, layer).cycles >= 1024 * 1024 / 64


def test_a_second_operand_that_is_an_activation_is_multiplied_at_its_width():
    """Narrow weights do not make the products of two activations cheaper."""
    layer = MacLayer("scores", OX=8, K=8, C=8, static_weights=False)
    narrow, wide = (evaluate(Accelerator(weight_bits=bits), layer).energy()["mac"] for bits in (4, 8))
    assert narrow == wide


@pytest.mark.parametrize(
    ("design", "network", "text"),
    [
        (Accelerator(), "resnet50", "load_network"),
        (Accelerator(), 3, "expected a Network or layers"),
        ({"rows": 3}, MacLayer("a"), "expected an Accelerator"),
    ],
)
def test_evaluate_says_what_it_takes(design, network, text):
    with pytest.raises(ValueError, match=text):
        evaluate(design, network)


def test_the_column_dictionary_holds_just_the_metrics_that_are_made():
    """`dse.runs.column_dictionary` lists blocks and parts by name; the model decides which there are."""
    space = default_space()
    metrics = BatchEvaluator(MacLayer("a"), TECHNOLOGY)(space.columns(space.sample(2, np.random.default_rng(0))))
    assert set(metrics) == set(METRICS)


def test_a_given_mapping_is_costed():
    """The mapper's own mapping, given as text, costs the same; a worse one costs what the formulas say."""
    layers = (PRODUCT, MacLayer("second", OX=5, C=7, K=4))
    best = evaluate(BY_HAND, layers, technology=TECHNOLOGY)
    texts = {x.name: best.mappings[x.name].loop_nest(x, BY_HAND) for x in layers}
    again = evaluate(BY_HAND, layers, technology=TECHNOLOGY, mapping=texts)
    assert again.cycles == best.cycles and again.energy_j == best.energy_j
    worse = Mapping({"C": 2}, {}, {"C": 2, "OX": 3})
    given = evaluate(BY_HAND, PRODUCT, technology=TECHNOLOGY, mapping=worse)
    expected = mapping_cost(PRODUCT, BY_HAND, TECHNOLOGY, worse)
    assert given.cycles == expected["cycles"] > 60 and given.mappings["product"] == worse
    assert given.energy_j == pytest.approx(expected["energy_pj"] * 1e-12, rel=1e-12)
    mixed = evaluate(BY_HAND, layers, technology=TECHNOLOGY, mapping={"product": worse})
    assert mixed.cycles == given.cycles + best.layers.set_index("layer")["cycles"]["second"]


REFUSED_MAPPINGS = {
    "'product' does not fit: buffer of O, 1376 bytes over (needs 2400 of 1024)": Mapping({}, {}, {"OX": 600, "K": 1}),
    "'product' does not fit: weight registers of a PE, 1 bytes over (needs 2 of 1)": Mapping({}, {"K": 2}, {"K": 2}),
    "spatial factors C=8 do not fit 4 rows": Mapping({"C": 8}, {}, {}),
}


@pytest.mark.parametrize("message", REFUSED_MAPPINGS)
def test_a_mapping_that_does_not_fit_says_where(message):
    layer = MacLayer("product", OX=600, C=8, K=4)
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate(BY_HAND, layer, technology=TECHNOLOGY, mapping=REFUSED_MAPPINGS[message])


def test_which_layer_a_mapping_is_for():
    layers = (PRODUCT, MacLayer("second", OX=5, C=7, K=4))
    with pytest.raises(ValueError, match="one mapping for 2 MAC layers"):
        evaluate(BY_HAND, layers, mapping=Mapping({}, {}, {}))
    with pytest.raises(ValueError, match="'third': the network has no such MAC layer; it has product, second"):
        evaluate(BY_HAND, layers, mapping={"third": Mapping({}, {}, {})})
    with pytest.raises(ValueError, match="expected a Mapping or its text, got 3"):
        evaluate(BY_HAND, layers, mapping={"second": 3})


# Register loads that do not overlap: 4 folds, each: W 3x2 words, I 3 words, O 2 sums of 4 bytes, 8 bytes a cycle, since
# C 6 is cut into two tiles of 3, not 4 and 2: a fold of 4 rows would load W 4x2 and I 4 words.
# DRAM in whole tiles of weights: C 6 -> 8, K 3 -> 4: 32 bytes for 18; feature maps at half size: (36 + 18) / 2 = 27.
@pytest.mark.parametrize(
    ("change", "cycles"),
    [
        ({"overlap_load": False}, 60 + 4 * (6 + 3 + 8) / 8),
        ({"padded_tiles": "W"}, 60 + (32 - 18) / 2),
        ({"padded_tiles": "IO"}, 60 + (6 * 8 - 36 + 6 * 4 - 18) / 2),
        ({"feature_map_compression": 0.5}, 60 - 27 / 2),
    ],
)
def test_by_hand_what_chips_do(change, cycles):
    design = Accelerator(**BY_HAND.parameters() | change)
    assert evaluate(design, PRODUCT, technology=TECHNOLOGY).cycles == pytest.approx(cycles, rel=1e-12)


def test_what_limits_a_mapping_is_told_beside_its_bound():
    layer = MacLayer("layer", "Gemm", C=64, K=64, OX=10_000)
    wide = {"weight_buffer_width_bytes": 64, "input_buffer_width_bytes": 64, "output_buffer_width_bytes": 64}
    told = {
        of: distance_to_bound(dse.evaluate(Accelerator(rows=4, cols=4, **{**wide, **parameters}), layer), "layer")
        for of, parameters in (("link", {"dram_gbps": 0.1}), ("array", {}), ("port", {"input_buffer_width_bytes": 1}))
    }
    assert "limited by the DRAM link" in told["link"]
    assert "limited by the array" in told["array"] and "peak arithmetic" in told["array"]
    assert "limited by the port of buffer" in told["port"] and "(array, ports and buffer sizes)" in told["port"]


@pytest.mark.parametrize("name", ["nvdla_256", "tpu_v1", "eyeriss_v1"])
def test_energies_of_the_same_mappings_under_other_constants(name):
    design, network, other = dse.preset(name), dse.load_network("mobilenet_v2"), dse.Technology.at(16)
    done = dse.evaluate(design, network)
    energies = done.energies_under([done.technology, other])
    remade = dse.evaluate(design, network, technology=other, mapping=done.mappings)
    for part, values in energies.items():
        assert values.tolist() == pytest.approx([done.energy()[part], remade.energy()[part]], rel=1e-12)


def test_figures_of_data_sheets_are_told_for_a_sample_of_a_batch():
    design = dse.preset("tpu_v1")
    one, eight = (dse.evaluate(design, dse.load_network("wide_deep", batch)) for batch in (1, 8))
    of = eight.rates(8)
    assert of["inferences_per_s"] == 8 / eight.latency_s and of["energy_per_inference_j"] == eight.energy_j / 8
    assert of["tops"] == pytest.approx(2 * eight.network.macs / eight.latency_s / 1e12, rel=1e-12)
    assert of["tops_per_w"] == pytest.approx(2 * eight.network.macs / eight.energy_j / 1e12, rel=1e-12)
    assert of["tops_per_mm2"] * eight.area_mm2 == pytest.approx(of["tops"], rel=1e-12)
    assert of["w_per_mm2"] * eight.area_mm2 == pytest.approx(eight.power_w, rel=1e-12)
    assert one.rates()["tops"] == pytest.approx(one.network.macs * 2e-12 * one.rates()["inferences_per_s"], rel=1e-12)
    assert evaluation_record(eight, 8)["inferences_per_s"] == of["inferences_per_s"]
    table = dse.compare([eight.network], {"tpu": design}, technologies=eight.technology, batch=8, advice=False)
    assert {name: table[name][0] for name in of} == of


def test_the_loop_nest_of_a_layer_is_told_by_its_name():
    network = dse.load_network("wide_deep")
    done = dse.evaluate(dse.preset("nvdla_large"), network)
    first, second = network.mac_layers[:2]
    assert done.loop_nest(first.name) == done.mappings[first.name].loop_nest(first, done.design)
    assert done.loop_nest(first.name) != done.loop_nest(second.name)
    with pytest.raises(ValueError, match=f"MAC layer of wide_deep '{first.name}x' is unknown; did you mean"):
        done.loop_nest(f"{first.name}x")
