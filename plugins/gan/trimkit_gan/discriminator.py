"""Image → how real it looks: residual (StyleGAN2) or plain (StyleGAN) halving blocks, and the spread of the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trimkit.methods import at_least_float32
from trimkit_gan.layers import ROOT_TWO, EqualisedConv, EqualisedLinear, levels_of, pixels_last, rectify, width_at
from trimkit_gan.resampling import blur, halve
from trimkit_gan.synthesis import Stage

GROUP = 4
"""Samples whose spread is compared with each other (Karras et al. 2018, section 3; StyleGAN2's group size)."""


def minibatch_deviation(x: Tensor, group: int = GROUP, epsilon: float = 1e-8) -> Tensor:
    """The spread of a few samples as one more channel, so that a generator without variety is caught.

    Consecutive samples form groups: as many in each as divide the batch, at most ``group``. The channel holds the
    standard deviation over the group, averaged over channels and pixels. On several processes, or in several turns,
    groups lie within a share of the batch: they are those of one process where a share is a multiple of ``group``.

    Args:
        x: (N, C, H, W).
        group: most samples of a group.
        epsilon: added to the variance, so that its root has a slope where all samples are the same.
    Returns:
        (N, C + 1, H, W).
    """
    size = next(n for n in range(min(group, len(x)), 0, -1) if len(x) % n == 0)
    grouped = at_least_float32(x).unflatten(0, (-1, size))
    centred = grouped - grouped.mean(1, keepdim=True)  # several times faster here than torch.var
    deviation = (centred.square().mean(1) + epsilon).sqrt().mean((1, 2, 3))
    channel = deviation.to(x.dtype).repeat_interleave(size)[:, None, None, None]
    return torch.cat([x, channel.expand(-1, 1, *x.shape[2:])], dim=1)


class HalvingBlock(nn.Module):
    """Two convolutions, the second at half the size, and, where residual, a 1 × 1 path around them.

    Args:
        inputs: channels of x.
        outputs: channels of the result.
        residual: (path around + convolutions) / √2, which keeps the variance (StyleGAN2, appendix B).
    """

    def __init__(self, inputs: int, outputs: int, *, residual: bool) -> None:
        super().__init__()
        share = math.sqrt(0.5) if residual else 1.0  # folded into both summands' weights
        self.first = EqualisedConv(inputs, inputs, 3, gain=ROOT_TWO)
        self.second = EqualisedConv(inputs, outputs, 3, stride=2, gain=ROOT_TWO * share)
        self.around = EqualisedConv(inputs, outputs, 1, bias=False, gain=share) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, 2H, 2W) → (N, outputs, H, W)."""
        y = rectify(self.second(blur(rectify(self.first(x)), padding=2)))
        return y if self.around is None else y + self.around(halve(x))


class HalvingConv(EqualisedConv):
    """One 4 × 4 convolution at half the size, as DCGAN's (Radford et al. 2015, arXiv:1511.06434), and its rectifier.

    Args:
        inputs: channels of x.
        outputs: channels of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, stride=2, gain=ROOT_TWO)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, 2H, 2W) → (N, outputs, H, W)."""
        return rectify(super().forward(x))


class Discriminator(nn.Module):
    """One number a sample: positive for images that look like data.

    A conditional one is a projection discriminator (Miyato & Koyama 2018, arXiv:1802.05637, eq. 3): ψ(φ(x)) + cᵀ V φ(x)
    / √width, with the hidden layer φ(x), the last map ψ, and a row of V for each class.

    Args:
        shape: of an image: (C, S, S) with S = 8, 16, … 1024.
        residual: StyleGAN2's blocks; False for StyleGAN's. For blocks of two convolutions.
        growing: takes images at every resolution, not at the last alone.
        channel_base: layers at resolution r have min(channel_base / r, channel_max) channels.
        channel_max: see there.
        convolutions: of each halving, 2 as in the papers, or 1, of which the first takes the image itself.
        condition_size: entries of c; 0 for none.
    Raises:
        ShapeError: another shape.

    Attributes:
        projection: V, (condition_size, width); None where not conditional.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        residual: bool = True,
        growing: bool = False,
        channel_base: int = 2048,
        channel_max: int = 64,
        convolutions: int = 2,
        condition_size: int = 0,
    ) -> None:
        super().__init__()
        self.top = Stage(levels_of(shape))
        levels = self.top.level + 1
        widths = [width_at(4 * 2**n, channel_base, channel_max) for n in range(levels)]
        self.entry_halves = convolutions == 1
        stages = range(int(self.entry_halves), levels) if growing else [self.top.level]
        if self.entry_halves:
            entries = {n: EqualisedConv(shape[0], widths[n - 1], 4, stride=2, gain=ROOT_TWO) for n in stages}
            blocks = [HalvingConv(widths[n], widths[n - 1]) for n in range(1, levels - 1)]
        else:
            entries = {n: EqualisedConv(shape[0], widths[n], 1, gain=ROOT_TWO) for n in stages}
            blocks = [HalvingBlock(widths[n], widths[n - 1], residual=residual) for n in range(1, levels)]
        self.from_rgb = nn.ModuleDict({str(n): entry for n, entry in entries.items()})
        self.blocks = nn.ModuleList(blocks)
        self.conv = EqualisedConv(widths[0] + 1, widths[0], 3, gain=ROOT_TWO)
        self.hidden = EqualisedLinear(widths[0] * 16, widths[0], gain=ROOT_TWO)
        self.verdict = EqualisedLinear(widths[0], 1)
        self.projection = nn.Parameter(torch.randn(condition_size, widths[0])) if condition_size else None

    def forward(self, x: Tensor, stage: Stage | None = None, c: Tensor | None = None) -> Tensor:
        """Logits of being real.

        Args:
            x: (N, C, R, R) at the stage's resolution.
            stage: how far it has grown; None for all of it.
            c: (N, condition_size) what it sees of u, where it is conditional.
        Returns:
            (N,).
        """
        stage = stage or self.top
        h = rectify(self.from_rgb[str(stage.level)](pixels_last(x)))
        first = stage.level - self.entry_halves
        for n in range(first, 0, -1):
            h = self.blocks[n - 1](h)
            if n == first and stage.fade < 1:
                h = torch.lerp(rectify(self.from_rgb[str(stage.level - 1)](halve(x))), h, stage.fade)
        h = rectify(self.conv(minibatch_deviation(h)))
        features = rectify(self.hidden(h.flatten(1)))
        verdict = self.verdict(features)[:, 0]
        return verdict if self.projection is None or c is None else verdict + project_on(features, self.projection, c)


def project_on(features: Tensor, projection: Tensor, c: Tensor) -> Tensor:
    """cᵀ V φ / √width of each sample: (N, width), (size, width) and (N, size) → (N,)."""
    return (features * (c @ projection)).sum(1) / math.sqrt(features.shape[1])
