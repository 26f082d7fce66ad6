"""Commands that search: explore, resume, front."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dse.commands.options import (
    NETWORK,
    Batch,
    Dims,
    Jobs,
    Json,
    Limits,
    MappingObjective,
    Node,
    NoFigures,
    NoFooter,
    Reference,
    RemapFront,
    RunDirectory,
    SearchSlack,
    TimeLimit,
    limits_of,
    numbers,
    sizes,
    slack_of,
    space_named,
    technology_named,
)
from dse.commands.runs import proven, share_of
from dse.commands.terminal import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    console,
    fail,
    note,
    progress_screen,
    say,
    say_json,
    wants_traceback,
)


def explore(
    network: Annotated[str | None, NETWORK] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...|all|eight", help="Several: names, .onnx or .toml files, all that ship, or the paper's."
        ),
    ] = None,
    problem: Annotated[
        str,
        typer.Option(
            metavar="NAME|MODULE:CLASS",
            help="single: one network; geomean: the geometric mean over --networks; simultaneous: all of them, or a "
            "--mix, at the same time; codesign: hardware and widths of the network; or a class of your own, such as "
            "mine:EnergyDelay or mine.py:EnergyDelay.",
        ),
    ] = "single",
    mix: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.toml", help="Networks with counts, rates and deadlines (see: dse mixes)."),
    ] = None,
    sub_arrays: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Most sub-arrays (--problem simultaneous); default up to 3.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="X,Y,...", help="Weight of each of --networks in the mean; default equal.")
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="X,Y,...", help="Multipliers of a stage's channels (--problem codesign).")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Channels are multiples of this (codesign); default 8.")
    ] = None,
    least_capacity: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Least capacity to keep (codesign); default 0.5.")
    ] = None,
    evaluations: Annotated[
        int, typer.Option("--evaluations", "-n", min=1, metavar="N", help="Budget: unique designs.")
    ] = 10_000,
    population: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Individuals; default the root of the budget, 8 to 100.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="The same seed gives the same files, byte for byte.")
    ] = 0,
    jobs: Jobs = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Minimised: metrics such as latency_s, energy_j, area_mm2, power_w, dram_bytes, or edp_js, ed2p_js2, "
            "area_delay_mm2_s; default latency_s,area_mm2. Simultaneous: makespan_s (batch; default with area_mm2), "
            "antt, worst_slow_down, deadline_miss_share, inverse_throughput_s, inverse_stp, unfairness; of streams "
            "with rates latency_p95_s (default, with area_mm2), latency_p50_s, latency_p99_s, power_w, load.",
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.toml", help="default (codesign: small), small or a TOML file; see dse space."),
    ] = None,
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help="nsga2, nsga3, unsga3, smsemoa, agemoea, spea2, ctaea or random.")
    ] = "nsga2",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Directory to write; default results/NETWORK, and what else is not the default."
        ),
    ] = None,
    time_limit: TimeLimit = None,
    batch: Batch = 1,
    dim: Dims = None,
    node: Node = None,
    mapping: Annotated[
        str | None,
        typer.Option(metavar="best|fixed", help="Best of every layer; or frozen in hardware (--problem geomean)."),
    ] = None,
    mapping_objective: MappingObjective = None,
    mapping_slack: SearchSlack = None,
    limit: Limits = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="The algorithm alone: no balanced first designs, lower bounds, local search."),
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help="As many runs, of seeds --seed, --seed + 1 ...: median, band and a paired test."
        ),
    ] = None,
    reference: Reference = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Afterwards evaluate the whole space: its exact front.")
    ] = False,
    remap_front: RemapFront = False,
    certify: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Afterwards prove that no design is better by more (see: dse certify)."),
    ] = None,
    no_random_twin: Annotated[
        bool, typer.Option("--no-random-twin", help="Leave out the random search at equal budget.")
    ] = False,
    no_figures: NoFigures = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away what a run left in --out.")] = False,
    warm_start: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Start from the designs of another run.")
    ] = None,
) -> None:
    """Search hardware for the designs that run NETWORK best.

    Writes designs.csv (all), front.csv (the Pareto front), random_twin.csv, convergence.csv, columns.csv (units),
    manifest.json and figures. The same command again continues an interrupted run; with --remap-front it maps the
    front of a finished one again.

    \b
    Examples:
      dse explore resnet50
      dse explore resnet50 -n 20000 --objectives latency_s,energy_j,area_mm2 --out results/three
      dse explore resnet50 --space small --exhaustive --jobs 8
      dse explore model.onnx --batch 4 --dim seq=128 --node 16 --time-limit 5m
      dse explore --networks resnet50,model.onnx --problem geomean --weights 2,1
      dse explore --networks resnet50,mobilenet_v2,ptb_lstm_medium --problem simultaneous
      dse explore --mix vr_gaming --objectives deadline_miss_share,area_mm2
      dse explore resnet50 --limit latency_s=20ms --limit power_w=2
      dse explore resnet50 --seeds 10 -n 2000
      dse explore resnet50 --certify 10%
      dse explore resnet50 --problem codesign -n 2000
      dse explore resnet50 --problem mine.py:EnergyDelay
    """
    from dse.hardware.technology import Technology
    from dse.networks.layers import Network
    from dse.output.evaluation_tables import network_line
    from dse.output.units import duration_s, number
    from dse.problems import SimultaneousDNNs
    from dse.problems.registry import UsageError, Wanted, made
    from dse.proof.certificate import certifiable_networks
    from dse.search.search_loop import explore as search
    from dse.search.several_seeds import explore_seeds

    wanted = Wanted(
        problem=problem,
        network=network,
        networks=networks,
        mix=mix,
        weights=None if weights is None else tuple(numbers("--weights", weights)),
        mapping=mapping,
        sub_arrays=sub_arrays,
        widths=None if widths is None else tuple(numbers("--widths", widths)),
        step=step,
        least_capacity=least_capacity,
        objectives=None if objectives is None else tuple(x.strip() for x in objectives.split(",") if x.strip()),
        space=None if space is None else space_named(space),
        technology=technology_named(node),
        n_jobs=-1 if jobs is None else jobs,
        mapping_objective=mapping_objective,
        mapping_slack=slack_of(mapping_slack),
        batch=batch,
        dims=sizes(dim),
    )
    limit_s = None if time_limit is None else duration_s(time_limit)
    try:
        chosen, label = made(wanted)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None
    caps = limits_of(limit, chosen)
    if caps:
        chosen, label = chosen.with_limits(caps), "_".join([label, *(f"{k}={v:g}" for k, v in caps.items())])
    if remap_front:
        _check_remappable(chosen)
    if seeds is not None and (remap_front or warm_start is not None or time_limit is not None or certify is not None):
        raise typer.BadParameter("--seeds goes with neither --remap-front, --warm-start, --time-limit nor --certify")
    within = None if certify is None else share_of("--certify", certify)
    if within is not None:
        certifiable_networks(chosen)
    directory = out if out is not None else Path("results") / (label if seeds is None else f"{label}_{seeds}_seeds")
    networks = getattr(chosen, "networks", None) or getattr(chosen, "network", None)
    for each in networks if isinstance(networks, tuple | list) else [networks]:
        if isinstance(each, Network):  # a class of one's own may mean something else by these names
            note(network_line(each))
    constants = getattr(chosen, "technology", None)
    told = f", {constants.name}" if isinstance(constants, Technology) else ""
    note(
        f"space {chosen.space.name}: {chosen.space.n_var} variables, {number(chosen.space.size)} designs; "
        f"{algorithm}, {evaluations:,} designs, seed {seed}{told}; writing {directory}"
    )
    settings: dict[str, Any] = {
        "evaluations": evaluations, "population": population, "seed": seed, "algorithm": algorithm, "out": directory,
        "random_twin": not no_random_twin, "exhaustive": exhaustive, "overwrite": overwrite, "plain": plain,
    }  # fmt: skip
    own = problem if ":" in problem else ""
    if seeds is not None:
        _run_seeds(directory, lambda x: explore_seeds(chosen, seeds, progress=x, **settings), own, not no_figures)
        return
    _run(
        directory,
        lambda x: search(chosen, **settings, time_limit_s=limit_s, warm_start=warm_start, progress=x),
        overwrite,
        own,
        chosen if remap_front else None,
        chosen if isinstance(chosen, SimultaneousDNNs) else None,
        reference,
        None if within is None else lambda: proven(chosen, directory, within, jobs=jobs),
        with_figures=not no_figures,
    )


def resume(
    directory: RunDirectory,
    jobs: Jobs = None,
    time_limit: TimeLimit = None,
    remap_front: RemapFront = False,
    limit: Limits = None,
    reference: Reference = None,
    no_figures: NoFigures = False,
) -> None:
    """Continue an interrupted run from its directory alone.

    The result is that of an uninterrupted run.

    \b
    Examples:
      dse resume results/resnet50
      dse resume results/resnet50 --time-limit 10m
    """
    from dse.output.units import duration_s
    from dse.problems import rebuild
    from dse.problems import resume as continued
    from dse.runs.run_directory import read_manifest

    limit_s = None if time_limit is None else duration_s(time_limit)
    name = str((read_manifest(directory).get("rebuild") or {}).get("problem", ""))
    if ":" in name:
        note(f"the problem of {directory} is {name}: importing {name.rpartition(':')[0]}")
    own = name if ":" in name else ""
    again = rebuild(directory, jobs) if remap_front else None
    if again is not None:
        _check_remappable(again)
    caps = limits_of(limit, rebuild(directory, jobs)) if limit else None
    settings: dict[str, Any] = {"n_jobs": jobs, "time_limit_s": limit_s, "limits": caps}
    _run(
        directory,
        lambda x: continued(directory, **settings, progress=x),
        own=own,
        remap=again,
        reference=reference,
        with_figures=not no_figures,
    )


def front(
    directory: RunDirectory, reference: Reference = None, no_footer: NoFooter = False, json: Json = False
) -> None:
    """Show a run's front again and draw its figures anew.

    Of a run that is at work or was interrupted, the front so far; nothing is written there.

    \b
    Examples:
      dse front results/resnet50
      dse front results/resnet50 --json
    """
    from dse.search.exploration import load
    from dse.search.unfinished import front_so_far, is_unfinished

    if is_unfinished(directory):
        _so_far(front_so_far(directory), json)
        return
    if json:
        say_json(load(directory).front)
        return
    _conclude(load(directory), None, reference=reference, with_footer=not no_footer)


def _run_seeds(directory: Path, search: Any, own: str, with_figures: bool) -> None:
    """Search under several seeds with progress shown; draw the band, print what it tells."""
    from dse.output.progress import shown
    from dse.output.tables import seeds_report
    from dse.output.units import duration

    start = time.perf_counter()
    try:
        with shown(progress_screen()) as progress:
            found = _searched(search, progress, own)
    except KeyboardInterrupt as error:
        fail(f"{str(error).split(';')[0] or 'interrupted'}. The same command continues", EXIT_INTERRUPTED)
    names = ["seeds.csv", "convergence.csv"]
    if with_figures:
        from dse.output.run_figures import write_band  # slow to import

        names += [path.name for path in write_band(found)]
    else:
        _remove_figures(directory)
    for line in seeds_report(found):
        say(line)
    say(f"Took {duration(time.perf_counter() - start)}. Wrote {directory}/: "
        f"{', '.join(names)}, and a run in each of seed_{found.seeds[0]} to seed_{found.seeds[-1]}")  # fmt: skip


def _remove_figures(directory: Path) -> None:
    """Those of a shorter run would contradict the tables."""
    from dse.runs.run_directory import RUN_FIGURES

    for name in RUN_FIGURES:
        (directory / name).unlink(missing_ok=True)


def _so_far(run: Any, json: bool) -> None:
    """The front of an unfinished run, and how far it is."""
    from dse.output.tables import front_table

    state = f"the run in {run.directory} is not finished: {run.stopped_because}"
    if json:
        sys.stderr.write(f"dse: {state}\n")
        say_json(run.front)
        return
    screen = console()
    screen.print(front_table(run, screen.width) if len(run.front) else "No feasible design so far.")
    say(f"\nThe front so far: {state}. Continue an interrupted one with: dse resume {run.directory}")


def _check_remappable(problem: Any) -> None:
    """ValueError before anything runs where no mapper can be asked for more."""
    try:
        problem.with_effort("complete")
    except ValueError as error:
        raise ValueError(f"--remap-front: {error}; or leave out --remap-front") from None


def _run(
    directory: Path,
    search: Any,
    overwritten: bool = False,
    own: str = "",
    remap: Any = None,
    mixed: Any = None,
    reference: Path | None = None,
    prove: Callable[[], Any] | None = None,
    with_figures: bool = True,
) -> None:
    """Search with progress shown, then draw the result and print it.

    `own` names a problem class of the user's; `remap` is the problem where the front is to be mapped again, `mixed`
    where it is of several networks at the same time; `reference` a front to compare with; `prove` certifies the run.
    """
    from dse.output.progress import shown
    from dse.search.exploration import load

    start, before = time.perf_counter(), _status(directory)
    try:
        with shown(progress_screen()) as progress:
            run = _searched(search, progress, own)
        done_before = before == "finished" and not overwritten
        if done_before:
            note(
                f"{directory} holds this run, finished {run.manifest.get('ended', 'before')}; --overwrite runs it again"
            )
        took_s = None if done_before else time.perf_counter() - start
        again = None if remap is None else _remapped(remap, run, own)
        proven_so = None
        try:
            proven_so = None if prove is None else prove()
        finally:  # the report of the search is not lost with its proof
            concluded = run if prove is None else load(directory)
            _conclude(concluded, took_s, again, mixed, reference, with_figures=with_figures)
        if proven_so is not None and not proven_so.finished:
            raise typer.Exit(EXIT_ERROR)
    except KeyboardInterrupt as error:
        fail(f"{str(error).split(';')[0] or 'interrupted'}. Continue with: dse resume {directory}", EXIT_INTERRUPTED)


def _searched(search: Any, progress: Any, own: str) -> Any:
    """The run; what a class of the user's raises is one line that says where."""
    from dse.problems.own_modules import says_what_to_do, where_raised

    try:
        return search(progress)
    except (Exception, SystemExit) as error:
        if not own or wants_traceback() or says_what_to_do(error, hooks=True):
            raise
        fail(f"{own} failed while designs were evaluated: {where_raised(error)}; --verbose shows more", EXIT_ERROR)


