"""Datasets of arrays: every type that tensors, NumPy and tables have, brought into the one that methods take."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimkit.data.base import Dataset
from trimkit.data.factors import INTEGERS, MOST_VALUES
from trimkit.data.samples import LARGEST, Bytes, Samples
from trimkit.errors import DataError, TrimkitWarning

MOST_FLOATS = 1024**3
"""Bytes that uint8 and uint16 samples may take as float32; beyond, they are converted when asked for."""

TOO_FLAT, FLAT = 2.0**-14, 2.0**-48
"""Spread of a feature, as a share of its largest magnitude, below which float32 keeps less than three digits of it; and
below which float64 keeps none either."""

LEFT_FREE = 2**12
"""Values of uint16 samples that use no more are those of 12 bits, or of a count."""


def dataset_of(
    name: str,
    x: Any,
    y: Any = None,
    split: str = "train",
    *,
    aux: Any = None,
    sources: Any = None,
    factors: Any = None,
    factor_names: Sequence[str] = (),
    double: bool = False,
) -> Dataset:
    """A dataset of arrays.

    Args:
        name: for reports.
        x: (N, ...), to float32, uint8 divided by 255 and uint16 by 65535: when asked for, where that would take more
            than `MOST_FLOATS` bytes. float64 stays where float32 would not tell the values of a feature apart. Or
            `Samples`.
        y: (N,) integral class labels, to int64; the classes are named by their index. Or labels of another task, see
            `Dataset`: whole numbers with further axes to int64, floating ones to float32.
        split: what the dataset is to be called.
        aux: (N, ...) auxiliary variables; floating ones to float32, others to int64.
        sources: (N, k) true continuous latents, to float32.
        factors: (N, K) integral values from 0.
        factor_names: of the K factors.
        double: keep float64 samples as they are.
    Raises:
        DataError: text, dates or complex numbers, labels or factors that are no integers, or arrays that do not fit.
    Warns:
        TrimkitWarning: uint16 samples of which the largest is that of 12 bits.
    """
    beside = {
        "aux": None if aux is None else _numbers(name, aux, "aux"),
        "sources": None if sources is None else _numbers(name, sources, "sources").float(),
        "factors": _integers(name, factors, "factors"),
        "factor_names": tuple(factor_names),
    }
    x = x if isinstance(x, Samples) else _samples(name, as_tensor(name, x), double)
    if y is None:
        return Dataset(name, x, None, split, **beside)
    y = _labels(name, as_tensor(name, y, "y"))
    classed = y.numel() and y.ndim == 1 and not y.is_floating_point()
    classes = tuple(str(index) for index in range(int(y.max()) + 1)) if classed else ()
    return Dataset(name, x, y, split, classes, **beside)


def _labels(name: str, y: Tensor) -> Tensor:
    """Class labels (N,) and labels of positions as int64; numbers of a regression as float32."""
    if y.is_complex() or not bool(torch.isfinite(y).all()):
        raise DataError(
            f"data {name!r}: expected class labels 0, 1, …, got {y.dtype} with {_no_integers(y)}; for a regression "
            "model without known values leave y out"
        )
    y = y if y.is_floating_point() else y.long()
    if y.is_floating_point() and not _could_be_classes(y):
        return y.float()
    if y.ndim == 1 and y.numel() and int(y.max()) >= MOST_VALUES:
        raise DataError(
            f"data {name!r}: expected class labels 0, 1, … below {MOST_VALUES}, got {int(y.max())}; number the "
            "classes, or give values of a regression as floating numbers"
        )
    return y.long()


def _could_be_classes(y: Tensor) -> bool:
    whole = y.ndim == 1 and not _no_integers(y)
    return whole and (not y.numel() or (float(y.min()) >= 0 and float(y.max()) < MOST_VALUES))


def _no_integers(values: Tensor) -> str:
    """What keeps values from being integers, or ""."""
    if values.is_complex():
        return "imaginary parts"
    if not values.is_floating_point():
        return ""
    if not bool(torch.isfinite(values).all()):
        return "NaN or infinity"
    return "fractions" if bool((values != values.round()).any()) else ""


def _samples(name: str, x: Tensor, double: bool) -> Tensor | Samples:
    if x.is_complex():
        raise DataError(
            f"data {name!r}: expected real x, got {x.dtype}; give its parts as channels: torch.view_as_real, or "
            "magnitude and phase"
        )
    x = x.detach()
    if x.dtype in LARGEST:
        _warn_of_few_bits(name, x)
        return Bytes(x, LARGEST[x.dtype]) if 4 * x.numel() > MOST_FLOATS else x.float().div_(LARGEST[x.dtype])
    return x if (double and x.dtype == torch.float64) or needs_double(x) else x.float()


def needs_double(x: Tensor | Samples) -> bool:
    """Whether samples are float64, and float32 could not tell the values of a feature apart, or hold them.

    A feature is an entry of a vector, and a channel of what has more axes.

    Args:
        x: (N, ...).

    >>> steps = torch.arange(9, dtype=torch.float64)[:, None]
    >>> needs_double(steps), needs_double(steps + 1e8), needs_double(steps * 1e40)
    (False, True, True)
    """
    if isinstance(x, Samples) or x.dtype != torch.float64 or x.ndim < 2 or 0 in x.shape or not bool(x.isfinite().all()):
        return False
    axes = [0, *range(2, x.ndim)]
    largest, spread = torch.maximum(x.amax(axes), -x.amin(axes)), x.std(axes, correction=0)
    varies = spread > FLAT * largest
    flat, bounds = spread < TOO_FLAT * largest, torch.finfo(torch.float32)
    return bool((varies & (flat | (spread < bounds.tiny / bounds.eps)) | (largest > bounds.max)).any())


def _warn_of_few_bits(name: str, x: Tensor) -> None:
    if x.dtype != torch.uint16 or not x.numel():
        return
    largest = int(x.to(torch.int32).max())
    if 0 < largest < LEFT_FREE:
        warnings.warn(
            f"data {name!r}: x holds uint16 values up to {largest}, which are divided by 65535, so up to "
            f"{largest / 65535:.2g}; where they have 12 bits or are counts, divide them yourself and give floats",
            TrimkitWarning,
            stacklevel=5,
        )


def as_tensor(name: str, values: Any, what: str = "x") -> Tensor:
    """A tensor, array or nested lists as a tensor, on whatever device it is.

    Args:
        name: of the data, for messages.
        values: of any memory order and byte order.
        what: they are, for messages.
    Raises:
        DataError: text, dates, records, objects, or rows of unequal length.

    >>> as_tensor("mine", np.array([1.0, 2.0], dtype=">f8")[::-1])
    tensor([2., 1.], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        return values
    try:
        return torch.from_numpy(_native(np.asarray(values)))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"data {name!r}: {what!r} holds {_described(values)}") from error


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """An array in this machine's byte order that PyTorch can share memory with."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if not array.flags.writeable or any(step < 0 for step in array.strides):
        return array.copy()
    return array


def _described(values: Any) -> str:
    """What an array holds that is no numbers, and what to do."""
    try:
        array = np.asarray(values)
    except ValueError:
        return "rows of unequal length, expected numbers; give each sample the same shape"
    if array.dtype.names:
        return f"records, expected numbers; give the fields {', '.join(array.dtype.names)} as columns"
    if array.dtype.kind in "OUS":
        kind = "objects" if array.dtype.kind == "O" else "text"
        return f"{kind}, expected numbers; number classes 0, 1, … instead (the first is {array.ravel()[:1].tolist()})"
    return f"{array.dtype}, expected numbers; convert them first"


def _numbers(name: str, values: Any, what: str) -> Tensor:
    """Floating values as float32, others as int64."""
    values = as_tensor(name, values, what)
    if values.is_complex():
        raise DataError(f"data {name!r}: expected real {what}, got {values.dtype}; give its parts: torch.view_as_real")
    return values.float() if values.is_floating_point() else values.long()


def _integers(name: str, values: Any, what: str) -> Tensor | None:
    if values is None:
        return None
    values = as_tensor(name, values, what)
    if fault := _no_integers(values):
        raise DataError(f"data {name!r}: expected {what} as integers from 0, got {values.dtype} with {fault}")
    return values if values.dtype in INTEGERS else values.long()
