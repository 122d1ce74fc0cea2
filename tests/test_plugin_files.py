"""Files as plugins: `--plugin FILE.py` and TRIMKIT_PLUGINS_DIR come through the door of every plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trimkit import cli
from trimkit.errors import OptionError, TrimkitWarning
from trimkit.registry import Registry
from trimkit.registry.catalogue import catalogue, derive
from trimkit.registry.files import plugin_files, take_plugin_files

SOURCE = '''
"""A transform of my own."""
from trimkit.hooks import TransformSpec, hookimpl
from trimkit.transforms import Identity

TRIMKIT_API = 1

class Negative(Identity):
    """The data's negative."""
    def forward(self, x):
        """-x."""
        return -x
    def inverse(self, s, size=None):
        """-s."""
        return -s

@hookimpl
def trimkit_transforms():
    yield TransformSpec("negative", f"{__name__}:Negative", "The data's negative.")
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A file with a plugin, gone from what is imported after the test."""
    path = tmp_path / "my_negative.py"
    path.write_text(SOURCE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield path
    sys.modules.pop("my_negative", None)


def test_a_file_of_the_folder_is_a_plugin(mine):
    registry = Registry(plugin_files({"TRIMKIT_PLUGINS_DIR": str(mine.parent)}))
    (record,) = registry.plugins()
    assert (record.name, record.distribution, record.state) == ("my_negative", "my_negative.py", "loaded")
    assert record.version.startswith("sha256:")
    assert registry.create("transform", "my_negative.py:negative").parts == 4


def test_a_file_in_a_package_is_a_module_of_it(mine):
    package = mine.parent / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(SOURCE)
    registry = Registry(plugin_files({"TRIMKIT_PLUGIN_FILES": str(package / "plugin.py")}))
    assert registry.find("transform", "negative").spec.target == "my_package.plugin:Negative"


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("broken", "1 / 0", "ZeroDivisionError"),
        ("json", SOURCE, "another module is called 'json'; rename json.py"),
        ("silent", "", "does not say which API it is written for"),
    ],
)
def test_a_broken_file_hurts_nothing_but_itself(mine, name, source, reason):
    (mine.parent / f"{name}.py").write_text(source)
    registry = Registry(plugin_files({"TRIMKIT_PLUGINS_DIR": str(mine.parent)}))
    states = {record.name: (record.state, record.reason) for record in registry.plugins()}
    assert states["my_negative"] == ("loaded", "")
    assert states[name][0] == "failed"
    assert reason in states[name][1]


def test_the_selection_leaves_out_the_folder_and_not_what_was_asked_for(mine):
    files = plugin_files({"TRIMKIT_PLUGINS_DIR": str(mine.parent)})
    assert Registry(files, set()).plugins()[0].state == "blocked"
    assert Registry(plugin_files({"TRIMKIT_PLUGIN_FILES": str(mine)}), set()).plugins()[0].state == "loaded"


def test_a_file_that_is_named_twice_is_loaded_once(mine):
    files = plugin_files({"TRIMKIT_PLUGINS_DIR": str(mine.parent), "TRIMKIT_PLUGIN_FILES": str(mine)})
    assert [(file.name, vars(file)["asked"]) for file in files] == [("my_negative", True)]


def test_files_that_begin_with_an_underscore_are_left_alone(mine):
    (mine.parent / "_helpers.py").write_text("1 / 0")
    assert [file.name for file in plugin_files({"TRIMKIT_PLUGINS_DIR": str(mine.parent)})] == ["my_negative"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.warns(TrimkitWarning, match="TRIMKIT_PLUGINS_DIR: there is no folder"):
        assert plugin_files({"TRIMKIT_PLUGINS_DIR": str(tmp_path / "absent")}) == []


@pytest.mark.parametrize("words", [["--plugin", "{}", "list", "x"], ["list", "--plugin={}", "x"]])
def test_the_option_is_taken_wherever_it_stands(mine, monkeypatch, words):
    monkeypatch.setenv("TRIMKIT_PLUGIN_FILES", "")
    assert take_plugin_files([word.format(mine) for word in words]) == ["list", "x"]
    assert [file.name for file in plugin_files(dict(os.environ))] == ["my_negative"]


@pytest.mark.parametrize("words", [["--plugin"], ["--plugin", "absent.py"], ["--plugin=README.md"]])
def test_the_option_needs_a_file(words, capsys):
    with pytest.raises(OptionError, match=r"expected a file such as mine.py, got"):
        take_plugin_files(words)
    assert cli.main(["list", *words]) == 2


def test_the_command_line_lists_checks_and_traces_a_file(mine):
    def trimkit(*arguments):
        command = [sys.executable, "-m", "trimkit", *arguments, "--plugin", str(mine)]
        environment = {**os.environ, "TRIMKIT_PLUGINS": ""}
        return subprocess.run(command, capture_output=True, text=True, env=environment).stdout

    transforms = json.loads(trimkit("list", "transforms", "--json"))["transforms"]
    (part,) = [each for each in transforms if each["name"] == "negative"]
    assert (part["distribution"], part["exact"]) == ("my_negative.py", True)
    assert "my_negative  trimkit_transforms()" in trimkit("plugins", "--trace")


def test_the_catalogue_is_what_our_plugins_register():
    projects = sorted((Path(__file__).parents[1] / "plugins").glob("*/"))
    assert catalogue() == derive(p for p in projects if (p / "pyproject.toml").is_file()), (
        "make it anew: python -m trimkit.registry.catalogue plugins/* > trimkit/registry/catalogue.json"
    )
