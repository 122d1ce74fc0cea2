"""The two simulations of ICE-BeeM (Khemakhem et al. 2020, arXiv:2002.11537): independent and dependent sources.

Both mix by orthogonal matrices and leaky ReLUs. With two layers that is one entry-wise nonlinearity before one
orthogonal matrix: linear FastICA does as well on it as anything, so results on it are no evidence of nonlinear ICA.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from trimkit.data import laws
from trimkit.data.base import Dataset
from trimkit.data.checks import at_least, seeded
from trimkit.data.nonstationary import as_segments

LOW, HIGH = 0.01, 3.0
"""Bounds of the standard deviations that segments give to sources."""

SLOPE = 0.2
"""Of the leaky ReLU below zero."""


def tcl(
    split: str = "train",
    *,
    segments: int = 20,
    observations: int = 2000,
    dim: int = 5,
    layers: int = 4,
    seed: int = 0,
) -> Dataset:
    """Independent Gaussian sources whose standard deviation is drawn anew from U(.01, 3) for each segment.

    s = σ_u ∘ ε, with ε standard normal and then standardised over all samples; x = `mixed` s.

    Args:
        split: "train" for nine tenths of each segment, "test" for the rest, both in a fixed random order; "all" in the
            order of the segments.
        segments: values of the auxiliary variable.
        observations: samples of each segment, ≥ 10.
        dim: number of sources and of entries of x.
        layers: of the mixing, ≥ 2.
        seed: of everything.
    Returns:
        x (N, d) with N = segments · observations; aux (N,) the segment; sources (N, d).
    Raises:
        DataError: another split.
        OptionError: options out of range.
    """
    rng = _checked("tcl", segments, observations, dim, layers, seed)
    spread = _spreads(segments, dim, rng)
    noise = laws.gaussian((segments, observations, dim), rng)
    standard = (noise - noise.mean((0, 1))) / noise.std((0, 1), correction=0)
    s = spread[:, None] * standard
    return as_segments("tcl", mixed(s, layers, rng), s, split)


def imca(
    split: str = "train",
    *,
    segments: int = 20,
    observations: int = 2000,
    dim: int = 5,
    layers: int = 4,
    seed: int = 0,
) -> Dataset:
    """Sources that depend on each other within every segment: Gaussian with the precisions of `precisions`.

    Args:
        split: as of `tcl`.
        segments: values of the auxiliary variable.
        observations: samples of each segment, ≥ 10.
        dim: number of sources and of entries of x, ≥ 2.
        layers: of the mixing, ≥ 2.
        seed: of everything.
    Returns:
        x (N, d) with N = segments · observations; aux (N,) the segment; sources (N, d).
    Raises:
        DataError: another split.
        OptionError: options out of range.
    """
    rng = _checked("imca", segments, observations, dim, layers, seed)
    at_least("imca", 2, dim=dim)
    factors = torch.linalg.cholesky(precisions(segments, dim, rng))
    noise = laws.gaussian((segments, dim, observations), rng)
    s = torch.linalg.solve_triangular(factors.mT, noise, upper=True).mT  # Λ = L Lᵀ, so L⁻ᵀ ε has covariance Λ⁻¹
    return as_segments("imca", mixed(s, layers, rng), s, split)


def precisions(segments: int, dim: int, rng: torch.Generator) -> Tensor:
    """Λ_u = C⁻¹ / 2d + diag(1/σ_u²): what the segments share, and what each adds to its sources.

    C is a random correlation matrix whose eigenvalues are uniform up to their sum, d; σ_u is drawn from U(.01, 3).

    Args:
        segments: M.
        dim: d.
        rng: source of randomness.
    Returns:
        (M, d, d) float64, positive definite.
    """
    from scipy.stats import random_correlation

    state = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
    eigenvalues = state.random(dim)
    correlation = random_correlation.rvs(dim * eigenvalues / eigenvalues.sum(), random_state=state)
    shared = torch.linalg.inv(torch.from_numpy(correlation)) * 0.5 / dim
    return shared + torch.diag_embed(_spreads(segments, dim, rng).pow(-2))


def mixed(s: Tensor, layers: int, rng: torch.Generator) -> Tensor:
    """layers − 1 times a leaky ReLU of slope .2 and a random orthogonal matrix: (..., d) → (..., d)."""
    for _ in range(layers - 1):
        s = leaky_relu(s, SLOPE) @ laws.random_rotation(s.shape[-1], rng)
    return s


def _spreads(segments: int, dim: int, rng: torch.Generator) -> Tensor:
    return LOW + (HIGH - LOW) * torch.rand(segments, dim, generator=rng, dtype=torch.float64)


def _checked(name: str, segments: int, observations: int, dim: int, layers: int, seed: int) -> torch.Generator:
    at_least(name, 1, segments=segments, dim=dim)
    at_least(name, 10, observations=observations)
    at_least(name, 2, layers=layers)
    return seeded(name, seed)
