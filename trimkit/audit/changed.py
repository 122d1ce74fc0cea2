"""The model on one batch, with some coefficients removed or replaced."""

from __future__ import annotations

import torch
from torch import Tensor

from trimkit.audit.energy import Rows, as_tree
from trimkit.audit.removal import measured_value, without
from trimkit.audit.subject import Batch, Subject


class ChangedInputs:
    """What the model says of a batch as it is, and with some coefficients changed.

    Args:
        subject: model, transform and data.
        batch: samples.

    Attributes:
        start: with labels of classes "right", (N,): share of its predictions that are right.
    """

    def __init__(self, subject: Subject, batch: Batch) -> None:
        self.subject = subject
        self.batch = batch
        self.values = {"removed": subject.expanded_baseline(batch), "replaced": subject.donors(batch.ids)}
        output = subject.evaluate(batch.x)
        self.unit = 1.0 if subject.task.has_probabilities else subject.scale
        self.value = measured_value(output, batch.target, subject.task)
        self.labels = subject.labels(batch.ids) if subject.judged else None
        self.classes = subject.task.predictions(output) if subject.judged else None
        self.start = {} if self.labels is None else {"right": self._hits(output)}

    @torch.no_grad()
    def without(self, gone: Rows, operation: str) -> dict[str, Tensor]:
        """``effect`` on the explained output, (N,); with labels ``right`` and ``flip``: how many predictions change."""
        keep = as_tree(self.batch.s, ~gone.to(self.batch.x.device))
        s = without(self.batch, keep, self.values[operation])
        x = self.subject.transform.inverse(s, self.batch.x.shape[1:]) + self.batch.residual
        output = self.subject.evaluate(x)
        value = measured_value(output, self.batch.target, self.subject.task)
        values = {"effect": (value - self.value).abs() / self.unit}
        if self.classes is not None:
            predicted = self.subject.task.predictions(output)
            assert predicted is not None
            same = self.subject.task.agreement(predicted, self.classes)
            values |= {"flip": 1 - same, "right": self._hits(output)}
        return values

    def _hits(self, output: Tensor) -> Tensor:
        assert self.labels is not None
        hits = self.subject.task.hits(output, self.labels)
        assert hits is not None
        return hits
