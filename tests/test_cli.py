"""The command line: what it prints and leaves, and one clear line for every kind of bad input."""

import errno
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

import dse
import dse.commands.main
import dse.runs.design_log
import dse.runs.run_directory
from dse.output.figure_style import figure_names
from dse.runs.column_dictionary import COLUMNS
from problems import SimultaneousDNNs

TINY = '[space]\nname = "tiny"\n[variables]\nrows = [4, 8]\ncols = [4, 8]\ndram_gbps = [1, 4, 16]\n'


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small network, a space of 12 designs, and broken files, in a directory."""
    path = tmp_path_factory.mktemp("files")
    network(path / "small.onnx", (1, 8, 6, 6))
    network(path / "dynamic.onnx", ("batch", 8, "height", 6))
    network(path / "zero.onnx", (1, 8, 0, 6))
    network(path / "unknown.onnx", (1, 8, 6, 6), operator="ConvNew")
    whole = (path / "small.onnx").read_bytes()
    (path / "truncated.onnx").write_bytes(whole[: len(whole) * 2 // 3])
    (path / "text.onnx").write_text("not a network")
    (path / "tiny.toml").write_text(TINY)
    (path / "large.toml").write_text(TINY.replace("rows = [4, 8]", "rows = [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]") +
                                     "weight_buffer_kib = [4, 8, 16, 32]\nvector_lanes = [1, 2, 4, 8]\n")  # fmt: skip
    (path / "one.toml").write_text("[variables]\nrows = [4]\n")
    (path / "none.toml").write_text("[variables]\nrows = []\n")
    (path / "word.toml").write_text("[variables]\nweight_buffer_kib = [0.001, 4]\n")
    (path / "broken.toml").write_text("[variables\n")
    (path / "chip.toml").write_text('[design]\nrows = 8\ndataflow = "row_stationary"\n')
    (path / "badchip.toml").write_text("[design]\nrow = 8\n")
    (path / "newer.toml").write_text("[design]\nrows = 8\nwings_of_the_array = 3\n")
    (path / "file").write_text("in the way")
    pair = '[streams.a]\nnetwork = "small.onnx"\ndeadline_s = 1e-9\n[streams.b]\nnetwork = "small.onnx"\n'
    (path / "pair.toml").write_text(pair)
    (path / "circle.toml").write_text(pair.replace("deadline_s = 1e-9", 'after = "b"') + 'after = "a"\n')
    network(path / "wide.onnx", (1, 8, 6, 30))
    (path / "sub").mkdir()
    network(path / "sub" / "small.onnx", (1, 8, 9, 9))
    return path


def network(path, shape, operator="Conv"):
    """A 3x3 convolution with 16 output channels."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = numpy_helper.from_array(np.zeros((16, 8, 3, 3), dtype=np.float32), "w")
    node = helper.make_node(operator, ["x", "w"], ["y"], "layer", domain="custom" if operator != "Conv" else "")
    graph = helper.make_graph([node], "small", [x], [y], [weights])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)


