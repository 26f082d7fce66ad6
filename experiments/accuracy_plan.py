"""The plan of the measured study of tuned networks, and its trainings: read from a file that was there before them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import ModelProto, TensorProto

import dse
from dse.hardware.accelerator import Accelerator
from dse.networks.layers import Network
from dse.networks.onnx_file.graph import drop_values
from dse.runs.files import hash_of, write_whole
from dse.training.accuracy_study import read_runs, study
from dse.training.equivalence import Comparison, compare, holm
from dse.tuning.capacity import Budget, capacity_of
from dse.tuning.channels import checked, stripped
from dse.tuning.compounds import Blocks, Form
from dse.tuning.graphs import network_of
from experiments.study import Fault

CAPACITIES = ("kept", "smaller", "larger", "precision", "sparsity", "epochs")
"""What a pair asks about; the last is a check of the recipe, and no test."""


@dataclass(frozen=True)
class Pair:
    """Two arms of a network to compare on a data set: `tuned` against `original`, over the first `seeds` seeds."""

    data: str
    network: str
    tuned: str
    capacity: str
    original: str = "original"
    seeds: int | None = None

    def __post_init__(self) -> None:
        if self.capacity not in CAPACITIES:
            raise Fault(
                f"pair {self.network}, {self.tuned}: capacity {self.capacity!r}; one of {', '.join(CAPACITIES)}"
            )


@dataclass(frozen=True)
class Arm:
    """How an arm is trained, where not by its network's recipe on the graph of its own name from new weights.

    Parameters
    ----------
    graph : the graph, by name.
    start : the arm whose trained weights it starts from.
    epochs, peak_rate : of the training.
    weight_bits, activation_bits : of a quantised network [bit].
    sparse : whether two of four weights are zero.
    """

    graph: str
    start: str | None = None
    epochs: int | None = None
    peak_rate: float | None = None
    weight_bits: int | None = None
    activation_bits: int = 8
    sparse: bool = False


@dataclass(frozen=True)
class Plan:
    """Seeds, level and margins, recipes by network, arms that are not plain by name, edited graphs, pairs in order."""

    seeds: tuple[int, ...]
    one_side: float
    margin_points: Mapping[str, float]
    recipes: Mapping[str, Mapping[str, Any]]
    arms: Mapping[str, Mapping[str, Any]]
    graphs: tuple[Mapping[str, Any], ...]
    pairs: tuple[Pair, ...]

    @classmethod
    def read(cls, path: Path) -> Plan:
        """From a TOML file; `Fault` names what is wrong with it."""
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
            pairs = tuple(Pair(**pair) for pair in found.pop("pairs"))
            plan = cls(**found, pairs=pairs)
        except FileNotFoundError:
            raise Fault(f"{path} is missing: a study is planned before it is measured") from None
        except (KeyError, TypeError, ValueError) as error:
            raise Fault(f"{path} is no plan of this study: {error}") from None
        try:
            plan.check(path)
        except Fault:
            raise
        except (AttributeError, TypeError, ValueError) as error:  # a text for a number, or so
            raise Fault(f"{path} is no plan of this study: {error}") from None
        return plan

    def check(self, path: Path) -> None:
        """`Fault` names what of a file's plan contradicts another part of it."""
        if not 0 < self.one_side < 0.5 or not all(0 < points < math.inf for points in self.margin_points.values()):
            raise Fault(f"{path}: expected one_side between 0 and 0.5, and margins above 0")
        if not self.seeds or not all(isinstance(seed, int) for seed in self.seeds):
            raise Fault(f"{path}: expected whole numbers as seeds, got {list(self.seeds)}")
        for pair in self.pairs:
            if pair.original == pair.tuned:
                raise Fault(f"{path}: pair {pair.network}, {pair.tuned}: it is compared with itself")
            if pair.data not in self.margin_points or pair.network not in self.recipes:
                raise Fault(f"{path}: no margin for {pair.data}, or no recipe for {pair.network}")
        if untold := [name for name, recipe in self.recipes.items() if not _is_count(recipe.get("epochs"))]:
            raise Fault(f"{path}: the recipe of {untold[0]} does not say its epochs, a whole number from 1")
        if len(set(self.seeds)) < len(self.seeds) or len(set(self.pairs)) < len(self.pairs):
            raise Fault(f"{path}: each seed and each pair stands once in a plan")
        known = {"original", *self.arms, *(pair.tuned for pair in self.pairs)}
        for pair in self.pairs:
            if pair.original not in known:
                raise Fault(f"{path}: pair {pair.network}, {pair.tuned}: {pair.original!r} is no arm")
            if pair.seeds is not None and not (_is_count(pair.seeds) and pair.seeds <= len(self.seeds)):
                raise Fault(f"{path}: pair {pair.network}, {pair.tuned}: {pair.seeds!r} seeds of {len(self.seeds)}")
        for name in self.arms:
            try:
                arm = self.arm(name)
                start = arm.start
            except TypeError as error:
                raise Fault(f"{path}: arm {name!r}: {str(error).partition(' ')[2]}") from None
            if start is not None and start not in known:
                raise Fault(f"{path}: arm {name!r} starts from {start!r}, which is no arm")
            if not all(number is None or _is_count(number) for number in (arm.epochs, arm.weight_bits)):
                raise Fault(f"{path}: arm {name!r}: expected whole numbers from 1 as epochs and weight_bits")
        for name in self.arms:
            before = [name]
            while (start := self.arm(before[-1]).start) is not None:
                if start in before:
                    raise Fault(f"{path}: {' starts from '.join([*before, start])}: an arm starts from itself")
                before.append(start)

    def arm(self, name: str) -> Arm:
        """An arm by its name."""
        return Arm(**({"graph": name} | dict(self.arms.get(name, {}))))

    def form(self, name: str) -> str:
        """What the cost model sees of an arm: itself, or the arm of the same graph that is not trained for longer."""
        arm = self.arm(name)
        return name if arm.weight_bits is not None or arm.sparse else arm.graph

    def epochs(self, network: str, name: str) -> int:
        """How long an arm of a network is trained, with the arm that it starts from."""
        arm = self.arm(name)
        before = 0 if arm.start is None else self.epochs(network, arm.start)
        return before + (arm.epochs or int(self.recipes[network]["epochs"]))

    def seeds_of(self, pair: Pair) -> tuple[int, ...]:
        """The seeds of a pair, in order."""
        return tuple(self.seeds[: pair.seeds])


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def file_of(graphs: Path, network: str, graph: str) -> Path:
    """Where the graph of an arm lies."""
    return graphs / network / f"{graph.replace(' ', '_').replace(',', '').replace(':', '')}.onnx"


