"""How good the audited model is at all, at its own task: what stands at the head of every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from trimkit.audit.columns import Column
from trimkit.audit.measures import TOTALS, Measure, Sums, measures_of, sums_of
from trimkit.audit.state import State
from trimkit.audit.statistics import Resampling
from trimkit.audit.tally import Tally
from trimkit.audit.task import Task
from trimkit.report.verdicts import Estimate


@dataclass(frozen=True)
class Performance:
    """How good a model is on the audited samples, beside what needs no model.

    Attributes:
        accuracy: share of samples whose label is predicted, with Wilson's interval; None for other tasks than
            classification and binary, and where labels are missing or do not fit the output.
        chance: share of the most frequent label, which needs no model.
        n: samples.
        ignores_input: the output is the same for every sample.
        task: see `trimkit.audit.task.TASKS`.
        measures: of the task, the one that decides first; () where it was not measured.
    """

    accuracy: Estimate | None
    chance: float
    n: int
    ignores_input: bool
    task: str = "classification"
    measures: tuple[Measure, ...] = ()

    @property
    def at_chance(self) -> bool:
        """The interval of the first measure does not lie on the good side of what needs no model."""
        return bool(self.measures) and self.measures[0].at_chance

    @property
    def warning(self) -> str:
        """What a reader must know before any verdict, one sentence, or ""."""
        if self.ignores_input:
            return "The model ignores its input: its output is the same for every sample."
        return "The model is at chance: its predictions say nothing of these labels." if self.at_chance else ""

    @property
    def title(self) -> str:
        """What the `line` begins with: ``Accuracy``, ``Mean IoU``, ``R²``."""
        name = self.measures[0].name if self.measures else "accuracy"
        return name[0].upper() + name[1:]

    @property
    def line(self) -> str:
        """``0.600 [0.539, 0.658] on 256 samples; chance 0.113``, or why there is none."""
        if not self.measures:
            return "not measured: no labels that fit the output"
        first, *others = self.measures
        parts = [f"{first.figures} on {self.n} samples", first.comparison, *(m.text for m in others)]
        return "; ".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        measures = [{**asdict(m), "at_chance": m.at_chance} for m in self.measures]
        return {**asdict(self), "measures": measures, "at_chance": self.at_chance}


def performance_of(
    task: Task, columns: Mapping[str, Column], tally: Tally, resampling: Resampling | None = None
) -> Performance:
    """What the sums of all samples say.

    Args:
        task: of the model.
        columns: see `trimkit.audit.measures.sums_of`; {} without labels.
        tally: of the outputs.
        resampling: of the samples, for intervals.
    """
    counted = columns.get("counted")
    if not columns or (counted is not None and not counted.mean()):
        return Performance(None, 0.0, tally.n, tally.flat, task.name)
    measures = measures_of(task, columns, resampling or Resampling(tally.n))
    first = measures[0]
    if not task.has_classes or first.trivial is None:
        return Performance(None, 0.0, tally.n, tally.flat, task.name, measures)
    return Performance(first.estimate, first.trivial, tally.n, tally.flat, task.name, measures)


def columns_of(sums: Sums, ids: Sequence[int], seed: int = 0) -> dict[str, Column]:
    """Sums of samples (n, ...) that are all at hand, with the resamples of an audit."""
    state = State(seed, {i: rank for rank, i in enumerate(ids)}, TOTALS)
    state.update(ids, sums)
    return state.finalise()


def paired_of(columns: Mapping[str, Column]) -> dict[str, dict[str, Any]]:
    """Values of the first samples, by which two audits are compared: name → ids, values and the better side."""
    for column, (name, better) in _PAIRED.items():
        if column in columns:
            ids, values = columns[column].ids, columns[column].rows
            if "counted" in columns and column != "error":
                values = values / np.maximum(columns["counted"].rows, 1)
            values = values.reshape(len(ids), -1).mean(1)
            return {name: {"ids": list(ids), "values": values.tolist(), "better": better}}
    return {}


_PAIRED = {
    "error": ("squared error", "lower"),
    "surprise": ("surprise a token", "lower"),
    "hits": ("accuracy", "higher"),
    "exact": ("accuracy", "higher"),
}
"""Column → how its values of single samples are named, and the better side; the first that is there."""


def right(outputs: Tensor, labels: Tensor | None) -> Tensor | None:
    """1 where the predicted class is the label, else 0: (N,) float64; None where the two do not fit.

    Args:
        outputs: (N, K) logits; one logit is positive for class 1.
        labels: (N,) class indices, or None.
    """
    classes = max(2, outputs.shape[1])
    if labels is None or labels.ndim != 1 or int(labels.max()) >= classes:
        return None
    return _task(outputs).hits(outputs, labels)


def performance(outputs: Tensor, labels: Tensor | None, task: Task | None = None) -> Performance:
    """The measures of a task with their intervals and chance levels, and whether the model looks at its input.

    Args:
        outputs: (n, ...) of the audited samples.
        labels: in the form of the task, or None where there are none.
        task: by default classification of (n, K), binary of one logit (n, 1).
    """
    task, tally = task or _task(outputs), Tally()
    tally.update(outputs, outputs[:1])
    fits = labels is not None and (not task.has_classes or right(outputs, labels) is not None)
    sums = sums_of(task, outputs.detach().cpu().double(), labels.cpu()) if fits and labels is not None else {}
    return performance_of(task, columns_of(sums, range(len(outputs))) if sums else {}, tally)


def _task(outputs: Tensor) -> Task:
    return Task("binary" if outputs.shape[1] == 1 else "classification")
