"""The measured study of tuned networks: its plan, what it trains in which order, what it goes on from, its tables."""

import dataclasses
import importlib.util
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from test_experiments import ROOT, assert_one_line, experiments

from dse.networks import load_network
from dse.training.accuracy_study import COLUMNS, packed, read_runs
from dse.training.images import simple_images
from experiments.accuracy_plan import Pair, Plan, Trainings, comparisons, file_of, make_graphs
from experiments.study import RESULTS, Fault
from experiments.tune_dnn import PLAN, QUICK

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
TINY = dataclasses.replace(
    QUICK, recipes={name: {"epochs": 1, "batch": 100} for name in QUICK.recipes}, pairs=QUICK.pairs[1:], graphs=(),
)  # fmt: skip


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The graphs of the small plan."""
    pytest.importorskip("torch", reason="torch makes the graphs")
    place = tmp_path_factory.mktemp("graphs")
    make_graphs(QUICK, place)
    return place


def trainings(plan, graphs, place, say=lambda line: None, data=None):
    images = {"simple": simple_images(200, 20, 50)} if data is None else data
    return Trainings(plan, graphs, place / "trainings", place / "weights", images, say)


def test_the_committed_plan_is_whole_and_its_graphs_lie_there():
    plan = Plan.read(PLAN)
    assert len(plan.seeds) == 10 and {"kept", "smaller", "larger", "precision", "sparsity", "epochs"} == {
        pair.capacity for pair in plan.pairs
    }
    for pair in plan.pairs:
        for name in (pair.original, pair.tuned):
            assert file_of(RESULTS / "tune_dnn" / "networks", pair.network, plan.arm(name).graph).is_file()


def test_committed_trainings_are_of_the_plan():
    """Every row is of an arm and a seed that the plan names, and of the recipe that its fellows have."""
    plan = Plan.read(PLAN)
    tables = list((RESULTS / "tune_dnn" / "trainings").rglob("runs.csv"))
    assert len(tables) == len({(pair.data, pair.network) for pair in plan.pairs})
    for path in tables:
        runs, network, data = read_runs(path), path.parent.name, path.parent.parent.name
        arms = {name for pair in plan.pairs if (pair.data, pair.network) == (data, network)
                for name in (pair.original, pair.tuned)}  # fmt: skip
        assert set(runs["network"]) <= arms and set(runs["seed"]) <= set(plan.seeds)
        assert (runs.groupby("network")["identity"].nunique() == 1).all()
        good = runs[runs["error"] == ""]
        assert good["accuracy"].between(0, 1).all() and (good["correct"] != "").all()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [('capacity = "kept"', 'capacity = "big"', "capacity 'big'; one of kept"),
     ("seeds = [101", "seed = [101", "no plan"),
     ('data = "mnist"', 'data = "cifar"', "no margin for cifar"), ("one_side", "one_sided", "no plan"),
     ("seeds = [101", "seeds = 101 [", "no plan"), ("seeds = [101", "seeds = [102", "each seed and each pair"),
     ("seeds = [101, 102,", "seeds = 5 # [101", "no plan"), ("one_side = 0.025", "one_side = 2", "between 0 and 0.5"),
     ("epochs = 8\n", 'epochs = "8"\n', "say its epochs"),
     ('original = "32 epochs"', 'original = "64 epochs"', "itself"),
     ('start = "original"', 'start = "W4A8"', "an arm starts from itself"),
     ('original = "32 epochs"', 'original = "33 epochs"', "'33 epochs' is no arm"),
     ("seeds = 3", "seeds = 30", "30 seeds of 10"), ("seeds = 3", "seeds = 0", "0 seeds of 10"),
     ("epochs = 8\n", "", "the recipe of mobilenet-style does not say its epochs"),
     ("epochs = 16", "epoch = 16", "arm '16 epochs': got an unexpected keyword argument 'epoch'"),
     ('start = "original"', 'start = "orignal"', "starts from 'orignal', which is no arm")],
)  # fmt: skip
def test_a_wrong_plan_is_told(old, new, told, tmp_path):
    path = tmp_path / "plan.toml"
    text = PLAN.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(Fault, match=told):
        Plan.read(path)
    with pytest.raises(Fault, match="is missing: a study is planned before"):
        Plan.read(tmp_path / "nothing.toml")


@needs_torch
def test_both_arms_of_a_seed_come_before_the_next_seed(graphs, tmp_path):
    said = []
    trainings(TINY, graphs, tmp_path, said.append).run()
    order = [line.split(": ")[1] for line in said]
    assert order == ["original, seed 1", "one 3x3 last, seed 1", "original, seed 2", "one 3x3 last, seed 2",
                     "W4A8, seed 1", "W4A8, seed 2"]  # fmt: skip
    trainings(TINY, graphs, tmp_path, lambda line: pytest.fail(line)).run()  # nothing is left


@needs_torch
def test_without_the_weights_of_another_machine_a_network_is_trained_again(graphs, tmp_path):
    """And what is tuned from them is the same to the bit."""
    trainings(TINY, graphs, tmp_path / "here").run()
    there = tmp_path / "there" / "trainings" / "simple" / "resnet-style" / "runs.csv"
    there.parent.mkdir(parents=True)
    whole = read_runs(tmp_path / "here" / "trainings" / "simple" / "resnet-style" / "runs.csv")
    whole[whole["network"] != "W4A8"].to_csv(there, index=False, na_rep="nan", lineterminator="\n")
    said = []
    trainings(TINY, graphs, tmp_path / "there", said.append).run()
    assert [line.split(": ")[1] for line in said] == ["W4A8, seed 1", "W4A8, seed 2"]
    again = read_runs(there)
    assert again.drop(columns="cpu_time_s").equals(whole.drop(columns="cpu_time_s"))


@needs_torch
def test_data_of_another_shape_are_refused_before_the_first_training(graphs, tmp_path):
    data = {part: (x[:, :, :20], y) for part, (x, y) in simple_images(200, 20, 50).items()}
    with pytest.raises(ValueError, match="takes images 1 x 28 x 28, the data set has 1 x 20 x 28"):
        trainings(TINY, graphs, tmp_path, data={"simple": data}).run()
    assert not (tmp_path / "trainings").exists()


@needs_torch
def test_an_arm_without_its_graph_is_left_out_and_named(graphs, tmp_path):
    plan = dataclasses.replace(TINY, pairs=(Pair("simple", "resnet-style", "nothing", "kept"),))
    said = []
    trainings(plan, graphs, tmp_path, said.append).run()
    assert said[0].startswith("left out: resnet-style, nothing, since ") and len(said) == 3
    (row,) = comparisons(plan, tmp_path / "trainings").to_dict("records")
    assert (row["seeds_done"], row["seeds_planned"]) == (0, 2)


@needs_torch
def test_a_graph_that_lies_there_stays(graphs):
    path = file_of(graphs, "mobilenet-style", "block 1 fused")
    before = path.read_bytes()
    assert load_network(path).macs > 0 and len(before) < 20_000  # without weights
    make_graphs(QUICK, graphs)
    assert path.read_bytes() == before
    plan = dataclasses.replace(QUICK, graphs=({**QUICK.graphs[0], "name": "x", "budget": {"weights": (0, 0)}},))
    with pytest.raises(Fault, match="mobilenet-style, x: no widths keep the budget"):
        make_graphs(plan, graphs)


def table(place, arms, seeds, bad=()):
    """Made-up trainings: an arm's rate of right images."""
    rng = np.random.default_rng(0)
    hard = rng.random(3000) < 0.1
    rows = []
    for name, rate in arms.items():
        for seed in seeds:
            correct = ~hard ^ (rng.random(3000) < rate)
            error = "ArithmeticError: the loss is nan" if (name, seed) in bad else ""
            values = (name, seed, np.nan if error else correct.mean(), np.nan if error else 0.9 - rate, 1.0, error, "x",
                      "" if error else packed(correct))  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    place.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(place / "runs.csv", index=False, na_rep="nan", lineterminator="\n")


