"""Plugins of strangers, made by `trimkit new-plugin`, each with its own suite."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from trimkit.testing import items_of

PROJECTS = sorted((Path(__file__).parents[1] / "examples" / "plugins").glob("*/"))
every = pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)


def test_there_are_some():
    assert [project.name for project in PROJECTS] == ["trimkit-graph", "trimkit-vq"]


@every
def test_the_quick_promises_are_kept(project, monkeypatch):
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    (module,) = metadata["entry-points"]["trimkit"].values()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(project / "src"))
    items = items_of(module, light=True)
    assert items
    assert [item() for item in items] == [None] * len(items)  # one that is not kept raises BrokenPromise
    for name in set(sys.modules) - before:
        if name.startswith(module.partition(".")[0]):
            del sys.modules[name]


@pytest.mark.slow
@every
def test_its_own_suite_passes(project):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
