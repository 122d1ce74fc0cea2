"""Colour spaces: how much of a score is brightness, and how much is colour."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.transforms.base import Size, Transform, single_leaf

Space = Literal["ycbcr", "lab", "hsv"]

CHANNELS = {
    "ycbcr": ("luma", "blue difference", "red difference"),
    "lab": ("lightness", "green–red", "blue–yellow"),
    "hsv": ("hue", "saturation", "value"),
}

YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""RGB → luma and colour differences, ITU-R BT.601 full range as in JPEG (ITU-T T.871)."""

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Linear sRGB → CIE XYZ, ITU-R BT.709 primaries, white D65."""

WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of white, CIE D65 and 2° observer."""

LAB = ((0.0, 116.0, 0.0), (500.0, -500.0, 0.0), (0.0, 200.0, -200.0))
"""f(X/Xn), f(Y/Yn), f(Z/Zn) → L* + 16, a*, b* (CIE 1976)."""

DELTA = 6 / 29
"""Where the cube root of CIE 1976 gives way to a straight line: at δ³."""

KNEE = 0.04045
"""Where the power law of sRGB (IEC 61966-2-1) gives way to a straight line."""


class Color(Transform):
    """RGB pictures with values in [0, 1] ⇄ another colour space, pixel by pixel, exact both ways.

    - "ycbcr": luma in [0, 1], colour differences in [0, 1] around ½; linear.
    - "lab": lightness in [0, 100], a* and b* in about ±100; perceptually even.
    - "hsv": hue in radians [0, 2π), saturation and value in [0, 1]. Where two channels are equal, derivatives are
      those of one side; the hue of a grey pixel is 0 without gradient, and moving it changes nothing.

    Args:
        space: "ycbcr", "lab" or "hsv".

    Example:
        >>> import torch
        >>> [round(v, 2) for v in Color("lab")(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)).flatten().tolist()]
        [53.24, 80.09, 67.2]
    """

    def __init__(self, space: Space = "ycbcr") -> None:
        super().__init__()
        if space not in CHANNELS:
            raise OptionError(f"color: there is no space {space!r}. {nearest(str(space), CHANNELS)}")
        self.space: Space = space

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) RGB → the same shape.

        Raises:
            ShapeError: other than three channels, or no floating values.
        """
        return _FORTH[self.space](_checked(x))

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, 3, H, W) → RGB; what lies outside of [0, 1] is not clipped."""
        return _BACK[self.space](_checked(single_leaf(s, "color")))

    def groups(self, size: Size) -> Groups:
        """The three channels, by name."""
        if len(size) != 3 or size[0] != 3:
            raise ShapeError(f"color: expected samples of size (3, H, W), got {tuple(size)}")
        return Groups(CHANNELS[self.space], torch.arange(3)[:, None, None].expand(*size), "colour channel")


def _checked(x: Tensor) -> Tensor:
    if x.ndim != 4 or x.shape[1] != 3:
        raise ShapeError(f"color: expected RGB pictures (N, 3, H, W), got {tuple(x.shape)}; grey ones have no colour")
    if not x.is_floating_point():
        raise ShapeError(f"color: expected floating values in [0, 1], got {x.dtype}; convert with x.float() / 255")
    return x


def _ycbcr(x: Tensor) -> Tensor:
    return _mix(x, YCBCR) + _channels((0.0, 0.5, 0.5), x)


def _rgb_of_ycbcr(s: Tensor) -> Tensor:
    return _mix(s - _channels((0.0, 0.5, 0.5), s), YCBCR, inverted=True)


def _lab(x: Tensor) -> Tensor:
    linear = _by_parts(x, x > KNEE, lambda v: ((v + 0.055) / 1.055) ** 2.4, lambda v: v / 12.92)
    t = _mix(linear, XYZ) / _channels(WHITE, x)
    f = _by_parts(t, t > DELTA**3, lambda v: v ** (1 / 3), lambda v: v / (3 * DELTA**2) + 4 / 29)
    return _mix(f, LAB) - _channels((16.0, 0.0, 0.0), x)


def _rgb_of_lab(s: Tensor) -> Tensor:
    f = _mix(s + _channels((16.0, 0.0, 0.0), s), LAB, inverted=True)
    t = _by_parts(f, f > DELTA, lambda v: v**3, lambda v: 3 * DELTA**2 * (v - 4 / 29))
    linear = _mix(t * _channels(WHITE, s), XYZ, inverted=True)
    return _by_parts(linear, linear > KNEE / 12.92, lambda v: 1.055 * v ** (1 / 2.4) - 0.055, lambda v: v * 12.92)


def _hsv(x: Tensor) -> Tensor:
    value, brightest = x.max(dim=1)
    chroma = value - x.min(dim=1).values
    red, green, blue = x.unbind(1)
    safe = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    sixths = torch.stack([(green - blue) / safe % 6, (blue - red) / safe + 2, (red - green) / safe + 4], dim=1)
    hue = sixths.gather(1, brightest[:, None])[:, 0] * (math.pi / 3)
    saturation = chroma / torch.where(value == 0, torch.ones_like(value), value)
    return torch.stack([hue, saturation, value], dim=1)


def _rgb_of_hsv(s: Tensor) -> Tensor:
    hue, saturation, value = s.unbind(1)
    sectors = (_channels((5.0, 3.0, 1.0), s) + (hue * (3 / math.pi))[:, None]) % 6
    fall = torch.minimum(sectors, 4 - sectors).clamp(0, 1)
    return value[:, None] - (value * saturation)[:, None] * fall


_FORTH: dict[str, Callable[[Tensor], Tensor]] = {"ycbcr": _ycbcr, "lab": _lab, "hsv": _hsv}
_BACK: dict[str, Callable[[Tensor], Tensor]] = {"ycbcr": _rgb_of_ycbcr, "lab": _rgb_of_lab, "hsv": _rgb_of_hsv}


def _by_parts(x: Tensor, above: Tensor, curve: Callable[[Tensor], Tensor], line: Callable[[Tensor], Tensor]) -> Tensor:
    """A curve above a knee and a line below; the curve never sees what is below, where its slope may be infinite."""
    return torch.where(above, curve(torch.where(above, x, torch.ones_like(x))), line(x))


def _mix(x: Tensor, matrix: tuple[tuple[float, ...], ...], *, inverted: bool = False) -> Tensor:
    return torch.einsum("ij,njhw->nihw", _matrix(matrix, inverted, x.dtype, x.device), x)


@cache
def _matrix(matrix: tuple[tuple[float, ...], ...], inverted: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        exact = torch.tensor(matrix, dtype=torch.float64)
        return (torch.linalg.inv(exact) if inverted else exact).to(device=device, dtype=dtype)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(values)[:, None, None]