def make_graphs(plan: Plan, graphs: Path) -> None:
    """Write every graph of a plan that is not there yet; needs torch."""
    from dse.training.graph_modules import graph_of
    from experiments.small_networks import small_networks

    for (network, name), module in small_networks().items():
        write_graph(graphs, network, name, graph_of(module, (1, 1, 28, 28)))
    for spec in plan.graphs:
        original = read_graph_of(graphs, spec["network"], "original")
        blocks = Blocks(original, network_of(original))
        made = blocks.solved([Form(*form) for form in spec["forms"]], Budget(**spec.get("budget", {})))
        if made.excess:
            raise Fault(f"{spec['network']}, {spec['name']}: no widths keep the budget")
        write_graph(graphs, spec["network"], spec["name"], made.apply(original))


def read_graph_of(graphs: Path, network: str, graph: str) -> ModelProto:
    """The graph of an arm."""
    return onnx.load(file_of(graphs, network, graph), load_external_data=False)


def write_graph(graphs: Path, network: str, graph: str, model: ModelProto) -> None:
    """Keep the graph of an arm, without weights; one that lies there stays, since its trainings are of it."""
    path = file_of(graphs, network, graph)
    if path.is_file():
        return
    bare = stripped(checked(model))
    for tensor in bare.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) > 1:
            drop_values(tensor)
    bare.graph.name = network
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, bare.SerializeToString(deterministic=True))


