"""Which designs of a front survive when the constants that it was found with are wrong?

Constants are drawn from their published ranges, the area of arrays and of memories from the errors that `dse validate`
finds, the price of the DRAM interface from its published range; each alone, and all together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dse.analysis.technology_sensitivity import drawn, perturbed, perturbed_constants, survival
from dse.hardware.area import AREA_BLOCKS
from dse.hardware.node_scaling import PUBLISHED_DRAM_PHY_MM2_PER_GBPS
from dse.hardware.technology import Technology
from dse.runs.files import RunDirectoryError
from dse.runs.identity import differences, of_model
from dse.runs.problem_protocol import Evaluated, SearchProblem
from dse.runs.tables import Table, genes_of
from dse.search.exploration import Exploration, Progress
from dse.search.pareto import Normalisation

ARRAY = ("macs", "registers", "control", "interconnect")
MEMORY = ("weight_buffer", "input_buffer", "output_buffer")
"""Blocks of the area of which published chips tell the areas: arrays of PEs, and memories."""

AREA_BIAS = {ARRAY: (0.54, 1.91), MEMORY: (0.53, 1.70)}
"""Published / predicted area of these blocks, the least and the largest that `dse validate` finds [1].

Arrays: DianNao's NFU, Gemmini's.  Memories: EIE's pointers, DianNao's SB.  Small buffers that are published with queues
and DMA engines are not among them.
"""

SCENARIOS = {
    "constants": "constants within published ranges",
    "area": "area of arrays and memories",
    "dram_interface": "price of the DRAM interface",
    "all": "all together",
}
"""What is wrong in a draw, by the names of columns and files."""


class Costed(SearchProblem, Protocol):
    """A problem whose constants can be changed."""

    technology: Technology

    def with_technology(self, technology: Technology) -> SearchProblem:
        """The same problem with other constants; a ValueError where it knows none."""


@dataclass(frozen=True)
class Sensitivity:
    """What is left of a front.

    Parameters
    ----------
    objective_names : of the run.
    designs : a row a design of the front: ``index``, objectives, ``survives_SCENARIO`` for each of `SCENARIOS`: the
        share of draws in which no design dominates it [1], and ``regret_median``, ``regret_95`` of all together: by how
        much another design is better in every objective, quantiles over the draws [1].
    draws : a row a draw and scenario: ``draw, scenario, surviving_share`` of the front, ``regret_95`` of it [1].
    constants : a row a constant: ``rank_correlation`` (Spearman), over the draws, of its distance from nominal with the
        share of the front that survives wrong constants; with n draws noise is about 1 / sqrt(n).
    candidates : designs that could take a place on the front [1].
    """

    objective_names: tuple[str, ...]
    designs: pd.DataFrame
    draws: pd.DataFrame
    constants: pd.DataFrame
    candidates: int

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Those that were drawn: without the parts of an area only the constants."""
        return tuple(name for name in SCENARIOS if f"survives_{name}" in self.designs)


