"""InfoVAE and WAE: the discrepancy between codes and prior, and encoders without variance."""

from __future__ import annotations

import pytest
import torch
from trimkit_vae.mmd import WAE, InfoVAE

import trimkit
from trimkit.errors import OptionError
from trimkit.methods import Batch, Delta, DiagonalGaussian, maximum_mean_discrepancy

from .draws import generator


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_term_compares_codes_with_draws_from_the_prior(make_vae, images, kernel):
    method = make_vae(WAE, kernel=kernel).double()
    x = images.x[:9].double()
    term = method.loss(Batch(x), generator(), 0).terms["mmd"]
    prior = torch.randn(9, 3, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(term.values, maximum_mean_discrepancy(method.encode(x).mean, prior, kernel))
    assert term.batch_statistic


def test_the_weights_of_info_vae(make_vae):
    """(1 − α) KL + (α + λ − 1) MMD: α 0, λ 1 is the VAE, α 1 the MMD-VAE."""
    assert make_vae(InfoVAE, alpha=0.0, lambda_mmd=1.0).weights() == {"kl": 1.0, "mmd": 0.0}
    assert make_vae(InfoVAE, alpha=1.0, lambda_mmd=10.0).weights() == {"kl": 0.0, "mmd": 10.0}
    assert make_vae(InfoVAE, alpha=-1.0, lambda_mmd=3.0).weights() == {"kl": 2.0, "mmd": 1.0}


def test_info_vae_refuses_to_maximise(make_vae):
    with pytest.raises(OptionError, match=r"expected alpha \+ lambda_mmd ≥ 1, got 0.0 \+ 0.001: the discrepancy"):
        make_vae(InfoVAE, alpha=0.0, lambda_mmd=1e-3)
    with pytest.raises(OptionError, match=r"expected alpha ≤ 1, got 1.5: the KL would be maximised"):
        make_vae(InfoVAE, alpha=1.5)
    with pytest.raises(OptionError, match="expected lambda_mmd ≥ 0, got -1"):
        make_vae(WAE, lambda_mmd=-1.0)


@pytest.mark.parametrize("kind", [InfoVAE, WAE])
def test_a_kernel_is_refused_when_the_method_is_made(make_vae, kind):
    with pytest.raises(OptionError, match=r"there is no kernel 'imp'\. Did you mean 'imq'"):
        make_vae(kind, kernel="imp")


def test_a_deterministic_encoder_is_a_point(make_vae, images):
    method = make_vae(WAE).double()
    q = method.encode(images.x[:4].double())
    assert isinstance(q, Delta)
    assert torch.equal(q.rsample(), q.mean)
    result = method.loss(Batch(images.x[:4].double()), generator(), 0)
    torch.testing.assert_close(result.carried["z"], q.mean)
    assert not result.diagnostics
    assert not method.space("z").stochastic
    stochastic = make_vae(WAE, stochastic=True)
    assert isinstance(stochastic.encode(images.x[:4]), DiagonalGaussian)
    assert stochastic.space("z").stochastic


def test_training_brings_the_codes_to_the_prior(make_vae, images):
    """From codes that all lie near 0, so that the MMD is large at first."""
    method = make_vae(WAE, learning_rate=4e-3)
    trimkit.train(method, images, steps=150, batch_size=48)
    with torch.no_grad():
        prior = torch.randn(2000, 3, generator=generator())
        codes = [kind.encode(images.x).mean for kind in (make_vae(WAE), method)]
        before, after = (float(maximum_mean_discrepancy(z, prior)) for z in codes)
        error = (method.decode(codes[1]) - images.x).square().mean()
    assert after < 0.3 * before
    assert float(error) < 0.5 * float((images.x - images.x.mean(0)).square().mean())


def test_a_heavier_discrepancy_of_info_vae_is_a_smaller_one(make_vae, images):
    found = []
    for weight in (1.0, 500.0):
        method = make_vae(InfoVAE, lambda_mmd=weight, learning_rate=2e-3)
        trimkit.train(method, images, steps=150, batch_size=48)
        with torch.no_grad():
            z = method.encode(images.x).rsample(generator())
            found.append(float(maximum_mean_discrepancy(z, torch.randn(2000, 3, generator=generator(1)))))
    assert found[1] < 0.5 * found[0]
