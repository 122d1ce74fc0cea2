"""The discrepancy of rows that belong together: its sum, its mean, its gradient."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import maximum_mean_discrepancy, paired_discrepancy


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rbf(one: Tensor, other: Tensor) -> float:
    return math.exp(-float((one - other).square().sum()) / (2 * len(one)))


def imq(one: Tensor, other: Tensor) -> float:
    squared, scale = float((one - other).square().sum()), 2 * len(one)
    return sum(s * scale / (s * scale + squared) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))


@pytest.mark.parametrize(("name", "kernel"), [("rbf", rbf), ("imq", imq)])
def test_it_is_the_weighted_mean_over_pairs_of_different_rows(name, kernel):
    a, b, w = normal(6, 3), normal(6, 3, seed=1), normal(6, 6, seed=2).abs()
    w = w + w.T
    above = below = 0.0
    for i, j in itertools.permutations(range(6), 2):
        gap = kernel(a[i], a[j]) + kernel(b[i], b[j]) - kernel(a[i], b[j]) - kernel(a[j], b[i])
        above, below = above + float(w[i, j]) * gap, below + float(w[i, j])
    assert float(paired_discrepancy(a, b, w, name)) == pytest.approx(above / below, rel=1e-12)


def test_it_is_0_in_the_mean_for_classes_of_one_distribution_each():
    """Also where the classes have few samples: 400 batches of 8 in 4 classes, within 4 standard errors."""
    u = torch.arange(8) % 4
    shift = 3.0 * u[:, None]
    found = torch.stack(
        [
            paired_discrepancy(normal(8, 2, seed=n) + shift, normal(8, 2, seed=1000 + n) + shift, u[:, None] == u)
            for n in range(400)
        ]
    )
    assert abs(float(found.mean())) < 4 * float(found.std()) / 20


def test_codes_that_follow_the_prior_together_but_not_by_class():
    """The sign of the first entry as the class: all codes together are N(0, I), those of a class are half of it."""
    z, prior = normal(600, 2), normal(600, 2, seed=1)
    u = z[:, 0] > 0
    assert abs(float(maximum_mean_discrepancy(z, prior))) < 0.02
    assert float(paired_discrepancy(z, prior, u[:, None] == u)) > 0.3


def test_its_gradient_is_right():
    a, b = normal(5, 2).requires_grad_(), normal(5, 2, seed=1)
    w = normal(5, 5, seed=2).square()
    assert torch.autograd.gradcheck(lambda z: paired_discrepancy(z, b, w), (a,))
    assert torch.autograd.gradgradcheck(lambda z: paired_discrepancy(z, b, w), (a,))


def test_where_no_rows_belong_together_there_is_nothing_to_say():
    a = normal(3, 2).requires_grad_()
    value = paired_discrepancy(a, normal(3, 2, seed=1), torch.eye(3))
    value.backward()
    assert value.item() == 0
    assert a.grad is not None
    assert not a.grad.any()


def test_what_does_not_fit_is_refused():
    pairs = torch.ones(4, 4)
    with pytest.raises(OptionError, match="there is no kernel 'rbff'"):
        paired_discrepancy(normal(4, 2), normal(4, 2), pairs, "rbff")  # type: ignore[arg-type]
    for a, b in ((normal(1, 2), normal(1, 2)), (normal(4, 2), normal(4, 3)), (normal(3, 2), normal(3, 2))):
        with pytest.raises(ShapeError, match="expected two samples"):
            paired_discrepancy(a, b, pairs)
