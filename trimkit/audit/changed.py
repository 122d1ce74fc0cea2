"""The model on one batch, with some coefficients removed or replaced."""

from __future__ import annotations

import torch
from torch import Tensor

from trimkit.audit.energy import Rows, as_tree
from trimkit.audit.performance import predictions, right
from trimkit.audit.removal import measured_value, without
from trimkit.audit.subject import Batch, Subject


class ChangedInputs:
    """What the model says of a batch as it is, and with some coefficients changed.

    Args:
        subject: model, transform and data.
        batch: samples.

    Attributes:
        start: with labels "right", (N,): 1 where the prediction is the label.
    """

    def __init__(self, subject: Subject, batch: Batch) -> None:
        self.subject = subject
        self.batch = batch
        self.values = {"removed": subject.expanded_baseline(batch), "replaced": subject.donors(batch.ids)}
        output = subject.evaluate(batch.x)
        self.unit = 1.0 if isinstance(batch.target, Tensor) else subject.scale
        self.value = measured_value(output, batch.target)
        self.labels = None if subject.performance.accuracy is None else subject.labels(batch.ids)
        self.classes = None if callable(batch.target) else predictions(output)
        hits = None if callable(batch.target) else right(output, self.labels)
        self.start = {} if hits is None else {"right": hits}

    @torch.no_grad()
    def without(self, gone: Rows, operation: str) -> dict[str, Tensor]:
        """``effect`` on the explained output, (N,); with labels ``flip`` of the class and ``right``."""
        keep = as_tree(self.batch.s, ~gone.to(self.batch.x.device))
        s = without(self.batch, keep, self.values[operation])
        x = self.subject.transform.inverse(s, self.batch.x.shape[1:]) + self.batch.residual
        output = self.subject.evaluate(x)
        values = {"effect": (measured_value(output, self.batch.target) - self.value).abs() / self.unit}
        if self.start:
            hits = right(output, self.labels)
            assert hits is not None
            assert self.classes is not None
            values |= {"flip": (predictions(output) != self.classes).double(), "right": hits}
        return values
