"""The command line, `dse`.  Every command is a few lines over the library; heavy imports wait until they are needed."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from dse.commands import evaluating, explaining, listing, runs, scheduling, searching
from dse.commands.command import Command, with_loudness
from dse.commands.terminal import EXIT_ERROR, EXIT_INTERRUPTED, fail, told, wants_traceback

app = typer.Typer(
    name="dse",
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find the accelerators that run a deep neural network best: performance against area, energy and power.\n\n"
    "dse explore resnet50 searches the default hardware space and writes results/resnet50.",
    epilog="Networks are names (dse networks) or .onnx files. Units: s, J, W, mm2; KiB = 1024 bytes, GB/s = 1e9 B/s.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from dse import __version__

        typer.echo(f"dse {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (
    searching.explore,
    searching.resume,
    searching.front,
    runs.certify,
    runs.fronts,
    runs.sensitivity,
    evaluating.evaluate,
    evaluating.compare,
    explaining.explain,
    explaining.staircase,
    explaining.tune,
    explaining.relate,
    listing.networks,
    listing.presets,
    listing.mixes,
    scheduling.schedule,
    evaluating.validate,
    listing.space,
    listing.technology,
):
    app.command(cls=Command)(with_loudness(command))


def main() -> None:
    """Entry of the command `dse`: every foreseen error is one line on stderr and an exit code, never a traceback."""
    gc.set_threshold(100_000)  # the thousands of objects of imported packages are no garbage: a tenth of the start
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 gets "?" for what it cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    click_error = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    try:
        sys.exit(_guarded(click_error))
    except typer.Exit as end:
        sys.exit(end.exit_code)


def _guarded(click_error: type[Exception]) -> int:
    try:
        return app(standalone_mode=False) or 0
    except click_error as error:
        message = getattr(error, "format_message", error.__str__)()
        command = getattr(getattr(error, "ctx", None), "command_path", "dse")
        fail(f"{message} (see: {command} --help)", getattr(error, "exit_code", 2))
    except (typer.Abort, KeyboardInterrupt):
        fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, MemoryError) as error:
        if wants_traceback():
            raise
        fail(told(error), EXIT_ERROR)
    return EXIT_ERROR


if __name__ == "__main__":
    main()
