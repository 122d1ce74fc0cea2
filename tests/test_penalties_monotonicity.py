"""Monotonicity: hinges and projections against closed forms and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression
from torch.autograd import gradcheck, gradgradcheck

from trimkit.coefficients.groups import Groups
from trimkit.errors import OptionError, PenaltyError, ShapeError, UnknownNameError
from trimkit.penalties import isotonic, isotonic_regression, monotone_gradient, monotone_order

BANDS = Groups(("dc", "low", "mid", "high"), torch.tensor([0, 1, 2, 3]), "frequency")


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def test_monotone_gradient_is_a_hinge_on_signed_slopes():
    scores = double([[1, -2, 0.5, 0]])
    assert monotone_gradient(scores).tolist() == [2.0]
    assert monotone_gradient(scores, signs=-1).tolist() == [1.5]
    assert monotone_gradient(scores, margin=1.0).tolist() == [0 + 3 + 0.5 + 1]
    assert monotone_gradient(scores, margin=1.0, power=2).tolist() == [9 + 0.25 + 1]
    assert monotone_gradient(scores, signs=double([-1, 0, 0, 1]), margin=0.5).tolist() == [1.5 + 0.5]


def test_signs_can_be_given_by_group():
    scores = double([[1, -2, 0.5, 0]])
    assert monotone_gradient(scores, signs={"dc": -1, "low": 1}, groups=BANDS).tolist() == [3.0]
    with pytest.raises(UnknownNameError, match="Did you mean 'low'"):
        monotone_gradient(scores, signs={"lwo": 1}, groups=BANDS)
    with pytest.raises(PenaltyError, match="needs groups"):
        monotone_gradient(scores, signs={"low": 1})


def test_signs_of_trees_are_trees():
    scores = {"a": double([[1, -1]]), "b": double([[[-3.0]]])}
    signs = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor(-1.0)}
    assert monotone_gradient(scores, signs=signs).tolist() == [1.0]


def test_monotone_order_compares_neighbours_or_all_pairs():
    scores = double([[4, -1, 3, 2], [4, 3, 2, 1]])
    assert monotone_order(scores, groups=BANDS).tolist() == [2.0, 0.0]
    assert monotone_order(scores, groups=BANDS, pairs="all").tolist() == [2 + 1, 0]
    assert monotone_order(scores, groups=BANDS, order="increasing").tolist() == [3 + 1, 3]
    assert monotone_order(scores, groups=BANDS, order="increasing", pairs="all").tolist() == [3 + 1 + 2 + 1, 10]
    assert monotone_order(scores, groups=BANDS, margin=1.0, power=2).tolist() == [9, 0]
    assert monotone_order(scores, groups=BANDS, among=["low", "high"]).tolist() == [1, 0]


def test_importance_is_a_mean_over_what_a_bin_stands_for():
    wide = Groups(("low", "high"), torch.tensor([0, 1, 1, 1]), "frequency")
    assert monotone_order(double([[2, 1, 1, 1]]), groups=wide).tolist() == [0.0]
    half = Groups(("low", "high"), torch.tensor([0, 1]), "frequency", torch.tensor([1.0, 2.0]))
    assert monotone_order(double([[2, 3]]), groups=half).tolist() == [0.0]


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_the_projection_is_scikit_learns(size):
    values = torch.randn(20, size, dtype=torch.float64)
    values[10:] = values[10:].round()  # ties
    expected = [IsotonicRegression().fit_transform(np.arange(size), row.numpy()) for row in values]
    assert np.allclose(isotonic_regression(values), np.stack(expected))


def test_isotonic_is_the_squared_distance_and_its_gradient_twice_the_difference():
    scores = double([[1, 5, 3, 0.5], [4, 3, 2, 1], [1, 1, 1, 1]]).requires_grad_()
    values = isotonic(scores, groups=BANDS)
    assert torch.allclose(values, double([4 + 4 + 0, 0, 0]))
    (gradient,) = torch.autograd.grad(values.sum(), scores)
    assert torch.allclose(gradient[0], 2 * double([1 - 3, 5 - 3, 0, 0]))
    assert gradient[1:].abs().max() == 0
    assert isotonic(scores, groups=BANDS, order="increasing")[1] == 5.0


@pytest.mark.parametrize(
    "penalty",
    [
        lambda s: isotonic(s, groups=BANDS, order="increasing"),
        lambda s: monotone_order(s, groups=BANDS, pairs="all", margin=0.3, power=2),
        lambda s: monotone_gradient(s, signs={"low": -1, "high": 1}, margin=0.15, power=2, groups=BANDS),
    ],
)
def test_derivatives_with_options_are_right(penalty):
    scores = double([[1, -2, 3, 0.5], [0.1, 0.25, -0.3, 2.0], [3, 2, 1.5, 0.2]]).requires_grad_()
    assert gradcheck(penalty, scores)
    assert gradgradcheck(penalty, scores)


def test_a_flat_output_is_asked_for_a_slope_only_by_a_margin():
    flat = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    value = monotone_gradient(flat, margin=0.5)
    assert value.tolist() == [2.0]
    assert torch.autograd.grad(value.sum(), flat)[0].tolist() == [[-1.0] * 4]


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda s: monotone_gradient(s, margin=-1), OptionError, "margin ≥ 0 and power ≥ 1, got margin=-1"),
        (lambda s: monotone_gradient(s, power=0.5), OptionError, "power=0.5"),
        (lambda s: monotone_gradient(s, signs=2.0), PenaltyError, "signs −1, 0 or 1"),
        (lambda s: monotone_gradient(s, signs=0), PenaltyError, "at least one that is not 0"),
        (lambda s: monotone_gradient(s, signs=torch.ones(3)), ShapeError, r"signs must be one that broadcasts to \(4,"),
        (lambda s: monotone_order(s), PenaltyError, "monotone_order needs groups"),
        (lambda s: monotone_order(s, groups=BANDS, pairs="some"), OptionError, "'adjacent' or 'all', got 'some'"),
        (lambda s: monotone_order(s, groups=BANDS, order="up"), OptionError, "got 'up'"),
        (lambda s: isotonic(s, groups=BANDS, among=["dc"]), PenaltyError, "at least two groups to order, got 1"),
        (lambda s: isotonic(s, groups=BANDS, among=["dc", "hihg"]), UnknownNameError, "Did you mean 'high'"),
    ],
)
def test_what_does_not_fit_says_what_would(make, kind, says):
    with pytest.raises(kind, match=says):
        make(torch.ones(2, 4))
