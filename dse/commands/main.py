"""The command line, `dse`.  Every command is a few lines over the library; heavy imports wait until they are needed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_ERROR, EXIT_INTERRUPTED = 1, 130

app = typer.Typer(
    name="dse",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find the accelerators that run a deep neural network best: performance against area, energy and power.\n\n"
    "dse explore resnet50 searches the default hardware space and writes results/resnet50.",
    epilog="Networks are names (dse networks) or .onnx files. Units: s, J, W, mm2; KiB = 1024 bytes, GB/s = 1e9 B/s.",
)

NetworkArgument = Annotated[str, typer.Argument(help="Name of a network (see: dse networks) or path of an .onnx file.")]


def _batch(text: str | int) -> int | None:
    """A number of samples; None for the word ``file``."""
    if text == "file":
        return None
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise typer.BadParameter(f"{text!r} is neither a whole number >= 1 nor the word file")
    return number


Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        parser=_batch,
        metavar="N|file",
        help="Samples per inference; file keeps the sizes that an .onnx file fixes.",
    ),
]
Dims = Annotated[
    list[str] | None, typer.Option("--dim", metavar="NAME=SIZE", help="Size of a dynamic dimension, such as seq=128.")
]
Node = Annotated[
    str, typer.Option("--node", metavar="NM|FILE.toml", help="Technology: 65, 45, 28, 22, 16 or 7 nm, or a TOML file.")
]
MappingObjective = Annotated[
    str,
    typer.Option(
        "--mapping-objective", metavar="NAME", help="What the mapper minimises in each layer: latency, energy or edp."
    ),
]
MappingSlack = Annotated[
    float | None,
    typer.Option("--mapping-slack", metavar="SHARE", help="Latency a mapping may give up for energy; default 0.01."),
]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Workers; default all cores.")]
TimeLimit = Annotated[
    str | None, typer.Option("--time-limit", metavar="TIME", help="Stop after 90, 90s, 5m or 1h30m; resume continues.")
]
RunDirectory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a run, such as results/resnet50.")]


def _version(wanted: bool) -> None:
    if wanted:
        from dse import __version__

        typer.echo(f"dse {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def explore(
    network: Annotated[
        str | None, typer.Argument(help="Name of a network (see: dse networks) or path of an .onnx file.")
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...|all|eight", help="Several networks: names or .onnx files, all that ship, or the paper's."
        ),
    ] = None,
    problem: Annotated[
        str,
        typer.Option(
            metavar="single|geomean|simultaneous",
            help="For one network, the geometric mean over --networks, or all of them (or a --mix) at the same time.",
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
            "area_delay_mm2_s; default latency_s,area_mm2. Simultaneous: makespan_s (default, with area_mm2), antt, "
            "worst_slow_down, deadline_miss_share, inverse_throughput_s, inverse_stp, unfairness.",
        ),
    ] = None,
    space: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="default, small or a TOML file (see: dse space --toml).")
    ] = "default",
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help="nsga2, nsga3, unsga3, smsemoa, agemoea, spea2, ctaea or random.")
    ] = "nsga2",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Directory to write; default results/NETWORK.")
    ] = None,
    time_limit: TimeLimit = None,
    batch: Batch = 1,
    dim: Dims = None,
    node: Node = "45",
    mapping: Annotated[
        str, typer.Option(metavar="best|fixed", help="Best of every layer; or frozen in hardware (--problem geomean).")
    ] = "best",
    mapping_objective: MappingObjective = "latency",
    mapping_slack: MappingSlack = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Afterwards evaluate the whole space: its exact front.")
    ] = False,
    no_random_twin: Annotated[
        bool, typer.Option("--no-random-twin", help="Leave out the random search at equal budget.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away what a run left in --out.")] = False,
    warm_start: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Start from the designs of another run.")
    ] = None,
) -> None:
    """Search a hardware space for the designs that run NETWORK best.

    Writes designs.csv (all), front.csv (the Pareto front), random_twin.csv, convergence.csv, columns.csv (units),
    manifest.json and figures. The same command again continues an interrupted run.

    \b
    Examples:
      dse explore resnet50
      dse explore resnet50 -n 20000 --objectives latency_s,energy_j,area_mm2 --out results/three
      dse explore resnet50 --space small --exhaustive --jobs 8
      dse explore model.onnx --batch 4 --dim seq=128 --node 16 --time-limit 5m
      dse explore --networks resnet50,model.onnx --problem geomean --weights 2,1
      dse explore --networks resnet50,mobilenet_v2,ptb_lstm_medium --problem simultaneous
      dse explore --mix vr_gaming --objectives deadline_miss_share,area_mm2
    """
    from dse.costs.kernel_rows import DEFAULT_SLACK
    from dse.output.tables import network_line
    from dse.output.units import duration_s, number
    from dse.search.search_loop import explore as search
    from problems import GeomeanDNN, SimultaneousDNNs, SingleDNN

    problem = "simultaneous" if mix is not None and problem == "single" else problem
    made, label = _subject(network, networks, mix, problem, weights, mapping, sub_arrays, batch, _sizes(dim))
    directory = out if out is not None else Path("results") / label
    limit_s = None if time_limit is None else duration_s(time_limit)
    chosen_space, technology = _space(space), _technology(node)
    chosen = {"single": SingleDNN, "geomean": GeomeanDNN, "simultaneous": SimultaneousDNNs}[problem](
        **made,
        space=chosen_space,
        technology=technology,
        objectives=objectives and tuple(name.strip() for name in objectives.split(",") if name.strip()),
        n_jobs=-1 if jobs is None else jobs,
        mapping_objective=mapping_objective,
        mapping_slack=DEFAULT_SLACK if mapping_slack is None else mapping_slack,
    )
    for each in getattr(chosen, "networks", None) or [chosen.network]:
        _say(network_line(each))
    _say(
        f"space {chosen.space.name}: {chosen.space.n_var} variables, {number(chosen.space.size)} designs; "
        f"{algorithm}, {evaluations:,} designs, seed {seed}, {technology.name}; writing {directory}"
    )
    _run(
        directory,
        lambda progress: search(
            chosen,
            evaluations=evaluations,
            population=population,
            seed=seed,
            algorithm=algorithm,
            out=directory,
            time_limit_s=limit_s,
            random_twin=not no_random_twin,
            exhaustive=exhaustive,
            progress=progress,
            overwrite=overwrite,
            warm_start=warm_start,
        ),
    )


def _subject(
    network: str | None,
    networks: str | None,
    mix: str | None,
    problem: str,
    weights: str | None,
    mapping: str,
    sub_arrays: int | None,
    batch: int | None,
    dims: dict[str, int],
) -> tuple[dict[str, Any], str]:
    """What the problem is about, as its arguments, and a name for its directory."""
    if (network is not None) + (networks is not None) + (mix is not None) != 1:
        raise typer.BadParameter("give a NETWORK, several with --networks A,B,... or --networks all, or a --mix")
    if problem not in ("single", "geomean", "simultaneous"):
        raise ValueError(f"unknown problem {problem!r}: give single, geomean or simultaneous")
    if mix is not None and problem != "simultaneous":
        raise ValueError("--mix needs --problem simultaneous")
    if mix is not None and (batch != 1 or dims):
        raise ValueError("--batch and --dim are for networks; a mix says them for each of its streams")
    if sub_arrays is not None and problem != "simultaneous":
        raise ValueError("--sub-arrays needs --problem simultaneous")
    if weights is not None and problem != "geomean":
        raise ValueError("--weights needs --problem geomean")
    if mapping != "best" and problem != "geomean":
        raise ValueError("--mapping needs --problem geomean, which takes one network too")
    if problem == "single":
        if network is None:
            raise ValueError("--networks needs --problem geomean or simultaneous; for one network give its name alone")
        return {"network": network, "batch": batch, "dims": dims}, Path(network).stem
    if networks in ("all", "eight"):
        from dse.networks import EIGHT, network_names

        names = list(network_names() if networks == "all" else EIGHT)
    else:
        names = [name.strip() for name in (networks or network or "").split(",") if name.strip()]
    label = f"{problem}_{networks if networks in ('all', 'eight') else '_'.join(Path(name).stem for name in names)}"
    if problem == "simultaneous":
        from dse.simultaneous.mixes import Mix, load_mix

        if mix is not None:
            return {"mix": load_mix(mix), "most_sub_arrays": sub_arrays}, f"mix_{Path(mix).stem}"
        return {"mix": Mix.of(names, label, batch, dims), "most_sub_arrays": sub_arrays}, label[:80]
    given = None if weights is None else _numbers("--weights", weights)
    label = label if mapping == "best" else f"{label}_{mapping}"
    return {"networks": names, "weights": given, "mapping": mapping, "batch": batch, "dims": dims}, label[:80]


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(value) for value in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text!r}: expected numbers separated by commas, such as 2,1") from None


@app.command()
def resume(directory: RunDirectory, jobs: Jobs = None, time_limit: TimeLimit = None) -> None:
    """Continue an interrupted run from its directory alone; the result is that of an uninterrupted run."""
    from dse.output.units import duration_s
    from problems import resume as continued

    limit_s = None if time_limit is None else duration_s(time_limit)
    _run(directory, lambda progress: continued(directory, n_jobs=jobs, time_limit_s=limit_s, progress=progress))


@app.command()
def front(directory: RunDirectory) -> None:
    """Show a run's front again and draw its figures anew."""
    from dse.search.exploration import load

    _conclude(load(directory), None)


