"""Imports point down, and every third-party package stays in its room."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = (
    ("dse.__main__",),
    ("dse.commands",),
    ("dse.validation",),
    ("problems", "dse.problems"),
    ("dse.output",),
    ("dse.tuning", "dse.training", "dse.analysis", "dse.simultaneous", "dse.proof"),
    ("dse.search",),
    ("dse.runs",),
    ("dse.costs",),
    ("dse.hardware",),
    ("dse.networks",),
    ("dse.text",),
)
"""Rooms from the top floor down: a module imports from its own room and from floors below."""

ROOMS = {
    "numba": {"dse.costs.kernels", "dse.costs.residency.choice", "dse.simultaneous.event_loop"},
    "joblib": {"dse.costs.batches", "dse.costs.parallel"},
    "pandas": {
        "dse.runs.tables",
        "dse.costs.evaluation",
        "dse.validation",
        "dse.analysis",
        "dse.output.explanation_figures",
        "dse.output.front_figures",
        "dse.output.schedule_figures",
        "dse.tuning.tuner",
        "dse.tuning.front",
        "dse.training.accuracy_study",
        "dse.training.equivalence",
        "dse.simultaneous.schedules",
    },
    "scipy": {"dse.training.equivalence", "dse.simultaneous.bounds"},
    "torch": {"dse.training.graph_modules", "dse.training.retrain", "dse.training.low_precision"},
    "moocore": {"dse.search.pareto"},
    "pymoo": {
        "problems",
        "dse.search.search_loop",
        "dse.search.settings",
        "dse.search.genetic_operators",
        "dse.search.proposers",
        "dse.tuning.front",
    },
    "matplotlib": {
        "dse.output.figure_style",
        "dse.output.run_figures",
        "dse.output.front_figures",
        "dse.output.sensitivity_figures",
        "dse.output.schedule_figures",
        "dse.output.explanation_figures",
        "dse.validation.plots",
    },
    "typer": {"dse.commands"},
    "rich": {"dse.commands", "dse.output"},
    "onnx": {"dse.networks", "dse.tuning", "dse.training.graph_modules", "dse.training.low_precision"},
    "lazy_loader": {"dse"},
    "numpy": {"dse", "problems"},
}
"""Third-party package -> the modules, or packages with all their modules, that may import it."""


def modules():
    """Name and path of every module of the library."""
    for package in ("dse", "problems"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())
SIBLINGS = {path.stem for path in (ROOT / "problems").glob("*.py")}


def imports(path):
    """Modules that a file imports, anywhere in it; names of submodules are resolved."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # the problems import each other relatively: they work under two names
            assert node.level == (path.parent.name == "problems" and node.module in SIBLINGS), (
                f"{path}: relative import"
            )
            home = f"problems.{node.module}" if node.level else node.module
            for alias in node.names:
                inner = f"{home}.{alias.name}"
                yield inner if inner in MODULES else home


def inside(module, room):
    return module == room or module.startswith(f"{room}.")


def room_of(module):
    """The room of a module and its floor, counted from the top."""
    for floor, rooms in enumerate(FLOORS):
        for room in rooms:
            if inside(module, room):
                return room, floor
    raise AssertionError(f"{module} is in no room: add its room to FLOORS of this test")


@pytest.mark.parametrize("module", [m for m in MODULES if m != "dse"])
def test_imports_point_down(module):
    room, floor = room_of(module)
    for other in imports(MODULES[module]):
        if other == "dse":
            assert room in ("dse.commands", "problems"), f"{module} imports the whole of dse"
        elif other in MODULES:
            there, below = room_of(other)
            assert there == room or below > floor, f"{module} imports {other}, which is not below it"


def test_no_module_imports_another_that_imports_it():
    """Inside a room, and through all of them, imports form no circle."""
    graph = {m: {o for o in imports(path) if o in MODULES and o != m} for m, path in MODULES.items() if m != "dse"}
    packages = {m for m, path in MODULES.items() if path.name == "__init__.py"}
    graph = {m: {o for o in others if not (o in packages and inside(m, o))} for m, others in graph.items()}
    done = set()
    while ready := {m for m, others in graph.items() if m not in done and others - done <= {"dse"}}:
        done |= ready
    assert done == set(graph), f"a circle among {sorted(set(graph) - done)}"


def test_no_room_is_full():
    """At most 14 modules a room, so that its idea can be seen."""
    for folder in {path.parent for path in MODULES.values()}:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 14, folder


