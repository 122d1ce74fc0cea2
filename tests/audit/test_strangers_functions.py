"""Attributions that are a user's own functions, and models as other libraries give them."""

import numpy as np
import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import AttributionError, DataError, ModelError, OptionError, ShapeError
from trimkit.report.verdicts import Status


@pytest.fixture
def model():
    torch.manual_seed(0)
    linear = nn.Linear(12, 3).eval()
    with torch.no_grad():
        linear.weight.mul_(8)
    return linear


@pytest.fixture
def data(model):
    x = torch.randn(120, 12, generator=torch.Generator().manual_seed(1))
    return x, model(x).argmax(1)


def weight_times_input(model, x, target):
    return model.weight[target] * x


def audit(model, data, function, **options):
    options = {"checks": ["reproducibility", "controls"], **options}
    return trimkit.audit(model, data, attributions=function, samples=None, **options)


def test_a_function_is_audited_by_its_name(model, data):
    report = audit(model, data, weight_times_input, checks=["reproducibility", "controls", "randomisation"])
    assert report.labels == ("weight_times_input",)
    assert report.verdict("controls").status is Status.PASS
    assert report.verdict("randomisation").status is Status.PASS


@pytest.mark.parametrize(
    "convert",
    [
        lambda scores: scores,  # with a graph
        lambda scores: scores.detach().numpy(),
        lambda scores: scores.detach().double(),
        lambda scores: scores.detach().half(),
    ],
)
def test_scores_may_come_in_any_form(model, data, convert):
    def form(model, x, target):
        return convert(weight_times_input(model, x, target))

    assert audit(model, data, form).verdict("controls").status is Status.PASS


def test_whole_numbers_are_scores(model, data):
    def rounded(model, x, target):
        return (1000 * weight_times_input(model, x, target)).long()

    assert audit(model, data, rounded).verdict("controls").status is Status.PASS


def test_wrong_functions_fail(model, data):
    def of_another_class(model, x, target):
        return model.weight[(target + 1) % 3] * x

    def of_its_neighbour(model, x, target):
        return weight_times_input(model, x, target).roll(1, 0)

    report = audit(model, data, [of_another_class, of_its_neighbour, lambda model, x, target: x.abs()])
    assert report.labels == ("of_another_class", "of_its_neighbour", "lambda")
    assert {report.verdict("controls", label).status for label in report.labels} == {Status.FAIL}
    assert report.verdict("reproducibility", "of_its_neighbour").status is Status.FAIL


def test_a_function_that_ignores_the_model_it_gets_fails(model, data):
    report = audit(model, data, lambda _, x, target: weight_times_input(model, x, target), checks=["randomisation"])
    assert report.verdict("randomisation").status is Status.FAIL


def test_in_another_space_a_function_gets_coefficients(model, data):
    def by_removal(function, s, target):
        whole = function(s).gather(1, target[:, None])
        places = torch.eye(s.shape[1], dtype=torch.bool)
        alone = [function(s.masked_fill(place, 0.0)).gather(1, target[:, None]) for place in places]
        return whole - torch.cat(alone, dim=1)

    report = audit(model, data, [by_removal, "input_x_gradient"], transform="dct")
    statuses = {str(report.verdict("controls", label).status) for label in report.labels}
    assert len(statuses) == 1
    assert report.evidence["by_removal"]["bands"]["share"]["value"] == pytest.approx(
        report.evidence["input_x_gradient"]["bands"]["share"]["value"], rel=1e-4
    )


def test_scores_of_another_shape_are_refused(model, data):
    def short(model, x, target):
        return x[:, :5]

    with pytest.raises(ShapeError, match=r"short: expected scores \(2, 12\).*got \(2, 5\)"):
        audit(model, data, short)


def test_a_class_is_no_attribution(model, data):
    with pytest.raises(
        OptionError, match=r"got trimkit\.attributions\.base\.Attribution; make one: Attribution\(\.\.\.\)"
    ):
        audit(model, data, trimkit.Attribution)


def test_scores_of_whole_numbers_of_a_class_are_refused(model, data):
    class Whole(trimkit.Attribution):
        differentiable = False

        def attribute(self, probe, s, baseline, generator):
            return s.long()

    with pytest.raises(AttributionError, match="Whole: expected floating scores"):
        audit(model, data, Whole())


def test_outputs_that_are_arrays_say_how_to_wrap(model, data):
    with pytest.raises(ModelError, match=r"got ndarray; wrap it so that lambda x: torch.as_tensor"):
        audit(lambda x: model(x).detach().numpy(), data, "feature_ablation")


def test_an_estimator_says_how_to_call_it(data):
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(*map(np.asarray, data))
    with pytest.raises(ModelError, match=r"got LogisticRegression; give lambda x: .*decision_function"):
        audit(fitted, data, "feature_ablation")


def test_probabilities_are_no_logits(model, data):
    options = {"checks": ["reliance"], "forbid": "feature 3"}
    logits = audit(model, data, "feature_ablation", **options)
    shares = audit(nn.Sequential(model, nn.Softmax(1)).eval(), data, "feature_ablation", **options)
    assert shares.provenance["task"]["how"].endswith("so they are taken for probabilities")
    effects = [
        [
            m["estimate"]["value"]
            for m in report.evidence["feature_ablation"]["reliance"]["forbidden"][0]["measurements"]
        ]
        for report in (logits, shares)
    ]
    assert effects[0][1:] == pytest.approx(effects[1][1:], rel=1e-5)  # removed and replaced


def test_a_sigmoid_at_the_end_is_no_logit():
    torch.manual_seed(0)
    inner, x = nn.Linear(12, 1).eval(), torch.randn(200, 12, generator=torch.Generator().manual_seed(1))
    y = (inner(x)[:, 0] > 0).long()
    report = audit(nn.Sequential(inner, nn.Sigmoid()).eval(), (x, y), "feature_ablation", checks=["reliance"])
    assert report.performance.accuracy.value == 1
    assert report.provenance["task"]["how"].endswith("64 samples lie in [0, 1], so they are taken for probabilities")


def test_sigmoids_of_several_labels_are_no_logits():
    torch.manual_seed(0)
    inner, x = nn.Linear(12, 4).eval(), torch.randn(200, 12, generator=torch.Generator().manual_seed(1))
    y = (inner(x) > 0).float()
    options = {"checks": ["reliance"], "task": "multilabel", "forbid": "feature 2"}
    shares = audit(nn.Sequential(inner, nn.Sigmoid()).eval(), (x, y), "feature_ablation", **options)
    logits = audit(inner, (x, y), "feature_ablation", **options)
    assert shares.performance.measures == logits.performance.measures


def test_logits_that_pass_zero_and_one_stay_logits():
    torch.manual_seed(0)
    inner, x = nn.Linear(12, 1).eval(), torch.randn(200, 12, generator=torch.Generator().manual_seed(1))
    report = audit(inner, (x, (inner(x)[:, 0] > 0).long()), "feature_ablation", checks=["reliance"])
    assert "probabilities" not in report.provenance["task"]["how"]


def test_labels_that_are_texts_are_refused(model, data):
    with pytest.raises(DataError, match="expected labels as numbers, got list"):
        audit(model, (data[0], ["ill"] * len(data[0])), "feature_ablation")
