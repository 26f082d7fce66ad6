"""What each kind of operation wants, what it loses on designs made for other networks, and which edit helps it.

    python -m experiments operation_kinds         # after the tables of eight_dnns; 20 minutes, killed it continues
    python -m experiments operation_kinds page draw

For every network that ships, at an area budget (40 mm2), best mapping of every layer.  The shared design, and the own
optima of the eight networks that share it, come from results/eight_dnns/designs.csv.

designs   the fastest design of each other network, by the search of eight_dnns
table     designs.csv, networks.csv, kinds.csv, losses.csv
edits     edits.csv: for the shared design, weights and MACs of every stage kept within 2 %
page      relation.md: all of it, network by network and kind by kind
draw      kinds.png and .pdf

designs.csv    own optima, and the shared design
networks.csv   a row a network: share of its MACs by kind of operation [1], and of its own optimum: rows, columns, PEs,
               multipliers, share of weights, inputs and outputs in the buffers [1], bandwidth [GB/s], MACs a byte
kinds.csv      a row a kind and aspect, the shared design varied in one aspect at a time: the choice in which all layers
               of the kind in all networks take least time, and the time above that of the design as it is [1]
wants.csv      the same by network: the best choice of each of its kinds
losses.csv     a row a network and kind: share of the MACs and of the time on its own optimum [1], and the time on the
               shared design and on the other networks' optima, above that on its own [1]
edits.csv      a row a network and kind: the edit of its layers that saves most of the network's time on the shared
               design [1]; kind "all": all edits together
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure

import dse
from dse.analysis.operation_kinds import kind_of, relate
from dse.costs import kernels as k
from dse.costs.batches import layer_cycles
from dse.hardware.accelerator import PARAMETERS
from dse.networks import EIGHT, network_dims, network_names
from dse.networks.layers import MacLayer, Network
from dse.output.figure_style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    SMALL,
    TINY,
    TWO_COLUMNS_IN,
    YELLOW,
    add_footer,
    is_wide,
    styled,
)
from dse.runs.files import write_whole
from dse.runs.tables import read_table as read_run
from dse.tuning.graphs import read_graph
from dse.tuning.tuner import Tuned, tune
from experiments.eight_dnns import Plan, Work, accelerator, optima
from experiments.relation_page import ALL_EDITS, kind_rows, page, whole_loss
from experiments.study import (
    RESULTS,
    SHORT,
    Fault,
    Finding,
    Jobs,
    Out,
    Overwrite,
    Quick,
    Rows,
    Stages,
    Steps,
    Study,
    read_table,
    span,
)
from problems import GeomeanDNN

SHARED = "shared"
QUICK = ("wide_deep", "ptb_lstm_medium", "ptb_lstm_large")
GROUPS = {
    "1x1 or matrix product": ("1x1, matrix product", BLUE), "3x3": ("3x3", ORANGE), "other": ("other filters", SKY),
    "stem": ("first layer (3 channels)", YELLOW), "depthwise": ("depthwise", GREEN),
    "fully connected": ("fully connected", RED), "product of activations": ("product of activations", PURPLE),
    "vector": ("vector", GREY),
}  # fmt: skip


def group_of(kind: str) -> str:
    """The kind, filters that are rare together."""
    return kind if kind in GROUPS else "stem" if kind.startswith("stem") else "other"


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    jobs: Jobs = -1,
    overwrite: Overwrite = False,
    budget: Annotated[float, typer.Option(min=0, metavar="MM2", help="Area budget of the designs.")] = 40.0,
    designs: Annotated[Path | None, typer.Option(metavar="CSV", help="Default results/eight_dnns/designs.csv.")] = None,
) -> None:
    """Run the study."""
    study = Study.at("operation_kinds", out, quick, jobs, overwrite)
    others = tuple(name for name in network_names() if name not in EIGHT)
    work = Kinds(study, designs or RESULTS / "eight_dnns" / "designs.csv", budget, QUICK if quick else EIGHT + others)
    steps = {"designs": work.search, "table": work.table, "edits": work.edits, "page": work.page, "draw": work.draw}
    study.run(stages, steps, work.begin if {*(stages or steps)} - {"page", "draw"} else None)


@dataclass
class Kinds:
    """The stages on one study.

    Parameters
    ----------
    study : the study.
    path : table of the eight networks' optima.
    budget : area [mm2].
    networks : names.
    """

    study: Study
    path: Path
    budget: float
    networks: tuple[str, ...]

    def begin(self) -> None:
        """Write the manifest, or continue."""
        known = self.known().reset_index().astype(str).to_dict("records")
        self.study.begin([GeomeanDNN(self.networks)], budget_mm2=self.budget, designs=known)

    def known(self) -> pd.DataFrame:
        """The shared design and the optima that eight_dnns found, by name."""
        found = optima(self.path, self.budget)
        needed = [*(name for name in self.networks if name in EIGHT), SHARED]
        if lacking := [name for name in needed if name not in found.index]:
            raise Fault(f"{self.path} has no design of {lacking[0]} at {self.budget:g} mm2; budgets are those of its "
                        "column budget_mm2")  # fmt: skip
        return found.loc[needed, [c for c in found if c == "area_mm2" or c in PARAMETERS]]

    def search(self) -> None:
        """The fastest designs of the other networks."""
        work = self._work()
        for name in work.plan.networks:
            work.fastest(self.budget, name)

    def _work(self) -> Work:
        sizes: dict[str, Any] = {"own": 60, "rounds": 1} if self.study.quick else {}
        others = tuple(name for name in self.networks if name not in EIGHT)
        return Work(self.study, Plan(others, (self.budget,), **sizes))

    def table(self) -> None:
        """All tables that need no edits."""
        known, work = self.known(), self._work()
        rows = [known]
        for name in work.plan.networks:
            front = read_run(work.best_run(self.budget, name) / "front.csv")
            rows.append(front.loc[[front["latency_s"].idxmin()], list(known)].set_axis([name]))
        designs = pd.concat(rows).rename_axis("design")
        self.study.write("designs.csv", designs.reset_index(), digits=6)
        networks = [dse.load_network(name) for name in self.networks]
        self.study.write("networks.csv", pd.DataFrame([wants(each, designs.loc[each.name]) for each in networks]), 4)
        relation = relate(accelerator(designs.loc[SHARED]), networks)
        self.study.write("kinds.csv", by_kind(relation), digits=4)
        each = [by_kind(of).assign(network=name) for name, of in relation.groupby("network", sort=False)]
        self.study.write("wants.csv", pd.concat(each), digits=4)
        self.study.write("losses.csv", pd.DataFrame(losses(networks, designs)), digits=4)

    def edits(self) -> None:
        """The edit that helps each kind most on the shared design."""
        shared = accelerator(self.study.read("designs.csv", ["design"]).set_index("design").loc[SHARED])
        rows = Rows(self.study.runs / "edits.csv", ("network",))
        with Steps(len(self.networks), "networks edited") as steps:
            for name in self.networks:
                if (name,) not in rows:
                    rows.add(*edits_of(name, tune(read_graph(name), shared, rounds=1, dims=network_dims(name))))
                steps.step()
        self.study.write("edits.csv", rows.table(), digits=4)

    def page(self) -> None:
        """The page."""
        of = tables_of(self.study.out)
        text = page(self.budget, **of)
        write_whole(self.study.out / "relation.md", text.encode())
        print(f"{self.study.out / 'relation.md'}: {len(of['losses']['network'].unique())} networks", flush=True)

    def draw(self) -> None:
        """The figure."""
        columns = ("network", "dram_gbps", "buffer_kib", *(f"{x}_buffer_share" for x in ("weight", "input", "output")))
        figure = functools.partial(kinds_figure, self.study.read("networks.csv", columns), self.budget)
        self.study.save(figure, "kinds", "operations and own optima", TWO_COLUMNS_IN)


PAGE_COLUMNS = {
    "networks": ("network", "dataflow", "rows", "cols", "macs_per_pe", "dram_gbps", "buffer_kib"),
    "kinds": ("kind", "aspect", "best_choice", "loss_now"),
    "wants": ("network", "kind", "aspect", "best_choice", "loss_now"),
    "losses": ("network", "kind", "macs", "time", "shared", "others_median", "others_worst", "worst_design"),
    "edits": ("network", "kind", "edit", "saved"),
}
"""Tables of the page, and columns that they must have."""


def tables_of(place: Path) -> dict[str, pd.DataFrame]:
    """Tables of the page."""
    return {name: read_table(place / f"{name}.csv", columns) for name, columns in PAGE_COLUMNS.items()}


def losses(networks: list[Network], designs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What each kind of each network loses on the designs that are not its own."""
    names, made = list(designs.index), [accelerator(row) for _, row in designs.iterrows()]
    for network in networks:
        cycles, totals = layer_cycles(made, network)
        cycles[totals[:, k.OVERFLOW] > 0] = np.nan
        own, kinds = names.index(network.name), [group_of(kind_of(layer)) for layer in network.layers]
        macs = [layer.macs if isinstance(layer, MacLayer) else 0 for layer in network.layers]
        other = [i for i, name in enumerate(names) if name not in (network.name, SHARED)]
        for kind in dict.fromkeys(kinds):
            here = [i for i, one in enumerate(kinds) if one == kind]
            of_kind = cycles[:, here].sum(axis=1)
            if of_kind[own] == 0:  # such as a concatenation
                continue
            loss = of_kind / of_kind[own] - 1
            feasible = [i for i in other if not np.isnan(loss[i])]
            worst = max(feasible, key=lambda i: loss[i])
            yield {
                "network": network.name, "kind": kind, "macs": sum(macs[i] for i in here) / network.macs,
                "time": of_kind[own] / cycles[own].sum(), "own_cycles": of_kind[own],
                "shared": loss[names.index(SHARED)], "others_median": float(np.median(loss[feasible])),
                "others_worst": loss[worst], "worst_design": names[worst],
            }  # fmt: skip


