"""Styles → image: one network for StyleGAN, StyleGAN2 and whatever else is driven by one w a layer.

    ws (N, L, D) ──affine of each layer──▶ styles ──layers from 4 × 4 pixels up──▶ image

Its options: how a style acts (`modulation`), and what the image is made of (`output`). It can be stopped at a lower
resolution, and its last resolution faded in (`Stage`), for progressive growing.

    synthesis = Synthesis((3, 32, 32), w_dim=64, modulation="adaptive", output="last")
    image = synthesis(synthesis.styles(synthesis.spread(w)), noise="random", generator=generator)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.methods import standard_normal
from trimkit_gan.layers import EqualisedConv, levels_of, pixels_last, width_at
from trimkit_gan.modulation import AdaptiveLayer, DemodulatedLayer, StyledToRGB, unit_rms
from trimkit_gan.resampling import double

Modulation: TypeAlias = Literal["demodulated", "adaptive"]
"""StyleGAN2's weights scaled and demodulated, or StyleGAN's adaptive instance normalisation."""

Output: TypeAlias = Literal["skip", "last"]
"""The sum of what all resolutions say, each doubled to the next, or the last resolution's word alone."""

NoiseMode: TypeAlias = Literal["random", "constant", "none"]
"""Per-pixel noise: drawn anew, the same at every call (drawn once, saved), or none."""

Noise: TypeAlias = NoiseMode | Sequence[Tensor]
"""A mode, or the noise itself: (N, 1, R, R) for each styled layer, see `Synthesis.draw_noise`."""


class Stage(NamedTuple):
    """How far a growing network has grown.

    Attributes:
        level: of the last resolution, 4 · 2^level pixels.
        fade: how much of that resolution counts, in [0, 1]; the rest is the one before it.
    """

    level: int
    fade: float = 1.0

    @property
    def resolution(self) -> int:
        """Pixels along a side."""
        return 4 * 2**self.level


class Tap(NamedTuple):
    """A place where a style enters: the unit in which the space s is laid out.

    Attributes:
        name: such as "8px conv1" or "8px toRGB".
        resolution: in pixels.
        w_index: which w of w+ drives it.
        module: its layer, with `affine` and `scale_free`.
    """

    name: str
    resolution: int
    w_index: int
    module: Any

    @property
    def size(self) -> int:
        """Entries of its style."""
        return len(self.module.affine.bias)

    @property
    def to_rgb(self) -> bool:
        """True for a map to image channels."""
        return isinstance(self.module, StyledToRGB)


