"""No silently wrong answer from a class of one's own: what its names, hooks, evaluator and arguments may be."""

from __future__ import annotations

import io
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from standin import StandInEvaluator, space
from test_problems import X, problem_with

import dse
from dse.output.run_figures import write_figures
from dse.output.tables import front_table
from dse.runs.files import RunDirectoryError
from problems import Codesign, GeomeanDNN, ProblemError, SimultaneousDNNs, SingleDNN, resume
from problems.base import AcceleratorProblem

NETWORK = dse.Network("small", (dse.MacLayer("layer", K=8, C=8, OY=4, OX=4),))
SPACE = dse.DesignSpace({"rows": [4, 8], "cols": [4, 8], "dram_gbps": [1, 4, 16]}, name="few")


def with_objective(function):
    """A problem whose first objective is what `function` makes of the columns."""
    return problem_with(lambda self, m: (function(m), m.area_mm2))


def with_constraint(function):
    """A problem whose only constraint is what `function` makes of the columns."""
    return problem_with(constraints=lambda self, m: (function(m),), constraint_names=("power",))


# ---------------------------------------------------------------------------------------------------------------------
# Comparisons.


@pytest.mark.parametrize(
    "comparison",
    [
        lambda m: m.power_w < 2.0,
        lambda m: (m.power_w < 2.0).astype(object),
        lambda m: (m.power_w < 2.0).tolist(),
        lambda m: pd.Series(m.power_w < 2.0),
        lambda m: np.array([0.5, 0.5, 0.5, 0.5, np.True_], dtype=object),
        lambda m: np.bool_(True),
        lambda m: True,
    ],
)
def test_a_constraint_written_as_a_comparison_was_inverted_without_a_word(comparison):
    says = (
        "constraint 'power' of Mine is True/False; write value / limit - 1, which is at most 0 where feasible, such as"
    )
    with pytest.raises(ProblemError, match=re.escape(f"{says} m.power_w / 2.0 - 1")):
        with_constraint(comparison).evaluate_designs(X)
    with pytest.raises(ProblemError, match="objective 'speed_s' of Mine is True/False; give the number itself"):
        with_objective(comparison).evaluate_designs(X)


def test_a_constraint_of_zeros_and_ones_is_taken_with_a_note():
    """1 may well mean infeasible; a comparison cast to a number means the contrary."""
    run = dse.explore(with_constraint(lambda m: (m.area_mm2 > 20).astype(float)), evaluations=40, random_twin=False)
    assert len(run.front) and any(note.startswith("constraint 'power' is 0 (feasible) or 1") for note in run.notes)
    graded = dse.explore(with_constraint(lambda m: m.area_mm2 / 20 - 1), evaluations=40, random_twin=False)
    assert not graded.notes


def test_true_and_false_are_numbers_in_a_metric():
    problem = problem_with(evaluator=lambda c: StandInEvaluator()(c) | {"wide": c["cols"] > c["rows"]})
    assert set(problem.evaluate_designs(X).metrics["wide"]) <= {0.0, 1.0}


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic in place.


def scaled(m):
    lat = m.latency_s
    lat *= 1e3
    return lat


def overwritten(m):
    m.latency_s[0] = 1.0
    return m.latency_s


def sorted_there(m):
    m.latency_s.sort()
    return m.latency_s


def of_a_parameter(m):
    m.rows[:] = 1
    return m.latency_s


def of_a_text(m):
    m.dataflow[0] = "mine"
    return m.latency_s


def shuffled(m):
    np.random.default_rng(0).shuffle(m.latency_s)
    return m.latency_s


def set_by_name(m):
    m.latency_s = m.latency_s * 2
    return m.latency_s


def set_by_item(m):
    m["mine"] = m.latency_s
    return m.latency_s


def deleted(m):
    del m.latency_s


@pytest.mark.parametrize(
    "change",
    [scaled, overwritten, sorted_there, of_a_parameter, of_a_text, shuffled, set_by_name, set_by_item, deleted],
)
def test_arithmetic_in_place_falsified_a_metric(change):
    write = "make a new array: write lat = m.latency_s * 1e3"
    with pytest.raises(ProblemError, match=rf"^Mine.objectives\(\) changes a column in place \(.*{re.escape(write)}"):
        with_objective(change).evaluate_designs(X)
    with pytest.raises(ProblemError, match=r"^Mine.constraints\(\) changes a column in place"):
        with_constraint(change).evaluate_designs(X)


