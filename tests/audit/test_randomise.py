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
    model = nn.Linear(3, 2)
    (copy,) = randomised_copies(trimkit.FrozenPredictor(model), 1, 0)
    (expected,) = randomised_copies(model, 1, 0)
    assert isinstance(copy, nn.Linear)
    assert state_hash(copy) == state_hash(expected) != state_hash(model)


def test_a_bare_parameter_is_redrawn_with_its_own_mean_and_spread():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(3 + 2 * torch.randn(200, 100, generator=torch.Generator().manual_seed(0)))
            self.head = nn.Linear(4, 2)

    model = Tokens()
    (copy,) = randomised_copies(model, 1, 0)
    assert not torch.equal(copy.position, model.position)
    drawn = copy.position.detach()
    assert float(drawn.mean()) == pytest.approx(3, abs=0.05)
    assert float(drawn.std()) == pytest.approx(2, abs=0.05)
    assert copy.position.requires_grad


def test_a_constant_parameter_keeps_its_value_beside_layers_that_are_drawn():
    (copy,) = randomised_copies(Scaled(), 1, 0)
    assert torch.equal(copy.scale, torch.ones(3))


def test_a_models_own_rule_for_all_its_modules_is_applied():
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 8))
            self.inner = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))

        def _init_weights(self, module):
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=5.0)
            if isinstance(module, Transformer):
                nn.init.normal_(module.token, std=7.0)

    (copy,) = randomised_copies(Transformer(), 1, 0)
    assert 3 < float(copy.inner[0].weight.detach().std()) < 7
    assert float(copy.token.detach().abs().max()) > 1


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_normalised_layers_are_copied_and_drawn(norm):
    model = nn.Sequential(norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 2)).eval()
    before = model[0].weight.detach().clone()
    one, two = randomised_copies(model, 2, 0)
    x = torch.randn(3, 6)
    assert not torch.allclose(one(x), two(x))
    assert torch.equal(model[0].weight, before)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_the_older_weight_norm_is_copied_after_a_forward():
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 5)), nn.Linear(5, 2)).eval()
    x = torch.randn(3, 6)
    model(x)
    one, two = randomised_copies(model, 2, 0)
    assert not torch.allclose(one(x), two(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.LayerNorm(3), "to constants"),
        (nn.ReLU(), "without parameters"),
        (torch.sin, "a bare function"),
    ],
)
def test_models_that_cannot_be_randomised(model, message):
    with pytest.raises(ModelError, match=message):
        randomised_copies(model, 2, 0)
