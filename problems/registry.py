"""The kinds of problems by name: how each is made of what a command line says, and made again for `resume`.

``single``, ``geomean``, ``simultaneous`` and ``codesign`` are those that ship.  ``module:Class`` or ``file.py:Class``
names a class of one's own; it takes the options of the class that it is derived from.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks import EIGHT, network_names
from dse.runs.files import hash_of
from dse.runs.identity import of_technology
from dse.simultaneous.mixes import Mix, load_mix

from .base import AcceleratorProblem
from .checks import ProblemError
from .codesign import Codesign
from .geomean import GeomeanDNN
from .own_modules import file_named, file_of, module_named, says_what_to_do, where_raised
from .simultaneous import SimultaneousDNNs, most_by_default
from .single import SingleDNN, findable

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

_AS_OPTIONS = {"most_sub_arrays": "sub_arrays", "dims": "dim", "technology": "node"}
"""Arguments of constructors that an option of another name gives."""

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
    mapping_slack: float | str | None = None
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
    values = _given(_values(wanted, kind))
    defaults = {"n_jobs"} | ({"batch"} if wanted.batch == 1 else set()) | (set() if wanted.dims else {"dims"})
    problem, taken = _built(cls, values, wanted.problem, defaults)
    if ":" in wanted.problem:
        problem.made_with = _plain(wanted.problem, taken)
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
    mix = None if wanted.mix is None else load_mix(wanted.mix)
    named = wanted.network is not None or wanted.networks is not None
    if kind == "simultaneous" and mix is None and named:
        return values | {"mix": Mix.of(names, _subject(wanted), wanted.batch, wanted.dims)}
    if kind == "simultaneous":  # which takes no sizes beside a mix: those that are given are refused
        sizes = ({"batch": wanted.batch} if wanted.batch != 1 else {}) | ({"dims": wanted.dims} if wanted.dims else {})
        return values | {"mix": mix} | sizes
    values |= {"batch": wanted.batch, "dims": dict(wanted.dims)}
    if kind == "geomean":
        return values | {"networks": names if named else None}
    if kind is None:  # of a class with an evaluator of its own: what its constructor does not take is refused
        values |= {"networks": names if wanted.networks is not None else None, "mix": mix}
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

    Networks, batch and sizes, weights, what moves in a network, sub-arrays, the mapping, the space, the technology and
    the objectives; where it is too long the end is a hash of the whole.
    """
    parts = [_subject(wanted)]
    parts += [f"batch{wanted.batch or '_of_file'}"] if wanted.batch != 1 else []
    parts += [f"{name}{size}" for name, size in sorted(wanted.dims.items())]
    parts += [wanted.mapping] if wanted.mapping not in (None, "best") else []
    for name, word in _IN_NAMES.items():
        value = getattr(wanted, name)
        if value is not None and value != _default_of(problem, name, wanted):
            texts = [x if isinstance(x, str) else f"{x:g}" for x in (value if isinstance(value, tuple) else (value,))]
            parts.append(word + "-".join(texts))
    space = wanted.space
    if space is not None and space.name != _default_space_name(problem):
        parts.append(space.name)
    if wanted.technology is not None and wanted.technology.name != Technology.at().name:
        parts.append(wanted.technology.name.replace(" ", ""))
    if wanted.objectives is not None and wanted.objectives != type(problem).objective_names:
        parts.append("_".join(wanted.objectives))
    name = re.sub(r"[^\w.=-]+", "_", "_".join(parts)).strip("._") or "run"
    return name if len(name) <= 80 else f"{name[:71]}_{hash_of(name)[:8]}"


_IN_NAMES = {
    "weights": "weights",
    "widths": "widths",
    "step": "step",
    "least_capacity": "capacity",
    "sub_arrays": "sub_arrays",
    "mapping_objective": "mapped_",
    "mapping_slack": "slack",
}
"""Options that stand in a directory's name where they are given and not the default, and the words before them."""


def _default_of(problem: AcceleratorProblem, option: str, wanted: Wanted) -> Any:
    """What a problem has where the option is not given."""
    if option == "weights":
        return (1.0,) * len(wanted.weights or ())
    if option == "sub_arrays":
        return most_by_default(len(problem.mix.streams)) if isinstance(problem, SimultaneousDNNs) else None
    for cls in type(problem).__mro__:
        made = vars(cls).get("__init__")
        found = None if made is None else inspect.signature(made).parameters.get(option)
        if found is not None and found.default is not found.empty:
            return found.default
    return None


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
    module = module_named(home)
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


