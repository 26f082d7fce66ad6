"""What names a version names the same one everywhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import dse

ROOT = Path(__file__).parents[1]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_citation_and_changelog_are_of_this_version():
    citation = dict(re.findall(r'^([a-z-]+): "?([^"\n]+)"?$', text("CITATION.cff"), flags=re.M))
    assert citation["version"] == dse.__version__
    assert f"## {dse.__version__} ({citation['date-released']})\n" in text("CHANGELOG.md")


def test_ruff_of_the_hooks_is_ruff_of_the_tests():
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    (pin,) = [line.removeprefix("ruff==") for line in extras["test"] if line.startswith("ruff")]
    assert re.search(r"/ruff-pre-commit\n +rev: v(\S+)", text(".pre-commit-config.yaml"))[1] == pin


SCRIPT = """
import dse
from dse.problems import GeomeanDNN
from dse.problems.base import Columns
from problems import SingleDNN

reveal_type(dse.evaluate(dse.Accelerator(rows=8), dse.load_network("resnet50")))
reveal_type(dse.explore(SingleDNN("resnet50", dse.small_space()), evaluations=8))
reveal_type(GeomeanDNN(["resnet50", dse.load_network("vgg16")]).networks)
reveal_type(Columns({}, {}).latency_s)
dse.evaluate("eyeriss_v1", [])
"""


def test_type_checkers_know_the_names_of_a_script(tmp_path):
    """What a user's script imports has a type of its own, not Any; a wrong argument is told."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    found = [line.partition("script.py:")[2] for line in done.stdout.splitlines()]
    assert found == [
        '7: note: Revealed type is "dse.costs.evaluation.Evaluation"',
        '8: note: Revealed type is "dse.search.exploration.Exploration"',
        '9: note: Revealed type is "tuple[dse.networks.layers.Network, ...]"',
        '10: note: Revealed type is "numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]"',
        '11: error: Argument 1 to "evaluate" has incompatible type "str"; expected "Accelerator"  [arg-type]',
    ], done.stdout + done.stderr


def test_every_module_of_problems_has_its_stub_in_dse():
    modules, stubs = (ROOT / "problems").glob("*.py"), (ROOT / "dse" / "problems").glob("*.pyi")
    assert {path.stem for path in modules} == {path.stem for path in stubs}


def test_every_exception_from_the_types_has_its_reason():
    """At most ten, each with the code it silences and why."""
    sources = [path for room in ("dse", "problems") for path in (ROOT / room).rglob("*.py")]
    lines = [
        line for path in sources for line in path.read_text(encoding="utf-8").splitlines() if "type: ignore" in line
    ]
    assert len(lines) <= 10
    assert [line for line in lines if not re.search(r"# type: ignore\[[a-z-]+\]  # \S", line)] == []
