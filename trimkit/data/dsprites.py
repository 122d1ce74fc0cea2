"""The file of dSprites, and files that are laid out like it."""

from __future__ import annotations

import torch
from torch import Tensor

from trimkit.data.base import Dataset
from trimkit.data.samples import Bytes
from trimkit.errors import DataError

IMAGES, CLASSES = "imgs", "latents_classes"
"""Names of its arrays: (N, 64, 64) uint8 and (N, 6) integers. Its "metadata" is pickled, and is never read."""

NAMES = ("color", "shape", "scale", "orientation", "x", "y")
SHAPES = ("square", "ellipse", "heart")


def dsprites(name: str, images: Tensor, latents: Tensor, split: str = "train") -> Dataset:
    """Images and factors as the file of dSprites has them (Matthey et al. 2017), whole for every split.

    The images stay bytes and are converted when asked for: 3 GB instead of 12 for all 737,280. Factors with one value
    alone, as the colour there, are left out; labels are the shapes.

    Args:
        name: for reports.
        images: (N, H, W) uint8, 0 and 1, or grey to 255.
        latents: (N, K) integers: the number of each factor's value; six are color, shape, scale, orientation, x, y.
        split: what the dataset is to be called.
    Returns:
        x (N, 1, H, W) in [0, 1], made when asked for; factors (N, number of factors that vary).
    Raises:
        DataError: arrays that do not fit.
    """
    if images.dtype != torch.uint8 or images.ndim != 3 or not len(images):
        raise DataError(f"data {name!r}: expected {IMAGES} uint8 (N, H, W), got {images.dtype} {tuple(images.shape)}")
    if latents.ndim != 2 or len(latents) != len(images):
        raise DataError(f"data {name!r}: expected {CLASSES} ({len(images)}, K), got {tuple(latents.shape)}")
    names = NAMES if latents.shape[1] == len(NAMES) else tuple(f"factor {k}" for k in range(latents.shape[1]))
    varies = [k for k in range(latents.shape[1]) if bool((latents[:, k] != latents[0, k]).any())]
    kept = tuple(names[k] for k in varies)
    y = latents[:, names.index("shape")].long() if "shape" in kept else None
    return Dataset(
        name,
        Bytes(images[:, None], 255 if int(images.max()) > 1 else 1),
        y,
        split,
        () if y is None else SHAPES,
        factors=latents[:, varies] if varies else None,
        factor_names=kept,
    )
