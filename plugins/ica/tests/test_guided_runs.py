"""Runs of ICA that a predictor takes part in."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from trimkit_ica.guided import TrimICA

import trimkit
from trimkit.cli import main
from trimkit.errors import ShapeError
from trimkit.methods import load_method
from trimkit.penalties import hoyer
from trimkit.training import TrimTerm

from .guided_cases import K, P, classifier, samples, sources

QUICK = {"batch_size": 100, "log_every": 1}


def test_training_without_a_predictor_finds_independent_components():
    x = samples(2000).float()
    method = TrimICA((P,), start="random", learning_rate=0.05, rate="cosine(1, 0, 100)")
    trimkit.train(method, x, steps=100, batch_size=2000)
    s = method.encode(x).mean.detach().double()
    found = torch.corrcoef(torch.cat([s.T, sources(2000, P).T]))[:P, P:].abs()
    assert float(found.max(1).values.min()) > 0.95
    q = method.rotation.detach()
    torch.testing.assert_close(q @ q.T, torch.eye(P, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("term", [TrimTerm("l1", weight=5.0), TrimTerm("hoyer", weight=5.0)])
def test_a_penalty_makes_fewer_components_matter(term):
    x, f = samples().float(), classifier(torch.float32)

    def carried(trim) -> torch.Tensor:
        method = TrimICA((P,), K, negentropy_weight=1.0)
        trimkit.train(method, x, predictor=f, weights={"prediction": 0.0}, trim=trim, steps=60, **QUICK)
        return hoyer(method.attributions(x, f)).mean()

    assert float(carried([term])) > float(carried([])) + 0.05


def test_the_l1_of_gradients_may_be_penalised_since_the_scale_is_fixed():
    x, f = samples().float(), classifier(torch.float32)
    term = TrimTerm("l1", weight=3.0, attribution="saliency")
    method = TrimICA((P,), K, negentropy_weight=1.0)
    run = trimkit.train(method, x, predictor=f, trim=[term], steps=60, **QUICK)
    assert run.history[-1]["l1"] < 0.9 * run.history[0]["l1"]


def test_the_prediction_loss_keeps_what_the_predictor_reads_in_few_components():
    x, f = samples().float(), classifier(torch.float32)
    loss = trimkit.PredictionLoss(f, "kl")

    def distance(weight: float) -> float:
        method = TrimICA((P,), K, kept=2, negentropy_weight=1.0)
        trimkit.train(method, x, predictor=f, weights={"prediction": weight}, steps=60, **QUICK)
        with torch.no_grad():
            return float(loss(method.reconstruct(x, f), x))

    assert distance(10.0) < 0.8 * distance(0.0)


@pytest.mark.parametrize("precision", ["bf16", "64"])
def test_other_precisions_give_nearly_the_same(precision):
    x, f = samples().float(), classifier(torch.float32)
    numbers = []
    for chosen in ("32", precision):
        method = TrimICA((P,), K)
        trimkit.train(method, x, predictor=f, trim=["l1:0.1"], steps=5, precision=chosen, **QUICK)
        numbers.append(method.rotation.detach())
    torch.testing.assert_close(*numbers, rtol=0, atol=1e-3)


def test_samples_of_which_one_makes_a_batch_are_refused_before_any_work(tmp_path):
    with pytest.raises(ShapeError, match="expected at least two samples a batch"):
        trimkit.train(TrimICA((P,), K), samples().float(), steps=1, batch_size=1, folder=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_is_an_uninterrupted_one(tmp_path):
    x, f = samples().float(), classifier(torch.float32)

    def run(name: str, steps: int, resume: bool = False) -> dict:
        joined = {"predictor": f, "trim": ["hoyer@components:0.3"]}
        method = TrimICA((P,), K, rate="cosine(1, 0.1, 10)")
        trimkit.train(method, x, steps=steps, folder=tmp_path / name, resume=resume, **joined, **QUICK)
        return method.state_dict()

    whole = run("whole", 9)
    run("parts", 5)
    parts = run("parts", 9, resume=True)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    rows = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(1, 10))


MODEL = """
import torch

def classifier():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 12), torch.nn.Tanh(), torch.nn.Linear(12, 10))
"""


def test_from_the_command_line_to_a_transform(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digit_model.py").write_text(MODEL)
    guided = ("--predictor", "digit_model:classifier", "--trim", "hoyer@components:0.3", "--prediction-weight", "1")
    usual = ("--data", "digits", "--batch-size", "600", "--method.components", "5", "--method.rate", "cosine(1, 0, 3)")
    assert main(["train", "trim-ica", *usual, *guided, "--steps", "2"]) == 0
    assert main(["train", "trim-ica", *usual, *guided, "--steps", "3", "--resume"]) == 0
    sys.modules.pop("digit_model", None)
    folder = capsys.readouterr().out.splitlines()[-1]
    results = json.loads((tmp_path / folder / "results.json").read_text())
    assert {"negentropy", "prediction", "hoyer@components", "squared_error", "predictor"} <= results["test"].keys()
    method = load_method(folder)
    transform = trimkit.create("transform", "latent", run=folder)
    x = trimkit.data.load("digits", "test").x[:5]
    with torch.no_grad():
        assert torch.equal(transform(x), method.encode(x).mean)
        assert transform.inverse(transform(x), x.shape[1:]).shape == x.shape
    scores = trimkit.Trim(classifier(torch.float32, 256), transform)(x, target=3).scores
    assert scores.shape == (5, 5)
