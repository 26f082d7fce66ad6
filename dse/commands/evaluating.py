"""Commands that evaluate: a design on a network, designs beside each other, the model against references."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dse.commands.options import (
    NETWORK,
    Batch,
    Design,
    DesignNode,
    Dims,
    Json,
    Keep,
    MappingSlack,
    NetworkArgument,
    NoFooter,
    Settings,
    limits_of,
    sizes,
    slack_of,
    technology_named,
)
from dse.commands.terminal import EXIT_ERROR, check_alone, console, is_stdout, note, say, say_json
from dse.commands.texts import quantity_of


def evaluate(
    network: NetworkArgument,
    design: Design = None,
    settings: Settings = None,
    batch: Batch = 1,
    dim: Dims = None,
    node: DesignNode = None,
    mapping_objective: Annotated[
        str | None,
        typer.Option("--mapping-objective", metavar="NAME", help="latency (default, or the run's), energy or edp."),
    ] = None,
    mapping_slack: MappingSlack = None,
    mapping: Annotated[
        str | None,
        typer.Option("--mapping", metavar="EFFORT", help="Search of mappings: default, or complete (slower)."),
    ] = None,
    keep: Keep = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the table of layers; - prints it and nothing else."),
    ] = None,
    json: Json = False,
    mappings: Annotated[bool, typer.Option("--mappings", help="Print each layer's mapping as a loop nest.")] = False,
) -> None:
    """Run NETWORK on one design: latency and why, energy, area.

    \b
    Examples:
      dse evaluate resnet50 --set rows=32 --set dataflow=row_stationary
      dse evaluate resnet50 --design results/resnet50:knee --mappings
      dse evaluate resnet50 --design chip.toml --csv layers.csv
      dse evaluate resnet50 --design tpu_v1 --node 45

    The TOML file holds a table [design] with parameters such as rows = 32; dse space lists their names and units. A
    design that NETWORK does not fit is shown with the layer and the store that overflows, and ends with code 1.
    """
    import dse
    from dse.commands.design_by_text import choose
    from dse.costs.kernel_rows import slack_named
    from dse.networks.layers import MacLayer
    from dse.output.evaluation_tables import (
        design_table,
        distance_to_bound,
        evaluation_record,
        evaluation_report,
        network_line,
    )
    from dse.runs.files import write_whole

    check_alone(json, csv=csv, mappings=mappings)
    chosen = choose(design, settings or ()).at(technology_named(node))
    given = {
        "objective": mapping_objective,
        "effort": mapping,
        "keep": keep,
    }
    options = chosen.options() | {name: value for name, value in given.items() if value is not None}
    slack = slack_of(mapping_slack)
    if slack is not None:
        options["slack"] = slack_named(slack)
    graph = dse.load_network(network, batch, sizes(dim))
    done = dse.evaluate(chosen.design, graph, **options)
    if is_stdout(csv):
        sys.stdout.write(done.layers.to_csv(index=False, lineterminator="\n"))
        return
    if json:
        say_json(evaluation_record(done, batch or 1))
        raise typer.Exit(0 if done.feasible else EXIT_ERROR)
    if csv is not None:
        write_whole(csv, done.layers.to_csv(index=False, lineterminator="\n").encode())
    screen = console()
    note(network_line(graph))
    note(f"design: {chosen.origin}; {chosen.node()}; mapped for {options['objective']}\n")
    report = evaluation_report(done, screen.width, batch or 1)
    screen.print(design_table(chosen.design.parameters(), screen.width), "", report, sep="\n")
    if mappings:
        shown = set()
        for layer in graph.layers:
            if isinstance(layer, MacLayer) and layer.shape_key not in shown:
                shown.add(layer.shape_key)
                say(f"\n{done.loop_nest(layer.name)}\n{distance_to_bound(done, layer.name)}")
    if csv is not None:
        note(f"\nwrote {csv}")
    if not done.feasible:
        raise typer.Exit(EXIT_ERROR)


def compare(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK...", help=NETWORK.help)],
    designs: Annotated[
        list[str], typer.Option("--design", metavar="PRESET|FILE.toml|DIR:INDEX|DIR:knee", help="One or more, each.")
    ],
    settings: Settings = None,
    batch: Batch = 1,
    dim: Dims = None,
    node: DesignNode = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="Latency to keep, such as 10ms; adds a column.")
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="METRIC=VALUE", help="The most it may be, such as power_w=2; a column."),
    ] = None,
    no_advice: Annotated[
        bool, typer.Option("--no-advice", help="Leave out the change that helps each network most.")
    ] = False,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table; - prints it.")] = None,
    json: Json = False,
) -> None:
    """Run networks on several designs: a row a network and design.

    A preset is costed at its own node unless told otherwise.

    \b
    Examples:
      dse compare resnet50 bert_base --design tpu_v1 --design nvdla_2048
      dse compare resnet50 --design results/resnet50:knee --design eyeriss_v1 --node 45 --deadline 10ms
    """
    import dse
    from dse.commands.design_by_text import choose
    from dse.output.evaluation_tables import comparison_report
    from dse.runs.files import write_whole

    check_alone(json, csv=csv)
    caps = limits_of(limits)
    chosen = {text: choose(text, settings or ()).at(technology_named(node)) for text in designs}
    graphs = [dse.load_network(name, batch, sizes(dim)) for name in dict.fromkeys(networks)]
    table = dse.compare(
        graphs,
        {text: each.design for text, each in chosen.items()},
        technologies={text: each.options()["technology"] for text, each in chosen.items()},
        batch=batch or 1,
        deadline_s=None if deadline is None else quantity_of("--deadline", "s", deadline),
        limits=caps,
        advice=not no_advice,
    )
    if is_stdout(csv):
        sys.stdout.write(table.to_csv(index=False, lineterminator="\n"))
        return
    if json:
        say_json(table)
        return
    screen = console()
    for each in chosen.values():
        note(f"design: {each.origin}; {each.node()}")
    screen.print("", comparison_report(table), sep="\n")
    if csv is not None:
        write_whole(csv, table.to_csv(index=False, lineterminator="\n").encode())
        note(f"\nwrote {csv}")


def validate(
    references: Annotated[
        list[str] | None, typer.Argument(metavar="REFERENCE...", help="Such as tpu or nvdla; default all.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory to write.")] = Path("results/validation"),
    no_footer: NoFooter = False,
    json: Json = False,
) -> None:
    """Hold the model against published chips and simulators.

    Also RTL and vendors' models. Prints errors and rank correlations beside those of a roofline, and the range of
    powers over the published ranges of the constants; writes every comparison as CSV, and figures.

    \b
    Examples:
      dse validate
      dse validate tpu nvdla --out results/chips
    """
    from dse.output.tables import range_table, ratio_table, validation_table
    from dse.validation import areas
    from dse.validation.collect import validate as compared

    score, rows = compared(out, references or (), not no_footer)
    if json:
        say_json(score)
        return
    console().print(validation_table(score))
    ratios = rows[rows["quantity"] == areas.RATIO]
    if len(ratios):
        console().print("", ratio_table(ratios))
    if rows["predicted_low"].notna().any():
        console().print("", range_table(rows))
    note(f"Wrote {out}/: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))}")