@app.command()
def evaluate(
    network: NetworkArgument,
    design: Annotated[
        str | None,
        typer.Option(metavar="PRESET|FILE.toml|DIR:INDEX|DIR:knee", help="The design; default Accelerator()."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a parameter, such as rows=32.")
    ] = None,
    batch: Batch = 1,
    dim: Dims = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="NM|FILE.toml", help="Technology; default 45, or the run's.")
    ] = None,
    mapping_objective: Annotated[
        str | None,
        typer.Option("--mapping-objective", metavar="NAME", help="latency (default, or the run's), energy or edp."),
    ] = None,
    mapping_slack: MappingSlack = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the per-layer table.")] = None,
    mappings: Annotated[bool, typer.Option("--mappings", help="Print each layer's mapping as a loop nest.")] = False,
) -> None:
    """Run NETWORK on one design: latency, its bound and why, energy, area, every layer.

    \b
    Examples:
      dse evaluate resnet50 --set rows=32 --set dataflow=row_stationary
      dse evaluate resnet50 --design results/resnet50:knee --mappings
      dse evaluate resnet50 --design chip.toml --csv layers.csv

    The TOML file holds a table [design] with parameters such as rows = 32; dse space lists their names and units.
    """
    import dse
    from dse.commands.design_by_text import choose
    from dse.networks.layers import MacLayer
    from dse.output.tables import design_table, evaluation_report, network_line
    from dse.runs.files import write_whole

    chosen = choose(design, settings or ())
    given = {
        "technology": None if node is None else _technology(node),
        "objective": mapping_objective,
        "slack": mapping_slack,
    }
    options = chosen.options() | {name: value for name, value in given.items() if value is not None}
    graph = dse.load_network(network, batch, _sizes(dim))
    done = dse.evaluate(chosen.design, graph, **options)
    if csv is not None:
        write_whole(csv, done.layers.to_csv(index=False, lineterminator="\n").encode())
    console = _console()
    _say(network_line(graph))
    _say(f"design: {chosen.origin}; {options['technology'].name}; mapped for {options['objective']}\n")
    console.print(design_table(chosen.design.parameters()), "", evaluation_report(done, console.width), sep="\n")
    if mappings:
        shown = set()
        for layer in graph.layers:
            if isinstance(layer, MacLayer) and layer.shape_key not in shown:
                shown.add(layer.shape_key)
                _say(f"\n{done.mappings[layer.name].loop_nest(layer, chosen.design)}")
    if csv is not None:
        _say(f"\nwrote {csv}")


