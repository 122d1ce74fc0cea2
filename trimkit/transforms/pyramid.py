"""The Laplacian pyramid: a coarse version of the data, and the detail that each doubling of resolution adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trimkit.coefficients import tree
from trimkit.coefficients.axes import Axes, Layout
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.registry.options import whole_number
from trimkit.transforms.along import Along, Dims
from trimkit.transforms.base import Size


class LaplacianPyramid(Along):
    """Coefficients [coarse, detail J, …, detail 1]: detail j = G_{j−1} − expand(G_j), G_j = reduce(G_{j−1}), G₀ = x.

    Burt, Adelson 1983, with the binomial filter (1, 4, 6, 4, 1)/16 and edges repeated. Any coefficients give data,
    x = detail 1 + expand(detail 2 + expand(…)), so the round trip is exact for every size. About 4/3 (images) or 2
    (signals) times as many numbers as x has: sparsity is not comparable with that of an orthonormal transform.

    Args:
        levels: J ≥ 1; by default as many as leave the coarse version at least 4 entries along each axis, at most 3, and
            at least one.
        dims: work on the last one, two or three axes; by default two for (N, C, H, W), else one.
        axes: the axes instead of dims, by position or name.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
    """

    _owner = "laplacian_pyramid"

    def __init__(self, levels: int | None = None, dims: Dims = None, axes: Axes = None, layout: Layout = None) -> None:
        super().__init__(dims, axes, layout)
        whole_number("laplacian_pyramid", levels=1 if levels is None else levels)
        self.levels = levels
        self.dims = dims

    def depth(self, size: Size) -> int:
        """Number of levels for samples of this size.

        Raises:
            OptionError: more levels than the longest axis can be halved.
        """
        axes = [size[place] for place in self.places(size)]
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
        depth = self.depth(x.shape[1:])

        def split(y: Tensor, dims: int) -> Tree:
            details: list[Tensor] = []
            for _ in range(depth):
                coarse = reduce(y, dims)
                details.append(y - expand(coarse, y.shape, dims))
                y = coarse
            return [y, *reversed(details)]

        return self._forth(x, split)  # type: ignore[return-value]

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Data of the list of coefficients; their shapes tell the size.

        Raises:
            ShapeError: anything but a list as `forward` gives it.
        """
        if isinstance(s, Tensor) or not isinstance(s, Sequence) or len(s) < 2:
            raise ShapeError("laplacian_pyramid: expected a list [coarse, detail J, …, detail 1] of tensors")
        return self._back(s, None, lambda moved, dims, _: _sum_up(tree.leaves(moved), dims))

    def groups(self, size: Size) -> Groups:
        """``coarse``, then ``detail J`` … ``detail 1``."""
        depth, dims = self.depth(size), len(self.places(size))
        shapes = [self.worked_size(size)]
        for _ in range(depth):
            shapes.append(halved(shapes[-1], dims))
        coarse_to_fine = [shapes[depth], *reversed(shapes[:depth])]
        labels = self._labels([torch.full(shape, i) for i, shape in enumerate(coarse_to_fine)], size)
        return Groups(("coarse", *(f"detail {j}" for j in range(depth, 0, -1))), labels, "scale (coarse to fine)")


def _sum_up(leaves: Sequence[Tensor], dims: int) -> Tensor:
    x, *details = leaves
    for detail in details:
        if x.shape[-dims:] != halved(detail.shape, dims)[-dims:]:
            raise ShapeError(
                f"laplacian_pyramid: a level of shape {tuple(x.shape)} does not fit the next, "
                f"{tuple(detail.shape)}; expected coefficients as the transform gave them"
            )
        x = detail + expand(x, detail.shape, dims)
    return x


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
    return function(x.movedim(axis, -1)).movedim(-1, axis)


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
