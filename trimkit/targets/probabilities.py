"""Log-probabilities of the classes that an output's logits mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from trimkit.errors import ShapeError
from trimkit.targets.selection import NextTokens, Target, class_axis, select


def log_probabilities(output: Tensor) -> Tensor:
    """Σ_c log p_c over the classes, of all positions where there are some: (N, K) or (N, K, H, W), … → (N,).

    What Ross et al. 2017, eq. 1 attribute.
    """
    return class_log_probabilities(output).flatten(1).sum(1)


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


def label_log_probability(output: Tensor, target: Target) -> Tensor:
    """log p of the labels that a target names, summed over labels or positions: (N,).

    Args:
        output: logits.
        target: see `trimkit.targets.Target`; labels (N, K) of 0 and 1 are independent: Σ_k log σ(±z_k).
    Raises:
        ShapeError: one logit a position, whose resolved target does not hold the absent labels.

    >>> label_log_probability(torch.zeros(2, 4), torch.tensor([0, 3])).exp()
    tensor([0.2500, 0.2500])
    """
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
