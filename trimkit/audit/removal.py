"""Removing groups of coefficients, one after another, and watching the model's output fall."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trimkit.audit.batch import Batch
from trimkit.audit.examine import explained_values, output_tensor
from trimkit.audit.statistics import generator
from trimkit.audit.subject import Subject
from trimkit.audit.task import Task
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.targets import Target, take_target

MOST_STEPS = 16
"""Points of a curve after the first: many groups are removed several at a time."""

OPERATORS = {
    "baseline": "set to the attribution's own baseline",
    "marginal": "taken from a random other sample",
    "mean": "set to the mean over the data",
}
"""Removal operators: what becomes of a removed coefficient. A claim counts only if it survives all of them."""


def replacements(subject: Subject, batch: Batch) -> dict[str, Tree]:
    """Operator → what removed coefficients become, leaves like those of the batch."""
    mean = tree.map_leaves(lambda m, s: m.to(s).expand_as(s), subject.reference_mean, batch.s)
    return {
        "baseline": subject.expanded_baseline(batch),
        "marginal": subject.donors(batch.ids),
        "mean": mean,
    }


def order_by(values: Tensor, subject: Subject, batch: Batch) -> Tensor:
    """Groups from the largest value to the smallest, ties in random order.

    Args:
        values: (N, G) total scores of the groups.
        subject: gives the seed.
        batch: gives the ids.
    Returns:
        (N, G) indices of groups.
    """
    shuffled = random_order(subject, batch, values.shape[1], "ties").to(values.device)
    by_value = values.gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    return shuffled.gather(1, by_value)


def random_order(subject: Subject, batch: Batch, groups: int, purpose: str) -> Tensor:
    """A random order of the groups for each sample, keyed by its id: (N, G)."""
    orders = [torch.randperm(groups, generator=generator(subject.seed, purpose, i)) for i in batch.ids]
    return torch.stack(orders)


def cuts(groups: int) -> list[int]:
    """How many groups are removed at each point of a curve: 0 … G, at most `MOST_STEPS` steps.

    Example:
        >>> cuts(4), len(cuts(100))
        ([0, 1, 2, 3, 4], 17)
    """
    points = torch.linspace(0, groups, min(groups, MOST_STEPS) + 1)
    return [int(p) for p in points.round()]


def curves(subject: Subject, batch: Batch, orders: Mapping[str, Tensor], replacement: Tree) -> dict[str, Tensor]:
    """What the model says of each sample while its groups are removed in several orders.

    The same set of groups, reached by several orders, is sent through the model once.

    Args:
        subject: model, transform and groups.
        batch: samples.
        orders: name → (N, G), the group that is removed first comes first.
        replacement: what removed coefficients become.
    Returns:
        Name → (N, len(cuts(G))): see `measured_value`.
    """
    removed = torch.cat([_removed(order) for order in orders.values()], dim=1)  # (N, O·P, G) boolean
    table = values_of_sets(subject, batch, removed, replacement)
    return dict(zip(orders, table.chunk(len(orders), dim=1), strict=True))


def values_of_sets(subject: Subject, batch: Batch, gone: Tensor, replacement: Tree) -> Tensor:
    """What the model says of each sample without each of several sets of groups; equal sets are evaluated once.

    Args:
        subject: model, transform and groups.
        batch: samples.
        gone: (N, P, G) boolean, the groups that are removed.
        replacement: what removed coefficients become.
    Returns:
        (N, P) float64 on the CPU: see `measured_value`.
    """
    sample = torch.arange(len(batch)).view(-1, 1, 1).expand(*gone.shape[:2], 1)
    rows = torch.cat([sample, gone.long()], dim=2).flatten(0, 1)
    unique, position = torch.unique(rows, dim=0, return_inverse=True)
    values = [_values(subject, batch, part, replacement) for part in unique.split(4 * subject.batch_size)]
    return torch.cat(values)[position].view(gone.shape[:2])


def measured_value(output: object, target: Target, task: Task | None = None) -> Tensor:
    """The explained class's probability (M,); the explained number itself where outputs are no logits, or may be none.

    Args:
        output: of the model.
        target: resolved.
        task: of the model; by default classification of a target (N,), else numbers.
    """
    if callable(target) or not (isinstance(target, Tensor) if task is None else task.has_probabilities):
        return explained_values(output, target)
    return (task or Task("classification")).probability(output_tensor(output), target)


def _removed(order: Tensor) -> Tensor:
    """(N, G) order → (N, P, G): is the group gone at each point of the curve?"""
    rank = order.cpu().argsort(dim=1)
    return rank[:, None, :] < torch.tensor(cuts(order.shape[1]))[:, None]


@torch.no_grad()
def _values(subject: Subject, batch: Batch, rows: Tensor, replacement: Tree) -> Tensor:
    at = rows[:, 0].to(batch.x.device)
    gone = rows[:, 1:].bool().to(batch.x.device)

    def leaf(s: Tensor, new: Tensor, labels: Tensor) -> Tensor:
        return torch.where(gone[:, labels.to(s.device)], new[at], s[at])

    s = tree.map_leaves(leaf, batch.s, replacement, subject.groups.labels)
    x = subject.transform.inverse(s, batch.x.shape[1:]) + batch.residual[at]
    return measured_value(subject.evaluate(x), take_target(batch.target, at), subject.task).double().cpu()


def without(batch: Batch, keep: Tree, replacement: Tree) -> Tree:
    """Coefficients that are kept where a tree of booleans (N, ...) says so, and replaced elsewhere."""
    return tree.map_leaves(torch.where, keep, batch.s, replacement)
