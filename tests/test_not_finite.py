"""Outputs and derivatives that are NaN or infinite are named, and do not hide what is wrong with other samples."""

import math
import warnings

import pytest
import torch

import trimkit
from trimkit.attributions.gradient import IntegratedGradients
from trimkit.predictor.guards import is_finite

X = torch.tensor([[1.0, 2.0], [4.0, 1.0], [-3.0, 1.0], [2.0, -5.0]])


def root(x):
    """√ of the sum: NaN for the last two samples."""
    return x.sum(1).sqrt()


def masked(x):
    """The second class is ruled out, as masked actions are."""
    return torch.stack([x.sum(1), x.sum(1) - torch.inf], 1)


@pytest.mark.parametrize("attribution", ["integrated_gradients", "input_x_gradient", "feature_ablation", "smoothgrad"])
def test_the_first_sample_without_a_finite_output_is_named(attribution):
    with pytest.warns(trimkit.TrimkitWarning, match=r"explained output of sample 2 of the batch \(2 of 4 samples\)"):
        trimkit.Trim(root, attribution=attribution)(X)


def test_an_output_that_is_nan_is_named_though_its_derivative_is_finite():
    with pytest.warns(trimkit.TrimkitWarning, match=r"explained output of sample 1 of the batch \(1 of 4 samples\)"):
        trimkit.Trim(lambda x: x.sum(1) + torch.tensor([0, torch.nan, 0, 0]), attribution="input_x_gradient")(X)


def test_the_first_sample_without_a_finite_derivative_is_named():
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    with pytest.warns(trimkit.TrimkitWarning, match=r"as score of sample 1 of the batch \(1 of 2 samples\)"):
        trimkit.Trim(lambda x: x.square().sum(1).sqrt(), attribution="input_x_gradient")(x)


def test_a_bare_function_is_told_of_too():
    with pytest.warns(trimkit.TrimkitWarning, match="of sample 2 of the batch"):
        trimkit.create("attribution", "saliency")(root, X)


def test_classes_that_are_ruled_out_by_minus_infinity_are_no_matter_to_others():
    assert torch.isfinite(trimkit.Trim(masked)(X, target=0).scores).all()


def test_scores_of_finite_samples_are_those_that_they_have_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", trimkit.TrimkitWarning)
        together = trimkit.Trim(root)(X).scores[:2]
    assert torch.allclose(together, trimkit.Trim(root)(X[:2]).scores)


def test_more_steps_are_taken_for_finite_samples_beside_one_that_is_not():
    few = IntegratedGradients(2)
    few.most_steps = 64
    trim = trimkit.Trim(lambda x: (x + 0.1).sum(1).sqrt(), attribution=few)
    x = torch.tensor([[9.0], [-1.0]])
    with pytest.warns(trimkit.TrimkitWarning, match="explained output of sample 1"):
        result = trim(x)
    alone = trim(x[:1])
    assert alone.steps is not None
    assert result.steps is not None
    assert int(alone.steps[0]) > 2
    assert result.steps.tolist() == [int(alone.steps[0]), 2]


def test_a_penalty_leaves_the_word_to_the_training_loop():
    x = X.clone().requires_grad_()
    scale = torch.nn.Parameter(torch.ones(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output, value = trimkit.TrimPenalty("l1", parameters=[scale])(lambda x: root(scale * x), x)
    assert output.isnan().tolist() == [False, False, True, True]
    assert bool(value.isnan())


@pytest.mark.parametrize("value", [1.0, 3, True, 1e30, 1 + 2j])
def test_numbers_of_every_type_are_looked_at(value):
    assert is_finite(torch.tensor([value, value]))


@pytest.mark.parametrize("value", [math.nan, -math.inf, complex(0, math.nan), complex(math.inf, 0)])
def test_numbers_of_every_type_that_are_not_finite_are_found(value):
    assert not is_finite(torch.tensor([0, value]))
