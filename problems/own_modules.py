"""Modules of one's own by name or by file: importing them, and telling their errors by their own lines."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import dse

_OURS = (Path(__file__).resolve().parent, Path(dse.__file__).resolve().parent)
_PYTHON = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})
_INSTALLED = ("site-packages", "dist-packages")
_imported: set[Path] = set()
"""Files that `module_named` imported: the user's own, wherever they are."""


def module_named(home: str) -> ModuleType:
    """The module that ``--problem`` names: ``mine`` is mine.py of the current directory first, then what Python finds.

    ``package.module`` is what Python finds, in the current directory last; ``folder/mine.py`` is that file.  ValueError
    says what to do.
    """
    if not home.endswith(".py") and not all(part.isidentifier() for part in home.split(".")):
        raise ValueError(f"--problem: {home!r} is no name of a module; give one, such as mine, or a file: mine.py")
    path = _file_here(home)
    if home.endswith(".py") and not path.is_file():
        raise ValueError(f"--problem: there is no file {home}; give the path of the file with your class")
    try:
        module = _module_of_file(path.resolve()) if _is_alone(home) else _module_found(home)
    except ModuleNotFoundError as error:
        if error.name is None or not (home == error.name or home.startswith(f"{error.name}.")):
            raise ValueError(f"--problem: {home} cannot be imported: {where_raised(error)}") from error
        if path.is_file():
            first = getattr(sys.modules.get(home.split(".")[0]), "__file__", None) or "another module"
            raise ValueError(
                f"--problem: {home} is not {path}, since {home.split('.')[0]} is {first}; rename the folder, or give "
                f"the file: {path}"
            ) from None
        raise ValueError(
            f"--problem: there is no module {home}: neither {path} in {Path.cwd()} nor an installed one"
        ) from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"--problem: {home} cannot be imported: {where_raised(error)}") from error
    if (file := file_of(module)) is not None:
        _imported.add(file)
    return module


def file_of(module: ModuleType) -> Path | None:
    """The file of a module; None where it has none."""
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def file_named(home: str) -> Path | None:
    """The file that `module_named` would import now, found without importing anything; None where there is none."""
    if _is_alone(home):
        return _file_here(home).resolve()
    if home.endswith(".py"):
        return None
    first, *more = home.split(".")
    before = list(sys.path)
    _search_here_last()
    try:
        spec = importlib.util.find_spec(first)
        name = first
        for part in more:
            if spec is None:
                return None
            name = f"{name}.{part}"
            spec = PathFinder.find_spec(name, list(spec.submodule_search_locations or ()))
    except (ImportError, ValueError):
        return None
    finally:
        sys.path[:] = before
    return Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None


def _file_here(home: str) -> Path:
    """Where the current directory would have the module."""
    return Path(home) if home.endswith(".py") else Path(*home.split(".")).with_suffix(".py")


def _is_alone(home: str) -> bool:
    """Whether it is a file by itself, of no package: named as a file, or a module of the current directory."""
    return (home.endswith(".py") or "." not in home) and _file_here(home).is_file()


def _search_here_last() -> None:
    """Python finds modules of the current directory too, after all others."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    importlib.invalidate_caches()


def _module_found(home: str) -> ModuleType:
    _search_here_last()
    return importlib.import_module(home)


def _module_of_file(path: Path) -> ModuleType:
    """A file as a module, under its own name where that is free; its folder is searched for what it imports."""
    names = (path.stem, f"own_{path.stem}")
    for known in filter(None, map(sys.modules.get, names)):
        if getattr(known, "__file__", None) == str(path):
            return known
    name = names[path.stem in sys.modules or path.stem in sys.stdlib_module_names]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


# ---------------------------------------------------------------------------------------------------------------------
# Errors.


def where_raised(error: BaseException) -> str:
    """An exception with the last line of the user's own files on the way to it."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _whose(frame.filename) == "user"]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def says_what_to_do(error: BaseException, hooks: bool = False) -> bool:
    """Whether an error is one of the library's own, whose message is for the user; not one of the user's code.

    Parameters
    ----------
    hooks : the library was called from the user's code only by mistakes, as in the hooks of a problem: what is raised
        below a line of the user's is an error there.
    """
    if not isinstance(error, ValueError | OSError | MemoryError):
        return False
    whose = [_whose(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    known = [each for each in whose if each != "other"]
    return known[-1:] != ["user"] and not (hooks and "user" in known)


def _whose(filename: str) -> str:
    """ "ours", "user" or "other" (Python's, an installed package's) for the file of a line."""
    if filename.startswith("<"):
        return "other"
    path = Path(filename).resolve()
    if path in _imported:
        return "user"
    if any(path.is_relative_to(folder) for folder in _OURS):
        return "ours"
    is_other = any(part in path.parts for part in _INSTALLED) or any(path.is_relative_to(f) for f in _PYTHON)
    return "other" if is_other else "user"
