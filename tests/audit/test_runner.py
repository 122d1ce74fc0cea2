"""The audit as a whole: independent of the batch, neutral to the model, plain about what it does not know."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit import Check, Status
from trimkit.audit.batch import blocks_of
from trimkit.audit.checks.base import describe
from trimkit.audit.options import make_checks, named
from trimkit.audit.run import Part, Run
from trimkit.errors import AttributionError, DataError, ModelError, OptionError, TransformError, UnknownNameError
from trimkit.predictor import state_hash
from trimkit.report.sections import Text


def columns(subject):
    run = Run(subject, make_checks(None, {}))
    run.prepare()
    run.measure(blocks_of(subject.ids, subject.batch_size))
    return {(*key, name): column for key, state in run.part.states.items() for name, column in state.finalise().items()}


@pytest.mark.parametrize("size", [16, 1])
def test_values_do_not_depend_on_the_batch_size(subject_of, conv, size):
    common = {"module": conv, "transform": "fft", "samples": 48}
    whole, parts = (columns(subject_of(batch_size=n, **common)) for n in (64, size))
    assert whole.keys() == parts.keys()
    for name, column in whole.items():
        assert column.ids == parts[name].ids
        for one, other in ((column.rows, parts[name].rows), (column.value, parts[name].value)):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3, err_msg=str(name))


def test_draws_of_a_stochastic_attribution_do_not_depend_on_the_batch(subject_of, noise):
    whole, parts = (columns(subject_of(attribution=noise, samples=24, batch_size=n)) for n in (24, 5))
    assert np.array_equal(whole["bands", "a", "mean"].rows, parts["bands", "a", "mean"].rows)


@pytest.mark.parametrize("count", [2, 3])
def test_shards_that_are_merged_give_the_same_bits(subject_of, conv, count):
    subject = subject_of(module=conv, transform="fft", samples=80, batch_size=16)
    run = Run(subject, make_checks(None, {}))
    run.prepare()
    run.measure(blocks_of(subject.ids, 16))
    whole, merged = run.part, Part()
    for number in reversed(range(1, count + 1)):
        run.part = Part()
        run.measure(blocks_of(subject.ids, 16, (number, count)))
        merged.merge(run.part)
    assert merged.states.keys() == whole.states.keys()
    assert merged.forwards == whole.forwards
    for key, state in whole.states.items():
        one, other = state.finalise(), merged.states[key].finalise()
        assert one.keys() == other.keys()
        for name, column in one.items():
            for part in ("value", "draws", "rows"):
                pair = getattr(column, part), getattr(other[name], part)
                assert np.array_equal(*pair, equal_nan=True), (key, name, part)


def test_audits_repeat_bit_for_bit(model, data):
    first, second = (json.loads(trimkit.audit(model, data, transform="dct", samples=80).to_json()) for _ in range(2))
    assert first["verdicts"] == second["verdicts"]
    assert first["evidence"] == second["evidence"]


def test_another_seed_takes_other_samples(subject_of):
    assert subject_of(samples=20, seed=0).ids != subject_of(samples=20, seed=1).ids
    assert subject_of(samples=1000).ids == list(range(160))


def test_the_caller_finds_everything_as_it_was(conv, data):
    model = nn.Sequential(conv, nn.Linear(3, 3)).eval().requires_grad_(False)
    model[1].weight.requires_grad_(True).grad = torch.ones(3, 3)
    before, state, x = state_hash(model), torch.random.get_rng_state(), data.x.clone()
    trimkit.audit(model, (x, data.y), transform="fft", samples=20, target="label")
    assert state_hash(model) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(x, data.x)
    assert torch.equal(model[1].weight.grad, torch.ones(3, 3))
    assert [p.requires_grad for p in model.parameters()] == [False] * 6 + [True, False]
    assert not any(part.training or part._forward_hooks for part in model.modules())


def test_every_attribution_gets_its_verdicts(report):
    assert report.labels == ("integrated_gradients", "saliency")
    checks = {(v.check, v.attribution) for v in report.verdicts}
    assert ("controls", "saliency") in checks
    assert ("reconstruction", "") in checks
    assert len(checks) == 9 + 2  # of the explanations, and of the model beside each
    assert report.verdict("completeness", "saliency").status is Status.NOT_APPLICABLE
    with pytest.raises(LookupError, match="got 2"):
        report.verdict("controls")


def test_a_faithful_explanation_passes_and_is_found_in_the_planted_band(model, data):
    copies = {"randomisation.copies": 32}  # 40 coefficients of a linear model: few random models leave it open
    report = trimkit.audit(model, data, transform="fft", samples=128, thresholds=copies)
    assert report.overall is Status.PASS, [v.sentence for v in report.verdicts]
    assert report.exit_code == 0
    bands = report.evidence["integrated_gradients"]["bands"]
    where = bands["names"].index("0.354–0.442")
    assert int(np.argmax(bands["share"]["value"])) == where
    assert bands["share"]["low"][where] > bands["input"]["high"][where]


def test_an_explanation_that_ignores_the_model_fails(model, data, edges, noise):
    for attribution in (edges, noise):
        report = trimkit.audit(model, data, attributions=attribution, samples=80)
        assert report.overall is Status.FAIL
        assert report.exit_code == 1


@pytest.mark.parametrize("target", ["label", 1, lambda out: out[:, 0] - out[:, 1]])
def test_all_targets(model, data, target):
    report = trimkit.audit(model, data, target=target, samples=80, checks=["completeness", "controls"])
    assert report.verdict("completeness").status is Status.PASS


def test_regression_and_one_dimensional_data():
    model = nn.Sequential(nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 1)).eval()
    report = trimkit.audit(model, torch.randn(90, 12), transform="fft")
    assert report.verdict("completeness").status is Status.PASS
    assert report.examples["integrated_gradients"][0].predicted == ""
    assert "<svg" in report.to_html()


def test_a_bare_function_is_audited_except_for_its_weights(data):
    report = trimkit.audit(lambda x: x.flatten(1)[:, :3], data, samples=80)
    assert report.verdict("randomisation").status is Status.NOT_APPLICABLE
    assert report.provenance["model"]["sha256"] is None


def test_a_frozen_predictor_is_audited_like_its_model(model, data):
    plain, frozen = (trimkit.audit(m, data, samples=40) for m in (model, trimkit.FrozenPredictor(model)))
    assert [v.status for v in plain.verdicts] == [v.status for v in frozen.verdicts]
    assert plain.provenance["model"]["sha256"] == frozen.provenance["model"]["sha256"]


def test_double_models_get_double_data(model, data):
    double = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double().eval()
    assert trimkit.audit(double, data, samples=40, checks=["reconstruction"]).overall is Status.PASS


def test_progress_counts_samples(model, data):
    seen = []
    trimkit.audit(
        model, data, samples=50, batch_size=20, checks=["reconstruction"], progress=lambda *at: seen.append(at)
    )
    assert seen == [(20, 50), (40, 50), (50, 50)]


def test_forwards_are_counted(model, data):
    report = trimkit.audit(model, data, samples=32, attributions="saliency", checks=["reproducibility"])
    assert report.verdict("reproducibility").forwards == 3 * 32


def test_provenance_names_everything(report, model, data):
    found = report.provenance
    assert found["model"]["sha256"] == state_hash(model)
    assert found["data"]["sha256"] == data.sha256
    assert found["data"]["class_counts"] == data.class_counts
    assert found["checks"]["completeness"]["tolerance"] == 0.05
    assert {"trimkit", "torch", "captum", "python"} <= found["versions"].keys()
    assert any(p["distribution"] == "trimkit" for p in found["plugins"])
    assert found["transform"] == describe(report.transform) == "FFT(dims=None, bands=8)"
    json.dumps(found, allow_nan=False)


def test_labels_of_attributions():
    found = named(["saliency", ("saliency", {"absolute": False}), trimkit.create("attribution", "saliency")])
    assert list(found) == ["saliency", "saliency 2", "Saliency"]
    assert list(named("saliency")) == ["saliency"]
    assert list(named(("integrated_gradients", {"n_steps": 4}))) == ["integrated_gradients"]
    with pytest.raises(OptionError, match="at least one attribution; there are"):
        named([])


def test_a_strangers_check_is_one_more_verdict(model, data):
    class Brightness(Check):
        name, question = "brightness", "Are the samples bright?"

        def measure(self, subject, batch, labels):
            return {label: {"mean": batch.x.flatten(1).mean(1)} for label in labels}

        def sections(self, findings):
            return [Text("Brightness of samples", paragraphs=(f"{len(findings.ids)} samples measured.",))]

        def conclude(self, findings):
            estimate = findings.bootstrap.estimate(findings.values["mean"])
            return self.verdict(findings, Status.WARN, "Neither.", estimate, ("≥", 0.0))

    report = trimkit.audit(model, data, checks=[Brightness(), "reconstruction"], samples=40)
    assert report.verdict("brightness").estimate.value == pytest.approx(float(report_mean(data, 40)), abs=1e-6)
    assert report.overall is Status.WARN
    page = report.to_html()
    assert "Brightness of samples" in page
    assert "40 samples measured." in page


def report_mean(data, n):
    from trimkit.audit.statistics import choose

    return data.x[choose(len(data), n, 0)].mean()


class Wrong(trimkit.Attribution):
    """Scores that are not finite."""

    def attribute(self, probe, s, baseline, generator):
        assert probe.output is not None
        return s / 0


class Shaky(trimkit.transforms.Identity):
    """Coefficients with noise."""

    def forward(self, x):
        return x + torch.rand_like(x)


@pytest.mark.filterwarnings("ignore:expected finite numbers")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"transform": "fourier"}, UnknownNameError, "no transform 'fourier'"),
        ({"attributions": ["integrated_gradient"]}, UnknownNameError, "Did you mean 'integrated_gradients'"),
        ({"checks": ["controlls"]}, UnknownNameError, "Did you mean 'controls'"),
        ({"checks": []}, OptionError, "at least one check"),
        ({"thresholds": {"tolerance": 1}}, OptionError, "as 'check.option'"),
        ({"thresholds": {"completness.tolerance": 1}}, OptionError, "Did you mean 'completeness'"),
        ({"thresholds": {"completeness.tolerence": 1}}, OptionError, "tolerance"),
        ({"reference": torch.rand(4, 3)}, DataError, r"reference samples of shape \(1, 8, 8\)"),
        ({"attributions": Wrong()}, AttributionError, r"Wrong: the scores of sample \d+ hold NaN or infinity"),
        ({"transform": Shaky()}, TransformError, "random coefficients"),
        ({"transform": ("fft", {"dims": 4})}, OptionError, "expected dims 1, 2 or 3"),
        ({"target": "label", "data": torch.rand(4, 1, 8, 8)}, DataError, "has none; use target='predicted'"),
    ],
)
def test_what_does_not_fit_is_refused(model, data, options, error, message):
    with pytest.raises(error, match=message):
        trimkit.audit(model, **{"data": data, "samples": 16, **options})


def test_outputs_that_break_late_are_named(data):
    broken = data.x.clone()
    broken[7] = 1e30

    class Overflowing(nn.Module):
        def forward(self, x):
            return (x.flatten(1)[:, :3] ** 2) ** 2

    with pytest.raises(ModelError, match="output for sample 7 is NaN or infinite"):
        trimkit.audit(Overflowing().eval(), broken, samples=160)


def test_a_named_transform_that_learns_from_data_is_fitted_first():
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)).eval()
    x = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    report = trimkit.audit(model, x, transform=("pca", {"components": 6}), samples=80, checks=["reconstruction"])
    assert str(report.verdict("reconstruction").status) == "PASS"
    unfitted = trimkit.create("transform", "pca")
    with pytest.raises(TransformError, match="fit"):
        trimkit.audit(model, x, transform=unfitted, samples=80, checks=["reconstruction"])
