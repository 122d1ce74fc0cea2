"""Wavelet coefficients: as many as the data has entries, orthonormal for orthogonal wavelets, grouped by scale."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.registry.options import one_of, whole_number
from trimkit.transforms.base import Size, Transform, spatial_axes
from trimkit.transforms.filterbank import FilterBank
from trimkit.transforms.fourier import Dims

SUBBANDS = ("horizontal", "vertical", "diagonal")
"""Details of one level of an image: edges of that direction (high-pass across it), in PyWavelets' order."""


class Multilevel(Transform):
    """What wavelet transforms share: the low part is split again and again; coefficients are a list, coarse to fine.

    Signals: [approximation, detail J, …, detail 1], leaves (N, ..., length). Images: each detail is a tuple
    (horizontal, vertical, diagonal). Level 1 is the finest. A subclass gives the filter banks.

    Args:
        levels: J ≥ 1; by default as many as leave the low part at least as long as the filter, and at least one.
        dims: work on the last axis (1) or the last two (2); by default two for (N, C, H, W), else one.
    """

    def __init__(self, levels: int | None, dims: Dims) -> None:
        super().__init__()
        one_of(self._name, (None, 1, 2), dims=dims)
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
        shortest = min(size[-spatial_axes(self._name, size, self.dims) :])
        most = math.ceil(math.log2(shortest)) if shortest else 0
        if most < 1:
            raise ShapeError(f"{self._name}: expected at least two entries along each axis, got size {tuple(size)}")
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
        size = x.shape[1:]
        image = spatial_axes(self._name, size, self.dims) == 2
        details: list[Any] = []
        for _ in range(self.depth(size)):
            x, detail = split_image(x, bank) if image else bank.analyse(x)
            details.append(detail)
        return [x, *reversed(details)]

    def synthesise(self, s: Sequence[Tree], bank: FilterBank) -> Tensor:
        """`inverse` with a bank that is at hand."""
        low, *details = s
        for detail in details:
            low = self._merge(low, detail, bank)
        return low  # type: ignore[return-value]

    def _merge(self, low: Tree, detail: Tree, bank: FilterBank) -> Tensor:
        parts = [*tree.leaves(low), *tree.leaves(detail)]
        shapes = [tuple(part.shape) for part in parts]
        if not _fit_together(shapes):
            raise ShapeError(
                f"{self._name}: coefficients of shapes {shapes} do not fit together; expected them as the transform "
                "gave them"
            )
        return bank.adjoint(parts[0], parts[1]) if len(parts) == 2 else merge_image(parts, bank)

    def groups(self, size: Size) -> Groups:
        """``approximation``, then ``detail J`` … ``detail 1``, or for images each level's three sub-bands."""
        coefficients = self(torch.zeros(1, *size))
        levels = range(len(coefficients) - 1, 0, -1)
        image = not isinstance(coefficients[1], Tensor)
        details = (f"{band} {level}" for level in levels for band in (SUBBANDS if image else ("detail",)))
        parts = [torch.full(leaf.shape[1:], i) for i, leaf in enumerate(tree.leaves(coefficients))]
        return Groups(("approximation", *details), tree.rebuild(coefficients, parts), "scale (coarse to fine)")


class Wavelet(Multilevel):
    """Discrete wavelet transform on the circle, with exactly as many coefficients as x has entries.

    Orthonormal for orthogonal wavelets (Haar, Daubechies, symlets, coiflets). For even lengths at every level the
    coefficients are those of PyWavelets' mode "periodization"; the last sample of an odd length joins the low part as
    it is. "dmey" is a truncated infinite filter whose round trip is good to one or two per cent only, so it
    counts as lossy.

    Args:
        wavelet: name of any discrete wavelet of PyWavelets, such as "haar", "db5", "sym4", "bior2.2".
        levels: J ≥ 1; by default as many as leave the low part at least as long as the filter, and at least one.
        dims: work on the last axis (1) or the last two (2); by default two for (N, C, H, W), else one.

    Example:
        >>> import torch
        >>> s = Wavelet("haar", levels=2)(torch.ones(1, 1, 4, 4))
        >>> [tuple(leaf.shape[1:]) for leaf in tree.leaves(s)][:2], round(s[0].item(), 3)
        ([(1, 1, 1), (1, 1, 1)], 4.0)
    """

    def __init__(self, wavelet: str = "db2", levels: int | None = None, dims: Dims = None) -> None:
        super().__init__(levels, dims)
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


def _fit_together(shapes: list[tuple[int, ...]]) -> bool:
    """True for the parts of one level: equal batches, and high parts as long as low ones or one entry shorter."""
    if len(shapes) == 2:
        (*batch, low), (*other, high) = shapes
        return batch == other and 0 <= low - high <= 1
    if len(shapes) != 4 or len({shape[:-2] for shape in shapes}) > 1:
        return False
    low, horizontal, vertical, diagonal = (shape[-2:] for shape in shapes)
    square = diagonal == (horizontal[0], vertical[1]) and low == (vertical[0], horizontal[1])
    return square and all(0 <= a - b <= 1 for a, b in zip(low, diagonal, strict=True))


def split_image(x: Tensor, bank: FilterBank) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """One level along the last two axes: (low, (horizontal, vertical, diagonal))."""
    left, right = bank.analyse(x)
    low, horizontal = bank.analyse(left, -2)
    vertical, diagonal = bank.analyse(right, -2)
    return low, (horizontal, vertical, diagonal)


def merge_image(parts: Sequence[Tensor], bank: FilterBank) -> Tensor:
    """The adjoint of `split_image`: [low, horizontal, vertical, diagonal] → (..., h, w)."""
    low, horizontal, vertical, diagonal = parts
    return bank.adjoint(bank.adjoint(low, horizontal, -2), bank.adjoint(vertical, diagonal, -2))
