"""The model against its references: what is reached stays reached, what is missed does not drift."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dse.commands.main import app
from dse.costs.evaluation import evaluate
from dse.hardware.presets import preset
from dse.networks.layers import MacLayer
from dse.output.figure_style import figure_names
from dse.validation import REFERENCES, eyeriss, power, scalesim
from dse.validation.collect import reference_rows, validate
from dse.validation.score import score, spearman
from dse.validation.table import COLUMNS, RANGE, checked, read_data

ERRORS = {
    ("eyeriss", "active PEs"): {"worst": (0, 0)},
    ("eyeriss", "global-buffer traffic"): {"worst": (0.008, 0.002)},
    ("eyeriss", "processing latency"): {"mean": (0.038, 0.002), "worst": (0.055, 0.002)},
    ("eyeriss", "DRAM traffic"): {"worst": (0.127, 0.005)},
    ("tpu", "throughput"): {"mean": (0.065, 0.005), "worst": (0.102, 0.005)},
    ("gemmini", "cycles, given mapping"): {"median": (0.112, 0.003), "mean": (0.173, 0.005), "rank": (0.9802, 0.0002)},
    ("nvdla", "frame rate"): {"median": (0.055, 0.01), "worst": (0.514, 0.02)},
    ("nvdla", "layer MAC cycles"): {"median": (0, 0), "worst": (0.306, 0.005)},
    ("eyeriss", "VGG-16 latency, best mapping"): {"mean": (0.676, 0.02)},
    ("eyeriss", "VGG-16 latency, inferred"): {"mean": (0.12, 0.003)},
    ("eyeriss", "VGG-16 buffer traffic, inferred"): {"mean": (0.053, 0.003)},
    ("ethos", "cycles of an operator"): {"median": (0.081, 0.003), "worst": (0.574, 0.01), "rank": (0.9961, 0.0005)},
    ("power", "power of a chip"): {"median": (0.215, 0.01), "worst": (0.716, 0.03)},
    ("power", "Eyeriss v1, layers of AlexNet"): {"worst": (0.1, 0.01), "rank": (1, 1e-9)},
    ("power", "Eyeriss v1, layers of VGG-16"): {"mean": (0.027, 0.005)},
    ("power", "TPU v1, busy and idle"): {"worst": (0.303, 0.01)},
    ("power", "NVDLA, seven sizes"): {"worst": (1.16, 0.04)},
    ("power", "DianNao, parts"): {"worst": (0.183, 0.01)},
    ("scalesim", "cycles"): {"worst": (0, 1e-9)},
    ("scalesim", "SRAM input reads"): {"worst": (0, 0)},
    ("scalesim", "SRAM weight reads"): {"worst": (0, 0)},
    ("scalesim", "SRAM output writes"): {"worst": (0, 0)},
    ("areas", "area"): {"median": (0.097, 0.005), "worst": (0.410, 0.005), "rank": (0.930, 0.003)},
    ("areas", "area of a block"): {"median": (0.409, 0.01), "worst": (0.899, 0.005)},
    ("areas", "SRAM for the area of a MAC"): {"median": (0.386, 0.01), "worst": (2.17, 0.02)},
}
"""By reference and quantity: a statistic of `dse.validation.score`, its value, and how far it may move."""


TITLES = {"eyeriss": "Eyeriss v1", "tpu": "TPU v1", "gemmini": "Gemmini 16x16", "nvdla": "NVDLA", "ethos": "Ethos-U55",
          "scalesim": "SCALE-Sim", "areas": "Published areas", "power": "Published power"}  # fmt: skip


def test_every_target_has_its_reference():
    assert set(read_data("targets.csv")["reference"]) <= set(TITLES.values()) and set(TITLES) == set(REFERENCES)


@pytest.mark.parametrize("reference", REFERENCES)
def test_errors_have_not_drifted_and_targets_have_their_quantities(reference):
    """A target whose quantity is misspelt would never be judged."""
    rows = reference_rows(reference)
    assert set(rows["reference"]) == {TITLES[reference]}
    targets = read_data("targets.csv")
    assert set(targets.loc[targets["reference"] == TITLES[reference], "quantity"]) <= set(rows["quantity"])
    table = score(rows).set_index("quantity")
    mine = {quantity: limits for (name, quantity), limits in ERRORS.items() if name == reference}
    assert mine and set(mine) <= set(table.index)
    for quantity, limits in mine.items():
        for statistic, (value, tolerance) in limits.items():
            column = "rank_correlation" if statistic == "rank" else f"{statistic}_error"
            assert table.loc[quantity, column] == pytest.approx(value, abs=tolerance), (quantity, statistic)
    assert (rows["predicted"] > 0).all() and np.isfinite(rows["predicted"]).all()
    if reference == "power":  # slow to make, so looked at here: its ranges are those of the draws
        assert (rows["predicted_low"] <= rows["predicted_high"]).all() and rows["predicted_low"].notna().all()
        moved = rows[rows["quantity"] == "TPU v1, busy and idle"]
        assert (moved["predicted_high"] > 1.5 * moved["predicted_low"]).all()


def test_eyeriss_best_mapping_moves_no_more_than_the_chip():
    """But for CONV1's global buffer, which buys less of DRAM."""
    rows = reference_rows("eyeriss").set_index(["quantity", "row"])
    for what in ("global-buffer traffic, best mapping", "DRAM traffic, best mapping"):
        above = rows.loc[what][lambda t: t["predicted"] > t["measured"]]
        assert list(above.index) == (["CONV1"] if what.startswith("global") else [])
        assert above["note"].str.contains("more of").all()
    best, ideal = rows.loc["processing latency, best mapping"], rows.loc["processing latency"]
    assert (best["predicted"] >= ideal["roofline"]).all()


