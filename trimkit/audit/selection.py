"""Which coefficients a model must not rely on, as people name them: groups, wildcards, bins, masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError, UnknownNameError, nearest

Choice: TypeAlias = str | int | Tensor | Mapping[str, Tensor]
"""A group's name, a wildcard ("diagonal *"), one coefficient ("bin 5,3"), a group's number, or a mask."""

Forbid: TypeAlias = Choice | tuple[Choice, Mapping[str, float]] | Sequence[Any] | None
"""One choice, (choice, {"share": 0.05, "effect": 0.02}), or several of them."""

LIMITS = ("share", "effect")
"""Thresholds that a choice may bring with it."""

_BIN = re.compile(r"(?:bin|pixel|coefficient)\s+(-?\d+(?:\s*,\s*-?\d+)*)")


@dataclass(frozen=True)
class Forbidden:
    """Coefficients that the model must not rely on.

    Attributes:
        name: as it was chosen.
        mask: boolean leaves with the shape of one sample's coefficients, or with a row for each sample of the data.
        each: the mask has a row for each sample.
        share: of the explanation that may lie there; None for the check's own.
        effect: of removing them that is allowed; None for the check's own.
    """

    name: str
    mask: Tree
    each: bool = False
    share: float | None = None
    effect: float | None = None

    def in_order(self, places: Tensor) -> Forbidden:
        """The same, of samples that were put in another order: sample i had the place (N,) in the old one."""
        return replace(self, mask=tree.map_leaves(lambda leaf: leaf[places], self.mask)) if self.each else self

    def rows(self, ids: Sequence[int]) -> Tensor:
        """(N, n) booleans for these samples, the leaves side by side, on the CPU."""
        if self.each:
            return tree.rows(tree.map_leaves(lambda leaf: leaf[torch.as_tensor(ids)], self.mask))
        return tree.rows(tree.map_leaves(lambda leaf: leaf[None], self.mask)).expand(len(ids), -1)


def forbidden(forbid: Forbid, allow: Forbid, groups: Groups, samples: int) -> tuple[Forbidden, ...]:
    """What is forbidden: each choice of ``forbid``, or everything but the choices of ``allow``.

    Several choices are followed by all of them together, under the loosest limits of theirs.

    Args:
        forbid: see `Forbid`.
        allow: see `Forbid`; limits there hold for the rest.
        groups: of the space.
        samples: of the data, which a mask may have rows for.
    Raises:
        UnknownNameError: a group that does not exist, with the nearest.
        OptionError: both are given, a limit out of range, or a choice of no coefficients or of all.
        ShapeError: a mask that does not fit the coefficients.
    """
    if forbid is not None and allow is not None:
        raise OptionError("expected forbid or allow, got both; what is not allowed is forbidden already")
    parts = [_forbidden(one, groups, samples) for one in _several(allow if forbid is None else forbid)]
    if not parts:
        return ()
    if allow is not None:
        everything = _together(parts, f"all but {_listed(parts)}")
        parts = [replace(everything, mask=tree.map_leaves(torch.logical_not, everything.mask))]
    elif len(parts) > 1:
        parts.append(_together(parts, "all of these together"))
    for part in parts:
        _check_size(part)
    return tuple(parts)


def parse_forbidden(text: str) -> tuple[str, dict[str, float]]:
    """A choice as typed, with its limits: ``"band7:share=.05,effect=.02"``.

    Raises:
        OptionError: a limit that is no number.

    Example:
        >>> parse_forbidden("bin 5,3"), parse_forbidden("band7:share=.05")
        (('bin 5,3', {}), ('band7', {'share': 0.05}))
    """
    name, colon, options = text.rpartition(":")
    if not colon or "=" not in options:
        return text, {}
    pairs = [option.partition("=")[::2] for option in options.split(",")]
    try:
        return name, {key.strip(): float(value) for key, value in pairs}
    except ValueError:
        raise OptionError(f"expected limits such as share=0.05,effect=0.02 behind {name!r}, got {options!r}") from None


def _several(wanted: Forbid) -> list[Any]:
    if wanted is None:
        return []
    if isinstance(wanted, str | int | Tensor | Mapping) or _has_limits(wanted):
        return [wanted]
    return list(wanted)


def _has_limits(wanted: Any) -> bool:
    return isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], Mapping)


def _forbidden(wanted: Any, groups: Groups, samples: int) -> Forbidden:
    choice, limits = wanted if _has_limits(wanted) else (wanted, {})
    for name, value in limits.items():
        if name not in LIMITS:
            raise OptionError(f"{choice!r} has no limit {name!r}. {nearest(name, LIMITS)}")
        if not 0 <= value <= 1:
            raise OptionError(f"expected {name} of {choice!r} in [0, 1], got {value}")
    if isinstance(choice, str) and choice.endswith(".npy"):
        return replace(_masked(_read(choice), groups, samples), name=choice, **limits)
    if isinstance(choice, Tensor | Mapping):
        return replace(_masked(choice, groups, samples), **limits)
    return Forbidden(str(choice), _named(choice, groups), **limits)


def _named(choice: str | int, groups: Groups) -> Tree:
    if isinstance(choice, int) or (choice not in groups.names and choice.isdecimal()):
        number = int(choice)
        if not 0 <= number < len(groups.names):
            raise OptionError(f"there is no group number {number}; there are {len(groups.names)}, from 0")
        return groups.mask(groups.names[number])
    if choice not in groups.names and (at := _BIN.fullmatch(choice.strip())):
        return _single(choice, [int(i) for i in at[1].split(",")], groups)
    names = [name for name in groups.names if name == choice] or [n for n in groups.names if fnmatchcase(n, choice)]
    if not names:
        raise UnknownNameError(
            f"no group is named {choice!r}. {nearest(choice, groups.names, most=2)} Or give a wildcard such as "
            "'row 1*', or one place of the last axes, such as 'bin 5,3'."
        )
    return groups.mask(names)


def _single(choice: str, at: list[int], groups: Groups) -> Tree:
    """One place of the last axes, whatever the axes before (channels); with its conjugate, where that is stored too."""
    leaves = tree.leaves(groups.labels)
    if len(leaves) != 1 or leaves[0].ndim < len(at):
        raise ShapeError(f"{choice!r}: this space has no coefficients with {len(at)} indices; name a group or a mask")
    size = leaves[0].shape[-len(at) :]
    if any(not -n <= i < n for i, n in zip(at, size, strict=True)):
        raise OptionError(f"{choice!r} is out of range: the last axes have {', '.join(map(str, size))} entries")
    mask = torch.zeros(leaves[0].shape, dtype=torch.bool)
    mask[(..., *at)] = True
    if groups.multiplicity is not None and len(at) > 1 and bool(tree.leaves(groups.multiplicity)[0][mask].max() < 2):
        mask[(..., -at[0] % size[0], *at[1:])] = True
    return tree.rebuild(groups.labels, [mask])


def _masked(mask: Tensor | Mapping[str, Tensor], groups: Groups, samples: int) -> Forbidden:
    labels = groups.labels
    first = tree.leaves(mask)[0]
    each = first.ndim > tree.leaves(labels)[0].ndim and len(first) == samples

    def leaf(label: Tensor, given: Tensor) -> Tensor:
        """Where one leaf's mask is not 0, in the shape of its labels."""
        wanted = (samples, *label.shape) if each else tuple(label.shape)
        try:
            return (given != 0).cpu().expand(wanted)
        except RuntimeError:
            raise ShapeError(
                f"expected a mask of shape {tuple(label.shape)}, one sample's coefficients, or with {samples} rows of "
                f"it, one a sample; got {tuple(given.shape)}"
            ) from None

    return Forbidden("the mask", tree.map_leaves(leaf, labels, mask), each)


