"""The study of several DNNs, on two small ones: its matrix, gains and prices agree with each other."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[1] / "experiments" / "eight_dnns.py"
TWO = ("wide_deep", "ptb_lstm_medium")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The script with two networks and few evaluations, its searches and tables made."""
    spec = importlib.util.spec_from_file_location("eight_dnns", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.OUT, module.EIGHT, module.MEAN = tmp_path_factory.mktemp("eight"), TWO, 60
    module.BUDGETS, module.EVALUATIONS = (40.0, 160.0), {"best": 60, "fixed": 400}
    for mapping in module.EVALUATIONS:
        module.search(mapping, 1)
    module.table()
    return module


def test_every_optimum_is_the_best_for_its_own_and_the_shared_design_for_the_mean(study):
    matrix = pd.read_csv(study.OUT / "matrix.csv")
    assert len(matrix) == 2 * 2 * 3
    for _, rows in matrix.groupby(["mapping", "budget_mm2"]):
        rows = rows.set_index("design")
        assert [rows.loc[name, name] for name in TWO] == [1, 1]
        assert (rows[[*TWO]] <= 1 + 1e-12).all(axis=None)
        assert np.allclose(rows["geomean"], np.sqrt(rows[TWO[0]] * rows[TWO[1]]), rtol=1e-4)
        assert rows["geomean"].idxmax() == "shared" or rows["geomean"].max() == rows.loc["shared", "geomean"]


def test_gains_and_prices_follow_from_the_matrix(study):
    matrix = pd.read_csv(study.OUT / "matrix.csv").set_index(["mapping", "budget_mm2", "design"])
    summary = pd.read_csv(study.OUT / "summary.csv").set_index(["mapping", "budget_mm2", "design"])
    prices = pd.read_csv(study.OUT / "generality.csv")
    for mapping, budget, name in summary.index:
        shared = matrix.loc[(mapping, budget, "shared"), "geomean"]
        gain = 100 * (shared / matrix.loc[(mapping, budget, name), "geomean"] - 1)
        assert summary.loc[(mapping, budget, name), "shared_gains_percent"] == pytest.approx(gain, abs=2e-3)
    for _, row in prices.iterrows():
        performance = matrix.loc[(row["mapping"], row["budget_mm2"], "shared"), row["network"]]
        assert row["loss"] == pytest.approx(1 / performance - 1, abs=1e-4)
        # with two networks, the design for "the others" is the other's own optimum
        other = next(name for name in TWO if name != row["network"])
        performance = matrix.loc[(row["mapping"], row["budget_mm2"], other), row["network"]]
        assert row["left_out_loss"] == pytest.approx(1 / performance - 1, abs=1e-4)


def test_designs_keep_the_budget_and_their_frozen_mapping(study):
    designs = pd.read_csv(study.OUT / "designs.csv")
    assert (designs["area_mm2"] <= designs["budget_mm2"]).all()
    assert designs.loc[designs["mapping"] == "fixed", "fixed_tile_k"].notna().all()
