"""Arrays in files, by their suffix: .npz, .npy, .csv, .safetensors, .pt. None of them can run code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trimkit.data.arrays import as_tensor
from trimkit.data.dsprites import CLASSES, IMAGES
from trimkit.data.tables import read_numbers
from trimkit.errors import DataError, TrimkitError
from trimkit.storage import named_in_utf8

SUFFIXES = (".npz", ".npy", ".csv", ".safetensors", ".pt", ".pth")

KEYS = ("x", "y", "u", "aux", "factors", "factor_names", "sources")
_TEXTS = {f"factor_names{end}" for end in ("", "_train", "_test")}
_ARRAYS = {f"{key}{end}" for key in KEYS for end in ("", "_train", "_test")} | {IMAGES, CLASSES}


def read_arrays(path: Path) -> Mapping[str, Any]:
    """Name of each array → tensor, or text for names of factors.

    Raises:
        DataError: no such file, one that cannot be read, or arrays of no numbers.
    """
    if not path.is_file():
        raise DataError(f"data file {path} does not exist")
    try:
        arrays = _READERS[path.suffix.lower()](path)
        return {name: value if name in _TEXTS else as_tensor(path.name, value, name) for name, value in arrays.items()}
    except TrimkitError:
        raise
    except Exception as error:
        raise DataError(
            f"cannot read arrays from {path}: expected a {path.suffix} file of plain arrays x and y, without pickled "
            "objects (they can run code and are never loaded), got another format or a damaged file; write it anew"
        ) from error


def _read_npy(path: Path) -> Mapping[str, Any]:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive")  # which has another suffix
    return {"x": array}


def _read_csv(path: Path) -> Mapping[str, Any]:
    return {"x": read_numbers(path)}


def _read_npz(path: Path) -> Mapping[str, Any]:
    """The arrays that are known by name; others, such as dSprites' pickled metadata, are not touched."""
    with np.load(path, allow_pickle=False) as archive:
        wanted = [name for name in archive.files if name in _ARRAYS] or archive.files
        arrays = {name: archive[name] for name in wanted if name != IMAGES}
    state = path.stat()
    return arrays | ({IMAGES: _images(path.resolve(), state.st_mtime_ns, state.st_size)} if IMAGES in wanted else {})


@lru_cache(maxsize=1)
def _images(path: Path, *_state: int) -> Any:
    """The images of a file of dSprites: kept, so that its splits share the 3 GB. `Bytes` never changes them."""
    with np.load(path, allow_pickle=False) as archive:
        return archive[IMAGES]


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    with named_in_utf8(path) as file:
        return load_file(file)


def _read_torch(path: Path) -> Mapping[str, Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    return content if isinstance(content, Mapping) else {"x": content}


_READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".csv": _read_csv,
    ".safetensors": _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
}
