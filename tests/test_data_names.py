"""Data by name: options, and the user's own functions."""

import sys

import pytest
import torch

import trimkit
from trimkit.data import load
from trimkit.data.shortcut import digits_shortcut
from trimkit.errors import DataError, OptionError, UnknownNameError
from trimkit.registry.spelling import parse_spec

X = torch.rand(6, 1, 4, 4)


def test_functions_of_the_user_are_called(tmp_path, monkeypatch):
    (tmp_path / "user_data_module.py").write_text(
        "import torch\n"
        "def both(split):\n    n = 3 if split == 'test' else 5\n    return torch.ones(n, 2), torch.zeros(n)\n"
        "def alone():\n    return torch.ones(4, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(load("user_data_module:both", "test")) == 3
    assert len(load("user_data_module:alone")) == 4


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="digits"):
        load("digit")
    assert trimkit.data.load("digits").name == "digits"


def test_options_follow_a_name(tmp_path, monkeypatch):
    assert load("digits-shortcut:amplitude=0.3").sha256 == digits_shortcut(amplitude=0.3).sha256
    assert load("digits:split=test").split == "test"
    assert load("digits-shortcut", "test", pattern="none").sha256 == digits_shortcut("test", "none").sha256
    (tmp_path / "user_options_module.py").write_text(
        "import torch\ndef rows(split, n=2):\n    return torch.ones(n + len(split), 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(load("user_options_module:rows:n=3", "test")) == 7
    torch.save(X, tmp_path / "x.pt")
    for spec, says in (
        ("user_options_module:rows:m=3", r"rows\(split, n=2\): got an unexpected keyword argument 'm'"),
        ("digits:size=8", "no option 'size'"),
        ("x.pt:size=8", "takes no options, got size"),
        ("digits:size=8,", "expected name=value, got ''"),
    ):
        with pytest.raises(OptionError, match=says):
            load(spec)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("a/b=c/file.npz", ("a/b=c/file.npz", {})),
        ("C:\\data\\x.npz", ("C:\\data\\x.npz", {})),
        ("a:sides=[1, 2],b=3", ("a", {"sides": [1, 2], "b": 3})),
        ("a:b:c=1e-3,d=yes,e=word,f=", ("a:b", {"c": 0.001, "d": True, "e": "word", "f": None})),
    ],
)
def test_what_is_name_and_what_is_option(text, means):
    assert parse_spec(text) == means


def test_an_option_that_is_no_yaml_is_named():
    with pytest.raises(OptionError, match="the value of 'b' cannot be read"):
        parse_spec("a:b=[1")


USER_DATA = """
import sys
import torch
def faces(split="train", n=4): return torch.rand(n, 3), torch.arange(n) % 2
def leaves(): sys.exit(0)
def fails(): return {}["x"]
"""


def test_functions_of_modules_and_of_files_are_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_faces.py").write_text(USER_DATA)
    before = [*sys.path]
    for spec in ("own_faces:faces", "own_faces.py:faces", str(tmp_path / "own_faces.py:faces")):
        assert load(f"{spec}:n=6").x.shape == (6, 3)
        assert load(spec).classes == ("0", "1")
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_faces:leaves", "data 'own_faces:leaves' cannot be made: SystemExit: 0"),
        ("own_faces.py:fails", "data 'own_faces.py:fails' cannot be made: KeyError: 'x'"),
        ("own_faces:face", r"own_faces has no 'face'\. Did you mean 'faces'"),
        ("own_exit:f", "module 'own_exit' cannot be imported: SystemExit: 0"),
        ("own_error:f", "module 'own_error' cannot be imported: ValueError: at import"),
        ("own_words.py:f", "data file own_words.py cannot be run: SyntaxError"),
        ("gone.py:f", "data file gone.py does not exist"),
    ],
)
def test_faults_of_the_users_code_are_named(tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_faces.py").write_text(USER_DATA)
    (tmp_path / "own_exit.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "own_error.py").write_text("raise ValueError('at import')\n")
    (tmp_path / "own_words.py").write_text("def f(:\n")
    with pytest.raises(DataError, match=says):
        load(name)
