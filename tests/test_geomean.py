"""`GeomeanDNN`: means, columns of each network, bad input, resuming; and the price of generality."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_several import NETWORKS

import dse
from dse.analysis.price_of_generality import price_table
from dse.costs.batches import BatchEvaluator
from dse.hardware.space import DesignSpace, default_space
from dse.networks import NetworkError
from dse.networks.layers import MacLayer, VectorLayer
from dse.runs.column_dictionary import METRICS, dictionary
from dse.runs.files import RunDirectoryError
from problems import GeomeanDNN, ProblemError, SingleDNN, resume

SPACE = DesignSpace(
    {"rows": [4, 8, 16], "cols": [4, 8, 16], "dataflow": ["weight_stationary", "row_stationary"],
     "input_buffer_kib": [1, 4, 16, 64], "dram_gbps": [1, 4, 16]}, name="few"
)  # fmt: skip
X = SPACE.sample(30, np.random.default_rng(0))


def test_metrics_are_weighted_geometric_means_of_each_network_alone():
    weights = (3.0, 1.0, 2.0)
    rows = GeomeanDNN(NETWORKS, weights, SPACE).evaluate_designs(X)
    alone = [BatchEvaluator(network)(SPACE.columns(X)) for network in NETWORKS]
    for name in ("latency_s", "energy_j", "power_w", "utilisation", "latency_bound_s", "dram_bytes"):
        product = np.prod([own[name] ** w for own, w in zip(alone, weights, strict=True)], axis=0)
        assert np.allclose(rows.metrics[name], product ** (1 / 6), rtol=1e-12), name
    for network, own in zip(NETWORKS, alone, strict=True):
        for name in ("latency_s", "energy_j", "overflow"):
            assert (rows.metrics[f"{name}_{network.name}"] == own[name]).all()
    assert (rows.metrics["area_mm2"] == alone[0]["area_mm2"]).all()
    assert (rows.objectives == np.column_stack([rows.metrics["latency_s"], rows.metrics["area_mm2"]])).all()


def test_a_design_is_feasible_where_every_network_can_run():
    base = dse.Accelerator(activation_bits=16, input_register_bytes=2)
    space = DesignSpace({"weight_register_bytes": [1, 2, 64], "rows": [4, 8]}, base)
    problem = GeomeanDNN(NETWORKS, space=space)
    rows = problem.evaluate_designs(problem.space.all_designs())
    each = np.column_stack([rows.metrics[f"overflow_{network.name}"] for network in NETWORKS])
    assert (rows.feasible == (each == 0).all(axis=1)).all() and 0 < rows.feasible.sum() < len(rows)
    assert (each[~rows.feasible] == 0).any()  # some networks run where others do not


def test_the_mean_of_one_network_is_that_network():
    one, single = GeomeanDNN(NETWORKS[:1], space=SPACE), SingleDNN(NETWORKS[0], space=SPACE)
    assert np.allclose(one.evaluate_designs(X).objectives, single.evaluate_designs(X).objectives, rtol=1e-14)


def test_weights_by_name_and_in_order_mean_the_same_and_only_their_ratio_counts():
    by_name = {"two": 1, "one": 2, "product": 4}
    rows = [GeomeanDNN(NETWORKS, w, SPACE).evaluate_designs(X).objectives for w in (by_name, (2, 4, 1), (4, 8, 2))]
    assert (rows[0] == rows[1]).all() and np.allclose(rows[0], rows[2], rtol=1e-14)
    assert not np.allclose(rows[0], GeomeanDNN(NETWORKS, space=SPACE).evaluate_designs(X).objectives)


def test_objectives_of_single_networks_and_products_of_means():
    names = ("latency_s_two", "edp_js", "energy_j_product", "latency_gap")
    rows = GeomeanDNN(NETWORKS, space=SPACE, objectives=names).evaluate_designs(X)
    m = rows.metrics
    expected = [m["latency_s_two"], m["energy_j"] * m["latency_s"], m["energy_j_product"],
                m["latency_s"] / m["latency_bound_s"]]  # fmt: skip
    assert np.allclose(rows.objectives.T, expected, rtol=1e-14)
    with pytest.raises(ProblemError, match="unknown objective 'latency_s_vgg'; the known ones are latency_s, cycles,"):
        GeomeanDNN(NETWORKS, space=SPACE, objectives=("latency_s_vgg",))


def test_columns_say_what_they_mean_here():
    problem = GeomeanDNN(NETWORKS, space=SPACE)
    found = dictionary(("latency_s", "latency_s_two", "area_mm2", "overflow_one"), problem)
    assert found["latency_s"].meaning.startswith("weighted geometric mean over the networks: time of one inference")
    assert found["latency_s_two"].meaning.startswith("two: time") and found["latency_s_two"].unit == "s"
    assert found["area_mm2"].meaning == METRICS["area_mm2"].meaning and found["overflow_one"].unit == "1"


@pytest.mark.parametrize(
    ("networks", "weights", "message"),
    [
        ([], None, "the list of networks is empty"),
        (NETWORKS[0], None, "expected a list of networks"),
        ([NETWORKS[0], NETWORKS[2].renamed("one")], None, "two networks are called 'one'; rename one"),
        (["resnet50", "resnet50"], None, "two networks are called 'resnet50'"),
        ([NETWORKS[0].renamed("a,b")], None, "network 'a,b': its name becomes a column"),
        (NETWORKS, (1, 0, 1), "the weight of product is 0; give a positive number, or leave the network out"),
        (NETWORKS, (1, -2.0, 1), "the weight of product is -2.0"),
        (NETWORKS, (1, 1, float("nan")), "the weight of two is nan"),
        (NETWORKS, (1, 1, float("inf")), "the weight of two is inf"),
        (NETWORKS, (1, True, 1), "the weight of product is True"),
        (NETWORKS, (1, "2", 1), "the weight of product is '2'"),
        (NETWORKS, (1, 1), r"got 2 for 3 networks \(one, product, two\)"),
        (NETWORKS, {"one": 1, "two": 1}, "weights: 'product' has none; give one for each of one, product, two"),
        (NETWORKS, {"one": 1, "two": 1, "product": 1, "x": 1}, "weights: 'x' is none of the networks"),
        (NETWORKS, 2.0, "weights: expected one number a network, got 2.0"),
    ],
)
def test_bad_input_is_one_line(networks, weights, message):
    with pytest.raises(ValueError, match=message) as error:
        GeomeanDNN(networks, weights, SPACE)
    assert "\n" not in str(error.value)


def test_a_network_without_mac_layers_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    with pytest.raises(ValueError, match="'relu' has no MAC layer"):
        GeomeanDNN([dse.Network("relu", (VectorLayer("r", "Relu", 4, 4, 4),))], space=SPACE)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    onnx.save(helper.make_model(graph), tmp_path / "relu.onnx")
    with pytest.raises(NetworkError, match="no MAC layer"):
        GeomeanDNN(["resnet50", str(tmp_path / "relu.onnx")], space=SPACE)


def test_batch_belongs_to_loading():
    with pytest.raises(ProblemError, match="pass them to load_network"):
        GeomeanDNN(NETWORKS, space=SPACE, batch=2)
    assert GeomeanDNN(["resnet50", NETWORKS[0]], space=SPACE, batch=2).networks[0].mac_layers[0].B == 2


def test_descriptions_tell_problems_apart():
    base = GeomeanDNN(NETWORKS, space=SPACE).describe()
    assert base == GeomeanDNN(NETWORKS, space=SPACE, n_jobs=2).describe()
    changed = NETWORKS[0].renamed("one"), NETWORKS[1], NETWORKS[2]
    assert base == GeomeanDNN(changed, space=SPACE).describe()
    for other in (
        GeomeanDNN(NETWORKS, (1, 1, 2), SPACE),
        GeomeanDNN(NETWORKS[:2], space=SPACE),
        GeomeanDNN([*NETWORKS[:2], dse.Network("two", (MacLayer("p", K=8),))], space=SPACE),
    ):
        assert other.describe() != base


def test_resume_from_the_directory_alone(tmp_path):
    path = tmp_path / "run"
    chosen = GeomeanDNN(["resnet50"], {"resnet50": 0.3}, SPACE, objectives=("edp_js", "area_mm2"))
    dse.explore(chosen, out=path, evaluations=30, population=10)
    whole = {p.name: p.read_bytes() for p in path.iterdir()}
    (path / "designs.csv").write_bytes(whole["designs.csv"][:9000])
    (path / "price_of_generality.csv").unlink()
    (path / "manifest.json").write_text(json.dumps(json.loads(whole["manifest.json"]) | {"status": "running"}))
    assert resume(path).finished
    for name in ("designs.csv", "front.csv", "price_of_generality.csv", "columns.csv"):
        assert (path / name).read_bytes() == whole[name], name
    dse.explore(GeomeanDNN(NETWORKS, space=SPACE), out=tmp_path / "mine", evaluations=20)
    with pytest.raises(RunDirectoryError, match="GeomeanDNN is not in it. Run the script that started it"):
        resume(tmp_path / "mine")


LATENCY_S = np.array([[1.0, 9.0, 4.0], [4.0, 1.0, 2.0], [2.0, 2.0, 2.0], [1.0, 1.0, 1.0]])
FITS = np.array([[True, True, True], [True, True, False], [True, True, True], [True, True, True]])
AREA_MM2 = np.array([1.0, 2.0, 2.0, 5.0])


def test_price_by_hand():
    table = price_table(LATENCY_S, FITS, AREA_MM2, [2, 0], ["a", "b", "c"]).set_index(["shared", "network"])
    here = table.loc[2]
    assert here["own_best"].to_dict() == {"a": 0, "b": 1, "c": 2}  # design 1 cannot run c, design 3 is larger
    assert here["loss"].to_dict() == {"a": 1.0, "b": 1.0, "c": 0.0}
    # without a: design 2 (2 x 2 < 9 x 4; 1 cannot run c); without b: 0 (1 x 4 = 2 x 2); without c: 1 (4 x 1 = 2 x 2)
    assert here["left_out"].to_dict() == {"a": 2, "b": 0, "c": 1}
    assert here["left_out_loss"]["b"] == 9 / 1 - 1 and np.isinf(here["left_out_loss"]["c"])
    assert (table.loc[0]["own_best"] == 0).all() and (table.loc[0]["loss"] == 0).all()


def test_leaving_one_of_two_out_is_the_best_of_the_other_even_among_equals():
    """Taking the one's logarithm off the sum left rounding, which broke ties between designs another way."""
    rng = np.random.default_rng(0)
    latency_s = np.column_stack([rng.choice([0.0013, 0.3, 0.7], 300), rng.uniform(1e-6, 1, 300)])
    table = price_table(latency_s, np.ones((300, 2), dtype=bool), np.ones(300), [5], ["a", "b"]).set_index("network")
    assert table.loc["b", "left_out"] == table.loc["a", "own_best"] == np.argmin(latency_s[:, 0])
    assert table.loc["a", "left_out"] == table.loc["b", "own_best"]


