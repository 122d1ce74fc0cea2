"""Known plugins are listed from their entry points, and pass their own tests on this checkout."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


RUNNER = SimpleNamespace(**runpy.run_path(str(ROOT / "downstream" / "run.py")))


@pytest.fixture
def listing(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "list_plugins.py")))
    for name in set(sys.modules) - before:
        if name.startswith(("run", "acme_trim", "trimkit_hessian", "trimkit_graph", "trimkit_vq")):
            del sys.modules[name]


def test_the_page_is_that_of_the_recipes(listing):
    assert listing.PAGE.read_text(encoding="utf-8") == listing.page(RUNNER.read_recipes()), "run `make catalogue`"


def test_every_project_of_the_checkout_has_a_recipe():
    projects = {str(path.parent.relative_to(ROOT)) for pattern in ("plugins/*", "examples/*", "examples/plugins/*")
                for path in ROOT.glob(f"{pattern}/pyproject.toml")}  # fmt: skip
    assert projects <= {recipe.project for recipe in RUNNER.read_recipes()}


def test_a_recipe_needs_a_place_and_a_name_needs_a_recipe(tmp_path):
    with pytest.raises(ValueError, match="no recipe for trimkit-nowhere"):
        RUNNER.read_recipes(["trimkit-nowhere"])
    (tmp_path / "a.toml").write_text('distribution = "a"\ncommands = []\n')
    with pytest.raises(ValueError, match="a: expected a project or a requirement, got both or none"):
        RUNNER.read_recipes(folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["acme-trim", "trimkit-hessian", "trimkit-graph", "trimkit-vq", "trimkit-ica"])
def test_a_known_plugin_passes_its_tests(name):
    (recipe,) = RUNNER.read_recipes([name])
    assert RUNNER.try_plugin(recipe) == ""


@pytest.mark.slow
def test_a_plugin_that_fails_is_told_with_its_last_lines():
    recipe = RUNNER.Recipe("acme-trim", [["trimkit", "plugins", "--check", "nobody"]], "tests/fixtures/acme-trim")
    assert "trimkit plugins --check nobody ends with 2:\ntrimkit: error: " in RUNNER.try_plugin(recipe)
