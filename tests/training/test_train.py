"""`trimkit.train` from outside: what it returns and writes, and what it refuses before any work."""

from __future__ import annotations

import json
import math

import pytest
import torch
import yaml
from safetensors.torch import load_file

import trimkit
from trimkit.errors import DataError, OptionError, ShapeError, TrainingError
from trimkit.methods import Delta, LatentSpace, Method
from trimkit.training import Settings, train

QUICK = {"steps": 3, "batch_size": 8, "log_every": 1}


class Mean(Method):
    """Fitted in closed form: one latent, the mean of a sample; it can encode only."""

    def __init__(self, shape) -> None:
        super().__init__(shape)
        self.register_buffer("centre", torch.zeros(()))

    def latent_spaces(self):
        return [LatentSpace("z", (1,), can_decode=False, reason="a mean does not say what it is of")]

    def encode(self, x, aux=None, space=None):
        return Delta(x.mean(1, keepdim=True) - self.centre)

    def fit(self, x, aux=None):
        self.centre.copy_(x.mean())


def test_a_run_without_folder(toy, data):
    method = toy()
    run = trimkit.train(method, data, **QUICK)
    assert run.method is method
    assert run.steps == 3
    assert run.folder is None
    assert [row["step"] for row in run.history if row["phase"] == "networks"] == [1, 2, 3]
    assert {"samples", "recon", "kl", "fooled", "kl_per_dimension", "active_latents"} <= set(run.results["train"])
    assert run.results["images_per_second"] > 0


def test_everything_is_put_into_the_folder(toy, data, predictor, tmp_path):
    run = train(toy(), data, test=data.take(10), predictor=predictor, folder=tmp_path / "a", **QUICK)
    assert run.folder == tmp_path / "a"
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "COMPLETE",
        "MANIFEST.json",
        "checkpoints",
        "command.txt",
        "config.yaml",
        "environment.json",
        "kl_per_dimension.png",
        "method.json",
        "metrics.jsonl",
        "model.safetensors",
        "reconstructions.png",
        "results.json",
        "traversals.gif",
        "traversals.png",
    ]
    results = json.loads((run.folder / "results.json").read_text())
    assert results == run.results
    assert results["test"]["samples"] == 10
    assert set(results["test"]["predictor"]) == {"agreement", "accuracy_originals", "accuracy_reconstructions"}
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert rows == run.history


def test_the_weights_come_back_without_pickle(toy, data, tmp_path):
    method = toy()
    run = train(method, data, folder=tmp_path / "a", **QUICK)
    other = toy(seed=5)
    other.load_state_dict(load_file(run.folder / "model.safetensors"))
    method.eval(), other.eval()
    assert torch.equal(other.encode(data.x).mean, method.encode(data.x).mean)


def test_results_are_means_over_all_samples_in_eval_mode(toy, data):
    run = train(toy(), data, **QUICK)
    method = run.method.eval()
    expected = method.encode(data.x).kl().mean(0)
    torch.testing.assert_close(torch.tensor(run.results["train"]["kl_per_dimension"]), expected.detach())
    rebuilt = method.decode(method.encode(data.x).mean)
    error = (rebuilt - data.x).square().mean()
    assert run.results["train"]["squared_error"] == pytest.approx(error.item(), rel=1e-5)


def test_readings_of_a_regressor_are_a_squared_error(toy, data):
    run = train(toy(), data, predictor=torch.nn.Linear(6, 1), prediction="mse", **QUICK)
    assert set(run.results["train"]["predictor"]) == {"squared_error"}


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_kept(toy, data, training):
    method = toy().train(training)
    method.encoder[3].train(not training)
    train(method, data, **QUICK)
    assert method.training is training
    assert method.encoder[3].training is not training


def test_epochs(toy, data):
    assert train(toy(), data, epochs=2, batch_size=8).steps == 10


def test_samples_and_names_are_data_too(toy, data):
    assert train(toy(), data.x, **QUICK).steps == 3
    with pytest.raises(ShapeError, match=r"made for floating data of shape \(6,\)"):
        train(toy(), "digits", **QUICK)