Design = Annotated[
    str | None,
    typer.Option("--design", metavar="PRESET|FILE.toml|DIR:INDEX|DIR:knee", help="The design; default Accelerator()."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a parameter, such as rows=32.")
]
LayerName = Annotated[str | None, typer.Option("--layer", metavar="NAME", help="Name of a layer (see: dse evaluate).")]
OutDirectory = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write figures and tables there.")]


@app.command()
def explain(
    network: NetworkArgument,
    design: Design = None,
    settings: Settings = None,
    layer: LayerName = None,
    batch: Batch = 1,
    dim: Dims = None,
    out: OutDirectory = None,
) -> None:
    """Say why NETWORK takes its time on one design, and what to change: each promise is evaluated, not guessed.

    \b
    Examples:
      dse explain resnet50 --design tpu_v1 --out results/why
      dse explain resnet50 --design results/resnet50:knee --layer /conv1/Conv
    """
    from dse.analysis.explanation import explain as explained
    from dse.analysis.staircases import known_layer
    from dse.output.explanation_figures import write_explanation
    from dse.output.explanation_tables import explanation_report
    from dse.output.tables import network_line

    chosen, graph, options = _chosen(network, design, settings, batch, dim)
    if layer is not None and layer not in [item.name for item in graph.layers]:
        known_layer(graph, layer)
    found = explained(chosen.design, graph, **options)
    _say(network_line(graph))
    _say(f"design: {chosen.origin}; {options['technology'].name}\n")
    _console().print(explanation_report(found, layer), soft_wrap=True)
    if out is not None:
        _say(f"\nwrote {', '.join(map(str, write_explanation(found, out)))}")


def _chosen(
    network: str, design: str | None, settings: list[str] | None, batch: int | None, dim: list[str] | None
) -> Any:
    """Design, network, and the options with which its run mapped (or the defaults)."""
    import dse
    from dse.commands.design_by_text import choose

    chosen = choose(design, settings or ())
    return chosen, dse.load_network(network, batch, _sizes(dim)), chosen.options()


@app.command()
def staircase(
    network: NetworkArgument,
    layer: Annotated[str, typer.Option("--layer", metavar="NAME", help="Name of a MAC layer (see: dse evaluate).")],
    design: Design = None,
    settings: Settings = None,
    size: Annotated[
        str, typer.Option(metavar="K|C|kernel|stride|groups|resolution", help="What to vary; K: output channels.")
    ] = "K",
    batch: Batch = 1,
    dim: Dims = None,
    out: OutDirectory = None,
) -> None:
    """Latency of one layer against one of its sizes, with the hardware's steps marked: a figure and a CSV file.

    \b
    Example: dse staircase resnet50 --layer /conv1/Conv --design tpu_v1 --size K
    """
    from dse.analysis.staircases import staircase as computed
    from dse.output.explanation_figures import stairs
    from dse.output.figure_style import save_figure
    from dse.output.units import number
    from dse.runs.files import write_whole

    chosen, graph, options = _chosen(network, design, settings, batch, dim)
    table = computed(chosen.design, graph, layer, size, **options)
    title = f"{graph.name} {layer} \u00b7 {chosen.origin}"
    for _, row in table[table["is_step"] | table["is_now"]].iterrows():
        mark = "now" if row["is_now"] else "last before a rise"
        _say(f"{size} = {row['value']}: {number(round(row['cycles']))} cycles, bound by {row['bound']} ({mark})")
    directory = out if out is not None else Path("results") / f"staircase_{graph.name}"
    directory.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.]+", "_", f"{layer}_{size}").strip("_")
    write_whole(directory / f"{stem}.csv", table.to_csv(index=False, lineterminator="\n").encode())
    save_figure(stairs(table, title), directory / f"{stem}.png", title)
    _say(f"wrote {directory}/{stem}.csv and .png")