class Block(nn.Module):
    """The layers of one resolution, and its map to image channels.

    Attributes:
        layers: styled layers in order.
        to_rgb: a `StyledToRGB`, or a plain 1 × 1 convolution that no style reaches.
    """

    def __init__(self, layers: Sequence[nn.Module], to_rgb: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.to_rgb = to_rgb

    def image(self, x: Tensor, styles: Iterator[Tensor]) -> Tensor:
        """(N, C, H, W) → (N, image channels, H, W); takes a style if its map has one."""
        return self.to_rgb(x, next(styles)) if isinstance(self.to_rgb, StyledToRGB) else self.to_rgb(x)


class Synthesis(nn.Module):
    """The synthesis network.

    Args:
        shape: of an image: (C, S, S) with S = 8, 16, … 1024.
        w_dim: entries of each w.
        modulation: how a style acts, see `Modulation`.
        output: what the image is made of, see `Output`.
        channel_base: layers at resolution r have min(channel_base / r, channel_max) channels.
        channel_max: see there.
        convolutions: layers of each resolution, 1 or 2, as in the papers. The first of StyleGAN at 4 × 4 pixels only
            styles the constant.
    Raises:
        ShapeError: another shape.
        OptionError: an unknown choice.

    Attributes:
        constant: (channels, 4, 4), the learned input.
        blocks: one a resolution, from 4 × 4 up.
        taps: where styles enter, in the order of computation.
        num_ws: L, the layers that a w+ has.
    """

    def __init__(
        self,
        shape: Sequence[int],
        w_dim: int = 64,
        *,
        modulation: Modulation = "demodulated",
        output: Output = "skip",
        channel_base: int = 2048,
        channel_max: int = 64,
        convolutions: int = 2,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.top = Stage(levels_of(shape))
        kinds = {"demodulated": (_demodulated, StyledToRGB), "adaptive": (_adaptive, _plain_to_rgb)}
        make, to_rgb = _choice("modulation", modulation, kinds)
        self.join = _choice("output", output, {"skip": _skip, "last": _last})
        widths = [width_at(4 * 2**n, channel_base, channel_max) for n in range(self.top.level + 1)]
        self.constant = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.blocks = nn.ModuleList(
            Block(
                list(islice(make(widths[max(n - 1, 0)], width, n, w_dim), convolutions)),
                to_rgb(width, self.shape[0], w_dim),
            )
            for n, width in enumerate(widths)
        )
        self.taps = tuple(self._find_taps())
        self.num_ws = 1 + max(tap.w_index for tap in self.taps)

    def _find_taps(self) -> Iterator[Tap]:
        index = 0
        for n in range(len(self.blocks)):
            block, resolution = cast(Block, self.blocks[n]), 4 * 2**n
            for number, layer in enumerate(block.layers, start=1):
                yield Tap(f"{resolution}px conv{number}", resolution, index, layer)
                index += 1
            if isinstance(block.to_rgb, StyledToRGB):  # shares its w with the next resolution's first layer
                yield Tap(f"{resolution}px toRGB", resolution, index, block.to_rgb)

    def spread(self, w: Tensor) -> Tensor:
        """The same w for every layer: (N, D) → (N, L, D)."""
        return w[:, None].expand(-1, self.num_ws, -1)

    def styles(self, ws: Tensor) -> list[Tensor]:
        """The style of each tap: (N, L, D) → (N, tap.size) each.

        Raises:
            ShapeError: another number of layers.
        """
        if ws.ndim != 3 or ws.shape[1] != self.num_ws:
            raise ShapeError(f"expected one w a layer, (N, {self.num_ws}, D), got {tuple(ws.shape)}")
        return [tap.module.affine(ws[:, tap.w_index]) for tap in self.taps]

    def canonical(self, styles: Sequence[Tensor]) -> list[Tensor]:
        """Each style that acts up to a positive factor, at root mean square 1; the others as they are."""
        return [
            unit_rms(style) if tap.module.scale_free else style for tap, style in zip(self.taps, styles, strict=True)
        ]

    def forward(
        self,
        styles: Sequence[Tensor],
        noise: Noise = "constant",
        generator: torch.Generator | None = None,
        stage: Stage | None = None,
    ) -> Tensor:
        """The image of styles.

        Args:
            styles: one a tap, (N, tap.size).
            noise: see `Noise`.
            generator: of random noise.
            stage: how far it has grown; None for all of it.
        Returns:
            (N, C, R, R) at the stage's resolution, of no particular range.
        """
        stage = stage or self.top
        supply, given = iter(self.canonical(styles)), None if isinstance(noise, str) else iter(noise)
        x = pixels_last(self.constant.expand(len(styles[0]), -1, -1, -1))
        image: Tensor | None = None
        for n in range(stage.level + 1):
            block = cast(Block, self.blocks[n])
            for layer in block.layers:
                drawn = next(given) if given is not None else _noise(layer, len(x), cast(NoiseMode, noise), generator)
                x = layer(x, next(supply), drawn)
            image = self.join(image, block.image(x, supply), stage.fade if n == stage.level else 1.0)
        assert image is not None
        return image

    def draw_noise(self, samples: int, generator: torch.Generator | None) -> list[Tensor]:
        """Random noise of all layers, as `forward` draws it for as many samples: (samples, 1, R, R) each."""
        layers = [layer for block in self.blocks for layer in cast(Block, block).layers]
        return [cast(Tensor, _noise(layer, samples, "random", generator)) for layer in layers]


def _noise(layer: Any, samples: int, mode: NoiseMode, generator: torch.Generator | None) -> Tensor | None:
    """(samples, 1, R, R) noise of a layer, (1, 1, R, R) where it is constant, or None."""
    if mode == "none":
        return None
    constant = layer.noise[None, None]
    if mode == "constant":
        return constant
    if mode == "random":
        return standard_normal(constant.expand(samples, -1, -1, -1), generator)
    raise OptionError(f"expected noise 'random', 'constant' or 'none', got {mode!r}")


def _demodulated(inputs: int, channels: int, level: int, w_dim: int) -> Iterator[nn.Module]:
    """One layer at 4 × 4 pixels, two above: a doubling one and one more."""
    resolution = 4 * 2**level
    if level:
        yield DemodulatedLayer(inputs, channels, resolution, w_dim, up=True)
    yield DemodulatedLayer(channels, channels, resolution, w_dim, up=False)


def _adaptive(inputs: int, channels: int, level: int, w_dim: int) -> Iterator[nn.Module]:
    """Two layers: at 4 × 4 pixels the first only styles the constant, above it doubles the size."""
    resolution = 4 * 2**level
    yield AdaptiveLayer(inputs, channels, resolution, w_dim, up=level > 0, convolve=level > 0)
    yield AdaptiveLayer(channels, channels, resolution, w_dim, up=False)


def _plain_to_rgb(channels: int, image_channels: int, w_dim: int) -> nn.Module:
    return EqualisedConv(channels, image_channels, 1)


def _skip(image: Tensor | None, more: Tensor, fade: float) -> Tensor:
    return more if image is None else double(image) + more * fade


def _last(image: Tensor | None, more: Tensor, fade: float) -> Tensor:
    return more if image is None or fade == 1 else torch.lerp(double(image), more, fade)


def _choice(kind: str, name: str, ours: dict[str, Any]) -> Any:
    if name not in ours:
        raise OptionError(f"there is no {kind} {name!r}. {nearest(str(name), ours)}")
    return ours[name]
