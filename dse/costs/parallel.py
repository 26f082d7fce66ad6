"""Work in parallel by joblib: threads by default, any other backend where `joblib.parallel_config` sets one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral

import joblib
from joblib.parallel import get_active_backend


def checked_jobs(n_jobs: int) -> int:
    """Workers, all cores where it is -1; ValueError for anything else that is no whole number >= 1."""
    whole = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
    if not whole or n_jobs == 0 or n_jobs < -1:
        raise ValueError(f"n_jobs must be a number of workers >= 1, or -1 for all cores; got {n_jobs!r}")
    return (os.cpu_count() or 1) if n_jobs == -1 else int(n_jobs)


def in_threads(function: Callable, tasks: Sequence[tuple], n_jobs: int) -> list:
    """What `function` gives for each task, a tuple of arguments; by joblib, in threads unless another backend is set.

    The first task runs alone: it compiles, where that is to do, and workers racing for a cold cache can crash.
    """
    workers, jobs = worker_count(checked_jobs(n_jobs))
    done = [function(*task) for task in tasks[:1]]
    if workers == 1 or len(tasks) < 4:
        return done + [function(*task) for task in tasks[1:]]
    return done + joblib.Parallel(n_jobs=jobs, prefer="threads")(joblib.delayed(function)(*t) for t in tasks[1:])


def each_in_threads(function: Callable, tasks: Sequence[tuple], n_jobs: int) -> Iterator:
    """What `function` gives for each task, in their order and each as soon as it is there; for tasks that take long.

    What it compiles must be compiled already: all tasks start side by side.
    """
    workers, jobs = worker_count(checked_jobs(n_jobs))
    if workers == 1 or len(tasks) < 2:
        yield from (function(*task) for task in tasks)
        return
    # a backend of the user's may have no generator: it gives all at once
    kind = "list" if jobs is None else "generator"
    yield from joblib.Parallel(n_jobs=jobs, prefer="threads", return_as=kind)(
        joblib.delayed(function)(*t) for t in tasks
    )


def worker_count(n_jobs: int) -> tuple[int, int | None]:
    """Workers to use and the `n_jobs` to ask joblib for: None where an active `parallel_config` decides."""
    backend, context_jobs = get_active_backend()
    chosen = context_jobs is not None or backend.__class__.__name__ not in ("LokyBackend", "ThreadingBackend")
    if not chosen or backend.nesting_level:
        return n_jobs, n_jobs
    return backend.effective_n_jobs(context_jobs if context_jobs is not None else -1), None
