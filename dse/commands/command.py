"""What every command has: its help in one form, and how much it says."""

from __future__ import annotations

import functools
import inspect
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from dse.commands.terminal import LOUDNESS, Loudness

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result alone: no notes, no progress.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also tell the time and the memory taken, and show tracebacks.")
]


class Command(TyperCommand):
    """A command whose help names arguments as they are typed: ``NETWORK``, ``[PRESET]``, ``NETWORK...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer reads them; an option given twice, of which the last would win silently, is refused."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        options = [p for p in order if p.param_type_name == "option" and not getattr(p, "multiple", False)]
        for name, count in Counter(max(p.opts, key=len) for p in options if not getattr(p, "is_flag", False)).items():
            if count > 1:
                raise typer.BadParameter(f"{name} is given {count} times: give it once", ctx=ctx)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """``[OPTIONS]``, then the arguments; those that may be left out in brackets."""
        arguments = [param for param in self.get_params(ctx) if param.param_type_name == "argument"]
        return ["[OPTIONS]", *(f"{p.metavar}" if p.required else f"[{p.metavar}]" for p in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The arguments with their meaning, then the options."""
        params = self.get_params(ctx)
        arguments = [(p.metavar, getattr(p, "help", "")) for p in params if p.param_type_name == "argument"]
        options = [p.get_help_record(ctx) for p in params if p.param_type_name != "argument"]
        for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def with_loudness(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options ``-q`` and ``-v``."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    own = [p.replace(annotation=hints[name]) for name, p in signature.parameters.items()]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("quiet", Quiet), ("verbose", Verbose))
    ]

    @functools.wraps(command)
    def run(*args: Any, quiet: bool, verbose: bool, **options: Any) -> None:
        if quiet and verbose:
            raise ValueError("give --quiet or --verbose, not both")
        LOUDNESS.set(Loudness(quiet, verbose))  # for the rest of the process: an error is told after the command
        start = time.perf_counter()
        command(*args, **options)
        if verbose:
            megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            took_s = time.perf_counter() - start
            sys.stderr.write(f"dse: {command.__name__} took {took_s:.2f} s and {megabytes:.0f} MB\n")

    run.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = hints | {"quiet": Quiet, "verbose": Verbose}
    return run
