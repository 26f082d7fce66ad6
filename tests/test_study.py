"""`dse.study`: seeds are paired, kept, resumed; a seed that fails is told; intervals and tests; data files."""

import gzip
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dse.output.explanation_figures import gains, tuned_pairs
from dse.output.figure_style import save_figure
from dse.training.accuracy_study import Trained, packed, read_runs, study, unpacked
from dse.training.equivalence import compare, holm, mean_of_two_way
from dse.training.images import load_images, read_idx, simple_images

ACCURACY = {("original", s): 0.90 + 0.002 * s for s in range(5)} | {("tuned", s): 0.901 + 0.002 * s for s in range(5)}
NO_ROW = "correct is no row of True and False, one a test image"
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
     (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
     (True, "TypeError: an accuracy is a number, got True"),
     (Trained(0.5, 7.0), "held-out accuracy 7.0 is not between 0 and 1"),
     (Trained(0.5, correct=np.ones((2, 2), bool)), f"{NO_ROW}: bool (2, 2)"),
     (Trained(0.5, correct=np.array([0, 1])), f"{NO_ROW}: int64 (2,)"),
     (Trained(0.5, correct=5), f"{NO_ROW}: int64 ()"),
     (Trained(0.9, correct=np.array([False, True])), "accuracy 0.9 is not that of the right images, 0.5")],
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
    columns = ["network", "seed", "accuracy", "error", "identity", "correct"]
    pd.testing.assert_frame_equal(continued[columns], whole[columns])
    digits = (tmp_path / "b" / "runs.csv").read_text().replace(whole["identity"][0], "012e45678901")
    (tmp_path / "b" / "runs.csv").write_text(digits)
    assert set(read_runs(tmp_path / "b" / "runs.csv")["identity"]) == {"012e45678901"}  # a text, not a number
    with pytest.raises(ValueError, match="holds trainings of another network 'original', or by another recipe"):
        study(MODULES, known, tmp_path / "a", identity="y")


def test_networks_join_a_study_and_each_has_its_identity(tmp_path):
    one = {"original": MODULES["original"]}
    study(one, known, tmp_path, identity={"original": "x"})
    asked = []
    runs = study(MODULES, lambda m, s: asked.append((m, s)) or known(m, s), tmp_path,
                 identity={"original": "x", "tuned": "y"})  # fmt: skip
    assert asked == [("tuned", s) for s in range(5)] and compare(runs).seeds == 5
    study(one, known, tmp_path, identity={"original": "x"})  # the other's identity does not matter
    with pytest.raises(ValueError, match="another network 'tuned'"):
        study(MODULES, known, tmp_path, identity={"original": "x", "tuned": "x"})


class Recorded:
    """A training that raises at the seeds given."""

    def __init__(self, *bad):
        self.bad = bad

    def __call__(self, module, seed):
        if seed in self.bad:
            raise RuntimeError("no")
        return ACCURACY[module, seed]


def test_seeds_that_are_no_whole_numbers_and_an_identity_too_few_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"seeds are whole numbers from 0 .*, got \['a'\]"):
        study(MODULES, known, tmp_path, seeds=["a"])
    with pytest.raises(ValueError, match="identity has nothing of 'tuned'"):
        study(MODULES, known, tmp_path, identity={"original": "x"})
    runs = study(MODULES, known, tmp_path)
    with pytest.raises(ValueError, match="no training of 'typo', but of 'original', 'tuned'"):
        compare(runs, tuned="typo")


def test_seeds_given_twice_are_refused_before_the_training(tmp_path):
    with pytest.raises(ValueError, match="give each once"):
        study(MODULES, lambda module, seed: pytest.fail("trained"), tmp_path, seeds=[0, 0, 1])


