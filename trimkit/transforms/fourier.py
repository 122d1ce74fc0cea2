"""Frequency coefficients: the real Fourier transform (half spectrum) and the orthonormal cosine transform."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cache

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
from trimkit.errors import ShapeError
from trimkit.transforms.along import Along, Dims, require_real
from trimkit.transforms.base import Size, single_leaf

DENSE = 256
"""Up to this length a cosine transform is one product with its matrix; beyond it, an FFT, which needs no n² numbers."""


class Frequency(Along):
    """What transforms to frequencies share: axes, and groups by the magnitude of the frequency.

    Args:
        dims: transform the last one, two or three axes; by default two for (N, C, H, W), else one.
        bands: number of equally wide frequency bands into which everything above zero frequency is grouped; or named
            bands, "2–4 kHz, 4–8 kHz" or {"alpha": (8, 13)}, everything else being "other".
        axes: the axes instead of dims, by position or name.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second ("256 Hz" or 256) or a unit ("10/mm"); without, frequencies are cycles a pixel.
    """

    def __init__(
        self,
        dims: Dims = None,
        bands: Bands = 8,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__(dims, axes, layout, sample_rate)
        self.dims = dims
        first = sample_rate if sample_rate is None or isinstance(sample_rate, int | float | str) else sample_rate[0]
        self._unit = read_rates(self._name, first, 1)[0].frequency_unit
        self._bands = take_bands(self._name, bands, self._unit)
        self.bands = self._bands if isinstance(self._bands, int) else show_bands(self._bands)

    def frequencies(self, size: Size) -> Tensor:
        """Magnitude of each coefficient's frequency in cycles a unit, of the worked axes' shape, float64."""
        raise NotImplementedError

    def frequency_groups(self, size: Size) -> Groups:
        """Groups of `frequencies` alone, of the worked axes' shape."""
        return group_by_bands(self.frequencies(size), self._bands, "frequency", self._unit)

    def groups(self, size: Size) -> Groups:
        """``dc`` and equally wide bands of frequency magnitude, low to high; or the named bands and ``other``."""
        groups = self.frequency_groups(size)
        rest = self.worked_size(size)[: len(size) - groups.labels.ndim]  # type: ignore[union-attr]
        labels = groups.labels.expand(*rest, *groups.labels.shape)  # type: ignore[union-attr]
        return dataclasses.replace(groups, labels=self._labels(labels, size), multiplicity=self._counts(size))

    def _counts(self, size: Size) -> Tensor | None:
        return None

    def _per_axis(self, size: Size) -> list[tuple[int, float]]:
        """Length and sampling rate of each worked axis."""
        lengths = (size[place] for place in self.places(size))
        return [(n, rate.value) for n, rate in zip(lengths, self.rates(size), strict=True)]