PAIRS = tuple(Pair("simple", "net", name, "kept") for name in ("good", "worse", "later"))
MADE = Plan(tuple(range(8)), 0.025, {"simple": 0.5}, {"net": {"epochs": 8}}, {}, (), PAIRS)


def test_pairs_are_judged_when_they_are_complete_and_all_count_in_the_family(tmp_path):
    table(tmp_path / "simple" / "net", {"original": 0.01, "good": 0.008, "worse": 0.05}, range(8))
    found = comparisons(MADE, tmp_path).set_index("tuned")
    assert found["seeds_done"].tolist() == [8, 8, 0] and found["no_loss"].tolist()[:2] == [True, False]
    assert found.loc["good", "p_loss_holm"] == pytest.approx(3 * found.loc["good", "p_loss"])
    assert found.loc["good", "low_holm_points"] < found.loc["good", "low_points"] < found.loc["good", "change_points"]
    assert found.loc["worse", "held_out_change_points"] == pytest.approx(-4)
    assert found.loc["later", ["change_points", "held_out_change_points"]].isna().all()
    seven = dataclasses.replace(MADE, seeds=tuple(range(9)))
    assert comparisons(seven, tmp_path)["seeds_done"].tolist() == [8, 8, 0]
    assert comparisons(seven, tmp_path)["change_points"].isna().all()  # nobody looks before the end


