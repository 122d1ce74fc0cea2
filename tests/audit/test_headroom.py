"""The best order of removal: all orders by brute force for few groups; what the check concludes without room."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.checks.controls import Controls
from trimkit.audit.headroom import best_areas
from trimkit.audit.removal import OPERATORS, curves, replacements
from trimkit.data import Dataset
from trimkit.errors import OptionError
from trimkit.report.verdicts import Status


class Product(nn.Module):
    """An interaction, so that the best order is not that of single effects."""

    def forward(self, x):
        return torch.stack([x[:, 0] * x[:, 1] + x[:, 2], x[:, 3:].sum(1)], dim=1)


@pytest.fixture
def noise():
    return Dataset("noise", torch.randn(30, 5, generator=torch.Generator().manual_seed(0)))


def best_by_brute_force(subject, batch, replacement, groups):
    orders = {str(p): torch.tensor(p).expand(len(batch), -1) for p in itertools.permutations(range(groups))}
    areas = [curve[:, 1:-1].mean(1) for curve in curves(subject, batch, orders, replacement).values()]
    return torch.stack(areas).amin(0)


def test_few_groups_are_searched_through(subject_of, noise):
    subject = subject_of(module=Product().eval(), data=noise, samples=6)
    batch = next(subject.batches())
    for replacement in replacements(subject, batch).values():
        expected = best_by_brute_force(subject, batch, replacement, 5)
        assert torch.allclose(best_areas(subject, batch, replacement), expected)


def test_many_groups_are_taken_one_by_one(subject_of):
    class Sum(nn.Module):
        def forward(self, x):
            return x.sum(1, keepdim=True)

    data = Dataset("noise", torch.randn(30, 12, generator=torch.Generator().manual_seed(0)))
    subject = subject_of(module=Sum().eval(), data=data, samples=6)
    batch = next(subject.batches())
    replacement = replacements(subject, batch)["baseline"]
    best_first = {"best": batch.x.argsort(dim=1, descending=True)}  # additive: the largest contribution first
    expected = curves(subject, batch, best_first, replacement)["best"][:, 1:-1].mean(1)
    assert torch.allclose(best_areas(subject, batch, replacement), expected, atol=1e-6)


class Backwards(trimkit.Attribution):
    """The least amplitude first: wrong, where there is room for being right."""

    def attribute(self, probe, s, baseline, generator):
        assert probe.output is not None
        return -s.abs()


def one_group_matters(weight):
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[weight, 1.0, 1.0, 1.0]]))
    return model.eval()


def compared(findings_of, best):
    """Scores no better than the amplitude, far better than random, where an order of area ``best`` exists."""
    curve = torch.tensor([1.0, 0.4, 0.3, 0.2, 0.0]).double().expand(40, -1).numpy()
    random = torch.tensor([1.0, 0.8, 0.6, 0.4, 0.0]).double().expand(40, -1).numpy()
    values = {}
    for operator in OPERATORS:
        values |= {f"{operator}/scores": curve, f"{operator}/input-only": curve, f"{operator}/random": random}
        values[f"{operator}/best"] = torch.full((40,), best).double().numpy()
    return Controls().conclude(findings_of(values))


def test_scores_that_lose_where_no_order_wins_are_left_open(findings_of):
    verdict = compared(findings_of, 0.25)
    assert verdict.status is Status.INCONCLUSIVE
    assert "groups can tell" in verdict.sentence
    assert "beats the input-only control by 5 %" in verdict.sentence


def test_scores_that_lose_where_another_order_wins_fail(findings_of):
    assert compared(findings_of, 0.1).status is Status.FAIL


def test_wrong_scores_fail_where_there_is_room():
    data = Dataset("even", torch.rand(120, 4, generator=torch.Generator().manual_seed(0)))
    model = one_group_matters(9.0)
    verdict = trimkit.audit(model, data, checks=["controls"], samples=120, attributions=Backwards()).verdict("controls")
    assert verdict.status is Status.FAIL


def test_headroom_is_not_searched_where_it_is_switched_off(model, data):
    report = trimkit.audit(model, data, transform="fft", samples=40, checks=[("controls", {"searched": 0})])
    comparisons = report.evidence["integrated_gradients"]["controls"]["comparisons"]
    assert all(c["headroom"] is None for c in comparisons)


@pytest.mark.parametrize("options", [{"headroom": 1.0}, {"headroom": -0.1}, {"searched": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="controls: expected"):
        trimkit.create("check", "controls", **options)
