"""Checks with one fault each, and the sound ones that they are made from."""

from __future__ import annotations

import torch

from trimkit.audit import Check, Status
from trimkit.coefficients import tree
from trimkit.report.verdicts import judge

from .register import fault, sound


@sound("check")
class Size(Check):
    """Mean magnitude of the scores, which should be at most 1,000."""

    name = "Size"
    question = "Are the scores small?"

    def __init__(self, most: float = 1000.0) -> None:
        self.most = most

    def measure(self, subject, batch, labels):
        return {label: {"size": tree.rows(batch.explained[label].scores).abs().mean(1)} for label in labels}

    def conclude(self, findings):
        estimate = findings.bootstrap.estimate(findings.values["size"])
        status = judge(estimate, self.most, "≤")
        return self.verdict(findings, status, "The scores were measured.", estimate, ("≤", self.most))


@fault("check", "verdict_rules", "take the status from judge")
class AlwaysPass(Size):
    """PASS, whatever was measured."""

    name = "AlwaysPass"

    def conclude(self, findings):
        estimate = findings.bootstrap.estimate(findings.values["size"])
        return self.verdict(findings, Status.PASS, "All is well.", estimate, ("≤", -1.0))


@fault("check", "declares", "set the class attribute name")
class Misnamed(Size):
    """Registered under another name than its own."""

    name = "size"


@fault("check", "batches", "measure rows alone")
class RelativeToTheBatch(Size):
    """Values relative to the first sample of the batch."""

    name = "RelativeToTheBatch"

    def measure(self, subject, batch, labels):
        values = super().measure(subject, batch, labels)
        return {label: {"size": v["size"] / v["size"][0]} for label, v in values.items()}


@fault("check", "repeats", "random state; use findings.bootstrap")
class Unseeded(Size):
    """A draw from the global random state."""

    name = "Unseeded"

    def conclude(self, findings):
        findings.values["size"] = findings.values["size"] + float(torch.rand(()))
        return super().conclude(findings)


@fault("check", "renders", "Mend the line that raised it")
class Unwritable(Size):
    """Evidence that no results.json can hold."""

    name = "Unwritable"

    def evidence(self, findings):
        return {"size": findings}
