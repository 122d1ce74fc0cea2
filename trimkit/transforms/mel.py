"""Amplitudes of a signal on the mel scale, over time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trimkit.coefficients.axes import Axes, Layout, read_rates, span_name
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.registry.options import whole_number
from trimkit.transforms.base import Size, Transform
from trimkit.transforms.polar import from_polar, to_polar
from trimkit.transforms.stft import STFT


class Mel(Transform):
    """{"amplitude": M |S|, "phase": arg S}, S the short-time Fourier transform and M triangles on the mel scale.

    The inverse spreads amplitudes over frequencies with the pseudo-inverse M⁺ (which may make some negative), keeps the
    phases, and goes back to a signal by overlap-add. Lossy: what M does not see, and frames that do not fit together,
    are the residual, which stays fixed.

    Args:
        mels: number of triangles, at least 1; equally spaced in mel from 0 Hz to half the sampling rate.
        n_fft: samples in a frame, even, at least 4.
        hop: samples from frame to frame; by default n_fft / 4.
        sample_rate: samples a second.
        axes: the axis of time, by position or name; by default the last.
        layout: names of a sample's axes, in order.
    Raises:
        OptionError: so many triangles that one holds no frequency of a frame.

    Attributes:
        filters: (mels, n_fft / 2 + 1), M; the peak of each triangle is 1.
        spread: (n_fft / 2 + 1, mels), M⁺.
    """

    exact = False

    filters: Tensor
    spread: Tensor

    def __init__(
        self,
        mels: int = 40,
        n_fft: int = 512,
        hop: int | None = None,
        sample_rate: float | str = 16000,
        axes: Axes = None,
        layout: Layout = None,
    ) -> None:
        super().__init__()
        whole_number("mel", mels=mels)
        (rate,) = read_rates("mel", sample_rate, 1)
        if rate.unit != "s":
            raise OptionError(f"mel: expected sample_rate in Hz, got {sample_rate!r}")
        self._stft = _Frames(n_fft, hop, axes=axes, layout=layout)
        self.mels, self.n_fft, self.hop, self.sample_rate = mels, n_fft, self._stft.hop, rate.value
        filters = mel_filters(mels, n_fft, rate.value)
        if bool((filters.sum(1) == 0).any()):
            raise OptionError(f"mel: of {mels} triangles one holds no frequency of {n_fft} samples; raise n_fft")
        self.register_buffer("filters", filters.float())
        self.register_buffer("spread", torch.linalg.pinv(filters).float())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, ..., L) → amplitude (N, ..., mels, frames) and phase (N, ..., n_fft / 2 + 1, frames)."""
        parts = to_polar(self._stft(x))
        return {**parts, "amplitude": self.filters.to(x) @ parts["amplitude"]}

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, ..., L); without ``size``, L is the shortest with so many frames."""
        if not isinstance(s, Mapping) or set(s) != {"amplitude", "phase"}:
            raise ShapeError("mel: expected a dict of amplitude and phase, as the transform gives it")
        parts: Mapping[str, Any] = s
        amplitude = self.spread.to(parts["amplitude"]) @ parts["amplitude"]
        return self._stft.inverse(from_polar({"amplitude": amplitude, "phase": parts["phase"]}), size)

    def groups(self, size: Size) -> Groups:
        """One group a triangle, named by the frequencies at half its height, and one for all phases."""
        centres = mel_centres(self.mels, self.sample_rate)
        half = (centres[1] - centres[0]) / 2
        spans = [(float(c - half), float(c + half)) for c in centres[1:-1]]
        names = [span_name(round(hertz(low), 1), round(hertz(high), 1), "Hz") for low, high in spans]
        labels = self._stft.groups(size).labels
        frames = labels.shape[-1]  # type: ignore[union-attr]
        amplitude = torch.arange(self.mels)[:, None].expand(*labels.shape[:-2], self.mels, frames)  # type: ignore[union-attr]
        phase = torch.full_like(labels, self.mels)  # type: ignore[arg-type]
        return Groups((*names, "phase"), {"amplitude": amplitude, "phase": phase}, "pitch (mel)", spans=(*spans, None))


class _Frames(STFT):
    _owner = "mel"


def mel(frequency: float) -> float:
    """Mel of a frequency in Hz, 2595 log₁₀(1 + f/700), O'Shaughnessy 1987."""
    return 2595 * math.log10(1 + frequency / 700)


def hertz(pitch: float) -> float:
    """Hz of mel."""
    return 700 * (10 ** (pitch / 2595) - 1)


def mel_centres(mels: int, sample_rate: float) -> Tensor:
    """Equally spaced mel from 0 to half the rate: (mels + 2,); triangle i goes from entry i to i + 2."""
    return torch.linspace(0, mel(sample_rate / 2), mels + 2, dtype=torch.float64)


def mel_filters(mels: int, n_fft: int, sample_rate: float) -> Tensor:
    """Triangles, straight in Hz between centres that are equally spaced in mel: (mels, n_fft / 2 + 1), float64."""
    edges = torch.tensor([hertz(float(c)) for c in mel_centres(mels, sample_rate)], dtype=torch.float64)[:, None]
    frequencies = torch.fft.rfftfreq(n_fft, dtype=torch.float64) * sample_rate
    rise = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return torch.minimum(rise, fall).clamp_min(0)
