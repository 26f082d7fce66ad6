"""Accuracy of a tuned network against the original, measured: the same seeds, data and recipe for both.

Any ``train_and_evaluate(module, seed) -> accuracy`` will do; `dse.tuning.retrain` has one for images.  Every seed is
trained with both networks and written down as soon as it is done, so that a study can be interrupted.  What is
compared is the difference within a seed (a paired t interval).  The margin is stated before, not after.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from dse.runs.files import write_whole

MARGIN = 0.5
"""Margin within which accuracy counts as unchanged [percentage points]."""

LEAST_SEEDS = 5
"""Fewest seeds of a study [1]."""

COLUMNS = ("network", "seed", "accuracy", "wall_time_s", "error", "identity")
EPOCHS = ("network", "seed", "epoch", "accuracy", "wall_time_s")


@dataclass(frozen=True)
class Comparison:
    """Tuned against original.

    Attributes
    ----------
    seeds : that ended with an accuracy for both [1].
    original, tuned : mean accuracies over these seeds [0 .. 1].
    change_points, low_points, high_points : mean difference within a seed, and its 95 % interval [percentage points].
    p_value : of the paired t test that there is no difference.
    failed : what went wrong, by network and seed.
    """

    seeds: int
    original: float
    tuned: float
    change_points: float
    low_points: float
    high_points: float
    p_value: float
    failed: tuple[str, ...]

    def neutral(self, margin_points: float = MARGIN) -> bool:
        """Whether the whole interval lies within the margin, with enough seeds to say so."""
        inside = -margin_points <= self.low_points and self.high_points <= margin_points
        return self.seeds >= LEAST_SEEDS and inside

    def no_loss(self, margin_points: float = MARGIN) -> bool:
        """Whether the interval excludes a loss of the margin, with enough seeds to say so."""
        return self.seeds >= LEAST_SEEDS and self.low_points > -margin_points

    def text(self, margin_points: float = MARGIN) -> str:
        """The finding as a sentence."""
        lines = [f"failed: {failure}" for failure in self.failed]
        if self.seeds < 2:
            return "\n".join([f"{self.seeds} seeds with both accuracies: no interval", *lines])
        found = "accuracy-neutral" if self.neutral(margin_points) else "not shown to be neutral"
        if found != "accuracy-neutral" and self.no_loss(margin_points):
            found = f"no loss of {margin_points:g} points"
        first = (
            f"{100 * self.original:.2f} % -> {100 * self.tuned:.2f} %, change {self.change_points:+.2f} points, 95 % "
            f"interval {self.low_points:+.2f} to {self.high_points:+.2f} ({self.seeds} seeds, paired, p = "
            f"{self.p_value:.2g}): {found} at a margin of {margin_points:g} points"
        )
        return "\n".join([first, *lines])


def study(
    modules: Mapping[str, Callable[[], Any]],
    train_and_evaluate: Callable[[Any, int], float],
    directory: str | Path,
    seeds: Iterable[int] = range(LEAST_SEEDS),
    identity: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Train every network at every seed, or continue where an earlier call stopped.

    Parameters
    ----------
    modules : ``{"original": make, "tuned": make}``, each a function that returns a new, untrained module.
    train_and_evaluate : takes a module and a seed, returns an accuracy from 0 to 1.  What it raises, or an accuracy
        that is no number from 0 to 1, is kept as that seed's ``error``; the other seeds go on.  Its attribute
        ``history``, if any, (rows of epoch, accuracy, seconds) goes into ``epochs.csv`` when it has not failed.
    directory : of ``runs.csv``, written after every training; a run with an error is tried again by the next call.
    seeds : each once.
    identity : what was trained, such as hashes of graphs and recipe; another identity in the directory is refused.

    Returns the table of `COLUMNS`.
    """
    seeds = list(seeds)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {seeds}: give each once; a training that is repeated is no other sample")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path, epochs = directory / "runs.csv", directory / "epochs.csv"
    short = hashlib.sha256(identity.encode()).hexdigest()[:12]
    rows = read_runs(path).to_dict("records") if path.exists() else []
    if any(row["identity"] != short for row in rows):
        raise ValueError(f"{path} holds a study of other networks or another recipe; give another directory")
    if epochs.exists():
        _read(epochs, EPOCHS)  # what cannot be read is told before the training
    done = {(row["network"], row["seed"]) for row in rows if not row["error"]}
    for seed in seeds:
        for name, make in modules.items():
            if (name, seed) in done:
                continue
            row = _trained(name, seed, make, train_and_evaluate, short)
            rows = [old for old in rows if (old["network"], old["seed"]) != (name, seed)] + [row]
            progress(f"{name}, seed {seed}: {row['error'] or format(row['accuracy'], '.4f')}")
            write_whole(path, _csv(pd.DataFrame(rows, columns=list(COLUMNS))))
            if not row["error"]:
                _keep_history(epochs, name, seed, getattr(train_and_evaluate, "history", None) or ())
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_runs(path: str | Path) -> pd.DataFrame:
    """The table that `study` wrote to ``runs.csv``; ValueError where the file holds anything else."""
    return _read(Path(path), COLUMNS)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A table of the study with these columns, one row a network and seed (and epoch)."""
    kinds = {"network": str, "seed": np.int64, "epoch": np.int64, "accuracy": float, "wall_time_s": float,
             "error": str, "identity": str}  # fmt: skip
    try:
        table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={"accuracy": ["nan"]})
    except ValueError as error:  # among them those of pandas and of bytes that are no text
        raise ValueError(f"{path} is not a table of a study, or is damaged: {' '.join(str(error).split())}") from None
    if tuple(table.columns) != columns:
        raise ValueError(f"{path} is not a table of a study: its columns are not {', '.join(columns)}")
    if table.drop(columns="accuracy").isna().to_numpy().any():
        raise ValueError(f"{path} is damaged: a row of it ends early")
    twice = table[table.duplicated([name for name in ("network", "seed", "epoch") if name in columns])]
    if len(twice):
        raise ValueError(f"{path} is damaged: {twice['network'].iloc[0]}, seed {twice['seed'].iloc[0]} is in it twice")
    return table


def _trained(name: str, seed: int, make: Callable, train_and_evaluate: Callable, identity: str) -> dict[str, Any]:
    start, accuracy, error = time.perf_counter(), math.nan, ""
    try:
        accuracy = float(train_and_evaluate(make(), seed))
        if not 0 <= accuracy <= 1:
            accuracy, error = math.nan, f"accuracy {accuracy} is not between 0 and 1"
    except Exception as raised:  # one seed must not cost the others
        error = f"{type(raised).__name__}: {' '.join(str(raised).split())[:200]}"
    took = round(time.perf_counter() - start, 2)
    return dict(zip(COLUMNS, (name, seed, accuracy, took, error, identity), strict=True))


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan").encode()


def _keep_history(path: Path, name: str, seed: int, history: Iterable[tuple[int, float, float]]) -> None:
    labels = {"network": name, "seed": seed}
    new = [labels | {"epoch": e, "accuracy": a, "wall_time_s": round(s, 2)} for e, a, s in history]
    if not new:
        return
    old = _read(path, EPOCHS).to_dict("records") if path.exists() else []
    old = [row for row in old if (row["network"], row["seed"]) != (name, seed)]
    write_whole(path, _csv(pd.DataFrame([*old, *new])))


def compare(runs: pd.DataFrame, original: str = "original", tuned: str = "tuned") -> Comparison:
    """The paired comparison of a study's runs; seeds that lack one of the two are left out and named."""
    good = runs[runs["error"].fillna("") == ""].pivot(index="seed", columns="network", values="accuracy")
    both = good.reindex(columns=[original, tuned]).dropna()
    bad = runs[runs["error"].fillna("") != ""]
    failed = tuple(f"{row['network']}, seed {row['seed']}: {row['error']}" for _, row in bad.iterrows())
    points = 100 * (both[tuned] - both[original]).to_numpy()
    change = float(points.mean()) if len(points) else math.nan
    low = high = p_value = math.nan
    if len(points) > 1:
        spread = stats.sem(points)
        low, high = stats.t.interval(0.95, len(points) - 1, change, spread) if spread else (change, change)
        p_value = float(stats.ttest_1samp(points, 0).pvalue) if spread else float(change == 0)
    means = [float(both[name].mean()) if len(both) else math.nan for name in (original, tuned)]
    return Comparison(len(points), means[0], means[1], change, float(low), float(high), p_value, failed)


