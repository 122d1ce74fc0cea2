"""Adaptive augmentation (Karras et al. 2020, arXiv:2006.06676): the discriminator never sees a clean image.

Each operation happens with probability p, which rises while the discriminator knows its training data by heart.
Geometry is one affine map a sample, carried out once by kornia; colour is one 4 × 4 matrix on homogeneous colours.
Nothing clamps: an operation that did would not be invertible in distribution, and the generator would imitate it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError
from trimkit.methods import at_least_float32, gather, no_autocast, standard_normal

LUMA = (3**-0.5, 3**-0.5, 3**-0.5)
"""The grey axis of RGB, a unit vector."""


class Augmentation(nn.Module):
    """The augmentation and its controller.

    Args:
        target: r_t that p steers for: the mean sign of the discriminator's output on real images.
        speed: images in which p may go from 0 to 1.
        every: calls of `observe` between two moves of p.

    Raises:
        OptionError: a target that no mean sign can have, or no images.

    Attributes:
        probability: p in [0, 1], a scalar; a saved buffer.
    """

    probability: Tensor
    signs: Tensor

    def __init__(self, target: float = 0.6, speed: float = 500_000, every: int = 4) -> None:
        super().__init__()
        if not -1 <= target <= 1 or not speed > 0:
            raise OptionError(f"expected ada_target in [−1, 1] and ada_images > 0, got {target} and {speed}")
        self.target, self.speed, self.every = target, speed, every
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(3))  # sum of signs, images, calls

    @torch.no_grad()
    def observe(self, logits: Tensor) -> None:
        """Take note of the discriminator's (N,) logits of augmented real images, and move p when it is time.

        p rises by the images seen / speed where their mean sign r_t exceeds the target, and falls else; it stays within
        [0, 1], since beyond 1 it would only take longer to come back.
        """
        signs = gather(logits.detach()).sign().to(self.signs)
        self.signs += torch.stack([signs.sum(), signs.new_tensor(len(signs)), signs.new_tensor(1)])
        total, images, calls = self.signs.unbind()
        if int(calls) < self.every:
            return
        move = torch.sign(total / images - self.target) * images / self.speed
        self.probability.copy_((self.probability + move).clamp(0, 1))
        self.signs.zero_()

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Each sample augmented on its own.

        Args:
            x: (N, C, H, W), 0 in the middle of its range.
            generator: source of randomness.
        Returns:
            Like x; x itself while p is 0.
        """
        p = float(self.probability)
        if p == 0:
            return x
        draw = Draws(len(x), p, x, generator)
        with no_autocast(x):
            return recolour(warp(at_least_float32(x), geometry(draw)), colours(draw)).to(x.dtype)


class Draws:
    """Random numbers of one call, a row a sample, switched on with probability p.

    Args:
        samples: N.
        probability: p.
        like: gives dtype and device.
        generator: source of randomness.
    """

    def __init__(self, samples: int, probability: float, like: Tensor, generator: torch.Generator | None) -> None:
        self.samples, self.probability, self.like, self.generator = samples, probability, like, generator

    def uniform(self) -> Tensor:
        """(N,) in [0, 1], from normal numbers, so that processes draw what one would (`standard_normal`)."""
        return torch.special.ndtr(self.normal())

    def normal(self) -> Tensor:
        """(N,) standard normal."""
        return standard_normal(at_least_float32(self.like.new_empty(self.samples)), self.generator)

    def gated(self, values: Tensor, neutral: float, probability: float | None = None) -> Tensor:
        """(…, N) values with probability p a sample, else the one that changes nothing."""
        on = self.uniform() < (self.probability if probability is None else probability)
        return torch.where(on, values, torch.full_like(values, neutral))


def geometry(draw: Draws) -> Tensor:
    """Where each pixel goes: flips, quarter turns, shifts, scales and rotations as (N, 3, 3) maps of [−1, 1]².

    The operations and their spreads are those of the paper's appendix B: shifts up to 1/8 of the image and 1/8 standard
    deviations, log₂ of scales with standard deviation 0.2.
    """
    flip = draw.gated(draw.uniform().round() * 2 - 1, 1.0)
    quarter = draw.gated((draw.uniform() * 4).floor() * (math.pi / 2), 0.0)
    blit = _affine(flip, torch.ones_like(flip)) @ _rotation(quarter)
    scale = torch.exp2(draw.gated(0.2 * draw.normal(), 0.0))
    stretch = torch.exp2(draw.gated(0.2 * draw.normal(), 0.0))
    half = 1 - math.sqrt(1 - draw.probability)  # turning before and after the stretch, p in all
    before, after = (draw.gated((2 * draw.uniform() - 1) * math.pi, 0.0, half) for _ in range(2))
    moved = _shift(*draw.gated(torch.stack([2 * draw.uniform() - 1, 2 * draw.uniform() - 1]) / 4, 0.0))
    drift = _shift(*draw.gated(torch.stack([draw.normal(), draw.normal()]) / 4, 0.0))
    general = _rotation(after) @ _affine(scale * stretch, scale / stretch) @ _rotation(before)
    return drift @ general @ moved @ blit


