"""Encoders and decoders have the shapes and sizes of their sources."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trimkit_vae.networks import burgess, make_networks, mlp

from trimkit.errors import OptionError, ShapeError


def count(module: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(m, kind) for m in module.modules())


@pytest.mark.parametrize(("size", "convolutions"), [(8, 1), (16, 2), (32, 3), (64, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_burgess_halves_to_four_pixels(size, convolutions, channels):
    networks = burgess((channels, size, size), latent_dim=5)
    assert count(networks.encoder, nn.Conv2d) == convolutions
    assert count(networks.decoder, nn.ConvTranspose2d) == convolutions
    x = torch.rand(2, channels, size, size)
    codes = networks.encoder(x)
    assert codes.shape == (2, 10)
    assert networks.decoder(codes[:, :5]).shape == x.shape


def test_burgess_at_64_pixels_is_the_published_network():
    """Convolutions 32·16·(1 + 3·32) + 4·32, hidden layers 512 → 256 → 256, head 256 → 20."""
    encoder = burgess((1, 64, 64), latent_dim=10).encoder
    expected = 32 * 16 * (1 + 3 * 32) + 4 * 32 + 513 * 256 + 257 * 256 + 257 * 20
    assert sum(p.numel() for p in encoder.parameters()) == expected


@pytest.mark.parametrize("shape", [(6,), (2, 50), (1, 7, 9), (3, 28, 28)])
def test_mlp_takes_any_shape(shape):
    networks = mlp(shape, latent_dim=4)
    x = torch.rand(2, *shape)
    assert networks.encoder(x).shape == (2, 8)
    assert networks.decoder(torch.rand(2, 4)).shape == x.shape


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 16, 32), (64,), (2, 64), (1, 4, 4), (1, 512, 512)])
def test_burgess_refuses_other_shapes(shape):
    with pytest.raises(ShapeError, match=r"'burgess' takes square images .* or use network 'mlp'"):
        burgess(shape, latent_dim=3)


def test_names_and_sizes_are_checked():
    with pytest.raises(OptionError, match=r"there is no network 'burges'\. Did you mean 'burgess'"):
        make_networks("burges", (1, 16, 16), 3)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="expected latent_dim ≥ 1, got 0"):
        make_networks("mlp", (6,), 0)
