"""Kinds of problems by name, classes of one's own from the command line, runs that continue from their directory."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

import dse.commands.main
from dse.problems.registry import KINDS, Wanted, directory_name, made, problem_class
from dse.search.search_loop import explore
from problems import Codesign, GeomeanDNN, SingleDNN, rebuild, resume

OWN = '''
"""Classes of one's own."""

import json
from pathlib import Path

import helper
import numpy as np

from dse.hardware.accelerator import Accelerator
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks.layers import MacLayer
from problems import GeomeanDNN, SimultaneousDNNs, SingleDNN
from problems.base import AcceleratorProblem


class EnergyDelay(SingleDNN):
    """EDP [J s] and area [mm2]."""

    objective_names = ("edp_js", "area_mm2")

    def objectives(self, m):
        """EDP and area."""
        return helper.factor * m.energy_j * m.latency_s, m.area_mm2


class Mean(GeomeanDNN):
    """As the base class."""


class Alone(AcceleratorProblem):
    """Rows [1] of a class with an evaluator of its own."""

    objective_names = ("many",)

    def __init__(self):
        super().__init__(lambda c: {"many": 1.0 * c["rows"], "overflow": 0 * c["rows"]}, DesignSpace({"rows": [4, 8]}))


class Needs(SingleDNN):
    """Needs more than a command line gives."""

    def __init__(self, network, colour, **more):
        super().__init__(network, **more)


class Broken(SingleDNN):
    """Raises while it is made."""

    def __init__(self, network):
        raise KeyError("a bug")


class Fails(SingleDNN):
    """Raises while designs are evaluated."""

    def objectives(self, m):
        return m.latency_s, {}["speed"]


class Empty(SingleDNN):
    """Calls no constructor of its base."""

    def __init__(self, network, **more):
        pass


class Ambiguous(SingleDNN):
    """Raises a ValueError of numpy."""

    def objectives(self, m):
        return (m.area_mm2 < 50 and m.power_w < 2), m.area_mm2


class NoProblem:
    """No problem."""


class Narrow(SingleDNN):
    """Takes a network alone."""

    def __init__(self, network, n_jobs=1):
        super().__init__(network, n_jobs=n_jobs)


class Settled(SingleDNN):
    """Has space, technology and mapping of its own."""

    def __init__(self, network, n_jobs=1):
        space = DesignSpace({"rows": [8, 16, 32], "cols": [8, 16, 32], "dram_gbps": [4, 16]}, name="mine")
        super().__init__(network, space, Technology.at(28), n_jobs=n_jobs, mapping_objective="energy")


class Open(SingleDNN):
    """Takes everything but what it settles itself."""

    def __init__(self, network, **more):
        super().__init__(network, mapping_objective="edp", **more)


class Halved(SingleDNN):
    """Makes something else of what it is given."""

    def __init__(self, network, mapping_slack=0.1, space=None, n_jobs=1):
        super().__init__(network, space, mapping_slack=mapping_slack / 2, n_jobs=n_jobs)


class Layers(SingleDNN):
    """A network that has no name."""

    def __init__(self, n_jobs=1):
        super().__init__([MacLayer("a", K=16, C=16, OX=9)], n_jobs=n_jobs)


class Two(GeomeanDNN):
    """Networks of its own."""

    def __init__(self, n_jobs=1):
        super().__init__(["mobilenet_v2", "wide_deep"], n_jobs=n_jobs)


class Together(SimultaneousDNNs):
    """Fewer options than its kind has."""

    def __init__(self, mix, n_jobs=1):
        super().__init__(mix, DesignSpace({"cols": [8, 16, 32, 64]}), policies=("partition",), n_jobs=n_jobs)


class Passing(SimultaneousDNNs):
    """Passes on whatever it is given."""

    def __init__(self, mix, **more):
        super().__init__(mix, DesignSpace({"cols": [8, 16, 32, 64]}), **more)


