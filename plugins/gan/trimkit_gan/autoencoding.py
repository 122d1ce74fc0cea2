"""ALAE's generators w → x and encoders x → w, plain or style-based."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.coefficients.groups import Groups
from trimkit.methods import at_least_float32
from trimkit_gan.convolutional import Output, PlainChoice, make_output, make_plain
from trimkit_gan.discriminator import project_on
from trimkit_gan.layers import ROOT_TWO, EqualisedConv, EqualisedLinear, levels_of, pixels_last, rectify, width_at
from trimkit_gan.modulation import EPSILON
from trimkit_gan.resampling import halve
from trimkit_gan.synthesis import NoiseMode, Synthesis

AlaeChoice: TypeAlias = Literal["style"] | PlainChoice
"""StyleALAE's networks, or any pair that `trimkit_gan.convolutional.make_plain` makes."""

CHANNEL_BASE, CHANNEL_MAX = 1024, 64
"""Channels of the style-based networks at resolution r: min(1024 / r, 64)."""


class PlainGenerator(nn.Module):
    """A generator that w enters at its first layer only.

    Args:
        network: (N, w_dim) → (N, *shape).
        output: the last activation.

    Attributes:
        num_ws: 1, the number of places where a w enters.
    """

    num_ws = 1

    def __init__(self, network: nn.Module, output: Output) -> None:
        super().__init__()
        self.network = nn.Sequential(network, make_output(output))

    def spread(self, w: Tensor) -> Tensor:
        """(N, D) → (N, 1, D)."""
        return w[:, None]

    def forward(self, ws: Tensor, noise: NoiseMode = "constant", generator: torch.Generator | None = None) -> Tensor:
        """(N, 1, D) → (N, *shape); there is no noise."""
        return self.network(ws[:, 0])


class StyleGenerator(nn.Module):
    """StyleGAN's synthesis network (AdaIN) with a last activation.

    Args:
        shape: (C, S, S), S = 8, 16, … 1024.
        w_dim: entries of each w.
        output: the last activation.

    Attributes:
        num_ws: the number of layers that take a w.
    """

    def __init__(self, shape: Sequence[int], w_dim: int, output: Output) -> None:
        super().__init__()
        self.synthesis = Synthesis(
            shape, w_dim, modulation="adaptive", output="last", channel_base=CHANNEL_BASE, channel_max=CHANNEL_MAX
        )
        self.output = make_output(output)
        self.num_ws = self.synthesis.num_ws

    def spread(self, w: Tensor) -> Tensor:
        """The same w for every layer: (N, D) → (N, L, D)."""
        return self.synthesis.spread(w)

    def forward(self, ws: Tensor, noise: NoiseMode = "constant", generator: torch.Generator | None = None) -> Tensor:
        """(N, L, D) → (N, *shape)."""
        return self.output(self.synthesis(self.synthesis.styles(ws), noise, generator))

    def groups(self, w_dim: int) -> Groups:
        """The layers of w+, named after where each w enters first."""
        names: dict[int, str] = {}
        for tap in self.synthesis.taps:
            names.setdefault(tap.w_index, tap.name)
        labels = torch.arange(self.num_ws)[:, None].expand(-1, w_dim)
        return Groups(tuple(names[layer] for layer in range(self.num_ws)), labels, "layer, coarse to fine")


