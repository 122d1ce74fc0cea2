"""Each check concludes rightly from values that are known, and measures what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.checks.completeness import Completeness
from trimkit.audit.checks.controls import Controls
from trimkit.audit.checks.randomisation import Randomisation
from trimkit.audit.checks.reconstruction import Reconstruction
from trimkit.audit.checks.reproducibility import Reproducibility
from trimkit.coefficients.baseline import difference, product
from trimkit.coefficients.groups import Groups
from trimkit.errors import OptionError
from trimkit.report.verdicts import Status


def run(model, data, check, **options):
    plain = {"transform": "fft", "attributions": "input_x_gradient", "samples": 80, "batch_size": 40}
    return trimkit.audit(model, data, checks=[check], **{**plain, **options}).verdict(
        check if isinstance(check, str) else check.name
    )


class Halved(trimkit.Transform):
    """A lossy transform: keeps the left half of a picture."""

    exact = False

    def forward(self, x):
        return x[..., : x.shape[-1] // 2]

    def inverse(self, s, size=None):
        return nn.functional.pad(s, (0, s.shape[-1]))

    def groups(self, size):
        return Groups(
            ("top", "bottom"), (torch.arange(size[-2]) // 4)[:, None].expand(*size[:-1], size[-1] // 2), "row"
        )


class Unsteady(trimkit.Attribution):
    """Scores that differ from call to call although nothing random is declared."""

    def attribute(self, probe, s, baseline, generator):
        assert probe.output is not None
        return torch.rand_like(s)


class Shared(trimkit.Attribution):
    """Scores of a sample that depend on its batch."""

    def attribute(self, probe, s, baseline, generator):
        scores = product(probe.gradient(), difference(s, baseline))
        return scores - scores.mean(0, keepdim=True)


class Draws(trimkit.Attribution):
    """The gradient times the input plus noise of a given size."""

    stochastic = True

    def __init__(self, noise):
        self.noise = noise

    def attribute(self, probe, s, baseline, generator):
        scores = product(probe.gradient(), difference(s, baseline))
        return scores + self.noise * scores.std() * torch.randn(s.shape, generator=generator)


def test_deterministic_attributions_are_reproducible(model, data):
    verdict = run(model, data, "reproducibility")
    assert verdict.status is Status.PASS
    assert verdict.estimate.value == 1.0
    assert verdict.n == 32


def test_undeclared_randomness_fails(model, data):
    verdict = run(model, data, "reproducibility", transform="identity", attributions=Unsteady())
    assert verdict.status is Status.FAIL
    assert "100 % of the samples get other scores" in verdict.sentence


def test_scores_that_depend_on_the_batch_fail(model, data):
    verdict = run(model, data, "reproducibility", transform="identity", attributions=Shared())
    assert verdict.status is Status.FAIL
    assert "share its batch" in verdict.sentence


@pytest.mark.parametrize(("noise", "expected"), [(0.01, Status.PASS), (2.0, Status.FAIL)])
def test_stochastic_attributions_are_judged_by_their_ranking(model, data, noise, expected):
    verdict = run(model, data, "reproducibility", transform="identity", attributions=Draws(noise))
    assert verdict.status is expected
    assert verdict.threshold == 0.9


@pytest.mark.parametrize(("gap", "expected"), [(0.01, Status.PASS), (0.2, Status.FAIL)], ids=["small gap", "large gap"])
def test_completeness_is_the_95th_percentile(findings_of, gap, expected):
    values = np.random.default_rng(0).uniform(0.5, 1.0, size=200) * gap
    verdict = Completeness().conclude(findings_of({"gap": values, "steps": np.full(200, 32.0)}))
    assert verdict.status is expected
    assert verdict.estimate.value == pytest.approx(np.quantile(values, 0.95))


def test_a_few_outliers_are_allowed_and_many_are_not(findings_of):
    few, many = np.zeros(400), np.zeros(400)
    few[:4], many[:60] = 1.0, 1.0
    assert Completeness().conclude(findings_of({"gap": few})).status is Status.PASS
    assert Completeness().conclude(findings_of({"gap": many})).status is Status.FAIL


def test_an_undecided_percentile_asks_for_samples(findings_of):
    verdict = Completeness().conclude(findings_of({"gap": np.linspace(0, 0.055, 100)}))
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.samples_needed
    assert f"{verdict.samples_needed} more samples would probably decide" in verdict.sentence


def test_too_few_samples_are_said_to_be_too_few(findings_of):
    verdict = Completeness().conclude(findings_of({"gap": np.zeros(70)}))
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.samples_needed == 2
    assert "70 samples are too few" in verdict.sentence


@pytest.fixture(scope="module")
def kinked():
    """A network with many kinks, for which few quadrature nodes are not enough."""
    source = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source))
    return model


def test_steps_are_raised_until_the_sum_is_right(kinked, data):
    attribution = ("integrated_gradients", {"n_steps": 2})
    report = trimkit.audit(kinked, data, attributions=[attribution], checks=["completeness"], samples=120)
    verdict, steps = report.verdict("completeness"), report.evidence["integrated_gradients"]["completeness"]["steps"]
    assert verdict.status is Status.PASS
    assert max(map(int, steps)) > 2
    assert "samples needed more than the 2 steps asked for, up to" in verdict.sentence


def test_steps_end_at_the_limit(kinked, data):
    check = Completeness(tolerance=1e-7, most_steps=8)
    verdict = run(kinked, data, check, attributions=[("integrated_gradients", {"n_steps": 4})], samples=100)
    assert verdict.status is Status.FAIL
    assert "up to 8" in verdict.sentence


def test_raised_steps_reach_the_other_checks(kinked, data):
    attribution = ("integrated_gradients", {"n_steps": 1})
    options = {"attributions": [attribution], "samples": 80, "target": 0}
    raised = trimkit.audit(kinked, data, checks=["completeness", "controls"], **options)
    plain = trimkit.audit(kinked, data, checks=["controls"], **options)
    bands = [r.evidence["integrated_gradients"]["bands"]["mean"]["value"] for r in (raised, plain)]
    assert not np.allclose(*bands, rtol=1e-3)


def test_attributions_that_make_no_claim_are_not_judged_by_it(model, data):
    verdict = run(model, data, "completeness", attributions="saliency")
    assert verdict.status is Status.NOT_APPLICABLE
    assert verdict.estimate is None


@pytest.mark.parametrize("transform", ["identity", "fft", "dct", "frequency_bands"])
def test_exact_transforms_give_the_data_back(model, data, transform):
    verdict = run(model, data, "reconstruction", transform=transform)
    assert verdict.status is Status.PASS
    assert verdict.attribution == ""
    assert verdict.estimate.value < 1e-5


def test_a_lossy_transform_shows_what_its_residual_carries(model, data):
    verdict = run(model, data, "reconstruction", transform=Halved())
    assert verdict.status is Status.WARN
    assert "the residual" in verdict.sentence
    assert "Claims about them are claims about the rest only" in verdict.sentence


def test_a_residual_that_the_model_ignores_passes(data):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    with torch.no_grad():
        model[1].weight.unflatten(1, (8, 8))[..., 4:] = 0  # the right half plays no part
    assert run(model, data, "reconstruction", transform=Halved()).status is Status.PASS


def test_a_transform_that_wrongly_claims_to_be_exact_fails(model, data):
    transform = Halved()
    transform.exact = True
    verdict = run(model, data, "reconstruction", transform=transform)
    assert verdict.status is Status.FAIL
    assert "claims to be exact" in verdict.sentence


@pytest.mark.parametrize(
    "make",
    [
        lambda: Completeness(tolerance=0),
        lambda: Controls(alpha=1.5),
        lambda: Controls(orders=0),
        lambda: Randomisation(copies=1),
        lambda: Reproducibility(seeds=1),
    ],
)
def test_options_out_of_range_are_refused(make):
    with pytest.raises(OptionError, match="expected"):
        make()


def test_thresholds_are_saved_with_the_verdict(model, data):
    verdict = run(model, data, "reconstruction", thresholds={"reconstruction.tolerance": 1e-3})
    assert verdict.threshold == 1e-3
    assert verdict.settings["tolerance"] == 1e-3
    assert Reconstruction().options == {"tolerance": 1e-4, "share": 0.2}
