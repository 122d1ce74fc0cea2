"""Real handwritten digits that come with scikit-learn."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trimkit.data.base import Dataset, Split, SplitError

TRAIN_SAMPLES = 1200


def digits(split: Split = "train") -> Dataset:
    """The 1,797 handwritten digits of scikit-learn (UCI optical digits), 16×16 grey values in [0, 1].

    The originals are 8×8 counts from 0 to 16; they are divided by 16 and interpolated bilinearly to 16×16. A fixed
    permutation gives 1,200 samples for training and 597 for testing.

    Args:
        split: "train" or "test".
    Returns:
        x (N, 1, 16, 16), y (N,), ten classes.
    Raises:
        DataError: another split.
    """
    x, y = _arrays()
    part = split_rows(split, len(x))
    return Dataset("digits", x[part], y[part], split, tuple(str(digit) for digit in range(10)))


def split_rows(split: str, n: int) -> Tensor:
    """Indices of a split in a fixed permutation: the first 1,200 train, the rest test."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    parts = {"train": order[:TRAIN_SAMPLES], "test": order[TRAIN_SAMPLES:]}
    if split not in parts:
        raise SplitError(f"digits: expected split 'train' or 'test', got {split!r}")
    return parts[split]


@cache
def _arrays() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    large = interpolate(images, size=(16, 16), mode="bilinear", align_corners=False)
    return large, torch.as_tensor(labels, dtype=torch.int64)
