"""A second look at a certificate, by plain and slow code.

The boxes must cover the space: they are in it, no two share a design, and their designs add up to the space's.  The
bounds of each box are computed again for its corners as single `Accelerator`s: the area of the smallest corner, and
for the latency of the best corner the plain roofline of `dse.costs.formulas` and of each layer's ports, or where these
do not suffice the mapper's own bound.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dse.costs.formulas import lower_bounds
from dse.hardware.accelerator import Accelerator
from dse.networks.layers import MacLayer, Network, VectorLayer
from dse.proof.bounds_of_designs import COMPLETE, DesignBounds
from dse.proof.boxes import Kind
from dse.proof.branch_and_bound import EVALUATED, Archive, Boxes, factors_within
from dse.proof.certificate import certifiable_networks, read_boxes, trusted_boxes
from dse.runs.files import RunDirectoryError, checked_path, hash_of
from dse.runs.run_directory import CERTIFICATE, CERTIFIED_BOXES

ROOM = 1e-9
"""Numbers that are equal but for rounding differ by less."""


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Parameters
    ----------
    proven : the share that the boxes prove, computed again.
    boxes, designs : that cover the space.
    limits : most latency and area of the designs that count.
    plain, compiled, complete : boxes of the sample whose bound the plain roofline gave, a bound of the compiled model,
        and a complete search over the mappings.
    lines : the same in words.
    """

    proven: float
    boxes: int
    designs: int
    limits: dict[str, float]
    plain: int
    compiled: int
    complete: int

    @property
    def lines(self) -> list[str]:
        n = self.plain + self.compiled + self.complete
        under = "".join(f", of designs with {name} at most {value:g}" for name, value in self.limits.items())
        return [
            f"{self.boxes:,} boxes cover all {self.designs:,} designs of the space, each once.",
            f"They prove {100 * self.proven:.3g} %{under}.",
            f"Of {n:,} boxes looked at again, {self.plain:,} follow from the plain roofline, {self.compiled:,} from "
            f"the compiled bounds, computed again, {self.complete:,} from a complete search, done again.",
        ]


