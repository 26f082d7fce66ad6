"""What proposes the next designs: a pymoo algorithm, uniform random, or the enumeration of the whole space.

A proposer's `ask(limit)` gives at most `limit` designs that it has never given before, (n, n_var) int64; none when
it has no more, and then `exhausted` says why.  `tell` hands it the numbers of the designs it asked for.
"""

from __future__ import annotations

import copy
from typing import Protocol

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population
from pymoo.core.termination import Termination
from pymoo.util.display.display import Display

from dse.hardware.space import DesignSpace
from dse.runs.problem_protocol import Evaluated, SearchProblem
from dse.search.genetic_operators import UniformSampler, keys, make_algorithm, new_designs
from dse.search.guide import Guide
from dse.search.local_search import LocalSearch

STALL_GENERATIONS = 50
"""Generations in a row without a new design after which a search is taken to be exhausted."""


class _Budget(Termination):
    """Never ends a run by itself; `perc` follows the budget, for algorithms that adapt to it."""

    def __init__(self) -> None:
        super().__init__()
        self.share = 0.0

    def _update(self, algorithm: Algorithm) -> float:
        return min(self.share, 0.999)


class RandomProposer:
    """Uniform random without repeats.

    Parameters
    ----------
    space : the `DesignSpace`.
    seed : of its own generator.
    batch : designs a generation.
    """

    def __init__(self, space: DesignSpace, seed: int, batch: int) -> None:
        self._sampler = UniformSampler(space.n_levels, np.random.default_rng([seed, 0x7A9D]))
        self._canonical, self._known = space.canonical, set[bytes]()
        self.batch = batch
        self.exhausted = "every design of the space was evaluated"

    def ask(self, limit: int) -> np.ndarray:
        """The next designs."""
        found: list[np.ndarray] = []
        while (n := min(limit, self.batch) - sum(map(len, found))) and len(drawn := self._sampler.draw(n)):
            found.append(new_designs(self._canonical(drawn), self._known))
        return np.concatenate(found) if found else self._sampler.draw(0)

    def tell(self, rows: Evaluated) -> None:
        """Nothing to learn."""


class WholeSpaceProposer:
    """Every design of the space in its order."""

    def __init__(self, space: DesignSpace, batch: int) -> None:
        self.space, self.batch = space, batch
        self.exhausted = f"every one of the {int(space.size)} designs of the space was evaluated"
        self._next = 0

    def ask(self, limit: int) -> np.ndarray:
        """The next designs; of several genes that make one design only its own, see `DesignSpace.canonical`."""
        X = np.empty((0, self.space.n_var), dtype=np.int64)
        while len(X) == 0 and self._next < self.space.size:
            stop = min(self._next + min(limit, self.batch), int(self.space.size))
            X = np.asarray(self.space.all_designs(self._next, stop), dtype=np.int64)
            X = X[(self.space.canonical(X) == X).all(axis=1)]
            self._next = stop
        return X

    def tell(self, rows: Evaluated) -> None:
        """Nothing to learn."""


class Proposer(Protocol):
    """What the search loop asks for designs."""

    @property
    def exhausted(self) -> str:
        """Why there is no new design."""

    def ask(self, limit: int) -> np.ndarray:
        """The next designs, at most `limit`, (n, n_var) int64."""

    def tell(self, rows: Evaluated) -> None:
        """The numbers of the designs of the last `ask`."""


