import numpy as np
import pytest
import torch

import trimkit
from trimkit.errors import OptionError, ShapeError
from trimkit.targets import log_probabilities, parse_target, predicted, require_target, resolve_target, select
from trimkit.training.guidance import TrimTerm

LOGITS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 6.0, 5.0]])


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        (LOGITS, 1, [2.0, 6.0]),
        (LOGITS, -1, [3.0, 5.0]),
        (LOGITS, np.int64(1), [2.0, 6.0]),
        (LOGITS, np.array(1), [2.0, 6.0]),
        (LOGITS[:, None], (np.uint8(0), 2), [3.0, 5.0]),
        (LOGITS, torch.tensor([2, 0]), [3.0, 4.0]),
        (LOGITS, torch.tensor([2, 0], dtype=torch.int32), [3.0, 4.0]),
        (LOGITS[:, None], (0, 2), [3.0, 5.0]),
        (LOGITS[:, 0], None, [1.0, 4.0]),
        (LOGITS[:, :1], None, [1.0, 4.0]),
        (LOGITS, predicted, [3.0, 6.0]),
        ({"logits": LOGITS}, lambda out: out["logits"][:, 0], [1.0, 4.0]),
    ],
)
def test_each_form_selects_one_number_a_sample(output, target, expected):
    assert select(output, target).tolist() == expected


def test_a_tensor_target_serves_each_copy_of_the_batch():
    assert select(torch.cat([LOGITS, 10 * LOGITS]), torch.tensor([2, 0]), copies=2).tolist() == [3.0, 4.0, 30.0, 40.0]


def test_summed_log_probabilities_are_those_of_the_softmax():
    assert torch.allclose(log_probabilities(LOGITS), LOGITS.softmax(1).log().sum(1))


@pytest.mark.parametrize(
    ("output", "target", "says"),
    [
        (LOGITS, None, r"needs an output \(N,\) or \(N, 1\), got \(2, 3\)"),
        (LOGITS, 3, "out of range"),
        (LOGITS, torch.tensor([0, 3]), r"in 0 … 2, got 0 … 3"),
        (LOGITS, torch.tensor([-1, 0]), r"got -1 … 0"),
        (LOGITS, torch.tensor([0, 1, 2]), r"shape \(2,\)"),
        (LOGITS, torch.tensor([0.0, 1.0]), "integer target"),
        (LOGITS, torch.tensor([True, False]), "integer target"),
        (LOGITS[:, 0], 1, "use target=None"),
        (LOGITS, (0, 1), "with 3 axes"),
        (LOGITS, lambda out: out.sum(), "do not sum over the batch"),
        (LOGITS, lambda out: 3, "got int"),
        ({"scores": LOGITS}, 1, "got dict"),
        (LOGITS, True, "an int k for .* got bool True"),
        (LOGITS, (True,), r"got tuple \(True,\)"),
        (LOGITS, 1.0, "got float 1.0"),
        (LOGITS, "1", "got str '1'"),
        (LOGITS, [2, 0], r"use torch.tensor\(labels\)"),
        (LOGITS, np.array([2, 0]), r"got ndarray array\(\[2, 0\]\): .*torch.tensor\(labels\)"),
        (torch.tensor(1.0), lambda out: out, r"\(N,\), from the callable target, got \(\)"),
    ],
)
def test_what_does_not_fit_says_what_would(output, target, says):
    with pytest.raises(ShapeError, match=says):
        select(output, target)


@pytest.mark.parametrize(
    ("target", "copies", "rows"),
    [(1, 1, 3), (lambda out: out[:, 0], 1, 4), (torch.tensor([0, 1, 2]), 2, 6), (1, 4, None)],
)
def test_outputs_with_other_rows_than_samples_are_refused(target, copies, rows):
    with pytest.raises(ShapeError, match=r"got \(2, 3\): the model mixes or reorders the batch, or is not batch first"):
        select(LOGITS, target, copies, rows)


def test_the_number_of_rows_is_checked_behind_a_callable_too():
    output = {"logits": LOGITS}
    assert select(output, lambda out: out["logits"][:, 0], rows=2).tolist() == [1.0, 4.0]
    with pytest.raises(ShapeError, match=r"one number a sample, \(3,\).* got \(2,\)"):
        select(output, lambda out: out["logits"][:, 0], rows=3)


@pytest.mark.parametrize(("typed", "near"), [("lable", "label"), ("pred", "predicted"), ("labels", "label")])
def test_an_unknown_word_is_refused_with_the_nearest_wherever_a_target_is_taken(typed, near):
    model, x = torch.nn.Linear(8, 3).eval(), torch.randn(4, 8)
    takers = (
        lambda: require_target(typed),
        lambda: parse_target(typed),
        lambda: trimkit.Trim(model)(x, typed),
        lambda: trimkit.TrimPenalty("l1")(model, x, typed),
        lambda: trimkit.audit(model, x, target=typed, samples=4),
        lambda: TrimTerm("l1", target=typed),
    )
    for take in takers:
        with pytest.raises(OptionError, match=f"got '{typed}'. Did you mean '{near}'"):
            take()


def test_words_are_settled_at_the_explained_point():
    assert resolve_target("predicted", LOGITS).tolist() == [2, 1]
    assert resolve_target("label", LOGITS, torch.tensor([0, 1])).tolist() == [0, 1]
    assert resolve_target("predicted", LOGITS[:, 0]) is None
    assert resolve_target("label", LOGITS[:, :1]) is None
    assert resolve_target((0, 1), LOGITS) == (0, 1)
    assert parse_target("3") == 3
    with pytest.raises(OptionError, match=r"needs labels.* pass them as the target, a tensor \(N,\)"):
        resolve_target("label", LOGITS)
    with pytest.raises(ShapeError, match=r"needs an output .* got dict"):
        resolve_target("predicted", {"scores": LOGITS})


@pytest.mark.parametrize("attribution", ["input_x_gradient", "integrated_gradients", "captum:DeepLift"])
def test_the_predicted_class_is_the_same_along_the_path(attribution):
    torch.manual_seed(0)
    model, x = torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)), torch.randn(6, 8)
    wanted = trimkit.Trim(model, "dct", attribution)(x, model(x).argmax(1))
    result = trimkit.Trim(model, "dct", attribution)(x, "predicted")
    assert torch.equal(result.scores, wanted.scores)
    if result.gap is not None:
        assert torch.equal(result.gap, wanted.gap)
    values = [trimkit.TrimPenalty("l1")(model, x, target)[1] for target in ("predicted", model(x).argmax(1))]
    assert torch.equal(*values)
