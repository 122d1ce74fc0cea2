"""Metrics of arrays other than the gap: brute force, closed forms, scikit-learn, and disentanglement_lib's values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC

from trimkit.errors import DataError, OptionError, UnknownNameError
from trimkit.metrics import disentanglement
from trimkit.metrics.arrays import as_factors, halves, with_second_code
from trimkit.metrics.bootstrap import generator, interval, row_weights, share_interval
from trimkit.metrics.disentanglement import dci as dci_function
from trimkit.metrics.disentanglement.dci import complete, disentangled
from trimkit.metrics.disentanglement.modularity import areas_under_roc, modularity_of_codes
from trimkit.metrics.disentanglement.sap import single_code_hits

SIZES = (3, 6, 2, 8)
GRID = np.stack(np.meshgrid(range(3), range(4)), -1).reshape(-1, 2).repeat(25, 0)


def example(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes that mix four factors, and two of noise."""
    g = np.random.default_rng(seed)
    factors = np.stack([g.integers(0, size, n) for size in SIZES], axis=1)
    mixed = factors @ g.standard_normal((4, 4)) * 0.3 + factors * 0.5 + 0.2 * g.standard_normal((n, 4))
    return np.hstack([mixed, g.standard_normal((n, 2)) * 0.3]), factors


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda z, v: disentanglement.irs(z, v, draws=0), 0.544436253924),
        (lambda z, v: disentanglement.irs(z, v, quantile="max", draws=0), 0.467681810860),
        (lambda z, v: disentanglement.gaussian_total_correlation(z, draws=0), 1.678702909255),
        (lambda z, v: disentanglement.wasserstein_correlation(z, draws=0), 1.119116638870),
        (lambda z, v: disentanglement.mean_pairwise_mutual_information(z, draws=0), 0.149840360605),
        (lambda z, v: disentanglement.sap(z, v, draws=0), 0.04675),
        (lambda z, v: disentanglement.sap(z, v, continuous=True, draws=0), 0.114484235411),
    ],
)
def test_values_are_disentanglement_libs(compute, expected):
    """Computed by disentanglement_lib 1.5 on the same arrays, and the same rows to train and test on."""
    assert compute(*example(3000)).value == pytest.approx(expected, abs=1e-11)


@pytest.mark.slow
def test_boosting_is_disentanglement_libs_predictor():
    result = disentanglement.dci(*example(3000), predictor="boosting", draws=0)
    values = [part.value for part in result]  # those of disentanglement_lib 1.5 with the seeds that we draw
    assert values == pytest.approx([0.229747166475, 0.325098338702, 0.662250000000], abs=1e-9)


EVERY = {
    "gap": disentanglement.mutual_information_gap,
    "modularity": disentanglement.modularity,
    "disentanglement": lambda *a, **o: disentanglement.dci(*a, **o).disentanglement,
    "completeness": lambda *a, **o: disentanglement.dci(*a, **o).completeness,
    "informativeness": lambda *a, **o: disentanglement.dci(*a, **o).informativeness,
    "sap": disentanglement.sap,
    "explicitness": disentanglement.explicitness,
    "irs": disentanglement.irs,
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.filterwarnings("ignore:.*noise too, where there is one:trimkit.errors.TrimkitWarning")
def test_every_metric_is_defined_and_in_range_whatever_the_codes(name):
    codes, factors = example(60)
    one = np.full((60, 1), 0.1)
    for z in (codes, codes * 1e6, np.hstack([codes, one]), np.hstack([one, one]), one, codes[:, :1]):
        for v in (factors, factors[:, :1], np.hstack([factors, np.ones((60, 1), int)]), np.arange(60)):
            result = EVERY[name](z, v, draws=5)
            assert 0 <= result.value <= 1
            low, high = result.interval or (result.value, result.value)
            assert 0 <= low <= result.value <= high <= 1


@pytest.mark.parametrize("name", EVERY)
def test_codes_beyond_what_predictors_can_hold_are_refused(name):
    codes, factors = example(60)
    codes *= 1e37 / np.abs(codes).max()
    assert 0 <= EVERY[name](codes, factors, draws=2).value <= 1
    with pytest.raises(DataError, match=r"codes: expected values up to 1e\+37, got 1e\+38: the predictors"):
        EVERY[name](-10 * codes, factors, draws=0)


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"irs", "sap", "explicitness"}))
def test_a_code_for_each_factor_scores_one_and_a_rotated_one_less(name):
    """But for SAP, since one line cannot tell the middle value of three from the others; explicitness likewise."""
    perfect = EVERY[name](GRID.astype(float), GRID, draws=0).value
    rotated = EVERY[name](GRID @ np.array([[1.0, -1.0], [1.0, 1.0]]), GRID, draws=0).value
    assert perfect == pytest.approx(1, abs=1e-9)
    assert rotated <= perfect if name == "informativeness" else rotated < 0.8


