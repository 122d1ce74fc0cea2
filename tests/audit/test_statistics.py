"""Keys, bootstrap, quantiles, Holm and rank correlation against brute force, known distributions and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from trimkit.audit.statistics import (
    MANY,
    Bootstrap,
    choose,
    fewest_samples,
    generator,
    in_key_order,
    key,
    quantile_estimate,
    quantiles,
    spearman,
)
from trimkit.report.verdicts import holm


def test_keys_are_63_bits_and_tell_all_their_parts_apart():
    keys = {key(seed, purpose, i) for seed in range(3) for purpose in ("a", "b") for i in range(50)}
    assert len(keys) == 300
    assert all(0 <= k < 2**63 for k in keys)
    assert key(1, "a", 2) != key(2, "a", 1)
    assert key(0, "a", 12) != key(0, "a1", 2)


def test_generators_of_one_key_draw_the_same():
    assert torch.equal(*(torch.rand(5, generator=generator(0, "x", 3)) for _ in range(2)))


def test_a_larger_choice_keeps_the_smaller_one():
    small, large = choose(100, 10, seed=4), choose(100, 30, seed=4)
    assert set(small) < set(large)
    assert large == sorted(large)
    assert choose(5, 30, seed=0) == [0, 1, 2, 3, 4]
    assert choose(100, 10, seed=5) != small


def test_the_order_of_ids_depends_on_each_id_alone():
    whole = in_key_order(range(40), 0)
    assert in_key_order(range(20, 40), 0) == [i for i in whole if i >= 20]


def test_very_many_ids_are_ordered_by_splitmix64_of_each():
    def mixed(i):  # in whole numbers of any size
        x = ((i + 1) * 0x9E3779B97F4A7C15 + key(3, "sample")) % 2**64
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ (x >> shift)) * factor % 2**64
        return x ^ (x >> 31)

    assert in_key_order(range(MANY + 1), 3, 5) == sorted(range(MANY + 1), key=mixed)[:5]


def test_bootstrap_weights_do_not_depend_on_the_other_samples():
    whole, part = Bootstrap(range(10), 0, 50), Bootstrap([7, 3], 0, 50)
    assert np.array_equal(part.weights, whole.weights[[7, 3]])
    assert not np.array_equal(Bootstrap(range(10), 1, 50).weights, whole.weights)


def test_bootstrap_means_are_weighted_means():
    draws = Bootstrap(range(6), 0, 30)
    values = np.arange(12.0).reshape(6, 2)
    expected = [(w[:, None] * values).sum(0) / w.sum() for w in draws.weights.T.astype(float) if w.sum()]
    assert np.allclose(draws.means(values), expected)


def test_many_samples_are_summed_in_chunks():
    draws, values = Bootstrap(range(2500), 0, 20), np.random.default_rng(0).normal(size=2500)
    weights = draws.weights.astype(float)
    assert np.allclose(draws.means(values), weights.T @ values / weights.sum(0))


@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_bootstrap_intervals_cover_the_mean(draw):
    rng = np.random.default_rng(0)
    draws = Bootstrap(range(80), 0, 400)
    truth = {"normal": 0.0, "exponential": 1.0}[draw]
    found = [draws.estimate(getattr(rng, draw)(size=80)) for _ in range(400)]
    assert 0.91 <= np.mean([e.low <= truth <= e.high for e in found]) <= 0.985


def test_paired_p_values_are_uniform_without_difference_and_small_with_one():
    rng = np.random.default_rng(1)
    draws = Bootstrap(range(100), 0, 400)
    null = [draws.p_value(rng.normal(size=100)) for _ in range(300)]
    assert 0.02 <= np.mean(np.array(null) < 0.05) <= 0.09
    assert draws.p_value(rng.normal(0.6, 1, size=100)) < 0.01
    assert draws.p_value(np.zeros(100)) == 1.0


def test_bands_are_pointwise():
    values = np.random.default_rng(0).normal(size=(50, 3))
    draws = Bootstrap(range(50), 0, 300)
    value, low, high = draws.band(values)
    one = draws.estimate(values[:, 1])
    assert (value[1], low[1], high[1]) == pytest.approx((one.value, one.low, one.high))


def test_quantile_intervals_are_exact_order_statistics():
    found = quantile_estimate(np.arange(1.0, 101.0), 0.5)  # Binomial(100, ½): 2.5 % lies below 40 and above 60
    assert (found.low, found.high) == (40.0, 61.0)


@pytest.mark.parametrize("level", [0.0, 0.31, 0.5, 0.77, 1.0])
def test_quantiles_between_two_values_are_linear(level):
    values = np.array([3.0, -1.0, 4.0, 10.0])
    assert quantiles(values, [level]) == pytest.approx(np.quantile(values, level))


def test_an_interval_may_begin_at_the_smallest_value():
    values = np.arange(6.0)  # P(fewer than 1 of 6 below the median) = 1/64 ≤ 2.5 %, and of fewer than 2 it is 7/64
    assert quantile_estimate(values, 0.5).low == 0.0


def test_quantile_intervals_cover():
    rng = np.random.default_rng(2)
    truth = -math.log(0.05)
    found = [quantile_estimate(rng.exponential(size=150), 0.95) for _ in range(1000)]
    assert 0.94 <= np.mean([e.low <= truth <= e.high for e in found]) <= 0.99


def test_too_few_samples_bound_no_95th_percentile():
    fewest = fewest_samples(0.95)
    assert quantile_estimate(np.zeros(fewest), 0.95).high == 0.0
    assert quantile_estimate(np.zeros(fewest - 1), 0.95).high == math.inf
    assert quantile_estimate(np.zeros(1), 0.95).low == -math.inf


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_textbook_procedure(p_values):
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    running, expected = 0.0, {}
    for rank, i in enumerate(order):
        running = max(running, min(1.0, p_values[i] * (len(p_values) - rank)))
        expected[i] = running
    adjusted = holm(p_values)
    assert adjusted == [expected[i] for i in range(len(p_values))]
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))


def test_spearman_has_average_ranks_as_scipy():
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 6, (5, 40), generator=source).double() for _ in range(2))  # many ties
    expected = [spearmanr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert spearman(a, b).tolist() == pytest.approx(expected)


def test_rounding_errors_have_no_rank():
    a, b = torch.tensor([[1.0, 1e-9, -2e-9, 0.0]]), torch.tensor([[1.0, -3e-9, 1e-9, 2e-9]])
    assert spearman(a, b).item() == pytest.approx(1.0)


def test_spearman_of_constant_rows():
    flat, slope = torch.zeros(1, 4), torch.arange(4.0)[None]
    assert spearman(flat, flat).item() == 1.0
    assert spearman(flat, slope).item() == 0.0
    assert spearman(slope, -slope).item() == -1.0
