"""pymoo operators on genes that are level indices, and the algorithms that work with them.

A gene is the index of a level: ordered for numbers, unordered for categories.  Uniform crossover and a step
mutation need no more than that, never leave the levels, and use no floating-point powers, so a seed gives the
same designs on every machine.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
from pymoo.algorithms.moo.age import AGEMOEA
from pymoo.algorithms.moo.ctaea import CTAEA
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.algorithms.moo.unsga3 import UNSGA3
from pymoo.core.algorithm import Algorithm
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.util.ref_dirs import get_reference_directions

from dse.runs.problem_protocol import SearchProblem

ALGORITHMS = ("nsga2", "nsga3", "unsga3", "smsemoa", "agemoea", "spea2", "ctaea", "random")
"""Names that `explore(algorithm=...)` knows.  MOEA/D is not among them: pymoo's takes no constraints.
RVEA neither: it has to know its number of generations beforehand."""

_CLASSES = {
    "nsga2": NSGA2, "nsga3": NSGA3, "unsga3": UNSGA3, "smsemoa": SMSEMOA, "agemoea": AGEMOEA, "spea2": SPEA2,
    "ctaea": CTAEA,
}  # fmt: skip

SHUFFLE_LIMIT = 2_000_000
"""Spaces up to this size are sampled from a shuffled list of all designs."""


def keys(X: np.ndarray) -> list[bytes]:
    """The identity of each design: the bytes of its row of genes (n, n_var) int64."""
    X = np.ascontiguousarray(X, dtype=np.int64)
    data, width = X.tobytes(), 8 * X.shape[1]
    return [data[i : i + width] for i in range(0, len(data), width)]


class UniformSampler:
    """Designs drawn uniformly from the box of levels, never the same twice.

    Parameters
    ----------
    n_levels : (n_var,) levels of each variable.
    rng : generator that is used up by this sampler alone.
    """

    def __init__(self, n_levels: np.ndarray, rng: np.random.Generator) -> None:
        self.n_levels = np.asarray(n_levels, dtype=np.int64)
        self.rng = rng
        self.size = int(np.prod(self.n_levels.astype(object)))
        self.seen: set[bytes] = set()
        self._order = rng.permutation(self.size) if self.size <= SHUFFLE_LIMIT else None
        self._next = 0

    def draw(self, n: int) -> np.ndarray:
        """The next n designs (fewer when the space is exhausted), (n, n_var) int64."""
        if self._order is not None:
            chosen = self._order[self._next : self._next + n]
            self._next += len(chosen)
            genes = np.unravel_index(chosen, tuple(self.n_levels.tolist()))
            return np.stack(genes, axis=1).astype(np.int64).reshape(len(chosen), len(self.n_levels))
        rows: list[np.ndarray] = []
        n = min(n, self.size - len(self.seen))
        while len(rows) < n:
            X = self.rng.integers(0, self.n_levels, size=(n - len(rows), len(self.n_levels)))
            for row, key in zip(X, keys(X), strict=True):
                if key not in self.seen:
                    self.seen.add(key)
                    rows.append(row)
        return np.array(rows, dtype=np.int64).reshape(n, len(self.n_levels))


class UniqueSampling(Sampling):
    """Initial population: the given designs first, then uniform ones, none twice.

    Parameters
    ----------
    first : (k, n_var) designs of a warm start.
    """

    def __init__(self, first: np.ndarray | None = None) -> None:
        super().__init__()
        self.first = first

    def _do(self, problem: SearchProblem, n_samples: int, *args, random_state=None, **kwargs) -> np.ndarray:
        X = np.empty((0, problem.n_var), dtype=np.int64)
        if self.first is not None:
            X = new_designs(problem.space.canonical(self.first), set())[:n_samples]
        sampler, known = UniformSampler(_levels(problem), random_state), set(keys(X))
        while len(X) < n_samples and len(drawn := sampler.draw(n_samples - len(X))):
            X = np.concatenate([X, new_designs(problem.space.canonical(drawn), known)])
        return X


def new_designs(X: np.ndarray, known: set[bytes]) -> np.ndarray:
    """Rows of X that are not `known`, each once; they are known then."""
    kept = []
    for i, key in enumerate(keys(X)):
        if key not in known:
            known.add(key)
            kept.append(i)
    return X[kept]


class CanonicalGenes(Repair):
    """One choice of genes for each design.

    Parameters
    ----------
    canonical : makes it of genes (n, n_var); default `DesignSpace.canonical`.
    """

    def __init__(self, canonical: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        super().__init__()
        self.canonical = canonical

    def _do(self, problem: SearchProblem, X: np.ndarray, **kwargs) -> np.ndarray:
        return problem.space.canonical(X) if self.canonical is None else self.canonical(X)


class UniformCrossover(Crossover):
    """Two children of two parents; each gene goes to one child or the other with equal chance.

    Half of the pairs (`prob`) cross; the children of the others are copies that only mutate, small steps from a parent.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=prob)

    def _do(self, problem: SearchProblem, X: np.ndarray, *args, random_state=None, **kwargs) -> np.ndarray:
        swap = random_state.random(X.shape[1:]) < 0.5
        return np.stack([np.where(swap, X[1], X[0]), np.where(swap, X[0], X[1])])


