"""Fronts and hypervolume against slow plain-Python twins and literals."""

import itertools

import numpy as np
import pytest

from dse.search.pareto import REFERENCE, Normalisation, RunningFront, hypervolume, non_dominated


def slow_front(points):
    """By the definition; the first of equal points."""

    def dominates(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))

    points = [tuple(p) for p in points]
    return [
        i for i, p in enumerate(points) if p not in points[:i] and not any(dominates(q, p) for q in points)
    ]  # fmt: skip


def slow_hypervolume(points, reference):
    """Inclusion-exclusion over the boxes of the points."""
    points = [p for p in points if all(x < r for x, r in zip(p, reference, strict=True))]
    total = 0.0
    for k in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, k):
            corner = np.max(chosen, axis=0)
            total += (-1) ** (k + 1) * float(np.prod(reference - corner))
    return total


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("grid", [4, 1000])  # 4: many equal and weakly dominated points
def test_front_equals_definition(n_objectives, grid):
    rng = np.random.default_rng(n_objectives * grid)
    for n in (1, 2, 17, 120):
        points = rng.integers(0, grid, (n, n_objectives)).astype(float)
        before = points.copy()
        expected = slow_front(points)
        if n_objectives == 1:
            expected = expected[:1]
        assert non_dominated(points).tolist() == expected
        assert (points == before).all()


@pytest.mark.parametrize("n_objectives", [1, 2, 3])
def test_hypervolume_equals_inclusion_exclusion(n_objectives):
    rng = np.random.default_rng(n_objectives)
    points, reference = rng.random((9, n_objectives)) * 1.2, np.ones(n_objectives)
    assert hypervolume(points, reference) == pytest.approx(slow_hypervolume(points, reference), rel=1e-12)


def test_hypervolume_literals():
    assert hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0])) == 3.0
    assert hypervolume(np.array([[1.0, 1.0, 1.0]]), np.array([3.0, 3.0, 3.0])) == 8.0
    assert hypervolume(np.array([[3.0, 1.0]]), np.array([3.0, 3.0])) == 0.0  # on the edge of the box
    assert hypervolume(np.empty((0, 2)), np.array([3.0, 3.0])) == 0.0


def test_front_of_empty_and_of_bad_input():
    assert non_dominated(np.empty((0, 2))).tolist() == []
    with pytest.raises(ValueError, match="not finite"):
        non_dominated(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        non_dominated(np.ones(3))
    with pytest.raises(ValueError, match=r"reference of shape \(3,\), expected \(2,\)"):
        hypervolume(np.ones((1, 2)), np.ones(3))


def test_running_front_equals_front_of_all():
    rng = np.random.default_rng(0)
    points = rng.integers(0, 30, (500, 3)).astype(float)
    running = RunningFront(3)
    for start in range(0, 500, 37):
        running.update(points[start : start + 37], np.arange(start, min(start + 37, 500)))
    assert sorted(running.numbers.tolist()) == non_dominated(points).tolist()
    assert (points[running.numbers] == running.points).all()


def test_normalisation_log_and_linear():
    scale = Normalisation.from_points(np.array([[1.0, 2.0, 5.0], [1000.0, 4.0, 5.0]]))
    assert scale.log == (True, False, False)
    assert scale(np.array([[10.0, 3.0, 5.0]])).tolist() == [pytest.approx([1 / 3, 0.5, 0.0])]
    negative = Normalisation.from_points(np.array([[-1000.0], [1.0]]))
    assert negative.log == (False,)
    assert Normalisation.from_points(np.array([[2.0, 3.0]]))(np.array([[2.0, 3.0]])).tolist() == [[0.0, 0.0]]


def test_normalised_hypervolume_is_a_share_of_the_box():
    scale = Normalisation((0.0, 0.0), (1.0, 1.0), (False, False))
    assert scale.hypervolume(np.array([[0.0, 0.0]])) == pytest.approx(1.0)
    assert scale.hypervolume(np.empty((0, 2))) == 0.0
    assert scale.hypervolume(np.array([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx((2 * 0.1 * 1.1 - 0.01) / REFERENCE**2)
    with pytest.raises(ValueError, match="no point"):
        Normalisation.from_points(np.empty((0, 2)))


def test_a_million_points_are_filtered():
    rng = np.random.default_rng(0)
    points = rng.random((1_000_000, 3))
    front = non_dominated(points)
    assert 50 < len(front) < 500
    best = points[front]
    for point in points[rng.integers(0, len(points), 200)]:  # each is on the front or dominated by it
        assert ((best <= point).all(axis=1)).any()
