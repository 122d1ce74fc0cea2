"""Wavelet packets: the low and the high half are split again, so that bands of frequency are equally wide."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.axes import Axes, Layout, SampleRate, span_name
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.registry.options import whole_number
from trimkit.transforms.along import Along, require_real
from trimkit.transforms.base import Size
from trimkit.transforms.filterbank import FilterBank
from trimkit.transforms.wavelet import Wavelet


class WaveletPacket(Along):
    """2^J bands of a signal, low to high, each 1/2^J of the spectrum: as many coefficients as entries.

    Coifman, Wickerhauser 1992. Orthonormal for orthogonal wavelets. A high band turns the order of the frequencies in
    it round, so its halves are swapped, and the list is in the order of frequency. For lengths that 2^J divides the
    coefficients are those of PyWavelets' mode "periodization".

    Args:
        wavelet: name of any discrete wavelet of PyWavelets.
        levels: J ≥ 1, at most log₂ of the length.
        axes: the axis, by position or name; by default the last.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second ("256 Hz" or 256) or a unit ("10/mm").

    Example:
        >>> WaveletPacket("haar", levels=2, sample_rate=64).groups((1, 16)).names
        ('0–8 Hz', '8–16 Hz', '16–24 Hz', '24–32 Hz')
    """

    _owner = "wavelet_packet"

    def __init__(
        self,
        wavelet: str = "db2",
        levels: int = 2,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__(None if axes is not None else 1, axes, layout, sample_rate)
        whole_number("wavelet_packet", levels=levels)
        self._wavelet = Wavelet(wavelet, 1)
        self.wavelet = wavelet
        self.levels = levels
        self.exact = self._wavelet.exact

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, ..., n) → 2^J leaves (N, ..., about n / 2^J), low to high frequency.

        Raises:
            OptionError: more levels than the length can be halved.
        """
        require_real(self._name, x)
        n = x.shape[1 + self.places(x.shape[1:])[0]]
        if 2**self.levels > n:
            raise OptionError(
                f"wavelet_packet: expected levels ≤ {n.bit_length() - 1} for {n} entries, got {self.levels}"
            )
        bank, _ = self._wavelet.banks(x)
        return self._forth(x, lambda y, _: _split(y, bank, self.levels))  # type: ignore[return-value]

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The signal of its bands; their shapes tell the size."""
        if isinstance(s, Tensor) or len(s) != 2**self.levels:
            raise ShapeError(f"wavelet_packet: expected a list of {2**self.levels} bands, low to high")
        _, bank = self._wavelet.banks(tree.leaves(s)[0])
        return self._back(s, size, lambda moved, *_: _merge(tree.leaves(moved), bank))

    def groups(self, size: Size) -> Groups:
        """One group a band, by its frequencies."""
        (rate,) = self.rates(size)
        bands, unit = 2**self.levels, rate.frequency_unit
        spans = tuple(itertools.pairwise((rate.value / 2 * torch.linspace(0, 1, bands + 1).double()).tolist()))
        labels = [torch.full(leaf.shape[1:], i) for i, leaf in enumerate(self(torch.zeros(1, *size)))]
        return Groups(tuple(span_name(*span, unit) for span in spans), labels, f"frequency ({unit})", spans=spans)


def _split(x: Tensor, bank: FilterBank, levels: int) -> list[Tensor]:
    bands = [x]
    for _ in range(levels):
        halves = [bank.analyse(band) for band in bands]
        bands = [half for i, pair in enumerate(halves) for half in (pair[::-1] if i % 2 else pair)]
    return bands


def _merge(bands: Sequence[Tensor], bank: FilterBank) -> Tensor:
    while len(bands) > 1:
        pairs = list(zip(bands[::2], bands[1::2], strict=True))
        bands = [bank.adjoint(b, a) if i % 2 else bank.adjoint(a, b) for i, (a, b) in enumerate(pairs)]
    return bands[0]
