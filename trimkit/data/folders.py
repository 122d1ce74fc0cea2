"""Folders of pictures, read when asked for."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch

from trimkit.data.base import Dataset, SplitError
from trimkit.data.pictures import MODES, Pictures, open_picture
from trimkit.errors import DataError, OptionError, TrimkitWarning

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def folder(
    split: str = "train",
    *,
    path: str,
    size: int | list[int] | tuple[int, int] | None = None,
    channels: int | None = None,
    on_bad_file: str = "raise",
) -> Dataset:
    """The pictures of a folder: ``folder:path=photos,size=64``, or shorter ``photos:size=64``.

    Pictures lie in the folder itself, or in one sub-folder a class. Where there are sub-folders train/ and test/, they
    are the splits; otherwise a picture in ten is held out, by a hash of its name, so that more pictures move none from
    one split to the other. Files that are no png, jpg, jpeg, webp, bmp, tif or tiff and hidden ones are left out.
    Pictures are turned as their EXIF orientation says, and transparent ones laid on white. Grey ones of 16 bits keep
    them, and are divided by 65535; others have 8, and are divided by 255.

    Args:
        split: "train", "test", or "all" for both.
        path: of the folder.
        size: in pixels: pictures are scaled until they cover a square of that side, or [height, width], and the middle
            is kept. Without it all pictures must have the same size, square or not.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA: what is transparent stays so); by default 1 where all pictures are grey,
            else 3.
        on_bad_file: what follows a picture that cannot be read: "raise", once it is asked for, or "skip": all pictures
            are read once before any work, and bad ones are left out and listed in `Dataset.skipped`.
    Returns:
        x (N, channels, H, W) in [0, 1], read when asked for; y the sub-folder, where there are such.
    Raises:
        SplitError: another split, or one into which no picture falls.
        DataError: no folder, no pictures, pictures that cannot be read or are of several sizes; names the file.
        OptionError: size or channels out of range.
    """
    sides = None if size is None else _sides(size)
    if channels not in (None, *MODES):
        raise OptionError(f"folder: expected channels 1, 3 or 4, got {channels}")
    if on_bad_file not in ("raise", "skip"):
        raise OptionError(f"folder: expected on_bad_file raise or skip, got {on_bad_file!r}")
    parts, skipped = _parts(Path(path)), ()
    if on_bad_file == "skip":
        parts, skipped = _without_bad_files(parts)
    if split not in parts:
        raise SplitError(f"folder: expected split 'train', 'test' or 'all', got {split!r}")
    if not parts[split]:
        raise SplitError(f"folder {path}: no picture falls into split {split!r}; add more, or make train/ and test/")
    classes = tuple(sorted({label for _, label in parts["all"]} - {""}))
    files, others = ([file for file, _ in parts[name]] for name in (split, "all"))
    pictures = Pictures(files, sides, channels, beside=others)
    y = torch.tensor([classes.index(label) for _, label in parts[split]]) if classes else None
    return Dataset(Path(path).resolve().name, pictures, y, split, classes, skipped=skipped)


def _sides(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """Height and width."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise OptionError(f"folder: expected size ≥ 1, got {size}; it is a side or [height, width]")
    return sides


Labelled = list[tuple[Path, str]]
"""Files, each with the name of its class, or ""."""


def _parts(root: Path) -> dict[str, Labelled]:
    """The pictures of each split, "all" among them."""
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    own = {name: root / name for name in ("train", "test")}
    if not all(part.is_dir() for part in own.values()):
        whole = _pictures(root)
        parts = {name: [pair for pair in whole if _held_out(*pair) == (name == "test")] for name in own}
        return {**parts, "all": whole}
    parts = {name: _pictures(part) for name, part in own.items()}
    if len({label == "" for part in parts.values() for _, label in part}) > 1:
        raise DataError(f"folder {root}: one of train/ and test/ has sub-folders of classes, the other has none")
    return {**parts, "all": parts["train"] + parts["test"]}


def _without_bad_files(parts: dict[str, Labelled]) -> tuple[dict[str, Labelled], tuple[str, ...]]:
    """The pictures that can be read, and the names of the others.

    Warns:
        TrimkitWarning: there are such; names the first.
    """
    bad = {file: fault for file, _ in parts["all"] if (fault := _fault(file)) is not None}
    if bad:
        more = f" and {len(bad) - 1} more" if bad.keys() - {next(iter(bad))} else ""
        first = next(iter(bad.values()))
        warnings.warn(f"pictures are left out: {first}{more}", TrimkitWarning, stacklevel=4)
    kept = {split: [pair for pair in part if pair[0] not in bad] for split, part in parts.items()}
    return kept, tuple(str(file) for file in bad)


def _fault(file: Path) -> str | None:
    """Why a picture cannot be read; None where it can."""
    try:
        open_picture(file)
    except DataError as error:
        return str(error)
    return None


def _pictures(root: Path) -> Labelled:
    """The pictures of a folder, or of its sub-folders, in the order of their names."""
    here = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    pictures = [(file, "") for file in here if _is_picture(file)]
    for sub in (path for path in here if path.is_dir()):
        inside = sorted(path for path in sub.iterdir() if not path.name.startswith("."))
        if any(path.is_dir() for path in inside):
            raise DataError(f"{sub} holds folders; expected pictures in {root}, or in one sub-folder a class")
        pictures += [(file, sub.name) for file in inside if _is_picture(file)]
    if not pictures:
        raise DataError(
            f"no pictures in {root}; expected {', '.join(SUFFIXES)} in it, or in one sub-folder a class, perhaps in "
            "train/ and test/"
        )
    if len({label == "" for _, label in pictures}) > 1:
        raise DataError(f"{root} holds pictures both beside and in its sub-folders; expected one or the other")
    return pictures


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()  # a link to nothing is a file that cannot be read


def _held_out(file: Path, label: str) -> bool:
    """One picture in ten, by its name."""
    name = f"{label}/{file.name}".encode("utf-8", "surrogateescape")
    return int(hashlib.sha256(name).hexdigest()[:8], 16) % 10 == 0
