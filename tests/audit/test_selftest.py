"""The self-test: planted models' contributions are Shapley values, explanations are wrong as they say, rates count."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from scipy.stats import beta

import trimkit
from trimkit import cli
from trimkit.audit.checks.controls import Controls
from trimkit.audit.reservations import lead_reached, silent_falls, silent_share
from trimkit.audit.selftest.explanations import closed_forms
from trimkit.audit.selftest.models import cases
from trimkit.audit.selftest.outcomes import OVERALL, Outcome, SelfTest, rate, tables
from trimkit.audit.selftest.runner import judged_truth
from trimkit.audit.state import State
from trimkit.audit.statistics import Resampling
from trimkit.errors import OptionError
from trimkit.report.verdicts import Status

CASES = {case.name: case for case in cases()}


def shapley_of_pair(model, x, base, i):
    """The Shapley value of feature i by its definition, in the game of its own pair; the rest stays absent."""
    partner = i ^ 1

    def value(present):
        row = base.clone()
        row[:, present] = x[:, present]
        return model(row)[:, 0]

    alone = value([i]) - value([])
    last = value([i, partner]) - value([partner])
    return (alone + last) / 2


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contributions_are_shapley_values(case):
    model, x = case.model(0).double(), case.data(0, 5).double()
    base = torch.full_like(x, 0.3)
    exact = model.contributions(x, base)
    expected = torch.stack([shapley_of_pair(model, x, base, i) for i in range(x.shape[1])], dim=1)
    assert torch.allclose(exact, expected, atol=1e-12)  # no feature acts on one outside of its pair
    with torch.no_grad():
        assert torch.allclose(exact.sum(1, keepdim=True), model(x) - model(base), atol=1e-12)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_weights_and_data_belong_to_the_seed(case):
    before = torch.random.get_rng_state()
    assert torch.equal(case.data(1, 4), case.data(1, 4))
    assert torch.equal(case.model(1)(case.data(1, 4)), case.model(1)(case.data(1, 4)))
    assert not torch.equal(case.model(1)(case.data(1, 4)), case.model(2)(case.data(1, 4)))
    assert torch.equal(torch.random.get_rng_state(), before)


def scores(explanation, case, n=4):
    model, x = case.model(0), case.data(0, n)
    source = torch.Generator().manual_seed(0)
    return trimkit.Trim(model, "identity", explanation)(x, None, baseline=case.baseline, generator=source).scores


def test_wrong_explanations_are_what_they_say():
    case = CASES["one layer"]
    right, *wrong = closed_forms(case, 0)
    exact = case.right(case.model(0), case.data(0, 4))
    got = {explanation.kind: scores(explanation, case) for explanation in wrong}
    assert torch.equal(scores(right, case), exact)
    assert torch.equal(got["sign flipped"], -exact)
    assert torch.equal(got["doubled"], 2 * exact)
    assert torch.equal(got["permuted"][:, 3], exact[:, 0])
    assert torch.allclose(got["smeared"][:, 2], exact[:, :5].mean(1))
    assert torch.equal(got["input only"], case.data(0, 4).abs())
    assert all(not torch.allclose(values, exact) for values in got.values())


def test_scores_are_held_right_or_wrong_by_the_exact_contributions():
    exact = torch.tensor([[4.0, 3.0, -2.0, 1.0, 0.5]])
    assert judged_truth(2 * exact, exact) == "right"
    assert judged_truth(-exact, exact) == "wrong"
    assert judged_truth(torch.tensor([[4.0, 3.0, 0.7, 1.0, 0.5]]), exact) == "between"
    half = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert judged_truth(half, torch.tensor([[-0.5, -0.4, 0.5, 0.6]])) == "wrong"  # ranks agree, zeros hide half


@pytest.mark.parametrize(("k", "n"), [(0, 20), (7, 20), (20, 20)])
def test_intervals_are_those_of_clopper_and_pearson(k, n):
    got = rate(k, n)
    low = 0.0 if k == 0 else beta.ppf(0.025, k, n - k + 1)
    high = 1.0 if k == n else beta.ppf(0.975, k + 1, n - k)
    assert (got.low, got.high) == (pytest.approx(low), pytest.approx(high))


def outcomes(statuses, truth):
    return [Outcome("closed form", "m", "s", truth, OVERALL, True, s, i) for i, s in enumerate(statuses)]


def test_an_open_answer_is_neither_power_nor_false_alarm():
    wrong = outcomes([Status.FAIL, Status.WARN, Status.INCONCLUSIVE, Status.PASS], "wrong")
    right = outcomes([Status.FAIL, Status.WARN, Status.INCONCLUSIVE, Status.PASS], "right")
    result = SelfTest((*wrong, *right), {}, {})
    assert (result.power().count, result.power().n) == (2, 4)
    assert (result.missed().count, result.missed().n) == (1, 4)
    assert (result.false_alarms().count, result.false_alarms().n) == (1, 4)


@pytest.mark.parametrize(
    ("wrong", "right", "code"),
    [(Status.FAIL, Status.PASS, 0), (Status.PASS, Status.PASS, 1), (Status.FAIL, Status.FAIL, 1)],
)
def test_the_exit_code_judges_the_auditor(wrong, right, code):
    result = SelfTest((*outcomes([wrong] * 60, "wrong"), *outcomes([right] * 60, "right")), {}, {})
    assert result.exit_code == code


def test_too_few_verdicts_leave_the_auditor_open():
    assert SelfTest(tuple(outcomes([Status.FAIL], "wrong")), {}, {}).exit_code == 3


# what a victory over the controls may hide


@pytest.fixture(scope="module")
def negatives():
    """The pertinent negatives, judged by the controls alone: the right explanation, and one that ignores absence."""
    case = CASES["pertinent negatives"]
    right, ignoring = closed_forms(case, 0)
    report = trimkit.audit(
        case.model(0), case.data(0, 80), attributions=[right, ignoring, "input_x_gradient"], checks=["controls"]
    )
    return [report.verdict("controls", label) for label in report.labels]


def test_ignored_absence_does_not_pass(negatives):
    right, ignoring, product = negatives
    assert right.status is Status.PASS
    assert (ignoring.status, product.status) == (Status.WARN, Status.WARN)
    assert "scored zero" in product.sentence


def test_the_fall_without_silent_groups_is_measured(subject_of):
    class Absence(torch.nn.Module):
        def forward(self, x):
            return (1 - x) @ torch.tensor([[1.0], [2.0], [4.0]])

    x = torch.tensor([[1.0, 0.0, 0.0]] * 20)
    subject = subject_of(module=Absence().eval(), data=x)
    batch = next(subject.batches())
    falls = silent_falls(subject, batch, torch.tensor([[-1.0, 0.0, 0.0]] * 20), torch.ones(20, 3))
    assert torch.equal(falls, torch.tensor([[6.0, 0.0, 6.0]] * 20, dtype=torch.float64))
    assert not silent_falls(subject, batch, torch.ones(20, 3), torch.ones(20, 3)).any()


def columns(values):
    """Values of samples, name → (n, ...), as checks get them."""
    n = len(next(iter(values.values())))
    state = State(0, {i: i for i in range(n)})
    state.update(range(n), values)
    return state.finalise()


@pytest.mark.parametrize(("fall", "expected"), [(1.0, (0.25, True)), (-1.0, (0.0, False)), (0.0, (0.0, False))])
def test_the_silent_share_counts_falls_only(fall, expected):
    falls = columns({"falls": torch.tensor([[fall, -3 * fall, 4 * abs(fall)]] * 40)})["falls"]
    assert silent_share(falls, 0.1, Resampling(40)) == expected


def test_the_lead_is_held_against_that_of_the_best_order():
    def values(own):
        inner = torch.linspace(0, 0.1, 16)[:, None]
        curve = {
            "best": (inner + 0.2)[:, 0],
            "random": (inner + 0.6).expand(-1, 3),
            "scores": (inner + own).expand(-1, 3),
        }
        pairs = itertools.product(("baseline", "marginal", "mean"), curve)
        return columns({f"{operator}/{order}": curve[order] for operator, order in pairs})

    jitter = torch.randn(16, 1, generator=torch.Generator().manual_seed(0)) * 0.01
    share, below = lead_reached(values(0.56 + jitter), 0.25)
    assert math.isclose(share, 0.1, abs_tol=0.02)
    assert below
    assert not lead_reached(values(0.3 + jitter), 0.25)[1]


def test_limits_of_reservations_are_checked():
    with pytest.raises(OptionError, match="reach"):
        Controls(reach=1.0)
    with pytest.raises(OptionError, match="silent"):
        Controls(silent=0.0)


# the whole


def test_one_model_is_told_right_from_wrong():
    result = trimkit.audit.selftest(["input_x_gradient", "occlusion"], seeds=1, models=["one layer"])
    assert result.false_alarms(check=OVERALL, about="closed form").count == 0
    power = result.power(check=OVERALL, about="closed form")
    assert (power.count, power.n) == (13, 14)  # smeared over neighbours, scores rank the groups rightly
    assert result.power(about="transform").count == result.power(about="model").count == 1
    assert result.false_alarms(about="transform").count == result.false_alarms(about="model").count == 0
    assert result.false_alarms(subject="input_x_gradient", check=OVERALL).n == 1
    assert result.refused["occlusion"][0] == 1
    assert all(len(row) == len(headings) for _, headings, rows in tables(result) for row in rows)


def test_the_command_prints_json(monkeypatch, capsys):
    kept = SelfTest(tuple(outcomes([Status.FAIL] * 60, "wrong") + outcomes([Status.PASS] * 60, "right")), {}, {})
    monkeypatch.setattr("trimkit.audit.selftest.runner.selftest", lambda *_, **__: kept)
    assert cli.main(["audit", "--selftest", "--json"]) == 0
    rates = json.loads(capsys.readouterr().out)["rates"]
    counted = {row["rate"]: (row["count"], row["n"]) for row in rates}
    assert counted == {"flagged": (60, 60), "passed": (0, 60), "failed": (0, 60)}
    assert cli.main(["audit", "--selftest"]) == 0
    assert "60/60" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [({"seeds": 0}, "seeds"), ({"samples": 10}, "72"), ({"models": ["lin"]}, "planted model 'lin'")],
)
def test_wrong_numbers_and_names_are_refused(options, words):
    with pytest.raises(OptionError, match=words):
        trimkit.audit.selftest((), **options)


@pytest.mark.slow
def test_every_model_is_told_right_from_wrong():
    result = trimkit.audit.selftest((), seeds=1, first_seed=2)  # no limit was chosen with it
    assert result.missed(about="closed form", check=OVERALL).high < 0.15
    assert result.false_alarms(about="closed form", check=OVERALL).count <= 1
    right = {"about": "closed form", "truth": "right"}
    assert result.counts(**right, check="controls")[Status.PASS] >= 8  # of nine; random copies leave some open overall
    assert result.counts(**right, check=OVERALL)[Status.PASS] >= 1
