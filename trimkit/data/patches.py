"""Patches of two photographs that come with scikit-learn."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from trimkit.data.base import Dataset, SplitError
from trimkit.data.checks import at_least, seeded
from trimkit.errors import OptionError

NAME = "patches"

TILE = 64
"""Pixels on a side of the squares that the photographs are cut into before patches are drawn."""

LUMA = (0.299, 0.587, 0.114)
"""Grey of red, green and blue, ITU-R BT.601."""


def patches(split: str = "train", *, size: int = 16, n: int = 10_000, seed: int = 0) -> Dataset:
    """Random square patches of china.jpg and flower.jpg, grey, each with its mean removed.

    The photographs, of 427 × 640 pixels, are cut into 120 tiles of 64 × 64, of which a tenth is for testing; a patch
    lies within one tile, so that no pixel is in both splits. Values lie in (−1, 1), not in [0, 1]. Without their mean,
    patches have size² − 1 components at most. Linear ICA finds edges in them (Bell, Sejnowski 1997).

    Args:
        split: "train" for nine tenths, "test" for the rest; "all" for both, one after the other.
        size: pixels on a side, 2 … 64.
        n: of patches in both splits together, ≥ 10.
        seed: of the places; which tiles are for testing does not depend on it.
    Returns:
        x (N, 1, size, size).
    Raises:
        DataError: another split.
        OptionError: options out of range.
    """
    at_least(NAME, 2, size=size)
    at_least(NAME, 10, n=n)
    if size > TILE:
        raise OptionError(f"{NAME}: expected size ≤ {TILE}, the tiles that patches lie within, got {size}")
    rng, tiles = seeded(NAME, seed), _tiles()
    train, test = tiles[: len(tiles) * 9 // 10], tiles[len(tiles) * 9 // 10 :]
    parts = {"train": _cut(train, n * 9 // 10, size, rng), "test": _cut(test, n - n * 9 // 10, size, rng)}
    parts["all"] = torch.cat([parts["train"], parts["test"]])
    if split not in parts:
        raise SplitError(f"{NAME}: expected split 'train', 'test' or 'all', got {split!r}")
    return Dataset(NAME, parts[split], split=split)


def _cut(tiles: Tensor, n: int, size: int, rng: torch.Generator) -> Tensor:
    """Patches at random places of tiles (T, 64, 64): (n, 1, size, size), each of mean 0."""
    tile = torch.randint(len(tiles), (n, 1, 1), generator=rng)
    top, left = torch.randint(TILE - size + 1, (2, n, 1, 1), generator=rng)
    along = torch.arange(size)
    patches = tiles[tile, top + along[:, None], left + along]
    return (patches - patches.mean((1, 2), keepdim=True))[:, None].float()


@cache
def _tiles() -> Tensor:
    """All tiles of both photographs in a fixed random order: (120, 64, 64) float64 in [0, 1]."""
    from sklearn.datasets import load_sample_images

    pixels = torch.stack([torch.from_numpy(image.copy()) for image in load_sample_images().images]).double() / 255
    grey = pixels @ torch.tensor(LUMA, dtype=torch.float64)
    tiles = grey.unfold(1, TILE, TILE).unfold(2, TILE, TILE).reshape(-1, TILE, TILE)
    return tiles[torch.randperm(len(tiles), generator=torch.Generator().manual_seed(0))]
