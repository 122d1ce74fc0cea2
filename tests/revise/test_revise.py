"""A revision finds or takes what is forbidden, corrects a copy of the model, and says what changed."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

import trimkit
from trimkit.errors import DataError, ModelError, OptionError
from trimkit.revise import CORRECTIONS, Projected
from trimkit.revise.corrections import Task, classification_loss

SHORTCUT = 5
"""The feature that gives the label away in training, and is random in the test data."""


def tables(seed: int = 0) -> tuple[trimkit.data.Dataset, trimkit.data.Dataset]:
    """Six features, of which the first carries the label with noise, and the last gives it away in training only."""
    rng = torch.Generator().manual_seed(seed)

    def table(split: str, n: int) -> trimkit.data.Dataset:
        y = torch.randint(2, (n,), generator=rng)
        x = torch.randn(n, 6, generator=rng)
        x[:, 0] += 2.0 * (2 * y - 1)
        clue = y if split == "train" else torch.randint(2, (n,), generator=rng)
        x[:, SHORTCUT] = 2.0 * (2 * clue - 1) + 0.1 * x[:, SHORTCUT]
        return trimkit.data.Dataset("table", x, y, split, ("no", "yes"), factors=clue[:, None], factor_names=("clue",))

    return table("train", 600), table("test", 400)


@pytest.fixture(scope="module")
def case():
    """Training data, test data and a model that has learned the shortcut."""
    train, test = tables()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(train.x), train.y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return train, test, model.eval()


@pytest.fixture(scope="module")
def revised(case):
    train, test, model = case
    return {
        by: trimkit.revise(model, train, test=test, forbid=f"bin {SHORTCUT}", by=by, groups="clue", samples=100)
        for by in CORRECTIONS
    }


@pytest.mark.parametrize("by", CORRECTIONS)
def test_each_correction_raises_accuracy_and_names_what_it_corrected(revised, by):
    revision = revised[by]
    before, after = (revision.accuracies[name].accuracy.value for name in ("before", "after"))
    assert before < 0.75
    assert after > before + 0.1
    assert revision.worst["after"] > revision.worst["before"]
    assert revision.forbidden == ("bin 5",)


@pytest.mark.parametrize("by", ["projection", "last-layer"])
def test_what_has_no_say_in_the_correction_passes_the_audit(revised, by):
    assert (str(revised[by].before.model), str(revised[by].after.model)) == ("FAIL", "PASS")
    assert revised[by].exit_code == 0


def test_the_penalty_lowers_reliance_and_the_audit_says_what_is_left(revised):
    before, after = (effect_of_removing(report) for report in (revised["penalty"].before, revised["penalty"].after))
    assert after["value"] < before["value"] / 2
    assert after["low"] <= after["value"] <= after["high"]


def effect_of_removing(report) -> dict:
    (label,) = report.labels
    measurements = report.evidence[label]["reliance"]["forbidden"][-1]["measurements"]
    return next(m["estimate"] for m in measurements if m["name"] == "removed")


def test_a_trained_correction_reaches_the_ceiling(case, revised):
    _, test, _ = case
    ceiling = float(((test.x[:, 0] > 0).long() == test.y).double().mean())  # the best that the honest feature allows
    assert revised["penalty"].accuracies["after"].accuracy.value >= ceiling - 0.03
    assert revised["last-layer"].accuracies["after"].accuracy.value >= ceiling - 0.03


def test_the_model_that_was_given_stays_as_it_was(case):
    train, test, model = case
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for by in CORRECTIONS:
        revision = trimkit.revise(model, train, test=test, forbid="bin 5", by=by, samples=40, epochs=1)
        assert revision.model is not model
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())


def test_a_projection_is_the_model_at_the_mean_of_the_forbidden_coefficients(case):
    train, test, model = case
    space = trimkit.create("transform", "dct")
    mask = torch.zeros(6, dtype=torch.bool)
    mask[2] = True
    projected = CORRECTIONS["projection"](Task(model, train, space, mask))
    s = space(test.x)
    s[:, 2] = space(train.x)[:, 2].mean()
    assert isinstance(projected, Projected)
    assert torch.allclose(projected(test.x), model(space.inverse(s, (6,))), atol=1e-5)


def test_a_projection_takes_gradients_and_a_batch_of_one(case):
    train, test, model = case
    space, mask = trimkit.create("transform", "fft"), torch.tensor([False, True, False, False])
    projected = CORRECTIONS["projection"](Task(model, train, space, mask))
    x = test.x[:1].clone().requires_grad_()
    projected(x).sum().backward()
    spectrum = torch.fft.rfft(x.grad)
    assert spectrum[0, 1].abs() < 1e-5
    assert spectrum[0, 0].abs() > 1e-5


def test_one_logit_is_binary():
    outputs, y = torch.tensor([[0.3], [-1.2]]), torch.tensor([1, 0])
    both = torch.cat([torch.zeros_like(outputs), outputs], 1)
    assert torch.allclose(classification_loss(outputs, y), torch.nn.functional.cross_entropy(both, y))


def test_where_nothing_stands_out_nothing_is_corrected():
    torch.manual_seed(0)
    x = torch.randn(200, 8)
    model = torch.nn.Linear(8, 2).eval()
    with torch.no_grad():
        model.weight.copy_(torch.stack([torch.ones(8), -torch.ones(8)]))
        model.bias.zero_()
    with pytest.warns(trimkit.TrimkitWarning, match="nothing is corrected; name one with forbid="):
        revision = trimkit.revise(model, (x, (x.sum(1) < 0).long()), samples=100)
    assert revision.forbidden == ()
    assert revision.model is model
    assert revision.exit_code == 3


def test_it_is_written_whole_and_the_weights_load(case, revised, tmp_path):
    _, test, model = case
    page = revised["last-layer"].save(tmp_path / "revision")
    results = json.loads((tmp_path / "revision" / "results.json").read_text())
    assert (results["kind"], results["model"]) == ("revision", {"before": "FAIL", "after": "PASS"})
    assert "What changed" in page.read_text(encoding="utf-8")
    fresh = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)).eval()
    fresh.load_state_dict(load_file(tmp_path / "revision" / "weights.safetensors"))
    assert torch.equal(fresh(test.x), revised["last-layer"].model(test.x))
    assert not torch.equal(fresh(test.x), model(test.x))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"by": "magic"}, OptionError, "expected by 'penalty', 'projection' or 'last-layer', got 'magic'"),
        ({"epochs": 0}, OptionError, "epochs ≥ 1, got 0"),
        ({"weight": 0.0}, OptionError, "weight > 0, got 0.0"),
        ({"forbid": "bin 9"}, OptionError, "out of range"),
        ({"groups": "colour"}, OptionError, "has no factor 'colour'"),
        ({"groups": torch.zeros(3)}, OptionError, "one number for each of 400 samples"),
        ({"forbid": torch.eye(600, 6)}, OptionError, "one mask for all samples"),
    ],
)
def test_wrong_options_are_refused(case, options, error, message):
    train, test, model = case
    with pytest.raises(error, match=message):
        trimkit.revise(model, train, test=test, **{"forbid": "bin 5", "samples": 40, "epochs": 1, **options})


def test_it_needs_labels_that_fit_and_a_module(case):
    train, test, model = case
    with pytest.raises(DataError, match="learns from labels"):
        trimkit.revise(model, train.x)
    with pytest.raises(ModelError, match="has 2 outputs, which do not fit labels up to 7"):
        trimkit.revise(model, (test.x, torch.full((400,), 7)))
    with pytest.raises(ModelError, match=r"changes a torch\.nn\.Module"):
        trimkit.revise(lambda x: x, (test.x, test.y))


def test_a_model_without_a_last_linear_layer_is_refused_with_the_way_out(case):
    train, test, model = case
    ends = torch.nn.Sequential(model, torch.nn.Softplus()).eval()
    with pytest.raises(ModelError, match="use by='penalty' or by='projection'"):
        trimkit.revise(ends, train, test=test, forbid="bin 5", by="last-layer", samples=40)
