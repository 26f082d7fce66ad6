"""`explore`: search a problem, beside its random twin, and leave everything in one directory.

The loop is ours; pymoo only proposes.  A run is deterministic under its seed, so an interrupted run is continued by
running it again with its log as memo (`dse.runs.design_log`): no state but the log is stored, and nothing is unpickled.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pymoo.core.algorithm import Algorithm

from dse.runs.design_log import RowFormat, RunLog
from dse.runs.files import checked_path, git_commit, hash_of, now, write_whole
from dse.runs.identity import source_sha256, versions
from dse.runs.problem_protocol import Evaluated, SearchProblem
from dse.runs.run_directory import FRONT_COMPLETE, RunDirectory, checked_tables
from dse.runs.tables import columns_text, convergence_text, warm_start_genes
from dse.search.balanced_designs import balanced_designs
from dse.search.exhaustive_sweep import Sweep, sweep
from dse.search.exploration import (
    Exploration,
    Meter,
    Progress,
    constraint_notes,
    convergence_rows,
    fixed_scale,
    front_rows,
    load,
    readers,
)
from dse.search.guide import Guide
from dse.search.notebook_progress import notebook_progress
from dse.search.proposers import GuidedProposer, Proposer, PymooProposer, RandomProposer, WholeSpaceProposer
from dse.search.settings import Settings, describe_algorithm, identity

LATENCY_ALONE = (
    "mapping_slack is none: the mapper looked for latency alone, so the tables have no energy, power and traffic. "
    "front_energy.csv has them for the designs of the front, each layer under its mapping of least energy within 1 % "
    "of its least latency: another mapping, whose latency differs from that in front.csv, mostly by less than 1 %"
)
"""Note of a run whose mapper looks for latency alone."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run; everything evaluated is on disk, and the message says how to continue."""


