"""Arguments and options that several commands share, and how their texts are read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from dse.commands.texts import named_once, quantity_of

NETWORK = typer.Argument(metavar="NETWORK", help="Name (see: dse networks), or an .onnx or .toml file.")
NetworkArgument = Annotated[str, NETWORK]


def batch_of(text: str | int) -> int | None:
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
        parser=batch_of,
        metavar="N|file",
        help="Samples per inference; file keeps the sizes that an .onnx file fixes.",
    ),
]

Dims = Annotated[
    list[str] | None, typer.Option("--dim", metavar="NAME=SIZE", help="Size of a dynamic dimension, such as seq=128.")
]

Node = Annotated[
    str | None,
    typer.Option("--node", metavar="NM|FILE.toml", help="Technology: 65, 45 (default), 28, 22, 16 or 7 nm, or a file."),
]

DesignNode = Annotated[
    str | None,
    typer.Option(
        "--node",
        metavar="NM|FILE.toml",
        help="Technology: 65, 45, 28, 22, 16 or 7 nm, or a file (see: dse technology); default the design's: that of "
        "its run, the node of a preset's chip, else 45.",
    ),
]

MappingObjective = Annotated[
    str | None,
    typer.Option(
        "--mapping-objective",
        metavar="NAME",
        help="What the mapper minimises in a layer: latency (default), energy, edp.",
    ),
]

MappingSlack = Annotated[
    str | None,
    typer.Option(
        "--mapping-slack",
        metavar="SHARE|none",
        help="Latency a mapping may give up for energy; default 0.01. none: the least latency, whatever the energy.",
    ),
]

SearchSlack = Annotated[
    str | None,
    typer.Option(
        "--mapping-slack",
        metavar="SHARE|none",
        help="Latency a mapping may give up for energy; default 0.01. none: the least latency alone, in about half of "
        "the time; energies are then those of the front alone, in front_energy.csv.",
    ),
]

RemapFront = Annotated[
    bool,
    typer.Option(
        "--remap-front", help="Afterwards map the front's designs again, completely: front_complete.csv (slow)."
    ),
]

Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Workers; default all cores.")]

TimeLimit = Annotated[
    str | None, typer.Option("--time-limit", metavar="TIME", help="Stop after 90, 90s, 5m or 1h30m; resume continues.")
]

Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="METRIC=VALUE",
        help="Cap on a metric, such as latency_s=20ms, area_mm2=15 or power_w=2; may be given several times.",
    ),
]

Reference = Annotated[
    Path | None,
    typer.Option(
        "--reference", metavar="DIR|FILE.csv", help="Another front: how far this one is from it is told, in %."
    ),
]

RunDirectory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a run, such as results/resnet50.")]

Design = Annotated[
    str | None,
    typer.Option("--design", metavar="PRESET|FILE.toml|DIR:INDEX|DIR:knee", help="The design; default Accelerator()."),
]

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a parameter, such as rows=32.")
]

Keep = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="best|quick|none",
        help="Activations that stay on chip between layers: the best set (default), a search's choice, or none.",
    ),
]

LayerName = Annotated[str | None, typer.Option("--layer", metavar="NAME", help="Name of a layer (see: dse evaluate).")]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]

NoFooter = Annotated[
    bool, typer.Option("--no-footer", help="Figures without the small lines that say what they are of.")
]

NoFigures = Annotated[
    bool,
    typer.Option("--no-figures", envvar="DSE_NO_FIGURES", help="Tables alone."),
]


def _writable(path: Path | None) -> Path | None:
    """A directory that can be made, told before the work and not after it."""
    if path is not None:
        there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise typer.BadParameter(f"{path} cannot be written: {there} is no directory that takes files")
    return path


OutDirectory = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write figures and tables there.", callback=_writable),
]


def slack_of(text: str | None) -> float | str | None:
    """A share, or the word none."""
    if text is None or text == "none":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--mapping-slack {text!r}: expected a share such as 0.01, or none") from None


def limits_of(texts: list[str] | None, problem: Any = None) -> dict[str, float]:
    """Caps by the name of their metric; a ValueError where the problem has none of that name."""
    from dse.output.units import unit_of

    given = named_once("--limit", texts or (), "METRIC=VALUE, such as latency_s=20ms")
    if given and problem is not None:
        problem.with_limits(dict.fromkeys(given, 1.0))  # names first: the unit of an unknown one is not known
    return {name: quantity_of(f"--limit {name}", unit_of(name), value) for name, value in given.items()}


def numbers(option: str, text: str) -> list[float]:
    try:
        return [float(value) for value in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text!r}: expected numbers separated by commas, such as 2,1") from None


def space_named(name: str) -> Any:
    from dse.hardware.space import DesignSpace, default_space, small_space

    known = {"default": default_space, "small": small_space}
    if name in known:
        return known[name]()
    if not name.endswith(".toml") and not Path(name).exists():
        raise ValueError(f"unknown space {name!r}: give default, small or the path of a .toml file")
    return DesignSpace.from_toml(name)


def technology_named(node: str | None) -> Any:
    """The technology of a node or a file; None of none."""
    from dse.hardware.technology import Technology

    if node is None:
        return None
    try:
        node_nm = float(node)
    except ValueError:
        if not node.endswith(".toml") and not Path(node).is_file():
            if number := re.fullmatch(r"(\d+(?:\.\d+)?)\s*nm", node.strip(), flags=re.IGNORECASE):
                raise ValueError(f"technology {node!r}: give the number of nm alone, {number[1]}") from None
            raise ValueError(
                f"technology {node!r}: give a node, such as 16, or a .toml file (see: dse technology)"
            ) from None
        return Technology.from_toml(node)
    return Technology.at(node_nm)


def sizes(dims: list[str] | None) -> dict[str, int]:
    form = "NAME=SIZE with a whole number, such as seq=128"
    given = named_once("--dim", dims or (), form)
    for name, size in given.items():
        if not size.isdecimal():
            raise ValueError(f"--dim {f'{name}={size}'!r}: expected {form}")
    return {name: int(size) for name, size in given.items()}


def chosen_design(
    network: str,
    design: str | None,
    settings: list[str] | None,
    batch: int | None,
    dim: list[str] | None,
    node: str | None,
) -> Any:
    """Design, network, and the options with which its run mapped (or the defaults)."""
    import dse
    from dse.commands.design_by_text import choose

    chosen = choose(design, settings or ()).at(technology_named(node))
    return chosen, dse.load_network(network, batch, sizes(dim)), chosen.options()
