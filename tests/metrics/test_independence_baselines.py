"""Baselines of the mean correlation where their answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trimkit_ica.unmixing import fastica, whiten

from trimkit.data import load
from trimkit.errors import OptionError
from trimkit.metrics.independence import mcc_baselines, mean_correlation
from trimkit.metrics.independence.log_cosh import contrast


@pytest.fixture(scope="module")
def mixture():
    return load("mixture:n=4000,dim=3,features=5", "train"), load("mixture:n=4000,dim=3,features=5", "test")


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_fastica_finds_the_sources_of_a_linear_mixture_and_the_others_do_not(mixture, kind):
    train, test = mixture
    found = mcc_baselines(test.x, test.sources, fitted_to=train.x, kind=kind, draws=20)
    assert list(found) == ["x", "pca", "fastica", "rotation"]
    assert found["fastica"].value > 0.98
    assert found["pca"].value < 0.95
    assert found["rotation"].value < 0.9
    assert found["x"] == mean_correlation(test.x, test.sources, kind=kind, draws=20)
    assert found["fastica"].protocol["converged"] is True
    assert found["fastica"].protocol["starts"] == 5
    low, high = found["fastica"].interval
    assert low <= found["fastica"].value <= high


def test_the_band_is_of_uniform_rotations_of_standardised_sources(mixture):
    _, test = mixture
    found = mcc_baselines(test.x, test.sources, draws=0)["rotation"]
    scaled = mcc_baselines(test.x, test.sources * torch.tensor([1e-3, 1.0, 1e3]), draws=0)["rotation"]
    assert scaled.parts["draws"] == pytest.approx(found.parts["draws"], abs=1e-5)
    assert len(found.parts["draws"]) == 10
    assert found.parts["lowest"] == min(found.parts["draws"]) < found.value < found.parts["highest"]
    assert found.interval is None
    one = mcc_baselines(test.x, test.sources[:, :1], draws=0)["rotation"]
    assert one.parts["draws"] == pytest.approx([1] * 10)  # of one source there is only its sign
    many = mcc_baselines(test.x, np.random.default_rng(0).normal(size=(400, 40)), draws=0)["rotation"]
    assert 0.25 < many.value < 0.45  # of forty the largest entries of a rotation are about .4


def test_of_several_optima_the_least_gaussian_is_taken():
    """On this nonlinear mixture single starts end at .58, .62 or .64; which is taken must not hang on the seed."""
    train, test = (load("nonstationary:seed=2,observations=300", split) for split in ("train", "test"))
    whitening = whiten(train.x.double())
    z = whitening.apply(train.x.double())
    starts = [fastica(z, generator=torch.Generator().manual_seed(seed)) for seed in range(12)]
    best = max(starts, key=lambda fit: float(contrast(z @ fit.matrix.T).sum()))
    expected = mean_correlation(whitening.apply(test.x.double()) @ best.matrix.T, test.sources, draws=0).value
    for seed in range(3):
        found = mcc_baselines(test.x, test.sources, fitted_to=train.x, seed=seed, draws=0)["fastica"]
        assert found.value == pytest.approx(expected, abs=0.01)


def test_magnitudes_stand_beside_magnitudes(mixture):
    train, test = mixture
    found = mcc_baselines(test.x, test.sources, fitted_to=train.x, magnitudes=True, draws=0)
    assert found["fastica"].value > 0.95
    assert found["x"] == mean_correlation(test.x.abs(), test.sources.abs(), draws=0)


def test_fits_are_those_of_the_rows_given_and_depend_on_the_seed_alone(mixture):
    train, test = mixture
    state = torch.random.get_rng_state()
    own = mcc_baselines(test.x, test.sources, draws=0)
    assert own["fastica"] != mcc_baselines(test.x, test.sources, fitted_to=train.x, draws=0)["fastica"]
    assert mcc_baselines(test.x, test.sources, draws=0) == own
    assert mcc_baselines(test.x, test.sources, draws=0, seed=1)["rotation"].parts != own["rotation"].parts
    assert torch.equal(state, torch.random.get_rng_state())


def test_fewer_components_than_sources_and_data_that_do_not_vary(mixture):
    _, test = mixture
    narrow = mcc_baselines(test.x[:, :2], test.sources, draws=0)
    assert len(narrow["pca"].parts["correlations"]) == 2
    repeated = mcc_baselines(test.x[:, [0, 0, 1]], test.sources, draws=0)
    assert len(repeated["fastica"].parts["correlations"]) == 2  # as many as the data have
    constant = mcc_baselines(torch.ones(50, 3), test.sources[:50], draws=0)
    assert list(constant) == ["x", "rotation"]
    assert constant["x"].value == 0
    with pytest.raises(OptionError, match="fitted_to: expected samples of 5 entries, as x has, got 3"):
        mcc_baselines(test.x, test.sources, fitted_to=test.sources)