class StepMutation(Mutation):
    """Ordered genes take a step up or down, categories are drawn anew; at least one gene a design.

    The length of a step is geometric: 1 level with probability `decay`, 2 with (1 - decay) decay, and so on.
    A step that would leave the levels goes the other way, as far as there is room.

    Parameters
    ----------
    prob_var : chance that a gene mutates; default 1 / n_var.
    decay : 0 .. 1, larger means shorter steps.
    """

    def __init__(self, prob_var: float | None = None, decay: float = 0.8) -> None:
        super().__init__(prob=1.0, prob_var=prob_var)
        if not 0 < decay <= 1:
            raise ValueError(f"StepMutation: decay must be above 0 and at most 1, got {decay!r}")
        self.decay = decay

    def _do(self, problem: SearchProblem, X: np.ndarray, *args, random_state=None, **kwargs) -> np.ndarray:
        levels, category = _levels(problem), _categories(problem)
        n, n_var = X.shape
        chance = 1 / n_var if self.prob_var is None else float(self.prob_var.value)
        mutated = random_state.random((n, n_var)) < chance
        mutated[np.arange(n), random_state.integers(0, n_var, n)] |= ~mutated.any(axis=1)
        step = random_state.geometric(self.decay, (n, n_var)) * random_state.choice((-1, 1), (n, n_var))
        there, back = X + step, X - step
        outside = (there < 0) | (there >= levels)
        moved = np.clip(np.where(outside, back, there), 0, levels - 1)
        moved = np.where(moved == X, np.clip(there, 0, levels - 1), moved)  # no room on the other side
        # a category becomes any other level with equal chance
        other = (X + 1 + (random_state.random((n, n_var)) * np.maximum(levels - 1, 1)).astype(np.int64)) % levels
        return np.where(mutated, np.where(category, other, moved), X)


class SeenElimination(DuplicateElimination):
    """Drops designs that repeat each other, the population, or anything in `seen`.

    With `seen` the keys of all evaluated designs, every child costs one unit of the budget of unique
    evaluations, and a design that died is not tried again.
    """

    def __init__(self, seen: set[bytes] | dict[bytes, int] | None = None) -> None:
        super().__init__()
        self.seen = {} if seen is None else seen

    def do(self, pop, *args, return_indices=False, to_itself=True):
        taken: set[bytes] = set()
        for other in args:
            if len(other):
                taken.update(keys(_genes(other)))
        unique, repeated = [], []
        for i, key in enumerate(keys(_genes(pop)) if len(pop) else []):
            if key in taken or key in self.seen:
                repeated.append(i)
                continue
            unique.append(i)
            if to_itself:
                taken.add(key)
        kept = pop[unique] if repeated else pop
        return (kept, unique, repeated) if return_indices else kept


