"""On-chip power of six published chips: whole, by layer and by part, each at its own node; nothing is fitted to one.

A chip's power is its energy, all levels but DRAM, over time.  Eyeriss v1 is taken at the chip's own processing time:
what runs with time (leakage, clock) runs for all of it.  Every row has a range: 5 to 95 % of the predictions when the
constants are drawn from their published ranges (`dse.analysis.technology_sensitivity.drawn`), mappings as they are.

Four chips count.  Of Eyeriss v1 the zeros, the supply and the time of each layer are published.  TPU v1's 40 W are
taken as those of CNN0, which keeps the array busy; the other networks are printed.  NVDLA is its vendor's estimate,
without its supply.  ShiDianNao is a layout, its network our choice.  DianNao and Simba are printed: which activity is
behind 485 mW, and which supply behind 0.11 pJ, is not known.  DianNao's memory and clock network count as parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dse.analysis.technology_sensitivity import drawn
from dse.costs import formulas
from dse.costs.evaluation import evaluate
from dse.costs.mapping import Mapping as LayerMapping
from dse.costs.results import OPERATIONS_OF_A_MAC
from dse.hardware.accelerator import Accelerator
from dse.hardware.presets import preset, preset_ranges, preset_technology
from dse.hardware.technology import Technology
from dse.networks import Network, load_network
from dse.networks.layers import Layer, MacLayer
from dse.validation import eyeriss, tpu
from dse.validation.table import checked, read_data

DRAWS = 100
"""Draws of the constants, behind the range of every row."""

PARTS = {
    "clock network": ("tree",),
    "registers": ("register", "clocked"),
    "multipliers and adders": ("mac",),
    "memory": ("buffer",),
    "logic and registers": ("mac", "register", "clocked", "interconnect", "vector"),
}
"""Published part of a chip -> levels of the energy, that of the clock as its ``tree`` and what it takes in flip-flops,
``clocked``, which chips count as registers."""

TEN_PERCENT = 0.1

Values = np.ndarray
"""One number a technology: of the constants as they are, then of each draw."""


class Run(NamedTuple):
    """What a design does: energy by level [J], power by level while it waits [W], each (1 + `DRAWS`,), and time [s]."""

    parts_j: Mapping[str, Values]
    idle_w: Mapping[str, Values]
    seconds: float


def rows() -> pd.DataFrame:
    """One row a chip, layer or part, columns as in `dse.validation.table`; the roofline means nothing here."""
    published = read_data("power.csv").set_index(["preset", "row"])
    lines = [*_eyeriss(published), *_tpu(published), *_nvdla(published), *_small(published)]
    order = list(dict.fromkeys(line["quantity"] for line in lines))
    table = pd.DataFrame(sorted(lines, key=lambda line: order.index(line["quantity"])))
    return checked(table.assign(reference="Published power", roofline=math.nan))


@cache
def technologies(name: str, node_nm: int) -> tuple[Technology, ...]:
    """The technology of a preset's chip at the node that its power is published for, and its draws."""
    base, rng = preset_technology(name, node_nm), np.random.default_rng(0)
    ranges = preset_ranges(name, base)
    return (base, *(drawn(base, rng, ranges) for _ in range(DRAWS)))


def run_of(
    name: str, node_nm: int, work: Network | Layer | Iterable[Layer], mapping: LayerMapping | None = None
) -> Run:
    """A preset on a network or layers, under its best mappings or the given one."""
    under, design = technologies(name, node_nm), preset(name)
    done = evaluate(design, work, technology=under[0], mapping=mapping)
    tree_j = done.energies_under(_without_flip_flops(under))["clock"]
    return Run(_clock_in_two(done.energies_under(under), tree_j), _idle_w_of(name, node_nm), done.latency_s)


@cache
def _idle_w_of(name: str, node_nm: int) -> Mapping[str, Values]:
    return idle_w(preset(name), technologies(name, node_nm))


def idle_w(design: Accelerator, under: Iterable[Technology]) -> dict[str, Values]:
    """Power by level of a design that waits [W]."""
    whole, tree = (
        [formulas.idle_w(design, technology) for technology in of] for of in (under, _without_flip_flops(under))
    )
    levels = {level: np.array([power[level] for power in whole]) for level in whole[0]}
    return _clock_in_two(levels, np.array([power["clock"] for power in tree]))


