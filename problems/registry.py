"""The kinds of problems by name: how each is made of what a command line says, and made again for `resume`.

``single``, ``geomean``, ``simultaneous`` and ``codesign`` are those that ship.  ``module:Class`` or ``file.py:Class``
names a class of one's own; it takes the options of the class that it is derived from.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import dse
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks import EIGHT, network_names
from dse.runs.files import hash_of
from dse.simultaneous.mixes import Mix, load_mix

from .base import AcceleratorProblem
from .checks import ProblemError
from .codesign import Codesign
from .geomean import GeomeanDNN
from .simultaneous import SimultaneousDNNs
from .single import SingleDNN

KINDS: dict[str, type[AcceleratorProblem]] = {
    cls.kind: cls for cls in (SingleDNN, GeomeanDNN, SimultaneousDNNs, Codesign)
}
"""The problem classes that ship, by the name that ``--problem`` takes."""

OPTIONS = {
    "networks": ("geomean", "simultaneous"),
    "mix": ("simultaneous",),
    "sub_arrays": ("simultaneous",),
    "weights": ("geomean",),
    "mapping": ("geomean",),
    "widths": ("codesign",),
    "step": ("codesign",),
    "least_capacity": ("codesign",),
}
"""Kinds that take an option which not all of them take."""

_HINTS = {
    "networks": "; for one network give its name alone",
    "mapping": ", which takes one network too",
}


class UsageError(ValueError):
    """A command line that lacks an argument, or gives two of which it takes one."""


@dataclass(frozen=True)
class Wanted:
    """What a command line says of a problem; None where it says nothing.

    Parameters
    ----------
    problem : name of a kind, ``module:Class`` or ``file.py:Class``.
    network, networks, mix : what it is about: exactly one of them, but for classes that take none.
    space, technology : None: the kind's default.
    """

    problem: str = "single"
    network: str | None = None
    networks: str | None = None
    mix: str | None = None
    weights: tuple[float, ...] | None = None
    mapping: str | None = None
    sub_arrays: int | None = None
    widths: tuple[float, ...] | None = None
    step: int | None = None
    least_capacity: float | None = None
    objectives: tuple[str, ...] | None = None
    space: DesignSpace | None = None
    technology: Technology | None = None
    n_jobs: int = -1
    mapping_objective: str | None = None
    mapping_slack: float | None = None
    batch: int | None = 1
    dims: Mapping[str, int] = field(default_factory=dict)


def made(wanted: Wanted) -> tuple[AcceleratorProblem, str]:
    """The problem that a command line asks for, and a name for its directory.

    Raises ValueError that says what to do: an unknown kind, an option that the kind does not take, a class that cannot
    be found, is no problem, or raises while it is made.
    """
    wanted = _settled(wanted)
    cls = problem_class(wanted.problem)
    kind = _kind_of(cls)
    for option, kinds in OPTIONS.items():
        if getattr(wanted, option) is not None and kind is not None and kind not in kinds:
            needed = " or ".join(kinds)
            raise ValueError(f"--{option.replace('_', '-')} needs --problem {needed}{_HINTS.get(option, '')}")
    values = _values(wanted, kind)
    problem = _built(cls, _given(values), wanted.problem)
    if ":" in wanted.problem:
        problem.made_by_name = wanted.problem
    return problem, directory_name(wanted, problem)


def _settled(wanted: Wanted) -> Wanted:
    """With the kind that a mix means, after what holds for every kind is checked."""
    if wanted.mix is not None and wanted.problem == "single":
        wanted = Wanted(**{**vars(wanted), "problem": "simultaneous"})
    given = [x for x in (wanted.network, wanted.networks, wanted.mix) if x is not None]
    if len(given) > 1 or (not given and ":" not in wanted.problem):
        raise UsageError("give a NETWORK, several with --networks A,B,... or --networks all, or a --mix")
    if wanted.mix is not None and (wanted.batch != 1 or wanted.dims):
        raise ValueError("--batch and --dim are for networks; a mix says them for each of its streams")
    return wanted


def _values(wanted: Wanted, kind: str | None) -> dict[str, Any]:
    """Arguments of the constructor by name, None where the class has the default."""
    names = _names(wanted)
    same = ("space", "technology", "objectives", "n_jobs", "mapping_objective", "mapping_slack", "weights", "mapping")
    values = {name: getattr(wanted, name) for name in (*same, "widths", "step", "least_capacity")}
    values["most_sub_arrays"] = wanted.sub_arrays
    if kind == "simultaneous":
        if wanted.mix is not None:
            return values | {"mix": load_mix(wanted.mix)}
        return values | {"mix": Mix.of(names, _subject(wanted), wanted.batch, wanted.dims)}
    values |= {"batch": wanted.batch, "dims": dict(wanted.dims)}
    if kind == "geomean":
        return values | {"networks": names}
    return values | {"network": wanted.network}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments that are not left to the class; a batch of None keeps what a file fixes."""
    return {name: value for name, value in values.items() if value is not None or name == "batch"}