def test_what_a_hook_returns_shares_no_memory_with_the_log():
    kept = np.ones(len(X))
    problem = problem_with(
        lambda self, m: (kept[: len(m.rows)], m.area_mm2),
        constraints=lambda self, m: (kept[: len(m.rows)],),
        constraint_names=("power",),
        evaluator=lambda columns: StandInEvaluator()(columns) | {"kept": kept[: len(columns["rows"])]},
    )
    rows = problem.evaluate_designs(X)
    kept[:] = 2
    assert (rows.objectives[:, 0] == 1).all() and (rows.constraints[:, 1] == 1).all()
    assert (rows.metrics["kept"] == 1).all() and not np.shares_memory(rows.objectives, rows.metrics["area_mm2"])
    again = problem.judge(X, rows.metrics)
    assert not any(np.shares_memory(again.metrics[name], values) for name, values in rows.metrics.items())


def read_only(columns):
    metrics = StandInEvaluator()(columns)
    for values in metrics.values():
        values.flags.writeable = False
    return metrics


BUFFERS = {}


def reused(columns):
    """The same arrays in every call."""
    metrics = StandInEvaluator()(columns)
    for name, values in metrics.items():
        buffer = BUFFERS.setdefault(name, np.empty(1000))[: len(values)]
        buffer[:] = values
        metrics[name] = buffer
    return metrics


def spoiling(columns):
    """Changes the columns that it was given."""
    metrics = StandInEvaluator()(columns)
    columns["rows"] *= 2
    columns["dram_gbps"] = None
    return metrics


@pytest.mark.parametrize("evaluator", [read_only, reused, spoiling, lambda c: pd.DataFrame(StandInEvaluator()(c))])
def test_an_evaluator_may_return_shared_arrays_and_spoil_its_columns(evaluator):
    def of(evaluator):
        return problem_with(lambda self, m: (m.latency_s + m.rows + m.dram_gbps, m.area_mm2), evaluator=evaluator)

    runs = [dse.explore(of(each), evaluations=60) for each in (evaluator, StandInEvaluator())]
    assert runs[0].texts["designs.csv"]() == runs[1].texts["designs.csv"]()


# ---------------------------------------------------------------------------------------------------------------------
# Numbers that depend on the batch.


@pytest.mark.parametrize(
    "relative",
    [
        lambda m: m.latency_s / m.latency_s.max(),
        lambda m: np.argsort(m.latency_s),
        lambda m: np.sort(m.latency_s),
        lambda m: m.latency_s * np.random.default_rng().random(len(m.latency_s)),
    ],
)
def test_numbers_that_depend_on_the_other_designs_of_a_batch_are_refused(relative):
    says = "of a design depends on the other designs of its batch, or on chance"
    with pytest.raises(ProblemError, match=rf"Mine.objectives\(\): 'speed_s' {says}"):
        with_objective(relative).evaluate_designs(X)
    with pytest.raises(ProblemError, match=rf"Mine.constraints\(\): 'power' {says}"):
        with_constraint(lambda m: relative(m) - 0.5).evaluate_designs(X)


def test_rounding_that_depends_on_the_batch_is_allowed():
    weights = np.array([0.1, 0.3, 0.7])
    problem = with_objective(lambda m: np.stack([m.latency_s, m.energy_j, m.area_mm2], axis=1) @ weights)
    assert problem.evaluate_designs(X).objectives.shape == (len(X), 2)


# ---------------------------------------------------------------------------------------------------------------------
# Kinds of numbers.


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda m: m.latency_s + 0j, "'speed_s' holds complex values, expected numbers; take .real"),
        (lambda m: (m.latency_s + 1j).astype(object), "'speed_s' holds complex values"),
        (lambda m: m.latency_s.astype(str), "'speed_s' holds text values"),
        (lambda m: m.latency_s.astype(str).astype(object), "'speed_s' holds text values"),
        (lambda m: (m.latency_s * 1e9).astype("m8[ns]"), "'speed_s' holds time values"),
        (lambda m: np.ma.masked_greater(m.latency_s, np.median(m.latency_s)), "is masked for 2 of 5 designs"),
        (lambda m: pd.Series(m.latency_s).sort_values(), "a Series whose index is not 0 to 4"),
        (lambda m: np.array([10**400] * 5, dtype=object), "holds a whole number too large for a float"),
        (
            lambda m: (m.area_mm2 * 1e38).astype(np.float32),
            "is inf for .*; float32 ends at 3.4e[+]38: compute in float64",
        ),
        (
            lambda m: np.array([9e4] * 5, dtype=np.float32).astype(np.float16),
            "is inf for .*; float16 ends at 6.6e[+]04",
        ),
        (lambda m: [[1], [1, 2]], "is no array of numbers"),
        (lambda m: 1.0, "has shape .*; one number for all designs is np.full_like"),
        (lambda m: (value for value in m.latency_s), r"has shape \(\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_complex_objective_lost_its_imaginary_part_and_others_of_the_kind(values, message):
    with pytest.raises(ProblemError, match=message) as error:
        with_objective(values).evaluate_designs(X)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "convert",
    [
        list,
        pd.Series,
        np.ma.array,
        lambda values: values.astype(np.longdouble),
        lambda values: values.astype(object),
        lambda values: [Decimal(value) for value in values],
    ],
)
def test_numbers_of_other_types_are_converted(convert):
    assert (with_objective(lambda m: convert(m.latency_s)).evaluate_designs(X).objectives[:, 0] > 0).all()
    assert with_objective(lambda m: convert(m.latency_s)).evaluate_designs(X).objectives.dtype == np.float64
    given = with_objective(lambda m: np.full(len(m.rows), 2**62)).evaluate_designs(X)
    assert (given.objectives[:, 0] == 2.0**62).all()


