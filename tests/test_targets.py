import pytest
import torch

from trimkit.errors import ShapeError
from trimkit.targets import log_probabilities, predicted, select

LOGITS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 6.0, 5.0]])


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        (LOGITS, 1, [2.0, 6.0]),
        (LOGITS, -1, [3.0, 5.0]),
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
        ({"logits": LOGITS}, 1, "got dict"),
    ],
)
def test_what_does_not_fit_says_what_would(output, target, says):
    with pytest.raises(ShapeError, match=says):
        select(output, target)
