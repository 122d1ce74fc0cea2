"""Sprites drawn when asked for: the factors of dSprites, without its file.

A sprite is drawn once for each shape, scale and orientation, into a window of 28×28. Since no sprite ever touches the
border, moving one by (y, x) in an image of width S is a shift of the flattened image by S · y + x, so that a sample is
one contiguous copy into zeros.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from trimkit.data.base import Dataset, part_of
from trimkit.data.samples import Samples
from trimkit.errors import DataError, OptionError

Orientation = Literal["closed", "half-open"]

SHAPES = ("square", "ellipse", "heart")
NAMES = ("shape", "scale", "orientation", "x", "y")
SIZES = (3, 6, 40, 32, 32)
"""Number of values of each factor: 737,280 combinations."""

COLOURS = {
    "red": (0,),
    "green": (1,),
    "blue": (2,),
    "yellow": (0, 1),
    "cyan": (1, 2),
    "magenta": (0, 2),
    "white": (0, 1, 2),
}
"""Colour → the channels (of red, green, blue) in which its sprites are drawn."""

SIDE, WINDOW, FINE = 64, 28, 4
"""Pixels of an image's side and of a drawn sprite's, and sub-samples of a pixel's side."""

FIRST = 16 - WINDOW // 2
"""Row of a window's top where y = 0, and column of its left where x = 0: the sprite's centre is then at 16."""


def sprites(split: str = "train", size: int = 64, orientation: Orientation = "closed") -> Dataset:
    """White sprites on black, of five factors, with every combination of their values: dSprites without its file.

    The factors are those of dSprites (Matthey et al. 2017), in its order, the last the fastest: shape (square, ellipse,
    heart), scale (.5, .6, …, 1), orientation (40 values from 0 to 2π), x and y (32 columns and rows, one pixel apart).
    Number i of the split "all" is the combination i of dSprites, and combinations may be found by `numbers_of`. The
    outlines are our own: they fill 4.3 % of an image on average, as those of dSprites do, but are not its pixels.

    The 40 orientations reach from 0 to 2π with both ends, as in dSprites, so the first and the last are one picture
    under two labels, and the mutual information gap of that factor cannot reach 1. With "half-open" the angles are
    multiples of 2π/40: all 40 hearts differ, but ellipses then repeat exactly after half a turn and squares after a
    quarter, which 39 steps a turn avoid (`visible_orientation`: 0.96 closed, 0.81 half-open), and numbers no longer
    compare with those of dSprites.

    Args:
        split: "train" for nine tenths of all combinations and "test" for the rest, both in a fixed random order; "all"
            in the order of dSprites, as published protocols use it.
        size: 64; or 32, where each value is the mean of 2×2 pixels, so edges are grey: a Bernoulli likelihood then has
            the entropy of x as its floor, not 0.
        orientation: "closed" as in dSprites, or "half-open".
    Returns:
        x (N, 1, size, size) in [0, 1], made when asked for; y the shape; factors (N, 5).
    Raises:
        DataError, OptionError: another split, size or orientation.
    """
    drawn = Sprites(size, orientation)
    return _grid("sprites", drawn, split, NAMES, SIZES)


def sprites_color(split: str = "train", size: int = 64, orientation: Orientation = "closed") -> Dataset:
    """`sprites` in seven colours on black: red, green, blue, yellow, cyan, magenta, white; 5,160,960 combinations.

    The colour is the first factor, the slowest in the split "all". At 64 pixels all values are 0 or 1.

    Args:
        split: see `sprites`.
        size: see `sprites`.
        orientation: see `sprites`.
    Returns:
        x (N, 3, size, size) in [0, 1], made when asked for; y the shape; factors (N, 6).
    Raises:
        DataError, OptionError: another split, size or orientation.
    """
    drawn = Sprites(size, orientation, colours=True)
    return _grid("sprites-color", drawn, split, ("color", *NAMES), (len(COLOURS), *SIZES))


