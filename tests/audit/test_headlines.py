"""Two answers, never one, and the exit code of both."""

from __future__ import annotations

import pytest

from trimkit.audit.headlines import (
    attribution_statuses,
    audit_exit_code,
    explanation_sentence,
    explanation_status,
    model_sentence,
    model_status,
)
from trimkit.report.verdicts import Status, Verdict

PASS, WARN, FAIL, OPEN, NONE = Status.PASS, Status.WARN, Status.FAIL, Status.INCONCLUSIVE, Status.NOT_JUDGED


def verdict(status, about="explanation", attribution="a", sentence="So it is."):
    return Verdict("c", "?", status, sentence, attribution=attribution, about=about)


def test_the_two_answers_are_never_mixed():
    verdicts = [verdict(PASS), verdict(FAIL, "model")]
    assert (explanation_status(verdicts), model_status(verdicts)) == (PASS, FAIL)
    verdicts = [verdict(FAIL), verdict(PASS, "model")]
    assert (explanation_status(verdicts), model_status(verdicts)) == (FAIL, PASS)


def test_a_model_that_nobody_asked_about_is_not_judged():
    assert model_status([verdict(PASS)]) is NONE
    assert "Nobody asked" in model_sentence([verdict(PASS)], None)
    idle = [verdict(Status.NOT_APPLICABLE, "model", sentence="Too few groups.")]
    assert model_status(idle) is NONE
    assert model_sentence(idle, None) == "Too few groups."


def test_a_search_that_warns_for_one_attribution_warns():
    verdicts = [verdict(NONE, "model", "a"), verdict(WARN, "model", "b", "Leans on x.")]
    assert model_status(verdicts) is WARN
    assert model_sentence(verdicts, None) == "Leans on x."


def test_every_attribution_has_its_own_overall_status():
    verdicts = [verdict(WARN, attribution=""), verdict(PASS, attribution="a"), verdict(FAIL, attribution="b")]
    assert attribution_statuses(verdicts, ["a", "b"]) == {"a": WARN, "b": FAIL}
    assert explanation_sentence(verdicts, ["a", "b"]) == "a: WARN; b: FAIL."


@pytest.mark.parametrize(
    ("explanation", "model", "codes"),
    [
        (PASS, PASS, (0, 0, 0)),
        (PASS, NONE, (0, 0, 3)),
        (PASS, WARN, (0, 1, 1)),
        (WARN, PASS, (0, 1, 1)),
        (PASS, FAIL, (1, 1, 1)),
        (FAIL, PASS, (1, 1, 1)),
        (OPEN, PASS, (3, 3, 3)),
        (PASS, OPEN, (3, 3, 3)),
        (OPEN, FAIL, (1, 1, 1)),
    ],
)
def test_exit_codes(explanation, model, codes):
    found = tuple(audit_exit_code(explanation, model, fail_on) for fail_on in ("fail", "warn", "not-judged"))
    assert found == codes