@app.command()
def tune(
    network: NetworkArgument,
    design: Design = None,
    settings: Settings = None,
    parameters: Annotated[float, typer.Option(metavar="SHARE", help="Least share of the parameters to keep.")] = 1.0,
    macs: Annotated[
        float, typer.Option(metavar="SHARE", help="Least share of MACs and weights to keep in each stage.")
    ] = 1.0,
    most: Annotated[float, typer.Option(metavar="SHARE", help="Most parameters, as a share of the original's.")] = 2.0,
    grow: Annotated[bool, typer.Option("--grow", help="Also round channels up where that costs no cycles.")] = False,
    trade: Annotated[
        bool, typer.Option("--trade", help="What one edit adds to a stage another may take away.")
    ] = False,
    batch: Batch = 1,
    dim: Dims = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes; each takes seconds to start.")
    ] = 1,
    out: OutDirectory = None,
) -> None:
    """Edit NETWORK so that it runs faster on one design, first at no loss of capacity; write it as ONNX.

    A stage is all MAC layers of one output size. Writes tuned.onnx (without weights: train it anew), edits.csv.

    \b
    Examples:
      dse tune resnet50 --design nvdla_large --out results/tuned
      dse tune resnet50 --design results/resnet50:knee --parameters 0.98 --macs 0.98
    """
    from dse.networks import network_dims
    from dse.output.explanation_tables import tuned_report
    from dse.tuning.proposals import Budget, read_graph, write_tuned
    from dse.tuning.proposals import tune as tuned

    chosen, graph, options = _chosen(network, design, settings, batch, dim)
    budget = Budget(parameters, macs, most, trade)
    model = read_graph(network)
    options |= {"batch": batch, "dims": network_dims(network, _sizes(dim)), "n_jobs": jobs}
    found = tuned(model, chosen.design, budget=budget, grow=grow, **options)
    _say(f"design: {chosen.origin}; {options['technology'].name}\n")
    _console().print(tuned_report(found))
    directory = out if out is not None else Path("results") / f"tuned_{graph.name}"
    _say(f"wrote {', '.join(map(str, write_tuned(found, directory)))}")