@pytest.mark.parametrize("module", MODULES)
def test_third_party_packages_stay_in_their_rooms(module):
    for other in imports(MODULES[module]):
        package = other.partition(".")[0]
        if package in sys.stdlib_module_names or package in ("dse", "problems"):
            continue
        assert package in ROOMS, f"{module} imports {package}, which has no room"
        assert any(inside(module, room) for room in ROOMS[package]), (
            f"{module} imports {package}; its rooms: {ROOMS[package]}"
        )


def test_the_library_knows_no_problem_but_in_its_script():
    for module, path in MODULES.items():
        if inside(module, "dse") and not inside(module, "dse.commands"):
            assert not [other for other in imports(path) if inside(other, "problems")], module


def test_public_names_of_the_package_exist():
    """Every name of the stub is there, and no room hides a function."""
    import dse

    stub = ast.parse((ROOT / "dse" / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(homes) == set(dse.__all__) == set(dir(dse))
    for name, home in homes.items():
        expected = importlib.import_module(f"dse.{home or name}")
        assert getattr(dse, name) is (getattr(expected, name) if home else expected)
    with pytest.raises(AttributeError, match="No dse attribute nothing"):
        dse.nothing  # noqa: B018
    assert {rooms[0].partition(".")[2] or rooms[0] for rooms in FLOORS} - {"__main__"} <= set(dse.__all__)


DOTTED = sorted(
    {
        (document.name, name)
        for document in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "README.md")
        for name in re.findall(r"\b(?:dse|problems)(?:\.[A-Za-z_]\w*)+", document.read_text(encoding="utf-8"))
        if not name.endswith((".py", ".toml", ".md"))
    }
)


def test_every_dotted_name_in_the_texts_works_after_import_dse_alone():
    """README, docs and changelog print names that one can type."""
    code = "import sys, dse, problems\nfor name in sys.argv[1:]:\n    eval(name)\n"
    done = subprocess.run([sys.executable, "-c", code, *(name for _, name in DOTTED)], capture_output=True, text=True)
    assert done.returncode == 0 and len(DOTTED) > 10, done.stderr


def test_the_problems_are_found_beside_a_problems_of_ones_own(tmp_path):
    """`dse.problems` gives the classes of `problems`, and gives them too where that name is the user's."""
    code = "import problems, dse.problems; from dse.problems import SingleDNN; from dse.problems.base import Columns\n"
    same = f"{code}assert SingleDNN is problems.SingleDNN and Columns is problems.base.Columns"
    subprocess.run([sys.executable, "-c", same], check=True, cwd=ROOT)
    (tmp_path / "problems.py").write_text("mine = 1\n")
    own = f"{code}assert problems.mine and SingleDNN.__mro__[1] is dse.problems.AcceleratorProblem\n"
    own += "import dse; print(len(dse.explore(SingleDNN(dse.MacLayer('a', K=4)), evaluations=4).designs))"
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", own], capture_output=True, text=True, cwd=tmp_path, env=path)
    assert done.stdout == "4\n", done.stderr


def rooms_in(document):
    """Room -> floor and packages, from the table of a document; floors are counted from the bottom."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = {}
    for line in re.findall(r"^\| \d+ \|.*$", text, flags=re.M):
        floor, rooms, *_, last = (cell.strip() for cell in line.strip("|").split("|"))
        for room in re.findall(r"`([\w.]+)`", rooms):
            found[room] = int(floor), {package.strip() for package in last.split(",") if package.strip()}
    return found


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_tables_of_rooms_are_the_floors(document):
    """But for `dse.__main__`, which is no room: it stands above them all."""
    inner = [rooms for rooms in FLOORS if rooms != ("dse.__main__",)]
    floors = {room: len(inner) - i for i, rooms in enumerate(inner) for room in rooms}
    told = {room: floor for room, (floor, _) in rooms_in(document).items()}
    assert told == floors
    assert list(told.values()) == sorted(told.values(), reverse=True), "from the top floor down"


def test_the_packages_of_the_rooms_are_the_ones_contributing_names():
    everywhere = {package for package, where in ROOMS.items() if "dse" in where}
    for room, (_, told) in rooms_in("CONTRIBUTING.md").items():
        allowed = {package for package, where in ROOMS.items() if any(inside(module, room) for module in where)}
        assert told == allowed - everywhere, room


def test_no_path_of_a_machine_in_the_tree():
    for folder in ("dse", "problems", "benchmarks", "experiments", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for wrong in ("/" + "tmp/", "/" + "home/", "/" + "work/", "/" + "Users/"):
                assert wrong not in text, f"{path}: {wrong}"
