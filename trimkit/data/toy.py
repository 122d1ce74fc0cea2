"""Data whose disentangled code is known in closed form: for tests of metrics and methods."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

from trimkit.data.base import Dataset, part_of
from trimkit.errors import OptionError

Mixing = Literal["smooth", "linear"]

NAMES = ("kind", "height", "width", "depth")
SIZES = (3, 5, 8, 10)
"""Number of values of each factor: 1,200 combinations."""

FEATURES = 12


def toy_factors(split: str = "train", mixing: Mixing = "smooth", seed: int = 0) -> Dataset:
    """Every combination of four independent factors, mixed into twelve features by a fixed injective map.

    With c = `perfect_code` of the factors, B (4, 4) orthogonal and A (12, 4) with orthonormal columns, both random,
    x = ½ + s · A · g(B · c), where s makes the largest |x − ½| one half. g(t) = t + 0.4 · sin 2t acts on each entry
    ("smooth"; its slope lies in [0.2, 1.8], so the map can be undone) or is g(t) = t ("linear"). So c is a code in
    which every factor has one entry of its own, and x has lost nothing of it.

    Args:
        split: "train" for 1,080 combinations and "test" for 120, both in a fixed random order; "all" in row-major order
            of the factors.
        mixing: "smooth" or "linear".
        seed: of A and B.
    Returns:
        x (N, 12) in [0, 1]; y the first factor; factors (N, 4).
    Raises:
        DataError, OptionError: another split or mixing.
    """
    if mixing not in ("smooth", "linear"):
        raise OptionError(f"toy-factors: expected mixing 'smooth' or 'linear', got {mixing!r}")
    factors = _grid()
    x = mixed(perfect_code(factors), mixing, seed)
    classes = tuple(f"{NAMES[0]} {value}" for value in range(SIZES[0]))
    return part_of(
        Dataset("toy-factors", x.float(), factors[:, 0], "all", classes, factors=factors, factor_names=NAMES), split
    )


def perfect_code(factors: Tensor) -> Tensor:
    """The disentangled code of factors of `toy_factors`: values equally spaced, each entry of mean 0 and variance 1.

    c_k = (v_k − (n_k − 1)/2) / √((n_k² − 1)/12), for factor k with values v_k = 0 … n_k − 1.

    Args:
        factors: (N, 4) integers.
    Returns:
        (N, 4) float64.
    """
    sizes = torch.tensor(SIZES, dtype=torch.float64)
    return (factors - (sizes - 1) / 2) / ((sizes.square() - 1) / 12).sqrt()


def mixed(code: Tensor, mixing: Mixing = "smooth", seed: int = 0) -> Tensor:
    """x of a code, see `toy_factors`: (N, 4) → (N, 12), float64; in [0, 1] for codes of factors."""
    inner, outer, scale = _matrices(mixing, seed)
    return 0.5 + scale * _bend(code @ inner.T, mixing) @ outer.T


def _bend(values: Tensor, mixing: Mixing) -> Tensor:
    return values + 0.4 * torch.sin(2 * values) if mixing == "smooth" else values


@cache
def _matrices(mixing: Mixing, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """B (4, 4), A (12, 4) and the scale."""
    draws = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(n, len(SIZES), dtype=torch.float64, generator=draws) for n in (len(SIZES), FEATURES)]
    inner, outer = (torch.linalg.qr(matrix)[0] for matrix in drawn)
    largest = (_bend(perfect_code(_grid()) @ inner.T, mixing) @ outer.T).abs().max()
    return inner, outer, 0.5 / largest


@cache
def _grid() -> Tensor:
    return torch.cartesian_prod(*(torch.arange(n) for n in SIZES))
