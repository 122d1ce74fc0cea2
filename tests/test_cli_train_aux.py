"""Auxiliary variables u from the command line: of the data, or their labels; and in `trimkit.data.load`."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

from trimkit.cli import main
from trimkit.data import load
from trimkit.errors import DataError, OptionError

QUICK = ("--steps", "4", "--batch-size", "10", "--method.hidden", "8", "--method.latent_dim", "2")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with data of labels alone, and of vectors u."""
    monkeypatch.chdir(tmp_path)
    of = np.random.default_rng(0)
    x, y = of.random((60, 4)).astype("float32"), of.integers(0, 3, 60)
    np.savez("labelled.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    np.savez("vectors.npz", x=x, u=of.random((60, 2)))
    np.savez("bare.npz", x=x)
    return tmp_path


def options(folder) -> dict:
    return json.loads((folder / "method.json").read_text())["options"]


@pytest.mark.parametrize("name", ["ivae", "tcl", "icebeem"])
def test_labels_as_u(work, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # four steps make no features for an ICA to converge on
        assert main(["train", name, "--data", "labelled.npz:aux=labels", "--out", "run", *QUICK]) == 0
    assert options(work / "run")["segments"] == 3
    assert "labelled.npz:aux=labels" in (work / "run" / "config.yaml").read_text()


def test_an_evaluation_finds_the_labels_again(work):
    assert main(["train", "ivae", "--data", "labelled.npz:aux=labels", "--out", "run", *QUICK]) == 0
    assert main(["evaluate", "run"]) == 0


def test_vectors_u_of_a_file(work):
    assert main(["train", "ivae", "--data", "vectors.npz", "--out", "run", *QUICK, "--method.preset", "released"]) == 0
    assert (options(work / "run")["segments"], options(work / "run")["aux_dim"]) == (0, 2)
    results = json.loads((work / "run" / "results.json").read_text())
    assert {"recon", "mi", "tc", "dwkl"} <= set(results["train"])


def test_data_without_u_say_why_and_what_to_do(work, capsys):
    assert main(["train", "ivae", "--data", "labelled.npz", "--out", "run", *QUICK]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "not identifiable" in message
    assert "--data digits:aux=labels" in message
    assert not (work / "run").exists()


def test_labels_take_the_place_of_the_datas_own():
    plain, taken = load("digits"), load("digits", aux="labels")
    assert plain.aux is None
    assert torch.equal(taken.aux, taken.y)
    assert torch.equal(load("digits:aux=labels", "test").aux, load("digits", "test").y)
    assert taken.sha256 != plain.sha256


def test_there_must_be_labels(work):
    with pytest.raises(DataError, match="'bare' has no labels to take as auxiliary variables"):
        load("bare.npz:aux=labels")
    with pytest.raises(OptionError, match=r"expected aux=labels, .* got 'classes'"):
        load("digits:aux=classes")
