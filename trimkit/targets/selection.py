"""Which number of a model's output is explained."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, pad

from trimkit.errors import ShapeError

IGNORED = -100
"""Positions with this label are left out, as torch's cross_entropy and Hugging Face's models leave them out."""


@dataclass(frozen=True)
class NextTokens:
    """Σ_t log p(token t + 1 | tokens up to t): what attributions of a causal language model explain of a given text.

    Captum's attributions of generated text (Miglani et al. 2023, 2312.05491) explain the same sum.

    Attributes:
        labels: (N, T) token ids as Hugging Face takes them: that at position t is predicted at t − 1, and −100 is left
            out (padding, a prompt).
    """

    labels: Tensor

    @property
    def index(self) -> Tensor:
        """(N, T) the token that each position predicts, −100 where it is left out."""
        return pad(self.labels[:, 1:], (0, 1), value=IGNORED)


Target: TypeAlias = str | SupportsIndex | Tensor | NextTokens | Sequence[int] | Callable[[Any], Tensor] | None
"""None: the output is (N,) or (N, 1). An int k (also a numpy integer): output[:, k]. A tensor (N,): one class a sample;
(N, K) of 0 and 1: the logits of the labels that are present, summed; (N, T) or (N, H, W): the logit of each position's
class, summed without those of −100. A tuple: an index into an output with more axes. A callable: output → (N,).
"predicted": the class with the largest logit at the explained point (of each position), or the only output. "label":
that of the data. Classes are the second axis of an output, the last of one with three: (N, K), (N, T, K), (N, K, H, W).
"""

_FORMS = (
    "None, an int k for output[:, k], a tensor of labels (N,), a tuple for an index into more axes, or a callable "
    "output → (N,)"
)

_LABELS = "labels (N,) of an output (N, K); 0 or 1 (N, K); classes (N, T) of (N, T, K), or (N, H, W) of (N, K, H, W)"


def select(output: Any, target: Target, copies: int = 1, rows: int | None = None) -> Tensor:
    """The explained number of each sample.

    Args:
        output: what the model returned for ``copies`` whole copies of the batch, (copies · N, ...).
        target: see `Target`; a tensor target has N entries and serves each copy.
        copies: how many copies of the batch the rows hold.
        rows: copies · N, where the caller knows how many rows went into the model.
    Returns:
        (copies · N,) real.
    Raises:
        ShapeError: a target of another form or that does not fit the output, an output with other than copies · N
            rows, or one that is complex or boolean.
    """
    values = _selected(output, target, copies, rows)
    if values.is_complex() or values.dtype == torch.bool:
        raise ShapeError(
            f"expected real numbers from the model, got {values.dtype}; pass a callable target that makes one, such as "
            "target=lambda out: out.abs()[:, 0], or explain what was compared"
        )
    return values


def _selected(output: Any, target: Target, copies: int, rows: int | None) -> Tensor:
    output = output if callable(target) else logits_in(output)
    _check_rows(output, copies, rows)
    if callable(target):
        return _one_a_row(target(output), output, rows)
    if not isinstance(output, Tensor):
        way = "pass a callable target that picks the number, e.g. target=lambda out: out[0][:, 3]"
        if hasattr(output, "__array__"):
            way = "return torch.as_tensor(...) of it; attributions that take gradients need a model of torch throughout"
        raise ShapeError(f"expected a tensor from the model, got {type(output).__name__}; {way}")
    if target is None:
        return _only_column(output)
    if isinstance(target, NextTokens):
        return _at_positions(log_softmax(output, -1), target.index, copies)
    if output.ndim < 2 and not isinstance(target, Tensor):
        raise ShapeError(f"target {_brief(target)} needs an output (N, K), got {tuple(output.shape)}; use target=None")
    if isinstance(target, Tensor):
        return _per_sample(output, target, copies)
    return _at(output, _index(target))


def logits_in(output: Any) -> Any:
    """What targets read: ``output.logits`` or ``output["logits"]`` where there is one, else the output itself.

    Example:
        >>> logits_in({"loss": torch.tensor(0.5), "logits": torch.zeros(2, 3)}).shape
        torch.Size([2, 3])
    """
    if isinstance(output, Tensor):
        return output
    inside = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return inside if isinstance(inside, Tensor) else output


def class_axis(output: Tensor) -> int:
    """The axis of classes: the second, or the last of three.

    >>> class_axis(torch.zeros(2, 5, 8, 8)), class_axis(torch.zeros(2, 7, 5))     # (N, K, H, W) and (N, T, K)
    (1, 2)
    """
    return 2 if output.ndim == 3 else 1


def take_target(target: Target, samples: Tensor) -> Target:
    """The target of some samples: what has a row for each is indexed, any other form serves every sample."""
    if isinstance(target, NextTokens):
        return NextTokens(target.labels[samples.to(target.labels.device)])
    return target[samples.to(target.device)] if isinstance(target, Tensor) and target.ndim else target


def _check_rows(output: Any, copies: int, rows: int | None) -> None:
    if (
        not isinstance(output, Tensor)
        or output.ndim == 0
        or (len(output) == rows if rows is not None else not len(output) % copies)
    ):
        return
    expected = (
        f"{rows} rows for as many samples"
        if rows is not None
        else f"a multiple of {copies} rows, one a sample and copy"
    )
    raise ShapeError(
        f"expected an output with {expected}, got {tuple(output.shape)}: the model mixes or reorders the batch, or is "
        "not batch first; wrap it so that row i belongs to sample i"
    )


def _index(target: Any) -> tuple[int, ...]:
    """A target that is neither tensor nor callable as an index behind the batch."""
    if isinstance(target, list) or getattr(target, "ndim", 0):  # numpy's arrays of labels, too
        raise ShapeError(
            f"expected {_FORMS}, got {type(target).__name__} {_brief(target)}: for one class a sample use "
            "torch.tensor(labels), for an index a tuple"
        )
    entries = target if isinstance(target, tuple) else (target,)
    try:
        if any(isinstance(entry, bool) for entry in entries):
            raise TypeError
        return tuple(operator.index(entry) for entry in entries)
    except TypeError:
        raise ShapeError(f"expected {_FORMS}, got {type(target).__name__} {_brief(target)}") from None


def _only_column(output: Tensor) -> Tensor:
    if output.ndim == 1:
        return output
    if output.ndim == 2 and output.shape[1] == 1:
        return output[:, 0]
    raise ShapeError(
        f"target=None needs an output (N,) or (N, 1), got {tuple(output.shape)}; name a class, 'predicted', "
        f"a tensor of labels ({_LABELS}), an index tuple or a callable"
    )


def _per_sample(output: Tensor, target: Tensor, copies: int) -> Tensor:
    n = len(output) // copies
    if output.numel() == len(output) and target.numel() == n:  # the labels of one output name no other
        return output.reshape(len(output))
    if target.ndim == 2 and target.shape == (n, *output.shape[1:]):
        return (output * _repeated(present_labels(target), copies).to(output.device)).sum(1)
    if output.ndim > 2 and target.ndim > 1 and not target.is_floating_point() and target.dtype != torch.bool:
        return _at_positions(output, target, copies)
    if target.shape != (n,) or target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise ShapeError(
            f"expected an integer target of shape ({n},), one class a sample, got {target.dtype} "
            f"{tuple(target.shape)} for an output {tuple(output.shape)}; there are {_LABELS}"
        )
    if output.ndim != 2:
        raise ShapeError(
            f"a tensor target (N,) needs an output (N, K), got {tuple(output.shape)}; pass a callable, or {_LABELS}"
        )
    index = target.to(output.device, torch.long).unsqueeze(1)
    return _gathered(output, index if copies == 1 else index.repeat(copies, 1), 1).squeeze(1)


def _at_positions(output: Tensor, classes: Tensor, copies: int) -> Tensor:
    """The logit of each position's class, summed: (copies · N, …) and (N, *positions) → (copies · N,)."""
    axis = class_axis(output)
    expected = (len(output) // copies, *output.shape[1:axis], *output.shape[axis + 1 :])
    if output.ndim < 3 or classes.shape != expected:
        raise ShapeError(f"expected classes {expected} of an output {tuple(output.shape)}, got {tuple(classes.shape)}")
    index = _repeated(classes.to(output.device, torch.long), copies).unsqueeze(axis)
    values = _gathered(output, index.masked_fill(index == IGNORED, 0), axis)
    return torch.where(index == IGNORED, 0, values).flatten(1).sum(1)


def _gathered(output: Tensor, index: Tensor, axis: int) -> Tensor:
    try:
        return output.gather(axis, index)
    except RuntimeError as error:  # on the host, gather checks its index; a check of ours would be a second one
        low, high, most = int(index.min()), int(index.max()), output.shape[axis] - 1
        if low >= 0 and high <= most:
            raise
        raise ShapeError(f"expected targets in 0 … {most}, got {low} … {high}") from error


def _repeated(rows: Tensor, copies: int) -> Tensor:
    return rows if copies == 1 else rows.repeat(copies, *[1] * (rows.ndim - 1))


def present_labels(labels: Tensor) -> Tensor:
    """Labels (N, K) of 0 and 1 as booleans."""
    if labels.dtype != torch.bool and not bool(((labels == 0) | (labels == 1)).all()):
        raise ShapeError(
            f"expected labels of 0 and 1 as a target (N, K), got {labels.dtype} with other values: they are no choice "
            "of outputs; name one, target=0, or pass a callable output → (N,)"
        )
    return labels.bool()


def _at(output: Tensor, index: tuple[int, ...]) -> Tensor:
    if len(index) != output.ndim - 1:
        raise ShapeError(
            f"target {index} needs an output with {len(index) + 1} axes, got {tuple(output.shape)}; an index has one "
            "entry for each axis behind the samples"
        )
    for axis, (i, length) in enumerate(zip(index, output.shape[1:], strict=True), start=1):
        if not -length <= i < length:
            raise ShapeError(f"target {index} is out of range: axis {axis} of the output has {length} entries")
    return output[(slice(None), *index)]


def _one_a_row(values: Any, output: Any, rows: int | None) -> Tensor:
    count = len(output) if isinstance(output, Tensor) and output.ndim else rows
    expected = "(N,)" if count is None else f"({count},)"
    if not isinstance(values, Tensor) or values.ndim != 1 or (count is not None and len(values) != count):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ShapeError(
            f"expected one number a sample, {expected}, from the callable target, got {got}; do not sum over the "
            "batch, and do not index by labels of the batch (pass target=labels for that)"
        )
    return values


def _brief(target: Any) -> str:
    if isinstance(target, Tensor):
        return f"tensor {tuple(target.shape)}"
    text = repr(target)
    return text if len(text) <= 60 else f"{text[:57]}…"
