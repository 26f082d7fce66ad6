"""Tables and sentences for the terminal.  They show numbers computed elsewhere; every number has its unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from dse.analysis.price_of_generality import PRICES, price_of_generality
from dse.costs.evaluation import Evaluation
from dse.costs.kernel_rows import parameter_columns
from dse.hardware.accelerator import Accelerator
from dse.hardware.dram import assumptions, bandwidth_gbps
from dse.hardware.dram_types import NUMBERS, DramType
from dse.hardware.space import DesignSpace
from dse.hardware.technology import Technology
from dse.networks import Entry
from dse.networks.layers import Network
from dse.output.on_chip_tables import on_chip_report
from dse.output.units import duration, number, percent, quantity, scaled, unit_of, words
from dse.output.whole_tables import WholeTable
from dse.runs.column_dictionary import COLUMNS, PARAMETERS
from dse.runs.identity import technology_of
from dse.runs.tables import Table as DataFrame
from dse.search.exploration import Exploration
from dse.search.pareto import knee, spread
from dse.search.remapping import MOVED_PERCENT, Remapped
from dse.simultaneous.co_runs import CoRun, unmet_deadlines, unmet_demand
from dse.simultaneous.division import does_nothing
from dse.simultaneous.mixes import Mix
from dse.simultaneous.steady_state import PERCENTILES

SHOWN_METRICS = (
    "latency_s", "latency_bound_s", "makespan_s", "makespan_bound_at_places_s", "load", "latency_p50_s",
    "latency_p95_s", "latency_p99_s", "throughput_per_s", "energy_j", "power_w", "area_mm2", "core_area_mm2", "stp",
    "mean_slow_down", "worst_slow_down", "deadline_miss_share", "used_sub_arrays", "utilisation", "dram_bytes",
)  # fmt: skip
TWO_HALVES = 110
"""Width from which the parameters of a design stand in two halves beside each other [characters]."""

WATERFALL = {
    "ideal": "ideal: MACs / peak",
    "spatial_loss": "PEs idle at the edges of layers",
    "vector_stall": "waiting for the vector unit",
    "buffer_stall": "waiting for buffer ports",
    "dram_stall": "waiting for DRAM",
    "fill_drain": "fill, drain and array skew",
}
"""Parts of the cycles in words."""


def _on_scale(run: Exploration) -> np.ndarray:
    """The designs of a run's front, which is not empty, on its scale; (k, m)."""
    if run.normalisation is None:
        raise ValueError("no design of the run is feasible: there is no front to show")
    return run.normalisation(run.front[list(run.objective_names)].to_numpy(float))


