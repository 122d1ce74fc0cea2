"""Folders of pictures, read when asked for."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trimkit.data.base import Dataset, SplitError
from trimkit.data.samples import Samples
from trimkit.errors import DataError, OptionError, TrimkitWarning

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

LOOKED_AT = 256
"""Pictures whose headers are read before any work; all others are checked when they are read."""

MOST_BYTES = 512 * 1024**2
"""Pictures are kept, as bytes, once they are read, where all of them together take no more."""

GREY, COLOUR = ("1", "L", "LA", "La"), ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")
"""Pillow's modes of 8 bits a channel."""

ORIENTATION, ON_THE_SIDE = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of a camera's orientation, and its values that swap width and height."""


def folder(
    split: str = "train", *, path: str, size: int | None = None, channels: int | None = None, on_bad_file: str = "raise"
) -> Dataset:
    """The pictures of a folder: ``folder:path=photos,size=64``, or shorter ``photos:size=64``.

    Pictures lie in the folder itself, or in one sub-folder a class. Where there are sub-folders train/ and test/, they
    are the splits; otherwise a picture in ten is held out, by a hash of its name, so that more pictures move none from
    one split to the other. Files that are no png, jpg, jpeg, webp or bmp and hidden ones are left out. Pictures are
    turned as their EXIF orientation says, and transparent ones laid on white.

    Args:
        split: "train", "test", or "all" for both.
        path: of the folder.
        size: in pixels: pictures are scaled until they cover a square of that side, and the middle is kept. Without it
            all pictures must have the same size.
        channels: 1 (grey) or 3 (RGB); by default 1 where all pictures are grey.
        on_bad_file: what follows a picture that cannot be read: "raise", once it is asked for, or "skip": all pictures
            are read once before any work, and bad ones are left out and listed in `Dataset.skipped`.
    Returns:
        x (N, channels, H, W) in [0, 1], read when asked for; y the sub-folder, where there are such.
    Raises:
        SplitError: another split, or one into which no picture falls.
        DataError: no folder, no pictures, pictures that cannot be read or are of several sizes; names the file.
        OptionError: size or channels out of range.
    """
    if size is not None and size < 1:
        raise OptionError(f"folder: expected size ≥ 1, got {size}")
    if channels not in (None, 1, 3):
        raise OptionError(f"folder: expected channels 1 or 3, got {channels}")
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
    pictures = Pictures(files, size, channels, beside=others)
    y = torch.tensor([classes.index(label) for _, label in parts[split]]) if classes else None
    return Dataset(Path(path).resolve().name, pictures, y, split, classes, skipped=skipped)


