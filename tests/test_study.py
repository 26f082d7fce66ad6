"""`dse.study`: seeds are paired, kept, resumed; a seed that fails is told; data files are found or named."""

import gzip
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dse.output.explanation_figures import gains, moves
from dse.output.figure_style import save_figure
from dse.training.accuracy_study import compare, load_images, read_idx, read_runs, study

ACCURACY = {("original", s): 0.90 + 0.002 * s for s in range(5)} | {("tuned", s): 0.901 + 0.002 * s for s in range(5)}
MODULES = {"original": lambda: "original", "tuned": lambda: "tuned"}


def known(module, seed):
    """An accuracy that is known."""
    return ACCURACY[module, seed]


def test_the_interval_is_of_the_differences_within_a_seed(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.002, 5)
    runs = study(MODULES, lambda m, s: known(m, s) + (noise[s] if m == "tuned" else 0), tmp_path)
    found = compare(runs)
    points = 100 * (0.001 + noise)
    low, high = stats.t.interval(0.95, 4, points.mean(), stats.sem(points))
    assert (found.low_points, found.high_points) == pytest.approx((low, high))
    assert found.change_points == pytest.approx(points.mean()) and found.seeds == 5
    paired = stats.ttest_rel([ACCURACY["tuned", s] + noise[s] for s in range(5)],
                             [ACCURACY["original", s] for s in range(5)])  # fmt: skip
    assert found.p_value == pytest.approx(paired.pvalue)


def test_neutral_only_when_the_interval_says_so(tmp_path):
    same = compare(study(MODULES, lambda m, s: known(m, s) + 1e-4 * (s % 2), tmp_path / "same"))
    assert same.neutral(0.5) and not same.neutral(0.05) and "accuracy-neutral at a margin of 0.5" in same.text()
    few = compare(study(MODULES, known, tmp_path / "few", seeds=range(3)))
    assert not few.neutral() and "not shown to be neutral" in few.text()
    worse = compare(study(MODULES, lambda m, s: 0.9 - 0.02 * (m == "tuned") - 1e-3 * s, tmp_path / "worse"))
    assert worse.change_points == pytest.approx(-2) and not worse.neutral() and not worse.no_loss(1.0)
    better = compare(study(MODULES, lambda m, s: 0.9 + 0.02 * (m == "tuned") - 1e-3 * s, tmp_path / "better"))
    assert not better.neutral() and better.no_loss() and "no loss of 0.5 points" in better.text()


@pytest.mark.parametrize(
    ("bad", "told"),
    [(math.nan, "accuracy nan is not between 0 and 1"), (93.0, "accuracy 93.0 is not between 0 and 1"),
     (RuntimeError("out of\nmemory"), "RuntimeError: out of memory")],
)  # fmt: skip
def test_a_seed_that_fails_is_kept_and_told_and_tried_again(tmp_path, bad, told):
    def breaks(module, seed):
        if (module, seed) == ("tuned", 3):
            if isinstance(bad, Exception):
                raise bad
            return bad
        return known(module, seed)

    found = compare(study(MODULES, breaks, tmp_path))
    assert found.seeds == 4 and found.failed == (f"tuned, seed 3: {told}",) and not found.neutral()
    assert f"failed: tuned, seed 3: {told}" in found.text()
    asked = []
    again = study(MODULES, lambda m, s: asked.append((m, s)) or known(m, s), tmp_path)
    assert asked == [("tuned", 3)] and compare(again).seeds == 5 and not compare(again).failed


def test_an_interrupted_study_continues_where_it_stopped(tmp_path):
    asked = []

    def stops(module, seed):
        asked.append((module, seed))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return known(module, seed)

    with pytest.raises(KeyboardInterrupt):
        study(MODULES, stops, tmp_path / "a", identity="x")
    continued = study(MODULES, stops, tmp_path / "a", identity="x")
    assert len(asked) == 11  # ten trainings and the one that was stopped
    whole = study(MODULES, known, tmp_path / "b", identity="x")
    columns = ["network", "seed", "accuracy", "error", "identity"]
    pd.testing.assert_frame_equal(continued[columns], whole[columns])
    digits = (tmp_path / "b" / "runs.csv").read_text().replace(whole["identity"][0], "012e45678901")
    (tmp_path / "b" / "runs.csv").write_text(digits)
    assert set(read_runs(tmp_path / "b" / "runs.csv")["identity"]) == {"012e45678901"}  # a text, not a number
    with pytest.raises(ValueError, match="holds a study of other networks or another recipe"):
        study(MODULES, known, tmp_path / "a", identity="y")


