"""What a self-test saw: verdicts on explanations known to be right or wrong, as rates with exact intervals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scipy.stats import binomtest

from trimkit.audit.statistics import LEVEL
from trimkit.report.verdicts import Estimate, Status, judge

Truth = Literal["right", "wrong", "between"]

OVERALL = "overall"
"""The worst of the mandatory checks on the explanation, in the place of a check's name."""

MOST_MISSED = 0.1
"""Share of the wrong explanations in closed form that may pass, overall."""

MOST_FALSE_ALARMS = 0.1
"""Share of the right ones that may fail."""


@dataclass(frozen=True)
class Outcome:
    """One verdict on something of which the truth is known.

    Attributes:
        about: "closed form", "registered" (an attribution by its name), "transform" or "model".
        case: the planted model.
        subject: the explanation, attribution, transform or forbidden set.
        truth: whether it is right; "between" where an attribution is neither near the truth nor far from it.
        check: that judged, or `OVERALL`.
        asked: the error is what the check asks for.
        status: its answer.
        seed: of weights, data and audit.
    """

    about: str
    case: str
    subject: str
    truth: Truth
    check: str
    asked: bool
    status: Status
    seed: int


@dataclass(frozen=True)
class Rate:
    """k of n, with the exact interval of Clopper and Pearson 1934.

    Attributes:
        count: k.
        n: verdicts.
        low: lower end, 95 %.
        high: upper end.
    """

    count: int
    n: int
    low: float
    high: float

    @property
    def text(self) -> str:
        """``59/60 [0.91, 1.00]``, or ``-`` where there is nothing."""
        return f"{self.count}/{self.n} [{self.low:.2f}, {self.high:.2f}]" if self.n else "-"

    @property
    def estimate(self) -> Estimate:
        """The share."""
        return Estimate(self.count / self.n if self.n else 0.0, self.low, self.high)


