"""Runs of an older source: what has changed in a copy of the package, and whether it knows the runs from before."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

import dse
from dse.costs import kernels
from dse.costs.residency import choice
from dse.hardware.accelerator import Accelerator
from dse.hardware.dataflow import Dataflow, SpatialOption
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.search.search_loop import explore
from dse.simultaneous import event_loop
from problems import SimultaneousDNNs, SingleDNN

ROOT = Path(__file__).parents[1]
MINE = Dataflow("rows_of_pixels", (SpatialOption(("C", "FY"), ("OX", "K"), ("W", "O")),))
LAYERS = """
[[layer]]
name = "a"
K = 8
C = 8
OX = 4
output = "x"

[[layer]]
name = "b"
operator = "Softmax"
operations = 64
input_elements = 32
output_elements = 32
inputs = ["x"]
"""

SCRIPT = """
import sys
from pathlib import Path

import dse
from dse.commands.design_by_text import choose
from dse.hardware.accelerator import Accelerator
from dse.runs.identity import source_sha256
from dse.search.search_loop import explore
from problems import rebuild, resume

copy, base = Path(sys.argv[1]), Path(sys.argv[2])
assert Path(dse.__file__).is_relative_to(copy), dse.__file__
print(source_sha256())
for name in ("single", "simultaneous"):
    before = {path.name: path.read_bytes() for path in (base / name).iterdir()}
    assert resume(base / name).finished
    assert {path.name: path.read_bytes() for path in (base / name).iterdir()} == before, name
    torn = base / f"{name}_torn"
    resume(torn)
    assert all((torn / n).read_bytes() == x for n, x in before.items() if n != "manifest.json"), name
    design = choose(f"{base / name}:3")
    assert design.technology.node_nm == 28 and design.design.rows in (8, 16)
    fresh = rebuild(base / name)
    explore(fresh, evaluations=8, population=4, random_twin=False, warm_start=base / name)
print(getattr(Accelerator(), "spare", None), getattr(dse.Technology.at(28), "spare_pj", None))
"""

WORDS = {
    "dse/hardware/area.py": (r'\A"""', '"""Another word. '),
    "dse/costs/probes.py": (r'\A"""', '"""Another word. '),
    "dse/costs/formulas.py": (r'(def \w+\([^"]*?\) -> [^"]*?:\n    """)', r"\1Another word. "),
}
FIELDS = {
    "dse/networks/layers.py": (
        (r"(    fused: tuple\[str, \.\.\.\] = \(\)\n)", r'\1    spare: str = ""\n'),
        (r'(    output: str = ""\n\n    macs = 0)', r'    spare: int = 3\n\1'),
        (r'(    source: str = ""\n)', r'\1    spare: str = "none"\n'),
    ),
    "dse/hardware/accelerator.py": (
        (r"(    accumulator_bits: .*\n)", r'\1    spare: str = _operands("", "of a test")\n'),
    ),
    "dse/hardware/technology.py": (
        (r"(    adder_8bit_pj: .*\n)", r'\1    spare_pj: float = _constant(0.5, "a test", "energy")\n'),
    ),
    "dse/hardware/dataflow.py": ((r"(    forwards_inputs: bool = False\n)", r"\1    spare: bool = False\n"),),
    "dse/simultaneous/mixes.py": ((r"(    after: tuple\[int, \.\.\.\] = \(\)\n)", r"\1    spare: float = 1.0\n"),),
}  # fmt: skip
"""What is changed in the copy: the first place that a pattern finds, and what comes there."""


def edited(path, *changes):
    text = path.read_text()
    for pattern, new in changes:
        text, count = re.subn(pattern, new, text, count=1)
        assert count == 1, (path, pattern)
    path.write_text(text)


@pytest.fixture
def runs(tmp_path_factory):
    """Finished runs of the source as it is, and copies of them that look interrupted."""
    base = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        (base / f"{name}.toml").write_text(LAYERS)
    files = [str(base / "one.toml"), str(base / "two.toml")]
    space = DesignSpace({"rows": [8, 16], "cols": [8, 16], "dataflow": [MINE, "row_stationary"], "dram_gbps": [4, 16]},
                        Accelerator(weight_register_bytes=16), "mine")  # fmt: skip
    made = {
        "single": SingleDNN(files[0], space, Technology.at(28)),
        "simultaneous": SimultaneousDNNs(files, space, Technology.at(28), dataflows=("same", MINE)),
    }
    for name, problem in made.items():
        explore(problem, evaluations=12, population=6, seed=1, out=base / name)
        torn = base / f"{name}_torn"
        shutil.copytree(base / name, torn)
        content = json.loads((torn / "manifest.json").read_text())
        (torn / "manifest.json").write_text(json.dumps(content | {"status": "running"}))
        (torn / "designs.csv").write_bytes(b"".join((torn / "designs.csv").read_bytes().splitlines(True)[:6]))
    return base


def test_changed_words_and_new_fields_with_a_default_keep_a_run(runs, tmp_path):
    """Neither is what a run computes: `resume` says finished and does no work, and an interrupted run continues.

    The fields are of layers, networks, requests, designs, options of a dataflow, constants: each made every run a
    foreign one.  The copy takes what is compiled, so that modules of compiled functions are left as they are.
    """
    copy = tmp_path / "copy"
    for name in ("dse", "problems"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for module in (kernels, choice, event_loop):
        functions = (x for x in vars(module).values() if isinstance(x, Dispatcher))
        compiled = {x.stats.cache_path for x in functions if x.stats.cache_path}
        place = (copy / Path(module.__file__).relative_to(ROOT)).parent / "__pycache__"
        shutil.copytree(compiled.pop(), place, dirs_exist_ok=True)
    for name, change in WORDS.items():
        edited(copy / name, change)
    for name, changes in FIELDS.items():
        edited(copy / name, *changes)
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment["PYTHONPATH"] = str(copy)
    command = [sys.executable, "-c", SCRIPT, str(copy), str(runs)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    source, *_, spare_pj = ended.stdout.split()
    assert source != json.loads((runs / "single" / "manifest.json").read_text())["source_sha256"]
    assert 0 < float(spare_pj) < 0.5  # scaled to 28 nm
    assert not hasattr(dse.Technology(), "spare_pj")
