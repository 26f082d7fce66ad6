"""Fronts of several runs beside each other: who is better where, and by how much on one scale."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dse.runs.identity import differences
from dse.search.exploration import Exploration, load
from dse.search.pareto import Normalisation, non_dominated

PARTS = 5
"""Parts of the shared objective's range, at the end of each of which the runs are compared."""

MEASURES = {
    "hypervolume": ("dominated share of the box around the best of all runs", True),
    "share_of_best": ("share of the designs that no run beats", True),
    "beaten_share": ("share of its front that another run beats", False),
    "distance": ("mean distance of its front from the best of all runs", False),
}
"""Measure of a whole front -> what it is, whether more is better."""

COLUMNS = ("measure", "shared", "at_most", "best", "lead")
"""Columns of the table beside the runs."""


def runs_of(runs: Mapping[str, Exploration] | Iterable[str | os.PathLike]) -> dict[str, Exploration]:
    """Runs by the label that tables and figures give them: directories by the end of their path that tells them apart.

    Raises ValueError for fewer than two, and for a directory that is named twice.
    """
    if isinstance(runs, Mapping):
        found = dict(runs)
        if taken := [label for label in found if label in COLUMNS]:
            raise ValueError(f"a run cannot be called {taken[0]!r}: a column of the table has that name")
    else:
        paths = [Path(each) for each in runs]
        if len({path.resolve() for path in paths}) < len(paths):
            raise ValueError("a directory is named twice; name each run once")
        parts = [path.resolve().parts for path in paths]
        depth = 2 if any(each[-1] in COLUMNS for each in parts) else 1
        while len({each[-depth:] for each in parts}) < len(parts):
            depth += 1
        found = {"/".join(each[-depth:]): load(path) for each, path in zip(parts, paths, strict=True)}
    if len(found) < 2:
        raise ValueError("give at least two runs to compare")
    return found


def check_comparable(runs: Mapping[str, Exploration]) -> None:
    """ValueError in one line where two runs minimise other objectives, or for other networks, technology or numbers."""
    (first, base), *others = runs.items()
    for label, run in runs.items():
        if len(run.front) == 0:
            raise ValueError(f"{label} has no front: no design of it is feasible")
    if len(base.objective_names) < 2:
        raise ValueError(f"{first} has one objective, {base.objective_names[0]}: there is no front to compare")
    for label, run in others:
        if set(run.objective_names) != set(base.objective_names):
            a, b = (", ".join(each.objective_names) for each in (run, base))
            raise ValueError(f"{label} minimises {a}, {first} {b}: compare runs of the same objectives")
        here, there = (each.manifest.get("identity", {}) for each in (run, base))
        mine, other = (_subject(each.get("problem", {})) for each in (here, there))
        if mine != other:
            told = f"{label} is for {mine[0]}, {first} for {other[0]}"
            same = " of the same name but other layers or weights" if mine[0] == other[0] else ""
            raise ValueError(f"{told}{same}: compare runs for the same networks")
        at, base_at = (each.get("problem", {}).get("technology") for each in (here, there))
        if at != base_at:
            raise ValueError(f"{label} and {first}: {_technologies(at, base_at)}; compare runs at the same technology")
        if "probes" in here and "probes" in there:
            lines = differences({"probes": there["probes"]}, {"probes": here["probes"]})
            if lines:
                raise ValueError(f"{label} and {first} were made by models with other numbers: {'; '.join(lines[:2])}")


def _subject(problem: Mapping[str, Any]) -> tuple[str, Any]:
    """The networks of a problem in words, and what distinguishes them."""
    networks = sorted((each["name"], each["sha256"]) for each in problem.get("networks") or ())
    names = ", ".join(name for name, _ in networks) or str(problem.get("network") or problem.get("class") or "designs")
    weights = problem.get("attributes", {}).get("weights")
    return names, (networks, problem.get("mix_sha256"), weights)


def _technologies(a: Any, b: Any) -> str:
    if not isinstance(a, dict) or not isinstance(b, dict):
        return "one tells its technology, the other does not"
    if a.get("name") != b.get("name"):
        return f"{a.get('name')} and {b.get('name')}"
    name = next(name for name in [*a, *b] if a.get(name) != b.get(name))
    return f"{name} is {a.get(name)} and {b.get(name)}"


