"""Samples that are made when asked for: pictures that are drawn, decoded or converted batch by batch."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import overload

import torch
from torch import Tensor

from trimkit.errors import DataError

MOST_BYTES = 2 * 1024**3
"""What `in_memory` holds at most."""

LARGEST = {torch.uint8: 255, torch.uint16: 65535}
"""Type of whole numbers that stand for shares → the value that becomes 1."""


class Samples(ABC):
    """What stands for a tensor (N, ...) that would not fit in memory, or is not there yet.

    A subclass says its shape and fingerprint and writes `make`; indexing by a slice, numbers or a mask then gives the
    same float32 tensor as a tensor would. Samples are the same whenever they are asked for.

    Example:
        >>> class Squares(Samples):
        ...     shape, fingerprint = torch.Size((1000, 1)), "squares"
        ...     def make(self, numbers):
        ...         return numbers.float().square()[:, None]
        >>> Squares()[2:5].flatten().tolist(), Squares()[torch.tensor([-1])].item()
        ([4.0, 9.0, 16.0], 998001.0)
    """

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """(N, ...)."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Text that differs wherever samples do; it enters `Dataset.sha256`."""

    @abstractmethod
    def make(self, numbers: Tensor) -> Tensor:
        """The samples of these numbers.

        Args:
            numbers: (n,) int64 on the CPU, each in 0 … N − 1, in any order, perhaps repeated; n may be 0.
        Returns:
            (n, ...) float32 on the CPU, finite, and the caller's to change.
        """

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes, that of samples included."""
        return len(self.shape)

    @overload
    def __getitem__(self, index: slice | Tensor) -> Tensor: ...
    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    def __getitem__(self, index: slice | Tensor | int) -> Tensor:
        """Samples by a slice, numbers (n,) or a mask (N,): (n, ...); one sample by its number: (...).

        Raises:
            IndexError: a number that is out of range, or an index that is none of these.
        """
        if isinstance(index, int):
            return self.make(row_numbers(torch.tensor([index]), len(self)))[0]
        return self.make(row_numbers(index, len(self)))

    def select(self, index: slice | Tensor) -> Samples:
        """Some of the samples, still made when asked for; see `__getitem__`."""
        return Selection(self, row_numbers(index, len(self)))


class Selection(Samples):
    """Some samples of others, in an order.

    Args:
        samples: the others.
        numbers: (n,) int64, each in 0 … N − 1.
    """

    def __init__(self, samples: Samples, numbers: Tensor) -> None:
        self._samples = samples
        self._numbers = numbers

    @property
    def shape(self) -> torch.Size:
        """(n, ...)."""
        return torch.Size((len(self._numbers), *self._samples.shape[1:]))

    @cached_property
    def fingerprint(self) -> str:
        """Of the samples and their numbers."""
        digest = hashlib.sha256(self._samples.fingerprint.encode())
        digest.update(self._numbers.long().contiguous().numpy().data)
        return digest.hexdigest()

    def make(self, numbers: Tensor) -> Tensor:
        """The samples of these numbers of the selection."""
        return self._samples.make(self._numbers[numbers].long())

    def select(self, index: slice | Tensor) -> Samples:
        """A selection of the same samples, so that selections do not nest."""
        return Selection(self._samples, self._numbers[row_numbers(index, len(self))])


class Bytes(Samples):
    """Samples that are held as whole numbers, and divided when asked for: a quarter of the memory, or half of it.

    Args:
        values: (N, ...) uint8 or uint16.
        largest: the value that becomes 1: 255 of usual pictures, 65535 of those of 16 bits, 1 of binary ones.
    """

    def __init__(self, values: Tensor, largest: int = 255) -> None:
        self._values = values
        self._largest = largest

    @property
    def shape(self) -> torch.Size:
        """(N, ...)."""
        return self._values.shape

    @cached_property
    def fingerprint(self) -> str:
        """Of the values and the divisor."""
        digest = hashlib.sha256(f"{tuple(self.shape)} / {self._largest}".encode())
        digest.update(self._values.contiguous().numpy().data)
        return digest.hexdigest()

    def make(self, numbers: Tensor) -> Tensor:
        """Values / largest, in [0, 1]."""
        return self._values[numbers].float() / self._largest


def few(x: Tensor | Samples, most: int = 64) -> Tensor:
    """What a check looks at: all of a tensor; of samples that are made when asked for, some drawn at random.

    Args:
        x: (N, ...).
        most: how many samples are made at most; fewer where they would take more than `MOST_BYTES`.
    Returns:
        (n, ...) float32, the same at every call.
    """
    if isinstance(x, Tensor):
        return x
    most = max(1, min(most, MOST_BYTES // _bytes(x.shape[1:])))
    if len(x) <= most:
        return x[:]
    return x[torch.randint(len(x), (most,), generator=torch.Generator().manual_seed(0)).unique()]


def in_memory(x: Tensor | Samples, most: int = MOST_BYTES) -> Tensor:
    """All samples as one tensor, for what cannot work batch by batch.

    Args:
        x: (N, ...).
        most: bytes that samples made for this may take; a tensor is there already.
    Returns:
        (N, ...) float32.
    Raises:
        DataError: they would take more.
    """
    if isinstance(x, Tensor):
        return x
    if _bytes(x.shape) > most:
        raise DataError(
            f"all {len(x):,} samples of shape {tuple(x.shape[1:])} at once would take {_bytes(x.shape) / 1e9:.1f} GB, "
            f"more than the {most / 1e9:.1f} GB that are allowed for it; use fewer: data.take(n), "
            f"n ≤ {most // _bytes(x.shape[1:]):,}"
        )
    return x[:]


def row_numbers(index: slice | Tensor, n: int) -> Tensor:
    """The numbers of samples that an index means, (m,) int64 in 0 … n − 1.

    Raises:
        IndexError: a number that is out of range, or an index that is no slice, no numbers (m,) and no mask (n,).

    >>> row_numbers(slice(1, 4), 10), row_numbers(torch.tensor([-1]), 10)
    (tensor([1, 2, 3]), tensor([9]))
    """
    if isinstance(index, slice):
        wanted = range(n)[index]
        return wanted.start + wanted.step * torch.arange(len(wanted))
    if not isinstance(index, Tensor) or index.ndim != 1 or index.is_floating_point() or index.is_complex():
        got = f"{index.dtype} {tuple(index.shape)}" if isinstance(index, Tensor) else type(index).__name__
        raise IndexError(f"expected a slice, numbers of samples (n,) or a mask ({n},), got {got}")
    index = index.cpu()
    if index.dtype == torch.bool:
        if len(index) != n:
            raise IndexError(f"expected a mask ({n},), got ({len(index)},)")
        return index.nonzero()[:, 0]
    numbers = torch.where(index < 0, index.long() + n, index.long())
    if len(numbers) and (int(numbers.min()) < 0 or int(numbers.max()) >= n):
        raise IndexError(f"expected numbers of samples in {-n} … {n - 1}, got {int(index.min())} … {int(index.max())}")
    return numbers


def _bytes(shape: torch.Size) -> int:
    return 4 * math.prod(shape)
