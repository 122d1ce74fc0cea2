"""Frequency coefficients: the real Fourier transform (half spectrum) and the orthonormal cosine transform."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError
from trimkit.registry.options import one_of, whole_number
from trimkit.transforms.base import Size, Transform, single_leaf, spatial_axes

Dims = Literal[1, 2] | None

DENSE = 256
"""Up to this length a cosine transform is one product with its matrix; beyond it, an FFT, which needs no n² numbers."""


class _Frequency(Transform):
    """What FFT and DCT share: trailing axes, and groups by the magnitude of the frequency.

    Args:
        dims: transform the last axis (1) or the last two (2); by default two for (N, C, H, W), else one.
        bands: number of equally wide frequency bands into which everything above zero frequency is grouped.
    """

    def __init__(self, dims: Dims = None, bands: int = 8) -> None:
        super().__init__()
        one_of(self._name, (None, 1, 2), dims=dims)
        whole_number(self._name, bands=bands)
        self.dims = dims
        self.bands = bands

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()

    def _spatial(self, size: Size) -> int:
        return spatial_axes(self._name, size, self.dims)

    def _check(self, x: Tensor) -> int:
        if x.is_complex() or x.dtype not in (torch.float32, torch.float64):
            raise ShapeError(f"{self._name}: expected float32 or float64 data, got {x.dtype}; convert with x.float()")
        axes = self._spatial(x.shape[1:])
        if 1 in x.shape[-axes:]:
            raise ShapeError(
                f"{self._name}: expected at least 2 entries along the last {f'{axes} axes' if axes > 1 else 'axis'} of "
                f"a sample, got size {tuple(x.shape[1:])}; put the axis that varies last, e.g. x.transpose(1, 2) for "
                "signals (N, time, channels)"
            )
        return axes


class FFT(_Frequency):
    """Half spectrum of real data, orthonormal scaling: s = rfft(x), complex.

    Only half of the spectrum is stored, since the other half is its conjugate. A stored interior bin therefore stands
    for two: its gradient carries a factor 2 against bins at zero and Nyquist of the last axis (`multiplicity`), so
    scores sum correctly as they are, Σ scores = f(s) − f(s₀), and band means divide by the multiplicity. Parseval reads
    Σ multiplicity · |s|² = ‖x‖².
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., n) → (N, ..., n // 2 + 1) complex, over the last one or two axes."""
        return torch.fft.rfftn(x, dim=tuple(range(-self._check(x), 0)), norm="ortho")

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Real data; without ``size`` the last axis is taken to be even."""
        leaf = single_leaf(s, "fft")
        if not leaf.is_complex():
            raise ShapeError(f"fft: expected complex coefficients, got {leaf.dtype}")
        dims = self._spatial(leaf.shape[1:])
        return torch.fft.irfftn(leaf, s=size and tuple(size[-dims:]), dim=tuple(range(-dims, 0)), norm="ortho")

    def multiplicity(self, size: Size) -> Tensor:
        """How many bins of the full spectrum each stored bin stands for: 1 or 2, shape of one sample's coefficients."""
        last = size[-1]
        bins = torch.full((last // 2 + 1,), 2.0, dtype=torch.float64)
        bins[0] = 1.0
        if last % 2 == 0:
            bins[-1] = 1.0
        return bins.expand(*size[:-1], len(bins))

    def frequencies(self, size: Size) -> Tensor:
        """Magnitude of each stored bin's frequency in cycles a pixel, of the spatial axes' shape."""
        last = torch.fft.rfftfreq(size[-1], dtype=torch.float64)
        return _magnitude(last, torch.fft.fftfreq(size[-2], dtype=torch.float64)) if self._spatial(size) == 2 else last

    def groups(self, size: Size) -> Groups:
        """``dc`` and equally wide bands of frequency magnitude, low to high."""
        shape = (*size[:-1], size[-1] // 2 + 1)
        return _band_groups(self.frequencies(size), self.bands, shape, self.multiplicity(size))


class DCT(_Frequency):
    """Orthonormal cosine transform (DCT-II): s = D x Dᵀ, real, as many coefficients as x has entries."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., n) → the same shape, over the last one or two axes."""
        return _along(x, self._check(x), dct)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The transpose, which is the inverse."""
        leaf = single_leaf(s, "dct")
        return _along(leaf, self._check(leaf), inverse_dct)

    def groups(self, size: Size) -> Groups:
        """``dc`` and equally wide bands of frequency magnitude, low to high."""
        axes = [torch.arange(n, dtype=torch.float64) / (2 * n) for n in size[-self._spatial(size) :]]  # cycles/pixel
        frequencies = _magnitude(axes[1], axes[0]) if len(axes) == 2 else axes[0]
        return _band_groups(frequencies, self.bands, tuple(size))


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
    """A transform of the last axis, applied to the last one or two."""
    x = transform(x)
    return transform(x.mT).mT if dims == 2 else x


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


def radial_bands(frequencies: Tensor, bands: int) -> Tensor:
    """Label frequencies: 0 for zero frequency, 1 … bands for equally wide bands up to the largest."""
    top = frequencies.max().clamp_min(torch.finfo(frequencies.dtype).tiny)
    return torch.where(frequencies == 0, 0, (frequencies / top * bands - 1e-9).ceil().clamp(1, bands)).long()


def band_names(frequencies: Tensor, bands: int) -> tuple[str, ...]:
    """Names of the labels of `radial_bands`: "dc", "0.00–0.09", … in cycles a pixel."""
    edges = torch.linspace(0, float(frequencies.max()), bands + 1).tolist()
    return ("dc", *(f"{low:.3f}–{high:.3f}" for low, high in itertools.pairwise(edges)))


def _magnitude(columns: Tensor, rows: Tensor) -> Tensor:
    return torch.sqrt(rows[:, None] ** 2 + columns**2)


def _band_groups(frequencies: Tensor, bands: int, shape: Size, multiplicity: Tensor | None = None) -> Groups:
    labels = radial_bands(frequencies, bands).expand(*shape)
    return Groups(band_names(frequencies, bands), labels, "frequency (cycles/pixel)", multiplicity)