def compare_fronts(
    runs: Mapping[str, Exploration] | Iterable[str | os.PathLike], shared: str | None = None
) -> pd.DataFrame:
    """Who is better where: the fronts of several runs for the same networks, objectives and technology.

    Parameters
    ----------
    runs : by label, or directories of runs.
    shared : the objective whose range, from the least to the greatest value on any front, is cut into `PARTS` equal
        parts, on a log scale where it spans more than a decade; the default is the last one, mostly the area.

    Returns
    -------
    DataFrame with ``measure, shared, at_most``, a column a run, ``best`` (the best run, "" where several are) and
    ``lead``: how far the next run is from the best, relative to it [1].  For every other objective a row a part: the
    least value of it among the designs with at most so much of the shared objective, NaN where a run has none.  Then
    `MEASURES` of whole fronts [1], on one scale: 0 is the least and 1 the greatest value of each objective on the front
    of all runs together.  ``distance`` is IGD+ to that front (Ishibuchi et al., EMO 2015, LNCS 9018): the mean, over
    its points, of how far the nearest design of the run is worse; ``beaten_share`` is the coverage of Zitzler and
    Thiele (IEEE TEC 3(4), 1999), of a run by all others, without equal points.

    Raises ValueError where runs cannot be compared, and for a `shared` that is no objective of theirs.
    """
    found = runs_of(runs)
    check_comparable(found)
    names = next(iter(found.values())).objective_names
    shared = names[-1] if shared is None else shared
    if shared not in names:
        raise ValueError(f"shared {shared!r} is no objective of these runs; they have {', '.join(names)}")
    points = {label: run.front[list(names)].to_numpy(float) for label, run in found.items()}
    rows = _at_equal(points, names, names.index(shared))
    for name, values in _of_fronts(points).items():
        rows.append(_row(name, "", np.nan, values, MEASURES[name][1]))
    return pd.DataFrame(rows)


def caps_of(values: np.ndarray) -> np.ndarray:
    """Upper ends of `PARTS` equal parts of a range, (PARTS,); of its logarithm where it spans more than a decade."""
    low, high = values.min(), values.max()
    ends = np.arange(1, PARTS + 1) / PARTS
    caps = low * (high / low) ** ends if low > 0 and high > 10 * low else low + (high - low) * ends
    return np.append(caps[:-1], high)


def _at_equal(points: Mapping[str, np.ndarray], names: tuple[str, ...], at: int) -> list[dict[str, Any]]:
    """Rows of least values within each cap on the objective number `at`."""
    rows = []
    caps = caps_of(np.concatenate([F[:, at] for F in points.values()]))
    for j, name in enumerate(names):
        if j != at:
            for cap in caps:
                least = {label: F[F[:, at] <= cap, j].min(initial=np.inf) for label, F in points.items()}
                values = {label: value if np.isfinite(value) else np.nan for label, value in least.items()}
                rows.append(_row(name, names[at], float(cap), values, False))
    return rows


def _of_fronts(points: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """`MEASURES` of each run."""
    union = np.concatenate(list(points.values()))
    best = union[non_dominated(union)]
    scale = Normalisation.from_points(best)
    found: dict[str, dict[str, float]] = {name: {} for name in MEASURES}
    for label, F in points.items():
        others = np.concatenate([each for name, each in points.items() if name != label])
        on_best = np.any(np.all(best[:, None, :] == F[None, :, :], axis=2), axis=1)
        worse = np.all(others[None] <= F[:, None], axis=2) & np.any(others[None] < F[:, None], axis=2)
        gaps = np.maximum(scale(F)[None, :, :] - scale(best)[:, None, :], 0)
        found["hypervolume"][label] = scale.hypervolume(F)
        found["share_of_best"][label] = float(on_best.mean())
        found["beaten_share"][label] = float(np.any(worse, axis=1).mean())
        found["distance"][label] = float(np.sqrt((gaps**2).sum(axis=2)).min(axis=1).mean())
    return found


def _row(
    measure: str, shared: str, at_most: float, values: Mapping[str, float], more_is_better: bool
) -> dict[str, Any]:
    """A row of the table."""
    known = {label: value for label, value in values.items() if np.isfinite(value)}
    ordered = sorted(known.values(), reverse=more_is_better)
    winners = [label for label, value in known.items() if value == ordered[0]]
    lead = abs(ordered[1] - ordered[0]) / ordered[0] if len(ordered) > 1 and ordered[0] > 0 else np.nan
    best = winners[0] if len(winners) == 1 else ""
    return {"measure": measure, "shared": shared, "at_most": at_most, **values, "best": best, "lead": lead}