# ---------------------------------------------------------------------------------------------------------------------
# Data.

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Files of an MNIST-like data set, with or without ``.gz``."""


def read_idx(path: str | Path) -> np.ndarray:
    """An IDX file, gzipped or not, as an array of unsigned bytes."""
    path = Path(path)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    rank = content[3]
    dims = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    if len(content) != 4 + 4 * rank + math.prod(dims):
        raise ValueError(f"{path} is truncated: {len(content)} bytes for an array of {dims}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(dims)


def load_images(directory: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (n, 1, rows, columns) float32 of mean 0 and deviation 1, and labels (n,) int64, of ``train`` and ``test``.

    `directory`: of the four IDX files of Fashion-MNIST (Xiao et al., arXiv 1708.07747, MIT licence) or their like.
    """
    directory = Path(directory)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part, names in FILES.items():
        paths = [next((p for p in (directory / n, directory / f"{n}.gz") if p.is_file()), None) for n in names]
        existing = [path for path in paths if path is not None]
        if len(existing) < len(paths):
            raise ValueError(
                f"{directory} lacks {names[paths.index(None)]}(.gz); install the Debian package dataset-fashion-mnist "
                "(apt-get install dataset-fashion-mnist, files in /usr/share/datasets/fashion-mnist), or give a "
                "directory of IDX files"
            )
        images, labels = (read_idx(path) for path in existing)
        if len(images) != len(labels):
            raise ValueError(f"{directory}: {len(images)} images but {len(labels)} labels in {part}")
        found[part] = images[:, None].astype(np.float32), labels.astype(np.int64)
    mean, deviation = found["train"][0].mean(dtype=np.float64), found["train"][0].std(dtype=np.float64)
    return {part: ((x - np.float32(mean)) / np.float32(deviation), y) for part, (x, y) in found.items()}
