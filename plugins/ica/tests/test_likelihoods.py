"""Picard-O and Infomax: losses and gradients by their definitions, solutions by python-picard."""

from __future__ import annotations

import math

import numpy as np
import picard as oracle
import pytest
import torch
from trimkit_ica.infomax import Unconstrained, infomax
from trimkit_ica.moments import moments
from trimkit_ica.picard import Rotated, picard
from trimkit_ica.quasi_newton import Memory, adapted_signs, minimise
from trimkit_ica.unmixing import columns, match, whiten

from trimkit.data.laws import random_rotation
from trimkit.metrics.independence import amari_distance
from trimkit.metrics.independence.log_cosh import log_cosh

from .draws import generator


def white(x: torch.Tensor) -> torch.Tensor:
    return whiten(x).apply(x)


def of_oracle(x: torch.Tensor, *, ortho: bool, extended: bool = True) -> torch.Tensor:
    """W (k, k) on data x of python-picard's solution."""
    start = random_rotation(x.shape[1], generator()).numpy()
    options = {"ortho": ortho, "extended": extended, "w_init": start, "tol": 1e-9, "max_iter": 500, "whiten": True}
    whitening, unmixing, _ = oracle.picard(x.T.numpy().copy(), **options)
    return torch.from_numpy(unmixing @ whitening)