@pytest.mark.parametrize("returned", [0.5, None, (x for x in ()), {"power": 1}, "power"])
def test_constraints_that_are_no_tuple_are_one_line(returned):
    problem = problem_with(constraints=lambda self, m: returned, constraint_names=("power",))
    with pytest.raises(ProblemError, match=rf"returned {type(returned).__name__}, expected a tuple of arrays"):
        problem.evaluate_designs(X)


@pytest.mark.parametrize(
    ("found", "message"),
    [(None, "returned NoneType, expected a dict of metrics"), ([1.0], "returned list, expected a dict of metrics")],
)
def test_an_evaluator_that_returns_no_metrics_is_one_line(found, message):
    with pytest.raises(ProblemError, match=message):
        problem_with(evaluator=lambda columns: found).evaluate_designs(X)
    with pytest.raises(ProblemError, match="the evaluator must be a function of parameter columns, got 3"):
        problem_with(evaluator=3)


def test_an_objective_that_is_no_column_lists_those_there_are():
    mine = type("Mine", (AcceleratorProblem,), {"objective_names": ("speed",)})(StandInEvaluator(), space())
    with pytest.raises(
        ProblemError, match=r"Mine.objectives\(\) computes nothing itself: no column 'speed'; the .* latency_s, "
    ):
        mine.evaluate_designs(X)


# ---------------------------------------------------------------------------------------------------------------------
# Names.

NO_NAMES = ["energy_j,per_frame", 'a"b', "a\nb", "a\tb", " a", "a ", "", "a\u2028b", "\ud800", 3, None, "x" * 301]


@pytest.mark.parametrize("name", NO_NAMES)
def test_the_front_of_a_run_with_a_comma_in_a_name_could_not_be_read(name):
    with pytest.raises(ProblemError, match="Mine.objective_names: .* becomes a column of CSV files, but it") as error:
        problem_with(objective_names=(name, "area_mm2"))
    assert "\n" not in str(error.value)
    with pytest.raises(ProblemError, match="Mine.constraint_names: .* becomes a column of CSV files, but it"):
        problem_with(constraint_names=(name,))
    problem = problem_with(evaluator=lambda columns: StandInEvaluator()(columns) | {name: columns["rows"]})
    with pytest.raises(
        ProblemError, match="the evaluator gives a metric named .* becomes a column of CSV files, but it"
    ):
        problem.evaluate_designs(X)


@pytest.mark.parametrize(
    "name", ["constraint_fits", "constraint_power", "index", "source", "feasible", "hypervolume", "rows", "weight_bits"]
)
def test_an_objective_could_overwrite_the_column_of_a_constraint(name):
    with pytest.raises(ProblemError, match=f"Mine: objective '{name}' is .*; choose another name"):
        problem_with(objective_names=(name, "area_mm2"))
    problem = problem_with(evaluator=lambda columns: StandInEvaluator()(columns) | {name: columns["rows"]})
    with pytest.raises(ProblemError, match=f"the evaluator gives a metric named '{name}', which is "):
        problem.evaluate_designs(X)


@pytest.mark.parametrize("names", [3, None, "latency_s", {"a", "b"}, {"a": 1}, iter(("a", "b"))])
def test_names_without_an_order_are_refused(names):
    with pytest.raises(ProblemError, match="Mine.objective_names = .*: give a tuple of names"):
        problem_with(objective_names=names)


