"""The front of a run under the complete mapper: what is written, what is told, and what stays as it is."""

import json

import numpy as np
import pytest
from standin import StandIn

import dse
import dse.search.remapping
from dse.costs.parallel import each_in_threads
from dse.output.tables import remap_report
from dse.runs.files import RunDirectoryError
from dse.search.remapping import RemapInterrupted, remap_front
from problems import Codesign, GeomeanDNN, ProblemError, SimultaneousDNNs, SingleDNN
from problems.base import AcceleratorProblem

SPACE = dse.DesignSpace({"rows": [4, 8], "cols": [4, 8], "dram_gbps": [1, 4], "weight_buffer_kib": [4, 8, 16]})


def network(name="tiny", channels=8):
    layers = (dse.MacLayer("a", K=16, C=channels, OY=6, OX=6, FY=3, FX=3), dse.MacLayer("b", K=10, C=24))
    return dse.Network(name, layers)


class Delay(SingleDNN):
    """Latency [s] and energy-delay product [J s]."""

    objective_names = ("latency_s", "own_edp_js")

    def objectives(self, m):
        """Latency, and energy x delay."""
        return m.latency_s, m.energy_j * m.latency_s


class NothingFits(SingleDNN):
    """Latency [s] and area [mm2] of designs smaller than there are."""

    constraint_names = ("area",)

    def constraints(self, m):
        """Area / limit - 1."""
        return (m.area_mm2 / 1e-3 - 1,)


class OwnEvaluator(AcceleratorProblem):
    """Cycles [1] and area [mm2] of a batch evaluator."""

    objective_names = ("latency_s", "area_mm2")


MADE = {
    "single": lambda: SingleDNN(network(), SPACE),
    "two workers": lambda: SingleDNN(network(), SPACE, n_jobs=2),
    "energy": lambda: SingleDNN(network(), SPACE, objectives=("energy_j", "area_mm2"), mapping_objective="energy"),
    "geomean": lambda: GeomeanDNN([network(), network("other", 6)], space=SPACE),
    "simultaneous": lambda: SimultaneousDNNs([network(), network("other", 6)], SPACE, n_jobs=2),
    "subclass": lambda: Delay(network(), SPACE),
    "evaluator": lambda: OwnEvaluator(dse.BatchEvaluator(network()), SPACE),
}


def explored(problem, out=None, **more):
    return dse.explore(problem, evaluations=20, population=8, out=out, random_twin=False, **more)


@pytest.mark.parametrize("kind", MADE)
def test_the_front_is_evaluated_by_the_complete_mapper(kind):
    """Same columns, same designs in their order; before and change of each objective; no worse by what is minimised."""
    problem = MADE[kind]()
    run = explored(problem)
    again = remap_front(problem, run)
    table, names = again.table, list(problem.objective_names)
    more = [column for name in names for column in (f"{name}_before", f"{name}_change_percent")]
    assert list(table.columns) == [*run.front.columns, *more]
    same = [*problem.space.names, "index", "generation", "source"]
    assert table[same].equals(run.front[same])
    for name in names:
        assert (table[f"{name}_before"] == run.front[name]).all()
        expected = 100 * (table[name] - table[f"{name}_before"]) / table[f"{name}_before"]
        assert np.allclose(table[f"{name}_change_percent"], expected)
    assert again.is_new and len(again.moved) == len(again.still_on_front) == len(run.front)
    assert again.still_on_front.any()


def test_the_numbers_are_those_of_evaluate():
    problem = SingleDNN(network(), SPACE)
    table = remap_front(problem, explored(problem)).table
    row = table.iloc[0]
    design = dse.Accelerator(**{name: row[name].item() for name in SPACE.names})
    done = dse.evaluate(design, network(), effort="complete")
    assert (done.latency_s, done.energy_j) == (row["latency_s"], row["energy_j"])


def test_codesign_is_remapped_on_its_own_networks():
    problem = Codesign("mobilenet_v2", SPACE)
    complete = problem.with_effort("complete")
    assert complete.evaluator.make(network())._effort == dse.BatchEvaluator(network(), effort="complete")._effort
    assert problem.evaluator.make(network())._effort == dse.BatchEvaluator(network())._effort


def test_the_run_stays_as_it_is_and_the_manifest_names_the_file(tmp_path):
    problem, out = MADE["single"](), tmp_path / "run"
    run = explored(problem, out)
    files = {path.name: path.read_bytes() for path in out.iterdir() if path.name != "manifest.json"}
    before = json.loads((out / "manifest.json").read_text())
    again = remap_front(problem, run)
    after = json.loads((out / "manifest.json").read_text())
    assert {path.name for path in out.iterdir()} == {*files, "manifest.json", "front_complete.csv"}
    assert all((out / name).read_bytes() == text for name, text in files.items())
    assert (out / "front_complete.csv").read_bytes() == again.text
    assert after["files"].pop("front_complete.csv") and after.pop("remap") and after == before
    assert explored(problem, out).finished and dse.load(out).texts["front_complete.csv"]() == again.text


