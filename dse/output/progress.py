"""What a running search shows: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from dse.output.units import duration
from dse.search.exploration import Progress

LEAST_S, MOST_S = 2.0, 30.0
"""Plain lines come at every tenth of the work, no sooner and no later after the last one than this [s]."""


ROOMY = 110
"""Width from which the bar stands beside everything there is to tell [characters]; below, what is left is shown."""

_STAGES = {"sweep": "whole space", "remap": "complete mapping of the front", "sensitivity": "other constants"}


@contextmanager
def shown(console: Console) -> Iterator[Callable[[Progress], None]]:
    """A callback for `explore(progress=...)` that shows where the search is."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    roomy = console.width >= ROOMY
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24 if roomy else 10),
        TextColumn("{task.fields[text]}"),
        *([TimeElapsedColumn()] if roomy else []),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        yield _OnBar(bar, bar.add_task("starting", total=None, text="the first run compiles the cost model"), roomy)


class _OnBar:
    """Moves a bar."""

    def __init__(self, bar: Bar, task: TaskID, roomy: bool) -> None:
        self.bar, self.task, self.roomy = bar, task, roomy

    def __call__(self, p: Progress) -> None:
        title = _STAGES.get(p.stage, f"generation {p.generation}") if self.roomy else p.stage
        text = _numbers(p) if self.roomy else _count(p)
        self.bar.update(self.task, description=title, total=p.budget, completed=p.evaluations, text=text)


class _Lines:
    """Prints a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console, self.last_s, self.last_share, self.stage = console, time.perf_counter(), 0.0, ""

    def __call__(self, p: Progress) -> None:
        now, share = time.perf_counter(), p.evaluations / p.budget
        if p.stage != self.stage:
            self.stage, self.last_share = p.stage, 0.0
        since = now - self.last_s
        due = (since >= LEAST_S and share >= self.last_share + 0.1) or since >= MOST_S or share >= 1
        if not due:
            return
        self.last_s, self.last_share = now, share
        what = f"{_STAGES.get(p.stage, f'generation {p.generation}')}: "
        left = f", {duration(p.elapsed_s * (1 / share - 1))} left" if share < 1 else ""
        line = f"{what}{_numbers(p)}, {duration(p.elapsed_s)}{left}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _count(p: Progress) -> str:
    return f"{p.evaluations:,} of {p.budget:,} designs, front {p.front_size:,}"


def _numbers(p: Progress) -> str:
    text = _count(p)
    if p.random_hypervolume > 0:  # a ratio: the running values have another scale than the final ones
        text += f", hypervolume {p.hypervolume / p.random_hypervolume:.3f} of random search's"
    if p.replayed and p.replayed >= p.evaluations:
        text += ", from the log"
    return text
