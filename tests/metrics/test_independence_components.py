"""Measures of components alone, against closed forms, SciPy and resampling by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from trimkit.data import laws
from trimkit.errors import DataError, OptionError, PluginError
from trimkit.metrics import independence
from trimkit.metrics.bootstrap import generator, row_weights
from trimkit.metrics.independence import (
    excess_kurtosis,
    mutual_information_matrix,
    negentropy,
    report,
    squared_correlations,
)
from trimkit.metrics.independence.log_cosh import contrast

TURN = np.array([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2)


def drawn(name: str, n: int = 50_000, k: int = 2) -> np.ndarray:
    return getattr(laws, name)((n, k), torch.Generator().manual_seed(0)).numpy()


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("gaussian", stats.norm()),
        ("laplace", stats.laplace(scale=1 / math.sqrt(2))),
        ("uniform", stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))),
    ],
)
def test_negentropy_and_kurtosis_are_those_of_the_law(name, law):
    s = drawn(name, 200_000)
    mean_log_cosh = [of.expect(lambda t: np.logaddexp(t, -t) - math.log(2)) for of in (law, stats.norm())]
    expected = (mean_log_cosh[0] - mean_log_cosh[1]) ** 2
    assert negentropy(5 * s - 3) == pytest.approx([expected] * 2, rel=0.06, abs=1e-6)
    assert excess_kurtosis(5 * s - 3) == pytest.approx([law.stats("k")] * 2, abs=0.15)


def test_they_are_the_contrast_of_standardised_components_and_scipys_kurtosis():
    s = drawn("laplace", 500, 3)
    standard = torch.from_numpy((s - s.mean(0)) / s.std(0))
    assert negentropy(s) == pytest.approx(contrast(standard).numpy())
    assert excess_kurtosis(s) == pytest.approx(stats.kurtosis(s))
    assert excess_kurtosis(np.sign(s - np.median(s, 0))) == pytest.approx([-2] * 3)


def test_correlations_of_squares():
    uniform = drawn("uniform", 200_000)
    rotated = squared_correlations(uniform @ TURN)
    assert rotated[0, 1] == pytest.approx(-3 / 7, abs=0.01)  # E s⁴ = 9/5 of each source
    assert squared_correlations(uniform)[0, 1] == pytest.approx(0, abs=0.01)
    s = drawn("laplace", 300, 3)
    expected = np.corrcoef(((s - s.mean(0)) ** 2).T)
    assert np.allclose(squared_correlations(7 * s + 2), expected)


def test_information_is_that_of_gaussians_and_zero_for_independent_components():
    rho = 0.8
    s = np.random.default_rng(0).multivariate_normal([0, 0, 0], [[1, rho, 0], [rho, 1, 0], [0, 0, 1]], 4000)
    found = mutual_information_matrix(s, samples=4000)
    assert found[0, 1] == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.05)
    assert found[0, 2] < 0.05
    assert np.array_equal(found, found.T)
    assert np.array_equal(found.diagonal(), np.zeros(3))
    assert np.array_equal(found, mutual_information_matrix(s, samples=4000))
    assert mutual_information_matrix(drawn("uniform", 2000) @ TURN)[0, 1] > 0.15  # uncorrelated, not independent
    assert mutual_information_matrix(s[:, :1]).tolist() == [[0]]


def test_constant_components_have_nothing_and_break_nothing():
    s = np.column_stack([np.full(200, 0.1), drawn("laplace", 200, 1)])
    assert negentropy(s)[0] == 0
    assert excess_kurtosis(s)[0] == 0
    assert squared_correlations(s)[0, 1] == 0
    assert all(math.isfinite(result.value) for result in report(s, draws=5).values())


def test_the_report_sums_up_with_intervals_of_resampled_rows():
    s = drawn("laplace", 300, 3)
    found = report(s, seed=2, draws=40)
    assert list(found) == ["negentropy", "excess_kurtosis", "squared_correlation", "component_information"]
    assert found["negentropy"].parts["per_component"] == pytest.approx(negentropy(s))
    assert found["excess_kurtosis"].value == pytest.approx(np.abs(excess_kurtosis(s)).mean())
    off = np.abs(squared_correlations(s))[~np.eye(3, dtype=bool)]
    assert found["squared_correlation"].value == pytest.approx(off.max())
    assert found["component_information"].interval is None
    assert found["component_information"].parts["components"] == [0, 1, 2]
    assert np.array_equal(found["component_information"].parts["matrix"], mutual_information_matrix(s, seed=2))
    resampled = []
    for weights in row_weights(300, 40, generator(2, "independence")):
        rows = np.repeat(np.arange(300), weights)
        resampled.append(negentropy(s[rows]).mean())
    ends = found["negentropy"].value + np.quantile(resampled - np.mean(resampled), [0.025, 0.975])
    assert found["negentropy"].interval == pytest.approx(np.maximum(ends, 0))
    assert report(s, seed=2, draws=40) == found
    assert all(result.interval is None for result in report(s, draws=0).values())
    assert report(s[:, :1], draws=0)["squared_correlation"].value == 0


def test_information_of_many_components_is_that_of_the_most_suspicious():
    s = drawn("laplace", 200, 30)
    s[:, 28] = np.abs(s[:, 3]) * np.sign(s[:, 28])
    found = report(s, draws=0)["component_information"]
    chosen = found.parts["components"]
    assert len(chosen) == 24
    assert {3, 28} <= set(chosen)
    matrix = np.array(found.parts["matrix"])
    assert matrix[chosen.index(3), chosen.index(28)] == found.value > 0.5


def test_the_check_is_imported_when_asked_for():
    assert "check_ica" in dir(independence)
    assert independence.check_ica.__module__ == "trimkit_ica.assumptions.check"
    with pytest.raises(AttributeError, match="has no attribute 'check_pca'"):
        _ = independence.check_pca


def test_the_check_says_which_distribution_it_comes_with(monkeypatch):
    class Absent:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.partition(".")[0] == "trimkit_ica":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == "trimkit_ica"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    with pytest.raises(PluginError, match="check_ica comes with trimkit-ica: pip install trimkit-ica"):
        _ = independence.check_ica


@pytest.mark.parametrize("measure", [negentropy, excess_kurtosis, squared_correlations, mutual_information_matrix])
def test_components_that_do_not_fit_are_refused(measure):
    with pytest.raises(DataError, match="components: expected at least 20 samples, got 5"):
        measure(np.ones((5, 2)))
    with pytest.raises(DataError, match="components: 1 of 30 samples hold NaN"):
        measure(np.where(np.arange(60).reshape(30, 2) == 7, np.nan, 1.0))


def test_options_of_information_that_do_not_fit_are_refused():
    s = drawn("laplace", 50)
    for options in ({"neighbours": 0}, {"samples": 3}):
        with pytest.raises(OptionError, match="neighbours: expected from 1 to"):
            mutual_information_matrix(s, **options)


@pytest.mark.parametrize("samples", [-5, 0, 1])
def test_information_needs_samples(samples):
    with pytest.raises(OptionError, match="samples: expected at least 2"):
        mutual_information_matrix(np.random.default_rng(0).normal(size=(50, 2)), samples=samples)