@pytest.fixture
def dse_command(files, monkeypatch, capsys):
    """Run the command in this process, in the directory of the files: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.chdir(files)
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.setattr(sys, "argv", ["dse", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            dse.commands.main.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture(scope="module")
def finished(files):
    """A finished run with its random twin, in a process of its own."""
    command = [*DSE, "explore", "small.onnx", "-n", "40", "--space", "large.toml", "--out", "finished", "--jobs", "1"]
    drawn = {name: value for name, value in os.environ.items() if name != "DSE_NO_FIGURES"}
    done = subprocess.run(command, cwd=files, env=drawn, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


DSE = [sys.executable, "-m", "dse.commands.main"]


def test_explore_prints_a_table_and_leaves_its_files(files, finished):
    for text in ("designs along the front", "latency [", "area [mm²]", "lower bound of the latency", "above its bound",
                 "rows [PE]", "dram_gbps", "random search at equal budget", "Stopped because the budget of 40 unique",
                 "unique designs", "front.pdf"):  # fmt: skip
        assert text in finished.stdout, text
    left = {path.name for path in (files / "finished").iterdir()}
    assert left == {"designs.csv", "front.csv", "random_twin.csv", "convergence.csv", "columns.csv", "manifest.json",
                    "space.toml", *(name for stem in ("front", "convergence", "breakdown")
                                    for name in figure_names(stem))}  # fmt: skip
    assert "40 of 40 designs" in finished.stderr and "\x1b" not in finished.stdout + finished.stderr


def test_no_figures_leaves_tables_that_front_draws(dse_command, files, monkeypatch):
    monkeypatch.delenv("DSE_NO_FIGURES")
    explore = ("explore", "small.onnx", "-n", 8, "--jobs", 1, "--no-figures")
    for command in ((*explore, "--out", "bare_run"), ("resume", "bare_run", "--no-figures"),
                    (*explore, "--out", "bare_seeds", "--seeds", 2)):  # fmt: skip
        code, said, err = dse_command(*command)
        assert code == 0 and ".csv" in said + err and ".pdf" not in said + err
    assert not [path for out in ("bare_run", "bare_seeds") for path in (files / out).rglob("*")
                if path.suffix in (".png", ".pdf")]  # fmt: skip
    assert dse_command("front", "bare_run")[0] == 0 and (files / "bare_run" / "front.pdf").is_file()
    assert dse_command(*explore[:-1], "--out", "bare_seeds", "--seeds", 2)[0] == 0
    assert (files / "bare_seeds" / "convergence.pdf").is_file()


def test_figures_of_a_shorter_run_do_not_stay_beside_the_tables_of_a_longer_one(dse_command, files, monkeypatch):
    monkeypatch.delenv("DSE_NO_FIGURES")
    explore = ("explore", "small.onnx", "-n", 40, "--space", "large.toml", "--jobs", 1, "--out", "stopped_early")
    assert dse_command(*explore, "--time-limit", "0.001s")[0] == 0
    assert (files / "stopped_early" / "front.pdf").is_file()
    code, said, err = dse_command("resume", "stopped_early", "--no-figures")
    assert code == 0 and "40 unique" in said and ".pdf" not in said + err
    assert not (files / "stopped_early" / "front.pdf").exists()


def test_the_same_command_again_says_that_it_is_finished(dse_command, finished):
    code, out, _ = dse_command("explore", "small.onnx", "-n", 40, "--space", "large.toml", "--out", "finished")
    assert code == 0 and "holds this run, finished 20" in out and "--overwrite runs it again" in out


def test_resume_and_front_of_a_finished_run(dse_command, files, finished, monkeypatch):
    monkeypatch.delenv("DSE_NO_FIGURES")
    for command in ("resume", "front"):
        (files / "finished" / "front.png").unlink()
        code, out, _ = dse_command(command, "finished")
        assert code == 0 and "designs along the front" in out and (files / "finished" / "front.png").is_file()


def test_three_objectives_and_another_node(dse_command, files):
    code, out, _ = dse_command("explore", "small.onnx", "-n", 30, "--space", "large.toml", "--out", "three",
                               "--objectives", "latency_s,energy_j,area_mm2", "--node", 16, "--algorithm", "nsga3",
                               "--batch", 1, "--no-random-twin", "--mapping-objective", "edp")  # fmt: skip
    assert code == 0 and "energy [" in out and not (files / "three" / "random_twin.csv").exists()
    content = json.loads((files / "three" / "manifest.json").read_text())
    assert content["rebuild"]["technology"]["node_nm"] == 16 and content["rebuild"]["mapping_objective"] == "edp"
    assert dse_command("resume", "three")[0] == 0


def test_a_budget_larger_than_the_space_ends_early_and_says_so(dse_command):
    code, out, _ = dse_command("explore", "small.onnx", "--space", "tiny.toml", "--out", "early")
    assert code == 0 and "every one of the 12 designs of the space was evaluated; the budget was 10000" in out


def test_exhaustive_sweep_and_time_limit(dse_command, files):
    explore = ("explore", "small.onnx", "-n", 20, "--space", "large.toml", "--out", "swept", "--exhaustive")
    code, out, _ = dse_command(*explore)
    assert code == 0 and "exact front of the space" in out and (files / "swept" / "exact_front.csv").is_file()
    code, out, _ = dse_command("explore", "small.onnx", "-n", 400, "--space", "large.toml", "--out", "late",
                               "--population", 10, "--time-limit", "0.01s")  # fmt: skip
    assert code == 0 and "time limit" in out


def test_dynamic_sizes_are_given_and_remembered(dse_command):
    given = ("--dim", "height=6", "--batch", 2)
    assert dse_command("explore", "dynamic.onnx", "--space", "tiny.toml", "--out", "sized", *given)[0] == 0
    assert dse_command("resume", "sized")[0] == 0
    assert dse_command("evaluate", "dynamic.onnx", *given)[0] == 0


def test_sizes_that_the_file_fixes_can_be_kept(dse_command, files):
    """A file whose inputs fix different leading sizes had no batch that could be typed."""
    network(files / "five.onnx", (5, 8, 6, 6))
    code, _, err = dse_command("evaluate", "five.onnx")
    assert code != 0 and "--batch file" in err
    assert dse_command("evaluate", "five.onnx", "--batch", "file")[0] == 0
    assert dse_command("explore", "five.onnx", "--space", "tiny.toml", "--out", "five", "--batch", "file")[0] == 0
    assert dse_command("resume", "five")[0] == 0
    code, _, err = dse_command("evaluate", "five.onnx", "--batch", "0")
    assert code != 0 and "'0' is neither a whole number >= 1 nor the word file" in err


def test_several_networks_and_the_price_of_generality(dse_command, files):
    explore = ("explore", "--networks", "small.onnx,wide.onnx", "--problem", "geomean", "--weights", "2,1", "-n", 30,
               "--space", "large.toml")  # fmt: skip
    code, out, _ = dse_command(*explore)
    assert code == 0 and "small: " in out and "wide: " in out
    for text in ("Price of generality", "Leave one out", "knee", "latency ["):
        assert text in out, text
    path = files / "results" / "geomean_small_wide_weights2-1_tiny"
    assert (path / "price_of_generality.csv").read_text().startswith("shared,area_mm2,network,latency_s,")
    assert "latency_s_wide,s,wide: time of one inference" in (path / "columns.csv").read_text()
    for command in ("resume", "front"):
        again = dse_command(command, str(path.relative_to(files)))
        assert again[0] == 0 and "Price of generality" in again[1]


def test_a_front_is_mapped_again_after_a_run_and_on_a_finished_one(dse_command, files, finished):
    explore = ("explore", "small.onnx", "-n", 40, "--space", "large.toml", "--out", "again", "--jobs", 2)
    code, out, err = dse_command(*explore, "--remap-front")
    assert code == 0 and "designs moved by more than 0.1 %" in out and "complete mapping of the front: " in err
    assert "latency: " in out and "front_complete.csv" in out.split("Wrote again/")[1]
    for name in ("designs.csv", "front.csv", "random_twin.csv", "columns.csv"):
        assert (files / "again" / name).read_bytes() == (files / "finished" / name).read_bytes()
    whole = (files / "again" / "front_complete.csv").read_bytes()
    (files / "again" / "front_complete.csv").unlink()
    for command in ((*explore, "--remap-front"), ("resume", "again", "--remap-front")):
        code, out, _ = dse_command(*command)
        assert code == 0 and "holds this run, finished" in out and "designs moved by more than" in out
        assert (files / "again" / "front_complete.csv").read_bytes() == whole
    assert "It was done before, and took" in out
    code, out, _ = dse_command(*explore)
    assert code == 0 and "moved by more than" not in out


def test_a_search_for_latency_alone(dse_command, files):
    explore = ("explore", "small.onnx", "-n", 30, "--space", "large.toml", "--mapping-slack", "none", "--jobs", 1)
    code, out, _ = dse_command(*explore)
    path = files / "results" / "small_slacknone_tiny"
    assert code == 0 and "Note: mapping_slack is none" in out and "front_energy.csv" in out
    assert "energy_j" not in (path / "front.csv").read_text().split("\n")[0]
    assert "energy_j" in (path / "front_energy.csv").read_text().split("\n")[0]
    assert dse_command("resume", path.relative_to(files))[0] == 0
    assert dse_command("front", path.relative_to(files))[0] == 0


def test_an_interrupted_remap_says_what_was_done_and_keeps_the_run(files, finished):
    explore = ["explore", "small.onnx", "-n", "40", "--space", "large.toml", "--out", "remap_stopped", "--jobs", "2"]
    code = (
        "import os, signal, dse.search.remapping as r; each = r.each_in_threads\n"
        "def stopped(*a):\n    for i, x in enumerate(each(*a)):\n        yield x\n"
        "        if i == 1: os.kill(os.getpid(), signal.SIGINT)\n"
        "r.each_in_threads = stopped; import dse.commands.main; dse.commands.main.main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *explore, "--remap-front"], cwd=files, capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    last = done.stderr.strip().split("\n")[-1]
    assert "interrupted after 2 of" in last and "the files of remap_stopped are as before" in last
    assert "--remap-front maps them again" in last
    assert dse.load(files / "remap_stopped").finished
    assert (files / "remap_stopped" / "front.csv").read_bytes() == (files / "finished" / "front.csv").read_bytes()
    assert not (files / "remap_stopped" / "front_complete.csv").exists()


def test_a_class_of_ones_own_is_mapped_again(dse_command, files):
    (files / "mine_again.py").write_text(
        "from problems import SingleDNN\n\nclass Edp(SingleDNN):\n    'EDP [J s] and area [mm2].'\n"
        "    objective_names = ('own_js', 'area_mm2')\n\n    def objectives(self, m):\n"
        "        return m.energy_j * m.latency_s, m.area_mm2\n"
    )
    code, out, _ = dse_command("explore", "small.onnx", "--problem", "mine_again.py:Edp", "--space", "tiny.toml",
                               "--remap-front")  # fmt: skip
    assert code == 0 and "own: " in out and "moved by more than" in out


def test_evaluate(dse_command, files, finished):
    code, out, _ = dse_command(
        "evaluate", "small.onnx", "--design", "finished:knee", "--csv", "layers.csv", "--mappings"
    )
    assert code == 0
    for text in ("the knee of finished", "lower bound", "Cycles by cause", "ideal: MACs / peak", "Energy by level",
                 "Area by block", "Layers", "Conv", "DRAM to buffers", "wrote layers.csv"):  # fmt: skip
        assert text in out, text
    assert (files / "layers.csv").read_text().startswith("layer,operator,")
    code, out, _ = dse_command("evaluate", "small.onnx", "--design", "finished:3", "--set", "rows=32")
    assert code == 0 and "design 3 of finished, with rows=32" in out
    code, out, _ = dse_command(
        "evaluate", "small.onnx", "--design", "chip.toml", "--set", "overlap_skew=true", "--node", 7
    )
    assert code == 0 and "row_stationary" in out and "7 nm" in out
    alone = dse.evaluate(dse.Accelerator(), dse.load_network(str(files / "small.onnx")), slack=None)
    code, out, _ = dse_command("evaluate", "small.onnx", "--mapping-slack", "none", "--csv", "alone.csv")
    assert code == 0 and pd.read_csv(files / "alone.csv")["cycles"].tolist() == alone.layers["cycles"].tolist()


def test_evaluation_of_a_row_gives_the_numbers_of_its_row(files, finished):
    import dse as library
    from dse.commands.design_by_text import choose
    from dse.runs.tables import read_table

    rows = read_table(files / "finished" / "designs.csv")
    network = library.load_network(str(files / "small.onnx"))
    for index in (0, 17):
        done = library.evaluate(choose(f"{files / 'finished'}:{index}").design, network)
        assert (done.latency_s, done.area_mm2) == (rows["latency_s"][index], rows["area_mm2"][index])


def test_explain_staircase_tune_and_relate(dse_command, files):
    code, out, _ = dse_command("explain", "small.onnx", "--set", "dram_gbps=1", "--out", "why")
    assert code == 0 and "What buys most for the whole network" in out and "dram_gbps" in out and "elasticity" in out
    assert {"roofline.png", "sensitivity.csv", "layers.csv"} <= {path.name for path in (files / "why").iterdir()}
    code, out, _ = dse_command("explain", "small.onnx", "--layer", "layer")
    assert code == 0 and "side by side: rows" in out and "energy" in out
    code, out, _ = dse_command("staircase", "small.onnx", "--layer", "layer", "--size", "C", "--out", "steps")
    assert code == 0 and (files / "steps" / "layer_C.csv").is_file() and (files / "steps" / "layer_C.png").is_file()
    code, out, _ = dse_command("tune", "small.onnx", "--out", "tuned", "--within", "50%")
    assert code == 0 and "Proposals" in out and (files / "tuned" / "tuned.onnx").is_file()
    code, out, _ = dse_command("relate", "small.onnx", "--out", "relation")
    assert code == 0 and "3x3" in out and (files / "relation" / "relation.csv").is_file()
    for path in (files / "why" / "roofline", files / "steps" / "layer_C", files / "relation" / "relation"):
        assert all((path.parent / name).is_file() for name in figure_names(path.name)), path


@pytest.mark.parametrize("command", [
    ("front", "finished"), ("explain", "small.onnx", "--out", "bare"),
    ("staircase", "small.onnx", "--layer", "layer", "--out", "bare"), ("relate", "small.onnx", "--out", "bare"),
    ("schedule", "pair.toml", "--out", "bare"), ("validate", "tpu", "--out", "bare"),
])  # fmt: skip
def test_figures_without_footer(dse_command, files, finished, monkeypatch, command):
    """No command that draws forgets the option."""
    import dse.output.figure_style

    told = []
    draw = dse.output.figure_style.add_footer

    def noted(figure, text, wanted=True):
        told.append(wanted)
        return draw(figure, text, wanted)

    for module in ("run_figures", "explanation_figures", "schedule_figures"):
        monkeypatch.setattr(f"dse.output.{module}.add_footer", noted)
    monkeypatch.setattr("dse.validation.plots.add_footer", noted)
    monkeypatch.chdir(files)
    dse.commands.main.app(list(command), standalone_mode=False)
    assert told and all(told)
    told.clear()
    dse.commands.main.app([*command, "--no-footer"], standalone_mode=False)
    assert told and not any(told)


def test_networks_and_space(dse_command, files):
    code, out, _ = dse_command("networks")
    assert code == 0 and "resnet50" in out and "4.09" in out
    code, out, _ = dse_command("space", "tiny.toml")
    assert code == 0 and "12 designs" in out and "GB/s" in out and "Fixed in this space" in out
    (files / "again.toml").write_text(dse_command("space", "--toml")[1])
    assert dse_command("space", "again.toml")[1] == dse_command("space")[1]


def test_technology_is_shown_and_written(dse_command, files):
    code, out, _ = dse_command("technology", "28")
    assert code == 0 and "Technology 28 nm" in out and "Types of DRAM" in out and "LPDDR5" in out and "Horowitz" in out
    code, out, _ = dse_command("technology", "16", "--save", "mine.toml")
    assert code == 0 and out == "wrote mine.toml\n"
    assert dse.Technology.from_toml(files / "mine.toml") == dse.Technology.at(16)
    (files / "cheap.toml").write_text("[technology]\nbase_nm = 16\ndram_pj_per_bit = 1\n")
    code, out, _ = dse_command("evaluate", "small.onnx", "--node", "cheap.toml")
    assert code == 0 and "16 nm, changed by cheap.toml" in out and "takes 1 pJ/bit" in out


NODE_OF = {
    "evaluate": ("small.onnx",), "explain": ("small.onnx",), "staircase": ("small.onnx", "--layer", "layer"),
    "tune": ("small.onnx", "--within", "50%", "--out", "tuned"), "relate": ("small.onnx",),
    "schedule": ("pair.toml",),
}  # fmt: skip


@pytest.mark.parametrize("command", NODE_OF)
def test_every_command_of_a_design_takes_a_node_and_begins_with_that_of_a_preset(dse_command, command):
    line = (command, *NODE_OF[command], "--design", "tpu_v1")
    assert "28 nm, the chip's own node" in dse_command(*line)[1]
    assert "design: preset tpu_v1; 16 nm; the chip's own node is 28 nm" in dse_command(*line, "--node", "16")[1]
    assert "the default design; 45 nm" in dse_command(command, *NODE_OF[command])[1]


def test_areas_with_and_without_interface_and_what_is_assumed_are_printed(dse_command, files, finished):
    plain = "Assumed: the DRAM, of no named type, takes 8 pJ/bit; its PHY takes 0.3 mm2 per GB/s, the price at 45 nm"
    for line in (("evaluate", "small.onnx"), ("explain", "small.onnx"), ("schedule", "pair.toml")):
        out = dse_command(*line)[1]
        assert plain in " ".join(out.split()) and "without" in out
        typed = dse_command(*line, "--set", "dram_type=DDR4", "--set", "dram_channels=0.5")[1]
        said = "Assumed: DDR4: its PHY takes 0.3 mm2 per GB/s, the price at 45 nm, for want of figures."
        assert said in " ".join(typed.split())
    assert plain in finished.stdout and "area without DRAM interface" in finished.stdout
    assert "core_area_mm2" in (files / "finished" / "front.csv").read_text().splitlines()[0]
    assert "*" in dse_command("explain", "small.onnx", "--set", "dram_gbps=1")[1]


def test_version_and_help(dse_command):
    assert dse_command("--version")[1] == f"dse {dse.__version__}\n"
    assert "Examples:" in dse_command("explore", "--help")[1]


def every_command():
    from typer.main import get_command

    return sorted(get_command(dse.commands.main.app).commands)


@pytest.mark.parametrize("command", every_command())
def test_help_has_examples_and_names_arguments_as_they_are_typed(dse_command, command):
    code, out, _ = dse_command(command, "--help")
    usage, rest = out.split("\n", 1)
    assert code == 0 and re.search(rf"Examples?:\n +dse {command}", rest)
    assert re.fullmatch(rf"Usage: dse {command} \[OPTIONS\]( [A-Z]+(\.\.\.)?| \[[A-Z]+(\.\.\.)?\])?", usage), usage
    assert "<str>" not in out and "{" not in out and "-q, --quiet" in out and "-v, --verbose" in out


def test_quiet_is_the_result_alone_and_verbose_tells_time_and_tracebacks(files, dse_command):
    shown = {flag: dse_command("evaluate", "small.onnx", *flag.split()) for flag in ("", "-q", "-v")}
    assert "design: the default design" in shown[""][1] and "design: the default design" in shown["-v"][1]
    assert "design: " not in shown["-q"][1] and shown["-q"][1] in shown[""][1] and shown["-q"][2] == ""
    assert re.fullmatch(r"dse: evaluate took \d+\.\d\d s and \d+ MB\n", shown["-v"][2])
    done = subprocess.run([*DSE, "space", "nowhere", "-v"], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr and "unknown space 'nowhere'" in done.stderr
    explore = ("explore", "small.onnx", "--space", "tiny.toml", "--out", "quiet", "-q")
    code, out, err = dse_command(*explore)
    assert code == 0 and err == "" and "Wrote" not in out and "Took" not in out and "designs along the front" in out


def test_units_are_the_same_in_every_command(dse_command, finished):
    """`dse evaluate` had PE, byte/cycle and 1/cycle; `dse space` PEs, bytes/cycle and operations/cycle."""
    units = {name: told.unit for name, told in COLUMNS.items()}
    for line in dse_command("space", "--json")[1], dse_command("space")[1]:
        assert "PEs" not in line and "bytes/cycle" not in line and "operations/cycle" not in line
    for row in dse.default_space().describe():
        assert row["unit"] in (units[row["name"]], "")
    assert "rows [PE]" in finished.stdout and units["rows"] == "PE"


@pytest.mark.parametrize("command", [("networks", "--json"), ("presets", "--json"), ("technology",)])
def test_a_pipe_that_is_closed_early_is_no_traceback(files, command):
    line = f"{sys.executable} -m dse {' '.join(command)} | head -c 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=files)
    assert done.returncode == 0 and done.stderr == ""


def test_an_evaluation_does_not_import_what_searches_and_draws(files):
    code = (
        "import sys; sys.argv = ['dse', 'evaluate', 'small.onnx', '--design', 'tpu_v1']\n"
        "import dse.commands.main\ntry:\n    dse.commands.main.main()\nexcept SystemExit as end:\n"
        "    heavy = {'pandas', 'pymoo', 'moocore', 'matplotlib', 'joblib', 'scipy.optimize', 'dse.search'}\n"
        "    print(end.code, heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=files)
    assert done.stdout.rstrip().endswith("0 set()"), done.stdout[-200:] + done.stderr


def test_help_does_not_import_the_heavy_packages():
    code = "import sys, dse.commands.main; print({'numba', 'pymoo', 'pandas', 'matplotlib', 'onnx'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


SMALL = ("explore", "small.onnx", "--space", "tiny.toml")
PAIR = ("explore", "--problem", "simultaneous", "--space", "tiny.toml", "--networks", "small.onnx,wide.onnx")
MEAN = ("explore", "--problem", "geomean", "--space", "tiny.toml", "--networks")
BAD = {
    "slack that is no share": ((*SMALL, "--mapping-slack", "some"), "expected a share such as 0.01, or none"),
    "infinite slack": (("evaluate", "small.onnx", "--mapping-slack", "inf"), "slack must be finite and at least 0"),
    "energy without its search": ((*SMALL, "--mapping-slack", "none", "--objectives", "latency_s,energy_j"),
                                  "'energy_j' needs energy or traffic"),
    "front of frozen mappings": ((*MEAN, "small.onnx,wide.onnx", "--mapping", "fixed", "--remap-front", "--out", "fr"),
                                 "explore with --mapping best; or leave out --remap-front"),
    "not an ONNX file": (("explore", "text.onnx"), "text.onnx is not an ONNX file"),
    "truncated ONNX": (("explore", "truncated.onnx"), "truncated.onnx"),
    "no such file": (("evaluate", "absent.onnx"), "absent.onnx does not exist"),
    "unknown network": (("evaluate", "resnet51"), "'resnet50'"),
    "dynamic shapes": (("evaluate", "dynamic.onnx"), "--dim height="),
    "unknown MAC operator": (("evaluate", "unknown.onnx"), "ConvNew"),
    "zero size": (("evaluate", "zero.onnx"), "zero.onnx"),
    "zero rows": (("evaluate", "small.onnx", "--set", "rows=0"), "rows must be a whole number >= 1, got 0"),
    "negative bandwidth": (("evaluate", "small.onnx", "--set", "dram_gbps=-1"), "dram_gbps must be a positive number"),
    "buffer below a word": (("space", "word.toml"), "less than one word"),
    "buffer below a word, set": (("evaluate", "small.onnx", "--set", "input_buffer_kib=0.01"), "less than one word"),
    "space of one level": (("space", "one.toml"), "'rows' has one level"),
    "space of no level": (("explore", "small.onnx", "--space", "none.toml"), "'rows' has no level"),
    "not TOML": (("space", "broken.toml"), "broken.toml: not a TOML file"),
    "unknown space": (("space", "nowhere"), "unknown space 'nowhere'"),
    "unknown objective": ((*SMALL, "--objectives", "speed"), "unknown objective 'speed'"),
    "unknown algorithm": ((*SMALL, "--algorithm", "x", "--out", "x"), "unknown algorithm 'x'"),
    "unknown node": ((*SMALL, "--node", "44"), "the nodes are 65, 45, 28, 22, 16, 7"),
    "unknown mapping objective": ((*SMALL, "--mapping-objective", "x"), "mapping objective 'x'"),
    "unknown layer": (("staircase", "small.onnx", "--layer", "layr"), "no MAC layer 'layr'; did you mean 'layer'?"),
    "unknown layer to explain": (("explain", "small.onnx", "--layer", "Layer"), "did you mean 'layer'?"),
    "unknown size": (("staircase", "small.onnx", "--layer", "layer", "--size", "L"), "size 'L' is unknown; choose"),
    "budget above all": (("tune", "small.onnx", "--macs", "2,1"), "macs needs 0 <= least <= most, got (2.0, 1.0)"),
    "unknown problem": (("explore", "small.onnx", "--problem", "x"), "unknown problem 'x': give single, geo"),
    "networks of a single problem": (("explore", "--networks", "small.onnx"), "--networks needs --problem geomean"),
    "mix of a mean": (("explore", "--mix", "vr_gaming", "--problem", "geomean"), "--mix needs --problem simultaneous"),
    "sub-arrays of a single problem": ((*SMALL, "--sub-arrays", "2"), "--sub-arrays needs --problem simultaneous"),
    "a mix of one": (("explore", "--networks", "small.onnx", "--problem", "simultaneous"), "is a single request"),
    "more sub-arrays than columns": ((*PAIR, "--sub-arrays", "9"), "9 sub-arrays, but the space has at most 8 columns"),
    "unknown mix": (("schedule", "vr_game"), "unknown mix 'vr_game': one of ar_assistant"),
    "place that is no sub-array": (("schedule", "pair.toml", "--place", "inf,1"), "or whole numbers"),
    "place for one stream": (("schedule", "pair.toml", "--place", "1"), "for each stream of the mix: a, b"),
    "sizes of a file for a mix": (("explore", "--mix", "pair.toml", *PAIR[1:3], "--batch", "file"), "a mix says them"),
    "batch of a mix": (("explore", "--mix", "pair.toml", *PAIR[1:3], "--batch", "4"), "a mix says them for each"),
    "one network twice": (("relate", "small.onnx", "small.onnx"), "two networks are called 'small'; rename one"),
    "mix in a circle": (("schedule", "circle.toml"), "streams wait in a circle (a after b after a)"),
    "no such sub-array": (("schedule", "pair.toml", "--place", "1,2"), "give a sub-array from 1 to 1 for each stream"),
    "too many sub-arrays": (("schedule", "pair.toml", "--division", "1," * 16 + "1"), "17 sub-arrays on 16 columns"),
    "weights of a single problem": ((*SMALL, "--weights", "1"), "--weights needs --problem geomean"),
    "two networks of one name": ((*MEAN, "small.onnx,sub/small.onnx"), "two networks are called 'small'"),
    "no networks": ((*MEAN, ","), "the list of networks is empty"),
    "unknown network of several": ((*MEAN, "small.onnx,resnet51"), "unknown network 'resnet51': did you mean"),
    "mapping of a single problem": ((*SMALL, "--mapping", "fixed"), "--mapping needs --problem geomean"),
    "unknown mapping": ((*MEAN, "small.onnx", "--mapping", "x"), "mapping 'x': give best (of every layer) or fixed"),
    "weight of zero": ((*MEAN, "small.onnx,wide.onnx", "--weights", "1,0"), "the weight of wide is 0.0"),
    "weight of NaN": ((*MEAN, "small.onnx,wide.onnx", "--weights", "1,nan"), "the weight of wide is nan"),
    "too few weights": ((*MEAN, "small.onnx,wide.onnx", "--weights", "1"), "got 1 for 2 networks (small, wide)"),
    "weights that are none": ((*MEAN, "small.onnx,wide.onnx", "--weights", "a,b"), "--weights 'a,b': expected numbers"),
    "bad time": ((*SMALL, "--time-limit", "5x"), "time '5x'"),
    "bad size": ((*SMALL, "--dim", "seq"), "expected NAME=SIZE"),
    "a file in the way": ((*SMALL, "--out", "file"), "file"),
    "foreign files": ((*SMALL, "--out", "."), "holds files but no run"),
    "another run there": ((*SMALL, "-n", "8", "--out", "finished"), "--overwrite"),
    "no run there": (("resume", "nowhere"), "it is not the directory of a run"),
    "no front there": (("front", "nowhere"), "it is not the directory of a run"),
    "no such row": (("evaluate", "small.onnx", "--design", "finished:40"), "from 0 to 39"),
    "no such design": (("evaluate", "small.onnx", "--design", "x"), "x:knee"),
    "unknown parameter": (("evaluate", "small.onnx", "--set", "row=1"), "did you mean 'rows'"),
    "unknown parameter in a file": (("evaluate", "small.onnx", "--design", "badchip.toml"), "did you mean 'rows'"),
    "unknown DRAM": (("evaluate", "small.onnx", "--set", "dram_type=DDR44"), "did you mean 'DDR4'?"),
    "DRAM without energy": (("explain", "small.onnx", "--set", "dram_type=HBM2E"), "'HBM2E' lacks pj_per_bit"),
    "DRAM and bandwidth": (("evaluate", "small.onnx", "--set", "dram_type=DDR4", "--set", "dram_gbps=1"),
                           "leave out dram_gbps, and set dram_channels"),
    "channels of no DRAM": (("evaluate", "small.onnx", "--set", "dram_channels=4"), "does nothing without a dram_type"),
    "node between": (("evaluate", "small.onnx", "--node", "14"), "no technology at 14 nm; the nodes are 65, 45,"),
    "neither node nor file": (("evaluate", "small.onnx", "--node", "16um"), "'16um': give a node, such as 16, or a"),
    "node with its unit": (("evaluate", "small.onnx", "--node", "45nm"), "'45nm': give the number of nm alone, 45"),
    "parameter set twice": (("evaluate", "small.onnx", "--set", "rows=4", "--set", "rows=8"),
                            "--set rows is given twice, 4 and 8: give it once"),
    "size given twice": (("evaluate", "dynamic.onnx", "--dim", "height=4", "--dim", "height=6"),
                         "--dim height is given twice, 4 and 6"),
    "design of another version": (("evaluate", "small.onnx", "--design", "newer.toml"),
                                  f"(this is dse {dse.__version__}; a file of another version may have it)"),
    "quiet and verbose": (("networks", "-q", "-v"), "give --quiet or --verbose, not both"),
    "technology that is not there": (("technology", "absent.toml"), "absent.toml: cannot be read"),
    "technology written nowhere": (("technology", "16", "--save", "nowhere/x.toml"), "nowhere/x.toml: No such file"),
    "not a number": (("evaluate", "small.onnx", "--set", "rows=many"), "rows must be a number"),
    "no value": (("evaluate", "small.onnx", "--set", "rows"), "expected parameter=value"),
    "cannot write the table": (("evaluate", "small.onnx", "--csv", "file/x.csv"), "file/x.csv"),
    "warm start of nothing": ((*SMALL, "--warm-start", "nowhere", "--out", "warm"), "it is not the directory of a run"),
}  # fmt: skip


def test_simultaneous_networks_are_explored_and_shown(dse_command, files):
    code, out, _ = dse_command(*PAIR, "-n", 200, "--out", "pair")
    assert code == 0
    assert "place of small" in out and "lower bound of the makespan at these places" in out
    assert "at the best" in out and "orders, places and bounds took" in out
    front = (files / "pair" / "front.csv").read_text().splitlines()
    assert "makespan_s" in front[0] and "policy" in front[0] and len(front) > 1


def test_schedule_tells_what_cannot_be_met_and_leaves_files(dse_command, files):
    code, out, _ = dse_command("schedule", "pair.toml", "--division", "1,1", "--place", "2,1", "--out", "scheduled")
    assert code == 0
    assert "a: due 1 ns after arrival, but no order of these layers finishes it before" in out
    assert "1 of 1" in out
    assert {path.name for path in (files / "scheduled").iterdir()} == {
        "schedule.csv", *figure_names("schedule"), *figure_names("slow_downs"),
    }  # fmt: skip
    assert (files / "scheduled" / "schedule.csv").read_text().startswith("job,network,layer,sub_array,start_s,finish_s")


def test_schedule_tells_the_steady_state_and_zooms(dse_command, files):
    (files / "rates.toml").write_text(
        '[streams.a]\nnetwork = "small.onnx"\nfps = 100\n[streams.b]\nnetwork = "wide.onnx"\nfps = 50\n'
        'arrivals = "poisson"\n'
    )
    code, out, _ = dse_command("schedule", "rates.toml", "--division", "1,1", "--from", "0.01", "--to", "0.05",
                               "--out", "zoomed")  # fmt: skip
    assert code == 0 and "95 %" in out and "random arrivals or a trace" in out and "searched 4 places" in out
    table = pd.read_csv(files / "zoomed" / "schedule.csv")
    assert table["start_s"].max() < 0.06 and set(table["network"]) == {"a", "b"}
    (files / "much.toml").write_text('[streams.a]\nnetwork = "small.onnx"\nfps = 1e9\n')
    code, out, _ = dse_command("schedule", "much.toml", "--out", "unstable")
    assert code == 0 and "unstable (proved): sub-array 1 falls" in out and "95 %" not in out
    assert "saturated throughput" in out and "slow" not in out
    assert not (files / "unstable" / "slow_downs.png").exists()
    for window in (("--from", "2", "--to", "1"), ("--to", "nan"), ("--to", "inf"), ("--to", "-1")):
        code, out, err = dse_command("schedule", "rates.toml", *window, "--out", "no")
        assert code == 1 and not out and "give two times in seconds, the first one smaller" in err
    code, _, err = dse_command("schedule", "rates.toml", "--to", "1")
    assert code == 1 and "give --out, a directory to write it to" in err


def test_schedule_searches_places_where_it_is_asked_or_the_batch_is_small(dse_command, files):
    both = ("schedule", "small.onnx,wide.onnx", "--division", "1,1")
    assert "searched" in dse_command(*both)[1] and "searched" in dse_command(*both, "--place", "best")[1]
    assert "searched" not in dse_command(*both, "--place", "turn")[1]
    assert "of any places and order" in dse_command(*both, "--place", "2,1")[1]
    assert "expected best, turn, or whole numbers" in dse_command(*both, "--place", "worst")[2]


def test_schedule_takes_the_division_that_a_run_found(dse_command, files):
    assert dse_command(*PAIR, "-n", 40, "--out", "found")[0] == 0
    table = pd.read_csv(files / "found" / "designs.csv")
    for policy in ("time_shared", "partition", "shared_bandwidth"):
        index = int(table.index[table["policy"] == policy][0])
        code, _, _ = dse_command("schedule", "small.onnx,wide.onnx", "--design", f"found:{index}", "--out", policy)
        assert code == 0
        assert pd.read_csv(files / policy / "schedule.csv")["finish_s"].max() == table["makespan_s"][index]


@pytest.mark.parametrize(
    ("key", "value"),
    [("rebuild", {}), ("rebuild", []), ("identity", {"problem": {}}), ("normalisation", []), ("notes", 1)],
)
def test_a_manifest_that_was_edited_is_named(dse_command, files, key, value):
    """Most edits gave a traceback."""
    path = files / "edited"
    assert dse_command(*SMALL, "-n", 12, "--out", path, "--overwrite")[0] == 0
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {key: value}))
    for command in (("resume", path), ("front", path), ("evaluate", "small.onnx", "--design", f"{path}:knee")):
        code, _, err = dse_command(*command)
        assert code in (0, 1) and "Traceback" not in err and (code == 0 or str(path) in err)
    assert 1 in [dse_command("resume", path)[0], dse_command("front", path)[0]]


def test_a_warm_start_is_resumed_from_anywhere(dse_command, files, monkeypatch):
    """The manifest held the path as it was typed."""
    assert dse_command(*SMALL, "-n", 8, "--out", "first")[0] == 0
    assert dse_command(*SMALL, "-n", 8, "--warm-start", "first", "--out", "warmed")[0] == 0
    manifest = files / "warmed" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"status": "running"}))
    (files / "elsewhere").mkdir()
    monkeypatch.chdir(files / "elsewhere")
    assert dse_command("resume", files / "warmed")[0] == 0


def test_schedule_orders_and_maps_as_the_run_did(dse_command, files):
    """Order, mapping objective and slack of the run were not taken."""
    problem = SimultaneousDNNs(
        [files / "small.onnx", files / "wide.onnx"], space=dse.DesignSpace.from_toml(files / "tiny.toml"),
        order="round_robin", mapping_objective="energy", policies=("time_shared", "partition"),
    )  # fmt: skip
    table = dse.explore(problem, evaluations=30, out=files / "energy", random_twin=False).designs
    for index in (0, int(table.index[table["policy"] == "partition"][0])):
        assert dse_command("schedule", "small.onnx,wide.onnx", "--design", f"energy:{index}", "--out", "again")[0] == 0
        made = pd.read_csv(files / "again" / "schedule.csv")
        assert made["finish_s"].max() == table["makespan_s"][index]
    divided = ("schedule", "small.onnx,wide.onnx", "--design", f"energy:{index}")
    assert dse_command(*divided, "--bandwidth", "shared", "--order", "first")[0] == 0
    assert "bandwidth must be" in dse_command(*divided, "--bandwidth", "1,1,1,1")[2]


def test_schedule_refuses_a_mix_whose_streams_the_run_did_not_place(dse_command, files):
    """They all went to the first sub-array, silently."""
    (files / "two.toml").write_text('[streams.a]\nnetwork = "small.onnx"\n[streams.b]\nnetwork = "wide.onnx"\n')
    assert dse_command(*PAIR, "-n", 40, "--out", "placed")[0] == 0
    policies = pd.read_csv(files / "placed" / "designs.csv")["policy"]
    divided = f"placed:{policies.index[policies == 'partition'][0]}"
    code, _, err = dse_command("schedule", "two.toml", "--design", divided)
    assert code == 1 and "no place is given for the stream 'a', only for small, wide" in err
    assert dse_command("schedule", "two.toml", "--design", divided, "--place", "2,1")[0] == 0


def test_a_simultaneous_run_is_resumed_from_its_directory(dse_command, files):
    """`dse resume` refused what an interrupted run tells to type."""
    path = files / "resumed"
    assert dse_command(*PAIR, "-n", 60, "--sub-arrays", 2, "--out", path)[0] == 0
    whole = {name: (path / name).read_bytes() for name in ("designs.csv", "front.csv", "columns.csv")}
    (path / "designs.csv").write_bytes(whole["designs.csv"][:6000])
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    assert dse_command("resume", path)[0] == 0
    assert {name: (path / name).read_bytes() for name in whole} == whole


def test_mixes_are_listed_with_their_sources(dse_command):
    code, out, _ = dse_command("mixes")
    assert code == 0 and "vr_gaming" in out and "XRBench" in out and "MoCA" in out


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, dse_command, finished):
    arguments, message = BAD[name]
    code, _, err = dse_command(*arguments)
    assert code == 1 and message in err and err.startswith("dse: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["frob"],
        ["explore"],
        ["explore", "x", "-n", "0"],
        ["explore", "x", "--frob"],
        ["explore", "x", "--networks", "y"],
        ["evaluate", "x", "--design", "a", "--design", "b"],
        ["explore", "x", "-n", "5", "--evaluations", "6"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments, dse_command):
    code, _, err = dse_command(*arguments)
    assert code == 2 and err.count("\n") == 1 and "--help" in err


def test_full_disk_and_read_only_directory(dse_command, files, monkeypatch):
    def fails(number):
        def write(*arguments, **options):
            raise OSError(number, os.strerror(number))

        return write

    monkeypatch.setattr(dse.runs.design_log.os, "write", fails(errno.ENOSPC))
    code, _, err = dse_command(*SMALL, "--out", "full")
    assert code == 1 and "No space left on device" in err and "full" in err and err.count("\n") == 1
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", fails(errno.EROFS))
    code, _, err = dse_command(*SMALL, "--out", "readonly")
    assert code == 1 and "Read-only file system" in err and "readonly" in err and err.count("\n") == 1


def test_torn_log_is_continued(dse_command, files, finished):
    explore = ("explore", "small.onnx", "-n", 40, "--space", "large.toml", "--out", "torn", "--jobs", 1)
    assert dse_command(*explore)[0] == 0
    path = files / "torn"
    whole = (path / "designs.csv").read_bytes()
    (path / "designs.csv").write_bytes(whole[: len(whole) // 2])
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"status": "running"}))
    code, out, _ = dse_command("resume", "torn")
    assert code == 0 and "dropped a torn last line" in out
    assert (path / "designs.csv").read_bytes() == whole == (files / "finished" / "designs.csv").read_bytes()


def test_interrupt_says_how_to_continue(files, finished):
    explore = ["explore", "small.onnx", "-n", "100", "--population", "4", "--space", "large.toml", "--out", "stopped"]
    slow = (
        "import time, dse.commands.main, dse.runs.design_log; e = dse.runs.design_log.RunLog.evaluate; "
        "dse.runs.design_log.RunLog.evaluate = lambda *a: (time.sleep(0.1), e(*a))[1]; dse.commands.main.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, *explore], cwd=files, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    log, deadline = files / "stopped" / "designs.csv", time.monotonic() + 60
    while not (log.is_file() and log.read_bytes().count(b"\n") > 9) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    assert err.strip().split("\n")[-1].endswith("Continue with: dse resume stopped")
    done = subprocess.run([*DSE, "resume", "stopped"], cwd=files, capture_output=True, text=True)
    assert done.returncode == 0 and "the budget of 100" in done.stdout


@pytest.mark.parametrize("mapping", ["best", "fixed"])
def test_a_geometric_mean_of_one_network_ended_in_a_traceback(dse_command, files, mapping):
    out = f"mean_of_one_{mapping}"
    explore = ("explore", "--networks", "small.onnx", "--problem", "geomean", "-n", 20, "--no-random-twin", "--jobs", 1,
               "--out", out, "--mapping", mapping)  # fmt: skip
    code, shown, _ = dse_command(*explore)
    assert code == 0 and "Leave one out" not in shown and "Stopped because the budget of 20" in shown
    if (prices := dse.price_of_generality(dse.load(files / out))).size:
        assert prices["left_out_loss"].isna().all() and "Price of generality" in shown
    assert dse_command("front", out)[0] == 0


@pytest.mark.parametrize("networks", ["small.onnx", "small.onnx,wide.onnx"])
def test_a_geometric_mean_without_a_feasible_design_ended_in_a_traceback(dse_command, files, networks):
    out = f"never_{len(networks)}"
    never = "[base]\nactivation_bits = 64\ninput_register_bytes = 1\n[variables]\nrows = [4, 8]\ncols = [4, 8, 16]\n"
    (files / "never.toml").write_text(never)
    code, shown, err = dse_command("explore", "--networks", networks, "--problem", "geomean", "--space", "never.toml",
                                   "--mapping", "fixed", "-n", 12, "--jobs", 1, "--out", out)  # fmt: skip
    assert code == 0, err
    assert "no feasible design was found" in shown and dse_command("front", out)[0] == 0
    assert len(dse.price_of_generality(dse.load(files / out))) == 0


FOUR = "latency_s,energy_j,area_mm2,dram_bytes"
"""Many figures: a run of them takes long."""


@pytest.mark.parametrize(
    ("budget", "objectives"), [*itertools.product((1, 2, 3, 8), ("macs", "macs,overflow")), (2, FOUR)]
)
def test_degenerate_runs_are_shown(dse_command, budget, objectives):
    out = f"degenerate_{budget}_{len(objectives)}"
    explore = ("explore", "small.onnx", "-n", budget, "--jobs", 1, "--out", out, "--objectives", objectives)
    front = ("front", out)  # draws it
    for command in (explore, front, (*explore, "--no-random-twin", "--overwrite"), front, ("resume", out)):
        code, _, err = dse_command(*command)
        assert code == 0, err


def test_dse_alone_is_its_help(dse_command):
    code, out, _ = dse_command()
    assert code == 0 and "Commands:" in out and "..." not in out.split("Commands:")[1]
    assert dse_command("evaluate", "-h")[1] == dse_command("evaluate", "--help")[1]


def test_compare_is_a_row_a_network_and_design(dse_command, files):
    line = ("compare", "small.onnx", "wide.onnx", "--design", "eyeriss_v1", "--design", "tpu_v1")
    code, out, _ = dse_command(*line, "--deadline", "10us", "--limit", "power_w=1")
    assert code == 0 and "preset tpu_v1; 28 nm, the chip's own node" in out and "wide on tpu_v1: bound by" in out
    table = pd.DataFrame(json.loads(dse_command(*line, "--deadline", "10us", "--limit", "power_w=1", "--json")[1]))
    assert table[["network", "design"]].to_numpy().tolist() == [
        ["small", "eyeriss_v1"], ["small", "tpu_v1"], ["wide", "eyeriss_v1"], ["wide", "tpu_v1"],
    ]  # fmt: skip
    assert (table["meets_deadline"] == (table["latency_s"] <= 10e-6)).all() and table["meets_deadline"].nunique() == 2
    assert table["within_limits"].tolist() == [True, False, True, False]
    one = dse.evaluate(dse.preset("tpu_v1"), dse.load_network(files / "wide.onnx"),
                       technology=dse.preset_technology("tpu_v1"))  # fmt: skip
    row = table.iloc[3]
    assert row["latency_s"] == one.latency_s and row["tops"] == pytest.approx(2e-12 * one.network.macs / one.latency_s)
    assert row["tops_per_w"] == pytest.approx(2e-12 * one.network.macs / one.energy_j)
    plain = dse_command(*line, "--no-advice", "--csv", "-")[1].splitlines()
    assert len(plain) == 5 and plain[0].startswith("network,design,fits,latency_s") and "first_advice" not in plain[0]


def test_a_design_that_the_network_does_not_fit_ends_with_code_1_and_names_layer_and_store(dse_command):
    """It ended with 0, and the sentence told a sum over all layers alone."""
    line = ("evaluate", "small.onnx", "--set", "output_register_bytes=1")
    code, out, err = dse_command(*line)
    assert code == 1 and err == "" and "This design cannot run small" in out
    assert re.search(r"layer: output registers of a PE, \d+ bytes over \(needs \d+ of 1\)", " ".join(out.split()))
    code, out, _ = dse_command(*line, "--json")
    assert code == 1 and json.loads(out)["feasible"] is False and "layer" in json.loads(out)["misfits"]


def test_compare_names_the_store_of_a_network_that_does_not_fit(dse_command, files):
    (files / "tight.toml").write_text("[design]\noutput_register_bytes = 1\n")
    code, out, _ = dse_command("compare", "small.onnx", "--design", "tight.toml")
    assert code == 0 and "does not fit: layer" in out and "bytes over" in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("--deadline", "10 apples"), "--deadline: '10 apples' is no number of s"),
        (("--limit", "power=2"), "limit on 'power' is unknown; did you mean 'power_w'"),
        (("--limit", "power_w"), "expected METRIC=VALUE"),
        (("--limit", "power_w=2s"), "--limit power_w: '2s' is no number of W"),
        (("--limit", "power_w=2", "--limit", "power_w=3"), "--limit power_w is given twice, 2 and 3"),
    ],
)
def test_compare_refuses_in_one_line(dse_command, line, message):
    code, out, error = dse_command("compare", "small.onnx", "--design", "tpu_v1", *line)
    assert code and not out and message in error and error.count("\n") == 1


SHOWN = {
    "evaluate": ("small.onnx",), "explain": ("small.onnx",), "networks": (), "presets": (), "space": (),
    "front": ("finished",), "schedule": ("pair.toml",),
}  # fmt: skip


@pytest.mark.parametrize("command", SHOWN)
def test_json_is_one_value_and_nothing_else(dse_command, files, finished, command):
    found = json.loads(dse_command(command, *SHOWN[command], "--json")[1])
    assert len(found) > 0 and "NaN" not in json.dumps(found)


@pytest.mark.parametrize("where", ["-", "/dev/stdout"])
def test_csv_of_layers_can_be_piped(dse_command, files, where):
    code, out, _ = dse_command("evaluate", "small.onnx", "--csv", where)
    assert code == 0 and out.startswith("layer,operator") and not (files / "-").exists()


def test_presets_are_listed_and_shown_with_sources(dse_command):
    out = dse_command("presets")[1]
    assert all(name in out for name in dse.PRESETS) and "..." not in out
    one = dse_command("presets", "tpu_v1")[1]
    assert "TPU v1, 28 nm" in one and all(
        source.split(",")[0] in one for source in dse.preset_sources("tpu_v1").values()
    )


@pytest.mark.parametrize(
    ("line", "other"),
    [
        (("evaluate", "small.onnx", "--csv", "beside.csv"), "csv"),
        (("compare", "small.onnx", "--design", "tpu_v1", "--csv", "-"), "csv"),
        (("explain", "small.onnx", "--out", "beside"), "out"),
        (("schedule", "pair.toml", "--out", "beside"), "out"),
        (("space", "--toml"), "toml"),
        (("evaluate", "small.onnx", "--mappings"), "mappings"),
    ],
)
def test_json_beside_another_output_is_refused(dse_command, files, line, other):
    code, out, error = dse_command(*line, "--json")
    assert code and not out and f"leave out --{other}, or --json" in error and not (files / "beside.csv").exists()


def test_networks_of_one_name_are_not_compared_as_one(dse_command):
    code, _, error = dse_command("compare", "small.onnx", "sub/small.onnx", "--design", "tpu_v1")
    assert code and "two networks are called 'small'" in error
    table = json.loads(dse_command("compare", "small.onnx", "small.onnx", "--design", "tpu_v1", "--json")[1])
    assert len(table) == 1


def test_a_closed_output_is_no_traceback(files):
    line = f"{sys.executable} -m dse presets >&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=files)
    assert done.returncode == 0 and done.stderr == ""


CHAIN = """
[[layer]]
name = "a"
K = 64
OX = 64
output = "t"

