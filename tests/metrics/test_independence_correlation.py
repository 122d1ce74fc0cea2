"""MCC against all permutations, SciPy's correlations, and resampling by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.bootstrap import generator, row_weights
from trimkit.metrics.independence import mean_correlation


def sources(n: int = 300, d: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).laplace(size=(n, d))


def noisy(s: np.ndarray, seed: int = 1) -> np.ndarray:
    g = np.random.default_rng(seed)
    return s @ g.standard_normal((s.shape[1], s.shape[1])) + 0.1 * g.standard_normal(s.shape)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_permuted_scaled_and_shifted_sources_are_perfect(kind):
    s = sources()
    order = [2, 0, 3, 1]
    found = mean_correlation(s[:, order] * [1, -2, 1e-6, -1e6] + [0, 5, 1e-3, 7], s, kind=kind)
    assert found.value == pytest.approx(1)
    assert found.interval == pytest.approx((1, 1))
    assert found.parts["matching"] == [order.index(i) for i in range(4)]
    assert np.sign(np.array(found.parts["correlations"])[range(4), order]).tolist() == [1, -1, 1, -1]


def test_a_monotone_change_of_a_code_is_forgiven_by_ranks_alone():
    s = sources()
    assert mean_correlation(np.exp(-3 * s), s, kind="spearman", draws=0).value == pytest.approx(1)
    assert mean_correlation(np.exp(-3 * s), s, kind="pearson", draws=0).value < 0.6


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize("seed", range(5))
def test_the_matching_is_the_best_of_all_permutations(kind, seed):
    s = sources(seed=seed)
    c = noisy(s, seed + 10)
    correlate = stats.pearsonr if kind == "pearson" else stats.spearmanr
    table = np.array([[correlate(c[:, i], s[:, j])[0] for j in range(4)] for i in range(4)])
    best = max(itertools.permutations(range(4)), key=lambda codes: np.abs(table[list(codes), range(4)]).sum())
    found = mean_correlation(c, s, kind=kind, draws=0)
    assert found.parts["matching"] == list(best)
    assert np.allclose(found.parts["correlations"], table)
    assert found.value == pytest.approx(np.abs(table[list(best), range(4)]).mean())
    assert np.mean(found.parts["per_source"]) == pytest.approx(found.value)
    assert found.interval is None


def test_ties_share_their_rank():
    s = np.random.default_rng(0).integers(0, 4, (200, 2)).astype(float)
    c = s + np.random.default_rng(1).integers(0, 3, (200, 2))
    found = np.array(mean_correlation(c, s, kind="spearman", draws=0).parts["correlations"])
    assert found[0, 1] == pytest.approx(stats.spearmanr(c[:, 0], s[:, 1])[0])


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_the_interval_is_of_resampled_rows_ranked_and_matched_anew(kind):
    s = sources(60, 3)
    c = noisy(s)
    values = []
    for weights in row_weights(60, 50, generator(3, "mean_correlation")):
        rows = np.repeat(np.arange(60), weights)
        values.append(mean_correlation(c[rows], s[rows], kind=kind, draws=0).value)
    found = mean_correlation(c, s, kind=kind, seed=3, draws=50)
    ends = found.value + np.quantile(values - np.mean(values), [0.025, 0.975])
    assert found.interval == pytest.approx(np.clip(ends, 0, 1))
    assert found.protocol == {"samples": 60, "kind": kind, "seed": 3, "draws": 50}
    assert mean_correlation(c, s, kind=kind, seed=3, draws=50) == found
    assert mean_correlation(c, s, kind=kind, seed=4, draws=50).interval != found.interval


def test_fewer_codes_than_sources_count_as_0_and_more_are_chosen_from():
    s = sources()
    fewer = mean_correlation(s[:, [3, 1]], s, draws=10)
    assert fewer.value == pytest.approx(0.5)
    assert fewer.parts["matching"] == [-1, 1, -1, 0]
    assert fewer.parts["per_source"] == pytest.approx([0, 1, 0, 1])
    more = mean_correlation(np.hstack([noisy(s), s]), s, draws=0)
    assert more.value == pytest.approx(1)
    assert more.parts["matching"] == [4, 5, 6, 7]


def test_constants_correlate_with_nothing():
    s = sources()
    for constant in (0.1, 1e9):
        codes = np.column_stack([np.full(300, constant), s[:, 1:]])
        for kind in ("pearson", "spearman"):
            found = mean_correlation(codes, s, kind=kind, draws=5)
            assert found.parts["correlations"][0] == [0, 0, 0, 0]
            assert found.value == pytest.approx(0.75 + abs(found.parts["per_source"][0]) / 4)


def test_tensors_and_shapes():
    s = torch.from_numpy(sources())
    codes = s.float().reshape(300, 2, 2)
    assert mean_correlation(codes, s.float(), draws=0).value == pytest.approx(1)
    assert mean_correlation(s.half(), s, draws=0).value == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("codes", "truth", "options", "error", "says"),
    [
        (np.ones((30, 2)), np.ones((31, 2)), {}, ShapeError, "of the same samples, got 30 and 31"),
        (np.ones((10, 2)), np.ones((10, 2)), {}, DataError, "codes: expected at least 20 samples, got 10"),
        (np.full((30, 2), np.nan), np.ones((30, 2)), {}, DataError, "codes: 30 of 30 samples hold NaN"),
        (np.ones((30, 2)), np.ones(30), {}, ShapeError, "sources: expected real numbers"),
        (np.ones((30, 2)), np.ones((30, 2)), {"kind": "rdc"}, OptionError, "'pearson' or 'spearman', got 'rdc'"),
        (np.ones((30, 2)), np.ones((30, 2)), {"seed": -1}, OptionError, "seed: expected a number ≥ 0"),
    ],
)
def test_what_does_not_fit_is_refused(codes, truth, options, error, says):
    with pytest.raises(error, match=says):
        mean_correlation(codes, truth, **options)
