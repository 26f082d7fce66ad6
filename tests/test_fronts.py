"""Fronts of several runs: who is better where, by hand; what cannot be compared; the command."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

import dse
from dse.analysis.front_comparison import COLUMNS, MEASURES, caps_of, check_comparable, runs_of
from dse.commands.main import app
from dse.output.front_figures import fronts, fronts_report
from dse.search.exploration import load
from dse.search.search_loop import explore
from problems import GeomeanDNN, SingleDNN

SPACE = dse.DesignSpace({"rows": [4, 8, 16], "cols": [4, 8, 16], "dram_gbps": [1, 4, 16], "weight_buffer_kib": [4, 64]})
NETWORK = dse.Network("tiny", (dse.MacLayer("a", K=16, C=8, OY=6, OX=6, FY=3, FX=3), dse.MacLayer("b", K=10, C=24)))
OTHER = dse.Network("tiny", (dse.MacLayer("a", K=16, C=8, OY=6, OX=6, FY=3, FX=3),))


class Run:
    """As much of a run as is compared."""

    def __init__(self, points, names=("latency_s", "area_mm2"), **identity):
        self.front = pd.DataFrame(np.array(points, float).reshape(-1, len(names)), columns=list(names))
        self.objective_names, self.manifest, self.evaluations = names, {"identity": identity}, 10
        self.texts = {}


def value(table, measure, label, row=0):
    return table[table["measure"] == measure][label].iloc[row]


def test_a_comparison_by_hand():
    a = Run([[1, 4], [2, 2], [4, 1]])
    b = Run([[1, 4], [3, 1.5], [5, 0.5]])
    table = dse.compare_fronts({"a": a, "b": b})
    assert list(table) == ["measure", "shared", "at_most", "a", "b", "best", "lead"]
    least = table[table["measure"] == "latency_s"]
    assert np.allclose(least["at_most"], [1.2, 1.9, 2.6, 3.3, 4.0]) and set(least["shared"]) == {"area_mm2"}
    assert least["a"].tolist() == [4, 4, 2, 2, 1] and least["b"].tolist() == [5, 3, 3, 3, 1]
    assert least["best"].tolist() == ["a", "b", "a", "a", ""]
    assert np.allclose(least["lead"], [0.25, 1 / 3, 0.5, 0.5, 0])
    # the best of both: (1,4) of both, (2,2) and (4,1) of a, (3,1.5) and (5,0.5) of b
    assert value(table, "share_of_best", "a") == pytest.approx(3 / 5) == value(table, "share_of_best", "b")
    assert value(table, "beaten_share", "a") == 0 == value(table, "beaten_share", "b")
    # from (3,1.5) a's nearest is (2,2), from (5,0.5) it is (4,1): each worse by 0.5 of 3.5 in area alone
    assert value(table, "distance", "a") == pytest.approx(2 * (0.5 / 3.5) / 5)
    scale = dse.search.pareto.Normalisation((1.0, 0.5), (5.0, 4.0), (False, False))
    assert value(table, "hypervolume", "b") == pytest.approx(scale.hypervolume(b.front.to_numpy()))


def test_a_front_that_another_beats_everywhere():
    table = dse.compare_fronts({"good": Run([[1, 2], [2, 1]]), "bad": Run([[2, 3], [3, 2]])})
    whole = table[table["shared"] == ""].set_index("measure")
    assert whole.loc["beaten_share", ["good", "bad"]].tolist() == [0, 1]
    assert whole.loc["share_of_best", ["good", "bad"]].tolist() == [1, 0]
    assert whole.loc["distance", "good"] == 0 < whole.loc["distance", "bad"]
    assert (table["best"] == "good").all()
    first = table.iloc[0]  # area 1 to 1.4: no design of the other
    assert np.isnan(first["bad"]) and first["good"] == 2 and np.isnan(first["lead"])


def test_a_run_beside_itself_is_equal():
    run = Run([[1, 4, 2], [2, 2, 3], [4, 1, 1]], ("latency_s", "energy_j", "area_mm2"))
    table = dse.compare_fronts({"x": run, "y": run})
    assert (table["best"] == "").all() and set(table["measure"]) == {"latency_s", "energy_j", *MEASURES}
    assert (table["x"] == table["y"]).all()


def test_parts_are_even_on_a_log_scale_over_a_decade():
    assert np.allclose(np.diff(np.log(caps_of(np.array([1.0, 1e5])))), np.log(10))
    assert np.allclose(caps_of(np.array([0.0, 50.0])), [10, 20, 30, 40, 50])
    assert caps_of(np.array([3.0, 3.0])).tolist() == [3] * 5


def test_another_shared_objective():
    table = dse.compare_fronts({"a": Run([[1, 4], [4, 1]]), "b": Run([[2, 2], [3, 1]])}, shared="latency_s")
    assert set(table["shared"]) == {"latency_s", ""} and "area_mm2" in set(table["measure"])
    with pytest.raises(ValueError, match="shared 'power_w' is no objective of these runs; they have latency_s, area"):
        dse.compare_fronts({"a": Run([[1, 4]]), "b": Run([[2, 2]])}, shared="power_w")


NETS, CHANGED = [{"name": "tiny", "sha256": "1"}], [{"name": "tiny", "sha256": "2"}]
VGG = [{"name": "vgg16", "sha256": "2"}]
AT_45, AT_16 = {"name": "45 nm", "mac_pj": 1.0}, {"name": "16 nm", "mac_pj": 1.0}
REFUSED = {
    "objectives": (
        Run([[1, 2]]), Run([[1, 2]], ("energy_j", "area_mm2")),
        "two minimises energy_j, area_mm2, one latency_s, area_mm2: compare",
    ),
    "networks": (
        Run([[1, 2]], problem={"networks": NETS}), Run([[1, 2]], problem={"networks": VGG}),
        "two is for vgg16, one for tiny: compare runs for the same networks",
    ),
    "layers": (
        Run([[1, 2]], problem={"networks": NETS}), Run([[1, 2]], problem={"networks": CHANGED}),
        "two is for tiny, one for tiny of the same name but other layers or weights",
    ),
    "weights": (
        Run([[1, 2]], problem={"networks": NETS, "attributes": {"weights": [1, 2]}}),
        Run([[1, 2]], problem={"networks": NETS, "attributes": {"weights": [1, 1]}}), "other layers or weights",
    ),
    "nodes": (
        Run([[1, 2]], problem={"technology": AT_45}), Run([[1, 2]], problem={"technology": AT_16}),
        "two and one: 16 nm and 45 nm; compare runs at the same technology",
    ),
    "constants": (
        Run([[1, 2]], problem={"technology": AT_45}), Run([[1, 2]], problem={"technology": AT_45 | {"mac_pj": 2.0}}),
        "two and one: mac_pj is 2.0 and 1.0; compare",
    ),
    "no front": (Run([[1, 2]]), Run([]), "two has no front: no design of it is feasible"),
    "one objective": (
        Run([[1]], ("latency_s",)), Run([[1]], ("latency_s",)), "one has one objective, latency_s",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_one_clear_line(case):
    one, two, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as error:
        check_comparable({"one": one, "two": two})
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Two runs for one network in directories of one name, one for another network, one at another node."""
    path = tmp_path_factory.mktemp("runs")
    for name, problem, seed in (
        ("x/run", SingleDNN(NETWORK, SPACE), 1), ("y/run", SingleDNN(NETWORK, SPACE), 2),
        ("other", SingleDNN(OTHER, SPACE), 1), ("node", SingleDNN(NETWORK, SPACE, dse.Technology.at(16)), 1),
    ):  # fmt: skip
        explore(problem, evaluations=24, population=8, seed=seed, random_twin=False, out=path / name)
    return path


