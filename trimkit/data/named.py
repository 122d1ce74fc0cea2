"""Datasets of arrays by their names: x, y, aux, factors, sources, of all splits or of one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trimkit.data.arrays import as_tensor, dataset_of
from trimkit.data.base import Dataset, SplitError
from trimkit.data.dsprites import CLASSES, IMAGES, dsprites
from trimkit.data.layout import arrange
from trimkit.errors import DataError, TrimkitWarning


def dataset_of_named(
    name: str, arrays: Mapping[str, Any], split: str, *, layout: str | None = None, double: bool = False
) -> Dataset:
    """A dataset of arrays by their names, as files have them.

    Args:
        name: of the data, for reports and messages.
        arrays: "x" and perhaps "y", "u" or "aux", "factors", "factor_names", "sources"; each for every split, or with
            one at its end: "x_train". Those of dSprites' file are known, too.
        split: that is wanted.
        layout: of pictures, see `trimkit.data.layout.arrange`.
        double: keep float64 samples as they are.
    Raises:
        SplitError: arrays of other splits alone.
        DataError: no x, or arrays that do not fit.
    """

    def pick(*keys: str) -> Any:
        return next((arrays[k] for key in keys for k in (f"{key}_{split}", key) if k in arrays), None)

    if IMAGES in arrays and CLASSES in arrays:
        return dsprites(name, arrays[IMAGES], arrays[CLASSES], split)
    x = pick("x")
    if x is None:
        error = SplitError if any(name.startswith("x_") for name in arrays) else DataError
        raise error(
            f"data {name!r}: expected an array 'x' or 'x_{split}', got {sorted(arrays) or 'nothing'}; save "
            "samples as x and labels as y"
        )
    x = arrange(name, as_tensor(name, x), layout)
    if x.is_floating_point() and x.ndim == 4 and x.numel() and float(x.min()) >= 0 and 100 < float(x.max()) <= 255:
        warnings.warn(
            f"data {name!r}: x holds floating values up to {float(x.max()):g}, as pixels in 0 … 255 do; methods expect "
            "about 0 … 1, so divide by 255, or store x as uint8, which is divided when read",
            TrimkitWarning,
            stacklevel=4,
        )
    names = pick("factor_names")
    return dataset_of(
        name,
        x,
        finite_labels(name, pick("y")),
        split,
        aux=pick("u", "aux"),
        sources=pick("sources"),
        factors=pick("factors"),
        factor_names=() if names is None else tuple(str(text) for text in names),
        double=double,
    )


def finite_labels(name: str, y: Any) -> Tensor | None:
    """y, left out with a warning where it holds NaN or infinity."""
    y = None if y is None else as_tensor(name, y, "y")
    if y is None or not y.is_floating_point() or bool(torch.isfinite(y).all()):
        return y
    warnings.warn(f"data {name!r}: y holds NaN or infinity, so it is left out", TrimkitWarning, stacklevel=4)
    return None
