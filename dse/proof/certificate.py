"""`certify`: how much better than the front of a finished run any design of its space can be, proven and kept.

The proof is a branch and bound (`dse.proof.branch_and_bound`).  Its boxes lie in `certificate_boxes.npz`, from which an
interrupted proof continues and `dse.proof.checker` checks it; `certificate.json` tells it, and `certified_front.csv` is
the front with the better designs that were met.  The run's own files stay as they are.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks.layers import Network
from dse.proof.bounds_of_designs import DesignBounds
from dse.proof.boxes import BoxSpace, box_space, broken_axes
from dse.proof.branch_and_bound import EQUAL, EVALUATED, Archive, Boxes, Search, keeps_to
from dse.runs.files import RunDirectoryError, checked_path, hash_of, now, write_whole
from dse.runs.identity import differences, of_model, source_sha256
from dse.runs.problem_protocol import SearchProblem
from dse.runs.run_directory import CERTIFICATE, CERTIFIED_BOXES, CERTIFIED_FRONT, RunDirectory, read_manifest
from dse.runs.tables import genes_of, read_table

OBJECTIVES = ("latency_s", "area_mm2")
"""What can be certified: both at once."""

PAIRS, FEWEST_PAIRS = 100, 25
"""Random pairs of designs for each axis on which monotonicity is tested at the start: shared by the kinds of
categories, but so many in each at least."""

SAVE_EVERY_S = 30.0


class Certifiable(SearchProblem, Protocol):
    """A problem of latency and area of one network, or of the geometric mean of several."""

    technology: Technology
    limits: dict[str, float]


@dataclass(frozen=True)
class Certificate:
    """What is proven of the front of a run.

    Parameters
    ----------
    within : the factor less 1 that was asked for.
    proven : no design of the space is better than the certified front by more than this share in both objectives.
    proven_of_run : the same of the run's own front.
    finished : whether `proven` is at most `within`.
    stopped_because : in words.
    designs : of the space.
    better : designs on the certified front that the run had not found.
    front : (k, 2) latency [s] and area [mm2] of the certified front.
    content : of `certificate.json`.
    """

    within: float
    proven: float
    proven_of_run: float
    finished: bool
    stopped_because: str
    designs: int
    better: int
    front: np.ndarray
    content: dict[str, Any]

    def __str__(self) -> str:
        return str(self.content["statement"])


@dataclass(frozen=True)
class Step:
    """What `certify(progress=...)` is called with after each round.

    Parameters
    ----------
    proven : factor less 1 so far.
    bounds, searches, designs : bounds of boxes, searches over mappings, designs evaluated so far.
    open : boxes that are left.
    elapsed_s : of this call [s].
    """

    proven: float
    bounds: int
    searches: int
    designs: int
    open: int
    elapsed_s: float


def certify(
    problem: Certifiable,
    directory: str | os.PathLike,
    *,
    within: float = 0.05,
    limits: Mapping[str, float] | None = None,
    minutes: float | None = None,
    n_jobs: int | None = None,
    progress: Callable[[Step], None] | None = None,
    overwrite: bool = False,
) -> Certificate:
    """Prove how far from the front of a finished run any design of its space can be.

    Parameters
    ----------
    problem : of the run, `SingleDNN` or `GeomeanDNN`, with the objectives latency and area.
    directory : of the run.  `certificate.json`, `certificate_boxes.npz` and `certified_front.csv` are written there;
        the same call continues an interrupted proof, another `within` goes on from it.
    within : share by which a design would have to be better in both objectives.
    limits : most ``latency_s`` and ``area_mm2`` of the designs that count; those of the problem hold, too.
    minutes : ends the proof, with what it has reached.
    n_jobs : workers; default those of the problem.  They change no bit.
    progress : called with a `Step` after each round.
    overwrite : throw away a proof that lies there and is of other limits, another front or another code.

    Raises ValueError, or RunDirectoryError, in one line where there is nothing that can be certified.
    """
    start = time.perf_counter()
    path = checked_path(directory, "directory")
    networks, weights = certifiable_networks(problem)
    within, caps = _checked_share(within), _checked_limits(problem.limits)
    for name, value in _checked_limits(limits).items():
        caps[name] = min(value, caps.get(name, math.inf))
    manifest = read_manifest(path)
    if manifest.get("status") != "finished":
        raise RunDirectoryError(f"{path} is the run of an unfinished search; finish it first: dse resume {path}")
    model = of_model(problem)
    if lines := differences({name: manifest["identity"].get(name) for name in model}, model):
        raise RunDirectoryError(f"{path} is a run of another problem: {'; '.join(lines[:4])}")
    jobs = int(getattr(problem, "n_jobs", 1)) if n_jobs is None else n_jobs
    bounding = DesignBounds(problem.space, networks, weights, problem.technology, jobs)
    with RunDirectory(path, manifest["identity"]) as run:
        table = read_table(path / "front.csv")
        X = genes_of(table, problem.space)
        if not len(X):
            raise RunDirectoryError(f"{path}: its front is empty, no design was feasible; there is nothing to certify")
        F = table[list(OBJECTIVES)].to_numpy(float)
        if overwrite:
            (path / CERTIFIED_BOXES).unlink(missing_ok=True)
        proof = _Proof(problem.space, bounding, X, F, caps, hash_of((path / "front.csv").read_bytes()), path)
        reason = proof.run(1 + within, start, math.inf if minutes is None else 60 * minutes, progress)
        found = proof.write(within, reason)
        told = ("statement", "within", "proven", "proven_of_the_runs_own_front", "finished", "ended")
        kept = {name: found.content[name] for name in told}
        run.write(certificate=kept | {"files": [CERTIFICATE, CERTIFIED_BOXES, CERTIFIED_FRONT], "limits": caps})
    return found


def certifiable_networks(problem: Any) -> tuple[list[Network], list[float]]:
    """Networks of a problem and their weights; ValueError names what of it cannot be certified."""
    name, kind = type(problem).__name__, vars(type(problem)).get("kind")
    if kind not in ("single", "geomean"):
        raise ValueError(
            f"{name} cannot be certified: bounds are known of one network and of the geometric mean of several, not of "
            "other problems and classes of your own"
        )
    other = [x for x in problem.objective_names if x not in OBJECTIVES]
    if other or len(problem.objective_names) != len(OBJECTIVES):
        what = f"objective {other[0]!r}" if other else "one objective alone"
        raise ValueError(
            f"{name}: {what} cannot be certified: energy, power and products are not monotone in the hardware; the "
            f"objectives must be {' and '.join(OBJECTIVES)}"
        )
    if problem.constraint_names:
        raise ValueError(
            f"{name}: constraint {problem.constraint_names[0]!r} cannot be certified: no bound of it is known; use "
            "limits={'area_mm2': ...}"
        )
    if getattr(problem, "mapping", "best") != "best":
        raise ValueError(
            f"{name}: a mapping that is frozen in hardware cannot be certified: bounds are over all mappings"
        )
    _checked_limits(problem.limits)
    if kind == "single":
        return [problem.network], [1.0]
    return list(problem.networks), list(problem.weights)


def _checked_share(within: float) -> float:
    if isinstance(within, bool) or not isinstance(within, int | float) or not 0 <= within < math.inf:
        raise ValueError(f"within must be a share of at least 0, such as 0.05, got {within!r}")
    return float(within)


def _checked_limits(limits: Mapping[str, float] | None) -> dict[str, float]:
    """Limits as numbers; ValueError for other metrics, and for what is no positive number."""
    for name, value in (limits or {}).items():
        if name not in OBJECTIVES:
            raise ValueError(
                f"limit of {name!r} cannot be certified: of {' and '.join(OBJECTIVES)} alone are bounds of boxes known"
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"limit {name}={value!r}: give a positive number")
    return {name: float(value) for name, value in (limits or {}).items()}


class _Proof:
    """A proof, new or continued."""

    def __init__(
        self,
        space: DesignSpace,
        bounding: DesignBounds,
        X: np.ndarray,
        F: np.ndarray,
        limits: dict[str, float],
        front_sha256: str,
        path: Path,
    ) -> None:
        self.space, self.limits, self.path = space, limits, path
        self.boxes, self.distrusted = trusted_boxes(space, bounding)
        caps = (limits.get("latency_s", math.inf), limits.get("area_mm2", math.inf))
        self.of_run, known = (Archive(np.empty((0, 2)), np.empty((0, space.n_var), dtype=np.int64)) for _ in range(2))
        for archive, points in ((self.of_run, F), (known, bounding.designs(X))):  # as the run found them, and the least
            inside = keeps_to(points, caps)
            archive.add(points[inside], X[inside])
        self.of = {"front": front_sha256, "limits": limits, "source": source_sha256(), "space": space.hash}
        self.search = Search(self.boxes, bounding, known, caps)
        self._restore()

    def run(self, factor: float, start: float, seconds: float, progress: Callable[[Step], None] | None) -> str:
        """Look at boxes until all are done; returns why it stopped."""
        return look(self.search, factor, start, seconds, self.save, progress)

    def save(self) -> None:
        """Write `certificate_boxes.npz`."""
        s = self.search
        told = {"of": self.of, "distrusted": list(self.distrusted), "counts": [s.bounds, s.searches, s.designs]}
        write_boxes(self.path / CERTIFIED_BOXES, s, told)

    def _restore(self) -> None:
        """Go on from what lies there, if it is of the same front and code."""
        kept = read_boxes(self.path / CERTIFIED_BOXES)
        if kept is None:
            return
        if not kept.untouched:
            raise RunDirectoryError(
                f"{self.path / CERTIFIED_BOXES} was edited after the proof wrote it; --check names the box, "
                "--overwrite, or overwrite=True, starts over"
            )
        other = [name for name, value in self.of.items() if kept.told["of"].get(name) != value]
        if other or kept.told.get("distrusted") != list(self.distrusted):
            raise RunDirectoryError(
                f"{self.path} holds a proof of other {' and '.join(other) or 'axes'} (limits there: "
                f"{kept.told['of']['limits'] or 'none'}); --overwrite, or overwrite=True, starts over"
            )
        s = self.search
        s.open, s.done = kept.open, kept.done
        s.archive = Archive(kept.archive_F, kept.archive_X)
        s.bounds, s.searches, s.designs = kept.told["counts"]
        s.history = [(int(a), int(b), int(c), float(f)) for a, b, c, f in kept.history.tolist()]

    def write(self, within: float, reason: str) -> Certificate:
        """Write `certificate.json` and `certified_front.csv`."""
        s = self.search
        every = Boxes.join([s.open, s.done])
        proven, own = (s.proven(of, every) - 1 for of in (s.archive, self.of_run))
        proven = proven if proven > 2 * EQUAL else 0.0
        finished = proven <= within * (1 + 1e-9) + 1e-9
        known = {x.tobytes() for x in self.of_run.X}
        better = np.array([x.tobytes() not in known for x in s.archive.X], dtype=bool)
        write_whole(self.path / CERTIFIED_FRONT, self._front_text(better))
        content = {
            "statement": _statement(
                self.space.size, proven, own, finished, reason, self.limits, int(better.sum()), len(s.archive.X)
            ),
            "within": within,
            "proven": proven if math.isfinite(proven) else None,
            "proven_of_the_runs_own_front": own if math.isfinite(own) else None,
            "finished": bool(finished),
            "stopped_because": reason,
            "objectives": list(OBJECTIVES),
            "limits": self.limits,
            "designs_of_the_space": self.space.size,
            "categories": self.boxes.n_categories,
            "rests_on_monotonicity": {
                "tested_on_random_pairs_of_each_axis_and_kind": pairs_of(self.boxes),
                "raised_never_slower_nor_smaller": sorted({a.name for kind in self.boxes.kinds for a in kind.axes}),
                "enumerated_in_some_categories": list(self.boxes.enumerated),
            },
            "boxes": {
                "closed_by_bounds": int((s.done.grade == 0).sum()),
                "closed_by_searches_over_mappings": int(((s.done.grade > 0) & (s.done.grade < EVALUATED)).sum()),
                "closed_by_complete_evaluation": int((s.done.grade == EVALUATED).sum()),
                "left": len(s.open),
                "file": CERTIFIED_BOXES,
                "sha256": hash_of((self.path / CERTIFIED_BOXES).read_bytes()),
            },
            "evaluations": {"bounds": s.bounds, "searches_over_mappings": s.searches, "designs": s.designs},
            "factor_by_evaluations": _thinned(s.history),
            "ended": now(),
        }
        write_whole(self.path / CERTIFICATE, (json.dumps(content, indent=1) + "\n").encode())
        return Certificate(
            within, proven, own, bool(finished), reason, self.space.size, int(better.sum()), s.archive.F, content
        )

    def _front_text(self, better: np.ndarray) -> bytes:
        """`certified_front.csv`: the parameters of each design, its objectives, and whether the run had it."""
        columns = self.space.columns(self.search.archive.X)
        file = io.StringIO()
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["source", *self.space.names, *OBJECTIVES])
        rows = zip(better, self.search.archive.F.tolist(), strict=True)
        for i, (new, point) in enumerate(rows):
            values = [columns[name][i] for name in self.space.names]
            told = [f"{x:g}" if isinstance(x, float) else str(x) for x in values]
            out.writerow(["certificate" if new else "run", *told, *(repr(x) for x in point)])
        return file.getvalue().encode()


def look(
    search: Search,
    factor: float,
    start: float,
    seconds: float,
    save: Callable[[], None],
    progress: Callable[[Step], None] | None = None,
) -> str:
    """Look at boxes until all are done; returns why it stopped.  What is known is saved every `SAVE_EVERY_S`, and last.

    `seconds` since `start`, a `time.perf_counter()`, end it after a round.
    """
    saved = time.perf_counter()
    search.aim_at(factor)
    more = len(search.open) > 0
    try:
        while more:
            more = search.round(factor)
            if progress is not None:
                counts = search.bounds, search.searches, search.designs, len(search.open)
                progress(Step(search.factor - 1, *counts, time.perf_counter() - start))
            if more and not search.can_go_on():
                return "the best mappings of single designs are not known closer"
            if more and time.perf_counter() - start > seconds:
                return "the time was over"
            if time.perf_counter() - saved > SAVE_EVERY_S:
                save()
                saved = time.perf_counter()
    finally:
        save()
    return "every box is done"


def trusted_boxes(space: DesignSpace, bounding: DesignBounds) -> tuple[BoxSpace, tuple[str, ...]]:
    """The space in boxes, variables that broke what is declared of them enumerated, and their names."""
    distrusted: tuple[str, ...] = ()
    while True:
        boxes = box_space(space, distrusted)
        broken = broken_axes(boxes, bounding, 0, pairs_of(boxes))
        if not broken:
            return boxes, distrusted
        distrusted = (*distrusted, *broken)


def pairs_of(boxes: BoxSpace) -> int:
    """Random pairs on which each axis of each kind of categories is tested."""
    return max(FEWEST_PAIRS, PAIRS // len(boxes.kinds))


@dataclass(frozen=True)
class KeptBoxes:
    """What `certificate_boxes.npz` holds; `untouched`: whether it is as a proof wrote it."""

    untouched: bool
    told: dict[str, Any]
    open: Boxes
    done: Boxes
    archive_F: np.ndarray
    archive_X: np.ndarray
    history: np.ndarray


def write_boxes(path: Path, search: Search, told: Mapping[str, Any]) -> None:
    """Everything that a search has and a checker needs, for `read_boxes`; `told`: what it is of, and its counts."""
    arrays: dict[str, np.ndarray] = {"archive_F": search.archive.F, "archive_X": search.archive.X}
    for name, some in (("open", search.open), ("done", search.done)):
        arrays |= {f"{name}_{key}": values for key, values in vars(some).items()}
    arrays |= {"history": np.array(search.history).reshape(-1, 4), "told": np.array(json.dumps(told))}
    file = io.BytesIO()
    write: Any = np.savez_compressed  # its stub takes the arrays for its own options
    write(file, **arrays, sha256=np.array(_sha256_of(arrays)))
    write_whole(path, file.getvalue())


def read_boxes(path: Path) -> KeptBoxes | None:
    """The boxes of a proof; None where there are none, RunDirectoryError where the file is not one."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            some = {
                side: Boxes(**{key: file[f"{side}_{key}"] for key in Boxes.__dataclass_fields__})
                for side in ("open", "done")
            }
            told = json.loads(str(file["told"]))
            _check_shapes(some, told, file["archive_F"], file["archive_X"], file["history"])
            untouched = "sha256" in file and str(file["sha256"]) == _sha256_of(
                {name: file[name] for name in file.files if name != "sha256"}
            )
            known = file["archive_F"], file["archive_X"], file["history"]
            return KeptBoxes(untouched, told, some["open"], some["done"], *known)
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise RunDirectoryError(f"{path} is not what a proof wrote ({error}); delete it to start over") from error


