"""Log-probabilities of the classes that an output's logits mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from trimkit.errors import ShapeError
from trimkit.targets.selection import NextTokens, Target, class_axis, logits_in, select


def log_probabilities(output: Any) -> Tensor:
    """Σ_c log p_c over the classes, of all positions where there are some: (N, K) or (N, K, H, W), … → (N,).

    What Ross et al. 2017, eq. 1 attribute.
    """
    return class_log_probabilities(require_logits(output)).flatten(1).sum(1)


def require_logits(output: Any) -> Tensor:
    """The logits of an output, (N, ...).

    Raises:
        ShapeError: it holds no real floating tensor.
    """
    logits = logits_in(output)
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or not logits.ndim:
        got = f"{logits.dtype} {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ShapeError(f"expected logits (N, ...) from the model, whose probabilities are explained, got {got}")
    return logits


def class_log_probabilities(output: Tensor) -> Tensor:
    """log p_c of each class, in the output's shape; one logit z is binary: log σ(−z), log σ(z) in its place.

    >>> class_log_probabilities(torch.zeros(1, 4)).exp(), class_log_probabilities(torch.zeros(1)).exp()
    (tensor([[0.2500, 0.2500, 0.2500, 0.2500]]), tensor([[0.5000, 0.5000]]))
    """
    if output.ndim == 1:
        output = output[:, None]
    axis = class_axis(output)
    if output.shape[axis] == 1:
        return torch.cat([logsigmoid(-output), logsigmoid(output)], dim=axis)
    return log_softmax(output, dim=axis)


def label_log_probability(output: Any, target: Target) -> Tensor:
    """log p of the labels that a target names, summed over labels or positions: (N,).

    Args:
        output: logits, or what holds them.
        target: see `trimkit.targets.Target`; labels (N, K) of 0 and 1 are independent: Σ_k log σ(±z_k).
    Raises:
        ShapeError: one logit a position, whose resolved target does not hold the absent labels.

    >>> label_log_probability(torch.zeros(2, 4), torch.tensor([0, 3])).exp()
    tensor([0.2500, 0.2500])
    """
    output = require_logits(output)
    if isinstance(target, NextTokens):
        return select(output, target)
    if isinstance(target, Tensor) and target.ndim == 2 and output.ndim == 2:
        present = target.to(output.device) > 0
        return torch.where(present, logsigmoid(output), logsigmoid(-output)).sum(1)
    if output.ndim > 2 and output.shape[class_axis(output)] == 1:
        raise ShapeError("the cross-entropy of one logit a position is not explained; give two logits, [0, z]")
    if output.numel() == len(output) and isinstance(target, Tensor):
        target = target.reshape(len(output)).long()
    return select(class_log_probabilities(output), target)


def predicted(output: Tensor) -> Tensor:
    """The largest logit of each sample, (N, K) → (N,)."""
    return output.max(dim=1).values
