"""Before the work: is this data, is this a model, do they fit? And what was understood, for a person to check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from trimkit import targets
from trimkit.audit.layer import held_ids
from trimkit.audit.modules import parameters_of, place, require_evaluation_mode
from trimkit.audit.task import Task, decide_task
from trimkit.data import Dataset, Samples, dataset_of, few
from trimkit.errors import DataError, ModelError
from trimkit.targets import IGNORED, NextTokens, Target, next_token, select

Data: TypeAlias = Dataset | Tensor | Samples | tuple[Tensor | Samples, Tensor]
"""A dataset, x, or (x, y)."""

Wanted: TypeAlias = str | int | tuple[int, ...] | Callable[[Any], Tensor] | None
"""What is explained: "predicted", "label", a class index, an index such as (class, row, column), a callable on the
output; None for its only one."""


FEWEST_BOUNDED, MOST_BOUNDED = 20, 64
"""Samples whose outputs tell probabilities from logits where there is one output, or several labels."""


@dataclass(frozen=True)
class Understood:
    """What the audit takes model and data to be.

    Attributes:
        outputs: number K of outputs or classes a sample.
        task: what the outputs mean.
        lines: (what, how) pairs for a person to check before the work.
        notes: what looks suspicious.
    """

    outputs: int
    task: Task
    lines: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def as_dataset(data: Data, name: str = "data") -> Dataset:
    """Take data in as a dataset.

    Args:
        data: see `Data`.
        name: for reports, where the data has none.
    Raises:
        DataError: no samples, NaN or infinity, labels that do not fit, or something else than data.
    """
    if isinstance(data, Dataset):
        return data
    pair = data if isinstance(data, tuple | list) else (data, None)
    pair = tuple(torch.as_tensor(part) if isinstance(part, np.ndarray) else part for part in pair)
    if len(pair) != 2 or not isinstance(pair[0], Tensor | Samples):
        raise DataError(f"expected a Dataset, a tensor x (N, ...) or a pair (x, y), got {_brief(data)}")
    x, y = pair
    x = x.detach().cpu() if isinstance(x, Tensor) else x
    return dataset_of(name, x, None if y is None else _numbers(y).detach().cpu(), "")


def _numbers(y: Any) -> Tensor:
    try:
        return torch.as_tensor(y)
    except (TypeError, ValueError) as error:
        raise DataError(f"expected labels as numbers, got {type(y).__name__} ({error}); number the classes") from error


def examine(
    model: Callable[[Tensor], Any], data: Dataset, target: Wanted = "predicted", task: str | None = None
) -> Understood:
    """Try a model on two samples, twice, and say what was understood.

    Args:
        model: in evaluation mode.
        data: what it will be audited on.
        target: what will be explained.
        task: one of `trimkit.audit.task.TASKS`; None to tell it from output and labels.
    Raises:
        ModelError: train mode, an output that is random, not finite, or of no single task, or data that it does not
            take.
        DataError: a target for which labels are missing or out of range, labels that fit several tasks or none.
    """
    require_evaluation_mode(model)
    x = place(data.x[:2], model)
    with torch.no_grad(), torch.random.fork_rng(devices=[x.device.index] if x.is_cuda else []):
        first, second = (_try(model, x, target) for _ in range(2))
    if not torch.equal(first, second):
        raise ModelError(
            "the model gives two outputs for one input, so nothing about it can be measured; remove the randomness "
            "(dropout or noise that stays active in evaluation mode), or what it keeps from call to call (a cache, a "
            "counter, a hidden state)"
        )
    decided = _bounded(decide_task(first, data.y, target, task, held_ids(model, x)), model, data, target)
    outputs = first.shape[targets.class_axis(first)]
    check_target(target, data, first, decided)
    return Understood(
        outputs,
        decided,
        tuple(_lines(model, data, first, (target, decided))),
        tuple(_suspicions(data, decided, outputs)),
    )


def _bounded(task: Task, model: Callable[[Tensor], Any], data: Dataset, target: Wanted) -> Task:
    """The task, of one output or several labels, with outputs taken for probabilities where all lie in [0, 1]."""
    if task.name not in ("binary", "multilabel") or len(data) < FEWEST_BOUNDED:
        return task
    with torch.no_grad():
        outputs = _try(model, place(data.x[:MOST_BOUNDED], model), target)
    if not bool(((outputs >= 0) & (outputs <= 1)).all()):
        return task
    how = f"{task.how}; those of {len(outputs)} samples lie in [0, 1], so they are taken for probabilities"
    return replace(task, normalised=True, how=how)


def task_of(model: Callable[[Tensor], Any], data: Dataset, target: Wanted = "predicted") -> Task:
    """The task of a model that was examined before; see `examine`."""
    x = place(data.x[:2], model)
    with torch.no_grad():
        return decide_task(_try(model, x, target), data.y, target, None, held_ids(model, x))


def logits(output: Any) -> Tensor:
    """The (N, K) tensor in what a model returned: itself, its ``.logits``, its "logits" entry, or its first part.

    Raises:
        ModelError: there is none, or it is neither (N,) nor (N, K).
    """
    values = output_tensor(output)
    if values.ndim != 2:
        raise ModelError(
            f"expected logits (N, K) from the model, got {tuple(values.shape)}; wrap it to return one row a sample"
        )
    return values


def output_tensor(output: Any) -> Tensor:
    """The tensor in what a model returned, (N, K) or with more axes; a single number a sample as (N, 1).

    Raises:
        ModelError: there is none.
    """
    values = targets.logits_in(output)
    if isinstance(values, Mapping):
        values = next(iter(values.values()), None)
    elif isinstance(values, Sequence) and values:
        values = values[0]
    if not isinstance(values, Tensor):
        hint = "lambda x: torch.as_tensor(model(x.detach()))" if isinstance(values, np.ndarray) else "it returns them"
        raise ModelError(f"expected logits (N, K) from the model, got {_brief(values)}; wrap it so that {hint}")
    if not values.ndim:
        raise ModelError(
            "expected logits (N, K) from the model, got a single number; wrap it to return one row a sample"
        )
    return values[:, None] if values.ndim == 1 else values


def check_target(target: Wanted, data: Dataset, output: Tensor, task: Task) -> None:
    """Refuse a target that model, task and data do not allow.

    Raises:
        DataError: labels that are missing or out of range, a class that the model does not have, a class of a
            regression.
        OptionError: an unknown word.
    """
    targets.require_target(target)
    target = target[0] if isinstance(target, tuple) and len(target) == 1 else target
    outputs = output.shape[targets.class_axis(output)]
    several = output[0].numel() > 1
    if isinstance(target, str) and several and task.name == "regression":
        raise DataError(
            f"target {target!r} names a class, and a regression has none: name one of {_listed(output)} outputs, "
            "target=0, an index or a callable"
        )
    if target == "label" and several:
        _check_labels(data, outputs, task)
    elif isinstance(target, int) and not 0 <= target < outputs:
        raise DataError(f"target {target} is out of range: the model has {outputs} outputs, 0 … {outputs - 1}")
    elif (isinstance(target, tuple) and len(target) != output.ndim - 1) or (target is None and several):
        raise DataError(f"target {target} does not fit {_listed(output)} outputs; name a class, 'predicted' or 'label'")
    elif isinstance(target, int) and task.name == "regression" and output.ndim > 2:
        raise DataError(f"target {target} names no single one of {_listed(output)} outputs; give an index, a tuple")


def _check_labels(data: Dataset, outputs: int, task: Task) -> None:
    if data.y is None:
        raise DataError(f"target 'label' needs labels, and data {data.name!r} has none; use target='predicted'")
    if task.name != "multilabel" and int(data.y.max()) >= max(2, outputs):
        raise DataError(f"labels go up to {int(data.y.max())}, but the model has {outputs} outputs, 0 … {outputs - 1}")


def resolve_target(
    target: Wanted,
    output: Tensor,
    labels: Tensor | None,
    task: Task | None = None,
    padding: Tensor | None = None,
) -> Target:
    """The target of one batch, in the form that attributions take; the same for every model that is compared.

    Args:
        target: see `Wanted`.
        output: (N, K) logits of the audited model, or with positions.
        labels: in the form of the task, see `trimkit.audit.task.Task.labels`, or None.
        task: of the model.
        padding: (N, T) True at tokens that are left out.
    Returns:
        Class indices (N,), or of each position with −100 where it is left out; 0 and 1 (N, K) of several labels; None
        where there is one output; the callable itself. The number of an output where the data have no labels, since its
        column may be a price: what is measured is then the output, not its softmax.
    """
    name = "" if task is None else task.name
    if callable(target):
        return target
    if output.ndim == 2 and output.shape[1] == 1:
        return None
    if name == "language-modelling" and not isinstance(target, tuple):
        return _of_text(target, output, labels, padding)
    if name == "multilabel" and target == "predicted":
        best = output.argmax(1, keepdim=True)
        return (output > 0).scatter(1, best, True)
    if isinstance(target, int) and output.ndim == 2:
        return target if labels is None else torch.full_like(output[:, 0], target, dtype=torch.long)
    return targets.resolve_target(target, output, labels, padding)


def _of_text(target: Any, output: Tensor, labels: Tensor | None, padding: Tensor | None) -> Target:
    """A text's tokens for "label"; else the predicted token, or the one named, after its last position."""
    if target == "label":
        if labels is None:
            raise DataError("target 'label' needs labels, and none came; use target='predicted'")
        return NextTokens(labels)
    last = next_token(output, padding)
    return last if target == "predicted" else torch.where(last == IGNORED, IGNORED, target)


