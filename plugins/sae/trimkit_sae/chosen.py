"""Products of rows with a few chosen directions each, whose gradients never touch the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag


class ChosenProducts(torch.autograd.Function):
    """wⱼ · xₙ for the features j that are chosen of each row: values that are at hand, (N, k), put in the graph.

    The gradient of a direction sums the rows that chose it, those of one direction side by side: N · k products of
    rows in place of the N · M of a matrix product. It has a first derivative only.

    >>> rows, weight, places = torch.eye(2), torch.ones(3, 2, requires_grad=True), torch.tensor([[0], [2]])
    >>> values = (rows @ weight.detach().T).gather(1, places)
    >>> products = ChosenProducts.apply(rows, weight, values, places)
    >>> torch.autograd.grad(products.sum(), weight)[0].tolist()
    [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, values: Tensor, places: Tensor) -> Tensor:
        """The values.

        Args:
            ctx: torch's.
            rows: x, (N, d).
            weight: w, (M, d).
            values: (N, k) wⱼ · xₙ.
            places: (N, k) numbers j, different in a row.
        """
        ctx.save_for_backward(rows, weight, places)
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The gradients of rows and weight from that of the values, (N, k)."""
        rows, weight, places = ctx.saved_tensors
        of_rows = embedding_bag(places, weight, per_sample_weights=gradient, mode="sum")
        order = places.flatten().argsort(stable=True)
        counts = torch.bincount(places.flatten(), minlength=len(weight))
        of_weight = embedding_bag(
            order // places.shape[1],
            rows,
            counts.cumsum(0) - counts,
            per_sample_weights=gradient.flatten()[order],
            mode="sum",
        )
        return of_rows, of_weight, None, None