def test_errors_of_other_seeds_are_kept(tmp_path):
    study(MODULES, Recorded(1), tmp_path, seeds=[0, 1])
    runs = study(MODULES, known, tmp_path, seeds=[2])
    assert len(compare(runs).failed) == 2 and len(read_runs(tmp_path / "runs.csv")) == 6
    assert not compare(study(MODULES, known, tmp_path, seeds=[1])).failed


HEAD = "network,seed,accuracy,held_out_accuracy,cpu_time_s,error,identity,correct\n"


@pytest.mark.parametrize(
    "content",
    ["name,value\n", "", "a\nb,c,d\n", HEAD + "original,0,0.9", HEAD + "original,0.5,0.9,nan,1.0,,,\n", "\0\1\2",
     b"\xff\xfe\xfa\n",
     HEAD + 2 * "original,0,0.9,nan,1.0,,e3b0c44298fc,\n",
     HEAD + "original,0,0.9,nan,1.0,,e3b0c44298fc,8:AAAA\n"],
)  # fmt: skip
def test_a_foreign_or_damaged_table_is_named_and_left_alone(content, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"runs\.csv is (not a table of a study|damaged)"):
        study(MODULES, lambda module, seed: pytest.fail("trained"), tmp_path)
    assert (tmp_path / "runs.csv").read_bytes() == content


# ---------------------------------------------------------------------------------------------------------------------
# Right and wrong images, intervals over them, tests.


@pytest.mark.parametrize("count", [0, 1, 8, 9, 10_000])
def test_right_and_wrong_images_are_kept_compactly(count):
    correct = np.random.default_rng(count).random(count) < 0.92
    text = packed(correct)
    assert np.array_equal(unpacked(text), correct) and unpacked(text).dtype == bool
    assert len(text) < 1000 and packed(None) == "" and unpacked("") is None


@pytest.mark.parametrize("damage", [lambda t: t[:-8], lambda t: t.replace("100:", "900:"), lambda t: "x" + t])
def test_damaged_right_and_wrong_images_are_told(damage):
    with pytest.raises(ValueError, match="right and wrong images is damaged"):
        unpacked(damage(packed(np.arange(100) % 3 > 0)))


def two_way(rng, seeds, images, mean, of_seed, of_image, rest):
    """Differences by seed and image that follow the two-way random model."""
    parts = (of_seed * rng.normal(size=(seeds, 1)), of_image * rng.normal(size=(1, images)))
    return mean + parts[0] + parts[1] + rest * rng.normal(size=(seeds, images))


@pytest.mark.parametrize(("of_seed", "of_image", "rest"), [(1, 0, 1), (0, 1, 1), (0.3, 3, 5), (0, 0, 1)])
def test_the_interval_over_seeds_and_images_covers_the_mean_as_often_as_it_says(of_seed, of_image, rest):
    """Of 1,000 studies 95 % shall hold the mean; 3.5 standard deviations of that count are 2.4 %, or it errs wide."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(1000):
        mean, error, degrees = mean_of_two_way(two_way(rng, 10, 60, 0.4, of_seed, of_image, rest))
        held += abs(mean - 0.4) <= stats.t.ppf(0.975, degrees) * error
    assert held >= 926
    if of_seed or of_image:
        assert held <= 975


def test_the_interval_of_three_seeds_that_happened_to_agree_was_too_narrow():
    """Of 1,000 studies of three seeds 95 % shall hold the mean, and so shall the third of them that agree most."""
    rng, held = np.random.default_rng(6), []
    for _ in range(1000):
        d = two_way(rng, 3, 200, 0.4, 0.0, 1.0, 1.0)
        mean, error, degrees = mean_of_two_way(d)
        held.append((d.mean(axis=1).std(), abs(mean - 0.4) <= stats.t.ppf(0.975, degrees) * error))
    agree = [within for _, within in sorted(held)[:333]]
    assert np.mean([within for _, within in held]) >= 0.926 and np.mean(agree) >= 0.91


def test_the_error_over_seeds_and_images_is_that_of_a_crossed_bootstrap():
    """Both draw seeds and images; the bootstrap's variance counts the rest twice over, which here is small."""
    rng = np.random.default_rng(2)
    d = two_way(rng, 30, 400, 0, 0.5, 2, 0.5)
    draws = [d[np.ix_(rng.integers(0, 30, 30), rng.integers(0, 400, 400))].mean() for _ in range(2000)]
    assert mean_of_two_way(d)[1] == pytest.approx(np.std(draws), rel=0.08)


