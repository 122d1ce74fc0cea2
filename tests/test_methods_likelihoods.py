"""Likelihoods against torch.distributions, also where a sigmoid would saturate."""

from __future__ import annotations

import pytest
import torch
from torch import distributions, nn

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.methods import MSSSIM, Bernoulli, Gaussian, Laplace, Logistic, Perceptual, make_likelihood
from trimkit.methods.energies import fitting_sigmas


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
    assert Gaussian().check(torch.tensor([[-3.0, 255.0]])) is None
    assert Laplace().check(torch.tensor([[-3.0, 255.0]])) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bernoulli", Bernoulli),
        ("gaussian", Gaussian),
        ("laplace", Laplace),
        ("logistic", Logistic),
        ("ms-ssim", MSSSIM),
    ],
)
def test_by_name(name, kind):
    assert type(make_likelihood(name, 0.3, (1, 8, 8))) is kind


def test_unknown_name_and_bad_scale():
    with pytest.raises(OptionError, match=r"no likelihood 'gausian'. Did you mean 'gaussian'"):
        make_likelihood("gausian")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="Laplace likelihood: expected a scale > 0, got 0"):
        make_likelihood("laplace", 0.0)


@pytest.mark.parametrize("kind", [Gaussian, Laplace, Logistic])
def test_a_learned_scale_starts_at_a_tenth_and_is_the_fixed_one_there(kind, r, x):
    learned = kind("learned").double()
    assert learned.scale == pytest.approx(0.1)
    assert [name for name, _ in learned.named_parameters()] == ["free"]
    assert not list(kind(0.1).parameters())
    torch.testing.assert_close(learned(r, x), kind(0.1)(r, x), rtol=1e-5, atol=0)


def test_a_learned_sigma_finds_the_root_mean_squared_error(r, x):
    """The optimum of ½ Σ (x − r)²/σ² + n log σ is the mean squared error."""
    likelihood = Gaussian("learned").double()
    optimiser = torch.optim.LBFGS(likelihood.parameters(), lr=0.5, max_iter=100)

    def loss():
        optimiser.zero_grad()
        value = likelihood(r, x).mean()
        value.backward()
        return value

    optimiser.step(loss)
    assert likelihood.scale == pytest.approx((x - r).square().mean().sqrt().item(), rel=1e-4)


def test_a_learned_scale_does_not_collapse(x):
    likelihood = Gaussian("learned")
    with torch.no_grad():
        likelihood.free.fill_(-1e4)
    assert likelihood.scale == pytest.approx(2.718281828**-6, rel=1e-3)
    assert bool(torch.isfinite(likelihood(x.float(), x.float())).all())


LEVELS = torch.arange(256, dtype=torch.float64) / 255


@pytest.mark.parametrize("scale", [1e-4, 0.003, 0.1, 5.0])
@pytest.mark.parametrize("location", [-3.0, 0.0, 0.3, 0.5019, 1.0, 40.0])
def test_the_discretised_logistic_sums_to_one_over_the_levels(scale, location):
    x = LEVELS[:, None]
    log_p = -Logistic(scale)(torch.full_like(x, location), x)
    assert float(torch.logsumexp(log_p, 0)) == pytest.approx(0.0, abs=1e-9)


def test_the_discretised_logistic_is_the_mass_between_the_middles_of_levels():
    """Differences of torch's logistic distribution function, open at both ends."""
    location, scale = 0.41, 0.07
    base = distributions.Uniform(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    logistic = distributions.TransformedDistribution(
        base, [distributions.SigmoidTransform().inv, distributions.AffineTransform(location, scale)]
    )
    edges = (torch.arange(255, dtype=torch.float64) + 0.5) / 255
    below = torch.cat([torch.zeros(1).double(), logistic.cdf(edges), torch.ones(1).double()])
    log_p = -Logistic(scale)(torch.full((256, 1), location).double(), LEVELS[:, None])
    torch.testing.assert_close(log_p.exp(), below.diff())


def test_the_discretised_logistic_rounds_to_the_nearest_level(r):
    x = torch.full_like(r, 100 / 255)
    torch.testing.assert_close(Logistic()(r, x + 0.4 / 255), Logistic()(r, x))
    assert bool((Logistic()(r, x + 0.6 / 255) != Logistic()(r, x)).all())


@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0])
def test_the_mean_of_the_discretised_logistic(scale):
    r = torch.linspace(-2, 3, 41, dtype=torch.float64)
    wide = r[:, None].expand(-1, 256).reshape(-1, 1)
    p = (-Logistic(scale)(wide, LEVELS.repeat(41)[:, None])).exp().view(41, 256)
    bound = 1.01 / (96 * 255**2 * scale)
    torch.testing.assert_close(Logistic(scale).mean(r), p @ LEVELS, atol=bound, rtol=0)


@pytest.mark.parametrize("location", [-40.0, 40.0])
@pytest.mark.parametrize("level", [0.0, 100 / 255, 1.0])
def test_far_off_the_discretised_logistic_keeps_value_and_gradient(location, level):
    """One scale further costs one nat more, as long as the level is on the other side."""
    r = torch.full((1, 1), location, requires_grad=True)
    value = Logistic(1.0)(r, torch.full((1, 1), level))
    (gradient,) = torch.autograd.grad(value.sum(), r)
    covered = level == (0.0 if location < 0 else 1.0)
    assert float(gradient) == pytest.approx(0.0 if covered else location / 40, abs=1e-6)
    assert float(value.detach()) == pytest.approx(0.0, abs=1e-6) if covered else float(value.detach()) > 39


@pytest.mark.parametrize("kind", [Bernoulli, Gaussian, Laplace, Logistic])
def test_gradients_are_those_of_finite_differences(kind):
    generator = torch.Generator().manual_seed(2)
    r = torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    x = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda r: kind()(r, x), r)
    assert torch.autograd.gradcheck(lambda r: kind().mean(r), r)


