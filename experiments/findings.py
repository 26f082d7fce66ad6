"""Are the findings that the documents state those of the committed tables?"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from experiments.study import RESULTS, ROOT, Fault, Finding, read_table

WITH_FINDINGS = (
    "reference_sweep", "sensitivity", "tune_dnn", "simultaneous", "exact_fronts", "eight_dnns", "operation_kinds",
)  # fmt: skip
"""Experiments that have `findings(results)`."""

BENCHMARKS = ROOT / "benchmarks" / "data"
BEFORE, TODAY = "1440932", "2529ca9"
"""Columns of mapping_table.csv: version 0.1's mapper and today's, by commit."""


def flat(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def all_findings(results: Path | None = None) -> Iterator[tuple[str, Finding]]:
    """Every finding, with the module that states it."""
    sources = {name: importlib.import_module(f"experiments.{name}").findings for name in WITH_FINDINGS}
    for name, findings in (sources | {"ranking": ranking, "order": order}).items():
        try:
            for finding in findings(results or RESULTS):
                yield name, finding
        except (KeyError, IndexError) as error:
            raise Fault(f"{name}: a table in {results or RESULTS} lacks what a finding is about: {error}") from error


def wrong_findings(results: Path | None = None) -> tuple[int, list[str]]:
    """How many findings there are, and what is wrong, a line each."""
    texts: dict[str, str] = {}
    wrong, count = [], 0
    for name, finding in all_findings(results):
        count += 1
        if not finding.holds:
            wrong.append(f"{name}: the tables do not bear: {flat(finding.text)}")
            continue
        for document in finding.where:
            if document not in texts:
                texts[document] = flat((ROOT / document).read_text(encoding="utf-8"))
            if flat(finding.text) not in texts[document]:
                wrong.append(f"{name}: {document} does not say what the tables do: {flat(finding.text)}")
    return count, wrong


def ranking(results: Path) -> Iterator[Finding]:
    """Ranks of the dataflows, from what `benchmarks/mapping_table.py ranking` keeps."""
    table = read_table(BENCHMARKS / "mapping_table.csv", ["figure", "case", "effort", "quantity", BEFORE, TODAY])
    table = table[(table["figure"] == "ranking") & (table["effort"] == "default")]
    parts = table["case"].str.split(", ", expand=True).set_axis(["network", "array", "dataflow"], axis=1)
    of = (
        pd.concat([parts, table], axis=1)
        .set_index(["network", "array", "dataflow", "quantity"])[[BEFORE, TODAY]]
        .sort_index()
    )

    def cell(network: str, array: str, dataflow: str) -> str:
        old, new = (int(x) for x in of.loc[(network, array, dataflow, "rank [1]")])
        before, today = of.loc[(network, array, dataflow, "latency [Mcycles]")]
        fell = round(100 * (1 - today / before))
        return (f"{old} → {new}" if old != new else f"{old}") + (f" (-{fell} %)" if fell else "")

    for dataflow in dict.fromkeys(of.index.get_level_values("dataflow")):
        cells = ["; ".join(cell(name, array, dataflow) for array in ("16 x 16", "32 x 32"))
                 for name in ("resnet50", "mobilenet_v2", "bert_base")]  # fmt: skip
        yield Finding(f"| `{dataflow}` | {' | '.join(cells)} |")
    resnet = of.loc["resnet50"].xs("latency [Mcycles]", level="quantity")
    fell = (1 - resnet[TODAY] / resnet[BEFORE]).groupby("dataflow").min()
    less = {"weight_stationary_im2col", "output_stationary", "channel_vector"}
    yield Finding(
        "On ResNet-50 all gain by about half or more but im2col, output-stationary and channel-vector arrays.",
        bool((fell[~fell.index.isin(less)] > 0.45).all() and (fell[fell.index.isin(less)] < 0.45).all()),
    )
    ranks = of.xs("rank [1]", level="quantity").astype(int)
    rows, vector = ranks.xs("row_stationary", level="dataflow"), ranks.xs("channel_vector", level="dataflow")
    rises = rows.loc["resnet50"][BEFORE].eq(5).all() and set(rows.loc["resnet50"][TODAY]) == {3, 4}
    falls = vector.loc["resnet50"][BEFORE].eq(3).all() and vector.loc["resnet50"][TODAY].eq(5).all()
    yield Finding(
        "Row-stationary rises from 5th to 3rd or 4th place, channel vectors fall from 3rd to 5th.",
        bool(rises and falls),
    )
    others = ranks.loc[["mobilenet_v2", "bert_base"]]
    yield Finding("The order on MobileNetV2 and BERT stays.", bool((others[BEFORE] == others[TODAY]).all()))


def order(results: Path) -> Iterator[Finding]:
    """Order of designs, from what `benchmarks/design_order.py` keeps."""
    names, energy, product = ["resnet50", "mobilenet_v2", "bert_base"], "energy_j", "energy x latency"
    columns = ["network", energy, "area_mm2", product, "area x latency"]
    same = read_table(BENCHMARKS / "design_order_correlations.csv", columns).set_index("network").loc[names]
    for label, column, form in (("rank correlation of energy", energy, ".2f"), ("of area", "area_mm2", ".3f")):
        yield Finding(f"| {label} | {' | '.join(f'{x:{form}}' for x in same[column])} |")
    both = (f"{a:.2f}; {b:.2f}" for a, b in zip(same[product], same["area x latency"], strict=True))
    yield Finding(f"| of energy x latency; of area x latency | {' | '.join(both)} |")
    ranks = read_table(
        BENCHMARKS / "design_order_ranks.csv", ["network", "swapped", "product", "value", "before", "today"]
    )
    table = ranks.set_index(["swapped", "product", "value", "network"])[["before", "today"]].sort_index()
    flows = table.loc[("dataflow", product)].round(1)
    for flow in dict.fromkeys(flows.index.get_level_values("value")):
        pairs = (flows.loc[(flow, name)] for name in names)
        cells = (f"{a:.1f}" if a == b else f"{a:.1f} → {b:.1f}" for a, b in pairs)
        yield Finding(f"| `{flow}` | {' | '.join(cells)} |")
    yield Finding(
        "The order by energy is another one: a clock that runs in every cycle makes slow designs dear. That of area "
        "hardly moves;",
        bool((same[energy] < 0.7).all() and (same["area_mm2"] > 0.99).all()),
    )
    bert = flows.xs("bert_base", level="network")
    late = bert.loc[["weight_stationary_im2col", "channel_vector"]]
    yield Finding(
        "what changes places are im2col and channel vectors, which fall behind the others where their routes and "
        f"adders have a price (BERT: from {late['before'].iloc[0]:.1f} and {late['before'].iloc[1]:.1f} to "
        f"{late['today'].iloc[0]:.1f}), and plain weight-stationary arrays, which rise.",
        late["today"].nunique() == 1 and (flows["today"] <= flows["before"]).loc["weight_stationary"].all(),
    )
    yield from made_of(table)


def made_of(table: pd.DataFrame) -> Iterator[Finding]:
    """What the designs of the fronts of `benchmarks/design_order.py` are made of [% of them]."""
    designs = read_table(BENCHMARKS / "design_order.csv", ["found_by", "second", "interconnect", "buffers", "dataflow"])
    banks = designs[[f"{x}_buffer_banks" for x in ("weight", "input", "output")]].gt(1).any(axis=1)
    shared = table.xs("W+I+O", level="value").loc["buffers"].to_numpy()
    for label, has, price in (
        ("systolic wires", designs["interconnect"] == "systolic", "a broadcast pays the side of each PE that takes a "
         "word, and pipeline registers"),
        ("several buffers", designs["buffers"] != "W+I+O", "on else equal hardware one shared buffer keeps rank "
         f"{shared.min():.1f} to {shared.max():.1f} of 5"),
        ("banks of any operand", banks, "little area, less energy of a read; random designs nearly all have some"),
        ("im2col", designs["dataflow"] == "weight_stationary_im2col", "a picked word and an address for each "
         "multiplier along the reduction"),
        ("channel vectors", designs["dataflow"] == "channel_vector", "routes, adder and register of sums that leave"),
        ("output-stationary", designs["dataflow"] == "output_stationary", "sums never leave: no accumulators at the "
         "buffer"),
    ):  # fmt: skip
        share = (100 * has).groupby([designs["second"], designs["found_by"]]).mean().round()
        cells = (f"{share[second, 'before']:.0f} → {share[second, 'today']:.0f}" for second in ("area_mm2", "energy_j"))
        yield Finding(f"| {label} | {' | '.join(cells)} | {price} |")