def _names(wanted: Wanted) -> list[str]:
    """The networks that the command line names."""
    if wanted.networks == "all":
        return list(network_names())
    if wanted.networks == "eight":
        return list(EIGHT)
    return [name.strip() for name in (wanted.networks or wanted.network or "").split(",") if name.strip()]


def _subject(wanted: Wanted) -> str:
    """What the problem is about, as part of a directory's name."""
    kind = wanted.problem.rpartition(":")[2]
    if wanted.mix is not None:
        return f"mix_{Path(wanted.mix).stem}"
    about = wanted.networks if wanted.networks in ("all", "eight") else "_".join(Path(n).stem for n in _names(wanted))
    return about if kind == "single" else f"{kind}_{about}" if about else kind


def directory_name(wanted: Wanted, problem: AcceleratorProblem) -> str:
    """Name of the run's directory: what distinguishes it and is not the default, 80 characters at most.

    Networks, batch and sizes, a frozen mapping, the space, the technology and the objectives; where it is too long
    the end is a hash of the whole.
    """
    parts = [_subject(wanted)]
    parts += [f"batch{wanted.batch or '_of_file'}"] if wanted.batch != 1 else []
    parts += [f"{name}{size}" for name, size in sorted(wanted.dims.items())]
    parts += [wanted.mapping] if wanted.mapping not in (None, "best") else []
    space = wanted.space
    if space is not None and space.name != _default_space_name(problem):
        parts.append(space.name)
    if wanted.technology is not None and wanted.technology.name != Technology.at().name:
        parts.append(wanted.technology.name.replace(" ", ""))
    if wanted.objectives is not None and wanted.objectives != type(problem).objective_names:
        parts.append("_".join(wanted.objectives))
    name = re.sub(r"[^\w.=-]+", "_", "_".join(parts)).strip("._") or "run"
    return name if len(name) <= 80 else f"{name[:71]}_{hash_of(name)[:8]}"


def _default_space_name(problem: AcceleratorProblem) -> str:
    return "small" if isinstance(problem, Codesign) else "default"


# ---------------------------------------------------------------------------------------------------------------------
# Classes by name.


def problem_class(text: str) -> type[AcceleratorProblem]:
    """The class that ``--problem`` names: a kind, ``module:Class`` or ``file.py:Class``; ValueError says what to do."""
    if ":" not in text:
        if text not in KINDS:
            if text.endswith(".py"):
                raise ValueError(f"--problem {text!r}: name the class in it too, as {text}:MyProblem")
            raise ValueError(
                f"unknown problem {text!r}: give {', '.join(KINDS)}, or a class of your own as module:Class"
            )
        return KINDS[text]
    home, _, name = text.rpartition(":")
    if not home or not name.isidentifier():
        raise ValueError(f"--problem {text!r}: expected module:Class or file.py:Class, such as mine:EnergyDelay")
    module = _module(home)
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, AcceleratorProblem):
        return found
    here = [n for n, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, AcceleratorProblem)
            and value.__module__ == module.__name__]  # fmt: skip
    known = f"its problem classes are {', '.join(here)}" if here else "it has no problem class"
    if found is None:
        raise ValueError(f"--problem {text!r}: {home} has no {name}; {known}")
    raise ValueError(
        f"--problem {text!r}: {name} is no problem: derive a class from SingleDNN or another of `problems`; {known}"
    )


