"""Time and frequency together: the short-time Fourier transform of signals."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.registry.options import whole_number
from trimkit.transforms.base import Size, Transform, single_leaf
from trimkit.transforms.fourier import band_names, radial_bands

WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, "blackman": torch.blackman_window}

COVER = 1e-3
"""Smallest squared window over a signal's last sample, of a largest of 1, that inverts without amplifying rounding."""


class STFT(Transform):
    """Half spectra of overlapping windowed frames, complex; the inverse is exact (weighted overlap-add).

    Frames are centred at multiples of the hop, the signal continued by zeros. A stored interior bin stands for two, as
    in `FFT`, and n_fft / hop frames overlap: a redundant frame, whose sparsity is not comparable with that of an
    orthonormal transform. The inverse of the zero baseline is silence.

    Args:
        n_fft: samples in a frame, even, at least 4.
        hop: samples from frame to frame; by default n_fft / 4.
        window: "hann", "hamming" or "blackman".
        bands: number of equally wide frequency bands into which everything above zero frequency is grouped.
    Raises:
        OptionError: frames that cover some sample too little to be inverted (NOLA).
    """

    def __init__(
        self,
        n_fft: int = 64,
        hop: int | None = None,
        window: Literal["hann", "hamming", "blackman"] = "hann",
        bands: int = 8,
    ) -> None:
        super().__init__()
        if n_fft < 4 or n_fft % 2:
            raise OptionError(f"stft: expected n_fft even and ≥ 4, got {n_fft}")
        whole_number("stft", bands=bands)
        if window not in WINDOWS:
            raise OptionError(f"stft: there is no window {window!r}. {nearest(str(window), WINDOWS)}")
        self.n_fft = n_fft
        self.hop = n_fft // 4 if hop is None else hop
        self.window = window
        self.bands = bands
        self._require_cover()

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., L) → (N, ..., n_fft / 2 + 1, L // hop + 1) complex."""
        if x.ndim not in (2, 3) or x.dtype not in (torch.float32, torch.float64):
            raise ShapeError(
                f"stft: expected signals (N, L) or (N, C, L), float32 or float64, got {x.dtype} {tuple(x.shape)}"
            )
        flat = x.reshape(-1, x.shape[-1])
        s = torch.stft(flat, self.n_fft, self.hop, window=self._window(x), pad_mode="constant", return_complex=True)
        return s.reshape(*x.shape[:-1], *s.shape[-2:])

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, ..., n_fft / 2 + 1, frames) → (N, ..., L); without ``size``, L is the shortest with so many frames."""
        leaf = single_leaf(s, "stft")
        if leaf.ndim < 3 or leaf.shape[-2] != self.n_fft // 2 + 1 or not leaf.is_complex():
            raise ShapeError(
                f"stft: expected complex coefficients (N, ..., {self.n_fft // 2 + 1}, frames), got {leaf.dtype} "
                f"{tuple(leaf.shape)}"
            )
        length = size[-1] if size else (leaf.shape[-1] - 1) * self.hop
        flat = leaf.reshape(-1, *leaf.shape[-2:])
        x = torch.istft(flat, self.n_fft, self.hop, window=self._window(leaf.real), length=length)
        return x.reshape(*leaf.shape[:-2], length)

    def groups(self, size: Size) -> Groups:
        """``dc`` and equally wide bands of frequency, low to high; all frames of a bin are in one group."""
        frequencies = torch.fft.rfftfreq(self.n_fft, dtype=torch.float64)
        shape = (*size[:-1], len(frequencies), size[-1] // self.hop + 1)
        twice = torch.full_like(frequencies, 2.0)
        twice[[0, -1]] = 1.0
        labels, twice = (row[:, None].expand(shape) for row in (radial_bands(frequencies, self.bands), twice))
        return Groups(band_names(frequencies, self.bands), labels, "frequency (cycles/sample)", twice)

    def _window(self, like: Tensor) -> Tensor:
        return WINDOWS[self.window](self.n_fft, dtype=like.dtype, device=like.device)

    def _require_cover(self) -> None:
        """Signals end anywhere within a hop after the last frame's centre: that far, every sample must be covered."""
        if not 1 <= self.hop <= self.n_fft // 2:
            raise OptionError(f"stft: expected 1 ≤ hop ≤ n_fft / 2 = {self.n_fft // 2}, got {self.hop}")
        square = WINDOWS[self.window](self.n_fft, dtype=torch.float64).square()
        if square[self.n_fft // 2 + self.hop - 1] < COVER:
            raise OptionError(
                f"stft: with hop {self.hop} a signal's last samples lie at the edge of a {self.window} window of "
                f"{self.n_fft}, which cannot be inverted; lower hop, e.g. to {self.n_fft // 4}"
            )