def test_without_an_effect_of_images_the_interval_is_the_paired_one():
    d = np.random.default_rng(3).normal(0, 1, (6, 1)) @ np.ones((1, 50))  # every image says the same
    mean, error, degrees = mean_of_two_way(d)
    assert (error, degrees) == pytest.approx((stats.sem(d[:, 0]), 5)) and mean == pytest.approx(d.mean())
    assert mean_of_two_way(np.zeros((4, 5))) == (0, 0, math.inf)
    assert math.isnan(mean_of_two_way(np.zeros((1, 5)))[1])


def judged(change, images=2000, seeds=10, noise=0.02, wrong=0.08):
    """A training whose tuned network is right on `change` more images."""

    def train(module, seed):
        rng = np.random.default_rng(seed)
        correct = np.random.default_rng(99).random(images) > wrong  # the same images are hard at every seed
        correct ^= rng.random(images) < noise
        if module == "tuned":
            correct ^= rng.random(images) < noise / 4
            others = np.flatnonzero(correct != (change > 0))
            correct[rng.permutation(others)[: abs(round(change * images))]] = change > 0
        return Trained(correct.mean(), 0.5, correct)

    return train


def test_a_study_with_images_has_its_interval_over_both(tmp_path):
    runs = study(MODULES, judged(0), tmp_path, seeds=range(10))
    found = compare(read_runs(tmp_path / "runs.csv"))
    assert found.images == 2000 and found.seeds == 10 and (runs["held_out_accuracy"] == 0.5).all()
    right = {name: np.array([unpacked(x) for x in runs.loc[runs["network"] == name, "correct"]]) for name in MODULES}
    mean, error, degrees = mean_of_two_way(100.0 * (right["tuned"].astype(float) - right["original"]))
    assert (found.change_points, found.error_points, found.degrees) == pytest.approx((mean, error, degrees))
    half = stats.t.ppf(0.975, degrees) * error
    assert (found.low_points, found.high_points) == pytest.approx((mean - half, mean + half))
    assert found.p_loss(0.5) == pytest.approx(stats.t.sf((mean + 0.5) / error, degrees))
    below = stats.t.cdf((mean - 0.5) / error, degrees)
    assert found.p_tost(0.5) == pytest.approx(max(found.p_loss(0.5), below))
    assert f"{found.seeds} seeds and 2,000 images" in found.text()
    for margin in (0.05, 0.2, 0.5, 2):  # the tests say what the interval does
        assert found.no_loss(margin) == (found.low_points > -margin)
        assert found.neutral(margin) == (found.low_points > -margin and found.high_points < margin)


def test_a_loss_and_a_gain_are_told_from_no_loss(tmp_path):
    worse = compare(study(MODULES, judged(-0.02), tmp_path / "worse", seeds=range(10)))
    better = compare(study(MODULES, judged(0.02), tmp_path / "better", seeds=range(10)))
    assert not worse.no_loss() and worse.high_points < 0 and worse.p_value < 0.01
    assert better.no_loss() and not better.neutral() and better.low_points > 0


