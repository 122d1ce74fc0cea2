"""The geometry of a spectrum's picture: both conjugates, zero frequency in the middle, the radius logarithmic."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CENTRE = 0.09
"""Half the width that zero frequency gets in a log-radius map, as a share of the picture's half."""

PIXELS = 161
"""Side of a log-radius map; odd, so that zero frequency has a pixel of its own."""


def full_spectrum(half: Tensor, width: int) -> Tensor:
    """The whole spectrum of a real picture's scores, zero frequency in the middle.

    Each conjugate bin gets the same score, since the half spectrum's scores were divided by their multiplicity.

    Args:
        half: (h, w // 2 + 1) scores a bin.
        width: w.
    Returns:
        (h, w), shifted.
    """
    height = half.shape[0]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    mirrored = columns > width // 2
    row = torch.where(mirrored, (-rows) % height, rows)
    column = torch.where(mirrored, width - columns, columns)
    return torch.fft.fftshift(half[row, column])


def log_radius(spectrum: Tensor, pixels: int = PIXELS) -> Tensor:
    """Enlarge the middle of a spectrum: at distance t from it lies the frequency (eᵃᵗ − 1)/(eᵃ − 1), Nyquist at t = 1.

    Beyond t = 1, in the corners, the radius is linear, so that every bin is in the picture. a grows with the number of
    bins, see `warp`.

    Args:
        spectrum: (h, w), zero frequency at (h // 2, w // 2).
        pixels: side of the result.
    Returns:
        (pixels, pixels): the nearest bin's value.
    """
    grid = torch.linspace(-1, 1, pixels, dtype=torch.float64)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    t = torch.hypot(y, x)
    strength = warp(max(spectrum.shape))
    stretch = torch.where(t < 1, torch.expm1(strength * t) / math.expm1(strength) / t.clamp_min(1e-12), 1.0)
    row, column = (
        (n // 2 + u * stretch * (n / 2)).round().long() % n for u, n in ((y, spectrum.shape[0]), (x, spectrum.shape[1]))
    )
    return spectrum[row, column]


def warp(bins: int) -> float:
    """The strength a at which zero frequency, one of n bins, reaches from the middle to `CENTRE`.

    Example:
        >>> round(warp(16), 2), round(warp(224), 2)
        (0.75, 4.81)
    """
    low, high = 1e-6, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        if math.expm1(middle * CENTRE) / math.expm1(middle) > 1 / bins:
            low = middle
        else:
            high = middle
    return low
