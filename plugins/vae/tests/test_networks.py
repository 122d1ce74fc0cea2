"""Encoders and decoders have the shapes and sizes of their sources."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from trimkit_vae.networks import burgess, conv, make_networks, mlp

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


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 64, 64), (1, 17, 30), (1, 31, 45), (2, 19, 16), (2, 16), (3, 101)])
def test_conv_takes_images_and_signals_of_any_size(shape):
    networks = conv(shape, latent_dim=4)
    x = torch.rand(2, *shape)
    assert networks.encoder(x).shape == (2, 8)
    assert networks.decoder(torch.rand(2, 4)).shape == x.shape


def test_conv_at_64_pixels_is_the_published_network():
    """Convolutions 1-32-32-64-64 with kernels 4, 4, 2, 2; 1024 → 256 → 20, and back by kernels of 4."""
    networks = conv((1, 64, 64), latent_dim=10)
    encoder = 16 * 32 + 32 + 16 * 32 * 32 + 32 + 4 * 32 * 64 + 64 + 4 * 64 * 64 + 64 + 1025 * 256 + 257 * 20
    decoder = 11 * 256 + 257 * 1024 + 16 * 64 * 64 + 64 + 16 * 64 * 32 + 32 + 16 * 32 * 32 + 32 + 16 * 32 + 1
    assert sum(p.numel() for p in networks.encoder.parameters()) == encoder
    assert sum(p.numel() for p in networks.decoder.parameters()) == decoder


@pytest.mark.parametrize("shape", [(1, 17, 31), (1, 23)])
def test_conv_sees_the_last_value_of_odd_sizes(shape):
    networks = conv(shape, latent_dim=4)
    x = torch.rand(1, *shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(networks.encoder(x).square().sum(), x)
    assert bool((gradient != 0).all())


@pytest.mark.parametrize("shape", [(1, 15, 16), (2, 15), (64,)])
def test_conv_refuses_what_it_cannot_halve_four_times(shape):
    with pytest.raises(ShapeError, match=r"'conv' takes images .* of at least 16 values .* use network 'mlp'"):
        conv(shape, latent_dim=3)


def own(shape, latent_dim, codes=2):
    size = math.prod(shape)
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(size), nn.Linear(size, codes * latent_dim))
    return encoder, nn.Sequential(nn.Linear(latent_dim, size), nn.Unflatten(1, shape))


def test_own_networks_by_function_or_path(tmp_path, monkeypatch):
    assert isinstance(make_networks(own, (2, 3), 4).encoder[1], nn.BatchNorm1d)
    source = "import torch\ndef pair(shape, d):\n    return torch.nn.Linear(6, 2 * d), torch.nn.Linear(d, 6)\n"
    (tmp_path / "mine.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert make_networks("mine.py:pair", (6,), 3).decoder.in_features == 3


def test_the_probe_leaves_own_networks_as_they_were():
    networks = make_networks(own, (2, 3), 4)
    assert all(module.training for module in networks.encoder.modules())
    assert int(networks.encoder[1].num_batches_tracked) == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda shape, d: own(shape, d, codes=1),
            ShapeError,
            r"own encoder: expected \(N, 2, 3\) → \(N, 8\), got \(N, 4\)",
        ),
        (
            lambda shape, d: (own(shape, d)[0], nn.Linear(d, 6)),
            ShapeError,
            r"own decoder: expected \(N, 4\) → \(N, 2, 3\), got \(N, 6\)",
        ),
        (
            lambda shape, d: (nn.Linear(5, 8), nn.Identity()),
            ShapeError,
            r"own encoder: does not take \(N, 2, 3\): mat1",
        ),
        (lambda shape, d: nn.Linear(6, 8), OptionError, r"expected a pair of modules \(encoder, decoder\), got Linear"),
        (lambda shape, d: (1, 2), OptionError, "expected a pair of modules"),
    ],
)
def test_own_networks_of_the_wrong_kind_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make_networks(make, (2, 3), 4)