def test_a_seed_that_diverged_is_kept_out_and_named_in_the_table(tmp_path):
    arms = {"original": 0.01, "good": 0.008, "worse": 0.01}
    table(tmp_path / "simple" / "net", arms, range(8), {("original", 2), ("good", 2), ("worse", 3)})
    found = comparisons(MADE, tmp_path).set_index("tuned")
    assert found.loc["good", "held_out_change_points"] == pytest.approx(0.2)
    assert found.loc["good", "seeds"] == 7 and found.loc["good", "no_loss"]
    assert "good, seed 2: ArithmeticError" in found.loc["good", "failed"]
    assert not found.loc["worse", "no_loss"] and "worse, seed 3" in found.loc["worse", "failed"]


def test_an_arm_that_is_trained_for_longer_is_the_same_form():
    plan = Plan.read(PLAN)
    assert plan.form("groups of 4, 32 epochs") == "groups of 4" and plan.form("16 epochs") == "original"
    assert plan.form("W4A8") == "W4A8" and plan.form("groups of 4, smaller") == "groups of 4, smaller"
    assert plan.epochs("mobilenet-style", "groups of 4, 32 epochs") == 32
    assert plan.epochs("mobilenet-style", "original") == 8
    assert plan.epochs("resnet-style", "W4A8") == plan.epochs("resnet-style", "fp32 control") == 10


@needs_torch
def test_a_killed_study_continues_to_the_same_trainings(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert experiments("tune_dnn", "graphs", "--quick", "--out", whole).returncode == 0
    shutil.copytree(whole, killed)
    measure = ("tune_dnn", "measure", "--quick", "--network", "mobilenet-style", "--out")
    assert experiments(*measure, whole).returncode == 0
    command = [sys.executable, "-m", "experiments", *measure, str(killed)]
    first = killed / "trainings" / "simple" / "mobilenet-style" / "runs.csv"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not first.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = first.read_bytes()
    assert experiments(*measure, killed).returncode == 0
    assert first.read_bytes().startswith(kept)
    a, b = (read_runs(place / "trainings" / "simple" / "mobilenet-style" / "runs.csv") for place in (whole, killed))
    assert len(a) == 4 and a.drop(columns="cpu_time_s").equals(b.drop(columns="cpu_time_s"))


def test_a_missing_data_set_is_one_line(tmp_path):
    done = experiments("tune_dnn", "measure", "--data", tmp_path, "--out", tmp_path / "out")
    assert_one_line(done, "lacks train-images-idx3-ubyte", "dataset-fashion-mnist")