[[layer]]
name = "b"
C = 64
OX = 64
inputs = ["t"]
"""


@pytest.mark.parametrize(
    ("sizes", "message"),
    [("t = 0", "t = 0 must be from 4096"), ("t = 9000000000000000000", "to 2^52"), ("q = 5", "tensor 'q' is unknown")],
)
def test_sizes_of_tensors_that_no_layer_leaves_are_refused(dse_command, files, sizes, message):
    (files / "chain.toml").write_text(f"{CHAIN}\n[network.tensor_elements]\n{sizes}\n")
    code, out, error = dse_command("evaluate", "chain.toml", "--set", "resident_activation_fraction=0.5")
    assert code and not out and message in error


def test_what_was_asked_to_stay_is_told(dse_command, files):
    (files / "whole.toml").write_text(CHAIN)
    line = ("evaluate", "whole.toml", "--set", "resident_activation_fraction=0.5")
    told = {keep: dse_command(*line, "--keep", keep)[1] for keep in ("best", "quick", "none")}
    assert "1 of 1 activations (no other set" in told["best"] and "quick choice of a search" in told["quick"]
    assert "0 of 1 activations (keep is none)" in told["none"] and "Next to stay" not in told["none"]
    kept = json.loads(dse_command(*line, "--json")[1])["on_chip"]
    assert kept["keep"] == "best" and kept["proven"] and [tensor["name"] for tensor in kept["kept"]] == ["t"]
