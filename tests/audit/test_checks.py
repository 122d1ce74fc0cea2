"""Each check concludes rightly from values that are known, and measures what it says."""

from __future__ import annotations

import copy

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


def one_verdict(report, check):
    return report.verdict(check)


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


class TwoLeaves(trimkit.Transform):
    """A tree of coefficients: the two halves of a picture by name."""

    def forward(self, x):
        left, right = x.chunk(2, dim=-1)
        return {"left": left, "right": right}

    def inverse(self, s, size=None):
        return torch.cat([s["left"], s["right"]], dim=-1)

    def groups(self, size):
        half = (*size[:-1], size[-1] // 2)
        return Groups(("left", "right"), {"left": torch.zeros(half).long(), "right": torch.ones(half).long()}, "side")


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


# reproducibility


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


# completeness


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


# reconstruction


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


# controls


def curves(scores, random, amplitude, n=60, noise=0.05):
    rng = np.random.default_rng(0)
    found = {}
    for operator, level in zip(("baseline", "marginal", "mean"), scores, strict=True):
        for name, value in (("scores", level), ("random", random), ("input-only", amplitude)):
            found[f"{operator}/{name}"] = np.full((n, 5), value) + noise * rng.normal(size=(n, 5))
    return found


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((0.2, 0.2, 0.2), Status.PASS), ((0.2, 0.2, 0.6), Status.WARN), ((0.6, 0.6, 0.6), Status.FAIL)],
)
def test_controls_count_the_operators_that_are_won(findings_of, scores, expected):
    verdict = Controls().conclude(findings_of(curves(scores, random=0.8, amplitude=0.5)))
    assert verdict.status is expected
    assert verdict.estimate.value == pytest.approx(0.5 - max(scores), abs=0.05)


def test_better_than_random_alone_is_not_enough(findings_of):
    verdict = Controls().conclude(findings_of(curves((0.3, 0.3, 0.3), random=0.8, amplitude=0.3, noise=0.0)))
    assert verdict.status is Status.FAIL
    assert "not shown against the input-only control" in verdict.sentence
    assert verdict.samples_needed is None


def test_comparisons_are_adjusted_together(findings_of):
    check, findings = Controls(), findings_of(curves((0.2, 0.2, 0.2), 0.8, 0.5))
    compared = check.compare(findings)
    assert len(compared) == 6
    smallest = 1 / (1 + len(findings.bootstrap.means(np.zeros(60))))
    assert all(c.p == pytest.approx(6 * smallest) for c in compared)


def test_planted_bands_beat_the_controls_and_edges_do_not(model, data, edges):
    right = run(model, data, "controls", attributions="integrated_gradients")
    assert right.status is Status.PASS
    assert right.settings["removal"].keys() == {"baseline", "marginal", "mean"}
    assert run(model, data, "controls", transform="identity", attributions=edges).status is Status.FAIL


def test_random_scores_fail(model, data, noise):
    assert run(model, data, "controls", transform="identity", attributions=noise).status is Status.FAIL


def test_one_group_leaves_nothing_to_order(model, data):
    verdict = run(model, data, "controls", transform=("identity", {"parts": 1}))
    assert verdict.status is Status.NOT_APPLICABLE
    assert "one group" in verdict.sentence


def test_trees_of_coefficients_are_audited(model, data):
    report = trimkit.audit(model, data, transform=TwoLeaves(), samples=80, forbid="left")
    assert {v.check for v in report.verdicts if v.status is Status.NOT_APPLICABLE} == set()
    assert report.verdict("completeness").status is Status.PASS


# randomisation


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
