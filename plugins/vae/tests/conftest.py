"""A small VAE, images and a predictor of them."""

from __future__ import annotations

import pytest
import torch
from trimkit_vae.vae import BetaVAE

import trimkit


@pytest.fixture
def make_vae():
    """Makes a method of the same initial weights each time."""

    def make(kind=BetaVAE, shape=(1, 8, 8), seed: int = 0, **options):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return kind(shape, **{"latent_dim": 3, "network": "mlp", **options})

    return make


@pytest.fixture
def images():
    """48 blurred squares at random places, in [0, 1], of two classes: left and right."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 5, (48, 2), generator=generator)
    x = torch.zeros(48, 1, 8, 8)
    for image, (row, column) in zip(x, corners.tolist(), strict=True):
        image[0, row : row + 4, column : column + 4] = 1.0
    x = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
    return trimkit.data.Dataset("squares", x, (corners[:, 1] > 2).long(), classes=("left", "right"))


@pytest.fixture
def predictor():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers = [torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)]
        return torch.nn.Sequential(*layers)
