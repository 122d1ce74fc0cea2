"""Pictures in files, of 8 or 16 bits a channel, read when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimkit.data.samples import Samples
from trimkit.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

LOOKED_AT = 256
"""Pictures whose headers are read before any work; all others are checked when they are read."""

MOST_BYTES = 512 * 1024**2
"""Pictures are kept, as bytes, once they are read, where all of them together take no more."""

GREY, COLOUR = ("1", "L", "LA", "La"), ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")
"""Pillow's modes of 8 bits a channel."""

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of 16 bits, which are grey: it keeps the upper 8 of colours."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Channels → Pillow's mode."""

ORIENTATION, ON_THE_SIDE = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of a camera's orientation, and its values that swap width and height."""


class Pictures(Samples):
    """Pictures in files, read when asked for, and kept as whole numbers where all take at most `MOST_BYTES`.

    Args:
        files: at least one.
        size: height and width that they are brought to; None where all have the same.
        channels: see `folder`.
        beside: other files, of another split, with which these must agree in size and channels.
    Raises:
        DataError: files that cannot be read, or whose sizes differ where none is given.
    """

    def __init__(
        self,
        files: Sequence[Path],
        size: tuple[int, int] | None = None,
        channels: int | None = None,
        *,
        beside: Sequence[Path] = (),
    ) -> None:
        self._files = list(files)
        self._size = size
        looked_at = [*files, *beside]
        seen = {file: _header(file) for file in looked_at[:: -(-len(looked_at) // LOOKED_AT)]}
        modes = {mode for mode, _ in seen.values()}
        self._channels = channels or (1 if modes <= {*GREY, *DEEP} else 3)
        self._dtype = np.dtype(np.uint16 if modes & {*DEEP} else np.uint8)
        self._may_lose_colour = channels == 1
        first, (_, side) = next(iter(seen.items()))
        for file, (_, other) in seen.items():
            if size is None and other != side:
                raise DataError(
                    f"pictures of several sizes: {first} is {_by(side)}, {file} is {_by(other)}; give one to bring "
                    "them to, such as size=64"
                )
        height, width = side[::-1] if size is None else size
        self._shape = torch.Size((len(self._files), self._channels, height, width))
        keep = self._shape.numel() * self._dtype.itemsize <= MOST_BYTES
        self._kept = np.empty(self._shape, self._dtype) if keep else None
        self._known = torch.zeros(len(self._files), dtype=torch.bool)

    @property
    def shape(self) -> torch.Size:
        """(N, channels, H, W)."""
        return self._shape

    @cached_property
    def fingerprint(self) -> str:
        """Of the files' names with their folder's, their sizes in bytes, and the shape; not of what they hold."""
        files = [(f"{file.parent.name}/{file.name}", _bytes_of(file)) for file in self._files]
        depth = () if self._dtype == np.uint8 else (str(self._dtype),)
        return hashlib.sha256(repr((files, tuple(self._shape), *depth)).encode()).hexdigest()

    def make(self, numbers: Tensor) -> Tensor:
        """Read the pictures that are not kept yet.

        Raises:
            DataError: one cannot be read, or has another size or more channels than those read first; names the file.
        """
        pixels = torch.empty(len(numbers), *self._shape[1:])
        for row, number in enumerate(numbers.tolist()):
            pixels[row] = torch.from_numpy(self._picture(number))
        return pixels.div_(np.iinfo(self._dtype).max)

    def _picture(self, number: int) -> NDArray[Any]:
        """(channels, H, W) whole numbers."""
        if self._kept is not None and self._known[number]:
            return self._kept[number]
        picture = self._read(self._files[number])
        if self._kept is not None:
            self._kept[number] = picture
            self._known[number] = True
        return picture

    def _read(self, file: Path) -> NDArray[Any]:
        image = open_picture(file, transparent=self._channels == 4)
        deep = image.mode in DEEP
        if self._channels == 1 and not (self._may_lose_colour or deep or image.mode in GREY):
            raise DataError(
                f"{file} has colours, but the pictures read before it are grey; give channels=1 or channels=3"
            )
        if deep and self._dtype == np.uint8:
            raise DataError(f"{file} has 16 bits, but the pictures read before it have 8; store all with the same")
        if self._size is not None:
            from PIL import ImageOps

            height, width = self._size
            image = ImageOps.fit(image.convert("F") if deep else image, (width, height))
        picture = self._grey(image) if deep else self._scaled(image)
        if picture.shape != self._shape[1:]:
            side, wanted = ((shape[2], shape[1]) for shape in (picture.shape, self._shape[1:]))
            raise DataError(f"{file} is {_by(side)}, other pictures are {_by(wanted)}; give a size to bring them to")
        return picture

    def _grey(self, image: Image) -> NDArray[Any]:
        """A grey picture of 16 bits in all channels, opaque where there are four."""
        values = np.asarray(image).round().clip(0, np.iinfo(np.uint16).max).astype(np.uint16)
        picture = np.repeat(values[None], self._channels, 0)
        picture[3:] = np.iinfo(np.uint16).max
        return picture

    def _scaled(self, image: Image) -> NDArray[Any]:
        """A picture of 8 bits, as a share of the largest value as before."""
        values = np.asarray(image.convert(MODES[self._channels])).astype(self._dtype)
        picture = values.reshape(*values.shape[:2], self._channels).transpose(2, 0, 1)
        return picture * (np.iinfo(self._dtype).max // 255)


def _bytes_of(file: Path) -> int:
    """Its size.

    Raises:
        DataError: it is gone, or a link to nothing.
    """
    try:
        return file.stat().st_size
    except OSError as error:
        raise _unreadable(file, error) from error


def _header(file: Path) -> tuple[str, tuple[int, int]]:
    """Mode, and width and height after turning, without decoding the pixels of most formats."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            tags = Image.Image.getexif(image)  # the base's: that of PNG decodes the pixels to look for more
            turned = tags.get(ORIENTATION) in ON_THE_SIDE
            return image.mode, (image.height, image.width) if turned else image.size
    except Exception as error:  # a decoder may raise anything at a damaged file
        raise _unreadable(file, error) from error


def open_picture(file: Path, *, transparent: bool = False) -> Image:
    """A picture, turned upright: grey of 8 or 16 bits, or RGB.

    Args:
        file: that holds it.
        transparent: give RGBA of what is transparent in places, in place of laying it on white.
    Raises:
        DataError: it cannot be read, is of another kind, or holds several pictures; names the file.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            _check_mode(file, image)
            upright = ImageOps.exif_transpose(image)
            upright.load()
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(file, error) from error
    if upright.mode in DEEP or (transparent and upright.has_transparency_data):
        return upright if upright.mode in DEEP else upright.convert("RGBA")
    plain = "L" if upright.mode in GREY else "RGB"
    if not upright.has_transparency_data:
        return upright.convert(plain)
    white = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(white, upright.convert("RGBA")).convert(plain)


def _check_mode(file: Path, image: Any) -> None:
    if image.mode not in (*GREY, *COLOUR, *DEEP):
        raise DataError(
            f"{file}: expected 8 bits a channel, or 16 of grey, got mode {image.mode}; convert it to one of them"
        )
    if getattr(image, "is_animated", False) and image.format != "MPO":  # cameras put a preview beside the picture
        raise DataError(
            f"{file} holds {image.n_frames} pictures, expected one; write each into a file of its own, or leave such "
            "files out with on_bad_file=skip"
        )


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(
        f"cannot read the picture {file}: {' '.join(str(error).split())}; mend it or take it out, or leave such files "
        "out with on_bad_file=skip"
    )


def _by(side: tuple[int, int]) -> str:
    return f"{side[0]}×{side[1]}"
