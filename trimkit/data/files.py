"""Data from files and from the user's own code."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimkit.data.base import Dataset
from trimkit.errors import DataError, TrimkitError, TrimkitWarning
from trimkit.registry import available, create

SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")


def load(spec: str, split: str = "train") -> Dataset:
    """A dataset by its name, its file, or a function of the user's.

    Args:
        spec: a registered name ("digits"); a file with arrays ``x`` and optionally ``y``, or ``x_train``, ``y_train``,
            ``x_test``, ``y_test`` (.npz, .safetensors, .pt); or ``package.module:function``, called with the split
            where it takes one, which returns a `Dataset`, x, or (x, y). Samples of type uint8 are divided by 255. In a
            file, a floating y that is no class index is left out, with a warning.
        split: "train" or "test"; a file with plain ``x`` serves both.
    Returns:
        The dataset.
    Raises:
        DataError: nothing of that name, a file that cannot be read, arrays that do not fit.
    """
    path = Path(spec)
    if path.is_dir() and spec not in available("datasets"):
        raise DataError(f"data {spec} is a folder; expected a file in it, one of {', '.join(SUFFIXES)}")
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
        raise DataError(
            f"cannot read arrays from {path}: expected a {path.suffix} file of plain arrays x and y, without pickled "
            "objects (they can run code and are never loaded), got another format or a damaged file; write it anew"
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
    return dataset_of(name, x, _class_labels(name, arrays.get(f"y_{split}", arrays.get("y"))), split)


def _class_labels(name: str, y: Tensor | None) -> Tensor | None:
    """y where it holds class labels; measured values (regression) are left out, with a warning."""
    if y is None or not y.is_floating_point() or bool(((y == y.round()) & (y >= 0)).all()):
        return y
    warnings.warn(
        f"data {name!r}: y holds floating values, not class labels, so it is left out; explain the model's own output "
        "(target 'predicted'), or name classes as integers 0, 1, …",
        TrimkitWarning,
        stacklevel=4,
    )
    return None


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
        raise DataError(
            f"data {name!r}: expected class labels 0, 1, …, got floating {y.dtype} with fractions; for a regression "
            "model leave y out"
        )
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
