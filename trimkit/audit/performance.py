"""How good the audited model is at all, at its own task: what stands at the head of every report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from trimkit.audit.measures import Measure, Sums, measures_of, sums_of
from trimkit.audit.statistics import Bootstrap
from trimkit.audit.task import Task
from trimkit.report.verdicts import Estimate

FLAT = 1e-6
"""Outputs that vary by less than this share of their size do not depend on the input."""


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
        return "The model is at chance: it has learned nothing that predicts these labels." if self.at_chance else ""

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


class Tally:
    """What is kept of a model's outputs while batches pass: sums of each sample, never the outputs themselves.

    Args:
        task: see `trimkit.audit.task.Task`.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._sums: list[Sums] = []
        self._first: Tensor | None = None
        self._size = self._spread = 0.0
        self._n = 0

    def add(self, output: Tensor, y: Tensor | None) -> None:
        """Take a batch in.

        Args:
            output: (N, ...).
            y: labels, see `trimkit.audit.task.Task.labels`; None where there are none.
        """
        values = output.detach().cpu().double()  # not on the device: some have no float64
        self._first = values[:1] if self._first is None else self._first
        self._size = max(self._size, float(values.abs().max()))
        self._spread = max(self._spread, float((values - self._first).abs().max()))
        self._n += len(values)
        if y is not None:
            self._sums.append(sums_of(self.task, values, y.cpu()))

    @property
    def sums(self) -> Sums:
        """Name → (n, ...) over all samples so far; {} without labels, or where some do not fit."""
        if not self._sums or not all(self._sums):
            return {}
        return {name: torch.cat([part[name] for part in self._sums]) for name in self._sums[0]}

    @property
    def paired(self) -> dict[str, tuple[Tensor, Literal["higher", "lower"]]]:
        """Values of single samples, (n,), by which two audits are compared, with the better side."""
        sums = self.sums
        if "error" in sums:
            return {"squared error": (sums["error"].mean(1), "lower")}
        if "surprise" in sums:
            return {"surprise a token": (sums["surprise"] / sums["counted"].clamp_min(1), "lower")}
        if "counted" in sums:
            return {"accuracy": (sums["hits"] / sums["counted"].clamp_min(1), "higher")}
        hits = sums.get("hits", sums.get("exact"))
        return {} if hits is None else {"accuracy": (hits, "higher")}

    def performance(self, bootstrap: Bootstrap | None = None) -> Performance:
        """What the sums say.

        Args:
            bootstrap: draws over the samples in the order in which they came; those of seed 0 by default.
        """
        flat = self._n > 1 and self._spread <= FLAT * self._size
        sums = self.sums
        if not sums:
            return Performance(None, 0.0, self._n, flat, self.task.name)
        measures = measures_of(self.task, sums, bootstrap or Bootstrap(range(self._n), 0))
        first = measures[0]
        accuracy = first.estimate if self.task.has_classes else None
        chance = first.trivial if self.task.has_classes and first.trivial is not None else 0.0
        return Performance(accuracy, chance, self._n, flat, self.task.name, measures)


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
    tally = Tally(task or _task(outputs))
    tally.add(outputs, labels)
    return tally.performance()


def _task(outputs: Tensor) -> Task:
    return Task("binary" if outputs.shape[1] == 1 else "classification")