def test_progress_is_shown_on_request(toy, data, capsys):
    train(toy(), data, **QUICK)
    assert capsys.readouterr().err == ""
    train(toy(), data, progress=True, **QUICK)
    assert "step 3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(0, 6), DataError, "is empty"),
        (torch.full((3, 6), math.nan), DataError, "3 of 3 samples hold NaN"),
        (torch.zeros(3, 5), ShapeError, r"of shape \(6,\) a sample, got torch.float32 \(5,\)"),
    ],
)
def test_bad_data_are_refused(toy, tmp_path, x, error, message):
    with pytest.raises(error, match=message):
        train(toy(), x, folder=tmp_path / "a", **QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "expected steps ≥ 1, got 0"),
        ({"steps": 1, "epochs": 1}, "steps or epochs, not both"),
        ({"batch_size": -1}, "expected batch_size ≥ 1"),
        ({"clip": 0.0}, "expected clip > 0"),
        ({"stepz": 3}, "training has no option 'stepz'. Did you mean 'steps'"),
        ({"weights": {"recon": math.inf}}, "expected a finite number or a schedule for 'recon', got inf"),
    ],
)
def test_bad_settings_are_refused(toy, data, tmp_path, settings, message):
    with pytest.raises(OptionError, match=message.replace(".", r"\.")):
        train(toy(), data, folder=tmp_path / "a", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        ({"batch_size": 9, "accumulate": 2}, "got 9 samples; choose batch_size=8"),
        ({"batch_size": 2, "accumulate": 3}, "got 2 samples; choose batch_size=3"),
        ({"accumulate": 41}, r"the data have 40 samples, so take fewer turns \(accumulate\) or processes"),
        ({"devices": 3}, r"that 3 processes in 1 turns share evenly, a multiple of 3, got 40 samples; choose .*=39"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused_before_processes_start(toy, data, monkeypatch, settings, way_out):
    monkeypatch.setattr("trimkit.training.session.Engine", lambda _: pytest.fail("processes were started"))
    with pytest.raises(OptionError, match=way_out):
        train(toy(), data, steps=1, **settings)


def test_the_data_are_recorded_by_name_and_hash(toy, data, tmp_path):
    for method, name in ((toy(), "phases"), (Mean((6,)), "closed")):
        train(method, data, folder=tmp_path / name, **QUICK)
        found = yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        assert (found["data"], found["data_sha256"]) == ("noise", data.sha256)


def test_totals():
    assert Settings(steps=7).total(100) == 7
    assert Settings(epochs=2, batch_size=30).total(100) == 6
    assert Settings(epochs=2, batch_size=300).total(100) == 2
    assert Settings().total(100) == 3000


def test_a_taken_folder_is_refused_before_training(toy, data, tmp_path):
    train(toy(), data, folder=tmp_path / "a", **QUICK)
    untouched = toy()
    with pytest.raises(TrainingError, match="exists already"):
        train(untouched, data, folder=tmp_path / "a", **QUICK)
    for a, b in zip(untouched.parameters(), toy().parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_closed_form_method_is_fitted(data, tmp_path):
    run = train(Mean((6,)), data, folder=tmp_path / "a")
    assert run.steps == 0
    assert float(run.method.centre) == pytest.approx(float(data.x.mean()))
    assert load_file(run.folder / "model.safetensors")["centre"] == run.method.centre
    assert not (run.folder / "reconstructions.png").exists()
    assert not (run.folder / "checkpoints").exists()


@pytest.mark.parametrize("options", [{"weights": {"recon": 1.0}}, {"predictor": torch.nn.Linear(6, 2)}])
def test_nothing_joins_a_closed_form(data, options):
    with pytest.raises(OptionError, match="Mean is fitted in closed form: there is no loss"):
        train(Mean((6,)), data, **options)


def test_a_closed_form_that_was_stopped_is_fitted_anew(data, tmp_path, monkeypatch):
    run = train(Mean((6,)), data, folder=tmp_path / "whole")
    monkeypatch.setattr(Mean, "state_dict", lambda self, **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(Mean((6,)), data, folder=tmp_path / "a")
    monkeypatch.undo()
    assert (tmp_path / "a.partial").exists()
    again = train(Mean((6,)), data, folder=tmp_path / "a", resume=True)
    assert again.method.centre == run.method.centre
    assert not (tmp_path / "a.partial").exists()


def test_a_closed_form_is_not_resumed(data, tmp_path):
    train(Mean((6,)), data, folder=tmp_path / "a")
    with pytest.raises(OptionError, match="fitted in closed form: there is nothing to resume"):
        train(Mean((6,)), data, folder=tmp_path / "a", resume=True)
