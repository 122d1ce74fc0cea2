"""Whitening: covariance I with ddof 0 for each kind, float64 whatever the input, and what cannot be whitened."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trimkit_ica.unmixing import Whitening, whiten

from trimkit.errors import DataError, OptionError, ShapeError

KINDS = ["pca", "zca", "cholesky"]


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def covariance(z):
    """With ddof 0."""
    centred = z.double() - z.double().mean(0)
    return centred.T @ centred / len(z)


def eye(k):
    return torch.eye(k, dtype=torch.float64)


@given(seed=st.integers(0, 2**31), p=st.integers(1, 7), n=st.integers(30, 60), kind=st.sampled_from(KINDS))
@settings(max_examples=40, deadline=None)
def test_white_data_have_mean_0_and_covariance_identity_of_ddof_0(seed, p, n, kind):
    x = normal(n, p, seed=seed) @ normal(p, p, seed=seed + 1) + 3
    whitening = whiten(x, kind=kind)
    z = whitening.apply(x)
    assert torch.allclose(covariance(z), eye(p), atol=1e-6)
    assert torch.allclose(z.mean(0), torch.zeros(p, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(whitening.forward @ whitening.backward, eye(p), atol=1e-6)
    assert torch.allclose(whitening.invert(z), x, atol=1e-6)


def test_the_kinds_by_their_definitions():
    x = normal(200, 4) @ normal(4, 4, seed=1)
    pca, zca, cholesky = (whiten(x, kind=kind).forward for kind in KINDS)
    values, vectors = torch.linalg.eigh(covariance(x))
    lengths = torch.linalg.vector_norm(pca, dim=1)  # of eigenvectors over the square roots of eigenvalues
    assert torch.allclose(lengths.square().reciprocal(), values.flip(0))
    assert torch.allclose((pca / lengths[:, None] @ vectors).abs(), eye(4).flip(0), atol=1e-8)
    assert torch.allclose(zca, zca.T)
    assert (torch.linalg.eigvalsh(zca) > 0).all()
    assert torch.equal(cholesky, cholesky.triu())
    assert (cholesky.diagonal() > 0).all()
    for forward in (pca, zca, cholesky):
        assert torch.allclose(forward.T @ forward, torch.linalg.inv(covariance(x)))


def test_a_covariance_that_is_known():
    x = torch.tensor([[3.0, 1], [3, -1], [-3, 1], [-3, -1]], dtype=torch.float64) + 5  # variances 9 and 1
    whitening = whiten(x)
    assert torch.allclose(whitening.eigenvalues, torch.tensor([9.0, 1.0], dtype=torch.float64))
    assert torch.allclose(whitening.forward.abs(), torch.diag(torch.tensor([1 / 3, 1.0], dtype=torch.float64)))
    assert torch.equal(whitening.mean, torch.tensor([5.0, 5.0], dtype=torch.float64))
    assert (whitening.rank, whitening.condition) == (2, pytest.approx(9))


def test_fewer_components_are_the_largest_principal_ones():
    x = normal(300, 5) * torch.tensor([1.0, 5, 2, 4, 3])
    some, every = whiten(x, 2), whiten(x)
    assert torch.equal(some.forward, every.forward[:2])
    assert torch.allclose(covariance(some.apply(x)), eye(2), atol=1e-12)
    assert torch.allclose(some.backward, torch.linalg.pinv(some.forward))
    assert some.rank == 5


def test_large_data_are_worked_through_in_pieces():
    x = normal(10_000, 3) @ normal(3, 3, seed=1)
    whitening = whiten(x)
    assert torch.allclose(whitening.mean, x.mean(0), atol=1e-14)
    assert torch.allclose(covariance(whitening.apply(x)), eye(3), atol=1e-12)
    assert torch.allclose(whitening.invert(whitening.apply(x)), x, atol=1e-12)


@pytest.mark.parametrize("condition", [1e4, 1e6])
def test_single_precision_is_whitened_in_double(condition):
    mixing = normal(16, 16)
    left, _, right = torch.linalg.svd(mixing)
    mixing = left * torch.logspace(0, -float(torch.tensor(condition).log10()), 16, dtype=torch.float64) @ right
    x = (normal(8000, 16, seed=1) @ mixing.T).float()
    narrow = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))
    assert abs(float(narrow[0]) / float(torch.linalg.eigvalsh(covariance(x))[0]) - 1) > 0.1  # the trap is there
    whitening = whiten(x)
    assert whitening.forward.dtype == whitening.backward.dtype == whitening.mean.dtype == torch.float64
    assert torch.allclose(covariance(whitening.apply(x.double())), eye(16), atol=1e-4)
    assert whitening.apply(x).dtype == torch.float32


def test_an_offset_much_larger_than_the_spread_does_no_harm():
    x = normal(500, 3) + 1e6
    assert torch.allclose(covariance(whiten(x).apply(x)), eye(3), atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_any_precision_comes_back_in_its_own(dtype):
    x = normal(400, 3).to(dtype)
    whitening = whiten(x)
    assert (whitening.rank, whitening.apply(x).dtype, whitening.invert(whitening.apply(x)).dtype) == (3, dtype, dtype)
    assert torch.allclose(covariance(whitening.apply(x.double())), eye(3), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_entries_that_depend_on_each_other_up_to_rounding_lower_the_rank(dtype, offset):
    x = normal(500, 6) + offset
    x[:, 5] = x[:, :5].mean(1)
    whitening = whiten(x.to(dtype))
    assert whitening.rank == 5
    assert whitening.condition == float("inf")
    assert whitening.forward.shape == (5, 6)
    assert whitening.eigenvalues.shape == (6,)


def test_more_components_than_the_data_have_are_refused_with_their_number():
    x = normal(100, 6)
    x[:, 5] = x[:, :5].mean(1)
    with pytest.raises(DataError, match=r"5 usable components, got 6 asked for.*ask for at most 5 principal"):
        whiten(x, 6)
    with pytest.raises(DataError, match=r"5 usable components.*ask for at most 5 principal"):
        whiten(x, kind="zca")
    with pytest.raises(DataError, match="3 usable components, got 4 asked for: 9 entries in 4 samples"):
        whiten(normal(4, 9), 4)


def test_data_that_do_not_vary_are_refused():
    with pytest.raises(DataError, match="samples that are all alike"):
        whiten(torch.full((5, 3), 0.1))


@pytest.mark.parametrize("size", [1e160, 1e-170])
def test_squares_outside_float64_are_refused(size):
    x = normal(50, 3)
    with pytest.raises(DataError, match=r"have squares outside float64; divide the data by \d"):
        whiten(x.double() * size)
    kept = whiten(x.double() * 1e-140)
    torch.testing.assert_close(
        kept.apply(x.double() * 1e-140), whiten(x.double()).apply(x.double()), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(4, 2, dtype=torch.long), ShapeError, "floating tensor"),
        (torch.zeros(4, 2, 2), ShapeError, r"\(4, 2, 2\); flatten samples with x.flatten\(1\)"),
        (torch.zeros(0, 2), ShapeError, "floating tensor"),
        (torch.zeros(4, 0), ShapeError, "floating tensor"),
        (torch.zeros(1, 2), ShapeError, "at least two samples, got one"),
        ([[1.0, 2.0]], ShapeError, "got list"),
        (torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]), DataError, "finite data"),
        (torch.tensor([[1.0, 2.0], [float("inf"), 0.0]]), DataError, "finite data"),
    ],
)
def test_what_is_no_data_is_refused(x, error, message):
    with pytest.raises(error, match=message):
        whiten(x)


def test_counts_and_kinds_that_do_not_exist_are_refused():
    for count in (0, 4, 2.5):
        with pytest.raises(OptionError, match=f"an integer from 1 to 3 components for data of 3 entries, got {count}"):
            whiten(normal(9, 3), count)
    with pytest.raises(OptionError, match="zca keeps all 3 components, got components=2; use kind='pca'"):
        whiten(normal(9, 3), 2, kind="zca")
    with pytest.raises(OptionError, match="'pca', 'zca' or 'cholesky', got 'whiten'"):
        whiten(normal(9, 3), kind="whiten")


def test_no_samples_and_one_can_be_whitened_by_what_others_gave():
    whitening = whiten(normal(9, 3))
    assert isinstance(whitening, Whitening)
    assert whitening.apply(torch.zeros(0, 3)).shape == (0, 3)
    assert torch.allclose(whitening.apply(whitening.mean[None]), torch.zeros(1, 3, dtype=torch.float64))


def test_data_of_almost_lower_rank_come_out_white():
    of = torch.Generator().manual_seed(0)
    turns = [torch.linalg.qr(torch.randn(6, 6, generator=of, dtype=torch.float64)).Q for _ in range(2)]
    mixing = turns[0] * torch.logspace(0, -7.4, 6, dtype=torch.float64) @ turns[1]
    x = torch.randn(4000, 6, generator=of, dtype=torch.float64) @ mixing.T + 3
    z = whiten(x).apply(x)
    assert (torch.cov(z.T, correction=0) - torch.eye(z.shape[1])).abs().max() < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-8, 1e-6, 1e6, 1e8])
def test_a_column_in_another_unit_loses_no_direction(dtype, scale):
    x = (normal(4000, 4) @ normal(4, 4, seed=1) * torch.tensor([scale, 1, 1, 1], dtype=torch.float64)).to(dtype)
    whitening = whiten(x)
    assert whitening.rank == 4
    assert torch.allclose(covariance(whitening.apply(x.double())), eye(4), atol=1e-9)
    assert torch.allclose(whitening.forward @ whitening.backward, eye(4), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_a_column_in_another_unit_hides_no_dependence(scale):
    x = normal(500, 4)
    x[:, 3] = x[:, 1] + x[:, 2]
    x[:, 0] *= scale
    assert whiten(x).rank == 3


@pytest.mark.parametrize(("scale", "offset"), [(1e-8, 0.0), (1e8, 0.0), (1.0, 1e8)])
def test_units_and_offsets_leave_the_components_that_scikit_learn_finds(scale, offset):
    from sklearn.decomposition import FastICA
    from trimkit_ica.unmixing import fastica

    rng = np.random.default_rng(0)
    s = np.stack([rng.laplace(size=5000), rng.uniform(-1, 1, 5000), rng.exponential(size=5000)], 1)
    x = s @ rng.standard_normal((3, 3)) * [scale, 1, 1] + offset
    z = whiten(torch.from_numpy(x)).apply(torch.from_numpy(x))
    ours = (z @ fastica(z).matrix.T).numpy()
    theirs = FastICA(whiten="unit-variance", random_state=0, tol=1e-6, max_iter=500).fit_transform(x)
    alike = abs(np.corrcoef(ours.T, theirs.T)[:3, 3:])
    assert (alike.max(0) > 0.999).all()
    assert (alike.max(1) > 0.999).all()
    assert (abs(np.corrcoef(ours.T, s.T)[:3, 3:]).max(0) > 0.99).all()
