"""The check controls: do scores find what the model uses better than random and input-only ones do?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trimkit
from trimkit.audit.checks.controls import Controls
from trimkit.coefficients.groups import Groups
from trimkit.report.verdicts import Status


def run(model, data, check, **options):
    plain = {"transform": "fft", "attributions": "input_x_gradient", "samples": 80, "batch_size": 40}
    return trimkit.audit(model, data, checks=[check], **{**plain, **options}).verdict(
        check if isinstance(check, str) else check.name
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
