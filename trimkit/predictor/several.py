"""Several explained inputs as one point: side by side in one row, each in its own space."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.registry import resolve
from trimkit.transforms.base import Size, Transform


@dataclass(frozen=True)
class Packing:
    """How tensors (N, ...) lie side by side in (N, total).

    Attributes:
        sizes: name → shape of one sample.
        dtypes: name → number type.
    """

    sizes: Mapping[Any, tuple[int, ...]]
    dtypes: Mapping[Any, torch.dtype]

    @classmethod
    def of_values(cls, values: Mapping[Any, Tensor]) -> Packing:
        """The packing of some tensors."""
        return cls(
            {name: tuple(x.shape[1:]) for name, x in values.items()}, {name: x.dtype for name, x in values.items()}
        )

    def pack(self, values: Mapping[Any, Tensor]) -> Tensor:
        """One row a sample, in the widest of the number types."""
        return torch.cat([values[name].flatten(1) for name in self.sizes], dim=1)

    def unpack(self, rows: Tensor) -> dict[Any, Tensor]:
        """The tensors of any number of rows."""
        lengths = [torch.Size(size).numel() for size in self.sizes.values()]
        return {
            name: part.reshape(-1, *size).to(self.dtypes[name])
            for (name, size), part in zip(self.sizes.items(), rows.split(lengths, dim=1), strict=True)
        }


class Several(Transform):
    """A space for each of several inputs: packed rows ⇄ {name: coefficients}.

    Args:
        parts: name of the input → its transform.
    """

    def __init__(self, parts: Mapping[Any, Transform]) -> None:
        super().__init__()
        self.names = list(parts)
        self.spaces = nn.ModuleList(parts.values())
        self.exact = all(space.exact for space in parts.values())
        self.norm_constrained = all(
            space.norm_constrained for space in parts.values() if any(p.requires_grad for p in space.parameters())
        )
        self.packing: Packing | None = None

    def packed_as(self, packing: Packing) -> Several:
        """The same spaces for inputs of known sizes."""
        bound = copy.copy(self)
        bound.packing = packing
        return bound

    def at_rows(self, samples: Tensor) -> Several:
        """The same spaces for rows of some samples."""
        chosen = copy.copy(self)
        chosen._modules = {**self._modules, "spaces": nn.ModuleList(space.at_rows(samples) for space in self.spaces)}  # type: ignore[operator]
        return chosen

    def forward(self, x: Tensor) -> Tree:
        """{name: coefficients of that input}."""
        values = self._packing().unpack(x)
        return {name: space(values[name]) for name, space in zip(self.names, self.spaces, strict=True)}

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Packed data."""
        packing = self._packing()
        assert isinstance(s, Mapping)
        pairs = zip(self.names, self.spaces, strict=True)
        return packing.pack({name: space.inverse(s[name], packing.sizes[name]) for name, space in pairs})  # type: ignore[operator]

    def groups(self, size: Size) -> Groups:
        """The groups of each input, with its name before theirs."""
        each = {
            name: space.groups(self._packing().sizes[name])  # type: ignore[operator]
            for name, space in zip(self.names, self.spaces, strict=True)
        }
        names = tuple(f"{name}: {group}" for name, groups in each.items() for group in groups.names)
        labels, first = {}, 0
        for name, groups in each.items():
            labels[name] = tree.map_leaves(lambda leaf, first=first: leaf + first, groups.labels)
            first += len(groups.names)
        weights = {
            name: _ones(groups.labels) if groups.multiplicity is None else groups.multiplicity
            for name, groups in each.items()
        }
        return Groups(names, labels, "input", weights)

    def _packing(self) -> Packing:
        if self.packing is None:
            raise ShapeError("a space for each of several inputs needs their sizes; explain with at= naming the inputs")
        return self.packing


def space_of(transform: Any, at: Any) -> Transform:
    """The space of what is explained: a transform, or for several inputs one for each.

    Args:
        transform: name, (name, options) or `trimkit.Transform`; a mapping from some of several inputs to theirs.
        at: what is explained; a list names several inputs.
    Raises:
        OptionError: a mapping without several inputs, or with an input that is not explained.
    """
    if not isinstance(at, list | tuple):
        if isinstance(transform, Mapping):
            raise OptionError(f"transform={dict(transform)!r} names inputs; expected at= with a list of them")
        return resolve("transform", transform)
    if isinstance(transform, Several) and transform.names == list(at):
        return transform
    given = transform if isinstance(transform, Mapping) else dict.fromkeys(at, transform)
    unknown = [name for name in given if name not in at]
    if unknown or len(set(at)) != len(at) or not at:
        raise OptionError(f"expected at= with different inputs, and transforms of some of them, got {at!r}, {given!r}")
    return Several({name: resolve("transform", given.get(name, "identity")) for name in at})


def several_keys(at: Sequence[Any], names: Sequence[Any]) -> list[Any]:
    """The inputs that a list names.

    Raises:
        OptionError: one that is none.
    """
    unknown = [key for key in at if key not in names]
    if unknown:
        raise OptionError(
            f"at={list(at)!r}: {unknown[0]!r} is no input of the model; expected some of {list(names)}; layers are "
            "explained one at a time"
        )
    return list(at)


def _ones(labels: Tree) -> Tree:
    return tree.map_leaves(torch.ones_like, labels)