def _designs_beside(width: int) -> int:
    """Columns of designs that a terminal has room for, beside the names of what is told of them."""
    return max(3, min(7, (width - 36) // 13))


def along_front(run: Exploration, width: int = 100) -> np.ndarray:
    """Rows of the front that `front_table` shows, as many as there is width for."""
    return spread(_on_scale(run), _designs_beside(width))


def kept_report(designs: Iterable[int], found: Iterable[tuple[CoRun, CoRun]]) -> RenderableType:
    """Designs of a run of several networks at the same time: as searched, at the best places, and the bound."""
    pairs, seconds = list(found), 0.0
    steady = pairs[0][0].steady is not None
    searched = "at the best places" if steady else "at the best places and in the best order"
    table = WholeTable(f"The same designs {searched} that a search of each finds")
    name, unit = ("load", "") if steady else ("makespan_s", "s")
    for column in ("design", "load" if steady else "makespan", "at the best", "bound over all places", "above it"):
        table.add_column(column, justify="right")
    for index, (plain, best) in zip(designs, pairs, strict=True):
        assert plain.bounds is not None and best.bounds is not None
        bound = best.bounds.load if steady else best.bounds.makespan_s
        least = min(plain.metrics[name], best.metrics[name])
        texts = [quantity(x, unit) if unit else number(x) for x in (plain.metrics[name], best.metrics[name], bound)]
        table.add_row(str(index), *texts, percent(max(0.0, round(least / bound - 1, 6))))
        seconds += best.placed_seconds + plain.bounds.seconds + best.bounds.seconds
    return Group(table, f"orders, places and bounds took {quantity(seconds, 's')}")


def front_table(run: Exploration, width: int = 100) -> WholeTable:
    """A handful of designs spread along the front, one a column: metrics, bound, gap, every varied parameter.

    Parameters
    ----------
    width : of the terminal [characters].
    """
    best, names = run.front, run.objective_names
    which = along_front(run, width)
    chosen, at_knee = best.iloc[which], knee(_on_scale(run))
    means = "; geometric means over the networks" if PRICES in run.texts else ""
    table = WholeTable(
        f"{len(chosen)} of {len(best)} designs along the front, least {escape(words(names[0]))} first{means}"
    )
    table.add_column("design (index in front.csv)", no_wrap=True)
    for i, index in zip(which, chosen["index"], strict=True):
        table.add_column(f"{index}" + ("\nknee" if i == at_knee else ""), justify="right")
    metrics = [*names, *(name for name in SHOWN_METRICS if name not in names)]
    for name in (name for name in metrics if name in chosen):
        _row(table, name, chosen[name])
        if name == "latency_bound_s" and "latency_s" in chosen:
            gaps = chosen["latency_s"] / chosen["latency_bound_s"] - 1
            table.add_row("latency above its bound", *(f"+{percent(gap)}" for gap in gaps))
    table.add_section()
    variables = run.manifest.get("space", {}).get("variables", PARAMETERS)
    rows = chosen.to_dict("records")
    for name in (name for name in chosen.columns if name in variables):
        idle = [does_nothing(name, row) for row in rows]
        if not all(idle):
            _row(table, name, chosen[name], idle)
    return table


def _row(table: WholeTable, name: str, values: Iterable, idle: Sequence[bool] = ()) -> None:
    """One quantity of several designs; metrics by their words, parameters by the names that `--set` takes.

    A value that is `idle`, since the design does not use it, is a dash.
    """
    values = list(values)
    if isinstance(values[0], str):
        texts = [escape(value).replace("_", "_\n") for value in values]
        table.add_row(escape(name), *("-" if nothing else text for text, nothing in zip_longest(texts, idle)))
        return
    if name == "utilisation":
        table.add_row("MAC utilisation", *(percent(value) for value in values))
        return
    if name in PARAMETERS:
        unit = COLUMNS[name].unit
        carried = unit in ("-", "1") or unit.split("/")[0].lower().rstrip("s") in name.replace("gbps", "gb")
        label = name if carried and "width" not in name else f"{name} \\[{unit}]"
        table.add_row(label, *(number(value) for value in values))
        return
    if name.startswith("fixed_"):  # of a frozen mapping
        table.add_row(name, *(number(value) for value in values))
        return
    factor, unit = scaled(unit_of(name), values)
    label = {
        "latency_bound_s": "lower bound of the latency",
        "makespan_bound_at_places_s": "lower bound of the makespan at these places",
        "stp": "system throughput (STP)",
    }.get(name, escape(words(name)))
    texts = [number(value * factor) for value in values]
    shown = ("-" if nothing else text for text, nothing in zip_longest(texts, idle))
    table.add_row(f"{label} \\[{unit}]" if unit else label, *shown)


def price_report(run: Exploration, width: int = 100) -> RenderableType | None:
    """What generality costs each network on designs along the front, and at the knee left out one by one.

    None for a run of one network.
    """
    if PRICES not in run.texts or not len(run.front):
        return None
    prices, best = price_of_generality(run), run.front
    on_scale = _on_scale(run)
    chosen = best.iloc[spread(on_scale, _designs_beside(width))]
    at_knee = best["index"].iloc[knee(on_scale)]
    loss = prices.pivot(index="network", columns="shared", values="loss").loc[prices["network"].unique()]
    table = WholeTable(
        "Price of generality: latency above the network's own best of at most the same area, as evaluated here"
    )
    table.add_column("design (index in front.csv)", no_wrap=True)
    for index in chosen["index"]:
        table.add_column(f"{index}" + ("\nknee" if index == at_knee else ""), justify="right")
    for network, row in loss.iterrows():
        table.add_row(escape(str(network)), *(f"+{percent(row[index])}" for index in chosen["index"]))
    knee_rows = prices[prices["shared"] == at_knee]
    if len(knee_rows) < 2:  # one network: no other to choose for
        return table
    left = WholeTable(
        "Leave one out, at most the area of the knee: the design best for the others, on the one left out"
    )
    left.show_header = False
    for _, row in knee_rows.iterrows():
        missing = not np.isfinite(row["left_out_loss"])
        left.add_row(escape(row["network"]), "cannot run it" if missing else f"+{percent(row['left_out_loss'])}")
    return Group(table, "", left)


def _against(random: float, value: float) -> str:
    """The hypervolume of the random twin against that of the search, in words."""
    if random == value:
        return ", the same"
    if value == 0:
        return "; the search found no feasible design near the best of both"
    less = 1 - random / value
    return f", {percent(abs(less))} {'less' if less >= 0 else 'more'}"


def verdict(run: Exploration) -> list[str]:
    """Sentences: what the search reached, its twin, the bound, and why it stopped."""
    lines = []
    if len(run.front) and "latency_bound_s" in run.front:
        gaps = np.sort(run.front["latency_s"] / run.front["latency_bound_s"] - 1)
        lines.append(
            f"Latency above its lower bound along the front: {percent(gaps[0])} to {percent(gaps[-1])}, "
            f"median {percent(gaps[len(gaps) // 2])}. No mapping on the same hardware can be below the bound."
        )
    random = run.hypervolume.get("random")
    for source, value in run.hypervolume.items():
        if source in ("random", "exhaustive") and len(run.hypervolume) > 1:
            continue
        line = f"Hypervolume of the {'sweep' if source == 'exhaustive' else 'search'}: {value:.4f} (1 = ideal corner)"
        if random is not None:
            line += f"; random search at equal budget: {random:.4f}{_against(random, value)}"
        exact = run.hypervolume.get("exhaustive")
        if exact and source != "exhaustive":
            line += f"; exact front of the space: {exact:.4f}, of which the search has {percent(value / exact)}"
        lines.append(f"{line}.")
    lines.append(f"Stopped because {run.stopped_because}.")
    return lines + [f"Note: {note}." for note in run.notes] + assumed_of_run(run)


def assumed(dram_types: Iterable[DramType | str], technology: Technology) -> list[str]:
    """Sentences on what stands in for figures of the DRAM that are not published or not given."""
    return [f"Assumed: {text}." for each in dict.fromkeys(dram_types) for text in assumptions(each, technology)]


def assumed_of_run(run: Exploration) -> list[str]:
    """`assumed` of the DRAM types in a run's space; nothing where the problem tells no technology."""
    identity = run.manifest.get("identity", {})
    constants, space = identity.get("problem", {}).get("technology"), identity.get("space", {})
    if not isinstance(constants, dict):
        return []
    fixed = [space.get("base", {}).get("dram_type", "")]
    levels = space.get("variables", {}).get("dram_type", fixed)
    return assumed((DramType(**x) if isinstance(x, dict) else x for x in levels), technology_of(constants))


def remap_report(again: Remapped) -> list[str]:
    """Sentences: what the complete mapper changed of a front, and how long it took."""
    n = len(again.moved)
    if n == 0:
        return ["Complete mapping: the front has no design."]
    moved, left = int(again.moved.sum()), n - int(again.still_on_front.sum())
    lines = [
        f"Complete mapping of the front: {moved} of {n} designs moved by more than {MOVED_PERCENT:g} %; "
        f"{left} {'is' if left == 1 else 'are'} no longer on the front among themselves."
    ]
    for name, changes in zip(again.objective_names, again.changes_percent.T, strict=True):
        known = changes[~np.isnan(changes)]
        line = f"{words(name)}: "
        if len(known):
            largest = known[np.argmax(np.abs(known))]
            line += f"mean {known.mean():+.2g} %, largest change {largest:+.2g} %" if largest else "unchanged"
        from_0 = n - len(known)
        lines.append(line + (f"{', ' if len(known) else ''}{from_0} changed from 0" if from_0 else ""))
    when = "It took" if again.is_new else "It was done before, and took"
    return [*lines, f"{when} {duration(again.elapsed_s)}; every design is in front_complete.csv."]


def network_line(network: Network) -> str:
    """Name, MACs, weights, layers."""
    return (
        f"{network.name}: {number(network.macs / 1e9)} GMACs, {number(network.weight_elements / 1e6)} M weights, "
        f"{len(network.mac_layers)} MAC and {len(network.layers) - len(network.mac_layers)} vector layers"
    )


def evaluation_summary(evaluation: Evaluation, batch: int = 1) -> WholeTable:
    """The main numbers of one design on one network of `batch` samples."""
    table = WholeTable("Summary", show_header=False)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("")
    for row in evaluation.summary(batch):
        table.add_row(*map(escape, row))
    return table


def evaluation_record(evaluation: Evaluation, batch: int = 1) -> dict[str, object]:
    """What one design does on one network of `batch` samples as plain values, for machines; units end the names."""
    e = evaluation
    names = ["latency_s", "cycles", "energy_j", "area_mm2", "core_area_mm2", "power_w", "latency_bound_s"]
    names += ["energy_bound_j", "overflow", "utilisation", "bound", "misfits", "feasible"]
    return {
        "network": e.network.name,
        "batch": batch,
        "technology": e.technology.name,
        **{name: getattr(e, name) for name in names},
        **e.rates(batch),
        "cycles_by_cause": e.waterfall(),
        "energy_by_level_j": e.energy(),
        "area_by_block_mm2": e.area,
        "design": e.design.parameters(),
        "on_chip": {
            "keep": e.on_chip.keep,
            "proven": e.on_chip.proven,
            "store_bytes": e.on_chip.store_bytes,
            "kept": [vars(tensor) for tensor in e.on_chip.kept],
        },
        "layers": e.layers,
    }


def _shares(title: str, unit: str, parts: Mapping[str, float]) -> WholeTable:
    """Parts of a total: value, share, bar."""
    total = sum(parts.values())
    factor, text = scaled(unit, [total])
    table = WholeTable(title)
    table.add_column("", no_wrap=True)
    table.add_column(text, justify="right")
    table.add_column("share", justify="right")
    table.add_column("", no_wrap=True)
    for name, value in parts.items():
        share = value / total if total else 0.0
        table.add_row(name, number(value * factor), percent(share), Text("\u2588" * round(24 * share), style="blue"))
    table.add_row("total", number(total * factor), "", "", style="bold")
    return table


def waterfall_table(evaluation: Evaluation) -> WholeTable:
    """Where the cycles go."""
    parts = {WATERFALL[name]: cycles for name, cycles in evaluation.waterfall().items()}
    return _shares("Cycles by cause", "cycle", parts)


def area_table(evaluation: Evaluation) -> WholeTable:
    """Area by block."""
    return _shares("Area by block", "mm2", {words(name): value for name, value in evaluation.area.items()})


def energy_table(evaluation: Evaluation) -> WholeTable:
    """Energy by level."""
    return _shares("Energy by level", "J", {words(name): value for name, value in evaluation.energy().items()})


_SHARE_HEADS = ("time", "ideal", "idle", "vector", "buffer", "DRAM", "fill")


def layer_table(evaluation: Evaluation) -> WholeTable:
    """One row a layer: work, time, where its cycles go, what bounds it, traffic and energy; all repeats together."""
    causes = [f"{head}\n%" for head in _SHARE_HEADS]
    table = WholeTable(
        "Layers, all repeats together; time in % of the network, causes in % of the layer's cycles",
        spare=("energy\n\u00b5J", "DRAM\nkB", *causes[:0:-1], "operator", "MMACs"),
    )
    for name in ("layer", "operator"):
        table.add_column(name, no_wrap=True)
    for name in ("MMACs", "kcycles", *causes):
        table.add_column(name, justify="right")
    table.add_column("bound", no_wrap=True)
    for name in ("DRAM\nkB", "energy\n\u00b5J"):
        table.add_column(name, justify="right")
    for _, row in evaluation.layers.iterrows():
        cycles, n = row["cycles"], row["repeats"]
        shares = [100 * row[f"{part}_cycles"] / cycles if cycles else 0.0 for part in WATERFALL]
        table.add_row(
            Text(row["layer"]),
            Text(row["operator"]),
            number(float(f"{row['macs'] * n / 1e6:.3g}")),
            number(float(f"{cycles * n / 1e3:.4g}")),
            f"{100 * cycles * n / evaluation.cycles:.1f}",
            *(f"{share:.0f}" if share >= 0.5 else "\u00b7" for share in shares),
            row["bound"],
            number(round(row["dram_bytes"] * n / 1e3)),
            number(float(f"{row['energy_pj'] * n / 1e6:.3g}")),
        )
    return table


def evaluation_report(evaluation: Evaluation, width: int = 132, batch: int = 1) -> RenderableType:
    """Everything about one design on one network of `batch` samples, for a terminal of that width [characters]."""
    e = evaluation
    parts: list[RenderableType] = [
        evaluation_summary(e, batch),
        "",
        *map(Text, assumed([e.design.dram_type], e.technology)),
        "",
        waterfall_table(e),
        "",
        energy_table(e),
        "",
        area_table(e),
    ]
    if not e.feasible:
        over = f"This design cannot run {e.network.name}: bytes over / capacity, all layers, is {number(e.overflow)}."
        first = [f"{name}: {what}." for name, what in list(e.misfits.items())[:3]]
        over = " ".join([over, *first])
        parts = [Text(f"{over} The numbers below are not those of a working design.", style="bold red"), "", *parts]
    stays = on_chip_report(e, width)
    if stays is not None:
        parts += ["", stays]
    return Group(*parts, "", layer_table(e))


def distance_to_bound(evaluation: Evaluation, layer: str) -> str:
    """What limits the mapping of a MAC layer, and how far it is from the lower bound of its cycles over all mappings.

    The bound is peak arithmetic, compulsory DRAM traffic, or what array and ports need at least.
    """
    row = evaluation.layers.set_index("layer").loc[layer]
    gap = row["cycles"] / row["least_cycles"] - 1
    kind, _, operands = row["bound"].partition("_")
    limit = {
        "compute": "the array", "buffer": f"the port of buffer {operands}", "dram": "the DRAM link",
        "vector": "the vector unit", "fill": "fill and drain",
    }[kind]  # fmt: skip
    here = f"{number(row['cycles'])} cycles, limited by {limit}"
    if gap < 1e-9:
        return f"{here}: no mapping takes fewer"
    if row["least_cycles"] <= row["ideal_cycles"] * (1 + 1e-9):
        bound = "peak arithmetic"
    elif row["least_cycles"] <= row["bound_cycles"] * (1 + 1e-9):
        bound = "compulsory DRAM traffic"
    else:
        bound = "array, ports and buffer sizes"
    return (
        f"{here}; any mapping takes at least {number(row['least_cycles'])} ({bound}), this one {100 * gap:.2g} % more"
    )


def design_table(design_parameters: Mapping[str, object], width: int = 132) -> WholeTable:
    """Every parameter of a design with its unit; in two halves where a terminal of `width` [characters] has room."""
    table = WholeTable("Design", show_header=False)
    cells = [(name, escape(str(value)) or "none", _unit(name)) for name, value in design_parameters.items()]
    lines = len(cells) if width < TWO_HALVES else (len(cells) + 1) // 2
    for _ in range(3 if lines == len(cells) else 6):
        table.add_column("", no_wrap=True)
    for i in range(lines):
        right = cells[i + lines] if i + lines < len(cells) else ("", "", "")
        table.add_row(*cells[i], *(right if lines < len(cells) else ()))
    return table


def _unit(name: str) -> str:
    unit = COLUMNS[name].unit
    return "" if unit in ("-", "1") else f"{unit}   "


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
        table.add_row(name, f"{escape(shown)} {_unit(name).strip()}".strip(), escape(source))
    return table


COMPARED = {
    "latency_s": ("latency", "s"), "inferences_per_s": ("samples\nper second", ""),
    "energy_per_inference_j": ("energy each", "J"), "power_w": ("power", "W"), "area_mm2": ("area", "mm2"),
    "tops": ("TOPS", ""), "tops_per_w": ("TOPS/W", ""), "tops_per_mm2": ("TOPS/mm\u00b2", ""),
    "w_per_mm2": ("W/mm\u00b2", ""),
}  # fmt: skip
"""Columns of `dse.compare` that `comparison_report` shows, their heads and units."""

SPARE_COMPARED = ("w_per_mm2", "tops_per_mm2", "tops_per_w", "tops", "area_mm2", "inferences_per_s")
"""Of these the ones that a narrow terminal leaves out, in this order."""


def comparison_report(compared: DataFrame) -> RenderableType:
    """A row a network and design; below, what bounds each and the change that helps its network most."""
    table = WholeTable(spare=[COMPARED[name][0] for name in SPARE_COMPARED])
    for name in ("network", "design"):
        table.add_column(name, no_wrap=True)
    for name in COMPARED:
        table.add_column(COMPARED[name][0], justify="right")
    kept = {"meets_deadline": "in time", "within_limits": "in limits"}
    kept = {name: head for name, head in kept.items() if name in compared}
    for head in kept.values():
        table.add_column(head, justify="right")
    lines = []
    for row in compared.to_dict("records"):
        values = [quantity(row[name], COMPARED[name][1]) if np.isfinite(row[name]) else "-" for name in COMPARED]
        answers = ["yes" if row[name] else "no" for name in kept]
        table.add_row(escape(row["network"]), escape(row["design"]), *values, *answers)
        bound = f"bound by {row['bound']}" if row["fits"] else row["bound"]
        advice = row.get("first_advice") or ""
        lines.append(escape(f"{row['network']} on {row['design']}: {bound}{'; ' * bool(advice)}{advice}"))
    return Group(table, "", *lines)


def co_run_report(run: CoRun) -> RenderableType:
    """A mix on a design: metrics beside their bounds, every stream, and deadlines that no order could meet."""
    summary = WholeTable(show_header=False)
    for no_wrap in (True, True, False):
        summary.add_column("", no_wrap=no_wrap)
    for row in _steady_summary(run) if run.steady is not None else _batch_summary(run):
        summary.add_row(*row)
    lines = [run.steady.verdict] if run.steady is not None else []
    if run.load is not None and run.load.is_too_much:
        lines.append(f"unstable (proved): {run.load}; makespan and slow-downs grow with the mix's duration_s")
    if run.placed is not None:
        what = "places" if run.steady is not None else "orders and places"
        lines.append(f"searched {run.placed.schedules} {what} in {quantity(run.placed_seconds, 's')}")
    if run.bounds is not None:
        lines.append(f"bound over all places in {quantity(run.bounds.seconds, 's')}")
    if run.steady is None or run.steady.stable:
        lines += [
            f"{escape(name)}: due {quantity(due_s, 's')} after arrival, but no order of these layers finishes it "
            f"before {quantity(earliest, 's')}"
            for name, (due_s, earliest) in unmet_deadlines(run).items()
        ]
        lines += [escape(str(demand)) for demand in unmet_demand(run)]
    streams = _batch_streams(run) if run.steady is None else _steady_streams(run)
    return Group(summary, "", streams, "", *lines)


def _batch_summary(run: CoRun) -> list[tuple[str, str, str]]:
    """Rows of a batch: what, value, note."""
    done, found = run.schedule, run.metrics
    due = int(np.isfinite(done.table.deadline_s).sum())
    missed = f"{int(done.missed.sum())} of {due}" if due else "no deadlines"

    def above(bound: float, of: str) -> str:
        return f"{of}; the schedule is {percent(max(0.0, round(found['makespan_s'] / bound - 1, 6)))} above it"

    at_places = found["makespan_bound_at_places_s"]
    rows = [
        ("makespan", quantity(found["makespan_s"], "s"), f"{len(done.table)} requests"),
        ("lower bound at these places", quantity(at_places, "s"), above(at_places, "of any order")),
    ]
    if run.bounds is not None:
        bound = run.bounds.makespan_s
        rows.append(("lower bound", quantity(bound, "s"), above(bound, "of any places and order")))
    return [
        *rows,
        ("energy", quantity(found["energy_j"], "J"), quantity(found["power_w"], "W")),
        ("area", f"{number(found['area_mm2'])} mm²", _division_words(run)),
        ("without DRAM interface", f"{number(found['core_area_mm2'])} mm²", ""),
        ("system throughput (STP)", number(found["stp"]), "sum over streams of time alone / turnaround"),
        ("mean slow-down (ANTT)", number(found["antt"]), f"worst {number(found['worst_slow_down'])}"),
        ("fairness", number(found["fairness"]), "least / greatest progress for its priority"),
        ("deadlines missed", missed, ""),
    ]


def _division_words(run: CoRun) -> str:
    """Kind of division, and how many of its sub-arrays run anything."""
    used, count = int(run.metrics["used_sub_arrays"]), run.division.sub_arrays
    return run.division.kind(run.design) + (f"; {used} of {count} sub-arrays used" if used < count else "")


def _steady_summary(run: CoRun) -> list[tuple[str, str, str]]:
    """Rows of streams with rates: what, value, note."""
    found, steady = run.metrics, run.steady
    assert steady is not None
    arrays = ", ".join(
        f"{number(load)}" if not steady.stable else f"{number(load)} (busy {percent(busy)})"
        for load, busy in zip(steady.load.sub_arrays, steady.utilisation, strict=True)
    )
    dram = f"busy {percent(steady.dram_utilisation)}" if steady.stable else ""
    rows = [
        ("load of the sub-arrays", arrays, "time needed each second"),
        ("load of the DRAM", number(steady.load.dram), dram),
    ]
    if run.bounds is not None:
        rows.append(("least load", number(run.bounds.load), "no places have less"))
    word = "saturated throughput" if not steady.stable else "throughput"
    rows += [
        (word, f"{number(found['throughput_per_s'])} 1/s", f"of {number(float(steady.offered_per_s.sum()))} offered"),
        ("power", quantity(found["power_w"], "W"), f"{quantity(found['energy_per_request_j'], 'J')} a request"),
        ("area", f"{number(found['area_mm2'])} mm²", _division_words(run)),
    ]
    if not steady.stable:
        return rows
    due = any(stream.deadline_s or stream.fps for stream in run.mix.streams)
    return [
        *rows,
        ("mean slow-down", number(found["mean_slow_down"]), f"worst {number(found['worst_slow_down'])}"),
        ("fairness", number(found["fairness"]), "least / greatest progress for its priority"),
        ("deadlines missed", percent(found["deadline_miss_share"]) if due else "no deadlines", ""),
    ]


def _batch_streams(run: CoRun) -> WholeTable:
    """Every stream of a batch."""
    done, table = run.schedule, WholeTable()
    for name in ("stream", "sub-array", "requests", "alone", "slowest turnaround", "slow-down", "missed"):
        table.add_column(name, justify="left" if name == "stream" else "right", no_wrap=True)
    names, worst = np.array(done.table.networks), run.worst_slow_downs()
    for name in dict.fromkeys(done.table.networks):
        which = np.flatnonzero(names == name)
        places = sorted({a + 1 for a in done.table.sub_array[which].tolist()})
        table.add_row(
            escape(name), ", ".join(map(str, places)), str(len(which)), quantity(run.alone_s[which[0]], "s"),
            quantity(done.turnaround_s[which].max(), "s"), number(worst[name]), str(int(done.missed[which].sum())),
        )  # fmt: skip
    return table


def _steady_streams(run: CoRun) -> WholeTable:
    """Every stream with a rate: percentiles, with the half width of their 95 % interval where there is one."""
    steady, table = run.steady, WholeTable()
    assert steady is not None
    latencies = [f"{p} %" for p in PERCENTILES] if steady.stable else []
    for name in ("stream", "sub-array", "rate", "alone", *latencies, *(["slow-down"] if steady.stable else [])):
        table.add_column(name, justify="left" if name == "stream" else "right", no_wrap=True)
    for s, stream in enumerate(run.mix.streams):
        cells = [escape(stream.name), str(run.where[s] + 1), f"{number(steady.offered_per_s[s])} 1/s",
                 quantity(run.alone_s[s], "s")]  # fmt: skip
        for value, half in zip(steady.latency_s[s], steady.interval_s[s, 1:], strict=True):
            if latencies:
                cells.append(quantity(value, "s") + (f" ± {quantity(half, 's')}" if half > 0 else ""))
        table.add_row(*cells, *([number(steady.slow_down[s, 0])] if steady.stable else []))
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


def validation_table(score: Any) -> WholeTable:
    """The score of `dse.validation.score.score`: a line a quantity, under the name of its reference."""
    table = WholeTable(
        "Absolute error of the model, and of a roofline, against the reference",
        padding=(0, 1, 0, 0),
        spare=("its rank corr.", "roofline median", "mean", "rows", "rank corr."),
    )
    table.add_column("quantity", no_wrap=True)
    for name in ("rows", "median", "mean", "worst", "rank corr.", "roofline median", "its rank corr."):
        table.add_column(name, justify="right")
    table.add_column("to reach", no_wrap=True)
    table.add_column("")
    for reference, group in score.groupby("reference", sort=False):
        kinds = group["kind"].iloc[0].split(", ")
        table.add_row(f"[bold]{reference}[/bold] ({kinds[0] if len(kinds) == 1 else 'several kinds'})")
        for line in group.to_dict("records"):
            errors = [_error(line[f"{name}_error"]) for name in ("median", "mean", "worst")]
            simple = (_error(line["roofline_median_error"]), _rank(line["roofline_rank_correlation"]))
            reached = {True: "yes", False: "no", None: ""}[line["reached"]]
            cells = (str(line["rows"]), *errors, _rank(line["rank_correlation"]), *simple)
            table.add_row(f"  {line['quantity']} [{line['unit']}]".replace("[", r"\["), *cells, line["target"], reached)
    return table


def ratio_table(rows: Any) -> WholeTable:
    """Comparisons of one quantity one by one: family, reference, predicted, ratio and the note."""
    table = WholeTable(f"{rows['quantity'].iloc[0]} [{rows['unit'].iloc[0]}]".replace("[", r"\["), padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("reference", "predicted", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("why")
    for line in rows.to_dict("records"):
        numbers = (
            f"{line['measured']:,.0f}",
            f"{line['predicted']:,.0f}",
            f"{line['predicted'] / line['measured']:.2f}",
        )
        table.add_row(line["family"], *numbers, line["note"])
    return table


def range_table(rows: Any) -> WholeTable:
    """The comparisons that have a range: predicted / published, and how far that goes over draws of the constants."""
    table = WholeTable("Predicted over published, and 5 to 95 % of draws of the constants", padding=(0, 1, 0, 0))
    table.add_column("quantity", no_wrap=True)
    for name in ("published", "predicted", "ratio", "draws"):
        table.add_column(name, justify="right")
    for quantity_, group in rows[rows["predicted_low"].notna()].groupby("quantity", sort=False):
        counts = "" if group["gated"].all() else " (not scored)" if not group["gated"].any() else ""
        table.add_row(f"[bold]{quantity_}[/bold]{counts}")
        for line in group.to_dict("records"):
            low, ratio, high = (line[f"predicted{end}"] / line["measured"] for end in ("_low", "", "_high"))
            scored = "" if line["gated"] or counts else ", not scored"
            shown = (number(line[name]) for name in ("measured", "predicted"))
            cells = (*shown, f"{ratio:.2f}", f"{low:.2f} to {high:.2f}")
            table.add_row(f"  {line['row']} [{line['unit']}]{scored}".replace("[", r"\["), *cells)
    return table


def _rank(correlation: float) -> str:
    return "-" if np.isnan(correlation) else f"{correlation:.3f}"


def _error(share: float) -> str:
    """An error as a percentage; "0" below a millionth, where only rounding is left."""
    return "-" if np.isnan(share) else "0" if share < 1e-6 else percent(share)


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
