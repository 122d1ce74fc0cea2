"""Fixtures that several test files share."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trimkit.cli import main
from trimkit.registry import Registry
from trimkit.registry import loader as _loader
from trimkit.registry.parts import default

_SERIAL = itertools.count()


@pytest.fixture(scope="module")
def import_from_docs():
    """A function that imports a module of docs/ by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "docs"))
        yield importlib.import_module


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo of one seed."""
    folder = tmp_path_factory.mktemp("demo") / "whole"
    assert main(["demo", "--out", str(folder), "--seeds", "1", "--samples", "64"]) == 0
    return folder


class FakeSite:
    """A folder of distributions that look installed: dist-info folders and one module each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, distribution: str, source: str, *, version: str = "1.0", plugin: str = "", value: str = "") -> str:
        """Install a distribution whose plugin module is `source`; returns the module's name."""
        module = re.sub(r"\W", "_", f"fake_{distribution.lower()}_{next(_SERIAL)}")
        (self.folder / f"{module}.py").write_text(source)
        entry = f"[trimkit]\n{plugin or distribution} = {value or module}\n"
        self.add_metadata(distribution, version, f"Name: {distribution}\nVersion: {version}\n", entry)
        return module

    def add_metadata(self, distribution: str, version: str, metadata: str, entry_points: str) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{metadata}" if metadata else "")
        (info / "entry_points.txt").write_text(entry_points)

    def registry(self, selection: set[str] | None = None, *, core: bool = True) -> Registry:
        """A registry of these distributions, and of trimkit's own parts."""
        own = [e for e in _loader.discover() if _loader.identity(e).distribution == "trimkit"] if core else []
        return Registry([*own, *_loader.discover([str(self.folder)])], selection)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process that finds these distributions too."""
        command = [sys.executable, "-m", "trimkit", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment(**environment))

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "TRIMKIT_PLUGINS"}
        path = os.pathsep.join(filter(None, (str(self.folder), inherited.get("PYTHONPATH"))))
        return {**inherited, "PYTHONPATH": path, **more}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Distributions that look installed, gone after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield FakeSite(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


@pytest.fixture
def use_site(site: FakeSite, monkeypatch: pytest.MonkeyPatch):
    """A function after which this process sees the distributions of the site, and trimkit's own, as if installed."""
    discover = _loader.discover
    own = [entry for entry in discover() if _loader.identity(entry).distribution == "trimkit"]

    def use() -> None:
        entries = [*own, *discover([str(site.folder)])]
        monkeypatch.setattr(_loader, "discover", lambda: entries)
        default.cache_clear()

    yield use
    monkeypatch.setattr(_loader, "discover", discover)
    default.cache_clear()
