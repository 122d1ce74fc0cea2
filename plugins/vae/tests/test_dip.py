"""DIP-VAE: the covariance of the codes against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trimkit_vae.dip import DIPVAEI, DIPVAEII, biased_covariance

import trimkit
from trimkit.errors import OptionError
from trimkit.methods import Batch


def terms(method, x) -> dict[str, float]:
    found = method.loss(Batch(x), torch.Generator().manual_seed(0), 0).terms
    assert found["dip_diagonal"].batch_statistic
    assert found["dip_off_diagonal"].batch_statistic
    return {name: float(term.mean.detach()) for name, term in found.items()}


@pytest.mark.parametrize("kind", [DIPVAEI, DIPVAEII])
def test_the_terms_against_numpy(make_vae, images, kind):
    method = make_vae(kind).double()
    x = images.x[:12].double()
    mean, log_variance = method.encoder(x).detach().chunk(2, 1)
    s = np.cov(mean.numpy(), rowvar=False, bias=True)
    if kind is DIPVAEII:
        s = s + np.diag(np.exp(log_variance.numpy()).mean(0))
    off = sum(s[i, j] ** 2 for i in range(3) for j in range(3) if i != j)
    diagonal = sum((s[i, i] - 1) ** 2 for i in range(3))
    found = terms(method, x)
    assert found["dip_off_diagonal"] == pytest.approx(off)
    assert found["dip_diagonal"] == pytest.approx(diagonal)


def test_the_second_kind_adds_to_the_diagonal_only(make_vae, images):
    """The known mistake adds one scalar to every entry."""
    first, second = make_vae(DIPVAEI).double(), make_vae(DIPVAEII).double()
    q = first.encode(images.x.double())
    difference = (second.covariance(q) - first.covariance(q)).detach()
    torch.testing.assert_close(difference, torch.diag(q.log_variance.exp().mean(0)).detach())


def test_the_covariance_is_biased_and_keeps_its_digits_under_autocast():
    rows = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.from_numpy(np.cov(rows.numpy(), rowvar=False, bias=True)).float()
    torch.testing.assert_close(biased_covariance(rows), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(biased_covariance(rows), expected)
    assert biased_covariance(rows[:, :1]).shape == (1, 1)


def test_the_default_weights_are_the_papers_ratios(make_vae):
    weights = make_vae(DIPVAEI).phases()[0].weights
    assert weights == {"recon": 1.0, "kl": 1.0, "dip_off_diagonal": 10.0, "dip_diagonal": 100.0}
    weights = make_vae(DIPVAEII).phases()[0].weights
    assert weights["dip_off_diagonal"] == weights["dip_diagonal"] == 10.0


@pytest.mark.parametrize("kind", [DIPVAEI, DIPVAEII])
def test_training_brings_the_covariance_to_the_identity(make_vae, images, kind):
    method = make_vae(kind, learning_rate=4e-3, lambda_off_diagonal=100.0, lambda_diagonal=100.0)
    before = terms(method, images.x)
    trimkit.train(method, images, steps=100, batch_size=24)
    after = terms(method, images.x)
    assert after["dip_diagonal"] < 0.2 * before["dip_diagonal"] + 0.05
    assert after["dip_off_diagonal"] < 0.2


def test_negative_weights_are_refused(make_vae):
    for option in ("lambda_off_diagonal", "lambda_diagonal"):
        with pytest.raises(OptionError, match=f"expected {option} ≥ 0, got -1"):
            make_vae(DIPVAEII, **{option: -1.0})
