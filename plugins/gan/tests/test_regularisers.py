"""R1 and path length where they are known: on linear networks."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck
from trimkit_gan.regularisers import auto_r1_weight, path_lengths, r1


def test_r1_of_a_linear_discriminator_is_half_its_squared_norm():
    a = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    values = r1(lambda x: (x * a).sum((1, 2, 3)), x)
    torch.testing.assert_close(values, (a.square().sum() / 2).expand(5))
    (gradient,) = torch.autograd.grad(values.mean(), a)
    torch.testing.assert_close(gradient, a.detach())
    assert not x.requires_grad


def test_r1_of_a_quadratic_discriminator_is_its_own_at_each_sample():
    x = torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(r1(lambda x: x.square().sum(1), x), 2 * x.square().sum(1))


def test_r1_has_its_value_where_no_graph_is_wanted():
    a = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        assert r1(lambda x: x @ a, torch.zeros(2, 3)).tolist() == [1.5, 1.5]


def test_the_path_length_of_a_linear_generator_is_that_of_its_adjoint():
    """Image = Σ_l A_l w_l, so J_lᵀ y = A_lᵀ y / √pixels; squares are summed over w and averaged over layers."""
    a = torch.randn(2, 48, 5, dtype=torch.float64, requires_grad=True)
    ws = torch.randn(4, 2, 5, dtype=torch.float64, requires_grad=True)
    images = torch.einsum("lpd,nld->np", a, ws).reshape(4, 3, 4, 4)
    y = torch.randn(4, 3, 4, 4, dtype=torch.float64)
    found = path_lengths(images, ws, y)
    expected = torch.einsum("lpd,np->nld", a, y.flatten(1) / 4).square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), a, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), a)[0])


def test_an_orthogonal_map_has_path_length_near_its_scale():
    """E ‖Aᵀy‖ / √pixels for A = c · identity is c, up to the spread of a chi variable."""
    size = 1024
    w = torch.randn(64, 1, size, dtype=torch.float64, requires_grad=True)
    y = torch.randn(64, 1, 32, 32, dtype=torch.float64)
    lengths = path_lengths(3.0 * w[:, 0].reshape(64, 1, 32, 32), w, y).detach()
    assert float(lengths.mean()) == pytest.approx(3.0, rel=0.01)


def test_the_penalty_on_a_length_has_the_right_gradient():
    a = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 1, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 1, 2, 2, dtype=torch.float64)

    def penalty(a: torch.Tensor) -> torch.Tensor:
        images = (torch.einsum("lpd,nld->np", a, w).tanh()).reshape(2, 1, 2, 2)
        return (path_lengths(images, w, y) - 0.3).square()

    assert gradcheck(penalty, (a,))


def test_the_automatic_weight_of_r1():
    assert auto_r1_weight((3, 32, 32), 16) == pytest.approx(0.0128)
    assert auto_r1_weight((1, 256, 256), 32) == pytest.approx(2e-4 * 256**2 / 32)
