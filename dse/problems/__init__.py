"""The problem classes of the top-level package `problems`, where that name may mean something of your own.

`problems` and `dse.problems` give the same classes.  If you have a `problems.py` of your own, the name `problems` is
yours, and `dse.problems` loads the classes from the folder beside `dse`.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).resolve().parents[2] / "problems"


def _is_ours() -> bool:
    """Whether the name `problems` means the package beside `dse`; nothing is imported to find out."""
    try:
        found = importlib.util.find_spec("problems")
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None and Path(found.origin).resolve().parent == _FOLDER


def _load() -> ModuleType:
    """The package, under its own name where that is free."""
    if _is_ours():
        return importlib.import_module("problems")
    name, start = f"{__name__}._package", _FOLDER / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, start, submodule_search_locations=[str(_FOLDER)])
    if spec is None or spec.loader is None or not start.is_file():
        raise ImportError(f"the package problems is missing beside {Path(__file__).parents[1]}; install dse again")
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    return package


_package = _load()
__all__ = list(_package.__all__)
globals().update({name: getattr(_package, name) for name in __all__})
for _name in [path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__"]:  # dse.problems.single and so on
    sys.modules[f"{__name__}.{_name}"] = importlib.import_module(f"{_package.__name__}.{_name}")
    globals().setdefault(_name, sys.modules[f"{__name__}.{_name}"])