class Mixed(AcceleratorProblem):
    """A mix in an evaluator of its own."""

    objective_names = ("many",)

    def __init__(self, mix, networks=()):
        self.many = len(mix.streams) + len(networks)
        super().__init__(self.evaluate_many, DesignSpace({"rows": [4, 8, 12, 16], "cols": [4, 8, 12, 16]}))

    def evaluate_many(self, c):
        return {"many": self.many * c["rows"] * c["cols"], "overflow": 0 * c["rows"]}


class Odd(AcceleratorProblem):
    """An evaluator of its own, and names that mean something else here."""

    objective_names = ("many",)

    def __init__(self, network):
        self.network, self.networks = network, 3
        super().__init__(lambda c: {"many": 1.0 * c["rows"], "overflow": 0 * c["rows"]}, DesignSpace({"rows": [4, 8]}))


def hook(name, function):
    """A class whose hook fails in other code than its own."""

    def objectives(self, m):
        function()  # a failing hook
        return m.latency_s, m.area_mm2

    return type(name, (SingleDNN,), {"objectives": objectives, "objective_names": ("a_s", "b_mm2"), "__doc__": name})


InNumpy = hook("InNumpy", lambda: np.linalg.cholesky(-np.eye(2)))
InPython = hook("InPython", lambda: json.loads("{"))
InLibrary = hook("InLibrary", lambda: Accelerator(rows=0))
InFiles = hook("InFiles", lambda: open("missing.csv"))
InHelper = hook("InHelper", helper.fail)


class Unread(SingleDNN):
    """Reads a file while it is made."""

    def __init__(self, network):
        self.limits = json.loads(Path("limits.json").read_text())  # a failing constructor
        super().__init__(network)
