"""What the search asks of a problem.  `dse` never imports `problems`; this protocol is all it knows of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dse.hardware.space import DesignSpace


@dataclass(frozen=True)
class Evaluated:
    """Designs after evaluation: n rows.

    Parameters
    ----------
    objectives : (n, m) float64, minimised.
    constraints : (n, c) float64, feasible where <= 0, scaled by their limits.
    metrics : name -> (n,) float64, every metric column of the evaluator.
    """

    objectives: np.ndarray
    constraints: np.ndarray
    metrics: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.objectives)

    @property
    def feasible(self) -> np.ndarray:
        """(n,) bool."""
        return np.all(self.constraints <= 0, axis=1)

    def rows(self, which: np.ndarray | slice) -> Evaluated:
        """The chosen rows."""
        metrics = {name: values[which] for name, values in self.metrics.items()}
        return Evaluated(self.objectives[which], self.constraints[which], metrics)

    @staticmethod
    def join(parts: list[Evaluated]) -> Evaluated:
        """One table out of several with the same columns, at least one."""
        if len(parts) == 1:
            return parts[0]
        return Evaluated(
            np.concatenate([p.objectives for p in parts]),
            np.concatenate([p.constraints for p in parts]),
            {name: np.concatenate([p.metrics[name] for p in parts]) for name in parts[0].metrics},
        )


class SearchProblem(Protocol):
    """A problem that `explore` can search; `problems.base.AcceleratorProblem` is one.

    It is a vectorised `pymoo.core.problem.Problem` as well, since pymoo's algorithms read its bounds and sizes.
    """

    space: DesignSpace
    n_var: int
    """Genes of a design."""
    xl: np.ndarray
    xu: np.ndarray
    """Least and greatest gene of each variable, (n_var,)."""
    objective_names: tuple[str, ...]
    constraint_labels: tuple[str, ...]
    """"fits" and the names of the user's constraints."""

    def evaluate_designs(self, X: np.ndarray) -> Evaluated:
        """Evaluate genes X (n, n_var) int64; any split into batches gives the same bits."""

    def judge(self, X: np.ndarray, metrics: dict[str, np.ndarray]) -> Evaluated:
        """Objectives and constraints of designs whose metrics are known already."""

    def describe(self) -> dict[str, Any]:
        """Everything that distinguishes this problem from another but its model, as JSON values."""

    def probe_values(self) -> dict[str, np.ndarray]:
        """What its model computes on fixed designs, by name: a changed model is noticed by them."""
