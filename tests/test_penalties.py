"""Penalties against closed forms, at zeros and ties, and their invariances."""

import gc
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trimkit.coefficients.groups import Groups
from trimkit.errors import OptionError, PenaltyError, ShapeError, UnknownNameError
from trimkit.penalties import (
    agreement,
    contrast,
    dead_rows,
    entropy,
    gini,
    group_l1,
    hoyer,
    is_measure,
    l0_gate,
    l1,
    masked,
    needs_signs,
    total_variation,
)
from trimkit.penalties.mask import _ROWS
from trimkit.registry import available, create, facts

MASK = torch.tensor([1.0, 0.0, 0.0, 1.0])
GROUPS = Groups(("a", "b", "c"), torch.tensor([0, 0, 1, 2]), "frequency")
EMPTY = Groups(("a", "b", "c"), torch.tensor([0, 0, 1, 1]), "frequency")
OPTIONS = {
    "masked": {"mask": MASK},
    "contrast": {"mask": MASK},
    "agreement": {"reference": torch.tensor([1.0, 2.0, 0.0, -1.0], dtype=torch.float64)},
    **{name: {"groups": GROUPS} for name in ("group_l1", "monotone_order", "isotonic")},
}
POWER = {
    **dict.fromkeys(("l1", "group_l1", "total_variation", "monotone_gradient", "monotone_order"), 1),
    **dict.fromkeys(("masked", "isotonic"), 2),
    **dict.fromkeys(("hoyer", "gini", "entropy", "l0_gate", "agreement"), 0),
}
"""value(c · scores) = c^power · value(scores); "contrast" has none."""
OF_THE_DEAD = {"entropy": 1.0, "l0_gate": 4.0, "agreement": 1.0, "contrast": 0.5}
"""Values of rows of zeros where that is not 0: never what a penalty rewards."""
WITH_SIGN = ("monotone_gradient", "agreement", "contrast")
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


def test_gini_is_the_mean_absolute_difference():
    scores = torch.randn(5, 7, dtype=torch.float64)
    a = scores.abs()
    expected = (a[:, :, None] - a[:, None]).abs().sum((1, 2)) / (2 * 49 * a.mean(1))
    assert torch.allclose(gini(scores), expected)
    ends = gini(double([[0, 0, -5, 0], [1, -1, 1, 1], [0, 0, 0, 0]]))
    assert torch.allclose(ends, double([0.75, 0, 0]), atol=1e-12)


def test_entropy_is_that_of_the_shares():
    scores = double([[0, 0, -5, 0], [1, -1, 1, 1], [2, -2, 0, 0]])
    assert torch.allclose(entropy(scores, normalised=False), double([0, math.log(4), math.log(2)]))
    assert torch.allclose(entropy(scores), double([0, 1, 0.5]))


def test_group_l1_weighs_norms_by_the_groups_size():
    scores = double([[3, -4, 2, 0], [0, 0, 0, -1]])
    assert torch.allclose(group_l1(scores, groups=GROUPS), double([5 * math.sqrt(2) + 2, 1]))
    half = Groups(("low", "high"), torch.tensor([0, 1]), "frequency", torch.tensor([1.0, 2.0]))
    assert torch.allclose(group_l1(double([[3, 4]]), groups=half), double([3 + 4 * math.sqrt(2)]))


def test_l0_counts_open_hard_concrete_gates():
    scores = double([[3, -1, 0, 0], [1, 1, 1, 1]])
    locations = (scores.abs() / (0.5 * scores.abs().mean(1, keepdim=True))).log()
    expected = torch.sigmoid(locations - 2 / 3 * math.log(0.1 / 1.1)).sum(1)
    assert torch.allclose(l0_gate(scores, threshold=0.5), expected)
    assert torch.allclose(l0_gate(scores, threshold=1e-9), double([2, 4]))


def test_total_variation_adds_steps_between_neighbours():
    image = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    image[0, 0, 1, 1] = 2.0
    assert total_variation(image).tolist() == [8.0]
    assert total_variation(image, dims=1).tolist() == [4.0]
    assert total_variation({"a": double([[1, 3, 2]]), "b": image}).tolist() == [11.0]
    assert total_variation(-image).tolist() == [8.0]


