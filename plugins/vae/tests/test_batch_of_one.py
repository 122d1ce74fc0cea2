"""A batch of one sample: what compares samples refuses it, what does not trains on it."""

from __future__ import annotations

import pytest
import torch
from trimkit_vae.capacity import CapacityVAE
from trimkit_vae.dip import DIPVAEI, DIPVAEII, biased_covariance
from trimkit_vae.vae import VAE

import trimkit
from trimkit.errors import ShapeError


@pytest.mark.parametrize("kind", [DIPVAEI, DIPVAEII])
def test_the_covariance_of_one_sample_is_refused(make_vae, images, kind):
    with pytest.raises(ShapeError, match="covariance of a batch's codes: expected at least 2 samples a batch, got 1"):
        trimkit.train(make_vae(kind), images, steps=1, batch_size=1)


def test_two_samples_have_a_covariance():
    rows = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    assert torch.equal(biased_covariance(rows), torch.ones(2, 2))


@pytest.mark.parametrize("kind", [VAE, CapacityVAE])
def test_terms_that_compare_no_samples_are_trained_on_one(make_vae, images, kind):
    method = make_vae(kind)
    before = [parameter.detach().clone() for parameter in method.encoder.parameters()]
    trimkit.train(method, images, steps=1, batch_size=1)
    assert all(not torch.equal(*pair) for pair in zip(before, method.encoder.parameters(), strict=True))
