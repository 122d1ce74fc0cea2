"""What a transform is: x ⇄ s, with named groups of coefficients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups, equal_parts
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError, TransformError
from trimkit.registry.options import whole_number

Size = Sequence[int]
"""Shape of one sample of data, without the batch: (C, H, W), (C, L) or (F,)."""


class Transform(nn.Module, ABC):
    """A space for explanations: ``s = transform(x)`` and ``x = transform.inverse(s, size)``.

    Both directions are differentiable, also twice, and act on each sample alone. A subclass writes `forward`, `inverse`
    and `groups`.

    Attributes:
        exact: inverse(forward(x)) = x up to rounding. A lossy transform is explained with its `residual`.
        complex_coefficients: some coefficients are complex.
        learnable: has parameters that training may change.
        needs_fit: must see data before use, see `fit`.
        norm_constrained: of a learnable transform: its coefficients cannot grow by scale alone (unit filters), so that
            gradients with respect to them may be penalised.
    """

    exact: bool = True
    complex_coefficients: bool = False
    learnable: bool = False
    needs_fit: bool = False
    norm_constrained: bool = False

    def __call__(self, x: Tensor, *rest: Any, **options: Any) -> Any:
        """`forward`, of samples that hold numbers.

        Raises:
            ShapeError: no tensor (N, ...), no samples, or a tensor on the device "meta".
        """
        require_samples(type(self).__name__.lower(), x)
        return super().__call__(x, *rest, **options)

    @abstractmethod
    def forward(self, x: Tensor) -> Tree:
        """Coefficients of data.

        Args:
            x: (N, ...) real, floating.
        Returns:
            A tensor or tree of tensors, real or complex, (N, ...).
        """

    @abstractmethod
    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Data of coefficients.

        Args:
            s: coefficients as `forward` gives them, for any number of samples.
            size: shape of one sample of data, for transforms whose coefficients do not tell it (an odd length and the
                even one below it have equally many half-spectrum bins).
        Returns:
            (N, *size).
        """

    @abstractmethod
    def groups(self, size: Size) -> Groups:
        """Named groups that partition the coefficients of one sample of this size."""

    def groups_of(self, x: Tensor) -> Groups:
        """The groups of these samples: `groups` of their size, unless each sample has groups of its own.

        Args:
            x: (N, ...) data.
        """
        return self.groups(tuple(x.shape[1:]))

    def fit(self, x: Tensor) -> Self:
        """Learn from data what the transform needs before use; most need nothing, and do nothing.

        Args:
            x: (N, ...) data.
        Returns:
            The transform itself.
        """
        return self

    def size_of(self, size: Size) -> tuple[int, ...]:
        """Shape of one sample's coefficients, for transforms whose coefficients are one tensor.

        Args:
            size: shape of one sample of data.
        Raises:
            ShapeError: the coefficients are a tree of several tensors.
        """
        return tuple(single_leaf(self.groups(size).labels, type(self).__name__).shape)

    def at_rows(self, samples: Tensor) -> Self:
        """The transform of rows that belong to samples of these numbers; the same where nothing is held of each sample.

        Args:
            samples: (rows,) numbers of samples.
        Raises:
            TransformError: a part of it holds something of each sample.
        """
        if any(getattr(part, "holds_rows", False) for part in self.modules()):
            raise TransformError(
                f"{type(self).__name__}: a part of it holds aux of each sample, which rows in another order would not "
                "get; hold one for all samples: method.as_transform(space, aux=3)"
            )
        return self

    def residual(self, x: Tensor, s: Tree) -> Tensor:
        """r = x − inverse(s), detached: what the coefficients do not say, to be kept fixed while s varies.

        Args:
            x: (N, ...) data.
            s: its coefficients.
        Returns:
            r of the shape of x; f(inverse(s) + r) = f(x) exactly.
        Raises:
            TransformError: the inverse has another shape than x (odd sizes under a padded transform).
        """
        with torch.no_grad():
            back = self.inverse(s, x.shape[1:])
            if back.shape != x.shape:
                raise TransformError(
                    f"{type(self).__name__}.inverse gives {tuple(back.shape)} for data of {tuple(x.shape)}; "
                    "crop its result to the size it is given"
                )
            return (x - back).detach()


class Identity(Transform):
    """The data's own space: pixels, samples, features. Groups are patches (images), segments (signals) or features.

    Args:
        parts: into how many parts each axis of an image or signal is cut for the groups, at least 1.
    """

    def __init__(self, parts: int = 4) -> None:
        super().__init__()
        whole_number("identity", parts=parts)
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        """x itself."""
        return x

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """s itself."""
        return single_leaf(s, "identity")

    def groups(self, size: Size) -> Groups:
        """Patches ``row r, column c``; segments ``segment i``; or ``feature i`` for flat data."""
        if len(size) == 1:
            return Groups(tuple(f"feature {i}" for i in range(size[0])), torch.arange(size[0]), "feature")
        if len(size) == 2:
            labels = equal_parts(size[1], self.parts).expand(*size)
            return Groups(tuple(f"segment {i}" for i in range(int(labels.max()) + 1)), labels, "position")
        rows, columns = (equal_parts(n, self.parts) for n in size[-2:])
        across = int(columns.max()) + 1
        names = (f"row {r}, column {c}" for r in range(int(rows.max()) + 1) for c in range(across))
        return Groups(tuple(names), (rows[:, None] * across + columns).expand(*size), "patch")


def require_samples(name: str, x: Any) -> None:
    """Refuse what no transform can take.

    Raises:
        ShapeError: no tensor (N, ...), no samples or nothing in them, or a tensor on the device "meta".
    """
    if not isinstance(x, Tensor):
        raise ShapeError(f"{name}: expected a tensor (N, ...), got {type(x).__name__}; convert it with torch.as_tensor")
    if x.ndim < 2 or 0 in x.shape:
        raise ShapeError(
            f"{name}: expected (N, ...) with at least one sample and one feature, got {tuple(x.shape)}; one sample "
            "alone is x[None]"
        )
    if x.device.type == "meta":
        raise ShapeError(f"{name}: x is on the device 'meta', which holds no numbers; move the data to a real device")


def single_leaf(s: Tree, name: str) -> Tensor:
    """The one tensor of a transform whose coefficients are a tensor.

    Raises:
        ShapeError: s is a tree of several leaves.
    """
    found = tree.leaves(s)
    if len(found) != 1:
        raise ShapeError(f"{name}: expected one tensor of coefficients, got a tree of {len(found)}")
    return found[0]
