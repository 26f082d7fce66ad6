"""README and docs: the examples run, the commands and links exist, and what they say of files and numbers is true."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import dse
from dse.commands.design_by_text import choose
from dse.hardware.space import DesignSpace, default_space
from dse.output.tables import range_table, validation_table
from dse.runs.column_dictionary import COLUMNS

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
TEXT = TEXTS["README.md"]
OTHERS = ("CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")
NOT_EXECUTED = re.compile(r"<!-- not executed: \S.* -->\n$")
SMALLER = ((r"evaluations=10_000", "evaluations=40"), (r"evaluations=200, out", "evaluations=40, out"))
"""Budgets that are cut before an example runs."""


def blocks(language, text):
    """Fenced code blocks in that language; those under a comment ``<!-- not executed: reason -->`` are left out."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)
    return [block[1] for block in found if not NOT_EXECUTED.search(text[: block.start()])]


EXAMPLES = {f"{name}:{i + 1}": code for name, text in TEXTS.items() for i, code in enumerate(blocks("python", text))}


def example(part):
    """The first example with that text in it."""
    return next(source for source in EXAMPLES.values() if part in source)


@pytest.mark.parametrize("name", EXAMPLES)
def test_python_example_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = EXAMPLES[name]
    for long, short in SMALLER:
        source = re.sub(long, short, source)
    scope = {"__name__": "readme"}
    exec(compile(source, f"{name}, Python example", "exec"), scope)
    if "class EnergyDelayUnderPower" in source:
        assert (scope["run"].front["power_w"] <= 2.0).all() and len(scope["run"].front) > 0
        assert "edp_js" in capsys.readouterr().out


def test_blocks_that_are_not_executed_give_their_reason():
    """So that no example is left out by a comment that is spelled in another way."""
    for name, text in TEXTS.items():
        for comment in re.findall(r"<!--.*?-->\n?", text, flags=re.S):
            assert NOT_EXECUTED.match(comment), f"{name}: {comment}"


def test_the_front_page_is_short_and_shows_its_figure():
    assert len(TEXT.split("\n")) <= 126
    assert blocks("python", TEXT) and "](docs/images/front.png)" in TEXT
    assert (ROOT / "docs" / "images" / "front.png").stat().st_size < 200_000


@pytest.mark.parametrize("name", [*TEXTS, *OTHERS])
def test_lines_have_at_most_120_characters(name):
    for line in (ROOT / name).read_text(encoding="utf-8").split("\n"):
        assert len(line) <= 120, line


def anchors(text):
    """Names of the headings, as links in Markdown spell them."""
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.M):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", [*TEXTS, *OTHERS])
def test_links_lead_somewhere(name):
    text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.is_file(), f"{name}: {target}"
        assert not anchor or anchor in set(anchors(path.read_text(encoding="utf-8"))), f"{name}: {target}"


def test_every_page_is_in_the_index():
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "index.md" or f"]({path.name})" in TEXTS["docs/index.md"], path


def test_a_new_objective_takes_about_ten_lines():
    source = example("class EnergyDelayUnderPower")
    body = source[source.index("class ") : source.index("\n\nrun")]
    assert len(body.split("\n")) <= 10


def test_the_search_takes_at_most_five_lines():
    source = example("results/resnet50")
    assert len([line for line in source.split("\n") if line.strip()]) <= 5


def test_quick_start_is_the_promised_two_commands():
    assert "pip install -e . && dse explore resnet50\npip install -e '.[test]' && pytest\n" in TEXT


def toml_with(table):
    """The first TOML block of the docs that has that table."""
    found = (block for text in TEXTS.values() for block in blocks("toml", text))
    return next(block for block in found if f"[{table}]" in block)


def test_toml_example_is_the_space_of_the_python_example(tmp_path):
    (tmp_path / "mine.toml").write_text(toml_with("space"))
    scope = {}
    exec(example('name="mine"'), scope)
    assert DesignSpace.from_toml(tmp_path / "mine.toml") == scope["space"]


def test_toml_example_of_a_mix_can_be_read(tmp_path):
    (tmp_path / "car.toml").write_text(toml_with("mix"))
    mix = dse.load_mix(tmp_path / "car.toml")
    assert [stream.name for stream in mix.streams] == ["detector", "tracker", "commands"] and mix.is_steady


def test_toml_example_of_a_design_has_the_dataflow_of_the_python_example(tmp_path):
    (tmp_path / "chip.toml").write_text(toml_with("design"))
    scope = {}
    exec(example('Dataflow("rows_of_pixels"'), scope)
    assert choose(str(tmp_path / "chip.toml")).design.dataflow == scope["mine"]


def test_toml_example_of_layers_can_be_read(tmp_path):
    (tmp_path / "layers.toml").write_text(toml_with("[layer]"))
    assert [layer.name for layer in dse.load_network(tmp_path / "layers.toml").layers] == ["query", "softmax"]


def test_parameters_in_the_toml_are_in_the_dictionary():
    for table in ("base", "variables", "design"):
        assert set(tomllib.loads(toml_with(table))[table]) <= set(COLUMNS)


