"""Max pooling for `trimkit.attributions.relevance`: what each window's largest entries contribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trimkit.attributions.carrier import Call
from trimkit.attributions.contextual.rules import maximum_over
from trimkit.attributions.relevance.twin import Places, Twin


def max_pool(call: Call) -> Any:
    """The maximum over windows."""
    (twin,) = (pair for pair in call.pairs if isinstance(pair, Twin))
    axes = int(call.name[-2])  # max_pool1d, max_pool2d, max_pool3d
    indexed = Call(getattr(F, call.name), call.name, call.args, {**call.kwargs, "return_indices": True})
    (total, i), (reference, j) = (indexed.on([part]) for part in (twin.total, twin.reference))

    def take(values: Tensor, places: Tensor) -> Tensor:
        return values.flatten(-axes).gather(-1, places.flatten(-axes)).reshape(places.shape)

    return Twin(total, reference, _change(twin, i, j, take))


def maximum(call: Call) -> Any:
    """The maximum along one axis, or several, one after the other."""
    if not isinstance(axis := call.argument(1, "dim"), int):
        return maximum_over(call)
    twin, keep = call.args[0], call.argument(2, "keepdim", False)
    i, j = (part.argmax(axis, keepdim=True) for part in (twin.total, twin.reference))

    def take(values: Tensor, places: Tensor) -> Tensor:
        return values.gather(axis, places)

    parts = [take(twin.total, i), take(twin.reference, j), _change(twin, i, j, take)]
    result = Twin(*(part if keep else part.squeeze(axis) for part in parts))
    if call.name == "amax":
        return result
    i, j = (places if keep else places.squeeze(axis) for places in (i, j))
    return torch.return_types.max((result, i if torch.equal(i, j) else Places(i, j, torch.zeros_like(i))))


def _change(twin: Any, i: Tensor, j: Tensor, take: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Δ max, with x_i the largest at the point and x_j at the reference.

    Where they are the same entry it is that one's change. Else each gets its Shapley value in max(x_i, x_j): the mean,
    over both orders, of what its change does.
    """
    (xi, ri), (xj, rj) = ([take(part, places) for part in (twin.total, twin.reference)] for places in (i, j))
    only_i, only_j = torch.maximum(xi, rj), torch.maximum(ri, xj)
    share_i = (only_i - rj + xi - only_j) / 2
    share_j = (only_j - rj + xi - only_i) / 2
    two = _slope(share_i, xi - ri) * take(twin.change, i) + _slope(share_j, xj - rj) * take(twin.change, j)
    return torch.where(i == j, take(twin.change, i), two)


def _slope(share: Tensor, change: Tensor) -> Tensor:
    """share / change, which is in [0, 1]; 0 where nothing changes."""
    still = change == 0
    return (share / change.masked_fill(still, 1)).masked_fill(still, 0).clamp(0, 1)
