"""The contract of all problem classes, and the errors of `AcceleratorProblem`."""

import contract
import numpy as np
import pytest
from standin import StandIn, StandInEvaluator, UnderPower, space
from test_several import NETWORKS

from problems import GeomeanDNN
from problems.base import AcceleratorProblem, ProblemError

FACTORIES = {
    "StandIn": StandIn,
    "StandInSmall": lambda: StandIn(small=True),
    "UnderPower": UnderPower,
    "GeomeanDNN": lambda: GeomeanDNN(NETWORKS, (1, 2, 3)),
    "GeomeanDNNFixed": lambda: GeomeanDNN(NETWORKS, mapping="fixed"),
}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES.keys())
def test_contract(factory, check):
    check(factory())


def problem_with(objectives=None, constraints=None, evaluator=None, **attributes):
    """A problem whose hooks return what the test wants."""
    methods = {"objective_names": ("speed_s", "area_mm2"), "__doc__": "A test.", **attributes}
    methods["objectives"] = objectives or (lambda self, m: (m.latency_s * 2, m.area_mm2))
    if constraints is not None:
        methods["constraints"] = constraints
    return type("Mine", (AcceleratorProblem,), methods)(evaluator or StandInEvaluator(), space())


X = space().sample(5, np.random.default_rng(0))


def nan_at(values, *where):
    values = values.copy()
    values[list(where)] = np.nan
    return values


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (
            lambda self, m: (nan_at(m.latency_s, 3, 4), m.area_mm2),
            rf"objectives\(\): 'speed_s' is nan for 2 of 5 designs, first for rows={space().columns(X)['rows'][3]}, ",
        ),
        (lambda self, m: (m.area_mm2 / 0.0 * 0, m.area_mm2), "'speed_s' is nan for 5 of 5"),
        (lambda self, m: (m.latency_s, m.area_mm2 + np.inf), "'area_mm2' is inf"),
        (lambda self, m: (m.latency_s[:, None], m.area_mm2), r"'speed_s' has shape \(5, 1\), expected \(n,\) = \(5,\)"),
        (lambda self, m: (m.latency_s[:4], m.area_mm2), r"'speed_s' has shape \(4,\)"),
        (lambda self, m: (1.0, m.area_mm2), r"'speed_s' has shape \(\)"),
        (lambda self, m: np.stack([m.latency_s, m.area_mm2], axis=1), "returned ndarray, expected a tuple of arrays"),
        (lambda self, m: (m.latency_s,), r"returned 1 arrays, but objective_names has 2: \(speed_s, area_mm2\)"),
        (lambda self, m: (m.latency_s, m.area_mm2, m.area_mm2), "returned 3 arrays"),
        (lambda self, m: None, "returned NoneType"),
        (lambda self, m: (m.latency_s.astype(str).astype(object) + "x", m.area_mm2), "expected numbers"),
        (lambda self, m: (m.latency_s, m.area_mm2 * 2), "'area_mm2' has the name of a metric but other values"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_wrong_objectives(objectives, message):
    with pytest.raises(ProblemError, match=message):
        problem_with(objectives).evaluate_designs(X)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (lambda self, m: (), r"constraints\(\) returned 0 arrays, but constraint_names has 1: \(power\)"),
        (lambda self, m: (m.power_w * np.nan,), "'power' is nan"),
        (lambda self, m: m.power_w - 1, r"returned one array; return a tuple: \(array,\)"),
    ],
)
def test_wrong_constraints(constraints, message):
    with pytest.raises(ProblemError, match=message):
        problem_with(constraints=constraints, constraint_names=("power",)).evaluate_designs(X)


def test_constraints_without_names_are_refused():
    with pytest.raises(ProblemError, match="returned 1 arrays, but constraint_names has 0"):
        problem_with(constraints=lambda self, m: (m.power_w - 1,)).evaluate_designs(X)


def test_unknown_column_lists_the_known_ones():
    with pytest.raises(AttributeError, match="no column 'speed'; the columns are accumulator_bits, activation_bits, "):
        problem_with(lambda self, m: (m.speed, m.area_mm2)).evaluate_designs(X)


def test_parameters_are_columns_too():
    problem = problem_with(lambda self, m: (m.latency_s + m.dram_gbps, m["area_mm2"]))
    rows = problem.evaluate_designs(X)
    assert (rows.objectives[:, 0] == rows.metrics["latency_s"] + space().columns(X)["dram_gbps"]).all()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"objective_names": ()}, "names no objective"),
        ({"objective_names": "latency_s"}, "give a tuple of names"),
        ({"objective_names": ("a", "a")}, "listed twice"),
        ({"objective_names": ("rows", "a")}, "'rows' is a column already"),
        ({"constraint_names": ("fits",)}, "'fits' is there already"),
    ],
)
def test_wrong_declarations(attributes, message):
    with pytest.raises(ProblemError, match=message):
        problem_with(**attributes)


def test_wrong_evaluators():
    def changed(**columns):
        return lambda given: {
            **{k: v for k, v in StandInEvaluator()(given).items() if k not in columns},
            **{k: f(given) for k, f in columns.items() if f},
        }

    cases = {
        "no column 'overflow'": changed(overflow=None),
        "metric 'cycles' is nan": changed(cycles=lambda given: given["rows"] * np.nan),
        r"metric 'cycles' has shape \(1,\)": changed(cycles=lambda given: np.ones(1)),
        "metric named 'index'": changed(index=lambda given: given["rows"]),
        "metric named 'rows'": changed(rows=lambda given: given["rows"]),
    }
    for message, evaluator in cases.items():
        with pytest.raises(ProblemError, match=message):
            problem_with(evaluator=evaluator).evaluate_designs(X)


def test_genes_of_the_wrong_shape_teach_the_fix():
    with pytest.raises(
        ProblemError, match=r"got genes of shape \(2, 3\), expected \(n, n_var\) = \(n, 9\): .*rows, cols"
    ):
        StandIn().evaluate_designs(np.zeros((2, 3), dtype=np.int64))


def test_evaluator_is_called_once_for_the_whole_population():
    problem = UnderPower()
    problem.evaluate(space().sample(50, np.random.default_rng(0)))
    assert (problem.evaluator.calls, problem.evaluator.designs) == (1, 50)


def test_description_tells_problems_apart():
    a, b = UnderPower(), UnderPower()
    assert a.describe() == b.describe() and a.describe()["attributes"] == {"power_limit_w": 1.0}
    b.power_limit_w = 2.0
    assert a.describe() != b.describe()
    assert a.describe()["class"] != StandIn().describe()["class"]
