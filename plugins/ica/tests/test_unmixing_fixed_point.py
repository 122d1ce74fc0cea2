"""FastICA: the known sources, scikit-learn's solution, batches as single fits, and the cases without a solution."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.decomposition
import torch
from trimkit_ica.unmixing import columns, fastica, fixed_point, match, orthogonalised, whiten

from trimkit.data.laws import random_rotation
from trimkit.errors import DataError, OptionError, ShapeError

from .draws import generator


def laplace(n, k, seed=0):
    u = torch.rand(n, k, dtype=torch.float64, generator=generator(seed)) - 0.5
    return -u.sign() * torch.log1p(-2 * u.abs())


def uniform(n, k, seed=0):
    return torch.rand(n, k, dtype=torch.float64, generator=generator(seed)) - 0.5


def gaussian(n, k, seed=0):
    return torch.randn(n, k, dtype=torch.float64, generator=generator(seed))


def mixed(n, k, seed=0):
    """Half super-, half sub-Gaussian sources."""
    return torch.cat([laplace(n, k // 2, seed), uniform(n, k - k // 2, seed + 1)], 1)


def white(s, seed=5):
    return whiten(s @ gaussian(s.shape[1], s.shape[1], seed).T).apply(s @ gaussian(s.shape[1], s.shape[1], seed).T)


def correlations(a, b):
    k = a.shape[1]
    return torch.from_numpy(np.corrcoef(a.numpy().T, b.numpy().T)[:k, k:])


def worst_match(a, b):
    """Least correlation of matched columns."""
    found = correlations(a, b).abs()
    return float(found[torch.arange(len(found)), match(found)].min())


@pytest.mark.parametrize("sources", [laplace, uniform, mixed])
def test_sources_are_found(sources):
    s = sources(10_000, 6)
    z = white(s)
    found = fastica(z, generator=generator())
    assert found.converged is True
    assert 2 < found.iterations < 50
    assert torch.allclose(found.matrix @ found.matrix.T, torch.eye(6, dtype=torch.float64), atol=1e-12)
    assert worst_match(z @ found.matrix.T, s) > 0.999


def test_the_solution_is_scikit_learns():
    z = white(mixed(3000, 5))
    start = random_rotation(5, generator(1))
    ours = fastica(z, start=start, tol=1e-12)
    theirs = sklearn.decomposition.FastICA(whiten=False, w_init=start.numpy(), tol=1e-12, max_iter=500).fit(z.numpy())
    assert ours.iterations == theirs.n_iter_
    assert np.allclose(ours.matrix, theirs.components_, atol=1e-10)


def test_the_solution_is_scikit_learns_from_data_on_up_to_order_and_sign():
    x = mixed(3000, 5) @ gaussian(5, 5, 3).T + 2
    options = {"whiten": "unit-variance", "whiten_solver": "eigh", "tol": 1e-10, "random_state": 0}
    theirs = torch.from_numpy(sklearn.decomposition.FastICA(**options).fit_transform(x.numpy()))
    z = whiten(x).apply(x)
    ours = z @ fastica(z, tol=1e-10).matrix.T
    found = correlations(ours, theirs)
    columns_ = match(found)
    signs = found[torch.arange(5), columns_].sign()
    assert torch.allclose(ours, theirs[:, columns_] * signs, atol=1e-5)  # unit variance with ddof 0 on both sides


def test_the_solution_is_a_fixed_point():
    z = white(laplace(2000, 4))
    q = fastica(z, tol=1e-14).matrix
    y = z @ q.T
    step = y.tanh().T @ z / len(z) - (1 - y.tanh().square()).mean(0)[:, None] * q  # the definition
    assert torch.allclose(
        torch.linalg.svd(step)[0] @ torch.linalg.svd(step)[2] @ q.T, torch.diag((step * q).sum(1).sign()), atol=1e-6
    )


def test_one_gaussian_source_is_allowed():
    s = torch.cat([laplace(10_000, 3), gaussian(10_000, 1, 8)], 1)
    found = fastica(white(s))
    assert found.converged
    assert worst_match(white(s) @ found.matrix.T, s) > 0.99


def test_gaussian_sources_often_do_not_converge_and_leave_the_others_right():
    problems = [torch.cat([laplace(2000, 2, seed), gaussian(2000, 3, seed + 50)], 1) for seed in range(10)]
    found = fastica(torch.stack([white(s) for s in problems]), max_iter=60)
    assert 2 <= int((~found.converged).sum()) <= 9
    assert (found.iterations[~found.converged] == 60).all()
    for s, matrix in zip(problems, found.matrix, strict=True):
        matches = correlations(white(s) @ matrix.T, s).abs().amax(0)
        assert matches[:2].min() > 0.98
    assert min(worst_match(white(s) @ m.T, s) for s, m in zip(problems, found.matrix, strict=True)) < 0.8  # chance


def test_a_batch_is_what_its_problems_are_alone():
    problems = [white(mixed(2000, 4, seed), seed) for seed in range(5)]
    starts = torch.stack([random_rotation(4, generator(seed)) for seed in range(5)])
    together = fastica(torch.stack(problems), start=starts, tol=1e-9)
    alone = [fastica(z, start=start, tol=1e-9) for z, start in zip(problems, starts, strict=True)]
    assert together.converged.all()
    assert together.iterations.tolist() == [fit.iterations for fit in alone]
    assert len(set(together.iterations.tolist())) > 1  # some were masked out before others
    assert torch.allclose(together.matrix, torch.stack([fit.matrix for fit in alone]), atol=1e-10)


def test_a_problem_that_does_not_converge_holds_no_other_up():
    batch = torch.stack([white(laplace(1000, 3)), white(gaussian(1000, 3))])
    found = fastica(batch, max_iter=12, tol=1e-9)
    assert found.converged.tolist() == [True, False]
    assert found.iterations[0] < found.iterations[1] == 12


def test_random_starts_of_a_batch_differ_and_come_from_the_generator():
    batch = white(laplace(1000, 3)).expand(2, -1, -1)
    first, again = (fastica(batch, generator=generator(4), max_iter=1).matrix for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first[0], first[1])
    assert torch.equal(fastica(batch, max_iter=1).matrix, fastica(batch, generator=generator(0), max_iter=1).matrix)


def test_pieces_do_not_change_the_result(monkeypatch):
    z = white(mixed(1001, 4))
    whole = fastica(z)
    monkeypatch.setattr(fixed_point, "CHUNK", 400)
    assert [piece.shape for piece in columns(z)][-1] == (4, 1)
    assert torch.allclose(torch.cat(columns(z), -1), z.T)
    assert torch.allclose(fastica(z).matrix, whole.matrix, atol=1e-10)


def test_sweeps_in_single_precision_end_in_double():
    z = white(mixed(5000, 6))
    narrow, wide = fastica(z, dtype=torch.float32, tol=1e-13), fastica(z, tol=1e-13)
    assert narrow.converged
    assert narrow.matrix.dtype == torch.float64
    assert torch.allclose((narrow.matrix @ wide.matrix.T).abs(), torch.eye(6, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(narrow.matrix @ narrow.matrix.T, torch.eye(6, dtype=torch.float64), atol=1e-12)


def test_single_precision_needs_hardly_more_sweeps_and_keeps_to_their_number():
    z = torch.stack([white(mixed(2000, 4, seed), seed) for seed in range(5)])
    narrow, wide = fastica(z, dtype=torch.float32), fastica(z)
    assert narrow.converged.all()
    assert (narrow.iterations - wide.iterations).abs().max() <= 3
    for most in (1, 2, 3, 5):
        assert (fastica(z, dtype=torch.float32, max_iter=most, tol=1e-12).iterations == most).all()
    assert not fastica(z, dtype=torch.float32, max_iter=3, tol=1e-12).converged.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_white_data_may_be_of_lower_precision(dtype):
    s = mixed(5000, 4)
    found = fastica(white(s).to(dtype))
    assert found.converged
    assert found.matrix.dtype == torch.float64
    assert worst_match(white(s) @ found.matrix.T, s) > 0.995


def test_badly_scaled_data_in_single_precision_are_unmixed():
    """Condition 5,000: a covariance in float32 would not let it converge (see `whiten`)."""
    s = laplace(8000, 16)
    left, _, right = torch.linalg.svd(gaussian(16, 16, 3))
    x = (s @ (left * torch.logspace(0, -math.log10(5e3), 16, dtype=torch.float64) @ right).T).float()
    z = whiten(x).apply(x)
    for dtype in (torch.float64, torch.float32):
        found = fastica(z, dtype=dtype)
        assert found.converged
        assert found.iterations < 20
        assert worst_match(z.double() @ found.matrix.T, s) > 0.995
    values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
    trapped = (x - x.mean(0)) @ vectors / values.abs().sqrt()
    with pytest.raises(DataError, match=r"entries that are .* off; whiten them with trimkit_ica.unmixing.whiten"):
        fastica(trapped)


def test_one_component_is_its_own_solution():
    found = fastica(white(laplace(100, 1)))
    assert (abs(float(found.matrix)), found.converged, found.iterations) == (pytest.approx(1), True, 1)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.zeros(5), r"got torch.float32 \(5,\)"),
        (torch.zeros(5, 2, dtype=torch.long), "got torch.int64"),
        (torch.zeros(0, 2), r"\(0, 2\)"),
        (np.zeros((5, 2)), "got ndarray"),
    ],
)
def test_what_is_no_data_is_refused(z, message):
    with pytest.raises(ShapeError, match=message):
        fastica(z)


def test_data_that_are_not_white_are_refused():
    z = white(laplace(500, 3))
    mixture = z @ gaussian(3, 3).T
    for wrong in (z + 0.1, z * 1.1, mixture, z.clone().fill_(float("nan")), torch.stack([z, mixture])):
        with pytest.raises(DataError, match="white data of mean 0 and covariance I"):
            fastica(wrong)


def test_settings_out_of_range_are_refused():
    z = white(laplace(500, 3))
    for settings in ({"tol": 0.0}, {"max_iter": 0}):
        with pytest.raises(OptionError, match="tol > 0 and max_iter ≥ 1"):
            fastica(z, **settings)
    with pytest.raises(OptionError, match=r"sweeps in torch\.float32 or torch\.float64, got torch\.float16"):
        fastica(z, dtype=torch.float16)
    with pytest.raises(ShapeError, match=r"a start of shape \(3, 3\), one for each problem, got \(2, 2\)"):
        fastica(z, start=torch.eye(2))


def test_a_start_that_is_no_rotation_is_made_one_and_data_stay_as_they_are():
    z, start = white(laplace(500, 3)), gaussian(3, 3)
    before, given = z.clone(), start.clone()
    found = fastica(z, start=start, max_iter=1)
    assert torch.allclose(found.matrix, fastica(z, start=orthogonalised(start), max_iter=1).matrix)
    assert torch.equal(z, before)
    assert torch.equal(start, given)


def test_the_nearest_orthogonal_matrix_is_that_of_the_definition():
    matrix = gaussian(4, 4)
    values, vectors = torch.linalg.eigh(matrix @ matrix.T)
    assert torch.allclose(orthogonalised(matrix), vectors / values.sqrt() @ vectors.T @ matrix)
    q = random_rotation(4, generator())
    assert torch.allclose(q @ q.T, torch.eye(4, dtype=torch.float64), atol=1e-14)


def test_random_rotations_are_uniform():
    """E[Q_ij⁴] = 3 / (k (k + 2)) and E[Q] = 0 under the Haar measure."""
    g = generator()
    drawn = torch.stack([random_rotation(3, g) for _ in range(4000)])
    assert torch.allclose(drawn.pow(4).mean(0), torch.full((3, 3), 3 / 15, dtype=torch.float64), atol=0.02)
    assert drawn.mean(0).abs().max() < 0.04


def test_a_fit_that_did_not_converge_says_so_in_its_result_without_a_warning():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = fastica(white(gaussian(300, 3)), tol=1e-12, max_iter=1)
    assert (found.converged, found.iterations, told) == (False, 1, [])
