"""Samples of one batch with what is known of them, and the blocks of ids that batches are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.targets import Target, take_target


@dataclass(frozen=True)
class Explained:
    """Scores of a batch.

    Attributes:
        scores: real leaves like the coefficients.
        gap: (N,) Σ scores − change, for attributions that claim completeness, else None.
        change: (N,) f(x) − f(baseline), where there is a gap.
        steps: (N,) quadrature nodes that were used, where the attribution has them.
    """

    scores: Tree
    gap: Tensor | None = None
    change: Tensor | None = None
    steps: Tensor | None = None

    def rows(self, index: Tensor) -> Explained:
        """The samples at an index (M,)."""
        return Explained(
            take(self.scores, index),
            *(None if v is None else v[index] for v in (self.gap, self.change, self.steps)),
        )


@dataclass(frozen=True)
class Batch:
    """Samples, and what is known of them.

    Attributes:
        ids: indices in the dataset, rising.
        x: (N, *size), on the model's device.
        target: what is explained, resolved from the audited model's output.
        s: coefficients of x.
        residual: x − T⁻¹(s).
        explained: attribution's label → its scores.
        outputs: (N, ...) what the model says; the explained values (N, 1) of a callable target; None where nobody
            asked it.
    """

    ids: tuple[int, ...]
    x: Tensor
    target: Target
    s: Tree
    residual: Tensor
    explained: Mapping[str, Explained] = field(default_factory=dict)
    outputs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Sequence[int]) -> Batch:
        """The samples at these positions of the batch."""
        at = torch.as_tensor(index, dtype=torch.long, device=self.x.device)
        return Batch(
            tuple(self.ids[i] for i in index),
            self.x[at],
            take_target(self.target, at),
            take(self.s, at),
            self.residual[at],
            {label: explained.rows(at) for label, explained in self.explained.items()},
            None if self.outputs is None else self.outputs[list(index)],
        )


def blocks_of(ids: Sequence[int], size: int, shard: tuple[int, int] = (1, 1)) -> Iterator[Sequence[int]]:
    """Consecutive ids, ``size`` at a time, the last perhaps fewer; of n shards, shard i takes every n-th block.

    The blocks are the same whatever the number of shards.

    Example:
        >>> [list(block) for block in blocks_of(range(7), 3)], [list(block) for block in blocks_of(range(7), 3, (2, 2))]
        ([[0, 1, 2], [3, 4, 5], [6]], [[3, 4, 5]])
    """
    number, count = shard
    for start in range((number - 1) * size, len(ids), count * size):
        yield ids[start : start + size]


def take(values: Tree, index: Tensor) -> Tree:
    """Some samples of a tree (N, ...).

    >>> take(torch.arange(6.0).view(3, 2), torch.tensor([2, 0]))
    tensor([[4., 5.],
            [0., 1.]])
    """
    return tree.map_leaves(lambda leaf: leaf[index], values)


def join(parts: Sequence[Explained]) -> Explained:
    """Put the scores of consecutive samples together."""
    columns = [[getattr(part, name) for part in parts] for name in ("gap", "change", "steps")]
    return Explained(
        tree.concatenate([part.scores for part in parts]),
        *(None if column[0] is None else torch.cat(column) for column in columns),
    )
