"""The experiments: findings against tables, small studies from the command line, interruption, and bad input."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import typer

import dse
from experiments.__main__ import EXPERIMENTS, app, main
from experiments.findings import all_findings, flat, wrong_findings
from experiments.relation_page import _short
from experiments.study import RESULTS, ROOT, SHORT, Fault, Rows, Steps, Study, read_table
from problems import SingleDNN

TABLES = [path.relative_to(RESULTS) for path in RESULTS.rglob("*.csv") if "runs" not in path.parts]


def experiments(*arguments, **environment):
    """One command, from the root of the repository."""
    command = [sys.executable, "-m", "experiments", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)


class Here:
    """Commands in this process, which has imported everything already."""

    def __init__(self, monkeypatch, capsys):
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments):
        self.monkeypatch.setattr(sys, "argv", ["experiments", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = self.capsys.readouterr()
        return subprocess.CompletedProcess(arguments, end.value.code, said.out, said.err)


@pytest.fixture
def here(monkeypatch, capsys):
    """Runs a command in this process."""
    return Here(monkeypatch, capsys)


def assert_one_line(done, *parts):
    assert done.returncode not in (0, None), done.stdout
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("experiments: "), done.stderr
    for part in parts:
        assert part in done.stderr


# ---------------------------------------------------------------------------------------------------------------------
# Findings.


def test_every_finding_is_what_the_committed_tables_say():
    count, wrong = wrong_findings()
    assert wrong == [] and count >= 70


def sentences(document):
    """Bullets, rows and paragraphs under each heading "Findings" of a document, white space flattened."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for part in re.findall(r"^### Findings\n(.*?)(?=^##|\Z)", text, flags=re.M | re.S):
        rows = re.findall(r"^\|.*$", part, flags=re.M)
        heads = {i for i, row in enumerate(rows) if i + 1 < len(rows) and rows[i + 1].startswith("|---")}
        yield from (row for i, row in enumerate(rows) if i not in heads and not row.startswith("|---"))
        for block in re.sub(r"^\|.*$", "", part, flags=re.M).split("\n\n"):
            yield from (flat(x) for x in re.split(r"^- ", block, flags=re.M) if x.strip() and not flat(x).endswith(":"))


def test_every_sentence_under_findings_has_a_check():
    checked = [flat(finding.text) for _, finding in all_findings() if "results/README.md" in finding.where]
    said = list(sentences("results/README.md"))
    assert len(said) > 50
    for sentence in said:
        left = sentence
        for text in checked:
            left = left.replace(text, "")
        assert not re.search(r"\w", left), f"no finding of the experiments says: {left.strip()}"


