"""The mutual information gap against sums over histograms, closed forms, and disentanglement_lib's values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics import disentanglement
from trimkit.metrics.disentanglement import mutual_information as module

SIZES = (3, 6, 2, 8)


def example(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes that mix four factors, and two of noise."""
    g = np.random.default_rng(seed)
    factors = np.stack([g.integers(0, size, n) for size in SIZES], axis=1)
    mixed = factors @ g.standard_normal((4, 4)) * 0.3 + factors * 0.5 + 0.2 * g.standard_normal((n, 4))
    return np.hstack([mixed, g.standard_normal((n, 2)) * 0.3]), factors


def information_by_definition(a, b) -> float:
    """Σ p(a, b) log p(a, b) / (p(a) p(b)), cell by cell."""
    total = 0.0
    for x in np.unique(a):
        for y in np.unique(b):
            joint = np.mean((a == x) & (b == y))
            if joint > 0:
                total += joint * math.log(joint / (np.mean(a == x) * np.mean(b == y)))
    return total


def gap_by_definition(codes, factors, bins: int = 20) -> list[float]:
    """From histograms over each code's range."""
    gaps = []
    for v in factors.T:
        information = []
        for z in codes.T:
            edges = np.histogram_bin_edges(z, bins)
            information.append(information_by_definition(np.digitize(z, edges[1:-1]), v))
        first, second = sorted(information)[-1:-3:-1]
        gaps.append((first - second) / information_by_definition(v, v))
    return gaps


def test_the_gap_is_that_of_the_definition():
    codes, factors = example()
    result = disentanglement.mutual_information_gap(codes, factors, draws=0)
    assert [*result.parts["per_factor"].values()] == pytest.approx(gap_by_definition(codes, factors), abs=1e-12)
    assert result.value == pytest.approx(np.mean(gap_by_definition(codes, factors)), abs=1e-12)
    assert result.parts["entropy"] == pytest.approx([information_by_definition(v, v) for v in factors.T])


def test_the_gap_is_disentanglement_libs():
    codes, factors = example(3000)  # value computed by disentanglement_lib 1.5 on these arrays
    assert disentanglement.mutual_information_gap(codes, factors, draws=0).value == pytest.approx(
        0.081574693886, abs=1e-11
    )


def test_many_rows_are_counted_in_parts(monkeypatch):
    codes, factors = example()
    whole = disentanglement.mutual_information_gap(codes, factors)
    monkeypatch.setattr(module, "CHUNK", 5000)
    assert disentanglement.mutual_information_gap(codes, factors) == whole


def test_a_code_for_each_factor_has_the_whole_gap_and_noise_none():
    _, factors = example()
    perfect = disentanglement.mutual_information_gap(factors.astype(float), factors)
    independent = np.random.default_rng(1).standard_normal((600, 4))
    assert perfect.value == pytest.approx(1, abs=0.03)  # factors of 600 samples are not quite independent
    assert disentanglement.mutual_information_gap(independent, factors).value < 0.05


def test_a_full_grid_has_a_gap_of_exactly_one_and_a_rotated_code_none():
    grid = np.stack(np.meshgrid(range(4), range(4)), -1).reshape(-1, 2).repeat(5, 0)
    assert disentanglement.mutual_information_gap(grid.astype(float), grid).value == pytest.approx(1, abs=1e-12)
    rotated = grid @ np.array([[1.0, -1.0], [1.0, 1.0]])
    assert disentanglement.mutual_information_gap(rotated, grid).value == pytest.approx(0, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.permutations(range(6)), st.lists(st.sampled_from([0.25, 1.0, 8.0]), min_size=6, max_size=6), st.integers(0, 99)
)
def test_order_and_scale_of_the_codes_do_not_matter(order, scales, seed):
    codes, factors = example(100, seed)  # powers of two scale the edges of bins exactly
    was = disentanglement.mutual_information_gap(codes, factors, draws=0).value
    now = disentanglement.mutual_information_gap(codes[:, order] * scales, factors, draws=0).value
    assert now == pytest.approx(was, abs=1e-12)


def test_resamples_count_what_repeated_rows_would():
    codes, factors = example(200)
    binned = module.equal_width_bins(codes)
    rows = np.random.default_rng(0).integers(200, size=(3, 200))
    weights = np.stack([np.bincount(r, minlength=200) for r in rows]).astype(np.uint8)
    information, entropies = module.resampled_information(binned, factors, weights)
    for b, chosen in enumerate(rows):
        expected = module.information_and_entropy(binned[chosen], factors[chosen])
        assert information[b] == pytest.approx(expected[0], abs=1e-12)
        assert entropies[b] == pytest.approx(expected[1], abs=1e-12)


def test_the_interval_holds_the_value_and_narrows_with_samples():
    few, many = (disentanglement.mutual_information_gap(*example(n)) for n in (300, 4800))
    widths = [r.interval[1] - r.interval[0] for r in (few, many)]
    assert few.interval[0] <= few.value <= few.interval[1]
    assert widths[1] < 0.5 * widths[0]  # 16 times the samples: about a quarter
    assert disentanglement.mutual_information_gap(*example(300), draws=0).interval is None


