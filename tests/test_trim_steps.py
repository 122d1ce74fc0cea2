"""Integrated gradients take more steps where they do not add up, and say what remains."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import OptionError, TrimkitWarning

torch.manual_seed(0)
X = torch.tensor([[1.0, 0.2], [0.5, -0.3], [-0.4, 0.1]], dtype=torch.float64)


class Steep(nn.Module):
    """σ(k (x₀ − ½)) + x₁²: a short stretch of the path holds nearly all of the change for the first sample only."""

    def __init__(self, k=40):
        super().__init__()
        self.k = k

    def forward(self, x):
        return torch.sigmoid(self.k * (x[:, :1] - 0.5)) + x[:, 1:] ** 2


def test_steps_double_for_the_samples_that_need_them_until_the_gap_is_a_hundredth_of_the_change():
    result = trimkit.Trim(Steep())(X)
    assert bool((result.gap.abs() <= 0.01 * result.change.abs()).all())
    assert result.steps[2] == 32
    few = trimkit.Trim(Steep(), "identity", ("integrated_gradients", {"n_steps": 4, "tolerance": None}))(X)
    assert float(few.gap.abs().max()) > 0.01 * float(few.change.abs().max())
    right = torch.stack([torch.sigmoid(40 * (X[:, 0] - 0.5)) - torch.sigmoid(torch.tensor(-20.0)), X[:, 1] ** 2], 1)
    assert torch.allclose(result.scores, right, atol=0.01)


@pytest.mark.parametrize("kind", ["labels", "baseline", "mapping", "layer"])
def test_targets_and_inputs_follow_their_samples_into_the_second_round(kind):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Identity()

        def forward(self, x, other):
            steep = Steep(200)(self.first(x))
            return torch.cat([steep * other, -steep], 1)

    other = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    inputs, labels = {"x": X, "other": other}, torch.tensor([0, 1, 0])
    baseline = torch.full_like(X, 0.1) if kind == "baseline" else None
    at = "first" if kind == "layer" else "x"
    target = labels if kind == "labels" else 0
    result = trimkit.Trim(Two(), at=at)(inputs, target, baseline=baseline)
    fine = trimkit.Trim(Two(), "identity", ("integrated_gradients", {"n_steps": 1024}), at=at)
    expected = fine(inputs, target, baseline=baseline)
    assert bool((result.steps > 32).any())
    assert torch.allclose(result.scores, expected.scores, atol=0.05)
    assert torch.allclose(result.change, expected.change)


def test_what_remains_is_a_warning():
    with pytest.warns(TrimkitWarning, match=r"1 of 3 samples miss .* more than 1 % after 8 steps .*n_steps"):
        result = trimkit.Trim(Steep(), "identity", ("integrated_gradients", {"n_steps": 8}))(X[[2, 0, 2]])
    assert result.steps.tolist() == [8, 8, 8]


def test_training_keeps_its_steps():
    result = trimkit.Trim(Steep())(X, create_graph=True)
    assert result.steps is None
    assert torch.allclose(result.scores, trimkit.Trim(Steep(), "identity", FIXED)(X).scores)


FIXED = ("integrated_gradients", {"n_steps": 32, "tolerance": None})


def test_a_tolerance_below_zero_is_refused():
    with pytest.raises(OptionError, match="tolerance"):
        trimkit.create("attribution", "integrated_gradients", tolerance=-1.0)
