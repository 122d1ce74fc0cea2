"""Amplitude and phase of a Fourier transform, as two real coefficients of each bin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from trimkit.coefficients.axes import Axes, Bands, Layout, SampleRate
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError
from trimkit.transforms.along import Dims
from trimkit.transforms.base import Size, Transform
from trimkit.transforms.fourier import FFT


class Polar(Transform):
    """Half spectrum in polar form, {"amplitude": |s|, "phase": arg s in (−π, π]}: s = amplitude · exp(i · phase).

    A score of an amplitude says what happens as an oscillation grows where it is, one of a phase what happens as it
    moves. Derivatives are exact, ∂f/∂a = Re(conj(g) · exp(iφ)) with g the gradient of the complex bin, of each sample
    alone, whatever the batch. Interior bins stand for two, as in `FFT`. The phase of an empty bin is 0, without
    gradient. The zero baseline has no amplitude, and phase 0: to explain phases, give the phase they count from.

    Args:
        dims: transform the last one, two or three axes; by default two for (N, C, H, W), else one.
        bands: number of equally wide bands of frequency, or named ones, see `FFT`.
        axes: the axes instead of dims, by position or name.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second ("256 Hz" or 256) or a unit ("10/mm").

    Example:
        >>> s = Polar()(torch.tensor([[1.0, -1.0]]))
        >>> [[round(v, 2) for v in leaf[0].tolist()] for leaf in s.values()]
        [[0.0, 1.41], [0.0, 0.0]]
    """

    def __init__(
        self,
        dims: Dims = None,
        bands: Bands = 8,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__()
        self._fft = _Spectrum(dims, bands, axes, layout, sample_rate)
        self.bands = self._fft.bands

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, ..., n) → two leaves (N, ..., n // 2 + 1), real."""
        return to_polar(self._fft(x))

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Real data; without ``size`` the last axis is taken to be even."""
        if not isinstance(s, Mapping) or set(s) != {"amplitude", "phase"}:
            raise ShapeError("polar: expected a dict of amplitude and phase, as the transform gives it")
        return self._fft.inverse(from_polar(s), size)

    def groups(self, size: Size) -> Groups:
        """Bands of amplitudes, then of phases, low to high."""
        return amplitude_and_phase(self._fft.groups(size))


class _Spectrum(FFT):
    _owner = "polar"


def to_polar(s: Tensor) -> dict[str, Tensor]:
    """Complex coefficients as amplitude and phase; a negative zero imaginary part counts as zero."""
    return {"amplitude": s.abs(), "phase": torch.complex(s.real, s.imag + 0.0).angle()}


def from_polar(s: Mapping[str, Tree]) -> Tensor:
    """Complex coefficients of amplitude (which may be negative) and phase."""
    amplitude, phase = s["amplitude"], s["phase"]
    return torch.complex(amplitude * phase.cos(), amplitude * phase.sin())  # type: ignore[operator, union-attr]


def amplitude_and_phase(groups: Groups) -> Groups:
    """The groups of complex coefficients twice, for their amplitudes and their phases."""
    count = len(groups.names)
    names = (*(f"amplitude, {name}" for name in groups.names), *(f"phase, {name}" for name in groups.names))
    labels: Tree = {"amplitude": groups.labels, "phase": groups.labels + count}  # type: ignore[operator]
    counts = groups.multiplicity
    twice = None if counts is None else {"amplitude": counts, "phase": counts}
    return dataclasses.replace(groups, names=names, labels=labels, multiplicity=twice, spans=())
