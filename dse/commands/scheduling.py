"""The command that runs several networks at the same time."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import typer

from dse.commands.options import (
    Design,
    DesignNode,
    Json,
    NoFooter,
    OutDirectory,
    Settings,
    technology_named,
)
from dse.commands.terminal import check_alone, console, note, say, say_json


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
        str | None,
        typer.Option(
            metavar="I,J,...|best|turn",
            help="Sub-array of each stream, from 1; in turn; or the best found, of a batch in the best order too. "
            "Default as the design's run placed them, else best where there is little to search, else in turn.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(metavar="deadline|round_robin|first", help="What a sub-array runs next; default deadline."),
    ] = None,
    begin: Annotated[
        float,
        typer.Option("--from", min=0.0, metavar="SECONDS", help="Begin of the window that the chart of --out shows."),
    ] = 0.0,
    end: Annotated[
        float | None, typer.Option("--to", metavar="SECONDS", help="End of the window; default the whole schedule.")
    ] = None,
    node: DesignNode = None,
    out: OutDirectory = None,
    no_footer: NoFooter = False,
    json: Json = False,
) -> None:
    """Run a MIX of networks at the same time on one design.

    The design is whole, or divided into sub-arrays.
    Streams with rates are measured in their steady state, batches of jobs until the last is done. A design of a
    simultaneous run is divided as the run found it, its streams where the run placed them; options change single parts
    of that.

    \b
    Examples:
      dse schedule vr_gaming --design results/mix_vr_gaming:knee --out results/vr --from 0 --to 0.02
      dse schedule resnet50,ptb_lstm_medium --design results/simultaneous_resnet50_ptb_lstm_medium:knee
      dse schedule moca_light --set cols=64 --division 1,1,2 --dataflows row_stationary,output_stationary,row_stationary
    """
    from dse.commands.design_by_text import choose
    from dse.output.co_run_tables import co_run_report
    from dse.output.evaluation_tables import assumed
    from dse.output.figure_style import COLUMN_IN, TWO_COLUMNS_IN, save_widths
    from dse.output.schedule_figures import gantt_figure, slow_down_figure
    from dse.runs.files import write_whole
    from dse.simultaneous.co_runs import co_run
    from dse.simultaneous.division import Division, division_of, places_of
    from dse.simultaneous.mixes import Mix, load_mix
    from dse.simultaneous.places import is_small

    check_alone(json, out=out)
    if end is not None and not begin < end < float("inf"):
        raise ValueError(f"--from {begin:g} --to {end:g}: give two times in seconds, the first one smaller")
    if out is None and (begin or end is not None):
        raise ValueError("--from and --to cut the chart; give --out, a directory to write it to")
    names = [name.strip() for name in mix.split(",") if name.strip()]
    chosen = choose(design, settings or ()).at(technology_named(node))
    loaded = Mix.of(names, mix) if len(names) > 1 else load_mix(mix)
    found_by_run = division is None and "policies" in chosen.values
    divided = Division.from_text(division or "1")
    if found_by_run:
        divided, _ = division_of(chosen.values, chosen.design)
    divided = divided.with_text(buffers, bandwidth, dataflows)
    streams = [stream.name for stream in loaded.streams]
    where: list[int] | str | None = place if place == "best" else None
    if place not in (None, "best", "turn"):
        where = _places(place, divided, streams)
    elif place is None and found_by_run:
        where = places_of(chosen.values, divided, streams)
    elif place is None and order is None and divided.sub_arrays > 1 and is_small(loaded):
        where = "best"
    found = co_run(
        loaded, chosen.design, divided, where, order=order or chosen.values.get("order") or "deadline",
        **chosen.options(),
    )  # fmt: skip
    if json:
        places = dict(zip(streams, (place + 1 for place in found.where), strict=True))
        say_json({"mix": loaded.name, "metrics": found.metrics, "places": places})
        return
    note(f"mix {loaded.name}; design: {chosen.origin}; {chosen.node()}\n")
    console().print(co_run_report(found))
    for line in assumed([chosen.design.dram_type], chosen.options()["technology"]):
        say(line)
    if out is not None:
        shown = found.schedule if end is None else found.schedule_until(end)
        out.mkdir(parents=True, exist_ok=True)
        table = shown.layers()
        table["sub_array"] += 1
        write_whole(out / "schedule.csv", table.to_csv(index=False, lineterminator="\n").encode())
        drawn = [("schedule", functools.partial(gantt_figure, found, begin, end), TWO_COLUMNS_IN)]
        if found.steady is None or found.steady.stable:
            drawn.append(("slow_downs", functools.partial(slow_down_figure, {loaded.name: found}), COLUMN_IN))
        written = [out / "schedule.csv"]
        for stem, figure, width_in in drawn:
            title = f"{stem.replace('_', '-')} of {loaded.name}"
            written += save_widths(figure, out, stem, title, with_footer=not no_footer, png_width_in=width_in)
        note(f"wrote {out}/: {', '.join(path.name for path in written)}")


def _places(text: str, divided: Any, streams: list[str]) -> list[int]:
    """Sub-array of each stream, from 0, of a text that counts from 1."""
    if not all(number.strip().isdecimal() for number in text.split(",")):
        raise ValueError(f"--place {text!r}: expected best, turn, or whole numbers separated by commas, such as 2,1")
    where = [int(number) - 1 for number in text.split(",")]
    if len(where) != len(streams) or not all(0 <= a < divided.sub_arrays for a in where):
        raise ValueError(
            f"--place {text!r}: give a sub-array from 1 to {divided.sub_arrays} for each stream of the mix: "
            f"{', '.join(streams)}"
        )
    return where
