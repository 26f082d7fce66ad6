"""`resume`: continue a run from nothing but its directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from dse.hardware.space import DesignSpace
from dse.networks.errors import NetworkError
from dse.runs.files import RunDirectoryError, checked_path
from dse.runs.run_directory import as_written, read_manifest
from dse.search.exploration import Exploration, Progress
from dse.search.search_loop import explore

from .base import AcceleratorProblem
from .registry import rebuilt

SETTINGS = ("evaluations", "population", "seed", "algorithm", "random_twin", "exhaustive")
"""Arguments of `explore` that the manifest holds."""


def rebuild(directory: str | os.PathLike, n_jobs: int | None = None) -> AcceleratorProblem:
    """The problem of a run, from its manifest and `space.toml`.

    Problems that ship, of networks known by name or path, can be rebuilt, and a class of your own that the command line
    named as ``module:Class``; another class of your own is in your script, so run that again.

    Parameters
    ----------
    directory : of the run.
    n_jobs : workers; default as in the run.
    """
    path = checked_path(directory, "directory")
    content = read_manifest(path)
    arguments = content.get("rebuild")
    if arguments is None:
        name = content["identity"].get("problem", {}).get("class", "its problem")
        raise RunDirectoryError(
            f"{path} cannot be resumed from its manifest alone: {name} is not in it. Run the script that started it "
            "again: it continues"
        )
    if not (path / "space.toml").is_file():
        raise RunDirectoryError(
            f"{path} has no space.toml; restore it, or run what started the run again: it continues"
        )
    try:
        with as_written(path):
            problem = rebuilt(arguments, DesignSpace.from_toml(path / "space.toml"), n_jobs)
            limits = content["identity"]["problem"].get("limits")
            return problem.with_limits(limits) if limits else problem
    except RunDirectoryError:
        raise
    except NetworkError as error:
        raise RunDirectoryError(
            f"{path}: {error}. If the file has moved, run what started the run again with its new path: it continues"
        ) from None
    except ValueError as error:
        raise RunDirectoryError(f"{path}: {error}") from None


def resume(
    directory: str | os.PathLike,
    *,
    n_jobs: int | None = None,
    time_limit_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    limits: Mapping[str, float] | None = None,
) -> Exploration:
    """Continue an interrupted run, or return a finished one; parameters as in `rebuild` and `explore`.

    Limits are those of the run; `limits` that differ from them are refused.
    """
    path = checked_path(directory, "directory")
    content = read_manifest(path)
    problem = rebuild(path, n_jobs)
    with as_written(path):
        settings = {name: content["identity"][name] for name in SETTINGS}
        settings["plain"] = "search" not in content["identity"]
    return explore(
        problem, **settings, out=path, time_limit_s=time_limit_s, progress=progress,
        warm_start=content.get("warm_start"), limits=limits,
    )  # fmt: skip
