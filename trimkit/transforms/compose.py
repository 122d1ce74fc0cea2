"""Transforms one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

from torch import Tensor, nn

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError, TransformError
from trimkit.registry import resolve
from trimkit.transforms.base import Size, Transform


class Compose(Transform):
    """s = T_k(… T₂(T₁(x))): colour first, then wavelets of each channel, say.

    All but the last give one tensor, on which the next works as if it were data; groups are those of the last.

    Args:
        of: the transforms in the order in which they are applied to data: names, (name, options), or transforms.

    Example:
        >>> import torch
        >>> both = Compose(["color", ("wavelet", {"wavelet": "haar", "levels": 1})])
        >>> both.groups((3, 8, 8)).names
        ('approximation', 'horizontal 1', 'vertical 1', 'diagonal 1')
    """

    def __init__(self, of: Sequence[str | tuple[str, dict[str, Any]] | Transform]) -> None:
        super().__init__()
        if isinstance(of, str) or not isinstance(of, Sequence) or not of:
            raise OptionError(f'compose: expected a list of transforms, such as ["color", "wavelet"], got {of!r}')
        parts = [resolve("transform", choice) for choice in of]
        strangers = [type(part).__name__ for part in parts if not isinstance(part, Transform)]
        if strangers:
            raise OptionError(f"compose: expected names or transforms, got {strangers[0]}")
        self.parts = nn.ModuleList(parts)
        self.exact = all(part.exact for part in parts)
        self.complex_coefficients = parts[-1].complex_coefficients
        self.learnable = any(part.learnable for part in parts)
        self.needs_fit = any(part.needs_fit for part in parts)
        self._sizes: dict[tuple[int, ...], list[tuple[int, ...]]] = {}

    def forward(self, x: Tensor) -> Tree:
        """The last transform's coefficients.

        Raises:
            TransformError: a transform before the last gives a tree, or complex coefficients.
        """
        s: Tree = x
        for part in self._transforms():
            s = part(_as_data(s, part))
        return s

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The inverses, last to first. Where none needs to be told its data's size, ``size`` may be left out."""
        parts = list(self._transforms())
        sizes = [None] * len(parts) if size is None else self.sizes(size)
        for part, before in zip(reversed(parts), reversed(sizes), strict=True):
            s = part.inverse(s, before)
        return s  # type: ignore[return-value]

    def groups(self, size: Size) -> Groups:
        """The last transform's groups."""
        *_, last = self._transforms()
        return last.groups(self.sizes(size)[-1])

    def fit(self, x: Tensor) -> Self:
        """Fit each part to what those before it make of the data."""
        self._sizes.clear()
        *first, last = self._transforms()
        for part in first:
            x = _as_data(part.fit(x)(x), part).detach()
        last.fit(x)
        return self

    def sizes(self, size: Size) -> list[tuple[int, ...]]:
        """Shape of one sample as each part gets it, the data's first.

        Raises:
            TransformError: a transform before the last gives a tree.
        """
        key = tuple(size)
        if key not in self._sizes:
            *first, _ = self._transforms()
            found = [key]
            for part in first:
                found.append(_size_after(part, found[-1]))
            self._sizes[key] = found
        return self._sizes[key]

    def _transforms(self) -> Iterator[Transform]:
        return iter(self.parts)  # type: ignore[arg-type]


def _size_after(part: Transform, size: Size) -> tuple[int, ...]:
    try:
        return part.size_of(size)
    except ShapeError as error:
        raise TransformError(f"compose: {type(part).__name__} may only be last: {error}") from error


def _as_data(s: Tree, before: Transform) -> Tensor:
    if not isinstance(s, Tensor) or s.is_complex():
        got = "complex coefficients" if isinstance(s, Tensor) else "a tree of coefficients"
        raise TransformError(
            f"compose: expected real data for {type(before).__name__}, got {got} from the transform before it, which "
            "may only be last"
        )
    return s