def rate(count: int, n: int) -> Rate:
    """k of n with its interval; of nothing, [0, 1].

    Example:
        >>> rate(0, 20).text
        '0/20 [0.00, 0.17]'
    """
    if not n:
        return Rate(0, 0, 0.0, 1.0)
    interval = binomtest(count, n).proportion_ci(LEVEL, "exact")
    return Rate(count, n, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class SelfTest:
    """Every verdict of a self-test.

    Attributes:
        outcomes: see `Outcome`.
        refused: attribution → the planted models that it does not take, with the reason of the first.
        settings: seeds, samples and names: plain JSON values.
    """

    outcomes: tuple[Outcome, ...]
    refused: dict[str, tuple[int, str]]
    settings: dict[str, Any]

    def power(self, **wanted: Any) -> Rate:
        """How many wrong ones get a WARN or FAIL, of the outcomes with these fields; an open answer is no success."""
        several = self._pick(truth="wrong", **wanted)
        return rate(sum(o.status in (Status.WARN, Status.FAIL) for o in several), len(several))

    def missed(self, **wanted: Any) -> Rate:
        """How many wrong ones pass, of the outcomes with these fields."""
        several = self._pick(truth="wrong", **wanted)
        return rate(sum(o.status is Status.PASS for o in several), len(several))

    def false_alarms(self, **wanted: Any) -> Rate:
        """How many right ones are failed, of the outcomes with these fields."""
        several = self._pick(truth="right", **wanted)
        return rate(sum(o.status is Status.FAIL for o in several), len(several))

    def counts(self, **wanted: Any) -> Counter[Status]:
        """How often each status was given to the outcomes with these fields."""
        return Counter(o.status for o in self._pick(**wanted))

    def values(self, field: str, **wanted: Any) -> list[Any]:
        """The values that a field takes among the outcomes with these fields, in their order."""
        return list(dict.fromkeys(getattr(o, field) for o in self._pick(**wanted)))

    @property
    def exit_code(self) -> int:
        """0 where few wrong closed forms pass and few right ones fail, 1 where many do, 3 where that is open."""
        missed = self.missed(about="closed form", check=OVERALL).estimate
        alarms = self.false_alarms(about="closed form", check=OVERALL).estimate
        statuses = {judge(missed, MOST_MISSED, "≤"), judge(alarms, MOST_FALSE_ALARMS, "≤")}
        return 1 if Status.FAIL in statuses else 3 if Status.INCONCLUSIVE in statuses else 0

    def to_json(self) -> str:
        """Settings, rates and every single verdict, as JSON."""
        keys = list(dict.fromkeys((o.about, o.subject, o.truth, o.check) for o in self.outcomes))
        content = {
            "settings": self.settings,
            "rates": [row for key in keys for row in self._rows(*key)],
            "refused": {name: {"models": n, "reason": why} for name, (n, why) in self.refused.items()},
            "outcomes": [asdict(o) for o in self.outcomes],
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def _rows(self, about: str, subject: str, truth: str, check: str) -> list[dict[str, Any]]:
        wanted = {"about": about, "subject": subject, "check": check}
        kinds = {"right": {"failed": self.false_alarms}, "wrong": {"flagged": self.power, "passed": self.missed}}
        several = kinds.get(truth, {}).items()
        return [{**wanted, "truth": truth, "rate": name, **asdict(counted(**wanted))} for name, counted in several]

    def _pick(self, **wanted: Any) -> list[Outcome]:
        return [o for o in self.outcomes if all(getattr(o, name) == value for name, value in wanted.items())]


Table = tuple[str, Sequence[str], list[list[str]]]
"""Title, headings, rows."""


def tables(result: SelfTest) -> list[Table]:
    """What `trimkit audit --selftest` prints."""
    every = (_by_check(result), _overall(result), _by_model(result), _registered(result), _beside(result))
    return [table for table in every if table[2]]


def _by_check(result: SelfTest) -> Table:
    """Which check sees which error: a cell in brackets is not the check's question."""
    checks = result.values("check", about="closed form")
    rows = []
    for kind in result.values("subject", about="closed form"):
        wanted = {"about": "closed form", "subject": kind}
        right = result.values("truth", **wanted) == ["right"]
        judge_ = result.false_alarms if right else result.power
        cells = [judge_(**wanted, check=check).text for check in checks]
        asked = [right or any(result.values("asked", **wanted, check=check)) for check in checks]
        rows.append([kind, *(text if yes else f"({text})" for text, yes in zip(cells, asked, strict=True))])
    title = "Right: how often FAIL. Wrong: how often WARN or FAIL; in brackets where the check asks something else."
    return title, ["explanation", *checks], rows


def _overall(result: SelfTest) -> Table:
    rows = []
    for kind in result.values("subject", about="closed form"):
        wanted = {"about": "closed form", "subject": kind, "check": OVERALL}
        right = result.values("truth", **wanted) == ["right"]
        bad = result.false_alarms(**wanted) if right else result.missed(**wanted)
        rows.append([kind, *map(str, _statuses(result.counts(**wanted))), bad.text])
    headings = ["explanation", *_STATUS_NAMES, "mistaken: right that FAIL, wrong that PASS"]
    return "The overall answer, how often", headings, rows


def _by_model(result: SelfTest) -> Table:
    rows = []
    for case in result.values("case", about="closed form"):
        wanted = {"about": "closed form", "case": case, "check": OVERALL}
        rows.append([case, result.false_alarms(**wanted).text, result.missed(**wanted).text])
    return "By planted model, overall", ["model", "right that FAIL", "wrong that PASS"], rows


def _registered(result: SelfTest) -> Table:
    names = dict.fromkeys([*result.values("subject", about="registered"), *result.refused])
    rows = []
    for name in names:
        wanted = {"about": "registered", "subject": name, "check": OVERALL}
        between = sum(result.counts(**wanted, truth="between").values())
        refused = str(result.refused.get(name, (0, ""))[0])
        passed = result.counts(**wanted, truth="right")[Status.PASS]
        rates = [one(**wanted).text for one in (result.false_alarms, result.missed, result.power)]
        seen = result.power(**{**wanted, "check": "controls"}).text
        rows.append([name, str(passed), *rates, seen, str(between), refused])
    headings = ["attribution", "right that PASS", "right that FAIL", "wrong that PASS", "wrong that WARN or FAIL"]
    headings += ["by controls alone", "neither", "refused"]
    return "Registered attributions, overall", headings, rows


def _beside(result: SelfTest) -> Table:
    rows = []
    for about in ("transform", "model"):
        for subject in result.values("subject", about=about):
            for check in result.values("check", about=about, subject=subject):
                (truth,) = result.values("truth", about=about, subject=subject)
                wanted = {"about": about, "subject": subject, "check": check}
                cell = (result.false_alarms if truth == "right" else result.power)(**wanted).text
                rows.append([check, subject, truth, "failed" if truth == "right" else "flagged", cell])
    return "Checks of the transform and of the model", ["check", "subject", "truth", "rate", "of"], rows


_STATUS_NAMES = ("PASS", "WARN", "FAIL", "INCONCLUSIVE")


def _statuses(counts: Counter[Status]) -> Iterable[int]:
    return (counts[Status(name)] for name in _STATUS_NAMES)