def test_directories_are_told_apart(searched, monkeypatch):
    found = runs_of([searched / "x" / "run", searched / "y" / "run"])
    assert list(found) == ["x/run", "y/run"]
    monkeypatch.chdir(searched)
    assert list(runs_of(["other", "x/run"])) == ["other", "run"]
    with pytest.raises(ValueError, match="named twice"):
        runs_of(["other", "./other"])
    with pytest.raises(ValueError, match="at least two runs"):
        runs_of(["other"])
    with pytest.raises(ValueError, match="cannot be called 'best'"):
        runs_of({"best": None, "other": None})


def test_runs_of_another_model_are_refused(searched):
    run = load(searched / "x" / "run")
    identity = run.manifest["identity"]
    probes = json.loads(json.dumps(identity["probes"]))
    name = next(iter(probes["values"]))
    probes["values"][name] = " ".join(str(2 * float(x)) for x in probes["values"][name].split())
    other = replace(run, manifest={**run.manifest, "identity": {**identity, "probes": probes}})
    with pytest.raises(ValueError, match="new and old were made by models with other numbers"):
        check_comparable({"old": run, "new": other})


def test_the_table_counts_no_design_of_a_run_away(searched):
    """Against the fronts as they are in the files."""
    table = dse.compare_fronts([searched / "x" / "run", searched / "y" / "run"])
    for label in ("x/run", "y/run"):
        front = pd.read_csv(searched / label / "front.csv")
        for row in table[table["shared"] != ""].to_dict("records"):
            within = front[front["area_mm2"] <= row["at_most"]]["latency_s"]
            assert (row[label] == within.min()) if len(within) else np.isnan(row[label])


