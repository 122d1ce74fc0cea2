"""How much any order of removal could achieve: where the best one found beats a control by little, no score can."""

from __future__ import annotations

import itertools
from typing import TypeAlias

import torch
from torch import Tensor

from trimkit.audit.removal import cuts, values_of_sets
from trimkit.audit.subject import Batch, Subject
from trimkit.coefficients.tree import Tree

Totals: TypeAlias = dict[tuple[bool, ...], Tensor]
"""Which groups are gone → (N,) the least sum over a curve's points that ends there."""

EXHAUSTIVE = 8
"""Up to so many groups every order is tried; beyond, the best next groups are taken one step at a time."""


def best_areas(subject: Subject, batch: Batch, replacement: Tree) -> Tensor:
    """The smallest area under a deletion curve of each sample that an order of its groups was seen to reach.

    The area is the mean over the curve's inner points, as the check `controls` takes it.

    Args:
        subject: model, transform and groups.
        batch: samples.
        replacement: what removed coefficients become.
    Returns:
        (N,) float64 on the CPU.
    """
    groups = len(subject.groups.names)
    best = _exhaustive if groups <= EXHAUSTIVE else _greedy
    return best(subject, batch, replacement, groups)


def _exhaustive(subject: Subject, batch: Batch, replacement: Tree, groups: int) -> Tensor:
    """All 2^G sets once, then the cheapest chain of sets that grow by one group: the best of all G! orders."""
    sets = torch.tensor(list(itertools.product([False, True], repeat=groups)))
    table = values_of_sets(subject, batch, sets.expand(len(batch), *sets.shape), replacement)
    number = {tuple(row): i for i, row in enumerate(sets.tolist())}
    total = {tuple([False] * groups): torch.zeros(len(batch), dtype=torch.float64)}
    for size in range(1, groups):
        total = _grown(total, {key: table[:, number[key]] for key in number if sum(key) == size})
    ends = torch.stack(list(total.values()), dim=1)
    return ends.amin(1) / (groups - 1)


def _grown(before: Totals, values: Totals) -> Totals:
    """The least total of each set, reached from any set that lacks one of its groups."""
    return {
        key: value + torch.stack([before[smaller] for smaller in _without_one(key)], dim=1).amin(1)
        for key, value in values.items()
    }


def _without_one(key: tuple[bool, ...]) -> list[tuple[bool, ...]]:
    return [(*key[:i], False, *key[i + 1 :]) for i, held in enumerate(key) if held]


def _greedy(subject: Subject, batch: Batch, replacement: Tree, groups: int) -> Tensor:
    """At each point of the curve the groups whose removal, next to those gone, lowers the output most."""
    gone = torch.zeros(len(batch), groups, dtype=torch.bool)
    points = []
    for before, after in itertools.pairwise(cuts(groups)[:-1]):
        tried = gone[:, None, :] | torch.eye(groups, dtype=torch.bool)
        values = values_of_sets(subject, batch, tried, replacement).masked_fill(gone, torch.inf)
        chosen = values.topk(after - before, dim=1, largest=False).indices
        gone = gone.scatter(1, chosen, True)
        points.append(values_of_sets(subject, batch, gone[:, None, :], replacement)[:, 0])
    return torch.stack(points, dim=1).mean(1)