def test_where_the_tuned_network_alone_fails_no_loss_is_not_claimed(tmp_path):
    """A network that diverges at one seed of ten is worse, however good it is at the others."""

    def train(module, seed):
        if (module, seed) == ("tuned", 4):
            raise ArithmeticError("the loss is nan in epoch 2")
        return judged(0.02)(module, seed)

    found = compare(study(MODULES, train, tmp_path / "tuned", seeds=range(10)))
    assert found.seeds == 9 and found.low_points > 0 and not found.no_loss() and math.isnan(found.p_loss())
    assert found.failed == ("tuned, seed 4: ArithmeticError: the loss is nan in epoch 2",)
    both = compare(study(MODULES, lambda m, s: train("tuned", s), tmp_path / "both", seeds=range(10)))
    assert both.seeds == 9 and both.tuned_failed == 0 and len(both.failed) == 2


def test_networks_tested_on_other_images_are_not_compared(tmp_path):
    runs = study(MODULES, lambda m, s: judged(0, 2000 if m == "tuned" else 1000)(m, s), tmp_path)
    with pytest.raises(ValueError, match="different numbers of images"):
        compare(runs)


def test_holms_procedure_is_that_of_his_paper():
    adjusted, divisors = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02]) and divisors.tolist() == [3, 3, 3, 4]
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05)[1].tolist() == [3, 2, 2, 4]  # it stops behind 0.01
    adjusted, divisors = holm([math.nan, 0.01, math.nan])  # what is planned counts before it is made
    assert adjusted[1] == pytest.approx(0.03) and np.isnan(adjusted[[0, 2]]).all() and divisors[1] == 3


def test_idx_files_are_read_and_missing_ones_named(tmp_path):
    images, labels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3), np.array([4, 7], np.uint8)

    def idx(array):
        return b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()

    with pytest.raises(ValueError, match="install the Debian package dataset-fashion-mnist"):
        load_images(tmp_path)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(ValueError, match="cannot hold out 5000 of 2 training images"):
        load_images(tmp_path)
    data = load_images(tmp_path, held_out=0)
    x, y = data["train"]
    assert x.shape == (2, 1, 3, 3) and x.mean() == pytest.approx(0, abs=1e-6) and x.std() == pytest.approx(1, rel=1e-5)
    assert y.tolist() == [4, 7] and len(data["held_out"][1]) == 0
    last = load_images(tmp_path, held_out=1)
    assert last["train"][1].tolist() == [4] and last["held_out"][1].tolist() == [7]
    assert last["held_out"][0].mean() > 1 and last["test"][1].tolist() == [4, 7]  # scaled as the images trained on
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:, :2])))
    with pytest.raises(ValueError, match=r"training images are \(3, 3\) pixels, test images \(2, 3\)"):
        load_images(tmp_path, held_out=0)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    with pytest.raises(ValueError, match="images of test have 1 dimensions"):
        load_images(tmp_path, held_out=0)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"not gzip")
    with pytest.raises(ValueError, match="cannot be read"):
        load_images(tmp_path, held_out=0)
    (tmp_path / "short").write_bytes(idx(images)[:-1])
    with pytest.raises(ValueError, match="short is truncated"):
        read_idx(tmp_path / "short")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="not an IDX file"):
        read_idx(tmp_path / "text")


def test_images_that_are_made_have_the_form_of_those_that_are_read():
    data = simple_images()
    assert {part: x.shape for part, (x, _) in data.items()} == {
        "train": (1000, 1, 28, 28), "held_out": (200, 1, 28, 28), "test": (200, 1, 28, 28)
    }  # fmt: skip
    assert all(set(y) == set(range(10)) and x.dtype == np.float32 for x, y in data.values())
    assert (simple_images()["test"][0] == data["test"][0]).all()


