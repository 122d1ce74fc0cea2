"""What a check concluded: a status from the side of the threshold on which the whole interval lies.

Shared by the audit of explanations and the check of ICA's assumptions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

Direction = Literal["≤", "≥"]
"""On which side of the threshold the good values lie."""


class Status(StrEnum):
    """What a verdict says; the string is what reports print."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    NOT_APPLICABLE = "NOT APPLICABLE"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_JUDGED = "NOT JUDGED"


_WORST_FIRST = (Status.FAIL, Status.INCONCLUSIVE, Status.WARN, Status.PASS)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval.

    Attributes:
        value: the estimate.
        low: lower end of the interval.
        high: upper end; infinite where too few samples bound it.
    """

    value: float
    low: float
    high: float

    @property
    def exact(self) -> bool:
        """The number was counted, not estimated: its interval is itself."""
        return self.low == self.value == self.high

    @property
    def half_width(self) -> float:
        """The larger distance from the estimate to an end of its interval."""
        return max(self.high - self.value, self.value - self.low)


@dataclass(frozen=True)
class Verdict:
    """The answer of one check, with everything that is needed to judge it.

    Attributes:
        check: name of the check.
        question: what was asked, in plain words.
        status: the answer.
        sentence: the answer in one plain sentence.
        estimate: the number it rests on; None where the check does not apply.
        threshold: what the number is held against.
        direction: the side of the threshold on which good values lie.
        n: number of samples.
        seed: of every draw.
        attribution: which of the audited attributions it is about; "" for a verdict on the transform.
        mandatory: counts in the overall verdict.
        settings: removal operators, baseline, transform, options: plain JSON values.
        forwards: samples sent through a model for this verdict.
        samples_needed: how many more would probably decide; None where decided, or where no number would.
        unit: how the number is written: "%" for shares, "" for plain numbers.
        about: whether it judges the explanation or the model itself; the two are never mixed.
    """

    check: str
    question: str
    status: Status
    sentence: str
    estimate: Estimate | None = None
    threshold: float | None = None
    direction: Direction = "≤"
    n: int = 0
    seed: int = 0
    attribution: str = ""
    mandatory: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    forwards: int = 0
    samples_needed: int | None = None
    unit: Literal["", "%"] = ""
    about: Literal["explanation", "model"] = "explanation"

    @property
    def label(self) -> str:
        """The check, with the attribution that it is about: ``"controls [saliency]"``."""
        return f"{self.check} [{self.attribution}]" if self.attribution else self.check

    @property
    def figures(self) -> str:
        """Estimate, interval, threshold and n in one line, or "" where the check does not apply.

        Example:
            >>> Verdict("c", "?", Status.PASS, ".", Estimate(0.004, 0.002, 0.006), 0.05, n=64, unit="%").figures
            '0.4 % [0.2, 0.6], threshold ≤ 5 %, n = 64'
        """
        if self.estimate is None or self.threshold is None:
            return ""
        value, low, high = (number(v, self.unit) for v in asdict(self.estimate).values())
        unit = f" {self.unit}" if self.unit else ""
        interval = "" if self.estimate.exact else f" [{low}, {high}]"
        threshold = number(self.threshold, self.unit)
        return f"{value}{unit}{interval}, threshold {self.direction} {threshold}{unit}, n = {self.n}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; an infinite end of an interval is null."""
        found = asdict(self)
        if self.estimate is not None:
            found["estimate"] = {k: v if math.isfinite(v) else None for k, v in asdict(self.estimate).items()}
        return {**found, "status": str(self.status), "settings": dict(self.settings)}


def number(value: float, unit: str = "") -> str:
    """Three significant digits, without needless zeros; counts below a million in full; shares in per cent.

    Example:
        >>> number(0.12345), number(0.05, "%"), number(-2.5e-7), number(1280), number(float("inf"))
        ('0.123', '5', '−2.5·10⁻⁷', '1280', '∞')
    """
    value = value * 100 if unit == "%" else value
    if abs(value) < 1e6 and float(value).is_integer():
        return f"{value:.0f}".replace("-", "−")
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits, e, power = f"{value:.3g}".replace("-", "−", 1 if value < 0 else 0).partition("e")
    return f"{digits}·10{str(int(power)).translate(_RAISED)}" if e else digits


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def judge(estimate: Estimate, threshold: float, direction: Direction) -> Status:
    """PASS or FAIL where the whole interval lies on one side of the threshold, else INCONCLUSIVE.

    Args:
        estimate: number and interval.
        threshold: a good value may equal it.
        direction: "≤" where good values are at most the threshold, "≥" where they are at least it.
    """
    low, high = estimate.low, estimate.high
    good, bad = (high <= threshold, low > threshold) if direction == "≤" else (low >= threshold, high < threshold)
    if good:
        return Status.PASS
    return Status.FAIL if bad else Status.INCONCLUSIVE


def samples_needed(estimate: Estimate, threshold: float, n: int) -> int | None:
    """How many more samples would probably take the interval to one side of the threshold.

    Half-widths h shrink as 1/√n, so n' = n · (h / |estimate − threshold|)² samples are needed in all.

    Args:
        estimate: number and interval, of n samples.
        threshold: what it is held against.
        n: samples so far.
    Returns:
        n' − n, at least 1; None where the estimate lies on the threshold, the interval is infinite, or n' would exceed
        a hundred times n: then no realistic number would decide.
    """
    distance = abs(estimate.value - threshold)
    if distance == 0 or not math.isfinite(estimate.half_width):
        return None
    total = n * (estimate.half_width / distance) ** 2
    return max(1, math.ceil(total) - n) if total <= 100 * n else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment for several tests at once (Holm 1979): adjusted p-values in the order given.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def overall(verdicts: Iterable[Verdict]) -> Status:
    """The worst status of the mandatory checks (of all, where none is mandatory) that apply.

    FAIL is worse than INCONCLUSIVE, that worse than WARN. Where no check applies nothing was shown: INCONCLUSIVE.
    """
    every = list(verdicts)
    counted = [v for v in every if v.mandatory] or every
    found = {v.status for v in counted}
    return next((status for status in _WORST_FIRST if status in found), Status.INCONCLUSIVE)


def exit_code(status: Status, *, fail_on_warn: bool = False) -> int:
    """0 for PASS and WARN, 1 for FAIL (and WARN where that is asked), 3 for INCONCLUSIVE."""
    if status is Status.WARN:
        return int(fail_on_warn)
    return {Status.PASS: 0, Status.FAIL: 1}.get(status, 3)