def colours(draw: Draws) -> Tensor:
    """What becomes of each colour: brightness, contrast, luma flip, hue and saturation as (N, 4, 4) matrices.

    They act on (r, g, b, 1) with 0 in the middle of the range; spreads as in the paper's appendix B.
    """
    brightness = draw.gated(0.2 * draw.normal(), 0.0)
    contrast = torch.exp2(draw.gated(0.5 * draw.normal(), 0.0))
    luma = torch.tensor([*LUMA, 0.0], dtype=contrast.dtype, device=contrast.device)
    grey = luma.outer(luma)
    one = torch.eye(4, dtype=luma.dtype, device=luma.device)
    flip = one - 2 * draw.gated(draw.uniform().round(), 0.0)[:, None, None] * grey
    hue = _about_luma(draw.gated((2 * draw.uniform() - 1) * math.pi, 0.0))
    saturation = torch.exp2(draw.gated(draw.normal(), 0.0))
    saturate = grey + (one - grey) * saturation[:, None, None]
    saturate[:, 3, 3] = 1
    scale = torch.diag_embed(torch.stack([contrast, contrast, contrast, torch.ones_like(contrast)], 1))
    shift = one.repeat(draw.samples, 1, 1)
    shift[:, :3, 3] = brightness[:, None]
    return saturate @ hue @ flip @ scale @ shift


def warp(x: Tensor, maps: Tensor) -> Tensor:
    """Each image moved by its map, bilinear, mirrored at the border.

    Args:
        x: (N, C, H, W).
        maps: (N, 3, 3) invertible affine maps of [−1, 1]², the corners being the centres of the corner pixels.
    Returns:
        Like x.
    """
    from kornia.geometry.transform import warp_affine

    height, width = x.shape[2:]
    spans = maps.new_tensor([(width - 1) / 2, (height - 1) / 2, 1.0])
    to_pixels = torch.diag(spans)
    to_pixels[:2, 2] = spans[:2]
    pixels = to_pixels @ maps @ torch.linalg.inv(to_pixels)
    return warp_affine(x, pixels[:, :2], (height, width), padding_mode="reflection", align_corners=True)


def recolour(x: Tensor, matrices: Tensor) -> Tensor:
    """Colours multiplied by homogeneous matrices.

    Args:
        x: (N, C, H, W). Three channels are taken as RGB; any other number gets what a grey value would.
        matrices: (N, 4, 4).
    Returns:
        Like x.
    """
    if x.shape[1] == 3:
        mixed = torch.einsum("nij,njhw->nihw", matrices[:, :3, :3], x)
        return mixed + matrices[:, :3, 3, None, None]
    grey = matrices[:, :3, :].mean(1)  # of (v, v, v, 1): the mean of the three colours that come out
    return x * grey[:, :3].sum(1)[:, None, None, None] + grey[:, 3, None, None, None]


def _affine(across: Tensor, down: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([across, down, torch.ones_like(across)], 1))


def _shift(across: Tensor, down: Tensor) -> Tensor:
    maps = _affine(torch.ones_like(across), torch.ones_like(across))
    maps[:, 0, 2], maps[:, 1, 2] = across, down
    return maps


def _rotation(angle: Tensor) -> Tensor:
    maps = _affine(angle.cos(), angle.cos())
    maps[:, 0, 1], maps[:, 1, 0] = -angle.sin(), angle.sin()
    return maps


def _about_luma(angle: Tensor) -> Tensor:
    """Rotations of colours about the grey axis: (N, 4, 4), by Rodrigues' formula."""
    x, y, z = LUMA
    cross = angle.new_tensor([[0, -z, y, 0], [z, 0, -x, 0], [-y, x, 0, 0], [0, 0, 0, 0]])
    one = torch.eye(4, dtype=angle.dtype, device=angle.device)
    return one + angle.sin()[:, None, None] * cross + (1 - angle.cos())[:, None, None] * (cross @ cross)
