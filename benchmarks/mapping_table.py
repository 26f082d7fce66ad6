"""What the mapper loses, and what it costs: a table of figures, each beside the value stored before.

Usage: python benchmarks/mapping_table.py FIGURE [--effort default|complete] [--size N] [--seed N] [--save LABEL]

FIGURE is one of those below (`loss judged pairs doubling infeasible speed ranking`), or `all` at their own sizes: 17
minutes for the default setting.  Every docstring says how long it takes on one core with the mapper of version 0.1.
Without `--effort` both settings are measured, as far as this version has them; what it lacks prints n/a.  Printed
beside each value is what `benchmarks/data/mapping_table.csv` holds of it by label; `--save LABEL` writes what was
measured there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from mapper_access import EFFORTS, best_mapping, has, layer_cycles, network_cycles, network_metrics
from mapping_judge import gain, has_mapping, judge, random_pairs

import dse
from dse.costs.kernel_rows import parameter_columns
from dse.hardware.dataflow import DEFAULT_DATAFLOWS
from dse.runs.tables import genes_of, read_table

DATA = Path(__file__).parent / "data"
STORED = DATA / "mapping_table.csv"
KEY = ["figure", "case", "effort", "quantity"]
LOSS_NETWORKS = ("resnet50", "bert_base", "nasnet_a_large", "mobilenet_v2", "vit_b_16", "gpt2_prefill")
Values = Iterator[tuple[str, str, str, float]]
"""Case, setting, quantity with its unit, value."""


def front_columns() -> dict[str, np.ndarray]:
    """The designs of a front found for ResNet-50, smallest area last."""
    space = dse.default_space()
    return space.columns(genes_of(read_table(DATA / "front_0_1.csv"), space))


def random_columns(n: int, seed: int, **fixed: object) -> dict[str, np.ndarray]:
    """Random designs of the default space; parameters that are `fixed` get that value."""
    space = dse.default_space()
    columns = space.columns(space.sample(n, np.random.default_rng(seed)))
    return columns | {name: np.full(n, value) for name, value in fixed.items()}


def some(columns: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """At most `n` of the designs, evenly spread."""
    rows = np.unique(np.linspace(0, len(columns["rows"]) - 1, n).round().astype(int))
    return {name: column[rows] for name, column in columns.items()}


def design_of(columns: dict[str, np.ndarray], row: int) -> dse.Accelerator:
    """One design of the columns."""
    return dse.Accelerator(**{name: column[row] for name, column in columns.items()})


def shapes_of(network: dse.Network) -> dict[dse.MacLayer, int]:
    """The distinct MAC layers of a network, one repeat, and how often each runs."""
    times: dict[tuple, list] = {}
    for layer in network.mac_layers:
        times.setdefault(layer.shape_key, [replace(layer, repeats=1), 0])[1] += layer.repeats
    return {layer: count for layer, count in times.values()}


def percent(name: str, loss: np.ndarray) -> Iterator[tuple[str, float]]:
    """Mean, worst and shares of a loss [1], as percentages."""
    yield f"{name}, mean [%]", 100 * loss.mean()
    yield f"{name}, worst [%]", 100 * loss.max()
    yield f"{name} above 0.1 % [% of all]", 100 * (loss > 0.001).mean()
    yield f"{name} above 1 % [% of all]", 100 * (loss > 0.01).mean()


# ---------------------------------------------------------------------------------------------------------------------
# Figures.


def loss(efforts: list[str], size: int, seed: int) -> Values:
    """Latency of the default setting over that of `complete`, less 1: along the front, and `size` random designs.

    The default with energy (slack 0), and for latency alone.  Needs both settings, and hours: `complete` takes 5 s a
    random design on ResNet-50 (mean of 60, a few of which take most of it).
    """
    cases = [(f"{name}, front", name, front_columns()) for name in LOSS_NETWORKS]
    cases.append((f"resnet50, {size} random", "resnet50", random_columns(size, seed)))
    for case, name, columns in cases:
        if not has("complete"):
            yield case, "default", "loss against complete, mean [%]", np.nan
            continue
        network = dse.load_network(name)
        best = network_metrics(network, columns, "complete", slack=None)
        for what, slack in (("loss", 0.0), ("loss of latency alone", None)):
            found = network_metrics(network, columns, "default", slack=slack)
            fits, best_fits = found["overflow"] == 0, best["overflow"] == 0
            both = fits & best_fits
            slower = found["cycles"][both] / best["cycles"][both] - 1
            for quantity, value in percent(f"{what} against complete", slower):
                yield case, "default", quantity, value
            yield case, "default", f"{what}: complete slower [designs]", float((slower < -1e-9).sum())
            yield case, "default", f"{what}: only complete fits [designs]", float((best_fits & ~fits).sum())


def judged(efforts: list[str], size: int, seed: int) -> Values:
    """Latency over that of mappings that the judge finds, less 1, on `size` designs evenly along the front.

    MAC layers alone, and no activation stays on chip.  9 designs x 6 networks: 9 minutes a setting.
    """
    columns = some(front_columns() | {"resident_activation_fraction": np.zeros(217)}, size)
    for name in LOSS_NETWORKS:
        shapes = shapes_of(dse.load_network(name))
        for effort in efforts:
            slower = []
            for row in range(len(columns["rows"])):
                design, own, least = design_of(columns, row), 0.0, 0.0
                for layer, times in shapes.items():
                    found = best_mapping(design, layer, effort)
                    better = judge(design, layer, starts=[found.mapping] if found.mapping else [], restarts=6)
                    own, least = own + times * found.cycles, least + times * min(found.cycles, better.cycles)
                slower.append(own / least - 1)
            for quantity, value in percent("loss against the judge", np.array(slower)):
                yield f"{name}, {size} of the front", effort, quantity, value


def pairs(efforts: list[str], size: int, seed: int) -> Values:
    """How often a legal mapping is faster: `size` random pairs of a design and a layer, half of them along the front.

    300 pairs: 4 minutes a setting.
    """
    half, names = size // 2, dse.networks.network_names()
    for case, columns in (("random", random_columns(half, seed)), ("front", front_columns())):
        for effort in efforts:
            rng, gains, nothing = np.random.default_rng(seed + 1), [], 0
            for design, _, layer in random_pairs(columns, names, half, rng):
                share = gain(design, layer, effort, seed=seed)
                nothing += share == 1.0
                if share < 1:
                    gains.append(share / (1 - share))  # of the least latency, as everywhere in this table
            yield from ((f"{half} pairs, {case}", effort, *value) for value in percent("loss", np.array(gains)))
            yield f"{half} pairs, {case}", effort, "falsely infeasible [pairs]", float(nothing)


DOUBLED = {
    "rows": ("rows",),
    "columns": ("cols",),
    "lanes": ("macs_per_pe",),
    "registers of W": ("weight_register_bytes",),
    "registers of I": ("input_register_bytes",),
    "registers of O": ("output_register_bytes",),
    "all registers": ("weight_register_bytes", "input_register_bytes", "output_register_bytes"),
}


def doubling(efforts: list[str], size: int, seed: int) -> Values:
    """Layers that are slower on twice the rows, columns, lanes or registers: broadcast arrays of the default space.

    `size` pairs of a design and a layer, 20 layers a design.  10,000 pairs: 5 s (default setting); the long run is
    --size 100000: 90 s.
    """
    layers = [layer for name in dse.networks.network_names() for layer in shapes_of(dse.load_network(name))]
    columns = random_columns(max(1, size // 20), seed, interconnect="broadcast")
    for effort in efforts:
        rng, slower, lost = np.random.default_rng(seed), {name: [] for name in DOUBLED}, dict.fromkeys(DOUBLED, 0)
        for row in range(len(columns["rows"])):
            design = design_of(columns, row)
            some_layers = tuple(layers[i] for i in rng.choice(len(layers), 20, replace=False))
            before, over = layer_cycles(design, some_layers, effort)
            for name, parameters in DOUBLED.items():
                more = replace(design, **{each: 2 * getattr(design, each) for each in parameters})
                after, over_after = layer_cycles(more, some_layers, effort)
                both = (over == 0) & (over_after == 0)
                slower[name].extend(after[both] / before[both])
                lost[name] += int(((over == 0) & (over_after > 0)).sum())
        for name, ratios in slower.items():
            r, case = np.array(ratios), f"{name} doubled, {size} layers"
            yield case, effort, "slower [% of all]", 100 * (r > 1 + 1e-9).mean()
            yield case, effort, "slower by over 1 % [% of all]", 100 * (r > 1.01).mean()
            yield case, effort, "worst factor [1]", r.max()
            yield case, effort, "no longer fits [layers]", float(lost[name])


def infeasible(efforts: list[str], size: int, seed: int) -> Values:
    """Designs reported infeasible that have a mapping for every layer: `size` random designs, 2 networks, 2 seeds.

    Whether anything fits is the same in every setting: the default alone is asked.  1,500 designs: 18 s.
    """
    for name in ("resnet50", "mobilenet_v2"):
        network = dse.load_network(name)
        shapes = shapes_of(network)
        for which in (seed, seed + 1):
            columns = random_columns(size, which)
            over = np.flatnonzero(network_metrics(network, columns)["overflow"] > 0)
            false = sum(all(has_mapping(design_of(columns, row), layer) for layer in shapes) for row in over)
            case = f"{name}, {size} designs, seed {which}"
            yield case, "default", "reported infeasible [designs]", float(len(over))
            yield case, "default", "of these with a mapping for every layer [designs]", float(false)


def cpu_ms(
    network: dse.Network, columns: dict[str, np.ndarray], effort: str, slack: float | None, repeats: int
) -> float:
    """CPU time of a design in one batch, median of `repeats` evaluations [ms]."""
    times = []
    for _ in range(repeats):
        start = time.thread_time_ns()
        network_cycles(network, columns, effort, slack)
        times.append((time.thread_time_ns() - start) / 1e6 / len(columns["rows"]))
    return float(np.median(times))


def speed(efforts: list[str], size: int, seed: int) -> Values:
    """CPU time of one ResNet-50 design [ms], latency and area: along the front, and `size` random designs.

    Single thread, median of 7 evaluations of the whole batch; of `complete` each design once, by itself.  1,000
    designs: 15 s (default setting).
    """
    network = dse.load_network("resnet50")
    for case, columns in (("front", front_columns()), (f"{size} random", random_columns(size, seed))):
        for effort in efforts:
            network_cycles(network, {name: column[:1] for name, column in columns.items()}, effort)  # compiles
            if effort == "default":
                for what, slack in (("latency alone", None), ("slack 0%", 0.0), ("slack 1%", 0.01)):
                    yield case, effort, f"{what}, mean [ms]", cpu_ms(network, columns, effort, slack, 7)
                continue
            each = []
            for row in range(len(columns["rows"])):
                one = {name: column[row : row + 1] for name, column in columns.items()}
                each.append(cpu_ms(network, one, effort, None, 1))
            yield case, effort, "latency alone, mean [ms]", float(np.mean(each))
            yield case, effort, "latency alone, median [ms]", float(np.median(each))
            yield case, effort, "latency alone, 95 % [ms]", float(np.percentile(each, 95))
            yield case, effort, "latency alone, worst [ms]", float(np.max(each))


MACHINE = dse.Accelerator(
    macs_per_pe=4, weight_register_bytes=16, input_register_bytes=16, output_register_bytes=64, dram_gbps=32,
    weight_buffer_kib=128, input_buffer_kib=128, output_buffer_kib=64, input_buffer_width_bytes=64, vector_lanes=64,
    overlap_skew=True,
)  # fmt: skip
"""The machine of `ranking` but for its array and dataflow."""


def ranking(efforts: list[str], size: int, seed: int) -> Values:
    """Latency and rank of the seven dataflows on equal hardware (`MACHINE`): arrays of 16 x 16 and 32 x 32.

    By the mapper, seconds; with --size above 0 also by the judge, `size` restarts a layer: 4: 3 minutes.
    """
    for name in ("resnet50", "mobilenet_v2", "bert_base"):
        network = dse.load_network(name)
        for side in (16, 32):
            designs = [replace(MACHINE, rows=side, cols=side, dataflow=flow) for flow in DEFAULT_DATAFLOWS]
            for effort in efforts:
                cycles = [network_cycles(network, columns_of_one(design), effort)[0] for design in designs]
                yield from _ranked(f"{name}, {side} x {side}", effort, cycles)
            if size:
                least = []
                for design in designs:
                    times = shapes_of(network).items()
                    by_mapper = sum(n * best_mapping(design, layer).cycles for layer, n in times)
                    by_judge = sum(n * _judged_cycles(design, layer, size) for layer, n in times)
                    whole = network_cycles(network, columns_of_one(design))[0]
                    least.append(whole - by_mapper + by_judge)
                yield from _ranked(f"{name}, {side} x {side}", "judge", least)


def _judged_cycles(design: dse.Accelerator, layer: dse.MacLayer, restarts: int) -> float:
    found = best_mapping(design, layer)
    better = judge(design, layer, starts=[found.mapping] if found.mapping else [], restarts=restarts)
    return min(better.cycles, found.cycles) if found.mapping else better.cycles


def _ranked(case: str, effort: str, cycles: list[float]) -> Values:
    """Latencies and ranks; equal within 0.1 % shares a rank."""
    for flow, of in zip(DEFAULT_DATAFLOWS, cycles, strict=True):
        yield f"{case}, {flow}", effort, "latency [Mcycles]", of / 1e6
        yield f"{case}, {flow}", effort, "rank [1]", 1.0 + sum(other < of * 0.999 for other in cycles)


def columns_of_one(design: dse.Accelerator) -> dict[str, np.ndarray]:
    """A design as parameter columns of length 1."""
    return parameter_columns(design)


FIGURES: dict[str, tuple[Callable[[list[str], int, int], Values], int]] = {
    "loss": (loss, 300), "judged": (judged, 9), "pairs": (pairs, 300), "doubling": (doubling, 10_000),
    "infeasible": (infeasible, 1500), "speed": (speed, 1000), "ranking": (ranking, 4),
}  # fmt: skip
"""Each figure and its own size."""


# ---------------------------------------------------------------------------------------------------------------------
# Printing and keeping.


def stored() -> pd.DataFrame:
    """What was measured before: a row a value, a column a label."""
    return (
        pd.read_csv(STORED, index_col=KEY)
        if STORED.exists()
        else pd.DataFrame(index=pd.MultiIndex.from_arrays([[]] * 4, names=KEY))
    )


def show(figure: str, efforts: list[str], size: int, seed: int) -> dict[tuple, float]:
    """Measure a figure and print each value beside those stored."""
    measure, before = FIGURES[figure][0], stored()
    print(f"\n{figure}: {(measure.__doc__ or '').splitlines()[0]}  (size {size}, seed {seed})")
    print(f"  {'case':48s} {'setting':9s} {'quantity':52s} " + " ".join(f"{x:>12s}" for x in [*before.columns, "now"]))
    values, start = {}, time.perf_counter()
    for case, effort, quantity, value in measure(efforts, size, seed):
        key = (figure, case, effort, quantity)
        values[key] = float(f"{value:.6g}")
        old = before.loc[key] if key in before.index else pd.Series(np.nan, before.columns)
        numbers = " ".join("         n/a" if np.isnan(x) else f"{x:12.6g}" for x in [*old, value])
        print(f"  {case:48s} {effort:9s} {quantity:52s} {numbers}", flush=True)
    print(f"  {time.perf_counter() - start:.0f} s")
    return values


def save(label: str, values: dict[tuple, float]) -> None:
    """Store values under a label; others of this label stay."""
    table = stored()
    new = pd.Series(values, name=label).rename_axis(KEY).dropna()
    table = table.reindex(table.index.union(new.index, sort=False))
    table.loc[new.index, label] = new
    table.to_csv(STORED)


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=[*FIGURES, "all"])
    parser.add_argument("--effort", choices=EFFORTS, help="measure this setting alone")
    parser.add_argument("--size", type=int, help="designs, pairs or restarts; by default the figure's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="LABEL", help="store what was measured")
    given = parser.parse_args()
    efforts = [effort for effort in EFFORTS if given.effort in (None, effort) and has(effort)]
    for figure in FIGURES if given.figure == "all" else [given.figure]:
        size = FIGURES[figure][1] if given.size is None else given.size
        values = show(figure, efforts, size, given.seed)
        if given.save:
            save(given.save, values)


if __name__ == "__main__":
    main()
