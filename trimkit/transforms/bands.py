"""Components that sum to the data: one for each band of frequency."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError
from trimkit.registry.options import whole_number
from trimkit.transforms.base import Size, Transform, single_leaf
from trimkit.transforms.fourier import FFT, Dims, band_names, radial_bands


class FrequencyBands(Transform):
    """x = Σ_b s_b, where s_b keeps the Fourier bins of band b: zero frequency, then equally wide bands, low to high.

    The components are images (or signals) themselves, so a score says *where* in the picture a band matters. They hold
    bands + 1 times as many numbers as x: sparsity is not comparable with that of an orthonormal transform.

    Args:
        dims: bands over the last axis (1) or the last two (2); by default two for (N, C, H, W), else one.
        bands: number of bands above zero frequency, at least 1.
    """

    def __init__(self, dims: Dims = None, bands: int = 4) -> None:
        super().__init__()
        whole_number("frequency_bands", bands=bands)
        self.bands = bands
        self._fft = FFT(dims)

    def forward(self, x: Tensor) -> Tensor:
        """(N, *size) → (N, bands + 1, *size)."""
        size = tuple(x.shape[1:])
        spectrum = self._fft(x)
        masks = _band_masks(size, self._fft.dims, self.bands, x.device)
        return self._fft.inverse((spectrum[:, None] * masks).flatten(0, 1), size).unflatten(0, (len(x), self.bands + 1))

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Sum of the components: (N, bands + 1, *size) → (N, *size)."""
        leaf = single_leaf(s, "frequency_bands")
        if leaf.ndim < 3 or leaf.shape[1] != self.bands + 1:
            raise ShapeError(
                f"frequency_bands: expected (N, {self.bands + 1}, ...) components, got {tuple(leaf.shape)}"
            )
        return leaf.sum(1)

    def groups(self, size: Size) -> Groups:
        """One group a band."""
        names = band_names(self._fft.frequencies(size), self.bands)
        labels = torch.arange(len(names)).reshape(-1, *[1] * len(size)).expand(-1, *size)
        return Groups(names, labels, "frequency (cycles/pixel)")


@lru_cache(maxsize=16)
def _band_masks(size: Size, dims: Dims, bands: int, device: torch.device) -> Tensor:
    """True for the bins of each band: (bands + 1, 1, ..., *bins), which broadcasts to the spectrum of one sample."""
    with torch.inference_mode(False):
        labels = radial_bands(FFT(dims).frequencies(size), bands)
        masks = labels == torch.arange(bands + 1).reshape(-1, *[1] * labels.ndim)
        return masks.reshape(bands + 1, *[1] * (len(size) - labels.ndim), *labels.shape).to(device)