def changed(path, column, rows=slice(None)):
    """Another number in a column of a table."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    table[column] = table[column].astype(float)
    table.loc[rows, column] = table.loc[rows, column] * 1.5 + 1
    table.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("eight_dnns/summary.csv", "shared_gains_percent"),
        ("eight_dnns/generality.csv", "loss"),
        ("eight_dnns/designs.csv", "latency_s_vgg16"),
        ("exact_fronts/quality.csv", "0.01"),
        ("operation_kinds/kinds.csv", "loss_now"),
        ("operation_kinds/losses.csv", "shared"),
        ("operation_kinds/edits.csv", "saved"),
        ("sensitivity/draws.csv", "surviving_share"),
        ("sensitivity/constants.csv", "rank_correlation"),
        ("simultaneous/summary.csv", "makespan_s"),
        ("simultaneous/front.csv", "area_mm2"),
        ("tune_dnn/predicted.csv", "gain"),
        ("tune_dnn/latencies.csv", "gain"),
        ("tune_dnn/pairs.csv", "seeds_done"),
        ("tune_dnn/codesign_arms.csv", "accuracy_percent"),
        ("tune_dnn/codesign_gains.csv", "volume_percent"),
    ],
)
def test_a_changed_table_is_found_out(table, column, tmp_path):
    copied(tmp_path)
    assert wrong_findings(tmp_path)[1] == []
    rows = slice(0, 41) if table == "eight_dnns/designs.csv" else slice(None)
    changed(tmp_path / table, column, rows)
    assert [line for line in wrong_findings(tmp_path)[1] if line.startswith(table.partition("/")[0])]


def copied(place):
    """The committed tables, without figures."""
    for path in TABLES:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(RESULTS / path, place / path)


def test_check_names_a_damaged_a_foreign_and_a_missing_table(tmp_path, here):
    assert here("check").stdout.endswith("findings are what the tables say\n")
    copied(tmp_path)
    summary = tmp_path / "eight_dnns" / "summary.csv"
    text = summary.read_text()
    summary.write_text(text.replace("mapping,budget_mm2", "mapping,area_mm2"))
    assert_one_line(here("check", tmp_path), str(summary), "no column budget_mm2")
    summary.write_text('mapping,budget_mm2\n"best,10')
    assert_one_line(here("check", tmp_path), str(summary))
    summary.write_text("\n".join(line for line in text.split("\n") if not line.startswith("fixed")))
    assert_one_line(here("check", tmp_path), "eight_dnns", "lacks what a finding is about")
    summary.unlink()
    assert_one_line(here("check", tmp_path), str(summary), "is missing")


def test_results_hold_what_the_page_says():
    """git keeps tables and figures alone, and the page says how much that is."""
    listed = subprocess.run(["git", "ls-files", "-z", "results"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert not [path for path in files if path.suffix in (".npz", ".npy") or "runs" in path.parts]
    said = float(re.search(r"named below: ([\d.]+) MB", (RESULTS / "README.md").read_text(encoding="utf-8"))[1])
    assert sum(path.stat().st_size for path in files if path.is_file()) / 1e6 == pytest.approx(said, abs=0.3)


# ---------------------------------------------------------------------------------------------------------------------
# Commands.


def test_help_lists_every_experiment_and_says_how_each_is_run():
    text = experiments("--help").stdout
    modules = {path.stem for path in (ROOT / "experiments").glob("*.py") if "def main(" in path.read_text()}
    assert modules - {"__main__"} == set(EXPERIMENTS)
    for name in EXPERIMENTS:
        command = typer.main.get_command(app).get_command(None, name)
        assert {"quick"} <= {parameter.name for parameter in command.params}
        assert re.search(rf"^  {name} +\w", text, flags=re.M), name
        source = (ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8")
        assert f"python -m experiments {name}" in source.split('"""')[1]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_quick_study_runs(name, tmp_path):
    where = [tmp_path] if name == "make_networks" else ["--out", tmp_path]
    done = experiments(name, "--quick", *where)
    assert done.returncode == 0, done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".csv", ".onnx")]
    assert written and not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("name", ["eight_dnns", "exact_fronts", "operation_kinds", "sensitivity", "tune_dnn"])
def test_committed_tables_are_all_that_a_figure_takes(name, tmp_path, here):
    copied(tmp_path)
    done = here(name, "draw", "--out", tmp_path / name)
    assert done.returncode == 0, done.stderr
    drawn = {path.name for path in (tmp_path / name).glob("*.png")}
    assert drawn == {path.name for path in (RESULTS / name).glob("*.png")}


def test_the_page_of_operations_is_that_of_the_committed_tables(tmp_path, here):
    copied(tmp_path)
    place = tmp_path / "operation_kinds"
    assert here("operation_kinds", "page", "--out", place).returncode == 0
    page = (place / "relation.md").read_text(encoding="utf-8")
    assert page == (RESULTS / "operation_kinds" / "relation.md").read_text(encoding="utf-8")
    titles = {line.removeprefix("### ") for line in page.split("\n") if line.startswith("### ")}
    assert titles == {SHORT[name] for name in dse.network_names()}


def test_edits_are_told_in_few_words():
    said = "groups of 16 channels for depthwise (/a/b/c/Conv, /d/e/f/Conv and 13 more); widths: /a/b/c/Conv 32 -> 16"
    assert _short(said) == "groups of 16 channels for depthwise (15 layers)"
    assert _short("stem on blocks (/conv1/Conv)") == "stem on blocks (/conv1/Conv)"
    assert _short("channels made by /features/features.0/Conv: 24") == "channels made by features.0/Conv: 24"


def test_quick_studies_stay_out_of_results(here):
    assert_one_line(here("sensitivity", "--quick", "--out", RESULTS / "sensitivity"), "not into results/")
    assert Study.at("sensitivity", None, quick=True).out == Path("quick") / "sensitivity"
    assert Study.at("sensitivity", None, quick=False).out == RESULTS / "sensitivity"


