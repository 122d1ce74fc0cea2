"""Datasets from what users have: tensors, arrays, lists, PyTorch's datasets and loaders, any iterable of batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from trimkit.data.arrays import dataset_of
from trimkit.data.base import Dataset
from trimkit.data.files import load
from trimkit.data.gathering import gather
from trimkit.data.named import dataset_of_named
from trimkit.data.samples import Samples

Source: TypeAlias = Dataset | Samples | Tensor | np.ndarray | str | Path | TorchDataset[Any] | Iterable[Any]
"""What `as_dataset` takes."""


def as_dataset(source: Source, split: str = "train", *, shape: Sequence[int] = (), double: bool = False) -> Dataset:
    """A dataset from any form in which users have theirs.

    Args:
        source: a `Dataset`; samples (N, ...) as tensor, array or `Samples`; (x, y); a mapping of arrays as files have
            them; what `load` takes, also as a path; a dataset or loader of PyTorch; a list or iterable of samples or of
            batches. Samples and batches are x, (x, y, ...), or a mapping with "x" and perhaps "y", labels, see
            `Dataset`, and "aux", what conditional methods are told.
        split: what it is called, and loaded where it is named.
        shape: of one sample, which tells a list of samples from one of batches; () for samples.
        double: keep float64 samples as they are.
    Returns:
        The samples in the order in which they came, in memory; those of a large dataset of PyTorch's are read when
        asked for, see `trimkit.data.gathering.gather`.
    Raises:
        DataError: nothing of that name, samples that cannot be used, or more of them than memory is to hold.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | Path):
        return load(str(source), split, double=double)
    if _is_array(source):
        return dataset_of("samples", source, split=split, double=double)
    if isinstance(source, tuple) and len(source) == 2 and _is_array(source[0]) and _is_array(source[1]):
        return dataset_of("samples", *source, split, double=double)
    if isinstance(source, Mapping):
        return dataset_of_named("samples", source, split, double=double)
    return gather(source, split, shape=tuple(shape), double=double)


def _is_array(source: Any) -> bool:
    """A tensor, or what says that NumPy can make an array of it; samples that are made when asked for."""
    return isinstance(source, Tensor | Samples) or hasattr(source, "__array__")