@pytest.mark.parametrize("names", [("latency_s", "area_mm2"), ("latency_s", "energy_j", "area_mm2")])
def test_the_figure_has_every_front(names):
    runs = {name: explore(SingleDNN(NETWORK, SPACE, objectives=names), evaluations=24, seed=seed, random_twin=False)
            for name, seed in (("a", 1), ("b", 2))}  # fmt: skip
    figure = fronts(runs)
    assert len(figure.axes) == {2: 1, 3: 3}[len(names)]
    for axis in figure.axes:
        assert [len(line.get_xdata()) for line in axis.lines] == [len(run.front) for run in runs.values()]
    assert "tiny" in figure.get_supxlabel() and "least latency" in " ".join(figure.get_supxlabel().split())


def test_the_command_writes_and_prints(searched, monkeypatch):
    monkeypatch.chdir(searched)
    done = CliRunner().invoke(app, ["fronts", "x/run", "y/run", "--out", "both"], catch_exceptions=False)
    assert done.exit_code == 0 and "Least latency, area at most" in done.output and "x/run" in done.output
    assert {path.name for path in (searched / "both").iterdir()} == {
        "fronts.csv", "fronts.png", "fronts.pdf", "fronts_wide.pdf",
    }  # fmt: skip
    written = pd.read_csv(searched / "both" / "fronts.csv", keep_default_na=False, na_values=[""])
    assert list(written) == [*COLUMNS[:3], "x/run", "y/run", "best", "lead"]
    piped = CliRunner().invoke(app, ["fronts", "x/run", "y/run", "--csv", "-", "--out", "none"], catch_exceptions=False)
    assert piped.output == (searched / "both" / "fronts.csv").read_text() and not (searched / "none").exists()
    told = CliRunner().invoke(app, ["fronts", "x/run", "y/run", "--json", "--out", "none"], catch_exceptions=False)
    rows = json.loads(told.output)
    assert len(rows) == len(written) and rows[0]["measure"] == "latency_s" and not (searched / "none").exists()


@pytest.mark.parametrize("other", ["other", "node"])
def test_the_command_refuses_and_writes_nothing(searched, monkeypatch, other):
    monkeypatch.chdir(searched)
    with pytest.raises(ValueError, match="compare runs"):
        app(["fronts", "x/run", other, "--out", "none"], standalone_mode=False)
    assert not (searched / "none").exists()


def test_means_of_the_same_networks_in_another_order_are_compared():
    networks = [NETWORK, replace(OTHER, name="second")]
    runs = {name: explore(GeomeanDNN(nets, space=SPACE), evaluations=16, random_twin=False)
            for name, nets in (("a", networks), ("b", networks[::-1]))}  # fmt: skip
    assert len(dse.compare_fronts(runs))


@pytest.mark.parametrize("width", [80, 132])
def test_no_name_is_cut(width):
    runs = {f"a_run_with_a_long_name_{i}": Run([[1, 4 + i], [3, 1.5], [5, 0.5]]) for i in range(4)}
    screen = Console(width=width, file=io.StringIO())
    screen.print(fronts_report(dse.compare_fronts(runs)))
    text = screen.file.getvalue()
    assert "\u2026" not in text and max(map(len, text.splitlines())) <= width