@pytest.mark.parametrize("name", ["README.md", "docs/exploring.md"])
def test_size_of_the_default_space(name):
    assert f"{default_space().size:.1e}".replace("+", "") in TEXTS[name]


def test_sizes_of_the_small_space_and_of_the_lists_that_ship():
    assert f"{dse.small_space().size:,} designs" in TEXTS["docs/exploring.md"]
    assert (len(dse.network_names()), len(dse.PRESETS)) == (16, 20)
    assert "Sixteen networks ship" in TEXT and "Twenty published accelerators ship" in TEXT


def test_options_named_in_the_texts_exist():
    files = sorted((ROOT / "dse" / "commands").glob("*.py"))
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for page, text in TEXTS.items():
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--help"}:
            name = option[2:].replace("-", "_")
            assert f'"{option}"' in source or re.search(rf"^    {name}: ", source, flags=re.M), f"{page}: {option}"


def test_commands_named_in_the_texts_exist():
    from typer.main import get_command

    from dse.commands.main import app

    known = set(get_command(app).commands)
    for page, text in TEXTS.items():
        for command in re.findall(r"(?:`|^|&& )dse ([a-z]+)", text, flags=re.M):
            assert command in known, f"{page}: dse {command}"


def printed_lines(table):
    """The lines of a table that are not empty, whatever the width of its columns."""
    console = Console(width=200)
    with console.capture() as printed:
        console.print(table)
    return [" ".join(line.split()) for line in printed.get().split("\n") if line.strip()]


def stored_score():
    """`results/validation/score.csv` as `dse validate` has it."""
    score = pd.read_csv(ROOT / "results" / "validation" / "score.csv").astype({"reached": object})
    score["target"] = score["target"].fillna("")
    score["reached"] = [value if isinstance(value, bool) else None for value in score["reached"]]
    return score


def test_the_table_of_the_validation_page_is_the_one_that_is_printed():
    """Every line of `dse validate`, but for the width of its columns."""
    score = stored_score()
    rows = pd.read_csv(ROOT / "results" / "validation" / "power.csv")
    text = {" ".join(line.split()) for line in TEXTS["docs/validation.md"].split("\n")}
    lines = [*printed_lines(validation_table(score))[3:], *printed_lines(range_table(rows))]
    assert len(lines) > 90
    for line in lines:
        assert line in text, line


def test_the_pages_name_every_target_that_is_missed():
    score = stored_score()
    judged, missed = score[score["reached"].notna()], score[score["reached"].eq(False)]
    words = {7: "seven", 8: "eight", 23: "twenty-three"}
    said, all_of_them = words[len(missed)], words[len(judged)]
    assert f"{said.capitalize()} of its {all_of_them} targets are missed" in TEXT
    assert TEXT.count("**missed**") == len(missed)
    assert f"Of {all_of_them} targets, {said} are missed:" in TEXTS["docs/validation.md"]
    table = TEXTS["docs/validation.md"].split("| missed target |")[1].split("\n\n")[0]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table.split("\n")[2:]] == [
        f"{reference}, {quantity}" for reference, quantity in zip(missed["reference"], missed["quantity"], strict=True)
    ]


FRONT_PAGE = {
    ("Eyeriss v1", "processing latency"): "mean {mean}, worst {worst}",
    ("Eyeriss v1", "VGG-16 latency, inferred"): "mean {mean}",
    ("Eyeriss v1", "VGG-16 latency, best mapping"): "mean {mean}, the chip is slower",
    ("Eyeriss v1", "VGG-16 buffer traffic, best mapping"): "mean {mean}, the chip moves more",
    ("TPU v1", "throughput"): "mean {mean}, worst {worst}",
    ("Gemmini 16x16", "cycles, given mapping"): "median {median}, worst {worst}, rank correlation {rank:.2f}",
    ("NVDLA", "frame rate"): "median {median}, worst {worst}",
    ("Ethos-U55", "cycles of an operator"): "median {median}, worst {worst}, rank correlation {rank:.3f}",
    ("SCALE-Sim", "DRAM traffic"): "median {median}",
    ("SCALE-Sim", "cycles with stalls"): "median {median} (other policy",
    ("Published areas", "area"): "median {median}, worst {worst}, rank correlation {rank:.2f}",
    ("Published power", "power of a chip"): "median {median}, NVDLA {most:.2f}",
    ("Published power", "Eyeriss v1, layers of AlexNet"): "worst {worst}, rank correlation {rank:.0f}",
    ("Published power", "Eyeriss v1, layers of VGG-16"): "mean {mean}",
    ("Published power", "NVDLA, seven sizes"): "{least:.2f} to {most:.2f}",
}


@pytest.mark.parametrize("row", FRONT_PAGE, ids=", ".join)
def test_the_errors_on_the_front_page_are_the_stored_ones(row):
    line = stored_score().set_index(["reference", "quantity"]).loc[row]
    errors = {name: f"{100 * line[f'{name}_error']:.2g} %" for name in ("median", "mean", "worst")}
    ratios = {"least": 1 - line["shortfall"], "most": 1 + line["excess"]}
    said = FRONT_PAGE[row].format(**errors, **ratios, rank=line["rank_correlation"])
    assert said in TEXT.split("## How close it is")[1].split("## Limits")[0]
