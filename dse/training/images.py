"""Small images to train on: IDX files as MNIST and Fashion-MNIST have them."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Files of an MNIST-like data set, with or without ``.gz``."""

HELD_OUT = 5000
"""Training images that are kept from training [1]: the last in the file."""


def read_idx(path: str | Path) -> np.ndarray:
    """An IDX file, gzipped or not, as an array of unsigned bytes."""
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    rank = content[3]
    dims = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    if len(content) != 4 + 4 * rank + math.prod(dims):
        raise ValueError(f"{path} is truncated: {len(content)} bytes for an array of {dims}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(dims)


def load_images(directory: str | Path, held_out: int = HELD_OUT) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (n, 1, rows, columns) float32 and labels (n,) int64, of ``train``, ``held_out`` and ``test``.

    `directory` : of the four IDX files of Fashion-MNIST (Xiao et al., arXiv 1708.07747, MIT licence) or their like.
    `held_out` : so many training images, the last of the file, are for choices: kept from training.

    Values have mean 0 and deviation 1 over ``train``.  ValueError names a file that is missing, damaged or of another
    shape.
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
        if images.ndim != 3 or labels.ndim != 1:
            raise ValueError(f"{directory}: images of {part} have {images.ndim} dimensions and labels {labels.ndim}, "
                             "expected 3 (n, rows, columns) and 1 (n)")  # fmt: skip
        if len(images) != len(labels):
            raise ValueError(f"{directory}: {len(images)} images but {len(labels)} labels in {part}")
        found[part] = images[:, None].astype(np.float32), labels.astype(np.int64)
    (train, labels), test = found["train"], found["test"]
    if train.shape[1:] != test[0].shape[1:]:
        raise ValueError(f"{directory}: training images are {train.shape[2:]} pixels, test images {test[0].shape[2:]}")
    if not 0 <= held_out < len(train):
        raise ValueError(f"{directory}: cannot hold out {held_out} of {len(train)} training images")
    split = len(train) - held_out
    parts = {"train": (train[:split], labels[:split]), "held_out": (train[split:], labels[split:]), "test": test}
    mean, deviation = train[:split].mean(dtype=np.float64), train[:split].std(dtype=np.float64)
    if deviation == 0:
        raise ValueError(f"{directory}: all pixels of the training images are {mean:g}: there is nothing to learn")
    return {part: ((x - np.float32(mean)) / np.float32(deviation), y) for part, (x, y) in parts.items()}


def simple_images(train: int = 1000, held_out: int = 200, test: int = 200) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images that are made, of the form of `load_images`, 28 x 28 of ten classes: a pattern a class, in noise."""
    rng = np.random.default_rng(0)
    patterns = np.kron(rng.normal(0, 1, (10, 1, 7, 7)), np.ones((4, 4)))
    parts = {}
    for part, n in (("train", train), ("held_out", held_out), ("test", test)):
        labels = rng.integers(0, 10, n)
        parts[part] = (
            (patterns[labels] + rng.normal(0, 2, (n, 1, 28, 28))).astype(np.float32),
            labels.astype(np.int64),
        )
    return parts
