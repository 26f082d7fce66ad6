"""`SeveralEvaluator`: the bits of each network alone, shared shapes once, messages."""

from __future__ import annotations

import numpy as np
import pytest

from dse.costs.batches import BatchEvaluator
from dse.costs.kernel_rows import network_tables
from dse.costs.several_networks import SeveralEvaluator, distinct_networks, joined_tables
from dse.hardware.accelerator import Accelerator
from dse.hardware.space import DesignSpace, default_space
from dse.networks import load_network
from dse.networks.layers import MacLayer, Network, VectorLayer

CONV = {"K": 32, "C": 16, "OY": 14, "OX": 14, "FY": 3, "FX": 3}


def chain(name, *sizes, repeats=1):
    """Convolutions in a chain with an element-wise layer after each, activations with edges."""
    layers, before = [], "x"
    for i, size in enumerate(sizes):
        conv = MacLayer(f"conv{i}", "Conv", **{**CONV, "K": size}, inputs=(before,), output=f"c{i}", repeats=repeats)
        act = VectorLayer(f"act{i}", "Relu", conv.output_elements, conv.output_elements, conv.output_elements,
                          inputs=(f"c{i}",), output=f"a{i}")  # fmt: skip
        layers += [conv, act]
        before = f"a{i}"
    return Network(name, tuple(layers))


NETWORKS = (
    chain("one", 32, 64, 32),
    Network.from_layers([MacLayer("product", "MatMul", OX=64, C=96, K=48, static_weights=False)], "product"),
    chain("two", 64, 16, repeats=3),
)


def check_bits(networks, columns, **options):
    """Every metric of every network is that of its own evaluator."""
    together = SeveralEvaluator(networks, **options)(columns)
    assert list(together) == [network.name for network in networks]
    for network in networks:
        alone = BatchEvaluator(network, **options)(columns)
        assert set(alone) == set(together[network.name])
        for name, values in alone.items():
            assert together[network.name][name].tobytes() == values.tobytes(), (network.name, name)


def test_each_network_has_the_bits_of_its_own_evaluator():
    space = default_space()
    columns = space.columns(space.sample(40, np.random.default_rng(0)))
    check_bits(NETWORKS, columns)
    check_bits(NETWORKS[::-1], columns, objective="edp", n_jobs=2)


def test_activations_and_weights_that_stay_on_chip_do_not_mix_between_networks():
    base = Accelerator(resident_weights=True, buffers="W/I/O")
    space = DesignSpace(
        {"weight_buffer_kib": [16, 32, 64, 128], "input_buffer_kib": [16, 64, 256],
         "resident_activation_fraction": [0.0, 0.5, 0.75]}, base
    )  # fmt: skip
    columns = space.columns(space.all_designs())
    check_bits(NETWORKS, columns)
    found = SeveralEvaluator(NETWORKS)(columns)
    differs = [len(np.unique(metrics["dram_bytes"])) for metrics in found.values()]
    assert min(differs[0], differs[2]) > 2  # what stays on chip makes a difference here


def test_a_real_network_beside_a_renamed_copy_costs_no_more_shapes():
    network = load_network("resnet50")
    tables = joined_tables([network, network.renamed("copy")])
    assert len(tables.layers) == len(network_tables(network).layers)
    space = default_space()
    check_bits([network, network.renamed("copy")], space.columns(space.sample(3, np.random.default_rng(1))))


def test_equal_shapes_of_different_networks_share_a_row():
    tables = joined_tables(NETWORKS)
    assert len(tables.layers) == 4  # K of 32, 64, 16 and the product
    assert tables.weight_elements.tolist() == [network.weight_elements for network in NETWORKS]


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([], "the list of networks is empty"),
        (NETWORKS[0], "expected a list of networks, got <Network one"),
        ("resnet50", "expected a list of networks, got 'resnet50'"),
        (["resnet50"], "expected a Network, got 'resnet50'; load it with load_network"),
        ([NETWORKS[0], NETWORKS[1].renamed("one")], "two networks are called 'one'; rename one"),
    ],
)
def test_wrong_networks(networks, message):
    with pytest.raises(ValueError, match=message):
        distinct_networks(networks)
