"""``trimkit audit`` prints and makes nothing before all names are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trimkit import cli

WRONG = {
    "transform": ["--transform", "fourier"],
    "attribution": ["--attribution", "saliancy"],
    "check": ["--checks", "controlls"],
    "threshold": ["--threshold", "controls.alfa=1"],
    "group": ["--transform", "fft:bands=2", "--forbid", "band 9"],
    "mask": ["--forbid", "gone.npy"],
    "engine": ["--engine", "procesess:2"],
    "task": ["--task", "clasification"],
    "samples": ["--samples", "0"],
    "folder": ["--out", "taken"],
}


@pytest.fixture
def audit(tmp_path, monkeypatch):
    """The words of an audit that passes, in a folder that has its model and its data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "ordered.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(8, 3)\n")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((30, 8), np.float32))
    return ["audit", "--model", "ordered.py:net", "--data", "d.npz"]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_name_prints_nothing_and_makes_nothing(audit, wrong, capsys, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", lambda path, *_, **__: pytest.fail(f"made {path}"))
    assert cli.main([*audit, *wrong]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("trimkit: error: ")


@pytest.mark.parametrize("wrong", ["transform", "check", "group"])
def test_a_shard_does_neither(audit, wrong, capsys, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", lambda path, *_, **__: pytest.fail(f"made {path}"))
    assert cli.main([*audit, "--shard", "1/2", *WRONG[wrong]]) == 2
    assert capsys.readouterr().out == ""


def test_what_was_understood_comes_first_and_the_report_last(audit, capsys):
    assert cli.main([*audit, "--checks", "reconstruction", "--samples", "20"]) in (0, 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("data ")
    assert "report       trimkit-audit/" in lines
    assert lines[-1] == "trimkit-audit/report.html"
