"""Order and signs of components, the assignment between two fits, and the measure of non-Gaussianity."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from trimkit_ica.unmixing import canonical, match

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.independence.log_cosh import GAUSSIAN_LOG_COSH, contrast, log_cosh


def uniform(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def skewed(n, *powers):
    """Components of variance 1 whose skewness is the larger, the larger the power."""
    s = torch.stack([uniform(n, seed=i) ** power for i, power in enumerate(powers)], 1)
    return (s - s.mean(0)) / s.std(0, correction=0)


def test_log_cosh_is_that_of_its_name_and_does_not_overflow():
    y = torch.linspace(-20, 20, 101, dtype=torch.float64)
    assert torch.allclose(log_cosh(y), y.cosh().log(), atol=1e-12)
    far = torch.tensor([-1e300, 1e300], dtype=torch.float64)
    assert torch.equal(log_cosh(far), far.abs())
    assert float(log_cosh(torch.zeros(()))) == pytest.approx(0, abs=1e-7)


def test_log_cosh_has_the_derivatives_tanh_and_its_own_also_at_0():
    y = torch.tensor([-3.0, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(log_cosh(y).sum(), y, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y)
    assert torch.allclose(first, y.tanh())
    assert torch.allclose(second, 1 - y.tanh().square())


def test_the_gaussian_constant_is_the_integral():
    density = lambda x: math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    value, _ = quad(lambda x: 2 * math.log(math.cosh(x)) * density(x), 0, 40, epsabs=1e-14)
    assert pytest.approx(value, abs=1e-12) == GAUSSIAN_LOG_COSH


def test_contrast_of_known_components():
    signs = torch.tensor([1.0, -1.0]).double().repeat(50)  # E log cosh is log cosh 1
    s = torch.stack([signs, math.sqrt(2) * (signs + signs.roll(1)) / 2], 1)
    expected = (math.log(math.cosh(1)) - GAUSSIAN_LOG_COSH) ** 2
    assert float(contrast(s)[0]) == pytest.approx(expected)
    assert contrast(s.expand(3, -1, -1)).shape == (3, 2)
    gaussian = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(contrast(gaussian)) < 1e-5 < 100 * 1e-5 < expected


def test_contrast_is_differentiable():
    s = uniform(7, 3) - 0.5
    assert torch.autograd.gradcheck(contrast, (s.requires_grad_(),))
    assert torch.autograd.gradgradcheck(contrast, (s,))


def test_the_order_is_that_of_explained_variance():
    mixing = torch.diag(torch.tensor([1.0, 3.0, 2.0]))
    s = skewed(500, 2, 2, 2)
    assert canonical(mixing, s).order.tolist() == [1, 2, 0]
    scaled = canonical(mixing, s * torch.tensor([100.0, 1.0, 1.0]))
    assert scaled.order.tolist() == [0, 1, 2]  # a component's own spread counts


def test_the_order_is_that_of_negentropy():
    s = skewed(5000, 1, 8, 3)
    found = canonical(torch.eye(3), s * torch.tensor([5.0, 1.0, 1.0]), order="negentropy")
    assert found.order.tolist() == contrast(s).argsort(descending=True).tolist()
    assert found.order[0] == 1


def test_signs_make_the_skewness_positive_and_go_with_the_new_places():
    mixing = torch.diag(torch.tensor([1.0, 3.0, 2.0])).double()
    s = skewed(500, 2, 2, 2) * torch.tensor([1.0, -1.0, 1.0])
    order, signs = canonical(mixing, s)
    assert signs.tolist() == [-1, 1, 1]
    assert ((s[:, order] * signs).pow(3).mean(0) > 0).all()


def test_signs_of_symmetric_components_make_the_largest_loading_positive():
    s = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    mixing = torch.tensor([[-3.0, 1.0], [2.0, 2.0]])
    order, signs = canonical(mixing, s)
    assert order.tolist() == [1, 0]
    assert signs.tolist() == [1, -1]


@given(permutation=st.permutations(range(4)), signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4))
@settings(max_examples=25, deadline=None)
def test_every_arrangement_of_the_same_components_ends_alike(permutation, signs):
    mixing, s = uniform(6, 4, seed=9) * torch.tensor([1.0, 4.0, 2.0, 3.0]), skewed(300, 2, 3, 4, 5)
    flips = torch.tensor(signs).double()
    for kind in ("variance", "negentropy"):
        order, sign = canonical(mixing, s, order=kind)
        again, flip = canonical(mixing[:, permutation] * flips, s[:, permutation] * flips, order=kind)
        assert torch.equal(mixing[:, order] * sign, (mixing[:, permutation] * flips)[:, again] * flip)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"mixing \(p, k\) and components \(n, k\), got \(3, 2\) and \(5, 3\)"):
        canonical(torch.ones(3, 2), torch.ones(5, 3))
    with pytest.raises(OptionError, match="'variance' or 'negentropy', got 'size'"):
        canonical(torch.ones(3, 2), uniform(5, 2), order="size")
    still = uniform(5, 3)
    still[:, 1] = 0.5
    with pytest.raises(DataError, match=r"components that vary, got constant ones: \[1\], from 0"):
        canonical(torch.ones(3, 3), still)


@given(seed=st.integers(0, 2**31), k=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_the_assignment_has_the_largest_sum(seed, k):
    similarity = 2 * uniform(k, k, seed=seed) - 1
    rows = torch.arange(k)
    found = similarity.abs()[rows, match(similarity)].sum()
    best = max(float(similarity.abs()[rows, list(p)].sum()) for p in itertools.permutations(range(k)))
    assert float(found) == pytest.approx(best)


def test_the_assignment_undoes_a_signed_permutation():
    permutation = torch.tensor([2, 0, 1])
    similarity = torch.eye(3)[permutation] * torch.tensor([1.0, -1.0, -1.0])
    assert torch.equal(match(similarity), permutation)
    with pytest.raises(ShapeError, match=r"square similarities \(k, k\), got \(2, 3\)"):
        match(torch.ones(2, 3))