def test_figures_of_a_study_show_its_numbers(tmp_path):
    names = {"data": "set", "network": "net", "capacity": "kept", "margin_points": 0.5, "seeds_planned": 10}
    done = {"tuned": "a", "seeds_done": 10, "change_points": 0.1, "low_points": -0.2, "high_points": 0.4}
    longer = {"tuned": "a, longer", "seeds_done": 0, "form": "a"}
    pairs = pd.DataFrame([names | done, names | {"tuned": "b", "seeds_done": 3}, names | longer])
    pairs["form"] = pairs["form"].fillna(pairs["tuned"])
    gain = (("a", "chip", 0.5), ("b", "chip", 0.25), ("a", "other", 0.1))
    saved = pd.DataFrame(gain, columns=["tuned", "design", "gain"]).assign(network="net")
    bars, rows = gains(saved.assign(network=saved["tuned"])), tuned_pairs(pairs, saved)
    assert [bar.get_height() for bar in bars.axes[0].patches][:2] == [50, 25]
    left, right = rows.axes
    assert left.lines[0].get_xdata() == pytest.approx([50, 25, 50])  # trained for longer, it runs as fast
    assert left.lines[1].get_xdata() == pytest.approx([10, math.nan, 10], nan_ok=True)
    (interval,) = right.collections[0].get_segments()
    assert interval[:, 0] == pytest.approx([-0.2, 0.4])
    assert [text.get_text() for text in right.texts] == ["3 of 10 seeds", "0 of 10 seeds"]
    for figure, name in ((bars, "gains"), (rows, "pairs")):
        assert save_figure(figure, tmp_path / f"{name}.png", "a study").is_file()


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("given", "error"),
    [(Trained(np.array(0.5)), ""), (Trained(np.float32(0.5)), ""), (Trained(0.5, None), "TypeError"),
     (Trained(True), "TypeError: an accuracy is a number"), (Trained("0.9"), "TypeError: an accuracy is a number"),
     (Trained(0.5j), "TypeError"),
     (Trained(0.5, math.nan, [[True], [True, False]]), "ValueError"), (Trained("x", math.nan, 5), "TypeError"),
     (ValueError("bad \udcff file"), "ValueError: bad \\udcff file"), (Silent(), "Silent: it does not say what")],
)  # fmt: skip
def test_a_training_of_the_wrong_type_left_a_table_that_could_not_be_read(given, error, tmp_path):
    def train(module, seed):
        if seed == 1 and isinstance(given, Exception):
            raise given
        return given if seed == 1 else 0.5

    study(MODULES, train, tmp_path, seeds=[1, 2])
    rows = read_runs(tmp_path / "runs.csv")
    assert (
        rows["seed"].tolist() == [1, 1, 2, 2]
        and rows["error"][0].startswith(error)
        and bool(error) == bool(rows["error"][0])
    )
    assert (rows["accuracy"][2:] == 0.5).all() and rows["accuracy"].isna().tolist()[:2] == [bool(error)] * 2
    assert len(study(MODULES, lambda module, seed: 0.5, tmp_path, seeds=[1, 2, 3])) == 6


def test_a_second_study_in_a_directory_lost_the_rows_of_the_first(tmp_path):
    def train(module, seed):
        study({"other": lambda: 0}, lambda module, seed: 0.5, tmp_path, seeds=[2, 3])
        return 0.5

    study({"original": lambda: 0}, train, tmp_path, seeds=[1])
    assert len(read_runs(tmp_path / "runs.csv")) == 3


def test_rows_that_no_training_gives_were_taken_for_trainings(tmp_path):
    path = tmp_path / "runs.csv"
    study(MODULES, lambda module, seed: 0.5, tmp_path, seeds=[1])
    whole = path.read_text()
    for bad in ("93.0", "inf", "nan"):
        path.write_text(whole.replace("0.5,", f"{bad},", 1))
        with pytest.raises(ValueError, match="is damaged: original, seed 1: accuracy"):
            read_runs(path)
    path.write_text(whole[:-9])
    with pytest.raises(ValueError, match="a row of it ends early"):
        read_runs(path)
    for name, seeds in (("a\rb", [1]), ("a", [2**70]), ("a", [-1])):
        with pytest.raises(ValueError, match="a text of one line|whole numbers from 0"):
            study({name: lambda: 0}, lambda module, seed: 0.5, tmp_path / "other", seeds=seeds)
