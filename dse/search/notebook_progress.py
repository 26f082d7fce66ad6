"""Where a search is, shown under the cell of a notebook, by the notebook's own means."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

from dse.search.exploration import Progress
from dse.text.quantities import duration

LEAST_S = 0.25
"""Least time between two updates [s]."""


def notebook_progress() -> Callable[[Progress], None] | None:
    """A callback for `explore(progress=...)` where this process is the kernel of a notebook; else None."""
    ipython = sys.modules.get("IPython")  # never imported here: a kernel has it
    shell = None if ipython is None else ipython.get_ipython()
    return None if shell is None or not hasattr(shell, "kernel") else _UnderTheCell()


class _UnderTheCell:
    """A bar with what is done and left, updated in place."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.last_s = 0.0

    def __call__(self, progress: Progress) -> None:
        done, now = progress.evaluations >= progress.budget, time.perf_counter()
        if self.handle is not None and not done and now - self.last_s < LEAST_S:
            return
        self.last_s = now
        if self.handle is None:
            self.handle = sys.modules["IPython"].display.display(_Bar(progress), display_id=True)
        else:
            self.handle.update(_Bar(progress))


class _Bar:
    """A state of the search, as text and in HTML."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __repr__(self) -> str:
        p = self.progress
        left_s = p.elapsed_s * (p.budget / max(p.evaluations, 1) - 1)
        left = f", {duration(left_s)} left" if left_s > 0 else ""
        text = f"{p.stage}: {p.evaluations:,} of {p.budget:,} designs, front {p.front_size:,}"
        return f"{text}, {duration(p.elapsed_s)}{left}"

    def _repr_html_(self) -> str:
        p = self.progress
        return f'<progress value="{p.evaluations}" max="{p.budget}"></progress> {escape(repr(self))}'
