"""Models from outside: what is taken, what is refused, and that no file runs code."""

from __future__ import annotations

import pickle
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trimkit.errors import ModelError, OptionError
from trimkit.predictor.loading import load_model, read_weights

SOURCE = """
from torch import nn

def build(hidden: int = 4, classes: int = 2):
    return nn.Sequential(nn.Linear(3, hidden), nn.Dropout(), nn.Linear(hidden, classes))

class Zoo:
    small = staticmethod(lambda: build(2))

def number():
    return 3

def broken():
    raise RuntimeError("no such GPU")

ready = build()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A user's module in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_nets.py").write_text(SOURCE)
    (tmp_path / "user_broken.py").write_text("import no_such_package")
    (tmp_path / "user_raising.py").write_text("raise ValueError('bad config')")
    before = list(sys.path)
    yield "user_nets"
    assert sys.path == before
    for name in ("user_nets", "user_broken", "user_raising"):
        sys.modules.pop(name, None)


class Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("spec", ["user_nets:build", "user_nets.py:build", "user_nets:ready"])
def test_factories_from_the_working_folder_and_from_files(module, spec):
    model = load_model(spec)
    assert isinstance(model, nn.Sequential)
    assert not any(part.training for part in model.modules())


def test_factories_take_arguments_and_may_be_nested(module):
    assert load_model("user_nets:build", arguments={"hidden": 7})[0].out_features == 7
    assert load_model("user_nets:Zoo.small")[0].out_features == 2


def test_a_folder_of_weights_is_called_a_folder(module, tmp_path):
    with pytest.raises(ModelError, match="is a folder; expected a file in it"):
        load_model("user_nets:build", tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_are_loaded(module, tmp_path, suffix):
    trained = load_model("user_nets:build").state_dict()
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(trained, path)
    else:
        torch.save(trained if suffix == ".pt" else {"state_dict": trained, "step": 3}, path)
    found = load_model("user_nets:build", path).state_dict()
    assert all(torch.equal(found[name], trained[name]) for name in trained)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("user_nets", "expected a model as 'package.module:factory'"),
        ("user_nets:", "expected a model as"),
        ("no_such_nets:build", "there is no module 'no_such_nets', neither installed nor in the working folder"),
        ("user_broken:build", "module 'user_broken' needs 'no_such_package', which is not installed"),
        ("user_raising:build", "module 'user_raising' cannot be imported: ValueError: bad config"),
        ("user_nets:built", "user_nets has no 'built'. Did you mean 'build'"),
        ("user_nets:number", "returned int; expected a torch.nn.Module"),
        ("user_nets:broken", "could not be made: RuntimeError: no such GPU"),
        ("gone.py:build", "model file gone.py does not exist"),
        ("user_raising.py:build", "model file user_raising.py cannot be run: ValueError: bad config"),
    ],
)
def test_models_that_cannot_be_built(module, spec, message):
    with pytest.raises(ModelError, match=message):
        load_model(spec)


def test_wrong_arguments_are_named(module):
    with pytest.raises(OptionError, match=r"no option 'hiden'\. Did you mean 'hidden'"):
        load_model("user_nets:build", arguments={"hiden": 3})


def test_weights_that_do_not_fit_name_the_first_keys(module, tmp_path):
    save_file({f"layer{i}.weight": torch.zeros(1) for i in range(5)}, tmp_path / "w.safetensors")
    expected = r"lacks 0.weight, 0.bias, 2.weight and 1 more and has, but the model does not, layer0.weight, .* 2 more"
    with pytest.raises(ModelError, match=expected):
        load_model("user_nets:build", tmp_path / "w.safetensors")


def test_weights_of_another_shape_name_the_tensor(module, tmp_path):
    save_file(load_model("user_nets:build", arguments={"hidden": 9}).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"'0.weight' has shape \(9, 3\), the model's is \(4, 3\)"):
        load_model("user_nets:build", tmp_path / "w.safetensors")


def test_a_pickled_module_is_refused_with_the_way_out(module, tmp_path):
    for zipped in (True, False):
        torch.save(nn.Linear(3, 2), tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(
            ModelError, match=r"whole.pt is refused: it holds pickled objects.*torch.save\(model.state_dict"
        ):
            load_model("user_nets:build", tmp_path / "whole.pt")
    with pytest.raises(ModelError, match=r"refused as a model.*Name a factory"):
        load_model(str(tmp_path / "whole.pt"))


def test_a_malicious_pickle_does_not_run(module, tmp_path):
    marker = tmp_path / "ran"
    torch.save({"w": Marker(str(marker))}, tmp_path / "evil.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Marker(str(marker))))
    for name in ("evil.pt", "raw.pt"):
        with pytest.raises(ModelError, match="refused: it holds pickled objects"):
            read_weights(tmp_path / name)
    assert not marker.exists()


def test_pickles_are_taken_where_that_is_asked_for(tmp_path):
    torch.save(nn.Linear(3, 2), tmp_path / "whole.pt")
    assert isinstance(load_model(str(tmp_path / "whole.pt"), allow_pickle=True), nn.Linear)
    torch.save({"a": 1}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="holds dict; expected"):
        load_model(str(tmp_path / "other.pt"), allow_pickle=True)
    with pytest.raises(ModelError, match="does not exist"):
        load_model("gone.pt", allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.safetensors", None, "does not exist"),
        ("w.onnx", b"x", "expected .safetensors, .pt or .pth, got '.onnx'"),
        ("w.safetensors", b"xxxxxxxxxx", "cannot be read"),
        ("w.pt", b"PK\x03\x04 cut", "not written by torch.save, or is damaged"),
        ("w.pth", b"", "not written by torch.save, or is damaged"),
    ],
)
def test_files_that_hold_no_weights(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_weights(tmp_path / name)


def test_a_state_dict_of_other_things_is_refused(tmp_path):
    torch.save({"w": [1, 2]}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="expected a state dict of tensors"):
        read_weights(tmp_path / "w.pt")
