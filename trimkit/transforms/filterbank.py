"""One level of a wavelet transform: a circular two-channel filter bank that keeps the number of samples."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

DENSE = 256
"""Up to this length one level is one matrix product, beyond it one a block: faster than convolutions, as measured."""

BLOCK = 64
"""Samples in a block, or the filter's length where that is larger."""


class FilterBank:
    """Low- and high-pass filtering with every second sample kept: n samples → ⌈n/2⌉ low and ⌊n/2⌋ high ones.

    y[o] = Σ_j f[j] x[(2o + L/2 − j) mod n], as "periodization" in PyWavelets. The last sample of an odd length passes
    through as the last low one, so that an orthogonal bank is an orthonormal map for every n ≥ 2.

    Args:
        filters: (2, L) low- and high-pass filter, L even; of the data's type and device.
    """

    def __init__(self, filters: Tensor) -> None:
        self.filters = filters
        self._matrices: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    def analyse(self, x: Tensor, axis: int = -1) -> tuple[Tensor, Tensor]:
        """Low and high part along an axis, −1, −2 …: (..., n) → (..., ⌈n/2⌉), (..., ⌊n/2⌋)."""
        if axis < -2:
            low, high = self.analyse(x.movedim(axis, -1))
            return low.movedim(-1, axis), high.movedim(-1, axis)
        if self._dense(x.shape[axis]):
            low, high = self.matrices(x.shape[axis])
            return (low @ x, high @ x) if axis == -2 else (x @ low.T, x @ high.T)
        if axis == -2:
            low, high = self.analyse(x.mT)
            return low.mT, high.mT
        return self.analyse_blocks(x)

    def adjoint(self, low: Tensor, high: Tensor, axis: int = -1) -> Tensor:
        """The transpose of `analyse`, which is its inverse where the bank is orthogonal; shapes as there."""
        if axis < -2:
            return self.adjoint(low.movedim(axis, -1), high.movedim(axis, -1)).movedim(-1, axis)
        n = low.shape[axis] + high.shape[axis]
        if self._dense(n):
            above, below = self.matrices(n)
            return above.T @ low + below.T @ high if axis == -2 else low @ above + high @ below
        if axis == -2:
            return self.adjoint(low.mT, high.mT).mT
        return self.adjoint_blocks(low, high)

    def matrices(self, n: int) -> tuple[Tensor, Tensor]:
        """`analyse` as matrices: (⌈n/2⌉, n) for the low part, (⌊n/2⌋, n) for the high one; filters beyond n wrap."""
        if ("whole", n) not in self._matrices:
            self._matrices["whole", n] = _whole(self.filters, n)
        return self._matrices["whole", n]

    def analyse_blocks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`analyse` along the last axis, block by block, each with a halo of its neighbours; n ≥ 2L."""
        n, halo, size = x.shape[-1] // 2 * 2, self._length // 2 - 1, self._size
        above, below = self._block()
        even = x[..., :n].reshape(-1, 1, n)
        around = functional.pad(even, (halo, halo - n % -size), mode="circular")[:, 0]
        blocks = around.unfold(-1, above.shape[1], size).reshape(-1, above.shape[1])
        low, high = ((blocks @ side.T).reshape(*x.shape[:-1], -1)[..., : n // 2] for side in (above, below))
        return (low if n == x.shape[-1] else torch.cat([low, x[..., n:]], dim=-1)), high

    def adjoint_blocks(self, low: Tensor, high: Tensor) -> Tensor:
        """The transpose of `analyse_blocks`."""
        n, size = 2 * high.shape[-1], self._size
        above, below = self._block()
        spans = _in_blocks(low[..., : n // 2], size // 2) @ above + _in_blocks(high, size // 2) @ below
        own, beyond = functional.pad(spans, (0, 2 * size - spans.shape[-1])).split(size, dim=-1)
        spread = functional.pad(own.flatten(-2), (0, size)) + functional.pad(beyond.flatten(-2), (size, 0))
        even = _on_circle(spread, n, self._length // 2 - 1)
        return even if low.shape[-1] == n // 2 else torch.cat([even, low[..., n // 2 :]], dim=-1)

    @property
    def _length(self) -> int:
        return self.filters.shape[1]

    @property
    def _size(self) -> int:
        return max(BLOCK, self._length)

    def _dense(self, n: int) -> bool:
        return n <= max(DENSE, 2 * self._length)

    def _block(self) -> tuple[Tensor, Tensor]:
        """Matrices that take a block and its halo to the block's low and high outputs: (size/2, size + L − 2) each."""
        size = self._size
        if ("block", size) not in self._matrices:
            kernels = functional.pad(self.filters.flip(1), (size - 2, size - 2))
            outputs = torch.arange(0, size, 2, device=kernels.device)[:, None]
            inputs = torch.arange(size + self._length - 2, device=kernels.device)
            low, high = kernels[:, inputs - outputs + size - 2]
            self._matrices["block", size] = low, high
        return self._matrices["block", size]


def _whole(filters: Tensor, n: int) -> tuple[Tensor, Tensor]:
    even, length = n // 2 * 2, filters.shape[1]
    folded = functional.pad(filters, (0, -length % even))
    if length > even:
        folded = folded.unflatten(1, (-1, even)).sum(1)
    low, high = folded.index_select(1, _taps(even, length, filters.device)).unflatten(1, (-1, even))
    if n == even:
        return low, high
    passed = functional.one_hot(torch.tensor([n - 1], device=filters.device), n).to(filters.dtype)
    return torch.cat([functional.pad(low, (0, 1)), passed]), functional.pad(high, (0, 1))


@cache
def _taps(n: int, length: int, device: torch.device) -> Tensor:
    """Which tap takes input i to output o, (2o + L/2 − i) mod n, row by row: (n²/2,)."""
    with torch.inference_mode(False):
        outputs, inputs = torch.arange(0, n, 2, device=device), torch.arange(n, device=device)
        return ((outputs[:, None] + length // 2 - inputs) % n).flatten()


def _in_blocks(y: Tensor, size: int) -> Tensor:
    """(..., n) → (..., ⌈n/size⌉, size), zeros appended."""
    return functional.pad(y, (0, -y.shape[-1] % size)).unflatten(-1, (-1, size))


def _on_circle(spread: Tensor, n: int, before: int) -> Tensor:
    """Add what lies on −before … −1 and from n on to its place on the circle: (..., before + n + …) → (..., n)."""
    twice = functional.pad(spread, (0, 2 * n - spread.shape[-1])).roll(-before, dims=-1)
    return twice[..., :n] + twice[..., n:]
