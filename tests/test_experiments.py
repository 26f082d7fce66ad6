"""The scripts of the experiments tell how they are used, where nothing or something else was asked."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "experiments"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))
ACTIONS = ("eight_dnns", "exact_fronts", "simultaneous", "tune_dnn")


def ran(script, *arguments):
    line = [sys.executable, str(FOLDER / f"{script}.py"), *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=FOLDER.parent)


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name != "make_networks"])
def test_help_is_the_first_lines_of_a_script(script):
    done = ran(script, "--help")
    assert done.returncode == 0 and done.stderr == "" and f"python experiments/{script}.py" in done.stdout


@pytest.mark.parametrize("script", ACTIONS)
def test_a_script_without_an_action_starts_nothing(script):
    """It ended in an IndexError, or in a search of hours."""
    for arguments in ((), ("frob",)):
        done = ran(script, *arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr and done.stdout == ""
        assert f"python experiments/{script}.py" in done.stderr
    assert "unknown action 'frob'" in done.stderr


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("sensitivity", ("many",)), ("operation_kinds", ("1", "2")), ("eight_dnns", ("search",)),
     ("tune_dnn", ("measure",)), ("exact_fronts", ("search", "some"))],
)  # fmt: skip
def test_values_that_do_not_fit_are_told(script, arguments):
    done = ran(script, *arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr and len(done.stderr.split("\n")) > 3
