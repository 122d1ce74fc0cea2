"""Samples one by one or in batches: from PyTorch's datasets and loaders, lists, and any iterable."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from trimkit.data import arrays
from trimkit.data.arrays import as_tensor, dataset_of
from trimkit.data.base import Dataset
from trimkit.data.items import Items
from trimkit.data.samples import MOST_BYTES
from trimkit.errors import DataError, TrimkitWarning
from trimkit.registry.usercode import run_user_code

Parts: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None]
"""x, labels and auxiliary variables."""

LOOKED_AT = 8
"""Samples whose labels are held against those that a dataset keeps beside."""

_END = object()


def is_gathered(source: Any) -> bool:
    """Whether samples come out of a source one by one or in batches: a dataset or loader of PyTorch, a generator."""
    return isinstance(source, TorchDataset | DataLoader | Iterator)


def gather(source: Any, split: str, *, shape: tuple[int, ...] = (), double: bool = False) -> Dataset:
    """A dataset of what comes out of a dataset, loader or iterable, in the order in which it comes.

    A dataset of PyTorch with a length is read when asked for where its samples would take more than
    `trimkit.data.arrays.MOST_FLOATS` bytes. Its labels are taken from its ``targets``, where its samples agree with
    them, else from one pass over all. Everything else is read into memory.

    Args:
        source: see `trimkit.data.as_dataset`.
        split: what it is called.
        shape: of one sample, which tells samples from batches; () for samples.
        double: keep float64 samples as they are.
    Raises:
        DataError: samples that cannot be used, or more of them than memory is to hold.
    """
    name = type(getattr(source, "dataset", source)).__name__
    if type(source) is TensorDataset and len(source.tensors) <= 2:
        return dataset_of(name, *source.tensors, split=split, double=double)
    with torch.random.fork_rng(devices=[]):  # a loader takes its workers' seeds from torch's own stream
        if _has_length(source) and len(source):
            first = _parts(name, 0, read_item(name, source, 0))
            large = 4 * len(source) * first[0].numel() > arrays.MOST_FLOATS
            _check_steady(name, first[0], _sample(name, source, 0), refuse=large)
            if large:
                return _read_when_asked(name, source, first, split)
        x, y, aux = _gathered(name, _entries(name, source), shape, _is_batched(source))
    return dataset_of(name, x, y, split, aux=aux, double=double)


def read_item(name: str, source: Any, number: int) -> Any:
    """An item of a dataset; what its code raises is an error that names the item."""
    return run_user_code(f"{name}: sample number {number}", DataError, lambda: source[number])


def _sample(name: str, source: Any, number: int) -> Tensor:
    """x of one item."""
    return _parts(name, number, read_item(name, source, number))[0]


def _has_length(source: Any) -> bool:
    """Whether items of a dataset of PyTorch can be asked for by number."""
    return isinstance(source, TorchDataset) and not isinstance(source, IterableDataset) and hasattr(source, "__len__")


def _is_batched(source: Any) -> bool:
    return isinstance(source, DataLoader) and source.batch_sampler is not None


def _check_steady(name: str, first: Tensor, again: Tensor, *, refuse: bool) -> None:
    """Say that a dataset draws its samples anew at each reading, or refuse one that must be read again and again.

    Raises:
        DataError: where it is to be refused.
    Warns:
        TrimkitWarning: elsewhere.
    """
    if again.shape == first.shape and bool(((again == first) | (again != again)).all()):
        return
    fault = f"{name} gives another sample each time that it is asked for the same"
    if refuse:
        raise DataError(
            f"{fault}, and is too large to be read once and kept; leave out random augmentation, or give fewer samples "
            "(torch.utils.data.Subset)"
        )
    warnings.warn(
        f"{fault}: each is read once and stays as it was then, so random augmentation acts once",
        TrimkitWarning,
        stacklevel=5,
    )


def _read_when_asked(name: str, source: Any, first: Parts, split: str) -> Dataset:
    """A dataset whose samples stay where they are."""
    samples = Items(name, len(source), first[0], partial(_sample, name, source))
    y, aux = first[1:]
    if y is not None and aux is None and (targets := _targets(name, source)) is not None:
        return dataset_of(name, samples, targets, split)
    if y is not None or aux is not None:
        each = [_parts(name, i, read_item(name, source, i))[1:] for i in range(len(source))]
        y, aux = (_stacked(name, [pair[k] for pair in each]) for k in (0, 1))
    return dataset_of(name, samples, y, split, aux=aux)


def _targets(name: str, source: Any) -> Tensor | None:
    """The labels of all samples as the dataset keeps them beside, (N, ...), where some samples have the same."""
    targets = getattr(source, "targets", None)
    if targets is None or not hasattr(targets, "__len__") or len(targets) != len(source):
        return None
    try:
        labels = as_tensor(name, targets, "targets")
    except DataError:  # text, where the samples have the numbers
        return None
    looked_at = torch.linspace(0, len(source) - 1, LOOKED_AT).long().unique().tolist()
    own = [_parts(name, i, read_item(name, source, i))[1] for i in looked_at]
    agree = (
        y is not None and y.flatten().tolist() == row.flatten().tolist()
        for y, row in zip(own, labels[looked_at], strict=True)
    )
    return labels if all(agree) else None


def _stacked(name: str, values: list[Tensor | None]) -> Tensor | None:
    """One value a sample as one tensor, (N,) where each is a number.

    Raises:
        DataError: some samples have none, or one of another shape.
    """
    given = [value for value in values if value is not None]
    if not given:
        return None
    if len(given) < len(values) or len({value.shape if value.numel() > 1 else () for value in given}) > 1:
        raise DataError(f"{name}: expected labels of one shape with every sample, got {len(given)} of {len(values)}")
    return torch.stack([value.reshape(()) if value.numel() == 1 else value for value in given])


def _entries(name: str, source: Any) -> Iterator[Any]:
    """What comes out of a dataset, loader or iterable."""
    if _has_length(source):
        return (read_item(name, source, index) for index in range(len(source)))
    if not isinstance(source, Iterable) and not hasattr(source, "__getitem__"):
        raise DataError(
            f"expected data as a tensor, array, (x, y), name, path, Dataset, DataLoader or iterable, got {name}"
        )
    return _each(name, source)


def _each(name: str, source: Iterable[Any]) -> Iterator[Any]:
    """What comes out of an iterable; what its code raises is an error that names it."""
    entries = run_user_code(name, DataError, lambda: iter(source))
    while (entry := run_user_code(name, DataError, lambda: next(entries, _END))) is not _END:
        yield entry


def _gathered(name: str, entries: Iterable[Any], shape: tuple[int, ...], batched: bool) -> Parts:
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
                f"{name} holds more than the {MOST_BYTES / 1e9:.1f} GB that are read into memory; give the dataset of "
                "a loader, or make a trimkit.data.Samples of it: both are read batch by batch"
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
    """x, y and auxiliary variables of a sample or batch.

    Raises:
        DataError: another form, or values that are no numbers.
    """
    aux = entry.get("aux") if isinstance(entry, Mapping) else None
    if isinstance(entry, Mapping):
        if "x" not in entry:
            raise DataError(
                f"{name}: expected a mapping with x, and perhaps y and aux, got the keys "
                f"{', '.join(map(repr, entry))} in number {number}; rename them"
            )
        entry = (entry["x"], entry.get("y"))
    kind = type(entry).__name__
    x, y, *_ = (*entry, None) if isinstance(entry, tuple | list) else (entry, None)
    try:
        labels, given = (None if part is None else as_tensor(name, part).detach().cpu() for part in (y, aux))
        return as_tensor(name, x).detach().cpu(), labels, given
    except DataError as error:
        raise DataError(
            f"{name}: expected x, (x, y) or a mapping with x and y, got {kind} in number {number} ({error})"
        ) from error
