"""Accuracy beside chance, and models that have learned nothing."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binomtest
from sklearn import metrics
from torch import nn

import trimkit
from trimkit.audit.measures import TOTALS, sums_of
from trimkit.audit.performance import performance, performance_of, right
from trimkit.audit.state import State
from trimkit.audit.tally import Tally
from trimkit.audit.task import Task
from trimkit.report.verdicts import Status
from trimkit.targets import IGNORED

SOURCE = torch.Generator().manual_seed(0)


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


def test_both_errors_of_one_logit_are_told():
    logits, labels = torch.tensor([[1.0], [-1.0], [2.0], [-2.0], [1.0]] * 6), torch.tensor([1, 1, 0, 0, 0] * 6)
    found = performance(logits, labels)
    accuracy, positive, negative = found.measures
    table = metrics.confusion_matrix(labels, logits[:, 0] > 0)
    assert accuracy.estimate == found.accuracy
    assert positive.estimate.value == pytest.approx(table[0, 1] / table[0].sum())
    assert negative.estimate.value == pytest.approx(table[1, 0] / table[1].sum())
    interval = binomtest(int(table[0, 1]), int(table[0].sum())).proportion_ci(0.95, "wilson")
    assert (positive.estimate.low, positive.estimate.high) == pytest.approx((interval.low, interval.high))
    assert "false positive rate 0.667" in found.line


def test_an_error_of_which_there_are_no_samples_is_not_told():
    found = performance(torch.ones(30, 1), torch.ones(30, dtype=torch.long))
    assert [measure.name for measure in found.measures] == ["accuracy", "false negative rate"]


def test_nothing_is_measured_where_every_position_is_left_out():
    found = performance(torch.randn(30, 5, 3), torch.full((30, 5), IGNORED), Task("tagging"))
    assert found.measures == ()
    assert found.line.startswith("not measured")


def test_labels_that_do_not_exclude_one_another_have_f1_and_exact_match():
    y = torch.randint(2, (80, 4), generator=SOURCE)
    output = (2 * y - 1) + torch.randn(80, 4, generator=SOURCE)
    found = performance(output, y, Task("multilabel"))
    f1, exact = found.measures
    predicted = (output > 0).long()
    assert f1.estimate.value == pytest.approx(metrics.f1_score(y, predicted, average="macro"))
    assert f1.each == pytest.approx(tuple(metrics.f1_score(y, predicted, average=None)))
    assert f1.trivial == pytest.approx(metrics.f1_score(y, torch.ones_like(y), average="macro"))
    assert exact.estimate.value == pytest.approx(metrics.accuracy_score(y, predicted))
    assert exact.trivial == pytest.approx(float(y.unique(dim=0, return_counts=True)[1].max()) / 80)
    assert found.accuracy is None
    assert not found.at_chance


def test_class_maps_have_mean_iou_and_pixel_accuracy():
    y = torch.randint(3, (30, 5, 6), generator=SOURCE)
    output = nn.functional.one_hot(y, 3).movedim(-1, 1) + torch.randn(30, 3, 5, 6, generator=SOURCE)
    y = y.masked_fill(torch.rand(y.shape, generator=SOURCE) < 0.2, IGNORED)
    iou, accuracy = performance(output, y, Task("segmentation")).measures
    kept = y != IGNORED
    truth, predicted = y[kept], output.argmax(1)[kept]
    assert iou.each == pytest.approx(tuple(metrics.jaccard_score(truth, predicted, average=None)))
    assert iou.estimate.value == pytest.approx(metrics.jaccard_score(truth, predicted, average="macro"))
    assert accuracy.estimate.value == pytest.approx(metrics.accuracy_score(truth, predicted))
    common = truth.mode().values
    constant = torch.full_like(truth, int(common))
    assert iou.trivial == pytest.approx(metrics.jaccard_score(truth, constant, average="macro"))
    assert accuracy.trivial == pytest.approx(metrics.accuracy_score(truth, constant))
    assert iou.estimate.low < iou.estimate.value < iou.estimate.high


def test_tags_are_counted_without_padding():
    y = torch.randint(3, (30, 7), generator=SOURCE)
    output = nn.functional.one_hot(y, 3) + torch.randn(30, 7, 3, generator=SOURCE)
    y = y.masked_fill(torch.arange(7) > 4, IGNORED)
    found = performance(output, y, Task("tagging"))
    kept = y != IGNORED
    assert found.measures[0].estimate.value == pytest.approx(metrics.accuracy_score(y[kept], output.argmax(2)[kept]))
    assert found.measures[0].trivial == pytest.approx(float(y[kept].bincount().max()) / int(kept.sum()))


def test_a_language_model_has_perplexity_beside_that_of_token_frequencies():
    ids, output = torch.randint(5, (30, 7), generator=SOURCE), torch.randn(30, 7, 5, generator=SOURCE)
    labels = ids.masked_fill(torch.arange(7) > 4, IGNORED)
    perplexity, accuracy = performance(output, labels, Task("language-modelling")).measures
    wanted = labels[:, 1:]
    loss = nn.functional.cross_entropy(output[:, :-1].flatten(0, 1), wanted.flatten())
    assert perplexity.estimate.value == pytest.approx(float(loss.exp()), rel=1e-6)
    kept = wanted != IGNORED
    assert accuracy.estimate.value == pytest.approx(
        metrics.accuracy_score(wanted[kept], output[:, :-1].argmax(2)[kept])
    )
    shares = wanted[kept].bincount().double() / int(kept.sum())
    assert perplexity.trivial == pytest.approx(float((-(shares * shares.log()).sum()).exp()))
    assert perplexity.at_chance


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_regression_has_r2_beside_the_mean(outputs):
    y = torch.randn(200, outputs, generator=SOURCE, dtype=torch.float64)
    output = y + 0.5 * torch.randn(200, outputs, generator=SOURCE, dtype=torch.float64)
    found = performance(output, y if outputs > 1 else y[:, 0], Task("regression"))
    r2, error = found.measures
    assert r2.estimate.value == pytest.approx(metrics.r2_score(y, output))
    assert r2.each == pytest.approx(tuple(metrics.r2_score(y, output, multioutput="raw_values")))
    assert error.estimate.value == pytest.approx(float((output - y).square().mean().sqrt()))
    assert error.trivial == pytest.approx(float(y.var(0, correction=0).mean().sqrt()))
    assert found.title == "R²"
    assert not found.at_chance
    shuffled = performance(output[torch.randperm(200, generator=SOURCE)], y, Task("regression"))
    assert shuffled.at_chance
    assert shuffled.warning.startswith("The model is at chance")


def test_the_interval_of_r2_covers_as_often_as_it_says():
    draws, covered, truth = torch.Generator().manual_seed(0), 0, 0.5
    for _ in range(200):  # R² of x for y = x + noise of the same variance is 1/2
        x = torch.randn(300, 1, generator=draws, dtype=torch.float64)
        y = x + torch.randn(300, 1, generator=draws, dtype=torch.float64)
        estimate = performance(x, y, Task("regression")).measures[0].estimate
        covered += estimate.low <= truth <= estimate.high
    assert 178 <= covered <= 199  # 95 % of 200, ± 3 standard deviations


def test_shards_of_any_task_add_up_to_the_same_performance():
    y = torch.randint(3, (40, 5, 6), generator=SOURCE)
    output = nn.functional.one_hot(y, 3).movedim(-1, 1) + torch.randn(40, 3, 5, 6, generator=SOURCE)
    task, ranks = Task("segmentation"), {i: i for i in range(40)}
    parts = [State(0, ranks, TOTALS) for _ in range(3)]
    for number, ids in enumerate(torch.arange(40).split(7)):
        parts[number % 3].update(ids.tolist(), sums_of(task, output[ids].double(), y[ids]))
    parts[2].merge(parts[0])
    parts[2].merge(parts[1])
    tally = Tally()
    tally.update(output, output[:1])
    assert performance_of(task, parts[2].finalise(), tally) == performance(output, y, task)
