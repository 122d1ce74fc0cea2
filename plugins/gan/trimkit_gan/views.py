"""Views of images in which they stay what they are: with noise, and slightly turned, scaled, sheared and shifted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from trimkit.errors import ShapeError
from trimkit.methods import at_least_float32, standard_normal

TURN, SCALE, SHEAR, SHIFT = 0.17, 0.1, 0.2, 0.125
"""Largest changes at strength 1: radians, share of the size, ratio, share of half the size."""


def view(x: Tensor, noise: float, distortion: float, generator: torch.Generator | None) -> Tensor:
    """An image of each image: distorted, then with noise added.

    Args:
        x: (N, C, H, W); any shape where there is no distortion.
        noise: σ, in data units.
        distortion: strength, see `distort`.
        generator: source of randomness.
    Returns:
        Like x; x itself where both are 0.
    """
    if distortion:
        x = distort(x, distortion, generator)
    return x + noise * standard_normal(x, generator) if noise else x


def distort(x: Tensor, strength: float, generator: torch.Generator | None) -> Tensor:
    """Turn, scale, shear and shift each image by small random amounts; what comes in repeats the border.

    Args:
        x: (N, C, H, W).
        strength: factor on `TURN`, `SCALE`, `SHEAR` and `SHIFT`, the ends of uniform distributions around 0.
        generator: source of randomness.
    Raises:
        ShapeError: no images.
    """
    if x.ndim != 4:
        raise ShapeError(f"expected images (N, C, H, W) to distort, got {tuple(x.shape)}; leave the distortion at 0")
    normal = standard_normal(at_least_float32(x.new_empty(len(x), 5)), generator)
    amounts = (2 * torch.special.ndtr(normal) - 1) * strength
    turn, scale, shear = amounts[:, 0] * TURN, 1 + amounts[:, 1] * SCALE, amounts[:, 2] * SHEAR
    first = torch.stack([turn.cos() * scale, shear - turn.sin() * scale, amounts[:, 3] * SHIFT], dim=1)
    second = torch.stack([turn.sin() * scale, turn.cos() * scale, amounts[:, 4] * SHIFT], dim=1)
    grid = affine_grid(torch.stack([first, second], dim=1).to(x.dtype), list(x.shape), align_corners=False)
    return grid_sample(x, grid, padding_mode="border", align_corners=False)