def _kind_of(cls: type[AcceleratorProblem]) -> str | None:
    """The kind that a class is derived from; None for one with an evaluator of its own."""
    return next((kind for kind, home in KINDS.items() if issubclass(cls, home)), None)


def _takes_everything(cls: type[AcceleratorProblem]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())


def _built(
    cls: type[AcceleratorProblem], values: dict[str, Any], name: str, defaults: Collection[str] = ()
) -> tuple[AcceleratorProblem, dict[str, Any]]:
    """An instance from the values that its constructor takes, and these; only `defaults` may be left out."""
    parameters, everything = inspect.signature(cls).parameters, _takes_everything(cls)
    taken = {key: value for key, value in values.items() if everything or key in parameters}
    left = [_AS_OPTIONS.get(key, key) for key in values if key not in taken and key not in defaults]
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
    return problem, taken


# ---------------------------------------------------------------------------------------------------------------------
# Made again.


def _plain(name: str, taken: Mapping[str, Any]) -> dict[str, Any]:
    """How a command line made an instance of a class of one's own, as JSON values: its constructor was given `taken`.

    The space is not among them: it lies in `space.toml`.
    """
    file = file_of(module_named(name.rpartition(":")[0]))
    found: dict[str, Any] = {"problem": name, "file": None if file is None else str(file), "given": list(taken)}
    for key, value in taken.items():
        if key == "network":
            found[key] = _elsewhere(value)
        elif key == "networks":
            found[key] = [_elsewhere(each) for each in value]
        elif key == "mix":
            found[key] = value.plain()
        elif key == "technology":
            found[key] = of_technology(value)
        elif key != "space":
            found[key] = list(value) if isinstance(value, tuple) else value
    return found


def _elsewhere(network: str) -> str:
    """A network as another directory finds it too; what is no file may be a name that the class knows."""
    return findable(network) if Path(network).is_file() else network


def rebuilt(arguments: dict[str, Any], space: DesignSpace, n_jobs: int | None = None) -> AcceleratorProblem:
    """The problem that `arguments`, written by its `rebuild`, describe.

    Parameters
    ----------
    arguments : from the manifest of a run.
    space : of the hardware, from `space.toml` of the run.
    n_jobs : workers; default as in the run.
    """
    name = arguments["problem"]
    if ":" in name:
        _check_file(name, arguments)
    cls = problem_class(name)
    kept = {key: value for key, value in arguments.items() if key not in ("problem", "file", "given")}
    values = cls.arguments_of(kept)
    if isinstance(values.get("mix"), dict):  # of a class with an evaluator of its own
        values["mix"] = Mix.from_plain(values["mix"])
    values |= {"space": space} | ({} if n_jobs is None else {"n_jobs": n_jobs})
    if ":" not in name:
        return _built(cls, _given(values), name)[0]
    given = arguments.get("given")
    if given is None:  # of a run before these were written: what problems have, as far as the constructor takes it
        given = values if _takes_everything(cls) else inspect.signature(cls).parameters
    problem, taken = _built(cls, _given({key: x for key, x in values.items() if key in given}), name, {"n_jobs"})
    problem.made_with = _plain(name, taken)
    return problem


def _check_file(name: str, arguments: Mapping[str, Any]) -> None:
    """ValueError where a class of one's own is not where it was when its run began; nothing is imported to find out."""
    home, again = name.rpartition(":")[0], "Run the command that started the run again: it continues"
    if home.endswith(".py") and not Path(home).resolve().is_relative_to(Path.cwd()):
        raise ValueError(
            f"its problem is {name}, outside the current directory: nothing is imported from there. {again}"
        )
    there = arguments.get("file")
    here = None if there is None else file_named(home)
    if there is not None and str(here) != there:
        where = "no file" if here is None else str(here)
        raise ValueError(
            f"its problem is {name} of {there}, and in this directory that name means {where}: nothing is imported. "
            f"Go to the directory where the run was started. {again}"
        )
