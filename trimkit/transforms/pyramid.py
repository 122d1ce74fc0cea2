"""The Laplacian pyramid: a coarse version of the data, and the detail that each doubling of resolution adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.registry.options import one_of, whole_number
from trimkit.transforms.base import Size, Transform, spatial_axes
from trimkit.transforms.fourier import Dims


class LaplacianPyramid(Transform):
    """Coefficients [coarse, detail J, …, detail 1]: detail j = G_{j−1} − expand(G_j), G_j = reduce(G_{j−1}), G₀ = x.

    Burt, Adelson 1983, with the binomial filter (1, 4, 6, 4, 1)/16 and edges repeated. Any coefficients give data,
    x = detail 1 + expand(detail 2 + expand(…)), so the round trip is exact for every size. About 4/3 (images) or 2
    (signals) times as many numbers as x has: sparsity is not comparable with that of an orthonormal transform.

    Args:
        levels: J ≥ 1; by default as many as leave the coarse version at least 4 entries along each axis, at most 3, and
            at least one.
        dims: work on the last axis (1) or the last two (2); by default two for (N, C, H, W), else one.
    """

    def __init__(self, levels: int | None = None, dims: Dims = None) -> None:
        super().__init__()
        one_of("laplacian_pyramid", (None, 1, 2), dims=dims)
        whole_number("laplacian_pyramid", levels=1 if levels is None else levels)
        self.levels = levels
        self.dims = dims

    def depth(self, size: Size) -> int:
        """Number of levels for samples of this size.

        Raises:
            OptionError: more levels than the longest axis can be halved.
        """
        axes = size[-self._axes(size) :]
        most = max(1, math.ceil(math.log2(max(axes))))
        if self.levels is None:
            return max(1, min(3, int(math.log2(max(1.0, min(axes) / 4)))))
        if self.levels > most:
            raise OptionError(
                f"laplacian_pyramid: expected levels ≤ {most} for samples of size {tuple(size)}, got {self.levels}; "
                "lower levels, or leave it out"
            )
        return self.levels

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, *size) → [coarse, detail J, …, detail 1], leaves (N, ...), coarse to fine."""
        if not x.is_floating_point():
            raise ShapeError(f"laplacian_pyramid: expected real floating data, got {x.dtype}; convert with x.float()")
        axes = self._axes(x.shape[1:])
        details: list[Tensor] = []
        for _ in range(self.depth(x.shape[1:])):
            coarse = reduce(x, axes)
            details.append(x - expand(coarse, x.shape, axes))
            x = coarse
        return [x, *reversed(details)]

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Data of the list of coefficients; their shapes tell the size.

        Raises:
            ShapeError: anything but a list as `forward` gives it.
        """
        if isinstance(s, Tensor) or not isinstance(s, Sequence) or len(s) < 2:
            raise ShapeError("laplacian_pyramid: expected a list [coarse, detail J, …, detail 1] of tensors")
        x, *details = tree.leaves(s)
        for detail in details:
            axes = self._axes(detail.shape[1:])
            if x.shape[-axes:] != halved(detail.shape, axes)[-axes:]:
                raise ShapeError(
                    f"laplacian_pyramid: a level of shape {tuple(x.shape)} does not fit the next, "
                    f"{tuple(detail.shape)}; expected coefficients as the transform gave them"
                )
            x = detail + expand(x, detail.shape, axes)
        return x

    def groups(self, size: Size) -> Groups:
        """``coarse``, then ``detail J`` … ``detail 1``."""
        axes, depth = self._axes(size), self.depth(size)
        shapes = [tuple(size)]
        for _ in range(depth):
            shapes.append(halved(shapes[-1], axes))
        coarse_to_fine = [shapes[depth], *reversed(shapes[:depth])]
        labels = [torch.full(shape, i) for i, shape in enumerate(coarse_to_fine)]
        return Groups(("coarse", *(f"detail {j}" for j in range(depth, 0, -1))), labels, "scale (coarse to fine)")

    def _axes(self, size: Size) -> int:
        return spatial_axes("laplacian_pyramid", size, self.dims)


def halved(shape: Size, axes: int) -> tuple[int, ...]:
    """The shape with its last axes halved, rounded up."""
    return (*shape[:-axes], *(-(-n // 2) for n in shape[-axes:]))


def reduce(x: Tensor, axes: int) -> Tensor:
    """Blur with (1, 4, 6, 4, 1)/16 and keep every second entry, along the last axes: n → ⌈n/2⌉."""
    for axis in range(-axes, 0):
        x = _along_last(x, axis, _reduce)
    return x


def expand(x: Tensor, shape: Size, axes: int) -> Tensor:
    """Double the resolution by interpolation with 2·(1, 4, 6, 4, 1)/16, and cut to the shape, along the last axes."""
    for axis in range(-axes, 0):
        x = _along_last(x, axis, _expand).narrow(axis, 0, shape[axis])
    return x


def _along_last(x: Tensor, axis: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    return function(x) if axis == -1 else function(x.mT).mT


def _reduce(x: Tensor) -> Tensor:
    padded = _repeat_edges(x, 2)
    n = x.shape[-1]
    a, b, c, d, e = (padded[..., k : k + n : 2] for k in range(5))
    return (a + e + 4 * (b + d) + 6 * c) / 16


def _expand(x: Tensor) -> Tensor:
    padded = _repeat_edges(x, 1)
    before, after = padded[..., :-2], padded[..., 2:]
    return torch.stack([(before + 6 * x + after) / 8, (x + after) / 2], dim=-1).flatten(-2)


def _repeat_edges(x: Tensor, width: int) -> Tensor:
    flat = x.reshape(-1, 1, x.shape[-1])
    return functional.pad(flat, (width, width), mode="replicate").reshape(*x.shape[:-1], -1)
