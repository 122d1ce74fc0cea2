"""The self-test's further explanations are as right or as wrong as they say, in closed form."""

import pytest
import torch

import trimkit
from trimkit.audit.selftest.explanations import closed_forms
from trimkit.audit.selftest.models import cases
from trimkit.audit.selftest.outcomes import OVERALL, tables
from trimkit.audit.selftest.runner import judged_truth
from trimkit.report.verdicts import Status

CASES = {case.name: case for case in cases()}


def scores(case, n=64):
    """Kind → its truth and scores; the exact contributions and the data."""
    model, x = case.model(0), case.data(0, n)
    got = {}
    for one in closed_forms(case, 0):
        source = torch.Generator().manual_seed(0)
        made = trimkit.Trim(model, "identity", one)(x, None, baseline=case.baseline, generator=source)
        got[one.kind] = one.truth, made.scores
    return got, case.right(model, x), x


@pytest.fixture(scope="module")
def linear():
    return scores(CASES["one layer"])


def test_further_wrong_explanations_are_what_they_say(linear):
    got, exact, x = linear
    assert not got["zero"][1].any()
    assert (got["constant"][1] == 1).all()
    assert torch.equal(got["largest input"][1].argmax(1), x.abs().argmax(1))
    assert (got["largest input"][1].sum(1) == 1).all()
    assert (got["another sample's"][1] == got["another sample's"][1][:1]).all()
    ratio = got["rescaled"][1] / exact
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4)
    assert ratio.max() > 5 > ratio.min() >= 1


def test_noise_is_as_large_as_it_says_and_the_same_again(linear):
    got, exact, _ = linear
    for kind, size in (("drowned in noise", 3.0), ("right, a tenth of noise", 0.1)):
        noise = got[kind][1] - exact
        assert (noise.std() / exact.std(1).mean()).item() == pytest.approx(size, rel=0.1)
        assert torch.equal(got[kind][1], scores(CASES["one layer"])[0][kind][1])


def test_steps_are_sixteen(linear):
    got, exact, _ = linear
    steps = got["right, in 16 steps"][1] / exact.abs().amax(1, keepdim=True) * 8
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert steps.abs().max() == 8


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("pertinent negatives", "uninformative")])
def test_truth_by_rank_is_the_truth_that_is_said(name):
    got, exact, _ = scores(CASES[name])
    by_rank = {kind: judged_truth(made, exact) for kind, (_, made) in got.items()}
    for kind in ("zero", "constant", "largest input", "another sample's", "drowned in noise"):
        assert got[kind][0] == by_rank[kind] == "wrong"
    for kind in ("right, a tenth of noise", "right, in 16 steps"):
        assert got[kind][0] == by_rank[kind] == "right"


def test_verdicts_on_a_linear_layer():
    result = trimkit.audit.selftest((), seeds=1, first_seed=1, models=["one layer"])
    for kind in ("zero", "constant", "largest input", "another sample's", "rescaled", "drowned in noise"):
        assert result.missed(subject=kind, check=OVERALL).count == 0, kind
    for kind in ("right", "right, a tenth of noise", "right, in 16 steps"):
        assert result.counts(subject=kind, check="controls")[Status.PASS] == 1, kind
        assert result.false_alarms(subject=kind).count == 0, kind
    overall = {row[0]: row[1:] for row in tables(result)[1][2]}
    assert overall["right, in 16 steps"][-1].startswith("0/1")
