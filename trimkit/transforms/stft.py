"""Time and frequency together: the short-time Fourier transform of signals."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

from trimkit.coefficients.axes import (
    Axes,
    Bands,
    Layout,
    SampleRate,
    group_by_bands,
    read_rates,
    show_bands,
    take_bands,
)
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.transforms.along import Along
from trimkit.transforms.base import Size, single_leaf
from trimkit.transforms.fourier import half_spectrum_counts

WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, "blackman": torch.blackman_window}

COVER = 1e-3
"""Smallest squared window over a signal's last sample, of a largest of 1, that inverts without amplifying rounding."""


class STFT(Along):
    """Half spectra of overlapping windowed frames, complex; the inverse is exact (weighted overlap-add).

    Frames are centred at multiples of the hop, the signal continued by zeros. A stored interior bin stands for two, as
    in `FFT`, and n_fft / hop frames overlap: a redundant frame, whose sparsity is not comparable with that of an
    orthonormal transform. The inverse of the zero baseline is silence.

    Args:
        n_fft: samples in a frame, even, at least 4.
        hop: samples from frame to frame; by default n_fft / 4.
        window: "hann", "hamming" or "blackman".
        bands: number of equally wide frequency bands into which everything above zero frequency is grouped; or named
            bands, "2–4 kHz, 4–8 kHz" or {"alpha": (8, 13)}, everything else being "other".
        axes: the axis of time, by position or name; by default the last.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second ("16 kHz" or 16000) or a unit; without, frequencies are cycles a sample.
    Raises:
        OptionError: frames that cover some sample too little to be inverted (NOLA).
    """

    complex_coefficients = True

    def __init__(
        self,
        n_fft: int = 64,
        hop: int | None = None,
        window: Literal["hann", "hamming", "blackman"] = "hann",
        bands: Bands = 8,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__(None if axes is not None else 1, axes, layout, sample_rate)
        if n_fft < 4 or n_fft % 2:
            raise OptionError(f"{self._name}: expected n_fft even and ≥ 4, got {n_fft}")
        (self._one,) = read_rates(self._name, sample_rate, 1)
        self._unit = "cycles/sample" if sample_rate is None else self._one.frequency_unit
        self._bands = take_bands(self._name, bands, self._unit)
        if window not in WINDOWS:
            raise OptionError(f"{self._name}: there is no window {window!r}. {nearest(str(window), WINDOWS)}")
        self.n_fft = n_fft
        self.hop = n_fft // 4 if hop is None else hop
        self.window = window
        self.bands = self._bands if isinstance(self._bands, int) else show_bands(self._bands)
        self._require_cover()

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., L) → (N, ..., n_fft / 2 + 1, L // hop + 1) complex, frequency and frames last."""
        if x.ndim not in (2, 3) or x.dtype not in (torch.float32, torch.float64):
            raise ShapeError(
                f"{self._name}: expected signals (N, L) or (N, C, L), float32 or float64, got {x.dtype} "
                f"{tuple(x.shape)}"
            )

        def split(y: Tensor, _: int) -> Tensor:
            flat, window = y.reshape(-1, y.shape[-1]), self._window(y)
            s = torch.stft(flat, self.n_fft, self.hop, window=window, pad_mode="constant", return_complex=True)
            return s.reshape(*y.shape[:-1], *s.shape[-2:])

        return single_leaf(self._forth(x, split), self._name)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, ..., n_fft / 2 + 1, frames) → (N, ..., L); without ``size``, L is the shortest with so many frames."""
        leaf = single_leaf(s, self._name)
        if leaf.ndim < 3 or leaf.shape[-2] != self.n_fft // 2 + 1 or not leaf.is_complex():
            raise ShapeError(
                f"{self._name}: expected complex coefficients (N, ..., {self.n_fft // 2 + 1}, frames), got "
                f"{leaf.dtype} {tuple(leaf.shape)}"
            )

        def join(moved: Tree, _: int, size: Size | None) -> Tensor:
            frames = single_leaf(moved, self._name)
            length = size[-1] if size else (frames.shape[-1] - 1) * self.hop
            flat = frames.reshape(-1, *frames.shape[-2:])
            x = torch.istft(flat, self.n_fft, self.hop, window=self._window(frames.real), length=length)
            return x.reshape(*frames.shape[:-2], length)

        return self._back(leaf, size, join)

    def groups(self, size: Size) -> Groups:
        """``dc`` and equally wide bands of frequency, low to high; all frames of a bin are in one group."""
        frequencies = torch.fft.rfftfreq(self.n_fft, dtype=torch.float64) * self._one.value
        groups = group_by_bands(frequencies, self._bands, "frequency", self._unit)
        *before, length = self.worked_size(size)
        shape = (*before, len(frequencies), length // self.hop + 1)
        labels, twice = (
            row[:, None].expand(shape) for row in (single_leaf(groups.labels, ""), half_spectrum_counts(self.n_fft))
        )
        return dataclasses.replace(groups, labels=labels, multiplicity=twice)

    _growth = 1

    def _window(self, like: Tensor) -> Tensor:
        return WINDOWS[self.window](self.n_fft, dtype=like.dtype, device=like.device)

    def _require_cover(self) -> None:
        """Signals end anywhere within a hop after the last frame's centre: that far, every sample must be covered."""
        if not 1 <= self.hop <= self.n_fft // 2:
            raise OptionError(f"{self._name}: expected 1 ≤ hop ≤ n_fft / 2 = {self.n_fft // 2}, got {self.hop}")
        square = WINDOWS[self.window](self.n_fft, dtype=torch.float64).square()
        if square[self.n_fft // 2 + self.hop - 1] < COVER:
            raise OptionError(
                f"{self._name}: with hop {self.hop} a signal's last samples lie at the edge of a {self.window} window "
                f"of {self.n_fft}, which cannot be inverted; lower hop, e.g. to {self.n_fft // 4}"
            )
