"""The check randomisation: do scores depend on what the model has learned?"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.checks.randomisation import Randomisation
from trimkit.report.verdicts import Status


def run(model, data, check, **options):
    plain = {"transform": "fft", "attributions": "input_x_gradient", "samples": 80, "batch_size": 40}
    return trimkit.audit(model, data, checks=[check], **{**plain, **options}).verdict(
        check if isinstance(check, str) else check.name
    )


def correlations(trained, null, n=64):
    rng = np.random.default_rng(0)
    spread = 0.05 * rng.normal(size=(n, 1))
    return {
        "trained": np.full((n, 3), trained) + spread,
        "null": np.full((n, 3), null) + 0.05 * rng.normal(size=(n, 1)),
        "input": np.full(n, 0.2),
    }


@pytest.mark.parametrize(
    ("trained", "null", "expected"),
    [
        (0.02, 0.03, Status.PASS),
        (0.12, 0.05, Status.PASS),  # above the null, but by less than the margin
        (0.4, 0.05, Status.FAIL),
        (0.15, 0.05, Status.INCONCLUSIVE),  # the interval contains the margin
        (0.85, 0.84, Status.INCONCLUSIVE),  # saturated
        (0.95, 0.6, Status.FAIL),  # saturated, and far above all the same
    ],
)
def test_the_excess_over_the_null_decides(findings_of, trained, null, expected):
    verdict = Randomisation().conclude(findings_of(correlations(trained, null)))
    assert verdict.status is expected
    assert ("Saturated" in verdict.sentence) == ((trained, null) == (0.85, 0.84))


def test_maps_that_no_weight_changes_fail(findings_of):
    values = {"trained": np.ones((40, 3)), "null": np.ones((40, 3)), "input": np.ones(40)}
    verdict = Randomisation().conclude(findings_of(values))
    assert verdict.status is Status.FAIL
    assert "the same whatever the model's weights" in verdict.sentence


def test_an_untrained_model_never_fails_for_want_of_copies():
    for seed in range(1, 6):
        torch.manual_seed(seed)
        for features in (6, 10):
            model, x = nn.Linear(features, 3).eval(), torch.randn(100, features)
            verdict = run(model, x, "randomisation", transform="identity", seed=seed)
            assert verdict.status in (Status.INCONCLUSIVE, Status.PASS)
            assert (features < 8) == ("too few to rank" in verdict.sentence)


def open_correlations(noise, n=64, copies=4):
    """An excess of 0.08, whose copies differ by so much."""
    rng = np.random.default_rng(0)
    off = np.array([-1.0, 1.0, -1.0, 1.0])[:copies] * noise
    values = 0.08 + off + (0 if noise else 0.15 * rng.normal(size=(n, 1)))
    return {"trained": values * np.ones((n, 1)), "null": np.zeros((n, 6)), "input": np.zeros(n)}


def test_more_samples_are_promised_only_where_they_would_decide(findings_of):
    of_copies = Randomisation(samples=None).conclude(findings_of(open_correlations(0.1)))
    assert of_copies.status is Status.INCONCLUSIVE
    assert of_copies.samples_needed is None
    assert "More samples would not decide, since 4 random copies differ" in of_copies.sentence
    assert "randomisation.copies=" in of_copies.sentence
    of_samples = Randomisation(samples=64).conclude(findings_of(open_correlations(0.0)))
    assert of_samples.status is Status.INCONCLUSIVE
    assert f"{of_samples.samples_needed} more samples would probably decide" in of_samples.sentence
    assert f"randomisation.samples={64 + of_samples.samples_needed}" in of_samples.sentence


@pytest.mark.parametrize("n", [1, 5, 19])
@pytest.mark.parametrize("check", ["controls", "randomisation", "reproducibility", "reconstruction"])
def test_few_samples_decide_nothing(model, data, check, n):
    verdict = run(model, data, check, samples=n)
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.samples_needed == 20 - n
    assert f"{n} sample{' is' if n == 1 else 's are'} too few" in verdict.sentence
    assert verdict.estimate.high == np.inf


@pytest.mark.parametrize(
    ("check", "status"), [("controls", Status.INCONCLUSIVE), ("randomisation", Status.NOT_APPLICABLE)]
)
def test_a_dead_model_cannot_be_asked_and_does_not_pass(model, data, check, status):
    dead = copy.deepcopy(model)
    nn.init.zeros_(dead[1].weight)
    verdict = run(dead, data, check)
    assert verdict.status is status
    assert "none of these coefficients" in verdict.sentence or "All scores are zero" in verdict.sentence


@pytest.mark.parametrize("options", [{}, {"blind": 2.0}])
def test_a_map_of_edges_never_passes(model, data, edges, options):
    verdict = run(model, data, Randomisation(**options), transform="identity", attributions=edges)
    assert verdict.status is (Status.INCONCLUSIVE if options else Status.FAIL)
    assert trimkit.audit(model, data, attributions=edges, samples=80).overall is Status.FAIL


def test_gradients_of_a_trained_model_depend_on_it(model, data):
    verdict = run(model, data, "randomisation", thresholds={"randomisation.copies": 32})
    assert verdict.status is Status.PASS
    assert verdict.n == 64
    assert verdict.forwards == 32 * 64


def test_models_with_bare_parameters_are_judged(data):
    planted = nn.Parameter(torch.rand(64, 3, generator=torch.Generator().manual_seed(0)))

    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = planted

        def forward(self, x):
            return x.flatten(1) @ self.matrix

    unlabelled = type(data)("unlabelled", data.x)
    verdict = run(Bare().eval(), unlabelled, "randomisation", thresholds={"randomisation.copies": 32})
    assert verdict.status is Status.PASS


def test_models_that_cannot_be_drawn_anew_are_not_judged(data):
    verdict = run(lambda x: x.flatten(1)[:, :3], data, "randomisation")
    assert verdict.status is Status.NOT_APPLICABLE
    assert "a bare function" in verdict.sentence


def test_scores_of_a_model_at_chance_depend_on_nothing_learned(model, data):
    shuffled = type(data)("shuffled", data.x, data.y.roll(1), "test", data.classes)
    verdict = run(model, shuffled, "randomisation")
    assert verdict.status is Status.INCONCLUSIVE
    assert "at chance" in verdict.sentence
