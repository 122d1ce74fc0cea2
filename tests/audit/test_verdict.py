"""Verdicts: the side of the threshold, the worst of several, exit codes."""

from __future__ import annotations

import json
import math

import pytest

from trimkit.report.verdicts import Estimate, Status, Verdict, exit_code, judge, number, overall, samples_needed


def verdict(status, mandatory=True):
    return Verdict("check", "?", status, ".", mandatory=mandatory)


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (0.1, 0.2, "≤", Status.PASS),
        (0.1, 0.3, "≤", Status.PASS),
        (0.2, 0.4, "≤", Status.INCONCLUSIVE),
        (0.31, 0.4, "≤", Status.FAIL),
        (0.1, math.inf, "≤", Status.INCONCLUSIVE),
        (0.3, 0.4, "≥", Status.PASS),
        (0.2, 0.4, "≥", Status.INCONCLUSIVE),
        (0.1, 0.29, "≥", Status.FAIL),
        (1.0, 1.0, "≥", Status.PASS),
    ],
)
def test_the_whole_interval_decides(low, high, direction, expected):
    threshold = 1.0 if low == 1.0 else 0.3
    assert judge(Estimate((low + min(high, 9)) / 2, low, high), threshold, direction) is expected


def test_samples_needed_follows_the_square_root_law():
    # half-width ½ at n = 100, distance ¼: a half-width of ¼ takes 4 · 100 samples, 300 more
    assert samples_needed(Estimate(0.25, -0.25, 0.75), 0.5, 100) == 300


@pytest.mark.parametrize("estimate", [Estimate(0.5, 0.2, 0.8), Estimate(0.4, 0.2, math.inf), Estimate(0.499, 0.2, 0.8)])
def test_samples_needed_is_unknown_where_no_realistic_number_decides(estimate):
    assert samples_needed(estimate, 0.5, 100) is None


def test_overall_is_the_worst_of_the_mandatory():
    order = [Status.PASS, Status.WARN, Status.INCONCLUSIVE, Status.FAIL]
    for i, worst in enumerate(order):
        assert overall([verdict(s) for s in order[: i + 1]]) is worst
    assert overall([verdict(Status.PASS), verdict(Status.FAIL, mandatory=False)]) is Status.PASS
    assert overall([verdict(Status.PASS), verdict(Status.NOT_APPLICABLE)]) is Status.PASS


def test_nothing_applicable_shows_nothing():
    assert overall([verdict(Status.NOT_APPLICABLE)]) is Status.INCONCLUSIVE
    assert overall([]) is Status.INCONCLUSIVE


def test_without_mandatory_checks_all_count():
    assert overall([verdict(Status.FAIL, mandatory=False)]) is Status.FAIL


def test_exit_codes():
    codes = {Status.PASS: 0, Status.WARN: 0, Status.FAIL: 1, Status.INCONCLUSIVE: 3}
    assert {status: exit_code(status) for status in codes} == codes
    assert exit_code(Status.WARN, fail_on_warn=True) == 1
    assert exit_code(Status.PASS, fail_on_warn=True) == 0


def test_json_has_no_infinity():
    one = Verdict("c", "?", Status.INCONCLUSIVE, ".", Estimate(0.1, -math.inf, math.inf), 0.5)
    found = json.loads(json.dumps(one.as_json(), allow_nan=False))
    assert found["estimate"] == {"value": 0.1, "low": None, "high": None}
    assert found["status"] == "INCONCLUSIVE"


def test_numbers_are_short_and_typographic():
    assert [number(v) for v in (0, 1, -0.5, 1234567, 1e-12)] == ["0", "1", "−0.5", "1.23·10⁶", "1·10⁻¹²"]
    assert number(-math.inf) == "−∞"


def test_figures_are_empty_where_nothing_was_measured():
    assert verdict(Status.NOT_APPLICABLE).figures == ""
