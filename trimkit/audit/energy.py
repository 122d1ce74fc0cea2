"""Random sets of coefficients that hold as much energy as given ones: what any removal of that size would do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.audit.statistics import choose, generator
from trimkit.audit.subject import MOST_REFERENCE, Subject
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import expand_baseline
from trimkit.coefficients.tree import Tree

Rows = Tensor
"""(n,) or (N, n): the leaves of a tree side by side."""


def change_energies(subject: Subject) -> dict[str, Rows]:
    """Mean squared change of each coefficient when it is removed or replaced by another sample's, (n,) each.

    ``removed``: E|s − s₀|². ``replaced``: E|s − s'|² = 2 (E|s|² − |E s|²) for two independent samples. Those of a half
    spectrum count as often as the full one holds them.
    """
    data = subject.reference or subject.data
    squares: Tree | None = None
    away: Tree | None = None
    ids = torch.tensor(choose(len(data), MOST_REFERENCE, subject.seed))
    for part in ids.split(subject.batch_size):
        s = subject.coefficients(data.x[part])
        base = expand_baseline(subject.baseline, s)
        sums = tree.map_leaves(lambda leaf: _square(leaf).sum(0, keepdim=True), s)
        far = tree.map_leaves(lambda leaf, zero: _square(leaf - zero).sum(0, keepdim=True), s, base)
        squares = sums if squares is None else tree.map_leaves(torch.add, squares, sums)
        away = far if away is None else tree.map_leaves(torch.add, away, far)
    assert squares is not None
    assert away is not None
    mean = tree.map_leaves(_square, subject.reference_mean)
    spread = (tree.rows(squares)[0] / len(ids) - tree.rows(mean)[0]).clamp_min(0)
    times = _multiplicity(subject, spread)
    return {"removed": (times * tree.rows(away)[0] / len(ids)).cpu(), "replaced": (2 * times * spread).cpu()}


def matched_sets(gone: Rows, energy: Rows, labels: Rows, seed: int, ids: Sequence[int], draw: int) -> Rows:
    """For each sample a random set of other coefficients with as much energy as its own set.

    Groups come in random order, and their coefficients in random order, until the energy is reached; a coefficient that
    alone holds more than the whole set is left out.

    Args:
        gone: (N, n) boolean, the sets to be matched.
        energy: (n,) of each coefficient.
        labels: (n,) the group of each coefficient.
        seed: of the audit.
        ids: of the samples, which key the draws.
        draw: number of the draw.
    Returns:
        (N, n) boolean.
    """
    sets = [
        _matched(row, energy, labels, generator(seed, "equal energy", i, draw))
        for row, i in zip(gone, ids, strict=True)
    ]
    return torch.stack(sets)


def energy_ratio(sets: Rows, gone: Rows, energy: Rows) -> Tensor:
    """Energy of random sets over that of the sets that they match: (N,); 1 where there is nothing to match."""
    target = (gone * energy).sum(1)
    return torch.where(target == 0, torch.ones_like(target), (sets * energy).sum(1) / target.clamp_min(1e-300))


def as_tree(like: Tree, rows: Rows) -> Tree:
    """(N, n) in the structure of a tree with leaves (N, ...)."""
    leaves = tree.leaves(like)
    parts = rows.split([leaf[0].numel() for leaf in leaves], dim=1)
    return tree.rebuild(like, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])


def label_row(subject: Subject) -> Rows:
    """(n,) the group of each coefficient, on the CPU."""
    return tree.rows(tree.map_leaves(lambda leaf: leaf[None].cpu(), subject.groups.labels))[0]


def _matched(gone: Tensor, energy: Tensor, labels: Tensor, source: torch.Generator) -> Tensor:
    target = energy[gone].sum()
    order = torch.randperm(int(labels.max()) + 1, generator=source)[labels] + torch.rand(len(gone), generator=source)
    free = ~gone & (energy <= target)
    chosen = torch.where(free, order, torch.inf).argsort()
    taken = energy[chosen] * free[chosen]
    inside = (taken.cumsum(0) - taken / 2 <= target) & free[chosen]
    return torch.zeros_like(gone).index_put((chosen,), inside)


def _square(values: Tensor) -> Tensor:
    """|v|² in double precision where the device has it."""
    size = values.abs()
    return (size if size.device.type == "mps" else size.double()).square()


def _multiplicity(subject: Subject, like: Tensor) -> Tensor | float:
    held = subject.groups.multiplicity
    return 1.0 if held is None else tree.rows(tree.map_leaves(lambda leaf: leaf[None], held))[0].to(like)
