"""Samples in a file on disk, of which only those that are asked for are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trimkit.data.samples import Samples
from trimkit.errors import DataError


class MappedSamples(Samples):
    """float32 samples in a raw file, read through a memory map that is opened anew in every process.

    Args:
        path: of the file, as `write_samples` writes it.
        shape: of one sample.
        fingerprint: of the values.
    Raises:
        DataError: no such file, or one whose size is no whole number of samples.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], fingerprint: str) -> None:
        size = path.stat().st_size if path.is_file() else 0
        rows, rest = divmod(size, 4 * int(np.prod(shape)))
        if not rows or rest:
            raise DataError(f"{path} holds no float32 samples of shape {shape}; delete it, and let it be made anew")
        self._path = path
        self._shape = (rows, *shape)
        self._fingerprint = fingerprint

    @property
    def shape(self) -> torch.Size:
        """(N, ...)."""
        return torch.Size(self._shape)

    @property
    def fingerprint(self) -> str:
        """As given."""
        return self._fingerprint

    def make(self, numbers: Tensor) -> Tensor:
        """The samples of these numbers, read from the file."""
        rows = np.memmap(self._path, np.float32, "r", shape=self._shape)
        return torch.from_numpy(np.array(rows[numbers.numpy()]))


def write_samples(path: Path, parts: Iterable[Tensor]) -> MappedSamples:
    """Write samples to a file as they come.

    Args:
        path: of the file, which is replaced.
        parts: float32 (n, ...) each, on the CPU, all of one shape a sample.
    Raises:
        DataError: there are none.
    """
    digest, shape = hashlib.sha256(), None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for part in parts:
            shape = tuple(part.shape[1:])
            content = part.contiguous().numpy().data
            digest.update(content)
            file.write(content)
    if shape is None:
        raise DataError("expected samples to write, got none")
    return MappedSamples(path, shape, digest.hexdigest())