class FFT(Frequency):
    """Half spectrum of real data, orthonormal scaling: s = rfft(x), complex.

    Only half of the spectrum is stored, since the other half is its conjugate. A stored interior bin therefore stands
    for two: its gradient carries a factor 2 against bins at zero and Nyquist of the last axis (`multiplicity`), so
    scores sum correctly as they are, Σ scores = f(s) − f(s₀), and band means divide by the multiplicity. Parseval reads
    Σ multiplicity · |s|² = ‖x‖².

    Example:
        >>> eeg = FFT(axes="time", layout="time channel", sample_rate=256, bands={"alpha": (8, 13), "beta": (13, 30)})
        >>> tuple(eeg(torch.randn(1, 512, 3)).shape), eeg.groups((512, 3)).names
        ((1, 257, 3), ('alpha', 'beta', 'other'))
    """

    complex_coefficients = True

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., n) → (N, ..., n // 2 + 1) complex, over the worked axes, of which the last is halved."""
        require_real(self._name, x)
        s = self._forth(x, lambda y, dims: torch.fft.rfftn(y, dim=tuple(range(-dims, 0)), norm="ortho"))
        return single_leaf(s, self._name)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Real data; without ``size`` the last axis is taken to be even."""
        leaf = single_leaf(s, self._name)
        if not leaf.is_complex():
            raise ShapeError(f"{self._name}: expected complex coefficients, got {leaf.dtype}")

        def back(moved: Tree, dims: int, size: Size | None) -> Tensor:
            ends = None if size is None else tuple(size[-dims:])
            return torch.fft.irfftn(single_leaf(moved, ""), s=ends, dim=tuple(range(-dims, 0)), norm="ortho")

        return self._back(leaf, size, back)

    def multiplicity(self, size: Size) -> Tensor:
        """How many bins of the full spectrum each stored bin stands for: 1 or 2, shape of one sample's coefficients."""
        *before, last = self.worked_size(size)
        bins = half_spectrum_counts(last)
        return self._labels(bins.expand(*before, len(bins)), size)  # type: ignore[return-value]

    def frequencies(self, size: Size) -> Tensor:
        """Magnitude of each stored bin's frequency in cycles a unit (by default a pixel), of the worked axes' shape."""
        *before, (last, rate) = self._per_axis(size)
        full = [torch.fft.fftfreq(n, dtype=torch.float64) * each for n, each in before]
        return _magnitude([*full, torch.fft.rfftfreq(last, dtype=torch.float64) * rate])

    def _counts(self, size: Size) -> Tensor:
        return self.multiplicity(size)


class DCT(Frequency):
    """Orthonormal cosine transform (DCT-II): s = D x Dᵀ, real, as many coefficients as x has entries."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., n) → the same shape, over the worked axes."""
        require_real(self._name, x)
        return single_leaf(self._forth(x, lambda y, dims: _along(y, dims, dct)), self._name)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The transpose, which is the inverse."""
        leaf = single_leaf(s, self._name)
        require_real(self._name, leaf)
        return self._back(leaf, size, lambda y, dims, _: _along(single_leaf(y, ""), dims, inverse_dct))

    def frequencies(self, size: Size) -> Tensor:
        """Magnitude of each frequency in cycles a unit (by default a pixel), of the worked axes' shape."""
        return _magnitude([torch.arange(n, dtype=torch.float64) / (2 * n) * rate for n, rate in self._per_axis(size)])


def half_spectrum_counts(n: int) -> Tensor:
    """How many bins of the full spectrum of n entries each stored one stands for: (n // 2 + 1,) of 1 and 2, float64."""
    counts = torch.full((n // 2 + 1,), 2.0, dtype=torch.float64)
    counts[0] = 1.0
    if n % 2 == 0:
        counts[-1] = 1.0
    return counts


def dct(x: Tensor) -> Tensor:
    """Orthonormal DCT-II along the last axis, (..., n) → (..., n): the FFT of the entries in another order, turned."""
    n = x.shape[-1]
    if n <= DENSE:
        return x @ dct_matrix(n, x.dtype, x.device).T
    turned = torch.fft.fft(x[..., _folded(n, x.device)]) * _turns(n, x)
    return turned.real * _scales(n, x)


def inverse_dct(s: Tensor) -> Tensor:
    """The transpose of `dct`, which is its inverse, along the last axis."""
    n = s.shape[-1]
    if n <= DENSE:
        return s @ dct_matrix(n, s.dtype, s.device)
    real = s / _scales(n, s)
    mirrored = torch.cat([torch.zeros_like(real[..., :1]), real[..., 1:].flip(-1)], dim=-1)
    x = torch.fft.ifft(torch.complex(real, -mirrored) * _turns(n, s).conj()).real
    return x[..., _folded(n, s.device).argsort()]


def _along(x: Tensor, dims: int, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """A transform of the last axis, applied to the last ``dims``."""
    x = transform(x)
    for axis in range(-dims, -1):
        x = transform(x.movedim(axis, -1)).movedim(-1, axis)
    return x


def _folded(n: int, device: torch.device) -> Tensor:
    """Even places upwards, then odd ones downwards: 0, 2, 4, …, 5, 3, 1."""
    places = torch.arange(n, device=device)
    return torch.cat([places[::2], places[1::2].flip(0)])


def _turns(n: int, like: Tensor) -> Tensor:
    """exp(−iπk/2n), computed in double precision: (n,) complex."""
    angles = torch.arange(n, dtype=torch.float64) * (-math.pi / (2 * n))
    return torch.complex(angles.cos().to(like), angles.sin().to(like))


def _scales(n: int, like: Tensor) -> Tensor:
    """√(1/n), then √(2/n): (n,)."""
    scales = like.new_full((n,), math.sqrt(2 / n))
    scales[0] = math.sqrt(1 / n)
    return scales


@cache
def dct_matrix(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthonormal DCT-II matrix: D[k, i] = √(2/n) cos(π(i + ½)k/n), first row √(1/n). (n, n)."""
    with torch.inference_mode(False):
        k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
        matrix = math.sqrt(2 / n) * torch.cos(math.pi * (i + 0.5) * k / n)
        matrix[0] = math.sqrt(1 / n)
        return matrix.to(device=device, dtype=dtype)


def _magnitude(axes: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of frequencies along several axes, on their grid."""
    if len(axes) == 1:
        return axes[0].abs()
    return torch.stack([grid.square() for grid in torch.meshgrid(*axes, indexing="ij")]).sum(0).sqrt()
