"""The button on code of the documentation's site copies what one types."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

from .chromium import CHROMIUM, Browser

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

SCRIPT = (HERE.parent / "docs" / "_static" / "copy.js").read_text(encoding="utf-8")
BLOCKS = {
    ">>> for i in range(2):\n...     print(i)\n...\n0\n1\n>>> a = 1\n\n": "for i in range(2):\n    print(i)\n\na = 1\n",
    "$ trimkit list\nname  summary\n$ trimkit plugins\n": "trimkit list\ntrimkit plugins\n",
    "x = [\n    1,\n]\n": "x = [\n    1,\n]\n",
    "pip install ./trimkit  # $HOME\n": "pip install ./trimkit  # $HOME\n",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The blocks as Sphinx writes them, with a clipboard that remembers."""
    folder = tmp_path_factory.mktemp("copy")
    code = "".join(f'<div class="highlight"><pre>{html.escape(block)}</pre></div>' for block in BLOCKS)
    (folder / "page.html").write_text(f"<!DOCTYPE html><meta charset='utf-8'>{code}<script>{SCRIPT}</script>", "utf-8")
    browser = Browser(folder / "profile")
    browser.open(folder / "page.html")
    browser.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }; 0")
    yield browser
    browser.close()


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_it_copies_what_one_types(page, number):
    page.click(f"document.querySelectorAll('button.copy')[{number}]")
    assert page.run("window.copied") == list(BLOCKS.values())[number]


def test_it_says_that_it_did(page):
    page.click("document.querySelector('button.copy')")
    assert page.run("document.querySelector('button.copy').textContent") == "copied"
    assert page.complaints == []