def test_seed_and_data_decide_alone():
    codes, factors = example()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - it must not be touched
    one = disentanglement.mutual_information_gap(codes, factors, seed=1)
    assert one == disentanglement.mutual_information_gap(torch.tensor(codes), torch.tensor(factors), seed=1)
    assert one.interval != disentanglement.mutual_information_gap(codes, factors, seed=2).interval
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_dead_codes_one_code_and_constant_factors_are_defined():
    codes, factors = example()
    was = disentanglement.mutual_information_gap(codes, factors)
    dead = disentanglement.mutual_information_gap(np.hstack([codes, np.full((600, 1), 0.1)]), factors)
    assert dead.value == pytest.approx(was.value, abs=1e-12)
    assert dead.parts["mutual_information"][-1] == [0, 0, 0, 0]
    assert disentanglement.mutual_information_gap(np.full((600, 3), 0.1), factors).value == 0
    alone = disentanglement.mutual_information_gap(factors[:, :1].astype(float), factors[:, 0])
    assert alone.value == pytest.approx(1)
    coloured = disentanglement.mutual_information_gap(
        codes, np.hstack([np.full((600, 1), 7), factors]), names=["colour", "a", "b", "c", "d"]
    )
    assert coloured.value == was.value
    assert coloured.protocol["left_out"] == ["colour"]
    assert list(coloured.parts["per_factor"]) == ["a", "b", "c", "d"]


def test_half_precision_and_maps_of_codes_are_taken():
    codes, factors = example()
    half = torch.tensor(codes).bfloat16()
    expected = disentanglement.mutual_information_gap(half.double(), factors).value
    assert disentanglement.mutual_information_gap(half.unflatten(1, (2, 3)), factors).value == expected


@pytest.mark.parametrize(
    ("codes", "factors", "error", "told"),
    [
        (np.zeros((19, 2)), np.zeros(19, int), DataError, "expected at least 20 samples, got 19"),
        (np.full((30, 2), np.nan), np.arange(30), DataError, "30 of 30 samples hold NaN or infinity"),
        (np.zeros(30), np.arange(30), ShapeError, r"expected real numbers \(N, D\), D ≥ 1, got float64 \(30,\)"),
        (np.zeros((30, 0)), np.arange(30), ShapeError, r"got float64 \(30, 0\)"),
        (np.zeros((30, 1)), np.arange(30.0), ShapeError, "expected integers .* got float64"),
        (np.zeros((30, 1)), np.arange(29), ShapeError, r"expected integers \(30, K\)"),
        (np.zeros((30, 1)), np.ones(30, int), DataError, "each of 1 has one value"),
    ],
)
def test_what_does_not_fit_is_refused(codes, factors, error, told):
    with pytest.raises(error, match=told):
        disentanglement.mutual_information_gap(codes, factors)


def test_options_that_do_not_fit_are_refused():
    codes, factors = example(40)
    with pytest.raises(OptionError, match="bins: expected at least 2, got 1"):
        disentanglement.mutual_information_gap(codes, factors, bins=1)
    with pytest.raises(OptionError, match="expected one for each of 4 factors, got 1"):
        disentanglement.mutual_information_gap(codes, factors, names=["a"])
    with pytest.raises(OptionError, match="seed: expected a number ≥ 0"):
        disentanglement.mutual_information_gap(codes, factors, seed=-1)


def test_the_sampled_gap_of_separated_codes_is_that_of_the_factors():
    grid = np.stack(np.meshgrid(range(3), range(4)), -1).reshape(-1, 2).repeat(4, 0)
    result = disentanglement.sampled_mutual_information_gap(grid * 10.0, np.zeros(grid.shape), grid, samples=400)
    assert result.value == pytest.approx(1, abs=1e-4)  # ten standard deviations apart: z says the factor for sure


def test_the_sampled_information_is_the_integral_of_the_mixture():
    """One binary factor, posteriors N(±1, s²): I = log 2 − E[h(p(v|z))], on a grid of z."""
    factor = np.arange(40) % 2
    mean, variance = (2.0 * factor - 1)[:, None], 0.49
    z = np.linspace(-8, 8, 20001)
    density = [np.exp(-((z - m) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance) for m in (-1, 1)]
    mixture = (density[0] + density[1]) / 2
    terms = sum(0.5 * d * np.log(np.maximum(d, 1e-300) / np.maximum(mixture, 1e-300)) for d in density)
    expected = np.trapezoid(terms, z)
    result = disentanglement.sampled_mutual_information_gap(
        mean, np.full((40, 1), math.log(variance)), factor, samples=20_000
    )
    assert result.parts["mutual_information"][0][0] == pytest.approx(expected, abs=0.01)
    assert result.interval[0] < expected / math.log(2) < result.interval[1]


def test_the_sampled_gap_refuses_variances_of_another_shape():
    with pytest.raises(ShapeError, match="of one shape"):
        disentanglement.sampled_mutual_information_gap(np.zeros((20, 2)), np.zeros((20, 1)), np.arange(20))
    with pytest.raises(OptionError, match="samples: expected at least 1"):
        disentanglement.sampled_mutual_information_gap(np.zeros((20, 2)), np.zeros((20, 2)), np.arange(20), samples=0)
