"""Small pictures without a plotting library: palette PNGs as data URIs, bars and signals as SVG shapes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimkit.coefficients.groups import Groups

_RDBU_R = (
    "053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582", "d6604d", "b2182b", "67001f"
)  # fmt: skip
"""ColorBrewer's RdBu, reversed: blue below zero, red above; told apart with any common colour blindness."""

CENTRE = 127
"""Index of zero in the palette of 255 colours."""

LARGEST = 161
"""Pixels of the longer side of a picture; larger ones are averaged down."""

LARGEST_COLOURED = 112
"""The same for pictures of three colours, which take thrice the bytes."""

MOST_POINTS = 512
"""Of a line; longer signals are drawn by the least and the greatest value of equal stretches."""


@dataclass(frozen=True)
class Bar:
    """One bar, in per cent of the picture: left edge, width, top, height; whether its value is below zero."""

    x: float
    width: float
    y: float
    height: float
    negative: bool


@dataclass(frozen=True)
class Places:
    """What lies where in a picture of scores, for whoever points at it: the same for every sample of a space.

    Attributes:
        axis: what the groups are, such as "spatial frequency (cycles/pixel)".
        groups: names of groups.
        group: (K,) the group of each thing that is shown, −1 for none.
        marks: (K,) its place within the space, such as "0.25" or "row 3, column 4"; () where the group says it all.
        unit: of the marks, written behind them.
        index: (h, w) which of the K things lies at each place of the picture, −1 for none.
    """

    axis: str
    groups: tuple[str, ...]
    group: tuple[int, ...]
    index: NDArray[np.int64] = field(repr=False)
    marks: tuple[str, ...] = ()
    unit: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; the index as base64 of unsigned bytes, or of 16-bit numbers from 255 things on."""
        small = len(self.group) < 255
        packed = np.where(self.index < 0, 255 if small else 65535, self.index).astype("u1" if small else "<u2")
        rows, columns = self.index.shape
        return {
            "axis": self.axis,
            "groups": list(self.groups),
            "group": list(self.group),
            "marks": list(self.marks),
            "unit": self.unit,
            "rows": rows,
            "columns": columns,
            "bytes": packed.itemsize,
            "index": base64.b64encode(packed.tobytes()).decode(),
        }


@dataclass(frozen=True)
class Figure:
    """A picture with its caption: a PNG, or bars, or a line.

    Attributes:
        caption: below the picture.
        alt: what it shows, for those who do not see it.
        uri: data URI of a PNG, or "".
        bars: bars of scores, where there is no PNG.
        line: points "x,y x,y …" of a signal, in per cent, where there is neither.
        aspect: width / height.
        places: what lies where, or None for a picture without a readout.
        scores: (K,) of the things in `places`.
    """

    caption: str
    alt: str
    uri: str = ""
    bars: tuple[Bar, ...] = ()
    line: str = ""
    aspect: float = 1.0
    places: Places | None = field(default=None, compare=False, repr=False)
    scores: tuple[float, ...] = field(default=(), repr=False)

    @property
    def size(self) -> int:
        """About how many bytes it takes on a page."""
        return len(self.uri) + len(self.line) + 90 * len(self.bars) + 3 * len(self.scores)


def palette() -> NDArray[np.uint8]:
    """The diverging palette, (255, 3), zero at `CENTRE`."""
    stops = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in _RDBU_R], dtype=float)
    at = np.linspace(0, len(stops) - 1, 255)
    return np.stack([np.interp(at, range(len(stops)), stops[:, i]) for i in range(3)], axis=1).round().astype(np.uint8)


def signed_figure(values: Tensor, caption: str, alt: str, limit: float | None = None) -> Figure:
    """A map of signed scores, white at zero.

    Args:
        values: (h, w).
        caption: below the picture.
        alt: for those who do not see it.
        limit: magnitude of the deepest colour; by default `robust_limit`.
    """
    limit, values = limit or robust_limit(values), shrink(values)
    index = (values.double() / limit * CENTRE).round().clamp(-CENTRE, CENTRE) + CENTRE
    return Figure(caption, alt, _png(index.numpy().astype(np.uint8), palette()), aspect=_aspect(values))


def robust_limit(values: Tensor) -> float:
    """The 99.5th percentile of |values|, so that one outlier does not bleach a map; never 0."""
    return float(torch.quantile(values.double().abs().flatten(), 0.995)) or float(values.abs().max()) or 1.0


def input_figure(x: Tensor, caption: str, alt: str) -> Figure:
    """A sample as it is: a picture for (C, H, W), else a line.

    Values in [0, 1] are shown as such, others are stretched to their own range. Three channels are colours; any other
    number is averaged to grey.

    Args:
        x: (C, H, W), (C, L) or (F,).
        caption: below the picture.
        alt: for those who do not see it.
    """
    if x.ndim < 3:
        return Figure(caption, alt, line=_polyline(x.reshape(-1, x.shape[-1])[0].tolist()), aspect=1.0)
    low, high = (0.0, 1.0) if float(x.min()) >= 0 and float(x.max()) <= 1 else (float(x.min()), float(x.max()))
    small = shrink(x, LARGEST_COLOURED if x.shape[0] == 3 else LARGEST)
    scaled = ((small - low) / ((high - low) or 1.0) * 255).clamp(0, 255).round()
    pixels = scaled.permute(1, 2, 0) if x.shape[0] == 3 else scaled.mean(0)
    return Figure(caption, alt, _png(pixels.numpy().astype(np.uint8)), aspect=_aspect(x))


def shrink(values: Tensor, most: int = LARGEST) -> Tensor:
    """Maps (..., h, w) whose longer side has at most `most` pixels, averaged over areas; smaller ones as they are.

    >>> shrink(torch.ones(1, 8, 4), 4).shape
    torch.Size([1, 4, 2])
    """
    height, width = values.shape[-2:]
    if max(height, width) <= most:
        return values
    size = (max(1, round(height * most / max(height, width))), max(1, round(width * most / max(height, width))))
    maps = torch.nn.functional.adaptive_avg_pool2d(values.reshape(1, -1, height, width).double(), size)
    return maps.reshape(*values.shape[:-2], *size)


def bar_figure(values: Sequence[float], caption: str, alt: str) -> Figure:
    """Signed numbers as bars from a line at zero."""
    most = max((abs(v) for v in values), default=0.0) or 1.0
    width = 100 / max(1, len(values))
    bars = tuple(_bar(i * width + 0.1 * width, 0.8 * width, v, most) for i, v in enumerate(values))
    return Figure(caption, alt, bars=bars)


def _bar(x: float, width: float, value: float, most: float) -> Bar:
    """A bar from the line at zero, in the middle of the picture; one of the largest magnitude reaches its edge."""
    length = abs(value) / most * 48
    return Bar(x, width, 50 - max(0.0, value) / most * 48, max(0.4, length), value < 0)


def span_figure(groups: Groups, values: Sequence[float], caption: str, alt: str) -> Figure:
    """Signed numbers of groups as bars, each over its span of a physical axis; side by side where there is no scale.

    Groups without a place on the axis are left out of the picture, and named in the caption.

    Args:
        groups: with G names, and spans where the axis has a scale.
        values: (G,), such as sums of scores.
        caption: below the picture.
        alt: for those who do not see it.

    >>> groups = Groups(("low", "high"), torch.tensor([0, 1]), "frequency", spans=((0.0, 1.0), (1.0, 3.0)))
    >>> [round(bar.width, 1) for bar in span_figure(groups, [1.0, 0.5], "bands", "Two bands.").bars]
    [33.0, 66.4]
    """
    placed = [(span, v) for span, v in zip(groups.spans, values, strict=False) if span is not None]
    low, high = (f([end for span, _ in placed for end in span], default=0.0) for f in (min, max))
    if low == high:
        return bar_figure(values, caption, alt)
    most = max(abs(v) for _, v in placed) or 1.0
    scale = 100 / (high - low)
    bars = tuple(_bar((a - low) * scale, max(0.4, (b - a) * scale - 0.3), v, most) for (a, b), v in placed)
    apart = [name for name, span in zip(groups.names, groups.spans, strict=True) if span is None]
    beside = f"; not drawn: {', '.join(apart)}" if apart else ""
    return Figure(f"{caption}, {low:.4g} to {high:.4g}{beside}", alt, bars=bars)


def mosaic(maps: Tensor, gap: int = 1) -> Tensor:
    """Maps (B, h, w) in rows, as nearly square as can be, with gaps of zeros between them.

    Returns:
        (rows · (h + gap) − gap, columns · (w + gap) − gap), columns = ⌈√B⌉.
    """
    count, height, width = maps.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tiles = maps.new_zeros(rows * columns, height + gap, width + gap)
    tiles[:count, :height, :width] = maps
    whole = tiles.unflatten(0, (rows, columns)).transpose(1, 2).reshape(rows * (height + gap), columns * (width + gap))
    return whole[: whole.shape[0] - gap, : whole.shape[1] - gap]


def _png(pixels: NDArray[np.uint8], colours: NDArray[np.uint8] | None = None) -> str:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    if colours is not None:
        image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _aspect(values: Tensor) -> float:
    return values.shape[-1] / values.shape[-2]


def _polyline(values: Sequence[float]) -> str:
    if len(values) > MOST_POINTS:
        parts = np.array_split(np.asarray(values), MOST_POINTS // 2)
        values = [float(end) for part in parts for end in (part.min(), part.max())]
    low, high = min(values), max(values)
    span, last = (high - low) or 1.0, max(1, len(values) - 1)
    return " ".join(f"{100 * i / last:.2f},{96 - 92 * (v - low) / span:.2f}" for i, v in enumerate(values))
