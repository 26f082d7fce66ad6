"""Imports point down, and every third-party package stays in its room."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEVELS = (
    ("dse.kernels",),
    ("dse.tomlfile", "dse.scaling", "dse.layers", "dse.columns"),
    ("dse.dataflow", "dse.networks"),
    ("dse.accelerator", "dse.technology", "dse.channels"),
    ("dse.variables", "dse.mapping", "dse.units", "dse.presets"),
    ("dse.space", "dse.traffic"),
    ("dse.area", "dse.pareto", "dse.manifest"),
    ("dse.sensitivity",),
    ("dse.formulas",),
    ("dse.model", "dse.protocol"),
    ("dse.evaluate",),
    ("dse.schedule", "dse.mixes"),
    ("dse.partition",),
    ("dse.explain", "dse.staircase", "dse.edits", "dse.several"),
    ("dse.tune", "dse.study", "dse.retrain", "dse.relate", "dse.fixed_mapping"),
    ("dse.validation.table", "dse.validation.score"),
    ("dse.validation",),
    ("dse.records", "dse.runlog"),
    ("dse.exploration",),
    ("dse.operators", "dse.chosen", "dse.generality"),
    ("dse.proposers", "dse.sweep"),
    ("dse.settings",),
    ("dse.search",),
    ("dse.plots", "dse.report", "dse.progress"),
    ("dse.explain_plots", "dse.explain_report"),
    ("dse.schedule_plots",),
    ("dse.validation.plots",),
    ("dse.validation.collect",),
    ("problems.base",),
    ("problems.single", "problems.codesign"),
    ("problems.geomean", "problems.simultaneous"),
    ("problems.resume",),
    ("problems",),
    ("dse.cli",),
)
"""Modules from the lowest level to the highest; a module imports from lower levels only, a package's own aside."""

ROOMS = {
    "numba": {"dse.kernels", "dse.schedule"},
    "joblib": {"dse.evaluate"},
    "pandas": {
        "dse.records",
        "dse.evaluate",
        "dse.validation",
        "dse.explain",
        "dse.explain_plots",
        "dse.staircase",
        "dse.tune",
        "dse.study",
        "dse.relate",
        "dse.schedule",
        "dse.schedule_plots",
        "dse.generality",
    },
    "scipy": {"dse.study"},
    "torch": {"dse.retrain"},
    "moocore": {"dse.pareto"},
    "pymoo": {"problems", "dse.search", "dse.settings", "dse.operators", "dse.proposers"},
    "matplotlib": {"dse.plots", "dse.schedule_plots", "dse.explain_plots", "dse.validation.plots"},
    "typer": {"dse.cli"},
    "rich": {"dse.cli", "dse.report", "dse.progress", "dse.explain_report"},
    "onnx": {"dse.networks", "dse.channels", "dse.edits", "dse.tune", "dse.retrain"},
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


def imports(path):
    """Modules that a file imports, anywhere in it; names of submodules are resolved."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def level(module):
    """Number of the level of a module; its package's level where it is not listed itself."""
    found = [i for i, names in enumerate(LEVELS) if module in names]
    if found or "." not in module:
        return found[0] if found else None
    return level(module.rpartition(".")[0])


def inside(module, room):
    return module == room or module.startswith(f"{room}.")


@pytest.mark.parametrize("module", [m for m in MODULES if m != "dse"])
def test_imports_point_down(module):
    here = level(module)
    assert here is not None, f"{module} has no level: add it to LEVELS of this test"
    for other in imports(MODULES[module]):
        if other == "dse":
            assert module == "dse.cli" or inside(module, "problems"), f"{module} imports the whole of dse"
        elif other in MODULES and not (inside(module, "dse.networks") and inside(other, "dse.networks")):
            there = level(other)
            own = module == "problems" and inside(other, "problems")
            assert own or there < here, f"{module} imports {other}, which is not below it"


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
        if inside(module, "dse") and module != "dse.cli":
            assert not [other for other in imports(path) if inside(other, "problems")], module


def test_public_names_of_the_package_exist():
    import dse

    for name in dse.__all__:
        assert getattr(dse, name) is getattr(importlib.import_module(dse._HOME[name]), name)
    import dse.evaluate  # binds the name of the module; the function must win

    assert callable(dse.evaluate) and set(dse.__all__) <= set(dir(dse))
    with pytest.raises(AttributeError, match="module 'dse' has no attribute 'nothing'"):
        dse.nothing  # noqa: B018


def test_no_path_of_a_machine_in_the_tree():
    for folder in ("dse", "problems", "benchmarks", "experiments", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for wrong in ("/" + "tmp/", "/" + "home/", "/" + "work/", "/" + "Users/"):
                assert wrong not in text, f"{path}: {wrong}"
