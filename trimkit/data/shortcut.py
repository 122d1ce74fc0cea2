"""Digits with a planted frequency shortcut: a pattern that gives the label away, and that no pixel mask can express."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from trimkit.data.base import Dataset, Split
from trimkit.data.digits import digits
from trimkit.data.samples import in_memory
from trimkit.errors import DataError

Pattern = Literal["label", "random", "none"]

SHORTCUT_BIN = (5, 5)
"""Cycles a picture, vertically and horizontally, of the planted cosine: the bin [5, 5] of its 2-D Fourier transform."""


def digits_shortcut(split: Split = "train", pattern: Pattern | None = None, amplitude: float = 0.15) -> Dataset:
    """Digits plus a cosine at one Fourier bin whose amplitude is the label in training and random in testing.

    x = A + (1 − 2A) · digit + A · a · cos(2π(5i + 5j)/16), with a = 2y/9 − 1 ("label"), a of a random label
    ("random") or a = 0 ("none"). A network finds the pattern long before the digit, and fails where it is random.

    Args:
        split: "train" or "test".
        pattern: what sets the amplitude; by default "label" for training and "random" for testing.
        amplitude: A, in (0, 0.5).
    Returns:
        x (N, 1, 16, 16) in [0, 1], y (N,), ten classes.
    Raises:
        DataError: an unknown split or pattern, or an amplitude out of range.
    """
    pattern = pattern or ("label" if split == "train" else "random")
    if not 0 < amplitude < 0.5:
        raise DataError(f"digits-shortcut: expected an amplitude in (0, 0.5), got {amplitude}")
    clean = digits(split)
    height = _heights(pattern, clean)[:, None, None, None]
    x = amplitude + (1 - 2 * amplitude) * in_memory(clean.x) + amplitude * height * planted_wave(clean.shape[-1])
    return replace(clean, name="digits-shortcut", x=x)


def planted_wave(size: int) -> Tensor:
    """The planted cosine, (size, size) in [−1, 1].

    >>> wave = planted_wave(16)
    >>> wave.shape, wave.abs().max().item() <= 1
    (torch.Size([16, 16]), True)
    """
    phase = torch.arange(size) / size
    return torch.cos(2 * torch.pi * (SHORTCUT_BIN[0] * phase[:, None] + SHORTCUT_BIN[1] * phase))


def planted_mask(size: int) -> Tensor:
    """True at the planted bin of the half spectrum, (size, size // 2 + 1): what a penalty forbids."""
    mask = torch.zeros(size, size // 2 + 1, dtype=torch.bool)
    mask[SHORTCUT_BIN] = True
    return mask


def _heights(pattern: str, data: Dataset) -> Tensor:
    assert data.y is not None
    if pattern == "none":
        return torch.zeros(len(data))
    if pattern == "label":
        return 2 * data.y / 9 - 1
    if pattern == "random":
        labels = torch.randint(10, (len(data),), generator=torch.Generator().manual_seed(1))
        return 2 * labels / 9 - 1
    raise DataError(f"digits-shortcut: expected pattern 'label', 'random' or 'none', got {pattern!r}")