@app.command()
def relate(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK...", help="Names or .onnx files.")],
    design: Design = None,
    settings: Settings = None,
    batch: Batch = 1,
    dim: Dims = None,
    out: OutDirectory = None,
) -> None:
    """What each kind of operation wants (dataflow, array shape, buffer split, bandwidth) and loses without it.

    \b
    Example: dse relate resnet50 model.onnx --design nvdla_large --out results/relation
    """
    from dse.analysis.operation_kinds import relate as related
    from dse.output.explanation_figures import relation_figure
    from dse.output.explanation_tables import relation_table
    from dse.output.figure_style import save_figure
    from dse.runs.files import write_whole

    chosen = [_chosen(network, design, settings, batch, dim) for network in networks]
    design_of, _, options = chosen[0]
    table = related(design_of.design, [graph for _, graph, _ in chosen], **options)
    _say(f"design: {design_of.origin}; {options['technology'].name}\n")
    _console().print(relation_table(table))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "relation.csv", table.to_csv(index=False, lineterminator="\n").encode())
        save_figure(relation_figure(table, design_of.origin), out / "relation.png", "relation")
        _say(f"wrote {out}/relation.csv and .png")


@app.command()
def networks() -> None:
    """List the networks that ship."""
    from dse.networks import NETWORKS, load_network
    from dse.output.tables import networks_table

    _console().print(networks_table((name, entry, load_network(name)) for name, entry in NETWORKS.items()))


@app.command()
def mixes() -> None:
    """List the mixes of networks that ship, for `dse explore --mix`."""
    from dse.output.tables import mixes_table
    from dse.simultaneous.mixes import load_mix, mix_names

    _console().print(mixes_table(load_mix(name) for name in mix_names()))


