"""Which coefficients an attribution takes together."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, OptionError
from trimkit.predictor.composed import Composed

Grouping: TypeAlias = Groups | Literal["transform", "coefficients"]
"""The transform's named groups (of a bare function: each coefficient), each coefficient on its own, or groups made by
hand."""


def check_grouping(name: str, groups: Grouping | None) -> Grouping:
    """A choice of groups, where it is one; None is "transform".

    Raises:
        OptionError: it is none, or some coefficients are in no group.
    """
    if not isinstance(groups, Groups) and groups not in ("transform", "coefficients", None):
        raise OptionError(f"{name}: expected groups transform, coefficients or Groups, got {groups!r}")
    if isinstance(groups, Groups):
        low, high = (int(ends(torch.stack([ends(leaf) for leaf in tree.leaves(groups.labels)]))) for ends in _ENDS)
        if low < 0 or high >= len(groups.names):
            raise OptionError(
                f"{name}: expected labels of the {len(groups.names)} groups, 0 … {len(groups.names) - 1}, got {low} … "
                f"{high}; name a group for what is left"
            )
    return "transform" if groups is None else groups


_ENDS = (torch.min, torch.max)


def groups_of(function: Any, s: Tree, groups: Grouping) -> Groups:
    """The chosen groups of the coefficients of a function."""
    if isinstance(groups, Groups):
        return groups
    named = groups == "transform" and isinstance(function, Composed)
    return function.groups() if named else each_coefficient(s)


def each_coefficient(s: Tree) -> Groups:
    """Every coefficient as a group of its own, named by its number in the order of the leaves."""
    sizes = [leaf[0].numel() for leaf in tree.leaves(s)]
    numbers = torch.arange(sum(sizes)).split(sizes)
    labels = [n.reshape(leaf.shape[1:]) for n, leaf in zip(numbers, tree.leaves(s), strict=True)]
    return Groups(tuple(map(str, range(sum(sizes)))), tree.rebuild(s, labels), "coefficient")


def fitted_labels(groups: Groups, s: Tree, each: bool = False) -> Tree:
    """The groups' labels with the shape of one sample of s and on its device; of groups of each sample, that of s.

    Args:
        groups: named groups of s.
        s: coefficients.
        each: whether groups of each sample's own are taken.
    Raises:
        AttributionError: groups of each sample's own, where they are not taken.
        ShapeError: groups of another structure than s.
    """
    if groups.each:
        if not each:
            raise AttributionError(
                f"each sample has groups of its own ({groups.axis!r}), which this attribution does not take; use "
                "feature_ablation, or groups that all samples share"
            )
        return tree.map_leaves(lambda labels, leaf: labels.expand(leaf.shape).to(leaf.device), groups.labels, s)
    return tree.map_leaves(lambda labels, leaf: labels.expand(leaf.shape[1:]).to(leaf.device), groups.labels, s)
