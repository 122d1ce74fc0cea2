"""Linear mixtures of independent sources: data on which linear ICA has an answer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trimkit.data import laws
from trimkit.data.base import Dataset, part_of
from trimkit.data.checks import at_least, numbers, seeded
from trimkit.errors import OptionError

NAME = "mixture"

LAWS: dict[str, laws.Law] = {
    "laplace": laws.laplace,
    "uniform": laws.uniform,
    "mixed": laws.mixed,
    "t": laws.student,
}

FEWEST = 10
"""Samples of which a tenth is one to test on."""


def mixture(
    split: str = "train",
    *,
    sources: str = "laplace",
    dim: int = 4,
    n: int = 10_000,
    features: int | None = None,
    gaussians: int = 0,
    condition: float = 10.0,
    seed: int = 0,
) -> Dataset:
    """Independent sources of mean 0 and variance 1 through a random matrix: x = A s.

    With at most one Gaussian source, A is identifiable up to the order, sign and scale of its columns (Comon 1994).

    Args:
        split: "train" for nine tenths, "test" for the rest, both in a fixed random order; "all".
        sources: law of the sources: "laplace", "uniform", "t" (five degrees of freedom), or "mixed" (Laplace and
            uniform in turn).
        dim: number of sources k.
        n: of samples, ≥ 10.
        features: number of entries p of x, ≥ k; k by default.
        gaussians: how many of the sources, the last ones, are standard normal instead.
        condition: of A, see `mixing_matrix`.
        seed: of A and the sources.
    Returns:
        x (N, p); sources (N, k).
    Raises:
        DataError: another split.
        OptionError: options out of range.
    """
    law = laws.law_of(NAME, sources, LAWS)
    at_least(NAME, FEWEST, n=n)
    at_least(NAME, 0, gaussians=gaussians)
    rng = seeded(NAME, seed)
    mixing = _mixing(dim, features, condition, rng)
    if gaussians > dim:
        raise OptionError(f"{NAME}: expected at most {dim} Gaussian sources, as many as there are, got {gaussians}")
    s = law((n, dim), rng)
    s[:, dim - gaussians :] = laws.gaussian((n, gaussians), rng)
    return part_of(Dataset(NAME, (s @ mixing.T).float(), split="all", sources=s.float()), split)


def mixing_matrix(dim: int, *, features: int | None = None, condition: float = 10.0, seed: int = 0) -> Tensor:
    """The matrix A of `mixture`, by which fits are judged.

    Random orthonormal bases on both sides of singular values that fall geometrically from √condition to 1/√condition.

    Args:
        dim: number of sources k.
        features: number of entries p of x, ≥ k; k by default.
        condition: largest over smallest singular value, ≥ 1.
        seed: of the bases.
    Returns:
        (p, k) float64.
    Raises:
        OptionError: options out of range.
    """
    return _mixing(dim, features, condition, seeded(NAME, seed))


def _mixing(dim: int, features: int | None, condition: float, rng: torch.Generator) -> Tensor:
    at_least(NAME, 1, dim=dim)
    features = dim if features is None else features
    at_least(NAME, dim, features=features)
    numbers(NAME, 1, condition=condition)
    left, right = laws.random_rotation(features, rng)[:, :dim], laws.random_rotation(dim, rng)
    end = math.log10(condition) / 2
    return left * torch.logspace(end, -end, dim, dtype=torch.float64) @ right
