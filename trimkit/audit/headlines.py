"""Two answers, never one: is the explanation to be trusted, and does the model rely on what it must not?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trimkit.audit.performance import Performance
from trimkit.report.verdicts import Status, Verdict, exit_code, overall

_EXPLANATION = {
    Status.PASS: "Every question was answered in favour of the explanation.",
    Status.WARN: "The explanation passes, with a reservation that is named below.",
    Status.FAIL: "At least one question was answered against the explanation. Do not rely on it before reading why.",
    Status.INCONCLUSIVE: "At least one question stays open. The table says what would decide it.",
    Status.NOT_JUDGED: "Nothing was asked of the explanation.",
}

_UNASKED = "Nobody asked whether the model relies on what it must not: add the check reliance, or --forbid."


def judged(verdicts: Iterable[Verdict], about: str) -> list[Verdict]:
    """The verdicts on the explanation, or on the model."""
    return [verdict for verdict in verdicts if verdict.about == about]


def explanation_status(verdicts: Iterable[Verdict]) -> Status:
    """The worst of the mandatory verdicts on the explanation; INCONCLUSIVE where none applies."""
    return overall(judged(verdicts, "explanation"))


def attribution_statuses(verdicts: Sequence[Verdict], labels: Iterable[str]) -> dict[str, Status]:
    """One overall status for each attribution: its own verdicts with those on the transform."""
    return {label: explanation_status(v for v in verdicts if v.attribution in ("", label)) for label in labels}


def model_status(verdicts: Iterable[Verdict]) -> Status:
    """The worst verdict on the model; NOT JUDGED where none applies."""
    applied = [v for v in judged(verdicts, "model") if v.status not in (Status.NOT_APPLICABLE, Status.NOT_JUDGED)]
    return overall(applied) if applied else Status.NOT_JUDGED


def explanation_sentence(verdicts: Sequence[Verdict], labels: Sequence[str]) -> str:
    """The status in words; of several attributions each with its own."""
    statuses = attribution_statuses(verdicts, labels)
    if len(set(statuses.values())) > 1:
        return f"{'; '.join(f'{label}: {status}' for label, status in statuses.items())}."
    asked = judged(verdicts, "explanation")
    return _EXPLANATION[explanation_status(verdicts) if asked else Status.NOT_JUDGED]


def model_sentence(verdicts: Iterable[Verdict], performance: Performance | None) -> str:
    """Why the model has its status: the sentence that decides, after a warning where it learned nothing."""
    asked = judged(verdicts, "model")
    status = model_status(asked)
    if status is Status.NOT_JUDGED:
        return asked[0].sentence if asked else _UNASKED
    decisive = next(verdict for verdict in asked if verdict.status is status)
    warning = performance.warning if performance else ""
    return f"{warning} {decisive.sentence}".strip()


def audit_exit_code(explanation: Status, model: Status, fail_on: str = "fail") -> int:
    """Of both answers: 1 where one fails, else 3 where one is open, else 0.

    Args:
        explanation: its overall status.
        model: its status; NOT JUDGED is no answer and decides nothing, unless ``fail_on`` says so.
        fail_on: "fail"; "warn", where a warning also gives 1; "not-judged", where no verdict on the model gives 3 too.
    """
    strict = fail_on in ("warn", "not-judged")
    codes = [exit_code(explanation, fail_on_warn=strict)]
    if model is not Status.NOT_JUDGED or fail_on == "not-judged":
        codes.append(exit_code(model, fail_on_warn=strict))
    return next((code for code in (1, 3) if code in codes), 0)


def as_json(
    verdicts: Sequence[Verdict], labels: Sequence[str], performance: Performance | None
) -> Mapping[str, object]:
    """Both answers as plain JSON values."""
    each = attribution_statuses(verdicts, labels)
    return {
        "explanation": {
            "status": str(explanation_status(verdicts)),
            "sentence": explanation_sentence(verdicts, labels),
            "attributions": {label: str(status) for label, status in each.items()},
        },
        "model": {"status": str(model_status(verdicts)), "sentence": model_sentence(verdicts, performance)},
        "performance": None if performance is None else performance.as_json(),
    }