@dataclass
class Trainings:
    """The trainings of a plan on a machine.

    Parameters
    ----------
    plan : what is trained.
    graphs : directory of the graphs, without weights.
    tables : directory of a ``runs.csv`` a data set and network.
    weights : directory of trained weights that other arms start from.
    data : the images by name of the data set; a pair of another set is left out.
    progress : takes a line a training.
    """

    plan: Plan
    graphs: Path
    tables: Path
    weights: Path
    data: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]
    progress: Callable[[str], None]
    _models: dict[Path, ModelProto] = field(default_factory=dict)
    _recipes: dict[tuple[str, str, str], Any] = field(default_factory=dict)

    def run(self) -> None:
        """Every pair in order, seed after seed with both arms, or what is left of them after an interruption."""
        self._check()
        for pair in self.plan.pairs:
            if pair.data not in self.data:
                continue
            for seed in self.plan.seeds_of(pair):
                for name in (pair.original, pair.tuned):
                    self._train(pair, name, seed)

    def _check(self) -> None:
        """What can be told before the first training: graphs that are missing, data of another shape."""
        for pair in self.plan.pairs:
            for name in (pair.original, pair.tuned):
                if not (path := self._path(pair.network, name)).is_file():
                    self.progress(f"left out: {pair.network}, {name}, since {path} is missing")
                elif pair.data in self.data:
                    self._training(pair, name).check(self._module(pair.network, name))

    def _path(self, network: str, name: str) -> Path:
        return file_of(self.graphs, network, self.plan.arm(name).graph)

    def _model(self, network: str, name: str) -> ModelProto:
        path = self._path(network, name)
        if path not in self._models:
            self._models[path] = read_graph_of(self.graphs, network, self.plan.arm(name).graph)
        return self._models[path]

    def _module(self, network: str, name: str) -> Any:
        from dse.training.graph_modules import GraphModule
        from dse.training.low_precision import QuantisedModule, SparseModule

        arm, model = self.plan.arm(name), self._model(network, name)
        if arm.sparse:
            return SparseModule(model)
        if arm.weight_bits is not None:
            return QuantisedModule(model, arm.weight_bits, arm.activation_bits)
        return GraphModule(model)

    def _weights(self, pair: Pair, name: str, seed: int) -> Path:
        """Where the weights of an arm lie: of this graph, recipe and arm, and of no other."""
        graph = self._path(pair.network, name)
        of = hash_of([hash_of(graph.read_bytes()), self.plan.recipes[pair.network], repr(self.plan.arm(name)), name])
        return self.weights / pair.data / graph.relative_to(self.graphs).with_suffix("") / f"{seed}_{of[:12]}.npz"

    def _training(self, pair: Pair, name: str) -> Any:
        from dse.training.retrain import ImageTraining

        key = pair.data, pair.network, name
        if key in self._recipes:
            return self._recipes[key]
        arm = self.plan.arm(name)
        recipe = dict(self.plan.recipes[pair.network])
        recipe |= {key: value for key in ("epochs", "peak_rate") if (value := getattr(arm, key)) is not None}
        if arm.start is not None:
            recipe["start"] = lambda seed: self._trained(pair, str(arm.start), seed)
        if any(other.get("start") == name for other in self.plan.arms.values()):
            recipe["finish"] = lambda module, seed: module.save(self._weights(pair, name, seed))
        self._recipes[key] = ImageTraining(self.data[pair.data], **recipe)
        return self._recipes[key]

    def _trained(self, pair: Pair, name: str, seed: int) -> Path:
        """The weights of an arm at a seed, trained again where the machine does not have them."""
        path = self._weights(pair, name, seed)
        if not path.is_file():
            self._training(pair, name)(self._module(pair.network, name), seed)
        return path

    def _train(self, pair: Pair, name: str, seed: int) -> None:
        path = self._path(pair.network, name)
        if not path.is_file():
            return
        arm, training = self.plan.arm(name), self._training(pair, name)
        low = f"{arm.weight_bits} {arm.activation_bits} {arm.sparse} {arm.start}"
        identity = f"{hash_of(path.read_bytes())} {training.identity} {low}"
        study(
            {name: lambda: self._module(pair.network, name)}, training, self.tables / pair.data / pair.network, [seed],
            {name: identity}, lambda line: self.progress(f"{pair.data}, {pair.network}: {line}"),
        )  # fmt: skip


MEASURED = (
    "seeds", "images", "accuracy", "tuned_accuracy", "held_out_change_points", "change_points", "low_points",
    "high_points", "seed_deviation_points", "p_loss", "p_tost", "failed", "p_loss_holm", "no_loss", "low_holm_points",
)  # fmt: skip
"""Columns of a complete pair."""


def comparisons(plan: Plan, tables: Path) -> pd.DataFrame:
    """A row a pair of a plan: the change of its accuracy once all its seeds were trained, and Holm's tests.

    The family is every pair of a data set but those about epochs; a pair that is not complete counts in it.
    """
    found = {pair: _comparison(plan, pair, tables) for pair in plan.pairs}
    adjusted: dict[Pair, tuple[float, float]] = {}
    for data, margin in plan.margin_points.items():
        family = [pair for pair in plan.pairs if pair.data == data and pair.capacity != "epochs"]
        p = [math.nan if (one := found[pair][1]) is None else one.p_loss(margin) for pair in family]
        adjusted |= dict(zip(family, zip(*holm(p, plan.one_side), strict=True), strict=True))
    table = pd.DataFrame([_row(plan, pair, *found[pair], adjusted.get(pair)) for pair in plan.pairs])
    return table.reindex(columns=list(dict.fromkeys((*table.columns, *MEASURED))))  # empty until a pair is complete