def test_scalesim_as_released_is_the_same_comparison():
    """With the simulator's faults put into the prediction instead of taken out of the reference."""
    quantities = ["cycles", "SRAM output writes"]
    released = score(scalesim.rows(corrected=False)).set_index("quantity").loc[quantities]
    assert (released["worst_error"] < 1e-9).all()


def test_vgg16_inferred_mapping_keeps_to_the_published_pes_and_to_the_family():
    """`evaluate` refuses a mapping that breaks the preset's dataflow or does not fit."""
    design = preset("eyeriss_v1")
    for run in read_data("eyeriss_vgg16.csv").itertuples():
        mapping = eyeriss.inferred_mapping(run)
        assert mapping.s("FY") * mapping.s("OY") * mapping.s("K") == run.active_pes
        assert evaluate(design, eyeriss.layer_of(run), mapping=mapping).feasible
        assert eyeriss.layer_of(run).macs == run.macs_batch


def test_a_chip_that_waits_draws_what_runs_with_time():
    design, under = preset("tpu_v1"), power.technologies("tpu_v1", 28)
    idle = power.idle_w(design, under)
    waiting = evaluate(replace(design, dram_gbps=1e-6), MacLayer("wait"), technology=under[0])
    parts = {part: energy_j / waiting.latency_s for part, energy_j in waiting.energy().items()}
    assert idle["tree"][0] + idle["clocked"][0] == pytest.approx(parts["clock"]) and min(idle["tree"]) > 0
    for part in ("io", "leakage"):
        assert idle[part][0] == pytest.approx(parts[part])
    assert sum(values[0] for values in idle.values()) == pytest.approx(sum(parts.values()) - parts["dram"], rel=1e-6)


def test_power_over_another_time():
    """What runs with time runs for all of it, the rest is spread."""
    run = power.Run({"mac": np.full(101, 6.0), "dram": np.full(101, 99.0), "leakage": np.full(101, 4.0)},
                    {"mac": np.zeros(101), "dram": np.zeros(101), "leakage": np.full(101, 2.0)}, 2.0)  # fmt: skip
    assert power.power_w(run)[0] == 5 and power.power_w(run, seconds=6)[0] == 3
    assert power.power_w(run, ["leakage"], 6)[0] == 2


def test_nothing_is_the_same_by_construction():
    """A reference's numbers are data of others: no prediction reads them."""
    for name in ("eyeriss", "tpu"):
        rows = reference_rows(name)
        assert (rows["predicted"] != rows["measured"])[rows["unit"] != "PE"].all()


# ---------------------------------------------------------------------------------------------------------------------
# The score.


def table(measured, predicted, gated=True, **changes):
    values = {
        "reference": "chip",
        "kind": "silicon",
        "quantity": "cycles",
        "unit": "cycle",
        "roofline": np.nan,
        "note": "",
    }
    rows = pd.DataFrame({"measured": measured, "predicted": predicted, "gated": gated})
    rows = rows.assign(row=[f"layer {i}" for i in range(len(rows))], **(values | changes))
    return rows.assign(family=rows["row"])


def test_score_by_hand():
    line = score(table([100.0, 100, 100, 200], [90.0, 100, 120, 300])).iloc[0]
    errors = line[["median_error", "mean_error", "worst_error", "excess"]].tolist()
    assert errors == pytest.approx([0.15, 0.2, 0.5, 0.5])
    assert np.isnan(line["roofline_median_error"])


def test_families_of_rows_count_alike_in_the_median():
    rows = table([100.0, 100, 100, 100], [110.0, 140, 150, 160])
    assert score(rows.assign(family=["a", "b", "b", "b"])).iloc[0]["median_error"] == pytest.approx((0.1 + 0.5) / 2)
    assert score(rows).iloc[0]["median_error"] == pytest.approx(0.45)


def test_published_areas_count_each_chip_once():
    rows = reference_rows("areas")
    assert rows[rows["gated"]]["family"].nunique() == 5 and len(rows[rows["gated"]]) == 18
    assert (reference_rows("tpu")["family"] == reference_rows("tpu")["row"]).all()


def test_nvdla_shrinks_less_than_the_published_matrix_says():
    """Seven equal ratios of a vendor's estimate against the cells of the matrix: what the 16 nm rows carry."""
    rows = reference_rows("areas").set_index("row")
    sizes = [row.removesuffix(", 28 nm") for row in rows.index if row.endswith("28 nm") and "NVDLA" in row]
    ratios = [
        [rows.loc[f"{size}, {node} nm", x] for node in (16, 28)] for size in sizes for x in ("measured", "predicted")
    ]
    shrink = np.array([small / large for small, large in ratios]).reshape(7, 2)
    assert shrink[:, 0] == pytest.approx(np.full(7, 0.60), abs=0.012)
    assert shrink[:, 1] == pytest.approx(np.full(7, 0.516), abs=0.001)