def _read(path: str) -> Tensor:
    import numpy as np

    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: expected an .npy file of a mask ({error})") from error


def _together(parts: Sequence[Forbidden], name: str) -> Forbidden:
    """The union; where one mask has a row for each sample, so has the union."""
    each = any(part.each for part in parts)
    masks = [part.mask if part.each == each else tree.map_leaves(lambda m: m[None], part.mask) for part in parts]
    union = masks[0]
    for mask in masks[1:]:
        union = tree.map_leaves(torch.logical_or, union, mask)
    limits = {limit: _loosest([getattr(part, limit) for part in parts]) for limit in LIMITS}
    return Forbidden(name, union, each, **limits)


def _loosest(limits: Sequence[float | None]) -> float | None:
    return None if None in limits else max(limit for limit in limits if limit is not None)


def _listed(parts: Sequence[Forbidden]) -> str:
    return ", ".join(part.name for part in parts)


def _check_size(part: Forbidden) -> None:
    leaves = tree.leaves(part.mask)
    if not any(bool(leaf.any()) for leaf in leaves):
        raise OptionError(f"{part.name!r} holds no coefficients, so nothing is forbidden")
    if all(bool(leaf.all()) for leaf in leaves):
        raise OptionError(f"{part.name!r} holds all coefficients: a model must rely on something")