def edits_of(name: str, tuned: Tuned) -> Iterator[dict[str, Any]]:
    """By kind of the layers that they are about, the proposal within the budget that saves most; and all together."""
    kinds = {layer.name: group_of(kind_of(layer)) for layer in tuned.before.network.layers}
    allowed = sorted((p for p in tuned.proposals if not p.excess), key=lambda p: -p.saved_cycles)
    whole = tuned.before.cycles
    for kind in dict.fromkeys(kinds.values()):
        for proposal in allowed:
            nodes = {edit.node for edit in proposal.edits} | {form.node for form in proposal.forms}
            if proposal.saved_cycles > 0 and kind in {kinds.get(node) for node in nodes}:
                yield {"network": name, "kind": kind, "edit": proposal.text, "saved": proposal.saved_cycles / whole,
                       "weights_kept": proposal.weights_kept}  # fmt: skip
                break
    made = "; ".join(proposal.text for proposal in tuned.made)
    yield {"network": name, "kind": ALL_EDITS, "edit": made or "none", "saved": tuned.gain, "weights_kept": np.nan}


def wants(network: Network, row: pd.Series) -> dict:
    """Operations of a network, and its own optimum."""
    macs = dict.fromkeys(GROUPS, 0)
    for layer in network.mac_layers:
        macs[group_of(kind_of(layer))] += layer.macs
    kib = {x: row[f"{x}_buffer_kib"] for x in ("weight", "input", "output")}
    pes = row["rows"] * row["cols"]
    return (
        {"network": network.name}
        | {f"macs_{name}": value / network.macs for name, value in macs.items() if name != "vector"}
        | {"dataflow": row["dataflow"], "rows": row["rows"], "cols": row["cols"], "macs_per_pe": row["macs_per_pe"]}
        | {"multipliers": pes * row["macs_per_pe"], "buffer_kib": sum(kib.values())}
        | {f"{x}_buffer_share": value / sum(kib.values()) for x, value in kib.items()}
        | {"dram_gbps": row["dram_gbps"], "macs_per_byte": network.macs / compulsory(network)}
    )


