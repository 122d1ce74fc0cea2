"""Conditional priors: densities, closed-form divergences against quadrature, draws."""

from __future__ import annotations

import math

import pytest
import torch
from trimkit_ica.auxiliary import Auxiliary
from trimkit_ica.priors import GaussianPrior, LaplacePrior, make_prior

from trimkit.errors import OptionError
from trimkit.methods import DiagonalGaussian, gaussian_kl

U = torch.tensor([0, 1, 2])
WIDTHS = {"hidden": 4, "layers": 1}


def prior(name: str, *, location: bool = True):
    """One of known values: location (u, −1), log scale (−.5 u, .3)."""
    made = make_prior(name, Auxiliary("IVAE", 3, 0), 2, location=location, **WIDTHS).double()
    u = torch.arange(3.0, dtype=torch.float64)
    scales = torch.stack([-0.5 * u, torch.full_like(u, 0.3)], 1)
    places = torch.stack([u, torch.full_like(u, -1.0)], 1)
    made.function.first.weight.data = torch.cat([places, 2 * scales], 1) if location else 2 * scales
    return made


def posterior() -> DiagonalGaussian:
    mean = torch.tensor([[0.3, -2.0], [1.0, 0.0], [-4.0, 5.0]], dtype=torch.float64)
    return DiagonalGaussian(mean, torch.tensor([[0.1, -3.0], [-1.0, 0.5], [-6.0, 1.0]], dtype=torch.float64))


def by_quadrature(made, q: DiagonalGaussian) -> torch.Tensor:
    """∫ q log q/p of each dimension, by the trapezoidal rule on ±12 standard deviations."""
    t = torch.linspace(-12, 12, 40_001, dtype=torch.float64)[:, None, None]
    z = q.mean + (0.5 * q.log_variance).exp() * t
    density = torch.exp(-0.5 * t.square()) / math.sqrt(2 * math.pi)
    log_q = -0.5 * (t.square() + q.log_variance + math.log(2 * math.pi))
    location, log_scale = made(U)
    kinds = {"gaussian": torch.distributions.Normal, "laplace": torch.distributions.Laplace}
    log_p = kinds[made.name](location, log_scale.exp()).log_prob(z)
    return torch.trapezoid(density * (log_q - log_p), t, dim=0)


@pytest.mark.parametrize("location", [True, False])
@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_the_divergence_is_that_of_quadrature(name, location):
    made = prior(name, location=location)
    torch.testing.assert_close(made.kl(posterior(), U), by_quadrature(made, posterior()), atol=1e-6, rtol=1e-6)


def test_a_standard_normal_prior_is_the_vaes():
    made = prior("gaussian")
    made.function.first.weight.data.zero_()
    q = posterior()
    torch.testing.assert_close(made.kl(q, U), gaussian_kl(q.mean, q.log_variance))


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_densities_are_torchs(name):
    made, z = prior(name), posterior().mean
    location, log_scale = made(U)
    kinds = {"gaussian": torch.distributions.Normal, "laplace": torch.distributions.Laplace}
    torch.testing.assert_close(made.log_prob(z, U), kinds[name](location, log_scale.exp()).log_prob(z).sum(1))


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_the_divergence_can_be_trained_through(name):
    made, q = prior(name), posterior()
    mean, log_variance = (t.clone().requires_grad_(True) for t in (q.mean, q.log_variance))
    assert torch.autograd.gradcheck(lambda *parts: made.kl(DiagonalGaussian(*parts), U), (mean, log_variance))


@pytest.mark.parametrize(("name", "kurtosis"), [("gaussian", 3.0), ("laplace", 6.0)])
def test_draws_have_the_priors_moments(name, kurtosis):
    made = prior(name)
    u = U.repeat(100_000)
    with torch.no_grad():
        z = made.sample(u, torch.Generator().manual_seed(0)).view(100_000, 3, 2)
        location, log_scale = made(U)
    variance = log_scale.exp().square() * {"gaussian": 1, "laplace": 2}[name]
    torch.testing.assert_close(z.mean(0), location, atol=0.03, rtol=0.0)
    torch.testing.assert_close(z.var(0), variance, atol=0.0, rtol=0.05)
    standard = (z - location) / variance.sqrt()
    assert standard.pow(4).mean() == pytest.approx(kurtosis, rel=0.05)


def test_names():
    aux = Auxiliary("IVAE", 3, 0)
    assert isinstance(make_prior("gaussian", aux, 2, location=False, **WIDTHS), GaussianPrior)
    assert isinstance(make_prior("laplace", aux, 2, location=False, **WIDTHS), LaplacePrior)
    with pytest.raises(OptionError, match=r"there is no conditional prior 'laplac'\. Did you mean 'laplace'"):
        make_prior("laplac", aux, 2, location=False, **WIDTHS)
