"""Penalties against closed forms, at zeros and ties, and their invariances."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from trimkit.errors import PenaltyError, ShapeError, UnknownNameError
from trimkit.groups import Groups
from trimkit.penalties import dead_rows, hoyer, is_measure, l1, masked
from trimkit.registry import available, create

MASK = torch.tensor([1.0, 0.0, 0.0, 1.0])
OPTIONS = {"masked": {"mask": MASK}}
EVERY = sorted(available("penalties"))
every = pytest.mark.parametrize("name", EVERY)


def penalty(name):
    return create("penalty", name, **OPTIONS.get(name, {}))


def double(values):
    return torch.tensor(values, dtype=torch.float64)


rows_of_four = st.lists(
    st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=4, max_size=4), min_size=1, max_size=4
).map(double)


def test_l1_adds_magnitudes():
    assert l1(double([[3.0, -4.0], [0.0, 0.0]])).tolist() == [7.0, 0.0]


def test_hoyer_is_one_for_a_single_score_and_zero_for_equal_ones():
    scores = double([[0, 0, -5, 0], [1, -1, 1, 1], [3, 4, 0, 0], [0, 0, 0, 0]])
    expected = double([1, 0, (2 - 7 / 5) / (2 - 1), 0])
    assert torch.allclose(hoyer(scores), expected, atol=1e-12)


def test_masked_adds_squares_where_scores_are_forbidden():
    scores = double([[1, 2, 3, -4], [0, 5, 5, 0]])
    assert masked(scores, mask=MASK).tolist() == [17.0, 0.0]
    assert masked(scores, mask=MASK.bool()).tolist() == [17.0, 0.0]


def test_trees_count_as_one_row():
    parts = {"a": double([[3.0], [0.0]]), "b": (double([[[4.0, 0.0]], [[0.0, 1.0]]]),)}
    assert l1(parts).tolist() == [7.0, 1.0]
    assert torch.allclose(hoyer(parts), hoyer(double([[3, 4, 0], [0, 0, 1]])))
    mask = {"a": torch.ones(1), "b": (torch.zeros(1, 2),)}
    assert masked(parts, mask=mask).tolist() == [9.0, 0.0]


def test_masks_can_name_groups():
    groups = Groups(("low", "mid", "high"), torch.tensor([0, 1, 1, 2]), "frequency")
    scores = double([[1, 2, 3, 4]])
    assert masked(scores, mask="mid", groups=groups).tolist() == [13.0]
    assert masked(scores, mask=["low", "high"], groups=groups).tolist() == [17.0]
    with pytest.raises(UnknownNameError, match="Did you mean 'high'"):
        masked(scores, mask="hihg", groups=groups)
    with pytest.raises(PenaltyError, match=r"need groups=transform\.groups"):
        masked(scores, mask="mid")


def test_masks_broadcast_over_channels():
    scores = torch.ones(2, 3, 4, 5)
    assert masked(scores, mask=torch.ones(4, 5)).tolist() == [60.0, 60.0]


@every
@given(scores=rows_of_four)
def test_signs_and_order_of_the_samples_do_not_matter(name, scores):
    assert torch.allclose(penalty(name)(-scores), penalty(name)(scores))
    assert torch.allclose(penalty(name)(scores.flip(0)), penalty(name)(scores).flip(0))


@every
@given(scores=rows_of_four, scale=st.floats(1e-3, 1e3))
def test_scaling_acts_as_documented(name, scores, scale):
    power = {"l1": 1, "hoyer": 0, "masked": 2}[name]
    assert available("penalties")[name].scale_invariant == (power == 0)
    assert torch.allclose(penalty(name)(scale * scores), scale**power * penalty(name)(scores), rtol=1e-6, atol=1e-9)


@given(rows_of_four)
def test_hoyer_stays_in_its_range(scores):
    values = hoyer(scores)
    assert values.min() >= -1e-9
    assert values.max() <= 1 + 1e-9


@given(rows_of_four, st.permutations(range(4)))
def test_sparsity_does_not_depend_on_the_order_of_coefficients(scores, order):
    assert torch.allclose(hoyer(scores[:, order]), hoyer(scores))
    assert torch.allclose(l1(scores[:, order]), l1(scores))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_hoyer_survives_the_ends_of_float32(scale):
    scores = torch.tensor([[3.0, 4.0, 0.0, 0.0]]) * scale
    assert torch.allclose(hoyer(scores), torch.tensor([0.6]))


@every
def test_first_and_second_derivatives_are_right(name):
    scores = double([[1, -2, 3, 0.5], [0.1, 0.2, -0.3, 2.0]]).requires_grad_()
    assert gradcheck(penalty(name), scores)
    assert gradgradcheck(penalty(name), scores)


@every
def test_dead_rows_have_no_gradient_and_hurt_no_other_row(name):
    scores = double([[0, 0, 0, 0], [1, -2, 3, 0]]).requires_grad_()
    values = penalty(name)(scores)
    assert values[0] == 0
    (first,) = torch.autograd.grad(values.sum(), scores, create_graph=True)
    assert torch.isfinite(first).all()
    assert first[0].abs().sum() == 0
    assert first[1].abs().sum() > 0
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), scores, allow_unused=True, materialize_grads=True)
        assert torch.isfinite(second).all()


@every
def test_ties_have_finite_gradients(name):
    scores = torch.ones(2, 4, dtype=torch.float64, requires_grad=True)
    penalty(name)(scores).sum().backward()
    assert torch.isfinite(scores.grad).all()


@every
def test_nan_is_not_hidden(name):
    scores = double([[float("nan"), 1, 1, 1], [1, 2, 3, 4]])
    values = penalty(name)(scores)
    assert math.isnan(values[0])
    assert math.isfinite(values[1])


def test_dead_rows_are_counted():
    assert int(dead_rows(double([[0, 0], [0, 1], [0, 0]]))) == 2
    assert int(dead_rows(double([[float("nan"), 0]]))) == 0


def test_measures_are_marked_also_behind_partial():
    assert is_measure(hoyer)
    assert is_measure(partial(hoyer))
    assert not is_measure(l1)
    assert {n for n, s in available("penalties").items() if s.measure} == {n for n in EVERY if is_measure(penalty(n))}


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: hoyer(torch.ones(3, 1)), ShapeError, "at least two scores a sample, got 1"),
        (lambda: masked(torch.ones(2, 4), mask=torch.zeros(4)), PenaltyError, "forbids nothing"),
        (lambda: masked(torch.ones(2, 4), mask=torch.ones(3)), ShapeError, r"broadcasts to \(4,\)"),
        (lambda: masked([torch.ones(2, 4)] * 2, mask=[torch.ones(4)]), ShapeError, "one structure"),
        (lambda: l1(torch.ones(0, 4)), ShapeError, "empty batch"),
        (lambda: l1(torch.ones(2, 4, dtype=torch.complex64)), ShapeError, "real scores"),
    ],
)
def test_what_does_not_fit_says_what_would(make, kind, says):
    with pytest.raises(kind, match=says):
        make()
