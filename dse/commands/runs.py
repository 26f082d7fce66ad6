"""Commands about finished runs: fronts of several, what is left of one when constants are wrong, and certificates."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.commands.options import Jobs, Json, Limits, NoFooter, RunDirectory, limits_of
from dse.commands.terminal import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    check_alone,
    console,
    fail,
    note,
    progress_screen,
    say,
    say_json,
)

if TYPE_CHECKING:
    from dse.proof.certificate import Certificate


def fronts(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Directories of runs, two or more.")],
    shared: Annotated[
        str | None, typer.Option(metavar="NAME", help="Objective at equal values of which runs are compared.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory to write.")] = Path("results/fronts"),
    no_footer: NoFooter = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the table there; - prints it and nothing else.")
    ] = None,
    json: Json = False,
) -> None:
    """Overlay the fronts of runs: who is better where.

    Of runs for the same networks, objectives and technology. The shared objective, by default the last one (the area),
    is cut into fifths of its range: the least of every other one at equal values of it. Whole fronts are compared by
    hypervolume, by what the others beat and by their distance from the best of all. Writes fronts.csv and figures.

    \b
    Examples:
      dse fronts results/resnet50 results/resnet50_small
      dse fronts results/a results/b results/c --out results/abc --csv -
    """
    import dse
    from dse.analysis.front_comparison import runs_of
    from dse.output.figure_style import save_widths
    from dse.output.front_figures import fronts as drawn
    from dse.output.front_figures import fronts_report
    from dse.runs.files import write_whole

    check_alone(json, csv=csv)
    found = runs_of(directories)
    table = dse.compare_fronts(found, shared)
    text = table.to_csv(index=False, lineterminator="\n")
    if csv == Path("-"):
        sys.stdout.write(text)
        return
    if json:
        say_json(table)
        return
    console().print(fronts_report(table))
    path = out / "fronts.csv" if csv is None else csv
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
    about = f"fronts of {', '.join(found)}"
    figures = save_widths(functools.partial(drawn, found), out, "fronts", about, with_footer=not no_footer)
    say(f"\nwrote {', '.join(map(str, [path, *figures]))}")


def sensitivity(
    directory: RunDirectory,
    draws: Annotated[int, typer.Option(min=1, metavar="N", help="Draws of all that may be wrong.")] = 100,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="The same seed gives the same draws.")] = 0,
    designs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Evaluated in every draw: the front and those nearest to it.")
    ] = 500,
    share: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Every constant wrong by up to this, such as 0.3, not by its range."),
    ] = None,
    jobs: Jobs = None,
    no_footer: NoFooter = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the table there; - prints it and nothing else.")
    ] = None,
    json: Json = False,
) -> None:
    """Tell which designs of a front survive wrong constants.

    Constants are drawn from their published ranges, areas of arrays and memories from the errors that dse validate
    finds, the price of the DRAM interface from its published range: each alone, and all together. Writes
    sensitivity.csv and a figure beside the run, whose own files stay as they are.

    \b
    Examples:
      dse sensitivity results/resnet50
      dse sensitivity results/resnet50 --draws 400 --seed 1 --csv -
    """
    import dse
    from dse.output.progress import shown
    from dse.output.sensitivity_figures import sensitivity_report, sensitivity_text, write_sensitivity
    from dse.problems import rebuild
    from dse.runs.files import write_whole
    from dse.search.exploration import load

    check_alone(json, csv=csv)
    run = load(directory)
    name = str((run.manifest.get("rebuild") or {}).get("problem", ""))
    if ":" in name and not json and csv != Path("-"):
        say(f"the problem of {directory} is {name}: importing {name.rpartition(':')[0]}")
    problem = rebuild(directory, -1 if jobs is None else jobs)
    with shown(progress_screen()) as progress:
        found = dse.sensitivity(problem, run, draws=draws, seed=seed, designs=designs, share=share, progress=progress)
    if csv == Path("-"):
        sys.stdout.write(sensitivity_text(found))
        return
    if json:
        say_json({"designs": found.designs, "draws": found.draws, "constants": found.constants})
        return
    for line in sensitivity_report(found):
        say(line)
    written = write_sensitivity(found, run, directory, not no_footer)
    if csv is not None:
        write_whole(csv, sensitivity_text(found).encode())
        written.append(csv)
    say(f"\nwrote {', '.join(map(str, written))}")


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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Throw away a proof of other limits or of another code.")
    ] = False,
) -> None:
    """Prove how far a run's front is from the best.

    Proves by how much a design of the whole space can beat it in both objectives at most; stops at --within.

    For latency against area, of one network or of the geometric mean of several. Writes certificate.json,
    certificate_boxes.npz and certified_front.csv, which has the better designs that the proof met. The same command
    continues an interrupted proof.

    \b
    Examples:
      dse certify results/resnet50 --within 10%
      dse certify results/resnet50 --within 5% --limit area_mm2=50 --minutes 10
      dse certify results/resnet50 --check
    """
    from dse.problems import rebuild
    from dse.proof.checker import check_certificate

    problem = rebuild(directory, -1 if jobs is None else jobs)
    if check:
        for line in check_certificate(problem, directory, sample=sample).lines:
            say(line)
        return
    found = proven(
        problem, directory, share_of("--within", within), limits_of(limit, problem), minutes, jobs, overwrite
    )
    if not found.finished:
        raise typer.Exit(EXIT_ERROR)


def proven(
    problem: Any,
    directory: Path,
    within: float,
    limits: Mapping[str, float] | None = None,
    minutes: float | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
) -> Certificate:
    """Certify a finished run; prints what is proven as it falls, and the statement."""
    from dse.proof.certificate import Step
    from dse.proof.certificate import certify as certified

    told = [float("inf")]

    def shown(step: Step) -> None:
        if step.proven < told[0] * 0.9:
            told[0] = step.proven
            note(
                f"nothing is better by more than {100 * step.proven:.3g} %: {step.bounds:,} bounds, {step.searches:,} "
                f"searches, {step.designs:,} designs, {step.open:,} boxes left, {step.elapsed_s:.0f} s"
            )

    settings: dict[str, Any] = {
        "within": within,
        "limits": limits,
        "minutes": minutes,
        "n_jobs": jobs,
        "overwrite": overwrite,
    }
    try:
        found = certified(problem, directory, **settings, progress=shown)
    except KeyboardInterrupt:
        options = "".join(f" --limit {name}={value:g}" for name, value in (limits or {}).items())
        fail(f"interrupted. Continue with: dse certify {directory} --within {within:g}{options}", EXIT_INTERRUPTED)
    say(str(found))
    note(f"Wrote {directory}/: certificate.json, certificate_boxes.npz, certified_front.csv")
    return found


def as_share(text: str) -> float:
    """A number, or one before a percent sign; ValueError for another text."""
    return float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)


def share_of(option: str, text: str) -> float:
    """A share written as 5% or 0.05."""
    try:
        share = as_share(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < (100 if text.strip().endswith("%") else 1):
        raise typer.BadParameter(f"{option} {text}: give a share, such as 5% or 0.05")
    return share
