"""Perturbed constants, and what is left of a front under them."""

import numpy as np
import pytest

from dse.analysis.technology_sensitivity import NOT_PERTURBED, drawn, perturbed, perturbed_constants, survival
from dse.hardware.technology import Technology

BASE = Technology.at(45)


def test_every_constant_moves_within_the_share():
    rng = np.random.default_rng(0)
    names = perturbed_constants()
    factors = np.array([[getattr(perturbed(BASE, rng), x) / getattr(BASE, x) for x in names] for _ in range(60)])
    assert (np.abs(factors - 1) <= 0.3 + 1e-12).all()
    assert (factors.min(axis=0) < 0.85).all() and (factors.max(axis=0) > 1.15).all()
    assert len(names) > 30 and not set(NOT_PERTURBED) & set(names)


def test_no_share_no_change():
    assert perturbed(BASE, np.random.default_rng(0), 0.0) == BASE
    with pytest.raises(ValueError, match="share must be at least 0 and below 1"):
        perturbed(BASE, np.random.default_rng(0), 1.0)


@pytest.mark.parametrize("node", [45, 16])
def test_draws_fill_the_published_ranges_and_leave_the_rest(node):
    base, rng, ranges = Technology.at(node), np.random.default_rng(0), Technology.ranges()
    draws = [drawn(base, rng) for _ in range(60)]
    for name in perturbed_constants():
        factors = np.array([getattr(draw, name) / getattr(base, name) for draw in draws])
        low, high = ranges.get(name, (1, 1))
        assert (factors >= low - 1e-12).all() and (factors <= high + 1e-12).all()
        assert np.ptp(factors) >= 0.7 * (high - low)
    assert len(ranges) >= 7 and all(low <= 1 <= high for low, high in ranges.values())


def test_survival_by_hand():
    nominal = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0]])  # the last is dominated
    after = np.array([[1.0, 4.0], [2.2, 2.2], [4.0, 1.0], [2.0, 2.0]])
    survives, regret = survival(nominal, after)
    assert survives.tolist() == [True, False, True]
    assert regret == pytest.approx([0, 0.1, 0])


def test_equal_twin_does_not_end_survival():
    nominal = np.array([[2.0, 2.0], [1.0, 3.0], [2.1, 2.1]])
    survives, regret = survival(nominal, np.array([[2.0, 2.0], [1.0, 3.0], [2.0, 2.0]]))
    assert survives.all() and (regret == 0).all()


def test_scaling_an_objective_changes_nothing():
    points = np.random.default_rng(1).uniform(1, 2, (300, 3))
    survives, regret = survival(points, points * [3.0, 0.5, 7.0])
    assert survives.all() and regret == pytest.approx(0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="the same designs"):
        survival(np.ones((2, 2)), np.ones((3, 2)))