def explore(
    problem: SearchProblem,
    *,
    evaluations: int = 10_000,
    population: int | None = None,
    seed: int = 0,
    algorithm: str | Algorithm | None = None,
    out: str | os.PathLike | None = None,
    time_limit_s: float | None = None,
    random_twin: bool = True,
    exhaustive: bool = False,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
    overwrite: bool = False,
    warm_start: str | os.PathLike | None = None,
    plain: bool = False,
    limits: Mapping[str, float] | None = None,
) -> Exploration:
    """Search a problem for its Pareto front.

    Parameters
    ----------
    problem : such as `problems.SingleDNN("resnet50")`.  Its workers (`n_jobs`) do not change a bit of the result.
    evaluations : budget of unique designs, used up exactly.  A space that is not larger is evaluated whole.
    population : individuals; default the square root of the budget, 8 to 100.
    seed : of the algorithm and of the random twin.
    algorithm : name of `dse.search.genetic_operators.ALGORITHMS` (default "nsga2"), or a pymoo algorithm that is not
        set up yet and asks and tells; its population is its own and real-valued genes are rounded to levels.
    out : directory of the run; None keeps everything in memory.  The same call with the same directory continues
        an interrupted run, and returns a finished one without work.
    time_limit_s : end after the generation, or the part of the sweep, that passes it [s]; one is evaluated in any
        case, and the same call continues.
    random_twin : also evaluate as many uniform random designs, in step with the search, into `random_twin.csv`.
    exhaustive : afterwards evaluate the whole space for its exact front, into `exact_front.csv`.
    progress : called with a `Progress` after each generation.  The default shows it where this runs in a notebook;
        False shows nothing.
    overwrite : throw away what an earlier run left in `out`.
    warm_start : directory of another run whose designs, its front first, start this one; they are evaluated anew.
    plain : the algorithm alone, for comparisons.  Else it starts from balanced designs
        (`dse.search.balanced_designs`), the last part of the budget is a local search over the neighbours of the front
        (`dse.search.local_search`), and designs that a lower bound shows dominated by the front so far are not mapped:
        they cost no budget, the manifest counts them.  The same holds for the random twin: of as many draws as the
        search evaluates it maps what its own front does not show dominated.
    limits : caps on metrics, by name, as constraints of the problem: ``{"area_mm2": 20, "power_w": 2}``.

    Writes
    ------
    `designs.csv` (the log), `front.csv` (over all feasible designs evaluated), `random_twin.csv`, `exact_front.csv`,
    `convergence.csv`, `columns.csv` (unit and meaning of every column), `space.toml`, `manifest.json`,
    `front_energy.csv` where the problem looks for latency alone (`AcceleratorProblem.with_energy`), and the
    `tables` of the problem, such as `price_of_generality.csv` of several networks.
    """
    start = time.perf_counter()
    if not hasattr(problem, "space"):
        raise ValueError(f"expected a problem such as problems.SingleDNN('resnet50'), got {problem!r}")
    if progress is None:
        progress = notebook_progress()
    elif progress is not False and not callable(progress):
        raise ValueError(f"progress must be a function that takes a Progress, or False for none, got {progress!r}")
    report = progress if callable(progress) else None
    if warm_start is not None:
        checked_path(warm_start, "warm_start")
    if out is not None:
        checked_path(out, "out")
    if limits:
        if not hasattr(problem, "with_limits"):
            raise ValueError(f"limits: {type(problem).__name__} has no with_limits; derive it from AcceleratorProblem")
        problem = problem.with_limits(limits)
    settings = Settings.checked(
        problem, evaluations, population, seed, algorithm, time_limit_s, random_twin, exhaustive, plain
    )
    if warm_start is not None and out is not None and Path(warm_start).resolve() == Path(out).resolve():
        raise ValueError(f"warm_start and out are both {out}; write the new run to another directory")
    first = None if warm_start is None else warm_start_genes(warm_start, problem.space)
    if first is not None and not (isinstance(settings.algorithm, str) and settings.algorithm != "random"):
        raise ValueError("warm_start needs an algorithm given by name and other than 'random'")
    if out is None:
        return _Run(problem, settings, None, first, report, start, time_limit_s).run()
    RowFormat(problem)  # refuses names of levels before anything is written
    directory = RunDirectory(out, identity(problem, settings, first), overwrite)
    if directory.finished:
        return _checked(directory, problem, settings)
    with directory:
        if directory.finished:  # by another process, since
            return _checked(directory, problem, settings)
        try:
            _begin(directory, problem, settings, warm_start)
            return _Run(problem, settings, directory, first, report, start, time_limit_s).run()
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; the same command continues in {directory.path}") from None


def _checked(directory: RunDirectory, problem: SearchProblem, settings: Settings) -> Exploration:
    """The finished run of a directory; RunDirectoryError where its files or numbers have changed."""
    directory.check_files()
    RunLog(problem, settings.source, directory.path / "designs.csv", directory.exact).check_again()
    return load(directory.path)


def _begin(
    directory: RunDirectory, problem: SearchProblem, settings: Settings, warm_start: str | os.PathLike | None
) -> None:
    one = problem.space.columns(np.zeros((1, problem.space.n_var), dtype=np.int64))
    fixed = {name: values.tolist()[0] for name, values in one.items() if name not in problem.space.names}
    rebuild = getattr(problem, "rebuild", lambda: None)() if isinstance(settings.algorithm, str) else None
    directory.write(
        status="running",
        started=directory.manifest.get("started") or now(),
        git_commit=git_commit(),
        versions=versions(),
        source_sha256=source_sha256(getattr(sys.modules[type(problem).__module__], "__file__", None)),
        space={"size": int(problem.space.size), "variables": list(problem.space.names)},
        fixed_parameters={k: v if isinstance(v, bool | int | float) else str(v) for k, v in fixed.items()},
        rebuild=rebuild,
        warm_start=None if warm_start is None else str(Path(warm_start).resolve()),
    )
    try:
        text = problem.space.toml_text()
    except (ValueError, AttributeError):  # a space of one's own that TOML cannot hold
        return
    write_whole(directory.path / "space.toml", text.encode())


