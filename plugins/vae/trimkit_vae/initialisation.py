"""The weights that networks start with."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


@torch.no_grad()
def he_uniform(module: AnyModule, slope: float = 0.0) -> AnyModule:
    """Draw weights of variance 2 / ((1 + slope²) · fan-in) and set biases to 0 (He et al. 2015, arXiv:1502.01852).

    So each layer passes on the scale of its input. PyTorch's own weights have a sixth of that variance: after eight or
    ten layers little of z is left in what a decoder gives, and training starts on a plateau where the posterior tells
    nothing of x (on sprites for some thousand steps; with a capacity that must be reached, for good).

    `torch.nn.init` counts another fan-in for a transposed convolution, its output channels times the whole kernel. With
    kernel 4, stride 2 and as many channels on both sides that is four times ours, so weights drawn by it are half as
    large, and the decoder's signal halves in each such layer.

    Args:
        module: whose linear and convolutional layers are drawn, from torch's global generator.
        slope: of the leaky ReLU that follows the layers; 0 for a ReLU.
    Returns:
        The module.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, *_CONVOLUTIONS)):
            bound = math.sqrt(6 / ((1 + slope**2) * fan_in(layer)))
            layer.weight.uniform_(-bound, bound)
            if layer.bias is not None:
                layer.bias.zero_()
    return module


def fan_in(layer: nn.Module) -> float:
    """How many inputs each output sums.

    Args:
        layer: linear, convolutional, or transposed convolutional: there, of the kernel's entries one in each stride
            meets an input.
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features
    assert isinstance(layer, _CONVOLUTIONS)
    entries = math.prod(layer.kernel_size) * layer.in_channels / layer.groups
    return entries / math.prod(layer.stride) if isinstance(layer, _TRANSPOSED) else entries
