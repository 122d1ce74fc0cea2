"""What a dataset is: samples, and what is known of each, checked once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from trimkit.data.factors import check_factors, factor_sizes
from trimkit.data.samples import Samples, few
from trimkit.errors import DataError
from trimkit.targets import IGNORED

Split = Literal["train", "test"]


class SplitError(DataError):
    """Data that have no such split.

    >>> import trimkit
    >>> trimkit.data.load("digits", "tset")
    Traceback (most recent call last):
    trimkit.data.base.SplitError: ...
    """


@dataclass(frozen=True)
class Dataset:
    """Samples x and, where they are known, labels y, auxiliary variables, generative factors and sources.

    Attributes:
        name: for run folders and reports.
        x: (N, ...) float32, or float64 where a method is to work in it, finite, on the CPU; or `Samples` of that shape
            that are made when asked for, of which only a few are checked.
        y: (N,) int64 class indices; or labels (N, ...) of other tasks: int64 from 0, with −100 where a position has
            none (class maps, tags, token ids, 0 and 1 of several labels), or finite numbers (regression); or None.
        split: "train", "test", or "all" where both are taken together.
        classes: names of the classes, in the order of their indices; () without labels, and where nobody named them.
        aux: (N, ...) auxiliary variables (segment, time) for methods that need them, finite, or None.
        factors: (N, K) integer values from 0 of the generative factors of each sample, where they are known, or None.
        factor_names: of the K factors; numbered where they have none.
        sources: (N, k) float32, the true continuous latents that x was made of, finite, or None.
        skipped: names of files that were left out because they cannot be read.
        feature_names: of the columns of a table, one for each value of a sample (F,); () where they have none.
        ids: what the samples are called, N different texts; () where a sample is named by its place.

    Raises:
        DataError: no samples, values that are not finite, labels, variables, factors or sources that do not fit.
    """

    name: str
    x: Tensor | Samples
    y: Tensor | None = None
    split: str = "train"
    classes: tuple[str, ...] = ()
    aux: Tensor | None = None
    factors: Tensor | None = None
    factor_names: tuple[str, ...] = ()
    sources: Tensor | None = None
    skipped: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_samples()
        if self.y is not None:
            self._check_labels(self.y)
        if self.aux is not None:
            self._check_aux(self.aux)
        self._check_factors(self.factors)
        if self.feature_names and self.shape != (len(self.feature_names),):
            raise DataError(
                f"dataset {self.name!r}: expected one feature name for each value of a sample {self.shape}, got "
                f"{len(self.feature_names)}"
            )
        if self.sources is not None:
            self._check_sources(self.sources)
        if self.ids:
            self._check_ids(self.ids)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def sha256(self) -> str:
        """Hash of shapes, of the samples' bytes or fingerprint, and of all that is known of them."""
        digest = hashlib.sha256(str((torch.Size(self.x.shape), self.y is not None)).encode())
        digest.update(self.x.fingerprint.encode() if isinstance(self.x, Samples) else _content(self.x))
        if self.y is not None:
            digest.update(b"" if self.y is self.class_labels else f"{self.y.dtype} {tuple(self.y.shape)}".encode())
            digest.update(_content(self.y))
        for name, value in (("aux", self.aux), ("factors", self.factors), ("sources", self.sources)):
            if value is not None:
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(_content(value))
        names = ",".join((*self.factor_names, *self.feature_names, *self.ids))
        digest.update(names.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @property
    def class_labels(self) -> Tensor | None:
        """(N,) the class of each sample, where the labels are that; None for labels of other tasks, and without any."""
        return self.y if self.y is not None and self.y.ndim == 1 and not self.y.is_floating_point() else None

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of samples of each class; empty without class labels."""
        if self.class_labels is None:
            return {}
        counts = torch.bincount(self.class_labels, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, counts, strict=True))

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of values of each factor, the largest plus one; () without factors."""
        return () if self.factors is None else factor_sizes(self.factors)

    def take(self, n: int) -> Dataset:
        """The first n samples, or all where there are fewer.

        Raises:
            DataError: n < 1.
        """
        if n < 1:
            raise DataError(f"expected a number of samples ≥ 1, got {n}")
        return self.select(slice(n))

    def some(self, n: int) -> Dataset:
        """At most n samples that stand for all: drawn at random, the same each time, in the data's order.

        The first n of data in the order of their factors would be one shape in one size.

        Raises:
            DataError: n < 1.
        """
        if n < 1 or len(self) <= n:
            return self.take(n)
        drawn = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:n]
        return self.select(drawn.sort().values)

    def select(self, index: slice | Tensor) -> Dataset:
        """Some samples with all that is known of them; those that are made when asked for are not made for it.

        Args:
            index: a slice, or (n,) numbers of samples.
        Raises:
            DataError: none are left.
        """
        optional = ("y", "aux", "factors", "sources")
        tensors: Mapping[str, Tensor | None] = {name: getattr(self, name) for name in optional}
        x = self.x.select(index) if isinstance(self.x, Samples) else self.x[index]
        kept = tuple(self.ids[i] for i in torch.arange(len(self))[index].tolist()) if self.ids else ()
        known = {name: None if value is None else value[index] for name, value in tensors.items()}
        return replace(self, x=x, ids=kept, **known)

    def _check_samples(self) -> None:
        lazy = isinstance(self.x, Samples)
        real = isinstance(self.x, Tensor) and self.x.dtype in (torch.float32, torch.float64)
        if not (lazy or real) or len(self.x.shape) < 2:
            got = f"{self.x.dtype} {tuple(self.x.shape)}" if isinstance(self.x, Tensor) else type(self.x).__name__
            raise DataError(f"dataset {self.name!r}: expected x as float32 or float64 (N, ...), got {got}")
        if 0 in self.x.shape:
            raise DataError(f"dataset {self.name!r} is empty: x has shape {tuple(self.x.shape)}")
        seen = few(self.x, LOOKED_AT)
        if (lazy and seen.dtype != torch.float32) or seen.shape[1:] != self.x.shape[1:]:
            raise DataError(
                f"dataset {self.name!r}: expected samples as float32 {self.shape}, and {type(self.x).__name__} makes "
                f"{seen.dtype} {tuple(seen.shape[1:])}"
            )
        bad = ~torch.isfinite(seen).flatten(1).all(1)
        if bool(bad.any()):
            where = "" if lazy else f", the first is number {int(bad.nonzero()[0])}"
            raise DataError(
                f"dataset {self.name!r}: {int(bad.sum())} of {len(seen)} samples hold NaN or infinity{where}; "
                "clean or drop them"
            )

    def _check_labels(self, y: Tensor) -> None:
        if not (y.dtype == torch.int64 or y.is_floating_point()) or y.ndim < 1 or len(y) != len(self.x):
            raise DataError(
                f"dataset {self.name!r}: expected labels y as int64 ({len(self.x)},), got {y.dtype} {tuple(y.shape)}; "
                "labels of other tasks have further axes, or are floating"
            )
        if y.is_floating_point():
            self._check_finite("y", y)
        elif y.ndim > 1:
            self._check_positions(y)
        elif int(y.min()) < 0 or int(y.max()) >= len(self.classes):
            raise DataError(
                f"dataset {self.name!r}: expected labels in 0 … {len(self.classes) - 1}, one for each class, "
                f"got {int(y.min())} … {int(y.max())}"
            )

    def _check_positions(self, y: Tensor) -> None:
        bad = (y < 0) & (y != IGNORED)
        if bool(bad.any()):
            raise DataError(
                f"dataset {self.name!r}: expected labels y from 0, or {IGNORED} where there is none, got "
                f"{int(y[bad][0])}"
            )

    def _check_aux(self, aux: Tensor) -> None:
        if aux.ndim < 1 or len(aux) != len(self.x):
            raise DataError(
                f"dataset {self.name!r}: expected auxiliary variables aux ({len(self.x)}, ...), got {tuple(aux.shape)}"
            )
        self._check_finite("aux", aux)

    def _check_sources(self, sources: Tensor) -> None:
        if sources.dtype != torch.float32 or sources.ndim != 2 or len(sources) != len(self.x) or not sources.shape[1]:
            raise DataError(
                f"dataset {self.name!r}: expected sources as float32 ({len(self.x)}, k), k ≥ 1, got {sources.dtype} "
                f"{tuple(sources.shape)}"
            )
        self._check_finite("sources", sources)

    def _check_ids(self, ids: tuple[str, ...]) -> None:
        if len(ids) != len(self.x):
            raise DataError(f"dataset {self.name!r}: expected {len(self.x)} ids, one for each sample, got {len(ids)}")
        if len(set(ids)) < len(ids):
            twice = next(name for name, times in Counter(ids).items() if times > 1)
            raise DataError(f"dataset {self.name!r}: expected a different id for each sample, got {twice!r} twice")

    def _check_finite(self, what: str, values: Tensor) -> None:
        bad = ~torch.isfinite(values).reshape(len(values), -1).all(1)
        if bool(bad.any()):
            raise DataError(
                f"dataset {self.name!r}: {what} of {int(bad.sum())} of {len(values)} samples holds NaN or infinity, "
                f"the first is number {int(bad.nonzero()[0])}; clean or drop them"
            )

    def _check_factors(self, factors: Tensor | None) -> None:
        if factors is None:
            if self.factor_names:
                raise DataError(f"dataset {self.name!r}: factor_names without factors; give both or neither")
            return
        check_factors(f"dataset {self.name!r}", factors)
        if len(factors) != len(self.x):
            raise DataError(
                f"dataset {self.name!r}: expected factors of {len(self.x)} samples, got those of {len(factors)}"
            )
        names = self.factor_names or tuple(f"factor {k}" for k in range(factors.shape[1]))
        if len(names) != factors.shape[1] or len(set(names)) != len(names):
            raise DataError(
                f"dataset {self.name!r}: expected {factors.shape[1]} different names of factors, got {names}"
            )
        object.__setattr__(self, "factor_names", names)


def part_of(whole: Dataset, split: str, groups: Tensor | None = None) -> Dataset:
    """Nine tenths of a dataset ("train"), the rest ("test"), both in a fixed random order, or all as it is ("all").

    Args:
        whole: all samples.
        split: see above.
        groups: (N,) integers, such as segments, of each of which a tenth is for testing; None for a tenth of all.
    Raises:
        SplitError: another split.
    """
    if split == "all":
        return replace(whole, split="all")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    kept = torch.arange(len(whole)) < len(whole) * 9 // 10
    if groups is not None:  # every tenth, where samples of a group stand together
        kept[groups[order].argsort(stable=True)] = torch.arange(1, len(whole) + 1) % 10 != 0
    parts = {"train": order[kept], "test": order[~kept]}
    if split not in parts:
        raise SplitError(f"{whole.name}: expected split 'train', 'test' or 'all', got {split!r}")
    return replace(whole.select(parts[split]), split=split)


LOOKED_AT = 8
"""Samples made for a dataset's checks, where samples are made when asked for."""


def _content(value: Tensor) -> memoryview:
    return value.contiguous().view(torch.uint8).numpy().data  # as bytes: numpy has no bfloat16
