"""More quadrature steps for the samples whose integrated gradients do not add up yet."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trimkit.attributions.gradient import IntegratedGradients
from trimkit.coefficients import tree
from trimkit.errors import ShapeError, TrimkitWarning
from trimkit.predictor.inputs import take_rows
from trimkit.targets import NextTokens, take_target
from trimkit.trim.result import TrimResult

Again = Callable[[IntegratedGradients, Tensor | None], TrimResult]
"""(attribution, numbers of some samples, or None for all) → their result."""


def refined(result: TrimResult, attribution: IntegratedGradients, again: Again, divisible: bool) -> TrimResult:
    """Double the steps of the samples whose scores miss the change of the output by more than the tolerance.

    Args:
        result: from ``attribution``, with a gap.
        attribution: its ``n_steps`` are doubled up to its ``most_steps``; a None ``tolerance`` leaves all as it is.
        again: explains samples anew.
        divisible: some samples can be explained without the others.
    Returns:
        The result with ``steps``, and a warning of what remains.
    """
    steps, tolerance = attribution.n_steps, attribution.tolerance
    result = replace(result, steps=torch.full((tree.batch_size(result.scores),), steps))
    if tolerance is None:
        return result
    while len(wide := _wide(result, tolerance)) and 2 * steps <= attribution.most_steps:
        steps *= 2
        finer = copy.copy(attribution)
        finer.n_steps, finer.tolerance = steps, None
        result = _put(result, wide, again(finer, wide)) if divisible else again(finer, None)
    if len(wide):
        _warn(result, wide, tolerance)
    return result


def rows_of(value: Any, numbers: Tensor | None, samples: int) -> Any:
    """Some samples of a target or baseline, where it has one row a sample; else as it is."""
    if numbers is None:
        return value
    if isinstance(value, NextTokens):
        return take_target(value, numbers)
    if isinstance(value, Tensor):
        return take_rows(value, numbers) if value.shape[:1] == (samples,) else value
    try:
        return tree.map_leaves(lambda leaf: rows_of(leaf, numbers, samples), value)
    except ShapeError:  # a word, a number, a callable
        return value


def _wide(result: TrimResult, tolerance: float) -> Tensor:
    """Samples whose gap is more than a share of their change, or of a hundredth of the batch's largest."""
    assert result.gap is not None
    assert result.change is not None
    finite = result.gap.isfinite() & result.change.isfinite()  # of others, of which a warning has told, no step helps
    change = result.change.abs().masked_fill(~finite, 0)
    allowed = tolerance * change.clamp_min(0.01 * float(change.max())) + 1e3 * torch.finfo(change.dtype).eps
    return ((result.gap.abs() > allowed) & finite).nonzero()[:, 0]


def _put(into: TrimResult, wide: Tensor, new: TrimResult) -> TrimResult:
    def leaf(old: Tensor, fresh: Tensor) -> Tensor:
        return old.index_copy(0, wide.to(old.device), fresh.to(old))

    columns: dict[str, Any] = {
        name: leaf(getattr(into, name), getattr(new, name)) for name in ("gap", "change", "steps")
    }
    return replace(into, scores=tree.map_leaves(leaf, into.scores, new.scores), **columns)


def _warn(result: TrimResult, wide: Tensor, tolerance: float) -> None:
    assert result.gap is not None
    assert result.change is not None
    worst = wide[int(result.gap[wide].abs().argmax())]
    assert result.steps is not None
    warnings.warn(
        f"integrated_gradients: the scores of {len(wide)} of {len(result.gap)} samples miss the change of the output "
        f"by more than {100 * tolerance:g} % after {int(result.steps[worst])} steps "
        f"(up to {float(result.gap[worst].abs()):.2g}, where the change is {float(result.change[worst]):.2g}); see the "
        "result's gap, and give more steps: n_steps=…",
        TrimkitWarning,
        stacklevel=4,
    )