def compulsory(network: Network) -> float:
    """Weights, and inputs and outputs of every MAC layer, once each at 8 bits [byte]."""
    moved = sum((layer.input_elements + layer.output_elements) * layer.repeats for layer in network.mac_layers)
    return network.weight_elements + moved


def by_kind(relation: pd.DataFrame) -> pd.DataFrame:
    """The best choice of each kind over all networks, and what the design as it is loses."""
    relation = relation.assign(kind=relation["kind"].map(group_of))
    rows = []
    for (kind, aspect), group in relation.groupby(["kind", "aspect"], sort=False):
        cycles = group.groupby("choice", sort=False)["cycles"].sum(min_count=1)
        whole = group.groupby("choice", sort=False)["cycles"].apply(lambda c: c.notna().all())
        cycles = cycles[whole]
        now = cycles[group.loc[group["is_now"], "choice"].iloc[0]]
        least = cycles.min()
        best = cycles.index[int(np.argmax(cycles <= 1.05 * least))] if aspect == "bandwidth" else cycles.idxmin()
        rows.append({"kind": kind, "aspect": aspect, "best_choice": best, "loss_now": now / least - 1,
                     "loss_of_worst": cycles.max() / least - 1})  # fmt: skip
    return pd.DataFrame(rows)


@styled
def kinds_figure(
    table: pd.DataFrame, budget: float, width_in: float = TWO_COLUMNS_IN, with_footer: bool = True
) -> Figure:
    """MACs by kind beside the buffers of each DNN's own optimum; its size, array and bandwidth in words."""
    wide = is_wide(width_in)
    height_in = 1.3 + (0.25 if wide else 0.41) * len(table)
    figure = Figure(figsize=(width_in, height_in if wide else 0.4 + height_in), layout="constrained")
    kinds, buffers = figure.subplots(1, 2, sharey=True) if wide else figure.subplots(2, 1, height_ratios=(0.65, 1))
    at = np.arange(len(table))[::-1]
    parts = [(f"macs_{name}", *look) for name, look in GROUPS.items() if name != "vector"]
    stack(kinds, at, table, parts, 100)
    kinds.set_xlabel("Share of MACs [%]")
    stack(buffers, at, table, [(f"{x}_buffer_share", f"{x}s", colour) for x, colour in
                               (("weight", GREEN), ("input", ORANGE), ("output", PURPLE))], 100)  # fmt: skip
    for y, row in zip(at, table.to_dict("records"), strict=True):
        told = f"{row['rows']:g} x {row['cols']:g} x {row['macs_per_pe']:g} {row['dataflow'].replace('_', ' ')}"
        buffers.text(104, y, f"{told}\n{row['buffer_kib']:,.0f} KiB, {row['dram_gbps']:g} GB/s", va="center",
                     fontsize=TINY, color=BLACK)  # fmt: skip
    buffers.set_xlabel("Share of the buffers [%]")
    for axis in (kinds, buffers):
        axis.set_yticks(at, [SHORT[name] for name in table["network"]], fontsize=SMALL)
        axis.set_xlim(0, 100 if axis is kinds else 230)
        axis.set_xticks([0, 50, 100])
        axis.spines["bottom"].set_bounds(0, 100)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2 if axis is kinds else 3, columnspacing=0.8,
                    handlelength=0.9, borderaxespad=0.2)  # fmt: skip
    said = f"least latency of each DNN within {budget:g} mm\u00b2 at 45 nm: rows x columns x MACs a PE, dataflow"
    return add_footer(figure, said, with_footer)


