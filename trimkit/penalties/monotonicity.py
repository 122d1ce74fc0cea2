"""Monotonicity: outputs that rise with a coefficient, importance that falls or rises along the groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, PenaltyError, UnknownNameError, nearest
from trimkit.penalties.base import require_groups, row, signed

Order: TypeAlias = Literal["decreasing", "increasing"]
Pairs: TypeAlias = Literal["adjacent", "all"]
Signs: TypeAlias = float | Tree | Mapping[str, float]
"""The direction in which an output may move: +1 up, −1 down, 0 either way."""


@signed
def monotone_gradient(
    scores: Tree,
    *,
    signs: Signs = 1.0,
    margin: float = 0.0,
    power: float = 1.0,
    groups: Groups | None = None,
) -> Tensor:
    """Σ_j relu(m − σ_j a_j)^p over coefficients with a sign σ_j: the output should rise (+1) or fall (−1) with them.

    Meant for scores ∂f/∂s: attribution ``("saliency", {"absolute": False})``. Gupta et al. 2019 take p = 1, m = 0 at
    the data; Liu et al. 2020 take p = 2, m = 0.2 at random points of a box (`trimkit.penalties.sampling`, and
    ``points`` of `trimkit.TrimPenalty`). For m = 0 the value is homogeneous of degree p, and a dead row has value 0 and
    no gradient: where f is flat, only m > 0 asks for a slope, and then a dead row counts m^p for each coefficient.

    Args:
        scores: real leaves (N, ...), signed gradients.
        signs: one for all coefficients, a tree that broadcasts to one sample's scores, or {group name: sign}, where
            groups that are not named are free.
        margin: m ≥ 0, the least slope.
        power: p ≥ 1.
        groups: the transform's named groups; `trimkit.TrimPenalty` passes them.
    Returns:
        (N,) values ≥ 0.
    Raises:
        OptionError: margin or power out of range.
        PenaltyError: signs other than −1, 0 and 1, or none but 0; group names without groups.
        ShapeError: signs that do not fit.
    """
    _check_hinge("monotone_gradient", margin, power)
    sigma = _signs(signs, scores, groups)
    short = torch.relu(margin - sigma * tree.rows(scores)) ** power
    return torch.where(sigma == 0, torch.zeros_like(short), short).sum(1)


def monotone_order(
    scores: Tree,
    *,
    order: Order = "decreasing",
    pairs: Pairs = "adjacent",
    margin: float = 0.0,
    power: float = 1.0,
    among: Sequence[str] | None = None,
    groups: Groups | None = None,
) -> Tensor:
    """Σ relu(E_later − E_earlier + m)^p: importance should fall (or rise) along the groups' order.

    E_k is the mean |a| of group k over the coefficients it stands for, so wide bands do not count for more. For m = 0
    homogeneous of degree p, and a dead row has value 0 and no gradient.

    Args:
        scores: real leaves (N, ...).
        order: of E from the first group to the last.
        pairs: compare neighbours, or every earlier group with every later one.
        margin: m ≥ 0, the least step.
        power: p ≥ 1.
        among: names of the groups that are ordered, such as all but "dc"; None for all.
        groups: the transform's named groups; `trimkit.TrimPenalty` passes them.
    Returns:
        (N,) values ≥ 0.
    Raises:
        OptionError: an unknown order or pairs, margin or power out of range.
        PenaltyError: no groups, or fewer than two.
        UnknownNameError: a name that is no group.
    """
    _check_hinge("monotone_order", margin, power)
    if pairs not in ("adjacent", "all"):
        raise OptionError(f"monotone_order: expected pairs 'adjacent' or 'all', got {pairs!r}")
    falling = _importance("monotone_order", scores, order, among, groups).flip(1)
    first, second = torch.triu_indices(falling.shape[1], falling.shape[1], 1, device=falling.device)
    if pairs == "adjacent":
        first, second = (index[second - first == 1] for index in (first, second))
    return (torch.relu(falling[:, second] - falling[:, first] + margin) ** power).sum(1)


def isotonic(
    scores: Tree,
    *,
    order: Order = "decreasing",
    among: Sequence[str] | None = None,
    groups: Groups | None = None,
) -> Tensor:
    """Squared distance ‖E − P(E)‖² of the groups' mean magnitudes to the nearest monotone sequence.

    P is the isotonic regression that pooling adjacent violators gives. The gradient with respect to E is 2(E − P(E)),
    as for every projection on a convex set; groups that are in order get none. Quadratic in the scale of the scores. A
    dead row (all scores 0) has value 0 and no gradient.

    Args:
        scores: real leaves (N, ...).
        order: of E from the first group to the last.
        among: names of the groups that are ordered; None for all.
        groups: the transform's named groups; `trimkit.TrimPenalty` passes them.
    Returns:
        (N,) values ≥ 0.
    Raises:
        OptionError: an unknown order.
        PenaltyError: no groups, or fewer than two.
        UnknownNameError: a name that is no group.
    """
    rising = _importance("isotonic", scores, order, among, groups)
    return (rising - isotonic_regression(rising)).square().sum(1)


def isotonic_regression(values: Tensor) -> Tensor:
    """The nearest rising sequence to each row, in least squares.

    What pooling adjacent violators ends in, by the max-min formula (Robertson, Wright, Dykstra 1988), so that all rows
    are done at once: P_i = max_{a ≤ i} min_{b ≥ i} mean(E_a … E_b). Differentiable, also twice, by pooled block.

    Args:
        values: (N, G); memory grows with N · G².
    Returns:
        (N, G), rising along each row.
    """
    n = values.shape[1]
    sums = torch.cat([values.new_zeros(len(values), 1), values.cumsum(1)], dim=1)
    start, end = torch.arange(n, device=values.device)[:, None], torch.arange(n, device=values.device)
    means = (sums[:, None, 1:] - sums[:, :-1, None]) / (end - start + 1).clamp_min(1)  # (N, a, b)
    smallest = means.masked_fill(end < start, torch.inf).flip(2).cummin(2).values.flip(2)  # over b ≥ i: (N, a, i)
    return smallest.masked_fill(start > end, -torch.inf).max(1).values


def _importance(name: str, scores: Tree, order: str, among: Sequence[str] | None, groups: Groups | None) -> Tensor:
    """E of the chosen groups, (N, G), in the direction in which it should rise."""
    if order not in ("decreasing", "increasing"):
        raise OptionError(f"{name}: expected order 'decreasing' or 'increasing', got {order!r}")
    groups = require_groups(name, groups)
    means = groups.means(tree.map_leaves(torch.abs, scores))[:, _chosen(among, groups)]
    if means.shape[1] < 2:
        raise PenaltyError(f"{name}: expected at least two groups to order, got {means.shape[1]}")
    return means.flip(1) if order == "decreasing" else means


def _chosen(among: Sequence[str] | None, groups: Groups) -> list[int]:
    if among is None:
        return list(range(len(groups.names)))
    for name in among:
        if name not in groups.names:
            raise UnknownNameError(f"no group is named {name!r}. {nearest(name, groups.names, most=2)}")
    return [index for index, name in enumerate(groups.names) if name in among]


def _check_hinge(name: str, margin: float, power: float) -> None:
    if margin < 0 or power < 1:
        raise OptionError(f"{name}: expected margin ≥ 0 and power ≥ 1, got margin={margin}, power={power}")


def _signs(signs: Signs, scores: Tree, groups: Groups | None) -> Tensor:
    """σ for each score of a row, (1, n)."""
    given: Tree
    if isinstance(signs, int | float):
        given = tree.map_leaves(lambda leaf: leaf.new_tensor(float(signs)), scores)
    elif isinstance(signs, Mapping) and all(isinstance(value, int | float) for value in signs.values()):
        given = _signs_of_groups(signs, require_groups("monotone_gradient", groups))  # type: ignore[arg-type]
    else:
        given = signs  # type: ignore[assignment]
    sigma = row("monotone_gradient: the signs", given, scores)
    if not bool(((sigma == 0) | (sigma.abs() == 1)).all()) or not bool(sigma.any()):
        raise PenaltyError("monotone_gradient: expected signs −1, 0 or 1, and at least one that is not 0")
    return sigma


def _signs_of_groups(signs: Mapping[str, float], groups: Groups) -> Tree:
    return tree.add(
        [tree.map_leaves(lambda leaf, sign=sign: sign * leaf, groups.mask(name)) for name, sign in signs.items()]
    )