class Sprites(Samples):
    """All sprites, in the order of dSprites; see `sprites` and `sprites_color`.

    Args:
        size: of an image's sides, 64 or 32.
        orientation: "closed" or "half-open".
        colours: as RGB in the seven `COLOURS`, which are then the slowest factor, instead of in one channel.
    Raises:
        OptionError: another size or orientation.
    """

    def __init__(self, size: int = 64, orientation: Orientation = "closed", *, colours: bool = False) -> None:
        if size not in (64, 32):
            raise OptionError(f"sprites: expected size 64 or 32, got {size!r}")
        if orientation not in ("closed", "half-open"):
            raise OptionError(f"sprites: expected orientation 'closed' or 'half-open', got {orientation!r}")
        self._size = size
        self._colours = colours
        self._strips = _strips(size, orientation)

    @property
    def shape(self) -> torch.Size:
        """(N, C, size, size)."""
        count = math.prod(SIZES) * (len(COLOURS) if self._colours else 1)
        return torch.Size((count, 3 if self._colours else 1, self._size, self._size))

    @property
    def fingerprint(self) -> str:
        """Of the drawn sprites and the shape."""
        return f"sprites {tuple(self.shape)} {hashlib.sha256(self._strips.data).hexdigest()}"

    def make(self, numbers: Tensor) -> Tensor:
        """Copy each sprite's strip to its place, in each channel that its colour has."""
        images = torch.zeros(len(numbers), *self.shape[1:])
        flat = images.flatten(2).numpy()
        cell = SIDE // self._size
        colour, sprite, x, y = _unravel(numbers)
        rows, columns = y + FIRST, x + FIRST
        drawn = ((sprite * cell + rows % cell) * cell + columns % cell).tolist()
        starts = ((rows // cell) * self._size + columns // cell).tolist()
        channels = [tuple(COLOURS.values())[c] for c in colour.tolist()] if self._colours else None
        length = self._strips.shape[1]
        for i, (which, start) in enumerate(zip(drawn, starts, strict=True)):
            for channel in (0,) if channels is None else channels[i]:
                flat[i, channel, start : start + length] = self._strips[which]
        return images


def numbers_of(factors: Tensor) -> Tensor:
    """Numbers in the split "all" of `sprites` (K = 5) or `sprites_color` (K = 6) of combinations of factors.

    Args:
        factors: (n, K) integers.
    Returns:
        (n,) int64.
    Raises:
        DataError: another K, or a value that a factor does not have.
    """
    sizes = {len(SIZES): SIZES, len(SIZES) + 1: (len(COLOURS), *SIZES)}.get(factors.shape[-1])
    if sizes is None or factors.ndim != 2:
        raise DataError(f"expected factors (n, 5) or, with the colour first, (n, 6), got {tuple(factors.shape)}")
    limits = torch.tensor(sizes)
    outside = ((factors < 0) | (factors >= limits)).any(1)
    if bool(outside.any()):
        raise DataError(f"expected values of factors from 0 and below {sizes}, got {factors[outside][0].tolist()}")
    steps = torch.tensor([math.prod(sizes[k + 1 :]) for k in range(len(sizes))])
    return (factors.long() * steps).sum(1)


@cache
def visible_orientation(orientation: Orientation = "closed") -> float:
    """Share of the orientation's entropy that pictures show where shape and scale are known, in [0, 1].

    I(picture; orientation | shape, scale) / H(orientation): what a code of orientation could reach at best.
    """
    drawn = _windows(orientation).reshape(len(SHAPES) * SIZES[1], SIZES[2], -1)
    entropies = []
    for group in drawn:
        share = torch.unique(group, dim=0, return_counts=True)[1].double() / SIZES[2]
        entropies.append(-(share * share.log()).sum())
    return float(torch.stack(entropies).mean() / math.log(SIZES[2]))


def _grid(name: str, drawn: Sprites, split: str, names: tuple[str, ...], sizes: tuple[int, ...]) -> Dataset:
    factors = _factors(sizes)
    y = factors[:, names.index("shape")].long()
    whole = Dataset(name, drawn, y, "all", SHAPES, factors=factors, factor_names=names)
    return part_of(whole, split)


@cache
def _factors(sizes: tuple[int, ...]) -> Tensor:
    """The whole grid, (N, K) int8, the last factor the fastest."""
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.int8) for n in sizes), indexing="ij")
    return torch.stack([axis.flatten() for axis in axes], 1)


def _unravel(numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colour, number of the drawn sprite, x and y of each combination."""
    rest, y = numbers // SIZES[4], numbers % SIZES[4]
    rest, x = rest // SIZES[3], rest % SIZES[3]
    drawn = math.prod(SIZES[:3])
    return rest // drawn, rest % drawn, x, y


@cache
def _strips(size: int, orientation: Orientation) -> np.ndarray:
    """Every drawn sprite as a piece of a flattened image of that size: (720 · cell², length) float32.

    With cell = 64 / size, an image's value is the mean of cell × cell pixels; where a window starts at row r and column
    c, that depends on r % cell and c % cell, so there is a strip for each.
    """
    cell = SIDE // size
    windows = _windows(orientation).float()
    side = WINDOW // cell + (cell > 1)
    strips = torch.zeros(len(windows), cell, cell, side, size)
    for down in range(cell):
        for right in range(cell):
            fine = torch.zeros(len(windows), side * cell, side * cell)
            fine[:, down : down + WINDOW, right : right + WINDOW] = windows
            cells = fine.reshape(len(windows), side, cell, side, cell)
            strips[:, down, right, :, :side] = cells.mean((2, 4))
    length = (side - 1) * size + side
    return strips.reshape(len(windows) * cell**2, -1)[:, :length].contiguous().numpy()


@cache
def _windows(orientation: Orientation) -> Tensor:
    """The 720 sprites in the order of shape, scale, orientation: (720, 28, 28) bool.

    A pixel is on where at least half of its 4×4 sub-samples lie inside.
    """
    steps = SIZES[2] - 1 if orientation == "closed" else SIZES[2]
    angle = (torch.arange(SIZES[2]) % steps).double() * (2 * torch.pi / steps)
    axis = (torch.arange(WINDOW * FINE).double() + 0.5) / FINE - WINDOW / 2
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    across, down = cos * axis + sin * axis[:, None], cos * axis[:, None] - sin * axis
    grids = []
    for inside in OUTLINES:
        for scale in torch.linspace(0.5, 1, SIZES[1], dtype=torch.float64).tolist():
            points = inside(across / scale, down / scale)
            counts = points.reshape(SIZES[2], WINDOW, FINE, WINDOW, FINE).sum((2, 4))
            grids.append(counts >= FINE**2 / 2)
    return torch.cat(grids)


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) < 8.5


def _ellipse(x: Tensor, y: Tensor) -> Tensor:
    return (x / 13.6) ** 2 + (y / 6.8) ** 2 < 1


def _heart(x: Tensor, y: Tensor) -> Tensor:
    x, y = x / 9.2, 0.12 - y / 9.2
    return (x * x + y * y - 1) ** 3 < x * x * y**3


OUTLINES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (_square, _ellipse, _heart)
"""Is a point (x to the right, y down, in pixels from the centre) inside the shape of scale 1 and orientation 0?"""
