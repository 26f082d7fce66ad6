"""Codesign with measured accuracy: hardware alone, the DNN alone, and both, at equal area.

hardware  the original network, on designs that were searched for it
dnn       an edited network, on the same designs: all that the search for the original evaluated
both      the edited network, on designs that were searched for it, with the same budget

Edited networks are those of complete pairs; narrow and sparse weights have designs with hardware for them.  Each search
is made with several seeds.  Intervals of latencies and hypervolumes are over these, of accuracies over training
seeds and test images.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

import dse
from dse.output.figure_style import (
    BLACK,
    BLUE,
    COLUMN_IN,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    add_footer,
    entries_of,
    grid,
    is_wide,
    legend_above,
    linear_scale,
    log_scale,
    plain,
    styled,
)
from dse.runs.tables import genes_of
from dse.search.exploration import fixed_scale
from dse.search.pareto import REFERENCE, Normalisation, non_dominated, spread
from dse.training.accuracy_study import read_runs, unpacked
from dse.training.equivalence import ONE_SIDE, mean_of_two_way
from dse.tuning.capacity import Budget, capacity_of
from dse.tuning.graphs import network_of
from experiments.accuracy_plan import Plan, file_of, form_of, read_graph_of
from experiments.study import Fault, Finding, Study, read_table
from problems import SingleDNN

OBJECTIVES = ["latency_s", "area_mm2"]
COMPARED = (("dnn", "hardware"), ("both", "hardware"), ("both", "dnn"))
"""What is compared with what."""

AREAS = 100
"""Areas at which latencies are compared [1]: fronts are staircases, and a few areas would decide the mean."""

SHOWN = 150
"""Designs of the joint front that are kept [1]."""

DRAWS = 2_000
"""Of the accuracies [1]."""

Fronts = Mapping[str, Sequence[np.ndarray]]
"""By way (`hardware`, `dnn`, `both`): latency [s] and area [mm2] of a front, (k, 2), a seed of the search."""


# ---------------------------------------------------------------------------------------------------------------------
# What is measured.


@dataclass(frozen=True)
class Measured:
    """A network trained with its original and edited graphs on a data set.

    Parameters
    ----------
    data, network : names.
    arms : edited forms by name: the capacity of its pair, such as "kept", and whether a loss of the margin is excluded.
    right : by form, the original too: whether each test image is right, (seeds, images), over the seeds that all have.
    """

    data: str
    network: str
    arms: Mapping[str, tuple[str, bool]]
    right: Mapping[str, np.ndarray]

    @property
    def error(self) -> dict[str, float]:
        """Mean share of wrong images by form [0 .. 1]."""
        return {arm: 1 - float(right.mean()) for arm, right in self.right.items()}


def measured(plan: Plan, pairs: pd.DataFrame, trainings: Path) -> list[Measured]:
    """Networks with at least one complete pair; `Fault` where there is none.

    `pairs` : the table of `accuracy_plan.comparisons`.
    """
    known = {(p.data, p.network, p.tuned) for p in plan.pairs if plan.form(p.tuned) == p.tuned}
    done = pairs[(pairs["capacity"] != "epochs") & (pairs["seeds_done"] == pairs["seeds_planned"])]
    keys = done[["data", "network", "tuned"]].itertuples(index=False, name=None)
    done = done[np.array([key in known for key in keys], bool)]
    found = []
    for (data, network), rows in done.groupby(["data", "network"], sort=False):
        arms = {row.tuned: (row.capacity, str(row.no_loss) == "True") for row in rows.itertuples()}
        runs = read_runs(trainings / data / network / "runs.csv")
        runs = runs[(runs["error"] == "") & (runs["correct"] != "") & runs["seed"].isin(plan.seeds)]
        table = runs.pivot(index="seed", columns="network", values="correct")[["original", *arms]].dropna()
        right = {arm: np.array([unpacked(text) for text in table[arm]], bool) for arm in table}
        found.append(Measured(data, network, arms, right))
    if not found:
        raise Fault("codesign needs the accuracy of an edited network, and no pair of pairs.csv has all its seeds; "
                    "run measure, then compare")  # fmt: skip
    return found


def accuracy_draws(right: Mapping[str, np.ndarray], draws: int = DRAWS) -> dict[str, np.ndarray]:
    """Accuracies [0 .. 1] by form, (draws,): training seeds and test images drawn anew, the same ones for all forms.

    Draws of both at once vary more than the mean does (Owen, Annals of Applied Statistics 1, 2007): intervals are wide.
    """
    rng = np.random.default_rng(0)
    n, m = next(iter(right.values())).shape
    found: dict[str, list[float]] = {arm: [] for arm in right}
    for _ in range(draws):
        seeds, images = (rng.multinomial(size, np.full(size, 1 / size)).astype(float) for size in (n, m))
        for arm, rows in right.items():
            found[arm].append(float(seeds @ (rows @ images)) / (n * m))
    return {arm: np.array(values) for arm, values in found.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Searches.


@dataclass(frozen=True)
class Searches:
    """Searches of the default space for the forms of the networks, as far as they are not done.

    Narrow and sparse weights have the same space with hardware for them in every design.

    Parameters
    ----------
    plan : says what the forms are.
    graphs, runs : directories of the graphs, and of the searches.
    seeds : of the search, from 0 [1].
    designs : of each search [1].
    jobs : workers.
    overwrite : whether searches that are there are made again.
    """

    plan: Plan
    graphs: Path
    runs: Path
    seeds: int
    designs: int
    jobs: int
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise Fault(f"codesign needs two seeds of the search at least for its intervals, got {self.seeds}")

    def problem(self, network: str, arm: str) -> SingleDNN:
        """The problem of a form: latency and area."""
        found, hardware = form_of(self.graphs, network, self.plan.arm(arm))
        space = dse.default_space()
        if hardware:
            variables = {v.name: (dse.Category if v.is_category else dse.Ordered)(*v.levels) for v in space.variables}
            space = dse.DesignSpace(variables, replace(space.base, **hardware), f"{space.name}, {arm}")
        return SingleDNN(found, space, n_jobs=self.jobs, mapping_slack="none")

    def runs_of(self, problem: SingleDNN, network: str, arm: str) -> list[dse.Exploration]:
        """The search of every seed."""
        found = []
        for seed in range(self.seeds):
            out = file_of(self.runs, network, arm).with_suffix("") / f"seed_{seed}"
            run = dse.explore(
                problem, evaluations=self.designs, seed=seed, random_twin=False, out=out, overwrite=self.overwrite
            )
            if len(run.front) == 0:
                raise Fault(f"{network}, {arm}: no design that runs it was found: {'; '.join(run.notes)}")
            found.append(run)
        return found


def on_designs(problem: SingleDNN, designs: pd.DataFrame) -> np.ndarray:
    """Front of latency [s] and area [mm2] of a network on given designs, (k, 2); `designs`: a row each."""
    rows = problem.evaluate_designs(genes_of(designs, problem.space))
    F = rows.objectives[rows.feasible]
    return F[non_dominated(F)]


# ---------------------------------------------------------------------------------------------------------------------
# The three ways, compared.


def latency_within(fronts: Sequence[np.ndarray], areas: np.ndarray) -> np.ndarray:
    """Least latency of each front within each area [s], (fronts, areas); infinite where none is as small."""
    return np.array([np.where(F[:, 1] <= areas[:, None], F[:, 0], np.inf).min(axis=1) for F in fronts])


def common_areas(ways: Sequence[Fronts], scale: Normalisation, count: int = AREAS) -> np.ndarray:
    """Areas on a log scale [mm2], (count,): from where every front has a design to the end of the scale."""
    least = max(F[:, 1].min() for way in ways for fronts in way.values() for F in fronts)
    most = min(scale.nadir[1], *(F[:, 1].max() for way in ways for fronts in way.values() for F in fronts))
    inner = np.geomspace(least, max(least, most), count)[1:-1]  # its ends may be a bit off
    return np.concatenate([[least], inner, [max(least, most)]])


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first axis, and its 95 % interval by the t distribution."""
    n, mean = len(values), np.mean(values, axis=0)
    half = stats.t.ppf(1 - ONE_SIDE, n - 1) * np.std(values, axis=0, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def less(log_ratio: Any) -> Any:
    """What is saved [%], of the log of after / before."""
    return -100 * np.expm1(log_ratio) + 0.0  # no -0


def more(log_ratio: Any) -> Any:
    """What is gained [%], of the log of after / before."""
    return 100 * np.expm1(log_ratio)


def error_scale(error: float) -> Normalisation:
    """The third axis of the hypervolume: the log of the share of wrong images, from half to twice the original's."""
    return Normalisation((error / 2,), (2 * error,), (True,))


def depth(scale: Normalisation, errors: np.ndarray) -> np.ndarray:
    """What an error adds to the hypervolume as its third axis, as a share of that axis: a front of one network has one
    error, so its hypervolume is that of latency and area times this."""
    with np.errstate(divide="ignore"):  # no error is the end of the axis
        return np.clip(REFERENCE - scale(np.reshape(errors, (-1, 1)))[:, 0], 0.0, REFERENCE) / REFERENCE


def curves(ways: Fronts, areas: np.ndarray) -> pd.DataFrame:
    """A row an area: latency of each way (geometric mean over seeds) and what one saves against another [%]."""
    logs = {way: np.log(latency_within(fronts, areas)) for way, fronts in ways.items()}
    table: dict[str, np.ndarray] = {"area_mm2": areas}
    table |= {f"{way}_latency_s": np.exp(values.mean(axis=0)) for way, values in logs.items()}
    for of, against in COMPARED:
        mean, low, high = interval(logs[of] - logs[against])
        for name, values in (("saved", mean), ("low", high), ("high", low)):  # most time left is least saved
            table[f"{of}_{against}_{name}_percent"] = less(values)
    return pd.DataFrame(table)


def compared(
    ways: Fronts, areas: np.ndarray, scale: Normalisation, depths: Mapping[str, np.ndarray]
) -> Iterator[dict[str, Any]]:
    """A row a comparison: latency saved at equal area, and hypervolume gained without and with the accuracy [%].

    What is saved is the geometric mean over areas, so that savings of two steps multiply; its interval is over seeds.
    `depths` : of each way, (draws,), the first of the means.
    With the accuracy, the interval is over seeds (draws of the t distribution) and draws of the accuracies.
    """
    logs = {way: np.log(latency_within(fronts, areas)) for way, fronts in ways.items()}
    volumes = {way: np.log([scale.hypervolume(F) for F in fronts]) for way, fronts in ways.items()}
    rng = np.random.default_rng(1)
    n, draws = len(ways["both"]), len(depths["both"]) - 1
    noise = rng.standard_normal((draws, n)) / np.sqrt(rng.chisquare(n - 1, (draws, 1)) * n)
    for of, against in COMPARED:
        ratio = logs[of] - logs[against]
        mean, low, high = interval(ratio.mean(axis=1))
        by_area, (_, _, most_left) = less(ratio.mean(axis=0)), interval(ratio)
        gain = volumes[of] - volumes[against]
        volume, volume_low, volume_high = interval(gain)
        with np.errstate(divide="ignore"):
            deep = np.log(depths[of]) - np.log(depths[against])
        drawn = more(gain.mean() + noise @ (gain - gain.mean()) + deep[1:])
        yield {
            "way": of, "against": against, "search_seeds": n, "least_area_mm2": areas[0], "most_area_mm2": areas[-1],
            "saved_percent": less(mean), "saved_low_percent": less(high), "saved_high_percent": less(low),
            "least_saved_percent": by_area.min(), "most_saved_percent": by_area.max(),
            "areas_percent": 100 * float((most_left < 0).mean()),
            "volume": float(np.exp(volumes[of]).mean()), "volume_against": float(np.exp(volumes[against]).mean()),
            "volume_percent": more(volume), "volume_low_percent": more(volume_low),
            "volume_high_percent": more(volume_high), "accurate_volume_percent": more(volume + deep[0]),
            "accurate_volume_low_percent": float(np.percentile(drawn, 100 * ONE_SIDE)),
            "accurate_volume_high_percent": float(np.percentile(drawn, 100 * (1 - ONE_SIDE))),
        }  # fmt: skip


def accuracies(family: Measured, searches: Searches) -> pd.DataFrame:
    """A row a form: capacity, and accuracy [%] with its 95 % interval over seeds and images."""
    original = capacity_of(network_of(read_graph_of(searches.graphs, family.network, "original")))
    rows = []
    for arm, right in family.right.items():
        capacity, no_loss = family.arms.get(arm, ("original", True))
        of = capacity_of(form_of(searches.graphs, family.network, searches.plan.arm(arm))[0])
        weights, macs = (miss.share for miss in list(Budget().shares(of, original))[:2])
        mean, error, degrees = mean_of_two_way(100.0 * right)
        half = float(stats.t.ppf(1 - ONE_SIDE, degrees)) * error
        rows.append(
            {"data": family.data, "network": family.network, "arm": arm, "capacity": capacity, "no_loss": no_loss,
             "weights_share": weights, "macs_share": macs, "training_seeds": right.shape[0], "images": right.shape[1],
             "accuracy_percent": mean, "low_percent": mean - half, "high_percent": mean + half}
        )  # fmt: skip
    return pd.DataFrame(rows)


SHARES = {"dataflow": ("output_pixels", "output_stationary"), "interconnect": ("systolic",)}
"""Values of parameters whose shares of the fronts are told."""


def hardware_found(fronts: Mapping[str, Sequence[pd.DataFrame]], most_area_mm2: float) -> pd.DataFrame:
    """A row a form: shares [1] of the designs on the fronts that were searched for it, up to an area, and the median
    utilisation; means over the seeds."""
    rows = []
    for arm, some in fronts.items():
        kept = [front[front["area_mm2"] <= most_area_mm2] for front in some]
        shares = {f"{value}_share": float(np.mean([(front[name] == value).mean() for front in kept]))
                  for name, of in SHARES.items() for value in of}  # fmt: skip
        utilisation = float(np.mean([front["utilisation"].median() for front in kept]))
        rows.append({"arm": arm, "front_designs": sum(map(len, kept)), **shares, "utilisation": utilisation})
    return pd.DataFrame(rows)


def joint_front(fronts: Mapping[str, Sequence[pd.DataFrame]], arms: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Searched designs, each with the form that it was searched for, that no other excels in latency, area and mean
    accuracy at once, least latency first: at most `SHOWN` of them, spread along the front."""
    every = pd.concat([front[[*OBJECTIVES, *names]].assign(arm=arm) for arm, some in fronts.items() for front in some])
    every = every.merge(arms[["data", "network", "arm", "accuracy_percent", "low_percent", "high_percent"]], on="arm")
    F = np.column_stack([every[OBJECTIVES].to_numpy(float), -every["accuracy_percent"]])
    front = non_dominated(F)
    every, logs = every.iloc[front], np.column_stack([np.log10(F[front, :2]), F[front, 2]])
    shown = spread(Normalisation.from_points(logs)(logs), SHOWN)
    found = every.iloc[shown].sort_values([*OBJECTIVES, "arm"], kind="stable")
    first = ["data", "network", "arm", *OBJECTIVES, "accuracy_percent", "low_percent", "high_percent"]
    return found[[*first, *names]]


def codesign(study: Study, plan: Plan, searches: Searches) -> None:
    """Search and compare for every network that is measured; write the four tables."""
    pairs = study.read("pairs.csv", ["data", "network", "tuned", "capacity", "seeds_done", "seeds_planned"])
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in ("arms", "gains", "curves", "front")}
    for family in measured(plan, pairs, study.out / "trainings"):
        problems = {arm: searches.problem(family.network, arm) for arm in family.right}
        runs: dict[str, list[dse.Exploration]] = {}
        for arm, problem in problems.items():
            runs[arm] = searches.runs_of(problem, family.network, arm)
            print(f"{family.data}, {family.network}, {arm}: {searches.seeds} searches", flush=True)
        scale = fixed_scale(problems["original"])
        fronts = {arm: [run.front for run in some] for arm, some in runs.items()}
        F = {arm: [front[OBJECTIVES].to_numpy(float) for front in some] for arm, some in fronts.items()}
        ways = {arm: {"hardware": F["original"],
                      "dnn": [on_designs(problems[arm], run.designs) for run in runs["original"]],
                      "both": F[arm]} for arm in family.arms}  # fmt: skip
        areas = common_areas(list(ways.values()), scale)
        least_error = 1 / family.right["original"].shape[1]
        axis, drawn = error_scale(max(family.error["original"], least_error)), accuracy_draws(family.right)
        depths = {arm: depth(axis, np.append(family.error[arm], 1 - drawn[arm])) for arm in family.right}
        arms = accuracies(family, searches).merge(hardware_found(fronts, areas[-1]), on="arm")
        tables["arms"].append(arms)
        tables["front"].append(joint_front(fronts, arms, list(problems["original"].space.names)))
        for arm, of in ways.items():
            key = {"data": family.data, "network": family.network, "arm": arm}
            deep = {"hardware": depths["original"], "dnn": depths[arm], "both": depths[arm]}
            tables["gains"].append(pd.DataFrame([key | row for row in compared(of, areas, scale, deep)]))
            tables["curves"].append(curves(of, areas).assign(**key))
    for name, parts in tables.items():
        study.write(f"codesign_{name}.csv", pd.concat(parts), 6)
    for row in pd.concat(tables["gains"]).to_dict("records"):
        said = f"{row['saved_percent']:.1f} % less latency, hypervolume {row['volume_percent']:+.2f} %"
        print(f"{row['network']}, {row['arm']}, {row['way']} against {row['against']}: {said}", flush=True)


# ---------------------------------------------------------------------------------------------------------------------
# Figure and findings.


def tables_of(place: Path) -> dict[str, pd.DataFrame]:
    """The four tables."""
    key = ["data", "network", "arm"]
    columns = {
        "arms": ["capacity", "no_loss", "utilisation", "accuracy_percent", "low_percent", "high_percent"],
        "gains": ["way", "against", "saved_percent", "volume_percent", "accurate_volume_percent"],
        "curves": ["area_mm2", *(f"{a}_{b}_saved_percent" for a, b in COMPARED)],
        "front": [*OBJECTIVES, "accuracy_percent"],
    }
    return {name: read_table(place / f"codesign_{name}.csv", [*key, *some]) for name, some in columns.items()}


def by_network(tables: Mapping[str, pd.DataFrame]) -> dict[tuple[str, str], dict[str, pd.DataFrame]]:
    """The four tables of each data set and network."""
    pairs = tables["arms"][["data", "network"]].drop_duplicates().itertuples(index=False, name=None)
    return {
        (data, network): {
            name: table[(table["data"] == data) & (table["network"] == network)] for name, table in tables.items()
        }
        for data, network in pairs
    }


def draw_codesign(study: Study) -> None:
    """A figure a network that is measured, from the tables, where there are any."""
    if not (study.out / "codesign_arms.csv").is_file():
        return
    for (data, network), of in by_network(tables_of(study.out)).items():
        study.save(functools.partial(codesign_figure, of), f"codesign_{network}_{data}", "codesign, accuracy measured")


def headline(arms: pd.DataFrame) -> str:
    """The first edited form that keeps capacity without a loss of the margin, or else the first."""
    edited = arms[arms["capacity"] != "original"]
    good = edited[(edited["capacity"] == "kept") & edited["no_loss"].astype(bool)]
    return str((good if len(good) else edited)["arm"].iloc[0])


@styled
def codesign_figure(
    tables: Mapping[str, pd.DataFrame], width_in: float = COLUMN_IN, with_footer: bool = True
) -> Figure:
    """Joint front; latency saved at equal area by the three ways; accuracy against latency saved by form.

    `tables` : those of one network and data set, of `by_network`.
    """
    arms, gains, curves, front = (tables[name] for name in ("arms", "gains", "curves", "front"))
    every = zip((BLACK, BLUE, ORANGE, PURPLE, SKY, GREEN, RED, GREY), "so^Dv*PX", strict=True)
    looks = dict(zip(arms["arm"], itertools.cycle(every), strict=False))
    size = (1, 3) if is_wide(width_in) else (3, 1)
    figure = Figure(figsize=(width_in, 0.7 + 2.0 * size[0]), layout="constrained")
    joint, saved, accuracy = figure.subplots(*size)
    arm = headline(arms)
    curve = curves[curves["arm"] == arm]
    area = curve["area_mm2"].to_numpy()
    joint.plot(area, 1e6 * curve["hardware_latency_s"], color=BLACK, lw=0.9, drawstyle="steps-post",
               label="original, its own hardware")  # fmt: skip
    for name, (colour, marker) in looks.items():
        mine = front[front["arm"] == name]
        if len(mine):
            joint.plot(mine["area_mm2"], 1e6 * mine["latency_s"], ls="", marker=marker, ms=2.5, mew=0, color=colour)
    joint.set_ylabel("Latency [µs]")
    log_scale(joint.xaxis)
    log_scale(joint.yaxis)
    ways = (("both", "hardware", "both against hardware alone", GREEN, "-"),
            ("dnn", "hardware", "DNN alone against hardware alone", SKY, "--"),
            ("both", "dnn", "both against DNN alone", RED, ":"))  # fmt: skip
    for of, against, label, colour, line in ways:
        mean, low, high = (curve[f"{of}_{against}_{name}_percent"] for name in ("saved", "low", "high"))
        saved.plot(area, mean, color=colour, ls=line, lw=1.2, label=label, drawstyle="steps-post")
        saved.fill_between(area, low, high, step="post", color=colour, alpha=0.25, lw=0)
    saved.axhline(0, color=GREY, lw=0.6, zorder=0)
    saved.set_ylabel("Latency saved [%]")
    log_scale(saved.xaxis)
    linear_scale(saved.yaxis)
    for axis in (joint, saved):
        axis.set_xlabel("Area [mm²]")
    whole = gains[(gains["way"] == "both") & (gains["against"] == "hardware")].set_index("arm")
    for row in arms.to_dict("records"):
        colour, marker = looks[row["arm"]]
        x = whole.loc[row["arm"]] if row["arm"] in whole.index else dict.fromkeys(
            ("saved_percent", "saved_low_percent", "saved_high_percent"), 0.0)  # fmt: skip
        at, right = x["saved_percent"], row["accuracy_percent"]
        across = [[at - x["saved_low_percent"]], [x["saved_high_percent"] - at]]
        along = [[right - row["low_percent"]], [row["high_percent"] - right]]
        accuracy.errorbar([at], [right], xerr=across, yerr=along, color=colour, marker=marker,
                          ms=4, mew=0, lw=0.9, ls="", label=plain(row["arm"]))  # fmt: skip
    accuracy.set_xlabel("Latency saved,\nboth against hardware [%]")
    accuracy.set_ylabel("Test accuracy [%]")
    linear_scale(accuracy.xaxis)
    linear_scale(accuracy.yaxis)
    grid(joint, saved, accuracy)
    legend_above(figure, entries_of(accuracy, joint, saved))
    seeds, first = int(gains["search_seeds"].iloc[0]), arms.iloc[0]
    training = int(first["training_seeds"])
    said = (f"{first['network']}, {first['data']}; first: joint front of all searches, the line a mean over them; "
            f"second: {arm}, at equal area, 95 % band over {seeds} searches; third: accuracy, mean and 95 % interval "
            f"over {training} seeds and test images, not paired")  # fmt: skip
    return add_footer(figure, said, with_footer)


def codesign_findings(place: Path) -> Iterator[Finding]:
    """What the three ways win of each other, by form."""
    tables = tables_of(place)
    arms, gains = tables["arms"].set_index(["data", "network", "arm"]), tables["gains"]
    for key, row in arms.iterrows():
        data, network, arm = key
        name = f"| {data} | {network.removesuffix('-style')} | {arm} | {row['capacity']} | "
        yield Finding(
            f"{name}{row['weights_share']:.2f} | {row['macs_share']:.2f} | {row['accuracy_percent']:.2f} % | "
            f"{row['low_percent']:.2f} to {row['high_percent']:.2f} % | {row['training_seeds']} |",
            holds=row["capacity"] != "kept"
            or bool(0.98 <= min(row["weights_share"], row["macs_share"])
                    and max(row["weights_share"], row["macs_share"]) <= 1.02),
        )  # fmt: skip
    for row in gains.to_dict("records"):
        network, ways = row["network"].removesuffix("-style"), f"{row['way']} vs {row['against']}"
        name = f"| {row['data']} | {network} | {row['arm']} | {ways} | "
        area = f"{row['least_saved_percent']:z.0f} to {row['most_saved_percent']:z.0f} %"
        yield Finding(f"{name}{_told(row, 'saved')} | {area} | {row['areas_percent']:.0f} % |")
        yield Finding(f"{name}{_told(row, 'volume', '+')} | {_told(row, 'accurate_volume', '+')} |")
    for (data, network), rows in gains.groupby(["data", "network"], sort=False):
        forms = tables["arms"].query("data == @data and network == @network")
        of, arm = forms.set_index("arm"), headline(forms)
        one = rows[rows["arm"] == arm].set_index(["way", "against"])
        whole, rest = one.loc[("both", "hardware")], one.loc[("both", "dnn")]
        loss = "" if of.loc[arm, "no_loss"] else "; a loss of the margin is not excluded"
        least, most = (_area(whole[f"{end}_area_mm2"]) for end in ("least", "most"))
        where = f"means over {least} to {most} mm²; by area {rest['least_saved_percent']:z.0f} to "
        where += f"{rest['most_saved_percent']:z.0f} %, above 0 at {rest['areas_percent']:.0f} % of the areas"
        volumes = _told(whole, "volume"), _told(rest, "volume")
        larger = whole["volume_low_percent"] > 0, rest["volume_low_percent"] > 0
        changes = f"The hypervolume changes by {volumes[0]} and {volumes[1]}."
        if whole["saved_low_percent"] <= 0:
            said = "no latency is shown to be saved at equal area over the original with its own, "
            said += f"{_told(whole, 'saved')}; over the original's designs it is {_told(rest, 'saved')} ({where}). "
            said += changes
        else:
            said = f"it takes {_told(whole, 'saved')} less latency at equal area than the original with its own, "
            if rest["saved_low_percent"] > 0:
                said += f"and {_told(rest, 'saved')} less than on the original's designs ({where}). "
                said += f"The hypervolume is {volumes[0]} and {volumes[1]} larger." if all(larger) else changes
            else:
                said += f"but no less is shown than on the original's designs: {_told(rest, 'saved')} ({where}). "
                beside = f"The hypervolume is {volumes[0]} larger, beside these {volumes[1]}."
                said += beside if larger[0] else changes
        yield Finding(
            f"{data}, {network}, {arm} ({of.loc[arm, 'capacity']}{loss}): with hardware searched for it, {said}",
            where=("docs/why-slow.md", "results/README.md"),
        )
        original, edited = of.loc["original"], of.loc[arm]
        yield Finding(
            f"{data}, {network}, fronts up to {most} mm², means over seeds: of the designs found "
            f"for the original {_shares(original)}; of those for {arm} {_shares(edited)}."
        )


def _shares(row: Any) -> str:
    """What designs are made of, in words."""
    told = [f"{100 * row[f'{value}_share']:.0f} % are `{value}`" for of in SHARES.values() for value in of]
    return f"{', '.join(told)}, and the median utilisation is {100 * row['utilisation']:.0f} %"


def _told(row: Any, name: str, sign: str = "") -> str:
    """A mean with its interval, as "8.4 % (7.2 to 9.7)"."""
    value, low, high = (row[f"{name}{part}_percent"] for part in ("", "_low", "_high"))
    return f"{value:{sign}z.1f} % ({low:z.1f} to {high:z.1f})"


def _area(area_mm2: float) -> str:
    """An area in two digits, or in whole numbers."""
    return f"{area_mm2:.2g}" if area_mm2 < 10 else f"{area_mm2:.0f}"
