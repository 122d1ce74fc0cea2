"""What a stranger's code raises and says: one line and exit code 2, and nothing that moves the cursor."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from trimkit.cli import main
from trimkit.data import load
from trimkit.errors import DataError

RAISED = {
    "GeneratorExit": "raise GeneratorExit",
    "CancelledError": "import asyncio; raise asyncio.CancelledError()",
    "Own": "class Own(BaseException): pass\n    raise Own('of mine')",
    "SystemExit": "raise SystemExit(0)",
    "RecursionError": "return f()",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", x=np.random.default_rng(0).random((30, 4)).astype(np.float32), y=np.arange(30) % 2)


@pytest.mark.parametrize("name", RAISED)
def test_data_that_raise_anything_are_an_error_of_one_line(name, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(f"def f():\n    {RAISED[name]}\n")
    assert main(["train", "fastica", "--data", "mine.py:f", "--out", "r"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("trimkit: error: data 'mine.py:f' cannot be made: ")
    assert name in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", RAISED)
def test_a_module_that_raises_anything_is_an_error(name, tmp_path):
    (tmp_path / "mine.py").write_text(f"def f():\n    {RAISED[name]}\nf()\n")
    with pytest.raises(DataError, match=rf"mine\.py cannot be run: {name}"):
        load("mine.py:f")


@pytest.mark.parametrize("name", sorted(set(RAISED) - {"RecursionError"}))
def test_a_model_that_raises_anything_gives_no_verdict(name, tmp_path, capsys):
    body = RAISED[name].replace("\n    ", "\n        ")
    (tmp_path / "model.py").write_text(
        "from torch import nn\n\nclass M(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.l = nn.Linear(4, 2)\n    def forward(self, x):\n        {body}\n"
    )
    assert main(["audit", "--model", "model.py:M", "--data", "d.npz", "--samples", "20", "--out", "r"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_interrupt_of_the_user_stays_one(tmp_path):
    (tmp_path / "mine.py").write_text("def f():\n    raise KeyboardInterrupt\n")
    assert main(["train", "fastica", "--data", "mine.py:f", "--out", "r"]) == 130


def test_an_error_that_cannot_be_printed_is_named(tmp_path):
    code = (
        "import trimkit.cli as c\nclass E(Exception):\n    def __str__(self): raise RuntimeError\n"
        "def f(*a): raise E\nc._dispatch = f\nraise SystemExit(c.main(['list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("trimkit: error: E")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("category", ["UserWarning", "TrimkitWarning"])
def test_warnings_move_no_cursor(category, tmp_path):
    code = (
        "import warnings\nfrom trimkit.cli.commands import one_line_warnings\n"
        "from trimkit.errors import TrimkitWarning\n"
        f"with one_line_warnings():\n    warnings.warn(chr(27) + '[2Jred', {category})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[2Jred" in done.stderr
    assert "\x1b" not in done.stderr