def explained_values(output: Any, target: Target) -> Tensor:
    """The explained number of each sample, (N,): what the attribution claims to account for."""
    return select(output, target) if callable(target) else select(output_tensor(output), target)


def _try(model: Callable[[Tensor], Any], x: Tensor, target: Wanted) -> Tensor:
    try:
        output = model(x.clone())  # it may write to what it gets
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"the model does not take samples of shape {tuple(x.shape[1:])}{_channels_hint(x)}: {reason}"
        ) from error
    outputs = select(output, target)[:, None] if callable(target) else output_tensor(output)
    if len(outputs) != len(x):
        raise ModelError(f"expected one row of logits a sample, got {len(outputs)} rows for {len(x)} samples")
    if not bool(torch.isfinite(outputs).all()):
        raise ModelError("the model's output is NaN or infinite on the first two samples; are its weights intact?")
    return outputs


def _channels_hint(x: Tensor) -> str:
    last = x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4)
    return " (channels last? models in torch take (C, H, W): permute the data)" if last else ""


def _suspicions(data: Dataset, task: Task, outputs: int) -> list[str]:
    notes = _suspicious_values(data)
    if task.name == "classification" and data.y is not None and data.y.ndim == 1 and int(data.y.max()) >= outputs:
        notes.append(
            f"labels go up to {int(data.y.max())}, but the model has {outputs} outputs, 0 … {outputs - 1} (are they "
            "numbered from 1?), so they are held against nothing"
        )
    return notes


