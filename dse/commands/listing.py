"""Commands that list what there is: networks, mixes, a space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dse.commands.options import (
    space_named,
    technology_named,
)
from dse.commands.terminal import console, say


def networks() -> None:
    """List the networks that ship."""
    from dse.networks import NETWORKS, load_network
    from dse.output.tables import networks_table

    console().print(networks_table((name, entry, load_network(name)) for name, entry in NETWORKS.items()))


def mixes() -> None:
    """List the mixes of networks that ship, for `dse explore --mix`."""
    from dse.output.tables import mixes_table
    from dse.simultaneous.mixes import load_mix, mix_names

    console().print(mixes_table(load_mix(name) for name in mix_names()))


def space(
    name: Annotated[str, typer.Argument(metavar="[default|small|FILE.toml]", help="The space.")] = "default",
    toml: Annotated[bool, typer.Option("--toml", help="Print it as a TOML file to start your own from.")] = False,
) -> None:
    """Show a hardware space: its variables, their levels and units, its size."""
    from dse.output.tables import base_table, space_table

    chosen = space_named(name)
    if toml:
        sys.stdout.write(chosen.toml_text())
        return
    console().print(space_table(chosen), "", base_table(chosen), sep="\n")


def technology(
    node: Annotated[
        str, typer.Argument(metavar="[NM|FILE.toml]", help="65, 45, 28, 22, 16 or 7 nm, or a file.")
    ] = "45",
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write every constant and its source as TOML.")
    ] = None,
) -> None:
    """Show the constants of a technology and their sources, and the types of DRAM; or write the constants to a file.

    \b
    A file may name a base node and what differs from it:
      [technology]
      base_nm = 16
      dram_pj_per_bit = 4
    """
    from dse.hardware.dram_types import DRAM_TYPES
    from dse.output.tables import dram_types_table, technology_table

    chosen = technology_named(node)
    if save is None:
        console().print(technology_table(chosen), "", dram_types_table(DRAM_TYPES.values()), sep="\n")
        return
    chosen.to_toml(save)
    say(f"wrote {save}")
