"""What a run found, and what a validation, as tables and sentences for the terminal.

They show numbers computed elsewhere; every number has its unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape

from dse.analysis.price_of_generality import PRICES, price_of_generality
from dse.hardware.dram_types import DramType
from dse.output.evaluation_tables import assumed
from dse.output.units import duration, number, percent, quantity, scaled, unit_of, words
from dse.output.whole_tables import WholeTable
from dse.runs.column_dictionary import COLUMNS, PARAMETERS
from dse.runs.identity import technology_of
from dse.runs.tables import read_table
from dse.search.exploration import Exploration
from dse.search.pareto import knee, spread
from dse.search.remapping import MOVED_PERCENT, Remapped
from dse.search.several_seeds import BAND_PERCENT, SeveralSeeds
from dse.simultaneous.co_runs import CoRun
from dse.simultaneous.division import does_nothing

SHOWN_METRICS = (
    "latency_s", "latency_bound_s", "makespan_s", "makespan_bound_at_places_s", "load", "latency_p50_s",
    "latency_p95_s", "latency_p99_s", "throughput_per_s", "energy_j", "power_w", "area_mm2", "core_area_mm2", "stp",
    "mean_slow_down", "worst_slow_down", "deadline_miss_share", "used_sub_arrays", "utilisation", "dram_bytes",
)  # fmt: skip


def _designs_beside(width: int) -> int:
    """Columns of designs that a terminal has room for, beside the names of what is told of them."""
    return max(3, min(7, (width - 36) // 13))


def along_front(run: Exploration, width: int = 100) -> np.ndarray:
    """Rows of the front that `front_table` shows, as many as there is width for."""
    return spread(run.front_on_own_scale(), _designs_beside(width))


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
    chosen, at_knee = best.iloc[which], knee(run.front_on_own_scale())
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
    on_scale = run.front_on_own_scale()
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
    if left_out := run.manifest.get("shown_dominated"):
        lines.append(
            f"{left_out:,} further designs were not mapped: their lower bounds show them dominated by the front so far."
        )
    lines.append(f"Stopped because {run.stopped_because}.")
    certificate = run.manifest.get("certificate")
    if isinstance(certificate, dict) and (told := str(certificate.get("statement", ""))):
        lines.append(f"Certified: {told[0].lower()}{told[1:]}")
    return lines + [f"Note: {note}." for note in run.notes] + assumed_of_run(run)


def distance_report(run: Exploration, reference: Path | None) -> list[str]:
    """Sentences: how far a run's front is from the front of the whole space, and from a reference, if there is one.

    `reference` is the directory of a run, or a table with its objectives.
    """
    found = []
    if run.exact_front is not None and len(run.exact_front) and len(run.front) and "exhaustive" in run.hypervolume:
        found.append(("the exact front of the space", run.exact_front))
    if reference is not None:
        path = reference / "front.csv" if reference.is_dir() else reference
        found.append((str(reference), read_table(path)))
    lines = []
    for name, table in found:
        if len(table) == 0 or not (table[list(run.objective_names)] > 0).all(axis=None):
            continue
        away = run.distances(table)
        lines.append(
            f"Distance to {name} ({len(table)} designs): {percent(float(np.median(away)))} in the median, "
            f"{percent(float(away.max()))} at worst: all objectives of some design shrunk by so much reach each of it."
        )
    return lines


def seeds_report(found: SeveralSeeds) -> list[str]:
    """Sentences: hypervolume over the seeds, and the test against the random twins."""
    lines = []
    for source in found.runs[0].hypervolume:
        low, middle, high = np.percentile(found.hypervolumes(source), BAND_PERCENT)
        name = "random search at equal budget" if source == "random" and source != found.source else source
        lines.append(f"Hypervolume, {name}: median {middle:.4f}, 10 to 90 % of the seeds {low:.4f} to {high:.4f}.")
    p = found.p_value()
    if p is not None:
        more = int((found.hypervolumes() > found.hypervolumes("random")).sum())
        lines.append(
            f"The search is better than its random twin under {more} of {len(found.seeds)} seeds "
            f"(Wilcoxon's signed-rank test on pairs, two-sided: p = {p:.2g})."
        )
    return lines


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