@pytest.mark.parametrize("name", ["a b", "x[/b]", "[red]x_s", "a$b$c", r"$\foo$", "a%{b}", "nan", "1", "x" * 290])
def test_every_name_that_is_taken_can_be_read_and_shown(tmp_path, name):
    problem = problem_with(objective_names=(name, name.swapcase() + "_s"), constraint_names=("rows", name),
                           constraints=lambda self, m: (m.area_mm2 / 90 - 1,) * 2)  # fmt: skip
    run = dse.explore(problem, evaluations=20, out=tmp_path / "run")
    assert run.objective_names == dse.load(tmp_path / "run").objective_names
    assert (run.front[name] > 0).all() and (run.front["feasible"]).all()
    text = io.StringIO()
    Console(file=text, width=132).print(front_table(run))
    assert write_figures(run) and name.split("_")[0][:20] in text.getvalue()


def test_levels_that_the_files_cannot_tell_apart_are_refused_before_a_run(tmp_path):
    rows = dse.SpatialOption(("C",), ("K",), ("W",))
    twins = [dse.Dataflow("mine", (rows,)), dse.Dataflow("mine", (rows, dse.SpatialOption(("OX",), ("K",), ("O",))))]
    shipped = dse.Dataflow("row_stationary", (rows,))
    for levels, base, message in (
        (twins, None, "two levels of dataflow are both called mine; rename one"),
        ([shipped, "output_stationary"], None, "dataflow 'row_stationary' is not the dataflow of this name that ships"),
        (None, dse.Accelerator(dataflow=shipped), "dataflow 'row_stationary' is not the dataflow of this name"),
    ):
        variables = {"rows": [4, 8]} | ({} if levels is None else {"dataflow": levels})
        problem = SingleDNN(NETWORK, space=dse.DesignSpace(variables, base))
        with pytest.raises(ValueError, match=message):
            dse.explore(problem, evaluations=4, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Arguments.


def several(**options):
    return SimultaneousDNNs([NETWORK, NETWORK], **{"space": SPACE, **options})


WRONG = {
    "space='small': give a DesignSpace": lambda: SingleDNN(NETWORK, space="small"),
    "space='fixed': give a DesignSpace": lambda: GeomeanDNN([NETWORK], space="fixed", mapping="fixed"),
    "space='divided': give a DesignSpace": lambda: several(space="divided"),
    "space='codesign': give a DesignSpace": lambda: Codesign("resnet50", space="codesign"),
    "space='base': give a DesignSpace": lambda: AcceleratorProblemOf(StandInEvaluator(), "base"),
    "technology=45: give a Technology, such as dse.Technology.at": lambda: SingleDNN(NETWORK, technology=45),
    "technology=46: give a Technology": lambda: GeomeanDNN([NETWORK], technology=46),
    "technology=47: give a Technology": lambda: several(technology=47),
    "technology=48: give a Technology": lambda: Codesign("resnet50", technology=48),
    "technology=49: give a Technology": lambda: dse.evaluate(dse.Accelerator(), NETWORK, technology=49),
    "technology=50: give a Technology": lambda: dse.BatchEvaluator(NETWORK, 50),
    "n_jobs must be a number of workers >= 1, or -1 for all cores; got None": lambda: SingleDNN(NETWORK, n_jobs=None),
    "n_jobs must be .* got '2'": lambda: GeomeanDNN([NETWORK], n_jobs="2"),
    "n_jobs must be .* got 2.5": lambda: several(n_jobs=2.5),
    "n_jobs must be .* got True": lambda: Codesign("resnet50", n_jobs=True),
    "mapping_slack must be a number, at least 0, got 'a'": lambda: SingleDNN(NETWORK, mapping_slack="a"),
    "mapping_slack must be a number, at least 0, got None": lambda: Codesign("resnet50", mapping_slack=None),
    "mapping_slack must be finite and at least 0, got -1": lambda: several(mapping_slack=-1),
    r"mapping objective \['edp'\]: choose one of": lambda: SingleDNN(NETWORK, mapping_objective=["edp"]),
    "objectives=3: give a tuple": lambda: SingleDNN(NETWORK, objectives=3),
    "objectives={'latency_s'}: give a tuple": lambda: GeomeanDNN([NETWORK], objectives={"latency_s"}),
    "unknown objective 'latency'": lambda: SingleDNN(NETWORK, objectives="latency"),
    "expected a Network or layers, got None": lambda: SingleDNN(None),
    "network: give one.* GeomeanDNN takes a list": lambda: SingleDNN(["resnet50"]),
    "dims must be sizes by name, such as .*, got 3": lambda: SingleDNN("resnet50", dims=3),
    "expected a list of networks, got None": lambda: GeomeanDNN(None),
    "networks=.*: give a tuple or a list": lambda: GeomeanDNN({"resnet50", "vgg16"}),
    "weights: expected one number a network, got {": lambda: GeomeanDNN([NETWORK], {2.0}),
    "expected a list of networks, or a mix, got None": lambda: SimultaneousDNNs(None),
    "policies=3: give a tuple or a list": lambda: several(policies=3),
    "policies=.*give some of": lambda: several(policies=("partition", "partition")),
    "shares=3: give a tuple or a list": lambda: several(shares=3),
    "a share of a sub-array must be a number, got 'a'": lambda: several(shares=("a", 1)),
    "a share of a sub-array must be a number, got nan": lambda: several(shares=(float("nan"), 1)),
    "shares=.*give positive numbers": lambda: several(shares=(0, 1)),
    "shares=.*: give at least one, and none twice": lambda: several(shares=(1, 1.0)),
    "dataflows='same': give a tuple or a list": lambda: several(dataflows="same"),
    "least_capacity must be a number, got 'a'": lambda: Codesign("resnet50", least_capacity="a"),
    "got genes that are no numbers": lambda: SingleDNN(NETWORK, space=SPACE).evaluate_designs([[{}, 0, 0]]),
    "got genes that are not finite": lambda: SingleDNN(NETWORK, space=SPACE).evaluate_designs([[np.nan, 0, 0]]),
    r"rows \(gene 0\) is 9": lambda: SingleDNN(NETWORK, space=SPACE).evaluate_designs([[9, 0, 0]]),
    "out=3: give the path of a directory": lambda: dse.explore(several(), out=3),
    "warm_start=3: give the path of a directory": lambda: dse.explore(several(), warm_start=3),
    "time_limit_s must be a positive number of seconds, got 'a'": lambda: dse.explore(several(), time_limit_s="a"),
    "progress must be a function": lambda: dse.explore(several(), progress=3),
    "directory=3: give the path of a directory": lambda: dse.load(3),
    "directory=None: give the path of a directory": lambda: resume(None),
    "expected the result of explore": lambda: dse.price_of_generality("results/mine"),
    "base must be an Accelerator, .* got {'rows'": lambda: dse.DesignSpace({"rows": [4, 8]}, base={"rows": 4}),
    "give levels by parameter": lambda: dse.DesignSpace(["rows"]),
    "expected the name of a network or the path": lambda: dse.load_network(None),
    "expected the name of a mix or the path": lambda: dse.load_mix(3),
    "streams must be a tuple of Stream": lambda: dse.Mix("mine", ("resnet50", "vgg16")),
    "expected layers, got 'conv'": lambda: dse.Network("mine", ("conv",)),
    "resident_weights must be True or False, got 'no'": lambda: dse.Accelerator(resident_weights="no"),
    "bypass is a subset of 'WIO', got 3": lambda: dse.Accelerator(bypass=3),
}  # fmt: skip


class AcceleratorProblemOf(AcceleratorProblem):
    """Latency [s]."""

    objective_names = ("latency_s",)


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_type_was_a_bare_type_error(message):
    with pytest.raises(ValueError, match=message) as error:
        WRONG[message]()
    assert "\n" not in str(error.value)


def test_a_list_of_layers_is_a_network_to_a_problem_too():
    assert SingleDNN(list(NETWORK.layers), space=SPACE).describe()["network"] == "layers"


def test_numbers_of_numpy_are_written_into_the_manifest(tmp_path):
    problem = SingleDNN("wide_deep", space=SPACE, n_jobs=np.int64(1), mapping_slack=np.float32(0.5))
    run = dse.explore(problem, evaluations=np.int64(4), seed=np.int64(1), out=tmp_path / "run")
    assert run.finished and resume(tmp_path / "run").evaluations == 4


# ---------------------------------------------------------------------------------------------------------------------
# Tables.


def test_empty_cells_among_numbers_are_nan_and_texts_stay_texts():
    from dse.runs.tables import frame

    found = frame(b"index,loss,left_out_loss,bypass,dataflow,kind\n0,,,,1,\n1,0.5,,,2,a\n")
    assert np.isnan(found["loss"].iloc[0]) and found["loss"].iloc[1] == 0.5 and found["left_out_loss"].isna().all()
    assert found["bypass"].tolist() == ["", ""] and found["dataflow"].tolist() == ["1", "2"]
    assert found["kind"].tolist() == ["", "a"] and found["index"].tolist() == [0, 1]


def test_two_columns_of_one_name_are_refused(tmp_path):
    from dse.runs.tables import read_table

    (tmp_path / "front.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(RunDirectoryError, match="two columns are called 'a'"):
        read_table(tmp_path / "front.csv")
