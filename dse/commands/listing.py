"""Commands that list what there is: networks, presets, mixes, a space, a technology."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dse.commands.options import Json, space_named, technology_named
from dse.commands.terminal import check_alone, console, note, say, say_json


def networks(json: Json = False) -> None:
    """List the networks that ship.

    \b
    Examples:
      dse networks
      dse networks --json
    """
    from dse.networks import NETWORKS, load_network
    from dse.output.listing_tables import networks_table

    if json:
        graphs = [(name, entry, load_network(name)) for name, entry in NETWORKS.items()]
        say_json(
            [
                {"name": name, "macs": graph.macs, "parameters": graph.parameters, "layers": len(graph.layers)}
                | {"input": entry.input, "description": entry.description, "source": entry.source}
                for name, entry, graph in graphs
            ]
        )
        return
    console().print(networks_table((name, entry, load_network(name)) for name, entry in NETWORKS.items()))


def presets(
    name: Annotated[str | None, typer.Argument(metavar="PRESET", help="One, with the source of every value.")] = None,
    json: Json = False,
) -> None:
    """List accelerators that ship, or show one with its sources.

    \b
    Examples:
      dse presets
      dse presets tpu_v1
    """
    from dse.hardware.presets import PRESETS, preset, preset_chip, preset_sources
    from dse.output.listing_tables import preset_table, presets_table

    if json:
        chosen = [name] if name else PRESETS
        chips = [(each, preset_chip(each), preset(each).parameters(), preset_sources(each)) for each in chosen]
        say_json([{"name": n, **chip, "parameters": values, "sources": told} for n, chip, values, told in chips])
        return
    if name is None:
        console().print(presets_table((each, preset_chip(each), preset(each)) for each in PRESETS))
        return
    chip = preset_chip(name)
    say(f"{chip['title']}, {chip['technology_nm']:g} nm. Not expressed: {chip['not_expressed'] or 'nothing'}")
    console().print(preset_table(preset(name), preset_sources(name)))


def mixes() -> None:
    """List the mixes of networks that ship (dse explore --mix).

    \b
    Example:
      dse mixes
    """
    from dse.output.listing_tables import mixes_table
    from dse.simultaneous.mixes import load_mix, mix_names

    console().print(mixes_table(load_mix(name) for name in mix_names()))


def space(
    name: Annotated[
        str, typer.Argument(metavar="SPACE", help="default (the default), small, or a .toml file.")
    ] = "default",
    toml: Annotated[bool, typer.Option("--toml", help="Print it as a TOML file to start your own from.")] = False,
    json: Json = False,
) -> None:
    """Show a hardware space: variables, levels, units, its size.

    \b
    Examples:
      dse space small
      dse space --toml > mine.toml
    """
    from dse.output.listing_tables import base_table, space_table

    check_alone(json, toml=toml)
    chosen = space_named(name)
    if toml:
        sys.stdout.write(chosen.toml_text())
        return
    if json:
        say_json({"name": chosen.name, "designs": chosen.size, **chosen.content()})
        return
    screen = console()
    screen.print(space_table(chosen), "", base_table(chosen, screen.width), sep="\n")


def technology(
    node: Annotated[
        str, typer.Argument(metavar="NODE", help="65, 45 (default), 28, 22, 16 or 7 nm, or a .toml file.")
    ] = "45",
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write every constant and its source as TOML.")
    ] = None,
) -> None:
    """Show the constants of a technology, or write them to a file.

    With their sources, and the types of DRAM.

    \b
    Examples:
      dse technology 16
      dse technology 28 --save mine.toml

    \b
    A file may name a base node and what differs from it:
      [technology]
      base_nm = 16
      dram_pj_per_bit = 4
    """
    from dse.hardware.dram_types import DRAM_TYPES
    from dse.output.listing_tables import dram_types_table, technology_table

    chosen = technology_named(node)
    if save is None:
        console().print(technology_table(chosen), "", dram_types_table(DRAM_TYPES.values()), sep="\n")
        return
    chosen.to_toml(save)
    note(f"wrote {save}")
