"""Accuracy of tuned networks against their original, measured: the same seeds, data and recipe for all.

Any ``train_and_evaluate(module, seed) -> accuracy`` will do; `dse.training.retrain` has one for images.  Every seed is
trained with every network and written down as soon as it is done, so that a study can be interrupted.  What the
trainings say is in `dse.training.equivalence`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dse.runs.files import write_whole

COLUMNS = ("network", "seed", "accuracy", "held_out_accuracy", "cpu_time_s", "error", "identity", "correct")


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes
    ----------
    accuracy : on the test images [0 .. 1].
    held_out_accuracy : on images that are for choices [0 .. 1]; NaN where there are none.
    correct : whether each test image is classified as labelled (images,), so that an interval can be over images too.
    """

    accuracy: float
    held_out_accuracy: float = math.nan
    correct: np.ndarray | None = None


def packed(correct: np.ndarray | None) -> str:
    """Which images are right as a short text: their number, and their bits, compressed, in base 64; "" for None."""
    if correct is None:
        return ""
    bits = np.packbits(np.asarray(correct, bool)).tobytes()
    return f"{len(correct)}:{base64.b64encode(zlib.compress(bits, 9)).decode()}"


def unpacked(text: str) -> np.ndarray | None:
    """What `packed` packed (images,); ValueError where the text is damaged."""
    if not text:
        return None
    count, _, rest = text.partition(":")
    try:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(rest, validate=True)), np.uint8)
        found = np.unpackbits(bits, count=int(count)).astype(bool)
    except (ValueError, binascii.Error, zlib.error):
        raise ValueError("the text of right and wrong images is damaged") from None
    if len(bits) != -(-int(count) // 8):
        raise ValueError(f"the text of right and wrong images is damaged: {8 * len(bits)} bits for {count} images")
    return found


def study(
    modules: Mapping[str, Callable[[], Any]],
    train_and_evaluate: Callable[[Any, int], float | Trained],
    directory: str | Path,
    seeds: Iterable[int] = range(5),
    identity: str | Mapping[str, str] = "",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Train every network at every seed, or continue where an earlier call stopped.

    Parameters
    ----------
    modules : ``{"original": make, "tuned": make}``, each a function that returns a new, untrained module.
    train_and_evaluate : takes a module and a seed, returns an accuracy from 0 to 1, or `Trained`.  What it raises, or
        an accuracy that is no number from 0 to 1 or not that of its right images, is kept as that seed's ``error``;
        the other seeds go on.
    directory : of ``runs.csv``, written after every training; a run with an error is tried again by the next call.
        It may hold further networks and seeds.
    seeds : each once.
    identity : what was trained, such as hashes of graph and recipe, of all networks or by network; another identity
        of the same network in the directory is refused.

    Returns the table of `COLUMNS`.
    """
    seeds = list(seeds)
    if not all(isinstance(seed, Integral) and not isinstance(seed, bool) and 0 <= seed < 2**32 for seed in seeds):
        raise ValueError(f"seeds are whole numbers from 0 to 2^32 - 1, got {seeds!r}")
    if odd := [name for name in modules if not isinstance(name, str) or not name.isprintable()]:
        raise ValueError(f"a network is called by a text of one line, got {odd[0]!r}")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {seeds}: give each once; a training that is repeated is no other sample")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "runs.csv"
    texts = dict.fromkeys(modules, identity) if isinstance(identity, str) else identity
    if lacking := [name for name in modules if name not in texts]:
        raise ValueError(f"identity has nothing of {lacking[0]!r}: give a text, or one for each network")
    short = {name: hashlib.sha256(texts[name].encode()).hexdigest()[:12] for name in modules}
    rows = _rows(path)
    for row in rows:
        if row["network"] in short and row["identity"] != short[row["network"]]:
            raise ValueError(f"{path} holds trainings of another network {row['network']!r}, or by another recipe; "
                             "give another directory")  # fmt: skip
    done = {(row["network"], row["seed"]) for row in rows if not row["error"]}
    for seed in seeds:
        for name, make in modules.items():
            if (name, seed) in done:
                continue
            row = _trained(name, seed, make, train_and_evaluate, short[name])
            rows = [old for old in _rows(path) if (old["network"], old["seed"]) != (name, seed)] + [row]
            write_whole(path, _csv(pd.DataFrame(rows, columns=list(COLUMNS))))
            progress(f"{name}, seed {seed}: {row['error'] or format(row['accuracy'], '.4f')}")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(path: Path) -> list[dict[str, Any]]:
    """Those that are there: another call may have written to the same directory."""
    return read_runs(path).to_dict("records") if path.exists() else []


def read_runs(path: str | Path) -> pd.DataFrame:
    """The table that `study` wrote to ``runs.csv``; ValueError where the file holds anything else."""
    path = Path(path)
    floats = ("accuracy", "held_out_accuracy", "cpu_time_s")
    kinds = dict.fromkeys(COLUMNS, str) | dict.fromkeys(floats, float) | {"seed": np.int64}
    missing = {name: ["nan"] for name in ("accuracy", "held_out_accuracy")}
    try:
        table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=missing)
    except ValueError as error:  # among them those of pandas and of bytes that are no text
        raise ValueError(f"{path} is not a table of a study, or is damaged: {' '.join(str(error).split())}") from None
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"{path} is not a table of a study: its columns are not {', '.join(COLUMNS)}")
    if table.drop(columns=[*missing]).isna().to_numpy().any() or not path.read_bytes().endswith(b"\n"):
        raise ValueError(f"{path} is damaged: a row of it ends early")
    twice = table[table.duplicated(["network", "seed"])]
    if len(twice):
        raise ValueError(f"{path} is damaged: {twice['network'].iloc[0]}, seed {twice['seed'].iloc[0]} is in it twice")
    for row in table.itertuples():
        try:
            wrong = _nonsense(row.accuracy, row.held_out_accuracy, unpacked(row.correct))
            if wrong and not row.error:
                raise ValueError(wrong)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {row.network}, seed {row.seed}: {error}") from None
    return table


def _trained(
    name: str, seed: int, make: Callable, train_and_evaluate: Callable[[Any, int], float | Trained], identity: str
) -> dict[str, Any]:
    start, found, error = time.process_time(), Trained(math.nan), ""
    try:
        found = _plain(train_and_evaluate(make(), seed))
        if error := _nonsense(found.accuracy, found.held_out_accuracy, found.correct):
            found = Trained(math.nan)
    except Exception as raised:  # one seed must not cost the others
        error = _told(raised)
    took = round(time.process_time() - start, 2)
    values = (name, seed, found.accuracy, found.held_out_accuracy, took, error, identity, packed(found.correct))
    return dict(zip(COLUMNS, values, strict=True))


def _plain(given: Any) -> Trained:
    """What a training gave, in plain numbers; an error where it is none."""
    found = given if isinstance(given, Trained) else Trained(given)
    for value in (found.accuracy, found.held_out_accuracy):
        if isinstance(value, bool | np.bool_ | str):
            raise TypeError(f"an accuracy is a number, got {value!r}")
    correct = None if found.correct is None else np.asarray(found.correct)
    return Trained(float(found.accuracy), float(found.held_out_accuracy), correct)


def _told(error: Exception) -> str:
    """An error as a line of text that a file can hold."""
    try:
        said = " ".join(str(error).split())[:200]
    except Exception:  # of an error's own making
        said = "it does not say what"
    return f"{type(error).__name__}: {said}".encode(errors="backslashreplace").decode()


def _nonsense(accuracy: float, held_out_accuracy: float, correct: np.ndarray | None) -> str:
    """What is wrong with accuracies and right images, or nothing."""
    if not 0 <= accuracy <= 1:
        return f"accuracy {accuracy} is not between 0 and 1"
    if not (math.isnan(held_out_accuracy) or 0 <= held_out_accuracy <= 1):
        return f"held-out accuracy {held_out_accuracy} is not between 0 and 1"
    if correct is None:
        return ""
    if correct.ndim != 1 or correct.dtype != bool or not len(correct):
        return f"correct is no row of True and False, one a test image: {correct.dtype} {correct.shape}"
    if abs(correct.mean() - accuracy) > 1e-6:
        return f"accuracy {accuracy} is not that of the right images, {correct.mean()}"
    return ""


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan").encode()
