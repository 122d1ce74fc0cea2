"""Writes docs/catalogue.md, the list of known plugins, from their entry points: ``python docs/list_plugins.py``.

A plugin is known by its recipe in ``downstream/``. One whose project stands in the checkout is read there, another
must be installed.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import EntryPoint, metadata
from pathlib import Path
from typing import NamedTuple

from trimkit.hooks import GROUP, KINDS
from trimkit.registry import loader

sys.path.insert(0, str(Path(__file__).parents[1] / "downstream"))

from run import ROOT, Recipe, read_recipes

PAGE = ROOT / "docs" / "catalogue.md"
HEAD = """\
# Known plugins

Made by `make catalogue` from the plugins' own entry points. Each is tried with its own tests against every change of
trimkit: `make downstream`.

| distribution | what it is | parts | where it stands |
|---|---|---|---|
"""

FOOT = """
## How to be listed

1. Your plugin's conformance suite is green: `test_promises = conformance("your-plugin")` in its tests, see
   [how to write one](plugins.md).
2. Add a recipe `downstream/YOUR-DISTRIBUTION.toml`: the distribution's name, `requirement = "…"` as pip takes it, and
   the commands that must pass. `python downstream/run.py YOUR-DISTRIBUTION` tries it.
3. Install it, run `make catalogue`, and open a pull request with both files.

A listed plugin is somebody else's: nobody here has read its code. One that fails for two minor versions of trimkit is
taken off the list.
"""


class Entry(NamedTuple):
    """What the page says of a plugin."""

    distribution: str
    summary: str
    parts: tuple[str, ...]
    place: str


def entry_of(recipe: Recipe) -> Entry:
    """The entry of a plugin, from its records.

    Raises:
        ValueError: it cannot be loaded.
    """
    summary, entry_points = _from_project(ROOT / recipe.project) if recipe.project else _installed(recipe.distribution)
    parts: list[str] = []
    for entry_point in entry_points:
        record, _ = loader.load(entry_point)
        if record.state != "loaded":
            raise ValueError(f"{recipe.distribution}: {record.reason}")
        parts += record.adds
    place = f"`{recipe.project}`" if recipe.project else f"`pip install {recipe.requirement}`"
    return Entry(recipe.distribution, summary, tuple(parts), place)


def _from_project(project: Path) -> tuple[str, list[EntryPoint]]:
    """Summary and entry points of a project whose packages stand in it or in its ``src``."""
    sys.path[:0] = [str(project), str(project / "src")]
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = described["entry-points"][GROUP].items()
    return described["description"], [EntryPoint(name, value, GROUP) for name, value in points]


def _installed(distribution: str) -> tuple[str, list[EntryPoint]]:
    mine = [each for each in loader.discover() if loader.canonical(distribution) in loader.own_names(each)]
    return metadata(distribution)["Summary"], mine


def page(recipes: list[Recipe]) -> str:
    """The page of some plugins."""
    rows = (entry_of(recipe) for recipe in recipes)
    return HEAD + "".join(f"| {d} | {s} | {_by_kind(p)} | {place} |\n" for d, s, p, place in rows) + FOOT


def _by_kind(parts: tuple[str, ...]) -> str:
    kinds = {plural: [p.partition(":")[2] for p in parts if p.startswith(f"{KINDS[plural].kind}:")] for plural in KINDS}
    return "; ".join(
        f"{plural}: " + ", ".join(f"`{name}`" for name in names) for plural, names in kinds.items() if names
    )


if __name__ == "__main__":
    PAGE.write_text(page(read_recipes()), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