class StyleEncoder(nn.Module):
    """The mirror of a style-based generator: w = Σ_i C_i [μ_i; σ_i] + C x₀ (Pidhorskyi et al. 2020, section 4.1).

    Where the generator's layers set the mean and the spread of their channels by an affine map of w, the encoder reads
    them, removes them by instance normalisation, and adds up linear maps of what it read. What is left at 4 × 4 pixels,
    x₀, enters by a linear map of its own.

    Args:
        shape: (C, S, S), S = 8, 16, … 1024.
        w_dim: entries of w.
    """

    def __init__(self, shape: Sequence[int], w_dim: int) -> None:
        super().__init__()
        widths = [width_at(4 * 2**level, CHANNEL_BASE, CHANNEL_MAX) for level in range(levels_of(shape) + 1)]
        self.from_image = EqualisedConv(shape[0], widths[-1], 1, gain=ROOT_TWO)
        self.convolutions, self.readings = nn.ModuleList(), nn.ModuleList()
        for level in range(len(widths) - 1, -1, -1):
            for after in (widths[level], widths[max(level - 1, 0)])[: 2 if level else 1]:
                self.convolutions.append(EqualisedConv(widths[level], after, 3, gain=ROOT_TWO))
                self.readings.append(EqualisedLinear(2 * after, w_dim))
        self.last = EqualisedLinear(widths[0] * 16, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) → (N, w_dim)."""
        x, w = rectify(self.from_image(pixels_last(x))), 0
        for number, (convolve, read) in enumerate(zip(self.convolutions, self.readings, strict=True)):
            x = rectify(convolve(halve(x) if number % 2 else x))
            wide = at_least_float32(x)
            mean = wide.mean((2, 3), keepdim=True)
            deviation = ((wide - mean).square().mean((2, 3), keepdim=True) + EPSILON).sqrt()
            w = w + read(torch.cat([mean, deviation], dim=1).flatten(1).to(x.dtype))
            x = ((wide - mean) / deviation).to(x.dtype)
        return w + self.last(x.flatten(1))


class LatentDiscriminator(nn.Sequential):
    """D: w → logit, fully connected layers with leaky rectifiers between them and a learning rate of their own.

    The published code's three layers have no activation between them, so that its D is linear in w; the paper's are
    multilayer perceptrons. A conditional one adds the projection of the hidden layer on what it sees of u, see
    `trimkit_gan.discriminator.Discriminator`.

    Args:
        w_dim: entries of w, and of the hidden layers.
        depth: linear layers, at least 1.
        multiplier: of their learning rate.
        condition_size: entries of what it sees of u; 0 for none.
    """

    def __init__(self, w_dim: int, depth: int, multiplier: float, condition_size: int = 0) -> None:
        layers: list[nn.Module] = []
        for _ in range(depth - 1):
            layers += [EqualisedLinear(w_dim, w_dim, multiplier=multiplier, gain=ROOT_TWO), nn.LeakyReLU(0.2)]
        super().__init__(*layers, EqualisedLinear(w_dim, 1, multiplier=multiplier))
        self.projection = nn.Parameter(torch.randn(condition_size, w_dim)) if condition_size else None

    def forward(self, w: Tensor, c: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """(N, w_dim), and (N, condition_size) where conditional → (N, 1)."""
        *hidden, verdict = self
        for layer in hidden:
            w = layer(w)
        logit = verdict(w)
        if self.projection is None or c is None:
            return logit
        return logit + project_on(w, self.projection, c)[:, None]


class AlaeNetworks(NamedTuple):
    """G and E.

    Attributes:
        generator: (N, num_ws, w_dim) → (N, *shape).
        encoder: (N, *shape) → (N, w_dim).
    """

    generator: PlainGenerator | StyleGenerator
    encoder: nn.Module


def make_alae(choice: AlaeChoice, shape: Sequence[int], w_dim: int, output: Output) -> AlaeNetworks:
    """Generator and encoder by name, or the user's own (generator, trunk).

    Args:
        choice: "style", or see `trimkit_gan.convolutional.make_plain`.
        shape: of one sample.
        w_dim: entries of w.
        output: the generator's last activation.
    Raises:
        OptionError, ShapeError, ModelError: see `trimkit_gan.convolutional.make_plain`.
    """
    if choice == "style":
        return AlaeNetworks(StyleGenerator(shape, w_dim, output), StyleEncoder(shape, w_dim))
    plain = make_plain(choice, shape, w_dim)
    encoder: Any = nn.Sequential(plain.trunk, nn.Linear(plain.features, w_dim))
    return AlaeNetworks(PlainGenerator(plain.generator, output), encoder)