def _row(
    plan: Plan, pair: Pair, done: int, found: Comparison | None, held_out: float, family: tuple[float, float] | None
) -> dict[str, Any]:
    margin = plan.margin_points[pair.data]
    row: dict[str, Any] = {
        "data": pair.data, "network": pair.network, "original": pair.original, "tuned": pair.tuned,
        "form": plan.form(pair.tuned), "capacity": pair.capacity, "seeds_planned": len(plan.seeds_of(pair)),
        "seeds_done": done, "margin_points": margin, "epochs": plan.epochs(pair.network, pair.original),
        "tuned_epochs": plan.epochs(pair.network, pair.tuned),
    }  # fmt: skip
    if found is None:
        return row
    row |= {
        "seeds": found.seeds, "images": found.images, "accuracy": found.original, "tuned_accuracy": found.tuned,
        "held_out_change_points": held_out, "change_points": found.change_points,
        "low_points": found.low_points, "high_points": found.high_points,
        "seed_deviation_points": found.seed_deviation_points, "p_loss": found.p_loss(margin),
        "p_tost": found.p_tost(margin), "failed": "; ".join(found.failed),
    }  # fmt: skip
    if family is not None:
        adjusted, divisor = family
        row |= {"p_loss_holm": adjusted, "no_loss": bool(adjusted < plan.one_side),
                "low_holm_points": found.change_points - found.half_points(plan.one_side / divisor)}  # fmt: skip
    return row


def _comparison(plan: Plan, pair: Pair, tables: Path) -> tuple[int, Comparison | None, float]:
    """Seeds that were trained with both arms, and what they say once all were: of the test images, and the mean change
    on the held-out ones [percentage points]."""
    path = tables / pair.data / pair.network / "runs.csv"
    if not path.is_file():
        return 0, None, math.nan
    runs = read_runs(path)
    runs = runs[runs["seed"].isin(plan.seeds_of(pair))]
    tried = [set(runs.loc[runs["network"] == name, "seed"]) for name in (pair.original, pair.tuned)]
    done = len(set.intersection(*tried))
    if done < len(plan.seeds_of(pair)):
        return done, None, math.nan
    held_out = runs[runs["error"] == ""].pivot(index="seed", columns="network", values="held_out_accuracy")
    of = held_out.reindex(columns=[pair.original, pair.tuned])
    return done, compare(runs, pair.original, pair.tuned), 100 * float((of[pair.tuned] - of[pair.original]).mean())


def form_of(graphs: Path, network: str, arm: Arm) -> tuple[Network, dict[str, Any]]:
    """The network of an arm with the words of its weights, and the hardware for them, as parameters of a design."""
    found, hardware = network_of(read_graph_of(graphs, network, arm.graph)), dict[str, Any]()
    if arm.weight_bits is not None:
        found, hardware = found.with_weights(bits=arm.weight_bits), {"narrow_weight_bits": arm.weight_bits}
    if arm.sparse:
        found, hardware = found.with_weights(sparsity="2:4"), hardware | {"sparse_weights": "2:4"}
    return found, hardware


def latencies(plan: Plan, graphs: Path, designs: Mapping[str, Accelerator]) -> pd.DataFrame:
    """A row a form and design, an edited graph or narrow or sparse network: latency saved, utilisation, shares.

    Narrow and sparse weights run on the design with hardware for them: its area, too, is a share of the original's.
    """
    rows = []
    tests = [pair for pair in plan.pairs if pair.capacity != "epochs"]
    kinds = {(pair.network, plan.form(pair.tuned)): pair.capacity for pair in tests}
    for (network, tuned), capacity in kinds.items():
        arm = plan.arm(tuned)
        before = network_of(read_graph_of(graphs, network, "original"))
        after, hardware = form_of(graphs, network, arm)
        shares = [miss.share for miss in Budget().shares(capacity_of(after), capacity_of(before))]
        for name, design in designs.items():
            a, b = dse.evaluate(design, before), dse.evaluate(replace(design, **hardware), after)
            rows.append(
                {"network": network, "tuned": tuned, "capacity": capacity, "design": name, "latency_s": a.latency_s,
                 "tuned_latency_s": b.latency_s, "gain": 1 - b.latency_s / a.latency_s, "utilisation": a.utilisation,
                 "tuned_utilisation": b.utilisation, "area_share": b.area_mm2 / a.area_mm2,
                 "weights_share": shares[0], "macs_share": shares[1],
                 "least_stage_share": min(shares[2:]), "most_stage_share": max(shares[2:])}
            )  # fmt: skip
    return pd.DataFrame(rows)
