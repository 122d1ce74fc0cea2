"""Growing looks: their sizes, the error rate that they keep by simulation, and when they stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.looks import FIRST_LOOK, MOST_LOOKS, look_sizes
from trimkit.audit.statistics import Resampling, fewest_samples, poisson_weights


@pytest.mark.parametrize("total", [1, 128, 129, 500, 5000, 10**8])
def test_looks_grow_to_all_samples_and_are_few(total):
    sizes = look_sizes(total)
    assert sizes[-1] == total
    assert sizes == sorted(set(sizes))
    assert len(sizes) <= MOST_LOOKS
    assert sizes[0] == min(total, FIRST_LOOK)


def test_the_first_look_can_decide_a_percentile():
    assert fewest_samples(0.95, 1 / MOST_LOOKS) <= FIRST_LOOK


def decided(means, sizes, tails):
    """Per experiment: did the interval of any look leave zero out?"""
    any_look = np.zeros(means[sizes[0]].shape[1], bool)
    for size in sizes:
        low, high = np.quantile(means[size], tails, axis=0)
        any_look |= (low > 0) | (high < 0)
    return any_look


def test_looks_together_keep_the_error_rate_that_naive_looks_break():
    sizes, experiments = look_sizes(1024), 400
    weights = poisson_weights(0, range(1024), 2000).T.astype(float)
    values = np.random.default_rng(0).normal(size=(1024, experiments))  # on the threshold: any decision is wrong
    means = {n: weights[:, :n] @ values[:n] / weights[:, :n].sum(1, keepdims=True) for n in sizes}
    shared = decided(means, sizes, Resampling(1, 1 / len(sizes)).tails).mean()
    naive = decided(means, sizes, Resampling(1).tails).mean()
    assert shared <= 0.06
    assert naive > 0.08


OPTIONS = {"checks": ["completeness", "reconstruction"], "transform": "fft", "samples": None, "until_decided": True}


@pytest.fixture(scope="module")
def large():
    from tests.audit.conftest import planted_data

    return planted_data(1000)


def test_clear_verdicts_stop_at_the_first_look(model, large):
    report = trimkit.audit(model, large, **OPTIONS)
    audited = report.provenance["audited"]
    assert audited["n"] == 128
    assert audited["looks"] == {"sizes": [128, 256, 512, 1000], "taken": 1, "level": pytest.approx(1 - 0.05 / 4)}
    assert {v.n for v in report.verdicts} == {128}
    assert str(report.verdict("completeness").status) == "PASS"


def test_a_verdict_on_its_threshold_takes_all_samples(model, large):
    plain = trimkit.audit(model, large, checks=["reconstruction"], transform="fft", samples=None)
    edge = {"reconstruction.tolerance": plain.verdict("reconstruction").estimate.value}
    report = trimkit.audit(model, large, **{**OPTIONS, "checks": ["reconstruction"], "thresholds": edge})
    assert report.provenance["audited"]["n"] == 1000
    assert report.provenance["audited"]["looks"]["taken"] == 4
    assert str(report.verdict("reconstruction").status) == "INCONCLUSIVE"


def test_the_looks_see_the_samples_of_an_audit_of_their_size(model, large):
    looked = trimkit.audit(model, large, **OPTIONS)
    fixed = trimkit.audit(model, large, **{**OPTIONS, "samples": 128, "until_decided": False})
    assert looked.paired["accuracy"]["ids"] == fixed.paired["accuracy"]["ids"]
    assert (
        looked.paired["completeness: gap [integrated_gradients]"]["ids"]
        == (fixed.paired["completeness: gap [integrated_gradients]"]["ids"])
    )
    assert looked.verdict("reconstruction").estimate.value == pytest.approx(
        fixed.verdict("reconstruction").estimate.value, rel=1e-3
    )


def test_a_check_that_would_use_no_more_samples_is_not_waited_for(large):
    torch.manual_seed(0)
    untrained = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    options = {**OPTIONS, "checks": [("randomisation", {"samples": 64, "margin": 1e-9})]}
    assert trimkit.audit(untrained, large, **options).provenance["audited"]["n"] == 128
