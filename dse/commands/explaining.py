"""Commands that say why a network is slow on a design, and edit it: explain, staircase, relate, tune."""

from __future__ import annotations

import functools
import re
import time
from pathlib import Path
from typing import Annotated

import typer

from dse.commands.options import (
    Batch,
    Design,
    DesignNode,
    Dims,
    Json,
    Keep,
    LayerName,
    NetworkArgument,
    NoFooter,
    OutDirectory,
    Settings,
    chosen_design,
    sizes,
)
from dse.commands.runs import as_share, share_of
from dse.commands.terminal import check_alone, console, note, say, say_json


def explain(
    network: NetworkArgument,
    design: Design = None,
    settings: Settings = None,
    layer: LayerName = None,
    keep: Keep = None,
    batch: Batch = 1,
    dim: Dims = None,
    node: DesignNode = None,
    out: OutDirectory = None,
    no_footer: NoFooter = False,
    json: Json = False,
) -> None:
    """Say why NETWORK is slow on one design, and what would help.

    Each promise is evaluated, not guessed.

    \b
    Examples:
      dse explain resnet50 --design tpu_v1 --out results/why
      dse explain resnet50 --design results/resnet50:knee --layer /conv1/Conv
    """
    from dse.analysis.explanation import explain as explained
    from dse.analysis.staircases import known_layer
    from dse.output.evaluation_tables import network_line
    from dse.output.explanation_figures import write_explanation
    from dse.output.explanation_tables import explanation_report

    check_alone(json, out=out)
    chosen, graph, options = chosen_design(network, design, settings, batch, dim, node)
    if layer is not None and layer not in [item.name for item in graph.layers]:
        known_layer(graph, layer)
    found = explained(chosen.design, graph, **options, keep=keep or "best")
    if json:
        say_json(
            {
                "network": found.network,
                "reasons": found.reasons,
                "layers": found.layers,
                "sensitivity": found.sensitivity,
                "advice": [vars(a) for a in found.advice],
            }
        )
        return
    note(network_line(graph))
    note(f"design: {chosen.origin}; {chosen.node()}\n")
    screen = console()
    screen.print(explanation_report(found, layer, screen.width))
    if out is not None:
        note(f"\nwrote {', '.join(map(str, write_explanation(found, out, not no_footer)))}")


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
    node: DesignNode = None,
    out: OutDirectory = None,
    no_footer: NoFooter = False,
) -> None:
    """Latency of one layer against one of its sizes.

    Writes a figure with the hardware's steps marked, and a CSV file.

    \b
    Example:
      dse staircase resnet50 --layer /layer4/layer4.0/conv2/Conv --design tpu_v1 --size K
    """
    from dse.analysis.staircases import staircase as computed
    from dse.output.explanation_figures import stairs
    from dse.output.figure_style import save_widths
    from dse.output.units import number
    from dse.runs.files import write_whole

    chosen, graph, options = chosen_design(network, design, settings, batch, dim, node)
    table = computed(chosen.design, graph, layer, size, **options)
    title = f"{graph.name} {layer} \u00b7 {chosen.origin}"
    note(f"design: {chosen.origin}; {chosen.node()}")
    for _, row in table[table["is_step"] | table["is_now"]].iterrows():
        mark = "now" if row["is_now"] else "last before a rise"
        say(f"{size} = {row['value']}: {number(round(row['cycles']))} cycles, bound by {row['bound']} ({mark})")
    directory = out if out is not None else Path("results") / f"staircase_{graph.name}"
    directory.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.]+", "_", f"{layer}_{size}").strip("_")
    write_whole(directory / f"{stem}.csv", table.to_csv(index=False, lineterminator="\n").encode())
    figure = functools.partial(stairs, table, f"{title} \u00b7 {chosen.node()}")
    names = [path.name for path in save_widths(figure, directory, stem, title, with_footer=not no_footer)]
    note(f"wrote {directory}/: {stem}.csv, {', '.join(names)}")


