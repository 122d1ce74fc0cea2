"""Does the transform give the data back, and the model its output?"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trimkit.audit.checks.base import Check, Findings, undecided
from trimkit.audit.columns import Column
from trimkit.audit.examine import explained_values
from trimkit.audit.layer import own_only
from trimkit.audit.subject import Batch, Subject
from trimkit.report.verdicts import Estimate, Status, Verdict, judge, number


class Reconstruction(Check):
    """The relative error ‖x − T⁻¹(T(x))‖ / ‖x‖ must vanish for a transform that claims to be exact.

    A lossy transform (a latent space, say) is explained with its residual held fixed, so sums stay right; what counts
    then is how much of the model's output the residual carries: |f(x) − f(T⁻¹(T(x)))| / |f(x) − f(s₀)|. More than
    `share` of it is a warning: the coefficients do not say what the model looks at.

    Args:
        tolerance: relative error that is allowed for an exact transform.
        share: part of the output's change that the residual of a lossy transform may carry.
    """

    name = "reconstruction"
    question = "Does the transform give the data back, and the model its output?"
    of_transform = True
    unit = "%"

    def __init__(self, tolerance: float = 1e-4, share: float = 0.2) -> None:
        self.tolerance = tolerance
        self.share = share

    @torch.no_grad()
    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """``error``, relative; ``residual``: the output's change that it carries, relative."""
        lost = own_only(subject.transform, batch.residual)
        error = _norm(lost) / _norm(own_only(subject.transform, batch.x)).clamp_min(1e-12)
        whole = explained_values(subject.evaluate(batch.x), batch.target)
        bare = explained_values(subject.evaluate(batch.x - lost), batch.target)
        base = subject.transform.inverse(subject.expanded_baseline(batch), batch.x.shape[1:]) + batch.residual
        change = (whole - explained_values(subject.evaluate(base), batch.target)).abs()
        share = (whole - bare).abs() / change.clamp_min(0.01 * subject.scale)
        return {"": {"error": error, "residual": share}}

    def conclude(self, findings: Findings) -> Verdict:
        """An exact transform passes or fails; a lossy one passes or gets a warning."""
        error = findings.bootstrap.estimate(findings.values["error"])
        if findings.subject.transform.exact:
            return self._exact(findings, error)
        return self._lossy(findings, error, findings.bootstrap.estimate(findings.values["residual"]))

    def paired(self, findings: Findings) -> dict[str, tuple[Column, Literal["higher", "lower"]]]:
        """The relative error, and the share of the output's change that the residual carries."""
        return {name: (findings.values[name], "lower") for name in ("error", "residual")}

    def _exact(self, findings: Findings, error: Estimate) -> Verdict:
        status = judge(error, self.tolerance, "≤")
        size = number(error.value, "%")
        back = f"with a relative error of {size} %: rounding" if error.value else "exactly"
        sentence = {
            Status.PASS: f"The data come back from their coefficients {back}.",
            Status.FAIL: f"The transform claims to be exact, but loses {size} % of the data.",
            Status.INCONCLUSIVE: undecided(self, error, self.tolerance, findings.n),
        }[status]
        return self.verdict(findings, status, sentence, error, ("≤", self.tolerance))

    def _lossy(self, findings: Findings, error: Estimate, share: Estimate) -> Verdict:
        carried, lost = number(share.value, "%"), number(error.value, "%")
        said = f"the residual ({lost} % of the data's norm) carries {carried} % of the output's change"
        status = judge(share, self.share, "≤")
        if status is Status.PASS:
            return self.verdict(findings, status, f"A lossy transform: {said}.", share, ("≤", self.share))
        if status is Status.INCONCLUSIVE:
            sentence = f"A lossy transform: {said}. {undecided(self, share, self.share, findings.n)}"
            return self.verdict(findings, status, sentence, share, ("≤", self.share))
        sentence = (
            f"Much is not in these coefficients: {said}. Claims about them are claims about the rest only; "
            "use a space that loses less, such as more components or an exact transform."
        )
        return self.verdict(findings, Status.WARN, sentence, share, ("≤", self.share))


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)
