"""Linear mixtures: sources, matrix and splits are what the options say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimkit.data import load
from trimkit.data.mixtures import LAWS, mixing_matrix, mixture
from trimkit.errors import DataError, OptionError


@given(dim=st.integers(1, 6), extra=st.integers(0, 4), condition=st.floats(1, 1e6), seed=st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_the_matrix_has_the_condition_that_is_asked_for(dim, extra, condition, seed):
    a = mixing_matrix(dim, features=dim + extra, condition=condition, seed=seed)
    values = torch.linalg.svdvals(a)
    assert a.shape == (dim + extra, dim)
    assert float(values[0] / values[-1]) == pytest.approx(condition if dim > 1 else 1, rel=1e-6)
    steps = values[:-1] / values[1:]
    assert torch.allclose(steps, steps.mean().expand_as(steps), rtol=1e-6)


@pytest.mark.parametrize("sources", LAWS)
def test_x_is_the_matrix_times_the_sources(sources):
    data = mixture("all", sources=sources, dim=3, n=50, features=5, condition=4, seed=7)
    a = mixing_matrix(3, features=5, condition=4, seed=7)
    assert torch.allclose(data.x.double(), data.sources.double() @ a.T, atol=1e-5)
    assert data.shape == (5,)
    assert data.aux is None


def test_the_last_sources_are_gaussian_as_asked_for():
    data = mixture("all", sources="uniform", n=20_000, gaussians=3)
    bounded = data.sources.abs().max(0).values < 3**0.5
    assert bounded.tolist() == [True, False, False, False]
    assert torch.allclose(data.sources.T.cov(), torch.eye(4), atol=0.05)
    assert float(data.sources[:, 1:].pow(4).mean()) == pytest.approx(3, abs=0.1)


def test_the_matrix_is_not_made_of_the_numbers_that_the_sources_are():
    """A matrix and sources of one seed, drawn from one stream: not twice from its beginning."""
    a = mixing_matrix(4, condition=1)
    s = mixture("all", gaussians=4, n=10).sources[:4].double()
    polar = torch.linalg.svd(s)
    assert not torch.allclose(polar.U @ polar.Vh, a, atol=0.1)


def test_splits_and_seeds():
    train, test, every = (load("mixture:n=101,seed=3", split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(every)) == (90, 11, 101)
    both = torch.cat([train.sources, test.sources])
    assert torch.equal(both.sort(0).values, every.sources.sort(0).values)
    assert load("mixture:n=101,seed=3").sha256 == train.sha256
    assert load("mixture:n=101,seed=4").sha256 != train.sha256
    assert load("mixture:sources=laplace,dim=2,n=20,seed=0").shape == (2,)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sources": "cauchy"}, "there is no law 'cauchy' of sources. Known: laplace, mixed, t, uniform"),
        ({"dim": 0}, "dim as a whole number ≥ 1, got 0"),
        ({"n": 9}, "n as a whole number ≥ 10, got 9"),
        ({"features": 3}, "features as a whole number ≥ 4, got 3"),
        ({"gaussians": 5}, "at most 4 Gaussian sources, as many as there are, got 5"),
        ({"gaussians": -1}, "gaussians as a whole number ≥ 0, got -1"),
        ({"condition": 0.5}, "condition as a number ≥ 1, got 0.5"),
        ({"seed": -1}, "seed as a whole number ≥ 0, got -1"),
    ],
)
def test_what_does_not_fit_says_what_would(options, says):
    with pytest.raises(OptionError, match=says):
        mixture(**options)
    with pytest.raises(DataError, match="'train', 'test' or 'all', got 'valid'"):
        mixture("valid")