def _remapped(problem: Any, run: Any, own: str) -> Any:
    """The run's front under the complete mapper, progress shown as for the search."""
    from dse.output.progress import shown
    from dse.search.remapping import RemapInterrupted, remap_front

    try:
        with shown(progress_screen()) as progress:
            return _searched(lambda x: remap_front(problem, run, progress=x), progress, own)
    except RemapInterrupted as error:
        fail(f"{error}. The same command with --remap-front maps them again", EXIT_INTERRUPTED)


def _status(directory: Path) -> str | None:
    from dse.runs.files import RunDirectoryError
    from dse.runs.run_directory import read_manifest

    try:
        return read_manifest(directory).get("status")
    except RunDirectoryError:
        return None


def _conclude(
    run: Any,
    seconds: float | None,
    again: Any = None,
    mixed: Any = None,
    reference: Path | None = None,
    with_footer: bool = True,
    with_figures: bool = True,
) -> None:
    """Draw the figures; print the table, the verdict, the time and the paths."""
    from dse.output.tables import (
        along_front,
        distance_report,
        front_table,
        kept_report,
        price_report,
        remap_report,
        verdict,
    )
    from dse.output.units import duration

    if with_figures:
        from dse.output.run_figures import write_figures  # slow to import

        write_figures(run, with_footer=with_footer)
    elif seconds is not None:
        _remove_figures(run.directory)
    screen = console()
    if len(run.front):
        screen.print("", front_table(run, screen.width), "", sep="\n")
        if (prices := price_report(run, screen.width)) is not None:
            screen.print(prices, "", sep="\n")
        if mixed is not None:
            kept = run.front.iloc[along_front(run, screen.width)]
            screen.print(kept_report(kept["index"], mixed.kept(kept)), "", sep="\n")
    for line in [*verdict(run), *distance_report(run, reference)]:
        say(line)
    took = run.manifest.get("wall_time_s", 0.0) if seconds is None else seconds
    note(f"{'It took' if seconds is None else 'Took'} {duration(took)} for {run.evaluations:,} unique designs.")
    for line in () if again is None else remap_report(again):
        say(line)
    files = sorted(path.name for path in run.directory.iterdir() if path.is_file())
    note(f"Wrote {run.directory}/: {', '.join(files)}")