'''


HELPER = """
factor = 1.0


def fail():
    raise ValueError("a bug of the helper")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current directory with modules of one's own, forgotten afterwards."""
    (tmp_path / "own_ones.py").write_text(OWN)
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "statistics.py").write_text(OWN)
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "raises.py").write_text("\n\nprint(1 / 0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


Done = namedtuple("Done", "code out err")


def main(*arguments):
    """The command line in this process."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["dse", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
            dse.commands.main.main()
    finally:
        sys.argv = before
    return Done(end.value.code or 0, out.getvalue(), err.getvalue())


def run(*arguments):
    return main(*arguments, "--jobs", 1, "--no-random-twin")


def interrupted(path):
    """Make a finished run look interrupted after some designs; what its log was."""
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"status": "running"}))
    whole = (path / "designs.csv").read_bytes()
    (path / "designs.csv").write_bytes(b"\n".join(whole.split(b"\n")[:6]) + b"\n")
    return whole


@pytest.mark.parametrize("name", ["own_ones:EnergyDelay", "own_ones.py:EnergyDelay", "statistics.py:EnergyDelay"])
def test_a_class_of_ones_own_is_explored_and_continues(folder, name):
    done = run("explore", "mobilenet_v2", "-n", 12, "--space", "small", "--problem", name)
    path = folder / "results" / "EnergyDelay_mobilenet_v2_small"
    assert done.code == 0 and "edp_js" in (path / "front.csv").read_text().split("\n")[0]
    whole = interrupted(path)
    again = main("resume", "results/EnergyDelay_mobilenet_v2_small")
    assert again.code == 0 and (path / "designs.csv").read_bytes() == whole
    assert f"is {name}: importing {name.partition(':')[0]}" in again.out


def test_a_geomean_of_ones_own_takes_the_options_of_its_kind(folder):
    done = run("explore", "--networks", "mobilenet_v2,resnet50", "-n", 8, "--weights", "2,1", "--space", "small",
               "--problem", "own_ones:Mean")  # fmt: skip
    path = folder / "results" / "Mean_mobilenet_v2_resnet50_weights2-1_small"
    assert done.code == 0 and (path / "front.csv").is_file()
    assert resume("results/Mean_mobilenet_v2_resnet50_weights2-1_small").finished


NARROW = {
    "Narrow": ("mobilenet_v2",),
    "Settled": ("mobilenet_v2",),
    "Open": ("mobilenet_v2", "--node", 28, "--space", "small", "--batch", 2),
    "Halved": ("mobilenet_v2", "--mapping-slack", 0.2, "--space", "small"),
    "Layers": (),
    "Two": (),
    "Together": ("--networks", "mobilenet_v2,wide_deep"),
    "Passing": ("--mix", "moca_light", "--node", 28),
    "Mixed": ("--mix", "vr_gaming"),
}


@pytest.mark.parametrize("name", NARROW)
def test_a_narrower_constructor_is_resumed_with_what_it_was_given(folder, name):
    """`resume` gave space, technology and mapping to constructors that take none."""
    done = run("explore", *NARROW[name], "-n", 12, "--problem", f"own_ones:{name}", "--out", "out")
    assert done.code == 0, done.err
    whole = interrupted(folder / "out")
    again = main("resume", "out")
    assert again.code == 0 and (folder / "out" / "designs.csv").read_bytes() == whole, again.err


@pytest.mark.parametrize("name", ["Narrow", "Settled"])
def test_a_narrower_constructor_is_resumed_from_an_older_manifest(folder, name):
    """It names what every problem has, not what the constructor was given."""
    assert run("explore", "mobilenet_v2", "-n", 12, "--problem", f"own_ones:{name}", "--out", "out").code == 0
    whole = interrupted(folder / "out")
    content = json.loads((folder / "out" / "manifest.json").read_text())
    attributes = content["identity"]["problem"]
    content["rebuild"] = {
        "problem": f"own_ones:{name}", "network": "mobilenet_v2", "mapping_slack": 0.01, "n_jobs": 1, "batch": 1,
        "mapping_objective": attributes["attributes"]["mapping_objective"], "dims": {},
        "technology": attributes["technology"], "objectives": ["latency_s", "area_mm2"],
    }  # fmt: skip
    (folder / "out" / "manifest.json").write_text(json.dumps(content))
    again = main("resume", "out")
    assert again.code == 0 and (folder / "out" / "designs.csv").read_bytes() == whole, again.err


@pytest.fixture
def package(folder):
    """A package of one's own in the current directory, whose module imports its neighbour."""
    (folder / "mine").mkdir()
    (folder / "mine" / "__init__.py").write_text("from .problem import Mine\n")
    (folder / "mine" / "limits.py").write_text("factor = 2.0\n")
    (folder / "mine" / "problem.py").write_text(
        "from problems import SingleDNN\n\nfrom .limits import factor\n\n\nclass Mine(SingleDNN):\n"
        '    """Mine."""\n\n    objective_names = ("a", "b")\n\n    def objectives(self, m):\n'
        '        """Mine."""\n        return factor * m.latency_s, m.area_mm2\n'
    )
    return folder


@pytest.mark.parametrize("name", ["mine.problem:Mine", "mine:Mine"])
def test_a_class_of_a_package_in_the_current_directory_is_explored_and_continues(package, name):
    """The module was run by itself, without its package; a package by its name was not found."""
    done = run("explore", "mobilenet_v2", "-n", 12, "--problem", name, "--out", "out")
    assert done.code == 0, done.err
    assert sys.path[-1] == str(package), "last, so that it hides nothing"
    whole = interrupted(package / "out")
    assert main("resume", "out").code == 0 and (package / "out" / "designs.csv").read_bytes() == whole


def test_a_package_that_another_hides_is_one_clear_line(folder):
    (folder / "json").mkdir()
    (folder / "json" / "mine.py").write_text(OWN)
    done = run("explore", "mobilenet_v2", "-n", 8, "--problem", "json.mine:EnergyDelay")
    assert done.code == 1 and re.search(
        r"json.mine is not json/mine.py, since json is .*json/__init__.py; re", done.err
    )
    assert run("explore", "mobilenet_v2", "-n", 8, "--problem", "json/mine.py:EnergyDelay").code == 0


@pytest.mark.parametrize("name", ["own_ones:EnergyDelay", "own_ones.py:EnergyDelay", "mine.problem:Mine"])
@pytest.mark.parametrize("has_another", [True, False])
def test_resume_imports_no_other_file_of_the_same_name(package, monkeypatch, name, has_another):
    """The name was looked up in whatever directory `resume` was called in."""
    assert run("explore", "mobilenet_v2", "-n", 8, "--problem", name, "--out", "out").code == 0
    elsewhere = package / "elsewhere"
    (elsewhere / "mine").mkdir(parents=True)
    if has_another:
        for other in ("own_ones.py", "mine/__init__.py", "mine/problem.py"):
            (elsewhere / other).write_text("raise SystemExit('imported')\n")
    for module in [each for each in sys.modules if each.startswith(("own_ones", "mine"))]:
        del sys.modules[module]
    monkeypatch.setattr(sys, "path", [each for each in sys.path if not each.startswith(str(package))])
    monkeypatch.chdir(elsewhere)
    done = main("resume", package / "out")
    where = str(elsewhere) if has_another else "no file"
    assert done.code == 1 and f"in this directory that name means {where}" in done.err, done.err
    assert done.err.count("\n") == 1 and "Run the command that started the run again" in done.err
    monkeypatch.chdir(package)
    assert main("resume", "out").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--networks", "mobilenet_v2,resnet50"), "--problem own_ones:Alone: it takes no networks"),
        (("--mix", "vr_gaming"), "--problem own_ones:Alone: it takes no mix"),
        (("--batch", 4), "--problem own_ones:Alone: it takes no batch"),
        (("--dim", "seq=128"), "--problem own_ones:Alone: it takes no dim"),
        (("mobilenet_v2",), "--problem own_ones:Alone: it takes no network"),
        (("--sub-arrays", 2), "--problem own_ones:Alone: it takes no sub arrays"),
        (("--node", 28), "--problem own_ones:Alone: it takes no node"),
    ],
)
def test_what_a_class_with_an_evaluator_of_its_own_does_not_take_is_refused(arguments, message):
    """Networks, a mix, a batch and sizes were dropped without a word."""
    done = run("explore", *arguments, "-n", 8, "--problem", "own_ones:Alone")
    assert done.code == 1 and message in done.err and done.err.count("\n") == 1, done.err


@pytest.mark.parametrize(
    ("name", "arguments"), [("Narrow", ("mobilenet_v2",)), ("Two", ()), ("Together", ()), ("Mixed", ())]
)
def test_a_batch_that_a_narrower_constructor_does_not_take_is_refused(name, arguments):
    done = run("explore", *arguments, "--batch", 4, "-n", 8, "--problem", f"own_ones:{name}")
    assert done.code == 1 and f"--problem own_ones:{name}: it takes no batch" in done.err


def test_explore_tells_the_technology_of_the_problem():
    """It told that of --node, which such a class does not take."""
    done = run("explore", "mobilenet_v2", "-n", 8, "--problem", "own_ones:Settled")
    assert ", seed 0, 28 nm; writing" in done.out and "45 nm" not in done.out, done.out
    assert ", seed 0, 16 nm; writing" in run("explore", "mobilenet_v2", "-n", 8, "--node", 16).out
    odd = run("explore", "anything", "-n", 8, "--problem", "own_ones:Odd")
    assert odd.code == 0 and ", seed 0; writing" in odd.out, odd.err


def line_of(text, file=OWN):
    return 1 + next(i for i, line in enumerate(file.split("\n")) if text in line)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("InNumpy", f"LinAlgError: Matrix is not positive definite (own_ones.py, line {line_of('InNumpy = ')})"),
        ("InPython", f"(own_ones.py, line {line_of('InPython = ')})"),
        ("InLibrary", f"rows must be a whole number >= 1, got 0 (own_ones.py, line {line_of('InLibrary = ')})"),
        ("InFiles", f"FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv' (own_ones.py, line "
                    f"{line_of('InFiles = ')})"),
        ("InHelper", f"ValueError: a bug of the helper (helper.py, line {line_of('raise', HELPER)})"),
        ("Ambiguous", f"(own_ones.py, line {line_of('m.area_mm2 < 50')})"),
    ],
)  # fmt: skip
def test_an_error_in_a_hook_is_told_with_class_and_line_of_the_user(name, message):
    """The line was one of numpy or Python; errors of the library and of files came without class and line."""
    done = run("explore", "mobilenet_v2", "-n", 8, "--problem", f"own_ones:{name}")
    assert done.code == 1 and done.err.strip().count("\n") == 0, done.err
    assert f"own_ones:{name} failed while designs were evaluated: " in done.err and message in done.err


def test_an_error_in_a_constructor_is_told_with_the_line_of_the_user(folder):
    for content in (None, "{"):
        if content is not None:
            (folder / "limits.json").write_text(content)
        done = run("explore", "mobilenet_v2", "-n", 8, "--problem", "own_ones:Unread")
        assert done.code == 1 and "--problem own_ones:Unread: it cannot be made: " in done.err
        assert f"(own_ones.py, line {line_of('# a failing constructor')})" in done.err


def test_a_class_with_an_evaluator_of_its_own_needs_no_network(folder):
    done = run("explore", "-n", 8, "--problem", "own_ones:Alone")
    assert done.code == 0 and (folder / "results" / "Alone" / "front.csv").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing:Here", "there is no module nothing: neither nothing.py in"),
        ("nothing.py:Here", "there is no file nothing.py; give the path of the file with your class"),
        (
            "own_ones:Nope",
            "own_ones has no Nope; its problem classes are EnergyDelay, Mean, Alone, Needs",
        ),
        ("own_ones:NoProblem", "NoProblem is no problem: derive a class from SingleDNN"),
        ("own_ones:Broken", "it cannot be made: KeyError: 'a bug' (own_ones.py, line"),
        ("own_ones:Needs", "its constructor needs colour, which the command line does not give"),
        ("own_ones:", "expected module:Class or file.py:Class"),
        ("syntax:A", "syntax cannot be imported: SyntaxError"),
        ("raises:A", "raises cannot be imported: ZeroDivisionError: division by zero (raises.py, line 3)"),
        ("helper:A", "helper has no A; it has no problem class"),
        ("own_ones:Empty", "its constructor does not call super().__init__; add that"),
        ("own_ones:Ambiguous", "failed while designs were evaluated: ValueError: The truth value of an array"),
        ("own_ones.py", "name the class in it too, as own_ones.py:MyProblem"),
        ("../own_ones:A", "'../own_ones' is no name of a module"),
        ("something", "unknown problem 'something': give single, geomean, simultaneous, codesign, or a class"),
    ],
)
def test_a_class_that_cannot_be_used_is_one_clear_line(name, message):
    done = run("explore", "mobilenet_v2", "-n", 8, "--problem", name)
    assert done.code == 1 and message in done.err and done.err.count("\n") == 1, done.err


def test_codesign_is_explored_and_continues(folder):
    done = run("explore", "mobilenet_v2", "-n", 12, "--problem", "codesign", "--widths", "0.5,1,1.5", "--step", 4)
    path = folder / "results" / "codesign_mobilenet_v2_widths0.5-1-1.5_step4"
    assert done.code == 0, done.err
    problem = rebuild(path)
    assert type(problem) is Codesign and problem.widths == (0.5, 1.0, 1.5) and problem.step == 4
    whole = interrupted(path)
    assert main("resume", path).code == 0 and (path / "designs.csv").read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--widths", "1,2"), "--widths needs --problem codesign"),
        (("--problem", "codesign", "--weights", "1"), "--weights needs --problem geomean"),
        (("--problem", "codesign", "--objectives", "latency_s"), "--problem codesign: it takes no objectives"),
        (("--mapping", "fixed"), "--mapping needs --problem geomean, which takes one network too"),
        (("--problem", "own_ones:EnergyDelay", "--weights", "1"), "--weights needs --problem geomean"),
        (
            ("--problem", "own_ones:EnergyDelay", "--objectives", "energy_j"),
            "EnergyDelay defines its objectives itself",
        ),
    ],
)
def test_an_option_that_a_kind_does_not_take_is_refused(arguments, message):
    done = run("explore", "mobilenet_v2", "-n", 8, *arguments)
    assert done.code == 1 and message in done.err, done.err


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "mobilenet_v2"),
        ({"batch": 4}, "mobilenet_v2_batch4"),
        ({"objectives": ("latency_s", "area_mm2")}, "mobilenet_v2"),
        ({"objectives": ("energy_j", "area_mm2")}, "mobilenet_v2_energy_j_area_mm2"),
        ({"mapping_objective": "latency", "mapping_slack": 0.01}, "mobilenet_v2"),
        ({"mapping_objective": "edp"}, "mobilenet_v2_mapped_edp"),
        ({"mapping_slack": 0.05}, "mobilenet_v2_slack0.05"),
        ({"mapping_slack": 0.0}, "mobilenet_v2_slack0"),
    ],
)
def test_a_directory_is_named_by_what_distinguishes_a_run(changes, name):
    wanted = Wanted(network="mobilenet_v2", **changes)
    assert made(wanted)[1] == name


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"problem": "codesign", "widths": (0.5, 0.75, 1.0, 1.25, 1.5), "step": 8, "least_capacity": 0.5}, ""),
        ({"problem": "codesign", "widths": (0.5, 1.0)}, "_widths0.5-1"),
        ({"problem": "codesign", "step": 4, "least_capacity": 0.7}, "_step4_capacity0.7"),
        ({"problem": "geomean", "weights": (1.0, 1.0)}, ""),
        ({"problem": "geomean", "weights": (2.0, 1.0), "mapping_objective": "energy"}, "_weights2-1_mapped_energy"),
        ({"problem": "simultaneous", "sub_arrays": 2}, ""),
        ({"problem": "simultaneous", "sub_arrays": 3}, "_sub_arrays3"),
        ({"problem": "own_ones:Mean", "weights": (1.0, 3.0)}, "_weights1-3"),
        ({"problem": "own_ones:Halved", "mapping_slack": 0.1}, ""),
        ({"problem": "own_ones:Halved", "mapping_slack": 0.01}, "_slack0.01"),
    ],
)
def test_options_of_a_kind_stand_in_the_name_of_the_directory(changes, name):
    """Runs of other weights, widths, sub-arrays or mappings were refused in each other's directory."""
    several = changes["problem"] in ("geomean", "simultaneous", "own_ones:Mean")
    about = {"networks": "mobilenet_v2,wide_deep"} if several else {"network": "mobilenet_v2"}
    found = made(Wanted(**about, **changes))[1]
    kind = changes["problem"].rpartition(":")[2]
    assert found == f"{kind}_{'mobilenet_v2_wide_deep' if several else 'mobilenet_v2'}{name}"


def test_a_second_run_of_a_network_has_a_directory_of_its_own(folder):
    """README's own second command collided with the first."""
    assert run("explore", "mobilenet_v2", "-n", 8).code == 0
    assert run("explore", "mobilenet_v2", "-n", 8, "--space", "small").code == 0
    assert run("explore", "mobilenet_v2", "-n", 8, "--space", "small", "--node", 28).code == 0
    assert {p.name for p in (folder / "results").iterdir()} == {
        "mobilenet_v2", "mobilenet_v2_small", "mobilenet_v2_small_28nm",
    }  # fmt: skip


def test_a_long_name_is_cut_and_stays_distinct():
    names = set()
    for last in ("power_w", "dram_bytes"):
        wanted = Wanted(network="mobilenet_v2", objectives=("latency_s", "energy_j", "area_mm2", "edp_js", "cycles",
                        "macs", "utilisation", last))  # fmt: skip
        problem, name = made(wanted)
        assert len(name) <= 80 and directory_name(wanted, problem) == name
        names.add(name)
    assert len(names) == 2


def test_a_finished_run_says_that_nothing_was_done(folder):
    """It said: Took 0.25 s for 10,000 unique designs."""
    run("explore", "mobilenet_v2", "-n", 8)
    again = run("explore", "mobilenet_v2", "-n", 8)
    assert "results/mobilenet_v2 holds this run, finished 20" in again.out and "\nTook" not in again.out


def test_every_kind_has_one_way_to_be_made_again():
    assert set(KINDS) == {"single", "geomean", "simultaneous", "codesign"}
    for cls in KINDS.values():
        assert problem_class(cls.kind) is cls and "rebuild" not in vars(cls)
    problem = GeomeanDNN(["mobilenet_v2"], space=SingleDNN("mobilenet_v2").space)
    assert problem.rebuild()["problem"] == "geomean" and json.dumps(problem.rebuild())


def test_a_script_s_own_class_is_not_resumed_from_its_manifest(folder):
    sys.path.insert(0, str(folder))
    from own_ones import EnergyDelay

    assert EnergyDelay("mobilenet_v2").rebuild() is None
    explore(EnergyDelay("mobilenet_v2"), evaluations=8, out="script", random_twin=False)
    with pytest.raises(ValueError, match="EnergyDelay is not in it. Run the script that started it again"):
        resume("script")


def test_a_file_outside_the_current_directory_is_not_imported_by_resume(folder, monkeypatch):
    run("explore", "mobilenet_v2", "-n", 8, "--problem", str(folder / "own_ones.py:EnergyDelay"))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done = main("resume", folder / "results" / "EnergyDelay_mobilenet_v2")
    assert done.code == 1 and "outside the current directory: nothing is imported from there" in done.err


def test_what_a_class_of_ones_own_raises_in_the_search_is_one_line():
    done = run("explore", "mobilenet_v2", "-n", 8, "--problem", "own_ones:Fails")
    assert done.code == 1 and done.err.strip().count("\n") == 0, done.err
    assert "own_ones:Fails failed while designs were evaluated: KeyError: 'speed' (own_ones.py, line" in done.err


def test_a_module_of_the_users_hides_nothing_from_the_command_line(folder):
    """`python -m` puts the current directory first: a random.py there broke everything."""
    (folder / "random.py").write_text("raise SystemExit('mine')\n")
    root = str(Path(dse.__file__).parents[1])
    done = subprocess.run([sys.executable, "-m", "dse", "--version"], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": root})  # fmt: skip
    assert done.stdout.startswith("dse 0."), done.stderr


def test_resume_imports_no_path_that_only_the_manifest_names(folder):
    """A path without its ending was imported from anywhere."""
    run("explore", "mobilenet_v2", "-n", 8)
    path = folder / "results" / "mobilenet_v2" / "manifest.json"
    content = json.loads(path.read_text())
    content["rebuild"]["problem"] = f"{folder / 'own_ones'}:EnergyDelay"
    path.write_text(json.dumps(content | {"status": "running"}))
    done = main("resume", "results/mobilenet_v2")
    assert done.code == 1 and "is no name of a module" in done.err and "own_ones" not in sys.modules


@pytest.mark.parametrize(("key", "value"), [("files", None), ("wall_time_s", "x"), ("space", None), ("ended", 3)])
def test_a_manifest_of_another_form_is_one_line(folder, key, value):
    run("explore", "mobilenet_v2", "-n", 8)
    path = folder / "results" / "mobilenet_v2" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    for command in (("explore", "mobilenet_v2", "-n", 8), ("resume", "results/mobilenet_v2"), ("front", path.parent)):
        done = main(*command)
        assert done.code == 1 and f"manifest.json: {key} is not as it was written" in done.err, done.err