def test_the_roofline_of_a_frame_rate_stays_the_roofline():
    """It was read from the bound of the design, which became closer than a roofline."""
    rows = reference_rows("nvdla")
    rates = rows[rows["quantity"].str.startswith("frame rate")].reset_index(drop=True)
    stored = pd.read_csv(Path(__file__).parents[1] / "results" / "validation" / "nvdla.csv")
    stored = stored[stored["quantity"].str.startswith("frame rate")].reset_index(drop=True)
    assert len(rates) and rates["roofline"].to_numpy() == pytest.approx(stored["roofline"].to_numpy(), rel=1e-12)


def test_score_counts_gated_rows_only_where_there_are_some():
    rows = table([100.0, 100], [100.0, 300], gated=[True, False])
    assert score(rows).iloc[0][["rows", "worst_error"]].tolist() == [1, 0.0]
    assert score(rows.assign(gated=False)).iloc[0][["rows", "worst_error"]].tolist() == [2, 2.0]


@pytest.mark.parametrize(("statistic", "limit", "reached"), [
    ("worst", 0.1, True), ("worst", 0.09, False), ("excess", 0.0, True), ("rank", 0.999, True), ("mean", 0.04, False),
    ("shortfall", 0.11, True), ("shortfall", 0.09, False),
])  # fmt: skip
def test_a_target_is_reached_or_not(statistic, limit, reached):
    targets = pd.DataFrame([{"reference": "chip", "quantity": "cycles", "statistic": statistic, "limit": limit}])
    line = score(table([100.0, 200], [90.0, 200]), targets).iloc[0]
    assert bool(line["reached"]) is reached and str(statistic) in line["target"]


def test_a_ratio_between_two_limits():
    limits = {"excess": 0.5, "shortfall": 0.35}
    targets = pd.DataFrame([{"reference": "chip", "quantity": "cycles", "statistic": s, "limit": x}
                            for s, x in limits.items()])  # fmt: skip
    for predicted, reached in (([150.0, 66], True), ([151, 66], False), ([150, 64], False)):
        line = score(table([100.0, 100], predicted), targets).iloc[0]
        assert line["target"] == "ratio 0.65-1.5" and bool(line["reached"]) is reached


def test_unknown_statistic_of_a_target():
    targets = pd.DataFrame([{"reference": "chip", "quantity": "cycles", "statistic": "best", "limit": 1}])
    with pytest.raises(ValueError, match="target on 'best': choose among median, mean, worst, excess, shortfall, rank"):
        score(table([1.0], [1.0]), targets)


def test_spearman_of_few_or_equal_values_is_unknown():
    a = pd.Series([1.0, 2, 3])
    assert spearman(a, a**2) == 1
    assert np.isnan(spearman(a[:1], a[:1])) and np.isnan(spearman(a, a * 0))


@pytest.mark.parametrize(("broken", "message"), [
    (table([1.0], [1.0]).drop(columns="unit"), "column 'unit' is missing"),
    (table([1.0], [1.0], kind="rumour"), "kind 'rumour' is unknown; give one of silicon"),
    (pd.concat([table([1.0], [1.0])] * 2), "cycles of 'layer 0' is there twice"),
    (table([0.0], [1.0]), "measured must be positive in 'layer 0'"),
])  # fmt: skip
def test_a_broken_table_is_refused(broken, message):
    with pytest.raises(ValueError, match=message):
        checked(broken)


# ---------------------------------------------------------------------------------------------------------------------
# What is written.


def test_validate_writes_tables_and_figures(tmp_path):
    result, comparisons = validate(tmp_path / "out", ["tpu", "areas"])
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    of_each = [name for x in ("tpu", "areas") for name in (f"{x}.csv", *figure_names(x))]
    assert written == sorted(["score.csv", *of_each])
    rows = pd.read_csv(tmp_path / "out" / "tpu.csv")
    assert list(rows.columns) == [name for name in COLUMNS if name not in RANGE] and len(rows) == 7
    assert len(comparisons) == 7 + len(pd.read_csv(tmp_path / "out" / "areas.csv"))
    assert result.set_index("quantity").loc["throughput", "reached"]
    again = pd.read_csv(tmp_path / "out" / "score.csv")
    assert again["median_error"].to_numpy() == pytest.approx(result["median_error"].to_numpy())


def test_validate_on_the_command_line(tmp_path):
    done = CliRunner().invoke(app, ["validate", "tpu", "--out", str(tmp_path)])
    assert done.exit_code == 0 and "throughput [TOPS]" in done.output and "worst <= 15%" in done.output


def test_unknown_reference_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="unknown reference 'tpu_v9'; the known ones are eyeriss, tpu, gemmini"):
        validate(tmp_path, ["tpu_v9"])
    assert not list(tmp_path.iterdir())
