"""What a dataset is: samples and labels in memory, checked once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from trimkit.errors import DataError

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Dataset:
    """Samples x and, where there are any, labels y.

    Attributes:
        name: for run folders and reports.
        x: (N, ...) float32, finite, on the CPU.
        y: (N,) int64 class indices, or None.
        split: "train" or "test".
        classes: names of the classes, in the order of their indices; () without labels.
        aux: (N, ...) auxiliary variables (segment, time) for methods that need them, or None.
        factors: (N, K) integer values from 0 of the generative factors of each sample, where they are known, or None.
        factor_names: of the K factors.

    Raises:
        DataError: no samples, values that are not finite, labels that do not fit.
    """

    name: str
    x: Tensor
    y: Tensor | None = None
    split: str = "train"
    classes: tuple[str, ...] = ()
    aux: Tensor | None = None
    factors: Tensor | None = None
    factor_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_samples()
        if self.y is not None:
            self._check_labels(self.y)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def sha256(self) -> str:
        """Hash of shapes and bytes of samples and labels."""
        digest = hashlib.sha256(str((self.x.shape, self.y is not None)).encode())
        digest.update(self.x.contiguous().numpy().data)
        if self.y is not None:
            digest.update(self.y.contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of samples of each class; empty without labels."""
        if self.y is None:
            return {}
        counts = torch.bincount(self.y, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, counts, strict=True))

    def take(self, n: int) -> Dataset:
        """The first n samples, or all where there are fewer.

        Raises:
            DataError: n < 1.
        """
        if n < 1:
            raise DataError(f"expected a number of samples ≥ 1, got {n}")
        return replace(self, x=self.x[:n], y=None if self.y is None else self.y[:n])

    def _check_samples(self) -> None:
        if not isinstance(self.x, Tensor) or self.x.dtype != torch.float32 or self.x.ndim < 2:
            got = f"{self.x.dtype} {tuple(self.x.shape)}" if isinstance(self.x, Tensor) else type(self.x).__name__
            raise DataError(f"dataset {self.name!r}: expected x as float32 (N, ...), got {got}")
        if self.x.numel() == 0:
            raise DataError(f"dataset {self.name!r} is empty: x has shape {tuple(self.x.shape)}")
        bad = ~torch.isfinite(self.x).flatten(1).all(1)
        if bool(bad.any()):
            raise DataError(
                f"dataset {self.name!r}: {int(bad.sum())} of {len(self.x)} samples hold NaN or infinity, the first is "
                f"number {int(bad.nonzero()[0])}; clean or drop them"
            )

    def _check_labels(self, y: Tensor) -> None:
        if y.dtype != torch.int64 or y.shape != (len(self.x),):
            raise DataError(
                f"dataset {self.name!r}: expected labels y as int64 ({len(self.x)},), got {y.dtype} {tuple(y.shape)}"
            )
        if int(y.min()) < 0 or int(y.max()) >= len(self.classes):
            raise DataError(
                f"dataset {self.name!r}: expected labels in 0 … {len(self.classes) - 1}, one for each class, "
                f"got {int(y.min())} … {int(y.max())}"
            )
