"""Attributions that compare with reference samples are audited, each sample alone."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import AttributionError


@pytest.fixture(scope="module")
def audited():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(40, 16)


@pytest.mark.parametrize("options", [{}, {"baseline": 0.0}, {"baseline": 10}, {"reference": 10}])
@pytest.mark.parametrize(
    "attribution", ["expected_gradients", "gradient_shap", "captum:GradientShap", "captum:DeepLiftShap"]
)
def test_references_come_from_the_baseline_or_the_data(audited, attribution, options):
    model, x = audited
    given = {name: x[:value] if value == 10 else value for name, value in options.items()}
    report = trimkit.audit(model, x, attributions=[attribution], checks=["reconstruction"], samples=24, **given)
    assert str(report.verdict("reconstruction").status) == "PASS"


def test_scores_do_not_depend_on_the_batch(audited):
    model, x = audited
    values = []
    for batch_size in (3, 8):
        report = trimkit.audit(
            model, x, attributions=["expected_gradients"], checks=["controls"], samples=24, batch_size=batch_size
        )
        values.append(report.verdict("controls").estimate.value)
    assert values[0] == pytest.approx(values[1], abs=1e-5)


def test_permutation_is_refused_with_an_attribution_that_works(audited):
    model, x = audited
    with pytest.raises(AttributionError, match="captum:FeatureAblation"):
        trimkit.audit(model, x, attributions=["captum:FeaturePermutation"], samples=24)
    report = trimkit.audit(model, x, attributions=["captum:FeatureAblation"], samples=24, checks=["reconstruction"])
    assert str(report.verdict("reconstruction").status) == "PASS"
