"""Runs whose names look like something else: each is where it was asked for, and can be used again."""

from __future__ import annotations

import numpy as np
import pytest

from trimkit.cli import main
from trimkit.errors import OptionError
from trimkit.methods.stored import latent
from trimkit.registry import create
from trimkit.registry.spelling import parse_spec


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", x=np.random.default_rng(0).laplace(size=(60, 2)).astype(np.float32))


@pytest.mark.parametrize("name", ["null", "~", "true", "7", "2024-01-05", "a,b", "a:b=c", "-x", "é 漢"])
def test_a_run_is_where_it_was_asked_for_and_is_used_by_its_quoted_name(name, tmp_path):
    assert main(["train", "fastica", "--data", "d.npz", f"--out={name}"]) == 0
    assert (tmp_path / name / "COMPLETE").is_file()
    assert latent(**parse_spec(f"latent:run='{name}'")[1]) is not None
    assert main(["evaluate", f"./{name}", "--data", "d.npz"]) == 0


@pytest.mark.parametrize("text", ["run=7", "run=null", "run=[x]", "run=*", "run=a,b"])
def test_a_name_that_is_taken_for_something_else_is_told_how_to_quote(text):
    with pytest.raises(OptionError, match=r"quote"):
        create("transform", "latent", **parse_spec(f"latent:{text}")[1])
