"""What must hold whatever the numbers are: bounds, sums, monotony, objectives, residency, equal bits in parallel."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise

import joblib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import (
    TECHNOLOGY,
    WATERFALL,
    accelerators,
    best_cost,
    dataflows,
    kernel_cost,
    layers,
    mappings,
    residencies,
)

from dse.costs import kernels as k
from dse.costs.batches import BatchEvaluator
from dse.costs.evaluation import evaluate
from dse.costs.formulas import RESIDENT, dram_bytes_per_cycle
from dse.costs.kernel_rows import EFFORTS
from dse.costs.traffic import word_bytes
from dse.hardware.accelerator import Accelerator
from dse.hardware.space import default_space
from dse.networks import load_network
from dse.networks.layers import MacLayer, Network, VectorLayer

ENERGIES = range(k.PJ_TOTAL_MAC, k.PJ_TOTAL_LEAKAGE + 1)
DRAM = [k.DRAM_W, k.DRAM_I, k.DRAM_O_READ, k.DRAM_O_WRITE, k.DRAM_FUSED]
ROUNDING = 1 + 1e-12
OBJECTIVES = (("latency", 0.0), ("latency", 0.05), ("energy", 0.0), ("edp", 0.0))

middle_layers = layers(most_macs=4000, most=24)


def compulsory_bytes(layer: MacLayer, design: Accelerator, resident: frozenset[str]) -> float:
    """Every operand that is not on chip crosses the DRAM link once; inputs: the distinct pixels some tap meets."""
    words = word_bytes(layer, design)
    pixels = 1
    for axis, outputs, taps in (("y", layer.OY, layer.FY), ("x", layer.OX, layer.FX)):
        stride, dilation, pad = (getattr(layer, f"{what}_{axis}") for what in ("stride", "dilation", "pad"))
        met = {o * stride + f * dilation - pad for o in range(outputs) for f in range(taps)}
        pixels *= sum(0 <= p < getattr(layer, f"I{axis.upper()}") for p in met)
    sizes = {
        "weights": layer.G * layer.K * layer.C * layer.FY * layer.FX * words["W"],
        "inputs": layer.B * layer.G * layer.C * pixels * words["I"],
        "outputs": layer.B * layer.G * layer.K * layer.OY * layer.OX * words["O"],
        "fused_input": layer.fused_input_elements * words["I"],
    }
    dense = design.feature_map_compression
    return sum(size * (1 if name == "weights" else dense) for name, size in sizes.items() if name not in resident)


@settings(max_examples=150)
@given(middle_layers, accelerators(least_bytes=100, most_bytes=20_000), st.data())
def test_bounds_and_sums_of_the_best_mapping(layer, design, data):
    resident = data.draw(residencies(layer))
    least = compulsory_bytes(layer, design, resident)
    for objective, slack in OBJECTIVES:
        out = best_cost(layer, design, objective, slack, resident)
        assert np.isfinite(out).all()
        assert (out[[c for c in range(k.N_RESULT) if c != k.SPATIAL_LOSS]] >= -1e-9 * out[k.CYCLES]).all()
        assert out[k.MACS] == layer.macs
        assert out[k.CYCLES] * ROUNDING >= layer.macs / design.macs_per_cycle
        assert out[k.CYCLES] * ROUNDING >= layer.vector_operations / design.vector_lanes
        assert out[k.CYCLES] * ROUNDING >= least / dram_bytes_per_cycle(design)
        assert out[DRAM].sum() * ROUNDING >= least
        assert out[k.CYCLES] * ROUNDING >= out[k.BOUND_CYCLES] >= least / dram_bytes_per_cycle(design) / ROUNDING
        assert out[k.ENERGY_PJ] * ROUNDING >= out[k.BOUND_PJ] > 0
        assert out[list(WATERFALL)].sum() == pytest.approx(out[k.CYCLES], rel=1e-12)
        assert out[list(ENERGIES)].sum() == pytest.approx(out[k.ENERGY_PJ], rel=1e-12)


BIGGER = (
    "dram_gbps", "vector_lanes", "weight_buffer_kib", "input_buffer_kib", "output_buffer_kib",
    "weight_buffer_width_bytes", "input_buffer_width_bytes", "output_buffer_width_bytes",
    "weight_register_bytes", "input_register_bytes", "output_register_bytes",
)  # fmt: skip
"""Parameters that never cost time when they grow."""


def larger_registers_help(layer, design) -> bool:
    """Otherwise larger registers put more multipliers to work, and tiles become multiples of those.

    Nor where the array stops to load its registers: the mapper fills them though a smaller tile may load faster.
    """
    if design.interconnect == "broadcast" and not design.overlap_load:
        return False
    weight_bits = design.weight_bits if layer.static_weights else design.activation_bits
    held = (design.weight_register_bytes * 8 // weight_bits, design.input_register_bytes * 8 // design.activation_bits)
    return min(held) >= design.macs_per_pe


@settings(max_examples=50)
@given(middle_layers, accelerators(least_bytes=100, most_bytes=20_000), st.data())
def test_more_of_a_resource_never_costs_time(layer, design, data):
    """In the complete search; in the default one by no more than the gap that it prints."""
    resident = data.draw(residencies(layer))
    effort = data.draw(st.sampled_from(list(EFFORTS)))
    small = best_cost(layer, design, resident=resident, effort=effort)
    for name in BIGGER:
        if "register" in name and not larger_registers_help(layer, design):
            continue
        larger = getattr(design, name) * data.draw(st.sampled_from((1.5, 2, 3, 16)))
        try:
            larger = replace(design, **{name: int(larger) if name == "vector_lanes" else larger})
        except ValueError as error:
            assert "less than one word" in str(error)  # a port wider than its buffer
            continue
        large = best_cost(layer, larger, resident=resident, effort=effort)
        assert large[k.OVERFLOW] <= small[k.OVERFLOW], name
        if small[k.OVERFLOW] == 0:
            column = k.CYCLES if effort == "complete" else k.LEAST
            assert large[column] <= small[k.CYCLES] * ROUNDING, (name, design, larger)


@settings(max_examples=120)
@given(middle_layers, accelerators(least_bytes=100, most_bytes=20_000))
def test_the_complete_search_is_never_worse(layer, design):
    for objective, column in (("latency", k.CYCLES), ("energy", k.ENERGY_PJ)):
        quick, complete = (best_cost(layer, design, objective, effort=effort) for effort in EFFORTS)
        assert complete[k.OVERFLOW] == quick[k.OVERFLOW]
        assert complete[column] <= quick[column] * ROUNDING, objective
        if objective == "latency" and quick[k.OVERFLOW] == 0:
            assert quick[k.LEAST] <= complete[k.CYCLES] * ROUNDING
            assert complete[k.LEAST] == pytest.approx(complete[k.CYCLES], rel=1e-9)


@settings(max_examples=50)
@given(middle_layers, accelerators(least_bytes=100, most_bytes=20_000), st.sampled_from((0.01, 0.1, 0.5)))
def test_objectives_and_slack(layer, design, slack):
    latency, energy, edp, within = (
        best_cost(layer, design, *objective, effort="complete")
        for objective in (("latency", None), ("energy", 0.0), ("edp", 0.0), ("latency", slack))
    )
    assume(latency[k.OVERFLOW] == 0)
    assert energy[k.ENERGY_PJ] <= within[k.ENERGY_PJ] * ROUNDING <= latency[k.ENERGY_PJ] * ROUNDING**2
    assert latency[k.CYCLES] <= within[k.CYCLES] * ROUNDING
    assert within[k.CYCLES] <= (1 + slack) * latency[k.CYCLES] * ROUNDING
    for other in (latency, energy, within):
        assert edp[k.CYCLES] * edp[k.ENERGY_PJ] <= other[k.CYCLES] * other[k.ENERGY_PJ] * ROUNDING
        assert latency[k.CYCLES] <= other[k.CYCLES] * ROUNDING


@settings(max_examples=150)
@given(middle_layers, accelerators(least_bytes=16, most_bytes=400), st.data())
def test_more_on_chip_moves_less_over_the_dram_link(layer, design, data):
    """The same mapping: keeping one more tensor on chip never adds DRAM traffic, and it may need less room."""
    design = replace(design, dram_type="")  # what a DRAM takes with time follows the cycles, not the traffic
    mapping = data.draw(mappings(layer, design))
    kept: frozenset[str] = frozenset()
    before = kernel_cost(layer, design, mapping, kept)
    for name in data.draw(st.permutations(RESIDENT)):
        kept |= {name}
        after = kernel_cost(layer, design, mapping, kept)
        assert after["dram_cycles"] <= before["dram_cycles"] and after["dram_pj"] <= before["dram_pj"]
        assert after["overflow"] <= before["overflow"]
        before = after


# ---------------------------------------------------------------------------------------------------------------------
# Networks.

LAYERS = (
    MacLayer("first", K=32, C=3, OY=28, OX=28, FY=3, FX=3, pad_y=1, pad_x=1, IY=28, IX=28, output="a"),
    MacLayer("deep", G=32, OY=14, OX=14, FY=3, FX=3, stride_y=2, stride_x=2, pad_y=1, pad_x=1, IY=28, IX=28,
             inputs=("a",), output="b", vector_operations=6272),
    VectorLayer("pool", "MaxPool", 6272 * 9, 6272, 1568, inputs=("b",), output="c"),
    MacLayer("gates", K=400, C=100, repeats=7, inputs=("c",), output="d"),
    MacLayer("last", K=10, C=400, inputs=("d",)),
)  # fmt: skip
NETWORK = Network("small", LAYERS)


def columns_of(n: int, seed: int) -> dict[str, np.ndarray]:
    space = default_space()
    return space.columns(space.sample(n, np.random.default_rng(seed)))


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_network_totals_are_sums_over_layers_and_repeats(fraction):
    for x in default_space().sample(6, np.random.default_rng(1)):
        design = replace(default_space().design(x), resident_activation_fraction=fraction)
        result = evaluate(design, NETWORK, technology=TECHNOLOGY)
        repeats = result.layers["repeats"]
        for column, total in (
            ("cycles", result.cycles),
            ("energy_pj", result.energy_j * 1e12),
        ):
            assert (result.layers[column] * repeats).sum() == pytest.approx(total, rel=1e-12), column
        bound = result.latency_bound_s * design.clock_ghz * 1e9
        assert (result.layers["bound_cycles"] * repeats).sum() <= bound * (1 + 1e-12) <= result.cycles * (1 + 1e-9)
        assert sum(result.waterfall().values()) == pytest.approx(result.cycles, rel=1e-12)
        assert sum(result.energy().values()) == pytest.approx(result.energy_j, rel=1e-12)
        assert sum(result.area.values()) == pytest.approx(result.area_mm2, rel=1e-12)
        assert result.power_w == pytest.approx(result.energy_j / result.latency_s, rel=1e-12)
        one = evaluate(design, [replace(layer, repeats=1) for layer in LAYERS], technology=TECHNOLOGY)
        if not fraction:
            assert np.array_equal(one.layers["cycles"], result.layers["cycles"])


def test_resident_activations_never_add_dram_traffic():
    """ResNet-50, DRAM-bound so that the fastest mapping moves least; the room for tiles is the same with a store."""
    network = load_network("resnet50")
    base = Accelerator(rows=64, cols=64, input_buffer_kib=512, weight_buffer_kib=512, output_buffer_kib=512)
    base = replace(base, output_buffer_width_bytes=256)  # no port is slower than the DRAM link
    moved = []
    for store_kib in (0, 64, 512, 4096):
        design = replace(base, dram_gbps=0.01, input_buffer_kib=512 + store_kib)
        design = replace(design, resident_activation_fraction=store_kib / design.input_buffer_kib)
        result = evaluate(design, network, technology=TECHNOLOGY, slack=0.0)
        moved.append((result.layers["dram_bytes"] * result.layers["repeats"]).sum())
        visits = result.layers[result.layers["dram_bytes"] > 0]
        assert visits["bound"].isin(["dram", "fill"]).all()  # fill: one tile, whose load nothing hides
    assert moved[0] >= moved[1] > moved[2] > moved[3]
    io = network.layers[0].input_elements + 1000  # the image in, the classes out
    assert moved[3] == pytest.approx(network.weight_elements + io, rel=0.01)  # with room for all: weights and these


def test_resident_weights_leave_no_weight_traffic():
    network = load_network("resnet50")
    base = Accelerator(rows=64, cols=64, weight_buffer_kib=25_600)
    for design, none in ((base, False), (replace(base, resident_weights=True), True)):
        table = evaluate(design, network, technology=TECHNOLOGY).layers
        table = table[table["macs"] > 0]
        assert (table["dram_weight_bytes"] == 0).all() == none
        assert (table["buffer_weight_write_bytes"] == 0).all() == none
        assert (table["buffer_weight_read_bytes"] > 0).all()
    small = replace(base, weight_buffer_kib=1024)
    with_flag, without = (
        evaluate(replace(small, resident_weights=flag), network, technology=TECHNOLOGY) for flag in (True, False)
    )
    assert with_flag.layers.equals(without.layers)  # they do not fit: nothing changes


# ---------------------------------------------------------------------------------------------------------------------
# Equal bits.


def assert_equal_bits(got, expected):
    assert list(got) == list(expected)
    for name in expected:
        assert got[name].tobytes() == expected[name].tobytes(), name


def test_equal_bits_for_any_batch_split_and_order():
    columns, evaluator = columns_of(60, seed=2), BatchEvaluator(NETWORK)
    whole = evaluator(columns)
    assert len(np.unique(whole["cycles"])) > 30
    order = np.random.default_rng(0).permutation(60)
    for groups in ([order], np.array_split(np.arange(60), 7), [[i] for i in range(60)]):
        parts = [evaluator({name: values[group] for name, values in columns.items()}) for group in groups]
        together = {name: np.empty(60) for name in whole}
        for group, part in zip(groups, parts, strict=True):
            for name in whole:
                together[name][group] = part[name]
        assert_equal_bits(together, whole)


@pytest.fixture
def always_parallel(monkeypatch):
    """Batches are split over workers, however short they are."""
    monkeypatch.setattr(sys.modules["dse.costs.batches"], "_SECONDS_A_TASK", 0.0)
    return sys.modules["dse.costs.batches"]


def test_equal_bits_for_any_number_of_threads(always_parallel):
    columns = columns_of(60, seed=2)
    one = BatchEvaluator(NETWORK)(columns)
    for n_jobs in (2, 3, -1):
        assert_equal_bits(BatchEvaluator(NETWORK, n_jobs=n_jobs)(columns), one)


def test_equal_bits_in_loky_processes(always_parallel):
    columns = columns_of(24, seed=4)
    one = BatchEvaluator(NETWORK)(columns)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert always_parallel.worker_count(1) == (2, None)
        assert_equal_bits(BatchEvaluator(NETWORK)(columns), one)


def test_equal_bits_on_a_dask_cluster(always_parallel):
    """A real cluster of two worker processes."""
    distributed = pytest.importorskip("dask.distributed")
    columns = columns_of(24, seed=4)
    one = BatchEvaluator(NETWORK)(columns)
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        assert always_parallel.worker_count(1)[0] == 2
        assert_equal_bits(BatchEvaluator(NETWORK)(columns), one)


# ---------------------------------------------------------------------------------------------------------------------
# Designs that do not fit.


@settings(max_examples=120)
@given(middle_layers, accelerators(dataflows(limits=False), least_bytes=16, most_bytes=64), st.data())
def test_overflow_is_graded(layer, design, data):
    """The less there is of a memory, the larger the overflow; all numbers stay finite."""
    memories = [name for name in BIGGER if name.endswith(("buffer_kib", "register_bytes"))]
    shrunk = data.draw(st.one_of(st.just(memories), st.sampled_from(memories).map(lambda name: [name])))
    overflows = []
    for share in (1, 1 / 2, 1 / 4, 1 / 64):
        smaller = {name: getattr(design, name) * share for name in shrunk}
        smaller |= {f"{x}_buffer_width_bytes": 1 / 8 for x in ("weight", "input", "output")}
        smaller |= {f"{x}_buffer_banks": 1 for x in ("weight", "input", "output")}
        out = best_cost(layer, replace(design, **smaller))
        assert np.isfinite(out).all()
        overflows.append(out[k.OVERFLOW])
    assert overflows == sorted(overflows)
    if len(shrunk) > 1:  # overflow is that of the worst memory: it grows for sure when all shrink
        assert all(after > before for before, after in pairwise(overflows) if before > 0)
        assert overflows[-1] > 0


def test_infeasible_designs_of_a_batch_have_finite_graded_metrics():
    columns = columns_of(5, seed=0)
    registers = np.array([512.0, 1, 1 / 4, 1 / 16, 1 / 64])
    columns |= {f"{x}_register_bytes": np.maximum(registers, 1e-3) for x in ("weight", "input", "output")}
    columns |= {"macs_per_pe": np.full(5, 4.0), "buffers": np.full(5, "W/I/O", dtype=object)}
    columns |= {name: np.full(5, columns[name][0]) for name in ("dataflow", "rows", "cols")}
    metrics = BatchEvaluator(NETWORK)(columns)
    for name, values in metrics.items():
        assert np.isfinite(values).all(), name
    assert metrics["overflow"][0] == 0 or metrics["overflow"][0] < metrics["overflow"][1]
    assert (np.diff(metrics["overflow"][1:]) > 0).all()
