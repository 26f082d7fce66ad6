"""What names a version names the same one everywhere."""

import re
from pathlib import Path

import dse

ROOT = Path(__file__).parents[1]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_citation_and_changelog_are_of_this_version():
    citation = dict(re.findall(r'^([a-z-]+): "?([^"\n]+)"?$', text("CITATION.cff"), flags=re.M))
    assert citation["version"] == dse.__version__
    assert f"## {dse.__version__} ({citation['date-released']})\n" in text("CHANGELOG.md")
