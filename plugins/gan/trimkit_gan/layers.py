"""Layers with an equalised learning rate, and what the generator's and the discriminator's networks share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import at_least_float32

SLOPE = 0.2
"""Of the leaky rectifiers, below zero."""

ROOT_TWO = math.sqrt(2)
"""Gain after a leaky rectifier that keeps the variance (StyleGAN2, appendix B). The rectifier is homogeneous,
√2 · lrelu(z) = lrelu(√2 · z), so weights and biases, which are small, carry the gain and no image is multiplied."""


class EqualisedLinear(nn.Module):
    """y = x · (g w)ᵀ + m b with w ~ N(0, 1/m²) and g = m · gain / √inputs (Karras et al. 2018, section 4.1).

    Weights are scaled when they are used, not when they are drawn, so that Adam moves all layers at one relative pace;
    a multiplier m < 1 makes this layer's pace m times that.

    Args:
        inputs: entries of x.
        outputs: entries of y.
        bias: initial value of each entry of m b.
        multiplier: m, > 0.
        gain: of a rectifier that follows, see `ROOT_TWO`.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: float = 0.0, multiplier: float = 1.0, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / multiplier))
        self.scale = multiplier * gain / math.sqrt(inputs)
        self.bias_scale = multiplier * gain

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) → (N, outputs)."""
        return functional.linear(x, self.weight * self.scale, self.bias * self.bias_scale)


class EqualisedConv(nn.Module):
    """A convolution whose weights are N(0, 1), and divided by √(inputs · k²) when used; see `EqualisedLinear`.

    Args:
        inputs: channels of x.
        outputs: channels of y.
        kernel: side k, odd, or 4.
        stride: 1 keeps the size; 2 halves it where k is 4, and where k is 3 and a blur has made it one pixel larger.
        bias: whether there is one, 0 at first.
        gain: of a rectifier that follows, see `ROOT_TWO`.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, bias: bool = True, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel**2)
        self.gain = gain
        self.stride = stride
        self.padding = (kernel - stride) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H', W')."""
        bias = None if self.bias is None else self.bias * self.gain
        return functional.conv2d(x, self.weight * self.scale, bias, self.stride, self.padding)


def rectify(x: Tensor) -> Tensor:
    """Leaky rectifier of slope 0.2 in place of x, which must not be needed again."""
    return functional.leaky_relu_(x, SLOPE)


def pixels_last(x: Tensor) -> Tensor:
    """The same images with each pixel's channels side by side in memory, in which convolutions are faster."""
    return x.contiguous(memory_format=torch.channels_last)


def pixel_norm(z: Tensor, epsilon: float = 1e-8) -> Tensor:
    """z / √(mean z² + ε): each row gets a root mean square of 1 (Karras et al. 2018, section 4.2).

    Args:
        z: (N, D).
        epsilon: keeps rows of zeros finite.
    Returns:
        Like z; the same for c · z with any c > 0, up to ε.
    """
    wide = at_least_float32(z)
    return (wide * (wide.square().mean(1, keepdim=True) + epsilon).rsqrt()).to(z.dtype)


def levels_of(shape: Sequence[int]) -> int:
    """How often 4 × 4 pixels are doubled to reach images of a shape.

    Args:
        shape: (C, S, S) with S = 8, 16, … 1024.
    Raises:
        ShapeError: another shape.

    >>> levels_of((3, 32, 32))
    3
    """
    found = tuple(shape)
    if len(found) != 3 or found[1] != found[2] or found[1] not in [2**n for n in range(3, 11)]:
        raise ShapeError(
            f"expected square images (C, S, S) with S = 8, 16, 32, … 1024, got {found}; crop or resize the data"
        )
    return found[1].bit_length() - 3


def width_at(resolution: int, base: int, most: int) -> int:
    """Channels of the layers at a resolution: min(base / resolution, most), at least 1.

    Raises:
        OptionError: a base or limit below 1.
    """
    if not all(isinstance(count, int) and count >= 1 for count in (base, most)):
        raise OptionError(f"expected channel_base and channel_max ≥ 1, whole numbers, got {base} and {most}")
    return max(1, min(base // resolution, most))
