"""Codesign with measured accuracy: the three ways by hand, accuracy as the third axis, interruption, bad input."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

import dse
from dse.search.pareto import Normalisation
from dse.training.accuracy_study import read_runs
from experiments import measured_codesign
from experiments.accuracy_plan import Pair, Plan
from experiments.measured_codesign import (
    Searches,
    accuracy_draws,
    codesign,
    common_areas,
    compared,
    curves,
    depth,
    error_scale,
    headline,
    interval,
    joint_front,
    latency_within,
    measured,
    tables_of,
)
from experiments.study import RESULTS, Fault, Study
from experiments.tune_dnn import PLAN

PLACE = RESULTS / "tune_dnn"
TABLES = ("arms", "gains", "curves", "front")
SCALE = Normalisation((1.0, 1.0), (100.0, 100.0), (True, True))
HARDWARE = np.array([[64.0, 1.0], [16.0, 10.0]])  # latency [s], area [mm2]
WAYS = {"hardware": [HARDWARE, HARDWARE], "dnn": [HARDWARE / [2, 1]] * 2,
        "both": [HARDWARE / [4, 1], HARDWARE / [8, 1]]}  # fmt: skip


def test_the_three_ways_of_a_small_case_are_those_by_hand():
    """The DNN halves the latency on every design; both divide it by 4 with one seed, by 8 with the other."""
    areas = common_areas([WAYS], SCALE, count=3)
    assert areas.tolist() == pytest.approx([1, 10**0.5, 10]) and areas[-1] == 10
    assert latency_within([HARDWARE], np.array([0.5, 1, 9.99, 10])).tolist() == [[np.inf, 64, 64, 16]]
    table = curves(WAYS, areas)
    assert table["hardware_latency_s"].tolist() == pytest.approx([64, 64, 16])
    assert table["both_latency_s"].tolist() == pytest.approx([64 / 32**0.5, 64 / 32**0.5, 16 / 32**0.5])
    depths = {"hardware": np.ones(5), "dnn": np.full(5, 1.1), "both": np.full(5, 1.1)}
    rows = {(row["way"], row["against"]): row for row in compared(WAYS, areas, SCALE, depths)}
    dnn, both, rest = rows["dnn", "hardware"], rows["both", "hardware"], rows["both", "dnn"]
    assert dnn["saved_percent"] == dnn["saved_low_percent"] == dnn["saved_high_percent"] == pytest.approx(50)
    assert both["saved_percent"] == pytest.approx(100 * (1 - 32**-0.5))
    half = 12.7062047 * np.log(2) / 2  # t distribution of one degree of freedom; sd / sqrt(2) of logs apart by log 2
    assert both["saved_low_percent"] == pytest.approx(100 * (1 - np.exp(-np.log(32) / 2 + half)), rel=1e-6)
    assert both["saved_high_percent"] == pytest.approx(100 * (1 - np.exp(-np.log(32) / 2 - half)), rel=1e-6)
    assert dnn["areas_percent"] == 100 and both["areas_percent"] == 0  # two seeds show nothing of what differs by 2
    assert rest["saved_percent"] == pytest.approx(100 * (1 - 8**-0.5))

    # On the scale: latency log10(64) / 2, area 0 and 0.5, reference 1.1 each.
    def volume(divisor):
        first, second = (1.1 - np.log10(latency / divisor) / 2 for latency in (64, 16))
        return (first * 1.1 + (second - first) * 0.6) / 1.1**2

    assert dnn["volume_against"] == pytest.approx(volume(1)) and dnn["volume"] == pytest.approx(volume(2))
    assert dnn["volume_percent"] == pytest.approx(100 * (volume(2) / volume(1) - 1))
    assert rest["volume_percent"] == pytest.approx(100 * (np.sqrt(volume(4) * volume(8)) / volume(2) - 1))
    assert dnn["accurate_volume_percent"] == pytest.approx(100 * (1.1 * volume(2) / volume(1) - 1))
    assert dnn["accurate_volume_low_percent"] == pytest.approx(dnn["accurate_volume_high_percent"])


def test_intervals_need_two_searches():
    with pytest.raises(Fault, match="two seeds of the search at least"):
        Searches(Plan.read(PLAN), PLACE / "networks", PLACE, 1, 20, 1)


def test_narrow_and_sparse_weights_have_hardware_for_them():
    """In every design of the same space: it takes area, and no latency away from the same weights in full words."""
    searches = Searches(Plan.read(PLAN), PLACE / "networks", PLACE, 2, 20, 1)
    plain = searches.problem("resnet-style", "original")
    X = plain.space.sample(30, np.random.default_rng(0))
    before = plain.evaluate_designs(X)
    for arm, name, value in (("W4A8", "narrow_weight_bits", 4), ("2:4", "sparse_weights", "2:4")):
        problem = searches.problem("resnet-style", arm)
        assert getattr(problem.space.base, name) == value and problem.space.names == plain.space.names
        after = problem.evaluate_designs(X)
        both = before.feasible & after.feasible
        assert both.sum() > 10 and (after.objectives[both, 1] > before.objectives[both, 1]).all()
        assert (after.objectives[both, 0] <= before.objectives[both, 0] * 1.001).mean() > 0.9


def test_an_original_without_errors_has_a_depth():
    axis = error_scale(1 / 100)
    assert np.isfinite(depth(axis, np.array([0.0, 0.01]))).all() and depth(axis, np.array([0.0])).tolist() == [1.0]


def test_the_interval_is_that_of_a_t_test():
    mean, low, high = interval(np.array([1.0, 2.0, 3.0]))
    assert mean == 2 and high - mean == pytest.approx(4.30265273 / 3**0.5) and mean - low == pytest.approx(high - mean)


def test_accuracy_is_the_third_axis_of_the_hypervolume():
    """A front of one network has one error: its volume is that of latency and area times the depth."""
    axis = error_scale(0.08)
    whole = Normalisation((*SCALE.ideal, *axis.ideal), (*SCALE.nadir, *axis.nadir), (True, True, True))
    for error in (0.05, 0.08, 0.15):
        with_error = np.column_stack([HARDWARE, [error, error]])
        told = SCALE.hypervolume(HARDWARE) * depth(axis, np.array([error]))[0]
        assert whole.hypervolume(with_error) == pytest.approx(told)
    assert depth(axis, np.array([0.5])).tolist() == [0.0]


def test_accuracies_are_drawn_with_the_same_seeds_and_images():
    rng = np.random.default_rng(1)
    right = rng.random((4, 300)) < 0.9
    drawn = accuracy_draws({"original": right, "same": right, "better": np.ones_like(right)}, 200)
    assert (drawn["original"] == drawn["same"]).all() and drawn["better"].tolist() == pytest.approx([1.0] * 200)
    assert drawn["original"].mean() == pytest.approx(right.mean(), abs=0.01) and drawn["original"].std() > 0


def test_the_joint_front_holds_no_design_that_another_excels():
    def front(*F):
        return pd.DataFrame(F, columns=["latency_s", "area_mm2"]).assign(rows=8)

    arms = pd.DataFrame({"data": "d", "network": "n", "arm": ["original", "fast"], "accuracy_percent": [90.0, 89.0],
                         "low_percent": 88.0, "high_percent": 91.0})  # fmt: skip
    found = joint_front({"original": [front((2.0, 1.0), (1.0, 2.0))], "fast": [front((1.0, 1.0), (1.0, 3.0))]},
                        arms, ["rows"])  # fmt: skip
    assert found[["arm", "latency_s", "area_mm2"]].to_numpy().tolist() == [
        ["fast", 1.0, 1.0], ["original", 1.0, 2.0], ["original", 2.0, 1.0],
    ]  # fmt: skip


def test_complete_pairs_are_compared_those_of_narrow_and_sparse_weights_too():
    """Not those about epochs, and none that lacks a seed."""
    plan, pairs = Plan.read(PLAN), pd.read_csv(PLACE / "pairs.csv")
    pairs = pairs[(pairs["data"] == "fashion-mnist") & (pairs["network"] == "mobilenet-style")].copy()
    pairs.loc[pairs["tuned"] == "groups of 4, larger", "seeds_done"] = 9
    (family,) = measured(plan, pairs, PLACE / "trainings")
    assert list(family.arms) == ["groups of 4", "groups of 4, smaller", "block 1 fused", "W4A8", "2:4"]
    assert {right.shape for right in family.right.values()} == {(10, 10_000)}
    runs = read_runs(PLACE / "trainings" / "fashion-mnist" / "mobilenet-style" / "runs.csv")
    means = runs[runs["network"].isin(family.right)].groupby("network")["accuracy"].mean()
    assert {arm: 1 - error for arm, error in family.error.items()} == pytest.approx(dict(means))
    arms = tables_of(PLACE)["arms"]
    assert headline(arms[arms["network"] == "mobilenet-style"]) == "groups of 4"


def test_without_a_measured_network_one_line_says_what_to_run(tmp_path):
    pairs = pd.read_csv(PLACE / "pairs.csv")
    pairs["seeds_done"] = 1
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    searches = Searches(Plan.read(PLAN), PLACE / "networks", tmp_path / "runs", 2, 20, 1)
    with pytest.raises(Fault, match=r"no pair of pairs\.csv has all its seeds; run measure, then compare"):
        codesign(Study.at("tune_dnn", tmp_path, quick=False), Plan.read(PLAN), searches)
    (tmp_path / "pairs.csv").unlink()
    with pytest.raises(Fault, match=r"pairs\.csv is missing"):
        codesign(Study.at("tune_dnn", tmp_path, quick=False), Plan.read(PLAN), searches)


def test_an_interrupted_stage_continues_to_the_same_tables(tmp_path, monkeypatch):
    """Searches that are done are not made again; the workers change nothing."""
    plan = Plan.read(PLAN)
    plan = dataclasses.replace(plan, pairs=(Pair("fashion-mnist", "mobilenet-style", "groups of 4", "kept"),))

    def run(name, jobs=1):
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        shutil.copy(PLACE / "pairs.csv", place / "pairs.csv")
        shutil.copytree(PLACE / "trainings", place / "trainings", dirs_exist_ok=True)
        searches = Searches(plan, PLACE / "networks", place / "runs", 2, 30, jobs)
        codesign(Study.at("tune_dnn", place, quick=False), plan, searches)
        return [(place / f"codesign_{table}.csv").read_bytes() for table in TABLES]

    whole = run("whole", jobs=2)
    explore, calls = dse.explore, []

    def stopped(*args, **kwargs):
        calls.append(kwargs["seed"])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return explore(*args, **kwargs)

    monkeypatch.setattr(measured_codesign.dse, "explore", stopped)
    with pytest.raises(KeyboardInterrupt):
        run("killed")
    assert not (tmp_path / "killed" / "codesign_gains.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed" / "runs").rglob("designs.csv")}
    assert len(kept) == 3
    assert run("killed") == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