def _without_flip_flops(under: Iterable[Technology]) -> list[Technology]:
    """The same, the clock of no flip-flop taking energy: what is left of the clock is its tree."""
    return [replace(technology, flip_flop_clock_pj_per_bit=0.0) for technology in under]


def _clock_in_two(levels: Mapping[str, Values], tree: Values) -> dict[str, Values]:
    rest = {level: values for level, values in levels.items() if level != "clock"}
    return rest | {"tree": tree, "clocked": levels["clock"] - tree}


def power_w(run: Run, levels: Iterable[str] | None = None, seconds: float | None = None) -> Values:
    """Power of some levels, of all but DRAM where none is named, over another time than the model's [W].

    What runs with time, known by `Run.idle_w`, runs for all of that time; the rest is spread over it.
    """
    levels = [part for part in run.parts_j if part != "dram"] if levels is None else levels
    seconds = run.seconds if seconds is None else seconds
    total = np.zeros(1 + DRAWS)
    for part in levels:
        idle = run.idle_w.get(part, 0.0)
        total = total + (run.parts_j[part] - idle * run.seconds) / seconds + idle
    return total


def _line(quantity: str, row: str, measured: float, unit: str, values: Values, kind: str, **other: Any) -> dict:
    low, high = np.quantile(values[1:], [0.05, 0.95])
    return {
        "quantity": quantity, "row": row, "measured": float(measured), "unit": unit, "kind": kind,
        "predicted": float(values[0]), "predicted_low": low, "predicted_high": high, "gated": True, "note": "",
    } | other  # fmt: skip


def _eyeriss(published: pd.DataFrame) -> list[dict]:
    """AlexNet with the published mapping, VGG-16 with `eyeriss.inferred_mapping`; at the chip's time."""
    lines, whole_j, seconds = [], np.zeros(1 + DRAWS), 0.0
    for file, mapping_of in (("eyeriss.csv", eyeriss.mapping_of), ("eyeriss_vgg16.csv", eyeriss.inferred_mapping)):
        network = "AlexNet" if file == "eyeriss.csv" else "VGG-16"
        for layer in read_data(file).itertuples():
            run = run_of("eyeriss_v1", 65, eyeriss.layer_of(layer), mapping_of(layer))
            of_chip = layer.processing_latency_ms * 1e-3
            watt = power_w(run, seconds=of_chip)
            note = f"{layer.ifmap_zeros_pct:g} % of the inputs are zeros"
            quantity = f"Eyeriss v1, layers of {network}"
            lines.append(_line(quantity, layer.layer, layer.power_mw, "mW", watt * 1e3, "silicon", note=note))
            if network == "AlexNet":
                whole_j, seconds = whole_j + watt * of_chip, seconds + of_chip
                lines += _eyeriss_parts(published, layer.layer, run, of_chip)
    measured, values = published["value"]["eyeriss_v1", "AlexNet"], whole_j / seconds * 1e3
    note = "AlexNet CONV1-5, average over the processing time"
    return [_line("power of a chip", "Eyeriss v1", measured, "mW", values, "silicon", note=note), *lines]


def _eyeriss_parts(published: pd.DataFrame, layer: str, run: Run, seconds: float) -> list[dict]:
    lines = []
    for part, levels in PARTS.items():
        row = f"{layer} {part}"
        if ("eyeriss_v1", row) in published.index:
            known = published.loc[("eyeriss_v1", row)]
            buffer_mw = power_w(run, ["buffer"], seconds)[0] * 1e3
            note = f"global buffer, not published: {buffer_mw:.1f} mW predicted" if part == "registers" else ""
            values = power_w(run, levels, seconds) * 1e3
            lines.append(
                _line("Eyeriss v1, parts", row, known["value"], "mW", values, "silicon", gated=False, note=note)
            )
    return lines


