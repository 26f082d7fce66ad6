"""Runs that look for the least latency alone: which columns they have, and where their energies are."""

import numpy as np
import pytest
from test_remapping import SPACE, network

import dse
from dse.commands.design_by_text import choose
from dse.costs.results import OF_ENERGY
from dse.runs.column_dictionary import COLUMNS
from problems import Codesign, GeomeanDNN, ProblemError, SimultaneousDNNs, SingleDNN, rebuild, resume
from problems.base import AcceleratorProblem


def explored(problem, out=None, **more):
    return dse.explore(problem, evaluations=20, population=8, out=out, **more)


def single(**more):
    return SingleDNN(network(), SPACE, **{"mapping_slack": "none", **more})


def several(**more):
    return GeomeanDNN([network(), network("other", 6)], space=SPACE, **{"mapping_slack": "none", **more})


@pytest.mark.parametrize("make", [single, several])
def test_only_the_energies_of_the_front_are_written_and_they_are_exact(make, tmp_path):
    run = explored(make(), tmp_path / "run", exhaustive=True)
    for table in (run.designs, run.front, run.random_twin, run.exact_front):
        assert table is None or not [name for name in table if name.startswith(OF_ENERGY)]
        assert table is None or {"latency_s", "area_mm2", "energy_bound_j", "utilisation"} <= set(table)
    energies = dse.runs.tables.frame(run.texts["front_energy.csv"]())
    full = make(mapping_slack=0.01)
    same = ["index", "generation", "source", *SPACE.names]
    assert energies[same].equals(run.front[same]) and {"energy_j", "power_w"} <= set(energies)
    genes = dse.runs.tables.genes_of(run.front, full.space)
    for name, values in full.evaluate_designs(genes).metrics.items():
        assert (energies[name] == values).all(), name
    alone = run.front["latency_s"].to_numpy(), energies["latency_s"].to_numpy()
    assert np.allclose(*alone, rtol=0.015)
    told = (tmp_path / "run" / "columns.csv").read_text()
    assert "energy_j,J," in told and any("looked for latency alone" in note for note in run.notes)
    assert "front_energy.csv" in run.manifest["files"]


def test_objectives_of_the_search_are_those_of_the_files():
    problem = single()
    run = explored(problem)
    found = problem.evaluate_designs(dse.runs.tables.genes_of(run.front, problem.space))
    assert (found.objectives == run.front[list(problem.objective_names)]).all().all()


def test_a_run_with_the_default_slack_has_no_such_file_and_the_energies_it_had():
    run = explored(single(mapping_slack=0.01))
    assert "front_energy.csv" not in run.texts and set(OF_ENERGY) <= set(run.designs)
    assert not any("latency alone" in note for note in run.notes)


def test_such_a_run_is_resumed_rebuilt_and_another_than_with_a_slack(tmp_path):
    explored(single(), tmp_path / "whole")
    part = explored(single(), tmp_path / "part", time_limit_s=1e-9)
    assert not part.finished and explored(single(), tmp_path / "part").finished
    for name in ("designs.csv", "front.csv", "front_energy.csv", "columns.csv"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(ValueError, match=r"mapping_slack none there, 0\.01 now"):
        explored(single(mapping_slack=0.01), tmp_path / "part")
    (tmp_path / "layers.toml").write_text(network().toml_text())
    run = explored(SingleDNN(tmp_path / "layers.toml", SPACE, mapping_slack="none"), tmp_path / "named")
    assert rebuild(tmp_path / "named").mapping_slack == "none" and resume(tmp_path / "named").finished
    chosen = choose(f"{tmp_path / 'named'}:{run.front['index'][0]}")
    done = dse.evaluate(chosen.design, network(), **chosen.options())
    assert done.energy_j == dse.runs.tables.frame(run.texts["front_energy.csv"]())["energy_j"][0]


def test_the_front_of_such_a_run_is_mapped_again_for_latency_alone(tmp_path):
    problem = single()
    run = explored(problem, tmp_path / "run")
    table = dse.remap_front(problem, run).table
    assert [*table.columns][: len(run.front.columns)] == [*run.front.columns]
    assert (table["latency_s_change_percent"] <= 1e-9).all()


def test_codesign_has_its_energies_beside_the_front():
    problem = Codesign("mobilenet_v2", SPACE, mapping_slack="none")
    assert problem.evaluator.make(network()).slack is None
    assert problem.with_energy().evaluator.make(network()).slack == 0.01
    assert Codesign("mobilenet_v2", SPACE).with_energy() is None


class Edp(SingleDNN):
    """EDP [J s] and area [mm2]."""

    objective_names = ("own_js", "area_mm2")

    def objectives(self, m):
        """EDP, area."""
        return m.energy_j * m.latency_s, m.area_mm2


REFUSED = {
    "objective 'energy_j' needs energy or traffic": lambda: single(objectives=("energy_j", "area_mm2")),
    "objective 'edp_js' needs energy or traffic": lambda: single(objectives="edp_js"),
    "objective 'dram_bytes_other' needs": lambda: several(objectives=("dram_bytes_other", "area_mm2")),
    "'none': it looks for the least latency alone, and mapping_objective is 'edp'": lambda: single(
        mapping_objective="edp"
    ),
    "the mapping is frozen": lambda: several(mapping="fixed"),
    "traffic decides how networks share": lambda: SimultaneousDNNs(
        [network(), network("other", 6)], SPACE, mapping_slack="none"
    ),
    "mapping_slack must be a number, at least 0, got 'nothing'": lambda: single(mapping_slack="nothing"),
    "mapping_slack must be a number, at least 0, got None": lambda: single(mapping_slack=None),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_needs_energy_is_refused(message):
    with pytest.raises(ProblemError, match=message):
        REFUSED[message]()


def test_a_class_of_ones_own_that_needs_energy_is_told_why():
    problem = Edp(network(), SPACE, mapping_slack="none")
    with pytest.raises(AttributeError, match="no column 'energy_j': with mapping_slack 'none' the mapper looks for no"):
        explored(problem)


def test_a_batch_evaluator_without_slack_leaves_out_what_it_does_not_look_for():
    columns = SPACE.columns(np.zeros((2, SPACE.n_var), dtype=np.int64))
    alone, full = (dse.BatchEvaluator(network(), slack=slack)(columns) for slack in (None, 0.01))
    assert set(full) - set(alone) == set(OF_ENERGY) <= set(COLUMNS)
    by_energy = dse.BatchEvaluator(network(), objective="energy", slack=None)(columns)
    assert set(by_energy) == set(full)

    class Own(AcceleratorProblem):
        """Latency [s]."""

        objective_names = ("latency_s",)

    run = explored(Own(dse.BatchEvaluator(network(), slack=None), SPACE))
    assert "energy_j" not in run.front and "front_energy.csv" not in run.texts