class _Run:
    """One call of `explore` that has work to do."""

    def __init__(
        self,
        problem: SearchProblem,
        settings: Settings,
        directory: RunDirectory | None,
        first: np.ndarray | None,
        progress: Callable[[Progress], None] | None,
        start: float,
        time_limit_s: float | None,
    ) -> None:
        self.problem, self.settings, self.directory = problem, settings, directory
        self.progress, self.start = progress, start
        self.deadline = None if time_limit_s is None else start + time_limit_s
        exact = directory is None or directory.exact
        self.log = RunLog(problem, settings.source, self._path("designs.csv"), exact)
        self.twin = RunLog(problem, "random", self._path("random_twin.csv"), exact) if settings.random_twin else None
        self.scale = fixed_scale(problem)
        self.guide = Guide(problem, self.scale) if settings.guided else None
        self.twin_guide = Guide(problem, self.scale) if settings.guided and settings.random_twin else None
        self.proposer = self._proposer(first)
        self.twin_proposer = (
            RandomProposer(problem.space, settings.seed, settings.evaluations) if self.twin is not None else None
        )
        self.swept: Sweep | None = None
        self.meter = Meter(self.scale)

    def _path(self, name: str) -> Path | None:
        return None if self.directory is None else self.directory.path / name

    def _proposer(self, first: np.ndarray | None) -> Proposer:
        s, space = self.settings, self.problem.space
        if s.whole_space:
            return WholeSpaceProposer(space, s.population)
        if s.algorithm == "random":
            return RandomProposer(space, s.seed, s.population)
        if self.guide is not None and first is None and isinstance(s.algorithm, str):
            first = balanced_designs(space, s.population)
        algorithm = PymooProposer(s.algorithm, self.problem, s.population, s.seed, s.evaluations, first, self.guide)
        if self.guide is None:
            return algorithm
        return GuidedProposer(algorithm, self.guide, s.evaluations, s.population, s.seed)

    def run(self) -> Exploration:
        try:
            reason, finished = self._search()
            if self.settings.exhaustive and finished:
                reason, finished = self._sweep(reason)
            return self._finish(reason, finished)
        except KeyboardInterrupt:
            reason = f"interrupted after {len(self.log)} of {self.settings.evaluations} evaluations"
            if self.directory is None:
                raise
            self.directory.write(status="interrupted", stopped_because=reason, ended=now())
            raise Interrupted(f"{reason}; the same command continues in {self.directory.path}") from None
        finally:
            for log in (self.log, self.twin):
                if log is not None:
                    log.close()

    def _search(self) -> tuple[str, bool]:
        budget, generation, is_new = self.settings.evaluations, 0, False
        while len(self.log) < budget:
            late = self.deadline is not None and time.perf_counter() >= self.deadline
            if late and is_new:  # a generation at least, so that short limits come to an end
                return f"the time limit was reached after {len(self.log)} of {budget} evaluations", False
            X = self.proposer.ask(budget - len(self.log))
            if len(X) == 0:
                return self._exhausted(), True
            generation, is_new = generation + 1, not self._replaying()
            rows = self.log.evaluate(X, generation)
            self.proposer.tell(rows)
            twin_rows = None
            if self.twin is not None and self.twin_proposer is not None:
                twin_rows = self._evaluate_twin(self.twin, self.twin_proposer.ask(len(X)), generation)
            if self.progress is not None:
                self.progress(self._report(generation, rows, twin_rows))
        if self.settings.whole_space:
            return self._exhausted(), True
        return f"the budget of {budget} unique evaluations is used up", True

    def _evaluate_twin(self, twin: RunLog, X: np.ndarray, generation: int) -> Evaluated:
        """Of the random designs X those that the twin's own front does not show dominated."""
        guide, drawn = self.twin_guide, len(X)
        if guide is None:
            return twin.evaluate(X, generation)
        if guide.is_bounded and len(twin):
            out = guide.dominated(guide.bounds(X))
            guide.left_out += int(out.sum())
            X = X[~out]
        rows = twin.evaluate(X, generation, drawn)
        guide.learn(X, rows)
        return rows

    def _replaying(self) -> bool:
        return self.log.replaying or (self.twin is not None and self.twin.replaying)

    def _exhausted(self) -> str:
        if self.settings.whole_space:
            return f"{self.proposer.exhausted}; the budget was {self.settings.evaluations}"
        return f"{self.proposer.exhausted} of {self.settings.evaluations} evaluations"

    def _report(self, generation: int, rows: Evaluated, twin_rows: Evaluated | None) -> Progress:
        front, hypervolume, random_hypervolume = self.meter.update(rows, twin_rows)
        replayed = self.log.replayed + (self.twin.replayed if self.twin is not None else 0)
        return Progress(
            "search",
            generation,
            len(self.log),
            self.settings.evaluations,
            front,
            hypervolume,
            random_hypervolume,
            time.perf_counter() - self.start,
            replayed,
        )

    def _sweep(self, reason: str) -> tuple[str, bool]:
        def report(done: int, size: int, front: int) -> None:
            if self.progress is not None:
                elapsed_s = time.perf_counter() - self.start
                self.progress(Progress("sweep", 0, done, size, front, float("nan"), float("nan"), elapsed_s, 0))

        state = self._path("sweep.json")
        known = self.log.table()[0][front_rows(self.log)]
        swept = sweep(self.problem, checkpoint=state, deadline=self.deadline, progress=report, known=known)
        if swept.complete:
            self.swept = swept
            told = f", {swept.left_out} of them by their bounds alone" if swept.left_out else ""
            return f"{reason}; the whole space of {swept.evaluated} designs was swept{told}", True
        size = int(self.problem.space.size)
        return f"{reason}; the time limit ended the sweep after {swept.evaluated} of {size} designs", False

    def _finish(self, reason: str, finished: bool) -> Exploration:
        if len(self.log) == 0:
            raise ValueError(f"nothing was evaluated: {reason}")
        logs = [log for log in (self.log, self.twin) if log is not None]
        if finished:
            for log in logs:
                log.check_all_used()
        points = {log.source: log.table()[2] for log in logs if len(log)}
        fronts = {source: rows.objectives[rows.feasible] for source, rows in points.items()}
        if self.swept is not None and self.swept.rows is not None:
            fronts["exhaustive"] = self.swept.rows.objectives
        convergence = [row for log in logs for row in convergence_rows(log, self.scale)]
        texts = {
            "front.csv": self.log.text(front_rows(self.log)),
            "convergence.csv": convergence_text(convergence),
        }
        energy = getattr(self.problem, "with_energy", lambda: None)()
        more: tuple[str, ...] = ()
        if energy is not None:
            texts["front_energy.csv"], more = self._energy_text(energy)
        texts["columns.csv"] = self._columns_text(more)
        if len(self.log) and hasattr(self.problem, "tables"):
            twin = points.get("random") if self.twin is not None else None
            found = self.problem.tables(front_rows(self.log), points[self.log.source], twin)
            texts |= checked_tables(type(self.problem).__name__, found)
        if self.swept is not None:
            texts["exact_front.csv"] = self.swept.text(self.problem)
        hypervolume = {source: self.scale.hypervolume(F) for source, F in fronts.items()}
        notes = [note for log in logs for note in log.notes]
        notes += [] if energy is None else [LATENCY_ALONE]
        notes += constraint_notes(self.problem.constraint_labels, self.log.table()[2])
        if self.directory is not None:
            self._write(self.directory, texts, reason, finished, hypervolume, notes)
        return self._result(reason, finished, hypervolume, notes, texts)

    def _guided(self) -> dict[str, Any]:
        """What the manifest tells of designs that were left out; nothing of a plain search."""
        if self.guide is None:
            return {}
        reason = getattr(self.problem, "unbounded_since", "") or "the problem knows no lower bounds"
        told: dict[str, Any] = {"shown_dominated": self.guide.left_out}
        if self.twin is not None and self.twin_guide is not None:
            told |= {"random_twin_drawn": sum(self.twin.drawn), "random_twin_mapped": len(self.twin)}
        return told | {"bounds": "latency, energy, area" if self.guide.is_bounded else f"none: {reason}"}

    def _told(self) -> dict[str, Any]:
        """What the manifest of a run in memory tells: of its identity the problem and how it was searched."""
        s = self.settings
        searched = {"algorithm": describe_algorithm(s.algorithm), "population": s.population, "seed": s.seed}
        return {"identity": {"problem": self.problem.describe(), **searched}, "versions": versions()}

    def _named_logs(self) -> list[tuple[str, RunLog]]:
        named = [("designs.csv", self.log), ("random_twin.csv", self.twin)]
        return [(name, log) for name, log in named if log is not None]

    def _columns_text(self, more: tuple[str, ...]) -> bytes:
        """`columns.csv`; `more` are columns of other tables than the logs."""
        metrics = tuple(self.log.table()[2].metrics)
        names = (*self.log.format.columns(metrics), "evaluations", "front_size", "hypervolume", *more)
        return columns_text(tuple(dict.fromkeys(names)), self.problem)

    def _energy_text(self, problem: SearchProblem) -> tuple[bytes, tuple[str, ...]]:
        """`front_energy.csv`: the designs of the front as `problem`, which has energies, has them; and its columns."""
        front = front_rows(self.log)
        if len(front) == 0:
            return b"", ()
        X, generation, _ = self.log.table()
        rows, form = problem.evaluate_designs(X[front]), RowFormat(problem)
        names = form.columns(tuple(rows.metrics))
        lines = form.lines(front, generation[front], self.log.source, X[front], rows)
        return "".join(f"{line}\n" for line in [",".join(names), *lines]).encode(), names

    def _write(
        self,
        directory: RunDirectory,
        texts: dict[str, bytes],
        reason: str,
        finished: bool,
        hypervolume: dict[str, float],
        notes: list[str],
    ) -> None:
        path = directory.path
        for _, log in self._named_logs():
            log.sync()
        for name, text in texts.items():
            write_whole(path / name, text)
        names = [*texts, *(name for name, _ in self._named_logs())]
        again = directory.manifest.get("remap") or {}
        if again.get("front_sha256") == hash_of(texts["front.csv"]) and (path / FRONT_COMPLETE).is_file():
            names.append(FRONT_COMPLETE)
        else:  # it is of a front that the run has left behind
            (path / FRONT_COMPLETE).unlink(missing_ok=True)
            directory.manifest.pop("remap", None)
        directory.write(
            status="finished" if finished else "stopped",
            stopped_because=reason,
            ended=now(),
            wall_time_s=directory.manifest.get("wall_time_s", 0.0) + round(time.perf_counter() - self.start, 3),
            evaluations=len(self.log),
            generations=len(self.log.generations),
            feasible=int(self.log.table()[2].feasible.sum()),
            hypervolume=hypervolume,
            normalisation=asdict(self.scale),
            notes=notes,
            **self._guided(),
            files={name: hash_of((path / name).read_bytes()) for name in names},
        )
        if finished:
            (path / "sweep.json").unlink(missing_ok=True)

    def _result(
        self,
        reason: str,
        finished: bool,
        hypervolume: dict[str, float],
        notes: list[str],
        texts: dict[str, bytes],
    ) -> Exploration:
        directory = self.directory
        if directory is None:
            texts_of: dict[str, Callable[[], bytes]] = {name: partial(bytes, text) for name, text in texts.items()}
            texts_of |= {name: log.text for name, log in self._named_logs()}
        else:
            texts_of = readers(directory.path, directory.manifest)
        return Exploration(
            objective_names=self.log.format.objectives,
            stopped_because=reason,
            finished=finished,
            evaluations=len(self.log),
            generations=len(self.log.generations),
            hypervolume=hypervolume,
            normalisation=self.scale,
            directory=None if directory is None else directory.path,
            manifest=self._told() if directory is None else directory.manifest,
            notes=tuple(notes),
            texts=texts_of,
        )
