"""Names of files that are no UTF-8 name data and folders as others do, and come back from what is written."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import trimkit
from trimkit import cli
from trimkit.data import load
from trimkit.registry.spelling import parse_spec

BYTES = b"caf\xe9"
NAME = os.fsdecode(BYTES)
SOURCE = """
import torch

def net():
    model = torch.nn.Linear(6, 2, bias=False)
    torch.nn.init.eye_(model.weight)
    return model
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with data of every form, each under two names."""
    monkeypatch.chdir(tmp_path)
    x, y = np.random.default_rng(0).random((40, 6), np.float32), np.arange(40) % 2
    np.savez("plain.npz", x=x, y=y)
    np.save("plain.npy", x)
    save_file({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, "plain.safetensors")
    torch.save({"x": torch.from_numpy(x)}, "plain.pt")
    (tmp_path / "plain.csv").write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(9)))
    for path in tmp_path.glob("plain.*"):
        shutil.copy(path, f"{NAME}{path.suffix}")
    return tmp_path


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".pt", ".csv"])
def test_a_file_is_read_as_under_another_name(suffix):
    named, plain = load(f"{NAME}{suffix}"), load(f"plain{suffix}")
    assert torch.equal(named.x, plain.x)
    assert named.sha256 == plain.sha256
    assert os.fsencode(named.name) == BYTES


def test_a_table_whose_name_is_no_utf_8_takes_options():
    assert load(f"{NAME}.csv:target=b,regression=true").feature_names == ("a",)


def test_a_folder_of_pictures_with_classes(folder):
    for number in range(40):
        sub = folder / NAME / (f"{NAME} 1" if number % 2 else "two")
        sub.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(sub / f"{NAME} {number}.png")
    train, test = load(NAME), load(NAME, "test")
    assert len(train) + len(test) == 40
    assert [os.fsencode(name) for name in train.classes] == [BYTES + b" 1", b"two"]
    grey = torch.cat([train.x[:], test.x[:]])[:, 0, 0, 0] * 255
    assert grey.round().sort().values.tolist() == [*range(40)]
    assert train.sha256 != test.sha256


def test_the_value_of_an_option_is_taken_as_it_is():
    assert parse_spec(f"latent:run={NAME},space=z") == ("latent", {"run": NAME, "space": "z"})
    assert parse_spec(f"latent:run='{NAME},b'") == ("latent", {"run": f"{NAME},b"})


def test_a_run_keeps_the_bytes_and_is_evaluated_on_its_data(folder, capsys):
    assert cli.main(["train", "fastica", "--data", f"{NAME}.npz", "--out", NAME, "--method.components", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "caf?"
    config = yaml.safe_load((folder / NAME / "config.yaml").read_text())
    assert os.fsencode(config["data"]) == BYTES + b".npz"
    assert b"--data '" + BYTES + b".npz'" in (folder / NAME / "command.txt").read_bytes()
    assert cli.main(["evaluate", NAME]) == 0
    assert trimkit.methods.load_method(NAME).space().shape == (2,)


def test_an_audit_in_one_piece_and_in_shards(folder):
    (folder / "bytes.py").write_text(SOURCE)
    audit = ["audit", "--model", "bytes.py:net", "--data", f"{NAME}.npz", "--checks", "reconstruction"]
    outputs = ["--junit", f"{NAME}.xml", "--summary", f"{NAME}.md", "--out", NAME]
    code = cli.main([*audit, *outputs])
    assert code in (0, 3)
    results = json.loads((folder / NAME / "results.json").read_text())
    assert os.fsencode(results["provenance"]["data"]["name"]) == BYTES
    assert "caf\\udce9" in (folder / NAME / "report.html").read_text()
    assert cli.main([*audit, "--shard", "1/1", "--out", f"{NAME} shards"]) == 0
    assert cli.main(["merge", f"{NAME} shards", "--out", "merged"]) == code
    merged = json.loads((folder / "merged" / "results.json").read_text())
    assert merged["verdicts"] == results["verdicts"]
