"""The tutorial for plugins is true: its code keeps every promise, and its messages are those you get."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from trimkit.cli.new_plugin import write_plugin
from trimkit.hooks import KINDS
from trimkit.testing import BrokenPromise, items_of, promises

DOC = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", DOC, re.DOTALL))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Follows the tutorial, with a change to the transform's source; gives the promises of its parts."""

    def follow(change=lambda source: source):
        write_plugin("trimkit-haar", ["transform"], tmp_path / "trimkit-haar")
        for path, source in BLOCKS.items():
            (tmp_path / "trimkit-haar" / path).write_text(change(source), encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path / "trimkit-haar" / "src"))
        return items_of("trimkit_haar.plugin")

    yield follow
    for name in [name for name in sys.modules if name.startswith("trimkit_haar")]:
        del sys.modules[name]


def test_the_tutorials_plugin_keeps_every_promise(project):
    items = project()
    assert len(items) >= 12
    for item in items:
        item()


def test_the_message_of_its_mistake_is_the_one_that_you_get(project):
    items = project(lambda source: source.replace(".flatten(-2) / math.sqrt(2)", ".flatten(-2) / 2"))
    (item,) = [item for item in items if item.promise.name == "round_trip"]
    with pytest.raises(BrokenPromise) as broken:
        item()
    shown = re.search(r"    (transform 'haar' breaks its promise.*?)\n\n", DOC, re.DOTALL)[1]
    assert " ".join(str(broken.value).split()).startswith(" ".join(shown.split()))


def test_every_promise_is_listed():
    kinds = ["part", *(record.kind for record in KINDS.values())]
    expected = {f"- `{p.name}`: {p.statement.replace('``', '`')}" for kind in kinds for p in promises(kind)}
    assert expected - set(DOC.splitlines()) == set()
