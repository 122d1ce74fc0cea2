"""VAE and β-VAE: the objective against brute force, and the latent space as a transform."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from torch import distributions
from trimkit_vae.vae import VAE, BetaVAE

import trimkit
from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.methods import Batch, standard_normal
from trimkit.registry import default
from trimkit.registry.calling import signature_of

from .draws import generator


def brute_force(method: VAE, x: torch.Tensor, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """−log p(x|z) and KL of each image by torch.distributions, with the same noise."""
    mean, log_variance = method.encoder(x).chunk(2, 1)
    posterior = distributions.Normal(mean, (log_variance / 2).exp())
    r = method.decoder(mean + (log_variance / 2).exp() * standard_normal(mean, draw))
    observation = {
        "bernoulli": lambda: distributions.Bernoulli(logits=r, validate_args=False),
        "gaussian": lambda: distributions.Normal(r, method.scale),
        "laplace": lambda: distributions.Laplace(r, method.scale),
    }[method.likelihood]()
    prior = distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    recon = -observation.log_prob(x).sum((1, 2, 3))
    return recon, distributions.kl_divergence(posterior, prior).sum(1)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace"])
@pytest.mark.parametrize("kind", [VAE, BetaVAE])
def test_the_terms_are_the_elbo_of_each_image(make_vae, images, kind, likelihood):
    method = make_vae(kind, likelihood=likelihood, scale=0.3).double()
    x = images.x[:6].double()
    result = method.loss(Batch(x), generator(), step=0)
    recon, kl = brute_force(method, x, generator())
    torch.testing.assert_close(result.terms["recon"].values, recon)
    torch.testing.assert_close(result.terms["kl"].values, kl)
    assert float(result.diagnostics["kl_per_dimension"].sum()) == pytest.approx(kl.mean().item())
    assert not result.terms["recon"].batch_statistic


def test_the_bound_is_below_the_evidence_and_tight_where_it_should_be():
    """log p(x) ≥ ELBO; equal for a linear Gaussian model whose encoder is the exact posterior."""
    method = BetaVAE((1,), latent_dim=1, network="mlp", likelihood="gaussian", scale=0.5).double()
    slope = 0.8
    variance = 1 / (1 + slope**2 / 0.25)

    def encode(x):
        mean = variance * slope / 0.25 * x
        return torch.cat([mean, torch.full_like(mean, variance).log()], 1)

    method.encoder.forward = encode
    method.decoder.forward = lambda z: slope * z
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    draws = [method.loss(Batch(x), generator(seed), 0).terms for seed in range(4000)]
    bound = -torch.stack([terms["recon"].values + terms["kl"].values for terms in draws]).mean(0)
    evidence = distributions.Normal(0, (slope**2 + 0.25) ** 0.5).log_prob(x[:, 0])
    torch.testing.assert_close(bound, evidence, atol=0.02, rtol=0)


def test_the_weights_are_one_and_beta(make_vae):
    assert make_vae(VAE).phases()[0].weights == {"recon": 1.0, "kl": 1.0}
    assert make_vae(beta=6.0).phases()[0].weights == {"recon": 1.0, "kl": 6.0}


def test_beta_may_be_a_schedule(make_vae):
    for beta in ("linear(0, 4, 100)", trimkit.linear(0.0, 4.0, 100)):
        weight = make_vae(beta=beta).phases()[0].weights["kl"]
        assert [weight(step) for step in (0, 50, 200)] == [0.0, 2.0, 4.0]


def test_options_are_given_by_name():
    for name in ("vae", "beta-vae", "beta-vae-b"):
        signature = signature_of(default().find("method", name).load())
        assert signature is not None
        taken = signature.parameters.values()
        assert [p.name for p in taken if p.kind is not inspect.Parameter.KEYWORD_ONLY] == [
            "shape",
            "latent_dim",
        ]


def test_beta_must_not_be_negative(make_vae):
    with pytest.raises(OptionError, match="expected learning_rate > 0, got 0"):
        make_vae(learning_rate=0.0)
    with pytest.raises(OptionError, match="expected beta ≥ 0, got -1"):
        make_vae(beta=-1.0)
    with pytest.raises(OptionError, match="expected a weight such as"):
        make_vae(beta="strong")


def test_a_larger_beta_gives_a_smaller_kl(make_vae, images):
    kl = [
        trimkit.train(make_vae(beta=beta), images, steps=150, batch_size=24).results["train"]["kl"]
        for beta in (0.5, 50.0)
    ]
    assert kl[1] < 0.5 * kl[0]


def test_training_brings_the_loss_down(make_vae, images):
    run = trimkit.train(make_vae(VAE, learning_rate=2e-3), images, steps=150, batch_size=24, log_every=150)
    baseline = (images.x - images.x.mean(0)).square().mean()
    assert run.results["train"]["squared_error"] < 0.5 * float(baseline)
    assert run.results["train"]["active_latents"] >= 2


def test_the_latent_space_explains_a_predictor(make_vae, images, predictor):
    method = make_vae().double().eval()
    f, x = predictor.double(), images.x[:5].double()
    result = trimkit.Trim(f, transform=method.as_transform("z"), attribution="integrated_gradients")(x, target=1)
    torch.testing.assert_close(result.output, f(x))
    torch.testing.assert_close(f(method.decode(result.coefficients) + result.residual), f(x))
    torch.testing.assert_close(result.scores.sum(1), result.change, atol=2e-3, rtol=0)
    assert method.as_transform("z").groups((1, 8, 8)).names == ("z0", "z1", "z2")


def test_a_penalty_in_the_latent_space_has_the_right_gradient(make_vae, images, predictor):
    """Against finite differences of the penalty by hand, whose residual stays, in weights of encoder and decoder."""
    method, f = make_vae().double(), trimkit.FrozenPredictor(predictor.double())
    x = images.x[:3].double()
    penalty = trimkit.TrimPenalty("hoyer", transform=method.as_transform("z"), attribution="input_x_gradient")
    weights = [method.encoder[1].weight, method.decoder[0].weight]
    gradients = torch.autograd.grad(penalty.penalise(f, x, 1), weights)
    residual = (x - method.decode(method.encode(x).mean)).detach()

    def by_hand() -> float:
        z = method.encode(x).mean.detach().requires_grad_()
        (slope,) = torch.autograd.grad(f(method.decode(z) + residual)[:, 1].sum(), z)
        return float((1 - trimkit.penalties.hoyer((z * slope).detach())).mean())

    assert by_hand() == pytest.approx(float(penalty.penalise(f, x, 1).detach()))
    for weight, gradient in zip(weights, gradients, strict=True):
        index = divmod(int(gradient.abs().argmax()), weight.shape[1])
        values = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                weight[index] += step
            values.append(by_hand())
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient[index].item(), rel=1e-5)


@pytest.mark.parametrize("trim", [(), ("l1@z:0.1",)])
def test_a_resumed_run_is_an_uninterrupted_one(make_vae, images, predictor, tmp_path, trim):
    options = {"predictor": predictor, "trim": trim, "batch_size": 16, "checkpoint_every": 4}  # 3 steps an epoch
    whole, parts = make_vae(), make_vae(seed=9)
    trimkit.train(whole, images, steps=10, **options)
    trimkit.train(make_vae(), images, steps=5, folder=tmp_path / "run", **options)
    trimkit.train(parts, images, steps=10, folder=tmp_path / "run", resume=True, **options)
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_samples_come_from_the_generator(make_vae):
    method = make_vae().double()
    first, second = method.sample(4, generator(1)), method.sample(4, generator(1))
    assert first.shape == (4, 1, 8, 8)
    assert first.dtype == torch.float64
    assert torch.equal(first, second)
    assert not torch.equal(first, method.sample(4, generator(2)))


def test_decoded_data_are_in_data_units(make_vae):
    x = make_vae(likelihood="bernoulli").decode(torch.randn(20, 3, generator=generator()) * 10)
    assert x.min() >= 0
    assert x.max() <= 1


def test_data_outside_the_likelihoods_range_are_refused(make_vae):
    x = torch.full((4, 1, 8, 8), 2.0)
    make_vae().check(x)
    with pytest.raises(DataError, match=r"needs data in \[0, 1\], got 2"):
        make_vae(likelihood="bernoulli").check(x)
    with pytest.raises(ShapeError, match=r"made for floating data of shape \(1, 8, 8\)"):
        make_vae().check(torch.zeros(4, 1, 9, 9))


def test_by_name_with_options():
    method = trimkit.create("method", "beta-vae", shape=(1, 16, 16), latent_dim=6, beta=2.0)
    assert type(method) is BetaVAE
    assert method.options == {
        "shape": (1, 16, 16),
        "latent_dim": 6,
        "beta": 2.0,
        "network": "burgess",
        "likelihood": "gaussian",
        "scale": 0.1,
        "learning_rate": 5e-4,
        "conditional": False,
        "segments": 0,
        "aux_dim": 0,
    }
    assert type(trimkit.create("method", "vae", shape=(6,), network="mlp")) is VAE


@pytest.mark.parametrize("name", ["vae", "beta-vae"])
def test_the_specification_says_what_the_method_is(name, make_vae):
    from trimkit.registry import specification

    spec = specification("method", name)
    method = trimkit.create("method", name, shape=(6,), network="mlp")
    assert [space.name for space in method.latent_spaces()] == ["z"]
    assert all(space.can_encode and space.can_decode for space in method.latent_spaces())
    assert spec.family == "vae"


def test_a_copy_is_independent(make_vae, images):
    method = make_vae()
    other = copy.deepcopy(method)
    trimkit.train(other, images, steps=2)
    assert not torch.equal(method.encoder[1].weight, other.encoder[1].weight)
