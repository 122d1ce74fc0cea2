"""Encoders x → (μ, log σ²) and decoders z → r, the parameters of p(x|z)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from torch import nn

from trimkit.errors import OptionError, ShapeError, nearest

NetworkName: TypeAlias = Literal["burgess", "mlp"]

CHANNELS = 32
HIDDEN = 256
"""Widths of Burgess et al. 2018, appendix: 32 channels in every convolution, two hidden layers of 256."""


class Networks(NamedTuple):
    """The two halves of an autoencoder.

    Attributes:
        encoder: (N, *shape) → (N, 2D), means then log variances.
        decoder: (N, D) → (N, *shape), logits or locations.
    """

    encoder: nn.Module
    decoder: nn.Module


def make_networks(name: NetworkName, shape: Sequence[int], latent_dim: int) -> Networks:
    """Encoder and decoder by name.

    Args:
        name: "burgess" for square images of 8, 16, 32, … 256 pixels, "mlp" for data of any shape.
        shape: of one sample.
        latent_dim: D, at least 1.
    Raises:
        OptionError: an unknown name, or latent_dim < 1.
        ShapeError: data that the network does not take.
    """
    makers = {"burgess": burgess, "mlp": mlp}
    if name not in makers:
        raise OptionError(f"there is no network {name!r}. {nearest(name, makers)}")
    if latent_dim < 1:
        raise OptionError(f"expected latent_dim ≥ 1, got {latent_dim}")
    return makers[name](shape, latent_dim)


def burgess(shape: Sequence[int], latent_dim: int) -> Networks:
    """The convolutional pair of Burgess et al. 2018 (arXiv:1804.03599): 4×4 kernels, stride 2, down to 4×4 pixels.

    Four convolutions at 64 pixels as published; one fewer for each halving of the size, so that 32 and 16 pixels keep
    the same 4×4 map before the two hidden layers.

    Args:
        shape: (C, S, S) with S = 8, 16, 32, … 256.
        latent_dim: D.
    Raises:
        ShapeError: another shape.
    """
    channels, depth = shape[0], _halvings(shape)
    flat = CHANNELS * 4 * 4
    downs = [_down(channels if i == 0 else CHANNELS) for i in range(depth)]
    ups = [_up(CHANNELS) for _ in range(depth - 1)]
    encoder = nn.Sequential(*downs, nn.Flatten(), *_hidden(flat, HIDDEN, HIDDEN), nn.Linear(HIDDEN, 2 * latent_dim))
    decoder = nn.Sequential(
        *_hidden(latent_dim, HIDDEN, HIDDEN, flat),
        nn.Unflatten(1, (CHANNELS, 4, 4)),
        *ups,
        nn.ConvTranspose2d(CHANNELS, channels, 4, stride=2, padding=1),
    )
    return Networks(encoder, decoder)


def mlp(shape: Sequence[int], latent_dim: int) -> Networks:
    """Two hidden layers of 256 on flattened data of any shape.

    Args:
        shape: of one sample.
        latent_dim: D.
    """
    size = math.prod(shape)
    encoder = nn.Sequential(nn.Flatten(), *_hidden(size, HIDDEN, HIDDEN), nn.Linear(HIDDEN, 2 * latent_dim))
    decoder = nn.Sequential(
        *_hidden(latent_dim, HIDDEN, HIDDEN), nn.Linear(HIDDEN, size), nn.Unflatten(1, tuple(shape))
    )
    return Networks(encoder, decoder)


def _halvings(shape: Sequence[int]) -> int:
    """How often a square image is halved until it is 4×4."""
    size = shape[-1]
    square = len(shape) == 3 and shape[1] == size
    if not square or size not in (8, 16, 32, 64, 128, 256):
        raise ShapeError(
            f"network 'burgess' takes square images (C, S, S) with S = 8, 16, 32, … 256, got {tuple(shape)}; pad "
            "or resize them, or use network 'mlp'"
        )
    return int(math.log2(size)) - 2


def _down(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, CHANNELS, 4, stride=2, padding=1), nn.ReLU())


def _up(channels: int) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(channels, CHANNELS, 4, stride=2, padding=1), nn.ReLU())


def _hidden(*widths: int) -> list[nn.Module]:
    """Linear layers from width to width, a ReLU after each."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers
