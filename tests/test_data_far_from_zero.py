"""Data whose values are large beside their spread, or in units far apart: nothing is lost, all commands take them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import FastICA
from torch import nn

import trimkit
from trimkit.cli import main
from trimkit.data import as_dataset, load
from trimkit.errors import TrimkitWarning

RNG = np.random.default_rng(0)
SOURCES = np.stack([RNG.laplace(size=3000), RNG.uniform(-1, 1, 3000), RNG.exponential(size=3000)], 1)
MIXED = SOURCES @ np.random.default_rng(1).standard_normal((3, 3))
UNITS = np.array([1e8, 1.0, 1e-8])
FAR = {"offset": MIXED + 1e8, "units": MIXED * UNITS, "units and offsets": (MIXED + 1e4) * UNITS}


def correlations(codes):
    """Of each source with the code that is matched to it."""
    k = SOURCES.shape[1]
    table = np.abs(np.corrcoef(SOURCES.T, np.asarray(codes).T)[:k, k:])
    rows, columns = linear_sum_assignment(-table)
    return table[rows, columns]


@pytest.fixture(params=FAR)
def far(request, tmp_path):
    path = tmp_path / "far.npz"
    np.savez(path, x=FAR[request.param], sources=SOURCES)
    return path


@pytest.mark.parametrize("name", ["fastica", "picard", "infomax"])
def test_linear_ica_recovers_what_scikit_learn_does(far, name, tmp_path):
    data = load(str(far))
    method = trimkit.create("method", name, shape=data.shape)
    trimkit.train(method, data, folder=tmp_path / "run")
    ours = correlations(method.encode(data.x).mean)
    x = np.load(far)["x"]
    x = x - x.mean(0)
    theirs = correlations(FastICA(random_state=0, tol=1e-6, max_iter=500).fit_transform(x / x.std(0)))
    assert (ours > theirs - 0.01).all()
    assert (ours > 0.99).all()
    assert torch.equal(trimkit.methods.load_method(tmp_path / "run").encode(data.x).mean, method.encode(data.x).mean)


def test_commands_lose_nothing_either(far, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "picard", "--data", str(far), "--out", "run"]) == 0
    assert main(["encode", "run", str(far), "--out", "codes.npz"]) == 0
    assert (correlations(np.load("codes.npz")["x"]) > 0.99).all()
    assert main(["evaluate", "run", "--data", str(far)]) == 0
    value = json.loads((tmp_path / "run" / "evaluation.json").read_text())["sources"]["picard"]["Pearson"]["value"]
    assert value > 0.99
    capsys.readouterr()
    assert main(["check-ica", str(far), "--bootstraps", "2", "--json"]) in (0, 1, 3)
    verdicts = {v["check"]: v for v in json.loads(capsys.readouterr().out)["verdicts"]}
    assert verdicts["rank"]["status"] == "PASS"


def test_a_network_in_float32_says_what_it_cannot_tell_apart():
    x = torch.from_numpy(MIXED / 1e3 + 100)
    method = trimkit.create("method", "ivae", shape=(3,), segments=2, hidden=4)
    data = trimkit.data.dataset_of("far", x, aux=torch.arange(len(x)) % 2)
    with pytest.warns(TrimkitWarning, match=r"'far': float32 does not tell the values of a feature apart"):
        trimkit.train(method, data, steps=1)
    trimkit.train(method, data, steps=1, precision="64")


def test_models_in_float32_are_evaluated_audited_and_revised_on_such_data():
    data = trimkit.data.dataset_of("far", FAR["offset"][:120], (SOURCES[:120, 0] > 0).astype(int))
    assert data.x.dtype == torch.float64
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    assert trimkit.evaluate(model, data).metrics
    assert trimkit.audit(model, data, checks=["completeness"]).verdicts
    assert trimkit.revise(model, data, forbid=["0"], epochs=1, samples=40)


@pytest.mark.parametrize("x", [MIXED, MIXED * 1e8, np.ones((9, 2)), np.zeros((9, 1, 4, 4)), MIXED.astype(np.float32)])
def test_data_that_float32_holds_become_float32(x):
    assert as_dataset(x).x.dtype == torch.float32


def test_values_beyond_float32_are_no_infinity():
    assert torch.equal(as_dataset(MIXED * 1e200).x, torch.from_numpy(MIXED * 1e200))