class Pictures(Samples):
    """Pictures in files, read when asked for, and kept as bytes where all of them take at most `MOST_BYTES`.

    Args:
        files: at least one.
        size: see `folder`.
        channels: see `folder`.
        beside: other files, of another split, with which these must agree in size and channels.
    Raises:
        DataError: files that cannot be read, or whose sizes differ where none is given.
    """

    def __init__(
        self,
        files: Sequence[Path],
        size: int | None = None,
        channels: int | None = None,
        *,
        beside: Sequence[Path] = (),
    ) -> None:
        self._files = list(files)
        self._size = size
        looked_at = [*files, *beside]
        seen = {file: _header(file) for file in looked_at[:: -(-len(looked_at) // LOOKED_AT)]}
        self._channels = channels or (1 if all(mode in GREY for mode, _ in seen.values()) else 3)
        self._may_lose_colour = channels == 1
        first, (_, side) = next(iter(seen.items()))
        for file, (_, other) in seen.items():
            if size is None and other != side:
                raise DataError(
                    f"pictures of several sizes: {first} is {_by(side)}, {file} is {_by(other)}; give one to bring "
                    "them to, such as size=64"
                )
        width, height = side if size is None else (size, size)
        self._shape = torch.Size((len(self._files), self._channels, height, width))
        keep = self._shape.numel() <= MOST_BYTES
        self._kept = torch.empty(self._shape, dtype=torch.uint8) if keep else None
        self._known = torch.zeros(len(self._files), dtype=torch.bool)

    @property
    def shape(self) -> torch.Size:
        """(N, channels, H, W)."""
        return self._shape

    @cached_property
    def fingerprint(self) -> str:
        """Of the files' names with their folder's, their sizes in bytes, and the shape; not of what they hold."""
        files = [(f"{file.parent.name}/{file.name}", file.stat().st_size) for file in self._files]
        return hashlib.sha256(repr((files, tuple(self._shape))).encode()).hexdigest()

    def make(self, numbers: Tensor) -> Tensor:
        """Read the pictures that are not kept yet.

        Raises:
            DataError: one cannot be read, or has another size or more channels than those read first; names the file.
        """
        found = torch.empty(len(numbers), *self._shape[1:])
        for row, number in enumerate(numbers.tolist()):
            found[row] = self._picture(number)
        return found.div_(255)

    def _picture(self, number: int) -> Tensor:
        """(channels, H, W) uint8."""
        if self._kept is not None and self._known[number]:
            return self._kept[number]
        picture = self._read(self._files[number])
        if self._kept is not None:
            self._kept[number] = picture
            self._known[number] = True
        return picture

    def _read(self, file: Path) -> Tensor:
        image = _opened(file)
        if self._channels == 1 and not self._may_lose_colour and image.mode not in GREY:
            raise DataError(
                f"{file} has colours, but the pictures read before it are grey; give channels=1 or channels=3"
            )
        if self._size is not None:
            from PIL import ImageOps

            image = ImageOps.fit(image, (self._size, self._size))
        pixels = np.array(image.convert("L" if self._channels == 1 else "RGB"))
        picture = torch.from_numpy(pixels.reshape(*pixels.shape[:2], self._channels)).permute(2, 0, 1)
        if picture.shape != self._shape[1:]:
            side, wanted = ((shape[2], shape[1]) for shape in (picture.shape, self._shape[1:]))
            raise DataError(f"{file} is {_by(side)}, other pictures are {_by(wanted)}; give a size to bring them to")
        return picture


def _header(file: Path) -> tuple[str, tuple[int, int]]:
    """Mode, and width and height after turning, without decoding the pixels of most formats."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            known = Image.Image.getexif(image)  # the base's: that of PNG decodes the pixels to look for more
            turned = known.get(ORIENTATION) in ON_THE_SIDE
            return image.mode, (image.height, image.width) if turned else image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error


def _opened(file: Path) -> Image:
    """A picture, turned upright, on white where it is transparent, as grey or RGB."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            if image.mode not in (*GREY, *COLOUR):
                raise DataError(f"{file}: expected 8 bits a channel, got mode {image.mode}; convert it to 8 bits")
            upright = ImageOps.exif_transpose(image)
            upright.load()
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error
    plain = "L" if upright.mode in GREY else "RGB"
    if not upright.has_transparency_data:
        return upright.convert(plain)
    white = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(white, upright.convert("RGBA")).convert(plain)


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(
        f"cannot read the picture {file}: {' '.join(str(error).split())}; mend it or take it out, or leave such files "
        "out with on_bad_file=skip"
    )


def _by(side: tuple[int, int]) -> str:
    return f"{side[0]}×{side[1]}"


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
        _opened(file)
    except DataError as error:
        return str(error)
    return None


def _pictures(root: Path) -> Labelled:
    """The pictures of a folder, or of its sub-folders, in the order of their names."""
    here = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    found = [(file, "") for file in here if _is_picture(file)]
    for sub in (path for path in here if path.is_dir()):
        inside = sorted(path for path in sub.iterdir() if not path.name.startswith("."))
        if any(path.is_dir() for path in inside):
            raise DataError(f"{sub} holds folders; expected pictures in {root}, or in one sub-folder a class")
        found += [(file, sub.name) for file in inside if _is_picture(file)]
    if not found:
        raise DataError(
            f"no pictures in {root}; expected {', '.join(SUFFIXES)} in it, or in one sub-folder a class, perhaps in "
            "train/ and test/"
        )
    if len({label == "" for _, label in found}) > 1:
        raise DataError(f"{root} holds pictures both beside and in its sub-folders; expected one or the other")
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _held_out(file: Path, label: str) -> bool:
    """One picture in ten, by its name."""
    return int(hashlib.sha256(f"{label}/{file.name}".encode()).hexdigest()[:8], 16) % 10 == 0
