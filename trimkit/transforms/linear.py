"""Matrices as transforms: s = (x − mean) · A, x = s · D + mean. A given dictionary, and what fitted ones share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import DataError, OptionError, ShapeError, TransformError
from trimkit.transforms.base import Size, Transform, single_leaf


class Components(Transform):
    """What transforms into components share: data are weighted sums of k fixed patterns.

    Attributes:
        components: (k, n) patterns D, one a row; a buffer.
    """

    exact = False

    components: Tensor

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Sum of the patterns: (N, k) → (N, *size)."""
        leaf = single_leaf(s, self._name)
        patterns = self.components.to(leaf)
        if leaf.ndim != 2 or leaf.shape[1] != len(patterns):
            raise ShapeError(f"{self._name}: expected coefficients (N, {len(patterns)}), got {tuple(leaf.shape)}")
        return (leaf @ patterns).reshape(len(leaf), *self._sample_size(size))

    def groups(self, size: Size) -> Groups:
        """One group a component, ``component 1`` first."""
        self._sample_size(size)
        count = len(self.components)
        names = tuple(f"component {i + 1}" for i in range(count))
        return Groups(names, torch.arange(count), self._axis)

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()

    _axis = "component"

    def _sample_size(self, size: Size | None) -> tuple[int, ...]:
        found = (self.components.shape[1],) if size is None else tuple(size)
        if math.prod(found) != self.components.shape[1]:
            raise ShapeError(
                f"{self._name}: expected samples of {self.components.shape[1]} entries, as the components have, "
                f"got size {found}"
            )
        return found

    def _rows(self, x: Tensor) -> Tensor:
        require_floating(self._name, x)
        self._sample_size(x.shape[1:])
        return x.flatten(1)


def require_floating(name: str, x: Tensor) -> None:
    """Refuse data that are not real and floating.

    Raises:
        ShapeError: complex, whole or boolean numbers.
    """
    if not x.is_floating_point():
        raise ShapeError(f"{name}: expected real floating data, got {x.dtype}; convert with x.float()")


class Dictionary(Components):
    """Components that are given: x ≈ s · D, with the s of least squares (of least norm, where many fit as well).

    s = x · D⁺ with the pseudo-inverse D⁺. Exact where D has rank n; else the residual carries the rest.

    Args:
        matrix: (k, n) patterns, one a row, for samples of n entries in any shape.

    Example:
        >>> Dictionary([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])(torch.tensor([[1.0, 3.0, 4.0]])).tolist()
        [[2.0, 2.0]]
    """

    analysis: Tensor

    def __init__(self, matrix: Tensor | Sequence[Sequence[float]]) -> None:
        super().__init__()
        components = torch.as_tensor(matrix)
        if components.ndim != 2 or 0 in components.shape or not components.is_floating_point():
            raise OptionError(
                f"dictionary: expected a floating matrix (k, n), one pattern a row, got {components.dtype} "
                f"{tuple(components.shape)}"
            )
        if not bool(torch.isfinite(components).all()):
            raise DataError("dictionary: expected finite patterns, got NaN or infinity")
        self.register_buffer("components", components.detach().clone())
        inverse = torch.linalg.pinv(components.detach().double()).to(components.dtype)
        self.register_buffer("analysis", inverse)

    def forward(self, x: Tensor) -> Tensor:
        """(N, *size) → (N, k)."""
        return self._rows(x) @ self.analysis.to(x)


class Fitted(Transform):
    """What fitted transforms share: buffers that `fit` fills and `load_state_dict` restores, and the shape of the data.

    Attributes:
        fitted_size: shape of one sample of the data it was fitted to, empty before.
    """

    needs_fit = True
    _size: Tensor

    def __init__(self, *buffers: str) -> None:
        super().__init__()
        for name in ("mean", *buffers):
            self.register_buffer(name, torch.empty(0))
        self.register_buffer("_size", torch.empty(0, dtype=torch.long))

    @property
    def fitted_size(self) -> tuple[int, ...]:
        """Shape of one sample of the data it was fitted to, empty before."""
        return tuple(self._size.tolist())

    @torch.no_grad()
    def fit(self, x: Tensor) -> Self:
        """Learn the matrices from data.

        Args:
            x: (N, *size) real, floating, finite, N ≥ 2.
        Returns:
            The transform itself.
        Raises:
            ShapeError, DataError: data that cannot be used.
        """
        name = type(self).__name__.lower()
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2 or len(x) < 2:
            got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"{name}.fit: expected a floating tensor (N, ...) of at least two samples, got {got}")
        if not bool(torch.isfinite(x).all()):
            raise DataError(f"{name}.fit: expected finite data, got NaN or infinity; clean the data first")
        for buffer, value in self.learn(x.flatten(1).double()).items():
            setattr(self, buffer, value.to(x))
        self._size = torch.tensor(x.shape[1:], device=x.device)
        return self

    @abstractmethod
    def learn(self, rows: Tensor) -> Mapping[str, Tensor]:
        """The buffers, by name, from data (N, n) in double precision."""

    def require_fit(self, size: Size) -> None:
        """Refuse use before `fit`, and data of another size.

        Raises:
            TransformError: it was not fitted.
            ShapeError: another size.
        """
        name = type(self).__name__.lower()
        if not self.fitted_size:
            raise TransformError(f"{name} is not fitted; call fit(data) or load_state_dict first")
        if tuple(size) != self.fitted_size:
            raise ShapeError(f"{name}: fitted to samples of size {self.fitted_size}, got {tuple(size)}")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        fit_buffers_to(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def fit_buffers_to(module: nn.Module, state_dict: Mapping[str, Any], prefix: str) -> None:
    """Give a module's own buffers the shapes of saved ones, so that what another has learned can be loaded."""
    for name, buffer in module.named_buffers(recurse=False):
        saved = state_dict.get(prefix + name)
        if isinstance(saved, Tensor) and saved.shape != buffer.shape:
            setattr(module, name, torch.empty_like(saved, device=buffer.device))
