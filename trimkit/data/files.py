"""Data from files and from the user's own code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimkit.data.base import Dataset
from trimkit.errors import DataError, TrimkitError
from trimkit.registry import available, create

SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")


def load(spec: str, split: str = "train") -> Dataset:
    """A dataset by its name, its file, or a function of the user's.

    Args:
        spec: a registered name ("digits"); a file with arrays ``x`` and optionally ``y``, or ``x_train``, ``y_train``,
            ``x_test``, ``y_test`` (.npz, .safetensors, .pt); or ``package.module:function``, called with the split
            where it takes one, which returns a `Dataset`, x, or (x, y). Samples of type uint8 are divided by 255.
        split: "train" or "test"; a file with plain ``x`` serves both.
    Returns:
        The dataset.
    Raises:
        DataError: nothing of that name, a file that cannot be read, arrays that do not fit.
    """
    path = Path(spec)
    if path.suffix in SUFFIXES:
        return _from_arrays(path.stem, _read(path), split)
    if spec in available("datasets") or not _is_code(spec):
        return create("dataset", spec, split=split)
    return _from_code(spec, split)


def _is_code(spec: str) -> bool:
    module, _, function = spec.partition(":")
    return function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise DataError(f"data file {path} does not exist")
    try:
        return {name: torch.as_tensor(value) for name, value in _READERS[path.suffix](path).items()}
    except TrimkitError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"cannot read arrays from {path}: {reason}; expected plain arrays x and y, without pickled objects"
        ) from error


def _read_npz(path: Path) -> Mapping[str, Any]:
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _read_torch(path: Path) -> Mapping[str, Tensor]:
    found = torch.load(path, map_location="cpu", weights_only=True)
    return found if isinstance(found, Mapping) else {"x": found}


_READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
}


def _from_arrays(name: str, arrays: Mapping[str, Tensor], split: str) -> Dataset:
    x = arrays.get(f"x_{split}", arrays.get("x"))
    if x is None:
        raise DataError(f"data {name!r}: expected an array 'x' or 'x_{split}', got {sorted(arrays) or 'nothing'}")
    return dataset_of(name, x, arrays.get(f"y_{split}", arrays.get("y")), split)


def dataset_of(name: str, x: Any, y: Any = None, split: str = "train") -> Dataset:
    """A dataset of arrays: x to float32 (uint8 is divided by 255), integral y to int64, classes named by their index.

    Raises:
        DataError: labels that are no integers, or arrays that do not fit.
    """
    x = torch.as_tensor(x)
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    if y is None:
        return Dataset(name, x, None, split)
    y = torch.as_tensor(y)
    if y.is_floating_point() and bool((y != y.round()).any()):
        raise DataError(f"data {name!r}: expected class labels 0, 1, …, got floating {y.dtype} with fractions")
    classes = tuple(str(index) for index in range(int(y.max()) + 1)) if y.numel() else ()
    return Dataset(name, x, y.long(), split, classes)


def _from_code(spec: str, split: str) -> Dataset:
    module, _, attribute = spec.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a user's module beside the command, as `python -m` finds it
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise DataError(f"data {spec!r} is no dataset name, no file, and cannot be imported: {error}") from error
    found = function(split) if _takes_split(function) else function()
    if isinstance(found, Dataset):
        return found
    x, y = found if isinstance(found, tuple) else (found, None)
    return dataset_of(spec, x, y, split)


def _takes_split(function: Callable[..., Any]) -> bool:
    import inspect

    return "split" in inspect.signature(function).parameters
