"""Code accuracy against all matchings, and reciprocity in closed form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from trimkit.errors import DataError, ShapeError
from trimkit.metrics.generation import code_accuracy, reciprocity_error


def test_the_matching_is_the_best_of_all():
    of = np.random.default_rng(0)
    labels = of.integers(0, 4, 60)
    codes = np.where(of.random(60) < 0.6, (labels + 1) % 4, of.integers(0, 4, 60))
    best = max(itertools.permutations(range(4)), key=lambda classes: (np.array(classes)[codes] == labels).mean())
    found = code_accuracy(codes, labels, codes[:25], labels[:25])
    assert found.parts["matching"] == list(best)
    assert found.parts["train"] == pytest.approx((np.array(best)[codes] == labels).mean())
    assert found.value == pytest.approx((np.array(best)[codes[:25]] == labels[:25]).mean())
    assert found.interval[0] <= found.value <= found.interval[1]


def test_the_test_rows_do_not_choose_the_matching():
    """Codes that are right on the training rows and turned round on the test rows score 0, not 1."""
    labels = np.arange(40) % 2
    assert code_accuracy(labels, labels, 1 - labels, labels).value == 0
    assert code_accuracy(1 - labels, labels, 1 - labels, labels).value == 1


def test_more_codes_than_classes_and_fewer():
    labels = np.arange(60) % 2
    more = code_accuracy(np.arange(60) % 4, labels, np.arange(60) % 4, labels)
    assert more.value == 0.5
    assert sorted(more.parts["matching"]) == [-1, -1, 0, 1]
    fewer = code_accuracy(np.zeros(60, int), labels, np.zeros(60, int), labels)
    assert (fewer.value, fewer.parts["classes"]) == (0.5, 1)


def test_a_code_that_is_new_in_the_test_rows_is_wrong():
    labels = np.arange(40) % 2
    assert code_accuracy(labels, labels, [0, 1, 5], [0, 1, 1]).value == pytest.approx(2 / 3)


def test_probabilities_count_by_their_largest():
    labels = torch.arange(30) % 3
    p = torch.nn.functional.one_hot(labels, 3) * 0.4 + 0.2
    assert code_accuracy(p, labels, p, labels) == code_accuracy(labels, labels, labels, labels)


def test_columns_are_what_they_hold():
    labels = np.arange(40) % 2
    for codes, truth in ((labels[:, None], labels), (labels, labels[:, None])):
        assert code_accuracy(codes, truth, codes, truth).value == 1


def test_codes_and_labels_that_do_not_fit_are_refused():
    labels = np.arange(40) % 2
    with pytest.raises(ShapeError, match=r"labels: expected integers ≥ 0 \(N,\), got int64 \(40, 2\)"):
        code_accuracy(labels, np.stack([labels, labels], 1), labels, labels)
    with pytest.raises(ShapeError, match="one label for each test code, got 2 codes, 40 labels"):
        code_accuracy(labels, labels, labels[:2], labels)
    with pytest.raises(ShapeError, match="codes: expected integers ≥ 0"):
        code_accuracy(labels * 0.5, labels, labels, labels)
    with pytest.raises(ShapeError, match="labels: expected integers ≥ 0"):
        code_accuracy(labels, labels - 1, labels, labels)
    with pytest.raises(DataError, match="at least 20 training rows to match codes by, got 8"):
        code_accuracy(labels[:8], labels[:8], labels, labels)
    with pytest.raises(DataError, match="finite probabilities"):
        code_accuracy(np.full((40, 2), np.nan), labels, labels, labels)


def test_reciprocity_in_closed_form():
    of = np.random.default_rng(0)
    w = of.standard_normal((50, 2, 3))
    w -= w.mean(0)
    assert reciprocity_error(w, w).value == 0
    assert reciprocity_error(w, np.zeros_like(w)).value == pytest.approx(1)
    assert reciprocity_error(w, 0.5 * w).value == pytest.approx(0.25)
    found = reciprocity_error(w, w + 1)
    assert found.value == pytest.approx(6 / found.parts["variance"])
    assert found.interval[0] < found.value < found.interval[1]


def test_reciprocity_does_not_depend_on_the_scale_of_w():
    of = np.random.default_rng(0)
    w, again = of.standard_normal((2, 40, 4))
    assert reciprocity_error(7 * w, 7 * again).value == pytest.approx(reciprocity_error(w, again).value)


def test_a_collapsed_mapping_is_refused():
    with pytest.raises(DataError, match="codes are all the same"):
        reciprocity_error(np.ones((30, 2)), np.ones((30, 2)))
    with pytest.raises(ShapeError, match="of one shape"):
        reciprocity_error(np.ones((30, 2)), np.ones((30, 3)))
