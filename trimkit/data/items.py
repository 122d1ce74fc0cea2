"""Samples that someone else's code gives one by one, read when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from trimkit.data.samples import LARGEST, Samples
from trimkit.errors import DataError

MOST_HASHED = 256
"""Samples that a fingerprint reads, spread over all."""


class Items(Samples):
    """Samples that a function gives by their numbers, each the same whenever it is asked for.

    Args:
        name: of the data, for messages.
        n: how many there are.
        first: the first one, (...) of any real type: whole numbers of 8 bits from 0 are divided by 255, of 16 by 65535.
        read: number → sample, on the CPU; sent to other processes as it is.

    Example:
        >>> samples = Items("squares", 1000, torch.zeros(1), lambda i: torch.tensor([float(i * i)]))
        >>> samples[2:5].flatten().tolist()
        [4.0, 9.0, 16.0]
    """

    def __init__(self, name: str, n: int, first: Tensor, read: Callable[[int], Tensor]) -> None:
        self._name, self._read = name, read
        self._shape = torch.Size((n, *first.shape))
        self._largest = LARGEST.get(first.dtype, 1)

    @property
    def shape(self) -> torch.Size:
        """(N, ...)."""
        return self._shape

    @cached_property
    def fingerprint(self) -> str:
        """Hash of shape and of `MOST_HASHED` samples spread evenly over all.

        Data that differ in other samples alone have the same; hashing all would read all.
        """
        numbers = torch.linspace(0, len(self) - 1, min(len(self), MOST_HASHED), dtype=torch.float64).long()
        digest = hashlib.sha256(f"{self._name} {tuple(self._shape)}".encode("utf-8", "surrogateescape"))
        for number in numbers.unique().tolist():
            digest.update(self._read(number).contiguous().numpy().data)
        return digest.hexdigest()

    def make(self, numbers: Tensor) -> Tensor:
        """The samples of these numbers.

        Raises:
            DataError: one of another shape than the first, or not finite.
        """
        x = torch.empty((len(numbers), *self._shape[1:]))
        for row, number in enumerate(numbers.tolist()):
            sample = self._read(number)
            if sample.shape != self._shape[1:] or not bool(torch.isfinite(sample).all()):
                got = tuple(sample.shape) if sample.shape != self._shape[1:] else "NaN or infinity"
                raise DataError(
                    f"{self._name}: expected finite samples of shape {tuple(self._shape[1:])}, as the first, got {got} "
                    f"in number {number}"
                )
            x[row] = sample
        return x.div_(self._largest)
