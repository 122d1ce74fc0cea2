"""What `Trim` and `TrimPenalty` promise before, and beside, their scores."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout

from trimkit import FrozenPredictor, Trim, TrimPenalty
from trimkit.errors import AttributionError, FrozenError, PenaltyError, TrimkitWarning
from trimkit.registry import create
from trimkit.transforms import Identity


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


class Gains(Identity):
    """A space that holds a gain of each sample."""

    def __init__(self, gains):
        super().__init__()
        self.gains = gains

    def forward(self, x):
        return x * self.gains.repeat(len(x) // len(self.gains), 1)

    def inverse(self, s, size=None):
        return s / self.gains.repeat(len(s) // len(self.gains), 1)

    def at_rows(self, samples):
        return Gains(self.gains[samples])


@pytest.mark.parametrize("at", [None, "0"])
def test_a_graph_that_would_be_missing_is_refused_before_the_model_runs(at):
    model = nn.Sequential(Counted(3, 2))
    with pytest.raises(AttributionError, match=r"DeepLift cannot be trained through"):
        Trim(model, "identity", "captum:DeepLift", at)(torch.randn(4, 3), 0, create_graph=True)
    assert model[0].calls == 0


def test_a_model_that_draws_in_eval_mode_is_told():
    model = Noisy(3, 2).eval()
    with pytest.warns(TrimkitWarning, match="draw"):
        Trim(model, "identity", "saliency")(torch.randn(8, 3), 0)


@pytest.mark.filterwarnings("ignore:integrated_gradients:trimkit.errors.TrimkitWarning")
def test_samples_that_get_more_steps_keep_what_the_space_holds_of_them():
    def model(x):
        return torch.where(x[:, :1] > 0, torch.tanh(400 * x.sum(1, keepdim=True)), x.sum(1, keepdim=True))

    x = torch.tensor([[-1.0, 0.5], [1.0, 0.5], [0.3, 0.2]], dtype=torch.float64)
    gains = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    result = Trim(model, Gains(gains))(x, 0)
    assert result.steps[0] < result.steps[1]
    for n in range(3):
        alone = Trim(model, Gains(gains[n : n + 1]))(x[n : n + 1], 0)
        torch.testing.assert_close(result.scores[n : n + 1], alone.scores)


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


def test_groups_follow_the_size_of_the_data():
    penalty = TrimPenalty("group_l1", transform="dct")
    values = [penalty.values(torch.ones(1, n), (n,)).item() for n in (3, 4, 3)]
    assert values[0] == values[2] < values[1]


def test_a_penalty_that_draws_has_a_seed_of_its_own_and_takes_a_generator():
    model, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(4, 3)

    def value(seed, generator=None):
        return TrimPenalty("l1", attribution="smoothgrad", seed=seed)(model, x, 0, generator=generator)[1].item()

    assert value(0) == value(0) != value(1)
    drawn = [value(0, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert drawn[0] == drawn[1] != value(0)


def test_a_frozen_predictor_is_in_eval_mode_and_names_its_hashes_by_twelve_digits():
    predictor = FrozenPredictor(nn.Linear(2, 2))
    assert not predictor.training
    predictor.inner.weight.data.add_(1)
    with pytest.raises(FrozenError, match=r"sha256 was [0-9a-f]{12}…, is [0-9a-f]{12}…;"):
        predictor.verify()
