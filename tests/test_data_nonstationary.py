"""The nonstationary generator: moments of each segment, matrices, and the map, recomputed where they can be."""

from __future__ import annotations

import pytest
import torch

from trimkit.data import load
from trimkit.data.nonstationary import ACTIVATIONS, LAWS, _quartile, layer_matrix, nonstationary
from trimkit.errors import DataError, OptionError


def by_segment(data) -> torch.Tensor:
    """(M, L, d) sources of data in the order of their segments."""
    return data.sources.double().reshape(int(data.aux.max()) + 1, -1, data.sources.shape[1])


@pytest.mark.parametrize("sources", LAWS)
def test_the_bounds_are_of_standard_deviations(sources):
    data = nonstationary("all", segments=60, observations=4000, dim=3, sources=sources, low=0.5, high=3)
    s = by_segment(data)
    spread = s.std(1)
    assert data.aux.tolist() == [segment for segment in range(60) for _ in range(4000)]
    assert s.mean(1).div(spread).abs().max() < 0.08
    assert 0.47 < float(spread.min()) < 0.7
    assert 2.8 < float(spread.max()) < 3.2
    assert float(spread.mean()) == pytest.approx(1.75, abs=0.2)
    standard = (s / spread[:, None]).flatten()
    kurtosis = {"gaussian": 0, "laplace": 3, "hypersecant": 2}[sources]
    assert float(standard.pow(4).mean() - 3) == pytest.approx(kurtosis, abs=0.15)


def test_means_of_segments_and_noise():
    s = by_segment(nonstationary("all", segments=50, observations=500, low=0.1, high=0.1, means=5))
    centre = s.mean(1)
    assert 4.5 < float(centre.abs().max()) < 5.1
    assert float(centre.std()) == pytest.approx(10 / 12**0.5, rel=0.1)
    clean, noisy = (nonstationary("all", segments=4, observations=2000, noise=noise) for noise in (0, 0.5))
    assert torch.equal(clean.sources, noisy.sources)
    assert float((noisy.x - clean.x).std()) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (3, 7)])
def test_matrices_have_columns_of_norm_1_and_are_among_the_best_quarter(shape):
    of = torch.Generator().manual_seed(0)
    matrices = torch.stack([layer_matrix(*shape, of) for _ in range(20)])
    assert torch.allclose(torch.linalg.vector_norm(matrices, dim=1), torch.ones((), dtype=torch.float64))
    assert torch.linalg.cond(matrices).max() <= _quartile(*shape)
    entries = 2 * torch.rand(4000, *shape, generator=of, dtype=torch.float64) - 1
    fresh = torch.linalg.cond(entries / torch.linalg.vector_norm(entries, dim=1, keepdim=True))
    assert float((fresh <= _quartile(*shape) * (1 + 1e-9)).double().mean()) == pytest.approx(
        1 if shape == (1, 1) else 0.25, abs=0.04
    )


def fitted_share(x: torch.Tensor, s: torch.Tensor) -> float:
    """Share of the variance of x that is a linear function of s."""
    x, s = (table.double() - table.double().mean(0) for table in (x, s))
    return 1 - float((x - s @ torch.linalg.lstsq(s, x).solution).square().sum() / x.square().sum())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_last_layer_is_linear_and_the_others_are_not(activation):
    one, three = (nonstationary("all", segments=5, layers=layers, activation=activation) for layers in (1, 3))
    assert fitted_share(one.x, one.sources) > 1 - 1e-9
    assert (fitted_share(three.x, three.sources) > 1 - 1e-9) == (activation == "none")


def test_two_layers_by_hand():
    """With the sources and an invertible last layer known, x A⁻¹ is an entry-wise function of a linear one."""
    data = nonstationary("all", segments=1, observations=200, dim=2, layers=2, activation="lrelu")
    of = torch.Generator().manual_seed(0)
    spread = 0.5 + 2.5 * torch.rand(1, 1, 2, generator=of, dtype=torch.float64)
    torch.rand(1, 1, 2, generator=of, dtype=torch.float64)  # the means
    s = spread[0] * torch.randn(1, 200, 2, generator=of, dtype=torch.float64)[0]
    first, last = layer_matrix(2, 2, of), layer_matrix(2, 2, of)
    hidden = s @ first
    expected = torch.where(hidden > 0, hidden, 0.1 * hidden) @ last
    assert torch.allclose(data.sources.double(), s, atol=1e-6)
    assert torch.allclose(data.x.double(), expected, atol=1e-6)


def test_activations():
    t = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    assert torch.allclose(ACTIVATIONS["xtanh"](t), torch.tanh(t) + 0.1 * t)
    assert ACTIVATIONS["lrelu"](t).tolist() == pytest.approx([-0.2, 0, 3])
    assert torch.allclose(ACTIVATIONS["sigmoid"](t), 1 / (1 + (-t).exp()))
    assert torch.equal(ACTIVATIONS["none"](t), t)


def test_more_entries_than_sources_and_segments_in_both_splits():
    spec = "nonstationary:segments=7,observations=30,dim=2,features=4"
    train, test = load(spec), load(spec, "test")
    assert (train.shape, train.sources.shape[1]) == ((4,), 2)
    assert (len(train), len(test)) == (189, 21)
    assert test.aux.bincount().tolist() == [3] * 7
    assert train.aux.dtype == torch.int64
    assert torch.equal(
        torch.cat([train.sources, test.sources]).sort(0).values, load(spec, "all").sources.sort(0).values
    )
    assert load(spec).sha256 == train.sha256
    assert load(f"{spec},seed=1").sha256 != train.sha256


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"segments": 0}, "segments as a whole number ≥ 1, got 0"),
        ({"observations": 9}, "observations as a whole number ≥ 10, got 9"),
        ({"layers": 0}, "layers as a whole number ≥ 1, got 0"),
        ({"dim": 0}, "dim as a whole number ≥ 1, got 0"),
        ({"features": 4}, "features as a whole number ≥ 5, got 4"),
        ({"low": 0}, "low > 0, a standard deviation, got 0"),
        ({"low": 2, "high": 1}, "high as a number ≥ 2, got 1"),
        ({"noise": -1}, "noise as a number ≥ 0, got -1"),
        ({"means": "far"}, "means as a number ≥ 0, got 'far'"),
        ({"activation": "relu"}, "there is no activation 'relu'. Did you mean 'lrelu'"),
        ({"sources": "hs"}, "there is no law 'hs' of sources. Known: gaussian, hypersecant, laplace"),
    ],
)
def test_what_does_not_fit_says_what_would(options, says):
    with pytest.raises(OptionError, match=says):
        nonstationary(**options)
    with pytest.raises(DataError, match="'train', 'test' or 'all', got 'valid'"):
        nonstationary("valid", segments=2, observations=10)


def test_a_repeated_matrix_is_that_of_every_layer_of_its_shape():
    """Without bends x = s A³."""
    linear = {"segments": 2, "observations": 50, "activation": "none", "seed": 3}
    once, thrice = (nonstationary("all", layers=layers, repeat=True, **linear) for layers in (1, 3))
    assert torch.equal(once.sources, thrice.sources)
    matrix = torch.linalg.lstsq(once.sources.double(), once.x.double()).solution
    expected = once.sources.double() @ torch.linalg.matrix_power(matrix, 3)
    torch.testing.assert_close(thrice.x.double(), expected, atol=1e-4, rtol=1e-4)
    different = nonstationary("all", layers=3, **linear)
    assert not torch.allclose(thrice.x, different.x)
    assert nonstationary("all", dim=3, features=5, layers=3, repeat=True, segments=2, observations=20).shape == (5,)
