"""Samples of a .npy file that is larger than memory: only those that are asked for are read."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trimkit.data.samples import LARGEST, Samples
from trimkit.errors import DataError

MOST_HASHED = 64 * 1024**2
"""Bytes of a file that its fingerprint reads, in rows spread over it."""


SHARES = {"u1": LARGEST[torch.uint8], "u2": LARGEST[torch.uint16]}
"""NumPy's name of a type, without its byte order → the value that becomes 1."""


class NpySamples(Samples):
    """The array of a .npy file through a memory map, opened anew in every process; it is sent there as its path.

    Whole numbers of 8 bits from 0 are divided by 255, and those of 16 by 65535, as those of files that are read whole.

    Args:
        path: of the file, with an array (N, ...) of numbers.
    Raises:
        DataError: no such file, or none that holds samples.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "x.npy"
        >>> np.save(path, np.arange(12, dtype=np.float64).reshape(4, 3))
        >>> samples = NpySamples(path)
        >>> tuple(samples.shape), samples[2:].tolist()
        ((4, 3), [[6.0, 7.0, 8.0], [9.0, 10.0, 11.0]])
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).absolute()
        rows = self._rows()
        if rows.ndim < 2 or 0 in rows.shape or rows.dtype.kind not in "fiu":
            raise DataError(f"{path}: expected an array (N, ...) of numbers, got {rows.dtype} {rows.shape}")
        self._shape = rows.shape

    @property
    def shape(self) -> torch.Size:
        """(N, ...)."""
        return torch.Size(self._shape)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of type, shape and of rows spread evenly over the file, at most `MOST_HASHED` bytes of them.

        Two files that differ in other rows alone have the same; hashing all would read what does not fit in memory.
        """
        rows = self._rows()
        most = max(1, MOST_HASHED // max(1, rows[0].nbytes))
        digest = hashlib.sha256(f"{rows.dtype.str} {rows.shape}".encode())
        for number in np.linspace(0, len(rows) - 1, min(most, len(rows), 4096)).astype(int):
            digest.update(np.ascontiguousarray(rows[number]).data)
        return digest.hexdigest()

    def make(self, numbers: Tensor) -> Tensor:
        """The samples of these numbers, read from the file in its order.

        Raises:
            DataError: some are not finite.
        """
        order = numbers.argsort()
        values = torch.empty((len(numbers), *self._shape[1:]))
        rows = self._rows()
        values[order] = torch.from_numpy(np.asarray(rows[numbers[order].numpy()], np.float32))
        if not bool(torch.isfinite(values).all()):
            raise DataError(f"{self._path} holds NaN or infinity in the samples from {int(numbers.min())} on; clean it")
        return values / SHARES.get(rows.dtype.str[1:], 1)

    def _rows(self) -> np.ndarray:
        try:
            return np.load(self._path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{self._path}: expected a .npy file with one array ({error})") from error