class Recorded:
    """A training that keeps a history, and raises at the seeds given."""

    def __init__(self, *bad):
        self.bad, self.history = bad, None

    def __call__(self, module, seed):
        if seed in self.bad:
            raise RuntimeError("no")
        self.history = [(1, 0.5, 1.0), (2, ACCURACY[module, seed], 2.0)]
        return ACCURACY[module, seed]


def test_a_seed_that_fails_does_not_get_the_history_of_another(tmp_path):
    study(MODULES, Recorded(1), tmp_path, seeds=[0, 1, 2])
    epochs = pd.read_csv(tmp_path / "epochs.csv")
    assert epochs.groupby(["network", "seed"]).size().to_dict() == {
        (name, seed): 2 for name in MODULES for seed in (0, 2)
    }
    study(MODULES, Recorded(), tmp_path, seeds=[0, 1, 2])
    assert len(pd.read_csv(tmp_path / "epochs.csv")) == 12


def test_a_history_of_none_is_no_history(tmp_path):
    known.history = None
    try:
        assert len(study(MODULES, known, tmp_path, seeds=[0])) == 2 and not (tmp_path / "epochs.csv").exists()
    finally:
        del known.history


def test_seeds_given_twice_are_refused_before_the_training(tmp_path):
    with pytest.raises(ValueError, match="give each once"):
        study(MODULES, lambda module, seed: pytest.fail("trained"), tmp_path, seeds=[0, 0, 1])


def test_errors_of_other_seeds_are_kept(tmp_path):
    study(MODULES, Recorded(1), tmp_path, seeds=[0, 1])
    runs = study(MODULES, known, tmp_path, seeds=[2])
    assert len(compare(runs).failed) == 2 and len(read_runs(tmp_path / "runs.csv")) == 6
    assert not compare(study(MODULES, known, tmp_path, seeds=[1])).failed


HEAD = "network,seed,accuracy,wall_time_s,error,identity\n"


@pytest.mark.parametrize("name", ["runs.csv", "epochs.csv"])
@pytest.mark.parametrize(
    "content",
    ["name,value\n", "", "a\nb,c,d\n", HEAD + "original,0,0.9", HEAD + "original,0.5,0.9,1.0,,\n", "\0\1\2",
     b"\xff\xfe\xfa\n",
     HEAD + 2 * "original,0,0.9,1.0,,e3b0c44298fc\n"],
)  # fmt: skip
def test_a_foreign_or_damaged_table_is_named_and_left_alone(name, content, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is (not a table of a study|damaged)"):
        study(MODULES, lambda module, seed: pytest.fail("trained"), tmp_path)
    assert (tmp_path / name).read_bytes() == content


def test_idx_files_are_read_and_missing_ones_named(tmp_path):
    images, labels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3), np.array([4, 7], np.uint8)

    def idx(array):
        return b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()

    with pytest.raises(ValueError, match="install the Debian package dataset-fashion-mnist"):
        load_images(tmp_path)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    data = load_images(tmp_path)
    x, y = data["train"]
    assert x.shape == (2, 1, 3, 3) and x.mean() == pytest.approx(0, abs=1e-6) and x.std() == pytest.approx(1, rel=1e-5)
    assert y.tolist() == [4, 7]
    (tmp_path / "short").write_bytes(idx(images)[:-1])
    with pytest.raises(ValueError, match="short is truncated"):
        read_idx(tmp_path / "short")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="not an IDX file"):
        read_idx(tmp_path / "text")


def test_figures_of_a_study_show_its_numbers(tmp_path):
    times = {"latency_s": 2e-5, "tuned_latency_s": 1e-5, "gain": 0.5, "seeds": 5}
    change = {"accuracy": 0.9, "tuned_accuracy": 0.905, "change_points": 0.5, "low_points": 0.1, "high_points": 0.8}
    row = {"network": "net", "design": "chip"} | times | change
    table = pd.DataFrame([row, row | {"design": "other", "gain": 0.25}])
    bars, arrows = gains(table), moves(table[:1])
    assert [bar.get_height() for bar in bars.axes[0].patches] == [50, 25]
    assert [text.get_text() for text in bars.axes[0].texts] == ["50.0", "25.0"]
    start, end = arrows.axes[0].lines[:2]
    assert start.get_xydata().tolist() == [pytest.approx([20, 90])]
    assert end.get_xydata().tolist() == [pytest.approx([10, 90.5])]
    (interval,) = arrows.axes[0].collections[0].get_segments()
    assert interval[:, 1] == pytest.approx([90.1, 90.8])
    for figure, name in ((bars, "gains"), (arrows, "moves")):
        assert save_figure(figure, tmp_path / f"{name}.png", "a study").is_file()
