"""The parts of the KL, each by itself: Gaussians in closed form, finite mixtures by brute force, limits."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import (
    Delta,
    DiagonalGaussian,
    Estimator,
    decompose_kl,
    gaussian_decomposition,
    mixture_weights,
    own_rows,
    summarise_kl,
)
from trimkit.processes import Share, sharing

from .draws import generator

ESTIMATORS = get_args(Estimator)
NORMALISED = [name for name in ESTIMATORS if name != "mws"]
COVARIANCE = torch.tensor([[0.75, 0.5], [0.5, 0.75]], dtype=torch.float64)


def posteriors(n: int, dimensions: int, seed: int = 0) -> DiagonalGaussian:
    draw = generator(seed)
    mean, log_variance = (torch.randn(n, dimensions, generator=draw, dtype=torch.float64) for _ in range(2))
    return DiagonalGaussian(mean, log_variance - 1)


def means(parts) -> tuple[float, float, float]:
    found = (parts.mutual_information, parts.total_correlation, parts.dimension_wise_kl)
    return tuple(float(part.detach().mean()) for part in found)


def correlated(n: int, variance: float, draw: torch.Generator) -> DiagonalGaussian:
    factor = torch.linalg.cholesky(COVARIANCE)
    mean = torch.randn(n, 2, generator=draw, dtype=torch.float64) @ factor.T
    return DiagonalGaussian(mean, torch.full_like(mean, variance).log())


def test_the_closed_form_is_that_of_the_gaussians_themselves():
    """KL(N(0, S) ‖ N(0, diag S)) and the rest by torch.distributions."""
    s = COVARIANCE + 0.25 * torch.eye(2, dtype=torch.float64)
    joint = distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), s)
    product = distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.diag(s.diagonal()))
    prior = distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    parts = gaussian_decomposition(COVARIANCE, 0.25)
    torch.testing.assert_close(parts.total_correlation, distributions.kl_divergence(joint, product))
    torch.testing.assert_close(parts.dimension_wise_kl, distributions.kl_divergence(product, prior))
    noise = math.log(2 * math.pi * math.e * 0.25)  # entropy of N(0, ¼ I) in two dimensions
    assert float(parts.mutual_information) == pytest.approx(float(joint.entropy()) - noise)


def test_the_closed_form_takes_a_variance_a_dimension():
    parts = gaussian_decomposition(torch.diag(torch.tensor([3.0, 0.5])), torch.tensor([1.0, 0.5]))
    assert float(parts.mutual_information) == pytest.approx(0.5 * (math.log(4) + math.log(2)))
    assert float(parts.total_correlation) == pytest.approx(0, abs=1e-6)
    assert float(parts.dimension_wise_kl) == pytest.approx(0.5 * (3 - math.log(4)))


@pytest.mark.parametrize("estimator", ["symmetric", "mss", "batch"])
def test_gaussians_of_two_dimensions_within_two_hundredths_of_a_nat(estimator):
    """1.2425 / .1438 / 0 for the covariance above, as in every batch of 1024 in the mean."""
    draw, sums = generator(), torch.zeros(3, dtype=torch.float64)
    for _ in range(6):
        q = correlated(1024, 0.25, draw)
        sums += torch.tensor(means(decompose_kl(q.rsample(draw), q, estimator=estimator, dataset_size=737_280)))
    information, correlation, marginals = (sums / 6).tolist()
    assert information == pytest.approx(1.2425, abs=0.02)
    assert correlation == pytest.approx(0.1438, abs=0.02)
    assert marginals == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("estimator", ["symmetric", "batch"])
def test_the_whole_data_set_is_a_mixture_by_brute_force(estimator):
    """q(z) = 1/N Σ_j q(z|x_j) by torch.distributions, joint and marginals, for each sample."""
    q = posteriors(7, 3)
    z = q.rsample(generator(1))
    parts = decompose_kl(z, q, estimator=estimator, dataset_size=7)
    each = distributions.Normal(q.mean, (q.log_variance / 2).exp())
    densities = each.log_prob(z[:, None]).exp()  # (7 codes, 7 posteriors, 3)
    joint = densities.prod(2).mean(1).log()
    marginals = densities.mean(1).log().sum(1)
    prior = distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(parts.mutual_information, each.log_prob(z).sum(1) - joint)
    torch.testing.assert_close(parts.total_correlation, joint - marginals)
    torch.testing.assert_close(parts.dimension_wise_kl, marginals - prior)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_is_its_weighted_mixture(estimator):
    """log Σ_j W_ij Π_d and Σ_d log Σ_j W_ij: the weight enters the joint once and the marginals D times."""
    q = posteriors(6, 4)
    z = q.rsample(generator(1))
    parts = decompose_kl(z, q, estimator=estimator, dataset_size=50)
    weights = mixture_weights(torch.arange(6), 6, estimator, 50)
    densities = distributions.Normal(q.mean, (q.log_variance / 2).exp()).log_prob(z[:, None]).exp()
    joint = (weights * densities.prod(2)).sum(1).log()
    marginals = (weights[:, :, None] * densities).sum(1).log().sum(1)
    torch.testing.assert_close(parts.total_correlation, joint - marginals)
    torch.testing.assert_close(parts.mutual_information, q.log_prob(z) - joint)


@settings(deadline=None)
@given(st.integers(2, 9), st.integers(0, 200), st.sampled_from(NORMALISED))
def test_weights_of_a_row_sum_to_one(batch, more, estimator):
    weights = mixture_weights(torch.arange(batch), batch, estimator, batch + more)
    torch.testing.assert_close(weights.sum(1), torch.ones(batch, dtype=torch.float64))
    assert float(weights.min()) >= 0


@pytest.mark.parametrize(("batch", "size"), [(4, 4), (4, 100), (64, 737_280)])
def test_the_stratified_weights_are_those_of_the_paper(batch, size):
    """Own posterior 1/N, the others (N − 1)/(N M) in the mean, for both forms; symmetric: each of them."""
    others = batch - 1
    off = ~torch.eye(batch, dtype=torch.bool)
    for estimator in ("mss", "symmetric"):
        weights = mixture_weights(torch.arange(batch), batch, estimator, size)
        torch.testing.assert_close(weights.diagonal(), torch.full((batch,), 1 / size, dtype=torch.float64))
        assert float(weights[off].mean()) == pytest.approx((size - 1) / (size * others))
    stratified = mixture_weights(torch.arange(batch), batch, "mss", size)
    assert stratified[batch - 1, 0] == pytest.approx((size - others) / (size * others))
    assert int((stratified == 1 / others).sum()) == batch * (batch - 2) + (batch if size == others else 0)


def test_rows_may_be_a_share_of_the_batch():
    """Several processes: rows of one process against the columns of all."""
    whole = mixture_weights(torch.arange(6), 6, "mss", 40)
    torch.testing.assert_close(mixture_weights(torch.tensor([3, 4, 5]), 6, "mss", 40), whole[3:])
    assert own_rows(torch.zeros(5, 2)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("estimator", NORMALISED)
def test_posteriors_equal_to_the_prior_have_nothing_in_any_part(estimator):
    q = DiagonalGaussian(torch.zeros(9, 4, dtype=torch.float64), torch.zeros(9, 4, dtype=torch.float64))
    parts = decompose_kl(q.rsample(generator()), q, estimator=estimator, dataset_size=1000)
    for part in (parts.mutual_information, parts.total_correlation, parts.dimension_wise_kl):
        torch.testing.assert_close(part, torch.zeros_like(part), atol=1e-12, rtol=0)


def test_a_copied_dimension_is_total_correlation_that_grows_as_the_noise_falls():
    """Against permuted columns of the same codes, which have none."""
    found = []
    for variance in (0.5, 0.1, 0.02):
        draw = generator()
        first = torch.randn(1000, 1, generator=draw, dtype=torch.float64)
        mean = first.expand(-1, 2)
        q = DiagonalGaussian(mean, torch.full_like(mean, variance).log())
        found.append(means(decompose_kl(q.rsample(draw), q, dataset_size=1000))[1])
        truth = gaussian_decomposition(torch.ones(2, 2, dtype=torch.float64), variance).total_correlation
        assert found[-1] == pytest.approx(float(truth), abs=0.1)
    assert 0.1 < found[0] < found[1] < found[2]
    shuffled = DiagonalGaussian(torch.cat([first, first[torch.randperm(1000, generator=draw)]], 1), q.log_variance)
    assert abs(means(decompose_kl(shuffled.rsample(draw), shuffled, dataset_size=1000))[1]) < 0.2


def test_mws_is_the_batch_mean_shifted_by_what_the_docstring_says_and_has_its_gradient():
    q = posteriors(5, 3)
    leaves = [q.mean.requires_grad_(), q.log_variance.requires_grad_()]
    z = q.rsample(generator(1))
    batch, offset = (decompose_kl(z, q, estimator=name, dataset_size=90) for name in ("batch", "mws"))
    log_size = math.log(90)
    torch.testing.assert_close(offset.mutual_information, batch.mutual_information + log_size)
    torch.testing.assert_close(offset.total_correlation, batch.total_correlation + 2 * log_size)
    torch.testing.assert_close(offset.dimension_wise_kl, batch.dimension_wise_kl - 3 * log_size)
    for part in ("mutual_information", "total_correlation", "dimension_wise_kl"):
        gradients = [
            torch.autograd.grad(getattr(parts, part).mean(), leaves, retain_graph=True) for parts in (batch, offset)
        ]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_those_of_finite_differences(estimator):
    draw = generator()
    inputs = [torch.randn(3, 2, generator=draw, dtype=torch.float64, requires_grad=True) for _ in range(3)]

    def parts(z, mean, log_variance):
        found = decompose_kl(z, DiagonalGaussian(mean, log_variance), estimator=estimator, dataset_size=20)
        return found.mutual_information, found.total_correlation, found.dimension_wise_kl

    assert torch.autograd.gradcheck(parts, inputs)


def test_codes_far_apart_stay_finite():
    """A sum of densities would underflow to log 0."""
    mean = torch.tensor([[0.0, 0.0], [1e3, -1e3], [-1e3, 1e3]], requires_grad=True)
    q = DiagonalGaussian(mean, torch.full((3, 2), -8.0))
    for estimator in ("symmetric", "mss", "batch"):
        parts = decompose_kl(q.rsample(generator()), q, estimator=estimator, dataset_size=100)
        assert all(map(math.isfinite, means(parts)))
        (gradient,) = torch.autograd.grad(parts.total_correlation.mean(), mean)
        assert bool(torch.isfinite(gradient).all())


def test_bfloat16_codes_are_widened():
    q = posteriors(16, 4)
    half = DiagonalGaussian(q.mean.bfloat16(), q.log_variance.bfloat16())
    z = q.rsample(generator(1)).bfloat16()
    exact = DiagonalGaussian(half.mean.float(), half.log_variance.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = decompose_kl(z, half, dataset_size=100)
    wanted = decompose_kl(z.float(), exact, dataset_size=100)
    assert found.total_correlation.dtype == torch.float32
    torch.testing.assert_close(found.total_correlation, wanted.total_correlation)
    torch.testing.assert_close(found.mutual_information, wanted.mutual_information)


@pytest.mark.parametrize("estimator", ["symmetric", "mss", "batch", "leave-one-out"])
def test_the_summary_is_the_decomposition_in_pieces_and_says_how_it_was_estimated(estimator, monkeypatch):
    from trimkit.methods import decomposition

    monkeypatch.setattr(decomposition, "PAIRS", 90)  # three rows at a time
    q = posteriors(10, 3)
    wanted = decompose_kl(q.rsample(generator(4)), q, estimator=estimator, dataset_size=30)
    halves = [DiagonalGaussian(q.mean[part], q.log_variance[part]) for part in (slice(4), slice(4, None))]
    found = summarise_kl(halves, generator(4), estimator=estimator, dataset_size=30)
    assert (found["mi"], found["tc"], found["dwkl"]) == pytest.approx(means(wanted))
    assert (found["estimator"], found["posteriors"], found["dataset_size"]) == (estimator, 10, 30)


def test_there_is_no_summary_of_points_of_codes_with_axes_or_of_one_sample():
    q = posteriors(4, 2)
    assert summarise_kl([Delta(q.mean)], dataset_size=4) == {}
    assert summarise_kl([q, Delta(q.mean)], dataset_size=8) == {}
    assert summarise_kl([DiagonalGaussian(q.mean[:, None], q.log_variance[:, None])], dataset_size=4) == {}
    assert summarise_kl([posteriors(1, 2)], dataset_size=1) == {}
    assert summarise_kl([], dataset_size=1) == {}


def test_what_cannot_be_estimated_is_refused():
    q = posteriors(4, 2)
    z = q.mean
    for estimator in ("symmetric", "mss", "mws"):
        with pytest.raises(OptionError, match=f"estimator '{estimator}' needs dataset_size"):
            decompose_kl(z, q, estimator=estimator)
    with pytest.raises(OptionError, match=r"expected dataset_size ≥ 4, the size of the batch, got 3"):
        decompose_kl(z, q, dataset_size=3)
    with pytest.raises(OptionError, match=r"no estimator 'symetric'. Did you mean 'symmetric'"):
        decompose_kl(z, q, estimator="symetric", dataset_size=9)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"one code \(N, D\) a posterior, \(4, 2\), got \(4, 1\)"):
        decompose_kl(z[:, :1], q, dataset_size=9)
    with pytest.raises(ShapeError, match="'leave-one-out' compares each sample with others: expected at least 2"):
        decompose_kl(z[:1], posteriors(1, 2), estimator="leave-one-out")


def test_on_several_processes_a_share_is_compared_with_the_posteriors_of_all(monkeypatch):
    """As rank 1 of 2: its rows of the decomposition are those of one process with the whole batch."""
    from trimkit.methods import decomposition

    q = posteriors(8, 3)
    z = q.rsample(generator(1))
    wanted = decompose_kl(z, q, estimator="mss", dataset_size=40).total_correlation[4:]
    others = iter([q.mean[:4], q.log_variance[:4], torch.zeros(4)])  # what rank 0 gathers, in the order of the calls
    monkeypatch.setattr(decomposition, "gather", lambda rows: torch.cat([next(others).to(rows), rows]))
    share = DiagonalGaussian(q.mean[4:], q.log_variance[4:])
    with sharing(Share(1, 2, 4, processes=2)):
        found = decompose_kl(z[4:], share, estimator="mss", dataset_size=40).total_correlation
    torch.testing.assert_close(found, wanted)
