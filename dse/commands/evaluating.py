"""Commands that evaluate: one design on a network; the model against published references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dse.commands.options import (
    Batch,
    Design,
    DesignNode,
    Dims,
    Keep,
    MappingSlack,
    NetworkArgument,
    Settings,
    sizes,
    slack_of,
    technology_named,
)
from dse.commands.terminal import console, say


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
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the per-layer table.")] = None,
    mappings: Annotated[bool, typer.Option("--mappings", help="Print each layer's mapping as a loop nest.")] = False,
) -> None:
    """Run NETWORK on one design: latency, its bound and why, energy, area, every layer.

    \b
    Examples:
      dse evaluate resnet50 --set rows=32 --set dataflow=row_stationary
      dse evaluate resnet50 --design results/resnet50:knee --mappings
      dse evaluate resnet50 --design chip.toml --csv layers.csv
      dse evaluate resnet50 --design tpu_v1 --node 45

    The TOML file holds a table [design] with parameters such as rows = 32; dse space lists their names and units.
    """
    import dse
    from dse.commands.design_by_text import choose
    from dse.costs.kernel_rows import slack_named
    from dse.networks.layers import MacLayer
    from dse.output.tables import design_table, distance_to_bound, evaluation_report, network_line
    from dse.runs.files import write_whole

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
    if csv is not None:
        write_whole(csv, done.layers.to_csv(index=False, lineterminator="\n").encode())
    screen = console()
    say(network_line(graph))
    say(f"design: {chosen.origin}; {chosen.node()}; mapped for {options['objective']}\n")
    screen.print(design_table(chosen.design.parameters()), "", evaluation_report(done, screen.width), sep="\n")
    if mappings:
        shown = set()
        for layer in graph.layers:
            if isinstance(layer, MacLayer) and layer.shape_key not in shown:
                shown.add(layer.shape_key)
                nest = done.mappings[layer.name].loop_nest(layer, chosen.design)
                say(f"\n{nest}\n{distance_to_bound(done, layer.name)}")
    if csv is not None:
        say(f"\nwrote {csv}")


def validate(
    references: Annotated[list[str] | None, typer.Argument(metavar="[REFERENCE]...", help="Default: all.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory to write.")] = Path("results/validation"),
) -> None:
    """Compare the model with published silicon, RTL, vendors' models and simulators.

    Prints errors and rank correlations beside those of a roofline, and the range of powers over the published ranges of
    the constants; writes every comparison as CSV, and figures.
    """
    from dse.output.tables import range_table, ratio_table, validation_table
    from dse.validation import areas
    from dse.validation.collect import validate as compared

    score, rows = compared(out, references or ())
    console().print(validation_table(score))
    ratios = rows[rows["quantity"] == areas.RATIO]
    if len(ratios):
        console().print("", ratio_table(ratios))
    if rows["predicted_low"].notna().any():
        console().print("", range_table(rows))
    say(f"Wrote {out}/: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))}")
