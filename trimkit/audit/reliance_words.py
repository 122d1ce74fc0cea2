"""What the check reliance says of its measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trimkit.audit.search import GroupStanding
from trimkit.audit.selection import Forbidden
from trimkit.report.verdicts import Estimate, Status, judge, number


@dataclass(frozen=True)
class Measurement:
    """One number about a forbidden set, held against its limit.

    Attributes:
        name: "share", "removed" or "replaced".
        estimate: share of the explanation, or effect on the output.
        limit: what is allowed.
        control: for effects, that of random sets of equal energy; None where the rest holds too little.
        excess: the effect less that of random sets.
    """

    name: str
    estimate: Estimate
    limit: float
    control: Estimate | None = None
    excess: Estimate | None = None

    @property
    def status(self) -> Status:
        """FAIL beyond the limit and, for effects, beyond what random removals do; PASS below it."""
        status = judge(self.estimate, self.limit, "≤")
        as_any = status is Status.FAIL and self.excess is not None and not self.excess.low > 0
        return Status.INCONCLUSIVE if as_any else status


_DOES = {
    "share": "{value} of the explanation lies there",
    "removed": "removing it changes the output by {value}",
    "replaced": "other samples' values there change the output by {value}",
}


def _in_words(m: Measurement) -> str:
    """A measurement in words, with its interval."""
    low, high = (f"{100 * end:.1f}" for end in (m.estimate.low, m.estimate.high))
    return _DOES[m.name].format(value=f"{_percent(m.estimate.value)} [{low}, {high}]")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace("-", "−")


def forbidden_sentence(status: Status, one: Forbidden, decisive: Measurement, every: list[Measurement]) -> str:
    """The answer on what is forbidden, with the measurement that decides it, or all of them where it passes."""
    limit = f"allowed: {number(decisive.limit, '%')} %"
    random = ""
    if decisive.control is not None:
        random = f"; random sets of equal energy do {_percent(decisive.control.value)}"
    if status is Status.PASS:
        return f"Does not rely on '{one.name}': {'; '.join(map(_in_words, every))}."
    if status is Status.FAIL:
        return f"Relies on '{one.name}': {_in_words(decisive)} ({limit}{random})."
    if judge(decisive.estimate, decisive.limit, "≤") is Status.FAIL:
        against = f"but no more than random sets of equal energy ({limit}{random})"
        return f"Open for '{one.name}': {_in_words(decisive)}, {against}."
    return f"Open for '{one.name}': {_in_words(decisive)}, and that interval holds the limit ({limit})."


def accuracy_sentence(accuracies: dict[str, Any]) -> str:
    """The accuracy with and without what is forbidden; "" without labels."""
    if not accuracies:
        return ""
    before = accuracies["before"]
    after = before + accuracies["changes"]["removed"]["value"]
    return f" Accuracy is {before:.3f} with it and {after:.3f} without."


def warning_sentence(flagged: list[GroupStanding], forbid: str) -> str:
    """Why a group stands out, and how to have it judged."""
    top = flagged[0]
    if top.useless:
        assert top.flips is not None
        assert top.loss is not None
        why = (
            f"other samples' values there change {_percent(top.flips.value)} of the predictions but cost "
            f"{_percent(top.loss.value)} their right answer, where other groups would cost "
            f"{_percent(top.expected_loss)}"
        )
    elif top.harmful:
        assert top.gain is not None
        low, high = (f"{100 * end:.1f}" for end in (top.gain.low, top.gain.high))
        why = f"the model is right more often without it, by {_percent(top.gain.value)} [{low}, {high}] of the samples"
    else:
        why = (
            f"other samples' values there change the output by {_percent(top.effect.value)}, far more than the "
            "energy there and the other groups let expect"
        )
    others = f" So do {', '.join(repr(row.name) for row in flagged[1:])}." if len(flagged) > 1 else ""
    return f"Leans on '{top.name}': {why}.{others} If that must not matter, judge it with --forbid \"{forbid}\"."
