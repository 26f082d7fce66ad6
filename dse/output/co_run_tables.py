"""What a mix of networks does on a design, for the terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape

from dse.output.units import number, percent, quantity
from dse.output.whole_tables import WholeTable
from dse.simultaneous.co_runs import CoRun, unmet_deadlines, unmet_demand
from dse.simultaneous.steady_state import PERCENTILES


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
