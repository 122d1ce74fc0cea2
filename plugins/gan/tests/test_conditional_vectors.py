"""What draws codes of a generator that is conditional on vectors takes them: nobody knows how they are distributed."""

from __future__ import annotations

import pytest
import torch
from trimkit_gan.factorisation import ganspace
from trimkit_gan.noise import noise_share
from trimkit_gan.stylegan import StyleGAN2

from trimkit.errors import DataError

SMALL = {"z_dim": 4, "w_dim": 4, "mapping_layers": 1, "channel_base": 32, "channel_max": 4}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def method():
    return StyleGAN2((1, 8, 8), conditional=True, aux_dim=2, **SMALL).eval()


def test_the_components_of_w_are_those_of_the_vectors_given(method):
    u = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        w = method.draw_w(50, generator(), u)
        found = ganspace(method, 50, generator=generator(), aux=u)(w)
    covariance = found.T @ found / 50
    torch.testing.assert_close(covariance, torch.diag(covariance.diagonal()), atol=1e-5, rtol=0)
    with pytest.raises(DataError, match="needs the auxiliary variable u of each sample to draw, got none; give aux=u"):
        ganspace(method, 50)


def test_noise_of_samples_of_the_vectors_given(method):
    for tap in method.synthesis.taps:
        if not tap.to_rgb:
            torch.nn.init.constant_(tap.module.noise_strength, 0.5)
    share = noise_share(method, samples=6, generator=generator(), aux=torch.randn(6, 2))
    assert 0 < share < 1
    with pytest.raises(DataError, match="give aux=u"):
        noise_share(method, samples=6)
