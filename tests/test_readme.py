"""The README's command lines, run as they stand in a fresh folder after a short demo."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from trimkit.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("$ trimkit ")
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ trimkit ")
]

FAILS = ("check-ica",)
"""Commands whose verdict on the README's data is FAIL, as it says."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, demo_folder):
    """A folder with what ``trimkit demo`` leaves there."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(demo_folder, folder / "trimkit-demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def test_there_are_command_lines_to_run():
    assert {command.split()[0] for command in COMMANDS} >= {"audit", "train", "list", "plugins"}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_line_works(command, workplace, capsys):
    assert main(shlex.split(command)) == int(command.split()[0] in FAILS)
    assert capsys.readouterr().out.strip()


def test_the_pictures_exist():
    paths = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert paths
    for path in paths:
        assert (Path(__file__).parents[1] / path).is_file()