class PymooProposer:
    """A pymoo algorithm, one generation at a time.

    Designs that the algorithm proposes again get their known numbers and cost nothing.  Genes of an algorithm
    that works on real numbers are rounded to the nearest level.

    Parameters
    ----------
    algorithm : name of `dse.search.genetic_operators.ALGORITHMS`, or a pymoo algorithm that is not set up yet (it is
        copied).
    problem, population, seed, budget : as in `explore`.
    first : (k, n_var) designs to start with; only for an algorithm given by name.
    guide : designs that it shows dominated are not asked for: the algorithm gets their bounds as their numbers.
    """

    def __init__(
        self,
        algorithm: str | Algorithm,
        problem: SearchProblem,
        population: int,
        seed: int,
        budget: int,
        first: np.ndarray | None = None,
        guide: Guide | None = None,
    ) -> None:
        self.guide = guide
        self.known = self._row = dict[bytes, int]()
        self._evaluated = 0
        self._F: list[np.ndarray] = []
        self._G: list[np.ndarray] = []
        if isinstance(algorithm, str):
            n_obj = len(problem.objective_names)
            settle = problem.space.canonical if guide is None else guide.settled
            algorithm = make_algorithm(algorithm, population, n_obj, first=first, seen=self._row, canonical=settle)
        else:
            algorithm = copy.deepcopy(algorithm)
            if isinstance(getattr(algorithm, "termination", None), tuple | str):
                algorithm.termination = None
        self._termination = _Budget()
        self._budget = budget
        self._algorithm = algorithm.setup(
            problem, termination=self._termination, seed=seed, display=Display(None), save_history=False
        )
        self.exhausted = ""
        self._infills = Population()
        self._keys: list[bytes] = []
        self._asked: list[bytes] = []
        self._xu = problem.xu.astype(np.int64)
        self._canonical = problem.space.canonical if guide is None else guide.settled

    def ask(self, limit: int) -> np.ndarray:
        """The new designs of the next generation, cut to `limit`."""
        for _ in range(STALL_GENERATIONS):
            infills = self._algorithm.ask() if self._algorithm.has_next() else None
            if infills is None or len(infills) == 0:
                self.exhausted = f"the algorithm proposes no new design after {self._evaluated}"
                return np.empty((0, len(self._xu)), dtype=np.int64)
            X = np.array([individual.X for individual in infills])
            if X.dtype != np.int64 or (X < 0).any() or (X > self._xu).any():
                X = np.clip(np.rint(X.astype(float)), 0, self._xu).astype(np.int64)
                infills.set("X", X)
            if not np.array_equal(X, same := self._canonical(X)):  # of an algorithm without `CanonicalGenes`
                X = same
                infills.set("X", X)
            self._infills, self._keys = infills, keys(X)
            new = {key: i for i, key in reversed(list(enumerate(self._keys))) if key not in self._row}
            self._leave_out(X, new)
            if new:
                chosen = sorted(new.values())[:limit]
                self._asked = [self._keys[i] for i in chosen]
                return X[chosen]
            self._advance()
        self.exhausted = f"the algorithm proposed no new design in {STALL_GENERATIONS} generations"
        return np.empty((0, len(self._xu)), dtype=np.int64)

    def _leave_out(self, X: np.ndarray, new: dict[bytes, int]) -> None:
        """Give the designs of X that the guide shows dominated their bounds, and take them out of `new`."""
        if self.guide is None or not self.guide.is_bounded or not new:
            return
        there = sorted(new.values())
        bounds = self.guide.bounds(X[there])
        out = np.flatnonzero(self.guide.dominated(bounds))
        self.guide.left_out += len(out)
        self.remember([self._keys[there[i]] for i in out], bounds.rows(out))
        for i in out:
            del new[self._keys[there[i]]]

    def remember(self, which: list[bytes], rows: Evaluated) -> None:
        """The numbers of designs, told to the algorithm with its generation."""
        for key in which:
            self._row[key] = len(self._row)
        self._F.extend(rows.objectives)
        self._G.extend(rows.constraints)

    def tell(self, rows: Evaluated) -> None:
        """The numbers of the designs of the last `ask`."""
        self.remember(self._asked, rows)
        self._evaluated += len(rows)
        self._termination.share = self._evaluated / self._budget
        if all(key in self._row for key in self._keys):  # not a generation cut short by the budget
            self._advance()

    def _advance(self) -> None:
        for individual, key in zip(self._infills, self._keys, strict=True):
            row = self._row[key]
            individual.F, individual.G = self._F[row], self._G[row]
            individual.CV = np.maximum(self._G[row], 0.0).sum(keepdims=True)
            individual.evaluated.update(("F", "G", "H"))
        self._algorithm.evaluator.n_eval += len(self._keys)
        with np.errstate(invalid="ignore", divide="ignore"):  # SPEA2's scale of individuals that are all equal
            self._algorithm.tell(infills=self._infills)


