"""The constant-Q transform: bands of frequency that are equally wide in octaves, each with its own time resolution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.axes import Axes, Layout, SampleRate, read_rates, span_name
from trimkit.coefficients.groups import Groups, Span
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.registry.options import real_number, whole_number
from trimkit.transforms.along import Along, require_real
from trimkit.transforms.base import Size

Window = tuple[int, Tensor]
"""First bin of the half spectrum, and the weights from there on, float64."""


class CQT(Along):
    """Invertible constant-Q transform: a list of complex leaves, one a band, low to high (nonstationary Gabor frame).

    Velasco, Holighaus, Dörfler, Grill 2011. Band k is the half spectrum under a window that is a cosine in log
    frequency, taken back to time at the rate that its width needs. The windows' squares add up to 1, so the frame is
    tight: the inverse is the adjoint, exact for every length. The first leaf holds all below the lowest band.

    Args:
        bins: bands an octave, at least 1.
        lowest: centre of the lowest band, in Hz where the rate is; by default the lowest that the length can resolve.
        axes: the axis of time, by position or name; by default the last.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second ("16 kHz" or 16000) or a unit.

    Example:
        >>> CQT(bins=1, lowest=110, sample_rate=1000).groups((1, 1000)).names
        ('below 77.78 Hz', '77.78–155.6 Hz', '155.6–311.1 Hz', '311.1–500 Hz')
    """

    complex_coefficients = True

    def __init__(
        self,
        bins: int = 12,
        lowest: float | None = None,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__(None if axes is not None else 1, axes, layout, sample_rate)
        whole_number("cqt", bins=bins)
        real_number("cqt", above=True, lowest=1.0 if lowest is None else lowest)
        self.bins = bins
        self.lowest = lowest
        self._windows: dict[int, list[Window]] = {}

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, ..., n) → leaves (N, ..., width of the band in bins), complex."""
        require_real(self._name, x)

        def split(y: Tensor, _: int) -> list[Tensor]:
            spectrum = torch.fft.rfft(y, norm="ortho")
            parts = [spectrum[..., first : first + len(w)] * w.to(y) for first, w in self.windows(y.shape[-1])]
            return [torch.fft.ifft(part, norm="ortho") for part in parts]

        return self._forth(x, split)  # type: ignore[return-value]

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The signal.

        Raises:
            ShapeError: no ``size``, which the bands do not tell, or other bands than those of such signals.
        """
        if size is None:
            raise ShapeError("cqt: expected the size of a sample, which the bands do not tell")
        windows = self.windows(size[self.places(size)[0]])

        def join(moved: Tree, _: int, size: Size | None) -> Tensor:
            bands = tree.leaves(moved)
            if [band.shape[-1] for band in bands] != [len(w) for _, w in windows]:
                raise ShapeError(f"cqt: expected {len(windows)} bands, of as many entries as the transform gives them")
            return _add_up(bands, windows, size[-1])  # type: ignore[index]

        return self._back(s, size, join)

    def centres(self, n: int, rate: float = 1.0) -> list[float]:
        """Centre frequencies of the bands of n entries, above the lowest leaf, in the rate's unit; maybe none."""
        lowest = self.lowest or 1 / n / (2 ** (1 / self.bins) - 1) * rate
        octaves = math.log2(rate / 2 / lowest)
        return [lowest * 2 ** (k / self.bins) for k in range(math.floor(octaves * self.bins + 1e-9) + 1)]

    def windows(self, n: int) -> list[Window]:
        """The windows on the half spectrum of n entries; the sum of their squares is 1 at every bin.

        Raises:
            OptionError: a band so narrow that no bin lies in it.
        """
        if n not in self._windows:
            with torch.inference_mode(False):
                self._windows[n] = self._make_windows(n)
        return self._windows[n]

    def _make_windows(self, n: int) -> list[Window]:
        (rate,) = (each.value for each in read_rates("cqt", self._rate, 1))
        centres = self.centres(n, rate)
        frequencies = torch.fft.rfftfreq(n, dtype=torch.float64) * rate
        if not centres:
            return [(0, torch.ones_like(frequencies))]
        place = (frequencies / centres[0]).log2() * self.bins  # −∞ at 0 Hz
        windows = [_window(place.clamp(-1, len(centres) - 1) - k) for k in range(-1, len(centres))]
        empty = [k for k, (_, w) in enumerate(windows) if not len(w)]
        if empty:
            raise OptionError(
                f"cqt: no frequency of {n} entries lies in band {empty[0]}; raise lowest or lower bins ({self.bins})"
            )
        return windows

    def groups(self, size: Size) -> Groups:
        """One group a band, named by its frequencies; the axis counts octaves from the lowest band."""
        (rate,) = self.rates(size)
        centres, unit = self.centres(size[self.places(size)[0]], rate.value), rate.frequency_unit
        labels = [torch.full(leaf.shape[1:], i) for i, leaf in enumerate(self(torch.zeros(1, *size)))]
        if not centres:
            return Groups(("all",), labels, "pitch")
        step = 2 ** (0.5 / self.bins)
        edges = [centres[0] / step, *(c * step for c in centres)]
        edges[-1] = rate.value / 2
        names = (f"below {edges[0]:.4g} {unit}", *(span_name(*span, unit) for span in itertools.pairwise(edges)))
        octaves: list[Span] = [((k - 0.5) / self.bins, (k + 0.5) / self.bins) for k in range(len(centres))]
        axis = f"pitch (octaves above {centres[0]:.4g} {unit})"
        return Groups(names, labels, axis, spans=(None, *octaves))


def _window(distance: Tensor) -> Window:
    """A cosine of the distance from a band's centre, in bands: its bins that are not 0."""
    weights = torch.where(distance.abs() < 1, (distance * (math.pi / 2)).cos(), 0.0)
    inside = (weights > 1e-9).nonzero().flatten()
    return (int(inside[0]), weights[inside[0] : inside[-1] + 1]) if len(inside) else (0, weights[:0])


def _add_up(bands: Sequence[Tensor], windows: Sequence[Window], n: int) -> Tensor:
    parts = [torch.fft.fft(band, norm="ortho") * w.to(band.real) for band, (_, w) in zip(bands, windows, strict=True)]
    places = torch.cat([torch.arange(first, first + len(w)) for first, w in windows]).to(bands[0].device)
    joined = torch.cat(parts, dim=-1)
    spectrum = joined.new_zeros(*joined.shape[:-1], n // 2 + 1).index_add(-1, places, joined)
    return torch.fft.irfft(spectrum, n, norm="ortho")
