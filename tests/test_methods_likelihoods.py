"""Likelihoods against torch.distributions, also where a sigmoid would saturate."""

from __future__ import annotations

import pytest
import torch
from torch import distributions

from trimkit.errors import DataError, OptionError
from trimkit.methods import Bernoulli, Gaussian, Laplace, make_likelihood


@pytest.fixture
def r():
    return torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def x(r):
    return torch.rand(r.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def per_image(values: torch.Tensor) -> torch.Tensor:
    return -values.flatten(1).sum(1)


def test_bernoulli(r, x):
    expected = distributions.Bernoulli(logits=r, validate_args=False).log_prob(x)
    torch.testing.assert_close(Bernoulli()(r, x), per_image(expected))
    torch.testing.assert_close(Bernoulli().mean(r), r.sigmoid())


@pytest.mark.parametrize("scale", [0.1, 0.7])
def test_gaussian(r, x, scale):
    torch.testing.assert_close(Gaussian(scale)(r, x), per_image(distributions.Normal(r, scale).log_prob(x)))
    assert Gaussian(scale).mean(r) is r


@pytest.mark.parametrize("scale", [0.1, 0.7])
def test_laplace(r, x, scale):
    torch.testing.assert_close(Laplace(scale)(r, x), per_image(distributions.Laplace(r, scale).log_prob(x)))


@pytest.mark.parametrize("logit", [20.0, 40.0, -20.0, -40.0])
def test_saturated_logits_cost_what_they_are_off(logit):
    r = torch.full((1, 1), logit, requires_grad=True)
    x = torch.full((1, 1), 0.0 if logit > 0 else 1.0)
    value = Bernoulli()(r, x)
    assert value.tolist() == pytest.approx([abs(logit)])
    (gradient,) = torch.autograd.grad(value.sum(), r)
    assert float(gradient) == pytest.approx(1.0 if logit > 0 else -1.0)


def test_saturated_logits_that_are_right_cost_nothing():
    value = Bernoulli()(torch.tensor([[40.0, -40.0]]), torch.tensor([[1.0, 0.0]]))
    assert float(value) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("low", "high"), [(-0.01, 1.0), (0.0, 1.01), (0.0, 255.0)])
def test_bernoulli_refuses_data_outside_its_support(low, high):
    with pytest.raises(DataError, match=r"data in \[0, 1\], got .*; rescale"):
        Bernoulli().check(torch.tensor([[low, high]]))


def test_the_others_take_any_data():
    Gaussian().check(torch.tensor([[-3.0, 255.0]]))
    Laplace().check(torch.tensor([[-3.0, 255.0]]))


@pytest.mark.parametrize(("name", "kind"), [("bernoulli", Bernoulli), ("gaussian", Gaussian), ("laplace", Laplace)])
def test_by_name(name, kind):
    assert type(make_likelihood(name, 0.3)) is kind


def test_unknown_name_and_bad_scale():
    with pytest.raises(OptionError, match=r"no likelihood 'gausian'. Did you mean 'gaussian'"):
        make_likelihood("gausian")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="Laplace likelihood: expected a scale > 0, got 0"):
        make_likelihood("laplace", 0.0)