def _tpu(published: pd.DataFrame) -> list[dict]:
    """Busy and idle; a load of a tenth is a tenth of the time busy and the rest idle."""
    design, busy = preset("tpu_v1"), {}
    for app in read_data("tpu.csv").itertuples():
        busy[app.app] = run_of("tpu_v1", 28, Network(app.app, tuple(tpu.layers_of(app, design))))
    watt = {name: power_w(run) for name, run in busy.items()}
    idle = power_w(busy["CNN0"]._replace(parts_j=busy["CNN0"].idle_w, seconds=1.0))
    of = published["value"]["tpu_v1"]
    quantity, counted = "TPU v1, busy and idle", "TPU v1, load"
    lines = [
        _line("power of a chip", "TPU v1, busy", of["busy"] * 1e3, "mW", watt["CNN0"] * 1e3, "silicon", note="CNN0"),
        _line(quantity, "busy", of["busy"], "W", watt["CNN0"], "silicon", note="CNN0"),
        _line(quantity, "idle", of["idle"], "W", idle, "silicon"),
    ]
    for name in watt:
        row = f"{name} at 10 % load"
        if row in of:
            values = TEN_PERCENT * watt[name] + (1 - TEN_PERCENT) * idle
            lines.append(_line(counted, row, of[row], "W", values, "silicon", gated=False, note="linear in load"))
    note = "40 W are not the power of this network"
    for name in watt:
        if name != "CNN0":
            lines.append(_line(counted, name, of["busy"], "W", watt[name], "silicon", gated=False, note=note))
    return lines


def _nvdla(published: pd.DataFrame) -> list[dict]:
    """Seven sizes on ResNet-50: power, energy of a frame, and the geometric mean of the powers as that of one chip."""
    network = load_network("resnet50")
    rates = read_data("nvdla_configurations.csv")
    rates = rates[~rates["source"].str.endswith(".xlsx")].set_index("macs")["frames_per_s"]
    powers, frames, measured, logs = [], [], [], np.zeros(1 + DRAWS)
    for macs, rate in rates.items():
        name = f"nvdla_{macs}"
        milliwatt = published["value"][name, "average"]
        run = run_of(name, 16, network)
        values, row = power_w(run) * 1e3, f"{macs} MACs"
        note = f"{1 / run.seconds:.4g} frames a second, the vendor's model has {rate:g}"
        powers.append(_line("NVDLA, seven sizes", row, milliwatt, "mW", values, "vendor-model", note=note))
        per_frame = values * run.seconds
        frames.append(
            _line("NVDLA, a frame", row, milliwatt / rate, "mJ", per_frame, "vendor-model", gated=False, note=note)
        )
        measured.append(milliwatt)
        logs = logs + np.log(values)
    mean = math.exp(np.log(measured).mean())
    values, note = np.exp(logs / len(measured)), "geometric mean of seven sizes, ResNet-50"
    return [_line("power of a chip", "NVDLA", mean, "mW", values, "vendor-model", note=note), *powers, *frames]


def _small(published: pd.DataFrame) -> list[dict]:
    """ShiDianNao, DianNao and Simba on layers of our choice."""
    layers = read_data("power_layers.csv")
    of = published["value"]
    runs, names = {}, {}
    for name, group in layers.groupby("preset"):
        work = [
            MacLayer(line.layer, "Conv", C=line.C, K=line.K, OY=line.OY, OX=line.OX, FY=line.FY, FX=line.FX)
            for line in group.itertuples()
        ]
        runs[name] = (run_of(name, int(published["node_nm"][name].iloc[0]), work), work)
        names[name] = ", ".join(group["layer"])
    lines = []
    for name, chip, gated in (("shidiannao", "ShiDianNao", True), ("diannao", "DianNao", False)):
        milliwatt = power_w(runs[name][0]) * 1e3
        other = {"gated": gated, "note": f"layers of our choice: {names[name]}"}
        lines.append(_line("power of a chip", chip, of[name, "total"], "mW", milliwatt, "post-layout", **other))
    unknown = "activity not published: a third of the energy a MAC of Eyeriss v1, an eighth of ShiDianNao"
    for part, note in (("memory", ""), ("clock network", ""), ("logic and registers", unknown)):
        values, measured = power_w(runs["diannao"][0], PARTS[part]) * 1e3, of["diannao", part]
        other = {"gated": not note, "note": note}
        lines.append(_line("DianNao, parts", part, measured, "mW", values, "post-layout", **other))
    run, work = runs["simba_pe"]
    values = power_w(run) * run.seconds / (OPERATIONS_OF_A_MAC * sum(layer.macs for layer in work)) * 1e12
    note = f"{names['simba_pe']}, at nominal supply; that of the published point is not known"
    quantity = "Simba, an operation"
    return [*lines, _line(quantity, "least", of["simba_pe", "least"], "pJ", values, "silicon", gated=False, note=note)]
