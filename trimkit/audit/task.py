"""Which task a model solves: told from its output, its labels and what is asked; never assumed, always said."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trimkit.errors import DataError, ModelError, OptionError, nearest
from trimkit.targets import IGNORED, NextTokens, Target, class_axis, select

TASKS = {
    "classification": "logits (N, K ≥ 2) with labels (N,)",
    "binary": "one logit (N,) or (N, 1) with labels (N,) of 0 and 1",
    "multilabel": "logits (N, K ≥ 2) with labels (N, K) of 0 and 1",
    "regression": "numbers (N,) or (N, ...) with labels of the same shape",
    "segmentation": "class maps (N, K, H, W) with labels (N, H, W)",
    "tagging": "logits (N, T, K) with labels (N, T)",
    "language-modelling": "next-token logits (N, T, V) with token ids (N, T) as labels",
}
"""Name → what the model gives, and the labels that go with it."""

CUSTOM = "custom"
"""The task where what is explained is a function of the output: nothing is said of the rest."""


@dataclass(frozen=True)
class Task:
    """What a model's output means.

    Attributes:
        name: one of `TASKS`, or `CUSTOM`.
        how: how it was decided, in words.
        labelled: the data have labels that fit it.
        normalised: outputs are probabilities, not logits.
    """

    name: str
    how: str = "as asked"
    labelled: bool = True
    normalised: bool = False

    @property
    def has_probabilities(self) -> bool:
        """Outputs are logits, whose change is measured as that of a probability."""
        return self.name not in ("regression", CUSTOM)

    @property
    def has_classes(self) -> bool:
        """One class a sample."""
        return self.name in ("classification", "binary")

    @property
    def line(self) -> str:
        """``segmentation: class maps (N, K, H, W) …``."""
        return f"{self.name} ({self.how})"

    def as_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return {"name": self.name, "how": self.how}

    def labels(self, y: Tensor) -> Tensor:
        """Labels in the form in which predictions come: indices where they are one-hot, without axes of length 1."""
        if self.name == "classification" and y.ndim == 2:
            return y[:, 0].long() if y.shape[1] == 1 else y.argmax(1)
        if self.name == "binary":
            return y.reshape(len(y)).long()
        if self.name == "segmentation" and y.ndim > 3 and y.shape[1] == 1:
            return y[:, 0].long()
        return y if self.name in ("regression", CUSTOM) else y.long()

    def truth(self, y: Tensor) -> Tensor:
        """What each prediction should be, −100 where nothing should: `labels`, of a language model the next tokens."""
        return NextTokens(y).index if self.name == "language-modelling" else y

    def predictions(self, output: Tensor) -> Tensor | None:
        """Classes (N,), 0 and 1 (N, K), or classes of positions (N, ...); None for numbers."""
        if not self.has_probabilities:
            return None
        even = 0.5 if self.normalised else 0.0
        if self.name == "multilabel":
            return (output > even).long()
        if output.ndim == 1 or output.shape[class_axis(output)] == 1:
            single = output if output.ndim == 1 else output.squeeze(class_axis(output))
            return (single > even).long()
        return output.argmax(class_axis(output))

    def hits(self, output: Tensor, y: Tensor) -> Tensor | None:
        """Share of a sample's predictions that are right, (N,) float64; of several labels, whether all are.

        Args:
            output: logits.
            y: labels, see `labels`.
        """
        predicted = self.predictions(output)
        return None if predicted is None else self.agreement(predicted, self.truth(y).to(output.device))

    def agreement(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        """Share of a sample's positions where two predictions are the same, without those of −100: (N,) float64."""
        same = (predicted == wanted).flatten(1) if predicted.ndim > 1 else (predicted == wanted)[:, None]
        if self.name == "multilabel":
            return same.all(1).double()
        counted = (wanted != IGNORED).reshape(same.shape)
        return (same & counted).sum(1) / counted.sum(1).clamp_min(1).double()

    def probability(self, output: Tensor, target: Target) -> Tensor:
        """The probability of what is explained, (N,), its mean over several labels or positions.

        σ of one logit and of labels that do not exclude one another, else the softmax; an output that is normalised is
        taken as it is.
        """
        sigmoid = self.name == "multilabel" or output.ndim == 1 or output.shape[class_axis(output)] == 1
        shares = output if self.normalised else output.sigmoid() if sigmoid else output.softmax(class_axis(output))
        index = target.index if isinstance(target, NextTokens) else target
        values = select(shares, index)
        if not isinstance(index, Tensor) or index.ndim == 1:
            return values
        counted = index if index.dtype == torch.bool else index != IGNORED
        return values / counted.flatten(1).sum(1).clamp_min(1).to(values)


def decide_task(output: Tensor, y: Tensor | None, target: Any, wanted: str | None = None, ids: Any = None) -> Task:
    """The task of a model.

    Args:
        output: (N, ...) of some samples.
        y: labels of all samples, or None.
        target: what is explained, as asked for.
        wanted: one of `TASKS`, where the task is said.
        ids: whole numbers (N, T) that the model gets for the same samples as ``output``: labels that equal them are
            those of a language model.
    Raises:
        OptionError: another task than those of `TASKS`.
        ModelError: an output that does not fit the task that was said, or that could be of several.
        DataError: labels that do not fit it, or that fit several.
    """
    if callable(target):
        return Task(CUSTOM, "what is explained is a function of the output, which is measured itself", labelled=False)
    task = _asked(wanted, output, y) if wanted is not None else _told(output, y, target, ids)
    if task.name == "classification" and _are_probabilities(output):
        task = replace(task, normalised=True, how=f"{task.how}; rows sum to 1, so they are taken for probabilities")
    classes = max(2, output.shape[class_axis(output)])
    if y is None or task.name in ("regression", "multilabel") or not task.labelled or int(y.max()) < classes:
        return task
    return replace(task, how=f"{task.how}, which go up to {int(y.max())} and do not fit", labelled=False)


