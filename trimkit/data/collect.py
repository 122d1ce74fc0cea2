"""Datasets from what users have: tensors, arrays, lists, PyTorch's datasets and loaders, any iterable of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from trimkit.data.arrays import dataset_of
from trimkit.data.base import Dataset
from trimkit.data.files import load
from trimkit.data.samples import MOST_BYTES
from trimkit.errors import DataError

Source: TypeAlias = Dataset | Tensor | np.ndarray | str | Path | TorchDataset[Any] | Iterable[Any]
"""What `as_dataset` takes."""


def as_dataset(source: Source, split: str = "train", *, shape: Sequence[int] = (), double: bool = False) -> Dataset:
    """A dataset from any form in which users have theirs.

    Args:
        source: a `Dataset`; samples (N, ...) as tensor or array; (x, y); what `load` takes, also as a path; a dataset
            or loader of PyTorch; a list or iterable of samples or of batches. Samples and batches are x, (x, y, ...),
            or a mapping with "x" and perhaps "y", labels, see `Dataset`, and "aux", what conditional methods are told.
        split: what it is called, and loaded where it is named.
        shape: of one sample, which tells a list of samples from one of batches; () for samples.
        double: keep float64 samples as they are.
    Returns:
        The samples in memory, in the order in which they came.
    Raises:
        DataError: nothing of that name, samples that cannot be used, or more of them than memory is to hold.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | Path):
        return load(str(source), split, double=double)
    if isinstance(source, Tensor | np.ndarray):
        return dataset_of("samples", source, split=split, double=double)
    if isinstance(source, tuple) and len(source) == 2 and all(isinstance(part, Tensor | np.ndarray) for part in source):
        return dataset_of("samples", *source, split, double=double)
    name = type(getattr(source, "dataset", source)).__name__
    with torch.random.fork_rng(devices=[]):  # a loader takes its workers' seeds from torch's own stream
        x, y, aux = _gather(name, _entries(name, source), tuple(shape), isinstance(source, DataLoader))
    return dataset_of(name, x, y, split, aux=aux, double=double)


def _entries(name: str, source: Any) -> Iterator[Any]:
    """What comes out of a dataset, loader or iterable."""
    if isinstance(source, TorchDataset) and hasattr(source, "__len__"):
        return (source[index] for index in range(len(source)))  # type: ignore[arg-type]
    try:
        return iter(source)
    except TypeError as error:
        raise DataError(
            f"expected data as a tensor, array, (x, y), name, path, Dataset, DataLoader or iterable, got {name}"
        ) from error


Parts: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None]
"""x, labels and auxiliary variables."""


def _gather(name: str, entries: Iterator[Any], shape: tuple[int, ...], batched: bool) -> Parts:
    """All samples (N, ...), and their labels (N, ...) and auxiliary variables (N, ...) where there are any."""
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    us: list[Tensor] = []
    held = 0
    for number, entry in enumerate(entries):
        x, y, aux = _parts(name, number, entry)
        is_batch = batched or (bool(shape) and x.shape[1:] == shape and x.shape != shape)
        xs.append(x if is_batch else x[None])
        ys += [] if y is None else [_labels(y, len(xs[-1]), is_batch)]
        us += [] if aux is None else [aux if is_batch else aux[None]]
        held += 4 * x.numel()
        if held > MOST_BYTES:
            raise DataError(
                f"{name} holds more than the {MOST_BYTES / 1e9:.1f} GB that are read into memory; make a "
                "trimkit.data.Samples of it, which is read batch by batch"
            )
        if xs[-1].shape[1:] != xs[0].shape[1:]:
            raise DataError(
                f"{name}: expected samples of shape {tuple(xs[0].shape[1:])}, as the first, got "
                f"{tuple(xs[-1].shape[1:])} in number {number}"
            )
    if not xs:
        raise DataError(f"{name} is empty: expected samples")
    return torch.cat(xs), torch.cat(ys) if ys else None, torch.cat(us) if us else None


def _labels(y: Tensor, samples: int, is_batch: bool) -> Tensor:
    """Labels of a batch or of one sample, (samples, ...); (samples,) where there is one number a sample."""
    return y.reshape(-1) if y.numel() == samples else y if is_batch else y[None]


def _parts(name: str, number: int, entry: Any) -> Parts:
    """x, y and auxiliary variables of a sample or batch."""
    aux = entry.get("aux") if isinstance(entry, Mapping) else None
    if isinstance(entry, Mapping):
        entry = (entry.get("x"), entry.get("y"))
    x, y, *_ = (*entry, None) if isinstance(entry, tuple | list) else (entry, None)
    try:
        labels, given = (None if part is None else torch.as_tensor(part).detach().cpu() for part in (y, aux))
        return torch.as_tensor(x).detach().cpu(), labels, given
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: expected x, (x, y) or a mapping with x and y, got {type(entry).__name__} in number {number}"
        ) from error
