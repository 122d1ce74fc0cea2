"""An audit check with a picture: how few groups hold most of the explanation?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trimkit.audit import Batch, Check, Findings, Subject
from trimkit.report import Chart, Curve, Section, Series
from trimkit.report.verdicts import Status, Verdict, judge


class Concentration(Check):
    """The mean share of the absolute scores that the k largest groups of each sample hold must reach a threshold."""

    name = "concentration"
    question = "Do a few groups hold most of the explanation?"
    unit = "%"

    def __init__(self, groups: int = 5, share: float = 0.5) -> None:
        self.groups = groups
        self.share = share

    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """``curve``: the share that the 1, 2, 3, … largest groups hold, (N, groups of the space)."""
        return {label: {"curve": self._curve(subject, batch.explained[label].scores)} for label in labels}

    def conclude(self, findings: Findings) -> Verdict:
        """Whether the interval of the mean lies above the threshold."""
        curve = findings.values["curve"]
        estimate = findings.bootstrap.estimate(curve[:, min(self.groups, curve.shape[1]) - 1])
        status = judge(estimate, self.share, "≥")
        answer = {Status.PASS: "hold", Status.FAIL: "do not hold"}.get(status, "may hold")
        sentence = f"The {self.groups} largest groups {answer} {self.share:.0%} of the explanation."
        return self.verdict(findings, status, sentence, estimate, ("≥", self.share))

    def evidence(self, findings: Findings) -> dict[str, Any]:
        """The mean curve with its pointwise interval."""
        value, low, high = findings.bootstrap.band(findings.values["curve"])
        return {"value": value.tolist(), "low": low.tolist(), "high": high.tolist()}

    def sections(self, findings: Findings) -> list[Section]:
        """The curve: share of the explanation over the number of groups."""
        band = {name: tuple(values) for name, values in findings.evidence.items()}
        counts = tuple(float(k + 1) for k in range(len(band["value"])))
        series = Series(findings.label, band["value"], band["low"], band["high"], "one")
        chart = Chart("", (series,), counts, x_axis="largest groups", y_axis="share of the explanation", percent=True)
        return [Curve("Concentration", "The steeper the rise, the fewer groups the explanation needs.", chart)]

    @staticmethod
    def _curve(subject: Subject, scores: Any) -> Tensor:
        totals = subject.groups.sums(scores).abs().sort(dim=1, descending=True).values
        return totals.cumsum(1) / totals.sum(1, keepdim=True).clamp_min(torch.finfo(totals.dtype).tiny)
