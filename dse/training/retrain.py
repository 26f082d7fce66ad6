"""Training on the CPU with torch: a recipe for small images, from new weights or from trained ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from numbers import Integral
from pathlib import Path

import numpy as np

from dse.training.accuracy_study import Trained
from dse.training.graph_modules import GraphModule, graph_of

import torch  # isort: skip  # after graph_modules, which says what to install where it is missing
from torch.nn import functional as F  # isort: skip

__all__ = ["GraphModule", "ImageTraining", "graph_of"]

OPTIMISERS = ("sgd", "adamw")


class ImageTraining:
    """``train_and_evaluate(module, seed) -> Trained`` on small images: one cycle of the rate over all epochs.

    Parameters
    ----------
    data : from `dse.training.images.load_images`.
    epochs, batch, peak_rate, decay : of the recipe; the same for every network and seed of a comparison.
    optimiser : ``sgd`` (Nesterov) or ``adamw``; the momentum runs from 0.95 to 0.85 and back, against the rate.
    start : where the weights of a seed lie that are tuned further; None = train from new weights of that seed.
    finish : called with the trained module and the seed, for example to keep its weights.

    One thread, all randomness from the seed: equal seeds give equal batches to every network.  Held-out and test
    images are read once, after the last epoch.
    """

    def __init__(
        self, data: Mapping[str, tuple[np.ndarray, np.ndarray]], epochs: int = 8, batch: int = 128,
        peak_rate: float = 0.1, decay: float = 5e-4, optimiser: str = "sgd",
        start: Callable[[int], Path] | None = None, finish: Callable[[GraphModule, int], None] | None = None,
    ) -> None:  # fmt: skip
        _check_images(data)
        if optimiser not in OPTIMISERS:
            raise ValueError(f"optimiser {optimiser!r} is unknown; choose among {', '.join(OPTIMISERS)}")
        whole = all(isinstance(n, Integral) and not isinstance(n, bool) for n in (epochs, batch))
        if not whole or epochs < 1 or not 1 <= batch <= len(data["train"][0]):
            raise ValueError(f"expected at least one epoch and a batch of 1 to {len(data['train'][0])} images, whole "
                             f"numbers, got {epochs!r} epochs and batches of {batch!r}")  # fmt: skip
        if not 0 < peak_rate < math.inf or not 0 <= decay < math.inf:
            raise ValueError(f"expected a rate above 0 and a decay of 0 or more, got {peak_rate!r} and {decay!r}")
        self.data, self.epochs, self.batch, self.peak_rate, self.decay = data, epochs, batch, peak_rate, decay
        self.optimiser, self.start, self.finish = optimiser, start, finish

    @property
    def identity(self) -> str:
        """The recipe as text, with a hash of the images and labels."""
        begin = "new" if self.start is None else "trained"
        return f"{self.optimiser} {self.epochs} {self.batch} {self.peak_rate} {self.decay} {begin} {self._data_hash}"

    @cached_property
    def _data_hash(self) -> str:
        digest = hashlib.sha256()
        for part in ("train", "held_out", "test"):
            for array in self.data[part]:
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def check(self, module: GraphModule) -> None:
        """ValueError where the network takes images of another shape, or has fewer classes than the labels."""
        shape, takes = self.data["train"][0].shape[1:], module.input_shape[1:]
        if len(shape) != len(takes) or any(n not in (None, m) for n, m in zip(takes, shape, strict=True)):
            raise ValueError(f"the network takes images {_by(takes)}, the data set has {_by(shape)}")
        with torch.no_grad():
            made = tuple(module.eval()(torch.zeros(2, *shape)).shape)
        classes = 1 + max(int(labels.max(initial=0)) for _, labels in self.data.values())
        if len(made) != 2 or made[0] != 2 or made[1] < classes:
            raise ValueError(f"the network makes {_by(made)} from 2 images, the labels need 2 x {classes}")

    def __call__(self, module: GraphModule, seed: int) -> Trained:
        """Train from that seed; accuracies after the last epoch.  ArithmeticError where the loss is not finite."""
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.check(module)
        if self.start is None:
            module.reset()
        else:
            module.load(self.start(seed))
        for weight in module.parameters():
            if weight.dim() == 4:  # half the time on a CPU
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        order = np.random.default_rng(seed)
        x, y = (torch.from_numpy(part) for part in self.data["train"])
        x = x.to(memory_format=torch.channels_last)
        optimiser = self._optimiser(module)
        steps = self.epochs * (len(x) // self.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.peak_rate, steps, pct_start=0.2)
        module.train()
        for epoch in range(1, self.epochs + 1):
            shuffled = order.permutation(len(x))
            for at in range(0, len(x) - self.batch + 1, self.batch):
                index = torch.from_numpy(shuffled[at : at + self.batch])
                loss = F.cross_entropy(module(x[index]), y[index])
                if not torch.isfinite(loss):
                    raise ArithmeticError(f"the loss is {loss.item()} in epoch {epoch}")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        if self.finish is not None:
            self.finish(module, seed)
        held_out, correct = (self._correct(module, part) for part in ("held_out", "test"))
        return Trained(float(correct.mean()), float(held_out.mean()) if len(held_out) else math.nan, correct)

    def _optimiser(self, module: GraphModule) -> torch.optim.Optimizer:
        if self.optimiser == "adamw":
            return torch.optim.AdamW(module.parameters(), self.peak_rate, weight_decay=self.decay)
        return torch.optim.SGD(module.parameters(), self.peak_rate, 0.9, nesterov=True, weight_decay=self.decay)

    def _correct(self, module: GraphModule, part: str) -> np.ndarray:
        """Whether each image of a part is classified as labelled (n,)."""
        module.eval()
        x, y = self.data[part]
        found = [y[:0] == 1]
        with torch.no_grad():
            for i in range(0, len(x), 500):
                scores = module(torch.from_numpy(x[i : i + 500]))
                if not torch.isfinite(scores).all():
                    raise ArithmeticError(f"scores of {part} images are not finite")
                found.append(scores.argmax(1).numpy() == y[i : i + 500])
        return np.concatenate(found)


def _check_images(data: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """ValueError where the three parts are not images and labels that go together."""
    shapes, parts = set(), dict(data.items())
    for part in ("train", "held_out", "test"):
        if part not in parts:
            raise ValueError(
                f"the data have no part {part!r}; expected train, held_out and test, such as of load_images"
            )
        x, y = parts[part]
        if x.dtype != np.float32 or x.ndim != 4 or y.dtype != np.int64 or y.shape != x.shape[:1]:
            raise ValueError(f"{part}: expected images (n, channels, height, width) of float32, labels (n,) of int64, "
                             f"got {x.shape} of {x.dtype} and {y.shape} of {y.dtype}")  # fmt: skip
        if y.min(initial=0) < 0:
            raise ValueError(f"{part}: a label is {y.min()}; labels count from 0")
        if part != "held_out" and not len(x):
            raise ValueError(f"{part} has no images")
        shapes |= {x.shape[1:]} if len(x) else set()
    if len(shapes) > 1:
        raise ValueError(f"images of different shapes: {' and '.join(map(_by, sorted(shapes)))}")


def _by(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if n is None else str(n) for n in shape)
