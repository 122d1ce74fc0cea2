"""Reliance on what is forbidden: closed forms of a linear model, and models that do or do not use a planted group."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import trimkit
from trimkit.data import Dataset
from trimkit.errors import OptionError
from trimkit.report.verdicts import Status

WEIGHTS = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0, 0.0])


def linear(weights=WEIGHTS):
    model = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(weights[None])
    return model.eval()


@pytest.fixture(scope="module")
def noise():
    return Dataset("noise", torch.randn(400, 6, generator=torch.Generator().manual_seed(0)))


def judged(model, data, **options):
    plain = {"checks": ["reliance"], "samples": 400, "attributions": "input_x_gradient"}
    return trimkit.audit(model, data, **{**plain, **options})


def measurements(report, entry=0):
    (label,) = report.labels
    return {m["name"]: m for m in report.evidence[label]["reliance"]["forbidden"][entry]["measurements"]}


def test_measurements_of_a_linear_model_are_its_closed_form(noise):
    found = measurements(judged(linear(), noise, forbid="feature 0"))
    deviation = WEIGHTS.norm()
    contributions = (noise.x * WEIGHTS).abs()
    assert found["share"]["estimate"]["value"] == pytest.approx(
        float((contributions[:, 0] / contributions.sum(1)).mean()), abs=1e-5
    )
    output = noise.x @ WEIGHTS
    removed = float(contributions[:, 0].mean() / output.std(correction=0))
    assert found["removed"]["estimate"]["value"] == pytest.approx(removed, rel=1e-4)
    expected = 3 * math.sqrt(2) * math.sqrt(2 / math.pi) / deviation  # E|w (x − x')| for normal x, x'
    assert found["replaced"]["estimate"]["value"] == pytest.approx(float(expected), rel=0.1)
    assert found["removed"]["control"]["value"] < found["removed"]["estimate"]["value"] / 2


def test_a_model_that_uses_what_is_forbidden_fails(noise):
    report = judged(linear(), noise, forbid="feature 0")
    assert report.model is Status.FAIL
    assert report.exit_code == 1
    assert report.verdict("reliance").sentence.startswith("Relies on 'feature 0':")


def test_a_model_that_does_not_use_it_passes(noise):
    report = judged(linear(), noise, forbid="feature 5")
    verdict = report.verdict("reliance")
    assert report.model is Status.PASS
    assert report.exit_code == 3  # nothing was asked of the explanation
    assert verdict.estimate.value == 0


def test_everything_but_the_used_feature_passes_when_it_alone_is_allowed(noise):
    model = linear(torch.tensor([1.0, 0, 0, 0, 0, 0]))
    assert judged(model, noise, allow="feature 0").model is Status.PASS
    assert judged(model, noise, allow="feature 1").model is Status.FAIL


def test_limits_come_with_the_name(noise):
    assert judged(linear(), noise, forbid=("feature 0", {"share": 0.9, "effect": 0.5})).model is Status.FAIL
    loose = [("feature 4", {"share": 0.9, "effect": 1.0})]
    assert judged(linear(), noise, forbid=loose).model is Status.PASS


def test_parts_below_their_limits_are_judged_together_too(noise):
    limits = {"share": 0.3, "effect": 0.6}
    each = [(f"feature {i}", limits) for i in (1, 2, 3, 4)]
    report = judged(linear(), noise, forbid=each)
    names = [entry["name"] for entry in report.evidence["input_x_gradient"]["reliance"]["forbidden"]]
    assert names[-1] == "all of these together"
    assert report.model is Status.FAIL
    assert "'all of these together'" in report.verdict("reliance").sentence


def test_an_effect_no_larger_than_random_ones_of_equal_energy_is_left_open(noise):
    even = linear(torch.ones(6))
    report = judged(even, noise, forbid=("feature 2", {"share": 0.9}))
    assert report.model is Status.INCONCLUSIVE
    assert "no more than random sets of equal energy" in report.verdict("reliance").sentence


def test_a_dominant_set_without_a_match_is_judged_by_its_limit_alone(noise):
    loud = Dataset("loud", noise.x * torch.tensor([9.0, 1, 1, 1, 1, 1]))
    report = judged(linear(torch.ones(6)), loud, forbid=("feature 0", {"share": 0.99}))
    found = measurements(report)
    assert found["replaced"]["control"] is None
    assert report.model is Status.FAIL


def test_accuracy_with_and_without_is_told(model, data):
    report = trimkit.audit(model, data, transform="fft", samples=120, checks=["reliance"], forbid="0.354–0.442")
    (entry,) = report.evidence["integrated_gradients"]["reliance"]["forbidden"]
    assert entry["accuracy"]["before"] > 0.9
    assert entry["accuracy"]["changes"]["replaced"]["high"] < -0.3
    assert report.model is Status.FAIL
    assert "Accuracy is" in report.verdict("reliance").sentence


def test_results_hold_both_answers_and_the_old_keys(model, data):
    report = trimkit.audit(model, data, transform="fft", samples=80, checks=["reconstruction", "reliance"], forbid="dc")
    found = json.loads(report.to_json())
    assert {"format", "overall", "exit_code", "verdicts", "evidence", "notes", "provenance"} <= found.keys()
    assert found["explanation"]["status"] == found["overall"] == "PASS"
    assert found["model"]["status"] == "PASS"
    assert found["performance"]["accuracy"]["value"] > 0.9
    assert found["provenance"]["forbidden"] == ["dc"]


def test_the_page_shows_what_is_forbidden_and_where_it_lies(model, data):
    html = trimkit.audit(model, data, transform="fft", samples=80, checks=["reliance"], forbid="bin 3,1").to_html()
    assert "Model: FAIL" in html
    assert "What the model must not rely on" in html
    assert "Where bin 3,1 lies among the coefficients." in html


def test_verdicts_do_not_depend_on_the_batch_size(noise):
    one, two = (judged(linear(), noise, forbid="feature 0", batch_size=b).verdict("reliance") for b in (64, 400))
    assert one.estimate.value == pytest.approx(two.estimate.value, rel=1e-5)


def test_too_few_samples_decide_nothing(noise):
    report = judged(linear(), noise, forbid="feature 0", samples=10)
    assert report.model is Status.INCONCLUSIVE
    assert report.verdict("reliance").samples_needed == 10


def test_forbidding_without_the_check_is_refused(noise):
    with pytest.raises(OptionError, match="need the check 'reliance'"):
        judged(linear(), noise, forbid="feature 0", checks=["reconstruction"])


@pytest.mark.parametrize("options", [{"share": 0.0}, {"effect": -1.0}, {"sets": 0}, {"alpha": 1.5}, {"most_groups": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="reliance: expected"):
        trimkit.create("check", "reliance", **options)


# the search


def test_the_search_names_the_band_that_alone_matters(model, data):
    report = trimkit.audit(model, data, transform="fft", samples=128, checks=["reliance"])
    first = report.evidence["integrated_gradients"]["reliance"]["searched"][0]
    assert report.model is Status.WARN
    assert first["name"] == "0.354–0.442"
    assert first["outweighs"]
    assert '--forbid "' in report.verdict("reliance").sentence


def test_a_search_that_shows_nothing_judges_nothing(noise):
    wide = Dataset("wide", torch.randn(200, 12, generator=torch.Generator().manual_seed(1)))
    report = judged(linear(torch.ones(12)), wide)
    assert report.model is Status.NOT_JUDGED
    assert "That is no proof" in report.verdict("reliance").sentence


def test_few_groups_are_not_searched(noise):
    three = Dataset("three", noise.x[:, :3])
    report = judged(linear(WEIGHTS[:3]), three)
    assert report.verdict("reliance").status is Status.NOT_APPLICABLE
    assert "3 groups are too few to search" in report.verdict("reliance").sentence


def test_many_groups_are_searched_where_the_explanation_lies():
    wide = Dataset("wide", torch.randn(60, 40, generator=torch.Generator().manual_seed(1)))
    weights = torch.zeros(40)
    weights[[3, 17, 30]] = torch.tensor([1.0, 2.0, 3.0])
    report = judged(linear(weights), wide, checks=[("reliance", {"most_groups": 5})])
    names = {row["name"] for row in report.evidence["input_x_gradient"]["reliance"]["searched"]}
    assert len(names) == 5
    assert {"feature 3", "feature 17", "feature 30"} <= names
