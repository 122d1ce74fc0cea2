"""Scores of coefficients as a picture, each transform in the form in which its space is read."""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.report.pictures import Figure, bar_figure, mosaic, robust_limit, signed_figure, span_figure
from trimkit.transforms import DCT, FFT, ChannelsXBands, FrequencyBands, Identity, Transform
from trimkit.transforms.along import Along
from trimkit.transforms.base import Size
from trimkit.transforms.wavelet import Multilevel

CENTRE = 0.09
"""Half the width that zero frequency gets in a log-radius map, as a share of the picture's half."""

PIXELS = 161
"""Side of a log-radius map; odd, so that zero frequency has a pixel of its own."""


def coefficient_figure(transform: Transform, scores: Tree, size: Size) -> Figure:
    """The scores of one sample's coefficients.

    FFT: the full spectrum around zero frequency, its radius logarithmic. DCT: the map of coefficients. Bands: a mosaic
    of maps. Wavelets: sub-bands nested in the place of the picture. Anything else, and one-dimensional data: bars of
    single scores, or of groups where there are many.

    Args:
        transform: the space.
        scores: leaves (1, ...), real.
        size: of one sample of data.
    """
    alt = f"Scores of coefficients; the strongest group is {_strongest(transform, scores, size)}."
    if isinstance(transform, Along) and not (transform.works_on_last(size) and len(transform.places(size)) < 3):
        return _group_figure(transform, scores, size, alt)
    return _figure(transform, scores, size, alt)


def _group_figure(transform: Transform, scores: Tree, size: Size, alt: str) -> Figure:
    groups = transform.groups(size)
    return span_figure(groups, groups.sums(scores)[0].tolist(), f"groups by {groups.axis}", alt)


@singledispatch
def _figure(transform: Transform, scores: Tree, size: Size, alt: str) -> Figure:
    leaves = tree.leaves(scores)
    if len(leaves) == 1 and leaves[0].ndim >= 4 and tuple(leaves[0].shape[1:]) == tuple(size):
        return signed_figure(_flat_map(leaves[0][0]), "coefficients", alt)
    single = tree.rows(scores)[0]
    if len(single) <= 64:
        return bar_figure(single.tolist(), "coefficients", alt)
    return _group_figure(transform, scores, size, alt)


@_figure.register
def _(transform: FFT, scores: Tree, size: Size, alt: str) -> Figure:
    leaf = (tree.leaves(scores)[0] / transform.multiplicity(size))[0]
    if transform.frequencies(size).ndim < 2:
        return bar_figure(leaf.reshape(-1, leaf.shape[-1]).sum(0).tolist(), f"0 → {_highest(transform, size)}", alt)
    spectrum = full_spectrum(_flat_map(leaf), size[-1])
    return signed_figure(log_radius(spectrum), "frequency, log radius", alt, robust_limit(spectrum))


@_figure.register
def _(transform: ChannelsXBands, scores: Tree, size: Size, alt: str) -> Figure:
    return _group_figure(transform, scores, size, alt)


@_figure.register
def _(transform: DCT, scores: Tree, size: Size, alt: str) -> Figure:
    leaf = tree.leaves(scores)[0][0]
    if leaf.ndim < 3:
        return bar_figure(leaf.reshape(-1, leaf.shape[-1]).sum(0).tolist(), "0 → highest", alt)
    return signed_figure(_flat_map(leaf), "frequency, zero top left", alt)


@_figure.register
def _(transform: FrequencyBands, scores: Tree, size: Size, alt: str) -> Figure:
    leaf = tree.leaves(scores)[0][0]
    if leaf.ndim < 4:
        return bar_figure(leaf.flatten(1).sum(1).tolist(), "low → high band", alt)
    return signed_figure(mosaic(leaf.sum(1)), "bands, low to high by rows", alt)


@_figure.register
def _(transform: Multilevel, scores: Tree, size: Size, alt: str) -> Figure:
    parts = [_flat_map(leaf[0]) for leaf in tree.leaves(scores)]
    if len(parts) != 1 + 3 * transform.depth(size) or tree.leaves(scores)[0].ndim < 4:
        return _group_figure(transform, scores, size, alt)
    nested = nested_subbands(parts)
    return signed_figure(nested, "sub-bands, coarse top left", alt, robust_limit(nested))


@_figure.register
def _(transform: Identity, scores: Tree, size: Size, alt: str) -> Figure:
    return pixel_figure(tree.leaves(scores)[0][0], alt)


def _highest(transform: FFT, size: Size) -> str:
    """The highest frequency of signals, with its unit where the sampling rate is known."""
    if not transform.sampled:
        return "Nyquist"
    return f"{float(transform.frequencies(size).max()):.4g} {transform.rates(size)[0].frequency_unit}"


def pixel_figure(scores: Tensor, alt: str) -> Figure:
    """Scores in the data's own space: a map for (C, H, W), else bars."""
    if scores.ndim < 3:
        return bar_figure(scores.reshape(-1, scores.shape[-1]).sum(0).tolist(), "in the data's own space", alt)
    return signed_figure(_flat_map(scores), "", alt)


def nested_subbands(parts: list[Tensor]) -> Tensor:
    """Sub-bands in the place of the picture, each level around the coarser ones: (h, w).

    Args:
        parts: approximation, then horizontal, vertical and diagonal details of each level, coarse to fine.
    """
    low, *details = parts
    for horizontal, vertical, diagonal in zip(details[::3], details[1::3], details[2::3], strict=True):
        low = torch.cat([torch.cat([low, vertical], dim=1), torch.cat([horizontal, diagonal], dim=1)])
    return low


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


def _flat_map(scores: Tensor) -> Tensor:
    """(..., h, w) → (h, w), channels summed."""
    return scores.reshape(-1, *scores.shape[-2:]).sum(0)


def _strongest(transform: Transform, scores: Tree, size: Size) -> str:
    groups = transform.groups(size)
    return groups.names[int(groups.sums(scores)[0].abs().argmax())]
