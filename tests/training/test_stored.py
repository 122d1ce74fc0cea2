"""A trained method comes back from its run, and its space is a transform by name."""

from __future__ import annotations

import json
import math

import pytest
import torch

import trimkit
from trimkit.errors import ModelError, TrimkitWarning, UnknownNameError
from trimkit.methods import load_method, stored
from trimkit.methods.stored import finite, plain
from trimkit.storage import write_manifest
from trimkit.training import train


@pytest.fixture
def registered(toy_class, monkeypatch):
    """The toy method under a name, as a plugin would register it."""
    from trimkit import registry
    from trimkit.hooks import MethodSpec
    from trimkit.registry import Part

    spec = MethodSpec("toy", f"{toy_class.__module__}:{toy_class.__qualname__}", "A toy.")
    part = Part("toy", spec, registry.default().plugins()[0])
    monkeypatch.setitem(registry.default()._parts, "methods", [part])
    load = Part.load
    monkeypatch.setattr(Part, "load", lambda self: toy_class if self.name == "toy" else load(self))


@pytest.fixture
def run(registered, toy, data, tmp_path):
    return train(toy(), data, folder=tmp_path / "run", steps=2, batch_size=8)


def test_it_comes_back_as_it_was(run, data):
    method = load_method(run.folder)
    assert type(method) is type(run.method)
    assert not method.training
    run.method.eval()
    assert torch.equal(method.encode(data.x).mean, run.method.encode(data.x).mean)


def test_its_space_is_a_transform(run, data):
    transform = trimkit.methods.latent(str(run.folder), space="z")
    assert torch.equal(transform(data.x), run.method.eval().encode(data.x).mean)


def test_its_space_is_a_registered_transform_to_audit_in(run, data):
    latent = ("latent", {"run": str(run.folder)})
    model = torch.nn.Linear(6, 3).eval()
    report = trimkit.audit(model, data.x, transform=latent, samples=16, checks=["reconstruction", "completeness"])
    assert report.transform.method.shape == (6,)
    assert str(report.verdict("reconstruction").status) != "PASS"  # a toy is lossy, and the audit says so


def test_what_is_written_is_plain(run):
    found = json.loads((run.folder / "method.json").read_text())
    assert found == {"method": "toy", "class": found["class"], "options": {"shape": [6], "rate": 0.01}}
    assert found["class"].endswith(":Toy")


def test_a_method_without_a_name(toy, data, tmp_path):
    run = train(toy(), data, folder=tmp_path / "run", steps=1)
    with pytest.raises(
        ModelError, match="has no registered name: make it yourself and load model.safetensors".replace(".", r"\.")
    ):
        load_method(run.folder)


def test_a_plugin_that_is_gone(run):
    path = run.folder / "method.json"
    path.write_text(path.read_text().replace('"toy"', '"boy"'))
    write_manifest(run.folder, later={})
    with pytest.raises(UnknownNameError, match="There is no method 'boy'"):
        load_method(run.folder)


@pytest.mark.parametrize("written", ["[]", "{}", '{"method": "toy", "class": "a:B", "options": [1]}', '{"method": 3}'])
def test_a_record_of_another_form(run, written):
    (run.folder / "method.json").write_text(written)
    write_manifest(run.folder, later={})
    with pytest.raises(ModelError, match=r"method\.json is not as trimkit writes it: expected a mapping with method"):
        load_method(run.folder)


def test_a_run_that_is_not_complete(run):
    (run.folder / "COMPLETE").unlink()
    with pytest.raises(ModelError, match=r"is not the folder of a complete run: .*COMPLETE"):
        load_method(run.folder)


def test_weights_that_do_not_fit(run, toy_class):
    other = toy_class()
    other.critic = torch.nn.Linear(3, 5)
    (run.folder / "model.safetensors").write_bytes(stored.weights(other))
    write_manifest(run.folder, later={})
    with pytest.raises(ModelError, match=r"model\.safetensors does not fit the method: .*critic"):
        load_method(run.folder)


@pytest.mark.parametrize("name", ["model.safetensors", "method.json", "MANIFEST.json"])
def test_every_flipped_bit_is_found(run, name):
    path = run.folder / name
    whole = path.read_bytes()
    for position in range(0, len(whole), max(len(whole) // 50, 1)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(ModelError, match="is damaged"):
            load_method(run.folder)
    path.write_bytes(whole)
    load_method(run.folder)


def test_a_run_of_an_older_version_has_no_manifest(run):
    expected = load_method(run.folder).state_dict()
    (run.folder / "MANIFEST.json").unlink()
    with pytest.warns(TrimkitWarning, match=r"MANIFEST\.json is missing, so that no file of the run is") as said:
        loaded = load_method(run.folder).state_dict()
    assert len(said) == 1
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_another_folder(tmp_path):
    with pytest.raises(ModelError, match=r"is not the folder of a complete run: .*No such file"):
        load_method(tmp_path)


def test_plain_values_are_the_same_in_every_process():
    found = plain({"a": (1, 2.0, None, True), "f": plain, "o": torch.nn.ReLU(), 3: "x"})
    assert found == {
        "a": [1, 2.0, None, True],
        "f": "trimkit.methods.stored:plain",
        "o": "torch.nn.modules.activation:ReLU",
        "3": "x",
    }


def test_json_has_neither_nan_nor_infinity():
    values = {"a": [1.5, math.nan], "b": (-math.inf, True, None, "nan"), 3: 2}
    assert finite(values) == {"a": [1.5, None], "b": [None, True, None, "nan"], "3": 2}
    json.dumps(finite(values), allow_nan=False)


def test_a_damaged_file_that_is_not_needed_is_named_and_the_method_comes(run):
    path = run.folder / "results.json"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.warns(TrimkitWarning, match=r"results\.json is damaged: its sha256 .*; the method itself is whole"):
        assert load_method(run.folder).shape == (6,)
