"""How a style acts on a layer: by scaling its weights (StyleGAN2), or the statistics of its output (StyleGAN).

A layer of the generator is  x ↦ lrelu(√2 · (conv(x, style) + strength · noise + bias)). Both kinds below have the same
interface, so that one synthesis network (`trimkit_gan.synthesis`) is made of either:

    layer.affine             w (N, D) → style (N, layer.affine.outputs)
    layer(x, style, noise)   (N, C, H, W), (N, S), (N, 1, H', W') or None → (N, C', H', W')
    layer.scale_free         a style times any c > 0 gives the same output
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trimkit.methods import at_least_float32, no_autocast
from trimkit_gan.layers import ROOT_TWO, EqualisedConv, EqualisedLinear, rectify
from trimkit_gan.resampling import blur

EPSILON = 1e-8
"""Keeps norms of zeros finite, in every norm of this module (StyleGAN2, eq. 3)."""


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """σ⁻¹ of each output channel: 1 / √(Σ_{i,k} (s_i · w_oik)² + ε), StyleGAN2, eq. 3.

    One matrix product, (s²) · (Σ_k w²)ᵀ, instead of weights for each sample.

    Args:
        weight: (O, I, k, k).
        style: (N, I).
    Returns:
        (N, O).
    """
    with no_autocast(style):
        energy = at_least_float32(weight).square().sum((2, 3))
        return (at_least_float32(style).square() @ energy.T + EPSILON).rsqrt()


def modulated_conv(
    x: Tensor, weight: Tensor, style: Tensor, *, up: bool = False, demodulate: bool = True, gain: float = 1.0
) -> Tensor:
    """Convolution with weights s_i · w_oik, divided by their norm over i and k (StyleGAN2, eq. 1 and 3).

    Scaling the input by s and the output by σ⁻¹ is the same as scaling the weights of each sample, without grouped
    convolutions, which are slow at low resolutions.

    Args:
        x: (N, I, H, W).
        weight: (O, I, k, k).
        style: (N, I).
        up: double the size: a transposed convolution at the low resolution, then the filter [1, 3, 3, 1].
        demodulate: divide by the norm.
        gain: of a rectifier that follows.
    Returns:
        (N, O, H, W), or (N, O, 2H, 2W).
    """
    scaled = x * style[:, :, None, None].to(x.dtype)
    y = _doubling_conv(scaled, weight) if up else functional.conv2d(scaled, weight, padding=weight.shape[-1] // 2)
    if not demodulate:
        return y * gain
    return y * (demodulation(weight, style) * gain)[:, :, None, None].to(y.dtype)


def _doubling_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Zeros between the pixels, a 3 × 3 convolution and the filter with gain 4: (N, I, H, W) → (N, O, 2H, 2W)."""
    return blur(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1, gain=4.0)


def instance_norm(x: Tensor) -> Tensor:
    """(x − μ) / √(σ² + ε) over the pixels of each sample and channel: (N, C, H, W) → the same."""
    wide = at_least_float32(x)
    centred = wide - wide.mean((2, 3), keepdim=True)
    return (centred * (centred.square().mean((2, 3), keepdim=True) + EPSILON).rsqrt()).to(x.dtype)


def unit_rms(style: Tensor) -> Tensor:
    """A style with root mean square 1: the one that stands for all its positive multiples, (N, S) → the same.

    The ε is far below that of the demodulation, so that applying it twice changes nothing.
    """
    wide = at_least_float32(style)
    return wide * (wide.square().mean(1, keepdim=True) + EPSILON**2).rsqrt()


class StyledLayer(nn.Module):
    """What both kinds of layers share: the affine map from w, noise of a learned strength, a bias.

    Args:
        resolution: of the output.
        channels: of the output.
        w_dim: entries of w.
        style_size: entries of the style.
        noise_shape: of the learned strength: () for one a layer, (channels, 1, 1) for one a channel.

    Attributes:
        noise: (resolution, resolution) the constant noise, drawn once; a saved buffer.
    """

    scale_free: ClassVar[bool]

    noise: Tensor

    def __init__(
        self, resolution: int, channels: int, w_dim: int, style_size: int, noise_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.affine = EqualisedLinear(w_dim, style_size, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros(noise_shape))
        self.register_buffer("noise", torch.randn(resolution, resolution))

    def activate(self, y: Tensor, noise: Tensor | None) -> Tensor:
        """lrelu(y + √2 · (bias + strength · noise)), for a y that has its √2 already and is not needed again."""
        y = y + (self.bias * ROOT_TWO)[:, None, None].to(y.dtype)
        if noise is not None:
            y = y.add_((noise * (self.noise_strength * ROOT_TWO)).to(y.dtype))
        return rectify(y)


class DemodulatedLayer(StyledLayer):
    """StyleGAN2: the style scales the input channels of the weights, whose norm is then taken out.

    Args:
        inputs: channels of x.
        channels: of the output.
        resolution: of the output.
        w_dim: entries of w.
        up: double the size.
    """

    scale_free: ClassVar[bool] = True

    def __init__(self, inputs: int, channels: int, resolution: int, w_dim: int, *, up: bool) -> None:
        super().__init__(resolution, channels, w_dim, inputs, ())
        self.weight = nn.Parameter(torch.randn(channels, inputs, 3, 3))
        self.up = up
        self.scale = 1 / math.sqrt(inputs * 9)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """See the module."""
        return self.activate(modulated_conv(x, self.weight * self.scale, style, up=self.up, gain=ROOT_TWO), noise)


class AdaptiveLayer(StyledLayer):
    """StyleGAN: convolution, noise, bias, rectifier, then the style sets mean and spread of each channel (AdaIN).

    y = style_scale · (x − μ(x)) / σ(x) + style_shift (StyleGAN, eq. 1). The style is [scales, shifts], first 1 and 0.

    Args:
        inputs: channels of x.
        channels: of the output.
        resolution: of the output.
        w_dim: entries of w.
        up: double the size, by a transposed convolution and the filter.
        convolve: False for the constant input, which gets noise and style only.
    """

    scale_free: ClassVar[bool] = False

    def __init__(
        self, inputs: int, channels: int, resolution: int, w_dim: int, *, up: bool, convolve: bool = True
    ) -> None:
        super().__init__(resolution, channels, w_dim, 2 * channels, (channels, 1, 1))
        self.conv = EqualisedConv(inputs, channels, 3, bias=False, gain=ROOT_TWO) if convolve else None
        self.up = up
        with torch.no_grad():
            self.affine.bias[channels:] = 0

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """See the module."""
        y = instance_norm(self.activate(self._convolved(x), noise))
        scale, shift = style.to(y.dtype).chunk(2, dim=1)
        return torch.addcmul(shift[:, :, None, None], y, scale[:, :, None, None])

    def _convolved(self, x: Tensor) -> Tensor:
        if self.conv is None:
            return x * ROOT_TWO
        return _doubling_conv(x, self.conv.weight * self.conv.scale) if self.up else self.conv(x)


class StyledToRGB(nn.Module):
    """StyleGAN2's map to image channels: 1 × 1, its weights scaled by the style and not demodulated.

    Args:
        inputs: channels of x.
        channels: of the image.
        w_dim: entries of w.
    """

    scale_free: ClassVar[bool] = False

    def __init__(self, inputs: int, channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualisedLinear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(N, inputs, H, W), (N, inputs) → (N, channels, H, W)."""
        y = modulated_conv(x, self.weight, style * self.scale, demodulate=False)
        return y + self.bias[:, None, None].to(y.dtype)
