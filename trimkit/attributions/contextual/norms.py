"""Norms of contextual decomposition: both parts are centred, and divided by the deviation of the sum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.attributions.carrier import Call
from trimkit.attributions.contextual.pair import Pair, add_constant, on_groups


def rms_norm(call: Call) -> Pair:
    """Divide both parts by the root mean square of the sum."""
    pair, shape = call.args[0], tuple(call.argument(1, "normalized_shape"))
    eps = call.argument(3, "eps")
    eps = torch.finfo(pair.total.dtype).eps if eps is None else eps
    scale = (pair.total.square().mean(tuple(range(-len(shape), 0)), keepdim=True) + eps).rsqrt()
    scaled = Pair(pair.total * scale, on_groups(lambda part: part * scale, pair.relevant))
    return _scaled(scaled, call.argument(2, "weight"), None)


def layer_norm(call: Call) -> Pair:
    """Centre both parts, and divide both by the deviation of the sum: exact in the sum, linear in the parts."""
    pair, shape = call.args[0], tuple(call.argument(1, "normalized_shape"))
    axes = tuple(range(-len(shape), 0))
    scaled = _standardised(pair, axes, call.argument(4, "eps", 1e-5))
    return _scaled(scaled, call.argument(2, "weight"), call.argument(3, "bias"))


def group_norm(call: Call) -> Pair:
    """As `layer_norm`, over groups of channels."""
    pair, groups = call.args[0], call.argument(1, "num_groups")
    shape = pair.total.shape
    cut = _reshaped(pair, (shape[0], groups, -1))
    scaled = _reshaped(_standardised(cut, (-1,), call.argument(4, "eps", 1e-5)), shape)
    ones = [1] * (len(shape) - 2)
    weight, bias = (
        w if w is None else w.reshape(-1, *ones) for w in (call.argument(2, "weight"), call.argument(3, "bias"))
    )
    return _scaled(scaled, weight, bias)


def _standardised(pair: Pair, axes: tuple[int, ...], eps: float) -> Pair:
    scale = (pair.total.var(axes, correction=0, keepdim=True) + eps).rsqrt()

    def centred(values: Tensor) -> Tensor:
        return (values - values.mean(axes, keepdim=True)) * scale

    return Pair(centred(pair.total), on_groups(centred, pair.relevant))


def _reshaped(pair: Pair, shape: Sequence[int]) -> Pair:
    return Pair(pair.total.reshape(shape), on_groups(lambda part: part.reshape(shape), pair.relevant))


def _scaled(pair: Pair, weight: Tensor | None, bias: Tensor | None) -> Pair:
    if weight is not None:
        pair = Pair(pair.total * weight, on_groups(lambda part: part * weight, pair.relevant))
    return pair if bias is None else add_constant(pair, bias)
