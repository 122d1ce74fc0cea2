"""What is said of a trained method: on batches like those of training, at the run's last step."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import trimkit
from trimkit.data import Dataset
from trimkit.errors import OptionError, ShapeError, TrimkitWarning
from trimkit.methods import StepResult, Term
from trimkit.training import Settings, train
from trimkit.training.engine import Engine
from trimkit.training.outcome import batches

QUICK = {"steps": 2, "batch_size": 8, "log_every": 1, "device": "cpu"}


def noise(n: int, name: str = "more") -> Dataset:
    x = torch.rand(n, 6, generator=torch.Generator().manual_seed(1))
    return Dataset(name, x, (x[:, 0] > 0.5).long(), "test", ("low", "high"))


def method_of(name: str, **options):
    torch.manual_seed(0)
    return trimkit.create("method", name, shape=(6,), network="mlp", latent_dim=2, **options)


@pytest.mark.parametrize(("n", "size"), [(1, 4), (5, 2), (7, 2), (2, 2), (9, 4), (9, 8), (8, 8), (3, 1)])
def test_no_batch_has_one_sample_where_that_can_be(n, size):
    found = [len(batch) for batch in batches(noise(n), Engine(Settings(device="cpu")), size)]
    assert sum(found) == n
    assert max(found) <= max(size, 3 if size == 2 else 0)
    assert min(found) > 1 or n == 1 or size == 1


def test_more_test_data_than_the_method_was_made_for(samples_of):
    data = samples_of((6,)).take(20)
    run = train(method_of("beta-tcvae", dataset_size=20), data, test=noise(100), **{**QUICK, "batch_size": 64})
    assert run.results["test"]["samples"] == 100
    assert {"recon", "kl", "tc", "dwkl", "squared_error"} <= set(run.results["test"])


def test_fewer_samples_are_evaluated_on_request(samples_of):
    data = samples_of((6,))
    run = train(method_of("vae"), data, test=data, evaluated=10, **QUICK)
    assert run.results["train"]["samples"] == run.results["test"]["samples"] == 10
    with pytest.raises(OptionError, match="expected evaluated ≥ 1, got 0"):
        train(method_of("vae"), data, evaluated=0, **QUICK)


@pytest.mark.parametrize(
    ("name", "options"), [("beta-tcvae", {"dataset_size": 40}), ("wae-mmd", {}), ("info-vae", {})], ids=lambda v: str(v)
)
def test_a_single_test_sample_loses_no_training(samples_of, tmp_path, name, options):
    test = noise(1)
    with pytest.warns(TrimkitWarning, match=r"phase 'vae' are left out of the results on 'more' \(test\)"):
        run = train(method_of(name, **options), samples_of((6,)), test=test, folder=tmp_path / "run", **QUICK)
    assert set(run.results["test"]) == {"samples", "squared_error"}
    assert json.loads((tmp_path / "run" / "results.json").read_text())["train"]["recon"] > 0


def test_a_method_that_fails_on_the_test_data_fails_before_training(toy_class, data, tmp_path):
    class NeedsLabels(toy_class):
        def reconstruct(self, batch, generator, step):
            batch.y.float().mean()
            return super().reconstruct(batch, generator, step)

    bare = Dataset("bare", data.x[:5], None, "test")
    with pytest.raises(AttributeError):
        train(NeedsLabels(), data, test=bare, folder=tmp_path / "run", **QUICK)
    assert not list(tmp_path.iterdir())


def test_turns_are_evaluated_as_they_are_trained(toy_class, data):
    seen: dict[bool, set[int]] = {True: set(), False: set()}

    class Watched(toy_class):
        def reconstruct(self, batch, generator, step):
            seen[self.training].add(len(batch))
            return super().reconstruct(batch, generator, step)

    train(Watched(), data, **QUICK, accumulate=2)
    assert seen == {True: {4}, False: {4}}


def test_schedules_inside_a_term_are_at_the_runs_last_step(toy_class, data):
    class Scheduled(toy_class):
        def reconstruct(self, batch, generator, step):
            result = super().reconstruct(batch, generator, step)
            now = torch.full((len(batch),), float(step))
            return StepResult({**result.terms, "kl": Term(result.terms["kl"].values * 0 + now)}, result.reconstruction)

    assert train(Scheduled(), data, **{**QUICK, "steps": 7}).results["train"]["kl"] == 6


def test_what_json_does_not_know_is_null_in_results(toy_class, data, tmp_path):
    class Infinite(toy_class):
        def reconstruct(self, batch, generator, step):
            result = super().reconstruct(batch, generator, step)
            return StepResult(result.terms, result.reconstruction, {"ratio": torch.tensor(float("inf"))})

    train(Infinite(), data, folder=tmp_path / "run", **QUICK)
    strict = {"parse_constant": lambda name: pytest.fail(f"{name} is no JSON")}
    assert json.loads((tmp_path / "run" / "results.json").read_text(), **strict)["train"]["ratio"] is None
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line, **strict).get("ratio") is None


@pytest.mark.parametrize("options", [{"prediction": "label"}, {"trim": ["l1@z:1"], "target": "label"}])
def test_labels_of_the_test_data_are_looked_at_before_training(toy, data, tmp_path, options):
    bare = Dataset("bare", data.x[:5], None, "test")
    more = Dataset("more", data.x[:5], torch.tensor([0, 1, 2, 0, 1]), "test", ("a", "b", "c"))
    shared = {"predictor": nn.Linear(6, 2), "folder": tmp_path / "run", **options, **QUICK}
    for test, says in ((bare, "and the test data have no labels"), (more, "has 2 classes, and the test data 3")):
        with pytest.raises(trimkit.TrimkitError, match=says):
            train(toy(), data, test=test, **shared)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "settings", "error", "says"),
    [
        ("factor-vae", {"discriminator_width": 4}, {"batch_size": 1}, ShapeError, "at least 2 samples a batch, got 1"),
        ("wae-mmd", {}, {"batch_size": 1}, ShapeError, "at least 2 rows each"),
        ("wae-mmd", {}, {"batch_size": 4, "accumulate": 4}, ShapeError, "at least 2 rows each"),
        ("beta-tcvae", {"dataset_size": 7}, {}, trimkit.TrimkitError, "expected dataset_size ≥ 8, the size of the ba"),
    ],
)
def test_batches_that_no_step_could_use_are_refused_before_any_work(
    samples_of, tmp_path, name, options, settings, error, says
):
    with pytest.raises(error, match=says):
        train(method_of(name, **options), samples_of((6,)), folder=tmp_path / "run", **{**QUICK, **settings})
    assert not list(tmp_path.iterdir())