STALL_DRAWS = 1000
"""Batches of random designs in a row, all known or shown dominated, after which a guided search is exhausted."""

LOCAL_SHARE, LOCAL_SHARE_UNBOUNDED = 0.75, 0.25
"""Last share of the budget that is local search [1], with bounds that tell which neighbour promises most, and without:
there, on a part of MobileNetV2, 3/4 had a hypervolume 0.006 below that of 1/4."""


class GuidedProposer:
    """An algorithm for the first part of the budget, then Pareto local search over the neighbours of its front.

    Where one of them has nothing new, the other goes on, and where none has, uniform random designs do.

    Parameters
    ----------
    algorithm : the proposer of the first part, which has `guide`.
    guide : the front, kept up to date here.
    budget, population, seed : as in `explore`; a round of the local search is a population.
    """

    def __init__(self, algorithm: PymooProposer, guide: Guide, budget: int, population: int, seed: int) -> None:
        self.algorithm, self.guide = algorithm, guide
        self.local = LocalSearch(guide, algorithm.known, population, seed)
        share = LOCAL_SHARE if guide.is_bounded else LOCAL_SHARE_UNBOUNDED
        self._first = budget - int(share * budget)  # generations that begin before are not cut
        self._asked = np.empty((0, len(guide.problem.xu)), dtype=np.int64)
        self._is_local = False
        self._evaluated = 0
        self._rest = RandomProposer(guide.problem.space, seed, population)

    @property
    def exhausted(self) -> str:
        """Why there is no new design."""
        return f"no new design is left that is not shown dominated after {self._evaluated}"

    def ask(self, limit: int) -> np.ndarray:
        """The next designs."""
        self._is_local = self._evaluated >= self._first
        self._asked = self._proposer.ask(limit)
        if len(self._asked) == 0:
            self._is_local = not self._is_local
            self._asked = self._proposer.ask(limit)
        if len(self._asked) == 0:
            self._is_local, self._asked = True, self._others(limit)
        return self._asked

    def _others(self, limit: int) -> np.ndarray:
        """Random designs that are neither known nor shown dominated; none where many draws find none."""
        guide, known = self.guide, self.algorithm.known
        for _ in range(STALL_DRAWS):
            X = self._rest.ask(limit)
            if len(X) == 0:
                break
            X = new_designs(guide.settled(X), set(known))  # several draws may be one design
            out = guide.dominated(guide.bounds(X)) if guide.is_bounded else np.zeros(len(X), dtype=bool)
            guide.left_out += int(out.sum())
            if not out.all():
                return X[~out]
        return np.empty((0, self._asked.shape[1]), dtype=np.int64)

    @property
    def _proposer(self) -> LocalSearch | PymooProposer:
        return self.local if self._is_local else self.algorithm

    def tell(self, rows: Evaluated) -> None:
        """The numbers of the designs of the last `ask`."""
        self._evaluated += len(rows)
        self.guide.learn(self._asked, rows)
        if self._is_local:
            self.algorithm.remember(keys(self._asked), rows)
        else:
            self.algorithm.tell(rows)


def describe_algorithm(algorithm: str | Algorithm) -> object:
    """An algorithm as JSON values, for a run's manifest: its class and plain settings, and those of its parts."""
    if isinstance(algorithm, str):
        return algorithm
    return _described(algorithm, 4)


def _described(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist() if value.size <= 8 else f"array {value.shape} sum {float(np.sum(value))!r}"
    if isinstance(value, list | tuple):
        return [_described(v, depth - 1) for v in value] if depth else f"{len(value)} values"
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    name = type(value).__qualname__
    if depth == 0 or not hasattr(value, "__dict__"):
        return name
    parts = {k: _described(v, depth - 1) for k, v in sorted(vars(value).items()) if v is not None}
    return {"class": name} | {k: v for k, v in parts.items() if k not in ("data", "output", "display", "callback")}
