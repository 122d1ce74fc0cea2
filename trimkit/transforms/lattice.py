"""Orthogonal filters by angles: every choice of angles is a wavelet, and every orthogonal wavelet has its angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.errors import OptionError


def filter_of_angles(angles: Tensor) -> Tensor:
    """The low-pass filter h of a two-channel lattice (Vaidyanathan, Hoang 1988): orthogonal to its double shifts.

    h's even and odd taps are (cos θ₁, sin θ₁), then for each further angle the odd ones are delayed by one and both are
    turned by it. The last angle is what makes the angles sum to π/4, so that Σh = √2: one vanishing moment.

    Args:
        angles: (K − 1,) θ₁ … θ_{K−1}, any real numbers, K ≥ 2.
    Returns:
        (2K,) taps, ‖h‖ = 1, differentiable.

    >>> filter_of_angles(torch.tensor([-torch.pi / 12])).round(decimals=4)        # db2
    tensor([ 0.4830,  0.8365,  0.2241, -0.1294])
    """
    turns = torch.cat([angles, math.pi / 4 - angles.sum(-1, keepdim=True)], -1)
    cosines, sines = turns.cos()[:, None], turns.sin()[:, None]
    even, odd = cosines[0], sines[0]
    zero = torch.zeros_like(even)
    for cosine, sine in zip(cosines[1:], sines[1:], strict=True):
        even, odd = torch.cat([even, zero]), torch.cat([zero, odd])
        even, odd = cosine * even - sine * odd, sine * even + cosine * odd
    return torch.stack([even, odd], -1).flatten()


def angles_of_filter(taps: Sequence[float]) -> Tensor:
    """The angles θ₁ … θ_{K−1} of an orthogonal low-pass filter of 2K taps: (K − 1,) float64.

    Raises:
        OptionError: fewer than four taps, which leave nothing to turn, an odd number, or a filter that is not
            orthogonal.

    >>> angles_of_filter([0.4829629, 0.8365163, 0.2241439, -0.1294095]).round(decimals=4)
    tensor([-0.2618], dtype=torch.float64)
    """
    h = torch.tensor(taps, dtype=torch.float64)
    if len(h) < 4 or len(h) % 2 or not (filter_of_angles(free := _free_angles(h)) - h).abs().max() <= 1e-4:
        raise OptionError(
            f"expected an orthogonal filter of at least 4 taps that sums to √2, got {len(h)} taps with the sum "
            f"{float(h.sum()):.4g}; start from one such as 'db2' or 'coif2'"
        )
    return free


def _free_angles(h: Tensor) -> Tensor:
    """All angles but the last one, which follows from them, of an even number of taps."""
    even, odd = h[::2], h[1::2]
    angles: list[Tensor] = []
    while len(even) > 1:
        angles.insert(0, _last_angle(even, odd))
        cosine, sine = angles[0].cos(), angles[0].sin()
        even, odd = (cosine * even + sine * odd)[:-1], (cosine * odd - sine * even)[1:]
    return torch.stack([torch.atan2(odd, even)[0], *angles])[:-1]


def _last_angle(even: Tensor, odd: Tensor) -> Tensor:
    """By which the last stage turns, from the end of the filter that is larger: the other end is all rounding."""
    if even[0].abs() + odd[0].abs() > even[-1].abs() + odd[-1].abs():
        return torch.atan2(odd[0], even[0])
    return torch.atan2(-even[-1], odd[-1])
