"""The words for what is explained, and the classes that they mean at the explained point."""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.targets.selection import IGNORED, NextTokens, Target, class_axis, logits_in, present_labels

WORDS = ("predicted", "label")
"""What is explained, in words; the same in training, audits, integrations and on the command line."""


def require_target(target: Any) -> Any:
    """The target itself, where it is no unknown word.

    Raises:
        OptionError: a word that names no target, with the nearest one.
    """
    if isinstance(target, str) and target not in WORDS:
        raise OptionError(
            "expected target 'predicted', 'label', the number of a class, a tuple, a callable or None, got "
            f"{target!r}. {nearest(target, WORDS)}"
        )
    return target


def parse_target(text: str) -> str | int | tuple[int, ...]:
    """A target as typed: ``predicted``, ``label``, the number of a class, or an index such as ``2,7,7``.

    Raises:
        OptionError: anything else.
    """
    numbers = text.split(",")
    if all(part.strip().isdecimal() for part in numbers):
        return int(text) if len(numbers) == 1 else tuple(map(int, numbers))
    return require_target(text)


def resolve_target(target: Target, output: Any, labels: Tensor | None = None, padding: Tensor | None = None) -> Target:
    """A target without words, fixed at the explained point: the same classes along a whole path.

    Args:
        target: see `Target`.
        output: of the model for the N samples.
        labels: of the samples, where the data has them: forms as of a tensor target.
        padding: (N, T) True at positions that are left out.
    Returns:
        For "predicted" classes (N,), or of each position (N, T), (N, H, W), or None where there is one output. For
        "label" the labels. A class k of an output with positions: k at those that are predicted as k, −100 elsewhere,
        as Seg-Grad-CAM sums them (Vinogradova et al. 2020, 2002.11434). Any other target as it is.
    Raises:
        OptionError: an unknown word, or "label" without labels.
        ShapeError: a word for an output that is no tensor, or labels that do not fit it.
    """
    output = output if callable(target) else logits_in(output)
    if isinstance(target, str) and target == "label":
        _require_tensor("label", output)
        if output.ndim == 1 or output.shape[1:] == (1,):
            return None
        if labels is None:
            raise OptionError("target 'label' needs labels, and none came; pass them as the target, a tensor (N,)")
        target = labels.to(output.device)
    if isinstance(target, str):
        return _predicted(require_target(target), output, padding)
    if not isinstance(output, Tensor):
        return target
    if isinstance(target, NextTokens):
        return NextTokens(_without(padding, target.labels))
    if isinstance(target, Tensor):
        labels = _label_target(target, output)
        return labels if output.ndim < 3 else _without(padding, labels)
    if isinstance(target, SupportsIndex) and output.ndim > 2 and not isinstance(target, bool):
        classes = _classes(output, padding)
        return torch.where(classes == _in_range(operator.index(target), output), classes, IGNORED)
    return target


def next_token(output: Tensor, padding: Tensor | None = None) -> Tensor:
    """The token that a causal language model predicts after the text: a target for its logit.

    Args:
        output: (N, T, V) logits.
        padding: (N, T) True at tokens that are padding, left or right.
    Returns:
        (N, T): the token with the largest logit at the last position that is no padding, −100 elsewhere.
    """
    shown = torch.ones(output.shape[:2], dtype=torch.bool, device=output.device) if padding is None else ~padding
    steps = torch.arange(output.shape[1], device=output.device)
    last = torch.where(shown.to(output.device), steps, -1).amax(1, keepdim=True)
    return torch.where(steps == last, output.detach().argmax(2), IGNORED)


def _predicted(word: str, output: Any, padding: Tensor | None) -> Tensor | None:
    _require_tensor(word, output)
    if output.ndim == 1 or output.shape[1:] == (1,):
        return None
    return output.detach().argmax(1) if output.ndim == 2 else _classes(output, padding)


def _classes(output: Tensor, padding: Tensor | None) -> Tensor:
    """The class of each position, −100 at padding; with one logit a position, 0 where it is positive, else −100."""
    axis = class_axis(output)
    classes = output.detach().argmax(axis)
    if output.shape[axis] == 1:
        classes = torch.where(output.detach().select(axis, 0) > 0, 0, IGNORED)
    return _without(padding, classes)


def _without(padding: Tensor | None, classes: Tensor) -> Tensor:
    """Classes of positions, −100 at padding."""
    if padding is None or padding.shape != classes.shape:
        return classes
    return classes.masked_fill(padding.to(classes.device), IGNORED)


def _label_target(labels: Tensor, output: Tensor) -> Tensor:
    """Labels as a target: 0 and 1 of (N, K) as booleans; of one logit a position, the positions whose label is 1."""
    if labels.ndim == 2 and labels.shape == output.shape and labels.shape[1] > 1:
        return present_labels(labels)
    if output.ndim > 2 and labels.shape == output.shape and output.shape[class_axis(output)] == 1:
        labels = labels.squeeze(class_axis(output))
    if output.ndim > 2 and output.shape[class_axis(output)] == 1 and labels.ndim == output.ndim - 1:
        return torch.where(labels == 1, 0, IGNORED)
    return labels


def _in_range(k: int, output: Tensor) -> int:
    classes = output.shape[class_axis(output)]
    if not -classes <= k < classes:
        raise ShapeError(f"target {k} is out of range: the output has {classes} classes")
    return k % classes


def _require_tensor(word: str, output: Any) -> None:
    if not isinstance(output, Tensor) or output.ndim < 1:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ShapeError(
            f"target {word!r} needs an output (N,), (N, K), (N, T, K) or (N, K, H, W), got {got}; pass a callable "
            "output → (N,)"
        )