def test_price_follows_the_weights_and_needs_two_networks_to_leave_one_out():
    table = price_table(LATENCY_S, FITS, AREA_MM2, [2], ["a", "b", "c"], (1, 5, 1)).set_index("network")
    assert table.loc["c", "left_out"] == 1 and table.loc["a", "left_out"] == 2
    assert table.loc["b", "left_out"] == 0
    alone = price_table(LATENCY_S[:, :1], FITS[:, :1], AREA_MM2, [2], ["a"])
    assert alone["left_out_loss"].isna().all() and alone["loss"].tolist() == [1.0]


def test_price_of_a_run_is_read_off_its_own_designs():
    run = dse.explore(GeomeanDNN(NETWORKS, (2, 1, 1), SPACE), evaluations=60, population=12, seed=3)
    table = dse.price_of_generality(run)
    assert sorted(set(table["shared"])) == sorted(run.front["index"])
    assert (table["loss"] >= 0).all() and (table["left_out_loss"] >= 0).all() and table["loss"].max() > 0
    files = {"search": run.designs, "random": run.random_twin}
    for _, row in table.iterrows():
        best = files[row["own_best_source"]].iloc[row["own_best"]]
        assert best["area_mm2"] <= row["area_mm2"] and best[f"latency_s_{row['network']}"] == row["own_best_latency_s"]
        shared = run.designs.iloc[row["shared"]]
        assert shared[f"latency_s_{row['network']}"] == row["latency_s"]
    single = dse.explore(SingleDNN(NETWORKS[0], space=SPACE), evaluations=20, population=10)
    with pytest.raises(ValueError, match="it is not one of several networks"):
        dse.price_of_generality(single)


def test_default_space_and_a_subclass_with_its_own_objectives():
    class WorstCase(GeomeanDNN):
        """Latency [s] of the slowest network, and area [mm2]."""

        objective_names = ("worst_latency_s", "area_mm2")

        def objectives(self, m):
            """The slowest, area."""
            return np.max([m[f"latency_s_{network.name}"] for network in self.networks], axis=0), m.area_mm2

    problem = WorstCase(NETWORKS)
    assert problem.space.hash == default_space().hash
    assert problem.evaluate_designs(problem.space.sample(3, np.random.default_rng(0))).objectives.shape == (3, 2)
    with pytest.raises(ProblemError, match="WorstCase defines its objectives itself"):
        WorstCase(NETWORKS, objectives=("latency_s",))


def test_a_name_of_a_network_with_a_line_break_or_blank_is_refused():
    for name in ("a\nb", " a", "a\t", 'a"b', ""):
        with pytest.raises(ProblemError, match="its name becomes a column of CSV files, but it"):
            GeomeanDNN([NETWORKS[0].renamed(name)], space=SPACE)
