"""The command that proves how good a front is: certify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.commands.options import Jobs, Limits, RunDirectory, limits_of
from dse.commands.terminal import EXIT_ERROR, EXIT_INTERRUPTED, fail, say

if TYPE_CHECKING:
    from dse.proof.certificate import Certificate


def certify(
    directory: RunDirectory,
    within: Annotated[
        str, typer.Option(metavar="SHARE", help="Prove that nothing is better by more than this in both objectives.")
    ] = "5%",
    limit: Limits = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, metavar="N", help="Stop after so long, with what is proven then.")
    ] = None,
    jobs: Jobs = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the certificate that lies there, by plain and slow code.")
    ] = False,
    sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="Boxes whose bounds --check repeats; their cover is checked whole.")
    ] = 200,
) -> None:
    """Prove that no design of the whole space beats the front of a finished run by more than 5 %.

    For latency against area, of one network or of the geometric mean of several. Writes certificate.json,
    certificate_boxes.npz and certified_front.csv, which has the better designs that the proof met. The same command
    continues an interrupted proof.

    \b
    Examples:
      dse explore resnet50 && dse certify results/resnet50 --within 10%
      dse certify results/resnet50 --within 5% --limit area_mm2=50 --minutes 10
      dse certify results/resnet50 --check
    """
    from dse.problems import rebuild
    from dse.proof.checker import check_certificate

    problem = rebuild(directory, jobs)
    if check:
        for line in check_certificate(problem, directory, sample=sample).lines:
            say(line)
        return
    found = proven(problem, directory, share_of("--within", within), limits_of(limit, problem), minutes, jobs)
    if not found.finished:
        raise typer.Exit(EXIT_ERROR)


def proven(
    problem: Any,
    directory: Path,
    within: float,
    limits: Mapping[str, float] | None = None,
    minutes: float | None = None,
    jobs: int | None = None,
) -> Certificate:
    """Certify a finished run; prints what is proven as it falls, and the statement."""
    from dse.proof.certificate import Step
    from dse.proof.certificate import certify as certified

    told = [float("inf")]

    def shown(step: Step) -> None:
        if step.proven < told[0] * 0.9:
            told[0] = step.proven
            say(
                f"nothing is better by more than {100 * step.proven:.3g} %: {step.bounds:,} bounds, {step.searches:,} "
                f"searches, {step.designs:,} designs, {step.open:,} boxes left, {step.elapsed_s:.0f} s"
            )

    settings: dict[str, Any] = {"within": within, "limits": limits, "minutes": minutes, "n_jobs": jobs}
    try:
        found = certified(problem, directory, **settings, progress=shown)
    except KeyboardInterrupt:
        fail(f"interrupted. Continue with: dse certify {directory}", EXIT_INTERRUPTED)
    say(str(found))
    say(f"Wrote {directory}/: certificate.json, certificate_boxes.npz, certified_front.csv")
    return found


def share_of(option: str, text: str) -> float:
    """A share written as 5% or 0.05."""
    try:
        return float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        raise typer.BadParameter(f"{option} {text}: give a share, such as 5% or 0.05") from None