@app.command()
def schedule(
    mix: Annotated[
        str, typer.Argument(metavar="MIX", help="Name (see: dse mixes), .toml file, or networks A,B,... all at once.")
    ],
    design: Design = None,
    settings: Settings = None,
    division: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,...",
            help="Columns of each sub-array, in proportion; default as the design's run divided it, else undivided.",
        ),
    ] = None,
    buffers: Annotated[
        str | None, typer.Option(metavar="X,Y,...", help="Buffers of each, in proportion; default as --division.")
    ] = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(metavar="shared|X,Y,...", help="DRAM bandwidth: shared (default), or parts in proportion."),
    ] = None,
    dataflows: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Dataflow of each; default the design's.")
    ] = None,
    place: Annotated[
        str | None, typer.Option(metavar="I,J,...", help="Sub-array of each stream, from 1; default in turn.")
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(metavar="deadline|round_robin|first", help="What a sub-array runs next; default deadline."),
    ] = None,
    out: OutDirectory = None,
) -> None:
    """Run a MIX of networks at the same time on one design, whole or divided into sub-arrays.

    A design of a simultaneous run is divided as the run found it, its streams where the run placed them; options change
    single parts of that.

    \b
    Examples:
      dse schedule vr_gaming --design results/mix_vr_gaming:knee --out results/vr
      dse schedule resnet50,ptb_lstm_medium --design results/simultaneous_resnet50_ptb_lstm_medium:knee
      dse schedule moca_light --set cols=64 --division 1,1,2 --dataflows row_stationary,output_stationary,row_stationary
    """
    from dataclasses import replace

    from dse.commands.design_by_text import choose
    from dse.output.figure_style import save_figure
    from dse.output.schedule_figures import gantt_figure, slow_down_figure
    from dse.output.tables import co_run_report
    from dse.runs.files import write_whole
    from dse.simultaneous.co_runs import co_run
    from dse.simultaneous.division import Division, division_of, places_of
    from dse.simultaneous.mixes import Mix, load_mix

    names = [name.strip() for name in mix.split(",") if name.strip()]
    chosen, loaded = choose(design, settings or ()), Mix.of(names, mix) if len(names) > 1 else load_mix(mix)
    found_by_run = division is None and "policies" in chosen.values
    divided = Division(columns=tuple(_numbers("--division", division or "1")))
    if found_by_run:
        divided, _ = division_of(chosen.values, chosen.design)
    if buffers is not None:
        divided = replace(divided, buffers=tuple(_numbers("--buffers", buffers)))
    if bandwidth is not None:
        parts = None if bandwidth == "shared" else tuple(_numbers("--bandwidth", bandwidth))
        divided = replace(divided, bandwidth=parts, shared_bandwidth=parts is None)
    if dataflows is not None:
        divided = replace(divided, dataflows=tuple(name.strip() for name in dataflows.split(",")))
    where = None
    if place is not None:
        if not all(text.strip().isdecimal() for text in place.split(",")):
            raise ValueError(f"--place {place!r}: expected whole numbers separated by commas, such as 2,1")
        where = [int(text) - 1 for text in place.split(",")]
    if where is None and found_by_run:
        where = places_of(chosen.values, divided, [stream.name for stream in loaded.streams])
    if where is not None and (len(where) != len(loaded.streams) or not all(0 <= a < divided.sub_arrays for a in where)):
        raise ValueError(
            f"--place {place!r}: give a sub-array from 1 to {divided.sub_arrays} for each stream of the mix: "
            f"{', '.join(stream.name for stream in loaded.streams)}"
        )
    found = co_run(
        loaded, chosen.design, divided, where, order=order or chosen.values.get("order") or "deadline",
        **chosen.options(),
    )  # fmt: skip
    _say(f"mix {loaded.name}; design: {chosen.origin}\n")
    _console().print(co_run_report(found))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        table = found.schedule.layers()
        table["sub_array"] += 1
        write_whole(out / "schedule.csv", table.to_csv(index=False, lineterminator="\n").encode())
        for ending in ("png", "pdf"):
            save_figure(gantt_figure(found), out / f"schedule.{ending}", f"schedule of {loaded.name}")
        save_figure(slow_down_figure({loaded.name: found}), out / "slow_downs.png", f"slow-downs of {loaded.name}")
        _say(f"wrote {out}/: schedule.csv, schedule.png, schedule.pdf, slow_downs.png")


@app.command()
def validate(
    references: Annotated[list[str] | None, typer.Argument(metavar="[REFERENCE]...", help="Default: all.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory to write.")] = Path("results/validation"),
) -> None:
    """Compare the model with published silicon, RTL, vendors' models and simulators.

    Prints errors and rank correlations beside those of a roofline; writes every comparison as CSV, and figures.
    """
    from dse.output.tables import validation_table
    from dse.validation.collect import validate as compared

    _console().print(validation_table(compared(out, references or ())))
    _say(f"Wrote {out}/: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))}")