def _told(output: Tensor, y: Tensor | None, target: Any, ids: Any) -> Task:
    size = tuple(output.shape[1:])
    names = [] if y is None else [name for name in TASKS if _fits(name, size, y)]
    if not names:
        return _unlabelled(output, target, y)
    if len(names) > 1 and y is not None:
        names = _narrowed(names, y, ids)
    if y is not None and len(names) > 1:
        raise DataError(
            f"labels {_shape(y)} of {'1 in each row' if _one_hot(y) else '0 and 1'} fit several tasks, and none is "
            f"assumed: say {_options(names)}"
        )
    return Task(names[0], f"output {_shape(output)}, labels {_shape(y)}")  # type: ignore[arg-type]


def _asked(wanted: str, output: Tensor, y: Tensor | None) -> Task:
    size = tuple(output.shape[1:])
    if wanted not in TASKS:
        raise OptionError(f"expected a task, {', '.join(TASKS)}, got {wanted!r}. {nearest(wanted, TASKS)}")
    if not _gives(wanted, size):
        raise ModelError(f"task {wanted!r} takes {TASKS[wanted]}, and the model gives (N, {_listed(size)})")
    if y is not None and not _fits(wanted, size, y):
        raise DataError(f"task {wanted!r} takes {TASKS[wanted]}, got labels {_shape(y)} {y.dtype}")
    return Task(wanted, labelled=y is not None)


def _gives(name: str, size: tuple[int, ...]) -> bool:
    """Whether one sample's output can be of a task."""
    if name == "regression":
        return True
    if name == "binary":
        return math.prod(size) == 1 and len(size) < 2
    if name in ("classification", "multilabel"):
        return len(size) == 1 and size[0] > 1
    return len(size) >= 3 if name == "segmentation" else len(size) == 2


def _fits(name: str, size: tuple[int, ...], y: Tensor) -> bool:
    """Whether a task has such an output and such labels."""
    if not _gives(name, size):
        return False
    like, single = tuple(y.shape[1:]), tuple(y.shape[1:]) in ((), (1,))
    if name == "classification":
        return _whole(y) and (single or (like == size and _one_hot(y)))
    if name == "binary":
        return single and _zero_one(y)
    if name == "multilabel":
        return like == size and _zero_one(y)
    if name == "regression":
        return like == size or (single and math.prod(size) == 1)
    if name == "segmentation":
        return _whole(y) and like in (size[1:], (1, *size[1:]))
    return _whole(y) and like == size[:1]


def _narrowed(names: list[str], y: Tensor, ids: Any) -> list[str]:
    """The likelier of several tasks: whole numbers are classes where they can be, ids that are labels are a text's."""
    if "tagging" in names:
        return ["language-modelling"] if _are_ids(y, ids) else ["tagging"]
    if not y.is_floating_point() or "binary" in names:
        return [name for name in names if name != "regression"]
    return names


def _are_ids(y: Tensor, ids: Any) -> bool:
    if not isinstance(ids, Tensor):
        return False
    labels = y[: len(ids)].to(ids.device)
    return ids.shape == labels.shape and bool(((labels == ids) | (labels == IGNORED)).all())


def _unlabelled(output: Tensor, target: Any, y: Tensor | None) -> Task:
    """The task by the output alone; labels that fit no task are left out."""
    size = tuple(output.shape[1:])
    why = "no labels" if y is None else f"labels {_shape(y)} {y.dtype} do not fit"
    named = not isinstance(target, str) and target is not None
    if math.prod(size) == 1 and len(size) < 2:
        return Task(
            "regression", f"one output and {why}: it is measured itself; task='binary' takes it for a logit", False
        )
    if named:
        return Task("regression", f"{why}, and an output is named: it is measured itself; task= says otherwise", False)
    if len(size) == 1:
        how = f"{size[0]} outputs and {why}: they are taken for logits; task= says otherwise"
        return Task("classification", how, False)
    names = [name for name in ("segmentation", "tagging", "language-modelling", "regression") if _gives(name, size)]
    raise ModelError(
        f"expected logits (N, K) from the model, got {tuple(output.shape)} and {why}: several tasks have such outputs, "
        f"and none is assumed: say {_options(names)}"
    )


def _whole(y: Tensor) -> bool:
    return not y.is_floating_point() or bool((torch.isfinite(y) & (y == y.round())).all())


def _zero_one(y: Tensor) -> bool:
    return bool(((y == 0) | (y == 1)).all())


def _one_hot(y: Tensor) -> bool:
    return y.ndim == 2 and y.shape[1] > 1 and _zero_one(y) and bool((y.sum(1) == 1).all())


def _are_probabilities(output: Tensor) -> bool:
    """Whether rows (N, K) are shares of one."""
    return bool((output >= 0).all()) and bool(((output.double().sum(1) - 1).abs() < 1e-4).all())


def _options(names: list[str]) -> str:
    return " or ".join(f"task={name!r}" for name in names) + " (--task)"


def _shape(values: Tensor) -> str:
    return f"(N, {_listed(tuple(values.shape[1:]))})" if values.ndim > 1 else "(N,)"


def _listed(size: tuple[int, ...]) -> str:
    return ", ".join(map(str, size))
