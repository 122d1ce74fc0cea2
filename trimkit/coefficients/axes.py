"""Axes of data by position or name, and what is physical about them: sampling rates, units, bands."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups, Span
from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.registry.options import refused, whole_number

Axes: TypeAlias = int | str | Sequence[int | str] | None
"""Axes by position, as torch counts them on (N, ...) data (1 or −1, never 0, the batch), or by name ("time")."""

Layout: TypeAlias = str | Sequence[str] | None
"""Names of a sample's axes, "time channel" or ["time", "channel"]; None for those of `LAYOUTS`."""

SampleRate: TypeAlias = float | str | Sequence[float | str] | None
"""Samples a second (a number, "16 kHz") or a unit ("10/mm"), one for all axes or one an axis; None if not known."""

Bands: TypeAlias = int | str | Sequence[str] | Mapping[str, Sequence[float]]
"""How many equally wide bands, or named ones: "2–4 kHz, 4–8 kHz", ["alpha 8–13 Hz"], {"alpha": (8, 13)}."""

LAYOUTS: dict[int, tuple[str, ...]] = {
    1: ("time",),
    2: ("channel", "time"),
    3: ("channel", "height", "width"),
    4: ("channel", "depth", "height", "width"),
}
"""What the axes of a sample are called, by their number, where no layout is given."""