@pytest.mark.parametrize("kind", [Bernoulli, Gaussian, Laplace, Logistic])
def test_bfloat16_logits_are_summed_in_float32(kind, r, x):
    half = r.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = kind()(half, x.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, kind()(half.float(), x.float()))


def images(side: int, channels: int = 1, n: int = 3) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("side", "scales"), [(5, 2), (8, 2), (9, 3), (16, 3), (17, 4), (32, 4), (33, 5), (64, 5)])
def test_ms_ssim_uses_the_scales_that_fit(side, scales):
    assert len(fitting_sigmas((1, side, side + 3))) == scales


@pytest.mark.parametrize("channels", [1, 3])
def test_ms_ssim_is_nothing_for_equal_images_and_grows_with_the_noise(channels):
    x = images(16, channels)
    likelihood = MSSSIM((channels, 16, 16), scale=0.5)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    found = [likelihood(x + amount * noise, x) for amount in (0.0, 0.1, 0.5)]
    torch.testing.assert_close(found[0], torch.zeros(3), atol=1e-3, rtol=0)
    assert bool((found[0] < found[1]).all())
    assert bool((found[1] < found[2]).all())
    assert float(found[2].max()) <= 2 * channels * 16 * 16 / 0.5  # 1 − MS-SSIM is at most 2


def test_ms_ssim_of_constant_images_is_their_luminance():
    """(2ab + C)/(a² + b² + C) with C = .01², and no contrast or structure."""
    a, b = (torch.full((1, 1, 40, 40), value, dtype=torch.float64) for value in (0.3, 0.6))
    expected = (2 * 0.3 * 0.6 + 1e-4) / (0.3**2 + 0.6**2 + 1e-4)
    torch.testing.assert_close(MSSSIM((1, 40, 40)).similarity(a, b), torch.full_like(a, expected))


def test_ms_ssim_is_kornias_where_no_border_is_seen():
    """Kornia pads with zeros and convolves in two dimensions, in float32; the coarsest window reaches 16 pixels."""
    from kornia.losses import MS_SSIMLoss

    x = images(48)
    r = 0.8 * x + 0.2 * x.flip(0)
    expected = 1 - MS_SSIMLoss(alpha=1.0, compensation=1.0, reduction="none")(r, x)
    found = MSSSIM((1, 48, 48)).similarity(r, x)[:, 0]
    torch.testing.assert_close(found[:, 16:-16, 16:-16], expected[:, 16:-16, 16:-16], atol=2e-4, rtol=0)
    assert float(expected.std()) > 0.01


def test_ms_ssim_keeps_its_digits_under_autocast_and_has_the_right_gradient():
    r, x = images(8), images(8).flip(0)
    likelihood = MSSSIM((1, 8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(likelihood(r, x), likelihood(r.double(), x.double()).float())
    leaf = r[:1].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda r: likelihood(r, x[:1].double()), leaf)


def test_ms_ssim_sums_over_pixels_and_channels():
    r, x = images(16, 3), images(16, 3).flip(0)
    likelihood = MSSSIM((3, 16, 16), scale=0.1)
    gray = MSSSIM((1, 16, 16), scale=0.1)
    each = sum(gray(r[:, i : i + 1], x[:, i : i + 1]) for i in range(3))
    torch.testing.assert_close(likelihood(r, x), each)


@pytest.mark.parametrize("shape", [(1, 4, 9), (6,), (2, 64)])
def test_ms_ssim_refuses_what_it_cannot_compare(shape):
    with pytest.raises(ShapeError, match=r"compares images .* of at least 5×5 pixels"):
        MSSSIM(shape)


def test_perceptual_is_the_squared_distance_of_named_features(r, x):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(24, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    likelihood = Perceptual(network, ["1", "3"], scale=2.0)
    first = (network[1](r.flatten(1)) - network[1](x.flatten(1))).square().sum(1)
    second = (network(r) - network(x)).square().sum(1)
    torch.testing.assert_close(likelihood(r, x), (first + second) / 8)
    assert not list(likelihood.parameters())
    assert not likelihood.state_dict()
    leaf = r.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(likelihood(leaf, x).sum(), leaf)
    assert float(gradient.abs().max()) > 0


def test_energies_have_no_learned_scale_and_need_what_they_compare():
    with pytest.raises(OptionError, match="ms-ssim has no normaliser, so its scale cannot be learned"):
        MSSSIM((1, 8, 8), "learned")
    with pytest.raises(OptionError, match="perceptual: expected a scale > 0, got 0"):
        Perceptual(nn.Linear(2, 2), [""], scale=0.0)
    with pytest.raises(OptionError, match="expected the names of layers"):
        Perceptual(nn.Linear(2, 2), [])


def smooth(shape):
    return Gaussian(0.5 if shape == (2, 2) else 1.0)


def test_the_users_own(r):
    assert make_likelihood(smooth, shape=(2, 2)).scale == pytest.approx(0.5)
    assert type(make_likelihood("trimkit.methods:MSSSIM", shape=(1, 8, 8))) is MSSSIM
    with pytest.raises(OptionError, match=r"expected a trimkit.methods.Likelihood, got list"):
        make_likelihood("builtins:list")


@pytest.mark.parametrize("name", ["logistic", "ms-ssim"])
def test_the_others_of_unit_range(name):
    likelihood = make_likelihood(name, shape=(1, 8, 8))
    likelihood.check(torch.tensor([[0.0, 1.0]]))
    with pytest.raises(DataError, match=r"needs data in \[0, 1\], got 0 … 1.5; rescale"):
        likelihood.check(torch.tensor([[0.0, 1.5]]))
