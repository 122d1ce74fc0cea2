"""Codes and factors as they are given, checked once and brought into one form."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trimkit.errors import DataError, OptionError, ShapeError, TrimkitWarning

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FEWEST = 20
"""Samples below which no metric is computed: a histogram or a classifier of fewer says nothing."""

FAR, USUAL = 10, (1e-4, 1e4)
"""Standard deviations from 0, and standard deviations, beyond which codes are brought to what predictors expect."""

LARGEST = 1e37
"""Magnitude of codes beyond which scikit-learn's forests, which are in float32, overflow."""


@dataclass(frozen=True)
class Factors:
    """Generative factors of N samples, without those that have one value only.

    Attributes:
        values: (N, K) numbers of values, 0 … sizes[k] − 1, each of which occurs.
        columns: the K columns of the table that was given.
        names: of the K factors.
        left_out: names of the factors with one value.
    """

    values: Integers
    columns: tuple[int, ...]
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each factor, at least 2."""
        return tuple((self.values.max(0) + 1).tolist())

    def protocol(self) -> dict[str, Any]:
        """What a result has to say of them."""
        return {"samples": len(self.values)} | ({"left_out": list(self.left_out)} if self.left_out else {})


def as_array(values: Any) -> NDArray[Any]:
    """A NumPy array of a tensor on any device, an array, or nested lists.

    >>> import torch
    >>> as_array(torch.ones(2)), as_array([1, 2])
    (array([1., 1.]), array([1, 2]))
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def as_codes(codes: Any, name: str = "codes", fewest: int = FEWEST) -> Floats:
    """Codes as float64 (N, D), contiguous.

    Args:
        codes: real (N, D), or (N, ...) which is flattened: tensor, array or nested lists.
        name: for the message.
        fewest: samples to expect.
    Raises:
        ShapeError: no real numbers, or not at least two axes and one code.
        DataError: too few samples, or NaN, infinity or numbers beyond float32's squares among them.
    """
    array = as_array(codes)
    if array.dtype.kind not in "fiub" or array.ndim < 2 or 0 in array.shape[1:]:
        raise ShapeError(f"{name}: expected real numbers (N, D), D ≥ 1, got {array.dtype} {array.shape}")
    if len(array) < fewest:
        raise DataError(f"{name}: expected at least {fewest} samples, got {len(array)}; give more")
    array = np.ascontiguousarray(array.reshape(len(array), -1), dtype=np.float64)
    bad = ~np.isfinite(array).all(1)
    if bad.any():
        raise DataError(
            f"{name}: {int(bad.sum())} of {len(array)} samples hold NaN or infinity, the first is number "
            f"{int(bad.argmax())}; the encoder has diverged, or its data were not clean"
        )
    largest = float(np.abs(array).max())
    if largest > LARGEST:
        raise DataError(
            f"{name}: expected values up to {LARGEST:g}, got {largest:.3g}: the predictors that metrics fit are in "
            "float32; the encoder has diverged, or the codes need another unit"
        )
    return array


def as_factors(factors: Any, n: int, names: Sequence[str] = ()) -> Factors:
    """Factors of n samples. One with a single value among them (as the colour of dSprites) is left out.

    Args:
        factors: integers (N, K), or (N,) for one factor; any values.
        n: number of codes that they belong to.
        names: of the K factors; "0", "1", … by default.
    Raises:
        ShapeError: no integers (n, K).
        OptionError: not one name a factor.
        DataError: no factor has two values.
    """
    array = as_array(factors)
    array = array[:, None] if array.ndim == 1 else array
    if array.dtype.kind not in "iub" or array.ndim != 2 or len(array) != n or not array.shape[1]:
        raise ShapeError(
            f"factors: expected integers ({n}, K), one row a code, got {array.dtype} {array.shape}; number the values "
            "of a continuous factor, such as by its quantiles"
        )
    if names and len(names) != array.shape[1]:
        raise OptionError(f"names: expected one for each of {array.shape[1]} factors, got {len(names)}")
    names = tuple(names) or tuple(map(str, range(array.shape[1])))
    columns = tuple(k for k in range(array.shape[1]) if (array[:, k] != array[0, k]).any())
    if not columns:
        raise DataError(f"factors: each of {array.shape[1]} has one value in all {n} samples, so codes cannot tell any")
    return Factors(
        np.stack([np.unique(array[:, k], return_inverse=True)[1] for k in columns], axis=1).astype(np.int64),
        columns,
        tuple(names[k] for k in columns),
        tuple(name for k, name in enumerate(names) if k not in columns),
    )


@dataclass(frozen=True)
class Halves:
    """Rows to learn from and rows to test on.

    Attributes:
        train: numbers of rows, in random order, so that the order of the data does not matter.
        test: the others.
    """

    train: Integers
    test: Integers

    def protocol(self) -> dict[str, Any]:
        """What a result has to say of them."""
        return {"train": len(self.train), "test": len(self.test), "interval": "test rows resampled"}


def halves(n: int, test_share: float, generator: np.random.Generator) -> Halves:
    """A random division of n rows.

    Raises:
        OptionError: a share outside (0, 1).
    """
    if not 0 < test_share < 1:
        raise OptionError(f"test_share: expected a share in (0, 1), got {test_share}")
    order = generator.permutation(n)
    cut = min(max(round(n * (1 - test_share)), 1), n - 1)
    return Halves(order[:cut], order[cut:])


def warn_of_one(metric: str, counted: int, kind: str) -> None:
    """Say that a metric is 1 by its definition, where there is one factor or one code.

    Warns:
        TrimkitWarning: the count is 1.
    """
    if counted == 1:
        warnings.warn(
            f"{metric} is 1 for everything, noise too, where there is one {kind} that varies: it is not applicable; "
            f"give several",
            TrimkitWarning,
            stacklevel=3,
        )


def centred(codes: Floats) -> Floats:
    """Codes at mean 0; constant ones exactly."""
    moved = codes - codes[0]  # exactly zero for a constant code, which a mean is not
    return moved - moved.mean(0)


def lies_far(codes: Floats) -> NDArray[np.bool_]:
    """Which codes lie further than `FAR` of their standard deviations from 0, (D,); constant ones do not."""
    spread = centred(codes).std(0)
    return (np.abs(codes.mean(0)) > FAR * spread) & (spread > 0)


def for_trees(codes: Floats) -> Floats:
    """Codes as trees can split them, which are in float32 and see no steps below 1e-7.

    Those that lie far from 0, or whose spread is not within `USUAL`, come at mean 0 and variance 1, which changes
    nothing else for a tree.

    >>> for_trees(np.array([[1e8, 5.0], [1e8 + 2, 5.0], [1e8 + 2, 4.0]])).round(2).tolist()
    [[-1.41, 5.0], [0.71, 5.0], [0.71, 4.0]]
    """
    moved = centred(codes)
    moved /= np.where(moved.any(0), np.abs(moved).max(0), 1)
    spread = moved.std(0)
    usual = codes.std(0)
    chosen = (spread > 0) & (lies_far(codes) | (usual < USUAL[0]) | (usual > USUAL[1]))
    return np.where(chosen, moved / np.where(spread > 0, spread, 1), codes)


def with_second_code(codes: Floats) -> Floats:
    """Two codes at least: where there is one, a constant one beside it, so that "the second best" is defined."""
    return codes if codes.shape[1] > 1 else np.hstack([codes, np.zeros_like(codes)])
