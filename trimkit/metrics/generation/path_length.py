"""Perceptual path length: how far images move, in a predictor's features, for a small step between two codes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights, torch_generator
from trimkit.metrics.results import MetricResult

Path: TypeAlias = Literal["linear", "spherical"]
"""Straight lines (w) or great circles (z)."""

FEWEST = 20
"""Pairs of codes below which a mean of squared steps says nothing."""


@torch.no_grad()
def perceptual_path_length(
    start: Tensor,
    end: Tensor,
    images: Callable[[Tensor], Tensor],
    features: Callable[[Tensor], Tensor],
    *,
    path: Path = "linear",
    where: Literal["full", "end"] = "full",
    epsilon: float = 1e-4,
    trim: float = 0.01,
    batch_size: int = 64,
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """E ‖φ(G(v(t))) − φ(G(v(t + ε)))‖² / ε² over pairs of codes (Karras et al. 2019, section 4.1).

    The published numbers take VGG16's features, and drop the lowest and the highest hundredth of the distances before
    the mean; the second is done here by default, the first is replaced by features that you have. Use float64 networks,
    or a larger ε, where a step of 10⁻⁴ is lost to rounding.

    Args:
        start: (N, ...) codes v(0), N ≥ 20.
        end: (N, ...) codes v(1), drawn independently.
        images: codes (n, ...) → images (n, ...), with all noise fixed.
        features: images → (n, ...), flattened; the identity for pixels.
        path: "linear", or "spherical" for normal codes whose length does not matter.
        where: "full" takes t ~ U(0, 1), "end" t = 0.
        epsilon: ε, > 0.
        trim: share of the distances that is dropped at either end, in [0, 0.5).
        batch_size: codes at a time.
        seed: of t and of the interval.
        draws: resamples of the distances that are kept, for the interval; 0 for none.
    Returns:
        "perceptual_path_length", ≥ 0 in squared units of the features. Parts: "untrimmed", "median".
    Raises:
        OptionError: an option out of range.
        ShapeError: codes of different shapes.
        DataError: too few codes, or distances that are not finite.
    """
    _check(start, end, path, where, epsilon, trim)
    if batch_size < 1:
        raise OptionError(f"batch_size: expected at least 1, got {batch_size}")
    rng = generator(seed, "perceptual_path_length")
    t = torch.rand(len(start), generator=torch_generator(rng), dtype=torch.float64).to(start) * (where == "full")
    between = spherical if path == "spherical" else linear_path
    squared = []
    for rows in torch.arange(len(start), device=start.device).split(batch_size):
        steps = [between(start[rows], end[rows], t[rows] + step) for step in (0.0, epsilon)]
        near, far = (features(images(codes)).double().flatten(1) for codes in steps)
        squared.append((near - far).square().sum(1) / epsilon**2)
    distances = torch.cat(squared).cpu().numpy()
    if not np.isfinite(distances).all():
        raise DataError("the features of some images are NaN or infinite; look at the generator's output first")
    low, high = np.quantile(distances, [trim, 1 - trim])
    kept = distances[(distances >= low) & (distances <= high)]
    value = float(kept.mean())
    resampled = row_weights(len(kept), draws, rng).astype(np.float64) @ kept / len(kept)
    protocol = {"pairs": len(start), "path": path, "where": where, "epsilon": epsilon, "trim": trim, "seed": seed}
    parts = {"untrimmed": float(distances.mean()), "median": float(np.median(distances))}
    spread = interval(value, resampled, 0)
    return MetricResult("perceptual_path_length", value, spread, protocol | {"draws": draws}, parts)


def linear_path(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """(1 − t) v₀ + t v₁: (N, ...), (N, ...), (N,) → (N, ...)."""
    return torch.lerp(start, end, t.view(-1, *[1] * (start.ndim - 1)))


def spherical(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """The point a share t of the way along the great circle between two directions, at length √D.

    Args:
        start: (N, ...) codes, of which the direction counts.
        end: (N, ...).
        t: (N,).
    Returns:
        (N, ...) of length √D each, as normal codes have; opposite directions, between which no circle is the shortest,
        give NaN.
    """
    a, b = (v.flatten(1) / v.flatten(1).norm(dim=1, keepdim=True) for v in (start, end))
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos() * t[:, None]
    across = b - (a * b).sum(1, keepdim=True) * a
    length = across.norm(dim=1, keepdim=True)
    across = torch.where(length > 0, across / length, torch.where((a * b).sum(1, keepdim=True) > 0, 0.0, math.nan))
    return ((a * angle.cos() + across * angle.sin()) * math.sqrt(a.shape[1])).view_as(start)


def _check(start: Any, end: Any, path: str, where: str, epsilon: float, trim: float) -> None:
    if start.shape != end.shape or start.ndim < 2:
        raise ShapeError(f"expected codes (N, ...) of one shape, got {tuple(start.shape)} and {tuple(end.shape)}")
    if start.dtype not in (torch.float32, torch.float64):
        raise ShapeError(f"expected codes of float32 or float64, in which a step of ε is seen, got {start.dtype}")
    if len(start) < FEWEST:
        raise DataError(f"expected at least {FEWEST} pairs of codes, got {len(start)}; draw more")
    for name, value, choices in (("path", path, ("linear", "spherical")), ("where", where, ("full", "end"))):
        if value not in choices:
            raise OptionError(f"{name}: expected one of {choices}, got {value!r}")
    if not epsilon > 0:
        raise OptionError(f"epsilon: expected a step > 0, got {epsilon}")
    if not 0 <= trim < 0.5:
        raise OptionError(f"trim: expected a share in [0, 0.5), got {trim}")