def test_noise_beside_a_perfect_code_takes_no_importance():
    g = np.random.default_rng(0)
    factors = np.stack([g.integers(0, size, 1000) for size in (3, 10)], axis=1)
    parts = disentanglement.dci(np.hstack([factors, g.standard_normal((1000, 4))]), factors, draws=0)
    assert [part.value for part in parts] == pytest.approx([1, 1, 1], abs=1e-6)


def test_a_code_of_each_factor_is_robust_and_explicit():
    assert disentanglement.irs(GRID.astype(float), GRID).value == pytest.approx(1)
    assert disentanglement.irs(GRID.astype(float), GRID).parts["parents"] == ["0", "1"]
    one_hot = np.hstack([np.eye(3)[GRID[:, 0]], np.eye(4)[GRID[:, 1]]])
    assert disentanglement.explicitness(one_hot, GRID).value == pytest.approx(1)
    binary = GRID % 2
    assert disentanglement.sap(binary * 20.0 - 10, binary).value > 0.4  # all right against a coin
    noise = np.random.default_rng(0).standard_normal((300, 2))
    assert disentanglement.explicitness(noise, GRID).value == pytest.approx(0.5, abs=0.08)
    assert disentanglement.dci(noise, GRID).disentanglement.value < 0.05


def test_modularity_of_a_matrix_of_information():
    information = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 0], [2.0, 1, 1]])
    assert modularity_of_codes(information) == pytest.approx([1, 0.5, 0, 0.75])
    assert modularity_of_codes(np.array([[0.3], [0.0]])) == pytest.approx([1, 0])  # one factor


def test_dci_of_a_matrix_of_importances():
    importances = np.array([[0.5, 0.0], [0.25, 0.25], [0.0, 0.0]])
    each, value = disentangled(importances)
    assert each == pytest.approx([1, 0, 0], abs=1e-8)
    assert value == pytest.approx(0.5, abs=1e-8)
    entropies = [-(2 / 3 * math.log(2 / 3, 3) + 1 / 3 * math.log(1 / 3, 3)), 0]
    assert complete(importances)[0] == pytest.approx([1 - h for h in entropies], abs=1e-8)
    assert complete(importances)[1] == pytest.approx(0.75 * (1 - entropies[0]) + 0.25, abs=1e-8)
    assert disentangled(np.zeros((3, 2)))[1] == pytest.approx(0, abs=1e-9)
    assert complete(np.ones((1, 2)))[1] == 1


def test_dci_says_error_beside_accuracy_and_refits_give_intervals():
    codes, factors = example(200)
    parts = disentanglement.dci(codes, factors)
    assert parts.informativeness.parts["error"] == pytest.approx(1 - parts.informativeness.value)
    assert parts.informativeness.interval is not None
    assert parts.disentanglement.interval is None
    low, high = disentanglement.dci(codes, factors[:, :2], refits=4).disentanglement.interval
    assert 0 <= low < high <= 1


def test_unknown_names_are_told_with_the_nearest():
    codes, factors = example(40)
    with pytest.raises(UnknownNameError, match="Did you mean 'boosting'"):
        disentanglement.dci(codes, factors, predictor="bosting")
    with pytest.raises(UnknownNameError, match="Did you mean 'dlib'"):
        disentanglement.report(codes, factors, protocol="dlibb")
    with pytest.raises(OptionError, match="test_share: expected a share"):
        disentanglement.sap(codes, factors, test_share=1)
    with pytest.raises(OptionError, match="quantile: expected a number"):
        disentanglement.irs(codes, factors, quantile=0)
    assert dci_function is disentanglement.dci


