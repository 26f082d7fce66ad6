"""What names a version names the same one everywhere."""

import re
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