def _module(home: str) -> ModuleType:
    """The module of that name, or the file; one of the current directory goes first."""
    if not home.endswith(".py") and not all(part.isidentifier() for part in home.split(".")):
        raise ValueError(f"--problem: {home!r} is no name of a module; give one, such as mine, or a file: mine.py")
    path = Path(home) if home.endswith(".py") else Path(*home.split(".")).with_suffix(".py")
    if home.endswith(".py") and not path.is_file():
        raise ValueError(f"--problem: there is no file {home}; give the path of the file with your class")
    try:
        if path.is_file():
            return _module_of_file(path.resolve())
        return importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name is not None and (home == error.name or home.startswith(f"{error.name}.")):
            raise ValueError(
                f"--problem: there is no module {home}: neither {path} in {Path.cwd()} nor an installed one"
            ) from None
        raise ValueError(f"--problem: {home} cannot be imported: {where_raised(error)}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"--problem: {home} cannot be imported: {where_raised(error)}") from error


def _module_of_file(path: Path) -> ModuleType:
    """A file as a module, under its own name where that is free; its folder is searched for what it imports."""
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    name = path.stem if known is None and path.stem not in sys.stdlib_module_names else f"own_{path.stem}"
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


def where_raised(error: BaseException) -> str:
    """An exception with the line of the user's file where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f"{os.sep}importlib{os.sep}" not in f.filename and not f.filename.startswith("<frozen")
           and Path(f.filename).resolve().parent != Path(__file__).resolve().parent]  # fmt: skip
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def says_what_to_do(error: BaseException) -> bool:
    """Whether an error is one of the library's own, whose message is for the user; not one of a user's class."""
    if isinstance(error, OSError | MemoryError):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    ours = [Path(__file__).resolve().parent, Path(dse.__file__).resolve().parent]
    return isinstance(error, ValueError) and any(Path(last).resolve().is_relative_to(folder) for folder in ours)


def _kind_of(cls: type[AcceleratorProblem]) -> str | None:
    """The kind that a class is derived from; None for one with an evaluator of its own."""
    return next((kind for kind, home in KINDS.items() if issubclass(cls, home)), None)


def _built(cls: type[AcceleratorProblem], values: dict[str, Any], name: str) -> AcceleratorProblem:
    """An instance from the values that its constructor takes."""
    parameters = inspect.signature(cls).parameters
    everything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = {key: value for key, value in values.items() if everything or key in parameters}
    always = ("n_jobs", "batch", "dims")
    left = [key for key in values if key not in taken and key not in always]
    if left:
        raise ValueError(f"--problem {name}: it takes no {', '.join(left).replace('_', ' ')}")
    several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    needed = [key for key, p in parameters.items() if p.default is p.empty and p.kind not in several]
    lacking = [key for key in needed if key not in taken]
    if lacking:
        raise ValueError(
            f"--problem {name}: its constructor needs {', '.join(lacking)}, which the command line does not give; "
            "give it a default, or run a script that calls dse.explore"
        )
    try:
        problem = cls(**taken)
    except Exception as error:
        if says_what_to_do(error):
            raise
        raise ProblemError(f"--problem {name}: it cannot be made: {where_raised(error)}") from error
    if not hasattr(problem, "space"):
        raise ProblemError(f"--problem {name}: its constructor does not call super().__init__; add that")
    return problem


# ---------------------------------------------------------------------------------------------------------------------
# Made again.


def rebuilt(arguments: dict[str, Any], space: DesignSpace, n_jobs: int | None = None) -> AcceleratorProblem:
    """The problem that `arguments`, written by its `rebuild`, describe.

    Parameters
    ----------
    arguments : from the manifest of a run.
    space : of the hardware, from `space.toml` of the run.
    n_jobs : workers; default as in the run.
    """
    name = arguments["problem"]
    home = name.rpartition(":")[0]
    if home.endswith(".py") and not _is_here(home):
        raise ValueError(
            f"its problem is {name}, outside the current directory: nothing is imported from there. Run the command "
            "that started the run again: it continues"
        )
    cls = problem_class(name)
    values = cls.arguments_of({key: value for key, value in arguments.items() if key != "problem"})
    values |= {"space": space} | ({} if n_jobs is None else {"n_jobs": n_jobs})
    problem = _built(cls, _given(values), name)
    if ":" in name:
        problem.made_by_name = name
    return problem


def _is_here(file: str) -> bool:
    return Path(file).resolve().is_relative_to(Path.cwd())
