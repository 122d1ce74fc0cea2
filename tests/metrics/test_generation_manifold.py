"""Precision and recall: by brute force, and where both are known."""

from __future__ import annotations

import numpy as np
import pytest

from trimkit.errors import OptionError, ShapeError
from trimkit.metrics.generation import precision_recall


def brute_force(judged, manifold, k: int) -> float:
    def distance(a, b):
        return float(np.sqrt(((a - b) ** 2).sum()))

    radii = [sorted(distance(a, b) for j, b in enumerate(manifold) if j != i)[k - 1] for i, a in enumerate(manifold)]
    inside = [any(distance(a, b) <= r + 1e-12 for b, r in zip(manifold, radii, strict=True)) for a in judged]
    return float(np.mean(inside))


@pytest.mark.parametrize("k", [1, 3])
def test_both_by_brute_force(k):
    of = np.random.default_rng(k)
    real, made = of.standard_normal((32, 3)), of.standard_normal((25, 3)) * 0.7 + 0.4
    found = precision_recall(real, made, neighbours=k)
    assert found.precision.value == pytest.approx(brute_force(made, real, k))
    assert found.recall.value == pytest.approx(brute_force(real, made, k))
    assert found.precision.protocol["neighbours"] == k


def test_a_set_and_itself_and_a_set_far_away():
    x = np.random.default_rng(0).standard_normal((40, 2))
    assert [result.value for result in precision_recall(x, x)] == [1, 1]
    far = precision_recall(x, x + 100)
    assert [result.value for result in far] == [0, 0]
    assert far.recall.interval == (0, 0)


def test_a_generator_of_one_mode_is_precise_and_recalls_half():
    of = np.random.default_rng(0)
    modes = np.repeat([[0.0, 0.0], [50.0, 0.0]], 100, axis=0)
    real, made = modes + of.standard_normal((200, 2)), of.standard_normal((200, 2)) * 0.5
    found = precision_recall(real, made)
    assert found.precision.value > 0.95
    assert found.recall.value <= 0.5
    assert found.recall.interval[0] < found.recall.value < found.recall.interval[1]


def test_points_that_coincide_have_balls_without_radius():
    same = np.zeros((30, 2))
    assert [result.value for result in precision_recall(same, same)] == [1, 1]
    assert precision_recall(same, same + 1e-9).precision.value == 0


def test_blocks_of_rows_change_nothing(monkeypatch):
    of = np.random.default_rng(0)
    x, y = of.standard_normal((45, 3)), of.standard_normal((30, 3))
    whole = precision_recall(x, y)
    monkeypatch.setattr("trimkit.metrics.generation.distances.BLOCK", 8)
    assert precision_recall(x, y) == whole


def test_what_does_not_fit_is_refused():
    x = np.zeros((30, 2))
    with pytest.raises(OptionError, match="neighbours: expected 1 to 19, got 20"):
        precision_recall(x, np.zeros((20, 2)), neighbours=20)
    with pytest.raises(ShapeError, match="same features of both sets"):
        precision_recall(x, np.zeros((30, 5)))
