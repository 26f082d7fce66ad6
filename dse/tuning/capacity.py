"""What a network can hold, and how far a tuned one may move from it.

Capacity is the weights and MACs of the MAC layers: of the whole network, and of each stage (the MAC layers of one
output size).  Batch normalisation folds into the layer before it and does not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dse.networks.layers import Network
from dse.text.quantities import number

Bounds = tuple[float, float]
"""Least and most, as shares of the original's [1]."""


@dataclass(frozen=True)
class Capacity:
    """What a network can hold.

    Attributes
    ----------
    weights, macs : of all MAC layers [elements], [MACs].
    stages : output pixels (``OY * OX``) of a stage -> its weights [elements] and MACs [MACs].
    """

    weights: int
    macs: int
    stages: Mapping[int, tuple[int, int]]


def capacity_of(network: Network) -> Capacity:
    """Capacity of a network: constant operands count as weights, every repeat of a layer counts as MACs."""
    stages: dict[int, tuple[int, int]] = {}
    for layer in network.mac_layers:
        key = layer.OY * layer.OX
        weights, macs = stages.get(key, (0, 0))
        stages[key] = (weights + layer.weight_elements * layer.static_weights, macs + layer.macs)
    return capacity_of_stages(stages)


def capacity_of_stages(stages: Mapping[int, tuple[int, int]]) -> Capacity:
    """Capacity whose whole is the sum of its stages."""
    return Capacity(sum(w for w, _ in stages.values()), sum(m for _, m in stages.values()), dict(stages))


@dataclass(frozen=True)
class Miss:
    """A bound that a network does not keep: `what`, its `share` of the original's [1], the `bounds` [1]."""

    what: str
    share: float
    bounds: Bounds

    @property
    def by(self) -> float:
        """How far beyond the bound [1]."""
        low, high = self.bounds
        return max(low - self.share, self.share - high if math.isfinite(high) else -math.inf)

    @property
    def text(self) -> str:
        """In words."""
        low, high = self.bounds
        bound = f"at least {number(100 * low)} %" if self.share < low else f"at most {number(100 * high)} %"
        now = "new" if math.isinf(self.share) else f"{100 * self.share:.1f} % of the original's"
        return f"{self.what}: {now}, {bound} allowed"


@dataclass(frozen=True)
class Budget:
    """Least and most capacity of a tuned network, each as shares of the original's [1].

    Parameters
    ----------
    weights, macs : of the whole network.
    stage_weights, stage_macs : of each stage.

    All are within 2 % unless given; ``(0, inf)`` bounds nothing.
    """

    weights: Bounds = (0.98, 1.02)
    macs: Bounds = (0.98, 1.02)
    stage_weights: Bounds = (0.98, 1.02)
    stage_macs: Bounds = (0.98, 1.02)

    def __post_init__(self) -> None:
        for name in ("weights", "macs", "stage_weights", "stage_macs"):
            given = getattr(self, name)
            numbers = isinstance(given, tuple | list) and len(given) == 2
            if not numbers or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in given):
                raise ValueError(f"budget: {name} is least and most, such as (0.98, 1.02), got {given!r}")
            low, high = given
            if not 0 <= low <= high:
                raise ValueError(f"budget: {name} needs 0 <= least <= most, got {given!r}")
            object.__setattr__(self, name, (float(low), float(high)))

    @classmethod
    def within(cls, share: float) -> Budget:
        """All four within a share of the original's [1], such as 0.02."""
        if not 0 <= share <= 1:
            raise ValueError(f"budget: within a share from 0 to 1 of the original's, got {share!r}")
        return cls(*[(1 - share, 1 + share)] * 4)

    def shares(self, capacity: Capacity, original: Capacity) -> Iterator[Miss]:
        """Every amount that is bounded, as a share of the original's, whether or not its bounds are kept."""
        yield Miss("weights", _share(capacity.weights, original.weights), self.weights)
        yield Miss("MACs", _share(capacity.macs, original.macs), self.macs)
        bounds = (("weights", self.stage_weights), ("MACs", self.stage_macs))
        for stage in {**original.stages, **capacity.stages}:
            now, then = capacity.stages.get(stage, (0, 0)), original.stages.get(stage, (0, 0))
            for (name, limits), a, b in zip(bounds, now, then, strict=True):
                yield Miss(f"{name} of the stage of {stage:,} pixels", _share(a, b), limits)

    def misses(self, capacity: Capacity, original: Capacity) -> list[Miss]:
        """Bounds that are not kept, the furthest first."""
        missed = [miss for miss in self.shares(capacity, original) if miss.by > TOLERANCE]
        return sorted(missed, key=lambda miss: -miss.by)

    def allows(self, capacity: Capacity, original: Capacity) -> bool:
        """Whether a network of that capacity is within the budget."""
        return not self.misses(capacity, original)

    def excess(self, capacity: Capacity, original: Capacity) -> float:
        """How far the bounds are missed, summed [1]; 0 where all are kept."""
        return sum(min(miss.by, MOST_EXCESS) for miss in self.misses(capacity, original))


TOLERANCE = 1e-12
"""Shares this close to a bound keep it [1]: bounds are decimals, and shares are quotients."""

MOST_EXCESS = 10.0
"""What one bound counts at most in `Budget.excess` [1]."""


def _share(now: int, then: int) -> float:
    return now / then if then else (1.0 if not now else math.inf)