@app.command()
def space(
    name: Annotated[str, typer.Argument(metavar="[default|small|FILE.toml]", help="The space.")] = "default",
    toml: Annotated[bool, typer.Option("--toml", help="Print it as a TOML file to start your own from.")] = False,
) -> None:
    """Show a hardware space: its variables, their levels and units, its size."""
    from dse.output.tables import base_table, space_table

    chosen = _space(name)
    if toml:
        sys.stdout.write(chosen.toml_text())
        return
    _console().print(space_table(chosen), "", base_table(chosen), sep="\n")


def _space(name: str) -> Any:
    from dse.hardware.space import DesignSpace, default_space, small_space

    known = {"default": default_space, "small": small_space}
    if name in known:
        return known[name]()
    if not name.endswith(".toml") and not Path(name).exists():
        raise ValueError(f"unknown space {name!r}: give default, small or the path of a .toml file")
    return DesignSpace.from_toml(name)


def _technology(node: str) -> Any:
    from dse.hardware.technology import Technology

    try:
        node_nm = float(node)
    except ValueError:
        return Technology.from_toml(node)
    return Technology.at(node_nm)


def _sizes(dims: list[str] | None) -> dict[str, int]:
    sizes = {}
    for text in dims or ():
        name, equals, size = text.partition("=")
        if not equals or not size.strip().isdecimal():
            raise ValueError(f"--dim {text!r}: expected NAME=SIZE with a whole number, such as seq=128")
        sizes[name.strip()] = int(size)
    return sizes


def _run(directory: Path, search: Any) -> None:
    """Search with progress shown, then draw and tell the result."""
    import time

    from rich.console import Console

    from dse.output.progress import shown

    start, before = time.perf_counter(), _status(directory)
    try:
        with shown(Console(stderr=True)) as progress:
            run = search(progress)
        if before == "finished":
            _say(f"{directory} holds this run, finished; --overwrite runs it again")
        _conclude(run, time.perf_counter() - start)
    except KeyboardInterrupt as error:
        _fail(f"{str(error).split(';')[0] or 'interrupted'}. Continue with: dse resume {directory}", EXIT_INTERRUPTED)


def _status(directory: Path) -> str | None:
    from dse.runs.files import RunDirectoryError
    from dse.runs.run_directory import read_manifest

    try:
        return read_manifest(directory).get("status")
    except RunDirectoryError:
        return None


def _conclude(run: Any, seconds: float | None) -> None:
    """Draw the figures; print the table, the verdict, the time and the paths."""
    from dse.output.run_figures import write_figures
    from dse.output.tables import front_table, price_report, verdict
    from dse.output.units import duration

    write_figures(run)
    console = _console()
    if len(run.front):
        console.print("", front_table(run, console.width), "", sep="\n")
        if (prices := price_report(run, console.width)) is not None:
            console.print(prices, "", sep="\n")
    for line in verdict(run):
        _say(line)
    took = run.manifest.get("wall_time_s") if seconds is None else seconds
    _say(f"Took {duration(took or 0.0)} for {run.evaluations:,} unique designs.")
    files = sorted(path.name for path in run.directory.iterdir() if path.is_file())
    _say(f"Wrote {run.directory}/: {', '.join(files)}")


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 132)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _fail(message: str, code: int) -> None:
    """One line on stderr, in the words of the command line, and the exit code."""
    text = " ".join(str(message).split())
    text = text.replace("overwrite=True", "--overwrite").replace("warm_start=", "--warm-start ")
    text = re.sub(r"give dims=\{[^}]*\} or ", "give ", text)
    sys.stdout.flush()
    sys.stderr.write(f"dse: {text}\n")
    raise typer.Exit(code)


def main() -> None:
    """Entry of the command `dse`: every foreseen error is one line on stderr and an exit code, never a traceback."""
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
        command = getattr(getattr(error, "ctx", None), "command_path", "dse")
        message = getattr(error, "format_message", error.__str__)()
        _fail(f"{message} (see: {command} --help)", getattr(error, "exit_code", 2))
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, MemoryError) as error:
        if os.environ.get("DSE_TRACEBACK"):
            raise
        _fail(_told(error), EXIT_ERROR)
    return EXIT_ERROR


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    return str(error) or type(error).__name__


if __name__ == "__main__":
    main()
