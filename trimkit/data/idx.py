"""MNIST's own files, and those that are laid out like them (Fashion-MNIST, KMNIST): IDX arrays, plain or gzipped."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trimkit.errors import DataError

PARTS = {"train": "train", "test": "t10k"}
"""Split → how its files' names begin."""

UNSIGNED_BYTES = 8
"""The type code of values from 0 to 255: the only one that these files have."""


def holds_mnist(folder: Path) -> bool:
    """True for a folder with the pictures of either split: ``train-images-idx3-ubyte`` or ``….gz``."""
    return any(_path(folder, start, "images", 3) is not None for start in PARTS.values())


def read_mnist(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Pictures and labels of a split.

    Args:
        folder: with the files, as downloaded or unpacked.
        split: "train" (files ``train-…``) or "test" (files ``t10k-…``).
    Returns:
        (N, 1, H, W) and (N,), uint8.
    Raises:
        DataError: another split, a file that is missing or damaged, or numbers of pictures and labels that differ.
    """
    if split not in PARTS:
        raise DataError(f"data folder {folder}: expected split 'train' or 'test', got {split!r}")
    x, y = (_read(folder, PARTS[split], what, axes) for what, axes in (("images", 3), ("labels", 1)))
    if len(x) != len(y):
        raise DataError(f"data folder {folder}: expected a label for each picture, got {len(x)} and {len(y)}")
    return x[:, None], y


def read_idx(path: Path) -> Tensor:
    """An IDX file of bytes: two zeros, a type code, the number of axes, their big-endian sizes, the values.

    Args:
        path: the file; gzipped where its name ends in ``.gz``.
    Returns:
        uint8, of the file's own shape.
    Raises:
        DataError: another format or type, or a file that is damaged.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}; get the file anew") from error
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTES)):
        raise DataError(f"{path}: expected an IDX file of bytes, which begins 00 00 08, got {content[:3].hex(' ')}")
    start = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) != start + int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"{path}: expected {shape} values behind its head, got {len(content) - start}; get it anew")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


def _read(folder: Path, start: str, what: str, axes: int) -> Tensor:
    path = _path(folder, start, what, axes)
    if path is None:
        raise DataError(
            f"data folder {folder}: expected {start}-{what}-idx{axes}-ubyte, or the same as .gz; got neither"
        )
    values = read_idx(path)
    if values.ndim != axes:
        raise DataError(f"{path}: expected {what} with {axes} axes, got shape {tuple(values.shape)}")
    return values


def _path(folder: Path, start: str, what: str, axes: int) -> Path | None:
    names = (f"{start}-{what}{sign}idx{axes}-ubyte{end}" for sign in "-." for end in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)
