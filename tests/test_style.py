"""The tree is clean under ruff, by the settings in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [["check", "--output-format=concise"], ["format", "--check", "--quiet"]])
def test_ruff(command):
    line = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
