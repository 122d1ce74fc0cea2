"""Every architecture is trained with a penalty and explained; the table in the docs is what the command prints."""

import importlib
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "architectures"
SCRIPTS = sorted(p for p in FOLDER.glob("*.py") if p.stem not in ("_case", "matrix"))


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_penalty_lowers_itself_and_a_batch_is_explained(path, capsys):
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    without, with_it = map(float, re.findall(r"(\d+\.\d+) with", printed))
    assert with_it < without
    assert float(re.search(r"by at most (\S+)", printed)[1]) < 0.1


def test_the_table_has_every_script():
    assert sorted(importlib.import_module("matrix").SCRIPTS) == [path.stem for path in SCRIPTS]


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_the_command_prints():
    assert importlib.import_module("matrix").page() == (ROOT / "docs" / "architectures.md").read_text()
