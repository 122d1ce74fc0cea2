"""Linear separability: attributes that a hyperplane tells, that nothing tells, and the entropy between."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.generation import linear_separability


def codes(n: int = 400, seed: int = 0):
    return np.random.default_rng(seed).standard_normal((n, 3))


def test_one_for_attributes_on_one_side_of_a_hyperplane():
    z = codes()
    z[:, 0] += np.sign(z[:, 0])  # a margin
    found = linear_separability(z, (z[:, 0] > 0).astype(int))
    assert found.value == pytest.approx(1)
    assert found.interval == pytest.approx((1, 1))


def test_the_entropy_of_an_attribute_that_no_hyperplane_tells():
    """Signs of a product: a hyperplane knows nothing, and H(Y|X) = log 2 of each."""
    z = codes(2000)
    attribute = (z[:, 0] * z[:, 1] > 0).astype(int)
    found = linear_separability(z, np.stack([attribute, 1 - attribute], 1), names=("a", "b"))
    assert found.parts["per_attribute"]["a"] == pytest.approx(math.log(2), abs=0.02)
    assert found.value == pytest.approx(4, rel=0.05)  # exp (log 2 + log 2)


def test_the_entropy_of_noisy_labels_is_that_of_the_noise():
    """A tenth of the labels turned: H = −.9 log .9 − .1 log .1."""
    z = codes(4000)
    z[:, 0] += 3 * np.sign(z[:, 0])
    of = np.random.default_rng(1)
    flip = of.random(4000) < 0.1
    found = linear_separability(z, (z[:, 0] > 0) ^ flip)
    expected = math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert found.value == pytest.approx(expected, rel=0.03)
    assert found.interval[0] < found.value < found.interval[1]


def test_the_more_confident_half_counts():
    z = codes()
    z[:, 0] += np.sign(z[:, 0])
    unsure = np.arange(400) % 2 == 0
    attribute = (z[:, 0] > 0) ^ (unsure & (np.random.default_rng(2).random(400) < 0.5))
    assert linear_separability(z, attribute).value > 1.2
    found = linear_separability(z, attribute, np.where(unsure, 0.1, 0.9))
    assert found.value == pytest.approx(1)
    assert found.protocol["confident_half"]


def test_an_attribute_with_one_value_is_left_out():
    z = codes()
    attributes = np.stack([np.zeros(400, int), (z[:, 0] > 0).astype(int)], 1)
    found = linear_separability(z, attributes, np.ones((400, 2)), names=("none", "sign"))
    assert list(found.parts["per_attribute"]) == ["sign"]
    assert found.protocol["left_out"] == ["none"]
    with pytest.raises(DataError, match="one value in all 400 samples"):
        linear_separability(z, attributes[:, :1])


def test_codes_that_are_constant_tell_nothing():
    attribute = np.arange(400) % 2
    assert linear_separability(np.ones((400, 2)), attribute).value == pytest.approx(2)


def test_what_does_not_fit_is_refused():
    z = codes()
    attribute = (z[:, 0] > 0).astype(int)
    with pytest.raises(ShapeError, match=r"confidence: expected \(400, 1\), like the attributes, got \(3, 1\)"):
        linear_separability(z, attribute, [1.0, 2.0, 3.0])
    with pytest.raises(OptionError, match="confidence: expected finite"):
        linear_separability(z, attribute, np.full(400, np.nan))
    with pytest.raises(ShapeError, match="factors: expected integers"):
        linear_separability(z, attribute.astype(float))
