"""The coupling flow: its density against autograd's Jacobian, its inverse, its fit."""

from __future__ import annotations

import math

import pytest
import torch
from trimkit_ica.flow import CouplingFlow

from .draws import generator


def flow(size: int, spread: float = 0.7, **options) -> CouplingFlow:
    """One that is far from the identity."""
    made = CouplingFlow(size, **{"layers": 3, "hidden": 6, **options}).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator(), dtype=torch.float64))
    return made


def rows(size: int, n: int = 5) -> torch.Tensor:
    return torch.randn(n, size, generator=generator(1), dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_the_log_determinant_is_that_of_the_jacobian(size):
    made, x = flow(size), rows(size)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: made(row[None])[0][0]))(x)
    z, log_det = made(x)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobians).logabsdet)
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    torch.testing.assert_close(made.log_prob(x), normal.log_prob(z).sum(1) + log_det)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_inverse_is_one(size):
    made, x = flow(size), rows(size)
    torch.testing.assert_close(made.inverse(made(x)[0]), x, atol=1e-10, rtol=1e-8)


def test_its_density_integrates_to_one():
    made = flow(2, layers=2, spread=0.4)
    side = torch.linspace(-12, 12, 481, dtype=torch.float64)
    with torch.no_grad():
        total = float(made.log_prob(torch.cartesian_prod(side, side)).exp().sum()) * 0.05**2
    assert total == pytest.approx(1.0, abs=1e-3)


def test_it_starts_as_a_standard_normal():
    made, x = CouplingFlow(3).double(), rows(3)
    torch.testing.assert_close(made.log_prob(x), -0.5 * (x.square() + math.log(2 * math.pi)).sum(1))
    drawn = torch.randn(5, 3, generator=generator(2), dtype=torch.float64)
    torch.testing.assert_close(made.sample(x, generator(2)), drawn)


def test_draws_are_what_the_density_says():
    """E_q[−log q] over draws is the entropy: that of the base less the mean log determinant."""
    made = flow(2)
    with torch.no_grad():
        x = made.sample(torch.zeros(20_000, 2, dtype=torch.float64), generator())
        z, log_det = made(x)
        entropy = 2 * 0.5 * (1 + math.log(2 * math.pi)) - float(log_det.mean())
        assert float(-made.log_prob(x).mean()) == pytest.approx(entropy, abs=0.03)
        assert float(z.var()) == pytest.approx(1.0, abs=0.03)


def test_it_learns_a_scale_that_depends_on_another_entry():
    """x₁ | x₀ ~ N(0, e^(2 x₀)): a normal distribution cannot, couplings can."""
    base = torch.randn(2000, 2, generator=generator())
    x = torch.stack([base[:, 0], base[:, 1] * base[:, 0].clamp(-2, 2).exp()], 1)
    made = CouplingFlow(2, layers=2, hidden=16)
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        (-made.log_prob(x)).mean().backward()
        optimiser.step()
    truth = 1 + math.log(2 * math.pi) + float(base[:, 0].clamp(-2, 2).mean())
    assert float(-made.log_prob(x).detach().mean()) == pytest.approx(truth, abs=0.1)
