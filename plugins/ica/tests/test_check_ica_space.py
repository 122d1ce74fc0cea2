"""check_ica on the space of the data, on stability and on what cannot be used."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from trimkit_ica.assumptions import space
from trimkit_ica.assumptions.fitted import Limits, _require_spread, as_rows
from trimkit_ica.assumptions.stability import gaussian_null, refit, similarities

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.arrays import halves
from trimkit.metrics.bootstrap import generator
from trimkit.metrics.independence import check_ica
from trimkit.report.verdicts import Status

from .known_mixtures import draws, fitted, laplace, mixed


class TestSpace:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_rank_deficient_data_say_so_whatever_their_precision(self, dtype):
        of = fitted(torch.tensor(mixed(laplace(4000), 4), dtype=dtype))
        verdict = space.rank(of)
        assert (verdict.status, verdict.estimate.value, verdict.threshold) == (Status.WARN, 3, 4)
        assert "3 independent directions" in verdict.sentence
        assert of.components == 3

    def test_a_constant_variable_is_named(self):
        x = np.column_stack([mixed(laplace(2000, 2)), np.full(2000, 7.0)])
        assert "1 of them constant" in space.rank(fitted(x)).sentence

    def test_rows_below_variables_bound_the_rank(self):
        verdict = space.rank(fitted(laplace(80, 50), 2))
        assert verdict.estimate.value == 39
        assert "40 rows show 39 directions at most" in verdict.sentence

    def test_too_few_components_leave_variance_out(self):
        of = fitted(laplace(4000), 2)
        verdict = space.residual(of)
        assert verdict.status is Status.FAIL
        assert verdict.estimate.value == pytest.approx(1 / 3, abs=0.03)
        assert verdict.estimate.low < verdict.estimate.value < verdict.estimate.high
        assert "3 would leave out at most 10 %" in verdict.sentence
        assert space.gap(of).status is Status.WARN

    def test_a_clear_cut_passes(self):
        of = fitted(laplace(4000) * [3, 2, 0.1], 2)
        assert space.gap(of).status is Status.PASS
        assert space.gap(of).estimate.low > 100
        assert space.residual(of).estimate.value == pytest.approx(0.01 / 13.01, rel=0.3)

    def test_the_error_of_the_gap_is_that_of_fresh_samples(self):
        """The first-order error of log(λ₁ / λ₂) beside its spread over 200 samples with λ = 4 and 1."""
        ratios, errors = [], []
        for seed in range(200):
            white = laplace(400, 2, seed=seed) * [2, 1]
            values = np.sort(np.linalg.eigvalsh(np.cov(white.T, ddof=0)))[::-1]
            of = SimpleNamespace(
                components=1, rank=2, eigenvalues=values, white=(white - white.mean(0)) / np.sqrt(values), fit=white,
                test=white, seed=0, settings=dict, in_all=lambda rows, of: rows,
            )  # fmt: skip
            found = space.gap(of).estimate
            ratios.append(math.log(found.value))
            errors.append(math.log(found.high / found.value) / 1.96)
        assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.15)

    def test_bad_conditioning_warns(self):
        verdict = space.conditioning(fitted(laplace(4000, 2) * [1, 1e-5]))
        assert verdict.status is Status.WARN
        assert verdict.estimate.value == pytest.approx(1e10, rel=0.2)

    def test_too_few_rows_warn_and_say_how_many_are_missing(self):
        verdict = space.sample_size(fitted(laplace(200, 5)))
        assert (verdict.status, verdict.threshold, verdict.samples_needed) == (Status.WARN, 125, 50)
        assert "50 more samples" in verdict.sentence

    def test_what_does_not_converge_warns(self):
        verdict = space.convergence(replace(fitted(laplace(200, 2)), converged=False, iterations=500))
        assert verdict.status is Status.WARN
        assert "did not converge in 500 iterations" in verdict.sentence

    def test_limits_are_the_users(self):
        strict = fitted(laplace(400, 2), limits=Limits(condition=1.0001))
        assert space.conditioning(strict).status is Status.WARN
        assert space.conditioning(strict).threshold == 1.0001

    def test_many_variables_take_as_many_components_as_rows_allow(self):
        assert fitted(laplace(160, 20)).components == 4
        assert fitted(laplace(160, 16)).components == 16
        assert fitted(laplace(3000, 20)).components == 16


class TestStability:
    def test_the_null_of_noise_does_not_depend_on_the_rows(self):
        assert gaussian_null(250, 5, 0) == pytest.approx(gaussian_null(2000, 5, 0), abs=0.03)

    def test_a_component_of_noise_seldom_exceeds_the_null(self):
        """Fresh pairs of Gaussian components, each with as many fits: about one of twenty exceeds it."""
        null, above = gaussian_null(1000, 5, 0), 0
        for seed in range(20):
            z = torch.from_numpy(draws(100 + seed).normal(size=(1000, 2)))
            fits = refit(z, 6, torch.Generator().manual_seed(seed))
            above += float(similarities(fits[0] / fits[0].norm(dim=1, keepdim=True), fits[1:]).mean(0).max()) > null
        assert above <= 4

    def test_similarities_ignore_order_sign_and_scale(self):
        reference = torch.linalg.qr(torch.from_numpy(draws(0).normal(size=(3, 3))))[0]
        shuffled = reference[[2, 0, 1]] * torch.tensor([[-2.0], [1.0], [0.5]])
        assert similarities(reference, shuffled[None]) == pytest.approx(np.ones((1, 3)))


class TestRefusals:
    @pytest.mark.parametrize(
        ("x", "error", "told"),
        [
            (np.ones((90, 3)), DataError, "all 90 rows are the same"),
            (laplace(90, 1), ShapeError, "at least two variables"),
            (laplace(1, 3), DataError, "at least 80 samples, got 1"),
            (np.zeros((0, 3)), DataError, "at least 80 samples, got 0"),
            (np.where(np.arange(270).reshape(90, 3) == 4, np.nan, 1.0), DataError, "NaN or infinity"),
            (np.full((90, 2), np.inf), DataError, "NaN or infinity"),
            (np.column_stack([np.arange(90.0), 2 * np.arange(90.0)]), DataError, "got rank 1"),
            (laplace(90, 2).astype(complex), ShapeError, "real numbers"),
            ([["a", "b"]] * 90, ShapeError, "real numbers"),
        ],
    )
    def test_data_that_cannot_be_unmixed(self, x, error, told):
        with pytest.raises(error, match=told):
            check_ica(x)

    @pytest.mark.parametrize(
        ("options", "error", "told"),
        [
            ({"components": 1}, OptionError, "at least 2, got 1"),
            ({"components": 4}, DataError, "at most 3, the rank of x, got 4"),
            ({"samples": 10}, OptionError, "at least 80"),
            ({"bootstraps": 1}, OptionError, "at least 2, got 1"),
            ({"seed": -1}, OptionError, "≥ 0"),
        ],
    )
    def test_options_out_of_range(self, options, error, told):
        with pytest.raises(error, match=told):
            check_ica(laplace(100), **options)

    @pytest.mark.parametrize("others", [1, 2])
    def test_a_component_that_rests_on_one_row(self, others):
        """A variable that changes in one row only: gone in the half without that row, and in many a resample."""
        x = np.column_stack([laplace(400, others), np.zeros(400)])
        x[halves(400, 0.5, generator(0, "halves")).train[0], -1] = 1.0
        with pytest.raises(DataError, match="rests on a few rows alone"):
            check_ica(x)

    def test_a_component_that_is_constant_where_it_is_tested(self):
        with pytest.raises(DataError, match="component 2 is constant on the rows that the fit did not see"):
            _require_spread(np.column_stack([laplace(50, 1), np.zeros(50)]))

    @pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "many"])
    def test_limits_must_be_positive_numbers(self, value):
        with pytest.raises(OptionError, match="condition"):
            Limits(condition=value)

    def test_no_more_rows_than_asked_for_are_taken(self):
        rows, shape, _ = as_rows(laplace(500, 6).reshape(500, 2, 3), 100, 0)
        assert (rows.shape, shape) == ((100, 6), (2, 3))
