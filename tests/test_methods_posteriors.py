"""Posteriors against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from trimkit.methods import Delta, DiagonalGaussian, Posterior, gaussian_kl, standard_normal

from .draws import generator


@pytest.fixture
def posterior():
    mean, log_variance = torch.randn(2, 7, 5, generator=generator(), dtype=torch.float64)
    return DiagonalGaussian(mean, log_variance)


def test_kl_is_the_distributions_divergence_a_dimension(posterior):
    expected = kl_divergence(
        Normal(posterior.mean, (posterior.log_variance / 2).exp()),
        Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)),
    )
    assert posterior.kl().shape == (7, 5)
    torch.testing.assert_close(posterior.kl(), expected)


def test_kl_of_the_prior_is_zero_and_its_gradient_too():
    mean, log_variance = torch.zeros(2, 3, 4, requires_grad=True).unbind()
    value = gaussian_kl(mean, log_variance)
    assert bool((value == 0).all())
    assert all(bool((g == 0).all()) for g in torch.autograd.grad(value.sum(), [mean, log_variance]))


def test_kl_near_the_prior_keeps_its_digits():
    tiny = torch.tensor([1e-4])
    assert float(gaussian_kl(torch.zeros(1), tiny)) == pytest.approx(0.25e-8, rel=0.02)


def test_log_prob_is_summed_over_all_axes_of_the_code():
    mean, log_variance, z = torch.randn(3, 4, 2, 3, generator=generator(), dtype=torch.float64)
    found = DiagonalGaussian(mean, log_variance).log_prob(z)
    expected = Normal(mean, (log_variance / 2).exp()).log_prob(z).sum((1, 2))
    torch.testing.assert_close(found, expected)


def test_draws_come_from_the_generator_alone(posterior):
    state = torch.get_rng_state()
    first, second = posterior.rsample(generator(1)), posterior.rsample(generator(1))
    assert torch.equal(first, second)
    assert not torch.equal(first, posterior.rsample(generator(2)))
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_have_the_posteriors_moments():
    posterior = DiagonalGaussian(torch.full((20000, 1), 3.0), torch.full((20000, 1), math.log(0.25)))
    draws = posterior.rsample(generator())
    assert float(draws.mean()) == pytest.approx(3.0, abs=0.02)
    assert float(draws.std()) == pytest.approx(0.5, abs=0.02)


def test_gradients_reach_mean_and_variance():
    mean, log_variance = torch.zeros(4, 2, requires_grad=True), torch.zeros(4, 2, requires_grad=True)
    z = DiagonalGaussian(mean, log_variance).rsample(generator())
    by_mean, by_variance = torch.autograd.grad(z.sum(), [mean, log_variance])
    assert torch.equal(by_mean, torch.ones_like(by_mean))
    torch.testing.assert_close(by_variance, 0.5 * z.detach())


def test_delta_is_its_code():
    code = torch.randn(3, 2, generator=generator())
    delta = Delta(code)
    assert delta.rsample(generator()) is code
    other = code.clone()
    other[1, 0] += 1
    assert delta.log_prob(other).tolist() == [0.0, -math.inf, 0.0]


def test_both_are_posteriors(posterior):
    assert isinstance(posterior, Posterior)
    assert isinstance(Delta(posterior.mean), Posterior)


def test_noise_has_the_type_of_its_model():
    assert standard_normal(torch.zeros(2, 3, dtype=torch.float64), None).dtype == torch.float64