def tune(
    network: NetworkArgument,
    design: Design = None,
    settings: Settings = None,
    within: Annotated[
        str, typer.Option(metavar="SHARE", help="Keep weights and MACs, of the whole and of each stage, within this.")
    ] = "2%",
    weights: Annotated[
        str | None, typer.Option(metavar="LEAST,MOST", help="Of the whole network, as shares: 0.98,1.02 or 1,inf.")
    ] = None,
    macs: Annotated[str | None, typer.Option(metavar="LEAST,MOST", help="Of the whole network.")] = None,
    stage_weights: Annotated[str | None, typer.Option(metavar="LEAST,MOST", help="Of each stage.")] = None,
    stage_macs: Annotated[str | None, typer.Option(metavar="LEAST,MOST", help="Of each stage.")] = None,
    gain: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Latency that is enough to save: the mildest edit that does it.")
    ] = None,
    front: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Search latency against capacity too, with N networks of any budget."),
    ] = None,
    graphs: Annotated[bool, typer.Option("--graphs", help="Write every network of the front as an ONNX file.")] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the search of the front.")] = 0,
    batch: Batch = 1,
    dim: Dims = None,
    node: DesignNode = None,
    out: OutDirectory = None,
) -> None:
    """Edit NETWORK to run faster on one design, its capacity kept.

    A stage is all MAC layers of one output size; weights and MACs of each stay within 2 % unless told otherwise. Edits
    are groups of channels, fused or factorised filters, blocks of pixels, channels, with widths solved to fit.
    Writes tuned.onnx (without weights: train it anew), edits.csv, edits.json, with --front also front.csv.

    \b
    Examples:
      dse tune resnet50 --design nvdla_large --out results/tuned
      dse tune mobilenet_v2 --design gemmini_16x16 --gain 30%
      dse tune resnet50 --design results/resnet50:knee --weights 0.8,1 --macs 0.8,1 --stage-weights 0.7,inf
      dse tune mobilenet_v2 --design nvdla_large --front 300 --graphs
    """
    from dse.networks import network_dims
    from dse.output.explanation_tables import front_report, tuned_report
    from dse.tuning.capacity import Budget
    from dse.tuning.front import tuned_front, write_front
    from dse.tuning.graphs import read_graph
    from dse.tuning.tuner import tune as tuned
    from dse.tuning.tuner import write_tuned

    if graphs and front is None:
        raise typer.BadParameter("--graphs writes the networks of a front; give --front N too")
    chosen, graph, options = chosen_design(network, design, settings, batch, dim, node)
    share = share_of("--within", within)
    given = {"weights": weights, "macs": macs, "stage_weights": stage_weights, "stage_macs": stage_macs}
    around = Budget.within(share)
    budget = Budget(**{name: getattr(around, name) if text is None else _bounds(name, text)
                       for name, text in given.items()})  # fmt: skip
    enough = None if gain is None else share_of("--gain", gain)
    start = time.process_time()
    model = read_graph(network)
    options |= {"batch": batch, "dims": network_dims(network, sizes(dim))}
    found = tuned(model, chosen.design, budget=budget, gain=enough, **options)
    note(f"design: {chosen.origin}; {chosen.node()}\n")
    console().print(tuned_report(found))
    directory = out if out is not None else Path("results") / f"tuned_{graph.name}"
    written = write_tuned(found, directory)
    if front is not None:
        try:
            searched = tuned_front(model, chosen.design, evaluations=front, seed=seed, also=[found.edits], **options)
        except ValueError as error:
            note(f"no front: {error}")
        else:
            console().print(front_report(searched, found.before))
            written += write_front(searched, directory, graphs)
    note(f"wrote {', '.join(map(str, written))}; took {time.process_time() - start:.0f} s of CPU time")


def _bounds(name: str, text: str) -> tuple[float, float]:
    """Least and most, as shares: ``0.98,1.02``, ``98%,102%`` or ``1,inf``."""
    option = f"--{name.replace('_', '-')}"
    try:
        low, high = map(as_share, text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{option} {text}: give least and most, such as 0.98,1.02 or 1,inf") from None
    return low, high


def relate(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK...", help="Names or .onnx files.")],
    design: Design = None,
    settings: Settings = None,
    batch: Batch = 1,
    dim: Dims = None,
    node: DesignNode = None,
    out: OutDirectory = None,
    no_footer: NoFooter = False,
) -> None:
    """What each kind of operation wants of the hardware.

    Dataflow, array shape, buffer split, bandwidth, and what it loses without them.

    \b
    Example:
      dse relate resnet50 model.onnx --design nvdla_large --out results/relation
    """
    from dse.analysis.operation_kinds import relate as related
    from dse.output.explanation_figures import relation_figure
    from dse.output.explanation_tables import relation_table
    from dse.output.figure_style import TWO_COLUMNS_IN, save_widths
    from dse.runs.files import write_whole

    chosen = [chosen_design(network, design, settings, batch, dim, node) for network in networks]
    design_of, _, options = chosen[0]
    table = related(design_of.design, [graph for _, graph, _ in chosen], **options)
    note(f"design: {design_of.origin}; {design_of.node()}\n")
    console().print(relation_table(table))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "relation.csv", table.to_csv(index=False, lineterminator="\n").encode())
        figure = functools.partial(relation_figure, table, f"{design_of.origin} \u00b7 {design_of.node()}")
        drawn = save_widths(figure, out, "relation", "relation", with_footer=not no_footer, png_width_in=TWO_COLUMNS_IN)
        note(f"wrote {out}/: relation.csv, {', '.join(path.name for path in drawn)}")
