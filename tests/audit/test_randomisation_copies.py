"""How many random copies the check `randomisation` draws, and what it says of right scores of small tables."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.attributions.base import Attribution
from trimkit.audit.checks.randomisation import COPIES, Randomisation, copies_for
from trimkit.audit.statistics import centred_ranks, rank_correlations, spearman
from trimkit.report.verdicts import Status
from trimkit.transforms.base import single_leaf


class WeightTimesInput(Attribution):
    """Exact scores of a linear layer, whatever its weights."""

    differentiable = False
    order = "perturbation"

    def attribute(self, probe, s, baseline, generator=None):
        model = probe.model
        while not isinstance(model, nn.Linear):
            model = model.model
        return model.weight.detach() * single_leaf(s, "test")


class Amplitude(WeightTimesInput):
    """Scores into which no model enters."""

    def attribute(self, probe, s, baseline, generator=None):
        return single_leaf(s, "test").abs()


def linear(features, seed):
    g = torch.Generator().manual_seed(seed)
    model = nn.Linear(features, 1).eval()
    with torch.no_grad():
        size = 0.5 + 1.5 * torch.rand(features, generator=g)
        model.weight.copy_(size * (2 * torch.randint(2, (features,), generator=g) - 1))
    return model, torch.randn(100, features, generator=g)


def verdict(model, x, seed=0, attribution=None, check="randomisation"):
    report = trimkit.audit(model, x, attributions=attribution or WeightTimesInput(), checks=[check], seed=seed)
    return report.verdict("randomisation")


@pytest.mark.parametrize("features", [20, 40, 100])
def test_exact_scores_of_small_tables_pass_without_options(features):
    statuses = [verdict(*linear(features, seed), seed).status for seed in range(5)]
    assert Status.FAIL not in statuses
    assert statuses.count(Status.PASS) >= 4


def test_copies_are_as_many_as_unrelated_ranks_need():
    small = nn.Linear(4, 1)
    assert copies_for(12, small, 0.1) == COPIES[1]
    assert copies_for(101, small, 0.1) == 16
    assert copies_for(101, small, 0.2) == COPIES[0]
    assert copies_for(10_000, small, 0.1) == COPIES[0]


def test_many_weights_leave_the_fewest_copies():
    assert copies_for(12, nn.Linear(2000, 1000), 0.1) == COPIES[0]


def test_a_number_that_is_asked_for_is_drawn():
    found = verdict(*linear(12, 0), check=Randomisation(copies=5))
    assert found.settings["copies"] == 5


def test_the_drawn_number_is_recorded_and_forgotten():
    check = Randomisation()
    assert verdict(*linear(12, 0), check=check).settings["copies"] == COPIES[1]
    assert verdict(*linear(101, 0), check=check).settings["copies"] == 16


def test_scores_of_few_features_that_no_weight_changes_fail():
    found = verdict(*linear(5, 0), attribution=Amplitude())
    assert found.status is Status.FAIL
    assert "whatever the model's weights" in found.sentence


def test_correlations_of_all_pairs_are_those_of_each():
    g = torch.Generator().manual_seed(0)
    maps = [torch.randn(6, 9, generator=g) for _ in range(3)]
    maps[1][2] = 1.0  # a constant row has no ranks
    maps[2][2] = 5.0
    alike = rank_correlations([centred_ranks(m) for m in maps])
    for i in range(3):
        for j in range(3):
            assert alike[:, i, j].tolist() == pytest.approx(spearman(maps[i], maps[j]).tolist())
