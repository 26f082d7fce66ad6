"""python -m experiments NAME [STAGE]... [--quick] | check"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from dse.commands.terminal import EXIT_ERROR, EXIT_INTERRUPTED, told

EXPERIMENTS = (
    "reference_sweep", "exact_fronts", "sensitivity", "eight_dnns", "operation_kinds", "simultaneous", "tune_dnn",
    "validation", "make_networks",
)  # fmt: skip
"""Modules of this package, in the order in which one needs what another wrote."""


class Lazy(TyperGroup):
    """Imports an experiment when it is named."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*EXPERIMENTS, "check"]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """First lines, without an import."""
        texts = {name: Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in EXPERIMENTS}
        lines = [(name, text.split("\n")[0].strip('"')) for name, text in texts.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*lines, ("check", (check.__doc__ or "").strip())])

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in EXPERIMENTS:
            return super().get_command(ctx, name)
        module = importlib.import_module(f"experiments.{name}")
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        text = (module.__doc__ or "").strip().replace("\n\n", "\n\n\b\n")  # lines stay as they are
        app.command(name, help=text)(module.main)
        return typer.main.get_command(app)


app = typer.Typer(
    cls=Lazy, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True
)


@app.callback()
def experiments() -> None:
    """The studies of this project. Each runs by one command, continues after an interruption, and has --quick."""


@app.command()
def check(
    results: Annotated[Path | None, typer.Argument(help="Tables; default results.")] = None,
) -> None:
    """Hold every finding of results/README.md, README.md and docs against the committed tables."""
    from experiments.findings import wrong_findings

    count, wrong = wrong_findings(results)
    for line in wrong:
        print(line)
    if wrong:
        fail(f"{len(wrong)} of {count} findings are not what the tables say", EXIT_ERROR)
    print(f"{count} findings are what the tables say")


def fail(message: str, code: int) -> NoReturn:
    """One line, and the exit code."""
    sys.stderr.write(f"experiments: {' '.join(message.split())}\n")
    sys.exit(code)


def main() -> None:
    """Every foreseen error is one line."""
    click_error = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="python -m experiments") or 0)
    except click_error as error:
        fail(getattr(error, "format_message", error.__str__)() or "see --help", 2)
    except (typer.Abort, KeyboardInterrupt):
        fail("interrupted; the same command continues", EXIT_INTERRUPTED)
    except ImportError as error:
        fail(f"{error}; install what is missing: pip install {error.name or 'torch torchvision onnx'}", EXIT_ERROR)
    except (ValueError, OSError) as error:
        if os.environ.get("DSE_TRACEBACK"):
            raise
        fail(told(error), EXIT_ERROR)


if __name__ == "__main__":
    main()