PREFIXES = {"n": 1e-9, "µ": 1e-6, "u": 1e-6, "m": 1e-3, "c": 1e-2, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
BASES = ("Hz", "s", "m", "V")

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BAND = re.compile(rf"(?:(?P<name>.*\S)\s+)?(?P<low>{_NUMBER})\s*(?:–|-|to)\s*(?P<high>{_NUMBER})\s*(?P<unit>\S+)?")
_RATE = re.compile(rf"(?P<value>{_NUMBER})\s*(?:(?P<hertz>\S*Hz)|/\s*(?P<unit>\S+))?")


def axis_names(owner: str, layout: Layout, rank: int) -> tuple[str, ...]:
    """Names of a sample's axes, in order.

    Args:
        owner: for messages.
        layout: as given.
        rank: number of a sample's axes.
    Raises:
        ShapeError: a layout for another number of axes.
    """
    if layout is None:
        return LAYOUTS.get(rank, tuple(f"axis {i + 1}" for i in range(rank)))
    names = tuple(re.split(r"[,\s]+", layout.strip())) if isinstance(layout, str) else tuple(layout)
    if len(names) != rank:
        raise ShapeError(
            f"{owner}: the layout {' '.join(names)!r} names {len(names)} axes of a sample, which has {rank}"
        )
    return names


def find_axes(owner: str, axes: Axes, size: Sequence[int], layout: Layout = None) -> tuple[int, ...]:
    """Places of axes within the shape of one sample, from 0.

    Args:
        owner: for messages.
        axes: see `Axes`; at least one.
        size: shape of one sample.
        layout: names of its axes.
    Raises:
        OptionError: the batch, a repeated axis, an unknown name.
        ShapeError: a position that the data do not have.

    Example:
        >>> find_axes("fft", "time", (400, 2), "time channel"), find_axes("fft", [-2, -1], (3, 8, 8))
        ((0,), (1, 2))
    """
    names = axis_names(owner, layout, len(size))
    wanted: Sequence[int | str] = [axes] if isinstance(axes, int | str) else list(axes or ())
    places = tuple(_place(owner, axis, names) for axis in wanted)
    if not places or len(set(places)) < len(places):
        raise refused(owner, "axes", "that differ, at least one", axes)
    return places


def _place(owner: str, axis: int | str, names: Sequence[str]) -> int:
    if isinstance(axis, str):
        if axis not in names:
            raise OptionError(
                f"{owner}: no axis of a sample is named {axis!r}. {nearest(axis, names)} Name them in order with "
                "layout, such as layout='time channel'"
            )
        return names.index(axis)
    if axis == 0 or isinstance(axis, bool):
        raise OptionError(f"{owner}: expected axes of a sample, got {axis!r}, the batch; its own axes are 1 … or −1 …")
    place = axis - 1 if axis > 0 else len(names) + axis
    if not 0 <= place < len(names):
        raise ShapeError(f"{owner}: there is no axis {axis} in (N, {', '.join(names)})")
    return place


@dataclass(frozen=True)
class Rate:
    """Samples along an axis: how many a unit.

    Attributes:
        value: samples a unit, above 0.
        unit: of the axis, such as "s" or "mm".
    """

    value: float = 1.0
    unit: str = "pixel"

    @property
    def frequency_unit(self) -> str:
        """Of frequencies along the axis: "Hz" for seconds, else "cycles/…"."""
        return "Hz" if self.unit == "s" else f"cycles/{self.unit}"


def read_rate(owner: str, rate: float | str) -> Rate:
    """A rate from a number of Hz or a text.

    Raises:
        OptionError: no number above 0, or a text that is no rate.

    Example:
        >>> read_rate("fft", "16 kHz"), read_rate("fft", "10/mm").frequency_unit
        (Rate(value=16000.0, unit='s'), 'cycles/mm')
    """
    match = _RATE.fullmatch(str(rate).strip())
    if match is None or isinstance(rate, bool) or not 0 < float(match["value"]) < math.inf:
        raise refused(owner, "sample_rate", "as a number above 0 of Hz, or with a unit ('16 kHz', '10/mm')", rate)
    value = float(match["value"])
    if match["unit"] and match["unit"] != "s":
        return Rate(value, match["unit"])
    return Rate(value * unit_factor(owner, match["hertz"] or "Hz", "Hz"), "s")


def read_rates(owner: str, rates: SampleRate, count: int) -> tuple[Rate, ...]:
    """One rate an axis, all of one unit; without, "pixel" by "pixel".

    Raises:
        OptionError: as `read_rate`, a number of rates other than that of the axes, or several units.
    """
    if rates is None:
        return (Rate(),) * count
    several = [rates] if isinstance(rates, int | float | str) else list(rates)
    found = tuple(read_rate(owner, rate) for rate in several) * (count if len(several) == 1 else 1)
    if len(found) != count or len({rate.unit for rate in found}) > 1:
        raise refused(owner, "sample_rate", f"as one rate, or one for each of {count} axes, of one unit", rates)
    return found


def unit_factor(owner: str, unit: str, wanted: str) -> float:
    """How many of one unit another is: 1000 for kHz in Hz.

    Raises:
        OptionError: units of different things.

    >>> unit_factor("fft", "kHz", "Hz")
    1000.0
    """
    (factor, base), (other, same) = _split_unit(unit), _split_unit(wanted)
    if base != same:
        raise OptionError(f"{owner}: expected a unit of {wanted}, got {unit!r}")
    return factor / other


def _split_unit(unit: str) -> tuple[float, str]:
    for base in BASES:
        prefix = unit.removesuffix(base)
        if prefix != unit and prefix in PREFIXES:
            return PREFIXES[prefix], base
    return 1.0, unit


@dataclass(frozen=True)
class Band:
    """A named interval of an axis, its ends in the axis's unit.

    A value at the end that two bands share belongs to the upper one.
    """

    name: str
    low: float
    high: float


def read_bands(owner: str, bands: str | Sequence[str] | Mapping[str, Sequence[float]], unit: str) -> tuple[Band, ...]:
    """Named bands in rising order.

    Args:
        owner: for messages.
        bands: see `Bands`; numbers without a unit are in the axis's.
        unit: of the axis.
    Raises:
        OptionError: nothing that reads as a band, a unit of something else, or bands that overlap or share a name.

    Example:
        >>> read_bands("fft", "2–4 kHz", "Hz")
        (Band(name='2–4 kHz', low=2000.0, high=4000.0),)
    """
    if isinstance(bands, Mapping):
        found = [_band_of_ends(owner, str(name), ends) for name, ends in bands.items()]
    else:
        texts = bands.split(",") if isinstance(bands, str) else list(bands)
        found = [_band_of_text(owner, text, unit) for text in texts]
    found.sort(key=lambda band: band.low)
    apart = all(a.high <= b.low for a, b in itertools.pairwise(found))
    if not found or not apart or len({band.name for band in found}) < len(found):
        raise refused(owner, "bands", "that do not overlap, at least one, each with its own name", bands)
    return tuple(found)


def _band_of_text(owner: str, text: str, unit: str) -> Band:
    match = _BAND.fullmatch(str(text).strip())
    if match is None:
        raise refused(owner, "bands", "as a whole number, or as bands ('alpha 8–13 Hz', '2–4 kHz')", text)
    factor = unit_factor(owner, match["unit"], unit) if match["unit"] else 1.0
    name = match["name"] or f"{match['low']}–{match['high']} {match['unit'] or unit}"
    return _band_of_ends(owner, name, (float(match["low"]) * factor, float(match["high"]) * factor))


def _band_of_ends(owner: str, name: str, ends: Sequence[float]) -> Band:
    low, high = (float(end) for end in ends) if len(ends) == 2 else (math.nan, math.nan)
    if not low < high:
        raise refused(owner, "bands", f"with {name!r} from a lower to a higher end", ends)
    return Band(name, low, high)


def show_bands(bands: Sequence[Band]) -> str:
    """Bands in one line, for reports."""
    return ", ".join(f"{band.name} [{band.low:g}, {band.high:g}]" for band in bands)


def take_bands(owner: str, bands: Bands, unit: str) -> int | tuple[Band, ...]:
    """The option ``bands``, checked: a number of equal bands ≥ 1, or named ones."""
    if isinstance(bands, str | Mapping | list | tuple):
        return read_bands(owner, bands, unit)
    whole_number(owner, bands=bands)
    return bands  # type: ignore[return-value]


def span_name(low: float, high: float, unit: str) -> str:
    """An interval in words, with the prefix that suits Hz.

    Example:
        >>> span_name(2000, 4000, "Hz"), span_name(0, 31.25, "Hz")
        ('2–4 kHz', '0–31.25 Hz')
    """
    thousands = unit == "Hz" and high >= 1000
    scale = 1e3 if thousands else 1.0
    return f"{low / scale:.4g}–{high / scale:.4g} {'k' if thousands else ''}{unit}"


def group_by_bands(values: Tensor, bands: int | Sequence[Band], axis: str, unit: str = "") -> Groups:
    """Groups of places on an axis: named bands and "other", or ``dc`` and equally wide bands above zero.

    Args:
        values: of any shape, the place of each coefficient on the axis, float64, ≥ 0 for equal bands.
        bands: from `take_bands`.
        axis: what the axis is, "frequency".
        unit: of the values; "" or "cycles/pixel" names equal bands by their ends alone.
    Returns:
        Groups whose labels have the shape of ``values``.
    """
    title = f"{axis} ({unit})" if unit else axis
    if isinstance(bands, int):
        return _equal_bands(values, bands, title, unit)
    labels = torch.full(values.shape, len(bands), dtype=torch.long)
    slack = 1e-9 * float(values.abs().max())
    for i, band in enumerate(bands):
        labels[(values >= band.low - slack) & (values <= band.high + slack)] = i
    spans: tuple[Span | None, ...] = (*((band.low, band.high) for band in bands), None)
    return Groups((*(band.name for band in bands), "other"), labels, title, spans=spans)


def _equal_bands(values: Tensor, bands: int, title: str, unit: str) -> Groups:
    edges = torch.linspace(0, float(values.max()), bands + 1).tolist()
    spans: tuple[Span, ...] = tuple(itertools.pairwise(edges))
    physical = unit and not unit.endswith(("/pixel", "/sample"))
    names = (span_name(*span, unit) if physical else f"{span[0]:.3f}–{span[1]:.3f}" for span in spans)
    return Groups(("dc", *names), label_equal_bands(values, bands), title, spans=((0.0, 0.0), *spans))


def label_equal_bands(values: Tensor, bands: int) -> Tensor:
    """Label values ≥ 0: 0 for zero, 1 … bands for equally wide bands up to the largest; an edge belongs below it."""
    top = values.max().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.where(values == 0, 0, (values / top * bands - 1e-9).ceil().clamp(1, bands)).long()