def test_a_single_code_of_a_constant_or_of_an_absent_class_is_a_defined_guess():
    parts = halves(60, 1 / 3, generator(0, "sap"))
    one = np.zeros(60, dtype=int)
    one[parts.test[0]] = 1  # a class that no row to learn from has
    hits = single_code_hits(with_second_code(np.zeros((60, 1))), as_factors(np.c_[one, np.arange(60) % 3], 60), parts)
    assert hits[:, :, 0].mean(0) == pytest.approx(1 - 1 / len(parts.test))
    guessed = np.bincount((np.arange(60) % 3)[parts.test], minlength=3) / len(parts.test)
    assert np.isclose(guessed, hits[:, 0, 1].mean()).any()


def test_sap_is_the_difference_of_single_codes():
    codes, factors = example(300)
    result = disentanglement.sap(codes, factors, draws=0)
    rows = halves(300, 1 / 3, generator(0, "sap"))
    for d, k in ((0, 0), (1, 1), (5, 2)):
        machine = LinearSVC(C=0.01, class_weight="balanced").fit(codes[rows.train, d, None], factors[rows.train, k])
        expected = machine.score(codes[rows.test, d, None], factors[rows.test, k])
        assert result.parts["scores"][d][k] == pytest.approx(expected)
    ordered = np.sort(result.parts["scores"], axis=0)
    assert [*result.parts["per_factor"].values()] == pytest.approx(ordered[-1] - ordered[-2])
    hits = single_code_hits(with_second_code(codes[:, :1]), as_factors(factors, 300), rows)
    assert hits.shape == (100, 2, 4)


def test_sap_of_continuous_factors_is_a_squared_correlation():
    codes, factors = example(300)
    factors = factors * 10 + 5  # the numbers as given, not renumbered
    scores = disentanglement.sap(codes, factors, continuous=True, draws=0).parts["scores"]
    for d in range(6):
        for k in range(4):
            assert scores[d][k] == pytest.approx(np.corrcoef(codes[:, d], factors[:, k])[0, 1] ** 2)


def test_explicitness_is_the_area_under_the_curve():
    codes, factors = example(600)
    result = disentanglement.explicitness(codes, factors, draws=0)
    rows = halves(600, 1 / 3, generator(0, "explicitness"))
    x = (codes - codes[rows.train].mean(0)) / codes[rows.train].std(0)
    for k in (0, 1, 3):
        model = LogisticRegression().fit(x[rows.train], factors[rows.train, k])
        asked = np.eye(SIZES[k])[factors[rows.test, k]]
        expected = roc_auc_score(asked, model.predict_proba(x[rows.test]))
        assert result.parts["per_factor"][str(k)] == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=12))
def test_areas_count_pairs_and_half_of_ties(rows):
    scores, positive, counts = (np.array(column) for column in zip(*rows, strict=True))
    repeated = np.repeat(np.arange(len(rows)), counts)
    pairs = [(scores[i], scores[j]) for i in repeated for j in repeated if positive[i] and not positive[j]]
    found = areas_under_roc(scores.astype(float), positive, counts[None].astype(np.uint8))[0]
    if pairs:
        assert found == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))
    else:
        assert np.isnan(found)


def test_irs_by_definition():
    codes, factors = example(300)
    result = disentanglement.irs(codes, factors, quantile=0.9, bins=None, draws=0)
    most = np.abs(codes - codes.mean(0)).max(0)
    for k in range(4):
        groups = [codes[factors[:, k] == value] for value in range(SIZES[k])]
        moved = np.mean([np.quantile(np.abs(g - g.mean(0)), 0.9, axis=0) for g in groups], axis=0)
        assert np.array(result.parts["matrix"])[:, k] == pytest.approx(1 - moved / most)
    best = np.max(result.parts["matrix"], axis=1)
    assert result.value == pytest.approx(np.average(best, weights=most))
    assert disentanglement.irs(np.full((60, 2), 0.1), factors[:60]).parts["active"] == []


