"""Resampling samples and copies: closed-form spreads, coverage, and what would shrink the interval."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import t

from trimkit.audit.copies import CopyBootstrap
from trimkit.audit.statistics import Bootstrap


@pytest.fixture(scope="module")
def draws():
    return CopyBootstrap(Bootstrap(range(50), 0), 8, 0)


def of_nodes(nodes):
    """Pairs whose correlation is the sum of what their nodes bring."""
    return np.array([[nodes[i] + nodes[j] for i, j in combinations(range(len(nodes)), 2)]])


def test_equal_copies_leave_the_bootstrap_over_samples(draws):
    values = np.random.default_rng(0).normal(size=50)
    plain = draws.bootstrap.estimate(values)
    found = draws.trained(np.repeat(values[:, None], 8, axis=1)).estimate
    assert (found.value, found.low, found.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_equal_samples_leave_the_t_interval_over_copies(draws):
    nodes = np.random.default_rng(1).normal(size=8)
    found = draws.trained(np.tile(nodes, (50, 1)))
    assert found.samples == pytest.approx(0, abs=1e-12)
    expected = t.ppf(0.975, 7) * nodes.std(ddof=1) / math.sqrt(8)
    assert (found.estimate.high - found.estimate.low) / 2 == pytest.approx(expected, rel=0.1)


def test_pairs_vary_as_their_nodes_do(draws):
    nodes = np.random.default_rng(2).normal(size=8)
    found = draws.null(np.repeat(of_nodes(nodes), 50, axis=0))
    assert found.estimate.value == pytest.approx(2 * nodes.mean())
    single = draws.trained(np.tile(nodes, (50, 1)))
    assert 1.5 * single.copies < found.copies < 3 * single.copies  # 2 · the spread of a node, a little more


def test_trained_and_null_are_resampled_together(draws):
    nodes = np.random.default_rng(3).normal(size=8)
    trained, null = np.tile(2 * nodes, (50, 1)), np.repeat(of_nodes(nodes), 50, axis=0)
    excess = draws.excess(trained, null)
    assert excess.estimate.value == pytest.approx(0, abs=1e-12)
    assert excess.copies < 0.5 * draws.trained(trained).copies


def test_intervals_cover_where_copies_are_the_main_variance():
    rng, bootstrap, covered = np.random.default_rng(4), Bootstrap(range(30), 0, 400), []
    for seed in range(300):
        values = rng.normal(size=8) + 0.3 * rng.normal(size=(30, 8))
        found = CopyBootstrap(bootstrap, 8, seed).trained(values).estimate
        covered.append(found.low <= 0 <= found.high)
    assert 0.91 <= np.mean(covered) <= 0.985


def test_what_would_decide_follows_the_square_root_law(draws):
    found = draws.trained(np.tile(np.random.default_rng(5).normal(size=8), (50, 1)))
    threshold = found.estimate.value + found.copies / 2
    assert found.samples_needed(threshold, 50) is None
    assert found.copies_needed(threshold, 8) == pytest.approx(3 * 8, abs=1)
    assert found.copies_needed(found.estimate.value, 8) is None


def test_few_samples_are_unbounded_and_two_copies_are_wide():
    few = CopyBootstrap(Bootstrap(range(19), 0), 8, 0).trained(np.zeros((19, 8)))
    assert (few.estimate.low, few.estimate.high) == (-math.inf, math.inf)
    assert few.samples_needed(0.1, 19) is None
    two = CopyBootstrap(Bootstrap(range(30), 0), 2, 0)
    assert two.null(np.zeros((30, 1))).copies == 0
    assert two.trained(np.tile([0.0, 1.0], (30, 1))).copies > 3
