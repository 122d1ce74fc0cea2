"""What is shown beside the verdicts: shares of groups, chosen samples, reconstructions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimkit.audit.evidence import KEPT, choose_examples, examples, measure_bands, shares
from trimkit.coefficients.groups import Groups

HALVES = Groups(("left", "right"), torch.tensor([0, 0, 1, 1]), "side")


def explained(subject):
    return [subject.explain_all(batch) for batch in subject.batches()]


def test_shares_are_of_magnitudes_and_sum_to_one():
    scores = torch.tensor([[1.0, -1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert shares(HALVES, scores).tolist() == [[0.5, 0.5], [0.0, 0.0]]


def test_bands_hold_shares_signed_means_and_the_input(subject_of):
    subject = subject_of(transform="fft", samples=20)
    (batch,) = explained(subject)
    found = measure_bands(subject, batch)["a"]
    assert torch.allclose(found["share"].sum(1), torch.ones(20))
    assert torch.allclose(found["input"].sum(1), torch.ones(20))
    totals = subject.groups.sums(batch.explained["a"].scores)
    assert torch.allclose(found["mean"] * subject.groups.sizes.float(), totals, atol=1e-6)


def test_empty_groups_are_left_out(subject_of):
    subject = subject_of(transform="fft")
    whole, part = subject.transform.groups((1, 8, 8)), subject.groups
    assert "0.000–0.088" in whole.names  # no bin of an 8 × 8 picture lies there
    assert "0.000–0.088" not in part.names
    assert bool((part.sizes > 0).all())
    for name in part.names:
        assert torch.equal(part.mask(name), whole.mask(name))


def test_shown_samples_are_of_different_classes(subject_of):
    subject = subject_of(samples=60)
    chosen = choose_examples(subject, 3)
    classes = dict(zip(subject.ids, subject.seen.classes.tolist(), strict=True))
    assert {classes[i] for i in chosen} == {0, 1, 2}
    assert len(choose_examples(subject, 6)) == 6
    assert set(chosen) <= set(choose_examples(subject, 6))


def test_examples_show_the_sample_and_what_comes_back_from_its_largest_scores(subject_of, data):
    subject = subject_of(transform="dct", samples=20)
    (batch,) = explained(subject)
    (one,) = examples(subject, batch, [subject.ids[4]])["a"]
    assert one.id == subject.ids[4]
    assert torch.equal(one.x, data.x[one.id])
    assert one.label == data.classes[int(data.y[one.id])]
    scores = one.scores[0].abs()
    keep = scores >= scores.flatten().topk(round(KEPT * scores.numel())).values[-1]
    s = subject.transform(one.x[None])
    expected = subject.transform.inverse(torch.where(keep, s, torch.zeros_like(s)), one.x.shape)
    assert torch.allclose(one.kept, expected[0], atol=1e-6)


def test_pixel_maps_are_the_same_attribution_in_pixels(subject_of):
    in_fft, in_pixels = (subject_of(transform=name, samples=10) for name in ("fft", "identity"))
    (one,), (other,) = (examples(s, explained(s)[0], [s.ids[0]])["a"] for s in (in_fft, in_pixels))
    assert torch.allclose(one.pixels, other.scores[0], atol=1e-5)


def test_other_batches_show_nothing(subject_of):
    subject = subject_of(samples=10)
    (batch,) = explained(subject)
    assert examples(subject, batch, []) == {"a": []}


def test_evidence_is_json_with_intervals_around_the_value(report):
    bands = report.evidence["saliency"]["bands"]
    assert set(bands) == {"names", "axis", "sizes", "share", "mean", "input"}
    for name in ("share", "mean", "input"):
        value, low, high = (np.array(bands[name][key]) for key in ("value", "low", "high"))
        assert (low <= value + 1e-12).all()
        assert (value <= high + 1e-12).all()
    curves = report.evidence["saliency"]["controls"]
    assert curves["removed"][0] == 0.0
    assert curves["removed"][-1] == 1.0
    starts = [o["value"][0] for operator in curves["operators"].values() for o in operator.values()]
    assert starts == pytest.approx([starts[0]] * 9)  # nothing is removed yet
    for operator in curves["operators"].values():
        ends = [o["value"][-1] for o in operator.values()]
        assert ends == pytest.approx([ends[0]] * 3)  # everything is


def test_randomisation_evidence_counts_every_pair(report):
    found = report.evidence["saliency"]["randomisation"]
    assert sum(found["histograms"]["trained"]) == 64 * 8
    assert sum(found["histograms"]["null"]) == 64 * 28
    assert len(found["trained"]) == 8
    assert len(found["null"]) == 28
    excess = np.mean(found["trained"]) - np.mean(found["null"])
    assert found["excess"]["value"] == pytest.approx(excess)