def aligned(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Rows of b in the order and with the signs of those of a."""
    similarity = a @ torch.linalg.pinv(b)
    order = match(similarity)
    return b[order] * similarity[torch.arange(len(a)), order].sign()[:, None]


def test_moments_are_means_over_all_pieces():
    z, w = torch.randn(1000, 3, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    y = z @ w.T
    found = moments([piece.contiguous() for piece in z.T.split(300, 1)], w)
    assert torch.allclose(found.log_cosh, log_cosh(y).mean(0))
    assert torch.allclose(found.products, y.tanh().T @ y / 1000)
    assert torch.allclose(found.slope, 1 - y.tanh().square().mean(0))


def test_moments_of_values_far_out_and_at_0():
    found = moments([torch.tensor([[0.0, -800.0, 800.0]], dtype=torch.float64)], torch.eye(1, dtype=torch.float64))
    assert float(found.log_cosh) == pytest.approx((800 - math.log(2)) * 2 / 3)
    assert (float(found.products), float(found.slope)) == (pytest.approx(1600 / 3), pytest.approx(1 / 3))


def test_signs_tell_super_from_sub_gaussian(mixture):
    z = mixture("mixed", k=4).sources
    found = Rotated(torch.eye(4, dtype=torch.float64), columns(white(z) @ torch.linalg.inv(whiten(z).forward).T))
    assert found.signs.tolist() == [1, 1, -1, -1]
    assert adapted_signs(torch.tensor([0.0, -0.1])).tolist() == [1, -1]


@pytest.mark.parametrize("signs", [(1.0, 1.0, 1.0), (1.0, -1.0, -1.0)])
def test_the_gradient_over_rotations_is_the_losss(mixture, signs):
    z, q = white(mixture(k=3).x), random_rotation(3, generator())
    sign, point = torch.tensor(signs, dtype=torch.float64), Rotated(q, columns(z))
    step = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    value = (sign * log_cosh(z @ (torch.linalg.matrix_exp(step - step.T) @ q).T).mean(0)).sum()
    assert point.loss(sign) == pytest.approx(float(value.detach()))
    (expected,) = torch.autograd.grad(value, step)  # of D = A − Aᵀ, which counts each entry twice
    assert torch.allclose(2 * point.gradient(sign), expected, atol=1e-12)
    step = step.detach() + torch.randn(3, 3, dtype=torch.float64)
    moved = point.moved(step - step.T)
    assert torch.allclose(moved.matrix @ moved.matrix.T, torch.eye(3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("extended", [True, False])
def test_the_gradient_over_all_matrices_is_the_losss(mixture, extended):
    z, w = white(mixture(k=3).x), torch.randn(3, 3, dtype=torch.float64)
    sign, point = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64), Unconstrained(w, columns(z), extended)
    step = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    matrix = w + step @ w
    y = z @ matrix.T
    energies = sign * log_cosh(y) + (y.square() / 2 if extended else 0)
    value = energies.mean(0).sum() - torch.linalg.slogdet(matrix).logabsdet
    assert point.loss(sign) == pytest.approx(float(value.detach()))
    (expected,) = torch.autograd.grad(value, step)
    assert torch.allclose(point.gradient(sign), expected, atol=1e-12)


def test_preconditioners_are_positive_definite(mixture):
    z = white(mixture(k=3).x)
    for point in (
        Rotated(random_rotation(3, generator()), columns(z)),
        Unconstrained(torch.randn(3, 3, dtype=torch.float64), columns(z), True),
    ):
        basis = torch.eye(9, dtype=torch.float64).view(9, 3, 3)
        matrix = torch.stack([point.precondition(direction).flatten() for direction in basis])
        assert torch.allclose(matrix, matrix.T, atol=1e-12)
        assert torch.linalg.eigvalsh(matrix)[0] > 0


def test_the_preconditioner_over_all_matrices_is_newtons_for_independent_components(mixture):
    s = mixture("laplace", n=200_000, k=2).sources
    point = Unconstrained(torch.eye(2, dtype=torch.float64), columns(white(s)), True)
    step = torch.zeros(4, dtype=torch.float64)
    z = white(s)

    def loss(step: torch.Tensor) -> torch.Tensor:
        matrix = torch.eye(2, dtype=torch.float64) + step.view(2, 2)
        y = z @ matrix.T
        return (log_cosh(y) + y.square() / 2).mean(0).sum() - torch.linalg.slogdet(matrix).logabsdet

    hessian = torch.autograd.functional.hessian(loss, step)
    off = torch.tensor([1, 2])  # off the diagonal the approximation is exact, but for the sample
    inverse = torch.stack([point.precondition(e.view(2, 2)).flatten() for e in torch.eye(4).double()])
    product = (inverse @ hessian)[off][:, off]
    assert torch.allclose(product, torch.eye(2, dtype=torch.float64), atol=0.2)


@pytest.mark.parametrize("kind", ["laplace", "uniform", "mixed"])
def test_picard_finds_the_oracles_rotation(mixture, kind):
    x, _, mixing = mixture(kind)
    whitening = whiten(x)
    found = picard(whitening.apply(x), random_rotation(4, generator()), tol=1e-9)
    assert found.converged
    ours, theirs = found.matrix @ whitening.forward, of_oracle(x, ortho=True)
    assert torch.allclose(ours, aligned(ours, theirs), atol=1e-6)
    assert amari_distance(ours, mixing) < 0.03


@pytest.mark.parametrize("kind", ["laplace", "uniform", "mixed"])
def test_infomax_finds_the_oracles_matrix_and_likelihood(mixture, kind):
    x, _, mixing = mixture(kind)
    whitening = whiten(x)
    z = whitening.apply(x)
    found, _ = infomax(z, random_rotation(4, generator()), tol=1e-9)
    assert found.converged
    ours, theirs = found.matrix @ whitening.forward, of_oracle(x, ortho=False)
    assert torch.allclose(ours, aligned(ours, theirs), atol=1e-6)
    points = [Unconstrained(w @ whitening.backward, columns(z), True) for w in (ours, theirs)]
    assert points[0].loss(points[0].signs) == pytest.approx(points[1].loss(points[1].signs), abs=1e-10)
    assert amari_distance(ours, mixing) < 0.03


def test_plain_infomax_is_the_oracles_on_super_gaussian_sources(mixture):
    x, _, _ = mixture("laplace")
    whitening = whiten(x)
    found, excess = infomax(whitening.apply(x), random_rotation(4, generator()), extended=False, tol=1e-9)
    ours, theirs = found.matrix @ whitening.forward, of_oracle(x, ortho=False, extended=False)
    assert torch.allclose(ours, aligned(ours, theirs), atol=1e-6)
    assert (excess > 0).all()


def test_plain_infomax_is_wrong_on_sub_gaussian_sources_and_its_excess_tells(mixture):
    x, _, mixing = mixture("uniform", k=6)
    whitening = whiten(x)
    found, excess = infomax(whitening.apply(x), random_rotation(6, generator()), extended=False)
    assert amari_distance(found.matrix @ whitening.forward, mixing) > 0.2
    assert (excess < 0).any()


def test_likelihood_may_leave_components_correlated(mixture):
    z = white(mixture("laplace", n=500).x)
    free, _ = infomax(z, random_rotation(4, generator()))
    scaled = free.matrix / free.matrix.norm(dim=1, keepdim=True)
    assert (scaled @ scaled.T - torch.eye(4, dtype=torch.float64)).abs().max() > 1e-3


def test_steps_are_counted_and_their_number_is_kept_to(mixture):
    z, start = white(mixture().x), random_rotation(4, generator(1))
    found = minimise(Rotated(start, columns(z)), 1e-10, 2)
    assert (found.converged, found.iterations) == (False, 2)
    solution = minimise(Rotated(start, columns(z)), 1e-7, 100)
    again = minimise(Rotated(solution.matrix, columns(z)), 1e-7, 0)
    assert (again.converged, again.iterations) == (True, 0)


def test_a_tolerance_below_rounding_ends_without_convergence(mixture):
    found = picard(white(mixture(n=300).x), random_rotation(4, generator()), tol=1e-30, max_iter=100)
    assert not found.converged
    point = Rotated(found.matrix, columns(white(mixture(n=300).x)))
    assert point.gradient(point.signs).abs().max() < 1e-7


def test_gaussian_sources_do_not_break_the_search(mixture):
    z = white(mixture("gaussian", n=2000).x)
    for found in (picard(z, random_rotation(4, generator())), infomax(z, random_rotation(4, generator()))[0]):
        assert torch.isfinite(found.matrix).all()
        assert abs(float(torch.linalg.slogdet(found.matrix).logabsdet)) < 2


def test_the_memory_inverts_a_quadratic_form():
    """After steps that span the space, the estimate is the exact inverse on all that was seen."""
    root = torch.randn(4, 4, dtype=torch.float64)
    form = root @ root.T + torch.eye(4, dtype=torch.float64)
    memory = Memory()
    conjugate = torch.linalg.eigh(form).eigenvectors.T
    for step in conjugate:
        memory.add(step.view(2, 2), (form @ step).view(2, 2))
    direction = torch.randn(2, 2, dtype=torch.float64)
    expected = torch.linalg.solve(form, direction.flatten()).view(2, 2)
    assert torch.allclose(memory.times(direction, lambda d: d), expected)


def test_the_memory_forgets_and_takes_no_negative_curvature():
    memory, direction = Memory(), torch.ones(2, 2, dtype=torch.float64)
    memory.add(direction, -direction)
    assert torch.equal(memory.times(direction, lambda d: 3 * d), 3 * direction)
    for scale in range(1, 20):
        memory.add(direction, scale * direction)
    assert np.allclose(memory.times(direction, lambda d: 3 * d), direction / 19)
