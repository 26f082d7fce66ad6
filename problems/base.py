"""`AcceleratorProblem`: designs in, objectives and constraints out, checked.

Write a new problem by subclassing and naming what is minimised:

    class EnergyDelayUnderPower(SingleDNN):
        '''EDP [J s] and area [mm2], average power under a cap [W].'''
        objective_names = ("edp_js", "area_mm2")
        constraint_names = ("power",)
        power_limit_w = 2.0

        def objectives(self, m):
            return m.energy_j * m.latency_s, m.area_mm2

        def constraints(self, m):
            return (m.energy_j / m.latency_s / self.power_limit_w - 1.0,)

Every objective is minimised.  To maximise a quantity minimise its inverse (``1 / throughput``; it stays positive,
so convergence can be compared on a log scale) or its negative.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from pymoo.core.problem import Problem

from dse.costs.kernel_rows import DEFAULT_SLACK
from dse.costs.results import OF_ENERGY
from dse.hardware.accelerator import OPERAND_NAMES
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.runs.column_dictionary import DERIVED
from dse.runs.identity import of_technology, technology_of
from dse.runs.problem_protocol import Evaluated

from .checks import (
    INSTEAD,
    ProblemError,
    as_floats,
    check_metrics,
    check_number,
    check_objectives,
    checked_names,
    checked_space,
    is_true_or_false,
    read_only,
    why_infinite,
)
from .derived import named_column

__all__ = ["AcceleratorProblem", "Columns", "ProblemError"]


NOT_OF_ONES_OWN = {"objective_names", "constraint_names", "constraint_labels", "made_with", "limits"}
"""Attributes of a problem that are told apart, or not at all."""


class Columns:
    """Named columns with attribute access: ``m.latency_s`` is an array of shape (n,).

    Holds the metrics of the evaluator and the parameters of the designs (``m.dram_gbps``).  They cannot be changed:
    the arrays are read-only, and a new value needs a name of its own (``latency_ms = m.latency_s * 1e3``).
    """

    _metrics: Mapping[str, np.ndarray]
    _parameters: Mapping[str, np.ndarray] | Callable[[], Mapping[str, np.ndarray]]

    def __init__(
        self,
        metrics: Mapping[str, np.ndarray],
        parameters: Mapping[str, np.ndarray] | Callable[[], Mapping[str, np.ndarray]],
    ) -> None:
        object.__setattr__(self, "_metrics", metrics)
        object.__setattr__(self, "_parameters", parameters)  # or what makes them, when one is asked for

    def _all(self) -> dict[str, np.ndarray]:
        parameters = self._parameters
        if callable(parameters):
            parameters = parameters()
            object.__setattr__(self, "_parameters", parameters)
        return {**parameters, **self._metrics}

    def __getattr__(self, name: str) -> np.ndarray:
        if name in ("_metrics", "_parameters") or (isinstance(name, str) and name.startswith("__")):
            raise AttributeError(name)
        columns = self._metrics if name in self._metrics else self._all()
        if name not in columns:
            if name in OF_ENERGY:
                raise AttributeError(f"no column {name!r}: with mapping_slack 'none' the mapper looks for no energy")
            raise AttributeError(f"no column {name!r}; the columns are {', '.join(sorted(columns))}")
        return read_only(columns[name])

    __getitem__ = __getattr__

    def __setattr__(self, name: str, value: object) -> None:
        raise ProblemError(f"the column {name!r} is read-only and cannot be set")

    __setitem__ = __setattr__

    def __delattr__(self, name: str) -> None:
        raise ProblemError(f"the column {name!r} is read-only and cannot be deleted")

    __delitem__ = __delattr__

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __dir__(self) -> Iterable[str]:
        return sorted(self._all())


class AcceleratorProblem(Problem):
    """A search problem over hardware designs, evaluated a whole population at once.

    Parameters
    ----------
    evaluator : takes the parameter columns of n designs (dict of (n,) arrays), gives metric columns (dict of (n,)
        float64, all finite), among them ``overflow``: 0 where the network can run, else bytes over / capacity.
    space : the `DesignSpace`; genes are its level indices.

    Class attributes that a subclass declares
    -----------------------------------------
    objective_names : what is minimised, with units in the names; they become columns of the CSV files.
    constraint_names : names of the constraints, at most 0 where feasible, scaled by their limits.  The
        constraint "fits" (the network can run) always comes before them.

    What `objectives` and `constraints` return for a design follows from its own columns alone: real numbers, all
    finite, no comparisons.  Names are texts that a CSV file can hold, and of no other column.
    """

    objective_names: tuple[str, ...] = ()
    constraint_names: tuple[str, ...] = ()

    def __init__(self, evaluator: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], space: DesignSpace) -> None:
        owner = type(self).__name__
        for attribute in ("objective_names", "constraint_names"):
            setattr(self, attribute, checked_names(owner, attribute, getattr(self, attribute)))
        if not self.objective_names:
            raise ProblemError(f"{owner} names no objective; set objective_names")
        if "fits" in self.constraint_names:
            raise ProblemError(f"{owner}: the constraint 'fits' is there already; choose another name")
        space = checked_space(space)
        if not callable(evaluator):
            raise ProblemError(f"{owner}: the evaluator must be a function of parameter columns, got {evaluator!r}")
        self._parameters = frozenset(space.columns(np.zeros((1, space.n_var), dtype=np.int64)))
        self._metric_names: tuple[str, ...] = ()
        self._rows_are_alone = False
        self._needs_energy: bool | None = None
        self.limits: dict[str, float] = {}
        check_objectives(owner, self.objective_names, self._parameters)
        self.space = space
        self.evaluator = evaluator
        self.constraint_labels = ("fits", *self.constraint_names)
        super().__init__(
            n_var=space.n_var,
            n_obj=len(self.objective_names),
            n_ieq_constr=len(self.constraint_labels),
            xl=np.zeros(space.n_var),
            xu=np.asarray(space.n_levels, dtype=float) - 1,
            vtype=int,
        )

    def objectives(self, m: Columns) -> tuple[np.ndarray, ...]:
        """One array (n,) for each of `objective_names`, minimised.  Override it; here: the columns of those names."""
        try:
            return tuple(m[name] for name in self.objective_names)
        except AttributeError as error:
            raise ProblemError(f"{type(self).__name__}.objectives() computes nothing itself: {error}") from None

    def constraints(self, m: Columns) -> tuple[np.ndarray, ...]:
        """One array (n,) for each of `constraint_names`, feasible where <= 0: ``value / limit - 1``.  Override it."""
        return ()

    def evaluate_designs(self, X: np.ndarray) -> Evaluated:
        """Evaluate genes X (n, n_var): one call of the evaluator, then the hooks, checked."""
        X = self._genes(X)
        found = self.evaluator(self.space.columns(X))
        if not hasattr(found, "items"):
            raise ProblemError(
                f"the evaluator of {type(self).__name__} returned {type(found).__name__}, expected a dict of metrics "
                "by name, each an array (n,)"
            )
        metrics = self._checked_metrics(dict(found.items()), X)
        rows = self._judge(X, metrics)
        if not self._rows_are_alone and len(X) > 1:
            self._check_rows_alone(X, rows)
            self._rows_are_alone = True
        return rows

    bounds_hold: bool | None = None
    """Whether `objectives` and `constraints` of a class of one's own never fall where a metric that they read rises.

    Their values at the lower bounds of latency, energy and area are then bounds of theirs, and `explore` leaves out
    designs that these show dominated.  None: only hooks that ship are known to be so.
    """
    unbounded_since: str = ""
    """Why `lower_bounds` knows none, in words; "" where it does, or was not asked."""

    def lower_bounds(self, X: np.ndarray) -> Evaluated | None:
        """Objectives and constraints that no mapping of the designs X (n, n_var) makes better, some microseconds each.

        None where no bounds are known: `unbounded_since` then says why.
        """
        if self._needs_energy is None:
            self._needs_energy, self.unbounded_since = self._look_for_bounds(X[:1])
        if self.unbounded_since:
            return None
        return self._bounded(X, self._needs_energy)

    def no_worse(self, X: np.ndarray) -> np.ndarray:
        """Genes (n, n_var) of designs that are no worse than X in any objective: what only costs is at its least.

        Ports that count bytes are as fast with one bank, and each further bank takes area.  So it is for the least
        latency; the mapper, which looks for least energy within its slack, may end elsewhere in that.
        """
        settled = self._settled() if self.lower_bounds(X[:1]) is not None else []
        if not settled:
            return X
        X = X.copy()
        X[:, settled] = 0
        return X

    def _settled(self) -> list[int]:
        """Variables, their least level first, of which more than the least never helps."""
        base, names = self.space.base, self.space.names
        read = {*self.objective_names, *self.limits}
        if (
            self.bounds_hold is not None
            or self._needs_energy
            or getattr(self, "mapping_objective", "") != "latency"
            or any(name.removeprefix("core_").split("_")[0] not in ("latency", "cycles", "area") for name in read)
            or any(name.startswith("area_") and name not in ("area_mm2", "area_delay_mm2_s") for name in read)
            or base.port_model != "bytes"
            or "port_model" in names
        ):
            return []
        banks = [f"{operand}_buffer_banks" for operand in OPERAND_NAMES.values()]
        return [at for at, variable in enumerate(self.space.variables)
                if variable.name in banks and not variable.is_category]  # fmt: skip

    def _look_for_bounds(self, X: np.ndarray) -> tuple[bool, str]:
        """Whether the bounds read energies, and why there are none ("" where there are)."""
        owner = type(self).__name__
        shipped = all(getattr(type(self), hook).__module__.partition(".")[0] == __name__.partition(".")[0]
                      for hook in ("objectives", "constraints"))  # fmt: skip
        if not hasattr(self.evaluator, "bounds"):
            return False, f"the evaluator of {owner} gives no bounds"
        if self.bounds_hold is False or (self.bounds_hold is None and not shipped):
            return False, f"{owner} does not declare by bounds_hold = True that bounds of its metrics bound it"
        reason = ""
        for energy in (False, True):
            try:
                self._bounded(X, energy)
            except (AttributeError, ProblemError) as error:
                reason = f"{owner} reads what has no bound ({str(error).split(';')[0]})"
            else:
                return energy, ""
        return False, reason

    def _bounded(self, X: np.ndarray, energy: bool) -> Evaluated:
        """Objectives and constraints at the bounds of the metrics."""
        columns = self.space.columns(X)
        metrics = self.evaluator.bounds(columns, energy)  # type: ignore[attr-defined]  # `_look_for_bounds` asked
        metrics = {"overflow": np.zeros(len(X)), **metrics}
        m = Columns(metrics, columns)
        F = self._stack("objective", self.objective_names, m, X)
        G = self._stack("constraint", self.constraint_names, m, X)
        return Evaluated(F, np.column_stack([metrics["overflow"], G, self._over_limits(m, F, known=False)]), metrics)

    def with_limits(self, limits: Mapping[str, float]) -> Self:
        """The same problem with a cap on each of these metrics, a constraint ``NAME_limit``: value / limit - 1.

        Parameters
        ----------
        limits : positive numbers by name of a metric, of an objective, or of one of
            `dse.runs.column_dictionary.DERIVED`, in the unit of its name.

        Raises ProblemError for a name that is none of these, and says which is nearest.
        """
        if not isinstance(limits, Mapping):
            raise ProblemError(
                f"limits: give numbers by name of a metric, such as {{'latency_s': 0.02}}, got {limits!r}"
            )
        other = copy.copy(self)
        other.limits = {**self.limits, **{str(name): limit for name, limit in limits.items()}}
        known = sorted({*self._limitable(), *self.objective_names})
        for name, limit in other.limits.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.0)
                raise ProblemError(
                    f"limits: unknown metric {name!r}; the nearest is {near[0]!r}, of {', '.join(known)}"
                )
            check_number(f"the limit of {name}", limit)
            if limit <= 0:
                raise ProblemError(f"the limit of {name} must be above 0, got {limit!r}")
            other.limits[name] = float(limit)
        other.constraint_labels = ("fits", *self.constraint_names, *(f"{name}_limit" for name in other.limits))
        if len(set(other.constraint_labels)) < len(other.constraint_labels):
            raise ProblemError(f"{type(self).__name__} has a constraint of the name of a limit already; rename it")
        other.n_ieq_constr = len(other.constraint_labels)
        other._needs_energy, other.unbounded_since = None, ""
        return other

    def _limitable(self) -> list[str]:
        """Names of the metrics of a design, those that can be derived from them too."""
        X = np.zeros((1, self.n_var), dtype=np.int64)
        metrics = self.evaluate_designs(X).metrics
        m = Columns(metrics, {})
        found = [name for name in metrics if name != "overflow"]
        for name in DERIVED:
            with contextlib.suppress(AttributeError):
                named_column(name, m)
                found.append(name)
        return found

    def _over_limits(self, m: Columns, F: np.ndarray, known: bool = True) -> np.ndarray:
        """Value / limit - 1 of each limit, (n, limits); at bounds (not `known`) -1 where a metric has none."""
        found = np.full((len(F), len(self.limits)), -1.0)
        for at, (name, limit) in enumerate(self.limits.items()):
            if name in self.objective_names:
                found[:, at] = F[:, self.objective_names.index(name)] / limit - 1
                continue
            try:
                found[:, at] = named_column(name, m) / limit - 1
            except AttributeError:
                if known:
                    raise
        return found

    def with_effort(self, effort: str) -> Self:
        """The same problem, its evaluator with another effort of the mapper: ``"complete"``, see `dse.evaluate`.

        ProblemError where there is no mapper to ask: the mapping is frozen, or the evaluator is of one's own and has no
        `with_effort`.
        """
        change = getattr(self.evaluator, "with_effort", None)
        if change is None:
            raise ProblemError(
                f"the evaluator of {type(self).__name__} knows no effort of the mapper: give it a method "
                "with_effort(effort) that returns such an evaluator, or use dse.BatchEvaluator, which has one"
            )
        other = copy.copy(self)
        try:
            other.evaluator = change(effort)
        except ValueError as error:
            raise ProblemError(f"{type(self).__name__}: {error}") from None
        return other

    def with_technology(self, technology: Technology) -> Self:
        """The same problem with other constants.

        ProblemError where the evaluator is of one's own and has no `with_technology`.
        """
        change = getattr(self.evaluator, "with_technology", None)
        if change is None:
            raise ProblemError(
                f"the evaluator of {type(self).__name__} knows no technology: give it a method "
                "with_technology(technology) that returns such an evaluator, or use dse.BatchEvaluator, which has one"
            )
        other = copy.copy(self)
        other.evaluator = change(technology)
        if hasattr(self, "technology"):
            other.technology = technology
        return other

    def with_energy(self) -> Self | None:
        """The same problem with energies, where ``mapping_slack="none"`` leaves them out; else None.

        Its mappings are those of least energy within `DEFAULT_SLACK` of the least latency, so their latency is another,
        mostly by less than that; the default effort may find a shorter one where it looks for energy too.
        """
        if getattr(self, "mapping_slack", None) != "none" or not hasattr(self.evaluator, "with_slack"):
            return None
        other = copy.copy(self)
        other.evaluator = self.evaluator.with_slack(DEFAULT_SLACK)
        return other

    def judge(self, X: np.ndarray, metrics: dict[str, np.ndarray]) -> Evaluated:
        """Objectives and constraints of designs X (n, n_var) whose metrics are known."""
        X = self._genes(X)
        return self._judge(X, self._checked_metrics(metrics, X))

    def _checked_metrics(self, given: dict[str, Any], X: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics as arrays of this problem's own."""
        if "overflow" not in given:
            raise ProblemError("the evaluator gives no column 'overflow' (0 where the network can run, else > 0)")
        if tuple(given) != self._metric_names:
            check_metrics(given, self._parameters)
            self._metric_names = tuple(given)
        return {name: self._finite(values, f"metric {name!r}", X) for name, values in given.items()}

    def _judge(self, X: np.ndarray, metrics: dict[str, np.ndarray]) -> Evaluated:
        m = Columns(metrics, lambda: self.space.columns(X))
        F = self._stack("objective", self.objective_names, m, X)
        G = self._stack("constraint", self.constraint_names, m, X)
        for name, values in zip(self.objective_names, F.T, strict=True):
            if name in metrics and not np.array_equal(values, metrics[name]):
                raise ProblemError(
                    f"{type(self).__name__}: objective {name!r} has the name of a metric but other values; rename it"
                )
        return Evaluated(F, np.column_stack([metrics["overflow"], G, self._over_limits(m, F)]), metrics)

    def _check_rows_alone(self, X: np.ndarray, whole: Evaluated) -> None:
        """ProblemError where a design's numbers depend on the other designs of its batch, or on chance.

        Such numbers, as ``m.latency_s / m.latency_s.max()``, mean something else in every generation.  Rounding may
        differ: products of matrices depend on their shape in the last digit.
        """
        half = len(X) // 2
        parts = [whole.rows(slice(None, half)), whole.rows(slice(half, None))]
        again = Evaluated.join(
            [self._judge(x, part.metrics) for x, part in zip((X[:half], X[half:]), parts, strict=True)]
        )
        for kind, names, a, b in (
            ("objective", self.objective_names, whole.objectives, again.objectives),
            ("constraint", self.constraint_labels, whole.constraints, again.constraints),
        ):
            room = 1e-6 * np.abs(b) + 1e-9 * np.abs(a).max(axis=0)
            wrong = np.flatnonzero((np.abs(a - b) > room).any(axis=0))
            if len(wrong):
                raise ProblemError(
                    f"{type(self).__name__}.{kind}s(): {names[wrong[0]]!r} of a design depends on the other designs of "
                    "its batch, or on chance; compute it from the design's own columns: no maximum, mean, rank or "
                    "random number over the batch"
                )

    def _evaluate(self, X: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        rows = self.evaluate_designs(X)
        out["F"], out["G"] = rows.objectives, rows.constraints
        out.update(rows.metrics)

    def _genes(self, X: np.ndarray) -> np.ndarray:
        X = np.atleast_2d(np.asarray(X))
        if X.ndim != 2 or X.shape[1] != self.n_var:
            raise ProblemError(
                f"got genes of shape {X.shape}, expected (n, n_var) = (n, {self.n_var}): one level index for each of "
                f"{', '.join(self.space.names)}"
            )
        if X.dtype.kind == "O":
            try:
                X = X.astype(float)
            except (TypeError, ValueError):
                raise ProblemError("got genes that are no numbers, expected level indices") from None
        if X.dtype.kind == "f":  # of an operator that works on real numbers: the nearest level
            if not np.isfinite(X).all():
                raise ProblemError("got genes that are not finite, expected level indices")
            return np.clip(np.rint(X), 0, self.xu).astype(np.int64)
        return self.space.validate(X)

    def _stack(self, kind: str, names: tuple[str, ...], m: Columns, X: np.ndarray) -> np.ndarray:
        """What the hook gives for each of the names, (n, names), checked."""
        owner = type(self).__name__
        method = f"{owner}.{kind}s()"
        try:
            values = self.objectives(m) if kind == "objective" else self.constraints(m)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise ProblemError(
                f"{method} changes a column in place ({error}), and the columns are the run's; make a new array: write "
                "lat = m.latency_s * 1e3, not lat = m.latency_s; lat *= 1e3"
            ) from error
        if isinstance(values, np.ndarray) and values.ndim == 1 and len(names) == 1:
            raise ProblemError(f"{method} returned one array; return a tuple: (array,)")
        if not isinstance(values, tuple | list):
            raise ProblemError(f"{method} returned {type(values).__name__}, expected a tuple of arrays of shape (n,)")
        if len(values) != len(names):
            raise ProblemError(
                f"{method} returned {len(values)} arrays, but {kind}_names has {len(names)}: ({', '.join(names)})"
            )
        stacked = []
        for name, value in zip(names, values, strict=True):
            if is_true_or_false(value):
                raise ProblemError(f"{kind} {name!r} of {owner} is True/False; {INSTEAD[kind]}")
            stacked.append(self._finite(value, f"{method}: {name!r}", X))
        return np.stack(stacked, axis=1) if stacked else np.empty((len(X), 0))

    def _finite(self, values: Any, what: str, X: np.ndarray) -> np.ndarray:
        """The values as an array of their own, (n,) float64, all finite."""
        floats = as_floats(values, what, len(X))
        finite = np.isfinite(floats)
        if not finite.all():
            wrong = np.flatnonzero(~finite)
            first = wrong[0]
            design = ", ".join(f"{k}={v[first]}" for k, v in self.space.columns(X).items() if k in self.space.names)
            raise ProblemError(
                f"{what} is {floats[first]} for {len(wrong)} of {len(X)} designs, first for {design}; "
                f"{why_infinite(values)}give every design a finite number and grade what is infeasible by a constraint"
            )
        return floats

    def describe(self) -> dict[str, Any]:
        """What distinguishes this problem from another but its model, for a run's manifest."""
        classes = [c for c in type(self).__mro__ if issubclass(c, AcceleratorProblem) and c is not AcceleratorProblem]
        return {
            "class": type(self).__qualname__,
            "objectives": list(self.objective_names),
            "constraints": list(self.constraint_labels),
            "attributes": self._attributes(classes),
            **({"limits": self.limits} if self.limits else {}),
        }

    def probe_values(self) -> dict[str, np.ndarray]:
        """What the model computes on fixed designs, by name; here nothing: the run's own log tells of a change."""
        return {}

    kind: str = ""
    """Name of the class for ``--problem``; only classes that ship have one."""
    made_with: dict[str, Any] | None = None
    """How a command line made an instance of a class of one's own, so that `resume` makes it again; JSON values."""

    def own_arguments(self) -> dict[str, Any] | None:
        """Arguments of the constructor that make this problem again, as JSON values; None where names do not suffice.

        Those that most constructors share are not among them: see `rebuild`.
        """
        return None

    @classmethod
    def arguments_of(cls, plain: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the constructor from what `rebuild` gave."""
        found = dict(plain)
        if found.get("technology") is not None:
            found["technology"] = technology_of(found["technology"])
        for name in ("objectives", "weights", "widths"):
            if found.get(name) is not None:
                found[name] = tuple(found[name])
        return found

    def rebuild(self) -> dict[str, Any] | None:
        """Name of the class and arguments from which `resume` makes this problem again, as JSON values.

        None for a class of one's own that no command line named, and for what is not known by name or path.
        """
        if self.made_with is not None:
            return dict(self.made_with)
        name = vars(type(self)).get("kind")
        own = self.own_arguments() if name else None
        if own is None:
            return None
        shared = {key: getattr(self, key) for key in ("mapping_objective", "mapping_slack", "n_jobs", "batch", "dims")
                  if hasattr(self, key)}  # fmt: skip
        if isinstance(technology := getattr(self, "technology", None), Technology):
            shared["technology"] = of_technology(technology)
        if self.takes_objectives():
            shared["objectives"] = list(self.objective_names)
        return {"problem": name, **own, **shared}

    def takes_objectives(self) -> bool:
        """Whether the constructor takes names of objectives: not where a class defines its own."""
        home = next((c for c in type(self).__mro__ if issubclass(c, AcceleratorProblem) and vars(c).get("kind")), None)
        takes = "objectives" in inspect.signature(type(self)).parameters
        return takes and home is not None and type(self).objectives is home.objectives

    def _attributes(self, classes: list[type]) -> dict[str, Any]:
        """Public plain values set by the subclasses or on the instance, such as a limit."""
        own = {name for c in classes for name in vars(c)} | set(vars(self))
        own -= set(vars(Problem(n_var=1))) | NOT_OF_ONES_OWN
        values = {name: getattr(self, name) for name in sorted(own) if not name.startswith("_")}
        plain = {}
        for name, value in values.items():
            if isinstance(value, np.ndarray | np.generic):
                value = value.tolist()
            if _is_plain(value) and name not in self.unidentified:
                plain[name] = list(value) if isinstance(value, tuple) else value
        return plain

    unidentified: tuple[str, ...] = ("n_jobs", "unidentified", "kind", "made_with", "bounds_hold", "unbounded_since")
    """Attributes that cannot change a number."""


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(v) for v in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return value is None or isinstance(value, bool | int | float | str)