def stack(axis, at: np.ndarray, table: pd.DataFrame, parts: list[tuple[str, str, str]], scale: float) -> None:
    """Horizontal stacked bars."""
    left = np.zeros(len(table))
    for column, label, colour in parts:
        values = scale * table[column].to_numpy(float)
        axis.barh(at, values, 0.7, left, color=colour, lw=0, label=label if values.max() > 0 else None)
        left += values


def findings(results: Path) -> Iterator[Finding]:
    """What the kinds want, what the networks lose, and what edits bring back."""
    of = tables_of(results / "operation_kinds")
    losses_of, edits = of["losses"], of["edits"]
    for cells in kind_rows(of["kinds"]):
        yield Finding(f"| {' | '.join(cells)} |")
    lost = 100 * pd.Series({name: whole_loss(of) for name, of in losses_of.groupby("network", sort=False)})
    yield Finding(
        f"On the shared design the {len(lost)} networks take {span(lost)} longer than on their own, median "
        f"{lost.median():.0f} %; most of all {SHORT[str(lost.idxmax())]}."
    )
    saved = 100 * edits[edits["kind"] == ALL_EDITS].set_index("network")["saved"]
    yield Finding(
        f"Edits that keep weights and MACs of every stage within 2 % save {span(saved)} of the time there, at least "
        f"10 % for {(saved >= 10).sum()} of the networks, most for {SHORT[str(saved.idxmax())]}."
    )
