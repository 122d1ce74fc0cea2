"""What `trimkit train` does with data that are partly unreadable, change, or are named in odd ways."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import trimkit
from trimkit.cli import main
from trimkit.data import load
from trimkit.errors import OptionError
from trimkit.training import train

QUICK = ["--steps", "2", "--batch-size", "4", "--method.network", "mlp", "--method.latent_dim", "2"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pictures(work):
    """Forty pictures, one of which ends half-way."""
    rng = np.random.default_rng(1)
    (work / "photos").mkdir()
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(work / "photos" / f"im{number:02d}.png")
    bad = work / "photos" / "im11.png"
    bad.write_bytes(bad.read_bytes()[:120])
    return work / "photos"


def photos(*more: str) -> list[str]:
    return ["train", "vae", "--data", "photos", *QUICK, "--out", "run", *more]


def test_a_held_out_split_that_cannot_be_read_stops_the_run(work, capsys):
    x = np.random.default_rng(0).random((60, 6)).astype("f4")
    np.savez("a.npz", x_train=x, x_test=x * np.nan)
    assert main(["train", "vae", "--data", "a.npz", *QUICK, "--out", "run"]) == 2
    assert "60 of 60 samples hold NaN or infinity" in capsys.readouterr().err
    assert not (work / "run").exists()


def test_data_without_a_held_out_split_are_trained_on_alone(work):
    np.savez("a.npz", x_train=np.random.default_rng(0).random((60, 6)).astype("f4"))
    assert main(["train", "vae", "--data", "a.npz", *QUICK, "--out", "run"]) == 0
    assert "test" not in json.loads((work / "run" / "results.json").read_text())


@pytest.mark.filterwarnings("default")
def test_bad_pictures_are_left_out_and_listed(pictures, capsys):
    assert main([*photos(), "--on-bad-file", "skip"]) == 0
    results = json.loads((pictures.parent / "run" / "results.json").read_text())
    assert results["skipped"] == ["photos/im11.png"]
    assert "pictures are left out: cannot read the picture photos/im11.png" in capsys.readouterr().err


def test_a_run_goes_on_with_data_that_changed_where_the_user_says_so(pictures, capsys):
    (pictures / "im11.png").unlink()
    assert main(photos()) == 0
    (pictures / "im12.png").unlink()
    assert main([*photos("--resume"), "--steps", "4"]) == 2
    assert "is of another run: " in capsys.readouterr().err
    assert main([*photos("--resume", "--data-changed"), "--steps", "4"]) == 0
    run = pictures.parent / "run"
    (change,) = map(json.loads, (run / "data_changes.jsonl").read_text().splitlines())
    assert change["step"] == 2
    assert change["after"] == load("photos").sha256 != change["before"]
    assert main([*photos("--resume"), "--steps", "6"]) == 0  # recorded, so that it need not be said again
    assert len((run / "data_changes.jsonl").read_text().splitlines()) == 1


def test_data_changed_is_said_of_a_run_that_goes_on(work):
    method = trimkit.create("method", "vae", shape=(6,), network="mlp")
    with pytest.raises(OptionError, match="data_changed is said of a run that is resumed"):
        train(method, torch.rand(20, 6), folder=work / "run", steps=1, data_changed=True)


@pytest.mark.parametrize("name", ["2024-01-05", "7", "a,b", "a:b"])
def test_a_run_of_any_name_is_a_space(work, name):
    method = trimkit.create("method", "vae", shape=(6,), network="mlp", latent_dim=2)
    run = train(method, torch.rand(20, 6), folder=work / name, steps=1)
    from trimkit.registry.spelling import parse_spec

    part, options = parse_spec(f"latent:run='{name}'")
    transform = trimkit.create("transform", part, **options)
    x = torch.rand(3, 6)
    assert torch.equal(transform(x), run.method.eval().encode(x).mean)


def test_a_weight_that_a_record_cannot_hold_is_refused_before_training(work):
    method = trimkit.create("method", "beta-vae", shape=(6,), network="mlp", beta=lambda step: step / 10)
    with pytest.raises(OptionError, match=r"beta is a function that a run's record cannot hold"):
        train(method, torch.rand(20, 6), folder=work / "run", steps=1)
    assert not list(work.iterdir())
    assert train(method, torch.rand(20, 6), steps=1).steps == 1


def test_float64_reaches_the_method_where_it_is_asked_for(work):
    seen = []
    method = trimkit.create("method", "vae", shape=(6,), network="mlp", latent_dim=2)
    encode = method.encode
    method.encode = lambda x, *rest, **more: (seen.append(x), encode(x, *rest, **more))[1]
    x = torch.rand(20, 6, dtype=torch.float64) + 1e-12
    train(method, x, steps=1, batch_size=20, precision="64")
    assert torch.equal(seen[0].sort(0).values, x.sort(0).values)
    assert not torch.equal(x, x.float().double())


def test_train_takes_loaders_and_names(work):
    from torch.utils.data import DataLoader, TensorDataset

    def make():
        torch.manual_seed(0)
        return trimkit.create("method", "vae", shape=(6,), network="mlp", latent_dim=2)

    x = torch.rand(20, 6)
    np.savez("a.npz", x_train=x.numpy(), x_test=x[:4].numpy())
    results = [
        train(make(), data, test=test, steps=2, batch_size=5).results
        for data, test in ((x, x[:4]), ("a.npz", "a.npz"), (DataLoader(TensorDataset(x), batch_size=7), list(x[:4])))
    ]
    assert results[0]["test"] == results[1]["test"] == results[2]["test"]
    assert results[0]["test"]["samples"] == 4
