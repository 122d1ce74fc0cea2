"""A shortcut that costs right answers where it does not hold is shown by the search."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.report.verdicts import Status

WEIGHTS = torch.tensor([2.0, 1.0, 0.5, 0.1, 0.02, *[0.0] * 7])


def trained(seed, shortcut):
    """A network of twelve features, poisoned at feature 9 in training alone, and its test data."""
    g = torch.Generator().manual_seed(3 + seed)
    torch.manual_seed(seed)
    x = torch.randn(600, 12, generator=g)
    y = (x @ WEIGHTS > 0).long()
    hint = torch.where((torch.arange(600) < 400) & shortcut, y, torch.randint(2, (600,), generator=g))
    x[:, 9] = 2 * hint - 1 + 0.2 * x[:, 9]
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(200):
        loss = nn.functional.cross_entropy(model(x[:400]), y[:400])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval(), (x[400:], y[400:])


@pytest.mark.parametrize("seed", range(4))
def test_a_feature_without_which_the_model_is_right_more_often_stands_out(seed):
    report = trimkit.audit(*trained(seed, shortcut=True), checks=["reliance"])
    first = report.evidence["integrated_gradients"]["reliance"]["searched"][0]
    assert report.model is Status.WARN
    assert first["name"] == "feature 9"
    assert first["harmful"]
    assert first["gain"]["low"] > 0.05


def test_a_shortcut_that_holds_the_accuracy_at_chance_stands_out():
    model, (x, y) = trained(0, shortcut=True)
    x[:, 9] = 2 * (torch.arange(len(x)) % 2) - 1.0  # the shortcut says another thing of each second sample
    x[:, 9] *= 2
    report = trimkit.audit(model, (x, y), checks=["reliance"])
    assert report.performance.at_chance
    assert report.model is Status.WARN
    assert report.evidence["integrated_gradients"]["reliance"]["searched"][0]["name"] == "feature 9"


def test_a_model_that_learned_nothing_is_not_searched():
    model, (x, y) = trained(0, shortcut=False)
    other = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    report = trimkit.audit(model, (x, other), checks=["reliance"])
    assert report.performance.at_chance
    assert report.verdict("reliance").status is Status.NOT_APPLICABLE
    assert "nothing to search" in report.verdict("reliance").sentence


@pytest.mark.parametrize("seed", range(4))
def test_no_feature_of_a_clean_model_stands_out(seed):
    report = trimkit.audit(*trained(seed, shortcut=False), checks=["reliance"])
    assert report.model is Status.NOT_JUDGED


def test_the_page_says_why_a_feature_stands_out():
    page = trimkit.audit(*trained(0, shortcut=True), checks=["reliance"]).to_html()
    assert "more right without it" in page
    assert "the model is right more often without it, by" in page
