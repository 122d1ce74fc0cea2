"""FastICA, Picard and Infomax as methods: what they find, what they refuse and warn of."""

from __future__ import annotations

import itertools
import warnings

import pytest
import sklearn.decomposition
import torch
from trimkit_ica.linear import FastICA, Infomax, LinearICA, Picard

import trimkit
from trimkit.errors import DataError, OptionError, ShapeError, TrainingError, TrimkitWarning
from trimkit.methods import Delta
from trimkit.metrics.independence import amari_distance, mean_correlation
from trimkit.metrics.independence.log_cosh import contrast

METHODS = [FastICA, Picard, Infomax]
UNIT = torch.eye(4, dtype=torch.float64)


def fitted(kind: type[LinearICA], x: torch.Tensor, **options) -> LinearICA:
    method = kind(tuple(x.shape[1:]), **options)
    method.fit(x)
    return method


def codes(method: LinearICA, x: torch.Tensor) -> torch.Tensor:
    return method.encode(x).mean


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("sources", ["laplace", "uniform", "mixed"])
def test_sources_are_found_up_to_order_sign_and_scale(mixture, kind, sources):
    x, s, mixing = mixture(sources)
    method = fitted(kind, x)
    assert method.converged
    assert 1 < method.iterations < 60
    assert amari_distance(method.unmixing, mixing) < 0.03
    found = codes(method, x)
    assert torch.allclose(found.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(found.square().mean(0), torch.ones(4, dtype=torch.float64))  # ddof 0
    assert torch.corrcoef(torch.cat([found, s], 1).T)[:4, 4:].abs().amax(0).min() > 0.99


@pytest.mark.parametrize("kind", METHODS)
def test_components_are_in_order_and_of_positive_skewness(mixture, kind):
    x = mixture("laplace", k=5).sources.exp().clamp_max(20) @ torch.randn(5, 5, dtype=torch.float64)
    method = fitted(kind, x)
    assert (codes(method, x).pow(3).mean(0) > 0).all()
    variance = method.mixing.square().sum(0)
    assert (variance.diff() <= 0).all()
    by_shape = fitted(kind, x, order="negentropy")
    assert (contrast(codes(by_shape, x)).diff() <= 0).all()
    assert sorted(by_shape.mixing[0].tolist()) == pytest.approx(sorted(method.mixing[0].tolist()))


@pytest.mark.parametrize("kind", METHODS)
def test_other_starts_give_the_same_components_in_the_same_places(mixture, kind):
    x = mixture().x
    first, second = (fitted(kind, x, seed=seed, tol=1e-10) for seed in (0, 1))
    assert torch.allclose(first.mixing, second.mixing, atol=1e-5)
    assert torch.equal(fitted(kind, x).mixing, fitted(kind, x).mixing)  # and the same start the same bits


def test_both_solvers_agree_with_scikit_learn(mixture):
    x = mixture().x
    one, other = (fitted(FastICA, x, solver=solver, tol=1e-10) for solver in ("sklearn", "torch"))
    assert torch.allclose(one.unmixing, other.unmixing, atol=1e-8)
    options = {"whiten": "unit-variance", "whiten_solver": "eigh", "tol": 1e-10, "random_state": 0}
    theirs = torch.from_numpy(sklearn.decomposition.FastICA(**options).fit_transform(x.numpy()))
    similarity = codes(one, x).T @ theirs / len(x)
    assert torch.allclose(similarity.abs().amax(1), torch.ones(4, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(similarity.square().sum(1), torch.ones(4, dtype=torch.float64), atol=1e-6)
    assert torch.equal(fitted(FastICA, x, tol=1e-10).unmixing, one.unmixing)  # what "auto" is on a CPU


def test_sweeps_in_single_precision_give_the_same_components(mixture):
    x = mixture().x
    narrow, wide = fitted(FastICA, x, precision="32", tol=1e-10), fitted(FastICA, x, tol=1e-10)
    assert narrow.converged
    assert torch.allclose(narrow.unmixing, wide.unmixing, atol=1e-5)


@pytest.mark.parametrize("kind", METHODS)
def test_badly_scaled_data_in_single_precision(mixture, kind):
    """The trap of whitening in float32: at condition 5,000 nothing converges there, and the components are wrong."""
    x, _, mixing = mixture("laplace", n=8000, k=16, condition=5e3)
    method = fitted(kind, x.float())
    assert method.converged
    assert method.unmixing.dtype == method.mixing.dtype == method.mean.dtype == torch.float64
    assert amari_distance(method.unmixing, mixing) < 0.02
    assert amari_distance(method.unmixing, mixing) == pytest.approx(
        amari_distance(fitted(kind, x).unmixing, mixing), abs=1e-4
    )


def test_plain_infomax_warns_of_sub_gaussian_components(mixture):
    x, _, mixing = mixture("uniform", k=6)
    with pytest.warns(TrimkitWarning, match=r"infomax: \d components are sub-Gaussian.*use extended=True"):
        wrong = fitted(Infomax, x, extended=False)
    assert amari_distance(wrong.unmixing, mixing) > 0.2
    assert amari_distance(fitted(Infomax, x).unmixing, mixing) < 0.03  # extended by default


@pytest.mark.parametrize("kind", METHODS)
def test_as_many_components_as_entries_are_inverted_exactly(mixture, kind):
    x = mixture().x
    method = fitted(kind, x)
    space = method.space()
    assert (space.name, space.shape, space.exact_inverse) == ("components", (4,), True)
    assert space.groups.names == ("component 1", "component 2", "component 3", "component 4")
    assert isinstance(method.encode(x), Delta)
    assert torch.allclose(method.decode(codes(method, x)), x, atol=1e-12)
    assert torch.allclose(method.unmixing @ method.mixing, UNIT, atol=1e-12)


@pytest.mark.parametrize("kind", METHODS)
def test_fewer_components_leave_what_a_pca_leaves(mixture, kind):
    x = mixture(k=6).x
    method = fitted(kind, x, components=3)
    pca = sklearn.decomposition.PCA(3, svd_solver="full").fit(x.numpy())
    expected = torch.from_numpy(pca.inverse_transform(pca.transform(x.numpy())))
    assert torch.allclose(method.decode(codes(method, x)), expected, atol=1e-10)
    assert not method.space().exact_inverse
    assert method.space().shape == (3,)


@pytest.mark.parametrize("kind", METHODS)
def test_all_components_are_those_that_the_data_have(mixture, kind):
    x = mixture().x
    x = torch.cat([x, x.sum(1, keepdim=True)], 1)
    method = fitted(kind, x)
    assert method.space().shape == (4,)
    assert torch.allclose(method.decode(codes(method, x)), x, atol=1e-10)
    with pytest.raises(DataError, match=r"4 usable components, got 5 asked for.*at most 4 principal"):
        fitted(kind, x, components=5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_types_are_kept_and_matrices_stay_in_double(mixture, dtype):
    x = mixture("laplace").x.to(dtype)
    method = fitted(FastICA, x)
    before = method.unmixing.clone()
    s = codes(method, x)
    assert s.dtype == method.decode(s).dtype == dtype
    for cast in (method.half(), method.float(), method.to(torch.bfloat16), method.cpu()):
        assert torch.equal(cast.unmixing, before)
        assert cast.quantiles.dtype == torch.float64
    assert method.converged


def test_images_and_signals_keep_their_shapes(mixture):
    x = mixture(k=8).x.unflatten(1, (2, 2, 2)).float()
    method = fitted(Picard, x)
    assert codes(method, x).shape == (4000, 8)
    assert method.decode(codes(method, x)[:3]).shape == (3, 2, 2, 2)
    assert method.sample(5, torch.Generator().manual_seed(0)).shape == (5, 2, 2, 2)
    assert codes(method, x[:0]).shape == (0, 8)
    assert torch.allclose(method.decode(codes(method, x[:1])), x[:1], atol=1e-5)


def test_the_code_is_differentiable(mixture):
    x = mixture().x
    method = fitted(FastICA, x)
    assert torch.autograd.gradcheck(lambda v: codes(method, v), (x[:2].requires_grad_(),))
    assert torch.autograd.gradcheck(method.decode, (torch.randn(2, 4, dtype=torch.float64, requires_grad=True),))


def test_samples_have_the_marginals_of_the_components_and_no_dependence(mixture):
    x = mixture("mixed", n=40_000).x  # more than the quantiles are taken from
    method = fitted(FastICA, x)
    s, drawn = codes(method, x), method.sample_codes(20_000, torch.Generator().manual_seed(1)).double()
    levels = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    assert torch.allclose(drawn.quantile(levels, 0), s.quantile(levels, 0), atol=0.12)
    assert (torch.corrcoef(drawn.T) - UNIT).abs().max() < 0.03
    assert (torch.corrcoef(drawn.square().T) - UNIT).abs().max() < 0.03
    assert method.quantiles.shape == (1025, 4)
    data = method.sample(20_000, torch.Generator().manual_seed(1)).double()
    assert torch.allclose(data, method.decode(drawn), atol=1e-5)
    assert torch.allclose(torch.cov(data.T), torch.cov(x.T), atol=0.1 * float(torch.cov(x.T).abs().max()))


def test_quantiles_are_linear_between_the_sorted_values():
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    with pytest.warns(TrimkitWarning, match="3 samples are few for 1 components"):
        method = fitted(FastICA, x)
    values = method.decode(method.quantiles[[0, 256, 512, 768, 1024]])[:, 0]
    assert values.tolist() == pytest.approx([0, 0.5, 1, 2, 3])


def test_draws_come_from_the_generator(mixture):
    method = fitted(FastICA, mixture().x)
    first, again, other = (method.sample(9, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert method.sample_codes(0).shape == (0, 4)


def test_one_gaussian_component_is_allowed(mixture):
    s = torch.cat([mixture("laplace", n=8000, k=3).sources, mixture("gaussian", n=8000, k=1).sources], 1)
    x = s @ torch.randn(4, 4, dtype=torch.float64)
    for kind in METHODS:
        method = fitted(kind, x)
        assert method.converged
        assert torch.corrcoef(torch.cat([codes(method, x), s], 1).T)[:4, 4:].abs().amax(0).min() > 0.97


@pytest.mark.parametrize("solver", ["sklearn", "torch"])
def test_what_did_not_converge_is_said_and_kept(mixture, solver):
    method = FastICA((4,), max_iter=2, solver=solver)
    with pytest.warns(TrimkitWarning, match="fastica: not converged after 2 iterations; raise max_iter") as told:
        method.fit(mixture("gaussian").x)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert (method.converged, method.iterations) == (False, 2)


@pytest.mark.parametrize("kind", [Picard, Infomax])
def test_a_likelihood_that_did_not_converge_is_said(mixture, kind):
    with pytest.warns(TrimkitWarning, match="not converged after 1 iterations"):
        assert not fitted(kind, mixture().x, max_iter=1).converged


def test_few_samples_are_warned_of(mixture):
    x = mixture("laplace", n=79).x
    with pytest.warns(TrimkitWarning, match=r"79 samples are few for 4 components, which want 80.*components=3"):
        fitted(FastICA, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(FastICA, x, components=3)


@pytest.mark.parametrize("kind", METHODS)
def test_use_before_fit_is_refused(kind):
    method = kind((1, 2, 2))
    assert (method.converged, method.iterations) == (False, 0)
    assert method.space().shape == (4,)
    for use in (
        lambda: codes(method, torch.zeros(1, 1, 2, 2)),
        lambda: method.decode(torch.zeros(1, 4)),
        lambda: method.sample(1),
        method.exhibits,
    ):
        with pytest.raises(TrainingError, match=r"is not fitted: call fit\(x\), trimkit.train"):
            use()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(9, 3), ShapeError, r"shape \(4,\) a sample"),
        (torch.zeros(9, 4, dtype=torch.long), ShapeError, "floating data"),
        (torch.zeros(0, 4), DataError, "at least one sample"),
        (torch.randn(1, 4), ShapeError, "at least two samples"),
        (torch.full((9, 4), float("nan")), DataError, "finite data"),
        (torch.ones(9, 4), DataError, "all alike"),
    ],
)
def test_data_that_cannot_be_used_are_refused(x, error, message):
    method = FastICA((4,))
    with pytest.raises(error, match=message):
        method.fit(x)
    assert not len(method.mean)


def test_data_of_another_shape_are_not_encoded(mixture):
    method = fitted(FastICA, mixture().x)
    with pytest.raises(ShapeError, match=r"fastica: expected floating data \(N, 4\), got torch.float32 \(2, 3\)"):
        method.encode(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"got torch.int64 \(2, 4\)"):
        method.encode(torch.zeros(2, 4, dtype=torch.long))
    assert codes(method, torch.tensor([[float("nan"), 0, 0, 0]])).isnan().all()  # told by the result, not hidden


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "picard: expected from 1 to 4 components, got 0"),
        ({"components": 2.5}, "from 1 to 4 components, got 2.5"),
        ({"components": 5}, "from 1 to 4 components, got 5"),
        ({"order": "size"}, "order to be one of variance, negentropy, got 'size'"),
        ({"tol": 0.0}, "tol > 0, got 0.0"),
        ({"max_iter": 0}, "max_iter ≥ 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Picard((4,), **options)


def test_options_of_fastica_out_of_range_are_refused():
    with pytest.raises(OptionError, match="solver to be one of auto, sklearn, torch, got 'svd'"):
        FastICA((4,), solver="svd")
    with pytest.raises(OptionError, match="precision '32' or '64', got '16'"):
        FastICA((4,), precision="16")
    with pytest.raises(OptionError, match="use solver='torch', got '32'"):
        FastICA((4,), solver="sklearn", precision="32")


def test_every_two_fits_agree_through_the_product_of_their_matrices(mixture):
    """W_a W_b⁺ is a signed permutation, here the identity: order and signs are canonical."""
    x = mixture("laplace", n=20_000).x
    for a, b in itertools.combinations([fitted(kind, x) for kind in METHODS], 2):
        assert torch.allclose(a.unmixing @ torch.linalg.pinv(b.unmixing), UNIT, atol=0.05)


@pytest.mark.parametrize("name", ["fastica", "picard", "infomax"])
@pytest.mark.parametrize(("unit", "offset"), [(1e-8, 0.0), (1e8, 0.0), (1.0, 1e8)])
def test_units_and_offsets_of_columns_lose_no_component(name, unit, offset):
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(2, 4000, 3, generator=generator, dtype=torch.float64)
    s = uniform.log().diff(dim=0)[0]  # Laplace: the difference of two exponentials
    mixing = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    x = s @ mixing * torch.tensor([unit, 1, 1], dtype=torch.float64) + offset
    method = trimkit.create("method", name, (3,))
    method.fit(x)
    alike = torch.corrcoef(torch.cat((s, method.encode(x).mean), 1).T)[:3, 3:].abs()
    assert bool((alike.amax(0) > 0.99).all())
    assert bool((alike.amax(1) > 0.99).all())


@pytest.mark.parametrize("kind", [FastICA, Picard, Infomax])
@pytest.mark.parametrize(("scale", "offset"), [(1e-8, 0.0), (1e8, 0.0), (1.0, 1e8)])
def test_units_and_offsets_leave_the_sources(kind, scale, offset):
    draws = torch.Generator().manual_seed(0)
    s = torch.rand(4000, 3, generator=draws, dtype=torch.float64)
    mixing = torch.tensor([[1.0, 0.3, -0.2], [0.4, 1.0, 0.5], [-0.3, 0.2, 1.0]], dtype=torch.float64)
    x = s @ mixing.T * torch.tensor([scale, 1.0, 1.0], dtype=torch.float64) + offset
    method = fitted(kind, x)
    assert mean_correlation(codes(method, x), s, draws=0).value > 0.99


def test_data_that_their_type_rounds_away_are_named():
    s = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mixing = torch.tensor([[9.0, 0.3, -0.2], [9.0, 1.0, 0.5], [9.0, 0.2, 1.0]], dtype=torch.float64)
    x = (s @ mixing.T + 1e7).float()
    for stored in (x, x.double()):
        with pytest.warns(TrimkitWarning, match="2 of 3 directions cannot be told from the rounding of float32"):
            FastICA((3,)).fit(stored)
    with pytest.raises(DataError, match="no more than rounding; subtract the mean"):
        FastICA((3,)).fit((s @ mixing.T + 1e12).float())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FastICA((3,)).fit((s @ mixing.T + 10).float())
        FastICA((3,)).fit(torch.cat([s[:, :2], s[:, :1] + s[:, 1:2]], 1).float())  # dependent, and not by rounding
