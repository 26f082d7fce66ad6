"""`SingleDNN`: objectives by name, subclasses, and continuing a run from its directory alone.

The evaluator is the stand-in; the real one has its own tests.
"""

import json

import numpy as np
import pytest
from standin import StandInEvaluator, space

import problems.single
from dse.networks.layers import MacLayer, Network
from dse.runs.files import RunDirectoryError
from dse.search.search_loop import explore
from problems import ProblemError, SingleDNN, known_objectives, resume


def named(name):
    """A network of that name."""
    return Network(f"network {name}", (MacLayer("one", K=2),))


X = space().sample(20, np.random.default_rng(0))


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """A network of a name and the stand-in evaluator."""
    monkeypatch.setattr(problems.single, "load_network", lambda name, batch=1, dims=None: named(name))
    made = []

    def evaluator(network, technology, objective="latency", slack=0.0, n_jobs=1):
        made.append((network, technology, objective, n_jobs))
        return StandInEvaluator()

    monkeypatch.setattr(problems.single, "BatchEvaluator", evaluator)
    return made


def test_default_objectives():
    rows = SingleDNN("resnet50", space()).evaluate_designs(X)
    assert (rows.objectives == np.stack([rows.metrics["latency_s"], rows.metrics["area_mm2"]], axis=1)).all()


def test_objectives_by_name():
    problem = SingleDNN("resnet50", space(), objectives=("edp_js", "ed2p_js2", "area_delay_mm2_s", "latency_gap",
                                                          "energy_gap", "energy_j"))  # fmt: skip
    rows = problem.evaluate_designs(X)
    m = rows.metrics
    expected = [
        m["energy_j"] * m["latency_s"],
        m["energy_j"] * m["latency_s"] ** 2,
        m["area_mm2"] * m["latency_s"],
        m["latency_s"] / m["latency_bound_s"],
        m["energy_j"] / m["energy_bound_j"],
        m["energy_j"],
    ]
    assert np.allclose(rows.objectives.T, expected, rtol=1e-14)


def test_unknown_objective_lists_the_known_ones():
    with pytest.raises(ProblemError, match="unknown objective 'speed'; the known ones are latency_s, cycles, energy_j"):
        SingleDNN("resnet50", space(), objectives=("latency_s", "speed"))
    assert {"latency_s", "area_mm2", "energy_j", "edp_js"} <= set(known_objectives())


class EnergyDelayUnderPower(SingleDNN):
    """EDP [J s] and area [mm2], average power under a cap [W]."""

    objective_names = ("edp_js", "area_mm2")
    constraint_names = ("power",)
    power_limit_w = 2.0

    def objectives(self, m):
        """EDP, area."""
        return m.energy_j * m.latency_s, m.area_mm2

    def constraints(self, m):
        """Power / limit - 1."""
        return (m.energy_j / m.latency_s / self.power_limit_w - 1.0,)


def test_a_new_problem_in_ten_lines():
    run = explore(EnergyDelayUnderPower("resnet50", space()), evaluations=100)
    assert (run.front.power_w <= 2.0).all() and len(run.front) > 0
    with pytest.raises(
        ProblemError, match="EnergyDelayUnderPower defines its objectives itself; leave out objectives="
    ):
        EnergyDelayUnderPower("resnet50", space(), objectives=("latency_s",))


def test_workers_are_handed_on_and_do_not_tell_problems_apart(stand_in):
    one, two = (SingleDNN("resnet50", space(), n_jobs=n, mapping_objective="edp") for n in (1, 2))
    assert [made[2:] for made in stand_in] == [("edp", 1), ("edp", 2)]
    assert one.describe() == two.describe() != SingleDNN("vgg16", space(), mapping_objective="edp").describe()


def interrupted(path, **changes):
    """A run with a torn log and no result."""
    explore(SingleDNN("resnet50", space(), objectives=("edp_js", "area_mm2")), out=path, evaluations=100, **changes)
    whole = {p.name: p.read_bytes() for p in path.iterdir()}
    (path / "designs.csv").write_bytes(whole["designs.csv"][:5000])
    (path / "front.csv").unlink()
    content = json.loads(whole["manifest.json"])
    (path / "manifest.json").write_text(json.dumps(content | {"status": "running"}))
    return whole


def test_resume_from_the_directory_alone(tmp_path):
    whole = interrupted(tmp_path, seed=4, algorithm="nsga3")
    run = resume(tmp_path)
    assert run.finished and run.evaluations == 100
    for name in ("designs.csv", "front.csv", "random_twin.csv", "convergence.csv"):
        assert (tmp_path / name).read_bytes() == whole[name]
    assert resume(tmp_path, n_jobs=2).finished


def test_resume_of_a_class_of_ones_own_says_to_run_the_script(tmp_path):
    explore(EnergyDelayUnderPower("resnet50", space()), out=tmp_path, evaluations=100)
    with pytest.raises(RunDirectoryError, match="EnergyDelayUnderPower is not in it. Run the script that started it"):
        resume(tmp_path)
