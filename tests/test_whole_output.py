"""At 80 columns and in pipes, names and numbers are whole in what every command prints, and progress keeps its bar."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

import pytest
from rich.console import Console
from rich.text import Text

import dse
import dse.commands.main
from dse.commands.main import app
from dse.output.progress import shown
from dse.output.whole_tables import WholeTable
from dse.search.exploration import Progress

LONG = "/encoder/encoder.layers.11/attention/self/query/MatMul_of_a_long_name_indeed"
LAYERS = f"""
[[layer]]
name = "{LONG}"
K = 64
C = 3
OX = 64
output = "t"

[[layer]]
name = "{LONG}_2"
C = 64
OX = 64
inputs = ["t"]
"""
MIX = '[streams.a_stream_with_quite_a_long_name]\nnetwork = "net.toml"\n[streams.b]\nnetwork = "net.toml"\n'
SPACE = '[space]\nname = "tiny"\n[variables]\nrows = [4, 8]\ncols = [4, 8]\ndram_gbps = [1, 4, 16]\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("a_directory_whose_name_is_long_enough_to_be_cut_by_a_table")
    (path / "net.toml").write_text(LAYERS)
    (path / "mix.toml").write_text(MIX)
    (path / "space.toml").write_text(SPACE)
    for out, seed in (("run", "0"), ("second", "1")):
        line = ["explore", "net.toml", "--space", "space.toml", "--out", out, "--jobs", "1", "--seed", seed]
        subprocess.run([sys.executable, "-m", "dse", *line], cwd=path, check=True, capture_output=True)
    return path


COMMANDS = {
    "explore": ("net.toml", "--space", "space.toml", "--out", "again", "--overwrite", "-n", "12"),
    "resume": ("run",),
    "front": ("run",),
    "fronts": ("run", "second", "--out", "overlaid"),
    "sensitivity": ("run", "--draws", "5"),
    "certify": ("run", "--within", "50%", "--jobs", "1"),
    "evaluate": ("net.toml", "--design", "run:knee", "--set", "resident_activation_fraction=0.5", "--mappings"),
    "compare": ("net.toml", "--design", "run:knee", "--design", "nvdla_2048", "--deadline", "1ms",
                "--limit", "power_w=1"),
    "explain": ("net.toml", "--design", "nvdla_large"),
    "staircase": ("net.toml", "--layer", LONG, "--out", "stairs"),
    "tune": (),
    "relate": ("net.toml",),
    "networks": (),
    "presets": (),
    "mixes": (),
    "schedule": ("mix.toml", "--division", "1,1", "--set", "cols=64"),
    "validate": ("areas", "--out", "validation"),
    "space": (),
    "technology": (),
}  # fmt: skip
TYPED = {
    "evaluate": {LONG, f"{LONG}_2", "run"},
    "compare": {"run:knee", "nvdla_2048", "net"},
    "explain": {LONG, f"{LONG}_2"},
    "networks": dse.network_names(),
    "presets": dse.PRESETS,
    "mixes": {*dse.mix_names(), *(s.name for name in dse.mix_names() for s in dse.load_mix(name).streams)},
    "schedule": {"a_stream_with_quite_a_long_name"},
    "space": {*dse.default_space().names, "weight_stationary_im2col", "output_pixels"},
    "relate": {"net"},
    "technology": {"multiplier_32x32bit_pj", "LPDDR4"},
    "staircase": {"stairs"},
}
"""Names that are typed in other commands, by the command that shows them."""


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Run a command in this process, in a pipe, with COLUMNS or without: its stdout."""

    def command(columns, *arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["dse", *arguments])
        if columns:
            monkeypatch.setenv("COLUMNS", str(columns))
        else:
            monkeypatch.delenv("COLUMNS", raising=False)
        with pytest.raises(SystemExit) as end:
            dse.commands.main.main()
        out, err = capsys.readouterr()
        assert not end.value.code, err
        return out + err

    return command


def test_every_command_is_looked_at():
    from typer.main import get_command

    assert set(COMMANDS) == set(get_command(app).commands)


@pytest.mark.parametrize("columns", [80, None])
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "tune"])
def test_nothing_is_cut_off(run, command, columns):
    out = run(columns, command, *COMMANDS[command])
    assert "\u2026" not in out and "..." not in out and out.strip()
    assert not re.search(r"[ \t]$", out, flags=re.M), "blanks at the end of a line"
    for name in TYPED.get(command, ()):
        assert name in out, name


