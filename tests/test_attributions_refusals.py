"""What no attribution of gradients can explain is refused, and the message says what can."""

import pytest
import torch
from torch import nn

from trimkit.attributions import InputXGradient, IntegratedGradients
from trimkit.attributions.base import Attribution
from trimkit.coefficients import tree
from trimkit.errors import AttributionError, OptionError, ShapeError
from trimkit.registry import create

from .attribution_cases import FACTS, MODEL, X, Y


class Forgetful(Attribution):
    """Cannot be trained through, and says so."""

    differentiable = False

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(torch.detach, probe.gradient())


def test_a_graph_is_refused_before_any_work_where_there_would_be_none():
    def never(x):
        raise AssertionError("the model was called")

    with pytest.raises(AttributionError, match=r"Use one of: .*input_x_gradient, integrated_gradients, .*saliency"):
        Forgetful()(never, X, target=Y, create_graph=True)
    assert Forgetful()(MODEL, X, target=Y).shape == X.shape


def test_a_model_without_gradient_says_so():
    with pytest.raises(AttributionError, match="does not depend on its input by differentiable operations"):
        InputXGradient()(lambda x: x.detach().sum((1, 2, 3)), X)


@pytest.mark.parametrize(
    ("s", "options", "says"),
    [
        (X.long(), {}, "floating or complex"),
        (X[:0], {}, "empty batch"),
        (X, {"baseline": torch.zeros(5, 5)}, "broadcasts"),
        (X, {"baseline": [torch.zeros(1)] * 2}, "one structure"),
        (X, {"target": None}, r"\(N,\) or \(N, 1\)"),
    ],
)
def test_bad_coefficients_baselines_and_targets_are_refused(s, options, says):
    with pytest.raises(ShapeError, match=says):
        IntegratedGradients(2)(MODEL, s, **{"target": 1, **options})


@pytest.mark.parametrize("option", ["n_steps", "chunk"])
def test_steps_must_be_positive(option):
    with pytest.raises(OptionError, match=f"{option} ≥ 1, got 0"):
        IntegratedGradients(**{option: 0})


@pytest.mark.parametrize("function", [lambda x: MODEL(x).mean(0, keepdim=True), lambda x: MODEL(x).repeat(2, 1)])
@pytest.mark.parametrize("name", sorted(name for name in FACTS if not name.startswith("captum:")))
def test_outputs_that_are_not_one_a_sample_are_refused(name, function):
    with pytest.raises(ShapeError, match="mixes or reorders"):
        create("attribution", name)(function, X, target=1)


@pytest.mark.parametrize(
    ("baseline", "says"), [(float("nan"), "finite baseline"), ("zeros", "got str"), (1j, "got complex")]
)
def test_baselines_that_are_none_are_named(baseline, says):
    with pytest.raises(ShapeError, match=says):
        InputXGradient()(MODEL, X, target=1, baseline=baseline)


class Rounded(nn.Linear):
    """Cuts the path from its input, while its parameters have a gradient."""

    def forward(self, x):
        return super().forward((x * 255).to(torch.uint8).to(x) / 255)


@pytest.mark.parametrize(
    "name", ["integrated_gradients", "saliency", "input_x_gradient", "smoothgrad", "captum:Saliency"]
)
def test_a_gradient_that_is_cut_inside_the_model_is_refused_and_the_way_out_works(name):
    model, x = Rounded(8, 3), torch.rand(4, 8)
    with pytest.raises(AttributionError, match=r"does not depend on its input .* such as feature_ablation"):
        create("attribution", name)(model, x, target=0)
    assert create("attribution", "feature_ablation")(model, x, target=0).abs().max() > 0.01


def test_captums_own_rules_refuse_a_cut_gradient_too():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x):
            return self.layer((x * 255).to(torch.uint8).to(x) / 255)

    with pytest.raises(AttributionError, match="no gradient reaches the input"):
        create("attribution", "captum:LRP")(Cut(), torch.rand(4, 8), target=0)
