"""Path length: linear maps whose length is known, great circles, trimming, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.generation import linear_path, perceptual_path_length, spherical

PAIRS = 60


def codes(seed: int, size: int = 3, n: int = PAIRS) -> torch.Tensor:
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(values: torch.Tensor) -> torch.Tensor:
    return values


@pytest.mark.parametrize("where", ["full", "end"])
def test_a_linear_generator_moves_by_its_matrix(where):
    """‖A (v₁ − v₀)‖² for every t and ε, and the mean is over pairs."""
    start, end, matrix = codes(0), codes(1), codes(2, 5, 3)
    found = perceptual_path_length(start, end, lambda v: v @ matrix, same, where=where, trim=0)
    expected = ((end - start) @ matrix).square().sum(1)
    assert found.value == pytest.approx(float(expected.mean()), rel=1e-6)
    assert found.parts["median"] == pytest.approx(float(expected.median()), rel=0.2)
    assert found.parts["untrimmed"] == pytest.approx(found.value)
    assert found.protocol["where"] == where


def test_a_quadratic_generator_moves_as_its_derivative():
    """G(v) = v², at t = 0: (2 v₀ (v₁ − v₀))²."""
    start, end = codes(0, 1), codes(1, 1)
    found = perceptual_path_length(start, end, torch.square, same, where="end", trim=0, epsilon=1e-6)
    expected = (2 * start * (end - start)).square().sum(1).mean()
    assert found.value == pytest.approx(float(expected), rel=1e-4)


def test_the_great_circle_has_the_length_of_its_angle():
    """With the identity for a generator: (√D · angle)² a pair."""
    start, end = codes(0), codes(1)
    found = perceptual_path_length(start, end, same, same, path="spherical", trim=0)
    angle = torch.cosine_similarity(start, end).acos()
    assert found.value == pytest.approx(float((3 * angle.square()).mean()), rel=1e-5)


def test_spherical_points():
    start, end = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 5.0], [0.0, 1.0]])
    root = math.sqrt(2)
    half = spherical(start, end, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(half, torch.tensor([[1.0, 1.0], [0.0, root]]))  # equal directions stay where they are
    torch.testing.assert_close(spherical(start, end, torch.zeros(2)), torch.tensor([[root, 0.0], [0.0, root]]))
    torch.testing.assert_close(spherical(start, end, torch.ones(2)), torch.tensor([[0.0, root], [0.0, root]]))
    assert spherical(start[:1], -start[:1], torch.tensor([0.5])).isnan().all()


def test_linear_points_of_codes_with_layers():
    start, end = codes(0, 6).view(-1, 2, 3), codes(1, 6).view(-1, 2, 3)
    t = torch.linspace(0, 1, PAIRS, dtype=torch.float64)
    expected = torch.stack([(1 - s) * a + s * b for a, b, s in zip(start, end, t, strict=True)])
    torch.testing.assert_close(linear_path(start, end, t), expected)


def test_trimming_drops_both_ends():
    start = torch.zeros(100, 1, dtype=torch.float64)
    end = torch.arange(100.0, dtype=torch.float64)[:, None]
    found = perceptual_path_length(start, end, same, same, trim=0.1)
    assert found.value == pytest.approx(float(torch.arange(10.0, 90.0).square().mean()), rel=1e-6)
    assert found.parts["untrimmed"] == pytest.approx(float(torch.arange(100.0).square().mean()), rel=1e-6)
    assert found.interval[0] < found.value < found.interval[1]


def test_batches_change_nothing_and_the_seed_moves_t():
    start, end = codes(0), codes(1)
    whole = perceptual_path_length(start, end, torch.sin, torch.square, batch_size=PAIRS)
    assert perceptual_path_length(start, end, torch.sin, torch.square, batch_size=7).value == pytest.approx(whole.value)
    assert perceptual_path_length(start, end, torch.sin, torch.square, seed=1).value != whole.value


def test_a_constant_generator_does_not_move():
    found = perceptual_path_length(codes(0), codes(1), torch.zeros_like, same)
    assert (found.value, found.interval) == (0, (0, 0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"path": "curved"}, OptionError, "path: expected one of"),
        ({"where": "middle"}, OptionError, "where: expected one of"),
        ({"epsilon": 0.0}, OptionError, "epsilon: expected a step > 0, got 0.0"),
        ({"batch_size": 0}, OptionError, "batch_size: expected at least 1, got 0"),
        ({"trim": 0.5}, OptionError, r"trim: expected a share in \[0, 0.5\), got 0.5"),
    ],
)
def test_options_out_of_range_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        perceptual_path_length(codes(0), codes(1), same, same, **change)


def test_codes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="of one shape"):
        perceptual_path_length(codes(0), codes(1, 4), same, same)
    with pytest.raises(ShapeError, match=r"float32 or float64, in which a step of ε is seen, got torch\.bfloat16"):
        perceptual_path_length(codes(0).bfloat16(), codes(1).bfloat16(), same, same)
    with pytest.raises(DataError, match="at least 20 pairs of codes, got 4"):
        perceptual_path_length(codes(0)[:4], codes(1)[:4], same, same)
    with pytest.raises(DataError, match="NaN or infinite; look at the generator's output"):
        perceptual_path_length(codes(0), codes(1), lambda v: v / 0, same)
