"""Rotations that follow from gradients, against brute force and planted solutions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trimkit_ica.rotations import class_mean_rotation, predicted_gradients, varimax_rotation

from trimkit.data.laws import random_rotation
from trimkit.errors import OptionError, ShapeError

from .draws import generator


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def spread_of_squares(gradients: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """What varimax maximises."""
    return (gradients @ q.T).square().var(0, correction=0).sum()


def turn(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, s], [-s, c]], dtype=torch.float64)


def assert_orthogonal(q: torch.Tensor) -> None:
    torch.testing.assert_close(q @ q.T, torch.eye(len(q), dtype=q.dtype), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(5,), (1, 2, 2)])
def test_gradients_of_a_linear_model_are_the_rows_of_the_predicted_classes(shape):
    linear = nn.Linear(math.prod(shape), 3).double()
    x = normal(7, *shape).requires_grad_()
    with torch.no_grad():
        found = predicted_gradients(nn.Sequential(nn.Flatten(), linear), x)
        expected = linear.weight[linear(x.flatten(1)).argmax(1)]
    torch.testing.assert_close(found.flatten(1), expected)
    assert x.grad is None
    assert linear.weight.grad is None
    assert not found.requires_grad


@pytest.mark.parametrize("outputs", [lambda x: x.pow(3).sum(1), lambda x: x.pow(3).sum(1, keepdim=True)])
def test_gradients_of_a_regressor(outputs):
    x = normal(4, 3)
    torch.testing.assert_close(predicted_gradients(outputs, x), 3 * x.square())


def test_the_first_components_span_the_class_means_one_by_one():
    gradients, classes = normal(40, 6), torch.arange(40) % 3 + 5
    q = class_mean_rotation(gradients, classes, generator=generator())
    assert_orthogonal(q)
    means = torch.stack([gradients[classes == number].mean(0) for number in (5, 6, 7)])
    basis: list[torch.Tensor] = []
    for mean in means:  # Gram-Schmidt by hand
        rest = mean - sum((torch.dot(mean, b) * b for b in basis), torch.zeros(6, dtype=torch.float64))
        basis.append(rest / rest.norm())
    torch.testing.assert_close(q[:3], torch.stack(basis))


def test_only_the_completion_is_random():
    gradients, classes = normal(40, 6), torch.arange(40) % 3
    one, two, again = (class_mean_rotation(gradients, classes, generator=generator(seed)) for seed in (0, 1, 0))
    torch.testing.assert_close(one[:3], two[:3])
    assert float((one[3:] - two[3:]).abs().max()) > 0.1
    assert torch.equal(one, again)


def test_more_classes_than_components():
    gradients, classes = normal(40, 3).float(), torch.arange(40) % 8
    q = class_mean_rotation(gradients, classes, generator=generator())
    assert q.dtype == torch.float64
    assert_orthogonal(q)
    first = gradients[classes == 0].double().mean(0)
    torch.testing.assert_close(q[0], first / first.norm())


@pytest.mark.parametrize("seed", range(4))
def test_varimax_in_the_plane_is_the_best_of_all_angles(seed):
    gradients = normal(30, 2, seed=seed).pow(3) @ turn(seed + 0.4)
    best = max(spread_of_squares(gradients, turn(angle)) for angle in torch.linspace(0, math.pi / 2, 2001).tolist())
    found = spread_of_squares(gradients, varimax_rotation(gradients))
    assert float(found) >= float(best) * (1 - 1e-9)
    assert float(found) <= float(best) * (1 + 1e-5)  # the grid is that fine


def test_varimax_finds_gradients_of_one_component_each():
    rows = torch.zeros(60, 5, dtype=torch.float64)
    rows[torch.arange(60), torch.arange(60) % 5] = normal(60) + 3
    planted = random_rotation(5, generator(3))
    q = varimax_rotation(rows @ planted)
    assert_orthogonal(q)
    signed_permutation = (planted @ q.T).abs()
    torch.testing.assert_close(signed_permutation.max(1).values, torch.ones(5, dtype=torch.float64))
    assert sorted(signed_permutation.argmax(1).tolist()) == list(range(5))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 6), power=st.integers(1, 3))
def test_varimax_is_orthogonal_and_never_worse_than_its_start(seed, k, power):
    gradients = normal(20, k, seed=seed).pow(power)
    q = varimax_rotation(gradients)
    assert_orthogonal(q)
    before, after = (float(spread_of_squares(gradients, r)) for r in (torch.eye(k, dtype=torch.float64), q))
    assert after >= before * (1 - 1e-9)


def test_a_single_iteration_is_the_published_step():
    gradients = normal(20, 3).pow(3)
    loadings = gradients.T @ (gradients.pow(3) - gradients * gradients.square().mean(0))
    left, _, right = torch.linalg.svd(loadings)
    torch.testing.assert_close(varimax_rotation(gradients, iterations=1).T, left @ right)


def test_what_does_not_fit():
    gradients, classes = normal(4, 3), torch.arange(4)
    with pytest.raises(ShapeError, match=r"expected one class for each of 4 gradients, got \(3,\)"):
        class_mean_rotation(gradients, classes[:3], generator=generator())
    for wrong in (gradients[0], gradients[:0]):
        with pytest.raises(ShapeError, match=r"expected gradients \(n, k\), one sample a row, got"):
            varimax_rotation(wrong)
    for options in ({"iterations": 0}, {"tolerance": -1.0}, {"tolerance": math.nan}):
        with pytest.raises(OptionError, match="varimax: expected iterations ≥ 1 and tolerance ≥ 0, got"):
            varimax_rotation(gradients, **options)
