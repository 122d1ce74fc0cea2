"""Copies with new weights: every parameter drawn anew, the original and the global state untouched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.randomise import randomised_copies
from trimkit.errors import ModelError
from trimkit.predictor import state_hash


class Scaled(nn.Module):
    """A layer with a parameter that nothing resets."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x) * self.scale


def test_every_parameter_is_drawn_anew_and_nothing_else_changes():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.MultiheadAttention(4, 2), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(3.0)
    before, state = state_hash(model), torch.random.get_rng_state()
    copies = randomised_copies(model, 3, seed=0)
    assert state_hash(model) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len({state_hash(c) for c in copies}) == 3
    for copy in copies:
        assert not any(part.training for part in copy.modules())
        pairs = zip(model.parameters(), copy.parameters(), strict=True)
        assert all(not torch.equal(old, new) for old, new in pairs)


def test_copies_are_keyed_by_seed_and_number():
    model = nn.Linear(3, 2)
    first, again, other = (randomised_copies(model, 2, seed) for seed in (0, 0, 1))
    assert [state_hash(m) for m in first] == [state_hash(m) for m in again]
    assert state_hash(first[0]) != state_hash(other[0])


def test_a_frozen_predictor_is_seen_through():
    (copy,) = randomised_copies(trimkit.FrozenPredictor(nn.Linear(3, 2)), 1, 0)
    assert isinstance(copy, nn.Linear)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Scaled(), "no module resets the parameter 'scale'; give the module that owns it a reset_parameters"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "no module resets the parameter 'parametrizations"),
        (nn.LayerNorm(3), "to constants"),
        (nn.ReLU(), "without parameters"),
        (torch.sin, "a bare function"),
    ],
)
def test_models_that_cannot_be_randomised(model, message):
    with pytest.raises(ModelError, match=message):
        randomised_copies(model, 2, 0)
