"""Encoders x → (μ, log σ²) and decoders z → r, the parameters of p(x|z)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import chosen
from trimkit_vae.initialisation import he_uniform

NetworkName: TypeAlias = Literal["burgess", "conv", "mlp"]

NetworkChoice: TypeAlias = NetworkName | str | Callable[[tuple[int, ...], int], Any]
"""A name; a function (shape, latent_dim) → (encoder, decoder); or that function as text, ``pkg.mod:function``."""

CHANNELS = 32
HIDDEN = 256
"""Widths of Burgess et al. 2018, appendix: 32 channels in every convolution, two hidden layers of 256."""

WIDTHS = (32, 32, 64, 64)
"""Channels of Locatello et al. 2019 (arXiv:1811.12359, table 1), each layer halving the size."""


class Networks(NamedTuple):
    """The two halves of an autoencoder.

    Attributes:
        encoder: (N, *shape) → (N, 2D), means then log variances.
        decoder: (N, D) → (N, *shape), logits or locations.
    """

    encoder: nn.Module
    decoder: nn.Module


class Beside(nn.Module):
    """Data with u beside them, for an encoder: one more channel, a linear map of u; for (F,) u itself, at the end.

    Args:
        shape: of one sample.
        size: entries of u, one-hot for labels.

    Attributes:
        shape: of one sample with u.
        size: as given.
    """

    def __init__(self, shape: Sequence[int], size: int) -> None:
        super().__init__()
        self.size = size
        flat = len(shape) == 1
        self.shape = (shape[0] + (size if flat else 1), *shape[1:])
        to_plane = () if flat else (nn.Linear(size, math.prod(shape[1:])), nn.Unflatten(1, (1, *shape[1:])))
        self.plane = nn.Sequential(*to_plane)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """(N, *shape) and (N, size) → (N, *shape with u)."""
        return torch.cat([x, self.plane(c)], 1)


def make_networks(
    choice: NetworkChoice, shape: Sequence[int], latent_dim: int, beside: Beside | None = None
) -> Networks:
    """Encoder and decoder by name, with weights drawn by `he_uniform`; or the user's own, as they are.

    Args:
        choice: "burgess" for square images of 8, 16, 32, … 256 pixels, "conv" for images and signals of any size from
            16, "mlp" for data of any shape; or a function (shape, latent_dim) → (encoder, decoder), also as text
            "pkg.mod:function".
        shape: of one sample.
        latent_dim: D, at least 1.
        beside: for conditional networks: the encoder takes what it gives, the decoder (N, D + size), codes and u. A
            function is then called once for each, with (shape with u, D) and (shape, D + size).
    Raises:
        OptionError: an unknown name, latent_dim < 1, or a function that returns something else than two modules.
        ShapeError: data that the network does not take, or own networks of other output shapes than `Networks` has.
        ModelError: text that names nothing.
    """
    ours = {"burgess": burgess, "conv": conv, "mlp": mlp}
    make = chosen("network", choice, ours)
    if latent_dim < 1:
        raise OptionError(f"expected latent_dim ≥ 1, got {latent_dim}")
    if beside is not None:
        encoder = make_networks(choice, beside.shape, latent_dim).encoder
        return Networks(encoder, make_networks(choice, shape, latent_dim + beside.size).decoder)
    made = make(tuple(shape), latent_dim)
    if isinstance(choice, str) and choice in ours:
        return Networks(he_uniform(made.encoder), he_uniform(made.decoder))
    return _checked(made, tuple(shape), latent_dim)


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


def conv(shape: Sequence[int], latent_dim: int) -> Networks:
    """The convolutional pair of Locatello et al. 2019, for images and signals of any size.

    Encoder: kernels 4, 4, 2, 2 with 32, 32, 64, 64 channels and stride 2, then a hidden layer of 256. Decoder: two
    hidden layers, then kernels of 4 with stride 2. A size n becomes ⌊n/2⌋ in each layer: kernels of 2 are 3 along an
    odd axis, so that its last value is seen, and output padding gives the odd size back.

    Args:
        shape: (C, H, W) or (C, L), each size at least 16.
        latent_dim: D.
    Raises:
        ShapeError: another shape.
    """
    if len(shape) not in (2, 3) or min(shape[1:]) < 16:
        raise ShapeError(
            f"network 'conv' takes images (C, H, W) and signals (C, L) of at least 16 values along each axis, got "
            f"{tuple(shape)}; use network 'mlp'"
        )
    down: Any = nn.Conv1d if len(shape) == 2 else nn.Conv2d
    up: Any = nn.ConvTranspose1d if len(shape) == 2 else nn.ConvTranspose2d
    sizes = [tuple(n // 2**i for n in shape[1:]) for i in range(len(WIDTHS) + 1)]
    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for before, after, size, kernel in zip((shape[0], *WIDTHS), WIDTHS, sizes, (4, 4, 2, 2), strict=False):
        odd = tuple(n % 2 for n in size)
        kernels = tuple(4 if kernel == 4 else 2 + n for n in odd)
        encoder += [down(before, after, kernels, stride=2, padding=1 if kernel == 4 else 0), nn.ReLU()]
        decoder = [up(after, before, 4, stride=2, padding=1, output_padding=odd), nn.ReLU(), *decoder]
    inner = (WIDTHS[-1], *sizes[-1])
    flat = math.prod(inner)
    return Networks(
        nn.Sequential(*encoder, nn.Flatten(), *_hidden(flat, HIDDEN), nn.Linear(HIDDEN, 2 * latent_dim)),
        nn.Sequential(*_hidden(latent_dim, HIDDEN, flat), nn.Unflatten(1, inner), *decoder[:-1]),
    )


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


def _checked(made: Any, shape: tuple[int, ...], latent_dim: int) -> Networks:
    """The user's pair, after two samples of zeros went through each."""
    pair = tuple(made) if isinstance(made, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(module, nn.Module) for module in pair):
        raise OptionError(f"own network: expected a pair of modules (encoder, decoder), got {type(made).__name__}")
    networks = Networks(*pair)
    _probe("encoder", networks.encoder, shape, (2 * latent_dim,))
    _probe("decoder", networks.decoder, (latent_dim,), shape)
    return networks


@torch.no_grad()
def _probe(name: str, module: nn.Module, takes: tuple[int, ...], gives: tuple[int, ...]) -> None:
    """Refuse a module that does not map (N, *takes) to (N, *gives); it runs in eval mode, so no buffer changes."""
    modes = [(inner, inner.training) for inner in module.modules()]
    weight = next(module.parameters(), torch.zeros(()))
    try:
        found = module.eval()(torch.zeros(2, *takes, dtype=weight.dtype, device=weight.device))
    except Exception as error:
        raise ShapeError(f"own {name}: does not take (N, {_listed(takes)}): {' '.join(str(error).split())}") from error
    finally:
        for inner, training in modes:
            inner.training = training
    if not isinstance(found, Tensor) or tuple(found.shape) != (2, *gives):
        got = f"(N, {_listed(found.shape[1:])})" if isinstance(found, Tensor) else type(found).__name__
        raise ShapeError(f"own {name}: expected (N, {_listed(takes)}) → (N, {_listed(gives)}), got {got}")


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))


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
