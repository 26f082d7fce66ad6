"""SCALE-Sim 3.0.0: 433 runs of im2col matrix products on seven systolic arrays under three dataflows.

The simulator walks every fold of the array, so its cycles have a closed form (Samajdar et al., ISPASS 2020), and the
model must give it exactly: ``folds (T + 2 rows + cols - 2)``.  The released program departs from it in three places:

- ``compute_cycles`` is the number of the last cycle, counted from 0: one less than the cycles;
- output-stationary folds are `rows` cycles short: ``T + rows + cols - 2``;
- output-stationary SRAM writes count ``rows + cols`` too many a fold.

Under limited bandwidth (mode USER) the simulator is not monotone in the size of its SRAMs, so stalls are printed, not
counted.  One word is one byte here.
"""

from __future__ import annotations

import math

import pandas as pd

from dse.costs.evaluation import evaluate
from dse.costs.mapping import Mapping
from dse.hardware.accelerator import Accelerator
from dse.networks.layers import MacLayer
from dse.validation.table import checked, read_data

DATAFLOWS = {
    "ws": ("weight_stationary", "W", "C", "K"),
    "os": ("output_stationary", "O", "OX", "K"),
    "is": ("input_stationary", "I", "C", "OX"),
}
"""SCALE-Sim's dataflow -> this framework's, its stationary operand, the loops on rows and on columns."""

SRAM_COUNTS = {
    "SRAM input reads": ("sram_ifmap_reads", "array_input_bytes"),
    "SRAM weight reads": ("sram_filter_reads", "array_weight_bytes"),
    "SRAM output writes": ("sram_ofmap_writes", "array_output_write_bytes"),
}
"""Quantity -> SCALE-Sim's column, this framework's."""

UNLIMITED = {"dram_gbps": 1e15} | {f"{x}_buffer_kib": 2.0**20 for x in ("weight", "input", "output")}
"""Nothing stalls; every operand is on chip as a whole."""


def rows(corrected: bool = True) -> pd.DataFrame:
    """One row a run and quantity, columns as in `dse.validation.table`.

    Parameters
    ----------
    corrected : undo the simulator's three faults in `measured`; False leaves it as released, and puts the faults into
        `predicted` instead.

    Cycles and SRAM counts are of the whole layer as one tile in unlimited buffers.  "DRAM traffic" and "cycles with
    stalls" are of the mappings of least energy and of least latency in buffers of the run's own sizes: what scheduling
    is worth, not a test.
    """
    runs = read_data("scalesim.csv")
    runs["folds"] = runs["row_folds"] * runs["col_folds"]
    runs["row"] = [_name(run) for run in runs.itertuples()]
    whole = _results(runs, ["dataflow", "array_rows", "array_cols"], whole=True)
    own = ["sram_ifmap_kb", "sram_filter_kb", "sram_ofmap_kb", "dram_bw_words_per_cycle"]
    best = _results(runs, ["dataflow", "array_rows", "array_cols", *own], whole=False)
    tables = [_cycles(runs, whole, corrected)]
    tables += [_sram(runs, whole, quantity, corrected) for quantity in SRAM_COUNTS]
    least = _results(runs, ["dataflow", "array_rows", "array_cols", *own], whole=False, objective="energy")
    tables += [_dram(runs, least), _stalls(runs, best)]
    return checked(pd.concat(tables).assign(reference="SCALE-Sim", kind="simulator"))


def array_design(dataflow: str, rows: int, cols: int, **parameters: float) -> Accelerator:
    """A systolic array as SCALE-Sim's: one word a byte, skew paid at every fold, ports that never stall.

    `dataflow`: ``"ws"``, ``"os"`` or ``"is"``; `parameters` of the buffers and DRAM, `UNLIMITED` where not given.
    """
    if dataflow not in DATAFLOWS:
        raise ValueError(f"unknown SCALE-Sim dataflow {dataflow!r}; the known ones are {', '.join(DATAFLOWS)}")
    widths = {f"{x}_buffer_width_bytes": 1024.0 for x in ("weight", "input", "output")}
    array = Accelerator(
        rows=rows,
        cols=cols,
        dataflow=DATAFLOWS[dataflow][0],
        interconnect="systolic",
        overlap_skew=False,
        accumulator_bits=8,
        output_register_bytes=1,
    )
    return array.with_parameters(widths | UNLIMITED | parameters)


def product(run: pd.Series) -> MacLayer:
    """The im2col matrix product of a run, M x K times K x N."""
    return MacLayer(run.layer, OX=int(run.M), C=int(run.K), K=int(run.N))


def whole_layer(layer: MacLayer, dataflow: str, rows: int, cols: int) -> Mapping:
    """SCALE-Sim's only schedule: fold after fold, the whole layer being one buffer tile."""
    _, stationary, on_rows, on_cols = DATAFLOWS[dataflow]
    spatial = {on_rows: min(rows, getattr(layer, on_rows)), on_cols: min(cols, getattr(layer, on_cols))}
    return Mapping(spatial, {}, {"OX": layer.OX, "C": layer.C, "K": layer.K}, stationary=stationary)


def _results(runs: pd.DataFrame, keys: list[str], whole: bool, objective: str = "latency") -> pd.DataFrame:
    """This framework's per-layer results, one a run, in the order of `runs`."""
    parts = []
    for _, group in runs.groupby(keys, dropna=False):
        run = group.iloc[0]
        dataflow, height, width = run.dataflow, int(run.array_rows), int(run.array_cols)
        layers = {layer.name: layer for layer in map(product, group.itertuples())}
        design = array_design(dataflow, height, width, **({} if whole else _own(run)))
        mappings = None
        if whole:
            mappings = {name: whole_layer(layer, dataflow, height, width) for name, layer in layers.items()}
        table = evaluate(design, layers.values(), objective=objective, slack=0.0, mapping=mappings).layers.set_index(
            "layer"
        )
        parts.append(table.loc[group["layer"]].set_axis(group.index))
    return pd.concat(parts).loc[runs.index]


def _own(run: pd.Series) -> dict[str, float]:
    """The run's own buffers, and its bandwidth where limited: as much for each of three operands [bytes/cycle]."""
    sizes = {"input": run.sram_ifmap_kb, "weight": run.sram_filter_kb, "output": run.sram_ofmap_kb}
    own = {f"{x}_buffer_kib": float(kib) for x, kib in sizes.items()}
    limit = float(run.dram_bw_words_per_cycle)
    return own if math.isnan(limit) else own | {"dram_gbps": 3 * limit}


def _name(run: pd.Series) -> str:
    sram = f"{run.sram_ifmap_kb}/{run.sram_filter_kb}/{run.sram_ofmap_kb} KiB"
    limit = "" if math.isnan(run.dram_bw_words_per_cycle) else f", {run.dram_bw_words_per_cycle:g} words/cycle"
    return f"{run.layer}, {run.dataflow}, {run.array_rows}x{run.array_cols}, {sram}{limit}"


def _cycle_fault(runs: pd.DataFrame) -> pd.Series:
    """Released less right [cycles]: the last cycle for the count, and `rows` a fold of output-stationary."""
    return -1 - runs["array_rows"] * runs["folds"] * (runs["dataflow"] == "os")


def _cycles(runs: pd.DataFrame, whole: pd.DataFrame, corrected: bool) -> pd.DataFrame:
    """Cycles less the simulator's stalls; only runs without a stall count."""
    fault = _cycle_fault(runs)
    stalls = runs["stall_cycles"]
    return _table(
        runs,
        "cycles",
        "cycle",
        runs["compute_cycles"] - stalls - (fault if corrected else 0),
        whole["cycles"] + (0 if corrected else fault),
        whole["ideal_cycles"],
        stalls == 0,
        [f"{n} stall cycles taken out" if n else "" for n in stalls],
    )


def _sram(runs: pd.DataFrame, whole: pd.DataFrame, quantity: str, corrected: bool) -> pd.DataFrame:
    theirs, ours = SRAM_COUNTS[quantity]
    fault = runs["folds"] * (runs["array_rows"] + runs["array_cols"])
    fault = fault * ((runs["dataflow"] == "os") & (theirs == "sram_ofmap_writes"))
    return _table(
        runs,
        quantity,
        "word",
        runs[theirs] - (fault if corrected else 0),
        whole[ours] + (0 if corrected else fault),
        math.nan,
        True,
        "",
    )


def _dram(runs: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Words over the DRAM link; the roofline is every word once."""
    once = runs["M"] * runs["K"] + runs["K"] * runs["N"] + runs["M"] * runs["N"]
    theirs = runs["dram_ifmap_reads"] + runs["dram_filter_reads"] + runs["dram_ofmap_writes"]
    return _table(
        runs, "DRAM traffic", "word", theirs, best["dram_bytes"], once, False, "mapping of least energy, own buffers"
    )


def _stalls(runs: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Runs of limited bandwidth with their stalls and first fill, against the best mapping."""
    some = runs["mode"] == "USER"
    measured = runs["total_cycles_incl_prefetch"] - _cycle_fault(runs)
    roofline = best["bound_cycles"]
    note = "best mapping, own buffers; the simulator's stalls are not monotone in SRAM size"
    columns = (measured[some], best["cycles"][some], roofline[some])
    return _table(runs[some], "cycles with stalls", "cycle", *columns, False, note)


def _table(
    runs: pd.DataFrame,
    quantity: str,
    unit: str,
    measured: pd.Series,
    predicted: pd.Series,
    roofline: pd.Series | float,
    gated: pd.Series | bool,
    note: list[str] | str,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": runs["row"],
            "quantity": quantity,
            "unit": unit,
            "measured": measured.astype(float),
            "predicted": predicted,
            "roofline": roofline,
            "gated": gated,
            "note": note,
        }
    )
