"""Fréchet and kernel distance: known Gaussians, brute force over pairs, invariances, degenerate sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.generation import frechet_distance, kernel_distance


def gaussian(mean, covariance, n: int = 400, seed: int = 0):
    """n rows whose sample mean and unbiased sample covariance are exactly as given."""
    rows = np.random.default_rng(seed).standard_normal((n, len(mean)))
    rows -= rows.mean(0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T).reshape(len(mean), -1))).T
    return np.asarray(mean) + rows @ np.linalg.cholesky(np.asarray(covariance)).T


def rotation(angle: float):
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def test_the_frechet_distance_of_known_gaussians():
    """Diagonal covariances: Σ (m₁ − m₂)² + Σ (σ₁ − σ₂)²."""
    x = gaussian([0.0, 1.0, 2.0], np.diag([1.0, 4.0, 9.0]))
    y = gaussian([1.0, 1.0, 0.0], np.diag([4.0, 4.0, 1.0]), n=300, seed=1)
    found = frechet_distance(x, y, draws=0)
    assert found.value == pytest.approx(5 + 1 + 0 + 4)
    assert found.parts == {"mean": pytest.approx(5.0), "covariance": pytest.approx(5.0)}
    assert found.interval is None
    assert found.name == "frechet_distance"


@pytest.mark.parametrize("angle", [0.3, 1.2])
def test_covariances_that_do_not_commute(angle):
    """Tr (C₁C₂)^½ of 2×2 matrices is √(Tr C₁C₂ + 2 √det C₁C₂)."""
    one = np.diag([4.0, 0.25])
    two = rotation(angle) @ np.diag([9.0, 1.0]) @ rotation(angle).T
    product = one @ two
    cross = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = np.trace(one) + np.trace(two) - 2 * cross
    found = frechet_distance(gaussian([0, 0], one), gaussian([0, 0], two, seed=3), draws=0)
    assert found.value == pytest.approx(expected)


@given(st.integers(0, 10**6), st.floats(0.1, 10))
@settings(max_examples=15, deadline=None)
def test_rotations_and_shifts_change_nothing_and_scales_count_squared(seed, scale):
    of = np.random.default_rng(seed)
    x, y = of.standard_normal((30, 4)), of.standard_normal((40, 4)) * 2 + 1
    turn = np.linalg.qr(of.standard_normal((4, 4)))[0]
    before = frechet_distance(x, y, draws=0).value
    moved = [rows @ turn * scale + 3 for rows in (x, y)]
    assert frechet_distance(*moved, draws=0).value == pytest.approx(scale**2 * before, rel=1e-7)
    assert frechet_distance(y, x, draws=0).value == pytest.approx(before)


def test_a_set_is_at_no_distance_from_itself():
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(x, x, draws=0).value == pytest.approx(0, abs=1e-10)
    same = torch.ones(30, 3)
    assert frechet_distance(same, same + 2, draws=0).value == pytest.approx(12)  # no spread at all
    wide = torch.randn(25, 60, generator=torch.Generator().manual_seed(1))  # singular covariance
    assert frechet_distance(wide, wide, draws=0).value == pytest.approx(0, abs=1e-8)


def test_the_kernel_distance_is_the_mean_over_pairs():
    of = np.random.default_rng(0)
    x, y = of.standard_normal((23, 5)), of.standard_normal((31, 5)) + 0.3

    def k(a, b):
        return (a @ b / 5 + 1) ** 3

    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    between = np.mean([k(a, b) for a in x for b in y])
    found = kernel_distance(x, y, draws=0)
    assert found.value == pytest.approx(within_x + within_y - 2 * between)
    assert found.protocol["estimator"] == "unbiased"


def test_blocks_of_rows_change_nothing(monkeypatch):
    of = np.random.default_rng(0)
    x, y = of.standard_normal((40, 3)), of.standard_normal((25, 3))
    whole = kernel_distance(x, y, draws=8)
    monkeypatch.setattr("trimkit.metrics.generation.distances.BLOCK", 7)
    parts = kernel_distance(x, y, draws=8)
    assert parts.value == pytest.approx(whole.value)
    assert parts.interval == pytest.approx(whole.interval)


def test_the_kernel_distance_is_unbiased_where_the_frechet_distance_is_not():
    """Over many small pairs of equal distributions, the one averages to 0; the other to Tr C (1/n + 1/m) and more."""
    of = np.random.default_rng(0)
    pairs = [(of.standard_normal((20, 4)), of.standard_normal((20, 4))) for _ in range(300)]
    kernel = np.array([kernel_distance(x, y, draws=0).value for x, y in pairs])
    assert abs(kernel.mean()) < 3 * kernel.std() / math.sqrt(len(kernel))
    assert (kernel < 0).any()
    assert np.mean([frechet_distance(x, y, draws=0).value for x, y in pairs]) > 4 * 2 / 20


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_intervals_hold_the_value_and_grow_narrow(distance):
    of = np.random.default_rng(0)
    widths = []
    for n in (40, 640):
        found = distance(of.standard_normal((n, 3)), of.standard_normal((n, 3)) + 1, draws=100)
        assert found.interval[0] <= found.value <= found.interval[1]
        widths.append(found.interval[1] - found.interval[0])
    assert widths[1] < 0.6 * widths[0]


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_results_depend_on_arguments_and_seed_alone(distance):
    of = np.random.default_rng(0)
    x, y = of.standard_normal((30, 2, 2)), of.standard_normal((30, 2, 2))
    assert distance(x, y) == distance(torch.from_numpy(x), y.tolist())
    assert distance(x, y).interval != distance(x, y, seed=1).interval
    assert distance(x, y).value == distance(x, y, seed=1).value


def test_many_features_are_resampled_less_often(monkeypatch):
    monkeypatch.setattr("trimkit.metrics.generation.distances.USUAL_FEATURES", 4)
    x = np.random.default_rng(0).standard_normal((2, 30, 8))
    assert frechet_distance(*x, draws=40).protocol["draws"] == 5
    few = frechet_distance(*x, draws=7)
    assert (few.protocol["draws"], few.interval) == (0, None)
    assert frechet_distance(*x[..., :4], draws=40).protocol["draws"] == 40


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize("draws", [-1, 2.5])
def test_draws_that_are_no_number_of_draws_are_refused(distance, draws):
    x = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises(OptionError, match=f"draws: expected a whole number ≥ 0, got {draws}"):
        distance(x, x, draws=draws)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_sets_that_do_not_fit_are_refused(distance):
    x = np.zeros((30, 3))
    with pytest.raises(ShapeError, match="same features of both sets, got 3 of real and 4 of made"):
        distance(x, np.zeros((30, 4)))
    with pytest.raises(DataError, match="made: expected at least 20 samples, got 3"):
        distance(x, x[:3])
    with pytest.raises(DataError, match="real: 1 of 30 samples hold NaN"):
        distance(np.where(np.arange(30)[:, None] == 4, np.nan, x), x)


def test_a_degree_below_one_is_refused():
    with pytest.raises(OptionError, match="degree: expected at least 1, got 0"):
        kernel_distance(np.zeros((30, 3)), np.zeros((30, 3)), degree=0)
