"""Which number of a model's output is explained."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from trimkit.errors import OptionError, ShapeError, nearest

Target: TypeAlias = str | SupportsIndex | Tensor | Sequence[int] | Callable[[Any], Tensor] | None
"""None: the output is (N,) or (N, 1). An int k (also a numpy integer): output[:, k]. A tensor (N,): one class a sample.
A tuple: an index into an output with more axes. A callable: output → (N,). "predicted": the class with the largest
logit at the explained point, or the only output. "label": that of the data."""

WORDS = ("predicted", "label")
"""What is explained, in words; the same in training, audits, integrations and on the command line."""

_FORMS = (
    "None, an int k for output[:, k], a tensor of labels (N,), a tuple for an index into more axes, or a callable "
    "output → (N,)"
)


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
        ShapeError: a target of another form or that does not fit the output, or an output with other than copies · N
            rows.
    """
    _check_rows(output, copies, rows)
    if callable(target):
        return _one_a_row(target(output), output, rows)
    if not isinstance(output, Tensor):
        raise ShapeError(
            f"expected a tensor from the model, got {type(output).__name__}; "
            "pass a callable target that picks the number, e.g. target=lambda out: out['logits'][:, 3]"
        )
    if target is None:
        return _only_column(output)
    if output.ndim < 2:
        raise ShapeError(f"target {_brief(target)} needs an output (N, K), got {tuple(output.shape)}; use target=None")
    if isinstance(target, Tensor):
        return _per_sample(output, target, copies)
    return _at(output, _index(target))


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


def parse_target(text: str) -> str | int:
    """A target as typed: ``predicted``, ``label`` or the number of a class.

    Raises:
        OptionError: anything else.
    """
    return int(text) if text.isdecimal() else require_target(text)


def resolve_target(target: Target, output: Any, labels: Tensor | None = None) -> Target:
    """A target without words, fixed at the explained point: the same class along a whole path.

    Args:
        target: see `Target`.
        output: of the model for the N samples.
        labels: (N,) classes, where the data has them.
    Returns:
        For a word: classes (N,), or None where there is one output. Any other target as it is.
    Raises:
        OptionError: an unknown word, or "label" without labels.
        ShapeError: a word for an output that is neither (N,) nor (N, K).
    """
    if not isinstance(require_target(target), str):
        return target
    if not isinstance(output, Tensor) or output.ndim not in (1, 2):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ShapeError(f"target {target!r} needs an output (N,) or (N, K), got {got}; pass a callable output → (N,)")
    if output.ndim == 1 or output.shape[1] == 1:
        return None
    if target == "predicted":
        return output.detach().argmax(1)
    if labels is None:
        raise OptionError("target 'label' needs labels, and none came; pass them as the target, a tensor (N,)")
    return labels.to(output.device)


def log_probabilities(output: Tensor) -> Tensor:
    """Σ_c log p_c over the classes, (N, K) → (N,): what Ross et al. 2017, eq. 1 attribute."""
    return class_log_probabilities(output).sum(1)


def class_log_probabilities(output: Tensor) -> Tensor:
    """log p_c of each class, (N, K) → (N, K); one logit z, (N,) or (N, 1), is binary: (N, 2) of log σ(−z), log σ(z).

    >>> class_log_probabilities(torch.zeros(1, 4)).exp(), class_log_probabilities(torch.zeros(1)).exp()
    (tensor([[0.2500, 0.2500, 0.2500, 0.2500]]), tensor([[0.5000, 0.5000]]))
    """
    if output.ndim == 1 or output.shape[1] == 1:
        logit = output.reshape(len(output))
        return torch.stack([logsigmoid(-logit), logsigmoid(logit)], dim=1)
    return log_softmax(output, dim=1)


def predicted(output: Tensor) -> Tensor:
    """The largest logit of each sample, (N, K) → (N,)."""
    return output.max(dim=1).values


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
        f"target=None needs an output (N,) or (N, 1), got {tuple(output.shape)}; name a class, "
        "a tensor of labels (N,), an index tuple or a callable"
    )


def _per_sample(output: Tensor, target: Tensor, copies: int) -> Tensor:
    n = len(output) // copies
    if target.shape != (n,) or target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise ShapeError(
            f"expected an integer target of shape ({n},), one class a sample, got {target.dtype} {tuple(target.shape)}"
        )
    if output.ndim != 2:
        raise ShapeError(f"a tensor target needs an output (N, K), got {tuple(output.shape)}; pass a callable")
    index = target.to(output.device, torch.long).unsqueeze(1)
    try:
        return output.gather(1, index if copies == 1 else index.repeat(copies, 1)).squeeze(1)
    except RuntimeError as error:  # on the host, gather checks its index; a check of ours would be a second one
        low, high, most = int(target.min()), int(target.max()), output.shape[1] - 1
        if low >= 0 and high <= most:
            raise
        raise ShapeError(f"expected targets in 0 … {most}, got {low} … {high}") from error


def _at(output: Tensor, index: tuple[int, ...]) -> Tensor:
    if len(index) != output.ndim - 1:
        raise ShapeError(f"target {index} needs an output with {len(index) + 1} axes, got {tuple(output.shape)}")
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
