"""Public names have docstrings, and examples that the suite runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def coverage(import_from_docs):
    return import_from_docs("example_coverage")


@pytest.fixture(scope="module")
def house(coverage):
    return coverage.House()


@pytest.fixture
def small(coverage, tmp_path):
    """A house of one module, with a test and a page."""

    def build(source, test="", page=""):
        for path, text in (("trimkit/hooks.py", source), ("tests/test_it.py", test), ("docs/page.md", page)):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        return coverage.House(tmp_path)

    return build


def names(some):
    return {name.name for name in some}


def test_of_the_public_names_95_per_cent_have_an_executed_example(house):
    without = sorted(map(str, house.public - house.exemplified))
    assert len(house.public) > 250
    assert 1 - len(without) / len(house.public) >= 0.95, without


def test_every_public_function_and_class_has_a_docstring(house):
    assert house.undocumented == set()


@pytest.mark.parametrize(
    ("module", "name", "stands_in"),
    [
        ("trimkit", "Trim", "trimkit.trim.trim"),
        ("trimkit.audit", "Check", "trimkit.audit.checks.base"),
        ("trimkit.audit", "Status", "trimkit.report.verdicts"),
        ("trimkit_vae.plugin", "MethodSpec", "trimkit.hooks"),
    ],
)
def test_a_name_is_followed_to_where_it_stands(house, module, name, stands_in):
    assert house.resolve(module, name) == (stands_in, name)


def test_a_name_without_example_is_told(small, coverage):
    house = small('def covered():\n    """>>> covered()"""\ndef bare(): ...\n')
    assert names(house.public - house.exemplified) == {"bare"}
    assert names(house.undocumented) == {"bare"}
    assert "without: trimkit.hooks.bare" in coverage.report(house)


@pytest.mark.parametrize(
    "test",
    [
        "from trimkit.hooks import f\nf()",
        "from trimkit.hooks import f as g\ng()",
        "from trimkit import hooks\nhooks.f()",
        "import trimkit.hooks\ntrimkit.hooks.f()",
        "import trimkit.hooks as door\ndoor.f()",
    ],
)
def test_a_test_that_uses_a_name_is_an_example(small, test):
    assert names(small("def f(): ...\ndef g(): ...\n", test).exemplified) == {"f"}


def test_a_name_that_is_imported_and_not_used_has_no_example(small):
    assert small("def f(): ...\n", "from trimkit.hooks import f\nfrom elsewhere import g\ng.f()").exemplified == set()


def test_a_document_counts_where_its_code_is_executed(small):
    executed, shown = ">>> from trimkit.hooks import f\n>>> f()\n", "from trimkit.hooks import f\nf()\n"
    assert names(small("def f(): ...\n", page=executed).exemplified) == {"f"}
    assert small("def f(): ...\n", page=shown).exemplified == set()


def test_the_command_prints_the_share_and_imports_no_torch():
    script = "import sys, runpy; runpy.run_path(sys.argv[1], run_name='__main__'); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script, DOCS / "example_coverage.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "% of " in done.stdout.splitlines()[0]