def test_the_proposals_of_tune_are_whole(run, folder, tmp_path_factory):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.zeros((17, 8, 3, 3), dtype=np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", (1, 8, 6, 6)), ("y", None)))
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"], LONG)], "net", [x], [y], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "net.onnx")
    out = run(80, "tune", "net.onnx", "--within", "50%", "--out", "tuned")
    assert "\u2026" not in out and "Proposals" in out


@pytest.mark.parametrize("command", ["explore", "evaluate", "front", "explain"])
def test_help_is_whole_at_80_columns(run, command):
    out = run(80, command, "--help")
    assert "\u2026" not in out and max(map(len, out.split("\n"))) <= 110


def in_terminal(folder, columns, *arguments):
    """What a command shows on a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-m", "dse", *arguments], cwd=folder, stdout=theirs, stderr=theirs,
                               env=environment)  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert process.wait() == 0
    return seen.decode()


def test_a_terminal_of_80_columns_shows_whole_names_and_the_progress_with_its_bar(folder):
    out = in_terminal(folder, 80, "evaluate", "net.toml", "--design", "run:knee")
    assert "\u2026" not in out and LONG in out
    line = ("explore", "net.toml", "-n", "400", "--out", "seen", "--overwrite", "--jobs", "1")
    out = in_terminal(folder, 80, *line)
    assert "\u2026" not in out and "\u2501" in out and " left" in out and "of 400 designs" in out


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_bar_fits_whatever_the_budget(width):
    screen = Console(width=width, force_terminal=True, color_system=None)
    with screen.capture() as captured, shown(screen) as progress:
        for stage in ("search", "sweep", "remap"):
            progress(Progress(stage, 1234, 456_789, 1_000_000, 12_345, 1.2, 1.1, 3000.0, 456_789))
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", captured.get()).replace("\r", "\n").split("\n")
    told = [line for line in lines if "456,789 of 1,000,000" in line]
    assert told and all("left" in line and "\u2501" in line and len(line) <= width for line in told)
    assert "\u2026" not in captured.get()


def printed(table, width):
    screen = Console(width=width)
    with screen.capture() as captured:
        screen.print(table)
    return [line.rstrip() for line in captured.get().split("\n")]


def test_a_table_leaves_out_what_can_be_missed_and_then_lists():
    table = WholeTable(spare=("notes", "n"))
    table.add_column("name", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("notes")
    table.add_row("a_name_of_30_characters_exactly", "123,456", "some words about it")
    assert printed(table, 70)[1].split() == [
        "a_name_of_30_characters_exactly",
        "123,456",
        "some",
        "words",
        "about",
        "it",
    ]
    narrow = printed(table, 45)
    assert narrow[1].split() == ["a_name_of_30_characters_exactly", "123,456"]
    assert narrow[2] == "(45 columns are too few for: notes)"
    table.spare = ()
    assert printed(table, 45) == ["a_name_of_30_characters_exactly", "  n: 123,456", "  notes: some words about it", ""]


def test_words_wrap_and_numbers_never_do():
    table = WholeTable()
    table.add_column("number", justify="right")
    table.add_column("prose")
    table.add_row("12,345,678,901", Text("one two three four five six seven"))
    lines = printed(table, 40)
    assert "12,345,678,901" in lines[1] and len(lines) > 3 and max(map(len, lines)) <= 40


def test_a_run_at_work_and_an_interrupted_one_are_shown_so_far(run, folder):
    slow = (
        "import time, dse.commands.main, dse.runs.design_log; e = dse.runs.design_log.RunLog.evaluate; "
        "dse.runs.design_log.RunLog.evaluate = lambda *a: (time.sleep(0.1), e(*a))[1]; dse.commands.main.main()"
    )
    line = ["explore", "net.toml", "-n", "400", "--population", "4", "--out", "working", "--jobs", "1"]
    process = subprocess.Popen([sys.executable, "-c", slow, *line], cwd=folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    log, deadline = folder / "working" / "designs.csv", time.monotonic() + 60
    try:
        while not (log.is_file() and log.read_bytes().count(b"\n") > 20) and time.monotonic() < deadline:
            time.sleep(0.02)
        out = run(80, "front", "working")
        assert "designs along the front" in out and "it is at work; " in out and "of 400 designs so far" in out
        assert not list((folder / "working").glob("*.png"))
    finally:
        process.kill()
        process.wait()
    with log.open("ab") as file:
        file.write(b"77,1,nsga2,4")  # a line that was being written
    out = run(80, "front", "working")
    assert "it was interrupted; " in out and "dse resume working" in out
    rows = json.loads(run(80, "front", "working", "--json").partition("\ndse: ")[0])
    designs = dse.search.unfinished.front_so_far(folder / "working").designs
    best = designs[designs["feasible"]]
    assert rows and min(row["latency_s"] for row in rows) == best["latency_s"].min()
    assert min(row["area_mm2"] for row in rows) == best["area_mm2"].min()
    run(80, "resume", "working")
    assert "The front so far" not in run(80, "front", "working")


def test_a_run_without_a_design_says_to_look_again(folder, tmp_path):
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    with pytest.raises(ValueError, match="no design is evaluated yet"):
        dse.search.unfinished.front_so_far(tmp_path)
