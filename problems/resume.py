"""`resume`: continue a run from nothing but its directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks.errors import NetworkError
from dse.runs.files import RunDirectoryError, checked_path
from dse.runs.run_directory import as_written, read_manifest
from dse.search.exploration import Exploration, Progress
from dse.search.search_loop import explore
from dse.simultaneous.mixes import Mix

from .base import AcceleratorProblem
from .geomean import GeomeanDNN
from .simultaneous import SimultaneousDNNs
from .single import SingleDNN

SETTINGS = ("evaluations", "population", "seed", "algorithm", "random_twin", "exhaustive")
"""Arguments of `explore` that the manifest holds."""


def rebuild(directory: str | os.PathLike, n_jobs: int | None = None) -> AcceleratorProblem:
    """The problem of a run, from its manifest and `space.toml`.

    Only a plain `SingleDNN`, `GeomeanDNN` or `SimultaneousDNNs` made from networks' names or paths can be rebuilt; a
    problem class of your own is in your script, so run that again.

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
            return _made(arguments, DesignSpace.from_toml(path / "space.toml"), n_jobs)
    except RunDirectoryError:
        raise
    except NetworkError as error:
        raise RunDirectoryError(
            f"{path}: {error}. If the file has moved, run what started the run again with its new path: it continues"
        ) from None
    except ValueError as error:
        raise RunDirectoryError(f"{path}: {error}") from None


def _made(arguments: dict[str, Any], space: DesignSpace, n_jobs: int | None) -> AcceleratorProblem:
    """The problem that `arguments`, written by its `rebuild`, tell."""
    common = {
        "space": space,
        "technology": Technology(**arguments["technology"]),
        "objectives": tuple(arguments["objectives"]),
        "n_jobs": arguments["n_jobs"] if n_jobs is None else n_jobs,
        "mapping_objective": arguments["mapping_objective"],
        "mapping_slack": arguments["mapping_slack"],
    }
    if arguments.get("problem") == "simultaneous":
        return SimultaneousDNNs(
            Mix.from_plain(arguments["mix"]),
            policies=tuple(arguments["policies"]),
            shares=tuple(arguments["shares"]),
            dataflows=tuple(arguments["dataflows"]),
            most_sub_arrays=arguments["most_sub_arrays"],
            order=arguments["order"],
            **common,
        )
    common |= {"batch": arguments["batch"], "dims": arguments["dims"]}
    if arguments.get("problem") == "geomean":
        return GeomeanDNN(arguments["networks"], arguments["weights"], mapping=arguments["mapping"], **common)
    return SingleDNN(arguments["network"], **common)


def resume(
    directory: str | os.PathLike,
    *,
    n_jobs: int | None = None,
    time_limit_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Exploration:
    """Continue an interrupted run, or return a finished one; parameters as in `rebuild` and `explore`."""
    path = checked_path(directory, "directory")
    content = read_manifest(path)
    problem = rebuild(path, n_jobs)
    with as_written(path):
        settings = {name: content["identity"][name] for name in SETTINGS}
    return explore(
        problem, **settings, out=path, time_limit_s=time_limit_s, progress=progress,
        warm_start=content.get("warm_start"),
    )  # fmt: skip