def binary_tournament(pop: Population, P: np.ndarray, algorithm=None, random_state=None, **kwargs) -> np.ndarray:
    """NSGA-II's tournament on all pairs P (n, 2) at once: violation, then domination, then crowding, then chance.

    The same rule as pymoo's own (Deb et al., IEEE Trans. Evol. Comp. 6(2), 2002), without its loop.
    """
    violation = np.array([individual.CV[0] for individual in pop])
    F = np.array([individual.F for individual in pop])
    crowding = np.array([individual.data.get("crowding", 0.0) for individual in pop], dtype=np.float64)
    a, b = P[:, 0], P[:, 1]
    both_feasible = (violation[a] <= 0) & (violation[b] <= 0)
    better = np.where(both_feasible, 0.0, violation[b] - violation[a])
    less, more = (F[a] < F[b]).any(axis=1), (F[a] > F[b]).any(axis=1)
    better = np.where(both_feasible, less.astype(float) - more, better)
    closer = (crowding[a] > crowding[b]).astype(float) - (crowding[a] < crowding[b])
    better = np.where(both_feasible & (better == 0), closer, better)
    coin = random_state.random(len(P)) < 0.5
    return np.where((better > 0) | ((better == 0) & coin), a, b)[:, None].astype(int)


def make_algorithm(
    name: str,
    population: int,
    n_objectives: int,
    *,
    first: np.ndarray | None = None,
    seen: set[bytes] | dict[bytes, int] | None = None,
    canonical: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Algorithm:
    """A fresh pymoo algorithm with the operators of this module.

    Parameters
    ----------
    name : one of `ALGORITHMS` but "random", which needs no algorithm.
    population : individuals [1].
    n_objectives : the reference directions of NSGA-III and C-TAEA depend on it.
    first : designs to start with, see `UniqueSampling`.
    seen : see `SeenElimination`.
    canonical : see `CanonicalGenes`.
    """
    seen = {} if seen is None else seen
    operators = {
        "sampling": UniqueSampling(first),
        "crossover": UniformCrossover(),
        "mutation": StepMutation(),
        "eliminate_duplicates": SeenElimination(seen),
        "repair": CanonicalGenes(canonical),
    }
    if name in ("nsga3", "unsga3", "ctaea"):
        operators["ref_dirs"] = reference_directions(n_objectives, population)
    if name != "ctaea":  # one individual a direction
        operators["pop_size"] = population
    if name == "nsga2":
        operators["selection"] = TournamentSelection(func_comp=binary_tournament)
    if name not in _CLASSES:
        raise ValueError(f"unknown algorithm {name!r}; the known ones are {', '.join(ALGORITHMS)}")
    # pymoo's default arguments are objects that keep state from one run to the next: work on copies
    return copy.deepcopy(_CLASSES[name](**operators), {id(seen): seen, id(canonical): canonical})


def reference_directions(n_objectives: int, at_most: int) -> np.ndarray:
    """The finest Das-Dennis lattice of directions with no more than `at_most` points, (k, n_objectives).

    Source: Das and Dennis, SIAM J. Optimization 8(3), 1998.
    """
    if n_objectives == 1:
        return np.ones((1, 1))
    partitions, count = 1, n_objectives
    while count * (partitions + n_objectives) // (partitions + 1) <= at_most:
        partitions += 1
        count = count * (partitions + n_objectives - 1) // partitions
    return get_reference_directions("das-dennis", n_objectives, n_partitions=partitions)


def _genes(pop: Population) -> np.ndarray:
    return np.array([individual.X for individual in pop])


def _levels(problem: SearchProblem) -> np.ndarray:
    return (problem.xu - problem.xl).astype(np.int64) + 1


def _categories(problem: SearchProblem) -> np.ndarray:
    return np.asarray(problem.space.is_category, dtype=bool)
