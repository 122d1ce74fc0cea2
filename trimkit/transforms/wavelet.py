"""Wavelet coefficients: as many as the data has entries, orthonormal for orthogonal wavelets, grouped by scale."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.axes import Axes, Layout, SampleRate, axis_names, span_name
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.registry.options import whole_number
from trimkit.transforms.along import Along, Dims
from trimkit.transforms.base import Size
from trimkit.transforms.filterbank import FilterBank

SUBBANDS = ("horizontal", "vertical", "diagonal")
"""Details of one level of an image: edges of that direction (high-pass across it), in PyWavelets' order."""


class Multilevel(Along):
    """What wavelet transforms share: the low part is split again and again; coefficients are a list, coarse to fine.

    Signals: [approximation, detail J, …, detail 1], leaves (N, ..., length). Images: each detail is a tuple
    (horizontal, vertical, diagonal). Volumes: a tuple of seven, from high-pass along the first axis alone to along all
    three. Level 1 is the finest. A subclass gives the filter banks.

    Args:
        levels: J ≥ 1; by default as many as leave the low part at least as long as the filter, and at least one.
        dims: work on the last one, two or three axes; by default two for (N, C, H, W), else one.
        axes: the axes instead of dims, by position or name.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second, or a unit: names the details of signals by their octave of frequency.
    """

    def __init__(
        self,
        levels: int | None,
        dims: Dims = None,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__(dims, axes, layout, sample_rate)
        whole_number(self._name, levels=1 if levels is None else levels)
        self.levels = levels
        self.dims = dims

    @property
    @abstractmethod
    def filter_length(self) -> int:
        """L, the number of taps of each filter."""

    @abstractmethod
    def banks(self, like: Tensor) -> tuple[FilterBank, FilterBank]:
        """The bank that analyses, and the bank whose adjoint is the inverse, of the type and device of a tensor."""

    @property
    def _name(self) -> str:
        return type(self).__name__

    def depth(self, size: Size) -> int:
        """Number of levels for samples of this size.

        Raises:
            ShapeError: an axis of fewer than two entries.
            OptionError: more levels than the shortest axis can be halved.
        """
        shortest = min(size[place] for place in self.places(size))
        most = math.ceil(math.log2(shortest))
        if self.levels is None:
            return max(1, int(math.log2(max(1.0, shortest / (self.filter_length - 1)))))
        if self.levels > most:
            raise OptionError(
                f"{self._name}: expected levels ≤ {most} for samples of size {tuple(size)}, got {self.levels}; "
                "lower levels, or leave it out"
            )
        return self.levels

    def forward(self, x: Tensor) -> list[Any]:
        """(N, *size) → the list of coefficients; they are as many as the entries of x."""
        return self.analyse(x, self.banks(x)[0])

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Data of the list of coefficients; their shapes tell the size.

        Raises:
            ShapeError: anything but a list as `forward` gives it.
        """
        if isinstance(s, Tensor) or not isinstance(s, Sequence) or len(s) < 2:
            raise ShapeError(
                f"{self._name}: expected a list [approximation, detail J, …, detail 1], got {type(s).__name__}"
            )
        return self.synthesise(s, self.banks(tree.leaves(s)[0])[1])

    def analyse(self, x: Tensor, bank: FilterBank) -> list[Any]:
        """`forward` with a bank that is at hand."""
        if not x.is_floating_point():
            raise ShapeError(f"{self._name}: expected real floating data, got {x.dtype}; convert with x.float()")
        depth = self.depth(x.shape[1:])

        def split(low: Tensor, dims: int) -> Tree:
            details: list[Any] = []
            for _ in range(depth):
                low, *detail = split_axes(low, bank, dims)
                details.append(detail[0] if dims == 1 else tuple(detail))
            return [low, *reversed(details)]

        return self._forth(x, split)  # type: ignore[return-value]

    def synthesise(self, s: Tree, bank: FilterBank) -> Tensor:
        """`inverse` with a bank that is at hand."""

        def merge(moved: Any, dims: int, _: Size | None) -> Tensor:
            low, *details = moved
            for detail in details:
                low = self._merge([low, *tree.leaves(detail)], bank, dims)
            return low

        return self._back(s, None, merge)

    def _merge(self, parts: list[Tensor], bank: FilterBank, dims: int) -> Tensor:
        shapes = [tuple(part.shape) for part in parts]
        if not _fit_together(shapes, dims):
            raise ShapeError(
                f"{self._name}: coefficients of shapes {shapes} do not fit together; expected them as the transform "
                "gave them"
            )
        return merge_axes(parts, bank, dims)

    def groups(self, size: Size) -> Groups:
        """``approximation``, then ``detail J`` … ``detail 1``, or each level's three sub-bands, of volumes seven."""
        coefficients = self(torch.zeros(1, *size))
        depth = len(coefficients) - 1
        levels = range(depth, 0, -1)
        parts = [torch.full(leaf.shape[1:], i) for i, leaf in enumerate(tree.leaves(coefficients))]
        labels = tree.rebuild(coefficients, parts)
        if self.sampled and len(self.places(size)) == 1:
            return self._groups_by_octave(labels, depth, size)
        details = (f"{band} {level}" for level in levels for band in self._subbands(size))
        return Groups(("approximation", *details), labels, "scale (coarse to fine)")

    def _groups_by_octave(self, labels: Tree, depth: int, size: Size) -> Groups:
        (rate,) = self.rates(size)
        edges = [0.0, *(rate.value / 2 ** (j + 1) for j in range(depth, -1, -1))]
        spans = tuple(itertools.pairwise(edges))
        kinds = ("approximation", *(f"detail {j}" for j in range(depth, 0, -1)))
        names = (f"{kind}, {span_name(*span, rate.frequency_unit)}" for kind, span in zip(kinds, spans, strict=True))
        return Groups(tuple(names), labels, f"frequency ({rate.frequency_unit})", spans=spans)

    def _subbands(self, size: Size) -> Sequence[str]:
        places = self.places(size)
        if len(places) < 3:
            return SUBBANDS if len(places) == 2 else ("detail",)
        names = [axis_names(self._name, self._where[2], len(size))[place] for place in places]
        return ["+".join(n for i, n in enumerate(names) if part >> i & 1) for part in range(1, 2 ** len(names))]


class Wavelet(Multilevel):
    """Discrete wavelet transform on the circle, with exactly as many coefficients as x has entries.

    Orthonormal for orthogonal wavelets (Haar, Daubechies, symlets, coiflets). For even lengths at every level the
    coefficients are those of PyWavelets' mode "periodization"; the last sample of an odd length joins the low part as
    it is. "dmey" is a truncated infinite filter whose round trip is good to one or two per cent only, so it
    counts as lossy.

    Args:
        wavelet: name of any discrete wavelet of PyWavelets, such as "haar", "db5", "sym4", "bior2.2".
        levels: J ≥ 1; by default as many as leave the low part at least as long as the filter, and at least one.
        dims: work on the last one, two or three axes; by default two for (N, C, H, W), else one.
        axes: the axes instead of dims, by position or name.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second, or a unit: names the details of signals by their octave of frequency.

    Example:
        >>> import torch
        >>> s = Wavelet("haar", levels=2)(torch.ones(1, 1, 4, 4))
        >>> [tuple(leaf.shape[1:]) for leaf in tree.leaves(s)][:2], round(s[0].item(), 3)
        ([(1, 1, 1), (1, 1, 1)], 4.0)
    """

    def __init__(
        self,
        wavelet: str = "db2",
        levels: int | None = None,
        dims: Dims = None,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__(levels, dims, axes, layout, sample_rate)
        self.wavelet = wavelet
        self.exact = wavelet != "dmey"
        self._length = len(pywt_filters(wavelet, "wavelet")[0])

    @property
    def filter_length(self) -> int:
        """L, the number of taps of each filter."""
        return self._length

    def banks(self, like: Tensor) -> tuple[FilterBank, FilterBank]:
        """The bank that analyses, and the bank whose adjoint is the inverse; the same for orthogonal wavelets."""
        return _fixed_banks(self.wavelet, like.dtype, like.device)


def pywt_filters(wavelet: str, label: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Low- and high-pass filters of analysis, then those whose adjoint inverts it, by the wavelet's name.

    Raises:
        OptionError: PyWavelets has no discrete wavelet of that name; names the nearest.
    """
    import pywt

    known = pywt.wavelist(kind="discrete")  # type: ignore[attr-defined]
    if wavelet not in known:
        raise OptionError(f"{label}: there is no discrete wavelet {wavelet!r}. {nearest(str(wavelet), known)}")
    found = pywt.Wavelet(wavelet)  # type: ignore[attr-defined]
    return found.dec_lo, found.dec_hi, found.rec_lo[::-1], found.rec_hi[::-1]


@cache
def _fixed_banks(wavelet: str, dtype: torch.dtype, device: torch.device) -> tuple[FilterBank, FilterBank]:
    low, high, low_back, high_back = pywt_filters(wavelet, "wavelet")
    with torch.inference_mode(False):
        forth, back = (torch.tensor(pair, dtype=dtype, device=device) for pair in ((low, high), (low_back, high_back)))
        bank = FilterBank(forth)
        return bank, (bank if torch.equal(forth, back) else FilterBank(back))


def _fit_together(shapes: list[tuple[int, ...]], dims: int) -> bool:
    """True for the parts of one level: equal batches, and high parts as long as low ones or one entry shorter."""
    if len(shapes) != 2**dims or len({(len(shape), shape[:-dims]) for shape in shapes}) > 1:
        return False
    low, high = shapes[0][-dims:], shapes[-1][-dims:]
    if not all(0 <= a - b <= 1 for a, b in zip(low, high, strict=True)):
        return False
    expected = [tuple((low, high)[part >> i & 1][i] for i in range(dims)) for part in range(2**dims)]
    return [shape[-dims:] for shape in shapes] == expected


def split_axes(x: Tensor, bank: FilterBank, dims: int) -> list[Tensor]:
    """One level along the last ``dims`` axes: 2^dims parts.

    Bit i of a part's index says that it is high along the i-th of these axes: low, horizontal, vertical, diagonal.
    """
    parts = [x]
    for axis in range(-1, -dims - 1, -1):
        parts = [half for part in parts for half in bank.analyse(part, axis)]
    return parts


def merge_axes(parts: Sequence[Tensor], bank: FilterBank, dims: int) -> Tensor:
    """The adjoint of `split_axes`: 2^dims parts → (..., d, h, w)."""
    for axis in range(-dims, 0):
        parts = [bank.adjoint(low, high, axis) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]
