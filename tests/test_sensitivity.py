"""Perturbed constants, and what is left of a front under them."""

from dataclasses import replace

import numpy as np
import pytest

from dse.analysis.technology_sensitivity import NOT_PERTURBED, drawn, perturbed, perturbed_constants, survival
from dse.hardware.presets import preset_ranges, preset_technology
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


@pytest.mark.parametrize("base", [BASE, Technology.at(16), preset_technology("tpu_v1")], ids=["45", "16", "TPU v1"])
def test_draws_fill_the_published_ranges_and_leave_the_rest(base):
    rng, ranges = np.random.default_rng(0), base.ranges()
    draws = [drawn(base, rng) for _ in range(100)]
    for name in perturbed_constants():
        values = np.array([getattr(draw, name) for draw in draws])
        low, high = (x * getattr(base, name) for x in ranges.get(name, (1, 1)))
        assert (values >= low - 1e-12 * abs(low)).all() and (values <= high + 1e-12 * abs(high)).all()
        assert np.ptp(values) >= 0.6 * (high - low), name
    assert len(ranges) >= 20 and all(low <= 1 <= high for low, high in ranges.values())


def test_leakage_is_drawn_within_its_class():
    assert preset_technology("tpu_v1").ranges()["leakage_sram_w_per_mm2"] == pytest.approx((0.03 / 0.054, 0.21 / 0.054))
    assert "leakage_sram_w_per_mm2" not in replace(BASE, leakage_sram_w_per_mm2=0.01).ranges()


def test_what_a_chip_chose_is_drawn_too():
    ranges = preset_ranges("tpu_v1", preset_technology("tpu_v1"))
    assert ranges["io_idle_w"] == (0.5, 2) and "clock_gating_share" not in ranges
    drawn_w = [drawn(preset_technology("tpu_v1"), np.random.default_rng(i), ranges).io_idle_w for i in range(30)]
    assert 1.5 <= min(drawn_w) < 2 and 5 < max(drawn_w) <= 6


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
