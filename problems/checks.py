"""What a problem is made of, checked once a run or once a batch: names of columns, arguments, what a hook returns.

Every error is one line that says what was got, for what, and what to write instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dse.costs.kernel_rows import mapper_mode
from dse.costs.parallel import checked_jobs
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology, technology_or_default
from dse.runs.column_dictionary import RECORD, name_fault


class ProblemError(ValueError):
    """A problem's objectives or constraints are not what they should be; the message says which and for what design."""


# ---------------------------------------------------------------------------------------------------------------------
# Arguments of constructors.


def checked_space(space: DesignSpace | None, default: Callable[[], DesignSpace] | None = None) -> DesignSpace:
    """The space, or what `default()` makes where it is None."""
    if space is None and default is not None:
        return default()
    if not isinstance(space, DesignSpace):
        raise ProblemError(
            f"space={short(space)}: give a DesignSpace, such as dse.small_space(), DesignSpace.from_toml(path) or "
            "DesignSpace({'rows': [8, 16], ...})"
        )
    return space


def checked_technology(technology: Technology | None) -> Technology:
    """The technology, 45 nm where it is None."""
    return _as_problem_error(technology_or_default, technology)


def check_mapping_arguments(
    n_jobs: int, mapping_objective: str, mapping_slack: float | str, latency_alone: str = ""
) -> None:
    """ProblemError where workers, what the mapper minimises, or its slack is not what a problem takes.

    `latency_alone` says why a problem takes no ``mapping_slack="none"``.
    """
    _as_problem_error(checked_jobs, n_jobs)
    if not (isinstance(mapping_slack, str) and mapping_slack == "none"):
        if mapping_slack is None:
            raise ProblemError("mapping_slack must be a number, at least 0, got None; 'none' looks for no energy")
        _as_problem_error(mapper_mode, mapping_objective, mapping_slack, "mapping_slack")
        return
    _as_problem_error(mapper_mode, mapping_objective, None)
    if mapping_objective != "latency":
        latency_alone = f"it looks for the least latency alone, and mapping_objective is {mapping_objective!r}"
    if latency_alone:
        raise ProblemError(f"mapping_slack='none': {latency_alone}; give a share, such as 0.01")