def test_killed_study_continues_to_the_same_tables(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert experiments("sensitivity", "draws", "--quick", "--out", whole).returncode == 0
    command = [sys.executable, "-m", "experiments", "sensitivity", "draws", "--quick", "--out", str(killed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not (killed / "runs" / "draws.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    kept = (killed / "runs" / "draws.csv").read_bytes()
    assert experiments("sensitivity", "draws", "--quick", "--out", killed).returncode == 0
    assert (killed / "runs" / "draws.csv").read_bytes().startswith(kept)
    for name in ("draws.csv", "constants.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_bad_input_is_one_line(tmp_path, here):
    assert_one_line(here("nothing"), "nothing")
    assert_one_line(here("sensitivity", "nothing", "--quick", "--out", tmp_path), "unknown stage", "draws, draw")
    assert_one_line(here("exact_fronts", "search", "--quick", "--out", tmp_path / "exact"), "table.npy is missing")
    assert_one_line(here("tune_dnn", "measure", "--out", tmp_path / "tune"), "--data")
    nothing = here("operation_kinds", "table", "--budget", 7, "--out", tmp_path / "kinds")
    assert_one_line(nothing, "designs.csv", "at 7 mm2")


def test_budget_in_which_no_design_runs_is_told(tmp_path, here):
    done = here("eight_dnns", "search", "--quick", "--budget", 0.01, "--out", tmp_path)
    line = done.stderr.split("\n")[-2]
    assert done.returncode == 1 and line.startswith("experiments: no design with area_mm2 at most 0.01"), done.stderr


def test_damaged_sweep_is_refused_and_named(tmp_path):
    assert experiments("exact_fronts", "sweep", "--quick", "--out", tmp_path).returncode == 0
    table = tmp_path / "runs" / "table.npy"
    table.write_bytes(table.read_bytes()[:-100])
    assert_one_line(experiments("exact_fronts", "search", "--quick", "--out", tmp_path), str(table), "damaged")


def test_experiment_without_its_optional_package_says_so(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")  # hides one that is installed
    done = experiments("tune_dnn", "measure", "--data", tmp_path, "--out", tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert_one_line(done, "torch", "pip install")


# ---------------------------------------------------------------------------------------------------------------------
# What the studies share.


def test_a_study_of_other_settings_or_another_model_is_refused(tmp_path):
    Study.at("x", tmp_path, quick=True).begin([SingleDNN("wide_deep")], seeds=2)
    Study.at("x", tmp_path, quick=True).begin([SingleDNN("wide_deep")], seeds=2)
    with pytest.raises(Fault, match="seeds 2 there, 3 now"):
        Study.at("x", tmp_path, quick=True).begin([SingleDNN("wide_deep")], seeds=3)
    with pytest.raises(Fault, match="another networks"):
        Study.at("x", tmp_path, quick=True).begin([SingleDNN("ptb_lstm_medium")], seeds=2)
    path = tmp_path / "manifest.json"
    about = json.loads(path.read_text())
    about["identity"]["models"][0]["model"] = "of before"
    path.write_text(json.dumps(about))
    with pytest.raises(Fault, match="another model"):
        Study.at("x", tmp_path, quick=True).begin([SingleDNN("wide_deep")], seeds=2)
    Study.at("x", tmp_path, quick=True, overwrite=True).begin([SingleDNN("wide_deep")], seeds=3)
    path.write_text("{")
    with pytest.raises(Fault, match=re.escape(str(path))):
        Study.at("x", tmp_path, quick=True).begin([SingleDNN("wide_deep")], seeds=3)


def test_manifest_is_small_and_tells_times(tmp_path):
    study = Study.at("x", tmp_path, quick=True)
    study.begin([SingleDNN("wide_deep")], seeds=2)
    study.run(["wait"], {"wait": lambda: time.sleep(0.15)})
    path = tmp_path / "manifest.json"
    about = json.loads(path.read_text())
    assert about["seconds_of_last_call"]["wait"]["wall_s"] >= 0.1
    assert {"identity", "versions", "git_commit", "ended"} <= set(about) and path.stat().st_size < 5_000


def test_rows_are_kept_one_by_one(tmp_path):
    rows = Rows(tmp_path / "rows.csv", ("network", "seed"))
    rows.add({"network": "a", "seed": 0, "value": 0.1})
    again = Rows(tmp_path / "rows.csv", ("network", "seed"))
    assert ("a", 0) in again and ("a", 1) not in again
    again.add({"network": "a", "seed": 1, "value": 0.2})
    assert read_table(tmp_path / "rows.csv", ["value"])["value"].tolist() == [0.1, 0.2]


def test_steps_tell_the_time_that_is_left(capsys):
    with Steps(4, "draws") as steps:
        for _ in range(4):
            time.sleep(0.05)
            steps.step()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[0] for line in lines] == [f"draws: {n} of 4" for n in (1, 2, 3, 4)]
    left = [float(re.search(r"([\d.]+) s left", line)[1]) for line in lines]
    assert left[0] >= 0.15 and left[-1] == 0