def test_total_correlation_of_a_covariance():
    z = np.random.default_rng(0).standard_normal((500, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    r = np.corrcoef(z.T)[0, 1]
    assert disentanglement.gaussian_total_correlation(z).value == pytest.approx(-0.5 * math.log(1 - r * r))
    with_constant = np.hstack([z, np.full((500, 1), 0.1)])
    assert disentanglement.gaussian_total_correlation(with_constant).value == pytest.approx(-0.5 * math.log(1 - r * r))
    copied = disentanglement.gaussian_total_correlation(np.hstack([z, z[:, :1]])).value
    assert 15 < copied < 20
    assert disentanglement.gaussian_total_correlation(np.full((30, 2), 0.1)).value == 0


def test_wasserstein_distance_of_two_codes():
    """Of [[a, c], [c, b]] and its diagonal: [[a², ac], [bc, b²]] has eigenvalues whose roots sum to √(tr + 2√det)."""
    z = np.random.default_rng(0).standard_normal((400, 2)) @ np.array([[2.0, 0.5], [0.0, 1.0]])
    (a, c), (_, b) = np.cov(z.T)
    expected = 2 * (a + b) - 2 * math.sqrt(a * a + b * b + 2 * math.sqrt(a * b * (a * b - c * c)))
    result = disentanglement.wasserstein_correlation(z)
    assert result.value == pytest.approx(expected)
    assert result.parts["normalised"] == pytest.approx(expected / (a + b))
    assert disentanglement.wasserstein_correlation(np.full((30, 2), 0.1)).parts["normalised"] == 0


def test_codes_that_copy_each_other_share_their_entropy():
    z = np.random.default_rng(0).random((500, 1))
    result = disentanglement.mean_pairwise_mutual_information(np.hstack([z, z]))
    assert result.value == pytest.approx(np.array(result.parts["mutual_information"])[0, 0])
    assert disentanglement.mean_pairwise_mutual_information(z).value == 0


def test_covariances_of_resamples_are_those_of_repeated_rows():
    from trimkit.metrics.disentanglement.covariance import covariances

    z = example(100)[0] + 1000
    weights = row_weights(100, 3, generator(0, "a test"))
    for found, w in zip(covariances(z, weights), weights, strict=True):
        assert found == pytest.approx(np.cov(z[np.repeat(np.arange(100), w)].T), abs=1e-9)


def test_intervals_are_centred_clipped_and_cover():
    assert interval(0.9, np.array([0.6, 0.8, 1.0, 0.8]), 0, 1)[1] <= 1
    assert interval(0.5, np.empty(0)) is None
    low, high = interval(0.0, np.linspace(0, 1, 101))
    assert (low, high) == (pytest.approx(-0.475), pytest.approx(0.475))
    hits = 0
    for seed in range(40):  # the mean of 400 coins, whose truth is known
        right = np.random.default_rng(seed).random(400) < 0.7
        low, high = share_interval(right, 200, generator(seed, "coins"))
        hits += low <= 0.7 <= high
    assert hits >= 34


def test_report_names_what_the_arrays_allow():
    codes, factors = example(200)
    supervised = disentanglement.report(codes, factors, names=["a", "b", "c", "d"], draws=3)
    assert list(supervised) == [
        "mutual_information_gap",
        "modularity",
        "irs",
        "gaussian_total_correlation",
        "wasserstein_correlation",
        "mean_pairwise_mutual_information",
        "dci_disentanglement",
        "dci_completeness",
        "dci_informativeness",
        "sap",
        "explicitness",
    ]
    assert list(supervised["explicitness"].parts["per_factor"]) == ["a", "b", "c", "d"]
    assert list(disentanglement.report(codes, draws=3)) == list(supervised)[3:6]
    assert str(supervised["sap"]).startswith("sap 0.")


def test_linear_baselines_find_what_they_are_for():
    g = np.random.default_rng(0)
    sources = g.uniform(-1, 1, (2000, 3))
    x = (sources @ g.standard_normal((3, 8))).reshape(2000, 2, 4)
    codes = {name: project(x) for name, project in disentanglement.linear_baselines(x, 3).items()}
    assert {name: z.shape for name, z in codes.items()} == dict.fromkeys(("random", "pca", "ica"), (2000, 3))
    found = np.abs(np.corrcoef(np.hstack([codes["ica"], sources]).T)[:3, 3:])
    assert found.max(1) == pytest.approx(np.ones(3), abs=0.02)
    assert np.corrcoef(codes["pca"].T) == pytest.approx(np.eye(3), abs=1e-3)
    flat = disentanglement.linear_baselines(np.ones((30, 5)), 9)
    assert all(np.isfinite(project(np.ones((4, 5)))).all() for project in flat.values())
    again = disentanglement.linear_baselines(x, 3)
    assert all((again[name](x) == codes[name]).all() for name in codes)
    with pytest.raises(OptionError, match="components: expected at least 1"):
        disentanglement.linear_baselines(x, 0)