def _as_problem_error(function: Callable, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ValueError as error:
        raise ProblemError(str(error)) from None


def in_order(values: Any, what: str) -> tuple:
    """The values as a tuple; ProblemError for a text, a mapping, a set (which has no order) or no collection."""
    if isinstance(values, str | bytes | Mapping | set | frozenset) or not isinstance(values, Iterable):
        raise ProblemError(f"{what}={short(values)}: give a tuple or a list")
    return tuple(values)


def check_number(what: str, value: Any) -> None:
    """ProblemError unless the value is a finite number."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise ProblemError(f"{what} must be a number, got {short(value)}")


def short(value: Any) -> str:
    """A value in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ---------------------------------------------------------------------------------------------------------------------
# Names.


def checked_names(owner: str, attribute: str, names: Any) -> tuple[str, ...]:
    """Names of a class's objectives or constraints, fit to be columns of CSV files."""
    if not isinstance(names, tuple | list):
        raise ProblemError(f"{owner}.{attribute} = {short(names)}: give a tuple of names")
    for name in names:
        if fault := name_fault(name):
            raise ProblemError(
                f"{owner}.{attribute}: {short(name)} becomes a column of CSV files, but {fault}; rename it"
            )
    if len(set(names)) != len(names):
        raise ProblemError(f"{owner}.{attribute} = {names!r}: a name is listed twice")
    return tuple(names)


def check_objectives(owner: str, names: Iterable[str], parameters: Iterable[str]) -> None:
    """ProblemError where the name of an objective is that of another column."""
    for name in names:
        if what := _taken(name, parameters):
            raise ProblemError(f"{owner}: objective {name!r} {what}; choose another name")


def check_metrics(names: Iterable[Any], parameters: Iterable[str]) -> None:
    """ProblemError where an evaluator gives a metric whose name cannot be a column, or is that of another one."""
    for name in names:
        if fault := name_fault(name):
            raise ProblemError(
                f"the evaluator gives a metric named {short(name)}; it becomes a column of CSV files, but {fault}"
            )
        if what := _taken(name, parameters):
            raise ProblemError(f"the evaluator gives a metric named {name!r}, which {what}")


def _taken(name: str, parameters: Iterable[str]) -> str:
    """Whose column a name is already, in words: every run's, a parameter's, a constraint's; "" where no one's."""
    if name in RECORD or name in parameters:
        return "is a column already"
    return "is named as columns of constraints are" if name.startswith("constraint_") else ""


# ---------------------------------------------------------------------------------------------------------------------
# Values.

INSTEAD = {
    "constraint": "write value / limit - 1, which is at most 0 where feasible, such as m.power_w / 2.0 - 1",
    "objective": "give the number itself, which is minimised, such as m.power_w",
}
"""What to write instead of a comparison."""


def as_floats(values: Any, what: str, n: int) -> np.ndarray:
    """What a hook or an evaluator gave for n designs as a float64 array of its own, (n,); it may hold inf and nan.

    `what` begins the message of the ProblemError where the values are no n real numbers.
    """
    if type(values) is np.ndarray and values.dtype == np.float64 and values.shape == (n,):  # nearly always
        return values.copy()
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ProblemError(f"{what} is masked for {int(np.ma.count_masked(values))} of {n} designs; write .filled(...)")
    if hasattr(values, "to_numpy") and hasattr(values, "index") and list(values.index) != list(range(n)):
        raise ProblemError(
            f"{what} is a {type(values).__name__} whose index is not 0 to {n - 1}; give its values in the order of the "
            "designs: .to_numpy()"
        )
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ProblemError(f"{what} is no array of numbers: {error}") from None
    if array.shape != (n,):
        hint = "; one number for all designs is np.full_like(m.area_mm2, number)" if _is_number(values) else ""
        raise ProblemError(f"{what} has shape {array.shape}, expected (n,) = ({n},){hint}")
    kind = _kind(array)
    if kind not in "fiub":
        hint = "; take .real, or np.abs of it" if kind == "c" else ""
        of = {"c": "complex", "U": "text", "M": "time"}.get(kind, str(array.dtype))
        raise ProblemError(f"{what} holds {of} values, expected numbers{hint}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(np.float64)
    except OverflowError:
        raise ProblemError(f"{what} holds a whole number too large for a float, above 1.8e308") from None
    except (TypeError, ValueError):
        raise ProblemError(f"{what} holds {array.dtype} values, expected numbers") from None


def is_true_or_false(values: Any) -> bool:
    """Whether a hook gave the outcome of a comparison, as an array, a list, or one value for all designs."""
    if isinstance(values, bool | np.bool_):
        return True
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        return False
    return _kind(array) == "b"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.generic)


def _kind(array: np.ndarray) -> str:
    """Kind of the numbers: numpy's letter; of objects the least numeric that one of them is; "f" where they are none
    of these, and `float` decides."""
    if array.dtype.kind == "m":
        return "M"
    if array.dtype.kind in "SU":
        return "U"
    if array.dtype.kind != "O":
        return array.dtype.kind
    kinds = {"U": str | bytes, "M": np.datetime64 | np.timedelta64, "c": complex | np.complexfloating,
             "b": bool | np.bool_}  # fmt: skip
    for kind, types in kinds.items():
        if any(isinstance(value, types) for value in array.ravel().tolist()):
            return kind
    return "f"


def why_infinite(values: Any) -> str:
    """Words on an overflow, where the numbers are of a type that ends before a float64 does; else ""."""
    dtype = getattr(values, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.kind != "f" or dtype == np.float64:
        return ""
    if dtype.itemsize < 8:
        return f"{dtype} ends at {float(np.finfo(dtype).max):.2g}: compute in float64; "
    return "float64 ends at 1.8e308; "


def read_only(values: np.ndarray) -> np.ndarray:
    """A view of an array that cannot be written through."""
    view = np.asarray(values).view()
    view.flags.writeable = False
    return view