def sensitivity(
    problem: Costed,
    run: Exploration,
    *,
    draws: int = 100,
    seed: int = 0,
    designs: int = 500,
    share: float | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Sensitivity:
    """Which designs of a run's front survive wrong constants.

    Parameters
    ----------
    problem : of the run.
    run : what `explore` or `load` gave; nothing is written.
    draws : of all that may be wrong, independent of each other.
    seed : of the draws; draw i is the same whatever their number.
    designs : candidates, evaluated anew in every draw: the front, and those of the run that are nearest to it.
    share : constants times factors within ``1 - share`` to ``1 + share`` instead of their published ranges.
    progress : called with a `Progress` after each draw.

    Layers are mapped anew with the constants of each draw.  Area is biased after that: its leakage and its clock stay
    those of the unbiased area.  A design that breaks a constraint in a draw does not survive it.

    Raises ValueError where the problem knows no technology or is not that of the run, the run has no front, or a number
    is not positive.
    """
    for name, value in (("draws", draws), ("designs", designs)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if len(run.front) == 0:
        raise ValueError("the run has no front: no design of it is feasible")
    _check_same(problem, run)
    base = getattr(problem, "technology", None)
    if not isinstance(base, Technology):
        raise ValueError(f"{type(problem).__name__} has no technology whose constants could be wrong")
    start, names = time.perf_counter(), run.objective_names
    X, front = _candidates(problem, run, designs)
    columns = problem.space.columns(X)
    nominal = problem.evaluate_designs(X)
    in_parts = {f"area_{name}_mm2" for name in AREA_BLOCKS} | {"area_mm2"} <= set(nominal.metrics)
    scenarios = [name for name in SCENARIOS if in_parts or name == "constants"]
    survives = {name: np.zeros((draws, len(front)), bool) for name in scenarios}
    regret = {name: np.zeros((draws, len(front))) for name in scenarios}
    moved = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        technology = drawn(base, rng) if share is None else perturbed(base, rng, share)
        moved.append(_distances(base, technology))
        wrong = _wrong_areas(rng, base)
        now = problem.with_technology(technology).evaluate_designs(X)
        for name in scenarios:
            metrics = (now if name in ("constants", "all") else nominal).metrics
            if name != "constants":
                metrics = biased(metrics, columns, wrong if name == "all" else _only(wrong, name))
            found = problem.judge(X, metrics)
            survives[name][draw], regret[name][draw] = _left(nominal, found, front)
        if progress is not None:
            done = (draw + 1) * len(X)
            progress(Progress("sensitivity", 0, done, draws * len(X), len(front), math.nan, math.nan,
                              time.perf_counter() - start, 0))  # fmt: skip
    table = run.front[["index", *names]].reset_index(drop=True)
    table = table.assign(**{f"survives_{name}": survives[name].mean(axis=0) for name in scenarios})
    last = regret[scenarios[-1]]
    table["regret_median"], table["regret_95"] = np.quantile(last, [0.5, 0.95], axis=0)
    lines = [
        {"draw": draw, "scenario": name, "surviving_share": survives[name][draw].mean(),
         "regret_95": np.quantile(regret[name][draw], 0.95)}
        for draw in range(draws) for name in scenarios
    ]  # fmt: skip
    shares = survives["constants"].mean(axis=1)
    return Sensitivity(names, table, pd.DataFrame(lines), _influences(pd.DataFrame(moved), shares), len(X))


def biased(
    metrics: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], wrong: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Metrics with wrong areas: that of every block of `wrong` times its factor.

    The interface of a DRAM type, whose PHY has a published area, is as it is.
    """
    found = dict(metrics)
    for name, factor in wrong.items():
        column = f"area_{name}_mm2"
        by_price = np.equal(np.asarray(columns["dram_type"], dtype=object), "") if name == "dram_interface" else True
        found[column] = np.where(by_price, metrics[column] * factor, metrics[column])
    added = sum(found[f"area_{name}_mm2"] - metrics[f"area_{name}_mm2"] for name in wrong)
    found["area_mm2"] = metrics["area_mm2"] + added
    if "core_area_mm2" in found:
        found["core_area_mm2"] = found["area_mm2"] - found["area_dram_interface_mm2"]
    return found


def _wrong_areas(rng: np.random.Generator, base: Technology) -> dict[str, float]:
    """A factor for each block that may be wrong, log-uniform in its range; blocks of one part have one factor."""
    wrong: dict[str, float] = {}
    for blocks, (low, high) in AREA_BIAS.items():
        factor = math.exp(rng.uniform(math.log(low), math.log(high)))
        wrong |= dict.fromkeys(blocks, factor)
    low, high = np.log(PUBLISHED_DRAM_PHY_MM2_PER_GBPS)
    return wrong | {"dram_interface": math.exp(rng.uniform(low, high)) / base.dram_interface_mm2_per_gbps}


def _only(wrong: Mapping[str, float], scenario: str) -> dict[str, float]:
    return {name: x for name, x in wrong.items() if (name == "dram_interface") == (scenario == "dram_interface")}


def _check_same(problem: SearchProblem, run: Exploration) -> None:
    """RunDirectoryError where a run in a directory is of another problem, or of a model with other numbers."""
    if run.directory is not None:
        model, identity = of_model(problem), run.manifest["identity"]
        if lines := differences({name: identity[name] for name in model}, model):
            raise RunDirectoryError(f"{run.directory} is a run of another problem: {'; '.join(lines[:4])}")


def _candidates(problem: SearchProblem, run: Exploration, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Genes of the front and of the designs nearest to it, (n, n_var), and which of them are the front, (k,)."""
    best, names = run.front, list(run.objective_names)
    others: Table = run.designs[run.designs["feasible"] & ~run.designs["index"].isin(best["index"])]
    if len(others):
        scale = Normalisation.from_points(best[names].to_numpy(float))
        scaled, front = (scale(each[names].to_numpy(float)) for each in (others, best))
        away = np.array([np.max(row - front, axis=1).min() for row in scaled])
        others = others.iloc[np.sort(np.argsort(away, kind="stable")[: max(0, most - len(best))])]
    X = genes_of(pd.concat([best, others[best.columns]], ignore_index=True), problem.space)
    return X, np.arange(len(best))


def _left(nominal: Evaluated, now: Evaluated, front: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each design of the front survives, (k,), and its regret, (k,): 0 where it breaks a constraint."""
    good = np.flatnonzero(now.feasible)
    survives, regret = np.zeros(len(front), bool), np.zeros(len(front))
    kept = np.flatnonzero(np.isin(front, good))
    if len(kept):
        chosen = np.searchsorted(good, front[kept])
        found = survival(nominal.objectives[good], now.objectives[good], chosen)
        survives[kept], regret[kept] = found
    return survives, regret


def _distances(base: Technology, technology: Technology) -> dict[str, float]:
    """How far each constant is from nominal, on a log scale where both are positive."""
    found = {}
    for name in perturbed_constants():
        a, b = getattr(base, name), getattr(technology, name)
        found[name] = abs(math.log(b / a)) if a > 0 and b > 0 else abs(b - a)
    return found


def _influences(distances: pd.DataFrame, shares: np.ndarray) -> pd.DataFrame:
    """Rank correlation of each constant that moved with the share that survives, the strongest first."""
    ranks: Any = pd.Series(shares).rank()
    lines = [
        {"constant": name, "rank_correlation": ranks.corr(distances[name].rank())}
        for name in distances if distances[name].nunique() > 1 and ranks.nunique() > 1
    ]  # fmt: skip
    table = pd.DataFrame(lines, columns=["constant", "rank_correlation"])
    return table.sort_values("rank_correlation", key=np.abs, ascending=False, kind="stable", ignore_index=True)
