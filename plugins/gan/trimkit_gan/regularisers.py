"""What keeps the game stable and the map from w smooth: R1 and path length, both gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trimkit.methods import at_least_float32

PATH_DECAY = 0.01
"""How far the running mean of path lengths moves a step (StyleGAN2's published configuration)."""


def r1(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """½ ‖∇ₓ D(x)‖² of each real sample (Mescheder et al. 2018, eq. 9, without γ).

    Args:
        discriminator: (N, ...) → (N,).
        x: (N, ...) real data.
    Returns:
        (N,) values ≥ 0 with their graph.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return at_least_float32(gradient).square().flatten(1).sum(1) / 2


def path_lengths(images: Tensor, ws: Tensor, directions: Tensor) -> Tensor:
    """‖J_wᵀ y‖ of each sample, y ~ N(0, I) / √pixels: how far the image moves for a step in w (StyleGAN2, eq. 4).

    The squares are summed over the entries of w and averaged over layers, so that the length is that of one w.

    Args:
        images: (N, C, H, W), computed from ``ws``.
        ws: (N, L, D), requires grad.
        directions: y, standard normal, like the images.
    Returns:
        (N,) with their graph.
    """
    pixels = images.shape[2] * images.shape[3]
    (gradient,) = torch.autograd.grad((images * directions).sum() / pixels**0.5, ws, create_graph=True)
    return at_least_float32(gradient).square().sum(2).mean(1).sqrt()


def auto_r1_weight(shape: Sequence[int], batch: int) -> float:
    """γ of R1 by size and batch, 2·10⁻⁴ · S² / N: what StyleGAN2-ADA's automatic configuration takes."""
    return 2e-4 * shape[-1] ** 2 / batch
