"""Narrow and 2:4 sparse weights: counts by hand, what must not change, and every route of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from all_mappings import every_mapping, random_pair
from hypothesis import given, settings
from onnx import TensorProto, helper
from strategies import TECHNOLOGY, accelerators, best_cost, is_narrow, is_pruned, layers

import dse
from dse.costs import kernels as k
from dse.costs import probes
from dse.costs.batches import BatchEvaluator
from dse.costs.bounds import BoundEvaluator, bound_many
from dse.costs.fixed_mapping import fixed_mapping
from dse.costs.kernel_rows import network_tables, parameter_columns
from dse.costs.several_networks import SeveralEvaluator
from dse.hardware import weight_forms
from dse.hardware.area import area_mm2
from dse.hardware.logic import logic
from dse.hardware.weight_forms import WeightForm, weights_on
from dse.networks.errors import NetworkError
from dse.networks.layers import MacLayer, Network
from dse.output.evaluation_tables import weight_lines
from dse.problems import SingleDNN
from dse.runs.identity import differences, of_model, told

WIDE = {f"{x}_buffer_width_bytes": 256 for x in ("weight", "input", "output")}
PLAIN = dse.Accelerator(rows=4, cols=4, dram_gbps=64).with_parameters(WIDE)
NARROW, SPARSE = replace(PLAIN, narrow_weight_bits=4), replace(PLAIN, sparse_weights="2:4")
BOTH = replace(NARROW, sparse_weights="2:4")
LAYER = MacLayer("layer", K=4, C=8, OX=16)
W4, PRUNED = replace(LAYER, weight_bits=4), replace(LAYER, weight_sparsity="2:4")
W4_PRUNED = replace(W4, weight_sparsity="2:4")
MACS = 4 * 8 * 16


def row_of(design, layer):
    return dse.evaluate(design, layer, technology=TECHNOLOGY, slack=0.0).layers.iloc[0]


# ---------------------------------------------------------------------------------------------------------------------
# By hand.


@pytest.mark.parametrize(
    "design, layer, lanes, cycles, weight_bytes",
    [
        (PLAIN, LAYER, 1, 2 * 16, 4 * 8),  # 4 rows of C, each row a channel a cycle
        (NARROW, LAYER, 1, 2 * 16, 4 * 8),
        (NARROW, W4, 2, 16, 4 * 8 / 2),  # 4 rows of two channels
        (SPARSE, PRUNED, 2, 16, 4 * (4 * 8 + 4 * 2) / 8),  # of 8 channels 4 weights of 8 bits, and 2 bits each
        (SPARSE, W4, 1, 2 * 16, 4 * 8),  # no multiplier of two
        (NARROW, PRUNED, 1, 2 * 16, 4 * 8),  # zeros are kept
        (BOTH, W4_PRUNED, 4, 16, 4 * (4 * 4 + 4 * 2) / 8),  # 16 channels a step, of which 8 are there
        (BOTH, replace(W4_PRUNED, C=32), 4, 2 * 16, 4 * (16 * 4 + 16 * 2) / 8),
        (NARROW, replace(W4, C=9), 2, 2 * 16, 4 * 9 / 2),  # the second step has one channel
        (NARROW, replace(W4, weight_bits=5), 1, 2 * 16, 4 * 8),  # too wide for the parts
        (replace(NARROW, narrow_weight_bits=2), replace(W4, weight_bits=2), 4, 16, 4 * 8 / 4),
    ],
)  # fmt: skip
def test_cycles_and_bytes_by_hand(design, layer, lanes, cycles, weight_bytes):
    """Everything in one tile; the mapper is as fast, and no mapping has more lanes."""
    whole = {"C": layer.C, "K": 4, "OX": 16}
    mapping = dse.Mapping({"C": 4 * lanes, "K": 4}, {}, whole, lanes=lanes)
    row = dse.evaluate(design, layer, mapping=mapping).layers.iloc[0]
    assert row["ideal_cycles"] + row["spatial_loss_cycles"] == cycles
    assert row["ideal_cycles"] == layer.macs / (16 * lanes)
    assert row["dram_weight_bytes"] == row["array_weight_bytes"] == weight_bytes
    assert row["dram_input_bytes"] == row["array_input_bytes"] == layer.C * 16  # inputs are brought whole
    assert row["register_weight_bytes"] == layer.macs * weight_bytes / (4 * layer.C) + weight_bytes
    assert row["register_input_bytes"] == layer.macs + 4 * layer.C * 16
    assert row["macs"] == layer.macs  # zeros included
    best = row_of(design, layer)
    assert best["ideal_cycles"] + best["spatial_loss_cycles"] == cycles
    with pytest.raises(ValueError, match=f"lanes, but a PE has {lanes} multipliers"):
        dse.evaluate(design, layer, mapping=dse.Mapping({"C": 4 * (lanes + 1)}, {}, whole, lanes=lanes + 1))


def test_energy_of_macs_by_hand():
    t, mux, add = TECHNOLOGY, TECHNOLOGY.multiplexer_pj_per_bit, TECHNOLOGY.adder_32bit_pj / 32

    def logic_pj(multiplexers, adders=0):
        return t.supply_factor * (t.switching_activity_share * mux * multiplexers + add * adders)

    own, narrow = t.mac_energy_pj(8, 8, 32), t.mac_energy_pj(4, 8, 32, 2)
    expected = {
        (PLAIN, LAYER): own,
        (NARROW, LAYER): own + logic_pj(8 + 12, 16),  # input and product of the second part; the sum of both
        (NARROW, W4): narrow + logic_pj(20 / 2),  # half of them; the sum is in the adder tree
        (SPARSE, LAYER): own + logic_pj(3 * 8),  # one of four inputs of 8 bits
        (SPARSE, PRUNED): (own + logic_pj(3 * 8)) / 2,
        (BOTH, W4_PRUNED): (narrow + logic_pj(20 / 2 + 24)) / 2,
        (NARROW, replace(LAYER, static_weights=False)): own + logic_pj(20, 16),
    }
    for (design, layer), each in expected.items():
        assert row_of(design, layer)["mac_pj"] == pytest.approx(MACS * each)


def test_logic_of_a_multiplier_by_hand():
    """Of 16 PEs; two pipeline registers an input, and registers for a second input beside the one that is there."""
    assert TECHNOLOGY.pipeline_registers_factor == 2
    found = {
        name: tuple(float(bits[0]) / 16 for bits in logic(parameter_columns(design), TECHNOLOGY)["forms"])
        for name, design in {"plain": PLAIN, "narrow": NARROW, "sparse": SPARSE, "both": BOTH}.items()
    }
    assert found["plain"] == (0, 0, 0)
    assert found["narrow"] == (2 * 8 + 8, 8 + 12, 16)
    assert found["sparse"] == (2 * 8 + 8 + 2, 3 * 8, 0)
    assert found["both"] == (3 * 2 * 8 + 3 * 8 + 2 * 2, 8 + 12 + 2 * 24, 16)
    area = {x: float(area_mm2(parameter_columns(x), TECHNOLOGY)[0]) for x in (PLAIN, NARROW, SPARSE, BOTH)}
    assert area[PLAIN] < min(area[NARROW], area[SPARSE]) and max(area[NARROW], area[SPARSE]) < area[BOTH]


def test_a_systolic_array_passes_the_further_inputs_on():
    systolic, narrow = (replace(x, interconnect="systolic") for x in (PLAIN, NARROW))
    passing = [logic(parameter_columns(x), TECHNOLOGY)["passing"][0][0] for x in (systolic, narrow)]
    assert passing == [0, 16 * 8]
    assert logic(parameter_columns(narrow), TECHNOLOGY)["forms"][0][0] == 0


def test_sparse_weights_by_packing_them():
    """Random 2:4 weights packed group by group take the bytes of the model, whatever the widths."""
    rng = np.random.default_rng(5)
    for bits in (4, 8, 16):
        dense = rng.integers(1, 2 ** (bits - 1), (4, 8))
        for filters in dense:
            for group in filters.reshape(-1, 4):
                group[rng.choice(4, 2, replace=False)] = 0
        packed = [(int(w), place % 4) for filters in dense for place, w in enumerate(filters) if w]
        size_bits = sum(bits + len(f"{3:b}") for _ in packed)
        design = replace(SPARSE, weight_bits=bits, weight_register_bytes=2)
        assert row_of(design, PRUNED)["dram_weight_bytes"] * 8 == size_bits


@pytest.mark.parametrize("channels, padded", [(4, 8), (8, 8), (12, 16), (16, 16)])
def test_padded_tiles_were_as_wide_as_the_lanes_of_narrow_and_sparse_weights(channels, padded):
    """An array of 8 rows moves blocks of 8 channels; weights of which it takes 16 or 32 a step take several of them."""
    for design, layer in ((PLAIN, LAYER), (NARROW, W4), (SPARSE, PRUNED), (BOTH, W4_PRUNED)):
        row = row_of(replace(design, rows=8, padded_tiles="WIO"), replace(layer, C=channels))
        bits = weights_on(weight_forms.weight_form(layer), design).bits
        assert row["dram_input_bytes"] == 16 * padded
        assert row["dram_weight_bytes"] % (4 * padded * bits / 8) == 0  # once, or as often as they are fetched


# ---------------------------------------------------------------------------------------------------------------------
# What must not change.


def test_hardware_without_the_property_makes_no_use_of_it():
    """Bit for bit: a layer that is narrow and 2:4 is kept and computed as any."""
    stated, plain = W4_PRUNED, LAYER
    for design in (PLAIN, replace(PLAIN, interconnect="systolic", resident_activation_fraction=0.5)):
        a, b = (dse.evaluate(design, layer) for layer in (stated, plain))
        assert (a.cycles, a.energy_j, a.area_mm2, a.utilisation) == (b.cycles, b.energy_j, b.area_mm2, b.utilisation)
        assert (a.latency_bound_s, a.energy_bound_j) == (b.latency_bound_s, b.energy_bound_j)


def test_the_order_of_layers_and_their_keys_do_not_hang_on_the_new_fields():
    """A run is known by them: layers that state nothing have the key that they had before."""
    assert len(W4.shape_key) == len(LAYER.shape_key) + 2 and W4.shape_key[:-2] == LAYER.shape_key
    assert "weight_bits" not in told(LAYER) and "weight_sparsity" not in told(LAYER) and "weight_bits=4" in told(W4)


def test_networks_without_such_layers_have_rows_as_before():
    tables = network_tables(dse.load_network("mobilenet_v2"))
    assert tables.forms == (WeightForm(),) and (tables.layers[:, k.FORM] == 0).all()
    assert tables.elements_of_forms.tolist() == [tables.weight_elements.tolist()]
    assert not {"narrow_weight_bits", "sparse_weights"} & set(dse.default_space().names)


# ---------------------------------------------------------------------------------------------------------------------
# Every route.


@settings(max_examples=60)
@given(layers(most_macs=4000, most=24), accelerators(least_bytes=100, most_bytes=20_000))
def test_bounds_hold_for_narrow_and_sparse_weights(layer, design):
    layer = replace(layer, C=4 * layer.C, static_weights=True, weight_bits=2, weight_sparsity="2:4")
    design = replace(
        design, weight_bits=8, narrow_weight_bits=4, sparse_weights="2:4", resident_activation_fraction=0.0
    )
    assert is_narrow(layer, design) and is_pruned(layer, design)
    bound = bound_many(design, layer, technology=TECHNOLOGY)
    for objective, column, name, factor in (
        ("latency", k.CYCLES, "latency_bound_s", design.clock_ghz * 1e9),
        ("energy", k.ENERGY_PJ, "energy_bound_j", 1e12),
    ):
        found = best_cost(layer, design, objective)
        if found[k.OVERFLOW] == 0:
            assert bound[name][0] * factor <= found[column] * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_the_complete_mapper_is_the_best_of_all_mappings_of_such_a_layer(seed):
    rng = np.random.default_rng(1000 + seed)
    while True:
        layer, design, _, _ = random_pair(rng, 2e4)
        layer = replace(layer, C=4, static_weights=True, weight_bits=4, weight_sparsity=("", "2:4")[seed % 2])
        design = replace(design, weight_bits=8, narrow_weight_bits=4, sparse_weights="2:4")
        if design.macs_per_pe <= 2 and layer.macs <= 200:
            break
    best = every_mapping(layer, design, technology=TECHNOLOGY)
    for objective in ("latency", "energy"):
        found = best_cost(layer, design, objective, effort="complete", slack=0.0)
        if not best:
            assert found[k.OVERFLOW] > 0
            continue
        expected = getattr(best[objective], "cycles" if objective == "latency" else "energy_pj")
        assert found[k.CYCLES if objective == "latency" else k.ENERGY_PJ] == pytest.approx(expected, rel=1e-9)


def chain(*stated: dict) -> Network:
    """Layers one after the other, of equal shape, each with what it states of its weights."""
    made = [
        MacLayer(f"l{i}", K=16, C=16, OX=64, inputs=(f"t{i}",), output=f"t{i + 1}", **each)
        for i, each in enumerate(stated)
    ]
    return Network("chain", tuple(made), tensor_elements={f"t{i}": 1024 for i in range(len(made) + 1)})


STATED = ({}, {"weight_bits": 4}, {"weight_sparsity": "2:4"}, {"weight_bits": 4, "weight_sparsity": "2:4"}, {})


def test_layers_of_one_network_are_each_costed_in_their_own_form():
    together = dse.evaluate(BOTH, chain(*STATED), keep="none")
    for i, stated in enumerate(STATED):
        alone = dse.evaluate(BOTH, chain(stated), keep="none").layers.iloc[0]
        for name in ("cycles", "energy_pj", "bound_cycles", "least_cycles", "utilisation"):
            assert together.layers[name][i] == alone[name], (i, name)
    assert together.utilisation == pytest.approx(together.waterfall()["ideal"] / together.cycles)
    same = BatchEvaluator(chain(*STATED))(parameter_columns(BOTH))
    for name in ("latency_s", "energy_j", "latency_bound_s", "energy_bound_j", "utilisation"):
        assert same[name][0] == pytest.approx(getattr(together, name), rel=1e-12), name


@pytest.mark.parametrize("store", [0.0, 0.5])
def test_several_networks_of_other_forms_cost_what_each_costs_alone(store):
    networks = [chain(*STATED), chain({"weight_bits": 4}).renamed("w4"), chain({}).renamed("plain")]
    designs = [replace(x, resident_activation_fraction=store, resident_weights=True) for x in (PLAIN, NARROW, BOTH)]
    columns = {name: np.concatenate([parameter_columns(x)[name] for x in designs]) for name in parameter_columns(PLAIN)}
    found = SeveralEvaluator(networks)(columns)
    for network in networks:
        alone = BatchEvaluator(network)(columns)
        for name, values in alone.items():
            assert np.array_equal(values, found[network.name][name]), (network.name, name)
        assert (alone["latency_bound_s"] <= alone["latency_s"] * (1 + 1e-12)).all()


def test_activations_stay_on_chip_between_layers_of_other_forms():
    """The best choice is no worse than nothing, costs what its layers cost, and bounds hold."""
    design = replace(BOTH, resident_activation_fraction=0.5, dram_gbps=1, input_buffer_kib=4, output_buffer_kib=4)
    kept, none = (dse.evaluate(design, chain(*STATED), keep=keep, slack=0.0) for keep in ("best", "none"))
    assert kept.latency_bound_s <= kept.latency_s < none.latency_s and kept.on_chip.kept
    assert kept.cycles == pytest.approx(sum(kept.layers["cycles"]))
    saved = kept.on_chip.savings()
    assert all(each.cycles >= 0 for each in saved.values())
    exact = dse.evaluate(design, chain(*STATED), effort="complete", slack=0.0)
    assert exact.latency_bound_s <= exact.latency_s <= kept.latency_s * (1 + 1e-12)


def test_narrow_weights_of_a_network_stay_where_wide_ones_do_not_fit():
    design = replace(NARROW, resident_weights=True, weight_buffer_kib=3 * 256 * 0.6 / 1024, dram_gbps=1)
    design = replace(design, weight_buffer_width_bytes=8)
    wide, narrow = (dse.evaluate(design, chain(*3 * ({"weight_bits": bits},))) for bits in (8, 4))
    assert wide.layers["dram_weight_bytes"].min() == 256 and narrow.layers["dram_weight_bytes"].max() == 0


def test_bounds_by_searches_hold_for_a_network_of_several_forms():
    columns = parameter_columns(BOTH)
    bounds = BoundEvaluator(network_tables(chain(*STATED)))
    (least, reached), *_ = bounds.searched_cycles(columns, np.array([np.inf]), dse.costs.kernel_rows.EFFORTS["default"])
    done = dse.evaluate(BOTH, chain(*STATED), slack=None)
    assert bounds(columns)["latency_bound_s"][0, 0] * 1e9 <= least * (1 + 1e-12)
    assert least <= done.cycles * (1 + 1e-12) and least <= reached


def test_a_given_and_a_frozen_mapping_use_the_lanes_of_the_layer():
    given = dse.Mapping({"C": 8, "K": 4}, {}, {"C": 8, "K": 4, "OX": 16}, lanes=2)
    done = dse.evaluate(NARROW, W4, mapping=given)
    assert done.layers["spatial_loss_cycles"][0] == 0 and done.layers["ideal_cycles"][0] == 16
    with pytest.raises(ValueError, match="2 lanes, but a PE has 1 multipliers"):
        dse.evaluate(NARROW, LAYER, mapping=given)
    frozen = {f"fixed_tile_{d}": 8 for d in ("k", "c", "oy", "ox")}
    frozen |= {f"fixed_register_{d}": 1 for d in ("k", "c", "oy", "ox", "fx")}
    frozen |= {"fixed_order": "KRP", "fixed_stationary": "W"}
    assert [fixed_mapping(layer, NARROW, frozen).lanes for layer in (LAYER, W4)] == [1, 2]


def test_a_certificate_holds_for_narrow_and_sparse_weights(tmp_path):
    """What it proves holds for every design of a small space with both properties, under the complete mapper."""
    space = dse.DesignSpace(
        {"cols": [2, 4, 8], "narrow_weight_bits": [0, 4], "sparse_weights": ["none", "2:4"], "dram_gbps": [4, 16]},
        replace(PLAIN, dram_gbps=4),
        "with forms",
    )
    problem = SingleDNN(chain(*STATED), space)
    dse.explore(problem, evaluations=12, out=tmp_path / "run", random_twin=False)
    certificate = dse.certify(problem, tmp_path / "run", within=0.02)
    found = BatchEvaluator(chain(*STATED), slack=None, effort="complete")(space.columns(space.all_designs()))
    truth = np.column_stack([found["latency_s"], found["area_mm2"]])
    better = (certificate.front[None, :] / truth[:, None]).max(axis=2).min(axis=1).max() - 1
    assert certificate.finished and better <= certificate.proven + 1e-9 <= 0.02 + 2e-9
    fastest = space.design(space.all_designs()[int(np.argmin(found["latency_s"]))])
    assert (fastest.narrow_weight_bits, fastest.sparse_weights) == (4, "2:4")


def test_runs_of_such_networks_are_known_by_their_numbers_too(monkeypatch):
    """And no others: the identity of a run without such layers is what it was."""
    space = dse.DesignSpace({"rows": [2, 4], "cols": [2, 4]}, BOTH)
    plain, stated = SingleDNN(chain({}), space), SingleDNN(chain(*STATED), space)
    new = set(stated.probe_values()) - set(plain.probe_values())
    assert new == {name for name in stated.probe_values() if name.startswith("weights_")} and "weights_energy_j" in new
    there = of_model(stated)
    assert differences(there, of_model(stated)) == []
    probes._weight_values.cache_clear()
    monkeypatch.setattr(weight_forms, "METADATA_BITS", 3)
    assert "the model computes other numbers: weights_" in differences(there, of_model(stated))[0]
    probes._weight_values.cache_clear()


# ---------------------------------------------------------------------------------------------------------------------
# Networks: edits, files, words.


def test_weights_of_all_layers_that_can_have_them_or_of_named_ones():
    layers = (*chain({}, {}).layers, MacLayer("first", K=8, C=3), MacLayer("scores", K=8, C=8, static_weights=False))
    network = Network("n", layers)
    every = network.with_weights(bits=4, sparsity="2:4")
    assert [layer.weight_bits for layer in every.mac_layers] == [4, 4, 4, 0]
    assert [layer.weight_sparsity for layer in every.mac_layers] == ["2:4", "2:4", "", ""]
    one = network.with_weights(["l1"], bits=4)
    assert [layer.weight_bits for layer in one.mac_layers] == [0, 4, 0, 0]
    assert every.with_weights(bits=0, sparsity="") == network and network.with_weights() == network
    with pytest.raises(ValueError, match="MAC layer 'l7' is unknown"):
        network.with_weights(["l7"], bits=4)
    with pytest.raises(ValueError, match="C=3 is no multiple of it; leave this layer dense"):
        network.with_weights(["first"], sparsity="2:4")
    with pytest.raises(ValueError, match="weight_bits is a property of constant weights"):
        network.with_weights("scores", bits=4)
    with pytest.raises(ValueError, match="weight_sparsity must be one of '', '2:4', got '1:2'"):
        network.with_weights("l1", sparsity="1:2")
    with pytest.raises(ValueError, match="weight_bits must be a whole number >= 0, got -1"):
        network.with_weights("l1", bits=-1)


def test_a_file_of_layers_keeps_them(tmp_path):
    network = chain(*STATED)
    (tmp_path / "chain.toml").write_text(network.toml_text())
    assert dse.load_network(tmp_path / "chain.toml").layers == network.layers


@pytest.mark.parametrize(
    "values, message",
    [
        ({"narrow_weight_bits": 5}, "narrow_weight_bits=5 must be at most half of weight_bits=8"),
        ({"narrow_weight_bits": -1}, "narrow_weight_bits must be a whole number >= 0, got -1"),
        ({"narrow_weight_bits": 2.5}, "narrow_weight_bits must be a whole number >= 0, got 2.5"),
        ({"sparse_weights": "1:4"}, "sparse_weights must be one of none, 2:4, got '1:4'"),
    ],
)
def test_bad_properties_of_hardware_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        dse.Accelerator(**values)


def quantised(path, kind: int, **properties: str) -> Path:
    """A convolution and a product whose weights are stored in a type and come through ``DequantizeLinear``."""
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5])
    a = helper.make_tensor("a", kind, [8, 4, 3, 3], [1] * 288)
    b = helper.make_tensor("b", TensorProto.FLOAT, [128, 10], [1.0] * 1280)
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "scale"], ["a_float"]),
        helper.make_node("Conv", ["x", "a_float"], ["y"], "conv"),
        helper.make_node("Flatten", ["y"], ["flat"]),
        helper.make_node("MatMul", ["flat", "b"], ["z"], "product"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in (("x", [1, 4, 6, 6]), ("z", [1, 10]))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [scale, a, b])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    for key, value in properties.items():
        model.metadata_props.add(key=key.replace("__", ":"), value=value)
    onnx.save(model, path / "net.onnx")
    return path / "net.onnx"


@pytest.mark.parametrize("kind, bits", [("INT4", 4), ("UINT4", 4), ("INT8", 0)])
def test_onnx_tells_the_width_of_weights_by_their_type(tmp_path, kind, bits):
    network = dse.load_network(quantised(tmp_path, getattr(TensorProto, kind)))
    assert {layer.name: layer.weight_bits for layer in network.mac_layers} == {"conv": bits, "product": 0}
    assert [layer.weight for layer in network.mac_layers] == ["a", "b"]


def test_onnx_tells_by_metadata_what_types_do_not(tmp_path):
    file = quantised(tmp_path, TensorProto.INT8, weight_sparsity="2:4", weight_bits__product="4")
    found = {layer.name: (layer.weight_bits, layer.weight_sparsity) for layer in dse.load_network(file).mac_layers}
    assert found == {"conv": (0, "2:4"), "product": (4, "2:4")}
    for properties, message in (
        (
            {"weight_bits": "four"},
            "metadata property weight_bits: expected a whole number of bits, such as 4, got 'four'",
        ),
        ({"weight_sparsity__pool": "2:4"}, "MAC layer 'pool' is unknown"),
        ({"weight_sparsity": "1:2"}, "weight_sparsity must be one of '', '2:4', got '1:2'"),
    ):
        with pytest.raises(NetworkError, match=message):
            dse.load_network(quantised(tmp_path, TensorProto.INT8, **properties))


def test_evaluate_and_explain_name_such_weights():
    done = dse.evaluate(NARROW, chain(*STATED))
    assert weight_lines(done) == [
        "1 of 5 MAC layers: weights 4 bit: 2 channels of a PE a cycle instead of 1, 4 bit a weight instead of 8",
        "1 of 5 MAC layers: weights 2:4: no use on this design",
        "1 of 5 MAC layers: weights 4 bit, 2:4: 2 channels of a PE a cycle instead of 1, 4 bit a weight instead of 8",
    ]
    assert weight_lines(dse.evaluate(NARROW, chain({}))) == []
    words = dse.explain(NARROW, chain(*STATED)).layers["weights"].tolist()
    assert words[0] == words[4] == "" and words[2] == "weights 2:4: no use on this design"


def test_more_weights_a_register_hold_for_what_they_take():
    assert weights_on(WeightForm(4, True), BOTH).weight_register_bytes == 1.5  # two weights of 4 bits, 2 bits for each
    assert weights_on(WeightForm(), BOTH).weight_register_bytes == 1
    assert weights_on(WeightForm(4, True), BOTH).input_register_bytes == 4
    wide = replace(NARROW, input_register_bytes=64)
    assert weights_on(WeightForm(4), wide).input_register_bytes == 64
