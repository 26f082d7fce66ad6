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

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from pymoo.core.problem import Problem

from dse.runs.problem_protocol import Evaluated

RESERVED = ("index", "generation", "source", "feasible")


class ProblemError(ValueError):
    """A problem's objectives or constraints are not what they should be; the message says which and for what design."""


class Columns:
    """Named columns with attribute access: ``m.latency_s`` is an array of shape (n,).

    Holds the metrics of the evaluator and, where no metric has the name, the parameters of the designs
    (``m.dram_gbps``).
    """

    def __init__(self, metrics: dict[str, np.ndarray], parameters: dict[str, np.ndarray]) -> None:
        self._columns = {**parameters, **metrics}

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._columns[name]
        except KeyError:
            raise AttributeError(f"no column {name!r}; the columns are {', '.join(sorted(self._columns))}") from None

    __getitem__ = __getattr__

    def __dir__(self) -> Iterable[str]:
        return sorted(self._columns)


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
    """

    objective_names: tuple[str, ...] = ()
    constraint_names: tuple[str, ...] = ()

    def __init__(self, evaluator: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], space: Any) -> None:
        for attribute in ("objective_names", "constraint_names"):
            names = getattr(self, attribute)
            if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
                raise ProblemError(f"{type(self).__name__}.{attribute} = {names!r}: give a tuple of names")
            if len(set(names)) != len(names):
                raise ProblemError(f"{type(self).__name__}.{attribute} = {names!r}: a name is listed twice")
            setattr(self, attribute, tuple(names))
        if not self.objective_names:
            raise ProblemError(f"{type(self).__name__} names no objective; set objective_names")
        if "fits" in self.constraint_names:
            raise ProblemError(f"{type(self).__name__}: the constraint 'fits' is there already; choose another name")
        taken = [name for name in self.objective_names if name in RESERVED or name in space.names]
        if taken:
            raise ProblemError(
                f"{type(self).__name__}: objective {taken[0]!r} is a column already; choose another name"
            )
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
        return tuple(getattr(m, name) for name in self.objective_names)

    def constraints(self, m: Columns) -> tuple[np.ndarray, ...]:
        """One array (n,) for each of `constraint_names`, feasible where <= 0: ``value / limit - 1``.  Override it."""
        return ()

    def evaluate_designs(self, X: np.ndarray) -> Evaluated:
        """Evaluate genes X (n, n_var): one call of the evaluator, then the hooks, checked."""
        X = self._genes(X)
        columns = self.space.columns(X)
        metrics = {}
        for name, values in self.evaluator(columns).items():
            metrics[name] = self._checked(values, "metric", name, X)
        if "overflow" not in metrics:
            raise ProblemError("the evaluator gives no column 'overflow' (0 where the network can run, else > 0)")
        clash = [name for name in metrics if name in RESERVED or name in self.space.names]
        if clash:
            raise ProblemError(f"the evaluator gives a metric named {clash[0]!r}, which is a column already")
        return self._judge(X, columns, metrics)

    def judge(self, X: np.ndarray, metrics: dict[str, np.ndarray]) -> Evaluated:
        """Objectives and constraints of designs X (n, n_var) whose metrics are known."""
        X = self._genes(X)
        return self._judge(X, self.space.columns(X), metrics)

    def _judge(self, X: np.ndarray, columns: dict[str, np.ndarray], metrics: dict[str, np.ndarray]) -> Evaluated:
        m = Columns(metrics, columns)
        F = self._stack("objective", self.objective_names, self.objectives(m), X)
        G = self._stack("constraint", self.constraint_names, self.constraints(m), X)
        for name, values in zip(self.objective_names, F.T, strict=True):
            if name in metrics and not np.array_equal(values, metrics[name]):
                raise ProblemError(
                    f"{type(self).__name__}: objective {name!r} has the name of a metric but other values; rename it"
                )
        return Evaluated(F, np.column_stack([metrics["overflow"], G]), metrics)

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
        if X.dtype.kind == "f":  # of an operator that works on floats
            X = np.rint(X)
        return np.clip(X.astype(np.int64), 0, self.xu.astype(np.int64))

    def _stack(self, kind: str, names: tuple[str, ...], values: Any, X: np.ndarray) -> np.ndarray:
        method = f"{type(self).__name__}.{kind}s()"
        if isinstance(values, np.ndarray) and values.ndim == 1 and len(names) == 1:
            raise ProblemError(f"{method} returned one array; return a tuple: (array,)")
        if not isinstance(values, tuple | list):
            raise ProblemError(f"{method} returned {type(values).__name__}, expected a tuple of arrays of shape (n,)")
        if len(values) != len(names):
            raise ProblemError(
                f"{method} returned {len(values)} arrays, but {kind}_names has {len(names)}: ({', '.join(names)})"
            )
        stacked = [self._checked(v, f"{method}:", name, X) for name, v in zip(names, values, strict=True)]
        return np.stack(stacked, axis=1) if stacked else np.empty((len(X), 0))

    def _checked(self, values: Any, kind: str, name: str, X: np.ndarray) -> np.ndarray:
        values = np.asarray(values)
        if values.shape != (len(X),):
            raise ProblemError(f"{kind} {name!r} has shape {values.shape}, expected (n,) = ({len(X)},)")
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):
            raise ProblemError(f"{kind} {name!r} holds {values.dtype} values, expected numbers") from None
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            first = wrong[0]
            design = ", ".join(f"{k}={v[first]}" for k, v in self.space.columns(X).items() if k in self.space.names)
            raise ProblemError(
                f"{kind} {name!r} is {values[first]} for {len(wrong)} of {len(X)} designs, first for {design}; give "
                "every design a finite number and grade what is infeasible by a constraint"
            )
        return values

    def describe(self) -> dict[str, Any]:
        """What distinguishes this problem from another but its model, for a run's manifest."""
        classes = [c for c in type(self).__mro__ if issubclass(c, AcceleratorProblem) and c is not AcceleratorProblem]
        return {
            "class": type(self).__qualname__,
            "objectives": list(self.objective_names),
            "constraints": list(self.constraint_labels),
            "attributes": self._attributes(classes),
        }

    def probe_values(self) -> dict[str, np.ndarray]:
        """What the model computes on fixed designs, by name; here nothing: the run's own log tells of a change."""
        return {}

    def _attributes(self, classes: list[type]) -> dict[str, Any]:
        """Public plain values set by the subclasses or on the instance, such as a limit."""
        own = {name for c in classes for name in vars(c)} | set(vars(self))
        own -= set(vars(Problem(n_var=1))) | {"objective_names", "constraint_names", "constraint_labels"}
        values = {name: getattr(self, name) for name in sorted(own) if not name.startswith("_")}
        plain = {}
        for name, value in values.items():
            if isinstance(value, np.ndarray | np.generic):
                value = value.tolist()
            if _is_plain(value) and name not in self.unidentified:
                plain[name] = list(value) if isinstance(value, tuple) else value
        return plain

    unidentified: tuple[str, ...] = ("n_jobs", "unidentified")
    """Attributes that cannot change a number."""


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(v) for v in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return value is None or isinstance(value, bool | int | float | str)