def test_what_was_remapped_is_read_and_what_is_gone_is_made_again(tmp_path):
    problem, out = MADE["geomean"](), tmp_path / "run"
    first = remap_front(problem, explored(problem, out))
    second = remap_front(problem, dse.load(out))
    assert first.is_new and not second.is_new and second.text == first.text
    assert (second.moved == first.moved).all() and (second.still_on_front == first.still_on_front).all()
    (out / "front_complete.csv").unlink()
    assert explored(problem, out).finished, "a run may lack the file"
    assert remap_front(problem, dse.load(out)).is_new
    (out / "front_complete.csv").write_text("changed\n")
    with pytest.raises(RunDirectoryError, match="front_complete.csv was changed"):
        explored(problem, out)


def test_a_run_that_goes_on_drops_the_remapped_front_of_before(tmp_path):
    """The file would tell of designs that are no longer on the front; a front that stays keeps it."""
    problem, out = MADE["single"](), tmp_path / "run"
    run = explored(problem, out, time_limit_s=1e-9)
    assert not run.finished
    remap_front(problem, run)
    run = explored(problem, out)
    assert run.finished and not (out / "front_complete.csv").exists() and "remap" not in run.manifest
    remap_front(problem, run)
    (out / "convergence.csv").unlink()  # has the run made again: the same front
    run = explored(problem, out)
    assert (out / "front_complete.csv").is_file() and not remap_front(problem, run).is_new
    explored(problem, out, overwrite=True)
    assert not (out / "front_complete.csv").exists()


def test_another_problem_is_refused(tmp_path):
    run = explored(MADE["single"](), tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="a run of another problem: network tiny there, other now"):
        remap_front(SingleDNN(network("other", 6), SPACE), run)
    run = explored(MADE["single"]())
    with pytest.raises(RunDirectoryError, match=r"front\.csv are not those of this problem"):
        remap_front(SingleDNN(network("other", 6), SPACE), run)


def test_a_frozen_mapping_and_an_evaluator_without_a_mapper_are_refused():
    with pytest.raises(ProblemError, match="frozen in hardware, .* explore with mapping='best'"):
        GeomeanDNN([network()], space=SPACE, mapping="fixed").with_effort("complete")
    with pytest.raises(ProblemError, match=r"StandIn knows no effort .* with_effort\(effort\)"):
        StandIn(small=True).with_effort("complete")
    with pytest.raises(ProblemError, match="mapper effort 'much': choose one of default, complete"):
        MADE["single"]().with_effort("much")


def test_a_front_without_a_design():
    problem = NothingFits(network(), SPACE)
    run = explored(problem)
    assert len(run.front) == 0
    again = remap_front(problem, run)
    assert len(again.moved) == 0 and remap_report(again) == ["Complete mapping: the front has no design."]


def test_ctrl_c_says_how_many_designs_were_done_and_keeps_the_run(tmp_path):
    problem, out = MADE["single"](), tmp_path / "run"
    run = explored(problem, out)
    files = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(p):
        assert (p.stage, p.budget) == ("remap", len(run.front))
        if p.evaluations == 2:
            raise KeyboardInterrupt

    with pytest.raises(RemapInterrupted, match=rf"after 2 of {len(run.front)} designs .* the files of .* as before"):
        remap_front(problem, run, progress=stop)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files
    assert remap_front(problem, run).is_new


def test_changes_from_zero_have_no_percentage():
    changes = dse.search.remapping._changes_percent(np.array([[0.0, 0.0, -2.0]]), np.array([[0.0, 1.0, -1.0]]))
    assert changes[0, 0] == 0 and np.isnan(changes[0, 1]) and changes[0, 2] == 50
    again = dse.search.remapping.Remapped(("a", "b", "c"), b"", changes, np.array([False]), 1.0, True)
    assert again.moved.tolist() == [True]
    told = remap_report(again)
    assert "1 of 1 designs moved by more than 0.1 %; 1 is no longer on the front" in told[0]
    assert told[1:4] == ["a: unchanged", "b: 1 changed from 0", "c: mean +50 %, largest change +50 %"]


def test_tasks_that_take_long_are_given_in_order_by_several_workers():
    for n in (0, 1, 40):
        assert list(each_in_threads(pow, [(i, 2) for i in range(n)], 2)) == [i * i for i in range(n)]