def _sha256_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of named arrays, in the order of their names."""
    return hash_of(b"".join(name.encode() + np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays)))


def _check_shapes(some: dict[str, Boxes], told: Any, F: np.ndarray, X: np.ndarray, history: np.ndarray) -> None:
    """ValueError unless the arrays and what is told of them fit each other."""
    for boxes in some.values():
        n = len(boxes.kind)
        for name, values in vars(boxes).items():
            whole = name not in ("latency", "area", "factor")
            if len(values) != n or values.ndim != 1 + (name in ("low", "high")) or (values.dtype.kind in "iu") != whole:
                raise ValueError(f"its array {name} is of another kind")
    if (
        F.shape != (len(X), 2)
        or F.dtype.kind != "f"
        or X.ndim != 2
        or X.dtype.kind not in "iu"
        or history.shape[1:] != (4,)
    ):
        raise ValueError("its designs or its history are of another kind")
    if not isinstance(told, dict) or not isinstance(told.get("of"), dict) or "limits" not in told["of"]:
        raise ValueError("it does not tell what it is of")


def _thinned(history: list[tuple[int, int, int, float]], most: int = 200) -> list[list[float | None]]:
    """At most about `most` entries, the last among them."""
    step = max(1, len(history) // most)
    kept = history[::step]
    if history and kept[-1] != history[-1]:
        kept = [*kept, history[-1]]
    return [[a, b, c, round(f - 1, 6) if math.isfinite(f) else None] for a, b, c, f in kept]


def _statement(
    size: int,
    proven: float,
    own: float,
    finished: bool,
    reason: str,
    limits: Mapping[str, float],
    better: int,
    known: int,
) -> str:
    """The certificate in words."""
    among = f"the {size:.3g}" if size >= 10_000_000 else f"the {size:,}"
    under = " and".join(f" with {name} at most {value:g}" for name, value in limits.items())
    by = f" by more than {_percent(proven)}" if proven > 0 else ""
    line = f"No design of {among} in this space{under} beats the certified front{by} in both latency and area"
    if known == 0:
        line = f"{'No' if finished else 'No known'} design of {among} in this space is{under or ' feasible'}"
    elif math.isinf(proven):
        line = f"Nothing is proven yet of {among} designs{under}"
    elif math.isinf(own):
        line += "; the run's own front has no design within the limits"
    elif better:
        line += (
            f"; the run's own front, without {better} better designs found by the proof, by more than {_percent(own)}"
        )
    return line + ("." if finished else f"; it was to be less, but {reason}.")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
