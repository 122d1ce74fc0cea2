"""Components that sum to the data: one for each band of frequency."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from trimkit.coefficients.axes import Axes, Bands, Layout, SampleRate
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError
from trimkit.transforms.along import Dims
from trimkit.transforms.base import Size, Transform, single_leaf
from trimkit.transforms.fourier import FFT


class FrequencyBands(Transform):
    """x = Σ_b s_b, where s_b keeps the Fourier bins of band b: zero frequency, then equally wide bands, low to high.

    The components are images (or signals) themselves, so a score says *where* in the picture a band matters. They hold
    bands + 1 times as many numbers as x: sparsity is not comparable with that of an orthonormal transform.

    Args:
        dims: bands over the last one, two or three axes; by default two for (N, C, H, W), else one.
        bands: number of bands above zero frequency, at least 1; or named bands, see `FFT`, and "other" for the rest.
        axes: the axes instead of dims, by position or name.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second ("256 Hz" or 256) or a unit ("10/mm").
    """

    def __init__(
        self,
        dims: Dims = None,
        bands: Bands = 4,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__()
        self._fft = _Spectrum(dims, bands, axes, layout, sample_rate)
        self.bands = self._fft.bands
        self._masks: dict[tuple[Size, torch.device], Tensor] = {}

    @property
    def count(self) -> int:
        """Number of components."""
        bands = self._fft._bands
        return 1 + (bands if isinstance(bands, int) else len(bands))

    def places(self, size: Size) -> tuple[int, ...]:
        """The axes over which bands are taken, as places in the shape of one sample."""
        return self._fft.places(size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, *size) → (N, bands + 1, *size)."""
        size = tuple(x.shape[1:])
        parts = self._fft(x)[:, None] * self._band_masks(size, x.device)
        return self._fft.inverse(parts.flatten(0, 1), size).unflatten(0, (len(x), self.count))

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Sum of the components: (N, bands + 1, *size) → (N, *size)."""
        leaf = single_leaf(s, "frequency_bands")
        if leaf.ndim < 3 or leaf.shape[1] != self.count:
            raise ShapeError(f"frequency_bands: expected (N, {self.count}, ...) components, got {tuple(leaf.shape)}")
        return leaf.sum(1)

    def groups(self, size: Size) -> Groups:
        """One group a band."""
        groups = self._fft.frequency_groups(size)
        labels = torch.arange(self.count).reshape(-1, *[1] * len(size)).expand(-1, *size)
        return dataclasses.replace(groups, labels=labels)

    def _band_masks(self, size: Size, device: torch.device) -> Tensor:
        """True for the bins of each band: (bands + 1, *bins)."""
        if (size, device) not in self._masks:
            with torch.inference_mode(False):
                labels: Tensor = self._fft.groups(size).labels  # type: ignore[assignment]
                masks = labels == torch.arange(self.count).reshape(-1, *[1] * labels.ndim)
                self._masks[size, device] = masks.to(device)
        return self._masks[size, device]


class _Spectrum(FFT):
    _owner = "frequency_bands"
