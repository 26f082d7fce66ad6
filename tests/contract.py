"""What every problem class must keep.  A class joins by being listed in `FACTORIES` of `test_problems.py`."""

from __future__ import annotations

import json

import numpy as np

from dse.runs.column_dictionary import dictionary
from dse.runs.design_log import RowFormat
from dse.search.pareto import non_dominated
from dse.search.search_loop import explore


def designs(problem, n=40, seed=0):
    """Different random genes of the problem's space."""
    return problem.space.sample(min(n, problem.space.size), np.random.default_rng(seed))


def check_shapes_and_finiteness(problem):
    """F, G and metrics are whole finite tables of the declared shapes."""
    X = designs(problem)
    out = problem.evaluate(X, return_values_of=["F", "G"], return_as_dictionary=True)
    assert out["F"].shape == (len(X), len(problem.objective_names)) and out["F"].dtype == np.float64
    assert out["G"].shape == (len(X), 1 + len(problem.constraint_names))
    assert problem.constraint_labels == ("fits", *problem.constraint_names)
    for name, values in out.items():
        assert np.isfinite(values).all(), name
    rows = problem.evaluate_designs(X)
    assert set(out) == {"F", "G"} | set(rows.metrics)  # the metrics travel with the population
    for name, values in rows.metrics.items():
        assert values.shape == (len(X),) and values.dtype == np.float64, name
        assert (out[name] == values).all()


def check_determinism_and_batch_split(problem):
    """Any split and order of the batch gives the same bits; the genes are not changed."""
    X = designs(problem)
    before = X.copy()
    whole = problem.evaluate_designs(X)
    order = np.random.default_rng(1).permutation(len(X))
    for part in ([order[:1], order[1:7], order[7:]], [order], np.array_split(order, 5)):
        which = np.concatenate(part)
        pieces = [problem.evaluate_designs(X[p]) for p in part]
        assert np.concatenate([p.objectives for p in pieces]).tobytes() == whole.objectives[which].tobytes()
        assert np.concatenate([p.constraints for p in pieces]).tobytes() == whole.constraints[which].tobytes()
        for name in whole.metrics:
            assert np.concatenate([p.metrics[name] for p in pieces]).tobytes() == whole.metrics[name][which].tobytes()
    assert np.array_equal(X, before)


def check_constraints_are_graded_and_scaled(problem):
    """ "fits" is the overflow, and no constraint is so large that it drowns the others."""
    X = designs(problem, 200)
    rows = problem.evaluate_designs(X)
    assert (rows.constraints[:, 0] == rows.metrics["overflow"]).all() and (rows.metrics["overflow"] >= 0).all()
    assert (rows.feasible == (rows.constraints <= 0).all(axis=1)).all()
    for label, g in zip(problem.constraint_labels, rows.constraints.T, strict=True):
        over = g[g > 0]
        assert np.median(over) < 1e3 if len(over) else True, f"{label}: scale it by its limit"
        assert len(over) < 5 or len(np.unique(over)) > 1, f"{label}: grade it"


def check_judging_known_metrics(problem):
    """Objectives and constraints follow from the logged metrics bit for bit, as a resumed run needs."""
    X = designs(problem)
    rows = problem.evaluate_designs(X)
    again = problem.judge(X, {name: np.array([float(repr(v)) for v in m.tolist()]) for name, m in rows.metrics.items()})
    assert again.objectives.tobytes() == rows.objectives.tobytes()
    assert again.constraints.tobytes() == rows.constraints.tobytes()


def check_description_and_columns(problem):
    """The description is plain JSON, and every column has a unit and a meaning."""
    assert json.loads(json.dumps(problem.describe())) == problem.describe()
    metrics = tuple(problem.evaluate_designs(designs(problem, 2)).metrics)
    names = RowFormat(problem).columns(metrics)
    assert len(set(names)) == len(names)
    for name, column in dictionary(names, problem).items():
        assert column.unit and column.meaning, name
    assert (type(problem).__doc__ or "").strip()


def check_search(problem):
    """A small search ends with a front that nothing evaluated dominates."""
    run = explore(problem, evaluations=60, population=12, random_twin=False)
    good = run.designs[run.designs.feasible]
    front = good.iloc[non_dominated(good[list(problem.objective_names)].to_numpy(float))] if len(good) else good
    assert sorted(run.front["index"]) == sorted(front["index"])


CHECKS = [value for name, value in list(globals().items()) if name.startswith("check_")]