def check_certificate(problem: Any, directory: str | os.PathLike, *, sample: int = 200, seed: int = 0) -> Checked:
    """Check the certificate of a run.

    Parameters
    ----------
    problem : of the run.
    directory : of the run.
    sample : boxes whose bounds are computed again, those nearest to the factor first and others at random.
    seed : of the random ones.

    Raises RunDirectoryError that names the box which is wrong.
    """
    path = checked_path(directory, "directory")
    kept = read_boxes(path / CERTIFIED_BOXES)
    if kept is None:
        raise RunDirectoryError(f"{path} has no {CERTIFIED_BOXES}; run: dse certify {path}")
    networks, weights = certifiable_networks(problem)
    bounding = DesignBounds(problem.space, networks, weights, problem.technology)
    boxes, _ = trusted_boxes(problem.space, bounding)
    every = Boxes.join([kept.open, kept.done])
    _check_numbers(every)
    _check_cover(boxes.kinds, every)
    _check_front(bounding, kept.archive_X, kept.archive_F)
    limits = kept.told["of"]["limits"]
    caps = limits.get("latency_s", math.inf), limits.get("area_mm2", math.inf)
    factors = factors_within(Archive(kept.archive_F, kept.archive_X), every, caps)
    proven = max(1.0, float(factors.max()))
    near = np.argsort(-factors, kind="stable")[: sample // 2]
    others = np.random.default_rng(seed).permutation(len(every))[: sample - len(near)]
    counts = {"plain": 0, "compiled": 0, "complete": 0}
    for i in np.unique(np.concatenate([near, others])).tolist():
        counts[_check_box(boxes.kinds, bounding, networks, weights, every, i)] += 1
    _check_told(path, kept.told["of"], problem.space.hash)
    return Checked(proven - 1, len(every), int(problem.space.size), dict(limits), **counts)


def _check_numbers(every: Boxes) -> None:
    """RunDirectoryError where a bound is no positive number."""
    wrong = np.flatnonzero(~((every.latency > 0) & (every.area > 0) & np.isfinite(every.area)))
    if len(wrong):
        i = int(wrong[0])
        raise RunDirectoryError(
            f"box {i} of {CERTIFIED_BOXES}: latency {every.latency[i]:g} s and area {every.area[i]:g} mm2 are no bounds"
        )


def _check_told(path: Path, of: dict[str, Any], space_hash: str) -> None:
    """RunDirectoryError unless the boxes are of this space and front, and those that `certificate.json` tells of."""
    if of.get("space") != space_hash or of.get("front") != hash_of((path / "front.csv").read_bytes()):
        raise RunDirectoryError(f"{CERTIFIED_BOXES} is of another space or front than those of {path}")
    if not (path / CERTIFICATE).is_file():
        return
    try:
        content = json.loads((path / CERTIFICATE).read_text(encoding="utf-8"))
        same = content["limits"] == of["limits"] and content["boxes"]["sha256"] == hash_of(
            (path / CERTIFIED_BOXES).read_bytes()
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{path / CERTIFICATE} is damaged ({error}); run dse certify again") from None
    if not same:
        raise RunDirectoryError(f"{CERTIFIED_BOXES} is not the file that {CERTIFICATE} tells of; run dse certify again")


def _check_front(bounding: DesignBounds, X: np.ndarray, F: np.ndarray) -> None:
    """RunDirectoryError unless the designs of the front have their objectives, by one of the two mappers."""
    levels = np.array([len(v.levels) for v in bounding.space.variables])
    if len(X) and (X.shape[1] != len(levels) or (X < 0).any() or (X >= levels).any()):
        raise RunDirectoryError(f"{CERTIFIED_BOXES}: a design of the front lies outside the space")
    left = np.arange(len(X))
    for effort in ("default", "complete"):
        if len(left):
            found = bounding.designs(X[left], effort)[:, :2]
            left = left[~np.isclose(found, F[left], rtol=ROOM, atol=0).all(axis=1)]
    if len(left):
        raise RunDirectoryError(f"{CERTIFIED_BOXES}: design {left[0]} of the front has other objectives than it says")


def _check_cover(kinds: Sequence[Kind], every: Boxes) -> None:
    """RunDirectoryError unless the boxes hold every design of the space once."""
    if not len(every) or every.kind.min() < 0 or every.kind.max() >= len(kinds):
        raise RunDirectoryError(f"no box of {CERTIFIED_BOXES}, or one in a kind of categories that the space lacks")
    for number, kind in enumerate(kinds):
        m = len(kind.axes)
        rows = np.flatnonzero(every.kind == number)
        if len(rows) and (every.category[rows].min() < 0 or every.category[rows].max() >= len(kind.categories)):
            raise RunDirectoryError(f"a box of {CERTIFIED_BOXES} lies in a category that the space does not have")
        for category in range(len(kind.categories)):
            here = rows[every.category[rows] == category]
            boxes = [(int(i), every.low[i, :m].tolist(), every.high[i, :m].tolist()) for i in here]
            _cover([0] * m, kind.tops.tolist(), boxes, (number, category))


def _cover(low: list[int], high: list[int], boxes: list[tuple[int, list[int], list[int]]], where: tuple) -> None:
    """RunDirectoryError unless boxes fill the one from `low` to `high` exactly: cut in two where no box is cut."""
    todo = [(low, high, boxes)]
    while todo:
        low, high, boxes = todo.pop()
        if not boxes:
            raise RunDirectoryError(f"no box of {CERTIFIED_BOXES} holds levels {low} to {high} of category {where}")
        if len(boxes) == 1:
            i, a, b = boxes[0]
            if a != low or b != high:
                raise RunDirectoryError(
                    f"box {i} of {CERTIFIED_BOXES} holds levels {a} to {b} of category {where}, "
                    f"expected {low} to {high}"
                )
            continue
        axis, at = _uncut(low, high, boxes)
        below = [box for box in boxes if box[2][axis] < at]
        above = [box for box in boxes if box[2][axis] >= at]
        todo.append((low, [*high[:axis], at - 1, *high[axis + 1 :]], below))
        todo.append(([*low[:axis], at, *low[axis + 1 :]], high, above))


def _uncut(low: list[int], high: list[int], boxes: list[tuple[int, list[int], list[int]]]) -> tuple[int, int]:
    """An axis and a level at which some boxes begin and none goes on from below, the most even such cut."""
    best = (-1, -1, -1)
    for axis in range(len(low)):
        begin = sorted(box[1][axis] for box in boxes)
        end = sorted(box[2][axis] for box in boxes)
        done = 0
        for count, at in enumerate(begin):
            if at <= low[axis] or (count and begin[count - 1] == at):
                continue
            while done < len(end) and end[done] < at:
                done += 1
            if done == count and min(count, len(boxes) - count) > best[0]:
                best = (min(count, len(boxes) - count), axis, at)
    if best[0] < 0:
        raise RunDirectoryError(f"box {boxes[0][0]} of {CERTIFIED_BOXES} shares designs with box {boxes[1][0]}")
    return best[1], best[2]


def _check_box(
    kinds: Sequence[Kind],
    bounding: DesignBounds,
    networks: Sequence[Network],
    weights: Sequence[float],
    every: Boxes,
    i: int,
) -> str:
    """How the bounds of a box follow; RunDirectoryError where they do not."""
    one = every.rows(np.array([i]))
    kind = kinds[int(one.kind[0])]
    m = len(kind.axes)
    low, high = one.low[:, :m], one.high[:, :m]
    area = bounding.least_area_mm2(kind.genes(one.category, low), kind.least_parts(low))[0]
    if one.area[0] > area * (1 + ROOM):
        raise RunDirectoryError(f"box {i} of {CERTIFIED_BOXES}: its area is at least {area:g}, not {one.area[0]:g} mm2")
    X = kind.genes(one.category, high)
    claimed = one.latency[0] / (1 + ROOM)
    logs = [math.log(plain_latency_s(network, bounding.space.design(X[0]), bounding)) for network in networks]
    plain = math.exp(sum(w * x for w, x in zip(weights, logs, strict=True)) / sum(weights))
    if claimed <= plain:
        return "plain"
    if claimed <= bounding.latency_s(X)[0]:
        return "compiled"
    if claimed <= bounding.searched_s(X, COMPLETE, np.array([claimed]))[0, 0]:
        return "complete"
    if one.grade[0] == EVALUATED and claimed <= bounding.exact_s(X)[0]:
        return "complete"
    raise RunDirectoryError(f"box {i} of {CERTIFIED_BOXES}: a latency of at least {one.latency[0]:g} s does not follow")


def plain_latency_s(network: Network, design: Accelerator, bounding: DesignBounds) -> float:
    """The roofline of a network [s], whatever activations stay on chip; plain Python."""
    cycles = 0.0
    stays = design.resident_activation_fraction > 0
    for layer in network.layers:
        if isinstance(layer, VectorLayer):
            cycles += layer.repeats * layer.operations / design.vector_lanes
        elif isinstance(layer, MacLayer):
            held = {"inputs", "outputs", "fused_input"} if stays else set()
            if design.resident_weights or (stays and not layer.static_weights):
                held.add("weights")
            bound = float(lower_bounds(layer, design, bounding.technology, frozenset(held))["bound_cycles"])
            cycles += layer.repeats * max(bound, layer.vector_operations / design.vector_lanes)
    return cycles / (design.clock_ghz * 1e9)
