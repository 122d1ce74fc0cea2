"""Datasets with one fault each, and the sound ones that they are made from."""

from __future__ import annotations

import torch

from trimkit.data import Dataset
from trimkit.errors import DataError

from .register import fault, sound


@sound("dataset")
def noise(split: str = "train", seed: int = 0) -> Dataset:
    """Normal noise."""
    if split not in ("train", "test"):
        raise DataError(f"noise: expected split 'train' or 'test', got {split!r}")
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(seed))
    return Dataset("noise", x[:50] if split == "train" else x[50:], split=split)


@fault("dataset", "splits", "divide them once")
def overlapping(split: str = "train") -> Dataset:
    """Test samples among the training samples."""
    whole = noise(split).x
    return Dataset("overlapping", torch.cat([whole, noise("test").x]), split=split)


@fault("dataset", "keyed_draws", "use a generator with a seed of its own")
def unseeded(split: str = "train") -> Dataset:
    """Noise from the global random state."""
    return Dataset("unseeded", noise(split).x + torch.randn(1), split=split)


@fault("dataset", "declared", "mend DatasetSpec")
def misdeclared(split: str = "train") -> Dataset:
    """Samples of another shape than the record says."""
    return Dataset("misdeclared", noise(split).x[:, :3], split=split)