def test_agreement_is_a_distance_to_a_map():
    scores = double([[2, 4, 0, -2], [-1, -2, 0, 1], [2, -1, 3, 0]])
    reference = OPTIONS["agreement"]["reference"]
    assert torch.allclose(agreement(scores, reference=reference), double([0, 2, 1]), atol=1e-12)
    assert torch.allclose(agreement(scores, reference=reference, distance="mse"), double([6 / 4, 24 / 4, 20 / 4]))
    assert torch.allclose(agreement(scores, reference=scores), double([0, 0, 0]), atol=1e-12)


def test_contrast_is_a_softmax_of_forbidden_and_other_contributions():
    scores = double([[1, 2, 0, -3], [0, 5, 5, 0]])
    expected = torch.softmax(double([[-2, 2], [0, 10]]), 1)[:, 0]
    assert torch.allclose(contrast(scores, mask=MASK), expected)
    assert torch.allclose(contrast(scores, mask=["b"], groups=GROUPS), torch.sigmoid(double([0, 0])))


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


def test_masks_by_name_are_resolved_once_for_each_groups_and_kind_of_scores(monkeypatch):
    calls = []
    monkeypatch.setattr(Groups, "mask", lambda self, names, real=Groups.mask: calls.append(names) or real(self, names))
    before, groups = len(_ROWS), Groups(("low", "mid"), torch.tensor([0, 1, 1]), "frequency")
    scores = torch.tensor([[1.0, 2.0, 3.0]])
    for names, kind in ((["mid"], torch.float32), (["mid"], torch.float64), (["low"], torch.float32)):
        found = [masked(scores.to(kind), mask=names, groups=groups) for _ in range(3)]
        assert {value.dtype for value in found} == {kind}
        assert {float(value) for value in found} == {13.0 if names == ["mid"] else 1.0}
    assert calls == [("mid",), ("mid",), ("low",)]
    assert len(_ROWS) == before + 1
    del groups
    gc.collect()
    assert len(_ROWS) == before


def test_a_mask_resolved_in_inference_mode_serves_training():
    groups = Groups(("low", "mid"), torch.tensor([0, 1, 1]), "frequency")
    with torch.inference_mode():
        masked(torch.ones(2, 3), mask="mid", groups=groups)
    scores = torch.ones(2, 3, requires_grad=True)
    masked(scores, mask="mid", groups=groups).sum().backward()
    assert scores.grad.tolist() == [[0.0, 2.0, 2.0]] * 2


@pytest.mark.parametrize("mask", [[1, 0, 0, True], np.array([1.0, 0, 0, 1]), np.array([True, False, False, True])])
def test_masks_can_be_arrays_and_lists_of_numbers(mask):
    scores = double([[1, 2, 3, 4], [0, 1, 1, 0]])
    assert masked(scores, mask=mask).tolist() == [17.0, 0.0]
    parts = {"a": scores, "b": scores}
    assert masked(parts, mask={"a": mask, "b": 0}).tolist() == [17.0, 0.0]
    assert masked(list(parts.values()), mask=[np.zeros(4), mask]).tolist() == [17.0, 0.0]
    assert masked(scores.reshape(2, 2, 2), mask=[[1, 0], [0, 1]]).tolist() == [17.0, 0.0]


def test_masks_broadcast_over_channels():
    scores = torch.ones(2, 3, 4, 5)
    assert masked(scores, mask=torch.ones(4, 5)).tolist() == [60.0, 60.0]


@every
@given(scores=rows_of_four)
def test_signs_and_order_of_the_samples_do_not_matter(name, scores):
    assert name in WITH_SIGN or torch.allclose(penalty(name)(-scores), penalty(name)(scores))
    assert torch.allclose(penalty(name)(scores.flip(0)), penalty(name)(scores).flip(0))


@pytest.mark.parametrize("name", sorted(set(EVERY) & set(POWER)))
@given(scores=rows_of_four, scale=st.floats(1e-3, 1e3))
def test_scaling_acts_as_documented(name, scores, scale):
    power = POWER[name]
    assert torch.allclose(penalty(name)(scale * scores), scale**power * penalty(name)(scores), rtol=1e-6, atol=1e-9)


def test_those_that_say_so_do_not_depend_on_scale():
    for name in available("penalties"):
        marked = facts("penalty", name)["is_scale_invariant"]
        assert name not in OPTIONS or marked == (POWER.get(name) == 0 and name != "agreement")


