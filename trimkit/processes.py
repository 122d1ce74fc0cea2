"""This process's share of a batch that several processes, or several turns of one, work on together.

While a training step runs, the loop says which rows of the batch are at hand (`sharing`). What depends on the batch as
a whole is then what one process with the whole batch would compute: random numbers a row (`draw`), and statistics of
all rows (`gather`). Outside a step, in evaluation and in the user's own loops, both know nothing of other processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def hash_to_seed(text: str) -> int:
    """A 63-bit seed: a hash of what it is for, since sums such as seed + step would collide.

    Example:
        >>> hash_to_seed("0|order|1") == hash_to_seed("0|order|1")
        True
        >>> hash_to_seed("0|order|1") == hash_to_seed("1|order|0")
        False
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass
class Share:
    """Consecutive rows of a batch.

    Attributes:
        index: which share, from 0; the rows of share 0 come first.
        count: of shares, all of one size: processes × turns.
        rows: in each share.
        processes: that hold a share at the same time.
        gathered: set by `gather`: somebody took a statistic of the rows.
    """

    index: int
    count: int
    rows: int
    processes: int = 1
    gathered: bool = False

    @property
    def partial(self) -> bool:
        """True where `gather` cannot reach all rows, since processes take several turns."""
        return self.count > self.processes


_share: Share | None = None  # of the process, not of a thread: backward passes run in threads of their own


@contextmanager
def sharing(share: Share) -> Iterator[Share]:
    """Within, the rows at hand are this share of a batch."""
    global _share
    before, _share = _share, share
    try:
        yield share
    finally:
        _share = before


def share_index() -> int:
    """Which share of the batch is at hand, from 0; 0 outside of a training step.

    Example:
        >>> with sharing(Share(1, 2, 4)):
        ...     share_index()
        1
    """
    return 0 if _share is None else _share.index


def draw(make: Callable[[tuple[int, ...]], Tensor], shape: Sequence[int], copies: int = 1) -> Tensor:
    """Random numbers for the rows at hand: those that would be drawn for them within the whole batch.

    Numbers of the whole batch are drawn and all but a share of them dropped, which costs little beside a network. Where
    the number of rows is not that of the share (gathered rows, draws that belong to no sample), every process draws the
    same numbers.

    Args:
        make: shape → random numbers of it, from a generator that is in the same state in every process.
        shape: of the numbers wanted, rows first.
        copies: of each row, in blocks of all rows.
    Returns:
        Numbers of the shape.
    """
    share = _share
    if share is None or share.count == 1 or not shape or shape[0] != copies * share.rows:
        return make(tuple(shape))
    whole = make((copies * share.count * share.rows, *shape[1:]))
    return whole.unflatten(0, (copies, share.count, share.rows))[:, share.index].flatten(0, 1)


def gather(rows: Tensor) -> Tensor:
    """The rows of every process's share of the batch, in the batch's order, with the graph of all of them.

    A statistic of the batch taken on gathered rows is the same on several processes as on one, and so is its gradient:
    every process computes the same statistic, and its own rows receive the gradients of all of them, which the mean of
    the parameters' gradients over processes divides again. Double backward works too. Each process must call it equally
    often, in the same order. Under gradient accumulation it gathers the rows of one turn.

    Args:
        rows: (N, ...) of this process's share.
    Returns:
        (N × processes, ...); ``rows`` itself on one process.
    """
    if _share is None:
        return rows
    _share.gathered = True
    return rows if _share.processes == 1 else _Gather.apply(rows)


class _Gather(torch.autograd.Function):
    """Rows of all processes; backward: the sum of all processes' gradients of this process's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _SumOfShares.apply(gradients[0])


class _SumOfShares(torch.autograd.Function):
    """The adjoint of `_Gather`, whose own adjoint is `_Gather` again."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Gather.apply(gradients[0])