def _suspicious_values(data: Dataset) -> list[str]:
    seen = few(data.x)
    low, high = float(seen.min()), float(seen.max())
    if low >= 0 and 2 < high <= 255 and bool((seen == seen.round()).all()):
        return [f"the data are whole numbers from {low:g} to {high:g}: was the model trained on data divided by 255?"]
    if low == high:
        return [f"all values of the data equal {low:g}"]
    return []


def _lines(model: Any, data: Dataset, output: Tensor, asked: tuple[Wanted, Task]) -> list[tuple[str, str]]:
    target, task = asked
    split = f", split {data.split}" if data.split else ""
    parameters = sum(p.numel() for p in parameters_of(model))
    row = output[0].flatten()
    first = ", ".join(f"{v:.2f}" for v in row[:5].tolist()) + (", …" if len(row) > 5 else "")
    wanted = getattr(target, "__name__", "a function of the output") if callable(target) else str(target)
    return [
        (
            "data",
            f"{data.name}{split}: {_samples(len(data))} of {'×'.join(map(str, data.shape))}, {_spread(data.x)}",
        ),
        ("labels", _labels(data)),
        (
            "model",
            f"{type(model).__name__}, {parameters:,} parameters, {tuple(data.shape)} → {_listed(output)} outputs",
        ),
        ("two samples", f"in (2, {', '.join(map(str, data.shape))}), out {tuple(output.shape)}: first row {first}"),
        ("task", task.line),
        ("explained", wanted if len(row) > 1 or callable(target) else "the only output"),
    ]


def _labels(data: Dataset) -> str:
    if data.y is None:
        return "none"
    if data.y.ndim == 1 and data.classes:
        return f"{len(data.classes)} classes ({_shorten(data.classes)})"
    return f"{data.y.dtype} {tuple(data.y.shape)}".removeprefix("torch.")


def _listed(output: Tensor) -> str:
    return "×".join(map(str, output.shape[1:]))


def _samples(n: int) -> str:
    return "1 sample" if n == 1 else f"{n} samples"


def _spread(x: Tensor | Samples) -> str:
    seen = few(x)
    of = f" of {len(seen)} looked at" if len(seen) < len(x) else ""
    return f"range {float(seen.min()):.3g} … {float(seen.max()):.3g}, mean {float(seen.mean()):.3g}{of}"


def _shorten(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _brief(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