@pytest.mark.parametrize(
    ("penalty", "low", "high"), [(hoyer, 0, 1), (gini, 0, 0.75), (entropy, 0, 1), (l0_gate, 0, 4), (contrast, 0, 1)]
)
@given(scores=rows_of_four)
def test_values_stay_in_their_range(penalty, low, high, scores):
    values = penalty(scores, mask=MASK) if penalty is contrast else penalty(scores)
    assert values.min() >= low - 1e-9
    assert values.max() <= high + 1e-9


@pytest.mark.parametrize("penalty", [hoyer, gini, entropy, l1, l0_gate])
@given(scores=rows_of_four, order=st.permutations(range(4)))
def test_sparsity_does_not_depend_on_the_order_of_coefficients(penalty, scores, order):
    assert torch.allclose(penalty(scores[:, order]), penalty(scores))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_survive_the_ends_of_float32(scale):
    scores = torch.tensor([[3.0, 4.0, 0.0, 0.0]]) * scale
    assert torch.allclose(hoyer(scores), torch.tensor([0.6]))
    assert torch.allclose(group_l1(scores, groups=GROUPS) / scale, torch.tensor([5.0 * math.sqrt(2)]))
    assert torch.allclose(agreement(scores, reference=scores), torch.zeros(1), atol=1e-6)


@every
def test_dead_rows_have_no_gradient_and_hurt_no_other_row(name):
    scores = double([[0, 0, 0, 0], [1, -2, 3, 0]]).requires_grad_()
    values = penalty(name)(scores)
    assert values[0] == OF_THE_DEAD.get(name, 0.0)
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
    assert {name for name in EVERY if needs_signs(penalty(name))} == {"monotone_gradient"}
    assert {name for name in EVERY if is_measure(penalty(name))} == {"gini", "hoyer"}


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: hoyer(torch.ones(3, 1)), ShapeError, "at least two scores a sample, got 1"),
        (lambda: masked(torch.ones(2, 4), mask=torch.zeros(4)), PenaltyError, "forbids nothing"),
        (lambda: masked(torch.ones(2, 4), mask="c", groups=EMPTY), PenaltyError, "forbids nothing"),
        (lambda: masked(torch.ones(2, 4), mask=np.zeros(4)), PenaltyError, "forbids nothing"),
        (lambda: masked(torch.ones(2, 4), mask={1, 2}), ShapeError, "masked: expected a mask .* got set"),
        (lambda: masked(torch.ones(2, 4), mask=[[1], [1, 2]]), ShapeError, "masked: expected a mask .* got list"),
        (lambda: masked(torch.ones(2, 4), mask=torch.ones(3)), ShapeError, r"broadcasts to \(4,\)"),
        (lambda: gini(torch.ones(3, 1)), ShapeError, "gini: expected at least two scores a sample, got 1"),
        (lambda: group_l1(torch.ones(2, 4)), PenaltyError, "group_l1 needs groups"),
        (lambda: l0_gate(torch.ones(2, 4), threshold=0), OptionError, "threshold > 0, got 0"),
        (lambda: total_variation(torch.ones(2, 1)), ShapeError, "at least two neighbours"),
        (lambda: total_variation(torch.ones(2, 4), dims=3), OptionError, "dims 1 or 2, got 3"),
        (lambda: total_variation(torch.ones(2, 4), dims=2), ShapeError, r"scores with 2 axes a sample, got \(4,\)"),
        (lambda: agreement(torch.ones(2, 4), reference=torch.zeros(4)), PenaltyError, "all zero"),
        (lambda: agreement(torch.ones(2, 4), reference=torch.ones(3)), ShapeError, r"reference must be one that broad"),
        (lambda: agreement(MASK[None], reference=MASK, distance="l2"), OptionError, "'cosine' or 'mse', got 'l2'"),
        (lambda: contrast(torch.ones(2, 4), mask=torch.zeros(4)), PenaltyError, "contrast: the mask forbids nothing"),
        (lambda: masked([torch.ones(2, 4)] * 2, mask=[torch.ones(4)]), ShapeError, "one structure"),
        (lambda: l1(torch.ones(0, 4)), ShapeError, "empty batch"),
        (lambda: l1(torch.ones(2, 4, dtype=torch.complex64)), ShapeError, "real scores"),
    ],
)
def test_what_does_not_fit_says_what_would(make, kind, says):
    with pytest.raises(kind, match=says):
        make()
