"""The README's examples run, its commands are the ones that exist, and what it says of files is true."""

import re
import tomllib
from pathlib import Path

import pytest

from dse.hardware.space import DesignSpace, default_space
from dse.runs.column_dictionary import COLUMNS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """Fenced code blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.M | re.S)


EXAMPLES = blocks("python")


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_python_example_runs(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = re.sub(r"evaluations=10_000", "evaluations=40", EXAMPLES[number])
    scope = {"__name__": "readme"}
    exec(compile(source, f"README.md, Python example {number + 1}", "exec"), scope)
    if "class EnergyDelayUnderPower" in source:
        assert (scope["run"].front["power_w"] <= 2.0).all() and len(scope["run"].front) > 0
        assert "edp_js" in capsys.readouterr().out


def test_a_new_objective_takes_about_ten_lines():
    source = next(source for source in EXAMPLES if "class EnergyDelayUnderPower" in source)
    body = source[source.index("class ") : source.index("\n\nrun")]
    assert len(body.split("\n")) <= 10


def test_the_search_takes_at_most_five_lines():
    source = next(source for source in EXAMPLES if "results/resnet50" in source)
    assert len([line for line in source.split("\n") if line.strip()]) <= 5


def test_quick_start_is_the_promised_two_commands():
    assert "pip install -e . && dse explore resnet50\npip install -e '.[test]' && pytest\n" in TEXT


def test_toml_example_is_the_space_of_the_python_example(tmp_path):
    (tmp_path / "mine.toml").write_text(blocks("toml")[0])
    scope = {}
    exec(next(source for source in EXAMPLES if 'name="mine"' in source), scope)
    assert DesignSpace.from_toml(tmp_path / "mine.toml") == scope["space"]


def test_size_of_the_default_space():
    assert f"{default_space().size:.1e}".replace("+", "") in TEXT


def test_options_named_in_the_text_exist():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dse" / "commands").glob("*.py"))
    for option in set(re.findall(r"--[a-z][a-z-]+", TEXT)) - {"--help"}:
        name = option[2:].replace("-", "_")
        assert f'"{option}"' in source or re.search(rf"^    {name}: ", source, flags=re.M), option


def test_parameters_in_the_toml_are_in_the_dictionary():
    for table in ("base", "variables"):
        assert set(tomllib.loads(blocks("toml")[0])[table]) <= set(COLUMNS)
