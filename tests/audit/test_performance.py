"""Accuracy beside chance, and models that have learned nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.performance import performance, right
from trimkit.report.verdicts import Status


def one_hot(classes, k=3):
    return nn.functional.one_hot(torch.as_tensor(classes), k).double()


def test_accuracy_has_wilsons_interval_and_the_most_frequent_label_is_chance():
    labels = torch.tensor([0] * 60 + [1] * 40)
    found = performance(one_hot([0] * 90 + [1] * 10), labels)
    assert found.accuracy.value == pytest.approx(0.7)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((0.6042, 0.7811), abs=1e-4)
    assert found.chance == 0.6
    assert not found.at_chance
    assert found.line == "0.700 [0.604, 0.781] on 100 samples; chance 0.600"


def test_one_logit_is_positive_for_the_second_class():
    assert right(torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([1, 0, 0])).tolist() == [1, 1, 0]


def test_labels_that_the_model_has_no_output_for_give_no_accuracy():
    found = performance(torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1]))
    assert found.accuracy is None
    assert "not measured" in found.line


def test_a_model_at_chance_is_said_to_be_so(data):
    draws = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(3, 64, generator=draws))
    shuffled = trimkit.data.Dataset(
        "d", data.x, data.y[torch.randperm(len(data), generator=draws)], "test", data.classes
    )
    report = trimkit.audit(model, shuffled, transform="fft", samples=80, checks=["reconstruction", "reliance"])
    assert report.performance.at_chance
    assert report.model is Status.NOT_JUDGED
    assert "The model is at chance" in report.to_html()


def test_a_model_that_ignores_its_input_is_said_to_do_so(data):
    class Blind(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * 0 + 1

    report = trimkit.audit(Blind().eval(), data, samples=40, checks=["reliance"])
    assert report.model is Status.NOT_JUDGED
    assert "ignores its input" in report.verdict("reliance").sentence
