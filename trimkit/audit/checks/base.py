"""What a check is: values of single samples, measured batch by batch, and a verdict from what they sum up to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from trimkit.audit.columns import Column
from trimkit.audit.statistics import FEWEST, Resampling, in_key_order
from trimkit.audit.subject import Batch, Subject
from trimkit.report.sections import Section
from trimkit.report.verdicts import Direction, Estimate, Status, Verdict, judge, number, samples_needed


@dataclass
class Findings:
    """What was measured for one verdict.

    Attributes:
        label: of the attribution, "" for a check of the transform.
        ids: the samples whose rows are kept, rising: all of them where there are no more than `FIRST`.
        values: name → (n, ...), an array of which only what is linear is kept, see `trimkit.audit.columns.Column`.
        subject: what was audited.
        forwards: samples sent through a model by the check, for all attributions together.
        bootstrap: draws over these samples.
        evidence: what `Check.evidence` returned, for `Check.sections`.
    """

    label: str
    ids: list[int]
    values: dict[str, Column]
    subject: Subject
    forwards: int
    bootstrap: Resampling
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.bootstrap.n

    def band(self, values: Column) -> dict[str, list[float]]:
        """Means of (n, m) values with their pointwise intervals: "value", "low" and "high", as plain JSON values."""
        ends = zip(("value", "low", "high"), self.bootstrap.band(values), strict=True)
        return {name: end.tolist() for name, end in ends}


class Check(ABC):
    """One question. A subclass measures values of samples and concludes from them.

    Options of its constructor are its thresholds; they are saved with the result. `measure` sees one batch and must not
    depend on which samples share it; its values are summed up, so what is not linear in them must be measured for each
    sample. `conclude` sees the means, their resamples and the rows of the first samples, and nothing of single batches:
    a check must keep nothing between batches itself.

    Attributes:
        name: in reports and on the command line.
        question: in plain words.
        of_transform: one verdict an audit, about the transform, instead of one for each attribution.
        unit: of the estimate, see `trimkit.audit.verdict.Verdict`.
        about: whether the verdict judges the explanation or the model itself.
        mandatory: counts in the overall verdict; the runner sets it from the check's spec.
        samples: use at most so many of the audited samples; None for all.
        totals: names of measured values of which the mean alone is wanted, without resamples or rows.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    of_transform: ClassVar[bool] = False
    unit: ClassVar[Literal["", "%"]] = ""
    about: ClassVar[Literal["explanation", "model"]] = "explanation"
    mandatory: bool = True
    samples: int | None = None
    totals: ClassVar[tuple[str, ...]] = ()

    def prepare(self, subject: Subject) -> None:  # noqa: B027, most checks have nothing to prepare
        """Work to be done once, before the first batch."""

    def inapplicable(self, subject: Subject, label: str) -> str:
        """Why the question cannot be asked of this attribution, one sentence, or "". Called after `prepare`."""
        return ""

    def improve(self, subject: Subject, batch: Batch, label: str) -> Batch:
        """Mend the scores of one attribution before any check sees them (more quadrature steps). Returns the batch."""
        return batch

    @abstractmethod
    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """Values of the samples of one batch.

        Args:
            subject: what is audited.
            batch: samples, with the scores of every attribution.
            labels: the attributions to which the check applies; [""] for a check of the transform.
        Returns:
            Label → name → (N, ...).
        """

    @abstractmethod
    def conclude(self, findings: Findings) -> Verdict:
        """The verdict from all samples."""

    def evidence(self, findings: Findings) -> dict[str, Any]:
        """Plain JSON values that the report draws, beside the verdict. None here."""
        return {}

    def sections(self, findings: Findings) -> Sequence[Section]:
        """The check's own pictures on the page, drawn from `findings.evidence`. None here."""
        return ()

    def paired(self, findings: Findings) -> Mapping[str, tuple[Column, Literal["higher", "lower"]]]:
        """Columns (n,) by whose rows two audits are compared, with the better side. None here."""
        return {}

    def chosen(self, subject: Subject) -> Container[int]:
        """The ids that this check uses: all audited ones, or the first `samples` in key order."""
        if self.samples is None or self.samples >= len(subject.ids):
            return subject.ids if isinstance(subject.ids, range) else set(subject.ids)
        if self.samples <= len(subject.order):
            return set(subject.order[: self.samples])
        return set(in_key_order(subject.ids, subject.seed, self.samples))

    @property
    def options(self) -> dict[str, Any]:
        """Constructor options as they are, for the record: the public attributes of the instance."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "mandatory"}

    def verdict(
        self, findings: Findings, status: Status, sentence: str, estimate: Estimate, against: tuple[Direction, float]
    ) -> Verdict:
        """A verdict with the fields that every check fills alike.

        Args:
            findings: what was measured.
            status: the answer.
            sentence: in plain words.
            estimate: the number it rests on.
            against: direction and threshold.
        """
        direction, threshold = against
        n = findings.n
        open_ = status is Status.INCONCLUSIVE and judge(estimate, threshold, direction) is Status.INCONCLUSIVE
        return Verdict(
            check=self.name,
            question=self.question,
            status=status,
            sentence=sentence,
            estimate=estimate,
            threshold=threshold,
            direction=direction,
            n=n,
            seed=findings.subject.seed,
            attribution=findings.label,
            mandatory=self.mandatory,
            settings={"transform": describe(findings.subject.transform), **self.options},
            forwards=findings.forwards,
            samples_needed=(missing(n) or samples_needed(estimate, threshold, n)) if open_ else None,
            unit=self.unit,
            about=self.about,
        )

    def not_applicable(self, subject: Subject, label: str, reason: str) -> Verdict:
        """The verdict where the question cannot be asked."""
        return Verdict(
            self.name,
            self.question,
            Status.NOT_APPLICABLE,
            reason,
            seed=subject.seed,
            attribution=label,
            mandatory=self.mandatory,
            settings={"transform": describe(subject.transform), **self.options},
            unit=self.unit,
            about=self.about,
        )


def more_samples(n: int | None) -> str:
    """``" 40 more samples would probably decide."``, with a leading blank; "" where no number is known."""
    return f" {n} more samples would probably decide." if n else ""


def missing(n: int) -> int:
    """How many samples n lacks before a bootstrap says anything; 0 where it is enough."""
    return max(0, FEWEST - n)


def too_few(n: int, purpose: str, more: int) -> str:
    """``"1 sample is too few for a 95 % interval: 19 more would do."``"""
    return f"{n} {'sample is' if n == 1 else 'samples are'} too few {purpose}: {more} more would do."


def undecided(check: Check, estimate: Estimate, threshold: float, n: int) -> str:
    """The sentence of an interval that straddles its threshold, or that too few samples leave infinite."""
    if missing(n):
        return too_few(n, "for a 95 % interval", missing(n))
    low, high, held = (number(v, check.unit) for v in (estimate.low, estimate.high, threshold))
    more = more_samples(samples_needed(estimate, threshold, n)) or " No realistic number of samples would decide."
    return f"The interval from {low} to {high} {check.unit}".rstrip() + f" contains the threshold {held}.{more}"


def describe(part: Any) -> str:
    """A transform or attribution in one line: its class and its public options.

    Example:
        >>> from trimkit.transforms import DCT
        >>> describe(DCT(bands=4))
        'DCT(dims=None, bands=4)'
    """
    plain = (bool, int, float, str, type(None))
    options = {
        k: v for k, v in vars(part).items() if not k.startswith("_") and k != "training" and isinstance(v, plain)
    }
    return f"{type(part).__name__}({', '.join(f'{k}={v!r}' for k, v in options.items())})"
