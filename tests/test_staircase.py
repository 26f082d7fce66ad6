"""`dse.staircase`: steps where the array says they are, and messages that help."""

import pytest

import dse
from dse.analysis.staircases import SIZES, known_layer, staircase, varied
from dse.networks.layers import MacLayer, Network
from dse.output.explanation_figures import stairs

LAYER = MacLayer("conv", "Conv", K=40, C=32, OY=8, OX=8, FY=3, FX=3, pad_y=1, pad_x=1, IY=8, IX=8, vector_operations=64)
NETWORK = Network.from_layers([LAYER])
DESIGN = dse.Accelerator(rows=16, cols=16, dram_gbps=1000, vector_lanes=256,
                         **{f"{x}_buffer_width_bytes": 512 for x in ("weight", "input", "output")})  # fmt: skip


def test_steps_lie_at_multiples_of_the_columns():
    table = staircase(DESIGN, NETWORK, "conv", "K", range(1, 65))
    assert table["step"].iloc[0] == 16
    assert set(table[table["is_step"]]["value"]) >= {16, 32, 48}
    cycles = table.set_index("value")["cycles"]
    assert cycles[33] > 1.2 * cycles[32] and cycles[48] < 1.05 * cycles[33]
    assert table[table["is_now"]]["value"].tolist() == [40]
    assert cycles[40] == dse.evaluate(DESIGN, LAYER).cycles


@pytest.mark.parametrize("what", SIZES)
def test_every_size_can_be_varied_and_holds_the_layer_as_it_is(what):
    table = staircase(DESIGN, NETWORK, "conv", what)
    assert table["is_now"].sum() == 1 and (table["cycles"] > 0).all()
    assert stairs(table, "test") is not None


def test_sizes_keep_what_they_do_not_vary():
    assert varied(LAYER, "groups", 8).macs == LAYER.macs // 8
    assert varied(LAYER, "stride", 2).OY == 4 and varied(LAYER, "stride", 2).vector_operations == 16
    assert varied(LAYER, "kernel", 5).IY == LAYER.IY and varied(LAYER, "kernel", 5).pad_y == 2
    assert varied(LAYER, "K", 20).vector_operations == 32
    with pytest.raises(ValueError, match="groups=3 divides neither"):
        varied(LAYER, "groups", 3)


def test_an_unknown_layer_offers_the_closest():
    network = dse.load_network("resnet50")
    with pytest.raises(ValueError, match="has no MAC layer 'Conv1'; did you mean '/conv1/Conv'"):
        known_layer(network, "Conv1")
    with pytest.raises(ValueError, match="did you mean '/layer1/layer1.0/conv2/Conv'"):
        known_layer(network, "/layer1/layer1.0/convv2/Conv")
    with pytest.raises(ValueError, match="size 'depth' is unknown; choose among K, C"):
        staircase(DESIGN, NETWORK, "conv", "depth")
