"""What there is to choose from, for the terminal: networks, presets, mixes, spaces, technologies, types of DRAM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from dse.costs.kernel_rows import parameter_columns
from dse.hardware.accelerator import Accelerator
from dse.hardware.dram import bandwidth_gbps
from dse.hardware.dram_types import NUMBERS, DramType
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks import Entry
from dse.networks.layers import Network
from dse.output.evaluation_tables import design_table, unit_words
from dse.output.units import number
from dse.output.whole_tables import WholeTable
from dse.simultaneous.mixes import Mix


def networks_table(rows: Iterable[tuple[str, Entry, Network]]) -> WholeTable:
    """Networks that ship: name, MACs, parameters, layers by kind, inputs, what it is, its definition."""
    table = WholeTable(spare=("of which", "input at batch 1"))
    table.add_column("name", no_wrap=True)
    for name in ("GMACs", "M parameters", "layers"):
        table.add_column(name, justify="right")
    for name in ("of which", "input at batch 1", "what it is; definition"):
        table.add_column(name)
    for name, entry, network in rows:
        kinds = Counter(layer.operator.split("+")[0] for layer in network.layers)
        common = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(2))
        inputs = ", ".join("x".join(map(str, shape)) for shape in entry.input.values())
        figures = (number(network.macs / 1e9), number(network.parameters / 1e6), str(len(network.layers)))
        table.add_row(name, *figures, common, inputs, f"{entry.description}; {entry.source.split(';')[0]}")
    return table


def presets_table(rows: Iterable[tuple[str, Mapping[str, Any], Accelerator]]) -> WholeTable:
    """Accelerators that ship: name, chip, node, array, multipliers, clock, buffers, DRAM."""
    table = WholeTable()
    table.add_column("name", no_wrap=True)
    table.add_column("chip")
    for name in ("nm", "MACs per cycle", "GHz", "buffers\nKiB", "DRAM\nGB/s"):
        table.add_column(name, justify="right")
    for name, chip, design in rows:
        kib = design.weight_buffer_kib + design.input_buffer_kib + design.output_buffer_kib
        (gbps,) = bandwidth_gbps(parameter_columns(design))
        figures = (chip["technology_nm"], design.macs_per_cycle, design.clock_ghz, kib, gbps)
        table.add_row(name, escape(chip["title"]), *map(number, figures))
    return table


def preset_table(design: Accelerator, sources: Mapping[str, str]) -> WholeTable:
    """Every parameter that a preset sets, with its unit and source."""
    table = WholeTable()
    table.add_column("parameter", no_wrap=True)
    table.add_column("value")
    table.add_column("source")
    for name, source in sources.items():
        value = getattr(design, name)
        shown = number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
        table.add_row(name, f"{escape(shown)} {unit_words(name).strip()}".strip(), escape(source))
    return table


def mixes_table(mixes: Iterable[Mix]) -> RenderableType:
    """Mixes that ship: each stream with its network, requests, rate and deadline; below, where each mix comes from."""
    table, sources = WholeTable(spare=("stands for", "after", "requests")), []
    for name in ("mix", "stream", "network", "requests", "rate", "deadline", "after", "stands for"):
        right = name in ("requests", "rate", "deadline")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "stands for")
    for mix in mixes:
        for i, stream in enumerate(mix.streams):
            table.add_row("" if i else mix.name, *map(escape, stream.told()))
        sources.append(f"{mix.name}: {mix.source}")
    return Group(table, "", *sources)


def space_table(space: DesignSpace) -> WholeTable:
    """Variables of a space: levels, unit, kind."""
    table = WholeTable(f"Space {space.name}: {space.n_var} variables, {number(space.size)} designs")
    table.add_column("variable", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("levels")
    for variable, row in zip(space.variables, space.describe(), strict=True):
        table.add_row(row["name"], row["unit"], str(len(variable.levels)), row["levels"])
    return table


def base_table(space: DesignSpace, width: int = 132) -> WholeTable:
    """Parameters that a space fixes; `width` as in `design_table`."""
    fixed = {k: v for k, v in space.base.parameters().items() if k not in space.names}
    table = design_table(fixed, width)
    table.title = "Fixed in this space"
    return table


def technology_table(technology: Technology) -> WholeTable:
    """Every constant of a technology with its value and its source; "-": not given."""
    table = WholeTable(f"Technology {technology.name}")
    table.add_column("constant", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("source")
    for name, source in technology.sources().items():
        value = getattr(technology, name)
        shown = "-" if value is None else value if isinstance(value, str) else f"{value:.4g}"
        table.add_row(name, Text(shown), Text(source))
    return table


def dram_types_table(dram_types: Iterable[DramType]) -> WholeTable:
    """Types of DRAM: what a channel has; "-": not published."""
    table = WholeTable("Types of DRAM, a channel")
    table.add_column("type", no_wrap=True)
    for head in ("GB/s", "pJ/bit", "PHY mm\u00b2", "background W"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("sources")
    for each in dram_types:
        values = ("-" if (x := getattr(each, name)) is None else number(x) for name in NUMBERS)
        table.add_row(each.name, *values, Text("; ".join(f"{name}: {text}" for name, text in each.sources)))
    return table
