"""What `Trim` and `TrimPenalty` promise before, and beside, their scores."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout

from trimkit import FrozenPredictor, Trim, TrimPenalty
from trimkit.errors import AttributionError, FrozenError, PenaltyError, TrimkitWarning
from trimkit.predictor import guards
from trimkit.registry import create


class Counted(nn.Linear):
    """A layer that counts its forward passes."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Noisy(nn.Linear):
    """A layer that draws, also in eval mode."""

    def forward(self, x):
        return dropout(super().forward(x), 0.5, training=True)


def test_a_graph_that_would_be_missing_is_refused_before_the_model_runs():
    model = Counted(3, 2)
    with pytest.raises(AttributionError, match=r"DeepLift cannot be trained through"):
        Trim(model, "identity", "captum:DeepLift")(torch.randn(4, 3), 0, create_graph=True)
    assert model.calls == 0


def test_a_model_that_draws_in_eval_mode_is_told():
    model = Noisy(3, 2).eval()
    with pytest.warns(TrimkitWarning, match="draw"):
        Trim(model, "identity", "saliency")(torch.randn(8, 3), 0)


def test_more_steps_for_some_samples_leave_the_others_as_they_were():
    def model(x):
        return torch.where(x[:, :1] > 0, torch.tanh(40 * x.sum(1, keepdim=True)), x.sum(1, keepdim=True))

    x = torch.tensor([[1.0, 0.5], [-1.0, 0.5], [0.3, 0.2]], dtype=torch.float64)
    trim = Trim(model, "dct", ("integrated_gradients", {"n_steps": 8}))
    with pytest.warns(TrimkitWarning):
        together = trim(x, 0)
    alone = trim(x[1:2], 0)
    torch.testing.assert_close(together.scores[1:2], alone.scores, rtol=1e-9, atol=1e-12)


def test_points_are_drawn_for_one_input_only():
    draw = lambda x, generator: x  # noqa: E731
    penalty = TrimPenalty("l1", attribution="saliency", points=draw)
    x = torch.randn(4, 3)
    penalty(nn.Linear(3, 2), x, 0)
    with pytest.raises(PenaltyError, match="points are drawn for a single input"):
        TrimPenalty("l1", attribution="saliency", points=draw, at="0")(nn.Sequential(nn.Linear(3, 2)), x, 0)


def test_values_are_of_the_groups_of_the_space_that_is_given_or_else_of_the_penaltys_own():
    own, other = (create("transform", "segments", {"a": (0, at), "b": (at, 3)}) for at in (2, 1))
    penalty = TrimPenalty("group_l1", transform=own, attribution="input_x_gradient")
    scores = torch.tensor([[3.0, 4.0, 5.0]])
    values = [penalty.values(scores, (3,), space).item() for space in (None, other, None)]
    assert values == pytest.approx([50**0.5 + 5, 3 + 82**0.5, 50**0.5 + 5])


def test_a_frozen_predictor_is_in_eval_mode_and_names_its_hashes_by_twelve_digits():
    predictor = FrozenPredictor(nn.Linear(2, 2))
    assert not predictor.training
    predictor.inner.weight.data.add_(1)
    with pytest.raises(FrozenError, match=r"sha256 was [0-9a-f]{12}…, is [0-9a-f]{12}…;"):
        predictor.verify()


def test_a_distributed_model_of_another_version_without_its_static_graph_is_not_refused():
    class DistributedDataParallel(nn.Module):
        """As in versions that have no static graphs."""

        def __init__(self, module):
            super().__init__()
            self.module = module

    assert guards.survey(DistributedDataParallel(nn.Linear(2, 2))).refusal is None
