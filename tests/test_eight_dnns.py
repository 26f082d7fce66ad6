"""The study of several DNNs, on two small ones: its tables agree with each other and with the rule for ties."""

import numpy as np
import pandas as pd
import pytest

import dse
from dse.runs.tables import read_table as read_run
from dse.runs.tables import warm_start_genes
from experiments.eight_dnns import MAPPINGS, TIE, Choice, Plan, Work, proven, tell
from experiments.fastest import prove
from experiments.study import Fault, Study
from problems import SingleDNN

TWO = ("wide_deep", "ptb_lstm_medium")
BUDGETS = (40.0, 160.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two networks and few evaluations: searches, proofs, ties, the frozen mapping under two seeds, and tables."""
    plan = Plan(TWO, BUDGETS, own=60, mean=60, rounds=1, tie=40, frozen=60, seeds=2, reference=60, minutes=0.01)
    work = Work(Study.at("eight_dnns", tmp_path_factory.mktemp("eight"), quick=True, jobs=1), plan)
    for stage in (work.search, work.certify, work.ties, work.frozen, work.table):
        stage()
    return work


def by_case(study, name, columns=("mapping", "budget_mm2", "design")):
    return study.study.read(f"{name}.csv", columns).set_index(list(columns)).sort_index()


def test_own_optima_are_within_the_tie_and_the_shared_design_is_best_for_the_mean(study):
    matrix = by_case(study, "matrix")
    assert len(matrix) == 2 * 2 * 3
    for _, rows in matrix.groupby(level=["mapping", "budget_mm2"]):
        rows = rows.droplevel(["mapping", "budget_mm2"])
        assert all(rows.loc[name, name] >= 1 / (1 + TIE) for name in TWO)
        assert (rows[[*TWO]] <= 1 + 1e-12).all(axis=None)
        assert np.allclose(rows["geomean"], np.sqrt(rows[TWO[0]] * rows[TWO[1]]), rtol=1e-4)
        assert rows["geomean"].max() == rows.loc["shared", "geomean"]


def test_gains_and_prices_follow_from_the_matrix(study):
    matrix, summary = by_case(study, "matrix"), by_case(study, "summary")
    prices = study.study.read("generality.csv", ["mapping", "network"])
    for mapping, budget, name in summary.index:
        shared = matrix.loc[(mapping, budget, "shared"), "geomean"]
        gain = 100 * (shared / matrix.loc[(mapping, budget, name), "geomean"] - 1)
        assert summary.loc[(mapping, budget, name), "shared_gains_percent"] == pytest.approx(gain, abs=2e-3)
    for _, row in prices.iterrows():
        performance = matrix.loc[(row["mapping"], row["budget_mm2"], "shared"), row["network"]]
        assert row["loss"] == pytest.approx(1 / performance - 1, abs=1e-4)


def test_ties_enclose_the_gain_and_the_chosen_is_least(study):
    single = by_case(study, "summary").drop("shared", level="design")
    assert (single["shared_gains_percent"] == single["ties_least_percent"]).all()
    assert (single["ties_least_percent"] <= single["least_area_gains_percent"]).all()
    assert (single["least_area_gains_percent"] <= single["ties_most_percent"]).all()
    areas, least = by_case(study, "designs")["area_mm2"], by_case(study, "least_area")["area_mm2"]
    assert (least <= areas.loc[least.index]).all()


def test_designs_keep_the_budget_and_say_how_sure_they_are(study):
    designs = study.study.read("designs.csv", ["mapping", "budget_mm2", "design"])
    assert (designs["area_mm2"] <= designs["budget_mm2"]).all()
    frozen = designs["mapping"] == "fixed"
    assert designs.loc[frozen, "fixed_tile_k"].notna().all() and designs.loc[frozen, "spread_over_seeds"].ge(0).all()
    assert designs.loc[~frozen, "proven"].ge(0).all() and designs.loc[frozen, "proven"].isna().all()
    assert len(list(proven(designs, by_case(study, "summary").drop("shared", level="design")))) == len(BUDGETS)


def test_ties_are_searched_from_a_faster_design_that_the_proof_met(study):
    """The search knew none so fast, and found no tie."""
    start = read_run(study.nearest(40.0, "wide_deep") / "designs.csv")
    assert start["latency_s"].is_monotonic_increasing and (start["area_mm2"] <= 40).all()
    assert start["latency_s"].iloc[0] == study.least(40.0, "wide_deep")
    met = read_run(study.proof("wide_deep") / "proof_designs.csv")
    assert start["latency_s"].iloc[0] == met.loc[met["area_mm2"] <= 40, "latency_s"].min()
    assert 0 < len(warm_start_genes(study.nearest(40.0, "wide_deep"), dse.default_space())) <= len(start)


def test_stages_continue_without_work(study, monkeypatch):
    """A second call evaluates nothing: every run is finished."""
    before = {path: path.stat().st_mtime_ns for path in study.study.runs.rglob("designs.csv")}
    study.search()
    study.frozen()
    assert before == {path: path.stat().st_mtime_ns for path in study.study.runs.rglob("designs.csv")}


def test_a_proof_that_is_missing_or_damaged_is_named(study):
    path = study.proof("wide_deep") / "proof.json"
    text = path.read_bytes()
    path.unlink()
    with pytest.raises(Fault, match=r"proof\.json is missing; run the stage certify"):
        study.uncertain("best", 40.0)
    path.write_bytes(text[:-40])
    with pytest.raises(Fault, match=r"proof\.json is damaged"):
        study.uncertain("best", 40.0)
    path.write_bytes(text)


def test_the_proof_of_the_fastest_holds_for_every_design_and_continues(tmp_path):
    """On a space that is small enough to look at all, within two areas, also from the boxes of a certificate."""
    levels = {v.name: v.levels for v in dse.small_space().variables[:4]}
    problem = SingleDNN("wide_deep", space=dse.DesignSpace(levels, dse.small_space().base, "few"), mapping_slack="none")
    X = problem.space.all_designs()
    every = problem.evaluate_designs(X)
    latency, area = every.metrics["latency_s"], every.metrics["area_mm2"]
    areas = sorted(float(x) for x in np.quantile(area[every.feasible], [0.3, 0.6]))
    slow = X[every.feasible & (area <= areas[0])][:1]
    dse.explore(problem, evaluations=20, out=tmp_path / "run", random_twin=False)
    dse.certify(problem, tmp_path / "run", within=0.5)
    first = prove(problem, slow, areas, 0.0, 0.0, tmp_path / "own")
    own = prove(problem, slow, areas, 0.01, 1.0, tmp_path / "own")
    after = prove(problem, slow, areas, 0.01, 1.0, tmp_path / "after", tmp_path / "run" / "certificate_boxes.npz")
    for proof in (own, after):
        for limit in areas:
            truth = latency[(area <= limit) & every.feasible].min()
            assert proof.latency_s[limit] / (1 + proof.share[limit]) <= truth * (1 + 1e-9)
            assert proof.share[limit] <= 0.01 and proof.latency_s[limit] >= truth * (1 - 1e-9)
            assert own.latency_s[limit] <= first.latency_s[limit]


def pool():
    """Five designs on two networks: the first three tie for `a`, the fourth is best for both."""
    latency_a, latency_b = np.array([1.0, 1.004, 1.0, 1.1, 2.0]), np.array([8.0, 4.0, 6.0, 2.0, 1.0])
    area = np.array([30.0, 40, 20, 40, 10])
    return pd.DataFrame({"latency_s_a": latency_a, "latency_s_b": latency_b, "area_mm2": area})


def test_tie_rule_by_hand():
    choice = Choice(("a", "b"), pool())
    assert [tie.tolist() for tie in choice.ties] == [[0, 1, 2], [4]]
    assert choice.own == [1, 4] and choice.least_area == [2, 4] and choice.shared == 4
    rows = choice.rows(40.0, {"a": 0.01, "b": 0.02, "mean": 0.03})
    a = rows["summary"][0]
    gains = 100 * (np.sqrt(np.array([8.0, 4.016, 6.0]) / 2.0) - 1)
    assert [a["ties_least_percent"], a["ties_most_percent"]] == pytest.approx([gains[1], gains[0]])
    assert a["shared_gains_percent"] == pytest.approx(gains[1])
    assert a["least_area_gains_percent"] == pytest.approx(gains[2])
    assert a["ties"] == 3 and a["not_proven_percent"] == pytest.approx(100 * (1.01 * 1.03 - 1))


def test_an_improvement_below_what_is_not_proven_is_not_reported_as_one(capsys):
    rows = Choice(("a", "b"), pool()).rows(40.0, {"a": 0.5, "b": 0.0, "mean": 0.0})
    where = {"mapping": "best", "budget_mm2": 40.0}
    tables = [pd.DataFrame([where | row for row in rows[name]]) for name in ("summary", "designs", "generality")]
    tell(*tables)
    said = capsys.readouterr().out
    assert "no improvement is shown over those of a, b: below what is not proven, at most 50 %" in said
    tables[0]["not_proven_percent"] = [1.0, -1.0, np.nan]
    tell(*tables)
    assert "no improvement" not in capsys.readouterr().out


def test_both_mappings_are_in_every_table(study):
    for name in ("designs", "least_area", "matrix", "summary", "generality"):
        assert set(study.study.read(f"{name}.csv", ["mapping"])["mapping"]) == set(MAPPINGS)
