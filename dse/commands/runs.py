"""Commands about finished runs: fronts of several, and what is left of one when constants are wrong."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Annotated

import typer

from dse.commands.options import Jobs, Json, NoFooter, RunDirectory
from dse.commands.terminal import check_alone, console, say, say_json


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
    from rich.console import Console

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
    with shown(Console(stderr=True)) as progress:
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
